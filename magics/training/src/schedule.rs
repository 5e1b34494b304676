//! The learning rate over the steps of a trial (Playbook I1, I12).

/// The shape after the warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Stays at the base rate.
    Constant,
    /// Falls in a straight line to 0 at the last step.
    Linear,
    /// Falls along half a cosine to 0 at the last step.
    Cosine,
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
        let after = (step - self.warmup_steps) as f64;
        let length = self.steps.saturating_sub(self.warmup_steps).max(1) as f64;
        match self.shape {
            Shape::Constant => self.base,
            Shape::Linear => self.base * (1.0 - after / length).max(0.0),
            Shape::Cosine => self.base * 0.5 * (1.0 + (std::f64::consts::PI * (after / length).min(1.0)).cos()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warm_up_rises_to_the_base_and_decay_falls_to_zero() {
        for shape in [Shape::Constant, Shape::Linear, Shape::Cosine] {
            let schedule = Schedule { shape, base: 0.4, warmup_steps: 4, steps: 14 };
            let rates: Vec<f64> = (0..14).map(|step| schedule.at(step)).collect();
            assert!((rates[0] - 0.1).abs() < 1e-12 && (rates[3] - 0.4).abs() < 1e-12);
            assert!((rates[4] - 0.4).abs() < 1e-12, "the shape begins at the base rate");
            assert!(rates[4..].windows(2).all(|pair| pair[1] <= pair[0]));
            let last = match shape {
                Shape::Constant => 0.4,
                Shape::Linear => 0.04,
                Shape::Cosine => 0.2 * (1.0 + (0.9 * std::f64::consts::PI).cos()),
            };
            assert!((rates[13] - last).abs() < 1e-12);
        }
    }
}
