//! Databases of Optuna whose tables are not those of today.

use rusqlite::Connection;
use std::path::Path;
use tunebook_exchange::ExchangeError;
use tunebook_exchange::optuna::{Choices, OptunaDistribution, OptunaState, import, read};
use tunebook_study::{Distribution, TrialState};

/// The tables that did not change between Optuna 2.4 and 5.
const COMMON: &str = r#"
CREATE TABLE studies (study_id INTEGER NOT NULL, study_name VARCHAR(512) NOT NULL, PRIMARY KEY (study_id));
CREATE UNIQUE INDEX ix_studies_study_name ON studies (study_name);
CREATE TABLE version_info (version_info_id INTEGER NOT NULL, schema_version INTEGER, library_version VARCHAR(256),
    PRIMARY KEY (version_info_id), CHECK (version_info_id=1));
CREATE TABLE study_directions (study_direction_id INTEGER NOT NULL, direction VARCHAR(8) NOT NULL,
    study_id INTEGER NOT NULL, objective INTEGER NOT NULL, PRIMARY KEY (study_direction_id),
    UNIQUE (study_id, objective), FOREIGN KEY(study_id) REFERENCES studies (study_id));
CREATE TABLE study_user_attributes (study_user_attribute_id INTEGER NOT NULL, study_id INTEGER, "key" VARCHAR(512),
    value_json TEXT, PRIMARY KEY (study_user_attribute_id), UNIQUE (study_id, "key"));
CREATE TABLE study_system_attributes (study_system_attribute_id INTEGER NOT NULL, study_id INTEGER,
    "key" VARCHAR(512), value_json TEXT, PRIMARY KEY (study_system_attribute_id), UNIQUE (study_id, "key"));
CREATE TABLE trials (trial_id INTEGER NOT NULL, number INTEGER, study_id INTEGER, state VARCHAR(8) NOT NULL,
    datetime_start DATETIME, datetime_complete DATETIME, PRIMARY KEY (trial_id));
CREATE TABLE trial_user_attributes (trial_user_attribute_id INTEGER NOT NULL, trial_id INTEGER, "key" VARCHAR(512),
    value_json TEXT, PRIMARY KEY (trial_user_attribute_id), UNIQUE (trial_id, "key"));
CREATE TABLE trial_system_attributes (trial_system_attribute_id INTEGER NOT NULL, trial_id INTEGER,
    "key" VARCHAR(512), value_json TEXT, PRIMARY KEY (trial_system_attribute_id), UNIQUE (trial_id, "key"));
CREATE TABLE trial_params (param_id INTEGER NOT NULL, trial_id INTEGER, param_name VARCHAR(512), param_value FLOAT,
    distribution_json TEXT, PRIMARY KEY (param_id), UNIQUE (trial_id, param_name));
CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL);
INSERT INTO studies VALUES (1, 'old'), (2, 'other');
INSERT INTO study_directions VALUES (1, 'MAXIMIZE', 1, 0), (2, 'MINIMIZE', 2, 0);
INSERT INTO trials VALUES (1, 0, 1, 'COMPLETE', '2021-03-01 10:00:00.000000', '2021-03-01 10:01:30.500000'),
    (2, 1, 1, 'PRUNED', '2021-03-01 10:02:00.000000', '2021-03-01 10:02:10.000000'),
    (3, 0, 2, 'COMPLETE', '2021-03-01 10:03:00.000000', '2021-03-01 10:03:10.000000'),
    (4, 2, 1, 'FAIL', '2021-03-01 10:04:00.000000', '2021-03-01 10:04:10.000000'),
    (5, 3, 1, 'RUNNING', '2021-03-01 10:05:00.000000', NULL), (6, 4, 1, 'WAITING', NULL, NULL),
    (7, 5, 1, 'COMPLETE', '2021-03-01 10:06:00.000000', '2021-03-01 10:06:10.000000');
INSERT INTO trial_system_attributes VALUES
    (1, 4, 'fail_reason', '"Trial 2 failed, because the objective function returned nan."');
INSERT INTO trial_user_attributes VALUES (1, 1, 'note', '{"a": [1, NaN]}');
"#;

/// Optuna 2.4 to 2.10: values have no type, and distributions have their old names.
const BEFORE_3: &str = r#"
CREATE TABLE trial_values (trial_value_id INTEGER NOT NULL, trial_id INTEGER NOT NULL, objective INTEGER NOT NULL,
    value FLOAT NOT NULL, PRIMARY KEY (trial_value_id), UNIQUE (trial_id, objective));
CREATE TABLE trial_intermediate_values (trial_intermediate_value_id INTEGER NOT NULL, trial_id INTEGER NOT NULL,
    step INTEGER NOT NULL, intermediate_value FLOAT NOT NULL, PRIMARY KEY (trial_intermediate_value_id),
    UNIQUE (trial_id, step));
INSERT INTO version_info VALUES (1, 12, '2.6.0');
INSERT INTO alembic_version VALUES ('v2.6.0.a');
INSERT INTO trial_values VALUES (1, 1, 0, 0.75), (2, 3, 0, 3.0), (3, 7, 0, 9e999);
INSERT INTO trial_intermediate_values VALUES (1, 1, 10, 0.5), (2, 1, 20, 0.75), (3, 2, 10, 0.25);
INSERT INTO trial_params VALUES
    (3, 1, 'units', 64.0, '{"name": "IntLogUniformDistribution", "attributes": {"low": 16, "high": 512, "step": 1}}'),
    (1, 1, 'lr', 0.01, '{"name": "LogUniformDistribution", "attributes": {"low": 1e-05, "high": 1.0}}'),
    (2, 1, 'opt', 1.0, '{"name": "CategoricalDistribution", "attributes": {"choices": ["sgd", "adam"]}}'),
    (4, 2, 'lr', 0.1, '{"name": "LogUniformDistribution", "attributes": {"low": 1e-05, "high": 10.0}}'),
    (5, 2, 'opt', 0.0, '{"name": "CategoricalDistribution", "attributes": {"choices": ["sgd", "adam"]}}'),
    (6, 2, 'units', 16.0, '{"name": "IntLogUniformDistribution", "attributes": {"low": 16, "high": 512, "step": 1}}');
"#;

/// Optuna 3.0 and later.
const SINCE_3: &str = r#"
CREATE TABLE trial_values (trial_value_id INTEGER NOT NULL, trial_id INTEGER NOT NULL, objective INTEGER NOT NULL,
    value FLOAT, value_type VARCHAR(7) NOT NULL, PRIMARY KEY (trial_value_id), UNIQUE (trial_id, objective));
CREATE TABLE trial_intermediate_values (trial_intermediate_value_id INTEGER NOT NULL, trial_id INTEGER NOT NULL,
    step INTEGER NOT NULL, intermediate_value FLOAT, intermediate_value_type VARCHAR(7) NOT NULL,
    PRIMARY KEY (trial_intermediate_value_id), UNIQUE (trial_id, step));
INSERT INTO version_info VALUES (1, 12, '3.0.6');
INSERT INTO alembic_version VALUES ('v3.0.0.d');
INSERT INTO trial_values VALUES (1, 1, 0, 0.75, 'FINITE'), (2, 3, 0, 3.0, 'FINITE'), (3, 7, 0, NULL, 'INF_POS');
INSERT INTO trial_intermediate_values VALUES (1, 1, 10, 0.5, 'FINITE'), (2, 1, 20, 0.75, 'FINITE'),
    (3, 2, 10, 0.25, 'FINITE'), (4, 2, 11, NULL, 'NAN');
INSERT INTO trial_params VALUES
    (1, 1, 'lr', 0.01, '{"name": "FloatDistribution",
        "attributes": {"step": null, "low": 1e-05, "high": 1.0, "log": true}}'),
    (2, 1, 'opt', 1.0, '{"name": "CategoricalDistribution", "attributes": {"choices": ["sgd", "adam"]}}'),
    (3, 1, 'units', 64.0, '{"name": "IntDistribution",
        "attributes": {"log": true, "step": 1, "low": 16, "high": 512}}'),
    (4, 2, 'lr', 0.1, '{"name": "FloatDistribution",
        "attributes": {"step": null, "low": 1e-05, "high": 10.0, "log": true}}'),
    (5, 2, 'opt', 0.0, '{"name": "CategoricalDistribution", "attributes": {"choices": ["sgd", "adam"]}}'),
    (6, 2, 'units', 16.0, '{"name": "IntDistribution",
        "attributes": {"log": true, "step": 1, "low": 16, "high": 512}}');
"#;

fn made(path: &Path, version: &str) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection.execute_batch(COMMON).unwrap();
    connection.execute_batch(version).unwrap();
    connection
}

#[test]
fn databases_of_all_versions_become_the_same_study() {
    let folder = tempfile::tempdir().unwrap();
    for (name, version) in [("2.6", BEFORE_3), ("3.0", SINCE_3)] {
        let path = folder.path().join(format!("{name}.db"));
        drop(made(&path, version));
        let before = std::fs::read(&path).unwrap();
        let file = read(&path).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), before, "{name}: the file changed");
        let [old, other] = &file.studies[..] else { panic!("{file:?}") };
        assert_eq!((other.name.as_str(), &other.trials[0].values[..]), ("other", &[3.0][..]));
        let states: Vec<OptunaState> = old.trials.iter().map(|trial| trial.state).collect();
        use OptunaState::{Complete, Fail, Pruned, Running, Waiting};
        assert_eq!(states, [Complete, Pruned, Fail, Running, Waiting, Complete], "{name}");
        assert_eq!(old.trials[5].values, [f64::INFINITY], "{name}");
        let units = &old.trials[0].parameters["units"].distribution;
        assert_eq!(*units, OptunaDistribution::Int { low: 16, high: 512, log: true, step: 1 });
        let choices = Choices { from: "old".into(), ..Choices::default() };
        let imported = import(old, &choices).unwrap();
        let names: Vec<_> = imported.definition.space.hyperparameters().iter().map(|h| h.name.as_str()).collect();
        assert_eq!(names, ["lr", "opt", "units"], "{name}: in the order in which trials asked for them");
        let lr = &imported.definition.space.named("lr").next().unwrap().distribution;
        assert_eq!(*lr, Distribution::log_uniform(1e-5, 10.0).unwrap(), "{name}: both ranges together");
        assert!(imported.notes.iter().any(|note| note.contains("`lr` had 2 distributions")), "{:?}", imported.notes);
        let states: Vec<_> = imported.trials.iter().map(|r| (r.trial.number, r.trial.state)).collect();
        let expected = [
            (1, TrialState::Complete),
            (2, TrialState::Stopped),
            (3, TrialState::Infeasible),
            (4, TrialState::Cancelled),
            (6, TrialState::Infeasible),
        ];
        assert_eq!((&states[..], imported.left_out), (&expected[..], 1), "{name}");
        let first = &imported.trials[0];
        assert_eq!((first.trial.seconds, first.measurements.len()), (90.5, 2), "{name}");
        assert_eq!(imported.definition.objective.of(&first.trial), Some((0.75, 20)), "{name}");
        assert_eq!(imported.kept["trials"]["1"]["user"]["note"]["a"][0], 1, "{name}");
    }
}

#[test]
fn a_database_that_others_have_open_or_left_behind_is_read_and_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wal.db");
    let connection = made(&path, SINCE_3);
    connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())).unwrap();
    connection.execute("INSERT INTO trial_values VALUES (9, 2, 0, 0.25, 'FINITE')", []).unwrap();
    let log = folder.path().join("wal.db-wal");
    let before = (std::fs::read(&path).unwrap(), std::fs::read(&log).unwrap());
    assert_eq!(read(&path).unwrap().studies[0].trials[1].values, [0.25], "what lies in the log belongs to the file");
    assert_eq!((std::fs::read(&path).unwrap(), std::fs::read(&log).unwrap()), before);
    // A writer in the middle of a transaction is not seen.
    let path = folder.path().join("busy.db");
    let connection = made(&path, SINCE_3);
    connection.execute_batch("BEGIN; INSERT INTO trial_values VALUES (9, 2, 0, 0.25, 'FINITE')").unwrap();
    assert!(read(&path).unwrap().studies[0].trials[1].values.is_empty());
}

#[test]
fn other_files_are_called_what_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.db");
    let what = |path: &Path| match read(path) {
        Err(ExchangeError::NotOptuna(what)) => what,
        other => panic!("{other:?}"),
    };
    std::fs::write(&path, "").unwrap();
    assert_eq!(what(&path), "empty");
    std::fs::write(&path, "{\"step\": 1}\n").unwrap();
    assert!(what(&path).starts_with("neither a journal"));
    std::fs::write(&path, [0xff, 0xfe, b'\n']).unwrap();
    assert!(what(&path).starts_with("neither a journal"));
    std::fs::remove_file(&path).unwrap();
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE songs (x)").unwrap();
    assert_eq!(what(&path), "an SQLite database of another program (its tables: songs)");
    std::fs::remove_file(&path).unwrap();
    drop(tunebook_study::store::Store::open(&path).unwrap());
    assert!(what(&path).starts_with("a study store of Tunebook"));
}
