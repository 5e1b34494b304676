//! Parses the text of a magic into words, options, and the declarations of a sweep. Every part keeps its span in the
//! text, so that an error can point at it.

mod command_line;
mod declarations;
mod foreign;
mod lines;
mod options;
mod tokens;
mod words;

#[cfg(test)]
mod tests;

pub use declarations::{
    Declaration, GivenConfigurations, KEYWORDS, Preset, SweepBody, parse_body, parse_one_line, place_of_value,
};
pub use options::{
    Arguments, OptionSpec, PNG, PRICE, duration, option, parse_arguments, parse_before_code, parse_leading,
};
pub use words::{Word, quoted_word, split_words};
