//! The samplers against Optuna's on functions whose minimum is known. A Python script (`measure/samplers.py`) asks both
//! for configurations; ours come from this program, which answers on its standard output.

use super::{Line, python};
use anyhow::{Context, Result, bail};
use serde_json::{Value as Json, json};
use std::io::{BufRead, Write};
use tunebook_study::sampler::{Proposals, SamplerKind};
use tunebook_study::*;

/// The number of seeds, unless `--seeds N` says another.
const SEEDS: &str = "20";

pub fn lines(arguments: &[String]) -> Result<Vec<Line>> {
    let seeds = arguments.iter().skip_while(|word| *word != "--seeds").nth(1).map_or(SEEDS, String::as_str);
    let functions = arguments.iter().skip_while(|word| *word != "--functions").nth(1);
    println!("samplers: regret on known functions, {seeds} seeds (Optuna's Gaussian process takes most of the time) …");
    let program = std::env::current_exe()?.display().to_string();
    let functions: Vec<&str> = functions.map(|names| names.split(',').collect()).unwrap_or_default();
    let measured = python("samplers.py", &[&[program.as_str(), seeds], functions.as_slice()].concat())?;
    let version = measured["version"].as_str().unwrap_or("?").to_string();
    let results = measured["results"].as_array().context("no results")?;
    let text = |result: &Json, field: &str| result[field].as_str().unwrap_or("?").to_string();
    let mut lines = vec![];
    for result in results {
        let number = |value: &Json| value.as_f64().unwrap_or(f64::NAN);
        let at = format!("{}, batch {}", text(result, "function"), result["batch"]);
        let trials = result["trials"].as_u64().unwrap_or_default();
        let peer = text(result, "peer");
        let line = |what: &str, ours: f64, theirs: f64, unit: &'static str, remark: &str| Line {
            what: format!("{at}, {what}"),
            ours,
            peer: format!("{peer} {version}{remark}"),
            theirs: Some(theirs),
            unit,
            target: None,
        };
        let p = format!(", worse with p = {:.3}", number(&result["p"]));
        lines.push(line(&format!("regret at {trials}"), number(&result["ours"]), number(&result["theirs"]), "", &p));
        if at.starts_with("dl4") && trials == 50 {
            let minimum = number(&result["minimum"]);
            let best = [&result["ours"], &result["theirs"]].map(|regret| minimum + number(regret));
            let mean = format!("; ours on average {:.4}", minimum + number(&result["mean"]));
            lines.push(line("median best at 50 (at most 0.022)", best[0], best[1], "", &mean));
        }
        if trials == 100 {
            let [infeasible, cost] = ["infeasible", "cost"].map(|field| [0, 1].map(|i| number(&result[field][i])));
            if at.starts_with("dl4") {
                let percent = infeasible.map(|share| 100.0 * share);
                lines.push(line("infeasible after trial 50 (at most 15 %)", percent[0], percent[1], "%", ""));
            }
            lines.push(line("time of a suggestion", cost[0], cost[1], "ms", ""));
        }
    }
    Ok(lines)
}

/// Answers for one sampler: `{"ask": i}` gets the i-th configuration, and `{"tell": i, "value": x}` is its result, null
/// if it was infeasible. The arguments are the sampler, the seed, and the hyperparameters by name:
/// `{"low", "high"}` or `{"values"}`, with `"when": {parent: value}`.
pub fn ask_tell(arguments: &[String]) -> Result<()> {
    let [sampler, seed, space] = arguments else { bail!("ask-tell takes a sampler, a seed and a space") };
    let objective = Objective { metric: "value".into(), direction: Direction::Minimize, judged: ObjectiveValue::Best };
    let definition = StudyDefinition {
        sampler: SamplerKind::parse(sampler).with_context(|| format!("there is no sampler {sampler}"))?,
        seed: seed.parse()?,
        ..StudyDefinition::new(
            WorkloadReference::Builtin { name: "none".into() },
            space_of(&serde_json::from_str(space)?)?,
            objective,
        )
    };
    let mut proposals = Proposals::of(&definition);
    for line in std::io::stdin().lock().lines() {
        let request: Json = serde_json::from_str(&line?)?;
        if let Some(index) = request["ask"].as_u64() {
            let params = proposals.get(index).context("no more configurations")?;
            println!("{}", json!(params));
            std::io::stdout().flush()?;
        } else if let Some(index) = request["tell"].as_u64() {
            let index = u32::try_from(index)?;
            let mut summaries = Summaries::new();
            let state = match request["value"].as_f64() {
                Some(value) => {
                    let mut summary = None;
                    MetricSummary::extend(&mut summary, value, 0);
                    summaries.extend(summary.map(|summary| ("value".to_string(), summary)));
                    TrialState::Complete
                }
                None => TrialState::Infeasible,
            };
            proposals.learn(index, index + 1, state, &summaries);
        }
    }
    Ok(())
}

fn space_of(declared: &Json) -> Result<SearchSpace> {
    let mut space = SearchSpace::new();
    for (name, range) in declared.as_object().context("the space is no object")? {
        let distribution = match range["values"].as_array() {
            Some(values) => {
                Distribution::choice(values.iter().cloned().map(serde_json::from_value).collect::<Result<_, _>>()?)?
            }
            None => Distribution::uniform(
                range["low"].as_f64().context("`low` is missing")?,
                range["high"].as_f64().context("`high` is missing")?,
            )?,
        };
        let parents = range["when"].as_object().into_iter().flatten();
        let condition = |(name, value): (&String, &Json)| -> Result<Condition> {
            Ok(Condition { name: name.clone(), values: vec![serde_json::from_value(value.clone())?] })
        };
        let conditions = parents.map(condition).collect::<Result<_>>()?;
        space.declare(Hyperparameter { name: name.clone(), role: Role::Nuisance, distribution, conditions })?;
    }
    Ok(space)
}
