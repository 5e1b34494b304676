//! Output as it is written, output of threads, questions to the user, displays, and output that is too long to show.

use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};
use tunebook_tests::{Answer, Kernel, Message, cell, kernel, memory};

/// A cell that defines the function `until`, which waits until a file exists.
const DEFINES_UNTIL: &str = "use std::io::Write;\nfn until(file: &str) { while !std::path::Path::new(file).exists() { \
                     std::thread::sleep(std::time::Duration::from_millis(5)) } }";

/// Lets a cell go on that waits for a file with `until`.
fn go(folder: &Path, file: &str) {
    std::fs::write(folder.join(file), "").unwrap();
}

/// The request to run a cell in a front end that can ask the user.
fn asking(code: &str) -> Value {
    let mut asking = cell(code);
    asking["allow_stdin"] = json!(true);
    asking
}

/// The text that a request printed, among these messages.
fn text_of(messages: &[Message], id: &str) -> String {
    let streams = messages.iter().filter(|message| message.parent["msg_id"] == id && message.kind() == "stream");
    streams.map(|message| message.content["text"].as_str().unwrap()).collect()
}

fn display_id(message: &Message) -> &Value {
    &message.content["transient"]["display_id"]
}

#[tokio::test]
async fn output_appears_as_it_is_written() {
    let (mut kernel, folder) = kernel().await;
    kernel.run_ok(DEFINES_UNTIL).await;
    // Half a line that is flushed arrives before the cell goes on.
    let code = "print!(\"a\"); std::io::stdout().flush()?; until(\"half\"); print!(\"b\\n\"); until(\"line\"); print!(\"end\");";
    let id = kernel.send("execute_request", cell(code)).await;
    kernel.printed(&id, "a").await;
    go(folder.path(), "half");
    kernel.printed(&id, "b\n").await;
    go(folder.path(), "line");
    assert_eq!(kernel.answer(&id).await.text("stdout"), "end");

    // A progress bar moves.
    let code = "for i in 0..3 { print!(\"\\r{i} of 3\"); std::io::stdout().flush()?; until(&format!(\"step{i}\")); }";
    let id = kernel.send("execute_request", cell(code)).await;
    for i in 0..3 {
        assert_eq!(text_of(&kernel.printed(&id, " of 3").await, &id), format!("\r{i} of 3"));
        go(folder.path(), &format!("step{i}"));
    }
    assert_eq!(kernel.answer(&id).await.status(), "ok");

    // Standard error arrives at once, and all of it before the cell ends.
    let id = kernel.send("execute_request", cell("eprint!(\"now\"); until(\"error\"); eprint!(\", later\");")).await;
    kernel.printed(&id, "now").await;
    go(folder.path(), "error");
    assert_eq!(kernel.answer(&id).await.text("stderr"), ", later");
    for i in 0..10 {
        let answer = kernel.run_ok(&format!("println!(\"out {i}\"); eprintln!(\"error {i}\");")).await;
        assert_eq!((answer.text("stdout"), answer.text("stderr")), (format!("out {i}\n"), format!("error {i}\n")));
    }

    // The output of a program that the cell starts is shown.
    let answer = kernel.run_ok("std::process::Command::new(\"sh\").args([\"-c\", \"echo from sh\"]).status()?;").await;
    assert_eq!(answer.text("stdout"), "from sh\n");
}

#[tokio::test]
async fn what_a_thread_prints_is_shown_under_the_cell_that_started_it() {
    let (mut kernel, folder) = kernel().await;
    kernel.run_ok(DEFINES_UNTIL).await;
    let code = "std::thread::spawn(|| { until(\"one\"); println!(\"first\"); until(\"error\"); eprintln!(\"error\"); until(\"two\"); println!(\"second\"); });\n\
                println!(\"started\");";
    let starter = kernel.send("execute_request", cell(code)).await;
    assert_eq!(kernel.answer(&starter).await.text("stdout"), "started\n");

    // While a later cell prints, each text belongs to the cell that it came from.
    let later =
        kernel.send("execute_request", cell("println!(\"begins\"); until(\"over\"); println!(\"ends\");")).await;
    kernel.printed(&later, "begins\n").await;
    for (file, text) in [("one", "first\n"), ("error", "error\n")] {
        go(folder.path(), file);
        let published = kernel.printed(&starter, text).await;
        assert_eq!((text_of(&published, &starter).as_str(), text_of(&published, &later).as_str()), (text, ""));
    }
    go(folder.path(), "over");
    assert_eq!(kernel.answer(&later).await.text("stdout"), "ends\n");

    // The thread prints once more when no cell runs.
    go(folder.path(), "two");
    let published = kernel.printed(&starter, "second\n").await;
    assert!(published.iter().all(|message| message.parent["msg_id"] == starter.as_str()), "{published:#?}");
}

#[tokio::test]
async fn no_output_can_be_mistaken_for_a_message_between_kernel_and_runner() {
    let (mut kernel, _folder) = kernel().await;
    kernel.run_ok("let kept = 41;").await;
    let lines = [
        "EVCXR_EXECUTION_COMPLETE",
        "EVCXR_PANIC_NOTIFICATION",
        "EVCXR_RESTORED exit status: 1",
        "EVCXR_TIMES 1 2 3",
        "EVCXR_VARIABLE_CHANGED_TYPE kept",
        "EVCXR_END_CONTENT",
        "TUNEBOOK_TAKEOVER 1",
        "\u{1}{\"end\":true}",
        "\u{1} {\"end\":1}",
        "\u{1}secret {\"display\":{\"data\":{\"text/plain\":\"no\"}}}",
        "EVCXR_BEGIN_CONTENT",
        // Blocks of content without an end.
        "EVCXR_BEGIN_CONTENT text/html",
        "EVCXR_BEGIN_CONTENT text/html\n<b>no end</b>",
    ];
    for line in lines {
        let answer =
            kernel.run_ok(&format!("println!(\"{{}}\", {line:?}); eprintln!(\"{{}}\", {line:?}); kept + 1")).await;
        let shown = (answer.text("stdout"), answer.text("stderr"));
        assert_eq!(shown, (format!("{line}\n"), format!("{line}\n")), "{line:?}");
        assert_eq!(answer.value(), "42", "{line:?}");
        assert!(answer.all("display_data").is_empty(), "{line:?}");
    }
    // Neither can the output of a program that a cell starts, nor a line without an end.
    let code = "std::process::Command::new(\"printf\").arg(\"EVCXR_EXECUTION_COMPLETE\").status()?;\nkept + 1";
    let answer = kernel.run_ok(code).await;
    assert_eq!((answer.text("stdout").as_str(), answer.value()), ("EVCXR_EXECUTION_COMPLETE", "42"));
    assert_eq!(kernel.run_ok("println!(\"still {}\", kept);").await.text("stdout"), "still 41\n");

    // A whole block of content, as crates for evcxr print it, is a display.
    let code = "println!(\"EVCXR_BEGIN_CONTENT text/html\\n<b>bold</b>\\nEVCXR_END_CONTENT\");\nprintln!(\"after\");";
    let answer = kernel.run_ok(code).await;
    assert_eq!(answer.first("display_data").content["data"]["text/html"], "<b>bold</b>");
    assert_eq!(answer.text("stdout"), "after\n");
}

#[tokio::test]
async fn reading_standard_input_asks_the_user() {
    let (mut kernel, _folder) = kernel().await;
    let mut questions = kernel.questions().await;
    let code = "use std::io::Write;\nlet mut read = |prompt: &str| -> std::io::Result<String> {\n    print!(\"{prompt}\");\n    \
                std::io::stdout().flush()?;\n    let mut line = String::new();\n    std::io::stdin().read_line(&mut line)?;\n    \
                Ok(line)\n};\nlet (name, age) = (read(\"Name? \")?, read(\"Age? \")?);\nprintln!(\"{name:?} {age:?}\");";
    let id = kernel.send("execute_request", asking(code)).await;
    for (prompt, line) in [("Name? ", "Ada Löve"), ("Age? ", "36")] {
        let question = questions.next().await;
        assert_eq!((question.kind(), &question.parent["msg_id"]), ("input_request", &json!(id)));
        assert_eq!(question.content, json!({ "prompt": prompt, "password": false }));
        questions.answer(&question, line).await;
    }
    let answer = kernel.answer(&id).await;
    assert!(answer.text("stdout").ends_with("\"Ada Löve\\n\" \"36\\n\"\n"), "{answer:#?}");

    // A question without a prompt, asked by an iterator over the lines.
    let code = "let line = std::io::stdin().lines().next();\nprintln!(\"{line:?}\");";
    let id = kernel.send("execute_request", asking(code)).await;
    let question = questions.next().await;
    assert_eq!(question.content["prompt"], "");
    questions.answer(&question, "").await;
    assert_eq!(kernel.answer(&id).await.text("stdout"), "Some(Ok(\"\"))\n");

    // The crate evcxr_input asks in this way.
    for (marker, password) in [("EVCXR_INPUT_REQUEST", false), ("EVCXR_INPUT_REQUEST_PASSWORD", true)] {
        let code = format!(
            "println!(\"{marker}:Which? \");\nlet mut line = String::new();\nstd::io::stdin().read_line(&mut line)?;\n\
             println!(\"{{line:?}}\");"
        );
        let id = kernel.send("execute_request", asking(&code)).await;
        let question = questions.next().await;
        assert_eq!(question.content, json!({ "prompt": "Which? ", "password": password }));
        questions.answer(&question, "this").await;
        assert_eq!(kernel.answer(&id).await.text("stdout"), "\"this\\n\"\n");
    }

    // An interrupt ends the wait, and the next question is a new one.
    kernel.run_ok("let kept = 41;").await;
    let wait = "let mut line = String::new(); std::io::stdin().read_line(&mut line)?; println!(\"{line:?} {kept}\");";
    let id = kernel.send("execute_request", asking(wait)).await;
    let given_up = questions.next().await;
    kernel.control("interrupt_request", json!({})).await;
    assert_eq!(kernel.answer(&id).await.reply["ename"], "Interrupted");
    let id = kernel.send("execute_request", asking(wait)).await;
    let question = questions.next().await;
    questions.answer(&given_up, "too late").await;
    questions.answer(&question, "in time").await;
    assert_eq!(kernel.answer(&id).await.text("stdout"), "\"in time\\n\" 41\n");

    // In a front end that cannot ask, the cell does not wait for ever.
    assert_eq!(kernel.run_ok(wait).await.text("stdout"), "\"\" 41\n");
}

#[tokio::test]
async fn the_crate_tunebook_asks_for_lines_and_passwords() {
    let (mut kernel, _folder) = kernel().await;
    let mut questions = kernel.questions().await;
    let code = "let name = tunebook::input(\"Name: \")?;\nlet word = tunebook::password(\"Word: \")?;\nprintln!(\"{name} {word}\");";
    let id = kernel.send("execute_request", asking(code)).await;
    for (prompt, password, line) in [("Name: ", false, "Ada"), ("Word: ", true, "secret")] {
        let question = questions.next().await;
        assert_eq!(question.content, json!({ "prompt": prompt, "password": password }));
        questions.answer(&question, line).await;
    }
    assert_eq!(kernel.answer(&id).await.text("stdout"), "Ada secret\n");

    let id = kernel.send("execute_request", asking(code)).await;
    questions.next().await;
    kernel.control("interrupt_request", json!({})).await;
    assert_eq!(kernel.answer(&id).await.reply["ename"], "Interrupted");
    let error = kernel.run_error(code).await;
    assert!(error.contains("NoInput"), "{error}");
    let id = kernel.send("execute_request", asking("println!(\"{}\", tunebook::input(\"Again: \")?);")).await;
    let question = questions.next().await;
    assert_eq!(question.content["prompt"], "Again: ");
    questions.answer(&question, "yes").await;
    assert_eq!(kernel.answer(&id).await.text("stdout"), "yes\n");
}

#[tokio::test]
async fn the_crate_tunebook_shows_any_number_of_displays_without_dep() {
    let (mut kernel, _folder) = kernel().await;
    // The first cell that names the crate may also show that the crate is being built.
    assert!(
        kernel
            .run_ok("tunebook::display(&1);")
            .await
            .all("display_data")
            .into_iter()
            .any(|shown| shown.plain_text() == "1")
    );
    // Several displays of one cell, with any MIME types, in order with what the cell prints.
    let code = "tunebook::display(&vec![1, 2]);\nprintln!(\"between\");\ntunebook::display(&tunebook::Html(\"<b>bold</b>\"));\n\
                tunebook::display(&tunebook::Markdown(\"**bold**\"));\ntunebook::display(&tunebook::Png(vec![1u8, 2, 3]));\n\
                tunebook::display(&tunebook::Bundle::new().text(\"a point\").with(\"application/geo+json\", r#\"{\"type\":\"Point\"}\"#)\
                .metadata(\"application/geo+json\", tunebook::serde_json::json!({\"zoom\": 3})));";
    let answer = kernel.run_ok(code).await;
    let order: Vec<&str> = answer.published.iter().map(Message::kind).filter(|kind| *kind != "status").collect();
    let expected =
        ["execute_input", "display_data", "stream", "display_data", "display_data", "display_data", "display_data"];
    assert_eq!(order, expected);
    let shown = answer.all("display_data");
    assert_eq!(shown[0].plain_text(), "[1, 2]");
    assert_eq!(shown[1].content["data"]["text/html"], "<b>bold</b>");
    assert_eq!(shown[2].content["data"]["text/markdown"], "**bold**");
    assert_eq!(shown[3].content["data"]["image/png"], "AQID");
    assert_eq!(shown[4].content["data"]["application/geo+json"], json!({ "type": "Point" }));
    assert_eq!(shown[4].content["metadata"]["application/geo+json"], json!({ "zoom": 3 }));
    assert_eq!(shown[4].plain_text(), "a point");

    // A display can be replaced by its handle, and from a later cell by its name.
    let answer = kernel.run_ok("let shown = tunebook::display_id(\"loss\", &0.5);\nshown.update(&0.25);").await;
    assert_eq!(answer.first("display_data").plain_text(), "0.5");
    assert_eq!(answer.first("update_display_data").plain_text(), "0.25");
    let later = kernel.run_ok("shown.update(&0.125);\ntunebook::update_display(\"loss\", &0.0625);").await;
    let states: Vec<&str> = later.all("update_display_data").into_iter().map(Message::plain_text).collect();
    assert_eq!(states, ["0.125", "0.0625"]);
    for message in answer.published.iter().chain(&later.published).filter(|m| m.kind().contains("display_data")) {
        assert_eq!(display_id(message), "loss");
    }

    // Output can be cleared.
    let answer = kernel.run_ok("println!(\"old\");\ntunebook::clear_output(true);\nprintln!(\"new\");").await;
    let order: Vec<&str> = answer.published.iter().map(Message::kind).filter(|kind| *kind != "status").collect();
    assert_eq!(order, ["execute_input", "stream", "clear_output", "stream"]);
    assert_eq!(answer.first("clear_output").content, json!({ "wait": true }));

    // A progress bar is one display that changes. It is updated a few times a second, so the loop must take a while.
    let code = "let mut sum = 0;\nfor i in tunebook::progress(0..20).with_label(\"adding\") {\n    sum += i;\n    \
                std::thread::sleep(std::time::Duration::from_millis(20));\n}\nsum";
    let answer = kernel.run_ok(code).await;
    assert_eq!(answer.value(), "190");
    let (bars, updates) = (answer.all("display_data"), answer.all("update_display_data"));
    assert_eq!(bars.len(), 1, "{answer:#?}");
    assert!(updates.len() >= 2, "{answer:#?}");
    assert!(updates.iter().all(|update| display_id(update) == display_id(bars[0])), "{answer:#?}");
    let last = updates.last().unwrap().plain_text();
    assert!(last.contains("adding") && last.contains("100 %") && last.contains("20/20"), "{last}");

    // A value whose `evcxr_display` prints several blocks of content is one result with several MIME types.
    let code = "struct Chart;\nimpl Chart {\n    fn evcxr_display(&self) {\n        \
                println!(\"EVCXR_BEGIN_CONTENT application/vnd.plotly.v1+json\\n{{\\\"data\\\":[]}}\\nEVCXR_END_CONTENT\");\n        \
                println!(\"EVCXR_BEGIN_CONTENT text/html\\n<div></div>\\nEVCXR_END_CONTENT\");\n    }\n}\nChart";
    let answer = kernel.run_ok(code).await;
    let data = &answer.first("execute_result").content["data"];
    assert_eq!(
        (&data["application/vnd.plotly.v1+json"], &data["text/html"]),
        (&json!({ "data": [] }), &json!("<div></div>"))
    );
}

#[tokio::test]
async fn the_crate_tunebook_runs_magics_and_reads_studies() {
    let (mut kernel, _folder) = kernel().await;
    kernel.run_ok("%%writefile train.sh\necho \"{\\\"step\\\": 1, \\\"loss\\\": $1}\"").await;
    let sweep = "%%sweep tried --trials 2 --sampler grid\ncommand sh train.sh {lr}\nscientific lr in [0.5, 0.25]\nminimize loss";
    kernel.run_ok(sweep).await;
    let code =
        "let all = tunebook::magic(\"%study\")?;\nprintln!(\"{} {}\", all[\"kind\"], all[\"studies\"][0][\"study\"]);";
    assert_eq!(kernel.run_ok(code).await.text("stdout"), "\"study\" \"tried\"\n");
    let code = "let study = tunebook::study(\"tried\")?;\nlet best = study.best().cloned().unwrap();\n\
                println!(\"{} {:?} {:?}\", study.trials.len(), best.objective, best.float(\"lr\"));";
    assert_eq!(kernel.run_ok(code).await.text("stdout"), "2 Some(0.25) Some(0.25)\n");
    for (code, name) in
        [("tunebook::study(\"tired\")?;", "UnknownStudy"), ("tunebook::magic(\"%stduy\")?;", "UnknownMagic")]
    {
        let error = kernel.run_error(code).await;
        assert!(error.contains(name), "{error}");
    }
}

/// Runs a cell that prints much. Returns its messages, all its text, and the time that it took.
async fn much(kernel: &mut Kernel, code: &str) -> (Answer, String, Duration) {
    let started = Instant::now();
    let answer = kernel.run(code).await;
    let streams = answer.all("stream");
    let text: String = streams.iter().map(|message| message.content["text"].as_str().unwrap()).collect();
    (answer, text, started.elapsed())
}

/// The peak of the memory of the kernel's own process, in bytes.
fn peak(kernel: &Kernel) -> usize {
    memory(kernel.process.id(), "VmHWM:")
}

#[tokio::test]
async fn fifty_thousand_lines_arrive_whole() {
    let (mut kernel, _folder) = kernel().await;
    let (answer, text, took) = much(&mut kernel, "for i in 0..50_000 { println!(\"Zeile {i} größer\"); }").await;
    let expected: String = (0..50_000).map(|i| format!("Zeile {i} größer\n")).collect();
    assert!(text == expected, "{} bytes of {}", text.len(), expected.len());
    assert!(
        answer.all("stream").len() < 1_000,
        "lines are gathered, because a Jupyter server lets only a thousand messages a second through"
    );
    println!("50,000 lines: {took:?} with the compiler");
}

#[tokio::test]
async fn endless_output_leaves_the_kernel_responsive_and_is_cut_with_a_mark() {
    let (mut kernel, _folder) = kernel().await;
    kernel.run_ok("let numbers = vec![1, 2, 3];").await;
    kernel.request("complete_request", json!({ "code": "numbers.i", "cursor_pos": 9 })).await;
    let before = peak(&kernel);

    let (answer, text, took) = much(&mut kernel, "for i in 0..10_000_000 { println!(\"{i}\"); }").await;
    assert_eq!(answer.status(), "ok");
    println!("10,000,000 lines: {took:?}");
    let mark = text.find("output is cut here").expect("a mark where it is cut");
    let whole: String = (0..10_000).map(|i| format!("{i}\n")).collect();
    assert!(text.starts_with(&whole) && mark > 1_000_000, "the beginning is whole: {mark}");
    assert!(text.contains("lines left out; the end:\n") && text.ends_with("9999998\n9999999\n"), "and so is the end");
    assert!(text.len() < 4_000_000, "{}", text.len());

    let (answer, text, took) = much(&mut kernel, "println!(\"{}\", \"x\".repeat(100_000_000));").await;
    assert_eq!(answer.status(), "ok");
    println!("a line of 100 MB: {took:?}");
    assert!(
        text.starts_with("xxx") && text.contains("output is cut here") && text.ends_with("xxx\n"),
        "{}",
        text.len()
    );
    assert!(text.len() < 4_000_000, "{}", text.len());
    let grown = peak(&kernel).saturating_sub(before);
    assert!(grown < 200_000_000, "the kernel's memory grew by {grown} bytes");

    // While a cell prints for ever, other requests are answered.
    let id = kernel.send("execute_request", cell("loop { println!(\"for ever\"); }")).await;
    let mut seen = String::new();
    while !seen.contains("output is cut here") {
        let message = kernel.published_of_kind("stream").await;
        seen += message.content["text"].as_str().unwrap();
    }
    let started = Instant::now();
    let info = kernel.control("kernel_info_request", json!({})).await;
    assert_eq!(info.content["status"], "ok");
    let asked = kernel.send("complete_request", json!({ "code": "numbers.is_e", "cursor_pos": 12 })).await;
    let found = kernel.reply(&asked).await.content;
    assert_eq!(found["matches"][0], "is_empty", "{found}");
    println!("answered while a cell prints for ever: {:?}", started.elapsed());
    kernel.control("interrupt_request", json!({})).await;
    let answer = kernel.answer(&id).await;
    assert_eq!(answer.reply["ename"], "Interrupted");
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    let said = answer.text("stdout") + &answer.text("stderr");
    assert!(said.contains("left out; the end:") && said.contains("for ever\n"), "{said}");

    // The next cell is shown as usual.
    assert_eq!(kernel.run_ok("println!(\"{numbers:?}\");").await.text("stdout"), "[1, 2, 3]\n");
}
