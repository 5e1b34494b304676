//! `fashion_resnet`: a residual network on Fashion-MNIST, in three stages with 28×28, 14×14 and 7×7 pixels, each with
//! twice the channels of the one before. The batch norm stands inside the residual branch (He et al. 2016, "Identity
//! mappings in deep residual networks"; Playbook I11).

use super::{fashion_data, fashion_hyperparameters};
use crate::data::fashion;
use crate::net::Convolution;
use crate::{Data, Hyperparameters, Net, Workload};
use anyhow::Result;
use tch::{Kind, Tensor};
use tunebook_study::{Value, WorkloadHyperparameter as Hp};

pub(super) struct FashionResnet;

/// A residual block: x + f(norm(x)). If f changes the shape, the normalized x takes a 1×1 convolution in place of the
/// identity.
fn block(net: &Net, name: &str, x: &Tensor, channels: i64, stride: i64) -> Tensor {
    let conv = Convolution::same(3).without_bias();
    let normed = net.batch_norm(&format!("{name}.norm1"), x).relu();
    let y = net.conv2d(&format!("{name}.convolution1"), &normed, channels, conv.stride(stride));
    let y = net.batch_norm(&format!("{name}.norm2"), &y).relu();
    let y = net.conv2d(&format!("{name}.convolution2"), &y, channels, conv);
    if stride == 1 && x.size()[1] == channels {
        return x + y;
    }
    let shortcut = Convolution::same(1).without_bias().stride(stride);
    net.conv2d(&format!("{name}.shortcut"), &normed, channels, shortcut) + y
}

impl Workload for FashionResnet {
    fn data(&self, hp: &Hyperparameters) -> Result<Data> {
        fashion_data(hp)
    }

    fn forward(&self, net: &Net, images: &Tensor) -> Tensor {
        let (channels, blocks): (i64, i64) = (net.get("channels"), net.get("blocks"));
        let mut x = net.conv2d("stem", images, channels, Convolution::same(3).without_bias());
        for stage in 0..3 {
            for i in 0..blocks {
                let stride = if stage > 0 && i == 0 { 2 } else { 1 };
                x = block(net, &format!("stage{stage}.block{i}"), &x, channels << stage, stride);
            }
        }
        let x = net.batch_norm("norm", &x).relu().mean_dim([2, 3].as_slice(), false, Kind::Float);
        net.linear("logits", &net.dropout(&x), fashion::CLASSES)
    }

    fn augment(&self, net: &Net, images: &Tensor) -> Tensor {
        match net.get::<String>("augmentation").as_str() {
            "shift" => net.random_shift(images, 2),
            "shift_mirror" => net.random_mirror(&net.random_shift(images, 2)),
            _ => images.shallow_clone(),
        }
    }

    fn hyperparameters(&self) -> Vec<Hp> {
        let mut own = vec![
            Hp::whole("channels", 1..=1024, 16)
                .shapes()
                .doc("Channels of the first stage; each later stage has twice as many (D7)"),
            Hp::whole("blocks", 1..=64, 1).shapes().doc("Residual blocks of each of the three stages (D7)"),
            Hp::choice("augmentation", &["none", "shift", "shift_mirror"])
                .doc("Random shifts by up to two pixels, and mirror images, of the training images (E8)"),
        ];
        own.extend(fashion_hyperparameters());
        own
    }

    fn defaults(&self) -> Vec<(&'static str, Value)> {
        let shared = [("batch_size", 64), ("steps", 2000), ("eval_every", 200), ("ghost_batch_size", 64)];
        let mut defaults: Vec<(&str, Value)> =
            shared.into_iter().map(|(name, value)| (name, i64::into(value))).collect();
        defaults.extend([("lr", 0.05.into()), ("schedule", "cosine".into())]);
        defaults
    }

    fn doc(&self) -> String {
        "A residual network on Fashion-MNIST (Xiao et al. 2017, MIT): 54,000 images of clothes for training, 6,000 for \
         validation, 10,000 for testing; about 9 % validation error with the default values"
            .into()
    }

    fn examples(&self) -> Option<i64> {
        Some(fashion::TRAIN)
    }

    fn chance(&self) -> Option<f64> {
        Some(0.9)
    }
}
