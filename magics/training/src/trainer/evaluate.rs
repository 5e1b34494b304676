//! The evaluations of a run: the metrics that it reports, and the checkpoint that it keeps if they are among the best.

use super::run::Run;
use super::{Observer, Stop};
use indexmap::IndexMap;
use tch::{Device, Tensor};
use tunebook_study::{Measurement, VALIDATION_EXAMPLES, Value};

impl Run<'_> {
    /// Evaluates the model on the validation examples, reports the metrics, and keeps the parameters if they are among
    /// the best. It returns the objective, or None if that is not among the metrics of this evaluation. A non-finite
    /// objective ends the run as infeasible.
    pub fn evaluate(&mut self, step: u64, lr: f64, observer: &mut dyn Observer) -> Result<Option<f64>, Stop> {
        // With averaging, the averages are what is evaluated and saved.
        let swapped = self.swap_averages();
        let evaluated = self.evaluator.evaluate(&self.model, &self.data.valid);
        let classes = self.evaluator.take_classes();
        let looks_at_training = self.request.training_metrics || self.request.fit.is_some();
        let of_training = looks_at_training.then(|| self.evaluator.evaluate(&self.model, &self.data.train));
        if self.keeps_files() {
            let followed = self.data.valid.select(&self.followed);
            self.outputs.push((step, self.model.predict(&followed.inputs).to_device(Device::Cpu)));
        }
        let mut metrics: IndexMap<String, Option<f64>> = IndexMap::new();
        let mut metric = |name: String, value: f64| {
            metrics.insert(name, Some(value).filter(|v| v.is_finite()));
        };
        if !self.losses.is_empty() {
            metric("train/loss".into(), self.losses.iter().sum::<f64>() / self.losses.len() as f64);
        }
        for (name, value) in evaluated? {
            metric(format!("valid/{name}"), value);
        }
        if step == 0 {
            metric(VALIDATION_EXAMPLES.into(), self.data.valid.count() as f64);
        }
        for (name, value) in of_training.transpose()?.unwrap_or_default() {
            // `train/loss` is the mean over the batches since the last evaluation.
            metric(format!("train/{}", if name == "loss" { "eval_loss" } else { name }), value);
        }
        let recent = &self.norms[self.norms.len().saturating_sub(self.losses.len())..];
        if let Some(norm) = recent.last() {
            metric("gradient_norm".into(), f64::from(*norm));
            if self.clip_norm > 0.0 {
                let clipped = recent.iter().filter(|norm| f64::from(**norm) > self.clip_norm).count();
                metric("clipped".into(), clipped as f64 / recent.len() as f64);
            }
        }
        if let Some(scale) = self.state.noise.value() {
            metric("noise_scale".into(), scale);
        }
        metric("lr".into(), lr);
        let fit = self.request.fit.as_ref();
        self.fits = if fit.is_some_and(|fit| step > 0 && fit.is_met(&metrics)) { self.fits + 1 } else { 0 };
        self.losses.clear();
        let objective = metrics.get(&self.request.objective).copied();
        let seconds = self.state.seconds + self.started.elapsed().as_secs_f64();
        let measurement = Measurement { step, seconds, metrics };
        if self.keeps_files() {
            self.state.measurements.push(measurement.clone());
        }
        observer.measured(measurement);
        let kept = match objective {
            Some(Some(value)) if self.keeps_files() => self.keep_if_best(value, step, classes.as_ref()),
            Some(None) => {
                let cause = self.norm_without_variance().map_or(String::new(), |norm| {
                    format!(
                        ": the batch norm `{norm}` was trained with a single value for each channel, which has no variance; \
                         use a larger `batch_size` (`micro_batch_size`, `ghost_batch_size`)"
                    )
                });
                Err(Stop::Infeasible(format!("`{}` became non-finite at step {step}{cause}", self.request.objective)))
            }
            _ => Ok(()),
        };
        if swapped {
            self.swap_averages();
        }
        kept.map(|()| objective.flatten())
    }

    /// The name of a batch norm whose running variance is not finite, because it was computed from single examples.
    fn norm_without_variance(&self) -> Option<String> {
        let hp = self.model.hyperparameters();
        let known = |name: &str| hp.known().get(name).and_then(Value::as_i64).filter(|size| *size > 0);
        let sizes = ["batch_size", "micro_batch_size", "ghost_batch_size"].map(known);
        let is_finite = |tensor: &Tensor| tensor.isfinite().all().int64_value(&[]) != 0;
        let parameters = self.model.parameters();
        if !sizes.contains(&Some(1)) || !parameters.tensors().iter().all(is_finite) {
            return None;
        }
        parameters.buffers.iter().find_map(|(name, buffer)| {
            let (norm, statistic) = name.rsplit_once('.')?;
            (["running_variance", "running_var"].contains(&statistic) && !is_finite(buffer)).then(|| norm.to_string())
        })
    }

    /// Exchanges the values of the parameters and of their averages. It returns false, and does nothing, if the run has
    /// no averages.
    pub fn swap_averages(&self) -> bool {
        let Some((averages, _)) = &self.averages else { return false };
        tch::no_grad(|| {
            for (parameter, average) in self.parameters.iter().zip(averages) {
                let value = parameter.detach().copy();
                parameter.shallow_clone().copy_(average);
                average.shallow_clone().copy_(&value);
            }
        });
        true
    }
}
