//! The versions of the crates of cells.
//!
//! evcxr validates each new dependency in a manifest that names nothing else. Cargo then removes all other crates from
//! `Cargo.lock`, and would take their newest versions when they are needed again. So the text of the `Cargo.lock` with
//! which crates were built is kept here, and written back after each validation. A session begins with the versions
//! that are prepared, and never with those that another notebook needed.

use super::errors::CellError;
use evcxr::{ContextState, Dependency};
use semver::{Op, VersionReq};
use std::path::PathBuf;
use toml::Value;
use tunebook_magics::ErrorName;
use tunebook_prebuilt::{BUILD_FOLDER, lock_file};

/// What cargo says when a registry of crates cannot be reached.
const UNREACHABLE: [&str; 5] =
    ["download of ", "failed to download", "failed to fetch", "Could not resolve host", "network failure"];

/// The environment variable that keeps cargo from asking registries.
const OFFLINE: &str = "CARGO_NET_OFFLINE";
/// The name and the version of the crate that evcxr makes of cells.
const CELLS: (&str, &str) = ("ctx", "1.0.0");

/// The versions of the crates of this session.
#[derive(Clone)]
pub struct Versions {
    /// The text of a `Cargo.lock`; empty if there is none yet.
    lock: String,
    /// Whether the last dependencies were resolved without the registry, because it could not be reached.
    is_cut_off: bool,
}

impl Versions {
    /// The versions of a `Cargo.lock`.
    pub fn new(lock: String) -> Self {
        Self { lock, is_cut_off: false }
    }

    /// Writes the `Cargo.lock` with which crates were built, if there is one.
    pub fn restore(&self) -> Result<(), CellError> {
        match self.lock.is_empty() {
            true => Ok(()),
            false => write(&self.lock),
        }
    }

    /// Keeps the versions with which a cell was built.
    pub fn remember(&mut self) {
        if let Ok(text) = std::fs::read_to_string(lock_path()) {
            // Cells may need tensors only later, and then in the versions that were built ahead.
            self.lock = lock_file::merged(&text, &self.lock);
        }
    }

    /// What the user is to be told about crates whose versions differ from those `before`. The crates of `asked` are
    /// left out.
    pub fn changes(before: &Self, asked: &[String]) -> Vec<String> {
        let after = current().unwrap_or_default();
        let used = |lock| lock_file::used_versions(lock, CELLS.0);
        let (before, after) = (used(&before.lock), used(&after));
        let changed = before.into_iter().filter_map(|(name, version)| {
            let now = after.get(name).filter(|now| **now != version && !asked.iter().any(|asked| asked == name))?;
            Some(format!(
                "note: `{name}` is now {now} instead of {version}, because another crate needs it. Variables with types of \
                 this crate cannot be used any more.\n"
            ))
        });
        changed.collect()
    }

    /// Adds a dependency to a state, in the version that is built already, or else in the newest that fits. Returns
    /// what the user is to be told.
    pub fn add(&mut self, state: &mut ContextState, dependency: &Dependency) -> Result<Option<String>, CellError> {
        if std::mem::take(&mut self.is_cut_off) {
            state.set_build_env(OFFLINE, "false");
        }
        let package = choice(&dependency.config).map(|renamed| renamed.unwrap_or_else(|| dependency.name.clone()));
        let error = match self.attempt(state, dependency, package.as_deref())? {
            Ok(()) => return Ok(None),
            Err(error) => error,
        };
        if state.offline_mode() || !is_unreachable(&error.to_string()) {
            return Err(of_cargo(error));
        }
        state.set_build_env(OFFLINE, "true");
        self.is_cut_off = true;
        // The newest version that was downloaded may need one that was not.
        if self.attempt(state, dependency, package.as_deref())?.is_err()
            && self.attempt(state, dependency, None)?.is_err()
        {
            return Err(of_cargo(error));
        }
        Ok(Some(format!(
            "note: the registry of crates cannot be reached, so `{}` is the newest version among those that were \
             downloaded before.\n",
            dependency.name
        )))
    }

    /// Adds a dependency. If `package` is given, it is the crate of which the newest version is looked up: among locked
    /// versions that do not fit together, cargo would take the first.
    fn attempt(
        &mut self,
        state: &mut ContextState,
        dependency: &Dependency,
        package: Option<&str>,
    ) -> Result<Result<(), evcxr::Error>, CellError> {
        let package = package.filter(|_| !self.lock.is_empty());
        match package {
            Some(package) => write(&lock_file::without_crate(&self.lock, package))?,
            None => self.restore()?,
        }
        if let Err(error) = state.add_dep(&dependency.name, &dependency.config) {
            return Ok(Err(error));
        }
        if let (Some(package), Ok(resolved)) = (package, std::fs::read_to_string(lock_path())) {
            let resolved = lock_file::without_local_crates(&resolved);
            self.lock = lock_file::with_newest(&self.lock, &resolved, package, CELLS);
        }
        Ok(Ok(()))
    }
}

/// The text of the `Cargo.lock` with which cells were built. None if there is none.
pub fn current() -> Option<String> {
    std::env::var_os(BUILD_FOLDER)?;
    std::fs::read_to_string(lock_path()).ok()
}

/// The `Cargo.lock` of the crate into which evcxr compiles cells.
fn lock_path() -> PathBuf {
    std::env::var_os(BUILD_FOLDER).map(PathBuf::from).unwrap_or_default().join("Cargo.lock")
}

fn write(lock: &str) -> Result<(), CellError> {
    let path = lock_path();
    let failed = |error| CellError::new(ErrorName::Error, format!("{} cannot be written: {error}", path.display()));
    std::fs::write(&path, lock).map_err(failed)
}

/// The error of a dependency that could not be added or built. Cargo's message says why.
pub fn of_cargo(error: evcxr::Error) -> CellError {
    CellError::of_cargo(&error.to_string())
}

fn is_unreachable(message: &str) -> bool {
    UNREACHABLE.iter().any(|said| message.contains(said))
}

/// Whether a dependency leaves cargo a choice among versions that are not compatible with one another, as `"*"` does.
/// The inner value is the name of the crate if the dependency has another one.
fn choice(config: &str) -> Option<Option<String>> {
    let parsed = format!("dependency = {config}").parse::<toml::Table>().ok()?.remove("dependency")?;
    let field = |name: &str| parsed.get(name).and_then(Value::as_str);
    let is_of_registry = ["path", "git"].iter().all(|name| field(name).is_none());
    let version = parsed.as_str().or_else(|| field("version")).unwrap_or("*");
    let spans = VersionReq::parse(version).is_ok_and(|version| !version.comparators.iter().any(is_one_line));
    (is_of_registry && spans).then(|| field("package").map(String::from))
}

/// Whether all versions that a condition allows are compatible with one another.
fn is_one_line(comparator: &semver::Comparator) -> bool {
    let is_bound = !matches!(comparator.op, Op::Greater | Op::GreaterEq | Op::Less | Op::LessEq);
    is_bound && (comparator.major > 0 || comparator.minor.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_is_left_where_versions_do_not_fit_together() {
        for config in
            ["\"*\"", "\"0\"", "\">=0.6\"", "\">=0.6, <0.9\"", "{ version = \"*\", features = [\"a\"] }", "{}"]
        {
            assert_eq!(choice(config), Some(None), "{config}");
        }
        assert_eq!(choice("{ version = \"*\", package = \"rand\" }"), Some(Some("rand".into())));
        for config in
            ["\"1\"", "\"0.8\"", "\"=0.8.5\"", "\"~0.8\"", "\"1.*\"", "{ path = \"x\" }", "{ git = \"x\" }", "?"]
        {
            assert_eq!(choice(config), None, "{config}");
        }
    }
}
