//! Validation data: how many examples judge a study and how precisely, and what a model gets right in each class
//! (Playbook H6, H8, H9).

use serde_json::{Value, json};
use tunebook_tests::kernel;

fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// √(p (1 − p) / n), as the test computes it.
fn standard_error(p: f64, n: f64) -> f64 {
    (p * (1.0 - p) / n).sqrt()
}

fn sums(classes: &Value) -> [u64; 2] {
    let sum = |field: &str| classes.as_array().unwrap().iter().map(|class| class[field].as_u64().unwrap()).sum();
    [sum("examples"), sum("correct")]
}

#[tokio::test]
async fn a_study_says_how_precisely_its_examples_measure_a_difference_and_counts_each_class() {
    let (mut kernel, folder) = kernel().await;
    let sweep = "%%sweep digits --trials 6\nworkload digits_mlp\nscientific hidden_layers in [1, 2]\n\
                 nuisance lr ~ loguniform(1e-2, 1)\nfixed optimizer = sgd\nfixed steps = 60\nminimize valid/error";
    let answer = kernel.run_ok(sweep).await;
    let result = answer.result();
    let best = result["best"]["objective"].as_f64().unwrap();
    let trials = kernel.recorded("digits");
    let mut errors: Vec<f64> = trials.iter().map(|trial| trial.summaries["valid/error"].min.0).collect();
    errors.sort_by(f64::total_cmp);
    let found = &result["validation"];
    assert_eq!(found["examples"], 270, "{result}");
    let error = found["standard_error"].as_f64().unwrap();
    assert!((error - standard_error(best, 270.0)).abs() < 1e-9, "{found}");
    assert!((found["difference"].as_f64().unwrap() - (errors[1] - errors[0])).abs() < 1e-9, "{found}");
    assert_eq!(found["is_below"], errors[1] - errors[0] < error);
    for text in
        [&answer, &kernel.run_ok("%insight digits").await, &kernel.run_ok("%isolate digits hidden_layers").await]
    {
        assert_eq!(text.result()["validation"]["examples"], 270);
        let text = words(&text.shown());
        assert!(
            text.contains("on 270 validation examples") && text.contains("not the variation between training runs"),
            "{text}"
        );
    }

    // The best checkpoint of a trial, class by class, and on the test set.
    let number = result["best"]["trial"].as_u64().unwrap();
    let record = kernel.run_ok("%study digits").await.result();
    assert_eq!((&record["validation"]["examples"], &record["validation"]["is_below"]), (&json!(270), &json!(false)));
    // How often these examples were used: by this study, and by one of another workload with the same data.
    let evaluations: usize = (1..=6).map(|trial| kernel.curve("digits", trial, "valid/error").len()).sum();
    let uses = &record["validation"]["uses"];
    let counts =
        |uses: &Value| ["studies", "configurations", "trials", "evaluations"].map(|count| uses[count].as_u64());
    assert_eq!(counts(uses), [Some(1), Some(6), Some(6), Some(evaluations as u64)], "{uses}");
    let error = record["validation"]["standard_error"].as_f64().unwrap();
    let luck = uses["luck"].as_f64().unwrap();
    assert!(luck > error && luck < 4.0 * error, "{uses}");
    let other = "%%sweep other --trials 1 --repeats 2\nworkload digits_cnn\nfixed steps = 2\nfixed eval_every = 1\n\
                 minimize valid/error";
    kernel.run_ok(other).await;
    let trained = "%%sweep trained --trials 1\nworkload digits_mlp\nfixed steps = 2\nminimize train/loss";
    kernel.run_ok(trained).await;
    let both = kernel.run_ok("%insight digits").await;
    let more: usize = [1, 2].map(|trial| kernel.curve("other", trial, "valid/error").len()).iter().sum();
    let uses = both.result()["validation"]["uses"].clone();
    assert_eq!(counts(&uses), [Some(2), Some(7), Some(8), Some((evaluations + more) as u64)], "{uses}");
    let text = words(&both.shown());
    assert!(text.contains("have judged 7 configurations (8 trials, ") && text.contains("`%final`"), "{text}");
    assert_eq!(kernel.run_ok("%study trained").await.result()["validation"], Value::Null);
    let curves = kernel.run_ok(&format!("%curves digits --trial {number}")).await;
    let [examples, correct] = sums(&curves.result()["classes"]);
    assert_eq!(curves.result()["classes"].as_array().unwrap().len(), 10);
    assert!(examples == 270 && (1.0 - correct as f64 / 270.0 - best).abs() < 1e-6, "{correct} of {examples}, {best}");
    assert!(curves.shown().contains("by class"), "{}", curves.shown());
    let tested = kernel.run_ok(&format!("%final digits --trial {number}")).await.result();
    let [examples, correct] = sums(&tested["classes"]);
    let error = tested["metrics"]["test/error"].as_f64().unwrap();
    assert!(examples == 270 && (1.0 - correct as f64 / 270.0 - error).abs() < 1e-6, "{tested}");

    // A program may say how many examples it evaluates on. Two of its errors differ by one of 50 examples.
    let program = "echo \"{\\\"step\\\": 1, \\\"valid/error\\\": $1, \\\"valid/examples\\\": 50}\"";
    std::fs::write(folder.path().join("counted.sh"), program).unwrap();
    std::fs::write(folder.path().join("silent.sh"), program.replace(", \\\"valid/examples\\\": 50", "")).unwrap();
    let cell = |name: &str| {
        format!(
            "%%sweep {name} --sampler grid\ncommand sh {name}.sh {{e}}\nscientific e in [0.2, 0.22, 0.5]\n\
             minimize valid/error"
        )
    };
    let counted = kernel.run_ok(&cell("counted")).await;
    let found = counted.result()["validation"].clone();
    assert_eq!((&found["examples"], &found["is_below"]), (&json!(50), &json!(true)), "{found}");
    assert!(words(&counted.shown()).contains("with other examples the order could be another"), "{}", counted.shown());
    let uses = kernel.run_ok("%study counted").await.result()["validation"]["uses"].clone();
    assert_eq!(counts(&uses), [Some(1), Some(3), Some(3), Some(3)], "{uses}");
    let adopted = kernel.run_ok("%adopt counted --candidate 1 --baseline 3").await;
    let found = adopted.result()["validation"].clone();
    assert_eq!(found["is_below"], false, "{found}");
    assert!((found["standard_error"].as_f64().unwrap() - standard_error(0.5, 50.0)).abs() < 1e-9, "{found}");
    let silent = kernel.run_ok(&cell("silent")).await;
    assert_eq!(silent.result()["validation"], Value::Null);
    assert!(!silent.shown().contains("validation examples"), "{}", silent.shown());
    let silent = kernel.run_ok("%study silent").await.result()["validation"].clone();
    assert_eq!((&silent["examples"], counts(&silent["uses"])[3]), (&Value::Null, Some(3)), "{silent}");
}
