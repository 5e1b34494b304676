//! Instability: whether it limits the learning rate, and when in training it sets in.

use crate::surfaces::Random;
use tunebook_analysis::{
    InstabilityKind, LimitVerdict, OnsetOf, RateRun, RateSweep, RunAbove, RunEnd, instability_kind, limit, onset, rate,
};

fn between(random: &mut Random, low: f64, high: f64) -> f64 {
    low + (high - low) * random.uniform()
}

/// Runs a sweep on a model whose error has its minimum at the rate `best`, with noise between seeds, and whose runs
/// diverge above a rate near 1 that depends on the seed.
fn verdict(best: f64, noise: f64, random: &mut Random) -> LimitVerdict {
    let sweep = RateSweep { first: [-80, 20], bounds: [-120, 80], seeds: 3, looks_above: false };
    let mut runs: Vec<RateRun> = vec![];
    loop {
        let next = sweep.next(&runs);
        if next.is_empty() {
            return limit(&sweep.result(&runs)).expect("an edge is found").verdict;
        }
        for (index, seed) in next {
            let lr = rate(index);
            let edge = (0.05 * random.normal()).exp();
            let error = 0.05 + 0.03 * (lr / best).log10().powi(2) + noise * random.normal();
            let end = if lr < edge { RunEnd::Learned(error) } else { RunEnd::Diverged };
            runs.push(RateRun { index, seed, end });
        }
    }
}

#[test]
fn an_edge_limits_the_rate_only_where_the_best_lies_next_to_it() {
    let mut counts = [[0; 3]; 2];
    for seed in 0..100 {
        let mut random = Random::new(900 + seed);
        // The minimum is half a decade to two decades beyond the edge, or a decade and more below it.
        for (row, best) in counts
            .iter_mut()
            .zip([10f64.powf(between(&mut random, 0.5, 2.0)), 10f64.powf(-between(&mut random, 1.0, 2.5))])
        {
            row[verdict(best, 0.001, &mut random) as usize] += 1;
        }
    }
    let [beyond, below] = counts;
    println!("limited, not limited, cannot tell: minimum beyond the edge {beyond:?}, well below it {below:?}");
    assert!(beyond[0] >= 95 && below[1] >= 95 && below[0] == 0, "{counts:?}");
}

#[test]
fn where_the_noise_hides_the_difference_the_edge_is_seldom_said_to_limit_the_rate() {
    let mut counts = [0; 3];
    for seed in 0..200 {
        let mut random = Random::new(2000 + seed);
        // The error is the same on both sides of the border between near and far.
        counts[verdict(0.5, 0.02, &mut random) as usize] += 1;
    }
    println!("limited, not limited, cannot tell: flat {counts:?}");
    assert!(counts[0] <= 16, "{counts:?}");
}

const STEPS: u64 = 1000;

/// Returns the loss of a healthy run, reported a hundred times: a decay from `start` to `end` with noise that falls
/// with the loss.
fn healthy(random: &mut Random) -> Vec<(u64, Option<f64>)> {
    let start = 10f64.powf(between(random, 0.2, 1.0));
    let end = start * between(random, 0.001, 0.5);
    let time = between(random, 20.0, 600.0);
    let noise = between(random, 0.005, 0.06);
    (1..=100)
        .map(|i| {
            let step = i * STEPS / 100;
            let loss = end + (start - end) * (-(step as f64) / time).exp();
            (step, Some(loss * (1.0 + noise * random.normal())))
        })
        .collect()
}

/// Adds a rise at `at` by `height` times the first loss. It decays over `length` reports, or not at all.
fn raised(mut losses: Vec<(u64, Option<f64>)>, at: usize, height: f64, length: f64) -> Vec<(u64, Option<f64>)> {
    let first = losses[0].1.unwrap_or(1.0);
    for (i, (_, loss)) in losses.iter_mut().enumerate().skip(at) {
        *loss = loss.map(|loss| loss + height * first * (-((i - at) as f64) / length).exp());
    }
    losses
}

fn kind(losses: &[(u64, Option<f64>)], end: OnsetOf) -> InstabilityKind {
    let is_unstable = end != OnsetOf::Stable;
    let run = RunAbove { lr: 1.0, multiple: 2.0, is_unstable, onset: onset(losses, end) };
    instability_kind(&[run], STEPS).0
}

#[test]
fn early_and_later_instability_and_healthy_runs_are_told_apart() {
    let (mut early, mut mid, mut none, mut cut, mut dead) = (0, 0, 0, 0, 0);
    let runs = 200;
    for seed in 0..runs {
        let mut random = Random::new(5000 + seed);
        none += u32::from(kind(&healthy(&mut random), OnsetOf::Stable) == InstabilityKind::None);
        let (height, length) = (between(&mut random, 0.3, 3.0), between(&mut random, 4.0, 100.0));
        let at = between(&mut random, 1.0, 7.0) as usize;
        early += u32::from(
            kind(&raised(healthy(&mut random), at, height, length), OnsetOf::Stable) == InstabilityKind::Early,
        );
        let at = between(&mut random, 15.0, 90.0) as usize;
        mid +=
            u32::from(kind(&raised(healthy(&mut random), at, height, length), OnsetOf::Stable) == InstabilityKind::Mid);
        // One report is huge, and after it the network is dead.
        let at = between(&mut random, 1.0, 95.0) as usize;
        let mut losses = healthy(&mut random);
        let first = losses[0].1;
        losses[at].1 = first.map(|first| between(&mut random, 2.0, 100.0) * first);
        losses.iter_mut().skip(at + 1).for_each(|loss| loss.1 = first.map(|first| 0.98 * first));
        let expected = if losses[at].0 <= STEPS / 10 { InstabilityKind::Early } else { InstabilityKind::Mid };
        dead += u32::from(kind(&losses, OnsetOf::Unlearned) == expected);
        // A run that diverges ends, most often before its rise is reported.
        let at = between(&mut random, 1.0, 95.0) as usize;
        let mut losses = healthy(&mut random);
        losses.truncate(at);
        let expected = if losses.last().is_some_and(|(step, _)| *step <= STEPS / 10) {
            InstabilityKind::Early
        } else {
            InstabilityKind::Mid
        };
        cut += u32::from(kind(&losses, OnsetOf::Diverged) == expected);
    }
    println!("of {runs}: early {early}, mid {mid}, healthy {none}, ended by divergence {cut}, dead {dead}");
    let least = runs as u32 * 95 / 100;
    assert!([early, mid, none, cut, dead].iter().all(|count| *count >= least), "{early} {mid} {none} {cut} {dead}");
}
