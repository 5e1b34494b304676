//! The distribution of the best of k configurations, computed exactly instead of by simulation.

mod figure;
mod prediction;

pub use figure::{BestOfK, BestOfKPoint, best_of_k};
pub(crate) use prediction::Tail;

use tunebook_study::Direction;

/// The objectives of a group of configurations. All are minimized: those of a maximized metric have the other sign.
///
/// The group has n configurations, the infeasible ones included, which count as worse than every objective. A draw is a
/// choice of k of the n at random, without replacement: Dodge et al. (2019) draw with replacement, which overestimates
/// the expected minimum.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Objectives {
    /// The objectives in ascending order, y₍₁₎ ≤ y₍₂₎ ≤ ….
    sorted: Vec<f64>,
    infeasible: usize,
}

impl Objectives {
    /// Takes the objectives of some configurations, in the metric's own sign; None for an infeasible one.
    pub fn new(objectives: impl IntoIterator<Item = Option<f64>>, direction: Direction) -> Self {
        let minimized = |objective: Option<f64>| objective.map_or(f64::INFINITY, |y| direction.minimized(y));
        Self::of_minimized(objectives.into_iter().map(minimized))
    }

    /// Takes minimized objectives; an infinite one is infeasible.
    pub(crate) fn of_minimized(objectives: impl IntoIterator<Item = f64>) -> Self {
        let (mut sorted, infinite): (Vec<f64>, Vec<f64>) = objectives.into_iter().partition(|y| y.is_finite());
        sorted.sort_by(f64::total_cmp);
        Self { sorted, infeasible: infinite.len() }
    }

    /// n, the number of configurations, the infeasible ones included.
    pub fn count(&self) -> usize {
        self.sorted.len() + self.infeasible
    }

    /// y₍₁₎, the best objective.
    pub fn best(&self) -> Option<f64> {
        self.sorted.first().copied()
    }

    /// The objectives in ascending order, without the infeasible ones.
    pub(crate) fn sorted(&self) -> &[f64] {
        &self.sorted
    }

    /// Returns the expected best of a draw of k: Σᵢ y₍ᵢ₎·C(n−i, k−1)/C(n, k).
    ///
    /// Returns None if k is 0 or more than n. It also returns None if there are k infeasible configurations or more: a
    /// draw may then hold no objective at all, and the expectation does not exist.
    pub fn expected_best(&self, k: usize) -> Option<f64> {
        if k == 0 || k > self.count() || self.infeasible >= k {
            return None;
        }
        // P(best is the i-th) = P(draw avoids the first i−1) − P(draw avoids the first i).
        let avoids = avoidance(self.count(), k);
        Some(self.sorted.iter().zip(avoids.windows(2)).map(|(y, avoids)| y * (avoids[0] - avoids[1])).sum())
    }

    /// Returns the q-quantile of the best of a draw of k: the smallest y₍ⱼ₎ with 1 − C(n−j, k)/C(n, k) ≥ q.
    ///
    /// Returns None if k is 0 or more than n, or if the quantile is an infeasible configuration.
    pub fn quantile_of_best(&self, k: usize, q: f64) -> Option<f64> {
        if k == 0 || k > self.count() {
            return None;
        }
        let avoids = avoidance(self.count(), k);
        self.sorted.iter().zip(&avoids[1..]).find(|(_, avoids)| 1.0 - **avoids >= q - 1e-12).map(|(y, _)| *y)
    }

    /// Returns how much better the best of all n is than the expected best of ⌈n/2⌉ of them: the gain of the last
    /// doubling. None if n is below 4 or the expectation does not exist. The median would say nothing then: half of the
    /// draws of n/2 hold the best of all.
    pub fn gain_of_last_doubling(&self) -> Option<f64> {
        let n = self.count();
        let half = self.expected_best(n.div_ceil(2)).filter(|_| n >= 4)?;
        Some(half - self.best()?)
    }

    /// Returns the probability that the best of a draw of k from this group is better than the best of a draw of k from
    /// another one. Equal bests count half. It says how often studies with k configurations of each group would rank
    /// this one first.
    ///
    /// Returns None if k is 0 or if a group has fewer than k configurations.
    pub fn chance_of_better(&self, other: &Self, k: usize) -> Option<f64> {
        if k == 0 || k > self.count() || k > other.count() {
            return None;
        }
        let (own, others) = (avoidance(self.count(), k), avoidance(other.count(), k));
        Some(chance_of_better((&self.sorted, &own), (&other.sorted, &others)))
    }
}

/// Returns the probability that the best of a draw from one group is better than that of a draw from another. Each
/// group is its sorted objectives, without the infeasible ones, and its [`avoidance`].
pub(crate) fn chance_of_better((a, avoids_a): (&[f64], &[f64]), (b, avoids_b): (&[f64], &[f64])) -> f64 {
    let (mut below, mut up_to) = (0, 0);
    let mut better = 0.0;
    for (y, own) in a.iter().zip(avoids_a.windows(2)) {
        while b.get(below).is_some_and(|x| x < y) {
            below += 1;
        }
        while b.get(up_to).is_some_and(|x| x <= y) {
            up_to += 1;
        }
        // P(best of the other is worse than y) = P(its draw avoids all objectives that are at most y).
        better += (own[0] - own[1]) * 0.5 * (avoids_b[up_to] + avoids_b[below]);
    }
    // Two draws that hold infeasible configurations only are equal.
    better + 0.5 * avoids_a[a.len()] * avoids_b[b.len()]
}

/// Returns, for each j from 0 to n, the probability C(n−j, k)/C(n, k) that a draw of k avoids j given ones of the n.
pub(crate) fn avoidance(n: usize, k: usize) -> Vec<f64> {
    let mut avoids = vec![1.0; n + 1];
    for j in 1..=n {
        avoids[j] = avoids[j - 1] * n.saturating_sub(j - 1).saturating_sub(k) as f64 / (n - j + 1) as f64;
    }
    avoids
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(values: &[f64], infeasible: usize) -> Objectives {
        Objectives::of_minimized(values.iter().copied().chain(std::iter::repeat_n(f64::INFINITY, infeasible)))
    }

    fn values(infeasible: usize) -> Objectives {
        group(&[0.31, 0.24, 0.27, 0.45, 0.23, 0.9, 0.26, 0.29, 0.235, 0.5], infeasible)
    }

    #[test]
    fn the_expected_best_of_k_is_the_known_one() {
        let known = [
            (1, 0.36850),
            (2, 0.267_333_333_333_333_37),
            (3, 0.246_833_333_333_333_32),
            (5, 0.235_595_238_095_238_1),
            (10, 0.23),
        ];
        for (k, expected) in known {
            assert!((values(0).expected_best(k).unwrap() - expected).abs() < 1e-12, "k = {k}");
        }
        assert_eq!(values(0).expected_best(11), None);
        assert_eq!(values(3).expected_best(3), None, "a draw of three may hold infeasible trials only");
    }

    #[test]
    fn the_gain_of_the_last_doubling_is_that_over_the_larger_half() {
        let nine = group(&[0.31, 0.24, 0.27, 0.45, 0.23, 0.9, 0.26, 0.29, 0.235], 0);
        let half = nine.expected_best(5).unwrap();
        assert_eq!(nine.gain_of_last_doubling(), Some(half - 0.23));
        assert_eq!(group(&[0.1, 0.2, 0.3], 0).gain_of_last_doubling(), None);
        assert_eq!(group(&[0.1, 0.2, 0.3, 0.4], 6).gain_of_last_doubling(), None, "five may all be infeasible");
    }

    #[test]
    fn quantiles_of_the_best_of_three_are_the_known_ones() {
        let quartiles = [0.25, 0.5, 0.75].map(|q| values(0).quantile_of_best(3, q).unwrap());
        assert_eq!(quartiles, [0.23, 0.235, 0.26]);
        assert_eq!(group(&[0.5], 9).quantile_of_best(1, 0.5), None);
    }

    #[test]
    fn the_chances_of_two_groups_add_up_to_one_and_favour_the_better_group() {
        let (good, bad) = ([0.1, 0.2, 0.3, 0.4], [0.25, 0.35, 0.45, 0.55]);
        for k in 1..=4 {
            let forth = group(&good, 1).chance_of_better(&group(&bad, 2), k).unwrap();
            let back = group(&bad, 2).chance_of_better(&group(&good, 1), k).unwrap();
            assert!((forth + back - 1.0).abs() < 1e-12, "{forth} + {back}");
            assert!(forth > 0.5);
        }
        let (good, bad) = (group(&good, 0), group(&bad, 0));
        let sure = good.chance_of_better(&bad, 4).unwrap();
        let even = good.chance_of_better(&good, 2).unwrap();
        assert!((sure - 1.0).abs() < 1e-12 && (even - 0.5).abs() < 1e-12);
        // One of two against one of two: (0.1 or 0.3) against (0.2 or 0.4) wins in three of four draws.
        let chance = group(&[0.1, 0.3], 0).chance_of_better(&group(&[0.2, 0.4], 0), 1).unwrap();
        assert!((chance - 0.75).abs() < 1e-12);
        assert_eq!(good.chance_of_better(&bad, 5), None);
    }
}
