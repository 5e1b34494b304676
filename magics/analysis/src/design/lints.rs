//! The lints of a study's design: advice of the Playbook that a definition does not follow.

use super::{Covered, Design, enough_configurations};
use crate::compares_batch_sizes_by_validation;
use crate::program::{Literal, literals, space_with_literals};
use crate::retune::varies;
use crate::throughput::{PointState, Throughput};
use crate::usual_names::{Kind, declared, kind};
use crate::words::counted;
use serde::Serialize;
use std::borrow::Cow;
use tunebook_study::sampler::SamplerKind;
use tunebook_study::{
    Condition, Distribution, Hyperparameter, ObjectiveValue, Params, Role, SearchSpace, StudyDefinition, Value,
    WorkloadDescription,
};

/// Advice of the Playbook that a study does not follow.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Lint {
    /// Its name, which `--allow` takes.
    pub id: &'static str,
    /// What is not as advised, why that matters, and what to do.
    pub message: String,
    /// The ID and the title of the advice.
    pub playbook: &'static str,
}

/// The names of all lints.
pub const LINTS: [&str; 20] = [
    BATCH_SIZE,
    STEPS,
    OPTIMIZER_HYPERPARAMETER,
    GRID,
    SCIENTIFIC,
    SEVERAL_QUESTIONS,
    OPTIMIZER_NUISANCE,
    ARCHITECTURE_NUISANCE,
    OPTIMIZER_SCIENTIFIC,
    FIXED_INTERACTS,
    SPARSE,
    FIRST_BASELINE,
    SHARED,
    CONSTANT_SCHEDULE,
    FEW_EVALUATIONS,
    BATCH_SIZE_TOO_LARGE,
    BATCH_SIZE_CHANGED,
    BAYES_PARALLEL,
    EXPLOIT_UNREFINED,
    ADAPTIVE_SCIENTIFIC,
];

const BATCH_SIZE: &str = "batch-size-tuned";
const STEPS: &str = "steps-tuned";
const OPTIMIZER_HYPERPARAMETER: &str = "optimizer-hyperparameter-without-role";
const GRID: &str = "grid-dimensions";
const SCIENTIFIC: &str = "several-scientific";
/// Found by [`several_questions`].
const SEVERAL_QUESTIONS: &str = "several-questions";
const OPTIMIZER_NUISANCE: &str = "optimizer-nuisance";
const ARCHITECTURE_NUISANCE: &str = "architecture-nuisance";
const OPTIMIZER_SCIENTIFIC: &str = "optimizer-hyperparameter-scientific";
const FIXED_INTERACTS: &str = "fixed-interacts";
const SPARSE: &str = "sparse-design";
const FIRST_BASELINE: &str = "first-baseline";
const SHARED: &str = "shared-optimizer-hyperparameter";
const CONSTANT_SCHEDULE: &str = "constant-schedule";
const FEW_EVALUATIONS: &str = "few-evaluations";
/// Found by [`batch_size_too_large`].
const BATCH_SIZE_TOO_LARGE: &str = "batch-size-too-large";
/// Found by comparison with other studies, see [`Retuning`](crate::Retuning).
pub const BATCH_SIZE_CHANGED: &str = "batch-size-changed";
const ADAPTIVE_SCIENTIFIC: &str = "adaptive-scientific";
/// This lint and the next one are found by [`exploitation`](super::exploitation()).
pub(super) const BAYES_PARALLEL: &str = "bayes-parallel";
pub(super) const EXPLOIT_UNREFINED: &str = "exploit-unrefined";

/// A grid over more dimensions than this has too few values of each (Playbook I5).
const GRID_DIMENSIONS: usize = 2;
/// With fewer points than this along each nuisance dimension, the best of the nuisance values is mostly missed.
const POINTS_PER_DIMENSION: f64 = 2.0;
/// If more configurations than this are needed for it, their number is not looked for.
const MOST_CONFIGURATIONS: u32 = 10_000;

/// With fewer evaluations in a trial, its best one may be far from the best step (Playbook G4).
const EVALUATIONS: i64 = 5;

/// With more branches than this, a space is not looked at branch by branch.
const MOST_BRANCHES: usize = 10_000;
/// The schedules of workloads and programs that keep the learning rate, or that are none.
const CONSTANT_SCHEDULES: [&str; 10] =
    ["constant", "constant_with_warmup", "const", "fixed", "none", "null", "no", "off", "false", "0"];

/// The hyperparameters of each update rule (Playbook A3).
const OPTIMIZERS: [(&str, &[&str]); 7] = [
    ("sgd", &["lr"]),
    ("momentum", &["lr", "momentum"]),
    ("nesterov", &["lr", "momentum"]),
    ("rmsprop", &["lr", "momentum", "rho", "epsilon"]),
    ("adam", &["lr", "beta1", "beta2", "epsilon"]),
    ("adamw", &["lr", "beta1", "beta2", "epsilon", "weight_decay"]),
    ("nadam", &["lr", "beta1", "beta2", "epsilon"]),
];

/// Whether the best value of a hyperparameter usually depends on what else changes: it belongs to the optimizer or to
/// the regularization (Playbook D7).
pub(super) fn is_tuned_with_the_rest(name: &str) -> bool {
    is_of_optimizer(name) || kind(name) == Some(Kind::Regularization)
}

fn is_of_optimizer(name: &str) -> bool {
    matches!(kind(name), Some(Kind::LearningRate | Kind::OfOptimizer(_)))
}

/// How far a project has come with a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// No other study of the workload has a complete trial, and no baseline was launched.
    First,
    /// Other studies have complete trials, all with a decay of the learning rate or with regularization. No baseline
    /// was launched.
    WithExtras,
    /// Another study has a complete trial without either ([`is_plain`]), and no baseline was launched.
    Exploring,
    /// A baseline was launched.
    AfterBaseline,
}

/// Returns the advice that a definition does not follow. `description` is that of the workload, None for a program.
/// What the command of a program fixes counts as declared.
pub fn lints(
    definition: &StudyDefinition,
    design: &Design,
    description: Option<&WorkloadDescription>,
    stage: Stage,
) -> Vec<Lint> {
    let literals = literals(definition);
    let planned = definition;
    let definition = match space_with_literals(definition) {
        Cow::Borrowed(_) => Cow::Borrowed(definition),
        Cow::Owned(space) => Cow::Owned(StudyDefinition { space, ..definition.clone() }),
    };
    let definition: &StudyDefinition = &definition;
    let varied: Vec<&Hyperparameter> =
        definition.space.hyperparameters().iter().filter(|h| h.distribution.varies()).collect();
    let of_role = |role: Role| varied.iter().filter(move |h| h.role == role).map(|h| format!("`{}`", h.label()));
    let scientific: Vec<String> = of_role(Role::Scientific).collect();
    let mut found = vec![];
    let mut add = |id, playbook, message: String| found.push(Lint { id, message, playbook });

    if compares_batch_sizes_by_validation(definition, description) {
        add(
            BATCH_SIZE,
            "B14 The batch size should not be a tunable hyperparameter for validation set performance",
            format!(
                "The batch size varies ({}), and trials are judged by {}. This comparison is fair only if learning \
                 rate and regularization are tuned for each size, and the noise of small batches acts as \
                 regularization itself. Choose the batch size with %throughput and %scaling.",
                varied_values(definition, description, Kind::BatchSize).join(", "),
                definition.objective.metric
            ),
        );
    }
    let steps = varied_values(definition, description, Kind::Steps);
    if !steps.is_empty() {
        add(
            STEPS,
            "G2 Never tune max_train_steps",
            format!(
                "The number of steps varies: {}. A longer trial is mostly at least as good, so the study would find \
                 its largest value. Fix it, with the same value in all branches, and decide how long to train with \
                 %steps and %curves.",
                steps.join(", ")
            ),
        );
    }
    if let Some(description) = description {
        for (optimizer, names) in without_role(definition, description) {
            add(
                OPTIMIZER_HYPERPARAMETER,
                "A3 Choosing the optimizer",
                format!(
                    "{} of {optimizer} {} not declared, and so {} the default: {}. Declare each as nuisance, or as \
                     fixed if the study is too small to tune it.",
                    if names.len() == 1 {
                        "One hyperparameter".into()
                    } else {
                        format!("{} hyperparameters", names.len())
                    },
                    if names.len() == 1 { "is" } else { "are" },
                    if names.len() == 1 { "has" } else { "have" },
                    names.join(", ")
                ),
            );
        }
    }
    let dimensions = grid_dimensions(definition, 0, &mut Params::new());
    if definition.sampler == SamplerKind::Grid && dimensions > GRID_DIMENSIONS {
        add(
            GRID,
            "I5 Grid search",
            format!(
                "The grid has {dimensions} dimensions and so {} configurations for few values of each hyperparameter. \
                 The sampler quasirandom tries a new value of every range in every trial; a grid serves one or two \
                 dimensions.",
                design.configurations
            ),
        );
    }
    if definition.sampler.is_adaptive() && !scientific.is_empty() {
        add(
            ADAPTIVE_SCIENTIFIC,
            "D10 Creating a set of studies",
            format!(
                "`{}` chooses configurations by the results, and {} {} scientific. Each scientific value gets equally \
                 many trials, but the sampler then tries more near its first good trials. So the comparison has no \
                 interval. Compare with quasirandom, and exploit with `{}` once the scientific values are fixed.",
                definition.sampler,
                scientific.join(", "),
                if scientific.len() == 1 { "is" } else { "are" },
                definition.sampler
            ),
        );
    }
    if scientific.len() > 1 {
        add(
            SCIENTIFIC,
            "D5 Choosing the goal for the next round of experiments",
            format!(
                "The study has {} scientific hyperparameters: {}. Each additional one divides the configurations among \
                 more combinations ({}), and then you cannot distinguish an effect from an interaction. Ask one \
                 question in a round.",
                scientific.len(),
                scientific.join(", "),
                match design.scientific_values {
                    Some(values) => format!("{values} here"),
                    None => "one has a range here".into(),
                }
            ),
        );
    }
    for h in varied.iter().filter(|h| h.role == Role::Nuisance) {
        let changes_shapes =
            description.and_then(|d| d.hyperparameter(&h.name)).is_some_and(|known| known.changes_shapes);
        if is_choice_of_optimizer(h) {
            add(
                OPTIMIZER_NUISANCE,
                "D7 Identifying scientific, nuisance, and fixed hyperparameters",
                format!(
                    "The choice `{} {}` is declared nuisance. It decides which other hyperparameters exist. Declare it \
                     scientific or fixed, with the hyperparameters of each in a separate branch.",
                    h.name, h.distribution
                ),
            );
        } else if changes_shapes && kind(&h.name) != Some(Kind::BatchSize) {
            add(
                ARCHITECTURE_NUISANCE,
                "D7 Identifying scientific, nuisance, and fixed hyperparameters",
                format!(
                    "`{} {}` belongs to the architecture and is declared nuisance. It changes the time and memory of \
                     training and serving, so that configurations are compared at unequal cost. Declare it scientific or \
                     fixed.",
                    h.label(),
                    h.distribution
                ),
            );
        }
    }
    for h in varied.iter().filter(|h| h.role == Role::Scientific && is_of_optimizer(&h.name)) {
        add(
            OPTIMIZER_SCIENTIFIC,
            "D7 Identifying scientific, nuisance, and fixed hyperparameters",
            format!(
                "`{}` belongs to the optimizer and is declared scientific. Its best value depends on everything else, so a \
                 result about it seldom holds for the next model. Optimizer hyperparameters are mostly nuisance.",
                h.label()
            ),
        );
    }
    let fixed = fixed_although_it_interacts(definition, description, &literals);
    if !scientific.is_empty() && !fixed.is_empty() {
        add(
            FIXED_INTERACTS,
            "D7 Identifying scientific, nuisance, and fixed hyperparameters",
            format!(
                "{} {} one value{}, but the best value may differ between the values of {}. A value that suits some of \
                 them makes the others look worse. Declare {} nuisance, with several values or a range, in each branch \
                 that has it.",
                fixed.join(" and "),
                if fixed.len() == 1 { "has" } else { "have" },
                if fixed.len() == 1 { "" } else { " each" },
                scientific.join(" and "),
                if fixed.len() == 1 { "it" } else { "each" }
            ),
        );
    }
    // A whole grid covers everything.
    let all = planned.sampler.configurations(&planned.space);
    let is_whole = all.is_some_and(|all| u64::from(design.configurations) >= all);
    let enough = || match enough_configurations(planned, POINTS_PER_DIMENSION, MOST_CONFIGURATIONS) {
        Some(enough) => format!("at least {enough} configurations"),
        None => format!("more than {MOST_CONFIGURATIONS} configurations"),
    };
    let is_sparse = |covered: &&Covered| {
        !is_whole && (covered.configurations as f64) < POINTS_PER_DIMENSION.powi(covered.dimensions as i32)
    };
    if !is_whole && !scientific.is_empty() && matches!(design.configurations_per_value, Some([0, _])) {
        add(
            SPARSE,
            "D11 Striking a balance between informative and affordable experiments",
            format!(
                "Some {} get no configuration, so the study finds out nothing about them. Ask for {}, or compare fewer \
                 values.",
                if scientific.len() == 1 { "scientific values" } else { "combinations of scientific values" },
                enough()
            ),
        );
    } else if let Some(covered) = design.sparsest.as_ref().filter(is_sparse) {
        add(
            SPARSE,
            "D11 Striking a balance between informative and affordable experiments",
            format!(
                "{}{} for {} {} too few: good values will probably be missed, and chance decides the comparison. Ask \
                 for {}, or fix some nuisance hyperparameters.",
                counted(covered.configurations, "configuration"),
                covered.value.as_ref().map_or(String::new(), |value| format!(" of `{value}`")),
                counted(covered.dimensions, "nuisance hyperparameter"),
                if covered.configurations == 1 { "is" } else { "are" },
                enough()
            ),
        );
    }
    for (name, choice, optimizers) in shared(definition) {
        add(
            SHARED,
            "A5 Choosing the optimizer",
            format!(
                "`{name}` is declared once for {} optimizers: {}. It is another hyperparameter in each of them, with \
                 another good range. Declare it once for each, after `when {choice} == …:`.",
                optimizers.len(),
                optimizers.join(", ")
            ),
        );
    }
    if stage == Stage::AfterBaseline
        && let Some(schedule) = constant_schedule(definition, description)
    {
        add(
            CONSTANT_SCHEDULE,
            "I1 What is the best learning rate schedule family?",
            format!(
                "A baseline was launched, and all {} configurations keep a constant learning rate. After the first \
                 baseline, a linear or cosine decay is mostly better: {}, with the learning rate tuned again.",
                design.configurations,
                match literals.iter().find(|literal| literal.name == schedule) {
                    Some(literal) => literal.shown_with("cosine"),
                    None => format!("`fixed {schedule} = cosine`"),
                }
            ),
        );
    }
    if let Some(found) = few_evaluations(definition, description) {
        let [steps, evaluations] = found;
        add(
            FEW_EVALUATIONS,
            "G4 Deciding how long to train when training is not compute-bound",
            format!(
                "A trial is judged by the best of its evaluations, and has {} in {steps} steps. Its best step may lie \
                 far from each of them, and with so few points a curve does not show overfitting. Set `eval_every` to \
                 {} or less.",
                if evaluations == 1 { "only one".into() } else { format!("only {evaluations}") },
                (steps / (2 * EVALUATIONS)).max(1)
            ),
        );
    }
    let early = too_early(definition, description, stage, &literals);
    if matches!(stage, Stage::First | Stage::WithExtras) && !early.is_empty() {
        add(
            FIRST_BASELINE,
            "C3 Choosing the initial configuration",
            format!(
                "No baseline of this workload was launched, and no other study of it has a complete trial {}. This \
                 study has {}. Begin with a constant learning rate and without extra regularization; add {} in a later \
                 round, with evidence that {}.",
                match stage {
                    Stage::First => "in the store",
                    _ => "with a constant learning rate and without regularization",
                },
                early.join(", "),
                if early.len() == 1 { "it" } else { "them" },
                if early.len() == 1 { "it helps" } else { "they help" }
            ),
        );
    }
    found
}

/// Returns the largest number of lists that vary in one configuration. The declarations before `node` have `params`.
fn grid_dimensions(definition: &StudyDefinition, node: usize, params: &mut Params) -> usize {
    let space = definition.space.hyperparameters();
    let Some(h) = space.get(node) else { return 0 };
    if !h.is_active(params) {
        return grid_dimensions(definition, node + 1, params);
    }
    let is_parent = space[node..].iter().any(|child| child.conditions.iter().any(|c| c.name == h.name));
    let values = values_of(&h.distribution);
    // The values of a list without branches do not matter.
    let tried = if is_parent { values.len() } else { 1 };
    let below = values.iter().take(tried).map(|value| {
        params.insert(h.name.clone(), (*value).clone());
        let below = grid_dimensions(definition, node + 1, params);
        params.pop();
        below
    });
    usize::from(values.len() > 1) + below.max().unwrap_or_default()
}

/// The declarations of the hyperparameters of this kind that have more than one value in a study, and what applies in
/// branches without them.
fn varied_values(definition: &StudyDefinition, description: Option<&WorkloadDescription>, wanted: Kind) -> Vec<String> {
    let space = &definition.space;
    let mut found = vec![];
    for name in declared(space, wanted).into_iter().filter(|name| varies(definition, description, name)) {
        found.extend(space.named(name).map(|h| format!("`{} {}`", h.label(), h.distribution)));
        if space.lacking(name).is_some() {
            found.push(match description.and_then(|known| known.hyperparameter(name)) {
                Some(known) => format!("elsewhere the default, {}", known.default),
                None => "elsewhere a default that is not known here".into(),
            });
        }
    }
    found
}

/// Returns the branches of a space: the values of the hyperparameters on which conditions depend, and of `wanted`. Of a
/// range, the values that conditions name and three others stand for all. Returns none if there are too many.
pub(super) fn branches(space: &SearchSpace, wanted: &str) -> Vec<Params> {
    let conditions: Vec<&Condition> = space.hyperparameters().iter().flat_map(|h| &h.conditions).collect();
    let mut found = vec![Params::new()];
    for h in space.hyperparameters() {
        let named: Vec<&Value> = conditions.iter().filter(|c| c.name == h.name).flat_map(|c| &c.values).collect();
        if named.is_empty() && h.name != wanted {
            continue;
        }
        let values: Vec<Value> = match h.distribution.is_list() {
            true => values_of(&h.distribution).into_iter().cloned().collect(),
            false => {
                let possible = named.into_iter().filter(|value| h.distribution.to_unit(value).is_some()).cloned();
                possible.chain([0.0, 0.37, 1.0].map(|u| h.distribution.from_unit(u))).collect()
            }
        };
        let mut longer = vec![];
        for branch in found {
            if !h.is_active(&branch) {
                longer.push(branch);
                continue;
            }
            for value in &values {
                let mut with = branch.clone();
                with.insert(h.name.clone(), value.clone());
                longer.push(with);
            }
        }
        if longer.len() > MOST_BRANCHES {
            return vec![];
        }
        found = longer;
    }
    found
}

/// Returns the optimizers of a study, each with those of its hyperparameters that have the default in all or in some of
/// its configurations.
fn without_role(definition: &StudyDefinition, description: &WorkloadDescription) -> Vec<(String, Vec<String>)> {
    let space = &definition.space;
    let default = description.hyperparameter("optimizer").map(|known| known.default.to_string());
    let mut optimizers: Vec<(String, Vec<Params>)> = vec![];
    for branch in branches(space, "optimizer") {
        let chosen = branch.get("optimizer").map(Value::to_string);
        let Some(word) = chosen.or_else(|| default.clone()) else { continue };
        match optimizers.iter_mut().find(|(known, _)| *known == word) {
            Some((_, branches)) => branches.push(branch),
            None => optimizers.push((word, vec![branch])),
        }
    }
    let lacking = |(word, branches): (String, Vec<Params>)| {
        let (_, names) = OPTIMIZERS.iter().find(|(name, _)| *name == word)?;
        let lacked = |name: &&str| {
            let default = &description.hyperparameter(name)?.default;
            let without: Vec<&Params> = branches.iter().filter(|branch| space.active(name, branch).is_none()).collect();
            let first = without.first()?;
            let place = if without.len() == branches.len() { String::new() } else { place(space, name, first) };
            Some(format!("`{name}` ({default}{place})"))
        };
        let lacked: Vec<String> = names.iter().filter_map(lacked).collect();
        (!lacked.is_empty()).then_some((word, lacked))
    };
    optimizers.into_iter().filter_map(lacking).collect()
}

/// Says with which values of its parents, besides the optimizer, a hyperparameter of the optimizer does not exist.
fn place(space: &SearchSpace, name: &str, branch: &Params) -> String {
    let is_parent = |other: &str| space.named(name).any(|h| h.conditions.iter().any(|c| c.name == other));
    let parents = branch.iter().filter(|(other, _)| *other != "optimizer" && is_parent(other));
    let values: Vec<String> = parents.map(|(other, value)| format!("{other}={value}")).collect();
    match values.is_empty() {
        true => " in some configurations".into(),
        false => format!(" with {}", values.join(", ")),
    }
}

/// Whether a declaration counts for trials with this value of an optimizer's choice.
fn exists_with(h: &Hyperparameter, choice: &str, optimizer: &str) -> bool {
    let mut conditions = h.conditions.iter().filter(|condition| condition.name == choice);
    conditions.all(|condition| condition.values.iter().any(|value| value.to_string() == optimizer))
}

/// Whether a hyperparameter chooses the optimizer by its name. Numbers and switches of the same name do not.
fn is_choice_of_optimizer(h: &Hyperparameter) -> bool {
    let values = values_of(&h.distribution);
    let are_words = !values.is_empty() && values.iter().all(|value| value.as_str().is_some());
    kind(&h.name) == Some(Kind::Optimizer) && are_words
}

/// The hyperparameters of optimizers that vary and are declared once for several optimizers of the study. Each with the
/// name of the choice, and with these optimizers.
fn shared(definition: &StudyDefinition) -> Vec<(&str, &str, Vec<String>)> {
    let all = definition.space.hyperparameters();
    let mut found = vec![];
    for choice in declared(&definition.space, Kind::Optimizer) {
        let mut words: Vec<String> = vec![];
        let choices = definition.space.named(choice).filter(|h| is_choice_of_optimizer(h));
        for value in choices.flat_map(|h| values_of(&h.distribution)) {
            words.extend(Some(value.to_string()).filter(|word| !words.contains(word)));
        }
        let uses = |h: &Hyperparameter, word: &str| match kind(&h.name) {
            Some(Kind::LearningRate) => true,
            Some(Kind::OfOptimizer(usual)) => {
                // It may be a class: `torch.optim.AdamW`.
                let class = word.rsplit('.').next().unwrap_or(word).to_lowercase();
                OPTIMIZERS.iter().any(|(known, names)| *known == class && names.contains(&usual))
            }
            _ => false,
        };
        for h in all.iter().filter(|h| is_of_optimizer(&h.name) && h.distribution.varies()) {
            let is_user = |word: &&String| exists_with(h, choice, word) && uses(h, word);
            let users: Vec<String> = words.iter().filter(is_user).cloned().collect();
            if users.len() > 1 {
                found.push((h.name.as_str(), choice, users));
            }
        }
    }
    found
}

/// Whether a schedule keeps the learning rate constant. It may be a class: `torch.optim.lr_scheduler.ConstantLR`.
fn is_constant(schedule: &Value) -> bool {
    let schedule = schedule.to_string().to_lowercase();
    let class = schedule.rsplit('.').next().and_then(|class| class.strip_suffix("lr"));
    [Some(schedule.as_str()), class].into_iter().flatten().any(|word| CONSTANT_SCHEDULES.contains(&word))
}

/// Returns the name of the schedule if it is known that no trial of the study has a decay.
fn constant_schedule<'a>(
    definition: &'a StudyDefinition,
    description: Option<&'a WorkloadDescription>,
) -> Option<&'a str> {
    let space = &definition.space;
    let mut schedules = declared(space, Kind::Schedule);
    let known = description.into_iter().flat_map(|known| &known.hyperparameters).map(|known| known.name.as_str());
    let undeclared: Vec<&str> =
        known.filter(|name| kind(name) == Some(Kind::Schedule) && !schedules.contains(name)).collect();
    schedules.extend(undeclared);
    let keeps = |name: &&str| {
        let is_default_constant = || {
            let known = description.and_then(|known| known.hyperparameter(name));
            known.is_some_and(|known| is_constant(&known.default))
        };
        let is_constant = |h: &Hyperparameter| {
            let values = values_of(&h.distribution);
            !values.is_empty() && values.into_iter().all(is_constant)
        };
        space.named(name).all(is_constant) && (space.lacking(name).is_none() || is_default_constant())
    };
    schedules.first().copied().filter(|_| schedules.iter().all(keeps))
}

/// Returns the whole numbers that a hyperparameter takes in a study, with its default where no line declares it. None
/// if a line gives it a range, or if the default is not known.
fn values_or_default(
    definition: &StudyDefinition,
    description: Option<&WorkloadDescription>,
    name: &str,
) -> Option<Vec<i64>> {
    let declared: Vec<&Hyperparameter> = definition.space.named(name).collect();
    if declared.iter().any(|h| !h.distribution.is_list()) {
        return None;
    }
    let mut values: Vec<i64> =
        declared.iter().flat_map(|h| values_of(&h.distribution)).filter_map(Value::as_i64).collect();
    if definition.space.lacking(name).is_some() {
        values.push(description?.hyperparameter(name)?.default.as_i64()?);
    }
    Some(values)
}

/// Returns the steps and the evaluations of a trial that is judged by the best of fewer than [`EVALUATIONS`]. None if
/// there are enough, or if they are not known.
fn few_evaluations(definition: &StudyDefinition, description: Option<&WorkloadDescription>) -> Option<[i64; 2]> {
    let largest = |name: &str| values_or_default(definition, description, name)?.into_iter().max();
    let (steps, every) = (largest("steps")?, largest("eval_every").filter(|every| *every > 0)?);
    // The last step is evaluated too.
    let evaluations = steps.saturating_add(every - 1) / every;
    let is_best = definition.objective.judged == ObjectiveValue::Best;
    (is_best && evaluations < EVALUATIONS && steps > EVALUATIONS).then_some([steps, evaluations])
}

/// Returns the lint of a study with a batch size beyond the one with the highest measured throughput, or beyond what
/// memory holds (Playbook B3). `limit` is the largest size that fits, if memory limits it.
pub fn batch_size_too_large(
    definition: &StudyDefinition,
    description: Option<&WorkloadDescription>,
    throughput: &Throughput,
    limit: Option<u64>,
) -> Option<Lint> {
    let used = values_or_default(definition, description, "batch_size")?.into_iter().max()?;
    let used = u64::try_from(used).ok()?;
    let message = if let Some(limit) = limit.filter(|limit| used > *limit) {
        format!(
            "{limit} is the largest batch size that fits into memory, as %throughput found, and this study has {used}. \
             Such trials run out of memory."
        )
    } else {
        let rate = |point: &&crate::throughput::ThroughputPoint| point.examples_per_second.unwrap_or(0.0);
        let measured = || throughput.points.iter().filter(|p| p.state == PointState::Ok);
        let fastest = measured().max_by(|a, b| rate(a).total_cmp(&rate(b)))?;
        let this = measured().find(|p| p.batch_size == used)?;
        // A difference within the noise of the measurement is none.
        if used <= fastest.batch_size || this.interval?[1] >= fastest.interval?[0] {
            return None;
        }
        format!(
            "%throughput measured {:.0} examples/s at batch size {} and {:.0} at {used}, which this study has. A larger \
             batch than the fastest one costs time and gains nothing.",
            rate(&fastest),
            fastest.batch_size,
            rate(&this)
        )
    };
    Some(Lint {
        id: BATCH_SIZE_TOO_LARGE,
        message,
        playbook: "B3 Determining the feasible batch sizes and estimating training throughput",
    })
}

fn values_of(distribution: &Distribution) -> Vec<&Value> {
    match distribution {
        Distribution::Choice { values } => values.iter().collect(),
        Distribution::Constant { value } => vec![value],
        _ => vec![],
    }
}

/// Returns the hyperparameters that usually have to be tuned for each scientific value, and that are tuned for none, or
/// not for some of them: the learning rate, and regularization while the architecture is scientific.
fn fixed_although_it_interacts(
    definition: &StudyDefinition,
    description: Option<&WorkloadDescription>,
    literals: &[Literal],
) -> Vec<String> {
    let space = &definition.space;
    let is_varied = |h: &Hyperparameter| h.distribution.varies();
    let is_scientific = |name: &str| space.named(name).any(|h| h.role == Role::Scientific && is_varied(h));
    // The branches of each combination of scientific values on which conditions depend. It is enough if one of them
    // tunes: the best trial of the combination may be there.
    let mut combinations: Vec<(Params, Vec<Params>)> = vec![];
    for branch in branches(space, "") {
        let scientific = branch.iter().filter(|(name, _)| is_scientific(name));
        let values: Params = scientific.map(|(name, value)| (name.clone(), value.clone())).collect();
        match combinations.iter_mut().find(|(known, _)| *known == values) {
            Some((_, branches)) => branches.push(branch),
            None => combinations.push((values, vec![branch])),
        }
    }
    let active = |branches: &[Params], is_wanted: &dyn Fn(&str) -> bool| -> Vec<&Hyperparameter> {
        let exists = |h: &Hyperparameter| branches.iter().any(|branch| h.is_active(branch));
        space.hyperparameters().iter().filter(|h| is_wanted(&h.name) && exists(h)).collect()
    };
    let is_rate = |name: &str| kind(name) == Some(Kind::LearningRate);
    let default_rate = description.and_then(|known| known.hyperparameters.iter().find(|h| is_rate(&h.name)));
    let mut found: Vec<String> = vec![];
    for (values, branches) in &combinations {
        let rates = active(branches, &is_rate);
        if rates.iter().any(|h| is_varied(h)) {
            continue;
        }
        found.extend(rates.iter().map(|h| written(h, literals)));
        if let (true, Some(known)) = (rates.is_empty(), default_rate) {
            let values: Vec<String> = values.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let is_declared = space.hyperparameters().iter().any(|h| is_rate(&h.name));
            let place = if is_declared { format!(" with {}", values.join(", ")) } else { String::new() };
            found.push(format!("`{}`{place} ({} by default)", known.name, known.default));
        }
    }
    let architecture_varies = space.hyperparameters().iter().any(|h| {
        let known = description.and_then(|description| description.hyperparameter(&h.name));
        h.role == Role::Scientific && is_varied(h) && known.is_some_and(|known| known.changes_shapes)
    });
    let regularizers = if architecture_varies { declared(space, Kind::Regularization) } else { vec![] };
    for name in regularizers {
        for (_, branches) in &combinations {
            let here = active(branches, &|other: &str| other == name);
            if !here.iter().any(|h| is_varied(h)) {
                let used = here.iter().filter(|h| values_of(&h.distribution).into_iter().any(is_strength));
                found.extend(used.map(|h| written(h, literals)));
            }
        }
    }
    let mut once: Vec<String> = vec![];
    for text in found {
        once.extend(Some(text).filter(|text| !once.contains(text)));
    }
    once
}

/// How the user wrote a declaration, or an option in the command.
fn written(h: &Hyperparameter, literals: &[Literal]) -> String {
    match literals.iter().find(|literal| literal.name == h.name) {
        Some(literal) => literal.shown(),
        None => format!("`{} {}`", h.label(), h.distribution),
    }
}

/// Whether a value of a regularizer regularizes. A whole number is taken for something else of the same name.
fn is_strength(value: &Value) -> bool {
    match value {
        Value::Float(x) => *x != 0.0,
        Value::Bool(is_on) => *is_on,
        _ => false,
    }
}

/// Whether a value decays the learning rate or regularizes.
fn is_extra(name: &str, value: &Value) -> bool {
    match kind(name) {
        Some(Kind::Schedule) => !is_constant(value),
        Some(Kind::Regularization) => is_strength(value),
        _ => false,
    }
}

/// Whether a trial with these values keeps its learning rate constant and has no regularization, as the first baseline
/// of a project should be (Playbook C3). Of a program, only these values are known: [`literals`] are to be among them.
pub fn is_plain(params: &Params, description: Option<&WorkloadDescription>) -> bool {
    let defaults = description.iter().flat_map(|known| &known.hyperparameters);
    let mut undeclared = defaults.filter(|known| !params.contains_key(&known.name));
    !params.iter().any(|(name, value)| is_extra(name, value))
        && !undeclared.any(|known| is_extra(&known.name, &known.default))
}

/// Returns what the first baseline of a project should not have (Playbook C3). What is scientific is no part of a
/// baseline once another study has trials.
fn too_early(
    definition: &StudyDefinition,
    description: Option<&WorkloadDescription>,
    stage: Stage,
    literals: &[Literal],
) -> Vec<String> {
    let mut found = vec![];
    for h in definition.space.hyperparameters() {
        let is_question = h.role == Role::Scientific && h.distribution.varies() && stage != Stage::First;
        let is_tuned = kind(&h.name) == Some(Kind::Regularization) && h.distribution.is_real();
        let has_extra = values_of(&h.distribution).into_iter().any(|value| is_extra(&h.name, value));
        if !is_question && (is_tuned || has_extra) {
            found.push(written(h, literals));
        }
    }
    for known in description.iter().flat_map(|known| &known.hyperparameters) {
        if definition.space.named(&known.name).next().is_none() && is_extra(&known.name, &known.default) {
            found.push(format!("`{}` ({} by default)", known.name, known.default));
        }
    }
    found
}

/// Returns the lint of a study whose round has a study with another question (Playbook D1, D5). `others` are the other
/// studies of the workload, each with its name.
pub fn several_questions<'a>(
    definition: &StudyDefinition,
    others: impl IntoIterator<Item = (&'a str, &'a StudyDefinition)>,
) -> Option<Lint> {
    let question = |of: &StudyDefinition| -> Option<String> {
        let words: Vec<&str> = of.question.as_deref()?.split_whitespace().collect();
        (!words.is_empty()).then(|| words.join(" "))
    };
    let (round, own) = (definition.round?, question(definition)?);
    let (name, theirs) =
        others.into_iter().filter(|(_, other)| other.round == Some(round)).find_map(|(name, other)| {
            let theirs = question(other)?;
            (theirs.to_lowercase() != own.to_lowercase()).then_some((name, theirs))
        })?;
    Some(Lint {
        id: SEVERAL_QUESTIONS,
        message: format!(
            "The study `{name}` of round {round} asks \"{theirs}\", and this one asks \"{own}\". The studies of a \
             round have one goal, from which one decision follows. Ask the same question in both, or give this study \
             another `round`."
        ),
        playbook: "D5 Choosing the goal for the next round of experiments",
    })
}
