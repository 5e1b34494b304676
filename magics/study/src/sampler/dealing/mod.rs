//! Deals out the values of lists, so that after any number of trials each value of a list occurred equally often (± 1):
//! among all trials in which the hyperparameter exists, and among those with the same scientific value. Otherwise a
//! scientific value could get one nuisance value four times and another one never, and the study would compare those.
//!
//! Scientific lists get their values first, then the others. A value is chosen by the counts of what was dealt before,
//! the most important count first:
//!
//! 1. among the trials with the same scientific values;
//! 2. among the trials with the same value of one scientific list, and among all; those among all come first for the
//!    nuisance lists that have schedules (`nuisance`);
//! 3. whether it is the next one of a round (see below);
//! 4. together with the values that other lists have in this trial, so that lists are not confounded with each other;
//! 5. by a random order of the values.
//!
//! With at most one scientific list, the differences are at most 1 everywhere. With several, they are at most 1 among
//! the trials with the same scientific values, which a study compares. They cannot be at most 1 also for each
//! scientific list alone and among all trials: with three lists of two values, the fourth trial at the latest breaks
//! one of these. With two scientific lists, they are at most 1 among all trials. With more, both differ by a few.
//!
//! Where a space has only lists, no configuration is repeated as long as the first count allows another one. This comes
//! before the other counts of nuisance lists, so these differ by a few among all trials.
//!
//! The scientific lists at the top of the tree are balanced in all trials, and so are their combinations. With one or
//! two of them, the counts above lead to that; three or more are chosen together (`scientific`). A scientific list
//! under a condition is balanced among all trials in which it exists, and among those with the same values of the
//! scientific lists before it. These two can exclude each other: then the first difference is at most 2.
//!
//! Two nuisance lists alone go in rounds: both step to their next value, in an order that does not change, until they
//! are back where they began. So no combination is repeated in a round. Without rounds, the last values of a list could
//! be left for combinations that the study has already. With more lists, rounds would confound some of them for long.
//!
//! The ranges take their values from a sequence of their own for each combination of scientific values.
//!
//! So a value that `--widen` adds is dealt until it has caught up with the others.
//!
//! Before version 8, there were no schedules, and scientific values too were chosen so that configurations are new.
//! After a wider space began, two scientific lists were chosen one after the other. Before version 7, there were no
//! rounds, three or more scientific lists were chosen one after the other, and those under a condition came among the
//! nuisance lists and did not count for these. Before version 6, only the first scientific list counted in this way,
//! for ranges, and came before the others, for lists.

mod nuisance;
mod scientific;

use super::keyed::{Purpose, generator, permutation};
use crate::{Distribution, Hyperparameter, Params, Role, SearchSpace, Value};
use indexmap::IndexMap;
use nuisance::{Ahead, Schedule};
use std::collections::HashMap;

/// How many combinations of values are tried for a configuration that the study does not have yet.
const COMBINATIONS: u32 = 1000;

/// How many combinations of scientific values are compared with each other. If there are more, each list is chosen
/// after those before it.
const COMPARED: usize = 512;

/// A value of a list: the index of its declaration, and the index of the value among all that the list has ever had.
pub(super) type Card = (usize, usize);

/// What was dealt so far.
#[derive(Clone)]
pub(super) struct Dealt {
    seed: u64,
    /// The values that each list has ever had, in the order in which they came.
    values: HashMap<usize, Vec<Value>>,
    /// In how many trials a hyperparameter existed.
    trials: HashMap<usize, u64>,
    counts: HashMap<Card, u64>,
    /// How often two values occurred in one trial.
    together: HashMap<(Card, Card), u64>,
    /// How often a value occurred with the scientific values that come before it. Before version 7, with those at the
    /// top of the tree.
    within: HashMap<(Card, Vec<Card>), u64>,
    /// In how many trials a range existed, by the scientific values.
    points: HashMap<(usize, Vec<Card>), u64>,
    /// Since version 7: how many trials had these values of the scientific lists at the top of the tree, of the first
    /// list alone, of the first two, and so on.
    beginnings: HashMap<Vec<Card>, u64>,
    /// Since version 7: the index of the value that each list had last.
    last: HashMap<usize, usize>,
    /// Since version 7: what was planned for the scientific lists at the top of the tree, the next trial last.
    round: Vec<Vec<Card>>,
    /// Since version 8: whether this goes on after another space.
    continues: bool,
    /// Since version 8: the scientific values of the next trials, as far as they were needed.
    ahead: Option<Ahead>,
    /// Since version 8: the nuisance lists that have schedules, those that there are at the moment, and the values that
    /// they allow in the next trial.
    scheduled: Vec<usize>,
    schedules: HashMap<usize, Schedule>,
    allowed: HashMap<usize, Vec<usize>>,
}

/// A trial of which some hyperparameters have a value.
struct Hand<'a> {
    space: &'a SearchSpace,
    /// The version of the sampler.
    version: u32,
    /// How many scientific lists there are at the top of the tree.
    first: usize,
    /// Whether the scientific lists at the top of the tree are chosen together.
    is_joint: bool,
    /// Whether nuisance lists keep to their schedules.
    is_strict: bool,
    params: Params,
    /// The values of scientific lists, and those of the others.
    scientific: Vec<Card>,
    nuisance: Vec<Card>,
}

impl Hand<'_> {
    /// Before version 7: the values of the scientific lists at the top of the tree, if there are several, once all of
    /// them are dealt.
    fn combination(&self) -> Option<&[Card]> {
        if self.version >= 6 && self.first > 1 { self.scientific.get(..self.first) } else { None }
    }

    /// The scientific values that have a sequence of their own.
    fn arm(&self) -> Vec<Card> {
        let first = || &self.scientific[..self.scientific.len().min(1)];
        match self.version {
            7.. => self.scientific.clone(),
            _ => self.combination().unwrap_or_else(first).to_vec(),
        }
    }

    fn cards(&mut self, role: Role) -> &mut Vec<Card> {
        if role == Role::Scientific { &mut self.scientific } else { &mut self.nuisance }
    }
}

/// A uniform number in [0, 1), by the number of a sequence, the coordinate, and the index of the point.
type Point<'a> = &'a dyn Fn(u64, usize, u64) -> f64;

impl Dealt {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            seed,
            values: HashMap::new(),
            trials: HashMap::new(),
            counts: HashMap::new(),
            together: HashMap::new(),
            within: HashMap::new(),
            points: HashMap::new(),
            beginnings: HashMap::new(),
            last: HashMap::new(),
            round: vec![],
            continues: false,
            ahead: None,
            scheduled: vec![],
            schedules: HashMap::new(),
            allowed: HashMap::new(),
        }
    }

    /// The same, for a space that comes after others. What these proposed is still to be counted.
    pub(super) fn continuing(seed: u64) -> Self {
        Self { continues: true, ..Self::new(seed) }
    }

    /// The next configuration, and whether it is new. It is not if all that were tried are not. If `is_strict`,
    /// nuisance lists with schedules keep to them, even if no configuration is new.
    pub(super) fn propose(
        &mut self,
        version: u32,
        space: &SearchSpace,
        point: Point<'_>,
        is_new: &dyn Fn(&Params) -> bool,
        is_strict: bool,
    ) -> (Params, bool) {
        self.learn(space);
        let order = order(version, space);
        let mut hand = Hand { is_strict, ..self.hand(version, space) };
        if hand.is_joint {
            self.plan(&order[..hand.first]);
        }
        if version >= 8 && is_strict {
            self.schedule(space);
        }
        let (mut first, mut left) = (None, COMBINATIONS);
        let mut new = None;
        self.deal(&order, &mut hand, point, &mut |values| {
            left -= 1;
            let params = space.assign(|_, h| values.get(&h.name).cloned().unwrap_or(Value::Null));
            if is_new(&params) {
                new = Some(params);
            } else if first.is_none() {
                first = Some(params);
            }
            new.is_some() || left == 0
        });
        let is_new = new.is_some();
        (new.or(first).unwrap_or_default(), is_new)
    }

    /// A trial without values. One or two scientific lists need no rule for all of them together, unless a wider space
    /// made their counts unequal.
    fn hand<'a>(&self, version: u32, space: &'a SearchSpace) -> Hand<'a> {
        let first = space.hyperparameters().iter().filter(|h| is_first(h)).count();
        let is_joint = match version {
            8.. => first > if self.continues { 1 } else { 2 },
            _ => version == 7 && first > 2,
        };
        let params = Params::new();
        Hand { space, version, first, is_joint, is_strict: false, params, scientific: vec![], nuisance: vec![] }
    }

    /// Gives all hyperparameters their values, in this order: see [`Dealt::fill`].
    fn deal(
        &self,
        order: &[usize],
        hand: &mut Hand<'_>,
        point: Point<'_>,
        visit: &mut dyn FnMut(&Params) -> bool,
    ) -> bool {
        if !hand.is_joint {
            return self.fill(order, hand, point, visit);
        }
        let (first, others) = order.split_at(hand.first);
        let (mut combinations, are_all) = self.combinations(first, COMPARED);
        if hand.version >= 8 {
            combinations.truncate(1);
        }
        for combination in combinations {
            for (node, index) in &combination {
                let name = hand.space.hyperparameters()[*node].name.clone();
                hand.params.insert(name, self.values[node][*index].clone());
            }
            hand.scientific = combination;
            if self.fill(others, hand, point, visit) {
                return true;
            }
            hand.params.clear();
            hand.scientific.clear();
        }
        !are_all && self.fill(order, hand, point, visit)
    }

    /// Gives the hyperparameters that are left their values, in all ways that keep the lists balanced, the best first,
    /// until `visit` returns true for one. Returns whether it did.
    fn fill(
        &self,
        left: &[usize],
        hand: &mut Hand<'_>,
        point: Point<'_>,
        visit: &mut dyn FnMut(&Params) -> bool,
    ) -> bool {
        let Some((&node, left)) = left.split_first() else { return visit(&hand.params) };
        let h = &hand.space.hyperparameters()[node];
        if !h.is_active(&hand.params) {
            return self.fill(left, hand, point, visit);
        }
        let Distribution::Choice { values } = &h.distribution else {
            let arm = hand.arm();
            let sequence = sequence(&arm);
            let index = self.points.get(&(node, arm)).copied().unwrap_or(0);
            let value = h.distribution.from_unit(point(sequence, coordinate(hand.space, node), index));
            hand.params.insert(h.name.clone(), value);
            let found = self.fill(left, hand, point, visit);
            hand.params.swap_remove(&h.name);
            return found;
        };
        for card in self.choices(node, h, values, hand) {
            hand.params.insert(h.name.clone(), self.values[&node][card.1].clone());
            hand.cards(h.role).push(card);
            let found = self.fill(left, hand, point, visit);
            hand.cards(h.role).pop();
            hand.params.swap_remove(&h.name);
            if found {
                return true;
            }
        }
        false
    }

    /// The values of a list that keep it balanced, the best one first.
    fn choices(&self, node: usize, h: &Hyperparameter, values: &[Value], hand: &Hand<'_>) -> Vec<Card> {
        if hand.is_joint && is_first(h) {
            let mut choices = self.after(&hand.scientific, node);
            choices.truncate(most_choices(hand.version, h));
            return choices;
        }
        let together = |a: Card, b: Card| self.together.get(&(a, b)).copied().unwrap_or(0);
        let own = |card: &Card| self.counts.get(card).copied().unwrap_or(0);
        let order = self.random_order(node, h, values.len(), hand);
        let index = |value: &Value| self.values[&node].iter().position(|known| known.same_as(value));
        let cards: Vec<Card> = values.iter().filter_map(|value| Some((node, index(value)?))).collect();
        let follows_others = hand.version >= 7 && !is_first(h);
        // With few trials for each combination of those before it, a scientific list could lose its own balance.
        let least = cards.iter().map(own).min().unwrap_or(0);
        let turn = self.turn(node, hand);
        let balances_all = hand.version >= 8 && self.scheduled.contains(&node);
        let allowed = self.allowed(node, hand).filter(|_| hand.is_strict);
        let is_ahead = |card: &Card| follows_others && h.role == Role::Scientific && own(card) > least + 1;
        let mut choices: Vec<(Vec<u64>, Card)> = cards
            .into_iter()
            .filter(|card| !is_ahead(card) && allowed.is_none_or(|allowed| allowed.contains(&card.1)))
            .map(|card| {
                let mut counts: Vec<u64> = hand.scientific.iter().map(|other| together(card, *other)).collect();
                counts.push(own(&card));
                let arm = if follows_others { Some(&*hand.scientific) } else { hand.combination() };
                if let Some(arm) = arm {
                    let within = self.within.get(&(card, arm.to_vec())).copied().unwrap_or(0);
                    let all = counts.iter().sum();
                    counts = if balances_all { vec![within, own(&card), all] } else { vec![within, all] };
                }
                counts.push(u64::from(turn.is_some_and(|next| next != card.1)));
                counts.push(hand.nuisance.iter().map(|other| together(card, *other)).sum());
                counts.push(order.get(card.1).copied().unwrap_or(0));
                (counts, card)
            })
            .collect();
        choices.sort();
        let decisive = if balances_all && hand.is_strict { 2 } else { 1 };
        let least = choices.first().map(|(counts, _)| counts[..decisive].to_vec());
        let is_least = |counts: &[u64]| least.as_deref() == Some(&counts[..decisive]);
        let best = choices.into_iter().filter(|(counts, _)| is_least(counts)).map(|(_, card)| card);
        best.take(most_choices(hand.version, h)).collect()
    }

    /// The value of a nuisance list that follows in its round. None where a round begins, and where there are no
    /// rounds.
    fn turn(&self, node: usize, hand: &Hand<'_>) -> Option<usize> {
        let (a, b) = lists_in_rounds(hand.space).filter(|_| hand.version >= 7)?;
        // The least common multiple of their lengths.
        let [a, b] = [a, b].map(|node| self.values[&node].len() as u64);
        let length = a / greatest_common_divisor(a, b) * b;
        let trials = self.trials.get(&node).copied().unwrap_or(0);
        (trials % length != 0).then(|| self.following(node, *self.last.get(&node)?)).flatten()
    }

    /// The value of a list that follows one of these, in an order that is the same in all trials.
    fn following(&self, node: usize, last: usize) -> Option<usize> {
        let order = permutation(generator(Purpose::Deal, self.seed, node as u64, 0), self.values[&node].len());
        let place = order.iter().position(|index| *index == last)?;
        Some(order[(place + 1) % order.len()])
    }

    /// The place of each value of a list in a random order. It begins with another value in each trial, so that in a
    /// round over the scientific values they get different ones. A list that no scientific list comes before gets the
    /// same order in all trials if it is scientific itself; then its values take turns.
    fn random_order(&self, node: usize, h: &Hyperparameter, listed: usize, hand: &Hand<'_>) -> Vec<u64> {
        let count = self.values[&node].len();
        let dealt = self.trials.get(&node).copied().unwrap_or(0);
        let arms = hand.scientific.first().map_or(1, |(arm, _)| self.values[arm].len());
        let round = match (h.role, hand.scientific.is_empty()) {
            (Role::Scientific, true) => 0,
            _ => dealt / (arms * listed) as u64,
        };
        let order = permutation(generator(Purpose::Deal, self.seed, node as u64, round), count);
        let start = dealt as usize % count;
        order.iter().map(|place| ((place + count - start) % count) as u64).collect()
    }

    /// Counts a configuration, whoever proposed it.
    pub(super) fn record(&mut self, version: u32, space: &SearchSpace, params: &Params) {
        self.learn(space);
        let active = active(space, params);
        let cards = self.cards(&active, params);
        for (node, _) in &active {
            *self.trials.entry(*node).or_default() += 1;
        }
        for card in cards.values() {
            *self.counts.entry(*card).or_default() += 1;
            for other in cards.values().filter(|other| *other != card) {
                *self.together.entry((*card, *other)).or_default() += 1;
            }
        }
        match version {
            7.. => self.record_arm(space, params, &cards),
            _ => self.record_combination(space, &active, &cards),
        }
    }

    /// The values that these hyperparameters have, if they are lists.
    fn cards(&self, active: &[(usize, &Hyperparameter)], params: &Params) -> IndexMap<usize, Card> {
        let card = |(node, h): &(usize, &Hyperparameter)| {
            let value = params.get(&h.name)?;
            let index = self.values.get(node)?.iter().position(|known| known.same_as(value))?;
            Some((*node, (*node, index)))
        };
        active.iter().filter_map(card).collect()
    }

    /// Counts with which scientific values each value came, in the order in which they are dealt.
    fn record_arm(&mut self, space: &SearchSpace, params: &Params, cards: &IndexMap<usize, Card>) {
        // Whatever else a trial has, the round has no plan any more.
        if self.round.pop() != combination(space, cards) {
            self.round.clear();
        }
        self.go_ahead(space, params, cards);
        let mut arm = vec![];
        for node in order(7, space) {
            let h = &space.hyperparameters()[node];
            if let Some(card) = cards.get(&node) {
                *self.within.entry((*card, arm.clone())).or_default() += 1;
                if h.role == Role::Scientific {
                    arm.push(*card);
                }
                if is_first(h) {
                    *self.beginnings.entry(arm.clone()).or_default() += 1;
                }
                self.last.insert(node, card.1);
            } else if h.is_active(params) && !h.distribution.is_list() {
                *self.points.entry((node, arm.clone())).or_default() += 1;
            }
        }
    }

    /// The same before version 7.
    fn record_combination(
        &mut self,
        space: &SearchSpace,
        active: &[(usize, &Hyperparameter)],
        cards: &IndexMap<usize, Card>,
    ) {
        let all = space.hyperparameters();
        let of = |wanted: &dyn Fn(&Hyperparameter) -> bool| -> Vec<Card> {
            order(1, space)
                .iter()
                .filter(|node| wanted(&all[**node]))
                .filter_map(|node| cards.get(node))
                .copied()
                .collect()
        };
        let combination = of(&is_first);
        // The first scientific value may be one of a branch.
        let first: Vec<Card> = of(&|h| h.role == Role::Scientific).into_iter().take(1).collect();
        for (node, h) in active {
            if !h.distribution.is_list() {
                *self.points.entry((*node, first.clone())).or_default() += 1;
                if combination.len() > 1 {
                    *self.points.entry((*node, combination.clone())).or_default() += 1;
                }
            }
        }
        for card in cards.values() {
            *self.within.entry((*card, combination.clone())).or_default() += 1;
        }
    }

    /// Adds the values of the lists of a space to those that are known.
    pub(super) fn learn(&mut self, space: &SearchSpace) {
        for (node, h) in space.hyperparameters().iter().enumerate() {
            let Distribution::Choice { values } = &h.distribution else { continue };
            let known = self.values.entry(node).or_default();
            for value in values {
                if !known.iter().any(|other| other.same_as(value)) {
                    known.push(value.clone());
                }
            }
        }
    }
}

/// The hyperparameters that exist in a configuration, by the index of the declaration.
fn active<'a>(space: &'a SearchSpace, params: &Params) -> Vec<(usize, &'a Hyperparameter)> {
    space.hyperparameters().iter().enumerate().filter(|(_, h)| h.is_active(params)).collect()
}

/// The values of the scientific lists at the top of the tree. None if one is not known.
fn combination(space: &SearchSpace, cards: &IndexMap<usize, Card>) -> Option<Vec<Card>> {
    let first = |node: &usize| is_first(&space.hyperparameters()[*node]);
    order(7, space).iter().filter(|node| first(node)).map(|node| cards.get(node).copied()).collect()
}

/// The order in which hyperparameters get their values: first the scientific lists at the top of the tree, on which the
/// others depend. Then those that exist under conditions on scientific values, and then those whose conditions name
/// others, after these. The rest comes as it is declared. Before version 7, conditions did not matter.
fn order(version: u32, space: &SearchSpace) -> Vec<usize> {
    let ranks = ranks(version, space);
    let mut order: Vec<usize> = (0..ranks.len()).collect();
    order.sort_by_key(|node| ranks[*node]);
    order
}

/// The rank of each hyperparameter in this order.
fn ranks(version: u32, space: &SearchSpace) -> Vec<u8> {
    let all = space.hyperparameters();
    let parents = |child: usize| {
        let is_parent = move |parent: &usize| all[child].conditions.iter().any(|c| c.name == all[*parent].name);
        (0..child).filter(is_parent)
    };
    let mut ranks: Vec<u8> = all.iter().map(|h| if is_first(h) { 0 } else { 3 }).collect();
    if version >= 7 {
        for node in (0..all.len()).filter(|node| !is_first(&all[*node])) {
            let is_scientific = is_scientific_list(&all[node]);
            if (is_scientific || all[node].distribution.is_constant()) && parents(node).all(|parent| ranks[parent] < 2)
            {
                ranks[node] = 1;
            } else if is_scientific {
                ranks[node] = 2;
            }
        }
        for child in (0..all.len()).rev() {
            if ranks[child] == 2 {
                parents(child).for_each(|parent| ranks[parent] = ranks[parent].min(2));
            }
        }
    }
    ranks
}

/// Whether it is a scientific list at the top of the tree.
pub(super) fn is_first(h: &Hyperparameter) -> bool {
    is_scientific_list(h) && h.conditions.is_empty()
}

fn is_scientific_list(h: &Hyperparameter) -> bool {
    h.role == Role::Scientific && matches!(h.distribution, Distribution::Choice { .. })
}

/// The two lists of a space that has no others, if they go in rounds.
fn lists_in_rounds(space: &SearchSpace) -> Option<(usize, usize)> {
    let all = space.hyperparameters();
    let varied: Vec<usize> = (0..all.len()).filter(|node| !all[*node].distribution.is_constant()).collect();
    let [a, b] = varied[..] else { return None };
    (is_in_round(&all[a]) && is_in_round(&all[b])).then_some((a, b))
}

/// Whether it is a nuisance list at the top of the tree. Two of these go through their values in rounds.
fn is_in_round(h: &Hyperparameter) -> bool {
    h.role != Role::Scientific && matches!(h.distribution, Distribution::Choice { .. }) && h.conditions.is_empty()
}

/// How many values of a list are tried for a new configuration. Since version 8, the scientific values do not depend on
/// what is new.
fn most_choices(version: u32, h: &Hyperparameter) -> usize {
    if version >= 8 && h.role == Role::Scientific { 1 } else { usize::MAX }
}

fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

/// The number of the sequence of scientific values. It is 0 without any.
fn sequence(arm: &[Card]) -> u64 {
    let number = |(node, index): &Card| ((*node as u64) << 16) + *index as u64 + 1;
    // An odd factor, so that combinations have different numbers.
    arm.iter().fold(0, |sequence: u64, card| sequence.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(number(card)))
}

/// The coordinate of a range: it is the same in all trials, whatever exists in them.
fn coordinate(space: &SearchSpace, node: usize) -> usize {
    space.hyperparameters()[..node].iter().filter(|h| !h.distribution.is_list()).count()
}
