//! A study as the store records it, with everything that an export needs.

use serde_json::Value;
use tunebook_study::{Measurement, StudyDefinition, Trial};

/// A study with its trials.
#[derive(Clone, Debug)]
pub struct RecordedStudy {
    pub name: String,
    pub definition: StudyDefinition,
    /// When it was created, in Unix seconds.
    pub created: f64,
    /// Where it ran last.
    pub environment: Option<Value>,
    /// What its import kept for a later export ([`crate::optuna::Imported::kept`]). None if it was not imported.
    pub kept: Option<Value>,
    pub trials: Vec<RecordedTrial>,
}

/// A trial with its measurements.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordedTrial {
    pub trial: Trial,
    pub measurements: Vec<Measurement>,
}
