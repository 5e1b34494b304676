//! What the magics conclude from studies whose objective is known: a small program computes it.

use serde_json::{Value, json};
use tunebook_study::TrialState;
use tunebook_tests::{Kernel, kernel};

/// A program whose error is a bowl in `x`, with noise that depends on the seed. `width` makes no difference. It is
/// infeasible for x above 0.9.
const OBJECTIVE: &str = r#"awk -v x="$1" -v noise="$2" -v seed="$TUNEBOOK_SEED" 'BEGIN {
    srand(seed); rand(); sum = 0; for (i = 0; i < 12; i++) sum += rand();
    if (x > 0.9) { print "{\"step\": 1, \"valid/error\": NaN}"; exit }
    printf "{\"step\": 1, \"valid/error\": %.9f}\n", 0.1 + (x - 0.4) ^ 2 + noise * (sum - 6)
}'"#;

async fn with_program() -> (Kernel, tempfile::TempDir) {
    let (kernel, folder) = kernel().await;
    std::fs::write(folder.path().join("objective.sh"), OBJECTIVE).unwrap();
    (kernel, folder)
}

fn sweep(name: &str, options: &str, noise: f64) -> String {
    format!(
        "%%sweep {name} {options}\ncommand sh objective.sh {{x}} {noise}\nscientific width ~ int(1, 3)\n\
         nuisance x ~ uniform(0, 1)\nminimize valid/error"
    )
}

/// The objectives of the seeds of each configuration of one width, infinite where a seed is infeasible.
fn seeds_of(kernel: &Kernel, study: &str, width: i64) -> Vec<Vec<f64>> {
    let mut found: std::collections::BTreeMap<u32, Vec<f64>> = Default::default();
    for trial in kernel.recorded(study) {
        if trial.params["width"].as_i64() == Some(width) {
            let is_complete = trial.state == TrialState::Complete;
            let value = if is_complete { trial.summaries["valid/error"].min.0 } else { f64::INFINITY };
            found.entry(trial.configuration).or_default().push(value);
        }
    }
    let mut all: Vec<Vec<f64>> = found.into_values().collect();
    all.iter_mut().for_each(|seeds| seeds.sort_by(f64::total_cmp));
    all
}

#[tokio::test]
async fn a_configuration_with_several_seeds_counts_by_their_median_and_each_whole_number_has_a_point() {
    let (mut kernel, _folder) = with_program().await;
    let swept = kernel.run_ok(&sweep("seeds", "--trials 15 --repeats 3 --seed 2", 0.05)).await.result();
    let isolation = kernel.run_ok("%isolate seeds width").await.result();
    let points = isolation["points"].as_array().unwrap();
    assert_eq!(points.iter().map(|point| &point["value"]).collect::<Vec<_>>(), [1, 2, 3]);
    let mut best = f64::INFINITY;
    for (point, width) in points.iter().zip(1..) {
        let seeds = seeds_of(&kernel, "seeds", width);
        let medians: Vec<f64> = seeds.iter().map(|seeds| seeds[1]).collect();
        let least = medians.iter().copied().fold(f64::INFINITY, f64::min);
        best = best.min(least);
        assert_eq!(point["objective"], least, "{point}");
        assert_eq!((&point["trials"], &point["configurations"]), (&json!(3 * seeds.len()), &json!(seeds.len())));
        let of_best = seeds.iter().find(|seeds| seeds[1] == least).unwrap();
        assert_eq!(point["seeds"], if of_best[2].is_finite() { json!([of_best[0], of_best[2]]) } else { Value::Null });
    }
    assert_eq!((&swept["best"]["objective"], &swept["best"]["repeats"]), (&json!(best), &json!(3)));
    let luckiest =
        kernel.recorded("seeds").iter().filter_map(|t| Some(t.summaries.get("valid/error")?.min.0)).fold(1.0, f64::min);
    assert!(luckiest < best, "the luckiest seed is better than the best median");
}

#[tokio::test]
async fn an_isolation_says_what_identical_values_would_give_and_where_another_studys_best_lies() {
    let (mut kernel, _folder) = with_program().await;
    kernel.run_ok(&sweep("same", "--trials 45 --seed 4", 0.02)).await;
    let answer = kernel.run_ok("%isolate same width").await;
    let isolation = answer.result();
    let comparison = &isolation["comparison"];
    let share = |field: &str| comparison[field].as_f64().unwrap_or_else(|| panic!("{field}: {isolation}"));
    assert!((0.6..0.95).contains(&share("null")), "identical values are called certain too: {comparison}");
    assert_eq!(comparison["level"] == "L1", share("p_value") <= 0.05);
    let text = answer.shown().split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.contains("Even if both values were equally good"), "{text}");
    assert!(text.contains(&format!("Level {}", comparison["level"].as_str().unwrap())), "{text}");
    for point in isolation["points"].as_array().unwrap() {
        let [low, high] = [0, 1].map(|end| point["interval"][end].as_f64().unwrap());
        assert!(low < point["objective"].as_f64().unwrap() && high > point["objective"].as_f64().unwrap(), "{point}");
    }
    // Few configurations leave the better end open.
    kernel.run_ok(&sweep("few", "--trials 9 --seed 1", 0.0)).await;
    let few = kernel.run_ok("%isolate few width").await.result();
    let open = few["points"].as_array().unwrap().iter().filter(|point| point["interval"][0].is_null());
    assert_eq!(open.count(), 3, "{few}");
}

#[tokio::test]
async fn the_best_of_k_is_the_exact_distribution_over_draws() {
    let (mut kernel, _folder) = with_program().await;
    kernel.run_ok(&sweep("bowl", "--trials 12 --seed 3", 0.0)).await;
    let answer = kernel.run_ok("%bestofk bowl").await;
    let result = answer.result();
    let trials = kernel.recorded("bowl");
    let is_complete = |trial: &&tunebook_study::Trial| trial.state == TrialState::Complete;
    let mut values: Vec<f64> =
        trials.iter().filter(is_complete).map(|trial| trial.summaries["valid/error"].min.0).collect();
    values.sort_by(f64::total_cmp);
    let n = trials.len();
    assert_eq!((result["kind"].as_str(), &result["configurations"]), (Some("best_of_k"), &json!(n)));
    assert_eq!(result["infeasible"], n - values.len());
    let points = result["points"].as_array().unwrap();
    assert_eq!(points.len(), n);
    // The median of the best of k is the first value below which a draw of k has a half of its chance.
    for (point, k) in points.iter().zip(1_usize..) {
        let avoided = |j: usize| (0..k).map(|i| n.saturating_sub(j + i) as f64 / (n - i) as f64).product::<f64>();
        let median = (1..=values.len()).find(|j| 1.0 - avoided(*j) >= 0.5 - 1e-12).map(|j| values[j - 1]);
        assert_eq!(point["k"], k);
        assert_eq!(point["quartiles"][1].as_f64(), median, "{point}");
    }
    assert_eq!(points[n - 1]["range"], json!([values[0], values[0]]), "there is one draw of all");
    assert!(answer.shown().contains("In half of the cases or more, another study of"), "{}", answer.shown());
    assert!(kernel.run_error("%bestofk bowls").await.contains("did you mean `bowl`"));
}

#[tokio::test]
async fn a_space_that_is_too_narrow_is_widened_by_following_the_offered_cells() {
    let (mut kernel, _folder) = with_program().await;
    let narrow = sweep("narrow", "--trials 30 --seed 1", 0.002).replace("uniform(0, 1)", "uniform(0, 0.3)");
    let swept = kernel.run_ok(&narrow).await.result();
    let boundary = |result: &Value| {
        result["findings"]
            .as_array()
            .unwrap()
            .iter()
            .find(|f| f["id"] == "boundary" && f["hyperparameter"] == "x")
            .cloned()
    };
    assert!(boundary(&swept).is_some_and(|finding| finding["next_cell"].is_string()), "the sweep says it too: {swept}");
    let mut followed = 0;
    loop {
        let answer = kernel.run_ok("%insight narrow").await;
        let Some(finding) = boundary(&answer.result()) else { break };
        assert_eq!(finding["side"], "high", "{finding}");
        assert!(finding["playbook"].as_str().unwrap().starts_with("E1") && finding["evidence"]["chance"].is_number());
        followed += 1;
        assert!(followed <= 2, "{}", answer.shown());
        let before = kernel.recorded("narrow");
        kernel.run_ok(finding["next_cell"].as_str().unwrap()).await;
        let after = kernel.recorded("narrow");
        assert!(after.len() > before.len() && after[..before.len()] == before[..], "the trials are kept");
    }
    assert!(followed > 0, "the best lie at the edge of the narrow range");
}

#[tokio::test]
async fn the_curves_of_a_program_bring_findings_and_a_cell_with_other_steps() {
    let (mut kernel, folder) = kernel().await;
    let program = r#"awk -v x="$1" -v steps="$2" 'BEGIN { for (i = 0; i <= 40; i++)
        printf "{\"step\": %d, \"valid/error\": %.6f, \"train/loss\": %.6f}\n", steps * i / 40, 1 + x - 0.02 * i, 1 - 0.02 * i }'"#;
    std::fs::write(folder.path().join("curve.sh"), program).unwrap();
    let cell = "%%sweep curves --trials 6\ncommand sh curve.sh {x} {steps}\nnuisance x ~ uniform(0, 0.1)\nfixed steps = 400\n\
                question \"does it end too early?\"\nminimize valid/error";
    kernel.run_ok(cell).await;
    let result = kernel.run_ok("%insight curves").await.result();
    let findings = result["findings"].as_array().unwrap();
    let improving = findings.iter().find(|f| f["id"] == "still-improving").unwrap_or_else(|| panic!("{result}"));
    let next = improving["next_cell"].as_str().unwrap();
    assert!(next.starts_with("%%sweep curves-longer") && next.contains("fixed steps = 800"), "{next}");
    kernel.run_ok(next).await;
    let longer = kernel.run_ok("%study curves-longer").await.result();
    assert_eq!(longer["definition"]["question"], "does it end too early?");
    for finding in findings {
        for field in
            ["id", "severity", "hyperparameter", "side", "message", "evidence", "advice", "next_cell", "playbook"]
        {
            assert!(finding.get(field).is_some(), "{field}: {finding}");
        }
    }
}
