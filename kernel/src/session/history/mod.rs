//! The history: the inputs and outputs of this session and of earlier ones, in a file of the user's. A thread of its
//! own reads and writes the file, so that no cell waits for it.

mod file;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use file::HistoryFile;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tunebook_magics::session::Input;

/// How long a kernel that ends waits until all cells are written.
const SETTLE_WITHIN: Duration = Duration::from_secs(1);
/// How long a query waits for its answer. It takes longer only if another process locks the file.
const ANSWER_WITHIN: Duration = Duration::from_secs(8);

/// A cell of the history.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The number of the session; sessions are counted from 1.
    pub session: i64,
    /// The execution count, which Jupyter's messages call the line.
    pub line: u64,
    /// The code.
    pub input: String,
    /// The value of the cell as text, if it has one.
    pub output: Option<String>,
    /// Whether the cell ended without an error. None while it runs, and if the kernel ended before the cell did.
    pub succeeded: Option<bool>,
}

/// A query for entries.
#[derive(Clone, Debug, PartialEq)]
pub enum Query {
    /// The last entries of all sessions; `last` is their number.
    Tail { last: usize },
    /// The entries of a session with start ≤ line < stop. A negative line counts from the end. Session 0 is this one,
    /// -1 the one before it, and so on.
    Range { session: i64, start: i64, stop: Option<i64> },
    /// The entries of all sessions whose input matches a pattern, in which `*` stands for any text and `?` for any
    /// character. With `unique` only the latest of equal inputs; with `last` at most this number of entries.
    Search { pattern: String, unique: bool, last: Option<usize> },
}

/// Work for the thread of the history.
enum Job {
    Keep { line: u64, input: String, outcome: Option<CellOutcome> },
    Find { query: Query, answer: Sender<Vec<Entry>> },
    Settle(Sender<()>),
}

/// The outcome of a cell that has ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CellOutcome {
    /// The value of the cell as text, if it has one.
    pub output: Option<String>,
    /// Whether the cell ended without an error.
    pub succeeded: bool,
}

/// A handle to the history.
pub struct History {
    jobs: Sender<Job>,
}

impl History {
    /// Opens the history in a file, or without a file in memory for this session. Returns at once. If the file cannot
    /// be used, the history is in memory.
    pub fn start(file: Option<PathBuf>) -> Self {
        let (jobs, queue) = unbounded();
        // If the thread cannot be started, the queue is closed, and there is no history.
        let _ = std::thread::Builder::new().name("history".into()).spawn(move || serve(queue, file));
        Self { jobs }
    }

    /// Records a cell. Call it when the cell begins, so that it is kept if the kernel ends, and again with the outcome.
    pub fn keep(&self, line: u64, input: &str, outcome: Option<CellOutcome>) {
        let _ = self.jobs.send(Job::Keep { line, input: input.into(), outcome });
    }

    /// The entries that match a query, oldest first. Call it from a thread that may block.
    pub fn find(&self, query: Query) -> Vec<Entry> {
        let (answer, receiver) = bounded(1);
        let _ = self.jobs.send(Job::Find { query, answer });
        receiver.recv_timeout(ANSWER_WITHIN).unwrap_or_default()
    }

    /// The cells of a session, oldest first, without the one that runs now. Sessions are numbered as in
    /// [`Query::Range`].
    pub fn inputs(&self, session: i64) -> Vec<Input> {
        let entries = self.find(Query::Range { session, start: 0, stop: None });
        let ran = entries.into_iter().filter(|entry| session != 0 || entry.succeeded.is_some());
        ran.map(|Entry { line, input, succeeded, .. }| Input {
            line,
            code: input,
            succeeded: succeeded.unwrap_or(false),
        })
        .collect()
    }

    /// Waits until all cells are written, but at most a second.
    pub fn settle(&self) {
        let (answer, receiver) = bounded(1);
        let _ = self.jobs.send(Job::Settle(answer));
        let _ = receiver.recv_timeout(SETTLE_WITHIN);
    }
}

/// The file of the history: the value of `TUNEBOOK_HISTORY`, or a file in the folder for the user's data. None if the
/// variable is empty, or if there is no such folder.
pub fn default_file() -> Option<PathBuf> {
    match std::env::var_os("TUNEBOOK_HISTORY") {
        Some(path) => Some(path).filter(|path| !path.is_empty()).map(PathBuf::from),
        None => Some(dirs::data_dir()?.join("tunebook").join("history.db")),
    }
}

fn serve(queue: Receiver<Job>, file: Option<PathBuf>) {
    let opened = HistoryFile::open(file.as_deref()).or_else(|error| {
        let shown = file.as_deref().unwrap_or(Path::new("")).display();
        tunebook_wire::log(&format!(
            "the history {shown} cannot be used; the history of this session stays in memory: {error:#}"
        ));
        HistoryFile::open(None)
    });
    let mut history = match opened {
        Ok(history) => history,
        Err(error) => return tunebook_wire::log(&format!("there is no history: {error:#}")),
    };
    for job in queue {
        match job {
            Job::Keep { line, input, outcome } => history.keep(line, &input, outcome.as_ref()),
            Job::Find { query, answer } => drop(answer.send(history.find(&query))),
            Job::Settle(answer) => drop(answer.send(())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::os::unix::fs::PermissionsExt;

    fn keep(history: &History, first: u64, inputs: &[&str]) {
        for (line, input) in (first..).zip(inputs) {
            let output = input.ends_with('1').then(|| "1".to_string());
            history.keep(line, input, None);
            history.keep(line, input, Some(CellOutcome { output, succeeded: !input.contains("bad") }));
        }
    }

    /// The session and line of each entry that a query finds.
    fn found(history: &History, query: Query) -> Vec<(i64, u64)> {
        history.find(query).iter().map(|entry| (entry.session, entry.line)).collect()
    }

    fn range(session: i64, start: i64, stop: Option<i64>) -> Query {
        Query::Range { session, start, stop }
    }

    fn search(pattern: &str, unique: bool, last: Option<usize>) -> Query {
        Query::Search { pattern: pattern.into(), unique, last }
    }

    /// Three sessions, the last of which is this one. A fourth one without cells is not counted.
    fn three_sessions(folder: &Path) -> History {
        let file = folder.join("deep/history.db");
        let session = |inputs: &[&str]| {
            let history = History::start(Some(file.clone()));
            keep(&history, 1, inputs);
            history.settle();
            history
        };
        session(&["let x = 1;", "x + 1", "bad"]);
        session(&[]);
        session(&["let y = 2;", "x + 1"]);
        session(&["let [z] = 3;", "x + 1", "Let q = 4;", "a?b"])
    }

    #[test]
    fn sessions_are_numbered_and_found_by_number() {
        let folder = tempfile::tempdir().unwrap();
        let history = three_sessions(folder.path());
        let all = (1..=3).map(|line| (1, line)).chain([(2, 1), (2, 2)]).chain((1..=4).map(|line| (3, line)));
        let all: Vec<_> = all.collect();
        for last in 0..=10 {
            let expected = &all[all.len().saturating_sub(last)..];
            assert_eq!(found(&history, Query::Tail { last }), expected, "{last}");
        }
        for (session, number, cells) in
            [(0, 3, 4), (3, 3, 4), (-1, 2, 2), (2, 2, 2), (-2, 1, 3), (1, 1, 3), (-3, 0, 0), (9, 0, 0)]
        {
            let expected: Vec<_> = (1..=cells).map(|line| (number, line)).collect();
            assert_eq!(found(&history, range(session, 0, None)), expected, "session {session}");
        }
        assert!(found(&history, range(i64::MIN, i64::MIN, Some(i64::MIN))).is_empty());
        for (start, stop, lines) in
            [(2, Some(4), 2..=3), (2, None, 2..=4), (-1, None, 4..=4), (-3, Some(-1), 2..=3), (1, Some(99), 1..=4)]
        {
            let expected: Vec<_> = lines.map(|line| (3, line)).collect();
            assert_eq!(found(&history, range(0, start, stop)), expected, "{start} {stop:?}");
        }
        assert!(found(&history, range(0, 4, Some(2))).is_empty());
    }

    #[test]
    fn a_search_has_two_wildcards_and_is_case_sensitive() {
        let folder = tempfile::tempdir().unwrap();
        let history = three_sessions(folder.path());
        for (pattern, unique, last, expected) in [
            ("let*", false, None, vec![(1, 1), (2, 1), (3, 1)]),
            ("let*", false, Some(2), vec![(2, 1), (3, 1)]),
            ("let ? = ?;", false, None, vec![(1, 1), (2, 1)]),
            ("*[z]*", false, None, vec![(3, 1)]),
            ("let [xyz] = ?;", false, None, vec![]),
            ("x + 1", false, None, vec![(1, 2), (2, 2), (3, 2)]),
            ("x + 1", true, None, vec![(3, 2)]),
            ("*", true, Some(3), vec![(3, 2), (3, 3), (3, 4)]),
            ("a?b", false, None, vec![(3, 4)]),
            ("x", false, None, vec![]),
            ("", false, None, vec![]),
        ] {
            assert_eq!(found(&history, search(pattern, unique, last)), expected, "{pattern} {unique} {last:?}");
        }
    }

    #[test]
    fn the_outcome_of_a_cell_is_kept_and_the_running_cell_is_no_input() {
        let folder = tempfile::tempdir().unwrap();
        let history = three_sessions(folder.path());
        history.keep(5, "running", None);
        let entries = history.find(range(0, 4, None));
        let entry =
            |line, input: &str, succeeded| Entry { session: 3, line, input: input.into(), output: None, succeeded };
        assert_eq!(entries, [entry(4, "a?b", Some(true)), entry(5, "running", None)]);
        assert_eq!(history.find(range(1, 2, Some(3)))[0].output.as_deref(), Some("1"));
        let input = |line, code: &str, succeeded| Input { line, code: code.into(), succeeded };
        let first = [input(1, "let x = 1;", true), input(2, "x + 1", true), input(3, "bad", false)];
        assert_eq!(history.inputs(-2), first);
        assert_eq!(history.inputs(0).last().unwrap().line, 4);
        // A cell during which the kernel ended counts as failed.
        history.settle();
        let later = History::start(Some(folder.path().join("deep/history.db")));
        assert_eq!(later.inputs(-1).last(), Some(&input(5, "running", false)));
    }

    #[test]
    fn of_a_long_output_the_beginning_is_kept() {
        let history = History::start(None);
        let output = Some("é".repeat(100_000));
        history.keep(1, "long", Some(CellOutcome { output, succeeded: true }));
        let kept = history.find(Query::Tail { last: 1 })[0].output.clone().unwrap();
        assert!(kept.len() < 70_000 && kept.starts_with("éé") && kept.ends_with('…'));
    }

    #[test]
    fn only_the_owner_can_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let history = three_sessions(folder.path());
        history.settle();
        let mode = |name: &str| std::fs::metadata(folder.path().join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode("deep"), 0o700);
        for file in std::fs::read_dir(folder.path().join("deep")).unwrap() {
            let name = file.unwrap().file_name();
            assert_eq!(mode(&format!("deep/{}", name.display())), 0o600, "{}", name.display());
        }
        // The mode of an existing file is corrected.
        let open = folder.path().join("open.db");
        std::fs::write(&open, "").unwrap();
        std::fs::set_permissions(&open, PermissionsExt::from_mode(0o644)).unwrap();
        History::start(Some(open)).settle();
        assert_eq!(mode("open.db"), 0o600);
    }

    #[test]
    fn with_a_file_that_cannot_be_used_the_history_is_in_memory() {
        let folder = tempfile::tempdir().unwrap();
        let text = folder.path().join("text");
        std::fs::write(&text, "no database at all, and long enough to look like one".repeat(99)).unwrap();
        let foreign = folder.path().join("foreign");
        rusqlite::Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE theirs (a)").unwrap();
        let newer = folder.path().join("newer");
        drop(three_sessions(folder.path()));
        std::fs::copy(folder.path().join("deep/history.db"), &newer).unwrap();
        rusqlite::Connection::open(&newer).unwrap().execute_batch("PRAGMA user_version = 99").unwrap();
        for file in [text.clone(), foreign, newer, folder.path().into(), text.join("below/history.db")] {
            let before = std::fs::read(&file).ok();
            let history = History::start(Some(file.clone()));
            keep(&history, 1, &["let x = 1;", "x"]);
            assert_eq!(found(&history, Query::Tail { last: 9 }), [(1, 1), (1, 2)], "{}", file.display());
            assert_eq!(std::fs::read(&file).ok(), before, "{} is changed", file.display());
        }
    }

    #[test]
    fn a_database_of_another_program_that_crashed_stays_as_it_is() {
        let (theirs, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let connection = rusqlite::Connection::open(theirs.path().join("history.db")).unwrap();
        connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())).unwrap();
        connection.execute_batch("CREATE TABLE theirs (a); INSERT INTO theirs VALUES (1)").unwrap();
        // What a crash leaves: a log that is not merged, and no index.
        for name in ["history.db", "history.db-wal"] {
            std::fs::copy(theirs.path().join(name), folder.path().join(name)).unwrap();
        }
        let files = || -> std::collections::BTreeMap<PathBuf, Vec<u8>> {
            let paths = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
            paths.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
        };
        let before = files();
        let history = History::start(Some(folder.path().join("history.db")));
        keep(&history, 1, &["let x = 1;"]);
        assert_eq!(found(&history, Query::Tail { last: 9 }), [(1, 1)]);
        drop(history);
        assert!(before == files(), "{:?}", files().keys());
    }

    #[test]
    fn a_locked_file_neither_delays_nor_loses_a_cell() {
        let folder = tempfile::tempdir().unwrap();
        let history = three_sessions(folder.path());
        let file = folder.path().join("deep/history.db");
        let other = rusqlite::Connection::open(&file).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let started = std::time::Instant::now();
        keep(&history, 5, &["let w = 5;"]);
        assert!(started.elapsed() < Duration::from_millis(100), "{:?}", started.elapsed());
        // The cell is in memory until it can be written, and is found exactly once.
        assert_eq!(found(&history, range(0, 4, None)), [(3, 4), (3, 5)]);
        assert_eq!(found(&history, search("let w*", false, None)), [(3, 5)]);
        let later = History::start(Some(file));
        other.execute_batch("ROLLBACK").unwrap();
        assert_eq!(found(&later, Query::Tail { last: 1 }), [(3, 4)]);
        keep(&history, 6, &["w"]);
        assert_eq!(found(&history, Query::Tail { last: 2 }), [(3, 5), (3, 6)]);
        assert_eq!(found(&later, Query::Tail { last: 2 }), [(3, 5), (3, 6)]);
        assert_eq!(later.find(Query::Tail { last: 2 })[0].succeeded, Some(true));
    }

    #[test]
    fn sessions_at_the_same_time_have_different_numbers() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("history.db");
        let sessions: Vec<History> = (0..4).map(|_| History::start(Some(file.clone()))).collect();
        for line in 1..=50 {
            for (i, history) in sessions.iter().enumerate() {
                keep(history, line, &[&format!("{i} {line}")]);
            }
        }
        let mut numbers = HashSet::new();
        for (i, history) in sessions.iter().enumerate() {
            let entries = history.find(range(0, 0, None));
            assert_eq!(entries.len(), 50);
            assert!(entries.iter().all(|entry| entry.input == format!("{i} {}", entry.line)));
            numbers.insert(entries[0].session);
        }
        assert_eq!(numbers, HashSet::from([1, 2, 3, 4]));
    }
}
