//! When a trial has left the region where it could still learn.

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Steps that the smoothed loss must stay above its bound.
const PATIENCE: usize = 50;

/// Watches the training loss of every step: smoothed (EMA 0.9) it diverged when for 50 consecutive steps it was above
/// both its initial value and 1.5 × its running minimum + 3 × the median absolute deviation of the last 50 losses. A
/// loss that is not finite diverged at once.
#[derive(Default, Serialize, Deserialize)]
pub struct Divergence {
    initial: Option<f64>,
    smoothed: f64,
    minimum: f64,
    recent: VecDeque<f64>,
    above: usize,
}

impl Divergence {
    /// Takes the loss of a step; gives the reason once the trial has diverged.
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
        // The deviation costs a sort, and only matters above the initial loss.
        let diverging = self.smoothed > initial && self.smoothed > 1.5 * self.minimum + 3.0 * self.deviation();
        self.above = if diverging { self.above + 1 } else { 0 };
        (self.above >= PATIENCE).then(|| {
            let smoothed = self.smoothed;
            format!("diverged: the training loss rose from {initial:.3} to {smoothed:.3e} by step {step}")
        })
    }

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

    fn ends(losses: impl Iterator<Item = f64>) -> Option<u64> {
        let mut divergence = Divergence::default();
        losses.enumerate().find_map(|(i, loss)| divergence.observe(i as u64, loss).map(|_| i as u64))
    }

    #[test]
    fn a_loss_that_is_not_finite_ends_at_once() {
        assert_eq!(ends([2.0, 1.0, f64::NAN].into_iter()), Some(2));
        assert_eq!(ends([2.0, f64::INFINITY].into_iter()), Some(1));
    }

    #[test]
    fn a_loss_that_rises_and_stays_ends_after_fifty_steps() {
        let at = ends((0..500).map(|i| if i < 20 { 2.0 } else { 20.0 })).unwrap();
        assert!((70..90).contains(&at), "{at}");
    }

    #[test]
    fn falling_noisy_and_spiking_losses_do_not_end() {
        let noise = |i: u64| ((i * 7919) % 101) as f64 / 101.0;
        assert_eq!(ends((0..2000).map(|i| 2.0 / (1.0 + i as f64 / 50.0) + noise(i))), None);
        assert_eq!(ends((0..2000).map(|i| if (300..330).contains(&i) { 30.0 } else { 1.0 })), None);
        assert_eq!(ends((0..2000).map(|_| 2.303)), None, "a model that learns nothing has not diverged");
    }
}
