//! Installs and removes the kernelspec, the folder that makes "Rust (Tunebook)" appear in Jupyter's launcher, and the
//! extension of JupyterLab that highlights the declarations of magics.
//!
//! Everything goes below one prefix: the kernelspec into `share/jupyter/kernels/tunebook`, the extension into
//! `share/jupyter/labextensions/tunebook-magics`, and copies of the two executables into `share/tunebook/bin`. The
//! installed kernel therefore still works after `cargo clean`.

use crate::places::repository;
use crate::python;
use crate::steps::{output_of, say};
use anyhow::{Context, Result};
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const EXECUTABLES: [&str; 2] = ["tunebook", "tunebook-worker"];
/// The files of the extension.
const EXTENSION: [&str; 2] = ["package.json", "static/remoteEntry.js"];

/// Where a kernel is installed.
pub struct Location {
    /// Jupyter's data folder, such as `~/.local/share/jupyter`.
    jupyter: PathBuf,
    /// The folder of the executables.
    executables: PathBuf,
}

impl Location {
    /// Below a prefix, as `jupyter kernelspec install --prefix` does it.
    pub fn prefix(prefix: &Path) -> Self {
        let share = prefix.join("share");
        Self { jupyter: share.join("jupyter"), executables: share.join("tunebook/bin") }
    }

    /// In the user's own data folder, where Jupyter always looks.
    pub fn user() -> Result<Self> {
        let data = dirs::data_dir().context("there is no data folder of this user; use --prefix")?;
        let mac = dirs::home_dir().filter(|_| cfg!(target_os = "macos")).map(|home| home.join("Library/Jupyter"));
        let own = std::env::var_os("JUPYTER_DATA_DIR").map(PathBuf::from);
        let jupyter = own.or(mac).unwrap_or_else(|| data.join("jupyter"));
        Ok(Self { jupyter, executables: data.join("tunebook/bin") })
    }

    /// In the (virtual) environment of the Python on the PATH.
    pub fn sys_prefix() -> Result<Self> {
        let script = "import sys; print(sys.prefix)";
        let prefix = output_of(Command::new(python::system()?).args(["-c", script]))?;
        Ok(Self::prefix(Path::new(prefix.trim())))
    }

    /// The value for `JUPYTER_PATH`, which a Jupyter needs that does not look into this location by itself.
    pub fn jupyter_path(&self) -> &Path {
        &self.jupyter
    }

    fn kernel(&self) -> PathBuf {
        self.jupyter.join("kernels/tunebook")
    }

    fn extension(&self) -> PathBuf {
        self.jupyter.join("labextensions/tunebook-magics")
    }

    /// The installed copy of an executable.
    pub fn executable(&self, name: &str) -> PathBuf {
        self.executables.join(name)
    }

    /// Installs the kernel. `built` is the folder of the executables that cargo built.
    pub fn install(&self, built: &Path) -> Result<()> {
        let (kernel, assets) = (self.kernel(), repository().join("install/kernelspec"));
        let extension = self.extension();
        for folder in [&self.executables, &kernel, &extension.join("static")] {
            fs::create_dir_all(folder).with_context(|| format!("{} cannot be created", folder.display()))?;
        }
        for name in EXECUTABLES {
            copy(&built.join(name), &self.executable(name))?;
        }
        for logo in ["logo-32x32.png", "logo-64x64.png", "logo-svg.svg"] {
            copy(&assets.join(logo), &kernel.join(logo))?;
        }
        for name in EXTENSION {
            copy(&repository().join("install/labextension").join(name), &extension.join(name))?;
        }
        let text = serde_json::to_string_pretty(&spec(&self.executable("tunebook")))?;
        fs::write(kernel.join("kernel.json"), text).with_context(|| format!("{} cannot be written", kernel.display()))
    }

    /// Removes what [`Location::install`] put there. Returns whether there was anything to remove.
    pub fn uninstall(&self) -> Result<bool> {
        let mut found = false;
        for folder in [self.kernel(), self.extension(), self.executables.clone()] {
            if folder.exists() {
                say(&format!("Removing {}", folder.display()));
                fs::remove_dir_all(&folder).with_context(|| format!("{} cannot be removed", folder.display()))?;
                found = true;
            }
        }
        if let Some(own) = self.executables.parent() {
            // This fails, as it should, if the folder holds something else.
            let _ = fs::remove_dir(own);
        }
        Ok(found)
    }
}

/// Copies a file unless an up-to-date copy is there. A new copy replaces the old one in one step, so that a kernel that
/// runs from the old executable keeps it.
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
    fn uninstalling_leaves_nothing_of_the_kernel() {
        let folder = tempfile::tempdir().unwrap();
        let (built, prefix) = (folder.path().join("built"), folder.path().join("prefix"));
        fs::create_dir_all(&built).unwrap();
        for name in EXECUTABLES {
            fs::write(built.join(name), name).unwrap();
        }
        let location = Location::prefix(&prefix);
        location.install(&built).unwrap();
        location.install(&built).unwrap();
        let text = fs::read_to_string(prefix.join("share/jupyter/kernels/tunebook/kernel.json")).unwrap();
        let spec: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(spec["display_name"], "Rust (Tunebook)");
        assert_eq!(spec["interrupt_mode"], "message");
        let executable = Path::new(spec["argv"][0].as_str().unwrap());
        assert_eq!(fs::read_to_string(executable).unwrap(), "tunebook");
        assert!(prefix.join("share/jupyter/labextensions/tunebook-magics/static/remoteEntry.js").exists());
        assert!(location.uninstall().unwrap());
        assert!(!location.extension().exists());
        assert!(!location.uninstall().unwrap());
        let left: Vec<_> = fs::read_dir(prefix.join("share")).unwrap().flatten().map(|e| e.file_name()).collect();
        assert_eq!(left, ["jupyter"], "only Jupyter's own folder is left");
    }
}
