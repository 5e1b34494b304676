//! `%pool`: trials in slots that commands lead to, through the real kernel. The commands are shell scripts in place of
//! `ssh`, `srun` and `kubectl`.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tunebook_study::TrialState;
use tunebook_study::store::Store;
use tunebook_tests::{Kernel, PATIENCE, cell, command_of, descendants, eventually, kernel};

/// Writes a script that can be run.
fn script(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    std::fs::write(&path, format!("#!/bin/sh\n{text}")).expect("a script");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("a script that can be run");
}

/// A sweep whose trials run `trial.sh`.
fn sweep(name: &str, options: &str) -> String {
    format!("%%sweep {name} {options}\ncommand sh trial.sh {{x}}\nnuisance x ~ uniform(0, 1)\nminimize e")
}

/// What a trial prints that needs no time.
const QUICK: &str = "echo \"{\\\"step\\\": 1, \\\"e\\\": $1}\"\n";

fn read(folder: &Path, name: &str) -> String {
    std::fs::read_to_string(folder.join(name)).unwrap_or_default()
}

/// How often each line of a file occurs.
fn counted(folder: &Path, name: &str) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for line in read(folder, name).lines() {
        *counts.entry(line.to_string()).or_default() += 1;
    }
    counts
}

fn all_complete(kernel: &Kernel, study: &str, trials: usize) {
    let recorded = kernel.recorded(study);
    assert_eq!(recorded.len(), trials);
    assert!(recorded.iter().all(|trial| trial.state == TrialState::Complete), "{recorded:#?}");
}

/// A pool in the result of `%pool`.
fn pool<'a>(result: &'a Value, name: &str) -> &'a Value {
    let pools = result["pools"].as_array().expect("pools");
    pools.iter().find(|pool| pool["pool"] == name).unwrap_or_else(|| panic!("no pool {name} in {result}"))
}

#[tokio::test]
async fn trials_run_in_the_slots_of_a_pool_and_the_record_says_where() {
    let (mut kernel, folder) = kernel().await;
    script(folder.path(), "trial.sh", &format!("echo $NODE$SLOT$EXTRA >> places\n{QUICK}"));
    let added = kernel.run_ok("%pool add far --prefix 'env NODE=n SLOT={slot}' --slots 2").await.result();
    assert_eq!(added["kind"], "pool");
    assert_eq!((&pool(&added, "far")["kind"], &pool(&added, "far")["slots"]), (&json!("prefix"), &json!(2)));
    assert!(kernel.run_error("%pool add far --prefix env").await.contains("there is a pool `far` already"));
    kernel.run_ok("%pool remove local").await;
    kernel.run_ok("%env EXTRA=x").await;
    kernel.run_ok(&sweep("far", "--trials 8")).await;
    all_complete(&kernel, "far", 8);
    let places = counted(folder.path(), "places");
    assert!(places.keys().all(|place| place == "n0x" || place == "n1x"), "{places:?}");
    let study = kernel.run_ok("%study far").await.result();
    let environment = &study["environment"];
    assert_eq!(environment["slots"], json!(["far/1", "far/2"]));
    assert_eq!(environment["pools"][0]["pool"], "far");
    let trials = environment["trials"].as_object().expect("where each trial ran");
    assert_eq!(trials.len(), 8);
    assert!(trials.values().all(|place| place.as_str().is_some_and(|place| place.starts_with("far/"))), "{trials:?}");
    let listed = kernel.run_ok("%pool").await.result();
    assert_eq!((&pool(&listed, "far")["trials"], &pool(&listed, "far")["running"]), (&json!(8), &json!(0)));

    // Nothing of a pool runs after the sweep. `--parallel` bounds all pools together.
    let left = || descendants(kernel.process.id()).into_iter().any(|pid| command_of(pid).contains("--worker"));
    assert!(eventually(PATIENCE, || !left()).await);
    script(folder.path(), "trial.sh", &format!("echo + >> at_once; sleep 0.05\n{QUICK}echo - >> at_once"));
    kernel.run_ok("%pool add local").await;
    kernel.run_ok(&sweep("bounded", "--trials 6 --parallel 1")).await;
    all_complete(&kernel, "bounded", 6);
    assert_eq!(read(folder.path(), "at_once"), "+\n-\n".repeat(6));

    kernel.run_ok("%pool remove far").await;
    kernel.run_ok("%pool remove local").await;
    assert!(kernel.run_error(&sweep("nowhere", "--trials 1")).await.contains("there is no slot"));
    assert!(kernel.run_error("%study nowhere").await.contains("UnknownStudy"), "nothing was recorded");
}

#[tokio::test]
async fn slots_that_start_late_die_or_never_start_cost_no_trial() {
    let (mut kernel, folder) = kernel().await;
    // Slot 1 is granted late, and slot 3 never starts.
    let launch = "case $1 in
        1) while ! [ -e granted ]; do sleep 0.02; done;;
        3) echo 'no such machine' >&2; exit 3;;
        esac
        export SLOT=$1; shift; exec \"$@\"";
    script(folder.path(), "launch.sh", launch);
    // Trial 2 takes its slot with it, once. The first trials go on until the slot that is granted late runs one.
    let trial = format!(
        "echo $TUNEBOOK_TRIAL >> began
        case $TUNEBOOK_TRIAL in 2) if ! [ -e lost ]; then touch lost granted; kill -9 $PPID; sleep 60; fi;; esac
        if [ $SLOT = 1 ]; then touch late; fi
        while ! [ -e late ]; do sleep 0.02; done
        {QUICK}echo $TUNEBOOK_TRIAL >> ended"
    );
    script(folder.path(), "trial.sh", &trial);
    kernel.run_ok("%pool remove local").await;
    kernel.run_ok("%pool add many --prefix './launch.sh {slot}' --slots 4").await;
    kernel.run_ok(&sweep("many", "--trials 12")).await;
    all_complete(&kernel, "many", 12);
    let (began, ended) = (counted(folder.path(), "began"), counted(folder.path(), "ended"));
    assert!(ended.len() == 12 && ended.values().all(|count| *count == 1), "{ended:?}");
    assert!(began.iter().all(|(trial, count)| *count == if trial == "2" { 2 } else { 1 }), "{began:?}");
    let listed = kernel.run_ok("%pool").await.result();
    let slots = pool(&listed, "many")["states"].as_array().expect("slots").clone();
    assert_eq!((&slots[3]["state"], &slots[3]["trials"]), (&json!("failed"), &json!(0)), "{slots:?}");
    assert!(slots[3]["reason"].as_str().is_some_and(|reason| reason.contains("no such machine")), "{slots:?}");
    assert_eq!(slots.iter().map(|slot| slot["lost"].as_u64().unwrap_or(0)).sum::<u64>(), 1);
    assert!(slots[1]["trials"].as_u64().is_some_and(|trials| trials > 0), "{slots:?}");
}

#[tokio::test]
async fn a_sweep_without_any_slot_that_starts_ends_with_the_reason() {
    let (mut kernel, folder) = kernel().await;
    script(folder.path(), "trial.sh", QUICK);
    kernel.run_ok("%pool remove local").await;
    kernel.run_ok("%pool add none --prefix \"sh -c 'echo connection refused >&2; exit 255'\" --slots 2").await;
    let failed = kernel.run(&sweep("none", "--trials 3")).await;
    let error = failed.error();
    assert!(error.contains("SlotError") && error.contains("no slot can be started"), "{error}");
    assert!(error.contains("connection refused") && error.contains("each started 5 times"), "{error}");
    // The display ends with the result so far.
    assert_eq!(failed.result()["trials"]["complete"], 0);
    assert!(failed.shown().replace('\n', " ").contains("connection refused"), "{}", failed.shown());
    assert!(kernel.recorded("none").is_empty(), "no trial was started for a slot that is not there");
    let listed = kernel.run_ok("%pool").await.result();
    assert_eq!(pool(&listed, "none")["failed"], 2);
    assert!(pool(&listed, "none")["reason"].as_str().is_some_and(|reason| reason.contains("connection refused")));
    // The machine of this notebook takes over.
    kernel.run_ok("%pool add local").await;
    kernel.run_ok(&sweep("none", "--trials 3 --resume")).await;
    all_complete(&kernel, "none", 3);
}

#[tokio::test]
async fn a_node_with_another_file_runs_nothing_and_says_which() {
    let (mut kernel, folder) = kernel().await;
    script(folder.path(), "trial.sh", QUICK);
    // As if the kernel on the node were another one: the first hash that the node is told is changed on the way.
    script(folder.path(), "other.sh", "sed -u 's/\"sha256\":\"./\"sha256\":\"-/' | \"$@\"");
    kernel.run_ok("%pool remove local").await;
    kernel.run_ok("%pool add other --prefix ./other.sh --slots 1").await;
    let error = kernel.run_error(&sweep("other", "--trials 1")).await;
    let expected = "is not the file that the notebook's machine has";
    assert!(error.contains(expected) && error.contains("nothing is copied to a node"), "{error}");
    assert!(error.contains("`--copy` copies"), "{error}");
    // A folder that the node does not have.
    script(folder.path(), "empty.sh", "sed -u 's#\"folders\":\\[\"#\"folders\":[\"/nowhere#' | \"$@\"");
    kernel.run_ok("%pool remove other").await;
    kernel.run_ok("%pool add empty --prefix ./empty.sh --slots 1").await;
    let error = kernel.run_error(&sweep("other", "--trials 1 --resume")).await;
    assert!(error.contains("there is no folder /nowhere"), "{error}");
}

#[tokio::test]
async fn a_killed_kernel_leaves_nothing_in_its_pools_pending_or_running() {
    let (mut kernel, folder) = kernel().await;
    script(folder.path(), "trial.sh", "touch began; sleep 600");
    script(folder.path(), "launch.sh", "if [ $1 = 1 ]; then touch waits; sleep 601; fi\nshift; exec \"$@\"");
    kernel.run_ok("%pool remove local").await;
    kernel.run_ok("%pool add far --prefix './launch.sh {slot}' --slots 2").await;
    kernel.send("execute_request", cell(&sweep("far", "--trials 4"))).await;
    let exists = |name: &str| folder.path().join(name).exists();
    assert!(eventually(PATIENCE, || exists("began") && exists("waits")).await);
    let below = descendants(kernel.process.id());
    let runs = |what: &str| below.iter().any(|pid| command_of(*pid).contains(what));
    assert!(runs("sleep 600") && runs("sleep 601"), "the trial and the command that waits");
    kernel.kill();
    let alive = || below.iter().filter(|pid| !command_of(**pid).is_empty()).count();
    assert!(eventually(PATIENCE, || alive() == 0).await, "{} processes are left", alive());
}

#[tokio::test]
async fn trials_of_models_run_in_pools_and_go_on_from_their_checkpoints() {
    let (mut kernel, folder) = kernel().await;
    // The slot is lost once, after the trial has written a checkpoint.
    let launch = "if ! [ -e lost ]; then
          touch lost
          exec 3<&0
          \"$@\" <&3 & slot=$!
          while ! [ -e .tunebook/trials/net/1/resume.safetensors ]; do sleep 0.02; done
          kill -9 $slot; exit 1
        fi
        exec \"$@\"";
    script(folder.path(), "launch.sh", launch);
    kernel.run_ok("%pool remove local").await;
    kernel.run_ok("%pool add far --prefix ./launch.sh --slots 1").await;
    let sweep = "%%sweep net --trials 1\nworkload digits_mlp\nnuisance lr ~ loguniform(1e-2, 1e-1)\n\
                 fixed steps = 6000\nfixed eval_every = 100";
    kernel.run_ok(sweep).await;
    all_complete(&kernel, "net", 1);
    assert!(folder.path().join("lost").exists());
}

/// Writes `other.sh`, which leads to another machine as far as a process can tell: it has another home folder and none
/// of the variables. Where the system allows it, the folder of the notebook and `hidden` are empty there.
fn other_machine(folder: &Path, home: &Path, hidden: Option<PathBuf>) {
    let empty = |path: &Path| format!("mount -t tmpfs none '{}'", path.display());
    let mounts: Vec<String> = [folder].into_iter().chain(hidden.as_deref()).map(empty).collect();
    let (mounts, home) = (mounts.join(" && "), home.display());
    let lead = format!(
        "cd /
        set -- env -i PATH=/usr/bin:/bin:$PATH HOME={home} \"$@\"
        if unshare -rm sh -c \"{mounts}\" 2>/dev/null; then
          exec unshare -rm sh -c \"{mounts} && exec \\\"\\$@\\\"\" sh \"$@\"
        fi
        exec \"$@\""
    );
    script(folder, "other.sh", &lead);
}

/// The files in a folder, each with the number that changes when it is replaced by another one.
fn files_in(folder: &Path) -> BTreeMap<PathBuf, u64> {
    let paths = std::fs::read_dir(folder).expect("a folder").flatten().map(|entry| entry.path());
    let inode = |path: &Path| path.metadata().expect("a file").ino();
    paths.filter(|path| path.is_file()).map(|path| (path.clone(), inode(&path))).collect()
}

/// The contents that were copied to a machine with this home folder.
fn contents_on(home: &Path) -> BTreeMap<PathBuf, u64> {
    files_in(&home.join(".cache/tunebook/node/files"))
}

#[tokio::test]
async fn a_machine_that_shares_nothing_gets_what_trials_need_and_gives_back_what_they_write() {
    let (mut kernel, folder) = kernel().await;
    let temporary = tempfile::tempdir().expect("a folder");
    let home = temporary.path().canonicalize().expect("the folder");
    let here = folder.path().canonicalize().expect("the folder");
    other_machine(&here, &home, None);
    std::fs::create_dir(here.join("data")).expect("a folder");
    std::fs::write(here.join("data/first.txt"), "0.5").expect("a file");
    std::fs::write(here.join("data/other.csv"), "none").expect("a file");
    let trial = "import glob, json, os, sys
print(os.getcwd(), sorted(glob.glob('data/*')), open(sys.argv[2]).read())
open(os.environ['TUNEBOOK_TRIAL_DIR'] + '/notes.txt', 'w').write('kept')
print(json.dumps({'step': 1, 'e': float(open('data/first.txt').read())}))
";
    std::fs::write(here.join("trial.py"), trial).expect("a file");
    let sweep = |name: &str, options: &str| {
        let path = here.join("data/first.txt");
        let command = format!("command python3 trial.py {{x}} {}", path.display());
        format!("%%sweep {name} {options}\n{command}\nnuisance x ~ uniform(0, 1)\nminimize e")
    };
    kernel.run_ok("%pool remove local").await;
    let error = kernel.run_error("%pool add far --prefix ./other.sh --copy --with 'data/*.json'").await;
    assert!(error.contains("no file or folder `data/*.json`"), "{error}");
    let added = kernel.run_ok("%pool add far --prefix ./other.sh --slots 2 --copy --with 'data/*.txt'").await;
    assert_eq!(pool(&added.result(), "far")["copies"], true);
    assert!(added.shown().contains("prefix, copies"), "{}", added.shown());
    kernel.run_ok(&sweep("first", "--trials 4")).await;
    all_complete(&kernel, "first", 4);
    let mirrors = home.join(".cache/tunebook/node/mirror");
    for number in 1..=4 {
        let log = read(&here, &format!(".tunebook/trials/first/{number}/log.txt"));
        // The program ran in the copy of the folder, with the files that were named. The absolute path leads there too.
        assert!(log.starts_with(&mirrors.display().to_string()), "{log}");
        assert!(log.contains(&format!("{} ['data/first.txt'] 0.5", here.display())), "{log}");
        assert_eq!(read(&here, &format!(".tunebook/trials/first/{number}/notes.txt")), "kept");
    }
    let recorded = kernel.recorded("first");
    assert!(recorded.iter().all(|trial| trial.summaries["e"].last.0 == 0.5), "{recorded:#?}");

    // A second sweep copies nothing again.
    let executables = || {
        let mut found = files_in(&home.join(".cache/tunebook/node"));
        found.retain(|path, _| path.display().to_string().contains("/tunebook-"));
        assert_eq!(found.len(), 1, "one executable");
        found
    };
    let (executable, before) = (executables(), contents_on(&home));
    assert_eq!(before.len(), 2, "the program and one file");
    kernel.run_ok(&sweep("second", "--trials 2")).await;
    all_complete(&kernel, "second", 2);
    assert_eq!((executables(), contents_on(&home)), (executable, before.clone()));

    // A file that has changed is copied again, and no other.
    std::fs::write(here.join("data/first.txt"), "0.25").expect("a file");
    kernel.run_ok(&sweep("third", "--trials 2")).await;
    let recorded = kernel.recorded("third");
    assert!(recorded.len() == 2 && recorded.iter().all(|trial| trial.summaries["e"].last.0 == 0.25), "{recorded:#?}");
    let after = contents_on(&home);
    let stayed = before.iter().all(|(path, inode)| after.get(path) == Some(inode));
    assert!(stayed && after.len() == 3, "{before:?} {after:?}");

    // A sweep that does not name a file does not find it, although an earlier one has copied it.
    kernel.run_ok("%pool remove far").await;
    kernel.run_ok("%pool add far --prefix ./other.sh --copy").await;
    let listing = "import glob, json\nprint(glob.glob('data/*'))\nprint(json.dumps({'step': 1, 'e': 0.5}))\n";
    std::fs::write(here.join("list.py"), listing).expect("a file");
    kernel.run_ok("%%sweep bare --trials 1\ncommand python3 list.py {x}\nnuisance x ~ uniform(0, 1)\nminimize e").await;
    let log = read(&here, ".tunebook/trials/bare/1/log.txt");
    assert!(log.starts_with("[]"), "{log}");

    // What is missing on the node is named, and a study of the same name finds nothing of the one before.
    kernel.run_ok("%study delete third").await;
    std::fs::write(here.join("trial.py"), "import missing_module").expect("a file");
    kernel.run_ok(&sweep("third", "--trials 1")).await;
    let failed = &kernel.recorded("third")[0];
    let reason = failed.reason.as_deref().unwrap_or("");
    assert!(reason.contains("missing_module") && reason.contains("`--with` of `%pool add`"), "{failed:?}");
    assert!(!here.join(".tunebook/trials/third/1/notes.txt").exists(), "the file of the earlier study");
}

/// The text with one space where it has several, or a line break.
fn on_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn trials_that_read_copies_keep_the_contents_from_the_start_of_their_sweep() {
    let (mut kernel, folder) = kernel().await;
    let temporary = tempfile::tempdir().expect("a folder");
    let home = temporary.path().canonicalize().expect("the folder");
    let here = folder.path().canonicalize().expect("the folder");
    other_machine(&here, &home, None);
    let program = |value: &str| {
        let text = format!(
            "import json, os, time
open('{0}/began', 'w').close()
while not os.path.exists('{0}/go'): time.sleep(0.02)
print(json.dumps({{'step': 1, 'e': {value}}}))
",
            home.display()
        );
        std::fs::write(here.join("vis.py"), text).expect("a file");
    };
    program("0.5");
    let sweep = |options: &str| {
        format!("%%sweep vis {options}\ncommand python3 vis.py {{x}}\nnuisance x ~ uniform(0, 1)\nminimize e")
    };
    kernel.run_ok("%pool remove local").await;
    kernel.run_ok("%pool add far --prefix ./other.sh --copy").await;
    let id = kernel.send("execute_request", cell(&sweep("--trials 3"))).await;
    assert!(eventually(PATIENCE, || home.join("began").exists()).await);
    program("0.25");
    std::fs::write(home.join("go"), "").expect("a file");
    let shown = on_one_line(&kernel.answer(&id).await.shown());
    all_complete(&kernel, "vis", 3);
    let recorded = kernel.recorded("vis");
    assert!(recorded.iter().all(|trial| trial.summaries["e"].last.0 == 0.5), "{recorded:#?}");
    assert!(shown.contains("`vis.py` has changed here while the trials ran. The slots of the pool `far`"), "{shown}");
    assert!(!shown.contains("Later trials read the new contents"), "{shown}");
    let study = kernel.run_ok("%study vis").await.result();
    assert_eq!((&study["changes"], &study["changed"]), (&json!([]), &json!(["vis.py"])));

    // Slots that share the file system would mix both.
    kernel.run_ok("%pool remove far").await;
    kernel.run_ok("%pool add local").await;
    let error = kernel.run_error(&sweep("--trials 5")).await;
    assert!(error.contains("FilesChanged") && error.contains("`vis.py` has changed"), "{error}");
    program("0.5");
    kernel.run_ok(&sweep("--trials 4")).await;
    all_complete(&kernel, "vis", 4);
}

#[tokio::test]
async fn a_change_of_a_file_that_is_copied_besides_is_refused() {
    let (mut kernel, folder) = kernel().await;
    let home = tempfile::tempdir().expect("a folder");
    let here = folder.path().canonicalize().expect("the folder");
    other_machine(&here, home.path(), None);
    let write = |name: &str, text: &str| {
        std::fs::create_dir_all(here.join(name).parent().expect("a folder")).expect("a folder");
        std::fs::write(here.join(name), text).expect("a file");
    };
    write("pkg/train.py", "from . import model\nmodel.train()\n");
    write(
        "pkg/model.py",
        "import json\ndef train(): print(json.dumps({'step': 1, 'e': float(open('more/e').read())}))\n",
    );
    write("more/e", "0.5");
    let sweep = |options: &str| {
        let command = "command python3 -m pkg.train {x}";
        format!("%%sweep besides {options}\n{command}\nnuisance x ~ uniform(0, 1)\nminimize e")
    };
    kernel.run_ok("%pool remove local").await;
    kernel.run_ok("%pool add far --prefix ./other.sh --copy --with more").await;
    kernel.run_ok(&sweep("--trials 2")).await;
    all_complete(&kernel, "besides", 2);
    for (name, before, after) in [("more/e", "0.5", "0.25"), ("pkg/model.py", "", "import os\n")] {
        let text = std::fs::read_to_string(here.join(name)).expect("a file");
        write(name, &text.replacen(before, after, 1));
        let error = kernel.run_error(&sweep("--trials 4")).await;
        assert!(error.contains("FilesChanged") && error.contains(&format!("`{name}` has changed")), "{error}");
        write(name, &text);
    }
    kernel.run_ok(&sweep("--trials 4")).await;
    all_complete(&kernel, "besides", 4);
}

/// Waits until a result fulfils a condition, and returns it.
async fn result_when(kernel: &mut Kernel, magic: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let result = kernel.run_ok(magic).await.result();
        if holds(&result) {
            return result;
        }
        assert!(Instant::now() < deadline, "{result}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A field of a sweep in the result of `%sweeps`.
fn of_sweep<'a>(result: &'a Value, study: &str, field: &str) -> &'a Value {
    let sweeps = result["sweeps"].as_array().expect("sweeps");
    let sweep = sweeps.iter().find(|sweep| sweep["study"] == study);
    &sweep.unwrap_or_else(|| panic!("no sweep {study} in {result}"))[field]
}

#[tokio::test]
async fn in_a_removed_pool_the_trial_that_runs_goes_on_and_no_other_one_starts() {
    let (mut kernel, folder) = kernel().await;
    script(folder.path(), "trial.sh", &format!("touch began; while ! [ -e go ]; do sleep 0.02; done\n{QUICK}"));
    kernel.run_ok("%pool remove local").await;
    kernel.run_ok("%pool add far --prefix env").await;
    kernel.run_ok(&sweep("goes", "--trials 2 --background")).await;
    assert!(eventually(PATIENCE, || folder.path().join("began").exists()).await);
    let removed = kernel.run_ok("%pool remove far").await;
    assert_eq!(removed.result()["sweeps"], json!(["goes"]));
    let shown = on_one_line(&removed.shown());
    assert!(shown.contains("Trials of `goes` that run in `far` continue to their end"), "{shown}");
    let is_listed = |pool: &Value| pool["pool"] == "far" && pool["removed"] == true && pool["running"] == 1;
    result_when(&mut kernel, "%pool", |listed| listed["pools"].as_array().expect("pools").iter().any(is_listed)).await;
    // A pool of the same name is another one.
    kernel.run_ok("%pool add far --prefix 'env OTHER=1'").await;
    std::fs::write(folder.path().join("go"), "").expect("a file");
    let sweeps = result_when(&mut kernel, "%sweeps", |result| of_sweep(result, "goes", "state") == "failed").await;
    let reason = of_sweep(&sweeps, "goes", "reason").as_str().expect("a reason");
    assert!(reason.contains("pool `far` was removed"), "{reason}");
    let recorded = kernel.recorded("goes");
    assert!(recorded.len() == 1 && recorded[0].state == TrialState::Complete, "{recorded:#?}");
    kernel.run_ok("%pool remove far").await;
    assert_eq!(kernel.run_ok("%pool").await.result()["pools"], json!([]));
    // Other slots go on with the sweep.
    kernel.run_ok("%pool add local").await;
    kernel.run_ok(&sweep("goes", "--trials 2 --resume")).await;
    all_complete(&kernel, "goes", 2);
}

#[tokio::test]
async fn on_a_machine_that_is_removed_no_further_trial_starts() {
    let (mut kernel, folder) = kernel().await;
    script(folder.path(), "trial.sh", &format!("touch began; while ! [ -e go ]; do sleep 0.02; done\n{QUICK}"));
    kernel.run_ok(&sweep("here", "--trials 2 --parallel 1 --background")).await;
    assert!(eventually(PATIENCE, || folder.path().join("began").exists()).await);
    let removed = kernel.run_ok("%pool remove local").await.result();
    assert_eq!(removed["sweeps"], json!(["here"]));
    std::fs::write(folder.path().join("go"), "").expect("a file");
    let sweeps = result_when(&mut kernel, "%sweeps", |result| of_sweep(result, "here", "state") == "failed").await;
    let reason = of_sweep(&sweeps, "here", "reason").as_str().expect("a reason");
    assert!(reason.contains("pool `local` was removed"), "{reason}");
    let recorded = kernel.recorded("here");
    assert!(recorded.len() == 1 && recorded[0].state == TrialState::Complete, "{recorded:#?}");
}

#[tokio::test]
async fn sweeps_that_bound_themselves_use_other_slots_at_the_same_time() {
    let (mut kernel, folder) = kernel().await;
    script(folder.path(), "trial.sh", &format!("while ! [ -e go ]; do sleep 0.02; done\n{QUICK}"));
    kernel.run_ok("%pool remove local").await;
    kernel.run_ok("%pool add far --prefix env --slots 4").await;
    for study in ["a", "b"] {
        kernel.run_ok(&sweep(study, "--trials 3 --parallel 2 --background")).await;
    }
    let both_run_two = |result: &Value| ["a", "b"].iter().all(|study| of_sweep(result, study, "running") == 2);
    result_when(&mut kernel, "%sweeps", both_run_two).await;
    // Each of the four slots has one trial, and `%pool` shows those of both sweeps.
    let listed = result_when(&mut kernel, "%pool", |listed| pool(listed, "far")["running"] == 4).await;
    assert_eq!(pool(&listed, "far")["states"].as_array().expect("slots").len(), 4, "{listed}");
    std::fs::write(folder.path().join("go"), "").expect("a file");
    let both_ended = |result: &Value| ["a", "b"].iter().all(|study| of_sweep(result, study, "state") == "ended");
    result_when(&mut kernel, "%sweeps", both_ended).await;
    for study in ["a", "b"] {
        all_complete(&kernel, study, 3);
    }
}

#[tokio::test]
async fn copying_that_cannot_work_ends_with_the_reason() {
    let (mut kernel, folder) = kernel().await;
    script(folder.path(), "trial.sh", QUICK);
    // A machine without a folder that can be written, and one that does not get all that is sent.
    std::fs::write(folder.path().join("file"), "").expect("a file");
    let home = folder.path().join("file");
    script(folder.path(), "full.sh", &format!("exec env -i PATH=/usr/bin:/bin HOME={} \"$@\"", home.display()));
    let home = tempfile::tempdir().expect("a folder");
    // The words are `sh -c SCRIPT NAME SIZE HASH …`. One byte of the executable is left out.
    let lead = "exec env -i PATH=/usr/bin:/bin HOME=HERE sh -c \"$3\" \"$4\" $(($5 - 1)) \"$6\"";
    let lead = lead.replace("HERE", &home.path().display().to_string());
    script(folder.path(), "damage.sh", &lead);
    kernel.run_ok("%pool remove local").await;
    // A command that cannot be started is refused at once.
    for (prefix, expected) in [
        ("/nowhere.sh", "there is no program `/nowhere.sh`"),
        ("nowhere-at-all", "there is no program `nowhere-at-all` in the folders of PATH"),
        ("./file", "`./file` cannot be executed"),
    ] {
        let error = kernel.run_error(&format!("%pool add none --prefix {prefix} --copy")).await;
        assert!(error.contains("InvalidValue") && error.contains(expected), "{error}");
    }
    // No error shows the shell script that Tunebook appends to the words of the user.
    script(folder.path(), "says.sh", "echo \"$@\" >&2; exit 3");
    kernel.run_ok("%pool add says --prefix ./says.sh --copy").await;
    let error = kernel.run_error(&sweep("says", "--trials 1")).await;
    assert!(error.contains("SlotError") && !error.contains("sha256sum"), "{error}");
    kernel.run_ok("%pool remove says").await;
    for (pool, expected) in [("full", "set XDG_CACHE_HOME"), ("damage", "arrived damaged")] {
        kernel.run_ok(&format!("%pool add {pool} --prefix ./{pool}.sh --copy")).await;
        let error = kernel.run_error(&sweep(pool, "--trials 1")).await;
        assert!(error.contains("SlotError") && error.contains(expected), "{error}");
        kernel.run_ok(&format!("%pool remove {pool}")).await;
    }
    let pods = kernel.run_ok("%pool add pods --kubernetes 'image=registry/tunebook:1'").await.result();
    assert!(pods["warning"].as_str().is_some_and(|warning| warning.contains("`--copy`")), "{pods}");
}

#[tokio::test]
async fn models_are_trained_with_a_copied_libtorch_and_their_checkpoints_come_back() {
    let (mut kernel, folder) = kernel().await;
    let home = tempfile::tempdir().expect("a folder");
    let here = folder.path().canonicalize().expect("the folder");
    let libtorch = tunebook_tests::repository().join(".libtorch/lib");
    other_machine(&here, home.path(), libtorch.canonicalize().ok());
    kernel.run_ok("%pool remove local").await;
    kernel.run_ok("%pool add far --prefix ./other.sh --slots 2 --copy").await;
    let sweep = "%%sweep net --trials 2\nworkload digits_mlp\nnuisance lr ~ loguniform(1e-2, 1e-1)\n\
                 fixed steps = 200\nfixed eval_every = 100";
    kernel.run_ok(sweep).await;
    all_complete(&kernel, "net", 2);
    let mirror = home.path().join(".cache/tunebook/node/mirror");
    let mut open = vec![mirror];
    let mut libraries = vec![];
    while let Some(folder) = open.pop() {
        for path in std::fs::read_dir(folder).expect("a folder").flatten().map(|entry| entry.path()) {
            if path.is_dir() {
                open.push(path);
            } else if path.ends_with("libtorch_cpu.so") {
                libraries.push(path);
            }
        }
    }
    assert_eq!(libraries.len(), 1, "libtorch is copied");
    assert_eq!(libraries[0].metadata().expect("a file").nlink(), 2, "it is a link to the one copy of the machine");
    let trial = here.join(".tunebook/trials/net/1");
    for name in ["log.txt", "best.safetensors", "gradient_norm.npy"] {
        assert!(trial.join(name).is_file(), "{name} came back");
    }
    assert_eq!(kernel.run_ok("%final net --trial 1").await.result()["uses"], 1);
}

#[tokio::test]
async fn the_queue_of_slurm_is_shown_in_its_own_words() {
    let (mut kernel, folder) = kernel().await;
    script(folder.path(), "trial.sh", QUICK);
    // Fakes at the edge: `srun` as it speaks, and the queue.
    let srun = "echo \"$@\" >> asked; echo 'srun: job 7 queued and waiting for resources' >&2
        while ! [ -e granted ]; do sleep 0.02; done
        echo 'srun: job 7 has been allocated resources' >&2
        while [ \"${1#-}\" != \"$1\" ]; do shift; done; exec \"$@\"";
    script(folder.path(), "bin/srun", srun);
    script(folder.path(), "bin/squeue", "echo '7|PENDING|tunebook-gpu-1|Resources'");
    kernel.run_ok(&format!("%env PATH={}/bin:$PATH", folder.path().display())).await;
    kernel.run_ok("%pool remove local").await;
    kernel.run_ok("%pool add gpu --slurm '--partition=gpu --gpus=1' --slots 1").await;
    let id = kernel.send("execute_request", cell(&sweep("queued", "--trials 2"))).await;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let message = kernel.published().await;
        if message.content.to_string().contains("waits: Resources") {
            break;
        }
        assert!(Instant::now() < deadline, "the reason is not shown");
    }
    std::fs::write(folder.path().join("granted"), "").expect("a file");
    kernel.answer(&id).await;
    all_complete(&kernel, "queued", 2);
    let asked = read(folder.path(), "asked");
    assert!(asked.contains("--ntasks=1") && asked.contains("--partition=gpu --gpus=1"), "{asked}");
}

#[tokio::test]
async fn a_pod_runs_a_slot() {
    let (mut kernel, folder) = kernel().await;
    script(folder.path(), "trial.sh", QUICK);
    // A fake at the edge, which runs the container's command here.
    let kubectl = "echo \"$@\" >> asked\n[ $1 = run ] || exit 0\nexec python3 -c '
import json, os, sys
overrides = [word for word in sys.argv if word.startswith(\"--overrides=\")][0]
command = json.loads(overrides.split(\"=\", 1)[1])[\"spec\"][\"containers\"][0][\"command\"]
os.execvp(command[0], command)' \"$@\"";
    script(folder.path(), "bin/kubectl", kubectl);
    kernel.run_ok(&format!("%env PATH={}/bin:$PATH", folder.path().display())).await;
    kernel.run_ok("%pool remove local").await;
    kernel.run_ok("%pool add pods --kubernetes 'image=registry/tunebook:1 gpu=1' --slots 2").await;
    kernel.run_ok(&sweep("pods", "--trials 4")).await;
    all_complete(&kernel, "pods", 4);
    let asked = read(folder.path(), "asked");
    assert!(asked.starts_with("run tunebook-pods-0-"), "{asked}");
    for part in ["--stdin --rm", "--restart=Never", "--image=registry/tunebook:1", "\"nvidia.com/gpu\":\"1\""] {
        assert!(asked.contains(part), "{part} in {asked}");
    }
    // Whatever became of the command, no pod is left behind.
    let deleted = |number| format!("delete pod tunebook-pods-{number}-");
    let all_deleted = || [0, 1].iter().all(|number| read(folder.path(), "asked").contains(&deleted(number)));
    assert!(eventually(PATIENCE, all_deleted).await, "{}", read(folder.path(), "asked"));
}

#[tokio::test]
async fn a_pod_that_waits_is_deleted_with_its_kernel() {
    let (mut kernel, folder) = kernel().await;
    script(folder.path(), "trial.sh", QUICK);
    // The pod waits for a node for ever.
    script(folder.path(), "bin/kubectl", "echo \"$@\" >> asked\n[ $1 = run ] || exit 0\nexec sleep 1000");
    kernel.run_ok(&format!("%env PATH={}/bin:$PATH", folder.path().display())).await;
    kernel.run_ok("%pool remove local").await;
    kernel.run_ok("%pool add pods --kubernetes 'image=registry/tunebook:1' --slots 1").await;
    kernel.send("execute_request", cell(&sweep("pods", "--trials 1"))).await;
    let asked = |text: &str| read(folder.path(), "asked").contains(text);
    assert!(eventually(PATIENCE, || asked("run tunebook-pods-0-")).await);
    kernel.kill();
    assert!(eventually(PATIENCE, || asked("delete pod tunebook-pods-0-")).await, "{}", read(folder.path(), "asked"));
}

/// A slot that needs no libtorch and starts fast: it answers as a slot does, and its trials report once a second.
const FAKE_SLOT: &str = r#"
import json, sys, time
def say(**message): print(json.dumps(message), flush=True)
say(type="hello", protocol=1, pid=0)
for line in sys.stdin:
    request = json.loads(line)
    if request["type"] == "begin":
        say(type="ready", protocol=1, node="fake")
    elif request["type"] == "run":
        for trial in request["trials"]:
            id = trial["trial"]
            seconds = int(sys.argv[1])
            for step in range(1, seconds + 1):
                time.sleep(1)
                say(type="measured", trial=id, step=step, seconds=float(step), metrics={"e": trial["params"]["x"]})
            say(type="ended", trial=id, state="complete", reason=None, seconds=float(seconds))
"#;

/// It is a measure, for a quiet machine: `cargo verify -- --test product pools:: -- --ignored --nocapture`.
#[tokio::test]
#[ignore = "a measure"]
async fn slots_are_busy_while_trials_of_a_second_wait() {
    let (mut kernel, folder) = kernel().await;
    script(folder.path(), "trial.sh", QUICK);
    std::fs::write(folder.path().join("fake.py"), FAKE_SLOT).expect("a file");
    kernel.run_ok("%pool remove local").await;
    kernel.run_ok("%pool add fake --prefix 'python3 fake.py 1' --slots 8").await;
    kernel.run_ok(&sweep("busy", "--trials 80")).await;
    all_complete(&kernel, "busy", 80);
    let trials = kernel.recorded("busy");
    // Between the starts of trials that follow each other in one slot lies the trial, and what the slot waits.
    let mut started: Vec<f64> = trials.iter().map(|trial| trial.started).collect();
    started.sort_by(f64::total_cmp);
    let gaps: Vec<f64> = started.windows(9).map(|window| window[8] - window[0]).collect();
    let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
    println!("8 slots with trials of 1 s are busy for {:.1} % of the time", 100.0 / mean);
    assert!(mean < 1.0 / 0.95, "a slot gets a trial every {mean:.3} s");
}

/// How much of a processor the kernel needs for many slots. It is a measure, as the one above.
#[tokio::test]
#[ignore = "a measure"]
async fn a_thousand_slots_with_a_report_a_second_keep_a_core_mostly_idle() {
    let (mut kernel, folder) = kernel().await;
    script(folder.path(), "trial.sh", QUICK);
    // Bash waits for a second without starting a process.
    let report = "exec 9<><(:)\nwhile read -r line; do case $line in
        *'\"type\":\"begin\"'*) echo '{\"type\":\"ready\",\"protocol\":1,\"node\":\"fake\"}';;
        *'\"type\":\"run\"'*) number=${line#*'\"number\":'}; number=${number%%\\}*}
          for step in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
            read -t 1 -u 9 || true
            echo \"{\\\"type\\\":\\\"measured\\\",\\\"trial\\\":{\\\"study\\\":\\\"many\\\",\\\"number\\\":$number},\\\"step\\\":$step,\\\"seconds\\\":$step,\\\"metrics\\\":{\\\"e\\\":0.$step}}\"
          done
          echo \"{\\\"type\\\":\\\"ended\\\",\\\"trial\\\":{\\\"study\\\":\\\"many\\\",\\\"number\\\":$number},\\\"state\\\":\\\"complete\\\",\\\"reason\\\":null,\\\"seconds\\\":20}\";;
        esac; done";
    std::fs::write(folder.path().join("fake.sh"), report).expect("a script");
    kernel.run_ok("%pool remove local").await;
    kernel.run_ok("%pool add fake --prefix 'bash fake.sh' --slots 1000").await;
    let id = kernel.send("execute_request", cell(&sweep("many", "--trials 4000"))).await;
    assert!(eventually(PATIENCE, || kernel.trials_ended() >= 1000).await, "each slot has run a trial");
    let reports = || {
        let store =
            Store::open_to_read(&folder.path().join(".tunebook/studies.db")).expect("the store").expect("a store");
        let study = store.study("many").expect("the study").expect("a study");
        let trials = store.trials(&study).expect("the trials");
        trials.iter().map(|trial| store.measurements(&study, trial.number).expect("reports").len()).sum::<usize>()
    };
    let (before, at, reported) = (kernel.processor_seconds(), Instant::now(), reports());
    assert!(eventually(PATIENCE, || at.elapsed() > Duration::from_secs(20)).await);
    let share = (kernel.processor_seconds() - before) / at.elapsed().as_secs_f64();
    let rate = (reports() - reported) as f64 / at.elapsed().as_secs_f64();
    println!("1,000 slots with {rate:.0} reports a second keep {:.1} % of a core busy", 100.0 * share);
    assert!(rate > 800.0, "the fakes are too slow on this machine: {rate} reports a second");
    kernel.control("interrupt_request", json!({})).await;
    kernel.answer(&id).await;
    assert!(share < 0.2, "{share}");
}
