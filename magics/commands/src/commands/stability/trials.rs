//! Runs the trials of a plan in the slots of the pool, and reads from the store what they say.

use super::display::StabilityDisplay;
use super::plan::{StabilityPlan, Variant, rate_and_seed, trial_number, unusable};
use crate::commands::sweep::changes;
use crate::commands::sweep::engine::{self, RunOutcome};
use crate::commands::sweep::plan::{SweepOptions, SweepPlan};
use crate::commands::sweep::rerun::{differences, exists_message};
use crate::commands::workload;
use crate::error::{ErrorName, MagicError, Result};
use crate::host::Interrupt;
use crate::magic::Context;
use tunebook_analysis::{RateRun, RateSweep, RunEnd};
use tunebook_study::store::{StudyRecord, trials_folder};
use tunebook_study::{Measurement, Objective, StudyDefinition, Trial, TrialState};

/// A run is no better than chance within this share of the chance level.
const CHANCE_MARGIN: f64 = 0.01;

/// Runs and reads the trials of a plan.
pub struct Trials<'a> {
    pub context: &'a Context,
    pub plan: &'a StabilityPlan,
    pub interrupt: &'a Interrupt,
}

/// A trial with its training loss and its gradient norms.
pub struct TrialCurves {
    pub end: RunEnd,
    /// The training loss by step. At step 0 stands the validation loss before training.
    pub losses: Vec<(u64, Option<f64>)>,
    /// The gradient norms by step: of each step if the trial wrote them, otherwise those that it reported.
    pub norms: Vec<(u64, f64)>,
    /// The mean over its reports of the share of clipped steps, if it clips.
    pub clipped: Option<f64>,
}

impl Trials<'_> {
    /// Runs a sweep of the learning rate to its end, or until the user interrupts it. The flag says whether it was
    /// interrupted.
    pub fn sweep(
        &self,
        variant: &Variant,
        rates: &RateSweep,
        display: &mut StabilityDisplay<'_>,
    ) -> Result<(Vec<RateRun>, bool)> {
        loop {
            let runs = self.runs(variant)?;
            let wanted = rates.next(&runs);
            if wanted.is_empty() {
                return Ok((runs, false));
            }
            if self.run(variant, &wanted, display)? {
                return Ok((self.runs(variant)?, true));
            }
        }
    }

    /// Returns how the recorded runs of a variant ended.
    pub fn runs(&self, variant: &Variant) -> Result<Vec<RateRun>> {
        let Some((_, trials)) = self.read(variant)? else { return Ok(vec![]) };
        let ended = trials.iter().filter_map(|trial| {
            let (index, seed) = rate_and_seed(trial.number);
            Some(RateRun { index, seed, end: self.end(trial)? })
        });
        Ok(ended.collect())
    }

    /// Trains the runs that have not ended, each a rate and a seed. Returns whether the user interrupted them.
    pub fn run(&self, variant: &Variant, wanted: &[(i32, u32)], display: &mut StabilityDisplay<'_>) -> Result<bool> {
        let name = self.plan.study(variant);
        let recorded = self.read(variant)?;
        let definition = match &recorded {
            Some((study, _)) => self.checked_definition(variant, study)?,
            None => self.plan.definition(variant),
        };
        let has_ended = |number: &u32| {
            let trials = recorded.iter().flat_map(|(_, trials)| trials);
            let mut own = trials.filter(|trial| trial.number == *number);
            own.any(|trial| !trial.state.runs_again() && trial.state != TrialState::Failed)
        };
        let numbers = wanted.iter().map(|(index, seed)| trial_number(*index, *seed));
        let numbers: Vec<u32> = numbers.filter(|number| !has_ended(number)).collect();
        let mut ended = recorded.iter().flat_map(|(_, trials)| trials).filter(|trial| {
            let (index, seed) = rate_and_seed(trial.number);
            wanted.contains(&(index, seed)) && has_ended(&trial.number)
        });
        // A trial that ran out of memory is a result, but not one of the learning rate.
        if let Some(trial) = ended.find(|trial| self.end(trial).is_none()) {
            return Err(unusable(&name, trial.number, trial.reason.as_deref().unwrap_or("it reported no objective")));
        }
        if numbers.is_empty() {
            return Ok(false);
        }
        if self.interrupt.is_raised() {
            return Ok(true);
        }
        let mut store = self.context.store()?;
        let study = match store.study(&name)? {
            Some(study) => study,
            None => store.create_study(&name, &definition)?,
        };
        let mut writer = store.write(study)?;
        changes::settle(&writer, &numbers, self.plan.accepts_changes)?;
        // A trial that failed, because of a program error for example, runs again with the cell.
        writer.retry_failed();
        writer.ask(numbers.iter().copied().max().unwrap_or(0).max(writer.study().asked))?;
        let options = SweepOptions {
            repeats: definition.repeats,
            sampler: definition.sampler,
            seed: definition.seed,
            parallel: self.plan.parallel,
            ..SweepOptions::default()
        };
        let trials = writer.study().asked;
        let worker = self.plan.worker.clone();
        let plan = SweepPlan { name: name.clone(), definition, trials, options, worker };
        let others =
            writer.store().trials(writer.study())?.into_iter().filter(|trial| !numbers.contains(&trial.number));
        display.start(&name, numbers.len(), others.collect());
        let outcome = engine::run(self.context, &plan, &mut writer, numbers.clone(), display, self.interrupt)?;
        if outcome == RunOutcome::Interrupted {
            return Ok(true);
        }
        let trials = writer.store().trials(writer.study())?;
        for trial in trials.iter().filter(|trial| numbers.contains(&trial.number)) {
            let reason = trial.reason.as_deref().unwrap_or("it has no reason");
            let is_out_of_memory = trial.state == TrialState::Infeasible && reason.contains("memory");
            if trial.state == TrialState::Failed || is_out_of_memory {
                return Err(unusable(&name, trial.number, reason));
            }
        }
        Ok(outcome != RunOutcome::Completed)
    }

    /// Returns the recorded study of a variant with its trials.
    fn read(&self, variant: &Variant) -> Result<Option<(StudyRecord, Vec<Trial>)>> {
        let Some(store) = self.context.store_to_read()? else { return Ok(None) };
        let Some(study) = store.study(&self.plan.study(variant))? else { return Ok(None) };
        self.checked_definition(variant, &study)?;
        let trials = store.trials(&study)?;
        Ok(Some((study, trials)))
    }

    /// Returns the definition of a variant as its recorded study goes on with it. It is an error if that study has
    /// another one.
    fn checked_definition(&self, variant: &Variant, study: &StudyRecord) -> Result<StudyDefinition> {
        let mut planned = self.plan.definition(variant).continuing(&study.definition);
        if let Some(store) = self.context.store_to_read()? {
            planned.workload = workload::continued(&store, &study.definition.workload, planned.workload)?;
        }
        if planned == study.definition {
            return Ok(planned);
        }
        let message = exists_message(&study.name, &differences(&study.definition, &planned));
        let help =
            format!("`--name NAME` gives it another name; `%study delete {}` deletes the old trials", study.name);
        Err(MagicError::new(ErrorName::StudyExists, message, Some(help)))
    }

    /// Returns how a trial ended. None if it has to run again.
    fn end(&self, trial: &Trial) -> Option<RunEnd> {
        let objective = self.plan.objective();
        match trial.state {
            TrialState::Infeasible if !trial.reason.as_deref().unwrap_or("").contains("memory") => {
                Some(RunEnd::Diverged)
            }
            TrialState::Complete => {
                let (value, _) = objective.of(trial)?;
                let has_learned = !self.is_chance(trial, objective);
                let minimized = objective.direction.minimized(value);
                Some(if has_learned { RunEnd::Learned(minimized) } else { RunEnd::LearnedNothing })
            }
            _ => None,
        }
    }

    /// Whether a trial ended no better than chance, or was best before its first step.
    fn is_chance(&self, trial: &Trial, objective: &Objective) -> bool {
        let last = trial.summaries.get(&objective.metric).map(|summary| summary.last.0);
        let minimized = |value: f64| objective.direction.minimized(value);
        let chance = self.plan.workload.description.chance;
        let is_at_chance = last
            .zip(chance)
            .is_some_and(|(last, chance)| minimized(last) >= minimized(chance) - CHANCE_MARGIN * chance.abs());
        is_at_chance || objective.of(trial).is_some_and(|(_, step)| step == 0)
    }

    /// Returns the curves of one trial, if it has ended.
    pub fn curves(&self, variant: &Variant, index: i32, seed: u32) -> Result<Option<TrialCurves>> {
        let Some((study, trials)) = self.read(variant)? else { return Ok(None) };
        let number = trial_number(index, seed);
        let ended = trials.iter().find(|trial| trial.number == number);
        let Some((_, end)) = ended.and_then(|trial| Some((trial, self.end(trial)?))) else { return Ok(None) };
        let Some(store) = self.context.store_to_read()? else { return Ok(None) };
        let measurements = store.measurements(&study, number)?;
        let untrained = measurements.first().filter(|first| first.step == 0);
        let untrained = untrained.and_then(|first| Some((0, *first.metrics.get("valid/loss")?)));
        let losses = untrained.into_iter().chain(series(&measurements, "train/loss")).collect();
        let folder = trials_folder(&self.context.store_file(), &study.name)?.join(number.to_string());
        let norms = match crate::studies::gradient_norms(&folder) {
            Some(norms) => norms.into_iter().zip(1..).map(|(norm, step)| (step, norm)).collect(),
            None => series(&measurements, "gradient_norm").filter_map(|(step, norm)| Some((step, norm?))).collect(),
        };
        let clipped: Vec<f64> = series(&measurements, "clipped").filter_map(|(_, share)| share).collect();
        let clipped = (!clipped.is_empty()).then(|| clipped.iter().sum::<f64>() / clipped.len() as f64);
        Ok(Some(TrialCurves { end, losses, norms, clipped }))
    }
}

fn series<'m>(measurements: &'m [Measurement], metric: &'m str) -> impl Iterator<Item = (u64, Option<f64>)> + 'm {
    measurements.iter().filter_map(move |m| Some((m.step, *m.metrics.get(metric)?)))
}
