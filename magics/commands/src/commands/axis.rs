//! `%axis STUDY [HP…]`: the objective of every trial against each hyperparameter.

use crate::error::Result;
use crate::host::{Interrupt, Output};
use crate::magic::{Command, Context, Export, Invocation, Magic, Subject};
use crate::report::Report;
use crate::report::table::{self, Rows, number};
use crate::studies::{JUDGING, Judging, adaptive_note, no_answer};
use crate::syntax::{Arguments, Word};
use tunebook_analysis::{ValueSpan, axis, best_trial};

pub const MAGIC: Magic = Magic {
    name: "axis",
    line: true,
    body: None,
    usage: "%axis STUDY [HP…]",
    summary: "Hyperparameter axis plots: every trial's objective against each hyperparameter",
    help: "If the best trials are at an edge of a range, the range is too narrow. Infeasible trials are red crosses at \
        the edge of the chart, and the three best trials are stars (Playbook E1–E5).",
    options: &JUDGING,
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
        let result = axis(&study.definition, &trials, &labels, &objective).map_err(|error| {
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
        let best = best_trial(&trials, &objective).map(|best| match best.repeats {
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
        let report = report.line(&best.unwrap_or_default()).table(&rows).chart(chart);
        let report = adaptive_note(&study.definition).iter().fold(report, |report, note| report.line(note));
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
