//! A trial as a training function sees it.

use crate::hyperparameters::{FromValue, Hyperparameters};
use crate::randomness::Randomness;
use crate::trainer::{Observer, Stop};
use std::path::Path;
use std::time::Instant;
use tch::Device;
use tunebook_study::divergence::Divergence;
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
    divergence: Divergence,
    /// The reason why the trial is infeasible, if it is: a value that had to be finite was not, or it diverged.
    infeasible: Option<String>,
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
            divergence: Divergence::default(),
            infeasible: None,
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
    /// It fails if the trial is infeasible: the objective or the training loss is not finite, or the training loss
    /// diverges. It also fails if the trial was cancelled, or if it is decided whether it reaches the target that it
    /// was started for. A function that ends without a finite value of the objective has failed.
    ///
    /// The training loss is the metric `train/loss`, `train_loss`, `training_loss` or `loss/train`. That it diverges is
    /// known after 50 reports of it at the earliest.
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
        let objective = &self.request.objective;
        self.reported |= metrics.iter().any(|(name, value)| name == objective && value.is_finite());
        let reported = metrics.iter().map(|(name, value)| (*name, finite(*value)));
        if let Some(reason) = self.divergence.reported(step, reported, objective) {
            self.infeasible = Some(reason.clone());
            anyhow::bail!(reason);
        }
        for (_, value) in metrics.iter().filter(|(name, _)| name == objective) {
            if let Some(until) = self.request.until {
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
        match (self.infeasible, result) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::{Catalogue, Function, Trainable};
    use tunebook_study::WorkloadReference;
    use tunebook_study::protocol::{DataSource, TrialId};

    /// Counts the reports of a trial.
    struct Reports(u64);

    impl Observer for Reports {
        fn loaded(&mut self, _: &[DataSource], _: &str) {}

        fn measured(&mut self, _: Measurement) {
            self.0 += 1;
        }

        fn cancelled(&self) -> bool {
            false
        }
    }

    /// Runs a training function. Returns how its trial ended, and how often it reported.
    fn run(train: fn(&mut Trial) -> anyhow::Result<()>) -> (Result<(), Stop>, u64) {
        let mut catalogue = Catalogue::new("rust");
        let function = Function { train, hyperparameters: Vec::new, objective: Function::default_objective };
        catalogue.add("tried", Trainable::Function(function));
        let hp = Hyperparameters::new(&catalogue.describe("tried").unwrap(), &Default::default()).unwrap();
        let request = TrialRequest {
            trial: TrialId { study: "s".into(), number: 1 },
            workload: WorkloadReference::Builtin { name: "tried".into() },
            params: Default::default(),
            seed: 3,
            objective: "valid/error".into(),
            direction: Direction::Minimize,
            directory: std::env::temp_dir(),
            timeout: None,
            worker: None,
            until: None,
            noise_every: None,
            training_metrics: false,
            fit: None,
        };
        let mut reports = Reports(0);
        let mut trial = Trial::new(hp, &request, Device::Cpu, &mut reports);
        let result = train(&mut trial);
        (trial.outcome(result), reports.0)
    }

    #[test]
    fn a_training_loss_that_rises_and_stays_finite_makes_the_trial_infeasible() {
        let (ended, reports) = run(|trial| {
            for step in 1..=1000 {
                let loss = if step <= 100 { 2.3 } else { 2.3 * 1.2_f64.powi(step - 100).min(1e8) };
                trial.report(step as u64, &[("valid/error", 0.5), ("loss/train", loss)])?;
            }
            Ok(())
        });
        let Err(Stop::Infeasible(reason)) = ended else { panic!("{ended:?}") };
        assert!(reason.starts_with("diverged: the training loss rose from 2.300"), "{reason}");
        assert!((150..200).contains(&reports), "{reports}");
    }

    #[test]
    fn a_loss_that_is_not_finite_ends_the_trial_at_once_also_if_the_function_swallows_the_error() {
        let (ended, reports) = run(|trial| {
            let _ = trial.report(1, &[("valid/error", 0.5), ("train_loss", f64::NAN)]);
            Ok(())
        });
        let Err(Stop::Infeasible(reason)) = ended else { panic!("{ended:?}") };
        assert_eq!((reason.as_str(), reports), ("`train_loss` became non-finite at step 1", 1));
        let (ended, _) = run(|trial| {
            for step in 1..=300 {
                trial.report(step, &[("valid/error", 0.5), ("train/loss", 2.3 / step as f64), ("lr", f64::NAN)])?;
            }
            Ok(())
        });
        assert!(ended.is_ok(), "{ended:?}");
    }
}
