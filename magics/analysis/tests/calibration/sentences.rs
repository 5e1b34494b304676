//! What a finding says has its numbers: each number of a message is one of its evidence, and each message has some.
//!
//! All rules are made to speak, so no message is left out.

use crate::curves::{Curve, FAMILIES, findings_of};
use crate::surfaces::{Random, definition, objective, trial};
use std::collections::{BTreeMap, BTreeSet};
use tunebook_analysis::{Finding, Flags, StudyView, importance, insight};
use tunebook_study::{StudyDefinition, Trial};

/// All rules of the checklist.
const RULES: [&str; 16] = [
    "best-step-early",
    "best-step-late",
    "boundary",
    "good-region",
    "infeasible-fraction",
    "insensitive",
    "instability-edge",
    "interaction",
    "none",
    "overfitting",
    "sampling-density",
    "saturated-early",
    "seed-variance",
    "step-variance",
    "still-improving",
    "training-loss-rising",
];
/// The numbers in messages that belong to the rules themselves: 95 %, a tenth as 10 %, two standard deviations, the
/// ends of the ranges of all studies here, and the bounds of estimates (less than 0.1 or 1 %, more than 99 %).
const CONSTANTS: [f64; 7] = [95.0, 10.0, 2.0, 0.0, 1.0, 0.1, 99.0];
/// The numbers of evaluations of the studies with curves.
const EVALUATIONS: [f64; 2] = [25.0, 200.0];
/// Words that claim more than a study can show.
const TOO_MUCH: [&str; 7] = ["significant", "significantly", "proves", "certainly", "always", "never", "guaranteed"];

/// A finding, with the numbers that name trials or values of hyperparameters.
struct Said {
    finding: Finding,
    names: Vec<f64>,
}

fn said(definition: &StudyDefinition, trials: &[Trial]) -> Vec<Said> {
    let objective = &objective();
    let found = importance(definition, trials, objective);
    let (flags, measured) = (&Flags::default(), &BTreeMap::new());
    let view = StudyView { definition, trials, objective, measured, workload: None, flags, importance: Some(&found) };
    let values = trials.iter().flat_map(|trial| trial.params.values().filter_map(|value| value.as_f64()));
    let names: Vec<f64> = values.collect();
    insight(view).unwrap().into_iter().map(|finding| Said { finding, names: names.clone() }).collect()
}

fn study(n: u32, nuisances: usize, random: &mut Random, value: impl Fn(&[f64]) -> Option<f64>) -> Vec<Trial> {
    (0..n)
        .map(|i| {
            let x: Vec<f64> = (0..nuisances).map(|_| random.uniform()).collect();
            trial(i + 1, i, 1 + i64::from(i % 2), &x, value(&x))
        })
        .collect()
}

/// The objective is best early, and then rises.
fn is_best_early(_: &mut Random) -> Curve {
    Box::new(|t, r| (0.3 + (t - 0.04).abs() + 0.002 * r.normal(), 0.5 + 0.01 * r.normal()))
}

fn all() -> Vec<Said> {
    let mut random = Random::new(77);
    let mut all = vec![];
    let (two, four) = (definition(2, 2, 1), definition(2, 4, 1));
    for _ in 0..4 {
        let outside = study(50, 4, &mut random, |x| Some((x[0] - 1.3).powi(2) + 0.1 * x[1]));
        all.extend(said(&four, &outside));
        let ridge = study(100, 4, &mut random, |x| Some((x[0] + x[1] - 1.1).powi(2) + (x[2] - 0.5).powi(2)));
        all.extend(said(&four, &ridge));
        let edge = study(50, 2, &mut random, |x| (x[0] < 0.7).then_some((x[0] - 0.75).powi(2) + 0.05 * x[1]));
        all.extend(said(&two, &edge));
        let broken = study(50, 2, &mut random, |x| (x[0] < 0.5).then_some(x[0] * x[0] + 0.05 * x[1]));
        all.extend(said(&two, &broken));
        all.extend(said(&two, &study(50, 2, &mut random, |x| (x[0] < 0.03).then_some(x[1]))));
        all.extend(said(&two, &study(3, 2, &mut random, |x| Some(x[0]))));
        let mut lonely = study(20, 2, &mut random, |x| Some(1.0 + x[0]));
        lonely[7] = trial(8, 7, 1, &[0.5, 0.5], Some(0.1));
        all.extend(said(&two, &lonely));
        let seeds: Vec<Trial> = (0..30)
            .map(|i| trial(i + 1, i / 3, 1, &[f64::from(i / 3) / 10.0, 0.5], Some(0.5 + 0.1 * random.normal())))
            .collect();
        all.extend(said(&definition(2, 2, 3), &seeds));
        let families = FAMILIES.iter().map(|(_, family)| *family).chain([is_best_early as fn(&mut Random) -> Curve]);
        for family in families {
            let named = (1..=8).map(f64::from).collect::<Vec<_>>();
            let found = findings_of(family, EVALUATIONS, &mut random).into_iter();
            all.extend(found.map(|finding| Said { finding, names: named.clone() }));
        }
    }
    all
}

/// The numbers of a text, each with the number of its decimals and whether it is a percentage. Digits in a name, as in
/// `x0`, are no number.
fn numbers(text: &str) -> Vec<(f64, usize, bool)> {
    let mut found = vec![];
    let mut rest = text;
    let mut before = ' ';
    while let Some(c) = rest.chars().next() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        if !c.is_ascii_digit() || before.is_alphanumeric() {
            before = c;
            rest = &rest[c.len_utf8()..];
            continue;
        }
        let mut token = rest[..end].trim_end_matches('.');
        let decimals = token.split_once('.').map_or(0, |(_, decimals)| decimals.len());
        let mut end = end;
        // The exponent of a small or large number, as in `1.2e-5`.
        if let Some(exponent) = rest[end..].strip_prefix('e') {
            let digits = exponent.trim_start_matches('-');
            let is_end = |c: char| !c.is_ascii_digit();
            let after = digits.find(is_end).map_or("", |at| &digits[at..]);
            if digits.starts_with(|c: char| c.is_ascii_digit()) {
                end = rest.len() - after.len();
                token = &rest[..end];
            }
        }
        found.push((token.parse().unwrap(), decimals, rest[end..].starts_with(" %")));
        (before, rest) = ('0', &rest[end..]);
    }
    found
}

/// Returns the numbers of a message that nothing stands behind, and how many have evidence.
fn unfounded(Said { finding, names }: &Said) -> (Vec<f64>, usize) {
    let evidence: Vec<f64> = finding.evidence.values().copied().collect();
    let ratios = || evidence.iter().flat_map(|a| evidence.iter().map(move |b| 100.0 * a / b));
    let (mut without, mut with) = (vec![], 0);
    for (value, decimals, is_percentage) in numbers(&finding.message) {
        // Half a unit of the last digit that is shown, and half of the fourth significant digit.
        let near = |x: f64| (value - x).abs() <= (0.5 * 10_f64.powi(-(decimals as i32))).max(5e-4 * x.abs()) + 1e-12;
        let is_evidence = match is_percentage {
            true => evidence.iter().any(|x| near(100.0 * x)) || ratios().any(near),
            false => evidence.iter().any(|x| (value - x).abs() <= 5.1e-4 * x.abs()),
        };
        let is_name = !is_percentage && names.iter().any(|x| (value - x).abs() <= 5.1e-4 * x.abs());
        with += usize::from(is_evidence);
        if !is_evidence && !is_name && !CONSTANTS.contains(&value) {
            without.push(value);
        }
    }
    (without, with)
}

#[test]
fn each_number_of_a_message_is_in_its_evidence_and_no_message_claims_more() {
    let all = all();
    let spoke: BTreeSet<&str> = all.iter().map(|said| said.finding.id).collect();
    assert_eq!(spoke.into_iter().collect::<Vec<_>>(), RULES, "each rule speaks");
    for said in &all {
        let Finding { id, message, advice, evidence, .. } = &said.finding;
        let (without, with) = unfounded(said);
        assert!(without.is_empty(), "{id}: nothing stands behind {without:?} in: {message}\n{evidence:?}");
        assert!(with > 0, "{id} has no number of its evidence: {message}\n{evidence:?}");
        let text = format!("{message} {advice}").to_lowercase();
        let mut words = text.split(|c: char| !c.is_alphabetic());
        assert!(words.all(|word| !TOO_MUCH.contains(&word)), "{id}: {text}");
    }
    // A number that nothing stands behind is noticed.
    let mut invented = all.into_iter().next().unwrap();
    invented.finding.message += " In 42.42 % of cases it is 765.4.";
    assert_eq!(unfounded(&invented).0, [42.42, 765.4]);
}
