//! The Playbook's checklist after a study (E1–E12, G3): findings, each with its evidence and what to do.

mod boundary;
mod changed;
mod curves;
mod density;
mod importance;
mod infeasible;
mod periodicity;
mod series;

pub use curves::Overfitting;
pub(crate) use curves::overfitting_of;
pub use importance::least_for_insensitive;

use crate::configurations::{Configuration, configurations};
use crate::hyperparameter::{value_in, varied_hyperparameter};
use crate::importance::{Importance, shares};
use crate::words::number;
use crate::{AnalysisError, Flags};
use indexmap::IndexMap;
use serde::Serialize;
use std::collections::{BTreeMap, HashSet};
use tunebook_study::sampler::SamplerKind;
use tunebook_study::{
    Distribution, Hyperparameter, Measurement, Objective, Scale, SearchSpace, StudyDefinition, Trial, TrialState,
    Value, WorkloadDescription,
};

/// The number of best configurations that the rules look at.
const TOP: usize = 5;

/// The curves of at most so many configurations are examined.
const EXAMINED: usize = 100;

/// How serious a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Info,
    Warning,
    Problem,
}

/// One end of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum End {
    Low,
    High,
}

/// The experiment that a finding advises.
#[derive(Clone, Debug, PartialEq)]
pub enum Experiment {
    /// The same study in a wider space. Its trials are kept.
    Wider(SearchSpace),
    /// The same study with so many configurations.
    MoreConfigurations(u32),
    /// A new study in which each trial takes so many times the steps.
    Steps(f64),
    /// A new study in another space: with a part left out, or with hyperparameters fixed. The suffix ends its name.
    Changed { space: SearchSpace, suffix: &'static str },
}

/// A finding.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// The rule that found it.
    pub id: &'static str,
    pub severity: Severity,
    /// The label of the hyperparameter that it is about.
    pub hyperparameter: Option<String>,
    /// The end of its range.
    pub side: Option<End>,
    /// What was found, with its numbers.
    pub message: String,
    /// The numbers that it rests on.
    pub evidence: IndexMap<&'static str, f64>,
    /// What the Playbook advises.
    pub advice: String,
    /// The experiment that it advises. It is not part of the JSON.
    #[serde(skip)]
    pub experiment: Option<Experiment>,
    /// The row of the requirements and the title of the Playbook's section.
    pub playbook: &'static str,
}

impl Finding {
    fn new(id: &'static str, severity: Severity, playbook: &'static str, message: String, advice: &str) -> Self {
        let advice = advice.to_string();
        let (hyperparameter, side, experiment) = (None, None, None);
        Self { id, severity, hyperparameter, side, message, evidence: IndexMap::new(), advice, experiment, playbook }
    }

    fn with(mut self, name: &'static str, value: f64) -> Self {
        self.evidence.insert(name, value);
        self
    }
}

/// A study as the checklist looks at it.
#[derive(Clone, Copy)]
pub struct StudyView<'a> {
    pub definition: &'a StudyDefinition,
    pub trials: &'a [Trial],
    /// What the trials are judged by.
    pub objective: &'a Objective,
    /// The measurements of trials by number, at least of those that [`trials_to_measure`] names.
    pub measured: &'a BTreeMap<u32, Vec<Measurement>>,
    /// The description of the workload, if it is known. It limits how far a range can be widened.
    pub workload: Option<&'a WorkloadDescription>,
    pub flags: &'a Flags,
    /// Without it, nothing is said of what matters.
    pub importance: Option<&'a Importance>,
}

/// What the rules look at.
struct Evidence<'a> {
    definition: &'a StudyDefinition,
    trials: &'a [Trial],
    flags: &'a Flags,
    /// The description of the workload, if it is known. It limits how far a range can be widened.
    workload: Option<&'a WorkloadDescription>,
    objective: &'a Objective,
    /// The finished configurations with an objective, the best first, each with its minimized objective.
    ranked: Vec<(f64, Configuration<'a>)>,
    /// The configurations without an objective.
    infeasible: Vec<Configuration<'a>>,
    /// The hyperparameters that vary, each with its share of the variance ([`shares`]).
    varied: Vec<(&'a Hyperparameter, f64)>,
}

impl<'a> Evidence<'a> {
    /// Returns the coordinate u of a configuration's value of a hyperparameter. None if it is not active there.
    fn u(&self, hyperparameter: &Hyperparameter, configuration: &Configuration<'_>) -> Option<f64> {
        let value = value_in(&self.definition.space, hyperparameter, configuration.trials[0])?;
        hyperparameter.distribution.to_unit(value)
    }

    /// Whether the configurations are draws of which none is special. If not, what chance reaches is not known.
    fn is_exchangeable(&self) -> bool {
        !self.definition.sampler.is_adaptive()
    }

    /// Whether another study of the same design would draw other configurations. Those of a grid are always the same,
    /// and those that the user gave are no draws.
    fn are_draws(&self) -> bool {
        let StudyDefinition { sampler, given, .. } = self.definition;
        self.is_exchangeable() && *sampler != SamplerKind::Grid && given.is_empty()
    }

    fn top(&self) -> &[(f64, Configuration<'a>)] {
        &self.ranked[..self.ranked.len().min(TOP)]
    }

    /// The hyperparameters whose values are numbers of a range.
    fn ranges(&self) -> impl Iterator<Item = &(&'a Hyperparameter, f64)> {
        self.varied.iter().filter(|(h, _)| h.distribution.scale() != Scale::Categorical)
    }
}

/// Returns the findings of a study, the most serious first. If there are none, one finding says so.
pub fn insight(study: StudyView<'_>) -> Result<Vec<Finding>, AnalysisError> {
    let StudyView { definition, trials, objective, measured, workload, flags, importance } = study;
    let all = configurations(trials, objective);
    // A study in which every trial failed has a finding too: that.
    if all.is_empty() && !trials.iter().any(|trial| trial.state == TrialState::Failed) {
        return Err(AnalysisError::NoObjective { metric: objective.metric.clone() });
    }
    let (with, infeasible): (Vec<_>, Vec<_>) =
        all.into_iter().filter(|configuration| configuration.is_finished).partition(|c| c.objective.is_some());
    let minimized = |c: &Configuration<'_>| c.objective.map_or(f64::INFINITY, |y| objective.direction.minimized(y));
    let mut ranked: Vec<(f64, Configuration<'_>)> = with.into_iter().map(|c| (minimized(&c), c)).collect();
    ranked.sort_by(|a, b| a.0.total_cmp(&b.0));
    let space = &definition.space;
    let varied: Vec<&Hyperparameter> =
        space.hyperparameters().iter().filter(|h| varied_hyperparameter(space, &h.label()).is_ok()).collect();
    let (objectives, configurations): (Vec<f64>, Vec<Configuration<'_>>) = ranked.iter().cloned().unzip();
    let shares = match importance.filter(|importance| importance.hyperparameters.len() == varied.len()) {
        Some(importance) => importance.hyperparameters.iter().map(|h| h.fanova).collect(),
        None => shares(definition, &varied, &configurations, &objectives),
    };
    let varied = varied.into_iter().zip(shares).collect();
    let evidence = Evidence { definition, trials, flags, workload, objective, ranked, infeasible, varied };

    let mut findings = boundary::findings(&evidence);
    let has_edge = findings.iter().any(|finding| finding.id == "instability-edge");
    findings.extend(infeasible::finding(&evidence).filter(|_| !has_edge));
    findings.extend(density::findings(&evidence));
    findings.extend(curves::findings(&evidence, measured));
    let of_importance = importance.map(|found| importance::findings(&evidence, found, &findings)).unwrap_or_default();
    findings.extend(of_importance);
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    if findings.is_empty() {
        let message =
            format!("The checklist found nothing in {} configurations with an objective.", evidence.ranked.len());
        let advice = "Look at the axis plots and at the training curves yourself, and then conclude.";
        findings.push(
            Finding::new("none", Severity::Info, "E14 Understanding whether to adopt a change", message, advice)
                .with("configurations", evidence.ranked.len() as f64),
        );
    }
    Ok(findings)
}

/// Returns the numbers of the trials whose training curves the rules look at: those of the best configurations, of the
/// best configuration of each combination of scientific values, and of others from the best to the worst one.
pub fn trials_to_measure(definition: &StudyDefinition, trials: &[Trial], objective: &Objective) -> Vec<u32> {
    let ranked = crate::ranked(trials, objective);
    let mut numbers: Vec<u32> = ranked.iter().take(TOP).map(|trial| trial.number).collect();
    let n = ranked.len().min(EXAMINED);
    numbers.extend((0..n).map(|i| ranked[i * ranked.len() / n].number));
    numbers.extend(best_of_scientific_values(definition, &ranked).iter().map(|trial| trial.number));
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

/// Returns the first of the ranked trials for each combination of scientific values.
fn best_of_scientific_values<'a>(definition: &StudyDefinition, ranked: &[&'a Trial]) -> Vec<&'a Trial> {
    let space = &definition.space;
    let scientific: Vec<&Hyperparameter> =
        space.hyperparameters().iter().filter(|h| h.role == tunebook_study::Role::Scientific).collect();
    // At most so many combinations of listed values there are, with one more value for a branch that is not active.
    let all = scientific.iter().try_fold(1_usize, |all, h| match &h.distribution {
        Distribution::Choice { values } => all.checked_mul(values.len() + usize::from(!h.conditions.is_empty())),
        _ => None,
    });
    let (mut seen, mut first) = (HashSet::new(), vec![]);
    for trial in ranked {
        if all.is_some_and(|all| seen.len() >= all) {
            break;
        }
        let values = scientific.iter().map(|h| value_in(space, h, trial));
        let key: String = values.map(|value| format!("{} ", value.map_or("–".into(), Value::to_string))).collect();
        if seen.insert(key) {
            first.push(*trial);
        }
    }
    first
}
