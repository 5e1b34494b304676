//! A noisy quadratic (Schaul et al. 2013; Zhang et al. 2019): the ground truth for whatever is concluded from training.
//!
//! θ ∈ ℝᵈ, loss of an example x: ½ Σ hᵢ(θᵢ − xᵢ)² with xᵢ normal with mean 0 and deviation `noise`. The curvatures hᵢ lie
//! evenly in the logarithm between 1/`condition` and 1, θ starts at 1 in each direction. The gradient is hᵢθᵢ with a
//! covariance of hᵢ²·noise² over the batch size, so the gradient noise scale is noise² Σhᵢ² / Σhᵢ²θᵢ². The validation loss is
//! the part that training can take away: ½ Σ hᵢθᵢ².

use crate::data::Examples;
use crate::net::Init;
use crate::{Data, Hyperparameters, Metric, Net, Task, Workload};
use anyhow::Result;
use tch::{Device, Kind, Tensor};
use tunebook_study::{Value, WorkloadHyperparameter as Hp};

/// Noise that is drawn once and then used again and again; its mean is made exactly 0.
const EXAMPLES: i64 = 16_384;

/// See the module.
pub(super) struct Quadratic;

/// The curvatures, as a tensor.
fn curvatures(dimension: i64, condition: f64, device: Device) -> Tensor {
    let place = match dimension {
        1 => Tensor::ones([1], (Kind::Float, device)),
        _ => Tensor::arange(dimension, (Kind::Float, device)) / (dimension - 1) as f64,
    };
    (condition.ln() * (place - 1.0)).exp()
}

impl Workload for Quadratic {
    fn data(&self, hp: &Hyperparameters) -> Result<Data> {
        let (dimension, noise): (i64, f64) = (hp.get("dimension"), hp.get("noise"));
        let drawn = crate::randomness::Randomness::new(0).normal(0, &[EXAMPLES, dimension], 1.0, Device::Cpu);
        let (variance, mean) = drawn.var_mean_dim(0, false, true);
        let x = (drawn - mean) / variance.sqrt() * noise;
        let nothing = |count: i64| Tensor::zeros([count, dimension], (Kind::Float, Device::Cpu));
        Ok(Data::new(Examples::new(x, nothing(EXAMPLES))?, Examples::new(nothing(1), nothing(1))?))
    }

    fn forward(&self, net: &Net, x: &Tensor) -> Tensor {
        let dimension: i64 = net.get("dimension");
        net.parameter("theta", &[dimension], Init::Constant(1.0)) - x
    }

    fn loss(&self, net: &Net, distance: &Tensor, _: &Tensor) -> Tensor {
        let h = curvatures(net.get("dimension"), net.get("condition"), net.device());
        (distance.square() * h).sum_dim_intlist(-1, false, Kind::Float).mean(Kind::Float) * 0.5
    }

    fn task(&self) -> Task {
        Task::Regression
    }

    fn metrics(&self) -> Vec<Metric> {
        vec![]
    }

    fn hyperparameters(&self) -> Vec<Hp> {
        vec![
            Hp::whole("dimension", 1..=1_000_000, 16).shapes().doc("How many parameters"),
            Hp::real("condition", 1.0..=1e12, 100.0).doc("Largest over smallest curvature"),
            Hp::real("noise", 0.0..=1e12, 1.0).doc("Standard deviation of the examples in each direction"),
        ]
    }

    fn defaults(&self) -> Vec<(&'static str, Value)> {
        vec![("optimizer", "sgd".into()), ("lr", 0.3.into()), ("steps", 500.into()), ("eval_every", 10.into())]
    }

    fn doc(&self) -> String {
        "A noisy quadratic with known curvature and known noise, to try what conclusions are worth; validation loss ½ Σ hθ²"
            .into()
    }

    fn examples(&self) -> Option<i64> {
        Some(EXAMPLES)
    }
}
