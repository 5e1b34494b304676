//! Words that depend on a number.

/// A number of things: `1 trial`, `2 trials`.
pub fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}
