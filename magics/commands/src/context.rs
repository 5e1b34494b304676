//! What the magics of one kernel share: where things are, the warm slots, and what front ends have been shown.

use crate::error::{MagicError, Result, suggest};
use crate::output::Output;
use crate::syntax::{Source, Word};
use crate::workload::Workload;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;
use tunebook_pool::{Devices, Environment, Pool};
use tunebook_study::WorkloadReference;
use tunebook_study::store::{Store, StudyRecord, WorkloadRecord};

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
    /// What the session changes of the environment, as of the last magic.
    environment: Mutex<Environment>,
    loader: Mutex<Loader>,
}

/// Which cell carries the code that draws charts.
#[derive(Default)]
struct Loader {
    carrier: Option<String>,
}

impl Context {
    /// Nothing is opened or started yet.
    pub fn new(mut settings: Settings) -> Self {
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
            loader: Mutex::default(),
        }
    }

    /// Learns what the session changes of the environment.
    pub fn learn_environment(&self, output: &dyn Output) {
        if let (Some(session), Ok(mut environment)) = (output.session(), self.environment.lock()) {
            *environment = Environment(session.environment());
        }
    }

    /// What the session changes of the kernel's environment.
    pub fn added_environment(&self) -> Environment {
        self.environment.lock().map(|environment| environment.clone()).unwrap_or_default()
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
            source.error("UnknownStudy", word.span.clone(), message, unknown)
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

    /// What can be trained: the worker's own workloads and those that were defined beside this store.
    pub fn workloads(&self) -> Result<Vec<Workload>> {
        let builtin = tunebook_pool::describe(&self.settings.worker)
            .map_err(|error| MagicError::new("WorkerError", error.to_string(), None))?;
        let builtin = builtin.into_iter().map(|description| Workload {
            reference: WorkloadReference::Builtin { name: description.name.clone() },
            description,
        });
        let defined = match Store::open_to_read(&self.settings.store)? {
            Some(store) => store.workloads()?,
            None => vec![],
        };
        let defined = defined.into_iter().map(|WorkloadRecord { name, source, description, .. }| Workload {
            reference: WorkloadReference::Rust { name, source },
            description,
        });
        Ok(builtin.chain(defined).collect())
    }

    /// The folder of the libtorch that workers use.
    pub fn libtorch(&self) -> Result<PathBuf> {
        let (devices, problem) = self.devices();
        devices.libtorch_folder.ok_or_else(|| MagicError::new("WorkerError", problem.unwrap_or_default(), None))
    }

    /// The devices, and why no worker can tell of GPUs where none can.
    pub fn devices(&self) -> (Devices, Option<String>) {
        let (devices, problem) = tunebook_pool::devices(&self.settings.worker, &self.added_environment());
        (devices, problem.map(|problem| problem.to_string()))
    }

    /// Sends the code that draws charts where the front end does not have it: with the first chart, and again when the
    /// cell that carried it runs again, since that wipes it. A front end that does not name its cells gets it with each
    /// chart.
    pub fn load_charts(&self, output: &dyn Output) {
        let cell = output.cell_id();
        let Ok(mut loader) = self.loader.lock() else { return };
        if cell.is_some() && loader.carrier.is_some() && loader.carrier != cell {
            return;
        }
        loader.carrier = cell;
        let mut bundle = crate::output::plain("");
        bundle.insert("text/html".into(), json!(tunebook_charts::html::loader()));
        output.display(bundle, None);
    }
}
