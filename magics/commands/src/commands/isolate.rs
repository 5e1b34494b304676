//! `%isolate STUDY HP`: for each value of one hyperparameter, the best trial over all values of the others.

use crate::error::Result;
use crate::host::{Interrupt, Output};
use crate::magic::{Command, Context, Export, Invocation, Magic, Subject};
use crate::report::Report;
use crate::report::table::{self, Rows, interval_or_dash, number, number_or_dash};
use crate::studies::{JUDGING, Judging, no_answer};
use crate::syntax::{Arguments, OptionSpec, Word};
use tunebook_analysis::{Bucket, Isolation, isolation};

pub const MAGIC: Magic = Magic {
    name: "isolate",
    line: true,
    body: None,
    usage: "%isolate STUDY HP [--buckets N]",
    summary: "Isolation plot: for each value of one hyperparameter, the best trial over all values of the others",
    help: "A list has one point for each value. A range is divided into buckets with about the same number of trials; \
        trials with equal values stay in one bucket. The bar shows the study variance: 95 % of the best objectives \
        that other studies with as many trials would find. Since the best of more trials is better by chance alone, \
        the dash shows the best to expect from an equal number of trials.",
    options: &[
        OptionSpec {
            name: "buckets",
            value: Some("N"),
            help: "number of buckets for a range (default: the square root of the number of trials, from 4 to 10)",
        },
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

/// Returns one sentence that compares the best point with the second best and says how certain their order is.
fn summary(result: &Isolation) -> String {
    let name = &result.hyperparameter;
    let Some(comparison) = &result.comparison else {
        return format!("Fewer than two points of {name} have a complete trial, so there is nothing to compare yet.");
    };
    let (first, second) = (&result.points[comparison.best], &result.points[comparison.second]);
    let verdict = match comparison.probability {
        Some(p) => format!(
            "in {:.0} % of studies with {} of these trials for each value, they would come out in this order (this \
             does not include the variance of training again)",
            100.0 * p,
            comparison.drawn
        ),
        None => "there are too few trials to say how certain this is".into(),
    };
    if first.objective == second.objective {
        let (best, a, b) = (number_or_dash(first.objective), values(&first.bucket), values(&second.bucket));
        return format!("Best {}: {best} at {name} = {a} and at {b}: equal; {verdict}.", result.metric);
    }
    format!(
        "Best {}: {} at {name} = {}, then {} at {}; {verdict}.",
        result.metric,
        number_or_dash(first.objective),
        values(&first.bucket),
        number_or_dash(second.objective),
        values(&second.bucket)
    )
}

fn rows(result: &Isolation) -> Rows {
    let matched = format!("expected best of {}", result.matched_trials);
    let best = format!("best {}", result.metric);
    let mut rows =
        Rows::new(&[&result.hyperparameter, &best, "95 % interval", &matched, "trials", "infeasible", "trial"]);
    for p in &result.points {
        rows.row(vec![
            values(&p.bucket),
            number_or_dash(p.objective),
            interval_or_dash(p.interval),
            number_or_dash(p.budget_matched),
            p.trials.len().to_string(),
            p.infeasible.to_string(),
            p.trial.map_or("–".into(), |n| n.to_string()),
        ]);
    }
    rows
}
