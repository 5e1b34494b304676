//! `%lsmagic`, and help for one magic: `%name?`, `?name`, `name?`.

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

/// The help of a name.
pub fn help_for(source: &Source, span: Span, name: &str) -> Result<Box<dyn Command>> {
    match find(name) {
        Some(magic) => Ok(Box::new(Help(magic))),
        None => Err(unknown(source, span, name)),
    }
}
