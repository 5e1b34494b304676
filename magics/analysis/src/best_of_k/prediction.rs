//! The prediction interval of a study's best: where the best of an independent, equal study lies in 95 % of cases.
//!
//! The n-of-n bootstrap cannot give it, because its samples never hold anything below the observed best, and another
//! study's best lies below it in half of the cases. The trials count as exchangeable with those of the other study.
//!
//! **The worse end** needs no model. The best of another n is worse than y₍ⱼ₎ with the probability C(2n−j, n)/C(2n, n):
//! the first j of all 2n are then all in this study. Between two order statistics the end is interpolated, so that the
//! probability is [`WORSE`].
//!
//! **The better end** needs a model of the tail, because nothing was seen there. For any tail from one that ends at a
//! least value (a bowl) to an exponential one (normal noise is lighter), the spacings of the best K objectives bound
//! how far below the best another study's best lies: with b = r·(y₍K₎ − y₍₁₎), it is below y₍₁₎ − b with at most the
//! probability on which `FACTOR_OF_5` rests, and that is attained by the exponential tail. A tail that is heavier than
//! an exponential one, as that of Student's t, is not covered. Neither is a good region that the few configurations of
//! this study missed as a whole: five of them on a plateau do not tell that there is more.

use super::Objectives;
use crate::metric_bounds::cut;
use tunebook_study::Direction;

/// The probability that the other study's best is worse than the interval.
const WORSE: f64 = 0.042;
/// Between two order statistics the probability falls faster at first. With this power of the share between them, it is
/// reached to 0.005 for uniform, normal, exponential and log-normal objectives, however few they are.
const BEND: f64 = 1.7;
/// With so few objectives that not even the worst one bounds the other study's best, only one end is known, and it is
/// worse with this probability at most.
const ONE_SIDED: f64 = 0.05;
/// The number K of best objectives whose spacings say how the tail goes on.
const TAIL: usize = 5;
/// A fit of the tail needs at least this many objectives.
const LEAST_TAIL: usize = 4;
/// A fit of a cone needs at least this many objectives.
const LEAST_OF_CONE: usize = 3;
/// The difference of the least of two samples of some tens of normal values is below this many standard deviations of
/// one value, the negative sign left out, in at most 1 % of cases.
const NOISE_FACTOR: f64 = 1.9;
/// The factor r for the best four objectives.
const FACTOR_OF_4: f64 = 6.615_331_2;
/// The factor r for the best five objectives.
const FACTOR_OF_5: f64 = 4.823_060_0;

/// What is known of the tail of the objectives beyond the best one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Tail {
    /// Nothing but that it is at most exponential.
    Exponential,
    /// The objective has a least value, to which it falls at least linearly in each of so many hyperparameters; the
    /// noise of the objectives of the configurations has this standard deviation.
    Cone { dimensions: usize, noise: f64 },
}

impl Objectives {
    /// Returns the 95 % prediction interval of the best of an independent study of as many configurations, [better end,
    /// worse end], in minimized objectives.
    ///
    /// An end is None if it is not known: the worse one if it would be infeasible, the better one with fewer than four
    /// objectives. Returns None if both are not known.
    pub(crate) fn next_best(&self, tail: Tail) -> Option<[Option<f64>; 2]> {
        let n = self.count();
        let has_both = is_worse_than(n, n) <= WORSE;
        let worse = self.order_statistic_with(if has_both { WORSE } else { ONE_SIDED });
        let better = if has_both { self.below_best(tail) } else { None };
        (worse.is_some() || better.is_some()).then_some([better, worse])
    }

    /// Returns the same interval in the metric's own sign, the lower end first, cut where the metric has no values.
    pub(crate) fn prediction_interval(
        &self,
        direction: Direction,
        bounds: [Option<f64>; 2],
    ) -> Option<[Option<f64>; 2]> {
        let [low, high] = self.next_best(Tail::Exponential)?;
        let end = |y: Option<f64>| y.map(|y| direction.minimized(y));
        let interval = match direction {
            Direction::Minimize => [end(low), end(high)],
            Direction::Maximize => [end(high), end(low)],
        };
        Some(cut(interval, bounds))
    }

    /// Returns the value that another study's best exceeds with the given probability, interpolated between order
    /// statistics. None if it would be an infeasible configuration, or if not even the last one is exceeded so rarely.
    fn order_statistic_with(&self, probability: f64) -> Option<f64> {
        let n = self.count();
        let j = (1..=n).find(|j| is_worse_than(*j, n) <= probability)?;
        let at = |j: usize| self.sorted.get(j - 1).copied();
        let (before, after) = (is_worse_than(j - 1, n), is_worse_than(j, n));
        let share = ((before - probability) / (before - after)).powf(BEND);
        match j {
            1 => at(1),
            _ => Some((1.0 - share) * at(j - 1)? + share * at(j)?),
        }
    }

    fn below_best(&self, tail: Tail) -> Option<f64> {
        let k = self.sorted.len().min(TAIL);
        if k < LEAST_OF_CONE || (k < LEAST_TAIL && tail == Tail::Exponential) {
            return None;
        }
        let (best, last) = (self.sorted[0], self.sorted[k - 1]);
        // Where metrics are multiples of a step, for example of one misclassified example, the spacings may all be 0.
        let gaps = self.sorted.windows(2).map(|pair| pair[1] - pair[0]);
        let has_ties = self.sorted[..k].windows(2).any(|pair| pair[0] == pair[1]);
        let step = gaps.filter(|gap| has_ties && *gap > 0.0).fold(f64::INFINITY, f64::min);
        let spread = (last - best).max(if step.is_finite() { step } else { 0.0 });
        Some(match tail {
            Tail::Exponential => best - tail_factor(k) * spread,
            Tail::Cone { dimensions, noise } => {
                best - (cone_factor(k, dimensions) * spread).hypot(NOISE_FACTOR * noise)
            }
        })
    }
}

/// Returns C(2n−j, n)/C(2n, n), the probability that the best of another n is worse than the j-th best of these n.
fn is_worse_than(j: usize, n: usize) -> f64 {
    (0..j).map(|i| (n - i) as f64 / (2 * n - i) as f64).product()
}

/// Returns the factor r for the best four or five objectives of a sample.
///
/// For an exponential tail, the best is y₍₁₎ = ln Γ₁ and the k-th best y₍ₖ₎ = ln Γₖ, with Γ₁ and Γₖ the first and the
/// k-th point of a Poisson process, and another study's best is ln E with an exponential E. Then V = Γ₁/Γₖ is the least
/// of k − 1 uniform numbers, independent of Γₖ, and the best of the other study lies below y₍₁₎ − r·(y₍ₖ₎ − y₍₁₎) with
/// the probability P(E < Γₖ·V^(1+r)) = ∫ (1 − (1 + v^(1+r))⁻ᵏ)·(k−1)(1−v)^(k−2) dv. r is where this is 2 %.
fn tail_factor(k: usize) -> f64 {
    if k == LEAST_TAIL { FACTOR_OF_4 } else { FACTOR_OF_5 }
}

/// Returns the factor r for the best k objectives of a cone over some dimensions: the least value lies below
/// y₍₁₎ − r·(y₍ₖ₎ − y₍₁₎) in at most 2 % of cases.
///
/// The number of configurations below a value grows like the distance from the least value to the power of the
/// dimensions d. So (y₍₁₎ − m)/(y₍ₖ₎ − m) is V^(1/d), with V the least of k − 1 uniform numbers, which is below
/// 1 − 0.02^(1/(k−1)) in 98 % of cases.
fn cone_factor(k: usize, dimensions: usize) -> f64 {
    let v = 1.0 - 0.02_f64.powf(1.0 / (k as f64 - 1.0));
    let share = v.powf(1.0 / dimensions.max(1) as f64);
    share / (1.0 - share)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The largest probability that the other study's best is better than the interval.
    const BETTER: f64 = 0.02;

    #[test]
    fn the_probabilities_of_order_statistics_are_the_known_ones() {
        for (j, expected) in [(3, 0.105), (4, 0.043), (5, 0.016)] {
            assert!((is_worse_than(j, 10) - expected).abs() < 6e-4, "j = {j}: {}", is_worse_than(j, 10));
        }
    }

    #[test]
    fn the_factors_have_the_probability_that_they_are_for() {
        const CELLS: u32 = 100_000;
        for k in [4, 5] {
            let (r, points) = (tail_factor(k), k as f64);
            let share = |i: u32| {
                // Substituting v = x² resolves the integrand near 0.
                let x = (f64::from(i) + 0.5) / f64::from(CELLS);
                let density = (points - 1.0) * (1.0 - x * x).powf(points - 2.0) * 2.0 * x / f64::from(CELLS);
                density * (1.0 - (1.0 + (x * x).powf(1.0 + r)).powf(-points))
            };
            assert!(((0..CELLS).map(share).sum::<f64>() - BETTER).abs() < 1e-6, "k = {k}");
        }
    }

    #[test]
    fn few_objectives_leave_an_end_open() {
        let next = |values: &[f64]| Objectives::of_minimized(values.iter().copied()).next_best(Tail::Exponential);
        assert_eq!(next(&[0.1, 0.2]), None, "another two are both worse than these in a sixth of cases");
        assert_eq!(next(&[0.1, 0.2, 0.3]), Some([None, Some(0.3)]));
        let [better, worse] = next(&[0.1, 0.2, 0.3, 0.4, 0.5]).unwrap();
        assert!(better.unwrap() < 0.1 && (0.3..0.5).contains(&worse.unwrap()), "{better:?} {worse:?}");
        let infinite = f64::INFINITY;
        let [better, worse] = next(&[0.1, 0.2, 0.3, 0.4, infinite, infinite, infinite]).unwrap();
        assert!(better.is_some() && worse.is_some());
        assert_eq!(next(&[0.1, infinite, infinite, infinite, infinite]), None);
    }

    #[test]
    fn equal_objectives_do_not_hide_that_a_better_one_may_come() {
        let tied = Objectives::of_minimized([0.02, 0.02, 0.02, 0.02, 0.02, 0.024, 0.03]);
        let [better, _] = tied.next_best(Tail::Exponential).unwrap();
        assert!(better.unwrap() < 0.02 - 0.004);
    }

    #[test]
    fn the_interval_of_a_maximized_metric_is_mirrored() {
        let values = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4];
        let maximized = Objectives::new(values.map(Some), Direction::Maximize);
        let minimized = Objectives::new(values.map(|y| Some(-y)), Direction::Minimize);
        let [low, high] = maximized.prediction_interval(Direction::Maximize, [None, None]).unwrap().map(Option::unwrap);
        let [mirrored_low, mirrored_high] =
            minimized.prediction_interval(Direction::Minimize, [None, None]).unwrap().map(Option::unwrap);
        assert_eq!([low, high], [-mirrored_high, -mirrored_low]);
        assert!(low < 0.9 && high > 0.9);
    }
    #[test]
    fn the_interval_ends_where_the_metric_ends() {
        let errors = Objectives::of_minimized([0.01, 0.02, 0.03, 0.05, 0.4]);
        let of = |bounds| errors.prediction_interval(Direction::Minimize, bounds).unwrap();
        assert!(of([None, None])[0].unwrap() < 0.0);
        assert_eq!(of([Some(0.0), Some(1.0)])[0], Some(0.0));
        assert_eq!(of([Some(0.0), Some(1.0)])[1], of([None, None])[1]);
    }
}
