//! The table of situations that people bring names tests that exist.

#[test]
fn each_situation_names_a_test_that_exists() {
    let root = tunebook_tests::repository().join("tests");
    let text = std::fs::read_to_string(root.join("people.md")).unwrap();
    let rows: Vec<&str> = text.lines().filter(|line| line.starts_with("| ") && line.contains("::")).collect();
    assert!(rows.len() > 25, "{} rows", rows.len());
    for named in rows.iter().flat_map(|row| row.split('`')).filter(|part| part.contains("::")) {
        let (file, test) = named.split_once("::").unwrap();
        let source = std::fs::read_to_string(root.join(format!("tests/{file}.rs"))).unwrap_or_default();
        assert!(source.contains(&format!("async fn {test}()")), "there is no test {named}");
    }
}
