//! Writes the sweep that a finding advises as a cell.

use tunebook_analysis::Experiment;
use tunebook_pool::program_line::placeholders;
use tunebook_study::sampler::{SamplerKind, trial_seed};
use tunebook_study::store::StudyRecord;
use tunebook_study::{
    Distribution, Hyperparameter, Objective, ObjectiveValue, Params, ProgramLine, Role, SearchSpace, StudyDefinition,
    Trial, Value, WorkloadReference,
};

/// Returns the cell of an experiment, which follows from trials that were judged by `objective`. A new study is judged
/// by it too. More trials of the same study are not: with another objective, it would be another study. None if the
/// study cannot be changed in this way.
pub fn next_cell(study: &StudyRecord, experiment: &Experiment, objective: &Objective) -> Option<String> {
    let definition = &study.definition;
    if matches!(definition.workload, WorkloadReference::Imported { .. }) {
        return None;
    }
    let configurations = study.asked / definition.repeats.max(1);
    let new = |space: SearchSpace| StudyDefinition { space, objective: objective.clone(), ..definition.clone() };
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
            let suffix = if *factor > 1.0 { "longer" } else { "shorter" };
            Some(sweep_cell(&format!("{}-{suffix}", study.name), &new(space), configurations, ""))
        }
        Experiment::Changed { space, suffix } => {
            Some(sweep_cell(&format!("{}-{suffix}", study.name), &new(space.clone()), configurations, ""))
        }
    }
}

/// Returns the cell that trains the configuration of a trial again, with another seed, and judges it by `objective`.
/// None if the space cannot be declared.
pub fn again(study: &StudyRecord, trial: &Trial, objective: &Objective) -> Option<String> {
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
    let (sampler, repeats, objective) = (SamplerKind::default(), 1, objective.clone());
    let seed = seed_that_differs(study.definition.seed, trial)?;
    let definition = StudyDefinition { space, objective, sampler, repeats, seed, ..study.definition.clone() };
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

/// Returns a command as it fits a space: without the optional parts that insert a hyperparameter that the space does
/// not have. A part such as `[{name}]` that has a value in every trial loses its brackets, which would belong to the
/// word there.
fn command_in(line: &ProgramLine, space: &SearchSpace) -> ProgramLine {
    let mut fitting = ProgramLine::default();
    let begins_part = |word: &String| word.starts_with(|c: char| c == '-' || c.is_alphabetic());
    let mut at = 0;
    for part in &line.optional {
        fitting.words.extend_from_slice(line.words.get(at..part.start).unwrap_or(&[]));
        at = part.end;
        let words = line.words.get(part.clone()).unwrap_or(&[]);
        let inserted = placeholders(words).unwrap_or_default();
        if inserted.iter().all(|placeholder| space.named(&placeholder.name).next().is_some()) {
            let start = fitting.words.len();
            fitting.words.extend_from_slice(words);
            let lacks = || inserted.iter().any(|placeholder| space.lacking(&placeholder.name).is_some());
            if words.first().is_some_and(begins_part) || lacks() {
                fitting.optional.push(start..fitting.words.len());
            }
        }
    }
    fitting.words.extend_from_slice(line.words.get(at..).unwrap_or(&[]));
    fitting
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
        WorkloadReference::Command(line) => {
            format!("{}\n", written(&WorkloadReference::Command(command_in(line, &definition.space))))
        }
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
    use crate::testing::{context, definition, trial};
    use tunebook_study::{Condition, Direction, TrialState};

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
            let objective = &study.definition.objective;
            let cell = next_cell(&study, &Experiment::MoreConfigurations(more), objective).unwrap();
            assert!(cell.contains(trials), "{cell}");
        }
        study.definition.sampler = SamplerKind::Grid;
        let objective = &study.definition.objective;
        assert_eq!(next_cell(&study, &Experiment::MoreConfigurations(12), objective), None);
    }

    /// A study of a program that reads the momentum of sgd only.
    fn of_a_program(words: &[&str], optional: std::ops::Range<usize>) -> StudyDefinition {
        let words = words.iter().map(|word| word.to_string()).collect();
        let workload = WorkloadReference::Command(ProgramLine { words, optional: vec![optional] });
        let mut space = SearchSpace::new();
        let optimizers = Distribution::choice(vec!["sgd".into(), "adam".into()]).unwrap();
        let of_sgd = Condition { name: "opt".into(), values: vec!["sgd".into()] };
        let momentum = Distribution::uniform(0.0, 1.0).unwrap();
        for (name, distribution, conditions) in [("opt", optimizers, vec![]), ("mom", momentum, vec![of_sgd])] {
            let (name, role) = (name.to_string(), Role::Nuisance);
            space.declare(Hyperparameter { name, role, distribution, conditions }).unwrap();
        }
        StudyDefinition { workload, space, ..definition() }
    }

    #[test]
    fn the_cell_of_one_configuration_has_only_the_optional_parts_of_its_branch() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = context(folder.path()).store().unwrap();
        let (sgd, adam) = ([("opt", Value::from("sgd")), ("mom", Value::from(0.5))], [("opt", Value::from("adam"))]);
        let params = |of: &[(&str, Value)]| of.iter().map(|(name, value)| (name.to_string(), value.clone())).collect();
        let (sgd, adam): (Params, Params) = (params(&sgd), params(&adam));
        for (name, words, optional, of_sgd) in [
            ("words", &["t", "--mom", "{mom}", "-v"][..], 1..3, "[--mom {mom}]"),
            ("option", &["t", "--mom={mom}", "-v"], 1..2, "[--mom={mom}]"),
            ("word", &["t", "{mom}", "-v"], 1..2, "{mom}"),
        ] {
            let study = store.create_study(name, &of_a_program(words, optional)).unwrap();
            let command = |cell: String| cell.lines().nth(1).unwrap().replace('\'', "");
            let again = |number: u32, params: &Params| {
                let trial = Trial { params: params.clone(), ..trial(number, TrialState::Complete) };
                command(super::again(&study, &trial, &study.definition.objective).unwrap())
            };
            assert_eq!(again(1, &adam), "command t -v");
            assert_eq!(again(2, &sgd), format!("command t {of_sgd} -v"));
            let whole = command(sweep_cell(name, &study.definition, 4, ""));
            assert!(whole.contains('['), "{whole}");
        }
    }

    #[test]
    fn a_new_study_is_judged_as_its_trials_were_and_more_trials_as_before() {
        let folder = tempfile::tempdir().unwrap();
        let study = context(folder.path()).store().unwrap().create_study("s", &definition()).unwrap();
        let judged = ObjectiveValue::Final;
        let objective = Objective { metric: "accuracy".into(), direction: Direction::Maximize, judged };
        let space = study.definition.space.clone();
        let changed = Experiment::Changed { space: space.clone(), suffix: "good" };
        let again = again(&study, &trial(1, TrialState::Complete), &objective);
        for cell in [again, next_cell(&study, &changed, &objective)] {
            let cell = cell.unwrap();
            assert!(cell.ends_with("\nmaximize accuracy") && cell.contains(" --objective final"), "{cell}");
        }
        for same in [Experiment::Wider(space), Experiment::MoreConfigurations(9)] {
            let cell = next_cell(&study, &same, &objective).unwrap();
            assert!(cell.ends_with("\nminimize valid/error") && !cell.contains("--objective"), "{cell}");
        }
    }
}
