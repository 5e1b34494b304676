//! Objective surfaces with a known truth, and studies of them.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use tunebook_study::sampler::SamplerKind;
use tunebook_study::{
    Direction, Distribution, Hyperparameter, MetricSummary, Objective, ObjectiveValue, Role, SearchSpace,
    StudyDefinition, Trial, TrialState, WorkloadReference,
};

/// A source of random numbers.
pub struct Random(ChaCha8Rng);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// A uniform number between 0 and 1.
    pub fn uniform(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1_u64 << 53) as f64 + f64::EPSILON / 4.0
    }

    /// A number with the standard normal distribution.
    pub fn normal(&mut self) -> f64 {
        (-2.0 * self.uniform().ln()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos()
    }
}

/// An objective surface over the unit cube of its nuisances. None is an infeasible configuration.
pub struct Surface {
    pub name: &'static str,
    pub nuisances: usize,
    /// The standard deviation of the objective over seeds.
    pub noise: f64,
    pub value: fn(&[f64]) -> Option<f64>,
}

fn bowl(x: &[f64]) -> Option<f64> {
    let centres = [0.31, 0.62, 0.47, 0.7, 0.25, 0.55];
    Some(0.05 + x.iter().zip(centres).enumerate().map(|(i, (x, c))| (x - c).powi(2) / (1 + i) as f64).sum::<f64>())
}

/// A surface with a ridge and a region of divergence, like that of a learning rate and its decay.
fn dl4(x: &[f64]) -> Option<f64> {
    let effective = (5.0 * x[0] - 5.0) - (3.0 * x[1] - 3.0);
    let q = (6.0 * x[2] - 3.0).powi(2);
    let fit = 0.05 * (effective + 0.7).powi(2) + 0.02 * q / (1.0 + 0.2 * q);
    (effective <= 0.0).then(|| 0.02 + fit + 0.1 * (0.8 * x[3] - 0.2).powi(2) + 0.01 * (3.0 * x[1] - 2.0).powi(2))
}

/// Surfaces from smooth ones without noise to those that are noise alone.
pub const SURFACES: [Surface; 8] = [
    Surface { name: "bowl of 2", nuisances: 2, noise: 0.0, value: bowl },
    Surface { name: "bowl of 3, noisy", nuisances: 3, noise: 0.05, value: bowl },
    Surface { name: "bowl of 6", nuisances: 6, noise: 0.01, value: bowl },
    Surface { name: "dl4", nuisances: 4, noise: 0.0, value: dl4 },
    Surface { name: "dl4, noisy", nuisances: 4, noise: 0.02, value: dl4 },
    Surface {
        name: "exponential",
        nuisances: 1,
        noise: 0.0,
        value: |x| Some(0.2 - 0.1 * (-(1.0 - x[0]).ln()).max(0.0)),
    },
    Surface { name: "log-normal", nuisances: 2, noise: 0.0, value: |x| Some((3.0 * (x[0] + x[1])).exp()) },
    Surface { name: "noise alone", nuisances: 2, noise: 0.1, value: |_| Some(0.5) },
];

/// A study of `arms` values of a scientific hyperparameter that makes no difference, with nuisances.
pub fn definition(arms: i64, nuisances: usize, repeats: u32) -> StudyDefinition {
    let mut space = SearchSpace::new();
    let mut declare = |name: String, role, distribution| {
        space.declare(Hyperparameter { name, role, distribution, conditions: vec![] }).unwrap();
    };
    let values = (1..=arms).map(Into::into).collect();
    declare("arm".into(), Role::Scientific, Distribution::choice(values).unwrap());
    for i in 0..nuisances {
        declare(format!("x{i}"), Role::Nuisance, Distribution::uniform(0.0, 1.0).unwrap());
    }
    StudyDefinition {
        sampler: SamplerKind::Random,
        repeats,
        ..StudyDefinition::new(WorkloadReference::Builtin { name: "w".into() }, space, objective())
    }
}

pub fn objective() -> Objective {
    Objective { metric: "e".into(), direction: Direction::Minimize, judged: ObjectiveValue::Best }
}

pub fn trial(number: u32, configuration: u32, arm: i64, nuisances: &[f64], objective: Option<f64>) -> Trial {
    let mut params: tunebook_study::Params = [("arm".to_string(), arm.into())].into();
    params.extend(nuisances.iter().enumerate().map(|(i, x)| (format!("x{i}"), (*x).into())));
    let summary = |e| MetricSummary { min: (e, 7), max: (e, 7), last: (e, 9) };
    Trial {
        number,
        configuration,
        params,
        seed: 0,
        state: if objective.is_some() { TrialState::Complete } else { TrialState::Infeasible },
        reason: None,
        summaries: objective.map(|e| [("e".to_string(), summary(e))].into()).unwrap_or_default(),
        seconds: 1.0,
        started: 0.0,
    }
}

impl Surface {
    /// Returns the objective of a configuration in one training.
    pub fn train(&self, x: &[f64], random: &mut Random) -> Option<f64> {
        Some((self.value)(x)? + self.noise * random.normal())
    }

    /// Returns the trials of a study with `configurations` for each of `arms` values, each with `repeats` seeds. The
    /// configurations are drawn at random.
    pub fn study(&self, arms: i64, configurations: u32, repeats: u32, random: &mut Random) -> Vec<Trial> {
        let mut trials = vec![];
        for configuration in 0..configurations * arms as u32 {
            let x: Vec<f64> = (0..self.nuisances).map(|_| random.uniform()).collect();
            for _ in 0..repeats {
                let number = trials.len() as u32 + 1;
                let arm = 1 + i64::from(configuration) % arms;
                trials.push(trial(number, configuration, arm, &x, self.train(&x, random)));
            }
        }
        trials
    }
}
