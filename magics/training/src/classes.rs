//! How many examples of each class a model gets right: for rare classes, a count says more than a rate (Playbook H9).

use crate::data::{Data, Target};
use std::path::Path;
use tch::{Device, Kind, Tensor};
use tunebook_study::ClassCount;

/// The file with the counts of the best checkpoint, beside it.
pub(crate) const FILE: &str = "classes.json";

/// With more classes than this, as in a vocabulary, nothing is counted.
const MOST_CLASSES: i64 = 1000;

/// Counts the examples of each class, and those whose highest logit is that of their class: a tensor \[2, classes\] on
/// the device of the outputs. Targets that are no class, such as the ignored −100, do not count. None if the targets
/// are no class indices.
pub(crate) fn count(outputs: &Tensor, targets: &Tensor) -> Option<Tensor> {
    let classes = *outputs.size().last()?;
    let is_index = targets.kind() == Kind::Int64 && outputs.dim() == targets.dim() + 1;
    if !is_index || !(2..=MOST_CLASSES).contains(&classes) || outputs.size()[..targets.dim()] != targets.size() {
        return None;
    }
    let (targets, predicted) = (targets.flatten(0, -1), outputs.argmax(-1, false).flatten(0, -1));
    let is_class = targets.ge(0).logical_and(&targets.lt(classes));
    let is_right = predicted.eq_tensor(&targets).logical_and(&is_class);
    let index = targets.clamp(0, classes - 1);
    let by_class = |counted: &Tensor| {
        Tensor::zeros([classes], (Kind::Int64, targets.device())).scatter_add(0, &index, &counted.to_kind(Kind::Int64))
    };
    Some(Tensor::stack(&[by_class(&is_class), by_class(&is_right)], 0))
}

/// Returns the counts with the names of the classes: those of a table, otherwise their indices.
pub(crate) fn named(counts: &Tensor, data: &Data) -> Vec<ClassCount> {
    let names = match data.train.encoding().map(|encoding| &encoding.target) {
        Some(Target::Classes(names)) => names.clone(),
        _ => vec![],
    };
    let counts = counts.to_device(Device::Cpu);
    let row = |at: i64| Vec::<i64>::try_from(counts.get(at)).unwrap_or_default();
    let of_classes = row(0).into_iter().zip(row(1)).enumerate();
    of_classes
        .map(|(class, (examples, correct))| ClassCount {
            class: names.get(class).cloned().unwrap_or_else(|| class.to_string()),
            examples: examples.unsigned_abs(),
            correct: correct.unsigned_abs(),
        })
        .collect()
}

/// Writes the counts of the checkpoint of a step.
pub(crate) fn write(folder: &Path, step: u64, classes: &[ClassCount]) -> std::io::Result<()> {
    let partial = folder.join("classes.partial");
    std::fs::write(&partial, serde_json::json!({ "step": step, "classes": classes }).to_string())?;
    std::fs::rename(partial, folder.join(FILE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_those_of_each_class_and_ignored_targets_do_not_count() {
        let logits = Tensor::from_slice2(&[[2.0_f32, 1.0, 0.0], [0.0, 3.0, 1.0], [5.0, 3.0, 1.0], [0.0, 0.0, 9.0]]);
        let targets = Tensor::from_slice(&[0_i64, 1, 1, -100]);
        let counts = count(&logits, &targets).unwrap();
        assert_eq!(Vec::<i64>::try_from(counts.flatten(0, -1)).unwrap(), [1, 2, 0, 1, 1, 0]);
        assert!(count(&logits, &targets.to_kind(Kind::Float)).is_none(), "numbers are no classes");
        assert!(count(&logits, &logits.argmax(-1, true)).is_none(), "a column is no list of classes");
        let sequence = count(&logits.reshape([2, 2, 3]), &targets.reshape([2, 2])).unwrap();
        assert_eq!(sequence, counts);
    }
}
