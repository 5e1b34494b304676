//! A registry of crates in a folder, in the place of crates.io.

use std::path::{Path, PathBuf};

/// A registry of crates for the kernels of one test. They have a cargo and a cache of their own.
pub struct Registry {
    folder: PathBuf,
    cargo: String,
    cache: String,
}

impl Registry {
    /// An empty registry in a folder.
    pub fn new(folder: &Path) -> Self {
        let path = |name: &str| {
            let path = folder.join(name);
            std::fs::create_dir_all(&path).expect("a folder");
            path
        };
        let (crates, cargo, cache) = (path("crates"), path("cargo"), path("cache"));
        let config = format!(
            "[source.crates-io]\nreplace-with = \"folder\"\n\n[source.folder]\ndirectory = {:?}\n",
            crates.display().to_string()
        );
        std::fs::write(cargo.join("config.toml"), config).expect("the configuration of cargo");
        Self { folder: crates, cargo: cargo.display().to_string(), cache: cache.display().to_string() }
    }

    /// Adds a version of a crate, with the lines below `[dependencies]` and `src/lib.rs`.
    pub fn publish(&self, name: &str, version: &str, dependencies: &str, library: &str) {
        let folder = self.folder.join(format!("{name}-{version}"));
        std::fs::create_dir_all(folder.join("src")).expect("the folder of the crate");
        let write = |file: &str, text: &str| std::fs::write(folder.join(file), text).expect("a file of the crate");
        write(
            "Cargo.toml",
            &format!(
                "[package]\nname = \"{name}\"\nversion = \"{version}\"\nedition = \"2024\"\n\n[features]\nmore = []\n\n\
                 [dependencies]\n{dependencies}\n"
            ),
        );
        write("src/lib.rs", library);
        write(".cargo-checksum.json", "{ \"files\": {} }");
    }

    /// The environment of a kernel that uses this registry.
    pub fn environment(&self) -> [(&str, &str); 2] {
        [("CARGO_HOME", &self.cargo), ("XDG_CACHE_HOME", &self.cache)]
    }

    /// The `Cargo.lock` files with prepared versions, one for each version of Tunebook that used the cache.
    pub fn prepared_versions(&self) -> Vec<PathBuf> {
        let versions = std::fs::read_dir(Path::new(&self.cache).join("tunebook/cells")).into_iter().flatten().flatten();
        let templates = versions.map(|version| version.path().join("template"));
        templates.filter(|template| template.is_dir()).map(|template| template.join("Cargo.lock")).collect()
    }
}
