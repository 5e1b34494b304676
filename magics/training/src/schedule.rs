//! The learning rate over the steps of a trial (Playbook I1, I12), and what becomes of it when a trial is made longer
//! (G10).

/// The shape after the warm-up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shape {
    /// Stays at the base rate.
    Constant,
    /// Falls in a straight line to 0 over the last `decay_steps` steps; before them it is constant.
    Linear {
        /// Length of the fall; as long as the shape itself where it is more.
        decay_steps: u64,
    },
    /// Falls along half a cosine to 0 at the last step.
    Cosine,
    /// Is multiplied by `factor` every `every` steps.
    Step {
        /// Steps at one rate.
        every: u64,
        /// What follows is times this.
        factor: f64,
    },
    /// Falls with the inverse square root of the step, from the base rate at the end of the warm-up (Vaswani et al. 2017).
    InverseSqrt,
}

/// A schedule over a fixed number of steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// The shape after the warm-up.
    pub shape: Shape,
    /// The rate that the warm-up reaches.
    pub base: f64,
    /// Steps of linear warm-up from 0, prepended to the shape.
    pub warmup_steps: u64,
    /// All steps, warm-up included.
    pub steps: u64,
}

impl Schedule {
    /// The rate of the step with an index from 0.
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

    /// The schedule of a longer trial of the same training (Playbook G10): extra steps are not spent at a rate that is
    /// too small to matter. A linear fall keeps its length and the constant part before it grows; a cosine keeps its base
    /// rate and stretches; steps stretch with the trial; the others only go on.
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
    fn warm_up_rises_to_the_base_and_decay_falls_to_zero() {
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
            assert!(near(rates[4], 0.4), "{shape:?} begins at the base rate");
            assert!(rates[4..].is_sorted_by(|a, b| a >= b), "{shape:?} never rises again");
            assert!(rates.iter().all(|rate| *rate > 0.0), "{shape:?} spends no step at 0");
        }
        for shape in [LINEAR, Shape::Linear { decay_steps: 4 }, Shape::Cosine] {
            assert!(near(schedule(shape, 4, 14).at(14), 0.0));
        }
    }

    #[test]
    fn shapes_have_their_known_points() {
        assert!(near(schedule(LINEAR, 0, 10).at(5), 0.2));
        assert!(near(schedule(Shape::Linear { decay_steps: 4 }, 0, 10).at(6), 0.4));
        assert!(near(schedule(Shape::Linear { decay_steps: 4 }, 0, 10).at(8), 0.2));
        assert!(near(schedule(Shape::Cosine, 0, 10).at(5), 0.2));
        assert!(near(schedule(Shape::Step { every: 3, factor: 0.1 }, 0, 10).at(6), 0.004));
        assert!(near(schedule(Shape::InverseSqrt, 100, 1000).at(400), 0.2));
    }

    #[test]
    fn a_longer_trial_spends_its_extra_steps_at_rates_that_matter() {
        let short = schedule(Shape::Linear { decay_steps: 40 }, 10, 100);
        let long = short.prolonged(1000);
        // The fall is as long as it was, at the end.
        assert!((0..40).all(|i| near(short.at(60 + i), long.at(960 + i))));
        assert!(near(long.at(955), 0.4));
        // One that fell from the start keeps that length too.
        let long = schedule(LINEAR, 10, 100).prolonged(1000);
        assert_eq!(long.shape, Shape::Linear { decay_steps: 90 });
        // A cosine starts from the same rate and reaches 0 at the new end.
        let long = schedule(Shape::Cosine, 10, 100).prolonged(1000);
        assert!(near(long.at(10), 0.4) && near(long.at(1000), 0.0) && near(long.at(505), 0.2));
        let long = schedule(Shape::Step { every: 30, factor: 0.1 }, 10, 100).prolonged(190);
        assert_eq!(long.shape, Shape::Step { every: 60, factor: 0.1 });
        assert_eq!(schedule(Shape::Constant, 0, 10).prolonged(20).at(19), 0.4);
    }
}
