//! `%isolate STUDY HP`: the best over the nuisances for each value of one hyperparameter.

use crate::error::Result;
use crate::host::{Interrupt, Output};
use crate::magic::{Command, Context, Export, Invocation, Magic, Subject};
use crate::report::Report;
use crate::report::table::{self, Rows, number};
use crate::studies::{JUDGING, Judging, no_answer};
use crate::syntax::{Arguments, OptionSpec, Word};
use tunebook_analysis::{Bucket, Isolation, isolation};

/// See the module.
pub const MAGIC: Magic = Magic {
    name: "isolate",
    line: true,
    body: None,
    usage: "%isolate STUDY HP [--buckets N]",
    summary: "Isolation plot: the best over the nuisances for each value of a hyperparameter",
    help: "A list has one point for each value. A range has buckets with about the same number of trials; trials with \
        equal values stay in one bucket. The bar is the study variance: 95 % of the bests that another study of as many \
        trials would find. Since the best of more trials is better by luck alone, the dash shows the expected best at an \
        equal number of trials.",
    options: &[
        OptionSpec { name: "buckets", value: Some("N"), help: "buckets of a range (default: √trials, 4 to 10)" },
        JUDGING[0],
        JUDGING[1],
        JUDGING[2],
    ],
    subject: Subject::Study,
    export: Export::Comment,
    parse,
};

struct Isolate {
    arguments: Arguments,
    study: Word,
    hyperparameter: Word,
    buckets: Option<usize>,
    judging: Judging,
}

fn parse(Invocation { arguments, .. }: Invocation) -> Result<Box<dyn Command>> {
    let study = arguments.required(0, "the study")?.clone();
    let hyperparameter = arguments.required(1, "the hyperparameter")?.clone();
    arguments.at_most(2)?;
    let buckets = arguments.small_count("buckets", 1)?.map(|n| n as usize);
    let judging = Judging::new(&arguments)?;
    Ok(Box::new(Isolate { arguments, study, hyperparameter, buckets, judging }))
}

impl Command for Isolate {
    fn run(self: Box<Self>, context: &Context, output: &dyn Output, _: &Interrupt) -> Result<()> {
        let (store, study) = context.study(&self.arguments.source, &self.study)?;
        let trials = store.trials(&study)?;
        let objective = self.judging.objective(&self.arguments.source, &study.definition, &trials)?;
        let result = isolation(&study.definition, &trials, &self.hyperparameter.text, self.buckets, &objective)
            .map_err(|error| no_answer(&self.arguments, &self.hyperparameter, error))?;
        let chart = tunebook_charts::isolation(&study.name, &result);
        let report = Report::new("isolation", &result).field("study", &study.name);
        let report = report.line(&summary(&result)).table(&rows(&result)).chart(chart);
        report.show(&context.charts, output);
        Ok(())
    }
}

fn values(bucket: &Bucket) -> String {
    match bucket {
        Bucket::Value(v) => table::value(v),
        Bucket::Range([low, high]) if low == high => number(*low),
        Bucket::Range([low, high]) => format!("{} to {}", number(*low), number(*high)),
    }
}

/// The comparison in a sentence, with what it rests on.
fn summary(result: &Isolation) -> String {
    let name = &result.hyperparameter;
    let Some(comparison) = &result.comparison else {
        return format!("Only one value of {name} has a complete trial: there is nothing to compare yet.");
    };
    let (first, second) = (&result.points[comparison.best], &result.points[comparison.second]);
    let shown = |x: Option<f64>| x.map_or("–".into(), number);
    let verdict = match comparison.probability {
        Some(p) => format!(
            "of studies with {} of these trials each, {:.0} % would rank them in this order (the chance of re-training is not in it)",
            comparison.drawn,
            100.0 * p
        ),
        None => "too few trials to say how sure that is".into(),
    };
    if first.objective == second.objective {
        let (best, a, b) = (shown(first.objective), values(&first.bucket), values(&second.bucket));
        return format!("Best {}: {best} at {name} = {a} and at {b}: equal; {verdict}.", result.metric);
    }
    format!(
        "Best {}: {} at {name} = {}, then {} at {}; {verdict}.",
        result.metric,
        shown(first.objective),
        values(&first.bucket),
        shown(second.objective),
        values(&second.bucket)
    )
}

fn rows(result: &Isolation) -> Rows {
    let matched = format!("expected best of {}", result.matched_trials);
    let best = format!("best {}", result.metric);
    let mut rows =
        Rows::new(&[&result.hyperparameter, &best, "95 % interval", &matched, "trials", "infeasible", "trial"]);
    let shown = |x: Option<f64>| x.map_or("–".into(), number);
    for p in &result.points {
        let interval = p.interval.map_or("–".into(), |[a, b]| format!("{} to {}", number(a), number(b)));
        rows.row(vec![
            values(&p.bucket),
            shown(p.objective),
            interval,
            shown(p.budget_matched),
            p.trials.len().to_string(),
            p.infeasible.to_string(),
            p.trial.map_or("–".into(), |n| n.to_string()),
        ]);
    }
    rows
}
