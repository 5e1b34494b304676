//! The checklist: how often its rules warn where they should, and where they should not.

use crate::surfaces::{Random, definition, objective, trial};
use std::collections::BTreeMap;
use std::f64::consts::TAU;
use tunebook_analysis::{Finding, Flags, StudyView, insight};
use tunebook_study::{Measurement, Trial};

fn findings(nuisances: usize, trials: &[Trial], measured: &BTreeMap<u32, Vec<Measurement>>) -> Vec<Finding> {
    let (definition, objective) = (definition(2, nuisances, 1), objective());
    let (flags, definition, objective) = (Flags::default(), &definition, &objective);
    insight(StudyView { definition, trials, objective, measured, workload: None, flags: &flags, importance: None })
        .unwrap()
}

/// The shares of studies of `n` configurations with a warning of the given rule about x0, whose optimum lies at `at`,
/// and about x3, which does not matter.
fn boundary_warnings(at: f64, n: u32, studies: u32) -> [f64; 2] {
    let mut random = Random::new(u64::from(n) + (100.0 * at) as u64);
    let mut counts = [0; 2];
    for _ in 0..studies {
        let trials: Vec<Trial> = (0..n)
            .map(|i| {
                let x: Vec<f64> = (0..4).map(|_| random.uniform()).collect();
                let y = (x[0] - at).powi(2) + 0.3 * (x[1] - 0.4).powi(2) + 0.3 * (x[2] - 0.6).powi(2);
                trial(i + 1, i, 1 + i64::from(i % 2), &x, Some(y + 0.01 * random.normal()))
            })
            .collect();
        for finding in findings(4, &trials, &BTreeMap::new()).iter().filter(|finding| finding.id == "boundary") {
            counts[0] += u32::from(finding.hyperparameter.as_deref() == Some("x0"));
            counts[1] += u32::from(finding.hyperparameter.as_deref() == Some("x3"));
        }
    }
    counts.map(|count| f64::from(count) / f64::from(studies))
}

#[test]
fn a_boundary_is_warned_of_where_the_optimum_lies_outside_and_hardly_elsewhere() {
    for n in [50, 100] {
        let [outside, irrelevant] = boundary_warnings(1.3, n, 100);
        let [inside, also_irrelevant] = boundary_warnings(0.5, n, 100);
        println!("{n}: {outside} outside, {inside} inside, {irrelevant} and {also_irrelevant} irrelevant");
        assert!(outside >= 0.9, "{n}: {outside}");
        assert!(
            inside <= 0.05 && irrelevant.max(also_irrelevant) <= 0.05,
            "{n}: {inside} {irrelevant} {also_irrelevant}"
        );
    }
}

/// The shares of small studies of one hyperparameter, spread evenly, that warn of a boundary. Its optimum lies at `at`;
/// None if it does not matter.
fn small_boundary_warnings(at: Option<f64>, n: u32, studies: u32) -> f64 {
    let mut random = Random::new(u64::from(n));
    let mut count = 0;
    for _ in 0..studies {
        let trials: Vec<Trial> = (0..n)
            .map(|i| {
                let x = (f64::from(i) + random.uniform()) / f64::from(n);
                let y = at.map_or(0.0, |at| (x - at).powi(2)) + 0.02 * random.normal();
                trial(i + 1, i, 1 + i64::from(i % 2), &[x], Some(y))
            })
            .collect();
        count += u32::from(findings(1, &trials, &BTreeMap::new()).iter().any(|finding| finding.id == "boundary"));
    }
    f64::from(count) / f64::from(studies)
}

#[test]
fn a_boundary_is_warned_of_in_a_study_of_ten_configurations_too() {
    for n in [10, 12, 15, 20] {
        let outside = small_boundary_warnings(Some(1.3), n, 300);
        let others = [Some(0.5), Some(0.7), None].map(|at| small_boundary_warnings(at, n, 300));
        println!("{n}: {outside} outside, {others:?} inside or irrelevant");
        assert!(outside >= 0.9, "{n}: {outside}");
        assert!(others.iter().all(|share| *share <= 0.05), "{n}: {others:?}");
    }
}

#[test]
fn a_region_of_divergence_is_an_edge_of_instability_if_the_best_lie_below_it() {
    let mut random = Random::new(8);
    let mut study = |best: f64| -> Vec<Trial> {
        (0..50)
            .map(|i| {
                let x: Vec<f64> = (0..2).map(|_| random.uniform()).collect();
                let y = (x[0] - best).powi(2) + 0.05 * (x[1] - 0.5).powi(2);
                trial(i + 1, i, 1 + i64::from(i % 2), &x, (x[0] < 0.7).then_some(y))
            })
            .collect()
    };
    let (mut edges, mut others) = (0, 0);
    for _ in 0..20 {
        let at_edge = findings(2, &study(0.75), &BTreeMap::new());
        edges +=
            u32::from(at_edge.iter().any(|f| f.id == "instability-edge" && f.hyperparameter.as_deref() == Some("x0")));
        let away = findings(2, &study(0.2), &BTreeMap::new());
        others += u32::from(away.iter().any(|f| f.id == "instability-edge"));
    }
    assert!(edges >= 19 && others == 0, "{edges} and {others} of 20");
    // Without an edge, the share is what is said.
    let many: Vec<Trial> =
        (0..40).map(|i| trial(i + 1, i, 1, &[f64::from(i) / 40.0, 0.5], (i < 20).then_some(0.1))).collect();
    let found = findings(2, &many, &BTreeMap::new());
    let infeasible = found.iter().find(|f| f.id == "infeasible-fraction").unwrap();
    assert_eq!((infeasible.hyperparameter.as_deref(), infeasible.evidence["share"]), (Some("x0"), 0.5));
}

/// The objective and the training loss by the share of the training that is over.
type Curve = fn(f64, &mut Random) -> (f64, f64);

/// Curves of the five best trials, and the findings that they must and must not bring.
const CURVES: [(&str, Curve, &[&str], &[&str]); 8] = [
    (
        "overfits",
        |t, r| {
            (0.3 + 0.6 * (-9.0 * t).exp() + 0.25 * t + 0.006 * r.normal(), 0.1 + (-3.0 * t).exp() + 0.01 * r.normal())
        },
        &["overfitting"],
        &["training-loss-rising", "still-improving"],
    ),
    (
        "learns and levels off",
        |t, r| (0.3 + 0.6 * (-4.0 * t).exp() + 0.004 * r.normal(), 0.1 + (-4.0 * t).exp() + 0.01 * r.normal()),
        &[],
        &["overfitting", "training-loss-rising", "best-step-early"],
    ),
    (
        "still improves",
        |t, r| (1.0 - 0.7 * t + 0.005 * r.normal(), 1.0 - 0.8 * t + 0.01 * r.normal()),
        &["still-improving", "best-step-late"],
        &["overfitting", "saturated-early"],
    ),
    (
        "saturates at once",
        |t, r| (0.3 + 0.6 * (-100.0 * t).exp() + 0.005 * r.normal(), 0.1 + (-90.0 * t).exp() + 0.01 * r.normal()),
        &["saturated-early"],
        &["still-improving", "overfitting"],
    ),
    (
        "training loss rises",
        |t, r| (0.5 + 0.3 * t + 0.005 * r.normal(), 0.5 + 1.5 * (t - 0.4).max(0.0) + 0.02 * r.normal()),
        &["training-loss-rising"],
        &["overfitting", "still-improving"],
    ),
    (
        "noisy evaluations",
        |t, r| (0.3 + 0.6 * (-9.0 * t).exp() + 0.1 * r.normal(), 0.1 + (-9.0 * t).exp() + 0.05 * r.normal()),
        &["step-variance"],
        &["overfitting", "still-improving", "training-loss-rising"],
    ),
    (
        "noisy training loss",
        |t, r| (0.3 + 0.6 * (-6.0 * t).exp() + 0.005 * r.normal(), 0.3 + 0.5 * (-6.0 * t).exp() + 0.2 * r.normal()),
        &[],
        &["training-loss-rising", "overfitting"],
    ),
    (
        "memorizes without harm",
        |t, r| (0.3 + 0.6 * (-8.0 * t).exp() + 0.005 * r.normal(), (-6.0 * t).exp() + 0.005 * r.normal()),
        &[],
        &["overfitting", "training-loss-rising"],
    ),
];

#[test]
fn the_rules_about_curves_agree_with_what_the_curves_were_made_to_be() {
    for (name, curve, wanted, unwanted) in CURVES {
        let mut random = Random::new(9);
        let studies = 40;
        let mut missed: BTreeMap<&str, u32> = wanted.iter().chain(unwanted).map(|id| (*id, 0)).collect();
        for _ in 0..studies {
            let (mut trials, mut measured) = (vec![], BTreeMap::new());
            for number in 1..=8_u32 {
                let offset = 0.01 * f64::from(number);
                let points: Vec<Measurement> = (0..=50)
                    .map(|i| {
                        let (objective, training) = curve(f64::from(i) / 50.0, &mut random);
                        let metrics =
                            [("e".to_string(), Some(objective + offset)), ("train/loss".into(), Some(training))];
                        Measurement { step: 20 * i as u64, seconds: 0.0, metrics: metrics.into() }
                    })
                    .collect();
                let values = points.iter().map(|point| point.metrics["e"].unwrap());
                let x = [random.uniform(), random.uniform()];
                let best = values.fold(f64::INFINITY, f64::min);
                trials.push(trial(number, number - 1, 1 + i64::from(number % 2), &x, Some(best)));
                measured.insert(number, points);
            }
            let found: Vec<&str> = findings(2, &trials, &measured).iter().map(|finding| finding.id).collect();
            for id in
                wanted.iter().filter(|id| !found.contains(id)).chain(unwanted.iter().filter(|id| found.contains(id)))
            {
                *missed.get_mut(id).unwrap() += 1;
            }
        }
        println!("{name}: wrong in {studies} studies: {missed:?}");
        assert!(missed.values().all(|count| *count <= studies / 20), "{name}: {missed:?}");
    }
}

/// The objective at an evaluation, of a number that a study draws.
type Repeating = fn(usize, f64, &mut Random) -> f64;

/// Metrics that repeat after some evaluations, on different trends and with noise.
const PERIODIC: [Repeating; 5] = [
    |i, p, r| 0.3 + 0.5 * (-(i as f64) / 15.0).exp() + 0.02 * (TAU * i as f64 / p).sin() + 0.008 * r.normal(),
    // Each epoch ends with a dip, as if the data were not shuffled.
    |i, p, r| 0.4 - 0.002 * i as f64 - if i % p as usize == 0 { 0.06 } else { 0.0 } + 0.01 * r.normal(),
    |i, p, r| 0.3 + 0.03 * (i % p as usize) as f64 / p + 0.004 * r.normal(),
    |i, p, r| 0.2 + 0.001 * i as f64 + 0.03 * (TAU * i as f64 / p).cos().abs() + 0.003 * r.normal(),
    |i, p, r| 0.5 / (1.0 + 0.1 * i as f64) + 0.01 * (TAU * i as f64 / p).sin() + 0.004 * r.normal(),
];

/// Metrics that do not repeat: smooth and noisy ones, steps, drifts, and noise that remembers.
const APERIODIC: [Repeating; 7] = [
    |i, _, r| 0.3 + 0.5 * (-(i as f64) / 15.0).exp() + 0.01 * r.normal(),
    |i, _, _| 0.3 + 0.5 * (-(i as f64) / 15.0).exp(),
    |i, _, r| 0.3 + 0.1 * (i as f64 / 40.0 - 1.0).powi(2) + 0.005 * r.normal(),
    |_, _, r| 0.3 + 0.05 * r.normal(),
    |i, _, r| 0.4 - 0.1 * (i / 30) as f64 + 0.01 * r.normal(),
    |i, _, r| 0.3 + 0.03 * r.normal() / (1.0 + i as f64),
    |i, _, r| 0.3 - 0.001 * i as f64 + 0.1 * if r.uniform() < 0.05 { r.normal() } else { 0.0 },
];

/// Whether a study of five trials with such a metric has the finding, and its period in steps.
fn repeats(curve: impl Fn(usize, &mut Random) -> f64, random: &mut Random) -> Option<f64> {
    let (mut trials, mut measured) = (vec![], BTreeMap::new());
    for number in 1..=5_u32 {
        let points: Vec<Measurement> = (0..80)
            .map(|i| {
                let metrics = [("e".to_string(), Some(curve(i, random)))];
                Measurement { step: 25 * i as u64, seconds: 0.0, metrics: metrics.into() }
            })
            .collect();
        let best = points.iter().map(|point| point.metrics["e"].unwrap()).fold(f64::INFINITY, f64::min);
        let x = [random.uniform(), random.uniform()];
        trials.push(trial(number, number - 1, 1 + i64::from(number % 2), &x, Some(best)));
        measured.insert(number, points);
    }
    let found = findings(2, &trials, &measured);
    found.iter().find(|finding| finding.id == "periodic-metric").map(|finding| finding.evidence["period"])
}

#[test]
fn a_metric_that_repeats_is_found_with_its_period_and_no_other_one() {
    let mut random = Random::new(31);
    let (mut found, mut right) = (0, 0);
    for curve in PERIODIC {
        for period in [4.0, 5.0, 8.0, 12.0] {
            let steps = repeats(|i, r| curve(i, period, r), &mut random);
            found += u32::from(steps.is_some());
            // To one evaluation, of 25 steps. The absolute value of a cosine repeats twice as often.
            let is = |of: f64| steps.is_some_and(|steps| (steps - 25.0 * of).abs() <= 25.5);
            right += u32::from(is(period) || is(period / 2.0));
        }
    }
    let mut alarms = 0;
    for curve in APERIODIC {
        for _ in 0..5 {
            alarms += u32::from(repeats(|i, r| curve(i, 1.0, r), &mut random).is_some());
        }
    }
    // Noise that remembers drifts to and fro, as if it repeated.
    for memory in [0.5, 0.8, 0.9, 0.95, 1.0] {
        for _ in 0..5 {
            let state = std::cell::Cell::new(0.0);
            let drift = |_: usize, r: &mut Random| {
                state.set(memory * state.get() + 0.01 * r.normal());
                0.3 + state.get()
            };
            alarms += u32::from(repeats(drift, &mut random).is_some());
        }
    }
    println!("{found} of 20 found, {right} with their period; {alarms} of 60 false alarms");
    assert!(found == 20 && right >= 19, "{found} and {right} of 20");
    assert_eq!(alarms, 0);
}
