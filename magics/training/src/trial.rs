//! A trial as a training function sees it.

use crate::hyperparameters::{FromValue, Hyperparameters};
use crate::randomness::Randomness;
use crate::trainer::{Observer, Stop};
use std::path::Path;
use std::time::Instant;
use tch::Device;
use tunebook_study::protocol::TrialRequest;
use tunebook_study::{Direction, Measurement};

/// What a training function is handed: values to train with, and where to report.
pub struct Trial<'a> {
    hp: Hyperparameters,
    request: &'a TrialRequest,
    device: Device,
    observer: &'a mut dyn Observer,
    started: Instant,
    reported: bool,
    non_finite: Option<String>,
    /// Whether the target was reached, once that is decided.
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

    /// A hyperparameter in the type of the place that it goes to: `let lr: f64 = trial.get("lr");`.
    #[track_caller]
    pub fn get<T: FromValue>(&self, name: &str) -> T {
        self.hp.get(name)
    }

    /// All hyperparameters.
    pub fn hyperparameters(&self) -> &Hyperparameters {
        &self.hp
    }

    /// Where to compute.
    pub fn device(&self) -> Device {
        self.device
    }

    /// The seed of all randomness.
    pub fn seed(&self) -> u64 {
        self.request.seed
    }

    /// Randomness by key, from that seed.
    pub fn randomness(&self) -> Randomness {
        Randomness::new(self.request.seed)
    }

    /// The trial's number in its study.
    pub fn number(&self) -> u32 {
        self.request.trial.number
    }

    /// A folder of its own for what it wants to keep. `best.safetensors` and `last.safetensors` there are its checkpoints.
    pub fn directory(&self) -> &Path {
        &self.request.directory
    }

    /// Reports metrics at a step: `trial.report(step, &[("valid/error", 0.1)])?;`. A value that is not finite ends the trial
    /// as infeasible where it is the objective or the training loss: `?` leaves the function then.
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
                anyhow::ensure!(self.verdict.is_none(), "it is decided whether the target is reached");
            }
        }
        Ok(())
    }

    /// Whether somebody asked for the end; the function then returns.
    pub fn should_stop(&self) -> bool {
        self.observer.cancelled()
    }

    /// Which way the objective is better.
    pub fn direction(&self) -> Direction {
        self.request.direction
    }

    /// How it ended, after its function has.
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
