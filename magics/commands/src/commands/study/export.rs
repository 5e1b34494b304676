//! `%study export NAME --to FILE`: writes a study in the format that the ending of the file names.

use crate::error::{ErrorName, MagicError, Result};
use crate::files;
use crate::host::Output;
use crate::magic::Context;
use crate::report::Report;
use crate::studies::study_as_json;
use crate::syntax::{Arguments, Word};
use serde_json::json;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use tunebook_exchange::optuna::{self, journal, rdb};
use tunebook_exchange::table::{Table, write_csv, write_parquet};
use tunebook_exchange::{ExchangeError, Existing, RecordedStudy, RecordedTrial, tensorboard, write_whole};
use tunebook_study::store::{Store, StudyRecord};

/// A format, by the ending of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Journal,
    Database,
    Csv,
    Parquet,
    Json,
    TensorBoard,
}

const ENDINGS: &str = ".log (Optuna journal), .db or .sqlite3 (Optuna database), .csv, .parquet, .json; a name without \
    an ending is a folder for TensorBoard";

pub struct ExportStudy {
    arguments: Arguments,
    study: Word,
    to: Word,
    format: Format,
}

pub fn parse(arguments: Arguments) -> Result<ExportStudy> {
    let study = arguments.required(1, "the study")?.clone();
    let source = &arguments.source;
    let Some(to) = arguments.option("to").cloned() else {
        let help = Some(format!("the ending says the format: {ENDINGS}"));
        return Err(source.syntax_error(arguments.line.clone(), "the file is missing: `--to FILE`", help));
    };
    let ending = match to.text.ends_with('/') {
        true => "",
        false => Path::new(&to.text).extension().and_then(|ending| ending.to_str()).unwrap_or(""),
    };
    let format = match ending.to_ascii_lowercase().as_str() {
        "log" => Format::Journal,
        "db" | "sqlite3" => Format::Database,
        "csv" => Format::Csv,
        "parquet" => Format::Parquet,
        "json" => Format::Json,
        "" if !to.text.is_empty() => Format::TensorBoard,
        other => {
            let message = format!("no format has the ending `.{other}`");
            let help = Some(format!("the endings are {ENDINGS}"));
            return Err(source.error(ErrorName::InvalidValue, to.span.clone(), message, help));
        }
    };
    let only = |option: &str, allowed: bool, message: &str| match arguments.option(option) {
        Some(word) if !allowed => Err(source.error(ErrorName::InvalidValue, word.span.clone(), message, None)),
        _ => Ok(()),
    };
    let is_table = matches!(format, Format::Csv | Format::Parquet);
    only("measurements", is_table, "only CSV and Parquet have one table; the other formats hold the measurements too")?;
    let message = match format {
        Format::Journal => "a journal is not replaced: the study is added to those that are in it",
        _ => "a folder is not replaced: name another one",
    };
    only("force", !matches!(format, Format::Journal | Format::TensorBoard), message)?;
    Ok(ExportStudy { arguments, study, to, format })
}

impl ExportStudy {
    pub fn run(self, context: &Context, output: &dyn Output) -> Result<()> {
        let (store, study) = context.study(&self.arguments.source, &self.study)?;
        let recorded = recorded(&store, &study)?;
        let path = files::expand(context, &self.to.text);
        if path.canonicalize().is_ok_and(|path| context.store_file().canonicalize().is_ok_and(|store| store == path)) {
            let message = format!("`{}` is the store of all studies", self.to.text);
            return Err(self.arguments.source.error(ErrorName::FileExists, self.to.span.clone(), message, None));
        }
        let added = self.write(context, &path, &recorded)?;
        let measurements: usize = recorded.trials.iter().map(|recorded| recorded.measurements.len()).sum();
        let format = match self.format {
            Format::Journal => "an Optuna journal",
            Format::Database => "an Optuna database",
            Format::Csv => "CSV",
            Format::Parquet => "Parquet",
            Format::Json => "JSON",
            Format::TensorBoard => "a folder for TensorBoard",
        };
        let trials = recorded.trials.len();
        let fields = json!({ "study": study.name, "file": self.to.text, "trials": trials, "measurements": measurements,
            "added": added });
        let how = if added { "was added to" } else { "was written to" };
        let mut report = Report::new("export", &fields).line(&format!(
            "The study {} ({trials} trials, {measurements} measurements) {how} {}, as {format}.",
            study.name, self.to.text
        ));
        if let Some(next) = self.next(&study.name) {
            report = report.line(&next);
        }
        report.show(&context.charts, output);
        Ok(())
    }

    /// Writes the file. True if the study was added to a journal.
    fn write(&self, context: &Context, path: &Path, study: &RecordedStudy) -> Result<bool> {
        let existing = if self.arguments.has("force") { Existing::Replace } else { Existing::Keep };
        let of_optuna = || optuna::export::export(study);
        let table = || match self.arguments.has("measurements") {
            true => Table::of_measurements(study),
            false => Table::of_trials(study),
        };
        let written = match self.format {
            Format::Journal if path.exists() => journal::append(path, &of_optuna()).map(|()| true),
            Format::Journal => {
                let text = journal::lines(&of_optuna(), 0, 0);
                write_whole(path, existing, |beside| Ok(std::fs::write(beside, text)?)).map(|()| false)
            }
            Format::Database => write_whole(path, existing, |beside| rdb::write(beside, &of_optuna())).map(|()| false),
            Format::Csv => write_whole(path, existing, |beside| write_csv(beside, &table())).map(|()| false),
            Format::Parquet => write_whole(path, existing, |beside| write_parquet(beside, &table())).map(|()| false),
            Format::Json => {
                let mut whole = study_as_json(context, &study.name)?;
                (whole["created"], whole["environment"]) = (json!(study.created), json!(study.environment));
                let text = format!("{whole:#}\n");
                write_whole(path, existing, |beside| Ok(std::fs::write(beside, text)?)).map(|()| false)
            }
            Format::TensorBoard => {
                let folder: PathBuf = path.components().collect();
                tensorboard::write(&folder, study).map(|()| false)
            }
        };
        written.map_err(|error| self.not_written(path, &study.name, error))
    }

    fn not_written(&self, path: &Path, study: &str, error: ExchangeError) -> MagicError {
        let (source, written) = (&self.arguments.source, &self.to.text);
        let at = |name, message: String, help: Option<String>| source.error(name, self.to.span.clone(), message, help);
        match error {
            ExchangeError::Io(error) if error.kind() == ErrorKind::AlreadyExists => {
                let (what, help) = match self.format {
                    Format::TensorBoard if path.is_dir() => ("is a folder that is not empty", "name another folder"),
                    Format::TensorBoard => ("is there already", "name another folder"),
                    _ => ("is there already", "`--force` replaces it"),
                };
                at(ErrorName::FileExists, format!("`{written}` {what}"), Some(help.into()))
            }
            ExchangeError::Io(error) => files::not_written(source, &self.to, path, &error),
            ExchangeError::HasStudy(_) => {
                let help = "name another file. Trials that were added to the study later cannot be added to a journal";
                let message = format!("the journal `{written}` holds a study `{study}` already");
                at(ErrorName::FileExists, message, Some(help.into()))
            }
            ExchangeError::NotOptuna(what) => {
                let message = format!("nothing can be added to `{written}`: it is {what}");
                at(ErrorName::FileExists, message, Some("name another file".into()))
            }
            other => at(ErrorName::FileError, format!("`{written}` cannot be written: {other}"), None),
        }
    }

    /// How the file is opened.
    fn next(&self, study: &str) -> Option<String> {
        let to = &self.to.text;
        Some(match self.format {
            Format::Journal => format!(
                "`optuna-dashboard {to}` shows it, and `optuna.load_study(study_name=\"{study}\", \
                 storage=JournalStorage(JournalFileBackend(\"{to}\")))` continues it."
            ),
            Format::Database => format!(
                "`optuna-dashboard sqlite:///{to}` shows it, and `optuna.load_study(study_name=\"{study}\", \
                 storage=\"sqlite:///{to}\")` continues it."
            ),
            Format::TensorBoard => format!("`tensorboard --logdir {to}` shows it."),
            Format::Csv | Format::Parquet | Format::Json => return None,
        })
    }
}

/// The study with all its trials and measurements.
fn recorded(store: &Store, study: &StudyRecord) -> Result<RecordedStudy> {
    let mut trials = vec![];
    for trial in store.trials(study)? {
        let measurements = store.measurements(study, trial.number)?;
        trials.push(RecordedTrial { trial, measurements });
    }
    Ok(RecordedStudy {
        name: study.name.clone(),
        definition: study.definition.clone(),
        created: study.created,
        seconds: study.seconds,
        environment: store.environment(study)?,
        kept: store.origin(study)?,
        trials,
    })
}
