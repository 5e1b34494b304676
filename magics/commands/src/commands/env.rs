//! `%env`: shows or changes the environment of cells, shell commands and programs.

use crate::error::{ErrorName, Result, Source, Span, Spanned, nearest};
use crate::files;
use crate::host::{Interrupt, Output, Stream, plain, session};
use crate::magic::{Command, Context, Export, Invocation, Magic, Subject};
use crate::report::table::Rows;
use crate::syntax::OptionSpec;
use serde_json::json;
use std::collections::BTreeMap;
use tunebook_study::store::STUDIES;

pub const MAGIC: Magic = Magic {
    name: "env",
    line: true,
    body: None,
    usage: "%env\n%env NAME\n%env NAME=value\n%env NAME value\n%env --unset NAME",
    example: "%env RAYON_NUM_THREADS=1",
    summary: "Show or change the environment of cells, shell commands and programs",
    help: "Without a name, it lists all variables. A change holds for cells, `!` commands, and the workers and \
        programs of studies from now on. `$NAME` and `${NAME}` in a value insert another variable: `%env \
        PATH=$HOME/bin:$PATH`. A value in single quotes is not changed. The list hides the values of names that \
        contain KEY, TOKEN, SECRET or PASSWORD; `%env NAME` shows them. `TUNEBOOK_STUDIES` names the file of the \
        studies from now on.",
    options: &[OptionSpec { name: "unset", value: Some("NAME"), help: "remove a variable" }],
    subject: Subject::Variable,
    export: Export::Comment,
    parse,
};

/// If a name contains one of these, its value is hidden, because others may read the notebook.
const SECRET: [&str; 4] = ["KEY", "TOKEN", "SECRET", "PASSWORD"];
/// Variables that the kernel reads when it starts.
const READ_AT_START: [&str; 5] =
    ["TUNEBOOK_CACHE", "TUNEBOOK_HISTORY", "TUNEBOOK_LOG", "TUNEBOOK_OUTPUT_LIMIT", "TUNEBOOK_WORKER"];
const HIDDEN: &str = "<hidden>";

struct Env {
    source: Source,
    action: Action,
}

enum Action {
    /// List all variables.
    List,
    /// Show one variable.
    Show(Spanned<String>),
    /// Set a variable. If `literal`, no other variables are inserted into the value.
    Set {
        name: String,
        value: Spanned<String>,
        literal: bool,
    },
    Unset(String),
}

fn parse(Invocation { arguments, .. }: Invocation) -> Result<Box<dyn Command>> {
    let source = arguments.source.clone();
    let action = match (arguments.option("unset"), arguments.positional.first()) {
        (Some(name), _) => {
            arguments.at_most(0)?;
            check_name(&source, &name.text, name.span.clone())?;
            Action::Unset(name.text.clone())
        }
        (None, None) => Action::List,
        // Like in IPython, everything after the name is the value, also words that look like options.
        (None, Some(first)) => assignment(&source, first.span.start..arguments.line.end)?,
    };
    Ok(Box::new(Env { source, action }))
}

/// Parses `NAME`, `NAME=value` or `NAME value`.
fn assignment(source: &Source, span: Span) -> Result<Action> {
    let text = &source.text()[span.clone()];
    let Some(length) = text.find(|c: char| c == '=' || c.is_whitespace()) else {
        return Ok(Action::Show(Spanned::new(text.into(), span)));
    };
    let name = text[..length].to_string();
    check_name(source, &name, span.start..span.start + length)?;
    let rest = text[length..].trim_start();
    let written = rest.strip_prefix('=').unwrap_or(rest).trim();
    if rest == "--unset" {
        let help = format!("write `%env --unset {name}`");
        return Err(source.syntax_error(span, "write the option before the name", Some(help)));
    }
    let start = span.end - (text.len() - text.rfind(written).unwrap_or(text.len()));
    let quote =
        |c: char| written.len() > 1 && written.starts_with(c) && written[1..].find(c) == Some(written.len() - 2);
    let quoted = quote('"') || quote('\'');
    let value = if quoted { &written[1..written.len() - 1] } else { written };
    let start = start + usize::from(quoted);
    if let Some(at) = value.find('\0') {
        return Err(source.error(
            ErrorName::InvalidValue,
            start + at..start + at + 1,
            "a value cannot contain a NUL character",
            None,
        ));
    }
    let value = Spanned::new(value.to_string(), start..start + value.len());
    Ok(Action::Set { name, value, literal: quote('\'') })
}

fn check_name(source: &Source, name: &str, span: Span) -> Result<()> {
    let inside = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()) && name.chars().all(inside) {
        return Ok(());
    }
    let message = match name {
        "" => "the name of the variable is missing".into(),
        _ => format!("`{name}` cannot be the name of a variable"),
    };
    let help = "a name consists of letters, digits and `_`, and does not begin with a digit".to_string();
    Err(source.error(ErrorName::InvalidValue, span, message, Some(help)))
}

impl Command for Env {
    fn run(self: Box<Self>, context: &Context, output: &dyn Output, _: &Interrupt) -> Result<()> {
        let whole = context.whole_environment();
        match &self.action {
            Action::List => list(&whole, output),
            Action::Show(name) => {
                let Some(value) = whole.get(&name.value) else { return Err(self.unknown(&whole, name, None)) };
                output.print(Stream::Stdout, &format!("{value}\n"));
            }
            Action::Set { name, value, literal } => {
                let inserted = if *literal { value.value.clone() } else { self.insert(&whole, value)? };
                if name == STUDIES && files::expand(context, &inserted).is_dir() {
                    let message = format!("{inserted} is a folder, and {STUDIES} names a file");
                    let help = format!("write `%env {STUDIES}={}/studies.db`", inserted.trim_end_matches('/'));
                    let span = value.span.clone();
                    return Err(self.source.error(ErrorName::InvalidValue, span, message, Some(help)));
                }
                session::required(output)?.set_environment(name, Some(&inserted))?;
                output.print(Stream::Stdout, &format!("env: {name}={}\n", shown(name, &inserted)));
                tell_effect(name, context, output);
            }
            Action::Unset(name) => {
                session::required(output)?.set_environment(name, None)?;
                output.print(Stream::Stdout, &format!("env: {name} is not set\n"));
                tell_effect(name, context, output);
            }
        }
        Ok(())
    }
}

impl Env {
    /// Inserts the variables that a value names. An unknown variable is an error.
    fn insert(&self, whole: &BTreeMap<String, String>, value: &Spanned<String>) -> Result<String> {
        let (mut text, mut rest) = (String::new(), value.value.as_str());
        while let Some(at) = rest.find('$') {
            text += &rest[..at];
            rest = &rest[at + 1..];
            let (name, length) = match rest.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
                Some((name, _)) => (name, name.len() + 2),
                None => {
                    let length = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
                    (&rest[..length], length)
                }
            };
            if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
                text.push('$');
                continue;
            }
            match whole.get(name) {
                Some(inserted) => text += inserted,
                None => {
                    let start = value.span.end - rest.len() - 1;
                    let name = Spanned::new(name.to_string(), start..start + 1 + length);
                    let help = "to write a `$`, put the value in single quotes";
                    return Err(self.unknown(whole, &name, Some(help)));
                }
            }
            rest = &rest[length..];
        }
        Ok(text + rest)
    }

    fn unknown(
        &self,
        whole: &BTreeMap<String, String>,
        name: &Spanned<String>,
        help: Option<&str>,
    ) -> crate::error::MagicError {
        let near = nearest(&name.value, whole.keys().map(String::as_str)).map(|near| format!("did you mean `{near}`?"));
        let message = format!("there is no variable `{}` in the environment", name.value);
        let help = [near, help.map(String::from)].into_iter().flatten().collect::<Vec<_>>().join(" ");
        let help = (!help.is_empty()).then_some(help);
        self.source.error(ErrorName::UnknownVariable, name.span.clone(), message, help)
    }
}

/// Says what a variable of the kernel's own does now.
fn tell_effect(name: &str, context: &Context, output: &dyn Output) {
    if name == STUDIES {
        context.update_environment(output);
        let path = context.store_file();
        output.print(Stream::Stdout, &format!("Studies are in {} from here on.\n", path.display()));
    } else if READ_AT_START.contains(&name) {
        let note = format!(
            "The kernel has read {name} when it started, so this does not change what it does. Set the variable before \
             Jupyter starts, or in `env` of the kernel's kernel.json.\n"
        );
        output.print(Stream::Stderr, &note);
    }
}

fn list(whole: &BTreeMap<String, String>, output: &dyn Output) {
    let mut rows = Rows::new(&["variable", "value"]);
    for (name, value) in whole {
        rows.row(vec![name.clone(), shown(name, value).into()]);
    }
    let mut bundle = plain(rows.text());
    bundle.insert("text/html".into(), json!(rows.html()));
    output.display(bundle, None);
}

/// The value as it is shown, which hides secrets.
fn shown<'a>(name: &str, value: &'a str) -> &'a str {
    let name = name.to_uppercase();
    if SECRET.iter().any(|secret| name.contains(secret)) { HIDDEN } else { value }
}

#[cfg(test)]
mod tests {
    use crate::testing::{FakeHost, magics, rendered, run, run_in};

    fn recorder() -> FakeHost {
        let recorder = FakeHost::default();
        recorder.set("TB_FOLDER", Some("/data"));
        recorder.set("TB_API_KEY", Some("hunter2"));
        recorder
    }

    fn last(recorder: &FakeHost) -> (String, Option<String>) {
        use crate::host::session::Session;
        recorder.environment().pop().unwrap()
    }

    #[test]
    fn a_variable_is_set_to_the_text_after_its_name() {
        let cases = [
            ("%env TB_X=1", "1"),
            ("%env TB_X 1", "1"),
            ("%env TB_X = 1", "1"),
            ("%env TB_X=two  words -C --release", "two  words -C --release"),
            ("%env TB_X -C --release", "-C --release"),
            ("%env TB_X=\"in quotes \"", "in quotes "),
            ("%env TB_X=a \"b\" 'c'", "a \"b\" 'c'"),
            ("%env TB_X=", ""),
            ("%env TB_X=a=b", "a=b"),
            ("%env TB_X=$TB_FOLDER/x:${TB_FOLDER}y", "/data/x:/datay"),
            ("%env TB_X=\"$TB_FOLDER\"", "/data"),
            ("%env TB_X='$TB_FOLDER'", "$TB_FOLDER"),
            ("%env TB_X=5$ and $1", "5$ and $1"),
        ];
        for (text, value) in cases {
            let recorder = recorder();
            run(text, &recorder).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(last(&recorder), ("TB_X".into(), Some(value.into())), "{text}");
            assert_eq!(recorder.stdout(), format!("env: TB_X={value}\n"));
        }
    }

    #[test]
    fn the_list_is_sorted_and_hides_secrets() {
        let (magics, recorder) = (magics(), recorder());
        run_in(&magics, "%env", &recorder).unwrap();
        let text = recorder.displayed();
        let at = |part: &str| text.find(part).unwrap_or_else(|| panic!("{part} is not in {text}"));
        assert!(at("TB_API_KEY") < at("TB_FOLDER") && at("| PATH") < at("TB_API_KEY"));
        assert!(text.contains("/data") && !text.contains("hunter2"));
        run_in(&magics, "%env TB_API_KEY", &recorder).unwrap();
        assert_eq!(recorder.stdout(), "hunter2\n");
        run_in(&magics, "%env TB_API_KEY=hunter3", &recorder).unwrap();
        assert!(!recorder.stdout().contains("hunter3"));
        assert_eq!(last(&recorder).1.as_deref(), Some("hunter3"));
    }

    #[test]
    fn a_variable_is_removed() {
        let (magics, recorder) = (magics(), recorder());
        run_in(&magics, "%env --unset TB_FOLDER", &recorder).unwrap();
        assert_eq!(last(&recorder), ("TB_FOLDER".into(), None));
        let error = run_in(&magics, "%env TB_FOLDER", &recorder).unwrap_err();
        assert_eq!(error.name.as_str(), "UnknownVariable");
    }

    #[test]
    fn errors_point_at_mistakes() {
        let (magics, recorder) = (magics(), recorder());
        let cases = [
            ("%env TB_FOLDR", "UnknownVariable", "did you mean `TB_FOLDER`", "1:6"),
            ("%env TB_X=$TB_NOT/x", "UnknownVariable", "single quotes", "1:11"),
            ("%env 2X=1", "InvalidValue", "does not begin with a digit", "1:6"),
            ("%env A-B=1", "InvalidValue", "cannot be the name", "1:6"),
            ("%env --unset A-B", "InvalidValue", "cannot be the name", "1:14"),
            ("%env =1", "InvalidValue", "is missing", "1:5"),
            ("%env TB_X --unset", "SyntaxError", "%env --unset TB_X", "1:6"),
            ("%env --unset", "SyntaxError", "needs a value", "1:6"),
            ("%env --unste A", "UnknownOption", "`--unset`", "1:6"),
        ];
        for (text, name, part, place) in cases {
            let error = run_in(&magics, text, &recorder).expect_err(text);
            let shown = rendered(&error);
            assert!(error.name.as_str() == name && shown.contains(part) && shown.contains(place), "{text}: {shown}");
        }
        let error = run_in(&magics, "%env TB_X=1", &FakeHost::without_session()).unwrap_err();
        assert_eq!(error.name.as_str(), "NoSession");
        run_in(&magics, "%env PATH", &FakeHost::without_session()).unwrap();
    }
}
