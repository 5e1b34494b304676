//! What `/proc` says about the kernel's process and the processes below it.

/// Returns the ids of all processes below a process: its children, their children, and so on. Processes that have ended
/// and that nobody has waited for yet (zombies) do not count.
pub fn descendants(of: u32) -> Vec<i32> {
    let parent = |pid: i32| -> Option<i32> {
        let fields = stat_fields(pid)?;
        if fields[0] == "Z" { None } else { fields[1].parse().ok() }
    };
    let all: Vec<i32> = std::fs::read_dir("/proc")
        .expect("/proc")
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    let mut found = vec![of as i32];
    let mut i = 0;
    while i < found.len() {
        let above = found[i];
        found.extend(all.iter().copied().filter(|pid| parent(*pid) == Some(above)));
        i += 1;
    }
    found.split_off(1)
}

/// Returns the command line of a process. It is empty once the process has ended.
pub fn command_of(pid: i32) -> String {
    String::from_utf8_lossy(&std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default()).replace('\0', " ")
}

/// Returns the seconds of processor time that a process has used itself, without its children. It is 0 once the process
/// has ended.
pub fn processor_seconds(pid: i32) -> f64 {
    // The fields `utime` and `stime` of proc(5), in hundredths of a second.
    let ticks = stat_fields(pid).unwrap_or_default();
    ticks.iter().skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// Returns a field of `/proc/PID/status` that is a size, in bytes: `VmRSS:` is the memory in use, `VmHWM:` its peak.
pub fn memory(pid: u32, field: &str) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a running process");
    let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("a field of /proc/PID/status");
    let kibibytes = line.split_whitespace().next().and_then(|number| number.parse::<usize>().ok());
    kibibytes.expect("a number of KiB") << 10
}

/// The fields of `/proc/PID/stat` behind the name of the program, from the state on. None if there is no such process.
fn stat_fields(pid: i32) -> Option<Vec<String>> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(stat.rsplit_once(')')?.1.split_whitespace().map(String::from).collect())
}
