//! The limited-memory method of Broyden, Fletcher, Goldfarb and Shanno (L-BFGS) in a box: steps are projected onto the
//! box, and coordinates that a bound holds back do not move.

use super::math::{add_multiple, dot};

/// How many steps are remembered.
const MEMORY: usize = 8;
/// The minimum is found once no free coordinate of the gradient is larger.
const TOLERANCE: f64 = 1e-6;

/// A function with its gradient, which it writes into the second argument.
pub type Function<'a> = dyn FnMut(&[f64], &mut [f64]) -> f64 + 'a;

/// Moves `x` to a local minimum within [low, high], with at most so many evaluations. Returns the value there.
pub fn minimize(f: &mut Function<'_>, x: &mut [f64], bounds: &[(f64, f64)], evaluations: usize) -> f64 {
    let n = x.len();
    let mut gradient = vec![0.0; n];
    let mut value = f(x, &mut gradient);
    let mut left = evaluations.saturating_sub(1);
    let mut memory: Vec<(Vec<f64>, Vec<f64>, f64)> = vec![];
    while left > 0 {
        let is_free = |i: usize| {
            let (low, high) = bounds[i];
            !(x[i] <= low && gradient[i] > 0.0 || x[i] >= high && gradient[i] < 0.0)
        };
        let free: Vec<bool> = (0..n).map(is_free).collect();
        let masked =
            |v: &[f64]| -> Vec<f64> { v.iter().zip(&free).map(|(v, free)| if *free { *v } else { 0.0 }).collect() };
        let steepest = masked(&gradient);
        let largest = steepest.iter().fold(0.0_f64, |most, g| most.max(g.abs()));
        if largest <= TOLERANCE || !value.is_finite() {
            break;
        }
        let mut direction = masked(&descent(&steepest, &memory));
        let mut slope = dot(&direction, &gradient);
        if slope.is_nan() || slope >= 0.0 {
            memory.clear();
            direction = steepest.iter().map(|g| -g).collect();
            slope = dot(&direction, &gradient);
        }
        // The first step has no curvature to go by, so it moves no coordinate by more than a tenth of its range.
        let mut step = 1.0;
        if memory.is_empty() {
            let ratio = |i: usize| direction[i].abs() / (0.1 * (bounds[i].1 - bounds[i].0));
            step = 1.0 / (0..n).map(ratio).fold(1e-300_f64, f64::max);
        }
        let (mut next, mut at_next, mut next_value) = (x.to_vec(), vec![0.0; n], f64::NAN);
        let mut accepted = false;
        for _ in 0..12 {
            for i in 0..n {
                next[i] = (x[i] + step * direction[i]).clamp(bounds[i].0, bounds[i].1);
            }
            next_value = f(&next, &mut at_next);
            left = left.saturating_sub(1);
            let moved: Vec<f64> = next.iter().zip(&*x).map(|(a, b)| a - b).collect();
            let expected = dot(&moved, &gradient);
            if next_value <= value + 1e-4 * expected {
                accepted = true;
                break;
            }
            if left == 0 {
                break;
            }
            // The minimum of the parabola through both values and the slope.
            let curvature = next_value - value - step * slope;
            let best = -0.5 * slope * step * step / curvature;
            step = if best.is_finite() { best.clamp(0.1 * step, 0.5 * step) } else { 0.1 * step };
        }
        if !accepted {
            break;
        }
        let moved: Vec<f64> = next.iter().zip(&*x).map(|(a, b)| a - b).collect();
        let change: Vec<f64> = at_next.iter().zip(&gradient).map(|(a, b)| a - b).collect();
        let curvature = dot(&moved, &change);
        if curvature > 1e-12 * dot(&change, &change) {
            if memory.len() == MEMORY {
                memory.remove(0);
            }
            memory.push((moved, change, curvature));
        }
        let gain = value - next_value;
        x.copy_from_slice(&next);
        std::mem::swap(&mut gradient, &mut at_next);
        value = next_value;
        if gain <= 1e-10 * value.abs().max(1e-10) {
            break;
        }
    }
    value
}

/// The direction of descent by the remembered steps (two loops over them).
fn descent(gradient: &[f64], memory: &[(Vec<f64>, Vec<f64>, f64)]) -> Vec<f64> {
    let mut q = gradient.to_vec();
    let mut factors = vec![0.0; memory.len()];
    for (k, (moved, change, curvature)) in memory.iter().enumerate().rev() {
        factors[k] = dot(moved, &q) / curvature;
        add_multiple(&mut q, -factors[k], change);
    }
    if let Some((_, change, curvature)) = memory.last() {
        let scale = curvature / dot(change, change);
        q.iter_mut().for_each(|q| *q *= scale);
    }
    for (k, (moved, change, curvature)) in memory.iter().enumerate() {
        let back = dot(change, &q) / curvature;
        add_multiple(&mut q, factors[k] - back, moved);
    }
    q.iter_mut().for_each(|q| *q = -*q);
    q
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_minimum_of_rosenbrocks_valley_is_found_inside_and_on_a_bound() {
        let mut rosenbrock = |x: &[f64], g: &mut [f64]| {
            let (a, b) = (1.0 - x[0], x[1] - x[0] * x[0]);
            g[0] = -2.0 * a - 400.0 * b * x[0];
            g[1] = 200.0 * b;
            a * a + 100.0 * b * b
        };
        let mut x = [-1.2, 1.0];
        assert!(minimize(&mut rosenbrock, &mut x, &[(-2.0, 2.0), (-2.0, 2.0)], 200) < 1e-8);
        assert!((x[0] - 1.0).abs() < 1e-3 && (x[1] - 1.0).abs() < 1e-3, "{x:?}");
        let mut x = [-1.2, 1.0];
        minimize(&mut rosenbrock, &mut x, &[(-2.0, 0.5), (-2.0, 2.0)], 200);
        assert!((x[0] - 0.5).abs() < 1e-9 && (x[1] - 0.25).abs() < 1e-3, "{x:?}");
    }
}
