//! Shows a tensor as the value of a cell: shape, type, device and statistics, and its values if there are few.

use crate::picture::{Picture, picture};
use tch::{Kind, Tensor};
use tunebook_cell::Bundle;

/// A tensor with at most this many values is shown with all of them.
const FEW: usize = 64;

/// Shows tensors. evcxr calls [`ShowTensor::evcxr_display`] for the value of a cell.
pub trait ShowTensor {
    /// The shape, type, device and statistics, in one or two lines.
    fn summary(&self) -> String;
    /// The summary as a bundle, for `tunebook::display(&tensor.bundle())`.
    fn bundle(&self) -> Bundle {
        Bundle::new().text(self.summary())
    }
    /// Prints the summary as the value of a cell.
    fn evcxr_display(&self);
    /// Draws the tensor as [`picture`] does.
    fn picture(&self) -> Picture;
}

impl ShowTensor for Tensor {
    fn summary(&self) -> String {
        if !self.defined() {
            return "Tensor (undefined)".into();
        }
        let shape: Vec<String> = self.size().iter().map(i64::to_string).collect();
        let device = match self.device() {
            tch::Device::Cpu => "cpu".into(),
            tch::Device::Cuda(index) => format!("cuda:{index}"),
            other => format!("{other:?}").to_lowercase(),
        };
        let mut text = format!("Tensor [{}] {:?} {device}", shape.join(", "), self.kind());
        if self.numel() == 0 {
            return text + ", empty";
        }
        tch::no_grad(|| {
            text += &statistics(self);
            if self.numel() <= FEW {
                text += &format!("\n{}", self.to_device(tch::Device::Cpu));
            }
        });
        text.trim_end().into()
    }

    fn evcxr_display(&self) {
        self.bundle().evcxr_display();
    }

    fn picture(&self) -> Picture {
        picture(self)
    }
}

/// The minimum, mean, maximum and standard deviation. Values that are not finite are left out and counted.
fn statistics(tensor: &Tensor) -> String {
    if matches!(tensor.kind(), Kind::ComplexHalf | Kind::ComplexFloat | Kind::ComplexDouble) {
        return String::new();
    }
    if tensor.kind() == Kind::Bool {
        return format!(", true {} of {}", tensor.sum(Kind::Int64).int64_value(&[]), tensor.numel());
    }
    let values = tensor.detach().to_kind(Kind::Double).flatten(0, -1);
    let finite = values.isfinite();
    let count = finite.sum(Kind::Int64).int64_value(&[]);
    let others = tensor.numel() as i64 - count;
    let mut text = String::new();
    if count > 0 {
        let values = values.masked_select(&finite);
        let of = |t: Tensor| number(t.double_value(&[]));
        let (least, most) = (of(values.min()), of(values.max()));
        text += &format!(", min {least}, mean {}, max {most}", of(values.mean(Kind::Double)));
        if count > 1 {
            text += &format!(", std {}", of(values.std(true)));
        }
    }
    if others > 0 {
        text += &format!(", {others} NaN or infinite");
    }
    text
}

/// Formats a number with four significant digits.
fn number(x: f64) -> String {
    if x != 0.0 && !(1e-3..1e6).contains(&x.abs()) {
        return format!("{x:.3e}");
    }
    let digits = if x == 0.0 { 0 } else { (3 - x.abs().log10().floor() as i32).clamp(0, 6) as usize };
    let text = format!("{x:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').into() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_has_shape_type_device_and_statistics() {
        let summary = Tensor::arange(100, (Kind::Float, tch::Device::Cpu)).view([10, 10]).summary();
        assert_eq!(summary, "Tensor [10, 10] Float cpu, min 0, mean 49.5, max 99, std 29.01");
        let few = Tensor::from_slice(&[1.0_f32, f32::NAN, 3.0]).summary();
        assert!(few.starts_with("Tensor [3] Float cpu, min 1, mean 2, max 3, std 1.414, 1 NaN or infinite\n"), "{few}");
        let flags = Tensor::from_slice(&[true, false, true]).summary();
        assert!(flags.starts_with("Tensor [3] Bool cpu, true 2 of 3"), "{flags}");
        assert_eq!(Tensor::zeros([0, 3], (Kind::Float, tch::Device::Cpu)).summary(), "Tensor [0, 3] Float cpu, empty");
    }

    #[test]
    fn numbers_have_four_digits() {
        assert_eq!(
            [0.0, 0.5, 12.345678, -0.000_012_345, 123_456.7].map(number),
            ["0", "0.5", "12.35", "-1.234e-5", "123457"]
        );
    }
}
