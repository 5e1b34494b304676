//! Completion and inspection in line magics and cell magics. Jupyter's cursor positions count Unicode code points;
//! inside this module, positions are byte offsets.

mod metrics;
mod paths;

use crate::commands::workload;
use crate::host::{Bundle, plain};
use crate::magic::{Body, Catalogue, Context, Magic, SETTINGS, SettingKind, Subject, setting};
use crate::syntax::KEYWORDS;
use tunebook_study::WorkloadDescription;

/// The completions at a cursor. Positions count Unicode code points.
#[derive(Clone, Debug, PartialEq)]
pub struct Completions {
    /// The start of the text that a completion replaces.
    pub start: usize,
    /// The end of this text, which is the cursor.
    pub end: usize,
    pub matches: Vec<Candidate>,
}

/// A text that can be inserted, and its kind: `magic`, `option`, `study`, `hyperparameter`, `workload`, `metric`,
/// `keyword`, `path`, `variable`, `item`, `setting` or `value`.
pub type Candidate = (String, &'static str);

/// Returns the variables and items of Rust cells. It is called only where a name can be completed.
pub type Names<'a> = &'a dyn Fn() -> Vec<Candidate>;

/// A cursor in a line magic or a cell magic.
struct Cursor<'a> {
    /// The whole cell.
    code: &'a str,
    /// The line of the cursor, up to the cursor.
    before: &'a str,
    /// Whether this is the first line of the cell that is not blank.
    is_first_line: bool,
    /// The magic of the cell, if it is a known cell magic.
    cell_magic: Option<&'static Magic>,
}

impl<'a> Cursor<'a> {
    /// The cursor at a byte offset, or None if it is not in a magic.
    fn in_magic(catalogue: Catalogue, code: &'a str, at: usize) -> Option<Self> {
        let start = line_start(code, at);
        let before = &code[start..at];
        let head = code.trim_start().strip_prefix("%%");
        let name = head.map(|head| head.split(|c: char| !c.is_alphanumeric()).next().unwrap_or(""));
        (head.is_some() || before.starts_with('%')).then(|| Self {
            code,
            before,
            is_first_line: code[..start].trim().is_empty(),
            cell_magic: name.and_then(|name| catalogue.find(name)),
        })
    }

    /// Whether the cursor is in Rust that the magic runs.
    fn is_in_rust(&self, catalogue: Catalogue) -> bool {
        if self.cell_magic.is_some() && !self.before.trim_start().starts_with('%') {
            return catalogue.rust_to_inspect(self.code.trim_start()).is_some();
        }
        let name = self.before.trim_start_matches('%').split_whitespace().next().and_then(|name| catalogue.find(name));
        let runs_rust = name.is_some_and(|magic| magic.subject == Subject::Rust);
        // The code begins after the options. A word that begins with a dash is an option, and the next word its value.
        let words: Vec<&str> = self.before.split_whitespace().collect();
        let is_after_name = self.before.contains(char::is_whitespace);
        runs_rust && is_after_name && !words.last().is_some_and(|word| word.starts_with('-'))
    }

    /// The workload that the body of the cell declares, or an empty text.
    fn declared_workload(&self) -> &'a str {
        self.code.lines().find_map(|line| line.trim().strip_prefix("workload")).unwrap_or("").trim()
    }
}

/// The byte offset of a position that counts code points.
fn byte_offset(code: &str, position: usize) -> usize {
    code.char_indices().nth(position).map_or(code.len(), |(at, _)| at)
}

/// The start of the line that contains a byte offset.
fn line_start(code: &str, at: usize) -> usize {
    code[..at].rfind('\n').map_or(0, |newline| newline + 1)
}

/// The completions at a cursor, or None if it is in Rust.
pub fn complete(context: &Context, code: &str, position: usize, names: Names<'_>) -> Option<Completions> {
    let at = byte_offset(code, position);
    if let Some(path) = path_before_cursor(context.catalogue, code, at) {
        let (length, matches) = paths::complete(context, path.line, path.only_folders);
        return Some(Completions { start: position - length, end: position, matches });
    }
    let cursor =
        Cursor::in_magic(context.catalogue, code, at).filter(|cursor| !cursor.is_in_rust(context.catalogue))?;
    if let Some((start, matches)) = metrics::complete(context, &cursor) {
        let length = cursor.before[start..].chars().count();
        return Some(Completions { start: position - length, end: position, matches });
    }
    let word_start = cursor.before.rfind([' ', '\t', '=', ',', '[', '(']).map_or(0, |at| at + 1);
    let word = &cursor.before[word_start..];
    let candidates = candidates(context, names, &cursor, word_start);
    let mut matches: Vec<Candidate> = candidates.into_iter().filter(|(text, _)| text.starts_with(word)).collect();
    matches.sort();
    matches.dedup();
    Some(Completions { start: position - word.chars().count(), end: position, matches })
}

/// A line that ends with the path to complete.
struct PathBeforeCursor<'a> {
    /// The line up to the cursor.
    line: &'a str,
    only_folders: bool,
}

/// Whether the word before the cursor is a path: the argument of a magic that takes a file or a folder, or any word of
/// a shell command or of a script.
fn path_before_cursor(catalogue: Catalogue, code: &str, at: usize) -> Option<PathBeforeCursor<'_>> {
    let start = line_start(code, at);
    let line = &code[start..at];
    let (mut words, last) = paths::split(line);
    let is_first_line = code[..start].trim().is_empty();
    let cell_magic = code.trim_start().strip_prefix("%%").map(|head| head.split_whitespace().next().unwrap_or(""));
    let is_script = |name: &str| catalogue.find(name).is_some_and(|magic| magic.body == Some(Body::Script));
    let in_shell = match cell_magic {
        Some(name) if !is_first_line => is_script(name),
        _ => line.strip_prefix('!').is_some_and(|command| !command.starts_with(['(', '[', ' ', '='])),
    };
    if in_shell {
        return Some(PathBeforeCursor { line, only_folders: false });
    }
    if !line.starts_with('%') || words.is_empty() || (cell_magic.is_some() && !is_first_line) || last.starts_with('-') {
        return None;
    }
    let magic = catalogue.find(words.remove(0).trim_start_matches('%'))?;
    // The value of an option would count as an argument here. Of these magics, only `%save` has an option with a value,
    // and that value (`--session -1`) begins with a dash too.
    words.retain(|word| !word.starts_with('-'));
    let is_path = match magic.subject {
        Subject::File | Subject::Folder => words.is_empty(),
        Subject::Program | Subject::Words => true,
        _ => false,
    };
    is_path.then_some(PathBeforeCursor { line, only_folders: magic.subject == Subject::Folder })
}

/// All candidates for the word before the cursor, which begins at `word_start` in the line.
fn candidates(context: &Context, names: Names<'_>, cursor: &Cursor<'_>, word_start: usize) -> Vec<Candidate> {
    let is_magic_line = cursor.before.starts_with('%');
    if is_magic_line && word_start == 0 {
        let forms = |magic: &Magic| {
            let line = magic.line.then(|| format!("%{}", magic.name));
            let cell = (magic.body.is_some() && cursor.is_first_line).then(|| format!("%%{}", magic.name));
            [line, cell].into_iter().flatten().map(|form| (form, "magic")).collect::<Vec<_>>()
        };
        return context.catalogue.0.iter().flat_map(forms).collect();
    }
    let words: Vec<&str> = cursor.before[..word_start].split_whitespace().collect();
    let magic = is_magic_line
        .then(|| words.first().and_then(|word| context.catalogue.find(word.trim_start_matches('%'))))
        .flatten();
    if let Some(magic) = magic {
        if cursor.before[word_start..].starts_with('-') {
            return magic.options.iter().map(|option| (option.written(), "option")).collect();
        }
        let option = words.last().map_or("", |word| word.trim_end_matches('='));
        let values = magic.options.iter().find(|known| known.written() == option).and_then(|known| known.value);
        if let Some(values) = values.filter(|values| values.contains('|')) {
            return values.split('|').map(|value| (value.to_string(), "value")).collect();
        }
        return match (magic.subject, words.len()) {
            (Subject::Study, 1) => studies(context),
            (Subject::Study, _) => hyperparameters_of_study(context, words[1]),
            (Subject::Workload, 1) if !cursor.before.starts_with("%%") => workloads(context),
            (Subject::Workload, _) if words.len() > 1 => hyperparameters(context, words[1]),
            (Subject::Variable, _) if words.len() == 1 || words[words.len() - 1] == "--unset" => {
                context.whole_environment().into_keys().map(|name| (name, "variable")).collect()
            }
            (Subject::Setting, count) => match setting(words.get(1).map_or("", |word| word.trim_end_matches('='))) {
                Some(setting) if count > 1 => values_of(setting.kind),
                _ => SETTINGS.iter().map(|setting| (setting.name.to_string(), "setting")).collect(),
            },
            (Subject::Name, _) => names(),
            _ => vec![],
        };
    }
    if cursor.cell_magic.is_none_or(|magic| magic.body != Some(Body::Declarations)) {
        return vec![];
    }
    match words.last().copied() {
        None => KEYWORDS.iter().chain(&["when"]).map(|keyword| (keyword.to_string(), "keyword")).collect(),
        Some("workload") => workloads(context),
        Some("scientific" | "nuisance" | "fixed" | "when") => hyperparameters(context, cursor.declared_workload()),
        Some("~" | "-") => {
            ["uniform(", "loguniform(", "int(", "logint("].map(|name| (name.to_string(), "keyword")).to_vec()
        }
        _ => vec![],
    }
}

/// The values that a setting may have, if they can be listed.
fn values_of(kind: SettingKind) -> Vec<Candidate> {
    let values: &[&str] = match kind {
        SettingKind::Switch => &["true", "false"],
        SettingKind::Variable { choices, .. } => choices,
        SettingKind::Count | SettingKind::Duration => &[],
    };
    values.iter().map(|value| (value.to_string(), "value")).collect()
}

fn studies(context: &Context) -> Vec<Candidate> {
    let store = context.store_to_read().ok().flatten();
    let studies = store.and_then(|store| store.studies().ok()).unwrap_or_default();
    studies.into_iter().map(|study| (study.name, "study")).collect()
}

fn hyperparameters_of_study(context: &Context, study: &str) -> Vec<Candidate> {
    let store = context.store_to_read().ok().flatten();
    let Some(study) = store.and_then(|store| store.study(study).ok().flatten()) else { return vec![] };
    let varied = study.definition.space.hyperparameters().iter().filter(|h| h.distribution.varies());
    varied.map(|h| (h.label(), "hyperparameter")).collect()
}

fn workloads(context: &Context) -> Vec<Candidate> {
    workload::known(context).unwrap_or_default().into_iter().map(|w| (w.description.name, "workload")).collect()
}

fn described(context: &Context, workload: &str) -> Option<WorkloadDescription> {
    let workloads = workload::known(context).unwrap_or_default().into_iter();
    workloads.map(|workload| workload.description).find(|description| description.name == workload)
}

fn hyperparameters(context: &Context, workload: &str) -> Vec<Candidate> {
    let Some(workload) = described(context, workload) else { return vec![] };
    workload.hyperparameters.into_iter().map(|h| (h.name, "hyperparameter")).collect()
}

/// The help for the word at the cursor: that of a magic or of a hyperparameter, otherwise that of the cell magic. None
/// if the cursor is not in a magic, or in Rust within one.
pub fn inspect(context: &Context, code: &str, position: usize) -> Option<Bundle> {
    let at = byte_offset(code, position);
    let cursor =
        Cursor::in_magic(context.catalogue, code, at).filter(|cursor| !cursor.is_in_rust(context.catalogue))?;
    let word = word_at(code, at);
    if let Some(magic) = context.catalogue.find(word) {
        return Some(magic.help_bundle());
    }
    let workload = described(context, cursor.declared_workload());
    if let Some(h) = workload.as_ref().and_then(|workload| workload.hyperparameter(word)) {
        return Some(plain(format!("{}: {}\nvalues: {}\ndefault: {}", h.name, h.doc, h.domain, h.default)));
    }
    cursor.cell_magic.map(Magic::help_bundle)
}

/// The word of letters, digits and `_` around a byte offset. It is empty if there is none.
fn word_at(code: &str, at: usize) -> &str {
    let is_inside = |c: char| c.is_alphanumeric() || c == '_';
    let before = &code[..at];
    let start = before.trim_end_matches(is_inside).len();
    let end = code[at..].find(|c| !is_inside(c)).map_or(code.len(), |length| at + length);
    &code[start..end]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::CATALOGUE;
    use crate::magic::Settings;
    use crate::testing::{FakeHost, magics, run_in};
    use std::fs;

    /// The text with each completion inserted, if the cursor is at its end.
    fn completed(magics: &crate::Magics, code: &str) -> Option<Vec<String>> {
        let found = magics.complete(code, code.chars().count(), &Vec::new)?;
        let before: String = code.chars().take(found.start).collect();
        Some(found.matches.into_iter().map(|(text, _)| format!("{before}{text}")).collect())
    }

    #[test]
    fn paths_are_completed_in_magics_and_shell_commands() {
        let (folder, magics) = (tempfile::tempdir().unwrap(), magics());
        fs::create_dir_all(folder.path().join("data/inner")).unwrap();
        fs::create_dir(folder.path().join("my data")).unwrap();
        for file in ["data.csv", "däten.txt", ".hidden", "it's"] {
            fs::write(folder.path().join(file), "").unwrap();
        }
        // Completion knows the environment as it was at the last magic.
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
    fn environment_variables_and_options_are_completed() {
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

    /// The completions at the cursor `|`, or None if it is in Rust.
    fn at(code: &str) -> Option<Vec<String>> {
        let settings = Settings {
            first_store: "/nowhere".into(),
            slot: vec![],
            guard: vec![],
            worker: "/nowhere".into(),
            cache: "/nowhere".into(),
        };
        let names = || vec![("apple".to_string(), "variable"), ("area".to_string(), "item")];
        let cursor = code.chars().position(|c| c == '|').unwrap();
        let found = complete(&Context::new(settings, CATALOGUE), &code.replace('|', ""), cursor, &names);
        found.map(|found| found.matches.into_iter().map(|(text, _)| text).collect())
    }

    #[test]
    fn names_and_options_are_completed_but_not_rust() {
        assert_eq!(at("%remove a|").unwrap(), ["apple", "area"]);
        assert_eq!(at("%list ap|").unwrap(), ["apple"]);
        assert_eq!(at("%timeit --s|").unwrap(), ["--samples"]);
        assert_eq!(at("%%timeit --sam|\nf()").unwrap(), ["--samples"]);
        let samplers: Vec<String> = tunebook_study::sampler::SamplerKind::ALL.map(|kind| kind.to_string()).to_vec();
        let mut offered = at("%%sweep s --sampler |").unwrap();
        offered.sort_by_key(|name| samplers.iter().position(|known| known == name));
        assert_eq!(offered, samplers);
        assert_eq!(at("%%sweep s --sampler=so|").unwrap(), ["sobol"]);
        assert_eq!(at("%config tr|").unwrap(), ["trials.parallel", "trials.per_gpu", "trials.timeout"]);
        assert_eq!(at("%config --reset ch|").unwrap(), ["charts.png"]);
        assert_eq!(at("%config charts.png = |").unwrap(), ["false", "true"]);
        assert_eq!(at("%config data.place=h|").unwrap(), ["host"]);
        assert!(at("%tim|").unwrap().contains(&"%timeit".to_string()));
        for code in [
            "%time a|",
            "%timeit --samples 3 v.|",
            "%%time\nv.|",
            "%%test\nfn f() { v.|",
            "%%workload a\nfn data() { Table::|",
            "%%timeit let v = w.|",
            "let x = |",
        ] {
            assert_eq!(at(code), None, "{code}");
        }
    }
}
