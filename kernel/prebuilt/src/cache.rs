//! The folders of the user's cache in which Rust cells are built.
//!
//! evcxr itself builds the crate `tunebook`, with and without tensors, once into a *template*. Each kernel then works
//! in a folder of its own, which starts with hard links to the files of the template. (In a folder that they share, one
//! kernel could load the library of another kernel's cell: these have the same names.)
//!
//! ```text
//! ~/.cache/tunebook/cells/
//!     HASH/template/       the crates that are built. HASH identifies Tunebook's sources. A crate that a kernel builds
//!                          for a `:dep` is added, but its version is not added to the `Cargo.lock` there
//!     HASH/prepared.json   the stamp: what the template was built with. It is written when the template is complete
//!     running/PID/         the build folder of a running kernel
//! ```

use crate::build_folder::{BuildFolder, link_tree};
use crate::{CellCrate, sources_hash};
use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The environment variable that tells evcxr in which folder to build cells.
pub const BUILD_FOLDER: &str = "EVCXR_TMPDIR";

/// What the engine of Rust cells finds built when it starts.
#[derive(Clone, Debug)]
pub struct Prebuilt {
    /// The folder of libtorch with which tensors were built; None if they were not.
    pub libtorch: Option<PathBuf>,
    /// The text of the `Cargo.lock` with the versions that are prepared. A crate that one of the user's other kernels
    /// needed is not in it.
    pub lock: String,
    /// Where crates that this kernel builds go, if other kernels can have them.
    pub sharing: Option<Sharing>,
}

/// Exchanges crates between the template and the build folder of this kernel. An error costs time and nothing else:
/// what cannot be exchanged is built again.
#[derive(Clone, Debug)]
pub struct Sharing {
    template: BuildFolder,
    own: BuildFolder,
}

impl Sharing {
    /// Adds the crates of the template to the folder of this kernel.
    pub fn receive(&self) -> anyhow::Result<()> {
        self.own.take_from(&self.template)
    }

    /// Adds the crates that this kernel has built to the template.
    pub fn publish(&self) -> anyhow::Result<()> {
        self.own.give_to(&self.template)
    }
}

/// What the template is built from.
pub struct BuildInputs {
    /// The crate `tunebook` with tensors.
    pub tunebook: CellCrate,
    /// The `Cargo.lock` with the versions to build.
    pub lock_file: PathBuf,
    /// The folder of libtorch.
    pub libtorch: PathBuf,
}

/// Identifies what a template was built with. A template with another stamp must be built again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Stamp {
    tunebook: PathBuf,
    libtorch: PathBuf,
    /// The output of `rustc -vV`.
    compiler: String,
}

/// The part of a cache that belongs to Rust cells.
pub struct CellCache {
    folder: PathBuf,
}

impl CellCache {
    /// Refers to the folders below a cache, which need not exist yet.
    pub fn new(cache: &Path) -> Self {
        Self { folder: cache.join("cells") }
    }

    fn template(&self) -> PathBuf {
        self.folder.join(sources_hash()).join("template")
    }

    fn stamp_file(&self) -> PathBuf {
        self.folder.join(sources_hash()).join("prepared.json")
    }

    fn running(&self) -> PathBuf {
        self.folder.join("running")
    }

    fn stamp(&self) -> Option<Stamp> {
        read_stamp(&self.stamp_file())
    }

    /// The latest template of another version of Tunebook that was built with the same compiler and libtorch: most
    /// crates in it can be used again.
    fn earlier_template(&self, wanted: &Stamp) -> Option<PathBuf> {
        let versions = fs::read_dir(&self.folder).ok()?.flatten().map(|entry| entry.path());
        let fits = |stamp: Stamp| stamp.compiler == wanted.compiler && stamp.libtorch == wanted.libtorch;
        let stamp_file = |path: &Path| path.join("prepared.json");
        let mut fitting: Vec<PathBuf> =
            versions.filter(|path| read_stamp(&stamp_file(path)).is_some_and(fits)).collect();
        fitting.sort_by_key(|path| fs::metadata(stamp_file(path)).and_then(|metadata| metadata.modified()).ok());
        Some(fitting.pop()?.join("template"))
    }

    /// Creates the build folder of the process that calls, and returns the environment variable by which evcxr finds
    /// it. None if the folder cannot be created; evcxr then builds in a temporary folder, and nothing is prebuilt.
    pub fn environment(&self) -> Option<(&'static str, OsString)> {
        let own = self.running().join(std::process::id().to_string());
        fs::create_dir_all(&own).ok()?;
        Some((BUILD_FOLDER, own.into()))
    }

    /// Fills the build folder of this kernel from the template, and removes those of kernels that have ended. None if
    /// `EVCXR_TMPDIR` names no folder of this cache, or if the folder cannot be filled.
    pub fn begin(&self) -> Option<Prebuilt> {
        let own = self.own()?;
        for entry in fs::read_dir(self.running()).into_iter().flatten().flatten() {
            let process = entry.file_name().to_string_lossy().parse().ok();
            // Signal 0 is not sent; it only tells whether the process exists.
            let runs = process.is_some_and(|pid| nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), None).is_ok());
            if !runs || entry.path() == own {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        let sharing = Sharing { template: BuildFolder::new(self.template()), own: BuildFolder::new(own) };
        sharing.receive().ok()?;
        let libtorch = self.stamp().map(|stamp| stamp.libtorch);
        Some(Prebuilt { libtorch, lock: sharing.template.lock(), sharing: Some(sharing) })
    }

    /// The build folder of this kernel, if it is in this cache.
    fn own(&self) -> Option<PathBuf> {
        std::env::var_os(BUILD_FOLDER).map(PathBuf::from).filter(|own| own.starts_with(self.running()))
    }

    /// Removes the build folder of this kernel.
    pub fn end(&self) {
        if let Some(own) = self.own() {
            let _ = fs::remove_dir_all(own);
        }
    }

    /// Builds the template, unless it is there already.
    ///
    /// `build` builds the crates into the folder that [`BUILD_FOLDER`] names; the paths of `tunebook` and of libtorch
    /// are appended to its arguments. It is a process of its own because evcxr takes the folder from its environment.
    pub fn prepare(&self, inputs: &BuildInputs, mut build: Command) -> anyhow::Result<()> {
        let compiler = Command::new("rustc").arg("-vV").output().context("rustc cannot be started")?;
        let wanted = Stamp {
            tunebook: inputs.tunebook.path.clone(),
            libtorch: inputs.libtorch.clone(),
            compiler: String::from_utf8_lossy(&compiler.stdout).into_owned(),
        };
        if self.stamp().as_ref() == Some(&wanted) {
            return Ok(());
        }
        eprintln!("Building `tch` for Rust cells (some minutes)");
        let template = self.template();
        if template.exists() {
            fs::remove_dir_all(&template)?;
        }
        fs::create_dir_all(&template)?;
        let _ = fs::remove_file(self.stamp_file());
        if let Some(earlier) = self.earlier_template(&wanted) {
            link_tree(&earlier.join("target"), &template.join("target"), &|_| false)?;
        }
        fs::write(template.join("Cargo.lock"), fs::read(&inputs.lock_file)?)?;
        build.env(BUILD_FOLDER, &template);
        build.args([inputs.tunebook.path.as_os_str(), inputs.libtorch.as_os_str()]);
        if !build.status()?.success() {
            bail!("tensors for Rust cells could not be built; the reason stands above");
        }
        Ok(fs::write(self.stamp_file(), serde_json::to_vec_pretty(&wanted)?)?)
    }
}

fn read_stamp(path: &Path) -> Option<Stamp> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}
