//! The inputs and outputs of this session and of earlier ones. They are in a file of the user's, which a thread of its own
//! writes and reads: no cell waits for it.

mod record;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use record::Record;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tunebook_magics::session::Input;

/// How long a kernel that ends waits for what is not written yet.
const SETTLE: Duration = Duration::from_secs(1);
/// An answer that takes longer is none: another process holds the file.
const PATIENCE: Duration = Duration::from_secs(8);

/// One cell.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The number of its session.
    pub session: i64,
    /// Its execution count.
    pub line: u64,
    /// Its code.
    pub input: String,
    /// What it evaluated to, as text.
    pub output: Option<String>,
    /// Whether it ended well; `None` while it runs, and where the kernel ended before it did.
    pub succeeded: Option<bool>,
}

/// Which entries are wanted.
#[derive(Clone, Debug, PartialEq)]
pub enum Query {
    /// The last so many of all sessions.
    Tail { last: usize },
    /// Those of a session with start ≤ line < stop; numbers below zero count from the end. Session 0 is this one, -1 the
    /// one before, and so on.
    Range { session: i64, start: i64, stop: Option<i64> },
    /// Those of all sessions that match a pattern, in which `*` is any text and `?` any character. `unique`: the latest of
    /// those that are alike.
    Search { pattern: String, unique: bool, last: Option<usize> },
}

enum Job {
    Keep { line: u64, input: String, ended: Option<Ended> },
    Find { query: Query, answer: Sender<Vec<Entry>> },
    Settle(Sender<()>),
}

/// How a cell ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ended {
    /// What it evaluated to, as text.
    pub output: Option<String>,
    /// Whether it ended well.
    pub succeeded: bool,
}

/// See the module.
pub struct History {
    jobs: Sender<Job>,
}

impl History {
    /// In a file, or for as long as the session lasts. Comes back at once; a file that cannot be used is as good as none.
    pub fn start(file: Option<PathBuf>) -> Self {
        let (jobs, queue) = unbounded();
        // Without the thread the queue is closed, and there is no history.
        let _ = std::thread::Builder::new().name("history".into()).spawn(move || serve(queue, file));
        Self { jobs }
    }

    /// Keeps a cell: when it begins, so that the end of the kernel does not cost it, and again when it has ended.
    pub fn keep(&self, line: u64, input: &str, ended: Option<Ended>) {
        let _ = self.jobs.send(Job::Keep { line, input: input.into(), ended });
    }

    /// Entries, oldest first. Call it from a thread that may wait.
    pub fn find(&self, query: Query) -> Vec<Entry> {
        let (answer, receiver) = bounded(1);
        let _ = self.jobs.send(Job::Find { query, answer });
        receiver.recv_timeout(PATIENCE).unwrap_or_default()
    }

    /// Cells of a session that were run, oldest first: without the one that runs now.
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

    /// Waits until all is written, a second at most.
    pub fn settle(&self) {
        let (answer, receiver) = bounded(1);
        let _ = self.jobs.send(Job::Settle(answer));
        let _ = receiver.recv_timeout(SETTLE);
    }
}

/// Where the history is: what `TUNEBOOK_HISTORY` says, else with the user's data. `None`: nowhere.
pub fn default_file() -> Option<PathBuf> {
    match std::env::var_os("TUNEBOOK_HISTORY") {
        Some(path) => Some(path).filter(|path| !path.is_empty()).map(PathBuf::from),
        None => Some(dirs::data_dir()?.join("tunebook").join("history.db")),
    }
}

fn serve(queue: Receiver<Job>, file: Option<PathBuf>) {
    let opened = Record::open(file.as_deref()).or_else(|error| {
        let shown = file.as_deref().unwrap_or(Path::new("")).display();
        tunebook_wire::log(&format!(
            "the history {shown} cannot be used, that of this session stays in memory: {error:#}"
        ));
        Record::open(None)
    });
    let mut record = match opened {
        Ok(record) => record,
        Err(error) => return tunebook_wire::log(&format!("there is no history: {error:#}")),
    };
    for job in queue {
        match job {
            Job::Keep { line, input, ended } => record.keep(line, &input, ended.as_ref()),
            Job::Find { query, answer } => drop(answer.send(record.find(&query))),
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
            history.keep(line, input, Some(Ended { output, succeeded: !input.contains("bad") }));
        }
    }

    fn places(history: &History, query: Query) -> Vec<(i64, u64)> {
        history.find(query).iter().map(|entry| (entry.session, entry.line)).collect()
    }

    fn range(session: i64, start: i64, stop: Option<i64>) -> Query {
        Query::Range { session, start, stop }
    }

    fn search(pattern: &str, unique: bool, last: Option<usize>) -> Query {
        Query::Search { pattern: pattern.into(), unique, last }
    }

    /// Three sessions, the last of which is this one; an empty one counts for nothing.
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
            assert_eq!(places(&history, Query::Tail { last }), expected, "{last}");
        }
        for (session, number, cells) in
            [(0, 3, 4), (3, 3, 4), (-1, 2, 2), (2, 2, 2), (-2, 1, 3), (1, 1, 3), (-3, 0, 0), (9, 0, 0)]
        {
            let expected: Vec<_> = (1..=cells).map(|line| (number, line)).collect();
            assert_eq!(places(&history, range(session, 0, None)), expected, "session {session}");
        }
        assert!(places(&history, range(i64::MIN, i64::MIN, Some(i64::MIN))).is_empty());
        for (start, stop, lines) in
            [(2, Some(4), 2..=3), (2, None, 2..=4), (-1, None, 4..=4), (-3, Some(-1), 2..=3), (1, Some(99), 1..=4)]
        {
            let expected: Vec<_> = lines.map(|line| (3, line)).collect();
            assert_eq!(places(&history, range(0, start, stop)), expected, "{start} {stop:?}");
        }
        assert!(places(&history, range(0, 4, Some(2))).is_empty());
    }

    #[test]
    fn a_search_knows_two_special_characters_and_the_case() {
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
            assert_eq!(places(&history, search(pattern, unique, last)), expected, "{pattern} {unique} {last:?}");
        }
    }

    #[test]
    fn what_a_cell_came_to_is_kept_and_what_still_runs_is_no_input() {
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
        // The kernel ends before the cell does.
        history.settle();
        let later = History::start(Some(folder.path().join("deep/history.db")));
        assert_eq!(later.inputs(-1).last(), Some(&input(5, "running", false)));
    }

    #[test]
    fn a_long_output_is_kept_in_part() {
        let history = History::start(None);
        let output = Some("é".repeat(100_000));
        history.keep(1, "long", Some(Ended { output, succeeded: true }));
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
        // Also when it was there before.
        let open = folder.path().join("open.db");
        std::fs::write(&open, "").unwrap();
        std::fs::set_permissions(&open, PermissionsExt::from_mode(0o644)).unwrap();
        History::start(Some(open)).settle();
        assert_eq!(mode("open.db"), 0o600);
    }

    #[test]
    fn a_file_that_cannot_be_used_costs_only_what_is_older() {
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
            assert_eq!(places(&history, Query::Tail { last: 9 }), [(1, 1), (1, 2)], "{}", file.display());
            assert_eq!(std::fs::read(&file).ok(), before, "{} is changed", file.display());
        }
    }

    #[test]
    fn a_locked_file_delays_no_cell_and_loses_none() {
        let folder = tempfile::tempdir().unwrap();
        let history = three_sessions(folder.path());
        let file = folder.path().join("deep/history.db");
        let other = rusqlite::Connection::open(&file).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let started = std::time::Instant::now();
        keep(&history, 5, &["let w = 5;"]);
        assert!(started.elapsed() < Duration::from_millis(100), "{:?}", started.elapsed());
        // It waits in memory, and is found there, once.
        assert_eq!(places(&history, range(0, 4, None)), [(3, 4), (3, 5)]);
        assert_eq!(places(&history, search("let w*", false, None)), [(3, 5)]);
        let later = History::start(Some(file));
        other.execute_batch("ROLLBACK").unwrap();
        assert_eq!(places(&later, Query::Tail { last: 1 }), [(3, 4)]);
        keep(&history, 6, &["w"]);
        assert_eq!(places(&history, Query::Tail { last: 2 }), [(3, 5), (3, 6)]);
        assert_eq!(places(&later, Query::Tail { last: 2 }), [(3, 5), (3, 6)]);
        assert_eq!(later.find(Query::Tail { last: 2 })[0].succeeded, Some(true));
    }

    #[test]
    fn sessions_at_the_same_time_are_kept_apart() {
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
