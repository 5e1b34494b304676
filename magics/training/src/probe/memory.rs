//! Reads how much memory this process has used and how much it could have used, and limits it.

use crate::libtorch::accelerator_memory;
use crate::trainer::Stop;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tch::Device;
use tunebook_study::probe::MemoryUse;

/// Returns the use of each kind of memory that can run out: that of the GPU, the resident memory of this process, and
/// its address space if that is limited (`ulimit -v`).
pub(super) fn in_use(device: Device) -> Result<Vec<MemoryUse>, Stop> {
    let mut uses = vec![];
    if let Device::Cuda(index) = device {
        let memory = accelerator_memory(index).map_err(Stop::Failed)?;
        // What this process holds is free for itself.
        let limit = memory.free + memory.peak;
        uses.push(MemoryUse { kind: "device".into(), used: memory.peak, limit, hard: true });
    }
    if let (Some(peak), Some(now), Some(free)) = (of_process("VmHWM:"), of_process("VmRSS:"), free()) {
        uses.push(MemoryUse { kind: "resident".into(), used: peak, limit: free + now, hard: false });
    }
    let (soft, _) = getrlimit(Resource::RLIMIT_AS).unwrap_or((u64::MAX, u64::MAX));
    if let Some(peak) = of_process("VmPeak:").filter(|_| soft < u64::MAX) {
        uses.push(MemoryUse { kind: "address_space".into(), used: peak, limit: soft, hard: true });
    }
    Ok(uses)
}

/// Limits the data of this process (heap and private mappings) to what it has and 95 % of the free memory. A batch that
/// is too large for the machine then ends with an error of the allocator, before the machine begins to swap or the
/// operating system ends other processes. Where nothing can be read or set, there is no limit.
pub(super) fn limit_to_free_memory() {
    let (Some(data), Some(free)) = (of_process("VmData:"), free()) else { return };
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_DATA) else { return };
    let limit = soft.min(data + free / 20 * 19);
    let _ = setrlimit(Resource::RLIMIT_DATA, limit, hard);
}

/// Returns the bytes that new allocations of this process can use: those that the machine and its control group have
/// free.
fn free() -> Option<u64> {
    let machine = bytes("/proc/meminfo", "MemAvailable:")?;
    Some(machine.min(control_group_free().unwrap_or(u64::MAX)))
}

/// Returns a number of bytes from the status of this process.
fn of_process(name: &str) -> Option<u64> {
    bytes("/proc/self/status", name)
}

/// Reads a line `name: N kB` of a file.
fn bytes(file: &str, name: &str) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

/// Returns the bytes that the control group (version 2) of this process may still use, or None if it has no limit.
fn control_group_free() -> Option<u64> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let number = |file: &str| -> Option<u64> {
        std::fs::read_to_string(format!("/sys/fs/cgroup{path}/{file}")).ok()?.trim().parse().ok()
    };
    Some(number("memory.max")?.saturating_sub(number("memory.current")?))
}
