//! What a sweep shows while it runs.

use super::watch::{Watch, Watched};
use crate::error::{MagicError, Result};
use crate::host::Output;
use crate::magic::Context;
use crate::report::table::{self, Rows, number};
use crate::report::{LiveChart, Report};
use serde_json::json;
use std::time::Instant;
use tunebook_analysis::{BestTrial, Retuning, best_trial, count_by_state, optimization_history, ranked};
use tunebook_charts::Chart;
use tunebook_study::store::NewTrial;
use tunebook_study::{Measurement, Params, StudyDefinition, Trial, TrialState};

/// The display of a sweep.
pub struct Live<'a> {
    chart: LiveChart<'a>,
    study: String,
    definition: StudyDefinition,
    asked: usize,
    watched: Watched,
    changed: bool,
    began: Instant,
}

impl<'a> Live<'a> {
    /// A display that is not shown yet.
    pub fn new(
        context: &'a Context,
        output: &'a dyn Output,
        study: &str,
        definition: &StudyDefinition,
        asked: usize,
        trials: Vec<Trial>,
    ) -> Self {
        let (chart, watched) = (LiveChart::new(&context.charts, output), Watched::recorded(trials));
        let (study, definition, began) = (study.to_string(), definition.clone(), Instant::now());
        Self { chart, study, definition, asked, watched, changed: true, began }
    }

    /// Shows the chart as it is at the start.
    pub fn show(&mut self) {
        let (chart, line) = self.state();
        self.chart.show(&chart, &line);
    }

    /// Shows the last state with the result; `notes` are sentences to add. Then asks `compare` for configurations that were
    /// tuned at another batch size and adds them. A comparison that fails is told of and costs nothing else.
    pub fn end(mut self, seconds: f64, notes: &[String], compare: impl FnOnce() -> Result<Vec<Retuning>>) {
        self.watched.trials.sort_by_key(|trial| trial.number);
        self.chart.end(retuning(self.report(seconds, notes), &[]), true);
        match compare() {
            Ok(found) if found.is_empty() => {}
            Ok(found) => self.chart.end(retuning(self.report(seconds, notes), &found), true),
            Err(error) => {
                let line = format!("The other studies could not be compared with this one: {}.", error.message);
                self.chart.end(retuning(self.report(seconds, notes).line(&line), &[]), true);
            }
        }
    }

    /// Leaves what is known on the screen when the store cannot go on.
    pub fn fail(mut self, error: &MagicError) {
        if self.chart.is_shown() {
            let report = self.report(self.began.elapsed().as_secs_f64(), std::slice::from_ref(&error.message));
            self.chart.end(report, false);
        }
    }

    fn state(&self) -> (Chart, String) {
        (self.chart_of_history(), self.line())
    }

    fn chart_of_history(&self) -> Chart {
        let history = optimization_history(&self.watched.trials, &self.definition.objective);
        let describe = |params: &Params| table::params(&self.definition, params);
        tunebook_charts::optimization_history(&self.study, self.asked, &history, &describe)
    }

    fn best(&self) -> Option<BestTrial> {
        best_trial(&self.watched.trials, &self.definition.objective)
    }

    /// The state in one line.
    fn line(&self) -> String {
        let ended = self.watched.ended();
        let best = self.best().map_or(String::new(), |best| {
            format!(", best {} {} (trial {})", self.definition.objective.metric, number(best.objective), best.trial)
        });
        format!(
            "{}: {ended} of {} trials{best}, {}",
            self.study,
            self.asked.max(ended),
            table::duration(self.began.elapsed().as_secs_f64())
        )
    }

    fn report(&self, seconds: f64, notes: &[String]) -> Report {
        let (counts, best, metric) =
            (count_by_state(&self.watched.trials), self.best(), &self.definition.objective.metric);
        let mut parts = vec![];
        for (count, state) in [
            (counts.complete, "complete"),
            (counts.infeasible, "infeasible"),
            (counts.stopped, "stopped"),
            (counts.failed, "failed"),
            (counts.cancelled, "cancelled"),
        ] {
            if count > 0 {
                parts.push(format!("{count} {state}"));
            }
        }
        let done = if parts.is_empty() { "no trials yet".into() } else { parts.join(", ") };
        let mut report = Report::new("sweep", &json!({ "study": self.study, "trials": counts, "best": best }))
            .field("seconds", seconds)
            .field("findings", json!([]))
            .line(&format!("Study {}: {done}; {}.", self.study, table::duration(seconds)));
        for note in notes {
            report = report.line(note);
        }
        match &best {
            Some(_) => {
                let mut rows = Rows::new(&["trial", metric, "at step", "hyperparameters that vary"]);
                for trial in ranked(&self.watched.trials, &self.definition.objective).into_iter().take(5) {
                    let Some((value, step)) = self.definition.objective.of(trial) else { continue };
                    let params = table::params(&self.definition, &trial.params);
                    rows.row(vec![trial.number.to_string(), number(value), step.to_string(), params]);
                }
                report = report.table(&rows);
            }
            None => report = report.line("No trial has an objective."),
        }
        report = self.with_problems(report);
        report.chart(self.chart_of_history())
    }

    /// Reasons of what did not end well, the most frequent first.
    fn with_problems(&self, mut report: Report) -> Report {
        for state in [TrialState::Failed, TrialState::Infeasible] {
            let trials: Vec<&Trial> = self.watched.trials.iter().filter(|trial| trial.state == state).collect();
            if let Some(example) = trials.first() {
                let reason = example.reason.as_deref().unwrap_or("no reason was given");
                let others =
                    if trials.len() > 1 { format!(" (and {} more {state})", trials.len() - 1) } else { String::new() };
                report = report.line(&format!("Trial {} {state}: {reason}{others}.", example.number));
            }
        }
        report
    }
}

impl Watch for Live<'_> {
    fn started(&mut self, trial: &NewTrial) {
        self.watched.started(trial);
    }

    fn measured(&mut self, number: u32, measurement: &Measurement) {
        self.watched.measured(number, measurement);
    }

    fn finished(&mut self, number: u32, state: TrialState, reason: Option<String>, seconds: f64) {
        self.watched.finished(number, state, reason, seconds);
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

/// Marks best configurations whose batch size was changed (Playbook B13).
pub fn retuning(mut report: Report, found: &[Retuning]) -> Report {
    for Retuning { tuned_in, tuned_at, used_in, used_at, hyperparameters } in found {
        let names = hyperparameters.join(", ");
        report = report.line(&format!(
            "To be re-tuned: {names} were tuned in {tuned_in} at a batch size of {tuned_at}, and {used_in} trains with them at \
             {used_at}. Tune them again at {used_at}: declare them `nuisance` there (Playbook B13)."
        ));
    }
    report.field("retune", found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorName;
    use crate::host::RESULT_MIME;
    use crate::testing::{FakeHost, Shown, context, definition};

    #[test]
    fn a_sweep_ends_with_its_result_also_where_another_study_cannot_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let (context, host) = (context(folder.path()), FakeHost::default());
        let mut live = Live::new(&context, &host, "depth", &definition(), 2, vec![]);
        live.show();
        let broken = || Err(MagicError::new(ErrorName::StoreError, "study `other` cannot be read", None));
        live.end(1.0, &[], broken);
        let shown = host.shown();
        let Some(Shown::Display(last)) = shown.last() else { panic!("{shown:?}") };
        assert_eq!(last[RESULT_MIME]["study"], "depth");
        assert_eq!(last[RESULT_MIME]["retune"], json!([]));
        assert!(last["text/plain"].as_str().unwrap().contains("study `other` cannot be read"), "{last:?}");
        // The result was shown before the comparison was asked for.
        let Shown::Display(before) = &shown[shown.len() - 2] else { panic!("{shown:?}") };
        assert_eq!(before[RESULT_MIME]["study"], "depth");
    }
}
