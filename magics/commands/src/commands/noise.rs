//! `%noise WORKLOAD`: the gradient noise scale along training (McCandlish et al. 2018).

use crate::commands::workload::{self, Workload};
use crate::error::{ErrorName, MagicError, Result};
use crate::host::{Interrupt, Output};
use crate::magic::{Command, Context, Export, Invocation, Magic, Subject};
use crate::probing::{DEVICE, Prober, SET, TargetDevice, settings, space_of, values_of, worker};
use crate::report::table::{Rows, number};
use crate::report::{LiveChart, Report};
use crate::syntax::{Arguments, OptionSpec, Word};
use serde_json::json;
use tunebook_analysis::{NoisePoint, describes_noise_of, mean_noise_scale, noise_point, steps_to_measure};
use tunebook_study::Params;
use tunebook_study::probe::{ProbeAnswer, ProbeTask};

/// Examples of a small batch; a large one is made up of [`PARTS`] of them.
const SMALL: u64 = 32;
const PARTS: u64 = 16;
/// Large batches at each step, at least: the ratio of fewer says little.
const PAIRS: u64 = 200;
const LEAST_PAIRS: u64 = 100;

/// See the module.
pub const MAGIC: Magic = Magic {
    name: "noise",
    line: true,
    body: None,
    usage: "%noise WORKLOAD [--set hp=v]… [--pairs N] [--device D]",
    summary: "Gradient noise scale over training: roughly the batch size at which examples begin to be wasted",
    help: "Trains once with the workload's hyperparameters and pauses at ten steps, early ones more densely. There it compares the \
        squared norms of the gradients of small batches (32 examples) and of large ones (512, made up of 16 small ones; drawn \
        with replacement), which gives unbiased estimates of |G|², the squared norm of the true gradient, and of tr Σ, the variance \
        of the gradient of one example. Their ratio is the noise scale; numerator and denominator are averaged apart. Where |G|² \
        does not stand out of the noise it is not resolvable, and null.\n\n\
        It describes plain gradient descent; with adam and its kin it is rough. `--every N` of a sweep logs an estimate with \
        every trial, as the metric noise_scale.",
    options: &[
        SET,
        OptionSpec { name: "pairs", value: Some("N"), help: "large batches at each step (default 200, at least 100)" },
        DEVICE,
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
    let pairs = arguments.count("pairs", LEAST_PAIRS)?.unwrap_or(PAIRS);
    Ok(Box::new(ShowNoise { arguments, settings, pairs }))
}

impl Command for ShowNoise {
    fn run(self: Box<Self>, context: &Context, output: &dyn Output, interrupt: &Interrupt) -> Result<()> {
        let workloads = workload::known(context)?;
        let word = &self.settings[0];
        let workload = Workload::named(&word.text, &workloads, &self.arguments.source, &word.span)?;
        let space = space_of(&self.arguments, &self.settings, &workloads, &[])?;
        let params = values_of(&self.arguments, &self.settings, &space)?;
        let target = TargetDevice::new(context, &self.arguments);
        let value = |name: &str| {
            let default = || workload.description.hyperparameter(name).map(|h| h.default.clone());
            params.get(name).cloned().or_else(default)
        };
        let steps = value("steps").and_then(|steps| u64::try_from(steps.as_i64()?).ok());
        let Some(last) = steps.filter(|_| workload.has_pipeline()) else {
            let message =
                format!("`{}` is a training function: its steps are its own, and cannot be paused", word.text);
            return Err(self.arguments.source.error(ErrorName::NoAnswer, word.span.clone(), message, None));
        };
        let optimizer = value("optimizer").map_or("its optimizer".into(), |value| value.to_string());
        let prober = Prober {
            worker: worker(context, workload, output, interrupt)?,
            workload: word.text.clone(),
            params: params.clone(),
            device: target.device.clone(),
            environment: context.added_environment(),
            interrupt,
        };
        let at = steps_to_measure(last.max(1));
        let task = ProbeTask::Noise { at: at.clone(), pairs: self.pairs, small: SMALL, large: SMALL * PARTS };
        let mut live = LiveChart::new(&context.charts, output);
        let draw = |points: &[NoisePoint]| {
            let line = format!("{}: {} of {} steps measured", word.text, points.len(), at.len());
            (tunebook_charts::noise(&word.text, &optimizer, points, mean_noise_scale(points)), line)
        };
        let (chart, line) = draw(&[]);
        live.show(&chart, &line);
        let mut points: Vec<NoisePoint> = vec![];
        let asked = prober.ask(task, &mut |answers| {
            let before = points.len();
            points.extend(points_of(answers).skip(before));
            if points.len() > before && live.is_due() {
                live.push(|| draw(&points));
            }
        });
        let problem = match asked {
            Ok(answers) => {
                points = points_of(&answers).collect();
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
        let (chart, _) = draw(&points);
        let report = report(&word.text, &params, &optimizer, &points, at.len(), problem.as_ref()).chart(chart);
        if problem.is_none() {
            context.store()?.keep_conclusion(
                "noise_scale",
                &json!([workload.reference, params]).to_string(),
                &report.result(),
            )?;
        }
        live.end(report, problem.is_none() || interrupted);
        problem.map_or(Ok(()), Err)
    }
}

fn points_of(answers: &[ProbeAnswer]) -> impl Iterator<Item = NoisePoint> {
    answers.iter().filter_map(|answer| match answer {
        ProbeAnswer::Noise { step, pairs } => Some(noise_point(*step, pairs, SMALL as f64, (SMALL * PARTS) as f64)),
        _ => None,
    })
}

fn report(
    workload: &str,
    params: &Params,
    optimizer: &str,
    points: &[NoisePoint],
    asked: usize,
    problem: Option<&MagicError>,
) -> Report {
    let mean = mean_noise_scale(points);
    let fields = json!({ "workload": workload, "params": params, "points": points, "critical_batch_size": mean });
    let mut report = Report::new("noise_scale", &fields);
    if let Some(problem) = problem {
        report = report.line(&problem.message);
    } else if points.len() < asked {
        report = report.line("Training diverged: a gradient was not finite, and nothing was measured after it.");
    }
    report = report.line(&match mean {
        Some(mean) => format!(
            "Noise scale over the run: {} examples. A batch far below it averages too little and halves its steps with every \
             doubling; one far above it wastes examples.",
            number(mean)
        ),
        None => "Not resolvable: the true gradient does not stand out of the noise at any step.".into(),
    });
    if !describes_noise_of(optimizer) {
        report = report.line(&format!("It describes gradient descent; for {optimizer} it is a rough guide."));
    }
    let mut rows = Rows::new(&["step", "noise scale", "95 %", "|G|²", "tr Σ"]);
    for p in points {
        rows.row(vec![
            p.step.to_string(),
            p.b_simple.map_or("not resolvable".into(), number),
            p.interval.map_or("–".into(), |[a, b]| format!("{} to {}", number(a), number(b))),
            number(p.g_squared),
            number(p.tr_sigma),
        ]);
    }
    report.table(&rows)
}
