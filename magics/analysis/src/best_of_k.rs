//! The best of k trials: exact, without simulation.
//!
//! The values are a study's objectives, minimized and sorted; an infeasible trial is worse than all and is counted, not
//! listed. "Draw" means: choose k of the study's n trials at random.

/// Logarithm of C(n, k).
fn ln_choose(n: usize, k: usize) -> f64 {
    (1..=k).map(|i| ((n - k + i) as f64 / i as f64).ln()).sum()
}

/// C(m, k) / C(n, k) for m ≤ n: the chance that a draw of k avoids n − m given trials.
fn avoids(m: usize, n: usize, k: usize) -> f64 {
    if k > m { 0.0 } else { (ln_choose(m, k) - ln_choose(n, k)).exp() }
}

/// Expected best of a draw of k without replacement: Σ y₍ᵢ₎·C(n−i, k−1)/C(n, k). `None` where k is 0 or more than there
/// are, or where a draw can hold infeasible trials only and so has no expectation.
pub fn expected_best(sorted: &[f64], infeasible: usize, k: usize) -> Option<f64> {
    let n = sorted.len() + infeasible;
    if k == 0 || k > n || infeasible >= k {
        return None;
    }
    // P(best is the i-th) = P(draw avoids the first i−1) − P(draw avoids the first i).
    let chance = |i: usize| avoids(n - i, n, k) - avoids(n - i - 1, n, k);
    Some(sorted.iter().enumerate().map(|(i, y)| y * chance(i)).sum())
}

/// The q-quantile of the best of a draw of k: the smallest y₍ⱼ₎ with 1 − C(n−j, k)/C(n, k) ≥ q. `None` where it is an
/// infeasible trial.
pub fn quantile_of_best(sorted: &[f64], infeasible: usize, k: usize, q: f64) -> Option<f64> {
    let n = sorted.len() + infeasible;
    if k == 0 || k > n {
        return None;
    }
    let reached = |j: usize| 1.0 - avoids(n - j - 1, n, k) >= q - 1e-12;
    sorted.iter().enumerate().find(|(j, _)| reached(*j)).map(|(_, y)| *y)
}

/// The chance that the best of a draw of k from one arm is better than that of a draw of k from another (equal bests
/// count half): how often studies of that size would rank the arms this way. Exact; each arm is its sorted objectives
/// and the number of its infeasible trials. `None` where an arm has fewer than k trials.
pub fn chance_of_better((a, a_lost): (&[f64], usize), (b, b_lost): (&[f64], usize), k: usize) -> Option<f64> {
    let (n, m) = (a.len() + a_lost, b.len() + b_lost);
    if k == 0 || k > n || k > m {
        return None;
    }
    // P(best of b is worse than y) = P(a draw avoids all that are at most y).
    let worse = |y: f64| avoids(m - b.partition_point(|x| *x <= y), m, k);
    let at_least = |y: f64| avoids(m - b.partition_point(|x| *x < y), m, k);
    let chance = |i: usize| avoids(n - i, n, k) - avoids(n - i - 1, n, k);
    let won: f64 = a.iter().enumerate().map(|(i, y)| chance(i) * 0.5 * (worse(*y) + at_least(*y))).sum();
    // Two draws of infeasible trials only are equal.
    let both_lost = avoids(a_lost, n, k) * avoids(b_lost, m, k);
    Some(won + 0.5 * both_lost)
}

/// 95 % interval of the best that another study of as many trials would find: the exact bootstrap distribution of the
/// minimum (n draws with replacement), P(min ≤ y₍ⱼ₎) = 1 − ((n−j)/n)ⁿ. Its lower end is the observed best: trials that
/// were not run are not known to it. `None` with fewer than three trials, or where the upper end is infeasible.
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
            (5, 0.235_595_238_095_238_11),
            (10, 0.23),
        ];
        for (k, expected) in known {
            assert!((expected_best(&values(), 0, k).unwrap() - expected).abs() < 1e-12, "k = {k}");
        }
        assert_eq!(expected_best(&values(), 0, 11), None);
        assert_eq!(expected_best(&values(), 3, 3), None, "a draw of three may be infeasible altogether");
    }

    #[test]
    fn quantiles_of_the_best_of_three_are_the_known_ones() {
        let quartiles = [0.25, 0.5, 0.75].map(|q| quantile_of_best(&values(), 0, 3, q).unwrap());
        assert_eq!(quartiles, [0.23, 0.235, 0.26]);
        assert_eq!(quantile_of_best(&[0.5], 9, 1, 0.5), None);
    }

    #[test]
    fn chances_of_two_arms_add_up_and_know_the_better_one() {
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
    fn the_interval_covers_what_resampling_finds() {
        let sorted = values();
        let [low, high] = bootstrap_interval(&sorted, 0).unwrap();
        assert_eq!(low, 0.23);
        // P(min ≥ y₍₄₎ = 0.26) = 0.7^10 = 0.028, P(min ≥ y₍₅₎ = 0.27) = 0.6^10 = 0.006.
        assert_eq!(high, 0.26);
        assert_eq!(bootstrap_interval(&[0.1, 0.2], 0), None);
        assert_eq!(bootstrap_interval(&[0.1, 0.2, 0.3], 27), None);
    }
}
