//! Completion and inspection inside magics. Positions count unicode code points, as Jupyter does.

mod paths;

use crate::commands::workload;
use crate::host::Bundle;
use crate::magic::{Body, Catalogue, Context, Magic, Subject};
use crate::syntax::KEYWORDS;
use tunebook_study::WorkloadDescription;
use tunebook_study::store::Store;

/// Candidates for what stands before the cursor.
#[derive(Clone, Debug, PartialEq)]
pub struct Completions {
    /// Where the text to replace begins.
    pub start: usize,
    /// Where it ends.
    pub end: usize,
    /// The candidates with their kind (`magic`, `option`, `study`, `hyperparameter`, `workload`, `metric`, `keyword`,
    /// `path`, `variable`, `item`).
    pub matches: Vec<(String, &'static str)>,
}

/// Where the cursor is: its line up to it, and whether the cell is a cell magic.
struct Cursor<'a> {
    before: &'a str,
    code: &'a str,
    cell_magic: Option<&'static Magic>,
    first_line: bool,
}

fn place(catalogue: Catalogue, code: &str, cursor: usize) -> Option<Cursor<'_>> {
    let at = code.char_indices().nth(cursor).map_or(code.len(), |(at, _)| at);
    let start = code[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let before = &code[start..at];
    let head = code.trim_start().strip_prefix("%%");
    let name = head.map(|head| head.split(|c: char| !c.is_alphanumeric()).next().unwrap_or(""));
    let first_line = code[..start].trim().is_empty();
    (head.is_some() || before.starts_with('%')).then(|| Cursor {
        before,
        code,
        cell_magic: name.and_then(|name| catalogue.find(name)),
        first_line,
    })
}

/// Whether the cursor is in Rust that a magic runs.
fn in_rust(catalogue: Catalogue, place: &Cursor<'_>) -> bool {
    if place.cell_magic.is_some() && !place.before.trim_start().starts_with('%') {
        return catalogue.rust_in(place.code.trim_start()).is_some();
    }
    let name = place.before.trim_start_matches('%').split_whitespace().next().and_then(|name| catalogue.find(name));
    let runs_rust = name.is_some_and(|magic| magic.subject == Subject::Rust);
    // What follows the options, or might: an option begins with a dash, its value follows it.
    let words: Vec<&str> = place.before.split_whitespace().collect();
    let after_name = place.before.contains(char::is_whitespace);
    runs_rust && after_name && !words.last().is_some_and(|word| word.starts_with('-'))
}

/// Gives variables and items of Rust cells, with what each is; asked only where they are candidates.
pub type Names<'a> = &'a dyn Fn() -> Vec<(String, &'static str)>;

/// Candidates at a cursor; `None` where the cursor is in Rust.
pub fn complete(context: &Context, code: &str, cursor: usize, names: Names<'_>) -> Option<Completions> {
    let at = offset(code, cursor);
    if let Some(written) = names_a_path(context.catalogue, code, at) {
        let (length, matches) = paths::complete(context, written.text, written.folders_alone);
        return Some(Completions { start: cursor - length, end: cursor, matches });
    }
    let place = place(context.catalogue, code, cursor).filter(|place| !in_rust(context.catalogue, place))?;
    let word_start = place.before.rfind([' ', '\t', '=', ',', '[', '(']).map_or(0, |at| at + 1);
    let word = &place.before[word_start..];
    let candidates = candidates(context, names, &place, word, word_start);
    let mut matches: Vec<(String, &'static str)> =
        candidates.into_iter().filter(|(text, _)| text.starts_with(word)).collect();
    matches.sort();
    matches.dedup();
    let start = cursor - word.chars().count();
    Some(Completions { start, end: cursor, matches })
}

/// A path that stands before the cursor.
struct WrittenPath<'a> {
    /// The line up to the cursor.
    text: &'a str,
    folders_alone: bool,
}

/// Where the word before the cursor names a file or folder: the first of some magics, and any word of the shell.
fn names_a_path(catalogue: Catalogue, code: &str, at: usize) -> Option<WrittenPath<'_>> {
    let start = code[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let text = &code[start..at];
    let (mut words, last) = paths::split(text);
    let first_line = code[..start].trim().is_empty();
    let cell = code.trim_start().strip_prefix("%%").map(|head| head.split_whitespace().next().unwrap_or(""));
    let is_shell = |name: &str| catalogue.find(name).is_some_and(|magic| magic.body == Some(Body::Script));
    let shell = match cell {
        Some(name) if !first_line => is_shell(name),
        _ => text.strip_prefix('!').is_some_and(|rest| !rest.starts_with(['(', '[', ' ', '='])),
    };
    if shell {
        return Some(WrittenPath { text, folders_alone: false });
    }
    if !text.starts_with('%') || words.is_empty() || (cell.is_some() && !first_line) || last.starts_with('-') {
        return None;
    }
    let magic = catalogue.find(words.remove(0).trim_start_matches('%'))?;
    // Which words belong to options plays no part for these magics but for `--session -1`, which stands behind the file.
    words.retain(|word| !word.starts_with('-'));
    let subject = match magic.subject {
        Subject::File | Subject::Folder => words.is_empty(),
        Subject::Program | Subject::Words => true,
        _ => false,
    };
    subject.then_some(WrittenPath { text, folders_alone: magic.subject == Subject::Folder })
}

fn candidates(
    context: &Context,
    names: Names<'_>,
    place: &Cursor<'_>,
    word: &str,
    word_start: usize,
) -> Vec<(String, &'static str)> {
    let is_magic_line = place.before.starts_with('%');
    if is_magic_line && word_start == 0 {
        let forms = |magic: &Magic| {
            let line = magic.line.then(|| format!("%{}", magic.name));
            let cell = (magic.body.is_some() && place.first_line).then(|| format!("%%{}", magic.name));
            [line, cell].into_iter().flatten().map(|form| (form, "magic")).collect::<Vec<_>>()
        };
        return context.catalogue.0.iter().flat_map(forms).collect();
    }
    let words: Vec<&str> = place.before[..word_start].split_whitespace().collect();
    let line_magic = is_magic_line
        .then(|| words.first().and_then(|word| context.catalogue.find(word.trim_start_matches('%'))))
        .flatten();
    if let Some(magic) = line_magic {
        if word.starts_with('-') {
            return magic.options.iter().map(|option| (option.written(), "option")).collect();
        }
        return match (magic.subject, words.len()) {
            (Subject::Study, 1) => studies(context),
            (Subject::Study, _) => hyperparameters_of_study(context, words[1]),
            (Subject::Workload, 1) if !place.before.starts_with("%%") => workloads(context),
            (Subject::Workload, _) if words.len() > 1 => hyperparameters(context, words[1]),
            (Subject::Variable, _) if words.len() == 1 || words[words.len() - 1] == "--unset" => {
                context.whole_environment().into_keys().map(|name| (name, "variable")).collect()
            }
            (Subject::Name, _) => names(),
            _ => vec![],
        };
    }
    if place.cell_magic.is_none_or(|magic| magic.body != Some(Body::Declarations)) {
        return vec![];
    }
    let workload = place.code.lines().find_map(|line| line.trim().strip_prefix("workload")).unwrap_or("").trim();
    match words.last().copied() {
        None => KEYWORDS.iter().chain(&["when"]).map(|keyword| (keyword.to_string(), "keyword")).collect(),
        Some("workload") => workloads(context),
        Some("scientific" | "nuisance" | "fixed" | "when") => hyperparameters(context, workload),
        Some("minimize" | "maximize") => metrics(context, workload),
        Some("~" | "-") => {
            ["uniform(", "loguniform(", "int(", "logint("].map(|name| (name.to_string(), "keyword")).to_vec()
        }
        _ => vec![],
    }
}

fn studies(context: &Context) -> Vec<(String, &'static str)> {
    let store = Store::open_to_read(&context.settings.store).ok().flatten();
    let studies = store.and_then(|store| store.studies().ok()).unwrap_or_default();
    studies.into_iter().map(|study| (study.name, "study")).collect()
}

fn hyperparameters_of_study(context: &Context, study: &str) -> Vec<(String, &'static str)> {
    let store = Store::open_to_read(&context.settings.store).ok().flatten();
    let Some(study) = store.and_then(|store| store.study(study).ok().flatten()) else { return vec![] };
    let varied = study.definition.space.hyperparameters().iter().filter(|h| !h.distribution.is_constant());
    varied.map(|h| (h.label(), "hyperparameter")).collect()
}

fn workloads(context: &Context) -> Vec<(String, &'static str)> {
    workload::known(context).unwrap_or_default().into_iter().map(|w| (w.description.name, "workload")).collect()
}

fn described(context: &Context, workload: &str) -> Option<WorkloadDescription> {
    let workloads = workload::known(context).unwrap_or_default().into_iter();
    workloads.map(|workload| workload.description).find(|description| description.name == workload)
}

fn hyperparameters(context: &Context, workload: &str) -> Vec<(String, &'static str)> {
    let Some(workload) = described(context, workload) else { return vec![] };
    workload.hyperparameters.into_iter().map(|h| (h.name, "hyperparameter")).collect()
}

fn metrics(context: &Context, workload: &str) -> Vec<(String, &'static str)> {
    let Some(workload) = described(context, workload) else { return vec![] };
    workload.metrics.into_iter().map(|metric| (metric, "metric")).collect()
}

/// Help for the word at the cursor: of the magic, or of a hyperparameter in a sweep.
pub fn inspect(context: &Context, code: &str, cursor: usize) -> Option<Bundle> {
    let place = place(context.catalogue, code, cursor)?;
    let line_end =
        code[code.len().min(offset(code, cursor))..].find('\n').map_or(code.len(), |at| offset(code, cursor) + at);
    let start = code[..offset(code, cursor)].rfind('\n').map_or(0, |newline| newline + 1);
    let line = &code[start..line_end];
    let at = offset(code, cursor) - start;
    let inside = |c: char| c.is_alphanumeric() || c == '_';
    let left = line[..at].rfind(|c| !inside(c)).map_or(0, |i| i + line[i..].chars().next().map_or(1, char::len_utf8));
    let right = line[at..].find(|c| !inside(c)).map_or(line.len(), |i| at + i);
    let word = &line[left..right];
    if let Some(magic) = context.catalogue.find(word) {
        return Some(magic.help_bundle());
    }
    let workload = place.code.lines().find_map(|line| line.trim().strip_prefix("workload")).unwrap_or("").trim();
    let workload = described(context, workload);
    if let Some(h) = workload.as_ref().and_then(|workload| workload.hyperparameter(word)) {
        let text = format!("{}: {}\nvalues: {}\ndefault: {}", h.name, h.doc, h.domain, h.default);
        return Some(crate::host::plain(text));
    }
    place.cell_magic.map(Magic::help_bundle)
}

/// The byte of a position.
fn offset(code: &str, cursor: usize) -> usize {
    code.char_indices().nth(cursor).map_or(code.len(), |(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::CATALOGUE;
    use crate::magic::Settings;
    use crate::testing::{FakeHost, magics, run_in};
    use std::fs;

    /// What the text with the cursor at its end becomes with each candidate.
    fn completed(magics: &crate::Magics, code: &str) -> Option<Vec<String>> {
        let found = magics.complete(code, code.chars().count(), &Vec::new)?;
        let before: String = code.chars().take(found.start).collect();
        Some(found.matches.into_iter().map(|(text, _)| format!("{before}{text}")).collect())
    }

    #[test]
    fn paths_are_completed_where_a_magic_or_the_shell_takes_one() {
        let (folder, magics) = (tempfile::tempdir().unwrap(), magics());
        fs::create_dir_all(folder.path().join("data/inner")).unwrap();
        fs::create_dir(folder.path().join("my data")).unwrap();
        for file in ["data.csv", "däten.txt", ".hidden", "it's"] {
            fs::write(folder.path().join(file), "").unwrap();
        }
        // `%env` brings the home folder to completion, as it does in a session.
        let recorder = FakeHost::default();
        recorder.set("HOME", folder.path().to_str());
        run_in(&magics, "%env", &recorder).unwrap();
        let cases: &[(&str, &[&str])] = &[
            ("%load ~/da", &["%load ~/data.csv", "%load ~/data/"]),
            ("%cd ~/da", &["%cd ~/data/"]),
            ("%cd ~/data/", &["%cd ~/data/inner/"]),
            ("%cd ~/my", &["%cd \"~/my data/"]),
            ("%cd '~/my d", &["%cd '~/my data/"]),
            ("%load ~/i", &["%load \"~/it's\""]),
            ("%load ~/.h", &["%load ~/.hidden"]),
            ("%load ~/dä", &["%load ~/däten.txt"]),
            ("%%writefile --append ~/data.", &["%%writefile --append ~/data.csv"]),
            ("%save -f ~/data.", &["%save -f ~/data.csv"]),
            ("%save ~/x ~/da", &[]),
            ("let x = 1;\n!cat ~/data.", &["let x = 1;\n!cat ~/data.csv"]),
            ("!cat <~/data.", &["!cat <~/data.csv"]),
            ("%%bash\nls ~/data/i", &["%%bash\nls ~/data/inner/"]),
            ("%%script python3 ~/data.", &["%%script python3 ~/data.csv"]),
        ];
        for (code, expected) in cases {
            assert_eq!(completed(&magics, code).unwrap_or_default(), *expected, "{code}");
        }
        let all = completed(&magics, "%load ~/").unwrap();
        assert!(all.len() == 5 && !all.iter().any(|text| text.contains("hidden")), "{all:?}");
        assert_eq!(completed(&magics, "let x = ~/da"), None);
        assert_eq!(completed(&magics, "!(~/da"), None);
        assert_eq!(completed(&magics, "%%writefile ~/x\n~/da"), Some(vec![]));
    }

    #[test]
    fn variables_of_the_environment_and_options_are_completed() {
        let (magics, recorder) = (magics(), FakeHost::default());
        run_in(&magics, "%env TUNEBOOK_COMPLETED=1", &recorder).unwrap();
        assert_eq!(completed(&magics, "%env TUNEBOOK_COMP").unwrap(), ["%env TUNEBOOK_COMPLETED"]);
        assert_eq!(completed(&magics, "%env --unset TUNEBOOK_COMP").unwrap(), ["%env --unset TUNEBOOK_COMPLETED"]);
        assert_eq!(completed(&magics, "%env X TUNEBOOK_COMP").unwrap(), Vec::<String>::new());
        assert_eq!(completed(&magics, "%env --u").unwrap(), ["%env --unset"]);
        assert_eq!(
            completed(&magics, "%save -").unwrap(),
            ["%save --append", "%save --force", "%save --session", "%save -a", "%save -f"]
        );
        assert_eq!(completed(&magics, "%%writ").unwrap(), ["%%writefile"]);
    }

    /// The candidates at `|`; `None`: it is in Rust.
    fn at(code: &str) -> Option<Vec<String>> {
        let settings =
            Settings { store: "/nowhere".into(), slot: vec![], worker: "/nowhere".into(), cache: "/nowhere".into() };
        let names = || vec![("apple".to_string(), "variable"), ("area".to_string(), "item")];
        let cursor = code.chars().position(|c| c == '|').unwrap();
        let found = complete(&Context::new(settings, CATALOGUE), &code.replace('|', ""), cursor, &names);
        found.map(|found| found.matches.into_iter().map(|(text, _)| text).collect())
    }

    #[test]
    fn names_and_options_are_offered_and_rust_is_left_to_others() {
        assert_eq!(at("%remove a|").unwrap(), ["apple", "area"]);
        assert_eq!(at("%list ap|").unwrap(), ["apple"]);
        assert_eq!(at("%timeit --s|").unwrap(), ["--samples"]);
        assert_eq!(at("%%timeit --sam|\nf()").unwrap(), ["--samples"]);
        assert!(at("%tim|").unwrap().contains(&"%timeit".to_string()));
        for code in [
            "%time a|",
            "%timeit --samples 3 v.|",
            "%%time\nv.|",
            "%%test\nfn f() { v.|",
            "%%timeit let v = w.|",
            "let x = |",
        ] {
            assert_eq!(at(code), None, "{code}");
        }
    }
}
