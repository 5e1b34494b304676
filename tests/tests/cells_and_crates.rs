//! Crates in Rust cells: which versions a notebook gets, what their macros make, and cells that await.

use serde_json::json;
use std::path::Path;
use std::process::Command;
use tunebook_tests::{Kernel, Registry, executable, kernel, own_crate};

/// A registry with three versions of `leaf` and a crate that needs one of them.
fn registry(folder: &Path) -> Registry {
    let registry = Registry::new(folder);
    for version in ["0.6.0", "0.6.1", "0.8.1"] {
        publish(&registry, "leaf", version, "");
    }
    publish(&registry, "twig", "1.0.0", "leaf = \"0.8\"");
    registry
}

/// Publishes a crate that says its version.
fn publish(registry: &Registry, name: &str, version: &str, dependencies: &str) {
    let library =
        format!("pub fn version() -> &'static str {{ {version:?} }}\n#[derive(Debug)]\npub struct Leaf(pub u8);");
    registry.publish(name, version, dependencies, &library);
}

async fn started(registry: &Registry, folder: &Path) -> Kernel {
    Kernel::start_as(folder, Command::new(executable("tunebook")), &registry.environment()).await
}

/// What `%deps` shows.
async fn deps(kernel: &mut Kernel) -> (String, serde_json::Value) {
    let answer = kernel.run_ok("%deps").await;
    let text = answer.first("display_data").content["data"]["text/plain"].as_str().unwrap().to_string();
    (text, answer.result()["dependencies"].clone())
}

#[tokio::test]
async fn a_notebook_gets_the_newest_versions_and_not_those_of_another_one() {
    let folder = tempfile::tempdir().unwrap();
    let registry = registry(folder.path());
    let mut old = started(&registry, folder.path()).await;
    assert_eq!(old.run_ok(":dep leaf = \"=0.6.0\"\nleaf::version()").await.value(), "\"0.6.0\"");
    old.kill();
    let mut fitting = started(&registry, folder.path()).await;
    assert_eq!(fitting.run_ok(":dep leaf = \"0.6\"\nleaf::version()").await.value(), "\"0.6.1\"");
    fitting.kill();
    let mut newest = started(&registry, folder.path()).await;
    assert_eq!(newest.run_ok(":dep leaf\nleaf::version()").await.value(), "\"0.8.1\"");
    newest.run_ok("let leaf = leaf::Leaf(7);").await;

    // What is published later does not change the versions of this session.
    publish(&registry, "leaf", "0.8.2", "");
    publish(&registry, "leaf", "0.9.0", "");
    assert_eq!(
        newest.run_ok(":dep twig = { version = \"1\", features = [\"more\"] }\ntwig::version()").await.value(),
        "\"1.0.0\""
    );
    assert_eq!(newest.run_ok("(leaf::version(), leaf.0)").await.value(), "(\"0.8.1\", 7)");
    let error = newest.run_error(":dep leaf = \"7\"").await;
    assert!(error.contains("leaf"), "{error}");
    assert_eq!(newest.run_ok("(leaf::version(), leaf.0)").await.value(), "(\"0.8.1\", 7)");

    let (lines, listed) = deps(&mut newest).await;
    assert_eq!(lines, ":dep leaf = \"=0.8.1\"\n:dep twig = { version = \"=1.0.0\", features = [\"more\"] }");
    assert_eq!(listed[1], json!({ "name": "twig", "version": "1.0.0", "features": ["more"], "source": "crates.io" }));
    assert!(newest.run_ok("%deps --full").await.result()["lock"].as_str().unwrap().contains("name = \"twig\""));

    // Only a crate that needs another version changes it, and the cell says so.
    publish(&registry, "needle", "1.0.0", "leaf = \"0.8.2\"");
    let said = newest.run_ok(":dep needle = \"1\"").await.text("stderr");
    assert!(said.contains("`leaf` is now ") && said.contains(" instead of 0.8.1"), "{said}");

    // The lines bring the same versions in another notebook; without them, it gets the newest ones.
    let mut pinned = started(&registry, folder.path()).await;
    assert_eq!(pinned.run_ok(&format!("{lines}\nleaf::version()")).await.value(), "\"0.8.1\"");
    assert_eq!(deps(&mut pinned).await, (lines, listed));
    let mut later = started(&registry, folder.path()).await;
    assert_eq!(later.run_ok(":dep leaf\nleaf::version()").await.value(), "\"0.9.0\"");
}

#[tokio::test]
async fn prepared_versions_are_used_where_they_fit() {
    let folder = tempfile::tempdir().unwrap();
    let registry = registry(folder.path());
    let mut first = started(&registry, folder.path()).await;
    first.run_ok("1 + 1").await;
    let source = "source = \"registry+https://github.com/rust-lang/crates.io-index\"";
    let lock = format!("version = 4\n\n[[package]]\nname = \"leaf\"\nversion = \"0.6.0\"\n{source}\n");
    let prepared = registry.prepared_versions();
    assert_eq!(prepared.len(), 1, "{prepared:?}");
    std::fs::write(&prepared[0], &lock).unwrap();
    let mut fitting = started(&registry, folder.path()).await;
    assert_eq!(fitting.run_ok(":dep leaf = \"0.6\"\nleaf::version()").await.value(), "\"0.6.0\"");
    // A version that another crate needs is no reason to miss the newest one.
    let mut newest = started(&registry, folder.path()).await;
    assert_eq!(newest.run_ok(":dep leaf = \"*\"\nleaf::version()").await.value(), "\"0.8.1\"");
    // It stays when other crates are added.
    assert_eq!(newest.run_ok(":dep twig = \"1\"\nleaf::version()").await.value(), "\"0.8.1\"");
    assert_eq!(std::fs::read_to_string(&prepared[0]).unwrap(), lock, "no notebook changes what is prepared");
}

/// A crate with a type in a private module, and one with a procedural macro that makes its values.
const GRID: &str = "mod base {\n    pub mod matrix {\n        #[derive(Debug)]\n        pub struct Matrix<T, const N: usize>(pub [T; N]);\n    }\n    \
    #[derive(Debug)]\n    pub struct View<'a>(pub &'a str);\n}\npub use base::matrix::Matrix;\npub use base::View;\n\
    #[macro_export]\nmacro_rules! flags { ($(#[$m:meta])* $v:vis struct $n:ident: $t:ty { $($body:tt)* }) => \
    { $(#[$m])* $v struct $n { pub bits: $t } impl $n { pub const ALL: $n = $n { bits: 3 }; } } }\n";
const MACROS: &str = "use proc_macro::TokenStream;\n#[proc_macro]\npub fn matrix(_: TokenStream) -> TokenStream {\n    \
    \"::grid::Matrix([1.5f64, 2.5])\".parse().unwrap()\n}\n#[proc_macro]\npub fn view(_: TokenStream) -> TokenStream \
    {\n    \"::std::vec![::grid::View(\\\"seen\\\")]\".parse().unwrap()\n}\n";

#[tokio::test]
async fn what_macros_of_crates_make_is_kept() {
    let (mut kernel, folder) = kernel().await;
    let grid = own_crate(folder.path(), "grid", GRID, None);
    let macros = own_crate(folder.path(), "grid_macros", MACROS, None);
    let manifest = folder.path().join("grid_macros/Cargo.toml");
    let text = std::fs::read_to_string(&manifest).unwrap() + "\n[lib]\nproc-macro = true\n";
    std::fs::write(manifest, text).unwrap();
    kernel.run_ok(&format!(":dep grid = {grid}\n:dep grid_macros = {macros}")).await;
    let answer = kernel.run_ok("let m = grid_macros::matrix!();\nlet seen = grid_macros::view!();").await;
    assert_eq!(answer.text("stderr"), "");
    assert_eq!(kernel.run_ok("(m.0[1], seen[0].0)").await.value(), "(2.5, \"seen\")");
    assert_eq!(kernel.run_ok("grid_macros::matrix!()").await.value(), "Matrix([1.5, 2.5])");
    assert_eq!(kernel.run_ok("_.0[0]").await.value(), "1.5", "the last value");
    // Items that a macro of a crate makes.
    for (all, value) in [("", "3"), ("    // again\n", "3")] {
        let code =
            format!("use grid::flags;\nflags! {{\n{all}    #[derive(Debug)]\n    pub struct Flags: u32 {{ A }}\n}}");
        kernel.run_ok(&code).await;
        assert_eq!(kernel.run_ok("Flags::ALL.bits").await.value(), value);
    }
    kernel.run_ok("let all = Flags::ALL;").await;
    assert_eq!(kernel.run_ok("all").await.value(), "Flags { bits: 3 }");
}

#[tokio::test]
async fn several_cells_await_with_all_features_of_tokio() {
    let (mut kernel, _folder) = kernel().await;
    let answer = kernel.run_ok("async fn six() -> i32 { 6 }\nsix().await + 1").await;
    assert_eq!(answer.value(), "7");
    assert!(answer.text("stderr").contains("\"rt\" and \"rt-multi-thread\""), "{}", answer.text("stderr"));
    kernel.run_ok(":dep tokio = { version = \"1\", features = [\"full\"] }").await;
    for number in 1..4 {
        let code = format!(
            "let task = tokio::spawn(async {{\n    tokio::time::sleep(std::time::Duration::from_millis(2)).await;\n    \
             {number}\n}});\ntask.await?"
        );
        assert_eq!(kernel.run_ok(&code).await.value(), number.to_string());
    }
    let code = "let (sender, mut receiver) = tokio::sync::mpsc::channel::<i32>(1);\nlet task = tokio::spawn(async move {\n    \
        for n in 0..5 { sender.send(n).await.unwrap(); }\n});\nlet mut sum = 0;\nwhile let Some(n) = receiver.recv().await { sum += n; }\nsum";
    assert_eq!(kernel.run_ok(code).await.value(), "10");
    assert_eq!(kernel.run_ok("tokio::task::spawn_blocking(|| 8).await?").await.value(), "8");
    kernel.run_ok("let later = tokio::spawn(async { 9 });").await;
    assert_eq!(kernel.run_ok("later.await?").await.value(), "9", "alone in a cell it awaits");
    let error = kernel.run_error("tokio::spawn(async { panic!(\"within a task\") }).await?").await;
    assert!(error.contains("within a task"), "{error}");
    assert_eq!(kernel.run_ok("sum").await.value(), "10", "variables stay");
    let code = "#[tokio::main]\nasync fn main() -> Result<(), String> {\n    println!(\"{}\", six().await);\n    \
                Err(\"no more\".into())\n}";
    let answer = kernel.run(code).await;
    assert_eq!(answer.text("stdout"), "6\n", "a program with a runtime of its own");
    assert!(answer.reply["evalue"].as_str().is_some_and(|said| said.contains("no more")), "{answer:?}");
    let said = kernel.run_ok("let endless = tokio::spawn(async { loop { tokio::task::yield_now().await } });").await;
    assert!(said.text("stderr").contains("let endless: tokio::task::JoinHandle<()>"), "{said:?}");
}
