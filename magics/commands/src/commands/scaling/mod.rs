//! `%scaling WORKLOAD` and `%%scaling NAME`: steps and time to a target against batch size, re-tuned at each (Playbook B7–B12).

mod live;
mod plan;
mod size;
mod target;
mod times;

use self::live::ScalingLive;
use self::plan::{CompareBy, ScalingPlan, batches, plan};
use self::size::Studies;
use self::times::{Times, params_of, step_times};
use crate::commands::sweep::plan::check_name;
use crate::commands::workload;
use crate::error::{MagicError, Result, Span};
use crate::host::{Interrupt, Output};
use crate::magic::{Body, Command, Context, Export, Invocation, Magic, Subject};
use crate::probing::{DEVICE, Prober, SET, TargetDevice, data_of, settings};
use crate::report::table::{self, Rows, number};
use crate::report::{Report, Status};
use crate::syntax::{Arguments, OptionSpec, SweepBody, Word, parse_body, parse_one_line};
use serde_json::json;
use tunebook_analysis::{BatchSizeStudy, Costs, NoFit, Regime, Scaling, scaling, steps_to_target};
use tunebook_charts::ScalingCaption;
use tunebook_study::WorkloadReference;

const fn option(name: &'static str, value: Option<&'static str>, help: &'static str) -> OptionSpec {
    OptionSpec { name, value, help }
}

/// See the module.
pub const MAGIC: Magic = Magic {
    name: "scaling",
    line: true,
    body: Some(Body::Declarations),
    usage: "%scaling WORKLOAD --target 'METRIC<=V' --batches A..B [options]\n\n\
        %%scaling NAME --target 'METRIC<=V' --batches A..B [options]\n…declarations of a sweep…",
    summary: "Steps and time to a target against batch size, re-tuned at each: the critical, the fastest, the cheapest size",
    help: "For each batch size a study of its own (`NAME.b64`) tunes the learning rate anew, or the nuisances of the body, by \
        quasi-random search. A trial ends when it reaches the target. A size counts with its best configuration, by the median \
        over its repeats; one whose best learning rate lies at the edge of its range, or where fewer than three configurations \
        reach the target, has its range widened once, and is not valid if that does not help.\n\n\
        Seconds are steps times the measured time of a step. The fit S(b) = S_min (1 + B/b) gives the critical batch size B, at \
        which twice the least steps are needed.\n\n\
        Interrupt it at any time; `--resume` goes on.",
    options: &[
        option("target", Some("M<=V"), "what is to be reached: 'valid/error<=0.05', 'accuracy>=0.9'"),
        option("batches", Some("A..B"), "A, 2A, 4A, … up to B; or a list: 16,64,256"),
        option("compare-by", Some("steps|epochs"), "give each size as many steps (default), or as many examples"),
        option("trials", Some("N"), "configurations of each size (default 16)"),
        option("repeats", Some("R"), "seeds of each configuration (default 3)"),
        SET,
        option("name", Some("NAME"), "its name (default: WORKLOAD-scaling)"),
        option("resume", None, "run what an interrupt or a crash left undone"),
        option("price", Some("P"), "of a device for an hour, in any currency"),
        option("upfront", Some("U"), "what has to be paid once before the fastest size can be used"),
        option("planned", Some("N"), "trials over which that is to be paid back"),
        option("seed", Some("S"), "seed of the proposals and of the trials (default 0)"),
        option("parallel", Some("N"), "trials at a time (default: one a GPU, or one a processor)"),
        DEVICE,
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
        Some(span) => of_cell(&arguments, span)?,
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

/// The name and the declarations of a cell.
fn of_cell(arguments: &Arguments, span: Span) -> Result<(Word, SweepBody)> {
    let name = arguments.required(0, "the scaling's name")?.clone();
    arguments.at_most(1)?;
    for (option, help) in
        [("name", "the name stands right after %%scaling"), ("set", "declare it in the body: `fixed hp = v`")]
    {
        if let Some(word) = arguments.option(option) {
            let message = format!("`--{option}` belongs to `%scaling WORKLOAD`");
            return Err(arguments.source.syntax_error(word.span.clone(), message, Some(help.into())));
        }
    }
    Ok((name, parse_body(&arguments.source, span)?))
}

fn costs(arguments: &Arguments) -> Result<Option<Costs>> {
    let amount = |name: &str| -> Result<Option<f64>> {
        let Some(word) = arguments.option(name) else { return Ok(None) };
        match word.text.parse::<f64>() {
            Ok(amount) if amount.is_finite() && amount > 0.0 => Ok(Some(amount)),
            _ => Err(arguments.invalid(word, format!("`--{name}` takes an amount above 0, not `{}`", word.text))),
        }
    };
    let (price, upfront, planned) = (amount("price")?, amount("upfront")?, arguments.small_count("planned", 1)?);
    for needed in ["upfront", "planned"] {
        let without = if needed == "upfront" { price.is_none() } else { upfront.is_none() };
        if let Some(word) = arguments.option(needed).filter(|_| without) {
            let with = if needed == "upfront" { "price" } else { "upfront" };
            return Err(arguments.invalid(word, format!("`--{needed}` says nothing without `--{with}`")));
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
        let mut asked = plan(&self.arguments, &self.name, &self.body, &workloads, &self.sizes[..1])?;
        let reference = &asked.sizes[0].definition.workload;
        let worker = workload::worker(context, reference, output, interrupt)?;
        let target = TargetDevice::new(context, &self.arguments);
        let prober = asked.workload.as_ref().filter(|workload| workload.has_pipeline()).map(|workload| Prober {
            worker: worker.clone().unwrap_or_else(|| context.settings.worker.clone()),
            workload: workload.description.name.clone(),
            params: params_of(&asked.sizes[0].definition.space),
            device: target.device.clone(),
            environment: context.added_environment(),
            interrupt,
        });
        let mut notes = vec![];
        let mut sizes = self.sizes.clone();
        if let Some(prober) = &prober {
            let (examples, _) = data_of(prober)?;
            sizes.retain(|size| *size <= examples);
            if sizes.len() < self.sizes.len() {
                notes.push(format!("There are {examples} training examples: larger sizes were left out."));
            }
            if sizes.len() < 2 {
                let word = self.arguments.option("batches").unwrap_or(&self.name);
                let message = format!("there are only {examples} training examples, which leaves nothing to compare");
                return Err(self.arguments.invalid(word, message));
            }
        }
        asked = plan(&self.arguments, &self.name, &self.body, &workloads, &sizes)?;
        let mut studies = Studies { context, plan: &asked, worker, may_run: true, interrupt };
        let (any, enough) = studies.recorded()?;
        studies.may_run = !any || !enough || asked.options.resume;
        let mut status = Status::new(output);
        let times = match (&asked.workload, &prober) {
            (Some(workload), Some(prober)) => {
                let timed = step_times(context, workload, &target, prober, &sizes, studies.may_run, &mut status);
                status.clear();
                timed?
            }
            _ => Times {
                doubts: vec!["its steps are its own and cannot be timed apart from it".into()],
                ..Times::default()
            },
        };
        let report = |live: &ScalingLive<'_>, notes: &[String]| self.report(&asked, live.sizes(), &times, notes);
        let mut live = ScalingLive::new(context, output, &asked, times.seconds.clone());
        let (mut larger, mut missing, mut interrupted) = (None, 0, false);
        // From the largest size down: what a size needs at most is known from the next larger one.
        for size in asked.sizes.iter().rev() {
            if times.too_large.contains(&size.batch_size) {
                let steps = steps_to_target(&[], &size.definition.objective, asked.target.value);
                let problem = Some("it does not fit into memory".to_string());
                live.done(BatchSizeStudy { batch_size: size.batch_size, steps, problem, seconds_per_step: None });
                continue;
            }
            let studied = match studies.study(size, larger, &mut live) {
                Ok(studied) => studied,
                Err(error) => {
                    let report = report(&live, std::slice::from_ref(&error.message));
                    live.fail(report);
                    return Err(error);
                }
            };
            missing += studied.missing;
            larger = studied.scaled.steps.steps.or(larger);
            live.done(studied.scaled);
            if studied.interrupted {
                interrupted = true;
                break;
            }
        }
        if interrupted {
            notes.push("Interrupted; `--resume` goes on.".into());
        } else if missing > 0 {
            notes.push(format!("{missing} trials are missing; `--resume` runs them."));
        } else if !studies.may_run {
            notes.push("Nothing was trained: all trials asked for are recorded.".into());
        }
        let report = report(&live, &notes);
        context.store()?.keep_conclusion("scaling", &asked.name, &report.result())?;
        live.end(report);
        if interrupted {
            let message =
                format!("the scaling `{}` was interrupted; what ended is recorded, `--resume` goes on", asked.name);
            return Err(MagicError::interrupted(message));
        }
        Ok(())
    }
}

impl ShowScaling {
    fn report(&self, plan: &ScalingPlan, sizes: &[BatchSizeStudy], times: &Times, notes: &[String]) -> Report {
        let costs = self.costs.clone().map(|costs| Costs { own_batch_size: plan.own, ..costs });
        let found = scaling(sizes, times.doubts.is_empty(), costs.as_ref());
        let workload = plan.sizes.first().map(|size| size.definition.workload.to_string()).unwrap_or_default();
        let fields = json!({
            "workload": workload, "name": plan.name, "target": plan.target.text(), "compare_by": plan.compare_by,
            "points": found.points, "fit": found.fit.as_ref().ok(), "fastest": found.fastest,
            "cheapest": found.cheapest, "payback": found.payback, "times_reliable": times.doubts.is_empty(),
        });
        let mut report = Report::new("scaling", &fields);
        for note in notes {
            report = report.line(note);
        }
        for sentence in sentences(plan, &found, times) {
            report = report.line(&sentence);
        }
        report = report.table(&rows(plan, &found));
        let target = plan.target.shown();
        let timed = times.doubts.is_empty() || times.seconds.is_empty();
        let note = match (plan.compare_by, timed) {
            (CompareBy::Steps, true) => "",
            (CompareBy::Steps, false) => "the times of steps are not to be relied upon",
            (CompareBy::Epochs, _) => "budget in epochs: only perfect scaling is probed",
        };
        report.chart(tunebook_charts::scaling(&ScalingCaption { name: &plan.name, target: &target, note }, &found))
    }
}

/// The conclusions in words.
fn sentences(plan: &ScalingPlan, found: &Scaling, times: &Times) -> Vec<String> {
    let mut said = vec![];
    if plan.compare_by == CompareBy::Epochs {
        said.push(
            "Each size was given as many examples as the others: only the regime of perfect scaling is probed, and a larger size \
             that needs more examples looks as if it failed (Playbook B9). `--compare-by steps` compares fairly."
                .to_string(),
        );
    }
    match &found.fit {
        Ok(fit) => {
            let interval =
                fit.interval.map_or(String::new(), |[a, b]| format!(" (95 %: {} to {})", number(a), number(b)));
            said.push(format!(
                "Critical batch size {}{interval}: there twice the least number of steps ({}) is needed; far below it twice the \
                 size halves the steps, far above it saves none.",
                number(fit.b_noise),
                number(fit.s_min)
            ));
        }
        Err(NoFit::TooFewSizes { valid }) => said.push(format!("{valid} valid sizes are too few for a fit.")),
        Err(NoFit::OutOfReach) => {
            said.push("The critical batch size is not within reach of the sizes that were tried.".into())
        }
    }
    let point = |size: Option<u64>| found.points.iter().find(|point| Some(point.batch_size) == size);
    if let Some(fastest) = point(found.fastest) {
        let seconds = fastest.seconds.map_or(String::new(), |seconds| format!(", {} s to the target", number(seconds)));
        said.push(format!("Fastest: {}{seconds}.", fastest.batch_size));
    } else if let Some(doubt) = times.doubts.first() {
        said.push(format!("No size is called the fastest: {doubt}."));
    }
    if let Some((cheapest, cost)) = point(found.cheapest).and_then(|point| Some((point, point.cost?))) {
        said.push(format!("Cheapest: {}, {} a training.", cheapest.batch_size, number(cost)));
    }
    if let Some(least) = found.fewest_examples {
        said.push(format!(
            "One trial trains on one device. Spread over devices in proportion to the batch size, a training would take device \
             time in proportion to its examples, which are fewest at {least} (Playbook B11)."
        ));
    }
    if let Some(payback) = &found.payback {
        let planned = match payback.pays {
            Some(true) => " The planned trials do.",
            Some(false) => " The planned trials do not.",
            None => "",
        };
        said.push(match payback.trainings {
            Some(trials) => format!(
                "From {} to {} a training costs {} less: {} upfront are paid back by {} trainings.{planned}",
                payback.from,
                payback.to,
                number(payback.saved_per_training),
                number(payback.upfront),
                number(trials)
            ),
            None => format!(
                "From {} to {} a training costs nothing less: {} upfront are never paid back.",
                payback.from,
                payback.to,
                number(payback.upfront)
            ),
        });
    }
    for point in found.points.iter().filter(|point| !point.valid) {
        if let Some(reason) = &point.reason {
            said.push(format!("{} says nothing: {reason}.", point.batch_size));
        }
    }
    said
}

fn rows(plan: &ScalingPlan, found: &Scaling) -> Rows {
    let mut headers = vec!["batch size", "steps", "95 %", "examples", "seconds", "regime", "slope", "reached", "best"];
    let priced = found.points.iter().any(|point| point.cost.is_some());
    if priced {
        headers.insert(5, "cost");
    }
    let mut rows = Rows::new(&headers);
    let one = |x: Option<f64>| x.map_or("–".into(), number);
    for p in &found.points {
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
            one(p.steps),
            p.interval.map_or("–".into(), |[a, b]| format!("{} to {}", number(a), number(b))),
            one(p.examples),
            one(p.seconds),
            regime,
            p.slope.map_or("–".into(), |slope| format!("{slope:.2}")),
            p.reached.to_string(),
            best,
        ];
        if priced {
            row.insert(5, one(p.cost));
        }
        rows.row(row);
    }
    rows
}
