//! The display of a study that runs again: the objective of each trial, then and now.

use super::record::Record;
use crate::commands::sweep::observer::{ObservedTrials, TrialEnd, TrialObserver};
use crate::error::{MagicError, Result};
use crate::host::Output;
use crate::magic::Context;
use crate::report::{LiveChart, Report, table};
use crate::studies::replay_of;
use std::time::{Duration, Instant};
use tunebook_analysis::{Replay, TrialPair};
use tunebook_charts::{Chart, ReplayedTrial};
use tunebook_study::store::{NewTrial, Store, StudyRecord};
use tunebook_study::{Measurement, Objective, Trial, TrialState};

/// The times of running trials are updated this often.
const CLOCK: Duration = Duration::from_secs(2);
/// So many running trials are shown.
const RUNNING_SHOWN: usize = 8;

pub struct ReplayDisplay<'a> {
    chart: LiveChart<'a>,
    store: &'a Store,
    study: &'a StudyRecord,
    record: &'a Record,
    /// The study of the replay, once there is one.
    replay: Option<StudyRecord>,
    observed: ObservedTrials,
    /// The trials that ended in this run and were compared.
    points: Vec<ReplayedTrial>,
    compared: Replay,
    changed: bool,
    started: Instant,
}

impl<'a> ReplayDisplay<'a> {
    /// Creates a display that is not shown yet. It compares the trials that the replay has already.
    pub fn new(
        context: &'a Context,
        output: &'a dyn Output,
        store: &'a Store,
        study: &'a StudyRecord,
        record: &'a Record,
    ) -> Result<Self> {
        let replay = store.study(&replay_of(study))?;
        let mut display = Self {
            chart: LiveChart::new(&context.charts, output),
            store,
            study,
            record,
            observed: ObservedTrials::default(),
            points: vec![],
            compared: Replay::default(),
            changed: false,
            started: Instant::now(),
            replay: None,
        };
        if let Some(replay) = replay {
            let missing = record.missing(&store.trials(&replay)?);
            let ended = store.trials(&replay)?.into_iter().filter(|trial| !missing.contains(&trial.number));
            let ended: Vec<Trial> = ended.filter(|trial| record.trials.contains_key(&trial.number)).collect();
            display.replay = Some(replay);
            for trial in &ended {
                display.compare(trial)?;
            }
        }
        Ok(display)
    }

    /// Shows the chart before the first trial starts.
    pub fn show(&mut self, replay: &StudyRecord) {
        self.replay = Some(replay.clone());
        let (chart, text) = (self.drawn(), self.progress());
        self.chart.show(&chart, &text);
    }

    /// What was found so far.
    pub fn compared(&self) -> &Replay {
        &self.compared
    }

    pub fn replay(&self) -> Option<&StudyRecord> {
        self.replay.as_ref()
    }

    /// Ends the display with the report, and returns it with its chart.
    pub fn end(mut self, report: Report) -> Report {
        let report = report.chart(self.drawn());
        self.chart.end(report.clone(), true);
        report
    }

    /// Ends the display after an error that stopped the replay.
    pub fn fail(mut self, error: &MagicError) {
        if self.chart.is_shown() {
            let report = Report::new("error", &serde_json::json!({})).line(&error.message).chart(self.drawn());
            self.chart.end(report, false);
        }
    }

    /// Compares a trial that ended with the recorded one.
    fn compare(&mut self, again: &Trial) -> Result<()> {
        let (Some(replay), Some(recorded)) = (&self.replay, self.record.trials.get(&again.number)) else {
            return Ok(());
        };
        let before = self.store.measurements(self.study, again.number)?;
        let after = self.store.measurements(replay, again.number)?;
        let pair = TrialPair {
            recorded: (recorded, &before),
            again: (again, &after),
            cut_short: self.record.is_cut_short(recorded),
        };
        let identical = self.compared.add(&pair);
        let objective: &Objective = &self.study.definition.objective;
        if let (Some((recorded, _)), Some((now, _))) = (objective.of(recorded), objective.of(again)) {
            self.points.push(ReplayedTrial { number: again.number, recorded, again: now, identical });
        }
        Ok(())
    }

    fn drawn(&self) -> Chart {
        let metric = &self.study.definition.objective.metric;
        tunebook_charts::replay(&self.study.name, metric, &self.points, self.record.trials.len())
    }

    fn progress(&self) -> String {
        let Replay { trials, identical, .. } = self.compared;
        let mut lines = vec![format!(
            "{}: {trials} of {} trials ran again, {identical} identical to the last bit, {}",
            self.study.name,
            self.record.trials.len(),
            table::duration(self.started.elapsed().as_secs_f64())
        )];
        lines.extend(self.observed.running(&self.study.definition.objective.metric).take(RUNNING_SHOWN));
        lines.join("\n")
    }
}

impl TrialObserver for ReplayDisplay<'_> {
    fn started(&mut self, trial: &NewTrial) {
        self.observed.started(trial);
    }

    fn placed(&mut self, number: u32, place: &str) {
        self.observed.placed(number, place);
    }

    fn measured(&mut self, number: u32, measurement: &Measurement) {
        self.observed.measured(number, measurement);
    }

    fn finished(&mut self, number: u32, end: TrialEnd) {
        self.observed.finished(number, end);
        let ended = self.observed.trial(number).cloned();
        if let Some(trial) = ended.filter(|trial| trial.state != TrialState::Cancelled) {
            // The store was readable a moment ago. If it is not, the report at the end says so.
            let _ = self.compare(&trial);
        }
        self.changed = true;
        self.refresh();
    }

    fn refresh(&mut self) {
        if self.changed && self.chart.is_due() {
            let state = (self.drawn(), self.progress());
            self.chart.push(|| state);
            self.changed = false;
        } else if self.chart.is_due() && self.chart.age() >= CLOCK {
            let text = self.progress();
            self.chart.push_text(&text);
        }
    }
}
