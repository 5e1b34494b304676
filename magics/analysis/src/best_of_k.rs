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
