//! From the text of a scaling to the study of each batch size.

use super::target::Target;
use crate::commands::sweep::plan::{Planner, SweepOptions};
use crate::commands::workload::Workload;
use crate::error::{ErrorName, Result, Spanned};
use crate::syntax::{Arguments, Declaration, SweepBody, Word};
use serde::Serialize;
use tunebook_study::{Distribution, Role, StudyDefinition, Value, WorkloadReference};

/// Configurations of each size that `--trials` does not say otherwise.
const TRIALS: u32 = 16;
/// Seeds of each configuration that `--repeats` does not say otherwise.
const REPEATS: u32 = 3;
/// Steps of a program, whose own budget is not known here.
const UNLIMITED: u64 = 1 << 40;

/// What each size is given (Playbook B9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CompareBy {
    /// As many steps as any other.
    Steps,
    /// As many examples as any other.
    Epochs,
}

/// A scaling that can run.
#[derive(Clone, Debug)]
pub struct ScalingPlan {
    /// Its name; studies are called `NAME.b64`.
    pub name: String,
    /// What is to be reached.
    pub target: Target,
    /// How sizes are compared.
    pub compare_by: CompareBy,
    /// The workload's own batch size.
    pub own: Option<u64>,
    /// What is trained, where it is a workload.
    pub workload: Option<Workload>,
    /// By size, rising.
    pub sizes: Vec<SizePlan>,
    /// How its trials run.
    pub options: SweepOptions,
    /// Configurations of each size.
    pub configurations: u32,
}

/// The study of one size.
#[derive(Clone, Debug)]
pub struct SizePlan {
    /// Examples a step.
    pub batch_size: u64,
    /// The study's name.
    pub study: String,
    /// Steps that a trial may take at most.
    pub budget: u64,
    /// The study as it begins.
    pub definition: StudyDefinition,
}

/// `--batches A..B`: A, 2A, 4A, … up to B; or a list.
pub fn batches(arguments: &Arguments) -> Result<Vec<u64>> {
    let help = || Some("for example --batches 16..2048, or a list: --batches 16,64,256".to_string());
    let Some(word) = arguments.option("batches") else {
        let message = "which batch sizes are compared must be said: `--batches A..B`";
        return Err(arguments.source.syntax_error(arguments.line.clone(), message, help()));
    };
    let wrong = || {
        let message = format!("`{}` are no batch sizes: A..B with 1 ≤ A < B, or a list", word.text);
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
    Ok(sizes)
}

/// Plans the studies. `body`: what is trained, with its declarations.
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
            ("batch_size", _) => ("the batch size is what is varied here", "`--batches A..B` says which sizes"),
            (_, Role::Scientific) => (
                "the question here is the batch size; nothing else can be scientific",
                "tune it away as `nuisance`, or keep it `fixed`",
            ),
            ("steps", Role::Nuisance) => ("steps are what is measured here", "`fixed steps = N` is their budget"),
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
    let set = |name: &str| {
        let constant = |declared: &Declaration| match &declared.distribution.value {
            Distribution::Constant { value } => value.as_i64(),
            _ => None,
        };
        body.declarations.iter().find(|declared| declared.name.value == name).and_then(constant)
    };
    let count = |steps: i64| u64::try_from(steps).ok().filter(|steps| *steps > 0);
    let said = set("steps").and_then(count);
    let steps = said.or_else(|| default("steps").and_then(count)).unwrap_or(UNLIMITED);
    let own = default("batch_size").and_then(|size| u64::try_from(size).ok()).filter(|size| *size > 0);
    if compare_by == CompareBy::Epochs && (own.is_none() || steps == UNLIMITED) {
        let word = arguments.option("compare-by").map_or(arguments.line.clone(), |word| word.span.clone());
        let message =
            "a budget of epochs is that of the workload's own steps and batch size, which a program does not state";
        return Err(source.error(ErrorName::InvalidValue, word, message, Some("compare by steps".into())));
    }
    let options = SweepOptions {
        seed: arguments.count("seed", 0)?.unwrap_or(0),
        repeats: arguments.small_count("repeats", 1)?.unwrap_or(REPEATS),
        parallel: arguments.small_count("parallel", 1)?.map(|n| n as usize),
        resume: arguments.has("resume"),
        objective: Some((target.direction, target.metric.clone())),
        ..SweepOptions::default()
    };
    let configurations = arguments.small_count("trials", 1)?.unwrap_or(TRIALS);
    let planner = Planner { source, workloads };
    // What the magic declares by itself has no place in the text; an error about it points at the magic.
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
        let as_many_examples = own.map_or(steps, |own| steps.saturating_mul(own) / batch_size).max(1);
        let budget = match (compare_by, said) {
            (CompareBy::Epochs, _) => as_many_examples,
            (CompareBy::Steps, Some(steps)) => steps,
            // What the workload itself takes, in steps and in examples.
            (CompareBy::Steps, None) => steps.max(as_many_examples),
        };
        let mut body = body.clone();
        declare(&mut body, "batch_size", Role::Fixed, Distribution::constant(Value::Int(batch_size as i64)));
        if budget < UNLIMITED && description.is_some_and(|d| d.hyperparameter("steps").is_some()) {
            declare(&mut body, "steps", Role::Fixed, Distribution::constant(Value::Int(budget as i64)));
        }
        if !body.declarations.iter().any(|declared| declared.role == Role::Nuisance) {
            let lr = body.declarations.iter().find(|declared| declared.name.value == "lr");
            if let Some(lr) = lr {
                let message = "the learning rate is tuned anew at each batch size, and cannot be set";
                let help = "a %%scaling body may declare its range: `nuisance lr ~ loguniform(a, b)`";
                return Err(source.error(
                    ErrorName::InvalidDeclaration,
                    lr.name.span.clone(),
                    message,
                    Some(help.into()),
                ));
            }
            let Some(range) = description.and_then(|d| d.hyperparameter("lr")?.search.clone()) else {
                let message = "there is nothing to re-tune at each batch size: the workload states no range for `lr`";
                let help = "declare one in a %%scaling body: `nuisance lr ~ loguniform(a, b)`";
                return Err(source.error(ErrorName::InvalidDeclaration, name.span.clone(), message, Some(help.into())));
            };
            declare(&mut body, "lr", Role::Nuisance, range);
        }
        let study = format!("{}.b{batch_size}", name.text);
        let planned = planner.plan(study.clone(), &body, options.clone())?;
        plans.push(SizePlan { batch_size, study, budget, definition: planned.definition });
    }
    let (name, workload) = (name.text.clone(), workload.cloned());
    Ok(ScalingPlan { name, target, compare_by, own, workload, sizes: plans, options, configurations })
}
