//! The choice of values for three or more scientific lists at the top of the tree, since version 7. After any number of
//! trials, each value of a list occurred equally often (± 1), and so did each combination. The counts that decide, the
//! most important one first:
//!
//! 1. of the values of each list alone: only those that occurred least are taken;
//! 2. of the combination;
//! 3. of the pairs of values that the combination has.
//!
//! These counts alone would sometimes lead to a trial at which the first two cannot hold. A fixed way through the
//! combinations prevents this: each list steps to its next value, in an order that does not change, all lists at once,
//! until they are back where they began. All combinations of such a round have equal counts before it, and after it.
//! So among combinations with equal counts, the next one of the round is taken.
//!
//! After a wider space began, the counts of combinations can differ by more until the new values have caught up.

use super::{Card, Dealt};
use crate::sampler::keyed::{Purpose, generator, permutation};

impl Dealt {
    /// The combinations of the least used values of several lists, the best one first. If there are more than `most`,
    /// only the next one of the round, if it is as good as what [`Dealt::after`] would choose, and false.
    pub(super) fn combinations(&self, nodes: &[usize], most: usize) -> (Vec<Vec<Card>>, bool) {
        let least: Vec<Vec<Card>> = nodes.iter().map(|node| self.least_used(*node)).collect();
        let next: Option<Vec<Card>> = nodes.iter().map(|node| self.next_in_turn(*node)).collect();
        let within = |count: usize, cards: &Vec<Card>| Some(count * cards.len()).filter(|count| *count <= most);
        let Some(count) = least.iter().try_fold(1, within) else {
            let is_least = |next: &Vec<Card>| next.iter().zip(&least).all(|(card, least)| least.contains(card));
            let mut other = vec![];
            for node in nodes {
                other.extend(self.after(&other, *node).first().copied());
            }
            let is_as_good =
                |next: &Vec<Card>| is_least(next) && self.beginning_count(next) <= self.beginning_count(&other);
            return (next.filter(is_as_good).into_iter().collect(), false);
        };
        // All cards in one row, and how often two of them occurred together.
        let row: Vec<Card> = least.concat();
        let pairs: Vec<Vec<u64>> = row.iter().map(|a| row.iter().map(|b| self.pair_count(*a, *b)).collect()).collect();
        let places = |mut index: usize| -> Vec<usize> {
            let mut begin = 0;
            let place = least.iter().map(|cards| {
                let place = begin + index % cards.len();
                index /= cards.len();
                begin += cards.len();
                place
            });
            place.collect()
        };
        let cards = |places: &[usize]| -> Vec<Card> { places.iter().map(|place| row[*place]).collect() };
        let mut ranked: Vec<(u64, bool, u64, usize)> = (0..count)
            .map(|index| {
                let places = places(index);
                let combination = cards(&places);
                let later = |at: usize| places[at + 1..].iter().map(|other| pairs[places[at]][*other]).sum::<u64>();
                let is_next = next.as_ref() == Some(&combination);
                (self.beginning_count(&combination), !is_next, (0..places.len()).map(later).sum(), index)
            })
            .collect();
        ranked.sort_unstable();
        (ranked.into_iter().map(|(.., index)| cards(&places(index))).collect(), true)
    }

    /// The least used values of a list, after these values of the lists before it, the best one first.
    pub(super) fn after(&self, before: &[Card], node: usize) -> Vec<Card> {
        let next = self.next_in_turn(node);
        let mut choices = self.least_used(node);
        choices.sort_by_cached_key(|card| {
            let combination = [before, &[*card]].concat();
            let pairs: u64 = before.iter().map(|other| self.pair_count(*card, *other)).sum();
            (self.beginning_count(&combination), Some(*card) != next, pairs)
        });
        choices
    }

    /// The values of a list that occurred least, in a random order.
    fn least_used(&self, node: usize) -> Vec<Card> {
        let trial = self.trials.get(&node).copied().unwrap_or(0);
        let order = permutation(generator(Purpose::Deal, self.seed, node as u64, trial), self.values[&node].len());
        let cards =
            order.into_iter().map(|index| ((node, index), self.counts.get(&(node, index)).copied().unwrap_or(0)));
        let cards: Vec<(Card, u64)> = cards.collect();
        let least = cards.iter().map(|(_, count)| *count).min();
        cards.into_iter().filter(|(_, count)| Some(*count) == least).map(|(card, _)| card).collect()
    }

    /// The value that follows the last one of a list, in an order that is the same in all trials.
    fn next_in_turn(&self, node: usize) -> Option<Card> {
        let last = self.last.get(&node)?;
        Some((node, self.following(node, *last)?))
    }

    /// How many trials had these values of the first lists.
    fn beginning_count(&self, values: &[Card]) -> u64 {
        self.beginnings.get(values).copied().unwrap_or(0)
    }

    fn pair_count(&self, a: Card, b: Card) -> u64 {
        self.together.get(&(a, b)).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Distribution, Hyperparameter, Params, Role, SearchSpace, Value};
    use std::collections::HashMap;

    #[test]
    fn lists_that_are_chosen_one_after_the_other_are_balanced_too() {
        for sizes in [&[2, 2, 3, 2][..], &[2, 2, 2, 3], &[2, 2, 2, 2, 3], &[3, 2, 4]] {
            let mut space = SearchSpace::new();
            for (node, count) in sizes.iter().enumerate() {
                let distribution = Distribution::choice((0..*count).map(Value::Int).collect()).unwrap();
                let (name, role) = (node.to_string(), Role::Scientific);
                space.declare(Hyperparameter { name, role, distribution, conditions: vec![] }).unwrap();
            }
            let nodes: Vec<usize> = (0..sizes.len()).collect();
            let all = sizes.iter().product::<i64>() as usize;
            for (seed, most) in (0..10).flat_map(|seed| [1, 4, 8].map(|most| (seed, most))) {
                let mut dealt = Dealt::new(seed);
                dealt.learn(&space);
                let mut counts: HashMap<Vec<Card>, usize> = HashMap::new();
                for trial in 0..2 * all {
                    let (found, are_all) = dealt.combinations(&nodes, most);
                    let one_by_one = || {
                        let mut chosen = vec![];
                        nodes.iter().for_each(|node| chosen.push(dealt.after(&chosen, *node)[0]));
                        chosen
                    };
                    assert!(!are_all || !found.is_empty());
                    let chosen = found.into_iter().next().unwrap_or_else(one_by_one);
                    let params: Params =
                        chosen.iter().map(|(node, index)| (node.to_string(), Value::Int(*index as i64))).collect();
                    dealt.record(7, &space, &params);
                    *counts.entry(chosen).or_default() += 1;
                    let turns = trial / all;
                    assert!(counts.values().all(|count| *count <= turns + 1), "{sizes:?}, {most}, seed {seed}");
                }
                assert_eq!(counts.len(), all);
            }
        }
    }
}
