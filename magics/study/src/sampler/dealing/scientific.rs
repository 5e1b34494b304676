//! The choice of values for several scientific lists at the top of the tree: for three or more since version 7, and for
//! two since version 8 after a wider space began. After any number of
//! trials, each value of a list occurred equally often (± 1), and so did each combination. The counts that decide, the
//! most important one first:
//!
//! 1. of the values of each list alone: only those that occurred least are taken;
//! 2. of the combination;
//! 3. of the pairs of values that the combination has.
//!
//! These counts alone would sometimes lead to a trial at which the first two cannot hold. So where all combinations
//! have equal counts, a *round* is planned: an order of all combinations, each of which is the best one that does not
//! end in such a trial. A round of many combinations is not planned. Then each list steps to its next value, in an
//! order that does not change, all lists at once, until they are back where they began: that always leads to equal
//! counts again, but pairs of values are spread later.
//!
//! After a wider space began, the counts of combinations can differ by more until the new values have caught up.

use super::{COMPARED, Card, Dealt, active, combination, is_first, order};
use crate::sampler::keyed::{Purpose, generator, permutation};
use crate::{Params, SearchSpace};

/// A round of at most so many combinations is planned.
const PLANNED: usize = 60;

/// In planning, so many random orders of the combinations are tried, and so many choices for each trial of the round.
const ORDERS: u64 = 3;
const TRIED: usize = 4;

impl Dealt {
    /// The combinations of the scientific lists at the top of the tree that keep them balanced, the best one first.
    pub(in crate::sampler) fn first_combinations(&mut self, space: &SearchSpace) -> Vec<Vec<Card>> {
        self.learn(space);
        let nodes: Vec<usize> =
            order(8, space).into_iter().filter(|node| is_first(&space.hyperparameters()[*node])).collect();
        self.plan(&nodes);
        let (combinations, are_all) = self.combinations(&nodes, COMPARED);
        if !are_all && combinations.is_empty() {
            let mut chosen = vec![];
            nodes.iter().for_each(|node| chosen.extend(self.after(&chosen, *node).first().copied()));
            return vec![chosen];
        }
        combinations
    }

    /// The values of the scientific lists at the top of the tree. None if one is not known.
    pub(in crate::sampler) fn combination_of(&self, space: &SearchSpace, params: &Params) -> Option<Vec<Card>> {
        combination(space, &self.cards(&active(space, params), params))
    }

    /// The combinations of the least used values of several lists, the best one first. If there are more than `most`,
    /// only the next one of the round, if it is as good as what [`Dealt::after`] would choose, and false.
    pub(super) fn combinations(&self, nodes: &[usize], most: usize) -> (Vec<Vec<Card>>, bool) {
        let least: Vec<Vec<Card>> = nodes.iter().map(|node| self.least_used(*node)).collect();
        let in_turn = || nodes.iter().map(|node| self.next_in_turn(*node)).collect();
        let next: Option<Vec<Card>> = self.round.last().cloned().or_else(in_turn);
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

    /// Plans a round of these lists, if one begins and has no plan.
    pub(super) fn plan(&mut self, nodes: &[usize]) {
        let lists: Vec<usize> = nodes.iter().map(|node| self.values[node].len()).collect();
        let count = lists.iter().try_fold(1_usize, |all, list| all.checked_mul(*list)).unwrap_or(usize::MAX);
        if !self.round.is_empty() || count > PLANNED {
            return;
        }
        let trials = self.trials.get(&nodes[0]).copied().unwrap_or(0);
        let all: Vec<Vec<Card>> = (0..count).map(|index| numbered(nodes, &lists, index)).collect();
        let first = self.beginning_count(&all[0]);
        if all.iter().any(|cards| self.beginning_count(cards) != first) {
            return;
        }
        for order in 0..ORDERS {
            let of_round = trials * ORDERS + order;
            let order = permutation(generator(Purpose::Deal, self.seed, nodes[0] as u64, of_round), count);
            let all: Vec<Vec<Card>> = order.into_iter().map(|index| all[index].clone()).collect();
            let mut round = Round::new(self, &all);
            if round.extend(&mut (TRIED * count)) {
                self.round = round.chosen.iter().rev().map(|index| all[*index].clone()).collect();
                return;
            }
        }
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

/// The values of lists with so many values each, by the number of the combination.
fn numbered(nodes: &[usize], lists: &[usize], mut number: usize) -> Vec<Card> {
    let mut cards = vec![];
    for (node, count) in nodes.iter().zip(lists) {
        cards.push((*node, number % count));
        number /= count;
    }
    cards
}

/// A round that is being planned. Combinations and cards are known by their numbers.
struct Round {
    /// The cards of each combination.
    combinations: Vec<Vec<usize>>,
    is_used: Vec<bool>,
    chosen: Vec<usize>,
    /// The cards of each list, and how often each card occurs in the round.
    lists: Vec<Vec<usize>>,
    counts: Vec<u64>,
    /// How often two cards occurred together, before the round too.
    pairs: Vec<Vec<u64>>,
}

impl Round {
    fn new(dealt: &Dealt, all: &[Vec<Card>]) -> Self {
        let mut cards: Vec<Card> = all.concat();
        cards.sort_unstable();
        cards.dedup();
        let number = |card: &Card| cards.partition_point(|other| other < card);
        let mut lists: Vec<Vec<usize>> = vec![];
        for (k, card) in cards.iter().enumerate() {
            match lists.last_mut().filter(|list| cards[list[0]].0 == card.0) {
                Some(list) => list.push(k),
                None => lists.push(vec![k]),
            }
        }
        Self {
            combinations: all.iter().map(|of| of.iter().map(number).collect()).collect(),
            is_used: vec![false; all.len()],
            chosen: vec![],
            lists,
            counts: vec![0; cards.len()],
            pairs: cards.iter().map(|a| cards.iter().map(|b| dealt.pair_count(*a, *b)).collect()).collect(),
        }
    }

    /// Adds all combinations that are left, the best one first where that does not end at a trial without any. Returns
    /// false if the steps, of which each adds one, did not suffice.
    fn extend(&mut self, steps: &mut usize) -> bool {
        if self.chosen.len() == self.combinations.len() {
            return true;
        }
        let mut is_least = vec![false; self.counts.len()];
        for list in &self.lists {
            let least = list.iter().map(|card| self.counts[*card]).min();
            list.iter().for_each(|card| is_least[*card] = Some(self.counts[*card]) == least);
        }
        let pairs = &self.pairs;
        let together = |cards: &[usize]| -> (u64, u64) {
            let of = (0..cards.len()).flat_map(|i| cards[..i].iter().map(move |other| pairs[cards[i]][*other]));
            of.fold((0, 0), |(most, sum), count| (count.max(most), sum + count))
        };
        let mut choices: Vec<((u64, u64), usize)> = (0..self.combinations.len())
            .filter(|k| !self.is_used[*k] && self.combinations[*k].iter().all(|card| is_least[*card]))
            .map(|k| (together(&self.combinations[k]), k))
            .collect();
        choices.sort_unstable();
        for (_, k) in choices {
            if *steps == 0 {
                return false;
            }
            *steps -= 1;
            self.take(k, true);
            if self.extend(steps) {
                return true;
            }
            self.take(k, false);
        }
        false
    }

    /// Adds a combination, or takes it back.
    fn take(&mut self, k: usize, adds: bool) {
        self.is_used[k] = adds;
        match adds {
            true => self.chosen.push(k),
            false => drop(self.chosen.pop()),
        }
        let step = |count: &mut u64| *count = if adds { *count + 1 } else { *count - 1 };
        let cards = &self.combinations[k];
        for card in cards {
            step(&mut self.counts[*card]);
            for other in cards.iter().filter(|other| *other != card) {
                step(&mut self.pairs[*card][*other]);
            }
        }
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

    #[test]
    fn pairs_of_three_lists_are_balanced_too() {
        for sizes in [[3, 2, 2], [2, 4, 3], [3, 2, 4], [3, 3, 3]] {
            let mut space = SearchSpace::new();
            for (node, count) in sizes.iter().enumerate() {
                let distribution = Distribution::choice((0..*count).map(Value::Int).collect()).unwrap();
                let (name, role) = (node.to_string(), Role::Scientific);
                space.declare(Hyperparameter { name, role, distribution, conditions: vec![] }).unwrap();
            }
            let mut definition = crate::StudyDefinition::new(
                crate::WorkloadReference::Builtin { name: "w".into() },
                space,
                crate::Objective {
                    metric: "e".into(),
                    direction: crate::Direction::Minimize,
                    judged: crate::ObjectiveValue::Best,
                },
            );
            for seed in 0..10 {
                definition.seed = seed;
                let mut proposals = crate::sampler::Proposals::of(&definition);
                let mut counts: HashMap<(usize, usize, i64, i64), u32> = HashMap::new();
                for index in 0..2 * sizes.iter().product::<i64>() as u64 {
                    let params = proposals.get(index).unwrap();
                    let values = [0, 1, 2].map(|k: usize| params[&k.to_string()].as_i64().unwrap());
                    for (a, b) in [(0, 1), (0, 2), (1, 2)] {
                        *counts.entry((a, b, values[a], values[b])).or_default() += 1;
                        let of_pair = || counts.iter().filter(|((i, j, ..), _)| (*i, *j) == (a, b)).map(|(_, n)| *n);
                        let all = sizes[a] * sizes[b];
                        let least = if of_pair().count() as i64 == all { of_pair().min().unwrap() } else { 0 };
                        let most = of_pair().max().unwrap();
                        assert!(most <= least + 1, "{sizes:?}, seed {seed}, trial {index}: {least} to {most}");
                    }
                }
            }
        }
    }
}
