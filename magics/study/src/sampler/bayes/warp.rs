//! Warps the objectives that a Gaussian process learns from, as Google Vizier does (`output_warpers.py`): differences
//! between bad values shrink, differences between good ones grow, and infeasible trials get a value below all others.
//! Larger is better here.

use super::math::quantile;

/// The exponent of a power of two as large as the largest value. Values are divided by it before they are warped, so
/// that no square of them is too large or too small for a number. The division is exact.
pub fn unit(values: impl Iterator<Item = f64>) -> i32 {
    let largest = values.map(f64::abs).fold(0.0, f64::max);
    if largest > 0.0 { libm::ilogb(largest) } else { 0 }
}

/// The values for upper bounds: Vizier's three warps. An infeasible trial is None.
pub fn for_upper_bounds(values: &[Option<f64>]) -> Vec<f64> {
    infeasible(&logarithmic(&half_rank(values)))
}

/// The standard deviation of the values for the expected improvement: that at which the prior of the signal is centred.
const DEVIATION: f64 = 0.2;
/// From so many deviations of the good values below the median on, the distance counts by its logarithm.
const TAIL: f64 = 2.0;

/// The values for the expected improvement: only the tail of bad values is bent, so that a loss of 10⁶ does not make
/// all others equal. Ranks would hide how the objective rises around the best trials.
pub fn for_improvement(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some((median, spread)) = median_and_spread(&sorted) else { return vec![] };
    let tail = TAIL * spread;
    let bend = |value: &f64| match median - value > tail && tail > 0.0 {
        true => median - tail * (1.0 + libm::log((median - value) / tail)),
        false => *value,
    };
    let bent: Vec<f64> = values.iter().map(bend).collect();
    let n = bent.len() as f64;
    let mean = bent.iter().sum::<f64>() / n;
    let deviation = (bent.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / n).sqrt();
    bent.iter().map(|value| if deviation > 0.0 { DEVIATION * (value - mean) / deviation } else { 0.0 }).collect()
}

/// The median of sorted values, and the root of the mean square of how far the values that are not below it lie above
/// it.
fn median_and_spread(sorted: &[f64]) -> Option<(f64, f64)> {
    let last = sorted.len().checked_sub(1)?;
    let median = 0.5 * (sorted[last / 2] + sorted[last.div_ceil(2)]);
    let good: Vec<f64> =
        sorted.iter().filter(|value| **value >= median).map(|value| (value - median).powi(2)).collect();
    Some((median, (good.iter().sum::<f64>() / good.len() as f64).sqrt()))
}

fn finite(values: &[Option<f64>]) -> Vec<f64> {
    let mut finite: Vec<f64> = values.iter().flatten().copied().collect();
    finite.sort_by(f64::total_cmp);
    finite
}

/// Replaces the values below the median by normal quantiles of their ranks.
fn half_rank(values: &[Option<f64>]) -> Vec<Option<f64>> {
    let sorted = finite(values);
    let Some((median, spread)) = median_and_spread(&sorted) else { return values.to_vec() };
    let mut distinct = sorted;
    distinct.dedup();
    let below = distinct.iter().filter(|value| **value < median).count();
    // The rank of the median among the distinct values, less a half.
    let denominator = below as f64 + 0.5;
    let warp = |value: f64| {
        if value >= median || spread <= 0.0 {
            return value;
        }
        let rank = distinct.iter().position(|other| *other == value).unwrap_or(0) as f64 + 1.0;
        median + spread * quantile(0.5 * (rank - 0.5) / denominator)
    };
    values.iter().map(|value| value.map(warp)).collect()
}

/// Stretches the differences between the best values.
fn logarithmic(values: &[Option<f64>]) -> Vec<Option<f64>> {
    let sorted = finite(values);
    let (Some(least), Some(most)) = (sorted.first(), sorted.last()) else { return values.to_vec() };
    let range = most - least;
    let warp = |value: f64| match range > 0.0 {
        true => 0.5 - libm::log(1.0 + 0.5 * (most - value) / range) / libm::log(1.5),
        false => 0.0,
    };
    values.iter().map(|value| value.map(warp)).collect()
}

/// Gives infeasible trials a value below the others, and centres all.
fn infeasible(values: &[Option<f64>]) -> Vec<f64> {
    let sorted = finite(values);
    let (Some(least), Some(most)) = (sorted.first(), sorted.last()) else { return vec![0.0; values.len()] };
    let (n, count) = (values.len() as f64, sorted.len() as f64);
    let bad = least - (0.5 * (most - least) + 1.0);
    let share = (0.5 + count) / (1.0 + n);
    let shift = -(sorted.iter().sum::<f64>() / count) * share - bad * (1.0 - share);
    values.iter().map(|value| value.unwrap_or(bad) + shift).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_near(found: &[Option<f64>], expected: [f64; 8]) {
        for (found, expected) in found.iter().zip(expected) {
            assert_eq!(found.is_none(), expected.is_nan());
            assert!(found.is_none_or(|found| (found - expected).abs() < 1e-12), "{found:?} {expected}");
        }
    }

    #[test]
    fn values_are_warped_as_vizier_warps_them() {
        const NONE: f64 = f64::NAN;
        let given = [-0.30, -0.24, -0.27, -0.45, -0.23, -0.90, NONE, -0.29];
        let given = given.map(|value| (!value.is_nan()).then_some(value));
        let ranked = half_rank(&given);
        let (a, b, c) = (-0.304_758_219_059_083_7, -0.321_911_972_495_656_45, -0.349_065_462_490_738_6);
        assert_near(&ranked, [a, -0.24, -0.27, b, -0.23, c, NONE, -0.29]);
        let stretched = logarithmic(&ranked);
        let expected = [
            -0.173_370_710_743_606_1,
            0.398_546_380_517_324_8,
            0.117_053_784_630_555_55,
            -0.305_006_409_815_991_5,
            0.5,
            -0.5,
            NONE,
            -0.054_208_250_524_681_7,
        ];
        assert_near(&stretched, expected);
        let all = infeasible(&stretched);
        let expected = [
            0.161_984_670_915_489,
            0.733_901_762_176_419_9,
            0.452_409_166_289_650_6,
            0.030_348_971_843_103_534,
            0.835_355_381_659_095_1,
            -0.164_644_618_340_905,
            -1.664_644_618_340_905,
            0.281_147_131_134_413_3,
        ];
        assert_near(&all.into_iter().map(Some).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn equal_values_and_no_values_are_warped_to_finite_ones() {
        for values in [vec![], vec![None], vec![Some(1.0)], vec![Some(2.0), Some(2.0), None]] {
            let found = for_upper_bounds(&values);
            assert!(found.len() == values.len() && found.iter().all(|value| value.is_finite()), "{found:?}");
        }
        assert_eq!(for_improvement(&[2.0, 2.0]), [0.0, 0.0]);
    }

    #[test]
    fn for_the_improvement_only_a_tail_is_bent() {
        let found = for_improvement(&[-1.0, -2.0, -3.0, -4.0, -1e9]);
        let gaps: Vec<f64> = found.windows(2).map(|pair| pair[0] - pair[1]).collect();
        assert!((gaps[0] - gaps[1]).abs() < 1e-12 && (gaps[1] - gaps[2]).abs() < 1e-12, "{found:?}");
        assert!(gaps[3] > gaps[2] && gaps[3] < 100.0 * gaps[2], "{found:?}");
    }
}
