//! Parses the declarations of a sweep: its body, or the words of its one-line form. A recursive-descent parser reads
//! the tokens of each line.

use super::tokens::{CONDITIONS, Token, tokens};
use super::{Word, command_line, foreign, lines};
use crate::error::{ErrorName, MagicError, Result, Source, Span, Spanned, nearest, suggest};
use tunebook_study::{Direction, Distribution, DistributionError, Role, Value, WorkloadReference};

/// The declaration of one hyperparameter.
#[derive(Clone, Debug, PartialEq)]
pub struct Declaration {
    pub role: Role,
    pub name: Spanned<String>,
    pub distribution: Spanned<Distribution>,
    /// The conditions `when NAME in values`, the outermost first. The hyperparameter is active if all of them hold.
    pub conditions: Vec<(Spanned<String>, Vec<Value>)>,
    /// The span of the whole declaration.
    pub span: Span,
}

/// The parsed body of a sweep. Whether the workload has these hyperparameters and metrics is not checked yet.
#[derive(Clone, Debug, Default)]
pub struct SweepBody {
    pub workload: Option<Spanned<WorkloadReference>>,
    /// The hyperparameters in the order of their lines.
    pub declarations: Vec<Declaration>,
    /// The metric that is minimized or maximized.
    pub objective: Option<(Direction, Spanned<String>)>,
    /// The question that the study is to answer. An empty text is none.
    pub question: Option<Spanned<String>>,
    /// Notes of the user. An empty text is none.
    pub notes: Option<Spanned<String>>,
    /// The optimizer whose hyperparameters are declared by the number of configurations.
    pub preset: Option<Spanned<Preset>>,
    /// The round of experiments that the study belongs to.
    pub round: Option<Spanned<u32>>,
    /// The configurations that are given, in the order of their lines.
    pub configurations: Vec<GivenConfigurations>,
}

/// A line that gives configurations.
#[derive(Clone, Debug)]
pub enum GivenConfigurations {
    /// `configurations FILE.csv`.
    File(Spanned<String>),
    /// `configuration hp=v, …`, with the span of the line.
    Line(Vec<(Spanned<String>, Spanned<Value>)>, Span),
}

/// An optimizer whose hyperparameters a study declares by its number of configurations (Playbook A4, I2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    Sgd,
    Momentum,
    Adam,
}

impl Preset {
    const ALL: [Preset; 3] = [Preset::Sgd, Preset::Momentum, Preset::Adam];

    /// The word that declares it, which is also the name of the optimizer.
    pub fn word(self) -> &'static str {
        match self {
            Preset::Sgd => "sgd",
            Preset::Momentum => "momentum",
            Preset::Adam => "adam",
        }
    }
}

/// The words with which a declaration begins. Conditions (`when …:`) can precede it.
pub const KEYWORDS: [&str; 13] = [
    "workload",
    "command",
    "scientific",
    "nuisance",
    "fixed",
    "minimize",
    "maximize",
    "question",
    "notes",
    "preset",
    "round",
    "configurations",
    "configuration",
];

/// Parses the declarations of `span`, with blank lines and comments between them.
pub fn parse_body(source: &Source, span: Span) -> Result<SweepBody> {
    let mut body = SweepBody::default();
    for declaration in lines::declarations(source, span) {
        parse_line(source, declaration, &mut body)?;
    }
    Ok(body)
}

/// Parses the one-line form `WORKLOAD hp~distribution hp=[list] hp=value …`. A hyperparameter with a distribution is
/// nuisance, one with a list is scientific, and one with a value is fixed.
pub fn parse_one_line(source: &Source, words: &[Word]) -> Result<SweepBody> {
    let mut body = SweepBody::default();
    for (i, word) in words.iter().enumerate() {
        let is_declaration = word.text.contains(['~', '=']);
        if i == 0 && !is_declaration {
            let name = WorkloadReference::Builtin { name: word.text.clone() };
            body.workload = Some(Spanned::new(name, word.span.clone()));
            continue;
        }
        let declaration = one_line_declaration(source, word);
        body.declarations.push(declaration.map_err(|error| foreign::explain(source, word.span.clone(), error))?);
    }
    Ok(body)
}

fn one_line_declaration(source: &Source, word: &Word) -> Result<Declaration> {
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
            let message = format!("`{}` is not a declaration", word.text);
            return Err(source.syntax_error(word.span.clone(), message, Some(help.into())));
        }
    };
    line.end()?;
    Ok(Declaration { role, name, distribution, conditions: vec![], span: word.span.clone() })
}

/// The error for a metric that has to be written in quotes, if the line has one.
fn unquoted_metric(source: &Source, span: Span) -> Option<MagicError> {
    let line = &source.text()[span.clone()];
    let keyword = ["minimize", "maximize"].into_iter().find(|keyword| line.trim_start().starts_with(keyword))?;
    let rest = line.trim_start().strip_prefix(keyword)?;
    let metric = rest.split(" #").next().unwrap_or("").trim();
    let is_word = metric.chars().all(|c| c.is_ascii_alphanumeric() || "_.-/".contains(c));
    let begins = metric.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !rest.starts_with(char::is_whitespace)
        || metric.contains(['"', '\''])
        || (is_word && begins)
        || metric.is_empty()
    {
        return None;
    }
    let start = span.end - rest.trim_start().len();
    let message = format!("`{metric}` has to be written in quotes");
    let help = format!("write `{keyword} \"{metric}\"`");
    Some(source.syntax_error(start..start + metric.len(), message, Some(help)))
}

/// What a name is made of.
const NAMES: &str = "a name begins with a letter or `_`, and has letters, digits, `_`, `-`, `.` and `/`";

/// The forms that a range has.
pub(super) const RANGES: &str = "the ranges are `uniform(a, b)`, `loguniform(a, b)`, `int(a, b)`, `logint(a, b)` and \
    `1 - loguniform(a, b)`";

/// Parses one line and adds it to the body.
fn parse_line(source: &Source, span: Span, body: &mut SweepBody) -> Result<()> {
    let text = &source.text()[span.clone()];
    // A `command` line is not split into tokens but into words, as in a shell, and it has no comments.
    if let Some(rest) = lines::command(text) {
        let place = span.end - rest.len()..span.end;
        let line = command_line::parse(source, place.clone())?;
        return set(source, &mut body.workload, Spanned::new(WorkloadReference::Command(line), place), "workload");
    }
    parse_tokens(source, span.clone(), body)
        .map_err(|error| unquoted_metric(source, span.clone()).unwrap_or(error))
        .map_err(|error| foreign::explain(source, span, error))
}

fn parse_tokens(source: &Source, span: Span, body: &mut SweepBody) -> Result<()> {
    let mut line = Line::new(source, span.clone())?;
    let Some((_, first)) = line.tokens.first().cloned() else { return Ok(()) };
    let conditions = line.conditions().map_err(|error| match error.help {
        None => error.with_help(CONDITIONS),
        Some(_) => error,
    })?;
    let keyword = line.word("a declaration").map_err(|error| match conditions.is_empty() {
        true => error,
        false => error.with_help(
            "write the declaration behind its condition, on the same line: `when HP == v: nuisance HP ~ …`. Each \
             declaration has its own `when`",
        ),
    })?;
    let role = match keyword.value.as_str() {
        "scientific" => Some(Role::Scientific),
        "nuisance" => Some(Role::Nuisance),
        "fixed" => Some(Role::Fixed),
        _ => None,
    };
    if let Some(role) = role {
        let name = line.name()?;
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
                let message = "the objective is already declared in a line above; a study has only one";
                return Err(source.syntax_error(keyword.span, message, Some("remove one of the two lines".into())));
            }
            body.objective = Some((direction, metric));
        }
        "question" => set(source, &mut body.question, line.text("the question in quotes")?, "question")?,
        "notes" => set(source, &mut body.notes, line.text("the notes in quotes")?, "text of `notes`")?,
        "round" => {
            let value = line.value()?;
            let number = value.value.as_i64().and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0);
            let Some(number) = number else {
                let message = format!("a round is a whole number from 1 to {}, not `{}`", u32::MAX, value.value);
                return Err(source.error(ErrorName::InvalidValue, value.span, message, None));
            };
            set(source, &mut body.round, Spanned::new(number, value.span), "round")?;
        }
        "configurations" => {
            body.configurations.push(GivenConfigurations::File(line.text("the name of a CSV file")?));
        }
        "configuration" => {
            let mut values = vec![];
            loop {
                values.push(line.given()?);
                match line.next() {
                    Some((Token::Mark(","), _)) => {}
                    None => break,
                    Some((token, span)) => {
                        let message = format!("unexpected {}", token.describe());
                        let help = "write a comma between two values: `configuration HP = v, HP = v`";
                        return Err(source.syntax_error(span, message, Some(help.into())));
                    }
                }
            }
            body.configurations.push(GivenConfigurations::Line(values, span));
        }
        "preset" => {
            let word = line.word("the name of an optimizer")?;
            let found = Preset::ALL.into_iter().find(|preset| preset.word() == word.value);
            let Some(preset) = found else {
                let message = format!("there is no preset `{}`", word.value);
                let help = suggest(&word.value, Preset::ALL.map(Preset::word));
                return Err(source.error(ErrorName::InvalidValue, word.span, message, help));
            };
            set(source, &mut body.preset, Spanned::new(preset, word.span), "preset")?;
        }
        other => {
            let message = format!("`{other}` is not a declaration");
            return Err(source.syntax_error(keyword.span, message, suggest(other, KEYWORDS)));
        }
    }
    line.end()
}

/// Sets what can be declared only once. A second declaration is an error.
fn set<T>(source: &Source, field: &mut Option<Spanned<T>>, value: Spanned<T>, what: &str) -> Result<()> {
    if field.is_some() {
        let message = format!("the {what} is declared already, in a line above; a study has only one");
        return Err(source.syntax_error(value.span, message, Some("remove one of the two lines".into())));
    }
    *field = Some(value);
    Ok(())
}

/// The value that a token is, if it is one.
fn value_of(token: Token) -> Option<Value> {
    match token {
        Token::Literal(value) => Some(value),
        Token::Word(word) if word == "true" => Some(Value::Bool(true)),
        Token::Word(word) if word == "false" => Some(Value::Bool(false)),
        Token::Word(word) => Some(Value::Text(word)),
        Token::Mark(_) => None,
    }
}

/// The span of the first value of a kind in a part of a declaration. None if there is none.
pub fn place_of_value(source: &Source, part: Span, is_it: impl Fn(&Value) -> bool) -> Option<Span> {
    let tokens = tokens(source, part).ok()?;
    tokens.into_iter().find_map(|(token, span)| value_of(token).is_some_and(|value| is_it(&value)).then_some(span))
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

    /// The end of the last token that was read, or the start of the line.
    fn position(&self) -> usize {
        self.tokens.get(self.next.min(self.tokens.len()).wrapping_sub(1)).map_or(self.span.start, |(_, span)| span.end)
    }

    /// The error "expected …, found …", which points at the unexpected token or at the end of the line.
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

    /// Reads this mark.
    fn mark(&mut self, mark: &'static str) -> Result<Span> {
        match self.next() {
            Some((Token::Mark(found), span)) if found == mark => Ok(span),
            found => Err(self.expected(&format!("`{mark}`"), found)),
        }
    }

    /// Reads a bare word. `what` describes it for the error.
    fn word(&mut self, what: &str) -> Result<Spanned<String>> {
        match self.next() {
            Some((Token::Word(word), span)) => Ok(Spanned::new(word, span)),
            found => Err(self.expected(what, found)),
        }
    }

    /// Reads the name of a hyperparameter.
    fn name(&mut self) -> Result<Spanned<String>> {
        self.word("the name of a hyperparameter").map_err(|error| error.with_help(NAMES))
    }

    /// Reads `HP = v` of a given configuration. The name may be that of one branch, with its condition:
    /// `optimizer=sgd/lr = 0.01`. One with other characters is written in quotes.
    fn given(&mut self) -> Result<(Spanned<String>, Spanned<Value>)> {
        let mut name = self.text("the name of a hyperparameter").map_err(|error| error.with_help(NAMES))?;
        self.mark("=")?;
        let mut value = self.value()?;
        while self.peek() == Some(&Token::Mark("=")) {
            let span = name.span.start..value.span.end;
            let label = &self.source.text()[span.clone()];
            if !label.contains('/') || label.contains(char::is_whitespace) {
                break;
            }
            name = Spanned::new(label.to_string(), span);
            self.next();
            value = self.value()?;
        }
        Ok((name, value))
    }

    /// Reads a bare word or a quoted string.
    fn text(&mut self, what: &str) -> Result<Spanned<String>> {
        match self.next() {
            Some((Token::Word(text) | Token::Literal(Value::Text(text)), span)) => Ok(Spanned::new(text, span)),
            found => Err(self.expected(what, found)),
        }
    }

    /// Reads a value: a number, a string, true or false.
    fn value(&mut self) -> Result<Spanned<Value>> {
        let found = self.next();
        match found.clone().and_then(|(token, span)| Some((value_of(token)?, span))) {
            Some((value, span)) => Ok(Spanned::new(value, span)),
            None => Err(self.expected("a value", found)),
        }
    }

    /// Returns an error unless all tokens are read.
    fn end(&mut self) -> Result<()> {
        match self.next() {
            None => Ok(()),
            Some((token, span)) => {
                let help = "write one declaration on each line; a comment begins with # after a space";
                let message = format!("unexpected {}", token.describe());
                Err(self.source.syntax_error(span, message, Some(help.into())))
            }
        }
    }

    /// Reads all conditions at the start of a line: `when NAME == v:` and `when NAME in [v, …]:`.
    fn conditions(&mut self) -> Result<Vec<(Spanned<String>, Vec<Value>)>> {
        let mut conditions = vec![];
        while self.peek() == Some(&Token::Word("when".into())) {
            self.next();
            let name = self.name()?;
            let values = match self.next() {
                Some((Token::Mark("=="), _)) => vec![self.value()?.value],
                Some((Token::Word(word), _)) if word == "in" => {
                    self.list()?.0.into_iter().map(|value| value.value).collect()
                }
                found => return Err(self.expected("`==` or `in [`", found)),
            };
            self.mark(":")?;
            conditions.push((name, values));
        }
        Ok(conditions)
    }

    /// Reads what follows a role and a name, and checks that the number of values fits the role.
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
                "write `nuisance` to tune it, or `scientific` to measure its effect",
            ),
            _ => (
                format!("a {role} hyperparameter needs several values, and `{name}` has one"),
                "write `fixed` for one value",
            ),
        };
        let start = mark.map_or(distribution.span.start, |(_, span)| span.start);
        Err(self.source.syntax_error(start..distribution.span.end, message, Some(help.into())))
    }

    /// Reads `[v, …]`. A comma after the last value is allowed.
    fn list(&mut self) -> Result<(Vec<Spanned<Value>>, Span)> {
        let open = self.mark("[")?;
        let mut values = vec![];
        loop {
            if self.peek() == Some(&Token::Mark("]")) {
                break;
            }
            values.push(self.value()?);
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
        let is_repeated = |i: &usize| values[..*i].iter().any(|earlier| earlier.value.same_as(&values[*i].value));
        let wrong = (0..values.len()).find(is_repeated).map_or(span, |i| values[i].span.clone());
        self.checked(Distribution::choice(values.into_iter().map(|value| value.value).collect()), wrong)
    }

    /// Reads `uniform(a, b)`, `loguniform(a, b)`, `int(a, b)`, `logint(a, b)` or `1 - loguniform(a, b)`.
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
                format!("expected `loguniform(a, b)` after `1 -`, found `{}`", name.value)
            } else {
                format!("there is no distribution `{}`", name.value)
            };
            let alike = nearest(&name.value, NAMES).filter(|_| !one_minus);
            let asked = alike.map_or(String::new(), |name| format!("did you mean `{name}`? "));
            let help = Some(asked + RANGES);
            return Err(self.source.error(ErrorName::InvalidDistribution, name.span, message, help));
        }
        self.mark("(")?;
        let low = self.bound(&name.value)?;
        self.mark(",")?;
        let high = self.bound(&name.value)?;
        let end = self.mark(")")?.end;
        let whole = |bound: &Spanned<Value>| {
            bound.value.as_i64().ok_or_else(|| {
                let message = format!("the bounds of {} must be whole numbers, and {} is not", name.value, bound.value);
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

    /// Reads a bound of a distribution, which must be a number.
    fn bound(&mut self, distribution: &str) -> Result<Spanned<Value>> {
        let value = self.value()?;
        if value.value.as_f64().is_none() {
            let message = format!("the bounds of {distribution} must be numbers, and `{}` is not", value.value);
            return Err(self.source.error(ErrorName::InvalidDistribution, value.span, message, None));
        }
        Ok(value)
    }

    /// Adds the span to a distribution, or to the error that it is impossible.
    fn checked(
        &self,
        distribution: std::result::Result<Distribution, DistributionError>,
        span: Span,
    ) -> Result<Spanned<Distribution>> {
        match distribution {
            Ok(distribution) => Ok(Spanned::new(distribution, span)),
            Err(error) => {
                let help = match &error {
                    DistributionError::Duplicate { .. } => Some("remove one of the two"),
                    DistributionError::NoValues => Some("name the values: `[v, …]`"),
                    _ => None,
                };
                let (name, help) = (ErrorName::InvalidDistribution, help.map(String::from));
                Err(self.source.error(name, span, error.to_string(), help))
            }
        }
    }
}
