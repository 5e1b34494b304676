//! `%study`: the record of all studies, or of one; deletes, imports, exports and compares studies.

mod compare;
mod decisions;
mod export;
mod import;
mod list;
mod show;

use crate::error::{ErrorName, Result};
use crate::host::{Interrupt, Output};
use crate::magic::{Command, Context, Export, Invocation, Magic, Subject};
use crate::studies::remove;
use crate::syntax::{Arguments, PNG, Word, option};

pub const MAGIC: Magic = Magic {
    name: "study",
    line: true,
    body: None,
    usage: "%study\n%study NAME\n%study compare A B\n%study export NAME --to FILE [--measurements] [--force]\n\
        %study import FILE [--study NAME] [--as NAME] [--scientific HP] [--objective-index I] [--force]\n\
        %study delete NAME",
    example: "%study depth",
    summary: "The record of all studies, or of one; import, export, compare and delete studies",
    help: "Without a name, it lists all studies with their best trials. With a name, it shows the study's definition, \
        where it ran, and its trials.\n\n\
        `%study compare A B` shows definitions, environments and results of two studies side by side.\n\n\
        `%study export NAME --to FILE` writes a study for other tools. The ending of the file says which: `.log` \
        (Optuna journal), `.db` or `.sqlite3` (Optuna database), `.csv`, `.parquet`, `.json`; a name without an ending \
        is a folder for TensorBoard.\n\n\
        `%study import FILE` reads a study from a journal or an SQLite database of Optuna, so that `%isolate`, \
        `%axis`, `%curves`, `%insight` and `%bestofk` can be used on it. It cannot be trained further here.\n\n\
        `%study delete NAME` deletes a study, its trials, and the folder with their checkpoints and logs.",
    options: &[
        option("to", Some("FILE"), "export: the file or folder to write"),
        option("measurements", None, "export to CSV or Parquet: a row for each measurement, not for each trial"),
        option("study", Some("NAME"), "import: the study, if the file has several"),
        option("as", Some("NAME"), "import: the name of the study here"),
        option(
            "scientific",
            Some("HP…"),
            "import: a hyperparameter whose effect is the question; the others are nuisance hyperparameters",
        ),
        option("objective-index", Some("I"), "import: the objective, from 0, of a study with several"),
        option("force", None, "export: replace the file; import: replace the study, if it was imported too"),
        PNG,
    ],
    subject: Subject::Study,
    export: Export::Comment,
    parse,
};

enum StudyCommand {
    ListAll,
    Show(Arguments, Word),
    Delete(Arguments, Word),
    Compare(Arguments, [Word; 2]),
    Export(export::ExportStudy),
    Import(import::ImportStudy),
}

fn parse(Invocation { arguments, .. }: Invocation) -> Result<Box<dyn Command>> {
    let words = arguments.positional.clone();
    let verb = words.first().map_or("", |verb| verb.text.as_str());
    let (takes, most): (&[&str], usize) = match verb {
        "export" => (&["to", "measurements", "force"], 2),
        "import" => (&["study", "as", "scientific", "objective-index", "force"], 2),
        "compare" => (&[], 3),
        "delete" if words.len() > 1 => (&[], 2),
        _ => (&["png"], 1),
    };
    arguments.at_most(most)?;
    for spec in MAGIC.options.iter().filter(|spec| !takes.contains(&spec.name)) {
        if let Some(word) = arguments.option(spec.name) {
            let owner = if ["to", "measurements"].contains(&spec.name) { "export" } else { "import" };
            let message = match verb {
                "export" | "import" | "compare" | "delete" => {
                    format!("`%study {verb}` has no option `{}`", spec.written())
                }
                _ => format!("`{}` belongs to `%study {owner}`", spec.written()),
            };
            return Err(arguments.source.error(ErrorName::UnknownOption, word.span.clone(), message, None));
        }
    }
    Ok(Box::new(match verb {
        "export" => StudyCommand::Export(export::parse(arguments)?),
        "import" => StudyCommand::Import(import::parse(arguments)?),
        "compare" => {
            let names = [arguments.required(1, "the first study")?, arguments.required(2, "the second study")?];
            let names = names.map(Word::clone);
            StudyCommand::Compare(arguments, names)
        }
        "delete" if words.len() > 1 => StudyCommand::Delete(arguments, words[1].clone()),
        _ => match words.into_iter().next() {
            None => StudyCommand::ListAll,
            Some(name) => StudyCommand::Show(arguments, name),
        },
    }))
}

impl Command for StudyCommand {
    fn run(self: Box<Self>, context: &Context, output: &dyn Output, _: &Interrupt) -> Result<()> {
        match *self {
            StudyCommand::ListAll => list::list_all(context, output),
            StudyCommand::Show(arguments, name) => {
                let (store, study) = context.study(&arguments.source, &name)?;
                show::study_report(context, &store, &study)?.show(&context.charts, output);
                Ok(())
            }
            StudyCommand::Delete(arguments, name) => delete(context, &arguments, &name, output),
            StudyCommand::Compare(arguments, names) => compare::compare(context, &arguments, &names, output),
            StudyCommand::Export(export) => export.run(context, output),
            StudyCommand::Import(import) => import.run(context, output),
        }
    }
}

fn delete(context: &Context, arguments: &Arguments, name: &Word, output: &dyn Output) -> Result<()> {
    let (_, study) = context.study(&arguments.source, name)?;
    let name = study.name.clone();
    remove(context, study)?;
    output.print(crate::host::Stream::Stdout, &format!("The study {name} was deleted.\n"));
    Ok(())
}
