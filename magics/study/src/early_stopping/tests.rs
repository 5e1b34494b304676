use super::*;
use crate::Direction;
use rand_chacha::rand_core::{Rng, SeedableRng};

fn rule(rule: StopEarly, direction: Direction) -> EarlyStopping {
    EarlyStopping::new(rule, &Objective { metric: "error".into(), direction, judged: ObjectiveValue::Best })
}

/// Runs a trial with one value at each of the steps 1, 2, …. Returns the step at which it is stopped.
fn run(rule: &mut EarlyStopping, number: u32, configuration: u32, values: &[f64]) -> Option<u64> {
    rule.started(number, configuration);
    for (step, value) in (1..).zip(values) {
        if rule.measured(number, step, *value).is_some() {
            rule.ended(number, TrialState::Stopped);
            return Some(step);
        }
    }
    rule.ended(number, TrialState::Complete);
    None
}

#[test]
fn the_median_rule_stops_what_is_worse_than_the_median_after_five_complete_trials() {
    for (direction, sign) in [(Direction::Minimize, 1.0), (Direction::Maximize, -1.0)] {
        let mut median = rule(StopEarly::Median, direction);
        let mut go = |n: u32, values: [f64; 3]| run(&mut median, n, n, &values.map(|v| sign * v));
        for n in 1..=4 {
            assert_eq!(go(n, [0.1 * f64::from(n), 0.2, 0.2]), None);
        }
        assert_eq!(go(5, [9.0, 9.0, 9.0]), None, "only four others are complete");
        // At step 1 the complete ones have 0.1, 0.2, 0.3, 0.4 and 9.
        assert_eq!(go(6, [0.3, 0.2, 0.2]), None, "an equal value is not worse");
        assert_eq!(go(7, [0.35, 0.0, 0.0]), Some(1));
        // Its best value so far counts, and a stopped trial is not one of those that it is compared with.
        assert_eq!(go(8, [0.1, 0.9, 0.9]), None);
        assert_eq!(go(9, [0.3, 0.25, 0.9]), Some(2), "the medians are 0.3 at step 1 and 0.2 at step 2");
    }
}

#[test]
fn steps_that_no_complete_trial_has_stop_nothing_and_neither_does_the_last_step() {
    let mut median = rule(StopEarly::Median, Direction::Minimize);
    for n in 1..=5 {
        run(&mut median, n, n, &[0.1, 0.1]);
    }
    median.started(6, 6);
    assert_eq!(median.measured(6, 2, 0.9), None, "its last step");
    median.started(7, 7);
    assert_eq!(median.measured(7, 0, 0.9), None, "no complete trial has step 0");
    let reason = median.measured(7, 1, 0.9).unwrap();
    assert_eq!(
        reason,
        "--stop-early median at step 1: `error` 0.9 is worse than 0.1, the median of 5 complete configurations at \
         this step"
    );
}

#[test]
fn the_reason_gives_the_value_at_the_step_and_the_best_one_before() {
    for (kind, than) in [
        (StopEarly::Median, "the median of 5 complete configurations at this step"),
        (StopEarly::Asha, "the best of 6 configurations at rung 0"),
    ] {
        let mut known = rule(kind, Direction::Maximize);
        for n in 1..=5 {
            known.started(n, n);
            known.measured(n, 100, 0.9);
            known.measured(n, 200, 0.9);
            known.ended(n, TrialState::Complete);
        }
        known.started(6, 6);
        assert_eq!(known.measured(6, 0, 0.5), None);
        let expected = format!(
            "--stop-early {kind} at step 100: `error` is 0.25, and its best so far, 0.5, is worse than 0.9, {than}"
        );
        assert_eq!(known.measured(6, 100, 0.25), Some(expected));
    }
}

#[test]
fn a_trial_is_not_stopped_at_step_0_or_at_its_own_last_step() {
    let mut median = rule(StopEarly::Median, Direction::Minimize);
    for n in 1..=5 {
        median.started(n, n);
        for step in [0, 100, 1000] {
            median.measured(n, step, 0.1);
        }
        median.ended(n, TrialState::Complete);
    }
    for (number, end, stopped_at) in [(6, Some(100), None), (7, Some(101), Some(100)), (8, None, Some(100))] {
        median.started(number, number);
        if let Some(end) = end {
            median.ends_at(number, end);
        }
        let at = [0, 100].into_iter().find(|step| median.measured(number, *step, 0.9).is_some());
        assert_eq!(at, stopped_at, "a trial of {end:?} steps");
    }
}

#[test]
fn seeds_of_one_configuration_count_once_and_are_not_compared_with_each_other() {
    let mut median = rule(StopEarly::Median, Direction::Minimize);
    for n in 1..=5 {
        run(&mut median, n, 0, &[0.1, 0.1]);
    }
    assert_eq!(run(&mut median, 6, 0, &[0.9, 0.9]), None, "five seeds of its own configuration");
    assert_eq!(run(&mut median, 7, 1, &[0.9, 0.9]), None, "and these are one other configuration");
}

#[test]
fn asha_keeps_the_best_quarter_at_each_rung() {
    let mut asha = rule(StopEarly::Asha, Direction::Minimize);
    // The first complete trial has 8 steps, so the rungs are at the steps 1, 4, 16.
    assert_eq!(run(&mut asha, 1, 1, &[0.5; 8]), None);
    assert_eq!(run(&mut asha, 2, 2, &[0.6; 8]), Some(1), "of two, only the best goes on");
    assert_eq!(run(&mut asha, 3, 3, &[0.4, 0.4, 0.4, 0.55, 0.5, 0.5, 0.5, 0.5]), None, "its best value counts");
    for n in 4..=7 {
        assert_eq!(run(&mut asha, n, n, &[0.9; 8]), Some(1));
    }
    assert_eq!(run(&mut asha, 8, 8, &[0.45, 0.45, 0.45, 0.45, 0.1, 0.1, 0.1, 0.1]), Some(4), "second best of eight");
    let mut copy = rule(StopEarly::Asha, Direction::Minimize);
    copy.started(1, 1);
    assert_eq!(copy.measured(1, 1, 9.0), None, "there are no rungs before a trial is complete");
}

/// The rules again, in the words of their definition and without what is kept between two measurements.
fn expected(rule: StopEarly, history: &[(Vec<f64>, bool)], values: &[f64]) -> bool {
    let best = |values: &[f64]| values.iter().copied().fold(f64::INFINITY, f64::min);
    let step = values.len();
    let complete: Vec<&Vec<f64>> = history.iter().filter(|(_, complete)| *complete).map(|(curve, _)| curve).collect();
    if complete.iter().map(|curve| curve.len()).max().is_some_and(|longest| step >= longest) {
        return false;
    }
    if rule == StopEarly::Median {
        let mut at: Vec<f64> = complete.iter().filter_map(|curve| curve.get(step - 1).copied()).collect();
        at.sort_by(f64::total_cmp);
        let n = at.len();
        return complete.len() >= 5 && n > 0 && best(values) > 0.5 * (at[(n - 1) / 2] + at[n / 2]);
    }
    let Some(first) = complete.first().map(|curve| (curve.len() / 100).max(1)) else { return false };
    let Some(at) = (0..10).map(|rung| first * 4_usize.pow(rung)).find(|at| *at == step) else { return false };
    let reached = history.iter().filter(|(curve, _)| curve.len() >= at);
    let mut all: Vec<f64> = reached.map(|(curve, _)| best(&curve[..at])).chain([best(values)]).collect();
    all.sort_by(f64::total_cmp);
    best(values) > all[(all.len() / 4).max(1) - 1]
}

#[test]
fn random_studies_are_judged_as_the_rules_are_written() {
    let mut stopped = [0, 0];
    for seed in 0..60 {
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
        let mut uniform = || f64::from(random.next_u32()) / f64::from(u32::MAX);
        let steps = 2 + (258.0 * uniform()) as u64;
        for (i, kind) in [StopEarly::Median, StopEarly::Asha].into_iter().enumerate() {
            let mut known = rule(kind, Direction::Minimize);
            let mut history: Vec<(Vec<f64>, bool)> = vec![];
            for n in 1..=30 {
                let (end, rate) = (uniform(), 0.01 + uniform());
                known.started(n, n);
                let mut values = vec![];
                let mut complete = true;
                for step in 1..=steps {
                    values.push(end + (-rate * step as f64).exp() + 0.1 * uniform());
                    let verdict = known.measured(n, step, values[values.len() - 1]);
                    assert_eq!(verdict.is_some(), expected(kind, &history, &values), "{kind} {seed} {n} {step}");
                    if verdict.is_some() {
                        stopped[i] += 1;
                        complete = false;
                        break;
                    }
                }
                known.ended(n, if complete { TrialState::Complete } else { TrialState::Stopped });
                history.push((values, complete));
            }
        }
    }
    assert!(stopped.iter().all(|n| *n > 300), "{stopped:?}");
}
