//! `cargo verify -- notebooks`: executes the notebooks of `notebooks` with nbclient, papermill, `tunebook run` and
//! JupyterLab, and compares the results of every two of them with `tunebook diff`.
//!
//! Each run has a copy of the folder of its own, so that none finds the studies of another. What depends on measured
//! time is not compared, and the table names it.

use anyhow::{Context, Result, bail, ensure};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};
use tunebook_tests::{chromium, executable, lacks, python, script};

/// The time limit of a cell, in seconds.
const CELL: &str = "1800";
/// The time limit of all cells of a notebook in JupyterLab, in seconds.
const NOTEBOOK: &str = "3600";
/// So many lines of what a failed run said are printed.
const LINES: usize = 30;
/// So many differences of two runs are printed.
const DIFFERENCES: usize = 10;
/// How the line of `tunebook diff` begins that names what it did not compare.
const LEFT_OUT: &str = "Left out, because it differs from run to run: ";

/// What executes notebooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Runner {
    Nbclient,
    Papermill,
    Run,
    JupyterLab,
}

impl Runner {
    const ALL: [Self; 4] = [Self::Nbclient, Self::Papermill, Self::Run, Self::JupyterLab];

    fn name(self) -> &'static str {
        match self {
            Self::Nbclient => "nbclient",
            Self::Papermill => "papermill",
            Self::Run => "run",
            Self::JupyterLab => "jupyterlab",
        }
    }

    /// The command that executes a notebook of the current folder. JupyterLab writes the result into the notebook
    /// itself, the others write it to `to`.
    fn command(self, folder: &Path, notebook: &str, to: &Path) -> Command {
        let mut command = match self {
            Self::Run => Command::new(executable("tunebook")),
            _ => python(folder),
        };
        match self {
            Self::Nbclient => {
                command.args(["-m", "nbconvert", "--to", "notebook", "--execute", notebook]);
                command.arg(format!("--ExecutePreprocessor.timeout={CELL}"));
                command.arg("--output").arg(to.file_stem().unwrap_or_default());
                command.arg("--output-dir").arg(to.parent().unwrap_or(folder));
            }
            Self::Papermill => {
                command.args(["-m", "papermill", "--no-progress-bar", "--execution-timeout", CELL, notebook]).arg(to);
            }
            Self::Run => {
                command.args(["run", notebook, "--timeout", &format!("{CELL}s"), "--to"]).arg(to);
                command.env("TUNEBOOK_WORKER", executable("tunebook-worker"));
                command.env("TUNEBOOK_HISTORY", folder.join("history.db"));
            }
            Self::JupyterLab => {
                command.arg(script("lab_run.py")).arg(notebook).arg(chromium()).arg(NOTEBOOK);
            }
        }
        command.env_remove("TUNEBOOK_STUDIES");
        command
    }
}

impl fmt::Display for Runner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What to run.
#[derive(Debug, PartialEq)]
struct Options {
    /// The numbers of the notebooks, or None for all.
    only: Option<BTreeSet<u32>>,
    runners: Vec<Runner>,
}

impl Options {
    fn parse(words: &[String]) -> Result<Self> {
        const USAGE: &str = "usage: cargo verify -- notebooks [--only 1,4] [--by nbclient,papermill,run,jupyterlab]";
        let mut options = Self { only: None, runners: Runner::ALL.to_vec() };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let (name, value) = match word.split_once('=') {
                Some((name, value)) => (name, value),
                None => {
                    (word.as_str(), words.next().with_context(|| format!("`{word}` needs a value; {USAGE}"))?.as_str())
                }
            };
            match name {
                "--only" => {
                    let number = |text: &str| {
                        text.parse::<u32>()
                            .with_context(|| format!("`{text}` is not the number of a notebook; {USAGE}"))
                    };
                    options.only = Some(value.split(',').map(number).collect::<Result<BTreeSet<u32>>>()?);
                }
                "--by" => {
                    let runner = |text: &str| {
                        let found = Runner::ALL.into_iter().find(|runner| runner.name() == text);
                        found.with_context(|| format!("`{text}` executes no notebooks; {USAGE}"))
                    };
                    let named = value.split(',').map(runner).collect::<Result<BTreeSet<_>>>()?;
                    ensure!(
                        named.len() > 1,
                        "name at least two in `--by`, so that there is something to compare; {USAGE}"
                    );
                    options.runners = named.into_iter().collect();
                }
                _ => bail!("there is no option `{name}`; {USAGE}"),
            }
        }
        Ok(options)
    }

    /// The notebooks among these files that are to run.
    fn chosen(&self, notebooks: Vec<PathBuf>) -> Result<Vec<PathBuf>> {
        let Some(only) = &self.only else { return Ok(notebooks) };
        let numbers: BTreeSet<u32> = notebooks.iter().filter_map(|path| number(path)).collect();
        if let Some(unknown) = only.difference(&numbers).next() {
            let known: Vec<String> = numbers.iter().map(u32::to_string).collect();
            bail!("there is no notebook {unknown}; their numbers are {}", known.join(", "));
        }
        Ok(notebooks.into_iter().filter(|path| number(path).is_some_and(|number| only.contains(&number))).collect())
    }
}

/// The number at the beginning of the name of a notebook: 1 of `01-first-sweep.ipynb`.
fn number(path: &Path) -> Option<u32> {
    stem(path).split('-').next()?.parse().ok()
}

/// The name of a notebook without its ending.
fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// The folder of the notebooks.
fn folder() -> PathBuf {
    tunebook_tests::repository().join("notebooks")
}

fn main() -> Result<ExitCode> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let mut options = Options::parse(&words)?;
    if lacks("chromium") {
        options.runners.retain(|runner| *runner != Runner::JupyterLab);
        ensure!(
            options.runners.len() > 1,
            "without Chromium there is nothing to compare (Debian: apt install chromium)"
        );
    }
    let entries = std::fs::read_dir(folder()).with_context(|| format!("{} cannot be read", folder().display()))?;
    let mut notebooks: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    notebooks.retain(|path| path.extension().is_some_and(|ending| ending == "ipynb"));
    notebooks.sort();
    let results = tempfile::tempdir().context("a folder for the results cannot be made")?;
    let mut rows = vec![];
    for notebook in options.chosen(notebooks)? {
        let mut row = Row { notebook: stem(&notebook), ..Row::default() };
        let mut executed = vec![];
        for runner in options.runners.iter().copied() {
            let to = results.path().join(format!("{}-{runner}.ipynb", row.notebook));
            println!("{} by {runner} …", row.notebook);
            let ran = execute(runner, &notebook, &to);
            if let Err(error) = &ran {
                println!("{error:#}");
            }
            if ran.is_ok() {
                executed.push((runner, to));
            }
            row.runs.push((runner, ran.ok()));
        }
        for (i, (first, a)) in executed.iter().enumerate() {
            for (second, b) in &executed[i + 1..] {
                let compared = compare(a, b).with_context(|| format!("{}: {first} and {second}", row.notebook))?;
                row.add(*first, *second, compared);
            }
        }
        rows.push(row);
    }
    print!("\n{}", Table(&rows, &options.runners));
    Ok(if rows.iter().all(Row::is_fine) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Executes a notebook in a copy of its folder, and returns how long that took. The result is written to `to`.
fn execute(runner: Runner, notebook: &Path, to: &Path) -> Result<Duration> {
    let folder = tempfile::tempdir().context("a folder for the run cannot be made")?;
    let work = folder.path().join("notebooks");
    copy(&self::folder(), &work).context("the notebooks cannot be copied")?;
    let name = notebook.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let started = Instant::now();
    let mut command = runner.command(folder.path(), &name, to);
    let output = command.current_dir(&work).output().with_context(|| format!("{runner} cannot be started"))?;
    let took = started.elapsed();
    if !output.status.success() {
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let lines: Vec<&str> = said.lines().collect();
        let last = lines[lines.len().saturating_sub(LINES)..].join("\n");
        bail!("{runner} ended with {}:\n{last}", output.status);
    }
    if runner == Runner::JupyterLab {
        std::fs::copy(work.join(&name), to).context("the notebook that JupyterLab saved cannot be copied")?;
    }
    Ok(took)
}

/// Copies a folder. What begins with a dot, such as a store, belongs to somebody's own runs and is not copied.
fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name());
        match path.is_dir() {
            _ if name.to_string_lossy().starts_with('.') => {}
            true => copy(&path, &to.join(&name))?,
            false => drop(std::fs::copy(&path, to.join(&name))?),
        }
    }
    Ok(())
}

/// What `tunebook diff` says of two notebooks.
#[derive(Debug, Default, PartialEq)]
struct Compared {
    differences: Vec<String>,
    /// The fields that differ and were not compared, by the kind of the result.
    left_out: BTreeMap<String, BTreeSet<String>>,
}

impl Compared {
    /// Reads what `tunebook diff` printed.
    fn of(text: &str, is_same: bool) -> Self {
        let mut compared = Self::default();
        let summary = text.lines().position(|line| line.contains(" cells compared, ")).unwrap_or(0);
        if !is_same {
            compared.differences = text.lines().take(summary).map(String::from).collect();
        }
        let left_out = text.lines().find_map(|line| line.strip_prefix(LEFT_OUT)).unwrap_or_default();
        for (kind, fields) in left_out.trim_end_matches('.').split("; ").filter_map(|part| part.split_once(": ")) {
            compared.left_out.entry(kind.into()).or_default().extend(fields.split(", ").map(String::from));
        }
        compared
    }
}

fn compare(a: &Path, b: &Path) -> Result<Compared> {
    let output = Command::new(executable("tunebook")).arg("diff").arg(a).arg(b).output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    match output.status.code() {
        Some(0) => Ok(Compared::of(&said, true)),
        Some(1) => Ok(Compared::of(&said, false)),
        _ => bail!("`tunebook diff` ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr)),
    }
}

/// What became of a notebook.
#[derive(Default)]
struct Row {
    notebook: String,
    /// How long each run took. None if it failed.
    runs: Vec<(Runner, Option<Duration>)>,
    comparisons: usize,
    /// Which runs differ, and where.
    differences: Vec<String>,
    left_out: BTreeMap<String, BTreeSet<String>>,
}

impl Row {
    fn add(&mut self, first: Runner, second: Runner, compared: Compared) {
        self.comparisons += 1;
        let Compared { differences, left_out } = compared;
        let more = differences.len().saturating_sub(DIFFERENCES);
        let shown = differences.into_iter().take(DIFFERENCES);
        self.differences.extend(shown.map(|difference| format!("{first} and {second}: {difference}")));
        if more > 0 {
            self.differences.push(format!("{first} and {second}: {more} more differences"));
        }
        for (kind, fields) in left_out {
            self.left_out.entry(kind).or_default().extend(fields);
        }
    }

    fn is_fine(&self) -> bool {
        self.differences.is_empty() && self.runs.iter().all(|(_, took)| took.is_some())
    }

    fn verdict(&self) -> String {
        let failed: Vec<&str> =
            self.runs.iter().filter(|(_, took)| took.is_none()).map(|(runner, _)| runner.name()).collect();
        let same = match (self.comparisons, self.differences.is_empty()) {
            (0, _) => "nothing to compare",
            (_, true) => "the same",
            (_, false) => "DIFFERENT",
        };
        if failed.is_empty() { same.into() } else { format!("{same}; FAILED: {}", failed.join(", ")) }
    }
}

/// The seconds of each notebook by each runner, whether the results are the same, where not, and what was left out.
struct Table<'a>(&'a [Row], &'a [Runner]);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(rows, runners) = self;
        let width = rows.iter().map(|row| row.notebook.chars().count()).max().unwrap_or(0).max("notebook".len());
        write!(f, "{:width$}", "notebook")?;
        for runner in *runners {
            write!(f, "  {runner:>10}")?;
        }
        writeln!(f, "  results")?;
        for row in *rows {
            write!(f, "{:width$}", row.notebook)?;
            for (_, took) in &row.runs {
                let took = took.map_or("failed".to_string(), |took| format!("{:.1} s", took.as_secs_f64()));
                write!(f, "  {took:>10}")?;
            }
            writeln!(f, "  {}", row.verdict())?;
        }
        for row in rows.iter().filter(|row| !row.differences.is_empty()) {
            writeln!(f, "\nDifferent in {}:", row.notebook)?;
            for difference in &row.differences {
                writeln!(f, "  {difference}")?;
            }
        }
        writeln!(f, "\nNot compared, because it is measured time or follows from it, or belongs to the run itself:")?;
        for row in *rows {
            let fields = |fields: &BTreeSet<String>| fields.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
            let kinds: Vec<String> =
                row.left_out.iter().map(|(kind, names)| format!("{kind}: {}", fields(names))).collect();
            let kinds = if kinds.is_empty() { "nothing".to_string() } else { kinds.join("; ") };
            writeln!(f, "  {:width$}  {kinds}", row.notebook)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Result<Options> {
        Options::parse(&words.iter().map(|word| word.to_string()).collect::<Vec<_>>())
    }

    #[test]
    fn options_choose_notebooks_and_runners() {
        assert_eq!(parsed(&[]).unwrap(), Options { only: None, runners: Runner::ALL.to_vec() });
        let some = parsed(&["--only", "1,4", "--by=run,nbclient"]).unwrap();
        assert_eq!(some, Options { only: Some([1, 4].into()), runners: vec![Runner::Nbclient, Runner::Run] });
        let paths = |names: &[&str]| names.iter().map(PathBuf::from).collect::<Vec<_>>();
        let chosen = some.chosen(paths(&["01-a.ipynb", "02-b.ipynb", "04-c.ipynb"])).unwrap();
        assert_eq!(chosen, paths(&["01-a.ipynb", "04-c.ipynb"]));
        let unknown = some.chosen(paths(&["01-a.ipynb"])).unwrap_err().to_string();
        assert!(unknown.contains("no notebook 4"), "{unknown}");
        for (words, part) in [
            (&["--only", "first"][..], "`first` is not the number"),
            (&["--by", "run,colab"], "`colab` executes no notebooks"),
            (&["--by", "run"], "at least two"),
            (&["--only"], "needs a value"),
            (&["--all", "1"], "no option `--all`"),
        ] {
            let error = parsed(words).unwrap_err().to_string();
            assert!(error.contains(part) && error.contains("usage"), "{error}");
        }
    }

    #[test]
    fn the_table_says_what_differs_and_what_was_left_out() {
        let same = "3 cells compared, 2 of them with a result of a magic: the same.\n\
            Left out, because it differs from run to run: scaling: cost, seconds; sweep: seconds.\n";
        let other = "cell 1 (f()): the value differs: `1` and `2`\n\
            3 cells compared, 2 of them with a result of a magic: not the same.\n\
            Left out, because it differs from run to run: sweep: trial_seconds.\n";
        let [same, other] = [Compared::of(same, true), Compared::of(other, false)];
        assert!(same.differences.is_empty() && same.left_out["scaling"].len() == 2, "{same:?}");
        let mut first = Row { notebook: "01-a".into(), ..Row::default() };
        first.runs =
            vec![(Runner::Nbclient, Some(Duration::from_secs(2))), (Runner::Run, Some(Duration::from_secs(3)))];
        first.add(Runner::Nbclient, Runner::Run, same);
        let mut second = Row { notebook: "02-b".into(), runs: first.runs.clone(), ..Row::default() };
        second.add(Runner::Nbclient, Runner::Run, other);
        let mut third = Row { notebook: "03-c".into(), ..Row::default() };
        third.runs = vec![(Runner::Nbclient, None), (Runner::Run, Some(Duration::from_secs(3)))];
        assert_eq!([&first, &second, &third].map(Row::is_fine), [true, false, false]);
        let table = Table(&[first, second, third], &[Runner::Nbclient, Runner::Run]).to_string();
        for line in [
            "01-a         2.0 s       3.0 s  the same",
            "02-b         2.0 s       3.0 s  DIFFERENT",
            "03-c        failed       3.0 s  nothing to compare; FAILED: nbclient",
            "  nbclient and run: cell 1 (f()): the value differs: `1` and `2`",
            "  01-a      scaling: cost, seconds; sweep: seconds",
            "  02-b      sweep: trial_seconds",
            "  03-c      nothing",
        ] {
            let spaced = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(table.lines().any(|other| spaced(other) == spaced(line)), "{line}: {table}");
        }
    }
}
