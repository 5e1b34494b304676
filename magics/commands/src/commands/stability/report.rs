//! The report: the JSON result, the conclusions, the table of learning rates, and the remedies with their cells.

use super::cells::{cells, is_hopeless, next_cell};
use super::investigation::Findings;
use super::plan::{StabilityPlan, trial_number};
use super::remedy::clip_norm;
use super::sentences::{name, sentences};
use crate::report::Report;
use crate::report::table::{Rows, number};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tunebook_analysis::{GradientNorms, Limit, RatePoint, RateSweepResult, raises_steps};
use tunebook_charts::StabilityFigure;

/// Returns the report, and the cell that is offered as the next input.
pub fn report(
    plan: &StabilityPlan,
    findings: &Findings,
    figure: &StabilityFigure,
    is_interrupted: bool,
    problem: Option<&str>,
) -> (Report, Option<String>) {
    let remedies = cells(plan, findings);
    let next = next_cell(plan, findings);
    let mut fields = fields(plan, findings);
    fields["next_cell"] = json!(next);
    fields["remedies"] = remedies
        .iter()
        .map(|(remedy, cell)| {
            let tried = findings.tried.iter().find(|tried| tried.remedy == *remedy);
            json!({
                "remedy": remedy, "name": name(*remedy), "next_cell": cell,
                "tried": tried.map(|tried| json!({
                    "set": tried.variant.changed.iter().cloned().collect::<BTreeMap<_, _>>(),
                    "best_lr": tried.sweep.best_lr,
                    "unstable_lr": tried.sweep.edge.as_ref().map(|edge| edge.unstable_lr),
                    "control": raw(plan, tried.control), "effect": tried.effect,
                    "helps": tried.effect.helps(), "clipped": tried.clipped,
                })),
            })
        })
        .collect();
    let mut report = Report::new("stability", &fields);
    if let Some(problem) = problem {
        report = report.line(problem);
    }
    if is_interrupted {
        report = report.line(
            "Interrupted. Run the same cell again to continue. These results come from the trials that have ended.",
        );
    }
    for sentence in sentences(plan, findings) {
        report = report.line(&sentence);
    }
    if findings.may_be_limited() || !findings.tried.is_empty() {
        report = report.line(
            "Remedies in the order in which to try them (Playbook I11); `--fix` tries those that are hyperparameters:",
        );
        let mut rows = Rows::new(&["order", "remedy", "how"]).with_sentences();
        for (i, (remedy, cell)) in remedies.iter().enumerate() {
            let tried = findings.tried.iter().find(|tried| tried.remedy == *remedy);
            let how = match (tried, cell) {
                (Some(tried), _) if tried.effect.helps() => "was tried and helps",
                (Some(_), _) => "was tried and does not help",
                (None, _) if is_hopeless(findings, *remedy) => "no length was stable at ten times the edge",
                (None, Some(_)) => "the sweep is in the result, field `remedies`",
                (None, None) => "change the model, if it has such a part",
            };
            rows.row(vec![(i + 1).to_string(), name(*remedy).into(), how.into()]);
        }
        report = report.table(&rows);
    }
    if let Some(sweep) = &findings.sweep {
        report = report.table(&rows(plan, sweep));
    }
    if let Some(next) = &next {
        report = report.line("The next cell:").code(next);
    }
    let mut figure = figure.clone();
    figure.subtitle = format!(
        "{} runs; crosses: unstable; losses and norms are of one seed, the histogram is of all",
        figure.runs.len()
    );
    (report.chart(tunebook_charts::stability(&figure)), next)
}

/// A value to minimize with the sign that runs report.
fn raw(plan: &StabilityPlan, minimized: Option<f64>) -> Option<f64> {
    minimized.map(|value| plan.objective().direction.minimized(value))
}

fn fields(plan: &StabilityPlan, findings: &Findings) -> Value {
    let objective = plan.objective();
    let raw = |minimized| raw(plan, minimized);
    let sweep = findings.sweep.as_ref();
    let norms = findings.norms.as_ref();
    let of = |part: fn(&GradientNorms) -> f64| norms.map(part);
    let warmup = findings.warmup.as_ref().and_then(|warmup| warmup.shortest()).map(|found| found.warmup_steps);
    // No warm-up is needed where instability limits nothing, or sets in later.
    let needs_none = findings.kind.is_some() && !findings.may_need_warmup() && plan.has("warmup_steps");
    let points: Vec<Value> = sweep.iter().flat_map(|sweep| &sweep.points).map(|p| point(plan, p)).collect();
    let limit = findings.limit.as_ref().map(|found| limit(plan, found));
    let kind = findings.kind.map(|(kind, multiple, [early, later])| {
        json!({
            "kind": kind, "multiple": multiple, "early": early, "later": later,
        })
    });
    let probe = findings.probe.as_ref().map(|probe| json!({
        "lr": probe.lr, "steps": probe.losses.saturating_sub(1), "unstable": probe.is_unstable, "onset": probe.onset,
    }));
    json!({
        "workload": plan.workload.description.name, "study": plan.name, "params": plan.params,
        "objective": objective.metric, "steps": plan.steps, "seeds": plan.seeds,
        "best_lr": sweep.and_then(|sweep| sweep.best_lr),
        "best_objective": sweep.and_then(|sweep| raw(sweep.point(sweep.best?)?.objective)),
        "equal_lr": sweep.and_then(|sweep| sweep.equal),
        "unstable_lr": findings.unstable_lr(), "edge": sweep.and_then(|sweep| sweep.edge.as_ref()),
        "highest_lr": sweep.and_then(|sweep| sweep.highest),
        "limit": limit, "instability": kind, "above": findings.above, "probe": probe,
        "gradient_norm": {
            "p50": of(|n| n.p50), "p90": of(|n| n.p90), "max": of(|n| n.max), "steps": norms.map(|n| n.steps),
            "histogram": norms.map(|n| json!({ "edges": n.histogram.0, "counts": n.histogram.1 })),
        },
        "advice": {
            "warmup_steps": warmup.or(needs_none.then_some(0)), "clip_norm": clip_norm(plan, findings),
            "clipped": of(|n| n.clipped), "clipped_at_twice_best": findings.clipped_above,
            "clipped_by_own": findings.clipped_by_own,
            "raise_steps": warmup.zip(plan.steps).map(|(warmup, steps)| raises_steps(warmup, steps)),
        },
        "warmup_search": findings.warmup.as_ref().map(|warmup| json!({
            "lengths": warmup.search.lengths, "runs": warmup.runs,
        })),
        "points": points,
    })
}

fn point(plan: &StabilityPlan, point: &RatePoint) -> Value {
    let range = point.range.map(|ends| {
        let [a, b] = ends.map(|end| plan.objective().direction.minimized(end));
        [a.min(b), a.max(b)]
    });
    json!({
        "lr": point.lr, "runs": point.runs, "unstable": point.unstable, "objective": raw(plan, point.objective),
        "range": range, "first_trial": trial_number(point.index, 0),
    })
}

fn limit(plan: &StabilityPlan, limit: &Limit) -> Value {
    let (near, far) = (limit.near, limit.far);
    json!({
        "verdict": limit.verdict, "near_lr": near.map(|near| near.0), "near": raw(plan, near.map(|near| near.1)),
        "far_lr": far.map(|far| far.0), "far": raw(plan, far.map(|far| far.1)),
        "worse_by": limit.difference.map(|d| d.difference), "interval": limit.difference.and_then(|d| d.interval),
    })
}

fn rows(plan: &StabilityPlan, sweep: &RateSweepResult) -> Rows {
    let objective = plan.objective();
    let shown = |minimized: f64| number(objective.direction.minimized(minimized));
    let mut rows = Rows::new(&["lr", "runs", "unstable", &objective.metric, "range"]);
    for point in &sweep.points {
        rows.row(vec![
            number(point.lr),
            point.runs.to_string(),
            point.unstable.to_string(),
            match point.objective {
                Some(value) => shown(value),
                None if point.unstable < point.runs => "learned nothing".into(),
                None => "–".into(),
            },
            point.range.map_or("–".into(), |[a, b]| format!("{} to {}", shown(a), shown(b))),
        ]);
    }
    rows
}
