//! `%%plan NAME`: what a sweep would do, what it would cost, and the advice that it does not follow. It trains nothing.

use crate::commands::insight::written;
use crate::commands::sweep::advice::{advice, last_throughput};
use crate::commands::sweep::plan::SweepPlan;
use crate::commands::sweep::rerun::{Rerun, configurations_of, plan_rerun, redefined};
use crate::commands::sweep::run_context::RunContext;
use crate::commands::sweep::slots::Slots;
use crate::commands::sweep::{self, Sweep};
use crate::commands::workload;
use crate::error::Result;
use crate::host::{Interrupt, Output};
use crate::magic::{Body, Command, Context, Export, Invocation, Magic, Subject};
use crate::report::Report;
use crate::report::table::{Rows, duration, number};
use crate::studies::given_note;
use serde_json::json;
use tunebook_analysis::{
    Costs, Design, ExpectedTime, TimedTrial, TrialTime, counted, design, expected_proposals, expected_time,
};
use tunebook_study::store::Store;
use tunebook_study::{Params, TrialState, Value, WorkloadDescription, WorkloadReference};

pub const MAGIC: Magic = Magic {
    name: "plan",
    line: true,
    body: Some(Body::Declarations),
    usage: "%%plan NAME [options of %%sweep]\n…declarations…\n\n%plan WORKLOAD hp~loguniform(a,b) hp=[v,…] [options of %sweep]",
    example: "%%plan depth --trials 24 --seed 7\nquestion   \"How deep should the network be?\"\nworkload   digits_mlp\nscientific hidden_layers in [1, 2]\nnuisance   lr ~ loguniform(1e-3, 0.3)\nfixed      steps = 200\nfixed      eval_every = 20\nminimize   valid/error",
    summary: "What a sweep would do and cost, and the Playbook's advice that it does not follow, without running it",
    help: "It takes the text of a `%%sweep` with its options, and trains nothing. It shows the role of each \
        hyperparameter with the caveat that the role brings, how many configurations each scientific value gets, how \
        many points there are along each nuisance dimension, and the time that the trials will take. The time is known \
        from recorded trials of the same workload at the same batch size, or else from the steps that `%throughput` \
        measured. With `--price` it also shows the cost, which is the time of devices times the price.\n\n\
        Advice of the Playbook that the study does not follow is listed with its ID; `--allow LINT` overrules it, \
        which the study records.",
    options: sweep::OPTIONS,
    subject: Subject::Workload,
    export: Export::Comment,
    parse,
};

struct Plan(Sweep);

fn parse(invocation: Invocation) -> Result<Box<dyn Command>> {
    Ok(Box::new(Plan(sweep::read(invocation)?)))
}

impl Command for Plan {
    fn run(self: Box<Self>, context: &Context, output: &dyn Output, _: &Interrupt) -> Result<()> {
        let mut plan = self.0.plan(context)?;
        let store = context.store_to_read()?;
        let recorded = Recorded::of(store.as_ref(), &mut plan)?;
        let configurations = plan.trials / plan.definition.repeats.max(1);
        let design = design(&plan.definition, configurations);
        let advice = advice(context, store.as_ref(), &plan, &design)?;
        let lints = &advice.lints;
        let cost = Cost::of(context, store.as_ref(), &plan, &recorded.missing)?;
        let fields = json!({
            "study": plan.name, "roles": design.roles, "trials": plan.trials, "lints": lints,
            "seconds": cost.seconds, "seconds_range": cost.range, "trial_seconds": cost.expected.as_ref().map(|e| e.trial_seconds),
            "at_most": cost.expected.as_ref().is_some_and(|e| e.at_most),
            "missing": recorded.missing.len(), "parallel": cost.parallel,
            "cost": cost.expected.as_ref().and_then(|e| cost.priced(e.trial_seconds)), "cost_range": cost.price_range(),
            "scientific_values": design.scientific_values,
            "configurations": design.configurations,
            "configurations_per_value": design.configurations_per_value,
            "given_left_out": design.given_left_out,
            "nuisance_dimensions": design.nuisance_dimensions,
            "points_per_dimension": design.points_per_dimension,
            "allowed": advice.overruled,
            "round": plan.definition.round,
            "stop_early": plan.definition.stop_early,
            "given": plan.definition.given,
        });
        let mut report = Report::new("plan", &fields).line(&format!(
            "{}: {} of {}, {} {}. Nothing was trained.",
            plan.name,
            counted(design.configurations as usize, "configuration"),
            written(&plan.definition.workload),
            plan.definition.objective.direction,
            plan.definition.objective.metric
        ));
        report = report.line(&match &plan.definition.question {
            Some(question) => format!("Question: {question}"),
            None => {
                "The study has no question. The line `question \"…\"` in a `%%sweep` says what it is to find out, and \
                     its report begins with it (Playbook D5)."
                    .into()
            }
        });
        if let Some(round) = plan.definition.round {
            report = report.line(&format!("Round: {round}"));
        }
        if !plan.definition.stop_early.is_none() {
            report = report.line(&format!(
                "Trials would be stopped early by the rule `{}`; the expected time is that without it.",
                plan.definition.stop_early
            ));
        }
        if let Some(note) = given_note(&plan.definition) {
            report = report.line(&note);
        }
        let mut rows = Rows::new(&["role", "hyperparameter", "values", "what this means"]).with_sentences();
        for role in &design.roles {
            rows.row(vec![
                role.role.to_string(),
                role.hyperparameter.clone(),
                role.distribution.clone(),
                role.caveat.clone().unwrap_or_default(),
            ]);
        }
        report = report.table(&rows);
        for line in recorded
            .note
            .into_iter()
            .chain(coverage(&plan, &design))
            .chain([cost.sentence()])
            .chain(cost.price_sentence())
            .chain(cost.trade_off(&plan))
        {
            report = report.line(&line);
        }
        for lint in lints {
            report = report.line(&format!("{}: {} (Playbook {})", lint.id, lint.message, lint.playbook));
        }
        if !lints.is_empty() {
            report = report.line("`--allow NAME` overrules a lint, and the study records that.");
        }
        if let Some(note) = advice.note() {
            report = report.line(&note);
        }
        report.show(&context.charts, output);
        Ok(())
    }
}

/// What the store has of the planned study.
struct Recorded {
    /// The numbers of the trials that the sweep would run.
    missing: Vec<u32>,
    note: Option<String>,
}

impl Recorded {
    fn of(store: Option<&Store>, plan: &mut SweepPlan) -> Result<Self> {
        let all: Vec<u32> = (1..=plan.trials).collect();
        let Some(store) = store else { return Ok(Self { missing: all, note: None }) };
        let Some(study) = store.study(&plan.name)? else { return Ok(Self { missing: all, note: None }) };
        let planned = plan.definition.clone();
        plan.definition = planned.clone().continuing(&study.definition);
        let workload = plan.definition.workload.clone();
        plan.definition.workload = workload::continued(store, &study.definition.workload, workload)?;
        let trials = store.trials(&study)?;
        let ended = trials.iter().filter(|trial| !trial.state.runs_again()).count();
        Ok(match plan_rerun(plan, &study, &trials) {
            Ok(Rerun::Train { numbers, redefine }) => {
                if redefine {
                    let planned = plan.definition.clone();
                    plan.definition = redefined(&study.definition, planned, configurations_of(&trials));
                }
                Self {
                    note: Some(format!(
                        "The study is recorded with {}; the sweep would run {} more.",
                        counted(ended, "trial"),
                        numbers.len()
                    )),
                    missing: numbers,
                }
            }
            Ok(Rerun::Anew { failed }) => {
                plan.definition = planned;
                let replaced = match failed {
                    0 => String::new(),
                    n => format!(" and replace {} of an earlier definition", counted(n, "failed trial")),
                };
                let note = format!("The study is recorded without a result. The sweep would begin it anew{replaced}.");
                Self { note: Some(note), missing: all }
            }
            Ok(Rerun::Show { missing: 0 }) => Self {
                note: Some("The study is recorded with all of these trials, so the sweep would train nothing.".into()),
                missing: vec![],
            },
            Ok(Rerun::Show { missing }) => Self {
                note: Some(format!(
                    "The study is recorded, and {} of these trials missing; the sweep would train nothing without \
                     `--resume`.",
                    if missing == 1 { "1 is".into() } else { format!("{missing} are") }
                )),
                missing: vec![],
            },
            Err(error) => Self {
                note: Some(format!("The sweep would not run: {}. {}", error.message, error.help.unwrap_or_default())),
                missing: vec![],
            },
        })
    }
}

/// Says how the configurations cover the space (Playbook D11).
fn coverage(plan: &SweepPlan, design: &Design) -> Option<String> {
    let seeds = match plan.definition.repeats {
        1 => String::new(),
        seeds => format!(", each with {seeds} seeds: {} trials", design.trials),
    };
    let given = match design.given_left_out {
        0 => "",
        1 => ", not counting the given one",
        _ => ", not counting the given ones",
    };
    let per_value = match (design.scientific_values, design.configurations_per_value) {
        (Some(1), _) | (_, None) if design.scientific_values.is_some() => None,
        (None, _) => Some("the scientific hyperparameter has a range, whose points %isolate gathers in buckets".into()),
        (Some(values), Some([fewest, most])) if fewest == most => {
            Some(format!("{fewest} for each of {values} scientific values{given}"))
        }
        (Some(values), Some([fewest, most])) => {
            let or = if most == fewest + 1 { "or" } else { "to" };
            Some(format!("{fewest} {or} {most} for each of {values} scientific values{given}"))
        }
        (Some(_), None) => None,
    };
    let parts: Vec<String> = per_value.into_iter().chain(points(design)).collect();
    let all = counted(design.configurations as usize, "configuration");
    let there = if design.configurations == 1 { "There is" } else { "There are" };
    Some(match parts.is_empty() {
        true => format!("{there} {all}{seeds}."),
        false => format!("{there} {all}{seeds}; {}.", parts.join("; ")),
    })
}

/// Says how many values of each nuisance hyperparameter a scientific value gets. None if one of them gets no
/// configuration: that is said already.
fn points(design: &Design) -> Option<String> {
    let points = design.points_per_dimension.filter(|points| *points > 0.0)?;
    let points = (10.0 * points).round() / 10.0;
    let noun = if points == 1.0 { "value" } else { "values" };
    let nuisance = counted(design.nuisance_dimensions, "nuisance hyperparameter");
    let each = if design.nuisance_dimensions == 1 { "it" } else { "each" };
    Some(format!("{nuisance}, so about {points} {noun} of {each}"))
}

/// What the missing trials will cost.
struct Cost {
    /// None if neither recorded trials nor `%throughput` tell.
    expected: Option<ExpectedTime>,
    /// Whether only the time of a step is known, which `%throughput` measured.
    of_steps: bool,
    parallel: usize,
    /// Wall time.
    seconds: Option<f64>,
    range: Option<[f64; 2]>,
    /// The steps of a trial, if all trials have the same and it is known.
    steps: Option<u64>,
    /// The price of one device for one hour, if the user has named it.
    price: Option<f64>,
}

impl Cost {
    fn of(context: &Context, store: Option<&Store>, plan: &SweepPlan, missing: &[u32]) -> Result<Self> {
        let run = RunContext::new(context, &plan.options)?;
        let (devices, _) = run.devices(context, &plan.definition.workload);
        let slots = Slots::of(context, &run, &devices);
        let known = match &plan.definition.workload {
            WorkloadReference::Command(_) => None,
            reference => workload::known(context)?.into_iter().find(|known| known.reference == *reference),
        };
        let description = known.map(|known| known.description);
        let mut proposals = expected_proposals(&plan.definition);
        let repeats = plan.definition.repeats.max(1);
        let wanted: Vec<Params> =
            missing.iter().filter_map(|number| proposals.get(u64::from((number - 1) / repeats))).collect();
        let steps = |params: &Params| value_of(params, "steps", description.as_ref())?.as_f64();
        let wanted: Vec<(Params, Option<f64>)> =
            wanted.into_iter().map(|params| (params.clone(), steps(&params))).collect();
        let mut timed = vec![];
        for study in store.map_or(Ok(vec![]), Store::studies)? {
            if study.definition.workload.is_same_workload(&plan.definition.workload)
                && let Some(store) = store
            {
                let times = store.times(&study)?;
                let counts_steps = !matches!(study.definition.workload, WorkloadReference::Command(_));
                let complete = store.trials(&study)?.into_iter().filter(|trial| trial.state == TrialState::Complete);
                timed.extend(complete.map(|trial| {
                    let measured = times.get(&trial.number).map(Vec::as_slice).unwrap_or_default();
                    let time = TrialTime::new(steps(&trial.params), trial.seconds, measured, counts_steps);
                    TimedTrial { params: trial.params, time }
                }));
            }
        }
        // The first one is the batch size.
        let shapes = description.iter().flat_map(|known| &known.hyperparameters);
        let names: Vec<&str> = ["batch_size"]
            .into_iter()
            .chain(shapes.filter(|h| h.changes_shapes && h.name != "batch_size").map(|h| h.name.as_str()))
            .collect();
        let decisive = |params: &Params| -> Vec<Option<String>> {
            names.iter().map(|name| value_of(params, name, description.as_ref()).map(|v| v.to_string())).collect()
        };
        let mut expected = expected_time(&wanted, &timed, &decisive);
        let of_steps = expected.is_none();
        if let (None, Some(store), Some(known)) = (&expected, store, &description) {
            expected = expected_time(&wanted, &timed_steps(store, &known.name)?, &decisive);
        }
        let parallel = slots.at_once().max(1);
        let rounds = |seconds: f64| seconds / parallel.min(wanted.len().max(1)) as f64;
        let all: Option<Vec<f64>> = wanted.iter().map(|(_, steps)| *steps).collect();
        let steps =
            all.filter(|all| all.windows(2).all(|pair| pair[0] == pair[1])).and_then(|all| all.first().copied());
        Ok(Self {
            steps: steps.map(|steps| steps as u64),
            seconds: expected.as_ref().map(|expected| rounds(expected.trial_seconds)),
            range: expected.as_ref().and_then(|expected| Some(expected.range?.map(rounds))),
            expected,
            of_steps,
            parallel,
            price: plan.options.price,
        })
    }

    fn sentence(&self) -> String {
        let at_once = counted(self.parallel, "trial");
        match (&self.expected, self.seconds, self.range) {
            (Some(expected), Some(seconds), _) if self.of_steps && expected.recorded > 0 => format!(
                "With {at_once} at a time the steps take about {}, as %throughput measured them. {} Evaluations come on \
                 top, and trials side by side may be slower.",
                duration(seconds),
                self.device_time(expected)
            ),
            (Some(expected), Some(seconds), _) if expected.recorded > 0 && expected.at_most => format!(
                "With {at_once} at a time this takes at most about {}, as {} of the same workload took. A trial \
                 that is measured only once does not tell how long its start takes, so that counts as time of steps. {}",
                duration(seconds),
                counted(expected.recorded, "recorded trial"),
                self.device_time(expected)
            ),
            (Some(expected), Some(seconds), range) if expected.recorded > 0 => format!(
                "With {at_once} at a time this takes about {}{}, as {} of the same workload took. {}",
                duration(seconds),
                range.map_or(String::new(), |[low, high]| format!(" ({} to {})", duration(low), duration(high))),
                counted(expected.recorded, "recorded trial"),
                self.device_time(expected)
            ),
            (Some(_), ..) => "No trial is to be run, so this costs nothing.".into(),
            _ => {
                "The time is not known: the store has neither a complete trial of this workload at this batch size nor \
                  a reliable measurement of %throughput. A sweep of one trial tells."
                    .into()
            }
        }
    }
}

impl Cost {
    /// How long the trials use a device.
    fn device_time(&self, expected: &ExpectedTime) -> String {
        format!("All trials together use a device for {}.", duration(expected.trial_seconds))
    }

    /// What so many seconds of one device cost. None without a price.
    fn priced(&self, seconds: f64) -> Option<f64> {
        Some(Costs::at_price(self.price?).of(seconds))
    }

    fn price_range(&self) -> Option<[f64; 2]> {
        let [low, high] = self.expected.as_ref()?.range?;
        Some([self.priced(low)?, self.priced(high)?])
    }

    /// What the trials cost, each of which trains on one device. None without a price.
    fn price_sentence(&self) -> Option<String> {
        let price = number(self.price?);
        let Some(expected) = &self.expected else {
            return Some("The cost is not known, because the time is not.".into());
        };
        if expected.recorded == 0 {
            return None;
        }
        let range = self.price_range().map(|range| range.map(number)).filter(|[low, high]| low != high);
        let range = range.map_or(String::new(), |[low, high]| format!(" ({low} to {high})"));
        let about = if expected.at_most { "at most about" } else { "about" };
        Some(format!(
            "At {price} for one device for one hour, that costs {about} {}{range}.",
            number(self.priced(expected.trial_seconds)?)
        ))
    }

    /// Says what other numbers of steps would mean (Playbook C4).
    fn trade_off(&self, plan: &SweepPlan) -> Option<String> {
        let (steps, trials) = (self.steps.filter(|steps| *steps > 1)?, plan.trials);
        Some(format!(
            "A trial has {steps} steps. With {} steps, about {} trials cost the same as these {trials}. More steps train \
             better and are easier to tune; but a number of steps is hard to lower once the schedule is tuned to it \
             (Playbook C4).",
            steps.div_ceil(2),
            2 * trials
        ))
    }
}

/// The time of a step at each batch size, as `%throughput` measured it last for a workload.
fn timed_steps(store: &Store, workload: &str) -> Result<Vec<TimedTrial>> {
    let points = last_throughput(store, workload)?.into_iter().flat_map(|(_, throughput)| throughput.points);
    Ok(points
        .filter_map(|point| {
            let params = Params::from([("batch_size".to_string(), Value::Int(i64::try_from(point.batch_size).ok()?))]);
            Some(TimedTrial { params, time: TrialTime::Steps { start_up: 0.0, per_step: point.seconds_per_step? } })
        })
        .collect())
}

fn value_of(params: &Params, name: &str, description: Option<&WorkloadDescription>) -> Option<Value> {
    let default = || description.and_then(|known| Some(known.hyperparameter(name)?.default.clone()));
    params.get(name).cloned().or_else(default)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_said_of_the_values_of_a_nuisance_hyperparameter_where_there_are_none() {
        let of = |fewest: usize| {
            points(&Design {
                roles: vec![],
                configurations: 4,
                trials: 4,
                scientific_values: Some(8),
                configurations_per_value: Some([fewest, 1]),
                given_left_out: 0,
                nuisance_dimensions: 1,
                points_per_dimension: Some(fewest as f64),
            })
        };
        assert_eq!(of(1).unwrap(), "1 nuisance hyperparameter, so about 1 value of it");
        assert_eq!(of(0), None);
    }
}
