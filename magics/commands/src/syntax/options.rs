//! Parses GNU-style options: `--trials 40`, `--trials=40` and `-a`, in any order among the positional words.

use super::Word;
use crate::error::{ErrorName, MagicError, Result, Source, Span, nearest};
use std::num::IntErrorKind;
use std::time::Duration;

/// An option of a magic.
#[derive(Clone, Copy, Debug)]
pub struct OptionSpec {
    /// The name without dashes. A name of one letter is written with one dash (`-a`), a longer one with two.
    pub name: &'static str,
    /// The name of the value in the help, or None for a switch. If it ends with `…`, the option can be given several
    /// times.
    pub value: Option<&'static str>,
    pub help: &'static str,
}

/// An option, for lists in which each stands on one line. `value` is None for a switch.
pub const fn option(name: &'static str, value: Option<&'static str>, help: &'static str) -> OptionSpec {
    OptionSpec { name, value, help }
}

/// The option of magics that show a chart.
pub const PNG: OptionSpec = option("png", None, "show the chart as a PNG picture too, for programs without HTML");
/// The option of magics that say what training costs.
pub const PRICE: OptionSpec = option("price", Some("P"), "price of one device for one hour, in any currency");

impl OptionSpec {
    /// The name with its dashes: `--append`, `-a`.
    pub fn written(&self) -> String {
        written(self.name)
    }
}

fn written(name: &str) -> String {
    if name.chars().count() == 1 { format!("-{name}") } else { format!("--{name}") }
}

/// The words of a magic, sorted into options and positional words.
#[derive(Clone, Debug)]
pub struct Arguments {
    /// The text of the magic.
    pub source: Source,
    /// The words that are not options, in their order.
    pub positional: Vec<Word>,
    /// The options by name, with their values. A switch has an empty value.
    options: Vec<(&'static str, Word)>,
    /// The span of the first line. Errors about missing words point at it.
    pub line: Span,
}

/// Reads a duration: `30s`, `30m`, `2h`, `1h30m`. The error is the end of a sentence about what takes it.
pub fn duration(text: &str) -> std::result::Result<Duration, String> {
    match seconds(text).map(Duration::try_from_secs_f64) {
        Some(Ok(duration)) if !duration.is_zero() => Ok(duration),
        _ => Err(format!("takes a duration like 30s, 30m or 2h, or 1h30m, not `{text}`")),
    }
}

/// The seconds of a duration, whose units get smaller from part to part. None if it is none.
fn seconds(text: &str) -> Option<f64> {
    let (mut seconds, mut rest, mut largest) = (0.0, text, f64::INFINITY);
    while !rest.is_empty() {
        let (number, unit) = rest.split_at(rest.find(['h', 'm', 's'])?);
        let factor = match &unit[..1] {
            "h" => 3600.0,
            "m" => 60.0,
            _ => 1.0,
        };
        let number = number.parse::<f64>().ok().filter(|number| *number >= 0.0 && factor < largest)?;
        seconds += number * factor;
        (largest, rest) = (factor, &unit[1..]);
    }
    Some(seconds)
}

/// Short forms from IPython. A magic that has the long option accepts the short form too.
const SHORT: [(&str, &str); 3] = [("-f", "force"), ("-n", "loops"), ("-r", "samples")];

/// Sorts words into options and positional words.
pub fn parse_arguments(source: &Source, line: Span, words: Vec<Word>, known: &[OptionSpec]) -> Result<Arguments> {
    sort(source, line, words, known, false)
}

/// Like [`parse_arguments`], but the first positional word ends the options. The words after it belong to a program.
pub fn parse_leading(source: &Source, line: Span, words: Vec<Word>, known: &[OptionSpec]) -> Result<Arguments> {
    sort(source, line, words, known, true)
}

fn sort(source: &Source, line: Span, words: Vec<Word>, known: &[OptionSpec], leading: bool) -> Result<Arguments> {
    let mut arguments = Arguments { source: source.clone(), positional: vec![], options: vec![], line };
    let mut words = words.into_iter().map(|word| lengthened(word, known)).peekable();
    while let Some(word) = words.next() {
        let long = word.text.strip_prefix("--").filter(|_| !word.quoted || word.text.contains('='));
        let Some(option) = long.or_else(|| short(&word, known)) else {
            arguments.positional.push(word);
            if leading {
                arguments.positional.extend(words);
                break;
            }
            continue;
        };
        let (name, inline) = match option.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (option, None),
        };
        let spec = known.iter().find(|spec| spec.name == name && (long.is_none() || name.chars().count() > 1));
        let Some(spec) = spec else {
            let names: Vec<String> = known.iter().map(OptionSpec::written).collect();
            let help = match nearest(&format!("--{name}"), names.iter().map(String::as_str)) {
                Some(near) => format!("did you mean `{near}`?"),
                None if names.is_empty() => "this magic has no options".into(),
                None => format!("its options are {}", names.join(", ")),
            };
            let message = format!("there is no option `--{name}`");
            return Err(source.error(ErrorName::UnknownOption, word.span, message, Some(help)));
        };
        let shown = spec.written();
        let repeats = spec.value.is_some_and(|value| value.ends_with('…'));
        if !repeats && arguments.options.iter().any(|(earlier, _)| *earlier == spec.name) {
            return Err(source.syntax_error(word.span, format!("`{shown}` is given twice"), None));
        }
        let value = match (spec.value, inline) {
            (None, None) => Word { text: String::new(), ..word },
            (None, Some(_)) => {
                return Err(source.syntax_error(word.span, format!("`{shown}` is a switch and takes no value"), None));
            }
            (Some(_), Some(value)) => {
                let start = word.span.end - value.len().min(word.span.len());
                Word { text: value.into(), span: start..word.span.end, quoted: word.quoted }
            }
            (Some(metavariable), None) => match words.next_if(|next| next.quoted || !next.text.starts_with("--")) {
                Some(value) => value,
                None => {
                    let message = format!("`{shown}` needs a value: `{shown} {metavariable}`");
                    return Err(source.syntax_error(word.span, message, None));
                }
            },
        };
        arguments.options.push((spec.name, value));
    }
    Ok(arguments)
}

/// Returns `-a` or `-n=5` without its dash if the magic has this option of one letter. Any other word with one dash is
/// positional, such as `-1`.
fn short<'a>(word: &'a Word, known: &[OptionSpec]) -> Option<&'a str> {
    let option = word.text.strip_prefix('-').filter(|_| !word.quoted)?;
    let name = option.split_once('=').map_or(option, |(name, _)| name);
    (name.chars().count() == 1 && known.iter().any(|spec| spec.name == name)).then_some(option)
}

/// Sorts the words of a line that ends with Rust. Options come first. Everything from the first other word on is code,
/// and becomes one positional word with its spaces and quotes unchanged.
pub fn parse_before_code(source: &Source, line: Span, rest: Span, known: &[OptionSpec]) -> Result<Arguments> {
    let mut words = vec![];
    let mut at = rest.start;
    let mut value_follows = false;
    let code = loop {
        let left = &source.text()[at..rest.end];
        let start = at + left.len() - left.trim_start().len();
        let text = source.text()[start..rest.end].split_whitespace().next().unwrap_or("");
        let word = Word { text: text.into(), span: start..start + text.len(), quoted: false };
        let long = lengthened(word.clone(), known);
        let Some(option) = long.text.strip_prefix("--").filter(|_| !value_follows) else {
            if value_follows && !text.is_empty() {
                (at, value_follows) = (word.span.end, false);
                words.push(word);
                continue;
            }
            break start..rest.end;
        };
        value_follows = known.iter().any(|spec| spec.name == option && spec.value.is_some());
        at = word.span.end;
        words.push(word);
    };
    let mut arguments = parse_arguments(source, line, words, known)?;
    let text = source.text()[code.clone()].trim_end();
    if !text.is_empty() {
        arguments.positional.push(Word { text: text.into(), span: code.start..code.start + text.len(), quoted: true });
    }
    Ok(arguments)
}

/// Replaces a short form of IPython by the long one: `-n` by `--loops`, and `-n100` by `--loops=100`.
fn lengthened(word: Word, known: &[OptionSpec]) -> Word {
    let short = SHORT.iter().find(|(short, long)| {
        !word.quoted && word.text.starts_with(short) && known.iter().any(|spec| spec.name == *long)
    });
    let Some((short, long)) = short else { return word };
    let text = match &word.text[short.len()..] {
        "" => format!("--{long}"),
        value if value.starts_with(|c: char| c.is_ascii_digit()) => format!("--{long}={value}"),
        _ => return word,
    };
    Word { text, ..word }
}

impl Arguments {
    /// The value of an option, or None if the option was not given.
    pub fn option(&self, name: &str) -> Option<&Word> {
        self.options.iter().find(|(given, _)| *given == name).map(|(_, word)| word)
    }

    /// All values of an option that can be given several times.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &Word> {
        self.options.iter().filter(move |(given, _)| *given == name).map(|(_, word)| word)
    }

    /// Whether an option or a switch was given.
    pub fn has(&self, name: &str) -> bool {
        self.option(name).is_some()
    }

    /// The value of an option as a whole number of at least `least`.
    pub fn count(&self, name: &str, least: u64) -> Result<Option<u64>> {
        let Some(word) = self.option(name) else { return Ok(None) };
        match word.text.parse::<u64>() {
            Ok(count) if count >= least => Ok(Some(count)),
            Err(error) if *error.kind() == IntErrorKind::PosOverflow => {
                let (written, most) = (written(name), u64::MAX);
                Err(self.invalid(word, format!("`{written} {}` is too large: the largest is {most}", word.text)))
            }
            _ => {
                let written = written(name);
                let message = format!("`{written}` takes a whole number of at least {least}, not `{}`", word.text);
                Err(self
                    .invalid(word, message)
                    .with_help(format!("write a number, such as `{written} {}`", least.max(10))))
            }
        }
    }

    /// Like [`Self::count`], for a number that must fit into 32 bits.
    pub fn small_count(&self, name: &str, least: u64) -> Result<Option<u32>> {
        let Some(count) = self.count(name, least)? else { return Ok(None) };
        match (u32::try_from(count), self.option(name)) {
            (Err(_), Some(word)) => {
                let most = u32::MAX;
                Err(self.invalid(word, format!("`{} {count}` is too many: the most are {most}", written(name))))
            }
            (count, _) => Ok(count.ok()),
        }
    }

    /// The value of an option as an amount above 0, such as a price.
    pub fn amount(&self, name: &str) -> Result<Option<f64>> {
        let Some(word) = self.option(name) else { return Ok(None) };
        match word.text.parse::<f64>() {
            Ok(amount) if amount.is_finite() && amount > 0.0 => Ok(Some(amount)),
            _ => {
                let written = written(name);
                let message = format!("`{written}` takes an amount above 0, not `{}`", word.text);
                Err(self.invalid(word, message).with_help(format!("write a number, such as `{written} 2.5`")))
            }
        }
    }

    /// The value of an option as a duration: `30s`, `30m`, `2h`.
    pub fn duration(&self, name: &str) -> Result<Option<Duration>> {
        let Some(word) = self.option(name) else { return Ok(None) };
        let parsed = duration(&word.text);
        parsed.map(Some).map_err(|problem| self.invalid(word, format!("`{}` {problem}", written(name))))
    }

    /// The positional word at an index. If there is none, the error says that `what` is missing.
    pub fn required(&self, index: usize, what: &str) -> Result<&Word> {
        self.positional
            .get(index)
            .ok_or_else(|| self.source.syntax_error(self.line.clone(), format!("{what} is missing"), None))
    }

    /// Returns an error if there are more than `most` positional words.
    pub fn at_most(&self, most: usize) -> Result<()> {
        match self.positional.get(most) {
            Some(word) => {
                let message = format!("unexpected `{}`: there is one word too many", word.text);
                Err(self.source.syntax_error(word.span.clone(), message, None))
            }
            None => Ok(()),
        }
    }

    /// The error `InvalidValue` that points at a word.
    pub fn invalid(&self, word: &Word, message: impl Into<String>) -> MagicError {
        self.source.error(ErrorName::InvalidValue, word.span.clone(), message, None)
    }
}
