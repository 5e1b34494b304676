//! `%axis STUDY [HP…]`: the objective of every trial against each hyperparameter.

use crate::commands::workload;
use crate::error::Result;
use crate::host::{Interrupt, Output};
use crate::magic::{Command, Context, Export, Invocation, Magic, Subject};
use crate::report::Report;
use crate::report::table::{self, Rows, number};
use crate::studies::{JUDGING, Judging, flags, no_answer, origin_notes, sentences_about_failures};
use crate::syntax::{Arguments, PNG, Word};
use std::collections::BTreeMap;
use tunebook_analysis::{Finding, StudyView, ValueSpan, axis, best_trial, counted, insight};

pub const MAGIC: Magic = Magic {
    name: "axis",
    line: true,
    body: None,
    usage: "%axis STUDY [HP…]",
    example: "%axis depth lr",
    summary: "Hyperparameter axis plots: every trial's objective against each hyperparameter",
    help: "If the best trials are at an edge of a range, the range is too narrow; the checklist shades such an edge. \
        Infeasible trials are red crosses at the edge of the chart, trials that are no better than an untrained model \
        are red rings, and the three best trials are stars (Playbook E1–E5).",
    options: &[JUDGING[0], JUDGING[1], JUDGING[2], PNG],
    subject: Subject::Study,
    export: Export::Comment,
    parse,
};

struct AxisPlots {
    arguments: Arguments,
    study: Word,
    judging: Judging,
}

fn parse(Invocation { arguments, .. }: Invocation) -> Result<Box<dyn Command>> {
    let study = arguments.required(0, "the study")?.clone();
    let judging = Judging::new(&arguments)?;
    Ok(Box::new(AxisPlots { arguments, study, judging }))
}

impl Command for AxisPlots {
    fn run(self: Box<Self>, context: &Context, output: &dyn Output, _: &Interrupt) -> Result<()> {
        let (store, study) = context.study(&self.arguments.source, &self.study)?;
        let trials = store.trials(&study)?;
        let objective = self.judging.objective(&self.arguments.source, &study.definition, &trials)?;
        let labels: Vec<String> = self.arguments.positional[1..].iter().map(|word| word.text.clone()).collect();
        let workload = workload::description(context, &study.definition.workload);
        let flags = flags(&store, &study, &trials, &objective, workload.as_ref())?;
        let (definition, measured, workload) = (&study.definition, &BTreeMap::new(), workload.as_ref());
        let (trials, objective, flags, importance) = (&trials[..], &objective, &flags, None);
        let view = StudyView { definition, trials, objective, measured, workload, flags, importance };
        let findings = insight(view).unwrap_or_default();
        let result = axis(definition, trials, &labels, objective, &findings, flags).map_err(|error| {
            let named = |word: &&Word| error.hyperparameter() == Some(&word.text);
            let word = self.arguments.positional[1..].iter().find(named).unwrap_or(&self.study);
            no_answer(&self.arguments, word, error.clone())
        })?;
        let mut rows =
            Rows::new(&["hyperparameter", "range of the 3 best", "range tried", "infeasible above / below the best"]);
        for plot in &result.plots {
            rows.row(vec![
                plot.hyperparameter.clone(),
                values(&plot.best_span),
                values(&plot.tried_span),
                format!("{} / {}", plot.infeasible_above, plot.infeasible_below),
            ]);
        }
        let best = best_trial(trials, objective).map(|best| match best.repeats {
            1 => format!("Best {}: {} in trial {}.", objective.metric, number(best.objective), best.trial),
            seeds => format!(
                "Best {}: {}, the median of the {seeds} seeds of trial {}.",
                objective.metric,
                number(best.objective),
                best.trial
            ),
        });
        let chart = tunebook_charts::axis(&study.name, &result);
        let report = Report::new("axis", &result).field("study", &study.name);
        let none = || {
            format!("Among {}, no configuration has a value of {}.", counted(trials.len(), "trial"), objective.metric)
        };
        let mut report = report.line(&best.unwrap_or_else(none)).table(&rows).chart(chart);
        let thinned = result.plots.iter().filter_map(|plot| Some((plot.points.len(), plot.thinned?)));
        if let Some((kept, all)) = thinned.max_by_key(|(_, all)| *all) {
            report = report
                .line(&format!("Thinned: {kept} of {all} trials are listed and drawn, the three best among them."));
        }
        let is_drawn = |finding: &&Finding| {
            let label = finding.hyperparameter.as_ref();
            let plot = result.plots.iter().find(|plot| Some(&plot.hyperparameter) == label);
            finding.side.is_some() && plot.is_some_and(|plot| !plot.suspicious.is_empty())
        };
        for finding in findings.iter().filter(is_drawn) {
            report = report.line(&format!("Shaded: {} {}", finding.message, finding.advice));
        }
        for sentence in sentences_about_failures(trials, flags) {
            report = report.line(&sentence);
        }
        report = origin_notes(&study.definition, trials).iter().fold(report, |report, note| report.line(note));
        report.show(&context.charts, output);
        Ok(())
    }
}

fn values(span: &ValueSpan) -> String {
    match span {
        ValueSpan::Empty => "–".into(),
        ValueSpan::Values(values) => values.iter().map(table::value).collect::<Vec<_>>().join(", "),
        ValueSpan::Range([low, high]) if low == high => number(*low),
        ValueSpan::Range([low, high]) => format!("{} to {}", number(*low), number(*high)),
    }
}
