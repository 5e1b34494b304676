//! What a run of a study takes from the session. It is read once, on the thread of the cell: what the user types while
//! a sweep runs in the background holds for the next sweep.

use super::plan::SweepOptions;
use crate::error::Result;
use crate::files;
use crate::magic::Context;
use std::path::PathBuf;
use std::time::Duration;
use tunebook_pool::{Devices, Environment, FarPool};
use tunebook_study::WorkloadReference;

/// The session as it was when a run began.
#[derive(Clone, Debug)]
pub struct RunContext {
    /// The folder of the kernel. Programs run in it, and relative paths begin there.
    pub folder: PathBuf,
    /// The file of the store.
    pub store: PathBuf,
    /// What the session changes in the environment.
    pub environment: Environment,
    /// The number of trials that run at the same time. None for all slots.
    pub parallel: Option<usize>,
    /// The number of trials that share a GPU.
    pub per_gpu: usize,
    /// The time limit of a trial.
    pub timeout: Option<Duration>,
    /// The pools beyond this machine, for the start of the run.
    pub pools: Vec<FarPool>,
    /// Whether no trial runs on this machine.
    pub without_local: bool,
}

impl RunContext {
    /// The session as it is now. What the options leave open is taken from its settings.
    pub fn new(context: &Context, options: &SweepOptions) -> Result<Self> {
        let pools = context.pools.lock();
        Ok(Self {
            folder: files::current()?,
            store: context.store_file(),
            environment: context.added_environment(),
            parallel: options.parallel.or_else(|| context.config.parallel()),
            per_gpu: options.per_gpu.or_else(|| context.config.per_gpu()).unwrap_or(1),
            timeout: options.timeout.or_else(|| context.config.timeout()),
            pools: pools.far.clone(),
            without_local: pools.without_local,
        })
    }

    /// The devices on which trials of a workload can run, and the reason if the worker cannot be asked for GPUs.
    pub fn devices(&self, context: &Context, workload: &WorkloadReference) -> (Devices, Option<String>) {
        let (devices, problem) = context.devices_in(&self.environment);
        (usable(devices, workload), problem)
    }
}

/// The devices that a workload can use: all for a program, and those of libtorch for what the worker trains.
fn usable(devices: Devices, workload: &WorkloadReference) -> Devices {
    match workload {
        WorkloadReference::Command(_) => devices,
        _ => devices.for_libtorch(),
    }
}

/// Says why trials of a workload do not run on the GPUs that the driver lists. None if there are no such GPUs, and for
/// a program, which can use them.
pub fn note_of_gpus(devices: &Devices, workload: &WorkloadReference) -> Option<String> {
    let count = match workload {
        WorkloadReference::Command(_) => 0,
        _ => devices.unusable().count(),
    };
    let gpus = match count {
        0 => return None,
        1 => "the GPU of this machine".to_string(),
        count => format!("the {count} GPUs of this machine"),
    };
    Some(format!(
        "This libtorch cannot use {gpus}, so the trials run on processors. It is a build for processors, or the driver \
         is too old for it."
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::magic::SettingValue;
    use crate::testing::context;
    use tunebook_study::ProgramLine;

    #[test]
    fn what_is_typed_later_does_not_change_a_run() {
        let folder = tempfile::tempdir().unwrap();
        let context = context(folder.path());
        let options = SweepOptions { per_gpu: Some(3), ..SweepOptions::default() };
        context.config.set("trials.per_gpu", SettingValue::Count(2));
        context.config.set("trials.timeout", SettingValue::Duration(Duration::from_secs(5)));
        let run = RunContext::new(&context, &options).unwrap();
        context.config.set("trials.timeout", SettingValue::Duration(Duration::from_secs(9)));
        context.config.set("trials.parallel", SettingValue::Count(7));
        context.pools.lock().without_local = true;
        assert_eq!((run.timeout, run.per_gpu), (Some(Duration::from_secs(5)), 3), "an option comes first");
        assert_eq!((run.parallel, run.without_local), (None, false));
        let later = RunContext::new(&context, &SweepOptions::default()).unwrap();
        assert_eq!((later.timeout, later.per_gpu), (Some(Duration::from_secs(9)), 2));
        assert_eq!((later.parallel, later.without_local), (Some(7), true));
    }

    #[test]
    fn gpus_that_libtorch_cannot_use_are_those_of_programs() {
        let gpu = |index: u32| {
            let device = serde_json::json!({ "id": format!("cuda:{index}"), "kind": "cuda", "name": "H100",
                "usable_by_libtorch": false });
            serde_json::from_value(device).unwrap()
        };
        let devices = Devices { devices: vec![gpu(0), gpu(1)], libtorch: None, driver: None, libtorch_folder: None };
        let program = WorkloadReference::Command(ProgramLine { words: vec!["train".into()], optional: vec![] });
        let builtin = WorkloadReference::Builtin { name: "digits_mlp".into() };
        assert_eq!(usable(devices.clone(), &program).devices.len(), 2);
        assert!(usable(devices.clone(), &builtin).devices.is_empty());
        assert_eq!(note_of_gpus(&devices, &program), None);
        let note = note_of_gpus(&devices, &builtin).unwrap();
        assert!(note.contains("cannot use the 2 GPUs") && note.contains("run on processors"), "{note}");
        assert_eq!(note_of_gpus(&devices.for_libtorch(), &builtin), None);
    }
}
