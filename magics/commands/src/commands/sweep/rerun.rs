//! What a sweep does if the store already has a study of its name.

use super::plan::{SweepOptions, SweepPlan};
use crate::commands::insight::written;
use crate::error::{ErrorName, MagicError, Result};
use crate::report::table::is_on_terminal;
use std::collections::HashSet;
use std::ops::Range;
use tunebook_analysis::counted;
use tunebook_pool::program_line;
use tunebook_study::store::StudyRecord;
use tunebook_study::{
    Condition, Distribution, Hyperparameter, Objective, ProgramLine, Role, SearchSpace, StudyDefinition, Trial,
    TrialState, Value, WorkloadReference,
};

/// What a sweep does with a recorded study.
#[derive(Clone, Debug, PartialEq)]
pub enum Rerun {
    /// Shows the recorded trials and trains nothing.
    Show {
        /// The number of requested trials that have not ended.
        missing: usize,
    },
    /// Runs trials.
    Train {
        /// The numbers of the trials.
        numbers: Vec<u32>,
        /// Whether the study first gets another definition ([`redefined`]), which is wider than the recorded one or has
        /// more given configurations.
        redefine: bool,
    },
    /// Deletes the study, which has no result, and begins it with the planned definition.
    Anew {
        /// The number of its failed trials.
        failed: usize,
    },
}

/// Compares a plan with the recorded study of its name and the trials of that study.
///
/// Returns a `StudyExists` error if the definitions differ, unless the plan has `--widen` and its definition is wider.
/// Further given configurations after the recorded ones are no difference; they need room within the planned trials.
/// Neither is what the record takes over from the cell, see [`following_cell`]. A study without results begins anew
/// with any other definition.
pub fn plan_rerun(plan: &SweepPlan, study: &StudyRecord, trials: &[Trial]) -> Result<Rerun> {
    let recorded = &study.definition;
    if let WorkloadReference::Imported { .. } = recorded.workload {
        let name = &plan.name;
        let message = format!("the study `{name}` holds {}: no trial of it can be trained here", recorded.workload);
        let help = format!("give this study another name. `%study {name}` shows the imported one");
        return Err(MagicError::new(ErrorName::StudyExists, message, Some(help)));
    }
    let added = added_to(recorded, &plan.definition);
    let given = if added > 0 { recorded.given.clone() } else { plan.definition.given.clone() };
    let StudyDefinition { question, notes, round, .. } = recorded.clone();
    let planned = StudyDefinition { given, question, notes, round, ..plan.definition.clone() };
    let differences = differences(recorded, &planned);
    let accepted = differences.is_empty() || (plan.options.widen && widens(recorded, &planned));
    if !accepted && has_no_results(trials) {
        let failed = trials.iter().filter(|trial| trial.state == TrialState::Failed).count();
        return Ok(Rerun::Anew { failed });
    }
    if !accepted {
        let name = &plan.name;
        // With --widen, what it accepts is no reason.
        let refused = if plan.options.widen { refused(recorded, &planned) } else { vec![] };
        let message = exists_message(name, if refused.is_empty() { &differences } else { &refused });
        let help = if planned.given != recorded.given {
            format!(
                "keep the configurations that the study was given, in their order, and write additional ones below \
                 them; or give this study another name. `%study {name}` shows what was given"
            )
        } else if plan.options.widen {
            "--widen accepts only ranges that grew, lists that gained values, and fixed values that became a list or a \
             range, with branches for the new values, and in the same order. The command may get parts in brackets for \
             what not all branches have: `[--name {name}]`. With any other change it is another study: give it another \
             name"
                .to_string()
        } else {
            format!(
                "give this study another name, or undo the change. --widen accepts ranges that only grew and keeps the \
                 old trials. `%study delete {name}` deletes the old study"
            )
        };
        return Err(MagicError::new(ErrorName::StudyExists, message, Some(help)));
    }
    if added > 0 {
        check_room(plan, recorded, configurations_of(trials), added)?;
    }
    let redefine = !differences.is_empty() || added > 0;
    let retried = plan.options.retry_failed;
    let ended = ended(trials, &plan.options);
    let missing: Vec<u32> = (1..=plan.trials).filter(|number| !ended.contains(number)).collect();
    let more_requested = plan.trials > study.asked;
    if missing.is_empty() || !(plan.options.resume || retried || more_requested || redefine) {
        return Ok(Rerun::Show { missing: missing.len() });
    }
    Ok(Rerun::Train { numbers: missing, redefine })
}

/// Whether nothing is lost if a study begins anew: its trials failed, or were cancelled before they measured anything.
fn has_no_results(trials: &[Trial]) -> bool {
    trials.iter().all(|trial| match trial.state {
        TrialState::Failed => true,
        TrialState::Cancelled => trial.summaries.is_empty(),
        _ => false,
    })
}

/// What is said of a study that begins anew.
pub fn replaced(failed: usize) -> String {
    match failed {
        0 => "The study had no trial with a result. It starts again with this definition.".into(),
        1 => "The failed trial of an earlier definition of this study was replaced: it had no result.".into(),
        n => format!("The {n} failed trials of an earlier definition of this study were replaced: none had a result."),
    }
}

/// The recorded definition with what it takes over from the planned one: the question, the notes, the round, and
/// whether a trial is judged by its best or by its last value. With sentences that say what has changed. None if they
/// are the same. No trial is trained in another way because of them.
pub fn following_cell(recorded: &StudyDefinition, planned: &StudyDefinition) -> Option<(StudyDefinition, Vec<String>)> {
    let changed: Vec<&str> = [
        ("question", recorded.question != planned.question),
        ("notes", recorded.notes != planned.notes),
        ("round", recorded.round != planned.round),
    ]
    .into_iter()
    .filter_map(|(name, has_changed)| has_changed.then_some(name))
    .collect();
    let mut sentences = vec![];
    if !changed.is_empty() {
        let changed = changed.join(", ");
        sentences.push(format!("Changed in the record of the study: {changed}. No trial depends on that."));
    }
    let (before, judged) = (recorded.objective.judged, planned.objective.judged);
    if judged != before {
        sentences.push(format!(
            "Changed in the record of the study: a trial is judged by its {}, no longer by its {}, and another trial \
             may be the best one. No trial is trained again.",
            judged.in_words(),
            before.in_words()
        ));
    }
    if sentences.is_empty() {
        return None;
    }
    let StudyDefinition { question, notes, round, .. } = planned.clone();
    let objective = Objective { judged, ..recorded.objective.clone() };
    Some((StudyDefinition { question, notes, round, objective, ..recorded.clone() }, sentences))
}

/// How many given configurations a planned definition adds after those of the recorded one. 0 if it changes those.
fn added_to(recorded: &StudyDefinition, planned: &StudyDefinition) -> usize {
    match planned.given.starts_with(&recorded.given) {
        true => planned.given.len() - recorded.given.len(),
        false => 0,
    }
}

/// An error if the planned trials end before the first of the given configurations that are added.
fn check_room(plan: &SweepPlan, recorded: &StudyDefinition, configurations: u32, added: usize) -> Result<()> {
    let planned = plan.trials / plan.definition.repeats.max(1);
    let next = recorded.next_given(configurations);
    if planned > next {
        return Ok(());
    }
    let name = &plan.name;
    let (new, them) = match added {
        1 => ("1 given configuration is".to_string(), "it"),
        n => (format!("{n} given configurations are"), "them"),
    };
    let message = format!(
        "{new} new in the study `{name}`, which has {} before {them}, and this cell asks for {planned} in all",
        counted(next as usize, "configuration")
    );
    let help = format!("`--trials {}` trains {them} next", u64::from(next) + added as u64);
    Err(MagicError::new(ErrorName::StudyExists, message, Some(help)))
}

/// The definition with which a study goes on that is recorded with so many configurations: that of a plan, which is
/// wider or has more given configurations.
pub fn redefined(recorded: &StudyDefinition, planned: StudyDefinition, configurations: u32) -> StudyDefinition {
    let mut wider = match planned.space == recorded.space {
        true => recorded.clone(),
        false => recorded.widened(planned.space.clone(), configurations),
    };
    // The study goes on with the command of the plan.
    if let (WorkloadReference::Command(before), Some(earlier)) = (&recorded.workload, wider.earlier.last_mut())
        && planned.space != recorded.space
        && planned.workload != recorded.workload
    {
        earlier.command = Some(before.clone());
    }
    let next = wider.with_given(planned.given.clone(), configurations);
    planned.continuing(&next)
}

/// Whether a run with these options runs a trial in this state again.
fn runs_again(state: TrialState, options: &SweepOptions) -> bool {
    state.runs_again() || (options.retry_failed && state == TrialState::Failed)
}

/// The numbers of the trials that a run with these options does not run again.
pub fn ended(trials: &[Trial], options: &SweepOptions) -> HashSet<u32> {
    trials.iter().filter(|trial| !runs_again(trial.state, options)).map(|trial| trial.number).collect()
}

/// What is said of a recorded study that is shown and not trained. `missing` of `these` trials have not ended, and
/// `writer` is who runs the study now, if anybody does.
pub fn shown_only(missing: usize, these: &str, writer: Option<&str>) -> String {
    match (missing, writer) {
        (0, None) => format!("Nothing was trained: all {these} are recorded."),
        (0, Some(writer)) => {
            format!("Nothing was trained: all {these} are recorded. The study runs now, in {writer}.")
        }
        (n, None) => format!("{n} of the {these} are missing; `--resume` runs them."),
        (n, Some(writer)) => format!(
            "The study runs now, in {writer}: {n} of the {these} have not ended yet. Run this {} again to see how far \
             it is.",
            if is_on_terminal() { "command" } else { "cell" }
        ),
    }
}

/// How many configurations a study has proposed.
pub fn configurations_of(trials: &[Trial]) -> u32 {
    trials.iter().map(|trial| trial.configuration + 1).max().unwrap_or(0)
}

/// The message of a `StudyExists` error.
pub fn exists_message(study: &str, differences: &[String]) -> String {
    format!("there is already a study `{study}` with another definition: {}", differences.join("; "))
}

/// Returns what differs between two definitions, in a few words each.
///
/// Whether a trial is judged by its best or by its last value is not compared, because the record follows the cell, see
/// [`following_cell`].
pub fn differences(old: &StudyDefinition, new: &StudyDefinition) -> Vec<String> {
    let mut found: Vec<String> = of_workload(old, new).into_iter().chain(of_settings(old, new)).collect();
    found.extend(of_space(&old.space, &new.space, |_| true));
    if found.is_empty() && old.space != new.space {
        found.push(ANOTHER_ORDER.into());
    }
    found
}

/// The differences that `--widen` does not accept.
fn refused(old: &StudyDefinition, new: &StudyDefinition) -> Vec<String> {
    let workload = of_workload(old, new).filter(|_| !keeps_words(old, &new.workload));
    let mut found: Vec<String> = workload.into_iter().chain(of_settings(old, new)).collect();
    let mismatch = mismatch(&new.space, &old.space);
    found.extend(of_space(&old.space, &new.space, |label| mismatch.labels.iter().any(|refused| refused == label)));
    if mismatch.is_moved {
        found.push(ANOTHER_ORDER.into());
    }
    found
}

const ANOTHER_ORDER: &str = "the declarations are in another order, which changes the configurations that are proposed";

fn of_workload(old: &StudyDefinition, new: &StudyDefinition) -> Option<String> {
    match (&old.workload, &new.workload) {
        (WorkloadReference::Rust { name, .. }, WorkloadReference::Rust { name: now, .. })
            if name == now && old.workload != new.workload =>
        {
            Some(format!("the code of the workload `{name}` has changed"))
        }
        (before, now) if before != now => Some(format!("the workload was {}, now {}", written(before), written(now))),
        _ => None,
    }
}

/// What differs beside the workload and the space.
fn of_settings(old: &StudyDefinition, new: &StudyDefinition) -> Vec<String> {
    let mut found = vec![];
    let mut field = |what: &str, old: String, new: String| {
        if old != new {
            found.push(format!("{what} was {old}, now {new}"));
        }
    };
    let objective = |d: &StudyDefinition| format!("{} {}", d.objective.direction, d.objective.metric);
    field("the objective", objective(old), objective(new));
    field("--sampler", old.sampler.to_string(), new.sampler.to_string());
    field("--seed", old.seed.to_string(), new.seed.to_string());
    field("--repeats", old.repeats.to_string(), new.repeats.to_string());
    let text = |text: &Option<String>| text.as_ref().map_or("none".into(), |t| format!("\"{t}\""));
    field("the question", text(&old.question), text(&new.question));
    field("the notes", text(&old.notes), text(&new.notes));
    let round = |round: &Option<u32>| round.map_or("none".into(), |n| n.to_string());
    field("the round", round(&old.round), round(&new.round));
    if old.given != new.given {
        let (before, now) = (old.given.len(), new.given.len());
        found.push(match old.given.iter().zip(&new.given).position(|(a, b)| a != b) {
            Some(at) => format!("the given configuration {} has changed", at + 1),
            None => format!("there were {before} given configurations, now {now}"),
        });
    }
    found
}

/// What differs between two spaces, of the labels that `is_told` names.
fn of_space(old: &SearchSpace, new: &SearchSpace, is_told: impl Fn(&str) -> bool) -> Vec<String> {
    let mut found = vec![];
    let find = |space: &SearchSpace, label: &str| space.hyperparameters().iter().find(|h| h.label() == label).cloned();
    let shown = |h: &Hyperparameter| format!("`{} {} {}`", h.role, h.name, h.distribution);
    for hyperparameter in old.hyperparameters() {
        let label = hyperparameter.label();
        match find(new, &label) {
            _ if !is_told(&label) => {}
            None => found.push(format!("`{label}` is gone")),
            Some(now) if now != *hyperparameter => {
                found.push(format!("`{label}` was {}, now {}", shown(hyperparameter), shown(&now)));
            }
            Some(_) => {}
        }
    }
    for hyperparameter in new.hyperparameters() {
        let label = hyperparameter.label();
        if is_told(&label) && find(old, &label).is_none() {
            found.push(format!("`{label}` is new"));
        }
    }
    found
}

/// Whether the new definition differs from the old one only in wider ranges, longer lists, lists and ranges of what was
/// fixed, branches for the values that are new, and parts of the command for what only these have.
fn widens(old: &StudyDefinition, new: &StudyDefinition) -> bool {
    let (space, workload) = (new.space.clone(), new.workload.clone());
    let same_otherwise = StudyDefinition { space, workload, ..old.clone() }
        == StudyDefinition {
            objective: old.objective.clone(),
            stop_early: old.stop_early,
            ..new.clone().continuing(old)
        }
        && old.objective.is_same_metric(&new.objective);
    let same_program = old.workload == new.workload || keeps_words(old, &new.workload);
    same_otherwise && same_program && has_room_for(&new.space, &old.space)
}

/// Whether the new command has the same words for each trial of the old study: it may have more optional parts, with
/// hyperparameters that no old trial has, and parts may be optional now that each old trial has.
fn keeps_words(old: &StudyDefinition, new: &WorkloadReference) -> bool {
    let (WorkloadReference::Command(before), WorkloadReference::Command(now)) = (&old.workload, new) else {
        return false;
    };
    let inserted = |line: &ProgramLine, part: &Range<usize>| {
        let words = line.words.get(part.clone()).unwrap_or(&[]);
        program_line::placeholders(words).unwrap_or_default()
    };
    let is_declared = |name: &str| old.space.named(name).next().is_some();
    let is_added = |part: &Range<usize>| {
        let inserted = inserted(now, part);
        !inserted.is_empty() && inserted.iter().all(|placeholder| !is_declared(&placeholder.name))
    };
    let (added, kept): (Vec<Range<usize>>, Vec<Range<usize>>) = now.optional.iter().cloned().partition(is_added);
    let is_kept = |at: usize| !added.iter().any(|part| part.contains(&at));
    // How many of the words before a place are kept.
    let kept_before = |at: usize| (0..at).filter(|word| is_kept(*word)).count();
    let line = ProgramLine {
        words: (0..now.words.len()).filter(|at| is_kept(*at)).map(|at| now.words[at].clone()).collect(),
        optional: kept.into_iter().map(|part| kept_before(part.start)..kept_before(part.end)).collect(),
    };
    // An optional part is left out also where its value is the empty text.
    let may_be_empty = |name: &str| {
        let is_empty = |value: &Value| matches!(value, Value::Text(text) if text.is_empty());
        old.space.named(name).any(|h| match &h.distribution {
            Distribution::Constant { value } => is_empty(value),
            Distribution::Choice { values } => values.iter().any(is_empty),
            _ => false,
        })
    };
    let is_always_there =
        |part: &Range<usize>| inserted(&line, part).iter().all(|placeholder| !may_be_empty(&placeholder.name));
    line.words == before.words
        && before.optional.iter().all(|part| line.optional.contains(part))
        && line.optional.iter().filter(|part| !before.optional.contains(part)).all(is_always_there)
}

/// Whether each configuration of the old space is one of the new space, with the same hyperparameters.
fn has_room_for(new: &SearchSpace, old: &SearchSpace) -> bool {
    let Mismatch { labels, is_moved } = mismatch(new, old);
    labels.is_empty() && !is_moved
}

/// Why configurations of an old space are none of a new one.
#[derive(Default)]
struct Mismatch {
    /// The labels, of both spaces, of the hyperparameters that do not fit.
    labels: Vec<String>,
    /// Whether one that fits stands at another place.
    is_moved: bool,
}

/// Why some configurations of the old space are none of the new space, with the same hyperparameters.
fn mismatch(new: &SearchSpace, old: &SearchSpace) -> Mismatch {
    let is_new_value = |parent: &str, value: &Value| old.named(parent).all(|h| h.distribution.to_unit(value).is_none());
    let has = |values: &[Value], value: &Value| values.iter().any(|other| other.same_as(value));
    let grew = |before: &Condition, after: &Condition| {
        before.name == after.name
            && before.values.iter().all(|value| has(&after.values, value))
            && after.values.iter().all(|value| has(&before.values, value) || is_new_value(&after.name, value))
    };
    // Whether the parent has one of these values in each old configuration that has the hyperparameter.
    let held = |h: &Hyperparameter, added: &Condition| {
        let implies = |needed: &Condition| {
            h.conditions.iter().any(|c| c.name == needed.name && c.values.iter().all(|v| has(&needed.values, v)))
        };
        old.named(&added.name).any(|parent| {
            let holds = match &parent.distribution {
                Distribution::Constant { value } => has(&added.values, value),
                Distribution::Choice { values } => values.iter().all(|value| has(&added.values, value)),
                _ => false,
            };
            holds && parent.conditions.iter().all(implies)
        })
    };
    let widened = |before: &Hyperparameter, after: &Hyperparameter| {
        let (b, a) = (&before.conditions, &after.conditions);
        // A value that was fixed may be tuned now: the old trials have a value of the new range (Playbook A4).
        let is_freed = before.role == Role::Fixed && before.distribution.is_constant();
        before.name == after.name
            && (before.role == after.role || is_freed)
            && b.iter().all(|before| a.iter().any(|after| grew(before, after)))
            && a.iter().all(|after| b.iter().any(|before| grew(before, after)) || held(before, after))
            && contains(&after.distribution, &before.distribution)
    };
    let is_new_branch = |h: &Hyperparameter| {
        h.conditions.iter().any(|condition| condition.values.iter().all(|value| is_new_value(&condition.name, value)))
    };
    // What was fixed may become the parent of others, and a parent is declared before them. What does not fit has no
    // place in the new space that others could have passed.
    let fits = |before: &Hyperparameter| new.hyperparameters().iter().any(|after| widened(before, after));
    let moves = |h: &Hyperparameter| h.distribution.is_constant() || !fits(h);
    let mut left: Vec<&Hyperparameter> = old.hyperparameters().iter().collect();
    let mut found = Mismatch::default();
    for after in new.hyperparameters() {
        match left.iter().position(|before| widened(before, after)) {
            Some(at) if moves(left[at]) || left[..at].iter().all(|before| moves(before)) => {
                left.remove(at);
            }
            _ if is_new_branch(after) => {}
            Some(at) => {
                left.remove(at);
                found.is_moved = true;
            }
            None => found.labels.push(after.label()),
        }
    }
    found.labels.extend(left.into_iter().map(Hyperparameter::label));
    found
}

/// Whether `outer` has every value of `inner` and draws it on the same scale.
fn contains(outer: &Distribution, inner: &Distribution) -> bool {
    use Distribution::*;
    match (outer, inner) {
        (Uniform { low, high }, Uniform { low: l, high: h })
        | (LogUniform { low, high }, LogUniform { low: l, high: h })
        | (OneMinusLogUniform { low, high }, OneMinusLogUniform { low: l, high: h }) => low <= l && high >= h,
        (Int { low, high }, Int { low: l, high: h }) | (LogInt { low, high }, LogInt { low: l, high: h }) => {
            low <= l && high >= h
        }
        (_, Constant { value }) => outer.to_unit(value).is_some(),
        (Choice { values }, Choice { values: inner }) => inner.iter().all(|v| values.iter().any(|w| v.same_as(w))),
        _ => outer == inner,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Source, Spanned};
    use crate::syntax::parse_body;
    use crate::testing;
    use tunebook_study::ObjectiveValue;

    #[test]
    fn a_recorded_study_of_many_trials_is_compared_with_its_cell_at_once() {
        let states = [TrialState::Complete, TrialState::Failed, TrialState::Cancelled];
        let trial = |number: u32| testing::trial(number, states[number as usize % 3]);
        let trials: Vec<Trial> = (1..=100_000).map(trial).collect();
        let started = std::time::Instant::now();
        let missing = |options: &SweepOptions| {
            let ended = ended(&trials, options);
            (1..=100_000).filter(|number| !ended.contains(number)).count()
        };
        assert_eq!(missing(&SweepOptions::default()), 33_333);
        assert_eq!(missing(&SweepOptions { retry_failed: true, ..SweepOptions::default() }), 66_667);
        assert!(started.elapsed().as_secs() < 10, "{:?}", started.elapsed());
    }

    #[test]
    fn a_study_that_runs_elsewhere_lacks_no_trials() {
        assert!(shown_only(37, "requested trials", None).contains("37 of the requested trials are missing"));
        let runs = shown_only(37, "requested trials", Some("another kernel (process 5 on a)"));
        assert!(runs.starts_with("The study runs now, in another kernel (process 5 on a): 37 of the"), "{runs}");
        assert!(!runs.contains("missing") && !runs.contains("--resume"), "{runs}");
        let all = shown_only(0, "trials of the grid", None);
        assert_eq!(all, "Nothing was trained: all trials of the grid are recorded.");
    }

    #[test]
    fn the_record_follows_the_cell_in_its_texts_and_its_judgement() {
        let recorded = testing::definition();
        assert_eq!(following_cell(&recorded, &recorded), None);
        let by_last = Objective { judged: ObjectiveValue::Final, ..recorded.objective.clone() };
        let planned = StudyDefinition { objective: by_last, round: Some(2), ..recorded.clone() };
        assert!(differences(&StudyDefinition { round: Some(2), ..recorded.clone() }, &planned).is_empty());
        let (now, said) = following_cell(&recorded, &planned).unwrap();
        assert_eq!(now, planned);
        let [texts, judged] = &said[..] else { panic!("{said:?}") };
        assert!(texts.contains("study: round."), "{texts}");
        assert!(judged.contains("judged by its last value, no longer by its best value over training"), "{judged}");
        let (back, said) = following_cell(&now, &StudyDefinition { round: Some(2), ..recorded.clone() }).unwrap();
        assert_eq!((back.objective, said.len()), (recorded.objective, 1));
    }

    /// The space that these lines declare.
    fn space(lines: &[&str]) -> SearchSpace {
        let text = lines.join("\n");
        let body = parse_body(&Source::new(&text, 0), 0..text.len()).unwrap();
        let mut space = SearchSpace::new();
        for declaration in body.declarations {
            let condition = |(name, values): (Spanned<String>, Vec<Value>)| Condition { name: name.value, values };
            let conditions = declaration.conditions.into_iter().map(condition).collect();
            let (name, distribution) = (declaration.name.value, declaration.distribution.value);
            space.declare(Hyperparameter { name, role: declaration.role, distribution, conditions }).unwrap();
        }
        space
    }

    const OPTIMIZERS: &str = "scientific optimizer in [adam, sgd]";
    const OF_ADAM: &str = "when optimizer == adam: nuisance lr ~ loguniform(1e-4, 1)";
    const OF_SGD: &str = "when optimizer == sgd: nuisance lr ~ loguniform(1e-3, 10)";

    #[test]
    fn what_was_fixed_becomes_a_list_with_a_branch_for_each_value() {
        let fixed = "fixed optimizer = adam";
        let rate = "nuisance lr ~ loguniform(1e-4, 1)";
        let new = space(&[OPTIMIZERS, OF_ADAM, OF_SGD]);
        assert!(has_room_for(&new, &space(&[fixed, rate])));
        assert!(has_room_for(&new, &space(&[rate, fixed])), "the parent had no children before");
        let wider = OF_ADAM.replace("1e-4", "1e-5");
        assert!(has_room_for(&space(&[OPTIMIZERS, OF_SGD, &wider]), &space(&[fixed, rate])));
        // Both values may share a hyperparameter.
        let both = OF_ADAM.replace("== adam", "in [adam, sgd]");
        assert!(has_room_for(&space(&[OPTIMIZERS, &both]), &space(&[fixed, rate])));
        // As `preset adam` declares them.
        let preset = [fixed, rate, "fixed beta1 = 0.9", "fixed epsilon = 1e-8"];
        let of_preset = [OPTIMIZERS, OF_ADAM, OF_SGD, "when optimizer == adam: nuisance beta1 ~ uniform(0.8, 0.99)"];
        let epsilon = "when optimizer == adam: fixed epsilon = 1e-8";
        assert!(has_room_for(&space(&[&of_preset[..], &[epsilon]].concat()), &space(&preset)));
        assert!(!has_room_for(&space(&of_preset), &space(&preset)), "old trials have an epsilon");
        // Other rates, the rate of another optimizer, and what old trials do not have.
        let narrow = OF_ADAM.replace("1e-4", "1e-3");
        assert!(!has_room_for(&space(&[OPTIMIZERS, &narrow, OF_SGD]), &space(&[fixed, rate])));
        assert!(!has_room_for(&new, &space(&["fixed optimizer = lion", rate])));
        assert!(!has_room_for(&space(&[OPTIMIZERS, OF_SGD]), &space(&[fixed, rate])));
        let more = "when optimizer == adam: nuisance wd ~ uniform(0, 1)";
        assert!(!has_room_for(&space(&[OPTIMIZERS, OF_ADAM, OF_SGD, more]), &space(&[fixed, rate])));
    }

    #[test]
    fn a_condition_is_added_only_if_it_held_in_every_old_configuration() {
        let rate = "nuisance lr ~ loguniform(1e-4, 1)";
        let new = space(&[OPTIMIZERS, OF_ADAM, OF_SGD]);
        assert!(!has_room_for(&new, &space(&[OPTIMIZERS, rate])), "trials of sgd had this range");
        let three = OPTIMIZERS.replace("sgd", "sgd, lion");
        let of_two = OF_ADAM.replace("== adam", "in [sgd, adam]");
        assert!(has_room_for(&space(&[&three, &of_two]), &space(&[OPTIMIZERS, rate])), "both had it");
        assert!(!has_room_for(&new, &space(&[rate])), "the old trials have no optimizer");
        // The parent itself exists in one branch only.
        let model = "scientific model in [cnn, mlp]";
        let (one, two) =
            ("when model == cnn: fixed norm = batch", "when model == cnn: nuisance norm in [batch, layer]");
        let below = "when model == cnn: when norm == batch: nuisance p ~ uniform(0, 1)";
        let of_cnn = "when model == cnn: nuisance p ~ uniform(0, 1)";
        assert!(has_room_for(&space(&[model, two, below]), &space(&[model, one, of_cnn])));
        let of_all = "nuisance p ~ uniform(0, 1)";
        assert!(!has_room_for(&space(&[model, two, below]), &space(&[model, one, of_all])), "an mlp had it too");
    }

    #[test]
    fn only_what_was_fixed_may_move() {
        let (a, b) = ("nuisance a ~ uniform(0, 1)", "nuisance b ~ uniform(0, 1)");
        assert!(!has_room_for(&space(&[b, a]), &space(&[a, b])));
        let fixed = "fixed c = 1";
        assert!(has_room_for(&space(&[fixed, a, b]), &space(&[a, fixed, b])));
        assert!(!has_room_for(&space(&[fixed, b, a]), &space(&[a, fixed, b])));
        let (list, range) = ("nuisance l in [1, 2]", "nuisance n ~ int(1, 9)");
        assert!(has_room_for(&space(&[fixed, list, range]), &space(&[list, range, fixed])));
        assert!(!has_room_for(&space(&[fixed, range, list]), &space(&[list, range, fixed])));
    }

    /// The definition of a study of this program with these lines.
    fn study(command: &str, lines: &[&str]) -> StudyDefinition {
        let text = format!("command {command}");
        let body = parse_body(&Source::new(&text, 0), 0..text.len()).unwrap();
        let workload = body.workload.unwrap().value;
        StudyDefinition { workload, space: space(lines), ..crate::testing::definition() }
    }

    const ADAM: [&str; 2] = ["fixed optimizer = adam", "nuisance lr ~ loguniform(1e-4, 1)"];
    const WARM_UP: &str = "when optimizer == sgd: nuisance warm-up in [0, 10]";

    #[test]
    fn a_command_may_gain_optional_parts_for_what_only_new_branches_have() {
        let old = study("t --opt={optimizer} --lr={lr} last", &ADAM);
        let lines = [OPTIMIZERS, OF_ADAM, OF_SGD, WARM_UP];
        let widens_to = |command: &str| widens(&old, &study(command, &lines));
        assert!(widens_to("t --opt={optimizer} --lr={lr} last"), "the command may stay");
        assert!(widens_to("t --opt={optimizer} [--warm-up={warm-up}] --lr={lr} last"));
        assert!(widens_to("t --opt={optimizer} --lr={lr} last [--warm-up {warm-up}] [--half={warm-up:.1f}]"));
        assert!(!widens_to("t --opt={optimizer} --lr={lr} --warm-up={warm-up} last"), "not for old trials");
        assert!(!widens_to("t --opt={optimizer} --lr={lr} last --fast"), "old trials were not fast");
        assert!(!widens_to("t --opt={optimizer} --lr={lr} last [--both={warm-up}{lr}]"), "old trials have an lr");
        assert!(!widens_to("t --lr={lr} --opt={optimizer} [--warm-up={warm-up}] last"), "another order");
        // With optional parts before.
        let old = study("t [--opt={optimizer}] --lr={lr}", &ADAM);
        assert!(widens(&old, &study("t [--warm-up {warm-up}] [--opt={optimizer}] --lr={lr}", &lines)));
        assert!(!widens(&old, &study("t [--warm-up {warm-up}] --opt={optimizer} --lr={lr}", &lines)));
    }

    #[test]
    fn a_part_that_each_old_trial_has_may_become_optional() {
        let beta = "nuisance beta ~ uniform(0, 1)";
        let old = study("t --opt={optimizer} --lr={lr} --beta {beta}", &[&ADAM[..], &[beta]].concat());
        let of_adam = format!("when optimizer == adam: {beta}");
        let new = study("t --opt={optimizer} --lr={lr} [--beta {beta}]", &[OPTIMIZERS, OF_ADAM, OF_SGD, &of_adam]);
        assert!(widens(&old, &new));
        let old = study("t --act {act}", &["nuisance act in [\"\", relu]"]);
        let new = study("t [--act {act}]", &["nuisance act in [\"\", relu, gelu]"]);
        assert!(!widens(&old, &new), "a trial without an `act` had the word --act");
    }

    #[test]
    fn only_what_widening_refuses_is_told() {
        let old = study("t --opt={optimizer} --lr={lr}", &ADAM);
        let narrow = OF_ADAM.replace("1e-4", "1e-3");
        let new = study("t --opt={optimizer} --lr={lr} [--w={warm-up}]", &[OPTIMIZERS, &narrow, OF_SGD, WARM_UP]);
        assert_eq!(refused(&old, &new), ["`lr` is gone", "`optimizer=adam/lr` is new"]);
        assert!(differences(&old, &new).len() > 3, "all differences");
        let other = study("t --opt={optimizer} --lr={lr} --fast", &[OPTIMIZERS, OF_ADAM, OF_SGD]);
        let [told] = &refused(&old, &other)[..] else { panic!("one") };
        assert!(told.starts_with("the workload was"), "{told}");
        // What was narrowed or is gone moves none of the others.
        let (rate, n) = ("nuisance lr ~ loguniform(1e-3, 0.1)", "nuisance n ~ int(2, 5)");
        let narrow = "nuisance lr ~ loguniform(1e-3, 0.05)";
        let of = |lines: &[&str]| refused(&study("t {n}", &[rate, n]), &study("t {n}", lines));
        let [told] = &of(&[narrow, n])[..] else { panic!("one") };
        assert!(told.starts_with("`lr` was"), "{told}");
        assert_eq!(of(&[n]), ["`lr` is gone"]);
        let (a, b) = ("nuisance a ~ uniform(0, 1)", "nuisance b ~ uniform(0, 1)");
        assert_eq!(refused(&study("t {a} {b}", &[a, b]), &study("t {a} {b}", &[b, a])), [ANOTHER_ORDER]);
    }

    #[test]
    fn a_study_that_was_widened_goes_on_with_the_new_command_and_keeps_the_old_one() {
        let old = study("t --opt={optimizer} --lr={lr}", &ADAM);
        let new = study("t --opt={optimizer} --lr={lr} [--w={warm-up}]", &[OPTIMIZERS, OF_ADAM, OF_SGD, WARM_UP]);
        let next = redefined(&old, new.clone().continuing(&old), 7);
        assert_eq!(next.workload, new.workload);
        let [earlier] = &next.earlier[..] else { panic!("{next:?}") };
        let WorkloadReference::Command(line) = &old.workload else { panic!("no program") };
        assert_eq!((earlier.command.as_ref(), earlier.configurations), (Some(line), 7));
        let wider =
            study("t --opt={optimizer} --lr={lr}", &["fixed optimizer = adam", "nuisance lr ~ loguniform(1e-5, 1)"]);
        assert_eq!(redefined(&old, wider.continuing(&old), 7).earlier[0].command, None, "it kept its command");
    }
}
