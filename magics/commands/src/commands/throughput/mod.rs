//! `%throughput WORKLOAD`: measures which batch sizes a device can train and how fast each is (Playbook B1–B6, B10).

mod measure;
mod record;
mod timing;

pub use record::{record_step_times, recorded_step_times, step_seconds};
pub use timing::time_steps;

use self::measure::{SizeLimit, ThroughputMeasurement, measure};
use self::record::{ThroughputRecord, latest_records, record_throughput};
use crate::commands::sweep::plan::near_choice;
use crate::commands::workload::{self, Workload};
use crate::error::{ErrorName, Result};
use crate::host::{Interrupt, Output};
use crate::magic::{Command, Context, Export, Invocation, Magic, Subject};
use crate::probing::{DEVICE, Prober, SET, TargetDevice, data_of, settings, space_of, worker};
use crate::report::table::{Rows, bytes, interval_or_dash, number_or_dash};
use crate::report::{Report, Status, units};
use crate::syntax::{Arguments, OptionSpec, PNG, Word, place_of_value};
use serde_json::{Value as Json, json};
use tunebook_analysis::{BottleneckKind, PointState, counted, is_memory_linear};
use tunebook_charts::ThroughputCurve;
use tunebook_study::sampler::SamplerKind;
use tunebook_study::{HyperparameterDomain, Params, Value};

pub const MAGIC: Magic = Magic {
    name: "throughput",
    line: true,
    body: None,
    usage: "%throughput WORKLOAD [--max N] [--set hp=v]… [--device D]",
    example: "%throughput digits_mlp --max 16",
    summary: "Which batch sizes fit into memory, how fast each is, and which one to use",
    help: "Each size is tried in a separate process, so that running out of memory is a result. Then the powers of two \
        that fit are timed in turn. *Saturation* is the smallest size whose doubling gains less than 10 %. \
        *Recommended* is the smallest size within 5 % of the highest throughput. If the machine is too busy to measure \
        time, it says so and recommends nothing.\n\n\
        A list (`--set width=[64,256]`, `--compare fp32,bf16`) draws a curve for each value.\n\n\
        Measurements are recorded. `--recorded` shows the last reliable one, and says that it is stale if the model, the \
        optimizer, the precision, the device, the data or a version has changed since.",
    options: &[
        OptionSpec { name: "max", value: Some("N"), help: "largest size to try (default: the number of examples)" },
        SET,
        OptionSpec { name: "compare", value: Some("P,…"), help: "draw a curve for each precision: fp32, tf32, bf16" },
        DEVICE,
        OptionSpec { name: "eval", value: None, help: "measure evaluation steps instead of training steps" },
        OptionSpec { name: "limit-only", value: None, help: "find the largest size that fits, and nothing else" },
        OptionSpec {
            name: "recorded",
            value: None,
            help: "show the last measurement and whether it still holds; measure nothing",
        },
        PNG,
    ],
    subject: Subject::Workload,
    export: Export::Comment,
    parse,
};

/// Hyperparameters that `--set` cannot change, each with the reason.
const NOT_SETTABLE: [(&str, &str); 2] = [
    ("batch_size", "cannot be set, because this magic varies it"),
    (
        "micro_batch_size",
        "cannot be measured: a batch that is accumulated from micro-batches is no faster than they are, and fits \
         whenever they fit (Playbook B5)",
    ),
];

struct ShowThroughput {
    arguments: Arguments,
    settings: Vec<Word>,
    max: Option<u64>,
}

fn parse(Invocation { arguments, .. }: Invocation) -> Result<Box<dyn Command>> {
    let settings = settings(&arguments)?;
    let max = arguments.count("max", 1)?;
    Ok(Box::new(ShowThroughput { arguments, settings, max }))
}

/// A configuration to measure.
struct Configuration {
    /// What distinguishes it from the others. Empty if there is only one.
    label: String,
    params: Params,
}

impl Command for ShowThroughput {
    fn run(self: Box<Self>, context: &Context, output: &dyn Output, interrupt: &Interrupt) -> Result<()> {
        let workloads = workload::known(context)?;
        let word = &self.settings[0];
        let workload = Workload::named(&word.text, &workloads, &self.arguments.source, &word.span)?;
        let configurations = self.configurations(&workloads, workload)?;
        let target = TargetDevice::new(
            context,
            &self.arguments,
            configurations.iter().map(|configuration| &configuration.params),
        )?;
        let worker = worker(context, workload, output, interrupt)?;
        let prober = |params: &Params| Prober {
            worker: worker.clone(),
            workload: word.text.clone(),
            params: params.clone(),
            device: target.device.clone(),
            environment: context.added_environment(),
            beside: context.background.names(),
            interrupt,
        };
        let evaluate = self.arguments.has("eval");
        if self.arguments.has("recorded") {
            let Some(records) = latest_records(context, &word.text)? else {
                let message = format!("there is no measurement of `{}` yet", word.text);
                let help = Some(format!("`%throughput {}` measures it", word.text));
                return Err(self.arguments.source.error(ErrorName::NoAnswer, word.span.clone(), message, help));
            };
            let params = &configurations[0].params;
            let (_, data) = data_of(&prober(params))?;
            let now = target.conditions(workload, params, &data, evaluate);
            let changes = records.first().map(|record| record.conditions.differences(&now)).unwrap_or_default();
            report(&word.text, &records, false, &changes).show(&context.charts, output);
            return Ok(());
        }
        let largest = match workload.description.hyperparameter("batch_size").map(|h| &h.domain) {
            Some(HyperparameterDomain::Range { high: Some(high), .. }) => *high as u64,
            _ => u64::MAX >> 1,
        };
        let cap = self.max.unwrap_or(largest).min(largest);
        let limit_only = self.arguments.has("limit-only");
        let mut status = Status::new(output);
        let mut records = vec![];
        let mut interrupted = None;
        for Configuration { label, params } in configurations {
            let (mut measured, error) = measure(&prober(&params), cap, evaluate, limit_only, &mut status);
            if let Some(error) = error {
                if error.name != ErrorName::Interrupted {
                    status.clear();
                    return Err(error);
                }
                interrupted = Some(error);
            }
            let (limited_by, no_larger) = match (measured.largest_feasible, measured.examples) {
                _ if measured.limited_by_memory => (Some(SizeLimit::Memory), None),
                (None, _) => (None, None),
                (Some(size), Some(examples)) if examples <= size => {
                    let why = format!("because there are only {examples} training examples");
                    (Some(SizeLimit::Examples), Some(why))
                }
                _ if self.max.is_some_and(|max| max <= largest) => {
                    (Some(SizeLimit::Max), Some(format!("because of `--max {cap}`")))
                }
                _ => {
                    let why = "because the workload allows no larger `batch_size`";
                    (Some(SizeLimit::Workload), Some(why.into()))
                }
            };
            (measured.limited_by, measured.no_larger) = (limited_by, no_larger);
            let conditions = target.conditions(workload, &params, &measured.data, evaluate);
            records.push(ThroughputRecord { label, conditions, measured });
            if interrupted.is_some() {
                break;
            }
        }
        let report = report(&word.text, &records, limit_only, &[]);
        if !limit_only && interrupted.is_none() {
            record_throughput(context, &records, &report.result())?;
            context.keep_shown(self.arguments.source.text(), &word.text, &report)?;
        }
        report.load_chart(&context.charts, output);
        status.end(report);
        interrupted.map_or(Ok(()), Err)
    }
}

impl ShowThroughput {
    /// Returns the configurations to measure: all combinations of the values in the lists, for each precision of
    /// `--compare`.
    fn configurations(&self, workloads: &[Workload], workload: &Workload) -> Result<Vec<Configuration>> {
        let space = space_of(&self.arguments, &self.settings, workloads, &NOT_SETTABLE)?;
        let count = SamplerKind::Grid.configurations(&space).unwrap_or(1).max(1);
        let params = (0..count).filter_map(|i| SamplerKind::Grid.propose(&space, 0, i)).collect::<Vec<Params>>();
        let varied: Vec<&str> =
            space.hyperparameters().iter().filter(|h| !h.distribution.is_constant()).map(|h| h.name.as_str()).collect();
        let label = |params: &Params| {
            let words = varied.iter().filter_map(|name| Some(format!("{name}={}", params.get(*name)?)));
            words.collect::<Vec<_>>().join(", ")
        };
        let mut all: Vec<Configuration> =
            params.into_iter().map(|params| Configuration { label: label(&params), params }).collect();
        if all.is_empty() {
            all.push(Configuration { label: String::new(), params: Params::new() });
        }
        let Some(word) = self.arguments.option("compare") else { return Ok(all) };
        let mut compared = vec![];
        for precision in word.text.split(',').map(str::trim) {
            let written = Value::from(precision);
            let known = workload.description.hyperparameter("precision");
            let value = known.map(|h| h.accept(&written)).transpose().map_err(|error| {
                let source = &self.arguments.source;
                let place = place_of_value(source, word.span.clone(), |found| found.same_as(&written));
                let help = known.and_then(|h| near_choice(&written, h));
                let span = place.unwrap_or(word.span.clone());
                source.error(ErrorName::InvalidValue, span, error.to_string(), help)
            })?;
            for Configuration { label, params } in &all {
                let mut params = params.clone();
                params.extend(value.clone().map(|value| ("precision".to_string(), value)));
                let label = [label.as_str(), precision].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>();
                compared.push(Configuration { label: label.join(", "), params });
            }
        }
        Ok(compared)
    }
}

/// `changes` says what has changed since the measurement. It is empty if the measurement holds.
fn report(workload: &str, records: &[ThroughputRecord], limit_only: bool, changes: &[String]) -> Report {
    let series =
        |record: &ThroughputRecord| json!({ "label": record.label, "points": record.measured.throughput.points });
    let series: Vec<Json> = records.iter().map(series).collect();
    let Some(ThroughputRecord { conditions, measured: first, .. }) = records.first() else {
        return Report::new("throughput", &json!({}));
    };
    let device = &conditions.device;
    let limited_by = first.limited_by.or(first.limited_by_memory.then_some(SizeLimit::Memory));
    let bottleneck = first.bottleneck.map(|found| if first.throughput.reliable { found } else { found.unconcluded() });
    let fields = json!({
        "workload": workload, "device": device, "reliable": first.throughput.reliable,
        "stale": !changes.is_empty(), "changed": changes, "series": series,
        "points": first.throughput.points, "largest_feasible": first.largest_feasible,
        "smallest_too_large": first.too_large,
        "limited_by": limited_by,
        "saturation": first.throughput.saturation, "saturates": first.throughput.saturates, "recommended": first.throughput.recommended,
        "step_time": first.throughput.step_time, "bottleneck": bottleneck, "probes": first.probes,
        "predicted_limit": first.predicted, "verified": first.verified,
        "reasons": first.throughput.reasons,
    });
    let mut report = Report::new("throughput", &fields);
    if !changes.is_empty() {
        let changes = changes.join("; ");
        report = report.line(&format!("Stale: {changes}. Run `%throughput {workload}` to measure again."));
    }
    for ThroughputRecord { label, measured, .. } in records {
        let prefix = if label.is_empty() { String::new() } else { format!("{label}: ") };
        for sentence in conclusions(measured, limit_only) {
            report = report.line(&format!("{prefix}{sentence}"));
        }
        let mut rows =
            Rows::new(&["batch size", "examples/s", "95 %", "time per step", "gain of doubling", "peak memory"]);
        for p in &measured.throughput.points {
            let rate = match p.state {
                PointState::Ok => number_or_dash(p.examples_per_second),
                PointState::OutOfMemory => "out of memory".into(),
                PointState::Failed => "failed".into(),
            };
            let memory = p.peak_memory_bytes.map_or("–".into(), bytes);
            rows.row(vec![
                p.batch_size.to_string(),
                rate,
                interval_or_dash(p.interval),
                p.seconds_per_step.map_or("–".into(), |seconds| units::time(seconds, 4)),
                number_or_dash(p.gain),
                memory,
            ]);
        }
        if !measured.throughput.points.is_empty() {
            report = report.table(&rows);
        }
    }
    if limit_only || records.iter().all(|record| record.measured.throughput.points.is_empty()) {
        return report;
    }
    let curves: Vec<ThroughputCurve<'_>> = records
        .iter()
        .map(|ThroughputRecord { label, measured, .. }| ThroughputCurve {
            label: label.clone(),
            throughput: &measured.throughput,
            limit: measured.largest_feasible.filter(|_| measured.limited_by_memory),
        })
        .collect();
    report.chart(tunebook_charts::throughput(workload, device, &curves))
}

/// Returns the conclusions of a measurement, one sentence each.
fn conclusions(measured: &ThroughputMeasurement, limit_only: bool) -> Vec<String> {
    let ThroughputMeasurement {
        throughput,
        largest_feasible,
        limited_by_memory,
        no_larger,
        too_large,
        probes,
        predicted,
        verified,
        bottleneck,
        interrupted,
        ..
    } = measured;
    let mut sentences = vec![];
    if let Some(interrupted) = interrupted {
        sentences.push(format!("Not complete: {interrupted}. Run the cell again to measure."));
        if largest_feasible.is_none() {
            return sentences;
        }
    }
    sentences.push(match (largest_feasible, limited_by_memory) {
        (None, _) => "Not even a batch of 1 fits into memory.".to_string(),
        (Some(size), true) => {
            format!("Memory limits the batch size: {size} is the largest that fits ({}).", counted(*probes, "probe"))
        }
        (Some(size), false) => {
            let why = no_larger.as_ref().map_or(String::new(), |why| format!(", {why}"));
            format!("All sizes up to {size} fit. Larger sizes were not tried{why}.")
        }
    });
    if let (Some(size), Some(predicted)) = (largest_feasible, predicted)
        && !is_memory_linear(*predicted, *size, *too_large)
    {
        sentences.push(format!(
            "Memory does not grow linearly with the batch size: small sizes predicted a limit of {predicted}."
        ));
    }
    if limit_only || largest_feasible.is_none() {
        return sentences;
    }
    if !throughput.reliable && interrupted.is_some() {
        sentences.push("Nothing is concluded from the times of steps.".into());
        return sentences;
    }
    if !throughput.reliable {
        let why = throughput.reasons.first().map_or(String::new(), |why| format!(": {why}"));
        sentences.push(format!(
            "The machine is too busy to measure time{why}. Nothing is concluded; run the cell again when the machine \
             is idle."
        ));
        return sentences;
    }
    let largest_timed = throughput.points.iter().filter(|p| p.state == PointState::Ok).map(|p| p.batch_size).max();
    let last = throughput.points.iter().rfind(|point| point.gain.is_some());
    let gain = last.and_then(|point| Some((point.gain?, point.gain_interval?)));
    let gain =
        gain.map_or("not known".into(), |(gain, [low, high])| format!("{gain:.2} (95 %: {low:.2} to {high:.2})"));
    sentences.push(match (throughput.saturation, throughput.saturates) {
        (Some(size), _) => format!("Throughput saturates at {size}: doubling it gains less than 10 %."),
        (None, Some(_)) => format!(
            "Throughput does not saturate up to {}, the largest size that was timed: the factor of the last doubling is \
             {gain}.",
            largest_timed.unwrap_or(0)
        ),
        (None, None) => {
            let would_tell = match throughput.visits_needed {
                Some(visits) => format!(
                    "About {visits} visits of each size instead of five would show it, or fewer on an idle machine."
                ),
                None if last.is_none() => "At least two sizes, one twice the other, would show it.".to_string(),
                None => "It is so near to 1.1 that only a larger size would show it.".to_string(),
            };
            format!(
                "Whether throughput saturates is not known: the factor of the last doubling is {gain}, and it saturates \
                 below 1.1. {would_tell}"
            )
        }
    });
    if let Some(size) = throughput.recommended {
        let verified = if *verified == Some(true) { ", verified by 20 steps and an evaluation" } else { "" };
        sentences
            .push(format!("Recommended: {size}, the smallest size within 5 % of the highest throughput{verified}."));
    }
    if let Some((bottleneck, kind)) = bottleneck.as_ref().and_then(|found| Some((found, found.kind?))) {
        let without = bottleneck
            .expected_gain
            .map_or(String::new(), |gain| format!(" Without it, a step would be {gain:.1} times as fast."));
        let input = number_or_dash(bottleneck.input_examples_per_second);
        let compute = number_or_dash(bottleneck.compute_examples_per_second);
        sentences.push(match kind {
            BottleneckKind::None => {
                format!("No bottleneck was found: the computation alone would train on {compute} examples/s.")
            }
            BottleneckKind::Input => format!(
                "The input is the bottleneck: it makes {input} examples/s, and the model could train on {compute}.\
                 {without}"
            ),
            BottleneckKind::Transfer => format!(
                "Copying batches to the device is the bottleneck: the model could train on {compute} examples/s.\
                 {without}"
            ),
            BottleneckKind::Compute => {
                format!("The computation of the model is the bottleneck: alone it would train on {compute} examples/s.")
            }
            BottleneckKind::HostSync => {
                format!("The host is the bottleneck: steps wait for it, or for values from the device.{without}")
            }
        });
    }
    sentences
}
