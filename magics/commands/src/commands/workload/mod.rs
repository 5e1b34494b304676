//! `%%workload NAME`: defines a model of the user, compiles it as a worker and trains it for two steps.

mod build_cache;
mod cargo;
mod cells;
mod known;
mod locked;
mod source;
mod tokens;
mod try_out;

pub use build_cache::BuildCache;
pub use cells::crates_for;
pub use known::{
    Workload, continued, crate_differences, description, description_in, hyperparameter_rows, known, known_in, worker,
};
pub use locked::CrateDifference;
pub use source::WorkloadCell;

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

pub const MAGIC: Magic = Magic {
    name: "workload",
    line: false,
    body: Some(Body::Crate),
    usage: "%%workload NAME\n…Rust…",
    example: "%%workload bowl\nfn objective() -> Objective {\n    Objective { metric: \"height\".into(), direction: Direction::Minimize, judged: ObjectiveValue::Final }\n}\nfn hyperparameters() -> Vec<Hyperparameter> {\n    vec![Hyperparameter::real(\"lr\", 0.0..=1.0, 0.1), Hyperparameter::whole(\"steps\", 1..=1000, 20)]\n}\nfn train(trial: &mut Trial) -> Result<()> {\n    let (mut x, steps): (f64, u64) = (1.0, trial.get(\"steps\"));\n    for step in 1..=steps {\n        x -= 2.0 * trial.get::<f64>(\"lr\") * x;\n        trial.report(step, &[(\"height\", x * x)])?;\n    }\n    Ok(())\n}",
    summary: "Define your own model; it is compiled, tried for two steps, and can then be trained by any study",
    help: "The body is Rust with `tunebook_training::prelude::*` in scope. A type that implements `Workload` says \
        where its data are and what its forward computes. The training pipeline brings the optimizer, the schedule, \
        evaluation, checkpoints and their hyperparameters:\n\n\
        ```\n%%workload wine\npub struct Wine;\n\nimpl Workload for Wine {\n    \
        fn data(&self, _: &Hyperparameters) -> Result<Data> {\n        \
        Ok(Table::read(\"wine.csv\")?.classify(\"class\")?.split(0.7, 0.15, 0)?.standardized())\n    }\n\n    \
        fn hyperparameters(&self) -> Vec<Hyperparameter> {\n        \
        vec![Hyperparameter::whole(\"hidden_units\", 1..=4096, 32).shapes()]\n    }\n\n    \
        fn forward(&self, net: &Net, x: &Tensor) -> Tensor {\n        \
        let x = net.linear(\"hidden\", x, net.get(\"hidden_units\")).relu();\n        \
        net.linear(\"logits\", &net.dropout(&x), 3)\n    }\n}\n```\n\n\
        If the training pipeline does not fit, write a function with its own loop: `fn train(trial: &mut Trial) -> \
        Result<()>`. It uses `trial.get(\"lr\")`, `trial.report(step, …)` and `trial.should_stop()`. `fn \
        hyperparameters() -> Vec<Hyperparameter>` declares its hyperparameters, and `fn objective() -> Objective` its \
        objective, if that is not to minimize `valid/error`.\n\n\
        To add crates, begin the body with `[dependencies]` and lines of TOML, followed by an empty line.",
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
        let message = format!("`{}` cannot be the name of a workload: {problem}", word.text);
        return Err(source.error(ErrorName::InvalidValue, word.span.clone(), message, None));
    }
    let span = body.unwrap_or_default();
    // The body begins after the line of the magic. In the crate's file, a generated line takes the place of that line.
    let start = span.start + usize::from(source.text()[span.clone()].starts_with('\n'));
    Ok(match WorkloadCell::new(&word.text, &source.text()[start..span.end], &source, start) {
        Ok(body) => Box::new(DefineWorkload { source, body }),
        Err(error) => Box::new(Refused { name: word.text.clone(), error }),
    })
}

/// A cell whose body is no workload. Its error comes when the cell runs, because only then an earlier version of the
/// workload is out of date.
struct Refused {
    name: String,
    error: MagicError,
}

impl Command for Refused {
    fn run(self: Box<Self>, context: &Context, _: &dyn Output, _: &Interrupt) -> Result<()> {
        context.failed_workloads.lock().insert(self.name);
        Err(self.error)
    }
}

impl Command for DefineWorkload {
    fn run(self: Box<Self>, context: &Context, output: &dyn Output, interrupt: &Interrupt) -> Result<()> {
        let started = Instant::now();
        let name = &self.body.name;
        let builtin = tunebook_pool::describe(&context.settings.worker)
            .map_err(|error| MagicError::new(ErrorName::WorkerError, error.to_string(), None))?;
        if builtin.iter().any(|workload| workload.name == *name) {
            let message = format!("`{name}` is the name of a built-in workload");
            let at = self.source.text().find(name.as_str()).unwrap_or(0);
            let help = Some("choose another name".into());
            return Err(self.source.error(ErrorName::InvalidValue, at..at + name.len(), message, help));
        }
        let mut status = Status::new(output);
        let result = self.define(context, &mut status, interrupt);
        match result {
            Ok((description, first_steps)) => {
                context.failed_workloads.lock().remove(name);
                // The next study loads its data anew, also those that the code reads in a way of its own.
                drop(context.pool.lock().take());
                let report = report(&description, &first_steps, started.elapsed().as_secs_f64());
                status.end(report);
                Ok(())
            }
            Err(error) => {
                status.clear();
                context.failed_workloads.lock().insert(name.clone());
                Err(error)
            }
        }
    }
}

impl DefineWorkload {
    /// Compiles the workload, tries it, and records it in the store.
    fn define(
        &self,
        context: &Context,
        status: &mut Status<'_>,
        interrupt: &Interrupt,
    ) -> Result<(WorkloadDescription, FirstSteps)> {
        let name = &self.body.name;
        // The cell of a recorded study goes on with the crates with which the study began.
        let recorded = context.store_to_read()?.map(|store| store.workload(&self.body.hash())).transpose()?.flatten();
        let recorded = recorded.map(|record| record.lock);
        let built = BuildCache::open(context)?.build(&self.body, recorded.as_deref(), status, interrupt)?;
        let first_steps = try_out(&built.worker, name, &context.added_environment(), status, interrupt)?;
        let mut described = tunebook_pool::describe_anew(&built.worker)
            .map_err(|error| MagicError::new(ErrorName::WorkerError, error.to_string(), None))?;
        let Some(mut description) = described.pop() else {
            return Err(MagicError::new(
                ErrorName::WorkerError,
                format!("the worker of `{name}` contains no workload"),
                None,
            ));
        };
        // The metrics of a training function are known only from what it reports.
        for metric in &first_steps.metrics {
            if !description.metrics.contains(metric) {
                description.metrics.push(metric.clone());
            }
        }
        if !description.metrics.contains(&description.objective.metric) {
            let metric = &description.objective.metric;
            let message = format!("the objective of `{name}` is `{metric}`, but `{name}` does not report that metric");
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
    let mut facts = vec![];
    if let Some(parameters) = first_steps.parameters {
        facts.push(format!("{parameters} parameters"));
    }
    if let Some(examples) = &first_steps.examples {
        let (train, valid) = (examples.train, examples.valid);
        facts.push(format!("{train} training examples, {valid} validation examples"));
        facts.push(format!("inputs {:?}, targets {:?}", examples.inputs, examples.targets));
    }
    let facts = if facts.is_empty() { String::new() } else { format!(": {}", facts.join("; ")) };
    let objective = &description.objective;
    let mut report = Report::new("workloads", &json!({ "workloads": [description] }))
        .line(&format!("`{name}` is ready after {seconds:.1} s{facts}."))
        .line(&format!("Objective: {} {}.", objective.direction, objective.metric));
    for line in &first_steps.description {
        report = report.line(line);
    }
    let rows: Rows = hyperparameter_rows(description.own());
    if description.own().next().is_some() {
        report = report.table(&rows);
    }
    let shared = description.hyperparameters.len() - description.own().count();
    let more =
        if shared > 1 { format!(" `%workloads {name}` lists {shared} more hyperparameters.") } else { String::new() };
    report.line(&format!("A sweep trains it with the line `workload {name}`.{more}"))
}
