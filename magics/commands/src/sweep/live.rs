//! What a sweep shows while it runs.
//!
//! The chart is displayed once and brought up to date through a second display whose script pushes new figures into it:
//! so zoom and hidden series stay, and a front end without script sees one line of progress.

use crate::context::Context;
use crate::error::MagicError;
use crate::output::{Output, RESULT_MIME, plain};
use crate::report::{Report, element_id};
use crate::table::{self, Rows, number};
use serde_json::json;
use std::time::{Duration, Instant};
use tunebook_analysis::{Best, best, counts, ranked};
use tunebook_charts::{Progress, ProgressTrial, html};
use tunebook_study::store::NewTrial;
use tunebook_study::{Measurement, MetricSummary, StudyDefinition, Trial, TrialState};

/// A chart is not brought up to date more often than this.
const REFRESH: Duration = Duration::from_millis(500);

/// The display of a sweep.
pub struct Live<'a> {
    context: &'a Context,
    output: &'a dyn Output,
    study: String,
    definition: StudyDefinition,
    asked: usize,
    trials: Vec<Trial>,
    ids: Ids,
    shown: bool,
    changed: bool,
    refreshed: Instant,
    /// What the last refresh cost: the next one waits at least four times as long.
    cost: Duration,
    began: Instant,
}

struct Ids {
    element: String,
    chart: String,
    push: String,
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
        let element = element_id();
        let ids = Ids { chart: format!("{element}-chart"), push: format!("{element}-push"), element };
        let (study, definition, now) = (study.to_string(), definition.clone(), Instant::now());
        let trials = trials.into_iter().filter(|trial| !trial.state.runs_again()).collect();
        let (shown, changed, cost) = (false, true, Duration::ZERO);
        Self {
            context,
            output,
            study,
            definition,
            asked,
            trials,
            ids,
            shown,
            changed,
            refreshed: now,
            cost,
            began: now,
        }
    }

    /// Shows the chart as it is at the start.
    pub fn show(&mut self) {
        self.context.load_charts(self.output);
        let chart = tunebook_charts::progress(&self.progress());
        let mut bundle = plain(self.line());
        bundle.insert("text/html".into(), json!(html::chart_html(&chart, "", &self.ids.element)));
        self.output.display(bundle, Some(&self.ids.chart));
        self.output.display(plain(""), Some(&self.ids.push));
        self.shown = true;
    }

    /// A trial begins.
    pub fn started(&mut self, trial: &NewTrial) {
        self.trials.retain(|t| t.number != trial.number);
        let NewTrial { number, configuration, params, seed } = trial.clone();
        let (state, started) = (TrialState::Running, tunebook_study::store::now());
        let summaries = Default::default();
        self.trials.push(Trial {
            number,
            configuration,
            params,
            seed,
            state,
            reason: None,
            summaries,
            seconds: 0.0,
            started,
        });
    }

    /// A trial reported metrics.
    pub fn measured(&mut self, number: u32, measurement: &Measurement) {
        let Some(trial) = self.trials.iter_mut().find(|trial| trial.number == number) else { return };
        for (name, value) in &measurement.metrics {
            let Some(value) = value else { continue };
            let mut summary = trial.summaries.get(name).copied();
            MetricSummary::extend(&mut summary, *value, measurement.step);
            trial.summaries.extend(summary.map(|summary| (name.clone(), summary)));
        }
    }

    /// A trial ended.
    pub fn finished(&mut self, number: u32, state: TrialState, reason: Option<String>, seconds: f64) {
        let Some(trial) = self.trials.iter_mut().find(|trial| trial.number == number) else { return };
        (trial.state, trial.reason, trial.seconds) = (state, reason, seconds);
        self.changed = true;
        self.refresh(false);
    }

    /// Brings the chart up to date, at most every half second.
    pub fn refresh(&mut self, at_once: bool) {
        let due = self.refreshed.elapsed() >= REFRESH.max(4 * self.cost);
        if !self.shown || !self.changed || !(due || at_once) {
            return;
        }
        let started = Instant::now();
        let chart = tunebook_charts::progress(&self.progress());
        let mut bundle = plain(self.line());
        bundle.insert("text/html".into(), json!(html::push_html(&chart, &self.ids.element)));
        self.output.update(bundle, &self.ids.push);
        (self.refreshed, self.changed, self.cost) = (Instant::now(), false, started.elapsed());
    }

    /// The last state, with the result. `note`: what else there is to say.
    pub fn end(mut self, seconds: f64, notes: &[String]) {
        self.trials.sort_by_key(|trial| trial.number);
        let bundle = self.report(seconds, notes).bundle();
        if self.shown {
            self.output.update(plain(""), &self.ids.push);
            self.output.update(bundle, &self.ids.chart);
        } else {
            self.context.load_charts(self.output);
            self.output.display(bundle, Some(&self.ids.chart));
        }
    }

    /// Leaves what is known on the screen when the store cannot go on.
    pub fn fail(self, error: &MagicError) {
        if self.shown {
            self.output.update(plain(""), &self.ids.push);
            let mut bundle =
                self.report(self.began.elapsed().as_secs_f64(), std::slice::from_ref(&error.message)).bundle();
            bundle.remove(RESULT_MIME);
            self.output.update(bundle, &self.ids.chart);
        }
    }

    fn progress(&self) -> Progress {
        let mut trials: Vec<ProgressTrial> = self
            .trials
            .iter()
            .filter(|trial| !trial.state.runs_again())
            .map(|trial| ProgressTrial {
                number: trial.number,
                state: trial.state,
                objective: self.definition.objective.of(trial).map(|(value, _)| value),
                params: table::params(&self.definition, &trial.params),
            })
            .collect();
        trials.sort_by_key(|trial| trial.number);
        let objective = &self.definition.objective;
        Progress {
            study: self.study.clone(),
            metric: objective.metric.clone(),
            direction: objective.direction,
            asked: self.asked.max(trials.len()),
            trials,
        }
    }

    fn best(&self) -> Option<Best> {
        best(&self.trials, &self.definition.objective)
    }

    /// The state in one line.
    fn line(&self) -> String {
        let ended = self.trials.iter().filter(|trial| !trial.state.runs_again()).count();
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
        let (counts, best, metric) = (counts(&self.trials), self.best(), &self.definition.objective.metric);
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
                for trial in ranked(&self.trials, &self.definition.objective).into_iter().take(5) {
                    let Some((value, step)) = self.definition.objective.of(trial) else { continue };
                    let params = table::params(&self.definition, &trial.params);
                    rows.row(vec![trial.number.to_string(), number(value), step.to_string(), params]);
                }
                report = report.table(&rows);
            }
            None => report = report.line("No trial has an objective."),
        }
        report = self.with_problems(report);
        report.chart(tunebook_charts::progress(&self.progress()))
    }

    /// Reasons of what did not end well, the most frequent first.
    fn with_problems(&self, mut report: Report) -> Report {
        for state in [TrialState::Failed, TrialState::Infeasible] {
            let trials: Vec<&Trial> = self.trials.iter().filter(|trial| trial.state == state).collect();
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
