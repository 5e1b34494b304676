//! What a sweep is going to do: its roles, how its configurations cover the space, and the time and the cost of its
//! trials. `%plan` shows all of it, and the head of a running sweep the short form.

use super::advice::last_throughput;
use super::plan::SweepPlan;
use super::run_context::RunContext;
use super::slots::Slots;
use crate::commands::workload;
use crate::error::Result;
use crate::magic::Context;
use crate::report::table::{duration, number};
use tunebook_analysis::{
    Costs, Design, ExpectedTime, TimedTrial, TrialTime, counted, expected_proposals, expected_time,
};
use tunebook_study::store::Store;
use tunebook_study::{Params, Role, TrialState, Value, WorkloadDescription, WorkloadReference};

/// The roles with what fixing means for the conclusions, in one line. [`Design`] has a caveat for each of them.
pub fn roles(plan: &SweepPlan) -> String {
    let all = plan.definition.space.hyperparameters();
    let fixed: Vec<String> =
        all.iter().filter(|h| !h.distribution.varies()).map(|h| format!("{} {}", h.label(), h.distribution)).collect();
    let varied = |role: Role| -> Vec<String> {
        let found = all.iter().filter(|h| h.role == role && h.distribution.varies());
        found.map(|h| format!("`{}`", h.label())).collect()
    };
    let scientific = varied(Role::Scientific);
    let mut parts = vec![];
    for (what, names) in [("scientific", &scientific), ("nuisance", &varied(Role::Nuisance))] {
        if !names.is_empty() {
            parts.push(format!("{what} {}", names.join(", ")));
        }
    }
    if !fixed.is_empty() {
        let these = if fixed.len() == 1 { "this value" } else { "these values" };
        let caveat = match scientific.as_slice() {
            [] => format!("the results hold for {these} only"),
            names => {
                let are = if names.len() == 1 { "is" } else { "are" };
                format!("{} {are} compared at {these} only", names.join(" and "))
            }
        };
        parts.push(format!("fixed {} ({caveat})", fixed.join(", ")));
    }
    format!("Roles: {}.", parts.join("; "))
}

/// The head of a sweep, before anything trains: the roles, then coverage, time and cost of the trials that are missing.
pub fn head((context, run): (&Context, &RunContext), store: &Store, plan: &SweepPlan, missing: &[u32]) -> Vec<String> {
    let design = tunebook_analysis::design(&plan.definition, plan.trials / plan.definition.repeats.max(1));
    // The sweep runs all the same if the time cannot be found.
    let cost = Cost::of((context, run), Some(store), plan, missing).ok();
    let cost = cost.map(|cost| [cost.short_sentence()].into_iter().chain(cost.price_sentence()));
    let trials = coverage(plan, &design).into_iter().chain(cost.into_iter().flatten()).collect::<Vec<_>>().join(" ");
    let roles = (!plan.definition.space.hyperparameters().is_empty()).then(|| roles(plan));
    roles.into_iter().chain((!trials.is_empty()).then_some(trials)).collect()
}

/// Says that a grid ends before the number of configurations that the user asked for. None if it does not.
pub fn end_of_grid(plan: &SweepPlan) -> Option<String> {
    let all = plan.definition.sampler.configurations(&plan.definition.space)?;
    let asked = plan.options.trials.filter(|asked| u64::from(*asked) > all)?;
    Some(format!(
        "The grid has {} and ends there: `--trials {asked}` runs no more than these.",
        counted(usize::try_from(all).ok()?, "configuration")
    ))
}

/// Says how the configurations cover the space (Playbook D11).
pub fn coverage(plan: &SweepPlan, design: &Design) -> Option<String> {
    let seeds = match plan.definition.repeats {
        1 => String::new(),
        seeds => format!(", each with {seeds} seeds: {} trials", design.trials),
    };
    let given = match design.given_left_out {
        0 => "",
        1 => ", not counting the given one",
        _ => ", not counting the given ones",
    };
    let mut names: Vec<&str> = vec![];
    for h in plan.definition.space.hyperparameters() {
        if h.role == Role::Scientific && h.distribution.varies() && !names.contains(&h.name.as_str()) {
            names.push(&h.name);
        }
    }
    let noun = if names.len() > 1 { "combinations of scientific values" } else { "scientific values" };
    let per_value = match (design.scientific_values, design.configurations_per_value) {
        (Some(1), _) | (_, None) if design.scientific_values.is_some() => None,
        (None, _) => Some("the scientific hyperparameter has a range, whose points %isolate gathers in buckets".into()),
        (Some(values), Some([fewest, most])) if fewest == most => {
            Some(format!("{fewest} for each of {values} {noun}{given}"))
        }
        (Some(values), Some([fewest, most])) => {
            let or = if most == fewest + 1 { "or" } else { "to" };
            Some(format!("{fewest} {or} {most} for each of {values} {noun}{given}"))
        }
        (Some(_), None) => None,
    };
    // Where a scientific value gets no configuration, there are no points to speak of.
    let lacks_some = matches!(design.configurations_per_value, Some([0, _]));
    let points = design.sparsest.as_ref().filter(|_| !lacks_some).map(|covered| {
        let points = (10.0 * covered.points).round() / 10.0;
        let noun = if points == 1.0 { "value" } else { "values" };
        let nuisance = counted(covered.dimensions, "nuisance hyperparameter");
        let each = if covered.dimensions == 1 { "it" } else { "each" };
        let of = match covered.value.as_ref().filter(|_| covered.dimensions_differ) {
            Some(value) => {
                let count = counted(covered.configurations, "configuration");
                format!("`{value}` is covered least, with {count} for ")
            }
            None => String::new(),
        };
        format!("{of}{nuisance}, so about {points} {noun} of {each}")
    });
    let parts: Vec<String> = per_value.into_iter().chain(points).collect();
    let all = counted(design.configurations as usize, "configuration");
    let there = if design.configurations == 1 { "There is" } else { "There are" };
    Some(match parts.is_empty() {
        true => format!("{there} {all}{seeds}."),
        false => format!("{there} {all}{seeds}; {}.", parts.join("; ")),
    })
}

/// What the missing trials will cost.
pub struct Cost {
    /// None if neither recorded trials nor `%throughput` tell.
    pub expected: Option<ExpectedTime>,
    /// Whether only the time of a step is known, which `%throughput` measured.
    of_steps: bool,
    /// What would tell the time, if nothing does.
    lacked: &'static str,
    pub parallel: usize,
    /// How long the sweep takes, in seconds.
    pub seconds: Option<f64>,
    pub range: Option<[f64; 2]>,
    /// The steps of a trial, if all trials have the same and it is known.
    steps: Option<u64>,
    /// The price of one device for one hour, if the user has named it.
    price: Option<f64>,
}

impl Cost {
    /// `missing` are the numbers of the trials that the sweep would run.
    pub fn of(
        (context, run): (&Context, &RunContext),
        store: Option<&Store>,
        plan: &SweepPlan,
        missing: &[u32],
    ) -> Result<Self> {
        let (devices, _) = run.devices(context, &plan.definition.workload);
        let slots = Slots::of(context, run, &devices);
        let known = match &plan.definition.workload {
            WorkloadReference::Command(_) => None,
            reference => workload::known(context)?.into_iter().find(|known| known.reference == *reference),
        };
        let description = known.map(|known| known.description);
        let mut proposals = expected_proposals(&plan.definition);
        let repeats = plan.definition.repeats.max(1);
        let steps = |params: &Params| value_of(params, "steps", description.as_ref())?.as_f64();
        let wanted: Vec<(Params, Option<f64>)> = missing
            .iter()
            .filter_map(|number| proposals.get(u64::from((number - 1) / repeats)))
            .map(|params| {
                let steps = steps(&params);
                (params, steps)
            })
            .collect();
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
            lacked: match (&plan.definition.workload, plan.definition.space.named("batch_size").next()) {
                (WorkloadReference::Command(_), None) => "no complete trial of this program",
                (WorkloadReference::Command(_), Some(_)) => "no complete trial of this program at this batch size",
                _ => {
                    "no complete trial of this workload at this batch size, and no reliable measurement of %throughput"
                }
            },
            parallel,
            price: plan.options.price,
        })
    }

    /// The time in a few words.
    pub fn short_sentence(&self) -> String {
        let at_once = counted(self.parallel, "trial");
        match (&self.expected, self.seconds) {
            (Some(expected), Some(seconds)) if expected.recorded > 0 => {
                let about = if expected.at_most { "at most about" } else { "about" };
                let of = if self.of_steps { "the steps take" } else { "this takes" };
                format!("With {at_once} at a time {of} {about} {}.", duration(seconds))
            }
            (Some(_), _) => "No trial is to be run.".into(),
            _ => "How long this takes is not known yet.".into(),
        }
    }

    /// The time, with what it is known from.
    pub fn sentence(&self) -> String {
        let at_once = counted(self.parallel, "trial");
        match (&self.expected, self.seconds, self.range) {
            (Some(expected), Some(seconds), _) if self.of_steps && expected.recorded > 0 => format!(
                "With {at_once} at a time the steps take about {}, as %throughput measured them. {} Evaluations come \
                 on top, and trials side by side may be slower.",
                duration(seconds),
                self.device_time(expected)
            ),
            (Some(expected), Some(seconds), _) if expected.recorded > 0 && expected.at_most => format!(
                "With {at_once} at a time this takes at most about {}, as {} of the same workload took. A trial with a \
                 single measurement does not show how long its start takes, so its whole time counts as time of steps. \
                 {}",
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
            _ => format!("The time is not known: the store has {}. Run a sweep of one trial to find out.", self.lacked),
        }
    }

    /// How long the trials use a device.
    fn device_time(&self, expected: &ExpectedTime) -> String {
        format!("All trials together use a device for {}.", duration(expected.trial_seconds))
    }

    /// What so many seconds of one device cost. None without a price.
    pub fn priced(&self, seconds: f64) -> Option<f64> {
        Some(Costs::at_price(self.price?).of(seconds))
    }

    pub fn price_range(&self) -> Option<[f64; 2]> {
        let [low, high] = self.expected.as_ref()?.range?;
        Some([self.priced(low)?, self.priced(high)?])
    }

    /// What the trials cost, each of which trains on one device. None without a price.
    pub fn price_sentence(&self) -> Option<String> {
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
    pub fn trade_off(&self, plan: &SweepPlan) -> Option<String> {
        let (steps, trials) = (self.steps.filter(|steps| *steps > 1)?, plan.trials);
        Some(format!(
            "A trial has {steps} steps. With {} steps, about {} trials cost the same as these {trials}. More steps \
             train better and are easier to tune; but a number of steps is hard to lower once the schedule is tuned to it \
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
    use crate::commands::sweep::plan::SweepOptions;
    use crate::testing::{context, definition};
    use tunebook_study::{Distribution, Hyperparameter};

    fn plan(declared: &[(&str, Role, Distribution)]) -> SweepPlan {
        let mut definition = definition();
        for (name, role, distribution) in declared {
            let (name, role, distribution) = (name.to_string(), *role, distribution.clone());
            definition.space.declare(Hyperparameter { name, role, distribution, conditions: vec![] }).unwrap();
        }
        SweepPlan { name: "s".into(), definition, trials: 6, options: SweepOptions::default(), worker: None }
    }

    #[test]
    fn the_roles_are_one_line_with_what_fixing_means() {
        let depth = ("depth", Role::Scientific, Distribution::Choice { values: vec![1.into(), 2.into()] });
        let steps = ("steps", Role::Fixed, Distribution::constant(20.into()));
        let decay = ("weight_decay", Role::Fixed, Distribution::constant(0.5.into()));
        assert_eq!(roles(&plan(&[])), "Roles: nuisance `lr`.");
        assert_eq!(
            roles(&plan(std::slice::from_ref(&steps))),
            "Roles: nuisance `lr`; fixed steps = 20 (the results hold for this value only)."
        );
        assert_eq!(
            roles(&plan(&[depth, steps, decay])),
            "Roles: scientific `depth`; nuisance `lr`; fixed steps = 20, weight_decay = 0.5 (`depth` is compared at \
             these values only)."
        );
    }

    #[test]
    fn configurations_are_counted_for_values_or_for_combinations() {
        let list = |name| (name, Role::Scientific, Distribution::Choice { values: vec![1.into(), 2.into()] });
        let of = |declared: &[(&str, Role, Distribution)]| {
            let plan = plan(declared);
            coverage(&plan, &tunebook_analysis::design(&plan.definition, 8)).unwrap()
        };
        let one = of(&[list("depth")]);
        assert!(one.contains("4 for each of 2 scientific values;"), "{one}");
        let two = of(&[list("depth"), list("width")]);
        assert!(two.contains("2 for each of 4 combinations of scientific values;"), "{two}");
    }

    #[test]
    fn a_grid_says_where_it_ends() {
        let mut plan = plan(&[]);
        let lr = Distribution::Choice { values: vec![0.1.into(), 0.2.into()] };
        plan.definition.space = tunebook_study::SearchSpace::new();
        let h = Hyperparameter { name: "lr".into(), role: Role::Nuisance, distribution: lr, conditions: vec![] };
        plan.definition.space.declare(h).unwrap();
        plan.options.trials = Some(3);
        assert_eq!(end_of_grid(&plan), None, "it is no grid");
        plan.definition.sampler = tunebook_study::sampler::SamplerKind::Grid;
        let said = "The grid has 2 configurations and ends there: `--trials 3` runs no more than these.";
        assert_eq!(end_of_grid(&plan).as_deref(), Some(said));
        plan.options.trials = Some(2);
        assert_eq!(end_of_grid(&plan), None);
    }

    #[test]
    fn the_time_of_the_head_is_short_and_is_unknown_without_trials() {
        let folder = tempfile::tempdir().unwrap();
        let context = context(folder.path());
        let line = tunebook_study::ProgramLine { words: vec!["train".into()], optional: vec![] };
        let mut plan = plan(&[]);
        plan.definition.workload = WorkloadReference::Command(line);
        let run = RunContext::new(&context, &plan.options).unwrap();
        let store = context.store().unwrap();
        let head = head((&context, &run), &store, &plan, &[1, 2, 3, 4, 5, 6]).join("\n");
        assert!(head.starts_with("Roles: nuisance `lr`.\nThere are 6 configurations; "), "{head}");
        assert!(head.ends_with("How long this takes is not known yet."), "{head}");
        let said = "The time is not known: the store has no complete trial of this program. Run a sweep of one trial \
                    to find out.";
        assert_eq!(Cost::of((&context, &run), Some(&store), &plan, &[1]).unwrap().sentence(), said);
    }
}
