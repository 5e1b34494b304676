//! What a scaling shows while it runs: the curve as far as it goes, with the size that is studied now.

use super::plan::{ScalingPlan, SizePlan};
use crate::commands::sweep::watch::{Watch, Watched};
use crate::host::Output;
use crate::magic::Context;
use crate::report::{LiveChart, Report, table};
use std::collections::BTreeMap;
use std::time::Instant;
use tunebook_analysis::{BatchSizeStudy, scaling, steps_to_target};
use tunebook_charts::{Chart, ScalingCaption};
use tunebook_study::store::NewTrial;
use tunebook_study::{Measurement, Trial, TrialState};

/// The display of a scaling.
pub struct ScalingLive<'a> {
    chart: LiveChart<'a>,
    plan: &'a ScalingPlan,
    seconds: BTreeMap<u64, f64>,
    /// Sizes that are done.
    done: Vec<BatchSizeStudy>,
    current: Option<(SizePlan, Watched, usize)>,
    changed: bool,
    began: Instant,
}

impl<'a> ScalingLive<'a> {
    /// A display that is not shown yet.
    pub fn new(
        context: &'a Context,
        output: &'a dyn Output,
        plan: &'a ScalingPlan,
        seconds: BTreeMap<u64, f64>,
    ) -> Self {
        let (chart, began) = (LiveChart::new(&context.charts, output), Instant::now());
        Self { chart, plan, seconds, done: vec![], current: None, changed: false, began }
    }

    /// A size is studied now; these of its trials are recorded.
    pub fn begin(&mut self, size: &SizePlan, trials: Vec<Trial>, asked: usize) {
        self.current = Some((size.clone(), Watched::recorded(trials), asked));
        if !self.chart.is_shown() {
            let (chart, line) = self.state();
            self.chart.show(&chart, &line);
        }
    }

    /// A size is done.
    pub fn done(&mut self, size: BatchSizeStudy) {
        self.current = None;
        self.done.push(BatchSizeStudy { seconds_per_step: self.seconds.get(&size.batch_size).copied(), ..size });
        self.changed = true;
        self.refresh();
    }

    /// What was found of the sizes that are done.
    pub fn sizes(&self) -> &[BatchSizeStudy] {
        &self.done
    }

    /// Ends with the result.
    pub fn end(mut self, report: Report) {
        self.chart.end(report, true);
    }

    /// Leaves what is known on the screen when the store cannot go on.
    pub fn fail(mut self, report: Report) {
        if self.chart.is_shown() {
            self.chart.end(report, false);
        }
    }

    fn state(&self) -> (Chart, String) {
        let mut sizes = self.done.clone();
        let mut line = format!("{}: {} of {} sizes", self.plan.name, self.done.len(), self.plan.sizes.len());
        if let Some((size, watched, asked)) = &self.current {
            let steps = steps_to_target(&watched.trials, &size.definition.objective, self.plan.target.value);
            let seconds_per_step = self.seconds.get(&size.batch_size).copied();
            sizes.push(BatchSizeStudy { batch_size: size.batch_size, steps, problem: None, seconds_per_step });
            line += &format!(", batch size {}: {} of {asked} trials", size.batch_size, watched.ended());
        }
        line += &format!(", {}", table::duration(self.began.elapsed().as_secs_f64()));
        let target = self.plan.target.shown();
        let caption = ScalingCaption { name: &self.plan.name, target: &target, note: "still running" };
        (tunebook_charts::scaling(&caption, &scaling(&sizes, true, None)), line)
    }
}

impl Watch for ScalingLive<'_> {
    fn started(&mut self, trial: &NewTrial) {
        if let Some((_, watched, _)) = &mut self.current {
            watched.started(trial);
        }
    }

    fn measured(&mut self, number: u32, measurement: &Measurement) {
        if let Some((_, watched, _)) = &mut self.current {
            watched.measured(number, measurement);
        }
    }

    fn finished(&mut self, number: u32, state: TrialState, reason: Option<String>, seconds: f64) {
        if let Some((_, watched, _)) = &mut self.current {
            watched.finished(number, state, reason, seconds);
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
