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
    for metric in ["train/error", "train/eval_loss"] {
        let code = format!("{} --training-metrics --minimize {metric}", small(&metric.replace('/', "-")));
        let result = kernel.run_ok(&code).await.result();
        assert!(result["best"]["objective"].as_f64().is_some(), "{result}");
    }
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
    assert_eq!((&again.result()["next_cell"], next_input(&again)), (&json!(cell), String::new()), "it was inserted");
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
        ("%steps digits_mlp --set seed=3", "several seeds"),
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

/// A small sweep on the digits that evaluates the training examples too, and overfits where the learning rate is right.
const SWEEP: &str = "%%sweep curves --trials 8 --training-metrics --seed 3\nworkload digits_mlp\n\
    scientific hidden_layers in [1, 2]\nnuisance lr ~ loguniform(1e-3, 1)\nfixed schedule = cosine\n\
    fixed steps = 300\nfixed eval_every = 15\nminimize valid/error";

#[tokio::test]
async fn curves_show_training_and_validation_with_gradient_norms_and_one_panel_for_each_value() {
    let (mut kernel, _folder) = kernel().await;
    kernel.run_ok(SWEEP).await;
    let answer = kernel.run_ok("%curves curves --best 2").await;
    let result = answer.result();
    for trial in result["trials"].as_array().unwrap() {
        for metric in ["train/error", "train/loss", "valid/error", "valid/loss", "gradient_norm", "lr"] {
            assert!(trial["metrics"][metric].as_array().is_some_and(|points| points.len() >= 20), "{metric}: {trial}");
        }
        let norms = &trial["gradient_norms"];
        let at = |name: &str| norms[name].as_f64().unwrap();
        assert_eq!(norms["steps"], 300, "each step has a norm: {norms}");
        assert!(at("p50") <= at("p90") && at("p90") <= at("max"), "{norms}");
    }
    let panels = |answer: &tunebook_tests::Answer| -> Vec<String> {
        let figure =
            answer.published.iter().rev().find_map(|m| m.content["data"].get("application/vnd.plotly.v1+json"));
        let layout = figure.expect("a figure")["layout"].as_object().unwrap().clone();
        let title = |(name, axis): (String, Value)| {
            let title = if name.starts_with("xaxis") || name.starts_with("yaxis") {
                &axis["title"]["text"]
            } else {
                &Value::Null
            };
            title.as_str().map(String::from)
        };
        layout.into_iter().filter_map(title).collect()
    };
    let titles = panels(&answer);
    for wanted in ["dashed: train/error", "dashed: train/eval_loss", "% of steps", "lr"] {
        assert!(titles.iter().any(|title| title.contains(wanted)), "{wanted}: {titles:?}");
    }
    let by_value = kernel.run_ok("%curves curves --by hidden_layers").await;
    let titles = panels(&by_value);
    for value in [1, 2] {
        assert!(titles.contains(&format!("step (hidden_layers = {value})")), "{titles:?}");
    }
    let best_of = |value: i64| {
        let of_value =
            kernel.recorded("curves").into_iter().filter(move |t| t.params["hidden_layers"].as_i64() == Some(value));
        let complete = of_value.filter(|trial| trial.state == TrialState::Complete);
        let best =
            complete.min_by(|a, b| a.summaries["valid/error"].min.0.total_cmp(&b.summaries["valid/error"].min.0));
        best.unwrap().summaries["valid/error"].min.0
    };
    for (trial, value) in by_value.result()["trials"].as_array().unwrap().iter().zip([1, 2]) {
        let errors = trial["metrics"]["valid/error"].as_array().unwrap();
        let least = errors.iter().map(|point| point[1].as_f64().unwrap()).fold(1.0, f64::min);
        assert_eq!(least, best_of(value));
    }
    let error = kernel.run_error("%curves curves --by depth").await;
    assert!(error.contains("depth") && error.contains("hidden_layers"), "{error}");
    assert!(kernel.run_error("%curves curves --by lr --best 2").await.contains("only one of"));
}

#[tokio::test]
async fn the_histogram_of_best_steps_counts_each_configuration() {
    let (mut kernel, _folder) = kernel().await;
    kernel.run_ok(SWEEP).await;
    let answer = kernel.run_ok("%insight curves").await;
    let found = answer.result()["best_steps"].clone();
    let trials = kernel.recorded("curves");
    let complete: Vec<_> = trials.iter().filter(|trial| trial.state == TrialState::Complete).collect();
    let shares: Vec<f64> = complete.iter().map(|t| t.summaries["valid/error"].min.1 as f64 / 300.0).collect();
    let count = |of: &dyn Fn(f64) -> bool| shares.iter().filter(|share| of(**share)).count();
    assert_eq!(found["configurations"], complete.len());
    assert_eq!((&found["early"], &found["late"]), (&json!(count(&|s| s <= 0.1)), &json!(count(&|s| s >= 0.75))));
    let counts: Vec<u64> = found["counts"].as_array().unwrap().iter().filter_map(Value::as_u64).collect();
    assert_eq!((counts.len(), counts.iter().sum::<u64>() as usize), (10, complete.len()));
    assert_eq!(counts[9] as usize, count(&|s| s > 0.9));
    let best: u64 = found["best_counts"].as_array().unwrap().iter().filter_map(Value::as_u64).sum();
    assert_eq!(best as usize, complete.len().min(5));
    assert!(words(&answer.shown()).contains("In the last quarter: "), "{}", answer.shown());
    // A program that reports once has no best step.
    let once = "%%sweep once --trials 6\ncommand echo '{{\"step\": 1, \"e\": {x}}}'\nnuisance x ~ uniform(0, 1)\n\
        minimize e";
    kernel.run_ok(once).await;
    assert_eq!(kernel.run_ok("%insight once").await.result()["best_steps"], Value::Null);
}

#[tokio::test]
async fn a_study_is_promoted_to_a_longer_round_with_its_schedule_and_their_ranks_are_compared() {
    let (mut kernel, _folder) = kernel().await;
    let round = "%%sweep short --trials 12 --seed 5\nworkload digits_mlp\nnuisance lr ~ loguniform(1e-3, 3)\n\
        nuisance warmup_steps in [0, 10]\nnuisance momentum ~ 1 - loguniform(1e-2, 1)\nfixed schedule = linear\n\
        fixed steps = 40\nfixed eval_every = 10\nminimize valid/error";
    kernel.run_ok(round).await;
    let answer = kernel.run_ok("%steps short --promote 5").await;
    let result = answer.result();
    assert_eq!((&result["kind"], &result["steps"]), (&json!("promotion"), &json!([40, 200])));
    let cell = next_input(&answer);
    assert_eq!(result["next_cell"], cell);
    // The decay of 40 − 10 steps keeps its length, and what transfers very likely is fixed.
    for line in ["%%sweep short-x5 --trials 5", "fixed steps = 200", "fixed decay_steps = 30", "fixed warmup_steps = "]
    {
        assert!(cell.lines().any(|l| l.starts_with(line)), "{line}: {cell}");
    }
    assert!(words(&answer.shown()).contains("The warm-up varies"), "{}", answer.shown());
    let likely = |name: &str| {
        let table = result["transfer"].as_array().unwrap();
        table.iter().find(|row| row["hyperparameter"] == name).unwrap()["likely"].clone()
    };
    assert_eq!(
        (likely("warmup_steps"), likely("lr"), likely("schedule")),
        (json!("very_likely"), json!("perhaps"), json!("unlikely"))
    );
    assert_eq!(result["rounds"], json!([]));
    assert!(
        words(&answer.shown()).contains("it is not known whether the conclusions of this round hold"),
        "{}",
        answer.shown()
    );
    kernel.run_ok(&cell).await;
    for trial in kernel.recorded("short-x5") {
        assert_eq!((trial.params["steps"].as_i64(), trial.params["decay_steps"].as_i64()), (Some(200), Some(30)));
    }
    // The second cell trains the same configurations, so that ranks can be compared.
    kernel.run_ok(result["check_cell"].as_str().unwrap()).await;
    for (short, long) in kernel.recorded("short").iter().zip(kernel.recorded("short-x5-check")) {
        for name in ["lr", "momentum", "warmup_steps"] {
            assert_eq!(short.params[name], long.params[name]);
        }
    }
    let again = kernel.run_ok("%steps short --promote 5").await;
    let rounds = again.result()["rounds"].clone();
    assert_eq!((rounds.as_array().unwrap().len(), &rounds[0]["study"]), (1, &json!("short-x5-check")), "{rounds}");
    let agreement = &rounds[0]["agreement"];
    let correlation = agreement["correlation"].as_f64().unwrap();
    let [low, high] = [0, 1].map(|end| agreement["interval"][end].as_f64().unwrap());
    assert!(-1.0 <= low && low <= correlation && correlation <= high && high <= 1.0, "{agreement}");
    assert!(words(&again.shown()).contains("rank correlation with this round is"), "{}", again.shown());
    for (code, expected) in [
        ("%steps shorts --promote 5", "did you mean `short`"),
        ("%steps short --promote 0.5", "a factor above 1"),
        ("%steps short --promote 5 --steps 3", "no other option"),
    ] {
        let error = kernel.run_error(code).await;
        assert!(error.contains(expected), "{code}: {error}");
    }
}
