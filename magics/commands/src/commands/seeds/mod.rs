//! `%seeds STUDY --trial I --repeats N`: trains one configuration again with new seeds, and says how much its objective
//! varies (the trial variance, Playbook F1 and F3).

pub mod display;
pub mod rerun;

use self::display::{ArmCaption, RerunDisplay};
use self::rerun::{ACCEPT_CHANGES, Arm, PARALLEL, RerunOptions, Rerunner, Reruns, TIMEOUT, number_of};
use crate::commands::sweep::changes;
use crate::error::{ErrorName, MagicError, Result};
use crate::host::{Interrupt, Output};
use crate::magic::{Command, Context, Export, Invocation, Magic, Subject};
use crate::report::Report;
use crate::report::table::{interval_or_dash, number, number_or_dash};
use crate::studies::{JUDGING, Judging, validation};
use crate::syntax::{Arguments, PNG, Word, option};
use serde_json::json;
use tunebook_analysis::{Seeds, seeds};
use tunebook_study::{TrialState, WorkloadReference};

/// The default of `--repeats`.
pub const DEFAULT_REPEATS: u32 = 5;

pub const MAGIC: Magic = Magic {
    name: "seeds",
    line: true,
    body: None,
    usage: "%seeds STUDY --trial I [--repeats N]",
    example: "%seeds depth --trial 7 --repeats 3",
    summary: "Train one configuration again with new seeds: how much its objective varies between training runs",
    help: "The runs have the hyperparameters of the trial and new seeds, never those of the study. With `--repeats` in \
        the study, the trial stands for its configuration. The runs are trials of a separate study, `STUDY.trialI`. If \
        you run the line again, nothing is trained and the record is shown; a larger `--repeats`, or the same line \
        after an interrupt, trains what is missing. `%adopt` uses the same runs.\n\n\
        The result says how large a difference between two configurations of the study is explained by chance \
        (Playbook F1, F3).",
    options: &[
        option("trial", Some("I"), "the number of the trial"),
        option("repeats", Some("N"), "new runs (default: 5)"),
        option(
            "vary",
            Some("SOURCE"),
            "the randomness that varies: all (default), or init, order, dropout or augment alone",
        ),
        PARALLEL,
        TIMEOUT,
        ACCEPT_CHANGES,
        JUDGING[0],
        JUDGING[1],
        JUDGING[2],
        PNG,
    ],
    subject: Subject::Study,
    export: Export::Comment,
    parse,
};

struct SeedsMagic {
    arguments: Arguments,
    study: Word,
    trial: u32,
    options: RerunOptions,
    judging: Judging,
}

fn parse(Invocation { arguments, .. }: Invocation) -> Result<Box<dyn Command>> {
    let study = arguments.required(0, "the study")?.clone();
    arguments.at_most(1)?;
    let trial = number_of(&arguments, "trial")?;
    let options = RerunOptions::new(&arguments, DEFAULT_REPEATS)?;
    let judging = Judging::new(&arguments)?;
    Ok(Box::new(SeedsMagic { arguments, study, trial, options, judging }))
}

impl Command for SeedsMagic {
    fn run(self: Box<Self>, context: &Context, output: &dyn Output, interrupt: &Interrupt) -> Result<()> {
        let (store, study) = context.study(&self.arguments.source, &self.study)?;
        let trials = store.trials(&study)?;
        let objective = self.judging.objective(&self.arguments.source, &study.definition, &trials)?;
        let rerunner = Rerunner {
            context,
            arguments: &self.arguments,
            word: &self.study,
            study: &study,
            trials: &trials,
            objective: &objective,
            options: &self.options,
        };
        let arm = rerunner.arm("trial", self.trial)?;
        let captions = vec![ArmCaption { name: format!("trial {}", self.trial), recorded: arm.recorded }];
        let title = format!("{}: new runs of trial {}", study.name, self.trial);
        let mut display = RerunDisplay::new(context, output, title, &objective, captions, self.options.repeats);
        let (mut reruns, is_interrupted) = match rerunner.run(&[&arm], &mut display, output, interrupt) {
            Ok(done) => done,
            Err(error) => {
                display.fail(&error);
                return Err(error);
            }
        };
        let Some(reruns) = reruns.pop() else { return Ok(()) };
        let found = seeds(&reruns.trials, &trials, &objective);
        let precision = validation(&reruns.trials, &objective, found.runs.mean, found.gap);
        let mut report = Report::new("seeds", &found)
            .field("study", &study.name)
            .field("trial", self.trial)
            .field("repeats", self.options.repeats)
            .field("vary", self.arguments.option("vary").map_or("all", |word| word.text.as_str()))
            .field("recorded", arm.recorded)
            .field("runs_study", &arm.study)
            .field("run_seeds", rerun::seeds_of(&self.options, &reruns.trials))
            .field("validation", precision.as_ref().map(|(precision, _)| precision));
        for sentence in self.sentences(&arm, &reruns, &found, &study.definition.workload, is_interrupted) {
            report = report.line(&sentence);
        }
        report = precision.iter().fold(report, |report, (_, sentence)| report.line(sentence));
        if let Some(note) = changes::note(&changes::changes(&store, &study)?) {
            report = report.line(&note);
        }
        if !is_interrupted {
            let inputs = json!([arm.study, self.options.repeats, objective]).to_string();
            context.store()?.keep_result(&study, "seeds", &inputs, &report.result())?;
        }
        let report = display.end(report, &[&reruns.trials]);
        if !is_interrupted {
            context.keep_shown(self.arguments.source.text(), &study.name, &report)?;
        }
        if is_interrupted {
            return Err(interrupted("%seeds"));
        }
        if found.runs.values.is_empty() {
            return Err(no_run(&rerunner, "trial", &reruns));
        }
        Ok(())
    }
}

/// The error of an interrupted magic that trains again.
pub fn interrupted(magic: &str) -> MagicError {
    MagicError::interrupted(format!(
        "{magic} was interrupted; runs that ended are recorded, and the same line continues"
    ))
}

/// The error of a configuration none of whose new runs counts.
pub fn no_run(rerunner: &Rerunner<'_>, option: &str, reruns: &Reruns) -> MagicError {
    let failed = reruns.trials.iter().find(|trial| trial.state == TrialState::Failed);
    let reason = failed.and_then(|trial| trial.reason.as_deref()).unwrap_or("no reason was given");
    let message = format!("no new run of this trial has a result; the first one failed: {reason}");
    let help = "fix the cause and run the same line again";
    rerunner.arguments.source.error(ErrorName::NoAnswer, rerunner.span(option), message, Some(help.into()))
}

impl SeedsMagic {
    fn sentences(
        &self,
        arm: &Arm,
        reruns: &Reruns,
        found: &Seeds,
        workload: &WorkloadReference,
        is_interrupted: bool,
    ) -> Vec<String> {
        let (runs, metric, trial) = (&found.runs, &found.metric, self.trial);
        let what = format!("Trial {trial}");
        let mut said = vec![];
        if is_interrupted {
            said.push("Interrupted; the same line continues.".to_string());
        } else if !reruns.trained {
            said.push("Nothing was trained: all requested runs are recorded.".into());
        }
        if let Some(mean) = runs.mean {
            said.push(format!(
                "{metric} of trial {trial} over {} new runs: mean {} (95 %: {}), standard deviation {} (95 %: {}).",
                runs.feasible(),
                number(mean),
                interval_or_dash(runs.mean_interval),
                number_or_dash(runs.standard_deviation),
                interval_or_dash(runs.standard_deviation_interval)
            ));
            said.push(beside_record(&what, arm, runs.next_run()));
        }
        said.extend(rerun::problems(&what, &reruns.trials));
        if rerun::is_constant(&runs.values) {
            said.push(rerun::constant_note(&what, &runs.values, matches!(workload, WorkloadReference::Command(_))));
        }
        if let (Some(chance), Some(gap)) = (found.chance_difference.filter(|chance| *chance > 0.0), found.gap) {
            said.push(format!(
                "If other configurations vary as much, two equal ones of this study differ by less than {} in 95 % of \
                 cases. The best and the second best differ by {}, {}. Of the {} other configurations, {} lie within \
                 that distance of the best.",
                number(chance),
                number(gap),
                if gap < chance { "which chance explains" } else { "which is more than that" },
                found.others,
                found.within
            ));
        }
        said
    }
}

/// Says where the recorded value lies beside the new runs.
pub fn beside_record(what: &str, arm: &Arm, next_run: Option<[f64; 2]>) -> String {
    let of = if arm.seeds > 1 { format!(", the median of {} seeds", arm.seeds) } else { String::new() };
    let recorded = format!("{what}: the study recorded {}{of}", number(arm.recorded));
    match next_run {
        Some([low, high]) if low < high => {
            format!("{recorded}. Another run lies between {} and {} in 95 % of cases.", number(low), number(high))
        }
        _ => format!("{recorded}."),
    }
}
