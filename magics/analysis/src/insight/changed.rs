//! Search spaces that a finding advises: with a part of a range left out, or with a hyperparameter fixed.

use tunebook_study::{Distribution, Role, SearchSpace};

/// Returns the part of a range between two coordinates u, with bounds of three significant digits. None if the
/// distribution is no range or the part is empty.
pub(super) fn part(range: &Distribution, [from, to]: [f64; 2]) -> Option<Distribution> {
    let log = |low: f64, high: f64, u: f64| rounded(low.powf(1.0 - u) * high.powf(u)).clamp(low, high);
    let whole = |u: f64| range.from_unit(u).as_i64();
    let part = match range {
        Distribution::Uniform { low, high } => {
            let at = |u: f64| rounded(low * (1.0 - u) + high * u).clamp(*low, *high);
            Distribution::uniform(at(from), at(to))
        }
        Distribution::LogUniform { low, high } => {
            Distribution::log_uniform(log(*low, *high, from), log(*low, *high, to))
        }
        Distribution::OneMinusLogUniform { low, high } => {
            Distribution::one_minus_log_uniform(log(*low, *high, from), log(*low, *high, to))
        }
        Distribution::Int { .. } => Distribution::int(whole(from)?, whole(to)?),
        Distribution::LogInt { .. } => Distribution::log_int(whole(from)?, whole(to)?),
        Distribution::Choice { .. } | Distribution::Constant { .. } => return None,
    };
    part.ok()
}

/// Returns a range without what lies on one side of a coordinate u, and the value there.
pub(super) fn cut_away(range: &Distribution, at: f64, is_above: bool) -> (Option<Distribution>, f64) {
    let rest = part(range, if is_above { [0.0, at] } else { [at, 1.0] });
    (rest, rounded(range.from_unit(at).as_f64().unwrap_or(f64::NAN)))
}

/// Returns a space in which some hyperparameters have another role and distribution, by label. None if there is no such
/// space, for example because a condition names a value that is left out.
pub(super) fn replaced(space: &SearchSpace, changes: &[(String, Role, Distribution)]) -> Option<SearchSpace> {
    let mut changed = SearchSpace::new();
    for h in space.hyperparameters() {
        let mut h = h.clone();
        if let Some((_, role, distribution)) = changes.iter().find(|(label, ..)| *label == h.label()) {
            (h.role, h.distribution) = (*role, distribution.clone());
        }
        changed.declare(h).ok()?;
    }
    Some(changed)
}

/// Returns a number with three significant digits.
fn rounded(x: f64) -> f64 {
    format!("{x:.2e}").parse().unwrap_or(x)
}
