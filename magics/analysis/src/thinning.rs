//! Limits the number of points in a result, so that its JSON and its chart stay small.

/// A list of points keeps at most this many.
pub const MAX_POINTS: usize = 2000;

/// Returns at most [`MAX_POINTS`] items at equal distances in the list, the first and the last included.
pub fn thinned<T: Clone>(items: &[T]) -> Vec<T> {
    if items.len() <= MAX_POINTS {
        return items.to_vec();
    }
    let last = items.len() - 1;
    (0..MAX_POINTS).map(|i| items[i * last / (MAX_POINTS - 1)].clone()).collect()
}
