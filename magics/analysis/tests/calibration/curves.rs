//! The rules about training curves on families of curves whose shape, scale, noise and number of evaluations are drawn
//! at random: each rule on at least 20 studies that it is for, and on at least 20 that it is not for.

use crate::surfaces::{Random, definition, objective, trial};
use std::collections::BTreeMap;
use tunebook_analysis::{Finding, Flags, StudyView, insight};
use tunebook_study::{Measurement, Trial};

/// The objective and the training loss at a share of the training.
pub type Curve = Box<dyn Fn(f64, &mut Random) -> (f64, f64)>;
/// Draws the curve of a study.
pub type Family = fn(&mut Random) -> Curve;

/// Returns a number between two others, evenly distributed in the logarithm.
pub fn between(random: &mut Random, low: f64, high: f64) -> f64 {
    low * (high / low).powf(random.uniform())
}

/// A curve that falls exponentially at a rate.
fn falling(random: &mut Random, low: f64, high: f64) -> Curve {
    let (rate, noise, loss_noise) =
        (between(random, low, high), between(random, 1e-3, 6e-3), between(random, 1e-3, 3e-2));
    Box::new(move |t, r| {
        (0.3 + 0.6 * (-rate * t).exp() + noise * r.normal(), 0.1 + (-rate * t).exp() + loss_noise * r.normal())
    })
}

fn levels_off(random: &mut Random) -> Curve {
    falling(random, 8.0, 20.0)
}

fn is_slow(random: &mut Random) -> Curve {
    falling(random, 0.3, 1.5)
}

fn is_at_once(random: &mut Random) -> Curve {
    falling(random, 80.0, 300.0)
}

/// Falls like a power of the steps, as large models do.
fn power_law(random: &mut Random) -> Curve {
    let (exponent, noise) = (0.15 + 0.35 * random.uniform(), between(random, 5e-4, 2e-3));
    Box::new(move |t, r| {
        let y = (0.02 + t).powf(-exponent);
        (0.2 * y + noise * r.normal(), 0.3 * y + 2.0 * noise * r.normal())
    })
}

fn is_linear(random: &mut Random) -> Curve {
    let (slope, noise) = (0.3 + 0.6 * random.uniform(), between(random, 1e-3, 1e-2));
    Box::new(move |t, r| (1.0 - slope * t + noise * r.normal(), 1.0 - slope * t + noise * r.normal()))
}

/// The objective rises from its minimum on, and the training loss falls.
fn overfits(random: &mut Random) -> Curve {
    let (turn, rise, noise) =
        (0.15 + 0.5 * random.uniform(), 0.15 + 0.4 * random.uniform(), between(random, 1e-3, 1e-2));
    Box::new(move |t, r| {
        let fall = 0.6 * (1.0 - (t / turn).min(1.0)).powi(2);
        let risen = rise * ((t - turn).max(0.0) / (1.0 - turn)).powf(0.8);
        (0.3 + fall + risen + noise * r.normal(), 0.05 + (-4.0 * t).exp() + noise * r.normal())
    })
}

/// The objective rises, and so does the training loss: that is no overfitting.
fn breaks(random: &mut Random) -> Curve {
    let (turn, rise, noise) = (0.2 + 0.4 * random.uniform(), 0.4 + 0.6 * random.uniform(), between(random, 2e-3, 1e-2));
    Box::new(move |t, r| {
        let y = 0.5 * (1.0 - (t / turn).min(1.0)).powi(2) + rise * (t - turn).max(0.0);
        (0.3 + y + noise * r.normal(), 0.2 + y + noise * r.normal())
    })
}

/// The training loss jumps and stays there for a while.
fn has_a_hump(random: &mut Random) -> Curve {
    let (from, height, noise) = (0.25 + 0.3 * random.uniform(), 0.5 + random.uniform(), between(random, 3e-3, 2e-2));
    Box::new(move |t, r| {
        let hump = height * (-((t - from - 0.15) / 0.08).powi(2)).exp();
        (0.3 + 0.5 * (-5.0 * t).exp() + 0.005 * r.normal(), 0.2 + (-5.0 * t).exp() + hump + noise * r.normal())
    })
}

/// The evaluations vary more than the trials differ.
fn varies(random: &mut Random) -> Curve {
    let noise = between(random, 0.06, 0.2);
    Box::new(move |t, r| {
        (0.5 + 0.5 * (-9.0 * t).exp() + noise * r.normal(), 0.1 + (-9.0 * t).exp() + 0.02 * r.normal())
    })
}

/// The training loss is that of single small batches.
fn has_noisy_loss(random: &mut Random) -> Curve {
    let noise = between(random, 0.1, 0.5);
    Box::new(move |t, r| {
        (0.3 + 0.5 * (-9.0 * t).exp() + 0.004 * r.normal(), 0.5 + (-9.0 * t).exp() + noise * r.normal())
    })
}

/// The learning rate decays, so that the objective falls once more at half of the steps and then stays.
fn falls_in_stages(random: &mut Random) -> Curve {
    let (at, noise) = (0.4 + 0.2 * random.uniform(), between(random, 1e-3, 5e-3));
    Box::new(move |t, r| {
        let y = 0.5 * (-12.0 * t).exp() + if t < at { 0.2 } else { 0.2 * (-40.0 * (t - at)).exp() };
        (0.2 + y + noise * r.normal(), 0.1 + y + noise * r.normal())
    })
}

pub const FAMILIES: [(&str, Family); 12] = [
    ("levels off", levels_off),
    ("slow", is_slow),
    ("at once", is_at_once),
    ("power law", power_law),
    ("linear", is_linear),
    ("overfits", overfits),
    ("breaks", breaks),
    ("hump", has_a_hump),
    ("varies", varies),
    ("noisy loss", has_noisy_loss),
    ("stages", falls_in_stages),
    ("barely noisy", |random| falling(random, 5.0, 6.0)),
];

const RULES: [Rule; 6] = [
    ("overfitting", &["overfits"], &[]),
    ("step-variance", &["varies"], &[]),
    ("still-improving", &["slow", "linear"], &["power law"]),
    (
        "saturated-early",
        &["at once"],
        &["levels off", "varies", "noisy loss", "hump", "overfits", "breaks", "barely noisy", "power law", "stages"],
    ),
    ("best-step-early", &["at once"], &["at once", "varies", "overfits", "breaks"]),
    ("training-loss-rising", &["breaks", "hump"], &[]),
];

/// Returns the findings of a study of eight trials whose curves are of one family, with a number of evaluations between
/// two others.
pub fn findings_of(family: Family, evaluations: [f64; 2], random: &mut Random) -> Vec<Finding> {
    let curve = family(random);
    let [least, most] = evaluations;
    let (scale, evaluations) = (between(random, 0.01, 100.0), between(random, least, most).round() as usize);
    let every = between(random, 1.0, 1000.0) as u64;
    let (mut trials, mut measured): (Vec<Trial>, _) = (vec![], BTreeMap::new());
    for number in 1..=8_u32 {
        let offset = 0.01 * f64::from(number);
        let points: Vec<Measurement> = (0..=evaluations)
            .map(|i| {
                let (objective, training) = curve(i as f64 / evaluations as f64, random);
                let metrics = [
                    ("e".to_string(), Some(scale * (objective + offset))),
                    ("train/loss".into(), Some(scale * training)),
                ];
                Measurement { step: every * i as u64, seconds: 0.0, metrics: metrics.into() }
            })
            .collect();
        let best = points.iter().map(|point| point.metrics["e"].unwrap()).fold(f64::INFINITY, f64::min);
        trials.push(trial(number, number - 1, 1 + i64::from(number % 2), &[random.uniform()], Some(best)));
        measured.insert(number, points);
    }
    let (definition, objective, flags) = (&definition(2, 1, 1), &objective(), &Flags::default());
    let (trials, measured) = (&trials[..], &measured);
    let view = StudyView { definition, trials, objective, measured, workload: None, flags, importance: None };
    insight(view).unwrap()
}

/// A rule, the families that it is for, and those about which it may say both, because its threshold lies within.
pub type Rule = (&'static str, &'static [&'static str], &'static [&'static str]);

/// Each rule must be right about at least 95 % of the studies of each family.
pub fn agree(families: &[(&'static str, Family)], rules: &[Rule], evaluations: [f64; 2], studies: u32) {
    let mut random = Random::new(12);
    // How often each rule spoke, by family.
    let mut spoke: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    for (name, family) in families {
        for _ in 0..studies {
            let found: Vec<&str> =
                findings_of(*family, evaluations, &mut random).iter().map(|finding| finding.id).collect();
            for (rule, ..) in rules.iter().filter(|(rule, ..)| found.contains(rule)) {
                *spoke.entry((rule, name)).or_default() += 1;
            }
        }
    }
    let mut wrong = vec![];
    for (rule, wanted, either) in rules {
        for (name, _) in families.iter().filter(|(name, _)| !either.contains(name)) {
            let count = spoke.get(&(rule, *name)).copied().unwrap_or(0);
            let right = if wanted.contains(name) { count } else { studies - count };
            println!("{evaluations:?} evaluations, {rule} on curves of the kind `{name}`: {right} of {studies} right");
            if 20 * right < 19 * studies {
                wrong.push(format!("{evaluations:?} evaluations, {rule} on `{name}`: {right} of {studies}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn check(studies: u32) {
    agree(&FAMILIES, &RULES, [25.0, 200.0], studies);
}

#[test]
fn the_rules_agree_with_the_families_that_they_are_for() {
    check(40);
}

#[test]
#[ignore = "large size"]
fn the_rules_agree_with_the_families_at_a_large_size() {
    check(1000);
}
