//! `quadratic`: a noisy quadratic (Schaul et al. 2013; Zhang et al. 2019). Its curvature and its noise are known, so
//! that conclusions from training can be checked against the truth.
//!
//! The parameters are θ ∈ ℝᵈ with d = `dimension`, and the loss of an example x is ½ Σ hᵢ(θᵢ − xᵢ)². Each xᵢ is normal
//! with mean 0 and standard deviation `noise`. The curvatures hᵢ are evenly spaced in the logarithm from 1/`condition`
//! to 1, and each θᵢ starts at 1.
//!
//! The gradient of a batch of B examples has the mean hᵢθᵢ and the variance hᵢ² · noise² / B. The gradient noise scale
//! is thus noise² Σ hᵢ² / Σ hᵢ²θᵢ². The validation example is x = 0, so the validation loss is ½ Σ hᵢθᵢ², the part of
//! the loss that training can remove.

use crate::data::Examples;
use crate::net::Init;
use crate::{Data, Hyperparameters, Metric, Net, Task, Workload};
use anyhow::Result;
use tch::{Device, Kind, Tensor};
use tunebook_study::{Value, WorkloadHyperparameter as Hp};

/// The number of training examples. They are drawn once, the same in every trial, and then standardized to mean 0.
const EXAMPLES: i64 = 16_384;

pub(super) struct Quadratic;

/// Returns the curvatures h \[dimension\].
fn curvatures(dimension: i64, condition: f64, device: Device) -> Tensor {
    let exponent = match dimension {
        1 => Tensor::ones([1], (Kind::Float, device)),
        _ => Tensor::arange(dimension, (Kind::Float, device)) / (dimension - 1) as f64,
    };
    (condition.ln() * (exponent - 1.0)).exp()
}

impl Workload for Quadratic {
    fn data(&self, hp: &Hyperparameters) -> Result<Data> {
        let (dimension, noise): (i64, f64) = (hp.get("dimension"), hp.get("noise"));
        let drawn = crate::randomness::Randomness::new(0).normal(0, &[EXAMPLES, dimension], 1.0, Device::Cpu);
        let (variance, mean) = drawn.var_mean_dim(0, false, true);
        let x = (drawn - mean) / variance.sqrt() * noise;
        let zeros = |count: i64| Tensor::zeros([count, dimension], (Kind::Float, Device::Cpu));
        Ok(Data::new(Examples::new(x, zeros(EXAMPLES))?, Examples::new(zeros(1), zeros(1))?))
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
            Hp::whole("dimension", 1..=1_000_000, 16).shapes().doc("Number of parameters"),
            Hp::real("condition", 1.0..=1e12, 100.0).doc("Ratio of the largest to the smallest curvature"),
            Hp::real("noise", 0.0..=1e12, 1.0).doc("Standard deviation of the training examples in each dimension"),
        ]
    }

    fn defaults(&self) -> Vec<(&'static str, Value)> {
        vec![("optimizer", "sgd".into()), ("lr", 0.3.into()), ("steps", 500.into()), ("eval_every", 10.into())]
    }

    fn doc(&self) -> String {
        "A noisy quadratic whose curvature and noise are known, to test conclusions against the truth; validation loss \
         ½ Σ hθ²"
            .into()
    }

    fn examples(&self) -> Option<i64> {
        Some(EXAMPLES)
    }
}
