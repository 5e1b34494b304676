//! PED-ANOVA (Watanabe et al. 2023): how much the values of the best tenth differ from those of all configurations.
//!
//! It is compatible with Optuna 5. The values of all configurations and of the best tenth are counted on a grid; a
//! Parzen estimator makes a density of each count; the importance is (γ'/γ)²·(α²/β)·Σ p (p'/p − 1)², where p' and p are
//! the densities of the best and of all, γ'/γ is the share of the best, and α and β are the shares of the best and of
//! all in which the hyperparameter is active (conditional PED-ANOVA).

use tunebook_study::{Distribution, Value};

/// The share of the configurations that count as the best.
pub(super) const BEST: f64 = 0.1;
/// The largest number of cells of a grid.
const CELLS: usize = 50;
/// A hyperparameter that is active in fewer configurations has no importance.
const LEAST_ACTIVE: usize = 2;
/// The least bandwidth, in cells: nine tenths of a kernel then lie within its cell.
const LEAST_BANDWIDTH: f64 = 0.5 / 1.64;
/// The weight of the even density that is added to the kernels.
const PRIOR: f64 = 1.0;

/// The grid of one hyperparameter, with the cell of each configuration: None where it is not active.
pub(super) struct Grid {
    cells: usize,
    is_categorical: bool,
    places: Vec<Option<usize>>,
}

impl Grid {
    /// Places the values on the grid of a distribution.
    pub fn new(distribution: &Distribution, values: &[Option<&Value>]) -> Self {
        let is_categorical = distribution.is_list();
        let cells = match distribution {
            Distribution::Choice { values } => values.len(),
            Distribution::Constant { .. } => 1,
            Distribution::Int { low, high } => (high.abs_diff(*low) as usize).saturating_add(1).min(CELLS),
            Distribution::LogInt { low, high } => {
                ((high.abs_diff(*low) as f64 + 1.0).log2().ceil() as usize + 1).min(CELLS)
            }
            _ => CELLS,
        };
        // The coordinate, and its least and largest value.
        let coordinate = |value: &Value| -> Option<[f64; 3]> {
            let log = |x: f64, low: f64, high: f64| [x.ln(), low.ln(), high.ln()];
            Some(match distribution {
                Distribution::Uniform { low, high } => [value.as_f64()?, *low, *high],
                Distribution::LogUniform { low, high } => log(value.as_f64()?, *low, *high),
                Distribution::OneMinusLogUniform { low, high } => log(1.0 - value.as_f64()?, *low, *high),
                Distribution::Int { low, high } => [value.as_f64()?, *low as f64, *high as f64],
                Distribution::LogInt { low, high } => log(value.as_f64()?, *low as f64, *high as f64),
                Distribution::Choice { values } => {
                    [values.iter().position(|v| v.same_as(value))? as f64, 0.0, values.len() as f64 - 1.0]
                }
                Distribution::Constant { .. } => return None,
            })
        };
        let place = |value: &Value| {
            let [x, low, high] = coordinate(value)?;
            // The middle between two cells belongs to the lower one.
            let at = (x - low) / ((high - low) / (cells.max(2) - 1) as f64) - 0.5;
            Some((at.ceil().max(0.0) as usize).min(cells - 1))
        };
        Self { cells, is_categorical, places: values.iter().map(|value| place((*value)?)).collect() }
    }

    /// Returns the importance without normalization, if the configurations with these indices are the best.
    pub fn importance(&self, best: &[usize]) -> f64 {
        let all = self.counts(0..self.places.len());
        let top = self.counts(best.iter().copied());
        let active = |counts: &[f64]| counts.iter().sum::<f64>();
        if self.cells < 2 || active(&all) < LEAST_ACTIVE as f64 || active(&top) == 0.0 {
            return 0.0;
        }
        let share = best.len() as f64 / self.places.len() as f64;
        let (alpha, beta) = (active(&top) / best.len() as f64, active(&all) / self.places.len() as f64);
        let (top, all) = (self.density(&top), self.density(&all));
        let divergence: f64 = all.iter().zip(&top).map(|(all, top)| all * (top / all - 1.0).powi(2)).sum();
        share * share * (alpha * alpha / beta * divergence)
    }

    fn counts(&self, configurations: impl Iterator<Item = usize>) -> Vec<f64> {
        let mut counts = vec![0.0; self.cells];
        configurations.filter_map(|i| self.places[i]).for_each(|cell| counts[cell] += 1.0);
        counts
    }

    /// Returns the density on the grid.
    fn density(&self, counts: &[f64]) -> Vec<f64> {
        let kernels: Vec<(usize, f64)> = counts.iter().copied().enumerate().filter(|(_, count)| *count > 0.0).collect();
        let all: f64 = counts.iter().sum::<f64>() + PRIOR;
        let density = if self.is_categorical { self.categorical(&kernels) } else { self.numerical(&kernels) };
        density.into_iter().map(|density| density / all + 1e-12).collect()
    }

    fn categorical(&self, kernels: &[(usize, f64)]) -> Vec<f64> {
        let even = PRIOR / (kernels.len() as f64 + 1.0);
        let row = even * self.cells as f64 + 1.0;
        let mut density = vec![PRIOR / self.cells as f64; self.cells];
        for (place, weight) in kernels {
            density.iter_mut().for_each(|density| *density += weight * even / row);
            density[*place] += weight / row;
        }
        density
    }

    fn numerical(&self, kernels: &[(usize, f64)]) -> Vec<f64> {
        let bandwidth = bandwidth(kernels);
        let last = (self.cells - 1) as f64;
        let of_counts = kernels.iter().map(|(place, weight)| (*place as f64, bandwidth, *weight));
        let mut density = vec![0.0; self.cells];
        for (centre, width, weight) in of_counts.chain([(0.5 * last, self.cells as f64, PRIOR)]) {
            let mass = |low: f64, high: f64| normal_mass((low - centre) / width, (high - centre) / width);
            let whole = mass(-0.5, last + 0.5);
            for (cell, density) in density.iter_mut().enumerate() {
                *density += weight * mass(cell as f64 - 0.5, cell as f64 + 0.5) / whole;
            }
        }
        density
    }
}

/// Returns the indices of the best tenth among minimized objectives. Equals of the last one belong to it.
pub(super) fn best_tenth(objectives: &[f64]) -> Vec<usize> {
    let mut sorted = objectives.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some(cut) = sorted.get(((BEST * sorted.len() as f64).ceil() as usize).saturating_sub(1)) else { return vec![] };
    (0..objectives.len()).filter(|i| objectives[*i] <= *cut).collect()
}

/// Returns the bandwidth by Scott's rule, with the smaller of the two usual measures of spread.
fn bandwidth(kernels: &[(usize, f64)]) -> f64 {
    let n: f64 = kernels.iter().map(|(_, weight)| weight).sum();
    let mean = kernels.iter().map(|(place, weight)| *place as f64 * weight).sum::<f64>() / n;
    let squares: f64 = kernels.iter().map(|(place, weight)| (*place as f64 - mean).powi(2) * weight).sum();
    let deviation = (squares / (n - 1.0).max(1.0)).sqrt();
    let mut sum = 0.0;
    let cumulated: Vec<f64> = kernels
        .iter()
        .map(|(_, weight)| {
            sum += weight;
            sum
        })
        .collect();
    let first = cumulated.partition_point(|sum| *sum < (n / 4.0).floor());
    let third = cumulated.partition_point(|sum| *sum <= (3.0 * n / 4.0).floor());
    let at = |i: usize| kernels[i.min(kernels.len() - 1)].0 as f64;
    let range = at(third) - at(first);
    (1.059 * (range / 1.34).min(deviation) * n.powf(-0.2)).max(LEAST_BANDWIDTH)
}

/// Returns the probability of a standard normal value between two bounds.
fn normal_mass(a: f64, b: f64) -> f64 {
    let below = |x: f64| 0.5 * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2);
    if a > 0.0 {
        below(-a) - below(-b)
    } else if b <= 0.0 {
        below(b) - below(a)
    } else {
        1.0 - below(a) - below(-b)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::importance::reference;

    fn importances(columns: &[(Distribution, Vec<Option<Value>>)], objectives: &[f64]) -> Vec<f64> {
        let best = best_tenth(objectives);
        let of = |(distribution, values): &(Distribution, Vec<Option<Value>>)| {
            let values: Vec<Option<&Value>> = values.iter().map(Option::as_ref).collect();
            Grid::new(distribution, &values).importance(&best)
        };
        columns.iter().map(of).collect()
    }

    /// The values are those of Optuna 5.0.0.
    #[test]
    fn the_reference_case_is_that_of_optuna() {
        let (points, objectives) = reference::case();
        let distributions = [
            Distribution::uniform(0.0, 1.0).unwrap(),
            Distribution::uniform(0.0, 1.0).unwrap(),
            Distribution::log_uniform(1e-4, 1.0).unwrap(),
        ];
        let columns: Vec<_> = distributions
            .into_iter()
            .enumerate()
            .map(|(j, d)| (d.clone(), points.iter().map(|p| Some(d.from_unit(p[j]))).collect()))
            .collect();
        let found = importances(&columns, &objectives);
        let known = [0.007_974_956_760_011_849, 0.002_217_652_879_874_242, 0.005_659_582_786_208_213];
        for (found, known) in found.iter().zip(known) {
            assert!((found - known).abs() < 1e-9, "{found} instead of {known}");
        }
        let all: f64 = found.iter().sum();
        for (found, known) in
            found.iter().zip([0.503_082_258_002_638_6, 0.139_895_657_349_185_5, 0.357_022_084_648_175_86])
        {
            assert!((found / all - known).abs() < 1e-9);
        }
    }

    /// A space with two branches, whole numbers, and lists, as Optuna 5.0.0 judges it. Optuna sums over the branches of
    /// a name, in which the hyperparameter has different ranges.
    #[test]
    fn a_conditional_space_is_that_of_optuna() {
        let (log, choice) = (Distribution::log_uniform, Distribution::choice);
        let names = |names: &[&str]| choice(names.iter().map(|name| (*name).into()).collect()).unwrap();
        let (sgd, adam) = (log(1e-3, 1.0).unwrap(), log(1e-5, 1e-2).unwrap());
        let (layers, units) = (Distribution::int(1, 4).unwrap(), Distribution::log_int(1, 64).unwrap());
        let (optimizers, activations) = (names(&["sgd", "adam"]), names(&["r", "t", "g"]));
        let mut columns =
            [&optimizers, &sgd, &adam, &layers, &units, &activations, &Distribution::uniform(0.0, 1.0).unwrap()]
                .map(|distribution| (distribution.clone(), vec![]));
        let mut objectives = vec![];
        for i in 1..=60 {
            let u = [2, 3, 5, 7, 11].map(|base| reference::radical_inverse(i, base));
            let is_adam = u[0] >= 0.5;
            let value = |d: &Distribution, u: f64| Some(d.from_unit(u));
            let drawn = [
                value(&optimizers, u[0]),
                value(&sgd, u[1]).filter(|_| !is_adam),
                value(&adam, u[1]).filter(|_| is_adam),
                value(&layers, u[2]),
                value(&units, u[3]),
                value(&activations, u[4]),
                Some(u[4].into()).filter(|_| is_adam),
            ];
            let deep = drawn[3].as_ref().and_then(Value::as_f64).unwrap();
            let tanh = if drawn[5] == Some("t".into()) { 0.05 } else { 0.0 };
            let of_adam = if is_adam { 0.3 * (1.0 - u[3]) } else { 0.0 };
            objectives.push((u[1] - 0.4).powi(2) + of_adam + 0.1 * (deep - 3.0).abs() + tanh);
            columns.iter_mut().zip(drawn).for_each(|((_, values), value)| values.push(value));
        }
        let found = importances(&columns, &objectives);
        let by_name = [found[0], found[1] + found[2], found[3], found[4], found[5], found[6]];
        let known = [
            0.000_293_877_551_019_820_7,
            0.005_317_322_935_891_477,
            0.017_169_067_700_352_38,
            0.000_159_532_770_135_552_46,
            0.000_813_010_247_731_475,
            0.001_624_357_539_468_567,
        ];
        for (found, known) in by_name.iter().zip(known) {
            assert!((found - known).abs() < 1e-9, "{found} instead of {known}: {found:?}");
        }
    }

    #[test]
    fn the_best_tenth_keeps_equals() {
        assert_eq!(best_tenth(&[3.0, 1.0, 1.0, 2.0]), [1, 2]);
        assert_eq!(best_tenth(&[]), Vec::<usize>::new());
    }
}
