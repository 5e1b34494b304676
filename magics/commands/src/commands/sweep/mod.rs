//! `%%sweep NAME` and `%sweep WORKLOAD …`: run a study, from the text of a sweep to the trials in the store.

pub mod engine;
mod environment;
pub mod live;
pub mod plan;
pub mod recorded;
pub mod retune;
pub mod watch;

use self::engine::Ending;
use self::live::Live;
use self::plan::{Planner, SweepOptions, SweepPlan, check_name};
use self::recorded::{Found, compare};
use self::retune::concerning;
use crate::commands::workload;
use crate::error::{MagicError, Result, Source};
use crate::host::{Interrupt, Output};
use crate::magic::{Body, Command, Context, Export, Invocation, Magic, Subject};
use crate::syntax::{OptionSpec, SweepBody, Word, parse_body, parse_one_line};
use tunebook_analysis::compares_batch_sizes_by_validation;
use tunebook_study::store::StudyWriter;
use tunebook_study::{StudyDefinition, WorkloadReference};

const fn option(name: &'static str, value: Option<&'static str>, help: &'static str) -> OptionSpec {
    OptionSpec { name, value, help }
}

/// See the module.
pub const MAGIC: Magic = Magic {
    name: "sweep",
    line: true,
    body: Some(Body::Declarations),
    usage: "%%sweep NAME [options]\n…declarations…\n\n%sweep WORKLOAD hp~loguniform(a,b) hp=[v,…] hp=v --minimize METRIC [options]",
    summary: "Run a study: train trials over a search space, record them, show them while they run",
    help: "One declaration a line:\n\n\
        ```\nworkload    digits_mlp\nscientific  hidden_layers in [1, 2, 3]\nnuisance    lr ~ loguniform(1e-4, 1)\n\
        nuisance    momentum ~ 1 - loguniform(1e-3, 1)\nfixed       steps = 2000\nminimize    valid/error\n```\n\n\
        Scientific: its effect is measured. Nuisance: tuned away, so that the comparison is fair. Fixed: the same in all \
        trials. `when NAME == v:` before a declaration makes it conditional. `command PROGRAM {hp} …` trains any program \
        that prints JSON lines with a `step`.\n\n\
        Running the cell again shows what is recorded and trains nothing; `--resume`, or more `--trials`, runs what is \
        missing.",
    options: &[
        option("trials", Some("N"), "configurations to try (default 20; all of a grid)"),
        option("sampler", Some("NAME"), "quasirandom (default), random or grid"),
        option("seed", Some("S"), "seed of the proposals and of the trials (default 0)"),
        option("repeats", Some("N"), "trials of each configuration, each with a seed of its own (default 1)"),
        option("parallel", Some("N"), "trials at a time (default: one a GPU, or one a processor)"),
        option("objective", Some("best|final"), "judge a trial by its best value over training (default) or its last"),
        option("resume", None, "run what an interrupt or a crash left undone"),
        option("every", Some("N"), "estimate the gradient noise scale every N steps, as the metric noise_scale"),
        option("widen", None, "keep the old trials where ranges only grew"),
        option("timeout", Some("T"), "limit of a trial: 30s, 30m, 2h"),
        option("budget", Some("T"), "limit of this run of the study"),
        option("minimize", Some("METRIC"), "the objective, in the one-line form"),
        option("maximize", Some("METRIC"), "the objective, in the one-line form"),
        option("name", Some("NAME"), "name of the study, in the one-line form (default: the workload's)"),
        option("stop-early", Some("RULE"), "none (the only rule so far)"),
        option("background", None, "not available yet"),
    ],
    subject: Subject::Workload,
    export: Export::Comment,
    parse,
};

struct Sweep {
    source: Source,
    name: String,
    body: SweepBody,
    options: SweepOptions,
}

fn parse(invocation: Invocation) -> Result<Box<dyn Command>> {
    let Invocation { arguments, body, .. } = invocation;
    let source = arguments.source.clone();
    let options = SweepOptions::new(&arguments)?;
    let named = arguments.option("name").map(|word| (word.text.clone(), word.span.clone()));
    let (name, body) = match body {
        Some(span) => {
            let word = arguments.required(0, "the study's name")?;
            arguments.at_most(1)?;
            if let Some((_, span)) = named {
                let message = "the name stands right after %%sweep";
                return Err(source.syntax_error(span, message, None));
            }
            ((word.text.clone(), word.span.clone()), parse_body(&source, span)?)
        }
        None => {
            let word = arguments.required(0, "the workload")?;
            let body = parse_one_line(&source, &arguments.positional)?;
            (named.unwrap_or((word.text.clone(), word.span.clone())), body)
        }
    };
    let (name, span) = name;
    check_name(&source, &Word { text: name.clone(), span, quoted: false })?;
    Ok(Box::new(Sweep { source, name, body, options }))
}

impl Command for Sweep {
    fn run(self: Box<Self>, context: &Context, output: &dyn Output, interrupt: &Interrupt) -> Result<()> {
        let mut plan = self.plan(context)?;
        let mut store = context.store()?;
        let Some(study) = store.study(&plan.name)? else {
            let study = store.create_study(&plan.name, &plan.definition)?;
            let numbers = (1..=plan.trials).collect();
            return train(context, &mut plan, store.write(study)?, numbers, output, interrupt);
        };
        let trials = store.trials(&study)?;
        match compare(&plan, &study, &trials)? {
            Found::Run { numbers, redefine } => {
                let mut writer = store.write(study)?;
                // Somebody may have run it between the look and the lease.
                let trials = writer.store().trials(writer.study())?;
                let done = |n: &u32| trials.iter().any(|t| t.number == *n && !t.state.runs_again());
                let numbers = numbers.into_iter().filter(|n| !done(n)).collect();
                if redefine {
                    writer.redefine(&plan.definition)?;
                }
                train(context, &mut plan, writer, numbers, output, interrupt)
            }
            Found::Show { missing } => {
                let mut notes = notes(&plan.definition);
                notes.push(match missing {
                    0 => "Nothing was trained: all trials asked for are recorded.".to_string(),
                    n => format!("{n} of the trials asked for are missing; `--resume` runs them."),
                });
                let asked = plan.trials as usize;
                let live = Live::new(context, output, &plan.name, &plan.definition, asked, trials.clone());
                live.end(study.seconds, &notes, || concerning(context, &store, &study, &trials));
                Ok(())
            }
        }
    }
}

impl Sweep {
    fn plan(&self, context: &Context) -> Result<SweepPlan> {
        let workload = self.body.workload.as_ref().map(|workload| &workload.value);
        let workloads = match workload {
            Some(WorkloadReference::Builtin { .. }) => workload::known(context)?,
            _ => vec![],
        };
        let planner = Planner { source: &self.source, workloads: &workloads };
        planner.plan(self.name.clone(), &self.body, self.options.clone())
    }
}

/// What speaks against a definition without forbidding it.
fn notes(definition: &StudyDefinition) -> Vec<String> {
    if !compares_batch_sizes_by_validation(definition) {
        return vec![];
    }
    vec![format!(
        "The batch size varies, and trials are judged by {}: sizes are compared fairly only where learning rate and regularization \
         are tuned for each, and the noise of small batches regularizes by itself. Choose the size by %throughput and %scaling \
         (Playbook B14).",
        definition.objective.metric
    )]
}

fn train(
    context: &Context,
    plan: &mut SweepPlan,
    mut writer: StudyWriter,
    numbers: Vec<u32>,
    output: &dyn Output,
    interrupt: &Interrupt,
) -> Result<()> {
    plan.worker = workload::worker(context, &plan.definition.workload, output, interrupt)?;
    let notes = notes(&plan.definition);
    writer.ask(plan.trials)?;
    let trials = writer.store().trials(writer.study())?;
    let mut live = Live::new(context, output, &plan.name, &plan.definition, plan.trials as usize, trials);
    live.show();
    let ending = match engine::run(context, plan, &mut writer, numbers, &mut live, interrupt) {
        Ok(ending) => ending,
        Err(error) => {
            live.fail(&error);
            return Err(error);
        }
    };
    let (seconds, store, study) = (writer.study().seconds, writer.store(), writer.study());
    let note = match ending {
        Ending::Done => None,
        Ending::OutOfBudget => Some("The time limit of `--budget` was reached; `--resume` continues."),
        Ending::Interrupted => Some("Interrupted; `--resume` continues."),
    };
    let notes: Vec<String> = notes.into_iter().chain(note.map(String::from)).collect();
    live.end(seconds, &notes, || concerning(context, store, study, &store.trials(study)?));
    match ending {
        Ending::Done | Ending::OutOfBudget => Ok(()),
        Ending::Interrupted => {
            let message =
                format!("the sweep `{}` was interrupted; what ended is recorded, `--resume` continues", plan.name);
            Err(MagicError::interrupted(message))
        }
    }
}
