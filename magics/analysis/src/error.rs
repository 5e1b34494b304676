//! Why an analysis has no answer.

/// A question that the recorded trials cannot answer.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum AnalysisError {
    /// The search space declares no such hyperparameter. `known` lists the labels of those that vary.
    #[error("the study has no hyperparameter `{name}`")]
    UnknownHyperparameter { name: String, known: Vec<String> },
    /// Several branches of the search space declare the name. Each of `labels` names one of these declarations.
    #[error("`{name}` is declared in several branches: {}", labels.join(", "))]
    Ambiguous { name: String, labels: Vec<String> },
    /// The search space gives the hyperparameter one value only.
    #[error("`{name}` has the same value in all trials, so there is nothing to compare")]
    Constant { name: String },
    /// No complete trial reported the metric.
    #[error("no trial of the study has ended with a `{metric}` yet")]
    NoObjective { metric: String },
}

impl AnalysisError {
    /// The hyperparameter as the question named it, if the error is about one.
    pub fn hyperparameter(&self) -> Option<&str> {
        match self {
            Self::UnknownHyperparameter { name, .. } | Self::Ambiguous { name, .. } | Self::Constant { name } => {
                Some(name)
            }
            Self::NoObjective { .. } => None,
        }
    }
}
