//! `%bestofk STUDY`: the distribution of the best of k trials, and what more trials would buy.

use crate::error::Result;
use crate::host::{Interrupt, Output};
use crate::magic::{Command, Context, Export, Invocation, Magic, Subject};
use crate::report::Report;
use crate::report::table::{Rows, number, number_or_dash, open_interval_or_dash};
use crate::studies::{Draws, JUDGING, Judging, no_answer};
use crate::syntax::{Arguments, PNG, Word};
use tunebook_analysis::{BestOfK, best_of_k};
use tunebook_study::Direction;
use tunebook_study::sampler::SamplerKind;

/// The table has at most about this many rows.
const ROWS: usize = 12;

pub const MAGIC: Magic = Magic {
    name: "bestofk",
    line: true,
    body: None,
    usage: "%bestofk STUDY",
    example: "%bestofk depth",
    summary: "The distribution of the best of k trials: what studies with fewer trials would have found, and what more \
        trials would buy",
    help: "For each k it shows the exact distribution of the best of k configurations that are drawn from the study \
        without replacement: the median, the quartiles, and the 5th and 95th percentiles (Playbook, \"How many trials \
        are needed\"). Above half of the configurations, the draws are more and more the same ones, so that the spread \
        shrinks by construction. A configuration with several seeds counts by their median, and an infeasible one as \
        worse than all others.",
    options: &[JUDGING[0], JUDGING[1], JUDGING[2], PNG],
    subject: Subject::Study,
    export: Export::Comment,
    parse,
};

struct ShowBestOfK {
    arguments: Arguments,
    study: Word,
    judging: Judging,
}

fn parse(Invocation { arguments, .. }: Invocation) -> Result<Box<dyn Command>> {
    let study = arguments.required(0, "the study")?.clone();
    arguments.at_most(1)?;
    let judging = Judging::new(&arguments)?;
    Ok(Box::new(ShowBestOfK { arguments, study, judging }))
}

impl Command for ShowBestOfK {
    fn run(self: Box<Self>, context: &Context, output: &dyn Output, _: &Interrupt) -> Result<()> {
        let (store, study) = context.study(&self.arguments.source, &self.study)?;
        let trials = store.trials(&study)?;
        let objective = self.judging.objective(&self.arguments.source, &study.definition, &trials)?;
        let draws = Draws::of(&study.definition, trials, &objective);
        let mut result =
            best_of_k(&draws.trials, &objective).map_err(|error| no_answer(&self.arguments, &self.study, error))?;
        if !draws.are_exchangeable {
            // It is that of a study with exchangeable trials.
            result.next_best = None;
        }
        let chart = tunebook_charts::best_of_k(&study.name, &result);
        let report = Report::new("best_of_k", &result).field("study", &study.name);
        let is_grid = study.definition.sampler == SamplerKind::Grid;
        let report = summary(&result, is_grid).iter().fold(report, |report, sentence| report.line(sentence));
        let report = draws.notes.iter().fold(report, |report, note| report.line(note));
        report.table(&rows(&result)).chart(chart).show(&context.charts, output);
        Ok(())
    }
}

/// Returns what the distribution says of more trials. A grid cannot be doubled.
fn summary(result: &BestOfK, is_grid: bool) -> Vec<String> {
    let n = result.configurations;
    let mut sentences = vec![];
    if let Some(gain) = result.gain_of_last_doubling {
        let gain = number(gain);
        let found =
            format!("The best of all {n} configurations is better than the expected best of half of them by {gain}.");
        sentences.push(match is_grid {
            true => found,
            false => format!("{found} Another doubling seldom gains more than the last one."),
        });
    } else if n < 4 {
        sentences.push(format!(
            "The number of configurations that are complete or infeasible is {n}, too few to say what a doubling \
             gains: it takes 4."
        ));
    } else {
        sentences.push(format!(
            "{} of {n} configurations are infeasible. So half of them, {}, may be infeasible ones only and then have \
             no best, and it is not known what the last doubling gained.",
            result.infeasible,
            n.div_ceil(2)
        ));
    }
    if result.next_best.is_some() {
        sentences.push(format!(
            "In half of the cases or more, another study of {n} configurations finds one that is at least as good. In \
             95 % of cases, its best {} lies in: {}.",
            result.metric,
            open_interval_or_dash(result.next_best)
        ));
    }
    if let Some(all) = result.thinned {
        sentences.push(format!("Thinned: {} of {all} values of k are listed and drawn.", result.points.len()));
    }
    let half = result.points.iter().find(|point| point.k == result.reliable_to);
    if let Some([Some(low), Some(high)]) = half.map(|point| point.range) {
        let (lucky, unlucky) = if result.direction == Direction::Minimize { (low, high) } else { (high, low) };
        sentences.push(format!(
            "Imagine studies with {} of these configurations. The luckiest 5 % find {} or better, and the unluckiest 5 \
             % find {} or worse.",
            result.reliable_to,
            number(lucky),
            number(unlucky)
        ));
    }
    sentences
}

fn rows(result: &BestOfK) -> Rows {
    let mut rows = Rows::new(&["k", "median best", "quartiles", "5 % to 95 %", "expected best"]);
    let range = |low: Option<f64>, high: Option<f64>| match (low, high) {
        (Some(low), Some(high)) => format!("{} to {}", number(low), number(high)),
        _ => "some draws have only infeasible trials".into(),
    };
    let every = result.points.len().div_ceil(ROWS).max(1);
    let last = result.points.len().saturating_sub(1);
    for (_, p) in result.points.iter().enumerate().filter(|(i, _)| i % every == 0 || *i == last) {
        let [q1, median, q3] = p.quartiles;
        rows.row(vec![
            p.k.to_string(),
            number_or_dash(median),
            range(q1, q3),
            range(p.range[0], p.range[1]),
            number_or_dash(p.expected),
        ]);
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::trial;
    use tunebook_study::{MetricSummary, Objective, ObjectiveValue, Trial, TrialState};

    #[test]
    fn that_the_gain_of_a_doubling_is_not_known_has_its_true_reason() {
        let objective = Objective { metric: "e".into(), direction: Direction::Minimize, judged: ObjectiveValue::Best };
        let said = |complete: u32, infeasible: u32| {
            let end = |number: u32| {
                let y = f64::from(number);
                let summary = MetricSummary { min: (y, 1), max: (y, 1), last: (y, 1) };
                let state = if number <= complete { TrialState::Complete } else { TrialState::Infeasible };
                Trial { summaries: [("e".to_string(), summary)].into(), ..trial(number, state) }
            };
            let trials: Vec<Trial> = (1..=complete + infeasible).map(end).collect();
            summary(&best_of_k(&trials, &objective).unwrap(), false).remove(0)
        };
        assert!(said(4, 6).starts_with("6 of 10 configurations are infeasible. So half of them, 5,"), "{}", said(4, 6));
        assert!(said(2, 1).contains("is 3, too few"), "{}", said(2, 1));
        assert!(said(5, 4).starts_with("The best of all 9 configurations is better"), "{}", said(5, 4));
    }
}
