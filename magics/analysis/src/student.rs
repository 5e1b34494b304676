//! Quantiles of Student's t distribution, for intervals from few repeated measurements.

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

/// Returns the 95 % interval of the mean of independent normal values. None for fewer than two.
pub(crate) fn mean_interval(values: &[f64]) -> Option<[f64; 2]> {
    let n = values.len();
    if n < 2 {
        return None;
    }
    let mean = values.iter().sum::<f64>() / n as f64;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1) as f64;
    let half = t_quantile(n - 1) * (variance / n as f64).sqrt();
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
        assert_eq!(mean_interval(&[1.0]), None);
    }
}
