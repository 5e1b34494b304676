//! The devices of this machine, and the slots that are made of them.

use crate::describe::{DescribeError, ask, once_per_build};
use crate::{Environment, SlotSpec};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// A GPU, or one of the processors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Device {
    /// `cuda:0`, `cpu:0` and so on.
    pub id: String,
    /// `cuda` or `cpu`.
    pub kind: String,
    /// The name of the product.
    pub name: String,
    /// Bytes of memory: of the GPU, or for a processor of the whole machine.
    pub memory_bytes: Option<u64>,
    /// Bytes of that memory that are free now.
    pub free_bytes: Option<u64>,
    /// The share of time in which the device is busy, from 0 to 1. For processors: the machine's load average over one
    /// minute, divided by their number.
    pub utilization: Option<f64>,
}

/// All devices of this machine, and the libtorch that the worker uses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Devices {
    /// The devices, GPUs first.
    pub devices: Vec<Device>,
    /// The version of libtorch. None (in JSON null) if the worker cannot run.
    pub libtorch: Option<String>,
    /// The version of the GPU driver. None if there is no GPU.
    #[serde(default)]
    pub driver: Option<String>,
    /// The folder of that libtorch.
    #[serde(skip)]
    pub libtorch_folder: Option<PathBuf>,
}

/// The answer of `tunebook-worker devices`.
#[derive(Clone, Deserialize)]
struct WorkerDevices {
    libtorch: String,
    libtorch_folder: PathBuf,
    devices: Vec<Device>,
}

/// The devices of this machine that a process with this environment can use. If the worker cannot be asked, they are
/// the processors alone, and the second value says why.
pub fn devices(worker: &Path, environment: &Environment) -> (Devices, Option<DescribeError>) {
    let (found, problem) = match once_per_build(worker, "devices", environment, ask::<WorkerDevices>) {
        Ok(found) => (Some(found), None),
        Err(error) => (None, Some(error)),
    };
    let libtorch = found.as_ref().map(|found| found.libtorch.clone());
    let libtorch_folder = found.as_ref().map(|found| found.libtorch_folder.clone());
    let mut devices = found.map(|found| found.devices).unwrap_or_default();
    let driver = if devices.is_empty() { None } else { ask_driver(&mut devices) };
    devices.extend(cpu_devices());
    (Devices { devices, libtorch, driver, libtorch_folder }, problem)
}

/// One slot for each GPU, or, without a GPU, one for each processor that this process may use. `count` asks for another
/// number of slots; if it is larger than the number of GPUs, slots share GPUs. Programs run in the current folder.
pub fn default_slots(
    devices: &Devices,
    slot: &[String],
    environment: &Environment,
    count: Option<usize>,
) -> Vec<SlotSpec> {
    let folder = std::env::current_dir().ok();
    let spec = |device: &str| SlotSpec {
        device: device.to_string(),
        command: slot.to_vec(),
        environment: environment.clone(),
        folder: folder.clone(),
        far: None,
    };
    let gpus: Vec<&Device> = devices.devices.iter().filter(|d| d.kind == "cuda").collect();
    if gpus.is_empty() {
        return (0..count.unwrap_or_else(processors)).map(|i| spec(&format!("cpu:{i}"))).collect();
    }
    (0..count.unwrap_or(gpus.len())).map(|i| spec(&gpus[i % gpus.len()].id)).collect()
}

/// The number of processors that this process may use. The limits of containers count.
pub fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// One device for each processor that this process may use.
fn cpu_devices() -> Vec<Device> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let name = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let name = name.map_or(std::env::consts::ARCH.to_string(), |(_, name)| name.trim().to_string());
    let meminfo = read("/proc/meminfo");
    let memory = |field: &str| {
        let line = meminfo.lines().find(|line| line.starts_with(field))?;
        Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
    };
    let load: Option<f64> = read("/proc/loadavg").split_whitespace().next().and_then(|text| text.parse().ok());
    let count = processors();
    let utilization = load.map(|load| (load / count as f64).min(1.0));
    let device = |i| Device {
        id: format!("cpu:{i}"),
        kind: "cpu".into(),
        name: name.clone(),
        memory_bytes: memory("MemTotal:"),
        free_bytes: memory("MemAvailable:"),
        utilization,
    };
    (0..count).map(device).collect()
}

/// Sets the utilization of the GPUs, which libtorch does not know, and returns the version of the driver.
fn ask_driver(devices: &mut [Device]) -> Option<String> {
    let query = ["--query-gpu=index,utilization.gpu,driver_version", "--format=csv,noheader,nounits"];
    let output = std::process::Command::new("nvidia-smi").args(query).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).to_string();
    let mut driver = None;
    for line in text.lines() {
        let fields: Vec<&str> = line.split(',').map(str::trim).collect();
        let [index, utilization, version] = fields[..] else { continue };
        if let Some(device) = devices.iter_mut().find(|device| device.id == format!("cuda:{index}")) {
            device.utilization = utilization.parse::<f64>().ok().map(|percent| percent / 100.0);
        }
        driver = Some(version.to_string());
    }
    driver
}
