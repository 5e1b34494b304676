//! The devices of this machine, and the slots that are made of them.

use crate::describe::{DescribeError, ask, once_per_build};
use crate::load::ask_driver;
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
    /// The share of time in which the device is busy, from 0 to 1. None unless [`measure`](crate::measure) has set it.
    pub utilization: Option<f64>,
    /// Whether the libtorch of the worker can use it. If not, it is a GPU that only the driver lists: the build of
    /// libtorch is one for processors, or the worker cannot run. Programs can use it all the same.
    #[serde(default = "is_usable")]
    pub usable_by_libtorch: bool,
}

/// The worker lists only what its libtorch can use.
fn is_usable() -> bool {
    true
}

/// All devices of this machine, and the libtorch that the worker uses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Devices {
    /// The devices, GPUs first.
    pub devices: Vec<Device>,
    /// The version of libtorch. None (in JSON null) if the worker cannot run.
    pub libtorch: Option<String>,
    /// The version of the GPU driver. None if there is no driver, or nobody has asked.
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

impl Devices {
    /// The GPUs that programs can use and libtorch cannot.
    pub fn unusable(&self) -> impl Iterator<Item = &Device> {
        self.devices.iter().filter(|device| !device.usable_by_libtorch)
    }

    /// The same without the GPUs that libtorch cannot use.
    pub fn for_libtorch(&self) -> Self {
        let devices = self.devices.iter().filter(|device| device.usable_by_libtorch).cloned().collect();
        Self { devices, ..self.clone() }
    }
}

/// The devices of this machine that a process with this environment can use. If the worker cannot be asked, the second
/// value says why. If it lists no GPU, the driver is asked for those that programs can use.
pub fn devices(worker: &Path, environment: &Environment) -> (Devices, Option<DescribeError>) {
    let (found, problem) = match once_per_build(worker, "devices", environment, ask::<WorkerDevices>) {
        Ok(found) => (Some(found), None),
        Err(error) => (None, Some(error)),
    };
    let libtorch = found.as_ref().map(|found| found.libtorch.clone());
    let libtorch_folder = found.as_ref().map(|found| found.libtorch_folder.clone());
    let mut devices = found.map(|found| found.devices).unwrap_or_default();
    let mut driver = None;
    if devices.is_empty() {
        let (gpus, version) = ask_driver(environment);
        devices.extend((0..gpus).map(gpu_of_driver));
        driver = version;
    }
    devices.extend(cpu_devices());
    (Devices { devices, libtorch, driver, libtorch_folder }, problem)
}

/// `per_gpu` slots for each GPU, or, without a GPU, one for each processor that this process may use. `count` asks for
/// another number of slots; if it is larger than the number of devices, slots share devices. GPUs with more free memory
/// come first. Programs run in `folder`.
pub fn default_slots(
    devices: &Devices,
    slot: &[String],
    environment: &Environment,
    folder: &Path,
    count: Option<usize>,
    per_gpu: usize,
) -> Vec<SlotSpec> {
    let spec = |device: &str| SlotSpec {
        device: device.to_string(),
        command: slot.to_vec(),
        environment: environment.clone(),
        folder: Some(folder.into()),
        far: None,
    };
    let mut gpus: Vec<&Device> = devices.devices.iter().filter(|d| d.kind == "cuda").collect();
    gpus.sort_by_key(|gpu| std::cmp::Reverse(quarters_free(gpu)));
    if gpus.is_empty() {
        let processors = processors();
        return (0..count.unwrap_or(processors)).map(|i| spec(&format!("cpu:{}", i % processors))).collect();
    }
    (0..count.unwrap_or(gpus.len() * per_gpu)).map(|i| spec(&gpus[i % gpus.len()].id)).collect()
}

/// The free memory of a device in quarters of all its memory. Smaller differences do not matter, and would change the
/// order of the slots each time.
fn quarters_free(device: &Device) -> u64 {
    let all = device.memory_bytes.unwrap_or(0).max(1);
    device.free_bytes.unwrap_or(0) * 4 / all
}

/// The number of processors that this process may use. The limits of containers count.
pub fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// A GPU that only the driver lists. Its name and its memory are not known yet.
fn gpu_of_driver(index: usize) -> Device {
    Device {
        id: format!("cuda:{index}"),
        kind: "cuda".into(),
        name: format!("GPU {index}"),
        memory_bytes: None,
        free_bytes: None,
        utilization: None,
        usable_by_libtorch: false,
    }
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
    let device = |i| Device {
        id: format!("cpu:{i}"),
        kind: "cpu".into(),
        name: name.clone(),
        memory_bytes: memory("MemTotal:"),
        free_bytes: memory("MemAvailable:"),
        utilization: None,
        usable_by_libtorch: true,
    };
    (0..processors()).map(device).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_made_of_the_gpus_with_the_most_free_memory() {
        let gpu = |index: usize, free: u64| Device {
            id: format!("cuda:{index}"),
            kind: "cuda".into(),
            name: "GPU".into(),
            memory_bytes: Some(80),
            free_bytes: Some(free),
            utilization: None,
            usable_by_libtorch: true,
        };
        let devices = vec![gpu(0, 10), gpu(1, 79), gpu(2, 65)];
        let devices = Devices { devices, libtorch: None, driver: None, libtorch_folder: None };
        let names = |count, per_gpu| -> Vec<String> {
            let slots = default_slots(&devices, &[], &Environment::default(), Path::new("/nb"), count, per_gpu);
            slots.into_iter().map(|slot| slot.device).collect()
        };
        assert_eq!(names(None, 1), ["cuda:1", "cuda:2", "cuda:0"]);
        assert_eq!(names(Some(1), 1), ["cuda:1"]);
        assert_eq!(names(None, 2), ["cuda:1", "cuda:2", "cuda:0", "cuda:1", "cuda:2", "cuda:0"]);
    }

    #[test]
    fn more_slots_than_processors_share_them() {
        let devices = Devices { devices: vec![], libtorch: None, driver: None, libtorch_folder: None };
        let all = processors();
        let slots = default_slots(&devices, &[], &Environment::default(), Path::new("/nb"), Some(all + 1), 1);
        assert_eq!((slots.len(), slots[all].device.as_str()), (all + 1, "cpu:0"));
    }

    #[test]
    fn programs_run_on_gpus_that_only_the_driver_lists_and_libtorch_does_not() {
        let devices = (0..2).map(gpu_of_driver).chain(cpu_devices()).collect();
        let devices = Devices { devices, libtorch: None, driver: None, libtorch_folder: None };
        let names = |devices: &Devices, count| -> Vec<String> {
            let slots = default_slots(devices, &[], &Environment::default(), Path::new("/nb"), count, 1);
            assert!(slots.iter().all(|slot| slot.folder.as_deref() == Some(Path::new("/nb"))));
            slots.into_iter().map(|slot| slot.device).collect()
        };
        assert_eq!(names(&devices, None), ["cuda:0", "cuda:1"]);
        assert_eq!(names(&devices.for_libtorch(), Some(1)), ["cpu:0"]);
        assert_eq!(devices.unusable().count(), 2);
        let of_worker = r#"{"id":"cuda:0","kind":"cuda","name":"CUDA device 0"}"#;
        assert!(serde_json::from_str::<Device>(of_worker).unwrap().usable_by_libtorch);
    }
}
