//! The distributions of Optuna's parameters, as all its versions since 2.0 write them.

use serde_json::{Value, json};
use tunebook_study::{Distribution, Value as Hyper};

/// A distribution of Optuna.
#[derive(Clone, Debug, PartialEq)]
pub enum OptunaDistribution {
    Float { low: f64, high: f64, log: bool, step: Option<f64> },
    Int { low: i64, high: i64, log: bool, step: i64 },
    Categorical { choices: Vec<Value> },
}

impl OptunaDistribution {
    /// Reads the JSON of a distribution: the names since Optuna 3, those before it, and the short form.
    pub fn parse(text: &str) -> Result<Self, String> {
        let value = crate::json::parse(text).map_err(|error| format!("the distribution {text}: {error}"))?;
        Self::from_json(&value).ok_or_else(|| format!("the distribution {text} is unknown"))
    }

    fn from_json(value: &Value) -> Option<Self> {
        let (name, attributes) = match value.get("name") {
            Some(name) => (name.as_str()?, value.get("attributes")?),
            None => (value.get("type")?.as_str()?, value),
        };
        let float = |field: &str| attributes.get(field).and_then(crate::json::number);
        let int = |field: &str| float(field).map(|x| x as i64);
        let log = attributes.get("log").and_then(Value::as_bool).unwrap_or(false);
        Some(match name {
            "FloatDistribution" | "float" | "UniformDistribution" => {
                Self::Float { low: float("low")?, high: float("high")?, log, step: float("step") }
            }
            "LogUniformDistribution" => Self::Float { low: float("low")?, high: float("high")?, log: true, step: None },
            "DiscreteUniformDistribution" => {
                Self::Float { low: float("low")?, high: float("high")?, log: false, step: float("q") }
            }
            "IntDistribution" | "int" | "IntUniformDistribution" => {
                Self::Int { low: int("low")?, high: int("high")?, log, step: int("step").unwrap_or(1) }
            }
            "IntLogUniformDistribution" => {
                Self::Int { low: int("low")?, high: int("high")?, log: true, step: int("step").unwrap_or(1) }
            }
            "CategoricalDistribution" | "categorical" => {
                Self::Categorical { choices: attributes.get("choices")?.as_array()?.clone() }
            }
            _ => return None,
        })
    }

    /// The JSON that Optuna 3 and later read.
    pub fn to_json(&self) -> Value {
        let (name, attributes) = match self {
            Self::Float { low, high, log, step } => {
                ("FloatDistribution", json!({ "step": step, "low": low, "high": high, "log": log }))
            }
            Self::Int { low, high, log, step } => {
                ("IntDistribution", json!({ "log": log, "step": step, "low": low, "high": high }))
            }
            Self::Categorical { choices } => ("CategoricalDistribution", json!({ "choices": choices })),
        };
        json!({ "name": name, "attributes": attributes })
    }

    /// The distribution of ours as Optuna knows it. A value that never varies is a list of one value.
    pub fn of(distribution: &Distribution) -> Self {
        match distribution {
            Distribution::Uniform { low, high } => Self::Float { low: *low, high: *high, log: false, step: None },
            Distribution::LogUniform { low, high } => Self::Float { low: *low, high: *high, log: true, step: None },
            Distribution::OneMinusLogUniform { low, high } => {
                Self::Float { low: 1.0 - high, high: 1.0 - low, log: false, step: None }
            }
            Distribution::Int { low, high } => Self::Int { low: *low, high: *high, log: false, step: 1 },
            Distribution::LogInt { low, high } => Self::Int { low: *low, high: *high, log: true, step: 1 },
            Distribution::Choice { values } => Self::Categorical { choices: values.iter().map(|v| json!(v)).collect() },
            Distribution::Constant { value } => Self::Categorical { choices: vec![json!(value)] },
        }
    }

    /// The value that Optuna stores as this number. None if it cannot be one of the distribution.
    pub fn external(&self, internal: f64) -> Option<Hyper> {
        match self {
            Self::Float { .. } => internal.is_finite().then_some(Hyper::Float(internal)),
            Self::Int { .. } => {
                (internal.is_finite() && internal.fract() == 0.0).then_some(Hyper::Int(internal as i64))
            }
            Self::Categorical { choices } => {
                let choice = (internal >= 0.0 && internal.fract() == 0.0).then_some(internal as usize)?;
                choices.get(choice).map(choice_value)
            }
        }
    }

    /// The number that Optuna stores for a value. None if the distribution does not have it.
    pub fn internal(&self, value: &Hyper) -> Option<f64> {
        match self {
            Self::Float { .. } | Self::Int { .. } => value.as_f64(),
            Self::Categorical { choices } => {
                choices.iter().position(|choice| choice_value(choice).same_as(value)).map(|index| index as f64)
            }
        }
    }
}

/// A choice as a value of a hyperparameter. A choice that is a list or an object becomes its JSON text.
pub(crate) fn choice_value(choice: &Value) -> Hyper {
    match choice {
        Value::Null => Hyper::Null,
        Value::Bool(b) => Hyper::Bool(*b),
        Value::Number(number) => match number.as_i64() {
            Some(i) => Hyper::Int(i),
            None => Hyper::Float(number.as_f64().unwrap_or(0.0)),
        },
        Value::String(text) => Hyper::Text(text.clone()),
        other => Hyper::Text(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_all_versions_are_read() {
        let float = |log, step| OptunaDistribution::Float { low: 0.5, high: 2.0, log, step };
        let int = |log| OptunaDistribution::Int { low: 1, high: 8, log, step: 1 };
        let cases = [
            (r#"{"name":"UniformDistribution","attributes":{"low":0.5,"high":2.0}}"#, float(false, None)),
            (r#"{"name":"LogUniformDistribution","attributes":{"low":0.5,"high":2.0}}"#, float(true, None)),
            (
                r#"{"name":"DiscreteUniformDistribution","attributes":{"low":0.5,"high":2.0,"q":0.5}}"#,
                float(false, Some(0.5)),
            ),
            (
                r#"{"name":"FloatDistribution","attributes":{"step":null,"low":0.5,"high":2.0,"log":true}}"#,
                float(true, None),
            ),
            (r#"{"name":"IntUniformDistribution","attributes":{"low":1,"high":8,"step":1}}"#, int(false)),
            (r#"{"name":"IntLogUniformDistribution","attributes":{"low":1,"high":8,"step":1}}"#, int(true)),
            (r#"{"name":"IntDistribution","attributes":{"log":true,"step":1,"low":1,"high":8}}"#, int(true)),
            (r#"{"type":"int","low":1,"high":8}"#, int(false)),
        ];
        for (text, expected) in cases {
            let read = OptunaDistribution::parse(text).unwrap();
            assert_eq!(read, expected, "{text}");
            assert_eq!(OptunaDistribution::parse(&read.to_json().to_string()).unwrap(), expected);
        }
        let choices = OptunaDistribution::parse(
            r#"{"name":"CategoricalDistribution","attributes":{"choices":[null,true,2,"x",[1]]}}"#,
        );
        let values: Vec<_> = (0..6).map(|i| choices.as_ref().unwrap().external(f64::from(i))).collect();
        let text = |t: &str| Some(Hyper::Text(t.into()));
        let expected = [Some(Hyper::Null), Some(true.into()), Some(2.into()), text("x"), text("[1]"), None];
        assert_eq!(values, expected);
        assert!(OptunaDistribution::parse(r#"{"name":"NormalDistribution","attributes":{}}"#).is_err());
    }
}
