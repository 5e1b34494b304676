//! The optimizers, with the update rules that the Playbook gives ("What are the update rules for all the popular
//! optimization algorithms?", I15). Each variant of [`Rule`] states its equation.
//!
//! In the equations, θ are the parameters, η is the learning rate of the step, and t is the number of the step, from 1.
//! g is the gradient of the loss at θ, after clipping. All rules but AdamW use coupled weight decay: g includes λθ,
//! where λ is the hyperparameter `weight_decay`. Squares, roots and quotients are taken element by element. State
//! tensors (m, v) start at 0 unless the rule says otherwise.

use crate::libtorch::{WeightDecay, adam_step, nadam_step, rmsprop_step, sgd_step};
use tch::{Kind, Tensor};

/// An update rule with its hyperparameters. The module explains the symbols.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// Gradient descent: θ ← θ − ηg.
    Sgd,
    /// Heavy-ball momentum: v ← γv + g; θ ← θ − ηv.
    ///
    /// It equals `torch.optim.SGD` with `dampening=0`.
    Momentum { gamma: f64 },
    /// Nesterov momentum: v ← γv + g; θ ← θ − η(γv + g).
    ///
    /// It equals `torch.optim.SGD` with `nesterov=True`.
    Nesterov { gamma: f64 },
    /// RMSProp with momentum: v ← ρv + (1 − ρ)g²; m ← γm + ηg / √(v + ε); θ ← θ − m.
    ///
    /// v starts at 1, and ε stands inside the root. `torch.optim.RMSprop` differs: there v starts at 0, and ε is added
    /// to the root.
    RmsProp { rho: f64, gamma: f64, epsilon: f64 },
    /// Adam: m ← β₁m + (1 − β₁)g; v ← β₂v + (1 − β₂)g²; b = √(1 − β₂ᵗ) / (1 − β₁ᵗ); θ ← θ − ηb · m / (√v + ε).
    ///
    /// This is the ε-hat form: ε is added to √v without bias correction. `torch.optim.Adam` adds its ε to
    /// √(v / (1 − β₂ᵗ)), which is the same step if its ε is ε / √(1 − β₂ᵗ).
    Adam { beta1: f64, beta2: f64, epsilon: f64 },
    /// Adam with decoupled weight decay: m, v, b as in [`Rule::Adam`], but with a g that does not include λθ;
    /// θ ← θ − ηλθ − ηb · m / (√v + ε).
    ///
    /// ε is in the ε-hat form, as in [`Rule::Adam`].
    AdamW { beta1: f64, beta2: f64, epsilon: f64 },
    /// Adam with Nesterov's look-ahead: m, v, b as in [`Rule::Adam`]; θ ← θ − ηb · (β₁m + (1 − β₁)g) / (√v + ε).
    ///
    /// ε is in the ε-hat form, as in [`Rule::Adam`]. `torch.optim.NAdam` is another rule.
    NAdam { beta1: f64, beta2: f64, epsilon: f64 },
}

/// An update rule with the state that it keeps for each parameter.
pub struct Optimizer {
    rule: Rule,
    weight_decay: f64,
    steps_done: i32,
    /// The velocity v of SGD with momentum, or m of the other rules; one tensor for each parameter.
    first: Vec<Tensor>,
    /// v of RMSProp and of Adam and its variants.
    second: Vec<Tensor>,
    /// The step counters that libtorch's fused Adam needs, one scalar for each parameter.
    counters: Vec<Tensor>,
}

impl Optimizer {
    /// Creates the state for these parameters before the first step.
    pub fn new(rule: Rule, weight_decay: f64, parameters: &[Tensor]) -> Self {
        let zeros = || parameters.iter().map(|p| p.zeros_like().detach()).collect::<Vec<_>>();
        let ones = || parameters.iter().map(|p| p.ones_like().detach()).collect::<Vec<_>>();
        let counter = |p: &Tensor| Tensor::zeros([], (Kind::Float, p.device()));
        let (first, second, counters) = match rule {
            Rule::Sgd | Rule::Momentum { gamma: 0.0 } | Rule::Nesterov { gamma: 0.0 } => (vec![], vec![], vec![]),
            Rule::Momentum { .. } | Rule::Nesterov { .. } => (zeros(), vec![], vec![]),
            Rule::RmsProp { .. } => (zeros(), ones(), vec![]),
            Rule::NAdam { .. } => (zeros(), zeros(), vec![]),
            Rule::Adam { .. } | Rule::AdamW { .. } => (zeros(), zeros(), parameters.iter().map(counter).collect()),
        };
        Self { rule, weight_decay, steps_done: 0, first, second, counters }
    }

    /// Updates the parameters with the gradients that they hold. Parameters and gradients stay on their device. It
    /// fails if libtorch does, for example out of memory.
    pub fn step(&mut self, parameters: &[Tensor], lr: f64) -> Result<(), String> {
        let is_first = self.steps_done == 0;
        self.steps_done = self.steps_done.saturating_add(1);
        let (t, decay) = (self.steps_done, self.weight_decay);
        let [m, v] = [self.first.as_slice(), &self.second];
        match self.rule {
            Rule::Sgd | Rule::Momentum { gamma: 0.0 } | Rule::Nesterov { gamma: 0.0 } => {
                sgd_step(parameters, &[], lr, decay, (0.0, false), is_first)
            }
            Rule::Momentum { gamma } => sgd_step(parameters, m, lr, decay, (gamma, false), is_first),
            Rule::Nesterov { gamma } => sgd_step(parameters, m, lr, decay, (gamma, true), is_first),
            Rule::RmsProp { rho, gamma, epsilon } => rmsprop_step(parameters, [m, v], lr, (rho, gamma), decay, epsilon),
            Rule::NAdam { beta1, beta2, epsilon } => {
                let rate = lr * (1.0 - beta2.powi(t)).sqrt() / (1.0 - beta1.powi(t));
                nadam_step(parameters, [m, v], rate, (beta1, beta2), decay, epsilon)
            }
            Rule::Adam { beta1, beta2, epsilon } | Rule::AdamW { beta1, beta2, epsilon } => {
                let form = match self.rule {
                    Rule::AdamW { .. } => WeightDecay::Decoupled,
                    _ => WeightDecay::Coupled,
                };
                // libtorch's kernel has PyTorch's form; this ε makes it compute the ε-hat form.
                let epsilon = epsilon / (1.0 - beta2.powi(t)).sqrt();
                adam_step(parameters, [m, v, &self.counters], lr, (beta1, beta2), (decay, form), epsilon)
            }
        }
    }

    /// Iterates over all tensors of the state, always in the same order. A checkpoint saves and restores them.
    pub fn state(&self) -> impl Iterator<Item = &Tensor> {
        self.first.iter().chain(&self.second).chain(&self.counters)
    }

    /// Continues after `steps` steps. The tensors of [`Optimizer::state`] must have been restored before.
    pub fn resume(&mut self, steps: u64) {
        self.steps_done = i32::try_from(steps).unwrap_or(i32::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns θ after 4 steps from (1, −2) with the gradient (θ₁, 10θ₂), in double precision.
    fn after_four_steps(rule: Rule, weight_decay: f64, lr: f64) -> [f64; 2] {
        let parameter = Tensor::from_slice(&[1.0_f64, -2.0]).set_requires_grad(true);
        let parameters = [parameter];
        let mut optimizer = Optimizer::new(rule, weight_decay, &parameters);
        let curvature = Tensor::from_slice(&[0.5_f64, 5.0]);
        for _ in 0..4 {
            crate::libtorch::forget_gradients(&parameters);
            (parameters[0].square() * &curvature).sum(Kind::Double).backward();
            optimizer.step(&parameters, lr).unwrap();
        }
        [parameters[0].double_value(&[0]), parameters[0].double_value(&[1])]
    }

    /// Computes the same four steps with the equations of [`Rule`].
    fn by_hand(rule: Rule, decay: f64, lr: f64) -> [f64; 2] {
        let (mut theta, mut m, mut v) = ([1.0, -2.0], [0.0; 2], [0.0; 2]);
        if matches!(rule, Rule::RmsProp { .. }) {
            v = [1.0; 2];
        }
        for t in 1..=4 {
            for i in 0..2 {
                let decoupled = matches!(rule, Rule::AdamW { .. });
                let g = theta[i] * [1.0, 10.0][i] + if decoupled { 0.0 } else { decay * theta[i] };
                match rule {
                    Rule::Sgd => theta[i] -= lr * g,
                    Rule::Momentum { gamma } => {
                        v[i] = gamma * v[i] + g;
                        theta[i] -= lr * v[i];
                    }
                    Rule::Nesterov { gamma } => {
                        v[i] = gamma * v[i] + g;
                        theta[i] -= lr * (gamma * v[i] + g);
                    }
                    Rule::RmsProp { rho, gamma, epsilon } => {
                        v[i] = rho * v[i] + (1.0 - rho) * g * g;
                        m[i] = gamma * m[i] + lr * g / f64::sqrt(v[i] + epsilon);
                        theta[i] -= m[i];
                    }
                    Rule::Adam { beta1, beta2, epsilon }
                    | Rule::AdamW { beta1, beta2, epsilon }
                    | Rule::NAdam { beta1, beta2, epsilon } => {
                        m[i] = beta1 * m[i] + (1.0 - beta1) * g;
                        v[i] = beta2 * v[i] + (1.0 - beta2) * g * g;
                        let b = (1.0 - f64::powi(beta2, t)).sqrt() / (1.0 - f64::powi(beta1, t));
                        let looks_ahead = matches!(rule, Rule::NAdam { .. });
                        let m = if looks_ahead { beta1 * m[i] + (1.0 - beta1) * g } else { m[i] };
                        let shrink = if decoupled { lr * decay * theta[i] } else { 0.0 };
                        theta[i] -= lr * b * m / (v[i].sqrt() + epsilon) + shrink;
                    }
                }
            }
        }
        theta
    }

    fn assert_close(a: [f64; 2], b: [f64; 2], tolerance: f64) {
        assert!((a[0] - b[0]).abs() < tolerance && (a[1] - b[1]).abs() < tolerance, "{a:?} is not {b:?}");
    }

    #[test]
    fn momentum_and_nesterov_match_the_reference_values() {
        let known = [0.910_886_31, -0.4536];
        assert_close(after_four_steps(Rule::Momentum { gamma: 0.9 }, 0.0, 0.01), known, 5e-9);
        let known = [0.881_954_95, -0.187_775_82];
        assert_close(after_four_steps(Rule::Nesterov { gamma: 0.9 }, 0.0, 0.01), known, 5e-9);
    }

    /// The known values are θ after the same four steps in PyTorch 2.11: `torch.optim.SGD`, `Adam` and `AdamW`. With ε
    /// = 1e-30 PyTorch's form of Adam and the ε-hat form agree.
    #[test]
    fn rules_that_pytorch_shares_match_pytorch() {
        let (beta1, beta2, epsilon) = (0.9, 0.999, 1e-30);
        for (rule, decay, known) in [
            (Rule::Sgd, 0.0, [0.960596010000, -1.312200000000]),
            (Rule::Sgd, 0.3, [0.949005240561, -1.294791285762]),
            (Rule::Momentum { gamma: 0.9 }, 0.3, [0.884685578661, -0.414933499962]),
            (Rule::Nesterov { gamma: 0.9 }, 0.0, [0.881954952021, -0.187775820000]),
            (Rule::Nesterov { gamma: 0.9 }, 0.3, [0.847847653275, -0.150325500004]),
            (Rule::Adam { beta1, beta2, epsilon }, 0.3, [0.960023939522, -1.960011619923]),
            (Rule::AdamW { beta1, beta2, epsilon }, 0.3, [0.948265084416, -1.936306277496]),
        ] {
            assert_close(after_four_steps(rule, decay, 0.01), known, 1e-11);
        }
    }

    #[test]
    fn all_rules_match_their_equations_with_and_without_weight_decay() {
        let (beta1, beta2, epsilon) = (0.8, 0.99, 0.1);
        for rule in [
            Rule::Sgd,
            Rule::Momentum { gamma: 0.9 },
            Rule::Nesterov { gamma: 0.9 },
            Rule::RmsProp { rho: 0.9, gamma: 0.0, epsilon: 1e-8 },
            Rule::RmsProp { rho: 0.99, gamma: 0.9, epsilon },
            Rule::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 },
            Rule::Adam { beta1, beta2, epsilon },
            Rule::AdamW { beta1, beta2, epsilon },
            Rule::NAdam { beta1, beta2, epsilon },
        ] {
            for decay in [0.0, 0.3] {
                assert_close(after_four_steps(rule, decay, 0.01), by_hand(rule, decay, 0.01), 1e-12);
            }
        }
    }

    #[test]
    fn adam_uses_the_epsilon_hat_form() {
        // With ε = 0.1 the first step from θ₁ = 1 tells the forms apart: PyTorch's form would reach 0.99090909.
        let parameters = [Tensor::from_slice(&[1.0_f64, -2.0]).set_requires_grad(true)];
        let rule = Rule::Adam { beta1: 0.9, beta2: 0.999, epsilon: 0.1 };
        let mut optimizer = Optimizer::new(rule, 0.0, &parameters);
        (parameters[0].square() * 0.5).sum(Kind::Double).backward();
        optimizer.step(&parameters, 0.01).unwrap();
        assert!((parameters[0].double_value(&[0]) - 0.997_597_47).abs() < 1e-8);
    }
}
