//! What the magics of one kernel share: where things are, the warm slots, and what front ends have been shown.

use super::Catalogue;
use crate::error::{ErrorName, MagicError, Result, Source, suggest};
use crate::host::Output;
use crate::report::ChartLoader;
use crate::syntax::Word;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::path::PathBuf;
use tunebook_pool::{Devices, Environment, Pool};
use tunebook_study::store::{Store, StudyRecord};

/// Where things are.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The store's file; made with its folder when the first study is written.
    pub store: PathBuf,
    /// The command that starts a slot (`tunebook slot`).
    pub slot: Vec<String>,
    /// The worker's executable.
    pub worker: PathBuf,
    /// Where things are built.
    pub cache: PathBuf,
}

/// Shared by all magics of a kernel.
pub struct Context {
    /// Where things are.
    pub settings: Settings,
    /// Slots that stay warm between sweeps; taken out while a sweep uses them.
    pub pool: Mutex<Option<Pool>>,
    /// Where `%cd -` leads.
    pub previous_folder: Mutex<Option<PathBuf>>,
    /// The script that draws charts.
    pub charts: ChartLoader,
    /// All magics.
    pub catalogue: Catalogue,
    /// What the session changes of the environment, as of the last magic.
    environment: Mutex<Environment>,
}

impl Context {
    /// Nothing is opened or started yet.
    pub fn new(mut settings: Settings, catalogue: Catalogue) -> Self {
        // `%cd` must not lead to another store.
        for path in [&mut settings.store, &mut settings.cache] {
            if let Ok(absolute) = std::path::absolute(&path) {
                *path = absolute;
            }
        }
        Self {
            settings,
            pool: Mutex::default(),
            previous_folder: Mutex::default(),
            environment: Mutex::default(),
            charts: ChartLoader::default(),
            catalogue,
        }
    }

    /// Learns what the session changes of the environment.
    pub fn learn_environment(&self, output: &dyn Output) {
        if let Some(session) = output.session() {
            *self.environment.lock() = Environment(session.environment());
        }
    }

    /// What the session changes of the kernel's environment.
    pub fn added_environment(&self) -> Environment {
        self.environment.lock().clone()
    }

    /// The environment of cells, shell and programs, by name. What is no text is shown as well as it can be.
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

    /// The store for writing.
    pub fn store(&self) -> Result<Store> {
        Ok(Store::open(&self.settings.store)?)
    }

    /// The store for reading and the study that a word names.
    pub fn study(&self, source: &Source, word: &Word) -> Result<(Store, StudyRecord)> {
        self.find_study(&word.text)?.map_err(|unknown| {
            let message = format!("there is no study `{}`", word.text);
            source.error(ErrorName::UnknownStudy, word.span.clone(), message, unknown)
        })
    }

    /// The store for reading and the study of a name; where there is none, what to do instead.
    pub fn find_study(&self, name: &str) -> Result<std::result::Result<(Store, StudyRecord), Option<String>>> {
        let Some(store) = Store::open_to_read(&self.settings.store)? else { return Ok(Err(self.no_study(name, &[]))) };
        match store.study(name)? {
            Some(study) => Ok(Ok((store, study))),
            None => {
                let names: Vec<String> = store.studies()?.into_iter().map(|study| study.name).collect();
                Ok(Err(self.no_study(name, &names)))
            }
        }
    }

    fn no_study(&self, name: &str, names: &[String]) -> Option<String> {
        if names.is_empty() {
            return Some(format!("{} holds no study yet; a %%sweep makes one", self.settings.store.display()));
        }
        suggest(name, names.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// The folder of the libtorch that workers use.
    pub fn libtorch(&self) -> Result<PathBuf> {
        let (devices, problem) = self.devices();
        devices
            .libtorch_folder
            .ok_or_else(|| MagicError::new(ErrorName::WorkerError, problem.unwrap_or_default(), None))
    }

    /// The devices, and why no worker can tell of GPUs where none can.
    pub fn devices(&self) -> (Devices, Option<String>) {
        let (devices, problem) = tunebook_pool::devices(&self.settings.worker, &self.added_environment());
        (devices, problem.map(|problem| problem.to_string()))
    }
}
