//! A trial as a training function sees it.

use crate::hyperparameters::{FromValue, Hyperparameters};
use crate::randomness::Randomness;
use crate::trainer::{Observer, Stop};
use std::path::Path;
use std::time::Instant;
use tch::Device;
use tunebook_study::protocol::TrialRequest;
use tunebook_study::{Direction, Measurement};

/// The argument of a training function: the hyperparameters of one trial, and where to report its metrics.
///
/// ```
/// # use tunebook_training::prelude::*;
/// fn train(trial: &mut Trial) -> Result<()> {
///     let (lr, steps): (f64, u64) = (trial.get("lr"), trial.get("steps"));
///     let mut x = 1.0;
///     for step in 1..=steps {
///         x -= lr * 2.0 * x;
///         trial.report(step, &[("height", x * x)])?;
///     }
///     Ok(())
/// }
/// ```
pub struct Trial<'a> {
    hp: Hyperparameters,
    request: &'a TrialRequest,
    device: Device,
    observer: &'a mut dyn Observer,
    started: Instant,
    /// Whether a finite value of the objective was reported.
    reported: bool,
    /// The reason why the trial is infeasible, if a value that had to be finite was not.
    non_finite: Option<String>,
    /// Whether the target was reached; None while that is open, and in trials without a target.
    verdict: Option<bool>,
}

impl<'a> Trial<'a> {
    pub(crate) fn new(
        hp: Hyperparameters,
        request: &'a TrialRequest,
        device: Device,
        observer: &'a mut dyn Observer,
    ) -> Self {
        Self {
            hp,
            request,
            device,
            observer,
            started: Instant::now(),
            reported: false,
            non_finite: None,
            verdict: None,
        }
    }

    /// Returns the value of a hyperparameter in the type that is asked for: a float, an integer, `bool` or `String`.
    ///
    /// It panics, and the trial fails, if the function declares no hyperparameter of this name or if the value does not
    /// fit the type.
    ///
    /// ```
    /// # use tunebook_training::prelude::*;
    /// # fn f(trial: &mut Trial) {
    /// let lr: f64 = trial.get("lr");
    /// # }
    /// ```
    #[track_caller]
    pub fn get<T: FromValue>(&self, name: &str) -> T {
        self.hp.get(name)
    }

    /// Returns all hyperparameters.
    pub fn hyperparameters(&self) -> &Hyperparameters {
        &self.hp
    }

    /// Returns the device to compute on: the GPU of the worker's slot, or the CPU.
    pub fn device(&self) -> Device {
        self.device
    }

    /// Returns the seed that all random numbers of the trial should follow from.
    pub fn seed(&self) -> u64 {
        self.request.seed
    }

    /// Returns random numbers by key, which follow from the seed of the trial.
    pub fn randomness(&self) -> Randomness {
        Randomness::new(self.request.seed)
    }

    /// Returns the number of the trial in its study, from 1.
    pub fn number(&self) -> u32 {
        self.request.trial.number
    }

    /// Returns the trial's own folder for files to keep. A file `best.safetensors` or `last.safetensors` in it is taken
    /// as the checkpoint with the best objective or of the last step.
    pub fn directory(&self) -> &Path {
        &self.request.directory
    }

    /// Reports metrics at a step, and returns an error if the trial should end; leave the function with `?` then.
    ///
    /// It fails if the objective or `train/loss` is not finite, which makes the trial infeasible, if the trial was
    /// cancelled, or if it is decided whether the trial reaches the target that it was started for. A function that
    /// ends without a finite value of the objective has failed.
    ///
    /// ```
    /// # use tunebook_training::prelude::*;
    /// # fn f(trial: &mut Trial, step: u64, loss: f64, error: f64) -> Result<()> {
    /// trial.report(step, &[("train/loss", loss), ("valid/error", error)])?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn report(&mut self, step: u64, metrics: &[(&str, f64)]) -> anyhow::Result<()> {
        let finite = |value: f64| Some(value).filter(|value| value.is_finite());
        let measured = metrics.iter().map(|(name, value)| ((*name).to_string(), finite(*value))).collect();
        let seconds = self.started.elapsed().as_secs_f64();
        self.observer.measured(Measurement { step, seconds, metrics: measured });
        for (name, value) in metrics {
            let objective = *name == self.request.objective;
            self.reported |= objective && value.is_finite();
            if !value.is_finite() && (objective || *name == "train/loss") {
                let reason = format!("`{name}` became non-finite at step {step}");
                self.non_finite = Some(reason.clone());
                anyhow::bail!(reason);
            }
            if let Some(until) = self.request.until.filter(|_| objective) {
                self.verdict = until.verdict(self.request.direction, *value, step);
                anyhow::ensure!(self.verdict.is_none(), "it is decided whether the trial reaches its target");
            }
        }
        anyhow::ensure!(!self.observer.cancelled(), "the trial was cancelled");
        Ok(())
    }

    /// Returns whether the trial was cancelled. The function should then return soon.
    pub fn should_stop(&self) -> bool {
        self.observer.cancelled()
    }

    /// Returns whether smaller or larger values of the objective are better.
    pub fn direction(&self) -> Direction {
        self.request.direction
    }

    /// Returns how the trial ended, from the result of its function and from what it reported.
    pub(crate) fn outcome(self, result: anyhow::Result<()>) -> Result<(), Stop> {
        let objective = &self.request.objective;
        match (self.non_finite, result) {
            (Some(reason), _) => Err(Stop::Infeasible(reason)),
            _ if self.verdict == Some(true) => Ok(()),
            _ if self.verdict == Some(false) => {
                Err(Stop::Stopped(self.request.until.map_or(String::new(), |until| until.reason(objective))))
            }
            _ if self.observer.cancelled() => Err(Stop::Cancelled),
            (None, Err(error)) => Err(Stop::from_message(&format!("{error:#}"))),
            (None, Ok(())) if !self.reported => {
                Err(Stop::Failed(format!("the training function ended without reporting `{objective}`")))
            }
            (None, Ok(())) => Ok(()),
        }
    }
}
