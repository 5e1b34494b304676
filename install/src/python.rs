//! Virtual environments with the Python packages of the front ends and the tests, created once in the cache folder.

use crate::places::{cache, repository};
use crate::steps::{output_of, run, say};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The interpreter of a Python 3.10 or newer on the PATH.
pub fn system() -> Result<PathBuf> {
    for name in ["python3", "python"] {
        let script = "import sys; print(sys.executable); sys.exit(sys.version_info < (3, 10))";
        if let Ok(path) = output_of(Command::new(name).args(["-c", script])) {
            return Ok(path.trim().into());
        }
    }
    bail!(
        "There is no Python 3.10 or newer on the PATH. Install one with its module venv (Debian: apt install \
         python3-venv)"
    )
}

/// The interpreter of an environment with the packages of a file in `install/requirements`.
pub fn environment_of(name: &str, requirements: &str) -> Result<PathBuf> {
    environment(name, &of_file(requirements))
}

/// The same with our own package for papermill.
pub fn environment_with_papermill(name: &str, requirements: &str) -> Result<PathBuf> {
    let mut packages = of_file(requirements);
    packages.push(papermill_package().display().to_string());
    environment(name, &packages)
}

/// Installs our package for papermill, and papermill itself, for the Python on the PATH: into its environment, or for
/// the user.
pub fn install_papermill(for_user: bool) -> Result<()> {
    let mut pip = Command::new(system()?);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
    if for_user {
        pip.arg("--user");
    }
    let advice = "pip's message stands above. If it calls this Python externally managed, run the command in a virtual \
        environment of your own";
    run(pip.arg(papermill_package()), advice)
}

fn of_file(requirements: &str) -> Vec<String> {
    let file = repository().join("install/requirements").join(requirements);
    vec!["-r".into(), file.display().to_string()]
}

/// The folder of the Python package that lets papermill set parameters in Rust.
fn papermill_package() -> PathBuf {
    repository().join("install/papermill")
}

/// The interpreter of an environment with these packages, given as arguments of `pip install`. An environment that was
/// created with the same packages is used again.
pub fn environment(name: &str, packages: &[String]) -> Result<PathBuf> {
    let folder = cache()?.join(name);
    let (python, stamp) = (folder.join("bin/python"), folder.join("tunebook-packages"));
    let wanted = contents(packages)?;
    if python.exists() && fs::read_to_string(&stamp).is_ok_and(|there| there == wanted) {
        return Ok(python);
    }
    if !python.exists() {
        say(&format!("Creating a virtual environment of Python in {}", folder.display()));
        fs::create_dir_all(cache()?)?;
        let advice = "Python's module venv is needed (Debian: apt install python3-venv)";
        run(Command::new(system()?).args(["-m", "venv"]).arg(&folder), advice).inspect_err(|_| {
            // Without its packages, Debian's venv leaves an environment that has an interpreter but no pip.
            let _ = fs::remove_dir_all(&folder);
        })?;
    }
    if packages.is_empty() {
        return Ok(python);
    }
    say(&format!("Installing Python packages into {}", folder.display()));
    let advice = "The Python package index must be reachable. Run the command again to continue";
    run(
        Command::new(&python).args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(packages),
        advice,
    )?;
    fs::write(&stamp, wanted)?;
    Ok(python)
}

/// What arguments of pip ask for. A requirements file stands for its lines, and those of the files that it includes. A
/// folder stands for its Python code.
fn contents(packages: &[String]) -> Result<String> {
    let mut text = String::new();
    for package in packages {
        let path = Path::new(package);
        if path.is_dir() {
            text += &code_of(path)?;
            continue;
        }
        if !package.ends_with(".txt") {
            text += &format!("{package}\n");
            continue;
        }
        let lines = fs::read_to_string(path).with_context(|| package.clone())?;
        for line in lines.lines() {
            match line.strip_prefix("-r ") {
                Some(other) => {
                    let included = path.with_file_name(other.trim()).display().to_string();
                    text += &contents(&[included])?;
                }
                None => text += &format!("{line}\n"),
            }
        }
    }
    Ok(text)
}

/// The text of the files of a Python package: those in its folder, and those in the folder of its module.
fn code_of(package: &Path) -> Result<String> {
    let mut files = Vec::new();
    for folder in [package.to_path_buf(), package.join("tunebook_papermill")] {
        let entries = fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
        files.extend(entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file()));
    }
    files.sort();
    files.iter().map(|file| fs::read_to_string(file).with_context(|| file.display().to_string())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_in_an_included_requirements_file_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        fs::write(file("a.txt"), "x==1\n").unwrap();
        fs::write(file("b.txt"), "-r a.txt\ny==2\n").unwrap();
        let of_b = || contents(&[file("b.txt").display().to_string()]).unwrap();
        let before = of_b();
        assert_eq!(before, "x==1\ny==2\n");
        fs::write(file("a.txt"), "x==3\n").unwrap();
        assert_ne!(before, of_b());
    }

    #[test]
    fn the_package_for_papermill_is_known_by_its_code() {
        let text = contents(&[papermill_package().display().to_string()]).unwrap();
        assert!(text.contains("tunebook-papermill") && text.contains("class RustTranslator"));
    }
}
