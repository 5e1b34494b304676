//! The files of a run: the best checkpoints, the one to resume from, and series that are too long for the store.

use super::{Progress, Run, Stop};
use crate::checkpoint;
use std::path::PathBuf;
use tch::Tensor;

impl Run<'_> {
    /// Keeps the parameters if they are among the best so far.
    pub(super) fn keep_if_best(&mut self, objective: f64, step: u64) -> Result<(), Stop> {
        let keep = self.model.hyperparameters().get::<usize>("keep_best");
        let direction = self.request.direction;
        let rank = self.progress.best.iter().take_while(|(other, _)| !direction.better(objective, *other)).count();
        if rank >= keep {
            return Ok(());
        }
        for worse in (rank + 1..=self.progress.best.len().min(keep - 1)).rev() {
            let (from, to) = (self.path(&best_name(worse - 1)), self.path(&best_name(worse)));
            std::fs::rename(&from, &to)
                .map_err(|error| Stop::Failed(format!("{} cannot be renamed: {error}", from.display())))?;
        }
        self.progress.best.insert(rank, (objective, step));
        self.progress.best.truncate(keep);
        self.save(&best_name(rank))
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.request.directory.join(name)
    }

    pub(super) fn save(&self, name: &str) -> Result<(), Stop> {
        Ok(checkpoint::write(&self.path(name), self.model.parameters().named())?)
    }

    /// The tensors that a resumed run needs, beside its series; handles, not copies. No layer's name begins with U+0001.
    fn state(&self) -> Vec<(String, Tensor)> {
        let averages = self.averages.iter().flat_map(|(averages, _)| averages);
        let parameters = self.model.parameters();
        let named = parameters.named().map(|(name, tensor)| (name.to_string(), tensor.shallow_clone()));
        let numbered = |kind: &str, i: usize, tensor: &Tensor| (format!("\u{1}{kind}/{i}"), tensor.shallow_clone());
        let optimizer = self.optimizer.state().enumerate().map(|(i, tensor)| numbered("optimizer", i, tensor));
        named.chain(optimizer).chain(averages.enumerate().map(|(i, tensor)| numbered("average", i, tensor))).collect()
    }

    pub(super) fn save_to_resume(&mut self, step: u64) -> Result<(), Stop> {
        self.progress.steps = step;
        let seconds = self.progress.seconds;
        self.progress.seconds = seconds + self.started.elapsed().as_secs_f64();
        let text = serde_json::to_string(&self.progress).map_err(|error| Stop::Failed(error.to_string()));
        self.progress.seconds = seconds;
        let mut tensors = self.state();
        tensors.push(("\u{1}progress".into(), checkpoint::bytes(&text?)));
        tensors.push(("\u{1}norms".into(), Tensor::from_slice(&self.norms)));
        let outputs =
            self.outputs.iter().map(|(step, outputs)| (format!("\u{1}outputs/{step}"), outputs.shallow_clone()));
        tensors.extend(outputs);
        let tensors = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor));
        Ok(checkpoint::write(&self.path(checkpoint::RESUME), tensors)?)
    }

    /// Goes back to where an earlier run of the same trial was cut off, if it left a checkpoint that fits.
    pub(super) fn resume(&mut self) -> bool {
        if !self.keeps_files() {
            return false;
        }
        let path = self.path(checkpoint::RESUME);
        let Ok(found) = checkpoint::read(&path) else { return false };
        let text = found.get("\u{1}progress").and_then(checkpoint::text_of);
        let Some(progress) = text.and_then(|text| serde_json::from_str::<Progress>(&text).ok()) else { return false };
        let state = self.state();
        let state = state.iter().map(|(name, tensor)| (name.as_str(), tensor));
        if progress.identity != self.progress.identity || checkpoint::restore(&found, state, "the checkpoint").is_err()
        {
            return false;
        }
        self.optimizer.resume(progress.steps);
        self.norms = found.get("\u{1}norms").and_then(|norms| Vec::try_from(norms).ok()).unwrap_or_default();
        for measurement in &progress.measurements {
            if let Some(outputs) = found.get(&format!("\u{1}outputs/{}", measurement.step)) {
                self.outputs.push((measurement.step, outputs.shallow_clone()));
            }
        }
        self.progress = progress;
        true
    }

    /// Writes the gradient norm of every step (Playbook I10) and what the model said of the followed examples (H6).
    pub(super) fn save_series(&self) -> Result<(), Stop> {
        let path = self.path("gradient_norm.npy");
        Tensor::from_slice(&self.norms)
            .write_npy(&path)
            .map_err(|error| Stop::Failed(format!("{} cannot be written: {error}", path.display())))?;
        let steps: Vec<i64> = self.outputs.iter().map(|(step, _)| *step as i64).collect();
        let outputs: Vec<&Tensor> = self.outputs.iter().map(|(_, outputs)| outputs).collect();
        if outputs.is_empty() {
            return Ok(());
        }
        let series = [
            ("examples", self.sample.shallow_clone()),
            ("steps", Tensor::from_slice(&steps)),
            ("outputs", Tensor::stack(&outputs, 0)),
        ];
        let series = series.iter().map(|(name, tensor)| (*name, tensor));
        Ok(checkpoint::write(&self.path("predictions.safetensors"), series)?)
    }
}

/// The file of the checkpoint of a rank, from 0.
fn best_name(rank: usize) -> String {
    match rank {
        0 => checkpoint::BEST.into(),
        rank => format!("best-{}.safetensors", rank + 1),
    }
}
