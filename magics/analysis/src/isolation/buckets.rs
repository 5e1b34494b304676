//! Divides the configurations of a study by their value of one hyperparameter.

use crate::configurations::Configuration;
use serde::Serialize;
use tunebook_study::{Distribution, Value};

/// A range without `--buckets` has at most this many buckets.
const MAX_BUCKETS: usize = 10;
/// A range without `--buckets` has at least this many buckets, if there are as many configurations.
const MIN_BUCKETS: usize = 4;

/// The values of the hyperparameter that one point stands for.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bucket {
    /// One value of a list, or of a range that has few whole values.
    Value(Value),
    /// The values from the smallest to the largest that a trial of this bucket has. Buckets do not overlap.
    Range([f64; 2]),
}

impl Bucket {
    /// How far a value lies outside, on the scale of the distribution: 0 if it is inside. None if it is another value
    /// of a list.
    pub(super) fn distance(&self, value: &Value, distribution: &Distribution) -> Option<f64> {
        match self {
            Bucket::Value(own) => own.same_as(value).then_some(0.0),
            Bucket::Range(ends) => {
                let [low, high] = ends.map(|end| distribution.to_unit(&end.into()));
                let (low, v, high) = (low?, distribution.to_unit(value)?, high?);
                Some((low - v).max(v - high).max(0.0))
            }
        }
    }
}

/// The configurations of one bucket.
pub(super) type Group<'a> = (Bucket, Vec<Configuration<'a>>);

/// Divides configurations, each with its value. A list, and a range of whole numbers that has no more values than there
/// may be buckets, has a group for each value; another range is divided into `buckets` buckets.
pub(super) fn grouped<'a>(
    distribution: &Distribution,
    placed: Vec<(Configuration<'a>, &'a Value)>,
    buckets: Option<usize>,
) -> Vec<Group<'a>> {
    if let Some(values) = single_values(distribution, buckets) {
        let mut groups: Vec<Group<'a>> = values.into_iter().map(|value| (Bucket::Value(value), vec![])).collect();
        for (configuration, value) in placed {
            let of_value = |(bucket, _): &&mut Group<'a>| matches!(bucket, Bucket::Value(v) if v.same_as(value));
            if let Some((_, group)) = groups.iter_mut().find(of_value) {
                group.push(configuration);
            }
        }
        return groups;
    }
    of_equal_count(distribution, placed, buckets)
}

/// Returns the values that have a point each, in order, or None if the range is divided into buckets.
fn single_values(distribution: &Distribution, buckets: Option<usize>) -> Option<Vec<Value>> {
    let (low, high) = match distribution {
        Distribution::Choice { values } => return Some(values.clone()),
        Distribution::Int { low, high } | Distribution::LogInt { low, high } => (*low, *high),
        _ => return None,
    };
    let most = buckets.unwrap_or(MAX_BUCKETS) as i128;
    (i128::from(high) - i128::from(low) < most).then(|| (low..=high).map(Value::from).collect())
}

/// Divides configurations into buckets of about equal count, ordered by the value's coordinate in the unit interval.
///
/// The i-th of the m − 1 cuts lies after i·n/m of the n configurations. A cut that would part equal values moves to the
/// nearer end of these, the lower one if both are equally near.
fn of_equal_count<'a>(
    distribution: &Distribution,
    placed: Vec<(Configuration<'a>, &'a Value)>,
    buckets: Option<usize>,
) -> Vec<Group<'a>> {
    let mut placed: Vec<(f64, f64, Configuration<'a>)> = placed
        .into_iter()
        .filter_map(|(configuration, value)| Some((distribution.to_unit(value)?, value.as_f64()?, configuration)))
        .collect();
    placed.sort_by(|a, b| a.0.total_cmp(&b.0));
    let n = placed.len();
    let default = ((n as f64).sqrt() as usize).clamp(MIN_BUCKETS, MAX_BUCKETS);
    let m = buckets.unwrap_or(default).clamp(1, n.max(1));
    let cut = |i: usize| {
        let at = i * n / m;
        let Some(u) = placed.get(at).map(|(u, ..)| *u) else { return at };
        let (first, end) = (placed.partition_point(|(v, ..)| *v < u), placed.partition_point(|(v, ..)| *v <= u));
        if at - first <= end - at { first } else { end }
    };
    let cuts: Vec<usize> = (0..=m).map(cut).collect();
    let slices = cuts.windows(2).map(|ends| &placed[ends[0]..ends[1]]);
    slices
        .filter(|bucket| !bucket.is_empty())
        .map(|bucket| {
            let values = bucket.iter().map(|(_, value, _)| *value);
            let (low, high) = (values.clone().fold(f64::INFINITY, f64::min), values.fold(f64::NEG_INFINITY, f64::max));
            (Bucket::Range([low, high]), bucket.iter().map(|(_, _, configuration)| configuration.clone()).collect())
        })
        .collect()
}
