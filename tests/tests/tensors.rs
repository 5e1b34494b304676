//! Tensors and trained models in Rust cells, without `:dep`.

use std::time::Duration;
use tunebook_tests::{Answer, Kernel, kernel, own_crate};

/// The value of a cell as text. Panics if it has none.
fn value(answer: &Answer) -> String {
    answer.first("execute_result").plain_text().to_string()
}

#[tokio::test]
async fn tensors_show_themselves_and_stay_from_cell_to_cell() {
    let (mut kernel, folder) = kernel().await;
    kernel.run_ok("let before = 2.0;").await;
    let shown = kernel
        .run_ok("use tch::{Device, Kind, Tensor};\nTensor::arange(6, (Kind::Float, Device::Cpu)).view([2, 3])")
        .await;
    let text = value(&shown);
    assert!(text.starts_with("Tensor [2, 3] Float cpu, min 0, mean 2.5, max 5, std 1.871\n"), "{text}");
    kernel.run_ok("let t = Tensor::ones([2, 3, 4], (Kind::Float, Device::Cpu)) * before;").await;
    assert_eq!(value(&kernel.run_ok("t.sum(Kind::Float).double_value(&[])").await), "48.0");
    let picture = kernel.run_ok("Tensor::rand([5, 3, 8, 8], (Kind::Float, Device::Cpu)).picture()").await;
    let data = &picture.first("execute_result").content["data"];
    assert!(data["image/png"].as_str().unwrap().starts_with("iVBORw0KGgo"), "{data}");
    assert_eq!(data["text/plain"], "picture of [5, 3, 8, 8]");

    // A crate of the user's own works beside tensors, and an error shows the lines of the user's code.
    let own = own_crate(folder.path(), "own", "pub fn twice(x: f64) -> f64 { 2.0 * x }", None);
    let code = format!(":dep own = {own}\nown::twice(t.sum(Kind::Float).double_value(&[]))");
    let answer = kernel.run_ok(&code).await;
    assert_eq!(value(&answer), "96.0");
    let error = kernel.run_error(":dep own\nlet x = 1;\nlet y: i32 = \"a\";").await;
    assert!(error.contains("E0308") || error.contains("own"), "{error}");

    // Shapes that do not fit are an error of the cell, which costs no variable.
    let error = kernel.run_error("t.matmul(&t)").await;
    assert!(error.contains("Panic") && error.contains("batch2"), "{error}");
    assert!(!error.contains("frame #") && !error.contains("Exception raised") && error.len() < 1000, "{error}");
    assert_eq!(value(&kernel.run_ok("t.size()").await), "[2, 3, 4]");
}

#[tokio::test]
async fn the_examples_that_a_model_gets_wrong_can_be_looked_at() {
    let (mut kernel, _folder) = kernel().await;
    let definition = "%%workload looked_at\npub struct Net1;\n\nimpl Workload for Net1 {\n    fn data(&self, _: &Hyperparameters) -> \
                      Result<Data> {\n        tunebook_training::data::digits::load()\n    }\n\n    fn forward(&self, net: &Net, x: \
                      &Tensor) -> Tensor {\n        net.linear(\"logits\", x, 10)\n    }\n}\n\nimpl Net1 {\n    pub const SIDE: i64 = \
                      8;\n}";
    kernel.run_ok(definition).await;
    let result = kernel.run_ok("%sweep looked_at lr=[0.05,0.1] steps=200 --sampler grid --name looked").await.result();
    let (trial, objective) = (result["best"]["trial"].as_u64().unwrap(), result["best"]["objective"].as_f64().unwrap());
    kernel.run_ok("%sweep digits_mlp lr=0.1 steps=100 --trials 1 --name digits").await;

    let weights = value(&kernel.run_ok(&format!("tunebook::checkpoint(\"looked\", {trial})?")).await);
    assert!(weights.contains("logits.weight: [10, 64] Float"), "{weights}");
    let code = format!("let best = tunebook::model_of(looked_at::Net1, \"looked\", {trial})?;");
    kernel.run_ok(&code).await;
    kernel.run_ok("let valid = best.data()?.valid;").await;
    kernel.run_ok("let wrong = best.predict(&valid.inputs).argmax(-1, false).not_equal_tensor(&valid.targets);").await;
    let share = kernel.run_ok("wrong.to_kind(tch::Kind::Float).mean(tch::Kind::Float).double_value(&[])").await;
    let share: f64 = value(&share).parse().unwrap();
    assert!((share - objective).abs() < 1e-6, "{share}, and the study says {objective}");
    let picture = kernel
        .run_ok("let side = looked_at::Net1::SIDE;\nvalid.inputs.index_select(0, &wrong.nonzero().flatten(0, -1)).view([-1, 1, side, side]).picture()")
        .await;
    assert!(picture.first("execute_result").content["data"]["image/png"].is_string());

    // The model of a built-in workload needs no type. An error says which study, trial or type is wrong.
    kernel.run_ok("let digits = tunebook::model(\"digits\", 1)?;").await;
    assert_eq!(value(&kernel.run_ok("digits.predict(&valid.inputs).size()").await), "[270, 10]");
    for (code, part) in [
        ("tunebook::checkpoint(\"none\", 1)?", "there is no study `none`; there are"),
        ("tunebook::checkpoint(\"looked\", 9)?", "its trials are 1 to 2"),
        ("tunebook::model(\"looked\", 1)?;", "tunebook::model_of(looked_at::"),
    ] {
        let error = kernel.run_error(code).await;
        assert!(error.contains(part), "{error}");
    }
}

#[tokio::test]
async fn kernels_have_folders_of_their_own_and_leave_none_behind() {
    let (mut one, _a) = kernel().await;
    let (mut two, _b) = kernel().await;
    let folder = |kernel: &Kernel| {
        let environment = std::fs::read(format!("/proc/{}/environ", kernel.process.id())).unwrap();
        let text = String::from_utf8_lossy(&environment).into_owned();
        let found =
            text.split('\0').find_map(|entry| entry.strip_prefix("EVCXR_TMPDIR=").map(std::path::PathBuf::from));
        found.expect("the kernel uses what `tunebook prepare` built")
    };
    // Both kernels define the same variable at the same time.
    for _ in 0..2 {
        let (a, b) = tokio::join!(
            one.run("let which = tch::Tensor::from(1i64);"),
            two.run("let which = tch::Tensor::from(2i64);")
        );
        assert_eq!((a.status(), b.status()), ("ok", "ok"));
    }
    let (a, b) = tokio::join!(one.run_ok("which.int64_value(&[])"), two.run_ok("which.int64_value(&[])"));
    assert_eq!((value(&a).as_str(), value(&b).as_str()), ("1", "2"));
    let (first, second) = (folder(&one), folder(&two));
    assert!(first != second && first.exists() && second.exists());
    one.control("shutdown_request", serde_json::json!({ "restart": false })).await;
    let gone = tunebook_tests::eventually(Duration::from_secs(5), || !first.exists()).await;
    assert!(gone, "a kernel that ends removes its folder");
    two.kill();
    // The next kernel removes the folder of a kernel that was killed.
    let (mut three, _c) = kernel().await;
    three.run_ok("1").await;
    assert!(!second.exists());
}
