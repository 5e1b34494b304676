//! The processor time and memory that the kernel and its machine use, for `usage_request`. The fields are those of
//! ipykernel.

use parking_lot::Mutex;
use procfs::process::{Process, Stat};
use procfs::{Current, CurrentSI, KernelStats, Meminfo, WithCurrentSystemInfo};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// The shortest time for which shares are computed. Processor time is counted in steps of 10 ms, so shares of a shorter
/// time would be imprecise.
const SHORTEST: Duration = Duration::from_millis(200);

/// The last reading. Shares of processor time are those since then.
#[derive(Default)]
pub struct Usage {
    last: Mutex<Option<Reading>>,
}

/// Counters at a moment, and the shares of processor time before it.
#[derive(Clone)]
struct Reading {
    at: Instant,
    /// The processor time of the kernel's processes in ticks, those that have ended included.
    kernel: u64,
    /// The ticks of all processors of the machine: those that were busy, and all.
    host: [u64; 2],
    /// The processor time of the kernel as a share of one processor, in percent.
    kernel_percent: f64,
    /// The busy time of the machine as a share of all processors, in percent. None in the first reading.
    host_percent: Option<f64>,
}

impl Usage {
    /// The content of a `usage_reply`. This reads some hundred small files: call it from a thread that may block.
    pub fn read(&self) -> procfs::ProcResult<Value> {
        let processes = own_processes()?;
        let reading = self.shares(&processes)?;
        let mut content = json!({
            "status": "ok",
            "hostname": std::fs::read_to_string("/proc/sys/kernel/hostname")?.trim(),
            "pid": std::process::id(),
            "kernel_cpu": reading.kernel_percent,
            "kernel_memory": processes.iter().map(memory).sum::<u64>(),
            "cpu_count": KernelStats::current()?.cpu_time.len(),
            "host_virtual_memory": host_memory(&Meminfo::current()?),
        });
        if let Some(percent) = reading.host_percent {
            content["host_cpu_percent"] = json!(percent);
        }
        Ok(content)
    }

    /// A new reading with the shares since the last one. Returns the last one if that was a moment ago.
    fn shares(&self, processes: &[Stat]) -> procfs::ProcResult<Reading> {
        // The time of a process that ends is added to its parent, so the sum includes compilers that have ended.
        let ticks = |stat: &Stat| stat.utime + stat.stime + (stat.cutime + stat.cstime).max(0) as u64;
        let mut now = Reading {
            at: Instant::now(),
            kernel: processes.iter().map(ticks).sum(),
            host: host_ticks()?,
            kernel_percent: 0.0,
            host_percent: None,
        };
        let mut last = self.last.lock();
        if let Some(before) = last.as_ref() {
            let elapsed = now.at - before.at;
            if elapsed < SHORTEST {
                return Ok(before.clone());
            }
            let percent = |part: f64, whole: f64| (1000.0 * part / whole).round() / 10.0;
            let ran = now.kernel.saturating_sub(before.kernel) as f64 / procfs::ticks_per_second() as f64;
            now.kernel_percent = percent(ran, elapsed.as_secs_f64());
            let [busy, all] = [0, 1].map(|i| now.host[i].saturating_sub(before.host[i]) as f64);
            now.host_percent = (all > 0.0).then(|| percent(busy, all));
        }
        *last = Some(now.clone());
        Ok(now)
    }
}

/// This process and all its descendants: the runner of cells, compilers, slots with their workers, programs.
fn own_processes() -> procfs::ProcResult<Vec<Stat>> {
    let mut children: HashMap<i32, Vec<Stat>> = HashMap::new();
    // A process that has ended meanwhile is left out.
    for stat in procfs::process::all_processes()?.flatten().filter_map(|process| process.stat().ok()) {
        children.entry(stat.ppid).or_default().push(stat);
    }
    let mut found = vec![Process::myself()?.stat()?];
    let mut next = 0;
    while let Some(parent) = found.get(next).map(|stat| stat.pid) {
        found.extend(children.remove(&parent).unwrap_or_default());
        next += 1;
    }
    Ok(found)
}

/// The memory of a process in bytes. A page that several processes share counts in proportion: the runner of cells and
/// its snapshot share almost all of theirs.
fn memory(stat: &Stat) -> u64 {
    let shared_out = || {
        let maps = Process::new(stat.pid).ok()?.smaps_rollup().ok()?.memory_map_rollup;
        maps.iter().find_map(|map| map.extension.map.get("Pss").copied())
    };
    shared_out().unwrap_or_else(|| stat.rss_bytes().get())
}

/// The ticks of all processors: those that were busy, and all.
fn host_ticks() -> procfs::ProcResult<[u64; 2]> {
    let total = KernelStats::current()?.total;
    let waiting = total.idle + total.iowait.unwrap_or(0);
    let others = [total.irq, total.softirq, total.steal].map(|ticks| ticks.unwrap_or(0));
    let busy = total.user + total.nice + total.system + others.iter().sum::<u64>();
    Ok([busy, busy + waiting])
}

/// The memory of the machine, with the field names of Python's psutil, which front ends know.
fn host_memory(memory: &Meminfo) -> Value {
    let available = memory.mem_available.unwrap_or(memory.mem_free);
    let cached = memory.cached + memory.s_reclaimable.unwrap_or(0);
    let used = memory.mem_total.saturating_sub(available);
    json!({
        "total": memory.mem_total,
        "available": available,
        "percent": (1000.0 * used as f64 / memory.mem_total.max(1) as f64).round() / 10.0,
        "used": used,
        "free": memory.mem_free,
        "active": memory.active,
        "inactive": memory.inactive,
        "buffers": memory.buffers,
        "cached": cached,
        "shared": memory.shmem.unwrap_or(0),
        "slab": memory.slab,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_child_counts_while_it_runs_and_after_it_has_ended() {
        let usage = Usage::default();
        let first = usage.read().unwrap();
        assert_eq!(first["kernel_cpu"], 0.0);
        assert!(first.get("host_cpu_percent").is_none(), "nothing is known of the time before: {first}");
        let spin = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done";
        let mut child = std::process::Command::new("sh").args(["-c", &format!("{spin}; {spin}")]).spawn().unwrap();
        std::thread::sleep(SHORTEST + Duration::from_millis(50));
        let while_it_runs = usage.read().unwrap();
        assert!(while_it_runs["kernel_cpu"].as_f64().unwrap() > 10.0, "{while_it_runs}");
        assert_eq!(usage.read().unwrap()["kernel_cpu"], while_it_runs["kernel_cpu"], "a second front end asks at once");
        child.wait().unwrap();
        let after = usage.read().unwrap();
        assert!(after["kernel_cpu"].as_f64().unwrap() > 10.0, "{after}");
        assert!(after["host_cpu_percent"].as_f64().is_some_and(|percent| percent > 0.0 && percent <= 100.0), "{after}");
    }
}
