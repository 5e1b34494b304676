//! Repeats of the whole study, with another seed of the search: what level L3 of a verdict needs (methods 2.e.5).

use crate::commands::insight::sweep_cell;
use crate::commands::sweep::changes;
use crate::commands::sweep::rerun::differences;
use crate::error::Result;
use crate::report::table::number_or_dash;
use tunebook_analysis::{Adoption, LEAST_CONFIGURATIONS, Level, Replication, estimated_percent, replication};
use tunebook_study::sampler::SamplerKind;
use tunebook_study::store::{Store, StudyRecord};
use tunebook_study::{Objective, StudyDefinition, Trial};

/// The repeats of a study, and what they say of two of its trials.
pub(super) struct Repeats {
    /// The names of the studies that repeat it with another seed.
    pub names: Vec<String>,
    /// What they say. None if there are none, or if they can say nothing.
    pub found: Option<Replication>,
    /// What would have to be done for level L3. None if repeats say something.
    missing: Option<Missing>,
}

enum Missing {
    /// The search has no seed that could be another one.
    NoSearchSeed(SamplerKind),
    /// The two trials have the same scientific values.
    SameValues,
    /// Nobody has repeated the study. The cell does.
    Repeat(String),
}

/// Looks for studies with the same definition but for the seed.
pub(super) fn repeats(
    store: &Store,
    study: &StudyRecord,
    objective: &Objective,
    trials: [&Trial; 2],
) -> Result<Repeats> {
    let none = |missing| Repeats { names: vec![], found: None, missing: Some(missing) };
    let definition = &study.definition;
    if definition.sampler == SamplerKind::Grid || definition.sampler.is_adaptive() {
        return Ok(none(Missing::NoSearchSeed(definition.sampler)));
    }
    let mut names = vec![];
    let mut of_repeats = vec![];
    for other in store.studies()? {
        let seed = other.definition.seed;
        let (question, notes) = (definition.question.clone(), definition.notes.clone());
        let same = StudyDefinition { seed: definition.seed, question, notes, ..other.definition.clone() };
        let is_repeat =
            other.name != study.name && seed != definition.seed && differences(definition, &same).is_empty();
        if is_repeat && changes::changes(store, &other)?.is_empty() {
            of_repeats.push(store.trials(&other)?);
            names.push(other.name);
        }
    }
    let Some(found) = replication(definition, objective, trials, &of_repeats) else {
        return Ok(none(Missing::SameValues));
    };
    if names.is_empty() {
        let again = StudyDefinition { seed: definition.seed.wrapping_add(1), ..definition.clone() };
        let configurations = study.asked / definition.repeats.max(1);
        return Ok(none(Missing::Repeat(sweep_cell(&format!("{}-again", study.name), &again, configurations, ""))));
    }
    Ok(Repeats { names, found: Some(found), missing: None })
}

impl Repeats {
    /// What repeats say, or what level L3 would take, with the cell that does it. Nothing for a trial that is not
    /// adopted and has no repeats.
    pub fn sentence(&self, adoption: &Adoption, metric: &str) -> Option<(String, Option<&str>)> {
        if let Some(found) = &self.found {
            return Some((said(&self.names, found, adoption, metric), None));
        }
        let (sentence, cell) = match self.missing.as_ref().filter(|_| adoption.adopt)? {
            Missing::NoSearchSeed(sampler) => (
                format!(
                    "Level L3 needs a repeat of the whole study with another search seed that gives the same result. \
                     The sampler `{sampler}` draws no independent configurations with another seed, so L2 is the \
                     highest level here."
                ),
                None,
            ),
            Missing::SameValues => (
                "Level L3 needs a repeat of the whole study that gives the same order of the scientific values. The \
                 two trials have the same scientific values, so L2 is the highest level here."
                    .into(),
                None,
            ),
            Missing::Repeat(cell) => (
                "Level L3 needs a repeat of the whole study with another search seed that gives the same order of the \
                 scientific values:"
                    .into(),
                Some(cell.as_str()),
            ),
        };
        Some((sentence, cell))
    }
}

fn said(names: &[String], found: &Replication, adoption: &Adoption, metric: &str) -> String {
    let [of_candidate, of_baseline] = found.configurations;
    let [candidate, baseline] = found.best.map(number_or_dash);
    let result = format!(
        "Repeat of the whole study with another search seed ({}): the best {metric} is {candidate} among \
         {of_candidate} configurations with the scientific values of the candidate, and {baseline} among {of_baseline} \
         with those of the baseline.",
        names.join(", ")
    );
    let verdict = match (found.p_value, found.confirms) {
        (None, _) => format!("That is too few: level L3 needs {LEAST_CONFIGURATIONS} finished configurations of each."),
        (Some(p), true) => format!(
            "Values that make no difference would look this different with a probability of {}: the order is \
             confirmed{}.",
            estimated_percent(p, 1),
            if adoption.level == Level::L3 { " (level L3)" } else { ", but the new runs above do not reach L2" }
        ),
        (Some(p), false) => format!(
            "Values that make no difference would look this different with a probability of {}: this {}, so the level \
             is L2 at most.",
            estimated_percent(p, 1),
            if p <= 0.05 {
                "says that the baseline's values are better"
            } else {
                "does not confirm that the candidate's values are better"
            }
        ),
    };
    format!("{result} {verdict}")
}
