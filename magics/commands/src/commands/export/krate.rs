//! The destination of an exported program: the folder of a crate, or one file that contains its manifest.

use crate::error::{ErrorName, MagicError, Result};
use std::path::{Path, PathBuf};

/// Where a program is written.
#[derive(Clone, Debug, PartialEq)]
pub enum Destination {
    /// One file, with its manifest in a comment.
    File(PathBuf),
    /// The folder of a crate, with `Cargo.toml` and `src/main.rs`.
    Folder(PathBuf),
}

impl Destination {
    /// Parses the word of the user. A path that ends with `.rs` is a file, any other a folder. `~/` is the home folder.
    pub fn new(text: &str) -> Self {
        let home = text.strip_prefix("~/").and_then(|rest| Some(dirs::home_dir()?.join(rest)));
        let path = home.unwrap_or_else(|| PathBuf::from(text));
        match path.extension().is_some_and(|ending| ending == "rs") {
            true => Self::File(path),
            false => Self::Folder(path),
        }
    }

    /// The path of the program's source file.
    pub fn source(&self) -> PathBuf {
        match self {
            Self::File(path) => path.clone(),
            Self::Folder(path) => path.join("src/main.rs"),
        }
    }

    /// A valid name for the crate, derived from the name of the file or folder.
    pub fn name(&self) -> String {
        let (Self::File(path) | Self::Folder(path)) = self;
        let full = std::path::absolute(path).unwrap_or_else(|_| path.clone());
        let stem = full.file_stem().map(|stem| stem.to_string_lossy().to_lowercase()).unwrap_or_default();
        let name: String = stem.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        let name = name.trim_matches('-').to_string();
        let usable = name.starts_with(|c: char| c.is_ascii_alphabetic())
            && syn::parse_str::<syn::Ident>(&name.replace('-', "_")).is_ok();
        if usable && name != "test" { name } else { format!("notebook-{name}").trim_end_matches('-').into() }
    }

    /// The first file that exists already and would be overwritten.
    pub fn existing_file(&self) -> Option<PathBuf> {
        let files = match self {
            Self::File(path) => vec![path.clone()],
            Self::Folder(path) => vec![path.join("Cargo.toml"), path.join("src/main.rs")],
        };
        files.into_iter().find(|file| file.exists())
    }
}

/// The text of `Cargo.toml`. Paths of dependencies are made absolute, because they are relative to the folder of the
/// kernel.
pub fn manifest(name: &str, dependencies: &[(String, String)]) -> Result<String> {
    let table = table(dependencies)?;
    Ok(format!(
        "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\npublish = false\n\n\
         [workspace]\n\n{table}"
    ))
}

/// The comment with the manifest at the top of a single file, in the format of rust-script.
pub fn script(dependencies: &[(String, String)]) -> Result<String> {
    let manifest = format!("[package]\nedition = \"2024\"\n\n{}", table(dependencies)?);
    let lines: String =
        manifest.trim_end().lines().map(|line| format!("//! {line}").trim_end().to_string() + "\n").collect();
    Ok(format!("//! ```cargo\n{lines}//! ```\n"))
}

/// The TOML of `[dependencies]`.
fn table(dependencies: &[(String, String)]) -> Result<String> {
    let mut table = toml::Table::new();
    for (name, value) in dependencies {
        let parsed = format!("x = {value}").parse::<toml::Table>().ok().and_then(|mut table| table.remove("x"));
        let Some(mut value) = parsed else {
            let message = format!("the dependency `{name} = {value}` is not valid TOML");
            return Err(MagicError::advising(ErrorName::InvalidValue, message, "add it again with `:dep`"));
        };
        if let Some(toml::Value::String(path)) = value.as_table_mut().and_then(|table| table.get_mut("path"))
            && let Ok(full) = std::path::absolute(Path::new(path.as_str()))
        {
            *path = full.to_string_lossy().into_owned();
        }
        table.insert(name.clone(), value);
    }
    Ok(toml::Table::from_iter([("dependencies".to_string(), table.into())]).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_crates_are_valid() {
        let cases = [
            ("My Report.rs", "my-report"),
            ("out/model_2", "model-2"),
            ("2d", "notebook-2d"),
            ("test.rs", "notebook-test"),
            ("/", "notebook"),
            ("fn", "notebook-fn"),
        ];
        for (path, name) in cases {
            assert_eq!(Destination::new(path).name(), name);
        }
        assert_eq!(Destination::new("a.rs"), Destination::File("a.rs".into()));
        assert_eq!(Destination::new("a").source(), PathBuf::from("a/src/main.rs"));
    }

    #[test]
    fn dependencies_are_in_the_manifest_and_in_the_comment() {
        let dependencies = [("rand".into(), "\"0.10\"".into()), ("own".into(), "{ path = \"../own\" }".into())];
        let parsed: toml::Table = manifest("a", &dependencies).unwrap().parse().unwrap();
        assert_eq!(parsed["dependencies"]["rand"].as_str(), Some("0.10"));
        assert!(Path::new(parsed["dependencies"]["own"]["path"].as_str().unwrap()).is_absolute());
        let head = script(&dependencies[..1]).unwrap();
        assert!(head.starts_with("//! ```cargo\n//! [package]\n//! edition = \"2024\"\n//!\n"), "{head}");
        assert!(head.ends_with("//! rand = \"0.10\"\n//! ```\n"), "{head}");
        assert!(manifest("a", &[("x".into(), "{".into())]).is_err());
    }
}
