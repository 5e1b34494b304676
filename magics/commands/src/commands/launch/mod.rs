//! `%launch STUDY --trial I`: the configuration of a trial becomes the baseline of its workload (Playbook D2). It is
//! recorded with its evidence, and with the baseline that it replaces.

mod comparison;

use self::comparison::{Comparison, comparisons};
use crate::commands::workload;
use crate::error::{ErrorName, Result};
use crate::host::{Interrupt, Output};
use crate::magic::{Command, Context, Export, Invocation, Magic, Subject};
use crate::report::Report;
use crate::report::table::{Rows, number, number_or_dash, params};
use crate::studies::{flags, trial_of};
use crate::syntax::{Arguments, Word, option};
use serde_json::{Value as Json, json};
use tunebook_analysis::ranked_configurations;
use tunebook_study::store::{self, Store, StudyRecord};
use tunebook_study::{Objective, Trial, TrialState, WorkloadReference};

pub const MAGIC: Magic = Magic {
    name: "launch",
    line: true,
    body: None,
    usage: "%launch STUDY --trial I [--because TEXT]\n\n%launch",
    example: "%launch depth --trial 7 --because \"It is deep enough.\"",
    summary: "Make the configuration of a trial the baseline of its workload, and record the evidence",
    help: "A baseline is the best configuration that a project has agreed on. Changing it is a separate step, with its \
        evidence: the study, its number of trials, and what `%adopt` found when it trained the configuration again. \
        `--because` says in words why, for example that the gain outweighs the added complexity. Without a study it \
        shows all launches, the newest first. `%plan` asks for a decay of the learning rate after the first launch; \
        nothing else depends on it.",
    options: &[option("trial", Some("I"), "the number of the trial"), option("because", Some("TEXT"), "why, in words")],
    subject: Subject::Study,
    export: Export::Comment,
    parse,
};

/// The kind of the results that hold launches.
const LAUNCH: &str = "launch";

struct Launch {
    arguments: Arguments,
    /// The study and the number of its trial. None to show all launches.
    trial: Option<(Word, u32)>,
}

fn parse(Invocation { arguments, .. }: Invocation) -> Result<Box<dyn Command>> {
    arguments.at_most(1)?;
    let study = arguments.positional.first().cloned();
    let trial = arguments.small_count("trial", 1)?;
    let trial = match (study, trial) {
        (Some(study), Some(trial)) => Some((study, trial)),
        (None, None) => None,
        (Some(study), None) => {
            let help = "%study and %curves show the trials with their results".to_string();
            return Err(arguments.source.syntax_error(study.span, "the trial is missing: `--trial I`", Some(help)));
        }
        (None, Some(_)) => {
            return Err(arguments.source.syntax_error(arguments.line.clone(), "the study is missing", None));
        }
    };
    Ok(Box::new(Launch { arguments, trial }))
}

impl Command for Launch {
    fn run(self: Box<Self>, context: &Context, output: &dyn Output, _: &Interrupt) -> Result<()> {
        match &self.trial {
            Some((study, trial)) => self.launch(context, study, *trial)?.show(&context.charts, output),
            None => all(context.store_to_read()?.as_ref())?.show(&context.charts, output),
        }
        Ok(())
    }
}

impl Launch {
    fn launch(&self, context: &Context, word: &Word, number_of_trial: u32) -> Result<Report> {
        let source = &self.arguments.source;
        let (store, study) = context.study(source, word)?;
        let trials = store.trials(&study)?;
        let trial = trial_of(&self.arguments, "trial", word, &trials, number_of_trial)?;
        let objective = &study.definition.objective;
        let Some((value, _)) = objective.of(trial).filter(|_| trial.state == TrialState::Complete) else {
            let span = self.arguments.option("trial").map_or(word.span.clone(), |word| word.span.clone());
            let message =
                format!("trial {number_of_trial} of `{}` is {} and cannot be a baseline", study.name, trial.state);
            let help = "choose a complete trial".to_string();
            return Err(source.error(ErrorName::NoAnswer, span, message, Some(help)));
        };
        let workload = &study.definition.workload;
        let launches = launches(&store)?;
        let last = launches.iter().rev().find(|launch| is_of(launch, workload));
        let again = last.filter(|launch| {
            is_of_study(launch, &study) && launch["trial"] == number_of_trial && launch["params"] == json!(trial.params)
        });
        let previous = match again {
            Some(launch) => Some(launch["previous"].clone()).filter(|previous| !previous.is_null()),
            None => last.map(|launch| json!({ "study": launch["study"], "trial": launch["trial"] })),
        };
        let comparisons = comparisons(store.results("adoption")?, &study.name, &trials, trial);
        let adoption = comparisons.first().map(|newest| &newest.result);
        let rank = Rank::of(trial, &trials, objective);
        let known = workload::known(context).unwrap_or_default();
        let description = known.iter().find(|known| known.reference == *workload).map(|known| &known.description);
        let flags = flags(&store, &study, &trials, objective, description)?;
        let chance = flags.levels.get(&number_of_trial).copied().or(flags.chance);
        let gain = chance.map(|chance| objective.direction.minimized(chance) - objective.direction.minimized(value));
        let learns = !flags.worse_than_chance.contains(&number_of_trial) && gain.is_none_or(|gain| gain > 0.0);
        let because = self.arguments.option("because").map(|word| word.text.clone());
        let fields = json!({
            "workload": workload.to_string(), "study": study.name, "trial": number_of_trial, "params": trial.params,
            "metric": objective.metric, "objective": value, "trials": trials.len(), "adoption": adoption,
            "comparisons": comparisons, "rejected": comparisons.first().is_some_and(Comparison::is_rejected),
            "rank": rank.as_ref().map(Rank::as_json), "already": again.is_some(),
            "because": because, "previous": previous, "launched": store::now(),
            "study_created": study.created,
            "chance": chance, "better_than_chance": chance.map(|_| learns),
        });
        let mut record = fields.clone();
        record["workload_reference"] = json!(workload);
        // The same launch once more, without a new reason or new evidence, is not recorded.
        if again.is_none_or(|launch| because.is_some() || lacks_evidence(launch, &comparisons)) {
            let key = format!("{} {number_of_trial} at {}", study.name, store::now());
            context.store()?.keep_conclusion(LAUNCH, &key, &record)?;
        }
        let mut report = Report::new(LAUNCH, &fields).line(&format!(
            "Trial {number_of_trial} of {} is the baseline of {workload} {}: {} ({} {}).",
            study.name,
            if again.is_some() { "already" } else { "now" },
            params(&study.definition, &trial.params),
            objective.metric,
            number(value)
        ));
        if let Some(last) = last.filter(|_| again.is_none()) {
            let deleted = if has_study(&store, last)? { "" } else { ", a study that was deleted" };
            report = report.line(&format!("It replaces trial {} of {}{deleted}.", last["trial"], text(&last["study"])));
        }
        if let Some(rank) = rank.as_ref().filter(|rank| rank.rank > 1) {
            report = report.line(&rank.caution(number_of_trial, &objective.metric));
        }
        if let Some((chance, gain)) = chance.zip(gain) {
            let chance = number(chance);
            let caution = match (learns, gain > 0.0) {
                (true, _) if !flags.outlier.contains(&number_of_trial) => None,
                (true, _) => Some("far from all other trials, and nearer to that than to the best"),
                (false, true) => Some("hardly better"),
                (false, false) => Some("no better"),
            };
            report = report.line(&match caution {
                None => {
                    let gain = number(gain);
                    format!("A model that has learned nothing has {chance}; the baseline is better by {gain}.")
                }
                Some(caution) => format!(
                    "Caution: a model that has learned nothing has {chance}. This trial has {}, which is {caution}. A \
                     baseline has to perform reasonably before it is improved (Playbook C2).",
                    number(value)
                ),
            });
        }
        let cautions = comparisons.iter().filter_map(|found| found.caution(number_of_trial));
        report = cautions.fold(report, |report, caution| report.line(&caution));
        for found in &comparisons {
            report = report.line(&found.evidence(number_of_trial));
        }
        if comparisons.is_empty() {
            report = report.line(&match workload {
                WorkloadReference::Imported { .. } => format!(
                    "Evidence: {}. The trials were imported, and what trained them is not recorded, so this trial \
                     cannot be trained again here.",
                    evidence(rank.as_ref())
                ),
                _ => format!(
                    "Evidence: {}. `%adopt {} --candidate {number_of_trial} --baseline J` trains it again beside \
                     trial J with new seeds.",
                    evidence(rank.as_ref()),
                    study.name
                ),
            });
        }
        Ok(match because {
            Some(because) => report.line(&format!("Because: {because}")),
            None => report,
        })
    }
}

/// The place of a trial among those of its study. Trials that differ in their seeds only are one configuration, whose
/// place is that of its median.
struct Rank {
    /// From 1, which is the best.
    rank: usize,
    /// The number of configurations that are ranked.
    of: usize,
    has_seeds: bool,
    /// The best one, by the number of its trial, and its objective.
    best: (u32, f64),
}

impl Rank {
    /// None if the trial's configuration is not ranked yet.
    fn of(trial: &Trial, trials: &[Trial], objective: &Objective) -> Option<Self> {
        let ranked = ranked_configurations(trials, objective);
        let is_own = |other: &Trial| other.number == trial.number;
        let own = ranked.iter().find(|configuration| configuration.trials.iter().any(|other| is_own(other)))?;
        let own = objective.direction.minimized(own.objective?);
        let values = ranked.iter().filter_map(|configuration| configuration.objective);
        let better = values.filter(|value| objective.direction.minimized(*value) < own).count();
        let best = ranked.first()?;
        Some(Self {
            rank: better + 1,
            of: ranked.len(),
            has_seeds: ranked.iter().any(|configuration| configuration.trials.len() > 1),
            best: (best.middle?.number, best.objective?),
        })
    }

    fn as_json(&self) -> Json {
        let (trial, objective) = self.best;
        json!({ "rank": self.rank, "of": self.of, "best": { "trial": trial, "objective": objective } })
    }

    fn caution(&self, trial: u32, metric: &str) -> String {
        let (best, objective) = self.best;
        let what = if self.has_seeds { "the configuration of trial" } else { "trial" };
        format!(
            "Caution: {what} {trial} is number {} of {} by {metric}; the best is trial {best} with {}.",
            self.rank,
            self.of,
            number(objective)
        )
    }
}

/// What the study alone says for a trial.
fn evidence(rank: Option<&Rank>) -> String {
    match rank {
        None => "one study, in which its configuration is not ranked yet".into(),
        Some(Rank { of: 1, has_seeds: false, .. }) => "the only trial with a result".into(),
        Some(Rank { of: 1, .. }) => "the only configuration with a result".into(),
        Some(Rank { rank, of, has_seeds, .. }) => {
            let all = if *has_seeds { "configurations" } else { "trials" };
            match *rank {
                1 => format!("the best of {of} {all}; part of its lead may be luck"),
                rank => format!("number {rank} of {of} {all}"),
            }
        }
    }
}

/// Whether a configuration was launched as the baseline of a workload.
pub fn has_launch(store: &Store, workload: &WorkloadReference) -> Result<bool> {
    Ok(launches(store)?.iter().any(|launch| is_of(launch, workload)))
}

fn is_of(launch: &Json, workload: &WorkloadReference) -> bool {
    serde_json::from_value::<WorkloadReference>(launch["workload_reference"].clone())
        .is_ok_and(|other| other.is_same_workload(workload))
}

/// Returns all launches, from the oldest to the newest.
pub fn launches(store: &Store) -> Result<Vec<Json>> {
    Ok(store.results(LAUNCH)?)
}

/// Whether a launch is one of this study, and not of a study of the same name that was deleted before.
pub fn is_of_study(launch: &Json, study: &StudyRecord) -> bool {
    let was_there = match launch["study_created"].as_f64() {
        Some(created) => (created - study.created).abs() < 1e-6,
        // Earlier versions did not record when the study was created.
        None => launch["launched"].as_f64().is_some_and(|launched| launched >= study.created),
    };
    launch["study"] == study.name && was_there
}

/// Whether the study of a launch is still in the store.
fn has_study(store: &Store, launch: &Json) -> Result<bool> {
    let study = store.study(launch["study"].as_str().unwrap_or_default())?;
    Ok(study.is_some_and(|study| is_of_study(launch, &study)))
}

/// The level of what `%adopt` found last of a launched trial, and whether it advised against the trial.
pub fn level(launch: &Json) -> Option<String> {
    let level = launch["adoption"]["level"].as_str()?;
    // Earlier versions recorded only what was found of candidates, and not whether they were rejected.
    let is_rejected = launch["rejected"].as_bool().unwrap_or(launch["adoption"]["adopt"] == false);
    Some(if is_rejected { format!("{level}, rejected") } else { level.into() })
}

/// Whether the record of a launch lacks something that `%adopt` found.
fn lacks_evidence(launch: &Json, comparisons: &[Comparison]) -> bool {
    match launch["comparisons"].as_array() {
        Some(known) => comparisons.iter().any(|found| !known.contains(&json!(found))),
        // Earlier versions recorded the last result only.
        None => comparisons.first().map(|newest| newest.result.clone()).unwrap_or_default() != launch["adoption"],
    }
}

/// Shows all launches.
fn all(store: Option<&Store>) -> Result<Report> {
    let mut all: Vec<Json> = store.map_or(Ok(vec![]), launches)?;
    all.reverse();
    let mut rows = Rows::new(&["workload", "study", "trial", "objective", "level", "because"]);
    for launch in &mut all {
        let is_deleted = match store {
            Some(store) => !has_study(store, launch)?,
            None => false,
        };
        rows.row(vec![
            text(&launch["workload"]),
            format!("{}{}", text(&launch["study"]), if is_deleted { " (deleted)" } else { "" }),
            launch["trial"].to_string(),
            format!("{} {}", text(&launch["metric"]), number_or_dash(launch["objective"].as_f64())),
            level(launch).unwrap_or("–".into()),
            text(&launch["because"]),
        ]);
        launch["deleted"] = json!(is_deleted);
    }
    let report = Report::new("launches", &json!({ "launches": all }));
    Ok(match all.len() {
        0 => report.line("Nothing was launched yet. `%launch STUDY --trial I` makes a trial the baseline."),
        count => report.line(&format!("Launches, the newest first ({count}):")).table(&rows),
    })
}

fn text(value: &Json) -> String {
    value.as_str().unwrap_or("–").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{context, definition};

    #[test]
    fn a_launch_belongs_to_the_study_that_was_there_then() {
        let folder = tempfile::tempdir().unwrap();
        let study = context(folder.path()).store().unwrap().create_study("s", &definition()).unwrap();
        let created = study.created;
        let record =
            |created: Json, launched: f64| json!({ "study": "s", "study_created": created, "launched": launched });
        let cases = [
            (record(json!(created), created + 5.0), true),
            (record(json!(created - 60.0), created + 5.0), false),
            // As earlier versions recorded it.
            (record(Json::Null, created + 5.0), true),
            (record(Json::Null, created - 5.0), false),
        ];
        for (launch, expected) in cases {
            assert_eq!(is_of_study(&launch, &study), expected, "{launch}");
        }
    }

    #[test]
    fn the_level_of_a_launch_says_whether_its_trial_was_rejected() {
        let adoption = |adopt: bool| json!({ "level": "L2", "adopt": adopt });
        let level_of = |launch: Json| level(&launch).unwrap_or_default();
        assert_eq!(level_of(json!({ "adoption": adoption(false), "rejected": false })), "L2");
        assert_eq!(level_of(json!({ "adoption": adoption(true), "rejected": true })), "L2, rejected");
        // As earlier versions recorded it.
        assert_eq!(level_of(json!({ "adoption": adoption(false) })), "L2, rejected");
        assert_eq!(level_of(json!({ "adoption": null })), "");
    }
}
