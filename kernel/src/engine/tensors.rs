//! Tensors in cells without `:dep`: `tch` and `tunebook` are built ahead, once, by evcxr itself, and each kernel begins in a
//! folder of its own that holds links to what was built. (A folder that kernels share would let one load another's cells.)
//!
//! ```text
//! ~/.cache/tunebook/cells/SOURCES/template/       what was built; SOURCES: hash of Tunebook's sources. What a kernel builds
//!                                                 for a `:dep` is added, and there for the user's next kernels
//! ~/.cache/tunebook/cells/SOURCES/prepared.json   says that it is whole, and where libtorch lies
//! ~/.cache/tunebook/cells/running/PID/            the folder of a kernel
//! ```

use super::built::{Built, link_tree};
use super::errors::CellError;
use super::locks::{merged, with_source};
use super::output::{Bundle, Cell};
use super::service::Engine;
use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use tunebook_magics::{CellCrate, Interrupt, sources_hash};

/// Where evcxr builds cells.
const BUILD_FOLDER: &str = "EVCXR_TMPDIR";

/// What cells can build upon.
#[derive(Clone, Debug)]
pub struct Ahead {
    /// The folder of libtorch, where tensors were built ahead.
    pub libtorch: Option<PathBuf>,
    /// The `Cargo.lock` with the versions of what is built.
    pub lock: String,
    /// Where what this kernel builds is kept for others, and this kernel's own folder.
    pub shared: Option<(Built, Built)>,
}

/// What makes something that was built ahead the right one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Stamp {
    tunebook: PathBuf,
    libtorch: PathBuf,
    /// What the compiler says of itself.
    compiler: String,
}

/// Folders below the cache.
pub struct Places {
    cells: PathBuf,
}

impl Places {
    /// Those of a cache.
    pub fn new(cache: &Path) -> Self {
        Self { cells: cache.join("cells") }
    }

    fn template(&self) -> PathBuf {
        self.cells.join(sources_hash()).join("template")
    }

    fn stamp(&self) -> PathBuf {
        self.cells.join(sources_hash()).join("prepared.json")
    }

    fn running(&self) -> PathBuf {
        self.cells.join("running")
    }

    fn stamped(&self) -> Option<Stamp> {
        read_stamp(&self.stamp())
    }

    /// What another version of Tunebook built with the same compiler and libtorch: most crates in it are the same.
    fn earlier(&self, wanted: &Stamp) -> Option<PathBuf> {
        let versions = fs::read_dir(&self.cells).ok()?.flatten().map(|entry| entry.path());
        let fits = |stamp: Stamp| stamp.compiler == wanted.compiler && stamp.libtorch == wanted.libtorch;
        let mut fitting: Vec<PathBuf> =
            versions.filter(|path| read_stamp(&path.join("prepared.json")).is_some_and(fits)).collect();
        let built =
            |path: &PathBuf| fs::metadata(path.join("prepared.json")).and_then(|metadata| metadata.modified()).ok();
        fitting.sort_by_key(built);
        Some(fitting.pop()?.join("template"))
    }

    /// The environment that a kernel needs to build cells in a folder of its own, beside what was built; nothing where there
    /// can be none, and evcxr then takes a temporary one.
    pub fn environment(&self) -> Option<(&'static str, OsString)> {
        let own = self.running().join(std::process::id().to_string());
        fs::create_dir_all(&own).ok()?;
        Some((BUILD_FOLDER, own.into()))
    }

    /// Fills the folder of this kernel with what was built, and takes away those of kernels that have ended. `None`: it has no
    /// folder of ours, or that could not be filled.
    pub fn begin(&self) -> Option<Ahead> {
        let own = self.own()?;
        for entry in fs::read_dir(self.running()).into_iter().flatten().flatten() {
            let process = entry.file_name().to_string_lossy().parse().ok();
            // A signal that is none asks whether the process is there.
            let runs = process.is_some_and(|pid| nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), None).is_ok());
            if !runs || entry.path() == own {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        let (template, own) = (Built::new(self.template()), Built::new(own));
        own.take_from(&template).ok()?;
        let libtorch = self.stamped().map(|stamp| stamp.libtorch);
        Some(Ahead { libtorch, lock: template.lock(), shared: Some((template, own)) })
    }

    /// The folder of this kernel, if it has one of ours.
    fn own(&self) -> Option<PathBuf> {
        std::env::var_os(BUILD_FOLDER).map(PathBuf::from).filter(|own| own.starts_with(self.running()))
    }

    /// Takes the folder of this kernel away.
    pub fn end(&self) {
        if let Some(own) = self.own() {
            let _ = fs::remove_dir_all(own);
        }
    }

    /// Builds ahead, in a process of its own since evcxr takes its folder from the environment.
    pub fn prepare(&self, prepared: &tunebook_magics::Prepared) -> anyhow::Result<()> {
        let compiler = Command::new("rustc").arg("-vV").output().context("rustc cannot be started")?;
        let wanted = Stamp {
            tunebook: prepared.tunebook.path.clone(),
            libtorch: prepared.libtorch.clone(),
            compiler: String::from_utf8_lossy(&compiler.stdout).into_owned(),
        };
        if self.stamped().as_ref() == Some(&wanted) {
            return Ok(());
        }
        eprintln!("Building `tch` for Rust cells (some minutes)");
        let template = self.template();
        if template.exists() {
            fs::remove_dir_all(&template)?;
        }
        fs::create_dir_all(&template)?;
        let _ = fs::remove_file(self.stamp());
        let mut lock = fs::read_to_string(&prepared.lock_file)?;
        if let Some(earlier) = self.earlier(&wanted) {
            link_tree(&earlier.join("target"), &template.join("target"), &|_| false)?;
            lock = merged(&lock, &with_source(&fs::read_to_string(earlier.join("Cargo.lock")).unwrap_or_default()));
        }
        fs::write(template.join("Cargo.lock"), lock)?;
        let mut build = Command::new(std::env::current_exe()?);
        build.arg("prepare-cells").env(BUILD_FOLDER, &template);
        build.args([prepared.tunebook.path.as_os_str(), prepared.libtorch.as_os_str()]);
        let status = build.status()?;
        if !status.success() {
            bail!("tensors for Rust cells could not be built; the reason stands above");
        }
        Ok(fs::write(self.stamp(), serde_json::to_vec_pretty(&wanted)?)?)
    }
}

fn read_stamp(path: &Path) -> Option<Stamp> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Builds what [`Places::prepare`] keeps: the work of the process that it starts. First the crate for cells without tensors,
/// then with them.
pub fn build_ahead(tunebook: &Path, libtorch: &Path) -> Result<(), CellError> {
    let folder = std::env::var_os(BUILD_FOLDER).map(PathBuf::from).unwrap_or_default();
    let lock = fs::read_to_string(folder.join("Cargo.lock")).unwrap_or_default();
    let ahead = Ahead { libtorch: Some(libtorch.into()), lock, shared: None };
    let engine = Engine::start(move || Some(ahead));
    let light = CellCrate { name: "tunebook".into(), path: tunebook.into(), features: vec![] };
    let tensors = CellCrate { features: vec!["tensors".into()], ..light.clone() };
    let cells = [
        (light, "tunebook::Bundle::new()"),
        (tensors, "tch::Tensor::zeros([2, 2], (tch::Kind::Float, tch::Device::Cpu))"),
    ];
    for (krate, code) in cells {
        engine.run(code, vec![krate], Arc::new(Terminal), &Interrupt::default())?;
    }
    Ok(())
}

/// Prints what is built.
struct Terminal;

impl Cell for Terminal {
    fn text(&self, text: &str, _: bool) {
        eprint!("{text}");
    }

    fn display(&self, data: Bundle, _: Value, _: Option<&str>, _: bool) {
        eprintln!("{}", data.get("text/plain").and_then(Value::as_str).unwrap_or(""));
    }

    fn clear(&self, _: bool) {}

    fn input(&self, _: &str, _: bool, _: &dyn Fn() -> bool) -> Option<String> {
        None
    }

    fn answer(&self, _: &Value) -> Result<Value, (String, String)> {
        Err(("NotAvailable".into(), "there is no kernel".into()))
    }
}

/// What the process that runs cells needs to find at run time: the standard library, which cells link dynamically, and
/// libtorch.
pub fn library_path(libtorch: Option<&Path>) -> OsString {
    let output = Command::new("rustc").args(["--print", "target-libdir"]).output();
    let standard = output.ok().map(|output| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    let known = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    let folders =
        standard.into_iter().chain(libtorch.map(|folder| folder.join("lib"))).chain(std::env::split_paths(&known));
    std::env::join_paths(folders.filter(|folder| !folder.as_os_str().is_empty())).unwrap_or(known)
}
