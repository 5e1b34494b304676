//! Operations on the text of a `Cargo.lock`.
//!
//! Cargo removes a crate from its lock file as soon as nothing depends on it, and takes the newest version when the
//! crate is needed again. Then nothing that was built for the old version can be used. So the lock file in which a
//! crate is missing is merged with an older one that has it.

use semver::Version;
use std::collections::{BTreeMap, BTreeSet};

/// The text between two entries of a lock file.
const BETWEEN: &str = "\n\n[[package]]\n";

/// A lock file with all entries of `newer`, and those of `older` for crates that `newer` lacks in a compatible version.
pub fn merged(newer: &str, older: &str) -> String {
    let (newer, older) = (newer.trim_end(), older.trim_end());
    let known: BTreeSet<_> = newer.split(BETWEEN).skip(1).map(identity).collect();
    let mut entries: Vec<(&str, &str)> = newer.split(BETWEEN).skip(1).map(|entry| (entry, newer)).collect();
    let missing = older.split(BETWEEN).skip(1).filter(|entry| !known.contains(&identity(entry)));
    entries.extend(missing.map(|entry| (entry, older)));
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (entry, _) in &entries {
        versions.entry(field(entry, "name")).or_default().push(field(entry, "version"));
    }
    let mut text = newer.split(BETWEEN).next().unwrap_or_default().to_string();
    for (entry, of) in &entries {
        let lines = entry.lines().map(|line| with_version(line, of, &versions));
        text += BETWEEN;
        text += &lines.collect::<Vec<String>>().join("\n");
    }
    text + "\n"
}

/// A line of an entry of the lock file `of`, in one with these `versions` of each crate. If it names a crate of which
/// there are several versions now, it says which, because cargo forgets what is not unique.
fn with_version(line: &str, of: &str, versions: &BTreeMap<&str, Vec<&str>>) -> String {
    let used = line.strip_prefix(" \"").and_then(|line| line.strip_suffix("\","));
    let mut words = used.unwrap_or_default().split(' ');
    let (name, version) = (words.next().unwrap_or_default(), words.next());
    let Some(all) = versions.get(name).filter(|all| all.len() > 1 && words.next().is_none()) else {
        return line.into();
    };
    let Some(version) = version.or_else(|| Some(field(entries_of(of, name).next()?, "version"))) else {
        return line.into();
    };
    let same = all.iter().find(|other| line_of(other) == line_of(version)).unwrap_or(&version);
    format!(" \"{name} {same}\",")
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

/// The lock file without the entries of one crate, in whatever version.
pub fn without_crate(lock_file: &str, name: &str) -> String {
    let mut entries = lock_file.trim_end().split(BETWEEN);
    let head = entries.next().unwrap_or_default().to_string();
    let kept = entries.filter(|entry| identity(entry).0 != name);
    kept.fold(head, |text, entry| text + BETWEEN + entry) + "\n"
}

/// A lock file in which a package uses the newest version of a crate that another lock file, `resolved`, has. If the
/// lock file has a version that is compatible with it, it is that one. `user` is the name and the version of the
/// package; it is added if there is none.
pub fn with_newest(lock_file: &str, resolved: &str, name: &str, user: (&str, &str)) -> String {
    let all = merged(lock_file, resolved);
    let newest = entries_of(resolved, name).max_by_key(|entry| Version::parse(field(entry, "version")).ok());
    let same_line = |entry: &&str| newest.is_some_and(|newest| identity(entry).2 == identity(newest).2);
    let Some(version) = entries_of(&all, name).find(same_line).map(|entry| field(entry, "version")) else { return all };
    let is_users = |entry: &str| field(entry, "name") == user.0 && field(entry, "source").is_empty();
    let mut uses = uses(&all, user.0);
    uses.retain(|used| used.split(' ').next() != Some(name));
    let chosen = format!("{name} {version}");
    uses.insert(0, &chosen);
    let lines: String = uses.iter().map(|used| format!(" \"{used}\",\n")).collect();
    let entry = format!("name = \"{}\"\nversion = \"{}\"\ndependencies = [\n{lines}]", user.0, user.1);
    let mut entries = all.trim_end().split(BETWEEN);
    let head = entries.next().unwrap_or_default().to_string();
    let others = entries.filter(|entry| !is_users(entry));
    others.chain([entry.as_str()]).fold(head, |text, entry| text + BETWEEN + entry) + "\n"
}

/// The versions of the crates that a package of the user's uses directly, by their names. A crate that it uses in
/// several versions is left out.
pub fn used_versions<'a>(lock_file: &'a str, user: &str) -> BTreeMap<&'a str, &'a str> {
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for used in uses(lock_file, user) {
        let mut words = used.split(' ');
        let name = words.next().unwrap_or_default();
        let version = words.next().or_else(|| Some(field(entries_of(lock_file, name).next()?, "version")));
        versions.entry(name).or_default().extend(version);
    }
    let single = |(name, versions): (_, Vec<_>)| match versions.as_slice() {
        [version] => Some((name, *version)),
        _ => None,
    };
    versions.into_iter().filter_map(single).collect()
}

/// What a package of the user's uses directly: names, behind which there is the version if there are several.
fn uses<'a>(lock_file: &'a str, user: &str) -> Vec<&'a str> {
    let is_users = |entry: &&str| field(entry, "name") == user && field(entry, "source").is_empty();
    let entry = lock_file.split(BETWEEN).skip(1).find(is_users).unwrap_or_default();
    entry.lines().filter_map(|line| line.trim().strip_prefix('"')?.strip_suffix("\",")).collect()
}

/// The entries of a crate, one for each version.
fn entries_of<'a>(lock_file: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    lock_file.split(BETWEEN).skip(1).filter(move |entry| field(entry, "name") == name)
}

/// A field of an entry that is text; empty if there is none.
fn field<'a>(entry: &'a str, name: &str) -> &'a str {
    let value = entry.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "));
    value.unwrap_or_default().trim_matches('"')
}

/// The name and the source of an entry, and its version up to the first number that is not 0: of two versions that
/// agree so far cargo takes one for both.
fn identity(entry: &str) -> (&str, &str, String) {
    (field(entry, "name"), field(entry, "source"), line_of(field(entry, "version")))
}

/// A version up to the first number that is not 0.
fn line_of(version: &str) -> String {
    let numbers: Vec<&str> = version.split('.').collect();
    let leading = numbers.iter().position(|number| *number != "0").map_or(numbers.len(), |at| at + 1);
    numbers[..leading].join(".")
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
        assert_eq!(without_crate(&lock(&["a 1.0.0", "b 1.0.0", "a 2.0.0"]), "a"), lock(&["b 1.0.0"]));
    }

    #[test]
    fn a_name_that_is_not_unique_any_more_gets_its_version() {
        let user = "\n[[package]]\nname = \"user\"\nversion = \"1.0.0\"\ndependencies = [\n \"a\",\n \"b\",\n]\n";
        let newer = lock(&["a 2.1.0", "b 1.0.0"]) + user;
        let all = merged(&newer, &lock(&["a 1.0.0", "a 2.0.0"]));
        assert!(all.contains("dependencies = [\n \"a 2.1.0\",\n \"b\",\n]"), "{all}");
        let all = merged(&lock(&["a 2.1.0", "a 3.0.0"]), &(lock(&["a 2.0.0"]) + user));
        assert!(all.contains("dependencies = [\n \"a 2.1.0\",\n \"b\",\n]"), "{all}");
    }

    #[test]
    fn a_package_uses_the_newest_version_or_one_that_is_compatible_with_it() {
        let cells =
            |uses: &str| format!("\n[[package]]\nname = \"ctx\"\nversion = \"1.0.0\"\ndependencies = [\n{uses}]\n");
        let prepared = lock(&["a 0.6.0", "a 0.8.0"]);
        let resolved = lock(&["a 0.8.5"]);
        let user = ("ctx", "1.0.0");
        assert_eq!(with_newest(&prepared, &resolved, "a", user), prepared.clone() + &cells(" \"a 0.8.0\",\n"));
        let before = prepared + &cells(" \"a 0.6.0\",\n \"b\",\n");
        let after = lock(&["a 0.6.0", "a 0.8.0", "a 0.9.1", "a 0.10.0"]) + &cells(" \"a 0.10.0\",\n \"b\",\n");
        assert_eq!(with_newest(&before, &lock(&["a 0.9.1", "a 0.10.0"]), "a", user), after);
        let both = lock(&["a 1.0.0", "b 0.1.0", "b 0.2.0", "c 1.0.0", "c 2.0.0"]);
        let both = both + &cells(" \"a\",\n \"b 0.2.0\",\n \"c 1.0.0\",\n \"c 2.0.0\",\n");
        assert_eq!(used_versions(&both, "ctx").into_iter().collect::<Vec<_>>(), [("a", "1.0.0"), ("b", "0.2.0")]);
    }
}
