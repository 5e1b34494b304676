//! `fashion_mlp`: a multi-layer perceptron on Fashion-MNIST, from 784 pixels through hidden layers to 10 classes.

use super::{fashion_data, fashion_hyperparameters, perceptron, perceptron_hyperparameters};
use crate::data::fashion;
use crate::{Data, Hyperparameters, Net, Workload};
use anyhow::Result;
use tch::Tensor;
use tunebook_study::{Value, WorkloadHyperparameter};

pub(super) struct FashionMlp;

impl Workload for FashionMlp {
    fn data(&self, hp: &Hyperparameters) -> Result<Data> {
        fashion_data(hp)
    }

    fn forward(&self, net: &Net, images: &Tensor) -> Tensor {
        perceptron(net, &images.flatten(1, -1), fashion::CLASSES)
    }

    fn hyperparameters(&self) -> Vec<WorkloadHyperparameter> {
        [perceptron_hyperparameters(2, 256), fashion_hyperparameters()].concat()
    }

    fn defaults(&self) -> Vec<(&'static str, Value)> {
        vec![("batch_size", 128.into()), ("lr", 0.05.into()), ("steps", 4000.into()), ("eval_every", 400.into())]
    }

    fn doc(&self) -> String {
        "A multi-layer perceptron on Fashion-MNIST (Xiao et al. 2017, MIT): 54,000 images of clothes for training, \
         6,000 for validation, 10,000 for testing; about 11.5 % validation error with the default values"
            .into()
    }

    fn examples(&self) -> Option<i64> {
        Some(fashion::TRAIN)
    }

    fn chance(&self) -> Option<f64> {
        Some(0.9)
    }
}
