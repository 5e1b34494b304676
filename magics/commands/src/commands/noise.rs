//! `%noise WORKLOAD`: estimates the gradient noise scale at several steps of one training run (McCandlish et al. 2018).

use crate::commands::workload::{self, Workload};
use crate::error::{ErrorName, MagicError, Result};
use crate::host::{Interrupt, Output};
use crate::magic::{Command, Context, Export, Invocation, Magic, Subject};
use crate::probing::{DEVICE, Prober, SET, TargetDevice, settings, space_of, values_of, worker};
use crate::report::table::{Rows, number, open_interval_or_dash};
use crate::report::{LiveChart, Report};
use crate::syntax::{Arguments, OptionSpec, PNG, Word};
use serde_json::json;
use tunebook_analysis::{NoisePoint, RunNoise, describes_noise_of, noise_point, run_noise, steps_to_measure};
use tunebook_study::Params;
use tunebook_study::probe::{ProbeAnswer, ProbeTask};

/// The number of examples in a small batch.
const SMALL_BATCH: u64 = 32;
/// The number of examples in a large batch, which is made of 16 small ones.
const LARGE_BATCH: u64 = 16 * SMALL_BATCH;
/// The default of `--pairs`: how many large batches are drawn at each step.
const DEFAULT_PAIRS: u64 = 200;
/// `--pairs` is at least this. With fewer pairs the ratio of the two estimates is too noisy.
const MIN_PAIRS: u64 = 100;

pub const MAGIC: Magic = Magic {
    name: "noise",
    line: true,
    body: None,
    usage: "%noise WORKLOAD [--set hp=v]… [--pairs N] [--device D]",
    example: "%noise digits_mlp --set steps=50 --pairs 100",
    summary: "Estimate the gradient noise scale during training: roughly the batch size above which additional \
        examples are wasted",
    help: "It trains once with the workload's hyperparameters and pauses at up to twelve steps, of which seven lie \
        at equal distances in the second half. At each of them it compares the squared norms of the gradients of small batches (32 \
        examples) and of large batches (512 examples, made of 16 small ones), drawn with replacement. This gives \
        unbiased estimates of |G|², the squared norm of the true gradient, and of tr Σ, the variance of the gradient \
        of one example. The noise scale is tr Σ / |G|², with numerator and denominator averaged separately. Where the \
        interval of |G|² reaches 0, the noise scale is not resolvable and only a lower bound is known. The noise scale \
        of the run is the median over the steps of the second half.\n\n\
        The noise scale describes plain gradient descent. For adam and similar optimizers it is a rough guide. With \
        `--every N`, a sweep logs an estimate in every trial, as the metric noise_scale.",
    options: &[
        SET,
        OptionSpec {
            name: "pairs",
            value: Some("N"),
            help: "number of large batches at each step (default: 200, at least 100)",
        },
        DEVICE,
        PNG,
    ],
    subject: Subject::Workload,
    export: Export::Comment,
    parse,
};

struct ShowNoise {
    arguments: Arguments,
    settings: Vec<Word>,
    pairs: u64,
}

fn parse(Invocation { arguments, .. }: Invocation) -> Result<Box<dyn Command>> {
    let settings = settings(&arguments)?;
    let pairs = arguments.count("pairs", MIN_PAIRS)?.unwrap_or(DEFAULT_PAIRS);
    Ok(Box::new(ShowNoise { arguments, settings, pairs }))
}

impl Command for ShowNoise {
    fn run(self: Box<Self>, context: &Context, output: &dyn Output, interrupt: &Interrupt) -> Result<()> {
        let workloads = workload::known(context)?;
        let word = &self.settings[0];
        let workload = Workload::named(&word.text, &workloads, &self.arguments.source, &word.span)?;
        let space = space_of(&self.arguments, &self.settings, &workloads, &[])?;
        let params = values_of(&self.arguments, &self.settings, &space)?;
        let target = TargetDevice::new(context, &self.arguments, [&params])?;
        let value = |name: &str| {
            let default = || workload.description.hyperparameter(name).map(|h| h.default.clone());
            params.get(name).cloned().or_else(default)
        };
        let steps = value("steps").and_then(|steps| u64::try_from(steps.as_i64()?).ok());
        let Some(last) = steps.filter(|_| workload.has_pipeline()) else {
            let message = format!(
                "`{}` is a training function with its own loop, so it cannot be paused for measurements",
                word.text
            );
            let help = "choose a workload with the `Workload` trait; %workloads lists all".to_string();
            return Err(self.arguments.source.error(ErrorName::NoAnswer, word.span.clone(), message, Some(help)));
        };
        let optimizer = value("optimizer").map_or("its optimizer".into(), |value| value.to_string());
        let prober = Prober {
            worker: worker(context, workload, output, interrupt)?,
            workload: word.text.clone(),
            params: params.clone(),
            device: target.device.clone(),
            environment: context.added_environment(),
            beside: context.background.names(),
            interrupt,
        };
        let at = steps_to_measure(last.max(1));
        let task = ProbeTask::Noise { at: at.clone(), pairs: self.pairs, small: SMALL_BATCH, large: LARGE_BATCH };
        let mut live = LiveChart::new(&context.charts, output);
        let draw = |points: &[NoisePoint]| {
            let line = format!("{}: {} of {} steps measured", word.text, points.len(), at.len());
            (tunebook_charts::noise(&word.text, &optimizer, points, &run_noise(points)), line)
        };
        let (chart, line) = draw(&[]);
        live.show(&chart, &line);
        let mut points: Vec<NoisePoint> = vec![];
        let answers = prober.ask(task, &mut |answers| {
            let before = points.len();
            points.extend(points_of(answers).skip(before));
            if points.len() > before && live.is_due() {
                live.push(|| draw(&points));
            }
        });
        let mut diverged = None;
        let problem = match answers {
            Ok(answers) => {
                points = points_of(&answers).collect();
                diverged = answers.iter().find_map(|answer| match answer {
                    ProbeAnswer::Diverged { reason } => Some(reason.clone()),
                    _ => None,
                });
                answers.into_iter().find_map(|answer| match answer {
                    ProbeAnswer::Failed { reason } | ProbeAnswer::OutOfMemory { reason, .. } => {
                        Some(prober.cannot("measured", &reason))
                    }
                    _ => None,
                })
            }
            Err(error) => Some(error),
        };
        let interrupted = problem.as_ref().is_some_and(|error| error.name == ErrorName::Interrupted);
        let run = if diverged.is_some() { RunNoise::default() } else { run_noise(&points) };
        let chart = tunebook_charts::noise(&word.text, &optimizer, &points, &run);
        let ended = Ended { run, diverged, problem: problem.as_ref() };
        let report = report(&word.text, &params, &optimizer, &points, &ended).chart(chart);
        if ended.diverged.is_none() && problem.is_none() {
            context.store()?.keep_conclusion(
                "noise_scale",
                &json!([workload.reference, params]).to_string(),
                &report.result(),
            )?;
            context.keep_shown(self.arguments.source.text(), &word.text, &report)?;
        }
        live.end(report, problem.is_none() || interrupted);
        problem.map_or(Ok(()), Err)
    }
}

fn points_of(answers: &[ProbeAnswer]) -> impl Iterator<Item = NoisePoint> {
    answers.iter().filter_map(|answer| match answer {
        ProbeAnswer::Noise { step, pairs } => Some(noise_point(*step, pairs, SMALL_BATCH as f64, LARGE_BATCH as f64)),
        _ => None,
    })
}

/// How the measurement of a run ended.
struct Ended<'a> {
    /// The noise scale of the run; nothing if the run diverged.
    run: RunNoise,
    /// How it is known that the run diverged, if it did.
    diverged: Option<String>,
    problem: Option<&'a MagicError>,
}

fn report(workload: &str, params: &Params, optimizer: &str, points: &[NoisePoint], ended: &Ended<'_>) -> Report {
    let Ended { run, diverged, problem } = ended;
    let fields = json!({
        "workload": workload, "params": params, "points": points,
        "critical_batch_size": run.critical_batch_size, "interval": run.interval,
        "diverged": diverged,
        "definition": "the median over the measured steps of the second half of training",
    });
    let mut report = Report::new("noise_scale", &fields);
    if let Some(problem) = problem {
        report = report.line(&problem.message);
    }
    let [from, to] = run.steps.unwrap_or([0, 0]);
    let over = format!("the median over {} steps from {from} to {to}", run.measured);
    let at_least = run.interval.and_then(|[low, _]| low);
    let meaning = "Far below this batch size, doubling the batch size halves the steps. Far above it, additional \
        examples are wasted.";
    report = report.line(&match (run.critical_batch_size, at_least) {
        _ if diverged.is_some() => format!(
            "The run diverged ({}), so it has no noise scale. The earlier measurements say nothing about a run that \
             learns. Choose another learning rate, for example `--set lr=…` with the value of a complete trial.",
            diverged.as_deref().map_or("", |reason| reason.strip_prefix("diverged: ").unwrap_or(reason))
        ),
        (Some(median), _) => format!(
            "Noise scale of the run: {} examples (95 %: {}), {over}. {meaning}",
            number(median),
            open_interval_or_dash(run.interval)
        ),
        (None, _) if points.is_empty() => "The noise scale was measured at no step.".into(),
        (None, Some(low)) => format!(
            "Noise scale of the run: at least {} examples (95 %). It is {over}. At {} of these steps the noise of the \
             gradient hides the gradient itself. More `--pairs` would give a value. {meaning}",
            number(low),
            run.unresolved
        ),
        (None, None) => format!(
            "The noise scale is not known: at {} of {} steps from {from} to {to}, the noise of the gradient hides the \
             gradient itself. More `--pairs` would give a value.",
            run.unresolved, run.measured
        ),
    });
    if !describes_noise_of(optimizer) {
        report = report
            .line(&format!("The noise scale describes plain gradient descent; for {optimizer} it is a rough guide."));
    }
    let mut rows = Rows::new(&["step", "noise scale", "95 %", "|G|²", "tr Σ"]);
    for p in points {
        rows.row(vec![
            p.step.to_string(),
            p.b_simple.map_or("not resolvable".into(), number),
            open_interval_or_dash(p.interval),
            number(p.g_squared),
            number(p.tr_sigma),
        ]);
    }
    report.table(&rows)
}
