//! `%report`: one document about studies and measurements.

use serde_json::{Value, json};
use std::path::Path;
use tunebook_tests::{Answer, Kernel, kernel};

/// A study of a small program, with a question and infeasible trials.
fn study(name: &str, trials: u32) -> String {
    format!(
        "%%sweep {name} --trials {trials}\nquestion \"Does <width> matter & why?\"\n\
         command awk -v x={{x}} -v w={{width}} 'BEGIN {{{{ for (i = 1; i < 21; i++) \
         printf \"{{{{\\\"step\\\": %d, \\\"error\\\": %s}}}}\\n\", i, (x > 0.9 ? \"NaN\" : (x - 0.3) ^ 2 + w / 10 + 1 / i) }}}}'\n\
         scientific width in [1, 2]\nnuisance x ~ uniform(0, 1)\nminimize error"
    )
}

async fn with_study(trials: u32) -> (Kernel, tempfile::TempDir) {
    let (mut kernel, folder) = kernel().await;
    kernel.run_ok(&study("bowl", trials)).await;
    (kernel, folder)
}

/// The results that a page holds for programs.
fn results(page: &str) -> Vec<Value> {
    let parts = page.split("class=\"tunebook-result\">").skip(1);
    parts.map(|part| serde_json::from_str(part.split_once("</script>").unwrap().0).unwrap()).collect()
}

fn read(folder: &Path, name: &str) -> String {
    std::fs::read_to_string(folder.join(name)).unwrap()
}

#[tokio::test]
async fn a_page_holds_everything_and_needs_no_network() {
    let (mut kernel, folder) = with_study(100).await;
    let answer = kernel.run_ok("%report bowl --to out.html --decision 'width 1, <b>for now</b>'").await;
    let result = answer.result();
    assert_eq!((&result["kind"], &result["names"]), (&json!("report"), &json!(["bowl"])));
    let page = read(folder.path(), "out.html");
    assert_eq!(result["bytes"], page.len());
    assert!(page.len() < 3_000_000, "{}", page.len());
    let kinds: Vec<Value> = results(&page).into_iter().map(|result| result["kind"].clone()).collect();
    assert_eq!(kinds, ["study", "plan", "isolation", "axis", "curves", "best_of_k", "insight"]);
    assert_eq!(results(&page)[0], kernel.run_ok("%study bowl").await.result());
    // Text of the user is text, not HTML.
    assert!(page.contains("Does &lt;width&gt; matter &amp; why?") && page.contains("&lt;b&gt;for now&lt;/b&gt;"));
    assert!(page.contains("%%sweep bowl --trials 100") && page.contains("operating_system"));
    let loads = ["src=\"http", "href=\"http", "url(", "@import", "<link"];
    assert!(loads.iter().all(|load| !page.contains(load)), "the page loads something");
    assert!(page.contains("width=device-width"));
    for said in ["would train nothing", "costs nothing", "Nothing was trained", "<td>null</td>", "<td>[]</td>"] {
        assert!(!page.contains(said), "{said}");
    }
    // The cell that the page offers runs the same study.
    let cell = page.split("<pre><code>").find(|part| part.starts_with("%%sweep bowl")).unwrap();
    let cell = cell.split_once("</code>").unwrap().0.replace("&quot;", "\"").replace("&#39;", "'");
    let cell = cell.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    let again = kernel.run_ok(&cell).await;
    assert!(again.shown().contains("Nothing was trained"), "{}", again.shown());
}

#[tokio::test]
async fn markdown_has_its_charts_beside_it_and_a_notebook_has_the_magics_as_cells() {
    let (mut kernel, folder) = with_study(12).await;
    let written = kernel.run_ok("%report bowl --to 'my report.md' --title Widths").await.result();
    let text = read(folder.path(), "my report.md");
    assert!(text.contains("\n# Widths\n") && text.contains("\n### The effect of width\n"), "{text}");
    let pictures: Vec<&str> = text.split("](<").skip(1).map(|part| part.split_once('>').unwrap().0).collect();
    assert_eq!(json!(pictures.len()), written["charts"], "{text}");
    assert!(pictures.len() >= 5, "{text}");
    assert!(!text.contains("![%") && text.contains("\n### Summary\n\n`%isolate bowl width`: Level L"), "{text}");
    for picture in pictures {
        assert!(read(folder.path(), picture).contains("<svg"), "{picture}");
    }
    // Each table has a line of dashes, and rows of as many cells.
    let tables: Vec<Vec<&str>> =
        text.split("\n\n").map(|block| block.lines().filter(|line| line.starts_with("| ")).collect()).collect();
    for table in tables.iter().filter(|table| table.len() > 1) {
        let cells = |line: &str| line.replace("\\|", "").matches('|').count();
        assert!(table.iter().all(|line| cells(line) == cells(table[0])), "{table:#?}");
    }

    kernel.run_ok("%report bowl --to report.ipynb").await;
    let notebook: Value = serde_json::from_str(&read(folder.path(), "report.ipynb")).unwrap();
    assert_eq!((&notebook["nbformat"], &notebook["metadata"]["kernelspec"]["name"]), (&json!(4), &json!("tunebook")));
    let cells = notebook["cells"].as_array().unwrap();
    let code: Vec<&str> =
        cells.iter().filter(|cell| cell["cell_type"] == "code").map(|cell| cell["source"].as_str().unwrap()).collect();
    assert_eq!(code[0], "%study bowl");
    assert!(code.iter().any(|code| code.starts_with("%isolate bowl width")));
    for cell in code.iter().filter(|code| !code.starts_with("%%sweep")) {
        kernel.run_ok(cell).await;
    }
    let ids: std::collections::HashSet<&str> = cells.iter().map(|cell| cell["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), cells.len());
}

#[tokio::test]
async fn the_report_of_an_imported_study_says_where_it_comes_from() {
    let (mut kernel, folder) = with_study(12).await;
    kernel.run_ok("%study export bowl --to out.log").await;
    kernel.run_ok("%study import out.log --as back --scientific x").await;
    let written = kernel.run_ok("%report back --to back.ipynb --bundle back.zip").await.result();
    let notebook: Value = serde_json::from_str(&read(folder.path(), "back.ipynb")).unwrap();
    let cells = notebook["cells"].as_array().unwrap();
    let sources = |kind: &str| -> Vec<&str> {
        let of_kind = cells.iter().filter(|cell| cell["cell_type"] == kind);
        of_kind.map(|cell| cell["source"].as_str().unwrap()).collect()
    };
    let again = "%study import out.log --study bowl --as back --scientific x";
    let code = sources("code");
    assert_eq!(code.last(), Some(&again), "{code:#?}");
    assert!(code.iter().all(|code| !code.starts_with("%%")), "{code:#?}");
    let text = sources("markdown").join("\n");
    assert!(text.contains("### Where it comes from") && text.contains("imported from out.log"), "{text}");
    assert!(!text.contains("### Design") && !text.contains("same numbers"), "{text}");
    let same = kernel.run_ok(again).await.shown();
    assert!(same.contains("Nothing was imported"), "{same}");
    let notes = written["bundle"]["notes"].to_string();
    assert!(notes.contains("`back` was imported"), "{notes}");
    assert_eq!(written["bundle"]["replayable"], json!([]), "{written}");
}

/// A program with a fence of Markdown in it. `comment` makes another version of it.
fn script(comment: &str) -> String {
    format!("# ``` {comment}\necho \"{{\\\"step\\\": 1, \\\"error\\\": $1}}\"\n")
}

#[tokio::test]
async fn a_bundle_has_the_pictures_of_its_report_and_says_what_it_lacks() {
    let (mut kernel, folder) = kernel().await;
    let here = folder.path().canonicalize().unwrap();
    let sweep = |name: &str, script: &str| {
        format!("%%sweep {name} --trials 3\ncommand sh {script} {{x}}\nnuisance x ~ uniform(0, 1)\nminimize error")
    };
    std::fs::write(here.join("train.sh"), script("old")).unwrap();
    kernel.run_ok(&sweep("first", "train.sh")).await;
    std::fs::write(here.join("train.sh"), script("new")).unwrap();
    kernel.run_ok(&sweep("second", "train.sh")).await;
    let whole = here.join("train.sh").display().to_string();
    kernel.run_ok(&sweep("whole", &whole)).await;

    let answer = kernel.run_ok("%report first second whole --to README.md --bundle b.zip").await;
    let bundle = answer.result()["bundle"].clone();
    let files = bundle["files"].as_array().unwrap();
    assert!(files.len() == 2 && files.iter().all(|file| file["path"] == "train.sh"), "{bundle:#}");
    let left_out: Vec<&str> = files.iter().filter_map(|file| file["left_out"].as_str()).collect();
    assert_eq!(left_out, ["it has changed since the trials of `first` read it"]);
    assert_eq!(bundle["replayable"], json!(["second", "whole"]), "{bundle:#}");
    let notes: Vec<&str> = bundle["notes"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(notes.len(), 2, "{notes:#?}");
    assert!(
        notes[0].starts_with(&format!("The command of `whole` names `{whole}` by its absolute path")),
        "{notes:#?}"
    );
    assert!(notes[1].contains("a script reads or imports"), "{notes:#?}");
    // Lines are wrapped where they are shown.
    let packed = |text: &str| text.split_whitespace().collect::<String>();
    let shown = packed(&answer.shown());
    assert!(shown.contains(&packed("runs one of `second` and `whole` again")), "{shown}");
    assert!(notes.iter().all(|note| shown.contains(&packed(note))), "{shown}");

    let text = read(&here, "README.md");
    assert!(
        text.contains(&format!("\nThe file `train.sh`, which the command names:\n\n````sh\n{}````\n", script("new")))
    );
    let changed = "The file `train.sh`, which the command names, is not included: it has changed";
    assert!(text.contains(changed), "{text}");
    let mut archive = zip::ZipArchive::new(std::fs::File::open(here.join("b.zip")).unwrap()).unwrap();
    let mut content = |name: &str| {
        let entry = archive.by_name(name).unwrap_or_else(|error| panic!("{name}: {error}"));
        std::io::read_to_string(entry).unwrap()
    };
    assert_eq!(content("README.md"), text);
    assert!(content("BUNDLE.md").contains("tunebook replay b.zip"));
    assert_eq!(content("project/train.sh"), script("new"));
    let pictures: Vec<&str> = text.split("](<").skip(1).map(|part| part.split_once('>').unwrap().0).collect();
    assert!(pictures.len() >= 3, "{text}");
    for picture in pictures {
        assert!(content(picture).contains("<svg"), "{picture}");
    }
}

#[tokio::test]
async fn only_reports_are_overwritten_and_mistakes_are_errors() {
    let (mut kernel, folder) = with_study(4).await;
    std::fs::write(folder.path().join("mine.html"), "mine").unwrap();
    let error = kernel.run_error("%report bowl --to mine.html").await;
    assert!(error.contains("exists already and is no report"), "{error}");
    assert_eq!(read(folder.path(), "mine.html"), "mine");
    kernel.run_ok("%report bowl --to mine.html --force").await;
    kernel.run_ok("%report bowl --to mine.html").await;
    for (line, part) in [
        ("%report bowl", "the file is missing"),
        ("%report bowl --to x.pdf", "use .html, .md or .ipynb"),
        ("%report bowl --to new/x.html", "there is no folder"),
        ("%report bowll --to x.html", "did you mean `bowl`"),
        ("%report --to x.html", "study"),
    ] {
        let error = kernel.run_error(line).await;
        assert!(error.contains(part), "{line}: {error}");
    }
    assert!(!folder.path().join("x.html").exists());
    // A study without a result has a report that says so.
    kernel.run_ok("%%sweep none --trials 2\ncommand false {x}\nnuisance x ~ uniform(0, 1)\nminimize error").await;
    kernel.run_ok("%report none bowl --to both.html").await;
    let page = read(folder.path(), "both.html");
    assert!(page.contains("has no answer") && page.contains("href=\"#name-bowl\""));
}

#[tokio::test]
async fn measurements_of_a_workload_are_in_its_report() {
    let (mut kernel, folder) = kernel().await;
    let error = kernel.run_error("%report digits_mlp --to x.html").await;
    assert!(error.contains("no measurement"), "{error}");
    let noise = kernel.run_ok("%noise digits_mlp --pairs 100 --set steps=4").await.result();
    kernel.run_ok("%report digits_mlp --to noise.html").await;
    assert_eq!(results(&read(folder.path(), "noise.html")), [noise]);
}

#[tokio::test]
async fn what_was_trained_again_is_in_the_report_of_its_study() {
    let (mut kernel, folder) = kernel().await;
    let sweep = "%%sweep noisy --trials 4\ncommand awk -v x={x} 'BEGIN {{ srand(ENVIRON[\"TUNEBOOK_SEED\"]); \
        printf \"{{\\\"step\\\": 1, \\\"error\\\": %s}}\\n\", x + rand() / 100 }}'\n\
        nuisance x in [0.1, 0.2, 0.3, 0.4]\nminimize error";
    kernel.run_ok(sweep).await;
    let adopted = kernel.run_ok("%adopt noisy --candidate 1 --baseline 2").await.result();
    let seeds = kernel.run_ok("%seeds noisy --trial 1 --repeats 5").await.result();
    kernel.run_ok("%report noisy --to noisy.html").await;
    let found = results(&read(folder.path(), "noisy.html"));
    assert!(found.contains(&adopted) && found.contains(&seeds), "{found:#?}");
    let launched = kernel.run_ok("%launch noisy --trial 1").await;
    assert_eq!(launched.result()["adoption"]["candidate"], 1);
    assert!(launched.shown().contains("Evidence (level L"), "{}", launched.shown());
}

/// The settings of `%config` change what magics do from then on, and end with the kernel.
#[tokio::test]
async fn settings_hold_for_the_session_and_a_setting_or_an_option_asks_for_png_pictures() {
    let (mut kernel, folder) = with_study(6).await;
    // The picture in the last display.
    let picture = |answer: &Answer| {
        let last = answer.published.iter().rfind(|message| message.content["data"]["text/html"].is_string()).unwrap();
        last.content["data"]["image/png"].as_str().map(String::from)
    };
    let has_png = |answer: &Answer| picture(answer).is_some();
    assert!(!has_png(&kernel.run_ok("%isolate bowl width").await));
    let asked = picture(&kernel.run_ok("%isolate bowl width --png").await).unwrap();
    assert!(asked.starts_with("iVBOR"), "{asked}");
    assert!(!has_png(&kernel.run_ok("%isolate bowl width").await));
    let set = kernel.run_ok("%config charts.png = true").await;
    assert_eq!(set.result()["settings"][0]["value"], true);
    assert!(has_png(&kernel.run_ok("%isolate bowl width").await));
    assert!(has_png(&kernel.run_ok(&study("other", 2)).await), "a live chart ends with its picture");
    assert!(!has_png(&kernel.run_ok("%workloads").await), "there is no chart");

    // A limit of the session holds where none is given; two trials at a time need two places.
    kernel.run_ok("%config trials.timeout = 0.3s\n%config trials.parallel = 2").await;
    let slow = |name: &str, option: &str| {
        format!(
            "%%sweep {name} --trials 1 {option}\ncommand sh -c 'sleep 0.6; echo {{{{\\\"step\\\": 1, \\\"error\\\": 1}}}}'\n\
            fixed x = 1\nminimize error"
        )
    };
    assert_eq!(kernel.run_ok(&slow("limited", "")).await.result()["trials"]["failed"], 1);
    assert_eq!(kernel.run_ok(&slow("given", "--timeout 20s")).await.result()["trials"]["complete"], 1);
    let planned =
        kernel.run_ok("%%plan p --trials 4\ncommand true {x}\nnuisance x ~ uniform(0, 1)\nminimize error").await;
    assert_eq!(planned.result()["parallel"], 2, "{}", planned.shown());

    // The file of the studies is the same setting as the variable of the environment.
    kernel.run_ok("%config studies.file = elsewhere.db").await;
    assert_eq!(kernel.run_ok("%env TUNEBOOK_STUDIES").await.text("stdout"), "elsewhere.db\n");
    assert!(kernel.run_error("%study bowl").await.contains("UnknownStudy"));
    kernel.run_ok("%config --reset").await;
    kernel.run_ok("%study bowl").await;
    let all = kernel.run_ok("%config").await.result();
    assert!(all["settings"].as_array().unwrap().iter().all(|setting| setting["changed"] == false), "{all}");
    let error = kernel.run_error("%config chart.png = true").await;
    assert!(error.contains("UnknownSetting") && error.contains("did you mean `charts.png`?"), "{error}");

    // The settings end with the kernel.
    kernel.run_ok("%config charts.png = true").await;
    drop(kernel);
    let mut kernel = Kernel::start(folder.path()).await;
    assert!(!has_png(&kernel.run_ok("%isolate bowl width").await));
}
