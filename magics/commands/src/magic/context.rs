//! The state that the magics of one kernel share.

use super::store_file::StoreFile;
use super::{Background, Catalogue, Config, Pools, Sharing};
use crate::error::{ErrorName, MagicError, Result, Source, suggest};
use crate::host::Output;
use crate::report::{ChartLoader, Report};
use crate::syntax::Word;
use parking_lot::Mutex;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use tunebook_pool::{Devices, Environment, Pool};
use tunebook_study::store::{STUDIES, Store, StudyRecord};

/// The kind of the results that [`Context::keep_shown`] records.
pub const SHOWN: &str = "shown";

/// Paths and commands that the kernel configures.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The file of the store at the start of the kernel. It is created with its folder when the first study is written.
    pub first_store: PathBuf,
    /// The command that starts a slot, which is a process that runs trials on one device (`tunebook slot`).
    pub slot: Vec<String>,
    /// The command that ends slots elsewhere once the kernel is gone (`tunebook guard`).
    pub guard: Vec<String>,
    /// The executable of the worker, which trains the built-in workloads.
    pub worker: PathBuf,
    /// The folder in which workloads and crates for cells are built (`~/.cache/tunebook`).
    pub cache: PathBuf,
}

/// The state that all magics of a kernel share.
pub struct Context {
    /// This context, for what goes on after its cell.
    own: Weak<Context>,
    pub settings: Settings,
    /// Slots that keep running between sweeps. A sweep takes the pool out while it uses it.
    pub pool: Mutex<Option<Pool>>,
    /// The studies that run now, which share the slots.
    pub sharing: Sharing,
    /// The sweeps that run in the background.
    pub background: Background,
    /// The settings that `%config` has changed.
    pub config: Config,
    /// The pools that `%pool` has added.
    pub pools: Mutex<Pools>,
    /// The folder to which `%cd -` goes.
    pub previous_folder: Mutex<Option<PathBuf>>,
    /// Sends the script that draws charts.
    pub charts: ChartLoader,
    pub catalogue: Catalogue,
    /// The workloads whose last cell failed, so that the store still has an earlier version of them.
    pub failed_workloads: Mutex<BTreeSet<String>>,
    /// The changes that the session makes to the kernel's environment, as they were at the last magic.
    environment: Mutex<Environment>,
    store: Mutex<StoreFile>,
}

impl Context {
    /// A context with absolute paths. It opens and starts nothing yet.
    pub fn new(mut settings: Settings, catalogue: Catalogue) -> Arc<Self> {
        // Relative paths would change their meaning with `%cd`.
        for path in [&mut settings.first_store, &mut settings.cache] {
            if let Ok(absolute) = std::path::absolute(&path) {
                *path = absolute;
            }
        }
        let store = Mutex::new(StoreFile::new(&settings.first_store, None));
        Arc::new_cyclic(|own| Self {
            own: own.clone(),
            settings,
            store,
            pool: Mutex::default(),
            sharing: Sharing::default(),
            background: Background::default(),
            config: Config::default(),
            pools: Mutex::default(),
            previous_folder: Mutex::default(),
            failed_workloads: Mutex::default(),
            environment: Mutex::default(),
            charts: ChartLoader::default(),
            catalogue,
        })
    }

    /// This context, for a thread that goes on after its cell. None while the context is being dropped.
    pub fn shared(&self) -> Option<Arc<Self>> {
        self.own.upgrade()
    }

    /// Remembers the changes that the session makes to the environment. The store is that which `TUNEBOOK_STUDIES`
    /// names.
    pub fn update_environment(&self, output: &dyn Output) {
        let Some(session) = output.session() else { return };
        let environment = Environment(session.environment());
        let named = environment.get(STUDIES).map(|value| value.map(String::from));
        *self.environment.lock() = environment;
        let mut store = self.store.lock();
        if !store.is_named(&named) {
            *store = StoreFile::new(&self.settings.first_store, named);
        }
    }

    /// The changes that the session makes to the kernel's environment.
    pub fn added_environment(&self) -> Environment {
        self.environment.lock().clone()
    }

    /// All environment variables of cells, shell commands and programs. Bytes that are not UTF-8 are replaced.
    pub fn whole_environment(&self) -> BTreeMap<String, String> {
        let own = std::env::vars_os();
        let mut whole: BTreeMap<String, String> =
            own.map(|(name, value)| (name.to_string_lossy().into(), value.to_string_lossy().into())).collect();
        for (name, value) in self.added_environment().0 {
            match value {
                Some(value) => whole.insert(name, value),
                None => whole.remove(&name),
            };
        }
        whole
    }

    /// The file of the store.
    pub fn store_file(&self) -> PathBuf {
        self.store.lock().path().into()
    }

    /// Opens the store for writing, and creates it if it does not exist.
    pub fn store(&self) -> Result<Store> {
        self.store.lock().check()?;
        Ok(Store::open(&self.store_file())?)
    }

    /// Records what a magic shows about a workload or a study, for `%report`. It replaces what the same magic showed of
    /// the same subject before.
    pub fn keep_shown(&self, magic: &str, subject: &str, report: &Report) -> Result<()> {
        let record = json!({ "magic": magic, "subject": subject, "bundle": report.clone().bundle() });
        let name = magic.split_whitespace().next().unwrap_or(magic);
        Ok(self.store()?.keep_conclusion(SHOWN, &format!("{name} {subject}"), &record)?)
    }

    /// Opens the store for reading. None if there is none yet.
    pub fn store_to_read(&self) -> Result<Option<Store>> {
        self.store.lock().check()?;
        Ok(Store::open_to_read(&self.store_file())?)
    }

    /// Opens the store for reading, and finds the study that a word names. `UnknownStudy` if there is none.
    pub fn study(&self, source: &Source, word: &Word) -> Result<(Store, StudyRecord)> {
        self.find_study(&word.text)?.map_err(|help| {
            let message = format!("there is no study `{}`", word.text);
            source.error(ErrorName::UnknownStudy, word.span.clone(), message, help)
        })
    }

    /// Opens the store for reading, and finds a study by its name. If there is none, the inner error is help for the
    /// user.
    pub fn find_study(&self, name: &str) -> Result<std::result::Result<(Store, StudyRecord), Option<String>>> {
        let Some(store) = self.store_to_read()? else {
            return Ok(Err(self.help_without_study(name, &[])));
        };
        match store.study(name)? {
            Some(study) => Ok(Ok((store, study))),
            None => {
                let names: Vec<String> = store.studies()?.into_iter().map(|study| study.name).collect();
                Ok(Err(self.help_without_study(name, &names)))
            }
        }
    }

    fn help_without_study(&self, name: &str, names: &[String]) -> Option<String> {
        if names.is_empty() {
            return Some(format!("{} contains no study yet; %%sweep creates one", self.store_file().display()));
        }
        suggest(name, names.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// The folder of the libtorch that workers use. `WorkerError` if there is none.
    pub fn libtorch(&self) -> Result<PathBuf> {
        let (devices, problem) = self.devices();
        devices
            .libtorch_folder
            .ok_or_else(|| MagicError::new(ErrorName::WorkerError, problem.unwrap_or_default(), None))
    }

    /// The devices, and the reason if the worker cannot be asked for GPUs.
    pub fn devices(&self) -> (Devices, Option<String>) {
        self.devices_in(&self.added_environment())
    }

    /// The devices that processes with this environment can use.
    pub fn devices_in(&self, environment: &Environment) -> (Devices, Option<String>) {
        let (devices, problem) = tunebook_pool::devices(&self.settings.worker, environment);
        (devices, problem.map(|problem| problem.to_string()))
    }
}
