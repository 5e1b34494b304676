//! Jupyter's protocol over the kernel's sockets: whole conversations, and one test for each trap of the protocol that
//! we know of.

use serde_json::{Value, json};
use std::io::Write;
use std::time::{Duration, Instant};
use tunebook_tests::{Message, PATIENCE, StrictFrontEnd, cell, eventually, kernel, request_frames};

#[tokio::test]
async fn every_message_of_a_cell_comes_once_and_in_order() {
    let mut front_end = StrictFrontEnd::start().await;

    // A Rust cell with output on both streams and a value.
    let code = "println!(\"out\");\neprintln!(\"err\");\n6 * 7";
    let request = front_end.execute(code).await;
    front_end.expect_busy(&request).await;
    front_end.expect_input(&request, 1).await;
    front_end.expect_stream(&request, "stdout", "out\n").await;
    front_end.expect_stream(&request, "stderr", "err\n").await;
    assert_eq!(front_end.expect_result(&request, 1).await, json!({ "text/plain": "42" }));
    let reply = front_end.expect_reply(&request).await;
    assert_eq!(reply, json!({ "status": "ok", "execution_count": 1, "user_expressions": {}, "payload": [] }));
    front_end.expect_idle(&request).await;

    // A Rust cell that prints and then fails.
    let request = front_end.execute("println!(\"before\");\npanic!(\"oh no\");").await;
    front_end.expect_busy(&request).await;
    front_end.expect_input(&request, 2).await;
    front_end.expect_stream(&request, "stdout", "before\n").await;
    let error = front_end.expect_error(&request, "Panic").await;
    assert!(error["evalue"].as_str().is_some_and(|text| text.contains("oh no")), "{error}");
    let reply = front_end.expect_reply(&request).await;
    assert_eq!((&reply["status"], &reply["execution_count"]), (&json!("error"), &json!(2)));
    for field in ["ename", "evalue", "traceback"] {
        assert_eq!(reply[field], error[field], "the reply repeats the error");
    }
    front_end.expect_idle(&request).await;

    // A magic that prints, and one that shows a display.
    let request = front_end.execute("%env GREETING=hello\n!echo $GREETING\n%lsmagic").await;
    front_end.expect_busy(&request).await;
    front_end.expect_input(&request, 3).await;
    front_end.expect_stream(&request, "stdout", "env: GREETING=hello\nhello\n").await;
    let display = front_end.expect_display(&request).await;
    assert!(display.plain_text().contains("%%sweep"), "{display:?}");
    assert_eq!(front_end.expect_reply(&request).await["status"], "ok");
    front_end.expect_idle(&request).await;

    // A cell that asks the user: what it printed comes before the question.
    let code =
        "print!(\"Name? \");\nlet mut line = String::new();\nstd::io::stdin().read_line(&mut line)?;\nline.trim()";
    let mut asking = cell(code);
    asking["allow_stdin"] = json!(true);
    let request = front_end.send("execute_request", asking).await;
    front_end.expect_busy(&request).await;
    front_end.expect_input(&request, 4).await;
    let question = front_end.expect_question(&request).await;
    assert_eq!(question.content, json!({ "prompt": "Name? ", "password": false }));
    front_end.answer(&question, "Ada").await;
    assert_eq!(front_end.expect_result(&request, 4).await, json!({ "text/plain": "\"Ada\"" }));
    assert_eq!(front_end.expect_reply(&request).await["status"], "ok");
    front_end.expect_idle(&request).await;

    // A silent cell shows nothing, whatever it does, and does not count.
    for (code, status) in [("println!(\"out\");\n1", "ok"), ("%lsmagic", "ok"), ("panic!()", "error")] {
        let mut silent = cell(code);
        silent["silent"] = json!(true);
        let request = front_end.send("execute_request", silent).await;
        front_end.expect_busy(&request).await;
        let reply = front_end.expect_reply(&request).await;
        assert_eq!((&reply["status"], &reply["execution_count"]), (&json!(status), &json!(4)), "{code}");
        front_end.expect_idle(&request).await;
    }
    front_end.finish().await;
}

/// The sweep runs a shell script in place of training.
#[tokio::test]
async fn a_sweep_updates_its_displays_and_ends_with_the_result() {
    let mut front_end = StrictFrontEnd::start().await;
    front_end.run_ok("%%writefile train.sh\necho \"{\\\"step\\\": 1, \\\"loss\\\": $1}\"").await;
    let sweep = "%%sweep tried --trials 2 --sampler grid\ncommand sh train.sh {lr}\nscientific lr in [0.5, 0.25]\n\
                 minimize loss";
    let answer = front_end.run_ok(sweep).await;
    let [_busy, _input, shown @ .., _idle] = answer.published.as_slice() else { panic!("{answer:?}") };
    let mut known = vec![];
    for message in shown {
        let id = &message.content["transient"]["display_id"];
        match message.kind() {
            "display_data" => known.push(id),
            "update_display_data" => assert!(known.contains(&id), "there is no display {id} to update"),
            _ => panic!("{message:?}"),
        }
    }
    // The last message updates a display so that it holds the result, which no other message does.
    let with_result = |message: &&Message| message.content["data"].get("application/vnd.tunebook.v1+json").is_some();
    assert_eq!(shown.iter().filter(with_result).count(), 1, "{shown:?}");
    let last = shown.last().unwrap();
    assert!(last.kind() == "update_display_data" && with_result(&last), "{last:?}");
    assert_eq!(answer.result()["trials"]["complete"], 2);
    front_end.finish().await;
}

#[tokio::test]
#[should_panic(expected = "expected the next message of a request in work, got stream")]
async fn the_strict_front_end_fails_on_a_message_that_nobody_expected() {
    let mut front_end = StrictFrontEnd::start().await;
    let request = front_end.execute("!echo out").await;
    front_end.expect_busy(&request).await;
    front_end.expect_input(&request, 1).await;
    // The output was published before the reply, and this test does not take it.
    front_end.expect_reply(&request).await;
    front_end.finish().await;
}

#[tokio::test]
async fn kernel_info_is_answered_and_magics_run_before_the_engine_of_rust_cells_is_there() {
    let mut front_end = StrictFrontEnd::start().await;
    let info = front_end.request("kernel_info_request", json!({})).await;
    assert_eq!(info.reply["language_info"]["name"], "rust");
    assert_eq!(info.reply["implementation"], "tunebook");
    assert_eq!(info.reply["supported_features"], json!([]));
    let answer = front_end.run_ok("%lsmagic").await;
    assert!(answer.first("display_data").plain_text().contains("%%sweep"));
    front_end.finish().await;
}

#[tokio::test]
async fn a_request_that_lacks_fields_gets_a_reply() {
    let mut front_end = StrictFrontEnd::start().await;
    let answer = front_end.request("execute_request", json!({ "code": "%lsmagic" })).await;
    assert_eq!(answer.status(), "ok");
    assert_eq!(answer.reply["execution_count"], 1, "counting starts at 1");
    assert_eq!(answer.reply["user_expressions"], json!({}), "an object, not null");
    for kind in ["is_complete_request", "complete_request", "inspect_request", "history_request", "comm_info_request"] {
        let reply = front_end.request(kind, json!({})).await.reply;
        assert!(reply["status"].is_string() && reply["status"] != "error", "{kind}: {reply}");
    }
    assert_eq!(front_end.request("nonsense_request", json!({})).await.status(), "error");
    front_end.finish().await;
}

#[tokio::test]
async fn results_have_an_object_for_transient_and_topics_name_the_kind() {
    let mut front_end = StrictFrontEnd::start().await;
    let answer = front_end.run_ok("6 * 7").await;
    let result = answer.first("execute_result");
    assert_eq!(result.plain_text(), "42");
    assert!(result.content["transient"].is_object());
    let topic = String::from_utf8(result.identities[0].clone()).unwrap();
    assert!(topic.starts_with("kernel.") && topic.ends_with(".execute_result"), "{topic}");
    front_end.finish().await;
}

#[tokio::test]
async fn garbage_bad_signatures_and_vanishing_peers_do_not_stop_the_kernel() {
    let mut front_end = StrictFrontEnd::start().await;
    let address = front_end.endpoint("shell_port").replace("tcp://", "");
    for _ in 0..20 {
        let mut peer = std::net::TcpStream::connect(&address).unwrap();
        peer.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    }
    let (_, forged) = request_frames("execute_request", &cell("1"), &json!({}), "another key");
    front_end.send_frames(forged).await;
    front_end.send_frames("no message at all".into()).await;
    let mut torn = zeromq::ZmqMessage::from("<IDS|MSG>");
    torn.push_back("no signature".into());
    front_end.send_frames(torn).await;
    assert_eq!(front_end.request("kernel_info_request", json!({})).await.status(), "ok");
    front_end.finish().await;
}

#[tokio::test]
async fn the_heartbeat_echoes_what_it_gets_also_after_peers_vanished() {
    let front_end = StrictFrontEnd::start().await;
    let address = front_end.endpoint("hb_port").replace("tcp://", "");
    for _ in 0..50 {
        drop(std::net::TcpStream::connect(&address).unwrap());
    }
    assert_eq!(front_end.beat("any bytes").await, "any bytes");
    front_end.finish().await;
}

#[tokio::test]
async fn an_error_aborts_what_was_queued_behind_it_and_nothing_later() {
    let mut front_end = StrictFrontEnd::start().await;
    let failing = front_end.execute("%nonsense").await;
    let queued = front_end.execute("%lsmagic").await;
    assert_eq!(front_end.expect_answer(&failing).await.status(), "error");
    // A cell that is aborted is not published, and its reply has no execution count.
    front_end.expect_busy(&queued).await;
    assert_eq!(front_end.expect_reply(&queued).await, json!({ "status": "aborted" }));
    front_end.expect_idle(&queued).await;
    assert_eq!(front_end.run("%lsmagic").await.status(), "ok", "sent after the reply: it must run");

    let mut go_on = cell("%nonsense");
    go_on["stop_on_error"] = json!(false);
    let failing = front_end.send("execute_request", go_on).await;
    let queued = front_end.execute("%lsmagic").await;
    assert_eq!(front_end.expect_answer(&failing).await.status(), "error");
    assert_eq!(front_end.expect_answer(&queued).await.status(), "ok");
    front_end.finish().await;
}

#[tokio::test]
async fn the_shutdown_reply_arrives_and_the_process_ends() {
    for restart in [false, true, false, true, false] {
        let mut front_end = StrictFrontEnd::start().await;
        let answer = front_end.control("shutdown_request", json!({ "restart": restart })).await;
        assert_eq!(answer.reply, json!({ "status": "ok", "restart": restart }));
        // Jupyter kills a kernel that has not ended after 5 s.
        let succeeded = || front_end.process().try_wait().unwrap().is_some_and(|status| status.success());
        assert!(eventually(Duration::from_secs(5), succeeded).await, "the kernel still runs");
        front_end.finish_after_shutdown();
    }
}

#[tokio::test]
async fn a_comm_that_nobody_serves_is_closed() {
    let mut front_end = StrictFrontEnd::start().await;
    let open = json!({ "comm_id": "c1", "target_name": "nobody", "data": {} });
    let opened = front_end.send("comm_open", open).await;
    front_end.expect_busy(&opened).await;
    assert_eq!(front_end.expect_published(&opened, "comm_close").await.content["comm_id"], "c1");
    front_end.expect_idle(&opened).await;
    assert_eq!(front_end.request("comm_info_request", json!({})).await.reply["comms"], json!({}));
    front_end.finish().await;
}

#[tokio::test]
async fn history_honours_its_limits() {
    let mut front_end = StrictFrontEnd::start().await;
    for code in ["%lsmagic", "%sweep?", "%study?"] {
        front_end.run_ok(code).await;
    }
    let mut silent = cell("%lsmagic");
    silent["silent"] = json!(true);
    front_end.request("execute_request", silent).await;
    let tail = json!({ "hist_access_type": "tail", "n": 2, "raw": true, "output": false });
    let history = front_end.request("history_request", tail).await.reply["history"].clone();
    assert_eq!(history, json!([[1, 2, "%sweep?"], [1, 3, "%study?"]]));
    let search = json!({ "hist_access_type": "search", "pattern": "%s*", "n": 1, "output": true });
    let history = front_end.request("history_request", search).await.reply["history"].clone();
    assert_eq!(history, json!([[1, 3, ["%study?", null]]]));
    front_end.finish().await;
}

#[tokio::test]
async fn requests_are_answered_while_a_cell_runs() {
    let mut front_end = StrictFrontEnd::start().await;
    front_end.run_ok("let numbers = vec![1, 2, 3];").await;
    // The first question waits until the standard library is read.
    front_end.request("complete_request", json!({ "code": "numbers.i", "cursor_pos": 9 })).await;
    let in_shell = "!until [ -e answered ]; do sleep 0.01; done";
    let in_rust = "while !std::path::Path::new(\"answered\").exists() { \
                   std::thread::sleep(std::time::Duration::from_millis(5)) }";
    for (count, busy) in [(2, in_shell), (3, in_rust)] {
        // The cell ends only after everything was answered.
        let running = front_end.execute(busy).await;
        front_end.expect_busy(&running).await;
        front_end.expect_input(&running, count).await;
        let mut asked = async |kind: &str, content: Value| {
            let request = front_end.send(kind, content).await;
            front_end.expect_busy(&request).await;
            let reply = front_end.expect_reply(&request).await;
            front_end.expect_idle(&request).await;
            // Front ends show the status that came last, so the kernel says again that the cell runs.
            front_end.expect_busy(&running).await;
            reply
        };
        let found = asked("complete_request", json!({ "code": "%iso", "cursor_pos": 4 })).await;
        assert_eq!(found["matches"], json!(["%isolate"]));
        let found = asked("complete_request", json!({ "code": "numbers.is_e", "cursor_pos": 12 })).await;
        assert_eq!(found["matches"][0], "is_empty", "{found}");
        assert_eq!(found["metadata"]["_jupyter_types_experimental"][0]["type"], "function", "{found}");
        let found = asked("inspect_request", json!({ "code": "numbers.is_empty", "cursor_pos": 16 })).await;
        assert!(found["data"]["text/markdown"].as_str().unwrap_or("").contains("is_empty"), "{found}");
        let answered = front_end.folder().join("answered");
        std::fs::write(&answered, "").unwrap();
        assert_eq!(front_end.expect_reply(&running).await["status"], "ok");
        front_end.expect_idle(&running).await;
        std::fs::remove_file(&answered).unwrap();
    }
    front_end.finish().await;
}

#[tokio::test]
async fn commands_of_the_shell_stream_fail_and_end() {
    let (mut kernel, folder) = kernel().await;
    let answer = kernel.run_ok("!echo out; echo err >&2; printf part").await;
    assert_eq!(answer.text("stdout"), "out\nerr\npart");
    assert!(kernel.run_error("!exit 3").await.contains("exit status 3"));
    kernel.run_ok("%%writefile numbers.txt\n1\n2\n").await;
    assert_eq!(std::fs::read_to_string(folder.path().join("numbers.txt")).unwrap(), "1\n2\n");
    let answer = kernel.run_ok("%%bash\nwhile read n; do echo $((n * 2)); done < numbers.txt").await;
    assert_eq!(answer.text("stdout"), "2\n4\n");

    // A process in the background holds up no cell and does not outlive the kernel.
    let pid = kernel.run_ok("!sleep 300 & echo $!").await.text("stdout").trim().to_string();
    // An interrupt ends all that a command started.
    let id = kernel.send("execute_request", cell("%%bash\nsleep 300 & echo $! > pid\nwait")).await;
    let written = || std::fs::read_to_string(folder.path().join("pid")).unwrap_or_default();
    assert!(eventually(PATIENCE, || written().ends_with('\n')).await, "the command has started");
    kernel.control("interrupt_request", json!({})).await;
    assert_eq!(kernel.answer(&id).await.reply["ename"], "Interrupted");
    let alive = |pid: &str| {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
    };
    assert!(!alive(&written()) && alive(&pid));
    kernel.control("shutdown_request", json!({ "restart": false })).await;
    assert!(eventually(Duration::from_secs(10), || !alive(&pid)).await, "{pid} is left");
}

#[tokio::test]
async fn completeness_tells_consoles_when_to_run() {
    let mut front_end = StrictFrontEnd::start().await;
    let cases = [
        ("let x = 1;", "complete"),
        ("fn f() {", "incomplete"),
        ("f(]", "invalid"),
        ("%isolate depth lr", "complete"),
        ("%%sweep depth\nworkload digits_mlp", "incomplete"),
        ("%%sweep depth\nworkload digits_mlp\n\n", "complete"),
    ];
    for (code, status) in cases {
        let answer = front_end.request("is_complete_request", json!({ "code": code })).await;
        assert_eq!(answer.status(), status, "{code}");
    }
    front_end.finish().await;
}

/// One kernel serves all of these cells, because creating the engine takes seconds.
#[tokio::test]
async fn rust_cells_behave() {
    let mut front_end = StrictFrontEnd::start().await;
    front_end.run_ok("let x: i32 = 40;\nfn twice(n: i32) -> i32 { n * 2 }").await;

    // All that a cell prints comes before its end.
    let answer = front_end.run_ok("println!(\"out\"); eprintln!(\"err\");").await;
    assert_eq!((answer.text("stdout").as_str(), answer.text("stderr").as_str()), ("out\n", "err\n"));

    // Half a line that is flushed does not hang the kernel.
    let code = "use std::io::Write; print!(\"half\"); std::io::stdout().flush().unwrap();";
    assert_eq!(front_end.run_ok(code).await.text("stdout").trim_end(), "half");

    // A panic and a failed `?` are errors, and cost no variable.
    let error = front_end.run_error("panic!(\"oh no\")").await;
    assert!(error.starts_with("Panic: oh no"), "{error}");
    let error = front_end.run_error("std::fs::read_to_string(\"/nonexistent\")?;").await;
    assert!(error.contains("No such file"), "{error}");
    assert_eq!(front_end.run_ok("x + 2").await.value(), "42");

    // A compile error shows the line of the cell and underlines, also behind a magic.
    let error = front_end.run_error("%lsmagic\nlet y: i32 = \"text\";").await;
    assert!(error.contains("E0308") && error.contains("2 │ let y"), "{error}");
    let error = front_end.run_error("let ö: i32 = \"text\";").await;
    assert!(error.contains("mismatched types"), "source that is not ASCII: {error}");

    // Nothing of a cell runs when one of its magics has a mistake.
    let answer = front_end.run("println!(\"ran\");\n%isolat depth lr").await;
    let error = answer.error();
    assert!(error.contains("UnknownMagic") && error.contains("did you mean `isolate`"), "{error}");
    assert_eq!(answer.text("stdout"), "");

    // User expressions.
    let mut with_expressions = cell("let z = 1;");
    with_expressions["user_expressions"] = json!({ "good": "twice(4)", "bad": "nope" });
    let reply = front_end.request("execute_request", with_expressions).await.reply;
    assert_eq!(reply["user_expressions"]["good"]["data"]["text/plain"], "8");
    assert_eq!(reply["user_expressions"]["bad"]["status"], "error");

    // The end of the process is an error that costs nothing; the next cell runs.
    let error = front_end.run_error("std::process::exit(3)").await;
    assert!(error.contains("exit status: 3") && error.contains("as it was before"), "{error}");
    assert_eq!(front_end.run_ok("twice(21)").await.value(), "42");

    // `:quit` ends nothing.
    assert!(front_end.run_error(":quit").await.contains("NotAvailable"));

    // An interrupt ends an endless cell.
    let endless = front_end.execute("println!(\"running\"); loop { std::hint::spin_loop() }").await;
    front_end.expect_busy(&endless).await;
    front_end.expect_published(&endless, "execute_input").await;
    front_end.expect_stream(&endless, "stdout", "running\n").await;
    let started = Instant::now();
    let interrupt = front_end.send_on_control("interrupt_request", json!({})).await;
    let [interrupted, ended] = front_end.expect_answers([&interrupt, &endless]).await;
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    assert_eq!((interrupted.status(), &ended.reply["ename"]), ("ok", &json!("Interrupted")), "{ended:#?}");
    front_end.run_ok("twice(1)").await;

    // Rust completion and hover.
    let code = "let text = String::new();\ntext.is_emp";
    let request = json!({ "code": code, "cursor_pos": code.len() });
    let reply = front_end.request("complete_request", request).await.reply;
    assert_eq!(reply["matches"], json!(["is_empty"]));
    assert_eq!((reply["cursor_start"].as_u64(), reply["cursor_end"].as_u64()), (Some(31), Some(37)));
    // Positions count characters: the magic and the umlaut before do not shift them.
    let code = "%lsmagic\nlet ä = String::new();\nä.is_emp";
    let cursor = code.chars().count();
    let reply = front_end.request("complete_request", json!({ "code": code, "cursor_pos": cursor })).await.reply;
    assert_eq!((reply["matches"].clone(), reply["cursor_end"].as_u64()), (json!(["is_empty"]), Some(cursor as u64)));
    front_end.finish().await;
}

#[tokio::test]
async fn a_cell_that_is_interrupted_while_the_engine_is_created_does_not_cost_the_engine() {
    let mut front_end = StrictFrontEnd::start().await;
    let request = front_end.execute("println!(\"it ran\");").await;
    front_end.expect_busy(&request).await;
    front_end.expect_input(&request, 1).await;
    let interrupt = front_end.send_on_control("interrupt_request", json!({})).await;
    let [_, ended] = front_end.expect_answers([&interrupt, &request]).await;
    assert_eq!(ended.reply["ename"], "Interrupted", "{ended:#?}");
    assert_eq!(ended.text("stdout"), "");
    let next = front_end.run_ok("println!(\"the next one\");").await;
    assert_eq!(next.text("stdout"), "the next one\n");
    front_end.finish().await;
}

#[tokio::test]
async fn a_subscriber_that_never_reads_does_not_stop_the_kernel() {
    use zeromq::{Socket, SocketRecv};
    let mut front_end = StrictFrontEnd::start().await;
    let mut idle = zeromq::SubSocket::new();
    idle.connect(&front_end.endpoint("iopub_port")).await.unwrap();
    idle.subscribe("").await.unwrap();
    // The welcome proves that it is subscribed. After that it reads no more.
    tokio::time::timeout(PATIENCE, idle.recv()).await.expect("a welcome in time").expect("a welcome");
    // A welcome goes to all subscribers.
    front_end.allow(|message| message.kind() == "iopub_welcome");
    let answer = front_end.run_ok("!seq 1 200000").await;
    assert!(answer.text("stdout").ends_with("200000\n"));
    front_end.finish().await;
}
