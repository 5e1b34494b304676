//! From what a sweep's text says to a plan that can be run: names and values are compared with what the workload
//! knows, and nothing that cannot work gets past here.

use crate::commands::workload::Workload;
use crate::error::{ErrorName, MagicError, Result, Source, Spanned, suggest};
use crate::studies::{judged, objective};
use crate::syntax::{Arguments, Declaration, SweepBody, Word};
use std::time::Duration;
use tunebook_pool::program_line;
use tunebook_study::protocol::Until;
use tunebook_study::sampler::SamplerKind;
use tunebook_study::{
    Condition, Direction, Distribution, Hyperparameter, Judged, Objective, SearchSpace, StudyDefinition, Value,
    WorkloadDescription, WorkloadReference,
};

/// Trials of a sweep that does not say how many.
const DEFAULT_TRIALS: u32 = 20;

/// What the options of a sweep say.
#[derive(Clone, Debug)]
pub struct SweepOptions {
    /// Configurations, where given.
    pub trials: Option<u32>,
    /// The sampler.
    pub sampler: SamplerKind,
    /// Seed of the study.
    pub seed: u64,
    /// Trials a configuration.
    pub repeats: u32,
    /// Best or final value.
    pub judged: Judged,
    /// Slots to use at most.
    pub parallel: Option<usize>,
    /// Run what is missing.
    pub resume: bool,
    /// Accept a wider definition under the same name.
    pub widen: bool,
    /// Limit of a trial.
    pub timeout: Option<Duration>,
    /// Limit of the study.
    pub budget: Option<Duration>,
    /// `--minimize` or `--maximize` of the one-line form.
    pub objective: Option<(Direction, Spanned<String>)>,
    /// Steps between two estimates of the gradient noise scale in each trial.
    pub noise_every: Option<u64>,
    /// Where trials are trained to a target and no further.
    pub until: Option<Until>,
}

impl Default for SweepOptions {
    fn default() -> Self {
        Self {
            trials: None,
            sampler: SamplerKind::default(),
            seed: 0,
            repeats: 1,
            judged: Judged::Best,
            parallel: None,
            resume: false,
            widen: false,
            timeout: None,
            budget: None,
            objective: None,
            noise_every: None,
            until: None,
        }
    }
}

impl SweepOptions {
    /// Reads them from the words of the magic.
    pub fn new(arguments: &Arguments) -> Result<Self> {
        for later in ["stop-early", "background"] {
            if let Some(word) = arguments.option(later).filter(|word| later == "background" || word.text != "none") {
                let message = format!("`--{later}` is not available yet");
                let help = match later {
                    "background" => "leave it out: the sweep runs in its cell, and can be interrupted and resumed",
                    _ => "leave it out: every trial runs to its end, which the Playbook prefers while exploring",
                };
                return Err(arguments.source.error(
                    ErrorName::NotAvailable,
                    word.span.clone(),
                    message,
                    Some(help.into()),
                ));
            }
        }
        Ok(Self {
            trials: arguments.small_count("trials", 1)?,
            sampler: sampler(arguments)?,
            seed: arguments.count("seed", 0)?.unwrap_or(0),
            repeats: arguments.small_count("repeats", 1)?.unwrap_or(1),
            judged: judged(arguments)?.unwrap_or_default(),
            parallel: arguments.small_count("parallel", 1)?.map(|n| n as usize),
            resume: arguments.has("resume"),
            widen: arguments.has("widen"),
            timeout: arguments.duration("timeout")?,
            budget: arguments.duration("budget")?,
            objective: objective(arguments)?,
            noise_every: arguments.count("every", 1)?,
            until: None,
        })
    }
}

/// Whether a word can name a study, and with it a folder.
pub fn check_name(source: &Source, name: &Word) -> Result<()> {
    let allowed = |c: char| c.is_alphanumeric() || "_.-".contains(c);
    if name.text.is_empty() || name.text.starts_with('.') || !name.text.chars().all(allowed) {
        let message = format!("`{}` is no name for a study", name.text);
        let help = "letters, digits, `_`, `-` and `.` (not first): it names a folder too";
        return Err(source.error(ErrorName::InvalidValue, name.span.clone(), message, Some(help.into())));
    }
    Ok(())
}

fn sampler(arguments: &Arguments) -> Result<SamplerKind> {
    let Some(word) = arguments.option("sampler") else { return Ok(SamplerKind::default()) };
    match word.text.as_str() {
        "quasirandom" => Ok(SamplerKind::Quasirandom),
        "random" => Ok(SamplerKind::Random),
        "grid" => Ok(SamplerKind::Grid),
        "sobol" | "bayes" => {
            let message = format!("the sampler `{}` is not available yet", word.text);
            let help = "available are quasirandom, random and grid";
            Err(arguments.source.error(ErrorName::NotAvailable, word.span.clone(), message, Some(help.into())))
        }
        other => {
            let help = suggest(other, ["quasirandom", "random", "grid"]);
            let message = format!("there is no sampler `{other}`");
            Err(arguments.source.error(ErrorName::InvalidValue, word.span.clone(), message, help))
        }
    }
}

/// A sweep that can run.
#[derive(Clone, Debug)]
pub struct SweepPlan {
    /// The study's name.
    pub name: String,
    /// What the study is.
    pub definition: StudyDefinition,
    /// Trials asked for, repeats included.
    pub trials: u32,
    /// How to run it.
    pub options: SweepOptions,
    /// The worker of a `%%workload`; none where the built-in worker trains it.
    pub worker: Option<std::path::PathBuf>,
}

/// Checks a sweep's text against what the workloads know.
pub struct Planner<'a> {
    /// The text, for errors.
    pub source: &'a Source,
    /// What can be trained.
    pub workloads: &'a [Workload],
}

impl Planner<'_> {
    /// The plan, or the first thing in the text that cannot work.
    pub fn plan(&self, name: String, body: &SweepBody, options: SweepOptions) -> Result<SweepPlan> {
        let Some(workload) = &body.workload else {
            let message = "the sweep does not say what to train";
            let help = "add a line `workload NAME` (%workloads lists them) or `command PROGRAM …`";
            return Err(MagicError::new(ErrorName::SyntaxError, message, Some(help.into())));
        };
        let known = self.workload(workload)?;
        let description = known.map(|known| &known.description);
        let mut space = SearchSpace::new();
        for declaration in &body.declarations {
            let distribution = self.checked(declaration, description, options.sampler)?;
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
                let span = match declaration.conditions.first() {
                    Some((parent, _)) => parent.span.clone(),
                    None => declaration.name.span.clone(),
                };
                self.source.error(ErrorName::InvalidDeclaration, span, error.to_string(), None)
            })?;
        }
        if let WorkloadReference::Command { words } = &workload.value {
            self.placeholders_are_declared(words, workload, &space)?;
        }
        let objective = self.objective(body, &options, description)?;
        let definition = StudyDefinition {
            workload: known.map_or(&workload.value, |known| &known.reference).clone(),
            space,
            objective,
            sampler: options.sampler,
            seed: options.seed,
            repeats: options.repeats,
            question: body.question.clone(),
            notes: body.notes.clone(),
        };
        let most = options.sampler.configurations(&definition.space);
        let asked =
            options.trials.unwrap_or_else(|| most.map_or(DEFAULT_TRIALS, |n| u32::try_from(n).unwrap_or(u32::MAX)));
        let configurations = most.map_or(asked, |most| asked.min(u32::try_from(most).unwrap_or(u32::MAX)));
        Ok(SweepPlan {
            name,
            trials: configurations.saturating_mul(options.repeats),
            definition,
            options,
            worker: None,
        })
    }

    /// The workload of the name that stands there; a program is none.
    fn workload(&self, workload: &Spanned<WorkloadReference>) -> Result<Option<&Workload>> {
        let WorkloadReference::Builtin { name } = &workload.value else { return Ok(None) };
        Workload::named(name, self.workloads, self.source, &workload.span).map(Some)
    }

    /// The declaration's distribution with its values in the type that the workload asks for.
    fn checked(
        &self,
        declaration: &Declaration,
        description: Option<&WorkloadDescription>,
        sampler: SamplerKind,
    ) -> Result<Distribution> {
        let Declaration { name, distribution, .. } = declaration;
        let lists = matches!(distribution.value, Distribution::Choice { .. } | Distribution::Constant { .. });
        if sampler == SamplerKind::Grid && !lists {
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
                let help = format!("%workloads {} describes it", description.name);
                self.source.error(ErrorName::InvalidValue, distribution.span.clone(), error.to_string(), Some(help))
            })
        };
        let ends = |low: f64, high: f64| -> Result<()> {
            // A range of reals on a whole number would be rounded behind the user's back.
            if known.kind == tunebook_study::HyperparameterType::Int {
                let message = format!("`{}` is a whole number and cannot be drawn from a range of reals", name.value);
                let help = "use int(a, b) or logint(a, b)";
                let span = distribution.span.clone();
                return Err(self.source.error(ErrorName::InvalidDistribution, span, message, Some(help.into())));
            }
            // An end that the domain excludes (momentum below 1) is never drawn, so just inside of it is what counts.
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
                ends(*low, *high)?;
                Ok(distribution.value.clone())
            }
            Distribution::OneMinusLogUniform { low, high } => {
                ends(1.0 - high, 1.0 - low)?;
                Ok(distribution.value.clone())
            }
            Distribution::Int { low, high } | Distribution::LogInt { low, high } => {
                accept(&Value::Int(*low))?;
                accept(&Value::Int(*high))?;
                Ok(distribution.value.clone())
            }
        }
    }

    fn placeholders_are_declared(
        &self,
        words: &[String],
        workload: &Spanned<WorkloadReference>,
        space: &SearchSpace,
    ) -> Result<()> {
        let placeholders = program_line::placeholders(words).map_err(|error| {
            self.source.error(ErrorName::SyntaxError, workload.span.clone(), error.to_string(), None)
        })?;
        for name in placeholders {
            if space.named(&name).next().is_some() {
                continue;
            }
            let text = format!("{{{name}}}");
            let start = self.source.text()[workload.span.clone()].find(&text).map_or(0, |at| at + workload.span.start);
            let span = if start == 0 { workload.span.clone() } else { start..start + text.len() };
            let declared: Vec<&str> = space.hyperparameters().iter().map(|h| h.name.as_str()).collect();
            let help = suggest(&name, declared).unwrap_or_default() + "; `{{` writes a brace";
            let message = format!("the command inserts `{name}`, which no line declares");
            return Err(self.source.error(ErrorName::UnknownHyperparameter, span, message, Some(help)));
        }
        Ok(())
    }

    fn objective(
        &self,
        body: &SweepBody,
        options: &SweepOptions,
        description: Option<&WorkloadDescription>,
    ) -> Result<Objective> {
        let given = match (&body.objective, &options.objective) {
            (Some(_), Some((_, metric))) => {
                let message = "the body names the objective already";
                return Err(self.source.syntax_error(metric.span.clone(), message, None));
            }
            (body, option) => body.as_ref().or(option.as_ref()),
        };
        let judged = options.judged;
        let (direction, metric) = match (given, description) {
            (Some((direction, metric)), _) => (*direction, metric),
            (None, Some(description)) => return Ok(Objective { judged, ..description.objective.clone() }),
            (None, None) => {
                let message = "the sweep does not say what to optimize";
                let help = "add a line `minimize METRIC` or `maximize METRIC`, with a metric that the program reports";
                return Err(MagicError::new(ErrorName::SyntaxError, message, Some(help.into())));
            }
        };
        if metric.value.starts_with("test/") {
            let message = "the test set is not for tuning: a choice made by it would no longer be tested by it";
            let help = "minimize a validation metric; %final evaluates the test set once, at the end (Playbook F8)";
            return Err(self.source.error(ErrorName::UnknownMetric, metric.span.clone(), message, Some(help.into())));
        }
        if let Some(description) = description.filter(|d| !d.metrics.contains(&metric.value)) {
            let message = format!("`{}` reports no metric `{}`", description.name, metric.value);
            let help = suggest(&metric.value, description.metrics.iter().map(String::as_str).collect::<Vec<_>>());
            return Err(self.source.error(ErrorName::UnknownMetric, metric.span.clone(), message, help));
        }
        Ok(Objective { metric: metric.value.clone(), direction, judged })
    }
}
