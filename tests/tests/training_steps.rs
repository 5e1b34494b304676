//! `%steps`: how long to train at first, and how the length of training is judged and changed.

use serde_json::{Value, json};
use std::time::Duration;
use tunebook_study::TrialState;
use tunebook_tests::{Kernel, eventually, kernel};

/// A small grid on the digits, whose fastest learning rate lies inside.
const SMALL: &str = "%steps digits_mlp --steps 400 --lr 1e-3..10 --rates 5 --every 10 --repeats 6";

fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The cell that the answer offers as the next input.
fn next_input(answer: &tunebook_tests::Answer) -> String {
    let payload = answer.reply["payload"].as_array().cloned().unwrap_or_default();
    let offered = payload.iter().find(|payload| payload["source"] == "set_next_input");
    offered.and_then(|payload| payload["text"].as_str()).unwrap_or_default().to_string()
}

/// The first of two evaluations in a row that fit, from what the store holds.
fn fits_at(kernel: &Kernel, study: &str, number: u32) -> Option<u64> {
    let errors = kernel.curve(study, number, "train/error");
    errors.windows(2).find(|row| row[0].0 > 0 && row.iter().all(|(_, error)| *error <= 0.0)).map(|row| row[0].0)
}

#[tokio::test]
async fn the_initial_number_of_steps_is_that_of_the_fastest_rate_that_fits() {
    let (mut kernel, _folder) = kernel().await;
    let answer = kernel.run_ok(SMALL).await;
    let result = answer.result();
    assert_eq!((&result["kind"], &result["workload"]), (&json!("steps"), &json!("digits_mlp")));
    assert_eq!((&result["at_boundary"], &result["metric"]), (&json!(false), &json!("train/error")), "{result}");
    // The grid is a study like any other, with one trial for each learning rate.
    let grid = kernel.recorded("digits_mlp-steps");
    let steps: Vec<Option<u64>> = grid.iter().map(|t| fits_at(&kernel, "digits_mlp-steps", t.number)).collect();
    let (least, fastest) =
        steps.iter().zip(&grid).filter_map(|(s, t)| Some(((*s)?, t))).min_by_key(|(s, _)| *s).unwrap();
    assert_eq!(result["learning_rate"], json!(fastest.params["lr"].as_f64().unwrap()), "{}", answer.shown());
    assert_eq!(result["fastest"]["steps"], least);
    for trial in &grid {
        let set = |name: &str| trial.params[name].clone();
        assert_eq!((set("schedule"), set("steps").as_i64()), ("constant".into(), Some(400)));
        for name in ["dropout", "weight_decay", "label_smoothing", "polyak_decay", "warmup_steps"] {
            assert_eq!(set(name).as_f64(), Some(0.0), "{name} is switched off");
            assert_eq!(result["switched_off"][name].as_f64(), Some(0.0));
        }
        // A trial that fits ends there.
        let last = kernel.curve("digits_mlp-steps", trial.number, "train/error").last().unwrap().0;
        let ends = fits_at(&kernel, "digits_mlp-steps", trial.number).map_or(400, |step| step + 10);
        if trial.state == TrialState::Complete {
            assert_eq!(last, ends);
        }
    }
    // The number is the median over six other seeds, and their range is its interval.
    let seeds = kernel.recorded("digits_mlp-steps.seeds");
    let mut of_seeds: Vec<u64> =
        seeds.iter().filter_map(|t| fits_at(&kernel, "digits_mlp-steps.seeds", t.number)).collect();
    of_seeds.sort_unstable();
    assert_eq!(of_seeds.len(), 6, "{}", answer.shown());
    assert!(seeds.iter().all(|seed| seed.seed != fastest.seed && seed.params["lr"] == fastest.params["lr"]));
    assert_eq!(result["max_train_steps"], (of_seeds[2] + of_seeds[3]).div_ceil(2));
    assert_eq!(result["interval"], json!([of_seeds[0] as f64, of_seeds[5] as f64]));
    // A sweep does not evaluate the training examples unless it is asked to, and trains the same.
    let small = |name: &str| format!("%sweep digits_mlp lr=[0.1] steps=40 eval_every=20 --seed 1 --name {name}");
    kernel.run_ok(&small("without")).await;
    kernel.run_ok(&format!("{} --training-metrics", small("with"))).await;
    assert!(kernel.curve("without", 1, "train/error").is_empty() && kernel.curve("with", 1, "train/error").len() == 3);
    assert_eq!(kernel.curve("without", 1, "valid/loss"), kernel.curve("with", 1, "valid/loss"));
    // The next cell is a sweep with this number of steps, which runs.
    let cell = next_input(&answer);
    assert_eq!(result["next_cell"], cell);
    assert!(cell.contains(&format!("fixed steps = {}\n", result["max_train_steps"])), "{cell}");
    let swept = kernel.run_ok(&cell.replace("--trials 20", "--trials 2")).await.result();
    assert_eq!(swept["trials"]["complete"].as_u64().unwrap() + swept["trials"]["infeasible"].as_u64().unwrap(), 2);
    // Once more, nothing is trained.
    let again = kernel.run_ok(SMALL).await;
    assert!(again.shown().contains("Nothing was trained"), "{}", again.shown());
    assert_eq!(again.result()["max_train_steps"], result["max_train_steps"]);
    let text = words(&answer.shown());
    for said in ["Initial max_train_steps: ", "median over 6 seeds", "Playbook G4", "Playbook G7", "dropout = 0"] {
        assert!(text.contains(said), "{said}: {text}");
    }
}

#[tokio::test]
async fn a_grid_whose_fastest_rate_is_at_its_edge_is_widened_and_refused_if_that_does_not_help() {
    let (mut kernel, _folder) = kernel().await;
    let widened = kernel
        .run_ok("%steps digits_mlp --steps 400 --lr 1e-3..1e-2 --rates 3 --every 20 --repeats 2 --name low")
        .await;
    let result = widened.result();
    assert!(result["widened"].as_u64().unwrap() >= 1, "{}", widened.shown());
    assert!(result["learning_rate"].as_f64().unwrap() > 1e-2, "{}", widened.shown());
    assert_eq!(result["interval"], Value::Null, "two seeds have no interval");
    let refused = kernel.run_ok("%steps digits_mlp --steps 100 --lr 1e-4..4e-4 --rates 3 --name tiny").await;
    let result = refused.result();
    assert_eq!((&result["at_boundary"], &result["max_train_steps"]), (&json!(true), &Value::Null));
    assert_eq!((&result["side"], &result["widened"]), (&json!("high"), &json!(2)));
    assert!(result["reason"].as_str().unwrap().contains("none of 9 learning rates fits"), "{result}");
    assert!(kernel.recorded("tiny.seeds").is_empty());
    assert!(next_input(&refused).starts_with("%steps digits_mlp --steps 400"), "{}", next_input(&refused));
}

#[tokio::test]
async fn an_interrupt_keeps_the_trials_and_resume_finds_the_same() {
    let (mut kernel, folder) = kernel().await;
    let code = format!("{SMALL} --parallel 1");
    let id = kernel.send("execute_request", json!({ "code": code, "silent": false })).await;
    let studies = folder.path().join(".tunebook/studies.db");
    let ended = || studies.exists() && kernel.trials_ended() > 0;
    assert!(eventually(Duration::from_secs(60), ended).await);
    kernel.control("interrupt_request", json!({})).await;
    let interrupted = kernel.answer(&id).await;
    assert!(interrupted.error().contains("Interrupted"), "{}", interrupted.error());
    let before = interrupted.result();
    assert_eq!(before["max_train_steps"], Value::Null, "{before}");
    assert!(!before["grid"].as_array().unwrap().is_empty());
    let waits = kernel.run_ok(&code).await;
    assert!(waits.shown().contains("`--resume` runs them"), "{}", waits.shown());
    let resumed = kernel.run_ok(&format!("{code} --resume")).await.result();
    let whole = kernel.run_ok(&format!("{code} --name whole")).await.result();
    for field in ["max_train_steps", "interval", "learning_rate", "at_boundary"] {
        assert_eq!(resumed[field], whole[field], "{field}");
    }
}

#[tokio::test]
async fn mistakes_are_errors_that_say_what_to_do() {
    let (mut kernel, _folder) = kernel().await;
    for (code, expected) in [
        ("%steps digits_mlpp", "did you mean `digits_mlp`"),
        ("%steps digits_mlp --set lr=0.1", "`--lr A..B`"),
        ("%steps digits_mlp --set dropout=0.2", "is switched off here"),
        ("%steps digits_mlp --set momentum=[0.5,0.9]", "needs one value here"),
        ("%steps digits_mlp --lr 1..0.1", "is not a range of learning rates"),
        ("%steps digits_mlp --rates 2", "at least 3"),
        ("%steps digits_mlp --fit -1", "takes a number from 0"),
        ("%steps quadratic", "--fit 0.01"),
        ("%steps", "the workload"),
    ] {
        let error = kernel.run_error(code).await;
        assert!(error.contains(expected), "{code}: {error}");
    }
}
