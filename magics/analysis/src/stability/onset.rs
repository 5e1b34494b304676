//! When in a training run instability sets in: early, or suddenly in mid-training (Playbook I7–I9).

use serde::Serialize;

/// The loss must rise by this share of its fall so far.
const RISE: f64 = 0.1;
/// And by this share of its initial value, which counts while it has not fallen yet.
const RISE_OF_INITIAL: f64 = 0.03;
/// And by this many standard deviations of its noise.
const SIGMAS: f64 = 5.0;
/// Instability is early if it sets in during this share of the steps: the longest warm-up that the Playbook tries.
pub(super) const EARLY: f64 = 0.1;
/// Losses are smoothed by the median of this many, so that a single value is no rise.
const WINDOW: usize = 3;

/// The end of a run whose loss is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnsetOf {
    /// It reached its end and learned something, or its rate is too low to learn.
    Stable,
    /// It reached its end, and has unlearned what lower rates learn.
    Unlearned,
    /// It ended as infeasible, although its last losses may not have been reported.
    Diverged,
}

/// When the training loss rose.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Onset {
    /// The step after which the loss was no longer near its lowest value so far.
    pub step: u64,
    /// The lowest smoothed loss before. None if the run diverged before its first reported loss.
    pub from: Option<f64>,
    /// The highest smoothed loss after that. None if it is not finite or was not reported.
    pub to: Option<f64>,
    /// The share of the reported losses that were above the threshold: how long the loss stayed up.
    pub share: f64,
}

/// Finds the first rise of a training loss. `losses` are steps with the loss, None where it is not finite, in order.
///
/// In a run that was unstable, a single loss above the first one counts if no median of three rose: its network may be
/// dead after one huge step. If it diverged and no reported loss rose, the onset is its last report.
pub fn onset(losses: &[(u64, Option<f64>)], end: OnsetOf) -> Option<Onset> {
    let finite: Vec<(u64, f64)> = losses.iter().map_while(|(step, loss)| Some((*step, (*loss)?))).collect();
    let last_step = losses.get(finite.len()).or(losses.last()).map_or(0, |(step, _)| *step);
    let values: Vec<f64> = finite.iter().map(|(_, loss)| *loss).collect();
    let smoothed: Vec<f64> = (0..values.len())
        .map(|i| {
            let window = values[i.saturating_sub(WINDOW - 1)..=i].to_vec();
            // Two values have no median; the smaller one does not exaggerate.
            median(&window)
        })
        .collect();
    let differences: Vec<f64> = values.windows(2).map(|pair| (pair[1] - pair[0]).abs()).collect();
    // The noisiest third of the run counts: a network that is dead after a step has hardly any noise from there on.
    let noise_of = |part: &[f64]| 1.4826 * median(part) / std::f64::consts::SQRT_2;
    let noise = differences.chunks(differences.len().div_ceil(3).max(1)).map(noise_of).fold(0.0, f64::max);
    let initial = values.first().copied().unwrap_or(0.0);
    let sustained = first_rise(&smoothed, noise).map(|rise| (rise, WINDOW / 2));
    let single = || {
        let threshold = initial + (RISE_OF_INITIAL * initial.abs()).max(SIGMAS * noise);
        let at = values.iter().position(|loss| *loss > threshold)?;
        let from = values[..at].iter().copied().fold(initial, f64::min);
        Some((Rise { at, from, threshold }, 0))
    };
    let rise = match end {
        OnsetOf::Stable => sustained,
        OnsetOf::Unlearned | OnsetOf::Diverged => sustained.or_else(single),
    };
    let Some((Rise { at, from, threshold }, delay)) = rise else {
        let is_cut_off = end == OnsetOf::Diverged;
        return is_cut_off.then(|| Onset { step: last_step, from: values.last().copied(), to: None, share: 0.0 });
    };
    let above = smoothed.iter().filter(|loss| **loss > threshold).count();
    let seen = if delay == 0 { &values } else { &smoothed };
    let peak = seen[at..].iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let share = above as f64 / smoothed.len() as f64;
    let step = finite[at.saturating_sub(delay)].0;
    Some(Onset { step, from: Some(from), to: Some(peak).filter(|_| finite.len() == losses.len()), share })
}

/// A rise in a series of losses.
struct Rise {
    /// The index of the first loss above the threshold.
    at: usize,
    /// The lowest loss before.
    from: f64,
    threshold: f64,
}

fn first_rise(losses: &[f64], noise: f64) -> Option<Rise> {
    let initial = *losses.first()?;
    let mut lowest = initial;
    for (at, loss) in losses.iter().enumerate() {
        lowest = lowest.min(*loss);
        let needed = (RISE * (initial - lowest)).max(RISE_OF_INITIAL * initial.abs()).max(SIGMAS * noise);
        if loss - lowest > needed {
            return Some(Rise { at, from: lowest, threshold: lowest + needed });
        }
    }
    None
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len().saturating_sub(1) / 2).copied().unwrap_or(0.0)
}

/// A run above the best learning rate.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunAbove {
    pub lr: f64,
    /// The learning rate as a multiple of the best one.
    pub multiple: f64,
    /// Whether the run diverged, or learned nothing.
    pub is_unstable: bool,
    /// When its training loss rose, if it did.
    pub onset: Option<Onset>,
}

/// When instability sets in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum InstabilityKind {
    /// In the first tenth of the steps.
    Early,
    /// Later.
    Mid,
    /// In as many runs early as later.
    EarlyAndMid,
    /// No run above the best rate was unstable.
    None,
}

/// Returns when instability sets in, in a run of so many steps: at the smallest multiple of the best rate at which at
/// least half of the runs are unstable or have a loss that rose. It also returns the number of early and of later runs
/// there.
pub fn instability_kind(runs: &[RunAbove], steps: u64) -> (InstabilityKind, Option<f64>, [u32; 2]) {
    let mut multiples: Vec<f64> = runs.iter().map(|run| run.multiple).collect();
    multiples.sort_by(f64::total_cmp);
    multiples.dedup();
    for multiple in multiples {
        let of_multiple: Vec<&RunAbove> = runs.iter().filter(|run| run.multiple == multiple).collect();
        let onsets: Vec<&Onset> = of_multiple.iter().filter_map(|run| run.onset.as_ref()).collect();
        if onsets.is_empty() || 2 * onsets.len() < of_multiple.len() {
            continue;
        }
        let early = onsets.iter().filter(|onset| onset.step as f64 <= EARLY * steps as f64).count() as u32;
        let later = onsets.len() as u32 - early;
        let kind = match early.cmp(&later) {
            std::cmp::Ordering::Greater => InstabilityKind::Early,
            std::cmp::Ordering::Less => InstabilityKind::Mid,
            std::cmp::Ordering::Equal => InstabilityKind::EarlyAndMid,
        };
        return (kind, Some(multiple), [early, later]);
    }
    (InstabilityKind::None, None, [0, 0])
}
