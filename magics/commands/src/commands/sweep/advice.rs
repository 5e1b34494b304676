//! The lints of a sweep before it runs, and those that the user allowed.

use super::plan::SweepPlan;
use super::run_context::RunContext;
use super::slots::Slots;
use crate::commands::launch::has_launch;
use crate::commands::workload;
use crate::error::{ErrorName, Result, suggest};
use crate::magic::Context;
use crate::studies::replay_of;
use crate::syntax::Arguments;
use serde_json::{Value as Json, json};
use std::collections::BTreeSet;
use tunebook_analysis::{
    BATCH_SIZE_CHANGED, Design, Explored, LINTS, Lint, Literal, Retuning, Stage, Throughput, TunedStudy,
    batch_size_too_large, best_trial, exploitation, is_plain, is_same_project, lints, literals, not_tuned_again,
    retuning, several_questions,
};
use tunebook_study::store::{Store, StudyRecord};
use tunebook_study::{StudyDefinition, TrialState, WorkloadDescription, WorkloadReference};

/// The kind of the result in which a study keeps the lints that were allowed.
const ALLOWED: &str = "allowed_lints";

/// What the Playbook says of a plan.
#[derive(Debug, Default, PartialEq)]
pub struct Advice {
    /// The advice that the plan does not follow, without that which `--allow` overrules.
    pub lints: Vec<Lint>,
    /// The names of the lints that were found and that `--allow` overrules.
    pub overruled: BTreeSet<String>,
    /// The names after `--allow` that overrule nothing, because these lints were not found.
    pub unneeded: BTreeSet<String>,
}

impl Advice {
    fn new(found: Vec<Lint>, allow: &BTreeSet<String>) -> Self {
        let (overruled, lints): (Vec<Lint>, Vec<Lint>) = found.into_iter().partition(|lint| allow.contains(lint.id));
        let overruled: BTreeSet<String> = overruled.into_iter().map(|lint| lint.id.to_string()).collect();
        let unneeded = allow.difference(&overruled).cloned().collect();
        Self { lints, overruled, unneeded }
    }

    /// Says which of the names after `--allow` overrule nothing.
    pub fn note(&self) -> Option<String> {
        let names: Vec<String> = self.unneeded.iter().map(|name| format!("`--allow {name}`")).collect();
        match names.as_slice() {
            [] => None,
            [name] => {
                Some(format!("{name} overrules nothing: the study does not have this lint, so it is not recorded."))
            }
            names => Some(format!(
                "{} overrule nothing: the study does not have these lints, so they are not recorded.",
                names.join(" and ")
            )),
        }
    }
}

/// Reads `--allow LINT`, which may be given several times.
pub fn allowed(arguments: &Arguments) -> Result<BTreeSet<String>> {
    let mut allowed = BTreeSet::new();
    for word in arguments.all("allow") {
        if !LINTS.contains(&word.text.as_str()) {
            let message = format!("there is no lint `{}`", word.text);
            let help = suggest(&word.text, LINTS);
            return Err(arguments.source.error(ErrorName::InvalidValue, word.span.clone(), message, help));
        }
        allowed.insert(word.text.clone());
    }
    Ok(allowed)
}

/// Returns what the Playbook says of a plan.
pub fn advice(context: &Context, store: Option<&Store>, plan: &SweepPlan, design: &Design) -> Result<Advice> {
    let definition = &plan.definition;
    let description = description(context, &definition.workload);
    let studies = store.map_or(Ok(vec![]), Store::studies)?;
    let alike = of_project(&studies, &plan.name, &definition.workload);
    let stage = stage(store, &definition.workload, &alike, description.as_ref())?;
    let mut found = lints(definition, design, description.as_ref(), stage);
    found.extend(several_questions(definition, alike.iter().map(|other| (other.name.as_str(), &other.definition))));
    let others: Vec<StudyRecord> = studies.into_iter().filter(|study| study.name != plan.name).collect();
    found.extend(beyond_the_fastest(store, definition, description.as_ref())?);
    found.extend(retuned(store, plan, &others, description.as_ref())?);
    found.extend(exploited(context, store, plan, &others, description.as_ref())?);
    Ok(Advice::new(found, &plan.options.allow))
}

/// The other studies of a workload, or of the same program with other options. A replay repeats the trials of a study,
/// and is none of its own.
fn of_project<'a>(studies: &'a [StudyRecord], name: &str, workload: &WorkloadReference) -> Vec<&'a StudyRecord> {
    let is_replay = |name: &str| studies.iter().any(|study| replay_of(study) == name);
    let is_alike = |other: &&StudyRecord| {
        other.name != name && is_same_project(&other.definition.workload, workload) && !is_replay(&other.name)
    };
    studies.iter().filter(is_alike).collect()
}

/// How far the project of a workload has come, by its launches and by the trials of the other studies.
fn stage(
    store: Option<&Store>,
    workload: &WorkloadReference,
    others: &[&StudyRecord],
    description: Option<&WorkloadDescription>,
) -> Result<Stage> {
    let Some(store) = store else { return Ok(Stage::First) };
    let mut workloads = vec![workload];
    for other in others.iter().map(|other| &other.definition.workload) {
        if !workloads.contains(&other) {
            workloads.push(other);
        }
    }
    for workload in workloads {
        if has_launch(store, workload)? {
            return Ok(Stage::AfterBaseline);
        }
    }
    let mut stage = Stage::First;
    for other in others {
        let literals = literals(&other.definition);
        let in_command = || literals.iter().map(|literal| (literal.name.clone(), literal.value.clone()));
        for mut trial in store.trials(other)?.into_iter().filter(|trial| trial.state == TrialState::Complete) {
            trial.params.extend(in_command());
            if is_plain(&trial.params, description) {
                return Ok(Stage::Exploring);
            }
            stage = Stage::WithExtras;
        }
    }
    Ok(stage)
}

/// Returns the lint for a batch size beyond the fastest one that `%throughput` measured last (Playbook B3).
fn beyond_the_fastest(
    store: Option<&Store>,
    definition: &StudyDefinition,
    description: Option<&WorkloadDescription>,
) -> Result<Option<Lint>> {
    let (Some(store), Some(known)) = (store, description) else { return Ok(None) };
    Ok(last_throughput(store, &known.name)?.and_then(|(result, throughput)| {
        let limit = result["largest_feasible"].as_u64().filter(|_| result["limited_by"] == "memory");
        batch_size_too_large(definition, description, &throughput, limit)
    }))
}

/// The last reliable result of `%throughput` for a workload, with what it measured. None if there is none, or if an
/// earlier version of Tunebook wrote it in another form.
pub fn last_throughput(store: &Store, workload: &str) -> Result<Option<(Json, Throughput)>> {
    let mut measured = store.results("throughput")?.into_iter().rev();
    let last = measured.find(|result| result["workload"] == workload && result["reliable"] == true);
    Ok(last.and_then(|result| {
        let throughput = serde_json::from_value(result["measured"][0]["measured"]["throughput"].clone()).ok()?;
        Some((result, throughput))
    }))
}

/// Returns the lint for hyperparameters that another study tuned at another batch size (Playbook B13).
fn retuned(
    store: Option<&Store>,
    plan: &SweepPlan,
    others: &[StudyRecord],
    description: Option<&WorkloadDescription>,
) -> Result<Option<Lint>> {
    let Some(store) = store else { return Ok(None) };
    let default = description.and_then(|known| known.hyperparameter("batch_size")?.default.as_i64());
    let own = literals(&plan.definition);
    for other in others {
        let best = best_trial(&store.trials(other)?, &other.definition.objective);
        let tuner = TunedStudy {
            name: &other.name,
            definition: &other.definition,
            best: best.as_ref().map(|best| &best.params),
        };
        let user = TunedStudy { name: &plan.name, definition: &plan.definition, best: None };
        let taken_over = retuning(&tuner, &user, default);
        let is_taken_over = taken_over.is_some();
        if let Some(found) = taken_over.or_else(|| not_tuned_again(&tuner, &user, default)) {
            let message = retuning_message(&found, is_taken_over, &own, &literals(&other.definition));
            let playbook = "B13 Changing the batch size requires re-tuning most hyperparameters";
            return Ok(Some(Lint { id: BATCH_SIZE_CHANGED, message, playbook }));
        }
    }
    Ok(None)
}

/// Says what was tuned at another batch size. The commands of the plan and of the other study fix `own` and `theirs`.
fn retuning_message(found: &Retuning, is_taken_over: bool, own: &[Literal], theirs: &[Literal]) -> String {
    let shown = |name: &String| match own.iter().find(|literal| literal.is_named(name)) {
        Some(literal) => literal.shown(),
        None => format!("`{name}`"),
    };
    let names: Vec<String> = found.hyperparameters.iter().map(shown).collect();
    let (names, it) = (names.join(", "), if names.len() == 1 { "it" } else { "them" });
    let what = match is_taken_over {
        true => format!("{names} has the value that {} found", found.tuned_in),
        false => format!("{names} has one value here, and {} tuned it", found.tuned_in),
    };
    let size_in = |literals: &[Literal]| {
        let size = literals.iter().find(|literal| literal.is_batch_size());
        size.map_or(String::new(), |size| format!(" ({})", size.shown()))
    };
    format!(
        "{what} at {}{}; this study trains at {}{}. The best value depends on the batch size: declare {it} nuisance.",
        found.tuned_sizes(),
        size_in(theirs),
        found.used_at,
        size_in(own)
    )
}

/// Returns the lints of a study that exploits: of its trials at a time, and of the best configuration of the earlier
/// studies of the same workload and objective (Playbook F6, I4).
fn exploited(
    context: &Context,
    store: Option<&Store>,
    plan: &SweepPlan,
    others: &[StudyRecord],
    description: Option<&WorkloadDescription>,
) -> Result<Vec<Lint>> {
    let definition = &plan.definition;
    if !definition.sampler.is_adaptive() {
        return Ok(vec![]);
    }
    let objective = &definition.objective;
    let mut best: Option<(f64, &str, _)> = None;
    for other in others {
        let theirs = &other.definition;
        let is_alike = theirs.workload.is_same_workload(&definition.workload)
            && theirs.objective.metric == objective.metric
            && theirs.objective.direction == objective.direction;
        let Some(store) = store.filter(|_| is_alike) else { continue };
        let Some(found) = best_trial(&store.trials(other)?, objective) else { continue };
        let minimized = objective.direction.minimized(found.objective);
        if best.as_ref().is_none_or(|(least, ..)| minimized < *least) {
            best = Some((minimized, other.name.as_str(), found));
        }
    }
    let explored = best.as_ref().map(|(_, study, found)| Explored { study, trial: found.trial, params: &found.params });
    let run = RunContext::new(context, &plan.options)?;
    let (devices, _) = run.devices(context, &definition.workload);
    let slots = Slots::of(context, &run, &devices);
    let configurations = u64::from(plan.trials / definition.repeats.max(1));
    Ok(exploitation(definition, description, configurations, slots.at_once(), explored.as_ref()))
}

/// The description of a workload. None for a program, and if the worker cannot be asked.
fn description(context: &Context, workload: &WorkloadReference) -> Option<WorkloadDescription> {
    if matches!(workload, WorkloadReference::Command(_)) {
        return None;
    }
    let known = workload::known(context).unwrap_or_default();
    known.into_iter().find(|known| known.reference == *workload).map(|known| known.description)
}

/// Records the lints that `--allow` overruled, with those that it overruled before.
pub fn record_allowed(store: &Store, study: &StudyRecord, overruled: &BTreeSet<String>) -> Result<()> {
    if overruled.is_empty() {
        return Ok(());
    }
    let mut all = recorded_allowed(store, study)?;
    if overruled.is_subset(&all) {
        return Ok(());
    }
    all.extend(overruled.iter().cloned());
    Ok(store.keep_result(study, ALLOWED, "", &json!(all))?)
}

/// The lints that were allowed in the runs of a study.
pub fn recorded_allowed(store: &Store, study: &StudyRecord) -> Result<BTreeSet<String>> {
    let recorded = store.result(study, ALLOWED, "")?;
    Ok(recorded.and_then(|recorded: Json| serde_json::from_value(recorded).ok()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{context, definition};
    use tunebook_study::store::NewTrial;
    use tunebook_study::{ProgramLine, SearchSpace, Value};

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| name.to_string()).collect()
    }

    #[test]
    fn only_a_lint_that_was_found_is_overruled() {
        let lint = |id| Lint { id, message: String::new(), playbook: "" };
        let found = || vec![lint("sparse-design"), lint("first-baseline")];
        let advice = Advice::new(found(), &names(&["sparse-design", "grid-dimensions"]));
        assert_eq!(advice.lints, [lint("first-baseline")]);
        assert_eq!(advice.overruled, names(&["sparse-design"]));
        let note = advice.note().unwrap();
        assert!(note.starts_with("`--allow grid-dimensions` overrules nothing"), "{note}");
        assert_eq!(Advice::new(found(), &names(&["sparse-design"])).note(), None);
        let two = Advice::new(vec![], &names(&["a", "b"])).note().unwrap();
        assert!(two.starts_with("`--allow a` and `--allow b` overrule nothing"), "{two}");
    }

    fn command(line: &[&str]) -> WorkloadReference {
        let words = line.iter().map(|word| word.to_string()).collect();
        WorkloadReference::Command(ProgramLine { words, optional: vec![] })
    }

    #[test]
    fn what_was_tuned_at_another_batch_size_is_shown_with_what_the_commands_fix() {
        let of = |line: &[&str]| {
            let (workload, space) = (command(line), SearchSpace::new());
            literals(&StudyDefinition { workload, space, ..definition() })
        };
        let found = Retuning {
            tuned_in: "v1".into(),
            tuned_at: vec![16],
            used_in: "v2".into(),
            used_at: 512,
            hyperparameters: vec!["lr".into()],
        };
        let own = of(&["python", "t.py", "--batch-size=512", "--lr", "0.01"]);
        let theirs = of(&["python", "t.py", "--batch-size=16", "--lr", "{lr}"]);
        assert_eq!(
            retuning_message(&found, true, &own, &theirs),
            "`--lr 0.01` in the command has the value that v1 found at a batch size of 16 (`--batch-size=16` in the \
             command); this study trains at 512 (`--batch-size=512` in the command). The best value depends on the \
             batch size: declare it nuisance."
        );
        let several = Retuning { tuned_at: vec![16, 32], ..found };
        assert_eq!(
            retuning_message(&several, false, &[], &[]),
            "`lr` has one value here, and v1 tuned it at batch sizes of 16 and 32; this study trains at 512. The best \
             value depends on the batch size: declare it nuisance."
        );
    }

    #[test]
    fn a_project_is_past_its_first_baseline_with_a_plain_trial_or_a_launch() {
        let folder = tempfile::tempdir().unwrap();
        let context = context(folder.path());
        let record = |name: &str, workload: WorkloadReference, (hp, value): (&str, f64), state: TrialState| {
            let mut store = context.store().unwrap();
            let study = store.create_study(name, &StudyDefinition { workload, ..definition() }).unwrap();
            let mut writer = store.write(study).unwrap();
            let params = [(hp.to_string(), Value::Float(value))].into();
            writer.start(&NewTrial { number: 1, configuration: 0, params, seed: 1 }).unwrap();
            writer.finish(1, state, None, 1.0).unwrap();
        };
        let plain = || command(&["python", "train.py", "--lr", "{lr}"]);
        let with_decay = || command(&["python", "train.py", "--wd", "{wd}"]);
        let now = |name: &str| {
            let store = context.store().unwrap();
            let (studies, workload) = (store.studies().unwrap(), with_decay());
            stage(Some(&store), &workload, &of_project(&studies, name, &workload), None).unwrap()
        };
        assert_eq!(stage(None, &plain(), &[], None).unwrap(), Stage::First, "there is no store");
        record("other", command(&["python", "other.py"]), ("lr", 0.1), TrialState::Complete);
        record("failed", plain(), ("lr", 0.1), TrialState::Failed);
        assert_eq!(now("new"), Stage::First, "another program, and a trial that failed");
        record("decay", with_decay(), ("wd", 0.01), TrialState::Complete);
        assert_eq!(now("new"), Stage::WithExtras);
        assert_eq!(now("decay"), Stage::First, "its own trials do not count");
        record("decay.replay", with_decay(), ("wd", 0.0), TrialState::Complete);
        assert_eq!(now("decay"), Stage::First, "nor do those of its replay");
        let fixes_decay = command(&["python", "train.py", "--weight-decay=0.1", "--lr", "{lr}"]);
        record("fixed", fixes_decay, ("lr", 0.1), TrialState::Complete);
        assert_eq!(now("new"), Stage::WithExtras, "its command has a weight decay");
        record("simple", plain(), ("lr", 0.1), TrialState::Complete);
        assert_eq!(now("new"), Stage::Exploring);
        let launch = json!({ "workload_reference": plain() });
        context.store().unwrap().keep_conclusion("launch", "of this test", &launch).unwrap();
        assert_eq!(now("new"), Stage::AfterBaseline, "the same program was launched with other options");
    }
}
