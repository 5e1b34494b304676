//! Evaluates a model: its loss and metrics over a part of the data.

use crate::classes;
use crate::data::{Data, Examples, Scale};
use crate::libtorch::is_out_of_memory;
use crate::model::Model;
use crate::net::Phase;
use crate::panics;
use crate::trainer::Stop;
use crate::workload::{Metric, Task, Workload};
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
    /// The scale of the targets, if they were standardized. Loss and metrics are computed in their original unit.
    target_scale: Option<&'a Scale>,
    /// The examples of each class in the last evaluation, and those that the model got right ([`classes::count`]).
    classes: Option<Tensor>,
}

impl<'a> Evaluator<'a> {
    /// `batch_size` is the batch size of training.
    pub fn new(workload: &'a dyn Workload, device: Device, batch_size: i64, data: &'a Data) -> Self {
        let target_scale = data.target_scale();
        let (least, batch_size) = (batch_size, batch_size.max(LEAST_BATCH));
        Self { workload, device, batch_size, least, target_scale, classes: None }
    }

    /// The counts of the last evaluation. None if its targets are no classes.
    pub fn take_classes(&mut self) -> Option<Tensor> {
        self.classes.take()
    }

    /// Returns `loss`, which is the mean over all examples, and the metrics by name. In a mean, a smaller last batch is
    /// weighted by its number of examples (Playbook H5). If the loss is not finite, all values are NaN. It fails if the
    /// loss or a metric is not a scalar.
    pub fn evaluate(&mut self, model: &Model<'_>, examples: &Examples) -> Result<Vec<(&'static str, f64)>, Stop> {
        let whole = self.workload.metrics();
        let is_mean = |metric: &Metric| whole.iter().all(|other| other.name != metric.name);
        let metrics: Vec<Metric> = self.workload.mean_metrics().into_iter().filter(is_mean).collect();
        let (count, mut start) = (examples.count(), 0);
        let mut sums = vec![0.0; 1 + metrics.len()];
        // The outputs and targets of the parts, for the metrics that see all of them.
        let mut kept: Vec<(Tensor, Tensor)> = vec![];
        let is_classification = self.workload.task() == Task::Classification;
        self.classes = None;
        // A guard, because a panic would leave gradients off for what comes after it.
        let _no_gradients = tch::no_grad_guard();
        while start < count {
            let length = self.batch_size.min(count - start);
            let attempt = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                let part = examples.narrow(start, length).to_device(self.device);
                let net = model.net(Phase::Evaluate);
                let outputs = model.forward(&net, &part.inputs);
                let (outputs, targets) = match self.target_scale {
                    Some(scale) => (scale.undo(&outputs), scale.undo(&part.targets)),
                    None => (outputs, part.targets),
                };
                let loss = self.workload.loss(&net, &outputs, &targets);
                let others = metrics.iter().map(|metric| (metric.of)(&outputs, &targets));
                let values: Vec<Tensor> = std::iter::once(loss).chain(others).collect();
                let values = read_scalars(values.iter());
                let classes = is_classification.then(|| classes::count(&outputs, &targets)).flatten();
                // What all parts need together may be more than a GPU holds.
                let keep = |tensor: Tensor| if length < count { tensor.to_device(Device::Cpu) } else { tensor };
                (values, classes, (!whole.is_empty()).then(|| (keep(outputs), keep(targets))))
            }));
            let (values, counts, outputs) = match attempt {
                Ok(done) => done,
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
                return Err(Stop::Failed(NOT_SCALAR.into()));
            }
            kept.extend(outputs);
            self.classes = match (self.classes.take(), counts) {
                (Some(sum), Some(counts)) => Some(sum + counts),
                (sum, counts) => counts.or(sum),
            };
            for (sum, value) in sums.iter_mut().zip(values) {
                *sum += value * length as f64;
            }
            start += length;
        }
        // The metrics of a model whose loss is not finite mean nothing.
        let finite = sums[0].is_finite();
        let names = std::iter::once("loss").chain(metrics.iter().map(|metric| metric.name));
        let means = names.zip(sums).map(|(name, sum)| (name, if finite { sum / count as f64 } else { f64::NAN }));
        let mut values: Vec<(&str, f64)> = means.collect();
        let of_all = if finite { of_whole(&whole, kept)? } else { vec![f64::NAN; whole.len()] };
        values.extend(whole.iter().map(|metric| metric.name).zip(of_all));
        Ok(values)
    }
}

const NOT_SCALAR: &str = "the loss and each metric must be a scalar tensor, such as the mean over the examples";

/// Returns metrics of the outputs and targets of all examples, which come in parts.
fn of_whole(metrics: &[Metric], mut parts: Vec<(Tensor, Tensor)>) -> Result<Vec<f64>, Stop> {
    if metrics.is_empty() {
        return Ok(vec![]);
    }
    let (outputs, targets) = match parts.len() {
        1 => parts.remove(0),
        _ => {
            let (outputs, targets): (Vec<Tensor>, Vec<Tensor>) = parts.into_iter().unzip();
            (Tensor::cat(&outputs, 0), Tensor::cat(&targets, 0))
        }
    };
    let values: Vec<Tensor> = metrics.iter().map(|metric| (metric.of)(&outputs, &targets)).collect();
    let values = read_scalars(values.iter());
    if values.len() == metrics.len() { Ok(values) } else { Err(Stop::Failed(NOT_SCALAR.into())) }
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
