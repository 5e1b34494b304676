//! `%stability`: workloads whose edge of stability is known, the digits, mistakes, and interrupts.

use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tunebook_study::TrialState;
use tunebook_tests::{Kernel, PATIENCE, cell, eventually, kernel};

fn number(result: &Value, path: &str) -> f64 {
    result.pointer(path).and_then(Value::as_f64).unwrap_or_else(|| panic!("no {path} in {result}"))
}

fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Runs a sweep over given learning rates and returns the states of the trials of each.
async fn states(kernel: &mut Kernel, name: &str, rates: &[f64], body: &str) -> Vec<Vec<TrialState>> {
    let list = rates.iter().map(f64::to_string).collect::<Vec<_>>().join(", ");
    kernel.run_ok(&format!("%%sweep {name} --sampler grid --repeats 5\n{body}\nscientific lr in [{list}]")).await;
    let trials = kernel.recorded(name);
    let of = |rate: &f64| trials.iter().filter(|t| t.params["lr"].as_f64() == Some(*rate)).map(|t| t.state).collect();
    rates.iter().map(of).collect()
}

/// Gradient descent on a quadratic whose largest curvature is 1 is stable up to a learning rate of 2, at which the loss
/// neither falls nor rises.
#[tokio::test]
async fn the_edge_of_a_quadratic_is_the_known_one() {
    let (mut kernel, _folder) = kernel().await;
    let code = "%stability quadratic --set noise=0 steps=100";
    let answer = kernel.run_ok(code).await;
    let (result, text) = (answer.result(), words(&answer.shown()));
    assert_eq!((&result["kind"], &result["workload"]), (&json!("stability"), &json!("quadratic")));
    let (unstable, stable) = (number(&result, "/unstable_lr"), number(&result, "/edge/stable_lr"));
    assert!(unstable > 2.0 && unstable < 2.3 && (1.7..=2.0).contains(&stable), "{text}");
    assert_eq!(result["edge"]["interval"], json!([stable, unstable]));
    let best = number(&result, "/best_lr");
    assert!(best > 1.0 && best < 2.0, "{text}");
    // The best rate of this quadratic lies next to the edge, and the loss explodes in the first steps above it.
    assert_eq!(result["limit"]["verdict"], "limited", "{text}");
    assert_eq!(result["instability"]["kind"], "early", "{text}");
    assert!(number(&result, "/probe/onset/step") <= 10.0, "{}", result["probe"]);
    let norms = ["p50", "p90", "max"].map(|name| number(&result, &format!("/gradient_norm/{name}")));
    assert!(norms.is_sorted() && norms[0] > 0.0 && number(&result, "/gradient_norm/steps") == 300.0, "{norms:?}");
    assert!((number(&result, "/advice/clipped") - 0.1).abs() < 0.02);
    // No warm-up can make a quadratic stable above its edge.
    assert_eq!(result["advice"]["warmup_steps"], Value::Null, "{text}");
    assert!(text.contains("none of the lengths that were tried was stable"), "{text}");
    let order: Vec<&str> = result["remedies"].as_array().unwrap().iter().filter_map(|r| r["remedy"].as_str()).collect();
    assert_eq!(order, ["warmup", "clipping", "optimizer", "normalization", "zero_init", "lower_rate"]);
    assert!(answer.reply["payload"][0]["text"].as_str().unwrap().contains("clip_norm"));
    // The same cell again trains nothing.
    let trials = kernel.trials_ended();
    let again = kernel.run_ok(code).await.result();
    assert_eq!((again, kernel.trials_ended()), (result, trials));

    let never = kernel.run_ok("%stability quadratic --set noise=0 steps=20 --range 1e-4..1e-2").await;
    let result = never.result();
    assert_eq!((&result["unstable_lr"], &result["highest_lr"]), (&Value::Null, &json!(0.01)));
    assert!(words(&never.shown()).contains("No learning rate up to 0.01 was unstable"), "{}", never.shown());
}

#[tokio::test]
async fn the_edge_of_the_digits_lies_between_rates_that_a_sweep_finds_stable_and_unstable() {
    let (mut kernel, _folder) = kernel().await;
    let answer = kernel.run_ok("%stability digits_mlp --set optimizer=sgd steps=200 batch_size=128").await;
    let result = answer.result();
    let [low, high] = [0, 1].map(|i| number(&result, &format!("/edge/interval/{i}")));
    let (best, unstable) = (number(&result, "/best_lr"), number(&result, "/unstable_lr"));
    assert!(low < unstable && unstable <= high && best < unstable, "{}", answer.shown());
    let body = "workload digits_mlp\nfixed optimizer = sgd\nfixed steps = 200\nfixed batch_size = 128";
    let (below, above) = (low / 2.0, 2.0 * high);
    let [stable, edge] = &states(&mut kernel, "sides", &[below, above], body).await[..] else { panic!("two rates") };
    assert!(stable.iter().all(|state| *state == TrialState::Complete), "{below}: {stable:?}");
    let bad = edge.iter().filter(|state| **state == TrialState::Infeasible).count();
    let unlearned = |trial: &tunebook_study::Trial| trial.summaries["valid/error"].last.0 > 0.85;
    let idle = kernel.recorded("sides").iter().filter(|t| t.state == TrialState::Complete && unlearned(t)).count();
    assert!(bad + idle >= 4, "{above}: {edge:?}");
    for point in result["points"].as_array().unwrap() {
        assert!(point["runs"].as_u64().unwrap() >= point["unstable"].as_u64().unwrap(), "{point}");
    }
    assert_eq!(result["above"].as_array().unwrap().len(), 9, "three seeds at 2, 5 and 10 times the best rate");

    // With a threshold far below all norms, every update is clipped.
    let clipped = kernel.run_ok("%stability digits_mlp --set optimizer=sgd steps=50 clip_norm=0.01 --seeds 2").await;
    let result = clipped.result();
    assert_eq!(number(&result, "/advice/clipped_by_own"), 1.0);
    assert!(number(&result, "/gradient_norm/p50") > 0.01, "norms are measured before clipping");
    assert!(number(&result, "/advice/clip_norm") <= 0.005, "the threshold is tuned down");
    assert!(words(&clipped.shown()).contains("extremely aggressive"), "{}", clipped.shown());
}

#[tokio::test]
async fn remedies_are_tried_in_order_and_help_only_with_evidence() {
    let (mut kernel, _folder) = kernel().await;
    let answer = kernel.run_ok("%stability quadratic --set noise=0 steps=60 --fix --seeds 2").await;
    let (result, text) = (answer.result(), words(&answer.shown()));
    let tried: Vec<&Value> =
        result["remedies"].as_array().unwrap().iter().filter(|remedy| !remedy["tried"].is_null()).collect();
    assert_eq!(tried[0]["remedy"], "warmup", "{text}");
    let set = &tried[0]["tried"]["set"];
    assert_eq!(
        (&set["warmup_steps"], &set["steps"]),
        (&json!(6), &json!(66)),
        "a warm-up comes before the other steps"
    );
    let helped: Vec<bool> = tried.iter().filter_map(|remedy| remedy["tried"]["helps"].as_bool()).collect();
    assert!(helped[..helped.len() - 1].iter().all(|helps| !helps), "the first that helps is the last: {helped:?}");
    for remedy in &tried {
        let effect = &remedy["tried"]["effect"];
        let gains = effect["gain"]["interval"][0].as_f64().is_some_and(|low| low > 0.0);
        let moves = effect["edge_factor"][0].as_f64().is_some_and(|least| least > 1.0);
        assert_eq!(remedy["tried"]["helps"], json!(gains || moves), "{remedy}");
    }
    assert!(text.contains("Tried warm-up (warmup_steps = 6, steps = 66) with 2 seeds"), "{text}");
}

#[tokio::test]
async fn a_training_function_is_swept_and_what_it_does_not_report_is_said() {
    let (mut kernel, _folder) = kernel().await;
    // The height is multiplied by 1 − 2 lr in each step, so that rates above 1 are unstable.
    kernel
        .run_ok(
            "%%workload hill\nfn hyperparameters() -> Vec<Hyperparameter> {\n    \
             vec![Hyperparameter::real(\"lr\", 0.0..=100.0, 0.1), Hyperparameter::whole(\"steps\", 1..=1000, 20)]\n}\n\
             fn objective() -> Objective {\n    \
             Objective { metric: \"height\".into(), direction: Direction::Minimize, judged: Judged::Best }\n}\n\
             fn train(trial: &mut Trial) -> Result<()> {\n    \
             let (lr, steps): (f64, u64) = (trial.get(\"lr\"), trial.get(\"steps\"));\n    let mut x = 1.0f64;\n    \
             for step in 1..=steps {\n        x *= 1.0 - 2.0 * lr;\n        \
             let height = if x.abs() > 3.0 { f64::NAN } else { x.abs() };\n        \
             trial.report(step, &[(\"train/loss\", height), (\"height\", height)])?;\n    }\n    Ok(())\n}",
        )
        .await;
    let answer = kernel.run_ok("%stability hill --seeds 2").await;
    let (result, text) = (answer.result(), words(&answer.shown()));
    let unstable = number(&result, "/unstable_lr");
    assert!((1.0..1.3).contains(&unstable), "{text}");
    assert_eq!((&result["gradient_norm"]["p90"], &result["advice"]["clip_norm"]), (&Value::Null, &Value::Null));
    assert!(text.contains("Gradient norms are not known"), "{text}");
}

#[tokio::test]
async fn mistakes_are_errors_that_say_what_to_do() {
    let (mut kernel, _folder) = kernel().await;
    for (code, name, part) in [
        ("%stability", "SyntaxError", "the workload is missing"),
        ("%stability quadratics", "UnknownWorkload", "did you mean `quadratic`"),
        ("%stability quadratic --fixx", "UnknownOption", "--fix"),
        ("%stability quadratic --set warmup=3", "UnknownHyperparameter", "warmup"),
        ("%stability quadratic --set lr=0.1", "InvalidValue", "`--range A..B` says at which rates it starts"),
        ("%stability quadratic --set seed=3", "InvalidValue", "several seeds"),
        ("%stability quadratic --set steps=[1,2]", "InvalidValue", "`steps` needs one value"),
        ("%stability quadratic --set steps=0", "InvalidValue", "steps"),
        ("%stability quadratic --range 3", "InvalidValue", "two learning rates"),
        ("%stability quadratic --range 1..2", "InvalidValue", "differ by a factor"),
        ("%stability quadratic --range 1e-3..1 --up-to 0.1", "InvalidValue", "at least 1"),
        ("%stability quadratic --seeds 1", "InvalidValue", "at least 2"),
        ("%stability quadratic --seeds 11", "InvalidValue", "at most 10"),
        ("%stability train.py", "NoAnswer", "is a program"),
    ] {
        let error = kernel.run_error(code).await;
        assert!(error.starts_with(name) && error.contains(part), "{code}: {error}");
    }
    assert_eq!(kernel.trials_ended(), 0, "nothing was trained");
}

const LONG: &str = "%stability quadratic --set steps=400 condition=10 noise=0.5 --name long";

#[tokio::test]
async fn an_interrupt_leaves_what_was_found_and_the_same_cell_goes_on() {
    let (mut kernel, _folder) = kernel().await;
    let id = kernel.send("execute_request", cell(LONG)).await;
    assert!(eventually(PATIENCE, || kernel.trials_ended() >= 4).await, "a few trials end");
    let asked = Instant::now();
    kernel.control("interrupt_request", json!({})).await;
    let answer = kernel.answer(&id).await;
    assert_eq!((answer.status(), asked.elapsed() < Duration::from_secs(3)), ("error", true), "{:?}", asked.elapsed());
    assert!(answer.error().contains("Interrupted"), "{}", answer.error());
    assert_eq!(answer.result()["kind"], "stability");
    assert!(answer.result()["points"].as_array().unwrap().len() >= 3, "{}", answer.result());
    let resumed = kernel.run_ok(LONG).await.result();
    let (mut other_kernel, _other_folder) = tunebook_tests::kernel().await;
    let whole = other_kernel.run_ok(LONG).await.result();
    assert_eq!(resumed, whole, "interrupted or not, it finds the same");
}
