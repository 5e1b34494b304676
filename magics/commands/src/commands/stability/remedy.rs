//! The remedies that can be tried through hyperparameters: what each changes, and a sweep with it.

use super::display::StabilityDisplay;
use super::investigation::Findings;
use super::plan::{StabilityPlan, Variant, whole};
use super::trials::Trials;
use crate::error::Result;
use tunebook_analysis::{RateSweep, RateSweepResult, Remedy, RemedyEffect, RunEnd, SeedValues, remedy_effect};
use tunebook_study::Value;

/// The first pass of a sweep with a remedy begins so many rates below the best one: half a decade.
const BELOW_BEST: i32 = 10;
/// And ends so many rates above the edge: a decade.
const ABOVE_EDGE: i32 = 20;
/// The optimizers that adapt the step of each parameter. The Playbook has seen Adam cope with what momentum cannot.
const ADAPTIVE: [&str; 3] = ["adam", "adamw", "nadam"];

/// A remedy that was tried.
pub struct TriedRemedy {
    pub remedy: Remedy,
    pub variant: Variant,
    pub sweep: RateSweepResult,
    /// The mean objective without the remedy in as many steps, as a value to minimize, if the remedy adds steps.
    pub control: Option<f64>,
    pub effect: RemedyEffect,
    /// The share of clipped updates at the best rate, with clipping.
    pub clipped: Option<f64>,
}

/// Returns what a remedy changes. None if it cannot be tried through hyperparameters.
pub fn variant(plan: &StabilityPlan, findings: &Findings, remedy: Remedy) -> Option<Variant> {
    match remedy {
        Remedy::Warmup => {
            let warmup = findings.warmup.as_ref();
            let length = warmup.map(|warmup| {
                warmup.shortest().map(|candidate| candidate.warmup_steps).or(warmup.search.lengths.last().copied())
            });
            let length = length.flatten()?;
            Some(Variant { suffix: format!("warmup{length}"), changed: with_warmup(plan, length)? })
        }
        Remedy::Clipping if plan.has("clip_norm") => {
            let threshold = clip_norm(plan, findings)?;
            let suffix = format!("clip{threshold}");
            Some(Variant { suffix, changed: vec![("clip_norm", Value::Float(threshold))] })
        }
        Remedy::Optimizer => {
            let current = plan.value("optimizer")?;
            if ADAPTIVE.contains(&current.as_str()?) {
                return None;
            }
            let adam = Value::from("adam");
            let known = plan.workload.description.hyperparameter("optimizer")?;
            known.accept(&adam).ok()?;
            Some(Variant { suffix: "adam".into(), changed: vec![("optimizer", adam)] })
        }
        _ => None,
    }
}

/// Returns the hyperparameters with a warm-up that is prepended: the steps after it are as many as without.
pub fn with_warmup(plan: &StabilityPlan, length: u64) -> Option<Vec<(&'static str, Value)>> {
    let own = plan.value("warmup_steps").and_then(|own| u64::try_from(own.as_i64()?).ok())?;
    let steps = plan.steps?.saturating_sub(own) + length;
    Some(vec![("warmup_steps", whole(length)), ("steps", whole(steps))])
}

/// Returns the threshold to clip at: the 90th percentile of the norms, or half of the user's own threshold if that is
/// smaller (Playbook I13: tune it down).
pub fn clip_norm(plan: &StabilityPlan, findings: &Findings) -> Option<f64> {
    let p90 = findings.norms.as_ref().map(|norms| norms.p90).filter(|p90| *p90 > 0.0)?;
    let own = plan.value("clip_norm").and_then(|clip| clip.as_f64()).filter(|clip| *clip > 0.0);
    let threshold = own.map_or(p90, |own| p90.min(own / 2.0));
    format!("{threshold:.2e}").parse().ok()
}

/// Sweeps the learning rate with a remedy, and compares. None if the user interrupted it.
pub fn try_out(
    trials: &Trials<'_>,
    display: &mut StabilityDisplay<'_>,
    remedy: Remedy,
    variant: &Variant,
    before: &RateSweepResult,
) -> Result<Option<TriedRemedy>> {
    let plan = trials.plan;
    let edge = before.edge.as_ref().map_or(plan.first[1], |edge| edge.index);
    let first = match (remedy, before.best) {
        (Remedy::Optimizer, _) | (_, None) => plan.first,
        (_, Some(best)) => [best - BELOW_BEST, edge + ABOVE_EDGE],
    };
    let bounds = [plan.bounds[0], plan.bounds[1].max(edge + ABOVE_EDGE).min(plan.highest)];
    let first = first.map(|index| index.clamp(bounds[0], bounds[1]));
    let rates = RateSweep { first, bounds, seeds: plan.seeds, looks_above: false };
    let (runs, is_interrupted) = trials.sweep(variant, &rates, display)?;
    if is_interrupted {
        return Ok(None);
    }
    let sweep = rates.result(&runs);
    let control = match (remedy, before.best) {
        (Remedy::Warmup, Some(best)) => {
            let Some(control) = as_many_steps(trials, display, variant, best)? else { return Ok(None) };
            Some(control).filter(|seeds| seeds.0.len() >= 2)
        }
        _ => None,
    };
    // The learning rates of two optimizers mean different things.
    let effect = remedy_effect(before, &sweep, control.clone(), remedy != Remedy::Optimizer);
    let clipped = match (remedy, sweep.best) {
        (Remedy::Clipping, Some(best)) => trials.curves(variant, best, 0)?.and_then(|curves| curves.clipped),
        _ => None,
    };
    let control = control.map(|seeds| seeds.mean());
    Ok(Some(TriedRemedy { remedy, variant: variant.clone(), sweep, control, effect, clipped }))
}

/// Trains at the best rate without the remedy, for as many steps as with it: a warm-up is prepended, and more steps
/// alone may be better. Returns the objectives, as values to minimize. None if the user interrupted it.
fn as_many_steps(
    trials: &Trials<'_>,
    display: &mut StabilityDisplay<'_>,
    variant: &Variant,
    best: i32,
) -> Result<Option<SeedValues>> {
    let steps: Vec<(&'static str, Value)> =
        variant.changed.iter().filter(|(name, _)| *name == "steps").cloned().collect();
    let longer = Variant { suffix: format!("longer-{}", variant.suffix), changed: steps };
    let wanted: Vec<(i32, u32)> = (0..trials.plan.seeds).map(|seed| (best, seed)).collect();
    if trials.run(&longer, &wanted, display)? {
        return Ok(None);
    }
    let runs = trials.runs(&longer)?;
    let learned = runs.iter().filter(|run| run.index == best).filter_map(|run| match run.end {
        RunEnd::Learned(objective) => Some(objective),
        _ => None,
    });
    Ok(Some(SeedValues(learned.collect())))
}
