//! Workloads that the user defines with `%%workload`: they are built, tried and trained, and mistakes in them are
//! explained.

use serde_json::{Value, json};
use std::fmt::Write;
use std::time::{Duration, Instant};
use tunebook_study::store::Store;
use tunebook_study::{TrialState, WorkloadReference};
use tunebook_tests::{Kernel, PATIENCE, cell, eventually, kernel, lacks, own_crate};

/// The cell of the reference that defines a workload, as it stands there.
fn of_the_reference(name: &str) -> String {
    let path = tunebook_tests::repository().join("magics/REFERENCE.md");
    let text = std::fs::read_to_string(path).unwrap();
    let head = format!("```\n%%workload {name}\n");
    let cell = text.split_once(&head).unwrap_or_else(|| panic!("the reference defines no `{name}`")).1;
    let body = cell.split_once("```").unwrap().0;
    format!("%%workload {name}\n{}", body.trim_end())
}

/// A table of wines of three kinds, whose means differ.
fn wine(rows: usize) -> String {
    let mut text = String::from("alcohol,acid,colour,class\n");
    for i in 0..rows {
        let noise = |k: usize| ((i * 37 + k * 101) % 97) as f64 / 97.0;
        let kind = i % 3;
        let class = ["barolo", "grignolino", "barbera"][kind];
        writeln!(text, "{},{},{},{class}", noise(1) + kind as f64, noise(2) - kind as f64, noise(3)).unwrap();
    }
    text
}

/// A workload on the table of wines. Each test uses a name of its own, because tests run side by side in one cache.
fn classifier(name: &str, forward: &str) -> String {
    format!(
        "%%workload {name}\npub struct It;\nimpl Workload for It {{\n    fn data(&self, _: &Hyperparameters) -> Result<Data> {{\n        \
         Ok(Table::read(\"wine.csv\")?.classify(\"class\")?.split(0.7, 0.15, 0)?.standardized())\n    }}\n    fn forward(&self, \
         net: &Net, x: &Tensor) -> Tensor {{\n        {forward}\n    }}\n}}"
    )
}

#[tokio::test]
async fn the_perceptron_of_the_reference_trains_and_outlives_its_kernel() {
    let (mut kernel, folder) = kernel().await;
    let definition = of_the_reference("wine");
    assert!(definition.lines().count() <= 25, "{} lines", definition.lines().count());
    // Without its data the workload is refused, and the error names the file.
    let error = kernel.run_error(&definition).await;
    assert!(error.contains("WorkloadError") && error.contains("wine.csv"), "{error}");
    std::fs::write(folder.path().join("wine.csv"), wine(600)).unwrap();
    let result = kernel.run_ok(&definition).await.result();
    assert_eq!((&result["kind"], &result["workloads"][0]["name"]), (&json!("workloads"), &json!("wine")));
    assert_eq!(result["workloads"][0]["kind"], "rust");
    let sweep = "%%sweep wines --trials 4\nworkload wine\nscientific hidden_layers in [1, 2]\n\
                 nuisance lr ~ loguniform(1e-2, 0.3)\nfixed steps = 200";
    let result = kernel.run_ok(sweep).await.result();
    assert_eq!(result["trials"]["complete"], 4, "{result}");
    assert!(result["best"]["objective"].as_f64().unwrap() < 0.02, "{result}");

    // The study keeps the source of its workload and the checksum of its data.
    let store = Store::open_to_read(&folder.path().join(".tunebook/studies.db")).unwrap().unwrap();
    let study = store.study("wines").unwrap().unwrap();
    let WorkloadReference::Rust { source, .. } = &study.definition.workload else { panic!("{:?}", study.definition) };
    let record = store.workload(source).unwrap().unwrap();
    assert!(definition.ends_with(record.body.trim()) && record.lock.contains("name = \"tch\""));
    let data = store.data(&study).unwrap();
    assert!(data.len() == 1 && data[0].path.ends_with("wine.csv") && data[0].sha256.len() == 64, "{data:?}");

    // The same cell is not built again. Another kernel knows the workload without the cell, and builds it again if its
    // worker is gone.
    let started = Instant::now();
    kernel.run_ok(&definition).await;
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    kernel.kill();
    let mut kernel = Kernel::start(folder.path()).await;
    for worker in workers_of(source) {
        std::fs::remove_dir_all(worker.parent().unwrap()).unwrap();
    }
    let more = kernel.run_ok(&sweep.replace("--trials 4", "--trials 6")).await.result();
    assert_eq!(more["trials"]["complete"], 6, "{more}");
    assert_eq!(workers_of(source).len(), 1);
    let listed = kernel.run_ok("%workloads").await.result();
    assert!(listed["workloads"].as_array().unwrap().iter().any(|w| w["name"] == "wine" && w["kind"] == "rust"));

    // Another source is another workload. The study was made with the first, so it cannot go on.
    kernel.run_ok(&definition.replace("relu()", "tanh()")).await;
    let error = kernel.run_error(sweep).await;
    assert!(error.contains("StudyExists") && error.contains("the code of the workload `wine` has changed"), "{error}");

    // Names and types of hyperparameters are checked before anything trains.
    let wrong = kernel.run_error("%sweep wine hidden_layers=[1.5] steps=10 --name wrong").await;
    assert!(wrong.contains("`hidden_layers` is a whole number"), "{wrong}");
    let unknown = kernel.run_error("%sweep wine hidden_layer=[1] steps=10 --name wrong").await;
    assert!(unknown.contains("did you mean `hidden_layers`"), "{unknown}");
}

/// The workers of a source in the cache, one for each version of Tunebook that has built it here.
fn workers_of(source: &str) -> Vec<std::path::PathBuf> {
    let cache = std::env::var_os("TUNEBOOK_CACHE").map_or_else(
        || {
            let base = std::env::var_os("XDG_CACHE_HOME").map(std::path::PathBuf::from);
            base.unwrap_or_else(|| std::path::Path::new(&std::env::var_os("HOME").unwrap()).join(".cache"))
                .join("tunebook")
        },
        Into::into,
    );
    let folders = |path: std::path::PathBuf| {
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect::<Vec<_>>()
    };
    let versions = folders(cache.join("workloads")).into_iter().flat_map(folders);
    let workers = versions.map(|version| version.join("workers").join(source).join("worker"));
    workers.filter(|worker| worker.exists()).collect()
}

#[tokio::test]
async fn the_convolutional_net_of_the_reference_trains_and_is_tested_once() {
    if lacks("fashion-mnist") {
        return;
    }
    let (mut kernel, _folder) = kernel().await;
    let definition = of_the_reference("clothes");
    assert!(definition.lines().count() <= 40, "{} lines", definition.lines().count());
    kernel.run_ok(&definition).await;
    let sweep = "%sweep clothes channels=[2] steps=30 eval_every=30 --trials 1 --name clothes";
    let result = kernel.run_ok(sweep).await.result();
    let valid = result["best"]["objective"].as_f64().unwrap();
    assert!(valid < 0.7, "{result}");
    let first = kernel.run_ok("%final clothes --trial 1").await.result();
    assert_eq!((&first["kind"], &first["uses"], &first["examples"]), (&json!("final"), &json!(1), &json!(10_000)));
    let error = first["metrics"]["test/error"].as_f64().unwrap();
    assert!((error - valid).abs() < 0.05, "test {error}, validation {valid}");
    let second = kernel.run_ok("%final clothes --trial 1").await;
    assert_eq!(second.result()["uses"], 2);
    assert_eq!(second.result()["metrics"], first["metrics"]);
    // The test error as an objective is refused.
    let error = kernel.run_error("%sweep clothes steps=10 --minimize test/error --name other").await;
    assert!(error.contains("test set is not for tuning"), "{error}");
    assert!(kernel.run_error("%final clothes").await.contains("--trial I"));
    assert!(kernel.run_error("%final clothes --trial 9").await.contains("UnknownTrial"));
}

#[tokio::test]
async fn a_training_function_can_be_a_workload() {
    let (mut kernel, _folder) = kernel().await;
    kernel.run_ok(&of_the_reference("valley")).await;
    let result = kernel.run_ok("%sweep valley lr~uniform(0.2,0.8) --trials 4").await.result();
    assert_eq!(result["trials"]["complete"], 4, "{result}");
    assert!(result["best"]["objective"].as_f64().unwrap() < 1e-6);
    // With a learning rate above 1 it diverges. The trial is infeasible, and nothing crashes.
    let result = kernel.run_ok("%sweep valley lr=2.0 steps=10000 --trials 1 --name beyond").await.result();
    assert_eq!(result["trials"]["infeasible"], 1, "{result}");
    let trial = &kernel.recorded("beyond")[0];
    assert!(trial.reason.as_deref().is_some_and(|reason| reason.contains("`height` became non-finite")), "{trial:?}");
}

#[tokio::test]
async fn a_training_function_that_diverges_is_ended() {
    let (mut kernel, _folder) = kernel().await;
    // The loss stays finite, and the objective says nothing of it.
    let definition = r#"%%workload rising
fn hyperparameters() -> Vec<Hyperparameter> {
    vec![Hyperparameter::real("factor", 0.0..=2.0, 1.0)]
}
fn train(trial: &mut Trial) -> Result<()> {
    let factor: f64 = trial.get("factor");
    let mut loss = 2.3;
    for step in 1..=1000 {
        loss = (loss * factor).min(1e8);
        trial.report(step, &[("train/loss", loss), ("valid/error", 0.5)])?;
    }
    Ok(())
}"#;
    kernel.run_ok(definition).await;
    let result = kernel.run_ok("%sweep rising factor=[0.99,1.2] --sampler grid --parallel 1").await.result();
    assert_eq!((&result["trials"]["complete"], &result["trials"]["infeasible"]), (&json!(1), &json!(1)), "{result}");
    let trials = kernel.recorded("rising");
    let diverged = trials.iter().find(|trial| trial.state == TrialState::Infeasible).expect("an infeasible trial");
    let reason = diverged.reason.clone().unwrap_or_default();
    assert!(reason.starts_with("diverged: the training loss rose"), "{reason}");
    assert!(diverged.summaries["train/loss"].last.1 < 200, "{diverged:?}");
}

#[tokio::test]
async fn an_error_in_a_definition_points_at_its_place() {
    let (mut kernel, folder) = kernel().await;
    std::fs::write(folder.path().join("wine.csv"), wine(90)).unwrap();
    let error = kernel.run_error(&classifier("broken", "net.linear(\"logits\", x, 3).reluu()")).await;
    assert!(error.contains("CompilationError") && error.contains("(line 8)"), "{error}");
    assert!(error.contains("cell:8:") && error.contains("reluu()") && error.contains("^^^^"), "{error}");
    let error = kernel.run_error(&classifier("broken", "net.linear(\"logits\", x, 3")).await;
    assert!(error.contains("CompilationError"), "{error}");
    // For shapes that do not fit, the error names the shapes, the layer and the line.
    let error =
        kernel.run_error(&classifier("misfit", "x.matmul(&net.parameter(\"w\", &[7, 3], Init::Constant(0.1)))")).await;
    assert!(error.contains("WorkloadError") && error.contains("2x3 and 7x3") && error.contains("line 8"), "{error}");
    let error = kernel.run_error(&classifier("misfit", "net.conv2d(\"first\", x, 3, Convolution::same(3))")).await;
    assert!(error.contains("layer `first` wants images") && error.contains("[2, 3]"), "{error}");
    let error = kernel.run_error(&classifier("misfit", "net.linear(\"logits\", x, 2)")).await;
    assert!(error.contains("has class 2, and the model has 2 outputs"), "{error}");
    let error = kernel.run_error(&classifier("misfit", "net.linear(\"logits\", x, net.get(\"units\"))")).await;
    assert!(error.contains("no hyperparameter `units`"), "{error}");
    // A value in the data that is no number.
    std::fs::write(folder.path().join("wine.csv"), wine(90).replacen("barolo", "barolo\nNaN,0,0,barolo", 1)).unwrap();
    let error = kernel.run_error(&classifier("misfit", "net.linear(\"logits\", x, 3)")).await;
    assert!(error.contains("`alcohol` (1 row, the first in line 3)"), "{error}");
    // Names that are not allowed, and code that is no workload.
    assert!(kernel.run_error("%%workload Wine\nstruct A;").await.contains("InvalidValue"));
    assert!(
        kernel
            .run_error("%%workload digits_mlp\nstruct A;\nimpl Workload for A {}")
            .await
            .contains("built-in workload")
    );
    assert!(kernel.run_error("%%workload nothing\nfn f() {}").await.contains("defines nothing that can be trained"));
    let error =
        kernel.run_error("%%workload crates\n[dependencies]\nrand = 3\n\nstruct A;\nimpl Workload for A {}").await;
    assert!(error.contains("BuildError"), "{error}");
    // None of these definitions was recorded.
    let listed = kernel.run_ok("%workloads").await.result();
    assert!(listed["workloads"].as_array().unwrap().iter().all(|w| w["kind"] == "builtin"), "{listed}");
}

/// A workload that runs a piece of code in its third step. The first two steps are those with which it is tried out.
fn from_the_third_step(name: &str, what: &str) -> String {
    let forward =
        format!("if let Phase::Train {{ step: 3 }} = net.phase() {{ {what} }}\n        net.linear(\"logits\", x, 3)");
    classifier(name, &forward)
}

#[tokio::test]
async fn a_fault_in_the_users_code_ends_its_trial_with_the_reason_and_nothing_else() {
    let (mut kernel, folder) = kernel().await;
    std::fs::write(folder.path().join("wine.csv"), wine(90)).unwrap();
    let faults = [
        ("panics", "let none: Option<i32> = None; none.expect(\"a layer\");", "a layer (line 8 of the workload)"),
        ("crashes", "unsafe { std::ptr::null_mut::<i32>().write_volatile(1) }", "signal 11"),
        ("aborts", "std::process::abort();", "signal 6"),
        ("leaves", "std::process::exit(3);", "exited with status 3"),
        (
            "overflows",
            "fn deep(n: u64) -> u64 { if n == u64::MAX { 0 } else { std::hint::black_box(deep(n + 1)) + 1 } } println!(\"{}\", deep(0));",
            "signal",
        ),
        ("loops", "loop { std::thread::sleep(std::time::Duration::from_millis(10)); }", "longer than its limit of 2 s"),
    ];
    for (name, what, reason) in faults {
        kernel.run_ok(&from_the_third_step(name, what)).await;
        let timeout = if name == "loops" { " --timeout 2s" } else { "" };
        let sweep = format!("%sweep {name} batch_size=32 steps=10 --trials 1{timeout}");
        let result = kernel.run_ok(&sweep).await.result();
        assert_eq!(result["trials"]["failed"], 1, "{name}: {result}");
        let trial = kernel.recorded(name).remove(0);
        assert_eq!(trial.state, TrialState::Failed);
        let said = trial.reason.unwrap_or_default();
        assert!(said.contains(reason) && said.lines().count() == 1, "{name}: {said}");
        let shown = kernel.run_ok(&format!("%curves {name} --trial 1")).await;
        let text = shown.published.iter().filter_map(|m| m.content["data"]["text/plain"].as_str()).collect::<String>();
        assert!(text.replace('\n', " ").contains(reason), "{name}: {text}");
    }
    // The kernel, its slots and other workloads go on.
    let result = kernel.run_ok("%sweep digits_mlp steps=20 --trials 2 --name after").await.result();
    assert_eq!(result["trials"]["complete"], 2);
}

#[tokio::test]
async fn a_crate_of_the_users_own_can_be_used() {
    let (mut kernel, folder) = kernel().await;
    let own = own_crate(folder.path(), "own", "pub fn height(x: f64) -> f64 { x * x }", None);
    let definition = format!(
        "%%workload with_own\n[dependencies]\nown = {own}\n\nfn hyperparameters() -> Vec<Hyperparameter> {{\n    \
         vec![Hyperparameter::real(\"x\", -9.0..=9.0, 1.0)]\n}}\nfn train(trial: &mut Trial) -> Result<()> {{\n    let x: f64 = \
         trial.get(\"x\");\n    trial.report(1, &[(\"valid/error\", own::height(x))])\n}}"
    );
    kernel.run_ok(&definition).await;
    let result = kernel.run_ok("%sweep with_own x=[2.0,-3.0] --sampler grid").await.result();
    assert_eq!(result["best"]["objective"], 4.0, "{result}");
}

#[tokio::test]
async fn a_build_can_be_interrupted_and_goes_on_later() {
    let (mut kernel, folder) = kernel().await;
    std::fs::write(folder.path().join("wine.csv"), wine(90)).unwrap();
    let definition = classifier("patient", "net.linear(\"logits\", x, 3)");
    // The workload depends on a crate whose build script does not end before the file `go` exists.
    let waits = "fn main() { while !std::path::Path::new(\"go\").exists() { \
                 std::thread::sleep(std::time::Duration::from_millis(10)) } }";
    let slow = own_crate(folder.path(), "slow", "", Some(waits));
    let definition = definition.replacen('\n', &format!("\n[dependencies]\nslow = {slow}\n\n"), 1);
    let id = kernel.send("execute_request", cell(&definition)).await;
    assert!(eventually(PATIENCE, || !kernel.children("build-script-build").is_empty()).await);
    let started = Instant::now();
    kernel.control("interrupt_request", json!({})).await;
    let answer = kernel.answer(&id).await;
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    assert!(answer.error().contains("Interrupted"), "{}", answer.error());
    assert!(eventually(Duration::from_secs(1), || kernel.children("build-script-build").is_empty()).await);
    std::fs::write(folder.path().join("slow/go"), "").unwrap();
    kernel.run_ok(&definition).await;
    let value: Value = kernel.run_ok("%sweep patient batch_size=32 steps=10 --trials 1").await.result();
    assert_eq!(value["trials"]["complete"], 1);
}
