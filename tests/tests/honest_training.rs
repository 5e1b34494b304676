//! Training that would go wrong in silence: data that changed, hyperparameters without effect, metrics of parts,
//! versions of a workload.

use serde_json::json;
use tunebook_tests::{Answer, kernel};

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

/// What a cell shows, without its line breaks.
fn in_one_line(answer: &Answer) -> String {
    answer.shown().split_whitespace().collect::<Vec<_>>().join(" ")
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
            "%%sweep s --trials {trials}\nworkload commented\nfixed batch_size = 16\nfixed steps = 20\nnuisance lr ~ loguniform(0.01, 0.1)"
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
    assert!(error.contains("the last cell `%%workload commented` failed"), "{error}");
    kernel.run_ok(&on_table("commented", "")).await;
    kernel.run_ok(&sweep(3)).await;
}

/// A workload on the table whose targets are made of its classes.
fn on_classes(name: &str, targets: &str) -> String {
    on_table(name, "").replace(
        "Ok(Table::read(\"t.csv\")?.classify(\"y\")?.split(0.6, 0.2, 0)?)",
        &format!(
            "let d = Table::read(\"t.csv\")?.classify(\"y\")?;\n        Ok(Examples::new(d.inputs, {targets})?.split(0.6, \
             0.2, 0)?)"
        ),
    )
}

#[tokio::test]
async fn classes_of_another_shape_or_kind_are_errors_with_what_to_write() {
    let (mut kernel, folder) = kernel().await;
    std::fs::write(folder.path().join("t.csv"), table(100, 0)).unwrap();
    for (targets, help) in [
        ("d.targets.unsqueeze(1)", "write `targets.squeeze_dim(-1)` in `data`"),
        ("d.targets.to_kind(Kind::Float)", "write `targets.to_kind(Kind::Int64)` in `data`"),
        ("d.targets.to_kind(Kind::Int)", "write `targets.to_kind(Kind::Int64)` in `data`"),
        (
            "d.targets.unsqueeze(1).to_kind(Kind::Float)",
            "write `targets.squeeze_dim(-1).to_kind(Kind::Int64)` in `data`",
        ),
    ] {
        let error = kernel.run_error(&on_classes("classes", targets)).await;
        assert!(error.contains(help) && error.contains(", 2]") && !error.contains("frame #"), "{targets}: {error}");
    }
    // One output gives each example the only class there is, and a loss of zero.
    let one = on_classes("one", "d.targets.unsqueeze(1).to_kind(Kind::Float)").replace(", x, 2)", ", x, 1)");
    let error = kernel.run_error(&one).await;
    assert!(error.contains("a classification needs class indices of the shape"), "{error}");
    let flat = on_table("flat", "").replace(", x, 2)", ", x, 1).squeeze_dim(-1)");
    let error = kernel.run_error(&flat).await;
    assert!(error.contains("[batch, …, classes]") || error.contains("outputs (classes"), "{error}");
    // Probabilities of the classes are targets too.
    let probabilities = on_classes("probabilities", "d.targets.onehot(2)")
        .replace("    fn forward", "    fn mean_metrics(&self) -> Vec<Metric> { vec![] }\n    fn objective(&self) -> Objective { \
                  Objective { metric: \"valid/loss\".into(), direction: Direction::Minimize, judged: ObjectiveValue::Best } \
                  }\n    fn forward");
    kernel.run_ok(&probabilities).await;
    let unequal = on_table("unequal", "").replace("net.linear", "assert_eq!(x.size()[1], 3); net.linear");
    let error = kernel.run_error(&unequal).await;
    assert!(error.contains("left: 2, right: 3"), "{error}");
}

#[tokio::test]
async fn a_hyperparameter_that_is_looked_for_is_read() {
    let (mut kernel, _folder) = kernel().await;
    kernel
        .run_ok(
            "%%workload sloped\npub struct It;\nimpl Workload for It {\n    fn data(&self, hp: &Hyperparameters) -> Result<Data> \
             {\n        let x = Tensor::arange(300, (Kind::Float, Device::Cpu)).reshape([300, 1]) / 300.0;\n        let y = &x * \
             hp.find::<f64>(\"slope\").unwrap_or(0.0);\n        Ok(Examples::new(x, y)?.split(0.6, 0.2, 0)?)\n    }\n    fn \
             hyperparameters(&self) -> Vec<Hyperparameter> { vec![Hyperparameter::real(\"slope\", 0.0..=1000.0, 1.0)] }\n    fn \
             task(&self) -> Task { Task::Regression }\n    fn forward(&self, net: &Net, x: &Tensor) -> Tensor { net.linear(\"y\", \
             x, 1) }\n}",
        )
        .await;
    // One worker trains both, and the data are not those of the first.
    let result = kernel
        .run_ok(
            "%%sweep s --trials 2 --parallel 1 --sampler grid\nworkload sloped\nfixed seed = 1\nfixed steps = 5\nscientific slope in [1, 100]",
        )
        .await
        .result();
    assert_eq!(result["trials"]["complete"], 2, "{result}");
    assert!(result["without_effect"].as_array().is_none_or(|names| names.is_empty()), "{result}");
    let mut losses = vec![];
    for trial in [1, 2] {
        let curves = kernel.run_ok(&format!("%curves s --trial {trial}")).await.result();
        losses.push(curves["trials"][0]["metrics"]["valid/loss"][0][1].as_f64().unwrap());
    }
    assert!(losses[1] > 100.0 * losses[0], "{losses:?}");
}

#[tokio::test]
async fn what_no_trial_used_is_named_and_a_declared_judgement_is_kept() {
    let (mut kernel, folder) = kernel().await;
    std::fs::write(folder.path().join("t.csv"), table(100, 0)).unwrap();
    let last = "    fn objective(&self) -> Objective { Objective { metric: \"valid/loss\".into(), direction: \
                Direction::Minimize, judged: ObjectiveValue::Final } }\n";
    kernel.run_ok(&on_table("unused", last)).await;
    let sweep = "%%sweep s --trials 4\nworkload unused\nfixed batch_size = 16\nfixed optimizer = adam\nfixed steps = 60\nfixed eval_every = 20\n\
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

#[tokio::test]
async fn files_of_functions_weights_and_copies_with_their_old_date_are_known() {
    let (mut kernel, folder) = kernel().await;
    let path = folder.path().join("t.csv");
    let write = |text: &str| {
        let date = path.metadata().ok().and_then(|file| file.modified().ok());
        std::fs::write(&path, text).unwrap();
        // As `cp -p` and `rsync -t` do.
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        if let Some(date) = date {
            file.set_modified(date).unwrap();
        }
    };
    write(&table(200, 0));
    kernel.run_ok(&on_table("dated", "")).await;
    let sweep = |name: &str, workload: &str, more: &str| {
        format!(
            "%%sweep {name} --parallel 1 {more}\nworkload {workload}\nfixed steps = 40\nnuisance lr ~ loguniform(0.01, 0.1)"
        )
    };
    let losses = |result: serde_json::Value| result["trials"][0]["metrics"]["valid/loss"].clone();
    kernel.run_ok(&sweep("a", "dated", "--trials 1")).await;
    let before = losses(kernel.run_ok("%curves a --trial 1").await.result());
    write(&table(200, 3));
    kernel.run_ok(&sweep("b", "dated", "--trials 1")).await;
    assert_ne!(before, losses(kernel.run_ok("%curves b --trial 1").await.result()), "a file of one length and date");
    let error = kernel.run_error("%final a --trial 1").await;
    assert!(error.contains("FilesChanged") && error.contains("`t.csv` has changed"), "{error}");
    let result = kernel.run_ok("%final a --trial 1 --accept-changes").await.result();
    assert_eq!((&result["uses"], &result["changed"]), (&json!(1), &json!(["t.csv"])));

    // A training function reads its data itself.
    kernel
        .run_ok(
            "%%workload reads\nfn hyperparameters() -> Vec<Hyperparameter> { vec![Hyperparameter::whole(\"steps\", 1..=100, 2), \
             Hyperparameter::real(\"lr\", 0.0..=1.0, 0.1)] }\nfn train(trial: &mut Trial) -> Result<()> {\n    let length = \
             read(\"t.csv\")?.len() as f64;\n    trial.report(1, &[(\"valid/error\", length * trial.get::<f64>(\"lr\"))])\n}",
        )
        .await;
    kernel.run_ok(&sweep("f", "reads", "--trials 1")).await;
    write(&table(90, 0));
    let error = kernel.run_error(&sweep("f", "reads", "--trials 2")).await;
    assert!(error.contains("FilesChanged") && error.contains("`t.csv` has changed"), "{error}");
}

#[tokio::test]
async fn an_effect_of_one_trial_is_an_effect_and_is_remembered() {
    let (mut kernel, folder) = kernel().await;
    std::fs::write(folder.path().join("t.csv"), table(100, 0)).unwrap();
    kernel.run_ok(&on_table("partly", "")).await;
    let sweep = |trials: u32, more: &str| {
        format!(
            "%%sweep p --trials {trials} {more}\nworkload partly\nscientific optimizer in [adam, momentum]\nfixed steps = 20\nfixed batch_size = 16\n\
             nuisance momentum ~ uniform(0, 0.9)\nnuisance dropout ~ uniform(0, 0.5)"
        )
    };
    // The second trial is that with momentum, and reads all but the dropout.
    let first = kernel.run_ok(&sweep(2, "")).await.result();
    assert_eq!(first["without_effect"], json!(["dropout"]), "{first}");
    let more = kernel.run_ok(&sweep(3, "")).await.result();
    assert_eq!(more["without_effect"], json!(["dropout"]), "what earlier trials used is known: {more}");
    let study = kernel.run_ok("%study p").await;
    assert!(study.shown().contains("No trial used `dropout`"), "{}", study.shown());
    let study = study.result();
    assert_eq!(study["without_effect"], json!(["dropout"]));
    let convention = study["environment"]["epsilon"].as_str().unwrap();
    assert!(convention.contains("outside of the bias correction (ε-hat)"), "{convention}");
}

#[tokio::test]
async fn losses_and_metrics_that_compare_each_with_each_are_errors_of_the_cell() {
    let (mut kernel, folder) = kernel().await;
    std::fs::write(folder.path().join("t.csv"), table(100, 0)).unwrap();
    let workload = |name: &str, more: &str| {
        on_table(name, &format!("    fn task(&self) -> Task {{ Task::Regression }}\n{more}"))
            .replace(".classify(\"y\")?.split(0.6, 0.2, 0)?", ".regress(\"y\")?")
            .replace("Ok(Table", "let d = Table")
            .replace(
                ")?)\n",
                ")?;\n        Ok(Examples::new(d.inputs, d.targets.flatten(0, -1))?.split(0.6, 0.2, 0)?)\n",
            )
            .replace(", 2)", ", 1)")
    };
    let loss = |body: &str| format!("    fn loss(&self, _: &Net, o: &Tensor, t: &Tensor) -> Tensor {{ {body} }}\n");
    let error = kernel.run_error(&workload("plain", "")).await;
    assert!(error.contains(", 1]") && error.contains("unsqueeze(1)"), "{error}");
    for body in [
        "o.mse_loss(t, tch::Reduction::Mean)",
        "(o - t).abs().mean(Kind::Float)",
        "o.huber_loss(t, tch::Reduction::Sum, 1.0)",
        "o.binary_cross_entropy_with_logits::<Tensor>(t, None, None, tch::Reduction::Mean)",
        "(o.log_sigmoid() * t).mean(Kind::Float).neg()",
    ] {
        let error = kernel.run_error(&workload("repeats", &loss(body))).await;
        assert!(error.contains("compares each output with each target") || body.contains("binary"), "{body}: {error}");
        assert!(error.contains("[batch, 1]") && error.contains("[batch]") && error.contains("unsqueeze(1)"), "{error}");
    }
    // A loss that brings them into one shape is right, and then the metric is looked at.
    let right = loss("(o.squeeze_dim(1) - t).abs().mean(Kind::Float)");
    let metric = |body: &str| {
        format!(
            "    fn metrics(&self) -> Vec<Metric> {{\n        fn mae(o: &Tensor, t: &Tensor) -> Tensor {{ {body} }}\n        \
             vec![Metric {{ name: \"mae\", of: mae }}]\n    }}\n"
        )
    };
    let error =
        kernel.run_error(&workload("metric", &(right.clone() + &metric("(o - t).abs().mean(Kind::Float)")))).await;
    assert!(error.contains("the metric `mae` compares each output with each target"), "{error}");
    kernel.run_ok(&workload("metric", &(right + &metric("(o.flatten(0, -1) - t).abs().mean(Kind::Float)")))).await;
}

#[tokio::test]
async fn a_run_that_diverged_has_no_noise_scale() {
    let (mut kernel, _folder) = kernel().await;
    let noise =
        |lr: &str, steps: u32| format!("%noise digits_mlp --pairs 100 --set optimizer=sgd lr={lr} steps={steps}");
    let answer = kernel.run_ok(&noise("1e6", 20)).await;
    let result = answer.result();
    assert!(result["diverged"].is_string() && result["critical_batch_size"].is_null(), "{result}");
    assert!(result["interval"].is_null() && answer.shown().contains("so it has no noise scale"), "{}", answer.shown());
    let result = kernel.run_ok(&noise("0.1", 20)).await.result();
    assert!(result["diverged"].is_null() && result["critical_batch_size"].is_number(), "{result}");
}

#[tokio::test]
async fn the_same_configuration_gives_the_same_result_whatever_ran_before() {
    let (mut kernel, _folder) = kernel().await;
    // Data, initial parameters, augmentation and forward draw from libtorch's own generators.
    kernel
        .run_ok(
            "%%workload drawn\npub struct It;\nimpl Workload for It {\n    fn data(&self, _: &Hyperparameters) -> Result<Data> \
             {\n        let x = Tensor::randn([300, 4], (Kind::Float, Device::Cpu));\n        let y = x.sum_dim_intlist(1, true, \
             Kind::Float);\n        Ok(Examples::new(x, y)?.split(0.6, 0.2, 0)?)\n    }\n    fn task(&self) -> Task { \
             Task::Regression }\n    fn augment(&self, _: &Net, x: &Tensor) -> Tensor { x + x.randn_like() * 0.1 }\n    fn \
             forward(&self, net: &Net, x: &Tensor) -> Tensor {\n        let x = net.linear(\"h\", x, 8).relu();\n        let x = \
             if net.is_training() { x.dropout(0.3, true) } else { x };\n        net.linear(\"y\", &x, 1)\n    }\n}",
        )
        .await;
    let sweep = |name: &str| {
        format!(
            "%%sweep {name} --trials 3 --parallel 1\nworkload drawn\nfixed seed = 5\nfixed steps = 60\nfixed lr = 0.01"
        )
    };
    kernel.run_ok(&sweep("a")).await;
    kernel.run_ok(&sweep("b")).await;
    let mut all = vec![];
    for (study, trial) in [("a", 1), ("a", 3), ("b", 1)] {
        let result = kernel.run_ok(&format!("%curves {study} --trial {trial}")).await.result();
        all.push(result["trials"][0]["metrics"]["valid/loss"].clone());
    }
    assert!(all[0].as_array().is_some_and(|points| points.len() > 1), "{all:?}");
    assert!(all.iter().all(|losses| *losses == all[0]), "{all:?}");
}

#[tokio::test]
async fn a_function_is_tried_whatever_it_does_with_few_steps_and_ends_out_of_memory_by_name() {
    let (mut kernel, _folder) = kernel().await;
    let function = |name: &str, body: &str| {
        format!(
            "%%workload {name}\nfn hyperparameters() -> Vec<Hyperparameter> {{ vec![Hyperparameter::whole(\"steps\", \
             1..=100_000, 2000), Hyperparameter::whole(\"bits\", 1..=60, 4)] }}\nfn train(trial: &mut Trial) -> Result<()> {{\n    \
             let steps: u64 = trial.get(\"steps\");\n{body}\n}}"
        )
    };
    // With two steps there is no tenth of them.
    let tenths = "    let every = steps / 10;\n    for step in 1..=steps { if step % every == 0 { trial.report(step, \
                  &[(\"valid/error\", 1.0 / step as f64)])?; } }\n    Ok(())";
    kernel.run_ok(&function("tenths", tenths)).await;
    // It ignores all that it is told, and would go on for ever.
    let deaf = "    let mut step = 0;\n    loop { step += 1; let _ = trial.report(step, &[(\"valid/error\", 0.5)]); \
                std::thread::sleep(std::time::Duration::from_millis(20)); if steps < 2 { return Ok(()) } }";
    kernel.run_ok(&function("deaf", deaf)).await;
    let large = "    let size = 1usize << trial.get::<u64>(\"bits\");\n    let mut v: Vec<u8> = Vec::with_capacity(size);\n    \
                 v.push(steps as u8);\n    std::hint::black_box(&mut v);\n    trial.report(1, &[(\"valid/error\", f64::from(v[0]))])";
    kernel.run_ok(&function("large", large)).await;
    let sweep = "%%sweep l --trials 1\nworkload large\nfixed bits = 60";
    let answer = kernel.run_ok(sweep).await;
    assert_eq!(answer.result()["trials"]["infeasible"], 1, "{}", answer.shown());
    assert!(in_one_line(&answer).contains("out of memory: memory allocation of"), "{}", answer.shown());
    // A body that is no Rust, or no workload, leaves an earlier version behind.
    for body in ["    Ok(()", "    trial.nothing()"] {
        kernel.run_error(&function("large", body)).await;
        let error = kernel.run_error(&sweep.replace(" l ", " other ")).await;
        assert!(
            error.contains("the last cell `%%workload large` failed") || error.contains("is still its earlier version"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_batch_norm_of_single_examples_is_named() {
    let (mut kernel, folder) = kernel().await;
    std::fs::write(folder.path().join("t.csv"), table(101, 0)).unwrap();
    let normed = on_table("normed", "").replace(
        "net.linear(\"out\", x, 2)",
        "let x = net.batch_norm(\"norm\", &net.linear(\"in\", x, 4));\n        net.linear(\"out\", &x, 2)",
    );
    kernel.run_ok(&normed).await;
    let sweep = "%%sweep n --trials 1\nworkload normed\nfixed batch_size = 1\nfixed steps = 5";
    let shown = in_one_line(&kernel.run_ok(sweep).await);
    assert!(shown.contains("the batch norm `norm` was trained with a single value"), "{shown}");
}

#[tokio::test]
async fn a_panic_without_gradients_leaves_the_next_trial_alone() {
    let (mut kernel, _folder) = kernel().await;
    kernel
        .run_ok(
            "%%workload panics\nfn hyperparameters() -> Vec<Hyperparameter> { vec![Hyperparameter::whole(\"explode\", 0..=1, 0)] \
             }\nfn train(trial: &mut Trial) -> Result<()> {\n    if trial.get::<i64>(\"explode\") == 1 { tch::no_grad(|| \
             panic!(\"boom\")) }\n    let x = Tensor::ones([1], (Kind::Float, Device::Cpu)).set_requires_grad(true);\n    (&x * \
             2.0).sum(Kind::Float).backward();\n    trial.report(1, &[(\"valid/error\", x.grad().double_value(&[0]))])\n}",
        )
        .await;
    let sweep = "%%sweep s --trials 2 --sampler grid --parallel 1\nworkload panics\nscientific explode in [1, 0]";
    let answer = kernel.run_ok(sweep).await;
    let result = answer.result();
    assert_eq!(
        (&result["trials"]["failed"], &result["trials"]["complete"]),
        (&json!(1), &json!(1)),
        "{}",
        answer.shown()
    );
    assert_eq!(result["best"]["objective"], 2.0);
}

#[tokio::test]
async fn what_a_workload_declares_by_a_wrong_name_is_an_error_of_the_cell() {
    let (mut kernel, folder) = kernel().await;
    std::fs::write(folder.path().join("t.csv"), table(100, 0)).unwrap();
    let objective = "    fn objective(&self) -> Objective { Objective { metric: \"valid/eror\".into(), direction: \
                     Direction::Minimize, judged: ObjectiveValue::Best } }\n";
    let defaults = "    fn defaults(&self) -> Vec<(&'static str, Value)> { vec![(\"learning_rate\", 0.03.into())] }\n";
    for (more, part) in [(objective, "the metric `valid/eror`"), (defaults, "the hyperparameter `learning_rate`")] {
        let error = kernel.run_error(&on_table("declares", more)).await;
        assert!(error.contains(part) && error.contains("but there are `"), "{error}");
    }
    let reports = "%%workload elsewhere\nfn train(trial: &mut Trial) -> Result<()> {\n    for step in 1..=5 { trial.report(step, \
                   &[(\"valid/eror\", 0.5)])?; }\n    Ok(())\n}";
    let error = kernel.run_error(reports).await;
    assert!(error.contains("ended without reporting `valid/error`"), "{error}");
}
