//! `fashion_cnn`: a convolutional network on Fashion-MNIST, with two 3×3 convolutions, pooling, and one hidden linear
//! layer.

use super::{fashion_data, fashion_hyperparameters};
use crate::data::fashion;
use crate::net::Convolution;
use crate::{Data, Hyperparameters, Net, Workload};
use anyhow::Result;
use tch::Tensor;
use tunebook_study::{Value, WorkloadHyperparameter as Hp};

pub(super) struct FashionCnn;

impl Workload for FashionCnn {
    fn data(&self, hp: &Hyperparameters) -> Result<Data> {
        fashion_data(hp)
    }

    fn forward(&self, net: &Net, images: &Tensor) -> Tensor {
        let channels: i64 = net.get("channels");
        let mut x = images.shallow_clone();
        for (layer, channels) in [channels, 2 * channels].into_iter().enumerate() {
            x = net.conv2d(&format!("convolution{layer}"), &x, channels, Convolution::same(3)).relu();
            x = x.max_pool2d(2, 2, 0, 1, false);
        }
        let x = net.linear("hidden", &x.flatten(1, -1), net.get("hidden_units")).relu();
        net.linear("logits", &net.dropout(&x), fashion::CLASSES)
    }

    fn hyperparameters(&self) -> Vec<Hp> {
        let mut own = vec![
            Hp::whole("channels", 1..=4096, 16)
                .shapes()
                .doc("Channels of the first convolution; the second one has twice as many (D7)"),
            Hp::whole("hidden_units", 1..=65_536, 128).shapes().doc("Units of the hidden linear layer (D7)"),
        ];
        own.extend(fashion_hyperparameters());
        own
    }

    fn defaults(&self) -> Vec<(&'static str, Value)> {
        vec![("batch_size", 64.into()), ("lr", 0.03.into()), ("steps", 3000.into()), ("eval_every", 300.into())]
    }

    fn doc(&self) -> String {
        "A convolutional network with two 3×3 layers on Fashion-MNIST (Xiao et al. 2017, MIT): 54,000 images of \
         clothes for training, 6,000 for validation, 10,000 for testing; about 9 % validation error with the default \
         values"
            .into()
    }

    fn examples(&self) -> Option<i64> {
        Some(fashion::TRAIN)
    }

    fn chance(&self) -> Option<f64> {
        Some(0.9)
    }
}
