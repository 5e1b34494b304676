//! `%workloads [NAME]`: what can be trained.

use crate::context::Context;
use crate::error::{Result, suggest};
use crate::interrupt::Interrupt;
use crate::looking::show;
use crate::output::Output;
use crate::registry::{Command, Invocation, Magic, Subject};
use crate::report::Report;
use crate::syntax::Arguments;
use crate::table::{self, Rows};
use serde_json::json;
use tunebook_study::WorkloadDescription;

/// See the module.
pub const MAGIC: Magic = Magic {
    name: "workloads",
    line: true,
    cell: false,
    usage: "%workloads [NAME]",
    summary: "What can be trained; with a name, its hyperparameters with types, domains and defaults",
    help: "A sweep names a workload and declares some of its hyperparameters; the others have their defaults.",
    options: &[],
    completes: Subject::Workload,
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
        let workloads = context.workloads()?;
        let Some(word) = self.arguments.positional.first() else {
            let mut rows = Rows::new(&["workload", "what it is", "judged by", "hyperparameters"]);
            for workload in &workloads {
                let objective = format!("{} {}", workload.objective.direction, workload.objective.metric);
                let count = workload.hyperparameters.len().to_string();
                rows.row(vec![workload.name.clone(), workload.doc.clone(), objective, count]);
            }
            let report = Report::new("workloads", &json!({ "workloads": fields(&workloads) })).table(&rows);
            show(
                context,
                output,
                report.line("%workloads NAME describes one; `command` in a sweep trains any program."),
            );
            return Ok(());
        };
        let Some(workload) = workloads.iter().find(|workload| workload.name == word.text) else {
            let names: Vec<&str> = workloads.iter().map(|workload| workload.name.as_str()).collect();
            let message = format!("there is no workload `{}`", word.text);
            let help = suggest(&word.text, names);
            return Err(self.arguments.source.error("UnknownWorkload", word.span.clone(), message, help));
        };
        let mut rows = Rows::new(&["hyperparameter", "default", "values", "meaning"]);
        for h in &workload.hyperparameters {
            let default =
                if h.default == tunebook_study::Value::Null { "derived".into() } else { table::value(&h.default) };
            rows.row(vec![h.name.clone(), default, h.domain.to_string(), h.doc.clone()]);
        }
        let report = Report::new("workloads", &json!({ "workloads": fields(std::slice::from_ref(workload)) }))
            .line(&format!("{}: {}.", workload.name, workload.doc))
            .line(&format!(
                "Metrics: {}. Judged by: {} {}.",
                workload.metrics.join(", "),
                workload.objective.direction,
                workload.objective.metric
            ))
            .table(&rows);
        show(context, output, report);
        Ok(())
    }
}

fn fields(workloads: &[WorkloadDescription]) -> serde_json::Value {
    serde_json::to_value(workloads).unwrap_or_default()
}
