//! Functions whose minimum is known, and what a sampler finds of them.

use std::f64::consts::PI;
use tunebook_study::sampler::{Proposals, SamplerKind};
use tunebook_study::*;

/// A function of the unit cube. None where it is infeasible.
pub struct Function {
    pub name: &'static str,
    pub dimensions: usize,
    pub minimum: f64,
    pub value: fn(&[f64]) -> Option<f64>,
}

pub const BRANIN: Function = Function {
    name: "Branin",
    dimensions: 2,
    minimum: 0.397_887_357_729_738_16,
    value: |u| {
        let (x, y) = (15.0 * u[0] - 5.0, 15.0 * u[1]);
        let bowl = y - 5.1 / (4.0 * PI * PI) * x * x + 5.0 / PI * x - 6.0;
        Some(bowl * bowl + 10.0 * (1.0 - 1.0 / (8.0 * PI)) * x.cos() + 10.0)
    },
};

pub const HARTMANN: Function = Function {
    name: "Hartmann-6",
    dimensions: 6,
    minimum: -3.322_368_011_391_339,
    value: |u| {
        const A: [[f64; 6]; 4] = [
            [10.0, 3.0, 17.0, 3.5, 1.7, 8.0],
            [0.05, 10.0, 17.0, 0.1, 8.0, 14.0],
            [3.0, 3.5, 1.7, 10.0, 17.0, 8.0],
            [17.0, 8.0, 0.05, 10.0, 0.1, 14.0],
        ];
        const P: [[f64; 6]; 4] = [
            [0.1312, 0.1696, 0.5569, 0.0124, 0.8283, 0.5886],
            [0.2329, 0.4135, 0.8307, 0.3736, 0.1004, 0.9991],
            [0.2348, 0.1451, 0.3522, 0.2883, 0.3047, 0.6650],
            [0.4047, 0.8828, 0.8732, 0.5743, 0.1091, 0.0381],
        ];
        let hill = |k: usize| (0..6).map(|j| A[k][j] * (u[j] - P[k][j]).powi(2)).sum::<f64>();
        Some(-(0..4).map(|k| [1.0, 1.2, 3.0, 3.2][k] * (-hill(k)).exp()).sum::<f64>())
    },
};

pub const LEVY: Function = Function {
    name: "Levy-5",
    dimensions: 5,
    minimum: 0.0,
    value: |u| {
        let w: Vec<f64> = u.iter().map(|u| 1.0 + (20.0 * u - 10.0 - 1.0) / 4.0).collect();
        let last = w[4];
        let middle: f64 = w[..4].iter().map(|w| (w - 1.0).powi(2) * (1.0 + 10.0 * (PI * w + 1.0).sin().powi(2))).sum();
        let end = (last - 1.0).powi(2) * (1.0 + (2.0 * PI * last).sin().powi(2));
        Some((PI * w[0]).sin().powi(2) + middle + end)
    },
};

/// A model of deep learning: 30 % of the cube is infeasible, and the minimum lies near that part.
pub const DL4: Function = Function {
    name: "dl4",
    dimensions: 4,
    minimum: 0.02,
    value: |u| {
        let effective = (5.0 * u[0] - 5.0) - (3.0 * u[1] - 3.0);
        let q = (6.0 * u[2] - 3.0).powi(2);
        (effective <= 0.0).then(|| {
            0.02 + 0.05 * (effective + 0.7).powi(2)
                + 0.02 * q / (1.0 + 0.2 * q)
                + 0.1 * (0.8 * u[3] - 0.2).powi(2)
                + 0.01 * (3.0 * u[1] - 2.0).powi(2)
        })
    },
};

pub fn study(space: SearchSpace, sampler: SamplerKind, seed: u64) -> StudyDefinition {
    StudyDefinition {
        sampler,
        seed,
        ..StudyDefinition::new(
            WorkloadReference::Builtin { name: "w".into() },
            space,
            Objective { metric: "e".into(), direction: Direction::Minimize, judged: ObjectiveValue::Best },
        )
    }
}

pub fn cube(dimensions: usize) -> SearchSpace {
    let mut space = SearchSpace::new();
    for k in 0..dimensions {
        let (name, distribution) = (format!("x{k}"), Distribution::uniform(0.0, 1.0).unwrap());
        space.declare(Hyperparameter { name, role: Role::Nuisance, distribution, conditions: vec![] }).unwrap();
    }
    space
}

/// The summaries of a trial that reported one value.
pub fn reported(value: f64) -> Summaries {
    let mut summary = None;
    MetricSummary::extend(&mut summary, value, 1);
    [("e".to_string(), summary.unwrap())].into_iter().collect()
}

/// Tells proposals the result of a configuration. None is an infeasible trial.
pub fn tell(proposals: &mut Proposals, configuration: u32, value: Option<f64>) {
    let (state, summaries) = match value {
        Some(value) => (TrialState::Complete, reported(value)),
        None => (TrialState::Infeasible, Summaries::default()),
    };
    proposals.learn(configuration, configuration + 1, state, &summaries);
}

/// The values of so many trials, `batch` of which are asked for at once.
pub fn search(f: &Function, sampler: SamplerKind, seed: u64, trials: u32, batch: u32) -> Vec<Option<f64>> {
    let mut proposals = Proposals::of(&study(cube(f.dimensions), sampler, seed));
    let mut values = vec![];
    for first in (0..trials).step_by(batch as usize) {
        let asked: Vec<Params> =
            (first..(first + batch).min(trials)).map(|index| proposals.get(u64::from(index)).unwrap()).collect();
        for (params, configuration) in asked.iter().zip(first..) {
            let u: Vec<f64> = params.values().map(|value| value.as_f64().unwrap()).collect();
            let value = (f.value)(&u);
            tell(&mut proposals, configuration, value);
            values.push(value);
        }
    }
    values
}

/// The best value among the first so many trials.
pub fn best(values: &[Option<f64>], count: usize) -> f64 {
    values[..count].iter().flatten().copied().fold(f64::INFINITY, f64::min)
}
