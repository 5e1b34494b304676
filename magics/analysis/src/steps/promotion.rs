//! A longer round of a study: its schedule (Playbook G10), and what is likely to transfer to it (G9).

use serde::Serialize;
use tunebook_study::{Condition, Distribution, Hyperparameter, Role, SearchSpace, Value, WorkloadDescription};

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
            "decay_steps is declared as a range or under conditions, so it was not changed. Check it: a linear decay \
             should keep its length, and for `step` the distance between two changes may have to grow."
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
            notes.push(format!("{name}: it continues unchanged."));
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
        assert_eq!(
            prolonged(&space(&[("steps", Distribution::int(1, 9).unwrap())]), None, 2.0),
            Err(NoPromotion::StepsVary)
        );
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
}
