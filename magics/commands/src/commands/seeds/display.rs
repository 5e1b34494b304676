//! The display of configurations that are being trained again: their runs so far, and a line about the running ones.

use crate::commands::sweep::observer::{ObservedTrials, TrialEnd, TrialObserver};
use crate::error::MagicError;
use crate::host::Output;
use crate::magic::Context;
use crate::report::{LiveChart, Report, table};
use std::time::{Duration, Instant};
use tunebook_analysis::runs;
use tunebook_charts::{Chart, RerunArm};
use tunebook_study::store::NewTrial;
use tunebook_study::{Measurement, Objective, Trial, TrialState};

/// The times of running trials are updated this often.
const CLOCK: Duration = Duration::from_secs(2);

/// What the chart says of a configuration besides its runs.
pub struct ArmCaption {
    pub name: String,
    pub recorded: f64,
}

pub struct RerunDisplay<'a> {
    chart: LiveChart<'a>,
    title: String,
    objective: Objective,
    captions: Vec<ArmCaption>,
    repeats: u32,
    observed: Vec<ObservedTrials>,
    /// The index of the configuration that is being trained.
    current: usize,
    changed: bool,
    started: Instant,
}

impl<'a> RerunDisplay<'a> {
    /// Creates a display that is not shown yet.
    pub fn new(
        context: &'a Context,
        output: &'a dyn Output,
        title: String,
        objective: &Objective,
        captions: Vec<ArmCaption>,
        repeats: u32,
    ) -> Self {
        let (chart, objective, started) = (LiveChart::new(&context.charts, output), objective.clone(), Instant::now());
        Self { chart, title, objective, captions, repeats, observed: vec![], current: 0, changed: false, started }
    }

    /// Adds the recorded runs of the next configuration.
    pub fn add(&mut self, recorded: Vec<Trial>) {
        // Failed runs are trained again.
        let kept = recorded.into_iter().filter(|trial| trial.state != TrialState::Failed).collect();
        self.observed.push(ObservedTrials::new(kept));
    }

    pub fn show(&mut self) {
        let (chart, line) = (self.chart_of_runs(), self.progress());
        self.chart.show(&chart, &line);
    }

    /// Says which configuration is trained from now on.
    pub fn start(&mut self, configuration: usize) {
        self.current = configuration;
    }

    /// Ends the display with the report and the chart of these runs of each configuration. Returns both.
    pub fn end(mut self, report: Report, trials: &[&[Trial]]) -> Report {
        let report = report.chart(self.chart_of(trials));
        self.chart.end(report.clone(), true);
        report
    }

    /// Ends the display after an error that stopped the training.
    pub fn fail(mut self, error: &MagicError) {
        if self.chart.is_shown() {
            let report = Report::new("error", &serde_json::json!({})).line(&error.message).chart(self.chart_of_runs());
            self.chart.end(report, false);
        }
    }

    fn chart_of_runs(&self) -> Chart {
        let trials: Vec<&[Trial]> = self.observed.iter().map(|observed| &observed.trials[..]).collect();
        self.chart_of(&trials)
    }

    fn chart_of(&self, trials: &[&[Trial]]) -> Chart {
        let arm = |(caption, trials): (&ArmCaption, &&[Trial])| RerunArm {
            name: caption.name.clone(),
            recorded: caption.recorded,
            runs: runs(trials, &self.objective),
        };
        let arms: Vec<RerunArm> = self.captions.iter().zip(trials).map(arm).collect();
        tunebook_charts::reruns(&self.title, &self.objective.metric, self.objective.direction, &arms)
    }

    fn progress(&self) -> String {
        let ended: Vec<String> = self
            .captions
            .iter()
            .zip(&self.observed)
            .map(|(caption, observed)| format!("{}: {} of {} runs", caption.name, observed.ended(), self.repeats))
            .collect();
        let mut lines =
            vec![format!("{}, {}", ended.join("; "), table::duration(self.started.elapsed().as_secs_f64()))];
        if let Some(observed) = self.observed.get(self.current) {
            // A run is a trial of the study of new runs.
            lines.extend(observed.running(&self.objective.metric).map(|line| line.replacen("trial", "run", 1)));
        }
        lines.join("\n")
    }

    fn current(&mut self) -> Option<&mut ObservedTrials> {
        self.observed.get_mut(self.current)
    }
}

impl TrialObserver for RerunDisplay<'_> {
    fn started(&mut self, trial: &NewTrial) {
        if let Some(observed) = self.current() {
            observed.started(trial);
        }
    }

    fn placed(&mut self, number: u32, place: &str) {
        if let Some(observed) = self.current() {
            observed.placed(number, place);
        }
    }

    fn measured(&mut self, number: u32, measurement: &Measurement) {
        if let Some(observed) = self.current() {
            observed.measured(number, measurement);
        }
    }

    fn finished(&mut self, number: u32, end: TrialEnd) {
        if let Some(observed) = self.current() {
            observed.finished(number, end);
        }
        self.changed = true;
        self.refresh();
    }

    fn refresh(&mut self) {
        if self.changed && self.chart.is_due() {
            let state = (self.chart_of_runs(), self.progress());
            self.chart.push(|| state);
            self.changed = false;
        } else if self.chart.is_due() && self.chart.age() >= CLOCK {
            let text = self.progress();
            self.chart.push_text(&text);
        }
    }
}
