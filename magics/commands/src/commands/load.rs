//! `%load FILE`: puts the text of a file into this cell.

use crate::error::{ErrorName, Result};
use crate::files;
use crate::host::{Interrupt, Output, session};
use crate::magic::{Command, Context, Export, Invocation, Magic, Subject};
use crate::syntax::{Arguments, Word};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::ops::RangeInclusive;
use std::path::Path;

/// The largest text that is loaded, in bytes.
const LIMIT: usize = 1 << 20;

pub const MAGIC: Magic = Magic {
    name: "load",
    line: true,
    body: None,
    usage: "%load FILE[:10-20]",
    example: "%load notes.txt",
    summary: "Replace the text of this cell by that of a file",
    help: "`:10-20` after the name takes only these lines, `:10` one line, and `:10-` all lines from there on. The \
        text is not run: run the cell again to do so.",
    options: &[],
    subject: Subject::File,
    export: Export::Comment,
    parse,
};

struct Load {
    arguments: Arguments,
}

fn parse(Invocation { arguments, .. }: Invocation) -> Result<Box<dyn Command>> {
    let word = files::one_path(&arguments, "the file")?;
    if ["http://", "https://", "ftp://"].iter().any(|scheme| word.text.starts_with(scheme)) {
        let message = "%load reads files only; it does not download code into a cell";
        let url = shell_words::quote(&word.text);
        let help = format!("download it with `!curl -fsSLO {url}`, then load it with `%load FILE`");
        return Err(arguments.source.error(ErrorName::NotAvailable, word.span.clone(), message, Some(help)));
    }
    Ok(Box::new(Load { arguments }))
}

impl Command for Load {
    fn run(self: Box<Self>, context: &Context, output: &dyn Output, _: &Interrupt) -> Result<()> {
        let word = files::one_path(&self.arguments, "the file")?;
        let session = session::required(output)?;
        // The name of a file may end like a range of lines. An existing file takes precedence.
        let whole = files::expand(context, &word.text);
        let (path, lines) = match lines_of(&word.text).filter(|_| !whole.exists()) {
            Some((written, lines)) => (files::expand(context, written), lines),
            None => (whole, 1..=usize::MAX),
        };
        let text = self.read(word, &path, lines)?.join("\n");
        // The line `%load` is kept as a comment, except above a cell magic, which must begin the cell.
        let head = if text.trim_start().starts_with("%%") {
            String::new()
        } else {
            format!("// {}\n", &self.arguments.source.text()[self.arguments.line.clone()])
        };
        session.next_input(&(head + &text), true);
        Ok(())
    }
}

impl Load {
    /// Reads a range of lines of a file, counted from 1.
    fn read(&self, word: &Word, path: &Path, lines: RangeInclusive<usize>) -> Result<Vec<String>> {
        let source = &self.arguments.source;
        let unreadable = |error: std::io::Error| files::problem(source, word, path, "read", &error);
        let file = File::open(path).map_err(unreadable)?;
        let (mut read, mut size, mut count) = (vec![], 0, 0);
        for line in BufReader::new(file).lines().take(*lines.end()) {
            let line = line.map_err(unreadable)?;
            count += 1;
            if count < *lines.start() {
                continue;
            }
            size += line.len() + 1;
            if size > LIMIT {
                let message = format!("`{}` is too long for a cell", word.text);
                let help = format!("load some of its lines: `%load {}:1-200`", path.display());
                return Err(source.error(ErrorName::InvalidValue, word.span.clone(), message, Some(help)));
            }
            read.push(line);
        }
        if count < *lines.start() && *lines.start() > 1 {
            let message = format!("`{}` has only {count} lines", path.display());
            return Err(self.arguments.invalid(word, message));
        }
        Ok(read)
    }
}

/// Splits `FILE:10-20` into the file and the lines, which are counted from 1. None if there is no valid range.
fn lines_of(written: &str) -> Option<(&str, RangeInclusive<usize>)> {
    let (file, lines) = written.rsplit_once(':')?;
    let (first, last) = lines.split_once('-').unwrap_or((lines, lines));
    let first: usize = first.parse().ok()?;
    let last = if last.is_empty() { usize::MAX } else { last.parse().ok()? };
    (1..=last).contains(&first).then_some((file, first..=last))
}

#[cfg(test)]
mod tests {
    use crate::testing::{FakeHost, magics, rendered, run, run_in};
    use std::fs;

    #[test]
    fn a_file_or_some_of_its_lines_replace_the_cell() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a b.rs"), "fn a() {\n    1\n}\n\nlet x = a();\n").unwrap();
        fs::write(folder.path().join("cell.txt"), "%%bash\nls\n").unwrap();
        fs::write(folder.path().join("odd:2"), "whole\n").unwrap();
        let cases = [
            ("%load '~/a b.rs'", "// %load '~/a b.rs'\nfn a() {\n    1\n}\n\nlet x = a();"),
            ("%load \"~/a b.rs:2-3\"", "// %load \"~/a b.rs:2-3\"\n    1\n}"),
            ("%load '~/a b.rs':5", "// %load '~/a b.rs':5\nlet x = a();"),
            ("%load '~/a b.rs:3-'", "// %load '~/a b.rs:3-'\n}\n\nlet x = a();"),
            ("%load '~/a b.rs:4-99'", "// %load '~/a b.rs:4-99'\n\nlet x = a();"),
            ("%load ~/cell.txt", "%%bash\nls"),
            ("%load ~/odd:2", "// %load ~/odd:2\nwhole"),
        ];
        for (text, expected) in cases {
            let recorder = FakeHost::default();
            recorder.set("HOME", folder.path().to_str());
            run(text, &recorder).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(recorder.next(), Some((expected.into(), true)), "{text}");
        }
    }

    #[test]
    fn errors_point_at_mistakes() {
        let (folder, magics) = (tempfile::tempdir().unwrap(), magics());
        fs::write(folder.path().join("model.rs"), "one\ntwo\n").unwrap();
        fs::write(folder.path().join("bytes"), [0xff, 0xfe]).unwrap();
        fs::write(folder.path().join("large"), "line\n".repeat(300_000)).unwrap();
        let recorder = FakeHost::default();
        let at = folder.path().display();
        let cases = [
            (format!("%load {at}/modell.rs"), "FileError", "did you mean `model.rs`"),
            (format!("%load {at}/model.rs:3-4"), "InvalidValue", "has only 2 lines"),
            (format!("%load {at}/model.rs:2-1"), "FileError", "there is no"),
            (format!("%load {at}"), "FileError", "is a folder"),
            (format!("%load {at}/bytes"), "FileError", "UTF-8"),
            (format!("%load {at}/large"), "InvalidValue", ":1-200"),
            ("%load https://example.org/x.rs".into(), "NotAvailable", "!curl"),
            ("%load a b".into(), "SyntaxError", "in quotes"),
            ("%load".into(), "SyntaxError", "the file is missing"),
        ];
        for (text, name, part) in cases {
            let error = run_in(&magics, &text, &recorder).expect_err(&text);
            assert!(error.name.as_str() == name && rendered(&error).contains(part), "{text}: {}", rendered(&error));
        }
        assert_eq!(recorder.next(), None);
        run_in(&magics, &format!("%load {at}/large:1-2"), &recorder).unwrap();
        assert!(recorder.next().is_some());
    }
}
