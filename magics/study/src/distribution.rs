//! From which values a hyperparameter is drawn, and the map between them and the unit interval.
//!
//! Every sampler works in u ∈ [0, 1); every rule about "near the edge" works in u as well, so the map is
//! the one place that knows what a logarithmic range is.

use crate::Value;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A distribution over the values of one hyperparameter. Construct it through the functions of its name:
/// they check the bounds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Distribution {
    /// Uniform over [low, high].
    Uniform { low: f64, high: f64 },
    /// Uniform in the logarithm over [low, high], 0 < low.
    LogUniform { low: f64, high: f64 },
    /// 1 − v, with v log-uniform over [low, high], 0 < low < high ≤ 1: for momentum and its kin.
    OneMinusLogUniform { low: f64, high: f64 },
    /// Uniform over the integers low..=high.
    Int { low: i64, high: i64 },
    /// Uniform in the logarithm over [low − ½, high + ½], rounded; 1 ≤ low.
    LogInt { low: i64, high: i64 },
    /// One of the values, each as likely as the others.
    Choice { values: Vec<Value> },
    /// Always the same value.
    Constant { value: Value },
}

/// How an axis for a distribution is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// Equal steps.
    Linear,
    /// Equal factors.
    Log,
    /// Equal factors of 1 − value.
    OneMinusLog,
    /// Values without an order.
    Categorical,
}

/// Bounds that cannot be.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum DistributionError {
    /// low ≥ high (or > for integers).
    #[error("the range {low} to {high} is empty: the first bound must be smaller than the second")]
    Empty { low: String, high: String },
    /// A logarithmic range with a bound ≤ 0.
    #[error("a logarithmic range cannot start at {low}: its lower bound must be above 0")]
    LogOfZero { low: String },
    /// `1 - loguniform(a, b)` with b > 1.
    #[error("1 - loguniform({low}, {high}) would go below 0: the second bound must be at most 1")]
    OneMinusAboveOne { low: String, high: String },
    /// A bound that is NaN or infinite.
    #[error("{value} is not a finite number")]
    NotFinite { value: String },
    /// A list without values.
    #[error("an empty list leaves nothing to choose from")]
    NoValues,
    /// A list that names a value twice.
    #[error("{value} stands twice in the list")]
    Duplicate { value: String },
}

fn finite_ordered(low: f64, high: f64) -> Result<(), DistributionError> {
    for value in [low, high] {
        if !value.is_finite() {
            return Err(DistributionError::NotFinite { value: value.to_string() });
        }
    }
    if low >= high {
        return Err(DistributionError::Empty { low: low.to_string(), high: high.to_string() });
    }
    Ok(())
}

impl Distribution {
    /// `uniform(low, high)`.
    pub fn uniform(low: f64, high: f64) -> Result<Self, DistributionError> {
        finite_ordered(low, high)?;
        Ok(Self::Uniform { low, high })
    }

    /// `loguniform(low, high)`.
    pub fn log_uniform(low: f64, high: f64) -> Result<Self, DistributionError> {
        if low <= 0.0 {
            return Err(DistributionError::LogOfZero { low: low.to_string() });
        }
        finite_ordered(low, high)?;
        Ok(Self::LogUniform { low, high })
    }

    /// `1 - loguniform(low, high)`.
    pub fn one_minus_log_uniform(low: f64, high: f64) -> Result<Self, DistributionError> {
        if low <= 0.0 {
            return Err(DistributionError::LogOfZero { low: low.to_string() });
        }
        finite_ordered(low, high)?;
        if high > 1.0 {
            return Err(DistributionError::OneMinusAboveOne { low: low.to_string(), high: high.to_string() });
        }
        Ok(Self::OneMinusLogUniform { low, high })
    }

    /// `int(low, high)`, both ends included.
    pub fn int(low: i64, high: i64) -> Result<Self, DistributionError> {
        if low >= high {
            return Err(DistributionError::Empty { low: low.to_string(), high: high.to_string() });
        }
        Ok(Self::Int { low, high })
    }

    /// `logint(low, high)`, both ends included.
    pub fn log_int(low: i64, high: i64) -> Result<Self, DistributionError> {
        if low <= 0 {
            return Err(DistributionError::LogOfZero { low: low.to_string() });
        }
        if low >= high {
            return Err(DistributionError::Empty { low: low.to_string(), high: high.to_string() });
        }
        Ok(Self::LogInt { low, high })
    }

    /// `in [v, …]`.
    pub fn choice(values: Vec<Value>) -> Result<Self, DistributionError> {
        if values.is_empty() {
            return Err(DistributionError::NoValues);
        }
        for (i, value) in values.iter().enumerate() {
            if values[..i].iter().any(|earlier| earlier.same_as(value)) {
                return Err(DistributionError::Duplicate { value: value.to_string() });
            }
        }
        Ok(Self::Choice { values })
    }

    /// `= v`.
    pub fn constant(value: Value) -> Self {
        Self::Constant { value }
    }

    /// The axis on which values of this distribution lie evenly. A list of numbers is categorical too: its
    /// values were chosen by hand and have no density.
    pub fn scale(&self) -> Scale {
        match self {
            Self::Uniform { .. } | Self::Int { .. } => Scale::Linear,
            Self::LogUniform { .. } | Self::LogInt { .. } => Scale::Log,
            Self::OneMinusLogUniform { .. } => Scale::OneMinusLog,
            Self::Choice { .. } | Self::Constant { .. } => Scale::Categorical,
        }
    }

    /// Whether anything varies.
    pub fn is_constant(&self) -> bool {
        matches!(self, Self::Constant { .. })
    }

    /// The value at u ∈ [0, 1); u outside is clamped.
    pub fn from_unit(&self, u: f64) -> Value {
        let u = u.clamp(0.0, 1.0 - f64::EPSILON / 2.0);
        let log = |low: f64, high: f64| (low * (u * (high / low).ln()).exp()).clamp(low, high);
        match self {
            Self::Uniform { low, high } => Value::Float((low + u * (high - low)).clamp(*low, *high)),
            Self::LogUniform { low, high } => Value::Float(log(*low, *high)),
            Self::OneMinusLogUniform { low, high } => Value::Float(1.0 - log(*low, *high)),
            Self::Int { low, high } => {
                let count = high.abs_diff(*low) as f64 + 1.0;
                Value::Int(low.saturating_add((u * count).floor() as i64).min(*high))
            }
            Self::LogInt { low, high } => {
                let drawn = log(*low as f64 - 0.5, *high as f64 + 0.5).round() as i64;
                Value::Int(drawn.clamp(*low, *high))
            }
            Self::Choice { values } => {
                let index = (u * values.len() as f64) as usize;
                values[index.min(values.len() - 1)].clone()
            }
            Self::Constant { value } => value.clone(),
        }
    }

    /// Where in [0, 1] a value lies: a discrete value in the middle of its share. `None` for a value that the
    /// distribution cannot give.
    pub fn to_unit(&self, value: &Value) -> Option<f64> {
        let within = |u: f64| (-1e-9..=1.0 + 1e-9).contains(&u).then(|| u.clamp(0.0, 1.0));
        match self {
            Self::Uniform { low, high } => within((value.as_f64()? - low) / (high - low)),
            Self::LogUniform { low, high } => within((value.as_f64()? / low).ln() / (high / low).ln()),
            Self::OneMinusLogUniform { low, high } => within(((1.0 - value.as_f64()?) / low).ln() / (high / low).ln()),
            Self::Int { low, high } => {
                let count = high.abs_diff(*low) as f64 + 1.0;
                within((value.as_i64()?.checked_sub(*low)? as f64 + 0.5) / count)
            }
            Self::LogInt { low, high } => {
                let (low, high) = (*low as f64 - 0.5, *high as f64 + 0.5);
                within((value.as_i64()? as f64 / low).ln() / (high / low).ln())
            }
            Self::Choice { values } => {
                let index = values.iter().position(|v| v.same_as(value))?;
                Some((index as f64 + 0.5) / values.len() as f64)
            }
            Self::Constant { value: constant } => constant.same_as(value).then_some(0.5),
        }
    }
}

/// As it is written in a sweep.
impl fmt::Display for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uniform { low, high } => write!(f, "~ uniform({low}, {high})"),
            Self::LogUniform { low, high } => write!(f, "~ loguniform({low}, {high})"),
            Self::OneMinusLogUniform { low, high } => write!(f, "~ 1 - loguniform({low}, {high})"),
            Self::Int { low, high } => write!(f, "~ int({low}, {high})"),
            Self::LogInt { low, high } => write!(f, "~ logint({low}, {high})"),
            Self::Choice { values } => {
                let values: Vec<String> = values.iter().map(Value::to_string).collect();
                write!(f, "in [{}]", values.join(", "))
            }
            Self::Constant { value } => write!(f, "= {value}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_that_cannot_be_are_refused() {
        assert!(matches!(Distribution::log_uniform(0.0, 1.0), Err(DistributionError::LogOfZero { .. })));
        assert!(matches!(Distribution::uniform(2.0, 1.0), Err(DistributionError::Empty { .. })));
        assert!(matches!(Distribution::uniform(0.0, f64::INFINITY), Err(DistributionError::NotFinite { .. })));
        assert!(matches!(
            Distribution::one_minus_log_uniform(0.1, 1.5),
            Err(DistributionError::OneMinusAboveOne { .. })
        ));
        assert!(matches!(Distribution::choice(vec![]), Err(DistributionError::NoValues)));
        assert!(matches!(Distribution::choice(vec![1.into(), 1.0.into()]), Err(DistributionError::Duplicate { .. })));
    }

    #[test]
    fn values_go_to_the_unit_interval_and_back() {
        let all = [
            Distribution::uniform(-2.0, 3.0).unwrap(),
            Distribution::log_uniform(1e-4, 1.0).unwrap(),
            Distribution::one_minus_log_uniform(1e-3, 1.0).unwrap(),
        ];
        for distribution in all {
            for i in 0..100 {
                let u = i as f64 / 100.0;
                let back = distribution.to_unit(&distribution.from_unit(u)).unwrap();
                assert!((back - u).abs() < 1e-9, "{distribution}: {u} became {back}");
            }
        }
    }

    #[test]
    fn integers_reach_both_ends_and_nothing_beyond() {
        for distribution in [Distribution::int(1, 3).unwrap(), Distribution::log_int(1, 64).unwrap()] {
            assert_eq!(distribution.from_unit(0.0), Value::Int(1));
            let top = if distribution.scale() == Scale::Log { 64 } else { 3 };
            assert_eq!(distribution.from_unit(1.0), Value::Int(top));
            assert_eq!(distribution.to_unit(&Value::Int(top + 1)), None);
        }
    }
}
