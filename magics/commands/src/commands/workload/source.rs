//! Parses the cell of a `%%workload`, and generates a crate from it.

use super::tokens::tokens;
use crate::error::{ErrorName, MagicError, Result, Source};
use sha2::{Digest, Sha256};
use std::path::PathBuf;

/// Names that a workload cannot have, because crates that it uses have them.
const RESERVED: [&str; 10] = [
    "alloc",
    "anyhow",
    "core",
    "std",
    "tch",
    "test",
    "tunebook",
    "tunebook_cell",
    "tunebook_study",
    "tunebook_training",
];

/// The first line of the crate's file. It takes the place of the magic's line, so that line numbers are those of the
/// cell.
const PRELUDE: &str = "#[allow(unused_imports)] use ::tunebook_training::prelude::*;";

/// A crate of Tunebook on which the crate of a workload depends.
pub struct Dependency {
    pub name: String,
    /// The folder of the crate.
    pub path: PathBuf,
    /// Features besides the default ones.
    pub features: Vec<String>,
}

impl Dependency {
    pub fn new(name: &str, path: PathBuf) -> Self {
        Self { name: name.into(), path, features: vec![] }
    }
}

/// The parsed body of a `%%workload`.
#[derive(Clone, Debug)]
pub struct WorkloadCell {
    /// The name of the workload and of its crate.
    pub name: String,
    /// The body as the user wrote it, from the line after the magic on.
    pub text: String,
    /// The table `[dependencies]` of the body.
    dependencies: toml::Table,
    /// The Rust of the body, with blank lines in place of the dependencies.
    rust: String,
    /// None if the Rust has a syntax error, which the compiler will explain.
    trainable: Option<Trainable>,
}

/// What can be trained in a body.
#[derive(Clone, Debug, PartialEq)]
enum Trainable {
    /// A type that implements `Workload`. The text is an expression that creates a value of it.
    Workload(String),
    /// A function `train`, and whether the functions `hyperparameters` and `objective` are defined too.
    Function { hyperparameters: bool, objective: bool },
}

impl WorkloadCell {
    /// Parses a body. `offset` is its start in `source`, for errors.
    pub fn new(name: &str, text: &str, source: &Source, offset: usize) -> Result<Self> {
        let (toml, rust) = split(text);
        let manifest: toml::Table = toml.text.parse().map_err(|error: toml::de::Error| {
            let span = error.span().unwrap_or(0..0);
            let at = offset + toml.start;
            let message = error.message().lines().next().unwrap_or_default().to_string();
            source.error(ErrorName::SyntaxError, at + span.start..at + span.end.max(span.start + 1), message, None)
        })?;
        let mut dependencies = toml::Table::new();
        for (key, value) in manifest {
            match (key.as_str(), value) {
                ("dependencies", toml::Value::Table(table)) => dependencies = table,
                _ => {
                    let at = offset + toml.start;
                    let message = format!("`{key}` is not allowed here");
                    let help = "only [dependencies] can be written before the Rust".to_string();
                    return Err(source.error(
                        ErrorName::SyntaxError,
                        at..at + toml.text.len().max(1),
                        message,
                        Some(help),
                    ));
                }
            }
        }
        let trainable = match syn::parse_file(&rust) {
            Ok(file) => Some(find(&file)?),
            Err(_) => None,
        };
        Ok(Self { name: name.into(), text: text.into(), dependencies, rust, trainable })
    }

    /// The SHA-256 of name and body, which identifies this version of the workload.
    pub fn hash(&self) -> String {
        let digest = Sha256::digest(format!("{}\n{}", self.name, self.text));
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Whether two bodies differ in comments and white space only.
    pub fn means_the_same(&self, other: &Self) -> bool {
        self.name == other.name
            && self.dependencies == other.dependencies
            && tokens(&self.rust).is_some_and(|code| tokens(&other.rust) == Some(code))
    }

    /// The `Cargo.toml` of the crate. `needed` are the crates of Tunebook on which it depends.
    pub fn manifest(&self, needed: impl IntoIterator<Item = Dependency>) -> String {
        let name = &self.name;
        let worker = worker_name(name);
        let mut dependencies = self.dependencies.clone();
        dependencies.insert("tch".into(), "=0.24.0".into());
        for Dependency { name, path, features } in needed {
            let mut dependency = toml::Table::from_iter([("path".to_string(), path.display().to_string().into())]);
            if !features.is_empty() {
                dependency.insert("features".into(), features.into());
            }
            dependencies.insert(name, dependency.into());
        }
        let dependencies = toml::Table::from_iter([("dependencies".to_string(), dependencies.into())]);
        // Line tables for the user's crate give a panic its line numbers.
        format!(
            r#"[package]
name = "{name}"
version = "0.0.0"
edition = "2024"
publish = false

[workspace]

[[bin]]
name = "{worker}"
path = "src/main.rs"

[profile.release]
debug = false
incremental = true

[profile.release.package.{name}]
debug = "line-tables-only"

{dependencies}"#
        )
    }

    /// The `src/lib.rs` of the crate: the user's Rust, and a hidden function that returns what can be trained.
    pub fn library(&self) -> String {
        let value = match &self.trainable {
            None => String::new(),
            Some(Trainable::Workload(value)) => {
                format!("::tunebook_training::catalogue::Trainable::Workload(::std::boxed::Box::new({value}))")
            }
            Some(Trainable::Function { hyperparameters, objective }) => {
                let hyperparameters = if *hyperparameters { "hyperparameters" } else { "::std::vec::Vec::new" };
                let default = "::tunebook_training::catalogue::Function::default_objective";
                let objective = if *objective { "objective" } else { default };
                format!(
                    "::tunebook_training::catalogue::Trainable::Function(::tunebook_training::catalogue::Function {{ \
                     train, hyperparameters: {hyperparameters}, objective: {objective} }})"
                )
            }
        };
        let function = match value.as_str() {
            "" => String::new(),
            value => format!(
                "#[doc(hidden)] pub fn __trainable() -> ::tunebook_training::catalogue::Trainable {{ {value} }}\n"
            ),
        };
        format!("{PRELUDE}\n{}\n{function}", self.rust.trim_end())
    }

    /// The `src/main.rs` of the crate, which is the worker.
    pub fn main(&self) -> String {
        let name = &self.name;
        format!(
            "fn main() -> ::std::process::ExitCode {{\n    let mut catalogue = \
             ::tunebook_training::catalogue::Catalogue::new(\"rust\");\n    catalogue.add(\"{name}\", \
             ::{name}::__trainable());\n    ::tunebook_training::worker::main(catalogue, \
             Some(env!(\"CARGO_MANIFEST_DIR\")))\n}}\n"
        )
    }
}

/// The name of the executable.
pub fn worker_name(name: &str) -> String {
    format!("{name}_worker")
}

/// The reason why a name cannot be that of a workload, or None if it can.
pub fn problem_with_name(name: &str) -> Option<&'static str> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.chars().all(plain) {
        return Some(
            "it must begin with a small letter and consist of small letters, digits and `_`, since it names a crate",
        );
    }
    if syn::parse_str::<syn::Ident>(name).is_err() {
        return Some("it is a keyword of Rust");
    }
    RESERVED.contains(&name).then_some("another crate has this name")
}

/// The TOML of a body.
struct Toml<'a> {
    text: &'a str,
    /// Its start in the body.
    start: usize,
}

/// Splits a body into the block `[dependencies]` at its start, which ends at the first empty line, and the Rust with
/// blank lines in place of that block.
fn split(text: &str) -> (Toml<'_>, String) {
    let start = text.len() - text.trim_start().len();
    if !text[start..].starts_with("[dependencies]") {
        return (Toml { text: "", start: 0 }, text.into());
    }
    let mut end = start;
    for line in text[start..].split_inclusive('\n') {
        if line.trim().is_empty() {
            break;
        }
        end += line.len();
    }
    let blank = "\n".repeat(text[..end].matches('\n').count());
    (Toml { text: &text[start..end], start }, blank + &text[end..])
}

/// Finds what can be trained in a body. It is an error if there is nothing, or more than one type.
fn find(file: &syn::File) -> Result<Trainable> {
    let is_workload = |path: &syn::Path| path.segments.last().is_some_and(|segment| segment.ident == "Workload");
    let implementing = file.items.iter().filter_map(|item| match item {
        syn::Item::Impl(item) if item.trait_.as_ref().is_some_and(|(_, path, _)| is_workload(path)) => {
            Some(item.self_ty.as_ref())
        }
        _ => None,
    });
    let types: Vec<&syn::Type> = implementing.collect();
    let has = |name: &str| file.items.iter().any(|item| matches!(item, syn::Item::Fn(f) if f.sig.ident == name));
    match types.as_slice() {
        [of] => {
            let name = quote::quote!(#of).to_string();
            let is_unit_struct = |item: &syn::Item| match item {
                syn::Item::Struct(item) => item.ident == name && matches!(item.fields, syn::Fields::Unit),
                _ => false,
            };
            let value = match file.items.iter().any(is_unit_struct) {
                true => name,
                false => format!("<{name} as ::std::default::Default>::default()"),
            };
            Ok(Trainable::Workload(value))
        }
        [] if has("train") => {
            Ok(Trainable::Function { hyperparameters: has("hyperparameters"), objective: has("objective") })
        }
        [] => {
            let help = "implement `Workload` for a type, or write `fn train(trial: &mut Trial) -> Result<()>`; \
                        `%%workload?` shows both";
            Err(MagicError::new(
                ErrorName::SyntaxError,
                "this body defines nothing that can be trained",
                Some(help.into()),
            ))
        }
        _ => {
            let message = format!("{} types implement `Workload`, but a %%workload defines only one", types.len());
            Err(MagicError::new(ErrorName::SyntaxError, message, Some("write each in a separate cell".into())))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(text: &str) -> Result<WorkloadCell> {
        WorkloadCell::new("wine", text, &Source::new(text, 0), 0)
    }

    #[test]
    fn lines_keep_their_numbers() {
        let body = body("\n[dependencies]\nrand = \"0.10\"\n\nstruct A;\nimpl Workload for A {}\n").unwrap();
        let library = body.library();
        let lines: Vec<&str> = library.lines().collect();
        assert_eq!((lines[0], lines[5]), (PRELUDE, "struct A;"));
        assert!(lines[7].contains("Box::new(A)"), "{}", lines[7]);
        let beside = Dependency { features: vec!["b".into()], ..Dependency::new("beside", "../c".into()) };
        let needed = [Dependency::new("tunebook-study", "../a".into()), beside];
        let manifest: toml::Table = body.manifest(needed).parse().unwrap();
        let dependencies = &manifest["dependencies"];
        assert_eq!(dependencies["rand"].as_str(), Some("0.10"));
        assert_eq!(dependencies["tunebook-study"], toml::toml! { path = "../a" }.into());
        assert_eq!(
            dependencies["beside"],
            toml::toml! { path = "../c"
            features = ["b"] }
            .into()
        );
    }

    #[test]
    fn a_type_with_fields_is_created_by_default_and_functions_are_found() {
        let made = body("struct A { b: i32 }\nimpl tunebook_training::Workload for A {}").unwrap();
        assert_eq!(made.trainable, Some(Trainable::Workload("<A as ::std::default::Default>::default()".into())));
        let function =
            body("fn train(trial: &mut Trial) -> Result<()> { Ok(()) }\nfn objective() -> Objective { todo!() }");
        let expected = Trainable::Function { hyperparameters: false, objective: true };
        assert_eq!(function.unwrap().trainable, Some(expected));
    }

    #[test]
    fn bodies_without_one_trainable_are_errors_and_syntax_errors_are_left_to_the_compiler() {
        assert!(body("fn f() {}").unwrap_err().message.contains("defines nothing"));
        assert!(body("impl Workload for A {}\nimpl Workload for B {}").unwrap_err().message.contains("2 types"));
        assert!(body("fn f( {").unwrap().trainable.is_none());
        assert!(body("[dependencies]\nrand = \n\nstruct A;").is_err());
    }

    #[test]
    fn names_must_be_valid_for_a_crate() {
        for good in ["wine", "net_2"] {
            assert_eq!(problem_with_name(good), None);
        }
        for bad in ["Wine", "2d", "a-b", "fn", "std", ""] {
            assert!(problem_with_name(bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn the_hash_depends_on_name_and_text() {
        let hash = |name: &str, text: &str| WorkloadCell::new(name, text, &Source::new(text, 0), 0).unwrap().hash();
        let text = "struct A;\nimpl Workload for A {}";
        assert_eq!(hash("a", text), hash("a", text));
        assert!(hash("a", text) != hash("b", text) && hash("a", text) != hash("a", &format!("{text}\n")));
    }
}
