//! Limits the number of points in a result, so that its JSON and its chart stay small.

/// A list of points keeps at most this many.
pub const MAX_POINTS: usize = 2000;

/// Returns at most [`MAX_POINTS`] items at equal distances in the list, the first and the last included.
pub fn thinned<T: Clone>(items: &[T]) -> Vec<T> {
    thinned_to(items, MAX_POINTS)
}

/// The same for another number of items, which is at least 2.
pub fn thinned_to<T: Clone>(items: &[T], most: usize) -> Vec<T> {
    if items.len() <= most {
        return items.to_vec();
    }
    let last = items.len() - 1;
    (0..most).map(|i| items[i * last / (most - 1)].clone()).collect()
}
