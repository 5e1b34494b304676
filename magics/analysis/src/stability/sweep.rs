//! The sweep of the learning rate past the edge of stability: which runs are needed next, and what the runs say.
//!
//! [`RateSweep::next`] is a function of the runs that ended, so that a sweep can be interrupted at any run and goes on
//! from what is recorded.

use super::comparison::{Difference, SeedValues};
use super::rates::rate;
use serde::Serialize;
use std::collections::BTreeMap;

/// The distance of two rates of the first pass: half a decade.
const STRIDE: i32 = 10;
/// The distances above the best rate that stand for 2, 5 and 10 times that rate (Playbook I8).
const MULTIPLES: [i32; 3] = [6, 14, 20];
/// How many of the best rates of the first pass are trained with all seeds.
const CONTENDERS: usize = 3;
/// How many of the best rates tell how much the objective of a seed varies.
const POOLED: usize = 5;

/// How a training run at one learning rate ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RunEnd {
    /// It learned something. The objective, as a value to minimize.
    Learned(f64),
    /// It ended without diverging, and no better than chance or than before training.
    LearnedNothing,
    /// Its loss became non-finite, or it diverged.
    Diverged,
}

/// A training run at one learning rate with one seed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateRun {
    /// The index of the learning rate ([`rate`]).
    pub index: i32,
    /// The number of the seed, from 0.
    pub seed: u32,
    pub end: RunEnd,
}

/// A sweep over the learning rate.
#[derive(Clone, Debug)]
pub struct RateSweep {
    /// The indices of the lowest and the highest rate of the first pass.
    pub first: [i32; 2],
    /// The bounds to which the sweep is extended downward, while the lowest rate is the best, and upward, while no rate
    /// is unstable.
    pub bounds: [i32; 2],
    /// The number of seeds near the edge and near the best rate.
    pub seeds: u32,
    /// Whether 2, 5 and 10 times the best rate are trained too.
    pub looks_above: bool,
}

/// The runs at one rate.
#[derive(Clone, Debug, Default)]
struct Runs {
    learned: Vec<f64>,
    /// The number of runs that learned nothing.
    idle: u32,
    diverged: u32,
}

impl Runs {
    fn count(&self) -> u32 {
        self.learned.len() as u32 + self.idle + self.diverged
    }

    /// The objective in the median over the runs; infinite for a run that learned nothing.
    fn median(&self) -> f64 {
        let mut values = self.learned.clone();
        values.resize(self.count() as usize, f64::INFINITY);
        values.sort_by(f64::total_cmp);
        values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or(f64::INFINITY)
    }
}

/// The runs by the index of their rate.
struct Grouped {
    runs: BTreeMap<i32, Runs>,
    /// The rate with the best median. A run above it that learned nothing is unstable; below it, the rate is too small.
    best: i32,
}

impl Grouped {
    fn new(runs: &[RateRun]) -> Self {
        let mut grouped: BTreeMap<i32, Runs> = BTreeMap::new();
        for run in runs {
            let group = grouped.entry(run.index).or_default();
            match run.end {
                RunEnd::Learned(objective) => group.learned.push(objective),
                RunEnd::LearnedNothing => group.idle += 1,
                RunEnd::Diverged => group.diverged += 1,
            }
        }
        let best = grouped.iter().filter(|(_, runs)| runs.median().is_finite());
        let best = best.min_by(|a, b| a.1.median().total_cmp(&b.1.median())).map_or(i32::MAX, |(index, _)| *index);
        Self { runs: grouped, best }
    }

    /// The number of unstable runs at a rate.
    fn unstable(&self, index: i32) -> u32 {
        self.runs.get(&index).map_or(0, |r| r.diverged + if index > self.best { r.idle } else { 0 })
    }

    fn is_unstable(&self, index: i32) -> bool {
        2 * self.unstable(index) > self.runs.get(&index).map_or(0, Runs::count)
    }

    /// The smallest unstable rate.
    fn first_unstable(&self) -> Option<i32> {
        self.runs.keys().copied().find(|index| self.is_unstable(*index))
    }

    /// The rates below the edge at which the runs learned something in the median, from the best to the worst.
    fn ranked(&self) -> Vec<i32> {
        let edge = self.first_unstable().unwrap_or(i32::MAX);
        let mut stable: Vec<(i32, f64)> =
            self.runs.range(..edge).map(|(index, runs)| (*index, runs.median())).collect();
        stable.retain(|(_, median)| median.is_finite());
        stable.sort_by(|a, b| a.1.total_cmp(&b.1));
        stable.into_iter().map(|(index, _)| index).collect()
    }

    fn count(&self, index: i32) -> u32 {
        self.runs.get(&index).map_or(0, Runs::count)
    }
}

impl RateSweep {
    /// Returns the runs that are needed next, as rate and number of its seed. The sweep is finished if there are none.
    pub fn next(&self, runs: &[RateRun]) -> Vec<(i32, u32)> {
        let grouped = Grouped::new(runs);
        let [low, high] = self.first;
        let missing = |wanted: Vec<(i32, u32)>| -> Vec<(i32, u32)> {
            let has = |index: i32, seed: u32| runs.iter().any(|run| (run.index, run.seed) == (index, seed));
            let all = wanted.into_iter().flat_map(|(index, seeds)| (0..seeds).map(move |seed| (index, seed)));
            let mut missing: Vec<(i32, u32)> = all.filter(|(index, seed)| !has(*index, *seed)).collect();
            missing.sort_unstable();
            missing.dedup();
            missing
        };
        let all_seeds = |indices: &[i32]| missing(indices.iter().map(|index| (*index, self.seeds)).collect());
        let first = missing((low..=high).step_by(STRIDE as usize).map(|index| (index, 1)).collect());
        if !first.is_empty() {
            return first;
        }
        let (lowest, highest) = (
            grouped.runs.keys().next().copied().unwrap_or(low),
            grouped.runs.keys().next_back().copied().unwrap_or(high),
        );
        let edge = grouped.first_unstable();
        if edge.is_none() && highest + STRIDE <= self.bounds[1] {
            return missing(vec![(highest + STRIDE, 1)]);
        }
        let ranked = grouped.ranked();
        let must_go_down = edge == Some(lowest) || ranked.first() == Some(&lowest);
        if must_go_down && lowest - STRIDE >= self.bounds[0] {
            return missing(vec![(lowest - STRIDE, 1)]);
        }
        if let Some(edge) = edge
            && let Some((below, _)) = grouped.runs.range(..edge).next_back()
        {
            let at_edge = all_seeds(&[*below, edge]);
            if !at_edge.is_empty() {
                return at_edge;
            }
            if edge - below > 1 {
                return all_seeds(&[(edge + below).div_euclid(2)]);
            }
        }
        let Some(best) = ranked.first().copied() else { return vec![] };
        let mut contenders: Vec<i32> = ranked.iter().copied().take(CONTENDERS).collect();
        // The best rate that is not next to the edge tells whether the edge limits the learning rate.
        contenders
            .extend(edge.and_then(|edge| ranked.iter().copied().find(|index| super::limit::is_far(*index, edge))));
        let contenders = all_seeds(&contenders);
        if !contenders.is_empty() {
            return contenders;
        }
        let beside: Vec<i32> = [best - STRIDE / 2, best + STRIDE / 2]
            .into_iter()
            .filter(|index| *index >= self.bounds[0] && edge.map_or(*index <= highest, |edge| *index < edge))
            .collect();
        let beside = all_seeds(&beside);
        if !beside.is_empty() || !self.looks_above {
            return beside;
        }
        let above: Vec<i32> =
            MULTIPLES.iter().map(|multiple| best + multiple).filter(|index| *index <= self.bounds[1]).collect();
        all_seeds(&above)
    }

    /// Returns what the runs say.
    pub fn result(&self, runs: &[RateRun]) -> RateSweepResult {
        let grouped = Grouped::new(runs);
        let edge = grouped.first_unstable();
        let ranked = grouped.ranked();
        // A rate with fewer seeds than others may be the luckiest only.
        let most = ranked.iter().map(|index| grouped.count(*index)).max().unwrap_or(0).min(self.seeds);
        let best = ranked.iter().copied().find(|index| grouped.count(*index) >= most);
        let seeds_of = |index: &i32| -> Option<SeedValues> {
            let learned = &grouped.runs.get(index)?.learned;
            (learned.len() >= 2).then(|| SeedValues(learned.clone()))
        };
        let seeds: Vec<(i32, SeedValues)> =
            ranked.iter().filter_map(|index| Some((*index, seeds_of(index)?))).collect();
        let points = grouped.runs.iter().map(|(index, runs)| {
            let median = Some(runs.median()).filter(|median| median.is_finite());
            let range = runs
                .learned
                .iter()
                .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(*value), high.max(*value)));
            RatePoint {
                index: *index,
                lr: rate(*index),
                runs: runs.count(),
                unstable: grouped.unstable(*index),
                objective: median,
                range: (runs.learned.len() >= 2).then_some([range.0, range.1]),
                is_below_edge: edge.is_none_or(|edge| *index < edge),
            }
        });
        let equal = best.and_then(|best| {
            let own = seeds_of(&best)?;
            let others = |index: i32| pooled(&seeds, [best, index]);
            let like = ranked.iter().filter(|index| {
                **index == best
                    || seeds_of(index).is_some_and(|seeds| Difference::new(&seeds, &own, others(**index)).may_be_zero())
            });
            let (low, high) = like.fold((best, best), |(low, high), index| (low.min(*index), high.max(*index)));
            Some([rate(low), rate(high)])
        });
        let edge = edge.map(|edge| {
            let quiet = grouped.runs.range(..edge).take_while(|(index, _)| grouped.unstable(**index) == 0);
            let certain = grouped.runs.range(edge..).find(|(i, runs)| grouped.unstable(**i) == runs.count());
            let below = grouped.runs.range(..edge).next_back().map(|(index, _)| *index);
            Edge {
                index: edge,
                unstable_lr: rate(edge),
                unstable: [grouped.unstable(edge), grouped.count(edge)],
                stable_lr: below.map(rate),
                stable: below.map(|below| [grouped.unstable(below), grouped.count(below)]),
                interval: [quiet.last().map(|(index, _)| rate(*index)), certain.map(|(index, _)| rate(*index))],
            }
        });
        RateSweepResult {
            points: points.collect(),
            best,
            best_lr: best.map(rate),
            equal,
            edge,
            seeds,
            highest: grouped.runs.keys().next_back().copied().map(rate),
        }
    }
}

/// Returns the seeds of the best rates, without those of two rates. They tell how much the objective of a seed varies.
pub(super) fn pooled(seeds: &[(i32, SeedValues)], without: [i32; 2]) -> impl Iterator<Item = &SeedValues> {
    seeds.iter().take(POOLED).filter(move |(index, _)| !without.contains(index)).map(|(_, seeds)| seeds)
}

/// A learning rate, and what its runs say.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RatePoint {
    #[serde(skip)]
    pub index: i32,
    pub lr: f64,
    /// The number of runs, each with its own seed.
    pub runs: u32,
    /// How many of them were unstable.
    pub unstable: u32,
    /// The median objective of the runs, as a value to minimize. None if the median run learned nothing.
    pub objective: Option<f64>,
    /// The smallest and the largest objective of the runs that learned something, if there are two or more.
    pub range: Option<[f64; 2]>,
    #[serde(skip)]
    pub is_below_edge: bool,
}

/// The edge of stability: the smallest rate at which most runs are unstable.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Edge {
    #[serde(skip)]
    pub index: i32,
    pub unstable_lr: f64,
    /// The number of unstable runs at that rate, and of all runs.
    pub unstable: [u32; 2],
    /// The next lower rate that was tried. None if the lowest rate is unstable.
    pub stable_lr: Option<f64>,
    /// The number of unstable runs at that rate, and of all runs.
    pub stable: Option<[u32; 2]>,
    /// The bracket of the edge: the largest rate up to which no run was unstable, and the smallest one from the edge on
    /// at which all runs were. None if there is no such rate.
    pub interval: [Option<f64>; 2],
}

/// What a sweep over the learning rate says.
#[derive(Clone, Debug, PartialEq)]
pub struct RateSweepResult {
    pub points: Vec<RatePoint>,
    /// The index of the best rate below the edge, by the median over its seeds.
    pub best: Option<i32>,
    pub best_lr: Option<f64>,
    /// The lowest and the highest rate whose objective cannot be told apart from the best one.
    pub equal: Option<[f64; 2]>,
    pub edge: Option<Edge>,
    /// The objectives of the rates below the edge that were trained with several seeds, the best first.
    pub seeds: Vec<(i32, SeedValues)>,
    /// The highest rate that was tried.
    pub highest: Option<f64>,
}

impl RateSweepResult {
    /// Returns the point of a rate.
    pub fn point(&self, index: i32) -> Option<&RatePoint> {
        self.points.iter().find(|point| point.index == index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SWEEP: RateSweep = RateSweep { first: [-80, 20], bounds: [-120, 80], seeds: 3, looks_above: true };

    /// Runs a sweep to its end. `end` is the outcome of a learning rate with a seed.
    fn finish(sweep: &RateSweep, end: impl Fn(f64, u32) -> RunEnd) -> (RateSweepResult, Vec<RateRun>) {
        let mut runs = vec![];
        for _ in 0..100 {
            let next = sweep.next(&runs);
            if next.is_empty() {
                return (sweep.result(&runs), runs);
            }
            for (index, seed) in next {
                let is_new = runs.iter().all(|run: &RateRun| (run.index, run.seed) != (index, seed));
                assert!(is_new, "{index} {seed} is asked for twice");
                runs.push(RateRun { index, seed, end: end(rate(index), seed) });
            }
        }
        panic!("the sweep does not end");
    }

    fn bowl(lr: f64, best: f64, seed: u32) -> RunEnd {
        RunEnd::Learned(0.05 + 0.02 * (lr / best).log10().powi(2) + 1e-4 * f64::from(seed))
    }

    #[test]
    fn the_edge_is_bracketed_by_neighbouring_rates_and_the_best_rate_is_found() {
        for edge in [0.013, 0.5, 4.4, 300.0] {
            let best = edge / 30.0;
            let (found, runs) = finish(&SWEEP, |lr, seed| match lr < edge {
                true => bowl(lr, best, seed),
                false => RunEnd::Diverged,
            });
            let at = found.edge.unwrap();
            assert!(at.unstable_lr >= edge && at.stable_lr.unwrap() < edge, "{at:?}");
            assert!(at.unstable_lr / at.stable_lr.unwrap() < 1.15);
            assert_eq!((at.unstable, at.stable), ([3, 3], Some([0, 3])));
            assert!((found.best_lr.unwrap() / best).log10().abs() < 0.2, "{:?} {best}", found.best_lr);
            assert!(runs.len() < 60, "{}", runs.len());
        }
    }

    #[test]
    fn seeds_that_disagree_widen_the_bracket() {
        // The seeds become unstable at 0.8, 1 and 1.3.
        let (found, _) = finish(&SWEEP, |lr, seed| match lr < [0.8, 1.0, 1.3][seed as usize] {
            true => bowl(lr, 0.05, seed),
            false => RunEnd::Diverged,
        });
        let edge = found.edge.unwrap();
        let [low, high] = edge.interval.map(Option::unwrap);
        assert!(low < 0.8 && high > 1.3 && (0.9..1.2).contains(&edge.unstable_lr), "{edge:?}");
    }

    #[test]
    fn a_workload_that_never_becomes_unstable_has_no_edge_and_the_sweep_stops_at_its_bound() {
        let (found, _) = finish(&SWEEP, |lr, seed| bowl(lr, 0.05, seed));
        assert!(found.edge.is_none() && found.best_lr.is_some());
        assert_eq!(found.highest, Some(rate(80)));
    }

    #[test]
    fn a_rate_too_small_to_learn_is_stable_and_one_that_unlearns_is_not() {
        let (found, _) = finish(&SWEEP, |lr, seed| match lr {
            lr if !(3e-4..=2.0).contains(&lr) => RunEnd::LearnedNothing,
            lr => bowl(lr, 0.05, seed),
        });
        assert_eq!(found.points[0].unstable, 0);
        assert!((2.0..2.4).contains(&found.edge.unwrap().unstable_lr));
    }

    #[test]
    fn a_lucky_run_at_a_tiny_rate_makes_no_higher_rate_unstable() {
        let (found, _) = finish(&SWEEP, |lr, seed| match lr {
            lr if lr < 2e-4 => RunEnd::Learned(0.4),
            lr if lr < 3e-3 => RunEnd::LearnedNothing,
            lr if lr < 1.0 => bowl(lr, 0.05, seed),
            _ => RunEnd::Diverged,
        });
        assert!((1.0..1.2).contains(&found.edge.unwrap().unstable_lr));
    }

    #[test]
    fn a_sweep_whose_rates_are_all_unstable_goes_down_to_its_bound_and_has_no_best_rate() {
        let (found, _) = finish(&SWEEP, |_, _| RunEnd::Diverged);
        assert_eq!((found.best_lr, found.edge.unwrap().stable_lr), (None, None));
        let (found, _) = finish(&SWEEP, |lr, seed| match lr < 3e-5 {
            true => bowl(lr, 1e-5, seed),
            false => RunEnd::Diverged,
        });
        assert!(found.edge.unwrap().unstable_lr < 4e-5 && found.best_lr.is_some());
    }

    #[test]
    fn what_is_needed_next_depends_on_the_runs_alone() {
        let end = |lr: f64, seed| if lr < 0.7 { bowl(lr, 0.05, seed) } else { RunEnd::Diverged };
        let (_, runs) = finish(&SWEEP, end);
        let mut shuffled: Vec<RateRun> = runs.iter().rev().copied().collect();
        assert_eq!(SWEEP.next(&shuffled), vec![]);
        // A run that was cancelled is asked for again.
        let lost = shuffled.remove(4);
        assert_eq!(SWEEP.next(&shuffled), vec![(lost.index, lost.seed)]);
    }
}
