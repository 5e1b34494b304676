//! The display of a running sweep: the chart of its trials, and at the end the report.

use super::engine::without_numbers;
use super::observer::{ObservedTrials, TrialEnd, TrialObserver};
use crate::commands::insight::Findings;
use crate::error::{MagicError, Result};
use crate::host::Output;
use crate::magic::Context;
use crate::report::table::{self, Rows, number};
use crate::report::{LiveChart, Report};
use crate::studies::validation;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::time::{Duration, Instant};
use tunebook_analysis::{
    BestTrial, Costs, MAX_POINTS, Retuning, best_trial, count_by_state, optimization_history, ranked_configurations,
};
use tunebook_charts::Chart;
use tunebook_study::store::NewTrial;
use tunebook_study::{Measurement, Params, StudyDefinition, Trial, TrialState};

/// So many running trials are shown.
const RUNNING_SHOWN: usize = 8;
/// While trials run, so many points of a kind are drawn: an update has a bounded size, however many trials there are.
const LIVE_POINTS: usize = 500;
/// The times of running trials are updated this often.
const CLOCK: Duration = Duration::from_secs(2);

/// The display of a running sweep.
pub struct SweepDisplay<'a> {
    chart: LiveChart<'a>,
    study: String,
    definition: StudyDefinition,
    /// The number of trials that the user requested.
    requested: usize,
    /// The trials of this run that have not begun. Those that failed before keep that end until then.
    waiting: HashSet<u32>,
    /// The number of trials that had ended before this run.
    ended_before: usize,
    observed: ObservedTrials,
    /// The changes of files as JSON: those that were accepted, and the names of the others.
    changes: (Value, Value),
    findings: Findings,
    /// The hyperparameters that no trial used.
    without_effect: Vec<String>,
    /// Whether a trial ended since the chart was last updated.
    changed: bool,
    /// Whether a trial reported something since the text was last updated.
    measured: bool,
    /// The price of one device for one hour, if the user has named it.
    price: Option<f64>,
    /// What the slots elsewhere do.
    slots: Option<String>,
    started: Instant,
}

impl<'a> SweepDisplay<'a> {
    /// Creates a display that is not shown yet. `requested` is the number of trials that the user requested.
    pub fn new(
        context: &'a Context,
        output: &'a dyn Output,
        study: &str,
        definition: &StudyDefinition,
        requested: usize,
        recorded: Vec<Trial>,
    ) -> Self {
        let (chart, observed) = (LiveChart::new(&context.charts, output), ObservedTrials::new(recorded));
        let (study, definition, started) = (study.to_string(), definition.clone(), Instant::now());
        Self {
            chart,
            study,
            definition,
            requested,
            waiting: HashSet::new(),
            ended_before: observed.ended(),
            observed,
            changes: (json!([]), json!([])),
            without_effect: vec![],
            findings: Findings::default(),
            changed: true,
            measured: false,
            price: None,
            slots: None,
            started,
        }
    }

    /// Sets what the report says about files that have changed, as [`super::changes::as_json`] returns it.
    pub fn set_changes(&mut self, changes: (Value, Value)) {
        self.changes = changes;
    }

    /// Sets the hyperparameters that no trial used.
    pub fn set_without_effect(&mut self, hyperparameters: Vec<String>) {
        self.without_effect = hyperparameters;
    }

    /// Sets the price of one device for one hour. With it, the report says what the trials cost.
    pub fn set_price(&mut self, price: Option<f64>) {
        self.price = price;
    }

    /// Sets the trials that this run is about to begin.
    pub fn set_waiting(&mut self, numbers: &[u32]) {
        self.waiting = numbers.iter().copied().collect();
        self.ended_before = self.ended();
    }

    /// Sets what stands above the chart while the sweep runs: its plan, and what is to be known before it trains.
    pub fn set_head(&mut self, head: Vec<String>) {
        self.chart.set_head(head);
    }

    /// Shows the chart before the first trial starts.
    pub fn show(&mut self) {
        let (chart, line) = self.state();
        self.chart.show(&chart, &line);
    }

    /// Ends the display with the report, which has `notes` as further sentences.
    ///
    /// The report is shown before `find_retuning` compares the study with the others, and once more if the comparison
    /// found something or failed. A failure adds one sentence to the report and has no other effect.
    pub fn end(
        mut self,
        seconds: f64,
        notes: &[String],
        findings: Findings,
        find_retuning: impl FnOnce() -> Result<Vec<Retuning>>,
    ) {
        self.findings = findings;
        self.observed.sort();
        self.chart.end(with_retuning(self.report(seconds, notes), Ok(vec![])), true);
        let retuning = find_retuning();
        if !matches!(&retuning, Ok(found) if found.is_empty()) {
            self.chart.end(with_retuning(self.report(seconds, notes), retuning), true);
        }
    }

    /// Ends the display after an error that stopped the sweep, with the result so far. Nothing runs any more, even if
    /// the store could not record that.
    pub fn fail(mut self, seconds: f64, error: &MagicError, notes: &[String]) {
        self.observed.cancel_running();
        let notes: Vec<String> = [error.in_one_line()].into_iter().chain(notes.iter().cloned()).collect();
        self.end(seconds, &notes, Findings::default(), || Ok(vec![]));
    }

    fn state(&self) -> (Chart, String) {
        (self.history_chart(LIVE_POINTS), self.progress())
    }

    /// A line about all trials, and one about each that runs.
    fn progress(&self) -> String {
        let metric = &self.definition.objective.metric;
        let mut lines = vec![self.progress_line()];
        lines.extend(self.slots.clone());
        lines.extend(self.observed.running(metric).take(RUNNING_SHOWN));
        let running = self.observed.trials.iter().filter(|trial| trial.state == TrialState::Running).count();
        if running > RUNNING_SHOWN {
            lines.push(format!("and {} more trials", running - RUNNING_SHOWN));
        }
        lines.join("\n")
    }

    fn history_chart(&self, most: usize) -> Chart {
        let history = optimization_history(&self.observed.trials, &self.definition.objective);
        let describe = |params: &Params| table::params(&self.definition, params);
        tunebook_charts::optimization_history(&self.study, self.requested, &history, &describe, most)
    }

    /// The number of trials that have ended and do not run again.
    fn ended(&self) -> usize {
        let runs_again = |trial: &Trial| trial.state.runs_again() || self.waiting.contains(&trial.number);
        self.observed.trials.iter().filter(|trial| !runs_again(trial)).count()
    }

    fn best(&self) -> Option<BestTrial> {
        best_trial(&self.observed.trials, &self.definition.objective)
    }

    fn progress_line(&self) -> String {
        let ended = self.ended();
        let best = self.best().map_or(String::new(), |best| {
            format!(", best {} {} (trial {})", self.definition.objective.metric, number(best.objective), best.trial)
        });
        let (seconds, requested) = (self.started.elapsed().as_secs_f64(), self.requested.max(ended));
        // The trials that are left take as long as those of this run did, on average.
        let left = match ended.saturating_sub(self.ended_before) {
            0 => None,
            done if requested > ended => Some(seconds / done as f64 * (requested - ended) as f64),
            _ => None,
        };
        let left = left.map_or(String::new(), |left| format!(", about {} left", table::duration(left)));
        format!("{}: {ended} of {requested} trials{best}, {}{left}", self.study, table::duration(seconds))
    }

    fn report(&self, seconds: f64, notes: &[String]) -> Report {
        let trials = &self.observed.trials;
        let best = self.best();
        let fields = json!({ "study": self.study, "trials": count_by_state(trials), "best": best });
        let ranked = ranked_configurations(trials, &self.definition.objective);
        let mut values = ranked.iter().filter_map(|configuration| configuration.objective);
        let (first, second) = (values.next(), values.next());
        let difference = first.zip(second).map(|(first, second)| first - second);
        let precision = validation(trials, &self.definition.objective, first, difference);
        // A trial trains on one device.
        let device_seconds: f64 = trials.iter().map(|trial| trial.seconds).sum();
        let cost = self.price.map(|price| Costs::at_price(price).of(device_seconds));
        let mut report = Report::new("sweep", &fields)
            .field("seconds", seconds)
            .field("cost", cost)
            .field("findings", self.findings.as_json())
            .field("changes", self.changes.0.clone())
            .field("changed", self.changes.1.clone())
            .field("without_effect", &self.without_effect)
            .field("validation", precision.as_ref().map(|(precision, _)| precision))
            .line(&format!("Study {}: {}; {}.", self.study, counts_text(trials), table::duration(seconds)));
        if let (Some(price), Some(cost)) = (self.price, cost) {
            report = report.line(&format!(
                "Its trials took {} of device time. At {} for one device for one hour, that cost {}.",
                table::duration(device_seconds),
                number(price),
                number(cost)
            ));
        }
        for note in notes {
            report = report.line(note);
        }
        match &best {
            Some(_) => {
                let metric = &self.definition.objective.metric;
                let objective = match self.definition.repeats {
                    1 => metric.clone(),
                    seeds => format!("{metric}, median of {seeds} seeds"),
                };
                let mut rows = Rows::new(&["trial", &objective, "at step", "hyperparameters that vary"]);
                for best in &ranked {
                    let (Some(value), Some(trial)) = (best.objective, best.middle) else { continue };
                    let Some((_, step)) = self.definition.objective.of(trial) else { continue };
                    let params = table::params(&self.definition, &trial.params);
                    rows.row(vec![trial.number.to_string(), number(value), step.to_string(), params]);
                }
                report = report.first_rows(rows, 5, "configurations, the best first");
                report = precision.iter().fold(report, |report, (_, sentence)| report.line(sentence));
            }
            None if self.definition.repeats > 1 => {
                report = report.line("No configuration has an objective in most of its seeds.");
            }
            None => report = report.line("No trial is complete and has an objective."),
        }
        report = self.with_problems(report);
        let warnings = self.findings.warnings();
        for warning in &warnings {
            report = report.line(warning);
        }
        if !warnings.is_empty() {
            report = report.line(&format!("`%insight {}` shows all findings and the next cells.", self.study));
        }
        report.chart(self.history_chart(MAX_POINTS))
    }

    /// Adds the reason of the first failed and of the first infeasible trial, and of the first complete one that has
    /// one: what of it was not recorded.
    fn with_problems(&self, mut report: Report) -> Report {
        for state in [TrialState::Failed, TrialState::Infeasible, TrialState::Complete] {
            let counts =
                |trial: &&Trial| trial.state == state && (state != TrialState::Complete || trial.reason.is_some());
            let trials: Vec<&Trial> = self.observed.trials.iter().filter(counts).collect();
            if let Some(first) = trials.first() {
                let reason = first.reason.as_deref().unwrap_or("no reason was given");
                let kind = |trial: &Trial| without_numbers(trial.reason.as_deref().unwrap_or_default());
                let alike = trials.iter().filter(|trial| kind(trial) == kind(first)).count() - 1;
                let others = match (alike, trials.len() - 1 - alike) {
                    (0, 0) => String::new(),
                    (alike, 0) => format!(" (and {alike} more {state})"),
                    (0, others) => format!(" (and {others} more {state} for other reasons)"),
                    (alike, others) => format!(" (and {alike} more {state} like it, and {others} for other reasons)"),
                };
                let again = match state {
                    TrialState::Failed => " `--retry-failed` runs failed trials again.",
                    _ => "",
                };
                report = report.line(&format!("Trial {} {state}: {reason}{others}.{again}", first.number));
            }
        }
        report
    }
}

impl TrialObserver for SweepDisplay<'_> {
    fn started(&mut self, trial: &NewTrial) {
        self.waiting.remove(&trial.number);
        self.observed.started(trial);
    }

    fn placed(&mut self, number: u32, place: &str) {
        self.observed.placed(number, place);
    }

    fn measured(&mut self, number: u32, measurement: &Measurement) {
        self.observed.measured(number, measurement);
        self.measured = true;
    }

    fn finished(&mut self, number: u32, end: TrialEnd) {
        self.observed.finished(number, end);
        self.changed = true;
        self.refresh();
    }

    fn slots(&mut self, slots: String) {
        self.slots = Some(slots).filter(|slots| !slots.is_empty());
        self.measured = true;
    }

    fn refresh(&mut self) {
        let started = Instant::now();
        if self.changed && self.chart.is_due() {
            let state = self.state();
            self.chart.push_since(started, state);
            (self.changed, self.measured) = (false, false);
        } else if self.chart.is_due() && (self.measured || self.chart.age() >= CLOCK) {
            let text = self.progress();
            self.chart.push_text_since(started, &text);
            self.measured = false;
        }
    }
}

/// Returns how many trials are in each state, for example `12 complete, 2 infeasible`. States without trials are left
/// out.
pub fn counts_text(trials: &[Trial]) -> String {
    use TrialState::{Cancelled, Complete, Failed, Infeasible, Running, Stopped};
    let counts: Vec<String> = [Complete, Infeasible, Stopped, Failed, Cancelled, Running]
        .into_iter()
        .map(|state| (trials.iter().filter(|trial| trial.state == state).count(), state))
        .filter(|(count, _)| *count > 0)
        .map(|(count, state)| format!("{count} {state}"))
        .collect();
    if counts.is_empty() { "no trial has ended".into() } else { counts.join(", ") }
}

/// Adds the hyperparameters that have to be tuned again because their batch size was changed (Playbook B13), or one
/// sentence that says why they could not be found.
pub fn with_retuning(mut report: Report, found: Result<Vec<Retuning>>) -> Report {
    let found = match found {
        Ok(found) => found,
        Err(error) => {
            report = report.line(&format!("This study could not be compared with the others: {}.", error.message));
            vec![]
        }
    };
    for retuning in &found {
        let Retuning { tuned_in, used_in, used_at, hyperparameters, .. } = retuning;
        let (names, sizes) = (hyperparameters.join(", "), retuning.tuned_sizes());
        report = report.line(&format!(
            "To be tuned again: {names}. {tuned_in} tuned these at {sizes}, and {used_in} uses the tuned values at \
             {used_at}. Declare them `nuisance` in {used_in} (Playbook B13)."
        ));
    }
    report.field("retune", found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorName;
    use crate::host::RESULT_MIME;
    use crate::testing::{FakeHost, Shown, context, definition, trial};

    #[test]
    fn the_head_stands_above_the_chart_until_the_report_replaces_both() {
        let folder = tempfile::tempdir().unwrap();
        let (context, host) = (context(folder.path()), FakeHost::default());
        let mut display = SweepDisplay::new(&context, &host, "depth", &definition(), 2, vec![]);
        display.set_head(vec!["Roles: nuisance `lr`.".into(), "sparse-design: too few".into()]);
        display.show();
        let first = host.shown().into_iter().find_map(|shown| match shown {
            Shown::Display(bundle) if bundle["text/plain"].as_str().is_some_and(|t| t.contains("of 2")) => Some(bundle),
            _ => None,
        });
        let first = first.unwrap();
        let text = first["text/plain"].as_str().unwrap();
        assert!(text.starts_with("Roles: nuisance `lr`.\nsparse-design: too few\ndepth: 0 of 2 trials"), "{text}");
        let page = first["text/html"].as_str().unwrap();
        let (head, chart) = (page.find("sparse-design").unwrap(), page.find("<img").unwrap());
        assert!(head < chart, "the head is below the chart");
        display.end(1.0, &["sparse-design: too few".into()], Findings::default(), || Ok(vec![]));
        let shown = host.shown();
        let Some(Shown::Display(last)) = shown.last() else { panic!("{shown:?}") };
        let text = last["text/plain"].as_str().unwrap();
        assert!(text.matches("sparse-design").count() == 1 && !text.contains("Roles:"), "{text}");
    }

    #[test]
    fn trials_that_have_not_begun_again_count_with_their_recorded_end() {
        let folder = tempfile::tempdir().unwrap();
        let (context, host) = (context(folder.path()), FakeHost::default());
        let states = [TrialState::Complete, TrialState::Cancelled, TrialState::Failed];
        let recorded = states.into_iter().zip(1..).map(|(state, number)| trial(number, state)).collect();
        let mut display = SweepDisplay::new(&context, &host, "depth", &definition(), 3, recorded);
        display.set_waiting(&[2, 3]);
        let line = display.progress_line();
        assert!(line.starts_with("depth: 1 of 3 trials"), "{line}");
        display.show();
        display.end(1.0, &[], Findings::default(), || Ok(vec![]));
        let shown = host.shown();
        let Some(Shown::Display(last)) = shown.last() else { panic!("{shown:?}") };
        let counts = json!({ "complete": 1, "infeasible": 0, "stopped": 0, "failed": 1, "cancelled": 1 });
        assert_eq!(last[RESULT_MIME]["trials"], counts);
    }

    #[test]
    fn an_error_leaves_the_result_so_far_in_which_nothing_runs() {
        let folder = tempfile::tempdir().unwrap();
        let (context, host) = (context(folder.path()), FakeHost::default());
        let recorded = vec![trial(1, TrialState::Complete)];
        let mut display = SweepDisplay::new(&context, &host, "depth", &definition(), 3, recorded);
        display.show();
        let Trial { configuration, params, seed, .. } = trial(2, TrialState::Running);
        display.started(&NewTrial { number: 2, configuration, params, seed });
        let error = MagicError::new(ErrorName::StoreError, "the disk is full", None);
        display.fail(7.0, &error, &["sparse-design: too few".into()]);
        let shown = host.shown();
        let Some(Shown::Display(last)) = shown.last() else { panic!("{shown:?}") };
        let result = &last[RESULT_MIME];
        assert_eq!((&result["trials"]["complete"], &result["trials"]["cancelled"]), (&json!(1), &json!(1)), "{result}");
        assert_eq!(result["seconds"], 7.0);
        let text = last["text/plain"].as_str().unwrap();
        assert!(text.contains("the disk is full") && text.contains("sparse-design: too few"), "{text}");
        assert!(text.contains("1 complete, 1 cancelled") && !text.contains("running"), "{text}");
        assert!(last["text/html"].as_str().unwrap().contains("the disk is full"), "{last:?}");
    }

    #[test]
    fn a_sweep_shows_its_result_even_if_another_study_cannot_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let (context, host) = (context(folder.path()), FakeHost::default());
        let mut display = SweepDisplay::new(&context, &host, "depth", &definition(), 2, vec![]);
        display.show();
        let broken = || Err(MagicError::new(ErrorName::StoreError, "study `other` cannot be read", None));
        display.end(1.0, &[], Findings::default(), broken);
        let shown = host.shown();
        let Some(Shown::Display(last)) = shown.last() else { panic!("{shown:?}") };
        assert_eq!(last[RESULT_MIME]["study"], "depth");
        assert_eq!(last[RESULT_MIME]["retune"], json!([]));
        assert!(last["text/plain"].as_str().unwrap().contains("study `other` cannot be read"), "{last:?}");
        // The display before the last one shows that the result came before the comparison.
        let Shown::Display(before) = &shown[shown.len() - 2] else { panic!("{shown:?}") };
        assert_eq!(before[RESULT_MIME]["study"], "depth");
    }
}
