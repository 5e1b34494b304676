//! Reads what studies have trained: the checkpoints of trials, and the models with their weights.

use anyhow::{Context, Result, anyhow, bail};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::OnceLock;
use tch::{Device, Tensor};
use tunebook_study::store::{Store, StudyRecord, default_store, trials_folder};
use tunebook_study::{Trial, WorkloadReference};
use tunebook_training::catalogue::{Catalogue, Trainable};
use tunebook_training::data::{Predictions, Table};
use tunebook_training::model::Model;
use tunebook_training::randomness::Randomness;
use tunebook_training::{Data, Hyperparameters, Workload, describe, workloads};

/// The weights of a trial's best checkpoint, by name.
pub struct Checkpoint {
    tensors: BTreeMap<String, Tensor>,
    path: PathBuf,
}

impl Checkpoint {
    /// The weights with a name, such as `linear0.weight`. An unknown name is an error that lists all names.
    pub fn get(&self, name: &str) -> Result<&Tensor> {
        self.tensors.get(name).ok_or_else(|| {
            let names: Vec<&str> = self.tensors.keys().map(String::as_str).collect();
            anyhow!("{} has no `{name}`; it has {}", self.path.display(), names.join(", "))
        })
    }

    /// All weights by name.
    pub fn tensors(&self) -> &BTreeMap<String, Tensor> {
        &self.tensors
    }
}

/// The path, and the name, shape and type of each tensor.
impl std::fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.path.display())?;
        for (name, tensor) in &self.tensors {
            write!(f, "\n{name}: {:?} {:?}", tensor.size(), tensor.kind())?;
        }
        Ok(())
    }
}

/// Reads the best checkpoint of a trial.
///
/// # Errors
///
/// An error if there is no such study or trial, or if the trial has left no checkpoint.
pub fn checkpoint(study: &str, trial: u32) -> Result<Checkpoint> {
    let (study, trial) = find(study, trial)?;
    let path = best(&study, &trial)?;
    let tensors = tunebook_training::checkpoint::read(&path)?.into_iter().collect();
    Ok(Checkpoint { tensors, path })
}

/// A model with the weights of the best checkpoint of a trial.
pub struct Trained {
    workload: &'static dyn Workload,
    model: Model<'static>,
    /// Two training examples, with the encoding of the data that the model was trained on.
    few: Data,
}

impl Trained {
    /// The outputs for a batch of inputs, as in an evaluation: without dropout and gradients.
    pub fn predict(&self, inputs: &Tensor) -> Tensor {
        self.model.predict(inputs)
    }

    /// What the model predicts for new rows of a table: their classes, or numbers in the original unit of the target.
    /// The rows are encoded and standardized as the training data of the model were.
    ///
    /// ```no_run
    /// # fn f(best: tunebook::Trained) -> anyhow::Result<()> {
    /// let rows = tunebook_training::data::Table::read("new.csv")?;
    /// println!("{:?}", best.predict_rows(&rows)?.classes);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// An error if the data of the workload do not come from a `Table`, or if the rows lack one of its columns.
    pub fn predict_rows(&self, rows: &Table) -> Result<Predictions> {
        self.few.decode(&self.predict(&self.few.encode(rows)?))
    }

    /// The training and validation data of the trial.
    pub fn data(&self) -> Result<Data> {
        self.workload.data(self.model.hyperparameters())
    }

    /// The hyperparameters of the trial.
    pub fn hyperparameters(&self) -> &Hyperparameters {
        self.model.hyperparameters()
    }

    /// The model itself.
    pub fn model(&self) -> &Model<'static> {
        &self.model
    }
}

/// Loads the model of a trial of a built-in workload. Errors are those of [`checkpoint`].
pub fn model(study: &str, trial: u32) -> Result<Trained> {
    static BUILTIN: OnceLock<Catalogue> = OnceLock::new();
    let (study, trial) = find(study, trial)?;
    let name = match &study.definition.workload {
        WorkloadReference::Builtin { name } => name,
        WorkloadReference::Rust { name, .. } => {
            bail!(
                "`{}` trains the workload `{name}` of your own: tunebook::model_of({name}::…, …) loads it",
                study.name
            )
        }
        WorkloadReference::Command { .. } => bail!("`{}` trains a program, whose models are its own", study.name),
        WorkloadReference::Imported { .. } => bail!("`{}` was imported, and has no models here", study.name),
    };
    let Some(Trainable::Workload(workload)) = BUILTIN.get_or_init(workloads::builtin).find(name) else {
        bail!("there is no workload `{name}` here");
    };
    trained(workload.as_ref(), name, &study, &trial)
}

/// Loads the model of a trial of a `%%workload`. Errors are those of [`checkpoint`].
///
/// ```no_run
/// # struct Wine;
/// # use tunebook_training::prelude::*;
/// # impl Workload for Wine {
/// #     fn data(&self, _: &Hyperparameters) -> Result<Data> { anyhow::bail!("") }
/// #     fn forward(&self, net: &Net, x: &Tensor) -> Tensor { net.linear("y", x, 1) }
/// # }
/// let best = tunebook::model_of(Wine, "wines", 3)?;
/// let valid = best.data()?.valid;
/// let wrong = best.predict(&valid.inputs).argmax(-1, false).not_equal_tensor(&valid.targets);
/// println!("{} of {} wrong", wrong.sum(tch::Kind::Int64), valid.count());
/// # Ok::<(), anyhow::Error>(())
/// ```
pub fn model_of(workload: impl Workload + 'static, study: &str, trial: u32) -> Result<Trained> {
    let (study, trial) = find(study, trial)?;
    let name = study.definition.workload.to_string();
    // A model borrows its workload. A model in a variable of a cell must borrow it for as long as the process lives.
    trained(Box::leak(Box::new(workload)), &name, &study, &trial)
}

fn trained(workload: &'static dyn Workload, name: &str, study: &StudyRecord, trial: &Trial) -> Result<Trained> {
    let path = best(study, trial)?;
    let hp = || Hyperparameters::new(&describe(name, "", workload), &trial.params);
    // The data of today may be others than those that the model was trained on.
    let few = match Data::kept(&path.with_file_name(tunebook_training::checkpoint::DATA))? {
        Some(kept) => kept,
        None => workload.data(&hp()?)?.few(2),
    };
    let model = Model::new(workload, hp()?, Randomness::new(trial.seed), Device::Cpu, &few.train.inputs);
    model.load(&path)?;
    Ok(Trained { workload, model, few })
}

fn find(study: &str, trial: u32) -> Result<(StudyRecord, Trial)> {
    let path = default_store();
    let store = Store::open_to_read(&path)?.with_context(|| format!("{} holds no studies yet", path.display()))?;
    let Some(record) = store.study(study)? else {
        let names: Vec<String> = store.studies()?.into_iter().map(|study| study.name).collect();
        bail!("there is no study `{study}`; there are {}", names.join(", "));
    };
    let trials = store.trials(&record)?;
    let last = trials.last().map_or(0, |trial| trial.number);
    let found = trials.into_iter().find(|t| t.number == trial);
    Ok((record, found.with_context(|| format!("`{study}` has no trial {trial}; its trials are 1 to {last}"))?))
}

/// The path of the best checkpoint of a trial.
fn best(study: &StudyRecord, trial: &Trial) -> Result<PathBuf> {
    let folder = trials_folder(&default_store(), &study.name)?;
    let path = folder.join(trial.number.to_string()).join(tunebook_training::checkpoint::BEST);
    if !path.is_file() {
        bail!(
            "trial {} of `{}` ({}) left no checkpoint: there is no {}",
            trial.number,
            study.name,
            trial.state,
            path.display()
        );
    }
    Ok(path)
}
