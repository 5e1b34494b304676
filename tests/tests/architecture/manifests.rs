//! The crates of the workspace and their direct dependencies, as cargo reads them from the manifests.

use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// A crate of the workspace.
#[derive(Debug)]
pub struct Package {
    /// Its name in Cargo.toml.
    pub name: String,
    /// Its folder, from the root of the repository.
    pub folder: String,
    /// The names of its dependencies of all kinds: also those of build scripts and of tests, for other systems, and
    /// optional ones.
    pub dependencies: Vec<String>,
    /// Those of its dependencies that become part of it.
    pub linked: Vec<String>,
}

impl Package {
    /// Whether another crate becomes part of this one.
    pub fn links(&self, name: &str) -> bool {
        self.linked.iter().any(|linked| linked == name)
    }
}

/// All crates of the workspace whose Cargo.toml lies in a folder.
pub fn packages(root: &Path) -> Vec<Package> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1", "--manifest-path"])
        .arg(root.join("Cargo.toml"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let root = metadata["workspace_root"].as_str().expect("a path");
    let package = |package: &Value| -> Option<Package> {
        let folder = Path::new(package["manifest_path"].as_str()?).parent()?.strip_prefix(root).ok()?;
        let names = |kinds: &[&str]| -> Vec<String> {
            let all = package["dependencies"].as_array().into_iter().flatten();
            let wanted = all.filter(|dependency| kinds.contains(&dependency["kind"].as_str().unwrap_or("normal")));
            wanted.filter_map(|dependency| dependency["name"].as_str()).map(String::from).collect()
        };
        Some(Package {
            name: package["name"].as_str()?.into(),
            folder: folder.to_str()?.into(),
            dependencies: names(&["normal", "build", "dev"]),
            linked: names(&["normal"]),
        })
    };
    let packages = metadata["packages"].as_array().expect("packages");
    packages.iter().map(|found| package(found).expect("a package as cargo describes it")).collect()
}
