//! Samplers.
use serde::{Deserialize, Serialize};
/// Which sampler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SamplerKind {
    /// Scrambled Halton.
    Quasirandom,
    /// Independent draws.
    Random,
    /// Every combination once.
    Grid,
}
