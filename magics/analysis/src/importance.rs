//! Functional ANOVA (Hutter et al. 2014): which share of the variance of the objective over the search space each
//! hyperparameter explains alone.
//!
//! It is computed in u, the coordinate in which a range is sampled evenly, over the box that the configurations span: a
//! forest of regression trees predicts the objective, and each tree gives the variances exactly, leaf by leaf.

use crate::resampling::Resampler;

/// The number of trees, each of a bootstrap sample.
const TREES: usize = 64;
/// A tree is at most this deep.
const MAX_DEPTH: usize = 64;
/// At most as many configurations are used, at equal distances in the list.
const MAX_CONFIGURATIONS: usize = 200;

/// A part of the box with its predicted objective.
struct Leaf {
    low: Vec<f64>,
    high: Vec<f64>,
    value: f64,
}

/// Returns the share of each coordinate. The shares add up to 1, or are all 0 if the objective does not vary.
pub(crate) fn shares(points: &[Vec<f64>], objectives: &[f64]) -> Vec<f64> {
    let n = points.len().min(MAX_CONFIGURATIONS);
    let chosen = || (0..n).map(|i| i * points.len() / n);
    let objectives: Vec<f64> = chosen().map(|i| objectives[i]).collect();
    let points: Vec<&Vec<f64>> = chosen().map(|i| &points[i]).collect();
    let dimensions = points.first().map_or(0, |point| point.len());
    let (mut low, mut high) = (vec![f64::INFINITY; dimensions], vec![f64::NEG_INFINITY; dimensions]);
    for point in &points {
        for j in 0..dimensions {
            (low[j], high[j]) = (low[j].min(point[j]), high[j].max(point[j]));
        }
    }
    let varied: Vec<usize> = (0..dimensions).filter(|j| high[*j] > low[*j]).collect();
    let scaled: Vec<Vec<f64>> =
        points.iter().map(|p| varied.iter().map(|j| (p[*j] - low[*j]) / (high[*j] - low[*j])).collect()).collect();
    let mut resampler = Resampler::new(4);
    let mut sums = vec![0.0; varied.len()];
    for _ in 0..TREES {
        let sample: Vec<usize> = (0..n).map(|_| resampler.index_below(n)).collect();
        let mut leaves = vec![];
        let box_of_all = (vec![0.0; varied.len()], vec![1.0; varied.len()]);
        grow(&scaled, &objectives, sample, box_of_all, 0, &mut leaves);
        let total = variance_of_leaves(&leaves);
        if total > 0.0 {
            (0..varied.len()).for_each(|j| sums[j] += variance_along(&leaves, j) / total);
        }
    }
    let all: f64 = sums.iter().sum();
    let mut shares = vec![0.0; dimensions];
    if all > 0.0 {
        varied.iter().zip(sums).for_each(|(j, sum)| shares[*j] = sum / all);
    }
    shares
}

/// Splits a part of the box where this reduces the squared error most, until all objectives of a part are equal.
fn grow(
    points: &[Vec<f64>],
    objectives: &[f64],
    mut sample: Vec<usize>,
    (low, high): (Vec<f64>, Vec<f64>),
    depth: usize,
    leaves: &mut Vec<Leaf>,
) {
    let n = sample.len() as f64;
    let sum: f64 = sample.iter().map(|i| objectives[*i]).sum();
    let mut best: Option<(f64, usize, f64)> = None;
    for (j, _) in low.iter().enumerate() {
        sample.sort_by(|a, b| points[*a][j].total_cmp(&points[*b][j]));
        let mut left = 0.0;
        for (k, pair) in sample.windows(2).enumerate() {
            left += objectives[pair[0]];
            let (x, next, count) = (points[pair[0]][j], points[pair[1]][j], (k + 1) as f64);
            // The squared error is smallest where this is largest.
            let gain = left * left / count + (sum - left).powi(2) / (n - count) - sum * sum / n;
            if next > x && best.is_none_or(|(most, ..)| gain > most) {
                best = Some((gain, j, 0.5 * (x + next)));
            }
        }
    }
    match best.filter(|(gain, ..)| *gain > 1e-12 * sum.abs().max(f64::MIN_POSITIVE) && depth < MAX_DEPTH) {
        None => leaves.push(Leaf { low, high, value: sum / n }),
        Some((_, j, at)) => {
            let (left, right) = sample.into_iter().partition(|i| points[*i][j] < at);
            let (mut middle_high, mut middle_low) = (high.clone(), low.clone());
            (middle_high[j], middle_low[j]) = (at, at);
            grow(points, objectives, left, (low, middle_high), depth + 1, leaves);
            grow(points, objectives, right, (middle_low, high), depth + 1, leaves);
        }
    }
}

/// Returns the volume of a leaf, without one of its coordinates.
fn volume(leaf: &Leaf, without: Option<usize>) -> f64 {
    (0..leaf.low.len()).filter(|j| Some(*j) != without).map(|j| leaf.high[j] - leaf.low[j]).product()
}

fn variance_of_leaves(leaves: &[Leaf]) -> f64 {
    let mean: f64 = leaves.iter().map(|leaf| leaf.value * volume(leaf, None)).sum();
    leaves.iter().map(|leaf| (leaf.value - mean).powi(2) * volume(leaf, None)).sum()
}

/// Returns the variance along one coordinate of the mean over all others.
fn variance_along(leaves: &[Leaf], j: usize) -> f64 {
    let mut ends: Vec<f64> = leaves.iter().flat_map(|leaf| [leaf.low[j], leaf.high[j]]).collect();
    ends.sort_by(f64::total_cmp);
    ends.dedup();
    let mean_between = |a: f64, b: f64| -> f64 {
        let there = leaves.iter().filter(|leaf| leaf.low[j] <= a && leaf.high[j] >= b);
        there.map(|leaf| leaf.value * volume(leaf, Some(j))).sum()
    };
    let parts: Vec<(f64, f64)> =
        ends.windows(2).map(|pair| (pair[1] - pair[0], mean_between(pair[0], pair[1]))).collect();
    let mean: f64 = parts.iter().map(|(width, value)| width * value).sum();
    parts.iter().map(|(width, value)| width * (value - mean).powi(2)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn radical_inverse(mut i: u32, base: u32) -> f64 {
        let (mut x, mut digit) = (0.0, 1.0);
        while i > 0 {
            digit /= f64::from(base);
            x += digit * f64::from(i % base);
            i /= base;
        }
        x
    }

    /// 40 points of the Halton sequence. In u, the second and third hyperparameter hardly matter.
    #[test]
    fn the_shares_of_the_reference_case_are_the_known_ones() {
        let points: Vec<Vec<f64>> = (1..=40).map(|i| [2, 3, 5].map(|base| radical_inverse(i, base)).to_vec()).collect();
        let objective =
            |p: &Vec<f64>| (p[0] - 0.3).powi(2) + 0.1 * (p[1] - 0.6).powi(2) + 0.02 * (4.0 * p[2] - 2.0).powi(2);
        let objectives: Vec<f64> = points.iter().map(objective).collect();
        let found = shares(&points, &objectives);
        // The analytic shares over the box are 0.966, 0.0045 and 0.029.
        assert!((found[0] - 0.966).abs() < 0.05 && found[1] < 0.05 && found[2] < 0.06, "{found:?}");
        assert!((found.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn what_does_not_vary_has_no_share() {
        assert_eq!(shares(&[vec![0.1, 0.5], vec![0.9, 0.5]], &[1.0, 2.0]), [1.0, 0.0]);
        assert_eq!(shares(&[vec![0.1], vec![0.9]], &[1.0, 1.0]), [0.0]);
        assert_eq!(shares(&[], &[]), Vec::<f64>::new());
    }
}
