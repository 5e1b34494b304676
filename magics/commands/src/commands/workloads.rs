//! `%workloads [NAME]`: lists the workloads, or describes one.

use crate::commands::workload::{self, Workload, hyperparameter_rows};
use crate::error::Result;
use crate::host::{Interrupt, Output};
use crate::magic::{Command, Context, Export, Invocation, Magic, Subject};
use crate::report::Report;
use crate::report::table::Rows;
use crate::syntax::Arguments;
use serde_json::json;
use tunebook_study::WorkloadDescription;

pub const MAGIC: Magic = Magic {
    name: "workloads",
    line: true,
    body: None,
    usage: "%workloads [NAME]",
    example: "%workloads digits_mlp",
    summary: "List what can be trained; with a name, show its hyperparameters with their values and defaults",
    help: "A sweep names a workload and declares some of its hyperparameters. The others have their default values.",
    options: &[],
    subject: Subject::Workload,
    export: Export::Comment,
    parse,
};

struct Workloads {
    arguments: Arguments,
}

fn parse(Invocation { arguments, .. }: Invocation) -> Result<Box<dyn Command>> {
    arguments.at_most(1)?;
    Ok(Box::new(Workloads { arguments }))
}

impl Command for Workloads {
    fn run(self: Box<Self>, context: &Context, output: &dyn Output, _: &Interrupt) -> Result<()> {
        let workloads = workload::known(context)?;
        let Some(word) = self.arguments.positional.first() else {
            let workloads: Vec<WorkloadDescription> = workloads.into_iter().map(|w| w.description).collect();
            let mut rows = Rows::new(&["workload", "what it is", "objective", "hyperparameters"]);
            for workload in &workloads {
                let objective = format!("{} {}", workload.objective.direction, workload.objective.metric);
                let count = workload.hyperparameters.len().to_string();
                rows.row(vec![workload.name.clone(), workload.doc.clone(), objective, count]);
            }
            let report = Report::new("workloads", &json!({ "workloads": fields(&workloads) })).table(&rows);
            let note = "`%workloads NAME` describes a workload, and `%%workload NAME` defines one. A line `command` in \
                        a sweep trains any program.";
            report.line(note).show(&context.charts, output);
            return Ok(());
        };
        let workload = &Workload::named(&word.text, &workloads, &self.arguments.source, &word.span)?.description;
        let rows = hyperparameter_rows(workload.hyperparameters.iter());
        let report = Report::new("workloads", &json!({ "workloads": fields(std::slice::from_ref(workload)) }))
            .line(&match workload.doc.as_str() {
                "" => format!("{}, defined in this notebook.", workload.name),
                doc => format!("{}: {doc}.", workload.name),
            })
            .line(&format!(
                "Metrics: {}. Objective: {} {}.",
                workload.metrics.join(", "),
                workload.objective.direction,
                workload.objective.metric
            ))
            .table(&rows);
        report.show(&context.charts, output);
        Ok(())
    }
}

fn fields(workloads: &[WorkloadDescription]) -> serde_json::Value {
    serde_json::to_value(workloads).unwrap_or_default()
}
