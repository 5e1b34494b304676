//! What people meet in the front ends that they have: the order of output, a front end that was killed, input where
//! nobody can answer, text pasted from elsewhere, a notebook that is opened again, and stores that are elsewhere.

use serde_json::json;
use std::process::Command;
use std::time::Duration;
use tunebook_tests::{
    Answer, BusyLoops, Kernel, PATIENCE, cell, command_of, descendants, eventually, executable, kernel,
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
    let mut shell = Command::new("sh");
    shell.args(["-c", "\"$0\" \"$@\" & wait"]).arg(executable("tunebook"));
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
