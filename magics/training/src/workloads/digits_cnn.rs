//! A small convolutional net on the digits: two 3×3 convolutions with pooling, one linear layer.

use super::digits_mlp::{classifier, linear};
use crate::data::digits;
use crate::hyperparameters::{Hyperparameters, shaping, shared, whole};
use crate::randomness::Randomness;
use crate::{Split, Workload};
use tch::{Device, Kind, Tensor};
use tunebook_study::WorkloadDescription;

/// See the module.
pub(super) struct DigitsCnn;

impl Workload for DigitsCnn {
    fn description(&self) -> WorkloadDescription {
        let mut hyperparameters = shared(digits::TRAIN as i64);
        let channels = "Channels of the first convolution; the second has twice as many (D7)";
        hyperparameters.push(shaping(whole("channels", 1, 4096, 16, channels)));
        classifier(
            "digits_cnn",
            "A convolutional net of two 3×3 layers on 1,797 handwritten digits of 8×8 pixels (UCI, CC BY 4.0): 1,257 to \
             train on, 270 to validate, 270 to test",
            hyperparameters,
        )
    }

    fn data(&self, device: Device) -> Result<Split, String> {
        digits::load(device)
    }

    fn parameters(&self, hp: &Hyperparameters, randomness: &Randomness, device: Device) -> Vec<(String, Tensor)> {
        let channels = hp.whole("channels");
        let convolution = |layer: u64, inputs: i64, outputs: i64| {
            let bound = (6.0 / (9 * inputs) as f64).sqrt();
            let weight = randomness.uniform(layer, &[outputs, inputs, 3, 3], bound, device);
            let bias = Tensor::zeros([outputs], (Kind::Float, device));
            [(format!("convolution{layer}.weight"), weight), (format!("convolution{layer}.bias"), bias)]
        };
        // 8×8 pixels, halved twice.
        let flat = 2 * channels * (digits::SIDE / 4) * (digits::SIDE / 4);
        let layers = [
            convolution(0, 1, channels),
            convolution(1, channels, 2 * channels),
            linear(2, flat, digits::CLASSES, randomness, device),
        ];
        layers.into_iter().flatten().collect()
    }

    fn forward(&self, _: &Hyperparameters, parameters: &[Tensor], inputs: &Tensor) -> Tensor {
        let mut x = inputs.view([-1, 1, digits::SIDE, digits::SIDE]);
        for layer in parameters.chunks_exact(2).take(2) {
            x = x.conv2d(&layer[0], Some(&layer[1]), 1, 1, 1, 1).relu().max_pool2d(2, 2, 0, 1, false);
        }
        x.flatten(1, -1).linear(&parameters[4], Some(&parameters[5]))
    }
}
