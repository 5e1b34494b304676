//! `%%sweep`: what is recorded, what survives the death of a process, and what the errors say.

use serde_json::{Value, json};
use std::process::Command;
use std::time::{Duration, Instant};
use tunebook_study::TrialState;
use tunebook_study::store::Store;
use tunebook_tests::{Kernel, PATIENCE, cell, command_of, descendants, eventually, executable, kernel};

/// The body of a sweep whose trials take long enough that a test can end a process in the middle of one.
const SLOW: &str = "workload digits_mlp\nnuisance lr ~ loguniform(1e-3, 1)\nfixed steps = 3000\nfixed eval_every = 50";

/// A sweep whose trials are short.
fn quick(name: &str, options: &str) -> String {
    format!(
        "%%sweep {name} {options}\nworkload digits_mlp\nscientific hidden_layers in [1, 2]\n\
         nuisance lr ~ loguniform(1e-3, 100)\nfixed steps = 60\nfixed eval_every = 20\nminimize valid/error"
    )
}

#[tokio::test]
async fn the_results_of_a_sweep_and_of_its_analyses_have_the_promised_fields() {
    let (mut kernel, _folder) = kernel().await;
    let answer = kernel.run_ok(&quick("depth", "--trials 16 --seed 3")).await;
    let result = answer.result();
    assert_eq!((&result["kind"], &result["version"], &result["study"]), (&json!("sweep"), &json!(1), &json!("depth")));
    let trials = &result["trials"];
    let count = |state: &str| trials[state].as_u64().unwrap();
    assert_eq!(count("complete") + count("infeasible"), 16, "{trials}");
    assert!(count("infeasible") > 0, "a learning rate of 100 diverges");
    for field in ["trial", "objective", "step", "params"] {
        assert!(!result["best"][field].is_null(), "{field}: {result}");
    }
    // One display is updated while the sweep runs. Only its last state holds the result and the Plotly figure.
    let displays: Vec<&tunebook_tests::Message> =
        answer.published.iter().filter(|m| m.kind().ends_with("display_data")).collect();
    let last = displays.last().unwrap();
    let mut types: Vec<&String> = last.content["data"].as_object().unwrap().keys().collect();
    types.sort();
    assert_eq!(
        types,
        ["application/vnd.plotly.v1+json", "application/vnd.tunebook.v1+json", "text/html", "text/plain"]
    );
    let plotly = displays.iter().filter(|m| m.content["data"].get("application/vnd.plotly.v1+json").is_some());
    assert_eq!(plotly.count(), 1);
    let text = last.content["data"]["text/plain"].as_str().unwrap();
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");

    let isolation = kernel.run_ok("%isolate depth hidden_layers").await.result();
    assert_eq!(isolation["points"].as_array().unwrap().len(), 2);
    assert_eq!(isolation["points"][0]["value"], 1);
    let axis = kernel.run_ok("%axis depth").await.result();
    let scales: Vec<&Value> = axis["plots"].as_array().unwrap().iter().map(|plot| &plot["scale"]).collect();
    assert_eq!(scales, ["categorical", "log"]);
    assert_eq!(axis["plots"][1]["points"].as_array().unwrap().len(), 16);
    let curves = kernel.run_ok("%curves depth --best 2").await.result();
    let steps: Vec<u64> = curves["trials"][0]["metrics"]["valid/error"]
        .as_array()
        .unwrap()
        .iter()
        .map(|point| point[0].as_u64().unwrap())
        .collect();
    assert_eq!(steps, [0, 20, 40, 60]);
    let by_loss = kernel.run_ok("%isolate depth lr --minimize train/loss --objective final --buckets 3").await.result();
    assert_eq!((by_loss["points"].as_array().unwrap().len(), &by_loss["metric"]), (3, &json!("train/loss")));
    let study = kernel.run_ok("%study depth").await.result();
    assert_eq!(study["definition"]["seed"], 3);
    assert_eq!(study["environment"]["libtorch"], "2.11.0");
    assert_eq!(kernel.run_ok("%study").await.result()["studies"][0]["study"], "depth");
    let devices = kernel.run_ok("%devices").await.result();
    assert!(devices["devices"].as_array().unwrap().iter().any(|device| device["kind"] == "cpu"));
    let workloads = kernel.run_ok("%workloads digits_mlp").await.result();
    let names: Vec<&str> = workloads["workloads"][0]["hyperparameters"]
        .as_array()
        .unwrap()
        .iter()
        .map(|h| h["name"].as_str().unwrap())
        .collect();
    assert!(names.contains(&"hidden_layers") && names.contains(&"lr"), "{names:?}");

    // The same sweep again trains nothing. With more trials, only the missing ones are trained.
    let before = kernel.recorded("depth");
    assert!(kernel.run_ok(&quick("depth", "--trials 16 --seed 3")).await.result()["trials"] == *trials);
    assert_eq!(kernel.recorded("depth"), before);
    kernel.run_ok(&quick("depth", "--trials 18 --seed 3")).await;
    let after = kernel.recorded("depth");
    assert_eq!(after.len(), 18);
    assert_eq!(after[..16], before[..]);

    // Another definition under the same name is an error that says what differs. `--widen` accepts a wider one.
    let error = kernel.run_error(&quick("depth", "--trials 16 --seed 4")).await;
    assert!(error.contains("StudyExists") && error.contains("--seed was 3, now 4"), "{error}");
    let wider =
        quick("depth", "--trials 20 --seed 3 --widen").replace("loguniform(1e-3, 100)", "loguniform(1e-4, 100)");
    kernel.run_ok(&wider).await;
    assert_eq!(kernel.recorded("depth")[..18], after[..]);
    let narrower = quick("depth", "--trials 22 --seed 3 --widen");
    assert!(kernel.run_error(&narrower).await.contains("--widen accepts only ranges that grew"));

    kernel.run_ok("%study delete depth").await;
    assert!(kernel.run_error("%study depth").await.contains("UnknownStudy"));
}

#[tokio::test]
async fn the_same_sweep_gives_the_same_numbers_in_another_kernel() {
    let mut results = vec![];
    for _ in 0..2 {
        let (mut kernel, _folder) = kernel().await;
        kernel.run_ok(&quick("depth", "--trials 6 --seed 5")).await;
        let shown = |t: &tunebook_study::Trial| format!("{:?} {:?} {:?} {:?}", t.params, t.seed, t.state, t.summaries);
        results.push(kernel.recorded("depth").iter().map(shown).collect::<Vec<_>>());
    }
    assert_eq!(results[0], results[1]);
}

#[tokio::test]
async fn a_killed_kernel_leaves_no_orphan_and_its_study_is_resumed() {
    let (mut kernel, folder) = kernel().await;
    let sweep = format!("%%sweep slow --trials 8\n{SLOW}");
    kernel.send("execute_request", cell(&sweep)).await;
    let some_done = |kernel: &Kernel| kernel.recorded("slow").iter().filter(|t| !t.state.runs_again()).count() >= 2;
    assert!(eventually(PATIENCE, || some_done(&kernel)).await, "two trials end");
    let below = descendants(kernel.process.id());
    assert!(below.iter().any(|pid| command_of(*pid).contains("tunebook-worker")), "a worker runs");
    kernel.kill();
    let alive = |pid: &&i32| !command_of(**pid).is_empty();
    let gone = eventually(Duration::from_secs(1), || below.iter().filter(alive).count() == 0).await;
    assert!(gone, "left: {:?}", below.iter().filter(alive).map(|pid| command_of(*pid)).collect::<Vec<_>>());
    let before = kernel.recorded("slow");
    let finished: Vec<_> = before.iter().filter(|t| !t.state.runs_again()).cloned().collect();
    assert!(finished.len() < 8, "it was killed in the middle");

    let mut kernel = Kernel::start(folder.path()).await;
    let shown = kernel.run_ok(&sweep).await.result();
    assert!(shown["trials"]["complete"].as_u64().unwrap() < 8, "without --resume nothing is trained");
    kernel.run_ok(&sweep.replace("--trials 8", "--trials 8 --resume")).await;
    let after = kernel.recorded("slow");
    assert_eq!(after.iter().map(|t| t.number).collect::<Vec<_>>(), (1..=8).collect::<Vec<_>>());
    assert!(after.iter().all(|t| t.state == TrialState::Complete), "{after:#?}");
    for trial in finished {
        assert!(after.contains(&trial), "trial {} was changed", trial.number);
    }
}

#[tokio::test]
async fn a_killed_worker_costs_its_trial_and_nothing_else() {
    let (mut kernel, _folder) = kernel().await;
    let sweep = format!("%%sweep slow --trials 4 --parallel 1\n{SLOW}");
    let id = kernel.send("execute_request", cell(&sweep)).await;
    assert!(eventually(PATIENCE, || !kernel.children("tunebook-worker").is_empty()).await);
    let worker = |kernel: &Kernel| {
        let workers = kernel.children("tunebook-worker");
        workers.into_iter().find(|pid| !command_of(*pid).contains("slot")).expect("a worker")
    };
    assert!(eventually(PATIENCE, || kernel.recorded("slow").len() >= 2).await);
    let pid = nix::unistd::Pid::from_raw(worker(&kernel));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    let result = kernel.answer(&id).await.result();
    assert_eq!((&result["trials"]["complete"], &result["trials"]["failed"]), (&json!(3), &json!(1)), "{result}");
    let failed = kernel.recorded("slow").into_iter().find(|t| t.state == TrialState::Failed).unwrap();
    assert!(failed.reason.unwrap().contains("signal 9"));
}

#[tokio::test]
async fn an_interrupt_ends_a_sweep_within_a_second_and_the_kernel_goes_on() {
    let (mut kernel, _folder) = kernel().await;
    let sweep = format!("%%sweep slow --trials 50\n{SLOW}");
    let id = kernel.send("execute_request", cell(&sweep)).await;
    assert!(eventually(PATIENCE, || kernel.recorded("slow").len() >= 3).await);
    let started = Instant::now();
    kernel.control("interrupt_request", json!({})).await;
    let answer = kernel.answer(&id).await;
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    assert_eq!(answer.reply["ename"], "Interrupted");
    assert!(answer.result()["trials"]["cancelled"].as_u64().unwrap() > 0, "the result so far stays in the display");
    let started = Instant::now();
    kernel.run_ok("%study").await;
    assert!(started.elapsed() < Duration::from_secs(1));
    assert!(kernel.recorded("slow").iter().all(|t| t.state != TrialState::Running));
    // The same kernel can resume the sweep.
    kernel.run_ok(&sweep.replace("--trials 50", "--trials 3 --resume")).await;
    let trials = kernel.recorded("slow");
    assert!(trials[..3].iter().all(|t| t.state == TrialState::Complete), "{trials:#?}");
}

#[tokio::test]
async fn every_mistake_in_a_sweep_has_an_error_of_its_own_and_records_nothing() {
    let (mut kernel, folder) = kernel().await;
    let with = |line: &str| format!("%%sweep s\nworkload digits_mlp\nnuisance lr ~ loguniform(1e-3, 1)\n{line}");
    let cases = [
        (with("nuisance lr2 ~ uniform(0, 1)"), "UnknownHyperparameter", "did you mean `lr`"),
        (with("nuisance momentum ~ unifrom(0, 1)"), "InvalidDistribution", "did you mean `uniform`"),
        (with("minimize valid/eror"), "UnknownMetric", "did you mean `valid/error`"),
        (with("minimize test/error"), "UnknownMetric", "test set"),
        (with("minimize train/error"), "UnknownMetric", "a sweep with `--training-metrics` reports it"),
        ("%%sweep s\nworkload digit_mlp\nnuisance lr ~ uniform(0.1, 1)".into(), "UnknownWorkload", "digits_mlp"),
        (with("nuisance momentum ~ uniform(0.5, 0.5)"), "InvalidDistribution", "empty"),
        (with("nuisance epsilon ~ loguniform(0, 1)"), "InvalidDistribution", "above 0"),
        (with("nuisance momentum ~ uniform(0, 2)"), "InvalidValue", "no value for `momentum`"),
        (with("scientific hidden_layers in [1, 2.5]"), "InvalidValue", "whole number"),
        (with("nuisance hidden_units ~ uniform(8, 64)"), "InvalidDistribution", "int(a, b)"),
        (with("fixed optimizer = lion"), "InvalidValue", "one of nesterov, sgd"),
        (with("scientific optimizer in [adam, nesterof]"), "InvalidValue", "did you mean `nesterov`?"),
        ("%sweep digits_mlp activation=[relu,tanhh]".into(), "InvalidValue", "did you mean `tanh`?"),
        (with("fixed lr = 0.1"), "InvalidDeclaration", "declared already"),
        (with("when optimizer == adam: nuisance beta1 ~ uniform(0, 1)"), "InvalidDeclaration", "not declared above"),
        (
            with("fixed seed = 3").replacen("%%sweep s", "%%sweep s --repeats 3", 1),
            "InvalidDeclaration",
            "`seed` is declared",
        ),
        (with("trials = 5"), "SyntaxError", "is not a declaration"),
        ("%%sweep s --trails 5\nworkload digits_mlp".into(), "UnknownOption", "did you mean `--trials`"),
        ("%%sweep s --sampler bays\nworkload digits_mlp".into(), "InvalidValue", "did you mean `bayes`"),
        (
            "%%sweep s --sampler grid\nworkload digits_mlp\nnuisance lr ~ uniform(0.1, 1)".into(),
            "InvalidDistribution",
            "grid",
        ),
        ("%%sweep\nworkload digits_mlp".into(), "SyntaxError", "name is missing"),
        ("%%sweep a/b\nworkload digits_mlp".into(), "InvalidValue", "cannot be the name of a study"),
        ("%%sweep s\ncommand echo {lr}\nminimize e".into(), "UnknownHyperparameter", "no line declares"),
        ("%%sweep s\ncommand echo hi".into(), "SyntaxError", "the objective is missing"),
        ("%swep digits_mlp".into(), "UnknownMagic", "did you mean `sweep`"),
    ];
    for (code, name, part) in cases {
        let error = kernel.run_error(&code).await;
        assert!(error.starts_with(name) && error.contains(part), "{code}\n{error}");
    }
    assert!(!folder.path().join(".tunebook").exists(), "no mistake makes a store");
}

/// Starts a kernel in a mount namespace of its own, after a shell command that mounts the folder `disk`.
async fn kernel_on(folder: &std::path::Path, mount: &str) -> Kernel {
    let mut command = Command::new("unshare");
    let script = format!("{mount} && exec \"$0\" \"$@\"");
    command.args(["--map-root-user", "--mount", "sh", "-c", &script]).arg(executable("tunebook"));
    Kernel::start_as(folder, command, &[("TUNEBOOK_STUDIES", "disk/studies.db")]).await
}

#[tokio::test]
async fn a_read_only_store_can_still_be_read_and_the_error_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("disk");
    std::fs::create_dir(&disk).unwrap();
    let mut store = Store::open(&disk.join("studies.db")).unwrap();
    let mut kernel = Kernel::start_as(
        folder.path(),
        Command::new(executable("tunebook")),
        &[("TUNEBOOK_STUDIES", "disk/studies.db")],
    )
    .await;
    kernel.run_ok(&quick("depth", "--trials 4")).await;
    kernel.kill();
    assert!(store.studies().unwrap().len() == 1, "the study is there");
    store = Store::open(&disk.join("studies.db")).unwrap();
    drop(store);

    let mut kernel = kernel_on(folder.path(), "mount --bind disk disk && mount -o remount,ro,bind disk").await;
    let error = kernel.run_error(&quick("width", "--trials 4")).await;
    assert!(
        error.contains("StoreError") && error.contains("read-only") && error.contains("disk/studies.db"),
        "{error}"
    );
    assert_eq!(kernel.run_ok("%study").await.result()["studies"][0]["study"], "depth");
    kernel.run_ok("%isolate depth hidden_layers").await;
}

#[tokio::test]
async fn a_full_disk_ends_the_sweep_and_keeps_what_was_recorded() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("disk")).unwrap();
    let mut kernel = kernel_on(folder.path(), "mount -t tmpfs -o size=600k tmpfs disk").await;
    // The program reports many measurements and writes no files, so it fills the disk with the store alone.
    let program = "for i in $(seq 1 20000); do echo \"{\\\"step\\\": $i, \\\"e\\\": 0.5}\"; done";
    std::fs::write(folder.path().join("report.sh"), program).unwrap();
    let sweep =
        "%%sweep full --trials 4 --parallel 1\ncommand sh report.sh {x}\nnuisance x ~ uniform(0, 1)\nminimize e";
    let answer = kernel.run(sweep).await;
    assert_eq!(answer.status(), "error", "{answer:#?}");
    let error = answer.error();
    assert!(error.contains("is full") && error.contains("disk/studies.db"), "{error}");
    // The display ends with the result so far, in which nothing runs any more.
    let states = answer.result()["trials"].clone();
    assert_eq!(states["cancelled"], 1, "{states}");
    let mut texts = answer.published.iter().map(tunebook_tests::Message::plain_text).filter(|text| !text.is_empty());
    let last = texts.next_back().unwrap().replace('\n', " ");
    assert!(last.contains("is full") && last.contains("1 cancelled") && !last.contains("running"), "{last}");
    let study = kernel.run_ok("%study full").await.result();
    assert_eq!(study["study"], "full", "what was recorded before can be read");
}

#[tokio::test]
async fn any_program_can_be_a_workload() {
    let (mut kernel, folder) = kernel().await;
    let program = r#"
import json, os, sys
x, kind = float(sys.argv[1]), sys.argv[2]
assert json.loads(os.environ["TUNEBOOK_PARAMS"])["kind"] == kind
print("a line of log")
for step in range(1, 4):
    print(json.dumps({"step": step, "score": (x - 0.5) ** 2 + 1 / step if kind != "nan" else float("nan")}), flush=True)
sys.exit(3 if kind == "crash" else 0)
"#;
    std::fs::write(folder.path().join("train.py"), program).unwrap();
    let sweep = "%%sweep prog --trials 12\ncommand python3 train.py {x} {kind}\nnuisance x ~ uniform(0, 1)\n\
                 scientific kind in [good, nan, crash]\nminimize score";
    let result = kernel.run_ok(sweep).await.result();
    let trials = &result["trials"];
    assert_eq!(
        (&trials["complete"], &trials["infeasible"], &trials["failed"]),
        (&json!(4), &json!(4), &json!(4)),
        "{result}"
    );
    assert_eq!(result["best"]["step"], 3);
    let failed = kernel.recorded("prog").into_iter().find(|t| t.state == TrialState::Failed).unwrap();
    let shown = kernel.run_ok(&format!("%curves prog --trial {}", failed.number)).await;
    let text = shown.first("display_data").content["data"]["text/plain"].to_string()
        + &shown.published.iter().map(|m| m.content.to_string()).collect::<String>();
    assert!(text.contains("exited with status 3") && text.contains("a line of log"), "{text}");
}
