//! Checks the bytes on standard output, and how answers are read, with a process at the other end of the pipes.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The example program, which does one thing for each word of its command line.
fn cell(words: &[&str]) -> Command {
    let tests = std::env::current_exe().unwrap();
    let build: PathBuf = tests.parent().and_then(|deps| deps.parent()).unwrap().into();
    let mut command = Command::new(build.join("examples/conversation"));
    command.args(words).env_remove("TUNEBOOK_CELL_TOKEN").env_remove("TUNEBOOK_CELL_REPLIES");
    command
}

/// The example in a kernel. Answers come through standard input.
fn in_kernel(words: &[&str]) -> Command {
    let mut command = cell(words);
    command.env("TUNEBOOK_CELL_TOKEN", "t0k").env("TUNEBOOK_CELL_REPLIES", "0");
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

/// The messages of an example that asks nothing.
fn messages(words: &[&str]) -> Vec<Value> {
    let output = in_kernel(words).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().lines().map(message).collect()
}

fn message(line: &str) -> Value {
    let json = line.strip_prefix("\u{1}t0k ").unwrap_or_else(|| panic!("no message: {line:?}"));
    serde_json::from_str(json).unwrap()
}

/// Runs an example that asks one question. Returns the question, the output, and standard error.
fn answered(word: &str, answer: impl Fn(&Value) -> String) -> (Value, String, String) {
    let mut child = in_kernel(&[word]).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    let question = message(line.trim_end());
    let mut replies = child.stdin.take().unwrap();
    let answer = answer(&question["id"]);
    let writer = std::thread::spawn(move || replies.write_all(answer.as_bytes()));
    let (mut rest, mut errors) = (String::new(), String::new());
    lines.read_to_string(&mut rest).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    child.wait().unwrap();
    writer.join().unwrap().unwrap();
    (question, rest, errors)
}

#[test]
fn displays_are_messages_after_the_text_that_was_printed_before() {
    let output = in_kernel(&["unfinished", "debug", "bundle", "id", "clear", "value"]).output().unwrap();
    let expected = "unfinished\u{1}t0k {\"display\":{\"data\":{\"text/plain\":\"[1, 2]\"},\"metadata\":{},\"id\":null,\
                    \"update\":false}}\n\
                    \u{1}t0k {\"display\":{\"data\":{\"text/html\":\"<b>\\n</b>\",\"image/png\":\"AQI=\",\
                    \"text/plain\":\"b\"},\"metadata\":{\"image/png\":{\"width\":2}},\"id\":null,\"update\":false}}\n\
                    \u{1}t0k {\"display\":{\"data\":{\"text/plain\":\"0.5\"},\"metadata\":{},\"id\":\"loss\",\
                    \"update\":false}}\n\
                    \u{1}t0k {\"display\":{\"data\":{\"text/plain\":\"0.25\"},\"metadata\":{},\"id\":\"loss\",\
                    \"update\":true}}\n\
                    \u{1}t0k {\"clear\":{\"wait\":true}}\n\
                    EVCXR_BEGIN_CONTENT text/html\n<i>\nEVCXR_END_CONTENT\n\
                    EVCXR_BEGIN_CONTENT text/plain\nHTML, 3 characters\nEVCXR_END_CONTENT\n";
    assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
}

#[test]
fn a_display_handle_has_an_id_of_its_own() {
    let ids: Vec<Value> = messages(&["handle", "handle"]).iter().map(|m| m["display"]["id"].clone()).collect();
    assert!(ids[0] == ids[1] && ids[2] == ids[3] && ids[0] != ids[2], "{ids:?}");
}

#[test]
fn the_bar_of_a_quick_loop_is_shown_at_its_start_and_its_end() {
    let shown = messages(&["progress"]);
    let displays: Vec<&Value> = shown.iter().map(|message| &message["display"]).collect();
    assert_eq!(displays.len(), 2, "{displays:?}");
    assert_eq!((&displays[0]["update"], &displays[1]["update"]), (&json!(false), &json!(true)));
    assert!(displays[0]["id"].is_string() && displays[0]["id"] == displays[1]["id"]);
    let text = |display: &Value| display["data"]["text/plain"].as_str().unwrap().to_string();
    assert_eq!(text(displays[0]), "three: 0 % |                    | 0/3 [00:00<?, ?/s]");
    assert!(text(displays[1]).starts_with("three: 100 % |████████████████████| 3/3 [00:00<00:00, "));
    assert!(displays[1]["data"]["text/html"].as_str().unwrap().contains("<progress value=\"1.0000\"></progress> 3/3"));
}

#[test]
fn the_bar_of_a_loop_that_ends_early_stays_at_its_last_step() {
    let shown = messages(&["broken"]);
    let last = shown.last().unwrap()["display"]["data"]["text/plain"].as_str().unwrap().to_string();
    assert!(last.starts_with("50 % |██████████          | 2/4 ["), "{last}");
}

#[test]
fn the_bar_of_a_slow_loop_is_updated_at_most_ten_times_a_second() {
    // 30 steps of at least 10 ms each: two states at the ends, and at least one between.
    let started = std::time::Instant::now();
    let shown = messages(&["slow"]).len();
    let most = 3 + started.elapsed().as_millis() as usize / 100;
    assert!((3..=most).contains(&shown), "{shown} of {most}");
}

#[test]
fn questions_are_answered() {
    let (question, printed, _) = answered("input", |id| format!("{{\"ok\": \"Ada\", \"id\": {id}}}\n"));
    assert_eq!(question["ask"], json!({ "input": { "prompt": "Name: ", "password": false } }));
    assert_eq!(printed, "got Ada\n");
    let (question, printed, _) = answered("password", |_| "{\"ok\": \"1234\"}\n".into());
    assert_eq!(question["ask"], json!({ "input": { "prompt": "Secret: ", "password": true } }));
    assert_eq!(printed, "got 1234\n");
    // A long answer, after answers that another process has not read.
    let long = "x".repeat(1_000_000);
    let reply =
        |id: &Value| format!("left over\n{{\"ok\": 0, \"id\": \"old\"}}\n{}\n", json!({ "ok": long, "id": id }));
    let (question, printed, _) = answered("magic", reply);
    assert_eq!(question["ask"], json!({ "magic": "%axis depth" }));
    assert_eq!(printed, format!("got \"{long}\"\n"));
}

#[test]
fn a_study_comes_as_json() {
    let study = json!({ "name": "depth", "definition": { "objective": { "metric": "m", "direction": "maximize" } },
        "trials": [] });
    let (question, printed, _) = answered("study", |id| format!("{}\n", json!({ "ok": study, "id": id })));
    assert_eq!(question["ask"], json!({ "study": "depth" }));
    assert_eq!(printed, "got study depth: 0 trials, 0 complete\n");
}

#[test]
fn the_error_of_a_magic_is_the_error_of_the_call() {
    let error = json!({ "name": "UnknownStudy", "message": "there is no study `depth`" });
    let (_, printed, said) = answered("magic", |id| format!("{}\n", json!({ "error": error, "id": id })));
    assert_eq!(printed, "");
    assert!(said.contains("UnknownStudy") && said.contains("there is no study `depth`"), "{said}");
    let (_, _, said) = answered("magic", |_| String::new());
    assert!(said.contains("KernelGone"), "{said}");
}

#[test]
fn messages_and_answers_of_threads_are_not_mixed_up() {
    let mut child = in_kernel(&["threads"]).stderr(Stdio::piped()).spawn().unwrap();
    let (mut replies, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let (mut displays, mut questions) = (0, 0);
    for line in BufReader::new(stdout).lines() {
        let said = message(&line.unwrap());
        match said["ask"]["magic"].as_str() {
            None => displays += 1,
            Some(text) => {
                questions += 1;
                writeln!(replies, "{}", json!({ "ok": text, "id": said["id"] })).unwrap();
            }
        }
    }
    let mut errors = String::new();
    child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert_eq!((displays, questions, errors.as_str()), (16, 16, ""));
    assert!(child.wait().unwrap().success());
}

#[test]
fn without_a_kernel_values_are_printed_and_questions_asked_on_the_terminal() {
    let mut command = cell(&["debug", "bundle", "id", "clear", "progress", "input"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"Ada\r\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "[1, 2]\nb\n0.5\n0.25\nName: got Ada\n");
    let errors = String::from_utf8(output.stderr).unwrap();
    // Standard error is not a terminal here, so the bar shows its last state only.
    assert!(errors.starts_with("three: 100 % |") && errors.lines().count() == 1, "{errors}");
}

#[test]
fn without_a_kernel_a_magic_is_an_error_that_says_so() {
    let output = cell(&["magic"]).stdin(Stdio::null()).output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && errors.contains("only in a cell of a Tunebook kernel"), "{errors}");
}
