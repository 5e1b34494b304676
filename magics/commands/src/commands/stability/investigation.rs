//! The parts of the magic in their order: the sweep, the runs above the best rate, the probe at every step, the
//! gradient norms, the search for a warm-up, and the remedies.

use super::display::StabilityDisplay;
use super::plan::{StabilityPlan, Variant, whole};
use super::remedy::{self, TriedRemedy};
use super::trials::Trials;
use crate::error::Result;
use tunebook_analysis::{
    GradientNorms, InstabilityKind, Limit, LimitVerdict, Onset, OnsetOf, RATES_PER_DECADE, RateRun, RateSweep,
    RateSweepResult, Remedy, RunAbove, RunEnd, WarmupCandidate, WarmupOutcome, WarmupRun, WarmupSearch, gradient_norms,
    instability_kind, limit, next_remedy, onset, rate, remedies,
};
use tunebook_charts::{LossCurve, RateDot};

/// The multiples of the best rate, and their distances in rates (Playbook I8).
const MULTIPLES: [(f64, i32); 3] = [(2.0, 6), (5.0, 14), (10.0, 20)];
/// The most steps of the run that is evaluated at every step (Playbook I9).
const PROBE_STEPS: u64 = 500;
/// A shorter run of the warm-up search has too little time to learn anything.
const STEPS_TO_LEARN: u64 = 100;

/// The run at twice the best rate that is evaluated at every step.
pub struct Probe {
    pub lr: f64,
    /// The number of losses.
    pub losses: usize,
    pub first: Option<f64>,
    pub last: Option<f64>,
    pub is_unstable: bool,
    pub onset: Option<Onset>,
}

/// The search for the shortest warm-up.
pub struct FoundWarmup {
    pub search: WarmupSearch,
    pub runs: Vec<WarmupRun>,
    pub outcome: WarmupOutcome,
}

impl FoundWarmup {
    /// The shortest warm-up that works.
    pub fn shortest(&self) -> Option<WarmupCandidate> {
        match self.outcome {
            WarmupOutcome::Works { shortest, .. } => Some(shortest),
            _ => None,
        }
    }
}

/// What is known so far.
#[derive(Default)]
pub struct Findings {
    pub sweep: Option<RateSweepResult>,
    pub limit: Option<Limit>,
    /// The runs at 2, 5 and 10 times the best rate.
    pub above: Vec<RunAbove>,
    /// When instability sets in, at which multiple, and the number of early and of later runs there.
    pub kind: Option<(InstabilityKind, Option<f64>, [u32; 2])>,
    pub probe: Option<Probe>,
    pub norms: Option<GradientNorms>,
    /// The share of updates that the threshold would clip at twice the best rate.
    pub clipped_above: Option<f64>,
    /// The share of updates that the user's own threshold clips at the best rate.
    pub clipped_by_own: Option<f64>,
    pub warmup: Option<FoundWarmup>,
    pub tried: Vec<TriedRemedy>,
}

impl Findings {
    pub fn kind(&self) -> InstabilityKind {
        self.kind.map_or(InstabilityKind::None, |(kind, ..)| kind)
    }

    /// Whether instability limits the learning rate, as far as is known. If the loss rises just above the best rate,
    /// the best rate may be that low because of it (Playbook I8).
    pub fn may_be_limited(&self) -> bool {
        self.limit.as_ref().is_some_and(|limit| limit.verdict != LimitVerdict::NotLimited) || self.rises_above_best()
    }

    /// Whether the loss rises at the smallest multiple of the best rate.
    pub fn rises_above_best(&self) -> bool {
        self.kind.is_some_and(|(_, multiple, _)| multiple == Some(MULTIPLES[0].0))
    }

    /// Whether a warm-up may be needed: early instability may limit the learning rate.
    pub fn may_need_warmup(&self) -> bool {
        let is_early = matches!(self.kind(), InstabilityKind::Early | InstabilityKind::EarlyAndMid);
        is_early && self.may_be_limited()
    }

    pub fn best_lr(&self) -> Option<f64> {
        self.sweep.as_ref()?.best_lr
    }

    pub fn unstable_lr(&self) -> Option<f64> {
        Some(self.sweep.as_ref()?.edge.as_ref()?.unstable_lr)
    }
}

/// A run of the magic.
pub struct Investigation<'a> {
    pub trials: Trials<'a>,
    pub display: StabilityDisplay<'a>,
    pub findings: Findings,
}

impl<'a> Investigation<'a> {
    pub fn new(trials: Trials<'a>, display: StabilityDisplay<'a>) -> Self {
        Self { trials, display, findings: Findings::default() }
    }

    fn plan(&self) -> &'a StabilityPlan {
        self.trials.plan
    }

    /// Runs all parts. Returns whether the user interrupted it. What was found by then is in the findings.
    pub fn run(&mut self, fixes: bool) -> Result<bool> {
        let plan = self.plan();
        let rates = RateSweep { first: plan.first, bounds: plan.bounds, seeds: plan.seeds, looks_above: true };
        let swept = self.trials.sweep(&Variant::main(), &rates, &mut self.display);
        // After an error too, what the trials that ended say is shown.
        let runs = match &swept {
            Ok((runs, _)) => runs.clone(),
            Err(_) => self.trials.runs(&Variant::main()).unwrap_or_default(),
        };
        self.look_at_sweep(rates.result(&runs), &runs)?;
        if swept?.1 || self.probe()? || self.search_warmup(fixes)? {
            return Ok(true);
        }
        if fixes { self.fix() } else { Ok(false) }
    }

    /// Draws conclusions from the trials of the sweep.
    fn look_at_sweep(&mut self, sweep: RateSweepResult, runs: &[RateRun]) -> Result<()> {
        let plan = self.plan();
        self.findings.limit = limit(&sweep);
        let direction = plan.objective().direction;
        let figure = &mut self.display.figure;
        figure.runs = runs
            .iter()
            .map(|run| {
                let objective = match run.end {
                    RunEnd::Learned(minimized) => Some(direction.minimized(minimized)),
                    _ => None,
                };
                let point = sweep.point(run.index);
                let is_idle = run.end == RunEnd::LearnedNothing && point.is_some_and(|point| point.unstable > 0);
                RateDot { lr: rate(run.index), objective, is_unstable: run.end == RunEnd::Diverged || is_idle }
            })
            .collect();
        let below = sweep.points.iter().filter(|point| point.is_below_edge);
        figure.medians = below.filter_map(|p| Some((p.lr, direction.minimized(p.objective?)))).collect();
        figure.best = figure.medians.iter().copied().find(|(lr, _)| Some(*lr) == sweep.best_lr);
        figure.edge = sweep.edge.as_ref().and_then(|edge| {
            let [low, high] = edge.interval;
            Some([low.or(edge.stable_lr)?, high.unwrap_or(edge.unstable_lr)])
        });
        if let Some(best) = sweep.best {
            self.look_above(best, &sweep)?;
        }
        self.findings.sweep = Some(sweep);
        Ok(())
    }

    /// Looks at the training losses at the best rate and above it, and at the gradient norms.
    fn look_above(&mut self, best: i32, sweep: &RateSweepResult) -> Result<()> {
        let plan = self.plan();
        let main = Variant::main();
        let (mut norms, mut norms_above) = (vec![], vec![]);
        let mut steps = 0;
        self.display.figure.losses.clear();
        for seed in 0..plan.seeds {
            let Some(curves) = self.trials.curves(&main, best, seed)? else { continue };
            steps = steps.max(curves.losses.last().map_or(0, |(step, _)| *step));
            if seed == 0 {
                self.draw_loss(format!("1 × ({})", rate(best)), &curves.losses, false);
                self.display.figure.norm_of_steps = curves.norms.clone();
            }
            norms.extend(curves.norms.into_iter().map(|(_, norm)| norm));
        }
        let mut above = vec![];
        for (multiple, distance) in MULTIPLES {
            let index = best + distance;
            for seed in 0..plan.seeds {
                let Some(curves) = self.trials.curves(&main, index, seed)? else { continue };
                let has_diverged = curves.end == RunEnd::Diverged;
                let is_idle = curves.end == RunEnd::LearnedNothing;
                let is_unstable = has_diverged || is_idle && sweep.point(index).is_some_and(|p| p.unstable > 0);
                if seed == 0 {
                    let name = format!("{multiple} × ({})", rate(index));
                    self.draw_loss(name, &curves.losses, is_unstable);
                }
                if multiple == 2.0 {
                    norms_above.extend(curves.norms.iter().map(|(_, norm)| *norm));
                }
                let onset = onset(&curves.losses, onset_of(curves.end, is_unstable));
                above.push(RunAbove { lr: rate(index), multiple, is_unstable, onset });
            }
        }
        let steps = plan.steps.unwrap_or(steps);
        self.findings.kind = Some(instability_kind(&above, steps));
        self.findings.above = above;
        self.findings.norms = gradient_norms(&norms);
        if let Some(found) = &self.findings.norms {
            self.findings.clipped_above =
                (!norms_above.is_empty()).then(|| GradientNorms::share_above(&norms_above, found.p90));
            let own = plan.value("clip_norm").and_then(|clip| clip.as_f64()).filter(|clip| *clip > 0.0);
            self.findings.clipped_by_own = own.map(|clip| GradientNorms::share_above(&norms, clip));
        }
        self.display.figure.norms = self.findings.norms.clone();
        Ok(())
    }

    fn draw_loss(&mut self, name: String, losses: &[(u64, Option<f64>)], is_unstable: bool) {
        let points = losses.iter().filter_map(|(step, loss)| Some((*step, (*loss)?))).collect();
        self.display.figure.losses.push(LossCurve { name, points, is_unstable });
    }

    /// Trains once at twice the best rate and looks at every step. Returns whether the user interrupted it.
    fn probe(&mut self) -> Result<bool> {
        let plan = self.plan();
        let Some(best) = self.findings.sweep.as_ref().and_then(|sweep| sweep.best) else { return Ok(false) };
        let (Some(steps), true) = (plan.steps, plan.has("steps") && plan.has("eval_every")) else { return Ok(false) };
        let index = best + MULTIPLES[0].1;
        if index > plan.bounds[1] {
            return Ok(false);
        }
        let mut changed = vec![("steps", whole(steps.min(PROBE_STEPS))), ("eval_every", whole(1))];
        if plan.has("schedule") {
            changed.push(("schedule", "constant".into()));
        }
        let variant = Variant { suffix: "probe".into(), changed };
        if self.trials.run(&variant, &[(index, 0)], &mut self.display)? {
            return Ok(true);
        }
        let Some(curves) = self.trials.curves(&variant, index, 0)? else { return Ok(false) };
        let finite = || curves.losses.iter().filter_map(|(_, loss)| *loss);
        let has_diverged = curves.end == RunEnd::Diverged;
        self.findings.probe = Some(Probe {
            lr: rate(index),
            losses: curves.losses.len(),
            first: finite().next(),
            last: finite().next_back(),
            is_unstable: has_diverged,
            onset: onset(&curves.losses, onset_of(curves.end, true)),
        });
        Ok(false)
    }

    /// Searches for the shortest warm-up, if early instability may limit the learning rate or the user wants a remedy.
    /// Returns whether the user interrupted it.
    fn search_warmup(&mut self, fixes: bool) -> Result<bool> {
        let plan = self.plan();
        let findings = &self.findings;
        let edge = findings.sweep.as_ref().and_then(|sweep| sweep.edge.as_ref()).map(|edge| edge.index);
        let (Some(edge), Some(steps)) = (edge, plan.steps) else { return Ok(false) };
        let is_wanted = fixes && findings.kind() != InstabilityKind::Mid || findings.may_need_warmup();
        if !is_wanted || !plan.has("warmup_steps") {
            return Ok(false);
        }
        let search = WarmupSearch::new(steps, plan.seeds);
        let mut runs: Vec<WarmupRun> = vec![];
        let mut is_interrupted = false;
        while let Some((candidate, seeds)) = search.next(&runs) {
            let index = edge + (candidate.factor.log10() * f64::from(RATES_PER_DECADE)).round() as i32;
            if index > plan.highest {
                break;
            }
            let variant = warmup_variant(plan, candidate);
            let wanted: Vec<(i32, u32)> = seeds.iter().map(|seed| (index, *seed)).collect();
            is_interrupted = self.trials.run(&variant, &wanted, &mut self.display)?;
            for seed in seeds {
                let Some(curves) = self.trials.curves(&variant, index, seed)? else { continue };
                let is_idle = curves.end == RunEnd::LearnedNothing && candidate.steps() >= STEPS_TO_LEARN;
                let rose = onset(&curves.losses, onset_of(curves.end, is_idle)).is_some();
                runs.push(WarmupRun { candidate, seed, is_stable: !rose && !is_idle });
            }
            if is_interrupted {
                break;
            }
        }
        let outcome = search.outcome(&runs);
        self.findings.warmup = Some(FoundWarmup { search, runs, outcome });
        Ok(is_interrupted)
    }

    /// Tries the remedies one by one until one helps. Returns whether the user interrupted it.
    fn fix(&mut self) -> Result<bool> {
        let plan = self.plan();
        let Some(before) = self.findings.sweep.clone().filter(|sweep| sweep.edge.is_some()) else { return Ok(false) };
        let order = remedies(self.findings.kind());
        let variants: Vec<(Remedy, Variant)> = order
            .iter()
            .filter_map(|remedy| Some((*remedy, remedy::variant(plan, &self.findings, *remedy)?)))
            .collect();
        let can_be_tried: Vec<Remedy> = variants.iter().map(|(remedy, _)| *remedy).collect();
        let outcomes = |tried: &[TriedRemedy]| -> Vec<(Remedy, bool)> {
            tried.iter().map(|tried| (tried.remedy, tried.effect.helps())).collect()
        };
        while let Some(next) = next_remedy(&order, &can_be_tried, &outcomes(&self.findings.tried)) {
            let Some((_, variant)) = variants.iter().find(|(remedy, _)| *remedy == next) else { return Ok(false) };
            let tried = remedy::try_out(&self.trials, &mut self.display, next, variant, &before)?;
            let Some(tried) = tried else { return Ok(true) };
            self.findings.tried.push(tried);
        }
        Ok(false)
    }
}

/// How a run counts whose loss is looked at. `is_unstable` says whether one that learned nothing has unlearned.
fn onset_of(end: RunEnd, is_unstable: bool) -> OnsetOf {
    match end {
        RunEnd::Diverged => OnsetOf::Diverged,
        RunEnd::LearnedNothing if is_unstable => OnsetOf::Unlearned,
        RunEnd::LearnedNothing | RunEnd::Learned(_) => OnsetOf::Stable,
    }
}

/// The runs of a warm-up that is tried: a ramp to the base rate, and twice as many steps at that rate.
fn warmup_variant(plan: &StabilityPlan, candidate: WarmupCandidate) -> Variant {
    let steps = candidate.steps();
    let mut changed = vec![("warmup_steps", whole(candidate.warmup_steps)), ("steps", whole(steps))];
    if plan.has("eval_every") {
        changed.push(("eval_every", whole(steps.div_ceil(100))));
    }
    if plan.has("schedule") {
        changed.push(("schedule", "constant".into()));
    }
    Variant { suffix: format!("ramp{}", candidate.warmup_steps), changed }
}
