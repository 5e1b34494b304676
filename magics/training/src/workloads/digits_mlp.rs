//! `digits_mlp`: a multi-layer perceptron on the digits, from 64 pixels through hidden layers to 10 classes.

use super::{perceptron, perceptron_hyperparameters};
use crate::data::digits;
use crate::{Data, Hyperparameters, Net, Workload};
use anyhow::Result;
use tch::Tensor;
use tunebook_study::WorkloadHyperparameter;

pub(super) struct DigitsMlp;

impl Workload for DigitsMlp {
    fn data(&self, _: &Hyperparameters) -> Result<Data> {
        digits::load()
    }

    fn forward(&self, net: &Net, images: &Tensor) -> Tensor {
        perceptron(net, images, digits::CLASSES)
    }

    fn hyperparameters(&self) -> Vec<WorkloadHyperparameter> {
        perceptron_hyperparameters(2, 64)
    }

    fn doc(&self) -> String {
        "A multi-layer perceptron on 1,797 handwritten digits of 8×8 pixels (UCI, CC BY 4.0): 1,257 for training, 270 \
         for validation, 270 for testing; about 3 % validation error with the default values"
            .into()
    }

    fn examples(&self) -> Option<i64> {
        Some(digits::TRAIN as i64)
    }

    fn chance(&self) -> Option<f64> {
        Some(digits::CHANCE_ERROR)
    }
}
