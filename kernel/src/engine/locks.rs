//! Versions of crates across cells: cargo forgets those of a crate as soon as nothing needs it, and then takes the newest.

use std::collections::BTreeSet;

/// Between two crates of a `Cargo.lock`.
const BETWEEN: &str = "\n\n[[package]]\n";

/// A `Cargo.lock` with its own crates, and those of an older one that it has not. Cargo takes the versions of such crates
/// when they are needed again.
pub fn merged(newer: &str, older: &str) -> String {
    let (newer, older) = (newer.trim_end(), older.trim_end());
    let known: BTreeSet<_> = newer.split(BETWEEN).skip(1).map(identity).collect();
    let mut text = newer.to_string();
    for krate in older.split(BETWEEN).skip(1).filter(|krate| !known.contains(&identity(krate))) {
        text += BETWEEN;
        text += krate;
    }
    text + "\n"
}

/// The names of its crates that come from a folder of the user's, as code writes them: those of Tunebook never change where they
/// are.
pub fn without_source(lock: &str) -> BTreeSet<String> {
    let crates = lock
        .split(BETWEEN)
        .skip(1)
        .map(identity)
        .filter(|(name, source, _)| source.is_empty() && !name.starts_with("tunebook"));
    crates.map(|(name, ..)| name.replace('-', "_")).collect()
}

/// A `Cargo.lock` without them.
pub fn with_source(lock: &str) -> String {
    let mut crates = lock.trim_end().split(BETWEEN);
    let head = crates.next().unwrap_or_default().to_string();
    let kept = crates.filter(|krate| !identity(krate).1.is_empty());
    kept.fold(head, |text, krate| text + BETWEEN + krate) + "\n"
}

/// Name, source, and what of the version is not compatible with others: of two that are, there is to be one.
fn identity(krate: &str) -> (&str, &str, String) {
    let field = |name: &str| {
        let value = krate.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "));
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
    fn what_is_needed_no_more_keeps_its_version() {
        let (before, after) = (lock(&["a 1.0.0", "tch 0.24.0", "z 2.0.0"]), lock(&["a 1.0.0", "b 1.0.0"]));
        assert_eq!(merged(&after, &before), lock(&["a 1.0.0", "b 1.0.0", "tch 0.24.0", "z 2.0.0"]));
        assert_eq!(merged(&before, &before), before);
        // One version of those that are compatible.
        let newer = lock(&["a 1.1.0", "b 0.2.1", "c 0.0.2"]);
        let older = lock(&["a 1.0.0", "a 2.0.0", "b 0.1.0", "b 0.2.0", "c 0.0.1"]);
        let all = lock(&["a 1.1.0", "b 0.2.1", "c 0.0.2", "a 2.0.0", "b 0.1.0", "c 0.0.1"]);
        assert_eq!(merged(&newer, &older), all);
        assert_eq!(merged(&after, ""), after);
        let own = "version = 4\n\n[[package]]\nname = \"my-own\"\nversion = \"0.1.0\"\n";
        let public = "\n[[package]]\nname = \"a\"\nversion = \"1.0.0\"\nsource = \"registry\"\n";
        let both = format!("{own}{public}");
        assert_eq!(without_source(&both).into_iter().collect::<Vec<_>>(), ["my_own"]);
        assert_eq!(with_source(&both), format!("version = 4\n{public}"));
    }
}
