//! Configurations as points for a Gaussian process.
//!
//! A range has a column with its place in [0, 1], a list of numbers one with the rank, any other list one in which only
//! equality matters. A hyperparameter that is inactive has a fixed value there, and each set of conditions has a column
//! that says whether they hold: two configurations are equally far apart in a branch that neither of them has.

use super::gaussian::Points;
use crate::{Distribution, Hyperparameter, Params, SearchSpace, Value};

/// How a hyperparameter is embedded.
enum Column {
    /// Its place in [0, 1]. `values`: how many values there are, if it is discrete.
    Range { values: Option<u64> },
    /// The rank of each value of a list of numbers, in [0, 1].
    Ranks(Vec<f64>),
    /// The index of a value.
    Category { values: usize },
}

/// A hyperparameter that varies.
struct Node {
    /// Its index in the space.
    index: usize,
    column: Column,
    /// The column that says whether its conditions hold. None if it has none.
    indicator: Option<usize>,
}

pub struct Embedding<'a> {
    space: &'a SearchSpace,
    nodes: Vec<Node>,
    columns: usize,
}

/// The place of each hyperparameter that varies in its distribution, in [0, 1].
pub type Units = Vec<f64>;

impl<'a> Embedding<'a> {
    pub fn new(space: &'a SearchSpace) -> Self {
        let varies = |(_, h): &(usize, &Hyperparameter)| !h.distribution.is_constant();
        let mut nodes: Vec<Node> = space
            .hyperparameters()
            .iter()
            .enumerate()
            .filter(varies)
            .map(|(index, h)| Node { index, column: column(&h.distribution), indicator: None })
            .collect();
        let (mut columns, mut known) = (nodes.len(), vec![]);
        for node in &mut nodes {
            let conditions = &space.hyperparameters()[node.index].conditions;
            if conditions.is_empty() {
                continue;
            }
            let at = known.iter().position(|(other, _)| *other == conditions).unwrap_or_else(|| {
                known.push((conditions, columns));
                columns += 1;
                known.len() - 1
            });
            node.indicator = Some(known[at].1);
        }
        Self { space, nodes, columns }
    }

    /// The number of hyperparameters that vary.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// The index in the space of a hyperparameter that varies.
    pub fn index(&self, node: usize) -> usize {
        self.nodes[node].index
    }

    /// The number of values of a hyperparameter. None if it is continuous.
    pub fn values(&self, node: usize) -> Option<u64> {
        match &self.nodes[node].column {
            Column::Range { values } => *values,
            Column::Ranks(ranks) => Some(ranks.len() as u64),
            Column::Category { values } => Some(*values as u64),
        }
    }

    /// The number (from 0) of the discrete value at a place.
    pub fn nth_of(&self, node: usize, unit: f64) -> u64 {
        let last = self.values(node).unwrap_or(1) - 1;
        let distribution = &self.space.hyperparameters()[self.nodes[node].index].distribution;
        match (distribution, distribution.from_unit(unit)) {
            (Distribution::Int { low, .. } | Distribution::LogInt { low, .. }, Value::Int(value)) => {
                value.abs_diff(*low)
            }
            _ => ((unit * (last + 1) as f64) as u64).min(last),
        }
    }

    /// The place of a discrete value of this number (from 0).
    pub fn place_of(&self, node: usize, nth: u64) -> f64 {
        let middle = (nth as f64 + 0.5) / self.values(node).unwrap_or(1) as f64;
        let distribution = &self.space.hyperparameters()[self.nodes[node].index].distribution;
        match distribution {
            Distribution::Int { low, .. } | Distribution::LogInt { low, .. } => {
                distribution.to_unit(&Value::Int(low.saturating_add_unsigned(nth))).unwrap_or(middle)
            }
            _ => middle,
        }
    }

    /// Whether a hyperparameter is a range: its column moves smoothly with its place.
    pub fn is_range(&self, node: usize) -> bool {
        matches!(self.nodes[node].column, Column::Range { .. })
    }

    /// No points yet.
    pub fn points(&self) -> Points {
        let is_category = |node: Option<&Node>| node.is_some_and(|n| matches!(n.column, Column::Category { .. }));
        Points { categorical: (0..self.columns).map(|k| is_category(self.nodes.get(k))).collect(), rows: vec![] }
    }

    /// The places of a configuration. None if the space does not have one of its values.
    pub fn units(&self, params: &Params) -> Option<Units> {
        self.nodes.iter().map(|node| self.unit(node, params)).collect()
    }

    fn unit(&self, node: &Node, params: &Params) -> Option<f64> {
        let h = &self.space.hyperparameters()[node.index];
        match h.is_active(params) {
            true => h.distribution.to_unit(params.get(&h.name)?),
            false => Some(0.5),
        }
    }

    /// The configuration at places.
    pub fn params(&self, units: &[f64]) -> Params {
        let mut next = self.nodes.iter().zip(units).peekable();
        self.space.assign(|index, h| {
            while next.next_if(|(node, _)| node.index < index).is_some() {}
            let unit = next.peek().filter(|(node, _)| node.index == index).map_or(0.5, |(_, unit)| **unit);
            h.distribution.from_unit(unit)
        })
    }

    /// Which hyperparameters exist at these places.
    pub fn active(&self, units: &[f64]) -> Vec<bool> {
        if self.columns == self.nodes.len() {
            return vec![true; self.nodes.len()];
        }
        let params = self.params(units);
        self.nodes.iter().map(|node| self.space.hyperparameters()[node.index].is_active(&params)).collect()
    }

    /// The point at places. `snapped`: a discrete range takes the place of its nearest value.
    pub fn point(&self, units: &[f64], active: &[bool], snapped: bool) -> Vec<f64> {
        let mut point = vec![0.0; self.columns];
        for (k, node) in self.nodes.iter().enumerate() {
            let unit = units[k];
            let at = |count: usize| ((unit * count as f64) as usize).min(count - 1);
            point[k] = match &node.column {
                Column::Category { .. } if !active[k] => -1.0,
                _ if !active[k] => 0.5,
                Column::Range { values: Some(_) } if snapped => {
                    let distribution = &self.space.hyperparameters()[node.index].distribution;
                    distribution.to_unit(&distribution.from_unit(unit)).unwrap_or(unit)
                }
                Column::Range { .. } => unit,
                Column::Ranks(ranks) => ranks[at(ranks.len())],
                Column::Category { values } => at(*values) as f64,
            };
            if let Some(indicator) = node.indicator {
                point[indicator] = f64::from(active[k]);
            }
        }
        point
    }
}

fn column(distribution: &Distribution) -> Column {
    let Distribution::Choice { values } = distribution else {
        let values = match distribution {
            Distribution::Int { low, high } | Distribution::LogInt { low, high } => {
                Some(high.abs_diff(*low).saturating_add(1))
            }
            _ => None,
        };
        return Column::Range { values };
    };
    let numbers: Option<Vec<f64>> = values.iter().map(Value::as_f64).collect();
    let Some(numbers) = numbers.filter(|numbers| numbers.len() > 2) else {
        return Column::Category { values: values.len() };
    };
    let rank = |x: &f64| numbers.iter().filter(|other| *other < x).count() as f64;
    Column::Ranks(numbers.iter().map(|x| rank(x) / (numbers.len() - 1) as f64).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Role;

    #[test]
    fn each_discrete_value_has_a_place() {
        let list = Distribution::choice(vec![3.into(), 1.into(), 2.into(), 8.into()]).unwrap();
        let (int, log) = (Distribution::int(-3, 9).unwrap(), Distribution::log_int(1, 1000).unwrap());
        let mut space = SearchSpace::new();
        for (name, distribution) in [("list", list), ("int", int), ("log", log)] {
            let (name, role) = (name.to_string(), Role::Nuisance);
            space.declare(Hyperparameter { name, role, distribution, conditions: vec![] }).unwrap();
        }
        let embedding = Embedding::new(&space);
        for node in 0..3 {
            for nth in 0..embedding.values(node).unwrap() {
                let place = embedding.place_of(node, nth);
                assert_eq!(embedding.nth_of(node, place), nth, "value {nth} of {node} at {place}");
            }
        }
    }
}
