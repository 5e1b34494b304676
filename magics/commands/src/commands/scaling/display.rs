//! The display of a running scaling: the curve of the sizes that are finished, and of the size that is being tuned.

use super::plan::{ScalingPlan, SizePlan};
use crate::commands::sweep::observer::{ObservedTrials, TrialEnd, TrialObserver};
use crate::host::Output;
use crate::magic::Context;
use crate::report::{LiveChart, Report, table};
use std::collections::BTreeMap;
use std::time::Instant;
use tunebook_analysis::{BatchSizeStudy, StepSeconds, scaling, steps_to_target};
use tunebook_charts::{Chart, ScalingCaption};
use tunebook_study::store::NewTrial;
use tunebook_study::{Measurement, Trial};

/// The display of a running scaling.
pub struct ScalingDisplay<'a> {
    chart: LiveChart<'a>,
    plan: &'a ScalingPlan,
    /// The seconds of a step, by batch size.
    seconds_per_step: BTreeMap<u64, StepSeconds>,
    finished: Vec<BatchSizeStudy>,
    current: Option<CurrentSize>,
    /// Whether something has changed since the chart was last updated.
    changed: bool,
    started: Instant,
}

/// The batch size that is being tuned.
struct CurrentSize {
    plan: SizePlan,
    observed: ObservedTrials,
    /// The number of trials that its study will have.
    requested: usize,
}

impl<'a> ScalingDisplay<'a> {
    /// Creates a display that is not shown yet.
    pub fn new(
        context: &'a Context,
        output: &'a dyn Output,
        plan: &'a ScalingPlan,
        seconds_per_step: BTreeMap<u64, StepSeconds>,
    ) -> Self {
        let (chart, started) = (LiveChart::new(&context.charts, output), Instant::now());
        Self { chart, plan, seconds_per_step, finished: vec![], current: None, changed: false, started }
    }

    /// Starts a batch size, which may have recorded trials. The first call shows the chart.
    pub fn start_size(&mut self, plan: &SizePlan, recorded: Vec<Trial>, requested: usize) {
        let observed = ObservedTrials::new(recorded);
        self.current = Some(CurrentSize { plan: plan.clone(), observed, requested });
        if !self.chart.is_shown() {
            let (chart, line) = self.state();
            self.chart.show(&chart, &line);
        }
    }

    /// Finishes a batch size, and adds the time of its steps.
    pub fn finish_size(&mut self, size: BatchSizeStudy) {
        self.current = None;
        let seconds_per_step = self.seconds_per_step.get(&size.batch_size).copied();
        self.finished.push(BatchSizeStudy { seconds_per_step, ..size });
        self.changed = true;
        self.refresh();
    }

    /// The batch sizes that are finished.
    pub fn finished_sizes(&self) -> &[BatchSizeStudy] {
        &self.finished
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
        let mut sizes = self.finished.clone();
        let mut line = format!("{}: {} of {} sizes", self.plan.name, self.finished.len(), self.plan.sizes.len());
        if let Some(CurrentSize { plan, observed, requested }) = &self.current {
            let batch_size = plan.batch_size;
            let steps = steps_to_target(&observed.trials, &plan.definition.objective, self.plan.target.value);
            let seconds_per_step = self.seconds_per_step.get(&batch_size).copied();
            sizes.push(BatchSizeStudy { batch_size, steps, problem: None, seconds_per_step });
            line += &format!(", batch size {batch_size}: {} of {requested} trials", observed.ended());
        }
        line += &format!(", {}", table::duration(self.started.elapsed().as_secs_f64()));
        let target = self.plan.target.shown();
        let caption = ScalingCaption { name: &self.plan.name, target: &target, note: "still running" };
        (tunebook_charts::scaling(&caption, &scaling(&sizes, true, None)), line)
    }
}

impl TrialObserver for ScalingDisplay<'_> {
    fn started(&mut self, trial: &NewTrial) {
        if let Some(current) = &mut self.current {
            current.observed.started(trial);
        }
    }

    fn measured(&mut self, number: u32, measurement: &Measurement) {
        if let Some(current) = &mut self.current {
            current.observed.measured(number, measurement);
        }
    }

    fn finished(&mut self, number: u32, end: TrialEnd) {
        if let Some(current) = &mut self.current {
            current.observed.finished(number, end);
        }
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
