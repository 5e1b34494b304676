//! `%list [NAME…]`: shows the source of functions, types and other items of Rust cells.

use crate::error::{ErrorName, Result, suggest};
use crate::host::session::Item;
use crate::host::{Interrupt, Output, Stream, session};
use crate::magic::{Command, Context, Export, Invocation, Magic, Subject};
use crate::rust::code_bundle;
use crate::syntax::Arguments;

pub const MAGIC: Magic = Magic {
    name: "list",
    line: true,
    body: None,
    usage: "%list [NAME…]",
    example: "fn double(x: i32) -> i32 {\n    2 * x\n}\n%list double",
    summary: "Show the source of functions, types and other items of Rust cells",
    help: "Without a name, it shows all items. `NAME??` shows one in the pager, and `%remove NAME` removes it.",
    options: &[],
    subject: Subject::Name,
    export: Export::Comment,
    parse,
};

struct List {
    arguments: Arguments,
}

fn parse(Invocation { arguments, .. }: Invocation) -> Result<Box<dyn Command>> {
    Ok(Box::new(List { arguments }))
}

impl Command for List {
    fn run(self: Box<Self>, _: &Context, output: &dyn Output, _: &Interrupt) -> Result<()> {
        let items = session::required(output)?.items()?;
        let mut listed: Vec<&Item> = vec![];
        for word in &self.arguments.positional {
            let Some(item) = items.iter().find(|item| item.name == word.text) else {
                let message = format!("there is no item `{}`", word.text);
                let help = suggest(&word.text, items.iter().map(|item| item.name.as_str()).collect::<Vec<_>>());
                return Err(self.arguments.source.error(ErrorName::UnknownName, word.span.clone(), message, help));
            };
            listed.push(item);
        }
        if self.arguments.positional.is_empty() {
            listed = items.iter().collect();
        }
        if listed.is_empty() {
            output.print(Stream::Stdout, "There are no items yet: functions, types, imports, …\n");
            return Ok(());
        }
        let code: Vec<&str> = listed.iter().map(|item| item.code.trim()).collect();
        output.display(code_bundle(&code.join("\n\n")), None);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{FakeHost, Shown, run};

    fn fake() -> FakeHost {
        FakeHost::default().with_items(&[("area", "fn area() -> f64 { 1.0 }\n"), ("Point", "struct Point;")])
    }

    #[test]
    fn items_are_shown_with_their_source() {
        for (text, code) in [("%list", "fn area() -> f64 { 1.0 }\n\nstruct Point;"), ("%list Point", "struct Point;")] {
            let fake = fake();
            run(text, &fake).unwrap();
            assert_eq!(fake.shown(), [Shown::Display(code_bundle(code))], "{text}");
        }
        let error = run("%list aera", &fake()).unwrap_err();
        assert!(
            error.name.as_str() == "UnknownName" && error.traceback().join("\n").contains("did you mean `area`"),
            "{error:?}"
        );
        let fake = FakeHost::default();
        run("%list", &fake).unwrap();
        assert!(fake.stdout().contains("no items yet"));
    }
}
