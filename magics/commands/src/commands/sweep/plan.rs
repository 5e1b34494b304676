//! Turns the declarations and options of a sweep into a plan that can be run. Names and values are checked against the
//! workload, so that a plan holds no mistake that can be known before training.

use super::advice::allowed;
use super::placeholders;
use super::preset;
use super::trial_options::{GivenTrial, TrialOptions};
use crate::commands::workload::Workload;
use crate::error::{ErrorName, MagicError, Result, Source, Spanned, nearest, suggest};
use crate::studies::{judged, objective};
use crate::syntax::{Arguments, Declaration, SweepBody, Word, place_of_value};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tunebook_study::protocol::{FitRule, StoppingRule};
use tunebook_study::sampler::SamplerKind;
use tunebook_study::{
    Condition, Direction, Distribution, Hyperparameter, HyperparameterDomain, Objective, ObjectiveValue, SearchSpace,
    SpaceError, StopEarly, StudyDefinition, Value, WorkloadDescription, WorkloadHyperparameter, WorkloadReference,
};

/// The default of `--trials` unless the sampler is a grid.
const DEFAULT_TRIALS: u32 = 20;

/// The options of a sweep.
#[derive(Clone, Debug)]
pub struct SweepOptions {
    /// The number of configurations, or None for the default.
    pub trials: Option<u32>,
    /// How configurations are proposed.
    pub sampler: SamplerKind,
    /// The seed of the proposals and of the trials.
    pub seed: u64,
    /// The number of trials for each configuration.
    pub repeats: u32,
    /// Whether a trial is judged by its best or by its last value, if the user says so.
    pub judged: Option<ObjectiveValue>,
    /// The number of trials that run at the same time, or None for one on each device.
    pub parallel: Option<usize>,
    /// The number of trials that share a GPU.
    pub per_gpu: Option<usize>,
    /// Whether the sweep goes on after its cell.
    pub background: bool,
    /// Whether missing trials of a recorded study are run.
    pub resume: bool,
    /// Whether failed trials of a recorded study are run again, and missing ones.
    pub retry_failed: bool,
    /// Whether trials are run although files have changed since earlier trials of the study read them.
    pub accept_changes: bool,
    /// Whether a wider definition of a recorded study is accepted.
    pub widen: bool,
    /// By which rule trials are stopped early.
    pub stop_early: StopEarly,
    /// The time limit of a trial.
    pub timeout: Option<Duration>,
    /// The time limit of this run of the study.
    pub budget: Option<Duration>,
    /// The price of one device for one hour.
    pub price: Option<f64>,
    /// `--minimize` or `--maximize` with its metric.
    pub objective: Option<(Direction, Spanned<String>)>,
    /// The number of steps between two estimates of the gradient noise scale in a trial. None if it is not estimated.
    pub noise_every: Option<u64>,
    /// The lints that `--allow` overrules.
    pub allow: BTreeSet<String>,
    /// The target at which a trial of `%scaling` ends. None in a sweep.
    pub until: Option<StoppingRule>,
    /// Whether evaluations look at the training examples too.
    pub training_metrics: bool,
    /// The rule by which a trial of `%steps` ends. None in a sweep.
    pub fit: Option<FitRule>,
    /// The trials of `%replay`, by their numbers. In a sweep there are none, and all trials are proposed.
    pub given: Arc<BTreeMap<u32, GivenTrial>>,
    /// What the sweep says of what it did before it trained, in sentences.
    pub notes: Vec<String>,
}

impl Default for SweepOptions {
    fn default() -> Self {
        Self {
            trials: None,
            sampler: SamplerKind::default(),
            seed: 0,
            repeats: 1,
            judged: None,
            parallel: None,
            per_gpu: None,
            background: false,
            resume: false,
            retry_failed: false,
            accept_changes: false,
            widen: false,
            stop_early: StopEarly::None,
            timeout: None,
            budget: None,
            price: None,
            objective: None,
            noise_every: None,
            allow: BTreeSet::new(),
            until: None,
            training_metrics: false,
            fit: None,
            given: Arc::default(),
            notes: vec![],
        }
    }
}

impl SweepOptions {
    /// How a trial is trained.
    pub fn of_trial(&self, number: u32) -> TrialOptions {
        let own = || TrialOptions {
            noise_every: self.noise_every,
            training_metrics: self.training_metrics,
            until: self.until,
            fit: self.fit.clone(),
        };
        self.given.get(&number).map_or_else(own, |given| given.options.clone())
    }

    /// Reads the options of a magic.
    pub fn new(arguments: &Arguments) -> Result<Self> {
        Ok(Self {
            trials: arguments.small_count("trials", 1)?,
            sampler: sampler(arguments)?,
            seed: arguments.count("seed", 0)?.unwrap_or(0),
            repeats: arguments.small_count("repeats", 1)?.unwrap_or(1),
            judged: judged(arguments)?,
            parallel: arguments.small_count("parallel", 1)?.map(|n| n as usize),
            per_gpu: arguments.small_count("per-gpu", 1)?.map(|n| n as usize),
            background: arguments.has("background"),
            resume: arguments.has("resume"),
            retry_failed: arguments.has("retry-failed"),
            accept_changes: arguments.has("accept-changes"),
            widen: arguments.has("widen"),
            stop_early: stop_early(arguments)?,
            timeout: arguments.duration("timeout")?,
            budget: arguments.duration("budget")?,
            price: arguments.amount("price")?,
            objective: objective(arguments)?,
            noise_every: arguments.count("every", 1)?,
            allow: allowed(arguments)?,
            until: None,
            training_metrics: arguments.has("training-metrics"),
            fit: None,
            given: Arc::default(),
            notes: vec![],
        })
    }
}

/// Returns an error if a word cannot be the name of a study. The name is also that of the folder of its trials.
pub fn check_name(source: &Source, name: &Word) -> Result<()> {
    let allowed = |c: char| c.is_alphanumeric() || "_.-".contains(c);
    if name.text.is_empty() || name.text.starts_with('.') || !name.text.chars().all(allowed) {
        let message = format!("`{}` cannot be the name of a study", name.text);
        let help =
            "use letters, digits, `_`, `-` and `.`, and do not begin with `.`: the name is also the name of a folder";
        return Err(source.error(ErrorName::InvalidValue, name.span.clone(), message, Some(help.into())));
    }
    Ok(())
}

/// A text of the body. An empty one is as none.
fn written(text: Option<&Spanned<String>>) -> Option<String> {
    text.map(|text| text.value.clone()).filter(|text| !text.trim().is_empty())
}

fn stop_early(arguments: &Arguments) -> Result<StopEarly> {
    let Some(word) = arguments.option("stop-early") else { return Ok(StopEarly::None) };
    StopEarly::parse(&word.text).ok_or_else(|| {
        let names = StopEarly::ALL.map(|rule| rule.to_string());
        let help = suggest(&word.text, names.iter().map(String::as_str).collect::<Vec<_>>());
        let message = format!("there is no rule `{}` of early stopping", word.text);
        arguments.source.error(ErrorName::InvalidValue, word.span.clone(), message, help)
    })
}

fn sampler(arguments: &Arguments) -> Result<SamplerKind> {
    let Some(word) = arguments.option("sampler") else { return Ok(SamplerKind::default()) };
    SamplerKind::parse(&word.text).ok_or_else(|| {
        let names: Vec<String> = SamplerKind::ALL.iter().map(SamplerKind::to_string).collect();
        let help = suggest(&word.text, names.iter().map(String::as_str).collect::<Vec<_>>());
        let message = format!("there is no sampler `{}`", word.text);
        arguments.source.error(ErrorName::InvalidValue, word.span.clone(), message, help)
    })
}

/// The question whether a known value was meant instead of one that is not known. None if no known value is similar.
pub fn near_value(value: &str, known: impl IntoIterator<Item = Value>) -> Option<String> {
    let known: Vec<String> = known.into_iter().map(|known| known.declared()).collect();
    nearest(value, known.iter().map(String::as_str)).map(|near| format!("did you mean `{near}`?"))
}

/// The same for a value that a workload does not accept.
pub fn near_choice(value: &Value, hyperparameter: &WorkloadHyperparameter) -> Option<String> {
    match &hyperparameter.domain {
        HyperparameterDomain::Choices { choices } => near_value(&value.declared(), choices.iter().cloned()),
        HyperparameterDomain::Range { .. } => None,
    }
}

/// The parent in the conditions of a declaration that has a range of real numbers, of which no trial gets a single one.
fn real_parent<'a>(declaration: &Declaration, space: &'a SearchSpace) -> Option<&'a Hyperparameter> {
    let mut parents = declaration.conditions.iter().filter_map(|(parent, _)| space.named(&parent.value).next());
    parents.find(|parent| space.named(&parent.name).all(|h| h.distribution.is_real()))
}

/// What to do if a declaration cannot be added to those above it. `declarations` are all of them.
fn help(
    error: &SpaceError,
    space: &SearchSpace,
    declaration: &Declaration,
    declarations: &[Declaration],
) -> Option<String> {
    match error {
        SpaceError::UnknownParent { name } if declarations.iter().any(|below| below.name.value == *name) => {
            Some(format!("move this line below the one that declares `{name}`"))
        }
        SpaceError::UnknownParent { name } => {
            let above = space.hyperparameters().iter().map(|h| h.name.as_str());
            let asked = nearest(name, above).map(|above| format!("did you mean `{above}`?"));
            asked.or_else(|| Some(format!("add a line above that declares it: `scientific {name} in [v, …]`")))
        }
        SpaceError::ImpossibleValue { name, value, .. } => {
            let values = space.named(name).flat_map(|parent| match &parent.distribution {
                Distribution::Choice { values } => values.clone(),
                Distribution::Constant { value } => vec![value.clone()],
                _ => vec![],
            });
            near_value(value, values)
                .or_else(|| Some(format!("write a value that `{name}` can have, or add this one to its declaration")))
        }
        SpaceError::Duplicate { conditional: false, .. } => Some("remove one of the two lines".into()),
        SpaceError::Duplicate { .. } => Some(
            "remove one of the two lines, or give them conditions that cannot hold at once: `when HP == a: …` and \
             `when HP == b: …`"
                .into(),
        ),
        SpaceError::NeverExists { .. } => Some(match real_parent(declaration, space) {
            Some(Hyperparameter { name, distribution, .. }) => {
                let whole = match distribution {
                    Distribution::Uniform { low, high } if low.ceil() < high.floor() => {
                        format!("int({}, {})", low.ceil(), high.floor())
                    }
                    _ => "int(a, b)".into(),
                };
                format!(
                    "`{name} {distribution}` is a range of real numbers, and no trial gets exactly this one: declare \
                     whole numbers, `{name} ~ {whole}`, or a list, `{name} in [v, …]`"
                )
            }
            None => "remove a condition, or name values that occur together".into(),
        }),
        SpaceError::SameLabel { .. } => None,
    }
}

/// A study to run, with all that is needed to run it.
#[derive(Clone, Debug)]
pub struct SweepPlan {
    /// The name of the study.
    pub name: String,
    /// The definition of the study.
    pub definition: StudyDefinition,
    /// The number of requested trials: configurations times repeats.
    pub trials: u32,
    /// The options.
    pub options: SweepOptions,
    /// The worker of a `%%workload`. None if the built-in worker or a program trains it.
    pub worker: Option<std::path::PathBuf>,
}

/// Checks declarations against the workloads.
pub struct Planner<'a> {
    /// The text of the magic, at which errors point.
    pub source: &'a Source,
    /// The workloads that can be trained.
    pub workloads: &'a [Workload],
}

impl Planner<'_> {
    /// Returns the plan, or an error that points at the first mistake.
    pub fn plan(&self, name: String, body: &SweepBody, options: SweepOptions) -> Result<SweepPlan> {
        let Some(workload) = &body.workload else {
            let message = "the workload is missing";
            let help = "add a line `workload NAME` (%workloads lists them) or `command PROGRAM …`";
            return Err(MagicError::new(ErrorName::SyntaxError, message, Some(help.into())));
        };
        let known = self.workload(workload)?;
        let description = known.map(|known| &known.description);
        let mut declarations = vec![];
        if let Some(preset) = &body.preset {
            let configurations = options.trials.unwrap_or(DEFAULT_TRIALS);
            let (source, own) = (self.source, &body.declarations);
            declarations = preset::declarations(source, preset, configurations, own, &workload.value, description)?;
        }
        declarations.extend(body.declarations.iter().cloned());
        self.check_seed(&declarations, options.repeats)?;
        let mut space = SearchSpace::new();
        for declaration in &declarations {
            let distribution = self.checked_distribution(declaration, description, options.sampler)?;
            let conditions = declaration
                .conditions
                .iter()
                .map(|(name, values)| Condition { name: name.value.clone(), values: values.clone() })
                .collect();
            let hyperparameter = Hyperparameter {
                name: declaration.name.value.clone(),
                role: declaration.role,
                distribution,
                conditions,
            };
            space.declare(hyperparameter).map_err(|error| {
                // The condition that is wrong, or the first one.
                let wrong = match &error {
                    SpaceError::UnknownParent { name } | SpaceError::ImpossibleValue { name, .. } => Some(name),
                    SpaceError::NeverExists { .. } => real_parent(declaration, &space).map(|parent| &parent.name),
                    _ => None,
                };
                let at = wrong.and_then(|name| declaration.conditions.iter().find(|(parent, _)| parent.value == *name));
                let span = match (at.or(declaration.conditions.first()), &error) {
                    (Some((parent, _)), SpaceError::ImpossibleValue { value, .. }) => {
                        let rest = parent.span.end..declaration.span.end;
                        let place = place_of_value(self.source, rest, |found| found.declared() == *value);
                        place.unwrap_or(parent.span.clone())
                    }
                    (Some((parent, _)), _) => parent.span.clone(),
                    (None, _) => declaration.name.span.clone(),
                };
                let help = help(&error, &space, declaration, &declarations);
                self.source.error(ErrorName::InvalidDeclaration, span, error.to_string(), help)
            })?;
        }
        let program = match &workload.value {
            WorkloadReference::Command(line) => {
                let line = placeholders::with_optional_words(line, &space);
                placeholders::check(self.source, &line, &workload.span, &space)?;
                Some(WorkloadReference::Command(line))
            }
            _ => None,
        };
        let objective = self.objective(body, &options, description)?;
        let definition = StudyDefinition {
            workload: program.unwrap_or_else(|| known.map_or(&workload.value, |known| &known.reference).clone()),
            space,
            objective,
            sampler: options.sampler,
            sampler_version: tunebook_study::sampler::VERSION,
            earlier: vec![],
            seed: options.seed,
            repeats: options.repeats,
            question: written(body.question.as_ref()),
            notes: written(body.notes.as_ref()),
            round: body.round.as_ref().map(|round| round.value),
            given: vec![],
            given_later: vec![],
            stop_early: options.stop_early,
        };
        // A grid has a limited number of configurations; the other samplers have no limit.
        let most = options.sampler.configurations(&definition.space).map(|n| u32::try_from(n).unwrap_or(u32::MAX));
        let requested = options.trials.or(most).unwrap_or(DEFAULT_TRIALS);
        let configurations = most.map_or(requested, |most| requested.min(most));
        Ok(SweepPlan {
            name,
            trials: configurations.saturating_mul(options.repeats),
            definition,
            options,
            worker: None,
        })
    }

    /// An error if the study declares the seed of its trials, and asks for several seeds of each configuration: all
    /// trials of a configuration would be the same.
    fn check_seed(&self, declarations: &[Declaration], repeats: u32) -> Result<()> {
        let Some(seed) = declarations.iter().find(|declared| declared.name.value == "seed" && repeats > 1) else {
            return Ok(());
        };
        let message = format!(
            "`seed` is declared here, so that the {repeats} trials of a configuration have the same seed and are no \
             repeats"
        );
        let help = "remove this line: each trial then has its own seed, which follows from `--seed`. Or keep it, and \
                    train each configuration once, with `--repeats 1`";
        Err(self.source.error(ErrorName::InvalidDeclaration, seed.name.span.clone(), message, Some(help.into())))
    }

    /// Returns the workload that is named, or None for a program.
    fn workload(&self, workload: &Spanned<WorkloadReference>) -> Result<Option<&Workload>> {
        let WorkloadReference::Builtin { name } = &workload.value else { return Ok(None) };
        Workload::named(name, self.workloads, self.source, &workload.span).map(Some)
    }

    /// Returns the distribution of a declaration, with its values in the type that the workload declares. A program
    /// declares no types.
    fn checked_distribution(
        &self,
        declaration: &Declaration,
        description: Option<&WorkloadDescription>,
        sampler: SamplerKind,
    ) -> Result<Distribution> {
        let Declaration { name, distribution, .. } = declaration;
        let is_list = matches!(distribution.value, Distribution::Choice { .. } | Distribution::Constant { .. });
        if sampler == SamplerKind::Grid && !is_list {
            let message = format!("a grid needs a list of values, and `{}` has a range", name.value);
            let help = format!("write `{} in [v, …]`, or use the default sampler", name.value);
            return Err(self.source.error(
                ErrorName::InvalidDistribution,
                distribution.span.clone(),
                message,
                Some(help),
            ));
        }
        let Some(description) = description else { return Ok(distribution.value.clone()) };
        let Some(known) = description.hyperparameter(&name.value) else {
            let message = format!("`{}` has no hyperparameter `{}`", description.name, name.value);
            let names: Vec<&str> = description.hyperparameters.iter().map(|h| h.name.as_str()).collect();
            return Err(self.source.error(
                ErrorName::UnknownHyperparameter,
                name.span.clone(),
                message,
                suggest(&name.value, names),
            ));
        };
        let accept = |value: &Value| {
            known.accept(value).map_err(|error| {
                let help = near_choice(value, known)
                    .unwrap_or_else(|| format!("`%workloads {}` describes its hyperparameters", description.name));
                let place = is_list
                    .then(|| place_of_value(self.source, distribution.span.clone(), |found| found.same_as(value)));
                let span = place.flatten().unwrap_or(distribution.span.clone());
                self.source.error(ErrorName::InvalidValue, span, error.to_string(), Some(help))
            })
        };
        let accept_ends = |low: f64, high: f64| -> Result<()> {
            // A real number would have to be rounded to a whole one, which the user did not ask for.
            if known.kind == tunebook_study::HyperparameterType::Int {
                let message = format!("`{}` is a whole number, and this range has real numbers", name.value);
                let help = "use int(a, b) or logint(a, b)";
                let span = distribution.span.clone();
                return Err(self.source.error(ErrorName::InvalidDistribution, span, message, Some(help.into())));
            }
            // If the domain excludes an end of the range (momentum is below 1), the value just inside must be allowed.
            // The end itself is never drawn.
            let inside = 1e-9 * (high - low);
            accept(&Value::Float(low)).or_else(|error| accept(&Value::Float(low + inside)).map_err(|_| error))?;
            accept(&Value::Float(high))
                .or_else(|error| accept(&Value::Float(high - inside)).map_err(|_| error))
                .map(drop)
        };
        match &distribution.value {
            Distribution::Choice { values } => {
                Ok(Distribution::Choice { values: values.iter().map(accept).collect::<Result<_>>()? })
            }
            Distribution::Constant { value } => Ok(Distribution::constant(accept(value)?)),
            Distribution::Uniform { low, high } | Distribution::LogUniform { low, high } => {
                accept_ends(*low, *high)?;
                Ok(distribution.value.clone())
            }
            Distribution::OneMinusLogUniform { low, high } => {
                accept_ends(1.0 - high, 1.0 - low)?;
                Ok(distribution.value.clone())
            }
            Distribution::Int { low, high } | Distribution::LogInt { low, high } => {
                accept(&Value::Int(*low))?;
                accept(&Value::Int(*high))?;
                Ok(distribution.value.clone())
            }
        }
    }

    /// Returns the objective that the body or an option declares, otherwise that of the workload.
    fn objective(
        &self,
        body: &SweepBody,
        options: &SweepOptions,
        description: Option<&WorkloadDescription>,
    ) -> Result<Objective> {
        let given = match (&body.objective, &options.objective) {
            (Some(_), Some((_, metric))) => {
                let message = "the body already declares the objective; remove this option or that line";
                return Err(self.source.syntax_error(metric.span.clone(), message, None));
            }
            (body, option) => body.as_ref().or(option.as_ref()),
        };
        // The workload says how its own objective is judged. `--objective` replaces that.
        let judged = |metric: &str| {
            let own = description.map(|description| &description.objective).filter(|own| own.metric == metric);
            options.judged.or(own.map(|own| own.judged)).unwrap_or_default()
        };
        let (direction, metric) = match (given, description) {
            (Some((direction, metric)), _) => (*direction, metric),
            (None, Some(description)) => {
                let own = description.objective.clone();
                return Ok(Objective { judged: judged(&own.metric), ..own });
            }
            (None, None) => {
                let message = "the objective is missing: a program has no default objective";
                let help = "add a line `minimize METRIC` or `maximize METRIC`, with a metric that the program reports";
                return Err(MagicError::new(ErrorName::SyntaxError, message, Some(help.into())));
            }
        };
        if metric.value.starts_with("test/") {
            let message = "the test set is not for tuning: it must stay independent of all choices";
            let help =
                "use a validation metric; %final evaluates the chosen trial on the test set at the end (Playbook F8)";
            return Err(self.source.error(ErrorName::UnknownMetric, metric.span.clone(), message, Some(help.into())));
        }
        if let Some(description) = description.filter(|d| !d.metrics.contains(&metric.value)) {
            let is_of_training = description.training_metrics().contains(&metric.value);
            if !(is_of_training && options.training_metrics) {
                let message = format!("`{}` reports no metric `{}`", description.name, metric.value);
                let help = match is_of_training {
                    true => Some("a sweep with `--training-metrics` reports it".into()),
                    false => suggest(&metric.value, description.metrics.iter().map(String::as_str)),
                };
                return Err(self.source.error(ErrorName::UnknownMetric, metric.span.clone(), message, help));
            }
        }
        Ok(Objective { metric: metric.value.clone(), direction, judged: judged(&metric.value) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syntax::parse_body;

    #[test]
    fn a_declaration_that_cannot_be_added_says_what_to_do() {
        let plan = |lines: &str| {
            let text = format!("command t\nminimize e\n{lines}");
            let source = Source::new(&text, 0);
            let body = parse_body(&source, 0..text.len()).unwrap();
            let planner = Planner { source: &source, workloads: &[] };
            let error = planner.plan("s".into(), &body, SweepOptions::default()).unwrap_err();
            assert_eq!(error.name.as_str(), "InvalidDeclaration", "{lines}: {error}");
            error.help.unwrap_or_default()
        };
        let list = "scientific optimizer in [adam, sgd]";
        let of = |condition: &str| format!("{condition} nuisance lr ~ uniform(0, 1)");
        assert_eq!(
            plan(&format!("{}\n{list}", of("when optimizer == adam:"))),
            "move this line below the one that declares `optimizer`"
        );
        assert_eq!(plan(&format!("{list}\n{}", of("when optimiser == adam:"))), "did you mean `optimizer`?");
        assert!(plan(&of("when act == relu:")).starts_with("add a line above that declares it: `scientific act"));
        assert_eq!(plan(&format!("{list}\n{}", of("when optimizer == adm:"))), "did you mean `adam`?");
        assert!(
            plan(&format!("{list}\n{}", of("when optimizer == xyz:"))).starts_with("write a value that `optimizer`")
        );
        assert_eq!(plan(&format!("{list}\n{list}")), "remove one of the two lines");
        let both = plan(&format!("{list}\n{}\n{}", of("when optimizer == sgd:"), of("when optimizer in [sgd, adam]:")));
        assert!(both.starts_with("remove one of the two lines, or give them conditions"), "{both}");
        let never = plan(&format!("{list}\n{}", of("when optimizer == adam: when optimizer == sgd:")));
        assert!(never.starts_with("remove a condition"), "{never}");
        let real = plan("nuisance n ~ uniform(1, 3)\nwhen n == 2: nuisance x ~ uniform(0, 1)");
        assert!(real.contains("`n ~ uniform(1, 3)` is a range of real numbers"), "{real}");
        assert!(real.contains("`n ~ int(1, 3)`"), "{real}");
    }

    #[test]
    fn an_empty_question_is_none() {
        let text = |text: &str| written(Some(&Spanned::new(text.to_string(), 0..1)));
        assert_eq!(text("How deep?").as_deref(), Some("How deep?"));
        assert_eq!((text(""), text(" "), written(None)), (None, None, None));
    }
}
