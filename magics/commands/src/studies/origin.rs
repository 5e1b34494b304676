//! How the trials of a study came about, and what follows from it for the conclusions. Intervals and tests suppose that
//! the configurations are draws of which none is special.

use crate::report::table::{number, params};
use tunebook_analysis::ranked_configurations;
use tunebook_study::sampler::SamplerKind;
use tunebook_study::{Objective, StudyDefinition, Trial, TrialState};

/// The trials that a conclusion about draws rests on.
pub struct Draws {
    /// The trials of the configurations that the sampler drew. If it drew none, all trials.
    pub trials: Vec<Trial>,
    /// Whether the configurations are exchangeable. If not, intervals and tests do not hold.
    pub are_exchangeable: bool,
    /// What the reader must know.
    pub notes: Vec<String>,
}

impl Draws {
    /// Leaves out the configurations that the user gave, if there are complete trials of others.
    pub fn of(definition: &StudyDefinition, trials: Vec<Trial>, objective: &Objective) -> Self {
        let is_given = |trial: &Trial| definition.is_given(trial.configuration);
        let has_drawn = trials.iter().any(|trial| !is_given(trial) && trial.state == TrialState::Complete);
        if definition.given.is_empty() || adaptive_note(definition).is_some() || !has_drawn {
            let notes: Vec<String> =
                grid_note(definition).into_iter().chain(origin_notes(definition, &trials)).collect();
            return Self { trials, are_exchangeable: notes.is_empty(), notes };
        }
        let (given, drawn): (Vec<Trial>, Vec<Trial>) = trials.into_iter().partition(is_given);
        let (count, they) = match definition.given.len() {
            1 => ("1 configuration was".to_string(), "It is not a random draw, so it is left out here."),
            n => (format!("{n} configurations were"), "They are not random draws, so they are left out here."),
        };
        let best = ranked_configurations(&given, objective).into_iter().next();
        let best = best.and_then(|best| Some((best.objective?, best.middle?))).map(|(value, trial)| {
            let which = if definition.given.len() == 1 { "It" } else { "The best of them" };
            let (metric, values) = (&objective.metric, params(definition, &trial.params));
            format!(" {which} has {metric} {} (trial {}: {values}).", number(value), trial.number)
        });
        let left_out = format!("{count} given by the user. {they}{}", best.unwrap_or_default());
        let stopped = stopped_note(&drawn);
        let are_exchangeable = stopped.is_none();
        Self { trials: drawn, are_exchangeable, notes: [left_out].into_iter().chain(stopped).collect() }
    }
}

/// What the reader of a conclusion must know of a study whose sampler chose each configuration by the results before
/// it. None if its sampler does not adapt.
pub fn adaptive_note(definition: &StudyDefinition) -> Option<String> {
    if definition.sampler == SamplerKind::External {
        return Some(
            "The trials were imported. Their sampler may have adapted to results, as Optuna's default does, so they \
             are not taken as exchangeable: intervals and tests that assume exchangeable trials are left out."
                .into(),
        );
    }
    definition.sampler.is_adaptive().then(|| {
        format!(
            "The sampler `{}` chose each configuration by the results before it, so the trials are not exchangeable \
             (Playbook I3, D10). Intervals and tests that assume exchangeable trials are left out. The number of \
             trials of a value says nothing about the value. The search was for {} only, not for another objective.",
            definition.sampler, definition.objective.metric
        )
    })
}

/// What the reader of a conclusion about another study must know of a grid. None if the study is no grid.
fn grid_note(definition: &StudyDefinition) -> Option<String> {
    (definition.sampler == SamplerKind::Grid).then(|| {
        "Another study of a grid would have the same configurations, and only other seeds (`--repeats`). So intervals \
         and tests that assume other configurations are left out."
            .into()
    })
}

/// What the reader of a conclusion must know of how its trials came about: see [`adaptive_note`], [`given_note`] and
/// [`stopped_note`].
pub fn origin_notes(definition: &StudyDefinition, trials: &[Trial]) -> Vec<String> {
    let given = given_note(definition, trials.iter().map(|trial| trial.configuration));
    adaptive_note(definition).into_iter().chain(given).chain(stopped_note(trials)).collect()
}

/// What must be known of a study with these configurations, of which the user gave some. None if the user gave none.
pub fn given_note(definition: &StudyDefinition, configurations: impl IntoIterator<Item = u32>) -> Option<String> {
    let has_others = configurations.into_iter().any(|configuration| !definition.is_given(configuration));
    let rest = match definition.sampler {
        sampler if has_others && sampler != SamplerKind::External => format!(" The others are from `{sampler}`."),
        _ => String::new(),
    };
    let (what, is, them) = match (definition.given.len(), definition.given_later.is_empty()) {
        (0, _) => return None,
        (1, true) => ("The first configuration was".to_string(), "it is not a random draw", "it"),
        (1, false) => ("1 configuration was".to_string(), "it is not a random draw", "it"),
        (n, true) => (format!("The first {n} configurations were"), "they are not random draws", "them"),
        (n, false) => (format!("{n} configurations were"), "they are not random draws", "them"),
    };
    Some(format!(
        "{what} given by the user: {is}, and an interval or a test that assumes random draws does not describe \
         {them}.{rest}"
    ))
}

/// What must be known of a study in which trials were stopped early. None if none was.
pub fn stopped_note(trials: &[Trial]) -> Option<String> {
    let stopped = trials.iter().filter(|trial| trial.state == TrialState::Stopped).count();
    let (what, they) = match stopped {
        0 => return None,
        1 => ("1 trial was".to_string(), "it has"),
        n => (format!("{n} trials were"), "they have"),
    };
    Some(format!(
        "{what} stopped early: {they} no final value and no rank. The complete trials were better than others on the \
         way, so conclusions from them alone are too favourable."
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::definition;

    #[test]
    fn of_given_configurations_it_is_said_where_the_others_are_from() {
        let one = definition().with_given(vec![[("lr".to_string(), 0.1.into())].into()], 0);
        let alone = given_note(&one, [0]).unwrap();
        assert!(alone.starts_with("The first configuration was given by the user: it is not a random draw"), "{alone}");
        assert!(alone.ends_with("does not describe it."), "{alone}");
        let more = given_note(&one, 0..3).unwrap();
        assert!(more.ends_with("does not describe it. The others are from `quasirandom`."), "{more}");
        assert_eq!(given_note(&definition(), 0..3), None);
    }

    #[test]
    fn a_grid_says_why_nothing_is_concluded_about_another_study() {
        let of = |sampler| {
            let definition = StudyDefinition { sampler, ..definition() };
            let draws = Draws::of(&definition, vec![], &definition.objective);
            (draws.are_exchangeable, draws.notes.join(" "))
        };
        assert_eq!(of(SamplerKind::Quasirandom), (true, String::new()));
        let (are_exchangeable, notes) = of(SamplerKind::Grid);
        assert!(!are_exchangeable && notes.contains("would have the same configurations"), "{notes}");
        assert!(!of(SamplerKind::Bayes).1.contains("a grid"));
    }
}
