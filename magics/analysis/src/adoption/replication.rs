//! The highest level of a claim: the whole study was run again with another seed of the search, and an independent
//! search shows the same order of the scientific values (methods 2.e.5, L3).

use crate::best_of_k::Objectives;
use crate::configurations::{Configuration, configurations};
use crate::hyperparameter::value_in;
use crate::isolation::{Level, compare};
use serde::Serialize;
use tunebook_study::{Objective, Role, StudyDefinition, Trial, Value};

/// What repeats of the whole study with other search seeds say about the scientific values of a candidate and of a
/// baseline. The configurations of all repeats are looked at together.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Replication {
    /// The number of repeats.
    pub studies: usize,
    /// The finished configurations with the scientific values of the candidate and of the baseline.
    pub configurations: [usize; 2],
    /// The best objective of each, in the metric's own sign.
    pub best: [Option<f64>; 2],
    /// The p-value of the permutation test of `%isolate` between the two. None with fewer than four configurations of
    /// either.
    pub p_value: Option<f64>,
    /// Whether the candidate's values are better there too, by more than the chance of the search explains.
    pub confirms: bool,
}

/// The number of configurations of each scientific value with which a repeat can say something.
pub const LEAST_CONFIGURATIONS: usize = 4;

/// Looks for the order of two trials in repeats of their study. `repeats` holds the trials of each. None if the two
/// trials have the same scientific values: a repeat then compares nothing.
pub fn replication(
    definition: &StudyDefinition,
    objective: &Objective,
    [candidate, baseline]: [&Trial; 2],
    repeats: &[Vec<Trial>],
) -> Option<Replication> {
    let of = |trial: &Trial| scientific_values(definition, trial);
    let values = [of(candidate), of(baseline)];
    if values[0] == values[1] {
        return None;
    }
    let finished: Vec<Configuration<'_>> =
        repeats.iter().flat_map(|trials| configurations(trials, objective)).filter(|c| c.is_finished).collect();
    let groups = values.map(|values| {
        let own = finished.iter().filter(|configuration| of(configuration.trials[0]) == values);
        Objectives::new(own.map(|configuration| configuration.objective), objective.direction)
    });
    let comparison = compare(&groups).filter(|_| groups.iter().all(|group| group.count() >= LEAST_CONFIGURATIONS));
    Some(Replication {
        studies: repeats.len(),
        configurations: [groups[0].count(), groups[1].count()],
        best: [groups[0].best(), groups[1].best()].map(|best| best.map(|y| objective.direction.minimized(y))),
        p_value: comparison.and_then(|comparison| comparison.p_value),
        confirms: comparison.is_some_and(|comparison| comparison.best == 0 && comparison.level >= Level::L1),
    })
}

/// The value of each scientific hyperparameter of a trial. None for one that is not active.
fn scientific_values(definition: &StudyDefinition, trial: &Trial) -> Vec<Option<Value>> {
    let scientific = definition.space.hyperparameters().iter().filter(|h| h.role == Role::Scientific);
    scientific.map(|h| value_in(&definition.space, h, trial).cloned()).collect()
}
