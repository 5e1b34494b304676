//! The training pipeline: trains the model of a workload as a trial request says.
//!
//! The training loop never waits for the device. Losses and gradient norms stay on the device and are copied to the
//! host together, at most 50 steps late and before each evaluation.

mod broadcast;
mod evaluate;
mod files;
mod moving_ratio;
mod noise_scale;
mod run;
mod step;
mod stepper;
mod stop;

pub(crate) use stepper::Stepper;
pub use stop::Stop;

use self::run::Run;
use crate::data::Data;
use crate::hyperparameters::Hyperparameters;
use crate::libtorch::{Autocast, is_out_of_memory};
use crate::workload::Workload;
use tch::Device;
use tunebook_study::Measurement;
use tunebook_study::protocol::{DataSource, TrialRequest};

/// Receives the reports of a run, and decides whether it is cancelled.
pub trait Observer {
    /// Called with the files that the data were read from, and the hash of the validation examples.
    fn loaded(&mut self, sources: &[DataSource], validation: &str);
    /// Called with the metrics of a step.
    fn measured(&mut self, measurement: Measurement);
    /// Returns whether the run should end. It is asked before each step.
    fn cancelled(&self) -> bool;
}

/// Trains a workload from the first step to the last, or from the checkpoint at which an earlier run of the same trial
/// was killed.
///
/// `data` are on `device`, or in the host's memory, from which they are copied batch by batch. `sources` are the files
/// that they were read from. Checkpoints and series of values are written to the directory of the request. The run
/// fails if `batch_size` is more than the number of training examples.
pub fn train(
    workload: &dyn Workload,
    data: &Data,
    hp: Hyperparameters,
    request: &TrialRequest,
    device: Device,
    sources: &[DataSource],
    observer: &mut dyn Observer,
) -> Result<(), Stop> {
    let precision = hp.precision();
    let batch: i64 = hp.get("batch_size");
    let count = data.train.count();
    if batch > count {
        return Err(Stop::Failed(format!("batch_size ({batch}) is more than the {count} training examples")));
    }
    let _precision = Autocast::begin(precision);
    let mut run = Run::new(workload, data, hp, request, device, sources)?;
    let result = run.train(observer).map_err(|stop| match (stop, data.advice_on_targets()) {
        (Stop::Infeasible(reason), Some(advice)) if !is_out_of_memory(&reason) => {
            Stop::Infeasible(format!("{reason}. {advice}"))
        }
        (stop, _) => stop,
    });
    if !run.keeps_files() {
        return result;
    }
    // The series are written however the run ended. If both fail, the first reason is the one to report.
    result.and(run.save_series())
}
