//! Training instability (Playbook I7–I13): at which learning rate training becomes unstable, whether that limits it,
//! when in training it happens, and which remedy helps.

mod comparison;
mod gradient_norms;
mod limit;
mod onset;
mod rates;
mod remedies;
mod sweep;
mod warmup;

pub use comparison::{Difference, SeedValues};
pub use gradient_norms::{GradientNorms, gradient_norms};
pub use limit::{Limit, LimitVerdict, NEAR, limit};
pub use onset::{InstabilityKind, Onset, OnsetOf, RunAbove, instability_kind, onset};
pub use rates::{HIGHEST_RATE, LOWEST_RATE, RATES_PER_DECADE, nearest_rate, rate};
pub use remedies::{Remedy, RemedyEffect, next_remedy, remedies, remedy_effect};
pub use sweep::{Edge, RatePoint, RateRun, RateSweep, RateSweepResult, RunEnd};
pub use warmup::{FIRST_FACTOR, WarmupCandidate, WarmupOutcome, WarmupRun, WarmupSearch, raises_steps, warmup_lengths};
