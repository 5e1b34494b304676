//! The kernelspec: what makes "Rust (Tunebook)" appear in Jupyter's launcher.
//!
//! Everything goes below one prefix: `share/jupyter/kernels/tunebook` for Jupyter, `share/tunebook/bin` for the two
//! executables, so that a `cargo clean` does not take the kernel away.

use crate::places::repository;
use crate::python;
use crate::steps::{output_of, say};
use anyhow::{Context, Result};
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const EXECUTABLES: [&str; 2] = ["tunebook", "tunebook-worker"];

/// Where a kernel is installed.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// `…/jupyter`: Jupyter's data folder.
    jupyter: PathBuf,
    /// Where the executables go.
    executables: PathBuf,
}

impl Place {
    /// Below a prefix, as `jupyter kernelspec install --prefix` does.
    pub fn prefix(prefix: &Path) -> Self {
        let share = prefix.join("share");
        Self { jupyter: share.join("jupyter"), executables: share.join("tunebook/bin") }
    }

    /// In the user's own data folder.
    pub fn user() -> Result<Self> {
        let data = dirs::data_dir().context("this user has no data folder; use --prefix")?;
        let mac = dirs::home_dir().filter(|_| cfg!(target_os = "macos")).map(|home| home.join("Library/Jupyter"));
        let own = std::env::var_os("JUPYTER_DATA_DIR").map(PathBuf::from);
        let jupyter = own.or(mac).unwrap_or_else(|| data.join("jupyter"));
        Ok(Self { jupyter, executables: data.join("tunebook/bin") })
    }

    /// In the environment of the Python on the PATH.
    pub fn sys_prefix() -> Result<Self> {
        let script = "import sys; print(sys.prefix)";
        let prefix = output_of(Command::new(python::system()?).args(["-c", script]))?;
        Ok(Self::prefix(Path::new(prefix.trim())))
    }

    /// The folder that Jupyter must be told of (`JUPYTER_PATH`) where it does not look by itself.
    pub fn jupyter_path(&self) -> &Path {
        &self.jupyter
    }

    fn kernel(&self) -> PathBuf {
        self.jupyter.join("kernels/tunebook")
    }

    /// The executable of the kernel.
    pub fn executable(&self, name: &str) -> PathBuf {
        self.executables.join(name)
    }

    /// Installs from a folder of built executables.
    pub fn install(&self, built: &Path) -> Result<()> {
        let (kernel, assets) = (self.kernel(), repository().join("install/kernelspec"));
        let into =
            |folder: &Path| fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()));
        into(&self.executables)?;
        into(&kernel)?;
        for name in EXECUTABLES {
            copy(&built.join(name), &self.executable(name))?;
        }
        for logo in ["logo-32x32.png", "logo-64x64.png", "logo-svg.svg"] {
            copy(&assets.join(logo), &kernel.join(logo))?;
        }
        let text = serde_json::to_string_pretty(&spec(&self.executable("tunebook")))?;
        fs::write(kernel.join("kernel.json"), text).with_context(|| format!("{} cannot be written", kernel.display()))
    }

    /// Takes away what [`Place::install`] put there; whether there was anything.
    pub fn uninstall(&self) -> Result<bool> {
        let mut found = false;
        for folder in [self.kernel(), self.executables.clone()] {
            if folder.exists() {
                say(&format!("removing {}", folder.display()));
                fs::remove_dir_all(&folder).with_context(|| format!("{} cannot be removed", folder.display()))?;
                found = true;
            }
        }
        if let Some(own) = self.executables.parent() {
            // Only where nothing else is in it.
            let _ = fs::remove_dir(own);
        }
        Ok(found)
    }
}

/// A running kernel keeps its old executable: the new one takes the name, not the file. What is there already and the
/// same stays.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let stamp = |path: &Path| fs::metadata(path).ok().and_then(|m| Some((m.len(), m.modified().ok()?)));
    if let (Some((length, built)), Some((there, copied))) = (stamp(from), stamp(to))
        && length == there
        && copied >= built
    {
        return Ok(());
    }
    let partial = to.with_extension("partial");
    let failed = || format!("{} cannot be copied to {}", from.display(), to.display());
    fs::copy(from, &partial).with_context(failed)?;
    fs::rename(&partial, to).with_context(failed)
}

fn spec(executable: &Path) -> serde_json::Value {
    json!({
        "argv": [executable, "kernel", "--connection-file", "{connection_file}"],
        "display_name": "Rust (Tunebook)",
        "language": "rust",
        "interrupt_mode": "message",
        "metadata": { "debugger": false },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn installing_and_uninstalling_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (built, prefix) = (folder.path().join("built"), folder.path().join("prefix"));
        fs::create_dir_all(&built).unwrap();
        for name in EXECUTABLES {
            fs::write(built.join(name), name).unwrap();
        }
        let place = Place::prefix(&prefix);
        place.install(&built).unwrap();
        place.install(&built).unwrap();
        let text = fs::read_to_string(prefix.join("share/jupyter/kernels/tunebook/kernel.json")).unwrap();
        let spec: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(spec["display_name"], "Rust (Tunebook)");
        assert_eq!(spec["interrupt_mode"], "message");
        let executable = Path::new(spec["argv"][0].as_str().unwrap());
        assert_eq!(fs::read_to_string(executable).unwrap(), "tunebook");
        assert!(place.uninstall().unwrap());
        assert!(!place.uninstall().unwrap());
        let left: Vec<_> = fs::read_dir(prefix.join("share")).unwrap().flatten().map(|e| e.file_name()).collect();
        assert_eq!(left, ["jupyter"], "only Jupyter's own folder stays");
    }
}
