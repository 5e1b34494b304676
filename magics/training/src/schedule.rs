//! Learning-rate schedules: the learning rate of each step of a trial (Playbook I1, I12), and of a longer trial (G10).
//!
//! A trial has T steps, of which the first W are the warm-up. In the equations of [`Shape`], η is the learning rate at
//! the end of the warm-up, k = 0, 1, … counts the steps after it, and L = T − W is their number.

/// The learning rate η(k) after the warm-up. The module explains the symbols.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shape {
    /// Constant: η(k) = η.
    Constant,
    /// Constant, then linear decay to 0 over the last D steps: η(k) = η · min(1, (L − k) / D).
    Linear {
        /// D, the length of the decay in steps; at most L.
        decay_steps: u64,
    },
    /// Cosine decay to 0: η(k) = η · ½ (1 + cos(πk / L)) (Loshchilov and Hutter 2017).
    Cosine,
    /// Step decay: η(k) = η · factor^⌊k / every⌋.
    Step {
        /// The number of steps between two changes.
        every: u64,
        /// The factor by which each change multiplies the learning rate.
        factor: f64,
    },
    /// Inverse square root: η(k) = η · √(u / (u + k)) with u = max(1, W) (Vaswani et al. 2017).
    InverseSqrt,
}

/// A linear warm-up followed by a [`Shape`], over a fixed number of steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// The shape of the learning rate after the warm-up.
    pub shape: Shape,
    /// η, the learning rate at the end of the warm-up.
    pub base: f64,
    /// W, the number of warm-up steps. In step i = 0, …, W − 1 the learning rate is η (i + 1) / W.
    pub warmup_steps: u64,
    /// T, the number of all steps, including the warm-up.
    pub steps: u64,
}

impl Schedule {
    /// Returns the learning rate of a step, counted from 0.
    pub fn at(&self, step: u64) -> f64 {
        if step < self.warmup_steps {
            return self.base * (step + 1) as f64 / self.warmup_steps as f64;
        }
        let after = step - self.warmup_steps;
        let length = self.steps.saturating_sub(self.warmup_steps).max(1);
        self.base
            * match self.shape {
                Shape::Constant => 1.0,
                Shape::Linear { decay_steps } => {
                    let decay = decay_steps.clamp(1, length);
                    (length.saturating_sub(after) as f64 / decay as f64).min(1.0)
                }
                Shape::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * (after as f64 / length as f64).min(1.0)).cos()),
                Shape::Step { every, factor } => factor.powf((after / every.max(1)) as f64),
                Shape::InverseSqrt => {
                    let unit = self.warmup_steps.max(1) as f64;
                    (unit / (unit + after as f64)).sqrt()
                }
            }
    }

    /// Returns the schedule for a trial of `steps` steps in place of [`Schedule::steps`], such that the additional
    /// steps are not spent at learning rates too small to matter (Playbook G10).
    ///
    /// A linear decay keeps its length, and the constant part before it grows. A cosine keeps η and stretches. A step
    /// decay stretches the distance between its changes. The other shapes continue as they are.
    pub fn prolonged(&self, steps: u64) -> Self {
        let length = |steps: u64| steps.saturating_sub(self.warmup_steps).max(1);
        let shape = match self.shape {
            Shape::Linear { decay_steps } => Shape::Linear { decay_steps: decay_steps.clamp(1, length(self.steps)) },
            Shape::Step { every, factor } => {
                let stretched = every as f64 * length(steps) as f64 / length(self.steps) as f64;
                Shape::Step { every: (stretched.round() as u64).max(1), factor }
            }
            other => other,
        };
        Self { shape, steps, ..*self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINEAR: Shape = Shape::Linear { decay_steps: u64::MAX };

    fn schedule(shape: Shape, warmup_steps: u64, steps: u64) -> Schedule {
        Schedule { shape, base: 0.4, warmup_steps, steps }
    }

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-12
    }

    #[test]
    fn the_warm_up_rises_to_the_base_rate_and_a_decay_falls_to_zero() {
        for shape in [
            Shape::Constant,
            LINEAR,
            Shape::Linear { decay_steps: 4 },
            Shape::Cosine,
            Shape::Step { every: 4, factor: 0.1 },
            Shape::InverseSqrt,
        ] {
            let schedule = schedule(shape, 4, 14);
            let rates: Vec<f64> = (0..14).map(|step| schedule.at(step)).collect();
            assert!(near(rates[0], 0.1) && near(rates[3], 0.4), "{shape:?}");
            assert!(near(rates[4], 0.4), "{shape:?} starts at η");
            assert!(rates[4..].is_sorted_by(|a, b| a >= b), "{shape:?} never rises again");
            assert!(rates.iter().all(|rate| *rate > 0.0), "{shape:?} has no step with a learning rate of 0");
        }
        for shape in [LINEAR, Shape::Linear { decay_steps: 4 }, Shape::Cosine] {
            assert!(near(schedule(shape, 4, 14).at(14), 0.0));
        }
    }

    #[test]
    fn shapes_match_their_equations() {
        assert!(near(schedule(LINEAR, 0, 10).at(5), 0.2));
        assert!(near(schedule(Shape::Linear { decay_steps: 4 }, 0, 10).at(6), 0.4));
        assert!(near(schedule(Shape::Linear { decay_steps: 4 }, 0, 10).at(8), 0.2));
        assert!(near(schedule(Shape::Cosine, 0, 10).at(5), 0.2));
        assert!(near(schedule(Shape::Step { every: 3, factor: 0.1 }, 0, 10).at(6), 0.004));
        assert!(near(schedule(Shape::InverseSqrt, 100, 1000).at(400), 0.2));
    }

    #[test]
    fn a_prolonged_schedule_does_not_spend_its_steps_at_tiny_learning_rates() {
        let short = schedule(Shape::Linear { decay_steps: 40 }, 10, 100);
        let long = short.prolonged(1000);
        // The decay has the same length and ends at the new end.
        assert!((0..40).all(|i| near(short.at(60 + i), long.at(960 + i))));
        assert!(near(long.at(955), 0.4));
        // This also holds for a decay that took all steps after the warm-up.
        let long = schedule(LINEAR, 10, 100).prolonged(1000);
        assert_eq!(long.shape, Shape::Linear { decay_steps: 90 });
        // A cosine starts at the same learning rate and reaches 0 at the new end.
        let long = schedule(Shape::Cosine, 10, 100).prolonged(1000);
        assert!(near(long.at(10), 0.4) && near(long.at(1000), 0.0) && near(long.at(505), 0.2));
        let long = schedule(Shape::Step { every: 30, factor: 0.1 }, 10, 100).prolonged(190);
        assert_eq!(long.shape, Shape::Step { every: 60, factor: 0.1 });
        assert_eq!(schedule(Shape::Constant, 0, 10).prolonged(20).at(19), 0.4);
    }
}
