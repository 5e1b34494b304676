//! Functional ANOVA (Hutter et al. 2014): which share of the variance of the objective over the search space each
//! hyperparameter explains alone.
//!
//! It is computed in u, the coordinate in which a range is sampled evenly, over the box that the configurations span. A
//! forest of regression trees predicts the objective, and each tree gives the variances exactly from its leaves: with
//! leaf l of value vₗ, width wₗⱼ and volume Wₗ, the mean over all coordinates but j has the second moment
//! Σₗₘ vₗ vₘ oⱼ(l, m) (Wₗ/wₗⱼ)(Wₘ/wₘⱼ), where oⱼ(l, m) is the length that both leaves have in common along j.

use crate::resampling::Resampler;

/// The number of trees, each of a bootstrap sample.
pub(super) const TREES: usize = 64;
/// A tree is at most this deep.
const MAX_DEPTH: usize = 64;
/// At most as many configurations are used, at equal distances in the list.
const MAX_CONFIGURATIONS: usize = 200;

/// Configurations in the box that they span: each coordinate is scaled to [0, 1].
#[derive(Clone)]
pub(super) struct Configurations {
    /// The values of each coordinate.
    columns: Vec<Vec<f64>>,
    /// The indices of the configurations, sorted by each coordinate.
    orders: Vec<Vec<usize>>,
    pub objectives: Vec<f64>,
}

/// A part of the box with its predicted objective.
struct Leaf {
    low: Vec<f64>,
    high: Vec<f64>,
    value: f64,
}

/// What the growth of a tree needs everywhere.
struct Growth<'a> {
    /// How often each configuration was drawn.
    weights: &'a [f64],
    /// The side of the current split on which a configuration lies.
    is_left: Vec<bool>,
    resampler: &'a mut Resampler,
}

impl Configurations {
    /// Takes the coordinates of each configuration, and its objective.
    pub fn new(points: &[Vec<f64>], objectives: &[f64]) -> Self {
        let n = points.len().min(MAX_CONFIGURATIONS);
        let chosen = || (0..n).map(|i| i * points.len() / n);
        let dimensions = points.first().map_or(0, Vec::len);
        let mut all = Self { columns: vec![], orders: vec![], objectives: chosen().map(|i| objectives[i]).collect() };
        (0..dimensions).for_each(|j| all.add(chosen().map(|i| points[i][j]).collect()));
        all
    }

    /// Adds a coordinate.
    pub fn add(&mut self, values: Vec<f64>) {
        let low = values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let scale = |x: &f64| if high > low { (x - low) / (high - low) } else { 0.0 };
        let scaled: Vec<f64> = values.iter().map(scale).collect();
        let mut order: Vec<usize> = (0..scaled.len()).collect();
        order.sort_by(|a, b| scaled[*a].total_cmp(&scaled[*b]));
        self.columns.push(scaled);
        self.orders.push(order);
    }

    pub fn count(&self) -> usize {
        self.objectives.len()
    }

    /// The values of a coordinate.
    pub fn column(&self, j: usize) -> &[f64] {
        &self.columns[j]
    }

    pub fn dimensions(&self) -> usize {
        self.columns.len()
    }

    /// Returns which share of the variance of a forest each coordinate explains alone, as the mean over the trees. All
    /// are 0 if the objective does not vary.
    pub fn shares(&self, trees: usize, resampler: &mut Resampler) -> Vec<f64> {
        let mut sums = vec![0.0; self.dimensions()];
        for _ in 0..trees {
            let mut weights = vec![0.0; self.count()];
            (0..self.count()).for_each(|_| weights[resampler.index_below(self.count())] += 1.0);
            let shares = shares_of_leaves(&self.tree(&weights, resampler), self.dimensions());
            sums.iter_mut().zip(shares).for_each(|(sum, share)| *sum += share / trees as f64);
        }
        sums
    }

    /// Grows a tree of the configurations, each with its weight.
    fn tree(&self, weights: &[f64], resampler: &mut Resampler) -> Vec<Leaf> {
        let drawn = |order: &Vec<usize>| order.iter().copied().filter(|i| weights[*i] > 0.0).collect();
        let mut leaves = vec![];
        let whole = (vec![0.0; self.dimensions()], vec![1.0; self.dimensions()]);
        let mut growth = Growth { weights, is_left: vec![false; self.count()], resampler };
        self.grow(&mut growth, self.orders.iter().map(drawn).collect(), whole, 0, &mut leaves);
        leaves
    }

    /// Splits a part of the box where this reduces the squared error most, until all objectives of a part are equal.
    /// `orders`: the configurations in it, sorted by each coordinate.
    fn grow(
        &self,
        growth: &mut Growth<'_>,
        orders: Vec<Vec<usize>>,
        (low, high): (Vec<f64>, Vec<f64>),
        depth: usize,
        leaves: &mut Vec<Leaf>,
    ) {
        let (Some(inside), weights) = (orders.first(), growth.weights) else { return };
        let (mut n, mut sum, mut squares) = (0.0, 0.0, 0.0);
        for i in inside {
            let (weight, y) = (weights[*i], self.objectives[*i]);
            (n, sum, squares) = (n + weight, sum + weight * y, squares + weight * y * y);
        }
        let mut best: Option<(f64, usize, f64)> = None;
        let mut equals = 0;
        for (j, order) in orders.iter().enumerate() {
            let Some((gain, at)) = self.best_split(weights, j, order, n, sum) else { continue };
            // Between few configurations many splits are equal. Chance decides, so that no coordinate is preferred.
            let most = best.map_or(f64::NEG_INFINITY, |(most, ..)| most);
            let is_equal = (gain - most).abs() <= 1e-9 * most.abs();
            equals = if is_equal { equals + 1 } else { 1 };
            if if is_equal { growth.resampler.index_below(equals) == 0 } else { gain > most } {
                best = Some((gain, j, at));
            }
        }
        let Some((_, j, at)) = best.filter(|(gain, ..)| *gain > 1e-12 * squares && depth < MAX_DEPTH) else {
            leaves.push(Leaf { low, high, value: sum / n });
            return;
        };
        inside.iter().for_each(|i| growth.is_left[*i] = self.columns[j][*i] < at);
        let (left, right): (Vec<Vec<usize>>, Vec<Vec<usize>>) =
            orders.into_iter().map(|order| order.into_iter().partition(|i| growth.is_left[*i])).unzip();
        let (mut middle_high, mut middle_low) = (high.clone(), low.clone());
        (middle_high[j], middle_low[j]) = (at, at);
        self.grow(growth, left, (low, middle_high), depth + 1, leaves);
        self.grow(growth, right, (middle_low, high), depth + 1, leaves);
    }

    /// Returns the reduction of the squared error by the best split along one coordinate, and where it is. `n` and
    /// `sum` are the weight and the weighted sum of the objectives.
    fn best_split(&self, weights: &[f64], j: usize, order: &[usize], n: f64, sum: f64) -> Option<(f64, f64)> {
        let column = &self.columns[j];
        let (mut left, mut count) = (0.0, 0.0);
        let mut best: Option<(f64, f64)> = None;
        for pair in order.windows(2) {
            (left, count) = (left + weights[pair[0]] * self.objectives[pair[0]], count + weights[pair[0]]);
            let (x, next) = (column[pair[0]], column[pair[1]]);
            if next > x {
                let gain = left * left / count + (sum - left).powi(2) / (n - count) - sum * sum / n;
                if best.is_none_or(|(most, _)| gain > most) {
                    best = Some((gain, 0.5 * (x + next)));
                }
            }
        }
        best
    }
}

/// Returns the shares of the variance of a tree. All are 0 if it has none.
fn shares_of_leaves(leaves: &[Leaf], dimensions: usize) -> Vec<f64> {
    let width = |leaf: &Leaf, j: usize| leaf.high[j] - leaf.low[j];
    let volumes: Vec<f64> = leaves.iter().map(|leaf| (0..dimensions).map(|j| width(leaf, j)).product()).collect();
    let mean: f64 = leaves.iter().zip(&volumes).map(|(leaf, volume)| leaf.value * volume).sum();
    // With a mean of 0, second moments are variances.
    let weighted: Vec<f64> = leaves.iter().zip(&volumes).map(|(leaf, volume)| (leaf.value - mean) * volume).collect();
    let total: f64 = leaves.iter().zip(&weighted).map(|(leaf, weighted)| (leaf.value - mean) * weighted).sum();
    let mut variances = vec![0.0; dimensions];
    for (l, a) in leaves.iter().enumerate() {
        for (m, b) in leaves.iter().enumerate().skip(l) {
            let product = weighted[l] * weighted[m] * if l == m { 1.0 } else { 2.0 };
            for (j, variance) in variances.iter_mut().enumerate() {
                let common = (a.high[j].min(b.high[j]) - a.low[j].max(b.low[j])).max(0.0);
                *variance += product * common / (width(a, j) * width(b, j));
            }
        }
    }
    variances.into_iter().map(|variance| if total > 0.0 { variance.max(0.0) / total } else { 0.0 }).collect()
}

/// Scales shares so that they add up to 1, as Optuna shows them. All stay 0 if they are.
pub(super) fn normalized(shares: &[f64]) -> Vec<f64> {
    let all: f64 = shares.iter().sum();
    shares.iter().map(|share| if all > 0.0 { share / all } else { 0.0 }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::importance::reference;

    fn shares(points: &[Vec<f64>], objectives: &[f64]) -> Vec<f64> {
        normalized(&Configurations::new(points, objectives).shares(TREES, &mut Resampler::new(4)))
    }

    #[test]
    fn the_shares_of_the_reference_case_are_the_known_ones() {
        let (points, objectives) = reference::case();
        let found = shares(&points, &objectives);
        for (share, known) in found.iter().zip([0.9933, 0.0020, 0.0047]) {
            assert!((share - known).abs() < 0.05, "{found:?}");
        }
        assert!((found.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn what_does_not_vary_has_no_share() {
        assert_eq!(shares(&[vec![0.1, 0.5], vec![0.9, 0.5]], &[1.0, 2.0]), [1.0, 0.0]);
        assert_eq!(shares(&[vec![0.1], vec![0.9]], &[1.0, 1.0]), [0.0]);
        assert_eq!(shares(&[], &[]), Vec::<f64>::new());
    }

    /// A full grid with a value for each cell has an exact decomposition, which a tree that fits it has too.
    #[test]
    fn a_tree_that_fits_a_grid_has_its_exact_decomposition() {
        let value = |i: usize, j: usize| [[1.0, 2.0], [4.0, 9.0]][i][j];
        let cells: Vec<(usize, usize)> = (0..2).flat_map(|i| (0..2).map(move |j| (i, j))).collect();
        let points: Vec<Vec<f64>> = cells.iter().map(|(i, j)| vec![*i as f64, *j as f64]).collect();
        let objectives: Vec<f64> = cells.iter().map(|(i, j)| value(*i, *j)).collect();
        let all = Configurations::new(&points, &objectives);
        let found = shares_of_leaves(&all.tree(&[1.0; 4], &mut Resampler::new(1)), 2);
        // The mean is 4; rows have the means 1.5 and 6.5, columns 2.5 and 5.5; the total variance is 9.5.
        for (share, known) in found.iter().zip([6.25 / 9.5, 2.25 / 9.5]) {
            assert!((share - known).abs() < 1e-12, "{found:?}");
        }
    }
}
