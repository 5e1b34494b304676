//! `%save FILE 1-5 7`: writes inputs of the session to a file of Rust.

use crate::error::{ErrorName, Result};
use crate::files;
use crate::host::{Interrupt, Output, Stream, session};
use crate::inputs::{InputSelection, SESSION};
use crate::magic::{Catalogue, Command, Context, Export, Invocation, Magic, Subject};
use crate::syntax::{Arguments, OptionSpec};
use proc_macro2::TokenStream;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};

pub const MAGIC: Magic = Magic {
    name: "save",
    line: true,
    body: None,
    usage: "%save [-f | --force] [-a | --append] FILE [1-5 7 …]",
    example: "%save --force first.rs 1",
    summary: "Write inputs of the session to a file",
    help: "Inputs are named by their execution count: `7`, `1-5` with both ends, `3-` for all from number 3. Without \
        any, all are written. A FILE without an ending gets `.rs`. Lines that are not Rust (magics, `!` commands, \
        `:dep`) become comments.",
    options: &[
        OptionSpec { name: "force", value: None, help: "overwrite an existing file" },
        OptionSpec { name: "f", value: None, help: "the same as --force" },
        OptionSpec { name: "append", value: None, help: "append to an existing file" },
        OptionSpec { name: "a", value: None, help: "the same as --append" },
        SESSION,
    ],
    subject: Subject::File,
    export: Export::Comment,
    parse,
};

struct Save {
    arguments: Arguments,
    selection: InputSelection,
}

fn parse(Invocation { arguments, .. }: Invocation) -> Result<Box<dyn Command>> {
    arguments.required(0, "the file")?;
    let selection = InputSelection::new(&arguments, 1)?;
    Ok(Box::new(Save { arguments, selection }))
}

impl Command for Save {
    fn run(self: Box<Self>, context: &Context, output: &dyn Output, _: &Interrupt) -> Result<()> {
        let (arguments, source) = (&self.arguments, &self.arguments.source);
        let word = arguments.required(0, "the file")?;
        let inputs = self.selection.inputs(session::required(output)?)?;
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
        let mut options = OpenOptions::new();
        options
            .write(true)
            .append(append)
            .create(append || force)
            .create_new(!append && !force)
            .truncate(!append && force);
        let written = options.open(&path).and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => {
                let message = format!("`{}` exists already", path.display());
                let help = "--force overwrites it, and --append appends to it".to_string();
                source.error(ErrorName::FileError, word.span.clone(), message, Some(help))
            }
            _ => files::not_written(source, word, &path, &error),
        })?;
        let count = if inputs.len() == 1 { "1 input".into() } else { format!("{} inputs", inputs.len()) };
        output.print(Stream::Stdout, &format!("{count} written to {}\n", path.display()));
        Ok(())
    }
}

/// A cell as Rust, in which all lines that are not Rust are comments.
fn as_rust(catalogue: Catalogue, cell: &str) -> String {
    // A line inside of a string, a comment or brackets is Rust, even if it looks like a magic.
    let (text, rust) = commented(catalogue, cell, is_complete);
    // If the rest of the cell is not valid Rust either, this cannot be decided, and all lines that look like magics
    // become comments.
    if is_complete(&rust) { text } else { commented(catalogue, cell, |_| true).0 }
}

/// Returns the cell with special lines as comments, and its Rust alone. `is_complete` says of the Rust above a line
/// that no string, comment or bracket is open at its end; only then can the line be special.
fn commented(catalogue: Catalogue, cell: &str, is_complete: impl Fn(&str) -> bool) -> (String, String) {
    let is_cell_magic = cell.trim_start().starts_with("%%");
    let (mut text, mut rust) = (String::new(), String::new());
    for line in cell.trim_end().lines() {
        if is_cell_magic || (is_special(catalogue, line) && is_complete(&rust)) {
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

/// Whether code is complete: no string, comment or bracket is open at its end.
fn is_complete(code: &str) -> bool {
    code.parse::<TokenStream>().is_ok()
}

/// Whether a line looks like a magic, a command of the shell or of evcxr, or a question about a magic.
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
    use crate::testing::{FakeHost, magics, rendered, run_in};
    use std::fs;

    #[test]
    fn lines_that_are_not_rust_become_comments() {
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
    fn inputs_are_written_and_only_force_overwrites_a_file() {
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
        assert!(error.name.as_str() == "FileError" && rendered(&error).contains("--force overwrites it"), "{error}");
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
    fn errors_point_at_mistakes() {
        let (folder, magics) = (tempfile::tempdir().unwrap(), magics());
        let recorder = FakeHost::default().with_inputs(&[(0, 1, "1")]);
        let at = folder.path().display();
        let cases = [
            ("%save".to_string(), "SyntaxError", "the file is missing"),
            (format!("%save {at}/x 2"), "UnknownInput", "no input 2"),
            (format!("%save {at}/x one"), "InvalidValue", "is not a range"),
            (format!("%save {at}/new/x 1"), "FileError", "!mkdir -p"),
        ];
        for (text, name, part) in cases {
            let error = run_in(&magics, &text, &recorder).expect_err(&text);
            assert!(error.name.as_str() == name && rendered(&error).contains(part), "{text}: {}", rendered(&error));
        }
        assert_eq!(folder.path().read_dir().unwrap().count(), 0);
    }
}
