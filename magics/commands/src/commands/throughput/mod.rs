//! `%throughput WORKLOAD`: which batch sizes the device can train, and where it saturates (Playbook B1–B6, B10).

mod kept;
mod measure;
mod times;

pub use kept::{keep_times, recorded_times};
pub use times::timed;

use self::kept::{Kept, keep, latest};
use self::measure::{Measured, measure};
use crate::commands::workload::{self, Workload};
use crate::error::{ErrorName, Result};
use crate::host::{Interrupt, Output};
use crate::magic::{Command, Context, Export, Invocation, Magic, Subject};
use crate::probing::{DEVICE, Prober, SET, TargetDevice, data_of, settings, space_of, worker};
use crate::report::table::{Rows, bytes, number};
use crate::report::{Report, Status};
use crate::syntax::{Arguments, OptionSpec, Word};
use serde_json::{Value as Json, json};
use tunebook_analysis::{BottleneckKind, PointState, is_memory_linear};
use tunebook_charts::ThroughputCurve;
use tunebook_study::sampler::SamplerKind;
use tunebook_study::{HyperparameterDomain, Params};

/// See the module.
pub const MAGIC: Magic = Magic {
    name: "throughput",
    line: true,
    body: None,
    usage: "%throughput WORKLOAD [--max N] [--set hp=v]… [--device D]",
    summary: "Examples a second, time a step and memory against batch size; the limit, the saturation, the size to use",
    help: "Powers of two, each tried in a process of its own, so that running out of memory is an answer; then all of them timed \
        in turn. *Saturation* is the smallest size whose doubling gains less than 10 %, *recommended* the smallest within 5 % of \
        the highest throughput. On a machine that is too busy to tell it says so, and recommends nothing.\n\n\
        A list (`--set width=[64,256]`, `--compare fp32,bf16`) draws a curve for each value.\n\n\
        What was measured is kept. `--recorded` shows it, and says that it is stale where model, optimizer, precision, device, \
        data or versions have changed since.",
    options: &[
        OptionSpec { name: "max", value: Some("N"), help: "no size beyond it (default: the number of examples)" },
        SET,
        OptionSpec { name: "compare", value: Some("P,…"), help: "precisions: fp32, tf32, bf16" },
        DEVICE,
        OptionSpec { name: "eval", value: None, help: "evaluation steps instead of training steps" },
        OptionSpec { name: "limit-only", value: None, help: "the largest size that fits, and nothing else" },
        OptionSpec {
            name: "recorded",
            value: None,
            help: "what was measured last, and whether it still holds; measures nothing",
        },
    ],
    subject: Subject::Workload,
    export: Export::Comment,
    parse,
};

/// What cannot be set.
const REFUSED: [(&str, &str); 2] = [
    ("batch_size", "is what is varied here"),
    (
        "micro_batch_size",
        "has no throughput of its own: a batch that is put together from smaller ones is no faster than they are, and fits where they \
         do (Playbook B5)",
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

/// One configuration that is measured.
struct Configuration {
    label: String,
    params: Params,
}

impl Command for ShowThroughput {
    fn run(self: Box<Self>, context: &Context, output: &dyn Output, interrupt: &Interrupt) -> Result<()> {
        let workloads = workload::known(context)?;
        let word = &self.settings[0];
        let workload = Workload::named(&word.text, &workloads, &self.arguments.source, &word.span)?;
        let configurations = self.configurations(&workloads, workload)?;
        let worker = worker(context, workload, output, interrupt)?;
        let target = TargetDevice::new(context, &self.arguments);
        let prober = |params: &Params| Prober {
            worker: worker.clone(),
            workload: word.text.clone(),
            params: params.clone(),
            device: target.device.clone(),
            environment: context.added_environment(),
            interrupt,
        };
        let evaluate = self.arguments.has("eval");
        if self.arguments.has("recorded") {
            let Some(kept) = latest(context, &word.text)? else {
                let message = format!("nothing of `{}` was measured yet", word.text);
                let help = Some(format!("`%throughput {}` measures it", word.text));
                return Err(self.arguments.source.error(ErrorName::NoAnswer, word.span.clone(), message, help));
            };
            let params = &configurations[0].params;
            let (_, data) = data_of(&prober(params))?;
            let now = target.conditions(workload, params, &data, evaluate);
            let stale = kept.first().map(|kept| kept.conditions.differences(&now)).unwrap_or_default();
            report(&word.text, &kept, false, &stale).show(&context.charts, output);
            return Ok(());
        }
        let largest = match workload.description.hyperparameter("batch_size").map(|h| &h.domain) {
            Some(HyperparameterDomain::Range { high: Some(high), .. }) => *high as u64,
            _ => u64::MAX >> 1,
        };
        let cap = self.max.unwrap_or(largest).min(largest);
        let limit_only = self.arguments.has("limit-only");
        let mut status = Status::new(output);
        let mut kept = vec![];
        for Configuration { label, params } in configurations {
            match measure(&prober(&params), cap, evaluate, limit_only, &mut status) {
                Ok(measured) => {
                    let conditions = target.conditions(workload, &params, &measured.data, evaluate);
                    kept.push(Kept { label, conditions, measured });
                }
                Err(error) => {
                    status.clear();
                    return Err(error);
                }
            }
        }
        let report = report(&word.text, &kept, limit_only, &[]);
        if !limit_only {
            keep(context, &kept, &report.result())?;
        }
        report.load_chart(&context.charts, output);
        status.end(report.bundle());
        Ok(())
    }
}

impl ShowThroughput {
    /// What the settings ask for: each value of a list, combined with those of the others.
    fn configurations(&self, workloads: &[Workload], workload: &Workload) -> Result<Vec<Configuration>> {
        let space = space_of(&self.arguments, &self.settings, workloads, &REFUSED)?;
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
            let known = workload.description.hyperparameter("precision");
            let value = known.map(|h| h.accept(&precision.into())).transpose();
            let value = value.map_err(|error| self.arguments.invalid(word, error.to_string()))?;
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

/// `stale`: what was changed since it was measured.
fn report(workload: &str, found: &[Kept], limit_only: bool, stale: &[String]) -> Report {
    let series: Vec<Json> =
        found.iter().map(|kept| json!({ "label": kept.label, "points": kept.measured.throughput.points })).collect();
    let Some(Kept { conditions, measured: first, .. }) = found.first() else {
        return Report::new("throughput", &json!({}));
    };
    let device = &conditions.device;
    let fields = json!({
        "workload": workload, "device": device, "reliable": first.throughput.reliable, "stale": !stale.is_empty(), "changed": stale, "series": series,
        "points": first.throughput.points, "largest_feasible": first.largest_feasible,
        "smallest_too_large": first.too_large, "limited_by": if first.limited_by_memory { "memory" } else { "examples" },
        "saturation": first.throughput.saturation, "recommended": first.throughput.recommended,
        "step_time": first.throughput.step_time, "bottleneck": first.bottleneck, "probes": first.probes,
        "predicted_limit": first.predicted, "verified": first.verified,
        "reasons": first.throughput.reasons,
    });
    let mut report = Report::new("throughput", &fields);
    if !stale.is_empty() {
        report = report.line(&format!("Stale: {}. `%throughput {workload}` measures it anew.", stale.join("; ")));
    }
    for Kept { label, measured, .. } in found {
        let of = if label.is_empty() { String::new() } else { format!("{label}: ") };
        for line in sentences(measured, limit_only) {
            report = report.line(&format!("{of}{line}"));
        }
        let mut rows = Rows::new(&["batch size", "examples/s", "95 %", "s a step", "doubling gained", "peak memory"]);
        for p in &measured.throughput.points {
            let pair =
                |pair: Option<[f64; 2]>| pair.map_or("–".into(), |[a, b]| format!("{} to {}", number(a), number(b)));
            let one = |x: Option<f64>| x.map_or("–".into(), number);
            let rate = match p.state {
                PointState::Ok => one(p.examples_per_second),
                PointState::OutOfMemory => "out of memory".into(),
                PointState::Failed => "failed".into(),
            };
            let memory = p.peak_memory_bytes.map_or("–".into(), bytes);
            let row = [p.batch_size.to_string(), rate, pair(p.interval), one(p.seconds_per_step), one(p.gain), memory];
            rows.row(row.to_vec());
        }
        if !measured.throughput.points.is_empty() {
            report = report.table(&rows);
        }
    }
    if limit_only {
        return report;
    }
    let curves: Vec<ThroughputCurve<'_>> = found
        .iter()
        .map(|Kept { label, measured, .. }| ThroughputCurve {
            label: label.clone(),
            throughput: &measured.throughput,
            limit: measured.largest_feasible.filter(|_| measured.limited_by_memory),
        })
        .collect();
    report.chart(tunebook_charts::throughput(workload, device, &curves))
}

/// The conclusions in words.
fn sentences(measured: &Measured, limit_only: bool) -> Vec<String> {
    let Measured {
        throughput,
        largest_feasible,
        limited_by_memory,
        too_large,
        probes,
        predicted,
        verified,
        bottleneck,
        ..
    } = measured;
    let mut said = vec![];
    said.push(match (largest_feasible, limited_by_memory) {
        (None, _) => "Not even a batch of 1 fits into memory.".to_string(),
        (Some(size), true) => {
            format!("The largest batch that fits is {size} ({probes} probes); beyond it memory runs out.")
        }
        (Some(size), false) => {
            format!("All sizes up to {size} fit: that is all that was asked for, or all the examples.")
        }
    });
    if let (Some(size), Some(predicted)) = (largest_feasible, predicted)
        && !is_memory_linear(*predicted, *size, *too_large)
    {
        said.push(format!(
            "Memory does not grow evenly with the size: from small ones a limit of {predicted} was to be expected."
        ));
    }
    if limit_only || largest_feasible.is_none() {
        return said;
    }
    if !throughput.reliable {
        let why = throughput.reasons.first().map_or(String::new(), |why| format!(": {why}"));
        said.push(format!(
            "The machine is too busy to tell more{why}. Nothing is concluded; run the cell again when it is idle."
        ));
        return said;
    }
    said.push(match throughput.saturation {
        Some(size) => format!("Throughput saturates at {size}: doubling it gains less than 10 %."),
        None => "Throughput does not saturate: doubling pays up to the largest size.".into(),
    });
    if let Some(size) = throughput.recommended {
        let verified = if *verified == Some(true) { ", verified by 20 steps and an evaluation" } else { "" };
        said.push(format!("Recommended: {size}, the smallest size within 5 % of the highest throughput{verified}."));
    }
    if let Some(bottleneck) = bottleneck {
        let gain = bottleneck
            .expected_gain
            .map_or(String::new(), |gain| format!(" Without it a step would be {gain:.1} times as fast."));
        said.push(match bottleneck.kind {
            BottleneckKind::None => "Nothing holds it back but the size.".to_string(),
            BottleneckKind::Input => {
                format!("It is bound by its input: making a batch takes longer than training on it.{gain}")
            }
            BottleneckKind::Transfer => format!("It is bound by copies to the device.{gain}"),
            BottleneckKind::Compute => "It is bound by the computation of the model.".to_string(),
            BottleneckKind::HostSync => format!("Steps wait for the device: values are read back in each.{gain}"),
        });
    }
    said
}
