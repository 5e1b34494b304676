//! `digits_cnn`: a small convolutional network on the digits, with two 3×3 convolutions, pooling, and one linear layer.

use crate::data::digits;
use crate::net::Convolution;
use crate::{Data, Hyperparameters, Net, Workload};
use anyhow::Result;
use tch::Tensor;
use tunebook_study::WorkloadHyperparameter as Hp;

pub(super) struct DigitsCnn;

impl Workload for DigitsCnn {
    fn data(&self, _: &Hyperparameters) -> Result<Data> {
        digits::load()
    }

    fn forward(&self, net: &Net, images: &Tensor) -> Tensor {
        let channels: i64 = net.get("channels");
        let mut x = images.view([-1, 1, digits::SIDE, digits::SIDE]);
        for (layer, channels) in [channels, 2 * channels].into_iter().enumerate() {
            x = net.conv2d(&format!("convolution{layer}"), &x, channels, Convolution::same(3)).relu();
            x = x.max_pool2d(2, 2, 0, 1, false);
        }
        net.linear("logits", &net.dropout(&x.flatten(1, -1)), digits::CLASSES)
    }

    fn hyperparameters(&self) -> Vec<Hp> {
        let channels = "Channels of the first convolution; the second one has twice as many (D7)";
        vec![Hp::whole("channels", 1..=4096, 16).shapes().doc(channels)]
    }

    fn doc(&self) -> String {
        "A convolutional network with two 3×3 layers on 1,797 handwritten digits of 8×8 pixels (UCI, CC BY 4.0): 1,257 \
         for training, 270 for validation, 270 for testing; about 1.5 % validation error with the default values"
            .into()
    }

    fn examples(&self) -> Option<i64> {
        Some(digits::TRAIN as i64)
    }

    fn chance(&self) -> Option<f64> {
        Some(digits::CHANCE_ERROR)
    }
}
