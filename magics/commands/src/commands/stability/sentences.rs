//! What the magic concludes, in sentences with their numbers.

use super::investigation::{Findings, Probe};
use super::plan::StabilityPlan;
use super::remedy::{TriedRemedy, clip_norm};
use crate::report::table::number;
use tunebook_analysis::{
    Difference, Edge, FIRST_FACTOR, InstabilityKind, Limit, LimitVerdict, NEAR, Onset, RateSweepResult, Remedy,
    WarmupOutcome, raises_steps,
};

/// A threshold that clips more than this share of the updates is too low (Playbook I13).
const MOST_CLIPPED: f64 = 0.5;

/// Returns all conclusions in order.
pub fn sentences(plan: &StabilityPlan, findings: &Findings) -> Vec<String> {
    let Some(sweep) = &findings.sweep else { return vec![] };
    let mut said = vec![best(plan, sweep), edge(plan, sweep)];
    said.extend(findings.limit.as_ref().map(|limit| limited(plan, sweep, limit)));
    said.extend(kind(plan, findings));
    said.extend(findings.probe.as_ref().map(probe));
    said.push(norms(plan, findings));
    said.extend(warmup(plan, findings));
    said.extend(findings.tried.iter().map(|tried| remedy(plan, findings, tried)));
    said
}

fn percent(share: f64) -> String {
    format!("{} %", number(100.0 * share))
}

fn best(plan: &StabilityPlan, sweep: &RateSweepResult) -> String {
    let objective = plan.objective();
    let shown = |minimized: f64| number(objective.direction.minimized(minimized));
    let Some(point) = sweep.best.and_then(|best| sweep.point(best)) else {
        return format!(
            "{} learning rates up to the edge were tried, and none of them learned anything. Give other rates with \
             `--range`.",
            sweep.points.len()
        );
    };
    let value = point.objective.map_or(String::new(), shown);
    let range = point.range.map_or(String::new(), |[a, b]| format!(", {} to {}", shown(a), shown(b)));
    let equal = sweep.equal.filter(|[low, high]| low < high).map_or(String::new(), |[low, high]| {
        format!(" Its seeds do not distinguish it from rates from {} to {}.", number(low), number(high))
    });
    let is_highest = sweep.edge.is_none() && sweep.best_lr == sweep.highest;
    let highest = if is_highest { " It is the highest rate that was tried." } else { "" };
    format!(
        "Best learning rate: {} ({} {value} in the median of {} seeds{range}).{equal}{highest}",
        number(point.lr),
        objective.metric,
        point.runs
    )
}

fn edge(plan: &StabilityPlan, sweep: &RateSweepResult) -> String {
    let Some(edge) = &sweep.edge else {
        let highest = sweep.highest.map_or("–".into(), number);
        let more = if plan.bounds[1] < plan.highest { " `--up-to LR` tries higher rates." } else { "" };
        return format!("No learning rate up to {highest} was unstable in most of its runs.{more}");
    };
    let Edge { unstable_lr, unstable: [bad, of], stable_lr, stable, interval, .. } = edge;
    let below =
        stable_lr.zip(*stable).map_or(String::new(), |(lr, [bad, of])| format!(", at {} {bad} of {of}", number(lr)));
    let bracket = match interval {
        [Some(low), Some(high)] => {
            format!(" Up to {} no run was unstable, and at {} all were.", number(*low), number(*high))
        }
        [Some(low), None] => format!(" Up to {} no run was unstable, and at no rate all were.", number(*low)),
        [None, _] => format!(" At each of the {} rates that were tried, some run was unstable.", sweep.points.len()),
    };
    format!("Edge of stability: at {} {bad} of {of} runs were unstable{below}.{bracket}", number(*unstable_lr))
}

fn interval(difference: &Difference) -> String {
    let interval = difference.interval.map(|[a, b]| format!(" (95 %: {} to {})", number(a), number(b)));
    format!("{}{}", number(difference.difference), interval.unwrap_or_default())
}

fn limited(plan: &StabilityPlan, sweep: &RateSweepResult, limit: &Limit) -> String {
    let objective = plan.objective();
    let side = |side: &Option<(f64, f64)>| {
        side.as_ref().map_or("not known, because no rate there learned anything".into(), |(lr, mean)| {
            format!("{} at {}", number(objective.direction.minimized(*mean)), number(*lr))
        })
    };
    let compared = format!(
        "The best mean {} within a factor of {NEAR} of the edge is {}. Farther below the edge it is {}{}.",
        objective.metric,
        side(&limit.near),
        side(&limit.far),
        limit.difference.as_ref().map_or(String::new(), |d| format!(
            ", a difference of {}: above 0 means that the rates farther below are worse",
            interval(d)
        ))
    );
    let ratio =
        sweep.best_lr.zip(sweep.edge.as_ref()).map_or(String::new(), |(lr, edge)| number(edge.unstable_lr / lr));
    match limit.verdict {
        LimitVerdict::Limited => format!(
            "Instability limits the learning rate (Playbook I7): the best rate is a factor of {ratio} below the edge. \
             {compared}"
        ),
        LimitVerdict::NotLimited => format!(
            "Instability does not limit the learning rate (Playbook I7): the best rate is a factor of {ratio} below \
             the edge. {compared}"
        ),
        LimitVerdict::CannotTell => format!(
            "The {} seeds are not enough to tell whether instability limits the learning rate (Playbook I7): the best \
             rate is a factor of {ratio} below the edge. {compared} Try more `--seeds`.",
            plan.seeds
        ),
    }
}

fn kind(plan: &StabilityPlan, findings: &Findings) -> Option<String> {
    let (kind, multiple, [early, later]) = findings.kind?;
    let counts: Vec<String> = [2.0, 5.0, 10.0]
        .into_iter()
        .filter_map(|multiple| {
            let runs: Vec<_> = findings.above.iter().filter(|run| run.multiple == multiple).collect();
            let rose = runs.iter().filter(|run| run.onset.is_some()).count();
            let ended = runs.iter().filter(|run| run.is_unstable).count();
            (!runs.is_empty()).then(|| {
                format!(
                    "at {multiple} × the best rate in {rose} of {} runs ({ended} diverged, or ended no better than an \
                     untrained model)",
                    runs.len()
                )
            })
        })
        .collect();
    if counts.is_empty() {
        return None;
    }
    let counts = format!("The training loss of runs above the best rate rose: {}.", counts.join("; "));
    let Some(multiple) = multiple else {
        return Some(format!("{counts} So at none of these did it rise in half of the runs."));
    };
    let onsets = || findings.above.iter().filter(|run| run.multiple == multiple).filter_map(|run| run.onset.as_ref());
    let first = onsets().map(|onset| onset.step).min().unwrap_or(0);
    let last = onsets().map(|onset| onset.step).max().unwrap_or(0);
    let steps = plan.steps.map_or(String::new(), |steps| format!(" of {steps}"));
    let when = match kind {
        InstabilityKind::Early => "Instability sets in early in training",
        InstabilityKind::Mid => "Instability sets in suddenly, after the first tenth of training",
        _ => "Instability sets in early in as many runs as later",
    };
    let help = match findings.rises_above_best() {
        true => {
            format!(
                " The loss already rises at {multiple} × the best rate, so a remedy for the instability may allow a \
                 better rate."
            )
        }
        false => String::new(),
    };
    Some(format!(
        "{counts} {when}: at {multiple} × the best rate, {early} runs in the first tenth of the steps and {later} later \
         (steps {first} to {last}{steps}; Playbook I8).{help}"
    ))
}

fn rise(onset: &Onset) -> String {
    let from = onset.from.map_or(String::new(), |from| format!(" from {}", number(from)));
    let to = onset.to.map_or(String::new(), |to| format!(" to {}", number(to)));
    format!("rose{from}{to} at step {}", onset.step)
}

fn probe(probe: &Probe) -> String {
    let said = match (&probe.onset, probe.is_unstable) {
        (Some(onset), true) => format!("the loss {}, and the run diverged", rise(onset)),
        (Some(onset), false) => format!("the loss {}", rise(onset)),
        (None, _) => format!(
            "the loss did not rise by more than its noise; it was {} at the start and {} at the end",
            probe.first.map_or("–".into(), number),
            probe.last.map_or("–".into(), number)
        ),
    };
    format!(
        "Early probe (Playbook I9): at {}, twice the best rate, evaluated at each of {} steps, {said}.",
        number(probe.lr),
        probe.losses.saturating_sub(1)
    )
}

fn norms(plan: &StabilityPlan, findings: &Findings) -> String {
    let Some(norms) = &findings.norms else {
        return "Gradient norms are not known: no run at the best rate reported the metric `gradient_norm`.".into();
    };
    let threshold = clip_norm(plan, findings).map_or("–".into(), number);
    let mut said = format!(
        "Gradient norms before clipping, {} of the best rate: median {}, 90th percentile {}, largest {}. The Playbook \
         starts with a threshold of {threshold} (I13); the 90th percentile clips {} of these updates",
        norms.steps,
        number(norms.p50),
        number(norms.p90),
        number(norms.max),
        percent(norms.clipped)
    );
    if let Some(share) = findings.clipped_above {
        said += &format!(", and {} at twice the best rate", percent(share));
    }
    said += ".";
    if let Some(share) = findings.clipped_by_own {
        said += &format!(" Your `clip_norm` clips {} of the updates", percent(share));
        said += &match share > MOST_CLIPPED {
            true => format!(
                ", more than {}: that is extremely aggressive, and a lower learning rate is better (I13).",
                percent(MOST_CLIPPED)
            ),
            false => ".".into(),
        };
    }
    said
}

fn warmup(plan: &StabilityPlan, findings: &Findings) -> Option<String> {
    let found = findings.warmup.as_ref()?;
    let (unstable, steps) = (findings.unstable_lr()?, plan.steps?);
    let base = number(FIRST_FACTOR * unstable);
    let lengths: Vec<String> = found.search.lengths.iter().map(u64::to_string).collect();
    Some(match &found.outcome {
        WarmupOutcome::Works { shortest, higher } => {
            let length = shortest.warmup_steps;
            let own = plan.value("warmup_steps").and_then(|own| own.as_i64()).and_then(|own| u64::try_from(own).ok());
            let after = steps.saturating_sub(own.unwrap_or(0));
            let mut said = format!(
                "Warm-up (Playbook I12): lengths of {} steps were tried. The shortest one with which {} of {} runs \
                 were stable at {base}, ten times the smallest unstable rate, is {length}. It comes before the other \
                 steps: {after} + {length} → `steps = {}`, `warmup_steps = {length}`.",
                lengths.join(", "),
                found.search.seeds,
                found.search.seeds,
                after + length
            );
            if let Some(higher) = higher {
                said += &format!(" With {} steps, even 100 times that rate is stable.", higher.warmup_steps);
            }
            if raises_steps(length, after) {
                said += &format!(
                    " That is {} of {after} steps, more than 5 %, so max_train_steps should be raised.",
                    percent(length as f64 / after as f64)
                );
            }
            said
        }
        WarmupOutcome::NeverWorks { longest: Some(_) } => format!(
            "Warm-up (Playbook I12): at {base}, ten times the smallest unstable rate, none of the lengths that were \
             tried was stable with {} seeds ({} steps; the longest is a tenth of {steps}).",
            found.search.seeds,
            lengths.join(", ")
        ),
        WarmupOutcome::NeverWorks { longest: None } => {
            format!("Warm-up (Playbook I12): a tenth of {steps} steps is less than one step, so none can be tried.")
        }
        WarmupOutcome::Unfinished => {
            format!("Warm-up (Playbook I12): the search was not finished after {} runs at {base}.", found.runs.len())
        }
    })
}

/// The name of a remedy.
pub fn name(remedy: Remedy) -> &'static str {
    match remedy {
        Remedy::Warmup => "warm-up",
        Remedy::Clipping => "gradient clipping",
        Remedy::Optimizer => "another optimizer",
        Remedy::Normalization => "x + f(norm(x)) instead of norm(x + f(x))",
        Remedy::ZeroInit => "residual branches that start at zero",
        Remedy::LowerRate => "a lower learning rate",
    }
}

fn remedy(plan: &StabilityPlan, findings: &Findings, tried: &TriedRemedy) -> String {
    let changed: Vec<String> = tried.variant.changed.iter().map(|(name, value)| format!("{name} = {value}")).collect();
    let objective = plan.objective();
    let best = |sweep: Option<&RateSweepResult>| {
        let point = sweep.and_then(|sweep| sweep.point(sweep.best?));
        point.map_or("nothing learned".into(), |point| {
            let value = point.objective.map_or("–".into(), |value| number(objective.direction.minimized(value)));
            format!("{value} at {}", number(point.lr))
        })
    };
    let gain = match &tried.effect.gain {
        Some(gain) => {
            let in_as_many = tried.control.map_or(String::new(), |control| {
                let control = number(objective.direction.minimized(control));
                format!(" ({control} in the mean at that rate with as many steps)")
            });
            format!("{in_as_many}, a gain of {}", interval(gain))
        }
        None => String::new(),
    };
    let edge = match tried.effect.edge_factor {
        Some([Some(least), Some(most)]) => {
            format!(" The edge is {} to {} times that without it.", number(least), number(most))
        }
        Some([Some(least), None]) => format!(" The edge is at least {} times that without it.", number(least)),
        _ => String::new(),
    };
    let verdict = match (tried.effect.improves, tried.effect.moves_edge) {
        (true, _) => "It helps: the 95 % interval of the gain is above 0.",
        (false, true) => {
            "It raises the edge by more than its uncertainty, but the 95 % interval of the gain is not above 0."
        }
        (false, false) => {
            "It is not shown to help: the 95 % interval of the gain is not above 0, nor is the edge higher by more than \
             its uncertainty."
        }
    };
    let clipped = tried.clipped.map_or(String::new(), |share| {
        let much = if share > MOST_CLIPPED { ", more than 50 %: lower the learning rate instead (I13)" } else { "" };
        format!(" It clipped {} of the updates{much}.", percent(share))
    });
    format!(
        "Tried {} ({}) with {} seeds: best {} {}, without it {}{gain}.{edge}{clipped} {verdict}",
        name(tried.remedy),
        changed.join(", "),
        plan.seeds,
        objective.metric,
        best(Some(&tried.sweep)),
        best(findings.sweep.as_ref())
    )
}
