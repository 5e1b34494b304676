//! Turns the options and declarations of a scaling into the study of each batch size.

use super::target::Target;
use crate::commands::sweep::plan::{Planner, SweepOptions};
use crate::commands::workload::Workload;
use crate::error::{ErrorName, Result, Spanned};
use crate::syntax::{Arguments, Declaration, SweepBody, Word};
use serde::Serialize;
use tunebook_study::{Distribution, Role, StudyDefinition, Value, WorkloadReference};

/// The default of `--trials`: configurations for each batch size.
const DEFAULT_CONFIGURATIONS: u32 = 16;
/// The default of `--repeats`: seeds for each configuration.
const DEFAULT_REPEATS: u32 = 3;
/// The budget in steps if neither the workload nor the user sets one: that of a program.
const UNLIMITED: u64 = 1 << 40;

/// What is the same at each batch size (Playbook B9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CompareBy {
    /// Trials at each batch size may take the same number of steps.
    Steps,
    /// Trials at each batch size may use the same number of examples.
    Epochs,
}

/// The studies of all batch sizes, with all that is needed to run them.
#[derive(Clone, Debug)]
pub struct ScalingPlan {
    /// The name of the scaling. The study of batch size 64 is called `NAME.b64`.
    pub name: String,
    /// The target.
    pub target: Target,
    /// What is the same at each batch size.
    pub compare_by: CompareBy,
    /// The default batch size of the workload.
    pub default_batch_size: Option<u64>,
    /// The workload, or None for a program.
    pub workload: Option<Workload>,
    /// The batch sizes, in ascending order.
    pub sizes: Vec<SizePlan>,
    /// The options of each study.
    pub options: SweepOptions,
    /// The number of configurations for each batch size.
    pub configurations: u32,
}

/// The study of one batch size.
#[derive(Clone, Debug)]
pub struct SizePlan {
    /// The number of examples in a step.
    pub batch_size: u64,
    /// The name of the study.
    pub study: String,
    /// The number of steps that a trial may take at most.
    pub budget: u64,
    /// The definition with which the study starts. Its range may be widened later.
    pub definition: StudyDefinition,
}

/// Reads `--batches`: `A..B` is A, 2A, 4A, … up to B; a list is sorted.
pub fn batches(arguments: &Arguments) -> Result<Vec<u64>> {
    let help = || Some("for example --batches 16..2048, or a list: --batches 16,64,256".to_string());
    let Some(word) = arguments.option("batches") else {
        let message = "the batch sizes are missing: `--batches A..B`";
        return Err(arguments.source.syntax_error(arguments.line.clone(), message, help()));
    };
    let wrong = || {
        let message = format!("`{}` is not a range of batch sizes: write A..B with 1 ≤ A < B, or a list", word.text);
        arguments.source.error(ErrorName::InvalidValue, word.span.clone(), message, help())
    };
    let number = |text: &str| text.trim().parse::<u64>().ok().filter(|n| (1..=1 << 40).contains(n));
    if let Some((low, high)) = word.text.split_once("..") {
        let (Some(low), Some(high)) = (number(low), number(high)) else { return Err(wrong()) };
        if low >= high {
            return Err(wrong());
        }
        return Ok((0..63).map(|k| low << k).take_while(|size| *size <= high).collect());
    }
    let sizes: Option<Vec<u64>> = word.text.trim_matches(['[', ']']).split(',').map(number).collect();
    let mut sizes = sizes.filter(|sizes| sizes.len() > 1).ok_or_else(wrong)?;
    sizes.sort_unstable();
    sizes.dedup();
    if sizes.len() > 1 {
        return Ok(sizes);
    }
    let size = sizes[0];
    let message = format!("`{}` names one batch size, {size}, several times", word.text);
    let help = format!("name at least two different sizes: --batches {size},{}", 2 * size);
    Err(arguments.invalid(word, message).with_help(help))
}

/// Plans the study of each batch size. `body` holds the workload and the declarations that all of them have.
pub fn plan(
    arguments: &Arguments,
    name: &Word,
    body: &SweepBody,
    workloads: &[Workload],
    sizes: &[u64],
) -> Result<ScalingPlan> {
    let source = &arguments.source;
    let target = Target::new(arguments)?;
    let compare_by = match arguments.option("compare-by").map(|word| (word, word.text.as_str())) {
        None | Some((_, "steps")) => CompareBy::Steps,
        Some((_, "epochs")) => CompareBy::Epochs,
        Some((word, other)) => {
            return Err(arguments.invalid(word, format!("`--compare-by` is `steps` or `epochs`, not `{other}`")));
        }
    };
    let workload = match body.workload.as_ref().map(|workload| (&workload.value, &workload.span)) {
        Some((WorkloadReference::Builtin { name }, span)) => Some(Workload::named(name, workloads, source, span)?),
        _ => None,
    };
    let description = workload.map(|workload| &workload.description);
    for declared in &body.declarations {
        let (message, help) = match (declared.name.value.as_str(), declared.role) {
            ("batch_size", _) => {
                ("`batch_size` cannot be set, because this magic varies it", "`--batches A..B` says which sizes")
            }
            (_, Role::Scientific) => (
                "`%scaling` measures the effect of the batch size, so no other hyperparameter can be scientific",
                "declare it `nuisance` to tune it, or `fixed`",
            ),
            ("steps", Role::Nuisance) => {
                ("`steps` cannot be tuned, because this magic measures it", "`fixed steps = N` sets a limit")
            }
            _ => continue,
        };
        return Err(source.error(
            ErrorName::InvalidDeclaration,
            declared.name.span.clone(),
            message,
            Some(help.into()),
        ));
    }
    let default = |name: &str| description.and_then(|d| d.hyperparameter(name)?.default.as_i64());
    let declared = |name: &str| {
        let constant = |declared: &Declaration| match &declared.distribution.value {
            Distribution::Constant { value } => value.as_i64(),
            _ => None,
        };
        body.declarations.iter().find(|declared| declared.name.value == name).and_then(constant)
    };
    let positive = |count: i64| u64::try_from(count).ok().filter(|count| *count > 0);
    let declared_steps = declared("steps").and_then(positive);
    let steps = declared_steps.or_else(|| default("steps").and_then(positive)).unwrap_or(UNLIMITED);
    let default_batch_size = default("batch_size").and_then(positive);
    if compare_by == CompareBy::Epochs && (default_batch_size.is_none() || steps == UNLIMITED) {
        let span = arguments.option("compare-by").map_or(arguments.line.clone(), |word| word.span.clone());
        let message =
            "`--compare-by epochs` needs a workload that has defaults for steps and batch size; a program has none";
        let help = Some("leave it out: each size then gets as many steps as the others".into());
        return Err(source.error(ErrorName::InvalidValue, span, message, help));
    }
    let options = SweepOptions {
        seed: arguments.count("seed", 0)?.unwrap_or(0),
        repeats: arguments.small_count("repeats", 1)?.unwrap_or(DEFAULT_REPEATS),
        parallel: arguments.small_count("parallel", 1)?.map(|n| n as usize),
        resume: arguments.has("resume"),
        accept_changes: arguments.has("accept-changes"),
        objective: Some((target.direction, target.metric.clone())),
        ..SweepOptions::default()
    };
    let configurations = arguments.small_count("trials", 1)?.unwrap_or(DEFAULT_CONFIGURATIONS);
    let planner = Planner { source, workloads };
    // Declarations that the magic adds have no place in the text, so errors point at the line of the magic.
    let declare = |body: &mut SweepBody, name: &str, role: Role, distribution: Distribution| {
        let span = arguments.line.clone();
        body.declarations.retain(|declared| declared.name.value != name);
        body.declarations.push(Declaration {
            role,
            name: Spanned::new(name.into(), span.clone()),
            distribution: Spanned::new(distribution, span.clone()),
            conditions: vec![],
            span,
        });
    };
    let mut plans = vec![];
    for &batch_size in sizes {
        // The steps that use as many examples as `steps` do at the default batch size.
        let steps_of_examples =
            default_batch_size.map_or(steps, |default| steps.saturating_mul(default) / batch_size).max(1);
        let budget = match (compare_by, declared_steps) {
            (CompareBy::Epochs, _) => steps_of_examples,
            (CompareBy::Steps, Some(steps)) => steps,
            (CompareBy::Steps, None) => steps.max(steps_of_examples),
        };
        let mut body = body.clone();
        declare(&mut body, "batch_size", Role::Fixed, Distribution::constant(Value::Int(batch_size as i64)));
        if budget < UNLIMITED && description.is_some_and(|d| d.hyperparameter("steps").is_some()) {
            declare(&mut body, "steps", Role::Fixed, Distribution::constant(Value::Int(budget as i64)));
        }
        if !body.declarations.iter().any(|declared| declared.role == Role::Nuisance) {
            let lr = body.declarations.iter().find(|declared| declared.name.value == "lr");
            if let Some(lr) = lr {
                let message = "`lr` cannot be set, because it is tuned again at each batch size";
                let help = "declare its range in the body of a %%scaling: `nuisance lr ~ loguniform(a, b)`";
                return Err(source.error(
                    ErrorName::InvalidDeclaration,
                    lr.name.span.clone(),
                    message,
                    Some(help.into()),
                ));
            }
            let Some(range) = description.and_then(|d| d.hyperparameter("lr")?.search.clone()) else {
                let message = "there is nothing to tune at each batch size: no range of `lr` is declared";
                let help = "declare one in the body of a %%scaling: `nuisance lr ~ loguniform(a, b)`";
                return Err(source.error(ErrorName::InvalidDeclaration, name.span.clone(), message, Some(help.into())));
            };
            declare(&mut body, "lr", Role::Nuisance, range);
        }
        let study = format!("{}.b{batch_size}", name.text);
        let planned = planner.plan(study.clone(), &body, options.clone())?;
        plans.push(SizePlan { batch_size, study, budget, definition: planned.definition });
    }
    let (name, workload) = (name.text.clone(), workload.cloned());
    Ok(ScalingPlan { name, target, compare_by, default_batch_size, workload, sizes: plans, options, configurations })
}
