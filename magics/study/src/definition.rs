//! The definition of a study: the workload, the search space, the objective and the sampler.

use crate::sampler::SamplerKind;
use crate::{Params, SearchSpace, StopEarly, Summaries, Trial};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::Range;

/// Whether smaller or larger values of the objective are better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Smaller is better.
    Minimize,
    /// Larger is better.
    Maximize,
}

impl Direction {
    /// Whether `a` is strictly better than `b`.
    pub fn better(self, a: f64, b: f64) -> bool {
        match self {
            Direction::Minimize => a < b,
            Direction::Maximize => a > b,
        }
    }

    /// The value with its sign changed if larger is better, so that smaller is better for the result.
    pub fn minimized(self, value: f64) -> f64 {
        match self {
            Direction::Minimize => value,
            Direction::Maximize => -value,
        }
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Direction::Minimize => "minimize",
            Direction::Maximize => "maximize",
        })
    }
}

/// Which of a trial's measurements gives the value of its objective.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ObjectiveValue {
    /// The best one over training, as in retrospective selection of a checkpoint (Playbook E5, H10).
    #[default]
    Best,
    /// The last one.
    Final,
}

impl ObjectiveValue {
    /// The value, in words.
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Best => "best value over training",
            Self::Final => "last value",
        }
    }
}

/// The objective of a study: what its trials are compared by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Objective {
    /// The name of a metric of the workload.
    pub metric: String,
    /// Whether smaller or larger values are better.
    pub direction: Direction,
    /// Which measurement of a trial gives its value.
    #[serde(default)]
    pub judged: ObjectiveValue,
}

impl Objective {
    /// Whether this is the same metric in the same direction. Only that has an effect on a training.
    pub fn is_same_metric(&self, other: &Self) -> bool {
        self.metric == other.metric && self.direction == other.direction
    }

    /// The objective of a trial, with the sign that the trial reported, and its step. None if the trial reported no
    /// finite value.
    pub fn of(&self, trial: &Trial) -> Option<(f64, u64)> {
        self.of_summaries(&trial.summaries)
    }

    /// The same, of what a trial reported.
    pub fn of_summaries(&self, summaries: &Summaries) -> Option<(f64, u64)> {
        let summary = summaries.get(&self.metric)?;
        Some(match (self.judged, self.direction) {
            (ObjectiveValue::Final, _) => summary.last,
            (ObjectiveValue::Best, Direction::Minimize) => summary.min,
            (ObjectiveValue::Best, Direction::Maximize) => summary.max,
        })
    }
}

/// The workload that a study trains.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum WorkloadReference {
    /// A workload that is built into the worker.
    Builtin { name: String },
    /// A workload that the user defined with `%%workload`.
    Rust {
        /// The name in that cell.
        name: String,
        /// The hash of its source and of what it was built with. With another source it is another workload.
        source: String,
    },
    /// Any program.
    Command(ProgramLine),
    /// What another tool trained. Its trials were imported; no more of them can be run here.
    Imported {
        /// The name of the file, and of the study in it.
        from: String,
    },
}

impl WorkloadReference {
    /// Whether this is the same workload, also if its source has changed.
    pub fn is_same_workload(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Rust { name, .. }, Self::Rust { name: other, .. }) => name == other,
            _ => self == other,
        }
    }
}

/// The command of a program, split into words as a POSIX shell does.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProgramLine {
    /// The words, with their placeholders `{name}`.
    pub words: Vec<String>,
    /// The words that are left out in a trial in which one of their placeholders has no value: `[--name {name}]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub optional: Vec<Range<usize>>,
}

impl fmt::Display for ProgramLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, word) in self.words.iter().enumerate() {
            let space = if i > 0 { " " } else { "" };
            let open = if self.optional.iter().any(|part| part.start == i) { "[" } else { "" };
            let close = if self.optional.iter().any(|part| part.end == i + 1) { "]" } else { "" };
            write!(f, "{space}{open}{word}{close}")?;
        }
        Ok(())
    }
}

impl fmt::Display for WorkloadReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WorkloadReference::Builtin { name } => f.write_str(name),
            WorkloadReference::Rust { name, source } => write!(f, "{name} ({})", source.get(..8).unwrap_or(source)),
            WorkloadReference::Command(line) => write!(f, "command {line}"),
            WorkloadReference::Imported { from } => write!(f, "trials imported from {from}"),
        }
    }
}

/// What a study is. Two runs with equal definitions are runs of the same study: the number of trials that they ask for,
/// and how they run them, are not part of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StudyDefinition {
    /// The workload that is trained.
    pub workload: WorkloadReference,
    /// The hyperparameters with their roles and distributions.
    pub space: SearchSpace,
    /// What trials are compared by.
    pub objective: Objective,
    /// The sampler that proposes the configurations.
    pub sampler: SamplerKind,
    /// The version of the sampler ([`crate::sampler::VERSION`]). Studies from before it was recorded have version 1.
    #[serde(default = "first_version")]
    pub sampler_version: u32,
    /// The spaces that the study had before it was widened, from the first one on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<EarlierSpace>,
    /// The seed of the proposals. The seed of a trial is a function of it and of the number of the trial.
    pub seed: u64,
    /// How many trials each configuration gets, each with another seed.
    pub repeats: u32,
    /// The question that the study is to answer (Playbook D5).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub question: Option<String>,
    /// Notes of the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notes: Option<String>,
    /// The round of experiments that the study belongs to (Playbook G8, G11).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round: Option<u32>,
    /// The configurations that the user gave, in this order. The sampler goes on after them (Playbook D9).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub given: Vec<Params>,
    /// Which of these were added to a study that had configurations of the sampler already.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub given_later: Vec<GivenLater>,
    /// The rule by which trials of the latest run are stopped early. Each run may choose another one.
    #[serde(default, skip_serializing_if = "StopEarly::is_none")]
    pub stop_early: StopEarly,
}

/// A space that a study had before it was widened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EarlierSpace {
    pub space: SearchSpace,
    /// The version of the sampler that proposed configurations from it.
    pub sampler_version: u32,
    /// How many configurations the study had when it was widened. They are from this space, or from one before it.
    pub configurations: u32,
    /// The command that the study had then, if it got another one. The new one gives the trials of this space the same
    /// words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<ProgramLine>,
}

/// Where given configurations stand that were added to a study. Those after them follow, up to the next ones that were
/// added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenLater {
    /// The index of the first of them among the given configurations.
    pub first: u32,
    /// Its index among all configurations of the study: how many there were when it was added.
    pub configuration: u32,
}

fn first_version() -> u32 {
    1
}

impl StudyDefinition {
    /// A definition of what every study has. All else is as where a sweep declares nothing: quasi-random proposals, one
    /// trial for each configuration, and the seed 0.
    pub fn new(workload: WorkloadReference, space: SearchSpace, objective: Objective) -> Self {
        Self {
            workload,
            space,
            objective,
            sampler: SamplerKind::Quasirandom,
            sampler_version: crate::sampler::VERSION,
            earlier: vec![],
            seed: 0,
            repeats: 1,
            question: None,
            notes: None,
            round: None,
            given: vec![],
            given_later: vec![],
            stop_early: StopEarly::default(),
        }
    }

    /// This definition as a recorded study with the same declarations goes on with it: by the version of the sampler
    /// with which that began, with the spaces that it had, and with given configurations where they stand in it.
    pub fn continuing(self, recorded: &Self) -> Self {
        Self {
            sampler_version: recorded.sampler_version,
            earlier: recorded.earlier.clone(),
            given_later: recorded.given_later.clone(),
            ..self
        }
    }

    /// The configurations that the user gave, each with its index among all configurations.
    pub fn given_configurations(&self) -> impl Iterator<Item = (u32, &Params)> {
        self.given.iter().zip(0_u32..).map(move |(params, index)| {
            let added = self.given_later.iter().rev().find(|added| added.first <= index);
            let configuration = added.map_or(index, |added| added.configuration.saturating_add(index - added.first));
            (configuration, params)
        })
    }

    /// Whether the user gave the configuration of this index.
    pub fn is_given(&self, configuration: u32) -> bool {
        // Runs of given configurations that follow each other without a gap: the first of each, and its configuration.
        let runs = [(0, 0)].into_iter().chain(self.given_later.iter().map(|later| (later.first, later.configuration)));
        let ends = self.given_later.iter().map(|later| later.first).chain([self.given.len() as u32]);
        runs.zip(ends)
            .any(|((first, start), end)| configuration >= start && configuration - start < end.saturating_sub(first))
    }

    /// The index of the configuration that is given next, in a study that has so many configurations.
    pub fn next_given(&self, configurations: u32) -> u32 {
        let after = self.given_configurations().last().map_or(0, |(last, _)| last.saturating_add(1));
        after.max(configurations)
    }

    /// This definition with more given configurations: `given` begins with those that it has. The study has so many
    /// configurations already, and the new ones come next.
    pub fn with_given(&self, given: Vec<Params>, configurations: u32) -> Self {
        let (before, next) = (self.given.len() as u32, self.next_given(configurations));
        let mut given_later = self.given_later.clone();
        // What follows the given ones without a gap needs no place of its own.
        if given.len() > self.given.len() && next > self.next_given(0) {
            given_later.push(GivenLater { first: before, configuration: next });
        }
        Self { given, given_later, ..self.clone() }
    }

    /// This definition with a wider space. The study has so many configurations already.
    pub fn widened(&self, space: SearchSpace, configurations: u32) -> Self {
        let before = EarlierSpace {
            space: self.space.clone(),
            sampler_version: self.sampler_version,
            configurations,
            command: None,
        };
        let earlier = self.earlier.iter().cloned().chain([before]).collect();
        Self { space, earlier, sampler_version: crate::sampler::VERSION, ..self.clone() }
    }
}
