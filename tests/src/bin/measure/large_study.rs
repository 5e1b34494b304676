//! A study of 100,000 trials with 20 measurements each: how long it takes to open and to look at, and what it needs,
//! beside Optuna's for the same study.

use super::{Line, python, quasirandom};
use anyhow::{Context, Result};
use std::path::Path;
use std::time::Instant;
use tunebook_study::sampler::{Proposals, trial_seed};
use tunebook_study::store::{NewTrial, Store};
use tunebook_study::*;
use tunebook_tests::{Kernel, memory};

const TRIALS: u32 = 100_000;
const MEASUREMENTS: u32 = 20;

pub fn lines(arguments: &[String]) -> Result<Vec<Line>> {
    let trials = arguments.iter().skip_while(|word| *word != "--trials").nth(1).map_or(Ok(TRIALS), |n| n.parse())?;
    println!("a study of {trials} trials with {MEASUREMENTS} measurements each (minutes) …");
    let folder = tempfile::tempdir()?;
    let path = folder.path().join(".tunebook/studies.db");
    write(&path, trials)?;
    let bytes = std::fs::metadata(&path)?.len() as f64;
    let started = Instant::now();
    let store = Store::open_to_read(&path)?.context("a store")?;
    let study = store.study("large")?.context("the study")?;
    anyhow::ensure!(store.trials(&study)?.len() == trials as usize, "all trials are there");
    let open = started.elapsed().as_secs_f64();
    drop(store);
    let (answers, peak) = tokio::runtime::Runtime::new()?.block_on(async {
        let mut kernel = Kernel::start(folder.path()).await;
        kernel.run_ok("%lsmagic").await;
        let mut answers = vec![];
        for code in ["%axis large", "%isolate large a", "%insight large", "%study large", "%study"] {
            let started = Instant::now();
            kernel.run_ok(code).await;
            answers.push((code, started.elapsed().as_secs_f64()));
        }
        let started = Instant::now();
        let again = kernel.run_ok(&cell(trials)).await;
        assert!(again.shown().contains("Nothing was trained"), "{}", again.shown());
        answers.push(("the cell of the sweep again", started.elapsed().as_secs_f64()));
        (answers, memory(kernel.process.id(), "VmHWM:") as f64)
    });
    let theirs = python("optuna_large.py", &[&trials.to_string(), &MEASUREMENTS.to_string()])?;
    let version = theirs["version"].as_str().unwrap_or("?");
    let line = |what: &str, ours: f64, unit, key: &str, scale: f64| {
        let peer = match key {
            "" => "Optuna has nothing like it".into(),
            "slice" if theirs["slice"].is_null() => format!("Optuna {version}, plot_slice (plotly is not installed)"),
            "slice" => format!("Optuna {version}, plot_slice; rows inserted in bulk"),
            "importances" => format!("Optuna {version}, PED-ANOVA; rows inserted in bulk"),
            _ => format!("Optuna {version}, SQLite; rows inserted in bulk"),
        };
        let theirs = theirs[key].as_f64().map(|x| x / scale);
        Line { what: format!("{trials} trials: {what}"), ours: ours / scale, peer, theirs, unit, target: None }
    };
    let mut lines = vec![line("all trials are read (at most 1 s)", open, "s", "open", 1.0)];
    for (code, seconds) in answers {
        let (limit, key) = match code {
            "%axis large" => (" (at most 2 s)", "slice"),
            "%insight large" => ("", "importances"),
            _ => ("", ""),
        };
        lines.push(line(&format!("{code}{limit}"), seconds, "s", key, 1.0));
    }
    lines.push(line("peak memory (at most 500 MB)", peak, "MB", "memory", 1e6));
    lines.push(line("file (at most 250 MB)", bytes, "MB", "bytes", 1e6));
    Ok(lines)
}

/// The cell that [`write()`] records.
fn cell(trials: u32) -> String {
    format!(
        "%%sweep large --trials {trials}\ncommand ./train {{a}} {{x}} {{lr}}\nscientific a in [1, 2, 3]\n\
         nuisance x ~ uniform(0, 1)\nnuisance lr ~ loguniform(1e-4, 1)\nminimize e"
    )
}

/// Writes the study by the calls that a sweep makes.
fn write(path: &Path, trials: u32) -> Result<()> {
    let mut space = SearchSpace::new();
    for (name, role, distribution) in [
        ("a", Role::Scientific, Distribution::choice(vec![1.into(), 2.into(), 3.into()])?),
        ("x", Role::Nuisance, Distribution::uniform(0.0, 1.0)?),
        ("lr", Role::Nuisance, Distribution::log_uniform(1e-4, 1.0)?),
    ] {
        space.declare(Hyperparameter { name: name.into(), role, distribution, conditions: vec![] })?;
    }
    let words = ["./train", "{a}", "{x}", "{lr}"].map(String::from).into();
    let workload = WorkloadReference::Command(ProgramLine { words, optional: vec![] });
    let definition = quasirandom(workload, space);
    let mut store = Store::open(path)?;
    let study = store.create_study("large", &definition)?;
    let mut writer = store.write(study)?;
    writer.ask(trials)?;
    let mut proposals = Proposals::of(&definition);
    for number in 1..=trials {
        let params = proposals.get(u64::from(number - 1)).context("a proposal")?;
        let value = |name: &str| params.get(name).and_then(Value::as_f64).unwrap_or(f64::NAN);
        let (a, x, lr) = (value("a"), value("x"), value("lr"));
        let base = 0.1 + (x - 0.3).powi(2) + (lr.log10() + 2.0).powi(2) / 20.0 + 0.02 * a;
        writer.start(&NewTrial { number, configuration: number - 1, params, seed: trial_seed(0, number) })?;
        for k in 1..=MEASUREMENTS {
            // Two digits of the seed are noise enough.
            let noise = (trial_seed(u64::from(k), number) % 100) as f64 / 5000.0;
            let metrics = [("e".to_string(), Some(base + 1.0 / f64::from(k) + noise))].into();
            let (step, seconds) = (u64::from(100 * k), 0.05 * f64::from(k));
            writer.measured(number, &Measurement { step, seconds, metrics })?;
        }
        let (state, reason) = match lr > 0.5 {
            true => (TrialState::Infeasible, Some("diverged: the training loss rose")),
            false => (TrialState::Complete, None),
        };
        writer.finish(number, state, reason, 1.0)?;
    }
    Ok(())
}
