//! Maximizes an acquisition over the configurations: it looks at points that cover the space and at points around the
//! best trials, and climbs from the best of them.

use super::super::keyed::{Purpose, generator};
use super::super::sobol;
use super::acquisition::Acquisition;
use super::embedding::{Embedding, Units};
use super::math::{joined, quantile};
use super::minimize::minimize;
use crate::Params;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;

/// How many points cover the space, and how many lie around each of the best trials.
const COVERING: u64 = 1024;
const AROUND: usize = 48;
/// How many points of each kind are climbed from.
const CLIMBS: usize = 3;
/// How often the acquisition is evaluated in one climb of the ranges.
const EVALUATIONS: usize = 40;
/// A discrete hyperparameter with at most so many values is tried with each of them; otherwise its neighbours are.
const ALL_VALUES: u64 = 16;
/// The value of a configuration outside the trusted region, less its distance.
const OUTSIDE: f64 = -1e4;

/// The radius of the region near the best configuration.
const NEAR: f64 = 0.1;

/// The part of the space whose ranges are near those of a configuration before.
pub struct Trusted {
    around: Vec<Units>,
    /// The largest distance in any range.
    radius: f64,
    /// Whether only the ranges count that exist in a configuration. Those of another branch say nothing about it.
    only_active: bool,
}

impl Trusted {
    /// Vizier's region around configurations. None if there are so many of them that it has no bounds.
    pub fn around(around: Vec<Units>, hyperparameters: usize) -> Option<Self> {
        let radius = 0.2 + 0.3 * around.len() as f64 / (5.0 * (hyperparameters as f64 + 1.0));
        (radius <= 0.5).then_some(Self { around, radius, only_active: false })
    }

    /// The region near the best configuration.
    pub fn near(best: Units) -> Self {
        Self { around: vec![best], radius: NEAR, only_active: true }
    }
}

/// A question for the next configuration.
pub struct Search<'a> {
    pub embedding: &'a Embedding<'a>,
    pub acquisition: &'a Acquisition,
    /// Where to look. None: everywhere.
    pub trusted: Option<Trusted>,
    /// The hyperparameters (of those that vary) that are given, and the places of all.
    pub given: Vec<bool>,
    pub start: Units,
    /// The places of the best trials, the best one first.
    pub best: Vec<Units>,
    /// Whether the neighbours of a whole number are the next whole numbers, and not the next places.
    pub steps_by_value: bool,
    pub seed: u64,
    pub index: u64,
}

impl Search<'_> {
    /// The best configuration that is new. None if all that were looked at are known.
    pub fn run(&self, is_new: &dyn Fn(&Params) -> bool) -> Option<Params> {
        let covering = self.ranked(self.covering());
        let around = self.ranked(self.around());
        let from = covering.iter().take(CLIMBS).chain(around.iter().take(CLIMBS));
        let mut found: Vec<(f64, Units)> = from.map(|(_, units)| self.climb(units.clone())).collect();
        found.extend(around);
        found.extend(covering);
        // A stable sort: among equals the first one stays first.
        found.sort_by(|a, b| b.0.total_cmp(&a.0));
        found.into_iter().map(|(_, units)| self.embedding.params(&units)).find(is_new)
    }

    fn ranked(&self, candidates: Vec<Units>) -> Vec<(f64, Units)> {
        let values = |candidates: &[Units]| -> Vec<f64> { candidates.iter().map(|units| self.value(units)).collect() };
        let (first, second) = candidates.split_at(candidates.len() / 2);
        let values = std::thread::scope(|scope| {
            let second = scope.spawn(|| values(second));
            let first = values(first);
            [first, joined(second)].concat()
        });
        let mut ranked: Vec<(f64, Units)> = values.into_iter().zip(candidates).collect();
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
        ranked
    }

    /// The trusted region, and its configuration that is nearest to these places, with the distance.
    fn nearest(&self, units: &[f64]) -> Option<(&Trusted, &Units, f64)> {
        let trusted = self.trusted.as_ref()?;
        let active = if trusted.only_active { self.embedding.active(units) } else { vec![true; units.len()] };
        let moves = |k: &usize| !self.given[*k] && active[*k] && self.embedding.is_range(*k);
        let distance =
            |other: &Units| (0..units.len()).filter(moves).map(|k| (units[k] - other[k]).abs()).fold(0.0, f64::max);
        let all = trusted.around.iter().map(|other| (trusted, other, distance(other)));
        all.min_by(|a, b| a.2.total_cmp(&b.2))
    }

    fn value(&self, units: &[f64]) -> f64 {
        if let Some((trusted, _, distance)) = self.nearest(units)
            && distance > trusted.radius + 1e-9
        {
            return OUTSIDE - distance;
        }
        let value = self.acquisition.value(&self.embedding.point(units, &self.embedding.active(units), true));
        if value.is_nan() { f64::NEG_INFINITY } else { value }
    }

    /// Sobol points, with the given hyperparameters as given.
    fn covering(&self) -> Vec<Units> {
        let sequence = self.index & 0x7fff_ffff;
        let coordinates: Vec<sobol::Coordinate> = (0..self.embedding.len())
            .map(|k| sobol::Coordinate::new(self.seed ^ 0x5eed_0f5e_a4c4, sequence, k))
            .collect();
        let at = |index: u64| {
            coordinates
                .iter()
                .enumerate()
                .map(|(k, c)| if self.given[k] { self.start[k] } else { c.at(index) })
                .collect()
        };
        (0..COVERING).map(at).collect()
    }

    /// Points around the best trials, some near and some far. A list gets another value now and then.
    fn around(&self) -> Vec<Units> {
        let mut random = Uniform(generator(Purpose::Search, self.seed, self.index, 0));
        let free: Vec<usize> = (0..self.embedding.len()).filter(|k| !self.given[*k]).collect();
        let mut found = vec![];
        for best in &self.best {
            for _ in 0..AROUND {
                let mut units = best.clone();
                (0..units.len()).filter(|k| self.given[*k]).for_each(|k| units[k] = self.start[k]);
                let scale = libm::exp(-1.0 - 5.0 * random.draw());
                let share = f64::max(random.draw(), 1.5 / free.len().max(1) as f64);
                for k in &free {
                    let (chosen, shift) = (random.draw() < share, quantile(random.draw().max(1e-12)));
                    if !chosen {
                        continue;
                    }
                    match self.embedding.is_range(*k) {
                        true => units[*k] = (units[*k] + scale * shift).clamp(0.0, 1.0),
                        false if random.draw() < 0.3 => units[*k] = random.draw(),
                        false => {}
                    }
                }
                found.push(units);
            }
        }
        found
    }

    /// Climbs to a local maximum: the ranges all together, then the discrete hyperparameters one after the other.
    fn climb(&self, mut units: Units) -> (f64, Units) {
        let mut value = self.value(&units);
        for _ in 0..2 {
            let climbed = self.climb_ranges(&units);
            let better = self.value(&climbed);
            let mut improved = better > value;
            if improved {
                (value, units) = (better, climbed);
            }
            for k in (0..units.len()).filter(|k| !self.given[*k]) {
                let Some(count) = self.embedding.values(k) else { continue };
                let own = match self.steps_by_value {
                    true => self.embedding.nth_of(k, units[k]),
                    false => ((units[k] * count as f64) as u64).min(count - 1),
                };
                let others: Vec<u64> = match count <= ALL_VALUES || !self.embedding.is_range(k) {
                    true => (0..count).filter(|other| *other != own).collect(),
                    false => [own.checked_sub(1), (own + 1 < count).then_some(own + 1)].into_iter().flatten().collect(),
                };
                for other in others {
                    let place = match self.steps_by_value {
                        true => self.embedding.place_of(k, other),
                        false => (other as f64 + 0.5) / count as f64,
                    };
                    let before = std::mem::replace(&mut units[k], place);
                    let tried = self.value(&units);
                    match tried > value {
                        true => (value, improved) = (tried, true),
                        false => units[k] = before,
                    }
                }
            }
            let is_discrete = (0..units.len()).any(|k| !self.given[k] && self.embedding.values(k).is_some());
            if !improved || !is_discrete {
                break;
            }
        }
        (value, units)
    }

    fn climb_ranges(&self, units: &[f64]) -> Units {
        let active = self.embedding.active(units);
        let moving: Vec<usize> =
            (0..units.len()).filter(|k| !self.given[*k] && active[*k] && self.embedding.is_range(*k)).collect();
        let mut x: Vec<f64> = moving.iter().map(|k| units[*k]).collect();
        let mut whole = units.to_vec();
        let mut negative = |x: &[f64], gradient: &mut [f64]| {
            moving.iter().zip(x).for_each(|(k, x)| whole[*k] = *x);
            let point = self.embedding.point(&whole, &active, false);
            let mut slope = vec![0.0; point.len()];
            let value = self.acquisition.value_with_slope(&point, &mut slope);
            moving.iter().zip(gradient).for_each(|(k, g)| *g = -slope[*k]);
            -value
        };
        let bounds: Vec<(f64, f64)> = match self.nearest(units) {
            None => vec![(0.0, 1.0); moving.len()],
            Some((trusted, near, _)) => moving
                .iter()
                .map(|k| ((near[*k] - trusted.radius).max(0.0), (near[*k] + trusted.radius).min(1.0)))
                .collect(),
        };
        minimize(&mut negative, &mut x, &bounds, EVALUATIONS);
        let mut climbed = units.to_vec();
        moving.iter().zip(x).for_each(|(k, x)| climbed[*k] = x);
        climbed
    }
}

/// Uniform numbers in [0, 1).
pub struct Uniform(pub ChaCha8Rng);

impl Uniform {
    pub fn draw(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }
}
