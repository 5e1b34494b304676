//! `%insight STUDY`: the Playbook's checklist on a study. Each finding has its evidence, advice, and the next cell.

mod next_cell;

use self::next_cell::next_cell;
use crate::commands::workload;
use crate::error::Result;
use crate::host::{Interrupt, Output};
use crate::magic::{Command, Context, Export, Invocation, Magic, Subject};
use crate::report::Report;
use crate::report::table::Rows;
use crate::studies::{JUDGING, Judging, caveat, no_answer};
use crate::syntax::{Arguments, Word};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use tunebook_analysis::{AnalysisError, Finding, Severity, insight, trials_to_measure};
use tunebook_study::store::{Store, StudyRecord};
use tunebook_study::{Objective, Trial, WorkloadDescription, WorkloadReference};

pub const MAGIC: Magic = Magic {
    name: "insight",
    line: true,
    body: None,
    usage: "%insight STUDY",
    summary: "The Playbook's checklist on a study: findings, each with its evidence, advice and the next cell to run",
    help: "It looks at the best configurations and at the training curves of the best five trials: whether they lie at \
        the edge of a range, whether the search is dense enough, which trials are infeasible and where, whether \
        training overfits, is unstable, saturates early or still improves (Playbook E1–E12, G3). Each finding has its \
        numbers. Where the advice is an experiment, its cell is shown, and the first one is offered as the next input.",
    options: &JUDGING,
    subject: Subject::Study,
    export: Export::Comment,
    parse,
};

struct ShowInsight {
    arguments: Arguments,
    study: Word,
    judging: Judging,
}

fn parse(Invocation { arguments, .. }: Invocation) -> Result<Box<dyn Command>> {
    let study = arguments.required(0, "the study")?.clone();
    arguments.at_most(1)?;
    let judging = Judging::new(&arguments)?;
    Ok(Box::new(ShowInsight { arguments, study, judging }))
}

/// The findings of a study, each with its next cell.
#[derive(Default)]
pub struct Findings(Vec<(Finding, Option<String>)>);

impl Findings {
    /// Returns the findings of a study in the store. The inner error says why there are none.
    pub fn of(
        context: &Context,
        store: &Store,
        study: &StudyRecord,
        trials: &[Trial],
        objective: &Objective,
    ) -> Result<std::result::Result<Self, AnalysisError>> {
        let mut measured = BTreeMap::new();
        for number in trials_to_measure(&study.definition, trials, objective) {
            measured.insert(number, store.measurements(study, number)?);
        }
        let workload = description(context, &study.definition.workload);
        let findings = insight(&study.definition, trials, &measured, objective, workload.as_ref());
        let with_cell = |finding: Finding| {
            let cell = finding.experiment.as_ref().and_then(|experiment| next_cell(study, experiment));
            (finding, cell)
        };
        Ok(findings.map(|findings| Self(findings.into_iter().map(with_cell).collect())))
    }

    /// Returns the findings as JSON.
    pub fn as_json(&self) -> Vec<Json> {
        let with_cell = |(finding, cell): &(Finding, Option<String>)| {
            let mut finding = json!(finding);
            finding["next_cell"] = json!(cell);
            finding
        };
        self.0.iter().map(with_cell).collect()
    }

    /// Returns a sentence for each finding that is more than information.
    pub fn warnings(&self) -> Vec<String> {
        let serious = self.0.iter().filter(|(finding, _)| finding.severity > Severity::Info);
        serious.map(|(finding, _)| format!("{}: {} {}", finding.id, finding.message, finding.advice)).collect()
    }
}

impl Command for ShowInsight {
    fn run(self: Box<Self>, context: &Context, output: &dyn Output, _: &Interrupt) -> Result<()> {
        let (store, study) = context.study(&self.arguments.source, &self.study)?;
        let trials = store.trials(&study)?;
        let objective = self.judging.objective(&self.arguments.source, &study.definition, &trials)?;
        let found = Findings::of(context, &store, &study, &trials, &objective)?
            .map_err(|error| no_answer(&self.arguments, &self.study, error))?;
        let fields = json!({ "study": study.name, "findings": found.as_json() });
        let mut report = Report::new("insight", &fields);
        let mut rows = Rows::new(&["finding", "severity", "hyperparameter", "Playbook"]);
        for (finding, _) in &found.0 {
            rows.row(vec![
                finding.id.into(),
                severity(finding.severity).into(),
                finding.hyperparameter.clone().unwrap_or("–".into()),
                finding.playbook.into(),
            ]);
        }
        report = report.table(&rows);
        if let Some(caveat) = caveat(&study.definition) {
            report = report.line(caveat);
        }
        for (finding, cell) in &found.0 {
            report = report.line(&format!("{}: {} {}", finding.id, finding.message, finding.advice));
            if let Some(cell) = cell {
                report = report.line("The next cell:").code(cell);
            }
        }
        report.show(&context.charts, output);
        if let (Some(cell), Some(session)) = (found.0.into_iter().find_map(|(_, cell)| cell), output.session()) {
            session.next_input(&cell, false);
        }
        Ok(())
    }
}

/// Returns the description of a study's workload. None for a program, and if the workload cannot be described now.
fn description(context: &Context, workload: &WorkloadReference) -> Option<WorkloadDescription> {
    if matches!(workload, WorkloadReference::Command { .. } | WorkloadReference::Imported { .. }) {
        return None;
    }
    let known = workload::known(context).unwrap_or_default();
    known.into_iter().find(|known| known.reference == *workload).map(|known| known.description)
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info",
        Severity::Warning => "warning",
        Severity::Problem => "problem",
    }
}
