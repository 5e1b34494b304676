//! `%devices`: lists the devices on which trials can run.

use crate::error::Result;
use crate::host::{Interrupt, Output};
use crate::magic::{Command, Context, Export, Invocation, Magic, Subject};
use crate::report::Report;
use crate::report::table::{Rows, bytes};
use serde_json::{Map, Value, json};
use tunebook_pool::Device;

pub const MAGIC: Magic = Magic {
    name: "devices",
    line: true,
    body: None,
    usage: "%devices",
    example: "%devices",
    summary: "The devices that run trials: GPUs or processors, with memory and load",
    help: "A sweep runs one trial at a time on each GPU, or on each processor if there is no GPU. One trial trains on \
        one device; training a model on several devices is not supported. A GPU that libtorch cannot use, but the \
        driver lists, runs trials of programs only. The load is that of a tenth of a second. The \
        last column names the trials that run now, of sweeps of this kernel in the background.\n\n\
        Kernels do not know of each other. With two kernels on one machine, start each with its own \
        `CUDA_VISIBLE_DEVICES`, or limit each with `%config trials.parallel = N`, or a sweep with `--parallel N`.",
    options: &[],
    subject: Subject::None,
    export: Export::Comment,
    parse,
};

struct ListDevices;

fn parse(Invocation { arguments, .. }: Invocation) -> Result<Box<dyn Command>> {
    arguments.at_most(0)?;
    Ok(Box::new(ListDevices))
}

impl Command for ListDevices {
    fn run(self: Box<Self>, context: &Context, output: &dyn Output, _: &Interrupt) -> Result<()> {
        let (mut devices, problem) = context.devices();
        devices.driver = tunebook_pool::measure(&mut devices.devices, &context.added_environment());
        let mut rows = Rows::new(&["device", "name", "memory", "free", "load", "trials"]);
        let size = |n: Option<u64>| n.map_or("–".into(), bytes);
        for device in &devices.devices {
            let load = device.utilization.map_or("–".into(), |load| format!("{:.0} %", 100.0 * load));
            let note = if device.usable_by_libtorch { "" } else { " (not usable by this libtorch)" };
            let name = format!("{}{note}", device.name);
            let (memory, free) = (size(device.memory_bytes), size(device.free_bytes));
            let trials = context.sharing.on(&device.id).join(", ");
            rows.row(vec![device.id.clone(), name, memory, free, load, trials]);
        }
        let trials = |device: &Device| context.sharing.on(&device.id);
        let running: Map<String, Value> =
            devices.devices.iter().map(|device| (device.id.clone(), json!(trials(device)))).collect();
        let mut report = Report::new("devices", &devices).field("running", running).table(&rows);
        let libtorch = devices.libtorch.as_ref().map(|libtorch| format!("libtorch {libtorch}"));
        let driver = devices.driver.as_ref().map(|driver| format!("GPU driver {driver}"));
        let versions: Vec<String> = libtorch.into_iter().chain(driver).collect();
        if !versions.is_empty() {
            report = report.line(&versions.join(", "));
        }
        if devices.unusable().next().is_some() {
            report = report.line(
                "The driver lists GPUs that this libtorch cannot use: it is a build for processors, or the driver is \
                 too old for it. Trials of a `command` run on these GPUs, all others on processors.",
            );
        }
        if let Some(problem) = problem {
            report = report.line(&format!("No workload can be trained here: {problem}"));
        }
        report.show(&context.charts, output);
        Ok(())
    }
}
