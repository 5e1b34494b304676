//! Whether the edge of stability limits the learning rate (Playbook I7): any workload is unstable at a high enough
//! rate, which is a problem only if it forces the rate to be too small.

use super::comparison::{Difference, SeedValues};
use super::rates::{RATES_PER_DECADE, rate};
use super::sweep::{RateSweepResult, pooled};
use serde::Serialize;

/// A rate is next to the edge if the edge is at most this many times the rate.
pub const NEAR: f64 = 2.0;

/// Whether a rate is not next to the edge.
pub(super) fn is_far(index: i32, edge: i32) -> bool {
    edge - index > (NEAR.log10() * f64::from(RATES_PER_DECADE)).round() as i32
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitVerdict {
    /// The best rates lie next to the edge, by more than the noise of the seeds.
    Limited,
    /// A rate that is not next to the edge is the best one.
    NotLimited,
    /// The best rate lies next to the edge, but within the noise of the seeds a lower one does as well.
    CannotTell,
}

/// The best rate next to the edge against the best one below.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Limit {
    pub verdict: LimitVerdict,
    /// The best rate next to the edge, and its mean objective as a value to minimize. None if no run there learned
    /// something.
    pub near: Option<(f64, f64)>,
    /// The same for the rates below.
    pub far: Option<(f64, f64)>,
    /// The objective of the best rate below, less that of the best one next to the edge.
    pub difference: Option<Difference>,
}

/// Compares the rates next to the edge with the lower ones. None if the sweep found no edge or no best rate.
pub fn limit(sweep: &RateSweepResult) -> Option<Limit> {
    let edge = sweep.edge.as_ref()?.index;
    let best = sweep.best?;
    let split = |far: bool| -> Option<&(i32, SeedValues)> {
        let of_side = sweep.seeds.iter().filter(|(index, _)| is_far(*index, edge) == far);
        of_side.min_by(|a, b| a.1.mean().total_cmp(&b.1.mean()))
    };
    let (near, far) = (split(false), split(true));
    let shown = |side: Option<&(i32, SeedValues)>| side.map(|(index, seeds)| (rate(*index), seeds.mean()));
    let difference = near.zip(far).map(|((near_index, near), (far_index, far))| {
        Difference::new(far, near, pooled(&sweep.seeds, [*near_index, *far_index]))
    });
    let verdict = match (is_far(best, edge), &difference) {
        (_, Some(difference)) if difference.is_above_zero() => LimitVerdict::Limited,
        (true, _) => LimitVerdict::NotLimited,
        // No lower rate learned anything with several seeds.
        (false, None) if far.is_none() => LimitVerdict::Limited,
        (false, _) => LimitVerdict::CannotTell,
    };
    Some(Limit { verdict, near: shown(near), far: shown(far), difference })
}
