//! The result of `%steps WORKLOAD` in words, as a table, and as JSON; and the cell that comes next.

use super::plan::{StepsOptions, StepsPlan, rounded};
use super::trials::Trained;
use crate::report::table::{Rows, number, number_or_dash, value};
use crate::report::{Report, table};
use crate::syntax::Arguments;
use serde_json::json;
use tunebook_analysis::{FitTrial, InitialSteps, NoInitialSteps, Side};
use tunebook_charts::StepsCaption;
use tunebook_study::{TrialState, WorkloadDescription};

/// The longer attempt after one in which no trial fits takes so many times the steps.
const LONGER: u64 = 4;
/// The first sweep searches the learning rate up to this factor above and below the fastest one.
const AROUND: f64 = 10.0;
/// The optimizers that have a hyperparameter `momentum`.
const WITH_MOMENTUM: [&str; 3] = ["momentum", "nesterov", "rmsprop"];

pub fn report(plan: &StepsPlan, workload: &str, trained: &Trained, notes: &[String], next: Option<&str>) -> Report {
    let found = trained.found();
    let fastest = found.fastest.as_ref();
    let reason = found.steps.as_ref().err().map(|why| reason(plan, trained, &found, why));
    let switched_off: serde_json::Map<String, serde_json::Value> =
        plan.switched_off.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    let fields = json!({
        "workload": workload, "name": plan.name, "max_train_steps": found.steps.as_ref().ok(),
        "interval": found.interval, "learning_rate": fastest.map(|fastest| fastest.learning_rate),
        "at_boundary": found.edge.is_some(), "side": found.edge.map(side), "reason": reason,
        "metric": plan.rule.metric, "fit": plan.rule.at_most, "steps": plan.steps, "every": plan.every,
        "growth": plan.rule.growth,
        "fastest": fastest, "grid": trained.grid, "seeds": trained.seeds, "widened": trained.widenings,
        "switched_off": switched_off, "not_switched_off": plan.remains, "next_cell": next,
    });
    let mut report = Report::new("steps", &fields);
    for note in notes {
        report = report.line(note);
    }
    for sentence in sentences(plan, trained, &found, reason) {
        report = report.line(&sentence);
    }
    report = report.table(&rows(plan, trained));
    if let Some(next) = next {
        report = report.line("The next cell:").code(next);
    }
    let caption = StepsCaption {
        name: &plan.name,
        metric: &plan.rule.metric,
        at_most: plan.rule.at_most,
        limit: plan.steps,
        note: "",
    };
    report.chart(tunebook_charts::steps(&caption, &trained.grid, &trained.seeds, &found))
}

fn side(side: Side) -> &'static str {
    match side {
        Side::Low => "low",
        Side::High => "high",
    }
}

/// Says why there is no number of steps.
fn reason(plan: &StepsPlan, trained: &Trained, found: &InitialSteps, why: &NoInitialSteps) -> String {
    let (metric, limit) = (&plan.rule.metric, plan.steps);
    let rate = found.fastest.as_ref().map_or(f64::NAN, |fastest| fastest.learning_rate);
    match why {
        NoInitialSteps::NothingMeasured => {
            let because = trained.failure.as_ref().map_or(String::new(), |reason| format!(": {reason}"));
            format!("none of {} trials is complete{because}", trained.grid.len())
        }
        NoInitialSteps::NoneFits => {
            let best = trained.grid.iter().find(|t| Some(t.trial) == found.fastest.as_ref().map(|f| f.trial));
            let (least, step) = best.and_then(|best| best.least).unwrap_or((f64::NAN, 0));
            format!(
                "none of {} learning rates fits within {limit} steps; the closest, {}, has its least {metric}, {}, at \
                 step {step}, and a fit needs two evaluations in a row",
                trained.grid.len(),
                number(rate),
                number(least)
            )
        }
        NoInitialSteps::AtBoundary(side) => format!(
            "the fastest learning rate, {}, is the {} of {} that were tried{}, so a faster one may lie beyond it",
            number(rate),
            if *side == Side::Low { "least" } else { "largest" },
            trained.grid.len(),
            match trained.widenings {
                0 => String::new(),
                n => format!(", although the grid was widened {n} times"),
            }
        ),
        NoInitialSteps::HalfOfSeeds { fit, seeds } => format!(
            "only {fit} of {seeds} additional seeds of the fastest learning rate, {}, fit within {limit} steps",
            number(rate)
        ),
        NoInitialSteps::NoSeeds => {
            format!("the additional seeds of the fastest learning rate, {}, have not been trained", number(rate))
        }
    }
}

fn sentences(plan: &StepsPlan, trained: &Trained, found: &InitialSteps, reason: Option<String>) -> Vec<String> {
    let mut sentences = vec![];
    let limit = if plan.rule.at_most == 0.0 { "0".into() } else { format!("at most {}", number(plan.rule.at_most)) };
    let rule = format!("{} is {limit} at two evaluations in a row", plan.rule.metric);
    let distance = match (plan.rule.growth, plan.every) {
        (Some(growth), _) => format!("{:.0} %", 100.0 * growth),
        (None, every) => format!("{} steps", every.unwrap_or(1)),
    };
    match (&found.steps, &found.fastest) {
        (Ok(steps), Some(fastest)) => {
            let seeds = trained.seeds.len();
            let interval = match found.interval {
                Some(interval) => format!(" (at least 95 %: {})", table::open_interval_or_dash(Some(interval))),
                None => " (six seeds or more give an interval)".into(),
            };
            sentences.push(format!(
                "Initial max_train_steps: {steps}{interval}. This is the median over {seeds} seeds of the steps until {rule}, \
                 at the fastest of {} constant learning rates, {}. Steps are known to within {distance}, \
                 the distance of two evaluations.",
                trained.grid.len(),
                number(fastest.learning_rate)
            ));
            if let Some(lucky) = fastest.steps {
                sentences.push(format!(
                    "In the grid that learning rate took {lucky} steps. It was chosen because it was fast there, so \
                     this number is too low on average. Only the additional seeds count."
                ));
            }
            sentences.push(
                "Train rather too long than too short. With frequent evaluations you find the best checkpoint \
                 afterwards, so additional steps cost only time (Playbook G4)."
                    .into(),
            );
            sentences.push(
                "Raise the number when the gradient gets noisier (smaller batch, augmentation, dropout); a better \
                 optimizer or schedule may lower it (Playbook G7)."
                    .into(),
            );
        }
        _ => {
            let reason = reason.unwrap_or_default();
            sentences.push(format!("There is no initial number of steps: {reason} (Playbook G5)."));
        }
    }
    if trained.widenings > 0 && found.edge.is_none() {
        let times = if trained.widenings == 1 { "once" } else { "twice" };
        sentences.push(format!("The grid was widened {times}, because its fastest learning rate was at an edge."));
    }
    let off: Vec<String> = plan.switched_off.iter().map(|(name, v)| format!("{name} = {}", value(v))).collect();
    if !off.is_empty() {
        sentences.push(format!("Set for these trials: {}.", off.join(", ")));
    }
    if !plan.remains.is_empty() {
        sentences.push(format!("Not switched off, because no value does so: {}.", plan.remains.join(", ")));
    }
    if found.steps == Err(NoInitialSteps::NoneFits) {
        sentences.push(
            "The model may hold regularization that no hyperparameter switches off, or be too small; `--fit EPS` accepts \
             a larger training error."
                .into(),
        );
    }
    sentences
}

fn rows(plan: &StepsPlan, trained: &Trained) -> Rows {
    let mut rows =
        Rows::new(&["learning rate", "trial", "state", "steps to fit", &format!("least {}", plan.rule.metric)]);
    let mut grid: Vec<&FitTrial> = trained.grid.iter().collect();
    grid.sort_by(|a, b| a.learning_rate.total_cmp(&b.learning_rate));
    for (trials, study) in [(grid, ""), (trained.seeds.iter().collect(), " (additional seed)")] {
        for trial in trials {
            let steps = match (trial.steps, trial.state) {
                (Some(steps), _) => steps.to_string(),
                (None, TrialState::Complete) => format!("not in {}", plan.steps),
                (None, _) => "–".into(),
            };
            rows.row(vec![
                number(trial.learning_rate),
                format!("{}{study}", trial.trial),
                trial.state.to_string(),
                steps,
                number_or_dash(trial.least.map(|(value, _)| value)),
            ]);
        }
    }
    rows
}

/// The cell that comes next: a first sweep with the number of steps, or another attempt to find it.
pub fn next_cell(
    arguments: &Arguments,
    options: &StepsOptions,
    plan: &StepsPlan,
    trained: &Trained,
    description: &WorkloadDescription,
) -> Option<String> {
    if trained.stopped.is_some() || trained.missing > 0 {
        return None;
    }
    let found = trained.found();
    let rate = found.fastest.as_ref()?.learning_rate;
    let workload = &options.settings[0].text;
    let set: Vec<&str> = options.settings[1..].iter().map(|word| word.text.as_str()).collect();
    let again = |steps: u64, name: String, more: &str| {
        let mut line = format!("%steps {workload} --steps {steps}{more} --name {name}");
        for option in ["rates", "repeats", "fit", "seed", "parallel"] {
            if let Some(word) = arguments.option(option) {
                line += &format!(" --{option} {}", word.text);
            }
        }
        for set in &set {
            line += &format!(" --set {}", shell_words::quote(set));
        }
        line
    };
    let range = |[low, high]: [f64; 2]| format!(" --lr {}..{}", rounded(low), rounded(high));
    let (low, high) = trained
        .grid
        .iter()
        .fold((f64::INFINITY, 0.0), |(a, b): (f64, f64), t| (a.min(t.learning_rate), b.max(t.learning_rate)));
    match &found.steps {
        Ok(steps) => {
            let fixed = |name: &str| plan.grid.space.hyperparameters().iter().find(|h| h.name == name);
            let optimizer = match fixed("optimizer").map(|h| h.distribution.to_string()) {
                Some(set) => set,
                None => description.hyperparameter("optimizer").map_or(String::new(), |h| h.default.to_string()),
            };
            let mut text = format!("%%sweep {workload}-first --trials 20\nworkload {workload}\n");
            text += &format!("nuisance lr ~ loguniform({}, {})\n", rounded(rate / AROUND), rounded(rate * AROUND));
            let is_set = |name: &str| set.iter().any(|set| set.split('=').next().is_some_and(|n| n.trim() == name));
            let has_momentum = WITH_MOMENTUM.iter().any(|name| optimizer.contains(name));
            if has_momentum && !is_set("momentum") && description.hyperparameter("momentum").is_some() {
                text += "nuisance momentum ~ 1 - loguniform(1e-3, 1)\n";
            }
            text += &format!("fixed steps = {steps}\nfixed eval_every = {}\n", (steps / 25).max(1));
            for set in &set {
                let Some((name, value)) = set.split_once('=') else { continue };
                if !["steps", "eval_every"].contains(&name.trim()) {
                    text += &format!("fixed {} = {}\n", name.trim(), value.trim());
                }
            }
            let objective = &description.objective;
            Some(text + &format!("{} {}", objective.direction, objective.metric))
        }
        Err(NoInitialSteps::NoneFits | NoInitialSteps::HalfOfSeeds { .. }) => {
            let steps = plan.steps.saturating_mul(LONGER);
            Some(again(steps, format!("{workload}-steps-{steps}"), &range([low, high])))
        }
        Err(NoInitialSteps::AtBoundary(side)) => {
            let (far, near) = (1000.0, 10.0);
            let ends = if *side == Side::Low { [low / far, low * near] } else { [high / near, high * far] };
            let name = format!("{}-{}", plan.name, if *side == Side::Low { "lower" } else { "higher" });
            Some(again(plan.steps, name, &range(ends)))
        }
        Err(NoInitialSteps::NothingMeasured | NoInitialSteps::NoSeeds) => None,
    }
}
