//! The largest batch size that fits (Playbook B1), in as few probes as a linear model of memory allows: m(b) = m₀ + m₁b is
//! fitted to what probes used, predicts the limit, and the last probes verify it from both sides.

use tunebook_study::probe::MemoryUse;

/// The bracket is narrow enough when it is this share of its lower end.
const PRECISION: f64 = 0.05;
/// Memory whose end would end processes is used up to this share.
const SOFT_SHARE: f64 = 0.9;
/// The first probe, where the cap allows it: below it memory hardly grows.
const FIRST: u64 = 16;
/// A prediction is trusted this far beyond the largest size that was tried.
const REACH: u64 = 16;

/// The search: asks for sizes, is told what became of them.
#[derive(Clone, Debug)]
pub struct LimitSearch {
    cap: u64,
    fits: Vec<(u64, Vec<MemoryUse>)>,
    /// The smallest size that does not fit, or would not.
    too_large: Option<u64>,
    probes: usize,
    /// The limit that the model predicted when it was first trusted.
    prediction: Option<u64>,
}

impl LimitSearch {
    /// Up to a cap: the number of examples, or what the user said.
    pub fn new(cap: u64) -> Self {
        Self { cap: cap.max(1), fits: vec![], too_large: None, probes: 0, prediction: None }
    }

    /// There are no more examples than this.
    pub fn cap(&mut self, cap: u64) {
        self.cap = self.cap.min(cap.max(1));
    }

    /// How many sizes were probed.
    pub fn probes(&self) -> usize {
        self.probes
    }

    /// The largest size that fits; 0 where none does.
    pub fn largest(&self) -> u64 {
        self.fits.iter().map(|(size, _)| *size).max().unwrap_or(0)
    }

    /// The limit that the model of memory predicted, before any size near it was tried.
    pub fn prediction(&self) -> Option<u64> {
        self.prediction
    }

    /// Whether memory is what ends it, and not the cap.
    pub fn is_limited_by_memory(&self) -> bool {
        self.too_large.is_some()
    }

    /// A size fits, and used so much.
    pub fn fits(&mut self, size: u64, memory: Vec<MemoryUse>) {
        self.probes += 1;
        self.fits.push((size, memory));
        self.fits.sort_by_key(|(size, _)| *size);
    }

    /// A size does not fit.
    pub fn does_not_fit(&mut self, size: u64) {
        self.probes += 1;
        self.too_large = Some(self.too_large.map_or(size, |known| known.min(size)));
    }

    /// The next size to probe; `None` at the end.
    pub fn next(&mut self) -> Option<u64> {
        let low = self.largest();
        if low == 0 {
            return match self.too_large {
                None => Some(FIRST.min(self.cap)),
                Some(1) => None,
                Some(high) => Some((high / 4).max(1)),
            };
        }
        let soft = self.predicted(false).map_or(self.cap, |limit| limit.min(self.cap));
        let hard = self.predicted(true);
        if self.prediction.is_none() && self.fits.len() >= 2 {
            let known = [Some(soft).filter(|soft| *soft < self.cap), hard].into_iter().flatten().min();
            self.prediction = known.filter(|limit| *limit > low && *limit / REACH <= low);
        }
        let ceiling = self.too_large.map_or(soft + 1, |high| high.min(soft + 1)).max(low + 1);
        let narrow = |high: u64| (high - low) as f64 <= (PRECISION * low as f64).max(1.0);
        if narrow(ceiling) {
            // A ceiling of the machine's own memory is not tried out: crossing it would end other processes.
            if self.too_large.is_none() && soft < self.cap {
                self.too_large = Some(soft + 1);
            }
            return None;
        }
        let reach = low.saturating_mul(REACH).min(ceiling - 1);
        let guess = match (hard, self.fits.len()) {
            // From below, then from above.
            (Some(limit), 2..) if limit > low && limit < ceiling => {
                let (below, above) = ((0.985 * limit as f64) as u64, (1.02 * limit as f64) as u64);
                match () {
                    () if below > low && limit as f64 > (1.0 + 0.6 * PRECISION) * low as f64 => below,
                    () if above < ceiling - 1 => above,
                    () => low + (ceiling - low) / 2,
                }
            }
            // The model is of no use here: between the ends.
            _ if self.too_large.is_some() => low + (ceiling - low) / 2,
            _ => reach,
        };
        let guess = guess.clamp(low + 1, reach.max(low + 1));
        // Sizes that are multiples of eight suit the hardware, where that is fine enough.
        let rounded = guess / 8 * 8;
        Some(if rounded > low && guess < self.cap && PRECISION * low as f64 >= 16.0 { rounded } else { guess })
    }

    /// The largest size that the model allows, for memory whose end can be caught (`hard`) or not.
    fn predicted(&self, hard: bool) -> Option<u64> {
        let [.., (small, before), (large, last)] = self.fits.as_slice() else { return None };
        let limits = last.iter().filter(|memory| memory.hard == hard).filter_map(|memory| {
            let earlier = before.iter().find(|earlier| earlier.kind == memory.kind)?;
            let each = (memory.used as f64 - earlier.used as f64) / (*large - *small) as f64;
            let available = memory.limit as f64 * if hard { 1.0 } else { SOFT_SHARE };
            (each > 0.0).then(|| (*large as f64 + (available - memory.used as f64) / each).max(1.0))
        });
        limits
            .fold(None, |least: Option<f64>, limit| Some(least.map_or(limit, |l| l.min(limit))))
            .map(|limit| limit as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Searches a machine where a size uses m₀ + m₁b of a limit; gives the size found and the probes.
    fn search(m0: u64, m1: u64, limit: u64, cap: u64, hard: bool) -> (u64, usize) {
        let mut search = LimitSearch::new(cap);
        while let Some(size) = search.next() {
            assert!(size >= 1 && size <= cap && search.probes() < 60, "{size}");
            let used = m0 + m1 * size;
            match used <= limit {
                true => search.fits(size, vec![MemoryUse { kind: "m".into(), used, limit, hard }]),
                false => {
                    assert!(hard, "what cannot be caught is not tried out");
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

    /// Probes of doubling and then bisecting to the same precision.
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
    fn memory_whose_end_cannot_be_caught_is_used_to_nine_tenths() {
        let (m0, m1, truth) = (300_000_000, 40_000, 30_000);
        let limit = m0 + m1 * truth;
        let (found, _) = search(m0, m1, limit, 1 << 30, false);
        let nine_tenths = (0.9 * limit as f64 - m0 as f64) / m1 as f64;
        assert!(found as f64 <= nine_tenths + 1.0 && found as f64 >= 0.93 * nine_tenths, "{found}, {nine_tenths}");
    }

    #[test]
    fn a_cap_always_ends_it_and_nothing_may_fit() {
        assert_eq!(search(1, 1, u64::MAX / 2, 1257, true).0, 1257);
        assert_eq!(search(1, 0, 100, 1, true).0, 1);
        assert_eq!(search(100, 1, 50, 1000, true).0, 0);
    }

    #[test]
    fn memory_that_grows_by_jumps_still_has_its_limit() {
        let mut search = LimitSearch::new(1 << 20);
        while let Some(size) = search.next() {
            assert!(search.probes() < 60);
            // An allocator that rounds to large blocks.
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
}
