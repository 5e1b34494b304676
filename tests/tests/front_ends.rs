//! The kernel in real front ends: Jupyter's own kernel tests, nbclient, Jupyter console, and JupyterLab in Chromium.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use tunebook_tests::{chromium, executable, lacks, python, script};

fn notebook(name: &str) -> PathBuf {
    tunebook_tests::repository().join("notebooks").join(name)
}

/// The folder of the screenshots, beside the kernel's executable.
fn screenshots() -> PathBuf {
    let folder = executable("tunebook").with_file_name("screenshots");
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// These tests take turns. Each of them runs a whole front end, and on two processors they would time out side by side.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Runs a script of `front_ends`, prints its output, and fails if the script fails.
fn must_pass(command: &mut Command) {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(|failed_before| failed_before.into_inner());
    let output = command.output().expect("Python starts");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("{said}");
    assert!(output.status.success(), "{said}");
}

#[test]
fn jupyters_own_kernel_tests_pass() {
    let folder = tempfile::tempdir().unwrap();
    must_pass(python(folder.path()).arg(script("kernel_tests.py")));
}

#[test]
fn the_first_notebook_runs_and_says_what_it_promises() {
    let folder = tempfile::tempdir().unwrap();
    must_pass(python(folder.path()).arg(script("first_notebook.py")).arg(notebook("01-first-sweep.ipynb")));
}

/// The first four notebooks are run cell by cell in JupyterLab, or without Chromium by `tunebook run`.
#[test]
fn a_stranger_spends_half_a_day_with_the_first_notebooks() {
    let folder = tempfile::tempdir().unwrap();
    let executed = folder.path().join("executed");
    std::fs::create_dir(&executed).unwrap();
    let names = ["01-first-sweep", "02-your-own-model", "03-batch-size", "04-reading-a-study"];
    let names = names.map(|name| format!("{name}.ipynb"));
    if lacks("chromium") {
        for name in &names {
            let mut command = Command::new(executable("tunebook"));
            command.arg("run").arg(notebook(name)).arg("--to").arg(executed.join(name)).args(["--cwd", "."]);
            command.current_dir(folder.path()).env("TUNEBOOK_WORKER", executable("tunebook-worker"));
            must_pass(command.env("TUNEBOOK_HISTORY", folder.path().join("history.db")));
        }
    } else {
        let mut command = python(folder.path());
        command.arg(script("half_day.py")).arg(chromium()).arg(screenshots()).arg(&executed);
        must_pass(command.args(names.iter().map(|name| notebook(name))));
    }
    if !lacks("chromium") {
        let mut pages = python(folder.path());
        must_pass(pages.arg(script("pages.py")).arg(executed.join(&names[0])).arg(chromium()).arg(screenshots()));
    }
    must_pass(python(folder.path()).arg(script("own_model.py")).arg(executed.join(&names[1])));
    must_pass(python(folder.path()).arg(script("batch_size.py")).arg(executed.join(&names[2])));
}

/// papermill sets parameters as `tunebook run` does, and all that execute notebooks find the same results.
#[test]
fn papermill_nbclient_jupyterlab_and_tunebook_run_give_the_same_results() {
    let cell = |source: &str, tags: &[&str]| {
        serde_json::json!({ "cell_type": "code", "metadata": { "tags": tags }, "source": source, "outputs": [],
            "execution_count": null })
    };
    let parameters = "let lr = 0.1; // learning rate\nlet mut steps: u32 = 100;\nlet name = String::from(\"a\");";
    let sweep = "%%sweep s --trials 4 --seed 3\nworkload digits_mlp\nnuisance lr ~ loguniform(0.01, 1)\n\
        fixed steps = 40";
    let notebook = serde_json::json!({ "nbformat": 4, "nbformat_minor": 4,
        "metadata": { "kernelspec": { "name": "tunebook", "display_name": "Rust (Tunebook)", "language": "rust" } },
        "cells": [
            cell(parameters, &["parameters"]),
            cell("steps += 1;\nlet doubled: f64 = lr * 2.0;\nprintln!(\"{doubled} {steps} {name}\")", &[]),
            cell(sweep, &[]),
            cell("%config charts.png = true\n%axis s lr", &[]),
        ] });
    // Each runs in a folder of its own, so that none finds the study of another.
    let folders: Vec<_> = (0..4).map(|_| tempfile::tempdir().unwrap()).collect();
    let results = tempfile::tempdir().unwrap();
    for folder in &folders {
        std::fs::write(folder.path().join("n.ipynb"), notebook.to_string()).unwrap();
    }
    let out = |name: &str| results.path().join(name);
    let set = ["-p", "lr", "1", "-p", "steps", "7", "-p", "name", "3"];
    must_pass(python(folders[0].path()).args(["-m", "papermill", "n.ipynb"]).arg(out("papermill.ipynb")).args(set));
    let mut ours = Command::new(executable("tunebook"));
    ours.current_dir(folders[1].path()).env("TUNEBOOK_WORKER", executable("tunebook-worker"));
    let set = ["-p", "lr=1", "-p", "steps=7", "-p", "name=3", "--cwd", "."];
    must_pass(ours.args(["run", "n.ipynb"]).args(set).arg("--to").arg(out("ours.ipynb")));
    // nbclient and JupyterLab set no parameters: they execute what papermill prepared.
    for folder in &folders[2..] {
        std::fs::copy(out("papermill.ipynb"), folder.path().join("n.ipynb")).unwrap();
    }
    let execute =
        ["-m", "nbconvert", "--to", "notebook", "--execute", "n.ipynb", "--output", "nbclient", "--output-dir"];
    must_pass(python(folders[2].path()).args(execute).arg(results.path()));
    let ran: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(out("papermill.ipynb")).unwrap()).unwrap();
    let injected = "// Parameters\nlet lr = 1.0;\nlet mut steps: u32 = 7;\nlet name = String::from(\"3\");";
    // A text in a notebook is a list of lines.
    let text = |value: &serde_json::Value| {
        value.as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect::<String>()
    };
    assert_eq!(text(&ran["cells"][1]["source"]), injected);
    assert_eq!(text(&ran["cells"][2]["outputs"][0]["text"]), "2 8 3\n");
    let mut others = vec!["ours.ipynb", "nbclient.ipynb"];
    if !lacks("chromium") {
        let mut lab = python(folders[3].path());
        must_pass(lab.arg(script("lab_run.py")).arg("n.ipynb").arg(chromium()));
        std::fs::copy(folders[3].path().join("n.ipynb"), out("lab.ipynb")).unwrap();
        others.push("lab.ipynb");
    }
    for other in others {
        let mut diff = Command::new(executable("tunebook"));
        must_pass(diff.arg("diff").arg(out("papermill.ipynb")).arg(out(other)));
    }
    // LaTeX shows no HTML, but the picture.
    let to_latex = ["-m", "nbconvert", "--to", "latex", "ours.ipynb", "--output", "paper"];
    must_pass(python(results.path()).args(to_latex));
    assert_eq!(std::fs::read_to_string(out("paper.tex")).unwrap().matches("\\adjustimage").count(), 1);
}

#[test]
fn the_console_runs_cells_and_shows_tables() {
    let folder = tempfile::tempdir().unwrap();
    must_pass(python(folder.path()).arg(script("console.py")));
}

#[test]
fn jupyterlab_shows_the_growing_chart_and_keeps_it() {
    if lacks("chromium") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut command = python(folder.path());
    command.arg(script("lab.py")).arg(notebook("01-first-sweep.ipynb")).arg(chromium()).arg(screenshots());
    must_pass(&mut command);
}

#[test]
fn rust_cells_in_jupyterlab_ask_show_progress_complete_and_help() {
    if lacks("chromium") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut command = python(folder.path());
    command.arg(script("lab_cells.py")).arg(chromium()).arg(screenshots());
    must_pass(&mut command);
}

#[test]
fn a_study_in_the_background_grows_in_its_cell_of_jupyterlab_while_others_are_typed() {
    if lacks("chromium") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut command = python(folder.path());
    command.arg(script("lab_background.py")).arg(chromium()).arg(screenshots());
    must_pass(&mut command);
}

/// Five times as many trials as a chart has points.
#[test]
fn a_zoom_survives_the_growth_of_a_large_chart_in_jupyterlab_and_nothing_flickers() {
    if lacks("chromium") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut command = python(folder.path());
    command.arg(script("lab_chart.py")).arg(chromium()).arg(screenshots()).arg("10000");
    must_pass(&mut command);
}

#[test]
fn a_report_is_read_on_a_phone_and_printed() {
    if lacks("chromium") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let sweep = "question \"Which optimizer finds the bottom of a bowl whose name is too long for one line?\"\n\
        command sh -c 'for i in 1 2 3 4 5 6; do echo {{\\\"step\\\": $i, \\\"valid/error\\\": 0.$1$i}}; done' a/rather/long/path/that/has/no/place/to/break {x} [--momentum {momentum}]\n\
        scientific optimizer in [sgd, momentum]\nnuisance x ~ int(10, 80)\n\
        when optimizer == momentum: nuisance momentum ~ 1 - loguniform(1e-3, 1)\nminimize valid/error\n";
    std::fs::write(at.join("bowl.sweep"), sweep).unwrap();
    let run = |words: &[&str]| {
        let mut command = Command::new(executable("tunebook"));
        command.args(words).current_dir(at).env("TUNEBOOK_WORKER", executable("tunebook-worker"));
        must_pass(command.env_remove("TUNEBOOK_STUDIES").env("TUNEBOOK_HISTORY", at.join("history.db")));
    };
    run(&["sweep", "bowl.sweep", "bowl", "--trials", "30", "--stop-early", "median"]);
    run(&["report", "bowl", "--to", "r.html"]);
    must_pass(python(at).arg(script("report_page.py")).arg(at.join("r.html")).arg(chromium()).arg(screenshots()));
}
