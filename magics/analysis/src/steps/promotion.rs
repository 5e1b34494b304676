//! A longer round of a study: its schedule (Playbook G10), what is likely to transfer to it (G9), and how far the ranks
//! of two rounds agree (G8).

use crate::configurations::configurations;
use serde::Serialize;
use tunebook_study::{
    Condition, Distribution, Hyperparameter, Objective, Role, SearchSpace, StudyDefinition, Trial, Value,
    WorkloadDescription,
};

/// How likely a conclusion about a hyperparameter is to hold for longer training (G9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Transfer {
    VeryLikely,
    Likely,
    Perhaps,
    Unlikely,
    /// The name does not say what the hyperparameter is.
    Unknown,
}

const VERY_LIKELY: [&str; 3] = ["warmup", "warm_up", "init"];
const UNLIKELY: [&str; 3] = ["schedule", "decay_steps", "decay_factor"];
const PERHAPS: [&str; 19] = [
    "optimizer",
    "lr",
    "learning_rate",
    "momentum",
    "rho",
    "beta",
    "epsilon",
    "clip",
    "weight_decay",
    "smoothing",
    "dropout",
    "polyak",
    "augment",
    "mixup",
    "cutmix",
    "cutout",
    "drop_path",
    "regular",
    "batch",
];
/// Hyperparameters that say how a trial runs and not what is learned.
const OF_THE_RUN: [&str; 6] = ["steps", "eval_every", "checkpoint_every", "keep_best", "precision", "seed"];

/// Returns how likely conclusions about a hyperparameter transfer. None if it says how trials run.
pub fn transfer(name: &str, workload: Option<&WorkloadDescription>) -> Option<Transfer> {
    let lower = name.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    if OF_THE_RUN.contains(&name) {
        return None;
    }
    let is_own = workload.and_then(|workload| workload.hyperparameter(name)).is_some_and(|known| !known.shared);
    Some(match () {
        () if has(&VERY_LIKELY) => Transfer::VeryLikely,
        () if has(&UNLIKELY) => Transfer::Unlikely,
        () if has(&PERHAPS) => Transfer::Perhaps,
        // What a workload adds to the shared hyperparameters shapes its model.
        () if is_own => Transfer::Likely,
        () => Transfer::Unknown,
    })
}

/// Why a study cannot be prolonged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPromotion {
    /// No hyperparameter `steps` is known.
    NoSteps,
    /// `steps` has several values.
    StepsVary,
}

/// A study that trains for longer.
#[derive(Clone, Debug, PartialEq)]
pub struct Prolonged {
    pub space: SearchSpace,
    /// The steps of a trial before and after.
    pub steps: [u64; 2],
    /// What was done with the schedule, in sentences.
    pub schedule: Vec<String>,
}

/// Returns the space of a study whose trials take `factor` times the steps, with its schedules prolonged so that the
/// added steps are not spent at learning rates too small to matter.
pub fn prolonged(
    space: &SearchSpace,
    workload: Option<&WorkloadDescription>,
    factor: f64,
) -> Result<Prolonged, NoPromotion> {
    let default = |name: &str| workload.and_then(|w| w.hyperparameter(name)).map(|h| h.default.clone());
    let named = |name: &str| space.hyperparameters().iter().filter(|h| h.name == name).cloned().collect::<Vec<_>>();
    let steps = match named("steps").as_slice() {
        [] => default("steps").and_then(|value| value.as_i64()),
        [Hyperparameter { distribution: Distribution::Constant { value }, .. }] => value.as_i64(),
        _ => return Err(NoPromotion::StepsVary),
    };
    let steps = steps.and_then(|steps| u64::try_from(steps).ok()).filter(|steps| *steps > 0);
    let steps = steps.ok_or(NoPromotion::NoSteps)?;
    let longer = (steps as f64 * factor).round().max(1.0) as u64;
    let whole = |value: u64| Distribution::constant(Value::Int(value as i64));
    let mut all: Vec<Hyperparameter> = space.hyperparameters().to_vec();
    let fixed = |name: &str, distribution: Distribution, conditions: Vec<Condition>| Hyperparameter {
        name: name.into(),
        role: Role::Fixed,
        distribution,
        conditions,
    };
    match all.iter_mut().find(|h| h.name == "steps") {
        Some(h) => h.distribution = whole(longer),
        None => all.push(fixed("steps", whole(longer), vec![])),
    }
    let mut notes = vec![];
    let schedules: Vec<String> = match named("schedule").as_slice() {
        [] => default("schedule").map(|value| vec![text(&value)]).unwrap_or_default(),
        several => several.iter().flat_map(|h| values(&h.distribution)).map(|value| text(&value)).collect(),
    };
    // The largest warm-up, if it varies.
    let warmups = named("warmup_steps");
    let warmup = match warmups.as_slice() {
        [] => default("warmup_steps").and_then(|value| value.as_f64()).unwrap_or(0.0),
        several => several.iter().map(|h| h.distribution.from_unit(1.0).as_f64().unwrap_or(0.0)).fold(0.0, f64::max),
    };
    let length = |steps: u64| (steps as f64 - warmup).max(1.0);
    let decays = named("decay_steps");
    let declared = match decays.as_slice() {
        [] => Some(0),
        [h] if h.conditions.is_empty() && h.distribution.is_constant() => {
            h.distribution.from_unit(0.5).as_i64().and_then(|steps| u64::try_from(steps).ok())
        }
        _ => None,
    };
    let has = |name: &str| schedules.iter().any(|schedule| schedule == name);
    let condition = |name: &str| match schedules.len() {
        0 | 1 => vec![],
        _ => vec![Condition { name: "schedule".into(), values: vec![Value::from(name)] }],
    };
    if let Some(decay) = declared {
        let stretched = (decay as f64 * length(longer) / length(steps)).round() as u64;
        // Of the schedules, only these two read the length.
        let of_linear = if decay == 0 { length(steps) as u64 } else { decay };
        if has("linear") || (has("step") && decay > 0) {
            all.retain(|h| h.name != "decay_steps");
        }
        if has("linear") {
            all.push(fixed("decay_steps", whole(of_linear), condition("linear")));
            let varies = warmups.iter().any(|h| !h.distribution.is_constant());
            let exact = if varies && decay == 0 {
                " The warm-up varies from trial to trial, so this is the length for the longest one."
            } else {
                ""
            };
            notes.push(format!(
                "linear: the decay keeps its length of {of_linear} steps, and the constant part before it grows \
                 (decay_steps = {of_linear}).{exact}"
            ));
        }
        if has("step") && decay > 0 {
            all.push(fixed("decay_steps", whole(stretched.max(1)), condition("step")));
            notes.push(format!("step: the distance of two changes grows from {decay} to {stretched} steps."));
        }
    } else if has("linear") || has("step") {
        notes.push(
            "decay_steps is declared as a range or under conditions, and was left as it is: a linear decay keeps its \
             length; the distance of two changes of `step` may have to grow."
                .into(),
        );
    }
    if has("step") && declared == Some(0) {
        notes.push("step: the learning rate changes after each third of the steps, also of more steps.".into());
    }
    if has("cosine") {
        notes.push("cosine: it keeps its base learning rate and reaches 0 at the new end.".into());
    }
    for name in ["constant", "inverse_sqrt"] {
        if has(name) {
            notes.push(format!("{name}: it goes on as it is."));
        }
    }
    if schedules.is_empty() {
        notes.push(
            "The schedule is the program's own. Its added steps should not be spent at a tiny learning rate.".into(),
        );
    }
    let mut space = SearchSpace::new();
    for h in all {
        // Only constants were changed or added, so that the space stays valid.
        let _ = space.declare(h);
    }
    Ok(Prolonged { space, steps: [steps, longer], schedule: notes })
}

/// The values of a list or a constant.
fn values(distribution: &Distribution) -> Vec<Value> {
    match distribution {
        Distribution::Choice { values } => values.clone(),
        Distribution::Constant { value } => vec![value.clone()],
        _ => vec![],
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), String::from)
}

/// How far the ranks of the configurations of two rounds agree.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RankAgreement {
    /// The number of configurations that both rounds have trained.
    pub configurations: usize,
    /// Spearman's rank correlation of their objectives.
    pub correlation: f64,
    /// Its 95 % interval, by Fisher's z with the standard error of Bonett and Wright (2000).
    pub interval: [f64; 2],
    /// Whether the best of the one round is the best of the other.
    pub same_best: bool,
}

/// With fewer common configurations, a rank correlation says nothing.
const LEAST_COMMON: usize = 6;

/// Compares the configurations that two rounds of a study have in common: those with equal values of everything that
/// varies in the first one. None if there are fewer than six with an objective.
pub fn rank_agreement(
    definition: &StudyDefinition,
    trials: &[Trial],
    others: &[Trial],
    objective: &Objective,
) -> Option<RankAgreement> {
    let varied: Vec<&str> = definition
        .space
        .hyperparameters()
        .iter()
        .filter(|h| !h.distribution.is_constant())
        .map(|h| h.name.as_str())
        .collect();
    let key =
        |trial: &Trial| varied.iter().map(|name| trial.params.get(*name).map(Value::to_string)).collect::<Vec<_>>();
    let of = |trials: &[Trial]| -> Vec<(Vec<Option<String>>, f64)> {
        let all = configurations(trials, objective);
        let finished = all.iter().filter(|configuration| configuration.is_finished);
        let judged = finished.filter_map(|c| Some((key(c.trials[0]), objective.direction.minimized(c.objective?))));
        judged.collect()
    };
    let (first, second) = (of(trials), of(others));
    let pairs: Vec<(f64, f64)> = first
        .iter()
        .filter_map(|(key, y)| second.iter().find(|(other, _)| other == key).map(|(_, other)| (*y, *other)))
        .collect();
    let (correlation, interval) = spearman(&pairs)?;
    let least = |of: fn(&(f64, f64)) -> f64| {
        pairs.iter().enumerate().min_by(|a, b| of(a.1).total_cmp(&of(b.1))).map(|(i, _)| i)
    };
    let same_best = least(|pair| pair.0) == least(|pair| pair.1);
    Some(RankAgreement { configurations: pairs.len(), correlation, interval, same_best })
}

/// Spearman's rank correlation with its 95 % interval. None for fewer than six pairs, or if all values of one side are
/// equal.
fn spearman(pairs: &[(f64, f64)]) -> Option<(f64, [f64; 2])> {
    let n = pairs.len();
    if n < LEAST_COMMON {
        return None;
    }
    // Equal values share the mean of their ranks.
    let ranks = |values: Vec<f64>| -> Vec<f64> {
        let below = |x: f64| values.iter().filter(|y| **y < x).count() as f64;
        let equal = |x: f64| values.iter().filter(|y| **y == x).count() as f64;
        values.iter().map(|x| below(*x) + 0.5 * (equal(*x) - 1.0)).collect()
    };
    let (a, b) = (ranks(pairs.iter().map(|p| p.0).collect()), ranks(pairs.iter().map(|p| p.1).collect()));
    let middle = (n - 1) as f64 / 2.0;
    let sum = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| (x - middle) * (y - middle)).sum::<f64>();
    let correlation = sum(&a, &b) / (sum(&a, &a) * sum(&b, &b)).sqrt();
    if !correlation.is_finite() {
        return None;
    }
    let z = correlation.clamp(-0.999_999, 0.999_999).atanh();
    let error = ((1.0 + 0.5 * correlation * correlation) / (n - 3) as f64).sqrt();
    Some((correlation, [(z - 1.96 * error).tanh(), (z + 1.96 * error).tanh()]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space(declared: &[(&str, Distribution)]) -> SearchSpace {
        let mut space = SearchSpace::new();
        for (name, distribution) in declared {
            let role = if distribution.is_constant() { Role::Fixed } else { Role::Nuisance };
            let (name, distribution) = (name.to_string(), distribution.clone());
            space.declare(Hyperparameter { name, role, distribution, conditions: vec![] }).unwrap();
        }
        space
    }

    fn constant(value: impl Into<Value>) -> Distribution {
        Distribution::constant(value.into())
    }

    /// The declarations of `decay_steps` in the prolonged space.
    fn decays(declared: &[(&str, Distribution)]) -> Vec<(String, usize)> {
        let found = prolonged(&space(declared), None, 10.0).unwrap();
        let all = found.space.hyperparameters().iter().filter(|h| h.name == "decay_steps");
        all.map(|h| (h.distribution.to_string(), h.conditions.len())).collect()
    }

    #[test]
    fn added_steps_are_not_spent_at_tiny_learning_rates() {
        let steps = ("steps", constant(1000));
        let schedule = |name: &str| ("schedule", constant(name));
        let found = prolonged(&space(&[steps.clone(), schedule("linear")]), None, 10.0).unwrap();
        assert_eq!(found.steps, [1000, 10_000]);
        let constants = |value: &str| vec![(value.to_string(), 0)];
        let one = |declared: &[(&str, Distribution)]| decays(declared);
        // A linear decay over everything becomes one of the old length; one with a length keeps it.
        let shown = |n: i64| constant(n).to_string();
        assert_eq!(one(&[steps.clone(), schedule("linear")]), constants(&shown(1000)));
        assert_eq!(one(&[steps.clone(), schedule("linear"), ("warmup_steps", constant(100))]), constants(&shown(900)));
        assert_eq!(one(&[steps.clone(), schedule("linear"), ("decay_steps", constant(200))]), constants(&shown(200)));
        // A step decay stretches with the steps, a cosine by itself.
        assert_eq!(one(&[steps.clone(), schedule("step"), ("decay_steps", constant(300))]), constants(&shown(3000)));
        assert_eq!(one(&[steps.clone(), schedule("cosine")]), []);
        // Several schedules: each has its own length.
        let both = Distribution::Choice { values: vec!["linear".into(), "step".into(), "cosine".into()] };
        assert_eq!(
            one(&[steps.clone(), ("schedule", both.clone()), ("decay_steps", constant(300))]),
            [(shown(300), 1), (shown(3000), 1)]
        );
        assert_eq!(one(&[steps.clone(), ("schedule", both)]), [(shown(1000), 1)]);
        assert_eq!(prolonged(&space(&[]), None, 2.0), Err(NoPromotion::NoSteps));
        assert_eq!(prolonged(&space(&[("steps", Distribution::int(1, 9))]), None, 2.0), Err(NoPromotion::StepsVary));
    }

    #[test]
    fn the_table_of_what_transfers_is_the_playbooks() {
        for (name, expected) in [
            ("warmup_steps", Some(Transfer::VeryLikely)),
            ("lr", Some(Transfer::Perhaps)),
            ("momentum", Some(Transfer::Perhaps)),
            ("weight_decay", Some(Transfer::Perhaps)),
            ("augmentation", Some(Transfer::Perhaps)),
            ("schedule", Some(Transfer::Unlikely)),
            ("decay_steps", Some(Transfer::Unlikely)),
            ("x", Some(Transfer::Unknown)),
            ("steps", None),
        ] {
            assert_eq!(transfer(name, None), expected, "{name}");
        }
    }

    #[test]
    fn the_rank_correlation_is_spearmans() {
        let pairs: Vec<(f64, f64)> = [106., 100., 86., 101., 99., 103., 97., 113., 112., 110.]
            .into_iter()
            .zip([7., 27., 2., 50., 28., 29., 20., 12., 6., 17.])
            .collect();
        let (correlation, [low, high]) = spearman(&pairs).unwrap();
        assert!((correlation + 0.175_757_6).abs() < 1e-6, "{correlation}");
        assert!(low < correlation && correlation < high);
        assert_eq!(spearman(&pairs[..5]), None);
        assert_eq!(spearman(&[(1.0, 2.0); 8]), None, "equal values have no ranks");
    }
}
