//! The inputs and outputs of this session.

/// One cell.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Always 1: this is the history of one session.
    pub session: i64,
    /// Its execution count.
    pub line: u64,
    /// Its code.
    pub input: String,
    /// What it evaluated to, as text.
    pub output: Option<String>,
}

/// Which entries are wanted.
#[derive(Clone, Debug, PartialEq)]
pub enum Query {
    /// The last so many.
    Tail { last: usize },
    /// Those with start ≤ line < stop. Session 0 is the current one, as is 1; others were not kept.
    Range { session: i64, start: i64, stop: Option<i64> },
    /// Those that match a pattern with `*` and `?`.
    Search { pattern: String, unique: bool, last: Option<usize> },
}

/// See the module.
#[derive(Default)]
pub struct History {
    entries: Vec<Entry>,
}

impl History {
    /// Keeps a cell.
    pub fn record(&mut self, line: u64, input: &str, output: Option<String>) {
        self.entries.push(Entry { session: 1, line, input: input.to_string(), output });
    }

    /// Entries in order.
    pub fn find(&self, query: &Query) -> Vec<Entry> {
        let last = |entries: Vec<Entry>, n: usize| entries[entries.len().saturating_sub(n)..].to_vec();
        match query {
            Query::Tail { last: n } => last(self.entries.clone(), *n),
            Query::Range { session, start, stop } => {
                let inside = |line: i64| line >= *start && stop.is_none_or(|stop| line < stop);
                let here = self.entries.iter().filter(|_| (0..=1).contains(session));
                here.filter(|entry| inside(entry.line as i64)).cloned().collect()
            }
            Query::Search { pattern, unique, last: n } => {
                let pattern: Vec<char> = pattern.chars().collect();
                let mut found: Vec<Entry> = vec![];
                for entry in &self.entries {
                    if !matches(&pattern, &entry.input.chars().collect::<Vec<_>>()) {
                        continue;
                    }
                    if *unique {
                        found.retain(|earlier| earlier.input != entry.input);
                    }
                    found.push(entry.clone());
                }
                last(found, n.unwrap_or(usize::MAX))
            }
        }
    }
}

/// Whether a text fits a pattern in which `*` is any text and `?` any character.
fn matches(pattern: &[char], text: &[char]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some(('*', rest)) => (0..=text.len()).any(|skip| matches(rest, &text[skip..])),
        Some((p, rest)) => text.split_first().is_some_and(|(t, text)| (*p == '?' || p == t) && matches(rest, text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_found_by_place_and_by_pattern() {
        let mut history = History::default();
        for (i, code) in ["let x = 1;", "x + 1", "let y = 2;", "x + 1"].iter().enumerate() {
            history.record(i as u64 + 1, code, None);
        }
        let lines = |query: Query| history.find(&query).iter().map(|entry| entry.line).collect::<Vec<_>>();
        assert_eq!(lines(Query::Tail { last: 2 }), [3, 4]);
        assert_eq!(lines(Query::Range { session: 0, start: 2, stop: Some(4) }), [2, 3]);
        assert!(lines(Query::Range { session: -1, start: 0, stop: None }).is_empty());
        assert_eq!(lines(Query::Search { pattern: "let ?*".into(), unique: false, last: None }), [1, 3]);
        assert_eq!(lines(Query::Search { pattern: "*".into(), unique: true, last: Some(2) }), [3, 4]);
    }
}
