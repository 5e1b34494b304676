//! Importance: how often a hyperparameter without effect seems to have one, and how often real effects are told.

use crate::surfaces::{Random, definition, objective, trial};
use tunebook_analysis::{Importance, importance};
use tunebook_study::Trial;

type Objective = fn(&[f64]) -> f64;

/// Returns the importance of x0 to x4 in studies of `n` configurations.
fn studies(value: Objective, noise: f64, n: u32, studies: u32) -> Vec<Importance> {
    let mut random = Random::new(31 + u64::from(n));
    let definition = definition(2, 5, 1);
    (0..studies)
        .map(|_| {
            let trials: Vec<Trial> = (0..n)
                .map(|i| {
                    let x: Vec<f64> = (0..5).map(|_| random.uniform()).collect();
                    let y = value(&x) + noise * random.normal();
                    trial(i + 1, i, 1 + i64::from(i % 2), &x, Some(y))
                })
                .collect();
            importance(&definition, &trials, &objective())
        })
        .collect()
}

fn share<T>(all: &[T], is: impl Fn(&T) -> bool) -> f64 {
    all.iter().filter(|one| is(one)).count() as f64 / all.len() as f64
}

/// The largest share of `studies` that is compatible with a rate of 5 %.
fn five_percent(studies: usize) -> f64 {
    0.05 + 3.0 * (0.05 * 0.95 / studies as f64).sqrt()
}

fn bowl(x: &[f64]) -> f64 {
    (x[0] - 0.4).powi(2) + 0.5 * (x[1] - 0.6).powi(2)
}

/// The objective of a learning rate x0 and a momentum x1 that both make the steps larger.
fn ridge(x: &[f64]) -> f64 {
    (x[0] + x[1] - 1.1).powi(2) + 0.1 * (x[2] - 0.5).powi(2)
}

/// A sum of terms that are no polynomials.
fn steps(x: &[f64]) -> f64 {
    let wall = |x: f64| 1.0 / (1.0 + (-30.0 * (x - 0.7)).exp());
    wall(x[0]) + 0.6 * (2.0 * x[1] - 1.0).abs() + 0.3 * x[2]
}

/// The hyperparameters of a study are the arm, x0, x1, ….
const X0: usize = 1;

/// `told` are those of the relevant hyperparameters whose effect is large enough to be told.
fn check_nulls(value: Objective, relevant: &[usize], told: &[usize], noise: f64, n: u32, count: u32) {
    let found = studies(value, noise, n, count);
    for j in 0..6 {
        let is_relevant = relevant.contains(&j);
        let moves = share(&found, |one| one.hyperparameters[j].moves_metric());
        let matters = share(&found, |one| one.hyperparameters[j].matters_for_best());
        println!("{n} configurations, {j}: moves the metric {moves:.3}, matters for the best {matters:.3}");
        if !is_relevant {
            assert!(
                moves <= five_percent(found.len()) && matters <= five_percent(found.len()),
                "{j}: {moves} {matters}"
            );
        }
    }
    let all = told.iter().map(|j| share(&found, |one| one.hyperparameters[*j].moves_metric()));
    assert!(all.clone().all(|moves| moves >= 0.8), "{n}: {:?}", all.collect::<Vec<_>>());
}

#[test]
fn a_hyperparameter_without_effect_seems_to_have_one_in_a_twentieth_of_studies() {
    check_nulls(bowl, &[X0, X0 + 1], &[X0, X0 + 1], 0.01, 50, 40);
    check_nulls(steps, &[X0, X0 + 1, X0 + 2], &[X0, X0 + 1], 0.05, 80, 20);
}

fn supported(value: Objective, noise: f64, n: u32, count: u32) -> Vec<Vec<[String; 2]>> {
    let pairs = |one: Importance| {
        one.interactions.into_iter().filter(|pair| pair.is_supported()).map(|pair| pair.hyperparameters).collect()
    };
    studies(value, noise, n, count).into_iter().map(pairs).collect()
}

fn check_interactions(noise: f64, n: u32, count: u32) {
    for (name, value) in [("bowl", bowl as Objective), ("steps", steps), ("none", |_| 0.5)] {
        let alarms = share(&supported(value, noise, n, count), |pairs| !pairs.is_empty());
        println!("{n} configurations, {name}: {alarms:.3} of studies with an interaction");
        assert!(alarms <= five_percent(count as usize), "{name}: {alarms}");
    }
    let ridges = supported(ridge, noise, n, count);
    let told = share(&ridges, |pairs| pairs.contains(&["x0".to_string(), "x1".to_string()]));
    let others = share(&ridges, |pairs| pairs.len() > usize::from(pairs.contains(&["x0".into(), "x1".into()])));
    println!("{n} configurations, ridge: {told:.3} told, {others:.3} others");
    assert!(told >= 0.9 && others <= five_percent(count as usize), "{told} {others}");
}

#[test]
fn an_interaction_is_told_where_there_is_one_and_hardly_elsewhere() {
    check_interactions(0.02, 50, 30);
}

#[test]
#[ignore = "large size"]
fn importance_holds_at_all_sizes() {
    for n in [20, 30, 50, 100, 200] {
        let told: &[usize] = if n < 40 { &[X0] } else { &[X0, X0 + 1] };
        check_nulls(bowl, &[X0, X0 + 1], told, 0.01, n, 200);
        check_nulls(steps, &[X0, X0 + 1, X0 + 2], told, 0.05, n, 200);
    }
    for n in [50, 100] {
        check_interactions(0.02, n, 200);
    }
}
