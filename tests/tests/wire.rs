//! The kernel under load and among peers that break the protocol: unsigned messages have no effect, nothing ends the
//! kernel, its memory stays bounded, and it answers afterwards.
//!
//! With `TUNEBOOK_SOAK=20` in the environment everything is repeated twenty times as often.

use serde_json::{Value, json};
use std::collections::HashSet;
use std::time::{Duration, Instant};
use tunebook_tests::raw::{Raw, greeting, ready};
use tunebook_tests::{KEY, Kernel, Message, cell, eventually, kernel, memory, request_frames, signed_frames};
use zeromq::{DealerSocket, Socket, SocketRecv, SocketSend, ZmqMessage};

/// The names of all ports in the connection file.
const PORTS: [&str; 5] = ["shell_port", "control_port", "iopub_port", "stdin_port", "hb_port"];
const SECOND: Duration = Duration::from_secs(1);
/// The limit for what usually happens at once. It is generous, because the machine may be busy.
const SOON: Duration = Duration::from_secs(10);

/// How often something is repeated, for a usual number of times.
fn times(count: usize) -> usize {
    count * std::env::var("TUNEBOOK_SOAK").ok().and_then(|times| times.parse().ok()).unwrap_or(1)
}

/// Checks that the kernel answers soon, on shell and on control.
async fn answers(kernel: &mut Kernel) {
    let asked = Instant::now();
    assert_eq!(kernel.request("kernel_info_request", json!({})).await.status(), "ok");
    let reply = kernel.control("kernel_info_request", json!({})).await;
    assert_eq!(reply.content["status"], "ok");
    assert!(asked.elapsed() < SOON, "the kernel took {:?} to answer", asked.elapsed());
    // Skip what these requests publish, so that the next part of the test does not find it.
    let id = reply.parent["msg_id"].clone();
    loop {
        let published = kernel.published().await;
        if published.parent["msg_id"] == id && published.content["execution_state"] == "idle" {
            return;
        }
    }
}

/// Makes the peak of the kernel's memory (`VmHWM:`) start anew.
fn forget_peak(kernel: &Kernel) {
    std::fs::write(format!("/proc/{}/clear_refs", kernel.process.id()), "5").unwrap();
}

/// The number of files and sockets that the kernel has open.
fn open_files(kernel: &Kernel) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", kernel.process.id())).unwrap().count()
}

/// The frames of a message as bytes.
fn frames(message: ZmqMessage) -> Vec<Vec<u8>> {
    message.into_vec().iter().map(|frame| frame.to_vec()).collect()
}

/// A message of these frames.
fn message(frames: Vec<Vec<u8>>) -> ZmqMessage {
    let mut frames = frames.into_iter();
    let mut message = ZmqMessage::from(frames.next().unwrap());
    frames.for_each(|frame| message.push_back(frame.into()));
    message
}

/// The request for a cell that makes the file `sprung`, signed with a key.
fn trap(key: &str) -> Vec<Vec<u8>> {
    frames(request_frames("execute_request", &cell("!touch sprung"), &json!({}), key).1)
}

/// Frames that are no valid message, in many ways. If the kernel took one of them for a message, a cell might run that
/// makes the file `sprung`.
fn no_messages() -> Vec<Vec<Vec<u8>>> {
    let mut all = vec![
        trap("another key"),
        trap(""),
        vec![b"no message at all".to_vec()],
        vec![vec![]],
        vec![vec![], vec![], vec![], vec![], vec![], vec![]],
        vec![b"<IDS|MSG>".to_vec(); 9],
    ];
    // Messages that are cut off after a frame, that have another delimiter, or whose signature is no signature.
    all.extend((1..6).map(|count| trap("another key")[..count].to_vec()));
    let changed = |at: usize, frame: &[u8]| {
        let mut frames = trap("another key");
        frames[at] = frame.to_vec();
        frames
    };
    all.extend([b"<IDS|MSG".as_slice(), b"<ids|msg>", b"", b"<IDS|MSG>\0"].map(|delimiter| changed(0, delimiter)));
    let signatures = [b"".as_slice(), b"0", b"\xff\xfe", b"+1+1", &[b'0'; 64], &[b'0'; 1 << 20]];
    all.extend(signatures.map(|signature| changed(1, signature)));
    // Messages that are signed with the right key, with a part that is no JSON object.
    let header = json!({ "msg_id": "trap", "msg_type": "execute_request", "session": "s", "username": "u",
        "date": "2026-01-01T00:00:00Z", "version": "5.5" });
    let (header, content) = (header.to_string(), cell("!touch sprung").to_string());
    let deep = "[".repeat(100_000);
    let nested = format!("{{\"code\":{}1{}}}", "[".repeat(5000), "]".repeat(5000));
    let bad = [b"".as_slice(), b"null", b"[]", b"\"text\"", b"{", b"{\"a\":1}}", b"\xff\xfe{}", b"{\"a\":\"\xc3\"}"];
    for bad in bad.into_iter().chain([b"{\"n\":1e999}".as_slice(), deep.as_bytes(), nested.as_bytes()]) {
        let whole = [header.as_bytes(), b"{}", b"{}", content.as_bytes()];
        for at in 0..4 {
            let mut parts = whole;
            parts[at] = bad;
            all.push(frames(signed_frames(parts)));
        }
    }
    all
}

#[tokio::test]
async fn what_is_no_signed_message_has_no_effect() {
    let (mut kernel, folder) = kernel().await;
    answers(&mut kernel).await;
    let mut valid_ids = vec![];
    for _ in 0..times(3) {
        for frames in no_messages() {
            kernel.send_frames(message(frames)).await;
        }
        // The same comes from other peers, and on the other channels.
        for port in ["shell_port", "control_port", "stdin_port"] {
            let mut peer = Raw::connect(&kernel.endpoint(port), "DEALER", "stranger");
            for frames in no_messages() {
                peer.send(&frames).unwrap();
            }
            if port == "stdin_port" {
                // Nothing on this channel is answered, so only waiting for a while shows that no answer comes.
                assert!(peer.receive(Duration::from_millis(100)).is_none(), "an answer on {port}");
                assert!(!peer.is_ended(Duration::from_millis(100)), "the peer was disconnected from {port}");
            } else {
                // The peer is still connected, and the first answer that it gets is the one to a valid request.
                let (id, valid) = request_frames("kernel_info_request", &json!({}), &json!({}), KEY);
                peer.send(&self::frames(valid)).unwrap();
                let answer = peer.receive(SOON).expect("an answer to the valid request");
                let parent = String::from_utf8_lossy(&answer[3]).into_owned();
                assert!(parent.contains(&id), "an answer to an invalid message on {port}: {parent}");
                valid_ids.push(id);
            }
            // A message with more frames than any valid message has ends the connection.
            let _ = peer.send(&vec![b"x"; 2000]);
            assert!(peer.is_ended(SOON), "a message of 2,000 frames on {port}");
        }
        // The front end sends a valid request behind the invalid messages: the first answer that it gets is to that.
        let asked = kernel.send("kernel_info_request", json!({})).await;
        assert!(kernel.next_reply().await.belongs_to(&asked));
        // Nothing is published but the states of the valid requests.
        valid_ids.push(asked.clone());
        let mut ended = false;
        while !ended {
            let published = kernel.published().await;
            let of_valid_request = valid_ids.iter().any(|id| published.belongs_to(id));
            assert!(published.kind() == "status" && of_valid_request, "{published:?} {}", published.parent);
            ended = published.belongs_to(&asked) && published.is_status("idle");
        }
    }
    assert!(!folder.path().join("sprung").exists());
    // A message that comes a second time has no effect either.
    let mut once = cell("!echo once >> counted");
    once["silent"] = json!(true);
    let (id, first) = request_frames("execute_request", &once, &json!({}), KEY);
    kernel.send_frames(first.clone()).await;
    kernel.send_frames(first).await;
    assert_eq!(kernel.reply(&id).await.content["status"], "ok");
    kernel.run_ok("%lsmagic").await;
    assert_eq!(std::fs::read_to_string(folder.path().join("counted")).unwrap(), "once\n");
    answers(&mut kernel).await;
}

#[tokio::test]
async fn requests_with_missing_or_wrong_fields_are_answered() {
    let (mut kernel, _folder) = kernel().await;
    let odd = [
        json!(null),
        json!(true),
        json!(-1),
        json!(1e300),
        json!(18446744073709551615u64),
        json!(""),
        json!("%"),
        json!("\0\u{fffd}é{"),
        json!([]),
        json!({ "a": [] }),
        json!("r#\"'\\/*"),
    ];
    let kinds = [
        "is_complete_request",
        "complete_request",
        "inspect_request",
        "history_request",
        "comm_info_request",
        "connect_request",
        "interrupt_request",
        "kernel_info_request",
        "no_such_request",
        "execute_reply",
        "",
    ];
    let fields = ["code", "cursor_pos", "hist_access_type", "pattern", "n", "session", "start", "stop", "silent"];
    for kind in kinds {
        let mut contents = vec![json!({})];
        for value in &odd {
            contents.push(Value::Object(fields.iter().map(|field| (field.to_string(), value.clone())).collect()));
            contents
                .push(json!({ "code": value, "cursor_pos": 1, "hist_access_type": "search", "pattern": "*a*a*a*b" }));
        }
        for content in contents {
            let answer = kernel.request(kind, content.clone()).await;
            assert!(!answer.status().is_empty(), "{kind} {content}: {answer:?}");
            let states = |m: &&Message| m.kind() == "status";
            assert_eq!(answer.published.iter().filter(states).count(), 2, "busy and idle: {answer:?}");
        }
    }
    // A cell runs with its code alone, and with fields of the wrong type.
    assert_eq!(kernel.request("execute_request", json!({ "code": "%lsmagic" })).await.status(), "ok");
    for value in &odd {
        let content = json!({ "code": "%lsmagic", "silent": value, "store_history": value, "user_expressions": value,
            "allow_stdin": value, "stop_on_error": value });
        let content = if value.is_object() { json!({ "code": "%lsmagic" }) } else { content };
        assert_eq!(kernel.request("execute_request", content).await.status(), "ok", "{value}");
    }
    // Every cursor position in a cell with magics, shell commands, strings and characters of several bytes.
    let code = "%sweep ä\nlet 𝄞 = \"é\";\n!ls\n𝄞.";
    for position in 0..code.chars().count() + 3 {
        for kind in ["complete_request", "inspect_request"] {
            let answer = kernel.request(kind, json!({ "code": code, "cursor_pos": position })).await;
            assert_eq!(answer.status(), "ok", "{kind} at {position}");
        }
    }
    // A message with an empty header is still a message.
    kernel.send_frames(signed_frames([b"{}", b"{}", b"{}", b"{}"])).await;
    assert_eq!(kernel.next_reply().await.content["status"], "error");
    answers(&mut kernel).await;
}

#[tokio::test]
async fn ten_thousand_requests_in_flight_are_each_answered_once() {
    let (mut kernel, _folder) = kernel().await;
    answers(&mut kernel).await;
    let count = times(5_000);
    let mut listener = kernel.listener().await;
    let idle = tokio::spawn(async move {
        let mut idle = 0;
        while idle < 2 * count {
            let message = Message::read(listener.recv().await.unwrap());
            idle += usize::from(message.content["execution_state"] == "idle");
        }
    });
    let mut nothing = cell("");
    nothing["silent"] = json!(true);
    let mut waiting = HashSet::new();
    for i in 0..count {
        waiting.insert(kernel.send("execute_request", nothing.clone()).await);
        waiting.insert(kernel.send("kernel_info_request", json!({})).await);
        // The front end reads while it sends, as real front ends do.
        if i % 50 == 0 {
            while let Ok(message) = tokio::time::timeout(Duration::from_micros(1), kernel.published()).await {
                assert_ne!(message.kind(), "error");
            }
        }
    }
    while !waiting.is_empty() {
        let reply = kernel.next_reply().await;
        assert_eq!(reply.content["status"], "ok");
        let id = reply.parent["msg_id"].as_str().unwrap();
        assert!(waiting.remove(id), "a second answer to {id}");
    }
    tokio::time::timeout(Duration::from_secs(60), idle).await.expect("all idle").unwrap();
    answers(&mut kernel).await;
}

#[tokio::test]
async fn a_peer_that_does_not_read_costs_bounded_memory_and_no_other_peer_a_message() {
    let (mut kernel, _folder) = kernel().await;
    // The engine of Rust cells and the analysis of code take their memory first.
    kernel.quiet().await;
    let before = memory(kernel.process.id(), "VmRSS:");
    forget_peak(&kernel);
    let mut stuck: Vec<Raw> = (0..3).map(|_| Raw::connect(&kernel.endpoint("iopub_port"), "SUB", "")).collect();
    for peer in &mut stuck {
        peer.send(&[b"\x01"]).unwrap();
        peer.receive(SOON).expect("a welcome");
    }
    // One peer sends many requests and reads no answer; another does the same at the heartbeat. The front end reads
    // meanwhile, or else it would be a peer that does not read.
    let mut asking = Raw::connect(&kernel.endpoint("shell_port"), "DEALER", "deaf");
    let mut beating = Raw::connect(&kernel.endpoint("hb_port"), "DEALER", "");
    let flood = std::thread::spawn(move || {
        asking.stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
        for _ in 0..times(30_000) {
            let (_, request) = request_frames("kernel_info_request", &json!({}), &json!({}), KEY);
            if asking.send(&frames(request)).is_err() {
                break;
            }
        }
        beating.stream.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
        for _ in 0..1000 {
            if beating.send(&[b"".as_slice(), &[7; 50_000]]).is_err() {
                break;
            }
        }
        (asking, beating)
    });
    while !flood.is_finished() {
        let _ = tokio::time::timeout(Duration::from_millis(10), kernel.published()).await;
    }
    // The connections stay open to the end of the test.
    let _flood = flood.join().unwrap();
    answers(&mut kernel).await;
    let asked = Instant::now();
    assert_eq!(kernel.beat("any bytes").await, "any bytes");
    assert!(asked.elapsed() < SOON, "a beat took {:?}", asked.elapsed());
    // A beat that is too long is dropped, and its peer stays connected.
    let mut large = Raw::connect(&kernel.endpoint("hb_port"), "DEALER", "");
    large.send(&[b"".as_slice(), &[7; 70_000]]).unwrap();
    large.send(&[b"".as_slice(), b"a beat"]).unwrap();
    assert_eq!(large.receive(SOON).expect("a beat")[1], b"a beat");
    println!("after the flood: {} MiB", memory(kernel.process.id(), "VmHWM:").saturating_sub(before) >> 20);
    let bytes = times(150_000_000);
    let started = Instant::now();
    let answer = kernel.run_ok(&format!("!yes 0123456789 | head -c {bytes}")).await;
    assert_eq!(answer.text("stdout").len(), bytes, "the peer that reads misses nothing");
    println!("{bytes} bytes in {:?}", started.elapsed());
    let more = memory(kernel.process.id(), "VmHWM:").saturating_sub(before);
    println!("peak memory: {} MiB more than the {} MiB before", more >> 20, before >> 20);
    assert!(more < 96 << 20, "{more} bytes more");
    drop(answer);
    answers(&mut kernel).await;
    // A peer that reads again has missed messages. But from now on it gets every message, in order.
    let idle = "{\"execution_state\":\"idle\"}";
    for peer in &mut stuck {
        let mut total = 0;
        while let Some(frames) = peer.receive(Duration::from_millis(500)) {
            total += frames.iter().map(Vec::len).sum::<usize>();
        }
        assert!(total < bytes / 2, "{total} bytes waited for one that did not read");
    }
    let answer = kernel.run_ok("!echo again").await;
    let id = answer.published[0].parent["msg_id"].as_str().unwrap();
    for peer in &mut stuck {
        let mut texts = vec![];
        while texts.last().is_none_or(|text| text != idle) {
            let frames = peer.receive(SOON).expect("a message of the cell");
            if String::from_utf8_lossy(&frames[4]).contains(id) {
                texts.push(String::from_utf8_lossy(&frames[6]).into_owned());
            }
        }
        assert_eq!(texts[0], "{\"execution_state\":\"busy\"}");
        assert!(texts.iter().any(|text| text.contains("again\\n")), "{texts:?}");
        assert_eq!(texts.len(), answer.published.len(), "{texts:?}");
    }
}

#[tokio::test]
async fn peers_that_vanish_or_break_the_protocol_leave_nothing_behind() {
    let (mut kernel, _folder) = kernel().await;
    answers(&mut kernel).await;
    let before = open_files(&kernel);
    let hello = [greeting(), ready("DEALER", "x")].concat();
    for round in 0..times(40) {
        for port in PORTS {
            let endpoint = kernel.endpoint(port);
            let cut = (round * 7) % hello.len();
            Raw::silent(&endpoint).write(&hello[..cut]).unwrap();
            let mut browser = Raw::silent(&endpoint);
            // The text is longer than a greeting, or else the kernel would wait for the rest of one.
            let _ = browser
                .write(b"GET /lab HTTP/1.1\r\nHost: localhost\r\nUser-Agent: a browser\r\nAccept: text/html\r\n\r\n");
            if round == 0 {
                assert!(browser.is_ended(SOON), "HTTP on {port}");
            }
            let noise: Vec<u8> = (0..500u32).map(|i| (i.wrapping_mul(2654435761) >> (round % 24)) as u8).collect();
            let _ = Raw::silent(&endpoint).write(&noise);
        }
        // A peer vanishes in the middle of a message, another one behind a request, while its cell runs.
        let request = trap("another key");
        let mut peer = Raw::connect(&kernel.endpoint("shell_port"), "DEALER", "");
        peer.write(&tunebook_tests::raw::message(&request)[..(round * 13) % 300]).unwrap();
        let mut peer = Raw::connect(&kernel.endpoint("shell_port"), "DEALER", "");
        let (_, request) = request_frames("execute_request", &cell("!echo gone"), &json!({}), KEY);
        peer.send(&frames(request)).unwrap();
    }
    // Frames are announced that no machine can hold, and do not come.
    for length in [1u64 << 29, 1 << 40, 1 << 46, 1 << 62, u64::MAX] {
        for (port, kind) in PORTS.into_iter().zip(["DEALER", "DEALER", "SUB", "DEALER", "REQ"]) {
            let mut peer = Raw::connect(&kernel.endpoint(port), kind, "");
            peer.write(&[&[2], length.to_be_bytes().as_slice()].concat()).unwrap();
            assert!(peer.is_ended(SOON), "{length} bytes were announced on {port}");
        }
    }
    // A message has more and more frames.
    let mut peer = Raw::connect(&kernel.endpoint("shell_port"), "DEALER", "");
    while peer.write(&[1, 0].repeat(5000)).is_ok() {}
    // A message that is merely large is accepted.
    let large = format!("/*{}*/ 1", "x".repeat(20 << 20));
    assert_eq!(kernel.request("is_complete_request", json!({ "code": large })).await.status(), "complete");
    answers(&mut kernel).await;
    let closed = eventually(Duration::from_secs(15), || open_files(&kernel) <= before + 60).await;
    assert!(closed, "{before} files were open, now {}", open_files(&kernel));
}

#[tokio::test]
async fn connections_that_come_again_or_are_silent_do_not_shut_others_out() {
    let (mut kernel, _folder) = kernel().await;
    kernel.quiet().await;
    let shell = kernel.endpoint("shell_port");
    // One front end loses its connection again and again and comes back with the same identity.
    let mut last = None;
    for _ in 0..times(300) {
        let mut peer = Raw::connect(&shell, "DEALER", "the same");
        let (_, request) = request_frames("kernel_info_request", &json!({}), &json!({}), KEY);
        peer.send(&frames(request)).unwrap();
        assert!(peer.receive(SOON).is_some(), "no answer to the newest connection");
        if let Some(mut earlier) = last.replace(peer) {
            assert!(earlier.is_ended(SOON), "two connections of one identity");
        }
    }
    // Several front ends come and go at the same time.
    let storm: Vec<_> = (0..4)
        .map(|i| {
            let shell = shell.clone();
            std::thread::spawn(move || {
                for _ in 0..times(60) {
                    let mut peer = Raw::connect(&shell, "DEALER", &format!("peer {i}"));
                    let (_, request) = request_frames("kernel_info_request", &json!({}), &json!({}), KEY);
                    peer.send(&frames(request)).unwrap();
                    assert!(peer.receive(SOON).is_some(), "no answer");
                }
            })
        })
        .collect();
    storm.into_iter().for_each(|thread| thread.join().unwrap());
    // Many peers connect to every port and are silent.
    let mut silent = vec![];
    for port in PORTS {
        silent.extend((0..150).map(|_| Raw::silent(&kernel.endpoint(port))));
    }
    // The kernel greets each peer when it has accepted the connection.
    for peer in &mut silent {
        assert!(peer.read(64, SOON).is_some(), "a silent peer is not greeted");
    }
    // Processor use is measured over an interval, so some time must pass.
    let used = kernel.processor_seconds();
    tokio::time::sleep(SECOND).await;
    let used = kernel.processor_seconds() - used;
    assert!(used < 0.3, "silent connections cost {used} seconds of a processor each second");
    let mut front_end = DealerSocket::new();
    front_end.connect(&shell).await.unwrap();
    let (_, request) = request_frames("kernel_info_request", &json!({}), &json!({}), KEY);
    front_end.send(request).await.unwrap();
    tokio::time::timeout(SOON, front_end.recv()).await.expect("a new front end is served").unwrap();
    assert_eq!(kernel.beat("any bytes").await, "any bytes");
    kernel.run_ok("!echo fine").await;
    answers(&mut kernel).await;
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_requests_in_the_queue() {
    let (mut kernel, _folder) = kernel().await;
    // Each of these requests waits until the engine is created.
    for i in 0..2000 {
        let code = format!("let a{i} = String::new();\na{i}.is_emp");
        kernel.send("complete_request", json!({ "code": code, "cursor_pos": code.len() })).await;
    }
    answers_on_control(&mut kernel).await;
    let asked = Instant::now();
    kernel.control("shutdown_request", json!({ "restart": false })).await;
    let ended = eventually(SOON, || kernel.process.try_wait().unwrap().is_some()).await;
    assert!(ended, "the kernel still runs after {:?}", asked.elapsed());
}

/// Checks that the kernel answers soon on control, whatever waits on shell.
async fn answers_on_control(kernel: &mut Kernel) {
    let asked = Instant::now();
    kernel.control("kernel_info_request", json!({})).await;
    assert!(asked.elapsed() < SOON, "the kernel took {:?} to answer", asked.elapsed());
}
