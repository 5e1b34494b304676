//! Limits the number of points in a result, so that its JSON and its chart stay small.

/// A list of points keeps at most this many.
pub const MAX_POINTS: usize = 2000;

/// Returns at most `most` items at equal distances in the list, the first and the last included. `most` is at least 2.
pub fn thinned_to<T: Clone>(items: &[T], most: usize) -> Vec<T> {
    if items.len() <= most {
        return items.to_vec();
    }
    let last = items.len() - 1;
    (0..most).map(|i| items[i * last / (most - 1)].clone()).collect()
}

/// Returns at most [`MAX_POINTS`] points of a curve: the first and the last, those that `is_kept` names, which are few,
/// and the smallest and the largest of each of equal parts, so that no spike is lost.
pub fn thinned_curve<T: Clone>(points: &[T], value: impl Fn(&T) -> f64, is_kept: impl Fn(&T) -> bool) -> Vec<T> {
    let n = points.len();
    if n <= MAX_POINTS {
        return points.to_vec();
    }
    let mut places: Vec<usize> = (0..n).filter(|i| [0, n - 1].contains(i) || is_kept(&points[*i])).collect();
    let parts = (MAX_POINTS.saturating_sub(places.len()) / 2).max(1);
    let by_value = |a: &usize, b: &usize| value(&points[*a]).total_cmp(&value(&points[*b]));
    for part in 0..parts {
        let part = part * n / parts..(part + 1) * n / parts;
        places.extend(part.clone().min_by(by_value));
        places.extend(part.max_by(by_value));
    }
    places.sort_unstable();
    places.dedup();
    places.into_iter().map(|i| points[i].clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thinned_curve_keeps_its_ends_its_spikes_and_what_is_asked_for() {
        let value = |i: usize| if i == 3333 { 99.0 } else { 1.0 / (1 + i) as f64 };
        let points: Vec<(usize, f64)> = (0..5001).map(|i| (i, value(i))).collect();
        let kept = thinned_curve(&points, |(_, y)| *y, |(step, _)| *step == 1501);
        assert!(kept.len() <= MAX_POINTS && kept.len() > MAX_POINTS / 2, "{}", kept.len());
        assert!(kept.is_sorted_by_key(|(step, _)| *step));
        for step in [0, 1501, 3333, 5000] {
            assert!(kept.contains(&points[step]), "{step}");
        }
        assert_eq!(thinned_curve(&points[..MAX_POINTS], |(_, y)| *y, |_| false), points[..MAX_POINTS]);
    }
}
