//! `%adopt` and `%seeds`: configurations are trained again, and whether one is better is said with its evidence.

use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;
use tunebook_study::{Trial, TrialState};
use tunebook_tests::{Kernel, cell, eventually, kernel};

/// A program whose error is lower by `gain` standard deviations, 0.01 each, and else depends on its seed only. In a
/// folder with a file `broken`, a third of the seeds of the gain 9 diverge. In one with a file `hold`, a run waits if
/// two runs have begun before.
const PROGRAM: &str = r#"gain=$1; echo >> begun
while [ -f hold ] && [ "$(wc -l < begun)" -gt 2 ]; do sleep 0.02; done
[ -f broken ] && broken=1
awk -v gain="$gain" -v seed="$TUNEBOOK_SEED" -v broken="$broken" 'BEGIN {
    srand(seed); rand(); sum = 0; for (i = 0; i < 12; i++) sum += rand();
    if (broken && gain == 9 && seed % 3 == 0) { print "{\"step\": 1, \"valid/error\": NaN}"; exit }
    printf "{\"step\": 1, \"valid/error\": %.9f}\n", 0.5 - 0.01 * gain + 0.01 * (sum - 6)
}'"#;

/// A study whose trials 1 to 8 have the gains 0, 0, 5, 5, −5, −5, 9, 9. `same` makes no difference.
async fn with_study(options: &str) -> (Kernel, tempfile::TempDir) {
    let (mut kernel, folder) = kernel().await;
    std::fs::write(folder.path().join("train.sh"), PROGRAM).unwrap();
    let configuration =
        |gain: i64| -> String { (1..=2).map(|same| format!("configuration gain = {gain}, same = {same}\n")).collect() };
    let configurations: String = [0, 5, -5, 9].map(configuration).concat();
    let cell = format!(
        "%%sweep gains {options}\ncommand sh train.sh {{gain}} {{same}}\n\
         scientific gain in [0, 5, -5, 9]\nnuisance same in [1, 2]\n{configurations}minimize valid/error"
    );
    kernel.run_ok(&cell).await;
    (kernel, folder)
}

fn begun(folder: &Path) -> usize {
    std::fs::read_to_string(folder.join("begun")).unwrap().lines().count()
}

fn number(result: &Value, field: &str) -> f64 {
    result[field].as_f64().unwrap_or_else(|| panic!("{field}: {result}"))
}

fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn errors(trials: &[Trial]) -> Vec<f64> {
    trials.iter().map(|trial| trial.summaries["valid/error"].min.0).collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[tokio::test]
async fn a_large_gain_is_adopted_from_new_seeds_that_both_share_and_the_record_answers_the_second_time() {
    let (mut kernel, folder) = with_study("").await;
    let answer = kernel.run_ok("%adopt gains --candidate 3 --baseline 1").await;
    let result = answer.result();
    assert_eq!((&result["kind"], &result["study"]), (&json!("adoption"), &json!("gains")));
    assert_eq!((&result["candidate"], &result["baseline"], &result["repeats"]), (&json!(3), &json!(1), &json!(5)));
    assert_eq!((&result["level"], &result["adopt"]), (&json!("L2"), &json!(true)), "{result}");
    let (candidate, baseline) = (kernel.recorded("gains.trial3"), kernel.recorded("gains.trial1"));
    let study = kernel.recorded("gains");
    assert_eq!((candidate.len(), baseline.len()), (5, 5));
    for (a, b) in candidate.iter().zip(&baseline) {
        assert!(a.seed == b.seed && study.iter().all(|trial| trial.seed != a.seed), "new seeds, the same for both");
        assert_eq!((&a.params, &b.params), (&study[2].params, &study[0].params));
    }
    // The noise is that of the seed, so each pair differs by the gain.
    assert!((number(&result, "difference") + 0.05).abs() < 1e-8, "{result}");
    assert_eq!(number(&result, "probability_better"), 1.0);
    assert!((number(&result, "p_value") - 2.0 / 252.0).abs() < 1e-12 && number(&result, "paired_p_value") == 0.0625);
    let [low, high] = [0, 1].map(|end| result["interval"][end].as_f64().unwrap());
    assert!(low <= -0.049_999 && high >= -0.050_001 && high - low < 1e-6, "{result}");
    assert!((number(&result["candidate_runs"], "mean") - mean(&errors(&candidate))).abs() < 1e-12);
    assert_eq!(result["candidate_recorded"], study[2].summaries["valid/error"].min.0);
    let text = words(&answer.shown());
    assert!(text.contains("Level L2. Adopt trial 3"), "{text}");
    assert!(text.contains("expect the mean") || text.contains("is not better than the mean"), "{text}");

    let trained = begun(folder.path());
    let again = kernel.run_ok("%adopt gains --candidate 3 --baseline 1").await;
    assert!(again.shown().contains("Nothing was trained"), "{}", again.shown());
    assert_eq!((again.result(), begun(folder.path())), (result, trained));
    // The other way round it is a harm, and needs no training either.
    let harmful = kernel.run_ok("%adopt gains --candidate 1 --baseline 3").await;
    assert_eq!((&harmful.result()["adopt"], &harmful.result()["level"]), (&json!(false), &json!("L2")));
    assert!(words(&harmful.shown()).contains("Do not adopt trial 1: it is worse than trial 3"), "{}", harmful.shown());
    assert_eq!(begun(folder.path()), trained);
    // More repeats train what is missing.
    let more = kernel.run_ok("%adopt gains --candidate 3 --baseline 1 --repeats 7").await.result();
    assert_eq!((begun(folder.path()), &more["pairs"]), (trained + 4, &json!(7)));
    assert_eq!(kernel.recorded("gains.trial3")[..5], candidate[..]);
    let listed = kernel.run_ok("%study").await;
    assert!(listed.shown().contains("gains.trial3"), "the runs are a study of their own");
}

#[tokio::test]
async fn a_change_without_effect_is_not_adopted_and_three_runs_get_no_verdict() {
    let (mut kernel, _folder) = with_study("").await;
    let answer = kernel.run_ok("%adopt gains --candidate 2 --baseline 1").await;
    let result = answer.result();
    assert_eq!((&result["adopt"], &result["level"], &result["p_value"]), (&json!(false), &json!("L0"), &json!(1.0)));
    assert_eq!((&result["difference"], &result["probability_better"]), (&json!(0.0), &json!(0.5)));
    assert!(words(&answer.shown()).contains("they do not show that it differs"), "{}", answer.shown());
    let three = kernel.run_ok("%adopt gains --candidate 3 --baseline 1 --repeats 3").await;
    let result = three.result();
    assert_eq!((&result["p_value"], &result["adopt"], &result["level"]), (&Value::Null, &json!(false), &json!("L0")));
    assert!((number(&result, "smallest_p_value") - 0.1).abs() < 1e-12 && result["repeats_needed"] == 4);
    let text = words(&three.shown());
    assert!(text.contains("There is no verdict") && text.contains("`--repeats 4`"), "{text}");
}

#[tokio::test]
async fn an_infeasible_run_of_the_candidate_is_worse_than_all_others_and_named() {
    let (mut kernel, folder) = with_study("").await;
    std::fs::write(folder.path().join("broken"), "").unwrap();
    let answer = kernel.run_ok("%adopt gains --candidate 7 --baseline 1 --repeats 12").await;
    let result = answer.result();
    let runs = kernel.recorded("gains.trial7");
    let broken: Vec<u32> =
        runs.iter().filter(|trial| trial.state == TrialState::Infeasible).map(|trial| trial.number).collect();
    assert!(!broken.is_empty() && broken.len() < 6, "{broken:?}");
    assert_eq!(result["candidate_runs"]["infeasible"], json!(broken));
    // Nine standard deviations better, unless it diverges.
    let better = (12 - broken.len()) as f64 / 12.0;
    assert!((number(&result, "probability_better") - better).abs() < 1e-12, "{result}");
    assert_eq!((&result["adopt"], &result["interval"]), (&json!(better >= 0.9), &Value::Null));
    let text = words(&answer.shown());
    assert!(text.contains("An infeasible run counts as worse than all others"), "{text}");
}

#[tokio::test]
async fn the_spread_of_new_runs_is_set_beside_the_gaps_of_the_study() {
    let (mut kernel, folder) = with_study("").await;
    let answer = kernel.run_ok("%seeds gains --trial 3 --repeats 8").await;
    let result = answer.result();
    let values = errors(&kernel.recorded("gains.trial3"));
    assert_eq!((&result["kind"], &result["trial"], &result["repeats"]), (&json!("seeds"), &json!(3), &json!(8)));
    assert_eq!(result["values"], json!(values));
    let sd = (values.iter().map(|v| (v - mean(&values)).powi(2)).sum::<f64>() / 7.0).sqrt();
    assert!((number(&result, "mean") - mean(&values)).abs() < 1e-12);
    assert!((number(&result, "standard_deviation") - sd).abs() < 1e-12 && (0.004..0.02).contains(&sd), "{result}");
    // 2.365 √2: two runs of the same configuration.
    assert!((number(&result, "chance_difference") - 3.3446 * sd).abs() < 1e-3 * sd, "{result}");
    let errors = errors(&kernel.recorded("gains"));
    let best = errors.iter().copied().fold(f64::INFINITY, f64::min);
    let within = errors.iter().filter(|error| **error - best < number(&result, "chance_difference")).count() - 1;
    assert_eq!((&result["within"], &result["others"]), (&json!(within), &json!(7)));
    assert!(words(&answer.shown()).contains("the study recorded"), "{}", answer.shown());
    // `%adopt` takes the same runs.
    let trained = begun(folder.path());
    kernel.run_ok("%adopt gains --candidate 3 --baseline 1 --repeats 5").await;
    assert_eq!(begun(folder.path()), trained + 5);
}

#[tokio::test]
async fn a_launch_tells_what_was_found_of_its_trial_on_either_side() {
    let (mut kernel, _folder) = with_study("").await;
    let adopted = kernel.run_ok("%adopt gains --candidate 5 --baseline 3").await.result();
    assert_eq!((&adopted["adopt"], &adopted["level"]), (&json!(false), &json!("L2")), "{adopted}");
    // The baseline that was kept.
    let kept = kernel.run_ok("%launch gains --trial 3").await;
    let result = kept.result();
    assert_eq!((&result["adoption"]["candidate"], &result["rejected"]), (&json!(5), &json!(false)), "{result}");
    let found = &result["comparisons"][0];
    assert_eq!((&found["against"], &found["was_candidate"]), (&json!(5), &json!(false)));
    assert!((number(found, "difference") + number(&adopted, "difference")).abs() < 1e-12, "{found}");
    assert_eq!(number(found, "probability_better"), 1.0);
    let text = words(&kept.shown());
    assert!(text.contains("difference of valid/error (trial 3 − trial 5)"), "{text}");
    assert!(text.contains("advised to keep it") && !text.contains("Caution: `%adopt`"), "{text}");
    // The candidate that was rejected.
    let rejected = kernel.run_ok("%launch gains --trial 5").await;
    assert_eq!(rejected.result()["rejected"], true);
    let text = words(&rejected.shown());
    assert!(text.contains("Caution: `%adopt` advised to keep trial 3 and not to adopt trial 5 (level L2)"), "{text}");
    let study = kernel.run_ok("%study gains").await.result();
    let launches: Vec<(&Value, &Value)> =
        study["launches"].as_array().unwrap().iter().map(|launch| (&launch["trial"], &launch["rejected"])).collect();
    assert_eq!(launches, [(&json!(3), &json!(false)), (&json!(5), &json!(true))]);
}

#[tokio::test]
async fn with_repeats_a_trial_stands_for_its_configuration() {
    let (mut kernel, _folder) = with_study("--repeats 3").await;
    let result = kernel.run_ok("%adopt gains --candidate 8 --baseline 2").await.result();
    assert_eq!((&result["candidate"], &result["adopt"]), (&json!(8), &json!(true)));
    assert_eq!(result["runs_studies"], json!(["gains.trial7", "gains.trial1"]), "{result}");
    let mut seeds = errors(&kernel.recorded("gains")[6..9]);
    seeds.sort_by(f64::total_cmp);
    assert_eq!(result["candidate_recorded"], seeds[1]);
    let error = kernel.run_error("%adopt gains --candidate 8 --baseline 7").await;
    assert!(error.contains("two seeds of the same configuration"), "{error}");
}

#[tokio::test]
async fn runs_that_ended_before_an_interrupt_are_kept_and_the_same_line_goes_on() {
    let (mut kernel, folder) = with_study("").await;
    std::fs::write(folder.path().join("begun"), "").unwrap();
    std::fs::write(folder.path().join("hold"), "").unwrap();
    let line = "%adopt gains --candidate 3 --baseline 1 --parallel 1";
    let id = kernel.send("execute_request", cell(line)).await;
    let complete = |kernel: &Kernel| {
        let runs = kernel.recorded("gains.trial1");
        runs.into_iter().filter(|trial| trial.state == TrialState::Complete).collect::<Vec<_>>()
    };
    let patience = Duration::from_secs(30);
    assert!(eventually(patience, || complete(&kernel).len() == 2 && begun(folder.path()) == 3).await);
    kernel.control("interrupt_request", json!({})).await;
    let answer = kernel.answer(&id).await;
    assert_eq!(answer.reply["ename"], "Interrupted");
    assert_eq!(answer.result()["baseline_runs"]["values"].as_array().unwrap().len(), 2, "the result so far stays");
    assert!(answer.shown().contains("the same line continues"), "{}", answer.shown());
    let before = complete(&kernel);
    std::fs::remove_file(folder.path().join("hold")).unwrap();
    let result = kernel.run_ok(line).await.result();
    assert_eq!((&result["adopt"], &result["pairs"]), (&json!(true), &json!(5)));
    assert_eq!(complete(&kernel)[..2], before[..]);
}

#[tokio::test]
async fn mistakes_point_at_the_words_and_train_nothing() {
    let (mut kernel, folder) = with_study("").await;
    let trained = begun(folder.path());
    let cases = [
        ("%adopt gain --candidate 3 --baseline 1", "UnknownStudy", "did you mean `gains`"),
        ("%adopt gains --candidate 99 --baseline 1", "UnknownTrial", "no trial 99"),
        ("%adopt gains --candidate 3 --baseline 3", "InvalidValue", "compared with itself"),
        ("%adopt gains --candidate 3", "SyntaxError", "--baseline"),
        ("%adopt gains --candidate 3 --baseline 1 --repeats 1", "InvalidValue", "at least 2"),
        ("%adopt gains --candidate 3 --baseline 1 --repeats 1000", "InvalidValue", "at most 100"),
        ("%adopt gains --candidate three --baseline 1", "InvalidValue", "whole number"),
        ("%seeds gains --trial 0", "InvalidValue", "whole number"),
        ("%seeds gains", "SyntaxError", "--trial"),
        ("%seeds gains 3", "SyntaxError", "one word too many"),
        ("%seeds gains --trial 3 --minimize loss", "UnknownMetric", "loss"),
        ("%seeds gains --trial 3 --vary luck", "InvalidValue", "init, order"),
        ("%seeds gains --trial 3 --vary init", "NoAnswer", "one seed for all"),
    ];
    for (line, name, part) in cases {
        let error = kernel.run_error(line).await;
        assert!(error.starts_with(name) && error.contains(part), "{line}\n{error}");
    }
    // A trial without an objective.
    std::fs::write(folder.path().join("broken.sh"), "echo '{\"step\": 1, \"e\": NaN}'").unwrap();
    kernel.run_ok("%%sweep bad --trials 2\ncommand sh broken.sh {x}\nnuisance x ~ uniform(0, 1)\nminimize e").await;
    let error = kernel.run_error("%seeds bad --trial 1").await;
    assert!(error.starts_with("NoAnswer") && error.contains("trial 1 of `bad` is infeasible"), "{error}");
    // The program has changed.
    std::fs::write(folder.path().join("train.sh"), format!("{PROGRAM}\n# changed\n")).unwrap();
    let error = kernel.run_error("%adopt gains --candidate 3 --baseline 1").await;
    assert!(error.starts_with("FilesChanged") && error.contains("`train.sh` has changed"), "{error}");
    assert_eq!(begun(folder.path()), trained);
    let accepted = kernel.run_ok("%adopt gains --candidate 3 --baseline 1 --accept-changes").await;
    assert!(accepted.shown().contains("`train.sh` has changed"), "{}", accepted.shown());
    // A study that a user gave the name of the runs.
    kernel
        .run_ok("%%sweep gains.trial5 --trials 1\ncommand sh train.sh {gain}\nfixed gain = 1\nminimize valid/error")
        .await;
    let error = kernel.run_error("%seeds gains --trial 5 --accept-changes").await;
    assert!(error.starts_with("StudyExists") && error.contains("%study delete gains.trial5"), "{error}");
}

#[tokio::test]
async fn a_program_that_crashes_or_takes_its_seed_as_a_hyperparameter_is_trained_again_too() {
    let (mut kernel, folder) = kernel().await;
    let program = "[ -f crash ] && exit 3; awk -v s=\"$1\" -v x=\"$2\" 'BEGIN { srand(s); rand(); \
                   printf \"{\\\"step\\\": 1, \\\"e\\\": %.6f}\\n\", x + rand() }'";
    std::fs::write(folder.path().join("train.sh"), program).unwrap();
    let cell =
        "%%sweep own --sampler grid\ncommand sh train.sh {seed} {x}\nfixed seed = 7\nnuisance x in [0, 9]\nminimize e";
    kernel.run_ok(cell).await;
    std::fs::write(folder.path().join("crash"), "").unwrap();
    let error = kernel.run_error("%seeds own --trial 1").await;
    assert!(error.starts_with("NoAnswer") && error.contains("the first one failed"), "{error}");
    std::fs::remove_file(folder.path().join("crash")).unwrap();
    let result = kernel.run_ok("%adopt own --candidate 1 --baseline 2").await.result();
    assert_eq!((&result["adopt"], &result["pairs"]), (&json!(true), &json!(5)), "{result}");
    let (a, b) = (kernel.recorded("own.trial1"), kernel.recorded("own.trial2"));
    for (a, b) in a.iter().zip(&b) {
        let seed = a.params["seed"].as_i64().unwrap();
        assert!(seed != 7 && a.seed == seed as u64 && b.params["seed"] == a.params["seed"], "{a:?} {b:?}");
    }
    assert!((number(&result, "difference") + 9.0).abs() < 1e-5, "{result}");
    let spread: std::collections::BTreeSet<u64> = a.iter().map(|trial| trial.seed).collect();
    assert_eq!(spread.len(), 5);
}

#[tokio::test]
async fn a_workload_is_trained_again_and_its_learning_rate_makes_the_difference() {
    let (mut kernel, _folder) = kernel().await;
    let cell = "%%sweep rates --sampler grid\nworkload digits_mlp\nscientific lr in [0.0003, 0.1]\n\
                fixed optimizer = sgd\nfixed steps = 40\nfixed hidden_units = 16\nminimize valid/error";
    kernel.run_ok(cell).await;
    let result = kernel.run_ok("%adopt rates --candidate 2 --baseline 1").await.result();
    assert_eq!((&result["adopt"], &result["level"]), (&json!(true), &json!("L2")), "{result}");
    assert!(number(&result["candidate_runs"], "standard_deviation") > 0.0, "{result}");
    let [candidate, baseline] = ["rates.trial2", "rates.trial1"].map(|study| kernel.recorded(study));
    assert!(candidate.iter().zip(&baseline).all(|(a, b)| a.seed == b.seed));
    // One source of randomness alone: the seed of the trial, and another one for the initial parameters.
    let study = kernel.recorded("rates");
    let result = kernel.run_ok("%seeds rates --trial 2 --vary init --repeats 3").await.result();
    assert_eq!((&result["vary"], &result["runs_study"]), (&json!("init"), &json!("rates.trial2.init")));
    for run in kernel.recorded("rates.trial2.init") {
        assert_eq!(run.seed, study[1].seed);
        assert!(result["run_seeds"].as_array().unwrap().contains(&json!(run.params["init_seed"])), "{run:?}");
    }
    assert!(number(&result, "standard_deviation") > 0.0, "{result}");
    let constant = kernel.run_ok("%seeds rates --trial 2 --vary dropout --repeats 2").await;
    assert!(words(&constant.shown()).contains("new runs have the same value"), "{}", constant.shown());
}

/// The first cell of a sweep in a text, up to its objective.
fn cell_in(text: &str, name: &str) -> String {
    let from = text.find(&format!("%%sweep {name} ")).unwrap_or_else(|| panic!("no cell of {name}: {text}"));
    let to = from + text[from..].find("minimize valid/error").unwrap() + "minimize valid/error".len();
    text[from..to].to_string()
}

#[tokio::test]
async fn a_repeat_of_the_whole_study_confirms_a_scientific_value_that_matters_and_none_that_does_not() {
    let (mut kernel, folder) = kernel().await;
    std::fs::write(folder.path().join("train.sh"), PROGRAM).unwrap();
    // The gain is the scientific value.
    let study = "%%sweep real --trials 16 --seed 1 --parallel 2\ncommand sh train.sh {gain} {x}\n\
                 scientific gain in [0, 5]\nnuisance x ~ uniform(0, 1)\nminimize valid/error";
    // Here it is a nuisance, and the scientific value makes no difference.
    let fluke = "%%sweep fluke --trials 16 --seed 1 --parallel 2\ncommand sh train.sh {gain} {same}\n\
                 scientific same in [1, 2]\nnuisance gain in [0, 5]\nminimize valid/error";
    for (cell, name, level, word) in [(study, "real", "L3", "confirmed"), (fluke, "fluke", "L2", "does not confirm")] {
        kernel.run_ok(cell).await;
        let trials = kernel.recorded(name);
        let number = |gain: i64, same: i64| {
            let has = |trial: &&Trial| {
                trial.params["gain"].as_i64() == Some(gain)
                    && trial.params.get("same").is_none_or(|value| value.as_i64() == Some(same))
            };
            trials.iter().find(has).unwrap().number
        };
        let line = format!("%adopt {name} --candidate {} --baseline {}", number(5, 1), number(0, 2));
        let first = kernel.run_ok(&line).await;
        assert_eq!((&first.result()["level"], &first.result()["replication"]), (&json!("L2"), &Value::Null), "{name}");
        let again = cell_in(&first.shown(), &format!("{name}-again"));
        assert!(again.contains("--trials 16 --seed 2"), "{again}");
        kernel.run_ok(&again).await;
        let second = kernel.run_ok(&line).await;
        let result = second.result();
        assert_eq!((&result["level"], &result["adopt"]), (&json!(level), &json!(true)), "{name}: {result}");
        assert_eq!(result["repeats_of_study"], json!([format!("{name}-again")]));
        assert_eq!(result["replication"]["configurations"], json!([8, 8]));
        assert!(words(&second.shown()).contains(word), "{name}: {}", second.shown());
    }
    // A study of another question is no repeat.
    kernel.run_ok(&study.replace("sweep real", "sweep other").replace("[0, 5]", "[0, 5, 9]")).await;
    let result = kernel.run_ok("%adopt fluke --candidate 1 --baseline 2").await.result();
    assert_eq!(result["repeats_of_study"].as_array().map_or(0, Vec::len), 1, "{result}");
}
