//! Detects that a training run has diverged.

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// The number of consecutive steps with a diverging loss after which the run ends.
const PATIENCE: usize = 50;

/// Watches the training loss ℓ of every step.
///
/// With the smoothed loss s ← 0.9 s + 0.1 ℓ, which starts at the first loss ℓ₁, a step is diverging if s > ℓ₁ and s >
/// 1.5 · min(s) + 3 · MAD, where MAD is the median absolute deviation of the last 50 losses. The run has diverged after
/// 50 diverging steps in a row, or at the first loss that is not finite.
#[derive(Default, Serialize, Deserialize)]
pub struct Divergence {
    initial: Option<f64>,
    smoothed: f64,
    minimum: f64,
    recent: VecDeque<f64>,
    /// How many steps in a row were diverging.
    above: usize,
}

impl Divergence {
    /// Takes the loss of the next step. It returns the reason if the run has diverged.
    pub fn observe(&mut self, step: u64, loss: f64) -> Option<String> {
        if !loss.is_finite() {
            return Some(format!("the training loss became {loss} at step {step}"));
        }
        let Some(initial) = self.initial else {
            (self.initial, self.smoothed, self.minimum) = (Some(loss), loss, loss);
            return None;
        };
        self.smoothed = 0.9 * self.smoothed + 0.1 * loss;
        self.minimum = self.minimum.min(self.smoothed);
        self.recent.push_back(loss);
        if self.recent.len() > PATIENCE {
            self.recent.pop_front();
        }
        // The deviation needs a sort, so it is computed only if the smoothed loss is above the initial one.
        let diverging = self.smoothed > initial && self.smoothed > 1.5 * self.minimum + 3.0 * self.deviation();
        self.above = if diverging { self.above + 1 } else { 0 };
        (self.above >= PATIENCE).then(|| {
            let smoothed = self.smoothed;
            format!("diverged: the training loss rose from {initial:.3} to {smoothed:.3e} by step {step}")
        })
    }

    /// Returns the median absolute deviation of the recent losses.
    fn deviation(&self) -> f64 {
        let median = |mut values: Vec<f64>| {
            values.sort_by(f64::total_cmp);
            values.get(values.len() / 2).copied().unwrap_or(0.0)
        };
        let centre = median(self.recent.iter().copied().collect());
        median(self.recent.iter().map(|x| (x - centre).abs()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the index of the loss at which the run ends, or None if it does not.
    fn ends(losses: impl Iterator<Item = f64>) -> Option<u64> {
        let mut divergence = Divergence::default();
        losses.enumerate().find_map(|(i, loss)| divergence.observe(i as u64, loss).map(|_| i as u64))
    }

    #[test]
    fn a_loss_that_is_not_finite_ends_the_run_at_once() {
        assert_eq!(ends([2.0, 1.0, f64::NAN].into_iter()), Some(2));
        assert_eq!(ends([2.0, f64::INFINITY].into_iter()), Some(1));
    }

    #[test]
    fn a_loss_that_stays_high_for_fifty_steps_ends_the_run() {
        let at = ends((0..500).map(|i| if i < 20 { 2.0 } else { 20.0 })).unwrap();
        assert!((70..90).contains(&at), "{at}");
    }

    #[test]
    fn losses_that_fall_are_noisy_or_spike_do_not_end_the_run() {
        let noise = |i: u64| ((i * 7919) % 101) as f64 / 101.0;
        assert_eq!(ends((0..2000).map(|i| 2.0 / (1.0 + i as f64 / 50.0) + noise(i))), None);
        assert_eq!(ends((0..2000).map(|i| if (300..330).contains(&i) { 30.0 } else { 1.0 })), None);
        assert_eq!(ends((0..2000).map(|_| 2.303)), None, "a model that learns nothing has not diverged");
    }
}
