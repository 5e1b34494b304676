//! `%insight STUDY`: the Playbook's checklist on a study. Each finding has its evidence, advice, and the next cell.

mod next_cell;

pub use self::next_cell::again;
use self::next_cell::next_cell;
pub use self::next_cell::{sweep_cell, written};
use crate::commands::workload;
use crate::error::Result;
use crate::host::{Interrupt, Output};
use crate::magic::{Command, Context, Export, Invocation, Magic, Subject};
use crate::report::Report;
use crate::report::table::Rows;
use crate::studies::{JUDGING, Judging, flags, no_answer, origin_notes, sentences_about_failures, with_validation};
use crate::syntax::{Arguments, PNG, Word};
use serde_json::{Map, Value as Json, json};
use std::collections::BTreeMap;
use tunebook_analysis::{
    AnalysisError, BestSteps, Finding, Flags, Importance, Severity, StudyView, TrainingRegime, best_steps, causes,
    estimated_percent, importance, insight, least_for_insensitive, ranked_configurations, trials_to_measure,
};
use tunebook_charts::Chart;
use tunebook_study::store::{Store, StudyRecord};
use tunebook_study::{Objective, Trial};

pub const MAGIC: Magic = Magic {
    name: "insight",
    line: true,
    body: None,
    usage: "%insight STUDY",
    example: "%insight depth",
    summary: "The Playbook's checklist on a study: findings, each with its evidence, advice and the next cell to run",
    help: "It looks at the best configurations and at the training curves of the best five trials: whether they lie at \
        the edge of a range, whether the search is dense enough, which trials are infeasible and where, whether \
        training overfits, is unstable, saturates early or still improves (Playbook E1–E12, G1, G3), whether a metric \
        repeats (H4), and which hyperparameters matter, interact or may be fixed (D4). Each finding has its numbers. \
        The cell of the most serious finding that advises an experiment is shown and offered as the next input; the \
        JSON result has those of the others.",
    options: &[JUDGING[0], JUDGING[1], JUDGING[2], PNG],
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

/// What the checklist says of a study.
#[derive(Default)]
pub struct Findings {
    /// The findings, each with its next cell.
    findings: Vec<(Finding, Option<String>)>,
    /// None if its trials have too few evaluations.
    best_steps: Option<BestSteps>,
    importance: Importance,
    flags: Flags,
}

impl Findings {
    /// Returns the findings of a study in the store. The inner error says why there are none.
    pub fn of(
        context: &Context,
        store: &Store,
        study: &StudyRecord,
        trials: &[Trial],
        objective: &Objective,
    ) -> Result<std::result::Result<Self, AnalysisError>> {
        let definition = &study.definition;
        let mut measured = BTreeMap::new();
        for number in trials_to_measure(definition, trials, objective) {
            measured.insert(number, store.measurements(study, number)?);
        }
        let workload = workload::description_in(context, Some(store), &definition.workload);
        let workload = workload.as_ref();
        let flags = flags(store, study, trials, objective, workload)?;
        let importance = importance(definition, trials, objective);
        let (measured, of_flags, of_importance) = (&measured, &flags, Some(&importance));
        let view =
            StudyView { definition, trials, objective, measured, workload, flags: of_flags, importance: of_importance };
        let with_cell = |finding: Finding| {
            let cell = finding.experiment.as_ref().and_then(|experiment| next_cell(study, experiment, objective));
            (finding, cell)
        };
        Ok(insight(view).map(|findings| {
            let best_steps = best_steps(trials, measured, &findings, objective);
            let findings = findings.into_iter().map(with_cell).collect();
            Self { findings, best_steps, importance, flags }
        }))
    }

    /// Returns the findings as JSON.
    pub fn as_json(&self) -> Vec<Json> {
        let with_cell = |(finding, cell): &(Finding, Option<String>)| {
            let mut finding = json!(finding);
            finding["next_cell"] = json!(cell);
            finding
        };
        self.findings.iter().map(with_cell).collect()
    }

    /// Returns a sentence for each finding that is more than information.
    pub fn warnings(&self) -> Vec<String> {
        let serious = self.findings.iter().filter(|(finding, _)| finding.severity > Severity::Info);
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
        let Importance { configurations, best, explained_alone, hyperparameters, interactions } = &found.importance;
        let infeasible: Map<String, Json> = causes(&trials, &found.flags)
            .into_iter()
            .map(|(cause, count)| (cause.as_str().to_string(), json!(count)))
            .collect();
        let ranked = ranked_configurations(&trials, &objective);
        let mut values = ranked.iter().filter_map(|configuration| configuration.objective);
        let (first, second) = (values.next(), values.next());
        let difference = first.zip(second).map(|(first, second)| first - second);
        let is_exchangeable = !study.definition.sampler.is_adaptive();
        let without_chance = |mut shares: Json, nulls: &[&str]| {
            // What chance reaches is not known if the sampler adapted to results.
            for share in shares.as_array_mut().into_iter().flatten().filter(|_| !is_exchangeable) {
                nulls.iter().for_each(|null| share[*null] = Json::Null);
            }
            shares
        };
        let hyperparameters = without_chance(json!(hyperparameters), &["fanova_null", "ped_anova_null"]);
        let interactions = without_chance(json!(interactions), &["null"]);
        let fields = json!({ "study": study.name, "findings": found.as_json(), "importance": hyperparameters,
            "interactions": interactions, "configurations": configurations, "best": best,
            "explained_alone": explained_alone, "infeasible": infeasible,
            "flags": found.flags, "best_steps": found.best_steps });
        let mut report = Report::new("insight", &fields);
        if let Some(most) = what_moves_most(&found.importance, &objective, is_exchangeable) {
            report = report.line(&most);
        }
        if let Some(best_steps) = &found.best_steps {
            report = report.line(&in_words(best_steps));
        }
        report = with_validation(report, &store, &study, &trials, &objective, [first, difference])?;
        let mut rows = Rows::new(&["finding", "severity", "hyperparameter", "Playbook"]);
        for (finding, _) in &found.findings {
            rows.row(vec![
                finding.id.into(),
                severity(finding.severity).into(),
                finding.hyperparameter.clone().unwrap_or("–".into()),
                finding.playbook.into(),
            ]);
        }
        report =
            origin_notes(&study.definition, &trials).iter().fold(report.table(&rows), |report, note| report.line(note));
        let next = found.findings.iter().position(|(_, cell)| cell.is_some());
        for (i, (finding, cell)) in found.findings.iter().enumerate() {
            report = report.line(&format!("{}: {} {}", finding.id, finding.message, finding.advice));
            // One cell at a time: after the most serious finding, the others may be different ones.
            if let Some(cell) = cell.as_ref().filter(|_| next == Some(i)) {
                report = report.line("The next cell:").code(cell);
            }
        }
        for sentence in sentences_about_failures(&trials, &found.flags) {
            report = report.line(&sentence);
        }
        report = with_importance(report, &found.importance, is_exchangeable);
        let best_steps = found.best_steps.as_ref().map(|steps| tunebook_charts::best_steps(&study.name, steps));
        let importance = (!found.importance.hyperparameters.is_empty())
            .then(|| tunebook_charts::importance(&study.name, &found.importance, is_exchangeable));
        if let Some(chart) = importance.into_iter().chain(best_steps).reduce(Chart::above) {
            report = report.chart(chart);
        }
        report.show(&context.charts, output);
        if let (Some(cell), Some(session)) = (found.findings.into_iter().find_map(|(_, cell)| cell), output.session()) {
            session.next_input(&cell, false);
        }
        Ok(())
    }
}

/// Says when the configurations are best, and whether the number of steps limits them.
fn in_words(best_steps: &BestSteps) -> String {
    let BestSteps { configurations, early, late, .. } = best_steps;
    let best: usize = best_steps.best_counts.iter().sum();
    let regime = match best_steps.regime {
        TrainingRegime::ComputeBound => {
            format!("The curves of the {best} best still improve at their end: the number of steps limits them.")
        }
        TrainingRegime::NotComputeBound => {
            format!("The curves of the {best} best level off early: the number of steps does not limit them.")
        }
        TrainingRegime::Unclear => {
            format!("The curves of the {best} best do not say whether the number of steps limits them.")
        }
    };
    format!(
        "Best in the first tenth of their steps: {early} of {configurations} configurations. In the last quarter: {late}. \
         {regime}"
    )
}

/// Says which hyperparameter moves the metric most. None with too few configurations.
fn what_moves_most(found: &Importance, objective: &Objective, is_exchangeable: bool) -> Option<String> {
    let most = found.hyperparameters.iter().max_by(|a, b| a.fanova.total_cmp(&b.fanova))?;
    let (name, share) = (&most.hyperparameter, estimated_percent(most.fanova, 0));
    let metric = &objective.metric;
    Some(match is_exchangeable && !most.moves_metric() {
        true => format!(
            "No hyperparameter shows an effect on {metric}. The largest share is that of {name}: {share} of what all \
             explain alone. A hyperparameter without effect reaches up to {}.",
            estimated_percent(most.fanova_null, 0)
        ),
        false => format!("{name} moves {metric} most, with {share} of what all hyperparameters explain alone."),
    })
}

/// Adds how much each hyperparameter matters: what the two measures answer, and a table. What chance reaches is shown
/// only if the trials are exchangeable.
fn with_importance(report: Report, found: &Importance, is_exchangeable: bool) -> Report {
    let Importance { configurations, best, hyperparameters, explained_alone, .. } = found;
    if hyperparameters.is_empty() {
        let sentence = "With fewer than 10 configurations with an objective, nothing is said of what matters";
        return report.line(&format!("{sentence} ({configurations} so far)."));
    }
    let least = least_for_insensitive(hyperparameters.len());
    let report = match is_exchangeable && *configurations < least {
        true => report.line(&format!(
            "{configurations} configurations with an objective are too few to call a hyperparameter insensitive: \
             {least} or more are needed."
        )),
        false => report,
    };
    let report = report.line(&format!(
        "Taken one by one, the hyperparameters explain {} of the variance; the rest is interactions and noise. What \
         moves the metric (fANOVA): the share of each hyperparameter in that. What matters for being among the best \
         {best} of {configurations} (PED-ANOVA): how much the values of a hyperparameter differ between these and all \
         others. {}",
        estimated_percent(*explained_alone, 0),
        match is_exchangeable {
            true =>
                "In 95 % of cases, a hyperparameter without effect stays below `chance up to`. A share that is not \
                 above it shows nothing.",
            false =>
                "The sampler may have adapted to results. So the share that a hyperparameter without effect would \
                 reach is not known, and a small share says little.",
        }
    ));
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    if !is_exchangeable {
        let mut rows = Rows::new(&["hyperparameter", "moves the metric", "matters for the best"]);
        for h in hyperparameters {
            rows.row(vec![h.hyperparameter.clone(), percent(h.fanova), percent(h.ped_anova)]);
        }
        return report.table(&rows);
    }
    let mut rows =
        Rows::new(&["hyperparameter", "moves the metric", "chance up to", "matters for the best", "chance up to"]);
    for h in hyperparameters {
        let shares = [h.fanova, h.fanova_null, h.ped_anova, h.ped_anova_null].map(percent);
        rows.row([h.hyperparameter.clone()].into_iter().chain(shares).collect());
    }
    report.table(&rows)
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info",
        Severity::Warning => "warning",
        Severity::Problem => "problem",
    }
}
