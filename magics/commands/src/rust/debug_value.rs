//! Reads back the result of generated code. The code ends with a value, of which the session returns the Debug text.
//! The Debug text of numbers, strings, lists, tuples and options is valid Rust, so `syn` can parse it.

use crate::host::session::Ran;
use syn::{Expr, Lit};

/// A value that was parsed from its Debug text.
#[derive(Clone, Debug, PartialEq)]
pub enum DebugValue {
    /// A number. Whole numbers are exact up to 2⁵³.
    Number(f64),
    Bool(bool),
    Text(String),
    /// A list, array or tuple.
    List(Vec<DebugValue>),
    /// The value `None`. `Some(x)` is read as `x`.
    None,
}

impl DebugValue {
    /// Parses the value of a run. None if there is no value, or if it has another type.
    pub fn of(ran: &Ran) -> Option<Self> {
        let text = ran.value.as_ref()?.get("text/plain")?.as_str()?;
        Self::from_expression(&syn::parse_str(text).ok()?)
    }

    fn from_expression(expression: &Expr) -> Option<Self> {
        let list = |items: &mut dyn Iterator<Item = &Expr>| {
            Some(Self::List(items.map(Self::from_expression).collect::<Option<_>>()?))
        };
        match expression {
            Expr::Lit(literal) => match &literal.lit {
                Lit::Int(number) if number.suffix().is_empty() => number.base10_parse().ok().map(Self::Number),
                Lit::Float(number) if number.suffix().is_empty() => number.base10_parse().ok().map(Self::Number),
                Lit::Bool(flag) => Some(Self::Bool(flag.value)),
                Lit::Str(text) => Some(Self::Text(text.value())),
                _ => None,
            },
            Expr::Unary(of) if matches!(of.op, syn::UnOp::Neg(_)) => match Self::from_expression(&of.expr)? {
                Self::Number(number) => Some(Self::Number(-number)),
                _ => None,
            },
            Expr::Path(path) => match path.path.get_ident()?.to_string().as_str() {
                "None" => Some(Self::None),
                "inf" => Some(Self::Number(f64::INFINITY)),
                "NaN" => Some(Self::Number(f64::NAN)),
                _ => None,
            },
            Expr::Call(call) if call.args.len() == 1 => Self::from_expression(&call.args[0]),
            Expr::Array(array) => list(&mut array.elems.iter()),
            Expr::Tuple(tuple) => list(&mut tuple.elems.iter()),
            Expr::Paren(paren) => Self::from_expression(&paren.expr),
            _ => None,
        }
    }

    /// The items of a list. Other values have no items.
    pub fn items(&self) -> &[Self] {
        match self {
            Self::List(items) => items,
            _ => &[],
        }
    }

    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn is_true(&self) -> bool {
        *self == Self::Bool(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::plain;

    fn read(value: impl std::fmt::Debug) -> Option<DebugValue> {
        DebugValue::of(&Ran { value: Some(plain(format!("{value:?}"))), ..Ran::default() })
    }

    #[test]
    fn debug_text_is_read_back() {
        let text = "a \"quote\"\nline \u{1} ä \\ '";
        let value = read(vec![(3_u64, -1.5e-9, text, true, Some("x"), None::<u8>)]).unwrap();
        let [number, small, word, flag, some, nothing] = value.items()[0].items() else { panic!("{value:?}") };
        assert_eq!((number.number(), small.number(), word.text()), (Some(3.0), Some(-1.5e-9), Some(text)));
        assert!(flag.is_true());
        assert_eq!((some.text(), nothing), (Some("x"), &DebugValue::None));
        assert_eq!(read(f64::NEG_INFINITY), Some(DebugValue::Number(f64::NEG_INFINITY)));
        assert_eq!(read(Vec::<u8>::new()), Some(DebugValue::List(vec![])));
        assert_eq!(read(std::time::Duration::ZERO), None);
    }
}
