//! A sweep that goes on after its cell (`--background`), and its end by `%sweep stop NAME`.

use super::plan::SweepPlan;
use super::run_context::RunContext;
use super::train;
use crate::error::{ErrorName, MagicError, Result, suggest};
use crate::host::{Interrupt, Output, Stream};
use crate::magic::{Command, Context, How, Invocation};
use crate::syntax::{Arguments, Word};
use std::collections::HashSet;
use std::time::{Duration, Instant};
use tunebook_study::store::StudyWriter;

/// How long `%sweep stop` waits until the sweep has recorded what ran.
const PATIENCE: Duration = Duration::from_secs(10);

/// An error if this kernel runs the study in the background, so that another cell cannot train it or change its record.
pub fn check(context: &Context, study: &str) -> Result<()> {
    let store = context.store_file();
    if !context.background.running().iter().any(|sweep| sweep.study == study && sweep.store == store) {
        return Ok(());
    }
    let message = format!("the study `{study}` runs in the background of this kernel");
    let help = format!("`%sweeps` shows how far it is, and `%sweep stop {study}` ends it");
    Err(MagicError::new(ErrorName::StudyBusy, message, Some(help)))
}

/// Trains the trials with these numbers on a thread of its own. Returns once the chart is on the screen. `session` was
/// read on the thread of the cell.
pub fn start(
    (context, session): (&Context, RunContext),
    plan: SweepPlan,
    writer: StudyWriter,
    numbers: Vec<u32>,
    output: &dyn Output,
) -> Result<()> {
    let (Some(shared), Some(detached)) = (context.shared(), output.detached()) else {
        let message = "a sweep in the background needs a cell, and there is none here";
        let help = Some("leave `--background` out: the sweep then runs to its end".into());
        return Err(MagicError::new(ErrorName::NoSession, message, help));
    };
    let (name, to_train) = (plan.name.clone(), numbers.len());
    let recorded = writer.store().trials(writer.study())?;
    let trained: HashSet<u32> = numbers.iter().copied().collect();
    let stays = |number: u32, again: bool| !again && !trained.contains(&number);
    let stay = recorded.iter().filter(|trial| stays(trial.number, trial.state.runs_again())).count();
    let (shows, shown) = crossbeam_channel::bounded::<()>(0);
    context.background.start(&name, session.store.clone(), [to_train, stay + to_train], move |interrupt| {
        // The channel is disconnected once the chart is shown, or after an error before that.
        let result = train((&*shared, &session), &plan, writer, numbers, &*detached, interrupt, || drop(shows));
        if let Err(error) = &result
            && error.name != ErrorName::Interrupted
        {
            detached.print(Stream::Stderr, &format!("The sweep `{}` ended: {}\n", plan.name, error.in_one_line()));
        }
        result
    });
    let _ = shown.recv();
    Ok(())
}

/// Who runs the study of this name, if another kernel does.
fn run_elsewhere(context: &Context, study: &str) -> Result<Option<String>> {
    let Some(store) = context.store_to_read()? else { return Ok(None) };
    let Some(study) = store.study(study)? else { return Ok(None) };
    Ok(store.writer_of(&study)?)
}

/// `%sweep stop NAME`.
pub struct Stop {
    arguments: Arguments,
    study: Word,
}

impl Stop {
    /// None if the invocation is a sweep.
    pub fn read(invocation: &Invocation) -> Result<Option<Self>> {
        let arguments = &invocation.arguments;
        let is_stop = arguments.positional.first().is_some_and(|word| word.text == "stop");
        if invocation.body.is_some() || !is_stop {
            return Ok(None);
        }
        let study = arguments.required(1, "the study")?.clone();
        arguments.at_most(2)?;
        Ok(Some(Self { arguments: arguments.clone(), study }))
    }
}

impl Command for Stop {
    fn run(self: Box<Self>, context: &Context, output: &dyn Output, _: &Interrupt) -> Result<()> {
        let running = context.background.running();
        let name = &self.study.text;
        let Some(sweep) = running.iter().find(|sweep| sweep.study == *name) else {
            if let Some(owner) = run_elsewhere(context, name)? {
                let message = format!("`{name}` is run by {owner}; stop it there");
                return Err(self.arguments.source.error(ErrorName::StudyBusy, self.study.span.clone(), message, None));
            }
            let names: Vec<&str> = running.iter().map(|sweep| sweep.study.as_str()).collect();
            let help = match names.is_empty() {
                true => Some("no sweep runs in the background; an interrupt ends one that runs in its cell".into()),
                false => suggest(name, names),
            };
            let message = format!("no sweep `{name}` runs in the background");
            return Err(self.arguments.source.error(ErrorName::UnknownStudy, self.study.span.clone(), message, help));
        };
        sweep.stop();
        let text = match sweep.wait(Instant::now() + PATIENCE).map(|end| end.how) {
            Some(How::Finished) => format!("The sweep `{name}` had just ended by itself.\n"),
            Some(How::Failed(why)) => format!("The sweep `{name}` ended with an error: {why}\n"),
            Some(How::Stopped) => {
                format!("The sweep `{name}` is stopped. What ended is recorded; `--resume` continues.\n")
            }
            None => {
                format!("The sweep `{name}` was told to end and has not done so yet; `%sweeps` shows when it has.\n")
            }
        };
        output.print(Stream::Stdout, &text);
        Ok(())
    }
}
