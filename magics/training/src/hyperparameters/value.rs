//! The Rust types that the value of a hyperparameter can be read as.

use tunebook_study::Value;

/// A type in which [`Hyperparameters::get`](super::Hyperparameters::get) can return a value.
pub trait FromValue: Sized {
    /// The name of the type in messages.
    const TYPE: &'static str;
    /// Returns the value in this type, or None if it does not fit.
    fn from_value(value: &Value) -> Option<Self>;
}

macro_rules! from_value {
    ($type:ty, $name:literal, |$value:ident| $read:expr) => {
        impl FromValue for $type {
            const TYPE: &'static str = $name;
            fn from_value($value: &Value) -> Option<Self> {
                $read
            }
        }
    };
}
from_value!(f64, "a number", |value| value.as_f64());
from_value!(f32, "a number", |value| value.as_f64().map(|x| x as f32));
from_value!(i64, "a whole number", |value| value.as_i64());
from_value!(i32, "a whole number", |value| value.as_i64().and_then(|i| i32::try_from(i).ok()));
from_value!(u32, "a whole number", |value| value.as_i64().and_then(|i| u32::try_from(i).ok()));
from_value!(usize, "a whole number", |value| value.as_i64().and_then(|i| usize::try_from(i).ok()));
from_value!(u64, "a whole number", |value| value.as_i64().and_then(|i| u64::try_from(i).ok()));
from_value!(String, "a word", |value| value.as_str().map(String::from));
from_value!(bool, "true or false", |value| if let Value::Bool(b) = value { Some(*b) } else { None });
