//! The usual names of hyperparameters, in workloads and as options of programs.

use tunebook_study::SearchSpace;

/// What a hyperparameter is, as far as its name tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The number of examples in a step.
    BatchSize,
    /// How long a trial trains, in steps or in epochs.
    Steps,
    LearningRate,
    /// The shape of the learning rate over training.
    Schedule,
    /// The choice of the update rule.
    Optimizer,
    /// Another hyperparameter of the update rule, with the name that it has in the workloads of the training pipeline.
    OfOptimizer(&'static str),
    Regularization,
}

/// Names of other things are left out although some programs use them: `eps` is mostly the size of an attack, `l1` the
/// width of a layer, `decay` a decay of the learning rate.
const NAMES: [(Kind, &[&str]); 11] = [
    (
        Kind::BatchSize,
        &[
            "batch_size",
            "batchsize",
            "batch",
            "bs",
            "minibatch_size",
            "mini_batch_size",
            "global_batch_size",
            "total_batch_size",
            "effective_batch_size",
            "per_device_batch_size",
            "per_device_train_batch_size",
            "per_gpu_batch_size",
            "per_gpu_train_batch_size",
        ],
    ),
    (
        Kind::Steps,
        &[
            "steps",
            "max_steps",
            "num_steps",
            "n_steps",
            "total_steps",
            "max_train_steps",
            "num_train_steps",
            "num_training_steps",
            "total_train_steps",
            "iterations",
            "max_iterations",
            "num_iterations",
            "n_iterations",
            "total_iterations",
            "iters",
            "max_iters",
            "num_iters",
            "n_iters",
            "total_iters",
            "max_iter",
            "num_iter",
            "n_iter",
            "epochs",
            "num_epochs",
            "n_epochs",
            "nepochs",
            "max_epochs",
            "total_epochs",
            "num_epoch",
            "max_epoch",
            "num_train_epochs",
            "max_train_epochs",
        ],
    ),
    (
        Kind::LearningRate,
        &[
            "lr",
            "lr0",
            "learning_rate",
            "learningrate",
            "base_lr",
            "init_lr",
            "lr_init",
            "initial_lr",
            "max_lr",
            "lr_max",
            "peak_lr",
            "lr_peak",
            "base_learning_rate",
            "init_learning_rate",
            "initial_learning_rate",
            "max_learning_rate",
            "peak_learning_rate",
        ],
    ),
    (
        Kind::Schedule,
        &[
            "schedule",
            "sched",
            "scheduler",
            "schedule_type",
            "scheduler_type",
            "lr_schedule",
            "lr_sched",
            "lr_scheduler",
            "lr_schedule_type",
            "lr_scheduler_type",
            "lr_policy",
            "learning_rate_schedule",
            "learning_rate_scheduler",
        ],
    ),
    (Kind::Optimizer, &["optimizer", "optimiser", "optim", "opt", "optimizer_name", "optimizer_type", "optim_name"]),
    (Kind::OfOptimizer("momentum"), &["momentum", "sgd_momentum"]),
    (Kind::OfOptimizer("rho"), &["rho", "rmsprop_rho"]),
    (Kind::OfOptimizer("beta1"), &["beta1", "beta_1", "adam_beta1", "adam_beta_1"]),
    (Kind::OfOptimizer("beta2"), &["beta2", "beta_2", "adam_beta2", "adam_beta_2"]),
    (Kind::OfOptimizer("epsilon"), &["epsilon", "adam_epsilon", "adam_eps", "opt_eps"]),
    (
        Kind::Regularization,
        &[
            "weight_decay",
            "weightdecay",
            "weight_decay_rate",
            "wd",
            "l2",
            "l2_reg",
            "l1_reg",
            "l2_penalty",
            "l1_penalty",
            "l2_regularization",
            "l1_regularization",
            "dropout",
            "dropout_rate",
            "dropout_prob",
            "dropout_p",
            "drop_rate",
            "model_dropout",
            "hidden_dropout",
            "hidden_dropout_prob",
            "attention_dropout",
            "attention_probs_dropout_prob",
            "attn_dropout",
            "drop_path",
            "drop_path_rate",
            "stochastic_depth",
            "label_smoothing",
            "label_smoothing_factor",
        ],
    ),
];

/// Groups in which programs put their options: `optimizer.lr`, `--train-batch-size`. `eval_…` is not among them.
const GROUPS: [&str; 6] = ["optimizer_", "optim_", "opt_", "train_", "training_", "trainer_"];

/// Words of groups that hold something else, although the last part of a name in them is a usual one:
/// `eval.batch_size`, `bn.momentum`.
const OTHER_GROUPS: [&str; 45] = [
    "eval",
    "evaluation",
    "valid",
    "validation",
    "val",
    "dev",
    "test",
    "testing",
    "predict",
    "prediction",
    "infer",
    "inference",
    "teacher",
    "ema",
    "warmup",
    "warm",
    "decay",
    "min",
    "micro",
    "ghost",
    "bn",
    "norm",
    "batchnorm",
    "layernorm",
    "attack",
    "adversarial",
    "privacy",
    "exploration",
    "log",
    "logger",
    "logging",
    "save",
    "checkpoint",
    "checkpointing",
    "callback",
    "callbacks",
    "stopping",
    "patience",
    "profiler",
    "sampling",
    "diffusion",
    "generation",
    "rollout",
    "env",
    "environment",
];

/// Words of groups whose steps are not those of training: `scheduler.steps`.
const SCHEDULES: [&str; 4] = ["schedule", "scheduler", "sched", "lr"];

/// Last parts of a name that stand for the group: `optimizer.name`, `scheduler._target_`.
const CHOICES: [&str; 6] = ["name", "type", "kind", "class", "class_path", "_target_"];

/// What a hyperparameter of this name is. Upper and lower case are the same, and so are `-`, `.`, `/` and `_`. A name
/// with parts is also known by its last parts: `hparams.optimizer.lr`.
pub(crate) fn kind(name: &str) -> Option<Kind> {
    known(&plain(name)).or_else(|| of_last_parts(name))
}

/// What a name with parts is by the longest end of it that is a usual name. None if the parts before it say that it is
/// something else.
fn of_last_parts(name: &str) -> Option<Kind> {
    let name = name.to_lowercase().replace('-', "_");
    let parts: Vec<&str> = name.split(['.', '/']).collect();
    let found = |parts: &[&str]| (0..parts.len()).find_map(|at| Some((known(&plain(&parts[at..].join("_")))?, at)));
    let (kind, at) = match parts.split_last() {
        Some((last, group)) if CHOICES.contains(last) => {
            found(group).filter(|(kind, _)| matches!(kind, Kind::Optimizer | Kind::Schedule))?
        }
        _ => found(&parts)?,
    };
    let mut before = parts[..at].iter().flat_map(|part| part.split('_'));
    let is_other = |word: &str| OTHER_GROUPS.contains(&word) || (kind == Kind::Steps && SCHEDULES.contains(&word));
    (!before.any(is_other)).then_some(kind)
}

fn known(plain: &str) -> Option<Kind> {
    NAMES.iter().find(|(_, names)| names.contains(&plain)).map(|(kind, _)| *kind)
}

/// The name in small letters with `_`, and without its group if it is a usual one without it.
fn plain(name: &str) -> String {
    let name = name.to_lowercase().replace(['-', '.', '/'], "_");
    if known(&name).is_some() {
        return name;
    }
    let usual = |group: &&str| name.strip_prefix(*group).filter(|rest| known(rest).is_some()).map(String::from);
    GROUPS.iter().find_map(usual).unwrap_or(name)
}

/// Whether two names are those of one hyperparameter: `weight-decay` and `optimizer.weight_decay`.
pub(crate) fn is_same_name(a: &str, b: &str) -> bool {
    a == b || plain(a) == plain(b)
}

/// The names of this kind that a space declares, each once.
pub(crate) fn declared(space: &SearchSpace, wanted: Kind) -> Vec<&str> {
    names(space, |name| kind(name) == Some(wanted))
}

/// The names in a space of which this holds, each once, in the order of declaration.
pub(crate) fn names(space: &SearchSpace, is_wanted: impl Fn(&str) -> bool) -> Vec<&str> {
    let mut found: Vec<&str> = vec![];
    for name in space.hyperparameters().iter().map(|h| h.name.as_str()) {
        if is_wanted(name) && !found.contains(&name) {
            found.push(name);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_as_programs_write_them() {
        for (name, expected) in [
            ("batch_size", Kind::BatchSize),
            ("batch-size", Kind::BatchSize),
            ("bs", Kind::BatchSize),
            ("per_device_train_batch_size", Kind::BatchSize),
            ("train.batch_size", Kind::BatchSize),
            ("num_train_epochs", Kind::Steps),
            ("max-iter", Kind::Steps),
            ("trainer.max_epochs", Kind::Steps),
            ("Learning-Rate", Kind::LearningRate),
            ("optimizer.lr", Kind::LearningRate),
            ("base_lr", Kind::LearningRate),
            ("lr_scheduler_type", Kind::Schedule),
            ("optim", Kind::Optimizer),
            ("optimizer.name", Kind::Optimizer),
            ("adam_beta1", Kind::OfOptimizer("beta1")),
            ("optim.momentum", Kind::OfOptimizer("momentum")),
            ("wd", Kind::Regularization),
            ("weight-decay", Kind::Regularization),
            ("optimizer.weight_decay", Kind::Regularization),
            ("dropout", Kind::Regularization),
            ("data.batch_size", Kind::BatchSize),
            ("data/batch-size", Kind::BatchSize),
            ("hparams.steps", Kind::Steps),
            ("hparams.optimizer.lr", Kind::LearningRate),
            ("optimizer.init_args.lr", Kind::LearningRate),
            ("scheduler.name", Kind::Schedule),
            ("trainer.scheduler._target_", Kind::Schedule),
            ("model.optimizer.type", Kind::Optimizer),
            ("model.adam.eps", Kind::OfOptimizer("epsilon")),
            ("model.encoder.dropout", Kind::Regularization),
        ] {
            assert_eq!(kind(name), Some(expected), "{name}");
        }
    }

    #[test]
    fn one_name_can_be_written_in_several_ways() {
        for (a, b) in [("lr", "LR"), ("weight-decay", "optimizer.weight_decay"), ("warmup-steps", "warmup_steps")] {
            assert!(is_same_name(a, b) && is_same_name(b, a), "{a} {b}");
        }
        assert!(is_same_name("data/lr", "data.lr"));
        assert!(!is_same_name("actor.lr", "critic.lr"), "both are learning rates");
        for (a, b) in [("lr", "learning_rate"), ("opt_level", "level"), ("wd", "weight_decay"), ("lr", "")] {
            assert!(!is_same_name(a, b), "{a} {b}");
        }
    }

    #[test]
    fn similar_names_of_other_things_are_not_known() {
        let others = [
            "eval_batch_size",
            "micro_batch_size",
            "ghost_batch_size",
            "eval_every",
            "warmup_steps",
            "decay_steps",
            "min_lr",
            "lr_decay",
            "decay",
            "optimizers",
            "eps",
            "l1",
            "polyak_decay",
            "dropout_seed",
            "bn_momentum",
            "width",
            "opt_level",
            "eval.batch_size",
            "data/val/batch_size",
            "val_loader.batch_size",
            "teacher.dropout",
            "train.warmup.steps",
            "scheduler.steps",
            "min.lr",
            "model.bn.momentum",
            "attack.epsilon",
            "model.name",
            "lr.name",
            "name",
            "_target_",
            "",
        ];
        for name in others {
            assert_eq!(kind(name), None, "{name}");
        }
    }
}
