//! Code for magics that look at a recorded study: the options that choose an objective, one of its trials, and the
//! study as JSON.

mod classes;
mod failures;
mod gradient_norms;
mod origin;
mod record;
mod removal;
mod reproduction;
mod validation;
mod validation_uses;

pub use classes::{classes_at_best, with_classes};
pub use failures::{flags, sentences_about_failures};
pub use gradient_norms::gradient_norms;
pub use origin::{Draws, adaptive_note, given_note, origin_notes, stopped_note};
pub use record::study_as_json;
pub use removal::remove;
pub use reproduction::{import_magic, is_replayed, reproduction};
pub use validation::validation;
pub use validation_uses::{holds_runs_of_another, replay_of, with_validation};

use crate::error::{ErrorName, MagicError, Result, Source, Spanned, suggest};
use crate::syntax::{Arguments, OptionSpec, Word};
use shell_words::quote;
use tunebook_analysis::AnalysisError;
use tunebook_study::store::{StudyRecord, covered_seconds};
use tunebook_study::{
    Direction, Distribution, Objective, ObjectiveValue, StudyDefinition, Trial, TrialState, Value, WorkloadReference,
};

/// The texts among the values that the hyperparameters of a study can have.
pub fn text_values(definition: &StudyDefinition) -> impl Iterator<Item = &String> {
    let listed = definition.space.hyperparameters().iter().flat_map(|h| match &h.distribution {
        Distribution::Choice { values } => values.as_slice(),
        Distribution::Constant { value } => std::slice::from_ref(value),
        _ => &[],
    });
    listed.filter_map(|value| match value {
        Value::Text(text) => Some(text),
        _ => None,
    })
}

/// Options that judge trials by another objective than that of the study (Playbook D12).
pub const JUDGING: [OptionSpec; 3] = [
    OptionSpec { name: "minimize", value: Some("METRIC"), help: "judge trials by another metric; smaller is better" },
    OptionSpec { name: "maximize", value: Some("METRIC"), help: "judge trials by another metric; larger is better" },
    OptionSpec {
        name: "objective",
        value: Some("best|final"),
        help: "judge a trial by its best value over training or by its last value",
    },
];

/// The parts of the objective that the options of a magic replace.
#[derive(Clone, Debug)]
pub struct Judging {
    metric: Option<(Direction, Spanned<String>)>,
    judged: Option<ObjectiveValue>,
}

impl Judging {
    /// Reads the options [`JUDGING`].
    pub fn new(arguments: &Arguments) -> Result<Self> {
        Ok(Self { metric: objective(arguments)?, judged: judged(arguments)? })
    }

    /// The objective of the study with the parts replaced that the options name. It is an error if no trial has
    /// reported the metric.
    pub fn objective(&self, source: &Source, definition: &StudyDefinition, trials: &[Trial]) -> Result<Objective> {
        let mut objective = definition.objective.clone();
        if let Some((direction, metric)) = &self.metric {
            let mut reported: Vec<&str> =
                trials.iter().flat_map(|trial| trial.summaries.keys()).map(String::as_str).collect();
            reported.sort_unstable();
            reported.dedup();
            if !reported.contains(&metric.value.as_str()) {
                let message = format!("no trial of the study reported a metric `{}`", metric.value);
                let help = suggest(&metric.value, reported);
                return Err(source.error(ErrorName::UnknownMetric, metric.span.clone(), message, help));
            }
            (objective.direction, objective.metric) = (*direction, metric.value.clone());
        }
        if let Some(judged) = self.judged {
            objective.judged = judged;
        }
        Ok(objective)
    }

    /// The options as another line takes them over. Each begins with a space.
    pub fn options(&self) -> String {
        let metric = self.metric.iter().map(|(direction, metric)| format!(" --{direction} {}", quote(&metric.value)));
        let judged = self.judged.iter().map(|judged| match judged {
            ObjectiveValue::Best => " --objective best".to_string(),
            ObjectiveValue::Final => " --objective final".to_string(),
        });
        metric.chain(judged).collect()
    }
}

/// Reads `--objective best|final`.
pub fn judged(arguments: &Arguments) -> Result<Option<ObjectiveValue>> {
    match arguments.option("objective").map(|word| (word, word.text.as_str())) {
        None => Ok(None),
        Some((_, "best")) => Ok(Some(ObjectiveValue::Best)),
        Some((_, "final")) => Ok(Some(ObjectiveValue::Final)),
        Some((word, other)) => {
            Err(arguments
                .invalid(word, format!("`--objective` takes `best` (over training) or `final`, not `{other}`")))
        }
    }
}

/// Reads `--minimize METRIC` or `--maximize METRIC`. Both together are an error.
pub fn objective(arguments: &Arguments) -> Result<Option<(Direction, Spanned<String>)>> {
    let given = |name, direction| {
        arguments.option(name).map(|word| (direction, Spanned::new(word.text.clone(), word.span.clone())))
    };
    match (given("minimize", Direction::Minimize), given("maximize", Direction::Maximize)) {
        (Some(_), Some((_, metric))) => {
            let message = "give only one of `--minimize` and `--maximize`: a study has one objective";
            Err(arguments.source.syntax_error(metric.span, message, None))
        }
        (minimize, maximize) => Ok(minimize.or(maximize)),
    }
}

/// An error at the word of an imported study: nothing of it can run again.
pub fn must_run_again(arguments: &Arguments, word: &Word, study: &StudyRecord) -> Result<()> {
    let WorkloadReference::Imported { .. } = study.definition.workload else { return Ok(()) };
    let message = format!(
        "`{}` holds {}: what trained them is not recorded, so nothing can run again",
        study.name, study.definition.workload
    );
    let help = "train it with the tool that it comes from, or declare its hyperparameters in a %%sweep under another \
                name, with the workload or the command that trains them";
    Err(arguments.source.error(ErrorName::NoAnswer, word.span.clone(), message, Some(help.into())))
}

/// The trial with this number, which an option such as `--trial` names. If there is none, the error points at the
/// option.
pub fn trial_of<'a>(
    arguments: &Arguments,
    option: &str,
    study: &Word,
    trials: &'a [Trial],
    number: u32,
) -> Result<&'a Trial> {
    trials.iter().find(|trial| trial.number == number).ok_or_else(|| {
        let span = arguments.option(option).map_or(study.span.clone(), |word| word.span.clone());
        let message = format!("`{}` has no trial {number}", study.text);
        let help = format!("its trials are 1 to {}", trials.last().map_or(0, |trial| trial.number));
        arguments.source.error(ErrorName::UnknownTrial, span, message, Some(help))
    })
}

/// The wall time of a study. What is recorded lacks the run that goes on, and one whose kernel was killed. So it is at
/// least the time in which trials ran.
pub fn wall_seconds(recorded: f64, trials: &[Trial], now: f64) -> f64 {
    let end = |trial: &Trial| match trial.state {
        TrialState::Running => now.max(trial.started),
        _ => trial.started + trial.seconds,
    };
    recorded.max(covered_seconds(trials.iter().map(|trial| (trial.started, end(trial))).collect()))
}

/// What to do about a study of which no trial has a result.
pub fn without_result_help(study: &str) -> String {
    format!(
        "`%study {study}` lists its trials, each with the reason of its end; `--retry-failed` at its %%sweep runs \
         failed ones again"
    )
}

/// The error of an analysis of a study that has no answer. It points at `word`, the hyperparameter that was asked for,
/// or at the study, which is the first word of the magic, if that has no result.
pub fn no_answer(arguments: &Arguments, word: &Word, error: AnalysisError) -> MagicError {
    let study = arguments.positional.first().unwrap_or(word);
    let word = if error.hyperparameter().is_some() { word } else { study };
    let help = match &error {
        AnalysisError::UnknownHyperparameter { name, known } => {
            suggest(name, known.iter().map(String::as_str).collect::<Vec<_>>())
        }
        AnalysisError::Ambiguous { labels, .. } => Some(format!("write one of {}", labels.join(", "))),
        AnalysisError::Constant { .. } => {
            Some(format!("name one that varies: `%study {}` shows the values of the trials", study.text))
        }
        AnalysisError::NoObjective { .. } => Some(without_result_help(&study.text)),
    };
    let name = match error {
        AnalysisError::UnknownHyperparameter { .. } | AnalysisError::Ambiguous { .. } => {
            ErrorName::UnknownHyperparameter
        }
        _ => ErrorName::NoAnswer,
    };
    arguments.source.error(name, word.span.clone(), error.to_string(), help)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn a_study_took_at_least_the_time_in_which_trials_ran() {
        let trial = |number: u32, state: TrialState, started: f64, seconds: f64| Trial {
            seconds,
            started,
            ..testing::trial(number, state)
        };
        let mut trials = vec![
            trial(1, TrialState::Complete, 100.0, 10.0),
            trial(2, TrialState::Cancelled, 105.0, 15.0),
            trial(3, TrialState::Cancelled, 200.0, 0.0),
        ];
        // From 100 to 120.
        assert_eq!(wall_seconds(0.0, &trials, 900.0), 20.0);
        assert_eq!(wall_seconds(7.0, &trials, 900.0), 20.0, "its kernel was killed");
        assert_eq!(wall_seconds(30.0, &trials, 900.0), 30.0);
        trials[2].state = TrialState::Running;
        assert_eq!(wall_seconds(7.0, &trials, 210.0), 30.0);
        assert_eq!(wall_seconds(0.0, &[], 210.0), 0.0);
    }
}
