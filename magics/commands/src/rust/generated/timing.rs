use ::std::hint::black_box;
use ::std::time::Instant;

/// Chooses the number of loops of each sample, and records the times.
pub struct Sampler {
    /// The seconds that the whole measurement should take.
    budget: f64,
    /// The number of samples, if there is enough time.
    wanted: usize,
    /// The least number of samples, however long they take.
    least: usize,
    /// The loops of each sample, if the user has set them.
    loops: Option<u64>,
    started: Instant,
    /// The number of warm-up rounds so far.
    rounds: u32,
    /// The loops of the last warm-up round.
    last: u64,
    /// The seconds of all warm-up rounds.
    warm: f64,
    /// The seconds of the last warm-up round.
    last_took: f64,
    /// The loops of each sample, once they are chosen.
    plan: Option<Vec<u64>>,
    /// The loops and the seconds of each sample.
    samples: Vec<(u64, f64)>,
}

impl Sampler {
    pub fn new(budget: f64, wanted: usize, least: usize, loops: Option<u64>) -> Self {
        let started = Instant::now();
        let (rounds, last, warm, last_took) = (0, 0, 0.0, 0.0);
        Self { budget, wanted, least, loops, started, rounds, last, warm, last_took, plan: None, samples: vec![] }
    }

    /// The loops of the next warm-up round or sample, or None at the end.
    pub fn next(&mut self) -> Option<u64> {
        if self.plan.is_none() {
            let warmed = self.rounds > 0 && (self.warm >= 0.2 * self.budget || self.loops.is_some());
            if !warmed && self.last < 1 << 50 {
                return Some(if self.rounds == 0 { 1 } else { 2 * self.last });
            }
            self.plan = Some(self.choose());
        }
        let spent = self.started.elapsed().as_secs_f64();
        let late = spent > 2.0 * self.budget && self.samples.len() >= self.least;
        self.plan.as_ref().and_then(|plan| plan.get(self.samples.len()).copied()).filter(|_| !late)
    }

    /// Runs and times the code in a loop.
    pub fn time<T>(&mut self, loops: u64, mut code: impl FnMut() -> T) {
        let start = Instant::now();
        for _ in 0..loops {
            black_box(code());
        }
        let seconds = start.elapsed().as_secs_f64();
        if self.plan.is_some() {
            self.samples.push((loops, seconds));
            return;
        }
        self.rounds += 1;
        self.warm += seconds;
        (self.last, self.last_took) = (loops, seconds);
    }

    /// Chooses the loops of each sample from the time of the last warm-up round, in steps (1, 2, 3, …) if the code is
    /// fast enough.
    fn choose(&mut self) -> Vec<u64> {
        let one = (self.last_took / self.last as f64).max(1e-12);
        // If one call takes longer than the whole budget, the warm-up counts as a sample.
        if one > self.budget && self.loops.unwrap_or(1) == 1 {
            self.samples.push((1, one));
        }
        if let Some(loops) = self.loops {
            return vec![loops; self.wanted];
        }
        // The setup, which is not timed, uses up a part of the budget too.
        let beside = (self.started.elapsed().as_secs_f64() - self.warm).max(0.0) / f64::from(self.rounds);
        let left = 0.8 * self.budget - beside * self.wanted as f64;
        let wanted = self.wanted as f64;
        let step = (left / one / (0.5 * wanted * (wanted + 1.0))) as u64;
        if step > 0 {
            return (1..=self.wanted as u64).map(|i| i * step).collect();
        }
        let each = ((left / one / wanted) as u64).max(1);
        let fitting = (0.8 * self.budget / (one * each as f64 + beside)) as usize;
        vec![each; fitting.clamp(self.least.min(self.wanted), self.wanted)]
    }

    pub fn answer(self) -> Answer<Vec<(u64, f64)>> {
        Answer(self.samples)
    }
}

/// The error with which a `?` ended the code.
pub struct Problem(String);

impl<T: ::std::fmt::Display> From<T> for Problem {
    fn from(error: T) -> Self {
        Self(error.to_string())
    }
}

/// The value of code that contains a `?`. An error becomes a panic.
pub fn value<T>(result: Result<T, Problem>) -> T {
    result.unwrap_or_else(|Problem(text)| panic!("{text}"))
}
