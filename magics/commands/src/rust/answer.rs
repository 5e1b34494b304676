//! What generated code found out, read back from the Debug text that it ends with: the Debug text of numbers, strings, lists,
//! tuples and options is Rust, so the parser of Rust reads it.

use crate::host::session::Ran;
use syn::{Expr, Lit};

/// A value of generated code.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// Any number; whole ones are exact up to 2⁵³.
    Number(f64),
    /// `true`, `false`.
    Flag(bool),
    /// A string.
    Text(String),
    /// A list, array or tuple.
    List(Vec<Answer>),
    /// `None`. What stands in a `Some` stands for itself.
    Nothing,
}

impl Answer {
    /// The value that a cell ended with; `None` where it is none of these.
    pub fn of(ran: &Ran) -> Option<Self> {
        let text = ran.value.as_ref()?.get("text/plain")?.as_str()?;
        Self::read(&syn::parse_str(text).ok()?)
    }

    fn read(expression: &Expr) -> Option<Self> {
        let list =
            |items: &mut dyn Iterator<Item = &Expr>| Some(Self::List(items.map(Self::read).collect::<Option<_>>()?));
        match expression {
            Expr::Lit(literal) => match &literal.lit {
                Lit::Int(number) if number.suffix().is_empty() => number.base10_parse().ok().map(Self::Number),
                Lit::Float(number) if number.suffix().is_empty() => number.base10_parse().ok().map(Self::Number),
                Lit::Bool(flag) => Some(Self::Flag(flag.value)),
                Lit::Str(text) => Some(Self::Text(text.value())),
                _ => None,
            },
            Expr::Unary(of) if matches!(of.op, syn::UnOp::Neg(_)) => match Self::read(&of.expr)? {
                Self::Number(number) => Some(Self::Number(-number)),
                _ => None,
            },
            Expr::Path(path) => match path.path.get_ident()?.to_string().as_str() {
                "None" => Some(Self::Nothing),
                "inf" => Some(Self::Number(f64::INFINITY)),
                "NaN" => Some(Self::Number(f64::NAN)),
                _ => None,
            },
            Expr::Call(call) if call.args.len() == 1 => Self::read(&call.args[0]),
            Expr::Array(array) => list(&mut array.elems.iter()),
            Expr::Tuple(tuple) => list(&mut tuple.elems.iter()),
            Expr::Paren(paren) => Self::read(&paren.expr),
            _ => None,
        }
    }

    /// The items of a list; none of anything else.
    pub fn items(&self) -> &[Self] {
        match self {
            Self::List(items) => items,
            _ => &[],
        }
    }

    /// As a number.
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// As a string.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Whether it is `true`.
    pub fn is_true(&self) -> bool {
        *self == Self::Flag(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::plain;

    fn read(value: impl std::fmt::Debug) -> Option<Answer> {
        Answer::of(&Ran { value: Some(plain(format!("{value:?}"))), ..Ran::default() })
    }

    #[test]
    fn what_debug_writes_is_read_back() {
        let text = "a \"quote\"\nline \u{1} ä \\ '";
        let answer = read(vec![(3_u64, -1.5e-9, text, true, Some("x"), None::<u8>)]).unwrap();
        let [number, small, word, flag, some, nothing] = answer.items()[0].items() else { panic!("{answer:?}") };
        assert_eq!((number.number(), small.number(), word.text()), (Some(3.0), Some(-1.5e-9), Some(text)));
        assert!(flag.is_true());
        assert_eq!((some.text(), nothing), (Some("x"), &Answer::Nothing));
        assert_eq!(read(f64::NEG_INFINITY), Some(Answer::Number(f64::NEG_INFINITY)));
        assert_eq!(read(Vec::<u8>::new()), Some(Answer::List(vec![])));
        assert_eq!(read(std::time::Duration::ZERO), None);
    }
}
