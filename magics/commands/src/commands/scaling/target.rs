//! `--target 'METRIC<=V'`.

use crate::error::{ErrorName, Result, Spanned};
use crate::syntax::Arguments;
use tunebook_study::Direction;

/// What is to be reached.
#[derive(Clone, Debug)]
pub struct Target {
    /// The metric, where it stands.
    pub metric: Spanned<String>,
    /// Which way it gets there.
    pub direction: Direction,
    /// The value that is enough.
    pub value: f64,
}

impl Target {
    /// Reads the option, which must be there.
    pub fn new(arguments: &Arguments) -> Result<Self> {
        let help = || Some("for example --target 'valid/error<=0.05'".to_string());
        let Some(word) = arguments.option("target") else {
            let message = "what is to be reached must be said: `--target 'METRIC<=V'`";
            return Err(arguments.source.syntax_error(arguments.line.clone(), message, help()));
        };
        let wrong =
            |message: String| arguments.source.error(ErrorName::InvalidValue, word.span.clone(), message, help());
        let parts = [("<=", Direction::Minimize), (">=", Direction::Maximize)];
        let found = parts.iter().find_map(|(sign, direction)| {
            let (metric, value) = word.text.split_once(sign)?;
            Some((metric.trim(), value.trim(), *direction))
        });
        let Some((metric, value, direction)) = found.filter(|(metric, ..)| !metric.is_empty()) else {
            return Err(wrong(format!("`{}` is no target: it is written METRIC<=V or METRIC>=V", word.text)));
        };
        let Some(value) = value.parse::<f64>().ok().filter(|value| value.is_finite()) else {
            return Err(wrong(format!("`{value}` is not a number")));
        };
        Ok(Self { metric: Spanned::new(metric.into(), word.span.clone()), direction, value })
    }

    /// `valid/error ≤ 0.05`.
    pub fn shown(&self) -> String {
        let sign = match self.direction {
            Direction::Minimize => '≤',
            Direction::Maximize => '≥',
        };
        format!("{} {sign} {}", self.metric.value, self.value)
    }

    /// As it is written in the option, without spaces.
    pub fn text(&self) -> String {
        let sign = match self.direction {
            Direction::Minimize => "<=",
            Direction::Maximize => ">=",
        };
        format!("{}{sign}{}", self.metric.value, self.value)
    }
}
