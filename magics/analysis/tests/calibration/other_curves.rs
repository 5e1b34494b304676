//! The rules about training curves on shapes that they were not made with, and with few and many evaluations.

use crate::curves::{Curve, Family, Rule, agree, between};
use crate::surfaces::Random;
use std::cell::Cell;
use std::f64::consts::{PI, TAU};

/// Returns a number between two others.
fn evenly(random: &mut Random, low: f64, high: f64) -> f64 {
    low + (high - low) * random.uniform()
}

/// Falls like a power of the steps to a floor.
fn power_law(random: &mut Random) -> Curve {
    let (exponent, floor, noise) = (evenly(random, 0.3, 1.2), evenly(random, 0.0, 0.5), between(random, 5e-4, 4e-3));
    Box::new(move |t, r| {
        let y = (1.0 + 100.0 * t).powf(-exponent);
        (floor + y + noise * r.normal(), 0.8 * floor + y + 2.0 * noise * r.normal())
    })
}

/// The objective falls, rises and falls again to less than before, while the training loss falls.
fn double_descent(random: &mut Random) -> Curve {
    let (turn, rise, noise) = (evenly(random, 0.15, 0.3), evenly(random, 0.1, 0.3), between(random, 1e-3, 6e-3));
    Box::new(move |t, r| {
        let hump = rise * (-((t - turn - 0.15) / 0.07).powi(2)).exp();
        (
            0.2 + 0.6 * (-9.0 * t).exp() + 0.15 * (1.0 - t) + hump + noise * r.normal(),
            (-6.0 * t).exp() + noise * r.normal(),
        )
    })
}

/// Nothing is learned at first; then the objective drops to its end.
fn plateau_then_drop(random: &mut Random) -> Curve {
    let (at, rate, noise) = (evenly(random, 0.25, 0.5), between(random, 30.0, 80.0), between(random, 1e-3, 8e-3));
    Box::new(move |t, r| {
        let y = if t < at { 1.0 } else { (-rate * (t - at)).exp() };
        (0.2 + 0.7 * y + noise * r.normal(), 0.1 + y + 2.0 * noise * r.normal())
    })
}

/// Nothing is learned until more than half of the training is over; then the objective falls to the end.
fn drops_at_the_end(random: &mut Random) -> Curve {
    let (at, noise) = (evenly(random, 0.5, 0.65), between(random, 1e-3, 8e-3));
    Box::new(move |t, r| {
        let y = 1.0 - 0.6 * (t - at).max(0.0) / (1.0 - at);
        (y + noise * r.normal(), y + 2.0 * noise * r.normal())
    })
}

/// The learning rate decays as a cosine, so that the noise and the objective fall late and then level off.
fn cosine(random: &mut Random) -> Curve {
    let (floor, noise) = (evenly(random, 0.1, 0.3), between(random, 1e-3, 2e-2));
    Box::new(move |t, r| {
        let rate = 0.5 * (1.0 + (PI * t).cos());
        let y = 0.2 + 0.6 * (-8.0 * t).exp() + floor * rate;
        (y + noise * rate * r.normal(), y - 0.1 + 2.0 * noise * (0.1 + rate) * r.normal())
    })
}

/// The noise is a share of what is left to learn.
fn noise_falls_too(random: &mut Random) -> Curve {
    let (rate, noise) = (between(random, 6.0, 15.0), evenly(random, 0.05, 0.3));
    Box::new(move |t, r| {
        let y = (-rate * t).exp();
        (0.3 + y * (1.0 + noise * r.normal()) + 1e-3 * r.normal(), 0.01 + y * (1.0 + noise * r.normal()))
    })
}

/// The objective is a loss that grows and grows, and the training loss goes to 0.
fn loss_overfits(random: &mut Random) -> Curve {
    let (turn, rise, rate) = (evenly(random, 0.1, 0.6), evenly(random, 0.5, 4.0), between(random, 5.0, 12.0));
    let noise = between(random, 5e-3, 1.2e-2);
    Box::new(move |t, r| {
        let fall = 1.0 - (t / turn).min(1.0);
        let y = 0.8 + fall * fall + rise * (t - turn).max(0.0);
        (y + noise * r.normal(), 2.0 * (-rate * t).exp() * (1.0 + 0.1 * r.normal()))
    })
}

/// Overfits late and by little, but beyond its noise.
fn overfits_late(random: &mut Random) -> Curve {
    let (turn, rise) = (evenly(random, 0.5, 0.7), evenly(random, 0.1, 0.3));
    let noise = rise * between(random, 0.01, 0.08);
    Box::new(move |t, r| {
        let fall = 0.6 * (1.0 - (t / turn).min(1.0)).powi(2);
        let risen = rise * (t - turn).max(0.0) / (1.0 - turn);
        (0.3 + fall + risen + noise * r.normal(), 0.1 + 0.8 * (1.0 - t) + 0.02 * r.normal())
    })
}

/// Overfits, and its error is a count of few examples.
fn counts_overfit(random: &mut Random) -> Curve {
    let (turn, rise) = (evenly(random, 0.2, 0.5), evenly(random, 0.1, 0.2));
    Box::new(move |t, r| {
        let fall = 0.6 * (1.0 - (t / turn).min(1.0)).powi(2);
        let y = 0.1 + fall + rise * (t - turn).max(0.0) / (1.0 - turn) + 0.004 * r.normal();
        ((300.0 * y).round() / 300.0, 0.05 + (-4.0 * t).exp() + 0.01 * r.normal())
    })
}

/// The error is a count of few examples and levels off.
fn counts_level_off(random: &mut Random) -> Curve {
    let rate = between(random, 8.0, 15.0);
    Box::new(move |t, r| {
        let y = 0.05 + 0.85 * (-rate * t).exp() + 0.003 * r.normal();
        ((300.0 * y).round() / 300.0, (-rate * t).exp() + 0.02 * r.normal())
    })
}

/// Noise that remembers what it was, around curves that level off.
fn noise_remembers(random: &mut Random) -> Curve {
    let (rate, noise, memory) = (between(random, 8.0, 15.0), between(random, 2e-3, 6e-3), evenly(random, 0.3, 0.7));
    let states = [Cell::new(0.0), Cell::new(0.0)];
    Box::new(move |t, r| {
        for state in &states {
            state.set(memory * state.get() + (1.0_f64 - memory * memory).sqrt() * r.normal());
        }
        let y = (-rate * t).exp();
        (0.3 + 0.6 * y + noise * states[0].get(), 0.2 + y + 5.0 * noise * states[1].get())
    })
}

/// Some training losses are those of a batch that is much harder than others.
fn loss_has_spikes(random: &mut Random) -> Curve {
    let (rate, noise) = (between(random, 8.0, 15.0), between(random, 0.01, 0.1));
    Box::new(move |t, r| {
        let spike = if r.uniform() < 0.03 { 20.0 * r.uniform() } else { 1.0 };
        let y = (-rate * t).exp();
        (0.3 + 0.6 * y + 0.004 * r.normal(), 0.3 + y + noise * spike * r.normal().abs())
    })
}

/// The training loss rises in warm-up only, and then falls.
fn warms_up(random: &mut Random) -> Curve {
    let (end, height, rate) = (evenly(random, 0.02, 0.08), evenly(random, 0.2, 1.0), between(random, 8.0, 12.0));
    Box::new(move |t, r| {
        let y = if t < end { 1.0 + height * t / end } else { (1.0 + height) * (-rate * (t - end)).exp() };
        (0.3 + 0.5 * y + 0.004 * r.normal(), 0.1 + y + 0.01 * r.normal())
    })
}

/// The training loss falls and then rises slowly, by a good part of what it fell.
fn loss_creeps_up(random: &mut Random) -> Curve {
    let (turn, rise, noise) = (evenly(random, 0.2, 0.5), evenly(random, 0.3, 0.8), between(random, 5e-3, 3e-2));
    Box::new(move |t, r| {
        let y = (1.0 - (t / turn).min(1.0)).powi(2) + rise * (t - turn).max(0.0) / (1.0 - turn);
        (0.3 + 0.5 * y + 0.004 * r.normal(), 0.2 + y + noise * r.normal())
    })
}

/// Evaluations that vary much, without normal noise.
fn varies_much(random: &mut Random) -> Curve {
    let noise = between(random, 0.1, 0.3);
    Box::new(move |t, r| {
        let skewed = -r.uniform().ln() - 1.0;
        (0.5 + 0.5 * (-12.0 * t).exp() + noise * skewed, 0.1 + (-12.0 * t).exp() + 0.02 * r.normal())
    })
}

/// The objective goes up and down with the learning rate, and ends lower each time.
fn restarts(random: &mut Random) -> Curve {
    let noise = between(random, 1e-3, 5e-3);
    Box::new(move |t, r| {
        let wave = 0.05 * (0.5 + 0.5 * (TAU * 2.5 * t).cos());
        (0.2 + 0.6 * (-5.0 * t).exp() + wave + noise * r.normal(), 0.1 + (-5.0 * t).exp() + 0.01 * r.normal())
    })
}

/// Falls evenly in the logarithm.
fn falls_by_half_lives(random: &mut Random) -> Curve {
    let (rate, noise) = (evenly(random, 1.0, 2.5), between(random, 1e-3, 6e-3));
    Box::new(move |t, r| ((-rate * t).exp() + noise * r.normal(), (-rate * t).exp() + 2.0 * noise * r.normal()))
}

/// Everything is learned in a few steps, with noise after that.
fn at_once(random: &mut Random) -> Curve {
    let (end, noise) = (evenly(random, 0.01, 0.06), between(random, 2e-3, 2e-2));
    Box::new(move |t, r| {
        let y = 1.0 - (t / end).min(1.0);
        (0.1 + 0.8 * y + noise * r.normal(), 0.05 + y + noise * r.normal())
    })
}

/// Nothing is learned at all.
fn is_flat(random: &mut Random) -> Curve {
    let noise = between(random, 1e-3, 8e-3);
    Box::new(move |_, r| (0.9 + noise * r.normal(), 2.3 + noise * r.normal()))
}

/// A loss below zero, as that of a density, that levels off.
fn below_zero(random: &mut Random) -> Curve {
    let (rate, noise) = (between(random, 8.0, 15.0), between(random, 2e-3, 6e-3));
    Box::new(move |t, r| {
        (-50.0 + (-rate * t).exp() + noise * r.normal(), -55.0 + (-rate * t).exp() + noise * r.normal())
    })
}

const FAMILIES: [(&str, Family); 20] = [
    ("power law", power_law),
    ("double descent", double_descent),
    ("plateau then drop", plateau_then_drop),
    ("drops at the end", drops_at_the_end),
    ("cosine", cosine),
    ("noise falls too", noise_falls_too),
    ("loss overfits", loss_overfits),
    ("overfits late", overfits_late),
    ("counts overfit", counts_overfit),
    ("counts level off", counts_level_off),
    ("noise remembers", noise_remembers),
    ("spikes", loss_has_spikes),
    ("warms up", warms_up),
    ("creeps up", loss_creeps_up),
    ("varies much", varies_much),
    ("restarts", restarts),
    ("half-lives", falls_by_half_lives),
    ("at once", at_once),
    ("flat", is_flat),
    ("below zero", below_zero),
];

const RULES: [Rule; 5] = [
    ("overfitting", &["loss overfits", "overfits late", "counts overfit"], &[]),
    ("step-variance", &["varies much"], &["restarts"]),
    ("still-improving", &["drops at the end", "half-lives"], &["power law", "cosine", "double descent", "restarts"]),
    (
        "saturated-early",
        &["at once"],
        &[
            "power law",
            "cosine",
            "noise falls too",
            "loss overfits",
            "overfits late",
            "counts overfit",
            "counts level off",
            "noise remembers",
            "spikes",
            "warms up",
            "creeps up",
            "varies much",
            "restarts",
            "flat",
            "below zero",
            "double descent",
            "plateau then drop",
        ],
    ),
    ("training-loss-rising", &["creeps up"], &[]),
];

#[test]
fn the_rules_agree_with_other_shapes_of_curves() {
    agree(&FAMILIES, &RULES, [25.0, 200.0], 20);
}

#[test]
#[ignore = "large size"]
fn the_rules_agree_with_other_shapes_of_curves_and_other_numbers_of_evaluations() {
    for evaluations in [[10.0, 14.0], [15.0, 25.0], [25.0, 200.0], [900.0, 1100.0], [4000.0, 6000.0]] {
        let studies = if evaluations[0] > 800.0 { 40 } else { 300 };
        agree(&FAMILIES, &RULES, evaluations, studies);
    }
}
