//! What a hyperparameter can be set to.

use serde::{Deserialize, Serialize};
use std::fmt;

/// One value of a hyperparameter. In JSON it is the bare number, string, boolean or null.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// No value; only imported studies have it.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number written without point or exponent.
    Int(i64),
    /// Any other number; always finite.
    Float(f64),
    /// A string, or a bare word.
    Text(String),
}

impl Value {
    /// The number behind an int or a float.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Value::Int(i) => Some(*i as f64),
            Value::Float(f) => Some(*f),
            _ => None,
        }
    }

    /// The integer behind an int, or behind a float without a fraction.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Value::Int(i) => Some(*i),
            Value::Float(f) if f.fract() == 0.0 && f.abs() < 9.0e15 => Some(*f as i64),
            _ => None,
        }
    }

    /// The text of a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Text(t) => Some(t),
            _ => None,
        }
    }

    /// Whether two values mean the same: `1` and `1.0` do, `1` and `"1"` do not.
    pub fn same_as(&self, other: &Value) -> bool {
        match (self.as_f64(), other.as_f64()) {
            (Some(a), Some(b)) => a == b,
            _ => self == other,
        }
    }
}

/// As a program receives it on its command line: an int without a point, a float in its shortest exact form.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Null => f.write_str("null"),
            Value::Bool(b) => write!(f, "{b}"),
            Value::Int(i) => write!(f, "{i}"),
            // `{:?}` is the shortest text that reads back as the same float; it switches to exponents by itself.
            Value::Float(x) => write!(f, "{x:?}"),
            Value::Text(t) => f.write_str(t),
        }
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
