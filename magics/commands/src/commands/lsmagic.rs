//! `%lsmagic`: lists all magics.

use crate::error::Result;
use crate::host::{Interrupt, Output, plain};
use crate::magic::{Command, Context, Export, Invocation, Magic, Subject};
use crate::report::table::Rows;
use serde_json::json;

pub const MAGIC: Magic = Magic {
    name: "lsmagic",
    line: true,
    body: None,
    usage: "%lsmagic",
    example: "%lsmagic",
    summary: "List all magics, one on each line",
    help: "`%NAME?` shows the help of a magic.",
    options: &[],
    subject: Subject::None,
    export: Export::Comment,
    parse,
};

struct ListMagics;

fn parse(Invocation { arguments, .. }: Invocation) -> Result<Box<dyn Command>> {
    arguments.at_most(0)?;
    Ok(Box::new(ListMagics))
}

impl Command for ListMagics {
    fn run(self: Box<Self>, context: &Context, output: &dyn Output, _: &Interrupt) -> Result<()> {
        let mut rows = Rows::new(&["magic", "what it does"]).with_sentences();
        for magic in context.catalogue.0 {
            let forms = match (magic.line, magic.body.is_some()) {
                (true, true) => format!("%{0}, %%{0}", magic.name),
                (false, true) => format!("%%{}", magic.name),
                _ => format!("%{}", magic.name),
            };
            rows.row(vec![forms, magic.summary.into()]);
        }
        let mut bundle = plain(format!("{}\n%NAME? shows the help of a magic.", rows.text()));
        bundle.insert(
            "text/html".into(),
            json!(format!("{}<p><code>%NAME?</code> shows the help of a magic.</p>", rows.html())),
        );
        output.display(bundle, None);
        Ok(())
    }
}
