//! How busy slots are with trials of one second, what a trial costs its coordinator, and how much a chart that grows
//! with 10,000 trials sends to the front end.

use super::Line;
use anyhow::Result;
use std::time::Instant;
use tunebook_tests::{Kernel, processor_seconds};

/// The trials of the sweep whose program ends at once.
const TRIALS: u32 = 10_000;

pub fn lines() -> Result<Vec<Line>> {
    println!("slots: trials of one second in 2 and in 64 slots, and {TRIALS} trials of an instant (minutes) …");
    let folder = tempfile::tempdir()?;
    tokio::runtime::Runtime::new()?.block_on(async {
        let mut kernel = Kernel::start(folder.path()).await;
        kernel.run_ok("let ready = true;").await;
        let pid = kernel.process.id() as i32;
        let (started, before) = (Instant::now(), processor_seconds(pid));
        let answer = kernel.run_ok(&sweep("instant", &format!("--trials {TRIALS} --parallel 2"), "")).await;
        let (elapsed, used) = (started.elapsed().as_secs_f64(), processor_seconds(pid) - before);
        let updates: Vec<usize> = answer
            .published
            .iter()
            .filter(|message| message.kind() == "update_display_data")
            .map(|message| message.content["data"].to_string().len())
            .collect();
        // The last one is the report.
        let live = updates.split_last().map_or(&[][..], |(_, live)| live);
        kernel.run_ok(&sweep("two", "--trials 60 --parallel 2", "sleep 1; ")).await;
        kernel.run_ok("%pool add fake --prefix env --slots 64\n%pool remove local").await;
        kernel.run_ok(&sweep("many", "--trials 1920", "sleep 1; ")).await;
        let line = |what: &str, ours: f64, unit| Line {
            what: what.into(),
            ours,
            peer: String::new(),
            theirs: None,
            unit,
            target: None,
        };
        let trials = f64::from(TRIALS);
        Ok(vec![
            line("2 slots busy with trials of 1 s (at least 95 %)", busy(&kernel, "two", 2), "%"),
            line("64 slots busy with trials of 1 s (at least 95 %)", busy(&kernel, "many", 64), "%"),
            line(&format!("a trial of {TRIALS} instant ones"), 1000.0 * elapsed / trials, "ms"),
            line("of that, processor time of the kernel", 1000.0 * used / trials, "ms"),
            line("the largest update of its chart", live.iter().copied().max().unwrap_or(0) as f64 / 1e3, "kB"),
            line("all updates of its chart", live.iter().sum::<usize>() as f64 / 1e3, "kB"),
        ])
    })
}

fn sweep(name: &str, options: &str, first: &str) -> String {
    let program = format!("{first}echo {{{{\\\"step\\\": 1, \\\"e\\\": {{x}}}}}}");
    format!("%%sweep {name} {options}\ncommand sh -c \"{program}\"\nnuisance x ~ uniform(0, 1)\nminimize e")
}

/// The percentage of the time from the first start to the last end in which the slots had a trial.
fn busy(kernel: &Kernel, study: &str, slots: u32) -> f64 {
    let trials = kernel.recorded(study);
    let first = trials.iter().map(|trial| trial.started).fold(f64::INFINITY, f64::min);
    let last = trials.iter().map(|trial| trial.started + trial.seconds).fold(f64::NEG_INFINITY, f64::max);
    100.0 * trials.iter().map(|trial| trial.seconds).sum::<f64>() / (f64::from(slots) * (last - first))
}
