//! `%replay`: a study runs again from its record.

use serde_json::json;
use tunebook_tests::kernel;

/// A program whose numbers follow from its seed, with a time among them.
const PROGRAM: &str = "awk -v x=$1 -v s=$TUNEBOOK_SEED 'BEGIN { srand(s); for (i = 1; i < 4; i++) \
    printf \"{\\\"step\\\": %d, \\\"error\\\": %.17g, \\\"seconds\\\": %f}\\n\", i, x + rand() / i, systime() }'";

#[tokio::test]
async fn a_study_runs_again_from_its_record_alone() {
    let (mut kernel, folder) = kernel().await;
    kernel
        .run_ok("%%sweep d --trials 3 --training-metrics --every 20\nworkload digits_mlp\nnuisance lr ~ loguniform(1e-3, 1)\nfixed steps = 40")
        .await;
    let before = kernel.run_ok("%study d").await.result();
    let first = kernel.run_ok("%replay d --trials 1").await.result();
    assert_eq!((&first["trials"], &first["identical"], &first["same"]), (&json!(1), &json!(1), &json!(true)));
    let all = kernel.run_ok("%replay d").await;
    let result = all.result();
    assert_eq!((&result["kind"], &result["trials"], &result["identical"]), (&json!("replay"), &json!(3), &json!(3)));
    assert_eq!((&result["largest_difference"], &result["environment"]), (&json!(0.0), &json!([])), "{}", all.shown());
    assert!(result["values"].as_u64().unwrap() >= 3 * 8, "{result}");
    assert_eq!(kernel.run_ok("%study d").await.result(), before, "the study itself stays as it is");
    let shown = kernel.run_ok("%replay d").await.shown();
    assert!(shown.contains("Nothing was trained"), "{shown}");
    let again = tunebook_study::store::Store::open_to_read(&folder.path().join(".tunebook/studies.db"));
    let store = again.unwrap().unwrap();
    let [study, replay] = ["d", "d.replay"].map(|name| store.study(name).unwrap().unwrap());
    let has = |metric: &str| store.measurements(&replay, 2).unwrap().iter().any(|m| m.metrics.contains_key(metric));
    assert!(has("noise_scale") && has("train/error"), "the options of the sweep are part of the record");
    let of = |study| -> Vec<_> {
        store.trials(study).unwrap().into_iter().map(|t| (t.number, t.params, t.seed, t.summaries)).collect()
    };
    assert_eq!(of(&study), of(&replay));
}

#[tokio::test]
async fn what_differs_is_said_with_its_place() {
    let (mut kernel, folder) = kernel().await;
    let script = folder.path().join("train.sh");
    std::fs::write(&script, PROGRAM).unwrap();
    let sweep = "%%sweep p --trials 4\ncommand sh train.sh {x}\nnuisance x in [1, 2, 3, 4]\nminimize error";
    kernel.run_ok(sweep).await;
    let same = kernel.run_ok("%replay p").await.result();
    assert_eq!((&same["identical"], &same["times"]), (&json!(4), &json!(["seconds"])));
    // Trial 3 reports another last value, and trial 4 nothing.
    let changed = format!(
        "{PROGRAM}{}",
        " | if [ $1 = 4 ]; then cat >/dev/null; else awk -v x=$1 'x == 3 && NR == 3 { sub(/\"error\": 3/, \"\\\"error\\\": 4\") } { print }'; fi"
    );
    std::fs::write(&script, changed).unwrap();
    let error = kernel.run_error("%replay p --again").await;
    assert!(error.contains("FilesChanged") && error.contains("`train.sh` has changed"), "{error}");
    assert_eq!(kernel.run_ok("%replay p").await.result()["same"], true, "the earlier replay is still there");
    let found = kernel.run_ok("%replay p --again --accept-changes").await;
    let result = found.result();
    assert_eq!((&result["trials"], &result["identical"], &result["same"]), (&json!(4), &json!(2), &json!(false)));
    let [difference] = &result["differences"].as_array().unwrap()[..] else { panic!("{result}") };
    assert_eq!(
        (&difference["metric"], &difference["trial"], &difference["step"]),
        (&json!("error"), &json!(3), &json!(3))
    );
    assert_eq!(
        (&difference["trials"], &difference["values"], &difference["unmatched"]),
        (&json!(2), &json!(1), &json!(3))
    );
    let largest = result["largest_difference"].as_f64().unwrap();
    assert!((largest - 1.0).abs() < 1e-9 && difference["largest"] == largest, "{result}");
    assert_eq!((&result["states"][0]["trial"], &result["states"][0]["again"]), (&json!(4), &json!("failed")));
    assert_eq!(result["files"][0]["file"], "train.sh");
    assert!(found.shown().contains("The environment differs in train.sh"), "{}", found.shown());

    // Trials without an end of their own are left out, and mistakes are errors.
    let slow = "%%sweep slow --trials 2 --timeout 1s --parallel 2\ncommand sh -c 'echo {{\\\"step\\\": 1, \\\"error\\\": {x}}}; \
        sleep {x}'\nnuisance x in [0, 30]\nminimize error";
    kernel.run_ok(slow).await;
    let result = kernel.run_ok("%replay slow").await.result();
    assert_eq!((&result["trials"], &result["same"]), (&json!(1), &json!(true)));
    assert_eq!(result["left_out"], json!({ "cancelled": 0, "timed_out": 1 }));
    for (line, part) in [
        ("%replay", "the study is missing"),
        ("%replay q", "there is no study `q`"),
        ("%replay p --trial 9", "has no trial 9"),
        ("%replay slow --trial 2", "it has no end to compare with"),
        ("%replay p --trial 1 --trials 2", "give only one"),
    ] {
        let error = kernel.run_error(line).await;
        assert!(error.contains(part), "{line}: {error}");
    }
}
