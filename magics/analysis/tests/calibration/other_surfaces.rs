//! The same promises on surfaces that the rules were not made with: valleys, many minima, cliffs, skewed noise, steps,
//! accuracies near 1, whole numbers, and five values of a list.

use crate::surfaces::{Random, definition, objective, trial};
use std::collections::BTreeMap;
use tunebook_analysis::{Flags, Level, StudyView, importance, insight, isolation};
use tunebook_study::{Direction, Objective, Trial};

/// The objective of one training with the given nuisances. None is an infeasible configuration.
type Train = fn(&[f64], &mut Random) -> Option<f64>;

/// Surfaces with their number of nuisances, and whether many configurations have the same objective, so that an
/// interval may hold more than 97 %.
const SURFACES: [(&str, usize, bool, Train); 12] = [
    ("Rosenbrock's valley", 2, false, |x, _| {
        let (a, b) = (4.0 * x[0] - 2.0, 4.0 * x[1] - 1.0);
        Some(0.01 * ((1.0 - a).powi(2) + 100.0 * (b - a * a).powi(2)))
    }),
    ("many minima", 3, false, |x, r| {
        let wave = |x: &f64| (4.0 * x - 2.2).powi(2) + 1.0 - (std::f64::consts::TAU * (4.0 * x - 2.2)).cos();
        Some(0.1 * x.iter().map(wave).sum::<f64>() + 0.01 * r.normal())
    }),
    ("plateau and cliff", 3, false, |x, r| {
        let is_learning = x[0] > 0.35 && x[0] < 0.8;
        let fit = 0.2 + (x[0] - 0.6).powi(2) + 0.3 * (x[1] - 0.3).powi(2);
        Some(if is_learning { fit } else { 0.9 } + 0.003 * r.normal())
    }),
    ("cliff of divergence", 2, false, |x, r| {
        (x[0] < 0.6).then(|| (x[0] - 0.65).abs() + 0.2 * x[1] + 0.005 * r.normal())
    }),
    ("log-normal noise", 3, false, |x, r| {
        Some((3.0 * (x[0] - 0.4).powi(2) + (x[1] - 0.6).abs() + 0.3 * r.normal()).exp())
    }),
    ("skewed noise", 2, false, |x, r| Some((x[0] - 0.3).powi(2) + 0.05 * -r.uniform().ln())),
    ("error near 0", 3, false, |x, r| {
        Some(1.0 / (1.0 + (5.0 - 4.0 * (x[0] - 0.5).powi(2) - 3.0 * (x[1] - 0.4).abs() + 0.2 * r.normal()).exp()))
    }),
    ("counts of errors", 3, true, |x, r| {
        Some(((0.03 + 0.3 * (x[0] - 0.5).powi(2) + 0.1 * x[1] + 0.004 * r.normal()) * 360.0).round() / 360.0)
    }),
    ("steps", 2, true, |x, _| Some((5.0 * x[0]).floor() * 0.1 + (3.0 * x[1]).floor() * 0.05)),
    ("whole numbers", 4, false, |x, r| {
        let whole = |x: f64, n: f64| (n * x).floor() / n;
        Some((whole(x[0], 6.0) - 0.5).powi(2) + 0.2 * (whole(x[1], 3.0) - 0.3).abs() + 0.02 * r.normal())
    }),
    ("a part fails by chance", 3, false, |x, r| {
        (r.uniform() > 0.25).then(|| (x[0] - 0.4).powi(2) + (x[1] - 0.4).powi(2) + 0.01 * r.normal())
    }),
    ("flat but for a funnel", 5, false, |x, r| {
        let distance: f64 = x.iter().map(|x| (x - 0.45).powi(2)).sum();
        Some(1.0 - 0.8 * (-6.0 * distance).exp() + 0.01 * r.normal())
    }),
];

fn study(
    arms: i64,
    nuisances: usize,
    n: u32,
    random: &mut Random,
    train: impl Fn(&[f64], &mut Random) -> Option<f64>,
) -> Vec<Trial> {
    (0..n)
        .map(|i| {
            let x: Vec<f64> = (0..nuisances).map(|_| random.uniform()).collect();
            trial(i + 1, i, 1 + i64::from(i) % arms, &x, train(&x, random))
        })
        .collect()
}

/// The largest difference from a share that chance explains in so many studies.
fn tolerance(p: f64, studies: u32) -> f64 {
    3.0 * (p * (1.0 - p) / f64::from(studies)).sqrt()
}

/// Returns the shares of studies in which another study's best is below, in and above the interval of the first value.
fn coverage(nuisances: usize, train: Train, direction: Direction, n: u32, studies: u32) -> [f64; 3] {
    let (definition, objective) = (definition(5, nuisances, 1), Objective { direction, ..objective() });
    let mut random = Random::new(40 + u64::from(n));
    let mut point = || {
        let sign = |y| direction.minimized(y);
        let trials = study(5, nuisances, 5 * n, &mut random, |x, r| train(x, r).map(sign));
        isolation(&definition, &trials, "arm", None, &objective).ok().map(|found| found.points[0].clone())
    };
    let mut counts = [0; 3];
    for _ in 0..studies {
        let (Some(found), Some(next)) = (point(), point()) else { continue };
        let worst = direction.minimized(f64::INFINITY);
        let (next, [low, high]) = (next.objective.unwrap_or(worst), found.interval.unwrap_or([None, None]));
        let place =
            if low.is_some_and(|low| next < low) { 0 } else { 1 + usize::from(high.is_some_and(|high| next > high)) };
        counts[place] += 1;
    }
    counts.map(|count| f64::from(count) / f64::from(studies))
}

fn check_intervals(sizes: &[u32], studies: u32) {
    let mut wrong = vec![];
    for (i, (name, nuisances, has_ties, train)) in SURFACES.into_iter().enumerate() {
        let direction = if i % 2 == 0 { Direction::Minimize } else { Direction::Maximize };
        for n in sizes {
            let [below, inside, above] = coverage(nuisances, train, direction, *n, studies);
            println!("{name:24} {n:4}: {below:.3} below, {inside:.3} inside, {above:.3} above");
            let tolerance = tolerance(0.05, studies);
            // Of five configurations all may lie on the plateau, and nothing tells that there is more.
            let is_hidden = name == "plateau and cliff" && *n < 6;
            if is_hidden {
                continue;
            }
            if inside < 0.93 - tolerance || (!has_ties && inside > 0.97 + tolerance) {
                wrong.push(format!("{name}, {n}: {below} {inside} {above}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Surfaces whose optimum lies outside of the range of x0, at its upper or its lower end, is inside for x1, and does
/// not depend on the last nuisance.
const OUTSIDE: [(&str, usize, bool, Train); 10] = [
    // Here nothing is outside either.
    ("nothing matters", 3, true, |_, r| Some(r.normal())),
    ("bowl of 2", 3, true, |x, r| Some((x[0] - 1.3).powi(2) + (x[1] - 0.5).powi(2) + 0.01 * r.normal())),
    ("bowl of 3", 4, true, |x, r| {
        Some((x[0] - 1.3).powi(2) + (x[1] - 0.5).powi(2) + (x[2] - 0.6).powi(2) + 0.02 * r.normal())
    }),
    ("bowl of 5", 6, true, |x, r| {
        let rest: f64 = x[1..5].iter().map(|x| (x - 0.5).powi(2)).sum();
        Some((x[0] - 1.3).powi(2) + 0.5 * rest + 0.01 * r.normal())
    }),
    ("line", 4, true, |x, r| {
        Some(1.0 - x[0] + 0.5 * (x[1] - 0.5).abs() + 0.5 * (x[2] - 0.4).abs() + 0.02 * r.normal())
    }),
    ("lower end", 3, false, |x, r| Some((x[0] + 0.3).powi(2) + (x[1] - 0.5).powi(2) + 0.01 * r.normal())),
    ("log-normal", 4, true, |x, r| {
        Some((3.0 * (x[0] - 1.3).powi(2) + 2.0 * (x[1] - 0.5).powi(2) + (x[2] - 0.6).powi(2) + 0.1 * r.normal()).exp())
    }),
    ("a part fails", 3, true, |x, r| {
        (r.uniform() > 0.2).then(|| (x[0] - 1.3).powi(2) + (x[1] - 0.5).powi(2) + 0.01 * r.normal())
    }),
    ("accuracy near 1", 3, true, |x, r| {
        Some(1.0 / (1.0 + (4.0 - 5.0 * (x[0] - 1.2).powi(2) - 3.0 * (x[1] - 0.5).powi(2) + 0.1 * r.normal()).exp()))
    }),
    ("counts of errors", 3, true, |x, r| {
        Some(
            ((0.03 + 0.2 * (x[0] - 1.3).powi(2) + 0.2 * (x[1] - 0.5).powi(2) + 0.002 * r.normal()) * 360.0).round()
                / 360.0,
        )
    }),
];

fn check_boundaries(n: u32, studies: u32) {
    let mut wrong = vec![];
    for (name, nuisances, is_high, train) in OUTSIDE {
        let (definition, objective, flags) = (definition(2, nuisances, 1), objective(), Flags::default());
        let mut random = Random::new(50);
        let irrelevant = format!("x{}", nuisances - 1);
        let mut counts = [0_u32; 3];
        for _ in 0..studies {
            let trials = study(2, nuisances, n, &mut random, train);
            let (definition, trials, objective, flags) = (&definition, &trials[..], &objective, &flags);
            let measured = &BTreeMap::new();
            let view = StudyView { definition, trials, objective, measured, workload: None, flags, importance: None };
            let found = insight(view).unwrap();
            let end = if is_high { tunebook_analysis::End::High } else { tunebook_analysis::End::Low };
            let warns = |label: &str, side: Option<tunebook_analysis::End>| {
                u32::from(found.iter().any(|f| {
                    f.id == "boundary"
                        && f.hyperparameter.as_deref() == Some(label)
                        && (side.is_none() || f.side == side)
                }))
            };
            counts[0] += warns("x0", Some(end));
            counts[1] += warns("x1", None);
            counts[2] += warns(&irrelevant, None);
        }
        let [outside, inside, irrelevant] = counts.map(|count| f64::from(count) / f64::from(studies));
        println!("{name:16} {n:4}: {outside:.3} outside, {inside:.3} inside, {irrelevant:.3} irrelevant");
        let most = 0.05 + tolerance(0.05, studies);
        let is_outside = name != "nothing matters";
        if (is_outside && outside < 0.9 - tolerance(0.1, studies))
            || (!is_outside && outside > most)
            || inside > most
            || irrelevant > most
        {
            wrong.push(format!("{name}, {n}: {outside} {inside} {irrelevant}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// How often one of five identical values is called better, and how often they are said to have an effect.
fn check_identical(n: u32, studies: u32) {
    let mut wrong = vec![];
    for (name, nuisances, _, train) in SURFACES {
        let (definition, objective) = (definition(5, nuisances, 1), objective());
        let mut random = Random::new(60 + u64::from(n));
        let (mut told, mut moves, mut matters) = (0, 0, 0);
        for _ in 0..studies {
            let trials = study(5, nuisances, n, &mut random, train);
            let Ok(found) = isolation(&definition, &trials, "arm", None, &objective) else { continue };
            told += u32::from(found.comparison.is_some_and(|comparison| comparison.level == Level::L1));
            let of_arm = &importance(&definition, &trials, &objective).hyperparameters[0];
            moves += u32::from(of_arm.moves_metric());
            matters += u32::from(of_arm.matters_for_best());
        }
        let shares = [told, moves, matters].map(|count| f64::from(count) / f64::from(studies));
        println!("{name:24} {n:4}: identical values told apart, moves the metric, matters for the best: {shares:.3?}");
        // What is printed as 95 % holds in 93 to 97 %.
        if shares.iter().any(|share| *share > 0.07 + tolerance(0.07, studies)) {
            wrong.push(format!("{name}, {n}: {shares:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn intervals_hold_as_many_bests_on_other_surfaces() {
    check_intervals(&[4, 12], 200);
}

#[test]
fn boundaries_are_told_on_other_surfaces() {
    check_boundaries(50, 60);
}

#[test]
fn identical_values_are_not_told_apart_on_other_surfaces() {
    check_identical(50, 10);
}

#[test]
#[ignore = "large size"]
fn intervals_hold_as_many_bests_on_other_surfaces_at_all_sizes() {
    check_intervals(&[4, 5, 6, 8, 12, 20, 50], 3000);
}

#[test]
#[ignore = "large size"]
fn boundaries_are_told_on_other_surfaces_at_a_large_size() {
    check_boundaries(50, 1000);
    check_boundaries(100, 500);
}

#[test]
#[ignore = "large size"]
fn identical_values_are_not_told_apart_on_other_surfaces_at_a_large_size() {
    check_identical(30, 400);
    check_identical(100, 200);
}
