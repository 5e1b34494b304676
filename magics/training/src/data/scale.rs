//! A linear change of scale, which standardizes inputs or targets.

use tch::{Device, Kind, Tensor};

/// A linear change of scale, x ↦ (x − mean) / deviation.
#[derive(Debug)]
pub(crate) struct Scale {
    pub(super) mean: Tensor,
    pub(super) deviation: Tensor,
}

impl Scale {
    /// The scale on which each feature of `examples` has the mean 0 and the standard deviation 1. A feature that is
    /// constant keeps its deviations.
    pub(super) fn of(examples: &Tensor) -> Self {
        let numbers = examples.to_kind(Kind::Float);
        let (variance, mean) = numbers.var_mean_dim(0, false, true);
        let is_constant = numbers.amax(0, true).eq_tensor(&numbers.amin(0, true));
        let deviation = variance.sqrt().where_self(&is_constant.logical_not(), &Tensor::from(1.0f32));
        Self { mean, deviation }
    }

    /// Returns numbers on this scale, as float32.
    pub fn apply(&self, numbers: &Tensor) -> Tensor {
        (numbers.to_kind(Kind::Float) - &self.mean) / &self.deviation
    }

    /// Returns numbers of this scale in their original unit.
    pub fn undo(&self, numbers: &Tensor) -> Tensor {
        numbers * &self.deviation + &self.mean
    }

    pub(super) fn to_device(&self, device: Device) -> Self {
        Self { mean: self.mean.to_device(device), deviation: self.deviation.to_device(device) }
    }
}

/// A number with four digits for a sentence.
pub(super) fn short(number: f64) -> String {
    match number.abs() {
        size if size != 0.0 && !(1e-3..1e6).contains(&size) => format!("{number:.3e}"),
        size if size >= 1000.0 => format!("{number:.0}"),
        _ => format!("{}", (number * 1e4).round() / 1e4),
    }
}
