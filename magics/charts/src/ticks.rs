//! The ticks of an axis: their positions and their labels.

use crate::chart::AxisScale;

/// Returns the ticks of an axis from `low` to `high`, each as its value and its label. If there is room for at most
/// `most` labels, a logarithmic axis gets no more; other axes have about six.
pub(crate) fn ticks(scale: &AxisScale, low: f64, high: f64, most: usize) -> Vec<(f64, String)> {
    match scale {
        AxisScale::Categories(names) => names.iter().enumerate().map(|(i, name)| (i as f64, name.clone())).collect(),
        AxisScale::Linear => linear(low, high, 6).into_iter().map(|x| (x, number(x))).collect(),
        AxisScale::Log => log(low, high, most).into_iter().map(|x| (x, number(x))).collect(),
        AxisScale::OneMinusLog => {
            log(1.0 - high, 1.0 - low, most).into_iter().map(|x| (1.0 - x, number(1.0 - x))).collect()
        }
    }
}

/// Returns round numbers at equal distances, which divide the range into `parts` parts or fewer.
fn linear(low: f64, high: f64, parts: usize) -> Vec<f64> {
    let raw = (high - low) / parts.max(1) as f64;
    if !(raw > 0.0 && raw.is_finite()) {
        return vec![low];
    }
    let power = 10_f64.powf(raw.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * power).find(|step| *step >= raw).unwrap_or(power);
    let first = (low / step - 1e-9).ceil() as i64;
    (first..).map(|i| i as f64 * step).take_while(|x| *x <= high + step * 1e-9).collect()
}

/// Returns powers of ten, or every n-th of them if there are many, and round numbers between them if there are few.
fn log(low: f64, high: f64, most: usize) -> Vec<f64> {
    if !(low > 0.0 && high > low) {
        return vec![high];
    }
    let (first, last) = (low.log10().floor() as i32, high.log10().ceil() as i32);
    let inside = |factors: &[f64], stride: i32| -> Vec<f64> {
        let powers = (first..=last).filter(|power| power.rem_euclid(stride) == 0);
        let all = powers.flat_map(|power| factors.iter().map(move |factor| factor * 10_f64.powi(power)));
        all.filter(|x| (low * 0.999..=high * 1.001).contains(x)).collect()
    };
    let dense: [&[f64]; 4] = [&[1.0, 1.5, 2.0, 3.0, 5.0, 7.0], &[1.0, 2.0, 5.0], &[1.0, 3.0], &[1.0]];
    let sparse = (2..=last - first).map(|stride| (dense[3], stride));
    let fitting =
        dense.iter().map(|factors| (*factors, 1)).chain(sparse).map(|(factors, stride)| inside(factors, stride));
    match fitting.into_iter().find(|marks| marks.len() <= most) {
        Some(marks) if marks.len() >= 3 => marks,
        // On a short range equal ratios are nearly equal distances.
        _ if high / low < 10.0 => linear(low, high, most.min(6)),
        Some(marks) => marks,
        None => vec![low, high],
    }
}

/// Returns the text of a number: short, and exact for round numbers.
pub(crate) fn number(x: f64) -> String {
    let magnitude = x.abs();
    if magnitude < 1e-12 {
        return "0".into();
    }
    if !(1e-4..1e6).contains(&magnitude) {
        let text = format!("{x:.2e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let mantissa = mantissa.trim_end_matches('0').trim_end_matches('.');
        return format!("{mantissa}e{exponent}");
    }
    let text = format!("{x:.6}");
    text.trim_end_matches('0').trim_end_matches('.').to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(scale: AxisScale, low: f64, high: f64) -> Vec<String> {
        ticks(&scale, low, high, 8).into_iter().map(|(_, label)| label).collect()
    }

    #[test]
    fn ticks_are_round_numbers() {
        assert_eq!(labels(AxisScale::Linear, 0.0, 1.0), ["0", "0.2", "0.4", "0.6", "0.8", "1"]);
        assert_eq!(
            labels(AxisScale::Log, 1e-4, 1.0),
            ["1e-4", "0.001", "0.01", "0.1", "1"].map(|s| if s == "1e-4" { "0.0001" } else { s })
        );
        assert_eq!(labels(AxisScale::Log, 0.02, 0.09), ["0.02", "0.03", "0.05", "0.07"]);
        assert_eq!(labels(AxisScale::OneMinusLog, 0.0, 0.999), ["0.999", "0.997", "0.99", "0.97", "0.9", "0.7", "0"]);
        assert!(ticks(&AxisScale::Linear, 1.0, 1.0, 8).len() == 1, "an empty range has one tick");
    }

    #[test]
    fn a_log_axis_has_ticks_on_every_range_and_no_more_than_fit() {
        assert_eq!(labels(AxisScale::Log, 0.0201, 0.0226), ["0.0205", "0.021", "0.0215", "0.022", "0.0225"]);
        for decades in 1..60 {
            for most in [4, 8] {
                for shift in [0.0, 0.37] {
                    let low = 10_f64.powf(-12.0 + shift);
                    let count = ticks(&AxisScale::Log, low, low * 10_f64.powf(f64::from(decades) / 4.0), most).len();
                    assert!((2..=8).contains(&count), "{count} ticks over {decades} quarters of a decade");
                }
            }
        }
    }
}
