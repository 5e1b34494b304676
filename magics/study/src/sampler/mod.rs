//! Samplers: they propose the configurations of a study.
//!
//! All but `bayes` do not adapt to results. A proposal is a function of the study's definition and of its index, and of
//! nothing else. Therefore any process can compute the i-th proposal, a resumed study goes on with the next index, and
//! trials that run in parallel get the same configurations as trials that run one after the other (Playbook I3).
//!
//! A proposal of `bayes` is a function of the definition, of its index, of the configurations before it, and of what
//! had ended when it was asked for. The store keeps a configuration with its trials, so a resumed study has the same.
//!
//! A study records the version of the sampler that it began with, and keeps it. Version 1 dealt out every list by the
//! index of the trial alone. Version 2 deals out lists within each scientific value and each branch. In version 3
//! `random` deals out the scientific lists too, and there are `sobol` and `bayes`. In version 4 `bayes` begins at the
//! centre of the space, looks near known configurations first, and uses the expected improvement in parallel too. In
//! version 5, `bayes` stays near the best configuration more often while trials run, where trials were infeasible, and
//! in version 6 still more often. Version 6 also balances every prefix of a grid, and nuisance lists within
//! combinations of scientific values. Version 7 balances three or more scientific lists together, counts the values of
//! those under conditions in the same way as the others, and does not count the configurations that the user gave. In
//! version 7, trials that were stopped early or failed are never the best ones of `bayes`. Version 8 balances nuisance
//! lists among all trials too, with up to two scientific lists. It skips a point only for another one of the same part
//! of the space, deals out the combinations of a grid as the other samplers do, and balances two scientific lists
//! together after a wider space began. What is new does not decide over scientific values any more.

mod bayes;
mod dealing;
mod grid;
mod halton;
mod keyed;
mod proposals;
mod results;
mod sobol;

pub use bayes::Outcome;
pub use proposals::Proposals;

use crate::{Distribution, Params, Role, SearchSpace};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The version of the samplers in this program.
pub const VERSION: u32 = 8;

/// How the configurations of a study are proposed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SamplerKind {
    /// Scrambled Halton points for ranges. Values of lists are dealt out in shuffled blocks, so that they occur equally
    /// often (± 1) after any number of trials.
    #[default]
    Quasirandom,
    /// The same with scrambled Sobol points.
    Sobol,
    /// Independent random values. Only scientific lists, and the lists that they depend on, are dealt out.
    Random,
    /// Each combination of the lists once. The hyperparameter that is declared last changes first.
    Grid,
    /// Bayesian optimization of the nuisance hyperparameters. Scientific ones, and those that they depend on, have the
    /// values that [`SamplerKind::Quasirandom`] deals out.
    Bayes,
    /// Whatever another tool did whose trials were imported. It may have adapted to results. It proposes nothing here.
    External,
}

impl fmt::Display for SamplerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SamplerKind::Quasirandom => "quasirandom",
            SamplerKind::Sobol => "sobol",
            SamplerKind::Random => "random",
            SamplerKind::Grid => "grid",
            SamplerKind::Bayes => "bayes",
            SamplerKind::External => "of another tool",
        })
    }
}

impl SamplerKind {
    /// All samplers, the default first.
    pub const ALL: [Self; 5] = [Self::Quasirandom, Self::Sobol, Self::Random, Self::Grid, Self::Bayes];

    /// The sampler of a name: the reverse of its text.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.to_string() == text)
    }

    /// Whether proposals depend on results, or may do so. Then the trials of a study are not exchangeable.
    pub fn is_adaptive(self) -> bool {
        matches!(self, Self::Bayes | Self::External)
    }

    /// The configuration at an index (from 0), as version 1 proposed it, which knew neither `sobol` nor `bayes`: here
    /// they are as `quasirandom`. The grid is the same in all versions. None if it has no more.
    pub fn propose(self, space: &SearchSpace, seed: u64, index: u64) -> Option<Params> {
        match self {
            SamplerKind::Grid => grid::nth(space, index),
            SamplerKind::External => None,
            SamplerKind::Quasirandom | SamplerKind::Sobol | SamplerKind::Bayes => {
                // A hyperparameter has the same coordinate in all trials, whatever is active in them.
                let coordinates: Vec<usize> = space
                    .hyperparameters()
                    .iter()
                    .scan(0, |next, h| {
                        let mine = *next;
                        *next += usize::from(!h.distribution.is_list());
                        Some(mine)
                    })
                    .collect();
                // Each value of the scientific list has a Halton sequence of its own, so that the ranges of the
                // nuisance hyperparameters are covered evenly for each value. If one sequence were dealt out over the
                // values, one of them could get only the lower half of a range, and the study would compare halves.
                let (arm, point) = arm(space, seed, index).unwrap_or((0, index));
                Some(space.assign(|node, h| match &h.distribution {
                    Distribution::Choice { values } => values[keyed::dealt(seed, node, index, values.len())].clone(),
                    other => other.from_unit(halton::scrambled(seed, arm, coordinates[node], point)),
                }))
            }
            SamplerKind::Random => {
                Some(space.assign(|node, h| h.distribution.from_unit(keyed::uniform(seed, node, index))))
            }
        }
    }

    /// The number of different configurations. None if the sampler can propose any number of them.
    pub fn configurations(self, space: &SearchSpace) -> Option<u64> {
        (self == SamplerKind::Grid).then(|| grid::size(space))
    }
}

/// Which value (from 1) of the scientific list the trial at an index gets, and how many trials before it got the same.
/// None if there is no scientific list at the top of the tree.
fn arm(space: &SearchSpace, seed: u64, index: u64) -> Option<(u64, u64)> {
    let (node, count) = space.hyperparameters().iter().enumerate().find_map(|(node, h)| match &h.distribution {
        Distribution::Choice { values } if h.role == Role::Scientific && h.conditions.is_empty() => {
            Some((node, values.len()))
        }
        _ => None,
    })?;
    Some((keyed::dealt(seed, node, index, count) as u64 + 1, index / count as u64))
}

/// The seed of a trial: a function of the study's seed and of the number of the trial. It is below 2³¹, so that the
/// random generators of all languages accept it.
pub fn trial_seed(study_seed: u64, trial: u32) -> u64 {
    keyed::seed_of_trial(study_seed, trial)
}

/// Which hyperparameters are dealt out by every sampler since version 3: the scientific ones, so that their values stay
/// balanced (Playbook D10), and those that they depend on.
fn dealt_always(space: &SearchSpace) -> Vec<bool> {
    let all = space.hyperparameters();
    let mut dealt: Vec<bool> = all.iter().map(|h| h.role == Role::Scientific).collect();
    // Parents are declared before their children.
    for child in (0..all.len()).rev().filter(|child| !all[*child].distribution.is_constant()) {
        if !dealt[child] {
            continue;
        }
        for condition in &all[child].conditions {
            (0..child).filter(|parent| all[*parent].name == condition.name).for_each(|parent| dealt[parent] = true);
        }
    }
    dealt
}

#[cfg(test)]
mod tests;
