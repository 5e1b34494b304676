//! `%steps WORKLOAD`: an initial number of training steps, from constant learning rates without regularization
//! (Playbook G5, G6). `%steps STUDY --promote FACTOR`: a longer round of a study (G8 to G11).

mod display;
mod plan;
mod promote;
mod report;
mod trials;

use self::display::StepsDisplay;
use self::plan::StepsOptions;
use self::promote::Promote;
use self::trials::{StepsTuner, Trained};
use crate::commands::sweep::engine::{self, RunOutcome};
use crate::commands::workload::{self, Workload};
use crate::error::{ErrorName, MagicError, Result};
use crate::host::{Interrupt, Output};
use crate::magic::{Command, Context, Export, Invocation, Magic, Subject};
use crate::probing::{Prober, SET, TargetDevice, data_of};
use crate::syntax::{Arguments, PNG, option};
use tunebook_study::HyperparameterDomain;

/// A workload that does not know its number of examples declares a larger batch size than this as possible.
const MANY: f64 = 1e9;

pub const MAGIC: Magic = Magic {
    name: "steps",
    line: true,
    body: None,
    usage: "%steps WORKLOAD [--steps N] [--lr A..B] [--set hp=v]… [options]\n\n%steps STUDY --promote FACTOR",
    example: "%steps digits_mlp --steps 100",
    summary: "An initial number of training steps: how long the fastest constant learning rate takes to fit the \
        training examples",
    help: "It trains one trial for each learning rate of a grid, for N steps at most, with a constant learning rate \
        and without regularization and augmentation. At each evaluation it computes the error on all training \
        examples. A trial fits, and ends, if that error is 0 at two evaluations in a row. The fastest learning rate is \
        then trained with additional seeds. Their median is the initial `max_train_steps` (Playbook G5), and its \
        interval is between order statistics.\n\n\
        If the fastest learning rate is at an edge of the grid, the grid is widened, at most twice. If it still is, or \
        if no trial fits, there is no number: the result says why, and which cell comes next.\n\n\
        A model may have regularization that no hyperparameter switches off. Then no trial may fit; `--fit EPS` \
        accepts a training error that is not 0.\n\n\
        `%steps STUDY --promote FACTOR` writes the cell of a longer round of a study, with its schedule prolonged so \
        that the added steps are not spent at a tiny learning rate (G10), and says which conclusions are likely to \
        transfer (G9). If longer rounds of the same configurations exist, it compares their ranks (G8).",
    options: &[
        option("promote", Some("FACTOR"), "write the cell of a longer round of a study, with so many times the steps"),
        option("steps", Some("N"), "the largest number of steps of a trial (default: the workload's `steps`)"),
        option("lr", Some("A..B"), "the range of the grid (default: the range that the workload searches)"),
        option("rates", Some("N"), "number of learning rates in the grid (default: 11)"),
        option(
            "repeats",
            Some("R"),
            "additional seeds of the fastest learning rate (default: 6; fewer give no interval)",
        ),
        option("fit", Some("EPS"), "a trial fits if the training error (or loss) is at most this (default: 0)"),
        option(
            "every",
            Some("N"),
            "evaluate every N steps (default: after 5 % more steps each time, or up to 30 % more for large data)",
        ),
        SET,
        option("name", Some("NAME"), "name of the studies that record the trials (default: WORKLOAD-steps)"),
        option("resume", None, "run the trials that are missing, for example after an interrupt"),
        option("accept-changes", None, "run more trials although files have changed"),
        option("seed", Some("S"), "seed of the trials (default: 0)"),
        option(
            "parallel",
            Some("N"),
            "trials that run at the same time (default: one on each GPU, or on each processor if there is no GPU)",
        ),
        PNG,
    ],
    subject: Subject::Workload,
    export: Export::Comment,
    parse,
};

struct ShowSteps {
    arguments: Arguments,
    options: StepsOptions,
}

fn parse(Invocation { arguments, .. }: Invocation) -> Result<Box<dyn Command>> {
    if arguments.has("promote") {
        return Ok(Box::new(Promote::new(arguments, MAGIC.options)?));
    }
    let options = StepsOptions::new(&arguments)?;
    Ok(Box::new(ShowSteps { arguments, options }))
}

impl Command for ShowSteps {
    fn run(self: Box<Self>, context: &Context, output: &dyn Output, interrupt: &Interrupt) -> Result<()> {
        let (source, word) = (&self.arguments.source, &self.options.settings[0]);
        let workloads = workload::known(context)?;
        let known = Workload::named(&word.text, &workloads, source, &word.span)?;
        if !known.has_pipeline() {
            let message = format!(
                "`{}` is a training function with its own loop, so its training examples cannot be evaluated",
                word.text
            );
            let help = "report `train/error` in a %%sweep over constant learning rates, and look at it with %curves";
            return Err(source.error(ErrorName::NoAnswer, word.span.clone(), message, Some(help.into())));
        }
        // Mistakes of the user come before anything is built. The number of examples only sets when to evaluate.
        self.options.plan(&self.arguments, &workloads, 1)?;
        let worker = workload::worker(context, &known.reference, output, interrupt)?;
        let examples = match declared_examples(known) {
            Some(examples) => examples,
            None => {
                let prober = Prober {
                    worker: worker.clone().unwrap_or_else(|| context.settings.worker.clone()),
                    workload: word.text.clone(),
                    params: Default::default(),
                    device: TargetDevice::new(context, &self.arguments, [])?.device,
                    environment: context.added_environment(),
                    beside: context.background.names(),
                    interrupt,
                };
                data_of(&prober)?.0
            }
        };
        let plan = self.options.plan(&self.arguments, &workloads, examples)?;
        let rate = known.description.hyperparameter("lr").cloned();
        let mut tuner = StepsTuner { context, plan: &plan, worker, rate, may_run: true, interrupt };
        tuner.may_run = plan.options.resume || !tuner.is_recorded()?;
        let mut display = StepsDisplay::new(context, output, &plan);
        let mut trained = Trained::default();
        let mut notes = vec![];
        let report = |trained: &Trained, notes: &[String]| {
            let next = report::next_cell(&self.arguments, &self.options, &plan, trained, &known.description);
            (report::report(&plan, &word.text, trained, notes, next.as_deref()), next)
        };
        if let Err(error) = tuner.run(&mut trained, &mut display) {
            display.fail(report(&trained, std::slice::from_ref(&error.message)).0);
            return Err(error);
        }
        match trained.stopped {
            Some(RunOutcome::Interrupted) => notes.push("Interrupted; `--resume` continues.".to_string()),
            Some(RunOutcome::AllFail) => notes.push(format!(
                "Stopped: the first {} trials that ended failed with the same reason: {}.",
                engine::SAME_FAILURES,
                trained.failure.as_deref().unwrap_or("unknown")
            )),
            _ if trained.missing > 0 => {
                notes.push(format!("{} trials are missing; `--resume` runs them.", trained.missing));
            }
            _ if !tuner.may_run => notes.push("Nothing was trained: all requested trials are recorded.".into()),
            _ => {}
        }
        let (report, next) = report(&trained, &notes);
        context.store()?.keep_conclusion("steps", &plan.name, &report.result())?;
        context.keep_shown(self.arguments.source.text(), &self.arguments.positional[0].text, &report)?;
        display.end(report);
        if trained.stopped == Some(RunOutcome::Interrupted) {
            let message =
                format!("`{}` was interrupted; trials that ended are recorded, `--resume` continues", plan.name);
            return Err(MagicError::interrupted(message));
        }
        if let (Some(cell), Some(session)) = (next, output.session()) {
            session.next_input(&cell, false);
        }
        Ok(())
    }
}

/// The number of training examples, if the workload knows it before its data are loaded.
fn declared_examples(workload: &Workload) -> Option<u64> {
    match workload.description.hyperparameter("batch_size").map(|h| &h.domain) {
        Some(HyperparameterDomain::Range { high: Some(high), .. }) if *high < MANY => Some(*high as u64),
        _ => None,
    }
}
