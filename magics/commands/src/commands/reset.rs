//! `%reset --force`: deletes everything that Rust cells have defined.

use crate::error::{ErrorName, Result};
use crate::host::{Interrupt, Output, Stream, session};
use crate::magic::{Command, Context, Export, Invocation, Magic, Subject};
use crate::syntax::{Arguments, OptionSpec};

/// The number of names that a message lists.
const NAMES_SHOWN: usize = 5;

pub const MAGIC: Magic = Magic {
    name: "reset",
    line: true,
    body: None,
    usage: "%reset --force",
    example: "%reset --force",
    summary: "Delete all variables, items and dependencies of Rust cells",
    help: "Without `--force`, it only says what would be lost. What was compiled stays, so a dependency that is added \
        again is not compiled again. Studies, history and files stay.",
    options: &[OptionSpec { name: "force", value: None, help: "delete them; also -f" }],
    subject: Subject::None,
    export: Export::Comment,
    parse,
};

struct Reset {
    arguments: Arguments,
}

fn parse(Invocation { arguments, .. }: Invocation) -> Result<Box<dyn Command>> {
    arguments.at_most(0)?;
    Ok(Box::new(Reset { arguments }))
}

impl Command for Reset {
    fn run(self: Box<Self>, _: &Context, output: &dyn Output, _: &Interrupt) -> Result<()> {
        let session = session::required(output)?;
        let variables: Vec<String> = session.variables()?.into_iter().map(|variable| variable.name).collect();
        let items: Vec<String> = session.items()?.into_iter().map(|item| item.name).collect();
        let dependencies: Vec<String> = session.dependencies()?.into_iter().map(|(name, _)| name).collect();
        let all = [
            counted("variable", "variables", &variables),
            counted("item", "items", &items),
            counted("dependency", "dependencies", &dependencies),
        ];
        let all: Vec<String> = all.into_iter().flatten().collect();
        if !self.arguments.has("force") && !all.is_empty() {
            let message = format!("this would delete {}", all.join("; "));
            let help = Some("write `%reset --force` to delete them".to_string());
            return Err(self.arguments.source.error(ErrorName::NotForced, self.arguments.line.clone(), message, help));
        }
        session.reset()?;
        let message = if all.is_empty() {
            "There was nothing to delete.".into()
        } else {
            format!("Deleted: {}.", all.join("; "))
        };
        output.print(Stream::Stdout, &format!("{message}\n"));
        Ok(())
    }
}

/// A number with the first names: `7 variables (a, b, c, d, e, …)`. None if there are no names.
fn counted(one: &str, many: &str, names: &[String]) -> Option<String> {
    let word = if names.len() == 1 { one } else { many };
    let mut shown: Vec<&str> = names.iter().take(NAMES_SHOWN).map(String::as_str).collect();
    if names.len() > NAMES_SHOWN {
        shown.push("…");
    }
    (!names.is_empty()).then(|| format!("{} {word} ({})", names.len(), shown.join(", ")))
}

#[cfg(test)]
mod tests {
    use crate::testing::{FakeHost, run};

    fn fake() -> FakeHost {
        let variables = ["a", "b", "c", "d", "e", "f"].map(|name| (name, "i32"));
        FakeHost::default().with_variables(&variables).with_items(&[("area", "fn area() {}")])
    }

    #[test]
    fn without_force_reset_only_says_what_would_be_lost() {
        let all = "6 variables (a, b, c, d, e, …); 1 item (area)";
        let fake = fake();
        let error = run("%reset", &fake).unwrap_err();
        assert_eq!((error.name.as_str(), error.message), ("NotForced", format!("this would delete {all}")));
        assert!(fake.forgotten.lock().is_empty());
        for text in ["%reset --force", "%reset -f"] {
            run(text, &fake).unwrap();
        }
        assert_eq!(*fake.forgotten.lock(), ["all", "all"]);
        assert!(fake.stdout().starts_with(&format!("Deleted: {all}.\n")), "{}", fake.stdout());
    }

    #[test]
    fn an_empty_session_needs_no_force() {
        let fake = FakeHost::default();
        run("%reset", &fake).unwrap();
        assert_eq!(fake.stdout(), "There was nothing to delete.\n");
    }
}
