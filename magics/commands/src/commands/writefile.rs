//! `%%writefile FILE`: writes the body to a file.

use crate::error::Result;
use crate::files;
use crate::host::{Interrupt, Output, Stream};
use crate::magic::{Body, Command, Context, Export, Invocation, Magic, Subject};
use crate::syntax::{Arguments, OptionSpec};
use std::fs::OpenOptions;
use std::io::Write;

pub const MAGIC: Magic = Magic {
    name: "writefile",
    line: false,
    body: Some(Body::Text),
    usage: "%%writefile [-a | --append] FILE\n…text…",
    example: "%%writefile notes.txt\nThe learning rate matters most.",
    summary: "Write the body to a file",
    help: "An existing file is overwritten. `~` is the home folder. Write a name with spaces in quotes.",
    options: &[
        OptionSpec { name: "append", value: None, help: "append to the file" },
        OptionSpec { name: "a", value: None, help: "the same as --append" },
    ],
    subject: Subject::File,
    export: Export::Comment,
    parse,
};

struct WriteFile {
    arguments: Arguments,
    body: String,
}

fn parse(invocation: Invocation) -> Result<Box<dyn Command>> {
    files::one_path(&invocation.arguments, "the file")?;
    let body = invocation.body_text()?;
    Ok(Box::new(WriteFile { arguments: invocation.arguments, body }))
}

impl Command for WriteFile {
    fn run(self: Box<Self>, context: &Context, output: &dyn Output, _: &Interrupt) -> Result<()> {
        let source = &self.arguments.source;
        let word = files::one_path(&self.arguments, "the file")?;
        let path = files::expand(context, &word.text);
        let append = self.arguments.has("append") || self.arguments.has("a");
        let action = match (path.exists(), append) {
            (false, _) => "Writing",
            (true, true) => "Appending to",
            (true, false) => "Overwriting",
        };
        let mut options = OpenOptions::new();
        options.create(true).write(true).append(append).truncate(!append);
        let written = options.open(&path).and_then(|mut file| file.write_all(self.body.as_bytes()));
        written.map_err(|error| files::not_written(source, word, &path, &error))?;
        output.print(Stream::Stdout, &format!("{action} {}\n", word.text));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{FakeHost, magics, rendered, run_in};
    use std::fs;

    #[test]
    fn the_body_is_written_overwritten_and_appended() {
        let (folder, magics) = (tempfile::tempdir().unwrap(), magics());
        let recorder = FakeHost::default();
        recorder.set("HOME", folder.path().to_str());
        let write = |text: &str| {
            run_in(&magics, text, &recorder).unwrap_or_else(|error| panic!("{text}: {error}"));
            fs::read_to_string(folder.path().join("a b.txt")).unwrap()
        };
        assert_eq!(write("%%writefile '~/a b.txt'\n%env X=1\n\n  two"), "%env X=1\n\n  two\n");
        assert_eq!(write("%%writefile -a \"~/a b.txt\"\nthree\n"), "%env X=1\n\n  two\nthree\n");
        assert_eq!(write("%%writefile '~/a b.txt'\nnew\n"), "new\n");
        assert_eq!(write("%%writefile '~/a b.txt' --append\nä\n"), "new\nä\n");
        let said = "Writing ~/a b.txt\nAppending to ~/a b.txt\nOverwriting ~/a b.txt\nAppending to ~/a b.txt\n";
        assert_eq!(recorder.stdout(), said);
    }

    #[test]
    fn mistakes_are_errors_and_lose_nothing() {
        let (folder, magics, recorder) = (tempfile::tempdir().unwrap(), magics(), FakeHost::without_session());
        let at = folder.path().display();
        let kept = folder.path().join("kept");
        fs::write(&kept, "kept").unwrap();
        let cases = [
            (format!("%%writefile {at}/new/x\ntext"), "FileError", "!mkdir -p "),
            (format!("%%writefile {at}\ntext"), "FileError", "is a folder"),
            (format!("%%writefile {at}/kept\n"), "SyntaxError", "body is missing"),
            (format!("%%writefile {at}/kept/x\ntext"), "FileError", "cannot be written"),
            ("%%writefile\ntext".into(), "SyntaxError", "the file is missing"),
            ("%%writefile a b\ntext".into(), "SyntaxError", "in quotes"),
            ("%%writefile -x a\ntext".into(), "UnknownOption", "`-x`"),
        ];
        for (text, name, part) in cases {
            let error = run_in(&magics, &text, &recorder).expect_err(&text);
            assert!(error.name.as_str() == name && rendered(&error).contains(part), "{text}: {}", rendered(&error));
        }
        assert_eq!(fs::read_to_string(kept).unwrap(), "kept");
        assert_eq!(recorder.stdout(), "");
    }
}
