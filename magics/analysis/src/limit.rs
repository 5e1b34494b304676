//! Searches for the largest batch size that fits into memory (Playbook B1), in as few probes as possible.
//!
//! The model of memory is linear: m(b) = m₀ + m₁·b bytes for a batch of b examples. It is fitted to the two largest
//! sizes that fit and predicts the limit. Small sizes may not show the slope, because an allocator keeps small blocks
//! that were freed. If a probe below the predicted limit fails, the model is therefore fitted again to larger sizes.
//! The last probes verify the prediction from both sides.
//!
//! As long as only one size is known, memory is taken to be proportional to the batch size, m(b) = m(s)·b/s, which is
//! the most that a linear model with m₀ ≥ 0 allows. So no probe is expected to exceed the share of soft memory.

use tunebook_study::probe::MemoryUse;

/// The search ends when the bracket of the limit is narrower than this share of its lower end.
const PRECISION: f64 = 0.05;
/// Running out of soft memory would end processes of the machine, so at most this share of it is used.
const SOFT_SHARE: f64 = 0.9;
/// The size of the first probe, if the cap allows it. Memory hardly grows below it.
const FIRST: u64 = 16;
/// A probe is at most this many times as large as the largest size that is known to fit.
const REACH: u64 = 16;
/// The second probe is at least this many times as large as the first one if all of soft memory has room for it. A
/// slope between neighbouring sizes would be that of noise.
const LEAST_STEP: f64 = 1.25;
/// A size above this share of the predicted limit is near it, so what is known there is no prediction any more.
const NEAR: f64 = 0.9;
/// A prediction may differ by this share from the limit that was found.
const PREDICTION_TOLERANCE: f64 = 0.1;

/// The search for the limit. It proposes sizes ([`LimitSearch::next_size`]) and is told of each whether it fits.
#[derive(Clone, Debug)]
pub struct LimitSearch {
    cap: u64,
    /// The sizes that fit, in ascending order, with the memory that each used.
    fitting: Vec<(u64, Vec<MemoryUse>)>,
    /// The upper end of the bracket: the smallest size that failed, or the first size beyond the share of soft memory.
    ceiling: Option<u64>,
    smallest_failed: Option<u64>,
    probes: usize,
    prediction: Option<u64>,
}

impl LimitSearch {
    /// Starts a search that proposes no size above `cap`: the number of examples, or the limit that the user set.
    pub fn new(cap: u64) -> Self {
        let cap = cap.max(1);
        Self { cap, fitting: vec![], ceiling: None, smallest_failed: None, probes: 0, prediction: None }
    }

    /// Lowers the cap. It is called when the number of examples becomes known.
    pub fn lower_cap(&mut self, cap: u64) {
        self.cap = self.cap.min(cap.max(1));
    }

    /// The number of sizes that were probed.
    pub fn probes(&self) -> usize {
        self.probes
    }

    /// The largest size that fits, or 0 if none does.
    pub fn largest(&self) -> u64 {
        self.fitting.last().map_or(0, |(size, _)| *size)
    }

    /// The smallest probed size that does not fit, or None if every probe fitted.
    pub fn smallest_too_large(&self) -> Option<u64> {
        self.smallest_failed
    }

    /// The limit that the model of memory predicted before any size near it was probed. None if there was no
    /// prediction.
    pub fn prediction(&self) -> Option<u64> {
        self.prediction
    }

    /// Whether memory limits the batch size. Otherwise the cap does.
    pub fn is_limited_by_memory(&self) -> bool {
        self.ceiling.is_some()
    }

    /// Records that a size fits, and the memory that it used.
    pub fn fits(&mut self, size: u64, memory: Vec<MemoryUse>) {
        self.probes += 1;
        self.fitting.push((size, memory));
        self.fitting.sort_by_key(|(size, _)| *size);
    }

    /// Records that a size does not fit.
    pub fn does_not_fit(&mut self, size: u64) {
        self.probes += 1;
        let smaller = |known: Option<u64>| Some(known.map_or(size, |known| known.min(size)));
        (self.ceiling, self.smallest_failed) = (smaller(self.ceiling), smaller(self.smallest_failed));
    }

    /// Returns the next size to probe, or None when the search has ended.
    pub fn next_size(&mut self) -> Option<u64> {
        let low = self.largest();
        if low == 0 {
            return match self.ceiling {
                None => Some(FIRST.min(self.cap)),
                Some(1) => None,
                Some(high) => Some((high / 4).max(1)),
            };
        }
        let soft = self.predicted(false).map_or(self.cap, |limit| limit.min(self.cap));
        let hard = self.predicted(true);
        let is_refuted = |limit: u64| self.smallest_failed.is_some_and(|failed| failed <= limit);
        if self.fitting.len() >= 2 && self.prediction.is_none_or(is_refuted) {
            let known = [Some(soft).filter(|soft| *soft < self.cap), hard].into_iter().flatten().min();
            let foretold = |limit: &u64| *limit > low && *limit / REACH <= low && !is_refuted(*limit);
            let is_far = |limit: &u64| self.prediction.is_none() || low as f64 <= NEAR * *limit as f64;
            self.prediction = known.filter(|limit| foretold(limit) && is_far(limit)).or(self.prediction);
        }
        let ceiling = self.ceiling.map_or(soft + 1, |high| high.min(soft + 1)).max(low + 1);
        let is_narrow = (ceiling - low) as f64 <= (PRECISION * low as f64).max(1.0);
        if is_narrow {
            // The limit of soft memory is not probed, because exceeding it would end other processes.
            if self.ceiling.is_none() && soft < self.cap {
                self.ceiling = Some(soft + 1);
            }
            return None;
        }
        let proportional = self.proportional_limit().map_or(u64::MAX, |limit| limit.max(low + 1));
        let reach = low.saturating_mul(REACH).min(proportional).min(ceiling - 1);
        let middle = low + (ceiling - low) / 2;
        let guess = match (hard, self.fitting.len()) {
            // The prediction is verified first from below, then from above.
            (Some(limit), 2..) if limit > low && limit < ceiling => {
                let (below, above) = ((0.985 * limit as f64) as u64, (1.02 * limit as f64) as u64);
                if below > low && limit as f64 > (1.0 + 0.6 * PRECISION) * low as f64 {
                    below
                } else if above < ceiling - 1 {
                    above
                } else {
                    middle
                }
            }
            // The prediction lies outside of the bracket, so the bracket is halved.
            _ if self.ceiling.is_some() => middle,
            _ => reach,
        };
        let guess = guess.clamp(low + 1, reach.max(low + 1));
        // The hardware works best with multiples of eight; they are taken where they are finer than the precision.
        let rounded = guess / 8 * 8;
        Some(if rounded > low && guess < self.cap && PRECISION * low as f64 >= 16.0 { rounded } else { guess })
    }

    /// Returns the largest size that soft memory allows if memory is proportional to the batch size. None if the slope
    /// of soft memory is known, or if there is no soft memory.
    fn proportional_limit(&self) -> Option<u64> {
        if self.predicted(false).is_some() {
            return None;
        }
        let (size, memory) = self.fitting.last()?;
        let soft = memory.iter().filter(|memory| !memory.hard && memory.used > 0);
        let limit = soft.map(|memory| *size as f64 * memory.limit as f64 / memory.used as f64).reduce(f64::min)?;
        Some((SOFT_SHARE * limit).max(limit.min(LEAST_STEP * *size as f64)) as u64)
    }

    /// Returns the largest size that the model of memory allows, over all kinds of memory that are hard, or soft.
    ///
    /// With the two largest sizes that fit, s < l, the slope is m₁ = (m(l) − m(s))/(l − s), and the limit is the b with
    /// m(l) + m₁·(b − l) = the available bytes. None if fewer than two sizes fit, or if no kind of memory grows.
    fn predicted(&self, hard: bool) -> Option<u64> {
        let [.., (small, before), (large, last)] = self.fitting.as_slice() else { return None };
        let limits = last.iter().filter(|memory| memory.hard == hard).filter_map(|memory| {
            let earlier = before.iter().find(|earlier| earlier.kind == memory.kind)?;
            let m1 = (memory.used as f64 - earlier.used as f64) / (*large - *small) as f64;
            let available = memory.limit as f64 * if hard { 1.0 } else { SOFT_SHARE };
            (m1 > 0.0).then(|| (*large as f64 + (available - memory.used as f64) / m1).max(1.0))
        });
        limits
            .fold(None, |least: Option<f64>, limit| Some(least.map_or(limit, |l| l.min(limit))))
            .map(|limit| limit as u64)
    }
}

/// Whether the predicted limit is within 10 % of the limit that was found, which says that memory grows in proportion
/// to the batch size. The limit that was found is the middle between the largest size that fits and the smallest that
/// does not.
pub fn is_memory_linear(predicted: u64, largest: u64, too_large: Option<u64>) -> bool {
    let found = 0.5 * (largest + too_large.unwrap_or(largest)) as f64;
    (predicted as f64 / found - 1.0).abs() <= PREDICTION_TOLERANCE
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Searches a machine on which a batch of b uses m0 + m1·b bytes. Returns the size that was found and the probes.
    fn search(m0: u64, m1: u64, limit: u64, cap: u64, hard: bool) -> (u64, usize) {
        let mut search = LimitSearch::new(cap);
        while let Some(size) = search.next_size() {
            assert!(size >= 1 && size <= cap && search.probes() < 60, "{size}");
            let used = m0 + m1 * size;
            match used <= limit {
                true => search.fits(size, vec![MemoryUse { kind: "m".into(), used, limit, hard }]),
                false => {
                    assert!(hard, "running out of this memory would end processes");
                    search.does_not_fit(size);
                }
            }
        }
        if let Some(predicted) = search.prediction().filter(|_| search.is_limited_by_memory()) {
            let truth = if hard { search.largest() as f64 } else { search.largest() as f64 / 0.97 };
            assert!((predicted as f64 / truth - 1.0).abs() < 0.1, "{predicted} predicted, {truth}");
        }
        (search.largest(), search.probes())
    }

    /// The number of probes of doubling and then bisecting to the same precision.
    fn doubling(truth: u64) -> usize {
        let (mut size, mut probes) = (1, 1);
        while size <= truth {
            size *= 2;
            probes += 1;
        }
        let (mut low, mut high) = (size / 2, size);
        while (high - low) as f64 > PRECISION * low as f64 {
            let middle = (low + high) / 2;
            if middle <= truth {
                low = middle
            } else {
                high = middle
            }
            probes += 1;
        }
        probes
    }

    #[test]
    fn the_limit_is_found_within_five_percent_in_few_probes() {
        for truth in [1, 2, 3, 9, 17, 100, 1024, 1500, 5000, 20_000, 70_001, 1_000_000] {
            let (m0, m1) = (300_000_000, 40_000);
            let (found, probes) = search(m0, m1, m0 + m1 * truth, 1 << 30, true);
            let least = (truth as f64 / (1.0 + PRECISION)).floor().max((truth - 1).min(truth) as f64 * 0.95);
            assert!(found <= truth && found as f64 >= least.min(truth as f64 - 1.0).max(1.0), "{found} of {truth}");
            if truth >= 1024 {
                assert!(probes as f64 <= 0.6 * doubling(truth) as f64, "{truth}: {probes} of {}", doubling(truth));
            }
        }
    }

    #[test]
    fn soft_memory_is_used_to_nine_tenths() {
        let (m0, m1, truth) = (300_000_000, 40_000, 30_000);
        let limit = m0 + m1 * truth;
        let (found, _) = search(m0, m1, limit, 1 << 30, false);
        let nine_tenths = (0.9 * limit as f64 - m0 as f64) / m1 as f64;
        assert!(found as f64 <= nine_tenths + 1.0 && found as f64 >= 0.93 * nine_tenths, "{found}, {nine_tenths}");
    }

    #[test]
    fn no_probe_is_expected_to_exceed_the_share_of_soft_memory() {
        // One example uses 10 MB, and a batch of 16 leaves room for three times as much.
        for (m0, m1, limit) in [(0, 10_000_000, 500_000_000), (400_000_000, 10_000_000, 700_000_000), (1, 1, 20)] {
            let mut search = LimitSearch::new(1 << 30);
            while let Some(size) = search.next_size() {
                let used = m0 + m1 * size;
                assert!(used as f64 <= limit as f64, "{size} uses {used} of {limit}");
                search.fits(size, vec![MemoryUse { kind: "m".into(), used, limit, hard: false }]);
            }
            let nine_tenths = (0.9 * limit as f64 - m0 as f64) / m1 as f64;
            assert!(search.largest() as f64 >= 0.93 * nine_tenths - 1.0, "{} {nine_tenths}", search.largest());
        }
    }

    /// The address space that a training step of a wide perceptron used (glibc's allocator, libtorch 2.11 on a CPU).
    /// Below 128 examples, blocks that were freed stay mapped.
    #[test]
    fn a_prediction_that_a_probe_refuted_is_made_again_from_larger_sizes() {
        let used = |size: u64| match size {
            ..100 => 537_600_000 + 757_000 * size,
            _ => 502_000_000 + 788_000 * size,
        };
        let limit = 1_024_000_000;
        let mut search = LimitSearch::new(1257);
        while let Some(size) = search.next_size() {
            match used(size) <= limit {
                true => search.fits(size, vec![MemoryUse { kind: "m".into(), used: used(size), limit, hard: true }]),
                false => search.does_not_fit(size),
            }
        }
        let (largest, too_large) = (search.largest(), search.smallest_too_large());
        assert!((625..=662).contains(&largest) && search.probes() <= 8, "{largest}");
        assert!(is_memory_linear(search.prediction().unwrap(), largest, too_large), "{:?}", search.prediction());
    }

    #[test]
    fn a_search_ends_at_its_cap_or_when_no_size_fits() {
        assert_eq!(search(1, 1, u64::MAX / 2, 1257, true).0, 1257);
        assert_eq!(search(1, 0, 100, 1, true).0, 1);
        assert_eq!(search(100, 1, 50, 1000, true).0, 0);
    }

    #[test]
    fn the_limit_is_found_if_memory_grows_in_jumps() {
        let mut search = LimitSearch::new(1 << 20);
        while let Some(size) = search.next_size() {
            assert!(search.probes() < 60);
            // The allocator rounds up to blocks of 128 MiB.
            let used = (1 << 28) + (size * 50_000).div_ceil(1 << 27) * (1 << 27);
            let limit = 4 << 30;
            match used <= limit {
                true => search.fits(size, vec![MemoryUse { kind: "m".into(), used, limit, hard: true }]),
                false => search.does_not_fit(size),
            }
        }
        let truth = ((4_u64 << 30) - (1 << 28)) / (1 << 27) * (1 << 27) / 50_000;
        assert!(
            search.largest() <= truth && search.largest() as f64 >= 0.94 * truth as f64,
            "{} {truth}",
            search.largest()
        );
    }

    #[test]
    fn the_smallest_size_that_failed_is_one_that_was_probed() {
        let mut search = LimitSearch::new(1 << 20);
        let memory = |used| vec![MemoryUse { kind: "m".into(), used, limit: 1 << 30, hard: false }];
        let mut largest_failed = None;
        while let Some(size) = search.next_size() {
            let used = 1000 * size;
            match used <= 1 << 29 {
                true => search.fits(size, memory(used)),
                false => {
                    search.does_not_fit(size);
                    largest_failed = largest_failed.max(Some(size));
                }
            }
        }
        assert!(search.is_limited_by_memory());
        let failed = search.smallest_too_large().unwrap();
        assert!(
            failed > search.largest()
                && failed as f64 <= 1.06 * search.largest() as f64
                && Some(failed) <= largest_failed
        );

        let mut soft = LimitSearch::new(1 << 20);
        while let Some(size) = soft.next_size() {
            soft.fits(size, memory(1000 * size));
        }
        assert!(soft.is_limited_by_memory() && soft.smallest_too_large().is_none(), "no probe failed");
    }

    #[test]
    fn a_prediction_far_from_the_limit_says_that_memory_is_not_linear() {
        assert!(is_memory_linear(1000, 980, Some(1030)));
        assert!(is_memory_linear(1080, 1000, None) && !is_memory_linear(1200, 1000, None));
        assert!(!is_memory_linear(500, 980, Some(1030)));
    }
}
