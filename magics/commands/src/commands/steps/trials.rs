//! Runs the trials of the two studies of `%steps`, and widens the grid.

use super::display::StepsDisplay;
use super::plan::{StepsPlan, rounded, with_rates};
use crate::commands::sweep::changes;
use crate::commands::sweep::engine::{self, RunOutcome};
use crate::commands::sweep::plan::SweepPlan;
use crate::commands::sweep::rerun::{configurations_of, differences, exists_message};
use crate::commands::workload;
use crate::error::{ErrorName, MagicError, Result};
use crate::host::Interrupt;
use crate::magic::Context;
use std::collections::BTreeMap;
use std::path::PathBuf;
use tunebook_analysis::{FitTrial, InitialSteps, NoInitialSteps, Side, fit_trial, initial_steps};
use tunebook_study::store::StudyRecord;
use tunebook_study::{Distribution, Measurement, StudyDefinition, Trial, Value, WorkloadHyperparameter};

/// The grid is widened by itself at most so often.
const WIDENINGS: usize = 2;
/// So many learning rates are added each time, at the distances of the grid.
const ADDED: usize = 3;

/// The measurements of trials, by number.
type Measured = BTreeMap<u32, Vec<Measurement>>;

/// Runs the trials of a plan.
pub struct StepsTuner<'a> {
    pub context: &'a Context,
    pub plan: &'a StepsPlan,
    /// The worker of a `%%workload`. None if the built-in worker trains it.
    pub worker: Option<PathBuf>,
    /// The learning rate as the workload declares it.
    pub rate: Option<WorkloadHyperparameter>,
    /// Whether trials may be run. Otherwise only recorded trials are read.
    pub may_run: bool,
    pub interrupt: &'a Interrupt,
}

/// What the trials say.
#[derive(Default)]
pub struct Trained {
    pub grid: Vec<FitTrial>,
    pub seeds: Vec<FitTrial>,
    /// How often the grid was widened.
    pub widenings: usize,
    /// Why the trials ended early.
    pub stopped: Option<RunOutcome>,
    /// The number of trials that are missing.
    pub missing: usize,
    /// The reason of the first trial that failed.
    pub failure: Option<String>,
}

impl Trained {
    pub fn found(&self) -> InitialSteps {
        initial_steps(&self.grid, &self.seeds)
    }
}

impl StepsTuner<'_> {
    /// The name of the study of the seeds.
    fn seeds_name(&self) -> String {
        format!("{}.seeds", self.plan.name)
    }

    /// Whether the study of the grid is recorded.
    pub fn is_recorded(&self) -> Result<bool> {
        Ok(match self.context.store_to_read()? {
            Some(store) => store.study(&self.plan.name)?.is_some(),
            None => false,
        })
    }

    /// Runs all trials that are missing. What was trained before an interrupt or an error is in `trained`.
    pub fn run(&self, trained: &mut Trained, display: &mut StepsDisplay<'_>) -> Result<()> {
        loop {
            let recorded = self.recorded(&self.plan.name)?;
            let definition = self.grid_definition(recorded.as_ref())?;
            trained.widenings = definition.earlier.len();
            let rates = rates_of(&definition);
            self.train(&self.plan.name, definition.clone(), rates.len() as u32, None, trained, display)?;
            if trained.stopped.is_some() || trained.missing > 0 {
                return Ok(());
            }
            let wider = trained.found().edge.map_or(vec![], |side| self.wider(&rates, side));
            if wider.is_empty() || trained.widenings >= WIDENINGS {
                break;
            }
            if !self.may_run {
                trained.missing = wider.len() - rates.len();
                return Ok(());
            }
            let study = self.recorded(&self.plan.name)?.ok_or_else(deleted)?;
            let mut writer = self.context.store()?.write(study)?;
            let configurations = configurations_of(&writer.store().trials(writer.study())?);
            writer.redefine(&definition.widened(with_rates(&definition, &wider), configurations))?;
        }
        let found = trained.found();
        let Some(fastest) = found.fastest.filter(|_| found.steps == Err(NoInitialSteps::NoSeeds)) else {
            return Ok(());
        };
        let planned = self.plan.seeds(fastest.learning_rate);
        let name = self.seeds_name();
        let definition = match self.recorded(&name)? {
            Some(recorded) => same_definition(&name, &recorded.definition, planned)?,
            None => planned,
        };
        let grid = Some(trained.grid.clone());
        self.train(&name, definition, self.plan.repeats, grid, trained, display)
    }

    /// Runs the trials of a study that are missing, and judges all of them. `grid` holds the trials of the grid if the
    /// study is that of the seeds.
    fn train(
        &self,
        name: &str,
        mut definition: StudyDefinition,
        requested: u32,
        grid: Option<Vec<FitTrial>>,
        trained: &mut Trained,
        display: &mut StepsDisplay<'_>,
    ) -> Result<()> {
        let is_grid = grid.is_none();
        let (trials, measured) = self.read(name)?;
        let ended = |number: &u32| trials.iter().any(|t| t.number == *number && !t.state.runs_again());
        let numbers: Vec<u32> = (1..=requested).filter(|number| !ended(number)).collect();
        trained.missing = 0;
        let outcome = if numbers.is_empty() {
            Ok(RunOutcome::Completed)
        } else if !self.may_run {
            trained.missing = numbers.len();
            Ok(RunOutcome::Completed)
        } else {
            let mut store = self.context.store()?;
            let study = match store.study(name)? {
                Some(study) => {
                    let workload = definition.workload.clone();
                    definition.workload = workload::continued(&store, &study.definition.workload, workload)?;
                    study
                }
                None => store.create_study(name, &definition)?,
            };
            let mut writer = store.write(study)?;
            changes::settle(&writer, &numbers, self.plan.options.accept_changes)?;
            writer.ask(requested)?;
            let (options, worker) = (self.plan.options.clone(), self.worker.clone());
            let plan = SweepPlan { name: name.into(), definition, trials: requested, options, worker };
            display.start(trials, measured, grid, requested);
            engine::run(self.context, &plan, &mut writer, numbers, display, self.interrupt)
        };
        let (trials, measured) = self.read(name)?;
        let of = |number: u32| measured.get(&number).map_or(&[][..], Vec::as_slice);
        let judged = trials.iter().filter(|trial| !trial.state.runs_again());
        let judged: Vec<FitTrial> =
            judged.filter_map(|trial| fit_trial(trial, of(trial.number), &self.plan.rule)).collect();
        trained.failure = trained
            .failure
            .take()
            .or_else(|| trials.iter().find(|t| t.state == tunebook_study::TrialState::Failed)?.reason.clone());
        match is_grid {
            true => trained.grid = judged,
            false => trained.seeds = judged,
        }
        trained.stopped = Some(outcome?).filter(|outcome| *outcome != RunOutcome::Completed);
        Ok(())
    }

    fn recorded(&self, name: &str) -> Result<Option<StudyRecord>> {
        let Some(store) = self.context.store_to_read()? else { return Ok(None) };
        Ok(store.study(name)?)
    }

    /// The trials of a study with their measurements.
    fn read(&self, name: &str) -> Result<(Vec<Trial>, Measured)> {
        let mut measured = BTreeMap::new();
        let Some(store) = self.context.store_to_read()? else { return Ok((vec![], measured)) };
        let Some(study) = store.study(name)? else { return Ok((vec![], measured)) };
        let trials = store.trials(&study)?;
        for trial in trials.iter().filter(|trial| !trial.state.runs_again()) {
            measured.insert(trial.number, store.measurements(&study, trial.number)?);
        }
        Ok((trials, measured))
    }

    /// The definition of the grid, which may have been widened. It is an error if the recorded one is another.
    fn grid_definition(&self, recorded: Option<&StudyRecord>) -> Result<StudyDefinition> {
        let planned = self.plan.grid.clone();
        let Some(recorded) = recorded.map(|study| &study.definition) else { return Ok(planned) };
        let rates = rates_of(recorded);
        let was_widened = !recorded.earlier.is_empty() && self.plan.rates.iter().all(|rate| rates.contains(rate));
        let planned = match was_widened {
            true => StudyDefinition { space: with_rates(&planned, &rates), ..planned },
            false => planned,
        };
        same_definition(&self.plan.name, recorded, planned)
    }

    /// The rates with further ones on one side, as far as the workload allows them. Empty if it allows none.
    fn wider(&self, rates: &[f64], side: Side) -> Vec<f64> {
        let mut sorted = rates.to_vec();
        sorted.sort_by(f64::total_cmp);
        let [.., before, last] = sorted.as_slice() else { return vec![] };
        let ratio = match (side, sorted.as_slice()) {
            (Side::Low, [first, second, ..]) => first / second,
            _ => last / before,
        };
        let end = if side == Side::Low { sorted[0] } else { *last };
        let added: Vec<f64> = (1..=ADDED as i32)
            .map(|i| rounded(end * ratio.powi(i)))
            .filter(|rate| self.rate.as_ref().is_none_or(|lr| lr.accept(&Value::Float(*rate)).is_ok()))
            .collect();
        if added.is_empty() {
            return vec![];
        }
        sorted.extend(added);
        sorted.sort_by(f64::total_cmp);
        sorted
    }
}

/// The learning rates of a grid.
fn rates_of(definition: &StudyDefinition) -> Vec<f64> {
    let lr = definition.space.hyperparameters().iter().find(|h| h.name == "lr");
    match lr.map(|lr| &lr.distribution) {
        Some(Distribution::Choice { values }) => values.iter().filter_map(Value::as_f64).collect(),
        Some(Distribution::Constant { value }) => value.as_f64().into_iter().collect(),
        _ => vec![],
    }
}

/// Returns the recorded definition if the planned one is the same.
fn same_definition(name: &str, recorded: &StudyDefinition, planned: StudyDefinition) -> Result<StudyDefinition> {
    let planned = planned.continuing(recorded);
    let differences = differences(recorded, &planned);
    if differences.is_empty() {
        return Ok(recorded.clone());
    }
    let help = format!("give these trials another name with `--name`, or delete the old ones: `%study delete {name}`");
    Err(MagicError::new(ErrorName::StudyExists, exists_message(name, &differences), Some(help)))
}

fn deleted() -> MagicError {
    MagicError::new(ErrorName::StoreError, "the study was deleted while its trials ran", None)
}
