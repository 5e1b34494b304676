//! The inputs that `%history` and `%save` select: by ranges of execution counts (`1-5 7`), and by session
//! (`--session`).

use crate::error::{ErrorName, MagicError, Result, Source, Span};
use crate::host::session::{Input, Session};
use crate::syntax::{Arguments, OptionSpec};
use std::ops::RangeInclusive;

pub const SESSION: OptionSpec = OptionSpec {
    name: "session",
    value: Some("N"),
    help: "take the inputs of an earlier session: -1 is the one before (default: 0, this one)",
};

/// A range of execution counts, and where it is written.
type Range = (RangeInclusive<u64>, Span);

/// A selection of inputs. Without any range, it selects all inputs of the session.
pub struct InputSelection {
    source: Source,
    line: Span,
    ranges: Vec<Range>,
    /// 0 is this session, -1 the one before.
    pub session: i64,
}

impl InputSelection {
    /// Reads the ranges from the positional words with the index `first` and up, and the option `--session`.
    pub fn new(arguments: &Arguments, first: usize) -> Result<Self> {
        let session = match arguments.option("session") {
            None => 0,
            Some(word) => match word.text.parse() {
                Ok(session @ ..=0) => session,
                _ => {
                    let message = format!("`--session` takes 0, or -1 for the session before, not `{}`", word.text);
                    return Err(arguments.invalid(word, message));
                }
            },
        };
        let mut ranges = vec![];
        for word in arguments.positional.iter().skip(first) {
            let Some(range) = range(&word.text) else {
                let help = "`7` is one input, `1-5` are five, `3-` are all from number 3".to_string();
                let message = format!("`{}` is not a range of inputs", word.text);
                return Err(arguments.source.error(ErrorName::InvalidValue, word.span.clone(), message, Some(help)));
            };
            ranges.push((range, word.span.clone()));
        }
        Ok(Self { source: arguments.source.clone(), line: arguments.line.clone(), ranges, session })
    }

    /// The selected inputs, in the order of the ranges. A range that contains no input is an error.
    pub fn inputs(&self, session: &dyn Session) -> Result<Vec<Input>> {
        let all = session.inputs(self.session)?;
        if all.is_empty() && self.session < 0 {
            let message = format!("there is no history of session {}", self.session);
            return Err(self.source.error(ErrorName::UnknownInput, self.line.clone(), message, None));
        }
        if self.ranges.is_empty() {
            return Ok(all);
        }
        let mut selected = vec![];
        for (range, span) in &self.ranges {
            let before = selected.len();
            selected.extend(all.iter().filter(|input| range.contains(&input.line)).cloned());
            if selected.len() == before {
                return Err(self.missing(range, span, &all));
            }
        }
        Ok(selected)
    }

    /// The error for a range that contains no input.
    fn missing(&self, range: &RangeInclusive<u64>, span: &Span, all: &[Input]) -> MagicError {
        let here = if self.session == 0 { "this session".into() } else { format!("session {}", self.session) };
        let message = match range.start() == range.end() {
            true => format!("{here} has no input {}", range.start()),
            false => format!("{here} has none of these inputs"),
        };
        let help = match (all.first(), all.last()) {
            (Some(first), Some(last)) => format!("it has {} to {}", first.line, last.line),
            _ => "no cell has been run yet".into(),
        };
        self.source.error(ErrorName::UnknownInput, span.clone(), message, Some(help))
    }
}

/// Parses `7`, `1-5` (both ends included) or `3-` (all from the third on).
fn range(text: &str) -> Option<RangeInclusive<u64>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let first: u64 = first.parse().ok()?;
    let last = if last.is_empty() { u64::MAX } else { last.parse().ok()? };
    (1..=last).contains(&first).then_some(first..=last)
}

#[cfg(test)]
mod tests {
    use super::range;

    #[test]
    fn ranges_include_both_ends() {
        assert_eq!(range("7"), Some(7..=7));
        assert_eq!(range("1-5"), Some(1..=5));
        assert_eq!(range("3-"), Some(3..=u64::MAX));
        for bad in ["0", "5-1", "-5", "a", "", "1-2-3", "1:5", "1.5", "0-3"] {
            assert_eq!(range(bad), None, "{bad}");
        }
    }
}
