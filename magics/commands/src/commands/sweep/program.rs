//! Looks for the program of a command before anything is recorded.

use crate::error::{ErrorName, Result, Source, Spanned, nearest};
use crate::magic::Context;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use tunebook_study::WorkloadReference;

/// An error if the command begins with a program that is not there. In a pool on other machines it may be there.
pub fn check(context: &Context, source: &Source, workload: Option<&Spanned<WorkloadReference>>) -> Result<()> {
    let Some(workload) = workload else { return Ok(()) };
    let WorkloadReference::Command(line) = &workload.value else { return Ok(()) };
    let Some(program) = line.words.first() else { return Ok(()) };
    let depends_on_values = program.contains(['{', '}']) || line.optional.iter().any(|part| part.contains(&0));
    if depends_on_values || !context.pools.lock().far.is_empty() {
        return Ok(());
    }
    let Some(missing) = missing(program, search_path(context)) else { return Ok(()) };
    let written = source.text()[workload.span.clone()].find(program.as_str());
    let span = written.map_or(workload.span.clone(), |at| {
        let start = workload.span.start + at;
        start..start + program.len()
    });
    let message = format!("the program `{program}` cannot be started: {}", missing.what);
    Err(source.error(ErrorName::InvalidDeclaration, span, message, Some(missing.help)))
}

/// The folders in which programs are looked for. None if there is no such variable.
fn search_path(context: &Context) -> Option<OsString> {
    let changes = context.added_environment();
    match changes.get("PATH") {
        Some(changed) => changed.map(OsString::from),
        None => std::env::var_os("PATH"),
    }
}

/// Why a program is not found.
struct Missing {
    what: String,
    help: String,
}

/// None if the program is there.
fn missing(program: &str, search_path: Option<OsString>) -> Option<Missing> {
    if program.contains('/') {
        let path = Path::new(program);
        if path.exists() {
            return None;
        }
        let folder = path.parent().unwrap_or(Path::new(""));
        let beside: Vec<String> = names_in(folder).map(|name| folder.join(name).display().to_string()).collect();
        let help = match nearest(program, beside.iter().map(String::as_str)) {
            Some(name) => format!("did you mean `{name}`?"),
            None => "a path without `/` at its beginning is that from the kernel's folder, which `%pwd` shows".into(),
        };
        return Some(Missing { what: "there is no such file".into(), help });
    }
    // Without the variable, the system has folders of its own.
    let folders: Vec<PathBuf> = std::env::split_paths(&search_path?).collect();
    if folders.iter().any(|folder| folder.join(program).is_file()) {
        return None;
    }
    let names: Vec<String> = folders.iter().flat_map(|folder| names_in(folder)).collect();
    let help = if Path::new(program).is_file() {
        format!("write `./{program}` for the file in the kernel's folder")
    } else {
        match nearest(program, names.iter().map(String::as_str)) {
            Some(name) => format!("did you mean `{name}`?"),
            None => "install it, or write the path of the program".into(),
        }
    };
    Some(Missing { what: "there is no such program in the folders of PATH".into(), help })
}

/// The names of the files in a folder, which is that of the kernel if it is empty.
fn names_in(folder: &Path) -> impl Iterator<Item = String> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_missing_is_named_with_a_similar_one() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("trainer"), "").unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let search = || Some(folder.path().as_os_str().to_os_string());
        assert!(missing("trainer", search()).is_none() && missing(&path("trainer"), None).is_none());
        assert!(missing("trianer", None).is_none(), "the system may have it");
        assert_eq!(missing("trianer", search()).unwrap().help, "did you mean `trainer`?");
        assert_eq!(missing(&path("trianer"), None).unwrap().help, format!("did you mean `{}`?", path("trainer")));
    }
}
