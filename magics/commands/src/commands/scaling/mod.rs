//! `%scaling WORKLOAD` and `%%scaling NAME`: measures how many steps and how much time each batch size needs to reach a
//! target, tuned again for each size (Playbook B7–B12).

mod display;
mod plan;
mod size;
mod step_times;
mod target;

use self::display::ScalingDisplay;
use self::plan::{CompareBy, ScalingPlan, batches, plan};
use self::size::SizeTuner;
use self::step_times::{StepTimes, step_times, timed_params};
use crate::commands::sweep::plan::check_name;
use crate::commands::workload;
use crate::error::{MagicError, Result, Span};
use crate::host::{Interrupt, Output};
use crate::magic::{Body, Command, Context, Export, Invocation, Magic, Subject};
use crate::probing::{DEVICE, Prober, SET, TargetDevice, data_of, settings};
use crate::report::table::{self, Rows, number, number_or_dash, open_interval_or_dash};
use crate::report::{Report, Status};
use crate::syntax::{Arguments, PNG, PRICE, SweepBody, Word, option, parse_body, parse_one_line};
use serde_json::json;
use tunebook_analysis::{BatchSizeStudy, Costs, NoFit, Regime, Scaling, scaling, steps_to_target};
use tunebook_charts::ScalingCaption;
use tunebook_study::WorkloadReference;

pub const MAGIC: Magic = Magic {
    name: "scaling",
    line: true,
    body: Some(Body::Declarations),
    usage: "%scaling WORKLOAD --target 'METRIC<=V' --batches A..B [options]\n\n\
        %%scaling NAME --target 'METRIC<=V' --batches A..B [options]\n…declarations of a sweep…",
    example: "%scaling digits_mlp --target 'valid/error<=0.3' --batches 32,128 --trials 3 --set steps=200 --set eval_every=10",
    summary: "How many steps and how much time each batch size needs to reach a target, with the learning rate tuned \
        for each size",
    help: "Each batch size has its own study (`NAME.b64`). It tunes the learning rate, or the nuisances of the body, \
        by quasi-random search. A trial ends when it reaches the target. The result for a size is that of its best \
        configuration, by the median over its repeats. If the best learning rate is at an edge of its range, or if \
        fewer than three configurations reach the target, the range is widened once; if that does not help, the size \
        is not valid.\n\n\
        Seconds are steps times the measured time of a step. The fit S(b) = S_min (1 + B/b) gives the critical batch \
        size B, at which twice the least number of steps is needed.\n\n\
        You can interrupt it at any time; `--resume` continues.",
    options: &[
        option("target", Some("M<=V"), "the target: 'valid/error<=0.05', 'accuracy>=0.9'"),
        option("batches", Some("A..B"), "the batch sizes A, 2A, 4A, … up to B, or a list: 16,64,256"),
        option(
            "compare-by",
            Some("steps|epochs"),
            "give each size as many steps as the others (default), or as many examples",
        ),
        option("trials", Some("N"), "configurations for each size (default: 16)"),
        option("repeats", Some("R"), "seeds for each configuration (default: 3)"),
        SET,
        option("name", Some("NAME"), "name of the scaling (default: WORKLOAD-scaling)"),
        option("resume", None, "run the trials that are missing, for example after an interrupt"),
        option("accept-changes", None, "run more trials although the program or its files have changed"),
        PRICE,
        option("upfront", Some("U"), "what must be paid once before the fastest size can be used"),
        option("planned", Some("N"), "planned number of trainings; the result says whether they pay back --upfront"),
        option("seed", Some("S"), "seed of the proposals and of the trials (default: 0)"),
        option(
            "parallel",
            Some("N"),
            "trials that run at the same time (default: one on each GPU, or on each processor if there is no GPU)",
        ),
        DEVICE,
        PNG,
    ],
    subject: Subject::Workload,
    export: Export::Comment,
    parse,
};

struct ShowScaling {
    arguments: Arguments,
    name: Word,
    body: SweepBody,
    sizes: Vec<u64>,
    costs: Option<Costs>,
}

fn parse(Invocation { arguments, body, .. }: Invocation) -> Result<Box<dyn Command>> {
    let (name, body) = match body {
        Some(span) => read_cell(&arguments, span)?,
        None => {
            let settings = settings(&arguments)?;
            let default = Word { text: format!("{}-scaling", settings[0].text), ..settings[0].clone() };
            (arguments.option("name").cloned().unwrap_or(default), parse_one_line(&arguments.source, &settings)?)
        }
    };
    check_name(&arguments.source, &name)?;
    let sizes = batches(&arguments)?;
    let costs = costs(&arguments)?;
    Ok(Box::new(ShowScaling { arguments, name, body, sizes, costs }))
}

/// Reads the name and the declarations of a cell.
fn read_cell(arguments: &Arguments, span: Span) -> Result<(Word, SweepBody)> {
    let name = arguments.required(0, "the scaling's name")?.clone();
    arguments.at_most(1)?;
    for (option, help) in
        [("name", "write the name directly after %%scaling"), ("set", "declare it in the body: `fixed hp = v`")]
    {
        if let Some(word) = arguments.option(option) {
            let message = format!("`--{option}` belongs to `%scaling WORKLOAD`");
            return Err(arguments.source.syntax_error(word.span.clone(), message, Some(help.into())));
        }
    }
    Ok((name, parse_body(&arguments.source, span)?))
}

fn costs(arguments: &Arguments) -> Result<Option<Costs>> {
    let (price, upfront) = (arguments.amount("price")?, arguments.amount("upfront")?);
    let planned = arguments.small_count("planned", 1)?;
    for (option, needed) in [("upfront", "price"), ("planned", "upfront")] {
        if let Some(word) = arguments.option(option).filter(|_| !arguments.has(needed)) {
            return Err(arguments.invalid(word, format!("`--{option}` needs `--{needed}`")));
        }
    }
    Ok(price.map(|price| Costs {
        price_per_hour: Some(price),
        upfront,
        planned_trainings: planned,
        own_batch_size: None,
    }))
}

impl Command for ShowScaling {
    fn run(self: Box<Self>, context: &Context, output: &dyn Output, interrupt: &Interrupt) -> Result<()> {
        let is_program =
            self.body.workload.as_ref().is_some_and(|w| matches!(w.value, WorkloadReference::Command { .. }));
        let workloads = if is_program { vec![] } else { workload::known(context)? };
        // The worker knows the number of examples, which limits the sizes. It is found from a plan of one size.
        let first = plan(&self.arguments, &self.name, &self.body, &workloads, &self.sizes[..1])?;
        let reference = &first.sizes[0].definition.workload;
        let params = timed_params(&first.sizes[0].definition.space);
        let pipeline = first.workload.as_ref().filter(|workload| workload.has_pipeline());
        let target = TargetDevice::new(context, &self.arguments, pipeline.map(|_| &params))?;
        let worker = workload::worker(context, reference, output, interrupt)?;
        let prober = pipeline.map(|workload| Prober {
            worker: worker.clone().unwrap_or_else(|| context.settings.worker.clone()),
            workload: workload.description.name.clone(),
            params,
            device: target.device.clone(),
            environment: context.added_environment(),
            beside: context.background.names(),
            interrupt,
        });
        let mut notes = vec![];
        let mut sizes = self.sizes.clone();
        if let Some(prober) = &prober {
            let (examples, _) = data_of(prober)?;
            sizes.retain(|size| *size <= examples);
            if sizes.len() < self.sizes.len() {
                notes.push(format!("Sizes above the {examples} training examples were left out."));
            }
            if sizes.len() < 2 {
                let word = self.arguments.option("batches").unwrap_or(&self.name);
                let message = format!("there are only {examples} training examples, so there is nothing to compare");
                let help = format!("name at least two sizes up to {examples}");
                return Err(self.arguments.invalid(word, message).with_help(help));
            }
        }
        let plan = plan(&self.arguments, &self.name, &self.body, &workloads, &sizes)?;
        let mut tuner = SizeTuner { context, plan: &plan, worker, may_run: true, interrupt };
        let recorded = tuner.recorded_studies()?;
        tuner.may_run = !recorded.any || !recorded.enough || plan.options.resume;
        let mut status = Status::new(output);
        let times = match (&plan.workload, &prober) {
            (Some(workload), Some(prober)) => {
                let times = step_times(context, workload, &target, prober, &sizes, tuner.may_run, &mut status);
                status.clear();
                times?
            }
            (workload, _) => {
                let kind = if workload.is_some() { "training function" } else { "program" };
                let doubt = format!("a {kind} has its own loop, so its steps cannot be timed");
                StepTimes { doubts: vec![doubt], ..StepTimes::default() }
            }
        };
        // After an interrupt, what is recorded is still shown.
        tuner.may_run &= !times.interrupted;
        let report = |display: &ScalingDisplay<'_>, notes: &[String]| {
            self.report(&plan, display.finished_sizes(), &times, notes)
        };
        let mut display = ScalingDisplay::new(context, output, &plan, times.seconds.clone());
        let (mut larger, mut missing, mut interrupted) = (None, 0, times.interrupted);
        // The largest size comes first, because a size needs at most twice the steps of the next larger one.
        for size in plan.sizes.iter().rev() {
            if times.too_large.contains(&size.batch_size) {
                let steps = steps_to_target(&[], &size.definition.objective, plan.target.value);
                let problem = Some("it does not fit into memory".to_string());
                let study = BatchSizeStudy { batch_size: size.batch_size, steps, problem, seconds_per_step: None };
                display.finish_size(study);
                continue;
            }
            let tuned = match tuner.tune(size, larger, &mut display) {
                Ok(tuned) => tuned,
                Err(error) => {
                    let report = report(&display, std::slice::from_ref(&error.message));
                    display.fail(report);
                    return Err(error);
                }
            };
            missing += tuned.missing;
            larger = tuned.study.steps.steps.or(larger);
            display.finish_size(tuned.study);
            if tuned.interrupted {
                interrupted = true;
                break;
            }
        }
        if interrupted {
            notes.push("Interrupted; `--resume` continues.".into());
        } else if missing > 0 {
            notes.push(format!("{missing} trials are missing; `--resume` runs them."));
        } else if !tuner.may_run {
            notes.push("Nothing was trained: all requested trials are recorded.".into());
        }
        let report = report(&display, &notes);
        if !times.interrupted {
            context.store()?.keep_conclusion("scaling", &plan.name, &report.result())?;
            context.keep_shown(self.arguments.source.text(), &plan.name, &report)?;
        }
        display.end(report);
        if interrupted {
            let message = format!(
                "the scaling `{}` was interrupted; trials that ended are recorded, `--resume` continues",
                plan.name
            );
            return Err(MagicError::interrupted(message));
        }
        Ok(())
    }
}

impl ShowScaling {
    fn report(&self, plan: &ScalingPlan, sizes: &[BatchSizeStudy], times: &StepTimes, notes: &[String]) -> Report {
        let costs = self.costs.clone().map(|costs| Costs { own_batch_size: plan.default_batch_size, ..costs });
        let result = scaling(sizes, times.doubts.is_empty(), costs.as_ref());
        let workload = plan.sizes.first().map(|size| size.definition.workload.to_string()).unwrap_or_default();
        let fields = json!({
            "workload": workload, "name": plan.name, "target": plan.target.text(), "compare_by": plan.compare_by,
            "points": result.points, "fit": result.fit.as_ref().ok(), "fastest": result.fastest,
            "cheapest": result.cheapest, "fastest_set": result.fastest_set, "cheapest_set": result.cheapest_set,
            "payback": result.payback, "times_reliable": times.doubts.is_empty(),
        });
        let mut report = Report::new("scaling", &fields);
        for note in notes {
            report = report.line(note);
        }
        for sentence in conclusions(plan, &result, times) {
            report = report.line(&sentence);
        }
        if self.costs.is_some() && result.points.iter().all(|point| point.cost.is_none()) {
            report = report.line("No cost can be given with `--price`, because the times of steps are not known.");
        }
        report = report.table(&rows(plan, &result));
        let target = plan.target.shown();
        let shows_doubtful_times = !times.doubts.is_empty() && !times.seconds.is_empty();
        let note = match plan.compare_by {
            CompareBy::Steps if shows_doubtful_times => format!("the times of steps are in doubt: {}", times.doubts[0]),
            CompareBy::Steps => String::new(),
            CompareBy::Epochs => "the same number of examples at each size: fair only under perfect scaling".into(),
        };
        report.chart(tunebook_charts::scaling(
            &ScalingCaption { name: &plan.name, target: &target, note: &note },
            &result,
        ))
    }
}

/// Returns the conclusions in words.
fn conclusions(plan: &ScalingPlan, result: &Scaling, times: &StepTimes) -> Vec<String> {
    let mut sentences = vec![];
    if plan.compare_by == CompareBy::Epochs {
        sentences.push(
            "Each size got as many examples as the others. This is fair only as long as scaling is perfect: a larger \
             size that needs more examples seems to fail (Playbook B9). `--compare-by steps` compares all sizes fairly."
                .to_string(),
        );
    }
    match &result.fit {
        Ok(fit) => {
            let interval =
                fit.interval.map_or(String::new(), |[a, b]| format!(" (95 %: {} to {})", number(a), number(b)));
            sentences.push(format!(
                "Critical batch size: {}{interval}. At this size, training needs twice the least number of steps ({}). \
                 Far below it, doubling the size halves the steps. Far above it, doubling the size saves no steps.",
                number(fit.b_noise),
                number(fit.s_min)
            ));
        }
        Err(NoFit::TooFewSizes { valid }) => {
            sentences.push(format!("The critical batch size needs three valid sizes; there are {valid}."))
        }
        Err(NoFit::OutOfReach) => sentences
            .push("The critical batch size is more than a factor of four outside of the sizes that were tried.".into()),
    }
    let point = |size: Option<u64>| result.points.iter().find(|point| Some(point.batch_size) == size);
    if let Some(fastest) = point(result.fastest) {
        let seconds = fastest.seconds.map_or(String::new(), |seconds| format!(", {} s to the target", number(seconds)));
        let others = others(fastest.batch_size, &result.fastest_set);
        sentences.push(format!("Fastest: {}{seconds}.{others}", fastest.batch_size));
    } else if let Some(doubt) = times.doubts.first() {
        sentences.push(format!("The fastest size is not known: {doubt}."));
    }
    if let Some((cheapest, cost)) = point(result.cheapest).and_then(|point| Some((point, point.cost?))) {
        let others = others(cheapest.batch_size, &result.cheapest_set);
        let (size, cost) = (cheapest.batch_size, number(cost));
        sentences.push(format!("Cheapest: {size}, with a cost of {cost} for one training.{others}"));
    }
    if let Some(least) = result.fewest_examples {
        sentences.push(format!(
            "Each trial trains on one device. If a training is spread over devices in proportion to its batch size, \
             its total device time is proportional to its examples. These are fewest at batch size {least} (Playbook \
             B11)."
        ));
    }
    if let Some(payback) = &result.payback {
        let planned = match payback.pays {
            Some(true) => " The planned trainings pay it back.",
            Some(false) => " The planned trainings do not pay it back.",
            None => "",
        };
        sentences.push(match payback.trainings {
            Some(trainings) => format!(
                "With batch size {} instead of {}, a training costs {} less, so {} trainings pay back {}.{planned}",
                payback.to,
                payback.from,
                number(payback.saved_per_training),
                number(trainings),
                number(payback.upfront)
            ),
            None => format!(
                "With batch size {} instead of {}, a training does not cost less, so {} is not paid back.",
                payback.to,
                payback.from,
                number(payback.upfront)
            ),
        });
    }
    for point in result.points.iter().filter(|point| !point.valid) {
        if let Some(reason) = &point.reason {
            sentences.push(format!("Batch size {} is not valid: {reason}.", point.batch_size));
        }
    }
    sentences
}

/// Returns a sentence that names the sizes that cannot be told apart from the best one.
fn others(best: u64, set: &[u64]) -> String {
    let names: Vec<String> = set.iter().filter(|size| **size != best).map(u64::to_string).collect();
    match names.is_empty() {
        true => {
            " It differs from every other size: its lead is above 2.9 standard deviations of the difference.".into()
        }
        false => format!(" Within the noise of steps and times, it cannot be distinguished from {}.", names.join(", ")),
    }
}

fn rows(plan: &ScalingPlan, result: &Scaling) -> Rows {
    let mut headers = vec!["batch size", "steps", "95 %", "examples", "seconds", "regime", "slope", "reached", "best"];
    let priced = result.points.iter().any(|point| point.cost.is_some());
    if priced {
        headers.insert(5, "cost");
    }
    let mut rows = Rows::new(&headers);
    for p in &result.points {
        let regime = match (p.valid, p.regime) {
            (false, _) => "not valid".to_string(),
            (true, None) => "–".to_string(),
            (true, Some(Regime::PerfectScaling)) => "perfect".into(),
            (true, Some(Regime::DiminishingReturns)) => "diminishing".into(),
            (true, Some(Regime::MaximalDataParallelism)) => "flat".into(),
        };
        let definition = plan.sizes.iter().find(|size| size.batch_size == p.batch_size).map(|size| &size.definition);
        let best = definition.zip(p.params.as_ref()).map_or("–".into(), |(d, params)| table::params(d, params));
        let mut row = vec![
            p.batch_size.to_string(),
            number_or_dash(p.steps),
            // From one step on is no knowledge.
            open_interval_or_dash(p.interval.filter(|ends| !matches!(ends, [None | Some(..=1.0), None]))),
            number_or_dash(p.examples),
            number_or_dash(p.seconds),
            regime,
            p.slope.map_or("–".into(), |slope| format!("{slope:.2}")),
            p.reached.to_string(),
            best,
        ];
        if priced {
            row.insert(5, number_or_dash(p.cost));
        }
        rows.row(row);
    }
    rows
}
