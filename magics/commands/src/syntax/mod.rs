//! How the text of a magic becomes words, options, and the declarations of a sweep; every piece keeps its place in the
//! text, so that an error can point at it.

mod body;
mod options;
mod source;
mod tokens;
mod words;

#[cfg(test)]
mod tests;

pub use body::{Declaration, SweepBody, parse_body, parse_one_line};
pub use options::{Arguments, OptionSpec, parse_arguments, parse_before_code, parse_leading};
pub use source::{Source, Span, Spanned};
pub use words::{Word, split_words};
