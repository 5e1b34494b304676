//! `%deps [--full]`: shows the crates of Rust cells with the versions that they got, so that they can be pinned.

use crate::error::{ErrorName, MagicError, Result};
use crate::host::{Interrupt, Output, session};
use crate::magic::{Command, Context, Export, Invocation, Magic, Subject};
use crate::report::Report;
use crate::syntax::OptionSpec;
use semver::{Version, VersionReq};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::path::Path;
use toml::Value;

/// The name of the crate that evcxr makes of cells.
const CELLS: &str = "ctx";
/// How a `Cargo.lock` names the registry of crates.io.
const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";
/// The keys of a dependency that are written first, in this order.
const FIRST: [&str; 9] =
    ["version", "package", "git", "rev", "path", "registry", "default-features", "default_features", "features"];

pub const MAGIC: Magic = Magic {
    name: "deps",
    line: true,
    body: None,
    usage: "%deps [--full]",
    example: "%deps",
    summary: "Show the crates of Rust cells as `:dep` lines with their exact versions",
    help: "`:dep rand` takes the newest version that fits, which is another one next year. The lines of `%deps` name \
        the versions that this notebook got: in its first cell, they bring the same ones again. Crates that Tunebook \
        brings itself (`tunebook`, workloads) are left out. `--full` shows the whole `Cargo.lock` instead, with all \
        crates that these depend on.",
    options: &[OptionSpec { name: "full", value: None, help: "show the whole Cargo.lock" }],
    subject: Subject::None,
    export: Export::Comment,
    parse,
};

struct Deps {
    full: bool,
}

fn parse(Invocation { arguments, .. }: Invocation) -> Result<Box<dyn Command>> {
    arguments.at_most(0)?;
    Ok(Box::new(Deps { full: arguments.has("full") }))
}

/// A crate that cells depend on.
#[derive(Debug, PartialEq, Serialize)]
struct Dependency {
    name: String,
    /// None if cargo has not chosen one.
    version: Option<String>,
    /// The features that were asked for.
    features: Vec<String>,
    /// `crates.io`, another registry, a repository, or a folder.
    source: String,
    #[serde(skip)]
    line: String,
}

impl Command for Deps {
    fn run(self: Box<Self>, context: &Context, output: &dyn Output, _: &Interrupt) -> Result<()> {
        let session = session::required(output)?;
        let text = session.lock_file()?.unwrap_or_default();
        let lock: LockFile = toml::from_str(&text).unwrap_or_default();
        let mut all = vec![];
        for (name, config) in session.dependencies()? {
            let Ok(config) = parsed(&config) else {
                let message = format!("the dependency `{name} = {config}` is not valid TOML");
                return Err(MagicError::new(ErrorName::SyntaxError, message, None));
            };
            if !is_own(&name, &config, &context.settings.cache) {
                all.push(lock.dependency(&name, config));
            }
        }
        let report = Report::new("dependencies", &json!({ "dependencies": all }));
        let lines: Vec<&str> = all.iter().map(|dependency| dependency.line.as_str()).collect();
        let report = match (self.full, lines.is_empty()) {
            (true, _) => report.field("lock", &text).code(text.trim_end()),
            (false, true) => report.line("No cell has added a crate yet. `:dep NAME` adds one."),
            (false, false) => report.code(&lines.join("\n")),
        };
        report.show(&context.charts, output);
        Ok(())
    }
}

fn parsed(config: &str) -> std::result::Result<Value, toml::de::Error> {
    let mut table: toml::Table = format!("x = {config}").parse()?;
    Ok(table.remove("x").unwrap_or(Value::String("*".into())))
}

/// Whether Tunebook brought a crate itself.
fn is_own(name: &str, config: &Value, cache: &Path) -> bool {
    let path = config.get("path").and_then(Value::as_str);
    name == "tunebook" || path.is_some_and(|path| Path::new(path).starts_with(cache))
}

/// The part of a `Cargo.lock` that is needed here.
#[derive(Default, Deserialize)]
struct LockFile {
    #[serde(default)]
    package: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    source: Option<String>,
    /// Each is the name of a crate, followed by its version if there are several, and by its source in parentheses if
    /// there are still several.
    #[serde(default)]
    dependencies: Vec<String>,
}

impl LockFile {
    /// The package that the crate of cells uses under a name. `required` is the condition on its version.
    fn used(&self, name: &str, required: &str) -> Option<&Package> {
        let cells = self.package.iter().find(|package| package.name == CELLS && package.source.is_none())?;
        let is_named = |edge: &&String, package: &Package| {
            let mut words = edge.split(' ');
            words.next() == Some(package.name.as_str()) && words.next().is_none_or(|version| version == package.version)
        };
        let is_used =
            |package: &&Package| package.name == name && cells.dependencies.iter().any(|edge| is_named(&edge, package));
        let used: Vec<&Package> = self.package.iter().filter(is_used).collect();
        let required = VersionReq::parse(required).unwrap_or_default();
        let fits = |package: &&&Package| Version::parse(&package.version).is_ok_and(|v| required.matches(&v));
        // Two dependencies can be versions of one crate under different names.
        used.iter().find(fits).or(used.first()).copied()
    }

    /// A dependency with the version that it got.
    fn dependency(&self, name: &str, mut config: Value) -> Dependency {
        let text = |config: &Value, key: &str| config.get(key).and_then(Value::as_str).map(String::from);
        let required = config.as_str().map(String::from).or_else(|| text(&config, "version")).unwrap_or("*".into());
        let package = self.used(&text(&config, "package").unwrap_or(name.into()), &required);
        let source = package.and_then(|package| package.source.as_deref());
        let (path, git) = (text(&config, "path"), text(&config, "git"));
        if let (Some(package), None, None) = (package, &path, &git) {
            let exact = Value::String(format!("={}", package.version));
            match &mut config {
                Value::Table(table) => drop(table.insert("version".into(), exact)),
                config => *config = exact,
            }
        }
        if let (Some((_, revision)), Value::Table(table)) =
            (source.filter(|_| git.is_some()).and_then(|source| source.rsplit_once('#')), &mut config)
        {
            table.retain(|key, _| key != "branch" && key != "tag");
            table.insert("rev".into(), Value::String(revision.into()));
        }
        let features = config.get("features").and_then(Value::as_array).into_iter().flatten();
        Dependency {
            name: name.into(),
            version: package.map(|package| package.version.clone()),
            features: features.filter_map(Value::as_str).map(String::from).collect(),
            source: path.or(git).unwrap_or_else(|| match source {
                Some(CRATES_IO) | None => "crates.io".into(),
                Some(other) => other.into(),
            }),
            line: format!(":dep {name} = {}", written(&config)),
        }
    }
}

/// The TOML of a dependency on one line.
fn written(config: &Value) -> String {
    let Value::Table(table) = config else { return config.to_string() };
    let mut keys: Vec<&String> = table.keys().collect();
    keys.sort_by_key(|key| FIRST.iter().position(|first| first == key).unwrap_or(FIRST.len()));
    match keys.as_slice() {
        [only] if *only == "version" => table["version"].to_string(),
        _ => {
            let fields: Vec<String> = keys.iter().map(|key| format!("{key} = {}", table[*key])).collect();
            format!("{{ {} }}", fields.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::RESULT_MIME;
    use crate::testing::{FakeHost, Shown, run};

    const LOCK: &str = r#"
version = 4

[[package]]
name = "ctx"
version = "1.0.0"
dependencies = ["git_one", "own", "rand 0.8.5", "rand 0.9.2", "serde"]

[[package]]
name = "rand"
version = "0.6.5"
source = "registry+https://github.com/rust-lang/crates.io-index"

[[package]]
name = "rand"
version = "0.8.5"
source = "registry+https://github.com/rust-lang/crates.io-index"

[[package]]
name = "rand"
version = "0.9.2"
source = "registry+https://github.com/rust-lang/crates.io-index"

[[package]]
name = "serde"
version = "1.0.219"
source = "registry+https://github.com/rust-lang/crates.io-index"

[[package]]
name = "git_one"
version = "0.3.0"
source = "git+https://example.org/one?branch=main#0123abc"

[[package]]
name = "own"
version = "0.1.0"
"#;

    fn shown(fake: &FakeHost) -> (String, serde_json::Value) {
        let Some(Shown::Display(bundle)) = fake.shown().pop() else { panic!("{:?}", fake.shown()) };
        (bundle["text/plain"].as_str().unwrap().into(), bundle[RESULT_MIME].clone())
    }

    #[test]
    fn each_crate_is_pinned_to_what_it_got() {
        let fake = FakeHost::default()
            .with_lock(LOCK)
            .with_dependency("git_one", "{ git = \"https://example.org/one\", branch = \"main\" }")
            .with_dependency("old", "{ package = \"rand\", version = \"0.8\" }")
            .with_dependency("own", "{ path = \"../own\" }")
            .with_dependency("rand", "\"0.9\"")
            .with_dependency("serde", "{ features = [\"derive\"], version = \"1\", default-features = false }")
            .with_dependency("tunebook", "{ path = \"x\" }");
        run("%deps", &fake).unwrap();
        let (text, result) = shown(&fake);
        assert_eq!(
            text.lines().collect::<Vec<_>>(),
            [
                ":dep git_one = { git = \"https://example.org/one\", rev = \"0123abc\" }",
                ":dep old = { version = \"=0.8.5\", package = \"rand\" }",
                ":dep own = { path = \"../own\" }",
                ":dep rand = \"=0.9.2\"",
                ":dep serde = { version = \"=1.0.219\", default-features = false, features = [\"derive\"] }",
            ]
        );
        assert_eq!(result["kind"], "dependencies");
        let serde = json!({ "name": "serde", "version": "1.0.219", "features": ["derive"], "source": "crates.io" });
        assert_eq!(result["dependencies"][4], serde);
        assert_eq!(result["dependencies"][2]["source"], "../own");
        run("%deps --full", &fake).unwrap();
        assert_eq!(shown(&fake).0.trim(), LOCK.trim());
    }

    #[test]
    fn without_crates_or_versions_it_says_what_there_is() {
        let fake = FakeHost::default();
        run("%deps", &fake).unwrap();
        let (text, result) = shown(&fake);
        assert!(text.contains("`:dep NAME` adds one"), "{text}");
        assert_eq!(result["dependencies"], json!([]));
        let fake = FakeHost::default().with_dependency("rand", "\"*\"");
        run("%deps", &fake).unwrap();
        assert_eq!(shown(&fake).0, ":dep rand = \"*\"");
        assert_eq!(run("%deps rand", &fake).unwrap_err().name.as_str(), "SyntaxError");
    }
}
