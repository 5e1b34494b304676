//! Evaluates a model: its loss and metrics over a part of the data.

use crate::data::Examples;
use crate::libtorch::is_out_of_memory;
use crate::model::Model;
use crate::net::Phase;
use crate::panics;
use crate::trainer::Stop;
use crate::workload::Workload;
use tch::{Device, Kind, Tensor};

/// The least number of examples in an evaluation batch. Without gradients a larger batch fits into memory than in
/// training (Playbook H2).
const LEAST_BATCH: i64 = 1024;

/// Evaluates the models of a workload, in batches that fit into memory.
pub(crate) struct Evaluator<'a> {
    workload: &'a dyn Workload,
    device: Device,
    /// The number of examples in a batch. It is halved each time that memory runs out.
    batch_size: i64,
    /// The lower bound of `batch_size`: the batch size of training, since an evaluation needs less memory than a
    /// training step.
    least: i64,
}

impl<'a> Evaluator<'a> {
    /// `batch_size` is the batch size of training.
    pub fn new(workload: &'a dyn Workload, device: Device, batch_size: i64) -> Self {
        Self { workload, device, batch_size: batch_size.max(LEAST_BATCH), least: batch_size }
    }

    /// Returns `loss` and the metrics by name, as means over all examples. A smaller last batch is weighted by its
    /// number of examples (Playbook H5). If the loss is not finite, all values are NaN. It fails if the loss or a
    /// metric is not a scalar.
    pub fn evaluate(&mut self, model: &Model<'_>, examples: &Examples) -> Result<Vec<(&'static str, f64)>, Stop> {
        let metrics = self.workload.metrics();
        let (count, mut start) = (examples.count(), 0);
        let mut sums = vec![0.0; 1 + metrics.len()];
        while start < count {
            let length = self.batch_size.min(count - start);
            let attempt = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                tch::no_grad(|| {
                    let part = examples.narrow(start, length).to_device(self.device);
                    let net = model.net(Phase::Evaluate);
                    let outputs = model.forward(&net, &part.inputs);
                    let loss = self.workload.loss(&net, &outputs, &part.targets);
                    let others = metrics.iter().map(|metric| (metric.of)(&outputs, &part.targets));
                    let values: Vec<Tensor> = std::iter::once(loss).chain(others).collect();
                    read_scalars(values.iter())
                })
            }));
            let values = match attempt {
                Ok(values) => values,
                Err(panic) => match panics::take_last() {
                    Some(message) if is_out_of_memory(&message) && self.batch_size > self.least => {
                        self.batch_size = (self.batch_size / 2).max(self.least);
                        continue;
                    }
                    message => {
                        panics::put_back(message);
                        std::panic::resume_unwind(panic)
                    }
                },
            };
            if values.len() != sums.len() {
                return Err(Stop::Failed(
                    "the loss and each metric must be a scalar tensor: the mean over the examples of the batch".into(),
                ));
            }
            for (sum, value) in sums.iter_mut().zip(values) {
                *sum += value * length as f64;
            }
            start += length;
        }
        // The metrics of a model whose loss is not finite mean nothing.
        let finite = sums[0].is_finite();
        let names = std::iter::once("loss").chain(metrics.iter().map(|metric| metric.name));
        Ok(names.zip(sums).map(|(name, sum)| (name, if finite { sum / count as f64 } else { f64::NAN })).collect())
    }
}

/// Copies scalar tensors from the device to the host with a single transfer. The result is empty if one of them is not
/// a scalar.
pub(crate) fn read_scalars<'t>(scalars: impl Iterator<Item = &'t Tensor>) -> Vec<f64> {
    let scalars: Vec<&Tensor> = scalars.collect();
    if scalars.is_empty() || scalars.iter().any(|scalar| scalar.dim() != 0) {
        return vec![];
    }
    let kind = scalars[0].kind();
    let same: Vec<Tensor> = scalars.iter().map(|scalar| scalar.to_kind(kind)).collect();
    let stacked = Tensor::stack(&same, 0).to_kind(Kind::Double).to_device(Device::Cpu);
    Vec::<f64>::try_from(&stacked).unwrap_or_default()
}
