//! Writes a study as a folder for TensorBoard: the curves of each trial as scalars of a run of its own, and the table
//! of hyperparameters and results (the plugin HParams).

mod messages;
mod records;

use self::messages::{
    Content, DataType, Dimension, Domain, Event, Experiment, HParamInfo, HParamsData, HParamsPluginData, Interval,
    Kind, ListValue, MetricInfo, MetricName, PluginData, ProtoValue, SessionEndInfo, SessionStartInfo, Status, Summary,
    SummaryMetadata, SummaryValue, TensorProto, TensorShape, What,
};
use self::records::EventFile;
use crate::parameters::{name_in, name_of};
use crate::{RecordedStudy, RecordedTrial, Result};
use prost::Message;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufWriter, Error, ErrorKind};
use std::path::Path;
use tunebook_study::{Distribution, TrialState, Value};

/// Writes the folder. There must be none, or an empty one. After an error, nothing is left of it.
pub fn write(folder: &Path, study: &RecordedStudy) -> Result<()> {
    if folder.symlink_metadata().is_ok() && !folder.read_dir().is_ok_and(|mut entries| entries.next().is_none()) {
        return Err(Error::from(ErrorKind::AlreadyExists).into());
    }
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let beside = tempfile::Builder::new().prefix(".tunebook-export-").tempdir_in(parent)?;
    let made = beside.path().join("runs");
    std::fs::create_dir(&made)?;
    write_runs(&made, study)?;
    // Renaming replaces an empty folder.
    std::fs::rename(&made, folder)?;
    Ok(())
}

fn write_runs(folder: &Path, study: &RecordedStudy) -> Result<()> {
    let mut file = begin(folder, study.created)?;
    file.write(&hparams_event(study.created, "_hparams_/experiment", HParamsData::Experiment(experiment(study))))?;
    end(file)?;
    let digits = study.trials.last().map_or(1, |last| last.trial.number.to_string().len());
    for recorded in &study.trials {
        let run = folder.join(format!("trial-{:0digits$}", recorded.trial.number));
        std::fs::create_dir(&run)?;
        write_run(&run, study, recorded)?;
    }
    Ok(())
}

fn begin(folder: &Path, time: f64) -> Result<EventFile<BufWriter<File>>> {
    let name = format!("events.out.tfevents.{}.tunebook", time.max(0.0) as u64);
    let file = File::create_new(folder.join(name))?;
    Ok(EventFile::begin(BufWriter::new(file), time)?)
}

fn end(file: EventFile<BufWriter<File>>) -> Result<()> {
    let file = file.end()?.into_inner().map_err(|error| error.into_error())?;
    file.sync_all()?;
    Ok(())
}

fn write_run(
    folder: &Path,
    study: &RecordedStudy,
    RecordedTrial { trial, measurements }: &RecordedTrial,
) -> Result<()> {
    let started = trial.started;
    let space = &study.definition.space;
    let mut file = begin(folder, started)?;
    let start = SessionStartInfo {
        hparams: trial.params.iter().map(|(name, v)| (name_in(space, name, &trial.params), value(v))).collect(),
        group_name: format!("{}-{}", study.name, trial.configuration),
        start_time_secs: started,
    };
    file.write(&hparams_event(started, "_hparams_/session_start_info", HParamsData::SessionStart(start)))?;
    for measurement in measurements {
        let scalar = |(tag, value): (&String, &Option<f64>)| SummaryValue {
            tag: tag.clone(),
            metadata: None,
            content: Some(Content::SimpleValue(value.map_or(f32::NAN, |value| value as f32))),
        };
        let summary = Summary { value: measurement.metrics.iter().map(scalar).collect() };
        file.write(&Event {
            wall_time: started + measurement.seconds,
            step: measurement.step as i64,
            what: Some(What::Summary(summary)),
        })?;
    }
    let status = match trial.state {
        TrialState::Complete => Status::Success,
        TrialState::Infeasible | TrialState::Failed => Status::Failure,
        // TensorBoard has no word for a trial that was stopped early.
        TrialState::Stopped | TrialState::Running | TrialState::Cancelled => Status::Unknown,
    };
    let ended = started + trial.seconds;
    let session = SessionEndInfo { status: status.into(), end_time_secs: ended };
    file.write(&hparams_event(ended, "_hparams_/session_end_info", HParamsData::SessionEnd(session)))?;
    end(file)
}

fn experiment(study: &RecordedStudy) -> Experiment {
    let space = &study.definition.space;
    let infos = space.hyperparameters().iter().map(|h| hparam_info(name_of(space, h), &h.distribution));
    // The objective comes first.
    let objective = &study.definition.objective.metric;
    let others: BTreeSet<&String> = study.trials.iter().flat_map(|recorded| recorded.trial.summaries.keys()).collect();
    let metrics = std::iter::once(objective).chain(others.into_iter().filter(|metric| *metric != objective));
    let metric = |tag: &String| MetricInfo { name: Some(MetricName { group: String::new(), tag: tag.clone() }) };
    Experiment {
        name: study.name.clone(),
        description: study.definition.question.clone().unwrap_or_default(),
        time_created_secs: study.created,
        hparam_infos: infos.collect(),
        metric_infos: metrics.map(metric).collect(),
    }
}

/// The type of a hyperparameter, and its domain.
fn hparam_info(name: String, distribution: &Distribution) -> HParamInfo {
    let listed = |values: &[Value]| Domain::Discrete(ListValue { values: values.iter().map(value).collect() });
    let interval = |min_value: f64, max_value: f64| Domain::Interval(Interval { min_value, max_value });
    let of_values = |values: &[Value]| match values {
        values if values.iter().all(|v| v.as_f64().is_some()) => DataType::Float64,
        values if values.iter().all(|v| matches!(v, Value::Bool(_))) => DataType::Bool,
        _ => DataType::String,
    };
    let (data_type, domain) = match distribution {
        Distribution::Uniform { low, high } | Distribution::LogUniform { low, high } => {
            (DataType::Float64, interval(*low, *high))
        }
        Distribution::OneMinusLogUniform { low, high } => (DataType::Float64, interval(1.0 - high, 1.0 - low)),
        Distribution::Int { low, high } | Distribution::LogInt { low, high } => {
            (DataType::Float64, interval(*low as f64, *high as f64))
        }
        Distribution::Choice { values } => (of_values(values), listed(values)),
        Distribution::Constant { value } => {
            let values = std::slice::from_ref(value);
            (of_values(values), listed(values))
        }
    };
    HParamInfo { name, r#type: data_type.into(), domain: Some(domain) }
}

fn value(value: &Value) -> ProtoValue {
    let kind = match (value, value.as_f64()) {
        (_, Some(number)) => Kind::Number(number),
        (Value::Bool(b), _) => Kind::Bool(*b),
        (other, _) => Kind::Text(other.to_string()),
    };
    ProtoValue { kind: Some(kind) }
}

fn hparams_event(wall_time: f64, tag: &str, data: HParamsData) -> Event {
    let content = HParamsPluginData { version: 0, data: Some(data) }.encode_to_vec();
    // TensorBoard reads the metadata only, and drops a value without a tensor.
    let tensor = TensorProto {
        dtype: 1,
        tensor_shape: Some(TensorShape { dim: vec![Dimension { size: 1 }] }),
        float_val: vec![0.0],
    };
    let value = SummaryValue {
        tag: tag.into(),
        metadata: Some(SummaryMetadata { plugin_data: Some(PluginData { plugin_name: "hparams".into(), content }) }),
        content: Some(Content::Tensor(tensor)),
    };
    Event { wall_time, step: 0, what: Some(What::Summary(Summary { value: vec![value] })) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recorded::testing::study_with_branches;

    #[test]
    fn each_branch_has_its_own_hyperparameter() {
        let study = study_with_branches();
        let infos = experiment(&study).hparam_infos;
        let names: Vec<&str> = infos.iter().map(|info| info.name.as_str()).collect();
        assert_eq!(names, ["optimizer", "optimizer=sgd/lr", "momentum", "optimizer=adam/lr"]);
        let low = |info: &HParamInfo| match &info.domain {
            Some(Domain::Interval(interval)) => Some(interval.min_value),
            _ => None,
        };
        assert_eq!((low(&infos[1]), low(&infos[3])), (Some(1e-3), Some(1e-4)));
        let folder = tempfile::tempdir().unwrap();
        write(&folder.path().join("runs"), &study).unwrap();
        for (run, own, other) in [("trial-1", "=sgd/lr", "=adam/lr"), ("trial-2", "=adam/lr", "=sgd/lr")] {
            let file = folder.path().join("runs").join(run).read_dir().unwrap().next().unwrap().unwrap();
            let bytes = std::fs::read(file.path()).unwrap();
            let text = String::from_utf8_lossy(&bytes);
            assert!(text.contains(own) && !text.contains(other), "{run}");
        }
    }
}
