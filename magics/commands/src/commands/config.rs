//! `%config`: shows, changes and resets the settings of the session.

use crate::error::{ErrorName, Result, Span, Spanned, suggest};
use crate::files;
use crate::host::{Interrupt, Output, session};
use crate::magic::{
    Command, Context, Export, Invocation, Magic, SETTINGS, Setting, SettingKind, SettingValue, Subject, setting,
};
use crate::report::Report;
use crate::report::table::Rows;
use crate::syntax::{Arguments, duration, option};
use serde_json::{Value as Json, json};
use tunebook_study::store::STUDIES;

pub const MAGIC: Magic = Magic {
    name: "config",
    line: true,
    body: None,
    usage: "%config\n%config NAME\n%config NAME = VALUE\n%config --reset [NAME]",
    example: "%config trials.parallel = 2",
    summary: "Show, change or reset the settings of the session",
    help: "Without a name, it lists all settings with their values and what they mean. A change holds from the next \
        magic on, until the kernel ends. An option of a magic goes before a setting: `--timeout 5m` is five minutes, \
        whatever `trials.timeout` is. `--reset NAME` brings back the default of a setting, and `--reset` alone that of \
        all.\n\n\
        `%config charts.png = true` shows each chart as a PNG picture too. The conversion of a notebook to LaTeX needs \
        it, because it shows no HTML. Front ends that have an extension for Plotly then show the picture in place of \
        the interactive chart.",
    options: &[option("reset", None, "bring back the default of a setting, or of all")],
    subject: Subject::Setting,
    export: Export::Comment,
    parse,
};

enum Action {
    Show(Vec<&'static Setting>),
    Set(&'static Setting, NewValue),
    Reset(Vec<&'static Setting>),
}

/// A value as it was written, and what it means.
enum NewValue {
    Own(SettingValue),
    /// The value of an environment variable.
    Variable(&'static str, Spanned<String>),
}

struct ConfigMagic {
    arguments: Arguments,
    action: Action,
}

fn parse(Invocation { arguments, .. }: Invocation) -> Result<Box<dyn Command>> {
    let (name, value) = assignment(&arguments);
    let action = match (name, value) {
        (None, Some(value)) => {
            let message = "the name of the setting is missing";
            let span = arguments.positional.first().map_or(value.span, |word| word.span.clone());
            return Err(arguments.source.syntax_error(span, message, None));
        }
        (Some(_), Some(value)) if arguments.has("reset") => {
            let message = "`--reset` brings back the default, so no value can be given";
            return Err(arguments.source.syntax_error(value.span, message, None));
        }
        (Some(name), Some(value)) => {
            let setting = named(&arguments, &name)?;
            Action::Set(setting, parsed(&arguments, setting, value)?)
        }
        (name, None) => {
            let settings = match name {
                Some(name) => vec![named(&arguments, &name)?],
                None => SETTINGS.iter().collect(),
            };
            if arguments.has("reset") { Action::Reset(settings) } else { Action::Show(settings) }
        }
    };
    Ok(Box::new(ConfigMagic { arguments, action }))
}

/// The name and the value of `NAME = VALUE`, `NAME=VALUE` or `NAME VALUE`.
fn assignment(arguments: &Arguments) -> (Option<Spanned<String>>, Option<Spanned<String>>) {
    let words = &arguments.positional;
    let Some(first) = words.first() else { return (None, None) };
    let text = arguments.source.text();
    let written = &text[first.span.clone()];
    // The end of the name, in the first word.
    let length = written.find('=').unwrap_or(written.len());
    let name = Spanned::new(written[..length].to_string(), first.span.start..first.span.start + length);
    let name = (!name.value.is_empty()).then_some(name);
    let end = words.last().map_or(first.span.end, |last| last.span.end);
    let rest = first.span.start + length..end;
    let value = text[rest.clone()].trim_start();
    let has_sign = value.starts_with('=');
    let value = value.strip_prefix('=').unwrap_or(value).trim();
    if value.is_empty() && !has_sign {
        return (name, None);
    }
    let start = rest.end - (text[rest.clone()].len() - text[rest.clone()].rfind(value).unwrap_or(0));
    let quoted = |c: char| value.len() > 1 && value.starts_with(c) && value.ends_with(c);
    let inner = if quoted('"') || quoted('\'') { &value[1..value.len() - 1] } else { value };
    let span: Span = if value.is_empty() { first.span.start..end } else { start..start + value.len() };
    (name, Some(Spanned::new(inner.to_string(), span)))
}

fn named(arguments: &Arguments, name: &Spanned<String>) -> Result<&'static Setting> {
    setting(&name.value).ok_or_else(|| {
        let help = suggest(&name.value, SETTINGS.iter().map(|setting| setting.name));
        let message = format!("there is no setting `{}`", name.value);
        arguments.source.error(ErrorName::UnknownSetting, name.span.clone(), message, help)
    })
}

/// Reads the value of a setting. The error says what the setting takes.
fn parsed(arguments: &Arguments, setting: &Setting, value: Spanned<String>) -> Result<NewValue> {
    let text = value.value.as_str();
    let takes = |what: String| format!("takes {what}, not `{text}`");
    let own = match setting.kind {
        SettingKind::Switch => text.parse().map(SettingValue::Switch).map_err(|_| takes("true or false".into())),
        SettingKind::Count => match text.parse() {
            Ok(count) if count > 0 => Ok(SettingValue::Count(count)),
            _ => Err(takes("a whole number of at least 1".into())),
        },
        SettingKind::Duration => duration(text).map(SettingValue::Duration),
        SettingKind::Variable { choices, .. } if !choices.is_empty() && !choices.contains(&text) => {
            Err(takes(choices.join(" or ")))
        }
        SettingKind::Variable { .. } if text.is_empty() || text.contains('\0') => Err(takes("a path".into())),
        SettingKind::Variable { name, .. } => return Ok(NewValue::Variable(name, value)),
    };
    own.map(NewValue::Own).map_err(|problem| {
        let help = format!("`%config --reset {}` brings back the default: {}", setting.name, setting.default);
        let message = format!("`{}` {problem}", setting.name);
        arguments.source.error(ErrorName::InvalidValue, value.span.clone(), message, Some(help))
    })
}

impl Command for ConfigMagic {
    fn run(self: Box<Self>, context: &Context, output: &dyn Output, _: &Interrupt) -> Result<()> {
        let shown = match self.action {
            Action::Show(settings) => settings,
            Action::Set(setting, NewValue::Own(value)) => {
                context.config.set(setting.name, value);
                vec![setting]
            }
            Action::Set(setting, NewValue::Variable(variable, value)) => {
                if variable == STUDIES && files::expand(context, &value.value).is_dir() {
                    let message = format!("{} is a folder, and `{}` names a file", value.value, setting.name);
                    let help = format!("write `{}/studies.db`", value.value.trim_end_matches('/'));
                    let source = &self.arguments.source;
                    return Err(source.error(ErrorName::InvalidValue, value.span, message, Some(help)));
                }
                session::required(output)?.set_environment(variable, Some(&value.value))?;
                vec![setting]
            }
            Action::Reset(settings) => {
                for setting in &settings {
                    match setting.kind {
                        SettingKind::Variable { name, .. } if is_changed(context, setting) => {
                            let first = first_value(context, name);
                            session::required(output)?.set_environment(name, first.as_deref())?;
                        }
                        _ => context.config.reset(setting.name),
                    }
                }
                settings
            }
        };
        context.update_environment(output);
        report(context, &shown).show(&context.charts, output);
        Ok(())
    }
}

fn report(context: &Context, settings: &[&'static Setting]) -> Report {
    let mut rows = Rows::new(&["setting", "value", "meaning"]).with_sentences();
    let mut list = vec![];
    for setting in settings {
        let value = value_of(context, setting);
        let shown = match &value {
            Json::Null => setting.default.to_string(),
            Json::String(text) => text.clone(),
            other => other.to_string(),
        };
        rows.row(vec![setting.name.into(), shown, setting.meaning.into()]);
        list.push(json!({ "name": setting.name, "value": value, "default": setting.default,
            "changed": is_changed(context, setting), "meaning": setting.meaning }));
    }
    Report::new("config", &json!({ "settings": list })).table(&rows)
}

/// The value of a setting. Null if it is not set, and has no value of its own then.
fn value_of(context: &Context, setting: &Setting) -> Json {
    match (setting.kind, context.config.get(setting.name)) {
        (SettingKind::Variable { name: STUDIES, .. }, _) => json!(context.store_file().display().to_string()),
        (SettingKind::Variable { name, .. }, _) => json!(context.whole_environment().get(name)),
        (_, Some(SettingValue::Switch(on))) => json!(on),
        (_, Some(SettingValue::Count(count))) => json!(count),
        (_, Some(SettingValue::Duration(limit))) => json!(format!("{}s", limit.as_secs_f64())),
        (SettingKind::Switch, None) => json!(false),
        (SettingKind::Count | SettingKind::Duration, None) => Json::Null,
    }
}

/// Whether the session has changed a setting.
fn is_changed(context: &Context, setting: &Setting) -> bool {
    match setting.kind {
        SettingKind::Variable { name, .. } => {
            let now = value_of(context, setting);
            now.as_str() != first_value(context, name).as_deref()
        }
        _ => context.config.get(setting.name).is_some(),
    }
}

/// The value that an environment variable had when the kernel started.
fn first_value(context: &Context, variable: &str) -> Option<String> {
    match variable {
        STUDIES => Some(context.settings.first_store.display().to_string()),
        _ => std::env::var(variable).ok(),
    }
}

#[cfg(test)]
mod tests {
    use crate::host::RESULT_MIME;
    use crate::testing::{FakeHost, Shown, magics, rendered, run_in};
    use serde_json::{Value, json};

    /// The settings that the last display of a host lists, by name.
    fn listed(host: &FakeHost) -> Vec<Value> {
        let Some(Shown::Display(bundle)) = host.shown().pop() else { panic!("nothing is displayed") };
        bundle[RESULT_MIME]["settings"].as_array().unwrap().clone()
    }

    #[test]
    fn settings_are_shown_changed_and_reset() {
        let (magics, host) = (magics(), FakeHost::default());
        for (line, name, value) in [
            ("%config charts.png", "charts.png", json!(false)),
            ("%config charts.png = true", "charts.png", json!(true)),
            ("%config charts.png=false", "charts.png", json!(false)),
            ("%config charts.png  true", "charts.png", json!(true)),
            ("%config trials.timeout = '90s'", "trials.timeout", json!("90s")),
            ("%config trials.parallel= 2", "trials.parallel", json!(2)),
            ("%config studies.file = '/tmp/my = studies.db'", "studies.file", json!("/tmp/my = studies.db")),
            ("%config data.place=host", "data.place", json!("host")),
            ("%config --reset trials.parallel", "trials.parallel", Value::Null),
        ] {
            run_in(&magics, line, &host).unwrap_or_else(|error| panic!("{line}: {error}"));
            let [setting] = &listed(&host)[..] else { panic!("{line}") };
            assert_eq!((&setting["name"], &setting["value"]), (&json!(name), &value), "{line}");
        }
        use crate::host::session::Session;
        assert!(host.environment().contains(&("TUNEBOOK_DATA".into(), Some("host".into()))));
        let changed = |all: &[Value]| -> Vec<String> {
            let changed = all.iter().filter(|setting| setting["changed"] == true);
            changed.map(|setting| setting["name"].as_str().unwrap().to_string()).collect()
        };
        run_in(&magics, "%config", &host).unwrap();
        let all = listed(&host);
        assert_eq!(all.len(), super::SETTINGS.len());
        assert_eq!(changed(&all), ["charts.png", "trials.timeout", "studies.file", "data.place"]);
        run_in(&magics, "%config --reset", &host).unwrap();
        assert!(listed(&host).iter().all(|setting| setting["value"] != true && setting["value"] != "90s"));
    }

    #[test]
    fn errors_point_at_mistakes() {
        let (magics, host) = (magics(), FakeHost::default());
        for (text, name, part, place) in [
            ("%config chart.png = true", "UnknownSetting", "did you mean `charts.png`", "1:9"),
            ("%config InlineBackend.figure_format = 'retina'", "UnknownSetting", "`charts.png`", "1:9"),
            ("%config charts.png = yes", "InvalidValue", "takes true or false, not `yes`", "1:22"),
            ("%config charts.png=", "InvalidValue", "takes true or false, not ``", "1:9"),
            ("%config trials.parallel = 0", "InvalidValue", "at least 1", "1:27"),
            ("%config trials.timeout 5 m", "InvalidValue", "30s, 30m or 2h, or 1h30m, not `5 m`", "1:24"),
            ("%config data.place = disk", "InvalidValue", "host or device", "1:22"),
            ("%config studies.file = /", "InvalidValue", "is a folder", "1:24"),
            ("%config = 3", "SyntaxError", "is missing", "1:9"),
            ("%config --reset charts.png = true", "SyntaxError", "no value", "1:30"),
            ("%config --rest charts.png", "UnknownOption", "`--reset`", "1:9"),
        ] {
            let error = magics.parse(text, 0).err().or_else(|| run_in(&magics, text, &host).err()).expect(text);
            let shown = rendered(&error);
            assert!(error.name.as_str() == name && shown.contains(part) && shown.contains(place), "{text}: {shown}");
        }
    }
}
