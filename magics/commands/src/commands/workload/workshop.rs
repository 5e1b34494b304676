//! Where workers of `%%workload`s are built: a folder in the user's cache with what is built of the sources of Tunebook's own
//! crates, and a crate for each workload.
//!
//! ```text
//! ~/.cache/tunebook/workloads/TOOLS/    TOOLS: hash of the compiler and libtorch
//!     target/                           what cargo builds, shared by all versions of Tunebook and all workloads
//!     SOURCES/                          SOURCES: hash of Tunebook's sources
//!         crates/NAME/                  the crate of a workload, rewritten when its cell changes
//!         cells/HASH/                   the crate of one source, for Rust cells that use its types
//!         workers/HASH/                 the worker of one source, with its Cargo.lock
//! ```

use super::cargo::{self, Progress};
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

/// The workload that dependencies are built for before there is any other.
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

/// The folder.
pub struct Workshop {
    /// What all versions of Tunebook share.
    tools: PathBuf,
    /// What is of this one.
    folder: PathBuf,
    /// Tunebook's own crates.
    sources: Sources,
}

/// A worker that was built.
pub struct Built {
    /// Its executable.
    pub worker: PathBuf,
    /// The versions of all crates in it.
    pub lock: String,
}

impl Workshop {
    /// The folder for this build of Tunebook, this compiler and this libtorch.
    pub fn open(context: &Context) -> Result<Self> {
        let libtorch = context.libtorch()?;
        let compiler = compiler()?;
        let tools = short_hash([compiler.as_slice(), libtorch.as_os_str().as_encoded_bytes()]);
        let tools = context.settings.cache.join("workloads").join(tools);
        let sources = Sources::open(&context.settings.cache)?;
        let workshop = Self { folder: tools.join(sources_hash()), tools, sources };
        workshop.configure(&libtorch).map_err(|error| workshop.problem(&error))?;
        Ok(workshop)
    }

    /// The worker of a source's hash, if it is built.
    pub fn worker(&self, hash: &str) -> Option<PathBuf> {
        Some(self.folder.join("workers").join(hash).join("worker")).filter(|worker| worker.is_file())
    }

    /// Builds what all workloads have in common, so that the first of them is not the one that waits.
    pub fn prepare(&self, output: &dyn Output, interrupt: &Interrupt) -> Result<()> {
        let template = WorkloadCell::new(TEMPLATE, TEMPLATE_BODY, &Source::new(TEMPLATE_BODY, 0), 0)?;
        let mut status = Status::new(output);
        let built = self.build(&template, &mut status, interrupt);
        status.clear();
        built.map(drop)
    }

    /// The worker of a workload: the one that is there, or a new one.
    pub fn build(&self, body: &WorkloadCell, status: &mut Status<'_>, interrupt: &Interrupt) -> Result<Built> {
        let hash = body.hash();
        if let Some(built) = self.built(&hash) {
            return Ok(built);
        }
        let _lock = self.lock(status, interrupt)?;
        let krate = self.folder.join("crates").join(&body.name);
        self.write_crate(&krate, body, vec![]).map_err(|error| self.problem(&error))?;
        let started = Instant::now();
        let mut compiling = String::from("its crates");
        let mut watch = |progress: Progress<'_>| {
            if let Progress::Compiling(name) = progress {
                compiling = name.to_string();
            }
            let seconds = started.elapsed().as_secs();
            status.say(&format!("Building `{}`: compiling {compiling}, {seconds} s", body.name));
        };
        watch(Progress::Tick);
        cargo::build(&krate, &self.target(), interrupt, &mut watch)?;
        self.keep(&krate, &body.name, &hash).map_err(|error| self.problem(&error))?;
        self.built(&hash).ok_or_else(|| self.problem(&std::io::Error::other("the worker is not where it was put")))
    }

    fn target(&self) -> PathBuf {
        self.tools.join("target")
    }

    fn built(&self, hash: &str) -> Option<Built> {
        let worker = self.worker(hash)?;
        let lock = fs::read_to_string(worker.with_file_name("Cargo.lock")).ok()?;
        Some(Built { worker, lock })
    }

    /// Puts a built worker where its hash finds it, whole or not at all.
    fn keep(&self, krate: &Path, name: &str, hash: &str) -> std::io::Result<()> {
        let workers = self.folder.join("workers");
        fs::create_dir_all(&workers)?;
        let folder = tempfile::tempdir_in(&workers)?;
        fs::copy(self.target().join("release").join(worker_name(name)), folder.path().join("worker"))?;
        fs::copy(krate.join("Cargo.lock"), folder.path().join("Cargo.lock"))?;
        let place = workers.join(hash);
        if place.exists() {
            fs::remove_dir_all(&place)?;
        }
        fs::rename(folder.keep(), place)
    }

    fn write_crate(&self, krate: &Path, body: &WorkloadCell, beside: Vec<Dependency>) -> std::io::Result<()> {
        fs::create_dir_all(krate.join("src"))?;
        // A file that did not change keeps its time, and cargo its results.
        let write = |name: &str, text: &str| {
            let path = krate.join(name);
            match fs::read_to_string(&path) {
                Ok(old) if old == text => Ok(()),
                _ => fs::write(path, text),
            }
        };
        let needed = [("tunebook-study", "magics/study"), ("tunebook-training", "magics/training")];
        let needed = needed.map(|(name, folder)| Dependency::new(name, self.sources.folder(folder)));
        write("Cargo.toml", &body.manifest(needed.into_iter().chain(beside)))?;
        write("src/lib.rs", &body.library())?;
        write("src/main.rs", &body.main())?;
        let lock = krate.join("Cargo.lock");
        if !lock.exists() {
            let template = self.folder.join("crates").join(TEMPLATE).join("Cargo.lock");
            let text = match fs::read_to_string(template) {
                Ok(text) => text.replace(&format!("name = \"{TEMPLATE}\""), &format!("name = \"{}\"", body.name)),
                Err(_) => fs::read_to_string(self.sources.lock_file())?,
            };
            fs::write(lock, text)?;
        }
        Ok(())
    }

    /// The crate of a workload for cells: one of its own for each source, since cells go on to use the one that they began
    /// with.
    pub fn crate_for_cells(&self, body: &WorkloadCell) -> Result<PathBuf> {
        let krate = self.folder.join("cells").join(body.hash());
        // With all that cells build upon among its own dependencies, adding it changes no version of theirs.
        let CellCrate { name, path, features } = CellCrate::tunebook_with_tensors(&self.sources);
        let beside = Dependency { features, ..Dependency::new(&name, path) };
        self.write_crate(&krate, body, vec![beside]).map_err(|error| self.problem(&error))?;
        Ok(krate)
    }

    /// Waits for other kernels that build here.
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

    /// Has cargo find libtorch for all that is built below the folder.
    fn configure(&self, libtorch: &Path) -> std::io::Result<()> {
        let place = self.folder.join(".cargo/config.toml");
        if place.exists() {
            return Ok(());
        }
        let folder = libtorch.display().to_string();
        let rpath = format!("link-arg=-Wl,-rpath,{folder}/lib");
        let config = format!(
            "[env]\nLIBTORCH = {{ value = {folder:?}, force = true }}\nLIBTORCH_CXX11_ABI = {{ value = \"1\", force = true }}\n\n\
             [target.'cfg(all())']\nrustflags = [\"-C\", {rpath:?}]\n"
        );
        fs::create_dir_all(self.folder.join(".cargo"))?;
        // Whole or not at all: another kernel may be building by it.
        let file = tempfile::NamedTempFile::new_in(&self.folder)?;
        fs::write(file.path(), config)?;
        file.persist(place).map(drop).map_err(|error| error.error)
    }

    fn problem(&self, error: &std::io::Error) -> MagicError {
        let message = format!("workloads are built in {}, which failed: {error}", self.folder.display());
        MagicError::new(ErrorName::BuildError, message, Some("TUNEBOOK_CACHE names another folder".into()))
    }
}

/// What the compiler says of itself.
fn compiler() -> Result<Vec<u8>> {
    let output = Command::new("rustc").arg("-vV").output();
    let output = output.map_err(|error| {
        let message = format!("a %%workload is built with Rust, and `rustc` could not be started: {error}");
        MagicError::new(ErrorName::NoToolchain, message, Some("install Rust (rustup.rs) and restart the kernel".into()))
    })?;
    Ok(output.stdout)
}
