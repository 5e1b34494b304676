//! How busy devices are now: processors by the counters of Linux, GPUs by NVML. That is the library under `nvidia-smi`,
//! which is loaded if it is there.

use crate::{Device, Environment};
use nvml_wrapper::Nvml;
use std::time::Duration;

/// How long the counters of processors are watched.
const WATCHED: Duration = Duration::from_millis(100);
/// The variable by which CUDA learns which GPUs a process may use.
const VISIBLE: &str = "CUDA_VISIBLE_DEVICES";
/// The variable by which CUDA learns how GPUs are numbered. NVML numbers them by their place on the PCI bus, and CUDA
/// without this variable the fastest first.
const ORDER: (&str, &str) = ("CUDA_DEVICE_ORDER", "PCI_BUS_ID");

/// Sets the load of each device, and the name and the memory of GPUs, where the system tells them. Takes a tenth of a
/// second. Returns the version of the GPU driver, or None if there is none. It is known without a GPU too.
pub fn measure(devices: &mut [Device], environment: &Environment) -> Option<String> {
    let before = processor_times();
    std::thread::sleep(WATCHED);
    let loads = loads(&before, &processor_times());
    for (device, load) in devices.iter_mut().filter(|device| device.kind == "cpu").zip(loads) {
        device.utilization = load;
    }
    measure_gpus(devices.iter_mut().filter(|device| device.kind == "cuda"), environment)
}

/// How many GPUs a process with this environment may use, as the driver tells it, and the version of the driver.
pub(crate) fn ask_driver(environment: &Environment) -> (usize, Option<String>) {
    let Ok(nvml) = Nvml::init() else { return (0, None) };
    let uuid = |index| nvml.device_by_index(index).and_then(|gpu| gpu.uuid()).unwrap_or_default();
    let uuids: Vec<String> = (0..nvml.device_count().unwrap_or(0)).map(uuid).collect();
    (visible(value_of(VISIBLE, environment).as_deref(), &uuids), nvml.sys_driver_version().ok())
}

/// How many of the GPUs with these UUIDs a process may use that has this value of `CUDA_VISIBLE_DEVICES`. As for CUDA,
/// the list ends at the first name of which there is no GPU. So an empty value and `-1` leave none.
fn visible(listed: Option<&str>, uuids: &[String]) -> usize {
    let Some(listed) = listed else { return uuids.len() };
    let is_there = |name: &str| match name.parse::<usize>() {
        Ok(index) => index < uuids.len(),
        // A part of a GPU. The driver lists only whole ones.
        Err(_) if name.starts_with("MIG-") => true,
        // The beginning of a UUID is enough if it is that of one GPU alone.
        Err(_) => name.starts_with("GPU-") && uuids.iter().filter(|uuid| uuid.starts_with(name)).count() == 1,
    };
    listed.split(',').map(str::trim).take_while(|name| is_there(name)).count()
}

/// The value of a variable of a process with this environment.
fn value_of(name: &str, environment: &Environment) -> Option<String> {
    match environment.get(name) {
        Some(changed) => changed.map(String::from),
        None => std::env::var(name).ok(),
    }
}

/// What CUDA calls the GPU that a process with this environment knows as `cuda:INDEX`: its number, or the name in the
/// variable `CUDA_VISIBLE_DEVICES`.
fn name_of_gpu(index: usize, environment: &Environment) -> String {
    let visible = value_of(VISIBLE, environment);
    let listed = visible.as_deref().and_then(|list| list.split(',').nth(index)).map(str::trim);
    listed.filter(|name| !name.is_empty()).map_or(index.to_string(), String::from)
}

/// The variables by which a process with this environment sees only the GPU that is known as `cuda:INDEX`, the one that
/// [`measure`] looks at. An order of the user's own is kept.
pub(crate) fn only_gpu(index: usize, environment: &Environment) -> Vec<(&'static str, String)> {
    let order = value_of(ORDER.0, environment).unwrap_or_else(|| ORDER.1.into());
    vec![(VISIBLE, name_of_gpu(index, environment)), (ORDER.0, order)]
}

fn measure_gpus<'a>(gpus: impl Iterator<Item = &'a mut Device>, environment: &Environment) -> Option<String> {
    let nvml = Nvml::init().ok()?;
    for gpu in gpus {
        let Some(index) = gpu.id.strip_prefix("cuda:").and_then(|index| index.parse().ok()) else { continue };
        let name = name_of_gpu(index, environment);
        let found = match name.parse() {
            Ok(number) => nvml.device_by_index(number),
            Err(_) => nvml.device_by_uuid(name.as_str()),
        };
        let Ok(found) = found else { continue };
        gpu.utilization = found.utilization_rates().ok().map(|rates| f64::from(rates.gpu) / 100.0);
        if let Ok(memory) = found.memory_info() {
            (gpu.memory_bytes, gpu.free_bytes) = (Some(memory.total), Some(memory.free));
        }
        // libtorch tells no name.
        if let Ok(name) = found.name() {
            gpu.name = name;
        }
    }
    nvml.sys_driver_version().ok()
}

/// For each processor that this process may use: how many ticks it was busy since boot, and how many it was not.
fn processor_times() -> Vec<(u64, u64)> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let (stat, status) = (read("/proc/stat"), read("/proc/self/status"));
    let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap_or_default();
    allowed_processors(allowed).into_iter().filter_map(|number| times_of(&stat, number)).collect()
}

/// Reads a list such as `0-2,7`.
fn allowed_processors(list: &str) -> Vec<u32> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.trim().parse().ok()?..=last.trim().parse().ok()?)
    };
    list.split(',').filter_map(range).flatten().collect()
}

/// Finds the line of a processor in `/proc/stat`. Its columns are user, nice, system, idle, iowait, irq, softirq and
/// steal.
fn times_of(stat: &str, number: u32) -> Option<(u64, u64)> {
    let line = stat.lines().find_map(|line| line.strip_prefix(&format!("cpu{number} ")))?;
    let columns: Vec<u64> = line.split_whitespace().take(8).map_while(|column| column.parse().ok()).collect();
    let idle = columns.get(3)? + columns.get(4)?;
    Some((columns.iter().sum::<u64>() - idle, idle))
}

/// The share of time in which each processor was busy. None if its counters did not move.
fn loads(before: &[(u64, u64)], after: &[(u64, u64)]) -> Vec<Option<f64>> {
    let load = |(before, after): (&(u64, u64), &(u64, u64))| {
        let (busy, idle) = (after.0.saturating_sub(before.0), after.1.saturating_sub(before.1));
        (busy + idle > 0).then(|| busy as f64 / (busy + idle) as f64)
    };
    before.iter().zip(after).map(load).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_load_is_what_the_counters_moved() {
        let stat =
            "cpu  9 9 9 9 9 9 9 9 0 0\ncpu0 10 0 5 80 5 0 0 0 0 0\ncpu1 1 2 3 4 5 6 7 8 0 0\ncpu10 7 0 0 1 0 0 0 0\n";
        assert_eq!((times_of(stat, 0), times_of(stat, 10), times_of(stat, 2)), (Some((15, 85)), Some((7, 1)), None));
        assert_eq!(loads(&[(15, 85), (4, 4)], &[(18, 92), (4, 4)]), [Some(0.3), None]);
        assert_eq!(allowed_processors("\t0-2,7\n"), [0, 1, 2, 7]);
    }

    #[test]
    fn a_gpu_has_the_name_that_cuda_gives_it() {
        let environment = |value: Option<&str>| Environment(vec![(VISIBLE.into(), value.map(String::from))]);
        assert_eq!(name_of_gpu(1, &environment(Some("3, GPU-5a"))), "GPU-5a");
        assert_eq!(name_of_gpu(0, &environment(Some("3,GPU-5a"))), "3");
        assert_eq!(name_of_gpu(2, &environment(None)), "2");
    }

    #[test]
    fn the_gpus_of_the_driver_are_those_that_cuda_would_show() {
        let uuids = ["GPU-5a1", "GPU-5a2", "GPU-77"].map(String::from);
        for (listed, expected) in [
            (None, 3),
            (Some(""), 0),
            (Some("-1"), 0),
            (Some("2"), 1),
            (Some("2, 0"), 2),
            (Some("0,3,1"), 1),
            (Some("GPU-77,GPU-5a2"), 2),
            (Some("GPU-7"), 1),
            (Some("GPU-5a"), 0),
            (Some("GPU-9,0"), 0),
            (Some("MIG-4f"), 1),
            (Some("NoDevFiles"), 0),
        ] {
            assert_eq!(visible(listed, &uuids), expected, "{listed:?}");
        }
        assert_eq!(visible(None, &[]), 0);
    }

    #[test]
    fn a_slot_sees_the_gpu_that_nvml_numbers_so() {
        let set = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter().map(|(name, value)| (name.to_string(), Some(value.to_string())));
            let seen = only_gpu(1, &Environment(pairs.collect()));
            seen.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>()
        };
        assert_eq!(set(&[(VISIBLE, "3,5")]), ["CUDA_VISIBLE_DEVICES=5", "CUDA_DEVICE_ORDER=PCI_BUS_ID"]);
        let own = set(&[(VISIBLE, "3,5"), (ORDER.0, "FASTEST_FIRST")]);
        assert_eq!(own, ["CUDA_VISIBLE_DEVICES=5", "CUDA_DEVICE_ORDER=FASTEST_FIRST"]);
    }
}
