//! The files of a run: the best checkpoints, the checkpoint to resume from, and series that are too long for the store.

use super::Stop;
use super::run::{Run, RunState};
use crate::checkpoint;
use crate::classes;
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};
use std::path::PathBuf;
use tch::Tensor;
use tunebook_study::Measurement;

impl Run<'_> {
    /// Saves the parameters, and renames or removes worse checkpoints, if the objective is among the best `keep_best`
    /// so far.
    pub fn keep_if_best(&mut self, objective: f64, step: u64, classes: Option<&Tensor>) -> Result<(), Stop> {
        let keep = self.model.hyperparameters().get::<usize>("keep_best");
        let direction = self.request.direction;
        let rank = self.state.best.iter().take_while(|(other, _)| !direction.better(objective, *other)).count();
        if rank >= keep {
            return Ok(());
        }
        for worse in (rank + 1..=self.state.best.len().min(keep - 1)).rev() {
            let (from, to) = (self.path(&best_name(worse - 1)), self.path(&best_name(worse)));
            std::fs::rename(&from, &to)
                .map_err(|error| Stop::Failed(format!("{} cannot be renamed: {error}", from.display())))?;
        }
        self.state.best.insert(rank, (objective, step));
        self.state.best.truncate(keep);
        if rank == 0 {
            self.state.classes = classes.map(|counts| classes::named(counts, self.data)).unwrap_or_default();
        }
        self.save(&best_name(rank))
    }

    /// Returns the path of a file in the directory of the trial.
    pub fn path(&self, name: &str) -> PathBuf {
        self.request.directory.join(name)
    }

    /// Saves the parameters and buffers of the model.
    pub fn save(&self, name: &str) -> Result<(), Stop> {
        Ok(checkpoint::write(&self.path(name), self.model.parameters().named())?)
    }

    /// Returns the tensors that change from step to step, under their names in the checkpoint to resume from. They
    /// share their memory with the run. Names of our own begin with U+0001, which no layer's name does.
    fn changing_tensors(&self) -> Vec<(String, Tensor)> {
        let averages = self.averages.iter().flat_map(|(averages, _)| averages);
        let parameters = self.model.parameters();
        let named = parameters.named().map(|(name, tensor)| (name.to_string(), tensor.shallow_clone()));
        let numbered = |kind: &str, i: usize, tensor: &Tensor| (format!("\u{1}{kind}/{i}"), tensor.shallow_clone());
        let optimizer = self.optimizer.state().enumerate().map(|(i, tensor)| numbered("optimizer", i, tensor));
        named.chain(optimizer).chain(averages.enumerate().map(|(i, tensor)| numbered("average", i, tensor))).collect()
    }

    /// Saves everything that a killed run needs to continue after `step`.
    pub fn save_to_resume(&mut self, step: u64) -> Result<(), Stop> {
        self.state.steps = step;
        // The saved time includes this run's; in memory it is that of earlier runs only.
        let seconds = self.state.seconds;
        self.state.seconds = seconds + self.started.elapsed().as_secs_f64();
        let text = serde_json::to_string(&self.state).map_err(|error| Stop::Failed(error.to_string()));
        self.state.seconds = seconds;
        let mut tensors = self.changing_tensors();
        tensors.push(("\u{1}progress".into(), checkpoint::bytes(&text?)));
        tensors.push(("\u{1}norms".into(), Tensor::from_slice(&self.norms)));
        let outputs =
            self.outputs.iter().map(|(step, outputs)| (format!("\u{1}outputs/{step}"), outputs.shallow_clone()));
        tensors.extend(outputs);
        let tensors = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor));
        Ok(checkpoint::write(&self.path(checkpoint::RESUME), tensors)?)
    }

    /// Continues from the checkpoint of an earlier run of the same trial. It returns false, and the run starts at its
    /// first step, if there is no such checkpoint or it is of another run.
    pub fn resume(&mut self) -> bool {
        if !self.keeps_files() {
            return false;
        }
        let path = self.path(checkpoint::RESUME);
        let Ok(found) = checkpoint::read(&path) else { return false };
        let text = found.get("\u{1}progress").and_then(checkpoint::text_of);
        let Some(state) = text.and_then(|text| serde_json::from_str::<RunState>(&text).ok()) else { return false };
        let tensors = self.changing_tensors();
        let tensors = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor));
        if state.identity != self.state.identity || checkpoint::restore(&found, tensors, "the checkpoint").is_err() {
            return false;
        }
        self.optimizer.resume(state.steps);
        self.norms = found.get("\u{1}norms").and_then(|norms| Vec::try_from(norms).ok()).unwrap_or_default();
        for measurement in &state.measurements {
            if let Some(outputs) = found.get(&format!("\u{1}outputs/{}", measurement.step)) {
                self.outputs.push((measurement.step, outputs.shallow_clone()));
            }
        }
        self.state = state;
        true
    }

    /// Writes the gradient norm of each step (Playbook I10) to `gradient_norm.npy`, and the outputs for the followed
    /// validation examples at each evaluation (H6) to `predictions.safetensors`, and how many examples of each class
    /// the best checkpoint gets right (H9) to `classes.json`.
    pub fn save_series(&self) -> Result<(), Stop> {
        let path = self.path("gradient_norm.npy");
        Tensor::from_slice(&self.norms)
            .write_npy(&path)
            .map_err(|error| Stop::Failed(format!("{} cannot be written: {error}", path.display())))?;
        if let (Some((_, step)), false) = (self.state.best.first(), self.state.classes.is_empty()) {
            classes::write(&self.request.directory, *step, &self.state.classes)
                .map_err(|error| Stop::Failed(format!("{} cannot be written: {error}", classes::FILE)))?;
        }
        let steps: Vec<i64> = self.outputs.iter().map(|(step, _)| *step as i64).collect();
        let outputs: Vec<&Tensor> = self.outputs.iter().map(|(_, outputs)| outputs).collect();
        if outputs.is_empty() {
            return Ok(());
        }
        let record = checkpoint::bytes(&self.record());
        let series = [
            ("examples", self.followed.shallow_clone()),
            ("steps", Tensor::from_slice(&steps)),
            ("targets", self.data.valid.select(&self.followed).targets),
            ("outputs", Tensor::stack(&outputs, 0)),
            ("record", record),
        ];
        let series = series.iter().map(|(name, tensor)| (*name, tensor));
        Ok(checkpoint::write(&self.path("predictions.safetensors"), series)?)
    }

    /// Returns, as JSON, what the followed outputs belong to: everything that the numbers of the run depend on with its
    /// SHA-256 hash, and the metrics of each evaluation.
    fn record(&self) -> String {
        let sha256: String = Sha256::digest(&self.state.identity).iter().map(|byte| format!("{byte:02x}")).collect();
        let configuration: Json = serde_json::from_str(&self.state.identity).unwrap_or_default();
        // Without the times, so that a run that was resumed writes the same file.
        let of_step = |m: &Measurement| json!({ "step": m.step, "metrics": m.metrics });
        let measurements: Vec<Json> = self.state.measurements.iter().map(of_step).collect();
        json!({ "configuration": configuration, "sha256": sha256, "measurements": measurements }).to_string()
    }
}

/// Returns the file name of the checkpoint with a rank, from 0 for the best.
fn best_name(rank: usize) -> String {
    match rank {
        0 => checkpoint::BEST.into(),
        rank => format!("best-{}.safetensors", rank + 1),
    }
}
