//! The crates in the `Cargo.lock` of a worker. A study records them, and its worker is built again with the same ones.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use tunebook_prebuilt::short_hash;

/// The crates of a lock file that come from a registry or from git. Those in folders have no version to rely on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LockedCrates(BTreeSet<Locked>);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
struct Locked {
    name: String,
    version: String,
    source: Option<String>,
    checksum: Option<String>,
}

/// A crate of which another version is used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CrateDifference {
    pub name: String,
    pub recorded: String,
    pub again: String,
}

impl LockedCrates {
    /// Reads the text of a lock file. What cannot be read has no crates.
    pub fn of(lock: &str) -> Self {
        #[derive(Deserialize)]
        struct File {
            #[serde(default)]
            package: Vec<Locked>,
        }
        let file: File = toml::from_str(lock).unwrap_or(File { package: vec![] });
        Self(file.package.into_iter().filter(|locked| locked.source.is_some()).collect())
    }

    /// A hash of names, versions, sources and contents.
    pub fn hash(&self) -> String {
        let lines: Vec<String> = self.0.iter().map(|locked| format!("{locked:?}\n")).collect();
        short_hash(lines.iter().map(String::as_bytes))
    }

    /// The crates of which the other lock file has other versions. Where there are several, all are named.
    pub fn differences(&self, again: &Self) -> Vec<CrateDifference> {
        let (before, after) = (self.versions(), again.versions());
        let names: BTreeSet<&str> = before.keys().chain(after.keys()).copied().collect();
        let text = |versions: Option<&Vec<&str>>| versions.map_or("–".to_string(), |versions| versions.join(" and "));
        names
            .into_iter()
            .filter(|name| before.get(name) != after.get(name))
            .map(|name| CrateDifference {
                name: name.into(),
                recorded: text(before.get(name)),
                again: text(after.get(name)),
            })
            .collect()
    }

    fn versions(&self) -> BTreeMap<&str, Vec<&str>> {
        let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for locked in &self.0 {
            versions.entry(&locked.name).or_default().push(&locked.version);
        }
        versions
    }
}

/// The crate that cargo could not get, by its error. None if the build failed for another reason.
pub fn crate_that_is_missing(error: &str) -> Option<String> {
    let between = |start: &str, end: &str| -> Option<String> {
        let rest = &error[error.find(start)? + start.len()..];
        Some(rest[..rest.find(end)?].to_string())
    };
    // The version that the lock file asks for, which the index does not have.
    let requirement = || {
        let wanted = between("failed to select a version for the requirement `", " = ")?;
        Some(format!("{wanted} {}", between("(locked to ", ")")?))
    };
    let others = [
        ("failed to download `", "`"),
        ("checksum for `", "`"),
        ("no matching package named `", "`"),
        ("failed to get `", "` as a dependency"),
    ];
    requirement().or_else(|| others.iter().find_map(|(start, end)| between(start, end)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock(crates: &[(&str, &str)]) -> String {
        let entry = |(name, version): &(&str, &str)| {
            format!(
                "[[package]]\nname = \"{name}\"\nversion = \"{version}\"\nsource = \"registry+x\"\nchecksum = \"1\"\n"
            )
        };
        let own = "[[package]]\nname = \"own\"\nversion = \"0.0.0\"\n".to_string();
        format!("version = 4\n{own}{}", crates.iter().map(entry).collect::<String>())
    }

    #[test]
    fn versions_are_compared_and_crates_in_folders_are_not() {
        let recorded = LockedCrates::of(&lock(&[("a", "1.0.0"), ("b", "1.0.0"), ("c", "1.0.0"), ("c", "2.0.0")]));
        assert_eq!(recorded.differences(&recorded), []);
        let again = LockedCrates::of(&lock(&[("a", "1.0.1"), ("c", "2.0.0"), ("c", "1.0.0"), ("d", "3.0.0")]));
        assert_ne!(recorded.hash(), again.hash());
        let found = recorded.differences(&again);
        let found: Vec<_> = found.iter().map(|d| (d.name.as_str(), d.recorded.as_str(), d.again.as_str())).collect();
        assert_eq!(found, [("a", "1.0.0", "1.0.1"), ("b", "1.0.0", "–"), ("d", "–", "3.0.0")]);
    }

    #[test]
    fn a_crate_that_cannot_be_had_is_named() {
        for (line, expected) in [
            (
                "error: failed to select a version for the requirement `itoa = \"^1\"` (locked to 1.0.99)",
                Some("itoa 1.0.99"),
            ),
            ("error: failed to download `itoa v1.0.3`", Some("itoa v1.0.3")),
            ("error: checksum for `cfg-if v1.0.5` changed between lock files", Some("cfg-if v1.0.5")),
            ("error: no matching package named `my-own` found", Some("my-own")),
            ("error: failed to get `mine` as a dependency of package `a v0.0.0 (/a)`", Some("mine")),
            ("error: could not compile `a`", None),
        ] {
            assert_eq!(crate_that_is_missing(line).as_deref(), expected, "{line}");
        }
    }
}
