//! The example on the help page of each magic works.

use tunebook_tests::kernel;

/// These run after all others, in this order: they read what another example wrote, or change the kernel.
const LAST: [&str; 4] = ["load", "cd", "remove", "reset"];

/// The code of the example on a help page.
fn example(page: &str) -> &str {
    let after = page.split_once("\nAn example").unwrap_or_else(|| panic!("no example: {page}")).1;
    let block = after.split_once("```\n").expect("a block of code").1;
    block.split_once("\n```").expect("the end of the block").0
}

#[tokio::test]
async fn the_example_of_each_magic_works() {
    let (mut kernel, _folder) = kernel().await;
    let listed = kernel.run_ok("%lsmagic").await;
    // `%sweep`, with `%%sweep` beside it, and so on.
    let words = listed.shown();
    let mut names: Vec<&str> = words.split_whitespace().filter_map(|word| word.strip_prefix('%')).collect();
    names.iter_mut().for_each(|name| *name = name.trim_start_matches('%').trim_end_matches(','));
    names.retain(|name| !name.is_empty() && name.chars().all(char::is_lowercase));
    let mut seen = std::collections::BTreeSet::new();
    names.retain(|name| seen.insert(*name));
    names.sort_by_key(|name| LAST.iter().position(|last| last == name).map_or(0, |at| at + 1));
    assert!(names.len() >= 45 && names[0] == "sweep", "{names:?}");
    for name in names {
        let page = kernel.run_ok(&format!("%{name}?")).await;
        let code = example(page.page_markdown());
        let started = std::time::Instant::now();
        kernel.run_ok(code).await;
        println!("%{name}: {:.1} s", started.elapsed().as_secs_f64());
    }
}
