//! Turns the text of the magic into a plan: the workload, the values that are set, and the learning rates to try.

use crate::commands::sweep::plan::check_name;
use crate::commands::workload::{Workload, known};
use crate::error::{ErrorName, MagicError, Result};
use crate::magic::Context;
use crate::probing::{settings, space_of, values_of};
use crate::syntax::{Arguments, Word};
use std::path::PathBuf;
use tunebook_analysis::{HIGHEST_RATE, LOWEST_RATE, RATES_PER_DECADE, nearest_rate, rate};
use tunebook_study::sampler::SamplerKind;
use tunebook_study::{
    Distribution, Hyperparameter, Objective, Params, Role, SearchSpace, StudyDefinition, Value, WorkloadDescription,
};

/// The default of `--seeds`.
const DEFAULT_SEEDS: u32 = 3;
/// The most seeds. Trials are numbered so that there is place for them.
pub const MOST_SEEDS: u32 = 10;
/// The sweep is extended upward by this factor at most, unless `--up-to` says otherwise.
const UPWARD: f64 = 1000.0;
/// The number of evaluations of a run, unless `eval_every` is set.
const EVALUATIONS: u64 = 100;
/// The first pass around the default learning rate, if the workload has no range to search.
const AROUND_DEFAULT: [f64; 2] = [1e-3, 100.0];

/// A plan that can be run.
pub struct StabilityPlan {
    /// The name of the main study. Those of variants begin with it.
    pub name: String,
    pub workload: Workload,
    /// The worker of a `%%workload`. None if the built-in worker trains it.
    pub worker: Option<PathBuf>,
    /// The hyperparameters that the user set.
    pub params: Params,
    /// The number of training steps. None if the workload has no hyperparameter `steps`.
    pub steps: Option<u64>,
    /// The indices of the first pass, and the bounds to which the sweep is extended.
    pub first: [i32; 2],
    pub bounds: [i32; 2],
    /// The index of the highest rate that the workload allows.
    pub highest: i32,
    pub seeds: u32,
    pub seed: u64,
    pub parallel: Option<usize>,
    pub accepts_changes: bool,
}

/// A study of the plan: the main one, whose suffix is empty, or one with some hyperparameters changed.
#[derive(Clone, Debug, PartialEq)]
pub struct Variant {
    pub suffix: String,
    pub changed: Vec<(&'static str, Value)>,
}

impl Variant {
    /// The study with the hyperparameters as the user set them.
    pub fn main() -> Self {
        Self { suffix: String::new(), changed: vec![] }
    }
}

impl StabilityPlan {
    pub fn new(arguments: &Arguments, context: &Context) -> Result<Self> {
        let source = &arguments.source;
        let settings = settings(arguments)?;
        let word = &settings[0];
        let workloads = known(context)?;
        let is_known = workloads.iter().any(|workload| workload.description.name == word.text);
        if !is_known && is_program(&word.text, context) {
            let message = format!("`{}` is a program, and `%stability` needs a workload", word.text);
            let help = "the magic changes `lr`, `steps` and `eval_every`, and reads the loss and the gradient norm of \
                        each step, which a program does not offer. A sweep with `command` can go past the edge: \
                        `nuisance lr ~ loguniform(a, b)` with a large b, then %insight";
            return Err(source.error(ErrorName::NoAnswer, word.span.clone(), message, Some(help.into())));
        }
        let workload = Workload::named(&word.text, &workloads, source, &word.span)?.clone();
        let refused = [
            ("lr", "cannot be set, because this magic varies it; `--range A..B` says at which rates it starts"),
            ("seed", "cannot be set, because this magic trains with several seeds; `--seed S` says which ones"),
        ];
        let space = space_of(arguments, &settings, &workloads, &refused)?;
        let params = values_of(arguments, &settings, &space)?;
        let description = &workload.description;
        let Some(lr) = description.hyperparameter("lr") else {
            let message = format!("`{}` has no hyperparameter `lr`, so its learning rate cannot be varied", word.text);
            let help = "your own workload declares it as `lr`";
            return Err(source.error(ErrorName::NoAnswer, word.span.clone(), message, Some(help.into())));
        };
        let is_allowed = |index: &i32| lr.accept(&Value::Float(rate(*index))).is_ok();
        let allowed: Vec<i32> = (LOWEST_RATE..=HIGHEST_RATE).filter(is_allowed).collect();
        let (Some(lowest), Some(highest)) = (allowed.first().copied(), allowed.last().copied()) else {
            let message = format!("`lr` of `{}` cannot have any of the values that this magic tries", word.text);
            let (low, high) = (rate(LOWEST_RATE), rate(HIGHEST_RATE));
            let help =
                format!("it tries rates from {low:e} to {high:e}: give `lr` in the workload a range with some of them");
            return Err(source.error(ErrorName::NoAnswer, word.span.clone(), message, Some(help)));
        };
        let range = match arguments.option("range") {
            Some(word) => range(arguments, word)?,
            None => default_range(description),
        };
        let first = range.map(|lr| nearest_rate(lr).clamp(lowest, highest));
        let bound = match arguments.option("up-to") {
            Some(word) => match word.text.parse::<f64>() {
                Ok(bound) if bound.is_finite() && bound >= range[1] => nearest_rate(bound),
                _ => {
                    let message = format!(
                        "`--up-to` takes a learning rate of at least {}, the end of the first pass, not `{}`",
                        crate::report::table::number(range[1]),
                        word.text
                    );
                    return Err(arguments.invalid(word, message));
                }
            },
            None if arguments.has("range") => first[1],
            None => nearest_rate(range[1] * UPWARD),
        };
        let bounds = [if arguments.has("range") { first[0] } else { lowest }, bound.min(highest)];
        let seeds = arguments.small_count("seeds", 2)?.unwrap_or(DEFAULT_SEEDS);
        if let Some(word) = arguments.option("seeds").filter(|_| seeds > MOST_SEEDS) {
            return Err(arguments.invalid(word, format!("`--seeds` takes at most {MOST_SEEDS}")));
        }
        let seed = arguments.count("seed", 0)?.unwrap_or(0);
        let value = |name: &str| {
            let default = || description.hyperparameter(name).map(|h| h.default.clone());
            params.get(name).cloned().or_else(default)
        };
        let steps = value("steps").and_then(|steps| u64::try_from(steps.as_i64()?).ok()).filter(|steps| *steps > 0);
        let name = match arguments.option("name") {
            Some(word) => {
                check_name(source, word)?;
                word.text.clone()
            }
            None => default_name(&word.text, &params, seed),
        };
        Ok(Self {
            name,
            worker: None,
            params,
            steps,
            first,
            bounds,
            highest,
            seeds,
            seed,
            parallel: arguments.small_count("parallel", 1)?.map(|n| n as usize),
            accepts_changes: arguments.has("accept-changes"),
            workload,
        })
    }

    pub fn objective(&self) -> &Objective {
        &self.workload.description.objective
    }

    pub fn has(&self, name: &str) -> bool {
        self.workload.description.hyperparameter(name).is_some()
    }

    /// The value that a hyperparameter has: the user's, or the default.
    pub fn value(&self, name: &str) -> Option<Value> {
        let default = || self.workload.description.hyperparameter(name).map(|h| h.default.clone());
        self.params.get(name).cloned().or_else(default)
    }

    /// The name of the study of a variant.
    pub fn study(&self, variant: &Variant) -> String {
        match variant.suffix.as_str() {
            "" => self.name.clone(),
            suffix => format!("{}.{suffix}", self.name),
        }
    }

    /// The definition of the study of a variant: a grid of all learning rates, of which only some are trained.
    pub fn definition(&self, variant: &Variant) -> StudyDefinition {
        let rates = (LOWEST_RATE..=HIGHEST_RATE).map(|index| Value::Float(rate(index))).collect();
        let rates = Distribution::choice(rates).unwrap_or(Distribution::constant(Value::Float(1.0)));
        self.with_rates(variant, rates, Role::Scientific, SamplerKind::Grid, MOST_SEEDS)
    }

    /// The definition of a sweep with the values of a variant and a range of learning rates.
    pub fn sweep(&self, variant: &Variant, rates: [f64; 2]) -> Option<StudyDefinition> {
        let [low, high] = rates.map(|lr| format!("{lr:.2e}").parse().unwrap_or(lr));
        let rates = Distribution::log_uniform(low, high).ok()?;
        Some(self.with_rates(variant, rates, Role::Nuisance, SamplerKind::default(), 1))
    }

    fn with_rates(
        &self,
        variant: &Variant,
        rates: Distribution,
        role: Role,
        sampler: SamplerKind,
        repeats: u32,
    ) -> StudyDefinition {
        let mut values = self.params.clone();
        if sampler == SamplerKind::Grid
            && self.has("eval_every")
            && !values.contains_key("eval_every")
            && let Some(steps) = self.steps
        {
            values.insert("eval_every".into(), whole(steps.div_ceil(EVALUATIONS)));
        }
        for (name, value) in &variant.changed {
            values.insert((*name).into(), value.clone());
        }
        let mut space = SearchSpace::new();
        for (name, value) in values {
            // Names occur once and have no conditions, so each can be declared.
            let _ = space.declare(declared(&name, Role::Fixed, Distribution::constant(value)));
        }
        let _ = space.declare(declared("lr", role, rates));
        StudyDefinition {
            sampler,
            seed: self.seed,
            repeats,
            ..StudyDefinition::new(self.workload.reference.clone(), space, self.objective().clone())
        }
    }
}

/// A count as the value of a hyperparameter.
pub fn whole(count: u64) -> Value {
    Value::Int(i64::try_from(count).unwrap_or(i64::MAX))
}

/// The number of the trial of a rate and a seed, from 1.
pub fn trial_number(index: i32, seed: u32) -> u32 {
    (index - LOWEST_RATE) as u32 * MOST_SEEDS + seed + 1
}

/// The rate and the seed of a trial's number.
pub fn rate_and_seed(number: u32) -> (i32, u32) {
    let place = number.saturating_sub(1);
    ((place / MOST_SEEDS) as i32 + LOWEST_RATE, place % MOST_SEEDS)
}

fn declared(name: &str, role: Role, distribution: Distribution) -> Hyperparameter {
    Hyperparameter { name: name.into(), role, distribution, conditions: vec![] }
}

/// Whether a word that names no workload looks like the start of a command.
fn is_program(word: &str, context: &Context) -> bool {
    let has_ending = [".py", ".sh", ".R", ".jl", ".exe", ".js"].iter().any(|ending| word.ends_with(ending));
    let path = context.whole_environment().remove("PATH").unwrap_or_default();
    let is_in_path = || std::env::split_paths(&path).any(|folder| folder.join(word).is_file());
    word == "command" || word.contains(['/', ' ']) || has_ending || is_in_path()
}

/// The range of the first pass: that which the workload declares for searches, or one around the default.
fn default_range(description: &WorkloadDescription) -> [f64; 2] {
    let lr = description.hyperparameter("lr");
    match lr.and_then(|lr| lr.search.as_ref()) {
        Some(Distribution::LogUniform { low, high }) => [*low, *high],
        Some(Distribution::Uniform { low, high }) if *high > 0.0 => [low.max(high * AROUND_DEFAULT[0]), *high],
        _ => {
            let default = lr.and_then(|lr| lr.default.as_f64()).filter(|lr| *lr > 0.0).unwrap_or(0.1);
            AROUND_DEFAULT.map(|factor| factor * default)
        }
    }
}

/// Reads `A..B`.
fn range(arguments: &Arguments, word: &Word) -> Result<[f64; 2]> {
    let ends = word.text.split_once("..").and_then(|(a, b)| Some([a.parse::<f64>().ok()?, b.parse::<f64>().ok()?]));
    let [least, most] = [rate(LOWEST_RATE), rate(HIGHEST_RATE)];
    match ends {
        Some([a, b]) if a >= least && b <= most && b >= a * 10f64.powf(10.0 / f64::from(RATES_PER_DECADE)) => {
            Ok([a, b])
        }
        _ => {
            let message = format!(
                "`--range` takes two learning rates from {least:e} to {most:e} that differ by a factor of 3.2 or more, \
                 such as 1e-4..10, not `{}`",
                word.text
            );
            Err(arguments.invalid(word, message))
        }
    }
}

/// The name of the study says what was set, so that each setting has a study of its own.
fn default_name(workload: &str, params: &Params, seed: u64) -> String {
    let mut name = format!("{workload}-stability");
    for (hyperparameter, value) in params {
        name += &format!("-{hyperparameter}-{value}");
    }
    if seed != 0 {
        name += &format!("-seed-{seed}");
    }
    name.retain(|c| c.is_alphanumeric() || "_.-".contains(c));
    name
}

/// The error of a study whose trials cannot be used.
pub fn unusable(study: &str, number: u32, reason: &str) -> MagicError {
    let message = format!("trial {number} of `{study}` gave no result: {reason}");
    let help = format!("`%study {study}` shows its trials; the log of the trial is in its folder");
    MagicError::new(ErrorName::WorkloadError, message, Some(help))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_a_trial_says_its_rate_and_its_seed() {
        for index in [LOWEST_RATE, -3, 0, HIGHEST_RATE] {
            for seed in 0..MOST_SEEDS {
                assert_eq!(rate_and_seed(trial_number(index, seed)), (index, seed));
            }
        }
        assert_eq!(trial_number(LOWEST_RATE, 0), 1);
    }
}
