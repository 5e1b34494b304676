//! `%cd` and `%pwd`: change or print the working directory of the kernel, of cells and of shell commands.

use crate::error::{ErrorName, MagicError, Result};
use crate::files;
use crate::host::{Interrupt, Output, Stream, session};
use crate::magic::{Command, Context, Export, Invocation, Magic, Subject};
use crate::syntax::{Arguments, OptionSpec};
use std::io::{Error, ErrorKind};
use std::path::PathBuf;

pub const CD: Magic = Magic {
    name: "cd",
    line: true,
    body: None,
    usage: "%cd [FOLDER | -]",
    example: "%cd ..",
    summary: "Go to a folder, which is then that of cells, shell commands and magics",
    help: "Without a folder, it goes to the home folder. `-` goes back to the folder before the last `%cd`. The store \
        of studies stays where it was when the kernel started.",
    options: &[
        OptionSpec { name: "quiet", value: None, help: "do not print the new folder" },
        OptionSpec { name: "q", value: None, help: "the same as --quiet" },
    ],
    subject: Subject::Folder,
    export: Export::Comment,
    parse: parse_cd,
};

pub const PWD: Magic = Magic {
    name: "pwd",
    line: true,
    body: None,
    usage: "%pwd",
    example: "%pwd",
    summary: "Print the folder of the kernel, of cells and of shell commands",
    help: "`%cd FOLDER` goes to another one.",
    options: &[],
    subject: Subject::None,
    export: Export::Comment,
    parse: parse_pwd,
};

struct ChangeFolder {
    arguments: Arguments,
}

fn parse_cd(Invocation { arguments, .. }: Invocation) -> Result<Box<dyn Command>> {
    if !arguments.positional.is_empty() {
        files::one_path(&arguments, "the folder")?;
    }
    Ok(Box::new(ChangeFolder { arguments }))
}

impl Command for ChangeFolder {
    fn run(self: Box<Self>, context: &Context, output: &dyn Output, _: &Interrupt) -> Result<()> {
        let target = self.target(context)?;
        let session = session::required(output)?;
        // There is no path to go back to if the current folder was deleted.
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

impl ChangeFolder {
    /// The folder to go to, as an absolute path.
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
                let message = "there is no folder to go back to: `%cd` was not used yet";
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
                source.error(ErrorName::FileError, word.span.clone(), format!("`{}` is not a folder", word.text), None)
            }
            _ => files::problem(source, word, &path, "used", &error),
        })
    }
}

struct PrintFolder;

fn parse_pwd(Invocation { arguments, .. }: Invocation) -> Result<Box<dyn Command>> {
    arguments.at_most(0)?;
    Ok(Box::new(PrintFolder))
}

impl Command for PrintFolder {
    fn run(self: Box<Self>, _: &Context, output: &dyn Output, _: &Interrupt) -> Result<()> {
        output.print(Stream::Stdout, &format!("{}\n", files::current()?.display()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{FakeHost, magics, rendered, run, run_in};
    use std::fs;

    #[test]
    fn cd_goes_to_a_folder_and_back() {
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
        // The fake session does not change the working directory of this process, so each `%cd` starts there.
        let here = std::env::current_dir().unwrap();
        assert_eq!(go("%cd -"), here);
        let home = root.join("home");
        let expected = [&home, &home.join("my data"), &home, &here].map(|path| format!("{}\n", path.display()));
        assert_eq!(recorder.stdout(), expected.concat());
        assert_eq!(go("%cd src"), here.join("src").canonicalize().unwrap());
    }

    #[test]
    fn errors_point_at_mistakes() {
        let (folder, magics) = (tempfile::tempdir().unwrap(), magics());
        fs::create_dir(folder.path().join("notebooks")).unwrap();
        fs::write(folder.path().join("file"), "").unwrap();
        let recorder = FakeHost::default();
        let at = folder.path().display();
        let cases = [
            (format!("%cd {at}/notebook"), "FileError", "did you mean `notebooks`"),
            (format!("%cd {at}/file"), "FileError", "is not a folder"),
            (format!("%cd {at}/none/none"), "FileError", "no folder `"),
            ("%cd my folder".into(), "SyntaxError", "in quotes"),
            ("%cd -x folder".into(), "UnknownOption", "`-x`"),
            ("%cd -".into(), "FileError", "go back to"),
            ("%pwd x".into(), "SyntaxError", "too many"),
        ];
        for (text, name, part) in cases {
            let error = run_in(&magics, &text, &recorder).expect_err(&text);
            assert!(error.name.as_str() == name && rendered(&error).contains(part), "{text}: {}", rendered(&error));
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
