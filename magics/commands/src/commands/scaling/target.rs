//! The target of a scaling: `--target 'METRIC<=V'`.

use crate::error::{ErrorName, Result, Spanned};
use crate::syntax::Arguments;
use tunebook_study::Direction;

/// A value of a metric that trials are to reach.
#[derive(Clone, Debug)]
pub struct Target {
    /// The metric, with its place in the text.
    pub metric: Spanned<String>,
    /// Whether the metric is minimized (`<=`) or maximized (`>=`).
    pub direction: Direction,
    /// The value at which the target is reached.
    pub value: f64,
}

impl Target {
    /// Reads the option. It is an error if it is missing.
    pub fn new(arguments: &Arguments) -> Result<Self> {
        let help = || Some("for example --target 'valid/error<=0.05'".to_string());
        let Some(word) = arguments.option("target") else {
            let message = "the target is missing: `--target 'METRIC<=V'`";
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
            return Err(wrong(format!("`{}` is not a target: write METRIC<=V or METRIC>=V", word.text)));
        };
        let Some(value) = value.parse::<f64>().ok().filter(|value| value.is_finite()) else {
            return Err(wrong(format!("`{value}` is not a number")));
        };
        Ok(Self { metric: Spanned::new(metric.into(), word.span.clone()), direction, value })
    }

    /// The target for people: `valid/error ≤ 0.05`.
    pub fn shown(&self) -> String {
        let sign = match self.direction {
            Direction::Minimize => '≤',
            Direction::Maximize => '≥',
        };
        format!("{} {sign} {}", self.metric.value, self.value)
    }

    /// The target as it is written in the option, without spaces: `valid/error<=0.05`.
    pub fn text(&self) -> String {
        let sign = match self.direction {
            Direction::Minimize => "<=",
            Direction::Maximize => ">=",
        };
        format!("{}{sign}{}", self.metric.value, self.value)
    }
}
