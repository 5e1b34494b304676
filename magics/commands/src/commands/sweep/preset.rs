//! `preset adam|sgd|momentum`: which hyperparameters of the optimizer a study tunes, by its number of configurations
//! (Playbook A4, I2).

use crate::error::{Result, Source, Spanned};
use crate::syntax::{Declaration, Preset};
use tunebook_study::{Distribution, Role, Value, WorkloadDescription, WorkloadReference};

/// A hyperparameter of a preset.
struct Part {
    name: &'static str,
    /// The least number of configurations with which it is tuned.
    tuned_from: u32,
    /// The range in which it is tuned, unless the workload names one.
    range: Distribution,
    /// Its value otherwise, unless the workload has a default.
    fixed: f64,
}

/// The parts of a preset. The Playbook's numbers for Adam: fewer than 10 trials tune α only, 10 to 25 also β₁, more
/// than 25 also ε, and substantially more than 25 (we take 50) also β₂.
fn parts(preset: Preset) -> Vec<Part> {
    let log = |low, high| Distribution::LogUniform { low, high };
    let below_one = |low, high| Distribution::OneMinusLogUniform { low, high };
    let part = |name, tuned_from, range, fixed| Part { name, tuned_from, range, fixed };
    match preset {
        Preset::Sgd => vec![part("lr", 0, log(1e-4, 10.0), 0.1)],
        Preset::Momentum => {
            vec![part("lr", 0, log(1e-4, 10.0), 0.1), part("momentum", 10, below_one(1e-3, 1.0), 0.9)]
        }
        Preset::Adam => vec![
            part("lr", 0, log(1e-5, 1e-1), 1e-3),
            part("beta1", 10, below_one(1e-2, 1.0), 0.9),
            part("beta2", 50, below_one(1e-4, 0.5), 0.999),
            part("epsilon", 26, log(1e-10, 1.0), 1e-8),
        ],
    }
}

/// Returns the declarations of a preset for so many configurations, without those that the body declares itself.
pub fn declarations(
    source: &Source,
    preset: &Spanned<Preset>,
    configurations: u32,
    declared: &[Declaration],
    workload: &WorkloadReference,
    description: Option<&WorkloadDescription>,
) -> Result<Vec<Declaration>> {
    let is_declared = |name: &str| declared.iter().any(|declaration| declaration.name.value == name);
    // A program gets only what its command names.
    let is_known = |name: &str| match (description, workload) {
        (Some(description), _) => description.hyperparameter(name).is_some(),
        (None, WorkloadReference::Command(line)) => {
            line.words.iter().any(|word| word.contains(&format!("{{{name}}}")) || word.contains(&format!("{{{name}:")))
        }
        (None, _) => false,
    };
    let at = |role, name: &str, distribution| Declaration {
        role,
        name: Spanned::new(name.to_string(), preset.span.clone()),
        distribution: Spanned::new(distribution, preset.span.clone()),
        conditions: vec![],
        span: preset.span.clone(),
    };
    let mut added = vec![];
    if is_declared("optimizer") {
        let message =
            format!("`preset {}` chooses the optimizer, and another line declares it too", preset.value.word());
        let help =
            "remove one of them; for several optimizers, declare the hyperparameters of each below a `when` line";
        return Err(source.syntax_error(preset.span.clone(), message, Some(help.into())));
    }
    if is_known("optimizer") {
        added.push(at(Role::Fixed, "optimizer", Distribution::constant(Value::Text(preset.value.word().into()))));
    }
    for part in parts(preset.value) {
        if is_declared(part.name) || !is_known(part.name) {
            continue;
        }
        let known = description.and_then(|description| description.hyperparameter(part.name));
        let (role, distribution) = if part.tuned_from <= configurations {
            // The learning rates of Adam are far below those of plain gradient descent.
            let own = known.and_then(|known| known.search.clone()).filter(|_| part.name != "lr");
            (Role::Nuisance, own.unwrap_or(part.range))
        } else {
            let default = known.map(|known| known.default.clone());
            (Role::Fixed, Distribution::constant(default.unwrap_or(Value::Float(part.fixed))))
        };
        added.push(at(role, part.name, distribution));
    }
    if added.is_empty() {
        let message = format!("`preset {}` finds none of its hyperparameters here", preset.value.word());
        let help = match workload {
            WorkloadReference::Command(_) => "write their names in the command: `--lr {lr} --beta1 {beta1}`",
            _ => "all of them are declared already, or the workload has none of them",
        };
        return Err(source.syntax_error(preset.span.clone(), message, Some(help.into())));
    }
    Ok(added)
}
