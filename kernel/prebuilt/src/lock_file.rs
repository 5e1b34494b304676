//! Operations on the text of a `Cargo.lock`.
//!
//! Cargo removes a crate from its lock file as soon as nothing depends on it, and takes the newest version when the
//! crate is needed again. Then nothing that was built for the old version can be used. So the lock file in which a
//! crate is missing is merged with an older one that has it.

use std::collections::BTreeSet;

/// The text between two entries of a lock file.
const BETWEEN: &str = "\n\n[[package]]\n";

/// A lock file with all entries of `newer`, and those of `older` for crates that `newer` lacks in a compatible version.
pub fn merged(newer: &str, older: &str) -> String {
    let (newer, older) = (newer.trim_end(), older.trim_end());
    let known: BTreeSet<_> = newer.split(BETWEEN).skip(1).map(identity).collect();
    let mut text = newer.to_string();
    for entry in older.split(BETWEEN).skip(1).filter(|entry| !known.contains(&identity(entry))) {
        text += BETWEEN;
        text += entry;
    }
    text + "\n"
}

/// The crates in a lock file that come from a folder of the user's, by the names that code uses.
///
/// Tunebook's own crates come from a folder as well, but are not among them: their folder bears the hash of its
/// content.
pub fn local_crates(lock_file: &str) -> BTreeSet<String> {
    let is_users = |(name, source, _): &(&str, &str, String)| source.is_empty() && !name.starts_with("tunebook");
    let crates = lock_file.split(BETWEEN).skip(1).map(identity).filter(is_users);
    crates.map(|(name, ..)| name.replace('-', "_")).collect()
}

/// The lock file without the crates that come from a folder, Tunebook's own included.
pub fn without_local_crates(lock_file: &str) -> String {
    let mut entries = lock_file.trim_end().split(BETWEEN);
    let head = entries.next().unwrap_or_default().to_string();
    let kept = entries.filter(|entry| !identity(entry).1.is_empty());
    kept.fold(head, |text, entry| text + BETWEEN + entry) + "\n"
}

/// The name and the source of an entry, and its version up to the first number that is not 0: of two versions that
/// agree so far cargo takes one for both.
fn identity(entry: &str) -> (&str, &str, String) {
    let field = |name: &str| {
        let value = entry.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "));
        value.unwrap_or_default().trim_matches('"')
    };
    let numbers: Vec<&str> = field("version").split('.').collect();
    let leading = numbers.iter().position(|number| *number != "0").map_or(numbers.len(), |at| at + 1);
    (field("name"), field("source"), numbers[..leading].join("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock(crates: &[&str]) -> String {
        let mut text = String::from("# Made by cargo.\nversion = 4\n");
        for krate in crates {
            let (name, version) = krate.split_once(' ').unwrap();
            text +=
                &format!("\n[[package]]\nname = \"{name}\"\nversion = \"{version}\"\ndependencies = [\n \"x\",\n]\n");
        }
        text
    }

    #[test]
    fn a_crate_that_is_no_longer_needed_keeps_its_version() {
        let (before, after) = (lock(&["a 1.0.0", "tch 0.24.0", "z 2.0.0"]), lock(&["a 1.0.0", "b 1.0.0"]));
        assert_eq!(merged(&after, &before), lock(&["a 1.0.0", "b 1.0.0", "tch 0.24.0", "z 2.0.0"]));
        assert_eq!(merged(&before, &before), before);
        // Of versions that are compatible with one another the newer one stays.
        let newer = lock(&["a 1.1.0", "b 0.2.1", "c 0.0.2"]);
        let older = lock(&["a 1.0.0", "a 2.0.0", "b 0.1.0", "b 0.2.0", "c 0.0.1"]);
        let all = lock(&["a 1.1.0", "b 0.2.1", "c 0.0.2", "a 2.0.0", "b 0.1.0", "c 0.0.1"]);
        assert_eq!(merged(&newer, &older), all);
        assert_eq!(merged(&after, ""), after);
        let own = "version = 4\n\n[[package]]\nname = \"my-own\"\nversion = \"0.1.0\"\n";
        let public = "\n[[package]]\nname = \"a\"\nversion = \"1.0.0\"\nsource = \"registry\"\n";
        let both = format!("{own}{public}");
        assert_eq!(local_crates(&both).into_iter().collect::<Vec<_>>(), ["my_own"]);
        assert_eq!(without_local_crates(&both), format!("version = 4\n{public}"));
    }
}
