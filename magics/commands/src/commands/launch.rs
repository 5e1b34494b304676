//! `%launch STUDY --trial I`: the configuration of a trial becomes the baseline of its workload (Playbook D2). It is
//! recorded with its evidence, and with the baseline that it replaces.

use crate::commands::workload;
use crate::error::{ErrorName, Result};
use crate::host::{Interrupt, Output};
use crate::magic::{Command, Context, Export, Invocation, Magic, Subject};
use crate::report::Report;
use crate::report::table::{Rows, number, number_or_dash, params};
use crate::studies::{flags, trial_of};
use crate::syntax::{Arguments, Word, option};
use serde_json::{Value as Json, json};
use tunebook_analysis::estimated_percent;
use tunebook_study::store::{self, Store};
use tunebook_study::{TrialState, WorkloadReference};

pub const MAGIC: Magic = Magic {
    name: "launch",
    line: true,
    body: None,
    usage: "%launch STUDY --trial I [--because TEXT]\n\n%launch",
    example: "%launch depth --trial 7 --because \"It is deep enough.\"",
    summary: "Make the configuration of a trial the baseline of its workload, and record the evidence",
    help: "A baseline is the best configuration that a project has agreed on. Changing it is an act of its own, with its \
        evidence: the study, its number of trials, and what `%adopt` found when it trained the configuration again. \
        `--because` says in words why, for example that the gain outweighs the added complexity. Without a study it shows \
        all launches, the newest first. `%plan` asks for a decay of the learning rate after the first launch; nothing else depends on it.",
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
        let launches = store.results(LAUNCH)?;
        let previous = launches.iter().rev().find(|launch| is_of(launch, workload));
        let previous = previous.map(|launch| json!({ "study": launch["study"], "trial": launch["trial"] }));
        let adoption = adoption(&store, &study.name, number_of_trial)?;
        let known = workload::known(context).unwrap_or_default();
        let description = known.iter().find(|known| known.reference == *workload).map(|known| &known.description);
        let flags = flags(&store, &study, &trials, objective, description)?;
        let learns = !flags.worse_than_chance.contains(&number_of_trial);
        let because = self.arguments.option("because").map(|word| word.text.clone());
        let fields = json!({
            "workload": workload.to_string(), "study": study.name, "trial": number_of_trial, "params": trial.params,
            "metric": objective.metric, "objective": value, "trials": trials.len(), "adoption": adoption,
            "because": because, "previous": previous, "launched": store::now(),
            "chance": flags.chance, "better_than_chance": flags.chance.map(|_| learns),
        });
        let mut record = fields.clone();
        record["workload_reference"] = json!(workload);
        let key = format!("{} {number_of_trial} at {}", study.name, store::now());
        context.store()?.keep_conclusion(LAUNCH, &key, &record)?;
        let mut report = Report::new(LAUNCH, &fields).line(&format!(
            "Trial {number_of_trial} of {} is the baseline of {workload} now: {} ({} {}).",
            study.name,
            params(&study.definition, &trial.params),
            objective.metric,
            number(value)
        ));
        if let Some(previous) = &previous {
            report = report.line(&format!("It replaces trial {} of {}.", previous["trial"], text(&previous["study"])));
        }
        if let Some(chance) = flags.chance {
            let gain = objective.direction.minimized(chance) - objective.direction.minimized(value);
            let (chance, gain) = (number(chance), number(gain));
            report = report.line(&match learns && !flags.outlier.contains(&number_of_trial) {
                true => format!("A model that has learned nothing has {chance}; the baseline is better by {gain}."),
                false => format!(
                    "Caution: a model that has learned nothing has {chance}, and this trial is hardly better ({gain}). A \
                     baseline has to perform reasonably before it is improved (Playbook C2)."
                ),
            });
        }
        report = report.line(&match &adoption {
            Some(found) => format!(
                "Evidence (level {}): trained again {} times against trial {}, the difference is {}, and the probability \
                 that it is better is {}.",
                text(&found["level"]),
                found["repeats"],
                found["baseline"],
                number_or_dash(found["difference"].as_f64()),
                found["probability_better"].as_f64().map_or("–".into(), |share| estimated_percent(share, 0))
            ),
            None if matches!(workload, WorkloadReference::Imported { .. }) => format!(
                "Evidence: the best of one study of {} trials, which is chosen for its luck too. They were imported, \
                 and what trained them is not recorded, so this trial cannot be trained again here.",
                trials.len()
            ),
            None => format!(
                "Evidence: the best of one study of {} trials, which is chosen for its luck too. `%adopt {} --candidate \
                 {number_of_trial} --baseline J` trains it again beside trial J with new seeds.",
                trials.len(),
                study.name
            ),
        });
        Ok(match because {
            Some(because) => report.line(&format!("Because: {because}")),
            None => report,
        })
    }
}

/// Whether a configuration was launched as the baseline of a workload.
pub fn has_launch(store: &Store, workload: &WorkloadReference) -> Result<bool> {
    Ok(store.results(LAUNCH)?.iter().any(|launch| is_of(launch, workload)))
}

fn is_of(launch: &Json, workload: &WorkloadReference) -> bool {
    serde_json::from_value::<WorkloadReference>(launch["workload_reference"].clone())
        .is_ok_and(|other| other.is_same_workload(workload))
}

/// Returns what `%adopt` found last of a trial as the candidate.
fn adoption(store: &Store, study: &str, trial: u32) -> Result<Option<Json>> {
    let is_it = |result: &Json| result["study"] == study && result["candidate"] == trial;
    Ok(store.results("adoption")?.into_iter().rev().find(is_it))
}

/// Shows all launches.
fn all(store: Option<&Store>) -> Result<Report> {
    let launches: Vec<Json> = match store {
        Some(store) => store.results(LAUNCH)?.into_iter().rev().collect(),
        None => vec![],
    };
    let mut rows = Rows::new(&["workload", "study", "trial", "objective", "level", "because"]);
    for launch in &launches {
        let level = launch["adoption"]["level"].as_str().unwrap_or("–");
        rows.row(vec![
            text(&launch["workload"]),
            text(&launch["study"]),
            launch["trial"].to_string(),
            format!("{} {}", text(&launch["metric"]), number_or_dash(launch["objective"].as_f64())),
            level.to_string(),
            text(&launch["because"]),
        ]);
    }
    let report = Report::new("launches", &json!({ "launches": launches }));
    Ok(match launches.len() {
        0 => report.line("Nothing was launched yet. `%launch STUDY --trial I` makes a trial the baseline."),
        count => report.line(&format!("Launches, the newest first ({count}):")).table(&rows),
    })
}

fn text(value: &Json) -> String {
    value.as_str().unwrap_or("–").to_string()
}
