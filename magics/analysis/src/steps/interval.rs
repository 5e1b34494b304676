//! The interval of a median between two order statistics, which needs no model of the values.

/// An interval must contain the median in at least this share of cases.
const COVERED: f64 = 0.95;

/// Returns the 95 % interval of the median of the distribution that values are drawn from: the narrowest pair of order
/// statistics y₍ₖ₎ and y₍ₙ₊₁₋ₖ₎ that contains it in at least 95 % of cases. An infinite end is None: it is open. None
/// for fewer than six values, because even the least and the largest of five contain it in 93.8 % of cases only.
pub(super) fn median_interval(values: &[f64]) -> Option<[Option<f64>; 2]> {
    let n = values.len();
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    // The number of values below the median is binomial with the probability one half.
    let exactly = |k: usize| (0..k).map(|i| (n - i) as f64 / (k - i) as f64).product::<f64>() * 0.5_f64.powi(n as i32);
    let covered = |k: usize| 1.0 - 2.0 * (0..k).map(exactly).sum::<f64>();
    let k = (1..=n / 2).rev().find(|k| covered(*k) >= COVERED)?;
    let finite = |x: f64| Some(x).filter(|x| x.is_finite());
    Some([finite(sorted[k - 1]), finite(sorted[n - k])])
}

#[cfg(test)]
mod tests {
    use super::median_interval;

    #[test]
    fn the_order_statistics_are_those_of_the_tables() {
        let values = |n: u32| (1..=n).map(f64::from).collect::<Vec<_>>();
        assert_eq!(median_interval(&values(5)), None);
        assert_eq!(median_interval(&values(6)), Some([Some(1.0), Some(6.0)]));
        assert_eq!(median_interval(&values(8)), Some([Some(1.0), Some(8.0)]));
        assert_eq!(median_interval(&values(9)), Some([Some(2.0), Some(8.0)]));
        assert_eq!(median_interval(&values(20)), Some([Some(6.0), Some(15.0)]));
        let open = [3.0, 1.0, 2.0, 4.0, 5.0, f64::INFINITY];
        assert_eq!(median_interval(&open), Some([Some(1.0), None]));
    }
}
