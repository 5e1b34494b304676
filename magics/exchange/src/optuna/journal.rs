//! Optuna's journal: one JSON object in each line says what happened. Ids are the order of the lines.
//!
//! A line that has no line break is being written by another program and counts as not there.

pub use super::journal_write::{append, lines};

use super::{
    Attributes, OptunaDirection, OptunaDistribution, OptunaFile, OptunaParameter, OptunaState, OptunaStudy, OptunaTrial,
};
use crate::{ExchangeError, Result, json, time};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

/// Reads a journal. It takes no lock: a journal only ever grows.
pub fn read(path: &Path) -> Result<OptunaFile> {
    read_from(File::open(path)?)
}

pub(super) fn read_from(file: impl Read) -> Result<OptunaFile> {
    let mut reader = BufReader::new(file);
    let (mut journal, mut notes, mut number, mut line) = (Journal::default(), vec![], 0, vec![]);
    loop {
        line.clear();
        if reader.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        number += 1;
        if line.last() != Some(&b'\n') {
            notes.push(format!("Line {number} has no end: another program was writing it. It was not read."));
            break;
        }
        let place = || format!("line {number}");
        let text = std::str::from_utf8(&line).map_err(|_| match number {
            1 => ExchangeError::NotOptuna(NEITHER.into()),
            _ => ExchangeError::malformed(place(), "it is not text in UTF-8"),
        })?;
        if text.trim().is_empty() {
            continue;
        }
        let record = json::parse(text).ok().filter(|record| record.get("op_code").is_some());
        let Some(record) = record else {
            return Err(match number {
                1 => ExchangeError::NotOptuna(NEITHER.into()),
                _ => ExchangeError::malformed(place(), "it is no record of a journal (a JSON object with `op_code`)"),
            });
        };
        journal.apply(&record).map_err(|problem| ExchangeError::malformed(place(), problem))?;
    }
    if number == 0 {
        return Err(ExchangeError::NotOptuna("empty".into()));
    }
    Ok(OptunaFile { format: "journal", studies: journal.studies.into_iter().flatten().collect(), notes })
}

const NEITHER: &str = "neither a journal of Optuna (JSON lines with `op_code`) nor an SQLite database";

/// The studies while the records are applied.
#[derive(Default)]
struct Journal {
    /// By their ids. None if a study was deleted.
    studies: Vec<Option<OptunaStudy>>,
    /// The study of each trial, and its number, by the id of the trial.
    trials: Vec<(usize, usize)>,
}

type Outcome<T> = std::result::Result<T, String>;

impl Journal {
    fn apply(&mut self, record: &Value) -> Outcome<()> {
        match field_u64(record, "op_code")? {
            0 => self.create_study(record),
            1 => {
                let id = field_u64(record, "study_id")? as usize;
                *self.studies.get_mut(id).ok_or_else(|| format!("there is no study {id}"))? = None;
                Ok(())
            }
            2 => self.study(record, |study| &mut study.user_attributes, "user_attr"),
            3 => self.study(record, |study| &mut study.system_attributes, "system_attr"),
            4 => self.create_trial(record),
            5 => {
                let name = field_text(record, "param_name")?.to_string();
                let distribution = OptunaDistribution::parse(field_text(record, "distribution")?)?;
                let internal = field_number(record, "param_value_internal")?;
                self.trial(record, |trial| {
                    trial.parameters.insert(name, OptunaParameter { internal, distribution });
                    Ok(())
                })
            }
            6 => {
                let state = state(record)?;
                self.trial(record, |trial| {
                    trial.state = state;
                    if let Some(values) = record.get("values").and_then(Value::as_array) {
                        trial.values = values.iter().filter_map(json::number).collect();
                    }
                    set_times(trial, record);
                    Ok(())
                })
            }
            7 => {
                let step = field_number(record, "step")? as i64;
                // Python's None, and what Rustuna writes, are no numbers.
                let value = record.get("intermediate_value").and_then(json::number).unwrap_or(f64::NAN);
                self.trial(record, |trial| {
                    trial.intermediate.insert(step, value);
                    Ok(())
                })
            }
            8 => self.trial(record, |trial| extend(&mut trial.user_attributes, record, "user_attr")),
            9 => self.trial(record, |trial| extend(&mut trial.system_attributes, record, "system_attr")),
            // What later versions add, such as 10 of Rustuna, Optuna skips too.
            _ => Ok(()),
        }
    }

    fn create_study(&mut self, record: &Value) -> Outcome<()> {
        let name = field_text(record, "study_name")?;
        if self.studies.iter().flatten().any(|study| study.name == name) {
            return Ok(());
        }
        let directions = record.get("directions").and_then(Value::as_array).ok_or("`directions` is no list")?;
        let directions = directions.iter().map(|direction| match direction.as_u64() {
            Some(0) => Ok(OptunaDirection::NotSet),
            Some(1) => Ok(OptunaDirection::Minimize),
            Some(2) => Ok(OptunaDirection::Maximize),
            _ => Err(format!("the direction {direction} is unknown")),
        });
        self.studies.push(Some(OptunaStudy {
            name: name.into(),
            directions: directions.collect::<Outcome<_>>()?,
            user_attributes: Attributes::new(),
            system_attributes: Attributes::new(),
            trials: vec![],
        }));
        Ok(())
    }

    fn create_trial(&mut self, record: &Value) -> Outcome<()> {
        let id = field_u64(record, "study_id")? as usize;
        let Some(study) = self.studies.get_mut(id) else { return Err(format!("there is no study {id}")) };
        // A trial of a deleted study has an id all the same.
        let number = study.as_ref().map_or(0, |study| study.trials.len());
        self.trials.push((id, number));
        let Some(study) = study else { return Ok(()) };
        let state =
            if record.get("state").is_some_and(|s| !s.is_null()) { state(record)? } else { OptunaState::Running };
        let values = match (record.get("values").and_then(Value::as_array), record.get("value")) {
            (Some(values), _) => values.iter().filter_map(json::number).collect(),
            (None, Some(value)) => json::number(value).into_iter().collect(),
            (None, None) => vec![],
        };
        let object = |name: &str| record.get(name).and_then(Value::as_object).cloned().unwrap_or_default();
        let mut trial = OptunaTrial {
            number: number as u32,
            state,
            values,
            parameters: Default::default(),
            intermediate: BTreeMap::new(),
            user_attributes: object("user_attrs"),
            system_attributes: object("system_attrs"),
            started: None,
            completed: None,
        };
        set_times(&mut trial, record);
        let distributions = object("distributions");
        for (name, value) in object("params") {
            let internal = json::number(&value).ok_or_else(|| format!("the parameter `{name}` is no number"))?;
            let text = distributions.get(&name).and_then(Value::as_str);
            let distribution = OptunaDistribution::parse(text.ok_or(format!("`{name}` has no distribution"))?)?;
            trial.parameters.insert(name, OptunaParameter { internal, distribution });
        }
        for (step, value) in object("intermediate_values") {
            let step = step.parse().map_err(|_| format!("the step `{step}` is no whole number"))?;
            trial.intermediate.insert(step, json::number(&value).unwrap_or(f64::NAN));
        }
        study.trials.push(trial);
        Ok(())
    }

    fn study(
        &mut self,
        record: &Value,
        attributes: fn(&mut OptunaStudy) -> &mut Attributes,
        field: &str,
    ) -> Outcome<()> {
        let id = field_u64(record, "study_id")? as usize;
        match self.studies.get_mut(id).ok_or_else(|| format!("there is no study {id}"))? {
            Some(study) => extend(attributes(study), record, field),
            None => Ok(()),
        }
    }

    /// Changes a trial. One that has ended does not change any more.
    fn trial(&mut self, record: &Value, change: impl FnOnce(&mut OptunaTrial) -> Outcome<()>) -> Outcome<()> {
        let id = field_u64(record, "trial_id")? as usize;
        let (study, number) = *self.trials.get(id).ok_or_else(|| format!("there is no trial {id}"))?;
        match self.studies[study].as_mut().and_then(|study| study.trials.get_mut(number)) {
            Some(trial) if !trial.state.is_finished() => change(trial),
            _ => Ok(()),
        }
    }
}

fn set_times(trial: &mut OptunaTrial, record: &Value) {
    let at = |field: &str| record.get(field).and_then(Value::as_str).and_then(time::parse);
    trial.started = at("datetime_start").or(trial.started);
    trial.completed = at("datetime_complete").or(trial.completed);
}

fn extend(attributes: &mut Attributes, record: &Value, field: &str) -> Outcome<()> {
    let new = record.get(field).and_then(Value::as_object).ok_or_else(|| format!("`{field}` is no object"))?;
    attributes.extend(new.clone());
    Ok(())
}

fn state(record: &Value) -> Outcome<OptunaState> {
    let number = field_u64(record, "state")?;
    let known = OptunaState::ALL.into_iter().find(|state| *state as u64 == number);
    known.ok_or_else(|| format!("the state {number} of a trial is unknown"))
}

fn field_u64(record: &Value, name: &str) -> Outcome<u64> {
    record.get(name).and_then(Value::as_u64).ok_or_else(|| format!("`{name}` is no whole number"))
}

fn field_number(record: &Value, name: &str) -> Outcome<f64> {
    record.get(name).and_then(json::number).ok_or_else(|| format!("`{name}` is no number"))
}

fn field_text<'a>(record: &'a Value, name: &str) -> Outcome<&'a str> {
    record.get(name).and_then(Value::as_str).ok_or_else(|| format!("`{name}` is no text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = r#"{"op_code":0,"worker_id":"w","study_name":"a","directions":[1]}
{"op_code":4,"worker_id":"w","study_id":0,"datetime_start":"2026-11-23T18:42:43.331306+00:00"}
{"op_code":0,"worker_id":"w","study_name":"b","directions":[2,0]}
{"op_code":0,"worker_id":"w","study_name":"a","directions":[2]}
{"op_code":4,"worker_id":"w","study_id":1,"datetime_start":null,"state":4,"system_attrs":{"fixed_params":{"x":1}}}
{"op_code":7,"worker_id":"w","trial_id":0,"step":3,"intermediate_value":NaN}
{"op_code":6,"worker_id":"w","trial_id":0,"state":1,"values":[Infinity],"datetime_complete":"2026-11-23T18:42:44"}
{"op_code":8,"worker_id":"w","trial_id":0,"user_attr":{"late":1}}
{"op_code":2,"worker_id":"w","study_id":1,"user_attr":{"who":"NaN"}}
"#;

    #[test]
    fn ids_are_the_order_of_lines_and_ended_trials_stay_as_they_are() {
        let file = read_from(TWO.as_bytes()).unwrap();
        let [a, b] = &file.studies[..] else { panic!("{file:?}") };
        assert_eq!((a.name.as_str(), &a.directions[..]), ("a", &[OptunaDirection::Minimize][..]));
        assert_eq!(b.directions, [OptunaDirection::Maximize, OptunaDirection::NotSet]);
        let trial = &a.trials[0];
        assert!(trial.intermediate[&3].is_nan() && trial.values == [f64::INFINITY]);
        assert!(trial.user_attributes.is_empty(), "the attribute came after the end");
        assert!(trial.completed.unwrap() - trial.started.unwrap() < 1.0);
        assert_eq!((b.trials[0].number, b.trials[0].state), (0, OptunaState::Waiting));
        assert_eq!(b.user_attributes["who"], "NaN");
    }

    #[test]
    fn a_torn_last_line_is_left_out_and_a_bad_line_before_it_is_an_error() {
        let torn = &TWO[..TWO.len() - 20];
        let file = read_from(torn.as_bytes()).unwrap();
        assert!(file.studies[1].user_attributes.is_empty() && file.notes[0].starts_with("Line 9 "), "{:?}", file.notes);
        let bad = TWO.replace(r#""step":3"#, r#""step":"#);
        let error = read_from(bad.as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with("line 6: "), "{error}");
        let unknown = TWO.replace(r#""trial_id":0,"step""#, r#""trial_id":7,"step""#);
        assert_eq!(read_from(unknown.as_bytes()).unwrap_err().to_string(), "line 6: there is no trial 7");
        assert!(matches!(read_from("hello\n".as_bytes()), Err(ExchangeError::NotOptuna(_))));
    }
}
