//! Writes studies to Optuna's journal.

use super::journal_lock::JournalLock;
use super::{OptunaDirection, OptunaState, OptunaStudy, OptunaTrial, journal};
use crate::{ExchangeError, Result, time};
use serde_json::{Value, json};
use std::fs::OpenOptions;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

/// Adds a study to a journal that is there, under its lock. After an error the journal is as it was.
pub fn append(path: &Path, study: &OptunaStudy) -> Result<()> {
    let _lock = JournalLock::take(path)?;
    let mut file = OpenOptions::new().read(true).append(true).open(path)?;
    let there = journal::read_from(&file)?;
    if there.studies.iter().any(|other| other.name == study.name) {
        return Err(ExchangeError::HasStudy(study.name.clone()));
    }
    if let Some(torn) = there.notes.first() {
        let problem = "nothing can be added behind a line without an end";
        return Err(ExchangeError::malformed(torn.trim_end_matches('.'), problem));
    }
    // Ids count all studies and trials that ever were in the file, also those that were deleted.
    file.seek(SeekFrom::Start(0))?;
    let (studies, trials) = count(&file)?;
    let length = file.seek(SeekFrom::End(0))?;
    let text = lines(study, studies, trials);
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    if written.is_err() {
        let _ = file.set_len(length);
    }
    Ok(written?)
}

/// How many ids of studies and of trials a journal has given out.
fn count(file: impl std::io::Read) -> Result<(u64, u64)> {
    use std::io::BufRead;
    let (mut names, mut studies, mut trials) = (std::collections::BTreeMap::new(), 0, 0);
    for line in std::io::BufReader::new(file).lines() {
        let line = line?;
        let Ok(record) = crate::json::parse(&line) else { continue };
        match record["op_code"].as_u64() {
            // A second study of a name gets no id, unless the first one was deleted.
            Some(0) => {
                let name = record["study_name"].as_str().unwrap_or("").to_string();
                if !names.values().any(|there| *there == name) {
                    names.insert(studies, name);
                    studies += 1;
                }
            }
            Some(1) => drop(record["study_id"].as_u64().and_then(|id| names.remove(&id))),
            Some(4) => trials += 1,
            _ => {}
        }
    }
    Ok((studies, trials))
}

/// The lines of a study in a journal that has given out so many ids already.
pub fn lines(study: &OptunaStudy, first_study: u64, first_trial: u64) -> String {
    let worker = format!("tunebook-{}", uuid::Uuid::new_v4());
    let mut text = String::new();
    let mut line = |op_code: u64, fields: Value| {
        let mut record = json!({ "op_code": op_code, "worker_id": worker });
        if let (Some(record), Value::Object(fields)) = (record.as_object_mut(), fields) {
            record.extend(fields);
        }
        text += &record.to_string();
        text.push('\n');
    };
    let directions = study.directions.iter().map(|direction| match direction {
        OptunaDirection::NotSet => 0,
        OptunaDirection::Minimize => 1,
        OptunaDirection::Maximize => 2,
    });
    line(0, json!({ "study_name": study.name, "directions": directions.collect::<Vec<_>>() }));
    for (name, value) in &study.user_attributes {
        line(2, json!({ "study_id": first_study, "user_attr": { name: value } }));
    }
    for (name, value) in &study.system_attributes {
        line(3, json!({ "study_id": first_study, "system_attr": { name: value } }));
    }
    for (id, trial) in (first_trial..).zip(&study.trials) {
        trial_lines(&mut line, first_study, id, trial);
    }
    text
}

fn trial_lines(line: &mut impl FnMut(u64, Value), study: u64, id: u64, trial: &OptunaTrial) {
    let started = trial.started.and_then(time::iso);
    line(4, json!({ "study_id": study, "datetime_start": started }));
    for (name, parameter) in &trial.parameters {
        let distribution = parameter.distribution.to_json().to_string();
        let fields = json!({ "trial_id": id, "param_name": name, "param_value_internal": parameter.internal,
            "distribution": distribution });
        line(5, fields);
    }
    // JSON has no numbers that are not finite.
    for (step, value) in trial.intermediate.iter().filter(|(_, value)| value.is_finite()) {
        line(7, json!({ "trial_id": id, "step": step, "intermediate_value": value }));
    }
    for (name, value) in &trial.user_attributes {
        line(8, json!({ "trial_id": id, "user_attr": { name: value } }));
    }
    for (name, value) in &trial.system_attributes {
        line(9, json!({ "trial_id": id, "system_attr": { name: value } }));
    }
    if trial.state != OptunaState::Running {
        let values = if trial.values.is_empty() { Value::Null } else { json!(trial.values) };
        let mut end = json!({ "trial_id": id, "state": trial.state as u64, "values": values });
        if trial.state.is_finished() {
            end["datetime_complete"] = json!(trial.completed.and_then(time::iso));
        }
        line(6, end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_study_is_added_behind_those_that_are_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("j.log");
        let deleted = concat!(
            r#"{"op_code":0,"worker_id":"w","study_name":"gone","directions":[1]}"#,
            "\n",
            r#"{"op_code":4,"worker_id":"w","study_id":0,"datetime_start":null}"#,
            "\n",
            r#"{"op_code":1,"worker_id":"w","study_id":0}"#,
            "\n"
        );
        std::fs::write(&path, deleted).unwrap();
        let trial = OptunaTrial {
            number: 0,
            state: OptunaState::Complete,
            values: vec![0.25],
            parameters: Default::default(),
            intermediate: [(1, 0.5), (2, f64::NAN)].into(),
            user_attributes: Default::default(),
            system_attributes: Default::default(),
            started: Some(1.5),
            completed: Some(2.5),
        };
        let study = OptunaStudy {
            name: "new".into(),
            directions: vec![OptunaDirection::Maximize],
            user_attributes: Default::default(),
            system_attributes: Default::default(),
            trials: vec![trial],
        };
        append(&path, &study).unwrap();
        let read = journal::read(&path).unwrap();
        let mut expected = study.clone();
        expected.trials[0].intermediate.remove(&2);
        assert_eq!(read.studies, [expected]);
        let before = std::fs::read(&path).unwrap();
        assert!(matches!(append(&path, &study), Err(ExchangeError::HasStudy(_))));
        assert_eq!(std::fs::read(&path).unwrap(), before);
        std::fs::write(&path, &before[..before.len() - 5]).unwrap();
        let other = OptunaStudy { name: "other".into(), ..study };
        let error = append(&path, &other).unwrap_err().to_string();
        assert!(error.contains("without an end"), "{error}");
        assert_eq!(folder.path().read_dir().unwrap().count(), 1, "the lock is gone");
    }
}
