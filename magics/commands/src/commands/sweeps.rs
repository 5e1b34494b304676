//! `%sweeps`: the sweeps that run in the background.

use crate::commands::sweep::engine::WAITS;
use crate::error::Result;
use crate::host::{Interrupt, Output};
use crate::magic::{BackgroundSweep, Command, Context, Export, How, Invocation, Magic, Subject};
use crate::report::Report;
use crate::report::table::{Rows, duration, number};
use serde_json::{Value, json};
use tunebook_analysis::{BestTrial, best_trial, count_by_state};
use tunebook_study::TrialState;
use tunebook_study::store::Store;

pub const MAGIC: Magic = Magic {
    name: "sweeps",
    line: true,
    body: None,
    usage: "%sweeps",
    example: "%sweeps",
    summary: "The sweeps that run in the background, and those that have ended in this session",
    help: "`%%sweep NAME --background` starts one, and `%sweep stop NAME` ends one. The time left is that of the trials \
        so far, for the trials that are left.",
    options: &[],
    subject: Subject::None,
    export: Export::Comment,
    parse,
};

struct ListSweeps;

fn parse(Invocation { arguments, .. }: Invocation) -> Result<Box<dyn Command>> {
    arguments.at_most(0)?;
    Ok(Box::new(ListSweeps))
}

/// What the store says about a sweep.
struct Progress {
    /// The trials of the study that have ended.
    ended: usize,
    running: usize,
    failed: usize,
    infeasible: usize,
    /// Of the trials that this run trains, how many are left.
    left: usize,
    counts: Value,
    best: Option<BestTrial>,
    metric: String,
}

impl Progress {
    /// How many trials have ended, with those that failed and are infeasible.
    fn trials(&self) -> String {
        let ended = format!("{} of {}", self.ended, self.ended + self.left);
        let without: Vec<String> = [(self.failed, "failed"), (self.infeasible, "infeasible")]
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, state)| format!("{count} {state}"))
            .collect();
        if without.is_empty() { ended } else { format!("{ended} ({})", without.join(", ")) }
    }
}

impl Command for ListSweeps {
    fn run(self: Box<Self>, context: &Context, output: &dyn Output, _: &Interrupt) -> Result<()> {
        let mut rows = Rows::new(&["sweep", "state", "trials", "running", "best", "time", "left"]);
        let mut sweeps = vec![];
        for sweep in context.background.all() {
            let end = sweep.end();
            let seconds = end.as_ref().map_or(sweep.started.elapsed(), |end| end.after).as_secs_f64();
            let progress = progress(&sweep)?;
            // A later run in the foreground may have trained what a stopped one left.
            let is_whole = progress.as_ref().is_some_and(|progress| progress.left == 0);
            let state = match end.as_ref().map(|end| &end.how) {
                None => "running",
                Some(How::Stopped) if !is_whole => "stopped",
                Some(How::Finished | How::Stopped) => "ended",
                Some(How::Failed(_)) => "failed",
            };
            let reason = match end.map(|end| end.how) {
                Some(How::Failed(why)) => Some(why),
                _ => None,
            };
            let seconds_left = progress.as_ref().filter(|_| state == "running").and_then(|progress| {
                let done = sweep.to_train.saturating_sub(progress.left);
                (done > 0).then(|| seconds / done as f64 * progress.left as f64)
            });
            let best = progress.as_ref().and_then(|progress| {
                let best = progress.best.as_ref()?;
                Some(format!("{} {} (trial {})", progress.metric, number(best.objective), best.trial))
            });
            let waits = state == "running" && context.sharing.waits(&sweep.study);
            let said = match &reason {
                Some(why) => format!("{state}: {why}"),
                None if waits => WAITS.into(),
                None => state.into(),
            };
            let count = |get: fn(&Progress) -> String| progress.as_ref().map_or("–".into(), get);
            rows.row(vec![
                sweep.study.clone(),
                said,
                count(Progress::trials),
                count(|progress| progress.running.to_string()),
                best.unwrap_or_else(|| "–".into()),
                duration(seconds),
                seconds_left.map_or("–".into(), duration),
            ]);
            sweeps.push(json!({
                "study": sweep.study, "state": state, "reason": reason, "waits": waits,
                "trials": progress.as_ref().map(|progress| &progress.counts),
                "running": progress.as_ref().map(|progress| progress.running),
                "left": progress.as_ref().map(|progress| progress.left),
                "best": progress.as_ref().and_then(|progress| progress.best.as_ref()),
                "seconds": seconds, "seconds_left": seconds_left,
            }));
        }
        let mut report = Report::new("sweeps", &json!({ "sweeps": sweeps }));
        report = match rows.is_empty() {
            true => report.line("No sweep runs in the background. `%%sweep NAME --background` starts one."),
            false => report.table(&rows),
        };
        report.show(&context.charts, output);
        Ok(())
    }
}

/// Reads how far a sweep is. None if its study cannot be found any more.
fn progress(sweep: &BackgroundSweep) -> Result<Option<Progress>> {
    let Some(store) = Store::open_to_read(&sweep.store)? else { return Ok(None) };
    let Some(study) = store.study(&sweep.study)? else { return Ok(None) };
    let trials = store.trials(&study)?;
    let ended = trials.iter().filter(|trial| !trial.state.runs_again()).count();
    let objective = &study.definition.objective;
    let count = |state| trials.iter().filter(|trial| trial.state == state).count();
    Ok(Some(Progress {
        ended,
        running: count(TrialState::Running),
        failed: count(TrialState::Failed),
        infeasible: count(TrialState::Infeasible),
        left: sweep.wanted.saturating_sub(ended),
        counts: json!(count_by_state(&trials)),
        best: best_trial(&trials, objective),
        metric: objective.metric.clone(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trials_without_a_result_are_counted_apart() {
        let trials = |ended, failed, infeasible| {
            let (running, left, counts, best) = (0, 1, json!({}), None);
            Progress { ended, running, failed, infeasible, left, counts, best, metric: "e".into() }.trials()
        };
        assert_eq!(trials(3, 0, 0), "3 of 4");
        assert_eq!(trials(3, 1, 0), "3 of 4 (1 failed)");
        assert_eq!(trials(3, 1, 2), "3 of 4 (1 failed, 2 infeasible)");
    }
}
