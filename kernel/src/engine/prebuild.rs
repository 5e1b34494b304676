//! Builds the crates that cells build upon before a notebook needs them: the process `tunebook prepare-cells`.

use super::errors::CellError;
use super::output::{Bundle, Cell};
use super::service::Engine;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tunebook_magics::Interrupt;
use tunebook_prebuilt::{BUILD_FOLDER, CellCrate, Prebuilt};

/// Has evcxr build the crate `tunebook` in a folder, first without and then with tensors, in the folder that the
/// environment variable [`BUILD_FOLDER`] names.
pub fn build_cell_crates(tunebook: &Path, libtorch: &Path) -> Result<(), CellError> {
    let folder = std::env::var_os(BUILD_FOLDER).map(PathBuf::from).unwrap_or_default();
    let lock = std::fs::read_to_string(folder.join("Cargo.lock")).unwrap_or_default();
    let prebuilt = Prebuilt { libtorch: Some(libtorch.into()), lock, sharing: None };
    let engine = Engine::start(move || Some(prebuilt));
    let light = CellCrate::without_tensors(tunebook.into());
    let tensors = light.clone().with_tensors();
    let cells = [
        (light, "tunebook::Bundle::new()"),
        (tensors, "tch::Tensor::zeros([2, 2], (tch::Kind::Float, tch::Device::Cpu))"),
    ];
    for (krate, code) in cells {
        engine.run(code, vec![krate], Arc::new(TerminalCell), &Interrupt::default())?;
    }
    Ok(())
}

/// A cell whose output goes to standard error.
struct TerminalCell;

impl Cell for TerminalCell {
    fn text(&self, text: &str, _: bool) {
        eprint!("{text}");
    }

    fn display(&self, data: Bundle, _: Value, _: Option<&str>, _: bool) {
        eprintln!("{}", data.get("text/plain").and_then(Value::as_str).unwrap_or(""));
    }

    fn clear(&self, _: bool) {}

    fn input(&self, _: &str, _: bool, _: &dyn Fn() -> bool) -> Option<String> {
        None
    }

    fn answer(&self, _: &Value) -> Result<Value, (String, String)> {
        Err(("NotAvailable".into(), "there is no kernel".into()))
    }
}
