//! The learning rates that are tried: 20 in each decade, so that twice, five times and ten times a rate are rates too.

/// The number of rates in a decade. Neighbours differ by a factor of 1.12.
pub const RATES_PER_DECADE: i32 = 20;
/// The index of the lowest rate, 1e-8.
pub const LOWEST_RATE: i32 = -8 * RATES_PER_DECADE;
/// The index of the highest rate, 1e6.
pub const HIGHEST_RATE: i32 = 6 * RATES_PER_DECADE;

/// Returns the rate of an index, with three digits. The rate of index 0 is 1.
pub fn rate(index: i32) -> f64 {
    let exact = 10f64.powf(f64::from(index) / f64::from(RATES_PER_DECADE));
    format!("{exact:.2e}").parse().unwrap_or(exact)
}

/// Returns the index of the rate that is nearest to a learning rate, in the logarithm.
pub fn nearest_rate(lr: f64) -> i32 {
    let index = (lr.log10() * f64::from(RATES_PER_DECADE)).round();
    (index as i32).clamp(LOWEST_RATE, HIGHEST_RATE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_five_and_ten_times_a_rate_are_rates() {
        for index in -60..=40 {
            for (steps, multiple) in [(6, 2.0), (14, 5.0), (20, 10.0)] {
                assert!((rate(index + steps) / rate(index) / multiple - 1.0).abs() < 0.01, "{index} {multiple}");
            }
            assert_eq!(nearest_rate(rate(index)), index);
        }
        assert_eq!((rate(0), rate(-20), rate(6), rate(LOWEST_RATE)), (1.0, 0.1, 2.0, 1e-8));
    }
}
