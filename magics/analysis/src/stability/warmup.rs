//! The search for the shortest warm-up (Playbook I12): the learning rate rises from 0 to `base_lr`, ten times the
//! smallest unstable rate, over the warm-up, and stays there for twice as long. The shortest warm-up that is stable
//! works.

use serde::Serialize;

/// The first base rate is this many times the smallest unstable one.
pub const FIRST_FACTOR: f64 = 10.0;
/// The base rates that are tried, as multiples of the smallest unstable rate.
const FACTORS: [f64; 2] = [FIRST_FACTOR, 100.0];
/// The longest warm-up is this share of the steps.
const LONGEST: f64 = 0.1;
/// A warm-up above this share of the steps should make training longer.
const SHARE_OF_LONGER_TRAINING: f64 = 0.05;

/// A warm-up that is tried: the steps of the warm-up, and the learning rate at its end.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct WarmupCandidate {
    /// The base rate as a multiple of the smallest unstable one.
    pub factor: f64,
    pub warmup_steps: u64,
}

impl WarmupCandidate {
    /// The steps of the run: the warm-up, and twice as many at the base rate.
    pub fn steps(&self) -> u64 {
        3 * self.warmup_steps
    }
}

/// How a run of a candidate ended.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct WarmupRun {
    #[serde(flatten)]
    pub candidate: WarmupCandidate,
    pub seed: u32,
    pub is_stable: bool,
}

/// A search for the shortest warm-up.
#[derive(Clone, Debug)]
pub struct WarmupSearch {
    /// The lengths that are tried, from the shortest to the longest.
    pub lengths: Vec<u64>,
    pub seeds: u32,
}

/// What a search found.
#[derive(Clone, Debug, PartialEq)]
pub enum WarmupOutcome {
    /// The shortest warm-up with which all runs at the base rate were stable.
    Works {
        shortest: WarmupCandidate,
        /// The shortest one for 100 times the smallest unstable rate, if there is one.
        higher: Option<WarmupCandidate>,
    },
    /// Not even the longest warm-up was stable at ten times the smallest unstable rate. None if training is too short
    /// for any.
    NeverWorks { longest: Option<u64> },
    /// Runs are missing.
    Unfinished,
}

impl WarmupSearch {
    /// A search for training of so many steps.
    pub fn new(max_train_steps: u64, seeds: u32) -> Self {
        Self { lengths: warmup_lengths(max_train_steps), seeds }
    }

    /// Returns the candidate whose runs are needed next, with the numbers of its missing seeds. None at the end.
    ///
    /// A candidate that was unstable with one seed needs no more.
    pub fn next(&self, runs: &[WarmupRun]) -> Option<(WarmupCandidate, Vec<u32>)> {
        let mut from = 0;
        for factor in FACTORS {
            let mut works = None;
            for (i, warmup_steps) in self.lengths.iter().enumerate().skip(from) {
                let candidate = WarmupCandidate { factor, warmup_steps: *warmup_steps };
                let of_candidate: Vec<&WarmupRun> = runs.iter().filter(|run| run.candidate == candidate).collect();
                if of_candidate.iter().any(|run| !run.is_stable) {
                    continue;
                }
                let missing: Vec<u32> =
                    (0..self.seeds).filter(|seed| of_candidate.iter().all(|run| run.seed != *seed)).collect();
                if !missing.is_empty() {
                    return Some((candidate, missing));
                }
                works = Some(i);
                break;
            }
            // A higher rate needs no shorter warm-up.
            from = works?;
        }
        None
    }

    pub fn outcome(&self, runs: &[WarmupRun]) -> WarmupOutcome {
        if self.next(runs).is_some() {
            return WarmupOutcome::Unfinished;
        }
        let shortest = |factor: f64| {
            let candidates =
                self.lengths.iter().map(|warmup_steps| WarmupCandidate { factor, warmup_steps: *warmup_steps });
            candidates.into_iter().find(|candidate| {
                let mut own = runs.iter().filter(|run| run.candidate == *candidate).peekable();
                own.peek().is_some() && own.all(|run| run.is_stable)
            })
        };
        match shortest(FACTORS[0]) {
            Some(found) => WarmupOutcome::Works { shortest: found, higher: shortest(FACTORS[1]) },
            None => WarmupOutcome::NeverWorks { longest: self.lengths.last().copied() },
        }
    }
}

/// Returns the lengths of warm-up to try for training of so many steps: powers of ten, and at last a tenth of the
/// steps.
pub fn warmup_lengths(max_train_steps: u64) -> Vec<u64> {
    let longest = (LONGEST * max_train_steps as f64).floor() as u64;
    let powers = std::iter::successors(Some(10u64), |length| length.checked_mul(10));
    let mut lengths: Vec<u64> = powers.take_while(|length| *length < longest).collect();
    lengths.extend(Some(longest).filter(|longest| *longest > 0));
    lengths
}

/// Whether a warm-up is so long that training should have more steps.
pub fn raises_steps(warmup_steps: u64, max_train_steps: u64) -> bool {
    warmup_steps as f64 > SHARE_OF_LONGER_TRAINING * max_train_steps as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a search to its end on a model that is stable with the warm-ups that `is_stable` says.
    fn finish(search: &WarmupSearch, is_stable: impl Fn(WarmupCandidate, u32) -> bool) -> (WarmupOutcome, usize) {
        let mut runs: Vec<WarmupRun> = vec![];
        while let Some((candidate, seeds)) = search.next(&runs) {
            assert_eq!(search.outcome(&runs), WarmupOutcome::Unfinished);
            let run = |seed| WarmupRun { candidate, seed, is_stable: is_stable(candidate, seed) };
            runs.extend(seeds.into_iter().map(run));
            assert!(runs.len() < 100);
        }
        (search.outcome(&runs), runs.len())
    }

    #[test]
    fn lengths_are_orders_of_magnitude_up_to_a_tenth_of_the_steps() {
        assert_eq!(warmup_lengths(1_000_000), [10, 100, 1000, 10_000, 100_000]);
        assert_eq!(warmup_lengths(2_000), [10, 100, 200]);
        assert_eq!((warmup_lengths(50), warmup_lengths(9)), (vec![5], vec![]));
        assert!(raises_steps(51, 1000) && !raises_steps(50, 1000));
    }

    #[test]
    fn a_model_that_any_warm_up_helps_gets_the_shortest() {
        let (outcome, runs) = finish(&WarmupSearch::new(100_000, 3), |candidate, _| candidate.factor < 50.0);
        let shortest = WarmupCandidate { factor: 10.0, warmup_steps: 10 };
        assert_eq!(outcome, WarmupOutcome::Works { shortest, higher: None });
        assert_eq!((shortest.steps(), runs), (30, 3 + 4 * 3));
    }

    #[test]
    fn a_model_that_needs_a_long_warm_up_gets_it_and_a_higher_rate_a_longer_one() {
        // The rate may rise by 0.2 of the smallest unstable rate in ten steps.
        let is_stable = |candidate: WarmupCandidate, seed| {
            candidate.warmup_steps as f64 / candidate.factor >= 50.0 * f64::from(1 + seed)
        };
        let (outcome, _) = finish(&WarmupSearch::new(1_000_000, 2), is_stable);
        let works = |factor, warmup_steps| WarmupCandidate { factor, warmup_steps };
        assert_eq!(outcome, WarmupOutcome::Works { shortest: works(10.0, 1000), higher: Some(works(100.0, 10_000)) });
    }

    #[test]
    fn a_model_that_no_warm_up_helps_ends_with_the_longest_that_was_tried() {
        let (outcome, _) = finish(&WarmupSearch::new(30_000, 3), |_, _| false);
        assert_eq!(outcome, WarmupOutcome::NeverWorks { longest: Some(3000) });
        let (outcome, runs) = finish(&WarmupSearch::new(9, 3), |_, _| true);
        assert_eq!((outcome, runs), (WarmupOutcome::NeverWorks { longest: None }, 0));
    }

    #[test]
    fn one_unstable_seed_is_enough_to_reject_a_length() {
        let is_stable = |candidate: WarmupCandidate, seed| candidate.warmup_steps >= 1000 || seed != 2;
        let (outcome, _) = finish(&WarmupSearch::new(100_000, 3), is_stable);
        assert!(matches!(outcome, WarmupOutcome::Works { shortest, .. } if shortest.warmup_steps == 1000));
    }
}
