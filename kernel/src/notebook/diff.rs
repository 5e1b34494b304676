//! `tunebook diff`: compares the results that two notebooks hold.
//!
//! A cell that shows a result of a magic is compared by the numbers in it, any other one by its text. What tells about
//! the run and not about its result (times, dates, folders, the machine) is left out.

use super::document::{Document, is_code, joined, source};
use serde_json::Value;
use std::path::PathBuf;
use std::process::ExitCode;

/// The MIME type of the result of a magic.
const RESULT: &str = "application/vnd.tunebook.v1+json";
/// Fields that differ between two runs of the same study.
const OF_THE_RUN: [&str; 14] = [
    "seconds",
    "seconds_range",
    "trial_seconds",
    "seconds_per_step",
    "examples_per_second",
    "created",
    "started",
    "environment",
    "path",
    "free_bytes",
    "utilization",
    "uses",
    "interval_of_seconds",
    "bytes",
];
/// So many differences are printed.
const SHOWN: usize = 50;

/// What is compared.
#[derive(Clone, Debug)]
pub struct DiffOptions {
    pub a: PathBuf,
    pub b: PathBuf,
    /// Numbers whose relative difference is at most this are the same.
    pub tolerance: f64,
}

/// Compares two notebooks. The exit status is 0 if their results are the same, 1 if they differ, and 2 if they cannot
/// be compared.
pub fn diff(options: &DiffOptions) -> ExitCode {
    let read = || Ok::<_, anyhow::Error>([Document::read(&options.a)?, Document::read(&options.b)?]);
    let [a, b] = match read() {
        Ok(both) => both,
        Err(error) => {
            eprintln!("tunebook: {error:#}");
            return ExitCode::from(2);
        }
    };
    let Compared { cells, results, differences, largest } = compare(&a, &b, options.tolerance);
    for difference in differences.iter().take(SHOWN) {
        println!("{difference}");
    }
    if differences.len() > SHOWN {
        println!("and {} more differences", differences.len() - SHOWN);
    }
    let same = if differences.is_empty() { "the same" } else { "not the same" };
    println!("{cells} cells compared, {results} of them with a result of a magic: {same}.");
    if let Some((relative, place)) = largest {
        println!("The largest relative difference of two numbers is {relative:.3e}, at {place}.");
    }
    if differences.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) }
}

#[derive(Default)]
struct Compared {
    cells: usize,
    results: usize,
    differences: Vec<String>,
    /// The largest relative difference of two numbers, and where it is.
    largest: Option<(f64, String)>,
}

fn compare(a: &Document, b: &Document, tolerance: f64) -> Compared {
    let code =
        |document: &Document| -> Vec<Value> { document.cells().iter().filter(|cell| is_code(cell)).cloned().collect() };
    let (a, b) = (code(a), code(b));
    let mut compared = Compared::default();
    if a.len() != b.len() {
        compared.differences.push(format!("the first notebook has {} cells of code, the second {}", a.len(), b.len()));
    }
    for (i, (a, b)) in a.iter().zip(&b).enumerate() {
        compared.cells += 1;
        let first = source(a).lines().next().unwrap_or_default().chars().take(40).collect::<String>();
        let place = format!("cell {} ({first})", i + 1);
        if source(a) != source(b) {
            compared.differences.push(format!("{place}: the code differs"));
        }
        match (result(a), result(b)) {
            (Some(a), Some(b)) => {
                compared.results += 1;
                compared.values(&place, "", &a, &b, tolerance);
            }
            (None, None) => {
                let (a, b) = (text(a), text(b));
                if a != b {
                    let line = a.lines().zip(b.lines()).find(|(a, b)| a != b);
                    let shown = line.map_or_else(
                        || "one has more lines".to_string(),
                        |(a, b)| format!("`{}` and `{}`", short(a), short(b)),
                    );
                    compared.differences.push(format!("{place}: the output differs: {shown}"));
                }
            }
            (a, _) => {
                let only = if a.is_some() { "first" } else { "second" };
                compared.differences.push(format!("{place}: only the {only} notebook has a result"));
            }
        }
    }
    compared
}

impl Compared {
    fn values(&mut self, place: &str, path: &str, a: &Value, b: &Value, tolerance: f64) {
        match (a, b) {
            (Value::Object(x), Value::Object(y)) => {
                let mut names: Vec<&String> = x.keys().chain(y.keys()).collect();
                names.sort_unstable();
                names.dedup();
                for name in names.into_iter().filter(|name| !OF_THE_RUN.contains(&name.as_str())) {
                    let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    self.values(place, &path, &a[name.as_str()], &b[name.as_str()], tolerance);
                }
            }
            (Value::Array(x), Value::Array(y)) if x.len() == y.len() => {
                for (i, (x, y)) in x.iter().zip(y).enumerate() {
                    self.values(place, &format!("{path}[{i}]"), x, y, tolerance);
                }
            }
            (Value::Number(x), Value::Number(y)) => {
                let (Some(x), Some(y)) = (x.as_f64(), y.as_f64()) else { return };
                let relative = if x == y { 0.0 } else { (x - y).abs() / x.abs().max(y.abs()) };
                if relative > self.largest.as_ref().map_or(0.0, |(largest, _)| *largest) {
                    self.largest = Some((relative, format!("{path} of {place}")));
                }
                if relative > tolerance {
                    self.differences.push(format!("{place}: {path} is {x} and {y}"));
                }
            }
            _ if a != b => {
                self.differences.push(format!(
                    "{place}: {path} is {} and {}",
                    short(&a.to_string()),
                    short(&b.to_string())
                ));
            }
            _ => {}
        }
    }
}

/// Returns the last result of a magic that a cell shows.
fn result(cell: &Value) -> Option<Value> {
    let outputs = cell["outputs"].as_array()?;
    outputs.iter().rev().find_map(|output| output["data"].get(RESULT)).cloned()
}

/// Returns the text that a cell shows.
fn text(cell: &Value) -> String {
    let of = |output: &Value| match output["output_type"].as_str() {
        Some("stream") => joined(&output["text"]),
        Some("error") => format!("{}: {}\n", joined(&output["ename"]), joined(&output["evalue"])),
        _ => joined(&output["data"]["text/plain"]) + "\n",
    };
    cell["outputs"].as_array().into_iter().flatten().map(of).collect()
}

fn short(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_string(),
    }
}
