//! What differs between the versions of the sampler. A study keeps the version that it began with.

/// The rules of a version.
pub struct Rules {
    /// Whether the first configuration is the centre of the space, as in Google Vizier.
    pub centre_first: bool,
    /// Whether a configuration stays near those before it while there are few (Vizier's trust region).
    pub trusts_region: bool,
    /// While no trial runs: how often pure exploration takes the place of the expected improvement. Without it, a study
    /// stays in the first of several minima that it finds.
    pub explore_alone: f64,
    /// Whether an expected improvement is over what the trials that run will probably give, too.
    pub counts_running: bool,
    /// Whether the expected improvement is used while trials run.
    pub improves_in_parallel: bool,
    /// While trials run and some were infeasible: how often the next configuration stays near the best one.
    pub near_best: f64,
    /// While trials run, some were infeasible, and none ended since: how often the expected improvement is used.
    improves_beside: f64,
    /// Whether a trial that was stopped early has a value among the worse half of the complete ones. Before, it had the
    /// value that it had reached, as if it were complete.
    pub distrusts_stopped: bool,
    /// Whether a configuration whose trials failed is no bar for the next one. It will never have a value.
    pub leaves_out_failed: bool,
    /// Whether the neighbours of a whole number are the next whole numbers, on a logarithmic scale too.
    pub steps_by_value: bool,
}

impl Rules {
    pub fn of(version: u32) -> Self {
        let is_new = version >= 4;
        Self {
            centre_first: is_new,
            trusts_region: is_new,
            explore_alone: if is_new { EXPLORE_ALONE } else { 0.15 },
            counts_running: is_new,
            improves_in_parallel: is_new,
            near_best: match version {
                ..5 => 0.0,
                5 => 0.8,
                _ => NEAR_BEST,
            },
            improves_beside: if version >= 5 { 1.0 } else { 0.5 },
            distrusts_stopped: version >= 7,
            leaves_out_failed: version >= 7,
            steps_by_value: version >= 7,
        }
    }

    /// How often the expected improvement is used while trials run. It is used more often where trials were infeasible,
    /// because the low value that an upper bound gives them hides the shape of the others.
    pub fn improvement(&self, some_infeasible: bool, after_result: bool) -> f64 {
        match (self.improves_in_parallel, some_infeasible, after_result) {
            (false, _, _) => 0.0,
            (true, false, false) => 0.25,
            (true, false, true) => 0.5,
            (true, true, false) => self.improves_beside,
            (true, true, true) => 1.0,
        }
    }
}

/// With 0.15, a rotated function with thousands of minima (BBOB 15) was left to one of the first ones.
const EXPLORE_ALONE: f64 = 0.3;

/// Far from the best configuration, ten that are asked for at once tend to make the same bet: on one infeasible corner,
/// or on the bounds of the ranges. On a function with branches, whole batches gave nothing so. The others still look
/// everywhere.
const NEAR_BEST: f64 = 0.9;
