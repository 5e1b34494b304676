//! What `%adopt` found of a trial that is launched.

use crate::report::table::{interval_or_dash, number_or_dash};
use serde::Serialize;
use serde_json::Value as Json;
use tunebook_analysis::estimated_percent;
use tunebook_study::Trial;

/// What `%adopt` found last of a launched trial beside another one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// The other trial.
    pub against: u64,
    /// Whether the launched trial was the candidate. Otherwise it was the baseline.
    pub was_candidate: bool,
    pub metric: String,
    /// The number of new runs of each.
    pub repeats: u64,
    /// The launched trial − the other one, in the metric's own sign.
    pub difference: Option<f64>,
    pub interval: Option<[f64; 2]>,
    /// The share of pairs of runs in which the launched trial is better.
    pub probability_better: Option<f64>,
    pub level: String,
    /// Whether `%adopt` advised to adopt the candidate.
    pub adopt: bool,
    /// Whether the runs were enough for a verdict.
    #[serde(skip)]
    has_verdict: bool,
    /// The result of `%adopt`.
    #[serde(skip)]
    pub result: Json,
}

impl Comparison {
    /// Reads a result of `%adopt`. None if it is not complete.
    fn new(result: Json, was_candidate: bool) -> Option<Self> {
        let difference = result["difference"].as_f64();
        let interval = result["interval"][0].as_f64().zip(result["interval"][1].as_f64());
        let probability = result["probability_better"].as_f64();
        Some(Self {
            against: result[if was_candidate { "baseline" } else { "candidate" }].as_u64()?,
            was_candidate,
            metric: result["metric"].as_str()?.into(),
            repeats: result["repeats"].as_u64()?,
            // 0 − x and not −x, because −0 is no number for people.
            difference: difference.map(|x| if was_candidate { x } else { 0.0 - x }),
            interval: interval.map(|(low, high)| if was_candidate { [low, high] } else { [0.0 - high, 0.0 - low] }),
            probability_better: probability.map(|share| if was_candidate { share } else { 1.0 - share }),
            level: result["level"].as_str()?.into(),
            adopt: result["adopt"].as_bool()?,
            has_verdict: !result["p_value"].is_null(),
            result,
        })
    }

    /// Whether `%adopt` advised against the launched trial: it was a candidate that was not to be adopted, or a
    /// baseline that was to be replaced.
    pub fn is_rejected(&self) -> bool {
        self.was_candidate != self.adopt
    }

    /// What `%adopt` found, in a sentence. `trial` is the launched one.
    pub fn evidence(&self, trial: u32) -> String {
        let Self { against, metric, repeats, level, .. } = self;
        let difference = match self.interval {
            Some(interval) => {
                format!("{} (95 %: {})", number_or_dash(self.difference), interval_or_dash(Some(interval)))
            }
            None => number_or_dash(self.difference),
        };
        let verdict = match (self.was_candidate, self.adopt) {
            (true, true) => format!(" `%adopt` advised to adopt it for trial {against}."),
            (false, false) => format!(" `%adopt` advised to keep it, and not to adopt trial {against}."),
            _ => String::new(),
        };
        format!(
            "Evidence (level {level}): trained again {repeats} times against trial {against}, the difference of \
             {metric} (trial {trial} − trial {against}) is {difference}, and the probability that it is \
             better is {}.{verdict}",
            share(self.probability_better)
        )
    }

    /// A caution if `%adopt` advised against the launched trial.
    pub fn caution(&self, trial: u32) -> Option<String> {
        let Self { against, repeats, level, .. } = self;
        let pairs = share(self.probability_better);
        if !self.is_rejected() {
            return None;
        }
        if !self.was_candidate {
            return Some(format!(
                "Caution: `%adopt` advised to adopt trial {against} in place of trial {trial} (level {level}): of the \
                 pairs of new runs, trial {trial} is better in {pairs}."
            ));
        }
        let is_better = self.probability_better.is_some_and(|share| share > 0.5);
        let why = match level.as_str() {
            "L0" if !self.has_verdict => format!("{repeats} new runs of each are too few to show a gain"),
            "L0" => format!("{repeats} new runs of each do not show that it is better than trial {against}"),
            _ if !is_better => format!("it is worse than trial {against}, and better in {pairs} of the pairs of runs"),
            "L1" => format!("it is better in {pairs} of the pairs, but a verdict needs five new runs of each"),
            _ => format!("it is better only in {pairs} of the pairs of runs"),
        };
        Some(format!(
            "Caution: `%adopt` advised to keep trial {against} and not to adopt trial {trial} (level {level}): {why}."
        ))
    }
}

/// A share, or a dash if it is not known.
fn share(share: Option<f64>) -> String {
    share.map_or("–".into(), |share| estimated_percent(share, 0))
}

/// Returns what `%adopt` found last of the configuration of a trial beside each other one, the newest first. `results`
/// are all results of `%adopt`, from the oldest to the newest.
pub fn comparisons(results: Vec<Json>, study: &str, trials: &[Trial], trial: &Trial) -> Vec<Comparison> {
    // With repeats, a trial stands for its configuration.
    let is_own = |number: &Json| {
        let known = trials.iter().find(|other| number.as_u64() == Some(u64::from(other.number)));
        known.is_some_and(|other| other.configuration == trial.configuration)
    };
    let mut found: Vec<Comparison> = vec![];
    for result in results.into_iter().rev().filter(|result| result["study"] == study) {
        let was_candidate = is_own(&result["candidate"]);
        if !was_candidate && !is_own(&result["baseline"]) {
            continue;
        }
        let Some(comparison) = Comparison::new(result, was_candidate) else { continue };
        let is_same = |known: &Comparison| known.against == comparison.against && known.metric == comparison.metric;
        if !found.iter().any(is_same) {
            found.push(comparison);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use serde_json::json;
    use tunebook_study::TrialState;

    fn trial(number: u32, configuration: u32) -> Trial {
        Trial { configuration, ..testing::trial(number, TrialState::Complete) }
    }

    fn adoption(candidate: u32, baseline: u32, level: &str, adopt: bool, better: f64) -> Json {
        json!({ "kind": "adoption", "study": "s", "metric": "valid/error", "candidate": candidate, "baseline": baseline,
            "repeats": 5, "difference": 0.25, "interval": [0.125, 0.5], "probability_better": better, "p_value": 0.5,
            "level": level, "adopt": adopt })
    }

    #[test]
    fn what_was_found_of_a_baseline_counts_with_the_difference_negated() {
        let trials = [trial(7, 6), trial(9, 8)];
        let found = comparisons(vec![adoption(9, 7, "L0", false, 0.25)], "s", &trials, &trials[0]);
        let [kept] = &found[..] else { panic!("{found:?}") };
        assert_eq!((kept.against, kept.was_candidate, kept.difference), (9, false, Some(-0.25)));
        assert_eq!((kept.interval, kept.probability_better), (Some([-0.5, -0.125]), Some(0.75)));
        assert_eq!(
            kept.evidence(7),
            "Evidence (level L0): trained again 5 times against trial 9, the difference of valid/error \
             (trial 7 − trial 9) is -0.25 (95 %: -0.5 to -0.125), and the probability that it is better is 75 %. \
             `%adopt` advised to keep it, and not to adopt trial 9."
        );
        assert_eq!(kept.caution(7), None);
        // The candidate that was rejected.
        let found = comparisons(vec![adoption(9, 7, "L0", false, 0.25)], "s", &trials, &trials[1]);
        assert_eq!((found[0].against, found[0].difference), (7, Some(0.25)));
        assert_eq!(
            found[0].caution(9).unwrap(),
            "Caution: `%adopt` advised to keep trial 7 and not to adopt trial 9 (level L0): 5 new runs of each do not \
             show that it is better than trial 7."
        );
    }

    #[test]
    fn a_caution_says_why() {
        let trials = [trial(7, 6), trial(9, 8)];
        let of = |result: Json, launched: &Trial| {
            let found = comparisons(vec![result], "s", &trials, launched);
            found[0].caution(launched.number)
        };
        let mut few = adoption(9, 7, "L0", false, 1.0);
        few["p_value"] = Json::Null;
        let cases = [
            (few, "5 new runs of each are too few"),
            (adoption(9, 7, "L2", false, 0.25), "it is worse than trial 7, and better in 25 %"),
            (adoption(9, 7, "L1", false, 1.0), "a verdict needs five new runs"),
            (adoption(9, 7, "L2", false, 0.75), "it is better only in 75 % of the pairs"),
        ];
        for (result, part) in cases {
            let said = of(result, &trials[1]).unwrap();
            assert!(said.starts_with("Caution: `%adopt` advised to keep trial 7") && said.contains(part), "{said}");
        }
        assert_eq!(of(adoption(9, 7, "L2", true, 1.0), &trials[1]), None);
        let replaced = of(adoption(9, 7, "L2", true, 0.75), &trials[0]).unwrap();
        assert!(replaced.contains("adopt trial 9 in place of trial 7") && replaced.contains("25 %"), "{replaced}");
    }

    #[test]
    fn the_newest_result_of_each_pair_counts_and_a_trial_stands_for_its_configuration() {
        let trials = [trial(1, 0), trial(2, 0), trial(3, 1), trial(5, 2)];
        let mut elsewhere = adoption(1, 5, "L2", true, 1.0);
        elsewhere["study"] = json!("t");
        let results = vec![
            adoption(1, 3, "L0", false, 0.5),
            adoption(5, 2, "L0", false, 0.5),
            adoption(3, 5, "L2", true, 1.0),
            adoption(1, 3, "L2", true, 1.0),
            elsewhere,
        ];
        let found = comparisons(results, "s", &trials, &trials[1]);
        let seen: Vec<_> = found.iter().map(|found| (found.against, found.level.as_str())).collect();
        assert_eq!(seen, [(3, "L2"), (5, "L0")]);
    }
}
