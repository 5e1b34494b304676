//! The display of running trials: the training error of each learning rate, and the steps to fit.

use super::plan::StepsPlan;
use crate::commands::sweep::observer::{ObservedTrials, TrialEnd, TrialObserver};
use crate::host::Output;
use crate::magic::Context;
use crate::report::{LiveChart, Report, table};
use std::collections::BTreeMap;
use std::time::Instant;
use tunebook_analysis::{FitTrial, fit_trial, initial_steps};
use tunebook_charts::{Chart, StepsCaption};
use tunebook_study::store::NewTrial;
use tunebook_study::{Measurement, Trial};

/// The display of running trials.
pub struct StepsDisplay<'a> {
    chart: LiveChart<'a>,
    plan: &'a StepsPlan,
    /// The trials of the grid, once they have ended.
    grid: Vec<FitTrial>,
    /// The trials of the study that runs now.
    observed: ObservedTrials,
    measured: BTreeMap<u32, Vec<Measurement>>,
    /// Whether the study that runs now is that of the seeds.
    runs_seeds: bool,
    /// The number of trials of the study that runs now.
    requested: u32,
    changed: bool,
    started: Instant,
}

impl<'a> StepsDisplay<'a> {
    /// A display that is not shown yet.
    pub fn new(context: &'a Context, output: &'a dyn Output, plan: &'a StepsPlan) -> Self {
        Self {
            chart: LiveChart::new(&context.charts, output),
            plan,
            grid: vec![],
            observed: ObservedTrials::default(),
            measured: BTreeMap::new(),
            runs_seeds: false,
            requested: 0,
            changed: false,
            started: Instant::now(),
        }
    }

    /// Starts to show a study that may have recorded trials. `grid` holds the trials of the grid if the study is that
    /// of the seeds.
    pub fn start(
        &mut self,
        trials: Vec<Trial>,
        measured: BTreeMap<u32, Vec<Measurement>>,
        grid: Option<Vec<FitTrial>>,
        requested: u32,
    ) {
        self.observed = ObservedTrials::new(trials);
        (self.measured, self.requested, self.runs_seeds) = (measured, requested, grid.is_some());
        self.grid = grid.unwrap_or_default();
        if !self.chart.is_shown() {
            let (chart, line) = self.state();
            self.chart.show(&chart, &line);
        }
    }

    /// Ends the display with the report.
    pub fn end(mut self, report: Report) {
        self.chart.end(report, true);
    }

    /// Ends the display after an error. The report stays on the screen, without a result for programs.
    pub fn fail(mut self, report: Report) {
        if self.chart.is_shown() {
            self.chart.end(report, false);
        }
    }

    fn state(&self) -> (Chart, String) {
        let judged = |trial: &Trial| {
            let measured = self.measured.get(&trial.number).map_or(&[][..], Vec::as_slice);
            fit_trial(trial, measured, &self.plan.rule)
        };
        let now: Vec<FitTrial> = self.observed.trials.iter().filter_map(judged).collect();
        let (grid, seeds) = if self.runs_seeds { (self.grid.clone(), now) } else { (now, vec![]) };
        let what = if self.runs_seeds { "seeds of the fastest learning rate" } else { "learning rates" };
        let line = format!(
            "{}: {} of {} {what}, {}",
            self.plan.name,
            self.observed.ended(),
            self.requested,
            table::duration(self.started.elapsed().as_secs_f64())
        );
        let caption = StepsCaption {
            name: &self.plan.name,
            metric: &self.plan.rule.metric,
            at_most: self.plan.rule.at_most,
            limit: self.plan.steps,
            note: "still running",
        };
        let found = initial_steps(&grid, &seeds);
        (tunebook_charts::steps(&caption, &grid, &seeds, &found), line)
    }
}

impl TrialObserver for StepsDisplay<'_> {
    fn started(&mut self, trial: &NewTrial) {
        self.measured.remove(&trial.number);
        self.observed.started(trial);
    }

    fn measured(&mut self, number: u32, measurement: &Measurement) {
        self.measured.entry(number).or_default().push(measurement.clone());
        self.observed.measured(number, measurement);
        self.changed = true;
    }

    fn finished(&mut self, number: u32, end: TrialEnd) {
        self.observed.finished(number, end);
        self.changed = true;
        self.refresh();
    }

    fn refresh(&mut self) {
        if self.changed && self.chart.is_due() {
            let state = self.state();
            self.chart.push(|| state);
            self.changed = false;
        }
    }
}
