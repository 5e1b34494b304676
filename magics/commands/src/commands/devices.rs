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
        one device; training a model on several devices is not supported. The load is that of a tenth of a second. The \
        last column names the trials that run now, of sweeps in the background.",
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
            let name = device.name.clone();
            let (memory, free) = (size(device.memory_bytes), size(device.free_bytes));
            let trials = context.sharing.on(&device.id).join(", ");
            rows.row(vec![device.id.clone(), name, memory, free, load, trials]);
        }
        let trials = |device: &Device| context.sharing.on(&device.id);
        let running: Map<String, Value> =
            devices.devices.iter().map(|device| (device.id.clone(), json!(trials(device)))).collect();
        let mut report = Report::new("devices", &devices).field("running", running).table(&rows);
        if let Some(libtorch) = &devices.libtorch {
            let driver = devices.driver.as_ref().map_or(String::new(), |driver| format!(", GPU driver {driver}"));
            report = report.line(&format!("libtorch {libtorch}{driver}"));
        }
        if let Some(problem) = problem {
            report = report.line(&format!("No workload can be trained here: {problem}"));
        }
        report.show(&context.charts, output);
        Ok(())
    }
}
