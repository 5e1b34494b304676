//! The table of the Playbook's advice (`magics/PLAYBOOK.md`) has every row, and names only what exists.

use std::collections::BTreeSet;
use tunebook_tests::kernel;

/// The sections of the table with the number of their rows.
const SECTIONS: [(&str, usize); 9] =
    [("A", 5), ("B", 15), ("C", 4), ("D", 12), ("E", 14), ("F", 8), ("G", 11), ("H", 13), ("I", 15)];

fn table() -> String {
    let path = tunebook_tests::repository().join("magics/PLAYBOOK.md");
    std::fs::read_to_string(path).unwrap()
}

/// The rows: the ID, the advice, what there is today, and what shows it.
fn rows(table: &str) -> Vec<[String; 4]> {
    let is_row = |line: &&str| {
        let id = line.strip_prefix("| ").and_then(|line| line.split_once(" |")).map_or("", |(id, _)| id);
        id.starts_with(|c: char| c.is_ascii_uppercase()) && id[1..].parse::<u32>().is_ok()
    };
    let cells = |line: &str| {
        let mut cells = line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_string());
        [cells.next(), cells.next(), cells.next(), cells.next()].map(Option::unwrap_or_default)
    };
    table.lines().filter(is_row).map(cells).collect()
}

/// The texts in backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn every_row_is_there_once_and_says_what_there_is() {
    let table = table();
    let rows = rows(&table);
    let ids: Vec<String> = rows.iter().map(|row| row[0].clone()).collect();
    let expected: Vec<String> =
        SECTIONS.iter().flat_map(|(letter, count)| (1..=*count).map(move |i| format!("{letter}{i}"))).collect();
    assert_eq!(ids, expected);
    for [id, advice, today, _] in &rows {
        assert!(!advice.is_empty(), "{id}");
        assert!(["**yes**", "**partly**", "**no**"].iter().any(|word| today.starts_with(word)), "{id}: {today}");
        assert!(!today.starts_with("**partly**") || today.len() > 20, "{id} does not say what is there");
    }
}

#[tokio::test]
async fn the_magics_options_findings_and_lints_that_the_table_names_exist() {
    let (mut kernel, _folder) = kernel().await;
    let list = kernel.run_ok("%lsmagic").await;
    let magics: BTreeSet<String> = list
        .shown()
        .split(|c: char| !(c.is_alphanumeric() || c == '%'))
        .filter(|w| w.starts_with('%'))
        .map(|w| w.trim_start_matches('%').to_string())
        .collect();
    assert!(magics.contains("sweep") && magics.len() > 20, "{magics:?}");
    let reference = std::fs::read_to_string(tunebook_tests::repository().join("magics/REFERENCE.md")).unwrap();
    let mut mistakes = vec![];
    for [id, _, today, _] in rows(&table()) {
        for name in quoted(&today) {
            let word = name.split_whitespace().next().unwrap_or_default();
            let exists = match word.trim_start_matches('%') {
                magic if word.starts_with('%') => magics.contains(magic),
                // Options, findings, lints, fields and hyperparameters all stand in the reference.
                _ => reference.contains(word.split('(').next().unwrap_or(word)),
            };
            if !exists {
                mistakes.push(format!("{id}: `{name}`"));
            }
        }
    }
    assert!(mistakes.is_empty(), "the table names what does not exist: {mistakes:#?}");
}

#[test]
fn the_tests_and_notebooks_that_the_table_names_exist_and_what_is_there_has_a_test() {
    let root = tunebook_tests::repository();
    let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap_or_default();
    let notebooks: Vec<String> = std::fs::read_dir(root.join("notebooks"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".ipynb"))
        .collect();
    let mut mistakes = vec![];
    for [id, _, today, shown] in rows(&table()) {
        let test = quoted(&shown).next();
        let exists = match test.map(|name| name.split_once("::").unwrap_or((name, ""))) {
            Some(("pipeline", _)) => !read("magics/training/tests/pipeline.rs").is_empty(),
            Some(("calibration", file)) => !read(&format!("magics/analysis/tests/calibration/{file}.rs")).is_empty(),
            Some((file, function)) => read(&format!("tests/tests/{file}.rs")).contains(&format!("fn {function}(")),
            None => today.starts_with("**no**") || id == "I14",
        };
        let notebook = shown.split("notebook ").nth(1);
        let is_there = notebook.is_none_or(|number| notebooks.iter().any(|name| name.starts_with(number.trim())));
        if !exists || !is_there {
            mistakes.push(format!("{id}: {shown}"));
        }
    }
    assert!(mistakes.is_empty(), "these rows name what does not exist, or nothing: {mistakes:#?}");
}
