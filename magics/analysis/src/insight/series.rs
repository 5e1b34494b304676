//! Curves as series of points, and what the rules ask of them.

use crate::resampling::median;
use crate::student::t_quantile;
use crate::{MAX_POINTS, thinned_to};
use tunebook_study::{Direction, Measurement};

/// The number of points of the running median that smooths a curve.
const WINDOW: usize = 5;

/// A metric over training, thinned to [`crate::MAX_POINTS`]. Values of a maximized metric have the other sign, so that
/// smaller is better.
pub(super) struct Series {
    pub steps: Vec<f64>,
    pub values: Vec<f64>,
    /// The running median of the values.
    pub smooth: Vec<f64>,
}

impl Series {
    pub fn new(measurements: &[Measurement], metric: &str, direction: Direction) -> Self {
        let points = measurements.iter().filter_map(|m| Some((m.step as f64, (*m.metrics.get(metric)?)?)));
        let points: Vec<(f64, f64)> = points.map(|(step, y)| (step, direction.minimized(y))).collect();
        let (steps, values): (Vec<f64>, Vec<f64>) = thinned_to(&points, MAX_POINTS).into_iter().unzip();
        let smooth = (0..values.len())
            .map(|i| {
                // Near the ends the window is narrower, so that a trend does not bend it.
                let reach = (WINDOW / 2).min(i).min(values.len() - 1 - i);
                median(values[i - reach..=i + reach].to_vec())
            })
            .collect();
        Self { steps, values, smooth }
    }

    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// The index of the first point at or after a share of the last step.
    pub fn at(&self, share: f64) -> usize {
        let last = self.steps.last().copied().unwrap_or(0.0);
        self.steps.partition_point(|step| *step < share * last - 1e-9)
    }

    /// The standard deviation of the residuals from the running median, from a share of the steps on.
    pub fn noise_from(&self, share: f64) -> f64 {
        let residuals: Vec<f64> = (self.at(share)..self.len()).map(|i| self.values[i] - self.smooth[i]).collect();
        // The median of five follows the values, which makes the residuals smaller than the noise.
        1.2 * (residuals.iter().map(|r| r * r).sum::<f64>() / residuals.len().max(1) as f64).sqrt()
    }

    /// The index and the value of the least smoothed point.
    pub fn least(&self) -> (usize, f64) {
        let least = self.smooth.iter().copied().enumerate().min_by(|a, b| a.1.total_cmp(&b.1));
        least.unwrap_or((0, f64::NAN))
    }

    /// The least-squares line from one index to another: its rise, the 95 % interval of the rise, and the standard
    /// deviation of the residuals. None for fewer than four points.
    pub fn rise(&self, from: usize, to: usize) -> Option<(f64, [f64; 2], f64)> {
        let (x, y) = (self.steps.get(from..to)?, self.values.get(from..to)?);
        let n = x.len();
        if n < 4 {
            return None;
        }
        let (mx, my) = (x.iter().sum::<f64>() / n as f64, y.iter().sum::<f64>() / n as f64);
        let xx: f64 = x.iter().map(|x| (x - mx).powi(2)).sum();
        let xy: f64 = x.iter().zip(y).map(|(x, y)| (x - mx) * (y - my)).sum();
        let slope = xy / xx;
        let squares: f64 = x.iter().zip(y).map(|(x, y)| (y - my - slope * (x - mx)).powi(2)).sum();
        let residual = (squares / (n - 2) as f64).sqrt();
        let (length, half) = (x[n - 1] - x[0], t_quantile(n - 2) * residual / xx.sqrt());
        Some((slope * length, [(slope - half) * length, (slope + half) * length], residual))
    }

    /// The Theil–Sen estimate of the rise from an index on: the median of the slopes of all pairs, times the length,
    /// and its 95 % interval. None for fewer than four points.
    pub fn robust_rise(&self, from: usize) -> Option<(f64, [f64; 2])> {
        let n = self.len().checked_sub(from).filter(|n| *n >= 4)?;
        let (x, y) = (&self.steps[from..], &self.values[from..]);
        let mut slopes: Vec<f64> = vec![];
        for i in 0..n {
            slopes.extend((i + 1..n).map(|j| (y[j] - y[i]) / (x[j] - x[i])));
        }
        slopes.sort_by(f64::total_cmp);
        // Kendall's variance of the number of rising pairs (Sen 1968).
        let spread = 1.96 * ((n * (n - 1) * (2 * n + 5)) as f64 / 18.0).sqrt();
        let pairs = slopes.len() as f64;
        let at = |place: f64| slopes[(place.round() as usize).clamp(1, slopes.len()) - 1];
        let length = x[n - 1] - x[0];
        let interval = [at(0.5 * (pairs - spread)), at(0.5 * (pairs + spread) + 1.0)].map(|slope| slope * length);
        Some((median(slopes) * length, interval))
    }
}
