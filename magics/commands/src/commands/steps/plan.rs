//! Plans the studies of `%steps`: the grid of constant learning rates, and the seeds of the fastest one.

use crate::commands::sweep::plan::{Planner, SweepOptions, check_name};
use crate::commands::workload::Workload;
use crate::error::{ErrorName, Result, Spanned};
use crate::probing::settings;
use crate::syntax::{Arguments, Declaration, SweepBody, Word, parse_one_line};
use tunebook_study::protocol::FitRule;
use tunebook_study::sampler::SamplerKind;
use tunebook_study::{Distribution, Role, StudyDefinition, Value, WorkloadDescription, WorkloadHyperparameter};

/// The default of `--rates`: learning rates of the grid.
const DEFAULT_RATES: u64 = 11;
/// The grid has at least so many, so that one can lie between two others.
const LEAST_RATES: u64 = 3;
/// The default of `--repeats`: with six seeds their range is the 95 % interval of the median.
const DEFAULT_REPEATS: u32 = 6;
/// The range of the grid for a workload that has no range for its learning rate.
const DEFAULT_RANGE: [f64; 2] = [1e-4, 10.0];
/// The distances of two evaluations, as shares of the steps before them. The first one is taken that is not too costly.
const GROWTHS: [f64; 6] = [0.05, 0.07, 0.1, 0.15, 0.2, 0.3];
/// Evaluations on all training examples may cost this many times what the training steps cost. An evaluation of an
/// example costs about a third of a training step.
const COST: f64 = 2.0;
/// So many evaluations are never too costly.
const CHEAP: f64 = 30.0;
/// The metric of a classification that must become 0.
const ERROR: &str = "train/error";
/// The metric of any other workload.
const LOSS: &str = "train/eval_loss";
/// Names of shared hyperparameters that are set to a value without regularization, averaging or decay.
const SWITCHED_OFF: [&str; 4] = ["weight_decay", "label_smoothing", "dropout", "polyak_decay"];
/// A hyperparameter of the workload itself is taken for regularization or augmentation if its name contains one of
/// these.
const REGULARIZATION: [&str; 11] = [
    "dropout",
    "drop_path",
    "weight_decay",
    "smoothing",
    "regular",
    "augment",
    "mixup",
    "cutmix",
    "cutout",
    "jitter",
    "stochastic_depth",
];

/// What `%steps` runs.
pub struct StepsPlan {
    /// The name of the study of the grid. The study of the seeds is called `NAME.seeds`.
    pub name: String,
    /// The study of the grid.
    pub grid: StudyDefinition,
    /// The learning rates of the grid.
    pub rates: Vec<f64>,
    /// The largest number of steps of a trial.
    pub steps: u64,
    /// The number of steps between two evaluations, if it is always the same.
    pub every: Option<u64>,
    /// When a trial fits, and when it is evaluated otherwise.
    pub rule: FitRule,
    /// The hyperparameters that were set so that nothing but the learning rate limits the fit, with their values.
    pub switched_off: Vec<(String, Value)>,
    /// Hyperparameters that look like regularization and have no value that switches it off.
    pub remains: Vec<String>,
    /// The number of further seeds of the fastest learning rate.
    pub repeats: u32,
    /// The options of both studies.
    pub options: SweepOptions,
}

impl StepsPlan {
    /// The study of further seeds at one learning rate.
    pub fn seeds(&self, rate: f64) -> StudyDefinition {
        let space = with_rates(&self.grid, &[rate]);
        // Another seed than that of the grid, so that its trial is not repeated.
        StudyDefinition { space, repeats: self.repeats, seed: self.grid.seed + 1, ..self.grid.clone() }
    }
}

/// The space of a study with these learning rates.
pub fn with_rates(definition: &StudyDefinition, rates: &[f64]) -> tunebook_study::SearchSpace {
    let mut space = tunebook_study::SearchSpace::new();
    for h in definition.space.hyperparameters() {
        let mut h = h.clone();
        if h.name == "lr" {
            let values: Vec<Value> = rates.iter().map(|rate| Value::Float(*rate)).collect();
            h.distribution = match values.as_slice() {
                [only] => Distribution::constant(only.clone()),
                _ => Distribution::Choice { values },
            };
        }
        // The space was valid before, and only a value has changed.
        let _ = space.declare(h);
    }
    space
}

/// The words and numbers of the options.
pub struct StepsOptions {
    pub settings: Vec<Word>,
    pub name: Word,
    steps: Option<u64>,
    every: Option<u64>,
    fit: Option<f64>,
    range: Option<[f64; 2]>,
    rates: u64,
    repeats: u32,
    pub sweep: SweepOptions,
}

impl StepsOptions {
    /// Reads the options of `%steps WORKLOAD`.
    pub fn new(arguments: &Arguments) -> Result<Self> {
        let settings = settings(arguments)?;
        let default = Word { text: format!("{}-steps", settings[0].text), ..settings[0].clone() };
        let name = arguments.option("name").cloned().unwrap_or(default);
        check_name(&arguments.source, &name)?;
        let fit = match arguments.option("fit") {
            None => None,
            Some(word) => match word.text.parse::<f64>() {
                Ok(fit) if fit.is_finite() && fit >= 0.0 => Some(fit),
                _ => {
                    return Err(arguments.invalid(word, format!("`--fit` takes a number from 0, not `{}`", word.text)));
                }
            },
        };
        Ok(Self {
            settings,
            name,
            steps: arguments.count("steps", 2)?,
            every: arguments.count("every", 1)?,
            fit,
            range: range(arguments)?,
            rates: arguments.count("rates", LEAST_RATES)?.unwrap_or(DEFAULT_RATES),
            repeats: arguments.small_count("repeats", 1)?.unwrap_or(DEFAULT_REPEATS),
            sweep: SweepOptions {
                seed: arguments.count("seed", 0)?.unwrap_or(0),
                parallel: arguments.small_count("parallel", 1)?.map(|n| n as usize),
                resume: arguments.has("resume"),
                accept_changes: arguments.has("accept-changes"),
                sampler: SamplerKind::Grid,
                ..SweepOptions::default()
            },
        })
    }

    /// Plans the studies. `examples` is the number of training examples.
    pub fn plan(&self, arguments: &Arguments, workloads: &[Workload], examples: u64) -> Result<StepsPlan> {
        let source = &arguments.source;
        let mut body = parse_one_line(source, &self.settings)?;
        let word = &self.settings[0];
        let workload = Workload::named(&word.text, workloads, source, &word.span)?;
        let description = &workload.description;
        let set = |name: &str| {
            let declared = body.declarations.iter().find(|declared| declared.name.value == name);
            declared.and_then(|declared| match &declared.distribution.value {
                Distribution::Constant { value } => Some(value.clone()),
                _ => None,
            })
        };
        let whole = |name: &str| {
            let value = set(name).or_else(|| description.hyperparameter(name).map(|h| h.default.clone()));
            value.and_then(|value| u64::try_from(value.as_i64()?).ok()).filter(|value| *value > 0)
        };
        let (off, remains) = switched_off(description);
        refuse(arguments, &body, &off, self.repeats)?;
        let steps = self.steps.or_else(|| whole("steps")).unwrap_or(1000).max(2);
        let batch = whole("batch_size").unwrap_or(1);
        let every = self.every.or_else(|| set("eval_every").and(whole("eval_every"))).map(|every| every.min(steps));
        let affordable = (3.0 * COST * (steps * batch) as f64 / examples.max(1) as f64).max(CHEAP);
        let count = |growth: f64| (1.0 + (steps as f64 * growth).max(1.0).ln()) / growth;
        let growth = GROWTHS.into_iter().find(|growth| count(*growth) <= affordable).unwrap_or(GROWTHS[5]);
        let growth = if every.is_some() { None } else { Some(growth) };
        let is_classification = description.metrics.iter().any(|metric| metric == "valid/error");
        let rule = match (is_classification, self.fit) {
            (true, fit) => FitRule { metric: ERROR.into(), at_most: fit.unwrap_or(0.0), growth },
            (false, Some(fit)) => FitRule { metric: LOSS.into(), at_most: fit, growth },
            (false, None) => {
                let message = format!(
                    "`{}` has no metric `valid/error`, so you must say when a trial fits: by its loss on the training \
                     examples",
                    word.text
                );
                let help = "for example `--fit 0.01`: a trial fits if that loss is at most 0.01";
                return Err(source.error(ErrorName::InvalidValue, word.span.clone(), message, Some(help.into())));
            }
        };
        let rates = grid(self.range.unwrap_or_else(|| default_range(description)), self.rates);
        let mut declare = |name: &str, role: Role, distribution: Distribution| {
            let span = arguments.line.clone();
            body.declarations.retain(|declared| declared.name.value != name);
            body.declarations.push(Declaration {
                role,
                name: Spanned::new(name.into(), span.clone()),
                distribution: Spanned::new(distribution, span.clone()),
                conditions: vec![],
                span,
            });
        };
        let values = rates.iter().map(|rate| Value::Float(*rate)).collect();
        declare("lr", Role::Nuisance, Distribution::Choice { values });
        for (name, value) in &off {
            declare(name, Role::Fixed, Distribution::constant(value.clone()));
        }
        for (name, value) in [("steps", Some(steps)), ("eval_every", every)] {
            if let Some(value) = value {
                declare(name, Role::Fixed, Distribution::constant(Value::Int(value as i64)));
            }
        }
        let options = SweepOptions { fit: Some(rule.clone()), ..self.sweep.clone() };
        let name = self.name.text.clone();
        let plan = Planner { source, workloads }.plan(name.clone(), &body, options.clone())?;
        let (grid, repeats) = (plan.definition, self.repeats);
        let switched_off = off.into_iter().collect();
        Ok(StepsPlan { name, grid, rates, steps, every, rule, switched_off, remains, repeats, options })
    }
}

/// Reads `--lr A..B`.
fn range(arguments: &Arguments) -> Result<Option<[f64; 2]>> {
    let Some(word) = arguments.option("lr") else { return Ok(None) };
    let number = |text: &str| text.trim().parse::<f64>().ok().filter(|x| x.is_finite() && *x > 0.0);
    let ends = word.text.split_once("..").and_then(|(low, high)| Some([number(low)?, number(high)?]));
    match ends {
        Some([low, high]) if low < high => Ok(Some([low, high])),
        _ => {
            let message = format!("`{}` is not a range of learning rates: write A..B with 0 < A < B", word.text);
            let help = Some("for example --lr 1e-4..10".into());
            Err(arguments.source.error(ErrorName::InvalidValue, word.span.clone(), message, help))
        }
    }
}

/// The range of learning rates that is worth searching.
fn default_range(description: &WorkloadDescription) -> [f64; 2] {
    match description.hyperparameter("lr").and_then(|lr| lr.search.as_ref()) {
        Some(Distribution::LogUniform { low, high }) => [*low, *high],
        _ => DEFAULT_RANGE,
    }
}

/// Returns `count` numbers from one end of a range to the other, with equal ratios, rounded to three digits.
pub fn grid([low, high]: [f64; 2], count: u64) -> Vec<f64> {
    let at = |i: u64| low * (high / low).powf(i as f64 / (count - 1) as f64);
    let mut rates: Vec<f64> = (0..count).map(at).map(rounded).collect();
    rates.dedup();
    rates
}

pub fn rounded(x: f64) -> f64 {
    format!("{x:.2e}").parse().unwrap_or(x)
}

/// Refuses settings of what the magic sets itself.
fn refuse(arguments: &Arguments, body: &SweepBody, off: &[(String, Value)], repeats: u32) -> Result<()> {
    for declared in &body.declarations {
        let name = declared.name.value.as_str();
        let constant = match &declared.distribution.value {
            Distribution::Constant { value } => Some(value),
            _ => None,
        };
        let is_same = |value: &Value| {
            constant.is_some_and(|set| set == value || set.as_f64().is_some_and(|set| Some(set) == value.as_f64()))
        };
        let (message, help) = match name {
            "lr" => (
                "`lr` cannot be set, because this magic varies it".to_string(),
                "`--lr A..B` sets the range of the grid, and `--rates N` the number of learning rates",
            ),
            "seed" if repeats > 1 => (
                "`seed` cannot be set, because this magic trains with several seeds".to_string(),
                "`--seed S` says which ones; `--repeats 1` trains with one",
            ),
            _ if off.iter().any(|(other, value)| other == name && !is_same(value)) => (
                format!("`{name}` is switched off here: the number of steps is asked without it (Playbook G5)"),
                "leave it out; tune it in the sweep that follows",
            ),
            _ if constant.is_none() => (
                format!("`{name}` needs one value here, not several: only the learning rate varies"),
                "run the magic once for each value, each with its own `--name`",
            ),
            _ => continue,
        };
        let (span, help) = (declared.name.span.clone(), Some(help.into()));
        return Err(arguments.source.error(ErrorName::InvalidDeclaration, span, message, help));
    }
    Ok(())
}

/// Returns the hyperparameters of a workload that are switched off, with the value that does so, and those that look
/// like regularization but have no such value.
fn switched_off(description: &WorkloadDescription) -> (Vec<(String, Value)>, Vec<String>) {
    let (mut off, mut remains) = (vec![], vec![]);
    for h in &description.hyperparameters {
        let looks_so = !h.shared && REGULARIZATION.iter().any(|word| h.name.to_lowercase().contains(word));
        match h.name.as_str() {
            "schedule" => off.extend(accepted(h, &[Value::from("constant")])),
            "warmup_steps" => off.extend(accepted(h, &[Value::Int(0)])),
            name if SWITCHED_OFF.contains(&name) || looks_so => {
                let nothing =
                    [Value::Bool(false), Value::Int(0), Value::Float(0.0), Value::from("none"), Value::from("off")];
                match accepted(h, &nothing) {
                    Some(value) => off.push(value),
                    None => remains.push(name.into()),
                }
            }
            _ => {}
        }
    }
    (off, remains)
}

/// The first of some values that a hyperparameter can have, in its type.
fn accepted(h: &WorkloadHyperparameter, values: &[Value]) -> Option<(String, Value)> {
    values.iter().find_map(|value| Some((h.name.clone(), h.accept(value).ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grid_has_equal_ratios_and_reaches_both_ends() {
        assert_eq!(grid([1e-2, 1.0], 5), [0.01, 0.0316, 0.1, 0.316, 1.0]);
        assert_eq!(grid([1e-4, 10.0], 11).len(), 11);
        assert_eq!(grid([1.0, 1.001], 3), [1.0], "equal numbers are one");
    }
}
