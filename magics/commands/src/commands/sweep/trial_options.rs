//! How trials were trained, as far as the definition of their study does not say it: which further metrics they report,
//! and when they end. A study records it, because different runs of it may differ in it.

use crate::error::Result;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tunebook_study::protocol::{FitRule, StoppingRule};
use tunebook_study::store::{NewTrial, Store, StudyRecord};

/// The kind of the result that says with which options the trials of a study were trained.
const KIND: &str = "trial_options";

/// The options of a trial. By default, it runs to its end and reports the metrics that every trial reports.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TrialOptions {
    /// The number of steps between two estimates of the gradient noise scale. None if it is not estimated.
    pub noise_every: Option<u64>,
    /// Whether evaluations look at the training examples too.
    pub training_metrics: bool,
    /// The target at which the trial ends.
    pub until: Option<StoppingRule>,
    /// The rule by which the trial ends once it fits the training examples.
    pub fit: Option<FitRule>,
}

/// A trial that is not proposed but given whole, because it runs again.
#[derive(Clone, Debug, PartialEq)]
pub struct GivenTrial {
    pub trial: NewTrial,
    pub options: TrialOptions,
    /// The step at which it is stopped, whatever it reaches.
    pub stop_at: Option<u64>,
}

/// Trials that were trained with the same options, as ranges of their numbers.
#[derive(Serialize, Deserialize)]
struct Group {
    options: TrialOptions,
    trials: Vec<[u32; 2]>,
}

/// The options of the trials of a study, by their numbers. A trial that is missing had the default ones.
pub fn recorded(store: &Store, study: &StudyRecord) -> Result<BTreeMap<u32, TrialOptions>> {
    let groups: Vec<Group> =
        store.result(study, KIND, "")?.and_then(|groups| serde_json::from_value(groups).ok()).unwrap_or_default();
    let mut all = BTreeMap::new();
    for Group { options, trials } in groups {
        for [first, last] in trials {
            all.extend((first..=last).map(|number| (number, options.clone())));
        }
    }
    Ok(all)
}

/// Records the options of trials that are about to run.
pub fn record(store: &Store, study: &StudyRecord, trials: impl Iterator<Item = (u32, TrialOptions)>) -> Result<()> {
    let before = recorded(store, study)?;
    let mut all = before.clone();
    for (number, options) in trials {
        match options == TrialOptions::default() {
            true => all.remove(&number),
            false => all.insert(number, options),
        };
    }
    if all == before {
        return Ok(());
    }
    let mut groups: Vec<Group> = vec![];
    for (number, options) in all {
        let at = groups.iter().position(|group| group.options == options).unwrap_or_else(|| {
            groups.push(Group { options, trials: vec![] });
            groups.len() - 1
        });
        match groups[at].trials.last_mut() {
            Some([_, last]) if *last + 1 == number => *last = number,
            _ => groups[at].trials.push([number, number]),
        }
    }
    Ok(store.keep_result(study, KIND, "", &serde_json::to_value(groups).unwrap_or_default())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{context, definition};

    #[test]
    fn each_trial_keeps_the_options_of_its_last_run() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = context(folder.path()).store().unwrap();
        let study = store.create_study("s", &definition()).unwrap();
        let with_noise = TrialOptions { noise_every: Some(5), ..TrialOptions::default() };
        let until = StoppingRule { target: 0.1 + 0.2, from: 3, at_most: 9 };
        let with_target = TrialOptions { until: Some(until), ..TrialOptions::default() };
        record(&store, &study, [1, 2, 3, 7].into_iter().map(|number| (number, with_noise.clone()))).unwrap();
        record(&store, &study, [(2, TrialOptions::default()), (8, with_target.clone())].into_iter()).unwrap();
        let expected = [(1, with_noise.clone()), (3, with_noise.clone()), (7, with_noise), (8, with_target)];
        assert_eq!(recorded(&store, &study).unwrap(), BTreeMap::from(expected));
    }
}
