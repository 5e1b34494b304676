//! On real data: the magics tell a useful, a useless and a harmful change apart in their own words, and a space that is
//! too narrow is widened by running the cells that they offer.

use serde_json::{Value, json};
use tunebook_study::Trial;
use tunebook_tests::{Kernel, kernel};

fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A sweep of the digits: each value of the scientific hyperparameter with each learning rate.
fn sweep(name: &str, lines: &str) -> String {
    format!(
        "%%sweep {name} --trials 24 --seed 1\nworkload digits_mlp\nfixed optimizer = momentum\nfixed steps = 60\n\
         {lines}\nminimize valid/error"
    )
}

/// The best trial with a value of a hyperparameter.
fn best_with(kernel: &Kernel, study: &str, name: &str, value: f64) -> Trial {
    let has = |trial: &Trial| trial.params[name].as_f64() == Some(value);
    let trials = kernel.recorded(study).into_iter().filter(has);
    let error = |trial: &Trial| trial.summaries["valid/error"].min.0;
    trials.min_by(|a, b| error(a).total_cmp(&error(b))).unwrap()
}

/// The findings of one kind.
fn found<'a>(result: &'a Value, id: &str) -> Vec<&'a Value> {
    result["findings"].as_array().unwrap().iter().filter(|finding| finding["id"] == id).collect()
}

#[tokio::test]
async fn useful_useless_and_harmful_changes_are_told_apart_and_a_narrow_space_is_widened_by_the_offered_cells() {
    let (mut kernel, _folder) = kernel().await;

    // Momentum is a real gain, up to the highest level.
    kernel.run_ok(&sweep("useful", "scientific momentum in [0, 0.9]\nnuisance lr ~ loguniform(1e-2, 0.05)")).await;
    let isolated = kernel.run_ok("%isolate useful momentum").await;
    assert_eq!(isolated.result()["comparison"]["level"], "L1");
    assert!(words(&isolated.shown()).contains("Level L1: 0.9 is better than 0"), "{}", isolated.shown());
    let number = |kernel: &Kernel, study: &str, name: &str, value| best_with(kernel, study, name, value).number;
    let line = format!(
        "%adopt useful --candidate {} --baseline {}",
        number(&kernel, "useful", "momentum", 0.9),
        number(&kernel, "useful", "momentum", 0.0)
    );
    let adopted = kernel.run_ok(&line).await;
    assert_eq!((&adopted.result()["adopt"], &adopted.result()["level"]), (&json!(true), &json!("L2")));
    let text = words(&adopted.shown());
    assert!(text.contains("Adopt trial") && text.contains("%%sweep useful-again"), "{text}");
    let again = sweep("useful-again", "scientific momentum in [0, 0.9]\nnuisance lr ~ loguniform(1e-2, 0.05)");
    kernel.run_ok(&again.replace("--seed 1", "--seed 2")).await;
    let confirmed = kernel.run_ok(&line).await;
    assert_eq!(confirmed.result()["level"], "L3", "{}", confirmed.shown());

    // β2 does nothing where the optimizer has none.
    let lines = "fixed momentum = 0.9\nscientific beta2 in [0.9, 0.999]\nnuisance lr in [0.01, 0.02, 0.04, 0.08]";
    let useless = kernel.run_ok(&sweep("useless", lines).replace("--trials 24", "--sampler grid")).await;
    assert_eq!(useless.result()["without_effect"], json!(["beta2"]));
    assert!(words(&useless.shown()).contains("No trial used `beta2`"), "{}", useless.shown());
    let isolated = kernel.run_ok("%isolate useless beta2").await;
    assert_eq!(isolated.result()["comparison"]["level"], "L0", "{}", isolated.shown());
    let candidate = best_with(&kernel, "useless", "beta2", 0.9);
    let same_rate = |trial: &Trial| trial.params["lr"] == candidate.params["lr"] && trial.number != candidate.number;
    let baseline = kernel.recorded("useless").into_iter().find(same_rate).unwrap();
    let line = format!("%adopt useless --candidate {} --baseline {}", candidate.number, baseline.number);
    let refused = kernel.run_ok(&line).await;
    assert_eq!((&refused.result()["adopt"], &refused.result()["level"]), (&json!(false), &json!("L0")));
    assert!(words(&refused.shown()).contains("they do not show that it differs"), "{}", refused.shown());

    // A weight decay that is far too strong.
    let lines = "fixed momentum = 0.9\nscientific weight_decay in [0, 0.3]\nnuisance lr ~ loguniform(1e-2, 0.1)";
    kernel.run_ok(&sweep("harmful", lines)).await;
    let isolated = kernel.run_ok("%isolate harmful weight_decay").await;
    assert!(words(&isolated.shown()).contains("Level L1: 0 is better than 0.3"), "{}", isolated.shown());
    let line = format!(
        "%adopt harmful --candidate {} --baseline {}",
        number(&kernel, "harmful", "weight_decay", 0.3),
        number(&kernel, "harmful", "weight_decay", 0.0)
    );
    let harm = kernel.run_ok(&line).await;
    assert_eq!(harm.result()["adopt"], false);
    assert!(words(&harm.shown()).contains("it is worse than trial"), "{}", harm.shown());

    // A range of learning rates far below the best one.
    let lines = "fixed momentum = 0.9\nscientific hidden_layers in [1, 2]\nnuisance lr ~ loguniform(1e-3, 1e-2)";
    let mut cell = sweep("narrow", lines);
    let mut best = vec![];
    for round in 0.. {
        let result = kernel.run_ok(&cell).await.result();
        best.push(result["best"]["objective"].as_f64().unwrap());
        let insight = kernel.run_ok("%insight narrow").await.result();
        let Some(boundary) = found(&insight, "boundary").first().copied() else { break };
        assert!(round < 2, "still too narrow after {round} offered cells: {boundary}");
        assert_eq!((&boundary["hyperparameter"], &boundary["side"]), (&json!("lr"), &json!("high")), "{boundary}");
        cell = boundary["next_cell"].as_str().unwrap().to_string();
    }
    assert!(best.len() > 1 && best[best.len() - 1] < 0.7 * best[0], "the first range was too narrow: {best:?}");
}
