//! The file of the store: which files are accepted, what happens to the others, and what other processes see.

use rusqlite::Connection;
use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tunebook_study::store::{NewTrial, Store, StoreError, StudyWriter};
use tunebook_study::*;

fn definition() -> StudyDefinition {
    StudyDefinition {
        seed: 7,
        ..StudyDefinition::new(
            WorkloadReference::Builtin { name: "digits_mlp".into() },
            SearchSpace::new(),
            Objective { metric: "e".into(), direction: Direction::Minimize, judged: ObjectiveValue::Best },
        )
    }
}

/// A store with one study, and the writer of that study.
fn store_with_a_study(path: &Path) -> StudyWriter {
    let mut store = Store::open(path).unwrap();
    let study = store.create_study("depth", &definition()).unwrap();
    store.write(study).unwrap()
}

fn trial(number: u32) -> NewTrial {
    NewTrial { number, configuration: number - 1, params: Params::new(), seed: 1 }
}

/// The names and contents of all files in a folder.
fn snapshot(folder: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    // What is not a regular file has no contents; reading a FIFO would wait for a writer.
    let contents = |path: &Path| path.is_file().then(|| std::fs::read(path).unwrap());
    entries.map(|path| (path.clone(), contents(&path))).collect()
}

/// Copies a database with the files beside it while it is open: the files that a killed process leaves.
fn as_left_by_a_killed_process(database: &Path, folder: &Path, files: &[&str]) -> PathBuf {
    std::fs::create_dir(folder).unwrap();
    for file in files {
        let source = format!("{}{file}", database.display());
        std::fs::copy(&source, folder.join(format!("studies.db{file}"))).unwrap();
    }
    folder.join("studies.db")
}

const OPTUNA: &str = include_str!("optuna.sql");

/// Both ways of opening a file report the error and change nothing in its folder.
fn assert_refused(path: &Path, expected: &[&str]) {
    let folder = path.parent().unwrap();
    let before = snapshot(folder);
    for error in [Store::open(path).err(), Store::open_to_read(path).err()] {
        let error = error.unwrap_or_else(|| panic!("{} was accepted", path.display())).to_string();
        for part in [&[path.to_str().unwrap(), "TUNEBOOK_STUDIES"], expected].concat() {
            assert!(error.contains(part), "`{error}` does not say `{part}`");
        }
        assert!(before == snapshot(folder), "{} was changed: {:?}", folder.display(), snapshot(folder).keys());
    }
}

#[test]
fn an_optuna_database_is_named_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| {
        std::fs::create_dir(folder.path().join(name)).unwrap();
        folder.path().join(name).join("studies.db")
    };
    let expected = ["it is an Optuna study database, not Tunebook's", "must name another file"];

    let rollback = place("rollback");
    Connection::open(&rollback).unwrap().execute_batch(OPTUNA).unwrap();
    assert_refused(&rollback, &expected);

    // In WAL mode, closed: opening it would create its `-wal` and `-shm`.
    let wal = place("wal");
    Connection::open(&wal).unwrap().execute_batch(&format!("PRAGMA journal_mode = WAL; {OPTUNA}")).unwrap();
    assert_refused(&wal, &expected);

    // In WAL mode, open and with changes in the log: closing a further connection could merge the log.
    let open = Connection::open(&wal).unwrap();
    open.execute_batch("INSERT INTO studies VALUES (2, 'other')").unwrap();
    assert_refused(&wal, &expected);
    for files in [&["", "-wal", "-shm"] as &[&str], &["", "-wal"]] {
        let copy = as_left_by_a_killed_process(&wal, &folder.path().join(format!("killed{}", files.len())), files);
        assert_refused(&copy, &expected);
    }

    // Killed in the middle of a transaction in rollback mode: opening it would undo the transaction.
    let writing = Connection::open(&rollback).unwrap();
    let fill = "WITH RECURSIVE n(value) AS (VALUES (10) UNION ALL SELECT value + 1 FROM n WHERE value < 2000) \
                INSERT INTO studies SELECT value, hex(randomblob(200)) FROM n";
    writing.execute_batch(&format!("PRAGMA cache_size = 2; BEGIN; {fill}")).unwrap();
    let copy = as_left_by_a_killed_process(&rollback, &folder.path().join("undo"), &["", "-journal"]);
    assert!(std::fs::metadata(copy.with_file_name("studies.db-journal")).unwrap().len() > 0);
    assert_refused(&copy, &expected);
}

#[test]
fn databases_of_other_programs_are_left_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let other = "it is a SQLite database of another program";
    let databases = [
        ("tables", "CREATE TABLE notes (x); CREATE TABLE tags (y)", "(its tables: notes, tags)"),
        // The version of a current store.
        ("version", "CREATE TABLE notes (x); PRAGMA user_version = 2", "(its tables: notes)"),
        ("id", "PRAGMA application_id = 77; PRAGMA user_version = 2", other),
        ("id_and_tables", "CREATE TABLE studies (x); PRAGMA application_id = 77", "(its tables: studies)"),
        ("version_alone", "PRAGMA user_version = 2", other),
    ];
    for (name, sql, expected) in databases {
        for mode in ["DELETE", "WAL"] {
            let path = folder.path().join(format!("{name}_{mode}")).join("studies.db");
            std::fs::create_dir(path.parent().unwrap()).unwrap();
            Connection::open(&path).unwrap().execute_batch(&format!("PRAGMA journal_mode = {mode}; {sql}")).unwrap();
            assert_refused(&path, &[other, expected]);
        }
    }
    // All of it is still in the log; the main file has no table.
    let path = folder.path().join("log").join("studies.db");
    std::fs::create_dir(path.parent().unwrap()).unwrap();
    let open = Connection::open(&path).unwrap();
    open.execute_batch(&format!("PRAGMA journal_mode = WAL; {OPTUNA}")).unwrap();
    assert_refused(&path, &["it is a SQLite database that another program is writing"]);
    let copy = as_left_by_a_killed_process(&path, &folder.path().join("log_alone"), &["", "-wal"]);
    assert_refused(&copy, &["it is a SQLite database that another program is writing"]);
}

#[test]
fn what_is_no_database_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let no_database = "it is not a SQLite database";
    for (name, contents) in
        [("text", b"x".repeat(4096)), ("zeros", vec![0; 8192]), ("short", b"notes".to_vec()), ("byte", b"x".to_vec())]
    {
        let path = folder.path().join(name);
        std::fs::write(&path, contents).unwrap();
        assert_refused(&path, &[no_database, "must name another file"]);
    }
    std::fs::create_dir(folder.path().join("folder")).unwrap();
    assert_refused(&folder.path().join("folder"), &["cannot be opened: it is a folder"]);
    let below_a_file = Store::open_to_read(&folder.path().join("text/studies.db")).err().unwrap().to_string();
    assert!(below_a_file.contains("cannot be opened: Not a directory"), "{below_a_file}");
    let fifo = folder.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert_refused(&fifo, &["cannot be opened: it is not a regular file"]);
}

#[test]
fn an_empty_file_is_left_empty_by_readers_and_becomes_a_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("studies.db");
    std::fs::write(&path, "").unwrap();
    let before = snapshot(folder.path());
    assert!(Store::open_to_read(&path).unwrap().is_none());
    assert!(before == snapshot(folder.path()));
    drop(store_with_a_study(&path));
    assert_eq!(Store::open_to_read(&path).unwrap().unwrap().studies().unwrap().len(), 1);
    // A database without tables, as a process leaves it that was killed while it created a store.
    let path = folder.path().join("blank.db");
    Connection::open(&path).unwrap().execute_batch("PRAGMA journal_mode = WAL").unwrap();
    assert!(Store::open_to_read(&path).unwrap().is_none());
    drop(store_with_a_study(&path));
}

#[test]
fn stores_of_earlier_versions_are_recognized_and_brought_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    let numbers = |path: &Path| {
        let connection = Connection::open(path).unwrap();
        let number = |name: &str| connection.query_row(name, [], |row| row.get::<_, i32>(0)).unwrap();
        (number("PRAGMA application_id"), number("PRAGMA user_version"))
    };
    let current = folder.path().join("current.db");
    drop(store_with_a_study(&current));
    let tune = i32::from_be_bytes(*b"Tune");
    assert_eq!(numbers(&current), (tune, 2));
    for (name, earlier) in [
        ("unmarked", "PRAGMA application_id = 0"),
        ("first", "DROP TABLE workloads; DROP TABLE data; PRAGMA user_version = 1"),
        ("first_unmarked", "DROP TABLE workloads; DROP TABLE data; PRAGMA user_version = 1; PRAGMA application_id = 0"),
    ] {
        let path = folder.path().join(name);
        std::fs::copy(&current, &path).unwrap();
        Connection::open(&path).unwrap().execute_batch(earlier).unwrap();
        let store = Store::open_to_read(&path).unwrap().unwrap();
        assert_eq!(store.studies().unwrap()[0].name, "depth");
        assert!(store.workloads().unwrap().is_empty());
        drop(store);
        assert_eq!(numbers(&path), (tune, 2), "{name}");
    }
    let newer = folder.path().join("newer.db");
    std::fs::copy(&current, &newer).unwrap();
    Connection::open(&newer).unwrap().execute_batch("PRAGMA user_version = 99").unwrap();
    assert!(matches!(Store::open(&newer), Err(StoreError::Newer { version: 99, .. })));
    assert!(matches!(Store::open_to_read(&newer), Err(StoreError::Newer { version: 99, .. })));
}

#[test]
fn a_store_that_was_switched_to_wal_mode_before_it_was_marked_is_recognized() {
    let folder = tempfile::tempdir().unwrap();
    let current = folder.path().join("current.db");
    drop(store_with_a_study(&current));
    let old = folder.path().join("old.db");
    let connection = Connection::open(&old).unwrap();
    connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0").unwrap();
    connection.execute("ATTACH ?1 AS current", [current.to_str().unwrap()]).unwrap();
    let tables: Vec<(String, String)> = connection
        .prepare("SELECT name, sql FROM current.sqlite_master WHERE type = 'table'")
        .unwrap()
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let copy = |(name, sql): &(String, String)| format!("{sql}; INSERT INTO {name} SELECT * FROM current.{name};");
    let copies: Vec<String> = tables.iter().map(copy).collect();
    let marks = "PRAGMA application_id = 0x54756e65; PRAGMA user_version = 2";
    connection.execute_batch(&format!("BEGIN; {} {marks}; COMMIT", copies.concat())).unwrap();
    for files in [&["", "-wal", "-shm"] as &[&str], &["", "-wal"]] {
        let path = as_left_by_a_killed_process(&old, &folder.path().join(format!("killed{}", files.len())), files);
        let main = std::fs::read(&path).unwrap();
        assert_eq!(main[68..72], [0; 4], "the main file does not show that it is a store");
        let store = Store::open_to_read(&path).unwrap().unwrap();
        assert_eq!(store.studies().unwrap()[0].name, "depth");
    }
}

#[test]
fn a_new_store_shows_in_its_main_file_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("studies.db");
    let _open = Store::open(&path).unwrap();
    let main = std::fs::read(&path).unwrap();
    assert_eq!(&main[68..72], b"Tune");
    assert_eq!(main[18..20], [2, 2], "WAL mode");
}

#[test]
fn many_processes_can_create_a_store_at_once() {
    for _ in 0..10 {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new").join("studies.db");
        let children: Vec<_> =
            (0..4).map(|_| reader(&[], &path).env("TUNEBOOK_TEST_CREATE", "1").spawn().unwrap()).collect();
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let path = path.clone();
                std::thread::spawn(move || Store::open(&path).map(drop))
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap().unwrap());
        for child in children {
            let output = child.wait_with_output().unwrap();
            assert!(String::from_utf8_lossy(&output.stdout).contains("0 studies"), "{output:?}");
        }
    }
}

#[test]
fn opening_a_store_waits_for_a_process_that_writes_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("studies.db");
    drop(store_with_a_study(&path));
    let other = Connection::open(&path).unwrap();
    other.execute_batch("PRAGMA journal_mode = DELETE; BEGIN IMMEDIATE").unwrap();
    let opened = std::thread::spawn(move || Store::open(&path).map(drop));
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(200) {
        assert!(!opened.is_finished(), "{:?}", opened.join());
        std::thread::sleep(Duration::from_millis(5));
    }
    other.execute_batch("ROLLBACK").unwrap();
    opened.join().unwrap().unwrap();
}

#[test]
fn opening_a_store_again_keeps_the_locks_of_its_writer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("studies.db");
    let _writer = store_with_a_study(&path);
    drop(Store::open(&path).unwrap());
    drop(Store::open_to_read(&path).unwrap());
    // Without this lock another program that closes the file takes itself for the last one, and removes the log to
    // which the writer goes on writing.
    let locks = std::fs::read_to_string("/proc/locks").unwrap();
    let inode = format!(":{} ", std::fs::metadata(&path).unwrap().ino());
    assert!(locks.lines().any(|lock| lock.contains(&inode)), "{locks}");
}

#[test]
fn a_process_that_may_not_write_a_store_reads_what_its_writer_has_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("studies.db");
    let mut writer = store_with_a_study(&path);
    writer.start(&trial(1)).unwrap();
    let permissions = |mode| {
        for file in snapshot(folder.path()).keys() {
            std::fs::set_permissions(file, PermissionsExt::from_mode(mode)).unwrap();
        }
    };
    permissions(0o444);
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o555)).unwrap();
    assert!(read_without_privileges(&path).contains("1 studies, 1 trials"), "a live store");
    let killed = as_left_by_a_killed_process(&path, &folder.path().join("killed"), &["", "-wal", "-shm"]);
    let before = snapshot(killed.parent().unwrap());
    std::fs::set_permissions(killed.parent().unwrap(), PermissionsExt::from_mode(0o555)).unwrap();
    assert!(read_without_privileges(&killed).contains("1 studies, 1 trials"), "a store whose writer was killed");
    assert!(before == snapshot(killed.parent().unwrap()));
    drop(writer);
    assert!(read_without_privileges(&path).contains("1 studies, 1 trials"), "a store that nobody uses");

    permissions(0o000);
    let error = read_without_privileges(&path);
    assert!(error.contains("cannot be opened: Permission denied"), "{error}");
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
}

#[test]
#[ignore = "other tests start it in a process of its own"]
fn helper_reads_a_store() {
    let path = PathBuf::from(std::env::var_os("TUNEBOOK_TEST_STORE").unwrap());
    let opened = match std::env::var_os("TUNEBOOK_TEST_CREATE") {
        Some(_) => Store::open(&path).map(Some),
        None => Store::open_to_read(&path),
    };
    match opened {
        Ok(None) => println!("no store"),
        Ok(Some(store)) => {
            let studies = store.studies().unwrap();
            let trials: usize = studies.iter().map(|study| store.trials(study).unwrap().len()).sum();
            println!("{} studies, {trials} trials", studies.len());
        }
        Err(error) => println!("{error}"),
    }
}

/// The command that runs [`helper_reads_a_store`], through a program that runs another one if `through` names one.
fn reader(through: &[&str], path: &Path) -> Command {
    let own = std::env::current_exe().unwrap().display().to_string();
    let arguments = [through, &[&own, "--exact", "helper_reads_a_store", "--ignored", "--nocapture"]].concat();
    let mut command = Command::new(arguments[0]);
    command.args(&arguments[1..]).env("TUNEBOOK_TEST_STORE", path).stdout(Stdio::piped());
    command
}

/// Reads a store in a process that permissions bind, also where the tests run as root.
fn read_without_privileges(path: &Path) -> String {
    let through: &[&str] = match nix::unistd::geteuid().is_root() {
        true => &["unshare", "--user", "--map-user=65534", "--"],
        false => &[],
    };
    let output = reader(through, path).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}
