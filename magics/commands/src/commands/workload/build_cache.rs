//! Builds the workers of `%%workload`s, in a folder of the user's cache. It contains a crate for each workload, and
//! shares what is compiled of their dependencies.
//!
//! ```text
//! ~/.cache/tunebook/workloads/TOOLS/    TOOLS: hash of the compiler and libtorch
//!     target/                           cargo's target folder, shared by all versions of Tunebook and all workloads
//!     SOURCES/                          SOURCES: hash of Tunebook's sources
//!         crates/NAME/                  the crate of a workload, rewritten when its cell changes
//!         cells/HASH/                   the crate of one version of a workload, for Rust cells that use its types
//!         workers/HASH/                 the worker of one version of a workload, with its Cargo.lock
//!         workers/HASH-LOCK/            the same with the crates of another Cargo.lock, which a study recorded
//!         recorded/HASH/                the crate of such a worker
//! ```

use super::cargo::{self, BuildEvent};
use super::locked::{LockedCrates, crate_that_is_missing};
use super::source::{Dependency, WorkloadCell, worker_name};
use crate::error::{ErrorName, MagicError, Result, Source};
use crate::host::{Interrupt, Output};
use crate::magic::Context;
use crate::report::Status;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use tunebook_prebuilt::{CellCrate, Sources, short_hash, sources_hash};

/// A workload that is built only to compile the dependencies of all workloads in advance.
const TEMPLATE: &str = "template";
const TEMPLATE_BODY: &str = "
struct Template;

impl Workload for Template {
    fn data(&self, _: &Hyperparameters) -> Result<Data> {
        bail!(\"a template has no data\")
    }

    fn forward(&self, net: &Net, x: &Tensor) -> Tensor {
        net.linear(\"logits\", x, 2)
    }
}
";

/// The folder in which workloads are built.
pub struct BuildCache {
    /// The folder of this compiler and this libtorch, which all versions of Tunebook share.
    tools: PathBuf,
    /// The folder of this version of Tunebook.
    folder: PathBuf,
    /// The sources of Tunebook's own crates.
    sources: Sources,
}

/// A worker that was built.
pub struct BuiltWorker {
    /// The executable.
    pub worker: PathBuf,
    /// The content of its `Cargo.lock`.
    pub lock: String,
}

impl BuildCache {
    /// Opens the folder of this version of Tunebook, this compiler and this libtorch.
    pub fn open(context: &Context) -> Result<Self> {
        let libtorch = context.libtorch()?;
        let compiler = compiler()?;
        let tools = short_hash([compiler.as_slice(), libtorch.as_os_str().as_encoded_bytes()]);
        let tools = context.settings.cache.join("workloads").join(tools);
        let sources = Sources::open(&context.settings.cache)?;
        let build_cache = Self { folder: tools.join(sources_hash()), tools, sources };
        build_cache.configure(&libtorch).map_err(|error| build_cache.problem(&error))?;
        Ok(build_cache)
    }

    /// The worker for a hash of a workload, or None if it is not built. With the text of a recorded `Cargo.lock`, it is
    /// that which was built for it.
    pub fn built(&self, hash: &str, recorded: Option<&str>) -> Option<BuiltWorker> {
        let crates = recorded.map(LockedCrates::of);
        let usual = self.built_in(hash).filter(|built| match &crates {
            Some(crates) => *crates == LockedCrates::of(&built.lock),
            None => true,
        });
        usual.or_else(|| self.built_in(&name_with(hash, &crates?)))
    }

    /// Compiles what all workloads share, so that the first workload need not wait for it.
    pub fn prepare(&self, output: &dyn Output, interrupt: &Interrupt) -> Result<()> {
        let template = WorkloadCell::new(TEMPLATE, TEMPLATE_BODY, &Source::new(TEMPLATE_BODY, 0), 0)?;
        let mut status = Status::new(output);
        let built = self.build(&template, None, &mut status, interrupt);
        status.clear();
        built.map(drop)
    }

    /// The worker of a workload, which is built if it is missing. `status` shows the progress.
    ///
    /// With the text of a recorded `Cargo.lock`, it is built with exactly these crates. Only where crates in folders
    /// depend on others than they did then, such as those of another version of Tunebook, cargo chooses these.
    pub fn build(
        &self,
        body: &WorkloadCell,
        recorded: Option<&str>,
        status: &mut Status<'_>,
        interrupt: &Interrupt,
    ) -> Result<BuiltWorker> {
        let hash = body.hash();
        if let Some(built) = self.built(&hash, recorded) {
            return Ok(built);
        }
        let _lock = self.lock(status, interrupt)?;
        let krate = match recorded {
            Some(_) => self.folder.join("recorded").join(&hash),
            None => self.folder.join("crates").join(&body.name),
        };
        self.write_crate(&krate, body, vec![], recorded).map_err(|error| self.problem(&error))?;
        let started = Instant::now();
        let mut compiling = String::from("its dependencies");
        let mut watch = |event: BuildEvent<'_>| {
            if let BuildEvent::Compiling(name) = event {
                compiling = name.to_string();
            }
            let seconds = started.elapsed().as_secs();
            status.say(&format!("Building `{}`: compiling {compiling}, {seconds} s", body.name));
        };
        watch(BuildEvent::Tick);
        let target = self.target();
        match cargo::build(&krate, &target, recorded.is_some(), interrupt, &mut watch) {
            Err(error) if recorded.is_some() && cargo::needs_another_lock(&error) => {
                cargo::build(&krate, &target, false, interrupt, &mut watch)
            }
            done => done,
        }
        .map_err(|error| if recorded.is_some() { without_its_crates(&body.name, error) } else { error })?;
        // The folder of the hash alone is for the worker of the cell, which may have other crates.
        let beside = recorded.map(LockedCrates::of).filter(|crates| {
            let built = fs::read_to_string(krate.join("Cargo.lock")).unwrap_or_default();
            self.built_in(&hash).is_some() || *crates != LockedCrates::of(&built)
        });
        let folder = beside.map_or(hash.clone(), |crates| name_with(&hash, &crates));
        self.install(&krate, &body.name, &folder).map_err(|error| self.problem(&error))?;
        let missing = || self.problem(&std::io::Error::other("the worker was built, but is missing"));
        self.built(&hash, recorded).ok_or_else(missing)
    }

    fn target(&self) -> PathBuf {
        self.tools.join("target")
    }

    fn built_in(&self, folder: &str) -> Option<BuiltWorker> {
        let worker = self.folder.join("workers").join(folder).join("worker");
        let lock = fs::read_to_string(worker.with_file_name("Cargo.lock")).ok()?;
        Some(BuiltWorker { worker, lock })
    }

    /// Moves a built worker to a folder of `workers`. The folder is renamed, so it is never incomplete.
    fn install(&self, krate: &Path, name: &str, to: &str) -> std::io::Result<()> {
        let workers = self.folder.join("workers");
        fs::create_dir_all(&workers)?;
        let folder = tempfile::tempdir_in(&workers)?;
        fs::copy(self.target().join("release").join(worker_name(name)), folder.path().join("worker"))?;
        fs::copy(krate.join("Cargo.lock"), folder.path().join("Cargo.lock"))?;
        let installed = workers.join(to);
        if installed.exists() {
            fs::remove_dir_all(&installed)?;
        }
        fs::rename(folder.keep(), installed)
    }

    /// Writes the crate of a workload. `more` are dependencies besides the crates that every workload needs, and
    /// `recorded` is the text of its `Cargo.lock`, if it is to have the crates of an earlier build.
    fn write_crate(
        &self,
        krate: &Path,
        body: &WorkloadCell,
        more: Vec<Dependency>,
        recorded: Option<&str>,
    ) -> std::io::Result<()> {
        fs::create_dir_all(krate.join("src"))?;
        // A file that did not change keeps its modification time, so that cargo does not compile it again.
        let write = |name: &str, text: &str| {
            let path = krate.join(name);
            match fs::read_to_string(&path) {
                Ok(old) if old == text => Ok(()),
                _ => fs::write(path, text),
            }
        };
        let needed = [("tunebook-study", "magics/study"), ("tunebook-training", "magics/training")];
        let needed = needed.map(|(name, folder)| Dependency::new(name, self.sources.folder(folder)));
        write("Cargo.toml", &body.manifest(needed.into_iter().chain(more)))?;
        write("src/lib.rs", &body.library())?;
        write("src/main.rs", &body.main())?;
        let lock = krate.join("Cargo.lock");
        if let Some(recorded) = recorded {
            write("Cargo.lock", recorded)?;
        } else if !lock.exists() {
            let template = self.folder.join("crates").join(TEMPLATE).join("Cargo.lock");
            let text = match fs::read_to_string(template) {
                Ok(text) => text.replace(&format!("name = \"{TEMPLATE}\""), &format!("name = \"{}\"", body.name)),
                Err(_) => fs::read_to_string(self.sources.lock_file())?,
            };
            fs::write(lock, text)?;
        }
        Ok(())
    }

    /// The crate of a workload for Rust cells. Each version of a workload has its own crate, because a session keeps
    /// using the version with which it began.
    pub fn crate_for_cells(&self, body: &WorkloadCell) -> Result<PathBuf> {
        let krate = self.folder.join("cells").join(body.hash());
        // The crate depends on `tunebook` like cells do. So adding it to cells does not change the versions of their
        // crates.
        let CellCrate { name, path, features } = CellCrate::tunebook_with_tensors(&self.sources);
        let tunebook = Dependency { features, ..Dependency::new(&name, path) };
        self.write_crate(&krate, body, vec![tunebook], None).map_err(|error| self.problem(&error))?;
        Ok(krate)
    }

    /// Locks the folder. This waits while another kernel builds a workload.
    fn lock(&self, status: &mut Status<'_>, interrupt: &Interrupt) -> Result<File> {
        let open = || File::options().create(true).append(true).open(self.tools.join("lock"));
        let file = open().map_err(|error| self.problem(&error))?;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::Error(error)) => return Err(self.problem(&error)),
                Err(TryLockError::WouldBlock) if interrupt.is_raised() => {
                    return Err(MagicError::interrupted("the build was interrupted before it began"));
                }
                Err(TryLockError::WouldBlock) => {
                    status.say("Waiting for another kernel that builds a workload");
                    std::thread::sleep(Duration::from_millis(100));
                }
            }
        }
    }

    /// Writes a configuration of cargo with the path of libtorch. It applies to all crates below the folder.
    fn configure(&self, libtorch: &Path) -> std::io::Result<()> {
        let path = self.folder.join(".cargo/config.toml");
        if path.exists() {
            return Ok(());
        }
        let folder = libtorch.display().to_string();
        let rpath = format!("link-arg=-Wl,-rpath,{folder}/lib");
        let config = format!(
            "[env]\nLIBTORCH = {{ value = {folder:?}, force = true }}\nLIBTORCH_CXX11_ABI = {{ value = \"1\", force = \
             true }}\n\n\
             [target.'cfg(all())']\nrustflags = [\"-C\", {rpath:?}]\n"
        );
        fs::create_dir_all(self.folder.join(".cargo"))?;
        // The file is renamed, because another kernel may read it at any time.
        let file = tempfile::NamedTempFile::new_in(&self.folder)?;
        fs::write(file.path(), config)?;
        file.persist(path).map(drop).map_err(|error| error.error)
    }

    /// The error for a folder that cannot be used.
    fn problem(&self, error: &std::io::Error) -> MagicError {
        let message = format!("the folder {} for building workloads cannot be used: {error}", self.folder.display());
        MagicError::new(ErrorName::BuildError, message, Some("choose another folder with TUNEBOOK_CACHE".into()))
    }
}

/// The name of the folder of a worker that is built with recorded crates.
fn name_with(hash: &str, crates: &LockedCrates) -> String {
    format!("{hash}-{}", crates.hash())
}

/// The error of a build with recorded crates, if one of them cannot be had.
fn without_its_crates(name: &str, error: MagicError) -> MagicError {
    let Some(missing) = crate_that_is_missing(&error.message).filter(|_| error.name == ErrorName::BuildError) else {
        return error;
    };
    let message =
        format!("`{name}` was built with the crate `{missing}`, which cannot be had here, so it is not built again");
    let help = "the record names this version in the Cargo.lock of the workload; a crate of a registry needs the \
        network, and a crate in a folder needs that folder";
    error.seen_as(message, help.into())
}

/// The description of the compiler (`rustc -vV`).
fn compiler() -> Result<Vec<u8>> {
    let output = Command::new("rustc").arg("-vV").output();
    let output = output.map_err(|error| {
        let message = format!("a %%workload is built with Rust, and `rustc` could not be started: {error}");
        MagicError::new(ErrorName::NoToolchain, message, Some("install Rust (rustup.rs) and restart the kernel".into()))
    })?;
    Ok(output.stdout)
}
