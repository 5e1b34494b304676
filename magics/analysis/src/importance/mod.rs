//! How much each hyperparameter matters (Playbook D4), by two measures that answer different questions.
//!
//! - Functional ANOVA: which share of the variance of the objective over the search space does it explain alone? It
//!   says what moves the metric. Pairs explain more together if the best value of one depends on the other.
//! - PED-ANOVA: how much do its values in the best tenth differ from those of all configurations? It says what matters
//!   for being among the best.
//!
//! Both give every hyperparameter a share, also one without any effect. So each share stands beside its *null*: what a
//! hyperparameter without effect reaches in 95 % of cases with these configurations. A share that is not above its null
//! shows nothing.

mod fanova;
mod interactions;
mod ped_anova;

use crate::configurations::{Configuration, ranked_configurations};
use crate::hyperparameter::{value_in, varied_hyperparameter};
use crate::resampling::Resampler;
use fanova::{Configurations, TREES, normalized};
use interactions::{PairShare, pair_shares};
use ped_anova::{Grid, best_tenth};
use serde::Serialize;
use tunebook_study::{Hyperparameter, Objective, StudyDefinition, Trial, Value};

/// With fewer configurations nothing is said.
const LEAST: usize = 10;
/// The number of trees for each draw from a null distribution.
const NULL_TREES: usize = 16;
/// The number of draws of hyperparameters without effect. The 57th of 60 values, with the observed one, is the 95th
/// percentile.
const SHADOWS: usize = 59;
/// The number of draws of the best tenth at random.
const RANDOM_BESTS: usize = 199;

/// How much the hyperparameters of a study matter.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Importance {
    /// The number of configurations with an objective.
    pub configurations: usize,
    /// The number of configurations that count as the best tenth.
    pub best: usize,
    /// The share of the variance of the objective that all hyperparameters explain alone, each for itself. The rest are
    /// interactions and noise.
    pub explained_alone: f64,
    /// The hyperparameters that vary, in the order of declaration. Empty with fewer than ten configurations.
    pub hyperparameters: Vec<HyperparameterImportance>,
    /// The pairs of them, the largest share first. Empty with too few configurations for a model without interactions.
    pub interactions: Vec<Interaction>,
}

/// How much one hyperparameter matters.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HyperparameterImportance {
    /// The label of the hyperparameter.
    pub hyperparameter: String,
    /// Its share of what all hyperparameters explain alone (functional ANOVA). The shares add up to 1.
    pub fanova: f64,
    /// A hyperparameter without effect has at most this share in 95 % of cases.
    pub fanova_null: f64,
    /// Its share of the PED-ANOVA of all hyperparameters. The shares add up to 1.
    pub ped_anova: f64,
    /// At most this share is reached in 95 % of cases if the best tenth is drawn at random.
    pub ped_anova_null: f64,
    /// PED-ANOVA before it is normalized.
    pub ped_anova_unnormalized: f64,
}

/// What two hyperparameters explain together beyond what both explain alone.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Interaction {
    /// The labels of the two.
    pub hyperparameters: [String; 2],
    /// Their share of the variance of the objective over the configurations.
    pub share: f64,
    /// In a study without interactions, no pair goes above its null in 95 % of cases.
    pub null: f64,
}

impl HyperparameterImportance {
    /// Whether it moves the metric more than one without effect would seem to.
    pub fn moves_metric(&self) -> bool {
        self.fanova > self.fanova_null
    }

    /// Whether its values among the best tenth differ more from all others than chance explains.
    pub fn matters_for_best(&self) -> bool {
        self.ped_anova > self.ped_anova_null
    }
}

impl Interaction {
    /// Whether the share is more than a study without interactions would show.
    pub fn is_supported(&self) -> bool {
        self.share > self.null
    }
}

/// Returns how much the hyperparameters of a study matter, judged by its finished configurations that have an
/// objective.
///
/// A hyperparameter that is not active in a configuration lies in the middle of its range for functional ANOVA.
/// PED-ANOVA compares only the configurations in which it is active.
pub fn importance(definition: &StudyDefinition, trials: &[Trial], objective: &Objective) -> Importance {
    let space = &definition.space;
    let ranked = ranked_configurations(trials, objective);
    let objectives: Vec<f64> =
        ranked.iter().filter_map(|c| Some(objective.direction.minimized(c.objective?))).collect();
    let best = best_tenth(&objectives);
    let varied: Vec<&Hyperparameter> =
        space.hyperparameters().iter().filter(|h| varied_hyperparameter(space, &h.label()).is_ok()).collect();
    let mut found = Importance { configurations: ranked.len(), best: best.len(), ..Importance::default() };
    if ranked.len() < LEAST || varied.is_empty() {
        return found;
    }
    let values = |h: &Hyperparameter| -> Vec<Option<&Value>> {
        ranked.iter().map(|configuration| value_in(space, h, configuration.trials[0])).collect()
    };
    let all = Configurations::new(&points(&varied, &ranked, definition), &objectives);
    let mut resampler = Resampler::new(4);
    let alone = all.shares(TREES, &mut resampler);
    found.explained_alone = alone.iter().sum();
    let nulls = fanova_nulls(&all, &mut resampler);
    let grids: Vec<Grid> = varied.iter().map(|h| Grid::new(&h.distribution, &values(h))).collect();
    let unnormalized: Vec<f64> = grids.iter().map(|grid| grid.importance(&best)).collect();
    let ped_nulls = ped_anova_nulls(&grids, best.len(), ranked.len(), &mut resampler);
    let sum: f64 = unnormalized.iter().sum();
    let of_sum = |x: f64| if sum > 0.0 { x / sum } else { 0.0 };
    let (fanova, ped_anova) = (normalized(&alone), normalized(&unnormalized));
    found.hyperparameters = (0..varied.len())
        .map(|j| HyperparameterImportance {
            hyperparameter: varied[j].label(),
            fanova: fanova[j],
            fanova_null: nulls[j].min(1.0),
            ped_anova: ped_anova[j],
            ped_anova_null: of_sum(ped_nulls[j]).min(1.0),
            ped_anova_unnormalized: unnormalized[j],
        })
        .collect();
    found.interactions = interactions(&all, &varied, &mut resampler);
    found
}

/// Returns only the shares by functional ANOVA, in the order of `varied`.
pub(crate) fn shares(
    definition: &StudyDefinition,
    varied: &[&Hyperparameter],
    ranked: &[Configuration<'_>],
    objectives: &[f64],
) -> Vec<f64> {
    let all = Configurations::new(&points(varied, ranked, definition), objectives);
    let mut shares = normalized(&all.shares(TREES, &mut Resampler::new(4)));
    shares.resize(varied.len(), 0.0);
    shares
}

/// Returns the coordinates u of each configuration. An inactive hyperparameter lies in the middle of its range.
fn points(varied: &[&Hyperparameter], ranked: &[Configuration<'_>], definition: &StudyDefinition) -> Vec<Vec<f64>> {
    let u = |h: &Hyperparameter, c: &Configuration<'_>| {
        h.distribution.to_unit(value_in(&definition.space, h, c.trials[0])?)
    };
    ranked.iter().map(|c| varied.iter().map(|h| u(h, c).unwrap_or(0.5)).collect()).collect()
}

/// Returns for each coordinate what one without effect reaches in 95 % of cases: another coordinate with the same
/// values in a random order is added, and the forest is grown again.
fn fanova_nulls(all: &Configurations, resampler: &mut Resampler) -> Vec<f64> {
    let d = all.dimensions();
    // Coordinates whose values repeat alike have the same null.
    let kinds: Vec<_> = (0..d).map(|j| repetition(all.column(j))).collect();
    let first: Vec<usize> = (0..d).filter(|j| !kinds[..*j].contains(&kinds[*j])).collect();
    let mut nulls = vec![vec![]; first.len()];
    for _ in 0..SHADOWS {
        let mut with = all.clone();
        first.iter().for_each(|j| with.add(resampler.shuffled(all.column(*j))));
        let shares = normalized(&with.shares(NULL_TREES, resampler));
        nulls.iter_mut().zip(&shares[d..]).for_each(|(null, share)| null.push(*share));
    }
    let of_kinds: Vec<f64> = nulls.into_iter().map(percentile_95).collect();
    let kind = |j: usize| first.iter().position(|i| kinds[*i] == kinds[j]).unwrap_or(0);
    (0..d).map(|j| of_kinds[kind(j)]).collect()
}

/// Returns the number of different values, if it is small, and how often the most frequent one occurs, in tenths.
fn repetition(values: &[f64]) -> (usize, usize) {
    const MANY: usize = 13;
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let groups: Vec<usize> = sorted.chunk_by(|a, b| a == b).map(<[f64]>::len).collect();
    (groups.len().min(MANY), 10 * groups.iter().max().unwrap_or(&0) / values.len().max(1))
}

/// Returns for each grid what it reaches in 95 % of cases if the best are drawn at random.
fn ped_anova_nulls(grids: &[Grid], best: usize, n: usize, resampler: &mut Resampler) -> Vec<f64> {
    let all: Vec<usize> = (0..n).collect();
    let mut nulls = vec![vec![]; grids.len()];
    for _ in 0..RANDOM_BESTS {
        let drawn = resampler.shuffled(&all);
        nulls.iter_mut().zip(grids).for_each(|(null, grid)| null.push(grid.importance(&drawn[..best])));
    }
    nulls.into_iter().map(percentile_95).collect()
}

fn interactions(all: &Configurations, varied: &[&Hyperparameter], resampler: &mut Resampler) -> Vec<Interaction> {
    let columns: Vec<&[f64]> = (0..all.dimensions()).map(|j| all.column(j)).collect();
    let pairs = pair_shares(&columns, &all.objectives, resampler).unwrap_or_default();
    let mut found: Vec<Interaction> = pairs
        .into_iter()
        .map(|PairShare { pair: (j, k), share, null }| Interaction {
            hyperparameters: [varied[j].label(), varied[k].label()],
            share,
            null,
        })
        .collect();
    found.sort_by(|a, b| b.share.total_cmp(&a.share));
    found
}

/// Returns the value that one more of the same kind exceeds in 5 % of cases.
fn percentile_95(mut draws: Vec<f64>) -> f64 {
    draws.sort_by(f64::total_cmp);
    let rank = (0.95 * (draws.len() + 1) as f64).round() as usize;
    draws.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod reference {
    //! The reference case: 40 points of the Halton sequence. In u, the second and third hyperparameter hardly matter.

    pub fn radical_inverse(mut i: u32, base: u32) -> f64 {
        let (mut x, mut digit) = (0.0, 1.0);
        while i > 0 {
            digit /= f64::from(base);
            x += digit * f64::from(i % base);
            i /= base;
        }
        x
    }

    pub fn case() -> (Vec<Vec<f64>>, Vec<f64>) {
        let points: Vec<Vec<f64>> = (1..=40).map(|i| [2, 3, 5].map(|base| radical_inverse(i, base)).to_vec()).collect();
        let objective =
            |p: &Vec<f64>| (p[0] - 0.3).powi(2) + 0.1 * (p[1] - 0.6).powi(2) + 0.02 * (4.0 * p[2] - 2.0).powi(2);
        let objectives = points.iter().map(objective).collect();
        (points, objectives)
    }
}
