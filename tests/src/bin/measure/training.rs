//! Training in a worker against eager PyTorch, with the same models, data and numbers of steps and one thread each.

use crate::{Line, median, python};
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;
use tunebook_tests::executable;

/// A worker process, which trains one trial after the other.
struct Worker {
    process: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

/// The times of a trial, in seconds, and its objective.
struct Ran {
    /// From the first to the last measurement: the time of the steps and of the final evaluation.
    steps: f64,
    /// From the request to its first measurement.
    until_first: f64,
    /// From the request to its end.
    whole: f64,
    /// The best value of the objective.
    best: f64,
}

impl Worker {
    fn start() -> Result<Self> {
        let mut process = Command::new(executable("tunebook-worker"))
            .envs([("OMP_NUM_THREADS", "1"), ("GOMP_SPINCOUNT", "0"), ("TUNEBOOK_DEVICE", "cpu")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let stdin = process.stdin.take().context("standard input")?;
        let stdout = BufReader::new(process.stdout.take().context("standard output")?);
        let mut worker = Self { process, stdin, stdout };
        worker.event()?;
        Ok(worker)
    }

    fn event(&mut self) -> Result<Value> {
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        Ok(serde_json::from_str(&line)?)
    }

    fn run(&mut self, workload: &str, params: &Value, folder: &Path) -> Result<Ran> {
        self.run_judged_by("valid/error", workload, params, folder)
    }

    fn run_judged_by(&mut self, objective: &str, workload: &str, params: &Value, folder: &Path) -> Result<Ran> {
        std::fs::create_dir_all(folder)?;
        let trial = json!({ "trial": { "study": "s", "number": 1 }, "workload": { "kind": "builtin", "name": workload },
            "params": params, "seed": 1, "objective": objective, "direction": "minimize", "directory": folder });
        let started = Instant::now();
        writeln!(self.stdin, "{}", json!({ "type": "run", "trials": [trial] }))?;
        let mut measured: Vec<(f64, f64)> = vec![];
        let mut best = f64::INFINITY;
        loop {
            let event = self.event()?;
            match event["type"].as_str() {
                Some("measured") => {
                    best = best.min(event["metrics"][objective].as_f64().unwrap_or(f64::INFINITY));
                    measured.push((started.elapsed().as_secs_f64(), event["seconds"].as_f64().unwrap_or(f64::NAN)));
                }
                Some("ended") => {
                    let ([first, .., last], "complete") = (measured.as_slice(), event["state"].as_str().unwrap_or(""))
                    else {
                        bail!("the trial ended as {event}");
                    };
                    let whole = started.elapsed().as_secs_f64();
                    return Ok(Ran { steps: last.1 - first.1, until_first: first.0, whole, best });
                }
                _ => {}
            }
        }
    }

    /// Resident memory in bytes that the process does not share with others.
    fn memory(&self) -> Result<f64> {
        let text = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", self.process.id()))?;
        let of = |name: &str| -> f64 {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap_or("");
            line.split_whitespace().nth(1).and_then(|kb| kb.parse().ok()).unwrap_or(0.0)
        };
        Ok((of("Private_Dirty:") + of("Private_Clean:")) * 1024.0)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Microseconds of a step of a model at a batch size.
fn steps(workload: &str, batch: i64, count: i64, data: &str, at_most: f64) -> Result<Line> {
    let (mut ours, mut theirs, mut torch) = (vec![], vec![], Value::Null);
    let folder = tempfile::tempdir()?;
    let mut worker = Worker::start()?;
    let params =
        json!({ "batch_size": batch, "steps": count, "eval_every": count, "lr": 0.05, "checkpoint_every": count });
    worker.run(workload, &json!({ "steps": 1 }), folder.path())?;
    for _ in 0..5 {
        ours.push(json!(worker.run(workload, &params, folder.path())?.steps));
        let result = python("train.py", &[workload, &batch.to_string(), &count.to_string(), data])?;
        torch = result["torch"].clone();
        theirs.push(result["seconds"].clone());
    }
    let each = |seconds: Vec<Value>| 1e6 * median(&Value::Array(seconds)) / count as f64;
    let what = format!("a step of {workload}, batch {batch}");
    let peer = format!("eager PyTorch {}, fused", torch.as_str().unwrap_or("?"));
    Ok(Line { what, ours: each(ours), peer, theirs: Some(each(theirs)), unit: "µs", target: Some(at_most) })
}

/// Measures steps, whole trials, and the memory of a worker.
pub fn lines() -> Result<Vec<Line>> {
    println!("training …");
    let digits = tunebook_tests::repository().join("magics/training/data/digits.csv.gz");
    let digits = digits.display().to_string();
    let fashion =
        std::env::var("TUNEBOOK_FASHION_MNIST").unwrap_or_else(|_| "/usr/share/datasets/fashion-mnist".into());
    let mut lines = vec![
        steps("digits_mlp", 64, 3000, &digits, 1.0 / 1.3)?,
        steps("digits_cnn", 16, 2000, &digits, 1.0 / 1.2)?,
        steps("fashion_cnn", 128, 60, &fashion, 1.0 / 0.95)?,
    ];

    // A user waits for a whole trial.
    let folder = tempfile::tempdir()?;
    let params = json!({ "steps": 1000, "eval_every": 100 });
    let (mut cold, mut warm, mut theirs, mut first) = (vec![], vec![], vec![], vec![]);
    for _ in 0..5 {
        let started = Instant::now();
        let mut worker = Worker::start()?;
        worker.run("digits_mlp", &params, folder.path())?;
        cold.push(json!(started.elapsed().as_secs_f64()));
        let ran = worker.run("digits_mlp", &params, folder.path())?;
        warm.push(json!(ran.whole));
        first.push(json!(1000.0 * ran.until_first));
        let started = Instant::now();
        python("train.py", &["digits_mlp", "64", "1000", &digits])?;
        theirs.push(json!(started.elapsed().as_secs_f64()));
    }
    let theirs = median(&Value::Array(theirs));
    for (what, seconds, target) in [
        ("a trial of 1,000 steps, dispatch to result", warm, Some(0.5)),
        ("the same with the worker's start", cold, Some(0.5)),
    ] {
        let peer = "python train.py (PyTorch 2.11)".into();
        let ours = median(&Value::Array(seconds));
        lines.push(Line { what: what.into(), ours, peer, theirs: Some(theirs), unit: "s", target });
    }
    let ours = median(&Value::Array(first));
    let peer = "(at most 20 ms)".into();
    lines.push(Line {
        what: "dispatch to first measurement, warm".into(),
        ours,
        peer,
        theirs: None,
        unit: "ms",
        target: None,
    });

    println!("a thousand trials through one worker …");
    let mut worker = Worker::start()?;
    let mut at_100 = f64::NAN;
    for trial in 1..=1000 {
        // The shapes differ from trial to trial, as they do in a study.
        let params = json!({ "steps": 20, "hidden_units": 16 + trial % 64, "hidden_layers": 1 + trial % 3 });
        worker.run("digits_mlp", &params, folder.path())?;
        if trial == 100 {
            at_100 = worker.memory()?;
        }
    }
    lines.push(Line {
        what: "memory after 1,000 trials".into(),
        ours: worker.memory()? / 1e6,
        peer: "the same worker after 100".into(),
        theirs: Some(at_100 / 1e6),
        unit: "MB",
        target: Some(1.05),
    });
    Ok(lines)
}

/// The objective that each built-in workload reaches with its defaults, for the reference.
pub fn defaults() -> Result<Vec<Line>> {
    println!("defaults …");
    let all = [
        ("digits_mlp", "valid/error"),
        ("digits_cnn", "valid/error"),
        ("fashion_mlp", "valid/error"),
        ("fashion_cnn", "valid/error"),
        ("fashion_resnet", "valid/error"),
        ("text_transformer", "valid/loss"),
        ("quadratic", "valid/loss"),
    ];
    let (folder, mut worker) = (tempfile::tempdir()?, Worker::start()?);
    let line = |(workload, objective): (&str, &str)| -> Result<Line> {
        let ran = worker.run_judged_by(objective, workload, &json!({}), &folder.path().join(workload))?;
        let (what, peer) = (format!("{workload}, best {objective}"), format!("in {:.0} s", ran.whole));
        Ok(Line { what, ours: ran.best, peer, theirs: None, unit: "", target: None })
    };
    all.into_iter().map(line).collect()
}
