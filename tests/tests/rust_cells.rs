//! Rust cells: their errors and warnings, what stays defined from cell to cell, completion and inspection,
//! dependencies, interrupts, and a kernel on a machine where something is missing.

use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use tunebook_tests::{
    Kernel, PATIENCE, cell, command_of, eventually, executable, kernel, own_crate, processor_seconds, without_colours,
};

/// Writes a crate with the function `seven` and maybe a build script. Returns the line of a cell that depends on it.
fn crate_with_seven(folder: &Path, name: &str, build: Option<&str>) -> String {
    format!(":dep {name} = {}", own_crate(folder, name, "pub fn seven() -> i32 { 7 }", build))
}

/// Whether an error shows a line with this piece of code and a mark in the next line stands under the piece.
fn underlines(error: &str, part: &str) -> bool {
    let lines: Vec<&str> = error.lines().collect();
    let Some(row) = lines.iter().position(|line| line.contains(" │ ") && line.contains(part)) else { return false };
    let from = lines[row].split(part).next().map_or(0, |before| before.chars().count());
    let below: Vec<char> = lines.get(row + 1).map_or(vec![], |line| line.chars().collect());
    (from..from + part.chars().count()).any(|at| below.get(at).is_some_and(|mark| "─┬".contains(*mark)))
}

/// Whether an error names files or programs that belong to the kernel and not to the user.
fn names_internals(error: &str) -> bool {
    ["evcxr", "run_user_code", "src/lib.rs", "RUST_BACKTRACE", "tunebook_runner", "thread '"]
        .iter()
        .any(|part| error.contains(part))
}

#[tokio::test]
async fn a_panic_and_a_failed_question_mark_show_the_users_line_and_cost_no_variable() {
    let (mut kernel, _folder) = kernel().await;
    let state = "let mut numbers = vec![1, 2, 3];\nlet name = String::from(\"kept\");\n\
                 fn at(numbers: &[i32], i: usize) -> i32 { numbers[i] }";
    kernel.run_ok(state).await;
    let cases = [
        ("numbers[17];", "index out of bounds", "Panic"),
        ("None::<i32>.expect(\"there was none\");", "there was none", "Panic"),
        ("assert_eq!(numbers.len(), 5, \"as many\");", "left: 4", "Panic"),
        ("panic!(\"over {}\\nlines\", 2);", "over 2", "Panic"),
        ("\"x\".parse::<i32>()?;", "invalid digit", "Error"),
        ("std::fs::read(\"/nonexistent\")?;", "No such file", "Error"),
        ("Err::<(), String>(\"in words\".into())?;", "in words", "Error"),
    ];
    for (line, said, kind) in cases {
        let code =
            format!("let before = 1;\nnumbers.push(before);\nstd::mem::drop(name);\n{line}\nprintln!(\"never\");");
        let answer = kernel.run(&code).await;
        let error = answer.error();
        assert_eq!((answer.status(), answer.reply["ename"].as_str()), ("error", Some(kind)), "{line}: {error}");
        assert!(error.contains(said) && answer.text("stdout").is_empty(), "{line}: {error}");
        assert!(error.contains("line 4") && error.contains(line), "{line}: {error}");
        assert!(!names_internals(&error) && error.lines().count() < 12, "{line}: {error}");
        assert!(answer.first("error").content["traceback"].to_string().contains("\\u001b["), "it has colours: {error}");
        assert_eq!(answer.text("stderr"), "", "{line}");
        let look = kernel.run_ok("println!(\"{numbers:?} {name}\");").await;
        assert_eq!(look.text("stdout"), "[1, 2, 3] kept\n", "after {line}");
        assert!(kernel.run_error("before").await.contains("E0425"));
    }
    // The panic can be in a function of an earlier cell.
    let error = kernel.run_error("let x = 1;\nat(&numbers, 9)").await;
    assert!(error.contains("index out of bounds") && !names_internals(&error), "{error}");
}

#[tokio::test]
async fn a_compile_error_shows_the_users_code_underlined_with_the_help() {
    let (mut kernel, _folder) = kernel().await;
    // The code is not ASCII and stands behind other lines. The mark must stand at the right place all the same.
    for (code, line, part, said) in [
        ("let größe: i32 = \"ä\";", "1 │ let größe", "\"ä\"", "mismatched types"),
        ("let a = 1;\n// ein Grüß\nlet größe: i32 = \"日本\";", "3 │ let größe", "\"日本\"", "mismatched types"),
        ("let a = 1;\nlet b = undefined_name + a;", "2 │ let b", "undefined_name", "E0425"),
        ("fn größer(ä: i32) -> i32 {\n    ä + \"ö\".len()\n}", "2 │     ä + ", "\"ö\".len()", "E0308"),
    ] {
        let error = kernel.run_error(code).await;
        assert!(error.contains(said) && error.contains(line), "{code}: {error}");
        let number = line.split_once(' ').unwrap().0;
        assert!(error.contains(&format!("[ cell:{number}:")), "the head names the same line: {error}");
        assert!(underlines(&error, part), "{code}: {error}");
        assert!(!names_internals(&error), "{error}");
    }
    // The advice of the compiler is shown.
    let error = kernel.run_error("prinltn!(\"x\");").await;
    assert!(error.contains("println"), "{error}");
    let error = kernel.run_error("fn f() {\n    let x = 1;\n    x += 1;\n}").await;
    assert!(error.contains("E0384") && error.contains("mut x"), "{error}");
    let error = kernel.run_error("let text = String::new();\nlet moved = text;\ntext.len()").await;
    assert!(error.contains("E0382") && error.contains("moved"), "{error}");
    // Of two errors both are shown.
    let error = kernel.run_error("fn f() -> i32 { \"one\" }\nfn g() -> i32 { \"two\" }").await;
    assert!(error.contains("\"one\"") && error.contains("\"two\""), "{error}");
    // A syntax error points at its place.
    let error = kernel.run_error("let a = 1;\nlet b = (1 + ;\nlet c = 2;").await;
    assert!(error.contains("2 │ let b"), "{error}");
    assert_eq!(kernel.run_ok("1 + 1").await.value(), "2");
}

#[tokio::test]
async fn warnings_about_a_cell_are_shown_once() {
    let (mut kernel, _folder) = kernel().await;
    let answer = kernel.run_ok("fn area(width: f64) -> f64 {\n    let größe = 3;\n    width\n}").await;
    let warning = without_colours(&answer.text("stderr"));
    assert!(warning.contains("unused variable: `größe`") && warning.contains("2 │     let größe"), "{warning}");
    assert!(underlines(&warning, "größe"), "{warning}");
    for code in ["1 + 1", "area(2.0)", "fn other() {}"] {
        assert_eq!(kernel.run_ok(code).await.text("stderr"), "", "{code}");
    }
    let answer = kernel.run_ok("let x = 5;\nfn careless() {\n    \"1\".parse::<i32>();\n}").await;
    let warning = without_colours(&answer.text("stderr"));
    assert!(warning.contains("must be used") && !warning.contains("größe") && !warning.contains("`x`"), "{warning}");
}

#[tokio::test]
async fn a_cell_runs_also_if_a_variable_of_it_cannot_be_kept_and_a_warning_says_why() {
    let (mut kernel, _folder) = kernel().await;
    let code = "let text = String::from(\"abc\");\nlet part = &text[1..];\nprintln!(\"{part}\");";
    let answer = kernel.run_ok(code).await;
    assert_eq!(answer.text("stdout"), "bc\n");
    let said = answer.text("stderr");
    assert!(said.contains("`part`") && said.contains("reference") && !said.contains("`text`"), "{said}");
    assert_eq!(kernel.run_ok("println!(\"{text}\");").await.text("stdout"), "abc\n");
    assert!(kernel.run_error("part").await.contains("E0425"));

    let answer = kernel.run_ok("let step = 2;\nlet add = move |x: i32| x + step;\nprintln!(\"{}\", add(1));").await;
    assert_eq!(answer.text("stdout"), "3\n");
    let said = answer.text("stderr");
    assert!(said.contains("`add`") && said.contains("closure") && said.contains("Box<dyn Fn"), "{said}");
    assert_eq!(kernel.run_ok("step").await.value(), "2");
    // The advice of the warning works.
    kernel.run_ok("let add: Box<dyn Fn(i32) -> i32> = Box::new(move |x| x + step);").await;
    assert_eq!(kernel.run_ok("add(40)").await.value(), "42");
}

#[tokio::test]
async fn types_are_inferred_and_definitions_can_change() {
    let (mut kernel, _folder) = kernel().await;
    kernel.run_ok("let v = vec![1, 2].into_iter().map(|x| x * 2).collect::<Vec<_>>();").await;
    kernel
        .run_ok("let counts = v.iter().map(|x| (x.to_string(), *x)).collect::<std::collections::BTreeMap<_, _>>();")
        .await;
    kernel.run_ok("let pair = (v.len(), Some(\"text\"));\nlet (first, mut second) = (1u8, 'c');").await;
    kernel.run_ok("second = 'd';").await;
    let shown = kernel.run_ok("println!(\"{v:?} {counts:?} {pair:?} {first} {second}\");").await.text("stdout");
    assert_eq!(shown, "[2, 4] {\"2\": 2, \"4\": 4} (2, Some(\"text\")) 1 d\n");
    // The value of a cell.
    assert_eq!(kernel.run_ok("v.clone()").await.value(), "[2, 4]");
    assert!(kernel.run_ok("v.len();").await.all("execute_result").is_empty());
    // A variable, a function and a type can be defined anew.
    kernel.run_ok("let v = \"now text\";").await;
    assert_eq!(kernel.run_ok("v").await.value(), "\"now text\"");
    for (body, value) in [("1", "1"), ("2", "2")] {
        kernel.run_ok(&format!("fn number() -> i32 {{ {body} }}")).await;
        assert_eq!(kernel.run_ok("number()").await.value(), value);
    }
    kernel.run_ok("#[derive(Debug)] struct Point { x: i32 }").await;
    assert_eq!(kernel.run_ok("Point { x: 1 }").await.value(), "Point { x: 1 }");
    kernel.run_ok("#[derive(Debug, Clone)] struct Point { x: i32, y: i32 }\nlet point = Point { x: 1, y: 2 };").await;
    assert_eq!(kernel.run_ok("point.clone()").await.value(), "Point { x: 1, y: 2 }");
    kernel
        .run_ok(
            "trait Area { fn area(&self) -> i32; }\nimpl Area for Point { fn area(&self) -> i32 { self.x * self.y } }",
        )
        .await;
    kernel.run_ok("macro_rules! twice { ($e:expr) => { 2 * $e } }").await;
    assert_eq!(kernel.run_ok("twice!(point.area())").await.value(), "4");
}

#[tokio::test]
async fn cells_can_await() {
    let (mut kernel, _folder) = kernel().await;
    kernel.run_ok("async fn later(x: i32) -> Result<i32, String> { if x > 0 { Ok(x + 1) } else { Err(\"too small\".into()) } }").await;
    kernel.run_ok("let y = later(41).await?;").await;
    assert_eq!(kernel.run_ok("y").await.value(), "42");
    assert!(kernel.run_error("later(0).await?;").await.contains("too small"));
    assert_eq!(kernel.run_ok("println!(\"{y}\");").await.text("stdout"), "42\n");
}

async fn completed(kernel: &mut Kernel, code: &str) -> Value {
    let id = kernel.send("complete_request", json!({ "code": code, "cursor_pos": code.chars().count() })).await;
    kernel.reply(&id).await.content
}

async fn hovered(kernel: &mut Kernel, code: &str) -> String {
    let request = json!({ "code": code, "cursor_pos": code.chars().count(), "detail_level": 0 });
    let id = kernel.send("inspect_request", request).await;
    let found = kernel.reply(&id).await.content;
    assert_eq!(found["found"], true, "{code}: {found}");
    assert!(!found["data"]["text/plain"].as_str().unwrap_or("").is_empty(), "{code}: {found}");
    found["data"]["text/markdown"].as_str().unwrap_or_else(|| panic!("{code}: {found}")).to_string()
}

#[tokio::test]
async fn completion_inspection_and_completeness_are_never_blocked_by_a_cell() {
    let (mut kernel, folder) = kernel().await;
    kernel.run_ok("%%writefile train.sh\necho \"{\\\"step\\\": 1, \\\"loss\\\": $1}\"").await;
    let sweep = "%%sweep tried --trials 2 --sampler grid\ncommand sh train.sh {lr}\nscientific lr in [0.5, 0.25]\nminimize loss";
    kernel.run_ok(sweep).await;
    kernel.run_ok("let numbers = vec![1, 2, 3];\n/// Doubles a number.\nfn twice(x: i32) -> i32 { 2 * x }").await;
    // The cell ends only after everything was answered.
    let busy = "while !std::path::Path::new(\"answered\").exists() { std::thread::sleep(std::time::Duration::from_millis(5)) }";
    let running = kernel.send("execute_request", cell(busy)).await;
    kernel.published_of_kind("execute_input").await;
    for (code, text, kind) in [
        ("numbers.is_emp", "is_empty", "function"),
        ("let ä = 1; twi", "twice", "function"),
        ("numb", "numbers", "instance"),
        ("%iso", "%isolate", "magic"),
        ("%%swe", "%%sweep", "magic"),
        ("%sweep digits_mlp --tri", "--trials", "option"),
        ("%isolate tri", "tried", "study"),
        ("%isolate tried l", "lr", "hyperparameter"),
    ] {
        let found = completed(&mut kernel, code).await;
        let types = found["metadata"]["_jupyter_types_experimental"].as_array().unwrap();
        let one = types.iter().find(|one| one["text"].as_str().is_some_and(|found| found.starts_with(text)));
        let one = one.unwrap_or_else(|| panic!("{code}: {found}"));
        assert_eq!(one["type"], kind, "{code}: {found}");
        assert!(found["matches"].as_array().unwrap().contains(&one["text"]), "{code}: {found}");
        let end = code.chars().count();
        assert_eq!(
            (found["cursor_end"].as_u64(), one["end"].as_u64()),
            (Some(end as u64), Some(end as u64)),
            "{code}: {found}"
        );
    }
    let found = completed(&mut kernel, "twic").await;
    let signature = found["metadata"]["_jupyter_types_experimental"][0]["signature"].as_str().unwrap_or("");
    assert!(signature.contains("i32"), "{found}");
    for (code, part) in [
        ("twice", "Doubles a number."),
        ("twice", "fn twice(x: i32) -> i32"),
        ("numbers", "Vec<i32>"),
        ("numbers.is_empty", "contains no elements"),
        ("%isolate", "Isolation plot"),
    ] {
        let markdown = hovered(&mut kernel, code).await;
        assert!(markdown.contains(part), "{code}: {markdown}");
    }
    assert!(hovered(&mut kernel, "twice").await.contains("```rust"), "code stands in a block");
    for (code, indent) in [
        ("fn f() {", Some("    ")),
        ("for i in 0..3 {\n    if i > 1 {", Some("        ")),
        ("let x = vec![", Some("    ")),
        ("let x = 1", Some("")),
        ("let x = 1;", None),
        ("twice(1)", None),
    ] {
        let id = kernel.send("is_complete_request", json!({ "code": code })).await;
        let found = kernel.reply(&id).await.content;
        match indent {
            Some(_) => assert_eq!(found["status"], "incomplete", "{code}"),
            None => assert_eq!(found["status"], "complete", "{code}"),
        }
        // The indentation behind `let x = 1` is not checked here.
        if let Some(indent) = indent.filter(|indent| !indent.is_empty()) {
            assert_eq!(found["indent"], indent, "{code}");
        }
    }
    std::fs::write(folder.path().join("answered"), "").unwrap();
    assert_eq!(kernel.reply(&running).await.content["status"], "ok");
}

/// A cell that the compiler needs hours for.
const ENDLESS: &str = "#[allow(long_running_const_eval)]\nconst LONG: u64 = { let mut i = 0u64; while i < 100_000_000_000 { i += 1; } \
                       i };\nprintln!(\"{LONG}\");";

/// Waits until a compiler below the kernel has computed for a while, so that it is in the middle of its work.
async fn compiling(kernel: &Kernel) {
    let computes = || kernel.children("rustc").into_iter().any(|pid| processor_seconds(pid) > 0.5);
    assert!(eventually(PATIENCE, computes).await, "the cell is compiled");
}

/// Interrupts a request that is being compiled. It must end soon and cost nothing.
async fn interrupted(kernel: &mut Kernel, id: &str) {
    let asked = Instant::now();
    kernel.control("interrupt_request", json!({})).await;
    let answer = kernel.answer(id).await;
    assert_eq!(answer.reply["ename"], "Interrupted", "{answer:#?}");
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    println!("a compile ended {:?} after the interrupt", asked.elapsed());
    assert!(eventually(Duration::from_secs(5), || kernel.children("rustc").is_empty()).await, "compilers are left");
    assert_eq!(kernel.run_ok("println!(\"{kept:?} {}\", twice(21));").await.text("stdout"), "[1, 2] 42\n");
}

#[tokio::test]
async fn an_interrupt_ends_a_compile_and_costs_nothing() {
    let (mut kernel, folder) = kernel().await;
    kernel.run_ok("let kept = vec![1, 2];\nfn twice(x: i32) -> i32 { 2 * x }").await;
    let id = kernel.send("execute_request", cell(ENDLESS)).await;
    compiling(&kernel).await;
    interrupted(&mut kernel, &id).await;

    // The build script of this crate never ends.
    let script = format!(
        "fn main() {{ std::fs::write({:?}, std::process::id().to_string()).unwrap(); \
         std::thread::sleep(std::time::Duration::from_secs(600)); }}",
        folder.path().join("pid")
    );
    let dependency = crate_with_seven(folder.path(), "endless", Some(&script));
    let id = kernel.send("execute_request", cell(&format!("{dependency}\nendless::seven()"))).await;
    let pid = || std::fs::read_to_string(folder.path().join("pid")).ok().and_then(|text| text.parse::<i32>().ok());
    assert!(eventually(PATIENCE, || pid().is_some()).await, "the build script runs");
    interrupted(&mut kernel, &id).await;
    let ended = || pid().is_some_and(|pid| command_of(pid).is_empty());
    assert!(eventually(Duration::from_secs(5), ended).await, "the build script is left");
}

#[tokio::test]
async fn a_dependency_shows_its_progress_and_is_built_once_for_all_kernels() {
    let (mut kernel, folder) = kernel().await;
    let answer =
        kernel.run_ok(&format!("{}\nat_hand::seven()", crate_with_seven(folder.path(), "at_hand", None))).await;
    assert_eq!(answer.value(), "7");
    let shown = answer.first("display_data");
    let last = answer.all("update_display_data").pop().unwrap_or(shown);
    assert!(last.content["data"]["text/plain"].as_str().is_some_and(|text| text.contains("Built")), "{answer:#?}");
    assert_eq!(last.content["transient"], shown.content["transient"], "one display that is updated");
    // A cell without a new dependency shows no progress of one.
    assert!(kernel.run_ok("at_hand::seven() + 1").await.all("display_data").is_empty());

    for which in ["a first kernel", "a second kernel"] {
        let mut kernel = Kernel::start(folder.path()).await;
        kernel.run_ok("1 + 1").await;
        let started = Instant::now();
        let code = ":dep serde_json = \"1\"\nserde_json::json!({ \"a\": [1, 2] }).to_string()";
        assert_eq!(kernel.run_ok(code).await.value(), "\"{\\\"a\\\":[1,2]}\"");
        let took = started.elapsed();
        println!("`:dep serde_json` in {which}: {took:?}");
        assert!(which == "a first kernel" || took < Duration::from_secs(10), "{took:?}");
        // What was built is shared after the cell.
        kernel.run_ok("1 + 1").await;
    }
}

#[tokio::test]
async fn kernels_do_not_wait_for_each_others_compilers() {
    let folder = tempfile::tempdir().unwrap();
    let (mut one, mut two) = (Kernel::start(folder.path()).await, Kernel::start(folder.path()).await);
    for kernel in [&mut one, &mut two] {
        kernel.run_ok("let x: i32 = 41;").await;
    }
    let id = one.send("execute_request", cell(ENDLESS)).await;
    compiling(&one).await;
    assert_eq!(two.run_ok("x + 1").await.value(), "42");
    one.control("interrupt_request", json!({})).await;
    assert_eq!(one.answer(&id).await.reply["ename"], "Interrupted");
}

#[tokio::test]
async fn without_a_toolchain_the_error_says_what_is_missing_and_magics_work() {
    let (folder, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let bin = home.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    for name in ["sh", "echo", "ls"] {
        let found =
            ["/bin", "/usr/bin"].map(|place| PathBuf::from(place).join(name)).into_iter().find(|path| path.exists());
        std::os::unix::fs::symlink(found.unwrap(), bin.join(name)).unwrap();
    }
    let mut command = Command::new(executable("tunebook"));
    for name in ["CARGO", "CARGO_HOME", "RUSTC", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN"] {
        command.env_remove(name);
    }
    let environment = [("PATH", bin.to_str().unwrap()), ("HOME", home.path().to_str().unwrap())];
    let mut kernel = Kernel::start_as(folder.path(), command, &environment).await;
    assert_eq!(kernel.request("kernel_info_request", json!({})).await.reply["status"], "ok");
    for _ in 0..2 {
        let error = kernel.run_error("1 + 1").await;
        assert!(
            error.starts_with("NoToolchain: ") && error.contains("cargo") && error.contains("rustup.rs"),
            "{error}"
        );
    }
    kernel.run_ok("%lsmagic").await;
    assert_eq!(
        kernel.run_ok("%env GREETING=hello\n!echo $GREETING").await.text("stdout").lines().last(),
        Some("hello")
    );
    kernel.run_ok("%%writefile train.sh\necho '{\"step\": 1, \"loss\": 0.5}'").await;
    let sweep = "%%sweep tried --trials 1\ncommand sh train.sh {lr}\nnuisance lr ~ uniform(0, 1)\nminimize loss";
    assert_eq!(kernel.run_ok(sweep).await.result()["trials"]["complete"], 1);
    // Nothing was installed.
    for name in [".cargo", ".rustup"] {
        assert!(!home.path().join(name).exists(), "{name}");
    }
}

#[tokio::test]
async fn without_the_sources_of_the_standard_library_cells_run_and_nothing_is_installed() {
    // A mount namespace hides the sources from the kernel, on systems that allow one.
    if !Command::new("unshare").args(["-rm", "true"]).status().is_ok_and(|status| status.success()) {
        return println!("not tested: this system allows no namespaces");
    }
    let hide = "for place in /usr/src /usr/lib/rustlib/src /usr/local/lib/rustlib/src \"${RUSTUP_HOME:-$HOME/.rustup}\"/toolchains/*/lib/rustlib; \
                do [ -d \"$place\" ] || continue; case $place in */toolchains/*) place=$place/src; [ -d \"$place\" ] || continue;; esac; \
                mount -t tmpfs none \"$place\" || exit 1; done; exec \"$0\" \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["-rm", "sh", "-c", hide]).arg(executable("tunebook")).env_remove("RUST_SRC_PATH");
    let folder = tempfile::tempdir().unwrap();
    let mut kernel = Kernel::start_as(folder.path(), command, &[]).await;
    let answer = kernel.run_ok("let x: i32 = 40;").await;
    let said = answer.text("stderr");
    assert!(said.contains("not installed") && said.contains("rustup component add rust-src"), "{said}");
    assert_eq!(kernel.run_ok("x + 2").await.value(), "42");
    let answer = kernel.run_ok("let v = vec![1, 2];\nv.len()").await;
    assert_eq!((answer.value(), answer.text("stderr").as_str()), ("2", ""));
    completed(&mut kernel, "v.le").await;
    let look = "!ls \"${RUSTUP_HOME:-$HOME/.rustup}\"/toolchains/*/lib/rustlib/src 2>/dev/null; true";
    assert!(!kernel.run_ok(look).await.text("stdout").contains("rust\n"), "the sources were installed");
}

#[tokio::test]
async fn offline_the_error_for_an_unknown_crate_says_what_to_do_and_costs_nothing() {
    let (mut kernel, folder) = kernel().await;
    drop(kernel);
    // The first kernel is told to be offline. The second one has a network that does not answer.
    let closed = [("CARGO_HTTP_PROXY", "http://127.0.0.1:9"), ("CARGO_NET_RETRY", "0")];
    for environment in [&[("CARGO_NET_OFFLINE", "true")][..], &closed] {
        kernel = Kernel::start_as(folder.path(), Command::new(executable("tunebook")), environment).await;
        kernel.run_ok("let kept = vec![1, 2];\nfn twice(x: i32) -> i32 { 2 * x }").await;
        let answer = kernel.run(":dep tunebook_no_such_crate = \"0.1\"\nlet lost = 1;").await;
        let error = answer.error();
        assert_eq!(answer.status(), "error");
        assert!(error.contains("tunebook_no_such_crate"), "{error}");
        let says = ["offline", "network", "connect"].iter().any(|word| error.to_lowercase().contains(word));
        assert!(says && !names_internals(&error), "{error}");
        let advises = ["path =", "vendor", "when there is", "once"].iter().any(|word| error.contains(word));
        assert!(advises, "what to do without a network: {error}");
        assert_eq!(kernel.run_ok("println!(\"{kept:?} {}\", twice(21));").await.text("stdout"), "[1, 2] 42\n");
        let dependency = crate_with_seven(folder.path(), "at_hand", None);
        assert_eq!(kernel.run_ok(&format!("{dependency}\nat_hand::seven()")).await.value(), "7");
    }
}

#[tokio::test]
async fn an_underscore_is_the_value_of_the_last_expression() {
    let (mut kernel, _folder) = kernel().await;
    let error = kernel.run_error("_ + 1").await;
    assert!(error.starts_with("NoLastValue"), "{error}");
    for (code, value) in [
        ("20 + 1", "21"),
        ("_ * 2", "42"),
        // A cell without a value does not change it, and neither does a cell whose value is a variable.
        ("let numbers = vec![3, 1, 2];\nnumbers", "[3, 1, 2]"),
        ("vec![_, 5]", "[42, 5]"),
        ("_.iter().max()", "Some(42)"),
        ("_.len()", "2"),
        ("struct Own;\nimpl Own { fn value(&self) -> Vec<String> { vec![\"a\".into()] } }\nOwn.value()", "[\"a\"]"),
    ] {
        assert_eq!(kernel.run_ok(code).await.value(), value, "{code}");
    }
    assert_eq!(kernel.run_ok("println!(\"{}\", _.len())").await.text("stdout"), "1\n");
    for code in ["panic!(\"{:?}\", _)", "std::process::exit(3)", "\"x\".parse::<i32>()?", "undefined"] {
        kernel.run_error(code).await;
        assert_eq!(kernel.run_ok("_").await.value(), "[\"a\"]", "after {code}");
    }
    // It is no variable of the user. An underscore in a pattern or type is not the last value.
    let known = kernel.run_ok("%whos").await.result().to_string();
    assert!(known.contains("numbers") && !known.contains('\u{2cd}'), "{known}");
    assert_eq!(kernel.run_ok("let v: Vec<_> = (0..2).map(|_| 7).collect();\nlet _ = 1;\nv").await.value(), "[7, 7]");
    // Code that a magic generates does not change it.
    kernel.run_ok("%timeit --samples 3 v.len()").await;
    assert_eq!(kernel.run_ok("_").await.value(), "[\"a\"]");
    // Using it by value moves it.
    kernel.run_ok("drop(_)").await;
    assert!(kernel.run_error("_").await.starts_with("NoLastValue"));
}

#[tokio::test]
async fn a_plotly_figure_of_a_cell_is_drawn_or_says_what_it_needs() {
    let (mut kernel, _folder) = kernel().await;
    for (kind, page) in [("bar", "Plotly.newPlot"), ("heatmap", "A chart of type heatmap needs")] {
        let figure = format!("{{\\\"data\\\": [{{\\\"type\\\": \\\"{kind}\\\", \\\"y\\\": [1]}}]}}");
        let begin = "EVCXR_BEGIN_CONTENT application/vnd.plotly.v1+json";
        let answer = kernel.run_ok(&format!("println!(\"{begin}\\n{{}}\\nEVCXR_END_CONTENT\", \"{figure}\");")).await;
        let displays = answer.all("display_data");
        let data = &displays.last().expect("a display").content["data"];
        assert_eq!(data["application/vnd.plotly.v1+json"]["data"][0]["type"], kind, "{data}");
        let html = data["text/html"].as_str().unwrap();
        assert!(html.contains(page) && !html.contains("  jupyterlab"), "{html}");
    }
}

#[tokio::test]
async fn a_snapshot_keeps_two_gigabytes_of_variables() {
    let (mut kernel, _folder) = kernel().await;
    // `cargo measure rust` measures what that costs.
    kernel.run_ok("let mut hoard: Vec<u8> = vec![1; 2_000_000_000];").await;
    assert!(kernel.run_error("hoard[0] = 2; std::process::abort();").await.contains("as it was before"));
    assert_eq!(kernel.run_ok("hoard[0]").await.value(), "1");
}
