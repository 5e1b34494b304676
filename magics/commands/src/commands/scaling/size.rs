//! The study of one batch size: runs what is missing, raises its limit of steps where too few configurations have reached the
//! target, and widens its space once where the best lies at its edge.
//!
//! What to do next is read from the store each time, so a scaling can be interrupted and resumed at any trial.

use super::live::ScalingLive;
use super::plan::{ScalingPlan, SizePlan};
use crate::commands::sweep::engine::{self, Ending};
use crate::commands::sweep::plan::{SweepOptions, SweepPlan};
use crate::commands::sweep::recorded::differences;
use crate::error::{ErrorName, MagicError, Result};
use crate::host::Interrupt;
use crate::magic::Context;
use std::path::PathBuf;
use tunebook_analysis::{
    BatchSizeStudy, BatchSizeTuning, InvalidSize, NextAction, RangeEdge, Side, StepsToTarget, is_widened,
    steps_to_target,
};
use tunebook_study::protocol::Until;
use tunebook_study::store::{Store, StudyRecord};
use tunebook_study::{StudyDefinition, Trial};

/// What became of a size.
pub struct Studied {
    /// What its trials say; the time of a step is added later.
    pub scaled: BatchSizeStudy,
    /// Trials that are missing, where they may not be run.
    pub missing: usize,
    /// Whether the user interrupted.
    pub interrupted: bool,
}

/// What is needed to study sizes.
pub struct Studies<'a> {
    /// The kernel's.
    pub context: &'a Context,
    /// What is asked.
    pub plan: &'a ScalingPlan,
    /// The worker of a `%%workload`.
    pub worker: Option<PathBuf>,
    /// Whether trials may run; otherwise what is recorded is read.
    pub may_run: bool,
    /// The user's wish to stop.
    pub interrupt: &'a Interrupt,
}

impl Studies<'_> {
    /// Whether any of the studies is there, and whether all that are there were asked for as many trials as now.
    pub fn recorded(&self) -> Result<(bool, bool)> {
        let (mut any, mut enough) = (false, true);
        if let Some(store) = Store::open_to_read(&self.context.settings.store)? {
            for size in &self.plan.sizes {
                if let Some(study) = store.study(&size.study)? {
                    any = true;
                    enough &= study.asked >= self.plan.configurations * self.plan.options.repeats;
                }
            }
        }
        Ok((any, enough))
    }

    /// Studies a size. `larger`: steps of the next larger size, where they are known.
    pub fn study(&self, size: &SizePlan, larger: Option<f64>, live: &mut ScalingLive<'_>) -> Result<Studied> {
        let target = self.plan.target.value;
        let (configurations, workload) = (self.plan.configurations, self.description());
        let mut tuning = BatchSizeTuning::new(target, size.budget, configurations, larger, workload);
        loop {
            let (study, trials) = self.read(size)?;
            let (definition, wide) = self.version(size, study.as_ref())?;
            let asked = tuning.trials(&definition, wide);
            let found = steps_to_target(&trials, &definition.objective, target);
            match tuning.next(&definition, wide, &trials, &found) {
                NextAction::Run { numbers, .. } if !self.may_run => {
                    let missing = numbers.len();
                    let scaled = self.scaled(size, found, Some(format!("{missing} of its trials are missing")));
                    return Ok(Studied { scaled, missing, interrupted: false });
                }
                NextAction::Run { numbers, max_steps } => {
                    let until = Until { target, from: tuning.first_evaluation(), at_most: max_steps };
                    if self.run(size, definition, asked, numbers, until, live)? == Ending::Interrupted {
                        let (_, trials) = self.read(size)?;
                        let found = steps_to_target(&trials, &size.definition.objective, target);
                        let scaled = self.scaled(size, found, Some("interrupted".into()));
                        return Ok(Studied { scaled, missing: 0, interrupted: true });
                    }
                }
                NextAction::Finish { wider: Some(space), .. } if self.may_run => {
                    let mut writer = self.context.store()?.write(study.ok_or_else(vanished)?)?;
                    writer.redefine(&StudyDefinition { space, ..definition })?;
                }
                NextAction::Finish { wider, invalid } => {
                    let missing = if wider.is_some() { asked as usize } else { 0 };
                    let scaled = self.scaled(size, found, invalid.map(reason));
                    return Ok(Studied { scaled, missing, interrupted: false });
                }
            }
        }
    }

    fn read(&self, size: &SizePlan) -> Result<(Option<StudyRecord>, Vec<Trial>)> {
        let Some(store) = Store::open_to_read(&self.context.settings.store)? else { return Ok((None, vec![])) };
        let study = store.study(&size.study)?;
        let trials = study.as_ref().map(|study| store.trials(study)).transpose()?.unwrap_or_default();
        Ok((study, trials))
    }

    /// The definition that holds, and whether it was widened; another one under the same name is an error.
    fn version(&self, size: &SizePlan, study: Option<&StudyRecord>) -> Result<(StudyDefinition, bool)> {
        let planned = &size.definition;
        let Some(recorded) = study.map(|study| &study.definition) else { return Ok((planned.clone(), false)) };
        if recorded == planned {
            return Ok((planned.clone(), false));
        }
        if is_widened(recorded, planned, self.description()) {
            return Ok((recorded.clone(), true));
        }
        let message = format!(
            "a study `{}` with another definition exists: {}",
            size.study,
            differences(recorded, planned).join("; ")
        );
        let help = format!(
            "give this scaling another name (`--name`), or forget the old studies: `%study delete {}` …",
            size.study
        );
        Err(MagicError::new(ErrorName::StudyExists, message, Some(help)))
    }

    fn description(&self) -> Option<&tunebook_study::WorkloadDescription> {
        self.plan.workload.as_ref().map(|workload| &workload.description)
    }

    fn scaled(&self, size: &SizePlan, steps: StepsToTarget, problem: Option<String>) -> BatchSizeStudy {
        BatchSizeStudy { batch_size: size.batch_size, steps, problem, seconds_per_step: None }
    }

    fn run(
        &self,
        size: &SizePlan,
        definition: StudyDefinition,
        asked: u32,
        numbers: Vec<u32>,
        until: Until,
        live: &mut ScalingLive<'_>,
    ) -> Result<Ending> {
        let mut store = self.context.store()?;
        let study = match store.study(&size.study)? {
            Some(study) => study,
            None => store.create_study(&size.study, &definition)?,
        };
        let mut writer = store.write(study)?;
        writer.ask(asked)?;
        let options = SweepOptions { until: Some(until), ..self.plan.options.clone() };
        let (name, worker) = (size.study.clone(), self.worker.clone());
        let plan = SweepPlan { name, definition, trials: asked, options, worker };
        live.begin(size, writer.store().trials(writer.study())?, asked as usize);
        engine::run(self.context, &plan, &mut writer, numbers, live, self.interrupt)
    }
}

fn vanished() -> MagicError {
    MagicError::new(ErrorName::StoreError, "the study was deleted meanwhile", None)
}

/// Why a size says nothing.
fn reason(invalid: InvalidSize) -> String {
    match invalid {
        InvalidSize::TrialFailed { reason } => reason.unwrap_or_else(|| "its trials failed".into()),
        InvalidSize::NoneReached { budget } => format!("no configuration reached the target within {budget} steps"),
        InvalidSize::TooFewReached { reached, needed, tried } => {
            format!("only {reached} of {tried} configurations reached the target, and {needed} are needed")
        }
        InvalidSize::AtEdge { edge: RangeEdge { hyperparameter, side }, best, was_widened } => {
            let end = if side == Side::Low { "lower" } else { "upper" };
            let again = if was_widened { ", also after it was widened" } else { "" };
            let best = crate::report::table::value(&best);
            format!("its best {hyperparameter}, {best}, lies at the {end} edge of its range{again}")
        }
    }
}
