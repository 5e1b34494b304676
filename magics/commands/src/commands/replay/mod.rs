//! `%replay STUDY`: runs the trials of a study again from their record alone, and says what differs (Playbook H11).

mod bundled;
mod display;
mod environment;
mod record;
mod report;

use self::display::ReplayDisplay;
use self::record::Record;
use crate::commands::seeds::rerun::{ACCEPT_CHANGES, PARALLEL, TIMEOUT};
use crate::commands::sweep::changes::{self, Change};
use crate::commands::sweep::engine::{self, RunOutcome};
use crate::commands::sweep::plan::{SweepOptions, SweepPlan};
use crate::commands::workload;
use crate::error::{ErrorName, MagicError, Result};
use crate::host::{Interrupt, Output};
use crate::magic::{Command, Context, Export, Invocation, Magic, Subject};
use crate::studies::{must_run_again, replay_of, trial_of};
use crate::syntax::{Arguments, PNG, Word, option};
use std::collections::BTreeSet;
use std::sync::Arc;
use tunebook_study::store::StudyRecord;

pub const MAGIC: Magic = Magic {
    name: "replay",
    line: true,
    body: None,
    usage: "%replay STUDY [--trials N|--trial I] [--again]",
    example: "%replay depth --trials 2",
    summary: "Run a study again from its record alone, and say whether the results are the same",
    help: "Each trial runs again with the hyperparameters, the seed and the workload that the store recorded, as a \
        trial of a separate study, `STUDY.replay`; the study itself stays as it is. Then every value of every metric \
        is compared to the last bit, except times. The result says what differs, also of the environment: versions, \
        devices, and the files that the trials read. On a processor, the built-in workloads give the same bits.\n\n\
        Trials that were interrupted, or that ran out of time, are left out and counted. If a file has changed since \
        the trials ran, nothing runs without `--accept-changes`. The same line continues after an interrupt, and shows \
        the record once all is there; `--again` runs everything again.\n\n\
        In the store of an unpacked bundle, a study may name files by the absolute paths that they had where the \
        bundle was made. If such a file is not there, or is another one, the trials use the file in the bundle, and \
        the result says so.",
    options: &[
        option("trials", Some("N"), "run only the first N trials again"),
        option("trial", Some("I"), "run only this trial again"),
        option("again", None, "delete the earlier replay and run everything again"),
        PARALLEL,
        TIMEOUT,
        ACCEPT_CHANGES,
        PNG,
    ],
    subject: Subject::Study,
    export: Export::Comment,
    parse,
};

struct ReplayMagic {
    arguments: Arguments,
    study: Word,
    trials: Option<u32>,
    trial: Option<u32>,
    options: SweepOptions,
}

fn parse(Invocation { arguments, .. }: Invocation) -> Result<Box<dyn Command>> {
    let study = arguments.required(0, "the study")?.clone();
    arguments.at_most(1)?;
    let (trials, trial) = (arguments.small_count("trials", 1)?, arguments.small_count("trial", 1)?);
    if let Some(word) = arguments.option("trial").filter(|_| trials.is_some()) {
        let message = "give only one of `--trials` (the first N) and `--trial` (a single one)";
        return Err(arguments.source.syntax_error(word.span.clone(), message, None));
    }
    let options = SweepOptions {
        parallel: arguments.small_count("parallel", 1)?.map(|n| n as usize),
        timeout: arguments.duration("timeout")?,
        accept_changes: arguments.has("accept-changes"),
        ..SweepOptions::default()
    };
    Ok(Box::new(ReplayMagic { arguments, study, trials, trial, options }))
}

impl Command for ReplayMagic {
    fn run(self: Box<Self>, context: &Context, output: &dyn Output, interrupt: &Interrupt) -> Result<()> {
        let (store, study) = context.study(&self.arguments.source, &self.study)?;
        must_run_again(&self.arguments, &self.study, &study)?;
        let record = self.select(Record::of(context, &store, &study)?)?;
        let changed = changes::changes(&store, &study)?;
        if self.arguments.has("again") {
            self.refuse(context, &study, &changed)?;
        }
        let earlier = record::earlier(context, &study, self.arguments.has("again")).map_err(|error| self.at(error))?;
        let missing = record.missing(earlier.as_ref().map_or(&[], |(_, trials)| trials));
        let mut outcome = None;
        let mut display = ReplayDisplay::new(context, output, &store, &study, &record)?;
        if !missing.is_empty() {
            self.refuse(context, &study, &changed)?;
            if let Some((replay, _)) = &earlier
                && let Some(problem) = environment::moved(context, replay, &self.options)?
            {
                let message = format!("the replay so far ran elsewhere: {problem}, and more trials would mix both");
                let help = "`--again` runs all trials again".to_string();
                return Err(self.error(ErrorName::StudyExists, message, Some(help)));
            }
            match self.train(context, &study, &record, missing, &mut display, (output, interrupt)) {
                Ok(ended) => outcome = Some(ended),
                Err(error) => {
                    display.fail(&error);
                    return Err(error);
                }
            }
        }
        let report = report::report(context, &study, &record, &display, outcome)?;
        let report = display.end(report);
        if outcome == Some(RunOutcome::Interrupted) {
            let message = "%replay was interrupted; trials that ended are recorded, and the same line continues";
            return Err(MagicError::interrupted(message));
        }
        let inputs = serde_json::json!([self.trials, self.trial]).to_string();
        context.store()?.keep_result(&study, "replay", &inputs, &report.result())?;
        context.keep_shown(self.arguments.source.text(), &study.name, &report)
    }
}

impl ReplayMagic {
    /// An error that points at the study.
    fn error(&self, name: ErrorName, message: String, help: Option<String>) -> MagicError {
        self.arguments.source.error(name, self.study.span.clone(), message, help)
    }

    /// An error if files have changed, unless the user accepts it.
    fn refuse(&self, context: &Context, study: &StudyRecord, changed: &[Change]) -> Result<()> {
        if changed.is_empty() || self.options.accept_changes {
            return Ok(());
        }
        let message = format!(
            "{} since the trials of `{}` ran: they would train something else",
            changes::in_words(changed),
            study.name
        );
        let help = match bundled::project(&context.store_file()) {
            Some(_) => format!(
                "the bundle has not what the trials read. `tunebook replay FILE.zip --to FOLDER` keeps the unpacked \
                 bundle: put that version of the file into FOLDER/project, and run `TUNEBOOK_STUDIES=../studies.db \
                 tunebook replay {}` there",
                shell_words::quote(&study.name)
            ),
            None => format!(
                "undo the change; `%study {}` shows the recorded git commit. `--accept-changes` runs the trials \
                 nevertheless, and the result says what changed",
                study.name
            ),
        };
        Err(self.error(ErrorName::FilesChanged, message, Some(help)))
    }

    /// Makes an error about the earlier replay point at the study.
    fn at(&self, error: MagicError) -> MagicError {
        match error.name {
            ErrorName::StudyExists => self.error(error.name, error.message, error.help),
            _ => error,
        }
    }

    /// The trials that the options choose.
    fn select(&self, mut record: Record) -> Result<Record> {
        if let Some(number) = self.trial {
            let trial = trial_of(&self.arguments, "trial", &self.study, &record.all, number)?;
            if !record.trials.contains_key(&number) {
                let reason = trial.reason.as_deref().map_or(String::new(), |reason| format!(" ({reason})"));
                let message = format!("trial {number} is {}{reason}: it has no end to compare with", trial.state);
                let span = self.arguments.option("trial").map_or(self.study.span.clone(), |word| word.span.clone());
                let help = format!("choose another trial: `%study {}` lists them", self.study.text);
                return Err(self.arguments.source.error(ErrorName::NoAnswer, span, message, Some(help)));
            }
            record.trials.retain(|other, _| *other == number);
            record.left_out = Default::default();
        }
        if let Some(first) = self.trials {
            let numbers: BTreeSet<u32> = record.trials.keys().copied().take(first as usize).collect();
            record.trials.retain(|number, _| numbers.contains(number));
        }
        if record.trials.is_empty() {
            let message = format!("no trial of `{}` has ended in a way that could be compared", self.study.text);
            let help = "trials that were interrupted or ran out of time are left out".to_string();
            return Err(self.error(ErrorName::NoAnswer, message, Some(help)));
        }
        Ok(record)
    }

    fn train(
        &self,
        context: &Context,
        study: &StudyRecord,
        record: &Record,
        missing: Vec<u32>,
        display: &mut ReplayDisplay<'_>,
        (output, interrupt): (&dyn Output, &Interrupt),
    ) -> Result<RunOutcome> {
        let definition = record::definition(study);
        let worker = workload::worker(context, &definition.workload, output, interrupt)?;
        let mut writer = record::writer(context, study)?;
        let crates = workload::crate_differences(context, &definition.workload)?;
        if !crates.is_empty() {
            writer.store().keep_result(writer.study(), environment::CRATES, "", &serde_json::json!(crates))?;
        }
        // Another kernel may have run trials before this one became the writer.
        let recorded = writer.store().trials(writer.study())?;
        let asked: BTreeSet<u32> = missing.iter().copied().collect();
        let missing: Vec<u32> = record.missing(&recorded).into_iter().filter(|n| asked.contains(n)).collect();
        changes::settle(&writer, &missing, self.options.accept_changes)?;
        writer.retry_failed();
        let last = missing.iter().max().copied().unwrap_or(0);
        writer.ask(last)?;
        let options = SweepOptions { given: Arc::new(record.given(&missing)), ..self.options.clone() };
        // The study of the replay keeps the recorded definition.
        let definition = bundled::definition(&record.bundled, definition);
        let plan = SweepPlan { name: replay_of(study), definition, trials: last, options, worker };
        display.show(writer.study());
        engine::run(context, &plan, &mut writer, missing, display, interrupt)
    }
}
