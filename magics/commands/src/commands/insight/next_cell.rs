//! Writes the sweep that a finding advises as a cell.

use tunebook_analysis::Experiment;
use tunebook_study::sampler::{SamplerKind, trial_seed};
use tunebook_study::store::StudyRecord;
use tunebook_study::{
    Distribution, Hyperparameter, ObjectiveValue, Params, ProgramLine, Role, SearchSpace, StudyDefinition, Trial,
    Value, WorkloadReference,
};

/// Returns the cell of an experiment. None if the study cannot be changed in this way.
pub fn next_cell(study: &StudyRecord, experiment: &Experiment) -> Option<String> {
    let definition = &study.definition;
    if matches!(definition.workload, WorkloadReference::Imported { .. }) {
        return None;
    }
    let configurations = study.asked / definition.repeats.max(1);
    match experiment {
        Experiment::Wider(space) => {
            let wider = StudyDefinition { space: space.clone(), ..definition.clone() };
            Some(sweep_cell(&study.name, &wider, configurations + configurations.div_ceil(2), " --widen"))
        }
        Experiment::MoreConfigurations(more) => {
            // With no more than was asked for, a sweep would only show what is recorded.
            let more = (*more).max(configurations.saturating_mul(2));
            (definition.sampler != SamplerKind::Grid).then(|| sweep_cell(&study.name, definition, more, ""))
        }
        Experiment::Steps(factor) => {
            let space = with_steps(&definition.space, *factor)?;
            let longer = StudyDefinition { space, ..definition.clone() };
            let suffix = if *factor > 1.0 { "longer" } else { "shorter" };
            Some(sweep_cell(&format!("{}-{suffix}", study.name), &longer, configurations, ""))
        }
        Experiment::Changed { space, suffix } => {
            let changed = StudyDefinition { space: space.clone(), ..definition.clone() };
            Some(sweep_cell(&format!("{}-{suffix}", study.name), &changed, configurations, ""))
        }
    }
}

/// Returns the cell that trains the configuration of a trial again, with another seed. None if the space cannot be
/// declared.
pub fn again(study: &StudyRecord, trial: &Trial) -> Option<String> {
    if matches!(study.definition.workload, WorkloadReference::Imported { .. }) {
        return None;
    }
    let mut space = SearchSpace::new();
    for (name, value) in &trial.params {
        // A study that declares `seed` gives the trial's seed with it.
        let value = match value.as_i64().filter(|_| name == "seed") {
            Some(seed) => Value::from(seed.checked_add(1)?),
            None => value.clone(),
        };
        let (name, distribution) = (name.clone(), Distribution::constant(value));
        space.declare(Hyperparameter { name, role: Role::Fixed, distribution, conditions: vec![] }).ok()?;
    }
    let (sampler, repeats) = (SamplerKind::default(), 1);
    let seed = seed_that_differs(study.definition.seed, trial)?;
    let definition = StudyDefinition { space, sampler, repeats, seed, ..study.definition.clone() };
    Some(sweep_cell(&format!("{}-trial-{}", study.name, trial.number), &definition, 1, ""))
}

/// Returns the first seed above that of the study with which the only trial of a sweep has another seed than `trial`.
fn seed_that_differs(of_study: u64, trial: &Trial) -> Option<u64> {
    (1..).map(|more| of_study.wrapping_add(more)).find(|seed| trial_seed(*seed, 1) != trial.seed)
}

/// Returns the space with another fixed number of steps. None if the steps are not fixed.
fn with_steps(space: &SearchSpace, factor: f64) -> Option<SearchSpace> {
    let mut changed = SearchSpace::new();
    let mut has_steps = false;
    for h in space.hyperparameters() {
        let mut h = h.clone();
        if h.name == "steps"
            && let Distribution::Constant { value } = &h.distribution
        {
            let steps = (value.as_f64()? * factor).round().max(1.0) as i64;
            h.distribution = Distribution::constant(steps.into());
            has_steps = true;
        }
        changed.declare(h).ok()?;
    }
    has_steps.then_some(changed)
}

/// Returns what a study trains, as a line of a sweep writes it: a command with the quotes that its words need.
pub fn written(workload: &WorkloadReference) -> String {
    match workload {
        WorkloadReference::Command(line) => {
            let quoted = line.words.iter().map(|word| shell_words::quote(word).into_owned()).collect();
            format!("command {}", ProgramLine { words: quoted, optional: line.optional.clone() })
        }
        other => other.to_string(),
    }
}

/// Returns the cell of a sweep. `options` begin with a space. An imported study has no such cell: what trained it is
/// not known.
pub fn sweep_cell(name: &str, definition: &StudyDefinition, configurations: u32, options: &str) -> String {
    let mut text = format!("%%sweep {name} --trials {configurations} --seed {}", definition.seed);
    if definition.sampler != SamplerKind::default() {
        text += &format!(" --sampler {}", definition.sampler);
    }
    if definition.repeats > 1 {
        text += &format!(" --repeats {}", definition.repeats);
    }
    if definition.objective.judged == ObjectiveValue::Final {
        text += " --objective final";
    }
    if !definition.stop_early.is_none() {
        text += &format!(" --stop-early {}", definition.stop_early);
    }
    text += options;
    // A workload reports the other metrics of the training examples only with this option.
    let metric = definition.objective.metric.as_str();
    let is_program = matches!(definition.workload, WorkloadReference::Command(_));
    if metric.starts_with("train/") && metric != "train/loss" && !is_program {
        text += " --training-metrics";
    }
    text += "\n";
    text += &match &definition.workload {
        WorkloadReference::Builtin { name } | WorkloadReference::Rust { name, .. } => format!("workload {name}\n"),
        WorkloadReference::Command(_) => format!("{}\n", written(&definition.workload)),
        WorkloadReference::Imported { .. } => String::new(),
    };
    for h in definition.space.hyperparameters() {
        for condition in &h.conditions {
            let values: Vec<String> = condition.values.iter().map(Value::declared).collect();
            text += &format!("when {} in [{}]: ", condition.name, values.join(", "));
        }
        let role = match h.role {
            Role::Scientific => "scientific",
            Role::Nuisance => "nuisance",
            Role::Fixed => "fixed",
        };
        text += &format!("{role} {} {}\n", h.name, h.distribution);
    }
    // Where the space has changed, what was given may be outside of it.
    let has = |given: &Params| {
        let mut active = definition.space.hyperparameters().iter().filter(|h| h.is_active(given));
        active.all(|h| {
            h.distribution.is_constant() || given.get(&h.name).is_some_and(|v| h.distribution.to_unit(v).is_some())
        })
    };
    for given in definition.given.iter().filter(|given| has(given)) {
        let active =
            definition.space.hyperparameters().iter().filter(|h| h.is_active(given) && !h.distribution.is_constant());
        let values: Vec<String> =
            active.filter_map(|h| Some(format!("{} = {}", h.name, given.get(&h.name)?.declared()))).collect();
        if !values.is_empty() {
            text += &format!("configuration {}\n", values.join(", "));
        }
    }
    if let Some(round) = definition.round {
        text += &format!("round {round}\n");
    }
    for (keyword, words) in [("question", &definition.question), ("notes", &definition.notes)] {
        if let Some(words) = words.as_ref().and_then(|words| quoted(words)) {
            text += &format!("{keyword} {words}\n");
        }
    }
    let metric = &definition.objective.metric;
    let is_plain = metric.chars().all(|c| c.is_ascii_alphanumeric() || "_/.-".contains(c));
    let metric = if is_plain { metric.clone() } else { quoted(metric).unwrap_or_else(|| format!("\"{metric}\"")) };
    text += &format!("{} {metric}", definition.objective.direction);
    text
}

/// A text in the quotes that it does not have itself. A string has no escapes and is in one line, so there are none for
/// a text with quotes of both kinds, or with several lines.
fn quoted(text: &str) -> Option<String> {
    let quote = ['"', '\''].into_iter().find(|quote| !text.contains(*quote))?;
    (!text.contains(['\n', '\r'])).then(|| format!("{quote}{text}{quote}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Source;
    use crate::syntax::parse_body;
    use crate::testing::{context, definition};

    #[test]
    fn texts_with_quotes_are_in_the_cell_and_are_read_as_they_were() {
        let read = |words: &str| {
            let study = StudyDefinition { notes: Some(words.into()), question: Some(words.into()), ..definition() };
            let cell = sweep_cell("s", &study, 4, "");
            let start = cell.find('\n').unwrap();
            let body = parse_body(&Source::new(&cell, 0), start..cell.len()).unwrap();
            assert_eq!(body.question.as_ref().map(|text| &text.value), body.notes.as_ref().map(|text| &text.value));
            body.notes.map(|text| text.value)
        };
        for words in ["plain", "is \"deep\" better?", "it's so"] {
            assert_eq!(read(words).as_deref(), Some(words));
        }
        for words in ["it's \"deep\"", "two\nlines"] {
            assert_eq!(read(words), None, "{words}");
        }
    }

    #[test]
    fn more_configurations_are_more_than_the_study_was_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = context(folder.path()).store().unwrap();
        let mut study = store.create_study("a", &StudyDefinition { repeats: 3, ..definition() }).unwrap();
        // 16 configurations of three trials each.
        study.asked = 48;
        for (more, trials) in [(12, "--trials 32 "), (32, "--trials 32 "), (40, "--trials 40 ")] {
            let cell = next_cell(&study, &Experiment::MoreConfigurations(more)).unwrap();
            assert!(cell.contains(trials), "{cell}");
        }
        study.definition.sampler = SamplerKind::Grid;
        assert_eq!(next_cell(&study, &Experiment::MoreConfigurations(12)), None);
    }
}
