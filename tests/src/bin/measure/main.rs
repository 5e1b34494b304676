//! `cargo measure`: benchmarks of the product against its peers, in one run on one machine. Each line of the table
//! holds our figure, that of the peer, and the ratio. A peer that is not installed is marked as such.

mod batch_size;
mod cells;
mod conclusions;
mod large_study;
mod rust;
mod samplers;
mod slots;
mod training;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;
use tunebook_study::sampler::{Proposals, trial_seed};
use tunebook_study::store::{NewTrial, Store};
use tunebook_study::*;
use tunebook_tests::{Kernel, executable};

/// A line of the table.
struct Line {
    what: String,
    ours: f64,
    peer: String,
    theirs: Option<f64>,
    unit: &'static str,
    /// The largest ratio that we promise, or None if we promise none.
    target: Option<f64>,
}

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let mut lines = vec![];
    if let Some(("ask-tell", rest)) = words.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        return samplers::ask_tell(rest);
    }
    // The arguments are the names of the parts to run; without arguments all parts run that take no more than minutes.
    let asked = words.split(|word| word.starts_with("--")).next().unwrap_or_default();
    let wanted = |part: &str| asked.is_empty() || asked.iter().any(|name| name == part);
    if wanted("kernels") {
        lines.extend(kernels().context("kernels")?);
    }
    if wanted("store") {
        lines.push(store().context("store")?);
    }
    if asked.iter().any(|name| name == "large-study") {
        // It writes two million measurements, one after the other, as sweeps do.
        lines.extend(large_study::lines(&words).context("large-study")?);
    }
    if asked.iter().any(|name| name == "slots") {
        lines.extend(slots::lines().context("slots")?);
    }
    if wanted("training") {
        lines.extend(training::lines().context("training")?);
    }
    if wanted("cells") {
        lines.extend(cells::lines().context("cells")?);
    }
    if wanted("rust") {
        lines.extend(rust::lines().context("rust")?);
    }
    if asked.iter().any(|name| name == "defaults") {
        // It takes minutes, so it runs only when it is asked for.
        lines.extend(training::defaults().context("defaults")?);
    }
    if wanted("noise") {
        lines.extend(batch_size::noise().context("noise")?);
    }
    if wanted("scaling") {
        lines.extend(batch_size::scaling().context("scaling")?);
    }
    if asked.iter().any(|name| name == "busy") {
        lines.extend(batch_size::busy().context("busy")?);
    }
    if asked.iter().any(|name| name == "samplers") {
        // With 20 seeds it takes hours, nearly all of them in Optuna's Gaussian process.
        lines.extend(samplers::lines(&words).context("samplers")?);
    }
    if asked.iter().any(|name| name == "conclusions") {
        lines.extend(conclusions::lines(&words).context("conclusions")?);
    }
    if wanted("sweep") {
        lines.extend(sweep().context("sweep")?);
    }
    println!("\n{:<58} {:>12} {:>12}  {:>7}  {:>7}  peer", "benchmark", "ours", "theirs", "ratio", "target");
    for line in lines {
        let shown = |x: f64| match x {
            // A regret may be small.
            x if x != 0.0 && x.abs() < 1e-3 => format!("{x:.1e} {}", line.unit),
            x => format!("{x:.*} {}", if x < 0.1 { 4 } else { 2 }, line.unit),
        };
        let theirs = line.theirs.map_or("–".into(), shown);
        let ratio = line.theirs.map_or("–".into(), |theirs| format!("{:.3}", line.ours / theirs));
        let target = line.target.map_or("–".into(), |target| format!("≤ {target:.2}"));
        println!("{:<58} {:>12} {theirs:>12}  {ratio:>7}  {target:>7}  {}", line.what, shown(line.ours), line.peer);
    }
    Ok(())
}

/// Runs a script of `measure` and returns the JSON in its last line.
fn python(script: &str, arguments: &[&str]) -> Result<Value> {
    let python = std::env::var_os("TUNEBOOK_MEASURE_PYTHON")
        .context("TUNEBOOK_MEASURE_PYTHON is not set: run `cargo measure`")?;
    let path = tunebook_tests::repository().join("tests/measure").join(script);
    // The cells of a benchmark do not belong into the user's history.
    let history = tempfile::tempdir()?;
    let mut command = Command::new(python);
    command.arg(path).args(arguments).env("TUNEBOOK_HISTORY", history.path().join("history.db"));
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        bail!("{script} ended with {}", output.status);
    }
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(text.lines().last().unwrap_or("")).with_context(|| format!("{script} printed {text}"))
}

/// The median of the numbers in a JSON array.
fn median(values: &Value) -> f64 {
    let mut values: Vec<f64> = values.as_array().into_iter().flatten().filter_map(Value::as_f64).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Times of the start, of an execution and of printing, against ipykernel and evcxr_jupyter.
fn kernels() -> Result<Vec<Line>> {
    println!("kernels: start, execute, 50,000 lines …");
    let python_path = std::env::var("TUNEBOOK_MEASURE_PYTHON").context("TUNEBOOK_MEASURE_PYTHON is not set")?;
    let print_rust = "for i in 0..50_000 { println!(\"line {i}\"); }";
    let mut all = json!({
        "ours": { "argv": [executable("tunebook"), "kernel", "--connection-file", "{connection_file}"],
            "trivial": "%lsmagic", "warm": print_rust, "lines": print_rust },
        "ipykernel": { "argv": [python_path, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
            "trivial": "%lsmagic", "warm": "1", "lines": "for i in range(50_000): print(f'line {i}')" },
    });
    let evcxr = std::env::var("EVCXR_JUPYTER").ok().filter(|path| Path::new(path).exists());
    if let Some(path) = &evcxr {
        // Only its start is timed. It needs minutes for 50,000 lines, and it does not answer requests that our client
        // waits for.
        all["evcxr"] = json!({ "argv": [path, "--control_file", "{connection_file}"], "trivial": null, "warm": null, "lines": null });
    }
    let results = python("kernels.py", &[&all.to_string(), "7"])?;
    let figure = |name: &str, what: &str| 1000.0 * median(&results[name][what]);
    let against = |what: &str, key: &str, target| Line {
        what: what.into(),
        ours: figure("ours", key),
        peer: "ipykernel 7.4".into(),
        theirs: Some(figure("ipykernel", key)),
        unit: "ms",
        target,
    };
    let (peer, theirs) = match evcxr {
        Some(_) => ("evcxr_jupyter 0.22".to_string(), Some(figure("evcxr", "start"))),
        None => ("evcxr_jupyter 0.22 (not installed)".to_string(), None),
    };
    let ours = figure("ours", "start");
    Ok(vec![
        Line { what: "start to kernel_info".into(), ours, peer, theirs, unit: "ms", target: None },
        against("start to kernel_info", "start", None),
        against("execute round trip (%lsmagic)", "execute", None),
        against("50,000 printed lines (Rust compile included)", "lines", None),
    ])
}

/// A study that minimizes `e` with the default sampler.
fn quasirandom(workload: WorkloadReference, space: SearchSpace) -> StudyDefinition {
    StudyDefinition::new(
        workload,
        space,
        Objective { metric: "e".into(), direction: Direction::Minimize, judged: ObjectiveValue::Best },
    )
}

/// The tuner's own cost of a trial with ten measurements, including the store. Nothing is trained.
fn store() -> Result<Line> {
    println!("the tuner's own cost …");
    const TRIALS: u32 = 500;
    let folder = tempfile::tempdir()?;
    let mut space = SearchSpace::new();
    let distribution = Distribution::log_uniform(1e-4, 1.0)?;
    space.declare(Hyperparameter { name: "lr".into(), role: Role::Nuisance, distribution, conditions: vec![] })?;
    let definition = quasirandom(WorkloadReference::Builtin { name: "none".into() }, space);
    let mut store = Store::open(&folder.path().join("studies.db"))?;
    let study = store.create_study("cost", &definition)?;
    let mut writer = store.write(study)?;
    let mut proposals = Proposals::of(&definition);
    let started = Instant::now();
    for number in 1..=TRIALS {
        let params = proposals.get(u64::from(number - 1)).context("a proposal")?;
        let seed = trial_seed(0, number);
        writer.start(&NewTrial { number, configuration: number - 1, params, seed })?;
        for step in 0..10 {
            let metrics = [("e".to_string(), Some(1.0 / (step + 1) as f64))].into();
            writer.measured(number, &Measurement { step, seconds: 0.0, metrics })?;
        }
        writer.finish(number, TrialState::Complete, None, 0.0)?;
    }
    let ours = 1000.0 * started.elapsed().as_secs_f64() / f64::from(TRIALS);
    let theirs = python("optuna_store.py", &[])?;
    let peer = format!("Optuna {} with SQLite (ours: at most 2 ms)", theirs["version"].as_str().unwrap_or("?"));
    let theirs = theirs["seconds"].as_f64().map(|s| 1000.0 * s);
    Ok(Line { what: "the tuner's cost a trial, 10 measurements".into(), ours, peer, theirs, unit: "ms", target: None })
}

/// The wall time of a whole sweep, including the start of the workers.
fn sweep() -> Result<Vec<Line>> {
    println!("a sweep of 24 trials of 1,000 steps …");
    let sweep = "%%sweep measure --trials 24\nworkload digits_mlp\nscientific hidden_layers in [1, 2, 3]\n\
                 nuisance lr ~ loguniform(1e-3, 1)\nfixed optimizer = sgd\nfixed hidden_units = 64\nfixed batch_size = 64\n\
                 fixed steps = 1000\nfixed eval_every = 100\nminimize valid/error";
    let runtime = tokio::runtime::Runtime::new()?;
    let (mut ours, mut two, mut one) = (vec![], vec![], vec![]);
    let digits = tunebook_tests::repository().join("magics/training/data/digits.csv.gz");
    let digits = digits.display().to_string();
    let (mut best, mut their_best) = (Value::Null, Value::Null);
    for _ in 0..3 {
        let folder = tempfile::tempdir()?;
        let seconds = runtime.block_on(async {
            let mut kernel = Kernel::start(folder.path()).await;
            // The engine of Rust cells is created in the background. It must not be part of the measurement.
            kernel.run_ok("let ready = true;").await;
            let started = Instant::now();
            best = kernel.run_ok(sweep).await.result()["best"]["objective"].clone();
            started.elapsed().as_secs_f64()
        });
        ours.push(json!(seconds));
        for (jobs, list) in [("2", &mut two), ("1", &mut one)] {
            let result = python("optuna_sweep.py", &[&digits, jobs])?;
            their_best = result["best"].clone();
            list.push(result["seconds"].clone());
        }
    }
    println!("best validation error: ours {best}, theirs {their_best} (another split of the same data)");
    let ours = median(&Value::Array(ours));
    let line = |peer: &str, theirs: Vec<Value>, target| Line {
        what: "24 trials × 1,000 steps, workers' start included".into(),
        ours,
        peer: peer.into(),
        theirs: Some(median(&Value::Array(theirs))),
        unit: "s",
        target,
    };
    Ok(vec![
        line("Optuna 5 + PyTorch 2.11, n_jobs=2", two, Some(0.4)),
        line("Optuna 5 + PyTorch 2.11, n_jobs=1", one, None),
    ])
}
