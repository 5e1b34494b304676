//! The declarations of a sweep: its body, or the words of its one-line form.

use super::Word;
use super::tokens::{Token, tokens};
use crate::error::{ErrorName, MagicError, Result, Source, Span, Spanned, suggest};
use tunebook_study::{Direction, Distribution, Role, Value, WorkloadReference};

/// One hyperparameter as it was declared.
#[derive(Clone, Debug, PartialEq)]
pub struct Declaration {
    /// What it is for.
    pub role: Role,
    /// Its name.
    pub name: Spanned<String>,
    /// Where its values come from.
    pub distribution: Spanned<Distribution>,
    /// `when NAME in values`, outermost first.
    pub conditions: Vec<(Spanned<String>, Vec<Value>)>,
    /// The whole declaration.
    pub span: Span,
}

/// What a sweep's body says, not yet compared with what the workload knows.
#[derive(Clone, Debug, Default)]
pub struct SweepBody {
    /// What is trained.
    pub workload: Option<Spanned<WorkloadReference>>,
    /// The hyperparameters in order.
    pub declarations: Vec<Declaration>,
    /// `minimize` or `maximize`.
    pub objective: Option<(Direction, Spanned<String>)>,
    /// What the study is to answer.
    pub question: Option<String>,
    /// Free text.
    pub notes: Option<String>,
}

/// The words that begin a declaration, unless `when` stands before it.
pub const KEYWORDS: [&str; 9] =
    ["workload", "command", "scientific", "nuisance", "fixed", "minimize", "maximize", "question", "notes"];

/// Reads the lines of `span`: one declaration each.
pub fn parse_body(source: &Source, span: Span) -> Result<SweepBody> {
    let mut body = SweepBody::default();
    let mut start = span.start;
    for line in source.text()[span].split_inclusive('\n') {
        let line_span = start..start + line.trim_end_matches(['\n', '\r']).len();
        start += line.len();
        parse_line(source, line_span, &mut body)?;
    }
    Ok(body)
}

/// Reads `WORKLOAD hp~distribution hp=[list] hp=value …`: lists are scientific, distributions nuisance, values fixed.
pub fn parse_one_line(source: &Source, words: &[Word]) -> Result<SweepBody> {
    let mut body = SweepBody::default();
    for (i, word) in words.iter().enumerate() {
        let is_declaration = word.text.contains(['~', '=']);
        if i == 0 && !is_declaration {
            let name = WorkloadReference::Builtin { name: word.text.clone() };
            body.workload = Some(Spanned::new(name, word.span.clone()));
            continue;
        }
        let mut line = Line::new(source, word.span.clone())?;
        let name = line.word("a hyperparameter")?;
        let (role, distribution) = match line.next() {
            Some((Token::Mark("~"), _)) => (Role::Nuisance, line.distribution()?),
            Some((Token::Mark("="), _)) if line.peek() == Some(&Token::Mark("[")) => {
                (Role::Scientific, line.list_distribution()?)
            }
            Some((Token::Mark("="), _)) => {
                let value = line.value()?;
                (Role::Fixed, Spanned::new(Distribution::constant(value.value), value.span))
            }
            _ => {
                let help = "write hp~loguniform(a,b), hp=[v,…] or hp=v";
                let message = format!("`{}` declares nothing", word.text);
                return Err(source.syntax_error(word.span.clone(), message, Some(help.into())));
            }
        };
        line.end()?;
        body.declarations.push(Declaration { role, name, distribution, conditions: vec![], span: word.span.clone() });
    }
    Ok(body)
}

fn parse_line(source: &Source, span: Span, body: &mut SweepBody) -> Result<()> {
    let text = &source.text()[span.clone()];
    // A program's line is split as a shell would split it, `#` and all, so it never reaches the tokens.
    if let Some(rest) = text.trim_start().strip_prefix("command").filter(|rest| rest.starts_with([' ', '\t'])) {
        let place = span.end - rest.len()..span.end;
        let words = shell_words::split(&without_comments(rest)).map_err(|error| {
            source.syntax_error(place.clone(), format!("the command cannot be split: {error}"), None)
        })?;
        if words.is_empty() {
            return Err(source.syntax_error(span, "`command` names no program", None));
        }
        return set(source, &mut body.workload, Spanned::new(WorkloadReference::Command { words }, place), "workload");
    }
    let mut line = Line::new(source, span.clone())?;
    let Some((_, first)) = line.tokens.first().cloned() else { return Ok(()) };
    let conditions = line.conditions()?;
    let keyword = line.word("a declaration")?;
    let role = match keyword.value.as_str() {
        "scientific" => Some(Role::Scientific),
        "nuisance" => Some(Role::Nuisance),
        "fixed" => Some(Role::Fixed),
        _ => None,
    };
    if let Some(role) = role {
        let name = line.word("the name of a hyperparameter")?;
        let distribution = line.assignment(role, &name)?;
        line.end()?;
        let span = first.start..distribution.span.end;
        body.declarations.push(Declaration { role, name, distribution, conditions, span });
        return Ok(());
    }
    if let Some((name, _)) = conditions.first() {
        let message = format!("`{}` cannot be conditional; only hyperparameters can", keyword.value);
        return Err(source.syntax_error(name.span.start..keyword.span.end, message, None));
    }
    match keyword.value.as_str() {
        "workload" => {
            let name = line.word("the name of a workload")?;
            let workload = WorkloadReference::Builtin { name: name.value };
            set(source, &mut body.workload, Spanned::new(workload, name.span), "workload")?;
        }
        "minimize" | "maximize" => {
            let metric = line.text("a metric")?;
            let minimize = keyword.value == "minimize";
            let direction = if minimize { Direction::Minimize } else { Direction::Maximize };
            if body.objective.is_some() {
                let message = "a study has one objective, and another one stands above";
                return Err(source.syntax_error(keyword.span, message, None));
            }
            body.objective = Some((direction, metric));
        }
        "question" => body.question = Some(line.text("the question in quotes")?.value),
        "notes" => body.notes = Some(line.text("the notes in quotes")?.value),
        other => {
            let message = format!("`{other}` begins no declaration");
            return Err(source.syntax_error(keyword.span, message, suggest(other, KEYWORDS)));
        }
    }
    line.end()
}

/// A shell would take `#` at the start of a word for a comment; a command line has none, so it is escaped.
fn without_comments(command: &str) -> String {
    let mut escaped = String::new();
    let (mut quote, mut previous) = (None, ' ');
    for c in command.chars() {
        match quote {
            None if c == '#' && previous.is_whitespace() => escaped.push('\\'),
            None if matches!(c, '\'' | '"') && previous != '\\' => quote = Some(c),
            Some(open) if c == open && (open == '\'' || previous != '\\') => quote = None,
            _ => {}
        }
        escaped.push(c);
        previous = c;
    }
    escaped
}

fn set<T>(source: &Source, place: &mut Option<Spanned<T>>, value: Spanned<T>, what: &str) -> Result<()> {
    if place.is_some() {
        return Err(source.syntax_error(value.span, format!("the {what} is declared already"), None));
    }
    *place = Some(value);
    Ok(())
}

/// The tokens of one line, read from left to right.
struct Line<'a> {
    source: &'a Source,
    tokens: Vec<(Token, Span)>,
    next: usize,
    span: Span,
}

impl<'a> Line<'a> {
    fn new(source: &'a Source, span: Span) -> Result<Self> {
        Ok(Self { source, tokens: tokens(source, span.clone())?, next: 0, span })
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next).map(|(token, _)| token)
    }

    fn next(&mut self) -> Option<(Token, Span)> {
        let token = self.tokens.get(self.next).cloned();
        self.next += 1;
        token
    }

    /// Where the last token ended.
    fn position(&self) -> usize {
        self.tokens.get(self.next.min(self.tokens.len()).wrapping_sub(1)).map_or(self.span.start, |(_, span)| span.end)
    }

    /// "expected …, found …".
    fn expected(&self, what: &str, found: Option<(Token, Span)>) -> MagicError {
        match found {
            Some((token, span)) => {
                self.source.syntax_error(span, format!("expected {what}, found {}", token.describe()), None)
            }
            None => {
                let end = self.tokens.last().map_or(self.span.end, |(_, span)| span.end);
                self.source.syntax_error(end..end, format!("expected {what} after this"), None)
            }
        }
    }

    fn mark(&mut self, mark: &'static str) -> Result<Span> {
        match self.next() {
            Some((Token::Mark(found), span)) if found == mark => Ok(span),
            found => Err(self.expected(&format!("`{mark}`"), found)),
        }
    }

    fn word(&mut self, what: &str) -> Result<Spanned<String>> {
        match self.next() {
            Some((Token::Word(word), span)) => Ok(Spanned::new(word, span)),
            found => Err(self.expected(what, found)),
        }
    }

    /// A bare word or a quoted string.
    fn text(&mut self, what: &str) -> Result<Spanned<String>> {
        match self.next() {
            Some((Token::Word(text) | Token::Literal(Value::Text(text)), span)) => Ok(Spanned::new(text, span)),
            found => Err(self.expected(what, found)),
        }
    }

    /// A number, a string, true or false.
    fn value(&mut self) -> Result<Spanned<Value>> {
        match self.next() {
            Some((Token::Literal(value), span)) => Ok(Spanned::new(value, span)),
            Some((Token::Word(word), span)) => {
                let value = match word.as_str() {
                    "true" => Value::Bool(true),
                    "false" => Value::Bool(false),
                    _ => Value::Text(word),
                };
                Ok(Spanned::new(value, span))
            }
            found => Err(self.expected("a value", found)),
        }
    }

    fn end(&mut self) -> Result<()> {
        match self.next() {
            None => Ok(()),
            Some((token, span)) => {
                let help = "one declaration a line; a comment begins with # after a space";
                let message = format!("{} is too much here", token.describe());
                Err(self.source.syntax_error(span, message, Some(help.into())))
            }
        }
    }

    /// `when NAME == v:` and `when NAME in [v, …]:`, as many as there are.
    fn conditions(&mut self) -> Result<Vec<(Spanned<String>, Vec<Value>)>> {
        let mut conditions = vec![];
        while self.peek() == Some(&Token::Word("when".into())) {
            self.next();
            let name = self.word("the name of a hyperparameter")?;
            let values = match self.next() {
                Some((Token::Mark("=="), _)) => vec![self.value()?.value],
                Some((Token::Word(word), _)) if word == "in" => self.list()?.0,
                found => return Err(self.expected("`==` or `in [`", found)),
            };
            self.mark(":")?;
            conditions.push((name, values));
        }
        Ok(conditions)
    }

    /// What follows a role and a name.
    fn assignment(&mut self, role: Role, name: &Spanned<String>) -> Result<Spanned<Distribution>> {
        let mark = self.next();
        let distribution = match &mark {
            Some((Token::Mark("~"), _)) => self.distribution()?,
            Some((Token::Word(word), _)) if word == "in" => self.list_distribution()?,
            Some((Token::Mark("="), _)) => {
                let value = self.value()?;
                Spanned::new(Distribution::constant(value.value), value.span)
            }
            _ => return Err(self.expected("`~ distribution`, `in [values]` or `= value`", mark)),
        };
        let one_value = distribution.value.is_constant();
        if one_value == (role == Role::Fixed) {
            return Ok(distribution);
        }
        let name = &name.value;
        let (message, help) = match role {
            Role::Fixed => (
                format!("a fixed hyperparameter has one value: `fixed {name} = v`"),
                "to tune it away write `nuisance`, to measure its effect `scientific`",
            ),
            _ => (
                format!("a {role} hyperparameter needs several values, and `{name}` has one"),
                "with one value it is `fixed`",
            ),
        };
        let start = mark.map_or(distribution.span.start, |(_, span)| span.start);
        Err(self.source.syntax_error(start..distribution.span.end, message, Some(help.into())))
    }

    fn list(&mut self) -> Result<(Vec<Value>, Span)> {
        let open = self.mark("[")?;
        let mut values = vec![];
        loop {
            if self.peek() == Some(&Token::Mark("]")) {
                break;
            }
            values.push(self.value()?.value);
            if self.peek() != Some(&Token::Mark(",")) {
                break;
            }
            self.next();
        }
        let close = self.mark("]")?;
        Ok((values, open.start..close.end))
    }

    fn list_distribution(&mut self) -> Result<Spanned<Distribution>> {
        let (values, span) = self.list()?;
        self.checked(Distribution::choice(values), span)
    }

    /// `uniform(a, b)` and its kin; `1 - loguniform(a, b)`.
    fn distribution(&mut self) -> Result<Spanned<Distribution>> {
        let start = self.tokens.get(self.next).map_or(self.position(), |(_, span)| span.start);
        let one_minus = self.peek() == Some(&Token::Literal(Value::Int(1)));
        if one_minus {
            self.next();
            self.mark("-")?;
        }
        const NAMES: [&str; 4] = ["uniform", "loguniform", "int", "logint"];
        let name = self.word("a distribution")?;
        if !NAMES.contains(&name.value.as_str()) || (one_minus && name.value != "loguniform") {
            let message = if one_minus {
                format!("after `1 -` stands `loguniform(a, b)`, not `{}`", name.value)
            } else {
                format!("there is no distribution `{}`", name.value)
            };
            let help = suggest(&name.value, if one_minus { vec!["loguniform"] } else { NAMES.to_vec() });
            return Err(self.source.error(ErrorName::InvalidDistribution, name.span, message, help));
        }
        self.mark("(")?;
        let low = self.bound(&name.value)?;
        self.mark(",")?;
        let high = self.bound(&name.value)?;
        let end = self.mark(")")?.end;
        let whole = |bound: &Spanned<Value>| {
            bound.value.as_i64().ok_or_else(|| {
                let message = format!("the bounds of {} are whole numbers, and {} is not", name.value, bound.value);
                self.source.error(ErrorName::InvalidDistribution, bound.span.clone(), message, None)
            })
        };
        let real = |bound: &Spanned<Value>| bound.value.as_f64().unwrap_or(f64::NAN);
        let distribution = match (name.value.as_str(), one_minus) {
            ("uniform", _) => Distribution::uniform(real(&low), real(&high)),
            ("loguniform", false) => Distribution::log_uniform(real(&low), real(&high)),
            ("loguniform", true) => Distribution::one_minus_log_uniform(real(&low), real(&high)),
            ("int", _) => Distribution::int(whole(&low)?, whole(&high)?),
            _ => Distribution::log_int(whole(&low)?, whole(&high)?),
        };
        self.checked(distribution, start..end)
    }

    fn bound(&mut self, distribution: &str) -> Result<Spanned<Value>> {
        let value = self.value()?;
        if value.value.as_f64().is_none() {
            let message = format!("the bounds of {distribution} are numbers, and `{}` is not", value.value);
            return Err(self.source.error(ErrorName::InvalidDistribution, value.span, message, None));
        }
        Ok(value)
    }

    fn checked(
        &self,
        distribution: std::result::Result<Distribution, tunebook_study::DistributionError>,
        span: Span,
    ) -> Result<Spanned<Distribution>> {
        match distribution {
            Ok(distribution) => Ok(Spanned::new(distribution, span)),
            Err(error) => Err(self.source.error(ErrorName::InvalidDistribution, span, error.to_string(), None)),
        }
    }
}
