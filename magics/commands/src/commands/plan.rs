//! `%%plan NAME`: what a sweep would do, what it would cost, and the advice that it does not follow. It trains nothing.

use crate::commands::insight::written;
use crate::commands::sweep::advice::advice;
use crate::commands::sweep::outlook::{Cost, coverage, end_of_grid};
use crate::commands::sweep::placeholders;
use crate::commands::sweep::plan::SweepPlan;
use crate::commands::sweep::rerun::{Rerun, configurations_of, plan_rerun, redefined};
use crate::commands::sweep::run_context::RunContext;
use crate::commands::sweep::{self, Sweep};
use crate::commands::workload;
use crate::error::Result;
use crate::host::{Interrupt, Output};
use crate::magic::{Body, Command, Context, Export, Invocation, Magic, Subject};
use crate::report::Report;
use crate::report::table::Rows;
use crate::studies::given_note;
use serde_json::json;
use tunebook_analysis::{counted, design};
use tunebook_study::store::Store;

pub const MAGIC: Magic = Magic {
    name: "plan",
    line: true,
    body: Some(Body::Declarations),
    usage: "%%plan NAME [options of %%sweep]\n…declarations…\n\n%plan WORKLOAD hp~loguniform(a,b) hp=[v,…] [options of %sweep]",
    example: "%%plan depth --trials 24 --seed 7\nquestion   \"How deep should the network be?\"\nworkload   digits_mlp\nscientific hidden_layers in [1, 2]\nnuisance   lr ~ loguniform(1e-3, 0.3)\nfixed      steps = 200\nfixed      eval_every = 20\nminimize   valid/error",
    summary: "What a sweep would do and cost, and the Playbook's advice that it does not follow, without running it",
    help: "It takes the text of a `%%sweep` with its options, and trains nothing. It shows the role of each \
        hyperparameter with the caveat that the role brings, how many configurations each scientific value gets, how \
        many points there are along each nuisance dimension, and the time that the trials will take. The time is known \
        from recorded trials of the same workload at the same batch size, or else from the steps that `%throughput` \
        measured. With `--price` it also shows the cost, which is the time of devices times the price.\n\n\
        Advice of the Playbook that the study does not follow is listed with its ID; `--allow LINT` overrules it, \
        which the study records.",
    options: sweep::OPTIONS,
    subject: Subject::Workload,
    export: Export::Comment,
    parse,
};

struct Plan(Sweep);

fn parse(invocation: Invocation) -> Result<Box<dyn Command>> {
    Ok(Box::new(Plan(sweep::read(invocation)?)))
}

impl Command for Plan {
    fn run(self: Box<Self>, context: &Context, output: &dyn Output, _: &Interrupt) -> Result<()> {
        let mut plan = self.0.plan(context)?;
        let store = context.store_to_read()?;
        let recorded = Recorded::of(store.as_ref(), &mut plan)?;
        let configurations = plan.trials / plan.definition.repeats.max(1);
        let design = design(&plan.definition, configurations);
        let advice = advice(context, store.as_ref(), &plan, &design)?;
        let lints = &advice.lints;
        let run = RunContext::new(context, &plan.options)?;
        let cost = Cost::of((context, &run), store.as_ref(), &plan, &recorded.missing)?;
        let fields = json!({
            "study": plan.name, "roles": design.roles, "trials": plan.trials, "lints": lints,
            "seconds": cost.seconds, "seconds_range": cost.range, "trial_seconds": cost.expected.as_ref().map(|e| e.trial_seconds),
            "at_most": cost.expected.as_ref().is_some_and(|e| e.at_most),
            "missing": recorded.missing.len(), "parallel": cost.parallel,
            "cost": cost.expected.as_ref().and_then(|e| cost.priced(e.trial_seconds)), "cost_range": cost.price_range(),
            "scientific_values": design.scientific_values,
            "configurations": design.configurations,
            "configurations_per_value": design.configurations_per_value,
            "given_left_out": design.given_left_out,
            "sparsest_value": design.sparsest.as_ref().and_then(|covered| covered.value.as_ref()),
            "nuisance_dimensions": design.sparsest.as_ref().map_or(0, |covered| covered.dimensions),
            "points_per_dimension": design.sparsest.as_ref().map(|covered| covered.points),
            "allowed": advice.overruled,
            "round": plan.definition.round,
            "stop_early": plan.definition.stop_early,
            "given": plan.definition.given,
        });
        let mut report = Report::new("plan", &fields).line(&format!(
            "{}: {} of {}, {} {}. Nothing was trained.",
            plan.name,
            counted(design.configurations as usize, "configuration"),
            written(&plan.definition.workload),
            plan.definition.objective.direction,
            plan.definition.objective.metric
        ));
        report = report.line(&match &plan.definition.question {
            Some(question) => format!("Question: {question}"),
            None => {
                "The study has no question. The line `question \"…\"` in a `%%sweep` says what it is to find out, and \
                     its report begins with it (Playbook D5)."
                    .into()
            }
        });
        if let Some(round) = plan.definition.round {
            report = report.line(&format!("Round: {round}"));
        }
        if !plan.definition.stop_early.is_none() {
            report = report.line(&format!(
                "Trials would be stopped early by the rule `{}`; the expected time is that without it.",
                plan.definition.stop_early
            ));
        }
        if let Some(note) = given_note(&plan.definition, 0..configurations) {
            report = report.line(&note);
        }
        let mut rows = Rows::new(&["role", "hyperparameter", "values", "what this means"]).with_sentences();
        for role in &design.roles {
            rows.row(vec![
                role.role.to_string(),
                role.hyperparameter.clone(),
                role.distribution.clone(),
                role.caveat.clone().unwrap_or_default(),
            ]);
        }
        report = report.table(&rows);
        for line in recorded
            .note
            .into_iter()
            .chain(end_of_grid(&plan))
            .chain(coverage(&plan, &design))
            .chain([cost.sentence()])
            .chain(cost.price_sentence())
            .chain(cost.trade_off(&plan))
            .chain(placeholders::note(&plan.definition))
        {
            report = report.line(&line);
        }
        for lint in lints {
            report = report.line(&format!("{}: {} (Playbook {})", lint.id, lint.message, lint.playbook));
        }
        if !lints.is_empty() {
            report = report.line("`--allow NAME` overrules a lint, and the study records that.");
        }
        if let Some(note) = advice.note() {
            report = report.line(&note);
        }
        report.show(&context.charts, output);
        Ok(())
    }
}

/// What the store has of the planned study.
struct Recorded {
    /// The numbers of the trials that the sweep would run.
    missing: Vec<u32>,
    note: Option<String>,
}

impl Recorded {
    fn of(store: Option<&Store>, plan: &mut SweepPlan) -> Result<Self> {
        let all: Vec<u32> = (1..=plan.trials).collect();
        let Some(store) = store else { return Ok(Self { missing: all, note: None }) };
        let Some(study) = store.study(&plan.name)? else { return Ok(Self { missing: all, note: None }) };
        let planned = plan.definition.clone();
        plan.definition = planned.clone().continuing(&study.definition);
        let workload = plan.definition.workload.clone();
        plan.definition.workload = workload::continued(store, &study.definition.workload, workload)?;
        let trials = store.trials(&study)?;
        let ended = trials.iter().filter(|trial| !trial.state.runs_again()).count();
        Ok(match plan_rerun(plan, &study, &trials) {
            Ok(Rerun::Train { numbers, redefine }) => {
                if redefine {
                    let planned = plan.definition.clone();
                    plan.definition = redefined(&study.definition, planned, configurations_of(&trials));
                }
                Self {
                    note: Some(format!(
                        "The study is recorded with {}; the sweep would run {} more.",
                        counted(ended, "trial"),
                        numbers.len()
                    )),
                    missing: numbers,
                }
            }
            Ok(Rerun::Anew { failed }) => {
                plan.definition = planned;
                let replaced = match failed {
                    0 => String::new(),
                    n => format!(" and replace {} of an earlier definition", counted(n, "failed trial")),
                };
                let note = format!("The study is recorded without a result. The sweep would start it again{replaced}.");
                Self { note: Some(note), missing: all }
            }
            Ok(Rerun::Show { missing: 0 }) => Self {
                note: Some("The study is recorded with all of these trials, so the sweep would train nothing.".into()),
                missing: vec![],
            },
            Ok(Rerun::Show { missing }) => Self {
                note: Some(format!(
                    "The study is recorded, and {} of these trials missing; the sweep would train nothing without \
                     `--resume`.",
                    if missing == 1 { "1 is".into() } else { format!("{missing} are") }
                )),
                missing: vec![],
            },
            Err(error) => Self {
                note: Some(format!("The sweep would not run: {}. {}", error.message, error.help.unwrap_or_default())),
                missing: vec![],
            },
        })
    }
}
