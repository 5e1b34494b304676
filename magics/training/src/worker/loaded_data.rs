//! The data of the last trial, which the worker keeps for the next ones.

use crate::batches::keeps_data_on_host;
use crate::data::{Data, recorded, start_recording};
use crate::hyperparameters::Hyperparameters;
use crate::trainer::Stop;
use crate::workload::Workload;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use tch::{Device, Tensor};
use tunebook_study::Params;
use tunebook_study::protocol::DataSource;

/// The largest size in bytes of training data that are copied to a GPU as a whole. Larger data stay in the host's
/// memory, and their batches are copied ahead of their steps.
const RESIDENT_BYTES: usize = 4 << 30;

/// The data of a workload, with everything that they depend on.
pub(super) struct LoadedData {
    workload: String,
    /// The hyperparameters that the workload read while it loaded the data.
    depends_on: Params,
    pub data: Data,
    /// The files that the data were read from.
    pub sources: Vec<DataSource>,
    /// The state of these files when they were read.
    files: Vec<(PathBuf, Option<FileState>)>,
}

/// What changes when a file is written: its length, the time of its last change, and on Linux its inode.
#[derive(Clone, Copy, Debug, PartialEq)]
struct FileState {
    length: u64,
    changed: Option<SystemTime>,
    inode: u64,
}

impl FileState {
    /// The state of a file, or None if there is no such file.
    fn of(path: &Path) -> Option<Self> {
        let file = path.metadata().ok()?;
        let inode = std::os::unix::fs::MetadataExt::ino(&file);
        Some(Self { length: file.len(), changed: file.modified().ok(), inode })
    }
}

impl LoadedData {
    pub fn load(name: &str, workload: &dyn Workload, hp: &Hyperparameters, device: Device) -> Result<Self, Stop> {
        hp.forget_reads();
        start_recording();
        let data = workload.data(hp)?.checked()?;
        let depends_on = hp.read_values();
        let data = place_data(data, device);
        let sources = recorded();
        let files = sources.iter().map(|source| (source.path.clone(), FileState::of(&source.path))).collect();
        Ok(Self { workload: name.into(), depends_on, data, sources, files })
    }

    /// The hyperparameters that the workload read while it loaded the data.
    pub fn depends_on(&self) -> &Params {
        &self.depends_on
    }

    /// Returns whether a workload with these hyperparameters would load the same data: it reads the same files, and
    /// none of them was written since.
    pub fn serves(&self, name: &str, hp: &Hyperparameters) -> bool {
        self.workload == name
            && self.depends_on.iter().all(|(name, value)| hp.values().get(name) == Some(value))
            && self.files.iter().all(|(path, state)| FileState::of(path) == *state)
    }
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
