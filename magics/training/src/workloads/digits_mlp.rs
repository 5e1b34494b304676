//! A multi-layer perceptron on the digits: 64 → hidden → … → 10.

use crate::data::digits;
use crate::hyperparameters::{Hyperparameters, choice, shaping, shared, whole};
use crate::randomness::Randomness;
use crate::{Split, Workload};
use tch::{Device, Kind, Tensor};
use tunebook_study::{Direction, Judged, Objective, WorkloadDescription};

/// See the module.
pub(super) struct DigitsMlp;

impl Workload for DigitsMlp {
    fn description(&self) -> WorkloadDescription {
        let mut hyperparameters = shared(digits::TRAIN as i64);
        hyperparameters.extend([
            shaping(whole("hidden_layers", 0, 64, 2, "Hidden layers (D7)")),
            shaping(whole("hidden_units", 1, 65_536, 64, "Units of each hidden layer (D7)")),
            choice("activation", &["relu", "tanh", "gelu"], "Non-linearity after each hidden layer (D7)"),
        ]);
        classifier(
            "digits_mlp",
            "A multi-layer perceptron on 1,797 handwritten digits of 8×8 pixels (UCI, CC BY 4.0): 1,257 to train on, 270 \
             to validate, 270 to test",
            hyperparameters,
        )
    }

    fn data(&self, device: Device) -> Result<Split, String> {
        digits::load(device)
    }

    fn parameters(&self, hp: &Hyperparameters, randomness: &Randomness, device: Device) -> Vec<(String, Tensor)> {
        let mut widths = vec![digits::SIDE * digits::SIDE];
        widths.extend((0..hp.whole("hidden_layers")).map(|_| hp.whole("hidden_units")));
        widths.push(digits::CLASSES);
        let layer = |(i, pair): (usize, &[i64])| linear(i as u64, pair[0], pair[1], randomness, device);
        widths.windows(2).enumerate().flat_map(layer).collect()
    }

    fn forward(&self, hp: &Hyperparameters, parameters: &[Tensor], inputs: &Tensor) -> Tensor {
        let mut x = inputs.shallow_clone();
        let layers = parameters.len() / 2;
        for (i, layer) in parameters.chunks_exact(2).enumerate() {
            x = x.linear(&layer[0], Some(&layer[1]));
            if i + 1 < layers {
                x = match hp.word("activation") {
                    "tanh" => x.tanh(),
                    "gelu" => x.gelu("none"),
                    _ => x.relu(),
                };
            }
        }
        x
    }
}

/// Weight \[out, in\] (He et al. 2015, uniform) and bias \[out\] (zero) of a linear layer.
pub(super) fn linear(
    layer: u64,
    inputs: i64,
    outputs: i64,
    randomness: &Randomness,
    device: Device,
) -> [(String, Tensor); 2] {
    let weight = randomness.uniform(layer, &[outputs, inputs], (6.0 / inputs as f64).sqrt(), device);
    let bias = Tensor::zeros([outputs], (Kind::Float, device));
    [(format!("linear{layer}.weight"), weight), (format!("linear{layer}.bias"), bias)]
}

/// The description that all digit classifiers share.
pub(super) fn classifier(
    name: &str,
    doc: &str,
    hyperparameters: Vec<tunebook_study::WorkloadHyperparameter>,
) -> WorkloadDescription {
    WorkloadDescription {
        name: name.into(),
        kind: "builtin".into(),
        doc: doc.into(),
        hyperparameters,
        metrics: ["train/loss", "valid/loss", "valid/error", "gradient_norm", "lr"].map(String::from).to_vec(),
        objective: Objective { metric: "valid/error".into(), direction: Direction::Minimize, judged: Judged::Best },
        chance: Some(digits::CHANCE_ERROR),
    }
}
