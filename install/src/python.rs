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
    let file = repository().join("install/requirements").join(requirements);
    environment(name, &["-r".into(), file.display().to_string()])
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

/// What arguments of pip ask for. A requirements file stands for its lines, and those of the files that it includes.
fn contents(packages: &[String]) -> Result<String> {
    let mut text = String::new();
    for package in packages {
        if !package.ends_with(".txt") {
            text += &format!("{package}\n");
            continue;
        }
        let path = Path::new(package);
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
}
