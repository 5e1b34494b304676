//! `%axis STUDY [HP…]`: the objective of every trial against each hyperparameter.

use crate::error::Result;
use crate::host::{Interrupt, Output};
use crate::magic::{Command, Context, Export, Invocation, Magic, Subject};
use crate::report::Report;
use crate::report::table::{self, Rows, number};
use crate::studies::{JUDGING, Judging, no_answer};
use crate::syntax::{Arguments, Word};
use tunebook_analysis::{AxisPlot, AxisPoint, axis};
use tunebook_charts::AxisPicture;
use tunebook_study::{TrialState, Value};

/// See the module.
pub const MAGIC: Magic = Magic {
    name: "axis",
    line: true,
    body: None,
    usage: "%axis STUDY [HP…]",
    summary: "Hyperparameter axis plots: every trial's objective against each hyperparameter",
    help: "Best points at the edge of a range say that the range is too narrow; infeasible trials stand at the edge of the \
        chart as red crosses, the three best are stars (Playbook E1–E5).",
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
            let named = |word: &&Word| error.to_string().contains(&format!("`{}`", word.text));
            let word = self.arguments.positional[1..].iter().find(named).unwrap_or(&self.study);
            no_answer(&self.arguments, word, error.clone())
        })?;
        let about = AxisPicture { study: &study.name, direction: objective.direction };
        let mut rows =
            Rows::new(&["hyperparameter", "range of the 3 best", "range tried", "infeasible above / below the best"]);
        for plot in &result.plots {
            let of = |wanted: &dyn Fn(&AxisPoint) -> bool| range(plot, wanted);
            let best_value =
                result.best.first().and_then(|n| plot.points.iter().find(|p| p.trial == *n)?.value.as_f64());
            let infeasible = |above: bool| {
                let side = |v: f64| best_value.is_some_and(|best| if above { v > best } else { v < best });
                let lost = plot.points.iter().filter(|p| p.state == TrialState::Infeasible);
                lost.filter(|p| p.value.as_f64().is_some_and(side)).count()
            };
            rows.row(vec![
                plot.hyperparameter.clone(),
                of(&|p| result.best.contains(&p.trial)),
                of(&|_| true),
                format!("{} / {}", infeasible(true), infeasible(false)),
            ]);
        }
        let best = result.best.first().and_then(|n| {
            let trial = trials.iter().find(|trial| trial.number == *n)?;
            Some(format!("Best {}: {} in trial {n}.", objective.metric, number(objective.of(trial)?.0)))
        });
        let chart = tunebook_charts::axis(about, &result);
        let report = Report::new("axis", &result).field("study", &study.name);
        let report = report.line(&best.unwrap_or_default()).table(&rows).chart(chart);
        report.show(&context.charts, output);
        Ok(())
    }
}

/// The values of some points: the ends of a range, or the members of a list in its order.
fn range(plot: &AxisPlot, wanted: &dyn Fn(&AxisPoint) -> bool) -> String {
    let values: Vec<&Value> = plot.points.iter().filter(|p| wanted(p)).map(|p| &p.value).collect();
    if !plot.categories.is_empty() {
        let there = plot.categories.iter().filter(|c| values.iter().any(|v| v.same_as(c)));
        return there.map(table::value).collect::<Vec<_>>().join(", ");
    }
    let numbers = values.iter().filter_map(|v| v.as_f64());
    let (low, high) = numbers.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)));
    if low >= high { number(high) } else { format!("{} to {}", number(low), number(high)) }
}
