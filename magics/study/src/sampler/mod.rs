//! Samplers: they propose the configurations of a study.
//!
//! The samplers here do not adapt to results. A proposal is a function of (space, sampler, seed, index) and of nothing
//! else. Therefore any process can compute the i-th proposal, a resumed study goes on with the next index, and trials
//! that run in parallel get the same configurations as trials that run one after the other (Playbook I3).

mod grid;
mod halton;
mod keyed;

use crate::{Distribution, Params, Role, SearchSpace};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A sampler that does not adapt to results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SamplerKind {
    /// Scrambled Halton points for ranges. Values of lists are dealt out in shuffled blocks, so that they occur equally
    /// often (± 1) after any number of trials.
    #[default]
    Quasirandom,
    /// Independent random values.
    Random,
    /// Each combination of the lists once. The hyperparameter that is declared last changes first.
    Grid,
}

impl fmt::Display for SamplerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SamplerKind::Quasirandom => "quasirandom",
            SamplerKind::Random => "random",
            SamplerKind::Grid => "grid",
        })
    }
}

impl SamplerKind {
    /// The configuration at an index (from 0). None if a grid has no more.
    pub fn propose(self, space: &SearchSpace, seed: u64, index: u64) -> Option<Params> {
        match self {
            SamplerKind::Grid => grid::nth(space, index),
            SamplerKind::Quasirandom => {
                // A hyperparameter has the same coordinate in all trials, whatever is active in them.
                let coordinates: Vec<usize> = space
                    .hyperparameters()
                    .iter()
                    .scan(0, |next, h| {
                        let mine = *next;
                        *next += usize::from(!is_list(&h.distribution));
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

/// Whether a hyperparameter needs no Halton coordinate.
fn is_list(distribution: &Distribution) -> bool {
    matches!(distribution, Distribution::Choice { .. } | Distribution::Constant { .. })
}

/// The seed of a trial: a function of the study's seed and of the number of the trial. It is below 2³¹, so that the
/// random generators of all languages accept it.
pub fn trial_seed(study_seed: u64, trial: u32) -> u64 {
    keyed::seed_of_trial(study_seed, trial)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Hyperparameter, Role};

    fn space(distributions: &[Distribution]) -> SearchSpace {
        let mut space = SearchSpace::new();
        for (i, distribution) in distributions.iter().enumerate() {
            let name = format!("h{i}");
            let role = Role::Nuisance;
            space
                .declare(Hyperparameter { name, role, distribution: distribution.clone(), conditions: vec![] })
                .unwrap();
        }
        space
    }

    #[test]
    fn values_of_a_list_occur_equally_often_after_any_number_of_trials() {
        let space = space(&[
            Distribution::choice(vec![1.into(), 2.into(), 3.into()]).unwrap(),
            Distribution::log_uniform(1e-4, 1.0).unwrap(),
        ]);
        for seed in 0..20 {
            let mut counts = [0_i64; 3];
            for index in 0..50 {
                let params = SamplerKind::Quasirandom.propose(&space, seed, index).unwrap();
                counts[params["h0"].as_i64().unwrap() as usize - 1] += 1;
                let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
                assert!(most - least <= 1, "{counts:?} after {index} with seed {seed}");
            }
        }
    }

    #[test]
    fn nuisance_ranges_are_covered_evenly_for_each_scientific_value() {
        let mut space = SearchSpace::new();
        let mut declare = |name: &str, role, distribution| {
            space.declare(Hyperparameter { name: name.into(), role, distribution, conditions: vec![] }).unwrap();
        };
        declare("layers", Role::Scientific, Distribution::choice(vec![1.into(), 2.into(), 3.into()]).unwrap());
        declare("lr", Role::Nuisance, Distribution::uniform(0.0, 1.0).unwrap());
        for seed in 0..50 {
            let mut strata = vec![vec![]; 3];
            for index in 0..24 {
                let params = SamplerKind::Quasirandom.propose(&space, seed, index).unwrap();
                let stratum = (params["lr"].as_f64().unwrap() * 8.0) as usize;
                strata[params["layers"].as_i64().unwrap() as usize - 1].push(stratum);
            }
            for mut arm in strata {
                arm.sort_unstable();
                assert!(arm.iter().copied().eq(0..8), "seed {seed}: {arm:?}");
            }
        }
    }

    #[test]
    fn a_proposal_depends_on_space_seed_and_index_alone() {
        let space = space(&[Distribution::uniform(0.0, 1.0).unwrap(), Distribution::int(1, 9).unwrap()]);
        for sampler in [SamplerKind::Quasirandom, SamplerKind::Random] {
            let forward: Vec<_> = (0..30).map(|i| sampler.propose(&space, 7, i)).collect();
            let backward: Vec<_> = (0..30).rev().map(|i| sampler.propose(&space, 7, i)).collect();
            assert!(forward.iter().eq(backward.iter().rev()));
            assert_ne!(forward[3], sampler.propose(&space, 8, 3));
        }
    }

    #[test]
    fn trials_have_different_seeds() {
        let seeds: std::collections::HashSet<_> = (1..1000).map(|n| trial_seed(7, n)).collect();
        assert_eq!(seeds.len(), 999);
        assert!(seeds.iter().all(|s| *s < 1 << 31));
    }
}
