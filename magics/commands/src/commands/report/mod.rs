//! `%report NAME… --to FILE`: one document about studies and measurements: what was asked, what was run, what it says,
//! and how to run it again.
//!
//! The document contains what the magics show, because it runs them: a chart or a sentence of `%insight` in a report is
//! the same as below its cell.

mod bundle;
mod html;
mod markdown;
mod notebook;
mod parts;
mod recording;
mod summary;

use self::parts::{Part, parts};
use crate::error::{ErrorName, Result};
use crate::files;
use crate::host::{Interrupt, Output};
use crate::magic::{Command, Context, Export, Invocation, Magic, Subject};
use crate::report::{Report, table};
use crate::syntax::{Arguments, Word, option};
use serde_json::json;
use std::path::Path;

/// What every report contains, so that a report is known as one.
const MARK: &str = "made by Tunebook %report";

pub const MAGIC: Magic = Magic {
    name: "report",
    line: true,
    body: None,
    usage: "%report NAME… --to FILE.html|FILE.md|FILE.ipynb [--title TEXT] [--decision TEXT] [--bundle FILE.zip]",
    example: "%report depth --to depth.html",
    summary: "Write one document about studies and measurements: question, design, charts, findings, how to run it again",
    help: "NAME is a study, the name of a %%scaling, or a workload that was measured with %throughput, %noise and the \
        like. The document contains what `%study`, `%plan`, `%isolate`, `%axis`, `%curves`, `%bestofk` and `%insight` \
        show, with the code that runs it again and the environment. Of a `command`, that is also each file that it names, \
        if it is text of at most 64 KiB and has not changed. An imported study has no `%plan`, and instead of code the \
        magic that imports it again. An HTML file is one page with interactive charts that needs no network. A Markdown file \
        has its charts as pictures in a folder beside it. A notebook has each magic as a cell with its output. \
        `--decision` says what was decided, and stands at the top.\n\n\
        `--bundle` also writes a ZIP file with the report, a store of these studies, the sources of workloads, and the \
        files that the trials read, up to 16 MiB each. Files that a script reads or imports, but the command does not \
        name, are not known and not in it. `tunebook replay FILE.zip` runs the studies again from it, on any machine, \
        and says whether the numbers are the same.",
    options: &[
        option("to", Some("FILE"), "the file to write; its ending says which kind"),
        option("title", Some("TEXT"), "the title (default: the names)"),
        option("decision", Some("TEXT"), "what was decided"),
        option("bundle", Some("FILE.zip"), "also write all that another machine needs to run the studies again"),
        option("force", None, "overwrite an existing file that is no report"),
    ],
    subject: Subject::Study,
    export: Export::Comment,
    parse,
};

/// The kinds of documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Html,
    Markdown,
    Notebook,
}

struct WriteReport {
    arguments: Arguments,
    names: Vec<Word>,
    to: Word,
    format: Format,
}

fn parse(Invocation { arguments, .. }: Invocation) -> Result<Box<dyn Command>> {
    arguments.required(0, "a study")?;
    let Some(to) = arguments.option("to").cloned() else {
        let help = "write `--to report.html`, `--to report.md` or `--to report.ipynb`".to_string();
        return Err(arguments.source.syntax_error(arguments.line.clone(), "the file is missing", Some(help)));
    };
    let ending = Path::new(&to.text).extension().map(|ending| ending.to_string_lossy().to_lowercase());
    let format = match ending.as_deref() {
        Some("html" | "htm") => Format::Html,
        Some("md" | "markdown") => Format::Markdown,
        Some("ipynb") => Format::Notebook,
        _ => {
            let message = format!("the ending of `{}` says no kind of document", to.text);
            let help = "use .html, .md or .ipynb".to_string();
            return Err(arguments.source.error(ErrorName::InvalidValue, to.span, message, Some(help)));
        }
    };
    let names = arguments.positional.clone();
    Ok(Box::new(WriteReport { arguments, names, to, format }))
}

impl Command for WriteReport {
    fn run(self: Box<Self>, context: &Context, output: &dyn Output, interrupt: &Interrupt) -> Result<()> {
        let source = &self.arguments.source;
        let path = files::expand(context, &self.to.text);
        self.check_overwrite(&path)?;
        if let Some(word) = self.arguments.option("bundle") {
            bundle::check(context, source, word, self.arguments.has("force"))?;
        }
        let names: Vec<&str> = self.names.iter().map(|name| name.text.as_str()).collect();
        let about = names.join(", ");
        let title =
            self.arguments.option("title").map_or_else(|| format!("Report on {about}"), |title| title.text.clone());
        let mut document = vec![Part::Heading(1, title.clone())];
        if let Some(decision) = self.arguments.option("decision") {
            document.push(Part::Text(format!("Decision: {}", decision.text)));
        }
        for name in &self.names {
            document.extend(parts(context, source, name, interrupt)?);
        }
        let not_written = |error: std::io::Error| files::not_written(source, &self.to, &path, &error);
        let (text, pictures) = match self.format {
            Format::Html => (html::page(&title, &document), vec![]),
            Format::Markdown => markdown::text(&path, &document).map_err(not_written)?,
            Format::Notebook => (notebook::text(&document), vec![]),
        };
        files::write_whole(&path, text.as_bytes()).map_err(not_written)?;
        let bundled = match self.arguments.option("bundle") {
            Some(word) => Some(bundle::write(context, source, word, &self.names, &path, &pictures)?),
            None => None,
        };
        let charts = document.iter().filter(|part| part.has_chart()).count();
        let fields = json!({ "path": path, "names": names, "charts": charts, "bytes": text.len() });
        let line = format!(
            "Wrote {} ({}) about {about}, with {charts} chart{}.",
            self.to.text,
            table::bytes(text.len() as u64),
            if charts == 1 { "" } else { "s" }
        );
        let mut report = Report::new("report", &fields).line(&line);
        if let (Some(bundled), Some(word)) = (bundled, self.arguments.option("bundle")) {
            report = bundled.say(report.field("bundle", &bundled), &word.text);
        }
        report.show(&context.charts, output);
        Ok(())
    }
}

impl WriteReport {
    /// An error if the file exists and is not a report, unless `--force` is given.
    fn check_overwrite(&self, path: &Path) -> Result<()> {
        let is_other = path.exists() && !std::fs::read_to_string(path).is_ok_and(|text| text.contains(MARK));
        if !is_other || self.arguments.has("force") {
            return Ok(());
        }
        let message = format!("`{}` exists already and is no report", self.to.text);
        let help = "choose another name; --force overwrites the file".to_string();
        Err(self.arguments.source.error(ErrorName::FileError, self.to.span.clone(), message, Some(help)))
    }
}
