//! Scrambled Halton points: coordinate k is the radical inverse in the k-th prime, with an independent random
//! permutation of the digits at each position (Owen, "A randomized Halton algorithm in R", 2017).
//!
//! No index is skipped and no shift added: the permutations remove the correlation that early points have in large
//! bases, and a shift would undo the exact stratification of every b^k points.

use super::keyed::{Purpose, generator, permutation};

/// Coordinate `k` (from 0) of the point at `index`, in [0, 1). Sequences of different numbers are scrambled differently.
pub(super) fn scrambled(seed: u64, sequence: u64, k: usize, index: u64) -> f64 {
    radical_inverse(prime(k), index, |position, base| {
        permutation(generator(Purpose::Digits, seed, (sequence << 32) | k as u64, position as u64), base)
    })
}

/// Σ permutation(digit) · base^−(position + 1) over all digit positions that a float resolves: permuted zeros count
/// as well.
fn radical_inverse(base: usize, index: u64, permutation_at: impl Fn(usize, usize) -> Vec<usize>) -> f64 {
    let positions = (54.0 / (base as f64).log2()).ceil() as usize - 1;
    let (mut rest, mut weight, mut sum) = (index, 1.0 / base as f64, 0.0);
    for position in 0..positions {
        let digit = (rest % base as u64) as usize;
        sum += permutation_at(position, base)[digit] as f64 * weight;
        rest /= base as u64;
        weight /= base as f64;
    }
    sum.min(1.0 - f64::EPSILON / 2.0)
}

/// The k-th prime: 2, 3, 5, …
fn prime(k: usize) -> usize {
    let is_prime = |n: usize| (2..).take_while(|d| d * d <= n).all(|d| !n.is_multiple_of(d));
    (2..).filter(|n| is_prime(*n)).nth(k).unwrap_or(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(base: usize, index: u64) -> f64 {
        radical_inverse(base, index, |_, base| (0..base).collect())
    }

    /// Centred L2 discrepancy, squared (Hickernell 1998), as scipy's `qmc.discrepancy` gives it.
    fn centred_discrepancy(points: &[Vec<f64>]) -> f64 {
        let (n, d) = (points.len() as f64, points[0].len() as i32);
        let z = |x: f64| (x - 0.5).abs();
        let single: f64 =
            points.iter().map(|p| p.iter().map(|x| 1.0 + 0.5 * z(*x) - 0.5 * z(*x).powi(2)).product::<f64>()).sum();
        let mut double = 0.0;
        for p in points {
            for q in points {
                double += p
                    .iter()
                    .zip(q)
                    .map(|(x, y)| 1.0 + 0.5 * z(*x) + 0.5 * z(*y) - 0.5 * (x - y).abs())
                    .product::<f64>();
            }
        }
        (13.0_f64 / 12.0).powi(d) - 2.0 / n * single + double / (n * n)
    }

    #[test]
    fn unscrambled_points_are_the_known_ones() {
        let expected = [
            (0.0, 0.0, 0.0),
            (0.5, 1.0 / 3.0, 0.2),
            (0.25, 2.0 / 3.0, 0.4),
            (0.75, 1.0 / 9.0, 0.6),
            (0.125, 4.0 / 9.0, 0.8),
            (0.625, 7.0 / 9.0, 0.04),
            (0.375, 2.0 / 9.0, 0.24),
            (0.875, 5.0 / 9.0, 0.44),
        ];
        for (i, (x, y, z)) in expected.into_iter().enumerate() {
            for (base, value) in [(2, x), (3, y), (5, z)] {
                assert!((plain(base, i as u64) - value).abs() < 1e-12);
            }
        }
        let points: Vec<_> = (0..16).map(|i| vec![plain(2, i), plain(3, i)]).collect();
        assert!((centred_discrepancy(&points) - 0.009_016_290_777_176_694).abs() < 1e-12);
    }

    #[test]
    fn explicit_permutations_give_the_known_points() {
        let expected = [2.0 / 3.0, 1.0 / 3.0, 2.0 / 9.0, 8.0 / 9.0, 5.0 / 9.0, 1.0 / 9.0, 7.0 / 9.0, 4.0 / 9.0];
        for (i, value) in expected.into_iter().enumerate() {
            let x = radical_inverse(3, i as u64 + 1, |_, _| vec![0, 2, 1]);
            assert!((x - value).abs() < 1e-12);
        }
        let expected = [0.6, 0.2, 0.8, 0.4, 0.12, 0.72, 0.32, 0.92];
        for (i, value) in expected.into_iter().enumerate() {
            let x = radical_inverse(5, i as u64 + 1, |_, _| vec![0, 3, 1, 4, 2]);
            assert!((x - value).abs() < 1e-12);
        }
    }

    #[test]
    fn every_power_of_the_base_is_stratified_exactly() {
        for (k, n) in [(0, 64), (1, 81), (2, 125), (3, 49)] {
            for seed in 0..10 {
                let mut strata: Vec<usize> = (0..n).map(|i| (scrambled(seed, 0, k, i) * n as f64) as usize).collect();
                strata.sort_unstable();
                assert!(strata.into_iter().eq(0..n as usize), "coordinate {k}, {n} points, seed {seed}");
            }
        }
    }

    /// Median squared centred discrepancy of scipy 1.17's scrambled Halton points, measured: (d, n, median).
    const SCIPY: [(usize, u64, f64); 7] = [
        (1, 20, 0.00060),
        (2, 20, 0.00229),
        (2, 64, 0.00024),
        (3, 20, 0.00526),
        (3, 100, 0.00034),
        (5, 20, 0.02167),
        (5, 100, 0.00173),
    ];

    #[test]
    fn coverage_is_that_of_the_reference_implementation() {
        for (d, n, reference) in SCIPY {
            let mut all: Vec<f64> = (0..100)
                .map(|seed| {
                    let points: Vec<Vec<f64>> =
                        (0..n).map(|i| (0..d).map(|k| scrambled(seed, 0, k, i)).collect()).collect();
                    centred_discrepancy(&points)
                })
                .collect();
            all.sort_by(f64::total_cmp);
            // The reference is printed to five decimals, hence the half unit.
            let bound = 1.1 * reference + 0.000_005;
            assert!(all[50] <= bound, "d {d}, n {n}: median {} over {bound}", all[50]);
        }
    }

    #[test]
    fn the_first_points_of_seed_7_never_change() {
        // Recorded when the sampler was written: a change here changes every study.
        let points: Vec<String> = (0..3).map(|i| format!("{:.12}", scrambled(7, 0, 1, i))).collect();
        assert_eq!(points, ["0.416441776525", "0.083108443192", "0.749775109858"]);
    }
}
