//! `%scaling` and `%noise`: the reference experiment on the digits, workloads with a known result, interrupts and
//! mistakes.

use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tunebook_tests::{PATIENCE, cell, eventually, kernel};

/// The batch sizes in a range and the steps that each needs, both as logarithms to the base 2.
fn logs(result: &Value, sizes: std::ops::RangeInclusive<u64>) -> Vec<(f64, f64)> {
    let points = result["points"].as_array().unwrap().iter();
    let inside = points.filter(|point| sizes.contains(&point["batch_size"].as_u64().unwrap()));
    inside.map(|p| (p["batch_size"].as_f64().unwrap().log2(), p["steps"].as_f64().unwrap().log2())).collect()
}

/// The slope of a straight line that is fitted to points.
fn slope(points: &[(f64, f64)]) -> f64 {
    let n = points.len() as f64;
    let (x, y) = points.iter().fold((0.0, 0.0), |(x, y), p| (x + p.0 / n, y + p.1 / n));
    let (xy, xx) = points.iter().fold((0.0, 0.0), |(xy, xx), p| (xy + (p.0 - x) * (p.1 - y), xx + (p.0 - x).powi(2)));
    xy / xx
}

const DIGITS: &str = "--set optimizer=sgd --set schedule=constant --set hidden_layers=1 --set hidden_units=64";

/// The digits show the three regimes that Shallue et al. (2019) found in every workload: perfect scaling, diminishing
/// returns, and a plateau. The noise scale of the gradients agrees with the critical batch size, where the curve bends.
#[tokio::test]
async fn the_reference_experiment_on_the_digits_is_reproduced_and_its_noise_scale_agrees() {
    let (mut kernel, _folder) = kernel().await;
    let started = Instant::now();
    let code = format!("%scaling digits_mlp --target 'valid/error<=0.05' --batches 1..1024 {DIGITS}");
    let answer = kernel.run_ok(&code).await;
    assert!(started.elapsed() < Duration::from_secs(600), "{:?}", started.elapsed());
    let result = answer.result();
    assert_eq!((&result["kind"], &result["compare_by"]), (&json!("scaling"), &json!("steps")));
    assert_eq!(result["points"].as_array().unwrap().len(), 11);
    let (left, right) = (slope(&logs(&result, 1..=16)), slope(&logs(&result, 128..=1024)));
    assert!(left <= -0.7 && right >= -0.25, "{left} {right}\n{}", answer.shown());
    let at = |size: u64, field: &str| {
        let points = result["points"].as_array().unwrap();
        points.iter().find(|point| point["batch_size"] == size).unwrap()[field].clone()
    };
    assert!(at(1024, "steps").as_f64().unwrap() <= 120.0, "{}", answer.shown());
    let critical = result["fit"]["critical_batch_size"].as_f64().unwrap();
    assert!((15.0..=60.0).contains(&critical), "{critical}\n{}", answer.shown());
    let interval: Vec<f64> = result["fit"]["interval"].as_array().unwrap().iter().filter_map(Value::as_f64).collect();
    assert!(interval[0] <= critical && critical <= interval[1], "{}", result["fit"]);
    assert_eq!((at(1, "regime"), at(1024, "regime")), (json!("perfect"), json!("flat")));
    for field in ["steps", "examples", "seconds"] {
        assert!(at(64, field).as_f64().unwrap() > 0.0, "{result}");
    }
    // Each batch size is a study like any other.
    assert_eq!(kernel.run_ok("%study digits_mlp-scaling.b64").await.result()["trials"]["failed"], 0);
    // The same cell again trains nothing, so that `Run All` is cheap.
    let again = Instant::now();
    let recorded = kernel.run_ok(&code).await;
    assert!(recorded.shown().contains("Nothing was trained") && again.elapsed() < Duration::from_secs(20));
    assert_eq!(recorded.result()["fit"], result["fit"]);

    let noise =
        kernel.run_ok(&format!("%noise digits_mlp {DIGITS} --set lr=0.25 batch_size=16 steps=100")).await.result();
    let measured = noise["critical_batch_size"].as_f64().unwrap();
    assert!((critical / 3.0..=critical * 3.0).contains(&measured), "{measured} against {critical}");
}

#[tokio::test]
async fn the_noise_scale_of_a_quadratic_is_the_known_one() {
    let (mut kernel, _folder) = kernel().await;
    // θ is 1 at the start and the learning rate leaves it there, so the noise scale is the variance of an example in
    // each direction.
    let code = "%noise quadratic --set noise=10 lr=1e-9 steps=50 dimension=64 condition=1 --pairs 400";
    let answer = kernel.run_ok(code).await;
    let result = answer.result();
    let points = result["points"].as_array().unwrap();
    assert!(points.len() >= 5 && points.iter().all(|p| p["noise_scale"].is_number()), "{result}");
    for value in points.iter().map(|p| &p["noise_scale"]).chain([&result["critical_batch_size"]]) {
        assert!((value.as_f64().unwrap() / 100.0 - 1.0).abs() <= 0.1, "{}", answer.shown());
    }
    for point in points {
        let [low, high] = [0, 1].map(|i| point["interval"][i].as_f64().unwrap());
        assert!(low < 110.0 && high > 90.0 && high < 1.5 * low, "{point}");
    }
    // At the minimum there is no gradient, so no noise scale can be given.
    let code = "%noise quadratic --set noise=1000 lr=1e-9 steps=1 dimension=16";
    let result = kernel.run_ok(code).await.result();
    assert_eq!(result["critical_batch_size"], Value::Null, "{result}");
    assert!(result["points"].as_array().unwrap().iter().all(|point| point["noise_scale"].is_null()), "{result}");
    for (code, part) in [
        ("%noise quadratic --set lr=[0.1,0.2]", "`lr` needs one value"),
        ("%noise quadratic --pairs 10", "at least 100"),
        ("%noise quadratics", "did you mean `quadratic`"),
    ] {
        let error = kernel.run_error(code).await;
        assert!(error.contains(part), "{error}");
    }
}

#[tokio::test]
async fn measuring_the_noise_scale_does_not_change_a_trial() {
    let (mut kernel, _folder) = kernel().await;
    let sweep = |name: &str, every: &str| {
        format!(
            "%%sweep {name} --trials 2 {every}\nworkload digits_mlp\nnuisance lr ~ loguniform(1e-3, 3e-3)\nfixed steps = 300\n\
             fixed dropout = 0.2\nfixed batch_size = 512"
        )
    };
    kernel.run_ok(&sweep("plain", "")).await;
    kernel.run_ok(&sweep("watched", "--every 1")).await;
    let curves = |name: &str| format!("%curves {name} --trial 2");
    let plain = kernel.run_ok(&curves("plain")).await.result()["trials"][0]["metrics"].clone();
    let mut watched = kernel.run_ok(&curves("watched")).await.result()["trials"][0]["metrics"].clone();
    let noise = watched.as_object_mut().unwrap().shift_remove("noise_scale").unwrap();
    assert_eq!(plain, watched, "the other metrics are the same");
    let noise: Vec<f64> = noise.as_array().unwrap().iter().filter_map(|point| point[1].as_f64()).collect();
    assert!(!noise.is_empty() && noise.iter().all(|scale| (1.0..10_000.0).contains(scale)), "{noise:?}");
}

const QUADRATIC: &str = "%scaling quadratic --target 'valid/loss<=0.05' --batches 1,8,64 --trials 8 --repeats 2 \
    --set steps=300 condition=10 noise=2";

#[tokio::test]
async fn an_interrupted_scaling_goes_on_where_it_was() {
    let (mut kernel, _folder) = kernel().await;
    // While steps are timed, no trial has run.
    let id = kernel.send("execute_request", cell(QUADRATIC)).await;
    while !kernel.published().await.plain_text().contains("Timing steps: ") {}
    kernel.control("interrupt_request", json!({})).await;
    let answer = kernel.answer(&id).await;
    assert!(answer.error().contains("Interrupted"), "{}", answer.error());
    let result = answer.result();
    assert_eq!((&result["kind"], &result["times_reliable"]), (&json!("scaling"), &json!(false)));
    let points = result["points"].as_array().unwrap();
    assert!(points.len() == 3 && points.iter().all(|point| point["steps"].is_null()), "{result}");
    let shown = answer.shown().split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(shown.contains("the timing of steps was interrupted after"), "{shown}");
    assert_eq!(kernel.trials_ended(), 0);
    let id = kernel.send("execute_request", cell(QUADRATIC)).await;
    assert!(eventually(PATIENCE, || kernel.trials_ended() >= 3).await, "a few trials end");
    let asked = Instant::now();
    kernel.control("interrupt_request", json!({})).await;
    let answer = kernel.answer(&id).await;
    assert_eq!((answer.status(), asked.elapsed() < Duration::from_secs(3)), ("error", true), "{:?}", asked.elapsed());
    assert!(answer.error().contains("Interrupted"), "{}", answer.error());
    assert_eq!(answer.result()["kind"], "scaling");
    let looked = kernel.run_ok(QUADRATIC).await;
    assert!(looked.shown().contains("`--resume` runs them"), "{}", looked.shown());
    let resumed = kernel.run_ok(&format!("{QUADRATIC} --resume")).await.result();

    let (mut other_kernel, _other_folder) = tunebook_tests::kernel().await;
    let whole = other_kernel.run_ok(QUADRATIC).await.result();
    let found = |result: &Value| -> Vec<Value> {
        let point =
            |p: &Value| json!([p["batch_size"], p["steps"], p["interval"], p["params"], p["valid"], p["reached"]]);
        result["points"].as_array().unwrap().iter().map(point).collect()
    };
    assert_eq!(found(&resumed), found(&whole), "interrupted or not, it finds the same");
    assert_eq!(resumed["fit"], whole["fit"]);
}

#[tokio::test]
async fn a_size_whose_best_rate_lies_at_the_edge_is_widened_once_and_marked() {
    let (mut kernel, _folder) = kernel().await;
    // The learning rates are far too small. The target is reached, but the best rate is at the edge even after the
    // range was widened.
    let scaling = |name: &str, range: &str| {
        format!(
            "%%scaling {name} --target 'valid/loss<=1.0' --batches 4,16 --trials 6 --repeats 1\nworkload quadratic\n\
             nuisance lr ~ loguniform({range})\nfixed steps = 4000\nfixed noise = 0.5\nfixed condition = 1"
        )
    };
    let answer = kernel.run_ok(&scaling("small", "1e-3, 2e-3")).await;
    let points = answer.result()["points"].clone();
    for point in points.as_array().unwrap() {
        assert_eq!((&point["valid"], &point["trials"]), (&json!(false), &json!(12)), "{point}");
        assert!(point["reason"].as_str().unwrap().contains("even after the range was widened"), "{point}");
    }
    assert!(answer.shown().contains("is not valid"), "{}", answer.shown());
    // Here one widening is enough: the best rate is near 1, and training diverges at 2.
    let points = kernel.run_ok(&scaling("mended", "0.01, 0.3")).await.result()["points"].clone();
    for point in points.as_array().unwrap() {
        assert_eq!((&point["valid"], &point["trials"]), (&json!(true), &json!(12)), "{point}");
        assert!(point["params"]["lr"].as_f64().unwrap() > 0.3, "{point}");
    }
    // No configuration reaches this target.
    let code = scaling("never", "0.01, 0.15").replace("<=1.0", "<=-1");
    let points = kernel.run_ok(&code).await.result()["points"].clone();
    assert!(
        points[0]["reason"].as_str().unwrap().contains("no configuration reached the target within 4000 steps"),
        "{points}"
    );
    assert_eq!((&points[0]["steps"], &points[0]["reached"]), (&Value::Null, &json!(0)));
    // Another definition under the same name is an error that says what differs.
    let error = kernel.run_error(&scaling("mended", "0.01, 0.2")).await;
    assert!(error.contains("StudyExists") && error.contains("loguniform"), "{error}");
}

#[tokio::test]
async fn costs_are_computed_programs_can_be_scaled_and_mistakes_are_explained() {
    let (mut kernel, folder) = kernel().await;
    let answer = kernel
        .run_ok(&format!("{QUADRATIC} --name priced --price 3.6 --upfront 0.001 --planned 1000000 --compare-by epochs"))
        .await;
    let result = answer.result();
    assert!(answer.shown().contains("This is fair only as long as"), "{}", answer.shown());
    for point in result["points"].as_array().unwrap().iter().filter(|point| point["seconds"].is_number()) {
        let (cost, seconds) = (point["cost"].as_f64().unwrap(), point["seconds"].as_f64().unwrap());
        assert!((cost / (0.001 * seconds) - 1.0).abs() < 1e-9, "{point}");
    }
    // If the machine was too busy to time steps, no size is called the fastest, and no payback is computed.
    assert_eq!(result["times_reliable"], json!(!result["fastest"].is_null()), "{result}");
    assert_eq!(result["payback"].is_null(), result["fastest"].is_null(), "{result}");

    // The program needs 100 + 6400 / batch size steps to the target with the best rate, which is 1. Its critical batch
    // size is therefore 64.
    let program = "import os, sys, json\np = json.loads(os.environ['TUNEBOOK_PARAMS'])\n\
        need = (100 + 6400 / p['batch_size']) * (1 + abs(p['rate'] - 1))\n\
        for step in range(0, 100000, 10):\n    print(json.dumps({'step': step, 'gap': need - step}), flush=True)\n";
    std::fs::write(folder.path().join("train.py"), program).unwrap();
    let result = kernel
        .run_ok(
            "%%scaling program --target 'gap<=0' --batches 16..256 --trials 5 --repeats 1\ncommand python3 train.py\n\
             nuisance rate ~ loguniform(0.1, 10)",
        )
        .await
        .result();
    let fit = &result["fit"];
    assert!((fit["critical_batch_size"].as_f64().unwrap() / 64.0 - 1.0).abs() < 0.15, "{result}");
    assert!(result["points"][0]["seconds"].is_null() && result["fastest"].is_null(), "{result}");

    for (code, part) in [
        ("%scaling digits_mlp --batches 1..8", "the target is missing"),
        ("%scaling digits_mlp --target 'valid/error<=0.05'", "the batch sizes are missing"),
        ("%scaling digits_mlp --target valid/error=0.05 --batches 1..8", "METRIC<=V or METRIC>=V"),
        ("%scaling digits_mlp --target 'valid/err<=0.05' --batches 1..8", "did you mean `valid/error`"),
        ("%scaling digits_mlp --target 'test/error<=0.05' --batches 1..8", "the test set is not for tuning"),
        ("%scaling digits_mlp --target 'valid/error<=0.05' --batches 8..1", "is not a range of batch sizes"),
        ("%scaling digits_mlp --target 'valid/error<=0.05' --batches 16,16", "names one batch size, 16, several times"),
        ("%scaling digits_mlp --target 'valid/error<=0.05' --batches 1..8 --set batch_size=4", "this magic varies it"),
        (
            "%scaling digits_mlp --target 'valid/error<=0.05' --batches 1..8 --set lr=0.1",
            "tuned again at each batch size",
        ),
        ("%scaling digits_mlp --target 'valid/error<=0.05' --batches 1..8 --upfront 5", "`--upfront` needs `--price`"),
        ("%scaling digits_mlp --target 'valid/error<=0.05' --batches 1025..2050", "nothing to compare"),
        (
            "%%scaling x --target 'valid/error<=0.05' --batches 1..8\nworkload digits_mlp\nscientific hidden_layers in [1, 2]",
            "no other hyperparameter can be scientific",
        ),
        (
            "%%scaling x --target 'gap<=0' --batches 1..8\ncommand python3 train.py",
            "nothing to tune at each batch size",
        ),
    ] {
        let error = kernel.run_error(code).await;
        assert!(error.contains(part), "{code}: {error}");
    }
}

/// Both studies name the hyperparameters to re-tune (Playbook B13).
#[tokio::test]
async fn a_best_configuration_at_another_batch_size_is_to_be_re_tuned() {
    let (mut kernel, _folder) = kernel().await;
    let tuned = "%%sweep tuned --trials 3\nworkload digits_mlp\nnuisance lr ~ loguniform(0.01, 0.1)\nfixed steps = 50";
    let best = kernel.run_ok(tuned).await.result();
    assert_eq!(best["retune"], json!([]), "{best}");
    let lr = best["best"]["params"]["lr"].as_f64().unwrap();
    let larger = format!(
        "%%sweep larger --trials 1\nworkload digits_mlp\nfixed lr = {lr}\nfixed batch_size = 256\nfixed steps = 50"
    );
    let answer = kernel.run_ok(&larger).await;
    let expected = json!([{ "tuned_in": "tuned", "tuned_at": 64, "used_in": "larger", "used_at": 256, "hyperparameters": ["lr"] }]);
    assert_eq!(answer.result()["retune"], expected);
    assert!(answer.shown().contains("To be tuned again: lr"), "{}", answer.shown());
    assert_eq!(kernel.run_ok(tuned).await.result()["retune"], expected, "the earlier study is marked too");
    assert!(kernel.run_ok("%study tuned").await.shown().contains("To be tuned again"));
}
