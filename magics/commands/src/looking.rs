//! What the magics share that look at a study after the fact.

use crate::context::Context;
use crate::error::{MagicError, Result, suggest};
use crate::output::Output;
use crate::report::{Report, element_id};
use crate::sweep::plan::{judged, objective};
use crate::syntax::{Arguments, OptionSpec, Source, Spanned, Word};
use tunebook_study::{Direction, Judged, Objective, StudyDefinition, Trial};

/// Options that judge the trials otherwise than the study did (Playbook D12).
pub const JUDGING: [OptionSpec; 3] = [
    OptionSpec { name: "minimize", value: Some("METRIC"), help: "judge by another metric, smaller is better" },
    OptionSpec { name: "maximize", value: Some("METRIC"), help: "judge by another metric, larger is better" },
    OptionSpec {
        name: "objective",
        value: Some("best|final"),
        help: "judge by the best value over training or by the last",
    },
];

/// How the user wants trials to be judged.
#[derive(Clone, Debug)]
pub struct Judging {
    metric: Option<(Direction, Spanned<String>)>,
    judged: Option<Judged>,
}

impl Judging {
    /// From the options of a magic.
    pub fn new(arguments: &Arguments) -> Result<Self> {
        Ok(Self { metric: objective(arguments)?, judged: judged(arguments)? })
    }

    /// The study's objective with what the user changed of it.
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
                return Err(source.error("UnknownMetric", metric.span.clone(), message, help));
            }
            (objective.direction, objective.metric) = (*direction, metric.value.clone());
        }
        if let Some(judged) = self.judged {
            objective.judged = judged;
        }
        Ok(objective)
    }
}

/// Ends a magic with its one display.
pub fn show(context: &Context, output: &dyn Output, report: Report) {
    if report.has_chart() {
        context.load_charts(output);
    }
    output.display(report.bundle(), Some(&element_id()));
}

/// An error that no characters are to blame for, with what to do.
pub fn problem(name: &'static str, message: impl Into<String>, help: &str) -> MagicError {
    MagicError::new(name, message, Some(help.into()))
}

/// The trial that `--trial` names, or the error that points at it.
pub fn trial_of<'a>(arguments: &Arguments, study: &Word, trials: &'a [Trial], number: u32) -> Result<&'a Trial> {
    trials.iter().find(|trial| trial.number == number).ok_or_else(|| {
        let span = arguments.option("trial").map_or(study.span.clone(), |word| word.span.clone());
        let message = format!("`{}` has no trial {number}", study.text);
        let help = format!("its trials are 1 to {}", trials.last().map_or(0, |trial| trial.number));
        arguments.source.error("UnknownTrial", span, message, Some(help))
    })
}
