//! `%curves STUDY`: the training curves of the best trials, or of one trial.

use crate::error::{ErrorName, MagicError, Result};
use crate::host::{Interrupt, Output};
use crate::magic::{Command, Context, Export, Invocation, Magic, Subject};
use crate::report::Report;
use crate::report::table::{self, Rows, number};
use crate::studies::{JUDGING, Judging, trial_of};
use crate::syntax::{Arguments, OptionSpec, Word};
use tunebook_analysis::{curves, ranked};
use tunebook_study::Trial;
use tunebook_study::store::trials_folder;

pub const MAGIC: Magic = Magic {
    name: "curves",
    line: true,
    body: None,
    usage: "%curves STUDY [--best N | --trial I]",
    summary: "Training curves: the metrics of trials at each step, with the best checkpoint and the gradient norm",
    help: "Without an option, it shows the three best trials. `--trial I` shows any trial, with the reason of its end \
        and the end of its log (Playbook E6).",
    options: &[
        OptionSpec { name: "best", value: Some("N"), help: "the N best trials (default: 3)" },
        OptionSpec { name: "trial", value: Some("I"), help: "this trial, however it ended" },
        JUDGING[0],
        JUDGING[1],
        JUDGING[2],
    ],
    subject: Subject::Study,
    export: Export::Comment,
    parse,
};

struct ShowCurves {
    arguments: Arguments,
    study: Word,
    best: usize,
    trial: Option<u32>,
    judging: Judging,
}

fn parse(Invocation { arguments, .. }: Invocation) -> Result<Box<dyn Command>> {
    let study = arguments.required(0, "the study")?.clone();
    arguments.at_most(1)?;
    let best = arguments.small_count("best", 1)?.map(|n| n as usize);
    let trial = arguments.small_count("trial", 1)?;
    if let (Some(_), Some(_), Some(word)) = (best, trial, arguments.option("trial")) {
        return Err(arguments.source.syntax_error(word.span.clone(), "give only one of `--best` and `--trial`", None));
    }
    let judging = Judging::new(&arguments)?;
    Ok(Box::new(ShowCurves { arguments, study, best: best.unwrap_or(3), trial, judging }))
}

impl Command for ShowCurves {
    fn run(self: Box<Self>, context: &Context, output: &dyn Output, _: &Interrupt) -> Result<()> {
        let source = &self.arguments.source;
        let (store, study) = context.study(source, &self.study)?;
        let trials = store.trials(&study)?;
        let objective = self.judging.objective(source, &study.definition, &trials)?;
        let chosen: Vec<&Trial> = match self.trial {
            None => ranked(&trials, &objective).into_iter().take(self.best).collect(),
            Some(number) => vec![trial_of(&self.arguments, "trial", &self.study, &trials, number)?],
        };
        if chosen.is_empty() {
            let message =
                format!("no trial of `{}` is complete and has a value of `{}` yet", study.name, objective.metric);
            let help = "`--trial I` shows any trial, however it ended";
            return Err(MagicError::advising(ErrorName::NoAnswer, message, help));
        }
        let mut measured = vec![];
        for trial in &chosen {
            measured.push((*trial, store.measurements(&study, trial.number)?));
        }
        let result = curves(&measured, &objective);
        let best = format!("best {}", objective.metric);
        let mut rows = Rows::new(&["trial", "state", &best, "at step", "hyperparameters that vary"]);
        for trial in &chosen {
            let reached = objective.of(trial);
            rows.row(vec![
                trial.number.to_string(),
                trial.state.to_string(),
                reached.map_or("–".into(), |(value, _)| number(value)),
                reached.map_or("–".into(), |(_, step)| step.to_string()),
                table::params(&study.definition, &trial.params),
            ]);
        }
        let mut report = Report::new("curves", &result).field("study", &study.name).table(&rows);
        if let (Some(number), Some(trial)) = (self.trial, chosen.first()) {
            if let Some(reason) = &trial.reason {
                report = report.line(&format!("Trial {number} {}: {reason}.", trial.state));
            }
            let log = trials_folder(&context.store_file(), &study.name)?.join(number.to_string()).join("log.txt");
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            let tail: Vec<&str> = text.lines().rev().take(10).collect();
            if !tail.is_empty() {
                report = report.line(&format!("The end of its log ({}):", log.display()));
                for line in tail.into_iter().rev() {
                    report = report.line(line);
                }
            }
        }
        if result.trials.iter().any(|curve| !curve.metrics.is_empty()) {
            report = report.chart(tunebook_charts::curves(&study.name, &objective.metric, &result));
        }
        report.show(&context.charts, output);
        Ok(())
    }
}
