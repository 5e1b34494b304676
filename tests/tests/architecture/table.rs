//! The table of crates in ARCHITECTURE.md.

/// A crate in the table.
#[derive(Debug, PartialEq)]
pub struct Row {
    /// Its folder, from the root of the repository.
    pub folder: String,
    /// Its name in Cargo.toml.
    pub package: String,
    /// The names in the last column: those of other rows, or of crates from the registry.
    pub may_depend_on: Vec<String>,
}

impl Row {
    /// The name by which the last column of the table means this crate: the last part of its folder.
    pub fn short_name(&self) -> &str {
        self.folder.rsplit('/').next().unwrap_or(&self.folder)
    }
}

/// Reads the table whose last column says what a crate may depend on. A row without a crate (`–`) is left out.
///
/// Panics if there is no such table or if two rows have the same short name.
pub fn rows(document: &str) -> Vec<Row> {
    let cells = |line: &str| -> Vec<String> {
        line.trim().trim_matches('|').split('|').map(|cell| cell.trim().to_string()).collect()
    };
    let is_head = |line: &&str| cells(line) == ["folder", "crate", "holds", "may depend on"];
    let table = document.lines().skip_while(|line| !is_head(line)).skip(2).take_while(|line| line.starts_with('|'));
    let mut rows: Vec<Row> = vec![];
    for line in table {
        let cells = cells(line);
        let [folder, package, _, may] = cells.as_slice() else { panic!("the row `{line}` has not four columns") };
        // The name of the crate may be followed by a remark.
        let Some(package) = package.split('`').nth(1) else { continue };
        let names = may.split([',', ';']).map(|name| name.trim().trim_matches('`'));
        let row = Row {
            folder: folder.trim_matches('`').into(),
            package: package.into(),
            // Several words are a remark, which allows nothing.
            may_depend_on: names.filter(|name| *name != "–" && !name.contains(' ')).map(String::from).collect(),
        };
        let name = row.short_name();
        assert!(rows.iter().all(|other| other.short_name() != name), "two rows are named `{name}`");
        rows.push(row);
    }
    assert!(!rows.is_empty(), "ARCHITECTURE.md has no table with the columns folder, crate, holds, may depend on");
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_with_remarks_and_without_crates() {
        let text = "# Title\n\n| a | b |\n| --- | --- |\n| c | d |\n\n| folder | crate | holds | may depend on |\n\
                    | --- | --- | --- | --- |\n| `kernel` | `tunebook-kernel` (binary `tunebook`) | cells, and more | study, `tch` |\n\
                    | `kernel/cell` | `tunebook-cell` | x | kernel; study, the built binaries |\n| `magics/study` | `study` | y | – |\n\
                    | `kernel/evcxr`, `kernel/zeromq` | – | z | – |\n\n| `after` | `after` | it | ends |\n";
        let row = |folder: &str, package: &str, may: &[&str]| Row {
            folder: folder.into(),
            package: package.into(),
            may_depend_on: may.iter().map(ToString::to_string).collect(),
        };
        let expected = [
            row("kernel", "tunebook-kernel", &["study", "tch"]),
            row("kernel/cell", "tunebook-cell", &["kernel", "study"]),
            row("magics/study", "study", &[]),
        ];
        assert_eq!(rows(text), expected);
        assert_eq!(expected[1].short_name(), "cell");
    }
}
