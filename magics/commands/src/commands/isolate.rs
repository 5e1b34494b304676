//! `%isolate STUDY HP`: for each value of one hyperparameter, the best trial over all values of the others.

use crate::commands::insight::again;
use crate::error::Result;
use crate::host::{Interrupt, Output};
use crate::magic::{Command, Context, Export, Invocation, Magic, Subject};
use crate::report::Report;
use crate::report::table::{self, Rows, number, number_or_dash, open_interval_or_dash};
use crate::studies::{Draws, JUDGING, Judging, no_answer, validation};
use crate::syntax::{Arguments, OptionSpec, PNG, Word};
use tunebook_analysis::{Isolation, Level, MAX_POINTS, estimated_percent, isolation};
use tunebook_study::Params;

pub const MAGIC: Magic = Magic {
    name: "isolate",
    line: true,
    body: None,
    usage: "%isolate STUDY HP [--buckets N]",
    example: "%isolate depth hidden_layers",
    summary: "Isolation plot: for each value of one hyperparameter, the best trial over all values of the others",
    help: "A list has one point for each value, and so has a range of at most ten whole numbers. Another range is \
        divided into buckets with about the same number of configurations; equal values stay in one bucket. A \
        configuration with several seeds counts by the median over them. The bar shows the study variance: where the \
        best of another, equal study lies in 95 % of cases. Since the best of more configurations is better by chance \
        alone, the dash shows the best to expect from an equal number.",
    options: &[
        OptionSpec {
            name: "buckets",
            value: Some("N"),
            help: "number of buckets for a range (default: the square root of the number of trials, from 4 to 10)",
        },
        JUDGING[0],
        JUDGING[1],
        JUDGING[2],
        PNG,
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
    if let (Some(n), Some(word)) = (buckets.filter(|n| *n > MAX_POINTS), arguments.option("buckets")) {
        let message = format!("`--buckets {n}` is too many: a result has at most {MAX_POINTS} points");
        let help = "ask for fewer buckets, so that each has several configurations to choose the best from";
        return Err(arguments.invalid(word, message).with_help(help));
    }
    let judging = Judging::new(&arguments)?;
    Ok(Box::new(Isolate { arguments, study, hyperparameter, buckets, judging }))
}

impl Command for Isolate {
    fn run(self: Box<Self>, context: &Context, output: &dyn Output, _: &Interrupt) -> Result<()> {
        let (store, study) = context.study(&self.arguments.source, &self.study)?;
        let trials = store.trials(&study)?;
        let objective = self.judging.objective(&self.arguments.source, &study.definition, &trials)?;
        let Draws { trials, are_exchangeable, notes } = Draws::of(&study.definition, trials, &objective);
        let mut result = isolation(&study.definition, &trials, &self.hyperparameter.text, self.buckets, &objective)
            .map_err(|error| no_answer(&self.arguments, &self.hyperparameter, error))?;
        if !are_exchangeable {
            result.points.iter_mut().for_each(|point| (point.interval, point.budget_matched) = (None, None));
            if let Some(comparison) = &mut result.comparison {
                (comparison.probability, comparison.null, comparison.p_value) = (None, None, None);
                comparison.level = Level::L0;
            }
        }
        let describe = |params: &Params| table::params(&study.definition, params);
        let chart = tunebook_charts::isolation(&study.name, &result, &describe);
        let best = result.points.iter().filter_map(|point| point.objective).map(|y| objective.direction.minimized(y));
        let best = result.comparison.map_or_else(
            || best.reduce(f64::min).map(|y| objective.direction.minimized(y)),
            |comparison| result.points[comparison.best].objective,
        );
        let second = result.comparison.and_then(|comparison| result.points[comparison.second].objective);
        let difference = best.zip(second).map(|(best, second)| best - second);
        let precision = validation(&trials, &objective, best, difference);
        let report = Report::new("isolation", &result)
            .field("study", &study.name)
            .field("validation", precision.as_ref().map(|(precision, _)| precision));
        let report = summary(&result, are_exchangeable).iter().fold(report, |report, sentence| report.line(sentence));
        let report = precision.iter().fold(report, |report, (_, sentence)| report.line(sentence));
        let report = notes.iter().fold(report, |report, note| report.line(note));
        let adoption = adoption_line(&study.name, &result, &self.judging);
        let report = adoption.iter().fold(report, |report, sentence| report.line(sentence));
        let mut report = report.table(&rows(&result)).chart(chart);
        if let Some(sentence) = baseline(&result) {
            report = report.line(&sentence);
        }
        let best = result.comparison.map_or_else(
            || result.points.iter().find_map(|point| point.trial),
            |comparison| result.points[comparison.best].trial,
        );
        let best = best.and_then(|number| trials.iter().find(|trial| trial.number == number));
        if let Some((trial, cell)) = best.and_then(|trial| Some((trial, again(&study, trial, &objective)?))) {
            report = report.line(&format!("Trial {} again, with another seed:", trial.number)).code(&cell);
        }
        report.show(&context.charts, output);
        Ok(())
    }
}

/// Returns the sentence that says how to find out whether a difference stays when both are trained again.
fn adoption_line(study: &str, result: &Isolation, judging: &Judging) -> Option<String> {
    let comparison = result.comparison.as_ref().filter(|comparison| comparison.level > Level::L0)?;
    let [candidate, baseline] = [comparison.best, comparison.second].map(|at| result.points[at].trial);
    let (candidate, baseline) = (candidate?, baseline?);
    let options = judging.options();
    Some(format!(
        "`%adopt {study} --candidate {candidate} --baseline {baseline}{options}` trains both again (level L2)."
    ))
}

/// Returns sentences that compare the best point with the second best and say how certain their order is.
fn summary(result: &Isolation, are_exchangeable: bool) -> Vec<String> {
    let name = &result.hyperparameter;
    let Some(comparison) = &result.comparison else {
        return vec![format!("Fewer than two points of {name} have an objective, so there is nothing to compare yet.")];
    };
    let (first, second) = (&result.points[comparison.best], &result.points[comparison.second]);
    let (a, b) = (table::bucket(&first.bucket), table::bucket(&second.bucket));
    let best = number_or_dash(first.objective);
    let order = match first.objective == second.objective {
        true => format!("Best {}: {best} at {name} = {a} and at {b}: equal.", result.metric),
        false => {
            format!("Best {}: {best} at {name} = {a}, then {} at {b}.", result.metric, number_or_dash(second.objective))
        }
    };
    let (Some(probability), Some(null), Some(p)) = (comparison.probability, comparison.null, comparison.p_value) else {
        if !are_exchangeable {
            return vec![order];
        }
        return vec![
            order,
            format!("Level {:?}: there are too few trials to say whether the order is more than chance.", Level::L0),
        ];
    };
    let [probability, null, p] = [probability, null, p].map(|share| estimated_percent(share, 0));
    let drawn = comparison.drawn;
    let evidence = format!(
        "Draw {drawn} configurations of each value at random. In {probability} of such draws, {a} has the best one. \
         Even if both values were equally good, the one that happens to be ahead would have the best one in {null} of \
         draws. A lead as large as this one would appear in {p} of studies."
    );
    let verdict = match comparison.level {
        Level::L0 => {
            format!("Level L0: these trials do not show that {a} is better than {b}. More trials for each could.")
        }
        Level::L1 | Level::L2 | Level::L3 => format!(
            "Level L1: {a} is better than {b} by more than the chance of the search explains. Whether it stays so when \
             both are trained again is not known yet."
        ),
    };
    vec![order, evidence, verdict]
}

/// Returns a sentence that compares the best point with the baseline. None if there is no other point than that, or no
/// baseline.
fn baseline(result: &Isolation) -> Option<String> {
    let baseline = result.points.iter().find(|point| point.is_baseline)?;
    let (best, own) = (&result.points[result.comparison.as_ref()?.best], baseline.objective?);
    let (name, value) = (&result.hyperparameter, table::bucket(&baseline.bucket));
    Some(if best.is_baseline {
        format!("The baseline {name} = {value} is the best one, with {}.", number(own))
    } else {
        let gain = (own - best.objective?).abs();
        format!(
            "The baseline {name} = {value} has {} with {} configurations, {} worse than the best.",
            number(own),
            baseline.configurations,
            number(gain)
        )
    })
}

fn rows(result: &Isolation) -> Rows {
    let matched = format!("expected best of {}", result.matched);
    let best = format!("best {}", result.metric);
    let counted = if result.has_seeds() { "configurations" } else { "trials" };
    let has_failed = result.points.iter().any(|p| p.failed > 0);
    // A study whose trials are not exchangeable has neither.
    let has_interval = result.points.iter().any(|p| p.interval.is_some());
    let has_matched = result.points.iter().any(|p| p.budget_matched.is_some());
    let mut headers = vec![result.hyperparameter.as_str(), &best];
    headers.extend(has_interval.then_some("best of a repeated study (95 %)"));
    headers.extend(has_matched.then_some(matched.as_str()));
    headers.extend([counted, "infeasible"]);
    headers.extend(has_failed.then_some("failed"));
    headers.push("trial");
    let mut rows = Rows::new(&headers);
    for p in &result.points {
        let mut row = vec![
            if p.is_baseline { format!("{} (baseline)", table::bucket(&p.bucket)) } else { table::bucket(&p.bucket) },
            number_or_dash(p.objective),
        ];
        row.extend(has_interval.then(|| open_interval_or_dash(p.interval)));
        row.extend(has_matched.then(|| number_or_dash(p.budget_matched)));
        row.extend([
            p.configurations.to_string(),
            match p.infeasible {
                0 => "0".into(),
                n => format!("{n} ({:.0} %)", 100.0 * n as f64 / p.configurations as f64),
            },
        ]);
        row.extend(has_failed.then(|| p.failed.to_string()));
        row.push(p.trial.map_or("–".into(), |n| n.to_string()));
        rows.row(row);
    }
    rows
}

#[cfg(test)]
mod tests {
    use crate::testing::{FakeHost, context, definition, magics_in, run_in};

    #[test]
    fn an_error_about_a_study_without_a_result_points_at_the_study_and_advises() {
        let folder = tempfile::tempdir().unwrap();
        context(folder.path()).store().unwrap().create_study("empty", &definition()).unwrap();
        let magics = magics_in(folder.path());
        for text in ["%isolate empty lr", "%bestofk empty", "%curves empty --by lr"] {
            let error = run_in(&magics, text, &FakeHost::default()).unwrap_err();
            let at = text.find("empty").unwrap();
            assert!(error.name.as_str() == "NoAnswer" && error.points_into(&(at..at + 5)), "{text}: {error:?}");
            assert!(error.help.as_ref().is_some_and(|help| help.contains("`%study empty`")), "{text}: {error:?}");
        }
        let error = run_in(&magics, "%isolate empty lr --buckets 2001", &FakeHost::default()).unwrap_err();
        assert_eq!(error.name.as_str(), "InvalidValue");
    }
}
