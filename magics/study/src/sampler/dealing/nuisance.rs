//! The schedules of nuisance lists, since version 8: after any number of trials, each value of such a list occurred
//! equally often (± 1), among all trials and among those with the same scientific values.
//!
//! For a list of m values, each m trials in succession are a *block*, and so are each m trials in succession with the
//! same scientific values. A trial is in one block of each kind, so trials are the edges of a bipartite graph whose
//! vertices are the blocks. By the theorem of König, its edges can have m colours such that no two edges of a vertex
//! have the same one. The colours are the values, and then each block has each value once.
//!
//! A schedule begins where all counts of the list are equal, and ends with the first trial after which all blocks are
//! full. The scientific values of these trials do not depend on nuisance lists, so they are known before. Another value
//! than the planned one is allowed in the next trial if two values can be exchanged in trials that are still to come.
//! So pairs of values are balanced too, and configurations are not repeated, as far as the schedule allows.
//!
//! There is no schedule for more than two scientific lists: it would balance nuisance lists among all trials, but less
//! well among those with one value of one scientific list. Nor is there one if a scientific list is below a nuisance
//! list, for a nuisance list below another one, while new values catch up, and if blocks are not full after [`TRIALS`]
//! trials.

use super::{Card, Dealt, Hand, active, is_first, is_scientific_list, lists_in_rounds, order, ranks};
use crate::sampler::keyed::{Purpose, generator, permutation};
use crate::{Distribution, Params, SearchSpace};
use indexmap::IndexMap;
use std::collections::{HashMap, VecDeque};

/// A schedule has at most so many trials.
const TRIALS: usize = 300;

/// With more scientific lists than these, there are no schedules.
const MOST: usize = 2;

/// The scientific values of the next trials.
#[derive(Clone)]
pub(super) struct Ahead {
    /// What is dealt after these trials.
    after: Box<Dealt>,
    trials: VecDeque<(Vec<Card>, Params)>,
}

impl Dealt {
    /// Whether nuisance lists have schedules.
    pub(in crate::sampler) fn has_schedules(&self) -> bool {
        !self.scheduled.is_empty()
    }

    /// Makes schedules where they begin, and finds the values that they allow in the next trial.
    pub(super) fn schedule(&mut self, space: &SearchSpace) {
        self.allowed.clear();
        self.scheduled = self.to_schedule(space);
        for node in self.scheduled.clone() {
            if !self.schedules.contains_key(&node) && self.is_even(node) {
                let schedule = self.begin(space, node);
                self.schedules.extend(schedule.map(|schedule| (node, schedule)));
            }
            if let Some(schedule) = self.schedules.get(&node) {
                self.allowed.insert(node, schedule.allowed());
            }
        }
    }

    /// The values that a schedule allows in a trial with these scientific values. None without a schedule.
    pub(super) fn allowed(&self, node: usize, hand: &Hand<'_>) -> Option<&Vec<usize>> {
        let (arm, _) = self.ahead.as_ref()?.trials.front()?;
        self.allowed.get(&node).filter(|_| *arm == hand.scientific)
    }

    /// Goes on to the trial after this one.
    pub(super) fn go_ahead(&mut self, space: &SearchSpace, params: &Params, cards: &IndexMap<usize, Card>) {
        let Some((arm, _)) = self.ahead.as_mut().and_then(|ahead| ahead.trials.pop_front()) else {
            self.ahead = None;
            return;
        };
        if arm != scientific(space, cards) {
            self.ahead = None;
            self.schedules.clear();
        }
        let is_active = |node: &usize| space.hyperparameters()[*node].is_active(params);
        self.schedules.retain(|node, schedule| match cards.get(node) {
            Some((_, value)) => schedule.take(*value),
            None => !is_active(node),
        });
    }

    /// The nuisance lists that have schedules. One list needs none, if there is at most one scientific list. Two lists
    /// that go in rounds need none either.
    fn to_schedule(&self, space: &SearchSpace) -> Vec<usize> {
        let (all, ranks) = (space.hyperparameters(), ranks(8, space));
        let (scientific, others): (Vec<usize>, Vec<usize>) = (0..all.len())
            .filter(|node| matches!(all[*node].distribution, Distribution::Choice { .. }))
            .partition(|node| is_scientific_list(&all[*node]));
        let is_simple = scientific.len() <= 1 && others.len() <= 1;
        if is_simple || lists_in_rounds(space).is_some() || scientific.len() > MOST || ranks.contains(&2) {
            return vec![];
        }
        let is_known = |name: &str| (0..all.len()).all(|node| all[node].name != name || ranks[node] < 2);
        let values = |node: usize| self.values.get(&node).map_or(0, Vec::len);
        let arms: usize = scientific.iter().filter(|node| is_first(&all[**node])).map(|node| values(*node)).product();
        let is_scheduled = |node: &usize| {
            arms * values(*node) <= TRIALS && all[*node].conditions.iter().all(|condition| is_known(&condition.name))
        };
        others.into_iter().filter(is_scheduled).collect()
    }

    /// Whether all values of a list occurred equally often, with all scientific values.
    fn is_even(&self, node: usize) -> bool {
        let count = |value: usize| self.counts.get(&(node, value)).copied().unwrap_or(0);
        let values = self.values.get(&node).map_or(0, Vec::len);
        if (1..values).any(|value| count(value) != count(0)) {
            return false;
        }
        self.within.iter().filter(|(((list, _), _), _)| *list == node).all(|((_, arm), count)| {
            (0..values).all(|value| self.within.get(&((node, value), arm.clone())) == Some(count))
        })
    }

    /// The schedule of a list from the next trial. None if it would be too long.
    fn begin(&mut self, space: &SearchSpace, node: usize) -> Option<Schedule> {
        let h = &space.hyperparameters()[node];
        let count = self.values.get(&node).map(Vec::len).filter(|count| *count > 1)?;
        let (mut arms, mut met, mut open) = (vec![], HashMap::new(), 0_usize);
        for trial in 0..TRIALS {
            let (arm, params) = self.trial_ahead(space, trial)?;
            if !h.is_active(params) {
                continue;
            }
            let met: &mut usize = met.entry(arm.clone()).or_default();
            *met += 1;
            match *met % count {
                0 => open -= 1,
                1 => open += 1,
                _ => {}
            }
            arms.push(arm.clone());
            if open == 0 {
                let trials = self.trials.get(&node).copied().unwrap_or(0);
                let order =
                    |trial| permutation(generator(Purpose::Deal, self.seed, node as u64, trials + trial as u64), count);
                let together = |card, value| self.together.get(&(card, (node, value))).copied().unwrap_or(0);
                return Some(Schedule::new(&arms, count, &together, &order));
            }
        }
        None
    }

    /// The scientific values of a trial to come. The next one has the number 0.
    fn trial_ahead(&mut self, space: &SearchSpace, number: usize) -> Option<&(Vec<Card>, Params)> {
        if self.ahead.is_none() {
            let after = Dealt { schedules: HashMap::new(), allowed: HashMap::new(), ..self.clone() };
            self.ahead = Some(Ahead { after: Box::new(after), trials: VecDeque::new() });
        }
        let ahead = self.ahead.as_mut()?;
        while ahead.trials.len() <= number {
            let trial = ahead.after.next_scientific(space);
            ahead.after.record(8, space, &trial.1);
            ahead.trials.push_back(trial);
        }
        ahead.trials.get(number)
    }

    /// The scientific values of the next trial, with the constants on which they depend.
    fn next_scientific(&mut self, space: &SearchSpace) -> (Vec<Card>, Params) {
        let ranks = ranks(8, space);
        let order: Vec<usize> = order(8, space).into_iter().filter(|node| ranks[*node] < 2).collect();
        let mut hand = self.hand(8, space);
        if hand.is_joint {
            self.plan(&order[..hand.first]);
        }
        let mut found = Params::new();
        self.deal(&order, &mut hand, &|_, _, _| 0.0, &mut |params| {
            found = params.clone();
            true
        });
        let cards = self.cards(&active(space, &found), &found);
        (scientific(space, &cards), found)
    }
}

/// The values of the scientific lists in the order in which they are dealt.
fn scientific(space: &SearchSpace, cards: &IndexMap<usize, Card>) -> Vec<Card> {
    let is_list = |node: &usize| is_scientific_list(&space.hyperparameters()[*node]);
    order(8, space).iter().filter(|node| is_list(node)).filter_map(|node| cards.get(node)).copied().collect()
}

/// The values of a list in trials to come.
#[derive(Clone)]
pub(super) struct Schedule {
    /// The two blocks of each trial.
    blocks: Vec<[usize; 2]>,
    /// The trial of a block that has a value.
    trials: Vec<Vec<Option<usize>>>,
    values: Vec<usize>,
    /// How many trials are over.
    over: usize,
}

impl Schedule {
    /// A schedule for trials with these scientific values. A value that occurred less often with each of them is
    /// preferred, and then the first one in the order of a trial.
    fn new(
        arms: &[Vec<Card>],
        count: usize,
        together: &dyn Fn(Card, usize) -> u64,
        order: &dyn Fn(usize) -> Vec<usize>,
    ) -> Self {
        let (mut numbers, mut met) = (HashMap::new(), HashMap::new());
        let mut blocks = vec![];
        for (trial, arm) in arms.iter().enumerate() {
            let met: &mut usize = met.entry(arm).or_default();
            blocks.push([(None, trial / count), (Some(arm), *met / count)].map(|block| {
                let next = numbers.len();
                *numbers.entry(block).or_insert(next)
            }));
            *met += 1;
        }
        let trials = vec![vec![None; count]; numbers.len()];
        let mut schedule = Self { blocks, trials, values: vec![], over: 0 };
        // How often each scientific value has each value of the list.
        let mut counts: HashMap<Card, Vec<u64>> = HashMap::new();
        for card in arms.iter().flatten() {
            counts.entry(*card).or_insert_with(|| (0..count).map(|value| together(*card, value)).collect());
        }
        for (trial, arm) in arms.iter().enumerate() {
            let mut order = order(trial);
            order.sort_by_key(|value| arm.iter().map(|card| counts[card][*value]).sum::<u64>());
            let (exchanged, values) = schedule.add(trial, &order);
            for exchanged in exchanged {
                let now = schedule.values[exchanged];
                let before = values.iter().sum::<usize>() - now;
                for card in &arms[exchanged] {
                    counts.entry(*card).and_modify(|counts| {
                        counts[now] += 1;
                        counts[before] -= 1;
                    });
                }
            }
            for card in arm {
                counts.entry(*card).and_modify(|counts| counts[schedule.values[trial]] += 1);
            }
        }
        schedule
    }

    /// Gives the next trial a value. If its blocks have none in common that is left, two values are exchanged in the
    /// trials that are connected with its second block. Returns these trials and the two values.
    fn add(&mut self, trial: usize, order: &[usize]) -> (Vec<usize>, [usize; 2]) {
        let [a, b] = self.blocks[trial];
        let is_left = |block: usize, value: usize| self.trials[block][value].is_none();
        let first = |wanted: &dyn Fn(usize) -> bool| order.iter().copied().find(|value| wanted(*value)).unwrap_or(0);
        let common = order.iter().copied().find(|value| is_left(a, *value) && is_left(b, *value));
        // A block has fewer trials than values before the next one.
        let of_a = common.unwrap_or_else(|| first(&|value| is_left(a, value)));
        let of_b = common.unwrap_or_else(|| first(&|value| is_left(b, value)));
        let exchanged = if common.is_none() { self.path(b, of_a, of_b) } else { vec![] };
        self.exchange(&exchanged, of_a, of_b);
        self.values.push(of_a);
        self.trials[a][of_a] = Some(trial);
        self.trials[b][of_a] = Some(trial);
        (exchanged, [of_a, of_b])
    }

    /// The trials that are connected with a block, alternately by the first and the second value.
    fn path(&self, mut block: usize, first: usize, second: usize) -> Vec<usize> {
        let (mut path, mut wanted, mut other) = (vec![], first, second);
        while let Some(trial) = self.trials[block][wanted] {
            if path.first() == Some(&trial) {
                break;
            }
            path.push(trial);
            let [a, b] = self.blocks[trial];
            block = if a == block { b } else { a };
            (wanted, other) = (other, wanted);
        }
        path
    }

    /// Exchanges two values in these trials.
    fn exchange(&mut self, trials: &[usize], a: usize, b: usize) {
        for trial in trials {
            let old = self.values[*trial];
            for block in self.blocks[*trial] {
                if self.trials[block][old] == Some(*trial) {
                    self.trials[block][old] = None;
                }
            }
            self.values[*trial] = a + b - old;
            for block in self.blocks[*trial] {
                self.trials[block][a + b - old] = Some(*trial);
            }
        }
    }

    /// The trials in which values are exchanged so that the next trial gets this one. None if one of them is over.
    fn changes(&self, value: usize) -> Option<Vec<usize>> {
        let planned = self.values[self.over];
        if planned == value {
            return Some(vec![]);
        }
        // All blocks are full, so it is a cycle.
        let path = self.path(self.blocks[self.over][0], planned, value);
        path.iter().all(|trial| *trial >= self.over).then_some(path)
    }

    /// The values that are allowed in the next trial.
    fn allowed(&self) -> Vec<usize> {
        (0..self.trials[0].len()).filter(|value| self.changes(*value).is_some()).collect()
    }

    /// Takes a value for the next trial. Returns false if the schedule does not allow it, or ends.
    fn take(&mut self, value: usize) -> bool {
        let Some(changes) = self.changes(value) else { return false };
        let planned = self.values[self.over];
        self.exchange(&changes, planned, value);
        self.over += 1;
        self.over < self.values.len()
    }
}
