//! `%stability WORKLOAD`: sweeps the learning rate past the edge of stability, and says whether instability limits
//! training, when it sets in, and what helps (Playbook I7–I13).

mod cells;
mod display;
mod investigation;
mod plan;
mod remedy;
mod report;
mod sentences;
mod trials;

use self::display::StabilityDisplay;
use self::investigation::Investigation;
use self::plan::StabilityPlan;
use self::trials::Trials;
use crate::commands::workload;
use crate::error::{MagicError, Result};
use crate::host::{Interrupt, Output};
use crate::magic::{Command, Context, Export, Invocation, Magic, Subject};
use crate::probing::{SET, settings};
use crate::syntax::{Arguments, PNG, option};

pub const MAGIC: Magic = Magic {
    name: "stability",
    line: true,
    body: None,
    usage: "%stability WORKLOAD [--set hp=v]… [--fix] [options]",
    example: "%stability digits_mlp --set steps=30 --seeds 2",
    summary: "Sweep the learning rate past the edge of stability: whether instability limits training, and what helps",
    help: "It trains the workload at learning rates over several decades until runs diverge, and brackets the smallest \
        unstable rate with several seeds. Any workload is unstable at a high enough rate. That is a problem only if \
        the best rate lies next to the edge (Playbook I7).\n\n\
        Then it looks at the training loss at 1, 2, 5 and 10 times the best rate, at every step of a short run at \
        twice the best rate, and at the gradient norms at the best rate. If early instability may limit the rate, it \
        searches for the shortest warm-up that is stable at ten times the smallest unstable rate (I12). It lists the \
        remedies in the Playbook's order (I11). `--fix` tries them one by one until one helps.\n\n\
        Trials are recorded in studies, `WORKLOAD-stability` and some whose names begin so. The same cell again trains \
        only what is missing, also after an interrupt.",
    options: &[
        SET,
        option("fix", None, "try warm-up, clipping and another optimizer, one by one, until one helps"),
        option(
            "range",
            Some("A..B"),
            "the learning rates of the first pass (default: those that the workload declares)",
        ),
        option(
            "up-to",
            Some("LR"),
            "the largest learning rate to try (default: the end of --range, or 1,000 times the end of the default range)",
        ),
        option("seeds", Some("N"), "seeds near the edge and the best rate (default: 3, at least 2, at most 10)"),
        option("seed", Some("S"), "seed of the trials (default: 0)"),
        option("name", Some("NAME"), "name of the study (default: the workload's, with what is set)"),
        option(
            "parallel",
            Some("N"),
            "trials that run at the same time (default: one on each GPU, or on each processor if there is no GPU)",
        ),
        option("accept-changes", None, "run more trials although files that the workload reads have changed"),
        PNG,
    ],
    subject: Subject::Workload,
    export: Export::Comment,
    parse,
};

struct ShowStability {
    arguments: Arguments,
}

fn parse(Invocation { arguments, .. }: Invocation) -> Result<Box<dyn Command>> {
    settings(&arguments)?;
    Ok(Box::new(ShowStability { arguments }))
}

impl Command for ShowStability {
    fn run(self: Box<Self>, context: &Context, output: &dyn Output, interrupt: &Interrupt) -> Result<()> {
        let mut plan = StabilityPlan::new(&self.arguments, context)?;
        plan.worker = workload::worker(context, &plan.workload.reference, output, interrupt)?;
        let plan = plan;
        let trials = Trials { context, plan: &plan, interrupt };
        let mut investigation = Investigation::new(trials, StabilityDisplay::new(context, output, &plan));
        let outcome = investigation.run(self.arguments.has("fix"));
        let Investigation { display, findings, .. } = investigation;
        let is_interrupted = matches!(outcome, Ok(true));
        let problem = outcome.as_ref().err().map(|error: &MagicError| error.message.clone());
        let (report, next_cell) = report::report(&plan, &findings, &display.figure, is_interrupted, problem.as_deref());
        if problem.is_none() {
            context.store()?.keep_conclusion("stability", &plan.name, &report.result())?;
            context.keep_shown(self.arguments.source.text(), &self.arguments.positional[0].text, &report)?;
        }
        display.end(report, problem.is_none());
        outcome?;
        if is_interrupted {
            let message =
                format!("`{}` was interrupted; trials that ended are recorded, and the same cell continues", plan.name);
            return Err(MagicError::interrupted(message));
        }
        if let (Some(cell), Some(session)) = (next_cell, output.session()) {
            session.next_input(&cell, false);
        }
        Ok(())
    }
}
