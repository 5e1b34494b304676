//! Studies that come from other tools and go to them, checked with those tools.

use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use tunebook_study::{Trial, TrialState};
use tunebook_tests::{Kernel, kernel};

/// Runs a script of `tests/exchange` and parses what it prints.
fn python(script: &str, folder: &Path, more: &[&str]) -> Value {
    let Some(python) = std::env::var_os("TUNEBOOK_PYTHON") else {
        panic!("TUNEBOOK_PYTHON is not set: `cargo verify` makes the environment that this test needs")
    };
    let script = tunebook_tests::repository().join("tests/exchange").join(script);
    let output = Command::new(python).arg(script).arg(folder).args(more).output().expect("Python starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// The state here of a trial that Optuna describes.
fn expected_state(trial: &Value) -> TrialState {
    let reported_nan =
        trial["steps"].as_object().and_then(|steps| steps.values().next_back()).is_some_and(Value::is_null);
    match (trial["state"].as_str().unwrap(), trial["values"][0].is_null(), reported_nan) {
        ("COMPLETE", false, _) => TrialState::Complete,
        ("COMPLETE", true, _) | ("FAIL", _, true) => TrialState::Infeasible,
        ("FAIL", _, false) => TrialState::Failed,
        ("PRUNED", ..) => TrialState::Stopped,
        ("RUNNING", ..) => TrialState::Cancelled,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn studies_of_optuna_are_analysed_with_the_values_that_they_have_there() {
    let (mut kernel, folder) = kernel().await;
    let said = python("make_studies.py", folder.path(), &[]);
    let error = kernel.run_error("%study import nofile.csv").await;
    assert!(error.contains("there is no `nofile.csv`") && error.contains("looked for in"), "{error}");
    for (file, name) in [("made.log", "from-journal"), ("made.db", "from-database")] {
        let before = std::fs::read(folder.path().join(file)).unwrap();
        let error = kernel.run_error(&format!("%study import {file}")).await;
        assert!(error.contains("--study NAME") && error.contains("`tuned`"), "{error}");
        let cell = format!("%study import {file} --study tuned --as {name} --scientific layers");
        let imported = kernel.run_ok(&cell).await.result();
        assert_eq!(std::fs::read(folder.path().join(file)).unwrap(), before, "{file} changed");
        let tuned = &said[file]["tuned"];
        let best = imported["best"]["trial"].as_i64().unwrap();
        assert_eq!(best - 1, tuned["best"].as_i64().unwrap(), "{file}");
        assert_eq!(imported["left_out"], 1, "the trial that waits");
        let of_optuna: Vec<&Value> =
            tuned["trials"].as_array().unwrap().iter().filter(|trial| trial["state"] != "WAITING").collect();
        let recorded = kernel.recorded(name);
        assert_eq!(recorded.len(), of_optuna.len());
        for (trial, there) in recorded.iter().zip(&of_optuna) {
            assert_eq!(json!(trial.params), there["params"], "{file}, {there}");
            assert_eq!(trial.state, expected_state(there), "{file}, {there}");
            if trial.state == TrialState::Complete {
                assert_eq!(trial.summaries["valid/error"].last.0, there["values"][0].as_f64().unwrap());
            }
        }
        // Optuna's trials themselves say what each magic must find.
        let isolation = kernel.run_ok(&format!("%isolate {name} layers")).await;
        assert!(isolation.shown().contains("were imported"), "{}", isolation.shown());
        for point in isolation.result()["points"].as_array().unwrap() {
            let complete = |t: &&Trial| t.state == TrialState::Complete && json!(t.params["layers"]) == point["value"];
            let least = recorded.iter().filter(complete).map(|t| t.summaries["valid/error"].last.0);
            let least = least.fold(f64::INFINITY, f64::min);
            assert_eq!(point["objective"].as_f64().unwrap_or(f64::INFINITY), least, "{point}");
        }
        let axis = kernel.run_ok(&format!("%axis {name}")).await.result();
        let labels: Vec<&Value> = axis["plots"].as_array().unwrap().iter().map(|p| &p["hyperparameter"]).collect();
        assert!(labels.contains(&&json!("optimizer=sgd/momentum")), "the condition was found: {labels:?}");
        let findings = kernel.run_ok(&format!("%insight {name}")).await.result();
        assert!(findings["findings"].as_array().unwrap().iter().all(|f| f["next_cell"].is_null()), "{findings}");
        kernel.run_ok(&format!("%curves {name} --best 2")).await;
        kernel.run_ok(&format!("%bestofk {name}")).await;
        let again = kernel.run_ok(&cell).await;
        assert!(again.shown().contains("Nothing was imported"), "{}", again.shown());
        let error = kernel.run_error(&format!("%study import {file} --study 'two objectives' --as both")).await;
        assert!(error.contains("0: minimize values_0, 1: maximize values_1"), "{error}");
        let both = format!("%study import {file} --study 'two objectives' --as both-{name} --objective-index 1");
        let best = kernel.run_ok(&both).await.result()["best"]["objective"].as_f64().unwrap();
        let values = said[file]["two objectives"]["trials"].as_array().unwrap().iter();
        assert_eq!(best, values.map(|t| t["values"][1].as_f64().unwrap()).fold(f64::NEG_INFINITY, f64::max));
        let error =
            kernel.run_error(&format!("%%sweep {name}\nworkload digits_mlp\nnuisance lr ~ uniform(0, 1)")).await;
        assert!(error.contains("imported from"), "{error}");
        let error = kernel.run_error(&format!("%final {name} --trial 1")).await;
        assert!(error.contains("no test set"), "{error}");
    }
}

/// A program with a conditional hyperparameter; it is infeasible for x above 0.9, and fails for x below 0.05. Above
/// 0.75 it is worse than others from the first step on, and slow, so that early stopping ends it.
const PROGRAM: &str = r#"awk -v x="$1" 'BEGIN {
    if (x < 0.05) exit 3
    if (x > 0.9) { print "{\"step\": 1, \"valid/error\": NaN}"; exit }
    line = "{\"step\": %d, \"valid/error\": %.9f, \"train/loss\": %.3f}\n"
    for (s = 1; s <= 3; s++) {
        printf line, s, 1 / s + (x - 0.4) ^ 2, x / s
        fflush()
        if (x > 0.75) system("sleep 1.5")
    }
}'"#;

async fn swept(options: &str) -> (Kernel, tempfile::TempDir) {
    let (mut kernel, folder) = kernel().await;
    std::fs::write(folder.path().join("program.sh"), PROGRAM).unwrap();
    let sweep = "%%sweep made --trials 24 --seed 1\ncommand sh program.sh {x} {kind} [--y {y}]\n\
        scientific kind in [a, b]\nnuisance x ~ uniform(0, 1)\nwhen kind == b: nuisance y ~ loguniform(1e-3, 1)\n\
        question \"which kind?\"\nminimize valid/error";
    kernel.run_ok(&sweep.replace("--seed 1", &format!("--seed 1 {options}"))).await;
    (kernel, folder)
}

#[tokio::test]
async fn an_exported_study_is_what_other_tools_read_and_comes_back_as_it_was() {
    let (mut kernel, folder) = swept("--stop-early median").await;
    for to in ["out.log", "out.db", "out.csv", "out.parquet", "out.json", "runs", "steps.parquet --measurements"] {
        kernel.run_ok(&format!("%study export made --to {to}")).await;
    }
    let trials = kernel.recorded("made");
    let states: Vec<TrialState> = trials.iter().map(|trial| trial.state).collect();
    for state in [TrialState::Complete, TrialState::Infeasible, TrialState::Stopped, TrialState::Failed] {
        assert!(states.contains(&state), "there is no {state} trial: {states:?}");
    }
    for (file, name) in [("out.log", "journal"), ("out.db", "database")] {
        kernel.run_ok(&format!("%study import {file} --as {name}")).await;
        assert_eq!(kernel.recorded(name), trials, "{file}");
    }
    let best = kernel.run_ok("%study made").await.result()["best"].clone();
    let said = python("read_exports.py", folder.path(), &["made"]);
    for way in ["journal", "database"] {
        let said = &said[way];
        assert_eq!(said["best"]["value"], best["objective"], "{way}");
        assert_eq!(said["best"]["number"].as_u64().unwrap() + 1, best["trial"].as_u64().unwrap(), "{way}");
        assert_eq!(said["best"]["params"], best["params"], "{way}");
        assert_eq!((&said["directions"], &said["metric"]), (&json!(["MINIMIZE"]), &json!(["valid/error"])), "{way}");
        let in_optuna = |state: &TrialState| match state {
            TrialState::Complete => "COMPLETE",
            TrialState::Stopped => "PRUNED",
            _ => "FAIL",
        };
        assert_eq!(said["states"], json!(states.iter().map(in_optuna).collect::<Vec<_>>()), "{way}");
        assert!(said["importances"].as_array().unwrap().contains(&json!("x")), "{said}");
        assert_eq!(said["dashboard"], json!({ "studies": ["made"], "trials": 24 }), "{way}");
        let told = json!({ "number": 24, "trials": 25, "best": said["best"]["number"] });
        assert_eq!(said["told"], told, "{way}: the study goes on");
    }
    let objectives: Vec<Value> = trials
        .iter()
        .map(|t| match t.state {
            TrialState::Complete | TrialState::Stopped => json!(t.summaries["valid/error"].min.0),
            _ => Value::Null,
        })
        .collect();
    for table in ["csv", "parquet"] {
        assert_eq!(said[table]["objective"], json!(objectives), "{table}");
        let x: Vec<f64> = trials.iter().map(|t| t.params["x"].as_f64().unwrap()).collect();
        assert_eq!(said[table]["params_x"], json!(x), "{table}");
    }
    let complete = states.iter().filter(|state| **state == TrialState::Complete).count();
    let infeasible = states.iter().filter(|state| **state == TrialState::Infeasible).count();
    let stopped = trials.iter().filter(|trial| trial.state == TrialState::Stopped);
    let stopped: usize = stopped.map(|trial| kernel.curve("made", trial.number, "valid/error").len()).sum();
    assert_eq!(said["measurements"]["step"].as_array().unwrap().len(), 3 * complete + infeasible + stopped);
    let runs = said["tensorboard"]["runs"].as_object().unwrap();
    assert_eq!(runs.len(), trials.len());
    for (run, trial) in runs.values().zip(&trials).filter(|(_, trial)| trial.state == TrialState::Complete) {
        let points = run["curves"]["valid/error"].as_array().unwrap();
        assert_eq!(points.len(), 3);
        assert_eq!(points[2][1].as_f64().unwrap() as f32, trial.summaries["valid/error"].last.0 as f32);
        assert_eq!(run["hparams"]["x"].as_f64(), trial.params["x"].as_f64());
    }
    assert_eq!(said["tensorboard"]["metrics"], json!(["valid/error", "train/loss"]));
}

#[tokio::test]
async fn hyperparameters_and_metrics_of_one_name_have_columns_of_their_own() {
    let (mut kernel, folder) = kernel().await;
    let sweep = "%%sweep branches --trials 8\ncommand awk -v x={lr} -v k={kind} 'BEGIN {{ \
        printf \"{{\\\"step\\\": 1, \\\"error\\\": %s, \\\"seconds\\\": 9}}\\n\", x }}'\n\
        scientific kind in [a, b]\nwhen kind == a: nuisance lr ~ uniform(0, 1)\n\
        when kind == b: nuisance lr ~ uniform(0, 1)\nminimize error";
    kernel.run_ok(sweep).await;
    for to in ["out.csv", "steps.csv --measurements", "out.log"] {
        kernel.run_ok(&format!("%study export branches --to {to}")).await;
    }
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    let (table, steps) = (read("out.csv"), read("steps.csv"));
    assert!(table.lines().next().unwrap().contains(",params_kind,params_kind=a/lr,params_kind=b/lr,"), "{table}");
    assert_eq!(steps.lines().next(), Some("trial,step,seconds,error,metric_seconds"));
    assert!(read("out.log").contains("\"param_name\":\"kind=a/lr\""));
    kernel.run_ok("%study import out.log --as back").await;
    assert_eq!(kernel.recorded("back"), kernel.recorded("branches"));
}

#[tokio::test]
async fn no_file_is_replaced_silently_and_two_studies_are_compared() {
    let (mut kernel, folder) = swept("--parallel 8").await;
    kernel.run_ok("%study export made --to out.csv").await;
    let before = std::fs::read(folder.path().join("out.csv")).unwrap();
    let error = kernel.run_error("%study export made --to out.csv").await;
    assert!(error.contains("FileExists") && error.contains("--force"), "{error}");
    kernel.run_ok("%study export made --to out.csv --force").await;
    assert_eq!(std::fs::read(folder.path().join("out.csv")).unwrap(), before);
    let error = kernel.run_error("%study export made --to out.xlsx").await;
    assert!(error.contains(".parquet"), "{error}");
    let error = kernel.run_error("%study export made --to none/out.csv").await;
    assert!(error.contains("mkdir"), "{error}");
    let error = kernel.run_error("%study made --to out.csv").await;
    assert!(error.contains("belongs to `%study export`"), "{error}");
    kernel.run_ok("%study export made --to out.log").await;
    let error = kernel.run_error("%study export made --to out.log").await;
    assert!(error.contains("holds a study `made` already"), "{error}");
    let other = "%%sweep other --trials 4 --seed 2\ncommand sh program.sh {x}\nnuisance x ~ uniform(0, 2)\n\
        maximize valid/error";
    kernel.run_ok(other).await;
    kernel.run_ok("%study export other --to out.log").await;
    let file = std::fs::read_to_string(folder.path().join("out.log")).unwrap();
    assert_eq!(file.matches("\"op_code\":0").count(), 2, "both studies are in the journal");
    let comparison = kernel.run_ok("%study compare made other").await.result();
    assert_eq!((&comparison["kind"], &comparison["studies"]), (&json!("comparison"), &json!(["made", "other"])));
    let rows = |part: &str| comparison[part].as_array().unwrap().clone();
    let row = |part: &str, what: &str| rows(part).into_iter().find(|row| row["what"] == what).unwrap();
    let x = json!({ "what": "x", "a": "nuisance ~ uniform(0, 1)", "b": "nuisance ~ uniform(0, 2)", "differs": true });
    assert_eq!(row("definition", "x"), x);
    assert_eq!(row("definition", "kind=b/y")["b"], Value::Null);
    assert_eq!(row("definition", "repeats")["differs"], false);
    assert_eq!(row("environment", "instruction_set")["differs"], false);
    assert_eq!(row("results", "complete trials")["differs"], true);
    let shown = kernel.run_ok("%study compare made other").await.shown();
    assert!(shown.contains("minimize valid/error and maximize valid/error"), "{shown}");
    // A study of a program, one of a workload, and an imported one.
    kernel
        .run_ok("%%sweep deep --trials 2\nworkload digits_mlp\nnuisance lr ~ loguniform(1e-2, 1)\nfixed steps = 10")
        .await;
    kernel.run_ok("%study import out.log --study made --as imported").await;
    let of_kinds = kernel.run_ok("%study compare made deep").await;
    assert!(of_kinds.shown().contains("train something else"), "{}", of_kinds.shown());
    let same = kernel.run_ok("%study compare made imported").await;
    let results = same.result()["results"].as_array().unwrap().clone();
    for what in ["best objective", "time"] {
        let row = results.iter().find(|row| row["what"] == what).unwrap();
        assert_eq!(row["differs"], false, "{}", same.shown());
    }
    assert!(!same.shown().contains("cannot be compared"), "{}", same.shown());
}

#[tokio::test]
async fn a_magic_that_trains_refuses_an_imported_study_and_says_what_to_do() {
    let (mut kernel, folder) = kernel().await;
    std::fs::write(folder.path().join("one.sh"), "echo \"{\\\"step\\\": $2, \\\"error\\\": $1}\"").expect("a file");
    let sweep = "%%sweep made --trials 12\ncommand sh one.sh {x} {steps}\nnuisance x ~ uniform(0, 1)\n\
        fixed steps = 4\nminimize error";
    kernel.run_ok(sweep).await;
    kernel.run_ok("%study export made --to out.log").await;
    // With other roles than it had, it is a study of another tool.
    kernel.run_ok("%study import out.log --study made --as foreign --scientific x").await;
    let recorded = kernel.recorded("foreign");
    assert_eq!(recorded.len(), 12);
    for line in [
        "%adopt foreign --candidate 1 --baseline 2",
        "%seeds foreign --trial 1",
        "%replay foreign",
        "%steps foreign --promote 2",
        "%%sweep foreign --trials 20\ncommand true {x}\nnuisance x ~ uniform(0, 1)\nminimize error",
        "%final foreign --trial 1",
        "%stability foreign",
        "%scaling foreign --target 'error<=0.1' --batches 16,64",
        "%throughput foreign",
    ] {
        let error = kernel.run_error(line).await;
        let is_told = error.contains("imported from") || error.contains("there is no workload `foreign`");
        assert!(is_told && !error.contains("InternalError"), "{line}: {error}");
    }
    let error = kernel.run_error("%steps foreign --promote 2").await;
    assert!(error.contains("nothing can run again") && error.contains("declare its hyperparameters"), "{error}");
    // What only reads works, and offers no cell that cannot run.
    let launched = kernel.run_ok("%launch foreign --trial 1").await.shown();
    assert!(launched.contains("imported") && !launched.contains("%adopt"), "{launched}");
    for line in ["%insight foreign", "%isolate foreign x", "%bestofk foreign", "%curves foreign"] {
        let answer = kernel.run(line).await;
        assert!(!answer.shown().contains("%%sweep"), "{line}: {}", answer.shown());
    }
    assert_eq!(kernel.recorded("foreign"), recorded, "nothing was trained");
}
