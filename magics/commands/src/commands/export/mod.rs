//! `%export FILE.rs|DIR`: writes the Rust of the notebook as a crate.

mod check;
mod krate;
mod program;

use self::check::{check, formatted};
use self::krate::{Destination, manifest, script};
use self::program::Program;

use crate::error::{ErrorName, MagicError, Result};
use crate::magic::{Command, Context, Export, Invocation, Magic, Subject};

use crate::host::{Interrupt, Output, Stream, session};
use crate::syntax::{Arguments, OptionSpec, Word};
use std::path::Path;

/// The first line of an exported program.
const HEAD: &str = "//! Exported from a notebook of Tunebook.\n";

pub const MAGIC: Magic = Magic {
    name: "export",
    line: true,
    body: None,
    usage: "%export FILE.rs|DIR [--force] [--check]",
    example: "%export notebook.rs --force",
    summary: "Write the Rust of the notebook as a crate that compiles",
    help: "The cells of this session that ran without an error become one program. Functions, types and imports are at \
        its root, and the last definition of a name is used. Statements go to `main` in the order of their cells, and \
        the values of cells are printed. If a cell ran again, its last text is used, at the place of its first run. A \
        `%reset` starts a new program. The Rust of `%time`, `%%time`, `%%test` and `%%capture` is included; other \
        magics and shell lines become comments.\n\n\
        DIR gets a `Cargo.toml` with the dependencies that `:dep` added, and `src/main.rs`. FILE.rs has its manifest \
        in a comment, which `rust-script` reads. `--check` runs `cargo check` on the program.",
    options: &[
        OptionSpec { name: "force", value: None, help: "overwrite existing files; also -f" },
        OptionSpec { name: "check", value: None, help: "check that the program compiles" },
    ],
    subject: Subject::None,
    export: Export::Comment,
    parse,
};

struct ExportNotebook {
    arguments: Arguments,
    word: Word,
}

fn parse(Invocation { arguments, .. }: Invocation) -> Result<Box<dyn Command>> {
    let word = arguments.required(0, "the file or folder")?.clone();
    arguments.at_most(1)?;
    Ok(Box::new(ExportNotebook { arguments, word }))
}

impl Command for ExportNotebook {
    fn run(self: Box<Self>, context: &Context, output: &dyn Output, interrupt: &Interrupt) -> Result<()> {
        let session = session::required(output)?;
        let destination = Destination::new(&self.word.text);
        if let Some(file) = destination.existing_file().filter(|_| !self.arguments.has("force")) {
            let message = format!("{} exists already", file.display());
            return Err(self.error(ErrorName::FileExists, message, Some("`--force` overwrites it".into())));
        }
        let program = Program::of(context.catalogue, session, &session.inputs(0)?);
        if program.cells == 0 {
            return Err(self.error(
                ErrorName::NoAnswer,
                "no cell has run without an error yet".into(),
                Some("run a cell first".into()),
            ));
        }
        let mut dependencies = session.dependencies()?;
        if program.needs_runtime() && !dependencies.iter().any(|(name, _)| name == "tokio") {
            dependencies.push(("tokio".into(), "{ version = \"1\", features = [\"rt\", \"rt-multi-thread\"] }".into()));
        }
        let head = match &destination {
            Destination::File(_) => format!("{HEAD}//!\n{}\n", script(&dependencies)?),
            Destination::Folder(path) => {
                self.write(&path.join("Cargo.toml"), &manifest(&destination.name(), &dependencies)?)?;
                format!("{HEAD}\n")
            }
        };
        self.write(&destination.source(), &formatted(program.source(&head), interrupt))?;
        let counted = |n: usize, one: &str, many: &str| format!("{n} {}", if n == 1 { one } else { many });
        let mut summary = format!(
            "{}: {}, {}, {}\n",
            destination.source().display(),
            counted(program.cells, "cell", "cells"),
            counted(program.items(), "item", "items"),
            counted(dependencies.len(), "dependency", "dependencies")
        );
        if !program.skipped.is_empty() {
            let cells: Vec<String> = program.skipped.iter().map(u64::to_string).collect();
            summary += &format!("Not valid as a program, and written as comments: cells {}\n", cells.join(", "));
        }
        output.print(Stream::Stdout, &summary);
        if self.arguments.has("check") {
            check(&destination, &dependencies, &context.settings.cache.join("export"), interrupt)?;
            output.print(Stream::Stdout, "It compiles.\n");
        }
        Ok(())
    }
}

impl ExportNotebook {
    fn error(&self, name: ErrorName, message: String, help: Option<String>) -> MagicError {
        self.arguments.source.error(name, self.word.span.clone(), message, help)
    }

    fn write(&self, path: &Path, text: &str) -> Result<()> {
        let folder = path.parent().unwrap_or(Path::new(""));
        let written = std::fs::create_dir_all(folder).and_then(|()| std::fs::write(path, text));
        written.map_err(|error| {
            self.error(ErrorName::FileError, format!("{} cannot be written: {error}", path.display()), None)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{FakeHost, run};
    use std::process::Command as Process;

    const NOTEBOOK: [&str; 13] = [
        "use std::collections::{BTreeMap, HashMap};\nuse std::fmt;",
        "#[derive(Debug, Clone)]\nstruct Point { x: f64, y: f64 }\nimpl Point {\n    \
         fn length(&self) -> f64 { self.x.hypot(self.y) }\n}",
        "// Where it begins.\nlet origin = Point { x: 3.0, y: 4.0 };\norigin.length()",
        "macro_rules! twice { ($e:expr) => { $e + $e } }\nfn area(p: &Point) -> f64 { p.x }",
        "let n: i32 = \"21\".parse()?;\ntwice!(n)",
        "fn area(p: &Point) -> f64 { p.x * p.y }\nimpl fmt::Display for Point {\n    \
         fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {\n        \
         write!(f, \"{} {}\", self.x, self.y)\n    }\n}",
        "%time let by_name: HashMap<&str, f64> = HashMap::from([(\"a\", area(&origin))]);\n%timeit area(&origin)\n\
         println!(\"{by_name:?}\");",
        "let text = \"two\n    lines\n%time\";\ntext.lines().count()",
        "struct Opaque(i32);\nlet opaque = Opaque(1);\nopaque",
        "%%test\n#[test]\nfn areas() {\n    assert_eq!(area(&Point { x: 2.0, y: 3.0 }), 6.0);\n}",
        "let mut counts = BTreeMap::new();\nfor word in text.split_whitespace() {\n    \
         *counts.entry(word.len()).or_insert(0) += 1;\n}",
        "!ls -l",
        "counts",
    ];

    /// Compiles and runs an exported program and its tests. Returns the output of both.
    fn built(file: &Path) -> (String, String) {
        let folder = tempfile::tempdir().unwrap();
        let build = |arguments: &[&str], name: &str| {
            let mut rustc = Process::new("rustc");
            rustc.args(["--edition", "2024", "-o", name]).args(arguments).arg(file).current_dir(&folder);
            let output = rustc.output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            let ended = Process::new(folder.path().join(name)).output().unwrap();
            assert!(ended.status.success());
            String::from_utf8_lossy(&ended.stdout).into_owned()
        };
        (build(&[], "program"), build(&["--test"], "tests"))
    }

    #[test]
    fn an_exported_file_compiles_and_runs_with_its_tests() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("notebook.rs");
        let fake = FakeHost::default().with_cells(&NOTEBOOK);
        run(&format!("%export '{}'", file.display()), &fake).unwrap();
        assert!(fake.stdout().ends_with("notebook.rs: 13 cells, 5 items, 0 dependencies\n"), "{}", fake.stdout());
        let (program, tests) = built(&file);
        assert_eq!(program, "5.0\n42\n{\"a\": 12.0}\n3\n{3: 1, 5: 2}\n");
        assert!(tests.contains("test areas ... ok"), "{tests}");
        let error = run(&format!("%export '{}'", file.display()), &fake).unwrap_err();
        assert_eq!(error.name.as_str(), "FileExists");
        run(&format!("%export '{}' -f", file.display()), &fake).unwrap();
    }

    #[test]
    fn an_exported_folder_is_a_crate_that_cargo_can_check() {
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join("own");
        std::fs::create_dir_all(own.join("src")).unwrap();
        std::fs::write(own.join("Cargo.toml"), "[package]\nname = \"own\"\nedition = \"2024\"\n").unwrap();
        std::fs::write(own.join("src/lib.rs"), "pub fn seven() -> i32 { 7 }").unwrap();
        let dependency = format!("{{ path = {:?} }}", own.to_str().unwrap());
        let fake = |cells: &[&str]| FakeHost::default().with_dependency("own", &dependency).with_cells(cells);
        let target = folder.path().join("report");
        let good = fake(&[":dep own = { path = \"own\" }", "own::seven()"]);
        run(&format!("%export {} --check", target.display()), &good).unwrap();
        assert!(good.stdout().ends_with("It compiles.\n"), "{}", good.stdout());
        let broken = fake(&["own::eight()"]);
        let file = folder.path().join("broken.rs");
        let error = run(&format!("%export {} --check", file.display()), &broken).unwrap_err();
        let said = error.traceback().join("\n");
        assert!(error.name.as_str() == "CheckFailed" && said.contains("eight") && said.contains("broken.rs"), "{said}");
    }

    #[test]
    fn without_cells_export_is_an_error() {
        assert_eq!(run("%export a.rs", &FakeHost::default()).unwrap_err().name.as_str(), "NoAnswer");
        assert!(run("%export", &FakeHost::default()).unwrap_err().message.contains("missing"));
    }
}
