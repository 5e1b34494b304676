//! The book in `docs`: its pages and links are there, its cells run, and its page of the magics is up to date.

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use tunebook_tests::kernel;

fn book() -> PathBuf {
    tunebook_tests::repository().join("docs/src").canonicalize().expect("the folder of the book")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The Markdown files below a folder, by their path from the root of the book.
fn pages(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(pages(&path));
        } else if path.extension().is_some_and(|ending| ending == "md") {
            found.insert(path.strip_prefix(book()).expect("a page of the book").to_string_lossy().into_owned());
        }
    }
    found
}

/// The targets of the links of a page.
fn links(text: &str) -> Vec<String> {
    let links = Parser::new_ext(text, Options::ENABLE_TABLES).filter_map(|event| match event {
        Event::Start(Tag::Link { dest_url, .. }) => Some(dest_url.into_string()),
        _ => None,
    });
    links.collect()
}

/// The fenced blocks of a page: the word after the fence, and the text.
fn blocks(text: &str) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = vec![];
    let mut inside = false;
    for event in Parser::new(text) {
        match event {
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(language))) => {
                found.push((language.into_string(), String::new()));
                inside = true;
            }
            Event::End(TagEnd::CodeBlock) => inside = false,
            Event::Text(text) if inside => found.last_mut().expect("a block").1 += &text,
            _ => {}
        }
    }
    found
}

#[test]
fn every_page_is_in_the_summary_and_every_link_leads_to_a_page() {
    let book = book();
    let all = pages(&book);
    let listed: BTreeSet<String> = links(&read(&book.join("SUMMARY.md"))).into_iter().collect();
    let there: BTreeSet<String> = all.iter().filter(|page| *page != "SUMMARY.md").cloned().collect();
    assert_eq!(listed, there);
    let mut mistakes = vec![];
    for page in &all {
        let path = book.join(page);
        let text = read(&path);
        let folder = path.parent().expect("a folder");
        let included = text.split("{{#include ").skip(1).map(|rest| rest.split([':', '}']).next().unwrap_or_default());
        let targets = links(&text).into_iter().filter(|target| !target.starts_with("http") && !target.starts_with('#'));
        for target in included.map(str::to_string).chain(targets) {
            let file = target.split('#').next().unwrap_or_default();
            if !folder.join(file).is_file() {
                mistakes.push(format!("{page}: {target}"));
            }
        }
    }
    assert!(mistakes.is_empty(), "these lead nowhere: {mistakes:#?}");
}

/// The page is written by `TUNEBOOK_WRITE_DOCS=1 cargo test --release --workspace --test product docs::`.
#[tokio::test]
async fn the_page_of_the_magics_is_what_their_help_says() {
    let (mut kernel, _folder) = kernel().await;
    let list = kernel.run_ok("%lsmagic").await.shown();
    // A row of the table: `| %sweep, %%sweep | what it does |`.
    let rows = list.lines().filter_map(|line| line.strip_prefix("| %")?.split_once(" |"));
    let names: Vec<&str> =
        rows.map(|(forms, _)| forms.split(", ").last().unwrap_or(forms).trim_matches(['%', ' '])).collect();
    assert!(names.len() > 30, "{names:?}");
    let mut page = String::from(
        "# The magics\n\nThis page is what `%NAME?` shows in a notebook. [Everything](everything.md) says more about \
         each of them.\n",
    );
    for name in names {
        let help = kernel.run_ok(&format!("%{name}?")).await;
        assert!(!help.page_markdown().is_empty(), "`%{name}?` shows no help");
        page += &format!("\n## {name}\n\n{}\n", help.page_markdown().trim_end());
    }
    let path = book().join("reference/magics.md");
    if std::env::var_os("TUNEBOOK_WRITE_DOCS").is_some() {
        std::fs::write(&path, &page).expect("the page can be written");
    }
    assert!(read(&path) == page, "docs/src/reference/magics.md is out of date: see the comment of this test");
}

/// A block without a language is a cell and must run, and one marked `error` is a cell that must fail. A block of
/// Python begins with the name of its file.
#[tokio::test]
async fn the_cells_of_the_book_run() {
    let mut ran = 0;
    for page in pages(&book()) {
        if page.starts_with("reference/") || page == "SUMMARY.md" {
            continue;
        }
        let blocks = blocks(&read(&book().join(&page)));
        if !blocks.iter().any(|(language, _)| language.is_empty()) {
            continue;
        }
        let (mut kernel, folder) = kernel().await;
        for (language, text) in blocks {
            match language.as_str() {
                "" => drop(kernel.run_ok(text.trim_end()).await),
                "error" => drop(kernel.run_error(text.trim_end()).await),
                "python" => {
                    let name = text.lines().next().and_then(|line| line.strip_prefix("# ")).expect("`# FILE`");
                    std::fs::write(folder.path().join(name), &text).expect("the file can be written");
                }
                "text" | "rust" => {}
                other => panic!("{page}: a block has the language `{other}`"),
            }
            ran += 1;
        }
    }
    assert!(ran > 20, "only {ran} cells ran");
}
