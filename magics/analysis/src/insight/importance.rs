//! D4: which hyperparameters may be fixed, which must be tuned together, and where the good region lies.

use super::changed::{part, replaced};
use super::{End, Evidence, Experiment, Finding, Severity, number};
use crate::importance::{HyperparameterImportance, Importance};
use crate::percent::estimated_percent;
use tunebook_study::{Distribution, Hyperparameter, Role, Scale};

/// With fewer configurations, no good region is shown.
const LEAST: usize = 20;
/// With fewer configurations, no hyperparameter is called insensitive: the best tenth would be fewer than five, which
/// differ from the others by chance alone as much as by an effect.
const LEAST_FOR_INSENSITIVE: usize = 41;
/// The same for each hyperparameter that varies.
const LEAST_FOR_EACH: usize = 10;
/// A hyperparameter is called insensitive only if one without effect would reach at most this share of the variance:
/// otherwise a real effect could hide there.
const SMALL: f64 = 0.1;
/// The good region is that of so many configurations at least.
const LEAST_GOOD: usize = 5;
/// A region that is wider than this, in u, is not worth another study.
const NARROW: f64 = 0.6;
/// A best configuration in this outer share of a range, in u, is at its end: the suggested region goes to that end.
const EDGE: f64 = 0.1;
/// A suggested region goes on beyond the good configurations by at least this, in u.
const LEAST_MARGIN: f64 = 0.05;

const SECTION: &str = "D4 Extracting insight from experiment results";

/// Returns how many configurations with an objective are needed before one of so many hyperparameters that vary is
/// called insensitive.
pub fn least_for_insensitive(varied: usize) -> usize {
    LEAST_FOR_INSENSITIVE.max(LEAST_FOR_EACH * varied)
}

/// `before` holds the findings about the ends of ranges. A range that should be widened is not fixed or narrowed.
///
/// What a hyperparameter or a pair without effect would reach is not known if the sampler adapted to results, so that
/// nothing is then said of insensitive ones and of interactions.
pub(super) fn findings(evidence: &Evidence<'_>, importance: &Importance, before: &[Finding]) -> Vec<Finding> {
    let boundaries: Vec<&Finding> = before.iter().filter(|finding| finding.id == "boundary").collect();
    let mut found = vec![];
    if evidence.is_exchangeable() {
        found.extend(insensitive(evidence, importance, &boundaries));
        found.extend(interactions(importance));
    }
    found.extend(good_region(evidence, importance, &boundaries));
    found
}

fn percent(share: f64) -> String {
    estimated_percent(share, if share < 0.0995 { 1 } else { 0 })
}

fn insensitive(evidence: &Evidence<'_>, importance: &Importance, boundaries: &[&Finding]) -> Vec<Finding> {
    let n = importance.configurations;
    let is_enough = n >= least_for_insensitive(evidence.varied.len());
    let Some((_, best)) = evidence.ranked.first().filter(|_| is_enough) else { return vec![] };
    let has_boundary = |label: &String| boundaries.iter().any(|finding| finding.hyperparameter.as_ref() == Some(label));
    let of_variance = |share: f64| share * importance.explained_alone;
    let interacts = |label: &String| {
        importance.interactions.iter().any(|pair| pair.is_supported() && pair.hyperparameters.contains(label))
    };
    let is_insensitive = |i: &HyperparameterImportance| {
        !i.moves_metric()
            && !i.matters_for_best()
            && of_variance(i.fanova_null) <= SMALL
            && !interacts(&i.hyperparameter)
            && !has_boundary(&i.hyperparameter)
    };
    let may_be_fixed: Vec<(&Hyperparameter, &HyperparameterImportance)> = evidence
        .varied
        .iter()
        .zip(&importance.hyperparameters)
        .filter(|((h, _), i)| h.role == Role::Nuisance && is_insensitive(i))
        .map(|((h, _), i)| (*h, i))
        .collect();
    let fixed: Vec<(String, Role, Distribution)> = may_be_fixed
        .iter()
        .filter_map(|(h, _)| {
            let value = crate::hyperparameter::value_in(&evidence.definition.space, h, best.trials[0])?.clone();
            Some((h.label(), Role::Fixed, Distribution::constant(value)))
        })
        .collect();
    let space = replaced(&evidence.definition.space, &fixed).filter(|_| !fixed.is_empty());
    may_be_fixed
        .into_iter()
        .map(|(h, i)| {
            let label = h.label();
            let message = format!(
                "{label} alone explains {} of the variance. A hyperparameter without effect would reach up to {} with \
                 these {n} configurations. For being among the best {}, the share of {label} is {}, and chance alone \
                 reaches up to {}.",
                percent(of_variance(i.fanova)),
                percent(of_variance(i.fanova_null)),
                importance.best,
                percent(i.ped_anova),
                percent(i.ped_anova_null)
            );
            let without = match has_zero(&h.distribution) {
                true => format!(" If {label} is a feature that 0 or `false` switches off, it may be dropped."),
                false => String::new(),
            };
            let advice = format!(
                "{label} may be fixed, so that the other hyperparameters are searched more densely. Write down the \
                 caveat: this holds for the ranges and the fixed values of this study, and an effect below {} of the \
                 variance would not have been seen.{without}",
                percent(of_variance(i.fanova_null))
            );
            let finding = Finding::new("insensitive", Severity::Info, SECTION, message, &advice)
                .with("share_of_variance", of_variance(i.fanova))
                .with("share_without_effect", of_variance(i.fanova_null))
                .with("share_for_best", i.ped_anova)
                .with("share_for_best_by_chance", i.ped_anova_null)
                .with("configurations", n as f64)
                .with("best", importance.best as f64);
            let experiment = space.clone().map(|space| Experiment::Changed { space, suffix: "fixed" });
            Finding { hyperparameter: Some(label), experiment, ..finding }
        })
        .collect()
}

/// Whether a distribution holds the value that switches a feature off.
fn has_zero(distribution: &Distribution) -> bool {
    match distribution {
        Distribution::Choice { values } => values
            .iter()
            .any(|value| value.as_f64() == Some(0.0) || ["false", "none"].contains(&value.to_string().as_str())),
        ranged => ranged.from_unit(0.0).as_f64() == Some(0.0),
    }
}

fn interactions(importance: &Importance) -> impl Iterator<Item = Finding> {
    importance.interactions.iter().filter(|pair| pair.is_supported()).map(|pair| {
        let [a, b] = &pair.hyperparameters;
        let message = format!(
            "{a} and {b} explain {} of the variance together, beyond what both explain alone. Without interactions, no \
             pair would reach more than {} in 95 % of studies like this one ({} configurations).",
            percent(pair.share),
            percent(pair.null),
            importance.configurations
        );
        let advice = format!("Re-tune {a} and {b} together: the best value of one depends on the other.");
        let finding = Finding::new("interaction", Severity::Info, SECTION, message, &advice)
            .with("share_of_variance", pair.share)
            .with("share_without_interaction", pair.null)
            .with("configurations", importance.configurations as f64);
        Finding { hyperparameter: Some(a.clone()), ..finding }
    })
}

/// The part of a range in which the best configurations lie.
struct Region<'a> {
    hyperparameter: &'a Hyperparameter,
    /// The least and the largest value among them.
    values: [f64; 2],
    /// The number of all configurations between these.
    inside: usize,
    /// The suggested range, and its width in u.
    range: Distribution,
    width: f64,
}

/// Suggests narrower ranges for the hyperparameters that matter for being among the best.
///
/// Ranges are widened before any is narrowed, so there is no experiment while a range can be widened.
fn good_region(evidence: &Evidence<'_>, importance: &Importance, boundaries: &[&Finding]) -> Vec<Finding> {
    let n = evidence.ranked.len();
    if n < LEAST {
        return vec![];
    }
    let good = importance.best.max(LEAST_GOOD).min(n);
    let regions: Vec<Region<'_>> = evidence
        .varied
        .iter()
        .zip(&importance.hyperparameters)
        .filter(|(_, importance)| importance.matters_for_best())
        .filter_map(|((h, _), _)| region(evidence, h, good, boundaries))
        .collect();
    let changes: Vec<(String, Role, Distribution)> =
        regions.iter().map(|r| (r.hyperparameter.label(), r.hyperparameter.role, r.range.clone())).collect();
    let mut wider: Vec<&str> = boundaries
        .iter()
        .filter(|finding| finding.experiment.is_some())
        .filter_map(|finding| finding.hyperparameter.as_deref())
        .collect();
    wider.dedup();
    let space = replaced(&evidence.definition.space, &changes).filter(|_| wider.is_empty());
    let first = match wider.is_empty() {
        true => "Once no range is too narrow, search".to_string(),
        false => format!("First widen the range of {}. Then search", wider.join(", ")),
    };
    let volume: f64 = regions.iter().map(|region| region.width).product();
    let finding = |region: &Region<'_>| {
        let label = region.hyperparameter.label();
        let [low, high] = region.values;
        let message = format!(
            "The best {good} of {n} configurations have {label} from {} to {}, where {} of all {n} lie.",
            number(low),
            number(high),
            region.inside
        );
        let advice = format!(
            "{first} the good region of all hyperparameters that matter for being among the best more densely: it is {} \
             of the space.",
            percent(volume)
        );
        let finding = Finding::new("good-region", Severity::Info, SECTION, message, &advice)
            .with("best", good as f64)
            .with("configurations", n as f64)
            .with("low", low)
            .with("high", high)
            .with("inside", region.inside as f64)
            .with("share_of_space", volume);
        let experiment = space.clone().map(|space| Experiment::Changed { space, suffix: "narrower" });
        Finding { hyperparameter: Some(label), experiment, ..finding }
    };
    regions.iter().map(finding).collect()
}

/// Returns where the best configurations lie. None for a list, and if they lie nearly everywhere. The region goes to an
/// end of the range at which the best configuration lies, or beyond which better ones may lie.
fn region<'a>(
    evidence: &Evidence<'_>,
    hyperparameter: &'a Hyperparameter,
    good: usize,
    boundaries: &[&Finding],
) -> Option<Region<'a>> {
    let distribution = &hyperparameter.distribution;
    if distribution.scale() == Scale::Categorical {
        return None;
    }
    let all: Vec<f64> = evidence.ranked.iter().filter_map(|(_, c)| evidence.u(hyperparameter, c)).collect();
    let best: Vec<f64> = evidence.ranked[..good].iter().filter_map(|(_, c)| evidence.u(hyperparameter, c)).collect();
    let [low, high] = best.iter().fold([1.0, 0.0], |[low, high]: [f64; 2], u| [low.min(*u), high.max(*u)]);
    // The good region ends beyond its outermost configurations, by about the distance between two of them.
    let margin = LEAST_MARGIN.max((high - low) / (best.len() as f64 - 1.0));
    if best.len() < LEAST_GOOD || high - low + 2.0 * margin > NARROW {
        return None;
    }
    let label = hyperparameter.label();
    let has_boundary =
        |end: End| boundaries.iter().any(|f| f.side == Some(end) && f.hyperparameter.as_ref() == Some(&label));
    let first = best[0];
    let from = if has_boundary(End::Low) || first < EDGE { 0.0 } else { (low - margin).max(0.0) };
    let to = if has_boundary(End::High) || first > 1.0 - EDGE { 1.0 } else { (high + margin).min(1.0) };
    let ends = [from, to];
    if to - from > NARROW + EDGE {
        return None;
    }
    let [a, b] = [low, high].map(|u| distribution.from_unit(u).as_f64().unwrap_or(f64::NAN));
    Some(Region {
        hyperparameter,
        // Of 1 − v, a large coordinate is a small value.
        values: [a.min(b), a.max(b)],
        inside: all.iter().filter(|u| (low..=high).contains(*u)).count(),
        range: part(distribution, ends)?,
        width: ends[1] - ends[0],
    })
}
