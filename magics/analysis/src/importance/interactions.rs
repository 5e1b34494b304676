//! Which pairs of hyperparameters explain more together than alone (functional ANOVA by a polynomial expansion).
//!
//! The objective is fitted by least squares with a polynomial of each coordinate, without interactions. For each pair,
//! the products of their linear terms (of the indicators of their values, where they are few) are added. The part of
//! the sum of squares that these explain beyond the rest is the pair's share. Forests of trees are worse at this,
//! because they also use one coordinate within a range of another where the two do not interact.

use super::percentile_95;
use crate::resampling::Resampler;

/// The largest degree of the polynomials without interactions.
const DEGREE: usize = 3;
/// A coordinate with at most so many different values has a term for each value instead.
const FEW: usize = 3;
/// The number of draws from the model without interactions.
const DRAWS: usize = 399;
/// The least number of configurations beyond the number of all terms.
const LEAST_FREE: usize = 5;

/// The share of coordinates j < k, and the largest share that any pair reaches by chance.
pub(super) struct PairShare {
    pub pair: (usize, usize),
    pub share: f64,
    pub null: f64,
}

/// Orthonormal vectors, one value for each configuration.
struct Basis(Vec<Vec<f64>>);

/// Returns the share of each pair of coordinates. None if there are fewer than two configurations for each term even of
/// a linear fit, or if the objective does not vary.
///
/// For the null, the residuals of the fit without interactions are dealt to the configurations at random (Freedman and
/// Lane 1983). No pair goes above its null in 95 % of studies without interactions: it follows from the largest of all
/// pairs' F statistics. The strongest pair above its null becomes a part of the fit, and then the others are judged
/// again, because its effect would seem to be theirs.
pub(super) fn pair_shares(columns: &[&[f64]], objectives: &[f64], resampler: &mut Resampler) -> Option<Vec<PairShare>> {
    let n = objectives.len();
    let of_degree = |degree: usize| {
        let terms: Vec<Vec<f64>> = columns.iter().flat_map(|column| terms(column, degree)).collect();
        (2 * (terms.len() + 1) <= n).then_some(terms)
    };
    let alone = (1..=DEGREE).rev().find_map(of_degree)?;
    let mut basis = Basis(vec![]);
    std::iter::once(&vec![1.0; n]).chain(&alone).for_each(|term| basis.add(term.clone()));
    let mean = objectives.iter().sum::<f64>() / n as f64;
    let total: f64 = objectives.iter().map(|y| (y - mean).powi(2)).sum();
    if total <= 0.0 {
        return None;
    }
    let linear: Vec<Vec<Vec<f64>>> = columns.iter().map(|column| terms(column, 1)).collect();
    let mut left: Vec<(usize, usize)> =
        (0..columns.len()).flat_map(|j| (j + 1..columns.len()).map(move |k| (j, k))).collect();
    let mut found = vec![];
    loop {
        let products = |(j, k): (usize, usize)| basis.with_products(&linear[j], &linear[k]);
        let pairs: Vec<((usize, usize), Basis)> = left.iter().map(|pair| (*pair, products(*pair))).collect();
        let mut judged = judge(&basis, pairs, objectives, total, resampler);
        judged.sort_by(|a, b| (b.share / b.null).total_cmp(&(a.share / a.null)));
        if judged.first().is_none_or(|strongest| strongest.share <= strongest.null) {
            found.extend(judged);
            return Some(found);
        }
        let strongest = judged.remove(0);
        let (j, k) = strongest.pair;
        basis.0.extend(products((j, k)).0);
        left.retain(|pair| *pair != (j, k));
        found.push(strongest);
    }
}

/// Judges the products of some pairs, each without what the fit explains already.
fn judge(
    basis: &Basis,
    mut pairs: Vec<((usize, usize), Basis)>,
    objectives: &[f64],
    total: f64,
    resampler: &mut Resampler,
) -> Vec<PairShare> {
    let free = objectives.len() - basis.0.len();
    pairs.retain(|(_, own)| !own.0.is_empty() && free >= own.0.len() + LEAST_FREE);
    let residuals = basis.residuals(objectives);
    let rest = dot(&residuals, &residuals);
    let largest = |residuals: &[f64]| {
        let rest = dot(residuals, residuals);
        let statistics = pairs.iter().map(|(_, own)| {
            let explained = own.explained(residuals);
            (explained / own.0.len() as f64) / ((rest - explained) / (free - own.0.len()) as f64)
        });
        statistics.filter(|f| !f.is_nan()).fold(0.0, f64::max)
    };
    let draws = (0..DRAWS).map(|_| largest(&basis.residuals(&resampler.shuffled(&residuals)))).collect();
    let threshold = percentile_95(draws);
    let share = |(pair, own): &((usize, usize), Basis)| {
        let scaled = threshold * own.0.len() as f64;
        let null = scaled * rest / ((free - own.0.len()) as f64 + scaled) / total;
        PairShare { pair: *pair, share: own.explained(&residuals) / total, null }
    };
    pairs.iter().map(share).collect()
}

impl Basis {
    /// Adds what a term has beyond the vectors so far (Gram and Schmidt). Nothing is added if that is nothing.
    fn add(&mut self, mut term: Vec<f64>) {
        let before = dot(&term, &term).sqrt();
        // Once more, because the first pass leaves rounding errors.
        (0..2).for_each(|_| self.remove_from(&mut term));
        let length = dot(&term, &term).sqrt();
        if length > 1e-6 * before {
            term.iter_mut().for_each(|x| *x /= length);
            self.0.push(term);
        }
    }

    fn remove_from(&self, values: &mut [f64]) {
        for unit in &self.0 {
            let length = dot(values, unit);
            values.iter_mut().zip(unit).for_each(|(x, u)| *x -= length * u);
        }
    }

    /// Returns what values have beyond this basis.
    fn residuals(&self, values: &[f64]) -> Vec<f64> {
        let mut residuals = values.to_vec();
        self.remove_from(&mut residuals);
        residuals
    }

    /// Returns the sum of squares of values that this basis explains.
    fn explained(&self, values: &[f64]) -> f64 {
        self.0.iter().map(|unit| dot(values, unit).powi(2)).sum()
    }

    /// Returns what the products of terms have beyond this basis.
    fn with_products(&self, a: &[Vec<f64>], b: &[Vec<f64>]) -> Self {
        let mut all = Self(self.0.clone());
        for a in a {
            b.iter().for_each(|b| all.add(a.iter().zip(b).map(|(a, b)| a * b).collect()));
        }
        Self(all.0.split_off(self.0.len()))
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Returns the powers of a coordinate up to a degree, or the indicators of its values if they are few.
fn terms(column: &[f64], degree: usize) -> Vec<Vec<f64>> {
    let mut values = column.to_vec();
    values.sort_by(f64::total_cmp);
    values.dedup();
    if values.len() <= FEW {
        let is_value = |value: &f64| column.iter().map(|x| f64::from(u8::from(x == value))).collect();
        return values.iter().skip(1).map(is_value).collect();
    }
    (1..=degree as i32).map(|power| column.iter().map(|x| (2.0 * x - 1.0).powi(power)).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the shares of the pairs (x, y) and (x, z) of 40 configurations, and whether they are above their nulls.
    fn shares(objective: fn(f64, f64, f64) -> f64) -> [(f64, bool); 2] {
        let column = |step: usize| (0..40).map(|i| (i * step % 41) as f64 / 40.0).collect::<Vec<f64>>();
        let (x, y, z) =
            (column(7), column(12), column(1).iter().map(|z| f64::from(u8::from(*z > 0.5))).collect::<Vec<_>>());
        let objectives: Vec<f64> = (0..40).map(|i| objective(x[i], y[i], z[i])).collect();
        let found = pair_shares(&[&x, &y, &z], &objectives, &mut Resampler::new(1)).unwrap();
        [(0, 1), (0, 2)].map(|pair| {
            let share = found.iter().find(|share| share.pair == pair).unwrap();
            (share.share, share.share > share.null)
        })
    }

    #[test]
    fn a_product_is_an_interaction_and_a_sum_is_none() {
        let [product, other] = shares(|x, y, z| (x - 0.5) * (y - 0.5) + 0.01 * z);
        assert!(product.0 > 0.6 && product.1 && other.0 < 0.1 && !other.1, "{product:?} {other:?}");
        let [_, of_list] = shares(|x, _, z| if z > 0.0 { x } else { -x });
        assert!(of_list.0 > 0.15 && of_list.1, "{of_list:?}");
        // A sum leaves nothing, not even by rounding errors that seem to be a part of the rest.
        let sums = shares(|x, y, z| x * x + y.powi(3) + z);
        assert!(sums.iter().all(|(share, _)| *share < 1e-12), "{sums:?}");
    }

    #[test]
    fn few_configurations_say_nothing() {
        let column = [0.1, 0.5, 0.9];
        assert!(pair_shares(&[&column, &column], &[1.0, 2.0, 3.0], &mut Resampler::new(1)).is_none());
    }
}
