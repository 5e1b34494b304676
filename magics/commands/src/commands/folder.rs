//! `%cd` and `%pwd`: the folder of kernel, cells and shell.

use crate::error::{ErrorName, MagicError, Result};
use crate::files;
use crate::host::{Interrupt, Output, Stream, session};
use crate::magic::{Command, Context, Export, Invocation, Magic, Subject};
use crate::syntax::{Arguments, OptionSpec};
use std::io::{Error, ErrorKind};
use std::path::PathBuf;

/// See the module.
pub const CD: Magic = Magic {
    name: "cd",
    line: true,
    body: None,
    usage: "%cd [FOLDER | -]",
    summary: "Go to a folder: cells, shell and the paths of magics follow",
    help: "Without a folder to the home folder; `-` goes back to where the last `%cd` came from. Studies stay where they are: \
        beside the folder in which the kernel began.",
    options: &[
        OptionSpec { name: "quiet", value: None, help: "does not print the new folder" },
        OptionSpec { name: "q", value: None, help: "the same" },
    ],
    subject: Subject::Folder,
    export: Export::Comment,
    parse: parse_cd,
};

/// See the module.
pub const PWD: Magic = Magic {
    name: "pwd",
    line: true,
    body: None,
    usage: "%pwd",
    summary: "The folder of kernel, cells and shell",
    help: "`%cd FOLDER` goes to another one.",
    options: &[],
    subject: Subject::None,
    export: Export::Comment,
    parse: parse_pwd,
};

struct Go {
    arguments: Arguments,
}

fn parse_cd(Invocation { arguments, .. }: Invocation) -> Result<Box<dyn Command>> {
    if !arguments.positional.is_empty() {
        files::one_path(&arguments, "the folder")?;
    }
    Ok(Box::new(Go { arguments }))
}

impl Command for Go {
    fn run(self: Box<Self>, context: &Context, output: &dyn Output, _: &Interrupt) -> Result<()> {
        let target = self.target(context)?;
        let session = session::required(output)?;
        // A folder that was deleted can be left, but not gone back to.
        let left = std::env::current_dir().ok();
        session.change_directory(&target)?;
        if let Some(left) = left {
            *context.previous_folder.lock() = Some(left);
        }
        if !self.arguments.has("quiet") && !self.arguments.has("q") {
            output.print(Stream::Stdout, &format!("{}\n", target.display()));
        }
        Ok(())
    }
}

impl Go {
    fn target(&self, context: &Context) -> Result<PathBuf> {
        let source = &self.arguments.source;
        let Some(word) = self.arguments.positional.first() else {
            let help = "name a folder: `%cd FOLDER`";
            return files::home(context)
                .ok_or_else(|| MagicError::advising(ErrorName::FileError, "there is no home folder", help));
        };
        if word.text == "-" && !word.quoted {
            let previous = context.previous_folder.lock().clone();
            return previous.ok_or_else(|| {
                let message = "there is no folder to go back to: nothing has left one yet";
                source.error(ErrorName::FileError, word.span.clone(), message, None)
            });
        }
        let path = files::expand(context, &word.text);
        let found = path.canonicalize().and_then(|path| match path.is_dir() {
            true => Ok(path),
            false => Err(Error::from(ErrorKind::NotADirectory)),
        });
        found.map_err(|error| match error.kind() {
            ErrorKind::NotADirectory => {
                source.error(ErrorName::FileError, word.span.clone(), format!("`{}` is no folder", word.text), None)
            }
            _ => files::problem(source, word, &path, "gone to", &error),
        })
    }
}

struct Show;

fn parse_pwd(Invocation { arguments, .. }: Invocation) -> Result<Box<dyn Command>> {
    arguments.at_most(0)?;
    Ok(Box::new(Show))
}

impl Command for Show {
    fn run(self: Box<Self>, _: &Context, output: &dyn Output, _: &Interrupt) -> Result<()> {
        output.print(Stream::Stdout, &format!("{}\n", files::current()?.display()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{FakeHost, magics, run, run_in, said};
    use std::fs;

    #[test]
    fn folders_are_gone_to_and_back_from() {
        let (folder, magics) = (tempfile::tempdir().unwrap(), magics());
        let root = folder.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("home/my data")).unwrap();
        let recorder = FakeHost::default();
        recorder.set("HOME", root.join("home").to_str());
        let go = |text: &str| {
            run_in(&magics, text, &recorder).unwrap_or_else(|error| panic!("{text}: {error}"));
            recorder.folder().unwrap()
        };
        assert_eq!(go("%cd"), root.join("home"));
        assert_eq!(go("%cd ~/'my data'"), root.join("home/my data"));
        assert_eq!(go(&format!("%cd {}/home/../home", root.display())), root.join("home"));
        assert_eq!(go("%cd -q ~"), root.join("home"));
        // The session of this test leaves the process where it is, so that is where each went from.
        let here = std::env::current_dir().unwrap();
        assert_eq!(go("%cd -"), here);
        let home = root.join("home");
        let expected = [&home, &home.join("my data"), &home, &here].map(|path| format!("{}\n", path.display()));
        assert_eq!(recorder.stdout(), expected.concat());
        assert_eq!(go("%cd src"), here.join("src").canonicalize().unwrap());
    }

    #[test]
    fn mistakes_are_pointed_at() {
        let (folder, magics) = (tempfile::tempdir().unwrap(), magics());
        fs::create_dir(folder.path().join("notebooks")).unwrap();
        fs::write(folder.path().join("file"), "").unwrap();
        let recorder = FakeHost::default();
        let at = folder.path().display();
        let cases = [
            (format!("%cd {at}/notebook"), "FileError", "did you mean `notebooks`"),
            (format!("%cd {at}/file"), "FileError", "is no folder"),
            (format!("%cd {at}/none/none"), "FileError", "no folder `"),
            ("%cd my folder".into(), "SyntaxError", "in quotes"),
            ("%cd -x folder".into(), "UnknownOption", "`-x`"),
            ("%cd -".into(), "FileError", "go back to"),
            ("%pwd x".into(), "SyntaxError", "too many"),
        ];
        for (text, name, part) in cases {
            let error = run_in(&magics, &text, &recorder).expect_err(&text);
            assert!(error.name.as_str() == name && said(&error).contains(part), "{text}: {}", said(&error));
        }
        assert_eq!(recorder.folder(), None);
        assert_eq!(run_in(&magics, "%cd /", &FakeHost::without_session()).unwrap_err().name.as_str(), "NoSession");
    }

    #[test]
    fn the_folder_is_printed() {
        let recorder = FakeHost::without_session();
        run("%pwd", &recorder).unwrap();
        assert_eq!(recorder.stdout(), format!("{}\n", std::env::current_dir().unwrap().display()));
    }
}
