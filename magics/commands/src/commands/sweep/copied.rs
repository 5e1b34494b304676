//! What a pool with `--copy` gets: the files that the trials of a study need, as far as they are known, and those that
//! the user names.

use super::changes;
use super::plan::SweepPlan;
use super::run_context::RunContext;
use crate::commands::workload;
use crate::error::{ErrorName, MagicError, Result};
use crate::files;
use crate::magic::Context;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};
use tunebook_pool::Devices;
use tunebook_study::store::StudyWriter;
use tunebook_study::{
    Distribution, HyperparameterDomain, HyperparameterType, Params, ProgramLine, SearchSpace, StudyDefinition, Value,
    WorkloadDescription, WorkloadReference,
};

/// More is not copied: somebody has named a folder with more in it than he meant.
const MOST_BYTES: u64 = 20_000_000_000;
const MOST_FILES: usize = 100_000;
/// Folders of these names are not copied with the folder that they lie in: the studies, and the history of a project.
const LEFT_OUT: [&str; 2] = [".tunebook", ".git"];
/// A longer text in the source of a workload is no path.
const LONGEST_PATH: usize = 300;

/// What is copied.
#[derive(Debug, Default)]
pub struct Contents {
    /// The files with their sizes. All paths are absolute and plain, without `..`.
    pub files: BTreeMap<PathBuf, u64>,
    /// Folders that are copied with everything in them.
    pub whole: BTreeSet<PathBuf>,
    /// The folder of libtorch's libraries.
    pub libraries: Option<PathBuf>,
    /// Text hyperparameters that the study does not declare, with default values that name copied files.
    pub defaults: Params,
    /// The folder of the notebook.
    current: PathBuf,
    bytes: u64,
}

/// What the trials of a study need, and what the `patterns` of a pool name.
pub fn contents(
    context: &Context,
    plan: &SweepPlan,
    writer: &StudyWriter,
    devices: &Devices,
    current: &Path,
    patterns: &[String],
) -> Result<Contents> {
    let mut contents = Contents { current: current.into(), ..Contents::default() };
    let definition = &plan.definition;
    let recorded = writer.store().inputs(writer.study())?;
    match &definition.workload {
        WorkloadReference::Command(line) => {
            for path in changes::named_files(line, &definition.space, current) {
                let relative = path.strip_prefix(current).unwrap_or(&path);
                // A file without a hash is one that the trials write.
                let is_written = recorded.get(relative).is_some_and(Vec::is_empty);
                if !is_written && !is_installed(&path, current) {
                    contents.add(&path)?;
                }
            }
            contents.add_packages(line, &definition.space)?;
        }
        reference => {
            contents.add(plan.worker.as_ref().unwrap_or(&context.settings.worker))?;
            if let Some(folder) = &devices.libtorch_folder {
                contents.add_libtorch(folder)?;
            }
            for (path, hashes) in &recorded {
                if !hashes.is_empty() && current.join(path).is_file() {
                    contents.add(path)?;
                }
            }
            let description = workload::description_in(context, Some(writer.store()), reference);
            contents.add_defaults(description.as_ref(), plan)?;
            if let WorkloadReference::Rust { source, .. } = reference
                && let Some(workload) = writer.store().workload(source)?
            {
                contents.add_named_in(&workload.body)?;
            }
        }
    }
    for value in values(plan) {
        contents.add_named(&value)?;
    }
    contents.add_patterns(patterns)?;
    Ok(contents)
}

/// The files that are copied for the command of a study besides those that it names: what `--with` of the pools names,
/// and the packages of its modules. They count as files that trials read, wherever these run. A workload records itself
/// what it reads.
pub fn tracked(run: &RunContext, definition: &StudyDefinition) -> Result<Vec<PathBuf>> {
    let patterns: Vec<Vec<String>> = run.pools.iter().filter_map(|pool| pool.copies.clone()).collect();
    let WorkloadReference::Command(line) = &definition.workload else { return Ok(vec![]) };
    if patterns.is_empty() {
        return Ok(vec![]);
    }
    let mut contents = Contents { current: run.folder.clone(), ..Contents::default() };
    contents.add_packages(line, &definition.space)?;
    contents.add_patterns(&patterns.concat())?;
    Ok(contents.files.into_keys().collect())
}

/// The texts that hyperparameters can be.
fn values(plan: &SweepPlan) -> BTreeSet<String> {
    let mut values: Vec<&Value> = vec![];
    for hyperparameter in plan.definition.space.hyperparameters() {
        match &hyperparameter.distribution {
            Distribution::Choice { values: listed } => values.extend(listed),
            Distribution::Constant { value } => values.push(value),
            _ => {}
        }
    }
    values.extend(plan.options.given.values().flat_map(|given| given.trial.params.values()));
    values.into_iter().filter_map(|value| value.as_str().map(String::from)).collect()
}

/// Whether a file is an installed program, such as that of Python. A copy of it alone would not run.
fn is_installed(path: &Path, current: &Path) -> bool {
    let folder = path.parent().and_then(Path::file_name);
    let is_program = folder.is_some_and(|name| name == "bin" || name == "sbin");
    let of_system = ["/dev", "/proc", "/sys"].iter().any(|folder| path.starts_with(folder));
    of_system || (is_program && (!path.starts_with(current) || path.is_symlink()))
}

/// A path without `.` and `..`. On a node there are no links that could change what `..` means.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => drop(plain.pop()),
            part => plain.push(part),
        }
    }
    plain
}

impl Contents {
    /// Adds a file, or a folder with everything in it.
    fn add(&mut self, path: &Path) -> Result<()> {
        let path = plain(&self.current.join(path));
        if !path.is_dir() {
            return self.add_file(path);
        }
        let (mut open, mut seen) = (vec![path.clone()], BTreeSet::new());
        self.whole.insert(path);
        while let Some(folder) = open.pop() {
            // Links can lead in circles.
            let real = folder.canonicalize().map_err(|error| unreadable(&folder, &error))?;
            if !seen.insert(real) {
                continue;
            }
            for entry in folder.read_dir().map_err(|error| unreadable(&folder, &error))? {
                let entry = entry.map_err(|error| unreadable(&folder, &error))?;
                let path = entry.path();
                if path.is_dir() {
                    if !LEFT_OUT.iter().any(|name| entry.file_name() == *name) {
                        open.push(path);
                    }
                } else if path.is_file() {
                    self.add_file(path)?;
                }
            }
        }
        Ok(())
    }

    /// Adds what the patterns of `--with` name.
    fn add_patterns(&mut self, patterns: &[String]) -> Result<()> {
        for pattern in patterns {
            let found = files::matching(pattern);
            if found.is_empty() {
                let message = format!("`%pool add … --with` named `{pattern}`, and there is no such file any more");
                let help = "`%pool remove NAME` removes the pool; then add it with the files that there are";
                return Err(MagicError::advising(ErrorName::SlotError, message, help));
            }
            for path in found {
                self.add(&path)?;
            }
        }
        Ok(())
    }

    /// Adds the files of Python in the packages of the modules that a command runs with `-m`, because a module imports
    /// others of its package.
    fn add_packages(&mut self, line: &ProgramLine, space: &SearchSpace) -> Result<()> {
        let mut open: Vec<PathBuf> =
            changes::modules(line, space).iter().map(|module| self.current.join(module)).collect();
        let mut seen = BTreeSet::new();
        while let Some(folder) = open.pop() {
            // Links can lead in circles.
            let Ok(real) = folder.canonicalize() else { continue };
            if !folder.is_dir() || !seen.insert(real) {
                continue;
            }
            for entry in folder.read_dir().map_err(|error| unreadable(&folder, &error))? {
                let path = entry.map_err(|error| unreadable(&folder, &error))?.path();
                if path.is_dir() {
                    open.push(path);
                } else if path.is_file() && path.extension().is_some_and(|ending| ending == "py") {
                    self.add_file(path)?;
                }
            }
        }
        Ok(())
    }

    fn add_file(&mut self, path: PathBuf) -> Result<()> {
        let size = path.metadata().map_err(|error| unreadable(&path, &error))?.len();
        if path.to_str().is_none() {
            let message = format!("{} cannot be copied to a node: its name is not text in UTF-8", path.display());
            return Err(MagicError::advising(ErrorName::SlotError, message, "give the file another name"));
        }
        if self.files.insert(path, size).is_none() {
            self.bytes += size;
        }
        if self.bytes <= MOST_BYTES && self.files.len() <= MOST_FILES {
            return Ok(());
        }
        let what = match self.bytes > MOST_BYTES {
            true => format!("{} GB", MOST_BYTES / 1_000_000_000),
            false => format!("{MOST_FILES} files"),
        };
        let largest = self.files.iter().max_by_key(|(_, size)| **size);
        let largest = largest.map_or(String::new(), |(path, size)| {
            format!("; the largest file so far is {} ({:.1} GB)", path.display(), *size as f64 / 1e9)
        });
        let message = format!("more than {what} would be copied to each node{largest}");
        let help = "name fewer files with `--with` of `%pool add`, or use a file system that the machines share";
        Err(MagicError::advising(ErrorName::SlotError, message, help))
    }

    /// Adds what a text names, if it names a file, or a folder other than those that this one lies in.
    fn add_named(&mut self, text: &str) -> Result<()> {
        let is_path = !text.is_empty() && text.len() <= LONGEST_PATH && !text.contains(['\n', '\0']);
        let path = plain(&self.current.join(text));
        let is_around = self.current.starts_with(&path) || dirs::home_dir().is_some_and(|home| home.starts_with(&path));
        let exists = path.is_file() || path.is_dir();
        if is_path && exists && !is_around { self.add(&path) } else { Ok(()) }
    }

    /// Adds the files and folders that the source of a workload names by relative paths, also without their ending
    /// `.gz`: `read` finds these too.
    fn add_named_in(&mut self, source: &str) -> Result<()> {
        // What stands between two quotes, which is code in places. Code names no file.
        for text in source.split('"').filter(|text| !text.starts_with('/') && text.len() <= LONGEST_PATH) {
            self.add_named(text)?;
            self.add_named(&format!("{text}.gz"))?;
        }
        Ok(())
    }

    /// Adds what the default values of text hyperparameters name which the study does not declare.
    fn add_defaults(&mut self, description: Option<&WorkloadDescription>, plan: &SweepPlan) -> Result<()> {
        for hyperparameter in description.into_iter().flat_map(|description| &description.hyperparameters) {
            let is_free = matches!(hyperparameter.domain, HyperparameterDomain::Range { .. });
            let is_declared = plan.definition.space.named(&hyperparameter.name).next().is_some();
            if hyperparameter.kind != HyperparameterType::Text || !is_free || is_declared {
                continue;
            }
            let Some(text) = hyperparameter.default.as_str() else { continue };
            self.add_named(text)?;
            if text.starts_with('/') && Path::new(text).exists() {
                self.defaults.insert(hyperparameter.name.clone(), text.into());
            }
        }
        Ok(())
    }

    /// Adds libtorch's shared libraries, and those of CUDA which PyTorch's packages have beside it.
    fn add_libtorch(&mut self, folder: &Path) -> Result<()> {
        // The libraries find each other from where they really lie.
        let link = folder.join("lib");
        let libraries = link.canonicalize().map_err(|error| unreadable(&link, &error))?;
        let mut folders = vec![libraries.clone()];
        let packages = libraries.join("../../nvidia");
        for package in packages.read_dir().into_iter().flatten().flatten() {
            folders.push(plain(&package.path().join("lib")));
        }
        for folder in folders {
            for entry in folder.read_dir().into_iter().flatten().flatten() {
                let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
                let is_library = name.ends_with(".so") || name.contains(".so.");
                if is_library && !name.contains("python") && path.is_file() {
                    self.add_file(path)?;
                }
            }
        }
        self.libraries = Some(libraries);
        Ok(())
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> MagicError {
    let message = format!("{} is to be copied to a node, and cannot be read: {error}", path.display());
    MagicError::new(ErrorName::SlotError, message, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(contents: &Contents) -> Vec<String> {
        let below = |path: &PathBuf| path.strip_prefix(&contents.current).unwrap_or(path).display().to_string();
        contents.files.keys().map(below).collect()
    }

    #[test]
    fn folders_are_copied_with_what_is_in_them_and_texts_name_files() {
        let folder = tempfile::tempdir().unwrap();
        let current = folder.path().join("nb");
        for name in ["data/a.csv", "data/sub/b.csv", "data/.git/x", "words.txt.gz", "other.txt"] {
            std::fs::create_dir_all(current.join(name).parent().unwrap()).unwrap();
            std::fs::write(current.join(name), name).unwrap();
        }
        std::fs::write(folder.path().join("beside.txt"), "x").unwrap();
        std::os::unix::fs::symlink(&current, current.join("data/circle")).unwrap();
        let new = || Contents { current: current.clone(), ..Contents::default() };
        let mut contents = new();
        contents.add(Path::new("data/sub/../sub")).unwrap();
        assert_eq!(names(&contents), ["data/sub/b.csv"]);
        assert_eq!(contents.whole, [current.join("data/sub")].into());
        let mut named = new();
        named
            .add_named_in("read(\"words.txt\")?; read(\"../beside.txt\"); f(\".\", \"..\", \"/\", \"\", \"n\\n\")")
            .unwrap();
        let beside = folder.path().join("beside.txt").display().to_string();
        assert_eq!(names(&named), [beside, "words.txt.gz".into()]);
        assert!(named.whole.is_empty(), "{:?}", named.whole);
        let mut circle = new();
        circle.add(Path::new("data")).unwrap();
        assert!(names(&circle).contains(&"data/a.csv".into()) && !names(&circle).contains(&"data/.git/x".into()));
        let error = circle.add(Path::new("missing.csv")).unwrap_err();
        assert!(error.message.contains("missing.csv"), "{}", error.message);
        circle.bytes = MOST_BYTES;
        let error = circle.add(Path::new("other.txt")).unwrap_err();
        assert!(error.message.contains("more than 20 GB") && error.message.contains("largest"), "{}", error.message);
    }

    #[test]
    fn a_module_brings_its_package() {
        let folder = tempfile::tempdir().unwrap();
        let current = folder.path().to_path_buf();
        for name in ["pkg/train.py", "pkg/model.py", "pkg/sub/__init__.py", "pkg/notes.txt", "other/x.py"] {
            std::fs::create_dir_all(current.join(name).parent().unwrap()).unwrap();
            std::fs::write(current.join(name), name).unwrap();
        }
        let mut contents = Contents { current, ..Contents::default() };
        let words = ["python3", "-m", "pkg.train", "other"].map(String::from).to_vec();
        contents.add_packages(&ProgramLine { words, optional: vec![] }, &SearchSpace::new()).unwrap();
        assert_eq!(names(&contents), ["pkg/model.py", "pkg/sub/__init__.py", "pkg/train.py"]);
        assert!(contents.whole.is_empty());
    }

    #[test]
    fn installed_programs_are_not_copied() {
        let current = Path::new("/home/me/nb");
        for (path, expected) in [
            ("/usr/bin/python3", true),
            ("/home/me/venv/bin/python", true),
            ("/home/me/nb/bin/train", false),
            ("/home/me/rust/target/release/train", false),
            ("/dev/null", true),
        ] {
            assert_eq!(is_installed(Path::new(path), current), expected, "{path}");
        }
    }
}
