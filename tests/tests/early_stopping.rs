//! `--stop-early`, given configurations and rounds, through the real kernel.

use serde_json::json;
use tunebook_study::{Trial, TrialState};
use tunebook_tests::{PATIENCE, eventually, kernel};

/// A program whose curves are known: it reports its level at the steps from 1 to its second argument. After its first
/// report, a bad one waits until it is ended.
const PROGRAM: &str = r#"for step in $(seq $2); do
    echo "{\"step\": $step, \"error\": $1}"
    [ $1 -lt 50 ] || sleep 600
done"#;

fn sweep(head: &str, levels: &[i64], more: &str) -> String {
    let lines: String = levels.iter().map(|level| format!("configuration level = {level}\n")).collect();
    format!(
        "%%sweep {head} --parallel 1\ncommand sh curve.sh {{level}} {{steps}}\nfixed steps = 8\n\
         nuisance level ~ int(0, 100)\n{lines}{more}\nminimize error"
    )
}

#[tokio::test]
async fn bad_trials_are_stopped_and_are_never_passed_off_as_complete() {
    let (mut kernel, folder) = kernel().await;
    std::fs::write(folder.path().join("curve.sh"), PROGRAM).expect("a file");
    let cell = sweep("middle --stop-early median", &[10, 11, 12, 13, 14, 90, 9, 91], "round 2");
    let median = kernel.run_ok(&cell).await.result();
    assert_eq!((&median["trials"]["complete"], &median["trials"]["stopped"]), (&json!(6), &json!(2)), "{median}");
    assert_eq!(median["best"]["trial"], 7, "{median}");
    // The first trial says where the rungs are: at the steps 1 and 4. Of five, only the best one goes on from there.
    let cell = sweep("halving --stop-early asha --resume", &[10, 60, 70, 9, 80], "");
    let asha = kernel.run_ok(&cell).await.result();
    assert_eq!((&asha["trials"]["complete"], &asha["trials"]["stopped"]), (&json!(2), &json!(3)), "{asha}");
    assert_eq!(asha["best"]["trial"], 4, "{asha}");

    // Stopped trials stay stopped, keep their measurements, and have no rank.
    let again = kernel.run_ok(&cell).await.result();
    assert_eq!(again["trials"]["stopped"], 3, "{again}");
    assert_eq!(kernel.curve("halving", 2, "error"), [(1, 60.0)]);
    let answer = kernel.run_ok("%study middle").await;
    let (study, shown) = (answer.result(), answer.shown());
    assert_eq!((&study["definition"]["stop_early"], &study["definition"]["round"]), (&json!("median"), &json!(2)));
    assert_eq!(study["definition"]["given"][5], json!({ "level": 90, "steps": 8 }), "{study}");
    assert!(shown.contains("2 trials were stopped early") && shown.contains("Round: 2"), "{shown}");
    let reason = kernel.recorded("middle")[5].reason.clone().unwrap_or_default();
    assert!(reason.contains("--stop-early median at step 1: `error` 90 is worse than 12"), "{reason}");
    let all = kernel.run_ok("%study").await.result();
    let of_round = all["studies"].as_array().map(|all| all.iter().filter(|study| study["round"] == 2).count());
    assert_eq!(of_round, Some(1), "{all}");
    let best = kernel.run_ok("%bestofk middle").await.result();
    assert_eq!(best["configurations"], 6, "{best}");

    // A longer round may stop trials too. The cell that compares ranks trains its trials to their end.
    let longer = kernel.run_ok("%steps middle --promote 2").await;
    let cell = |field: &str| longer.result()[field].as_str().unwrap_or_default().to_string();
    assert!(cell("next_cell").contains("--stop-early median"), "{}", cell("next_cell"));
    let check = cell("check_cell");
    assert!(check.starts_with("%%sweep middle-x2-check --trials 8 --seed 0\n"), "{check}");
    assert!(check.contains("fixed steps = 16") && check.contains("round 3"), "{check}");
    assert!(longer.shown().contains("because a stopped trial has no rank"), "{}", longer.shown());

    let other = kernel.run_error(&sweep("middle", &[10, 11, 12, 13, 14, 90, 9, 92], "round 3")).await;
    assert!(other.contains("given configuration 8 has changed") && !other.contains("round"), "{other}");
    let unknown = kernel.run_error(&sweep("none --stop-early mediam", &[1], "")).await;
    assert!(unknown.contains("no rule `mediam`") && unknown.contains("median"), "{unknown}");
}

/// A program whose curves cross: after step 4, the order of the levels is the reverse.
const CROSSING: &str = r#"for step in 1 2 3 4 5 6 7 8; do
    value=$1
    [ $step -le 4 ] || value=$((100 - $1))
    echo "{\"step\": $step, \"error\": $value}"
    [ $1 -lt 50 ] || sleep 600
done"#;

#[tokio::test]
async fn a_study_with_stopped_trials_warns_where_curves_cross_and_is_replayed_to_where_they_stopped() {
    let (mut kernel, folder) = kernel().await;
    std::fs::write(folder.path().join("curve.sh"), CROSSING).expect("a file");
    let crossing = sweep("crossing --stop-early median --objective final", &[10, 11, 12, 13, 14, 9, 90], "");
    let answer = kernel.run_ok(&crossing).await;
    assert_eq!(answer.result()["trials"]["stopped"], 1, "{}", answer.shown());
    assert!(answer.shown().contains("Over the 6 complete trials"), "{}", answer.shown());

    // Two workers, and two seeds of each configuration, of which those of a bad one never end by themselves.
    std::fs::write(folder.path().join("curve.sh"), PROGRAM).expect("a file");
    let parallel = |rule: &str, levels: &[i64]| {
        sweep(&format!("two --stop-early {rule} --repeats 2 --resume"), levels, "")
            .replace("--parallel 1", "--parallel 2")
    };
    let levels = [10, 11, 12, 13, 14, 90, 91];
    let two = kernel.run_ok(&parallel("median", &levels)).await.result();
    assert_eq!((&two["trials"]["complete"], &two["trials"]["stopped"]), (&json!(10), &json!(4)), "{two}");
    let replay = kernel.run_ok("%replay two --parallel 2").await;
    let (replayed, shown) = (replay.result(), replay.shown());
    assert_eq!(
        (&replayed["same"], &replayed["trials"], &replayed["identical"]),
        (&json!(true), &json!(14), &json!(14))
    );
    assert!(shown.contains("Stopped early in the record: 4 trials"), "{shown}");
    let again = kernel.recorded("two.replay");
    let stopped = |trials: &[Trial]| trials.iter().filter(|trial| trial.state == TrialState::Stopped).count();
    assert_eq!(stopped(&again), 4);
    kernel.run_ok("%report two --to two.html").await;
    let page = std::fs::read_to_string(folder.path().join("two.html")).expect("the report");
    assert!(page.contains("4 trials were stopped early"), "the report says that trials were stopped");

    let background = sweep("behind --stop-early median --background", &[10, 11, 12, 13, 14, 92], "");
    kernel.run_ok(&background).await;
    assert!(eventually(PATIENCE, || stopped(&kernel.recorded("behind")) == 1).await, "{:?}", kernel.recorded("behind"));

    // Another rule on `--resume` is recorded and said, and the trials before it stay as they are.
    std::fs::write(folder.path().join("curve.sh"), PROGRAM.replace("sleep 600", "true")).expect("a file");
    let other_rule = "crossing --stop-early none --objective final --resume --accept-changes --trials 8";
    let resumed = kernel.run_ok(&crossing.replace("crossing --stop-early median --objective final", other_rule)).await;
    assert!(resumed.shown().contains("ran with `--stop-early median`"), "{}", resumed.shown());
    let (before, after) = (&resumed.result()["trials"]["stopped"], &resumed.result()["trials"]["complete"]);
    assert_eq!((before, after), (&json!(1), &json!(7)), "{}", resumed.shown());

    let bayes = sweep("model --stop-early median --sampler bayes --trials 12 --repeats 2", &[], "");
    let counts = kernel.run_ok(&bayes).await.result()["trials"].clone();
    assert_eq!(counts["complete"].as_u64().zip(counts["stopped"].as_u64()).map(|(a, b)| a + b), Some(24), "{counts}");
}

#[tokio::test]
async fn a_given_configuration_is_left_out_where_draws_are_compared_and_named_beside_them() {
    let (mut kernel, folder) = kernel().await;
    std::fs::write(folder.path().join("curve.sh"), PROGRAM).expect("a file");
    let cell = "%%sweep mixed --trials 21\ncommand sh curve.sh {level} 8\nscientific kind in [old, new]\n\
                nuisance level ~ int(10, 40)\nconfiguration kind = new, level = 10\nminimize error";
    kernel.run_ok(cell).await;
    let answer = kernel.run_ok("%isolate mixed kind").await;
    let isolation = answer.result();
    let shown = answer.shown().split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(shown.contains("1 configuration was given by the user") && shown.contains("error 10 (trial 1"), "{shown}");
    let points = isolation["points"].as_array().expect("points");
    let trials: Vec<Option<u64>> = points.iter().map(|point| point["trials"].as_u64()).collect();
    assert_eq!(trials, [Some(10), Some(10)], "the given one is left out: {isolation}");
    assert!(points.iter().all(|point| !point["interval"].is_null()), "{isolation}");
    assert!(!isolation["comparison"]["probability"].is_null(), "{isolation}");
    let best = kernel.run_ok("%bestofk mixed").await.result();
    assert_eq!(best["configurations"], 20, "{best}");
}

#[tokio::test]
async fn a_given_configuration_that_the_space_does_not_have_is_an_error_with_its_place() {
    let (mut kernel, folder) = kernel().await;
    std::fs::write(folder.path().join("points.csv"), "lr,\"optimizer\"\n0.1,sgd\n\n2,\"sgd\"\n").expect("a file");
    let body = "workload digits_mlp\nnuisance lr ~ loguniform(1e-3, 1)\nscientific optimizer in [sgd, momentum]\n\
        when optimizer == momentum: nuisance momentum ~ uniform(0.5, 0.9)\nfixed steps = 10\n";
    for (line, expected) in [
        ("configurations points.csv", "line 4, column 1: `lr` is 2"),
        ("configurations lacking.csv", "lacking.csv"),
        ("configuration lr = 0.1, optimizer = momentum", "`optimizer=momentum/momentum` has no value here"),
        ("configuration lr = 0.1, optimizer = sgd, momentum = 0.8", "its condition does not hold"),
        ("configuration rate = 0.1", "`rate` is not declared"),
        ("round 0", "a round is a whole number from 1"),
    ] {
        let error = kernel.run_error(&format!("%%plan points\n{body}{line}")).await;
        assert!(error.contains(expected), "{line}: {error}");
    }
    let given = "configuration lr = 1, optimizer = sgd\nconfiguration lr = 0.01, optimizer = momentum, momentum = 0.8";
    let planned = kernel.run_ok(&format!("%%plan points\n{body}{given}")).await.result();
    assert_eq!(planned["trials"], 2, "{planned}");
    assert_eq!(planned["given"][0], json!({ "lr": 1.0, "optimizer": "sgd", "steps": 10 }), "{planned}");
}

#[tokio::test]
async fn further_configurations_are_trained_next_and_the_sampler_goes_on_after_them() {
    let (mut kernel, folder) = kernel().await;
    std::fs::write(folder.path().join("curve.sh"), PROGRAM.replace("sleep 600", "true")).expect("a file");
    let levels = |kernel: &tunebook_tests::Kernel, study: &str| -> Vec<i64> {
        let of = |trial: &Trial| trial.params["level"].as_i64().expect("a level");
        kernel.recorded(study).iter().map(of).collect()
    };
    kernel.run_ok(&sweep("more --trials 6", &[11, 12], "")).await;
    let before = levels(&kernel, "more");
    assert_eq!((before.len(), &before[..2]), (6, &[11, 12][..]));

    // There must be room for what is new, what was given stays, and nothing is recorded by an error.
    let error = kernel.run_error(&sweep("more --trials 6", &[11, 12, 13, 14], "")).await;
    assert!(error.contains("2 given configurations are new") && error.contains("`--trials 8` trains them"), "{error}");
    for (changed, part) in [
        (&[11, 13, 14][..], "the given configuration 2 has changed"),
        (&[11][..], "there were 2 given configurations, now 1"),
    ] {
        let error = kernel.run_error(&sweep("more --trials 9", changed, "")).await;
        assert!(error.contains(part) && error.contains("write additional ones below them"), "{error}");
    }
    let added = sweep("more --trials 9", &[11, 12, 13, 14], "");
    let plan = kernel.run_ok(&added.replace("%%sweep", "%%plan")).await.result();
    assert_eq!(plan["missing"], 3, "{plan}");
    assert_eq!(levels(&kernel, "more"), before, "a plan changes nothing");

    let swept = kernel.run_ok(&added).await;
    let all = levels(&kernel, "more");
    assert_eq!((&all[..6], &all[6..8], all.len()), (&before[..], &[13, 14][..], 9));
    let shown = swept.shown().split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(shown.contains("4 configurations were given by the user"), "{shown}");
    let study = kernel.run_ok("%study more").await.result();
    assert_eq!(study["definition"]["given_later"], json!([{ "first": 2, "configuration": 6 }]), "{study}");
    // The same cell with more trials goes on, and another kernel proposes the same from the record.
    kernel.run_ok(&added.replace("--trials 9", "--trials 11")).await;
    assert_eq!(levels(&kernel, "more")[..9], all);
    let replay = kernel.run_ok("%replay more").await.result();
    assert_eq!((&replay["same"], &replay["identical"]), (&json!(true), &json!(11)), "{replay}");
    assert_eq!(levels(&kernel, "more.replay"), levels(&kernel, "more"));
}
