//! The distributions of hyperparameters, and the map between their values and the unit interval.
//!
//! Samplers draw u ∈ [0, 1) and map it to a value. Analyses that ask how near a value is to an end of its range map it
//! back to u. So a logarithmic range is known here only.

use crate::Value;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A distribution over the values of one hyperparameter. The functions [`uniform`](Self::uniform) and so on make one
/// and check its bounds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Distribution {
    /// Uniform over [low, high].
    Uniform { low: f64, high: f64 },
    /// Log-uniform: the logarithm is uniform over [ln low, ln high], 0 < low.
    LogUniform { low: f64, high: f64 },
    /// 1 − v, with v log-uniform over [low, high], 0 < low < high ≤ 1. For hyperparameters such as momentum, of which
    /// values near 1 are searched.
    OneMinusLogUniform { low: f64, high: f64 },
    /// Uniform over the integers low..=high.
    Int { low: i64, high: i64 },
    /// Log-uniform over [low − ½, high + ½], rounded to an integer; 1 ≤ low.
    LogInt { low: i64, high: i64 },
    /// One of the values, all with the same probability.
    Choice { values: Vec<Value> },
    /// Always the same value.
    Constant { value: Value },
}

/// The scale of an axis for the values of a distribution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// Equal distances are equal differences.
    Linear,
    /// Equal distances are equal ratios.
    Log,
    /// Equal distances are equal ratios of 1 − value.
    OneMinusLog,
    /// The values have no order.
    Categorical,
}

/// Why there is no such distribution.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum DistributionError {
    /// The lower bound is not below the upper one.
    #[error("the range {low} to {high} is empty: the first bound must be smaller than the second")]
    Empty { low: String, high: String },
    /// The lower bound of a logarithmic range is not above 0.
    #[error("a logarithmic range cannot start at {low}: its lower bound must be above 0")]
    LogOfZero { low: String },
    /// `1 - loguniform(a, b)` has b > 1.
    #[error("1 - loguniform({low}, {high}) would go below 0: the second bound must be at most 1")]
    OneMinusAboveOne { low: String, high: String },
    /// A bound is NaN or infinite.
    #[error("{value} is not a finite number")]
    NotFinite { value: String },
    /// A list has no values.
    #[error("an empty list leaves nothing to choose from")]
    NoValues,
    /// A list has the same value twice.
    #[error("{value} is in the list twice")]
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

    /// `int(low, high)`: both bounds are possible values.
    pub fn int(low: i64, high: i64) -> Result<Self, DistributionError> {
        if low >= high {
            return Err(DistributionError::Empty { low: low.to_string(), high: high.to_string() });
        }
        Ok(Self::Int { low, high })
    }

    /// `logint(low, high)`: both bounds are possible values.
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

    /// The scale of the axis on which values of this distribution have an even density. A list is categorical even if
    /// its values are numbers: they were chosen by hand and have no density.
    pub fn scale(&self) -> Scale {
        match self {
            Self::Uniform { .. } | Self::Int { .. } => Scale::Linear,
            Self::LogUniform { .. } | Self::LogInt { .. } => Scale::Log,
            Self::OneMinusLogUniform { .. } => Scale::OneMinusLog,
            Self::Choice { .. } | Self::Constant { .. } => Scale::Categorical,
        }
    }

    /// Whether all trials get the same value.
    pub fn is_constant(&self) -> bool {
        matches!(self, Self::Constant { .. })
    }

    /// The value of a distribution that has one value. None if it has a range or more values.
    pub fn only_value(&self) -> Option<&Value> {
        match self {
            Self::Constant { value } => Some(value),
            Self::Choice { values } => values.first().filter(|_| values.len() == 1),
            _ => None,
        }
    }

    /// Whether its values differ. Those of a list with one value do not, although it is not declared as a constant.
    pub fn varies(&self) -> bool {
        self.only_value().is_none()
    }

    /// Whether its values are drawn from a range of real numbers.
    pub fn is_real(&self) -> bool {
        matches!(self, Self::Uniform { .. } | Self::LogUniform { .. } | Self::OneMinusLogUniform { .. })
    }

    /// Whether its values are listed, and not drawn from a range.
    pub fn is_list(&self) -> bool {
        matches!(self, Self::Choice { .. } | Self::Constant { .. })
    }

    /// The value at u ∈ [0, 1). A u outside of this interval is moved to its nearer end.
    pub fn from_unit(&self, u: f64) -> Value {
        let u = u.clamp(0.0, 1.0 - f64::EPSILON / 2.0);
        let log = |low: f64, high: f64| {
            let drawn = match (high / low).is_finite() {
                true => low * (u * (high / low).ln()).exp(),
                false => (low.ln() + u * log_width(low, high)).exp(),
            };
            drawn.clamp(low, high)
        };
        match self {
            Self::Uniform { low, high } => {
                let drawn = match (high - low).is_finite() {
                    true => low + u * (high - low),
                    false => low * (1.0 - u) + high * u,
                };
                Value::Float(drawn.clamp(*low, *high))
            }
            Self::LogUniform { low, high } => Value::Float(log(*low, *high)),
            Self::OneMinusLogUniform { low, high } => Value::Float(1.0 - log(*low, *high)),
            Self::Int { low, high } => {
                let count = high.abs_diff(*low) as f64 + 1.0;
                Value::Int(low.saturating_add_unsigned((u * count).floor() as u64).min(*high))
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

    /// The place of a value in [0, 1], the reverse of [`from_unit`](Self::from_unit). Many u lead to the same discrete
    /// value; then this is the middle of them. None if the distribution does not have the value.
    pub fn to_unit(&self, value: &Value) -> Option<f64> {
        let within = |u: f64| (-1e-9..=1.0 + 1e-9).contains(&u).then(|| u.clamp(0.0, 1.0));
        match self {
            Self::Uniform { low, high } if (high - low).is_finite() => within((value.as_f64()? - low) / (high - low)),
            Self::Uniform { low, high } => within((0.5 * value.as_f64()? - 0.5 * low) / (0.5 * high - 0.5 * low)),
            Self::LogUniform { low, high } => within(log_width(*low, value.as_f64()?) / log_width(*low, *high)),
            Self::OneMinusLogUniform { low, high } => {
                within(log_width(*low, 1.0 - value.as_f64()?) / log_width(*low, *high))
            }
            Self::Int { low, high } => {
                let count = high.abs_diff(*low) as f64 + 1.0;
                let value = value.as_i64().filter(|value| (*low..=*high).contains(value))?;
                within((value.abs_diff(*low) as f64 + 0.5) / count)
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

/// ln(high / low), also where the ratio is not finite.
fn log_width(low: f64, high: f64) -> f64 {
    match (high / low).is_finite() {
        true => (high / low).ln(),
        false => high.ln() - low.ln(),
    }
}

/// The bound of a range: without a point if it is whole, and with an exponent if it is very small or large.
fn bound(x: f64) -> String {
    let exact = format!("{x:?}");
    exact.strip_suffix(".0").map(String::from).unwrap_or(exact)
}

/// The distribution as it is written in a `%%sweep`.
impl fmt::Display for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uniform { low, high } => write!(f, "~ uniform({}, {})", bound(*low), bound(*high)),
            Self::LogUniform { low, high } => write!(f, "~ loguniform({}, {})", bound(*low), bound(*high)),
            Self::OneMinusLogUniform { low, high } => {
                write!(f, "~ 1 - loguniform({}, {})", bound(*low), bound(*high))
            }
            Self::Int { low, high } => write!(f, "~ int({low}, {high})"),
            Self::LogInt { low, high } => write!(f, "~ logint({low}, {high})"),
            Self::Choice { values } => {
                let values: Vec<String> = values.iter().map(Value::declared).collect();
                write!(f, "in [{}]", values.join(", "))
            }
            Self::Constant { value } => write!(f, "= {}", value.declared()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_bounds_are_errors() {
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
    fn it_is_shown_as_it_is_written() {
        let values = vec!["1".into(), "not".into(), "a b".into(), "true".into(), true.into(), 1.into(), "".into()];
        for (distribution, shown) in [
            (Distribution::choice(values).unwrap(), r#"in ["1", not, "a b", "true", true, 1, ""]"#),
            (Distribution::constant("say \"x\"".into()), r#"= 'say "x"'"#),
            (Distribution::log_uniform(1e-10, 1.0).unwrap(), "~ loguniform(1e-10, 1)"),
            (Distribution::log_uniform(1e-4, 0.3).unwrap(), "~ loguniform(0.0001, 0.3)"),
            (Distribution::uniform(-2.5, 1e20).unwrap(), "~ uniform(-2.5, 1e20)"),
        ] {
            assert_eq!(distribution.to_string(), shown);
        }
    }

    #[test]
    fn the_map_to_the_unit_interval_is_the_reverse_of_the_map_from_it() {
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
    fn a_range_wider_than_the_largest_number_is_drawn_from_evenly() {
        for distribution in [
            Distribution::uniform(-1e308, 1e308).unwrap(),
            Distribution::log_uniform(1e-200, 1e200).unwrap(),
            Distribution::one_minus_log_uniform(5e-324, 1.0).unwrap(),
            Distribution::int(i64::MIN, i64::MAX).unwrap(),
        ] {
            for u in [0.0, 0.25, 0.5, 0.75, 1.0] {
                let value = distribution.from_unit(u);
                assert!(value.as_f64().unwrap().is_finite(), "{distribution}: {value}");
                // 1 − v is 1 for each small v, so it does not say which one was drawn.
                if distribution.scale() != Scale::OneMinusLog {
                    let back = distribution.to_unit(&value).unwrap();
                    assert!((back - u).abs() < 1e-9, "{distribution}: {u} became {value} and {back}");
                }
            }
        }
        assert_eq!(Distribution::uniform(-1e308, 1e308).unwrap().from_unit(0.5), Value::Float(0.0));
        let middle = Distribution::log_uniform(1e-200, 1e200).unwrap().from_unit(0.5).as_f64().unwrap();
        assert!((middle - 1.0).abs() < 1e-9, "{middle}");
        assert_eq!(Distribution::int(i64::MIN, i64::MAX).unwrap().from_unit(0.75), Value::Int(1 << 62));
        assert_eq!(Distribution::int(1, 1 << 40).unwrap().to_unit(&Value::Int(0)), None);
    }

    #[test]
    fn a_list_of_one_value_does_not_vary() {
        let list = |values: &[i64]| Distribution::choice(values.iter().map(|x| Value::Int(*x)).collect()).unwrap();
        assert!(list(&[1, 2]).varies() && Distribution::int(1, 2).unwrap().varies());
        assert_eq!(list(&[3]).only_value(), Some(&Value::Int(3)));
        assert!(!list(&[3]).varies() && !Distribution::constant(3.into()).varies());
    }

    #[test]
    fn integers_reach_both_bounds_and_no_value_beyond() {
        for distribution in [Distribution::int(1, 3).unwrap(), Distribution::log_int(1, 64).unwrap()] {
            assert_eq!(distribution.from_unit(0.0), Value::Int(1));
            let top = if distribution.scale() == Scale::Log { 64 } else { 3 };
            assert_eq!(distribution.from_unit(1.0), Value::Int(top));
            assert_eq!(distribution.to_unit(&Value::Int(top + 1)), None);
        }
    }
}
