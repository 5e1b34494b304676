//! Bayesian optimization: a Gaussian process learns from the trials that ended, and the next configuration is where it
//! promises most (Playbook F6).
//!
//! Infeasible trials are results: a second process learns where configurations are feasible, and its probability is
//! multiplied in (Playbook F7). Trials that run, and failed ones, lower the uncertainty around them and say nothing
//! about the objective. Trials that were stopped early count as bad, and never as the best. One proposal at a time
//! maximizes the logarithm of the expected improvement. While trials run, upper bounds and pure exploration alternate
//! as in Google Vizier (GP-UCB-PE), and with the expected improvement.

mod acquisition;
mod embedding;
mod gaussian;
mod math;
mod matrix;
mod minimize;
mod rules;
mod search;
mod warp;

use self::acquisition::{Acquisition, Goal, UPPER};
use self::embedding::{Embedding, Units};
use self::gaussian::{Points, Process};
pub(super) use self::rules::Rules;
use self::search::{Search, Trusted, Uniform};
use super::keyed::{Purpose, generator};
use crate::{Params, SearchSpace};

/// The process learns from so many configurations: the best ones and the latest ones, a half each.
const REMEMBERED: usize = 300;
/// The number of configurations around which the search looks for the next one.
const BEST: usize = 5;
/// While trials run: how often pure exploration comes after a result, the same if the noise is large, and how often an
/// upper bound comes without a result. Large noise is a ratio of signal and noise below the last number.
const EXPLORE: f64 = 0.1;
const EXPLORE_NOISE: f64 = 0.7;
const EXPLOIT: f64 = 0.25;
const NOISY: f64 = 0.7;

/// What is known of a configuration.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Outcome {
    /// Its objective. Smaller is better.
    Value(f64),
    /// What its objective would probably be: its trials were stopped early.
    Stopped(f64),
    /// It cannot be used.
    Infeasible,
    /// Nothing: its trials failed.
    Failed,
    /// Nothing yet: its trials run.
    Open,
}

/// A question for the next configuration.
pub(super) struct Question<'a> {
    /// The version of the sampler.
    pub version: u32,
    pub space: &'a SearchSpace,
    pub seed: u64,
    /// The index of the configuration.
    pub index: u64,
    /// The quasi-random configuration at this index.
    pub base: &'a Params,
    /// Which hyperparameters keep their values of `base`, by their index in the space.
    pub given: &'a [bool],
    /// The configurations before it.
    pub known: Vec<(&'a Params, Outcome)>,
    /// Whether trials of one of them run.
    pub some_run: bool,
    /// Whether a trial ended since the last proposal.
    pub after_result: bool,
}

/// How many configurations are quasi-random before the process begins to choose.
pub(super) fn first_points(space: &SearchSpace) -> u64 {
    (Embedding::new(space).len() as u64 + 2).clamp(4, 10)
}

/// The first configuration: the centre of the ranges, which is the guess of whoever chose them. Lists, and what is
/// given, have the values of `base`. None in versions that began with a quasi-random one.
pub(super) fn first(version: u32, space: &SearchSpace, base: &Params, given: &[bool]) -> Option<Params> {
    Rules::of(version).centre_first.then(|| {
        space.assign(|node, h| match base.get(&h.name).filter(|_| given[node] || h.distribution.is_list()) {
            Some(value) => value.clone(),
            None => h.distribution.from_unit(0.5),
        })
    })
}

/// The next configuration. None if the process cannot choose one: it knows no objective, or nothing is left to choose.
pub(super) fn propose(question: &Question<'_>, is_new: &dyn Fn(&Params) -> bool) -> Option<Params> {
    let rules = Rules::of(question.version);
    let embedding = Embedding::new(question.space);
    let given: Vec<bool> = (0..embedding.len()).map(|k| question.given[embedding.index(k)]).collect();
    if given.iter().all(|given| *given) {
        return None;
    }
    let known: Vec<(Units, Outcome)> =
        question.known.iter().filter_map(|(params, outcome)| Some((embedding.units(params)?, *outcome))).collect();
    let known = remembered(known);
    let (open, ended): (Vec<_>, Vec<_>) =
        known.into_iter().partition(|(_, outcome)| matches!(outcome, Outcome::Open | Outcome::Failed));
    let unit = warp::unit(ended.iter().filter_map(|(_, outcome)| value_of(*outcome)));
    let value_of = |outcome: Outcome| value_of(outcome).map(|value| libm::scalbn(value, -unit));
    let valued: Vec<(&Units, f64)> =
        ended.iter().filter_map(|(units, outcome)| Some((units, value_of(*outcome)?))).collect();
    if valued.len() < 2 {
        return None;
    }
    let point = |units: &Units| embedding.point(units, &embedding.active(units), true);
    let points = |rows: Vec<Vec<f64>>| Points { rows, ..embedding.points() };
    let ended_rows: Vec<Vec<f64>> = ended.iter().map(|(units, _)| point(units)).collect();
    // An upper bound needs a value below all others where trials are infeasible. The expected improvement does not: it
    // is multiplied by the probability of feasibility, and a step in the values would hide the shape of the others.
    let values: Vec<Option<f64>> = ended.iter().map(|(_, outcome)| value_of(*outcome)).collect();
    let some_infeasible = ended.len() > valued.len();
    let improves = !question.some_run || draw(question, 2) < rules.improvement(some_infeasible, question.after_result);
    let (mut rows, labels) = match !improves {
        true => (ended_rows.clone(), warp::for_upper_bounds(&values)),
        false => {
            let rows = valued.iter().map(|(units, _)| point(units)).collect();
            (rows, warp::for_improvement(&valued.iter().map(|(_, value)| *value).collect::<Vec<_>>()))
        }
    };
    rows.extend(open.iter().map(|(units, _)| point(units)));
    let share = (0.5 + valued.len() as f64) / (1.0 + ended.len() as f64);
    let learn_feasibility = || {
        let labels: Vec<f64> = values.iter().map(|value| f64::from(value.is_some()) - share).collect();
        Process::fit(points(ended_rows), &labels)
    };
    // The two processes do not depend on each other. Each takes about a third of the time of a proposal.
    let (objective, feasibility) = std::thread::scope(|scope| {
        let feasibility = some_infeasible.then(|| scope.spawn(learn_feasibility));
        let objective = Process::fit(points(rows), &labels);
        (objective, feasibility.map(math::joined))
    });
    let objective = objective?;
    let feasibility = match feasibility {
        Some(process) => Some((process?, share)),
        None => None,
    };
    // With other scientific values the best trials are no bar: a configuration improves on what theirs would give with
    // the values that are given.
    let start = embedding.units(question.base)?;
    let moved = |units: &Units| -> Units {
        units.iter().zip(&start).zip(&given).map(|((own, start), given)| if *given { *start } else { *own }).collect()
    };
    // A trial that was stopped is no bar either.
    let whole: Vec<(&Units, f64)> = ended
        .iter()
        .filter(|(_, outcome)| matches!(outcome, Outcome::Value(_)))
        .filter_map(|(units, outcome)| Some((units, value_of(*outcome)?)))
        .collect();
    let predicted: Vec<(f64, f64)> = whole.iter().map(|(units, _)| objective.predict(&point(&moved(units)))).collect();
    let some_given = given.contains(&true);
    let rank = |i: &usize| if some_given { predicted[*i].0 } else { whole[*i].1 };
    let mut ranked: Vec<usize> = (0..whole.len()).collect();
    ranked.sort_by(|a, b| rank(b).total_cmp(&rank(a)));
    let best: Vec<Units> = ranked.iter().take(BEST).map(|i| whole[*i].0.clone()).collect();
    let will_end = |outcome: &Outcome| *outcome == Outcome::Open || !rules.leaves_out_failed;
    let running: Vec<f64> = match rules.counts_running {
        true => {
            let running = open.iter().filter(|(_, outcome)| will_end(outcome));
            running.map(|(units, _)| objective.predict(&point(&moved(units))).0).collect()
        }
        false => vec![],
    };
    let goal = goal(question, &rules, improves, &objective, &predicted, &running);
    let acquisition = Acquisition { goal, objective, feasibility };
    let near = question.some_run && some_infeasible && draw(question, 3) < rules.near_best;
    let trusted = match (some_given, best.first()) {
        (false, Some(best)) if near => Some(Trusted::near(best.clone())),
        (false, _) if rules.trusts_region => {
            Trusted::around(ended.iter().chain(&open).map(|(units, _)| units.clone()).collect(), embedding.len())
        }
        _ => None,
    };
    let search = Search {
        embedding: &embedding,
        acquisition: &acquisition,
        trusted,
        given,
        start,
        best,
        steps_by_value: rules.steps_by_value,
        seed: question.seed,
        index: question.index,
    };
    search.run(is_new)
}

fn value_of(outcome: Outcome) -> Option<f64> {
    match outcome {
        Outcome::Value(value) | Outcome::Stopped(value) => Some(-value),
        _ => None,
    }
}

/// Leaves out configurations if there are too many: neither among the best nor among the latest.
fn remembered(known: Vec<(Units, Outcome)>) -> Vec<(Units, Outcome)> {
    if known.len() <= REMEMBERED {
        return known;
    }
    let latest = known.len() - REMEMBERED / 2;
    let mut earlier: Vec<usize> = (0..latest).collect();
    let value = |i: &usize| value_of(known[*i].1).unwrap_or(f64::NEG_INFINITY);
    earlier.sort_by(|a, b| value(b).total_cmp(&value(a)));
    let mut kept = earlier[..REMEMBERED / 2].to_vec();
    kept.extend(latest..known.len());
    kept.sort_unstable();
    kept.into_iter().map(|i| known[i].clone()).collect()
}

/// A uniform number in [0, 1) for a decision about this configuration.
fn draw(question: &Question<'_>, decision: u64) -> f64 {
    Uniform(generator(Purpose::Search, question.seed, question.index, decision)).draw()
}

/// What the next configuration is for. `predicted` are the means and standard deviations at the configurations that are
/// known, `running` the means at those that have no result and that it must improve on too.
fn goal(
    question: &Question<'_>,
    rules: &Rules,
    improves: bool,
    objective: &Process,
    predicted: &[(f64, f64)],
    running: &[f64],
) -> Goal {
    let chance = draw(question, 1);
    let is_noisy = objective.kernel.signal / objective.kernel.noise < NOISY;
    let explores = match (question.some_run, question.after_result) {
        (false, _) => chance < rules.explore_alone,
        (true, true) => chance < if is_noisy { EXPLORE_NOISE } else { EXPLORE },
        (true, false) if improves => false,
        (true, false) => chance >= EXPLOIT,
    };
    if explores {
        let upper = |p: &(f64, f64)| p.0 + UPPER * p.1;
        let best = predicted.iter().max_by(|a, b| upper(a).total_cmp(&upper(b)));
        return Goal::Exploration { threshold: best.map_or(0.0, |p| p.0) };
    }
    let best = predicted.iter().map(|p| p.0).chain(running.iter().copied()).fold(f64::NEG_INFINITY, f64::max);
    if improves { Goal::Improvement { over: best } } else { Goal::UpperBound }
}
