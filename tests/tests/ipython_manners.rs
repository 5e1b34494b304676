//! The magics that IPython's users know: what they do to real cells, files and processes.

use std::path::Path;
use std::process::Command;
use tunebook_tests::{Kernel, cell, kernel, own_crate, without_colours};

/// Runs a cell that must succeed and returns what it prints to standard output.
async fn out(kernel: &mut Kernel, code: &str) -> String {
    kernel.run_ok(code).await.text("stdout")
}

/// Finds a line such as `Wall time: 13.1 ms` by its name and returns the time in seconds.
fn seconds(text: &str, name: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{name}: {text}"));
    let (number, unit) = line.trim_start_matches(':').trim().split_once(' ').unwrap_or_else(|| panic!("{line}"));
    let unit = ["s", "ms", "µs", "ns"].iter().position(|known| *known == unit).unwrap_or_else(|| panic!("{line}"));
    number.parse::<f64>().unwrap_or_else(|_| panic!("{line}")) / 1000f64.powi(unit as i32)
}

#[tokio::test]
async fn time_and_timeit_tell_how_long_rust_takes() {
    let (mut kernel, _folder) = kernel().await;
    // The cells sleep, because time is what these magics measure.
    kernel.run_ok("fn nap(ms: u64) -> u64 { std::thread::sleep(std::time::Duration::from_millis(ms)); ms }").await;
    // Timed code is a cell like any other: its value is shown, and its variables stay.
    let answer = kernel.run_ok("%time let napped = nap(300); napped + 1").await;
    let text = answer.text("stdout");
    let wall = seconds(&text, "Wall time");
    assert!((0.3..3.0).contains(&wall), "the time of the run without the compiler: {text}");
    assert!(seconds(&text, "Compile time") > 0.0 && text.contains("CPU times: user "), "{text}");
    assert_eq!(answer.first("display_data").content["data"]["text/plain"], "301");
    let text = out(&mut kernel, "%%time\nlet other = nap(50);\nprintln!(\"{}\", other + napped);").await;
    assert!(text.starts_with("350\n") && seconds(&text, "Wall time") >= 0.05, "{text}");
    assert_eq!(kernel.run_ok("other").await.value(), "50");
    // An error shows the user's line.
    let error = kernel.run_error("%%time\nlet x = 1;\nlet y: i32 = \"text\";").await;
    assert!(error.contains("E0308") && error.contains("3 │ let y"), "{error}");

    let answer = kernel.run_ok("%timeit --time 1s nap(2)").await;
    let timing = answer.result();
    assert_eq!(timing["kind"], "timeit");
    let measured = timing["seconds"].as_f64().unwrap();
    assert!((0.002..0.1).contains(&measured), "{timing}");
    let interval = timing["interval"].as_array().unwrap();
    assert!(interval[0].as_f64() <= interval[1].as_f64() && timing["outliers"].is_object(), "{timing}");
    // Code is optimized: a loop of a thousand steps takes some microseconds at most.
    let code = "%%timeit --time 1s let numbers: Vec<u64> = (0..1000).collect();\n\
                std::hint::black_box(&numbers).iter().map(|x| x * x).sum::<u64>()";
    let answer = kernel.run_ok(code).await;
    let measured = answer.result()["seconds"].as_f64().unwrap();
    assert!(measured > 1e-8 && measured < 1e-4, "{measured}");
    let text = answer.published.iter().find_map(|message| message.content["data"]["text/plain"].as_str()).unwrap_or("");
    assert!(text.contains("per loop") && text.contains("95 %"), "{text}");
    // Code that moves a variable cannot be repeated. The error says what to do.
    kernel.run_ok("let text = String::from(\"kept\");").await;
    let error = kernel.run_error("%timeit std::mem::drop(text)").await;
    assert!(error.contains("borrow it"), "{error}");
    assert_eq!(kernel.run_ok("text.len()").await.value(), "4");
}

#[tokio::test]
async fn names_are_shown_listed_documented_and_forgotten() {
    let (mut kernel, _folder) = kernel().await;
    assert_eq!(out(&mut kernel, "%who").await, "There are no variables yet.\n");
    kernel.run_ok("let numbers: Vec<i32> = vec![1, 2, 3];\nlet text = \"ä\".repeat(1000);\nlet ratio = 0.5;").await;
    kernel.run_ok("/// Doubles a number.\nfn twice(x: i32) -> i32 {\n    2 * x\n}\nstruct Unit;").await;
    assert_eq!(out(&mut kernel, "%who").await, "numbers\tratio\ttext\n");
    assert_eq!(out(&mut kernel, "%who Vec f64").await, "numbers\tratio\n");
    let known = kernel.run_ok("%whos").await.result()["variables"].clone();
    let row = |name: &str| known.as_array().unwrap().iter().find(|row| row["name"] == name).unwrap().clone();
    assert_eq!(
        (&row("numbers")["type"], &row("numbers")["value"]),
        (&"Vec<i32>".into(), &"[1, 2, 3]".into()),
        "{known}"
    );
    assert_eq!(row("numbers")["bytes"], 24 + 12, "the heap counts too: {known}");
    assert_eq!((&row("text")["type"], row("text")["bytes"].as_u64()), (&"String".into(), Some(24 + 2000)), "{known}");
    // Looking at variables moves none of them.
    assert_eq!(kernel.run_ok("numbers.len() + text.len()").await.value(), "2003");

    let shown = kernel.run_ok("%list twice").await;
    let code = shown.first("display_data").content["data"]["text/plain"].as_str().unwrap();
    assert!(code.contains("fn twice(x: i32) -> i32 {\n    2 * x\n}"), "{code}");
    for (code, part) in [
        ("%doc twice", "Doubles a number."),
        ("twice?", "Doubles a number."),
        ("?twice", "Doubles a number."),
        ("twice??", "2 * x"),
        ("numbers?", "Vec<i32>"),
        ("Vec::push?", "Appends an element"),
        ("%time?", "how long it took"),
    ] {
        let answer = kernel.run_ok(code).await;
        assert!(answer.page().contains(part), "{code}: {}", answer.reply);
    }
    assert!(kernel.run_error("%doc twicee").await.contains("did you mean `twice`"));

    assert_eq!(out(&mut kernel, "%remove numbers twice").await, "Removed: numbers, twice\n");
    for name in ["numbers.len()", "twice(1)"] {
        assert!(kernel.run_error(name).await.contains("E0425"), "{name}");
    }
    assert_eq!(kernel.run_ok("text.len()").await.value(), "2000");
    let error = kernel.run_error("%remove txet").await;
    assert!(error.contains("did you mean `text`"), "{error}");

    // `%reset` forgets nothing without `--force`.
    let error = kernel.run_error("%reset").await;
    assert!(error.contains("ratio, text") && error.contains("--force"), "{error}");
    assert_eq!(out(&mut kernel, "%who").await, "ratio\ttext\n");
    kernel.run_ok("%reset --force").await;
    assert_eq!(out(&mut kernel, "%who").await, "There are no variables yet.\n");
    assert!(kernel.run_error("Unit").await.contains("E0425"));
    assert_eq!(kernel.run_ok("let x = 1;\nx + 1").await.value(), "2");
}

#[tokio::test]
async fn the_environment_and_the_folder_are_those_of_cells_and_of_commands() {
    let (mut kernel, folder) = kernel().await;
    let there = std::fs::canonicalize(folder.path()).unwrap();
    std::fs::create_dir(there.join("below")).unwrap();
    let (variable, current) =
        ("println!(\"{:?}\", std::env::var(\"GREETING\"));", "println!(\"{}\", std::env::current_dir()?.display());");
    // A variable is set before the first Rust cell and changed after it.
    kernel.run_ok("%env GREETING=hello").await;
    assert_eq!(out(&mut kernel, variable).await, "Ok(\"hello\")\n");
    kernel.run_ok("%env GREETING=$GREETING there").await;
    assert_eq!(out(&mut kernel, "%env GREETING").await, "hello there\n");
    assert_eq!(out(&mut kernel, variable).await, "Ok(\"hello there\")\n");
    assert_eq!(out(&mut kernel, "!echo $GREETING").await, "hello there\n");
    assert_eq!(out(&mut kernel, "%%bash\necho $GREETING").await, "hello there\n");
    // A new process of cells has the variable too.
    kernel.run_error("std::process::abort()").await;
    assert_eq!(out(&mut kernel, variable).await, "Ok(\"hello there\")\n");
    kernel.run_ok("%env --unset GREETING").await;
    assert_eq!(out(&mut kernel, variable).await, "Err(NotPresent)\n");
    assert_eq!(out(&mut kernel, "!echo \"[$GREETING]\"").await, "[]\n");

    let path = |path: &Path| format!("{}\n", path.display());
    assert_eq!(out(&mut kernel, "%pwd").await, path(&there));
    kernel.run_ok("%cd below").await;
    for look in ["%pwd", "!pwd", current] {
        assert_eq!(out(&mut kernel, look).await, path(&there.join("below")), "{look}");
    }
    kernel.run_ok("%cd -").await;
    for look in ["%pwd", "!pwd", current] {
        assert_eq!(out(&mut kernel, look).await, path(&there), "{look}");
    }
    assert!(kernel.run_error("%cd nowhere").await.contains("nowhere"));
}

#[tokio::test]
async fn commands_and_scripts_show_their_output_as_it_is_written() {
    let (mut kernel, folder) = kernel().await;
    let wait = "until [ -e go ]; do sleep 0.01; done";
    for code in [
        format!("!echo first; {wait}; echo second"),
        format!("%%bash\necho first\n{wait}\necho second"),
        format!("%%script sh\necho first\n{wait}\necho second"),
    ] {
        let id = kernel.send("execute_request", cell(&code)).await;
        kernel.printed(&id, "first\n").await;
        std::fs::write(folder.path().join("go"), "").unwrap();
        assert_eq!(kernel.answer(&id).await.text("stdout"), "second\n", "{code}");
        std::fs::remove_file(folder.path().join("go")).unwrap();
    }
    assert_eq!(out(&mut kernel, "%%script sh -s one two\necho $2 $1").await, "two one\n");
    assert!(kernel.run_error("%%bash\nexit 4").await.contains("exit status 4"));
    kernel.run_ok("%%bash --no-raise-error\nexit 4").await;
    // The parts of a cell run in the order in which they are written.
    let text = out(&mut kernel, "println!(\"rust\");\n!echo command\n%pwd\nprintln!(\"rust again\");").await;
    assert!(text.starts_with("rust\ncommand\n") && text.ends_with("rust again\n"), "{text}");
}

#[tokio::test]
async fn cells_are_written_to_files_and_loaded_from_files() {
    let (mut kernel, folder) = kernel().await;
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    kernel.run_ok("%%writefile notes.rs\nlet loaded = 41;\nloaded + 1\n").await;
    kernel.run_ok("%%writefile --append notes.rs\n// more\n").await;
    assert_eq!(read("notes.rs"), "let loaded = 41;\nloaded + 1\n// more\n");
    let loaded = kernel.run_ok("%load notes.rs:1-2").await.reply["payload"][0].clone();
    assert_eq!((&loaded["source"], &loaded["replace"]), (&"set_next_input".into(), &true.into()), "{loaded}");
    let text = loaded["text"].as_str().unwrap();
    assert_eq!(text, "// %load notes.rs:1-2\nlet loaded = 41;\nloaded + 1");
    assert_eq!(kernel.run_ok(text).await.value(), "42");
    kernel.run_ok("!true\nlet later = 2;").await;

    assert_eq!(out(&mut kernel, "%history 4-5").await, format!("{text}\n!true\nlet later = 2;\n"));
    assert!(out(&mut kernel, "%history -n --grep later").await.contains("   5:\n!true\nlet later = 2;\n"));
    kernel.run_ok("%save kept 4-5").await;
    assert_eq!(read("kept.rs"), format!("{text}\n\n// !true\nlet later = 2;\n"));
    assert!(kernel.run_error("%save kept 4").await.contains("--force"));
    kernel.run_ok("%save kept 4 --force").await;
    assert_eq!(read("kept.rs"), format!("{text}\n"));
}

#[tokio::test]
async fn the_output_of_a_cell_can_be_captured() {
    let (mut kernel, _folder) = kernel().await;
    let code = "%%capture kept\nprintln!(\"out\");\neprintln!(\"error\");\nlet inside = 5;\ninside + 1";
    let answer = kernel.run_ok(code).await;
    assert!(
        answer.published.iter().all(|message| ["status", "execute_input"].contains(&message.kind())),
        "{answer:#?}"
    );
    let look = "println!(\"{:?} {:?} {} {inside}\", kept.stdout, kept.stderr, kept.displays);";
    assert_eq!(out(&mut kernel, look).await, "\"out\\n\" \"error\\n\" 1 5\n");
    let shown = kernel.run_ok("kept.show();").await;
    assert_eq!((shown.text("stdout").as_str(), shown.text("stderr").as_str()), ("out\n", "error\n"));
    // The same name can be used again. What a failing cell printed is shown.
    kernel.run_ok("%%capture kept --no-stderr\nprintln!(\"again\");").await;
    assert_eq!(out(&mut kernel, "print!(\"{}\", kept.stdout);").await, "again\n");
    let answer = kernel.run("%%capture\nprintln!(\"seen\");\npanic!(\"oh no\");").await;
    assert_eq!((answer.status(), answer.text("stdout").as_str()), ("error", "seen\n"));
    assert!(answer.error().contains("oh no"));
}

#[tokio::test]
async fn tests_of_a_cell_are_run_and_a_failing_one_is_an_error() {
    let (mut kernel, _folder) = kernel().await;
    let passing = "%%test\nfn double(x: i32) -> i32 { 2 * x }\n#[test]\nfn doubles() {\n    assert_eq!(double(2), 4);\n}\n\
                   #[test]\n#[should_panic(expected = \"overflow\")]\nfn overflows() {\n    double(i32::MAX);\n}";
    let text = without_colours(&out(&mut kernel, passing).await);
    assert!(text.contains("running 2 tests\ntest doubles ... ok\ntest overflows ... ok\n"), "{text}");
    assert!(text.contains("test result: ok. 2 passed; 0 failed"), "{text}");
    let failing = "%%test\n#[test]\nfn fails() {\n    println!(\"a hint\");\n    assert_eq!(double(2), 5);\n}\n#[test]\nfn passes() {}";
    let answer = kernel.run(failing).await;
    assert_eq!((answer.status(), answer.reply["ename"].as_str()), ("error", Some("TestsFailed")));
    let text = without_colours(&answer.text("stdout"));
    assert!(text.contains("test fails ... FAILED") && text.contains("test passes ... ok"), "{text}");
    assert!(text.contains("a hint") && text.contains("left: 4") && text.contains("line 5: assert_eq!"), "{text}");
    assert!(!text.contains('\u{1}'), "{text}");
    // The functions and the tests of the cell stay defined.
    assert_eq!(kernel.run_ok("double(21)").await.value(), "42");
    let text = without_colours(&out(&mut kernel, "%test doubles").await);
    assert!(text.contains("test doubles ... ok"), "{text}");
    let error = kernel.run_error("%%test\n#[test]\nfn wrong() {\n    let x: i32 = \"text\";\n}").await;
    assert!(error.contains("E0308") && error.contains("4 │     let x"), "{error}");
}

#[tokio::test]
async fn a_notebook_is_exported_as_a_crate_that_compiles_and_runs() {
    let (mut kernel, folder) = kernel().await;
    let own = own_crate(folder.path(), "own", "pub fn seven() -> i32 { 7 }", None);
    for code in [
        "use std::collections::BTreeMap;\n#[derive(Debug, Clone)]\nstruct Point { x: f64, y: f64 }",
        "fn area(p: &Point) -> f64 { p.x }",
        "let p = Point { x: 3.0, y: 4.0 };\narea(&p)",
        // A later definition of a function replaces the earlier one.
        "fn area(p: &Point) -> f64 { p.x * p.y }",
        "%pwd\n!true\nlet n: i32 = \"21\".parse()?;\nlet mut counts = BTreeMap::new();\ncounts.insert(\"größe\", n);",
        "*counts.get_mut(\"größe\").unwrap() *= 2;\nprintln!(\"{counts:?}\");",
        "%time let later = area(&p);",
        "%%test\n#[test]\nfn areas() {\n    assert_eq!(area(&Point { x: 2.0, y: 3.0 }), 6.0);\n}",
    ] {
        kernel.run_ok(code).await;
    }
    kernel.run_error("let broken: i32 = \"text\";").await;
    kernel.run_error("panic!(\"no part of it\")").await;
    // The export into one file is built by rustc alone.
    kernel.run_ok("%export program.rs").await;
    let built = |arguments: &[&str]| {
        let output = Command::new("rustc")
            .args(["--edition", "2024", "-o", "program"])
            .args(arguments)
            .arg("program.rs")
            .current_dir(&folder)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let ended = Command::new(folder.path().join("program")).output().unwrap();
        assert!(ended.status.success(), "{ended:?}");
        String::from_utf8_lossy(&ended.stdout).into_owned()
    };
    assert_eq!(built(&[]), "12.0\n{\"größe\": 42}\n");
    assert!(built(&["--test"]).contains("test areas ... ok"));
    assert!(kernel.run_error("%export program.rs").await.contains("--force"));

    // The export into a folder is a crate with its dependencies.
    kernel.run_ok(&format!(":dep own = {own}\nown::seven()")).await;
    kernel.run_ok("%export report").await;
    let ran = Command::new("cargo")
        .args(["run", "--quiet", "--offline"])
        .current_dir(folder.path().join("report"))
        .output()
        .unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    assert_eq!(String::from_utf8_lossy(&ran.stdout), "12.0\n{\"größe\": 42}\n7\n");
    assert!(out(&mut kernel, "%export report --force --check").await.ends_with("It compiles.\n"));
}
