//! Rust cells of Tunebook against those of evcxr_jupyter. The two kernels take turns on one machine.

use crate::{Line, median, python};
use anyhow::{Context, Result, bail};
use serde_json::json;
use std::path::Path;
use tunebook_tests::executable;

/// Measures both kernels.
pub fn lines() -> Result<Vec<Line>> {
    println!("rust: Rust cells, three sessions of each kernel …");
    let peer = std::env::var("EVCXR_JUPYTER").context("EVCXR_JUPYTER is not set: run `cargo measure`")?;
    if !Path::new(&peer).exists() {
        bail!("{peer} is not there: run `cargo measure rust`, which installs it");
    }
    let kernels = json!({
        "ours": [executable("tunebook"), "kernel", "--connection-file", "{connection_file}"],
        "evcxr": [peer, "--control_file", "{connection_file}"],
    });
    let results = python("rust_cells.py", &[&kernels.to_string(), "3"])?;
    let line = |what: &str, key: &str, target: Option<f64>| {
        let figure = |kernel: &str| median(&results[kernel][key]);
        let (scale, unit) = if key.starts_with("memory") { (1e-6, "MB") } else { (1.0, "s") };
        Line {
            what: what.into(),
            ours: scale * figure("ours"),
            peer: "evcxr_jupyter 0.22".into(),
            theirs: Some(scale * figure("evcxr")),
            unit,
            target,
        }
    };
    Ok(vec![
        line("process start to kernel_info", "start", Some(0.03)),
        line("process start to the result of 1 + 1", "first_expression", Some(0.8)),
        line("first let, 8 s after the start of either", "first_let", Some(0.6)),
        line("later expression", "expression", Some(0.7)),
        line("later let", "let", Some(0.7)),
        line("later let of an iterator's result", "let_inferred", Some(0.7)),
        line("println!", "println", None),
        line("println! of a variable of 2 GB", "hoard", None),
        line("a function anew", "function", None),
        line("x + N beside 40 variables", "many_variables", Some(0.5)),
        line("completion", "complete", Some(0.5)),
        line("inspection", "inspect", None),
        line("completion while a cell runs", "complete_busy", None),
        line("memory before rust-analyzer is warm", "memory_cold", None),
        line("memory after", "memory_warm", Some(1.0)),
    ])
}
