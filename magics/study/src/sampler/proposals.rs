//! The configurations of a study, one after the other.

use super::bayes::{self, Question};
use super::dealing::Dealt;
use super::results::Results;
use super::{SamplerKind, dealt_always, grid, halton, keyed, sobol};
use crate::{Distribution, Params, SearchSpace, StudyDefinition, Summaries, Trial, TrialState, Value};
use std::collections::{BTreeMap, HashMap, HashSet};

/// How many points are tried for a configuration that the study does not have yet.
const POINTS: u64 = 64;

/// The configurations that a study proposes. They are a function of its definition: the spaces that it has had, the
/// sampler, and the seed. Those of an adaptive sampler also depend on the results that it knows when it is asked.
///
/// Since version 2 of the sampler, a configuration follows from those before it, so that lists stay balanced and no
/// configuration is repeated while there are others. Those that were computed are kept.
pub struct Proposals {
    sampler: SamplerKind,
    seed: u64,
    /// The spaces that the study has had, the last one without an end.
    spaces: Vec<Era>,
    /// The configurations that the user gave, by their index. They come first, or where they were added.
    given: HashMap<usize, Params>,
    made: Vec<Params>,
    /// The configurations as text.
    seen: HashSet<String>,
    dealt: Dealt,
    /// The grid, with the index of its space.
    grid: Option<(usize, grid::Balanced)>,
    /// What is known of the trials, for an adaptive sampler.
    results: Results,
    /// Whether a trial ended since the last proposal.
    after_result: bool,
}

/// A space, while it was the space of the study.
struct Era {
    space: SearchSpace,
    version: u32,
    /// The index of the first configuration that the next space proposed.
    end: Option<u64>,
}

impl Proposals {
    /// The proposals of a study. None of them is computed yet.
    pub fn of(definition: &StudyDefinition) -> Self {
        let earlier = definition.earlier.iter().map(|earlier| Era {
            space: earlier.space.clone(),
            version: earlier.sampler_version,
            end: Some(u64::from(earlier.configurations)),
        });
        let given = definition.given_configurations().map(|(index, params)| (index as usize, params.clone()));
        let last = Era { space: definition.space.clone(), version: definition.sampler_version, end: None };
        Self {
            sampler: definition.sampler,
            seed: definition.seed,
            spaces: earlier.chain([last]).collect(),
            given: given.collect(),
            made: vec![],
            seen: HashSet::new(),
            dealt: Dealt::new(definition.seed),
            grid: None,
            results: Results::new(&definition.objective),
            after_result: false,
        }
    }

    /// The proposals of a study that has these trials. An adaptive sampler keeps their configurations and learns from
    /// their results.
    pub fn resuming(definition: &StudyDefinition, trials: &[Trial]) -> Self {
        let mut proposals = Self::of(definition);
        if !definition.sampler.is_adaptive() {
            return proposals;
        }
        let mut recorded: Vec<&Trial> = trials.iter().collect();
        recorded.sort_by_key(|trial| trial.number);
        for trial in recorded {
            // The trials of a configuration follow each other. A configuration without any is proposed anew.
            while (proposals.made.len() as u32) < trial.configuration && proposals.propose_next().is_some() {}
            if proposals.made.len() as u32 == trial.configuration {
                proposals.keep(trial.params.clone());
            }
            proposals.learn(trial.configuration, trial.number, trial.state, &trial.summaries);
        }
        proposals
    }

    /// Tells what became of a trial. Only an adaptive sampler uses it.
    pub fn learn(&mut self, configuration: u32, number: u32, state: TrialState, summaries: &Summaries) {
        self.after_result |= self.results.learn(configuration, number, state, summaries);
    }

    /// The configuration at an index (from 0). None if a grid has no more.
    pub fn get(&mut self, index: u64) -> Option<Params> {
        while self.made.len() as u64 <= index {
            self.propose_next()?;
        }
        self.made.get(index as usize).cloned()
    }

    fn propose_next(&mut self) -> Option<()> {
        let params = self.next()?;
        self.keep(params);
        self.after_result = false;
        Some(())
    }

    /// Adds a configuration after those before it.
    fn keep(&mut self, params: Params) {
        if let Some(at) = self.era()
            && self.counts(at, self.made.len())
        {
            let Era { space, version, .. } = &self.spaces[at];
            self.dealt.record(*version, space, &params);
            if let Some((at, grid)) = &mut self.grid {
                let Era { space, version, .. } = &self.spaces[*at];
                grid.record(*version, space, &params);
            }
        }
        self.seen.insert(text(&params));
        self.made.push(params);
        self.count_again();
    }

    /// If a wider space begins, counts what was made as configurations of that space. So what was fixed before, and is
    /// a list now, is dealt out until the new values have caught up.
    fn count_again(&mut self) {
        let Some(at) = self.era() else { return };
        let begins = at > 0 && self.spaces[at - 1].end == Some(self.made.len() as u64);
        if begins && self.spaces[at].version >= 6 {
            let Era { space, version, .. } = &self.spaces[at];
            let mut dealt = if *version >= 8 { Dealt::continuing(self.seed) } else { Dealt::new(self.seed) };
            self.counted(at).for_each(|params| dealt.record(*version, space, params));
            self.dealt = dealt;
        }
    }

    /// Whether the configuration of an index counts for the balance of what a space proposes. Since version 7, those
    /// that the user gave do not, because conclusions leave them out.
    fn counts(&self, at: usize, index: usize) -> bool {
        self.spaces[at].version < 7 || !self.given.contains_key(&index)
    }

    /// The configurations that count for the balance of what a space proposes.
    fn counted(&self, at: usize) -> impl Iterator<Item = &Params> {
        self.made.iter().enumerate().filter(move |(index, _)| self.counts(at, *index)).map(|(_, params)| params)
    }

    /// The space of the next configuration.
    fn era(&self) -> Option<usize> {
        let index = self.made.len() as u64;
        self.spaces.iter().position(|era| era.end.is_none_or(|end| index < end))
    }

    fn next(&mut self) -> Option<Params> {
        if let Some(given) = self.given.get(&self.made.len()) {
            return Some(given.clone());
        }
        let (at, index) = (self.era()?, self.made.len() as u64);
        let Era { space, version, .. } = &self.spaces[at];
        match (self.sampler, version) {
            (SamplerKind::Grid, 6..) => {
                let grid = self.grid.take().filter(|(of, _)| *of == at);
                let grid = grid.unwrap_or_else(|| (at, grid::Balanced::new(*version, space, self.counted(at))));
                let (_, grid) = self.grid.insert(grid);
                grid.next(space, |params| !self.seen.contains(&text(params)))
            }
            (SamplerKind::Grid, _) if at > 0 => grid::find(space, |params| !self.seen.contains(&text(params))),
            (SamplerKind::Quasirandom, 2..) => Some(self.deal(at, &halton::scrambled)),
            (SamplerKind::Sobol, 3..) => Some(self.deal(at, &sobol::scrambled)),
            (SamplerKind::Random, 3..) => Some(self.draw(at, index)),
            (SamplerKind::Bayes, 3..) => {
                let base = self.deal(at, &halton::scrambled);
                let chosen = match index {
                    0 => {
                        let Era { space, version, .. } = &self.spaces[at];
                        bayes::first(*version, space, &base, &dealt_always(space))
                    }
                    _ => self.choose(at, index, &base),
                };
                Some(chosen.unwrap_or(base))
            }
            (sampler, _) => sampler.propose(space, self.seed, index),
        }
    }

    /// Deals out the lists and takes the next points for the ranges.
    fn deal(&mut self, at: usize, points: &dyn Fn(u64, u64, usize, u64) -> f64) -> Params {
        let Era { space, version, .. } = &self.spaces[at];
        let is_new = |params: &Params| !self.seen.contains(&text(params));
        let has_ranges = space.hyperparameters().iter().any(|h| !h.distribution.is_list());
        let mut first: Option<Params> = None;
        for is_strict in [true, false] {
            for skipped in 0..if has_ranges { POINTS } else { 1 } {
                let point = |sequence, coordinate, index| points(self.seed, sequence, coordinate, index + skipped);
                let (params, new) = self.dealt.propose(*version, space, &point, &is_new, is_strict);
                // Before version 8, a point was skipped for any other one.
                let is_of_part = |first: &Params| *version < 8 || are_of_one_part(space, first, &params);
                if new && first.as_ref().is_none_or(is_of_part) {
                    return params;
                }
                if first.is_none() && *version >= 8 && is_used_up(space, &params, &self.made) {
                    return params;
                }
                first.get_or_insert(params);
            }
            if !self.dealt.has_schedules() {
                break;
            }
        }
        first.unwrap_or_default()
    }

    /// Draws random values, except those that are always dealt out.
    fn draw(&mut self, at: usize, index: u64) -> Params {
        let Era { space, version, .. } = &self.spaces[at];
        let point = |sequence, coordinate, index| keyed::uniform_of(self.seed, sequence, coordinate, index);
        let (base, _) = self.dealt.propose(*version, space, &point, &|_| true, false);
        let dealt = dealt_always(space);
        space.assign(|node, h| match base.get(&h.name).filter(|_| dealt[node]) {
            Some(value) => value.clone(),
            None => h.distribution.from_unit(keyed::uniform(self.seed, node, index)),
        })
    }

    /// What Bayesian optimization chooses. None while it has too few results.
    fn choose(&self, at: usize, index: u64, base: &Params) -> Option<Params> {
        let space = &self.spaces[at].space;
        if index < bayes::first_points(space) {
            return None;
        }
        let version = self.spaces[at].version;
        let outcomes = self.results.outcomes(self.made.len(), &bayes::Rules::of(version));
        let question = Question {
            version,
            space,
            seed: self.seed,
            index,
            base,
            given: &dealt_always(space),
            known: self.made.iter().zip(outcomes).collect(),
            some_run: self.results.some_run(self.made.len()),
            after_result: self.after_result,
        };
        bayes::propose(&question, &|params| !self.seen.contains(&text(params)))
    }
}

/// Whether two configurations belong to the same part of a space: what the conditions name has the same values.
fn are_of_one_part(space: &SearchSpace, a: &Params, b: &Params) -> bool {
    let mut named = space.hyperparameters().iter().flat_map(|h| &h.conditions).map(|condition| &condition.name);
    named.all(|name| match (a.get(name), b.get(name)) {
        (Some(a), Some(b)) => a.same_as(b),
        (a, b) => a.is_none() && b.is_none(),
    })
}

/// Whether all configurations of the part to which this one belongs were made. A range of real numbers has no end.
fn is_used_up(space: &SearchSpace, of: &Params, made: &[Params]) -> bool {
    let all = space.hyperparameters();
    let is_parent = |name: &str| all.iter().flat_map(|h| &h.conditions).any(|condition| condition.name == name);
    let varied = all.iter().filter(|h| h.is_active(of) && !is_parent(&h.name));
    let sizes = varied.map(|h| match &h.distribution {
        Distribution::Choice { values } => Some(values.len() as u64),
        Distribution::Constant { .. } => Some(1),
        Distribution::Int { low, high } | Distribution::LogInt { low, high } => high.abs_diff(*low).checked_add(1),
        _ => None,
    });
    let size = sizes.reduce(|all, size| all?.checked_mul(size?)).unwrap_or(Some(1));
    let Some(size) = size.filter(|size| *size <= made.len() as u64) else { return false };
    let is_in_space = |params: &&Params| {
        let active = all.iter().filter(|h| h.is_active(params));
        active.filter_map(|h| Some((h, params.get(&h.name)?))).all(|(h, value)| h.distribution.to_unit(value).is_some())
    };
    let mut used = HashSet::new();
    made.iter()
        .filter(|params| are_of_one_part(space, of, params))
        .filter(is_in_space)
        .any(|params| used.insert(text(params)) && used.len() as u64 == size)
}

/// A configuration as text. Names are sorted, because a wider space may declare them in another order.
fn text(params: &Params) -> String {
    let sorted: BTreeMap<&String, &Value> = params.iter().collect();
    serde_json::to_string(&sorted).unwrap_or_default()
}
