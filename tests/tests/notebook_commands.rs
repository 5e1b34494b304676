//! `tunebook run` and `tunebook diff`: notebooks on the command line; `tunebook sweep` and so on: magics there.

use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use tunebook_tests::executable;

fn tunebook(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(executable("tunebook"));
    command.args(arguments).current_dir(folder).env("TUNEBOOK_WORKER", executable("tunebook-worker"));
    command.env_remove("TUNEBOOK_STUDIES").env("TUNEBOOK_HISTORY", folder.join("history.db"));
    command.output().unwrap()
}

fn code(source: &str, tags: &[&str]) -> Value {
    json!({ "cell_type": "code", "metadata": { "tags": tags }, "source": source, "outputs": [],
        "execution_count": null })
}

fn text(source: &str) -> Value {
    json!({ "cell_type": "markdown", "metadata": {}, "source": source })
}

/// Writes a notebook. A field that nobody knows is to be kept.
fn write(folder: &Path, name: &str, cells: &[Value]) {
    let notebook = json!({ "cells": cells, "metadata": { "unknown": 7 }, "nbformat": 4, "nbformat_minor": 4 });
    std::fs::write(folder.join(name), notebook.to_string()).unwrap();
}

fn read(folder: &Path, name: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(folder.join(name)).unwrap()).unwrap()
}

/// The text that a cell printed.
fn printed(cell: &Value) -> String {
    let streams = cell["outputs"].as_array().unwrap().iter().filter(|output| output["output_type"] == "stream");
    streams.map(|output| output["text"].as_str().unwrap()).collect()
}

#[test]
fn a_notebook_runs_with_parameters_and_its_outputs_are_written() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    std::fs::create_dir(at.join("sub")).unwrap();
    std::fs::write(at.join("sub/data.txt"), "beside").unwrap();
    let cells = [
        text("# A *title*\n\n| a | b |\n|---|---|\n| 1 | 2 |"),
        code("let lr = 0.1;\nlet name: &str = \"a\";", &["parameters"]),
        code("println!(\"{} {name}\", lr * 2.0);\neprintln!(\"warned\");", &[]),
        code("panic!(\"allowed\")", &["raises-exception"]),
        code("panic!(\"never run\")", &["skip-execution"]),
        code("std::fs::read_to_string(\"data.txt\").unwrap()", &[]),
        code(
            "%%sweep s --trials 3\ncommand sh -c 'echo {{\\\"step\\\": 1, \\\"e\\\": {x}}}'\nnuisance x ~ uniform(0, 1)\nminimize e",
            &[],
        ),
        code("", &[]),
    ];
    write(at, "sub/n.ipynb", &cells);
    let before = std::fs::read(at.join("sub/n.ipynb")).unwrap();
    let ran = tunebook(at, &["run", "sub/n.ipynb", "-p", "lr=3", "--parameter", "name=b c", "--to", "out.ipynb"]);
    let progress = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(ran.status.success(), "{progress}");
    assert!(progress.contains("[1/8] let lr = 0.1;") && progress.contains("All cells ran in"), "{progress}");
    assert_eq!(std::fs::read(at.join("sub/n.ipynb")).unwrap(), before, "the notebook itself stays as it is");
    let out = read(at, "out.ipynb");
    let cells = out["cells"].as_array().unwrap();
    assert_eq!(cells[2]["source"], "// Parameters\nlet lr = 3.0;\nlet name: &str = \"b c\";");
    assert_eq!(cells[2]["metadata"]["tags"], json!(["injected-parameters"]));
    assert_eq!(printed(&cells[3]), "6 b c\nwarned\n");
    assert_eq!(cells[4]["outputs"][0]["evalue"], "allowed");
    assert_eq!(cells[5]["outputs"], json!([]));
    assert!(cells[6]["outputs"][0]["data"]["text/plain"].as_str().unwrap().contains("beside"));
    let result = "application/vnd.tunebook.v1+json";
    let results: Vec<&Value> =
        cells[7]["outputs"].as_array().unwrap().iter().filter(|o| !o["data"][result].is_null()).collect();
    assert_eq!((results.len(), &results[0]["data"][result]["trials"]["complete"]), (1, &json!(3)));
    let counts: Vec<&Value> = [3, 4, 6].iter().map(|i| &cells[*i]["execution_count"]).collect();
    assert!(counts.iter().all(|count| count.is_u64()), "{counts:?}");
    assert_eq!(
        (&out["metadata"]["unknown"], &out["metadata"]["papermill"]["parameters"]["lr"]),
        (&json!(7), &json!(3))
    );

    // What was injected is replaced when the result runs again. A page has the text, the code and the outputs.
    let again = tunebook(at, &["run", "out.ipynb", "-p", "lr=5", "--to", "page.html", "--cwd", "sub"]);
    assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
    let page = std::fs::read_to_string(at.join("page.html")).unwrap();
    assert!(page.contains("<h1>A <em>title</em></h1>") && page.contains("<td>1</td>"), "{page}");
    assert!(page.contains("10 a\n") && !page.contains("6 b c") && page.contains("let lr = 5.0;"));
}

#[test]
fn the_end_of_a_notebook_waits_for_a_sweep_in_the_background() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let trial = "command sh -c 'sleep 0.3; echo \"{{\\\"step\\\": 1, \\\"e\\\": {x}}}\"'";
    let declared = format!("{trial}\nnuisance x ~ uniform(0, 1)\nminimize e");
    let sweep = format!("%%sweep nb --trials 4 --parallel 1 --background\n{declared}");
    write(at, "n.ipynb", &[code(&sweep, &[]), code("!echo x", &[])]);
    let ran = tunebook(at, &["run", "n.ipynb", "--to", "out.ipynb"]);
    let progress = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(ran.status.success(), "{progress}");
    assert!(progress.contains("Waiting for the sweep `nb`, which runs in the background."), "{progress}");
    let out = read(at, "out.ipynb");
    let outputs = |index: usize| out["cells"][index]["outputs"].as_array().unwrap().clone();
    let result = "application/vnd.tunebook.v1+json";
    let results: Vec<Value> = outputs(0).into_iter().filter(|output| !output["data"][result].is_null()).collect();
    assert_eq!(results.len(), 1, "{:#?}", outputs(0));
    assert_eq!(results[0]["data"][result]["trials"]["complete"], 4);
    // What the end of the run asked the kernel is in no cell.
    assert_eq!(outputs(1).len(), 1, "{:#?}", outputs(1));

    // A sweep that fails there fails the run.
    let sweep = sweep.replace("%%sweep nb", "%%sweep bad");
    let cells = [code("%pool remove local", &[]), code("%pool add broken --prefix false", &[]), code(&sweep, &[])];
    write(at, "bad.ipynb", &cells);
    let ran = tunebook(at, &["run", "bad.ipynb"]);
    let progress = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert_eq!(ran.status.code(), Some(1), "{progress}");
    assert!(progress.contains("The sweep `bad` failed: no slot can be started"), "{progress}");
    assert!(progress.contains("4 trials are missing, and `--resume` runs them"), "{progress}");
}

#[test]
fn a_command_waits_for_the_sweep_that_it_begins_in_the_background() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let trial = "command sh -c 'sleep 0.3; echo \"{{\\\"step\\\": 1, \\\"e\\\": {x}}}\"'";
    std::fs::write(at.join("b.sweep"), format!("{trial}\nnuisance x ~ uniform(0, 1)\nminimize e")).unwrap();
    let options = ["--trials", "4", "--parallel", "1", "--background", "--json"];
    let ran = tunebook(at, &[&["sweep", "b.sweep", "b"][..], &options].concat());
    let (said, progress) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{progress}");
    let result: Value = serde_json::from_str(&said).expect(&said);
    assert_eq!((&result["kind"], &result["trials"]["complete"]), (&json!("sweep"), &json!(4)), "{said}");
}

#[test]
fn papermill_sets_parameters_as_tunebook_run_does() {
    let Some(python) = std::env::var_os("TUNEBOOK_PYTHON") else {
        panic!("TUNEBOOK_PYTHON is not set: `cargo verify` makes the environment that this test needs")
    };
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let defaults = "let clip: Option<f64> = None;\nlet lr = 0.1_f32;\nlet seconds = 60.0 * 2.0;\nlet seed: u64 = 0;\n\
        let limit: f32 = 0.1;\nlet low = -1.5;\nlet on = false;\nlet name = \"a\";";
    let print = "println!(\"{clip:?} {lr:?} {seconds:?} {seed} {limit} {low} {on} {name:?}\");";
    write(at, "n.ipynb", &[code(defaults, &["parameters"]), code(print, &[])]);
    let mut notebook = read(at, "n.ipynb");
    notebook["metadata"]["kernelspec"] = json!({ "name": "tunebook", "display_name": "Rust", "language": "rust" });
    std::fs::write(at.join("n.ipynb"), notebook.to_string()).unwrap();
    let set = [
        ("clip", "0.5"),
        ("lr", "1"),
        ("seconds", "1"),
        ("seed", "12345678901234567890"),
        ("limit", "nan"),
        ("low", "-inf"),
        ("on", "True"),
        ("name", "ü \"q\" \\ \n'"),
    ];
    let injected = "// Parameters\nlet clip: Option<f64> = Some(0.5);\nlet lr = 1.0_f32;\nlet seconds = 1.0;\n\
        let seed: u64 = 12345678901234567890;\nlet limit: f32 = f32::NAN;\nlet low = f64::NEG_INFINITY;\n\
        let on = true;\nlet name = \"ü \\\"q\\\" \\\\ \\n'\";";
    let mut papermill = Command::new(&python);
    papermill.args(["-m", "papermill", "n.ipynb", "papermill.ipynb", "--prepare-only"]).current_dir(at);
    for (name, value) in set {
        papermill.args(["-p", name, value]);
    }
    let ran = papermill.output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    // papermill's metadata have the number NaN, which JSON does not know.
    let same = tunebook(at, &["diff", "papermill.ipynb", "papermill.ipynb"]);
    assert_eq!(same.status.code(), Some(0), "{}", String::from_utf8_lossy(&same.stderr));
    let prepared = std::fs::read_to_string(at.join("papermill.ipynb")).unwrap();
    let prepared: Value = serde_json::from_str(&prepared.replace("NaN,", "0,").replace("-Infinity", "0")).unwrap();
    let lines = prepared["cells"][1]["source"].as_array().unwrap();
    assert_eq!(lines.iter().map(|line| line.as_str().unwrap()).collect::<String>(), injected);

    let values: Vec<String> = set.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let arguments = ["run", "n.ipynb", "--to", "ours.ipynb"].into_iter();
    let arguments: Vec<&str> = arguments.chain(values.iter().flat_map(|value| ["-p", value.as_str()])).collect();
    let ran = tunebook(at, &arguments);
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let shown = "Some(0.5) 1.0 1.0 12345678901234567890 NaN -inf true \"ü \\\"q\\\" \\\\ \\n'\"\n";
    let out = read(at, "ours.ipynb");
    assert_eq!((&out["cells"][1]["source"], printed(&out["cells"][2])), (&json!(injected), shown.to_string()));

    // Without parameters, the notebook runs with those that it has.
    let again = tunebook(at, &["run", "ours.ipynb", "--to", "again.ipynb"]);
    assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
    let again = read(at, "again.ipynb");
    assert_eq!((&again["cells"][1]["source"], printed(&again["cells"][2])), (&json!(injected), shown.to_string()));
    assert_eq!(again["metadata"]["papermill"]["parameters"], out["metadata"]["papermill"]["parameters"]);

    // Both refuse a value that the type does not have.
    let refused = tunebook(at, &["run", "n.ipynb", "-p", "seed=-1"]);
    let mut papermill = Command::new(&python);
    papermill.args(["-m", "papermill", "n.ipynb", "refused.ipynb", "--prepare-only", "-p", "seed", "-1"]);
    for ran in [refused, papermill.current_dir(at).output().unwrap()] {
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert!(!ran.status.success() && said.contains("from 0 to 18446744073709551615"), "{said}");
    }
}

#[test]
fn a_cell_that_fails_or_takes_too_long_ends_the_run_and_what_ran_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    for (name, cell, limit, why) in
        [("fails", "let x: i32 = \"text\";", "10m", "E0308"), ("slow", "!sleep 600", "6s", "took longer than 6 s")]
    {
        write(at, "n.ipynb", &[code("!echo first", &[]), code(cell, &[]), code("println!(\"last\");", &[])]);
        let ran = tunebook(at, &["run", "n.ipynb", "--to", "out.ipynb", "--timeout", limit]);
        let progress = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert_eq!(ran.status.code(), Some(1), "{name}: {progress}");
        assert!(progress.contains("ended the run") && progress.contains(why), "{name}: {progress}");
        let out = read(at, "out.ipynb");
        let cells = out["cells"].as_array().unwrap();
        assert!(cells[0]["source"].as_str().unwrap().contains("An exception was encountered"), "{name}");
        assert_eq!(printed(&cells[1]), "first\n");
        assert_eq!(cells[3]["outputs"][0]["output_type"], "error", "{name}: {}", cells[3]);
        assert_eq!(cells[4]["outputs"], json!([]));
        assert_eq!(out["metadata"]["papermill"]["exception"], true);
        // The marks of a failed run do not pile up.
        let again = tunebook(at, &["run", "out.ipynb", "--to", "out.ipynb", "--timeout", limit]);
        assert_eq!(again.status.code(), Some(1));
        assert_eq!(read(at, "out.ipynb")["cells"].as_array().unwrap().len(), cells.len());
    }
}

#[test]
fn what_cannot_be_run_says_why_before_anything_runs() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    write(at, "n.ipynb", &[code("let lr = 0.1;", &["parameters"])]);
    std::fs::write(at.join("old.ipynb"), json!({ "worksheets": [], "nbformat": 3 }).to_string()).unwrap();
    std::fs::write(at.join("text.ipynb"), "fn main() {}").unwrap();
    for (arguments, part) in [
        (vec!["run", "nothing.ipynb"], "cannot be read"),
        (vec!["run", "old.ipynb"], "format 3"),
        (vec!["run", "text.ipynb"], "is not a notebook"),
        (vec!["run", "n.ipynb", "--to", "x.pdf"], "ends in .ipynb or .html"),
        (vec!["run", "n.ipynb", "--to", "new/x.ipynb"], "there is no folder new"),
        (vec!["run", "n.ipynb", "--timeout", "soon"], "30s, 30m or 2h"),
        (vec!["run", "n.ipynb", "-p", "1=2"], "cannot be the name of a variable"),
        (vec!["run", "n.ipynb", "-p", "lr=fast"], "`fast` is none"),
        (vec!["diff", "n.ipynb", "nothing.ipynb"], "cannot be read"),
    ] {
        let ran = tunebook(at, &arguments);
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert_eq!(ran.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(part), "{arguments:?}: {said}");
    }
}

#[test]
fn two_runs_are_compared_by_their_results() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let shown = |value: f64, seconds: f64| {
        let mut cell = code("%isolate a b", &[]);
        let result = json!({ "kind": "isolation", "seconds": seconds, "points": [{ "objective": value }] });
        cell["outputs"] = json!([{ "output_type": "display_data", "metadata": {},
            "data": { "application/vnd.tunebook.v1+json": result, "text/plain": format!("{seconds} s") } }]);
        cell
    };
    let said = |text: &str| {
        let mut cell = code("f()", &[]);
        cell["outputs"] = json!([{ "output_type": "stream", "name": "stdout", "text": [text] }]);
        cell
    };
    write(at, "a.ipynb", &[shown(0.25, 1.0), said("x")]);
    write(at, "same.ipynb", &[shown(0.25, 9.0), text("More text."), said("x")]);
    let injected = code("// Parameters\nlet lr = 1.0;", &["injected-parameters"]);
    write(at, "injected.ipynb", &[shown(0.25, 1.0), injected, said("x")]);
    write(at, "added.ipynb", &[code("g()", &[]), shown(0.25, 1.0), said("x")]);
    let mut printing = shown(0.25, 1.0);
    let stream = json!({ "output_type": "stream", "name": "stderr", "text": "warned" });
    printing["outputs"].as_array_mut().unwrap().push(stream);
    write(at, "printing.ipynb", &[printing, said("x")]);
    write(at, "near.ipynb", &[shown(0.25000001, 1.0), said("x")]);
    write(at, "other.ipynb", &[shown(0.25, 1.0), said("y")]);
    let diff = |arguments: &[&str]| {
        let ran = tunebook(at, arguments);
        (ran.status.code(), String::from_utf8_lossy(&ran.stdout).into_owned())
    };
    let (status, said) = diff(&["diff", "a.ipynb", "same.ipynb"]);
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("2 cells compared, 1 of them with a result of a magic: the same"), "{said}");
    assert_eq!(diff(&["diff", "a.ipynb", "injected.ipynb"]).0, Some(0));
    let (status, said) = diff(&["diff", "a.ipynb", "added.ipynb"]);
    assert!(status == Some(1) && said.contains("cell 1 (g()): only the second notebook has this cell"), "{said}");
    assert!(said.contains("2 cells compared, 1 of them with a result of a magic: not the same"), "{said}");
    let (status, said) = diff(&["diff", "a.ipynb", "printing.ipynb"]);
    assert!(status == Some(1) && said.contains("only the second notebook has it: `warned`"), "{said}");
    let (status, said) = diff(&["diff", "a.ipynb", "near.ipynb"]);
    assert!(status == Some(1) && said.contains("points[0].objective is 0.25 and 0.25000001"), "{said}");
    assert_eq!(diff(&["diff", "a.ipynb", "near.ipynb", "--tolerance", "1e-6"]).0, Some(0));
    let (status, said) = diff(&["diff", "a.ipynb", "other.ipynb"]);
    assert!(status == Some(1) && said.contains("`x` and `y`"), "{said}");
}

/// Python's JSON has the numbers NaN and Infinity, so papermill writes them: parameters, and outputs of other kernels.
#[test]
fn notebooks_with_numbers_that_json_does_not_have_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let mut cell = code("println!(\"NaN \\\"Infinity\\\"\");", &[]);
    cell["outputs"] = json!([
        { "output_type": "stream", "name": "stdout", "text": "NaN \"Infinity\"\n" },
        { "output_type": "display_data", "metadata": { "of": "@NaN" }, "data": { "application/json": ["@-Infinity"] } },
    ]);
    let notebook = json!({ "cells": [cell], "nbformat": 4, "nbformat_minor": 4,
        "metadata": { "papermill": { "parameters": { "limit": "@NaN", "high": "@Infinity" } } } });
    let mut text = notebook.to_string();
    for number in ["NaN", "Infinity", "-Infinity"] {
        text = text.replace(&format!("\"@{number}\""), number);
    }
    assert!(text.contains("\"limit\":NaN") && serde_json::from_str::<Value>(&text).is_err(), "{text}");
    std::fs::write(at.join("n.ipynb"), text).unwrap();
    let ran = tunebook(at, &["run", "n.ipynb", "--to", "out.ipynb"]);
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let out = read(at, "out.ipynb");
    let parameters = &out["metadata"]["papermill"]["parameters"];
    assert_eq!(parameters, &json!({ "limit": null, "high": null }));
    assert_eq!(printed(&out["cells"][0]), "NaN \"Infinity\"\n");
    let same = tunebook(at, &["diff", "n.ipynb", "out.ipynb"]);
    assert_eq!(same.status.code(), Some(0), "{}", String::from_utf8_lossy(&same.stdout));
}

#[test]
fn magics_run_on_the_command_line_with_the_store_of_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let body = "command sh -c 'echo {{\\\"step\\\": 1, \\\"e\\\": {x}}}; sleep {wait}'\nnuisance x ~ uniform(0, 1)\n\
        fixed wait = 0\nminimize e\n";
    std::fs::write(at.join("with.sweep"), format!("\u{feff}# A comment.\n\n%%sweep s --trials 5\n{body}")).unwrap();
    std::fs::write(at.join("without.txt"), body.replace("wait = 0", "wait = 600")).unwrap();
    let ran = |arguments: &[&str]| {
        let ran = tunebook(at, arguments);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (ran.status.code(), text(&ran.stdout), text(&ran.stderr))
    };
    let (status, said, _) = ran(&["plan", "with.sweep"]);
    assert!(status == Some(0) && said.contains("nuisance"), "{said}");
    let (status, said, progress) = ran(&["sweep", "with.sweep", "--seed", "3", "--trials", "9"]);
    assert!(status == Some(0) && said.contains("Study s: 9 complete"), "{said}{progress}");
    assert!(progress.is_empty() && !said.contains('\u{1b}'), "without a terminal there is no progress: {progress}");
    let (status, said, _) = ran(&["insight", "s", "--json"]);
    let result: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((status, &result["kind"], &result["study"]), (Some(0), &json!("insight"), &json!("s")));
    let (status, said, _) = ran(&["report", "s", "--to=r.html", "--title", "two words"]);
    assert!(status == Some(0) && said.contains("Wrote r.html"), "{said}");
    assert!(std::fs::read_to_string(at.join("r.html")).unwrap().contains("<title>two words</title>"));
    for (arguments, part) in [
        (vec!["insight", "t"], "there is no study `t`"),
        (vec!["sweep", "none.sweep"], "none.sweep cannot be read"),
        (vec!["sweep", "without.txt"], "the study's name is missing"),
        (vec!["sweep", "with.sweep", "--trails", "3"], "--trials"),
        (vec!["throughput", "s"], "there is no workload `s`"),
    ] {
        let (status, said, error) = ran(&arguments);
        assert!(status == Some(1) && error.contains(part) && said.is_empty(), "{arguments:?}: {said}{error}");
    }
    let (status, help, _) = ran(&["--help"]);
    assert!(status == Some(0) && help.starts_with("Tunes the hyperparameters"), "{help}");
    for command in ["sweep", "throughput", "insight", "replay", "run"] {
        assert!(help.contains(&format!("\n  {command} ")), "{help}");
    }
    assert!(ran(&["sweep", "--help"]).1.contains("tunebook sweep FILE [NAME]"));

    // An interrupt ends the sweep with the result so far.
    let mut command = Command::new(executable("tunebook"));
    command
        .args(["sweep", "without.txt", "slow", "--trials", "1"])
        .current_dir(at)
        .stdout(std::process::Stdio::piped());
    command.stderr(std::process::Stdio::piped()).env_remove("TUNEBOOK_STUDIES");
    let child = command.env("TUNEBOOK_WORKER", executable("tunebook-worker")).spawn().unwrap();
    let measured = || -> Option<usize> {
        let store = tunebook_study::store::Store::open_to_read(&at.join(".tunebook/studies.db")).ok()??;
        let study = store.study("slow").ok()??;
        Some(store.measurements(&study, 1).ok()?.len())
    };
    let started = std::time::Instant::now();
    while measured() != Some(1) {
        assert!(started.elapsed().as_secs() < 60, "the trial does not start");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id() as i32), nix::sys::signal::Signal::SIGINT).unwrap();
    let ended = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ended.stdout);
    assert_eq!(ended.status.code(), Some(130), "{said}{}", String::from_utf8_lossy(&ended.stderr));
    assert!(said.contains("Interrupted; `--resume` continues."), "{said}");
}

#[test]
fn output_that_cannot_be_written_is_one_sentence_and_a_closed_pipe_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    write(at, "n.ipynb", &[code("!echo x", &[])]);
    let ran = |arguments: &[&str], out: Stdio, errors: Stdio| {
        let mut command = Command::new(executable("tunebook"));
        command.args(arguments).current_dir(at).env_remove("TUNEBOOK_STUDIES").stdout(out).stderr(errors);
        let ran = command.env("TUNEBOOK_WORKER", executable("tunebook-worker")).output().unwrap();
        (ran.status.code(), String::from_utf8_lossy(&ran.stderr).into_owned())
    };
    let full = || Stdio::from(std::fs::File::options().write(true).open("/dev/full").unwrap());
    let closed = || Stdio::from(std::io::pipe().unwrap().1);
    for (arguments, status) in
        [(vec!["--help"], 1), (vec!["study", "--help"], 1), (vec!["study"], 1), (vec!["diff", "n.ipynb", "n.ipynb"], 2)]
    {
        let (ended, said) = ran(&arguments, full(), Stdio::piped());
        let sentence = said.starts_with("tunebook: standard output cannot be written: No space left");
        assert!(ended == Some(status) && sentence && said.lines().count() == 1, "{arguments:?}: {ended:?} {said}");
        let (ended, said) = ran(&arguments, closed(), Stdio::piped());
        assert!(ended == Some(0) && said.is_empty(), "{arguments:?}: {ended:?} {said}");
    }
    assert_eq!(ran(&["run", "n.ipynb"], Stdio::piped(), closed()).0, Some(0), "progress that nobody reads");
}

/// The notebooks that teach, and the solutions of their exercises. (The first four are run by the front ends' tests.)
#[test]
fn the_notebooks_and_their_solutions_run() {
    let notebooks = tunebook_tests::repository().join("notebooks");
    let in_folder = |folder: &Path| -> Vec<std::path::PathBuf> {
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let mut found: Vec<_> = files.filter(|path| path.extension().is_some_and(|ending| ending == "ipynb")).collect();
        found.sort();
        found
    };
    let all = in_folder(&notebooks);
    let names: Vec<String> = all.iter().map(|path| path.file_name().unwrap().to_string_lossy().into()).collect();
    let first_four = |name: &String| ["01", "02", "03", "04"].iter().any(|number| name.starts_with(number));
    let mut to_run: Vec<_> =
        all.iter().zip(&names).filter(|(_, name)| !first_four(name)).map(|(path, _)| path.clone()).collect();
    for solution in in_folder(&notebooks.join("solutions")) {
        let name = solution.file_name().unwrap().to_string_lossy().into_owned();
        assert!(names.contains(&name), "there is no notebook for the solution {name}");
        to_run.push(solution);
    }
    assert!(to_run.len() >= 5, "{to_run:?}");
    for path in to_run {
        let folder = tempfile::tempdir().unwrap();
        let ran = tunebook(folder.path(), &["run", path.to_str().unwrap(), "--cwd", ".", "--timeout", "10m"]);
        assert!(ran.status.success(), "{}: {}", path.display(), String::from_utf8_lossy(&ran.stderr));
    }
}
