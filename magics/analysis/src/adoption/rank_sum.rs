//! The exact Mann–Whitney test. Equal values share the mean of their ranks, and the distribution is that over all ways
//! to deal these very values to the two samples, so that the test is exact with ties too.

/// The result of the test of a sample against another one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct RankSum {
    /// The two-sided p-value: the share of all deals whose sum of ranks is as far from its mean.
    pub p_value: f64,
    /// The share of all deals in which the first sample has a sum of ranks as small, or smaller.
    pub p_value_smaller: f64,
    /// The share of all deals in which it has one as large, or larger.
    pub p_value_larger: f64,
    /// The share of pairs in which the value of the first sample is smaller. Equal values count half.
    pub probability_smaller: f64,
}

/// The smallest two-sided p-value of samples of these sizes without equal values: 2 / C(n + m, n).
pub(super) fn smallest_p(n: usize, m: usize) -> f64 {
    (2.0 / binomial(n + m, n.min(m))).min(1.0)
}

/// None if a sample is empty. Infinite values are allowed, and equal to each other.
pub(super) fn rank_sum(x: &[f64], y: &[f64]) -> Option<RankSum> {
    if x.is_empty() || y.is_empty() {
        return None;
    }
    let groups = groups(x, y);
    let observed: usize = groups.iter().map(|group| group.of_x * group.doubled_rank).sum();
    let (n, m) = (x.len(), y.len());
    // Ranks are doubled, so that a mean of two ranks is whole. The mean of the doubled sum is n (n + m + 1).
    let mean = n * (n + m + 1);
    let deals = deals(&groups, n);
    let far = observed.abs_diff(mean);
    let share = |counts: &dyn Fn(usize) -> bool| {
        let counted: f64 = deals.iter().enumerate().filter(|(sum, _)| counts(*sum)).map(|(_, ways)| ways).sum();
        (counted / deals.iter().sum::<f64>()).min(1.0)
    };
    let larger = observed as f64 / 2.0 - (n * (n + 1)) as f64 / 2.0;
    Some(RankSum {
        p_value: share(&|sum| sum.abs_diff(mean) >= far),
        p_value_smaller: share(&|sum| sum <= observed),
        p_value_larger: share(&|sum| sum >= observed),
        probability_smaller: 1.0 - larger / (n * m) as f64,
    })
}

/// Equal values of both samples.
struct Group {
    count: usize,
    of_x: usize,
    doubled_rank: usize,
}

fn groups(x: &[f64], y: &[f64]) -> Vec<Group> {
    let mut pool: Vec<(f64, bool)> = x.iter().map(|x| (*x, true)).chain(y.iter().map(|y| (*y, false))).collect();
    pool.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut before = 0;
    pool.chunk_by(|a, b| a.0 == b.0)
        .map(|equal| {
            let group = Group {
                count: equal.len(),
                of_x: equal.iter().filter(|(_, is_x)| *is_x).count(),
                doubled_rank: 2 * before + equal.len() + 1,
            };
            before += equal.len();
            group
        })
        .collect()
}

/// The number of ways to choose `n` of all values, by their doubled sum of ranks.
fn deals(groups: &[Group], n: usize) -> Vec<f64> {
    let all: usize = groups.iter().map(|group| group.count * group.doubled_rank).sum();
    let mut ways = vec![vec![0.0; all + 1]; n + 1];
    ways[0][0] = 1.0;
    for group in groups {
        for chosen in (0..n).rev() {
            for of_group in 1..=group.count.min(n - chosen) {
                let (more, times) = (of_group * group.doubled_rank, binomial(group.count, of_group));
                let (from, to) = ways.split_at_mut(chosen + 1);
                let (from, to) = (&from[chosen], &mut to[of_group - 1]);
                for (to, from) in to[more..].iter_mut().zip(from) {
                    *to += times * from;
                }
            }
        }
    }
    ways.swap_remove(n)
}

pub(super) fn binomial(n: usize, k: usize) -> f64 {
    (0..k).map(|i| (n - i) as f64 / (k - i) as f64).product()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_p_values_are_those_of_the_tables() {
        for (n, m, p) in [(3, 3, 0.1), (4, 4, 0.0286), (5, 5, 0.0079), (3, 5, 0.0357), (4, 6, 0.0095)] {
            let x: Vec<f64> = (0..n).map(|i| i as f64).collect();
            let y: Vec<f64> = (0..m).map(|i| 100.0 + i as f64).collect();
            let found = rank_sum(&x, &y).unwrap();
            assert!((found.p_value - smallest_p(n, m)).abs() < 1e-12 && (found.p_value - p).abs() < 5e-5, "{found:?}");
            assert!((2.0 * found.p_value_smaller - found.p_value).abs() < 1e-12 && found.p_value_larger == 1.0);
            assert_eq!(found.probability_smaller, 1.0);
        }
    }

    /// The distribution by enumeration of all deals.
    fn enumerated(x: &[f64], y: &[f64]) -> f64 {
        let pool: Vec<f64> = [x, y].concat();
        let rank = |v: f64| {
            let (below, equal) = (pool.iter().filter(|w| **w < v).count(), pool.iter().filter(|w| **w == v).count());
            below as f64 + (equal as f64 + 1.0) / 2.0
        };
        let mean = (x.len() * (pool.len() + 1)) as f64 / 2.0;
        let far = |sum: f64| (sum - mean).abs() + 1e-9;
        let observed = (x.iter().map(|v| rank(*v)).sum::<f64>() - mean).abs();
        let chosen = |mask: &u32| mask.count_ones() as usize == x.len();
        let sum = |mask: u32| (0..pool.len()).filter(|i| mask >> i & 1 == 1).map(|i| rank(pool[i])).sum::<f64>();
        let sums: Vec<f64> = (0..1_u32 << pool.len()).filter(chosen).map(sum).collect();
        sums.iter().filter(|sum| far(**sum) >= observed).count() as f64 / sums.len() as f64
    }

    #[test]
    fn with_and_without_ties_the_p_value_is_the_share_of_all_deals() {
        let cases: [(&[f64], &[f64]); 5] = [
            (&[1.0, 4.0, 2.0, 7.0], &[3.0, 5.0, 6.0, 8.0, 9.0]),
            (&[1.0, 1.0, 2.0, 2.0, 3.0], &[2.0, 3.0, 3.0, 3.0, 4.0]),
            (&[1.0, 1.0, 1.0], &[1.0, 1.0, 1.0, 2.0]),
            (&[0.5, 0.5, f64::INFINITY], &[0.5, f64::INFINITY, f64::INFINITY, f64::INFINITY]),
            (&[1.0; 5], &[1.0; 5]),
        ];
        for (x, y) in cases {
            let found = rank_sum(x, y).unwrap();
            assert!((found.p_value - enumerated(x, y)).abs() < 1e-12, "{x:?} {y:?}: {found:?}");
            let back = rank_sum(y, x).unwrap();
            assert!((found.p_value - back.p_value).abs() < 1e-12);
            assert!((found.probability_smaller + back.probability_smaller - 1.0).abs() < 1e-12);
            assert!((found.p_value_smaller - back.p_value_larger).abs() < 1e-12);
        }
        let equal = rank_sum(&[1.0; 5], &[1.0; 5]).unwrap();
        assert_eq!((equal.p_value, equal.p_value_smaller, equal.probability_smaller), (1.0, 1.0, 0.5));
        assert_eq!(rank_sum(&[], &[1.0]), None);
    }

    #[test]
    fn many_runs_are_exact_too() {
        let x: Vec<f64> = (0..60).map(f64::from).collect();
        let y: Vec<f64> = (0..60).map(|i| f64::from(i) + 0.5).collect();
        let found = rank_sum(&x, &y).unwrap();
        // The normal approximation: U lies 30 below its mean of 1800, with a standard deviation of 190.5.
        assert!((found.p_value - 0.877).abs() < 5e-3, "{found:?}");
    }
}
