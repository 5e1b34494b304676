//! Says how precisely the validation examples measure a metric, beside a difference of it (Playbook H8, F5).

use crate::report::table::number;
use tunebook_analysis::{ValidationPrecision, validation_precision};
use tunebook_study::{Objective, Trial};

/// The precision of a value of the objective, and the sentence about it. None if it is not known.
pub fn validation<'a>(
    trials: impl IntoIterator<Item = &'a Trial> + Clone,
    objective: &Objective,
    value: Option<f64>,
    difference: Option<f64>,
) -> Option<(ValidationPrecision, String)> {
    let found = validation_precision(trials, objective, value?, difference)?;
    let ValidationPrecision { examples, value, standard_error, difference, is_below } = found;
    let mut sentence = format!(
        "{} is measured on {examples} validation examples: {} has a standard error of {} because there are only so \
         many; this is not the variation between training runs (Playbook F5).",
        objective.metric,
        number(value),
        number(rounded(standard_error))
    );
    match difference.filter(|difference| *difference > 0.0) {
        Some(difference) if is_below => {
            sentence += &format!(
                " The difference of {} is smaller than that: with other examples the order could be another. More \
                 validation examples measure it better (H8).",
                number(difference)
            );
        }
        Some(difference) => {
            let ratio = difference / standard_error;
            sentence += &format!(" The difference of {} is {ratio:.1} standard errors.", number(difference));
        }
        None => {}
    }
    Some((found, sentence))
}

/// A standard error with two significant digits.
pub(super) fn rounded(x: f64) -> f64 {
    let unit = 10.0_f64.powf(x.log10().floor() - 1.0);
    if unit > 0.0 { (x / unit).round() * unit } else { x }
}
