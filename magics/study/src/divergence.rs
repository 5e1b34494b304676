//! Detects that a training run has diverged.

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// The names under which programs and training functions report their training loss.
pub const TRAINING_LOSSES: [&str; 4] = ["train/loss", "train_loss", "training_loss", "loss/train"];

/// The number of consecutive steps with a diverging loss after which the run ends.
const PATIENCE: usize = 50;
/// The number of first losses whose median is the initial loss.
const FIRST: usize = 10;
/// The minimum is taken from this step on, so that it is not that of a single loss.
const LEAST_FIRST: usize = 3;
/// A run has exploded at once if its losses are this many times the first one and the validation loss before training.
const MULTIPLE: f64 = 3.0;
/// The same if only the first loss is known, which may be that of a single example.
const MULTIPLE_OF_FIRST: f64 = 30.0;
/// A run has blown up if so many losses in a row are this many times the validation loss before training. Its network
/// may be dead after that, with a loss like that of chance.
const BLOWN_UP: f64 = 10.0;
const BLOWN_UP_STEPS: usize = 5;
/// The smoothed loss follows a jump of the loss after so many steps.
const DELAY: usize = 20;
/// The least number of losses that tell how noisy they are.
const LEAST_RECENT: usize = 10;

/// Watches the training loss ℓ of every step.
///
/// With the smoothed loss s, the average of all losses with weights 0.9^age, and the initial loss ℓ₀, the median of the
/// first ten losses, a step is diverging if
///
/// s > max(ℓ₀, min(s) + 0.5 · max(|ℓ₀|, |ℓ₀ − min(s)|) + 3 · MAD).
///
/// So the loss must rise by half of its fall so far, which also tells where losses are below zero, or by half of its
/// initial value, so that a hump in the first steps is no divergence. And it must rise above its initial value: below
/// it, a learning rate that starts again explains the rise too. MAD is the mean absolute deviation from the
/// median of 50 losses, up to 20 steps before s rose above the first two terms. (The median absolute deviation would be
/// 0 for losses that have two values.) For min(s), s counts as at least the median of these losses, so that a single
/// loss far below the others does not set it.
///
/// In a run that explodes at once, only the first loss is a healthy one. So a step is also diverging if s is above
/// three times the absolute first loss and validation loss before training (or 30 times the first loss, if that is all
/// that is known) and the median absolute deviation of the last 50 losses.
///
/// A run has diverged too if five losses in a row are more than ten times the first loss and the validation loss before
/// training, and no loss was below zero. Units of its network may be dead after that, so that the loss falls to that of
/// chance and stays there.
///
/// The run has diverged after 50 diverging steps in a row, if the losses themselves, and not only their average, were
/// above the threshold in four fifths of these steps: a few huge losses, as single examples have, are no
/// divergence. It has also diverged at the first loss that is not finite.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Divergence {
    untrained: Option<f64>,
    first: Vec<f64>,
    /// The sum of 0.1 · 0.9^age · loss over all steps, and of the weights alone.
    sum: f64,
    weight: f64,
    minimum: Option<f64>,
    recent: VecDeque<f64>,
    last: VecDeque<f64>,
    /// How many losses in a row were those of a run that has blown up.
    blown_up: usize,
    /// Whether a loss was below zero. A multiple of a loss means nothing then.
    was_negative: bool,
    /// How many steps in a row were diverging.
    above: usize,
    /// At how many of them the loss itself was above the threshold.
    losses_above: usize,
}

impl Divergence {
    /// Takes the validation loss of the untrained model.
    pub fn observe_untrained(&mut self, loss: Option<f64>) {
        self.untrained = loss;
    }

    /// Takes what a program or a training function reports at a step; None is a value that is not finite. It returns
    /// the reason if the trial is infeasible: its objective or its training loss is not finite, or it has diverged.
    ///
    /// Each report of the loss counts as a step, because it is not known how many steps lie between two reports.
    pub fn reported<'a>(
        &mut self,
        step: u64,
        metrics: impl IntoIterator<Item = (&'a str, Option<f64>)>,
        objective: &str,
    ) -> Option<String> {
        metrics.into_iter().find_map(|(name, value)| {
            let is_loss = TRAINING_LOSSES.contains(&name);
            match value {
                None if is_loss || name == objective => Some(format!("`{name}` became non-finite at step {step}")),
                Some(loss) if is_loss => self.observe(step, loss),
                _ => None,
            }
        })
    }

    /// Takes the loss of the next step. It returns the reason if the run has diverged.
    pub fn observe(&mut self, step: u64, loss: f64) -> Option<String> {
        if !loss.is_finite() {
            return Some(format!("the training loss became {loss} at step {step}"));
        }
        if self.first.len() < FIRST {
            self.first.push(loss);
        }
        self.weight = 0.9 * self.weight + 0.1;
        self.sum = 0.9 * self.sum + 0.1 * loss;
        let smoothed = self.sum / self.weight;
        if self.first.len() >= LEAST_FIRST && self.minimum.is_none_or(|minimum| smoothed < minimum) {
            let candidate = smoothed.max(median(self.recent.iter().copied().chain([loss]).collect()));
            self.minimum = Some(self.minimum.map_or(candidate, |minimum| minimum.min(candidate)));
        }
        let initial = median(self.first.clone());
        let Some(rise) = self.minimum.map(|minimum| minimum + 0.5 * initial.abs().max((initial - minimum).abs()))
        else {
            self.recent.push_back(loss);
            return None;
        };
        // The reference for the noise ends where the loss begins to rise, since a rise is no noise.
        if smoothed <= rise || self.recent.len() < LEAST_RECENT {
            self.recent.push_back(loss);
            if self.recent.len() > PATIENCE + DELAY {
                self.recent.pop_front();
            }
        }
        self.last.push_back(loss);
        if self.last.len() > PATIENCE {
            self.last.pop_front();
        }
        // The deviations need a sort, so they are computed only if the smoothed loss may be diverging.
        let mut threshold = if smoothed > rise { (rise + 3.0 * self.deviation()).max(initial) } else { f64::INFINITY };
        let multiple = match self.untrained {
            Some(untrained) => MULTIPLE * self.first[0].abs().max(untrained.abs()),
            None => MULTIPLE_OF_FIRST * self.first[0].abs(),
        };
        if smoothed > multiple && multiple > 0.0 {
            let centre = median(self.last.iter().copied().collect());
            threshold = threshold.min(multiple + median(self.last.iter().map(|loss| (loss - centre).abs()).collect()));
        }
        self.was_negative |= loss < 0.0 || self.untrained.is_some_and(|untrained| untrained < 0.0);
        if let Some(untrained) = self.untrained {
            let is_blown_up = !self.was_negative && loss > BLOWN_UP * untrained.abs().max(self.first[0].abs());
            self.blown_up = if is_blown_up { self.blown_up + 1 } else { 0 };
            if self.blown_up >= BLOWN_UP_STEPS {
                return Some(format!(
                    "diverged: the training loss rose from {} to {} by step {step}",
                    number(untrained),
                    number(loss)
                ));
            }
        }
        if smoothed <= threshold {
            (self.above, self.losses_above) = (0, 0);
            return None;
        }
        self.above += 1;
        self.losses_above += usize::from(loss > threshold);
        let lowest = self.minimum.unwrap_or(initial).min(self.first[0]);
        (self.above >= PATIENCE && 5 * self.losses_above >= 4 * self.above).then(|| {
            let (lowest, smoothed) = (number(lowest), number(smoothed));
            format!("diverged: the training loss rose from {lowest} to {smoothed} by step {step}")
        })
    }

    /// Returns the mean absolute deviation of the recent losses from their median. It is infinite if there are too few.
    fn deviation(&self) -> f64 {
        if self.recent.len() < LEAST_RECENT {
            return f64::INFINITY;
        }
        let before = self.recent.len().saturating_sub(DELAY).max(LEAST_RECENT);
        let before: Vec<f64> = self.recent.iter().take(before).copied().collect();
        let centre = median(before.clone());
        before.iter().map(|loss| (loss - centre).abs()).sum::<f64>() / before.len() as f64
    }
}

/// A loss with the digits that a reader needs.
fn number(loss: f64) -> String {
    if loss.abs() < 1e5 { format!("{loss:.3}") } else { format!("{loss:.2e}") }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::{Rng, SeedableRng};

    /// Returns the index of the loss at which the run ends, or None if it does not.
    fn ends(losses: impl Iterator<Item = f64>) -> Option<u64> {
        let mut divergence = Divergence::default();
        losses.enumerate().find_map(|(i, loss)| divergence.observe(i as u64, loss).map(|_| i as u64))
    }

    #[test]
    fn a_loss_that_is_not_finite_ends_the_run_at_once() {
        assert_eq!(ends([2.0, 1.0, f64::NAN].into_iter()), Some(2));
        assert_eq!(ends([2.0, f64::INFINITY].into_iter()), Some(1));
    }

    #[test]
    fn a_loss_that_stays_high_for_fifty_steps_ends_the_run() {
        let at = ends((0..500).map(|i| if i < 20 { 2.0 } else { 20.0 })).unwrap();
        assert!((69..90).contains(&at), "{at}");
    }

    #[test]
    fn a_run_that_explodes_in_its_second_step_ends() {
        for (scale, untrained) in [(13.0, Some(2.3)), (500.0, Some(2.3)), (500.0, None), (1e8, None)] {
            let mut random = Random(ChaCha8Rng::seed_from_u64(1));
            let mut divergence = Divergence::default();
            divergence.observe_untrained(untrained);
            let mut loss = |i| if i == 0 { 2.3 } else { scale * (0.2 * random.normal()).exp() };
            let at = (0..500).find(|i| divergence.observe(*i, loss(*i)).is_some()).unwrap();
            assert!((4..80).contains(&at), "{scale}: {at}");
        }
    }

    #[test]
    fn a_run_that_blows_up_and_whose_network_is_dead_after_that_ends() {
        let losses = |i: u64| match i {
            0..3 => 2.3,
            3..12 => 1e6,
            _ => 2.31,
        };
        let mut divergence = Divergence::default();
        divergence.observe_untrained(Some(2.3));
        assert_eq!((0..500).find(|i| divergence.observe(*i, losses(*i)).is_some()), Some(7));
    }

    #[test]
    fn the_reason_names_the_lowest_loss_before_the_rise() {
        let mut divergence = Divergence::default();
        let loss = |i: u64| if i < 200 { 2.3 * (-(i as f64) / 40.0).exp() + 0.1 } else { 3.0 };
        let reason = (0..500).find_map(|i| divergence.observe(i, loss(i))).unwrap();
        let numbers: Vec<f64> = reason.split(' ').filter_map(|word| word.parse().ok()).collect();
        assert!(numbers[0] < 0.2 && (2.4..3.1).contains(&numbers[1]), "{reason}");
    }

    #[test]
    fn a_loss_that_stays_below_its_start_does_not_end_the_run() {
        // Warm restarts: at each one the loss jumps for 80 steps, and falls lower than before.
        let restarts = |peak: f64| {
            move |i: u32| match i % 400 {
                phase if phase < 80 && i >= 400 => peak + 0.02 * f64::from(phase % 7),
                phase => (2.3 * (-f64::from(phase) / 40.0).exp()).max(0.05) / f64::from(1 + i / 400),
            }
        };
        assert_eq!(ends((0..4000).map(restarts(1.55))), None);
        assert_eq!(ends((0..4000).map(restarts(2.1))), None);
        assert!(ends((0..4000).map(restarts(4.0))).is_some(), "above its start, a run is ended");
        let half_back = |i: u32| if i < 500 { 2.3 * (-f64::from(i) / 40.0).exp() + 0.05 } else { 2.0 };
        assert_eq!(ends((0..4000).map(half_back)), None);
    }

    #[test]
    fn what_is_reported_is_infeasible_if_it_is_not_finite_or_diverges_under_each_name_of_the_loss() {
        let of =
            |metrics: &[(&str, Option<f64>)]| Divergence::default().reported(5, metrics.iter().copied(), "valid/error");
        assert_eq!(of(&[("valid/error", Some(0.5)), ("lr", None), ("valid/loss", None)]), None);
        assert_eq!(of(&[("lr", None), ("valid/error", None)]).unwrap(), "`valid/error` became non-finite at step 5");
        for name in TRAINING_LOSSES {
            assert_eq!(of(&[(name, None)]).unwrap(), format!("`{name}` became non-finite at step 5"));
            let mut divergence = Divergence::default();
            let loss = |i: u64| if i < 100 { 2.3 } else { 2.3 * 1.1_f64.powi(i as i32 - 100).min(1e8) };
            let mut reported = |i| divergence.reported(i, [("valid/error", Some(0.5)), (name, Some(loss(i)))], "e");
            let (at, reason) = (0..1000).find_map(|i| Some((i, reported(i)?))).unwrap();
            assert!((150..200).contains(&at) && reason.starts_with("diverged: the training loss"), "{at}: {reason}");
        }
        // Another metric may rise as it likes.
        let mut divergence = Divergence::default();
        let mut rises = |i| divergence.reported(i, [("valid/loss", Some(1.2_f64.powi(i as i32)))], "valid/loss");
        assert!((0..1000).all(|i| rises(i).is_none()));
    }

    #[test]
    fn a_short_spike_and_a_hump_at_the_start_do_not_end_the_run() {
        assert_eq!(ends((0..2000).map(|i| if (300..330).contains(&i) { 30.0 } else { 1.0 })), None);
        assert_eq!(ends((0..2000).map(|_| 2.303)), None, "a model that learns nothing has not diverged");
        let hump = |i: u32| if i < 150 { 2.3 + 0.8 * (f64::from(i) / 48.0).sin().max(0.0) } else { 1.0 };
        assert_eq!(ends((0..2000).map(hump)), None);
    }

    /// A source of random numbers.
    struct Random(ChaCha8Rng);

    impl Random {
        fn uniform(&mut self) -> f64 {
            (f64::from(self.0.next_u32()) + 0.5) / 4_294_967_296.0
        }

        fn normal(&mut self) -> f64 {
            (-2.0 * self.uniform().ln()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos()
        }

        /// Student's t with two degrees of freedom: its variance is infinite.
        fn heavy(&mut self) -> f64 {
            let u = 2.0 * self.uniform() - 1.0;
            u * (2.0 / (1.0 - u * u)).sqrt()
        }

        /// The loss of one example: most are learned, a few are not.
        fn example(&mut self, hard: f64) -> f64 {
            if self.uniform() < hard { 4.0 * -self.uniform().ln() } else { 0.05 * -self.uniform().ln() }
        }
    }

    type Family = (&'static str, fn(&mut Random, f64) -> f64);

    /// Losses of runs that do not diverge, by the share of the run that is over.
    const HEALTHY: [Family; 22] = [
        ("stationary around -8", |r, _| -8.0 + 0.3 * r.normal()),
        ("stationary around -3", |r, _| -3.0 + r.normal()),
        ("stationary around -50", |r, _| -50.0 + 5.0 * r.normal()),
        ("stationary around 0", |r, _| 0.1 * r.normal()),
        ("stationary around 1000", |r, _| 1000.0 + r.normal()),
        ("nearly constant", |r, _| 2.303 + 1e-6 * r.normal()),
        ("heavy tails", |r, _| 1.0 + 0.3 * r.heavy()),
        ("heavy tails around -8", |r, _| -8.0 + 0.5 * r.heavy()),
        ("log-normal", |r, _| (2.0 * r.normal()).exp()),
        ("exponential", |r, _| -r.uniform().ln()),
        ("one example, learned", |r, _| r.example(0.05)),
        ("one example, half learned", |r, _| r.example(0.5)),
        ("one example, learning", |r, t| r.example((1.0 - t).powi(4))),
        ("one example, right or wrong", |r, _| if r.uniform() < 0.5 { 0.0 } else { 1.0 }),
        ("hinge loss of one example", |r, _| (1.0 + r.normal()).max(0.0)),
        ("decay", |r, t| 2.3 * (-8.0 * t).exp() + 0.05 + 0.02 * r.normal()),
        ("fast decay, noisy", |r, t| 2.3 / (1.0 + 200.0 * t) * (0.3 * r.normal()).exp()),
        ("decay below zero", |r, t| 1.0 - 9.0 * t.sqrt() + 0.5 * r.normal()),
        (
            "plateau, then decay",
            |r, t| if t < 0.5 { 2.303 } else { 2.303 * (-6.0 * (t - 0.5)).exp() } + 0.05 * r.normal(),
        ),
        ("steps of the learning rate", |r, t| [2.0, 0.7, 0.2, 0.1][(4.0 * t) as usize % 4] + 0.1 * r.normal()),
        ("cycles of the learning rate", |r, t| {
            0.4 + 1.5 * (-4.0 * t).exp() + 0.1 * (40.0 * t).sin() + 0.05 * r.normal()
        }),
        ("noise that grows", |r, t| 1.0 + 0.05 * (1.0 + 10.0 * t) * r.normal()),
    ];

    fn false_alarms(steps: u32, runs: u64) {
        for (name, loss) in HEALTHY {
            let alarms = (0..runs).filter(|seed| {
                let mut random = Random(ChaCha8Rng::seed_from_u64(*seed));
                // The validation loss before training is the mean of many examples.
                let untrained = (0..1000).map(|_| loss(&mut random, 0.0)).sum::<f64>() / 1000.0;
                let losses: Vec<f64> = (0..steps).map(|i| loss(&mut random, f64::from(i) / f64::from(steps))).collect();
                let mut known = Divergence::default();
                known.observe_untrained(Some(untrained));
                let alarm = losses.iter().zip(0..).any(|(loss, i)| known.observe(i, *loss).is_some());
                alarm || ends(losses.into_iter()).is_some()
            });
            let share = alarms.count() as f64 / runs as f64;
            println!("{name}: {:.2} % false alarms", 100.0 * share);
            assert!(share <= 0.005, "{name}: {share}");
        }
    }

    #[test]
    fn healthy_losses_of_many_families_do_not_end_the_run() {
        false_alarms(2000, 200);
    }

    #[test]
    #[ignore = "large size"]
    fn healthy_losses_of_many_families_do_not_end_long_runs() {
        false_alarms(20_000, 1000);
    }

    type Rise = (&'static str, fn(f64, f64) -> f64);

    /// Losses that diverge: the loss from the one before the divergence and the number of steps since then.
    const RISES: [Rise; 6] = [
        ("grows by a tenth a step", |loss, i| loss + 0.2 * (1.1_f64.powf(i) - 1.0)),
        ("doubles every step", |loss, i| loss + 0.01 * 2_f64.powf(i.min(60.0))),
        ("jumps to ten times the scale", |loss, _| loss + 25.0),
        ("grows evenly", |loss, i| loss + 0.3 * i),
        ("oscillates ever more", |loss, i| loss + 0.3 * 1.1_f64.powf(i) * (1.0 + 0.8 * i.sin())),
        ("goes back to what it was without training, twice", |_, _| 4.6),
    ];

    #[test]
    fn real_divergences_are_found_within_a_hundred_steps() {
        let healthy: [Family; 4] = [
            ("decay", |r, t| 2.3 * (-8.0 * t).exp() + 0.05 + 0.02 * r.normal()),
            ("decay, noisy", |r, t| (2.2 * (-8.0 * t).exp() + 0.1) * (0.3 * r.normal()).exp()),
            ("from the start", |r, _| 2.3 + 0.1 * r.normal()),
            ("around -3", |r, t| -3.0 * (4.0 * t).min(1.0) + 0.3 * r.normal()),
        ];
        for (before, loss) in healthy {
            for (after, rise) in RISES {
                let runs = 200;
                let found = (0..runs).filter(|seed| {
                    let mut random = Random(ChaCha8Rng::seed_from_u64(*seed));
                    let start = if before == "from the start" { 20 } else { 100 + 4 * *seed };
                    let at = ends((0..start + 150).map(|i| {
                        let quiet = loss(&mut random, i as f64 / 1000.0);
                        if i < start { quiet } else { rise(quiet, (i - start) as f64) }
                    }));
                    at.is_some_and(|at| (start..=start + 100).contains(&at))
                });
                let share = found.count() as f64 / runs as f64;
                println!("{before}, then {after}: {:.1} % found", 100.0 * share);
                assert!(share >= 0.99, "{before}, then {after}: {share}");
            }
        }
    }
}
