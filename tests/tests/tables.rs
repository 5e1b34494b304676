//! Tables as people have them, in a `%%workload` of the real kernel: what the cell says about them, what it refuses,
//! and what is kept of them with a model.

use serde_json::json;
use std::path::Path;
use tunebook_tests::kernel;

/// A workload on a table: `data` is the expression of its data, and `more` its other methods.
fn workload(name: &str, data: &str, outputs: usize, more: &str) -> String {
    format!(
        "%%workload {name}\npub struct It;\nimpl Workload for It {{\n    fn data(&self, _: &Hyperparameters) -> Result<Data> \
         {{\n        {data}\n    }}\n    fn forward(&self, net: &Net, x: &Tensor) -> Tensor {{\n        net.linear(\"out\", x, \
         {outputs})\n    }}\n{more}}}"
    )
}

/// A table of 120 rows as a spreadsheet in Germany saves it: semicolons, decimal commas, a byte order mark, CRLF.
fn german(folder: &Path) {
    let line = |i: usize| {
        let (size, colour) = (i as f64 * 0.37 % 5.0, ["rot", "grün", "blau"][i % 3]);
        let class = if size + (i % 3) as f64 > 3.0 { "ja" } else { "nein" };
        format!("{i};{};{colour};7;{class}\r\n", format!("{size:.2}").replace('.', ","))
    };
    let lines: String = (1..=120).map(line).collect();
    std::fs::write(folder.join("deutsch.csv"), format!("\u{feff}Nr;Größe;Farbe;Werk;Kauf\r\n{lines}")).unwrap();
}

#[tokio::test]
async fn a_table_is_described_and_its_mistakes_are_errors_of_the_cell() {
    let (mut kernel, folder) = kernel().await;
    german(folder.path());
    let read = "Ok(Table::read(\"deutsch.csv\")?.classify(\"Kauf\")?.split(0.7, 0.15, 0)?.standardized())";
    let shown = kernel.run_ok(&workload("kauf", read, 2, "")).await.shown();
    for part in [
        "120 rows; columns are separated by `;`",
        "Numbers: Nr, Größe, Werk.",
        "Words: Farbe (3 words).",
        "0 = ja (",
        "`Nr` has another value in each row",
        "they teach nothing: Werk",
    ] {
        assert!(shown.contains(part), "{part}\n{shown}");
    }
    let write = |text: &str| std::fs::write(folder.path().join("t.csv"), text).unwrap();
    let read = "Ok(Table::read(\"t.csv\")?.classify(\"y\")?.split(0.7, 0.15, 0)?)";
    for (text, parts) in [
        ("1,2\n3,4\n", vec!["holds numbers", "add a line with names"]),
        ("a,y\n1,p\n2\n", vec!["line 3", "has 1 fields"]),
        ("a,y\n1,p\nNA,q\n3,p\n", vec!["`a` (1 row, the first in line 3)", ".fill_missing(Fill::Median)"]),
        ("a,y\n1,p\n2,q\nviel,p\n", vec!["`viel` in line 4", ".numeric(\"a\")?"]),
    ] {
        write(text);
        let error = kernel.run_error(&workload("broken", read, 2, "")).await;
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    }
    // The cell that mends it.
    let rows: String =
        (0..60).map(|i| format!("{},{}\n", if i % 9 == 0 { "?".into() } else { i.to_string() }, i % 2)).collect();
    write(&format!("a,y\n{rows}"));
    let mended = read.replace(".classify", ".fill_missing(Fill::Median).classify");
    let shown = kernel.run_ok(&workload("broken", &mended, 2, "")).await.shown();
    assert!(shown.contains("`a`: 7 missing values became"), "{shown}");
}

#[tokio::test]
async fn a_regression_is_judged_in_the_unit_of_its_targets_and_new_rows_are_predicted() {
    let (mut kernel, folder) = kernel().await;
    let rows: String = (0..200)
        .map(|i| {
            let (area, town) = (40 + i * 7 % 90, ["A", "B"][i % 2]);
            let noise = 1000 * (37 * i % 11);
            format!("{area},{town},{}\n", 3000 * area + if town == "A" { 50_000 } else { 0 } + noise)
        })
        .collect();
    std::fs::write(folder.path().join("houses.csv"), format!("area,town,price\n{rows}")).unwrap();
    let data = |scale: &str| {
        format!("Ok(Table::read(\"houses.csv\")?.regress(\"price\")?.split(0.7, 0.15, 0)?.standardized(){scale})")
    };
    let task = "    fn task(&self) -> Task { Task::Regression }\n";
    kernel.run_ok(&workload("houses", &data(".standardized_targets()"), 1, task)).await;
    let sweep = "%%sweep h --trials 1\nworkload houses\nfixed lr = 0.05\nfixed steps = 400\nfixed batch_size = 32";
    let best = kernel.run_ok(sweep).await.result()["best"]["objective"].as_f64().unwrap();
    // A mean squared error in squared money: the linear model fits but for the noise of about 3,000, and the prices
    // vary by 80,000.
    assert!(best < 1e8 && best > 1e6, "{best}");
    let code = "let best = tunebook::model_of(houses::It, \"h\", 1)?;\n\
        let rows = tunebook_training::data::Table::parse(\"town,area\\nA,100\\nB,100\")?;\n\
        let numbers = best.predict_rows(&rows)?.numbers;\nprintln!(\"{} {}\", numbers[0].round(), numbers[1].round());";
    let shown = kernel.run_ok(code).await.text("stdout");
    let numbers: Vec<f64> = shown.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    assert!((numbers[0] - 355_000.0).abs() < 10_000.0 && (numbers[1] - 305_000.0).abs() < 10_000.0, "{shown}");
    // The file is gone, and with it the means of today; those of the model were kept.
    let houses = std::fs::read(folder.path().join("houses.csv")).unwrap();
    std::fs::remove_file(folder.path().join("houses.csv")).unwrap();
    let again = kernel.run_ok(code).await.text("stdout");
    assert_eq!(again, shown);
    std::fs::write(folder.path().join("houses.csv"), houses).unwrap();
    // Without the scale, the loss of prices explodes, and the reason says why.
    let described = kernel.run_ok(&workload("prices", &data(""), 1, task)).await.shown();
    assert!(described.contains("The training targets have the mean") && described.contains(".standardized_targets()"));
    let sweep = "%%sweep p --trials 1\nworkload prices\nfixed lr = 5\nfixed steps = 400\nfixed batch_size = 32\n\
        fixed optimizer = sgd\nfixed clip_norm = 0";
    let result = kernel.run(sweep).await.shown();
    let study = kernel.run_ok("%study p").await.shown();
    assert!(format!("{result}{study}").contains("`.standardized_targets()` on the data"), "{result}\n{study}");
    // Targets of one dimension against outputs of two would be compared each with each.
    let flat = "let d = Table::read(\"houses.csv\")?.regress(\"price\")?; Ok(Examples::new(d.inputs, d.targets.squeeze_dim(1))?\
                .split(0.7, 0.15, 0)?)";
    let error = kernel.run_error(&workload("flat", flat, 1, task)).await;
    assert!(error.contains("[140, 1]") || error.contains(", 1]"), "{error}");
    assert!(error.contains("needs the same shape") && error.contains("unsqueeze(1)"), "{error}");
    assert_eq!(kernel.run_ok("%study h").await.result()["trials"]["complete"], json!(1));
}

#[tokio::test]
async fn the_names_of_a_workload_are_documented_and_completed() {
    let (mut kernel, _folder) = kernel().await;
    for (code, parts) in [
        ("?Table", vec!["A table whose first line names the columns", "classify"]),
        ("Table?", vec!["A table whose first line names the columns"]),
        ("%doc tunebook_training::prelude::Table", vec!["A table whose first line names the columns"]),
        ("?Net::linear", vec!["units"]),
        ("%doc Examples::new", vec!["Combines inputs and targets"]),
    ] {
        let answer = kernel.run_ok(code).await;
        let page = answer.page();
        assert!(parts.iter().all(|part| page.contains(part)), "{code}: {page}");
    }
    assert!(kernel.run_error("?Tabel").await.contains("no documentation of `Tabel`"));
    // The body of a workload, with the cursor at `|` and after it.
    let body = workload("cell", "Ok(Table::read(\"t.csv\")?.classi|fy(\"y\")?.split(0.7, 0.15, 0)?)", 2, "");
    let (before, after) = body.split_once('|').unwrap();
    let request = json!({ "code": format!("{before}{after}"), "cursor_pos": before.chars().count() });
    let found = kernel.request("complete_request", request.clone()).await.reply.to_string();
    assert!(found.contains("classify"), "{found}");
    let found = kernel.request("inspect_request", request).await.reply.to_string();
    assert!(found.contains("Returns examples for classification"), "{found}");
}

#[tokio::test]
async fn training_starts_from_the_weights_of_a_file() {
    let (mut kernel, folder) = kernel().await;
    let rows: String = (0..60).map(|i| format!("{i},{}\n", i % 2)).collect();
    std::fs::write(folder.path().join("t.csv"), format!("a,y\n{rows}")).unwrap();
    kernel
        .run_ok(
            "use tch::Tensor;\nlet weights = [(\"out.weight\", Tensor::from_slice(&[3.0f32, 4.0]).view([2, 1])), \
             (\"out.bias\", Tensor::zeros([2], (tch::Kind::Float, tch::Device::Cpu)))];\n\
             Tensor::write_safetensors(&weights, \"w.safetensors\")?;",
        )
        .await;
    let data = "Ok(Table::read(\"t.csv\")?.classify(\"y\")?.split(0.7, 0.15, 0)?)";
    let load = |file: &str| {
        workload("loaded", data, 2, "").replace(
            "net.linear(\"out\", x, 2)",
            &format!("let y = net.linear(\"out\", x, 2);\n net.load(\"{file}\");\n y"),
        )
    };
    let error = kernel.run_error(&load("none.safetensors")).await;
    assert!(error.contains("none.safetensors"), "{error}");
    kernel.run_ok(&load("w.safetensors")).await;
    kernel
        .run_ok("%%sweep l --trials 1\nworkload loaded\nfixed steps = 1\nfixed lr = 1e-9\nfixed batch_size = 8")
        .await;
    let weights =
        "println!(\"{:?}\", Vec::<f64>::try_from(tunebook::checkpoint(\"l\", 1)?.get(\"out.weight\")?.view([2]))?);";
    let shown = kernel.run_ok(weights).await.text("stdout");
    let near =
        |text: &str| text.split([',', '[', ']']).filter_map(|n| n.trim().parse::<f64>().ok()).collect::<Vec<_>>();
    let found = near(&shown);
    assert!(found.len() == 2 && (found[0] - 3.0).abs() < 1e-3 && (found[1] - 4.0).abs() < 1e-3, "{shown}");
}
