//! Tunes one batch size: runs trials, raises their limit of steps if too few configurations reach the target, and
//! widens the range once if the best value lies at its edge.
//!
//! [`BatchSizeTuning`] decides each step from the trials in the store, so a scaling can be interrupted at any trial and
//! resumed.

use super::display::ScalingDisplay;
use super::plan::{ScalingPlan, SizePlan};
use crate::commands::sweep::changes;
use crate::commands::sweep::engine::{self, RunOutcome};
use crate::commands::sweep::plan::{SweepOptions, SweepPlan};
use crate::commands::sweep::rerun::{configurations_of, differences, exists_message};
use crate::error::{ErrorName, MagicError, Result};
use crate::host::Interrupt;
use crate::magic::Context;
use std::path::PathBuf;
use tunebook_analysis::{
    BatchSizeStudy, BatchSizeTuning, InvalidSize, NextAction, RangeEdge, Side, StepsToTarget, is_widened,
    steps_to_target,
};
use tunebook_study::protocol::StoppingRule;
use tunebook_study::store::StudyRecord;
use tunebook_study::{StudyDefinition, Trial};

/// The outcome of tuning one batch size.
pub struct TunedSize {
    /// What its trials say. The time of a step is added later.
    pub study: BatchSizeStudy,
    /// The number of trials that are missing. It is 0 if trials may be run.
    pub missing: usize,
    /// Whether the user interrupted the trials.
    pub interrupted: bool,
}

/// Tunes batch sizes, each in a study of its own.
pub struct SizeTuner<'a> {
    /// What the magics of the kernel share.
    pub context: &'a Context,
    /// The plan of the scaling.
    pub plan: &'a ScalingPlan,
    /// The worker of a `%%workload`. None if the built-in worker or a program trains it.
    pub worker: Option<PathBuf>,
    /// Whether trials may be run. Otherwise only recorded trials are read.
    pub may_run: bool,
    /// The interrupt of the magic.
    pub interrupt: &'a Interrupt,
}

/// What the store has of the studies of a scaling.
pub struct RecordedStudies {
    /// Whether at least one study exists.
    pub any: bool,
    /// Whether each study that exists has at least as many requested trials as the plan.
    pub enough: bool,
}

impl SizeTuner<'_> {
    /// Looks up the studies of the plan in the store.
    pub fn recorded_studies(&self) -> Result<RecordedStudies> {
        let mut recorded = RecordedStudies { any: false, enough: true };
        if let Some(store) = self.context.store_to_read()? {
            for size in &self.plan.sizes {
                if let Some(study) = store.study(&size.study)? {
                    recorded.any = true;
                    recorded.enough &= study.asked >= self.plan.configurations * self.plan.options.repeats;
                }
            }
        }
        Ok(recorded)
    }

    /// Tunes one batch size. `larger` is the number of steps of the next larger size, if it is known.
    pub fn tune(&self, size: &SizePlan, larger: Option<f64>, display: &mut ScalingDisplay<'_>) -> Result<TunedSize> {
        let target = self.plan.target.value;
        let (configurations, workload) = (self.plan.configurations, self.description());
        let mut tuning = BatchSizeTuning::new(target, size.budget, configurations, larger, workload);
        let outcome = |steps: StepsToTarget, problem: Option<String>| TunedSize {
            study: BatchSizeStudy { batch_size: size.batch_size, steps, problem, seconds_per_step: None },
            missing: 0,
            interrupted: false,
        };
        loop {
            let (study, trials) = self.read(size)?;
            let (definition, widened) = self.current_definition(size, study.as_ref())?;
            let requested = tuning.trials(&definition, widened);
            let steps = steps_to_target(&trials, &definition.objective, target);
            match tuning.next(&definition, widened, &trials, &steps) {
                NextAction::Run { numbers, .. } if !self.may_run => {
                    let missing = numbers.len();
                    let problem = format!("{missing} of its trials are missing");
                    return Ok(TunedSize { missing, ..outcome(steps, Some(problem)) });
                }
                NextAction::Run { numbers, max_steps } => {
                    let until = StoppingRule { target, from: tuning.first_evaluation(), at_most: max_steps };
                    let run = self.run(size, definition, requested, numbers, until, display)?;
                    if run == RunOutcome::Interrupted {
                        let (_, trials) = self.read(size)?;
                        let steps = steps_to_target(&trials, &size.definition.objective, target);
                        return Ok(TunedSize { interrupted: true, ..outcome(steps, Some("interrupted".into())) });
                    }
                }
                NextAction::Finish { wider: Some(space), .. } if self.may_run => {
                    let mut writer = self.context.store()?.write(study.ok_or_else(deleted)?)?;
                    writer.redefine(&definition.widened(space, configurations_of(&trials)))?;
                }
                NextAction::Finish { wider, invalid } => {
                    // If the range should be widened, all trials in the wider range are missing.
                    let missing = if wider.is_some() { requested as usize } else { 0 };
                    return Ok(TunedSize { missing, ..outcome(steps, invalid.map(reason)) });
                }
            }
        }
    }

    /// Returns the recorded study of a batch size with its trials.
    fn read(&self, size: &SizePlan) -> Result<(Option<StudyRecord>, Vec<Trial>)> {
        let Some(store) = self.context.store_to_read()? else { return Ok((None, vec![])) };
        let study = store.study(&size.study)?;
        let trials = study.as_ref().map(|study| store.trials(study)).transpose()?.unwrap_or_default();
        Ok((study, trials))
    }

    /// Returns the definition of a batch size, and whether its range was widened. It is an error if the recorded study
    /// has another definition.
    fn current_definition(&self, size: &SizePlan, study: Option<&StudyRecord>) -> Result<(StudyDefinition, bool)> {
        let planned = size.definition.clone();
        let Some(recorded) = study.map(|study| &study.definition) else { return Ok((planned, false)) };
        let planned = planned.continuing(recorded);
        if *recorded == planned {
            return Ok((planned, false));
        }
        if is_widened(recorded, &planned, self.description()) {
            return Ok((recorded.clone(), true));
        }
        let message = exists_message(&size.study, &differences(recorded, &planned));
        let help =
            format!("give this scaling another name, or delete the old studies: `%study delete {}` …", size.study);
        Err(MagicError::new(ErrorName::StudyExists, message, Some(help)))
    }

    fn description(&self) -> Option<&tunebook_study::WorkloadDescription> {
        self.plan.workload.as_ref().map(|workload| &workload.description)
    }

    /// Runs the trials with these numbers until they reach the target or give up. `requested` is the number of trials
    /// that the study has in all.
    fn run(
        &self,
        size: &SizePlan,
        definition: StudyDefinition,
        requested: u32,
        numbers: Vec<u32>,
        until: StoppingRule,
        display: &mut ScalingDisplay<'_>,
    ) -> Result<RunOutcome> {
        let mut store = self.context.store()?;
        let study = match store.study(&size.study)? {
            Some(study) => study,
            None => store.create_study(&size.study, &definition)?,
        };
        let mut writer = store.write(study)?;
        changes::settle(&writer, &numbers, self.plan.options.accept_changes)?;
        writer.ask(requested)?;
        let options = SweepOptions { until: Some(until), ..self.plan.options.clone() };
        let (name, worker) = (size.study.clone(), self.worker.clone());
        let plan = SweepPlan { name, definition, trials: requested, options, worker };
        display.start_size(size, writer.store().trials(writer.study())?, requested as usize);
        engine::run(self.context, &plan, &mut writer, numbers, display, self.interrupt)
    }
}

fn deleted() -> MagicError {
    MagicError::new(ErrorName::StoreError, "the study was deleted while the scaling ran", None)
}

/// Says why a batch size is not valid.
fn reason(invalid: InvalidSize) -> String {
    match invalid {
        InvalidSize::TrialFailed { reason } => reason.unwrap_or_else(|| "a trial failed".into()),
        InvalidSize::NoneReached { budget } => format!("no configuration reached the target within {budget} steps"),
        InvalidSize::TooFewReached { reached, needed, tried } => {
            format!("only {reached} of {tried} configurations reached the target, and {needed} are needed")
        }
        InvalidSize::AtEdge { edge: RangeEdge { hyperparameter, side }, best, was_widened } => {
            let end = if side == Side::Low { "lower" } else { "upper" };
            let again = if was_widened { ", even after the range was widened" } else { "" };
            let best = crate::report::table::value(&best);
            format!("the best {hyperparameter}, {best}, is at the {end} edge of its range{again}")
        }
    }
}
