//! `%throughput`: limits that the operating system imposes, stages that are slow on purpose, and a machine that is
//! busy.

use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use tunebook_tests::{BusyLoops, Kernel, cell, executable, kernel};

/// These tests take turns, because each of them measures times and one of them keeps all processors busy.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Checks what must hold of a curve whatever else the machine was doing.
fn consistent(result: &Value) {
    let reliable = result["reliable"].as_bool().unwrap();
    assert_eq!(reliable, !result["recommended"].is_null(), "{result}");
    assert_eq!(reliable, result["reasons"].as_array().unwrap().is_empty(), "{result}");
    assert!(reliable || result["bottleneck"]["kind"].is_null(), "{result}");
    for point in result["points"].as_array().unwrap().iter().filter(|point| point["state"] == "ok") {
        let (b, rate) = (point["batch_size"].as_f64().unwrap(), point["examples_per_second"].as_f64().unwrap());
        assert!((b / point["seconds_per_step"].as_f64().unwrap() / rate - 1.0).abs() < 1e-6);
        assert!(point["peak_memory_bytes"].as_u64().unwrap() > 10_000_000, "{point}");
        // On a busy machine only the least disturbed visit is shown, and one visit has no interval.
        if point["interval"].is_null() {
            assert!(!reliable, "{point}");
            continue;
        }
        let [low, high] = [0, 1].map(|i| point["interval"][i].as_f64().unwrap());
        assert!(low <= rate && rate <= high, "{point}");
    }
}

#[tokio::test]
async fn a_curve_has_the_promised_fields_and_a_list_of_values_draws_several() {
    let _alone = ALONE.lock().await;
    let (mut kernel, _folder) = kernel().await;
    let answer = kernel.run_ok("%throughput digits_mlp --max 8 --set hidden_units=[16,64] --set optimizer=adam").await;
    let result = answer.result();
    assert_eq!(
        (&result["kind"], &result["workload"], &result["stale"]),
        (&json!("throughput"), &json!("digits_mlp"), &json!(false))
    );
    let sizes: Vec<u64> =
        result["points"].as_array().unwrap().iter().map(|p| p["batch_size"].as_u64().unwrap()).collect();
    assert_eq!(sizes, [1, 2, 4, 8]);
    assert_eq!((&result["largest_feasible"], &result["limited_by"]), (&json!(8), &json!("max")));
    assert_eq!(result["series"].as_array().unwrap().len(), 2);
    assert_eq!(result["series"][1]["label"], "hidden_units=64");
    consistent(&result);
    assert_eq!(result["verified"], if result["reliable"] == true { json!(true) } else { json!(null) }, "{result}");
    let stages = &result["bottleneck"];
    assert!(stages["compute_examples_per_second"].as_f64().unwrap() > 0.0, "{result}");
    let last = answer.published.iter().rfind(|m| m.kind().ends_with("display_data")).unwrap();
    assert!(last.content["data"]["application/vnd.plotly.v1+json"].is_object());
    let text = last.content["data"]["text/plain"].as_str().unwrap();
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    assert!(text.contains("Larger sizes were not tried, because of `--max 8`."), "{text}");

    // A batch size larger than the number of training examples is never tried.
    let limit = kernel.run_ok("%throughput digits_mlp --limit-only").await.result();
    assert_eq!((&limit["largest_feasible"], &limit["limited_by"]), (&json!(1257), &json!("examples")));
    assert!(limit["probes"].as_u64().unwrap() <= 4, "{limit}");
    for (code, part) in [
        ("%throughput digit_mlp", "did you mean `digits_mlp`"),
        ("%throughput digits_mlp --set lr~uniform(0,1)", "needs a list of values"),
        ("%throughput digits_mlp --set learning_rate=1", "no hyperparameter `learning_rate`"),
        ("%throughput digits_mlp --compare fp64", "no value for `precision`"),
        ("%throughput digits_mlp --compare fp32,bf17", "did you mean `bf16`?"),
        ("%throughput digits_mlp --set batch_size=8", "`batch_size` cannot be set, because this magic varies it"),
        ("%throughput digits_mlp --set micro_batch_size=8", "is no faster than they are"),
        ("%throughput digits_mlp --max 0", "at least 1"),
    ] {
        let error = kernel.run_error(code).await;
        assert!(error.contains(part), "{error}");
    }
    // A device that does not exist is an error before anything is shown.
    for magic in ["throughput", "noise", "scaling --target 'valid/error<=0.3' --batches 8,16"] {
        let answer = kernel.run(&format!("%{magic} digits_mlp --device cuda:99")).await;
        let error = answer.error();
        assert!(error.contains("there is no device `cuda:99`: libtorch can use `"), "{error}");
        assert!(error.contains("InvalidValue") && answer.all("display_data").is_empty(), "{error}");
    }
}

#[tokio::test]
async fn an_interrupt_leaves_what_was_measured_and_records_nothing() {
    let _alone = ALONE.lock().await;
    let (mut kernel, _folder) = kernel().await;
    for (is_timing, what) in [(false, "the search for the largest size that fits"), (true, "the timing of steps")] {
        let id = kernel.send("execute_request", cell("%throughput digits_mlp --max 1")).await;
        loop {
            let message = kernel.published().await;
            let text = message.plain_text();
            match is_timing {
                true if text.contains("Timing steps: ") && !text.contains(": 0 of ") => break,
                false if text.contains("Does a batch of ") => break,
                _ => {}
            }
        }
        kernel.control("interrupt_request", json!({})).await;
        let answer = kernel.answer(&id).await;
        assert!(answer.error().contains("Interrupted"), "{}", answer.error());
        let result = answer.result();
        consistent(&result);
        assert_eq!((&result["kind"], &result["reliable"]), (&json!("throughput"), &json!(false)), "{result}");
        let reason = format!("{what} was interrupted after ");
        assert!(result["reasons"][0].as_str().unwrap().starts_with(&reason), "{result}");
        let limit = if is_timing { (json!(1), json!("max")) } else { (json!(null), json!(null)) };
        assert_eq!((result["largest_feasible"].clone(), result["limited_by"].clone()), limit, "{result}");
        assert_eq!((&result["saturation"], &result["bottleneck"]), (&json!(null), &json!(null)), "{result}");
        let shown = answer.shown().split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(shown.contains(&format!("Not complete: {reason}")), "{shown}");
    }
    let error = kernel.run_error("%throughput digits_mlp --recorded").await;
    assert!(error.contains("there is no measurement of `digits_mlp` yet"), "{error}");
}

#[tokio::test]
async fn measurements_are_kept_and_called_stale_once_something_has_changed() {
    let _alone = ALONE.lock().await;
    let (mut kernel, folder) = kernel().await;
    let error = kernel.run_error("%throughput digits_mlp --recorded").await;
    assert!(error.contains("there is no measurement of `digits_mlp` yet"), "{error}");
    let measured = kernel.run_ok("%throughput digits_mlp --max 4 --set optimizer=adam").await.result();
    let recorded = kernel.run_ok("%throughput digits_mlp --recorded --set optimizer=adam").await.result();
    assert_eq!((&recorded["stale"], &recorded["points"]), (&json!(false), &measured["points"]));
    let answer = kernel.run_ok("%throughput digits_mlp --recorded --set optimizer=sgd").await;
    assert_eq!(answer.result()["stale"], true);
    assert_eq!(answer.result()["changed"], json!(["`optimizer` was adam, now sgd"]));
    // The data matter too: the table is written anew with more rows.
    let table = |rows: usize| {
        let line = |i: usize| format!("{},{},{}\n", i % 7, i % 5, i % 2);
        std::fs::write(folder.path().join("t.csv"), format!("a,b,c\n{}", (0..rows).map(line).collect::<String>()))
            .unwrap();
    };
    table(100);
    kernel
        .run_ok(
            "%%workload table\npub struct It;\nimpl Workload for It {\n    fn data(&self, _: &Hyperparameters) -> Result<Data> { \
             Ok(Table::read(\"t.csv\")?.classify(\"c\")?.split(0.7, 0.15, 0)?) }\n    fn forward(&self, net: &Net, x: &Tensor) -> \
             Tensor { net.linear(\"logits\", x, 2) }\n}",
        )
        .await;
    kernel.run_ok("%throughput table --max 2").await;
    assert_eq!(kernel.run_ok("%throughput table --recorded").await.result()["stale"], false);
    table(120);
    let changed = kernel.run_ok("%throughput table --recorded").await.result()["changed"].clone();
    assert_eq!(changed, json!(["the data files have changed"]));
    let error = kernel.run_error("%throughput digits_mlp --max 2 --compare tf32").await;
    assert!(error.contains("tf32 needs a CUDA device"), "{error}");
}

#[tokio::test]
async fn a_limit_of_the_operating_system_is_found_within_five_percent() {
    let _alone = ALONE.lock().await;
    let folder = tempfile::tempdir().unwrap();
    let worker = folder.path().join("worker");
    let script = format!("#!/bin/sh\nulimit -v 1000000\nexec {:?} \"$@\"\n", executable("tunebook-worker"));
    std::fs::write(&worker, script).unwrap();
    std::fs::set_permissions(&worker, std::fs::Permissions::from_mode(0o755)).unwrap();
    let environment = [("TUNEBOOK_WORKER", worker.to_str().unwrap())];
    let mut kernel = Kernel::start_as(folder.path(), Command::new(executable("tunebook")), &environment).await;
    let code = "%throughput digits_mlp --limit-only --set hidden_layers=1 hidden_units=65536";
    let result = kernel.run_ok(code).await.result();
    let (fits, too_large) =
        (result["largest_feasible"].as_f64().unwrap(), result["smallest_too_large"].as_f64().unwrap());
    assert_eq!(result["limited_by"], "memory", "{result}");
    assert!(fits >= 64.0 && too_large > fits && too_large <= 1.05 * fits + 1.0, "{result}");
    assert!(result["probes"].as_u64().unwrap() <= 8, "{result}");
    let predicted = result["predicted_limit"].as_f64().unwrap();
    assert!((predicted / (0.5 * (fits + too_large)) - 1.0).abs() <= 0.1, "{result}");
    // The worker ran out of memory, which was the answer. The kernel and its workers go on.
    kernel.run_ok("%sweep digits_mlp steps=10 --trials 1 --name after").await;
}

#[tokio::test]
async fn the_slow_stage_is_the_bottleneck() {
    let _alone = ALONE.lock().await;
    let (mut kernel, _folder) = kernel().await;
    let spin = |ms: &str| {
        format!(
            "let t = std::time::Instant::now(); while t.elapsed().as_micros() < ({ms}) * 1000 {{ std::hint::spin_loop(); }}"
        )
    };
    // If a step takes the same time for every batch size, throughput does not saturate. If each example takes its time,
    // it does.
    for (name, input, step, kind) in [
        ("slow_input", "8", "0", "input"),
        ("slow_step", "0", "8", "none"),
        ("slow_examples", "0", "x.size()[0] as u128 * 3", "compute"),
    ] {
        let (input, step) = (spin(input), spin(step));
        kernel
            .run_ok(&format!(
                "%%workload {name}\npub struct It;\nimpl Workload for It {{\n    fn data(&self, _: &Hyperparameters) -> \
                 Result<Data> {{ tunebook_training::data::digits::load() }}\n    fn augment(&self, _: &Net, x: &Tensor) -> Tensor \
                 {{ {input} x.shallow_clone() }}\n    fn forward(&self, net: &Net, x: &Tensor) -> Tensor {{ if net.is_training() \
                 {{ {step} }} net.linear(\"logits\", x, 10) }}\n}}"
            ))
            .await;
        let result = kernel.run_ok(&format!("%throughput {name} --max 2")).await.result();
        consistent(&result);
        // On a busy machine nothing is concluded.
        if result["reliable"] == false {
            continue;
        }
        if kind == "compute" {
            assert_eq!(result["saturation"], 1, "{name}: {result}");
        }
        assert_eq!(result["bottleneck"]["kind"], kind, "{name}: {result}");
        if name == "slow_input" {
            assert!(result["bottleneck"]["expected_gain"].as_f64().unwrap() > 5.0, "{result}");
        }
    }
}

#[tokio::test]
async fn a_busy_machine_gives_no_answer_instead_of_a_wrong_one() {
    let _alone = ALONE.lock().await;
    let (mut kernel, _folder) = kernel().await;
    let _busy = BusyLoops::for_each_processor(3).unwrap();
    for _ in 0..2 {
        let answer = kernel.run_ok("%throughput digits_mlp --max 2").await;
        let result = answer.result();
        assert_eq!(
            (&result["reliable"], &result["recommended"], &result["saturation"]),
            (&json!(false), &json!(null), &json!(null))
        );
        consistent(&result);
        assert!(answer.shown().contains("too busy to measure time"));
    }
}
