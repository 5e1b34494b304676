//! Finds losses and metrics in which libtorch repeats outputs and targets: `[n, 1]` and `[n]` become `[n, n]`, so that
//! each output is compared with each target. The numbers look like those of a model that cannot learn.

use super::Stop;
use crate::model::Model;
use crate::net::{Net, Phase};
use crate::panics;
use crate::workload::Workload;
use tch::{Device, Kind, Tensor};

/// The number of training examples among which two with different targets are looked for.
const EXAMPLES: i64 = 256;

/// The loss or a metric, as a function of outputs and targets.
type Function<'a> = Box<dyn Fn(&Tensor, &Tensor) -> Tensor + 'a>;

/// Fails if the loss or a metric compares each output with each target. `outputs` are those of a few examples, and
/// `targets` those of the training part.
///
/// Only outputs and targets with as many numbers as each other, but of another shape, are in question. A loss that
/// repeats them has the same value if they were repeated before it, and one that brings them into one shape itself has
/// not.
pub(super) fn check(
    workload: &dyn Workload,
    model: &Model<'_>,
    outputs: &Tensor,
    targets: &Tensor,
) -> Result<(), Stop> {
    let of_one = |tensor: &Tensor| tensor.size().get(1..).map_or(vec![], <[i64]>::to_vec);
    let (output, target) = (of_one(outputs), of_one(targets));
    if output == target || output.iter().product::<i64>() != target.iter().product::<i64>() {
        return Ok(());
    }
    let Some(targets) = two_different(targets) else { return Ok(()) };
    let shape = |one: &[i64]| [&[2], one].concat();
    let Some(repeated) = broadcast(&shape(&output), &shape(&target)) else { return Ok(()) };
    if repeated == shape(&output) || repeated == shape(&target) {
        return Ok(());
    }
    let device = outputs.device();
    let targets = targets.to_device(device);
    let right = targets.to_kind(Kind::Float).reshape(shape(&output));
    let net = model.net(Phase::Evaluate);
    let mut functions: Vec<(String, Function<'_>)> = vec![];
    let net: &Net<'_> = &net;
    functions.push(("loss".into(), Box::new(move |outputs, targets| workload.loss(net, outputs, targets))));
    for metric in workload.mean_metrics().into_iter().chain(workload.metrics()) {
        functions.push((format!("metric `{}`", metric.name), Box::new(move |o, t| (metric.of)(o, t))));
    }
    for (what, of) in functions {
        // With these outputs each example is right, and then each is wrong.
        let tried = [right.shallow_clone(), right.flip([0])];
        let repeats = tried.iter().all(|outputs| {
            let whole = value(|| of(outputs, &targets));
            let each = |tensor: &Tensor| tensor.expand(&repeated, false).contiguous();
            let all_pairs = value(|| of(&each(outputs), &each(&targets)));
            whole.zip(all_pairs).is_some_and(|(a, b)| (a - b).abs() <= 1e-6 * a.abs().max(b.abs()))
        });
        // libtorch itself refuses some, in words about its own tensors.
        let in_one_shape = || targets.reshape(shape(&output));
        let refuses = || {
            tried.iter().any(|outputs| {
                value(|| of(outputs, &targets)).is_none() && value(|| of(outputs, &in_one_shape())).is_some()
            })
        };
        if !repeats && !refuses() {
            continue;
        }
        let help = match (output.as_slice(), target.as_slice()) {
            ([1], []) => {
                "write `targets.unsqueeze(1)` in `data`, or `.squeeze_dim(1)` after the last layer of `forward`"
            }
            ([], [1]) => "write `.unsqueeze(1)` after the last layer of `forward`",
            _ => "bring both into one shape in `data` or `forward`",
        };
        let many = |one: &[i64]| {
            let rest: String = one.iter().map(|size| format!(", {size}")).collect();
            format!("[batch{rest}]")
        };
        let (output, target) = (many(&output), many(&target));
        return Err(Stop::Failed(match repeats {
            true => format!(
                "the {what} compares each output with each target, because the outputs have the shape {output} and the \
                 targets {target}, which libtorch repeats until they agree: {help}"
            ),
            false => format!(
                "the outputs have the shape {output} and the targets {target}, but the {what} needs the same shape: {help}"
            ),
        }));
    }
    Ok(())
}

/// The targets of two examples that differ.
fn two_different(targets: &Tensor) -> Option<Tensor> {
    let first = targets.narrow(0, 0, targets.size().first().copied()?.min(EXAMPLES)).to_device(Device::Cpu);
    let count = first.size()[0];
    let differs =
        first.reshape([count, -1]).not_equal_tensor(&first.narrow(0, 0, 1).reshape([1, -1])).any_dim(1, false);
    let other = (0..count).find(|i| differs.int64_value(&[*i]) != 0)?;
    Some(first.index_select(0, &Tensor::from_slice(&[0, other])))
}

/// The shape to which libtorch repeats two shapes. None if they do not fit.
fn broadcast(a: &[i64], b: &[i64]) -> Option<Vec<i64>> {
    let length = a.len().max(b.len());
    let at = |shape: &[i64], i: usize| (i + shape.len()).checked_sub(length).map_or(1, |i| shape[i]);
    (0..length)
        .map(|i| match (at(a, i), at(b, i)) {
            (a, b) if a == b => Some(a),
            (1, size) | (size, 1) => Some(size),
            _ => None,
        })
        .collect()
}

/// The finite value of a scalar tensor. None if its code panics, as it may for shapes that are not its own.
fn value(of: impl FnOnce() -> Tensor) -> Option<f64> {
    let _no_gradients = tch::no_grad_guard();
    let scalar = panics::quietly(of).ok()?;
    (scalar.numel() == 1)
        .then(|| scalar.to_kind(Kind::Double).reshape([1]).double_value(&[0]))
        .filter(|v| v.is_finite())
}

#[cfg(test)]
mod tests {
    use super::broadcast;

    #[test]
    fn shapes_are_repeated_as_libtorch_does() {
        assert_eq!(broadcast(&[2, 1], &[2]), Some(vec![2, 2]));
        assert_eq!(broadcast(&[2, 3], &[2, 1]), Some(vec![2, 3]));
        assert_eq!(broadcast(&[2, 1, 1], &[2, 1]), Some(vec![2, 2, 1]));
        assert_eq!(broadcast(&[2, 3], &[2]), None);
    }
}
