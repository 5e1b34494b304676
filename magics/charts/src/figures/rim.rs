//! The part of a metric's axis that matters: outliers are drawn at its rim, so that small differences can be told
//! apart.

use crate::chart::AxisScale;
use tunebook_study::Direction;

/// The range of a metric axis beyond which values are drawn at its rim.
pub(super) struct Rim {
    direction: Direction,
    low: f64,
    high: f64,
}

/// The rim lies this share of the spread of what matters beyond its worst value.
const WORSE_MARGIN: f64 = 0.35;
/// The same beyond its best value. The ends of intervals may lie there.
const BETTER_MARGIN: f64 = 0.6;
/// The spread is at least this share of the largest absolute value that matters.
const LEAST_SPREAD: f64 = 0.02;

impl Rim {
    /// Sets the rim around the values that matter. On a logarithmic axis the margins are ratios.
    pub fn around(matter: &[f64], direction: Direction, scale: &AxisScale) -> Self {
        let is_log = *scale == AxisScale::Log;
        let place = |y: f64| if is_log { y.ln() } else { y };
        let finite = matter.iter().copied().filter(|y| y.is_finite());
        let (least, most) =
            finite.map(place).fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), y| (low.min(y), high.max(y)));
        if least > most {
            return Self { direction, low: f64::NEG_INFINITY, high: f64::INFINITY };
        }
        let largest = if is_log { 1.0 } else { least.abs().max(most.abs()) };
        let spread = (most - least).max(LEAST_SPREAD * largest);
        let (below, above) = match direction {
            Direction::Minimize => (BETTER_MARGIN, WORSE_MARGIN),
            Direction::Maximize => (WORSE_MARGIN, BETTER_MARGIN),
        };
        let back = |y: f64| if is_log { y.exp() } else { y };
        Self { direction, low: back(least - below * spread), high: back(most + above * spread) }
    }

    /// Whether a value is worse than the rim.
    pub fn is_beyond(&self, y: f64) -> bool {
        match self.direction {
            Direction::Minimize => y > self.high,
            Direction::Maximize => y < self.low,
        }
    }

    /// Returns where the values beyond the rim are drawn, and trials without a value: just inside it.
    pub fn worse(&self) -> f64 {
        let rim = match self.direction {
            Direction::Minimize => self.high,
            Direction::Maximize => self.low,
        };
        // Where nothing has a value, any place will do.
        if rim.is_finite() { rim } else { 0.0 }
    }

    /// Whether the lower and the upper end of a bar are open or lie beyond the rim.
    pub fn is_cut(&self, [low, high]: [Option<f64>; 2]) -> [bool; 2] {
        [low.is_none_or(|y| y < self.low), high.is_none_or(|y| y > self.high)]
    }

    /// Returns the ends of a bar. An end that is cut reaches to the rim.
    pub fn bar(&self, [low, high]: [Option<f64>; 2]) -> [f64; 2] {
        let inside = |y: f64| y.clamp(self.low, self.high);
        [inside(low.unwrap_or(f64::NEG_INFINITY)), inside(high.unwrap_or(f64::INFINITY))]
    }
}

/// Returns the values that matter among all objectives: the better three quarters, so that a tail of bad trials does
/// not decide the axis.
pub(super) fn better_part(values: &[f64], direction: Direction) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(|a, b| direction.minimized(*a).total_cmp(&direction.minimized(*b)));
    sorted.truncate((3 * sorted.len()).div_ceil(4));
    sorted
}
