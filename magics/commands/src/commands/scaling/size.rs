//! The study of one batch size: runs what is missing, raises its limit of steps where too few configurations have reached the
//! target, and widens its space once where the best lies at its edge.
//!
//! What to do next is read from the store each time, so a scaling can be interrupted and resumed at any trial.

use super::live::ScalingLive;
use super::plan::{ScalingPlan, SizePlan, widened};
use crate::commands::sweep::engine::{self, Ending};
use crate::commands::sweep::plan::{SweepOptions, SweepPlan};
use crate::commands::sweep::recorded::differences;
use crate::error::{ErrorName, MagicError, Result};
use crate::host::Interrupt;
use crate::magic::Context;
use std::path::PathBuf;
use tunebook_analysis::{NEEDED, Side, SizeScaled, StepsToTarget, edge, steps_to_target};
use tunebook_study::protocol::Until;
use tunebook_study::store::{Store, StudyRecord};
use tunebook_study::{SearchSpace, StudyDefinition, Trial, TrialState};

/// A trial may take this many times the steps of the next larger size before it gives up. From twice as many examples no trial
/// needs more than twice the steps; the rest is for configurations that are not the best.
const PATIENCE: f64 = 8.0;
/// The largest size begins with this share of its budget.
const FIRST: u64 = 16;
/// What a limit is raised by.
const RAISE: u64 = 4;

/// What became of a size.
pub struct Studied {
    /// What its trials say; the time of a step is added later.
    pub scaled: SizeScaled,
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
        let from = larger.map_or(1, |steps| (0.5 * steps) as u64).max(1);
        let first = larger.map_or(size.budget / FIRST, |steps| (PATIENCE * steps).ceil() as u64);
        let mut limit = first.clamp(1, size.budget);
        loop {
            let (study, trials) = self.read(size)?;
            let (definition, wide) = self.version(size, study.as_ref())?;
            let configurations = self.plan.configurations * if wide { 2 } else { 1 };
            let asked = configurations.saturating_mul(definition.repeats);
            let pending = pending(&trials, asked, definition.repeats, limit, |trial| self.reached(trial, &definition));
            let found = steps_to_target(&trials, &definition.objective, self.plan.target.value);
            if !pending.is_empty() {
                if !self.may_run {
                    let missing = pending.len();
                    let scaled = self.scaled(size, found, Some(format!("{missing} of its trials are missing")));
                    return Ok(Studied { scaled, missing, interrupted: false });
                }
                let until = Until { target: self.plan.target.value, from, at_most: limit };
                if self.run(size, definition, asked, pending, until, live)? == Ending::Interrupted {
                    let (_, trials) = self.read(size)?;
                    let found = steps_to_target(&trials, &size.definition.objective, self.plan.target.value);
                    let scaled = self.scaled(size, found, Some("interrupted".into()));
                    return Ok(Studied { scaled, missing: 0, interrupted: true });
                }
                continue;
            }
            if found.reached < NEEDED && limit < size.budget {
                limit = limit.saturating_mul(RAISE).min(size.budget);
                continue;
            }
            let edge = found.params.as_ref().and_then(|params| edge(&definition.space, params, &trials));
            let wider = if wide { None } else { self.wider(&definition, &found, edge.as_ref()) };
            match wider {
                Some(space) if self.may_run => {
                    let mut writer = self.context.store()?.write(study.ok_or_else(vanished)?)?;
                    writer.redefine(&StudyDefinition { space, ..definition })?;
                }
                wider => {
                    let missing = if wider.is_some() { asked as usize } else { 0 };
                    let problem = self.problem(size, &found, edge.as_ref(), &trials, &definition, wide);
                    let scaled = self.scaled(size, found, problem);
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
        let sides = [(true, false), (false, true), (true, true)];
        let judged = judged(&planned.space);
        let grown = |sides| widened(&planned.space, judged.as_deref()?, sides, self.description());
        if sides.into_iter().filter_map(grown).any(|space| *recorded == StudyDefinition { space, ..planned.clone() }) {
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

    /// The space to go on with, where the one that there is was too tight or held too few that reach the target.
    fn wider(
        &self,
        definition: &StudyDefinition,
        found: &StepsToTarget,
        edge: Option<&(String, Side)>,
    ) -> Option<SearchSpace> {
        let (name, sides) = match edge {
            Some((name, side)) => (name.clone(), (*side == Side::Low, *side == Side::High)),
            None if found.reached < NEEDED => (judged(&definition.space)?, (true, true)),
            None => return None,
        };
        widened(&definition.space, &name, sides, self.description())
    }

    /// Why a size says nothing.
    fn problem(
        &self,
        size: &SizePlan,
        found: &StepsToTarget,
        edge: Option<&(String, Side)>,
        trials: &[Trial],
        definition: &StudyDefinition,
        wide: bool,
    ) -> Option<String> {
        let all = self.plan.configurations * if wide { 2 } else { 1 };
        let failed = trials.iter().find(|trial| trial.state == TrialState::Failed);
        if let Some(failed) = failed.filter(|_| found.reached == 0) {
            return Some(failed.reason.clone().unwrap_or_else(|| "its trials failed".into()));
        }
        match found.reached {
            0 => return Some(format!("no configuration reached the target within {} steps", size.budget)),
            n if n < NEEDED => {
                return Some(format!("only {n} of {all} configurations reached the target, and {NEEDED} are needed"));
            }
            _ => {}
        }
        let (name, side) = edge?;
        let best = found.params.as_ref()?.get(name)?;
        // Where the domain itself ends there is no more to be had.
        let sides = (*side == Side::Low, *side == Side::High);
        widened(&definition.space, name, sides, self.description())?;
        let end = if *side == Side::Low { "lower" } else { "upper" };
        let again = if wide { ", also after it was widened" } else { "" };
        Some(format!(
            "its best {name}, {}, lies at the {end} edge of its range{again}",
            crate::report::table::value(best)
        ))
    }

    fn reached(&self, trial: &Trial, definition: &StudyDefinition) -> bool {
        let minimized = |value: f64| definition.objective.direction.minimized(value);
        let target = minimized(self.plan.target.value);
        definition.objective.of(trial).is_some_and(|(value, _)| minimized(value) <= target)
    }

    fn scaled(&self, size: &SizePlan, steps: StepsToTarget, problem: Option<String>) -> SizeScaled {
        SizeScaled { batch_size: size.batch_size, steps, problem, seconds_per_step: None }
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

/// The range that is judged by its edges, as [`edge`] chooses it.
fn judged(space: &SearchSpace) -> Option<String> {
    use tunebook_study::Distribution::{Choice, Constant};
    let mut ranges =
        space.hyperparameters().iter().filter(|h| !matches!(h.distribution, Choice { .. } | Constant { .. }));
    let lr = space.named("lr").find(|h| !matches!(h.distribution, Choice { .. } | Constant { .. }));
    lr.or_else(|| ranges.next()).map(|h| h.name.clone())
}

/// Which trials are to run next: those that never did, were cut off, or gave up at a lower limit. A configuration whose first seed
/// does not reach the target by the limit, which is several times the best, is not repeated: it would not become the best.
fn pending(trials: &[Trial], asked: u32, repeats: u32, limit: u64, reached: impl Fn(&Trial) -> bool) -> Vec<u32> {
    let known = |number: u32| trials.iter().find(|trial| trial.number == number);
    let last = |trial: &Trial| trial.summaries.values().map(|summary| summary.last.1).max().unwrap_or(0);
    let is_pending = |number: &u32| {
        known(*number)
            .is_none_or(|trial| trial.state.runs_again() || (trial.state == TrialState::Stopped && last(trial) < limit))
    };
    let first_of = |number: u32| number - (number - 1) % repeats;
    let firsts: Vec<u32> = (1..=asked).filter(|number| first_of(*number) == *number).filter(is_pending).collect();
    if !firsts.is_empty() {
        return firsts;
    }
    let is_repeated = |number: &u32| known(first_of(*number)).is_some_and(&reached);
    (1..=asked).filter(is_repeated).filter(is_pending).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial(number: u32, state: TrialState) -> Trial {
        let summary = tunebook_study::MetricSummary { min: (0.5, 100), max: (0.9, 0), last: (0.5, 100) };
        Trial {
            number,
            configuration: (number - 1) / 3,
            params: Default::default(),
            seed: 0,
            state,
            reason: None,
            summaries: [("e".to_string(), summary)].into(),
            seconds: 0.0,
            started: 0.0,
        }
    }

    #[test]
    fn repeats_follow_a_first_seed_that_reaches_and_a_higher_limit_runs_what_gave_up() {
        use TrialState::{Cancelled, Complete, Stopped};
        let reached = |trial: &Trial| trial.state == Complete;
        assert_eq!(pending(&[], 6, 3, 100, reached), [1, 4]);
        let mut trials = vec![trial(1, Complete), trial(4, Stopped)];
        assert_eq!(pending(&trials, 6, 3, 100, reached), [2, 3], "the second configuration did not reach it");
        trials.extend([trial(2, Stopped), trial(3, Complete)]);
        assert!(pending(&trials, 6, 3, 100, reached).is_empty());
        assert_eq!(pending(&trials, 6, 3, 400, reached), [4], "first seeds come first");
        trials[1].state = Complete;
        assert_eq!(pending(&trials, 6, 3, 400, reached), [2, 5, 6]);
        trials[0].state = Cancelled;
        assert_eq!(pending(&trials, 6, 3, 100, reached), [1]);
        assert_eq!(pending(&[trial(1, Stopped)], 2, 1, 100, reached), [2]);
    }
}
