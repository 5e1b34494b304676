//! Tests the worker as the pool uses it: a process that reads requests, trains, and prints events.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

struct Worker {
    process: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

/// The events of one trial: its measurements without their times, and how it ended.
#[derive(Debug, PartialEq)]
struct Outcome {
    measurements: Vec<(u64, Value)>,
    state: String,
    reason: String,
}

impl Outcome {
    /// Returns the smallest value of a metric.
    fn best(&self, metric: &str) -> f64 {
        self.measurements.iter().filter_map(|(_, metrics)| metrics[metric].as_f64()).fold(f64::INFINITY, f64::min)
    }
}

impl Worker {
    fn start() -> Self {
        Self::start_with(&[])
    }

    fn start_with(environment: &[(&str, &str)]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_tunebook-worker"))
            .envs(environment.iter().copied())
            .envs([("TUNEBOOK_DEVICE", "cpu"), ("OMP_NUM_THREADS", "1"), ("GOMP_SPINCOUNT", "0")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (stdin, stdout) = (process.stdin.take(), BufReader::new(process.stdout.take().unwrap()));
        let mut worker = Self { process, stdin, stdout };
        assert_eq!(worker.event()["type"], "hello");
        worker
    }

    fn event(&mut self) -> Value {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    fn request(&mut self, request: &Value) {
        writeln!(self.stdin.as_mut().unwrap(), "{request}").unwrap();
    }

    fn start_trial(&mut self, workload: &str, params: &Value, seed: u64, directory: &Path) {
        self.start_trial_with("valid/error", workload, params, seed, directory);
    }

    fn start_trial_with(&mut self, objective: &str, workload: &str, params: &Value, seed: u64, directory: &Path) {
        std::fs::create_dir_all(directory).unwrap();
        let trial = json!({ "trial": { "study": "s", "number": 1 }, "workload": { "kind": "builtin", "name": workload },
            "params": params, "seed": seed, "objective": objective, "direction": "minimize", "directory": directory });
        self.request(&json!({ "type": "run", "trials": [trial] }));
    }

    /// Reads events until the trial has ended.
    fn end(&mut self) -> Outcome {
        let mut measurements = vec![];
        loop {
            let event = self.event();
            match event["type"].as_str().unwrap() {
                "measured" => measurements.push((event["step"].as_u64().unwrap(), event["metrics"].clone())),
                "ended" => {
                    let text = |name: &str| event[name].as_str().unwrap_or("").to_string();
                    return Outcome { measurements, state: text("state"), reason: text("reason") };
                }
                _ => {}
            }
        }
    }

    fn run(&mut self, params: Value, seed: u64, directory: &Path) -> Outcome {
        self.start_trial("digits_mlp", &params, seed, directory);
        self.end()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Each case is a workload, hyperparameters that make it fast enough for a test, a metric and its upper bound.
#[test]
fn the_built_in_workloads_learn() {
    let folder = tempfile::tempdir().unwrap();
    let mut worker = Worker::start();
    let cases = [
        ("digits_mlp", json!({}), "valid/error", 0.04),
        ("digits_cnn", json!({ "steps": 300 }), "valid/error", 0.04),
        ("fashion_mlp", json!({ "examples": 4000, "steps": 200, "eval_every": 200 }), "valid/error", 0.20),
        ("fashion_cnn", json!({ "examples": 4000, "steps": 60, "eval_every": 60 }), "valid/error", 0.26),
        (
            "fashion_resnet",
            json!({ "examples": 2000, "steps": 25, "eval_every": 25, "batch_size": 64 }),
            "valid/error",
            0.7,
        ),
        ("text_transformer", json!({ "steps": 60, "eval_every": 60 }), "valid/loss", 3.0),
        ("quadratic", json!({}), "valid/loss", 0.01),
    ];
    for (name, params, metric, at_most) in cases {
        worker.start_trial_with(metric, name, &params, 1, &folder.path().join(name));
        let outcome = worker.end();
        assert_eq!((outcome.state.as_str(), outcome.reason.as_str()), ("complete", ""), "{name}");
        assert!(outcome.best(metric) <= at_most, "{name}: {metric} is {}", outcome.best(metric));
    }
}

/// Without noise, each step of gradient descent multiplies θᵢ by 1 − η · hᵢ, so the loss is known.
#[test]
fn the_quadratic_has_its_known_loss() {
    let folder = tempfile::tempdir().unwrap();
    let params = json!({ "noise": 0.0, "dimension": 3, "condition": 100.0, "lr": 0.5, "steps": 20, "eval_every": 10 });
    let mut worker = Worker::start();
    worker.start_trial_with("valid/loss", "quadratic", &params, 1, folder.path());
    let outcome = worker.end();
    for (step, metrics) in &outcome.measurements {
        let known: f64 = [0.01, 0.1, 1.0].iter().map(|h| 0.5 * h * f64::powi(1.0 - 0.5 * h, 2 * *step as i32)).sum();
        let loss = metrics["valid/loss"].as_f64().unwrap();
        assert!((loss - known).abs() < 1e-6 * known.max(1e-3), "step {step}: {loss}, known {known}");
    }
}

#[test]
fn a_killed_trial_resumes_from_its_checkpoint_and_ends_bit_identical() {
    let folder = tempfile::tempdir().unwrap();
    let params = json!({ "steps": 1200, "eval_every": 20, "checkpoint_every": 100, "optimizer": "nadam", "lr": 0.003,
        "dropout": 0.2, "polyak_decay": 0.99, "batch_size": 32, "keep_best": 2 });
    let (whole, cut) = (folder.path().join("whole"), folder.path().join("cut"));
    let unbroken = Worker::start().run(params.clone(), 7, &whole);

    let mut worker = Worker::start();
    worker.start_trial("digits_mlp", &params, 7, &cut);
    let mut seen = 0;
    while seen < 500 {
        let event = worker.event();
        assert_ne!(event["type"], "ended", "the trial ended before it could be killed");
        seen = event["step"].as_u64().unwrap_or(seen);
    }
    drop(worker);
    assert!(cut.join("resume.safetensors").exists());
    let modified = |path: &Path| std::fs::metadata(path).unwrap().modified().unwrap();
    let saved = modified(&cut.join("resume.safetensors"));
    let resumed = Worker::start().run(params, 7, &cut);
    assert!(resumed == unbroken, "the measurements differ");
    for file in [
        "best.safetensors",
        "best-2.safetensors",
        "last.safetensors",
        "gradient_norm.npy",
        "predictions.safetensors",
        "classes.json",
    ] {
        assert!(std::fs::read(whole.join(file)).unwrap() == std::fs::read(cut.join(file)).unwrap(), "{file} differs");
    }
    assert!(!cut.join("resume.safetensors").exists() && saved < modified(&cut.join("last.safetensors")));

    // A trial does not resume from the checkpoint of a trial with other hyperparameters.
    std::fs::create_dir(folder.path().join("other")).unwrap();
    let mut worker = Worker::start();
    let longer = json!({ "steps": 100_000, "eval_every": 100, "checkpoint_every": 100 });
    worker.start_trial("digits_mlp", &longer, 7, &folder.path().join("other"));
    while worker.event()["step"].as_u64().unwrap_or(0) < 300 {}
    drop(worker);
    let first = Worker::start().run(json!({ "steps": 20 }), 8, &folder.path().join("other")).measurements[0].0;
    assert_eq!(first, 0);
}

#[test]
fn evaluations_are_at_given_steps_and_each_step_has_a_gradient_norm() {
    let folder = tempfile::tempdir().unwrap();
    let outcome = Worker::start().run(json!({ "steps": 130, "eval_every": 50 }), 1, folder.path());
    let steps: Vec<u64> = outcome.measurements.iter().map(|(step, _)| *step).collect();
    assert_eq!(steps, [0, 50, 100, 130]);
    for metric in ["train/loss", "valid/loss", "valid/error", "gradient_norm", "lr"] {
        assert!(outcome.measurements[1].1[metric].is_number(), "{metric}");
    }
    // The NumPy file is a header and then one f32 per step.
    let bytes = std::fs::read(folder.path().join("gradient_norm.npy")).unwrap();
    let header = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    assert_eq!((bytes.len() - header) / 4, 130);
}

#[test]
fn a_trial_is_bit_identical_whatever_ran_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let trial = |worker: &mut Worker, name: &str, seed: u64| {
        let directory = folder.path().join(name);
        let outcome = worker.run(json!({ "steps": 200, "optimizer": "adam", "lr": 0.003 }), seed, &directory);
        let file = |name: &str| std::fs::read(directory.join(name)).unwrap();
        (outcome, file("best.safetensors"), file("last.safetensors"), file("gradient_norm.npy"))
    };
    let fresh = trial(&mut Worker::start(), "fresh", 7);
    let mut warm = Worker::start();
    warm.run(json!({ "steps": 70, "hidden_layers": 3 }), 1, &folder.path().join("before"));
    warm.run(json!({ "lr": 1000.0 }), 2, &folder.path().join("diverged"));
    assert!(trial(&mut warm, "warm", 7) == fresh, "a worker that has run other trials has other numbers");
    assert!(trial(&mut warm, "other", 8).0 != fresh.0, "the seed makes no difference");
}

#[test]
fn the_best_checkpoint_follows_the_direction_of_the_study() {
    let folder = tempfile::tempdir().unwrap();
    let mut worker = Worker::start();
    let mut files = vec![];
    for direction in ["minimize", "maximize"] {
        let directory = folder.path().join(direction);
        std::fs::create_dir_all(&directory).unwrap();
        // The objective is the learning rate, which falls from one evaluation to the next.
        let trial = json!({ "trial": { "study": "s", "number": 1 },
            "workload": { "kind": "builtin", "name": "digits_mlp" },
            "params": { "steps": 40, "eval_every": 10, "schedule": "linear" }, "seed": 1, "objective": "lr",
            "direction": direction, "directory": directory });
        worker.request(&json!({ "type": "run", "trials": [trial] }));
        assert_eq!(worker.end().state, "complete");
        files.push(["best", "last"].map(|name| std::fs::read(directory.join(format!("{name}.safetensors"))).unwrap()));
    }
    assert!(files[0][0] == files[0][1], "if it is minimized, the last checkpoint is the best");
    assert!(files[1][0] != files[1][1], "if it is maximized, the first checkpoint is the best");
}

#[test]
fn a_trial_that_diverges_is_infeasible_and_the_worker_continues() {
    let folder = tempfile::tempdir().unwrap();
    let mut worker = Worker::start();
    let diverged = worker.run(json!({ "lr": 100.0 }), 1, folder.path());
    assert_eq!(diverged.state, "infeasible");
    assert!(diverged.reason.contains("training loss"), "{}", diverged.reason);
    let not_finite = worker.run(json!({ "lr": 1e30, "optimizer": "sgd" }), 1, folder.path());
    assert_eq!(not_finite.state, "infeasible");
    assert!(not_finite.measurements.iter().all(|(_, metrics)| !metrics["valid/error"].is_string()));
    assert_eq!(worker.run(json!({ "steps": 20 }), 1, folder.path()).state, "complete");
}

#[test]
fn an_invalid_hyperparameter_fails_the_trial_and_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let mut worker = Worker::start();
    let cases = [
        (json!({ "learning_rate": 0.1 }), "no hyperparameter `learning_rate`"),
        (json!({ "lr": "fast" }), "`lr` is a number"),
        (json!({ "batch_size": 5000 }), "no value for `batch_size`"),
        (json!({ "steps": 10, "warmup_steps": 11 }), "warmup_steps (11) is more than steps (10)"),
    ];
    for (params, part) in cases {
        let outcome = worker.run(params, 1, folder.path());
        assert_eq!(outcome.state, "failed");
        assert!(outcome.reason.contains(part), "{}", outcome.reason);
    }
}

#[test]
fn a_checkpoint_that_cannot_be_written_fails_only_its_trial() {
    let folder = tempfile::tempdir().unwrap();
    let mut worker = Worker::start();
    // A folder takes the place of the checkpoint.
    std::fs::create_dir_all(folder.path().join("bad/best.safetensors/x")).unwrap();
    let outcome = worker.run(json!({ "steps": 20 }), 1, &folder.path().join("bad"));
    assert_eq!(outcome.state, "failed");
    assert!(outcome.reason.contains("checkpoint") && outcome.reason.contains("best.safetensors"), "{}", outcome.reason);
    assert_eq!(worker.run(json!({ "steps": 20 }), 1, &folder.path().join("good")).state, "complete");
}

#[test]
fn a_trial_can_be_cancelled_and_closing_standard_input_ends_the_worker() {
    let folder = tempfile::tempdir().unwrap();
    let mut worker = Worker::start();
    let endless = json!({ "steps": 1_000_000 });
    worker.start_trial("digits_mlp", &endless, 1, folder.path());
    while worker.event()["type"] != "measured" {}
    let asked = Instant::now();
    worker.request(&json!({ "type": "cancel", "trial": { "study": "s", "number": 1 } }));
    assert_eq!(worker.end().state, "cancelled");
    assert!(asked.elapsed() < Duration::from_secs(1));

    worker.start_trial("digits_mlp", &endless, 1, folder.path());
    while worker.event()["type"] != "measured" {}
    drop(worker.stdin.take());
    let closed = Instant::now();
    while worker.process.try_wait().unwrap().is_none() {
        assert!(closed.elapsed() < Duration::from_secs(1), "the worker does not end");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn describe_lists_the_built_in_workloads() {
    let output = Command::new(env!("CARGO_BIN_EXE_tunebook-worker")).arg("describe").output().unwrap();
    let described: Vec<tunebook_study::WorkloadDescription> = serde_json::from_slice(&output.stdout).unwrap();
    let names: Vec<&str> = described.iter().map(|workload| workload.name.as_str()).collect();
    let all = "digits_mlp digits_cnn fashion_mlp fashion_cnn fashion_resnet text_transformer quadratic";
    assert_eq!(names, all.split(' ').collect::<Vec<_>>());
    for workload in &described {
        assert!(workload.metrics.contains(&workload.objective.metric));
        for h in &workload.hyperparameters {
            let derived = h.default == tunebook_study::Value::Null;
            assert!(
                derived || h.accept(&h.default).as_ref() == Ok(&h.default),
                "the default of {} is outside of its domain",
                h.name
            );
        }
    }
}

/// The loader thread, which is meant for a GPU, is used on the CPU here.
#[test]
fn prefetched_batches_are_the_same_as_resident_ones() {
    let folder = tempfile::tempdir().unwrap();
    let params = json!({ "steps": 60, "eval_every": 20, "batch_size": 48 });
    let resident = Worker::start().run(params.clone(), 7, &folder.path().join("resident"));
    let host = Worker::start_with(&[("TUNEBOOK_DATA", "host")]).run(params, 7, &folder.path().join("host"));
    assert_eq!(resident.state, "complete");
    assert_eq!(resident, host);
}
