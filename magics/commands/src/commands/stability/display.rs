//! The display of a running stability study: the runs that ended, and what the parts that are finished say.

use super::plan::{StabilityPlan, rate_and_seed};
use crate::commands::sweep::observer::{ObservedTrials, TrialEnd, TrialObserver};
use crate::host::Output;
use crate::magic::Context;
use crate::report::{LiveChart, Report, table};
use std::time::Instant;
use tunebook_analysis::rate;
use tunebook_charts::{Chart, RateDot, StabilityFigure};
use tunebook_study::store::NewTrial;
use tunebook_study::{Measurement, Trial, TrialState};

/// The display of a running stability study.
pub struct StabilityDisplay<'a> {
    chart: LiveChart<'a>,
    plan: &'a StabilityPlan,
    /// What is known from the parts that are finished.
    pub figure: StabilityFigure,
    /// The study that runs now.
    study: String,
    observed: ObservedTrials,
    /// How many trials the study had when it started, and how many are added.
    before: usize,
    wanted: usize,
    changed: bool,
    started: Instant,
}

impl<'a> StabilityDisplay<'a> {
    /// Creates a display that is not shown yet.
    pub fn new(context: &'a Context, output: &'a dyn Output, plan: &'a StabilityPlan) -> Self {
        let figure = StabilityFigure {
            title: format!("{}: stability", plan.workload.description.name),
            subtitle: "still running".into(),
            objective: plan.objective().metric.clone(),
            ..StabilityFigure::default()
        };
        Self {
            chart: LiveChart::new(&context.charts, output),
            plan,
            figure,
            study: String::new(),
            observed: ObservedTrials::default(),
            before: 0,
            wanted: 0,
            changed: false,
            started: Instant::now(),
        }
    }

    /// Starts trials of a study that may have recorded ones. The first call shows the chart.
    pub fn start(&mut self, study: &str, wanted: usize, recorded: Vec<Trial>) {
        self.observed = ObservedTrials::new(recorded);
        (self.study, self.wanted, self.before) = (study.into(), wanted, self.observed.ended());
        let (chart, line) = self.state();
        match self.chart.is_shown() {
            true => self.chart.push(|| (chart, line)),
            false => self.chart.show(&chart, &line),
        }
    }

    /// Ends the display with the report. `with_result` says whether the JSON result is included.
    pub fn end(mut self, report: Report, with_result: bool) {
        if self.chart.is_shown() || with_result {
            self.chart.end(report, with_result);
        }
    }

    fn state(&self) -> (Chart, String) {
        let ended = self.observed.ended().saturating_sub(self.before);
        let line = format!(
            "{}: {ended} of {} trials, {}",
            self.study,
            self.wanted,
            table::duration(self.started.elapsed().as_secs_f64())
        );
        if self.study != self.plan.name {
            return (tunebook_charts::stability(&self.figure), line);
        }
        let objective = self.plan.objective();
        let ended = self.observed.trials.iter().filter(|trial| !trial.state.runs_again());
        let dots = ended.map(|trial| RateDot {
            lr: rate(rate_and_seed(trial.number).0),
            objective: objective.of(trial).map(|(value, _)| value),
            is_unstable: trial.state != TrialState::Complete,
        });
        let figure = StabilityFigure { runs: dots.collect(), ..self.figure.clone() };
        (tunebook_charts::stability(&figure), line)
    }
}

impl TrialObserver for StabilityDisplay<'_> {
    fn started(&mut self, trial: &NewTrial) {
        self.observed.started(trial);
    }

    fn measured(&mut self, number: u32, measurement: &Measurement) {
        self.observed.measured(number, measurement);
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
