//! The kernel over its sockets: Jupyter's protocol, and every trap of it that we know of, by name.

use serde_json::json;
use std::io::Write;
use std::time::{Duration, Instant};
use tunebook_tests::{Kernel, cell, request_frames};

async fn kernel() -> (Kernel, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (Kernel::start(folder.path()).await, folder)
}

#[tokio::test]
async fn kernel_info_is_answered_and_magics_run_before_the_engine_of_rust_cells_is_there() {
    let (mut kernel, _folder) = kernel().await;
    let info = kernel.request("kernel_info_request", json!({})).await;
    assert_eq!(info.reply["language_info"]["name"], "rust");
    assert_eq!(info.reply["implementation"], "tunebook");
    assert_eq!(info.reply["supported_features"], json!([]));
    let answer = kernel.run_ok("%lsmagic").await;
    assert!(answer.first("display_data").content["data"]["text/plain"].as_str().unwrap().contains("%%sweep"));
}

#[tokio::test]
async fn a_request_that_lacks_fields_gets_a_reply() {
    let (mut kernel, _folder) = kernel().await;
    let answer = kernel.request("execute_request", json!({ "code": "%lsmagic" })).await;
    assert_eq!(answer.status(), "ok");
    assert_eq!(answer.reply["execution_count"], 1, "counting starts at 1");
    assert_eq!(answer.reply["user_expressions"], json!({}), "an object, not null");
    for kind in ["is_complete_request", "complete_request", "inspect_request", "history_request", "comm_info_request"] {
        let reply = kernel.request(kind, json!({})).await.reply;
        assert!(reply["status"].is_string() && reply["status"] != "error", "{kind}: {reply}");
    }
    assert_eq!(kernel.request("nonsense_request", json!({})).await.status(), "error");
}

#[tokio::test]
async fn results_have_an_object_for_transient_and_topics_name_the_kind() {
    let (mut kernel, _folder) = kernel().await;
    let answer = kernel.run_ok("6 * 7").await;
    let result = answer.first("execute_result");
    assert_eq!(result.content["data"]["text/plain"], "42");
    assert!(result.content["transient"].is_object());
    let topic = String::from_utf8(result.identities[0].clone()).unwrap();
    assert!(topic.starts_with("kernel.") && topic.ends_with(".execute_result"), "{topic}");
}

#[tokio::test]
async fn garbage_bad_signatures_and_vanishing_peers_do_not_stop_the_kernel() {
    let (mut kernel, _folder) = kernel().await;
    let address = kernel.endpoint("shell_port").replace("tcp://", "");
    for _ in 0..20 {
        let mut peer = std::net::TcpStream::connect(&address).unwrap();
        peer.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    }
    let (_, forged) = request_frames("execute_request", &cell("1"), &json!({}), "another key");
    kernel.send_frames(forged).await;
    kernel.send_frames("no message at all".into()).await;
    let mut torn = zeromq::ZmqMessage::from("<IDS|MSG>");
    torn.push_back("no signature".into());
    kernel.send_frames(torn).await;
    assert_eq!(kernel.request("kernel_info_request", json!({})).await.status(), "ok");
}

#[tokio::test]
async fn the_heartbeat_echoes_what_it_gets_also_after_peers_vanished() {
    let (kernel, _folder) = kernel().await;
    let address = kernel.endpoint("hb_port").replace("tcp://", "");
    for _ in 0..50 {
        drop(std::net::TcpStream::connect(&address).unwrap());
    }
    assert_eq!(kernel.beat("any bytes").await, "any bytes");
}

#[tokio::test]
async fn an_error_aborts_what_was_queued_behind_it_and_nothing_later() {
    let (mut kernel, _folder) = kernel().await;
    let failing = kernel.send("execute_request", cell("%nonsense")).await;
    let queued = kernel.send("execute_request", cell("%lsmagic")).await;
    assert_eq!(kernel.reply(&failing).await.content["status"], "error");
    assert_eq!(kernel.reply(&queued).await.content["status"], "aborted");
    assert_eq!(kernel.run("%lsmagic").await.status(), "ok", "sent after the reply: it must run");

    let mut go_on = cell("%nonsense");
    go_on["stop_on_error"] = json!(false);
    let failing = kernel.send("execute_request", go_on).await;
    let queued = kernel.send("execute_request", cell("%lsmagic")).await;
    assert_eq!(kernel.reply(&failing).await.content["status"], "error");
    assert_eq!(kernel.reply(&queued).await.content["status"], "ok");
}

#[tokio::test]
async fn the_shutdown_reply_arrives_and_the_process_ends() {
    for restart in [false, true, false, true, false] {
        let (mut kernel, _folder) = kernel().await;
        let started = Instant::now();
        let reply = kernel.control("shutdown_request", json!({ "restart": restart })).await;
        assert_eq!(reply.content, json!({ "status": "ok", "restart": restart }));
        let mut ended = false;
        while started.elapsed() < Duration::from_secs(3) && !ended {
            ended = kernel.process.try_wait().unwrap().is_some_and(|status| status.success());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(ended, "the kernel still runs after {:?}", started.elapsed());
    }
}

#[tokio::test]
async fn a_comm_that_nobody_serves_is_closed() {
    let (mut kernel, _folder) = kernel().await;
    kernel.send("comm_open", json!({ "comm_id": "c1", "target_name": "nobody", "data": {} })).await;
    assert_eq!(kernel.published_of_kind("comm_close").await.content["comm_id"], "c1");
    assert_eq!(kernel.request("comm_info_request", json!({})).await.reply["comms"], json!({}));
}

#[tokio::test]
async fn history_honours_its_limits() {
    let (mut kernel, _folder) = kernel().await;
    for code in ["%lsmagic", "%sweep?", "%study?"] {
        kernel.run_ok(code).await;
    }
    let mut silent = cell("%lsmagic");
    silent["silent"] = json!(true);
    let silent = kernel.request("execute_request", silent).await;
    assert!(silent.published.iter().all(|m| m.kind() == "status"), "a silent cell shows nothing");
    let tail = json!({ "hist_access_type": "tail", "n": 2, "raw": true, "output": false });
    let history = kernel.request("history_request", tail).await.reply["history"].clone();
    assert_eq!(history, json!([[1, 2, "%sweep?"], [1, 3, "%study?"]]));
    let search = json!({ "hist_access_type": "search", "pattern": "%s*", "n": 1, "output": true });
    let history = kernel.request("history_request", search).await.reply["history"].clone();
    assert_eq!(history, json!([[1, 3, ["%study?", null]]]));
}

#[tokio::test]
async fn requests_are_answered_while_a_cell_runs() {
    let (mut kernel, _folder) = kernel().await;
    kernel.run_ok("let numbers = vec![1, 2, 3];").await;
    // The first question waits until the standard library is read.
    kernel.request("complete_request", json!({ "code": "numbers.i", "cursor_pos": 9 })).await;
    for busy in ["!sleep 2", "std::thread::sleep(std::time::Duration::from_secs(2));"] {
        let running = kernel.send("execute_request", cell(busy)).await;
        kernel.published_of_kind("execute_input").await;
        let started = Instant::now();
        let id = kernel.send("complete_request", json!({ "code": "%iso", "cursor_pos": 4 })).await;
        assert_eq!(kernel.reply(&id).await.content["matches"], json!(["%isolate"]));
        let id = kernel.send("complete_request", json!({ "code": "numbers.is_e", "cursor_pos": 12 })).await;
        let found = kernel.reply(&id).await.content;
        assert_eq!(found["matches"][0], "is_empty", "{found}");
        assert_eq!(found["metadata"]["_jupyter_types_experimental"][0]["type"], "function", "{found}");
        let id = kernel.send("inspect_request", json!({ "code": "numbers.is_empty", "cursor_pos": 16 })).await;
        let found = kernel.reply(&id).await.content;
        assert!(found["data"]["text/markdown"].as_str().unwrap_or("").contains("is_empty"), "{found}");
        assert!(started.elapsed() < Duration::from_millis(1900), "{:?}", started.elapsed());
        assert_eq!(kernel.reply(&running).await.content["status"], "ok");
    }
}

#[tokio::test]
async fn commands_of_the_shell_stream_fail_and_end() {
    let (mut kernel, folder) = kernel().await;
    let answer = kernel.run_ok("!echo out; echo err >&2; printf part").await;
    assert_eq!((answer.text("stdout").as_str(), answer.text("stderr").as_str()), ("out\npart", "err\n"));
    assert!(kernel.run_error("!exit 3").await.contains("exit status 3"));
    kernel.run_ok("%%writefile numbers.txt\n1\n2\n").await;
    assert_eq!(std::fs::read_to_string(folder.path().join("numbers.txt")).unwrap(), "1\n2\n");
    let answer = kernel.run_ok("%%bash\nwhile read n; do echo $((n * 2)); done < numbers.txt").await;
    assert_eq!(answer.text("stdout"), "2\n4\n");

    // A process in the background holds up no cell and does not outlive the kernel.
    let pid = kernel.run_ok("!sleep 300 & echo $!").await.text("stdout").trim().to_string();
    // An interrupt ends all that a command started.
    let id = kernel.send("execute_request", cell("%%bash\nsleep 300 & echo $! > pid\nwait")).await;
    let file = folder.path().join("pid");
    while std::fs::read_to_string(&file).unwrap_or_default().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    kernel.control("interrupt_request", json!({})).await;
    assert_eq!(kernel.answer(&id).await.reply["ename"], "Interrupted");
    let alive = |pid: &str| {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
    };
    assert!(!alive(&std::fs::read_to_string(&file).unwrap()) && alive(&pid));
    kernel.control("shutdown_request", json!({ "restart": false })).await;
    let deadline = Instant::now() + Duration::from_secs(10);
    while alive(&pid) && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(!alive(&pid), "{pid} is left");
}

#[tokio::test]
async fn completeness_tells_consoles_when_to_run() {
    let (mut kernel, _folder) = kernel().await;
    let cases = [
        ("let x = 1;", "complete"),
        ("fn f() {", "incomplete"),
        ("f(]", "invalid"),
        ("%isolate depth lr", "complete"),
        ("%%sweep depth\nworkload digits_mlp", "incomplete"),
        ("%%sweep depth\nworkload digits_mlp\n\n", "complete"),
    ];
    for (code, status) in cases {
        assert_eq!(kernel.request("is_complete_request", json!({ "code": code })).await.status(), status, "{code}");
    }
}

/// Rust cells: one kernel, since creating the engine takes seconds.
#[tokio::test]
async fn rust_cells_behave() {
    let (mut kernel, _folder) = kernel().await;
    kernel.run_ok("let x: i32 = 40;\nfn twice(n: i32) -> i32 { n * 2 }").await;

    // Streams, in order with the end of the cell.
    let answer = kernel.run_ok("println!(\"out\"); eprintln!(\"err\");").await;
    assert_eq!((answer.text("stdout").as_str(), answer.text("stderr").as_str()), ("out\n", "err\n"));

    // A line that is flushed by half does not hang the kernel.
    let code = "use std::io::Write; print!(\"half\"); std::io::stdout().flush().unwrap();";
    assert_eq!(kernel.run_ok(code).await.text("stdout").trim_end(), "half");

    // A panic and a failed `?` are errors, and cost no variable.
    let error = kernel.run_error("panic!(\"oh no\")").await;
    assert!(error.starts_with("Panic: oh no"), "{error}");
    let error = kernel.run_error("std::fs::read_to_string(\"/nonexistent\")?;").await;
    assert!(error.contains("No such file"), "{error}");
    assert_eq!(kernel.run_ok("x + 2").await.first("execute_result").content["data"]["text/plain"], "42");

    // A compilation error shows the line of the cell and underlines, also behind a magic.
    let error = kernel.run_error("%lsmagic\nlet y: i32 = \"text\";").await;
    assert!(error.contains("E0308") && error.contains("2 │ let y"), "{error}");
    let error = kernel.run_error("let ö: i32 = \"text\";").await;
    assert!(error.contains("mismatched types"), "source that is not ASCII: {error}");

    // Nothing of a cell runs when one of its magics cannot be understood.
    let error = kernel.run_error("println!(\"ran\");\n%isolat depth lr").await;
    assert!(error.contains("UnknownMagic") && error.contains("did you mean `isolate`"), "{error}");

    // User expressions.
    let mut with_expressions = cell("let z = 1;");
    with_expressions["user_expressions"] = json!({ "good": "twice(4)", "bad": "nope" });
    let reply = kernel.request("execute_request", with_expressions).await.reply;
    assert_eq!(reply["user_expressions"]["good"]["data"]["text/plain"], "8");
    assert_eq!(reply["user_expressions"]["bad"]["status"], "error");

    // The end of the process is an error that costs nothing; the next cell runs.
    let error = kernel.run_error("std::process::exit(3)").await;
    assert!(error.contains("exit status: 3") && error.contains("as it was before"), "{error}");
    assert_eq!(kernel.run_ok("twice(21)").await.first("execute_result").content["data"]["text/plain"], "42");

    // `:quit` ends nothing.
    assert!(kernel.run_error(":quit").await.contains("NotAvailable"));

    // An interrupt ends an endless cell.
    let endless = kernel.send("execute_request", cell("loop { std::hint::spin_loop() }")).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let started = Instant::now();
    kernel.control("interrupt_request", json!({})).await;
    let answer = kernel.answer(&endless).await;
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    assert_eq!(answer.reply["ename"], "Interrupted", "{answer:#?}");
    kernel.run_ok("twice(1)").await;

    // Rust completion and hover.
    let code = "let text = String::new();\ntext.is_emp";
    let reply = kernel.request("complete_request", json!({ "code": code, "cursor_pos": code.len() })).await.reply;
    assert_eq!(reply["matches"], json!(["is_empty"]));
    assert_eq!((reply["cursor_start"].as_u64(), reply["cursor_end"].as_u64()), (Some(31), Some(37)));
    // Positions count characters: the magic and the umlaut before do not shift them.
    let code = "%lsmagic\nlet ä = String::new();\nä.is_emp";
    let cursor = code.chars().count();
    let reply = kernel.request("complete_request", json!({ "code": code, "cursor_pos": cursor })).await.reply;
    assert_eq!((reply["matches"].clone(), reply["cursor_end"].as_u64()), (json!(["is_empty"]), Some(cursor as u64)));
}

#[tokio::test]
async fn a_cell_that_is_interrupted_while_the_engine_is_created_does_not_cost_the_engine() {
    let (mut kernel, _folder) = kernel().await;
    let id = kernel.send("execute_request", cell("println!(\"it ran\");")).await;
    kernel.published_of_kind("execute_input").await;
    kernel.control("interrupt_request", json!({})).await;
    let answer = kernel.answer(&id).await;
    assert_eq!(answer.reply["ename"], "Interrupted", "{answer:#?}");
    let next = kernel.run_ok("println!(\"the next one\");").await;
    assert_eq!(next.text("stdout"), "the next one\n");
}

#[tokio::test]
async fn a_subscriber_that_never_reads_does_not_stop_the_kernel() {
    use zeromq::{Socket, SocketRecv};
    let (mut kernel, _folder) = kernel().await;
    let mut idle = zeromq::SubSocket::new();
    idle.connect(&kernel.endpoint("iopub_port")).await.unwrap();
    idle.subscribe("").await.unwrap();
    // Its welcome proves that it is subscribed; after that it reads no more.
    let _ = tokio::time::timeout(Duration::from_secs(5), idle.recv()).await;
    let answer = kernel.run_ok("!seq 1 200000").await;
    assert!(answer.text("stdout").ends_with("200000\n"));
}
