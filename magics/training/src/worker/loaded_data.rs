//! The data of the last trial, which the worker keeps for the next ones.

use crate::batches::keeps_data_on_host;
use crate::data::{Data, FileState, recorded_states, start_recording};
use crate::hyperparameters::Hyperparameters;
use crate::trainer::Stop;
use crate::workload::Workload;
use std::path::PathBuf;
use tch::{Device, Tensor};
use tunebook_study::Params;
use tunebook_study::protocol::DataSource;

/// The largest size in bytes of training data that are copied to a GPU as a whole. Larger data stay in the host's
/// memory, and their batches are copied ahead of their steps.
const RESIDENT_BYTES: usize = 4 << 30;

/// The data of a workload, with everything that they depend on.
pub(super) struct LoadedData {
    workload: String,
    /// The study that they were loaded for.
    study: String,
    /// The hyperparameters that the workload read while it loaded the data.
    depends_on: Params,
    pub data: Data,
    /// The files that the data were read from.
    pub sources: Vec<DataSource>,
    /// The hash of the validation examples.
    pub validation: String,
    /// The state of these files before they were read. None if it does not tell whether they change.
    files: Vec<(PathBuf, Option<FileState>)>,
}

impl LoadedData {
    pub fn load(
        name: &str,
        workload: &dyn Workload,
        hp: &Hyperparameters,
        device: Device,
        study: &str,
    ) -> Result<Self, Stop> {
        hp.forget_reads();
        start_recording();
        let data = load(workload, hp)?;
        let depends_on = hp.read_values();
        let validation = data.valid.hash();
        let data = place_data(data, device);
        let (sources, files) =
            recorded_states().into_iter().map(|(source, state)| (source.clone(), (source.path, state))).unzip();
        Ok(Self { workload: name.into(), study: study.into(), depends_on, data, sources, validation, files })
    }

    /// The hyperparameters that the workload read while it loaded the data.
    pub fn depends_on(&self) -> &Params {
        &self.depends_on
    }

    /// Returns whether a workload with these hyperparameters would load the same data: it reads the same files, and
    /// none of them was written since. If no file is known, the code may read some in a way of its own, so that these
    /// data serve the trials of one study only.
    pub fn serves(&self, name: &str, hp: &Hyperparameters, study: &str) -> bool {
        self.workload == name
            && self.depends_on.iter().all(|(name, value)| hp.known().get(name) == Some(value))
            && (self.study == study || !self.files.is_empty())
            && self.files.iter().all(|(path, state)| state.is_some() && FileState::of(path) == *state)
    }
}

/// Loads the data of a workload and checks them. What the code draws from libtorch's generators is the same each time,
/// whatever the process has computed before.
pub(crate) fn load(workload: &dyn Workload, hp: &Hyperparameters) -> Result<Data, Stop> {
    tch::manual_seed(0);
    Ok(workload.data(hp)?.checked()?)
}

/// Copies data to the device, unless they are larger than [`RESIDENT_BYTES`]. `TUNEBOOK_DATA=device` copies data of any
/// size, and `TUNEBOOK_DATA=host` none.
pub(crate) fn place_data(data: Data, device: Device) -> Data {
    let bytes = |tensor: &Tensor| tensor.numel() * tensor.kind().elt_size_in_bytes();
    let size = bytes(&data.train.inputs) + bytes(&data.train.targets);
    let any_size = std::env::var("TUNEBOOK_DATA").is_ok_and(|place| place == "device");
    let fits = !keeps_data_on_host() && (any_size || size <= RESIDENT_BYTES);
    if fits { data.to_device(device) } else { data }
}
