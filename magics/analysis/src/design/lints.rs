//! The lints of a study's design: advice of the Playbook that a definition does not follow.

use super::Design;
use crate::compares_batch_sizes_by_validation;
use crate::retune::varies;
use crate::throughput::{PointState, Throughput};
use crate::words::counted;
use serde::Serialize;
use tunebook_study::sampler::SamplerKind;
use tunebook_study::{
    Distribution, Hyperparameter, ObjectiveValue, Params, Role, StudyDefinition, Value, WorkloadDescription,
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
pub const LINTS: [&str; 19] = [
    BATCH_SIZE,
    STEPS,
    OPTIMIZER_HYPERPARAMETER,
    GRID,
    SCIENTIFIC,
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

/// The names of a number of steps, in workloads and in programs.
const STEP_COUNTS: [&str; 14] = [
    "steps",
    "max_steps",
    "num_steps",
    "n_steps",
    "total_steps",
    "train_steps",
    "training_steps",
    "max_train_steps",
    "num_train_steps",
    "iterations",
    "epochs",
    "num_epochs",
    "n_epochs",
    "max_epochs",
];

/// A grid over more dimensions than this has too few values of each (Playbook I5).
const GRID_DIMENSIONS: usize = 2;
/// With fewer points than this along each nuisance dimension, the best of the nuisance values is mostly missed.
const POINTS_PER_DIMENSION: f64 = 2.0;

/// With fewer evaluations in a trial, its best one may be far from the best step (Playbook G4).
const EVALUATIONS: i64 = 5;

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
/// Hyperparameters of regularization.
const REGULARIZATION: [&str; 3] = ["weight_decay", "dropout", "label_smoothing"];
/// The names under which the learning rate is known.
const LEARNING_RATES: [&str; 3] = ["lr", "learning_rate", "learning-rate"];

/// Whether the best value of a hyperparameter usually depends on what else changes: it belongs to the optimizer or to
/// the regularization (Playbook D7).
pub(super) fn is_tuned_with_the_rest(name: &str) -> bool {
    is_of_optimizer(name) || REGULARIZATION.contains(&name)
}

fn is_of_optimizer(name: &str) -> bool {
    LEARNING_RATES.contains(&name)
        || OPTIMIZERS.iter().any(|(_, names)| names.contains(&name) && name != "weight_decay")
}

/// How far a project has come with a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The store has no other study of the workload.
    First,
    /// It has others, and no baseline was launched.
    Exploring,
    /// A baseline was launched.
    AfterBaseline,
}

/// Returns the advice that a definition does not follow. `description` is that of the workload, None for a program.
pub fn lints(
    definition: &StudyDefinition,
    design: &Design,
    description: Option<&WorkloadDescription>,
    stage: Stage,
) -> Vec<Lint> {
    let varied: Vec<&Hyperparameter> =
        definition.space.hyperparameters().iter().filter(|h| !h.distribution.is_constant()).collect();
    let of_role = |role: Role| varied.iter().filter(move |h| h.role == role).map(|h| format!("`{}`", h.label()));
    let scientific: Vec<String> = of_role(Role::Scientific).collect();
    let mut found = vec![];
    let mut add = |id, playbook, message: String| found.push(Lint { id, message, playbook });

    if compares_batch_sizes_by_validation(definition) {
        add(
            BATCH_SIZE,
            "B14 The batch size should not be a tunable hyperparameter for validation set performance",
            format!(
                "The batch size varies, and trials are judged by {}. This comparison is fair only if learning rate and \
                 regularization are tuned for each size, and the noise of small batches acts as regularization itself. \
                 Choose the batch size with %throughput and %scaling.",
                definition.objective.metric
            ),
        );
    }
    for name in STEP_COUNTS.into_iter().filter(|name| varies(definition, name)) {
        let declared: Vec<String> =
            definition.space.named(name).map(|h| format!("`{} {}`", h.label(), h.distribution)).collect();
        add(
            STEPS,
            "G2 Never tune max_train_steps",
            format!(
                "The number of steps varies: {}. A longer trial is mostly at least as good, so the study would find its \
                 largest value. Fix it, and decide how long to train with %steps and %curves.",
                declared.join(", ")
            ),
        );
    }
    if let Some(description) = description {
        for (optimizer, names) in without_role(definition, description) {
            let defaults: Vec<String> = names
                .iter()
                .filter_map(|name| Some(format!("`{name}` ({})", description.hyperparameter(name)?.default)))
                .collect();
            add(
                OPTIMIZER_HYPERPARAMETER,
                "A3 Choosing the optimizer",
                format!(
                    "{} of {optimizer} {} in no role and so {} the default: {}. Declare each as nuisance, or as fixed if \
                     the study is too small to tune it.",
                    if names.len() == 1 {
                        "One hyperparameter".into()
                    } else {
                        format!("{} hyperparameters", names.len())
                    },
                    if names.len() == 1 { "is" } else { "are" },
                    if names.len() == 1 { "has" } else { "have" },
                    defaults.join(", ")
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
                "`{}` chooses by the results, and {} {} scientific. The scientific values are dealt out evenly, but each \
                 of them is searched further where its first trials were good, so the comparison has no interval. \
                 Compare with quasirandom, and exploit with `{}` once the scientific values are fixed.",
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
                "The study has {} scientific hyperparameters: {}. Each further one divides the configurations among more \
                 combinations ({}), and an effect cannot be told from an interaction. Ask one question in a round.",
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
        if h.name == "optimizer" {
            add(
                OPTIMIZER_NUISANCE,
                "D7 Identifying scientific, nuisance, and fixed hyperparameters",
                format!(
                    "The choice `optimizer {}` is declared nuisance. It decides which other hyperparameters \
                     exist. Declare it scientific or fixed, with the hyperparameters of each in a branch of their own.",
                    h.distribution
                ),
            );
        } else if changes_shapes && h.name != "batch_size" {
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
    let fixed = fixed_although_it_interacts(definition, description);
    if !scientific.is_empty() && !fixed.is_empty() {
        add(
            FIXED_INTERACTS,
            "D7 Identifying scientific, nuisance, and fixed hyperparameters",
            format!(
                "The best {} may differ between the values of {}, and is the same in all {} configurations. A value that \
                 suits one of them makes the others look worse. Declare it nuisance.",
                fixed.join(" and "),
                scientific.join(" and "),
                design.configurations
            ),
        );
    }
    if !scientific.is_empty() && matches!(design.configurations_per_value, Some([0, _])) {
        add(
            SPARSE,
            "D11 Striking a balance between informative and affordable experiments",
            format!(
                "Some scientific values get no configuration, so the study finds out nothing about them. Ask for at least {} \
                 configurations, or compare fewer values.",
                enough_configurations(design)
            ),
        );
    } else if design.points_per_dimension.is_some_and(|points| points < POINTS_PER_DIMENSION) {
        let (count, of_value) = match design.configurations_per_value {
            Some([fewest, _]) if !scientific.is_empty() => (fewest, " of each scientific value"),
            _ => (design.configurations as usize, ""),
        };
        add(
            SPARSE,
            "D11 Striking a balance between informative and affordable experiments",
            format!(
                "{}{of_value} for {} {} too few: good values will probably be missed, and chance decides the comparison. \
                 Ask for at least {} configurations, or fix some nuisance hyperparameters.",
                counted(count, "configuration"),
                counted(design.nuisance_dimensions, "nuisance hyperparameter"),
                if count == 1 { "is" } else { "are" },
                enough_configurations(design)
            ),
        );
    }
    for (name, optimizers) in shared(definition) {
        add(
            SHARED,
            "A5 Choosing the optimizer",
            format!(
                "`{name}` is declared once for {} optimizers: {}. It is another hyperparameter in each of them, with \
                 another good range. Declare it once for each, after `when optimizer == …:`.",
                optimizers.len(),
                optimizers.join(", ")
            ),
        );
    }
    if stage == Stage::AfterBaseline
        && let Some(known) = description.and_then(|known| known.hyperparameter("schedule"))
        && definition.space.named("schedule").flat_map(|h| values_of(&h.distribution)).all(is_constant)
        && is_constant(&known.default)
    {
        add(
            CONSTANT_SCHEDULE,
            "I1 What is the best learning rate schedule family?",
            format!(
                "A baseline was launched, and all {} configurations keep a constant learning rate. After the first \
                 baseline, a linear or cosine decay is mostly better: `fixed schedule = cosine`, with `lr` tuned again.",
                design.configurations
            ),
        );
    }
    if let Some(found) = few_evaluations(definition, description) {
        let [steps, evaluations] = found;
        add(
            FEW_EVALUATIONS,
            "G4 Deciding how long to train when training is not compute-bound",
            format!(
                "A trial is judged by the best of its evaluations, and has {} in {steps} steps. Its best step may lie far \
                 from each of them, and a curve of so few points shows no overfitting. Set `eval_every` to {} or less.",
                if evaluations == 1 { "only one".into() } else { format!("only {evaluations}") },
                (steps / (2 * EVALUATIONS)).max(1)
            ),
        );
    }
    if stage == Stage::First {
        let early = too_early(definition);
        if !early.is_empty() {
            add(
                FIRST_BASELINE,
                "C3 Choosing the initial configuration",
                format!(
                    "This is the first study of the workload in the store, and it has {}. Begin with a constant learning \
                     rate and without extra regularization; add {} in a later round, with evidence that it helps.",
                    early.join(", "),
                    if early.len() == 1 { "it" } else { "them" }
                ),
            );
        }
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

/// Returns the number of configurations that has [`POINTS_PER_DIMENSION`] points along each nuisance dimension for each
/// scientific value, beside those that the user gave.
fn enough_configurations(design: &Design) -> u64 {
    let per_value = POINTS_PER_DIMENSION.powi(design.nuisance_dimensions as i32).ceil();
    (per_value * design.scientific_values.unwrap_or(1) as f64).min(1e9) as u64 + design.given_left_out as u64
}

/// Returns the optimizers of a study, each with those of its hyperparameters that no line declares.
fn without_role<'a>(definition: &StudyDefinition, description: &'a WorkloadDescription) -> Vec<(String, Vec<&'a str>)> {
    let declared: Vec<&Hyperparameter> = definition.space.named("optimizer").collect();
    let mut words: Vec<String> = vec![];
    for value in declared.iter().flat_map(|h| values_of(&h.distribution)) {
        words.extend(Some(value.to_string()).filter(|word| !words.contains(word)));
    }
    if declared.is_empty() {
        words.extend(description.hyperparameter("optimizer").map(|known| known.default.to_string()));
    }
    let lacking = |word: String| {
        let (_, names) = OPTIMIZERS.iter().find(|(name, _)| *name == word)?;
        let is_declared = |name: &str| definition.space.named(name).any(|h| exists_with(h, &word));
        let names: Vec<&str> = names
            .iter()
            .filter(|name| description.hyperparameter(name).is_some() && !is_declared(name))
            .copied()
            .collect();
        (!names.is_empty()).then_some((word, names))
    };
    words.into_iter().filter_map(lacking).collect()
}

/// Whether a declaration counts for trials with this optimizer.
fn exists_with(h: &Hyperparameter, optimizer: &str) -> bool {
    let mut conditions = h.conditions.iter().filter(|condition| condition.name == "optimizer");
    conditions.all(|condition| condition.values.iter().any(|value| value.to_string() == optimizer))
}

/// The hyperparameters of optimizers that vary and are declared once for several optimizers of the study, each with
/// these.
fn shared(definition: &StudyDefinition) -> Vec<(&str, Vec<String>)> {
    let values = definition.space.named("optimizer").flat_map(|h| values_of(&h.distribution));
    let words: Vec<String> = values.map(Value::to_string).collect();
    let users = |h: &Hyperparameter| -> Vec<String> {
        let name = h.name.as_str();
        let uses = |word: &&String| {
            let of_all = LEARNING_RATES.contains(&name);
            of_all || OPTIMIZERS.iter().any(|(known, names)| known == word && names.contains(&name))
        };
        words.iter().filter(|word| exists_with(h, word)).filter(uses).cloned().collect()
    };
    let tuned = |h: &&Hyperparameter| is_of_optimizer(&h.name) && !h.distribution.is_constant();
    let all = definition.space.hyperparameters().iter().filter(tuned);
    all.map(|h| (h.name.as_str(), users(h))).filter(|(_, users)| users.len() > 1).collect()
}

fn is_constant(schedule: &Value) -> bool {
    schedule.to_string() == "constant"
}

/// Returns the whole numbers that a hyperparameter takes in a study, or its default if no line declares it. None if a
/// line gives it a range, or if nothing is known of it.
fn values_or_default(
    definition: &StudyDefinition,
    description: Option<&WorkloadDescription>,
    name: &str,
) -> Option<Vec<i64>> {
    let declared: Vec<&Hyperparameter> = definition.space.named(name).collect();
    if declared.is_empty() {
        return Some(vec![description?.hyperparameter(name)?.default.as_i64()?]);
    }
    if declared.iter().any(|h| !h.distribution.is_list() && !h.distribution.is_constant()) {
        return None;
    }
    Some(declared.iter().flat_map(|h| values_of(&h.distribution)).filter_map(Value::as_i64).collect())
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

/// Returns the hyperparameters that usually have to be tuned for each scientific value, and that have one value in the
/// whole study: the learning rate, and regularization while the architecture is scientific.
fn fixed_although_it_interacts(definition: &StudyDefinition, description: Option<&WorkloadDescription>) -> Vec<String> {
    let space = &definition.space;
    let is_one_value = |name: &str| {
        let mut declared = space.named(name).peekable();
        declared.peek().is_some() && declared.all(|h| h.distribution.is_constant())
    };
    let is_varied = |name: &str| space.named(name).any(|h| !h.distribution.is_constant());
    let architecture_varies = space.hyperparameters().iter().any(|h| {
        let known = description.and_then(|description| description.hyperparameter(&h.name));
        h.role == Role::Scientific && !h.distribution.is_constant() && known.is_some_and(|known| known.changes_shapes)
    });
    let rates = LEARNING_RATES.iter().filter(|name| {
        let is_default = description.is_some_and(|description| description.hyperparameter(name).is_some());
        !is_varied(name) && (is_one_value(name) || (is_default && space.named(name).next().is_none()))
    });
    let used = |name: &&&str| {
        let zero = |h: &Hyperparameter| h.distribution.from_unit(0.0).as_f64() == Some(0.0);
        is_one_value(name) && !space.named(name).all(zero)
    };
    let regularization = REGULARIZATION.iter().filter(used).filter(|_| architecture_varies);
    rates.chain(regularization).map(|name| format!("`{name}`")).collect()
}

/// Returns what the first baseline of a project should not have (Playbook C3).
fn too_early(definition: &StudyDefinition) -> Vec<String> {
    let mut found = vec![];
    for h in definition.space.hyperparameters() {
        let has = |is_it: &dyn Fn(&Value) -> bool| values_of(&h.distribution).into_iter().any(is_it);
        let schedule = h.name == "schedule" && has(&|value| value.to_string() != "constant");
        let is_range = !h.distribution.is_list();
        let regularizer = REGULARIZATION.contains(&h.name.as_str())
            && (is_range || has(&|value| value.as_f64().is_some_and(|x| x != 0.0)));
        if schedule || regularizer {
            found.push(format!("`{} {}`", h.label(), h.distribution));
        }
    }
    found
}
