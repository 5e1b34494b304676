//! The pool with commands that only answer, and with times that are given.

use super::*;
use crate::{Environment, FarPool, Launcher, Scheduler};

/// The slots of a pool, each of which runs a shell script.
fn slots(name: &str, count: usize, script: &str) -> Vec<SlotSpec> {
    let words = ["sh", "-c", script].map(String::from).into();
    let pool = FarPool { name: name.into(), id: 0, launcher: Launcher::Prefix(words), slots: count, copies: None };
    pool.specs(&["tunebook".into()], &Environment::default())
}

/// A script that answers as a slot does, and then says nothing more.
fn answers() -> String {
    format!(r#"echo '{{"type":"ready","protocol":{VERSION},"node":"n"}}'; exec cat >/dev/null"#)
}

/// A script that waits for a machine.
const WAITS: &str = "exec sleep 1000";

fn pool(slots: Vec<SlotSpec>) -> Pool {
    let mut pool = Pool::new(vec![]);
    pool.set_far(slots, BTreeMap::new(), vec![]);
    pool
}

/// How many slots of a pool have a process.
fn started(pool: &Pool, name: &str) -> usize {
    let of_pool = pool.slots.iter().filter(|slot| slot.pool() == Some(name));
    of_pool.filter(|slot| slot.process.started().is_some()).count()
}

fn until_ready(pool: &mut Pool, count: usize) {
    while pool.slots.iter().filter(|slot| slot.is_free()).count() < count {
        let message = pool.messages.recv_timeout(Duration::from_secs(10)).expect("an answer");
        pool.accept(message);
    }
}

/// Looks after the slots every four seconds, from one time to another, both in seconds after `start`.
fn tend(pool: &mut Pool, start: Instant, from: u64, to: u64, waiting: usize) -> Vec<PoolEvent> {
    let mut events = vec![];
    for second in (from..=to).step_by(4) {
        events.extend(pool.tend_at(start + Duration::from_secs(second), waiting));
    }
    events
}

fn trial() -> TrialId {
    TrialId { study: "s".into(), number: 1 }
}

#[test]
fn a_pool_that_waits_in_a_queue_keeps_no_other_one_from_starting() {
    let mut specs = slots("queued", 4, WAITS);
    specs.extend(slots("box", 3, &answers()));
    let mut pool = pool(specs);
    pool.tend(2);
    assert_eq!((started(&pool, "queued"), started(&pool, "box")), (2, 2), "each is asked for two slots");
    until_ready(&mut pool, 2);
    // Two trials run and one waits.
    let ready = pool.slots.iter_mut().filter(|slot| slot.is_free());
    ready.for_each(|slot| slot.trial = Some(trial()));
    pool.tend(1);
    assert_eq!((started(&pool, "queued"), started(&pool, "box")), (1, 3));
    pool.set_limit(Some(2));
    pool.tend(0);
    assert_eq!((started(&pool, "queued"), started(&pool, "box")), (0, 2), "what runs a trial stays");
}

#[test]
fn what_others_need_is_given_back_unless_a_trial_runs_in_it() {
    let mut pool = pool(slots("box", 3, &answers()));
    pool.tend(3);
    until_ready(&mut pool, 3);
    pool.slots[0].trial = Some(trial());
    pool.give_back(&["box/1".into(), "box/2".into()]);
    let has_process = |pool: &Pool| [0, 1, 2].map(|index| pool.slots[index].process.started().is_some());
    assert_eq!(has_process(&pool), [true, false, true]);
    // On a GPU of this machine, a process without a trial would hold memory.
    for slot in &mut pool.slots {
        (slot.spec.device, slot.spec.far) = ("cuda:0".into(), None);
    }
    pool.leave_devices();
    assert_eq!(has_process(&pool), [true, false, false]);
}

#[test]
fn a_start_without_an_answer_fails_unless_a_scheduler_grants_it() {
    let mut specs = slots("box", 1, WAITS);
    specs.extend(slots("gpu", 1, WAITS));
    if let Some(far) = &mut specs[1].far {
        far.scheduler = Scheduler::Slurm;
    }
    let mut pool = pool(specs);
    let start = Instant::now();
    tend(&mut pool, start, 0, 60, 1);
    // The progress of a copy counts as an answer.
    pool.slots[0].heard = start + Duration::from_secs(60);
    tend(&mut pool, start, 64, 180, 1);
    assert_eq!((started(&pool, "box"), started(&pool, "gpu")), (1, 1));
    let reason = |slot: usize| pool.slots[slot].status_at(start + Duration::from_secs(94), &pool.queue).reason;
    assert_eq!(reason(0).as_deref(), Some("no answer yet (34 of 120 s)"));
    assert!(reason(1).is_some_and(|reason| reason.starts_with("no answer yet (9")), "a queue has no such limit");
    pool.tend_at(start + Duration::from_secs(182), 1);
    assert_eq!((started(&pool, "box"), started(&pool, "gpu")), (0, 1));
    assert_eq!(pool.slots[0].status.reason.as_deref(), Some("it did not answer within 120 s"));
}

#[test]
fn a_job_that_runs_without_an_answer_fails() {
    let folder = tempfile::tempdir().unwrap();
    let (squeue, path) = (folder.path().join("squeue"), std::env::var("PATH").unwrap());
    std::fs::write(&squeue, "#!/bin/sh\necho '7|RUNNING|tunebook-gpu-1|None'\n").unwrap();
    std::fs::set_permissions(&squeue, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let mut specs = slots("gpu", 1, WAITS);
    specs[0].command.insert(3, "--job-name=tunebook-gpu-1".into());
    specs[0].environment.0.push(("PATH".into(), Some(format!("{}:{path}", folder.path().display()))));
    if let Some(far) = &mut specs[0].far {
        far.scheduler = Scheduler::Slurm;
    }
    let mut pool = pool(specs);
    pool.tend(1);
    if let Process::Pending(process) = &mut pool.slots[0].process {
        process.since -= Duration::from_secs(5);
    }
    pool.tend(2);
    let reason = |pool: &Pool| pool.status()[0].reason.clone().unwrap_or_default();
    let deadline = Instant::now() + Duration::from_secs(10);
    while reason(&pool) != "job 7 runs, and its slot has not answered yet" {
        assert!(Instant::now() < deadline, "{}", reason(&pool));
        std::thread::sleep(Duration::from_millis(5));
    }
    let start = Instant::now();
    tend(&mut pool, start, 0, 116, 1);
    assert_eq!(started(&pool, "gpu"), 1);
    pool.tend_at(start + Duration::from_secs(120), 1);
    assert_eq!(started(&pool, "gpu"), 0);
    assert!(reason(&pool).starts_with("job 7 runs, but did not answer within 120 s"), "{}", reason(&pool));
}

#[test]
fn a_slot_that_never_answered_is_remembered_if_it_had_long_enough() {
    for (script, seconds, expected) in
        [(WAITS.to_string(), 9, None), (WAITS.to_string(), 35, Some("no answer within 35 s")), (answers(), 35, None)]
    {
        let mut pool = pool(slots("box", 1, &script));
        pool.tend(1);
        if script != WAITS {
            until_ready(&mut pool, 1);
        }
        let heard = pool.slots[0].heard;
        pool.slots[0].retire_at(heard + Duration::from_secs(seconds));
        assert_eq!(pool.status()[0].unanswered.as_deref(), expected);
    }
}

#[test]
fn a_slot_that_is_lost_has_no_job_any_more() {
    let mut pool = pool(slots("gpu", 1, &answers().replace("\"n\"", "\"n\",\"job\":\"7\"")));
    pool.tend(1);
    until_ready(&mut pool, 1);
    assert_eq!(pool.status()[0].job.as_deref(), Some("7"));
    pool.slots[0].trial = Some(trial());
    pool.slots[0].gone("the node failed");
    let status = pool.status().remove(0);
    assert_eq!((status.job.as_deref(), status.node.as_deref()), (None, Some("n")));
}

#[test]
fn slots_are_not_lost_because_this_process_was_stopped() {
    let mut pool = pool(slots("box", 1, &answers()));
    let start = Instant::now();
    pool.tend(1);
    until_ready(&mut pool, 1);
    pool.slots[0].trial = Some(trial());
    let events = tend(&mut pool, start, 70, 126, 0);
    assert!(events.is_empty(), "{events:?}");
    let lost = tend(&mut pool, start, 130, 134, 0);
    assert!(matches!(&lost[..], [PoolEvent::SlotLost { reason, .. }] if reason.contains("said nothing for 60 s")));
}

#[test]
fn a_slot_that_has_worked_has_not_failed() {
    let mut pool = pool(slots("box", 1, &answers()));
    pool.slots[0].failures = 1;
    pool.tend(1);
    until_ready(&mut pool, 1);
    pool.slots[0].trial = Some(trial());
    let process = pool.slots[0].process.started().expect("a process").id;
    pool.accept(SlotMessage { process, said: Said::Event(Event::Started { trial: trial() }) });
    pool.slots[0].trial = None;
    pool.release_far();
    assert_eq!(pool.status()[0].state, crate::SlotState::Idle);
}

#[test]
fn the_last_lines_of_a_command_are_kept_from_the_time_when_it_answered() {
    let script = format!(
        "echo Welcome >&2; sleep 0.2; {}; for i in 1 2 3; do echo line $i >&2; done; exit 3",
        answers().replace("exec cat >/dev/null", "read -r begin; read -r trial")
    );
    let mut pool = pool(slots("box", 1, &script));
    pool.tend(1);
    until_ready(&mut pool, 1);
    pool.slots[0].trial = Some(trial());
    pool.slots[0].send(&Request::Cancel { trial: trial() });
    let message = pool.messages.recv_timeout(Duration::from_secs(10)).expect("its end");
    let Some(PoolEvent::SlotLost { reason, said, .. }) = pool.accept(message) else { panic!("it was not lost") };
    assert!(reason.contains("(line 2; line 3 (exit status: 3))"), "{reason}");
    assert_eq!(said, ["line 1", "line 2", "line 3"]);
}

#[test]
fn slots_that_have_worked_and_ended_are_said_to_have_ended_and_how_often_each_was_started() {
    let mut pool = pool(slots("box", 2, WAITS));
    for (slot, starts) in pool.slots.iter_mut().zip([6, 5]) {
        (slot.process, slot.starts) = (Process::GivenUp, starts);
        slot.status.reason = Some("no route".into());
    }
    let stuck = |pool: &Pool| pool.stuck().unwrap_or_default();
    assert_eq!(stuck(&pool), "no slot can be started: no route (started 6 times); no route (started 5 times)");
    pool.slots[0].status.trials = 5;
    pool.slots[1].starts = 6;
    assert_eq!(stuck(&pool), "all slots have ended: no route (2 slots, each started 6 times)");
}
