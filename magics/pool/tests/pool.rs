//! The pool with real slots, which run shell scripts as programs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tunebook_pool::{
    Copied, Environment, FarPool, Kubernetes, Launcher, NeededFile, Needs, Pool, PoolError, PoolEvent, SlotSpec,
    SlotState,
};
use tunebook_study::protocol::{Event, TrialId, TrialRequest};
use tunebook_study::{ProgramLine, TrialState, WorkloadReference};

/// The slot: an example of this crate, which cargo builds with the tests.
fn slot() -> String {
    let test = std::env::current_exe().unwrap();
    let path = test.parent().unwrap().parent().unwrap().join("examples/slot");
    assert!(path.exists(), "{} is built with the tests of this crate", path.display());
    path.display().to_string()
}

fn spec(words: &[&str]) -> SlotSpec {
    SlotSpec {
        device: "cpu:0".into(),
        command: words.iter().map(|word| word.to_string()).collect(),
        environment: Environment::default(),
        folder: None,
        far: None,
    }
}

fn pool(slots: usize) -> Pool {
    Pool::new(vec![spec(&[&slot(), "--worker", "/nonexistent/worker"]); slots])
}

fn request(number: u32, folder: &Path, words: &[impl AsRef<str>]) -> TrialRequest {
    TrialRequest {
        trial: TrialId { study: "s".into(), number },
        workload: WorkloadReference::Command(ProgramLine {
            words: words.iter().map(|word| word.as_ref().to_string()).collect(),
            optional: vec![],
        }),
        params: [("x".to_string(), 0.25.into())].into(),
        seed: 5,
        objective: "e".into(),
        direction: tunebook_study::Direction::Minimize,
        directory: folder.join(number.to_string()),
        timeout: None,
        worker: None,
        until: None,
        noise_every: None,
        training_metrics: false,
        fit: None,
    }
}

struct Ended {
    steps: Vec<u64>,
    state: TrialState,
    reason: String,
}

/// Waits for the end of the next trial.
fn end(pool: &mut Pool) -> Ended {
    let mut steps = vec![];
    loop {
        let message = pool.channel().recv_timeout(Duration::from_secs(20)).expect("an event");
        match pool.accept(message) {
            Some(PoolEvent::Trial(Event::Measured { measurement, .. })) => steps.push(measurement.step),
            Some(PoolEvent::Trial(Event::Ended { state, reason, .. })) => {
                return Ended { steps, state, reason: reason.unwrap_or_default() };
            }
            Some(PoolEvent::SlotLost { reason, .. }) => panic!("{reason}"),
            _ => {}
        }
    }
}

/// The command that runs a shell script. Its braces are doubled, so that they are not placeholders.
fn sh(script: &str) -> [String; 3] {
    ["sh".into(), "-c".into(), script.replace('{', "{{").replace('}', "}}")]
}

fn alive(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

/// Waits until a script has written a line to a file, and returns it.
fn written(path: PathBuf) -> String {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match std::fs::read_to_string(&path) {
            Ok(text) if text.ends_with('\n') => return text,
            _ => assert!(Instant::now() < deadline, "{} is not written", path.display()),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn each_way_a_program_ends_has_its_state_and_reason() {
    let folder = tempfile::tempdir().unwrap();
    let mut pool = pool(1);
    let report = r#"echo "{\"step\": 1, \"e\": 0.5}""#;
    let cases: Vec<(String, TrialState, &str)> = vec![
        (report.to_string(), TrialState::Complete, ""),
        (format!("{report}; echo why >&2; exit 3"), TrialState::Failed, "exited with status 3: why"),
        (r#"echo "{\"step\": 1, \"e\": NaN}"; exit 3"#.into(), TrialState::Infeasible, "non-finite at step 1"),
        // It is ended at once, and not at its time limit.
        (
            r#"echo "{\"step\": 1, \"e\": 0.5, \"train_loss\": NaN}"; sleep 1000"#.into(),
            TrialState::Infeasible,
            "`train_loss` became non-finite at step 1",
        ),
        (r#"echo "{\"step\": 1, \"loss\": 1}""#.into(), TrialState::Failed, "without reporting `e`"),
        ("kill -SEGV $$".into(), TrialState::Failed, "signal 11"),
    ];
    for (i, (script, state, part)) in cases.iter().enumerate() {
        pool.run(request(i as u32 + 1, folder.path(), &sh(script))).unwrap();
        let ended = end(&mut pool);
        assert_eq!(ended.state, *state, "{script}: {}", ended.reason);
        assert!(ended.reason.contains(part), "{script}: {}", ended.reason);
    }
    pool.run(request(9, folder.path(), &["/nonexistent/program"])).unwrap();
    assert!(end(&mut pool).reason.contains("cannot be started"));
    let mut builtin = request(10, folder.path(), &[""]);
    builtin.workload = WorkloadReference::Builtin { name: "digits_mlp".into() };
    pool.run(builtin).unwrap();
    assert!(end(&mut pool).reason.contains("/nonexistent/worker"), "a missing worker fails the trial, not the slot");
}

/// Waits until the slot of a trial is lost, or the trial ends. Returns how.
fn loss_or_end(pool: &mut Pool) -> String {
    loop {
        let message = pool.channel().recv_timeout(Duration::from_secs(20)).expect("an event");
        match pool.accept(message) {
            Some(PoolEvent::SlotLost { .. }) => return "lost".into(),
            Some(PoolEvent::Trial(Event::Ended { state, reason, .. })) => {
                return format!("{state:?} {}", reason.unwrap_or_default()).trim().into();
            }
            _ => {}
        }
    }
}

#[test]
fn a_trial_that_a_signal_to_all_of_its_job_has_ended_is_lost_with_its_slot() {
    let folder = tempfile::tempdir().unwrap();
    let report = r#"echo "{\"step\": 1, \"e\": 0.5}""#;
    let saves = "trap 'echo saving; exit 0' TERM";
    // What the program does first, how much later than the program the slot gets the signal, and how the trial ends.
    // A signal to the program alone is its own matter.
    let cases = [
        (saves, Some(0), "lost"),
        ("true", Some(0), "lost"),
        ("true", Some(100), "lost"),
        ("trap 'exit 3' TERM", Some(100), "lost"),
        ("true", None, "Failed the program was killed by signal 15 (SIGTERM)"),
        (saves, None, "Complete"),
    ];
    for (number, (first, later, expected)) in (1..).zip(cases) {
        let mut pool = pool(1);
        let pids = folder.path().join(format!("pids{number}"));
        let script = format!("{first}; {report}; echo $$ $PPID > {}; while :; do sleep 0.01; done", pids.display());
        pool.run(request(number, folder.path(), &sh(&script))).unwrap();
        let pids: Vec<i32> = written(pids).split_whitespace().map(|pid| pid.parse().unwrap()).collect();
        let end = |pid| nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGTERM).unwrap();
        end(pids[0]);
        if let Some(later) = later {
            std::thread::sleep(Duration::from_millis(later));
            end(pids[1]);
        }
        let how = loss_or_end(&mut pool);
        assert!(how == expected || later.is_none() && how.starts_with(expected), "{number}: {how}");
    }
}

#[test]
fn a_signal_that_warns_of_the_end_of_a_job_ends_no_slot() {
    let folder = tempfile::tempdir().unwrap();
    let mut pool = pool(1);
    // The slot and the program get it, and the guard of the slot, which is its other child.
    let warn = "for id in $PPID $(cat /proc/$PPID/task/$PPID/children) $$; do kill -USR1 $id; done; sleep 0.05";
    let report = r#"echo "{\"step\": 1, \"e\": 0.5}""#;
    pool.run(request(1, folder.path(), &sh(&format!("trap 'echo saved' USR1; {warn}; {warn}; {report}")))).unwrap();
    assert_eq!(loss_or_end(&mut pool), "Complete");
    // A program that such a signal kills runs again elsewhere. It does not inherit that the slot goes on.
    pool.run(request(2, folder.path(), &sh(&format!("{warn}; {report}")))).unwrap();
    assert_eq!(loss_or_end(&mut pool), "lost");
}

#[test]
fn a_program_sees_its_trial_and_its_output_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let script = r#"echo "log $1 $TUNEBOOK_SEED $TUNEBOOK_TRIAL $TUNEBOOK_STUDY $TUNEBOOK_PARAMS"
        echo '{"step": 1, "e"'; for i in 1 2 3; do echo "{\"step\": $i, \"e\": $1}"; done; echo late >&2"#;
    let mut pool = pool(1);
    let [sh, flag, script] = sh(script);
    pool.run(request(1, folder.path(), &[sh, flag, script, "name".into(), "{x}".into()])).unwrap();
    let ended = end(&mut pool);
    assert_eq!((ended.state, ended.steps), (TrialState::Complete, vec![1, 2, 3]));
    let log = std::fs::read_to_string(folder.path().join("1/log.txt")).unwrap();
    assert!(log.contains("log 0.25 5 1 s {\"x\":0.25}"), "{log}");
    assert!(log.contains("{\"step\": 1, \"e\"\n") && log.contains("late"), "{log}");
}

#[test]
fn a_program_runs_in_the_folder_and_with_the_environment_of_its_slot() {
    let folder = tempfile::tempdir().unwrap();
    let added = [("TUNEBOOK_POOL_TEST".into(), Some("added".into())), ("PATH".into(), None), ("HOME".into(), None)];
    let path = ("PATH".to_string(), std::env::var("PATH").ok());
    let environment = Environment(added.into_iter().chain([path]).collect());
    let spec = SlotSpec { environment, folder: Some(folder.path().into()), ..spec(&[&slot(), "--worker", "/none"]) };
    let mut pool = Pool::new(vec![spec]);
    let script = r#"echo "$TUNEBOOK_POOL_TEST ${HOME-none} $(pwd -P)"; echo "{\"step\": 1, \"e\": 1}""#;
    pool.run(request(1, folder.path(), &sh(script))).unwrap();
    let ended = end(&mut pool);
    assert_eq!(ended.state, TrialState::Complete, "{}", ended.reason);
    let log = std::fs::read_to_string(folder.path().join("1/log.txt")).unwrap();
    let expected = format!("added none {}", folder.path().canonicalize().unwrap().display());
    assert!(log.contains(&expected), "{log}");
}

#[test]
fn a_time_out_ends_the_program_and_what_it_started() {
    let folder = tempfile::tempdir().unwrap();
    let (script, file) = grandchild(folder.path());
    let mut pool = pool(1);
    let limited = TrialRequest { timeout: Some(0.5), ..request(1, folder.path(), &sh(&script)) };
    pool.run(limited).unwrap();
    let pid = written(file);
    let ended = end(&mut pool);
    assert!(ended.state == TrialState::Failed && ended.reason.contains("limit of 0.5 s"), "{}", ended.reason);
    assert!(!alive(&pid), "a grandchild is left");
}

/// A script that starts a process in the background and waits for it, and the file to which it writes the id of that
/// process.
fn grandchild(folder: &Path) -> (String, PathBuf) {
    let file = folder.join("pid");
    (format!("sleep 1000 & echo $! > {}; wait", file.display()), file)
}

#[test]
fn cancelled_trials_and_dropped_pools_leave_no_process() {
    let folder = tempfile::tempdir().unwrap();
    let (script, file) = grandchild(folder.path());
    let mut first = pool(1);
    first.run(request(1, folder.path(), &sh(&script))).unwrap();
    let pid = written(file.clone());
    let started = Instant::now();
    first.cancel_all(Duration::from_millis(600));
    assert!(started.elapsed() < Duration::from_millis(900), "{:?}", started.elapsed());
    assert!(!alive(&pid) && first.has_free_slot());
    first.run(request(2, folder.path(), &sh(r#"echo "{\"step\": 1, \"e\": 0.5}""#))).unwrap();
    assert_eq!(end(&mut first).state, TrialState::Complete, "the slot takes the next trial");

    std::fs::remove_file(&file).unwrap();
    first.run(request(3, folder.path(), &sh(&script))).unwrap();
    let pid = written(file);
    let started = Instant::now();
    drop(first);
    while alive(&pid) {
        assert!(started.elapsed() < Duration::from_secs(1), "a grandchild outlives its pool");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_slot_that_is_killed_leaves_no_process() {
    let folder = tempfile::tempdir().unwrap();
    let (script, file) = grandchild(folder.path());
    let mut pool = pool(1);
    let script = format!("echo $PPID > {}; {script}", folder.path().join("slot").display());
    pool.run(request(1, folder.path(), &sh(&script))).unwrap();
    let (pid, slot) = (written(file), written(folder.path().join("slot")));
    assert!(alive(&pid) && alive(&slot));
    assert!(std::process::Command::new("kill").args(["-9", slot.trim()]).status().unwrap().success());
    let started = Instant::now();
    while alive(&pid) {
        assert!(started.elapsed() < Duration::from_secs(10), "a grandchild outlives its slot");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A script that starts a process in a session of its own, and the file to which that process writes its id.
fn detached(folder: &Path, name: &str) -> (String, PathBuf) {
    let file = folder.join(name);
    (format!("setsid sh -c 'echo $$ > {}; exec sleep 1000' &", file.display()), file)
}

fn until_gone(pid: &str) {
    let started = Instant::now();
    while alive(pid) {
        assert!(started.elapsed() < Duration::from_secs(5), "a process is left");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn processes_that_leave_their_group_end_with_their_trial_and_with_no_other_one() {
    let folder = tempfile::tempdir().unwrap();
    let report = r#"echo "{\"step\": 1, \"e\": 0.5}""#;
    let mut pool = pool(2);
    let (begin, file) = detached(folder.path(), "other");
    pool.run(request(1, folder.path(), &sh(&format!("{begin} sleep 1000")))).unwrap();
    let other = written(file);
    let (begin, file) = detached(folder.path(), "own");
    let wait = format!("until [ -s {} ]; do sleep 0.01; done", file.display());
    pool.run(request(2, folder.path(), &sh(&format!("{begin} {wait}; {report}")))).unwrap();
    let own = written(file);
    let started = Instant::now();
    let ended = end(&mut pool);
    assert_eq!(ended.state, TrialState::Complete, "{}", ended.reason);
    assert!(started.elapsed() < Duration::from_millis(1800), "the slot waits for a pipe: {:?}", started.elapsed());
    assert!(!alive(&own), "it outlives its trial");
    assert!(alive(&other), "it belongs to another trial");
    drop(pool);
    until_gone(&other);
}

#[test]
fn processes_that_leave_their_group_end_with_a_slot_that_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let mut pool = pool(1);
    let (begin, file) = detached(folder.path(), "pid");
    let slot = folder.path().join("slot");
    let script = format!("echo $PPID > {}; {begin} sleep 1000", slot.display());
    pool.run(request(1, folder.path(), &sh(&script))).unwrap();
    let (pid, slot) = (written(file), written(slot));
    assert!(alive(&pid));
    assert!(std::process::Command::new("kill").args(["-9", slot.trim()]).status().unwrap().success());
    until_gone(&pid);
}

#[test]
fn a_program_that_ends_well_without_its_objective_says_so_and_others_do_not() {
    let folder = tempfile::tempdir().unwrap();
    let mut pool = pool(1);
    let report = r#"echo "{\"step\": 1, \"e\": 0.5}""#;
    for (number, script, expected) in [(1, "true", true), (2, "exit 3", false), (3, report, false)] {
        pool.run(request(number, folder.path(), &sh(script))).unwrap();
        loop {
            let message = pool.channel().recv_timeout(Duration::from_secs(20)).expect("an event");
            if let Some(PoolEvent::Trial(Event::Ended { unreported, .. })) = pool.accept(message) {
                assert_eq!(unreported, expected, "{script}");
                break;
            }
        }
    }
}

#[test]
fn slots_run_at_the_same_time_and_a_lost_slot_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let mut pool = pool(2);
    // Each script waits for the other one, so they end only if they run at the same time.
    let script = |own: &str, other: &str| {
        let folder = folder.path().display();
        format!(
            "touch {folder}/{own}; while ! [ -e {folder}/{other} ]; do sleep 0.01; done; echo '{{\"step\":1,\"e\":1}}'"
        )
    };
    pool.run(request(1, folder.path(), &sh(&script("a", "b")))).unwrap();
    pool.run(request(2, folder.path(), &sh(&script("b", "a")))).unwrap();
    assert!(matches!(pool.run(request(3, folder.path(), &sh("true"))), Err(PoolError::Full)));
    assert_eq!([end(&mut pool).state, end(&mut pool).state], [TrialState::Complete; 2]);

    // The program ends its own slot, as a machine that is taken away would.
    pool.run(request(4, folder.path(), &sh("kill -9 $PPID; sleep 10"))).unwrap();
    loop {
        let message = pool.channel().recv_timeout(Duration::from_secs(10)).expect("an event");
        if let Some(PoolEvent::SlotLost { trial, reason, .. }) = pool.accept(message) {
            assert_eq!(trial.number, 4);
            assert!(reason.contains("signal: 9"), "{reason}");
            break;
        }
    }
    pool.run(request(5, folder.path(), &sh(r#"echo "{\"step\": 1, \"e\": 0.5}""#))).unwrap();
    assert_eq!(end(&mut pool).state, TrialState::Complete);
}

#[test]
fn banners_are_skipped_and_the_output_of_other_programs_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let command = format!("echo Welcome to the machine; echo; exec {} --worker x", slot());
    let mut pool = Pool::new(vec![spec(&["sh", "-c", &command])]);
    pool.run(request(1, folder.path(), &sh(r#"echo "{\"step\": 1, \"e\": 0.5}""#))).unwrap();
    assert_eq!(end(&mut pool).state, TrialState::Complete);

    let mut none = Pool::new(vec![spec(&["echo", "I am no slot"])]);
    let error = none.run(request(1, folder.path(), &sh("true"))).unwrap_err();
    assert!(error.to_string().contains("I am no slot"), "{error}");
    let mut missing = Pool::new(vec![spec(&["/nonexistent/slot"])]);
    assert!(matches!(missing.run(request(1, folder.path(), &sh("true"))), Err(PoolError::Start { .. })));
    let mut newer = Pool::new(vec![spec(&["echo", r#"{"type":"hello","protocol":99,"pid":1}"#])]);
    let error = newer.run(request(1, folder.path(), &sh("true"))).unwrap_err();
    assert!(error.to_string().contains("version 99"), "{error}");
}

/// A pool of slots on another machine that shares nothing with this one: `launcher` leads to it. Its trials read
/// `data.txt` of `folder`, and have their folders there.
fn copying_pool(folder: &Path, launcher: &[&str], slots: usize) -> Pool {
    let launcher = Launcher::Prefix(launcher.iter().map(|word| word.to_string()).collect());
    let far = FarPool { name: "far".into(), id: 0, launcher, slots, copies: Some(vec![]) };
    let copied = Copied {
        executable: NeededFile::of(Path::new(&slot())).unwrap(),
        origin: "here".into(),
        study: "1".into(),
        trials: folder.into(),
        libraries: None,
        defaults: Default::default(),
    };
    let files = vec![NeededFile::of(&folder.join("data.txt")).unwrap()];
    let needs = Needs { folder: folder.into(), files, copied: Some(copied), ..Needs::default() };
    let mut pool = Pool::new(vec![]);
    let specs = far.specs(&[slot(), "--worker".into(), "/none".into()], &Environment::default());
    pool.set_far(specs, [("far".to_string(), needs)].into(), vec![slot(), "guard".into()]);
    pool
}

/// Takes messages until a slot is ready. Returns the reasons for which slots waited.
fn until_ready(pool: &mut Pool, slots: usize) -> Vec<String> {
    let (mut reasons, deadline) = (vec![], Instant::now() + Duration::from_secs(60));
    while pool.status().iter().filter(|slot| slot.state == SlotState::Running).count() < slots {
        assert!(Instant::now() < deadline, "{:?}", pool.status());
        pool.tend(slots);
        if let Ok(message) = pool.channel().recv_timeout(Duration::from_millis(100)) {
            pool.accept(message);
        }
        reasons.extend(pool.status().into_iter().filter_map(|slot| slot.reason));
    }
    reasons
}

#[test]
fn trials_start_only_in_slots_that_were_granted() {
    let folder = tempfile::tempdir().unwrap();
    let slot = slot();
    let named = |device: &str| SlotSpec { device: device.into(), ..spec(&[&slot, "--worker", "/none"]) };
    let mut pool = Pool::new(vec![named("cpu:0"), named("cpu:1"), named("cpu:1")]);
    assert!(pool.has_free_slot());
    pool.set_granted(Some(BTreeMap::new()));
    assert!(!pool.has_free_slot());
    pool.set_granted(Some([("cpu:1".to_string(), 1)].into()));
    assert_eq!(pool.run(request(1, folder.path(), &sh("sleep 1000"))).unwrap(), "cpu:1");
    assert!(!pool.has_free_slot(), "one slot was granted, and it is used");
    let usage = pool.usage();
    assert_eq!(usage.at_work, [("cpu:1".to_string(), 1)]);
    assert_eq!(usage.free, ["cpu:0", "cpu:1"]);
    assert_eq!(usage.slots, BTreeMap::from([("cpu:0".to_string(), 1), ("cpu:1".to_string(), 2)]));
    pool.set_granted(None);
    assert!(pool.has_free_slot());
}

#[test]
fn a_sweep_counts_only_its_own_trials() {
    let folder = tempfile::tempdir().unwrap();
    let mut pool = pool(1);
    pool.run(request(1, folder.path(), &sh(r#"echo "{\"step\": 1, \"e\": 0.5}""#))).unwrap();
    end(&mut pool);
    assert_eq!(pool.status()[0].trials, 1);
    pool.close(|_| true);
    assert!(!pool.has_free_slot());
    pool.begin();
    assert_eq!((pool.status()[0].trials, pool.status()[0].lost), (0, 0));
    assert!(pool.has_free_slot(), "the pool `local` was added again since");
}

#[test]
fn trials_of_a_removed_pool_go_on_and_no_other_one_starts_there() {
    let folder = tempfile::tempdir().unwrap();
    let launcher = Launcher::Prefix(vec!["env".into()]);
    let far = FarPool { name: "far".into(), id: 3, launcher, slots: 3, copies: None };
    let specs = far.specs(&[slot(), "--worker".into(), "/none".into()], &Environment::default());
    let needs = Needs { folder: folder.path().into(), ..Needs::default() };
    let mut pool = pool(1);
    pool.set_far(specs, [("far".to_string(), needs)].into(), vec![slot(), "guard".into()]);
    until_ready(&mut pool, 3);
    let go = folder.path().join("go");
    let wait = format!("until [ -e {} ]; do sleep 0.01; done", go.display());
    let report = r#"echo "{\"step\": 1, \"e\": 0.5}""#;
    let complete = format!("{wait}; {report}");
    let killed = format!("{wait}; kill -9 $PPID; sleep 10");
    for (number, script) in [(1, complete), (2, killed)] {
        let place = pool.run(request(number, folder.path(), &sh(&script))).unwrap();
        assert!(place.starts_with(&format!("far/{number}")), "{place}");
    }
    pool.close(|spec| spec.far.as_ref().is_some_and(|far| far.id == 3));
    let usage = pool.usage();
    assert_eq!(usage.slots.keys().collect::<Vec<_>>(), ["cpu:0", "far/1", "far/2"]);
    assert!(usage.started.is_empty() && usage.startable.is_empty(), "{usage:?}");
    pool.tend(7);
    assert_eq!(pool.status()[3].state, SlotState::Idle, "the slot without a trial has ended");
    assert_eq!(pool.run(request(3, folder.path(), &sh(report))).unwrap(), "cpu:0");
    assert_eq!(end(&mut pool).state, TrialState::Complete);
    std::fs::write(go, "").unwrap();
    let mut seen = vec![];
    while seen.len() < 2 {
        let message = pool.channel().recv_timeout(Duration::from_secs(20)).expect("an event");
        match pool.accept(message) {
            Some(PoolEvent::Trial(Event::Ended { trial, state, .. })) => seen.push((trial.number, Some(state))),
            Some(PoolEvent::SlotLost { trial, .. }) => seen.push((trial.number, None)),
            _ => {}
        }
    }
    seen.sort_by_key(|(number, _)| *number);
    assert_eq!(seen, [(1, Some(TrialState::Complete)), (2, None)]);
    // Trials wait, and nothing starts there again.
    pool.tend(8);
    let states: Vec<SlotState> = pool.status().into_iter().map(|slot| slot.state).collect();
    assert_eq!(states, [SlotState::Idle; 4]);
    assert_eq!(pool.stuck(), None, "this machine is left");
    pool.close(|_| true);
    assert!(!pool.has_free_slot());
    assert_eq!(
        pool.stuck().as_deref(),
        Some("no slot is left: pool `local` was removed; pool `far` was removed (3 slots)")
    );
    // This machine is added again.
    pool.close(|spec| spec.far.is_some());
    assert!(pool.has_free_slot() && pool.stuck().is_none());
}

/// A command that leads to another machine, as far as a process can tell: another home folder, and no environment.
/// Where the system allows it, the folder `hidden` is empty there.
fn other_machine(home: &Path, hidden: &Path) -> [String; 4] {
    let (mount, home) = (format!("mount -t tmpfs none '{}'", hidden.display()), home.display());
    let lead = format!(
        "cd /; set -- env -i PATH=/usr/bin:/bin HOME={home} \"$@\"
        if unshare -rm {mount} 2>/dev/null; then
          exec unshare -rm sh -c \"{mount} && exec \\\"\\$@\\\"\" sh \"$@\"
        fi
        exec \"$@\""
    );
    ["sh".into(), "-c".into(), lead, "other".into()]
}

#[test]
fn a_slot_that_shares_nothing_gets_its_files_once_and_gives_those_of_its_trials_back() {
    use std::os::unix::fs::MetadataExt;
    let (folder, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let folder = folder.path().canonicalize().unwrap();
    std::fs::write(folder.join("data.txt"), "0.5").unwrap();
    let launcher = other_machine(home.path(), &folder);
    let launcher: Vec<&str> = launcher.iter().map(String::as_str).collect();
    let mut pool = copying_pool(&folder, &launcher, 2);
    let reasons = until_ready(&mut pool, 2);
    assert!(reasons.iter().any(|reason| reason.starts_with("copying 1 of 1 file (")), "{reasons:?}");
    let script = r#"pwd; echo "$1"; cp "$1" data.txt $TUNEBOOK_TRIAL_DIR 2>/dev/null; mkdir $TUNEBOOK_TRIAL_DIR/sub
        head -c 11000000 /dev/zero > $TUNEBOOK_TRIAL_DIR/sub/large.bin
        head -c 11000000 /dev/zero > $TUNEBOOK_TRIAL_DIR/sub/best.safetensors
        echo "{\"step\": 1, \"e\": $(cat data.txt)}""#;
    let [sh, flag, script] = sh(script);
    let data = folder.join("data.txt").display().to_string();
    assert!(pool.next_reads_copies());
    let first = request(1, &folder, &[sh, flag, script, "name".into(), data]);
    pool.run(first.clone()).unwrap();
    assert!(pool.reads_copies(&first.trial));
    let ended = end(&mut pool);
    assert_eq!((ended.state, ended.steps), (TrialState::Complete, vec![1]), "{}", ended.reason);
    let node = home.path().join(".cache/tunebook/node");
    let mirrors = std::fs::read_dir(node.join("mirror/here")).unwrap().flatten().map(|entry| entry.path());
    let mirrors: Vec<PathBuf> = mirrors.filter(|path| path.is_dir()).collect();
    assert_eq!(mirrors.len(), 1, "the mirror of the study");
    let mirror = format!("{}{}", mirrors[0].display(), folder.display());
    let log = std::fs::read_to_string(folder.join("1/log.txt")).unwrap();
    assert!(log.starts_with(&format!("{mirror}\n{mirror}/data.txt\n")), "{log}");
    assert!(log.contains("sub/large.bin (11 MB) stayed in"), "{log}");
    assert_eq!(std::fs::read_to_string(folder.join("1/data.txt")).unwrap(), "0.5");
    assert_eq!(std::fs::metadata(folder.join("1/sub/best.safetensors")).unwrap().len(), 11_000_000);
    assert!(!folder.join("1/sub/large.bin").exists());
    drop(pool);

    // Later slots copy nothing.
    let files = || {
        let executable = std::fs::read_dir(&node).unwrap().flatten().map(|entry| entry.path());
        let executable = executable.filter(|path| path.file_name().unwrap().to_string_lossy().contains("tunebook-"));
        let all = executable.chain([format!("{mirror}/data.txt").into()]);
        all.map(|path: PathBuf| path.metadata().unwrap().ino()).collect::<Vec<_>>()
    };
    let before = files();
    assert_eq!(before.len(), 2);
    let mut later = copying_pool(&folder, &launcher, 1);
    let reasons = until_ready(&mut later, 1);
    assert!(!reasons.iter().any(|reason| reason.contains("copying")), "{reasons:?}");
    assert_eq!(files(), before);
    drop(later);

    // A file that has changed since the sweep began is not taken for the one of then.
    let mut changed = copying_pool(&folder, &launcher, 1);
    std::fs::write(folder.join("data.txt"), "0.25").unwrap();
    std::fs::remove_dir_all(node.join("files")).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while !changed.status()[0].reason.as_ref().is_some_and(|reason| reason.contains("has changed here since")) {
        assert!(Instant::now() < deadline, "{:?}", changed.status());
        changed.tend(1);
        if let Ok(message) = changed.channel().recv_timeout(Duration::from_millis(100)) {
            changed.accept(message);
        }
    }
}

#[test]
fn a_slot_that_does_not_read_what_is_copied_to_it_ends_with_its_pool() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("data.txt"), "0.5").unwrap();
    let pid = folder.path().join("pid");
    let script = format!("echo $$ > {}; echo '{{\"type\":\"send_executable\"}}'; sleep 1000", pid.display());
    let mut pool = copying_pool(folder.path(), &["sh", "-c", &script], 1);
    let deadline = Instant::now() + Duration::from_secs(10);
    while !pool.status()[0].reason.as_ref().is_some_and(|reason| reason.starts_with("copying 1 of 1 file")) {
        assert!(Instant::now() < deadline, "{:?}", pool.status());
        pool.tend(1);
        if let Ok(message) = pool.channel().recv_timeout(Duration::from_millis(100)) {
            pool.accept(message);
        }
    }
    let (pid, started) = (written(pid), Instant::now());
    drop(pool);
    assert!(started.elapsed() < Duration::from_secs(1), "the pool waits for the copy");
    while alive(&pid) {
        assert!(started.elapsed() < Duration::from_secs(10), "the command outlives its pool");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Waits until a file contains a text.
fn contains(path: &Path, text: &str) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !std::fs::read_to_string(path).unwrap_or_default().contains(text) {
        assert!(Instant::now() < deadline, "no {text} in {:?}", std::fs::read_to_string(path));
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn no_pod_is_left_behind_whether_it_waits_or_its_command_has_ended() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let (asked, kubectl) = (folder.path().join("asked"), folder.path().join("kubectl"));
    // A fake at the edge: the pod of the first slot waits for a node, and the second command fails.
    let wait = "case $1$2 in run*-0-*) exec sleep 1000;; run*) exit 1;; esac";
    std::fs::write(&kubectl, format!("#!/bin/sh\necho \"$@\" >> {}\n{wait}", asked.display())).unwrap();
    std::fs::set_permissions(&kubectl, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
    let environment = Environment(vec![("PATH".into(), Some(path))]);
    let launcher = Launcher::Kubernetes(Kubernetes::parse(&["image=a".into(), "namespace=ml".into()]).unwrap());
    let far = FarPool { name: "pods".into(), id: 0, launcher, slots: 2, copies: None };
    let start = || {
        let mut pool = Pool::new(vec![]);
        let specs = far.specs(&[slot(), "--worker".into(), "/none".into()], &environment);
        pool.set_far(specs, Default::default(), vec![slot(), "guard".into()]);
        pool.tend(2);
        pool
    };
    let mut pool = start();
    contains(&asked, "run tunebook-pods-0-");
    let message = pool.channel().recv_timeout(Duration::from_secs(20)).expect("the end of a command");
    pool.accept(message);
    contains(&asked, "delete pod tunebook-pods-1-");
    assert!(!std::fs::read_to_string(&asked).unwrap().contains("delete pod tunebook-pods-0-"));
    pool.tend(0);
    contains(&asked, "delete pod tunebook-pods-0-");
    contains(&asked, "--namespace=ml --ignore-not-found --wait=false");

    // A pool that is dropped deletes its pods too.
    std::fs::remove_file(&asked).unwrap();
    let pool = start();
    contains(&asked, "run tunebook-pods-0-");
    drop(pool);
    contains(&asked, "delete pod tunebook-pods-0-");
}

#[test]
fn a_guard_runs_the_errands_that_are_left() {
    use std::io::Write;
    let folder = tempfile::tempdir().unwrap();
    let written = folder.path().join("written");
    let mut guard = std::process::Command::new(slot());
    let mut guard = guard.arg("guard").stdin(std::process::Stdio::piped()).spawn().unwrap();
    let mut stdin = guard.stdin.take().unwrap();
    for name in ["a", "b"] {
        let script = format!("echo {name}$GUARDED >> {}", written.display());
        let environment = [["GUARDED", "!"]];
        let errand = serde_json::json!({ "name": name, "words": ["sh", "-c", script], "environment": environment });
        writeln!(stdin, "*{errand}").unwrap();
    }
    writeln!(stdin, "=a").unwrap();
    drop(stdin);
    assert!(guard.wait().unwrap().success());
    assert_eq!(std::fs::read_to_string(&written).unwrap(), "b!\n");
}
