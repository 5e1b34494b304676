//! The built-in workloads, and what several of them share.

mod digits_cnn;
mod digits_mlp;
mod fashion_cnn;
mod fashion_mlp;
mod fashion_resnet;
mod quadratic;
mod text_transformer;

use crate::Net;
use crate::catalogue::{Catalogue, Trainable};
use tch::Tensor;

/// Returns the catalogue of the built-in workloads.
pub fn builtin() -> Catalogue {
    let mut catalogue = Catalogue::new("builtin");
    let all: [(&str, Box<dyn crate::Workload>); 7] = [
        ("digits_mlp", Box::new(digits_mlp::DigitsMlp)),
        ("digits_cnn", Box::new(digits_cnn::DigitsCnn)),
        ("fashion_mlp", Box::new(fashion_mlp::FashionMlp)),
        ("fashion_cnn", Box::new(fashion_cnn::FashionCnn)),
        ("fashion_resnet", Box::new(fashion_resnet::FashionResnet)),
        ("text_transformer", Box::new(text_transformer::TextTransformer)),
        ("quadratic", Box::new(quadratic::Quadratic)),
    ];
    for (name, workload) in all {
        catalogue.add(name, Trainable::Workload(workload));
    }
    catalogue
}

/// A multi-layer perceptron of the linear layers `linear0`, `linear1`, …, from x \[batch, inputs\] to logits
/// \[batch, classes\]. Each hidden layer is followed by the activation function that `activation` names and by dropout.
fn perceptron(net: &Net, x: &Tensor, classes: i64) -> Tensor {
    let (layers, units): (i64, i64) = (net.get("hidden_layers"), net.get("hidden_units"));
    let activation: String = net.get("activation");
    let mut x = x.shallow_clone();
    for layer in 0..layers {
        x = net.linear(&format!("linear{layer}"), &x, units);
        x = match activation.as_str() {
            "tanh" => x.tanh(),
            "gelu" => x.gelu("none"),
            _ => x.relu(),
        };
        x = net.dropout(&x);
    }
    net.linear(&format!("linear{layers}"), &x, classes)
}

/// Returns the hyperparameters that [`perceptron`] reads, with these defaults.
fn perceptron_hyperparameters(hidden_layers: i64, hidden_units: i64) -> Vec<tunebook_study::WorkloadHyperparameter> {
    use tunebook_study::WorkloadHyperparameter as Hp;
    vec![
        Hp::whole("hidden_layers", 0..=64, hidden_layers).shapes().doc("Number of hidden layers (D7)"),
        Hp::whole("hidden_units", 1..=65_536, hidden_units).shapes().doc("Units of each hidden layer (D7)"),
        Hp::choice("activation", &["relu", "tanh", "gelu"]).doc("Activation function of the hidden layers (D7)"),
    ]
}

/// Returns the hyperparameters that [`fashion_data`] reads.
fn fashion_hyperparameters() -> Vec<tunebook_study::WorkloadHyperparameter> {
    use crate::data::fashion;
    use tunebook_study::WorkloadHyperparameter as Hp;
    vec![
        Hp::text("data", &fashion::folder()).doc("Folder with the four files of Fashion-MNIST"),
        Hp::whole("examples", 1..=fashion::TRAIN, fashion::TRAIN)
            .doc("Number of training examples that are used, the first ones of the file"),
    ]
}

/// Reads Fashion-MNIST from the folder `data` and keeps its first `examples` training examples.
fn fashion_data(hp: &crate::Hyperparameters) -> anyhow::Result<crate::Data> {
    Ok(crate::data::fashion::load(hp.get::<String>("data"))?.first(hp.get("examples")))
}
