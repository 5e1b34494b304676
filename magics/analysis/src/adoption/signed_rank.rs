//! The exact Wilcoxon signed-rank test of pairs of runs that share a seed. Equal distances share the mean of their
//! ranks, and pairs without a difference are left out.

/// The two-sided p-value: the share of all choices of signs whose sum of ranks is as far from its mean. None without
/// pairs. A pair in which only one run is infeasible is farther apart than all others.
pub(super) fn signed_rank(pairs: &[(f64, f64)]) -> Option<f64> {
    if pairs.is_empty() {
        return None;
    }
    let mut distances: Vec<(f64, bool)> =
        pairs.iter().filter(|(x, y)| x != y).map(|(x, y)| ((x - y).abs(), x > y)).collect();
    distances.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut before, mut observed) = (0, 0);
    let mut ways = vec![1.0];
    for equal in distances.chunk_by(|a, b| a.0 == b.0) {
        let doubled_rank = 2 * before + equal.len() + 1;
        for (_, is_larger) in equal {
            observed += if *is_larger { doubled_rank } else { 0 };
            let mut next = ways.clone();
            next.resize(ways.len() + doubled_rank, 0.0);
            next[doubled_rank..].iter_mut().zip(&ways).for_each(|(to, from)| *to += from);
            ways = next;
        }
        before += equal.len();
    }
    // The sum is symmetric about half of its largest value.
    let largest = ways.len() - 1;
    let far = |sum: usize| (2 * sum).abs_diff(largest);
    let as_far: f64 = ways.iter().enumerate().filter(|(sum, _)| far(*sum) >= far(observed)).map(|(_, ways)| ways).sum();
    Some(as_far / ways.iter().sum::<f64>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_p_values_are_those_of_the_tables() {
        let pairs = |differences: &[f64]| differences.iter().map(|d| (*d, 0.0)).collect::<Vec<_>>();
        let p = |differences: &[f64]| signed_rank(&pairs(differences)).unwrap();
        assert_eq!(p(&[-1.0, -2.0, -3.0, -4.0, -5.0]), 2.0 / 32.0);
        assert_eq!(p(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), 2.0 / 64.0);
        // The sums 0, 1, 2 of the smaller side, of 0 to 21: 1 + 1 + 1 ways.
        assert_eq!(p(&[1.0, -2.0, 3.0, 4.0, 5.0, 6.0]), 6.0 / 64.0);
        assert_eq!(p(&[0.0, 0.0]), 1.0);
        // With equal distances, each sign is one half: all four the same way, or not.
        assert_eq!(p(&[1.0, 1.0, 1.0, 1.0]), 2.0 / 16.0);
        assert_eq!(p(&[f64::INFINITY, 1.0, 2.0, -0.5]), signed_rank(&pairs(&[9.0, 1.0, 2.0, -0.5])).unwrap());
        assert_eq!(signed_rank(&[]), None);
    }
}
