//! Mean, variance and quantiles of Student's t distribution, for intervals from few repeated measurements.

/// The 97.5 % quantiles for 1 to 30 degrees of freedom.
const QUANTILES: [f64; 30] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120,
    2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
];

/// Returns the 97.5 % quantile for some degrees of freedom. Infinite for 0.
pub(crate) fn t_quantile(degrees: usize) -> f64 {
    match degrees {
        0 => f64::INFINITY,
        degrees if degrees <= QUANTILES.len() => QUANTILES[degrees - 1],
        // The first terms of its expansion in 1/degrees.
        degrees => 1.959_964 + 2.372_27 / degrees as f64 + 2.822_5 / (degrees as f64).powi(2),
    }
}

/// Returns the mean. That of equal values is exactly their value. NaN without values.
pub(crate) fn mean(values: &[f64]) -> f64 {
    let (n, first) = (values.len() as f64, values.first().copied().unwrap_or(f64::NAN));
    let mean = first + values.iter().map(|value| value - first).sum::<f64>() / n;
    // The differences from an infinite value are not numbers, and those of very large values overflow.
    if mean.is_finite() { mean } else { values.iter().sum::<f64>() / n }
}

/// Returns the variance of independent values, which is exactly 0 for equal ones. None for fewer than two.
pub(crate) fn variance(values: &[f64]) -> Option<f64> {
    let mean = mean(values);
    let squares = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
    (values.len() > 1).then(|| squares / (values.len() - 1) as f64)
}

/// Returns the 95 % interval of the mean of independent normal values. None for fewer than two.
pub(crate) fn mean_interval(values: &[f64]) -> Option<[f64; 2]> {
    let (n, mean) = (values.len(), mean(values));
    let half = t_quantile(n.saturating_sub(1)) * (variance(values)? / n as f64).sqrt();
    Some([mean - half, mean + half])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quantiles_go_on_where_the_table_ends() {
        assert!((t_quantile(40) - 2.0211).abs() < 1e-3 && (t_quantile(31) - 2.0395).abs() < 1e-3);
        assert!((t_quantile(1_000_000) - 1.96).abs() < 1e-3);
        let [low, high] = mean_interval(&[1.0, 2.0, 3.0, 4.0, 5.0]).unwrap();
        assert!((low - (3.0 - 1.963)).abs() < 1e-3 && (high - (3.0 + 1.963)).abs() < 1e-3);
        assert_eq!((mean_interval(&[1.0]), mean_interval(&[])), (None, None));
    }

    #[test]
    fn equal_values_have_no_variance() {
        for (value, n) in [(0.1, 3), (0.1, 6), (1.0 / 3.0, 7), (-1e-300, 9), (1e300, 11)] {
            let values = vec![value; n];
            assert_eq!((mean(&values), variance(&values)), (value, Some(0.0)));
            assert_eq!(mean_interval(&values), Some([value, value]));
        }
        assert_eq!((mean(&[f64::INFINITY; 2]), mean(&[-1e308, 1e308])), (f64::INFINITY, 0.0));
        assert!(mean(&[]).is_nan() && variance(&[1.0]).is_none());
    }
}
