//! The median rule (Golovin et al., "Google Vizier", 2017, section 3.2), with the defaults of Optuna's median pruner.

use super::{EarlyStopping, Verdict, median_of};

/// No trial is stopped before so many other configurations are complete.
pub(super) const STARTUP: usize = 5;

/// A trial is stopped if its best value so far is worse than the median of the values that complete trials of other
/// configurations have at exactly this step.
pub(super) fn verdict(known: &EarlyStopping, number: u32, step: u64) -> Option<Verdict> {
    let complete = || known.trials.iter().filter(|(_, curve)| curve.is_complete);
    let configurations = known.others(number, complete().map(|(trial, _)| (*trial, 0.0))).len();
    if configurations < STARTUP {
        return None;
    }
    let values =
        known.others(number, complete().filter_map(|(trial, curve)| Some((*trial, *curve.values.get(&step)?))));
    let compared = values.len();
    let median = median_of(values)?;
    let best = known.trials.get(&number)?.values.range(..=step).map(|(_, value)| *value).min_by(f64::total_cmp)?;
    (best > median).then(|| Verdict {
        mine: best,
        other: median,
        than: format!("the median of {compared} complete configurations at this step"),
    })
}
