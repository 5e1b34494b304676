//! `%study import FILE`: reads a study of Optuna from its journal or its SQLite database.

use super::show::study_report;
use crate::commands::sweep::plan::check_name;
use crate::error::{ErrorName, MagicError, Result, suggest};
use crate::files;
use crate::host::Output;
use crate::magic::Context;
use crate::syntax::{Arguments, Word};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::path::Path;
use tunebook_exchange::optuna::{self, Choices, Imported, OptunaFile, OptunaState, OptunaStudy};
use tunebook_exchange::{ExchangeError, RecordedTrial};
use tunebook_study::TrialState;
use tunebook_study::store::StudyRecord;

pub struct ImportStudy {
    arguments: Arguments,
    file: Word,
    objective: Option<usize>,
    scientific: Vec<String>,
}

pub fn parse(arguments: Arguments) -> Result<ImportStudy> {
    let file = arguments.required(1, "the file")?.clone();
    let objective = arguments.count("objective-index", 0)?.map(|index| index as usize);
    let scientific = arguments.all("scientific").map(|word| word.text.clone()).collect();
    if let Some(name) = arguments.option("as") {
        check_name(&arguments.source, name)?;
    }
    Ok(ImportStudy { arguments, file, objective, scientific })
}

impl ImportStudy {
    pub fn run(self, context: &Context, output: &dyn Output) -> Result<()> {
        let path = files::expand(context, &self.file.text);
        let read = optuna::read(&path).map_err(|error| self.not_read(&path, error))?;
        let study = self.chosen(&read)?;
        let name = self.name(study)?;
        let source = json!({ "file": self.file.text, "format": read.format, "study": study.name,
            "sha256": self.hash(&path)?, "objective_index": self.objective, "scientific": self.scientific,
            "states": states(study) });
        let choices = Choices {
            objective: self.objective,
            scientific: self.scientific.clone(),
            from: format!("{} (study `{}`)", self.file.text, study.name),
        };
        let Imported { definition, trials, mut kept, mut notes, left_out, seconds } =
            optuna::import(study, &choices).map_err(|problem| self.not_imported(problem))?;
        if trials.is_empty() {
            let message = format!("the study `{}` in `{}` has no trial that began", study.name, self.file.text);
            let span = self.file.span.clone();
            let help = match read.studies.len() {
                1 => "run some of its trials with Optuna first, and import it then",
                _ => {
                    "run some of its trials with Optuna first, or choose another study of the file with `--study NAME`"
                }
            };
            return Err(self.arguments.source.error(ErrorName::NoAnswer, span, message, Some(help.into())));
        }
        let mut store = context.store()?;
        if let Some(there) = store.study(&name)? {
            let origin = store.origin(&there)?;
            if origin.as_ref().is_some_and(|origin| origin["source"] == source) {
                let note =
                    "Nothing was imported: the study is here already, from the same file with the same contents.";
                study_report(context, &store, &there)?.line(note).show(&context.charts, output);
                return Ok(());
            }
            if origin.is_none() || !self.arguments.has("force") {
                return Err(self.is_there(&there, origin.is_some()));
            }
            store.write(there)?.delete()?;
            store = context.store()?;
        }
        kept["source"] = source;
        let rows = trials.iter().map(|recorded| (&recorded.trial, &recorded.measurements[..]));
        let recorded = store.record_imported(&name, &definition, rows, &kept, seconds)?;
        drop(notes.splice(0..0, read.notes.iter().cloned()));
        let mut report = study_report(context, &store, &recorded)?.field("left_out", left_out).field("notes", &notes);
        report = report.line(&summary(study, &trials, &self.file.text, read.format));
        for note in &notes {
            report = report.line(note);
        }
        report.show(&context.charts, output);
        Ok(())
    }

    fn hash(&self, path: &Path) -> Result<String> {
        let source = &self.arguments.source;
        let bytes = std::fs::read(path).map_err(|error| files::problem(source, &self.file, path, "read", &error))?;
        Ok(Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect())
    }

    fn not_read(&self, path: &Path, error: ExchangeError) -> MagicError {
        let (source, written) = (&self.arguments.source, &self.file.text);
        let (message, help) = match error {
            ExchangeError::Io(error) => return files::problem(source, &self.file, path, "read", &error),
            ExchangeError::NotOptuna(what) => {
                let help = "journals and SQLite databases of Optuna can be imported. For another storage: \
                    `optuna.copy_study(…, to_storage=\"sqlite:///study.db\")`";
                (format!("`{written}` is no study file of Optuna: it is {what}"), Some(help.into()))
            }
            other => {
                let help = "see whether Optuna itself can read it, with no other program at work on it; \
                    `optuna.copy_study(…, to_storage=\"sqlite:///study.db\")` then writes a file that can be imported";
                (format!("`{written}` cannot be read: {other}"), Some(help.into()))
            }
        };
        source.error(ErrorName::FileError, self.file.span.clone(), message, help)
    }

    /// The study that `--study` names, or the only one of the file.
    fn chosen<'a>(&self, file: &'a OptunaFile) -> Result<&'a OptunaStudy> {
        let (source, written) = (&self.arguments.source, &self.file.text);
        let names: Vec<&str> = file.studies.iter().map(|study| study.name.as_str()).collect();
        let listed = || {
            let shown: Vec<String> =
                file.studies.iter().take(20).map(|s| format!("`{}` ({} trials)", s.name, s.trials.len())).collect();
            let more = file.studies.len().saturating_sub(20);
            shown.join(", ") + &if more > 0 { format!(" and {more} more") } else { String::new() }
        };
        match (self.arguments.option("study"), &file.studies[..]) {
            (_, []) => {
                let message = format!("`{written}` holds no study");
                let help = "name the file that the `storage` of your Optuna program names".to_string();
                Err(source.error(ErrorName::UnknownStudy, self.file.span.clone(), message, Some(help)))
            }
            (Some(word), all) => all.iter().find(|study| study.name == word.text).ok_or_else(|| {
                let message = format!("`{written}` has no study `{}`", word.text);
                let help = suggest(&word.text, names).unwrap_or_else(|| format!("its studies are {}", listed()));
                source.error(ErrorName::UnknownStudy, word.span.clone(), message, Some(help))
            }),
            (None, [only]) => Ok(only),
            (None, all) => {
                let message = format!("`{written}` holds {} studies, and one is imported at a time", all.len());
                let help = format!("choose one with `--study NAME`: {}", listed());
                Err(source.error(ErrorName::InvalidValue, self.file.span.clone(), message, Some(help)))
            }
        }
    }

    fn name(&self, study: &OptunaStudy) -> Result<String> {
        if let Some(word) = self.arguments.option("as") {
            return Ok(word.text.clone());
        }
        let span = self.arguments.option("study").map_or(self.file.span.clone(), |word| word.span.clone());
        let word = Word { text: study.name.clone(), span, quoted: true };
        check_name(&self.arguments.source, &word)
            .map_err(|error| error.with_help("give it another name here with `--as NAME`"))?;
        Ok(study.name.clone())
    }

    fn not_imported(&self, problem: optuna::import::ImportProblem) -> MagicError {
        use optuna::import::ImportProblem;
        let source = &self.arguments.source;
        let message = problem.to_string();
        match problem {
            ImportProblem::Objective { possible, .. } => {
                let word = self.arguments.option("objective-index").unwrap_or(&self.file);
                let help = format!("choose one with `--objective-index I`: {}", possible.join(", "));
                source.error(ErrorName::InvalidValue, word.span.clone(), message, Some(help))
            }
            ImportProblem::Scientific { name, known } => {
                let given = self.arguments.all("scientific").find(|word| word.text == name).unwrap_or(&self.file);
                let help = suggest(&name, known.iter().map(String::as_str).collect::<Vec<_>>());
                source.error(ErrorName::UnknownHyperparameter, given.span.clone(), message, help)
            }
            ImportProblem::Impossible(_) => {
                source.error(ErrorName::InvalidDeclaration, self.file.span.clone(), message, None)
            }
        }
    }

    fn is_there(&self, study: &StudyRecord, is_imported: bool) -> MagicError {
        let message = match is_imported {
            true => format!("there is already a study `{}`, which was imported from other contents", study.name),
            false => format!("there is already a study `{}`, which was trained here", study.name),
        };
        let help = match is_imported {
            true => "`--force` replaces it; `--as NAME` keeps both",
            false => "give the imported one another name with `--as NAME`",
        };
        MagicError::advising(ErrorName::StudyExists, message, help)
    }
}

/// How many trials are in each state of Optuna.
fn states(study: &OptunaStudy) -> Value {
    let count = |state: OptunaState| study.trials.iter().filter(|trial| trial.state == state).count();
    use OptunaState::{Complete, Fail, Pruned, Running, Waiting};
    json!({ "complete": count(Complete), "pruned": count(Pruned), "fail": count(Fail), "running": count(Running),
        "waiting": count(Waiting) })
}

/// `trials` are those of the study as they are here.
fn summary(study: &OptunaStudy, trials: &[RecordedTrial], file: &str, format: &str) -> String {
    let states = states(study);
    let here = |state: TrialState| trials.iter().filter(|recorded| recorded.trial.state == state).count() as u64;
    let of_optuna = |field: &str| states[field].as_u64().unwrap_or_default();
    // Whatever is complete or has failed here was so in Optuna too. The others of both are infeasible here.
    let split = |field: &str, same: u64, name: &str| match of_optuna(field).saturating_sub(same) {
        0 => name.to_string(),
        infeasible if same == 0 => format!("{infeasible} infeasible"),
        infeasible => format!("{same} {name}, {infeasible} infeasible"),
    };
    let became = [
        ("complete", "complete", split("complete", here(TrialState::Complete), "complete")),
        ("pruned", "pruned", "stopped".to_string()),
        ("fail", "failed", split("fail", here(TrialState::Failed), "failed")),
        ("running", "running", "cancelled".to_string()),
        ("waiting", "waiting", "left out".to_string()),
    ];
    let parts: Vec<String> = became
        .iter()
        .filter(|(field, ..)| of_optuna(field) > 0)
        .map(|(field, optuna, ours)| format!("{} {optuna} ({ours})", of_optuna(field)))
        .collect();
    let kind = if format == "journal" { "journal" } else { "SQLite database" };
    format!(
        "Imported {} trials of Optuna's study `{}` from the {kind} {file}; in brackets what they are here: {}.",
        study.trials.len(),
        study.name,
        parts.join(", ")
    )
}
