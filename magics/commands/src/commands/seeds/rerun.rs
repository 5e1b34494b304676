//! Trains configurations of a study again, with new seeds. The runs of a configuration are trials of a study of their
//! own, `STUDY.trialN`, so that they are recorded, resumed and shown as any others. `%seeds` and `%adopt` share them.
//!
//! The n-th run has the same seed for each configuration of a study, and no seed of the study itself: the seeds follow
//! from the number of the run and from a seed that is 2⁴⁰ larger than that of the study.

use super::display::RerunDisplay;
use crate::commands::sweep::changes;
use crate::commands::sweep::engine::{self, RunOutcome};
use crate::commands::sweep::plan::{SweepOptions, SweepPlan};
use crate::commands::sweep::rerun::{differences, exists_message};
use crate::commands::workload;
use crate::error::{ErrorName, MagicError, Result, Span};
use crate::host::{Interrupt, Output};
use crate::magic::Context;
use crate::report::table::number;
use crate::studies::{must_run_again, trial_of};
use crate::syntax::{Arguments, OptionSpec, Word, option};
use std::time::Duration;
use tunebook_analysis::configurations;
use tunebook_study::store::{Store, StudyRecord};
use tunebook_study::{
    Distribution, Hyperparameter, Objective, Role, SearchSpace, StudyDefinition, Trial, TrialState, Value,
    WorkloadReference,
};

/// The most runs of a configuration: the tests are exact, and their time grows with the fourth power.
const MOST: u32 = 100;
/// The difference between the seed of a study and that of its new runs.
const SEED_OFFSET: u64 = 1 << 40;
/// The largest seed that is drawn where a program takes its seed as a hyperparameter.
const LARGEST_SEED: i64 = i32::MAX as i64;

/// The options of magics that train again.
pub const PARALLEL: OptionSpec = option(
    "parallel",
    Some("N"),
    "runs at the same time (default: one on each GPU, or on each processor if there is no GPU)",
);
pub const TIMEOUT: OptionSpec = option("timeout", Some("D"), "time limit of a run, for example 30m");
pub const ACCEPT_CHANGES: OptionSpec =
    option("accept-changes", None, "train although files have changed since the trials of the study ran");

/// How configurations are trained again.
pub struct RerunOptions {
    /// The number of new runs of each configuration.
    pub repeats: u32,
    parallel: Option<usize>,
    timeout: Option<Duration>,
    accept_changes: bool,
    /// The source of randomness that varies alone. None if all vary.
    vary: Option<Varied>,
}

/// A source of randomness that varies alone.
struct Varied {
    name: String,
    /// The hyperparameter that seeds it.
    hyperparameter: String,
}

/// The sources of randomness of the training pipeline, as `--vary` names them.
const SOURCES: [&str; 4] = ["init", "order", "dropout", "augment"];

impl RerunOptions {
    /// Reads the options. `default` is the number of runs without `--repeats`.
    pub fn new(arguments: &Arguments, default: u32) -> Result<Self> {
        let repeats = arguments.small_count("repeats", 2)?.unwrap_or(default);
        if let Some(word) = arguments.option("repeats").filter(|_| repeats > MOST) {
            return Err(arguments.invalid(word, format!("`--repeats` takes at most {MOST} runs, not {repeats}")));
        }
        let vary = match arguments.option("vary") {
            Some(word) if SOURCES.contains(&word.text.as_str()) => {
                Some(Varied { name: word.text.clone(), hyperparameter: format!("{}_seed", word.text) })
            }
            Some(word) if word.text != "all" => {
                let message = format!("`--vary` takes {} or all, not `{}`", SOURCES.join(", "), word.text);
                return Err(arguments.invalid(word, message));
            }
            _ => None,
        };
        Ok(Self {
            vary,
            repeats,
            parallel: arguments.small_count("parallel", 1)?.map(|n| n as usize),
            timeout: arguments.duration("timeout")?,
            accept_changes: arguments.has("accept-changes"),
        })
    }
}

/// The number of a trial that an option names. An error if the option is missing.
pub fn number_of(arguments: &Arguments, option: &str) -> Result<u32> {
    arguments.small_count(option, 1)?.ok_or_else(|| {
        let message = format!("the trial is missing: `--{option} N`");
        let help = "%study and %isolate show the trials with their objectives";
        arguments.source.syntax_error(arguments.line.clone(), message, Some(help.into()))
    })
}

/// A configuration that is trained again.
pub struct Arm {
    /// The number of the trial that stands for it.
    pub trial: u32,
    /// The index of the configuration in the study.
    pub configuration: u32,
    /// What the study recorded: the median objective over the seeds of the configuration.
    pub recorded: f64,
    /// The number of seeds of the configuration in the study.
    pub seeds: usize,
    /// The name of the study of the new runs.
    pub study: String,
    definition: StudyDefinition,
}

/// The new runs of a configuration.
pub struct Reruns {
    /// The runs that have ended, by number.
    pub trials: Vec<Trial>,
    /// Whether runs were trained now.
    pub trained: bool,
}

/// Trains configurations of one study again.
pub struct Rerunner<'a> {
    pub context: &'a Context,
    pub arguments: &'a Arguments,
    /// The word that names the study.
    pub word: &'a Word,
    pub study: &'a StudyRecord,
    pub trials: &'a [Trial],
    pub objective: &'a Objective,
    pub options: &'a RerunOptions,
}

impl Rerunner<'_> {
    /// The configuration of a trial, which an option names. An error that points at the option if there is no such
    /// trial, or if it has no objective.
    pub fn arm(&self, option: &str, number: u32) -> Result<Arm> {
        must_run_again(self.arguments, self.word, self.study)?;
        let trial = trial_of(self.arguments, option, self.word, self.trials, number)?;
        let all = configurations(self.trials, self.objective);
        let own = all.iter().find(|c| c.trials.iter().any(|t| t.configuration == trial.configuration));
        let has_value = trial.state == TrialState::Complete && self.objective.of(trial).is_some();
        let recorded = own.and_then(|configuration| configuration.objective);
        let (Some(own), Some(recorded), true) = (own, recorded, has_value) else {
            let reason = trial.reason.as_deref().map_or(String::new(), |reason| format!(" ({reason})"));
            let metric = &self.objective.metric;
            let message = match has_value {
                false => {
                    format!("trial {number} of `{}` is {}{reason}: it has no `{metric}`", self.word.text, trial.state)
                }
                true => format!("most seeds of the configuration of trial {number} are infeasible"),
            };
            let help = "choose a complete trial; `%study NAME` shows the best ones";
            return Err(self.arguments.source.error(
                ErrorName::NoAnswer,
                self.span(option),
                message,
                Some(help.into()),
            ));
        };
        let first = own.trials[0].number;
        Ok(Arm {
            trial: number,
            configuration: trial.configuration,
            recorded,
            seeds: own.trials.len(),
            study: format!("{}.trial{first}{}", self.study.name, self.suffix()),
            definition: self.definition(trial, first)?,
        })
    }

    /// The end of the names of studies of runs in which only one source of randomness varies.
    fn suffix(&self) -> String {
        self.options.vary.as_ref().map_or(String::new(), |varied| format!(".{}", varied.name))
    }

    /// The place of an option in the cell.
    pub fn span(&self, option: &str) -> Span {
        self.arguments.option(option).map_or(self.word.span.clone(), |word| word.span.clone())
    }

    /// The study whose trials are new runs of the configuration of a trial.
    fn definition(&self, trial: &Trial, first: u32) -> Result<StudyDefinition> {
        let mut space = SearchSpace::new();
        let mut params = trial.params.clone();
        let varied = match &self.options.vary {
            None => "seed",
            Some(Varied { name, hyperparameter }) => {
                self.check_source(name, hyperparameter)?;
                // All other randomness is that of the trial.
                params.entry("seed".into()).or_insert(i64::try_from(trial.seed).unwrap_or(i64::MAX).into());
                params.entry(hyperparameter.clone()).or_insert(0.into());
                hyperparameter.as_str()
            }
        };
        // If the seed that varies is a hyperparameter, each run has a configuration of its own.
        let repeats = if params.contains_key(varied) { 1 } else { self.options.repeats };
        for (name, value) in params {
            let (role, distribution) = match name == varied {
                true => (Role::Nuisance, Distribution::Int { low: 0, high: LARGEST_SEED }),
                false => (Role::Fixed, Distribution::constant(value)),
            };
            let hyperparameter = Hyperparameter { name, role, distribution, conditions: vec![] };
            space
                .declare(hyperparameter)
                .map_err(|error| MagicError::new(ErrorName::InternalError, error.to_string(), None))?;
        }
        let metric = &self.study.definition.objective.metric;
        Ok(StudyDefinition {
            seed: self.study.definition.seed.wrapping_add(SEED_OFFSET),
            repeats,
            question: Some(format!(
                "How much does {metric} of trial {first} of {} vary between training runs{}?",
                self.study.name,
                match &self.options.vary {
                    Some(varied) => format!(" that differ in their {}", varied.hyperparameter),
                    None => String::new(),
                }
            )),
            ..StudyDefinition::new(
                self.study.definition.workload.clone(),
                space,
                self.study.definition.objective.clone(),
            )
        })
    }

    /// An error if the workload has no seed of its own for a source of randomness.
    fn check_source(&self, name: &str, hyperparameter: &str) -> Result<()> {
        let reference = &self.study.definition.workload;
        let has_seed = match reference {
            WorkloadReference::Command(_) => false,
            _ => workload::known(self.context)?.iter().any(|workload| {
                workload.reference == *reference && workload.description.hyperparameter(hyperparameter).is_some()
            }),
        };
        if has_seed {
            return Ok(());
        }
        let message = format!("`{reference}` has one seed for all its randomness, so `{name}` cannot vary alone");
        let help = "leave `--vary` out: a new seed varies all of it";
        Err(self.arguments.source.error(ErrorName::NoAnswer, self.span("vary"), message, Some(help.into())))
    }

    /// What the store has of the new runs of a configuration: their study, if there is one, and the trials.
    pub fn recorded(&self, store: &Store, arm: &Arm) -> Result<(Option<StudyRecord>, Vec<Trial>)> {
        let Some(study) = store.study(&arm.study)? else { return Ok((None, vec![])) };
        let planned = StudyDefinition { repeats: study.definition.repeats, ..arm.definition.clone() };
        let differences = differences(&study.definition, &planned.continuing(&study.definition));
        if !differences.is_empty() {
            let message = exists_message(&arm.study, &differences);
            let help = format!(
                "this name is that of the new runs of trial {} of {}. `%study delete {}` deletes the old study",
                arm.trial, self.study.name, arm.study
            );
            let span = self.word.span.clone();
            return Err(self.arguments.source.error(ErrorName::StudyExists, span, message, Some(help)));
        }
        let trials = store.trials(&study)?;
        Ok((Some(study), trials))
    }

    /// Trains the runs of each configuration that are missing, and returns those that have ended. If the user
    /// interrupts it, the runs so far are returned with `true`.
    pub fn run(
        &self,
        arms: &[&Arm],
        display: &mut RerunDisplay<'_>,
        output: &dyn Output,
        interrupt: &Interrupt,
    ) -> Result<(Vec<Reruns>, bool)> {
        let mut all = vec![];
        let mut is_interrupted = false;
        let mut missing = vec![];
        for arm in arms {
            let (_, trials) = self.recorded(&self.context.store()?, arm)?;
            missing.push(self.missing(&trials));
            display.add(trials.into_iter().filter(|trial| trial.number <= self.options.repeats).collect());
        }
        let mut worker = None;
        if missing.iter().any(|numbers| !numbers.is_empty()) {
            self.refuse_changes()?;
            worker = workload::worker(self.context, &self.study.definition.workload, output, interrupt)?;
            display.show();
        }
        for (at, (arm, missing)) in arms.iter().zip(missing).enumerate() {
            let trained = !missing.is_empty() && !is_interrupted;
            if trained {
                display.start(at);
                is_interrupted = self.train(arm, worker.clone(), display, interrupt)? == RunOutcome::Interrupted;
            }
            let (_, mut trials) = self.recorded(&self.context.store()?, arm)?;
            trials.retain(|trial| trial.number <= self.options.repeats && !trial.state.runs_again());
            all.push(Reruns { trials, trained });
        }
        Ok((all, is_interrupted))
    }

    /// The numbers of the runs that have not ended, or that failed.
    fn missing(&self, trials: &[Trial]) -> Vec<u32> {
        let ended = |state: TrialState| !state.runs_again() && state != TrialState::Failed;
        (1..=self.options.repeats).filter(|n| !trials.iter().any(|t| t.number == *n && ended(t.state))).collect()
    }

    /// An error if new runs would not train what the study trained.
    fn refuse_changes(&self) -> Result<()> {
        let changed = changes::changes(&self.context.store()?, self.study)?;
        if changed.is_empty() || self.options.accept_changes {
            return Ok(());
        }
        let message = format!(
            "{} since the trials of `{}` ran: new runs would train something else",
            changes::in_words(&changed),
            self.study.name
        );
        let help =
            "undo the change, or run a new study. `--accept-changes` trains nevertheless, and the result says so";
        Err(self.arguments.source.error(ErrorName::FilesChanged, self.word.span.clone(), message, Some(help.into())))
    }

    fn train(
        &self,
        arm: &Arm,
        worker: Option<std::path::PathBuf>,
        display: &mut RerunDisplay<'_>,
        interrupt: &Interrupt,
    ) -> Result<RunOutcome> {
        let mut store = self.context.store()?;
        let study = match self.recorded(&store, arm)?.0 {
            Some(study) => study,
            None => store.create_study(&arm.study, &arm.definition)?,
        };
        let mut writer = store.write(study)?;
        // Another kernel may have trained runs before this one became the writer.
        let missing = self.missing(&writer.store().trials(writer.study())?);
        changes::settle(&writer, &missing, self.options.accept_changes)?;
        writer.retry_failed();
        let repeats = arm.definition.repeats.max(writer.study().definition.repeats);
        let definition = StudyDefinition { repeats, ..arm.definition.clone() }.continuing(&writer.study().definition);
        if writer.study().definition != definition {
            writer.redefine(&definition)?;
        }
        writer.ask(self.options.repeats)?;
        let options =
            SweepOptions { parallel: self.options.parallel, timeout: self.options.timeout, ..SweepOptions::default() };
        let (name, trials) = (arm.study.clone(), self.options.repeats);
        let plan = SweepPlan { name, definition, trials, options, worker };
        engine::run(self.context, &plan, &mut writer, missing, display, interrupt)
    }
}

/// Says in which way runs do not count or count as the worst, with their reasons: a sentence for each kind.
pub fn problems(what: &str, trials: &[Trial]) -> Vec<String> {
    let of_state = |state: TrialState, meaning: &str| {
        let found: Vec<&Trial> = trials.iter().filter(|trial| trial.state == state).collect();
        let first = found.first()?;
        let numbers: Vec<String> = found.iter().map(|trial| trial.number.to_string()).collect();
        let reason = first.reason.as_deref().unwrap_or("no reason was given");
        let runs = if found.len() == 1 { "run" } else { "runs" };
        Some(format!(
            "{what}: {runs} {} {} {state} ({reason}). {meaning}",
            numbers.join(", "),
            if found.len() == 1 { "is" } else { "are" },
        ))
    };
    let infeasible = of_state(TrialState::Infeasible, "An infeasible run counts as worse than all others.");
    let failed = of_state(
        TrialState::Failed,
        "A failed run does not count. The same line runs it again, once its cause is fixed.",
    );
    infeasible.into_iter().chain(failed).collect()
}

/// Whether the runs have several values that are all equal.
pub fn is_constant(values: &[Option<f64>]) -> bool {
    values.len() > 1 && values.iter().all(|value| value.is_some() && *value == values[0])
}

/// The sentence about runs that do not vary.
pub fn constant_note(what: &str, values: &[Option<f64>], is_program: bool) -> String {
    let reason = match is_program {
        true => "The program may not use its seed, which is in the environment variable TUNEBOOK_SEED",
        false => "The seed makes no difference to this metric",
    };
    let value = values.first().copied().flatten().map_or(String::new(), |value| format!(", {}", number(value)));
    format!("{what}: all {} new runs have the same value{value}. {reason}.", values.len())
}

/// The seeds of the runs: those of the source of randomness that varies.
pub fn seeds_of(options: &RerunOptions, trials: &[Trial]) -> Vec<Value> {
    let own =
        |trial: &Trial| options.vary.as_ref().and_then(|varied| trial.params.get(&varied.hyperparameter)).cloned();
    trials
        .iter()
        .map(|trial| own(trial).unwrap_or_else(|| i64::try_from(trial.seed).unwrap_or(i64::MAX).into()))
        .collect()
}
