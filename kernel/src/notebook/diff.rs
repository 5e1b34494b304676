//! `tunebook diff`: compares the results that two notebooks hold.
//!
//! The results of magics are compared by the numbers in them, all else that a cell shows by its text. What tells about
//! the run and not about its result (times, dates, folders, the machine, and what depends on measured speed) is left
//! out.

use super::document::{Document, has_tag, is_code, joined, source};
use super::parameters::INJECTED;
use super::terminal::{print, say};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::ExitCode;

/// The MIME type of the result of a magic.
const RESULT: &str = "application/vnd.tunebook.v1+json";
/// Fields that differ between two runs of the same study.
const OF_THE_RUN: [&str; 15] = [
    "seconds",
    "seconds_range",
    "seconds_left",
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
/// The same for results of one kind only. All that `%throughput` and `%timeit` measure depends on speed and memory.
const OF_THE_RUN_IN: [(&str, &[&str]); 9] = [
    (
        "throughput",
        &[
            "device",
            "reliable",
            "reasons",
            "stale",
            "changed",
            "points",
            "largest_feasible",
            "smallest_too_large",
            "limited_by",
            "predicted_limit",
            "probes",
            "saturation",
            "saturates",
            "recommended",
            "verified",
            "step_time",
            "bottleneck",
        ],
    ),
    ("scaling", &["cost", "fastest", "cheapest", "fastest_set", "cheapest_set", "times_reliable", "payback"]),
    ("sweep", &["cost"]),
    ("plan", &["parallel", "cost", "cost_range"]),
    ("timeit", &["interval", "mean", "median", "standard_deviation", "samples", "loops", "outliers"]),
    ("devices", &["devices", "libtorch", "driver", "running"]),
    ("launch", &["launched", "study_created"]),
    ("launches", &["launched", "study_created"]),
    ("study", &["commit", "dirty", "time"]),
];
/// Lints that depend on what `%throughput` measured, or on how many devices there are.
const LINTS_OF_THE_RUN: [&str; 2] = ["batch-size-too-large", "bayes-parallel"];
/// Lines with times or folders, which magics print.
const LINES_OF_THE_RUN: [&str; 4] = ["CPU times: ", "Wall time: ", "Compile time: ", "Studies are in "];
/// Magics that print folders and nothing else.
const PRINT_FOLDERS: [&str; 2] = ["cd", "pwd"];
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
            say(&format!("tunebook: {error:#}"));
            return ExitCode::from(2);
        }
    };
    let Compared { cells, results, differences, largest, left_out } = compare(&a, &b, options.tolerance);
    let mut lines: Vec<String> = differences.iter().take(SHOWN).cloned().collect();
    if differences.len() > SHOWN {
        lines.push(format!("and {} more differences", differences.len() - SHOWN));
    }
    let same = if differences.is_empty() { "the same" } else { "not the same" };
    lines.push(format!("{cells} cells compared, {results} of them with a result of a magic: {same}."));
    if let Some((relative, place)) = largest {
        lines.push(format!("The largest relative difference of two numbers is {relative:.3e}, at {place}."));
    }
    if !left_out.is_empty() {
        let names = |names: &BTreeSet<String>| names.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        let kinds: Vec<String> = left_out.iter().map(|(kind, fields)| format!("{kind}: {}", names(fields))).collect();
        lines.push(format!("Left out, because it differs from run to run: {}.", kinds.join("; ")));
    }
    if let Err(error) = print(&lines.join("\n")) {
        say(&format!("tunebook: {error:#}"));
        return ExitCode::from(2);
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
    /// The fields that differ and were left out, by the kind of the result.
    left_out: BTreeMap<String, BTreeSet<String>>,
}

/// A cell with code, and its number among the cells with code of its notebook.
struct CodeCell<'a> {
    number: usize,
    source: String,
    cell: &'a Value,
}

impl CodeCell<'_> {
    /// How the cell is named in a difference.
    fn place(&self) -> String {
        let first: String = self.source.lines().next().unwrap_or_default().chars().take(40).collect();
        format!("cell {} ({first})", self.number)
    }
}

/// Returns the cells with code, without those in which a run set its parameters.
fn code_cells(document: &Document) -> Vec<CodeCell<'_>> {
    let numbered = (1..).zip(document.cells().iter().filter(|cell| is_code(cell)));
    let own = numbered.filter(|(_, cell)| !has_tag(cell, INJECTED));
    own.map(|(number, cell)| CodeCell { number, source: source(cell), cell }).collect()
}

/// Which cell of one notebook stands for which one of the other, as indices. None where the other has no such cell.
type Pair = (Option<usize>, Option<usize>);

/// Aligns cells by a longest common subsequence of their code. As many cells in both notebooks between two common ones
/// are the same cells with other code.
fn aligned(a: &[CodeCell], b: &[CodeCell]) -> Vec<Pair> {
    let common = common_lengths(a, b);
    let (mut pairs, mut only_a, mut only_b) = (vec![], vec![], vec![]);
    let (mut i, mut j) = (0, 0);
    while i < a.len() || j < b.len() {
        if i < a.len() && j < b.len() && a[i].source == b[j].source {
            close(&mut pairs, &mut only_a, &mut only_b);
            pairs.push((Some(i), Some(j)));
            (i, j) = (i + 1, j + 1);
        } else if j == b.len() || (i < a.len() && common[i + 1][j] >= common[i][j + 1]) {
            only_a.push(i);
            i += 1;
        } else {
            only_b.push(j);
            j += 1;
        }
    }
    close(&mut pairs, &mut only_a, &mut only_b);
    pairs
}

/// Adds the cells between two common ones, and empties both lists.
fn close(pairs: &mut Vec<Pair>, only_a: &mut Vec<usize>, only_b: &mut Vec<usize>) {
    let (a, b) = (std::mem::take(only_a), std::mem::take(only_b));
    if a.len() == b.len() {
        pairs.extend(a.into_iter().zip(b).map(|(i, j)| (Some(i), Some(j))));
        return;
    }
    pairs.extend(a.into_iter().map(|i| (Some(i), None)));
    pairs.extend(b.into_iter().map(|j| (None, Some(j))));
}

/// Returns the lengths of the longest common subsequences of the cells from an index of each notebook on.
fn common_lengths(a: &[CodeCell], b: &[CodeCell]) -> Vec<Vec<usize>> {
    let mut lengths = vec![vec![0_usize; b.len() + 1]; a.len() + 1];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            lengths[i][j] = match a[i].source == b[j].source {
                true => lengths[i + 1][j + 1] + 1,
                false => lengths[i + 1][j].max(lengths[i][j + 1]),
            };
        }
    }
    lengths
}

fn compare(a: &Document, b: &Document, tolerance: f64) -> Compared {
    let (a, b) = (code_cells(a), code_cells(b));
    let mut compared = Compared::default();
    for pair in aligned(&a, &b) {
        match pair {
            (Some(i), Some(j)) => compared.cell(&a[i], &b[j], tolerance),
            (Some(i), None) => compared.add(&a[i].place(), "only the first notebook has this cell"),
            (None, Some(j)) => compared.add(&b[j].place(), "only the second notebook has this cell"),
            (None, None) => {}
        }
    }
    compared
}

impl Compared {
    fn add(&mut self, place: &str, what: &str) {
        self.differences.push(format!("{place}: {what}"));
    }

    fn cell(&mut self, a: &CodeCell, b: &CodeCell, tolerance: f64) {
        self.cells += 1;
        let place = a.place();
        if a.source != b.source {
            self.add(&place, "the code differs");
        }
        let (of_a, of_b) = (results(a.cell), results(b.cell));
        self.results += usize::from(!of_a.is_empty() && !of_b.is_empty());
        match (of_a.len(), of_b.len()) {
            (n, m) if n == m => {}
            (_, 0) => self.add(&place, "only the first notebook has a result"),
            (0, _) => self.add(&place, "only the second notebook has a result"),
            (n, m) => self.add(&place, &format!("the first notebook has {n} results, the second {m}")),
        }
        for (n, (x, y)) in (1..).zip(of_a.iter().zip(&of_b)) {
            let place = if of_a.len() > 1 { format!("{place}, result {n}") } else { place.clone() };
            let (kind, left_out) = (x["kind"].as_str().unwrap_or("result"), left_out(x));
            Comparison { place: &place, kind, tolerance, left_out, compared: self }.values("", x, y);
        }
        let has_report = !of_a.is_empty() || !of_b.is_empty();
        for ((what, x), (_, y)) in texts(a, has_report).iter().zip(&texts(b, has_report)) {
            if x != y {
                self.add(&place, &format!("{what} differs: {}", first_difference(x, y)));
            }
        }
    }
}

/// The comparison of two results.
struct Comparison<'a> {
    place: &'a str,
    /// The kind of the result.
    kind: &'a str,
    tolerance: f64,
    /// Further fields that are left out.
    left_out: &'static [&'static str],
    compared: &'a mut Compared,
}

impl Comparison<'_> {
    fn values(&mut self, path: &str, a: &Value, b: &Value) {
        match (a, b) {
            (Value::Object(x), Value::Object(y)) => {
                let mut names: Vec<&String> = x.keys().chain(y.keys()).collect();
                names.sort_unstable();
                names.dedup();
                for name in names {
                    if OF_THE_RUN.contains(&name.as_str()) || self.left_out.contains(&name.as_str()) {
                        if a[name.as_str()] != b[name.as_str()] {
                            self.leave_out(name);
                        }
                        continue;
                    }
                    let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    self.values(&path, &a[name.as_str()], &b[name.as_str()]);
                }
            }
            (Value::Array(x), Value::Array(y)) if items(x).count() == items(y).count() => {
                if x.len() != y.len() {
                    let of_the_run = x.iter().chain(y).filter_map(lint_of_the_run);
                    of_the_run.for_each(|lint| self.leave_out(lint));
                }
                for (i, (x, y)) in items(x).zip(items(y)).enumerate() {
                    self.values(&format!("{path}[{i}]"), x, y);
                }
            }
            (Value::Number(x), Value::Number(y)) => {
                let (Some(x), Some(y)) = (x.as_f64(), y.as_f64()) else { return };
                self.numbers(path, x, y);
            }
            _ if a != b => {
                let what = format!("{path} is {} and {}", short(&a.to_string()), short(&b.to_string()));
                self.compared.add(self.place, &what);
            }
            _ => {}
        }
    }

    /// Notes that a field or a lint differs, and is left out.
    fn leave_out(&mut self, name: &str) {
        self.compared.left_out.entry(self.kind.into()).or_default().insert(name.into());
    }

    fn numbers(&mut self, path: &str, x: f64, y: f64) {
        let relative = if x == y { 0.0 } else { (x - y).abs() / x.abs().max(y.abs()) };
        if relative > self.compared.largest.as_ref().map_or(0.0, |(largest, _)| *largest) {
            self.compared.largest = Some((relative, format!("{path} of {}", self.place)));
        }
        if relative > self.tolerance {
            self.compared.add(self.place, &format!("{path} is {x} and {y}"));
        }
    }
}

/// The items of a list, without lints that belong to the run.
fn items(list: &[Value]) -> impl Iterator<Item = &Value> {
    list.iter().filter(|item| lint_of_the_run(item).is_none())
}

/// The id of a lint that belongs to the run. None for any other value.
fn lint_of_the_run(item: &Value) -> Option<&str> {
    item["id"].as_str().filter(|id| LINTS_OF_THE_RUN.contains(id))
}

/// The fields of a result that are left out because of its kind.
fn left_out(result: &Value) -> &'static [&'static str] {
    OF_THE_RUN_IN.iter().find(|(kind, _)| result["kind"] == *kind).map_or(&[], |(_, names)| *names)
}

/// Returns the results of magics that a cell shows, in their order.
fn results(cell: &Value) -> Vec<&Value> {
    outputs(cell).filter_map(|output| output["data"].get(RESULT)).collect()
}

fn outputs(cell: &Value) -> impl Iterator<Item = &Value> {
    cell["outputs"].as_array().into_iter().flatten()
}

/// Returns the texts that a cell shows, each with what it is. The order in which a program's two streams arrive is not
/// always the same, so each is compared for itself.
///
/// With a report, which `has_report` tells, or after an error in a magic, other displays show how it proceeded.
fn texts(of: &CodeCell, has_report: bool) -> [(&'static str, String); 5] {
    let magics: Vec<&str> = of.source.lines().filter_map(magic_name).collect();
    let failed = outputs(of.cell).any(|output| output["output_type"] == "error");
    let skips_displays = has_report || (failed && !magics.is_empty());
    let mut texts = ["what it prints (stdout)", "what it prints (stderr)", "the error", "the value", "the display"]
        .map(|what| (what, String::new()));
    for output in outputs(of.cell).filter(|output| output["data"].get(RESULT).is_none()) {
        let shown = joined(&output["data"]["text/plain"]);
        let (at, text) = match output["output_type"].as_str() {
            Some("stream") => (usize::from(output["name"] == "stderr"), joined(&output["text"])),
            Some("error") => (2, format!("{}: {}\n", joined(&output["ename"]), joined(&output["evalue"]))),
            Some("execute_result") => (3, shown + "\n"),
            _ if skips_displays || shown.is_empty() || is_build_line(&shown) => continue,
            _ => (4, shown + "\n"),
        };
        texts[at].1 += &text;
    }
    if magics.iter().any(|name| PRINT_FOLDERS.contains(name)) {
        texts[0].1.clear();
    }
    if !magics.is_empty() {
        texts[0].1 = without_lines_of_the_run(&texts[0].1);
    }
    texts
}

/// The name of the magic in a line of a cell.
fn magic_name(line: &str) -> Option<&str> {
    let rest = line.trim_start().strip_prefix('%')?.trim_start_matches('%');
    rest.split(|c: char| !(c.is_alphanumeric() || c == '_')).next()
}

/// Whether a display is the line that says how long cargo built crates.
fn is_build_line(text: &str) -> bool {
    text.starts_with("Dependencies are there (")
        || (text.starts_with("Built ") && text.contains(" crate") && text.trim_end().ends_with(" s"))
}

fn without_lines_of_the_run(text: &str) -> String {
    let is_of_the_run = |line: &str| LINES_OF_THE_RUN.iter().any(|start| line.starts_with(start));
    text.split_inclusive('\n').filter(|line| !is_of_the_run(line)).collect()
}

/// The first lines that differ.
fn first_difference(a: &str, b: &str) -> String {
    let line = |text: &str| short(text.lines().next().unwrap_or_default());
    match a.lines().zip(b.lines()).find(|(a, b)| a != b) {
        _ if a.is_empty() => format!("only the second notebook has it: `{}`", line(b)),
        _ if b.is_empty() => format!("only the first notebook has it: `{}`", line(a)),
        Some((a, b)) => format!("`{}` and `{}`", short(a), short(b)),
        None => "one has more lines".into(),
    }
}

fn short(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn cell(source: &str, outputs: Value) -> Value {
        json!({ "cell_type": "code", "metadata": {}, "source": source, "outputs": outputs })
    }

    fn result(content: Value) -> Value {
        json!({ "output_type": "display_data", "data": { RESULT: content, "text/plain": "3.1 s" } })
    }

    fn stream(name: &str, text: &str) -> Value {
        json!({ "output_type": "stream", "name": name, "text": text })
    }

    fn document(cells: &[Value]) -> Document {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("n.ipynb");
        std::fs::write(&path, json!({ "cells": cells, "metadata": {}, "nbformat": 4 }).to_string()).unwrap();
        Document::read(&path).unwrap()
    }

    fn differences(a: &[Value], b: &[Value]) -> Vec<String> {
        compare(&document(a), &document(b), 0.0).differences
    }

    /// The differences of one cell with these outputs.
    fn of_outputs(source: &str, a: Value, b: Value) -> Vec<String> {
        differences(&[cell(source, a)], &[cell(source, b)])
    }

    #[test]
    fn all_results_and_texts_of_a_cell_are_compared() {
        let axis = |x: f64| result(json!({ "kind": "axis", "x": x }));
        let both = |first: f64, text: &str| json!([axis(first), axis(2.0), stream("stdout", text)]);
        assert!(of_outputs("%axis s a", both(1.0, "t"), both(1.0, "t")).is_empty());
        let found = of_outputs("%axis s a", both(1.0, "t"), both(1.5, "t"));
        assert_eq!(found, ["cell 1 (%axis s a), result 1: x is 1 and 1.5"]);
        let found = of_outputs("%axis s a", both(1.0, "t"), both(1.0, "u"));
        assert_eq!(found, ["cell 1 (%axis s a): what it prints (stdout) differs: `t` and `u`"]);
        let one = json!([axis(1.0), stream("stdout", "t")]);
        assert!(of_outputs("%axis s a", both(1.0, "t"), one)[0].contains("has 2 results, the second 1"));
        let error = |text: &str| json!([axis(1.0), { "output_type": "error", "ename": "Panic", "evalue": text }]);
        assert!(of_outputs("f()", error("a"), error("b"))[0].contains("the error differs: `Panic: a` and `Panic: b`"));
        let value = |text: &str| {
            let data = json!({ "text/plain": text });
            json!([axis(1.0), { "output_type": "execute_result", "data": data }])
        };
        assert!(of_outputs("%axis s a\nx", value("1"), value("2"))[0].contains("the value differs"));
        let only = of_outputs("f()", json!([stream("stderr", "warned\n")]), json!([]));
        assert!(only[0].contains("(stderr) differs: only the first notebook has it: `warned`"), "{only:?}");
        // Two streams arrive in any order.
        let streams = |names: [&str; 2]| json!([stream(names[0], names[0]), stream(names[1], names[1])]);
        assert!(of_outputs("f()", streams(["stdout", "stderr"]), streams(["stderr", "stdout"])).is_empty());
    }

    #[test]
    fn texts_that_belong_to_the_run_are_left_out() {
        let timed = |seconds: u32, text: &str| {
            json!([stream("stdout", &format!("{text}\nCPU times: user {seconds} s\nWall time: {seconds} s\n"))])
        };
        assert!(of_outputs("%time f()", timed(1, "a"), timed(2, "a")).is_empty());
        assert_eq!(of_outputs("%time f()", timed(1, "a"), timed(2, "b")).len(), 1);
        assert_eq!(of_outputs("f()", timed(1, "a"), timed(2, "a")).len(), 1, "a program may print such a line too");
        let display = |text: &str| json!([{ "output_type": "display_data", "data": { "text/plain": text } }]);
        assert!(of_outputs(":dep x\nf()", display("Built 3 crates in 2.5 s"), json!([])).is_empty());
        assert_eq!(of_outputs("f()", display("3"), display("4")).len(), 1);
        assert!(of_outputs("%pwd", json!([stream("stdout", "/a")]), json!([stream("stdout", "/b")])).is_empty());
        // What a live chart leaves beside its report.
        let live = |text: &str| json!([result(json!({ "kind": "sweep" })), display(text)[0]]);
        assert!(of_outputs("%%sweep s", live("3 s"), live("4 s")).is_empty());
    }

    #[test]
    fn what_depends_on_speed_is_left_out_where_it_is_measured() {
        let same = |a: Value, b: Value| of_outputs("%magic", json!([result(a)]), json!([result(b)])).is_empty();
        let throughput = |workload: &str, rate: f64| {
            json!({ "kind": "throughput", "workload": workload, "recommended": rate, "largest_feasible": rate,
                "points": [{ "gain": rate, "interval": [rate, rate], "peak_memory_bytes": rate }],
                "series": [{ "label": "fp32", "points": [{ "gain": rate }] }],
                "bottleneck": { "expected_gain": rate, "compute_examples_per_second": rate } })
        };
        assert!(same(throughput("w", 1.0), throughput("w", 2.0)));
        assert!(!same(throughput("w", 1.0), throughput("v", 1.0)));
        let scaling = |steps: u32, cost: f64| {
            let points = json!([{ "steps": steps, "cost": cost }]);
            json!({ "kind": "scaling", "points": points, "fastest": cost, "payback": cost })
        };
        assert!(same(scaling(1, 1.0), scaling(1, 2.0)) && !same(scaling(1, 1.0), scaling(2, 1.0)));
        let plan = |lints: &[&str]| {
            let lints: Vec<Value> = lints.iter().map(|id| json!({ "id": id })).collect();
            json!({ "kind": "plan", "lints": lints })
        };
        assert!(same(plan(&["batch-size-too-large", "steps-tuned"]), plan(&["steps-tuned"])));
        assert!(!same(plan(&["batch-size-too-large", "steps-tuned"]), plan(&[])));
        let isolation = |end: f64| json!({ "kind": "isolation", "points": [{ "interval": [0, end] }] });
        assert!(!same(isolation(1.0), isolation(2.0)));
    }

    #[test]
    fn what_differs_and_is_left_out_is_told() {
        let scaling = |cost: f64, seconds: f64| {
            let points = json!([{ "steps": 5, "cost": cost, "seconds": seconds }]);
            json!([result(json!({ "kind": "scaling", "points": points, "fastest": 7 }))])
        };
        let plan = |lints: Value| json!([result(json!({ "kind": "plan", "lints": lints, "parallel": 2 }))]);
        let a = [cell("%scaling", scaling(1.0, 2.0)), cell("%plan", plan(json!([{ "id": "bayes-parallel" }])))];
        let b = [cell("%scaling", scaling(3.0, 4.0)), cell("%plan", plan(json!([])))];
        let Compared { differences, left_out, .. } = compare(&document(&a), &document(&b), 0.0);
        assert!(differences.is_empty(), "{differences:?}");
        let of = |names: &[&str]| names.iter().map(|name| name.to_string()).collect::<BTreeSet<_>>();
        let expected = [("plan", of(&["bayes-parallel"])), ("scaling", of(&["cost", "seconds"]))];
        assert_eq!(left_out, BTreeMap::from(expected.map(|(kind, names)| (kind.to_string(), names))));
        assert!(compare(&document(&a), &document(&a), 0.0).left_out.is_empty());
        let launches = |time: &str| json!([result(json!({ "kind": "launches", "launches": [{ "launched": time }] }))]);
        assert!(of_outputs("%launch", launches("now"), launches("then")).is_empty());
    }

    #[test]
    fn cells_are_aligned_by_their_code() {
        let said = |source: &str, text: &str| cell(source, json!([stream("stdout", text)]));
        let mut injected = said("// Parameters\nlet lr = 1.0;", "");
        injected["metadata"] = json!({ "tags": [INJECTED] });
        let cells = [said("a", "1"), said("b", "2"), said("c", "3")];
        let [a, b, c] = cells.clone();
        assert!(differences(&cells, &[a.clone(), injected, b.clone(), c.clone()]).is_empty());
        let added = differences(&cells, &[a.clone(), said("new", "x"), b.clone(), c.clone()]);
        assert_eq!(added, ["cell 2 (new): only the second notebook has this cell"]);
        let removed = differences(&cells, &[a.clone(), c.clone()]);
        assert_eq!(removed, ["cell 2 (b): only the first notebook has this cell"]);
        let edited = differences(&cells, &[a, said("other", "5"), c]);
        assert_eq!(
            edited,
            ["cell 2 (b): the code differs", "cell 2 (b): what it prints (stdout) differs: `2` and `5`"]
        );
    }
}
