//! The hyperparameters that all workloads of the training pipeline share. `%workloads NAME` lists them with these docs.

use tunebook_study::{Distribution, Value, WorkloadHyperparameter};

/// Returns the shared hyperparameters with their default values. `examples` is the number of training examples, the
/// upper bound of `batch_size`; None if it is not known before the data are loaded.
pub fn shared(examples: Option<i64>) -> Vec<WorkloadHyperparameter> {
    use WorkloadHyperparameter as Hp;
    const NONE: f64 = f64::INFINITY;
    const MANY: i64 = 1_000_000_000;
    let log = |low, high| Distribution::LogUniform { low, high };
    let below_one = |low, high| Distribution::OneMinusLogUniform { low, high };
    let seed = |name| Hp { default: Value::Null, ..Hp::whole(name, 0..=i64::MAX, 0) };
    let all = vec![
        Hp::choice("optimizer", &["nesterov", "sgd", "momentum", "rmsprop", "adam", "adamw", "nadam"])
            .doc("Update rule in the Playbook's form (A3, I15): Adam and its variants have the ε-hat form"),
        Hp::real("lr", 0.0..=NONE, 0.1)
            .above()
            .search(log(1e-4, 10.0))
            .doc("Learning rate η at the end of the warm-up (I8)"),
        Hp::real("momentum", 0.0..=1.0, 0.9)
            .below()
            .search(below_one(1e-3, 1.0))
            .doc("Momentum γ of momentum, nesterov and rmsprop (A3)"),
        Hp::real("rho", 0.0..=1.0, 0.9).below().search(below_one(1e-3, 0.5)).doc("Decay ρ of v in rmsprop (A3)"),
        Hp::real("beta1", 0.0..=1.0, 0.9)
            .below()
            .search(below_one(1e-2, 1.0))
            .doc("Decay β₁ of m in adam, adamw and nadam; tuned in studies of 10 trials or more (I2)"),
        Hp::real("beta2", 0.0..=1.0, 0.999)
            .below()
            .search(below_one(1e-4, 0.5))
            .doc("Decay β₂ of v in adam, adamw and nadam; tuned in studies of 50 trials or more (I2)"),
        Hp::real("epsilon", 0.0..=NONE, 1e-8).above().search(log(1e-10, 1.0)).doc(
            "ε of rmsprop (inside the root), adam, adamw and nadam (ε-hat); tuned in studies of 26 trials or more (I2)",
        ),
        Hp::real("weight_decay", 0.0..=NONE, 0.0)
            .search(log(1e-6, 1e-1))
            .doc("Weight decay λ: λθ is added to the gradient (L2); adamw subtracts ηλθ from θ instead (D7, E8)"),
        Hp::choice("schedule", &["constant", "linear", "cosine", "step", "inverse_sqrt"])
            .doc("Shape of the learning rate after the warm-up (C3, I1)"),
        Hp::whole("warmup_steps", 0..=MANY, 0)
            .doc("Steps at the start over which the learning rate rises linearly to lr (I12)"),
        Hp::whole("decay_steps", 0..=MANY, 0).doc(
            "`linear`: length of the decay in steps; `step`: steps between two changes of the learning rate. 0: all \
             steps after the warm-up, or a third of them (G10)",
        ),
        Hp::real("decay_factor", 0.0..=1.0, 0.1)
            .above()
            .doc("Factor by which `step` multiplies the learning rate at each change (I1)"),
        Hp::real("clip_norm", 0.0..=NONE, 0.0).search(log(1e-2, 1e2)).doc(
            "Largest L2 norm of the gradient; a longer gradient is scaled down to it. 0: no clipping. The metric \
             `clipped` is the share of steps that were clipped (I13)",
        ),
        Hp::real("label_smoothing", 0.0..=1.0, 0.0)
            .below()
            .search(Distribution::Uniform { low: 0.0, high: 0.3 })
            .doc("Share of each label that is spread evenly over all classes, in training only (E8)"),
        Hp::real("dropout", 0.0..=1.0, 0.0)
            .below()
            .search(Distribution::Uniform { low: 0.0, high: 0.7 })
            .doc("Probability that an activation is dropped in training, if the model has dropout layers (E8)"),
        Hp::real("polyak_decay", 0.0..=1.0, 0.0).below().search(below_one(1e-4, 1e-1)).doc(
            "Decay per step of the moving average of the parameters, which is then evaluated and saved. 0: no \
             averaging (E9)",
        ),
        Hp::whole("batch_size", 1..=examples.unwrap_or(MANY), 64)
            .doc("Examples per step. Choose it for speed; do not tune it for the validation error (B1–B14)"),
        Hp::whole("micro_batch_size", 0..=MANY, 0).doc(
            "Examples per forward and backward pass, for batches that do not fit into memory; the gradients of the \
             passes are summed, which is no faster than small batches (B5). 0: one pass for the whole batch",
        ),
        Hp::whole("ghost_batch_size", 0..=MANY, 0).doc(
            "Examples that share the statistics of a batch norm, typically 64; the last ones of a batch may be fewer. 0: \
             all examples of a forward pass (B15)",
        ),
        Hp::whole("steps", 1..=MANY, 1000).doc("Training steps, including the warm-up; not to be tuned (G2)"),
        Hp::whole("eval_every", 1..=MANY, 100).doc("Steps between two evaluations (H3)"),
        Hp::whole("checkpoint_every", 0..=MANY, 0).doc(
            "Least number of steps between two checkpoints to resume from, which are written after evaluations. 0: a \
             tenth of the steps (H10)",
        ),
        Hp::whole("keep_best", 1..=1000, 1).doc("How many of the best checkpoints are kept (H10)"),
        Hp::choice("precision", &["fp32", "tf32", "bf16"])
            .doc("Number format of matrix products; parameters and sums stay in fp32. tf32 needs a CUDA device"),
        seed("seed")
            .doc("Seed of all randomness; by default it follows from the study's seed and the trial's number (F2)"),
        seed("init_seed").doc("Seed of the initial parameters; by default that of the trial (F2)"),
        seed("order_seed").doc("Seed of the order of the training examples; by default that of the trial (F2)"),
        seed("dropout_seed").doc("Seed of dropout; by default that of the trial (F2)"),
        seed("augment_seed").doc("Seed of the augmentation of inputs; by default that of the trial (F2)"),
    ];
    all.into_iter().map(|h| Hp { shared: true, ..h }).collect()
}
