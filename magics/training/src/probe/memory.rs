//! Reads how much memory this process has used, and how much it could have used.

use crate::libtorch::accelerator_memory;
use crate::trainer::Stop;
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
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kilobytes = |text: &str, name: &str| -> Option<u64> {
        let line = text.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kb| kb * 1024)
    };
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    if let (Some(peak), Some(now), Some(free)) =
        (kilobytes(&status, "VmHWM:"), kilobytes(&status, "VmRSS:"), kilobytes(&meminfo, "MemAvailable:"))
    {
        let group = control_group_free().unwrap_or(u64::MAX);
        uses.push(MemoryUse { kind: "resident".into(), used: peak, limit: free.min(group) + now, hard: false });
    }
    let (soft, _) =
        nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_AS).unwrap_or((u64::MAX, u64::MAX));
    if let Some(peak) = kilobytes(&status, "VmPeak:").filter(|_| soft < u64::MAX) {
        uses.push(MemoryUse { kind: "address_space".into(), used: peak, limit: soft, hard: true });
    }
    Ok(uses)
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
