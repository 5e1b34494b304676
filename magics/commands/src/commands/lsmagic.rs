//! `%lsmagic`, and what a question mark asks for: `%name?`, `?name`, `name?`.

use super::doc::document;
use crate::context::Context;
use crate::error::Result;
use crate::interrupt::Interrupt;
use crate::output::{Bundle, Output, plain};
use crate::registry::{Command, Invocation, MAGICS, Magic, Subject, find, unknown};
use crate::syntax::{Source, Span};
use crate::table::Rows;
use serde_json::json;

/// See the module.
pub const MAGIC: Magic = Magic {
    name: "lsmagic",
    line: true,
    cell: false,
    usage: "%lsmagic",
    summary: "All magics, a line each",
    help: "`%name?` shows the help of one.",
    options: &[],
    completes: Subject::None,
    parse,
};

struct List;

fn parse(Invocation { arguments, .. }: Invocation) -> Result<Box<dyn Command>> {
    arguments.at_most(0)?;
    Ok(Box::new(List))
}

impl Command for List {
    fn run(self: Box<Self>, _: &Context, output: &dyn Output, _: &Interrupt) -> Result<()> {
        let mut rows = Rows::new(&["magic", "what it does"]);
        for magic in MAGICS {
            let forms = match (magic.line, magic.cell) {
                (true, true) => format!("%{0}, %%{0}", magic.name),
                (false, true) => format!("%%{}", magic.name),
                _ => format!("%{}", magic.name),
            };
            rows.row(vec![forms, magic.summary.into()]);
        }
        let mut bundle = plain(format!("{}\n%name? shows the help of one.", rows.text()));
        bundle.insert(
            "text/html".into(),
            json!(format!("{}<p><code>%name?</code> shows the help of one.</p>", rows.html())),
        );
        output.display(bundle, None);
        Ok(())
    }
}

struct Help(&'static Magic);

impl Command for Help {
    fn run(self: Box<Self>, _: &Context, output: &dyn Output, _: &Interrupt) -> Result<()> {
        output.page(help(self.0));
        Ok(())
    }
}

/// The help of a magic as a bundle.
pub fn help(magic: &Magic) -> Bundle {
    let mut bundle = plain(magic.plain());
    bundle.insert("text/markdown".into(), json!(magic.markdown()));
    bundle
}

/// The help that a line with a question mark asks for: of a magic, or of a name of Rust.
pub fn help_for(source: &Source, line: Span) -> Result<Box<dyn Command>> {
    let written = &source.text()[line.clone()];
    let asked = written.trim_matches('?').trim();
    let name = asked.trim_start_matches('%');
    match find(name) {
        Some(magic) => Ok(Box::new(Help(magic))),
        None if asked.starts_with('%') || asked.is_empty() => Err(unknown(source, line, name)),
        None => document(source, line, asked, written.starts_with("??") || written.ends_with("??")),
    }
}
