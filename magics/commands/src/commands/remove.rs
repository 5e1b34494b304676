//! `%remove NAME…`: removes variables and items of Rust cells.

use crate::error::{ErrorName, Result, suggest};
use crate::host::{Interrupt, Output, Stream, session};
use crate::magic::{Command, Context, Export, Invocation, Magic, Subject};
use crate::syntax::Arguments;

pub const MAGIC: Magic = Magic {
    name: "remove",
    line: true,
    body: None,
    usage: "%remove NAME…",
    example: "let unneeded = [0; 1000];\n%remove unneeded",
    summary: "Remove variables and items of Rust cells",
    help: "A variable is dropped, which frees its memory. An unknown name is an error, and then nothing is removed.",
    options: &[],
    subject: Subject::Name,
    export: Export::Comment,
    parse,
};

struct Remove {
    arguments: Arguments,
}

fn parse(Invocation { arguments, .. }: Invocation) -> Result<Box<dyn Command>> {
    arguments.required(0, "the name")?;
    Ok(Box::new(Remove { arguments }))
}

impl Command for Remove {
    fn run(self: Box<Self>, _: &Context, output: &dyn Output, _: &Interrupt) -> Result<()> {
        let session = session::required(output)?;
        let variables = session.variables()?.into_iter().map(|variable| variable.name);
        let known: Vec<String> = variables.chain(session.items()?.into_iter().map(|item| item.name)).collect();
        // Commas are accepted as well, since Python's `del x, y` has them.
        let name = |text: &str| text.trim_end_matches(',').to_string();
        for word in &self.arguments.positional {
            let name = name(&word.text);
            if !known.contains(&name) {
                let message = format!("there is no variable or item `{name}`");
                let help = suggest(&name, known.iter().map(String::as_str).collect::<Vec<_>>());
                return Err(self.arguments.source.error(ErrorName::UnknownName, word.span.clone(), message, help));
            }
        }
        let names: Vec<String> = self.arguments.positional.iter().map(|word| name(&word.text)).collect();
        let removed = session.forget(&names)?;
        output.print(Stream::Stdout, &format!("Removed: {}\n", removed.join(", ")));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{FakeHost, run};

    #[test]
    fn an_unknown_name_removes_nothing() {
        let fake = FakeHost::default().with_variables(&[("x", "i32")]).with_items(&[("area", "fn area() {}")]);
        run("%remove x, area", &fake).unwrap();
        assert_eq!((fake.forgotten.lock().join(" "), fake.stdout().as_str()), ("x area".into(), "Removed: x, area\n"));
        let error = run("%remove x aera", &fake).unwrap_err();
        assert!(
            error.name.as_str() == "UnknownName" && error.traceback().join("\n").contains("did you mean `area`"),
            "{error:?}"
        );
        assert_eq!(fake.forgotten.lock().len(), 2);
        assert!(run("%remove", &fake).unwrap_err().message.contains("missing"));
    }
}
