//! What people meet in the front ends that they have: the order of output, a front end that was killed, input where
//! nobody can answer, text pasted from elsewhere, a notebook that is opened again, and stores that are elsewhere.

use serde_json::{Value, json};
use std::process::Command;
use std::time::Duration;
use tunebook_tests::{
    Answer, BusyLoops, KEY, Kernel, Message, PATIENCE, cell, command_of, descendants, eventually, executable, kernel,
    request_frames,
};

/// The text of a cell as it came: the first letter of the stream (`o` or `e`) before each text. Texts of one stream
/// that came one after the other are joined.
fn in_order(answer: &Answer) -> String {
    let (mut text, mut last) = (String::new(), "");
    for message in answer.all("stream") {
        let name = message.content["name"].as_str().unwrap();
        if name != last {
            text += if name == "stdout" { "o:" } else { "e:" };
            last = name;
        }
        text += message.content["text"].as_str().unwrap();
    }
    text
}

#[tokio::test]
async fn both_streams_come_in_the_order_in_which_they_were_written() {
    let (mut kernel, _folder) = kernel().await;
    kernel.run_ok("use std::io::Write;").await;
    for (code, expected) in [
        ("println!(\"a\"); eprintln!(\"b\"); println!(\"c\"); eprintln!(\"d\");", "o:a\ne:b\no:c\ne:d\n"),
        (
            "print!(\"a\"); eprint!(\"b\"); print!(\"c\"); eprintln!(); println!(); eprint!(\"t\"); print!(\"d\");",
            "o:ae:bo:ce:\no:\ne:to:d",
        ),
        ("let x = dbg!(2 + 3); println!(\"{x}\"); dbg!(x);", "e:[cell] 2 + 3 = 5\no:5\ne:[cell] x = 5\n"),
        // What does not come from a macro of the cell is before or behind what does.
        ("for i in 0..3 { println!(\"{i}\"); writeln!(std::io::stderr(), \"-\")?; }", "o:0\ne:-\no:1\ne:-\no:2\ne:-\n"),
        (
            "for i in 0..3 { eprintln!(\"{i}\"); writeln!(std::io::stdout(), \"-\")?; }",
            "e:0\no:-\ne:1\no:-\ne:2\no:-\n",
        ),
        (
            "for i in 0..3 { std::process::Command::new(\"sh\").args([\"-c\", \"echo - >&2\"]).status()?; println!(\"{i}\"); }",
            "e:-\no:0\ne:-\no:1\ne:-\no:2\n",
        ),
        ("!echo a; echo b >&2; echo c; echo d >&2", "o:a\nb\nc\nd\n"),
        ("%%bash\necho a\necho b >&2\necho c", "o:a\nb\nc\n"),
        ("println!(\"a\");\n!echo b >&2\neprintln!(\"c\");\n!echo d", "o:a\nb\ne:c\no:d\n"),
    ] {
        for _ in 0..3 {
            assert_eq!(in_order(&kernel.run_ok(code).await), expected, "{code}");
        }
    }
    // Many lines, while the machine has other work.
    let _load = BusyLoops::start(2).unwrap();
    let code = "for i in 0..2000 { if i % 3 == 0 { eprintln!(\"{i}\") } else { println!(\"{i}\") } }";
    let expected: String = (0..2000)
        .map(|i| match i % 3 {
            0 => format!("e:{i}\n"),
            1 => format!("o:{i}\n"),
            _ => format!("{i}\n"),
        })
        .collect();
    assert_eq!(in_order(&kernel.run_ok(code).await), expected);
    let answer = kernel.run_ok("!for i in $(seq 500); do echo $i; echo $i >&2; done").await;
    assert_eq!(in_order(&answer), "o:".to_string() + &(1..=500).map(|i| format!("{i}\n{i}\n")).collect::<String>());
}

/// Starts a kernel as a child of a shell, which `Kernel::kill` kills.
async fn kernel_of_a_shell(folder: &std::path::Path) -> Kernel {
    // Under `nohup`, which ignores SIGHUP, a kernel stays.
    let mut shell = Command::new("env");
    shell.args(["--default-signal=HUP", "sh", "-c", "\"$0\" \"$@\" & wait"]).arg(executable("tunebook"));
    Kernel::start_as(folder, shell, &[("JPY_PARENT_PID", "")]).await
}

#[tokio::test]
async fn a_kernel_whose_parent_was_killed_ends_with_all_that_it_started() {
    let folder = tempfile::tempdir().unwrap();
    for code in [
        "println!(\"running\"); loop { std::hint::spin_loop() }",
        "!trap '' INT HUP TERM; echo running; sleep 300 & wait",
        "%%bash\ntrap '' INT HUP TERM\necho running\nsleep 300 & wait",
        "%%sweep endless\ncommand sh -c 'touch running; sleep 300' {x}\nnuisance x in [1]\nminimize loss",
    ] {
        let mut kernel = kernel_of_a_shell(folder.path()).await;
        let running = folder.path().join("running");
        let _ = std::fs::remove_file(&running);
        kernel.run_ok("let kept = 1;").await;
        let id = kernel.send("execute_request", cell(code)).await;
        match code.starts_with("%%sweep") {
            true => assert!(eventually(PATIENCE, || running.exists()).await, "the trial does not start"),
            false => drop(kernel.printed(&id, "running\n").await),
        }
        let below = descendants(kernel.process.id());
        assert!(below.iter().any(|pid| command_of(*pid).contains("tunebook kernel")), "{below:?}");
        kernel.kill();
        let left =
            || below.iter().map(|pid| command_of(*pid)).filter(|command| !command.is_empty()).collect::<Vec<_>>();
        assert!(eventually(Duration::from_secs(15), || left().is_empty()).await, "{code}: {:?}", left());
    }
}

#[tokio::test]
async fn input_where_nobody_can_answer_is_at_its_end() {
    let (mut kernel, _folder) = kernel().await;
    let count = "std::io::stdin().lines().count()";
    assert_eq!(kernel.run_ok(count).await.value(), "0");
    let read =
        "let mut line = String::new();\nlet length = std::io::stdin().read_line(&mut line)?;\nprintln!(\"{length}\");";
    assert_eq!(kernel.run_ok(read).await.text("stdout"), "0\n");
    // A program that the cell starts reads the same input.
    let answer = kernel.run_ok("std::process::Command::new(\"wc\").arg(\"-l\").status()?;").await;
    assert_eq!(answer.text("stdout").trim(), "0");
    assert!(kernel.run_error("tunebook::input(\"Name: \")?").await.contains("nobody to ask"));
    // Somebody who can answer is asked, before and after a cell that could not ask.
    let mut questions = kernel.questions().await;
    for line in ["one", "two"] {
        let mut asking = cell(read);
        asking["allow_stdin"] = json!(true);
        let id = kernel.send("execute_request", asking).await;
        let question = questions.next().await;
        questions.answer(&question, line).await;
        assert_eq!(kernel.answer(&id).await.text("stdout"), "4\n");
        assert_eq!(kernel.run_ok(count).await.value(), "0");
    }
}

/// Runs a cell as a front end that gives ids to cells, and returns whether its output contains plotly.js.
async fn brings_plotly(kernel: &mut Kernel, code: &str, metadata: Value) -> bool {
    let (id, frames) = request_frames("execute_request", &cell(code), &metadata, KEY);
    kernel.send_frames(frames).await;
    let answer = kernel.answer(&id).await;
    assert_eq!(answer.status(), "ok", "{answer:#?}");
    let html = |message: &Message| message.content["data"]["text/html"].as_str().unwrap_or("").to_string();
    let scripts = answer.published.iter().filter(|message| html(message).contains("class=\"tunebook-plotly\"")).count();
    assert!(scripts <= 1, "{scripts} copies");
    scripts == 1
}

/// A cell that shows a chart. Two cells with different numbers have different codes.
fn chart(number: u32) -> String {
    let figure = json!({ "data": [{ "type": "scatter", "y": [number, 2, 1] }], "layout": {} }).to_string();
    format!("println!(\"EVCXR_BEGIN_CONTENT application/vnd.plotly.v1+json\\n{{}}\\nEVCXR_END_CONTENT\", {figure:?});")
}

#[tokio::test]
async fn plotly_is_stored_once_a_notebook_and_comes_back_when_its_output_is_gone() {
    // nbclient and papermill give no ids. A cell is then known by its code.
    let (mut kernel, _folder) = kernel().await;
    let mut brought = vec![];
    for number in [1, 2, 3, 4, 2, 1, 3] {
        brought.push(brings_plotly(&mut kernel, &chart(number), json!({})).await);
    }
    assert_eq!(brought, [true, false, false, false, false, true, false]);
    // JupyterLab, Notebook and VS Code do.
    let (mut kernel, _folder) = tunebook_tests::kernel().await;
    for (code, id, deleted, brings) in [
        ("1".to_string(), "a", vec![], false),
        (chart(1), "b", vec![], true),
        (chart(2), "c", vec![], false),
        (chart(3), "a", vec![], false),
        // The cell that has it runs again, with and without a chart.
        (chart(4), "b", vec![], true),
        ("2".into(), "b", vec![], true),
        (chart(2), "c", vec!["x"], false),
        // That cell is deleted.
        ("3".into(), "a", vec!["b"], false),
        (chart(2), "c", vec![], true),
        (chart(3), "a", vec!["c"], true),
        // A cell clears its output.
        (format!("{}\ntunebook::clear_output(false);", chart(5)), "a", vec![], true),
        (chart(2), "d", vec![], true),
        (chart(2), "a", vec![], false),
    ] {
        let metadata = json!({ "cellId": id, "deletedCells": deleted });
        assert_eq!(brings_plotly(&mut kernel, &code, metadata).await, brings, "{id}: {code}");
    }
}

#[tokio::test]
async fn pasted_characters_are_read_or_named_with_the_plain_one() {
    let (mut kernel, _folder) = kernel().await;
    assert_eq!(kernel.run_ok("\u{feff}1 + 1").await.value(), "2");
    assert!(kernel.run_ok("\u{feff}%lsmagic").await.shown().contains("%%sweep"));
    let complete = kernel.request("is_complete_request", json!({ "code": "\u{feff}%%sweep a" })).await;
    assert_eq!(complete.status(), "incomplete");
    let windows = "%%bash\r\nx=1\r\nif [ $x = 1 ]; then echo one; fi\r\n";
    assert_eq!(kernel.run_ok(windows).await.text("stdout"), "one\n");
    // In text they are what they are.
    assert_eq!(kernel.run_ok("println!(\"a – b “c” − d\");").await.text("stdout"), "a – b “c” − d\n");
    let sweep = |line: &str| format!("%%sweep a\nworkload digits_mlp\n{line}\nfixed steps = 5\nminimize valid/error");
    for (code, plain) in [
        ("println!(“hello”);".to_string(), "`\"`"),
        ("let c = ‘x’;".into(), "`'`"),
        ("let n = 3 – 1;".into(), "`-`"),
        ("let n = 3 − 1;".into(), "`-`"),
        ("%isolate a lr –best 3".into(), "write `--`"),
        ("%isolate a lr —best 3".into(), "write `--`"),
        (sweep("nuisance lr ~ loguniform(1e−3, 1)"), "write `-`"),
        (sweep("question “How deep?”"), "write `\"`"),
        (sweep("scientific optimizer in [‘sgd’, ‘adam’]"), "write `'`"),
    ] {
        let error = kernel.run_error(&code).await;
        assert!(error.contains(plain), "{code}: {error}");
    }
}

/// A study of a program, in which trials with a large `x` fail.
fn study(name: &str, trials: usize) -> String {
    let values = (1..=trials).map(|x| x.to_string()).collect::<Vec<_>>().join(", ");
    format!("%%sweep {name} --trials {trials}\ncommand sh train.sh {{x}}\nnuisance x in [{values}]\nminimize loss")
}

#[tokio::test]
async fn the_store_can_be_changed_while_the_kernel_runs_and_a_renamed_folder_is_told() {
    let outer = tempfile::tempdir().unwrap();
    let (before, after) = (outer.path().join("before"), outer.path().join("after"));
    std::fs::create_dir(&before).unwrap();
    let program = "test $1 -lt 13 && echo \"{\\\"step\\\": 1, \\\"loss\\\": $1}\"";
    std::fs::write(before.join("train.sh"), program).unwrap();
    let mut kernel = Kernel::start(&before).await;
    kernel.run_ok(&study("first", 14)).await;
    // A table says that it shows a part, and failed trials are shown with their reasons.
    let shown = kernel.run_ok("%study first").await.shown();
    assert!(shown.contains("The first 10 of 12 configurations, the best first:"), "{shown}");
    assert!(shown.contains("| failed") && shown.contains("reason"), "{shown}");

    let said = kernel.run_ok("%env TUNEBOOK_STUDIES=other.db").await.text("stdout");
    let other = before.canonicalize().unwrap().join("other.db");
    assert!(said.contains(&format!("Studies are in {} from here on.", other.display())), "{said}");
    assert!(kernel.run_ok("%study").await.shown().contains("no studies"));
    kernel.run_ok(&study("second", 1)).await;
    assert!(other.is_file());
    assert!(kernel.run_error("%study first").await.contains("UnknownStudy"));
    let error = kernel.run_error("%env TUNEBOOK_STUDIES=.").await;
    assert!(error.contains("is a folder") && error.contains("./studies.db"), "{error}");
    let said = kernel.run_ok("%env TUNEBOOK_CACHE=/nowhere").await.text("stderr");
    assert!(said.contains("TUNEBOOK_CACHE when it started"), "{said}");
    kernel.run_ok("%env --unset TUNEBOOK_STUDIES").await;
    kernel.run_ok("%study first").await;

    // No second store is made where the folder was.
    std::fs::rename(&before, &after).unwrap();
    let moved = after.canonicalize().unwrap().join(".tunebook/studies.db");
    for code in ["%study".to_string(), study("third", 1)] {
        let error = kernel.run_error(&code).await;
        assert!(error.contains("was renamed or removed"), "{error}");
        assert!(error.contains(&format!("%env TUNEBOOK_STUDIES={}", moved.display())), "{error}");
    }
    assert_eq!(kernel.run_ok("1 + 1").await.value(), "2");
    assert!(!before.exists());
    kernel.run_ok(&format!("%env TUNEBOOK_STUDIES={}", moved.display())).await;
    kernel.run_ok("%study first").await;
}

#[tokio::test]
async fn a_folder_as_store_is_told_in_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let command = Command::new(executable("tunebook"));
    let mut kernel = Kernel::start_as(folder.path(), command, &[("TUNEBOOK_STUDIES", path)]).await;
    let error = kernel.run_error("%study").await;
    assert!(error.contains("it is a folder") && error.contains("studies.db"), "{error}");
    assert_eq!(kernel.run_ok("1 + 1").await.value(), "2");
}

#[test]
fn a_folder_of_notebooks_is_run_and_what_failed_is_printed_beside_the_record() {
    let folder = tempfile::tempdir().unwrap();
    let stream = |text: &str| json!([{ "output_type": "stream", "name": "stdout", "text": text }]);
    let code = |source: &str, outputs: Value| json!({ "cell_type": "code", "source": source, "metadata": {}, "execution_count": null, "outputs": outputs });
    let notebook = json!({ "nbformat": 4, "nbformat_minor": 4, "cells": [
        code("let x = 6 * 7;\nprintln!(\"{x}\");", stream("42\n")),
        code("missing(x)", stream("recorded\n")),
        code("let y = x;", stream("said\n")),
    ], "metadata": { "kernelspec": { "name": "rust", "language": "rust", "display_name": "Rust" } } });
    std::fs::create_dir(folder.path().join("below")).unwrap();
    std::fs::write(folder.path().join("below/some.ipynb"), notebook.to_string()).unwrap();
    let Some(python) = std::env::var_os("TUNEBOOK_PYTHON") else {
        panic!("TUNEBOOK_PYTHON is not set: `cargo verify` makes the environment that this test needs")
    };
    let script = tunebook_tests::repository().join("tests/people/run_notebooks.py");
    let mut command = Command::new(python);
    command.arg(script).arg(folder.path()).arg("--executable").arg(executable("tunebook"));
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for part in ["cell 1 runs", "cell 2 FAILS", "| missing(x)", "E0425", "| recorded", "cell 3 SHOWS NOTHING", "1 of 3"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
}
