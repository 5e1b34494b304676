//! `%%workload NAME`: a model of the user's own, built as a worker and tried at once.

mod cargo;
mod cells;
mod known;
mod source;
mod try_out;
mod workshop;

pub use cells::crates_for;
pub use known::{Workload, hyperparameter_rows, known, worker};
pub use source::WorkloadCell;
pub use workshop::Workshop;

use crate::error::{ErrorName, MagicError, Result, Source};
use crate::host::{Interrupt, Output};
use crate::magic::{Body, Command, Context, Export, Invocation, Magic, Subject};
use crate::report::table::Rows;
use crate::report::{Report, Status};
use serde_json::json;
use source::problem_with_name;
use std::time::Instant;
use try_out::{FirstSteps, try_out};
use tunebook_study::WorkloadDescription;
use tunebook_study::store::WorkloadRecord;

/// See the module.
pub const MAGIC: Magic = Magic {
    name: "workload",
    line: false,
    body: Some(Body::Crate),
    usage: "%%workload NAME\n…Rust…",
    summary: "Define a model of your own: built in release, tried for two steps, then trained by any study",
    help: "The body is Rust with `tunebook_training::prelude::*` in scope. A type that implements `Workload` says where its \
        data are and what its forward does; the training pipeline brings optimizer, schedule, evaluation, checkpoints and \
        their hyperparameters:\n\n\
        ```\n%%workload wine\npub struct Wine;\n\nimpl Workload for Wine {\n    fn data(&self, _: &Hyperparameters) -> Result<Data> {\n        \
        Ok(Table::read(\"wine.csv\")?.classify(\"class\")?.split(0.7, 0.15, 0)?.standardized())\n    }\n\n    \
        fn hyperparameters(&self) -> Vec<Hyperparameter> {\n        vec![Hyperparameter::whole(\"hidden_units\", 1..=4096, 32).shapes()]\n    \
        }\n\n    fn forward(&self, net: &Net, x: &Tensor) -> Tensor {\n        let x = net.linear(\"hidden\", x, net.get(\"hidden_units\")).relu();\n        \
        net.linear(\"logits\", &net.dropout(&x), 3)\n    }\n}\n```\n\n\
        What the pipeline does not fit is a function with a loop of its own: `fn train(trial: &mut Trial) -> Result<()>` with \
        `trial.get(\"lr\")`, `trial.report(step, …)`, `trial.should_stop()`, beside `fn hyperparameters() -> \
        Vec<Hyperparameter>` and, if it is not to minimize `valid/error`, `fn objective() -> Objective`.\n\n\
        `[dependencies]` and lines of TOML up to an empty one, before the Rust, add crates.",
    options: &[],
    subject: Subject::None,
    export: Export::Comment,
    parse,
};

struct DefineWorkload {
    source: Source,
    body: WorkloadCell,
}

fn parse(invocation: Invocation) -> Result<Box<dyn Command>> {
    let Invocation { arguments, body, .. } = invocation;
    let source = arguments.source.clone();
    let word = arguments.required(0, "the workload's name")?;
    arguments.at_most(1)?;
    if let Some(problem) = problem_with_name(&word.text) {
        let message = format!("`{}` is no name for a workload: {problem}", word.text);
        return Err(source.error(ErrorName::InvalidValue, word.span.clone(), message, None));
    }
    let span = body.unwrap_or_default();
    // The line of the magic is the first line of the crate's file.
    let start = span.start + usize::from(source.text()[span.clone()].starts_with('\n'));
    let body = WorkloadCell::new(&word.text, &source.text()[start..span.end], &source, start)?;
    Ok(Box::new(DefineWorkload { source, body }))
}

impl Command for DefineWorkload {
    fn run(self: Box<Self>, context: &Context, output: &dyn Output, interrupt: &Interrupt) -> Result<()> {
        let started = Instant::now();
        let name = &self.body.name;
        let builtin = tunebook_pool::describe(&context.settings.worker)
            .map_err(|error| MagicError::new(ErrorName::WorkerError, error.to_string(), None))?;
        if builtin.iter().any(|workload| workload.name == *name) {
            let message = format!("`{name}` is a workload that Tunebook brings");
            let at = self.source.text().find(name.as_str()).unwrap_or(0);
            let help = Some("give yours another name".into());
            return Err(self.source.error(ErrorName::InvalidValue, at..at + name.len(), message, help));
        }
        let mut status = Status::new(output);
        let result = self.define(context, &mut status, interrupt);
        match result {
            Ok((description, first_steps)) => {
                let report = report(&description, &first_steps, started.elapsed().as_secs_f64());
                status.end(report.bundle());
                Ok(())
            }
            Err(error) => {
                status.clear();
                Err(error)
            }
        }
    }
}

impl DefineWorkload {
    fn define(
        &self,
        context: &Context,
        status: &mut Status<'_>,
        interrupt: &Interrupt,
    ) -> Result<(WorkloadDescription, FirstSteps)> {
        let name = &self.body.name;
        let built = Workshop::open(context)?.build(&self.body, status, interrupt)?;
        let first_steps = try_out(&built.worker, name, &context.added_environment(), status, interrupt)?;
        let mut described = tunebook_pool::describe_anew(&built.worker)
            .map_err(|error| MagicError::new(ErrorName::WorkerError, error.to_string(), None))?;
        let Some(mut description) = described.pop() else {
            return Err(MagicError::new(
                ErrorName::WorkerError,
                format!("the worker of `{name}` knows no workload"),
                None,
            ));
        };
        // What a training function reports is known only once it has.
        for metric in &first_steps.metrics {
            if !description.metrics.contains(metric) {
                description.metrics.push(metric.clone());
            }
        }
        if !description.metrics.contains(&description.objective.metric) {
            let metric = &description.objective.metric;
            let message = format!("`{name}` is judged by `{metric}`, which it does not report");
            let help = format!("it reports {}", description.metrics.join(", "));
            return Err(MagicError::new(ErrorName::UnknownMetric, message, Some(help)));
        }
        let record = WorkloadRecord {
            name: name.clone(),
            source: self.body.hash(),
            body: self.body.text.clone(),
            lock: built.lock,
            description: description.clone(),
        };
        context.store()?.define_workload(&record)?;
        Ok((description, first_steps))
    }
}

fn report(description: &WorkloadDescription, first_steps: &FirstSteps, seconds: f64) -> Report {
    let name = &description.name;
    let mut learned = vec![];
    if let Some(parameters) = first_steps.parameters {
        learned.push(format!("{parameters} parameters"));
    }
    if let Some(examples) = &first_steps.examples {
        let (train, valid) = (examples.train, examples.valid);
        learned.push(format!("{train} examples to train on, {valid} to validate with"));
        learned.push(format!("inputs {:?}, targets {:?}", examples.inputs, examples.targets));
    }
    let learned = if learned.is_empty() { String::new() } else { format!(": {}", learned.join("; ")) };
    let objective = &description.objective;
    let mut report = Report::new("workloads", &json!({ "workloads": [description] }))
        .line(&format!("`{name}` is ready after {seconds:.1} s{learned}."))
        .line(&format!("It is judged by: {} {}.", objective.direction, objective.metric));
    let rows: Rows = hyperparameter_rows(description.own());
    if description.own().next().is_some() {
        report = report.table(&rows);
    }
    let shared = description.hyperparameters.len() - description.own().count();
    let more =
        if shared > 1 { format!(" `%workloads {name}` lists {shared} more hyperparameters.") } else { String::new() };
    report.line(&format!("A sweep trains it with the line `workload {name}`.{more}"))
}
