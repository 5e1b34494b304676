//! The configurations of a study, one after the other.

use super::dealing::Dealt;
use super::{SamplerKind, grid, halton};
use crate::{Params, SearchSpace, StudyDefinition};
use std::collections::HashSet;

/// How many Halton points are tried for a configuration that the study does not have yet.
const POINTS: u64 = 64;

/// The configurations that a study proposes. They are a function of its definition: the spaces that it has had, the
/// sampler, and the seed.
///
/// Since version 2 of the sampler, a configuration follows from those before it, so that lists stay balanced and no
/// configuration is repeated while there are others. Those that were computed are kept.
pub struct Proposals {
    sampler: SamplerKind,
    seed: u64,
    /// The spaces that the study has had, the last one without an end.
    spaces: Vec<Era>,
    made: Vec<Params>,
    /// The configurations as text.
    seen: HashSet<String>,
    dealt: Dealt,
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
        let last = Era { space: definition.space.clone(), version: definition.sampler_version, end: None };
        Self {
            sampler: definition.sampler,
            seed: definition.seed,
            spaces: earlier.chain([last]).collect(),
            made: vec![],
            seen: HashSet::new(),
            dealt: Dealt::new(definition.seed),
        }
    }

    /// The configuration at an index (from 0). None if a grid has no more.
    pub fn get(&mut self, index: u64) -> Option<Params> {
        while self.made.len() as u64 <= index {
            let params = self.next()?;
            self.seen.insert(text(&params));
            self.made.push(params);
        }
        self.made.get(index as usize).cloned()
    }

    fn next(&mut self) -> Option<Params> {
        let index = self.made.len() as u64;
        let at = self.spaces.iter().position(|era| era.end.is_none_or(|end| index < end))?;
        let Era { space, version, .. } = &self.spaces[at];
        match (self.sampler, version) {
            (SamplerKind::Grid, _) if at > 0 => grid::find(space, |params| !self.seen.contains(&text(params))),
            (SamplerKind::Quasirandom, 2..) => Some(self.deal(at)),
            (sampler, _) => {
                let params = sampler.propose(space, self.seed, index)?;
                self.dealt.record(space, &params);
                Some(params)
            }
        }
    }

    /// Deals out the lists and takes the next Halton points for the ranges.
    fn deal(&mut self, at: usize) -> Params {
        let space = &self.spaces[at].space;
        let is_new = |params: &Params| !self.seen.contains(&text(params));
        let has_ranges = space.hyperparameters().iter().any(|h| !h.distribution.is_list());
        let mut first = None;
        for skipped in 0..if has_ranges { POINTS } else { 1 } {
            let point =
                |sequence, coordinate, index| halton::scrambled(self.seed, sequence, coordinate, index + skipped);
            let (params, new) = self.dealt.propose(space, &point, &is_new);
            if new {
                first = Some(params);
                break;
            }
            first.get_or_insert(params);
        }
        let params = first.unwrap_or_default();
        self.dealt.record(space, &params);
        params
    }
}

fn text(params: &Params) -> String {
    serde_json::to_string(params).unwrap_or_default()
}
