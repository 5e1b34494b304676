//! `%curves STUDY`: the training curves of the best trials, of one trial, or of the best trial of each value of a
//! hyperparameter.

use crate::error::{ErrorName, Result};
use crate::host::{Interrupt, Output};
use crate::magic::{Command, Context, Export, Invocation, Magic, Subject};
use crate::report::Report;
use crate::report::table::{self, Rows, number, number_or_dash};
use crate::studies::{JUDGING, Judging, classes_at_best, gradient_norms, no_answer, trial_of, with_classes};
use crate::syntax::{Arguments, OptionSpec, PNG, Word};
use tunebook_analysis::{Curves, MAX_POINTS, MeasuredTrial, counted, curves, isolation, ranked};
use tunebook_study::store::trials_folder;
use tunebook_study::{Objective, Trial};

pub const MAGIC: Magic = Magic {
    name: "curves",
    line: true,
    body: None,
    usage: "%curves STUDY [--best N | --trial I | --by HP]",
    example: "%curves depth --best 2",
    summary: "Training curves: the metrics of trials at each step, with the best checkpoint and the gradient norm",
    help: "Without an option, it shows the three best trials. `--trial I` shows any trial, with the reason of its end \
        and the end of its log (Playbook E6), and for classification how many validation examples of each class its \
        best checkpoint gets right (H9). `--by HP` shows the best trial of each value of a hyperparameter, in a \
        separate panel (E7).\n\n\
        Dashed lines are the same metric on the training examples, if the trial reported it: a sweep with \
        `--training-metrics` does. A shaded region is where the objective gets worse while the training loss still \
        falls. The histogram shows the gradient norms of all steps, with the 90th percentile.",
    options: &[
        OptionSpec { name: "best", value: Some("N"), help: "the N best trials (default: 3)" },
        OptionSpec { name: "trial", value: Some("I"), help: "this trial, however it ended" },
        OptionSpec { name: "by", value: Some("HP"), help: "the best trial of each value of a hyperparameter" },
        JUDGING[0],
        JUDGING[1],
        JUDGING[2],
        PNG,
    ],
    subject: Subject::Study,
    export: Export::Comment,
    parse,
};

struct ShowCurves {
    arguments: Arguments,
    study: Word,
    best: usize,
    trial: Option<u32>,
    by: Option<Word>,
    judging: Judging,
}

fn parse(Invocation { arguments, .. }: Invocation) -> Result<Box<dyn Command>> {
    let study = arguments.required(0, "the study")?.clone();
    arguments.at_most(1)?;
    let best = arguments.small_count("best", 1)?.map(|n| n as usize);
    let trial = arguments.small_count("trial", 1)?;
    let given: Vec<&Word> = ["best", "trial", "by"].into_iter().filter_map(|name| arguments.option(name)).collect();
    if let [_, second, ..] = given.as_slice() {
        let message = "give only one of `--best`, `--trial` and `--by`";
        return Err(arguments.source.syntax_error(second.span.clone(), message, None));
    }
    let by = arguments.option("by").cloned();
    let judging = Judging::new(&arguments)?;
    Ok(Box::new(ShowCurves { arguments, study, best: best.unwrap_or(3), trial, by, judging }))
}

/// Says which of the trials is best, and with which value.
fn best_of(trials: &[&Trial], objective: &Objective) -> String {
    let reached = trials.iter().filter_map(|trial| Some((trial.number, objective.of(trial)?)));
    let minimized = |value: f64| objective.direction.minimized(value);
    let metric = &objective.metric;
    match reached.min_by(|(_, (a, _)), (_, (b, _))| minimized(*a).total_cmp(&minimized(*b))) {
        None => format!("None of {} has a value of {metric}.", counted(trials.len(), "trial")),
        Some((trial, (value, step))) if trials.len() == 1 => {
            format!("Trial {trial} has {metric} {} at step {step}.", number(value))
        }
        Some((trial, (value, step))) => format!(
            "Of {}, trial {trial} is the best: {metric} {} at step {step}.",
            counted(trials.len(), "trial"),
            number(value)
        ),
    }
}

/// Says that points of long curves were left out. None if none was.
fn thinned(result: &Curves) -> Option<String> {
    let long = result.trials.iter().flat_map(|curve| curve.thinned.values());
    let longest = long.clone().max()?;
    let all: usize = result.trials.iter().map(|curve| curve.metrics.len()).sum();
    Some(format!(
        "Thinned: {} of {} than {MAX_POINTS} points, at most {longest}. Of each, at most {MAX_POINTS} are listed and \
         drawn: both ends, the best step, and the smallest and the largest value of each part.",
        long.count(),
        if all == 1 { "1 curve has more".into() } else { format!("{all} curves have more") }
    ))
}

impl Command for ShowCurves {
    fn run(self: Box<Self>, context: &Context, output: &dyn Output, _: &Interrupt) -> Result<()> {
        let source = &self.arguments.source;
        let (store, study) = context.study(source, &self.study)?;
        let trials = store.trials(&study)?;
        let objective = self.judging.objective(source, &study.definition, &trials)?;
        let mut values = vec![];
        let chosen: Vec<&Trial> = match (self.trial, &self.by) {
            (None, None) => ranked(&trials, &objective).into_iter().take(self.best).collect(),
            (None, Some(word)) => {
                let result = isolation(&study.definition, &trials, &word.text, None, &objective)
                    .map_err(|error| no_answer(&self.arguments, word, error))?;
                let best = result.points.iter().filter_map(|point| Some((point, point.trial?)));
                let best =
                    best.filter_map(|(point, number)| Some((point, trials.iter().find(|t| t.number == number)?)));
                let (texts, chosen): (Vec<_>, Vec<_>) =
                    best.map(|(point, trial)| (table::bucket(&point.bucket), trial)).unzip();
                values = texts;
                chosen
            }
            (Some(number), _) => vec![trial_of(&self.arguments, "trial", &self.study, &trials, number)?],
        };
        if chosen.is_empty() {
            let message =
                format!("no trial of `{}` is complete and has a value of `{}` yet", study.name, objective.metric);
            let help = "`--trial I` shows any trial, however it ended".to_string();
            return Err(source.error(ErrorName::NoAnswer, self.study.span.clone(), message, Some(help)));
        }
        let folder = trials_folder(&context.store_file(), &study.name)?;
        let mut measured = vec![];
        for trial in &chosen {
            let measurements = store.measurements(&study, trial.number)?;
            let gradient_norms = gradient_norms(&folder.join(trial.number.to_string())).unwrap_or_default();
            measured.push(MeasuredTrial { trial, measurements, gradient_norms });
        }
        let result = curves(&measured, &objective);
        let best = format!("best {}", objective.metric);
        let mut rows =
            Rows::new(&["trial", "state", &best, "at step", "gradient norm (90 %)", "hyperparameters that vary"]);
        for (trial, curve) in chosen.iter().zip(&result.trials) {
            let reached = objective.of(trial);
            rows.row(vec![
                trial.number.to_string(),
                trial.state.to_string(),
                reached.map_or("–".into(), |(value, _)| number(value)),
                reached.map_or("–".into(), |(_, step)| step.to_string()),
                number_or_dash(curve.gradient_norms.as_ref().map(|norms| norms.p90)),
                table::params(&study.definition, &trial.params),
            ]);
        }
        let report = Report::new("curves", &result).field("study", &study.name);
        let mut report = report.line(&best_of(&chosen, &objective)).table(&rows);
        let classes = self.trial.and_then(|number| classes_at_best(&folder.join(number.to_string())));
        if let Some(found) = &classes {
            let examples = format!("the validation examples (step {})", found.step);
            report = with_classes(report.field("classes", &found.classes), &examples, &found.classes);
        }
        if let (Some(number), Some(trial)) = (self.trial, chosen.first()) {
            if let Some(reason) = &trial.reason {
                report = report.line(&format!("Trial {number} {}: {reason}.", trial.state));
            }
            let log = folder.join(number.to_string()).join("log.txt");
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            let tail: Vec<&str> = text.lines().rev().take(10).collect();
            if !tail.is_empty() {
                report = report.line(&format!("The end of its log ({}):", log.display()));
                for line in tail.into_iter().rev() {
                    report = report.line(line);
                }
            }
        }
        for curve in &result.trials {
            if let Some(region) = curve.overfitting {
                report = report.line(&format!(
                    "Trial {} overfits from step {} on: {} gets worse by {} until step {}, while the training loss still \
                     falls.",
                    curve.trial,
                    region.from,
                    objective.metric,
                    number(region.rise),
                    region.to
                ));
            }
        }
        if let Some(sentence) = thinned(&result) {
            report = report.line(&sentence);
        }
        if result.trials.iter().any(|curve| !curve.metrics.is_empty()) {
            let chart = match &self.by {
                Some(by) => {
                    tunebook_charts::curves_by_value(&study.name, &objective.metric, &by.text, &values, &result)
                }
                None => tunebook_charts::curves(&study.name, &objective.metric, &result),
            };
            report = report.chart(chart);
        }
        report.show(&context.charts, output);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::trial;
    use tunebook_study::{Direction, Measurement, ObjectiveValue, TrialState};

    #[test]
    fn long_curves_are_said_to_be_thinned() {
        let objective = Objective { metric: "e".into(), direction: Direction::Minimize, judged: ObjectiveValue::Best };
        let trial = trial(1, TrialState::Complete);
        let said = |steps: u64| {
            let measurement =
                |step| Measurement { step, seconds: 0.0, metrics: [("e".to_string(), Some(step as f64))].into() };
            let measurements = (1..=steps).map(measurement).collect();
            thinned(&curves(&[MeasuredTrial { trial: &trial, measurements, gradient_norms: vec![] }], &objective))
        };
        let sentence = said(2500).unwrap_or_default();
        assert!(sentence.starts_with("Thinned: 1 of 1 curve has more than 2000 points, at most 2500."), "{sentence}");
        assert_eq!(said(2000), None);
    }
}
