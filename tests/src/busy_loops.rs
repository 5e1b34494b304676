//! Processes that compute for ever, so that everything else on the machine is slow.

use std::process::{Child, Command, Stdio};

/// Busy loops, each a process of its own. They end when this is dropped.
pub struct BusyLoops(Vec<Child>);

impl BusyLoops {
    /// Starts so many busy loops.
    pub fn start(count: usize) -> std::io::Result<Self> {
        let mut loops = Self(vec![]);
        for _ in 0..count {
            loops.0.push(Command::new("sh").args(["-c", "while :; do :; done"]).stdin(Stdio::null()).spawn()?);
        }
        Ok(loops)
    }

    /// Starts so many busy loops for each processor of the machine.
    pub fn for_each_processor(count: usize) -> std::io::Result<Self> {
        Self::start(count * std::thread::available_parallelism().map_or(2, usize::from))
    }
}

impl Drop for BusyLoops {
    fn drop(&mut self) {
        for busy_loop in &mut self.0 {
            let _ = busy_loop.kill();
            let _ = busy_loop.wait();
        }
    }
}
