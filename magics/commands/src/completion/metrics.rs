//! Completion of metrics: behind `--minimize` and `--maximize`, and in the lines of a sweep. A metric whose name has
//! spaces or other special characters is inserted in quotes.

use super::{Candidate, Cursor, described};
use crate::magic::{Body, Context, Subject};

/// Where the word before the cursor begins in its line, and what it can be, if it is a metric.
pub(super) fn complete(context: &Context, cursor: &Cursor<'_>) -> Option<(usize, Vec<Candidate>)> {
    let (start, keyword) = word(cursor.before)?;
    let is_option = keyword.starts_with("--");
    let in_body =
        !cursor.before.starts_with('%') && cursor.cell_magic.is_some_and(|m| m.body == Some(Body::Declarations));
    let is_metric = match is_option {
        true => cursor.before.starts_with('%'),
        false => in_body && cursor.before.trim_start().starts_with(keyword),
    };
    if !is_metric {
        return None;
    }
    let metrics =
        if is_option { metrics_of_magic(context, cursor) } else { of_workload(context, cursor.declared_workload()) };
    let typed = &cursor.before[start..];
    let quote = typed.chars().next().filter(|c| matches!(c, '"' | '\''));
    let typed = typed.trim_start_matches(['"', '\'']);
    let matches = metrics.into_iter().filter(|metric| metric.starts_with(typed)).map(|metric| {
        let written = match quote {
            Some(quote) => format!("{quote}{metric}{quote}"),
            None if is_plain(&metric) => metric,
            None => format!("\"{metric}\""),
        };
        (written, "metric")
    });
    let mut matches: Vec<Candidate> = matches.collect();
    matches.sort();
    matches.dedup();
    Some((start, matches))
}

/// Where the last word of a line begins, and the option or keyword before it, if that takes a metric.
fn word(line: &str) -> Option<(usize, &'static str)> {
    ["--minimize", "--maximize", "minimize", "maximize"].into_iter().find_map(|keyword| {
        let at = line.rfind(keyword)?;
        let before = line[..at].chars().next_back();
        let rest = &line[at + keyword.len()..];
        let separator = rest.starts_with(char::is_whitespace) || (keyword.starts_with('-') && rest.starts_with('='));
        if before.is_some_and(|c| !c.is_whitespace()) || !separator {
            return None;
        }
        let typed = rest[1..].trim_start();
        let open = typed.chars().next().filter(|c| matches!(c, '"' | '\''));
        let inside = match open {
            Some(quote) => !typed[1..].contains(quote),
            None => !typed.contains(char::is_whitespace),
        };
        inside.then_some((line.len() - typed.len(), keyword))
    })
}

/// Whether a metric needs no quotes.
fn is_plain(metric: &str) -> bool {
    let begins = metric.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    begins && metric.chars().all(|c| c.is_ascii_alphanumeric() || "_.-/".contains(c))
}

/// The metrics of what the magic names: a study, or a workload.
fn metrics_of_magic(context: &Context, cursor: &Cursor<'_>) -> Vec<String> {
    let mut words = cursor.before.split_whitespace();
    let magic = words.next().and_then(|word| context.catalogue.find(word.trim_start_matches('%')));
    let names: Vec<&str> = words.filter(|word| !word.starts_with('-')).collect();
    match magic.map(|magic| magic.subject) {
        Some(Subject::Study) => names.first().map_or(vec![], |name| of_study(context, name)),
        _ if cursor.before.starts_with("%%") => of_workload(context, cursor.declared_workload()),
        _ => names.first().map_or(vec![], |name| of_workload(context, name)),
    }
}

fn of_study(context: &Context, name: &str) -> Vec<String> {
    let store = context.store_to_read().ok().flatten();
    let trials = store.and_then(|store| store.trials(&store.study(name).ok()??).ok()).unwrap_or_default();
    trials.into_iter().flat_map(|trial| trial.summaries.into_keys()).collect()
}

fn of_workload(context: &Context, name: &str) -> Vec<String> {
    described(context, name).map_or(vec![], |workload| workload.metrics)
}
