//! `%save FILE 1-5 7`: inputs of the session become a file of Rust.

use crate::error::{ErrorName, Result};
use crate::files;
use crate::host::{Interrupt, Output, Stream, session};
use crate::inputs::{SESSION, Wanted};
use crate::magic::{Catalogue, Command, Context, Export, Invocation, Magic, Subject};
use crate::syntax::{Arguments, OptionSpec};
use proc_macro2::TokenStream;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};

/// See the module.
pub const MAGIC: Magic = Magic {
    name: "save",
    line: true,
    body: None,
    usage: "%save [-f | --force] [-a | --append] FILE [1-5 7 …]",
    summary: "Write inputs of this session to a file",
    help: "Inputs are named by their execution count: `7`, `1-5` with both ends, `3-` for all from there on; without any, \
        all. A FILE without an ending gets `.rs`. Lines that are no Rust (magics, `!` commands, `:dep`) become comments.",
    options: &[
        OptionSpec { name: "force", value: None, help: "overwrites a file that is there" },
        OptionSpec { name: "f", value: None, help: "the same" },
        OptionSpec { name: "append", value: None, help: "adds to a file that is there" },
        OptionSpec { name: "a", value: None, help: "the same" },
        SESSION,
    ],
    subject: Subject::File,
    export: Export::Comment,
    parse,
};

struct Save {
    arguments: Arguments,
    wanted: Wanted,
}

fn parse(Invocation { arguments, .. }: Invocation) -> Result<Box<dyn Command>> {
    arguments.required(0, "the file")?;
    let wanted = Wanted::new(&arguments, 1)?;
    Ok(Box::new(Save { arguments, wanted }))
}

impl Command for Save {
    fn run(self: Box<Self>, context: &Context, output: &dyn Output, _: &Interrupt) -> Result<()> {
        let (arguments, source) = (&self.arguments, &self.arguments.source);
        let word = arguments.required(0, "the file")?;
        let inputs = self.wanted.of(session::required(output)?)?;
        if inputs.is_empty() {
            return Err(source.error(
                ErrorName::UnknownInput,
                arguments.line.clone(),
                "no cell has been run yet",
                None,
            ));
        }
        let code: Vec<String> = inputs.iter().map(|input| as_rust(context.catalogue, &input.code)).collect();
        let mut path = files::expand(context, &word.text);
        if path.extension().is_none() {
            path.set_extension("rs");
        }
        let append = arguments.has("append") || arguments.has("a");
        let force = arguments.has("force") || arguments.has("f");
        let mut text = code.join("\n");
        if append && path.metadata().is_ok_and(|file| file.len() > 0) {
            text.insert(0, '\n');
        }
        let mut how = OpenOptions::new();
        how.write(true).append(append).create(append || force).create_new(!append && !force).truncate(!append && force);
        let written = how.open(&path).and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => {
                let message = format!("`{}` is there already", path.display());
                let help = "--force overwrites it, --append adds to it".to_string();
                source.error(ErrorName::FileError, word.span.clone(), message, Some(help))
            }
            _ => files::not_written(source, word, &path, &error),
        })?;
        let count = if inputs.len() == 1 { "1 input".into() } else { format!("{} inputs", inputs.len()) };
        output.print(Stream::Stdout, &format!("{count} written to {}\n", path.display()));
        Ok(())
    }
}

/// A cell as a file of Rust can hold it: with what is no Rust as comments.
fn as_rust(catalogue: Catalogue, cell: &str) -> String {
    // A line that looks like a magic inside a string, a comment or brackets is Rust.
    let (text, rust) = commented(catalogue, cell, lexes);
    // Where the rest is none either, nothing can be said of what stands inside of what.
    if lexes(&rust) { text } else { commented(catalogue, cell, |_| true).0 }
}

/// A cell with special lines as comments, where `at_top` says of the Rust above that nothing in it is open; and the Rust alone.
fn commented(catalogue: Catalogue, cell: &str, at_top: impl Fn(&str) -> bool) -> (String, String) {
    let whole = cell.trim_start().starts_with("%%");
    let (mut text, mut rust) = (String::new(), String::new());
    for line in cell.trim_end().lines() {
        if whole || (is_special(catalogue, line) && at_top(&rust)) {
            text += format!("// {line}").trim_end();
        } else {
            text += line;
            rust += line;
            rust.push('\n');
        }
        text.push('\n');
    }
    (text, rust)
}

/// Whether some code is whole: no string, comment or bracket is open at its end.
fn lexes(code: &str) -> bool {
    code.parse::<TokenStream>().is_ok()
}

/// Whether a line looks like one that is no Rust: a magic, a command of the shell or of evcxr, a question about a magic.
fn is_special(catalogue: Catalogue, line: &str) -> bool {
    let mut chars = line.chars();
    let (first, second) = (chars.next(), chars.next());
    match (first, second) {
        (Some('%' | ':'), Some(second)) => second.is_alphabetic(),
        (Some('!'), Some(second)) => !['(', '[', ' '].contains(&second),
        (Some('?'), Some(_)) => true,
        _ => line.trim_end().strip_suffix('?').is_some_and(|name| catalogue.find(name).is_some()),
    }
}

#[cfg(test)]
mod tests {
    use super::as_rust;
    use crate::commands::CATALOGUE;
    use crate::testing::{FakeHost, magics, run_in, said};
    use std::fs;

    #[test]
    fn what_is_no_rust_becomes_a_comment() {
        let cases = [
            (
                "%env A=1\nlet x = 1;\n!ls\n:dep rand = \"1\"\ncd?\n",
                "// %env A=1\nlet x = 1;\n// !ls\n// :dep rand = \"1\"\n// cd?\n",
            ),
            ("%%bash\nls\n\necho", "// %%bash\n// ls\n//\n// echo\n"),
            ("let s = \"\n%env A\n\";\n%env B", "let s = \"\n%env A\n\";\n// %env B\n"),
            ("let y = (x\n%three);", "let y = (x\n%three);\n"),
            ("/*\n!ls\n*/\n!ls", "/*\n!ls\n*/\n// !ls\n"),
            ("!(true)\n![1]\nf()?", "!(true)\n![1]\nf()?\n"),
            ("let s = \"open;\n%env B", "let s = \"open;\n// %env B\n"),
        ];
        for (cell, expected) in cases {
            assert_eq!(as_rust(CATALOGUE, cell), expected, "{cell}");
        }
    }

    #[test]
    fn inputs_are_written_and_a_file_is_not_overwritten_unasked() {
        let (folder, magics) = (tempfile::tempdir().unwrap(), magics());
        let inputs = [(0, 1, "let x = 1;"), (0, 2, "%env A=1\nx + 1"), (0, 3, "let y = 2;\n"), (-1, 1, "let old = 0;")];
        let recorder = FakeHost::default().with_inputs(&inputs);
        let file = folder.path().join("out.rs");
        let save = |options: &str, ranges: &str| {
            let text = format!("%save {options} {} {ranges}", folder.path().join("out").display());
            run_in(&magics, &text, &recorder).map(|()| fs::read_to_string(&file).unwrap())
        };
        assert_eq!(save("", "3 1-2").unwrap(), "let y = 2;\n\nlet x = 1;\n\n// %env A=1\nx + 1\n");
        let error = save("", "1").unwrap_err();
        assert!(error.name.as_str() == "FileError" && said(&error).contains("--force overwrites it"), "{error}");
        assert_eq!(save("-f", "1").unwrap(), "let x = 1;\n");
        assert_eq!(save("--append", "3").unwrap(), "let x = 1;\n\nlet y = 2;\n");
        assert_eq!(save("--force --session -1", "").unwrap(), "let old = 0;\n");
        let place = file.display();
        let expected = format!(
            "3 inputs written to {place}\n{}1 input written to {place}\n",
            format!("1 input written to {place}\n").repeat(2)
        );
        assert_eq!(recorder.stdout(), expected);
    }

    #[test]
    fn mistakes_are_pointed_at() {
        let (folder, magics) = (tempfile::tempdir().unwrap(), magics());
        let recorder = FakeHost::default().with_inputs(&[(0, 1, "1")]);
        let at = folder.path().display();
        let cases = [
            ("%save".to_string(), "SyntaxError", "the file is missing"),
            (format!("%save {at}/x 2"), "UnknownInput", "no input 2"),
            (format!("%save {at}/x one"), "InvalidValue", "names no inputs"),
            (format!("%save {at}/new/x 1"), "FileError", "!mkdir -p"),
        ];
        for (text, name, part) in cases {
            let error = run_in(&magics, &text, &recorder).expect_err(&text);
            assert!(error.name.as_str() == name && said(&error).contains(part), "{text}: {}", said(&error));
        }
        assert_eq!(folder.path().read_dir().unwrap().count(), 0);
    }
}
