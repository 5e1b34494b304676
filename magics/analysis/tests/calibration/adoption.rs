//! Adoption: intervals hold the true difference, a change without a gain is seldom adopted, a gain of three standard
//! deviations nearly always. The seeds of both arms are shared: a part of the noise can be the same in both.

use crate::surfaces::Random;
use tunebook_analysis::{Adoption, Level, adoption};
use tunebook_study::{Direction, MetricSummary, Objective, ObjectiveValue, Trial, TrialState};

/// Noise with a mean of 0 and a standard deviation of 1.
#[derive(Clone, Copy, Debug)]
enum Noise {
    Normal,
    /// Exponential: skewed to the worse side.
    Skewed,
    /// Exponential, to the better side.
    SkewedToBetter,
    /// Now and then ten times as large as otherwise.
    HeavyTailed,
    /// A count of errors among few examples, so that many runs are equal.
    Coarse,
}

const NOISES: [Noise; 5] = [Noise::Normal, Noise::Skewed, Noise::SkewedToBetter, Noise::HeavyTailed, Noise::Coarse];

impl Noise {
    fn draw(self, random: &mut Random) -> f64 {
        let uniform = random.uniform();
        match self {
            Noise::Normal => random.normal(),
            Noise::Skewed => -(1.0 - uniform).ln() - 1.0,
            Noise::SkewedToBetter => 1.0 + (1.0 - uniform).ln(),
            // The variance is 0.98 + 0.02 · 100.
            Noise::HeavyTailed => random.normal() * if uniform < 0.02 { 10.0 } else { 1.0 } / 2.98_f64.sqrt(),
            Noise::Coarse => random.normal().round() / (1.0_f64 + 1.0 / 12.0).sqrt(),
        }
    }
}

fn trials(values: Vec<f64>) -> Vec<Trial> {
    let trial = |(value, number): (f64, u32)| Trial {
        number,
        configuration: 0,
        params: Default::default(),
        seed: u64::from(number),
        state: TrialState::Complete,
        reason: None,
        summaries: [("e".to_string(), MetricSummary { min: (value, 1), max: (value, 1), last: (value, 1) })].into(),
        seconds: 1.0,
        started: 0.0,
    };
    values.into_iter().zip(1..).map(trial).collect()
}

/// Decisions for candidates that are better by `gain` standard deviations. `shared` is the part of the variance that
/// the runs of a seed have in common.
fn decisions(noise: Noise, repeats: usize, gain: f64, shared: f64, count: u32) -> Vec<Adoption> {
    let mut random = Random::new(31 + repeats as u64);
    let objective = Objective { metric: "e".into(), direction: Direction::Minimize, judged: ObjectiveValue::Best };
    let one = |_| {
        let common: Vec<f64> = (0..repeats).map(|_| noise.draw(&mut random)).collect();
        let mut arm = |shift: f64| {
            let own = |common: &f64| shared.sqrt() * common + (1.0 - shared).sqrt() * noise.draw(&mut random) + shift;
            trials(common.iter().map(own).collect())
        };
        adoption(&arm(-gain), &arm(0.0), &objective)
    };
    (0..count).map(one).collect()
}

fn share(found: &[Adoption], is: impl Fn(&Adoption) -> bool) -> f64 {
    found.iter().filter(|adoption| is(adoption)).count() as f64 / found.len() as f64
}

fn tolerance(p: f64, count: u32) -> f64 {
    3.0 * (p * (1.0 - p) / f64::from(count)).sqrt()
}

fn no_gain_is_seldom_adopted(repeats: &[usize], count: u32) {
    for noise in NOISES {
        for (n, shared) in repeats.iter().flat_map(|n| [(*n, 0.0), (*n, 0.5), (*n, 0.9)]) {
            let found = decisions(noise, n, 0.0, shared, count);
            let adopted = share(&found, |adoption| adoption.adopt);
            let differs = share(&found, |adoption| adoption.level > Level::L0);
            println!("{noise:?}, {n} runs, {shared} shared: {adopted:.4} adopted, {differs:.4} called different");
            assert!(adopted <= 0.05, "{noise:?}, {n} runs, {shared} shared: {adopted}");
            assert!(differs <= 0.05 + tolerance(0.05, count), "{noise:?}, {n} runs, {shared} shared: {differs}");
        }
    }
}

fn a_gain_of_three_is_adopted(repeats: &[usize], count: u32) {
    for (noise, n) in NOISES.into_iter().flat_map(|noise| repeats.iter().map(move |n| (noise, *n))) {
        for shared in [0.0, 0.5, 0.9] {
            let found = decisions(noise, n, 3.0, shared, count);
            let adopted = share(&found, |adoption| adoption.adopt);
            println!("{noise:?}, {n} runs, {shared} shared, a gain of 3: {adopted:.4} adopted");
            assert!(adopted >= 0.9, "{noise:?}, {n} runs, {shared} shared: {adopted}");
        }
        let harmful = decisions(noise, n, -3.0, 0.0, count);
        assert_eq!(share(&harmful, |adoption| adoption.adopt), 0.0);
    }
}

fn intervals_hold_the_difference(noises: &[Noise], repeats: &[usize], count: u32) {
    for (noise, n) in noises.iter().flat_map(|noise| repeats.iter().map(move |n| (*noise, *n))) {
        for shared in [0.0, 0.5] {
            let found = decisions(noise, n, 1.0, shared, count);
            let inside = share(&found, |adoption| {
                let [low, high] = adoption.interval.unwrap();
                (low..=high).contains(&-1.0)
            });
            println!("{noise:?}, {n} runs, {shared} shared: {inside:.4} of intervals hold the difference");
            let tolerance = tolerance(0.05, count);
            assert!(inside > 0.93 - tolerance && inside < 0.97 + tolerance, "{noise:?}, {n} runs: {inside}");
        }
    }
}

fn intervals_hold_the_standard_deviation(repeats: &[usize], count: u32) {
    for n in repeats {
        let found = decisions(Noise::Normal, *n, 0.0, 0.0, count);
        let holds = |interval: Option<[f64; 2]>, truth: f64| interval.is_some_and(|[a, b]| a <= truth && truth <= b);
        let sd = share(&found, |adoption| holds(adoption.candidate_runs.standard_deviation_interval, 1.0));
        let mean = share(&found, |adoption| holds(adoption.candidate_runs.mean_interval, 0.0));
        println!("{n} runs: {sd:.4} of intervals hold the standard deviation, {mean:.4} the mean");
        for inside in [sd, mean] {
            assert!((inside - 0.95).abs() < 0.02 + tolerance(0.05, count), "{n} runs: {sd} {mean}");
        }
    }
}

#[test]
fn a_change_without_a_gain_is_adopted_in_at_most_a_twentieth_of_cases() {
    no_gain_is_seldom_adopted(&[5, 8], 2000);
}

#[test]
fn a_gain_of_three_standard_deviations_is_adopted_in_nine_tenths_of_cases() {
    a_gain_of_three_is_adopted(&[5, 8], 2000);
}

#[test]
fn the_true_difference_lies_in_the_interval() {
    intervals_hold_the_difference(&[Noise::Normal, Noise::Skewed], &[3, 5, 10, 20], 2000);
}

#[test]
fn the_true_standard_deviation_lies_in_the_interval_of_the_runs() {
    intervals_hold_the_standard_deviation(&[3, 5, 10, 20], 2000);
}

/// With three runs each, even complete separation proves nothing, and the answer says so.
#[test]
fn three_runs_get_no_verdict() {
    for adoption in decisions(Noise::Normal, 3, 10.0, 0.0, 100) {
        assert_eq!((adoption.p_value, adoption.adopt, adoption.level), (None, false, Level::L0));
        assert_eq!(adoption.repeats_needed, Some(4));
    }
}

#[test]
#[ignore = "large size"]
fn adoption_at_all_sizes() {
    no_gain_is_seldom_adopted(&[4, 5, 6, 8, 12, 20], 20_000);
    a_gain_of_three_is_adopted(&[5, 6, 8, 12, 20], 20_000);
    intervals_hold_the_difference(&[Noise::Normal, Noise::Skewed], &[3, 4, 5, 6, 8, 12, 20], 20_000);
    intervals_hold_the_standard_deviation(&[2, 3, 5, 8, 20, 40], 20_000);
}
