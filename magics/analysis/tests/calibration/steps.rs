//! The initial number of steps: how often its interval contains the median over all seeds. The rank correlation of two
//! rounds: how often its interval contains that of all configurations.

use crate::surfaces::{Random, definition, objective, trial as trial_of};
use tunebook_analysis::{FitTrial, initial_steps, rank_agreement};
use tunebook_study::{Trial, TrialState};

/// Steps to fit have a skewed distribution, here log-normal with this median and spread.
const MEDIAN: f64 = 240.0;
const SPREAD: f64 = 0.3;
/// Evaluations come after so many times the steps before.
const GROWTH: f64 = 1.05;

fn trial(number: u32, learning_rate: f64, steps: Option<u64>) -> FitTrial {
    let (state, least) = (TrialState::Complete, Some((0.0, 1)));
    FitTrial { trial: number, learning_rate, state, steps, least, curve: vec![] }
}

/// The steps of one seed: the first evaluation at which it fits. None beyond the limit.
fn steps(random: &mut Random, limit: f64) -> Option<u64> {
    let fits = MEDIAN * (SPREAD * random.normal()).exp();
    let evaluation = GROWTH.powf((fits.ln() / GROWTH.ln()).ceil()).round();
    (evaluation <= limit).then_some(evaluation as u64)
}

/// The share of studies with so many seeds whose interval contains the median over all seeds.
fn coverage(seeds: u32, limit: f64, studies: u32) -> f64 {
    let mut random = Random::new(u64::from(seeds) + limit as u64);
    let grid = [trial(1, 0.01, None), trial(2, 0.1, Some(200)), trial(3, 1.0, None)];
    // The median over all seeds, as evaluations show it.
    let truth = GROWTH.powf((MEDIAN.ln() / GROWTH.ln()).ceil()).round();
    let mut covered = 0;
    for _ in 0..studies {
        let of_seeds: Vec<FitTrial> = (0..seeds).map(|i| trial(i + 1, 0.1, steps(&mut random, limit))).collect();
        let found = initial_steps(&grid, &of_seeds);
        let contains =
            |[low, high]: [Option<f64>; 2]| low.is_none_or(|low| low <= truth) && high.is_none_or(|high| truth <= high);
        covered += u32::from(found.interval.is_some_and(contains));
    }
    f64::from(covered) / f64::from(studies)
}

#[test]
fn the_interval_of_the_initial_steps_contains_the_median_over_all_seeds() {
    for (seeds, limit) in [(6, 1e6), (9, 1e6), (20, 1e6)] {
        let share = coverage(seeds, limit, 2000);
        println!("{seeds} seeds: {share}");
        // Order statistics have few levels, and evaluations are rounded up, so that more than 95 % are covered.
        assert!((0.94..=0.995).contains(&share), "{seeds} seeds: {share}");
    }
}

/// The share of pairs of rounds with so many common configurations whose interval contains the rank correlation of all
/// configurations, where the objectives of both rounds have this correlation.
fn covers_ranks(common: u32, correlation: f64, studies: u32) -> f64 {
    let mut random = Random::new(u64::from(common) + (100.0 * correlation) as u64);
    let truth = 6.0 / std::f64::consts::PI * (0.5 * correlation).asin();
    let mut covered = 0;
    for _ in 0..studies {
        let (mut short, mut long): (Vec<Trial>, Vec<Trial>) = (vec![], vec![]);
        for i in 0..common {
            let x = [random.uniform(), random.uniform()];
            let (a, b) = (random.normal(), random.normal());
            let later = correlation * a + (1.0 - correlation * correlation).sqrt() * b;
            short.push(trial_of(i + 1, i, 1, &x, Some(a)));
            long.push(trial_of(i + 1, i, 1, &x, Some(later)));
        }
        let found = rank_agreement(&definition(2, 2, 1), &short, &long, &objective()).unwrap();
        assert_eq!(found.configurations, common as usize);
        covered += u32::from(found.interval[0] <= truth && truth <= found.interval[1]);
    }
    f64::from(covered) / f64::from(studies)
}

#[test]
fn the_interval_of_a_rank_correlation_contains_that_of_all_configurations() {
    for common in [8, 12, 30] {
        for correlation in [0.0, 0.5, 0.8] {
            let share = covers_ranks(common, correlation, 1000);
            println!("{common} common configurations, correlation {correlation}: {share}");
            assert!((0.915..=0.985).contains(&share), "{common}, {correlation}: {share}");
        }
    }
}
