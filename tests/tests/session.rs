//! What a front end can ask for beside cells: history, comms, usage. And the files that a kernel makes: who can read
//! them, and when they go.

use serde_json::{Value, json};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use tunebook_tests::{Kernel, PATIENCE, StrictFrontEnd, cell, eventually, executable, kernel};

async fn kernel_with(folder: &Path, environment: &[(&str, &str)]) -> Kernel {
    Kernel::start_as(folder, Command::new(executable("tunebook")), environment).await
}

/// The entries that a `history_request` finds.
async fn history(kernel: &mut Kernel, query: Value) -> Value {
    let reply = kernel.request("history_request", query).await.reply;
    assert_eq!(reply["status"], "ok", "{reply}");
    reply["history"].clone()
}

/// The permissions of a file.
fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).permissions().mode() & 0o777
}

#[tokio::test]
async fn a_history_outlives_its_kernel_and_only_its_owner_can_read_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("data/history.db");
    let environment = [("TUNEBOOK_HISTORY", file.to_str().unwrap())];
    let mut first = kernel_with(folder.path(), &environment).await;
    first.run_ok("%lsmagic").await;
    first.run_error("%nonsense").await;
    let mut hidden = cell("%sweep?");
    hidden["store_history"] = json!(false);
    first.request("execute_request", hidden).await;
    // A power cut in the middle of a cell does not cost the cell's code. A thread writes it to the file, or to the
    // journal beside it, soon after the cell has begun.
    let cut = "!sleep 60 # cut";
    first.send("execute_request", cell(cut)).await;
    let holds = |file: &Path| {
        std::fs::read(file).is_ok_and(|bytes| bytes.windows(cut.len()).any(|part| part == cut.as_bytes()))
    };
    let written = || holds(&file) || holds(&file.with_file_name("history.db-wal"));
    assert!(eventually(PATIENCE, written).await, "the code is in the file while the cell runs");
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
async fn without_a_file_for_the_history_cells_run_and_the_session_has_its_own_history() {
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
    let (mut kernel, folder) = kernel().await;
    kernel.run_ok("let mut hoard: Vec<u8> = vec![];").await;
    // The analysis of Rust code needs memory too. It must have it before anything is measured.
    kernel.quiet().await;
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

    // The process that runs cells is below the kernel: its memory and its processor time count.
    let code = "hoard = vec![1; 300_000_000];\nprintln!(\"allocated\");\n\
                while !std::path::Path::new(\"measured\").exists() {}";
    let running = kernel.send("execute_request", cell(code)).await;
    kernel.published_of_kind("stream").await;
    kernel.control("usage_request", json!({})).await;
    // Processor use is measured over an interval, so some time must pass between two requests.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let during = kernel.control("usage_request", json!({})).await.content;
    std::fs::write(folder.path().join("measured"), "").unwrap();
    let bytes = |usage: &Value| usage["kernel_memory"].as_f64().unwrap();
    let grown = bytes(&during) - bytes(&before);
    // The snapshot shares the memory of the runner, which must count once.
    assert!((2.5e8..5e8).contains(&grown), "{grown} {during}");
    let percent = during["kernel_cpu"].as_f64().unwrap();
    assert!((20.0..150.0).contains(&percent), "{during}");
    assert!(during["host_cpu_percent"].as_f64().is_some_and(|percent| percent > 0.0 && percent <= 100.0), "{during}");
    assert_eq!(kernel.answer(&running).await.status(), "ok");
}

#[tokio::test]
async fn a_comm_tells_when_rust_cells_can_run() {
    let mut front_end = StrictFrontEnd::start().await;
    let open = json!({ "comm_id": "s1", "target_name": "tunebook.status", "data": {} });
    let opened = front_end.send("comm_open", open).await;
    front_end.expect_busy(&opened).await;
    let told = front_end.expect_published(&opened, "comm_msg").await;
    assert_eq!(told.content, json!({ "comm_id": "s1", "data": { "rust": "starting" } }));
    front_end.expect_idle(&opened).await;
    // This later message belongs to the message that opened the comm.
    let later = front_end.expect_published(&opened, "comm_msg").await;
    assert_eq!(later.content["data"], json!({ "rust": "ready" }));
    let asked = front_end.send("comm_msg", json!({ "comm_id": "s1", "data": "and now?" })).await;
    front_end.expect_busy(&asked).await;
    let told = front_end.expect_published(&asked, "comm_msg").await;
    assert_eq!(told.content, json!({ "comm_id": "s1", "data": { "rust": "ready" } }));
    front_end.expect_idle(&asked).await;

    let opened = front_end.send("comm_open", json!({ "comm_id": "x1", "target_name": "nobody", "data": {} })).await;
    front_end.expect_busy(&opened).await;
    assert_eq!(front_end.expect_published(&opened, "comm_close").await.content["comm_id"], "x1");
    front_end.expect_idle(&opened).await;
    for (target, there) in [(json!(null), true), (json!("tunebook.status"), true), (json!("nobody"), false)] {
        let reply = front_end.request("comm_info_request", json!({ "target_name": target })).await.reply;
        let expected = if there { json!({ "s1": { "target_name": "tunebook.status" } }) } else { json!({}) };
        assert_eq!(reply, json!({ "status": "ok", "comms": expected }), "{target}");
    }
    let closed = front_end.send("comm_close", json!({ "comm_id": "s1", "data": {} })).await;
    front_end.expect_busy(&closed).await;
    front_end.expect_idle(&closed).await;
    assert_eq!(front_end.request("comm_info_request", json!({})).await.reply["comms"], json!({}));
    front_end.finish().await;
}

#[tokio::test]
async fn a_comm_tells_that_there_is_no_rust_toolchain() {
    let folder = tempfile::tempdir().unwrap();
    let mut kernel = kernel_with(folder.path(), &[("PATH", "/nonexistent"), ("HOME", "/dev/null")]).await;
    kernel.send("comm_open", json!({ "comm_id": "s", "target_name": "tunebook.status", "data": {} })).await;
    let deadline = Instant::now() + PATIENCE;
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
async fn the_socket_files_of_a_kernel_are_private_to_their_owner_and_end_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let prefix = folder.path().join("kernel-ipc");
    let sockets: Vec<PathBuf> = (1..=5).map(|port| format!("{}-{port}", prefix.display()).into()).collect();
    let mut kernel = Kernel::start_over_ipc(&prefix, folder.path()).await;
    assert_eq!(kernel.request("kernel_info_request", json!({})).await.reply["implementation"], "tunebook");
    let answer = kernel.run_ok("%lsmagic").await;
    assert!(answer.first("display_data").plain_text().contains("%%sweep"));
    assert_eq!(kernel.beat("beat").await, "beat");
    for socket in &sockets {
        assert!(std::fs::metadata(socket).unwrap().file_type().is_socket());
        assert_eq!(mode(socket), 0o600, "{}", socket.display());
    }
    // The files that cells make have the permissions that the user's umask says.
    kernel.run_ok("!touch made").await;
    std::fs::write(folder.path().join("usual"), "").unwrap();
    assert_eq!(mode(&folder.path().join("made")), mode(&folder.path().join("usual")));

    // A kernel that was killed leaves its socket files behind. The next one with the same prefix replaces them.
    kernel.kill();
    assert!(sockets.iter().all(|socket| socket.exists()));
    let mut kernel = Kernel::start_over_ipc(&prefix, folder.path()).await;
    kernel.run_ok("%lsmagic").await;
    kernel.control("shutdown_request", json!({ "restart": false })).await;
    let gone = eventually(Duration::from_secs(5), || !sockets.iter().any(|socket| socket.exists())).await;
    assert!(gone, "{sockets:?}");
}

#[tokio::test]
async fn a_kernel_listens_only_at_the_address_of_its_connection_file() {
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
async fn only_its_owner_can_read_what_a_sweep_records() {
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
