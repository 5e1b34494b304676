//! The built-in workloads.

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

/// All of them.
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

/// Fully connected layers named `linear0`, `linear1`, …: the hidden ones with the activation that the hyperparameter names
/// and dropout, the last one without.
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

/// The hyperparameters of [`perceptron`].
fn perceptron_hyperparameters(hidden_layers: i64, hidden_units: i64) -> Vec<tunebook_study::WorkloadHyperparameter> {
    use tunebook_study::WorkloadHyperparameter as Hp;
    vec![
        Hp::whole("hidden_layers", 0..=64, hidden_layers).shapes().doc("Hidden layers (D7)"),
        Hp::whole("hidden_units", 1..=65_536, hidden_units).shapes().doc("Units of each hidden layer (D7)"),
        Hp::choice("activation", &["relu", "tanh", "gelu"]).doc("Non-linearity after each hidden layer (D7)"),
    ]
}

/// The hyperparameters that say which Fashion-MNIST is read.
fn fashion_hyperparameters() -> Vec<tunebook_study::WorkloadHyperparameter> {
    use crate::data::fashion;
    use tunebook_study::WorkloadHyperparameter as Hp;
    vec![
        Hp::text("data", &fashion::folder()).doc("Folder with the four files of Fashion-MNIST"),
        Hp::whole("examples", 1..=fashion::TRAIN, fashion::TRAIN).doc("How many of the training examples are used"),
    ]
}

/// The data that [`fashion_hyperparameters`] name.
fn fashion_data(hp: &crate::Hyperparameters) -> anyhow::Result<crate::Data> {
    Ok(crate::data::fashion::load(hp.get::<String>("data"))?.first(hp.get("examples")))
}
