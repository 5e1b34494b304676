//! Tests of the store with real files. What happens to files of other programs is tested in `tests/files.rs`.

use super::*;
use crate::*;

fn definition() -> StudyDefinition {
    let mut space = SearchSpace::new();
    let distribution = Distribution::log_uniform(1e-4, 1.0).unwrap();
    space
        .declare(Hyperparameter { name: "lr".into(), role: Role::Nuisance, distribution, conditions: vec![] })
        .unwrap();
    StudyDefinition {
        seed: 7,
        question: Some("how fast?".into()),
        ..StudyDefinition::new(
            WorkloadReference::Builtin { name: "digits_mlp".into() },
            space,
            Objective { metric: "valid/error".into(), direction: Direction::Minimize, judged: ObjectiveValue::Best },
        )
    }
}

fn trial(number: u32) -> NewTrial {
    NewTrial { number, configuration: number - 1, params: [("lr".to_string(), 0.1.into())].into(), seed: 5 }
}

fn measurement(step: u64, error: Option<f64>) -> Measurement {
    Measurement { step, seconds: 0.5, metrics: [("valid/error".to_string(), error)].into() }
}

#[test]
fn a_study_is_read_back_as_it_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/folder/studies.db");
    assert!(Store::open_to_read(&path).unwrap().is_none());
    let mut store = Store::open(&path).unwrap();
    let study = store.create_study("depth", &definition()).unwrap();
    let mut writer = store.write(study).unwrap();
    writer.start(&trial(1)).unwrap();
    for (step, error) in [(0, Some(0.9)), (10, Some(0.1)), (20, None), (30, Some(0.2))] {
        writer.measured(1, &measurement(step, error)).unwrap();
    }
    writer.finish(1, TrialState::Complete, None, 1.5).unwrap();
    drop(writer);

    let store = Store::open_to_read(&path).unwrap().unwrap();
    let study = store.study("depth").unwrap().unwrap();
    assert_eq!(study.definition, definition());
    let trials = store.trials(&study).unwrap();
    assert_eq!(trials[0].state, TrialState::Complete);
    assert_eq!(study.definition.objective.of(&trials[0]), Some((0.1, 10)));
    assert_eq!(trials[0].summaries["valid/error"].last, (0.2, 30));
    assert_eq!(store.measurements(&study, 1).unwrap()[2], measurement(20, None));
    assert!(store.study("width").unwrap().is_none());
}

#[test]
fn metrics_of_one_step_are_merged_and_the_last_value_of_a_metric_counts() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(&folder.path().join("studies.db")).unwrap();
    let study = store.create_study("depth", &definition()).unwrap();
    let mut writer = store.write(study).unwrap();
    writer.start(&trial(1)).unwrap();
    let reported = [
        (100, "valid/error", Some(0.3)),
        (100, "train/loss", Some(2.0)),
        (200, "valid/error", Some(0.1)),
        (100, "valid/error", Some(0.2)),
        (100, "train/loss", None),
    ];
    for (step, metric, value) in reported {
        let metrics = [(metric.to_string(), value)].into();
        writer.measured(1, &Measurement { step, seconds: 0.5, metrics }).unwrap();
    }
    let measured = writer.store().measurements(writer.study(), 1).unwrap();
    let at_100 = [("valid/error".to_string(), Some(0.2)), ("train/loss".to_string(), None)].into();
    assert_eq!(measured[0].metrics, at_100);
    let summaries = writer.finish(1, TrialState::Complete, None, 1.0).unwrap();
    // A step that goes back belongs where it goes back to: the last value is that of the last step.
    assert_eq!(summaries["valid/error"].last, (0.1, 200));
    assert_eq!(summaries["valid/error"].max, (0.2, 100), "a value that was replaced does not count");
    assert!(!summaries.contains_key("train/loss"));
}

#[test]
fn failed_trials_can_run_again_under_their_number() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(&folder.path().join("studies.db")).unwrap();
    let study = store.create_study("depth", &definition()).unwrap();
    let mut writer = store.write(study).unwrap();
    for number in 1..=2 {
        writer.start(&trial(number)).unwrap();
        writer.measured(number, &measurement(10, Some(0.5))).unwrap();
        writer.finish(number, TrialState::Failed, Some("no such file"), 1.0).unwrap();
    }
    assert!(writer.start(&trial(1)).is_err(), "a failed trial is not overwritten");
    writer.retry_failed();
    let failed = writer.store().trials(writer.study()).unwrap();
    writer.start(&trial(1)).unwrap();
    let trials = writer.store().trials(writer.study()).unwrap();
    assert_eq!((trials[0].state, trials[0].summaries.len()), (TrialState::Running, 0));
    assert_eq!(trials[1], failed[1], "it has not begun again");
    assert_eq!((trials[1].state, trials[1].reason.as_deref()), (TrialState::Failed, Some("no such file")));
}

#[test]
fn a_program_that_runs_again_keeps_what_it_reported_below_the_step_at_which_it_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(&folder.path().join("studies.db")).unwrap();
    let workload = WorkloadReference::Command(ProgramLine { words: vec!["t".into()], optional: vec![] });
    let study = store.create_study("program", &StudyDefinition { workload, ..definition() }).unwrap();
    let mut writer = store.write(study).unwrap();
    let measured = |writer: &StudyWriter| -> Vec<(u64, f64)> {
        let measured = writer.store().measurements(writer.study(), 1).unwrap();
        measured.iter().map(|measurement| (measurement.step, measurement.seconds)).collect()
    };
    writer.start(&trial(1)).unwrap();
    for step in [10, 20, 30] {
        writer.measured(1, &measurement(step, Some(0.1))).unwrap();
    }
    writer.finish(1, TrialState::Cancelled, None, 1.0).unwrap();
    writer.start(&trial(1)).unwrap();
    assert_eq!(measured(&writer).len(), 3, "nothing is known before it reports");
    writer.measured(1, &measurement(20, Some(0.2))).unwrap();
    writer.measured(1, &measurement(40, Some(0.3))).unwrap();
    assert_eq!(measured(&writer), [(10, 0.5), (20, 1.0), (40, 1.0)]);
    assert_eq!(writer.take_kept(1), [measurement(10, Some(0.1))]);
    assert!(writer.take_kept(1).is_empty());
    assert!(writer.has_kept_objective(1).unwrap() && writer.take_kept(1).is_empty());
    writer.finish(1, TrialState::Cancelled, None, 1.0).unwrap();
    writer.start(&trial(1)).unwrap();
    writer.measured(1, &measurement(5, Some(0.4))).unwrap();
    assert_eq!(measured(&writer), [(5, 0.5)], "it began again");
    // Other hyperparameters are another trial.
    writer.finish(1, TrialState::Cancelled, None, 1.0).unwrap();
    writer.start(&NewTrial { seed: 6, ..trial(1) }).unwrap();
    assert!(measured(&writer).is_empty());
}

#[test]
fn a_program_that_runs_again_and_has_nothing_left_to_do_keeps_all_that_it_reported() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(&folder.path().join("studies.db")).unwrap();
    let workload = WorkloadReference::Command(ProgramLine { words: vec!["t".into()], optional: vec![] });
    let study = store.create_study("program", &StudyDefinition { workload, ..definition() }).unwrap();
    let mut writer = store.write(study).unwrap();
    for (number, error) in [(1, Some(0.1)), (2, None)] {
        writer.start(&trial(number)).unwrap();
        writer.measured(number, &measurement(10, error)).unwrap();
        assert!(!writer.has_kept_objective(number).unwrap(), "it runs for the first time");
        writer.finish(number, TrialState::Cancelled, None, 1.0).unwrap();
        writer.start(&trial(number)).unwrap();
        assert_eq!(writer.has_kept_objective(number).unwrap(), error.is_some());
    }
    assert_eq!(writer.take_kept(1), [measurement(10, Some(0.1))]);
    writer.finish(1, TrialState::Complete, None, 2.0).unwrap();
    let trials = writer.store().trials(writer.study()).unwrap();
    assert_eq!((trials[0].state, trials[0].seconds), (TrialState::Complete, 2.5));
    assert_eq!(trials[0].summaries["valid/error"].last, (0.1, 10));
}

#[test]
fn what_files_contained_last_is_known_and_accepted_changes_are_listed() {
    use crate::protocol::DataSource;
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(&folder.path().join("studies.db")).unwrap();
    let study = store.create_study("depth", &definition()).unwrap();
    let writer = store.write(study).unwrap();
    let read = |path: &str, sha256: &str| {
        writer.record_data(&DataSource { path: path.into(), sha256: sha256.into() }).unwrap();
    };
    read("a.csv", "1");
    read("b.csv", "2");
    read("a.csv", "3");
    let inputs = writer.store().inputs(writer.study()).unwrap();
    assert_eq!(inputs.into_values().collect::<Vec<_>>(), [["3"], ["2"]]);
    let change =
        |at_trial| AcceptedChange { what: "a.csv".into(), before: "1".into(), after: Some("3".into()), at_trial };
    writer.accept_changes(&[change(5)]).unwrap();
    writer.accept_changes(&[change(9)]).unwrap();
    assert_eq!(writer.store().changes(writer.study()).unwrap(), [change(5), change(9)]);
}

#[test]
fn a_new_store_and_its_folder_are_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("private/studies.db");
    let _store = Store::open(&path).unwrap();
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(path.parent().unwrap()), 0o700);
}

#[test]
fn a_study_has_one_writer_until_that_drops_it_or_dies() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("studies.db");
    let mut store = Store::open(&path).unwrap();
    let study = store.create_study("depth", &definition()).unwrap();
    let writer = store.write(study.clone()).unwrap();
    let second = Store::open(&path).unwrap().write(study.clone());
    assert!(matches!(second, Err(StoreError::Busy { .. })));
    drop(writer);
    drop(Store::open(&path).unwrap().write(study.clone()).unwrap());

    // An owner that died: there is no process of its id.
    let mut child = std::process::Command::new("true").spawn().unwrap();
    let dead = child.id();
    child.wait().unwrap();
    let store = Store::open(&path).unwrap();
    let mut owner = serde_json::to_value(lease::Owner::new()).unwrap();
    owner["pid"] = dead.into();
    let sql = "INSERT INTO leases (study, owner, renewed) VALUES (1, ?1, ?2)";
    store.connection.execute(sql, (owner.to_string(), now())).unwrap();
    assert!(store.write(study).is_ok());
}

#[test]
fn an_owner_in_another_namespace_of_process_ids_is_alive_until_its_lease_expires() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("studies.db");
    let mut store = Store::open(&path).unwrap();
    let study = store.create_study("depth", &definition()).unwrap();
    let own = lease::Owner::new();
    let mut owner = serde_json::to_value(&own).unwrap();
    let record = |owner: &serde_json::Value, age: f64| {
        let sql = "INSERT OR REPLACE INTO leases (study, owner, renewed) VALUES (1, ?1, ?2)";
        Store::open(&path).unwrap().connection.execute(sql, (owner.to_string(), now() - age)).unwrap();
    };
    // Another container with the same host name, whose kernel has the same id there.
    owner["namespace"] = "pid:[1]".into();
    owner["start"] = 1.into();
    record(&owner, 1.0);
    let busy = Store::open(&path).unwrap().write(study.clone()).map(drop).unwrap_err();
    assert!(busy.to_string().contains("another kernel (process"), "{busy}");
    record(&owner, 60.0);
    drop(Store::open(&path).unwrap().write(study.clone()).unwrap());
    // A record from before the namespace was recorded: the process is looked up.
    owner.as_object_mut().unwrap().remove("namespace");
    record(&owner, 1.0);
    drop(Store::open(&path).unwrap().write(study.clone()).unwrap());
    let mut old = serde_json::to_value(&own).unwrap();
    old.as_object_mut().unwrap().remove("namespace");
    record(&old, 60.0);
    assert!(matches!(store.write(study), Err(StoreError::Busy { .. })));
}

#[test]
fn trials_that_ran_when_their_kernel_died_are_cancelled_and_keep_what_they_measured() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("studies.db");
    let mut store = Store::open(&path).unwrap();
    let study = store.create_study("depth", &definition()).unwrap();
    let mut writer = store.write(study.clone()).unwrap();
    for number in 1..=3 {
        writer.start(&trial(number)).unwrap();
    }
    writer.measured(1, &measurement(10, Some(0.5))).unwrap();
    writer.finish(3, TrialState::Complete, None, 1.0).unwrap();
    let states =
        |store: &Store| -> Vec<TrialState> { store.trials(&study).unwrap().iter().map(|trial| trial.state).collect() };
    let reader = Store::open(&path).unwrap();
    assert_eq!(states(&reader), [TrialState::Running, TrialState::Running, TrialState::Complete]);
    drop(writer);
    // They count as cancelled at once, and the next writer records it.
    let trials = reader.trials(&study).unwrap();
    let recorded = |reader: &Store| -> i64 {
        let sql = "SELECT count(*) FROM trials WHERE state = 'running'";
        reader.connection.query_row(sql, [], |row| row.get(0)).unwrap()
    };
    assert_eq!(recorded(&reader), 2);
    let mut writer = Store::open(&path).unwrap().write(study.clone()).unwrap();
    assert_eq!((recorded(&reader), reader.trials(&study).unwrap()), (0, trials.clone()));
    assert_eq!(states(&reader), [TrialState::Cancelled, TrialState::Cancelled, TrialState::Complete]);
    assert_eq!((trials[0].seconds, trials[0].summaries["valid/error"].last), (0.5, (0.5, 10)));
    assert_eq!(reader.measurements(&study, 1).unwrap(), [measurement(10, Some(0.5))]);
    assert_eq!(trials[0].reason.as_deref(), Some("its kernel ended"));
    writer.start(&trial(1)).unwrap();
    assert_eq!(states(&reader)[0], TrialState::Running);
}

#[test]
fn a_study_that_another_process_has_just_begun_is_told_from_other_errors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("studies.db");
    let (mut one, mut other) = (Store::open(&path).unwrap(), Store::open(&path).unwrap());
    one.create_study("depth", &definition()).unwrap();
    let error = other.create_study("depth", &definition()).unwrap_err();
    assert!(matches!(&error, StoreError::Exists { study } if study == "depth"), "{error}");
    assert!(other.study("depth").unwrap().is_some());
}

#[test]
fn a_writer_that_lost_its_lease_changes_nothing_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("studies.db");
    let mut store = Store::open(&path).unwrap();
    let study = store.create_study("depth", &definition()).unwrap();
    let mut writer = store.write(study.clone()).unwrap();
    writer.start(&trial(1)).unwrap();
    writer.measured(1, &measurement(10, Some(0.5))).unwrap();

    // Another machine takes the study over, as it may when the lease was not renewed for long enough.
    let other = Store::open(&path).unwrap();
    let mut owner = serde_json::to_value(lease::Owner::new()).unwrap();
    owner["host"] = "elsewhere".into();
    let sql = "UPDATE leases SET owner = ?1, renewed = ?2";
    other.connection.execute(sql, (owner.to_string(), now())).unwrap();
    let before = (other.trials(&study).unwrap(), other.measurements(&study, 1).unwrap());
    let lost = |result: Result<()>| match result {
        Err(error @ StoreError::LeaseLost { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    };
    writer.begin_run();
    for result in [
        writer.measured(1, &measurement(20, Some(0.4))),
        writer.finish(1, TrialState::Complete, None, 1.0).map(drop),
        writer.start(&trial(2)),
        writer.ask(24),
        writer.redefine(&StudyDefinition { notes: Some("wider".into()), ..definition() }),
        writer.end_run(),
        writer.record_environment(&serde_json::json!({})),
    ] {
        let error = lost(result);
        assert!(error.contains("`depth`") && error.contains("on elsewhere"), "{error}");
    }
    writer.renewed = 0.0;
    lost(writer.renew());
    assert_eq!(before, (other.trials(&study).unwrap(), other.measurements(&study, 1).unwrap()));
    assert_eq!(other.study("depth").unwrap().unwrap(), study);
    // The end of the writer leaves the other one's lease alone, and so does an attempt to delete the study.
    lost(writer.delete());
    let held: String = other.connection.query_row("SELECT owner FROM leases", [], |row| row.get(0)).unwrap();
    assert_eq!(held, owner.to_string());
    assert!(matches!(other.write(study), Err(StoreError::Busy { .. })));
}

#[test]
fn the_time_of_a_run_is_recorded_while_it_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("studies.db");
    let mut store = Store::open(&path).unwrap();
    let study = store.create_study("depth", &definition()).unwrap();
    let mut writer = store.write(study).unwrap();
    let recorded = || Store::open(&path).unwrap().study("depth").unwrap().unwrap().seconds;
    let pause = || std::thread::sleep(std::time::Duration::from_millis(20));
    writer.begin_run();
    writer.start(&trial(1)).unwrap();
    pause();
    writer.finish(1, TrialState::Complete, None, 0.02).unwrap();
    let first = recorded();
    assert!((0.02..10.0).contains(&first), "{first}");
    pause();
    writer.renewed = 0.0;
    writer.renew().unwrap();
    let second = recorded();
    assert!(second >= first + 0.02, "{second}");
    writer.end_run().unwrap();
    let third = recorded();
    assert_eq!(writer.study().seconds, third, "what a display shows is what is recorded");
    // The time between two runs does not count.
    pause();
    let began = std::time::Instant::now();
    writer.begin_run();
    writer.end_run().unwrap();
    assert!(recorded() - third <= began.elapsed().as_secs_f64(), "{}", recorded() - third);
}

#[test]
fn a_writer_whose_study_was_deleted_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("studies.db");
    let mut store = Store::open(&path).unwrap();
    let study = store.create_study("depth", &definition()).unwrap();
    let mut writer = store.write(study).unwrap();
    Store::open(&path).unwrap().connection.execute("DELETE FROM studies", []).unwrap();
    let error = writer.start(&trial(1)).unwrap_err();
    assert!(matches!(error, StoreError::LeaseLost { owner: None, .. }), "{error}");
}

#[test]
fn a_study_is_deleted_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("studies.db");
    let mut store = Store::open(&path).unwrap();
    let study = store.create_study("depth", &definition()).unwrap();
    let mut writer = store.write(study.clone()).unwrap();
    writer.start(&trial(1)).unwrap();
    let store = Store::open(&path).unwrap();
    let refuse = "CREATE TRIGGER refuse BEFORE DELETE ON studies BEGIN SELECT RAISE(ABORT, 'refused'); END";
    store.connection.execute_batch(refuse).unwrap();
    assert!(writer.delete().unwrap_err().to_string().contains("refused"));
    assert_eq!(store.trials(&study).unwrap().len(), 1);
}

#[test]
fn a_cancelled_trial_is_overwritten_and_a_complete_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(&folder.path().join("studies.db")).unwrap();
    let study = store.create_study("depth", &definition()).unwrap();
    let mut writer = store.write(study).unwrap();
    writer.start(&trial(1)).unwrap();
    writer.measured(1, &measurement(10, Some(0.5))).unwrap();
    writer.finish(1, TrialState::Cancelled, Some("interrupted"), 0.1).unwrap();
    writer.start(&trial(1)).unwrap();
    assert!(writer.store().measurements(writer.study(), 1).unwrap().is_empty());
    writer.finish(1, TrialState::Complete, None, 0.1).unwrap();
    assert!(writer.start(&trial(1)).is_err(), "a complete trial must never be overwritten");
}

#[test]
fn a_study_can_be_redefined_and_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("studies.db");
    let mut store = Store::open(&path).unwrap();
    let study = store.create_study("depth", &definition()).unwrap();
    let mut writer = store.write(study).unwrap();
    writer.start(&trial(1)).unwrap();
    writer.measured(1, &measurement(10, Some(0.5))).unwrap();
    let wider = StudyDefinition { notes: Some("wider".into()), ..definition() };
    writer.redefine(&wider).unwrap();
    writer.ask(24).unwrap();
    drop(writer);
    let store = Store::open(&path).unwrap();
    let study = store.study("depth").unwrap().unwrap();
    assert_eq!((study.definition.clone(), study.asked), (wider, 24));
    assert_eq!(store.trials(&study).unwrap().len(), 1);
    store.write(study).unwrap().delete().unwrap();
    let store = Store::open(&path).unwrap();
    assert!(store.studies().unwrap().is_empty());
    let left: i64 = store.connection.query_row("SELECT count(*) FROM measurements", [], |row| row.get(0)).unwrap();
    assert_eq!(left, 0);
}

#[test]
fn a_full_disk_is_reported_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("studies.db");
    let mut store = Store::open(&path).unwrap();
    let study = store.create_study("depth", &definition()).unwrap();
    let mut writer = store.write(study).unwrap();
    writer.start(&trial(1)).unwrap();
    // SQLite reports the same error for a file that may not grow as for a disk that is full.
    let pages: i64 = writer.store().connection.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
    writer.store().connection.execute_batch(&format!("PRAGMA max_page_count = {pages}")).unwrap();
    let error = (0..100_000).find_map(|step| writer.measured(1, &measurement(step, Some(0.5))).err());
    assert!(matches!(error, Some(StoreError::DiskFull { .. })), "{error:?}");
    let written = writer.store().measurements(writer.study(), 1).unwrap().len();
    assert!(written > 0);
    // The end of the lease cannot be written either, and still the study can be written again.
    drop(writer);
    let store = Store::open(&path).unwrap();
    let study = store.study("depth").unwrap().unwrap();
    assert!(store.write(study).is_ok());
}

#[test]
fn studies_are_copied_whole_to_a_store_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let (path, to) = (folder.path().join("a.db"), folder.path().join("b.db"));
    let mut store = Store::open(&path).unwrap();
    let other = store.create_study("other", &definition()).unwrap();
    let study = store.create_study("one", &definition()).unwrap();
    store.keep_result(&study, "kind", "x", &serde_json::json!(1)).unwrap();
    store.keep_conclusion("shown", "one", &serde_json::json!({ "subject": "one" })).unwrap();
    store.keep_conclusion("shown", "other", &serde_json::json!({ "subject": "other" })).unwrap();
    let mut writer = Store::open(&path).unwrap().write(study.clone()).unwrap();
    writer.start(&trial(1)).unwrap();
    writer.measured(1, &measurement(10, Some(0.1))).unwrap();
    writer.finish(1, TrialState::Complete, None, 1.0).unwrap();
    writer.record_environment(&serde_json::json!({ "libtorch": "2" })).unwrap();
    writer.record_data(&crate::protocol::DataSource { path: "/p/x.csv".into(), sha256: "ab".into() }).unwrap();
    let of_one = |result: &serde_json::Value| result["subject"] == "one";
    let moved = |path: &Path| path.strip_prefix("/p").unwrap_or(path).to_path_buf();
    store.copy_studies(&[&study], &to, &of_one, &moved).unwrap();
    // The writer still has its lease, and the copy has none.
    let copy = Store::open(&to).unwrap();
    let names: Vec<String> = copy.studies().unwrap().into_iter().map(|study| study.name).collect();
    assert_eq!(names, ["one"]);
    let copied = copy.study("one").unwrap().unwrap();
    assert_eq!(copy.trials(&copied).unwrap(), store.trials(&study).unwrap());
    assert_eq!(copy.measurements(&copied, 1).unwrap(), [measurement(10, Some(0.1))]);
    assert_eq!(copy.environments(&copied).unwrap(), store.environments(&study).unwrap());
    assert_eq!(copy.result(&copied, "kind", "x").unwrap(), Some(serde_json::json!(1)));
    assert_eq!(copy.results("shown").unwrap(), [serde_json::json!({ "subject": "one" })]);
    let inputs: Vec<_> = copy.inputs(&copied).unwrap().into_iter().collect();
    assert_eq!(inputs, [(PathBuf::from("x.csv"), vec!["ab".to_string()])]);
    copy.write(copied).unwrap();
    assert!(store.trials(&other).unwrap().is_empty());
}

/// The store of a writer that has recorded one trial, in a folder of its own, and what becomes of it.
fn after(happens: impl Fn(&std::path::Path)) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("own/studies.db");
    let mut store = Store::open(&path).unwrap();
    let study = store.create_study("depth", &definition()).unwrap();
    let mut writer = store.write(study).unwrap();
    writer.start(&trial(1)).unwrap();
    writer.store().check_file().unwrap();
    writer.keep_file().unwrap();
    happens(&path);
    writer.measured(1, &measurement(10, Some(0.5))).unwrap();
    writer.finish(1, TrialState::Complete, None, 1.0).unwrap();
    let checked = writer.store().check_file().unwrap_err().to_string();
    let kept = writer.keep_file().unwrap_err().to_string();
    let beginning = |text: &str| text.split(". ").next().unwrap_or_default().to_string();
    assert_eq!(beginning(&checked), beginning(&kept));
    (folder, kept)
}

/// Whether a store has the trial with its measurement, and nobody has a lease there.
fn has_trial(path: &std::path::Path) -> bool {
    let store = Store::open_to_read(path).unwrap().unwrap();
    let study = store.study("depth").unwrap().unwrap();
    let trials = store.trials(&study).unwrap();
    let leases: i64 = store.connection.query_row("SELECT count(*) FROM leases", [], |row| row.get(0)).unwrap();
    trials[0].state == TrialState::Complete && store.measurements(&study, 1).unwrap().len() == 1 && leases == 0
}

#[test]
fn the_store_of_a_writer_that_is_removed_is_written_again() {
    use std::os::unix::fs::PermissionsExt;
    let (folder, kept) = after(|path| std::fs::remove_dir_all(path.parent().unwrap()).unwrap());
    let path = folder.path().join("own/studies.db");
    assert!(kept.contains("was moved or removed") && kept.contains("a new file of this name"), "{kept}");
    assert!(has_trial(&path));
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o077, 0, "for its owner only");
    // A writer goes on there.
    let store = Store::open(&path).unwrap();
    let study = store.study("depth").unwrap().unwrap();
    store.write(study).unwrap().start(&trial(2)).unwrap();
    // The file alone is removed, and not its log.
    let (folder, kept) = after(|path| std::fs::remove_file(path).unwrap());
    assert!(kept.contains("a new file of this name") && has_trial(&folder.path().join("own/studies.db")), "{kept}");
}

#[test]
fn the_store_of_a_writer_that_is_moved_is_named() {
    let moved = |folder: &std::path::Path| folder.join("moved");
    let (folder, kept) = after(|path| {
        let own = path.parent().unwrap();
        std::fs::rename(own, moved(own.parent().unwrap())).unwrap();
    });
    assert!(kept.contains("moved/studies.db. Move it back, or set TUNEBOOK_STUDIES"), "{kept}");
    assert!(has_trial(&moved(folder.path()).join("studies.db")) && !folder.path().join("own").exists());
    // The file alone is moved, and not its log.
    let (folder, kept) = after(|path| std::fs::rename(path, path.with_file_name("away.db")).unwrap());
    assert!(kept.contains("own/away.db. Move it back"), "{kept}");
    assert!(has_trial(&folder.path().join("own/away.db")));
}

#[test]
fn what_was_recorded_in_a_store_that_is_replaced_is_saved_beside_it() {
    let (folder, kept) = after(|path| {
        std::fs::write(path.with_file_name("other"), "other").unwrap();
        std::fs::rename(path.with_file_name("other"), path).unwrap();
    });
    assert!(kept.contains("was replaced by another file") && kept.contains("Set TUNEBOOK_STUDIES to it"), "{kept}");
    assert_eq!(std::fs::read_to_string(folder.path().join("own/studies.db")).unwrap(), "other");
    let files = std::fs::read_dir(folder.path().join("own")).unwrap().map(|entry| entry.unwrap().path());
    let saved: Vec<_> = files.filter(|path| path.display().to_string().contains(".saved-")).collect();
    assert!(kept.contains(&saved[0].display().to_string()) && has_trial(&saved[0]), "{kept}");
}

#[test]
fn a_store_that_is_cut_short_under_its_writer_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("studies.db");
    let mut store = Store::open(&path).unwrap();
    store.create_study("depth", &definition()).unwrap();
    std::fs::File::options().write(true).open(&path).unwrap().set_len(100).unwrap();
    for result in [store.check_file(), store.keep_file()] {
        let error = result.unwrap_err().to_string();
        assert!(error.contains("was cut short while a study was written to it"), "{error}");
    }
}

#[test]
fn a_store_that_is_compacted_under_its_writer_is_not_lost() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("studies.db");
    let long = StudyDefinition { notes: Some("x".repeat(1 << 16)), ..definition() };
    Store::open(&path).unwrap().create_study("long", &long).unwrap();
    let length = || path.metadata().unwrap().len();
    let before = length();
    let mut store = Store::open(&path).unwrap();
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("DELETE FROM definitions; DELETE FROM studies; VACUUM").unwrap();
    other.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    assert!(length() < before, "{} {before}", length());
    store.check_file().unwrap();
    store.create_study("next", &definition()).unwrap();
    store.check_file().unwrap();
    std::fs::File::options().write(true).open(&path).unwrap().set_len(100).unwrap();
    assert!(store.check_file().is_err());
}
