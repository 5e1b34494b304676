//! The distribution of the best of k trials, computed exactly instead of by simulation.
//!
//! All functions take the minimized objectives of a group of trials in ascending order, y₍₁₎ ≤ y₍₂₎ ≤ …, and the number
//! of its infeasible trials, which count as worse than every objective. The group has n trials, the infeasible ones
//! included. A draw is a choice of k of the n trials at random, without replacement: Dodge et al. (2019) draw with
//! replacement, which overestimates the expected minimum.

/// Returns ln C(n, k), the logarithm of the binomial coefficient. Needs k ≤ n.
fn ln_choose(n: usize, k: usize) -> f64 {
    (1..=k).map(|i| ((n - k + i) as f64 / i as f64).ln()).sum()
}

/// Returns C(m, k) / C(n, k) for m ≤ n: the probability that a draw of k avoids n − m given trials.
fn avoids(m: usize, n: usize, k: usize) -> f64 {
    if k > m { 0.0 } else { (ln_choose(m, k) - ln_choose(n, k)).exp() }
}

/// Returns the expected best of a draw of k: Σᵢ y₍ᵢ₎·C(n−i, k−1)/C(n, k).
///
/// Returns None if k is 0 or more than n. It also returns None if there are k infeasible trials or more: a draw may
/// then hold no objective at all, and the expectation does not exist.
pub fn expected_best(sorted: &[f64], infeasible: usize, k: usize) -> Option<f64> {
    let n = sorted.len() + infeasible;
    if k == 0 || k > n || infeasible >= k {
        return None;
    }
    // P(best is the i-th) = P(draw avoids the first i−1) − P(draw avoids the first i).
    let chance = |i: usize| avoids(n - i, n, k) - avoids(n - i - 1, n, k);
    Some(sorted.iter().enumerate().map(|(i, y)| y * chance(i)).sum())
}

/// Returns the q-quantile of the best of a draw of k: the smallest y₍ⱼ₎ with 1 − C(n−j, k)/C(n, k) ≥ q.
///
/// Returns None if k is 0 or more than n, or if the quantile is an infeasible trial.
pub fn quantile_of_best(sorted: &[f64], infeasible: usize, k: usize, q: f64) -> Option<f64> {
    let n = sorted.len() + infeasible;
    if k == 0 || k > n {
        return None;
    }
    let reached = |j: usize| 1.0 - avoids(n - j - 1, n, k) >= q - 1e-12;
    sorted.iter().enumerate().find(|(j, _)| reached(*j)).map(|(_, y)| *y)
}

/// Returns the probability that the best of a draw of k from group A is better than the best of a draw of k from group
/// B. Equal bests count half. It says how often studies with k trials of each group would rank A before B.
///
/// Each group is a pair of its sorted objectives and the number of its infeasible trials. Returns None if k is 0 or if
/// a group has fewer than k trials.
pub fn chance_of_better(
    (a, a_infeasible): (&[f64], usize),
    (b, b_infeasible): (&[f64], usize),
    k: usize,
) -> Option<f64> {
    let (n, m) = (a.len() + a_infeasible, b.len() + b_infeasible);
    if k == 0 || k > n || k > m {
        return None;
    }
    // P(best of B is worse than y) = P(a draw from B avoids all objectives that are at most y).
    let worse = |y: f64| avoids(m - b.partition_point(|x| *x <= y), m, k);
    let at_least = |y: f64| avoids(m - b.partition_point(|x| *x < y), m, k);
    let chance = |i: usize| avoids(n - i, n, k) - avoids(n - i - 1, n, k);
    let better: f64 = a.iter().enumerate().map(|(i, y)| chance(i) * 0.5 * (worse(*y) + at_least(*y))).sum();
    // Two draws that hold infeasible trials only are equal.
    let both_infeasible = avoids(a_infeasible, n, k) * avoids(b_infeasible, m, k);
    Some(better + 0.5 * both_infeasible)
}

/// Returns the 95 % interval of the best that another study with as many trials would find.
///
/// It is the exact bootstrap distribution of the minimum of n draws with replacement, P(min ≤ y₍ⱼ₎) = 1 − ((n−j)/n)ⁿ.
/// Its lower end is the observed best, because the bootstrap cannot know of better trials that were never run: the
/// interval is a rough one. Returns None for fewer than three objectives, or if the upper end is an infeasible trial.
pub fn bootstrap_interval(sorted: &[f64], infeasible: usize) -> Option<[f64; 2]> {
    let n = sorted.len() + infeasible;
    if sorted.len() < 3 {
        return None;
    }
    let quantile = |q: f64| {
        let reached = |j: usize| 1.0 - ((n - j - 1) as f64 / n as f64).powi(n as i32) >= q;
        sorted.iter().enumerate().find(|(j, _)| reached(*j)).map(|(_, y)| *y)
    };
    Some([quantile(0.025)?, quantile(0.975)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values() -> Vec<f64> {
        let mut values = vec![0.31, 0.24, 0.27, 0.45, 0.23, 0.9, 0.26, 0.29, 0.235, 0.5];
        values.sort_by(f64::total_cmp);
        values
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
            assert!((expected_best(&values(), 0, k).unwrap() - expected).abs() < 1e-12, "k = {k}");
        }
        assert_eq!(expected_best(&values(), 0, 11), None);
        assert_eq!(expected_best(&values(), 3, 3), None, "a draw of three may hold infeasible trials only");
    }

    #[test]
    fn quantiles_of_the_best_of_three_are_the_known_ones() {
        let quartiles = [0.25, 0.5, 0.75].map(|q| quantile_of_best(&values(), 0, 3, q).unwrap());
        assert_eq!(quartiles, [0.23, 0.235, 0.26]);
        assert_eq!(quantile_of_best(&[0.5], 9, 1, 0.5), None);
    }

    #[test]
    fn the_chances_of_two_groups_add_up_to_one_and_favour_the_better_group() {
        let (good, bad) = ([0.1, 0.2, 0.3, 0.4], [0.25, 0.35, 0.45, 0.55]);
        for k in 1..=4 {
            let forth = chance_of_better((&good, 1), (&bad, 2), k).unwrap();
            let back = chance_of_better((&bad, 2), (&good, 1), k).unwrap();
            assert!((forth + back - 1.0).abs() < 1e-12, "{forth} + {back}");
            assert!(forth > 0.5);
        }
        let sure = chance_of_better((&good, 0), (&bad, 0), 4).unwrap();
        let even = chance_of_better((&good, 0), (&good, 0), 2).unwrap();
        assert!((sure - 1.0).abs() < 1e-12 && (even - 0.5).abs() < 1e-12);
        // One of two against one of two: (0.1 or 0.3) against (0.2 or 0.4) wins in three of four draws.
        let chance = chance_of_better((&[0.1, 0.3], 0), (&[0.2, 0.4], 0), 1).unwrap();
        assert!((chance - 0.75).abs() < 1e-12);
        assert_eq!(chance_of_better((&good, 0), (&bad, 0), 5), None);
    }

    #[test]
    fn the_interval_is_the_one_of_the_exact_bootstrap() {
        let sorted = values();
        let [low, high] = bootstrap_interval(&sorted, 0).unwrap();
        assert_eq!(low, 0.23);
        // P(min ≥ y₍₄₎ = 0.26) = 0.7^10 = 0.028, P(min ≥ y₍₅₎ = 0.27) = 0.6^10 = 0.006.
        assert_eq!(high, 0.26);
        assert_eq!(bootstrap_interval(&[0.1, 0.2], 0), None);
        assert_eq!(bootstrap_interval(&[0.1, 0.2, 0.3], 27), None);
    }
}
