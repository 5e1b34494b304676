//! What `%scaling` and `--every` cost, and whether `%throughput` gives no answer on a busy machine.

use crate::{Line, median, python};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::path::Path;
use tunebook_study::store::Store;
use tunebook_tests::{BusyLoops, Kernel, descendants};

/// The processor time of the reference experiment against the same experiment in PyTorch.
pub fn scaling() -> Result<Vec<Line>> {
    println!("steps to target on the digits at 11 batch sizes (minutes) …");
    let folder = tempfile::tempdir()?;
    let (ours, result) = tokio::runtime::Runtime::new()?.block_on(async {
        let mut kernel = Kernel::start(folder.path()).await;
        // The engine of Rust cells is created in the background. It must not be part of the measurement.
        kernel.run_ok("let ready = true;").await;
        let before = cpu_seconds(kernel.process.id());
        let code = "%scaling digits_mlp --target 'valid/error<=0.05' --batches 1..1024 --set optimizer=sgd \
                    --set schedule=constant --set hidden_layers=1 --set hidden_units=64";
        let result = kernel.run_ok(code).await.result();
        (cpu_seconds(kernel.process.id()) - before, result)
    });
    let digits = tunebook_tests::repository().join("magics/training/data/digits.csv.gz");
    let theirs = python("scaling.py", &[&digits.display().to_string()])?;
    let steps: Vec<String> = result["points"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|p| format!("{}: {} ({})", p["batch_size"], p["steps"], theirs["steps"][p["batch_size"].to_string()]))
        .collect();
    println!("steps, ours (theirs): {}; fit {}", steps.join(", "), result["fit"]);
    Ok(vec![Line {
        what: "%scaling, 11 sizes, 3 seeds: CPU".into(),
        ours,
        peer: format!("PyTorch {}, 14 rates", theirs["torch"].as_str().unwrap_or("?")),
        theirs: theirs["seconds"].as_f64(),
        unit: "s",
        target: Some(0.5),
    }])
}

/// Seconds of processor time of a process and of all processes below it, also of those that have ended.
fn cpu_seconds(pid: u32) -> f64 {
    let of = |pid: i32| -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let fields: Vec<&str> = stat.rsplit_once(')').map_or(vec![], |(_, rest)| rest.split_whitespace().collect());
        fields.iter().skip(11).take(4).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
    };
    descendants(pid).into_iter().chain([pid as i32]).map(of).sum()
}

/// The time of a trial that logs its noise scale against one that does not.
pub fn noise() -> Result<Vec<Line>> {
    println!("trials with and without --every 20 …");
    let mut lines = vec![];
    for (workload, steps, rounds) in [("digits_mlp", 4000, 5), ("fashion_cnn", 100, 3)] {
        let folder = tempfile::tempdir()?;
        let (mut plain, mut watched) = (vec![], vec![]);
        tokio::runtime::Runtime::new()?.block_on(async {
            let mut kernel = Kernel::start(folder.path()).await;
            kernel.run_ok("let ready = true;").await;
            for round in 0..rounds {
                for (name, every, list) in [("plain", "", &mut plain), ("watched", "--every 20", &mut watched)] {
                    let name = format!("{name}{round}");
                    let sweep = format!(
                        "%%sweep {name} --trials 1 {every}\nworkload {workload}\nfixed steps = {steps}\nfixed eval_every = {steps}"
                    );
                    kernel.run_ok(&sweep).await;
                    list.push(json!(seconds_of(folder.path(), &name)?));
                }
            }
            anyhow::Ok(())
        })?;
        lines.push(Line {
            what: format!("a trial of {workload} with --every 20"),
            ours: median(&Value::Array(watched)),
            peer: "the same without".into(),
            theirs: Some(median(&Value::Array(plain))),
            unit: "s",
            target: Some(1.05),
        });
    }
    Ok(lines)
}

/// The seconds of the first trial of a study.
fn seconds_of(folder: &Path, study: &str) -> Result<f64> {
    let store = Store::open_to_read(&folder.join(".tunebook/studies.db"))?.context("a store")?;
    let study = store.study(study)?.context("the study")?;
    Ok(store.trials(&study)?.first().context("a trial")?.seconds)
}

/// How many of 20 runs of `%throughput` beside busy loops say that the machine is too busy to tell.
pub fn busy() -> Result<Vec<Line>> {
    println!("%throughput on a busy machine, 20 times (minutes) …");
    const RUNS: usize = 20;
    let folder = tempfile::tempdir()?;
    let unreliable = tokio::runtime::Runtime::new()?.block_on(async {
        let mut kernel = Kernel::start(folder.path()).await;
        kernel.run_ok("let ready = true;").await;
        let _busy = BusyLoops::for_each_processor(2)?;
        let mut unreliable = 0;
        for _ in 0..RUNS {
            let result = kernel.run_ok("%throughput digits_mlp --max 2").await.result();
            let gives_no_answer =
                result["reliable"] == false && result["saturation"].is_null() && result["recommended"].is_null();
            unreliable += usize::from(gives_no_answer);
        }
        anyhow::Ok(unreliable)
    })?;
    ensure!(unreliable == RUNS, "only {unreliable} of {RUNS} runs on a busy machine were called unreliable");
    Ok(vec![Line {
        what: "%throughput on a busy machine called unreliable".into(),
        ours: unreliable as f64,
        peer: format!("of {RUNS} runs"),
        theirs: Some(RUNS as f64),
        unit: "",
        target: None,
    }])
}
