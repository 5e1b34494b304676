//! Code for magics that measure a workload (`%throughput`, `%scaling`, `%noise`): the hyperparameters that are set
//! (`--set`), the device, and the worker that measures.

mod conditions;
mod prober;

pub use conditions::Conditions;
pub use prober::Prober;

use crate::commands::sweep::plan::{Planner, SweepOptions};
use crate::commands::workload::{self, Workload};
use crate::error::{ErrorName, MagicError, Result};
use crate::host::{Interrupt, Output};
use crate::magic::Context;
use crate::syntax::{Arguments, OptionSpec, Word, parse_one_line};
use std::path::PathBuf;
use tunebook_study::probe::{ProbeAnswer, ProbeTask};
use tunebook_study::sampler::SamplerKind;
use tunebook_study::{Params, SearchSpace, Value};

pub const SET: OptionSpec = OptionSpec {
    name: "set",
    value: Some("hp=v…"),
    help: "set a hyperparameter to a value or to a list of values; can be given several times",
};
pub const DEVICE: OptionSpec =
    OptionSpec { name: "device", value: Some("D"), help: "cpu or cuda:N (default: the first GPU, otherwise the CPU)" };

/// The word of the workload, followed by the settings `hp=v`. After `--set`, several settings can follow: `--set a=1
/// b=2`.
pub fn settings(arguments: &Arguments) -> Result<Vec<Word>> {
    let workload = arguments.required(0, "the workload")?.clone();
    let mut words = vec![workload];
    words.extend(arguments.all("set").cloned());
    for word in &arguments.positional[1..] {
        if !word.text.contains('=') {
            return Err(arguments.invalid(word, format!("unexpected `{}`: there is one word too many", word.text)));
        }
        words.push(word.clone());
    }
    Ok(words)
}

/// The search space of the settings, in which each hyperparameter has one value or a list of values. `refused` contains
/// the hyperparameters that cannot be set here, each with the reason (which follows its name in the error).
pub fn space_of(
    arguments: &Arguments,
    settings: &[Word],
    workloads: &[Workload],
    refused: &[(&str, &str)],
) -> Result<SearchSpace> {
    let source = &arguments.source;
    let body = parse_one_line(source, settings)?;
    for declared in &body.declarations {
        if let Some((name, why)) = refused.iter().find(|(name, _)| *name == declared.name.value) {
            return Err(source.error(
                ErrorName::InvalidValue,
                declared.name.span.clone(),
                format!("`{name}` {why}"),
                None,
            ));
        }
    }
    let options = SweepOptions { sampler: SamplerKind::Grid, ..SweepOptions::default() };
    Ok(Planner { source, workloads }.plan(String::new(), &body, options)?.definition.space)
}

/// The value of each setting. A list is an error.
pub fn values_of(arguments: &Arguments, settings: &[Word], space: &SearchSpace) -> Result<Params> {
    if let Some(h) = space.hyperparameters().iter().find(|h| !h.distribution.is_constant()) {
        let word = settings.iter().find(|word| word.text.starts_with(&format!("{}=", h.name)));
        let message = format!("`{}` needs one value here, not a list", h.name);
        return Err(arguments.invalid(word.unwrap_or(&settings[0]), message));
    }
    Ok(SamplerKind::Grid.propose(space, 0, 0).unwrap_or_default())
}

/// The device on which a workload is measured.
pub struct TargetDevice {
    /// `cpu` or `cuda:N`.
    pub device: String,
    /// The device with its name: `cuda:0 (NVIDIA H100)`.
    pub shown: String,
    libtorch: Option<String>,
}

impl TargetDevice {
    /// The device that `--device` names, otherwise the first one. It is an error if there is no such device, or if it
    /// cannot train with one of these hyperparameters.
    pub fn new<'p>(
        context: &Context,
        arguments: &Arguments,
        all_params: impl IntoIterator<Item = &'p Params>,
    ) -> Result<Self> {
        let (devices, problem) = context.devices();
        // What only programs can use is not measured.
        let devices = devices.for_libtorch();
        let device = match arguments.option("device") {
            Some(word) => {
                // If the worker cannot say which devices there are, it says why when it is asked to measure.
                check_device(arguments, word, devices.devices.iter().map(|d| d.id.as_str()), problem.is_none())?;
                word.text.clone()
            }
            None => devices.devices.first().map_or("cpu".into(), |device| device.id.clone()),
        };
        let device = if device.starts_with("cpu") { "cpu".to_string() } else { device };
        let is_tf32 = |params: &Params| params.get("precision").and_then(Value::as_str) == Some("tf32");
        if device == "cpu" && all_params.into_iter().any(is_tf32) {
            return Err(needs_gpu(arguments));
        }
        let name = devices.devices.iter().find(|d| d.id.starts_with(&device)).map(|d| d.name.clone());
        let shown = name.filter(|name| !name.is_empty()).map_or(device.clone(), |name| format!("{device} ({name})"));
        Ok(Self { device, shown, libtorch: devices.libtorch })
    }

    /// The conditions of a measurement on this device. `data` is the checksum of the data files.
    pub fn conditions(&self, workload: &Workload, params: &Params, data: &str, evaluation: bool) -> Conditions {
        Conditions {
            workload: workload.reference.clone(),
            params: params.clone(),
            device: self.shown.clone(),
            libtorch: self.libtorch.clone(),
            tunebook: env!("CARGO_PKG_VERSION").into(),
            data: data.into(),
            evaluation,
        }
    }
}

/// Returns an error if `--device` names no device of this machine. `ids` are those of the devices, of which GPUs come
/// first and the CPU is there in any case.
fn check_device<'d>(
    arguments: &Arguments,
    word: &Word,
    ids: impl Iterator<Item = &'d str>,
    are_known: bool,
) -> Result<()> {
    let mut ids: Vec<&str> = ids.filter(|id| !id.starts_with("cpu") || *id == word.text).collect();
    ids.push("cpu");
    let is_gpu = |text: &str| text.strip_prefix("cuda:").is_some_and(|index| index.parse::<usize>().is_ok());
    if ids.contains(&word.text.as_str()) || (!are_known && is_gpu(&word.text)) {
        return Ok(());
    }
    let names: Vec<String> = ids.iter().map(|id| format!("`{id}`")).collect();
    let message = format!("there is no device `{}`: libtorch can use {}", word.text, names.join(", "));
    Err(arguments.invalid(word, message).with_help("`%devices` describes all devices"))
}

/// The error of the precision tf32 on a processor, which points at the option that sets it.
fn needs_gpu(arguments: &Arguments) -> MagicError {
    let mut settings = arguments.all("set").chain(&arguments.positional);
    let set = settings.find(|word| word.text.starts_with("precision="));
    let span = arguments.option("compare").or(set).map_or(arguments.line.clone(), |word| word.span.clone());
    let (message, help) = ("precision = tf32 needs a CUDA device", "fp32 and bf16 work on each device");
    arguments.source.error(ErrorName::InvalidValue, span, message, Some(help.into()))
}

/// The executable of the worker that trains a workload. The worker of a `%%workload` is built again if it is missing.
pub fn worker(context: &Context, workload: &Workload, output: &dyn Output, interrupt: &Interrupt) -> Result<PathBuf> {
    let built = workload::worker(context, &workload.reference, output, interrupt)?;
    Ok(built.unwrap_or_else(|| context.settings.worker.clone()))
}

/// Asks the worker for the number of training examples and the checksum of the data files.
pub fn data_of(prober: &Prober<'_>) -> Result<(u64, String)> {
    let answers = prober.ask(ProbeTask::Load, &mut |_| {})?;
    for answer in answers {
        match answer {
            ProbeAnswer::Loaded { examples, data } => return Ok((examples, data)),
            ProbeAnswer::Failed { reason } | ProbeAnswer::OutOfMemory { reason, .. } => {
                return Err(prober.cannot("measured", &reason));
            }
            _ => {}
        }
    }
    Err(prober.cannot("measured", "the worker did not say how many examples there are"))
}
