//! Evaluations: the loss and the metrics of a model over a part of the data.

use crate::data::Examples;
use crate::libtorch::is_out_of_memory;
use crate::model::Model;
use crate::net::Phase;
use crate::panics;
use crate::trainer::Stop;
use crate::workload::Workload;
use tch::{Device, Kind, Tensor};

/// Examples of an evaluation step at least: without gradients a larger batch fits (Playbook H2).
const LEAST_BATCH: i64 = 1024;

/// How a workload's models are evaluated.
pub(crate) struct Evaluation<'a> {
    workload: &'a dyn Workload,
    device: Device,
    /// Examples of a step; fewer once memory has run out.
    batch: i64,
    /// What a step of training fits into, an evaluation step of its size does too.
    least: i64,
}

impl<'a> Evaluation<'a> {
    /// Of models that are trained with a batch size.
    pub fn new(workload: &'a dyn Workload, device: Device, batch_size: i64) -> Self {
        Self { workload, device, batch: batch_size.max(LEAST_BATCH), least: batch_size }
    }

    /// The loss and the metrics, as means over the examples; a partial last batch counts by its examples (Playbook H5).
    pub fn of(&mut self, model: &Model<'_>, examples: &Examples) -> Result<Vec<(&'static str, f64)>, Stop> {
        let metrics = self.workload.metrics();
        let (count, mut start) = (examples.count(), 0);
        let mut sums = vec![0.0; 1 + metrics.len()];
        while start < count {
            let length = self.batch.min(count - start);
            let attempt = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                tch::no_grad(|| {
                    let part = examples.narrow(start, length).to_device(self.device);
                    let net = model.net(Phase::Evaluate);
                    let outputs = model.forward(&net, &part.inputs);
                    let loss = self.workload.loss(&net, &outputs, &part.targets);
                    let others = metrics.iter().map(|metric| (metric.of)(&outputs, &part.targets));
                    let values: Vec<Tensor> = std::iter::once(loss).chain(others).collect();
                    read(values.iter())
                })
            }));
            let values = match attempt {
                Ok(values) => values,
                Err(panic) => match panics::last() {
                    Some(said) if is_out_of_memory(&said) && self.batch > self.least => {
                        self.batch = (self.batch / 2).max(self.least);
                        continue;
                    }
                    said => {
                        panics::put_back(said);
                        std::panic::resume_unwind(panic)
                    }
                },
            };
            if values.len() != sums.len() {
                return Err(Stop::Failed(
                    "the loss and each metric must be a scalar tensor, the mean over the batch".into(),
                ));
            }
            for (sum, value) in sums.iter_mut().zip(values) {
                *sum += value * length as f64;
            }
            start += length;
        }
        // Of a model whose loss is not finite no metric means anything.
        let finite = sums[0].is_finite();
        let names = std::iter::once("loss").chain(metrics.iter().map(|metric| metric.name));
        Ok(names.zip(sums).map(|(name, sum)| (name, if finite { sum / count as f64 } else { f64::NAN })).collect())
    }
}

/// Scalars on a device, read in one go; nothing where one is no scalar.
pub(crate) fn read<'t>(scalars: impl Iterator<Item = &'t Tensor>) -> Vec<f64> {
    let scalars: Vec<&Tensor> = scalars.collect();
    if scalars.is_empty() || scalars.iter().any(|scalar| scalar.dim() != 0) {
        return vec![];
    }
    let kind = scalars[0].kind();
    let same: Vec<Tensor> = scalars.iter().map(|scalar| scalar.to_kind(kind)).collect();
    let stacked = Tensor::stack(&same, 0).to_kind(Kind::Double).to_device(Device::Cpu);
    Vec::<f64>::try_from(&stacked).unwrap_or_default()
}
