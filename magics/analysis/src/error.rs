//! Questions that trials cannot answer.

/// Why there is no conclusion.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum AnalysisError {
    /// No such declaration.
    #[error("the study has no hyperparameter `{name}`")]
    UnknownHyperparameter { name: String, known: Vec<String> },
    /// Declared in several branches: the label says which is meant.
    #[error("`{name}` is declared in several branches: {}", labels.join(", "))]
    Ambiguous { name: String, labels: Vec<String> },
    /// It has one value only.
    #[error("`{name}` has the same value in all trials, so there is nothing to compare")]
    Constant { name: String },
    /// No trial has an objective yet.
    #[error("no trial of the study has ended with a `{metric}` yet")]
    NoObjective { metric: String },
    /// No such trial.
    #[error("the study has no trial {number}")]
    UnknownTrial { number: u32 },
}
