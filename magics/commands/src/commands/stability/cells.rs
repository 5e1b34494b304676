//! The cells that are offered: the sweeps that follow from what was found.

use super::investigation::Findings;
use super::plan::{StabilityPlan, Variant};
use super::remedy::{self, TriedRemedy};
use crate::commands::insight::sweep_cell;
use tunebook_analysis::{LimitVerdict, Remedy, remedies};

/// The number of configurations of an offered sweep.
const CONFIGURATIONS: u32 = 20;
/// An offered sweep begins at the best rate divided by this, and ends at most at the best or base rate times this.
const MARGIN: f64 = 10.0;

/// Returns the remedies in order, each with its cell where a sweep can try it.
pub fn cells(plan: &StabilityPlan, findings: &Findings) -> Vec<(Remedy, Option<String>)> {
    remedies(findings.kind()).into_iter().map(|remedy| (remedy, cell_of(plan, findings, remedy))).collect()
}

fn cell_of(plan: &StabilityPlan, findings: &Findings, remedy: Remedy) -> Option<String> {
    let (best, unstable) = (findings.best_lr()?, findings.unstable_lr()?);
    let (variant, high) = match remedy {
        Remedy::LowerRate => {
            let stable = findings.sweep.as_ref()?.edge.as_ref()?.stable_lr?;
            (Variant { suffix: "stable".into(), changed: vec![] }, stable)
        }
        _ => (remedy::variant(plan, findings, remedy)?, unstable * MARGIN),
    };
    let range = match remedy {
        // The rates of adam are other ones.
        Remedy::Optimizer => [tunebook_analysis::rate(plan.first[0]), tunebook_analysis::rate(plan.first[1])],
        _ => [best / MARGIN, high],
    };
    cell(plan, &variant, range)
}

/// Returns the cell that is offered as the next input.
pub fn next_cell(plan: &StabilityPlan, findings: &Findings) -> Option<String> {
    let best = findings.best_lr()?;
    if let Some(tried) = findings.tried.iter().find(|tried| tried.effect.helps()) {
        return cell_of_tried(plan, tried);
    }
    let verdict = findings.limit.as_ref().map(|limit| limit.verdict);
    if matches!(verdict, Some(LimitVerdict::Limited | LimitVerdict::CannotTell)) {
        let was_tried = |remedy: Remedy| findings.tried.iter().any(|tried| tried.remedy == remedy);
        let open = cells(plan, findings);
        let open = open.into_iter().filter(|(remedy, _)| !was_tried(*remedy) && !is_hopeless(findings, *remedy));
        return open.filter_map(|(_, cell)| cell).next();
    }
    let stable = findings.sweep.as_ref().and_then(|sweep| sweep.edge.as_ref()?.stable_lr);
    let high = stable.map_or(best * MARGIN, |stable| stable.min(best * MARGIN));
    cell(plan, &Variant { suffix: "tuned".into(), changed: vec![] }, [best / MARGIN, high])
}

/// Whether the search found that no length of warm-up reaches ten times the smallest unstable rate.
pub fn is_hopeless(findings: &Findings, remedy: Remedy) -> bool {
    remedy == Remedy::Warmup && findings.warmup.as_ref().is_some_and(|warmup| warmup.shortest().is_none())
}

/// Returns the sweep around the best rate with a remedy.
fn cell_of_tried(plan: &StabilityPlan, tried: &TriedRemedy) -> Option<String> {
    let best = tried.sweep.best_lr?;
    let stable = tried.sweep.edge.as_ref().and_then(|edge| edge.stable_lr);
    let high = stable.map_or(best * MARGIN, |stable| stable.min(best * MARGIN));
    cell(plan, &tried.variant, [best / MARGIN, high])
}

fn cell(plan: &StabilityPlan, variant: &Variant, rates: [f64; 2]) -> Option<String> {
    let definition = plan.sweep(variant, rates)?;
    let name = format!("{}-{}", plan.workload.description.name, variant.suffix);
    Some(sweep_cell(&name, &definition, CONFIGURATIONS, ""))
}
