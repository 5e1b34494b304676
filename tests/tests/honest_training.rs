//! Training that would go wrong in silence: data that changed, hyperparameters without effect, metrics of parts, versions
//! of a workload.

use serde_json::json;
use tunebook_tests::kernel;

/// A workload on `t.csv`, with other methods.
fn on_table(name: &str, more: &str) -> String {
    format!(
        "%%workload {name}\npub struct It;\nimpl Workload for It {{\n    fn data(&self, _: &Hyperparameters) -> Result<Data> {{\n        \
         Ok(Table::read(\"t.csv\")?.classify(\"y\")?.split(0.6, 0.2, 0)?)\n    }}\n    fn forward(&self, net: &Net, x: &Tensor) \
         -> Tensor {{\n        net.linear(\"out\", x, 2)\n    }}\n{more}}}"
    )
}

fn table(rows: usize, shift: usize) -> String {
    let line = |i: usize| format!("{},{},{}\n", i % 7, (i * i) % 5, usize::from((i + shift) % 7 > 3));
    format!("a,b,y\n{}", (0..rows).map(line).collect::<String>())
}

#[tokio::test]
async fn a_file_that_was_written_is_loaded_anew_and_a_study_is_not_extended_with_it() {
    let (mut kernel, folder) = kernel().await;
    let write = |text: &str| std::fs::write(folder.path().join("t.csv"), text).unwrap();
    write(&table(200, 0));
    kernel.run_ok(&on_table("stale", "")).await;
    let sweep = |name: &str, trials: u32| {
        format!(
            "%%sweep {name} --trials {trials} --parallel 1\nworkload stale\nfixed steps = 40\nnuisance lr ~ loguniform(0.01, 0.1)"
        )
    };
    let first = kernel.run_ok(&sweep("before", 1)).await.result();
    // The labels are turned round, and the worker is still the same process.
    write(&table(200, 3));
    kernel.run_ok(&on_table("stale", "")).await;
    let second = kernel.run_ok(&sweep("after", 1)).await.result();
    let curve = |name: &str| format!("%curves {name} --trial 1");
    let losses = |result: serde_json::Value| result["trials"][0]["metrics"]["valid/loss"].clone();
    let (before, after) =
        (losses(kernel.run_ok(&curve("before")).await.result()), losses(kernel.run_ok(&curve("after")).await.result()));
    assert_ne!(before, after, "the worker trained on what it had loaded before: {first} {second}");
    // The study of before knows that its file is another one.
    let shown = kernel.run_ok(&sweep("before", 1)).await;
    assert!(shown.shown().contains("`t.csv` has changed"), "{}", shown.shown());
    let error = kernel.run_error(&sweep("before", 2)).await;
    assert!(error.contains("FilesChanged") && error.contains("--accept-changes"), "{error}");
    let accepted =
        kernel.run_ok(&sweep("before", 2).replace("--parallel", "--accept-changes --parallel")).await.result();
    assert_eq!((&accepted["changes"][0]["what"], &accepted["changes"][0]["at_trial"]), (&json!("t.csv"), &json!(2)));
}

#[tokio::test]
async fn comments_are_no_change_and_a_cell_that_fails_does_not_train_its_earlier_version() {
    let (mut kernel, folder) = kernel().await;
    std::fs::write(folder.path().join("t.csv"), table(100, 0)).unwrap();
    kernel.run_ok(&on_table("commented", "")).await;
    let sweep = |trials: u32| {
        format!(
            "%%sweep s --trials {trials}\nworkload commented\nfixed steps = 20\nnuisance lr ~ loguniform(0.01, 0.1)"
        )
    };
    kernel.run_ok(&sweep(1)).await;
    kernel
        .run_ok(&on_table(
            "commented",
            "    // A comment.\n    /// A doc.\n    fn doc(&self) -> String { String::new() }\n",
        ))
        .await;
    let error = kernel.run_error(&sweep(2)).await;
    assert!(error.contains("the code of the workload `commented` has changed"), "{error}");
    kernel.run_ok(&on_table("commented", "    // Nothing but a comment.\n\n")).await;
    assert_eq!(kernel.run_ok(&sweep(2)).await.result()["trials"]["complete"], 2);
    kernel.run_error(&on_table("commented", "    fn doc(&self) -> String { 1 }\n")).await;
    let error = kernel.run_error(&sweep(3)).await;
    assert!(error.contains("the last cell `%workload commented` failed"), "{error}");
    kernel.run_ok(&on_table("commented", "")).await;
    kernel.run_ok(&sweep(3)).await;
}

#[tokio::test]
async fn what_no_trial_used_is_named_and_a_declared_judgement_is_kept() {
    let (mut kernel, folder) = kernel().await;
    std::fs::write(folder.path().join("t.csv"), table(100, 0)).unwrap();
    let last = "    fn objective(&self) -> Objective { Objective { metric: \"valid/loss\".into(), direction: \
                Direction::Minimize, judged: ObjectiveValue::Final } }\n";
    kernel.run_ok(&on_table("unused", last)).await;
    let sweep = "%%sweep s --trials 4\nworkload unused\nfixed optimizer = adam\nfixed steps = 60\nfixed eval_every = 20\n\
                 nuisance lr ~ loguniform(0.5, 5)\nnuisance dropout ~ uniform(0, 0.5)\nnuisance momentum ~ uniform(0, 0.9)";
    let answer = kernel.run_ok(sweep).await;
    let shown = answer.shown();
    assert!(shown.contains("No trial used `dropout`, `momentum`"), "{shown}");
    assert!(kernel.run_ok(sweep).await.shown().contains("No trial used `dropout`"), "also where it is shown again");
    assert_eq!(answer.result()["best"]["step"], 60, "the workload says that the last value counts");
    let best = sweep.replace("sweep s --trials 4", "sweep best --trials 4 --objective best");
    let (a, b) = (
        answer.result()["best"]["objective"].clone(),
        kernel.run_ok(&best).await.result()["best"]["objective"].clone(),
    );
    assert!(b.as_f64().unwrap() <= a.as_f64().unwrap(), "{b} {a}");
}

#[tokio::test]
async fn a_metric_sees_the_whole_evaluation() {
    let (mut kernel, folder) = kernel().await;
    std::fs::write(folder.path().join("t.csv"), table(12_000, 0)).unwrap();
    // The maximum over 2,400 validation examples is no mean of the maxima of parts of 1,024.
    let metric = "    fn metrics(&self) -> Vec<Metric> {\n        fn count(outputs: &Tensor, _: &Tensor) -> Tensor { \
                  Tensor::from(outputs.size()[0]) }\n        vec![Metric { name: \"count\", of: count }]\n    }\n";
    kernel.run_ok(&on_table("counted", metric)).await;
    kernel.run_ok("%%sweep s --trials 1\nworkload counted\nfixed steps = 5").await;
    let metrics = kernel.run_ok("%curves s --trial 1").await.result()["trials"][0]["metrics"].clone();
    assert_eq!(metrics["valid/count"][0][1], 2400.0, "{metrics}");
    assert!(metrics["valid/error"][0][1].is_number(), "the metric of the task is still there");
}

#[tokio::test]
async fn functions_that_report_rarely_are_accepted_and_libtorchs_own_numbers_follow_the_seed() {
    let (mut kernel, _folder) = kernel().await;
    kernel
        .run_ok(
            "%%workload rare\nfn hyperparameters() -> Vec<Hyperparameter> { vec![Hyperparameter::whole(\"steps\", 1..=100_000, \
             2000)] }\nfn objective() -> Objective { Objective { metric: \"x\".into(), direction: Direction::Minimize, judged: \
             ObjectiveValue::Best } }\nfn train(trial: &mut Trial) -> Result<()> {\n    let steps: u64 = trial.get(\"steps\");\n    \
             for step in 1..=steps {\n        if step % 100 == 0 {\n            let x = Tensor::rand([1], (Kind::Float, \
             Device::Cpu)).double_value(&[0]);\n            trial.report(step, &[(\"x\", x)])?;\n        }\n    }\n    Ok(())\n}",
        )
        .await;
    let sweep = |name: &str| format!("%%sweep {name} --trials 3\nworkload rare\nfixed seed = 5\nfixed steps = 300");
    let values = |result: serde_json::Value| result["trials"][0]["metrics"]["x"].clone();
    kernel.run_ok(&sweep("a")).await;
    kernel.run_ok(&sweep("b")).await;
    let first = values(kernel.run_ok("%curves a --trial 3").await.result());
    assert!(first.as_array().is_some_and(|points| points.len() == 3), "{first}");
    assert_eq!(first, values(kernel.run_ok("%curves b --trial 1").await.result()));
}

#[tokio::test]
async fn the_test_set_is_kept_from_trials_that_did_not_succeed() {
    let (mut kernel, _folder) = kernel().await;
    let sweep = "%%sweep s --trials 2\nworkload digits_mlp\nscientific lr in [0.1, 1e6]\nfixed optimizer = sgd\nfixed steps = 200";
    let result = kernel.run_ok(sweep).await.result();
    assert_eq!((&result["trials"]["complete"], &result["trials"]["infeasible"]), (&json!(1), &json!(1)), "{result}");
    let good = result["best"]["trial"].as_u64().unwrap();
    let error = kernel.run_error(&format!("%final s --trial {}", 3 - good)).await;
    assert!(error.contains("is infeasible") && error.contains(&format!("`%final s --trial {good}`")), "{error}");
    assert_eq!(kernel.run_ok(&format!("%final s --trial {good}")).await.result()["uses"], 1);
}
