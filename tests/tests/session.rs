//! What outlives a cell, and what a front end can ask beside cells: history, comms, usage; sockets in the file system.

use serde_json::{Value, json};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use tunebook_tests::{Kernel, cell, eventually, executable};

async fn kernel() -> (Kernel, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (Kernel::start(folder.path()).await, folder)
}

async fn kernel_with(folder: &Path, environment: &[(&str, &str)]) -> Kernel {
    Kernel::start_as(folder, Command::new(executable("tunebook")), environment).await
}

async fn history(kernel: &mut Kernel, query: Value) -> Value {
    let reply = kernel.request("history_request", query).await.reply;
    assert_eq!(reply["status"], "ok", "{reply}");
    reply["history"].clone()
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).permissions().mode() & 0o777
}

#[tokio::test]
async fn a_history_outlives_its_kernel_and_is_the_owners_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("data/history.db");
    let environment = [("TUNEBOOK_HISTORY", file.to_str().unwrap())];
    let mut first = kernel_with(folder.path(), &environment).await;
    first.run_ok("%lsmagic").await;
    first.run_error("%nonsense").await;
    let mut hidden = cell("%sweep?");
    hidden["store_history"] = json!(false);
    first.request("execute_request", hidden).await;
    // A power cut in the middle of a cell does not cost what was typed.
    first.send("execute_request", cell("!sleep 60 # cut")).await;
    first.published_of_kind("execute_input").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    first.kill();

    let mut second = kernel_with(folder.path(), &environment).await;
    second.run_ok("%study?").await;
    second.run_ok("1 + 41").await;
    let tail = |n: usize, output: bool| json!({ "hist_access_type": "tail", "n": n, "raw": true, "output": output });
    let all = json!([
        [1, 1, "%lsmagic"],
        [1, 2, "%nonsense"],
        [1, 3, "!sleep 60 # cut"],
        [2, 1, "%study?"],
        [2, 2, "1 + 41"]
    ]);
    assert_eq!(history(&mut second, tail(99, false)).await, all);
    assert_eq!(history(&mut second, tail(2, true)).await, json!([[2, 1, ["%study?", null]], [2, 2, ["1 + 41", "42"]]]));
    for session in [-1, 1] {
        let range = json!({ "hist_access_type": "range", "session": session, "start": 2, "stop": 4 });
        assert_eq!(history(&mut second, range).await, json!([all[1], all[2]]), "session {session}");
    }
    let range = json!({ "hist_access_type": "range", "session": 0, "start": 1, "stop": null, "output": true });
    assert_eq!(history(&mut second, range).await[1], json!([2, 2, ["1 + 41", "42"]]));
    let search = json!({ "hist_access_type": "search", "pattern": "%?s*", "unique": true });
    assert_eq!(history(&mut second, search).await, json!([all[0]]));

    assert_eq!(mode(file.parent().unwrap()), 0o700);
    let files: Vec<PathBuf> = std::fs::read_dir(file.parent().unwrap()).unwrap().map(|f| f.unwrap().path()).collect();
    assert!(files.contains(&file), "{files:?}");
    for file in files {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

#[tokio::test]
async fn two_kernels_share_a_history_at_the_same_time() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("history.db");
    let environment = [("TUNEBOOK_HISTORY", file.to_str().unwrap())];
    let mut one = kernel_with(folder.path(), &environment).await;
    let mut two = kernel_with(folder.path(), &environment).await;
    for i in 0..20 {
        one.run_ok(&format!("%lsmagic\n// {i}")).await;
        two.run_ok(&format!("%study?\n// {i}")).await;
    }
    for (kernel, magic) in [(&mut one, "%lsmagic"), (&mut two, "%study?")] {
        let own = history(kernel, json!({ "hist_access_type": "range", "session": 0, "start": 0 })).await;
        let expected: Vec<String> = (0..20).map(|i| format!("{magic}\n// {i}")).collect();
        let inputs: Vec<&str> = own.as_array().unwrap().iter().map(|entry| entry[2].as_str().unwrap()).collect();
        assert_eq!(inputs, expected);
        let all = history(kernel, json!({ "hist_access_type": "tail", "n": 99 })).await;
        assert_eq!(all.as_array().unwrap().len(), 40);
    }
}

#[tokio::test]
async fn a_history_that_cannot_be_written_hurts_nobody_and_an_empty_name_turns_it_off() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    for place in ["", "file/below/history.db", "/proc/history.db"] {
        let mut kernel = kernel_with(folder.path(), &[("TUNEBOOK_HISTORY", place), ("HOME", "/dev/null")]).await;
        kernel.run_ok("%lsmagic").await;
        let tail = history(&mut kernel, json!({ "hist_access_type": "tail", "n": 9 })).await;
        assert_eq!(tail, json!([[1, 1, "%lsmagic"]]), "{place}");
    }
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(left, ["file"]);
}

#[tokio::test]
async fn usage_counts_the_kernel_and_all_below_it() {
    let (mut kernel, _folder) = kernel().await;
    kernel.run_ok("let mut hoard: Vec<u8> = vec![];").await;
    // Whatever the analysis of Rust needs is there before anything is measured.
    kernel.request("complete_request", json!({ "code": "hoard.l", "cursor_pos": 7 })).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = kernel.control("usage_request", json!({})).await;
    assert_eq!(before.kind(), "usage_reply");
    let before = before.content;
    assert_eq!(before["pid"], kernel.process.id());
    assert!(before["hostname"].as_str().is_some_and(|name| !name.is_empty()), "{before}");
    assert_eq!(before["cpu_count"], std::fs::read_to_string("/proc/cpuinfo").unwrap().matches("processor\t").count());
    assert_eq!(before["kernel_cpu"], 0.0);
    let memory = &before["host_virtual_memory"];
    for field in ["total", "available", "used", "free", "active", "inactive", "buffers", "cached", "shared", "slab"] {
        assert!(memory[field].is_u64(), "{field}: {memory}");
    }
    let (total, available) = (memory["total"].as_f64().unwrap(), memory["available"].as_f64().unwrap());
    assert!(total > 1e8 && available < total && memory["percent"].as_f64().is_some_and(|p| (0.0..=100.0).contains(&p)));

    // The process of the cells is below the kernel: its memory and its time count.
    let code =
        "hoard = vec![1; 300_000_000];\nlet since = std::time::Instant::now();\nwhile since.elapsed().as_secs() < 2 {}";
    let running = kernel.send("execute_request", cell(&format!("println!(\"compiled\");\n{code}"))).await;
    kernel.published_of_kind("stream").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    kernel.control("usage_request", json!({})).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let during = kernel.control("usage_request", json!({})).await.content;
    let bytes = |usage: &Value| usage["kernel_memory"].as_f64().unwrap();
    let grown = bytes(&during) - bytes(&before);
    // The kernel itself and the snapshot must not be counted as copies of it.
    assert!((2.5e8..5e8).contains(&grown), "{grown} {during}");
    let percent = during["kernel_cpu"].as_f64().unwrap();
    assert!((20.0..150.0).contains(&percent), "{during}");
    assert!(during["host_cpu_percent"].as_f64().is_some_and(|percent| percent > 0.0 && percent <= 100.0), "{during}");
    assert_eq!(kernel.answer(&running).await.status(), "ok");
}

#[tokio::test]
async fn a_comm_tells_when_rust_cells_can_run() {
    let (mut kernel, _folder) = kernel().await;
    let open = json!({ "comm_id": "s1", "target_name": "tunebook.status", "data": {} });
    let opened = kernel.send("comm_open", open).await;
    let told = kernel.answer_published(&opened).await;
    let kinds: Vec<&str> = told.iter().map(|message| message.kind()).collect();
    assert_eq!(kinds, ["status", "comm_msg", "status"]);
    assert_eq!(told[1].content, json!({ "comm_id": "s1", "data": { "rust": "starting" } }));
    // It belongs to the message that opened the comm.
    let later = kernel.published_of_kind("comm_msg").await;
    assert_eq!((&later.content["data"], &later.parent["msg_id"]), (&json!({ "rust": "ready" }), &json!(opened)));
    let asked = kernel.send("comm_msg", json!({ "comm_id": "s1", "data": "and now?" })).await;
    let told = kernel.answer_published(&asked).await;
    assert_eq!(told[1].content, json!({ "comm_id": "s1", "data": { "rust": "ready" } }));

    let open = json!({ "comm_id": "x1", "target_name": "nobody", "data": {} });
    let opened = kernel.send("comm_open", open).await;
    let told = kernel.answer_published(&opened).await;
    assert_eq!((told[1].kind(), &told[1].content["comm_id"]), ("comm_close", &json!("x1")));
    for (target, there) in [(json!(null), true), (json!("tunebook.status"), true), (json!("nobody"), false)] {
        let reply = kernel.request("comm_info_request", json!({ "target_name": target })).await.reply;
        let expected = if there { json!({ "s1": { "target_name": "tunebook.status" } }) } else { json!({}) };
        assert_eq!(reply, json!({ "status": "ok", "comms": expected }), "{target}");
    }
    let closed = kernel.send("comm_close", json!({ "comm_id": "s1", "data": {} })).await;
    assert_eq!(kernel.answer_published(&closed).await.len(), 2, "busy and idle");
    assert_eq!(kernel.request("comm_info_request", json!({})).await.reply["comms"], json!({}));
}

#[tokio::test]
async fn a_comm_tells_that_there_is_no_rust() {
    let folder = tempfile::tempdir().unwrap();
    let mut kernel = kernel_with(folder.path(), &[("PATH", "/nonexistent"), ("HOME", "/dev/null")]).await;
    kernel.send("comm_open", json!({ "comm_id": "s", "target_name": "tunebook.status", "data": {} })).await;
    let deadline = Instant::now() + Duration::from_secs(20);
    while kernel.published_of_kind("comm_msg").await.content["data"] != json!({ "rust": "missing" }) {
        assert!(Instant::now() < deadline);
    }
}

#[tokio::test]
async fn consoles_are_told_how_to_indent() {
    let (mut kernel, _folder) = kernel().await;
    for (code, reply) in [
        ("fn f() {\n    if x {", json!({ "status": "incomplete", "indent": "        " })),
        ("let x = v.iter()\n    .map(f)", json!({ "status": "incomplete", "indent": "    " })),
        ("if x {} else", json!({ "status": "incomplete", "indent": "" })),
        ("#[derive(Debug)]\n\n", json!({ "status": "incomplete", "indent": "" })),
        ("let x = 1", json!({ "status": "incomplete", "indent": "    " })),
        ("let x = 1;\n%study\nx", json!({ "status": "complete" })),
        ("let x = );", json!({ "status": "invalid" })),
    ] {
        assert_eq!(kernel.request("is_complete_request", json!({ "code": code })).await.reply, reply, "{code}");
    }
}

#[tokio::test]
async fn a_kernel_works_over_sockets_in_the_file_system_which_are_its_owners_alone_and_go_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let prefix = folder.path().join("kernel-ipc");
    let sockets: Vec<PathBuf> = (1..=5).map(|port| format!("{}-{port}", prefix.display()).into()).collect();
    let mut kernel = Kernel::start_over_ipc(&prefix, folder.path()).await;
    assert_eq!(kernel.request("kernel_info_request", json!({})).await.reply["implementation"], "tunebook");
    let answer = kernel.run_ok("%lsmagic").await;
    assert!(answer.first("display_data").content["data"]["text/plain"].as_str().unwrap().contains("%%sweep"));
    assert_eq!(kernel.beat("beat").await, "beat");
    for socket in &sockets {
        assert!(std::fs::metadata(socket).unwrap().file_type().is_socket());
        assert_eq!(mode(socket), 0o600, "{}", socket.display());
    }
    // Files of cells are made as the user's umask says.
    kernel.run_ok("!touch made").await;
    std::fs::write(folder.path().join("usual"), "").unwrap();
    assert_eq!(mode(&folder.path().join("made")), mode(&folder.path().join("usual")));

    // One that was killed leaves them behind, and the next one under the same name takes their place.
    kernel.kill();
    assert!(sockets.iter().all(|socket| socket.exists()));
    let mut kernel = Kernel::start_over_ipc(&prefix, folder.path()).await;
    kernel.run_ok("%lsmagic").await;
    kernel.control("shutdown_request", json!({ "restart": false })).await;
    let gone = eventually(Duration::from_secs(5), || !sockets.iter().any(|socket| socket.exists())).await;
    assert!(gone, "{sockets:?}");
}

#[tokio::test]
async fn a_kernel_listens_at_the_address_of_its_connection_file_alone() {
    let (kernel, _folder) = kernel().await;
    let listening = std::fs::read_to_string(format!("/proc/{}/net/tcp", kernel.process.id())).unwrap();
    let everywhere = std::fs::read_to_string(format!("/proc/{}/net/tcp6", kernel.process.id())).unwrap_or_default();
    for port in ["shell_port", "control_port", "iopub_port", "stdin_port", "hb_port"] {
        let endpoint = kernel.endpoint(port);
        let number: u16 = endpoint.rsplit_once(':').unwrap().1.parse().unwrap();
        // State 0A is LISTEN; addresses are hexadecimal, the lowest byte first.
        let at: Vec<&str> = listening
            .lines()
            .filter(|line| line.split_whitespace().nth(3) == Some("0A"))
            .filter_map(|line| line.split_whitespace().nth(1)?.strip_suffix(&format!(":{number:04X}")))
            .collect();
        assert_eq!(at, ["0100007F"], "{port}");
        assert!(!everywhere.contains(&format!(":{number:04X} 00000000000000000000000000000000:0000 0A")), "{port}");
    }
}

#[tokio::test]
async fn what_a_sweep_records_is_its_owners_alone() {
    let (mut kernel, folder) = kernel().await;
    let program = "sh -c 'echo \"{{\\\"step\\\": 1, \\\"loss\\\": {x}}}\"'";
    let sweep = format!("%%sweep private --trials 2\ncommand {program}\nnuisance x ~ uniform(1, 2)\nminimize loss");
    assert_eq!(kernel.run_ok(&sweep).await.result()["trials"]["complete"], 2);
    let mut open = vec![folder.path().join(".tunebook")];
    let mut seen = 0;
    while let Some(path) = open.pop() {
        seen += 1;
        if path.is_dir() {
            assert_eq!(mode(&path), 0o700, "{}", path.display());
            open.extend(std::fs::read_dir(&path).unwrap().map(|file| file.unwrap().path()));
        } else {
            assert_eq!(mode(&path), 0o600, "{}", path.display());
        }
    }
    assert!(seen >= 4, "the store, its folder, and logs of trials");
}
