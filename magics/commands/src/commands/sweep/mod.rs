//! `%%sweep NAME` and `%sweep WORKLOAD …`: runs a study, from the text of the declarations to the trials in the store.

pub mod advice;
mod background;
pub mod changes;
mod copied;
pub mod display;
pub mod early_stopping;
pub mod engine;
pub mod environment;
mod given;
mod losses;
pub mod observer;
pub mod outlook;
pub mod placeholders;
pub mod plan;
mod preset;
mod program;
pub mod rerun;
pub mod retuning;
pub mod run_context;
pub mod slots;
pub mod trial_options;

use self::advice::{advice, record_allowed};
use self::display::SweepDisplay;
use self::engine::RunOutcome;
use self::plan::{Planner, SweepOptions, SweepPlan, check_name};
use self::rerun::{Rerun, configurations_of, ended, following_cell, plan_rerun, redefined, replaced, shown_only};
use self::retuning::find_retuning;
use self::run_context::RunContext;
use crate::commands::insight::Findings;
use crate::commands::workload;
use crate::error::{ErrorName, MagicError, Result, Source};
use crate::host::{Interrupt, Output};
use crate::magic::{Body, Command, Context, Export, Invocation, Magic, Subject};
use crate::studies::{adaptive_note, given_note, remove, wall_seconds};
use crate::syntax::{OptionSpec, PNG, PRICE, SweepBody, Word, option, parse_body, parse_one_line};
use tunebook_analysis::design;
use tunebook_study::store::{Store, StoreError, StudyRecord, StudyWriter, now};
use tunebook_study::{StudyDefinition, WorkloadReference};

pub const MAGIC: Magic = Magic {
    name: "sweep",
    line: true,
    body: Some(Body::Declarations),
    usage: "%%sweep NAME [options]\n…declarations…\n\n\
        %sweep WORKLOAD hp~loguniform(a,b) hp=[v,…] hp=v --minimize METRIC [options]\n\n%sweep stop NAME",
    example: "%%sweep depth --trials 12 --seed 7\nquestion   \"How deep should the network be?\"\nworkload   digits_mlp\nscientific hidden_layers in [1, 2]\nnuisance   lr ~ loguniform(1e-3, 0.3)\nfixed      steps = 200\nfixed      eval_every = 20\nminimize   valid/error",
    summary: "Run a study: train trials over a search space, record them, show them while they run",
    help: "The body has one declaration on each line:\n\n\
        ```\nworkload    digits_mlp\nscientific  hidden_layers in [1, 2, 3]\nnuisance    lr ~ loguniform(1e-4, 1)\n\
        nuisance    momentum ~ 1 - loguniform(1e-3, 1)\nfixed       steps = 2000\nminimize    valid/error\n```\n\n\
        A scientific hyperparameter is one whose effect is measured. A nuisance hyperparameter is tuned separately for \
        each scientific value, so that the comparison is fair. A fixed hyperparameter has one value in all trials. \
        `when NAME == v:` before a declaration makes it conditional. `command PROGRAM {hp} …` trains any program that \
        prints JSON lines with a `step`.\n\n\
        `question \"…\"`, `notes \"…\"` and `round N` say what the study is for. `preset adam` declares what to tune \
        for the number of trials. `configuration hp=v, …` and `configurations FILE.csv` give configurations, which are \
        trained first. You can add more later: write them below the others, and run the cell again with a larger \
        `--trials`. They are trained next, and then the sampler continues.\n\n\
        Running the cell again shows the recorded trials and trains nothing. `--resume`, or a larger `--trials`, runs \
        the trials that are missing. A change of `question`, `notes`, `round` or `--objective` is recorded and trains \
        nothing. Any other change is another study, unless no trial has a result yet: then the study starts again.",
    options: OPTIONS,
    subject: Subject::Workload,
    export: Export::Comment,
    parse,
};

/// The options of a sweep, which its plan has too.
pub const OPTIONS: &[OptionSpec] = &[
    option("trials", Some("N"), "number of configurations to try (default: 20, or all of a grid)"),
    option(
        "sampler",
        Some("quasirandom|sobol|random|grid|bayes"),
        "how configurations are proposed (default: quasirandom); bayes learns from the trials that ended",
    ),
    option("seed", Some("S"), "seed of the proposals and of the trials (default: 0)"),
    option("repeats", Some("N"), "trials for each configuration, each with its own seed (default: 1)"),
    option(
        "parallel",
        Some("N"),
        "trials that run at the same time (default: one on each GPU, or on each processor if there is no GPU)",
    ),
    option("per-gpu", Some("N"), "trials that share a GPU (default: 1)"),
    option(
        "objective",
        Some("best|final"),
        "judge a trial by its best value over training (default) or by its last value",
    ),
    option("resume", None, "run the trials that are missing, for example after an interrupt"),
    option("retry-failed", None, "run the failed trials again, and those that are missing"),
    option(
        "accept-changes",
        None,
        "run more trials although the program or its files have changed; the study records what changed",
    ),
    option("every", Some("N"), "estimate the gradient noise scale every N steps, as the metric noise_scale"),
    option(
        "training-metrics",
        None,
        "evaluate the training examples too, as train/error and so on; %curves shows them",
    ),
    option(
        "widen",
        None,
        "accept a definition in which ranges only grew, lists only gained values, or what was fixed varies; old trials \
         are kept",
    ),
    option("timeout", Some("T"), "time limit of a trial: 30s, 30m, 2h, 1h30m"),
    option("budget", Some("T"), "time limit of this run of the study: 30s, 30m, 2h, 1h30m"),
    PRICE,
    option("minimize", Some("METRIC"), "the objective: this metric, smaller is better (if the body names none)"),
    option("maximize", Some("METRIC"), "the objective: this metric, larger is better (if the body names none)"),
    option("name", Some("NAME"), "name of the study, in the one-line form (default: the workload's)"),
    option("allow", Some("LINT…"), "overrule a lint of %plan; the study records it. May be given several times"),
    option(
        "stop-early",
        Some("none|median|asha"),
        "stop trials that are worse than others at the same step (default: none, which the Playbook prefers while \
         exploring)",
    ),
    option("background", None, "train while other cells run; %sweeps lists such sweeps, %sweep stop NAME ends one"),
    PNG,
];

/// A sweep as it was typed.
pub struct Sweep {
    source: Source,
    name: String,
    body: SweepBody,
    options: SweepOptions,
}

fn parse(invocation: Invocation) -> Result<Box<dyn Command>> {
    match background::Stop::read(&invocation)? {
        Some(stop) => Ok(Box::new(stop)),
        None => Ok(Box::new(read(invocation)?)),
    }
}

/// Reads a sweep, in either form.
pub fn read(invocation: Invocation) -> Result<Sweep> {
    let Invocation { arguments, body, .. } = invocation;
    let source = arguments.source.clone();
    let options = SweepOptions::new(&arguments)?;
    let named = arguments.option("name").map(|word| (word.text.clone(), word.span.clone()));
    let (name, body) = match body {
        Some(span) => {
            let word = arguments.required(0, "the study's name")?;
            arguments.at_most(1)?;
            if let Some((_, span)) = named {
                let message = "write the name directly after %%sweep";
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
    Ok(Sweep { source, name, body, options })
}

impl Command for Sweep {
    fn run(self: Box<Self>, context: &Context, output: &dyn Output, interrupt: &Interrupt) -> Result<()> {
        let mut plan = self.plan(context)?;
        let mut store = context.store()?;
        let study = match store.study(&plan.name)? {
            Some(study) => study,
            None => {
                background::check(context, &plan.name)?;
                slots::check(context)?;
                program::check(context, &self.source, self.body.workload.as_ref())?;
                match store.create_study(&plan.name, &plan.definition) {
                    Ok(study) => {
                        let numbers = (1..=plan.trials).collect();
                        return start(context, plan, store.write(study)?, numbers, output, interrupt);
                    }
                    // Another kernel has just begun it.
                    Err(exists @ StoreError::Exists { .. }) => store.study(&plan.name)?.ok_or(exists)?,
                    Err(error) => return Err(error.into()),
                }
            }
        };
        let trials = store.trials(&study)?;
        let planned = plan.definition.clone();
        plan.definition = plan.definition.continuing(&study.definition);
        let workload = plan.definition.workload.clone();
        plan.definition.workload = workload::continued(&store, &study.definition.workload, workload)?;
        let rerun = plan_rerun(&plan, &study, &trials)?;
        if !matches!(rerun, Rerun::Show { .. }) {
            background::check(context, &plan.name)?;
            program::check(context, &self.source, self.body.workload.as_ref())?;
        }
        let changed = following_cell(&study.definition, &plan.definition);
        let (mut store, study) = match changed.filter(|_| !matches!(rerun, Rerun::Anew { .. })) {
            Some((definition, sentences)) => {
                background::check(context, &plan.name)?;
                let mut writer = store.write(study)?;
                writer.redefine(&definition)?;
                plan.options.notes.extend(sentences);
                let study = writer.study().clone();
                drop(writer);
                (context.store()?, study)
            }
            None => (store, study),
        };
        match rerun {
            Rerun::Anew { failed } => {
                slots::check(context)?;
                remove(context, study)?;
                plan.definition = planned;
                plan.options.notes.push(replaced(failed));
                let study = store.create_study(&plan.name, &plan.definition)?;
                let numbers = (1..=plan.trials).collect();
                start(context, plan, store.write(study)?, numbers, output, interrupt)
            }
            Rerun::Train { numbers, redefine } => {
                let mut writer = store.write(study)?;
                // Another kernel may have run trials before this one became the writer.
                let trials = writer.store().trials(writer.study())?;
                let done = ended(&trials, &plan.options);
                let numbers: Vec<u32> = numbers.into_iter().filter(|number| !done.contains(number)).collect();
                changes::settle(&writer, &numbers, plan.options.accept_changes)?;
                if plan.options.retry_failed {
                    writer.retry_failed();
                }
                if redefine {
                    let recorded = &writer.study().definition;
                    plan.definition = redefined(recorded, plan.definition, configurations_of(&trials));
                    // Another rule of early stopping is recorded below.
                    let stop_early = writer.study().definition.stop_early;
                    writer.redefine(&StudyDefinition { stop_early, ..plan.definition.clone() })?;
                }
                start(context, plan, writer, numbers, output, interrupt)
            }
            Rerun::Show { missing } => {
                let mut notes = notes(context, &store, &study, &plan)?;
                notes.extend(plan.options.notes.iter().cloned());
                let these = outlook::end_of_grid(&plan).map_or("requested trials", |_| "trials of the grid");
                notes.push(shown_only(missing, these, store.writer_of(&study)?.as_deref()));
                let changed = changes::changes(&store, &study)?;
                notes.extend(changes::note(&changed));
                let unused = store.without_effect(&study)?;
                notes.extend(without_effect(&unused));
                notes.extend(early_stopping::crossing_note(&store, &study, &trials)?);
                let requested = plan.trials as usize;
                let mut display =
                    SweepDisplay::new(context, output, &plan.name, &plan.definition, requested, trials.clone());
                display.set_price(plan.options.price);
                display.set_changes(changes::as_json(&store, &study, &changed)?);
                display.set_without_effect(unused);
                let found = findings(context, &store, &study);
                let seconds = wall_seconds(study.seconds, &trials, now());
                display.end(seconds, &notes, found, || find_retuning(context, &store, &study, &trials));
                Ok(())
            }
        }
    }
}

impl Sweep {
    /// Returns the plan, or an error that points at the first mistake.
    pub fn plan(&self, context: &Context) -> Result<SweepPlan> {
        let workload = self.body.workload.as_ref().map(|workload| &workload.value);
        let workloads = match workload {
            Some(WorkloadReference::Builtin { .. }) => workload::known(context)?,
            _ => vec![],
        };
        let planner = Planner { source: &self.source, workloads: &workloads };
        let given = given::rows(context, &self.source, &self.body)?;
        // Unless the user asks for another number, the given configurations are all; with more, the sampler goes on.
        let number = u32::try_from(given.len()).ok().filter(|number| *number > 0);
        let options = SweepOptions { trials: self.options.trials.or(number), ..self.options.clone() };
        let planned = planner.plan(self.name.clone(), &self.body, options);
        let mut plan = planned.map_err(|error| self.naming_study(context, error))?;
        let known = workloads.iter().find(|known| known.reference == plan.definition.workload);
        let description = known.map(|known| &known.description);
        given::add(&self.source, &self.body, &given, description, &mut plan)?;
        Ok(plan)
    }

    /// If there is no workload of this name, but a study, the help of the error says so.
    fn naming_study(&self, context: &Context, error: MagicError) -> MagicError {
        let Some(WorkloadReference::Builtin { name }) = self.body.workload.as_ref().map(|workload| &workload.value)
        else {
            return error;
        };
        let is_study = || matches!(context.store_to_read().map(|store| store?.study(name).ok()?), Ok(Some(_)));
        if error.name != ErrorName::UnknownWorkload || !is_study() {
            return error;
        }
        error.with_help(format!("`{name}` is a study: run its cell again with `--resume`"))
    }
}

/// Returns the advice of the Playbook that a plan does not follow, a sentence for each (Playbook D7, D11, B14, …), and
/// records what `--allow` overrules of it. If the advice cannot be found, there is none: the sweep runs all the same.
fn notes(context: &Context, store: &Store, study: &StudyRecord, plan: &SweepPlan) -> Result<Vec<String>> {
    let configurations = plan.trials / plan.definition.repeats.max(1);
    let design = design(&plan.definition, configurations);
    let found = advice(context, Some(store), plan, &design).unwrap_or_default();
    record_allowed(store, study, &found.overruled)?;
    let unneeded = found.note();
    let lints = found.lints.iter().map(|lint| format!("{}: {} (Playbook {})", lint.id, lint.message, lint.playbook));
    let others = adaptive_note(&plan.definition)
        .into_iter()
        .chain(given_note(&plan.definition, 0..configurations))
        .chain(outlook::end_of_grid(plan))
        .chain(placeholders::note(&plan.definition));
    Ok(others.chain(lints).chain(unneeded).collect())
}

/// Says which hyperparameters no trial used. None if each was used.
pub fn without_effect(hyperparameters: &[String]) -> Option<String> {
    let names: Vec<String> = hyperparameters.iter().map(|name| format!("`{name}`")).collect();
    (!names.is_empty()).then(|| {
        format!(
            "No trial used {}. The values of an unused hyperparameter have no effect, so differences between them are \
             chance. Either no layer or loss of the model reads it, or another hyperparameter (such as `optimizer`) \
             switches it off.",
            names.join(", ")
        )
    })
}

/// Returns the findings of a study. There are none while no trial has ended, or if it cannot be read again.
fn findings(context: &Context, store: &Store, study: &StudyRecord) -> Findings {
    let trials = store.trials(study).unwrap_or_default();
    let found = Findings::of(context, store, study, &trials, &study.definition.objective);
    found.ok().and_then(|found| found.ok()).unwrap_or_default()
}

/// Trains the trials with these numbers, in the cell or in the background.
fn start(
    context: &Context,
    mut plan: SweepPlan,
    mut writer: StudyWriter,
    numbers: Vec<u32>,
    output: &dyn Output,
    interrupt: &Interrupt,
) -> Result<()> {
    plan.worker = workload::worker(context, &plan.definition.workload, output, interrupt)?;
    writer.ask(plan.trials)?;
    let session = RunContext::new(context, &plan.options)?;
    match plan.options.background {
        true => background::start((context, session), plan, writer, numbers, output),
        false => train((context, &session), &plan, writer, numbers, output, interrupt, || {}),
    }
}

/// Trains the trials with these numbers. `shown` is called once the chart is on the screen. In the background, the cell
/// ends then, so that nothing of the session may be read later which other cells change.
fn train(
    (context, session): (&Context, &RunContext),
    plan: &SweepPlan,
    mut writer: StudyWriter,
    numbers: Vec<u32>,
    output: &dyn Output,
    interrupt: &Interrupt,
    shown: impl FnOnce(),
) -> Result<()> {
    let mut notes = notes(context, writer.store(), writer.study(), plan)?;
    notes.extend(plan.options.notes.iter().cloned());
    notes.extend(early_stopping::change_rule(&mut writer, plan.definition.stop_early, numbers.first().copied())?);
    let trials = writer.store().trials(writer.study())?;
    let mut display = SweepDisplay::new(context, output, &plan.name, &plan.definition, plan.trials as usize, trials);
    display.set_price(plan.options.price);
    display.set_waiting(&numbers);
    let accepted = writer.store().changes(writer.study())?.len();
    // What the Playbook says of the plan has to be read before anything trains.
    let mut head = outlook::head((context, session), writer.store(), plan, &numbers);
    head.extend(notes.iter().cloned());
    display.set_head(head);
    display.show();
    shown();
    if !session.without_local {
        let (devices, _) = context.devices_in(&session.environment);
        notes.extend(run_context::note_of_gpus(&devices, &plan.definition.workload));
    }
    let copying = slots::copying(session);
    let run = engine::run_in((context, session), plan, &mut writer, numbers.clone(), &mut display, interrupt);
    let outcome = match run {
        Ok(outcome) => outcome,
        Err(error) => {
            display.fail(writer.study().seconds, &error, &notes);
            return Err(error);
        }
    };
    let note = match outcome {
        RunOutcome::Completed => None,
        RunOutcome::OutOfBudget => Some("The time limit of `--budget` was reached; `--resume` continues.".to_string()),
        RunOutcome::Interrupted => {
            let ended = if plan.options.background { "Stopped" } else { "Interrupted" };
            Some(format!("{ended}; `--resume` continues."))
        }
        RunOutcome::AllFail => Some(format!(
            "Stopped: the study has no result, and the first {} trials that ended in this run failed with the same \
             reason, so the others were not run. Fix the cause, and run the cell with `--retry-failed`. If you change \
             what the cell declares, the study starts again.",
            engine::SAME_FAILURES
        )),
    };
    notes.extend(note.into_iter().chain(slots::note(context, &plan.name)));
    let changes = writer.store().changes(writer.study())?;
    let copying = slots::used(copying, &slots::recorded(writer.store(), writer.study())?, &numbers);
    notes.extend(changes::note_while_running(changes.get(accepted..).unwrap_or(&[]), &copying));
    let changed = changes::changes_in(writer.store(), writer.study(), &session.folder)?;
    notes.extend(changes::note_of_copies(&changed, &copying));
    let unused = writer.store().without_effect(writer.study())?;
    notes.extend(without_effect(&unused));
    display.set_without_effect(unused);
    display.set_changes(changes::as_json(writer.store(), writer.study(), &changed)?);
    let (store, study) = (writer.store(), writer.study());
    let trials = store.trials(study)?;
    notes.extend(early_stopping::crossing_note(store, study, &trials)?);
    let found = findings(context, store, study);
    let seconds = wall_seconds(study.seconds, &trials, now());
    display.end(seconds, &notes, found, || find_retuning(context, store, study, &trials));
    if outcome == RunOutcome::Interrupted {
        let message =
            format!("the sweep `{}` was interrupted; trials that ended are recorded, `--resume` continues", plan.name);
        return Err(MagicError::interrupted(message));
    }
    Ok(())
}
