//! What the magics share that measure a workload itself: its settings (`--set`), the device, the worker that is asked.

mod conditions;
mod prober;

pub use conditions::Conditions;
pub use prober::Prober;

use crate::commands::sweep::plan::{Planner, SweepOptions};
use crate::commands::workload::{self, Workload};
use crate::error::{ErrorName, Result};
use crate::host::{Interrupt, Output};
use crate::magic::Context;
use crate::syntax::{Arguments, OptionSpec, Word, parse_one_line};
use std::path::PathBuf;
use tunebook_study::probe::{ProbeAnswer, ProbeTask};
use tunebook_study::sampler::SamplerKind;
use tunebook_study::{Params, SearchSpace};

/// `--set`.
pub const SET: OptionSpec = OptionSpec {
    name: "set",
    value: Some("hp=v…"),
    help: "another value of a hyperparameter, or a list of them; may be repeated",
};
/// `--device`.
pub const DEVICE: OptionSpec =
    OptionSpec { name: "device", value: Some("D"), help: "cpu or cuda:N (default: the first GPU, else the CPU)" };

/// The workload's word, followed by what `--set` says: `--set a=1 b=2` sets both.
pub fn settings(arguments: &Arguments) -> Result<Vec<Word>> {
    let workload = arguments.required(0, "the workload")?.clone();
    let mut words = vec![workload];
    words.extend(arguments.all("set").cloned());
    for word in &arguments.positional[1..] {
        if !word.text.contains('=') {
            return Err(arguments.invalid(word, format!("`{}` is one word too many", word.text)));
        }
        words.push(word.clone());
    }
    Ok(words)
}

/// The space that the settings span: each is a value or a list. `refused`: what cannot be set here, and why.
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

/// The one value of each setting; a list is an error.
pub fn values_of(arguments: &Arguments, settings: &[Word], space: &SearchSpace) -> Result<Params> {
    for h in space.hyperparameters().iter().filter(|h| !h.distribution.is_constant()) {
        let word = settings.iter().find(|word| word.text.starts_with(&format!("{}=", h.name)));
        let message = format!("`{}` needs one value here, not a list", h.name);
        return Err(arguments.invalid(word.unwrap_or(&settings[0]), message));
    }
    Ok(SamplerKind::Grid.propose(space, 0, 0).unwrap_or_default())
}

/// Where a workload is measured.
pub struct TargetDevice {
    /// `cpu` or `cuda:N`.
    pub device: String,
    /// The same with its name.
    pub shown: String,
    libtorch: Option<String>,
}

impl TargetDevice {
    /// What `--device` names, else the first device.
    pub fn new(context: &Context, arguments: &Arguments) -> Self {
        let (devices, _) = context.devices();
        let device = match arguments.option("device") {
            Some(word) => word.text.clone(),
            None => devices.devices.first().map_or("cpu".into(), |device| device.id.clone()),
        };
        let device = if device.starts_with("cpu") { "cpu".to_string() } else { device };
        let name = devices.devices.iter().find(|d| d.id.starts_with(&device)).map(|d| d.name.clone());
        let shown = name.filter(|name| !name.is_empty()).map_or(device.clone(), |name| format!("{device} ({name})"));
        Self { device, shown, libtorch: devices.libtorch }
    }

    /// What a measurement of these values here depends on.
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

/// The worker that has a workload; one of the user's is built again where it is missing.
pub fn worker(context: &Context, workload: &Workload, output: &dyn Output, interrupt: &Interrupt) -> Result<PathBuf> {
    let built = workload::worker(context, &workload.reference, output, interrupt)?;
    Ok(built.unwrap_or_else(|| context.settings.worker.clone()))
}

/// How many examples there are to train on, and the checksums of the data's files.
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
    Err(prober.cannot("measured", "the worker said nothing of its data"))
}
