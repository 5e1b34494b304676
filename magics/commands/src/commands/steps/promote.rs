//! `%steps STUDY --promote FACTOR`: a longer round of a study (Playbook G8 to G11).

use super::plan::rounded;
use crate::commands::insight::sweep_cell;
use crate::commands::workload::description;
use crate::error::{ErrorName, Result};
use crate::host::{Interrupt, Output};
use crate::magic::{Command, Context};
use crate::report::Report;
use crate::report::table::{self, Rows, number};
use crate::studies::{must_run_again, without_result_help};
use crate::syntax::{Arguments, OptionSpec, Word};
use serde::Serialize;
use serde_json::json;
use tunebook_analysis::{
    NoPromotion, Prolonged, RankAgreement, Transfer, configurations, prolonged, rank_agreement, ranked, transfer,
};
use tunebook_study::store::{Store, StudyRecord};
use tunebook_study::{
    Distribution, Hyperparameter, Objective, Params, Role, SearchSpace, StopEarly, StudyDefinition, Trial, Value,
    WorkloadDescription,
};

/// The longer round searches around so many of the best configurations.
const BEST: usize = 5;
/// The longer round has at least so many configurations.
const LEAST_LONG: u32 = 5;
/// So many common configurations are needed to compare the ranks of two rounds.
const LEAST_CHECKED: u32 = 8;
/// The ranges of the longer round reach so far beyond the best values, as a share of the old range.
const MARGIN: f64 = 0.1;

pub struct Promote {
    arguments: Arguments,
    study: Word,
    factor: f64,
}

impl Promote {
    /// Reads `STUDY --promote FACTOR`.
    pub fn new(arguments: Arguments, options: &[OptionSpec]) -> Result<Self> {
        let study = arguments.required(0, "the study")?.clone();
        arguments.at_most(1)?;
        let other = options.iter().map(|spec| spec.name).filter(|name| *name != "promote");
        if let Some(word) = other.filter_map(|name| arguments.option(name)).next() {
            let message = "with `--promote`, this magic takes the name of a study and no other option";
            return Err(arguments.source.syntax_error(word.span.clone(), message, None));
        }
        let word = arguments.option("promote");
        let factor = word.and_then(|word| word.text.parse::<f64>().ok()).filter(|f| *f > 1.0 && *f <= 1e6);
        match (factor, word) {
            (Some(factor), _) => Ok(Self { arguments, study, factor }),
            (None, word) => {
                let word = word.cloned().unwrap_or_else(|| study.clone());
                let message = format!("`--promote` takes a factor above 1, not `{}`", word.text);
                Err(arguments.invalid(&word, message))
            }
        }
    }
}

impl Command for Promote {
    fn run(self: Box<Self>, context: &Context, output: &dyn Output, _: &Interrupt) -> Result<()> {
        let (store, study) = context.study(&self.arguments.source, &self.study)?;
        must_run_again(&self.arguments, &self.study, &study)?;
        let trials = store.trials(&study)?;
        let definition = &study.definition;
        let objective = &definition.objective;
        let known = description(context, &definition.workload);
        let longer = prolonged(&definition.space, known.as_ref(), self.factor).map_err(|why| {
            let (message, help) = match why {
                NoPromotion::NoSteps => (
                    format!("`{}` has no hyperparameter `steps`, so that its trials cannot be prolonged", study.name),
                    "pass the number of steps to the program: `fixed steps = N` and `{steps}` on its `command` line",
                ),
                NoPromotion::StepsVary => (
                    format!("the trials of `{}` differ in their `steps`", study.name),
                    "a round has one number of steps for all trials (Playbook G2)",
                ),
            };
            self.arguments.source.error(ErrorName::NoAnswer, self.study.span.clone(), message, Some(help.into()))
        })?;
        let best = ranked(&trials, objective);
        let top: Vec<&Trial> = best.iter().take(BEST).copied().collect();
        let Some(first) = top.first() else {
            let message =
                format!("no trial of `{}` is complete and has a value of `{}` yet", study.name, objective.metric);
            let help = Some(without_result_help(&study.name));
            return Err(self.arguments.source.error(ErrorName::NoAnswer, self.study.span.clone(), message, help));
        };
        let configurations = study.asked / definition.repeats.max(1);
        let share = (f64::from(configurations) / self.factor).ceil() as u32;
        let name = format!("{}-x{}", study.name, number(self.factor));
        // The longer trials are the next round. What was given for this one was not chosen for it. A trial that is
        // stopped early has no rank, so those of the check are trained to their end.
        let next = StudyDefinition {
            round: definition.round.map(|n| n.saturating_add(1)),
            given: vec![],
            given_later: vec![],
            ..definition.clone()
        };
        let near = StudyDefinition { space: around(&longer.space, &top, known.as_ref()), ..next.clone() };
        let same = StudyDefinition {
            space: longer.space.clone(),
            given: definition.given.clone(),
            stop_early: StopEarly::None,
            ..next
        };
        let long = sweep_cell(&name, &near, share.max(LEAST_LONG), "");
        let checked = share.max(with_rank(&trials, objective, LEAST_CHECKED)).min(configurations.max(1));
        let check = sweep_cell(&format!("{name}-check"), &same, checked, "");
        let rounds = rounds(&store, &study, &trials, objective, longer.steps[0])?;
        let transfers = transfers(&definition.space, &first.params, known.as_ref());
        let row = |of: &Transferred| json!({ "hyperparameter": of.label, "likely": of.likely });
        let fields = json!({
            "study": study.name, "factor": self.factor, "steps": longer.steps, "schedule": longer.schedule,
            "transfer": transfers.iter().map(row).collect::<Vec<_>>(), "rounds": rounds, "next_cell": long,
            "check_cell": check,
        });
        let mut report = Report::new("promotion", &fields);
        for sentence in sentences(&study, &longer, &rounds) {
            report = report.line(&sentence);
        }
        let mut rows = Rows::new(&["hyperparameter", "conclusions transfer", "best value"]);
        for Transferred { label, likely, best } in transfers {
            rows.row(vec![label, in_words(likely).into(), best.as_ref().map_or("–".into(), table::value)]);
        }
        let report = report
            .table(&rows)
            .line(
                "Whether regularization and augmentation help may change with the length; they hardly help if the \
                 training examples cannot be fit (Playbook G9).",
            )
            .line(&format!(
                "The longer round, in the ranges of the {} best configurations and a tenth of the old range around them:",
                top.len()
            ))
            .code(&long)
            .line(&format!(
                "To check whether conclusions hold, the first {checked} configurations of this study for as long{} (run \
                 this magic again afterwards):",
                if definition.stop_early.is_none() { "" } else { ", each to its end, because a stopped trial has no rank" }
            ))
            .code(&check);
        report.show(&context.charts, output);
        if let Some(session) = output.session() {
            session.next_input(&long, false);
        }
        Ok(())
    }
}

/// Returns how many of the first configurations of a study are needed, so that `wanted` of them have a rank. Trials
/// that were stopped early have none.
fn with_rank(trials: &[Trial], objective: &Objective, wanted: u32) -> u32 {
    let all = configurations(trials, objective);
    let ranked = all.iter().filter(|configuration| configuration.is_finished && configuration.objective.is_some());
    let mut indices: Vec<u32> = ranked.map(|configuration| configuration.trials[0].configuration).collect();
    indices.sort_unstable();
    let last = indices.get(wanted as usize - 1).or(indices.last());
    last.map_or(wanted, |index| wanted.max(index + 1))
}

/// Another round of a study.
#[derive(Serialize)]
struct Round {
    #[serde(rename = "study")]
    name: String,
    steps: u64,
    agreement: RankAgreement,
}

/// Returns the studies in the store that trained at least six of the same configurations for longer.
fn rounds(
    store: &Store,
    study: &StudyRecord,
    trials: &[Trial],
    objective: &Objective,
    steps: u64,
) -> Result<Vec<Round>> {
    let mut found = vec![];
    for other in store.studies()? {
        let is_comparable = other.name != study.name
            && other.definition.workload == study.definition.workload
            && other.definition.objective.metric == objective.metric;
        if !is_comparable {
            continue;
        }
        let others = store.trials(&other)?;
        let of_trial = others.first().and_then(|trial| trial.params.get("steps")).and_then(Value::as_i64);
        let Some(longer) = of_trial.and_then(|steps| u64::try_from(steps).ok()).filter(|longer| *longer > steps) else {
            continue;
        };
        if let Some(agreement) = rank_agreement(&study.definition, trials, &others, objective) {
            found.push(Round { name: other.name, steps: longer, agreement });
        }
    }
    found.sort_by_key(|round| round.steps);
    Ok(found)
}

fn sentences(study: &StudyRecord, longer: &Prolonged, rounds: &[Round]) -> Vec<String> {
    let [now, then] = longer.steps;
    let mut sentences = vec![format!(
        "A trial of `{}` takes {now} steps, and {then} in the longer round. Two rounds are usual: many trials at about \
         10 % of the final length, then very few long ones (Playbook G8). For more rounds, promote each one again with \
         the same factor (G11).",
        study.name
    )];
    sentences.extend(longer.schedule.iter().map(|note| format!("Schedule (G10): {note}")));
    for Round { name, steps, agreement } in rounds {
        let RankAgreement { configurations, correlation, interval: [low, high], same_best } = agreement;
        let best = if *same_best { "the same" } else { "another" };
        sentences.push(format!(
            "`{name}` trained {configurations} of the same configurations for {steps} steps: the rank correlation with this \
             round is {} (95 %: {} to {}). The best of these {configurations} is {best}.",
            number(*correlation),
            number(*low),
            number(*high)
        ));
    }
    if rounds.is_empty() {
        sentences.push(
            "No study has trained six or more of these configurations for longer, so it is not known whether the \
             conclusions of this round hold there."
                .into(),
        );
    }
    sentences
}

/// What is said of a hyperparameter.
#[derive(Debug, PartialEq)]
struct Transferred {
    label: String,
    /// How likely conclusions about it hold for longer training.
    likely: Transfer,
    /// Its value in the best trial. None if it does not exist there.
    best: Option<Value>,
}

/// Returns what is said of the hyperparameters. `best` are the values of the best trial.
fn transfers(space: &SearchSpace, best: &Params, known: Option<&WorkloadDescription>) -> Vec<Transferred> {
    let of = |h: &Hyperparameter| {
        let likely = transfer(&h.name, known)?;
        Some(Transferred { label: h.label(), likely, best: space.value_of(h, best).cloned() })
    };
    space.hyperparameters().iter().filter_map(of).collect()
}

fn in_words(likely: Transfer) -> &'static str {
    match likely {
        Transfer::VeryLikely => "very likely",
        Transfer::Likely => "likely",
        Transfer::Perhaps => "perhaps",
        Transfer::Unlikely => "unlikely",
        Transfer::Unknown => "not known: the name does not say what it is",
    }
}

/// Returns the space around the best trials: the ranges of nuisances reach from the least to the largest of their
/// values and a little beyond, lists hold their values, and what transfers very likely has the value of the best trial.
fn around(space: &SearchSpace, best: &[&Trial], known: Option<&WorkloadDescription>) -> SearchSpace {
    let mut narrow = SearchSpace::new();
    for h in space.hyperparameters() {
        let values: Vec<&Value> = best.iter().filter_map(|trial| space.value_of(h, &trial.params)).collect();
        let mut h = h.clone();
        let Some(first) = values.first().filter(|_| h.role == Role::Nuisance) else {
            if narrow.declare(h).is_err() {
                return space.clone();
            }
            continue;
        };
        if transfer(&h.name, known) == Some(Transfer::VeryLikely) {
            (h.role, h.distribution) = (Role::Fixed, Distribution::constant((*first).clone()));
        } else if let Some(distribution) = narrowed(&h, &values) {
            h.distribution = distribution;
        }
        if narrow.declare(h).is_err() {
            return space.clone();
        }
    }
    narrow
}

/// Returns the part of a distribution around some of its values. None if it has no such part.
fn narrowed(h: &Hyperparameter, values: &[&Value]) -> Option<Distribution> {
    let of = &h.distribution;
    if let Distribution::Choice { values: all } = of {
        let kept: Vec<Value> = all.iter().filter(|value| values.iter().any(|v| v.same_as(value))).cloned().collect();
        return (kept.len() > 1).then_some(Distribution::Choice { values: kept });
    }
    let us = values.iter().filter_map(|value| of.to_unit(value));
    let (low, high) = us.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b): (f64, f64), u| (a.min(u), b.max(u)));
    let ends = [low - MARGIN, high + MARGIN].map(|u| of.from_unit(u.clamp(0.0, 1.0)));
    let end = |value: &Value| value.as_f64();
    let (mut a, mut b) = (end(&ends[0])?, end(&ends[1])?);
    // A momentum near 1 would be rounded to 1.
    if !matches!(of, Distribution::OneMinusLogUniform { .. }) {
        (a, b) = (rounded(a), rounded(b));
    }
    let narrow = match of {
        Distribution::Uniform { low, high } => Distribution::uniform(a.max(*low), b.min(*high)),
        Distribution::LogUniform { low, high } => Distribution::log_uniform(a.max(*low), b.min(*high)),
        Distribution::OneMinusLogUniform { low, high } => {
            let v = [a, b].map(|value| rounded(1.0 - value).clamp(*low, *high));
            Distribution::one_minus_log_uniform(v[0].min(v[1]), v[0].max(v[1]))
        }
        Distribution::Int { .. } => Distribution::int(ends[0].as_i64()?, ends[1].as_i64()?),
        Distribution::LogInt { .. } => Distribution::log_int(ends[0].as_i64()?, ends[1].as_i64()?),
        Distribution::Choice { .. } | Distribution::Constant { .. } => return None,
    };
    narrow.ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::branches;

    #[test]
    fn the_best_value_of_another_branch_is_not_that_of_a_hyperparameter() {
        let space =
            branches(Distribution::log_uniform(1e-3, 1.0).unwrap(), Distribution::log_uniform(1e-5, 1e-2).unwrap());
        let best = Params::from([("optimizer".to_string(), "adam".into()), ("lr".to_string(), 0.002.into())]);
        let transferred =
            |label: &str, best: Option<Value>| Transferred { label: label.into(), likely: Transfer::Perhaps, best };
        let expected = [
            transferred("optimizer", Some("adam".into())),
            transferred("optimizer=sgd/lr", None),
            transferred("optimizer=adam/lr", Some(0.002.into())),
        ];
        assert_eq!(transfers(&space, &best, None), expected);
    }
}
