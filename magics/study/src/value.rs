//! Values of hyperparameters.

use serde::Serialize;
use serde::de::{Deserialize, Deserializer, Error, Visitor};
use std::fmt;

/// One value of a hyperparameter. In JSON it is the bare number, string, boolean or null.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Value {
    /// No value: the default of `seed`, which differs from trial to trial.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number that is written without a point and without an exponent.
    Int(i64),
    /// Any other number. It is finite.
    Float(f64),
    /// A string, or a bare word.
    Text(String),
}

impl Value {
    /// The value as a number. None if it is not one.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Value::Int(i) => Some(*i as f64),
            Value::Float(f) => Some(*f),
            _ => None,
        }
    }

    /// The value as a whole number. None if it is not a number or has a fraction.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Value::Int(i) => Some(*i),
            Value::Float(f) if f.fract() == 0.0 && f.abs() < 9.0e15 => Some(*f as i64),
            _ => None,
        }
    }

    /// The value as a string. None if it is not one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Text(t) => Some(t),
            _ => None,
        }
    }

    /// Whether two values are equal, numbers by their value: `1` and `1.0` are equal, `1` and `"1"` are not.
    pub fn same_as(&self, other: &Value) -> bool {
        match (self.as_f64(), other.as_f64()) {
            (Some(a), Some(b)) => a == b,
            _ => self == other,
        }
    }
}

impl Value {
    /// The value as a declaration of a sweep writes it. A text that is no word has quotes, so that `"1"` is no number.
    pub fn declared(&self) -> String {
        let Value::Text(text) = self else { return self.to_string() };
        let is_start = |c: char| c.is_ascii_alphabetic() || c == '_';
        let is_word = text.starts_with(is_start)
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
            && !["true", "false", "null"].contains(&text.as_str());
        match (is_word, text.contains('"')) {
            (true, _) => text.clone(),
            (false, false) => format!("\"{text}\""),
            (false, true) => format!("'{text}'"),
        }
    }
}

/// The value as an argument of a program: an integer without a point, a float as the shortest text that reads back
/// exactly.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Null => f.write_str("null"),
            Value::Bool(b) => write!(f, "{b}"),
            Value::Int(i) => write!(f, "{i}"),
            // Unlike `{}`, `{:?}` writes very large and very small numbers with an exponent.
            Value::Float(x) => write!(f, "{x:?}"),
            Value::Text(t) => f.write_str(t),
        }
    }
}

/// What serde derives for an untagged enum tries one variant after the other, and most of its time goes into the errors
/// of those that do not fit. A store has a million values.
impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bare;
        impl Visitor<'_> for Bare {
            type Value = Value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, a string, a boolean or null")
            }
            fn visit_unit<E: Error>(self) -> Result<Value, E> {
                Ok(Value::Null)
            }
            fn visit_bool<E: Error>(self, b: bool) -> Result<Value, E> {
                Ok(Value::Bool(b))
            }
            fn visit_i64<E: Error>(self, i: i64) -> Result<Value, E> {
                Ok(Value::Int(i))
            }
            fn visit_u64<E: Error>(self, u: u64) -> Result<Value, E> {
                Ok(i64::try_from(u).map_or(Value::Float(u as f64), Value::Int))
            }
            fn visit_f64<E: Error>(self, x: f64) -> Result<Value, E> {
                Ok(Value::Float(x))
            }
            fn visit_str<E: Error>(self, t: &str) -> Result<Value, E> {
                Ok(Value::Text(t.into()))
            }
            fn visit_string<E: Error>(self, t: String) -> Result<Value, E> {
                Ok(Value::Text(t))
            }
        }
        deserializer.deserialize_any(Bare)
    }
}

impl From<f64> for Value {
    fn from(x: f64) -> Self {
        Value::Float(x)
    }
}
impl From<i64> for Value {
    fn from(i: i64) -> Self {
        Value::Int(i)
    }
}
impl From<&str> for Value {
    fn from(t: &str) -> Self {
        Value::Text(t.to_string())
    }
}
impl From<bool> for Value {
    fn from(b: bool) -> Self {
        Value::Bool(b)
    }
}
