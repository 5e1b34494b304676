//! What a study says of its hyperparameters and of its failures, for small programs whose objective is known.

use serde_json::Value;
use tunebook_study::TrialState;
use tunebook_tests::{Answer, Kernel, kernel};

/// Starts a kernel beside a program that computes `valid/error` from its arguments `x`, `y` and `z` in awk.
async fn with_program(awk: &str) -> (Kernel, tempfile::TempDir) {
    let (kernel, folder) = kernel().await;
    let program = format!("awk -v x=\"$1\" -v y=\"$2\" -v z=\"$3\" 'BEGIN {{ {awk} }}'");
    std::fs::write(folder.path().join("program.sh"), program).unwrap();
    (kernel, folder)
}

fn sweep(name: &str, options: &str) -> String {
    format!(
        "%%sweep {name} {options}\ncommand sh program.sh {{x}} {{y}} {{z}}\nnuisance x ~ uniform(0, 1)\n\
         nuisance y ~ uniform(0, 1)\nnuisance z ~ uniform(0, 1)\nminimize valid/error"
    )
}

/// The findings of a rule.
fn found<'a>(result: &'a Value, id: &str) -> Vec<&'a Value> {
    result["findings"].as_array().unwrap().iter().filter(|finding| finding["id"] == id).collect()
}

/// What was shown, with single spaces.
fn words(answer: &Answer) -> String {
    answer.shown().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn a_study_says_what_matters_what_interacts_and_what_may_be_fixed() {
    let awk = r#"printf "{\"step\": 1, \"valid/error\": %.9f}\n", 0.1 + (x + y - 0.9) ^ 2 + 0.3 * (x - 0.5) ^ 2"#;
    let (mut kernel, _folder) = with_program(awk).await;
    let swept = kernel.run_ok(&sweep("matters", "--trials 120 --seed 3")).await.result();
    let answer = kernel.run_ok("%insight matters").await;
    let result = answer.result();
    let importance = result["importance"].as_array().unwrap();
    let of = |name: &str, field: &str| {
        importance.iter().find(|h| h["hyperparameter"] == name).unwrap()[field].as_f64().unwrap()
    };
    for measure in ["fanova", "ped_anova"] {
        let sum: f64 = ["x", "y", "z"].iter().map(|name| of(name, measure)).sum();
        assert!((sum - 1.0).abs() < 1e-9, "{importance:?}");
    }
    assert!(
        of("x", "fanova") > of("x", "fanova_null") && of("z", "fanova") <= of("z", "fanova_null"),
        "{importance:?}"
    );
    assert!(of("z", "ped_anova") <= of("z", "ped_anova_null"), "{importance:?}");
    let pairs = result["interactions"].as_array().unwrap();
    assert_eq!((pairs.len(), &pairs[0]["hyperparameters"]), (3, &serde_json::json!(["x", "y"])));
    assert!(
        pairs[0]["share"].as_f64() > pairs[0]["null"].as_f64()
            && pairs[1]["share"].as_f64() <= pairs[1]["null"].as_f64()
    );
    let interactions = found(&result, "interaction");
    assert!(
        interactions.len() == 1 && interactions[0]["advice"].as_str().unwrap().contains("Re-tune x and y together")
    );
    let insensitive = found(&result, "insensitive");
    assert_eq!(insensitive.iter().map(|finding| &finding["hyperparameter"]).collect::<Vec<_>>(), ["z"]);
    assert!(insensitive[0]["advice"].as_str().unwrap().contains("caveat"), "{}", insensitive[0]);
    assert!(!found(&swept, "insensitive").is_empty(), "the sweep has the same findings: {swept}");
    let text = words(&answer);
    assert!(text.contains("What moves the metric") && text.contains("among the best 12 of 120"), "{text}");
    let figure = |m: &tunebook_tests::Message| m.content["data"].get("application/vnd.plotly.v1+json").is_some();
    assert!(answer.published.iter().any(figure), "it has a chart");
    // The cell fixes it at the best configuration's value, and runs.
    let cell = insensitive[0]["next_cell"].as_str().unwrap();
    assert!(cell.starts_with("%%sweep matters-fixed --trials 120") && cell.contains("fixed z = "), "{cell}");
    kernel.run_ok(&cell.replace("--trials 120", "--trials 3")).await;
    let values: Vec<f64> = kernel.recorded("matters-fixed").iter().map(|t| t.params["z"].as_f64().unwrap()).collect();
    assert!(values.len() == 3 && values.iter().all(|z| *z == values[0]), "{values:?}");
}

#[tokio::test]
async fn the_good_region_is_offered_as_a_narrower_space() {
    let awk = r#"printf "{\"step\": 1, \"valid/error\": %.9f}\n", 0.1 + (x - 0.3) ^ 2 + 0.5 * (y - 0.6) ^ 2"#;
    let (mut kernel, _folder) = with_program(awk).await;
    kernel.run_ok(&sweep("region", "--trials 100 --seed 1")).await;
    let result = kernel.run_ok("%insight region").await.result();
    let regions = found(&result, "good-region");
    let region = regions.iter().find(|finding| finding["hyperparameter"] == "x").unwrap_or_else(|| panic!("{result}"));
    let cell = region["next_cell"].as_str().unwrap();
    let range = cell.lines().find_map(|line| line.strip_prefix("nuisance x ~ uniform(")).unwrap();
    let [low, high] =
        range.trim_end_matches(')').split(", ").map(|x| x.parse::<f64>().unwrap()).collect::<Vec<_>>()[..]
    else {
        panic!("{cell}")
    };
    assert!(low < 0.3 && high > 0.3 && high - low < 0.6, "{cell}");
    assert!(cell.contains("nuisance z ~ uniform(0, 1)"), "what does not matter keeps its range: {cell}");
    let before = kernel.run_ok("%study region").await.result()["best"]["objective"].as_f64().unwrap();
    let narrower = kernel.run_ok(cell).await.result();
    assert!(narrower["best"]["objective"].as_f64().unwrap() <= before, "the narrower space is searched more densely");
}

#[tokio::test]
async fn infeasible_trials_are_counted_by_cause_and_a_cell_leaves_their_region_out() {
    let awk = r#"if (x > 0.6) print "{\"step\": 1, \"valid/error\": NaN}";
        else if (y > 0.95) exit 3;
        else printf "{\"step\": 1, \"valid/error\": %.9f}\n", 0.1 + (x - 0.3) ^ 2 + z / 10"#;
    let (mut kernel, _folder) = with_program(awk).await;
    kernel.run_ok(&sweep("broken", "--trials 60 --seed 5")).await;
    let answer = kernel.run_ok("%insight broken").await;
    let result = answer.result();
    let count = |state| kernel.recorded("broken").iter().filter(|trial| trial.state == state).count();
    let (infeasible, failed) = (count(TrialState::Infeasible), count(TrialState::Failed));
    assert!(infeasible > 18 && failed > 0, "{infeasible} and {failed}");
    assert_eq!(result["infeasible"], serde_json::json!({ "non_finite": infeasible, "failed": failed }));
    let text = words(&answer);
    assert!(
        text.contains(&format!("{} of 60 trials cannot be used: {infeasible} not finite", infeasible + failed)),
        "{text}"
    );
    let [finding] = found(&result, "infeasible-fraction")[..] else { panic!("{result}") };
    assert_eq!(
        (finding["hyperparameter"].as_str(), finding["evidence"]["non_finite"].as_f64()),
        (Some("x"), Some(infeasible as f64))
    );
    let cell = finding["next_cell"].as_str().unwrap();
    assert!(cell.starts_with("%%sweep broken-cut"), "{cell}");
    let cut = kernel.run_ok(cell).await.result();
    assert!(cut["trials"]["infeasible"].as_u64().unwrap() <= 3, "{cell}\n{cut}");
}

#[tokio::test]
async fn trials_that_learn_nothing_are_flagged_and_stay_complete() {
    let awk = r#"end = x < 0.3 ? 0.9 : 0.1 + (x - 0.6) ^ 2 / 10;
        for (i = 0; i <= 12; i++)
            printf "{\"step\": %d, \"valid/error\": %.9f}\n", i, i == 0 ? 0.9 : (i < 12 ? 0.95 : end)"#;
    let (mut kernel, _folder) = with_program(awk).await;
    kernel.run_ok(&sweep("chance", "--trials 40 --seed 2")).await;
    let trials = kernel.recorded("chance");
    assert!(trials.iter().all(|trial| trial.state == TrialState::Complete));
    let expected: Vec<u32> =
        trials.iter().filter(|trial| trial.params["x"].as_f64().unwrap() < 0.3).map(|trial| trial.number).collect();
    for magic in ["%insight chance", "%axis chance", "%study chance"] {
        let answer = kernel.run_ok(magic).await;
        let flags = &answer.result()["flags"];
        assert_eq!(flags["worse_than_chance"], serde_json::json!(expected), "{magic}");
        assert_eq!(flags["chance"], 0.9, "{magic}");
        let sentence =
            format!("Flagged: {} of 40 complete trials are no better than an untrained model", expected.len());
        assert!(words(&answer).contains(&sentence), "{magic}: {}", answer.shown());
    }
    assert_eq!(kernel.recorded("chance"), trials, "a flag changes no state");
}

#[tokio::test]
async fn a_trial_that_overfits_past_its_first_value_has_learned() {
    let awk = r#"line = "{\"step\": %d, \"valid/error\": %g}\n"; printf line line line, 0, 2 + x, 1, x / 2, 2, 3 + x"#;
    let (mut kernel, _folder) = with_program(awk).await;
    kernel.run_ok(&sweep("over", "--trials 3 --seed 2")).await;
    let best = kernel.run_ok("%insight over").await.result();
    assert_eq!(best["flags"]["worse_than_chance"], serde_json::json!([]), "{best}");
    assert!(found(&best, "infeasible-fraction").is_empty(), "{best}");
    let last = kernel.run_ok("%insight over --objective final").await.result();
    assert_eq!(last["flags"]["worse_than_chance"], serde_json::json!([1, 2, 3]), "{last}");
    let launch = kernel.run_ok("%launch over --trial 2").await;
    let result = launch.result();
    assert_eq!(result["better_than_chance"], true, "{result}");
    let gain = result["chance"].as_f64().unwrap() - result["objective"].as_f64().unwrap();
    assert!(gain > 2.0 && words(&launch).contains("the baseline is better by"), "{}", launch.shown());
}

#[tokio::test]
async fn an_isolation_has_the_baseline_beside_and_the_cell_that_runs_the_best_again() {
    let awk = r#"printf "{\"step\": 1, \"valid/error\": %.9f}\n", 0.02 * y + (z > 0 ? 0.001 : 0.01)"#;
    let (mut kernel, _folder) = with_program(awk).await;
    let cell = sweep("off", "--trials 24 --seed 4").replace("nuisance z ~ uniform(0, 1)", "scientific z in [0, 0.1]");
    kernel.run_ok(&cell).await;
    let answer = kernel.run_ok("%isolate off z").await;
    let result = answer.result();
    let points = result["points"].as_array().unwrap();
    assert_eq!(points.iter().map(|point| &point["baseline"]).collect::<Vec<_>>(), [true, false]);
    for point in points {
        assert!(point["interval"][0].as_f64().unwrap() >= 0.0, "no error is below 0: {point}");
        assert_eq!(point["params"]["z"], point["value"]);
    }
    assert!(words(&answer).contains("The baseline z = 0 has "), "{}", answer.shown());
    let shown = answer.shown();
    let again = shown.split("again, with another seed:\n").nth(1).unwrap().trim();
    let trial = points[1]["trial"].as_u64().unwrap();
    assert!(again.starts_with(&format!("%%sweep off-trial-{trial} --trials 1")), "{again}");
    let best = kernel.run_ok(again).await.result()["best"].clone();
    assert_eq!(best["objective"], points[1]["objective"]);
    assert_eq!(best["params"], points[1]["params"]);
    let next = kernel.run_ok("%bestofk off").await.result()["next_best"][0].as_f64().unwrap();
    assert!(next >= 0.0, "{next}");
}

#[tokio::test]
async fn a_suspicious_end_of_a_range_is_shaded() {
    let awk = r#"printf "{\"step\": 1, \"valid/error\": %.9f}\n", 0.1 + (x - 1.3) ^ 2 + y / 100"#;
    let (mut kernel, _folder) = with_program(awk).await;
    kernel.run_ok(&sweep("narrow", "--trials 40 --seed 1")).await;
    let answer = kernel.run_ok("%axis narrow").await;
    let result = answer.result();
    let plots = result["plots"].as_array().unwrap();
    let of_x = plots.iter().find(|plot| plot["hyperparameter"] == "x").unwrap();
    assert_eq!(of_x["suspicious"], serde_json::json!(["high"]), "{result}");
    let text = words(&answer);
    assert!(text.contains("Shaded: ") && text.contains("best configurations have x in the upper tenth"), "{text}");
    let figure = |m: &tunebook_tests::Message| m.content["data"].get("application/vnd.plotly.v1+json").cloned();
    let figure = answer.published.iter().rev().find_map(figure).unwrap();
    let shade = &figure["layout"]["shapes"][0];
    assert_eq!((shade["x0"].as_f64(), shade["x1"].as_f64().map(f64::round)), (Some(0.9), Some(1.0)), "{figure}");
}

/// The objective gets worse after a third of the steps, in every trial with `z` below 0.5.
const OVERFITTING: &str = r#"for (i = 0; i <= 30; i++) { t = i / 30;
    rise = z < 0.5 && t > 0.35 ? 0.4 * (t - 0.35) : 0;
    printf "{\"step\": %d, \"valid/error\": %.6f, \"train/loss\": %.6f}\n", i * 10, 0.2 + x / 50 + z / 5 + 0.6 * exp(-12 * t) + rise, exp(-3 * t) }"#;

#[tokio::test]
async fn overfitting_is_counted_among_all_trials_and_its_remedy_is_no_regularization_where_that_is_the_question() {
    let (mut kernel, _folder) = with_program(OVERFITTING).await;
    let usual = sweep("usual", "--trials 20 --seed 2").replace("nuisance y ~ uniform(0, 1)", "scientific y in [1, 2]");
    kernel.run_ok(&usual).await;
    let result = kernel.run_ok("%insight usual").await.result();
    let [finding] = found(&result, "overfitting")[..] else { panic!("{result}") };
    let evidence = &finding["evidence"];
    let overfit = kernel.recorded("usual").iter().filter(|trial| trial.params["z"].as_f64().unwrap() < 0.5).count();
    assert_eq!((evidence["overfitting"].as_f64(), evidence["trials"].as_f64()), (Some(2.0), Some(2.0)));
    assert_eq!(evidence["overfitting_of_all"].as_f64(), Some(overfit as f64), "{finding}");
    assert_eq!(evidence["all_trials"].as_f64(), Some(20.0));
    assert!(finding["advice"].as_str().unwrap().contains("dropout, label smoothing, weight decay"));
    let regularized = usual
        .replace("usual", "decay")
        .replace("scientific y", "scientific weight_decay")
        .replace("{y}", "{weight_decay}");
    kernel.run_ok(&regularized).await;
    let result = kernel.run_ok("%insight decay").await.result();
    let [finding] = found(&result, "overfitting")[..] else { panic!("{result}") };
    let advice = finding["advice"].as_str().unwrap();
    assert!(
        advice.contains("This study measures regularization (weight_decay)") && !advice.contains("dropout"),
        "{advice}"
    );
}

/// Each paragraph that draws a conclusion has a number in it.
#[tokio::test]
async fn no_paragraph_of_a_conclusion_is_without_a_number() {
    let (mut kernel, _folder) = with_program(OVERFITTING).await;
    let cell = sweep("all", "--trials 24 --seed 2").replace("nuisance y ~ uniform(0, 1)", "scientific y in [0, 1]");
    kernel.run_ok(&cell).await;
    for magic in ["%insight all", "%isolate all y", "%isolate all x", "%axis all", "%bestofk all", "%study all"] {
        let answer = kernel.run_ok(magic).await;
        let html = |m: &tunebook_tests::Message| m.content["data"]["text/html"].as_str().map(String::from);
        let page = answer.published.iter().rev().find_map(html).unwrap();
        let paragraphs: Vec<&str> =
            page.split("<p style").skip(1).filter_map(|rest| rest.split_once('>')?.1.split("</p>").next()).collect();
        assert!(!paragraphs.is_empty(), "{magic}");
        let is_label =
            |text: &str| ["The next cell:", "Checkpoints and logs:"].iter().any(|label| text.starts_with(label));
        for text in paragraphs.into_iter().filter(|text| !is_label(text)) {
            assert!(text.contains(|c: char| c.is_ascii_digit()), "{magic}: {text}");
        }
    }
}
