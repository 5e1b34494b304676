//! How sure the order of the two best points of an isolation is, and how sure it would look if they were identical.

use crate::best_of_k::{Objectives, avoidance, chance_of_better};
use crate::resampling::Resampler;
use serde::Serialize;

/// The number of random relabellings of the null distribution.
const RELABELLINGS: usize = 999;
/// The largest share of relabellings that look as sure, at which the difference is said to be supported.
const SUPPORTED: f64 = 0.05;

/// How sure it is that the best point is better than the second best.
///
/// It rests on the configurations of the study (its study variance). The variance of training the same configuration
/// again is not part of it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// The index of the best point.
    pub best: usize,
    /// The index of the second best point.
    pub second: usize,
    /// The number k of configurations that are drawn from each of the two: half of those of the smaller one.
    pub drawn: usize,
    /// The probability that the best of k configurations of the best point is better than the best of k of the second
    /// best ([`Objectives::chance_of_better`]). None if k is below 2.
    pub probability: Option<f64>,
    /// The median of that probability for two points that do not differ: the configurations of both are dealt to them
    /// again at random. It is well above one half, because the better one of the two is called the best.
    pub null: Option<f64>,
    /// The share of these relabellings, and of the study itself, in which the probability is at least as high (a
    /// permutation test).
    pub p_value: Option<f64>,
    /// The level of the claim that the best point is better (Playbook, the ladder of verdicts).
    pub level: Level,
}

/// How well a claim that one value is better than another is supported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Level {
    /// One trial was better. Nothing more is known.
    L0,
    /// The difference is larger than what identical values show by chance.
    L1,
    /// At least five new training runs of each show the same.
    L2,
    /// The whole study, run again with another seed of the search, shows the same too.
    L3,
}

/// Compares the two best of some groups of configurations. None if fewer than two have an objective.
pub(crate) fn compare(groups: &[Objectives]) -> Option<Comparison> {
    let mut order: Vec<(usize, f64)> = groups.iter().enumerate().filter_map(|(i, g)| Some((i, g.best()?))).collect();
    order.sort_by(|a, b| a.1.total_cmp(&b.1));
    let [(first, _), (next, _), ..] = order[..] else { return None };
    let drawn = groups[first].count().min(groups[next].count()) / 2;
    let unknown =
        Comparison { best: first, second: next, drawn, probability: None, null: None, p_value: None, level: Level::L0 };
    let Some((is_first, probability)) = better_of(&groups[first], &groups[next], drawn) else { return Some(unknown) };
    let (best, second) = if is_first { (first, next) } else { (next, first) };
    let nulls = relabelled(&groups[best], &groups[second], drawn);
    let as_high = nulls.iter().filter(|null| **null >= probability - 1e-9).count();
    let p_value = (1 + as_high) as f64 / (1 + nulls.len()) as f64;
    Some(Comparison {
        best,
        second,
        probability: Some(probability),
        null: Some(nulls[nulls.len() / 2]),
        p_value: Some(p_value),
        level: if p_value <= SUPPORTED { Level::L1 } else { Level::L0 },
        ..unknown
    })
}

/// Returns whether the first of two groups comes before the second one, and the probability of that order.
fn better_of(a: &Objectives, b: &Objectives, drawn: usize) -> Option<(bool, f64)> {
    let chance = if drawn >= 2 { a.chance_of_better(b, drawn) } else { None }?;
    Some(ordered(a.best(), b.best(), chance))
}

/// Returns whether the first of two groups comes before the second one, and the probability of that order, from the
/// probability that the first one is better. The group with the better best comes first; of equal ones, the one that is
/// more often better.
fn ordered(a: Option<f64>, b: Option<f64>, chance: f64) -> (bool, f64) {
    let [a, b] = [a, b].map(|best| best.unwrap_or(f64::INFINITY));
    let is_first = a < b || (a == b && chance >= 0.5);
    (is_first, if is_first { chance } else { 1.0 - chance })
}

/// Returns, in ascending order, the probabilities of the order of two groups whose configurations were dealt to them at
/// random.
fn relabelled(a: &Objectives, b: &Objectives, drawn: usize) -> Vec<f64> {
    let (n, m) = (a.count(), b.count());
    let mut pool: Vec<f64> = [a.sorted(), b.sorted()].concat();
    pool.sort_by(f64::total_cmp);
    let (avoids_a, avoids_b) = (avoidance(n, drawn), avoidance(m, drawn));
    let mut resampler = Resampler::new(3);
    let mut places: Vec<usize> = (0..n + m).collect();
    let mut is_of_a = vec![false; n + m];
    let mut deal = || {
        is_of_a.fill(false);
        for i in 0..n {
            places.swap(i, i + resampler.index_below(n + m - i));
            is_of_a[places[i]] = true;
        }
        // The places beyond the pool are those of infeasible configurations.
        let (of_a, of_b): (Vec<_>, Vec<_>) = pool.iter().zip(&is_of_a).partition(|(_, is_of_a)| **is_of_a);
        let [of_a, of_b] = [of_a, of_b].map(|part| part.into_iter().map(|(y, _)| *y).collect::<Vec<f64>>());
        let chance = chance_of_better((&of_a, &avoids_a), (&of_b, &avoids_b));
        ordered(of_a.first().copied(), of_b.first().copied(), chance).1
    };
    let mut nulls: Vec<f64> = (0..RELABELLINGS).map(|_| deal()).collect();
    nulls.sort_by(f64::total_cmp);
    nulls
}
