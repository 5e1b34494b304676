//! Sweeps in the background: other cells run meanwhile, and the chart of the sweep grows in its own cell.

use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};
use tunebook_tests::{Kernel, Message, PATIENCE, cell, eventually, kernel};

const RESULT: &str = "application/vnd.tunebook.v1+json";

/// A sweep of a program whose trials end once the file `go` is there.
fn waiting(name: &str, trials: usize, options: &str) -> String {
    let program = "command sh -c 'until [ -e go ]; do sleep 0.01; done; echo \"{{\\\"step\\\": 1, \\\"e\\\": {x}}}\"'";
    format!("%%sweep {name} --trials {trials} {options}\n{program}\nnuisance x ~ uniform(0, 1)\nminimize e")
}

fn go(folder: &Path) {
    std::fs::write(folder.join("go"), "").unwrap();
}

/// Reads messages of a request that has ended already, until one of them holds a result.
async fn result_of(kernel: &mut Kernel, request: &str) -> (Vec<Message>, Value) {
    let mut seen = vec![];
    loop {
        let message = kernel.published().await;
        if !message.belongs_to(request) {
            continue;
        }
        let result = message.content["data"].get(RESULT).cloned();
        seen.push(message);
        if let Some(result) = result {
            return (seen, result);
        }
    }
}

/// Runs `%sweeps` until what it says of a study fulfils a condition.
async fn sweeps_until(kernel: &mut Kernel, study: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let result = kernel.run_ok("%sweeps").await.result();
        let found = result["sweeps"].as_array().unwrap().iter().find(|sweep| sweep["study"] == study).cloned();
        if let Some(sweep) = found.filter(&holds) {
            return sweep;
        }
        assert!(Instant::now() < deadline, "{result}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_sweep_in_the_background_leaves_the_kernel_free_and_ends_in_its_own_cell() {
    let (mut kernel, folder) = kernel().await;
    let sweep = kernel.send("execute_request", cell(&waiting("slow", 8, "--background"))).await;
    let started = kernel.answer(&sweep).await;
    assert_eq!(started.status(), "ok", "{started:?}");
    assert!(started.all("display_data").len() >= 2, "the chart is there when the cell ends: {started:?}");

    // Rust, magics and another sweep run meanwhile. The interrupt of a cell does not reach the sweep.
    assert_eq!(kernel.run_ok("20 + 1").await.value(), "21");
    let of_slow = sweeps_until(&mut kernel, "slow", |sweep| sweep["running"].as_u64() > Some(0)).await;
    let listed = kernel.run_ok("%sweeps").await;
    assert_eq!((&listed.result()["kind"], &of_slow["state"]), (&json!("sweeps"), &json!("running")));
    assert_eq!((&of_slow["left"], &of_slow["trials"]["complete"]), (&json!(8), &json!(0)));
    assert!(listed.shown().contains("0 of 8"), "{}", listed.shown());
    let devices = kernel.run_ok("%devices").await.result();
    let running: Vec<&str> = devices["running"]
        .as_object()
        .unwrap()
        .values()
        .flat_map(|trials| trials.as_array().unwrap())
        .filter_map(Value::as_str)
        .collect();
    assert!(running.iter().all(|trial| trial.starts_with("slow ")) && !running.is_empty(), "{devices}");
    assert!(devices["devices"].as_array().unwrap().iter().all(|device| device["utilization"].is_f64()), "{devices}");
    // The same cell shows how far it is. One that would train says who runs it.
    let shown = kernel.run_ok(&waiting("slow", 8, "")).await.shown();
    assert!(shown.contains("The study runs now, in this very kernel"), "{shown}");
    for options in ["--resume", "--retry-failed"] {
        let busy = kernel.run_error(&waiting("slow", 8, options)).await;
        assert!(busy.contains("StudyBusy") && busy.contains("`%sweep stop slow`"), "{busy}");
    }
    let unknown = kernel.run_error("%sweep stop slwo").await;
    assert!(unknown.contains("did you mean `slow`?"), "{unknown}");
    let endless = "println!(\"begins\"); loop { std::thread::sleep(std::time::Duration::from_millis(5)) }";
    let endless = kernel.send("execute_request", cell(endless)).await;
    kernel.printed(&endless, "begins\n").await;
    kernel.control("interrupt_request", json!({})).await;
    assert_eq!(kernel.answer(&endless).await.status(), "error");
    let throughput = kernel.run_ok("%throughput digits_mlp --max 2").await;
    assert_eq!(throughput.result()["reliable"], false);
    assert!(throughput.shown().contains("the sweep `slow` runs in the background"), "{}", throughput.shown());

    go(folder.path());
    let (seen, result) = result_of(&mut kernel, &sweep).await;
    assert_eq!(
        (&result["kind"], &result["study"], &result["trials"]["complete"]),
        (&json!("sweep"), &json!("slow"), &json!(8))
    );
    assert!(seen.iter().all(|message| message.kind() == "update_display_data"), "{seen:#?}");
    let of_slow = sweeps_until(&mut kernel, "slow", |sweep| sweep["state"] == "ended").await;
    assert_eq!((&of_slow["left"], &of_slow["best"]), (&json!(0), &result["best"]));
    assert_eq!(kernel.run_ok(&waiting("slow", 8, "")).await.result()["trials"]["complete"], 8);
}

#[tokio::test]
async fn sweeps_share_the_slots_and_are_stopped_by_name_and_with_the_kernel() {
    let (mut kernel, folder) = kernel().await;
    // However many processors there are, there are two slots.
    kernel.run_ok("%pool remove local").await;
    kernel.run_ok("%pool add two --prefix env --slots 2").await;
    let first = kernel.send("execute_request", cell(&waiting("first", 3, "--background"))).await;
    assert_eq!(kernel.answer(&first).await.status(), "ok");
    sweeps_until(&mut kernel, "first", |sweep| sweep["running"] == 2).await;
    let second = kernel.send("execute_request", cell(&waiting("second", 3, "--background"))).await;
    assert_eq!(kernel.answer(&second).await.status(), "ok");
    // Both slots are taken by the first sweep, and none is used twice.
    let of_second = sweeps_until(&mut kernel, "second", |_| true).await;
    assert_eq!(of_second["running"], 0, "{of_second}");
    let stop = kernel.send("execute_request", cell("%sweep stop first")).await;
    let (_, result) = result_of(&mut kernel, &first).await;
    let said = kernel.answer(&stop).await;
    assert!(said.text("stdout").contains("is stopped"), "{said:?}");
    assert_eq!((&result["trials"]["cancelled"], &result["trials"]["complete"]), (&json!(2), &json!(0)), "{result}");
    sweeps_until(&mut kernel, "first", |sweep| sweep["state"] == "stopped").await;
    sweeps_until(&mut kernel, "second", |sweep| sweep["running"] == 2).await;

    // The end of the kernel ends the sweep, and another kernel goes on with it.
    assert!(eventually(PATIENCE, || kernel.children("until").len() == 2).await, "both trials run");
    let processes = kernel.children("until");
    kernel.control("shutdown_request", json!({ "restart": false })).await;
    let ended = || processes.iter().all(|pid| !Path::new(&format!("/proc/{pid}")).exists());
    assert!(eventually(PATIENCE, ended).await, "programs of the sweep outlive the kernel");
    go(folder.path());
    let mut next = Kernel::start(folder.path()).await;
    let resumed = next.run_ok(&waiting("second", 3, "--resume")).await.result();
    assert_eq!(resumed["trials"]["complete"], 3, "{resumed}");
}

#[tokio::test]
async fn three_sweeps_on_one_slot_take_turns() {
    let (mut kernel, folder) = kernel().await;
    kernel.run_ok("%pool remove local").await;
    kernel.run_ok("%pool add one --prefix env --slots 1").await;
    let sweep = |name: &str| {
        let script = "echo start $0 >> log; until [ -e go ]; do sleep 0.01; done; sleep 0.05; echo end $0 >> log";
        let report = "echo \"{{\\\"step\\\": 1, \\\"e\\\": {x}}}\"";
        let program = format!("command sh -c '{script}; {report}' {name}");
        format!("%%sweep {name} --trials 2 --background\n{program}\nnuisance x ~ uniform(0, 1)\nminimize e")
    };
    let names = ["first", "second", "third"];
    for name in names {
        let begun = kernel.send("execute_request", cell(&sweep(name))).await;
        assert_eq!(kernel.answer(&begun).await.status(), "ok");
        if name == "first" {
            sweeps_until(&mut kernel, name, |sweep| sweep["running"] == 1).await;
        } else {
            let of_it = sweeps_until(&mut kernel, name, |sweep| sweep["waits"] == true).await;
            assert_eq!((&of_it["state"], &of_it["running"]), (&json!("running"), &json!(0)), "{of_it}");
        }
    }
    let listed = kernel.run_ok("%sweeps").await.shown();
    assert!(listed.contains("waits: other sweeps use all slots"), "{listed}");
    // What `%pool` shows is up to half a second old.
    let mut pools = json!(null);
    for _ in 0..100 {
        pools = kernel.run_ok("%pool").await.result();
        if pools["pools"][0]["running"] == 1 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(pools["pools"][0]["running"], 1, "{pools}");
    go(folder.path());
    for name in names {
        let ended = sweeps_until(&mut kernel, name, |sweep| sweep["state"] == "ended").await;
        assert_eq!((&ended["trials"]["complete"], &ended["waits"]), (&json!(2), &json!(false)), "{ended}");
    }
    let log = std::fs::read_to_string(folder.path().join("log")).unwrap();
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(lines.len(), 12, "{log}");
    for trial in lines.chunks(2) {
        let name = trial[0].strip_prefix("start ").expect("a trial begins after the end of the one before it");
        assert_eq!(trial[1], format!("end {name}"), "{log}");
    }
    let mut first_turns = [lines[0], lines[2], lines[4]];
    first_turns.sort_unstable();
    assert_eq!(first_turns, names.map(|name| format!("start {name}")), "{log}");
}

#[tokio::test]
async fn a_stopped_sweep_that_a_later_cell_completes_has_ended() {
    let (mut kernel, folder) = kernel().await;
    let begun = kernel.send("execute_request", cell(&waiting("s", 2, "--background --parallel 1"))).await;
    assert_eq!(kernel.answer(&begun).await.status(), "ok");
    kernel.run_ok("%sweep stop s").await;
    sweeps_until(&mut kernel, "s", |sweep| sweep["state"] == "stopped").await;
    go(folder.path());
    let workload = kernel.run_error("%sweep s --resume").await;
    assert!(workload.contains("`s` is a study: run its cell again with `--resume`"), "{workload}");
    kernel.run_ok(&waiting("s", 2, "--resume")).await;
    let listed = sweeps_until(&mut kernel, "s", |_| true).await;
    assert_eq!((&listed["state"], &listed["left"]), (&json!("ended"), &json!(0)), "{listed}");
}

#[tokio::test]
async fn what_is_typed_after_a_sweep_in_the_background_holds_for_the_next_one() {
    let (mut kernel, folder) = kernel().await;
    // The program says where it runs and what it sees.
    let script = "until [ -e go ]; do sleep 0.01; done\npwd -P > place-$1\necho \"$GREETING\" >> place-$1\n\
        echo \"{\\\"step\\\": 1, \\\"e\\\": $1}\"\n";
    std::fs::write(folder.path().join("train.sh"), script).unwrap();
    std::fs::create_dir(folder.path().join("elsewhere")).unwrap();
    kernel.run_ok("%env GREETING=before").await;
    let body = "command sh train.sh {x}\nnuisance x in [1, 2]\nminimize e";
    let sweep = format!("%%sweep s --sampler grid --parallel 1 --background\n{body}");
    let sweep = kernel.send("execute_request", cell(&sweep)).await;
    assert_eq!(kernel.answer(&sweep).await.status(), "ok");
    for line in ["%cd elsewhere", "%env GREETING=after", "%config trials.timeout = 1s"] {
        kernel.run_ok(line).await;
    }
    // Longer than the time limit that was set meanwhile.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    go(folder.path());
    let (_, result) = result_of(&mut kernel, &sweep).await;
    assert_eq!(result["trials"]["complete"], 2, "{result}");
    assert_eq!((&result["changes"], &result["changed"]), (&json!([]), &json!([])), "{result}");
    let here = folder.path().canonicalize().unwrap();
    for number in 1..=2 {
        let place = std::fs::read_to_string(folder.path().join(format!("place-{number}"))).unwrap();
        assert_eq!(place, format!("{}\nbefore\n", here.display()));
    }
    let trials = kernel.recorded("s");
    assert_eq!(trials.len(), 2, "they are in the store of the folder in which the sweep began");
}

#[tokio::test]
async fn trials_of_a_kernel_that_was_killed_do_not_count_as_running() {
    let (mut kernel, folder) = kernel().await;
    let begun = kernel.send("execute_request", cell(&waiting("s", 4, "--background --parallel 3"))).await;
    assert_eq!(kernel.answer(&begun).await.status(), "ok");
    sweeps_until(&mut kernel, "s", |sweep| sweep["running"] == 3).await;
    kernel.kill();
    let mut next = Kernel::start(folder.path()).await;
    assert_eq!(next.run_ok("%study").await.result()["studies"][0]["trials"]["cancelled"], 3);
    assert_eq!(next.run_ok(&waiting("s", 4, "--parallel 1")).await.result()["trials"]["cancelled"], 3);
    let resumed = next.send("execute_request", cell(&waiting("s", 4, "--resume --background --parallel 1"))).await;
    assert_eq!(next.answer(&resumed).await.status(), "ok");
    let of_s = sweeps_until(&mut next, "s", |sweep| sweep["running"].as_u64() > Some(0)).await;
    assert_eq!((&of_s["running"], &of_s["left"]), (&json!(1), &json!(4)), "{of_s}");
    go(folder.path());
    let (_, result) = result_of(&mut next, &resumed).await;
    assert_eq!(result["trials"]["complete"], 4, "{result}");
}

#[tokio::test]
async fn two_kernels_run_studies_in_one_folder_and_read_each_others() {
    let (mut one, folder) = kernel().await;
    let mut other = Kernel::start(folder.path()).await;
    let mine = one.send("execute_request", cell(&waiting("mine", 4, "--background --parallel 1"))).await;
    assert_eq!(one.answer(&mine).await.status(), "ok");
    let theirs = other.send("execute_request", cell(&waiting("theirs", 4, "--background --parallel 1"))).await;
    assert_eq!(other.answer(&theirs).await.status(), "ok");
    let stop = one.run_error("%sweep stop theirs").await;
    assert!(stop.contains("`theirs` is run by another kernel (process") && stop.contains("stop it there"), "{stop}");
    let refused = one.run_error(&waiting("theirs", 4, "--resume")).await;
    assert!(refused.contains("StudyBusy") && refused.contains("another kernel (process"), "{refused}");
    // The same cell shows how far the other kernel is, and does not say that trials are missing.
    let shown = one.run_ok(&waiting("theirs", 4, "")).await.shown();
    assert!(shown.contains("The study runs now, in another kernel (process"), "{shown}");
    assert!(!shown.contains("are missing"), "{shown}");
    go(folder.path());
    let (_, of_mine) = result_of(&mut one, &mine).await;
    let (_, of_theirs) = result_of(&mut other, &theirs).await;
    let read = |answer: tunebook_tests::Answer| answer.result()["trials"]["complete"].clone();
    assert_eq!(read(one.run_ok("%study theirs").await), of_theirs["trials"]["complete"]);
    assert_eq!(read(other.run_ok("%study mine").await), of_mine["trials"]["complete"]);
    assert_eq!(of_mine["trials"]["complete"], 4);
}

#[tokio::test]
async fn a_sweep_whose_store_is_removed_ends_with_an_error_and_loses_nothing() {
    let (mut kernel, folder) = kernel().await;
    let sweep = kernel.send("execute_request", cell(&waiting("gone", 3, "--parallel 1"))).await;
    assert!(eventually(PATIENCE, || kernel.recorded("gone").len() == 1).await, "a trial runs");
    std::fs::remove_dir_all(folder.path().join(".tunebook")).unwrap();
    go(folder.path());
    let answer = kernel.answer(&sweep).await;
    let error = answer.error();
    assert!(error.contains("StoreError") && error.contains("was moved or removed"), "{error}");
    assert!(error.contains("written to a new file of this name"), "{error}");
    assert_eq!(answer.result()["study"], "gone");
    let resumed = kernel.run_ok(&waiting("gone", 3, "--resume")).await.result();
    assert_eq!(resumed["trials"]["complete"], 3, "{resumed}");
}
