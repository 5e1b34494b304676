//! The hyperparameters that every training workload shares, and typed access to all of them.

use crate::libtorch::Precision;
use crate::optimizer::Rule;
use crate::schedule::{Schedule, Shape};
use std::collections::BTreeSet;
use std::sync::Mutex;
use tunebook_study::workload::ValueError;
use tunebook_study::{Distribution, Params, Value, WorkloadDescription, WorkloadHyperparameter};

/// A setting that cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum HyperparameterError {
    /// The workload has none of this name.
    #[error("`{workload}` has no hyperparameter `{name}`")]
    Unknown { workload: String, name: String },
    /// The wrong type or out of its domain.
    #[error(transparent)]
    Value(#[from] ValueError),
    /// Two settings that exclude each other.
    #[error("{0}")]
    Conflict(String),
}

/// A workload's hyperparameters with the values of one trial; those that the trial does not set have their defaults.
///
/// Asking for one that is not declared, or in another type, is a mistake in the workload's code: it panics with the names
/// that there are, which ends the trial as failed (and is found by the smoke test when the workload is defined).
#[derive(Debug)]
pub struct Hyperparameters {
    values: Params,
    /// Names that were asked for: what data depend on is what their loader asked for.
    asked: Mutex<BTreeSet<String>>,
}

/// A Rust type that a hyperparameter's value can be read as.
pub trait FromValue: Sized {
    /// What the type is called in a message.
    const TYPE: &'static str;
    /// The value, if it is of the type.
    fn from_value(value: &Value) -> Option<Self>;
}

macro_rules! from_value {
    ($type:ty, $name:literal, |$value:ident| $read:expr) => {
        impl FromValue for $type {
            const TYPE: &'static str = $name;
            fn from_value($value: &Value) -> Option<Self> {
                $read
            }
        }
    };
}
from_value!(f64, "a number", |value| value.as_f64());
from_value!(f32, "a number", |value| value.as_f64().map(|x| x as f32));
from_value!(i64, "a whole number", |value| value.as_i64());
from_value!(i32, "a whole number", |value| value.as_i64().and_then(|i| i32::try_from(i).ok()));
from_value!(u32, "a whole number", |value| value.as_i64().and_then(|i| u32::try_from(i).ok()));
from_value!(usize, "a whole number", |value| value.as_i64().and_then(|i| usize::try_from(i).ok()));
from_value!(u64, "a whole number", |value| value.as_i64().and_then(|i| u64::try_from(i).ok()));
from_value!(String, "a word", |value| value.as_str().map(String::from));
from_value!(bool, "true or false", |value| if let Value::Bool(b) = value { Some(*b) } else { None });

impl Hyperparameters {
    /// Checks the values of a trial against what the workload declares.
    pub fn new(description: &WorkloadDescription, params: &Params) -> Result<Self, HyperparameterError> {
        let mut values: Params =
            description.hyperparameters.iter().map(|h| (h.name.clone(), h.default.clone())).collect();
        for (name, value) in params {
            let Some(known) = description.hyperparameter(name) else {
                let (workload, name) = (description.name.clone(), name.clone());
                return Err(HyperparameterError::Unknown { workload, name });
            };
            values.insert(name.clone(), known.accept(value)?);
        }
        let checked = Self { values, asked: Mutex::default() };
        checked.agree()?;
        Ok(checked)
    }

    /// Whether the shared ones fit together, where they are declared.
    fn agree(&self) -> Result<(), HyperparameterError> {
        let number = |name: &str| self.values.get(name).and_then(Value::as_i64);
        if let (Some(warmup), Some(steps)) = (number("warmup_steps"), number("steps"))
            && warmup > steps
        {
            let message = format!("warmup_steps ({warmup}) is more than steps ({steps}), which includes it");
            return Err(HyperparameterError::Conflict(message));
        }
        let batch = number("batch_size").unwrap_or(0);
        let micro = number("micro_batch_size").filter(|n| *n > 0).unwrap_or(batch);
        let ghost = number("ghost_batch_size").filter(|n| *n > 0).unwrap_or(micro);
        for (whole, part, names) in
            [(batch, micro, ["batch_size", "micro_batch_size"]), (micro, ghost, ["a batch", "ghost_batch_size"])]
        {
            if part > 0 && part < whole && whole % part != 0 {
                let message = format!("{} ({whole}) is not a multiple of {} ({part})", names[0], names[1]);
                return Err(HyperparameterError::Conflict(message));
            }
        }
        Ok(())
    }

    /// A value in the type of the place that it goes to: `let units: i64 = hp.get("hidden_units");`.
    #[track_caller]
    pub fn get<T: FromValue>(&self, name: &str) -> T {
        let Some(value) = self.values.get(name) else {
            let names: Vec<&str> = self.values.keys().map(String::as_str).collect();
            panic!("there is no hyperparameter `{name}`; declared are {}", names.join(", "));
        };
        if let Ok(mut asked) = self.asked.lock()
            && !asked.contains(name)
        {
            asked.insert(name.into());
        }
        T::from_value(value).unwrap_or_else(|| panic!("the hyperparameter `{name}` is {value}, not {}", T::TYPE))
    }

    /// The value of a hyperparameter that a workload may not have.
    pub fn find<T: FromValue>(&self, name: &str) -> Option<T> {
        self.values.get(name).and_then(T::from_value)
    }

    /// All values.
    pub fn values(&self) -> &Params {
        &self.values
    }

    /// Forgets what was asked for so far.
    pub(crate) fn begin_to_watch(&self) {
        if let Ok(mut asked) = self.asked.lock() {
            asked.clear();
        }
    }

    /// What was asked for since, with its values: whoever asked depends on nothing else.
    pub(crate) fn watched(&self) -> Params {
        let asked = self.asked.lock().map(|asked| asked.clone()).unwrap_or_default();
        asked
            .into_iter()
            .filter_map(|name| self.values.get_key_value(&name))
            .map(|(n, v)| (n.clone(), v.clone()))
            .collect()
    }

    /// The update rule of the trial.
    pub fn rule(&self) -> Rule {
        let gamma = self.get("momentum");
        let (beta1, beta2, epsilon) = (self.get("beta1"), self.get("beta2"), self.get("epsilon"));
        match self.get::<String>("optimizer").as_str() {
            "sgd" => Rule::Sgd,
            "momentum" => Rule::Momentum { gamma },
            "rmsprop" => Rule::RmsProp { rho: self.get("rho"), gamma, epsilon },
            "adam" => Rule::Adam { beta1, beta2, epsilon },
            "adamw" => Rule::AdamW { beta1, beta2, epsilon },
            "nadam" => Rule::NAdam { beta1, beta2, epsilon },
            _ => Rule::Nesterov { gamma },
        }
    }

    /// The learning-rate schedule of the trial.
    pub fn schedule(&self) -> Schedule {
        let (warmup_steps, steps): (u64, u64) = (self.get("warmup_steps"), self.get("steps"));
        let decay_steps = Some(self.get::<u64>("decay_steps")).filter(|steps| *steps > 0);
        let shape = match self.get::<String>("schedule").as_str() {
            "linear" => Shape::Linear { decay_steps: decay_steps.unwrap_or(u64::MAX) },
            "cosine" => Shape::Cosine,
            "step" => {
                let third = (steps.saturating_sub(warmup_steps) / 3).max(1);
                Shape::Step { every: decay_steps.unwrap_or(third), factor: self.get("decay_factor") }
            }
            "inverse_sqrt" => Shape::InverseSqrt,
            _ => Shape::Constant,
        };
        Schedule { shape, base: self.get("lr"), warmup_steps, steps }
    }

    /// What products are computed in.
    pub fn precision(&self) -> Precision {
        match self.get::<String>("precision").as_str() {
            "tf32" => Precision::Tf32,
            "bf16" => Precision::Bf16,
            _ => Precision::Fp32,
        }
    }
}

/// The hyperparameters of every workload that the pipeline trains; a workload adds its own and may set other defaults.
/// `examples`: how many there are to train on, where that is known beforehand.
pub fn shared(examples: Option<i64>) -> Vec<WorkloadHyperparameter> {
    use WorkloadHyperparameter as Hp;
    const NONE: f64 = f64::INFINITY;
    const MANY: i64 = 1_000_000_000;
    let log = |low, high| Distribution::LogUniform { low, high };
    let below_one = |low, high| Distribution::OneMinusLogUniform { low, high };
    let seed = Hp { default: Value::Null, ..Hp::whole("seed", 0..=i64::MAX, 0) };
    let all = vec![
        Hp::choice("optimizer", &["nesterov", "sgd", "momentum", "rmsprop", "adam", "adamw", "nadam"]).doc(
            "Update rule, as the Playbook writes it (A3, I15); the epsilon of adam and its kin is in the ε-hat form",
        ),
        Hp::real("lr", 0.0..=NONE, 0.1)
            .above()
            .search(log(1e-4, 10.0))
            .doc("Learning rate that the warm-up reaches (I8)"),
        Hp::real("momentum", 0.0..=1.0, 0.9)
            .below()
            .search(below_one(1e-3, 1.0))
            .doc("γ of momentum, nesterov and rmsprop (A3)"),
        Hp::real("rho", 0.0..=1.0, 0.9).below().search(below_one(1e-3, 0.5)).doc("ρ of rmsprop (A3)"),
        Hp::real("beta1", 0.0..=1.0, 0.9)
            .below()
            .search(below_one(1e-2, 1.0))
            .doc("β₁ of adam, adamw and nadam; tuned from 10 trials on (I2)"),
        Hp::real("beta2", 0.0..=1.0, 0.999)
            .below()
            .search(below_one(1e-4, 0.5))
            .doc("β₂ of adam, adamw and nadam; tuned from 50 trials on (I2)"),
        Hp::real("epsilon", 0.0..=NONE, 1e-8)
            .above()
            .search(log(1e-10, 1.0))
            .doc("ε of rmsprop (inside the root), adam, adamw and nadam (ε-hat); tuned from 26 trials on (I2)"),
        Hp::real("weight_decay", 0.0..=NONE, 0.0)
            .search(log(1e-6, 1e-1))
            .doc("λ of L2 decay: added to the gradient; with adamw apart from it (D7, E8)"),
        Hp::choice("schedule", &["constant", "linear", "cosine", "step", "inverse_sqrt"])
            .doc("Shape of the learning rate after the warm-up (C3, I1)"),
        Hp::whole("warmup_steps", 0..=MANY, 0).doc("Steps in which the learning rate rises from 0 (I12)"),
        Hp::whole("decay_steps", 0..=MANY, 0)
            .doc("Last steps over which `linear` falls, or steps at one rate of `step`; 0: all of them, or a third (G10)"),
        Hp::real("decay_factor", 0.0..=1.0, 0.1).above().doc("What `step` multiplies the rate by (I1)"),
        Hp::real("clip_norm", 0.0..=NONE, 0.0)
            .search(log(1e-2, 1e2))
            .doc("Norm that gradients are clipped to; 0: they are not. `clipped` is the share of steps that were (I13)"),
        Hp::real("label_smoothing", 0.0..=1.0, 0.0)
            .below()
            .search(Distribution::Uniform { low: 0.0, high: 0.3 })
            .doc("Share of a label that is spread over all classes (E8)"),
        Hp::real("dropout", 0.0..=1.0, 0.0)
            .below()
            .search(Distribution::Uniform { low: 0.0, high: 0.7 })
            .doc("Share of activations that are dropped, where the model has dropout layers (E8)"),
        Hp::real("polyak_decay", 0.0..=1.0, 0.0)
            .below()
            .search(below_one(1e-4, 1e-1))
            .doc("Decay a step of the average of the parameters that is evaluated; 0: the parameters themselves (E9)"),
        Hp::whole("batch_size", 1..=examples.unwrap_or(MANY), 64)
            .doc("Examples a step. Chosen for speed, not tuned for its validation error (B1–B14)"),
        Hp::whole("micro_batch_size", 0..=MANY, 0).doc(
            "Examples of one pass where a batch does not fit: their gradients are added up; 0: the whole batch. The batch \
             size is then an effective one, and no faster than the micro-batch (B5)",
        ),
        Hp::whole("ghost_batch_size", 0..=MANY, 0)
            .doc("Examples that share the statistics of a batch norm; 0: those of a pass. Typically 64 (B15)"),
        Hp::whole("steps", 1..=MANY, 1000).doc("Training steps, warm-up included; not to be tuned (G2)"),
        Hp::whole("eval_every", 1..=MANY, 100).doc("Steps between evaluations (H3)"),
        Hp::whole("checkpoint_every", 0..=MANY, 0)
            .doc("Steps between checkpoints to resume from, at evaluations; 0: ten a trial (H10)"),
        Hp::whole("keep_best", 1..=1000, 1).doc("How many of the best checkpoints are kept (H10)"),
        Hp::choice("precision", &["fp32", "tf32", "bf16"])
            .doc("What products are computed in; parameters and sums stay in fp32. tf32 needs CUDA"),
        seed.doc("Seed of all randomness; derived from the study's seed and the trial's number unless declared (F2)"),
    ];
    all.into_iter().map(|h| Hp { shared: true, ..h }).collect()
}
