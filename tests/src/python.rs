//! Front ends in Python, and the browser.

use crate::{executable, repository};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The Python of the test environment, with an environment in which Jupyter finds the kernel and keeps its files in a
/// folder of the test. The folder is its current one.
pub fn python(folder: &Path) -> Command {
    let Some(python) = std::env::var_os("TUNEBOOK_PYTHON") else {
        panic!("TUNEBOOK_PYTHON is not set: `cargo verify` makes the environment that this test needs")
    };
    let kernels = folder.join("jupyter/kernels/tunebook");
    std::fs::create_dir_all(&kernels).expect("a folder for the kernel");
    let spec = serde_json::json!({ "argv": [executable("tunebook"), "kernel", "--connection-file", "{connection_file}"],
        "display_name": "Rust (Tunebook)", "language": "rust", "interrupt_mode": "message" });
    std::fs::write(kernels.join("kernel.json"), spec.to_string()).expect("the file that names the kernel");
    let extension = folder.join("jupyter/labextensions/tunebook-magics");
    std::fs::create_dir_all(extension.join("static")).expect("a folder for the extension of JupyterLab");
    for name in ["package.json", "static/remoteEntry.js"] {
        let from = repository().join("install/labextension").join(name);
        std::fs::copy(from, extension.join(name)).expect("the extension of JupyterLab");
    }
    let mut command = Command::new(python);
    command
        .current_dir(folder)
        .env("JUPYTER_PATH", folder.join("jupyter"))
        .env("JUPYTER_RUNTIME_DIR", folder.join("runtime"))
        .env("JUPYTER_DATA_DIR", folder.join("data"))
        .env("JUPYTER_CONFIG_DIR", folder.join("config"))
        .env("TUNEBOOK_HISTORY", folder.join("history.db"))
        .env("TUNEBOOK_WORKER", executable("tunebook-worker"));
    command
}

/// A script of `tests/front_ends`.
pub fn script(name: &str) -> PathBuf {
    repository().join("tests/front_ends").join(name)
}

/// The path of Chromium.
pub fn chromium() -> OsString {
    std::env::var_os("TUNEBOOK_CHROMIUM")
        .expect("TUNEBOOK_CHROMIUM is not set: install Chromium (Debian: apt install chromium) and run `cargo verify`")
}
