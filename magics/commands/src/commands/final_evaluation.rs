//! `%final STUDY --trial I`: evaluates a trial on the test set and records each use of that set (Playbook F8).

use crate::commands::sweep::changes;
use crate::commands::workload;
use crate::error::{ErrorName, MagicError, Result};
use crate::host::{Interrupt, Output};
use crate::magic::{Command, Context, Export, Invocation, Magic, Subject};
use crate::report::Report;
use crate::report::table::{Rows, number_or_dash};
use crate::studies::{trial_of, with_classes};
use crate::syntax::{Arguments, OptionSpec, Word};
use serde_json::json;
use tunebook_analysis::best_trial;
use tunebook_pool::{FinalEvaluation, evaluate_finally};
use tunebook_study::protocol::{TrialId, TrialRequest};
use tunebook_study::store::{self, trials_folder};
use tunebook_study::{Trial, TrialState, WorkloadReference};

pub const MAGIC: Magic = Magic {
    name: "final",
    line: true,
    body: None,
    usage: "%final STUDY --trial I [--accept-changes]",
    example: "%final depth --trial 7",
    summary: "Evaluate the best checkpoint of a trial on the test set, and record that it was done",
    help: "No other magic can reach the test set. Choose the trial by its validation results first. Each choice that \
        is made by test results makes those results less reliable, so every use is counted and shown (Playbook F8).",
    options: &[
        OptionSpec { name: "trial", value: Some("I"), help: "the number of the trial to evaluate" },
        OptionSpec {
            name: "accept-changes",
            value: None,
            help: "evaluate although files have changed since the trials ran",
        },
    ],
    subject: Subject::Study,
    export: Export::Comment,
    parse,
};

struct FinalMagic {
    arguments: Arguments,
    study: Word,
    trial: u32,
}

fn parse(Invocation { arguments, .. }: Invocation) -> Result<Box<dyn Command>> {
    let study = arguments.required(0, "the study")?.clone();
    arguments.at_most(1)?;
    let Some(trial) = arguments.small_count("trial", 1)? else {
        let message = "the trial is missing: `--trial I`";
        let help = Some("%study and %curves show the trials with their validation results".into());
        return Err(arguments.source.syntax_error(study.span.clone(), message, help));
    };
    Ok(Box::new(FinalMagic { arguments, study, trial }))
}

impl Command for FinalMagic {
    fn run(self: Box<Self>, context: &Context, output: &dyn Output, interrupt: &Interrupt) -> Result<()> {
        let (store, study) = context.study(&self.arguments.source, &self.study)?;
        if let WorkloadReference::Imported { .. } = study.definition.workload {
            let message =
                format!("`{}` holds {}: there is no model and no test set here", study.name, study.definition.workload);
            let (span, help) = (self.study.span.clone(), "evaluate the trial with the tool that it comes from");
            return Err(self.arguments.source.error(ErrorName::NoCheckpoint, span, message, Some(help.into())));
        }
        let trials = store.trials(&study)?;
        let trial: &Trial = trial_of(&self.arguments, "trial", &self.study, &trials, self.trial)?;
        if trial.state != TrialState::Complete {
            let reason = trial.reason.as_deref().map_or(String::new(), |reason| format!(" ({reason})"));
            let message = format!(
                "trial {} of `{}` is {}{reason}: its checkpoint is that of a training run that did not succeed, and an \
                 evaluation would use up the test set",
                trial.number, study.name, trial.state
            );
            let help = match best_trial(&trials, &study.definition.objective) {
                Some(best) => format!("the best complete trial is {}: `%final {} --trial {0}`", best.trial, study.name),
                None => "no trial of the study is complete".into(),
            };
            let span = self.arguments.option("trial").map_or(self.study.span.clone(), |word| word.span.clone());
            return Err(self.arguments.source.error(ErrorName::NoAnswer, span, message, Some(help)));
        }
        let changed = changes::changes(&store, &study)?;
        if !changed.is_empty() && !self.arguments.has("accept-changes") {
            let message = format!(
                "{} since the trials of `{}` ran: the test set may be another one, or hold examples that the trial was \
                 trained on",
                changes::in_words(&changed),
                study.name
            );
            let help = "undo the change, or train a new study on the new data. `--accept-changes` evaluates \
                nevertheless, and the result says so";
            return Err(MagicError::new(ErrorName::FilesChanged, message, Some(help.into())));
        }
        let directory = trials_folder(&context.store_file(), &study.name)?.join(trial.number.to_string());
        if !directory.join("best.safetensors").is_file() {
            let message =
                format!("trial {} of `{}` has no checkpoint in {}", trial.number, study.name, directory.display());
            let help = "programs and training functions keep their own checkpoints, and trials of %scaling keep none";
            return Err(MagicError::advising(ErrorName::NoCheckpoint, message, help));
        }
        let worker = workload::worker(context, &study.definition.workload, output, interrupt)?;
        let request = TrialRequest {
            trial: TrialId { study: study.name.clone(), number: trial.number },
            workload: study.definition.workload.clone(),
            params: trial.params.clone(),
            seed: trial.seed,
            objective: study.definition.objective.metric.clone(),
            direction: study.definition.objective.direction,
            directory,
            timeout: None,
            worker: None,
            until: None,
            noise_every: None,
            training_metrics: false,
            fit: None,
        };
        let worker = worker.as_ref().unwrap_or(&context.settings.worker);
        let answer = evaluate_finally(worker, &request, &context.added_environment())
            .map_err(|error| MagicError::new(ErrorName::WorkerError, error.to_string(), None))?;
        let (metrics, test_set, examples, classes) = match answer {
            FinalEvaluation::Done { metrics, test_set, examples, classes } => (metrics, test_set, examples, classes),
            FinalEvaluation::Problem { problem } => {
                let message = format!("trial {} of `{}` cannot be evaluated: {problem}", trial.number, study.name);
                return Err(MagicError::new(ErrorName::NoAnswer, message, None));
            }
        };
        let names: Vec<&str> = changed.iter().map(|change| change.what.as_str()).collect();
        let fields = json!({ "study": study.name, "trial": trial.number, "metrics": metrics, "test_set": test_set,
            "examples": examples, "classes": classes, "changed": names });
        let log = context.store()?;
        log.keep_result(&study, "final", &format!("{} at {}", trial.number, store::now()), &fields)?;
        let uses = log.results("final")?.iter().filter(|result| result["test_set"] == test_set.as_str()).count();
        let mut rows = Rows::new(&["metric", "test", "validation, at its best step"]);
        for (name, value) in &metrics {
            let valid = name.replace("test/", "valid/");
            let at_best = study.definition.objective.of(trial).filter(|_| valid == study.definition.objective.metric);
            rows.row(vec![name.clone(), number_or_dash(*value), number_or_dash(at_best.map(|(value, _)| value))]);
        }
        let uses_line = match uses {
            1 => "This is the first use of this test set.".to_string(),
            n => format!(
                "This test set has now been used {n} times. Its results are no longer independent of choices that were \
                 made after the first use."
            ),
        };
        let report = Report::new("final", &fields)
            .field("uses", uses)
            .line(&format!("Trial {} of {} on {examples} test examples.", trial.number, study.name))
            .table(&rows)
            .line(&uses_line);
        let report = with_classes(report, "the test examples", &classes);
        report.show(&context.charts, output);
        Ok(())
    }
}
