//! Samplers in a sweep: a small program computes the objective.

use serde_json::json;
use std::collections::{BTreeMap, HashSet};
use tunebook_study::{Trial, TrialState};
use tunebook_tests::{Kernel, PATIENCE, cell, eventually, kernel};

/// A bowl around x = 0.3 and y = 0.6, infeasible for x above 0.7. It fails while there is a file `broken`.
const OBJECTIVE: &str = r#"[ -e broken ] && exit 3
[ -e slow ] && { touch waits; while [ -e slow ]; do sleep 0.05; done; }
awk -v x="$1" -v y="$2" 'BEGIN {
    if (x > 0.7) { print "{\"step\": 1, \"valid/error\": NaN}"; exit }
    printf "{\"step\": 1, \"valid/error\": %.12f, \"other\": 1}\n", 0.1 + (x - 0.3) ^ 2 + (y - 0.6) ^ 2
}'"#;

async fn with_program() -> (Kernel, tempfile::TempDir) {
    let (kernel, folder) = kernel().await;
    std::fs::write(folder.path().join("objective.sh"), OBJECTIVE).unwrap();
    (kernel, folder)
}

fn sweep(name: &str, options: &str) -> String {
    format!(
        "%%sweep {name} {options}\ncommand sh objective.sh {{x}} {{y}}\nscientific width in [1, 2, 3]\n\
         nuisance x ~ uniform(0, 1)\nnuisance y ~ uniform(0, 1)\nminimize valid/error"
    )
}

fn params(trials: &[Trial]) -> Vec<String> {
    trials.iter().map(|trial| format!("{:?}", trial.params)).collect()
}

fn counts(trials: &[Trial]) -> Vec<usize> {
    let mut counts: BTreeMap<i64, usize> = BTreeMap::new();
    trials.iter().for_each(|trial| *counts.entry(trial.params["width"].as_i64().unwrap()).or_default() += 1);
    counts.into_values().collect()
}

/// The words of a text, whose lines end where the screen does.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn bayes_learns_from_results_keeps_scientific_values_balanced_and_is_the_same_again() {
    let (mut kernel, _folder) = with_program().await;
    let answer = kernel.run_ok(&sweep("first", "--sampler bayes --trials 31 --parallel 1")).await;
    let trials = kernel.recorded("first");
    assert_eq!(trials.len(), 31);
    for end in 1..=31 {
        let counts = counts(&trials[..end]);
        let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
        assert!(counts.len() < 3 && end < 3 || most - least <= 1, "after {end}: {counts:?}");
    }
    let best = answer.result()["best"]["objective"].as_f64().unwrap();
    assert!(best < 0.1005, "{best}");
    // The same definition in one trial after the other proposes the same. A larger number goes on as if it had been
    // asked for at once.
    kernel.run_ok(&sweep("second", "--sampler bayes --trials 14 --parallel 1")).await;
    kernel.run_ok(&sweep("second", "--sampler bayes --trials 31 --parallel 1")).await;
    assert_eq!(params(&trials), params(&kernel.recorded("second")));
    let text = words(&answer.shown());
    assert!(text.contains("not exchangeable"), "{text}");
    assert!(text.contains("exploit-unrefined:") && !text.contains("bayes-parallel:"), "{text}");
    let isolated = kernel.run_ok("%isolate first width").await;
    let isolation = isolated.result();
    assert!(isolation["points"].as_array().unwrap().iter().all(|point| point["interval"].is_null()), "{isolation}");
    assert!(isolation["comparison"]["probability"].is_null() && words(&isolated.shown()).contains("not exchangeable"));
    for magic in ["%bestofk first", "%axis first", "%insight first"] {
        assert!(words(&kernel.run_ok(magic).await.shown()).contains("not exchangeable"), "{magic}");
    }
    let study = kernel.run_ok("%study first").await;
    assert!(study.shown().contains("bayes (version 8)"), "{}", study.shown());
    kernel.run_ok(&sweep("third", "--trials 3 --parallel 1")).await;
    let all = kernel.run_ok("%study").await;
    let shares = json!({ "exploring": 3, "exploiting": 62, "given": 0, "imported": 0 });
    assert_eq!(all.result()["configurations"], shares);
    assert!(words(&all.shown()).contains("62 (95 %) exploit"), "{}", all.shown());
    // The best of the earlier studies lies well inside, so that only the trials at a time are too many.
    let plan =
        kernel.run_ok(&sweep("fourth", "--sampler bayes --trials 9 --parallel 2").replace("sweep", "plan")).await;
    let ids: Vec<String> =
        plan.result()["lints"].as_array().unwrap().iter().map(|lint| lint["id"].to_string()).collect();
    assert!(ids.contains(&"\"bayes-parallel\"".into()) && !ids.contains(&"\"exploit-unrefined\"".into()), "{ids:?}");
}

#[tokio::test]
async fn bayes_runs_in_parallel_with_repeats_is_interrupted_widened_and_repeats_nothing() {
    let (mut kernel, folder) = with_program().await;
    let options = "--sampler bayes --trials 12 --parallel 4 --repeats 2 --seed 5";
    kernel.run_ok(&sweep("many", options)).await;
    let before = kernel.recorded("many");
    assert_eq!(before.len(), 24);
    for pair in before.chunks(2) {
        assert_eq!((pair[0].configuration, &pair[0].params), (pair[1].configuration, &pair[1].params));
        assert_ne!(pair[0].seed, pair[1].seed);
    }
    // Trials that an interrupt ended run again with the configurations that they had.
    std::fs::write(folder.path().join("slow"), "").unwrap();
    let more = sweep("many", &options.replace("12", "20"));
    let request = kernel.send("execute_request", cell(&more)).await;
    assert!(eventually(PATIENCE, || folder.path().join("waits").exists()).await);
    kernel.control("interrupt_request", json!({})).await;
    assert_eq!(kernel.answer(&request).await.reply["ename"], "Interrupted");
    let cancelled = kernel.recorded("many");
    std::fs::remove_file(folder.path().join("slow")).unwrap();
    kernel.run_ok(&more.replace("--seed", "--resume --seed")).await;
    let after = kernel.recorded("many");
    assert_eq!(after.len(), 40);
    assert_eq!(params(&cancelled), params(&after)[..cancelled.len()], "started trials keep their configurations");
    let wider = more.replace("x ~ uniform(0, 1)", "x ~ uniform(-1, 1)").replace("20", "30");
    kernel.run_ok(&wider.replace("--seed", "--widen --seed")).await;
    let all = kernel.recorded("many");
    assert_eq!(params(&after), params(&all)[..40]);
    let different: HashSet<String> = params(&all).into_iter().collect();
    assert_eq!(different.len(), 30, "no configuration twice");
    assert!(counts(&all).iter().all(|count| *count == 20), "{:?}", counts(&all));
}

#[tokio::test]
async fn failed_trials_are_not_proposed_again_and_run_again_on_request() {
    let (mut kernel, folder) = with_program().await;
    let body = sweep("fails", "--sampler bayes --trials 8 --parallel 1");
    kernel.run_ok(&body).await;
    std::fs::write(folder.path().join("broken"), "").unwrap();
    kernel.run_ok(&body.replace("trials 8", "trials 12")).await;
    let failed = kernel.recorded("fails");
    let different: HashSet<String> = params(&failed).into_iter().collect();
    assert_eq!((failed.len(), different.len()), (12, 12));
    assert!(failed[8..].iter().all(|trial| trial.state == TrialState::Failed));
    std::fs::remove_file(folder.path().join("broken")).unwrap();
    kernel.run_ok(&body.replace("trials 8", "trials 12 --retry-failed")).await;
    let mended = kernel.recorded("fails");
    assert_eq!(params(&failed), params(&mended));
    assert!(mended.iter().all(|trial| trial.state != TrialState::Failed));
}

#[tokio::test]
async fn sobol_and_random_deal_out_scientific_lists_evenly() {
    let (mut kernel, _folder) = with_program().await;
    for sampler in ["sobol", "random"] {
        kernel.run_ok(&sweep(sampler, &format!("--sampler {sampler} --trials 16 --parallel 2"))).await;
        let trials = kernel.recorded(sampler);
        for end in 3..=16 {
            let counts = counts(&trials[..end]);
            assert!(
                counts.len() == 3 && counts.iter().all(|count| count.abs_diff(end / 3) <= 1),
                "{sampler}: {counts:?}"
            );
        }
        let different: HashSet<String> = params(&trials).into_iter().collect();
        assert_eq!(different.len(), 16);
        let shown = kernel.run_ok(&format!("%isolate {sampler} width")).await.shown();
        assert!(!shown.contains("exchangeable"), "{shown}");
    }
}
