//! Rust cells as people write them who come from other notebooks, from programs, and from the documentation of crates.

use tunebook_tests::kernel;

#[tokio::test]
async fn a_value_that_borrows_from_its_own_cell_runs_and_is_not_kept() {
    let (mut kernel, _folder) = kernel().await;
    for (code, borrower, owner, value) in [
        ("let n = 5;\nlet show = || println!(\"{n}\");\nshow();", "show", "n", "5"),
        ("let mut count = 0;\nlet mut add = || count += 1;\nadd();\nadd();", "add", "count", "2"),
        (
            "let cell = std::cell::RefCell::new(vec![1]);\nlet mut guard = cell.borrow_mut();\nguard.push(2);",
            "guard",
            "cell",
            "RefCell { value: [1, 2] }",
        ),
        ("let mut v = vec![1, 2, 3];\nlet rest = v.drain(1..);", "rest", "v", "[1]"),
        (
            "struct Adds<'a>(&'a mut i32);\nimpl Drop for Adds<'_> { fn drop(&mut self) { *self.0 += 10; } }\n\
             let mut k = 1;\nlet held = Adds(&mut k);",
            "held",
            "k",
            "11",
        ),
    ] {
        let said = kernel.run_ok(code).await.text("stderr");
        assert!(said.contains(&format!("`{borrower}` is not kept")), "{code}: {said}");
        assert!(!said.contains(&format!("`{owner}` is not kept")), "{code}: {said}");
        assert_eq!(kernel.run_ok(owner).await.value(), value, "{code}");
        assert!(kernel.run_error(borrower).await.contains("E0425"), "{code}");
    }
}

#[tokio::test]
async fn a_cell_with_an_impl_runs_again_and_a_changed_type_tells_of_its_variables() {
    let (mut kernel, _folder) = kernel().await;
    kernel.run_ok("struct P { x: i32 }\nlet p = P { x: 4 };\nlet list = vec![P { x: 1 }];\nlet other = 1;").await;
    for (body, value) in [("self.x", "4"), ("self.x * 2", "8")] {
        kernel.run_ok(&format!("impl P {{ fn show(&self) -> i32 {{ {body} }} }}")).await;
        assert_eq!(kernel.run_ok("p.show()").await.value(), value);
    }
    kernel.run_ok("impl P { fn one(&self) -> i32 { 1 } }").await;
    assert_eq!(kernel.run_ok("p.show() + p.one()").await.value(), "9", "other methods stay");
    for text in ["one", "two"] {
        let code = format!(
            "impl std::fmt::Display for P {{\n    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {{ \
             write!(f, \"{text}\") }}\n}}"
        );
        kernel.run_ok(&code).await;
        assert_eq!(kernel.run_ok("println!(\"{p}\");").await.text("stdout"), format!("{text}\n"));
    }
    let answer = kernel.run_ok("/// The same.\nstruct P { x: i32 }").await;
    assert!(!answer.text("stderr").contains("not kept"), "{}", answer.text("stderr"));
    assert_eq!(kernel.run_ok("p.one()").await.value(), "1");
    let said = kernel.run_ok("struct P { name: String, x: i32 }").await.text("stderr");
    assert!(said.contains("`p` is not kept") && said.contains("`list` is not kept") && !said.contains("`other`"));
    assert!(kernel.run_error("p.x").await.contains("E0425"));
}

#[tokio::test]
async fn programs_functions_and_crates_of_the_compiler() {
    let (mut kernel, _folder) = kernel().await;
    let answer = kernel.run_ok("fn main() { println!(\"ran\"); }").await;
    assert_eq!(answer.text("stdout"), "ran\n");
    assert!(answer.text("stderr").contains("`main` was called"), "{}", answer.text("stderr"));
    kernel.run_ok("fn double(x: i32) -> i32 { 2 * x }\nlet g = double;").await;
    assert_eq!(kernel.run_ok("g(4)").await.value(), "8");
    kernel.run_ok("extern crate alloc;\nextern crate core;").await;
    assert_eq!(kernel.run_ok("alloc::vec::Vec::<i32>::new()").await.value(), "[]");
    let text = "let s = \"\n:dep no_such_crate_at_all\n\";\ns.len()";
    assert_eq!(kernel.run_ok(text).await.value(), "27");
}

#[tokio::test]
async fn messages_name_the_cell_and_what_to_write() {
    let (mut kernel, _folder) = kernel().await;
    kernel.run_ok("let list = vec![1];").await;
    kernel.run_ok("let other = list;").await;
    let error = kernel.run_error("list").await;
    assert!(error.contains("moved `list`, in `let other = list;`"), "{error}");
    let error = kernel.run_error("use rand::Rng;").await;
    assert!(error.contains("`:dep rand`") && error.contains("1 │ use rand::Rng;"), "{error}");
    assert!(!error.contains("src/lib.rs") && !error.contains("cargo add"), "{error}");
    let error = kernel.run_error("mod hello;").await;
    assert!(error.contains("hello.rs or hello/mod.rs"), "{error}");
    let answer = kernel.run_ok("static N: std::sync::atomic::AtomicI32 = std::sync::atomic::AtomicI32::new(0);").await;
    assert!(answer.text("stderr").contains("copy of `N`"), "{}", answer.text("stderr"));
    assert!(kernel.run_ok("!true").await.text("stderr").contains("`!(true)`"));
}

#[tokio::test]
async fn questions_about_variables_and_blocks_of_content_are_values() {
    let (mut kernel, _folder) = kernel().await;
    kernel.run_ok("let r: Result<i32, String> = Ok(3);\nlet o: Option<i32> = None;").await;
    assert_eq!(kernel.run_ok("r?").await.value(), "3");
    assert_eq!(kernel.run_ok("r").await.value(), "Ok(3)", "the variable stays");
    assert!(kernel.run_error("o?").await.contains("`o` is None"));
    let block = "\"EVCXR_BEGIN_CONTENT text/html\\n<b>hi</b>\\nEVCXR_END_CONTENT\".to_string()";
    let answer = kernel.run_ok(block).await;
    assert_eq!(answer.first("execute_result").content["data"]["text/html"], "<b>hi</b>");
    assert!(kernel.run_ok("\"x\".repeat(3_000_000)").await.value().ends_with("MB more are left out"));
    kernel.run_ok("thread_local! { static Z: std::cell::Cell<i32> = std::cell::Cell::new(1); }").await;
    assert_eq!(kernel.run_ok("Z.with(|z| z.get())").await.value(), "1");
    kernel.run_ok("macro_rules! make { ($n:ident) => { struct $n { a: i32 } } }\nmake!(Made);").await;
    assert_eq!(kernel.run_ok("Made { a: 1 }.a").await.value(), "1");
}

#[tokio::test]
async fn borrowing_values_of_the_standard_library_work_in_their_cell() {
    let (mut kernel, _folder) = kernel().await;
    for (code, printed, borrower) in [
        ("let n = 5;\nlet show = || println!(\"{n}\");\nshow();", "5\n", "show"),
        ("let c = std::cell::RefCell::new(1);\nlet mut g = c.borrow_mut();\n*g += 1;\nprintln!(\"{g}\");", "2\n", "g"),
        ("let mut v = vec![1, 2, 3];\nlet d = v.drain(1..);\nprintln!(\"{}\", d.len());", "2\n", "d"),
        ("let m = std::sync::Mutex::new(7);\nlet guard = m.lock().unwrap();\nprintln!(\"{guard}\");", "7\n", "guard"),
        (
            "let words = String::from(\"a b\");\nlet parts: Vec<&str> = words.split(' ').collect();\nprintln!(\"{}\", parts.len());",
            "2\n",
            "parts",
        ),
        (
            "let mut total = 0;\nlet mut add = |x: i32| total += x;\nadd(2);\nadd(3);\nprintln!(\"done\");",
            "done\n",
            "add",
        ),
        (
            "let text = String::from(\"x\");\nlet mut chars = text.chars();\nchars.next();\nprintln!(\"{:?}\", chars.next());",
            "None\n",
            "chars",
        ),
        (
            "struct Loud<'a>(&'a String);\nimpl Drop for Loud<'_> { fn drop(&mut self) { println!(\"end\"); } }\nlet s = String::from(\"x\");\nlet loud = Loud(&s);\nprintln!(\"{}\", loud.0);",
            "x\nend\n",
            "loud",
        ),
    ] {
        let answer = kernel.run_ok(code).await;
        assert_eq!(answer.text("stdout"), printed, "{code}");
        assert!(
            answer.text("stderr").contains(&format!("`{borrower}` is not kept")),
            "{code}\n{}",
            answer.text("stderr")
        );
    }
    // What owns the data is there still.
    assert_eq!(kernel.run_ok("(n, words.len(), v.len(), total)").await.value(), "(5, 3, 1, 5)");
}

#[tokio::test]
async fn an_implementation_that_is_written_again_replaces_the_earlier_one() {
    let (mut kernel, _folder) = kernel().await;
    kernel.run_ok("#[derive(Debug, Clone)]\nstruct Point { x: i32 }\nlet p = Point { x: 2 };").await;
    let double = |factor: i32| format!("impl Point {{\n    fn times(&self) -> i32 {{ self.x * {factor} }}\n}}");
    kernel.run_ok(&double(2)).await;
    assert_eq!(kernel.run_ok("p.times()").await.value(), "4");
    kernel.run_ok(&double(3)).await;
    assert_eq!(kernel.run_ok("p.times()").await.value(), "6");
    // Another implementation of the same type adds to it, and replaces what it has too.
    kernel.run_ok("impl Point {\n    fn plus(&self) -> i32 { self.x + 1 }\n}").await;
    assert_eq!(kernel.run_ok("(p.times(), p.plus())").await.value(), "(6, 3)");
    kernel
        .run_ok("impl Point {\n    fn plus(&self) -> i32 { self.x + 10 }\n    fn minus(&self) -> i32 { self.x - 1 }\n}")
        .await;
    assert_eq!(kernel.run_ok("(p.times(), p.plus(), p.minus())").await.value(), "(6, 12, 1)");
    let display = |text: &str| {
        format!(
            "use std::fmt;\nimpl fmt::Display for Point {{\n    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {{ write!(f, \"{text}{{}}\", self.x) }}\n}}"
        )
    };
    kernel.run_ok(&display("a")).await;
    kernel.run_ok(&display("b")).await;
    assert_eq!(kernel.run_ok("println!(\"{p}\")").await.text("stdout"), "b2\n");
    // In one cell with its type, and with generics.
    let stack = |text: &str| {
        format!(
            "struct Stack<T> {{ items: Vec<T> }}\nimpl<T> Stack<T> {{\n    fn new() -> Self {{ Stack {{ items: vec![] }} }}\n    fn name(&self) -> \
             &'static str {{ \"{text}\" }}\n}}\nimpl<T> Default for Stack<T> {{\n    fn default() -> Self {{ Self::new() }}\n}}"
        )
    };
    kernel.run_ok(&stack("one")).await;
    kernel.run_ok(&stack("two")).await;
    assert_eq!(kernel.run_ok("Stack::<i32>::default().name()").await.value(), "\"two\"");
    kernel.run_ok("impl<T> Stack<T> {\n    fn name(&self) -> &'static str { \"three\" }\n}").await;
    assert_eq!(kernel.run_ok("Stack::<i32>::new().name()").await.value(), "\"three\"");
    // A helper in the same cell does not take the implementation with it.
    kernel
        .run_ok("fn helper() -> i32 { 1 }\nimpl From<i32> for Point {\n    fn from(x: i32) -> Self { Point { x } }\n}")
        .await;
    kernel.run_ok("fn helper() -> i32 { 2 }").await;
    assert_eq!(kernel.run_ok("Point::from(5).x + helper()").await.value(), "7");
}

#[tokio::test]
async fn a_question_mark_behind_a_variable_is_rust() {
    let (mut kernel, _folder) = kernel().await;
    kernel
        .run_ok("let good: Result<i32, String> = Ok(3);\nlet bad: Result<i32, String> = Err(\"broken\".into());")
        .await;
    assert_eq!(kernel.run_ok("good?").await.value(), "3");
    let error = kernel.run_error("bad?").await;
    assert!(error.contains("broken") && error.contains("1 | bad?") && !error.contains("as_ref"), "{error}");
    assert!(
        kernel.run_ok("Vec?").await.reply["payload"][0]["data"]["text/plain"].as_str().is_some(),
        "a type is a question"
    );
}

#[tokio::test]
async fn a_box_that_borrows_from_its_own_cell_ends_with_it_and_the_owner_stays() {
    let (mut kernel, _folder) = kernel().await;
    let code =
        "let text = String::from(\"abc\");\nlet length: Box<dyn Fn() -> usize> = Box::new(|| text.len());\nlength()";
    let answer = kernel.run_ok(code).await;
    assert_eq!(answer.value(), "3");
    assert!(answer.text("stderr").contains("`length` is not kept"), "{}", answer.text("stderr"));
    let code = "let letters: Box<dyn Iterator<Item = char> + '_> = Box::new(text.chars());\nprintln!(\"{}\", letters.count());";
    let answer = kernel.run_ok(code).await;
    assert_eq!((answer.text("stdout").as_str(), answer.text("stderr").as_str()), ("3\n", ""));
    assert_eq!(kernel.run_ok("text").await.value(), "\"abc\"");
    // What must really live longer is an error of the cell.
    let error = kernel.run_error("let own = String::new();\nlet t = std::thread::spawn(|| println!(\"{own}\"));").await;
    assert!(error.contains("E0373") && error.contains("`own`"), "{error}");
}

#[tokio::test]
async fn values_that_cannot_be_kept_or_shown_say_so_where_they_are_made() {
    let (mut kernel, _folder) = kernel().await;
    let said = kernel.run_ok("let sine = f64::sin;").await.text("stderr");
    assert!(said.contains("`sine` is not kept") && said.contains("let sine: fn(f64) -> f64"), "{said}");
    kernel.run_ok("let sine: fn(f64) -> f64 = f64::sin;").await;
    assert_eq!(kernel.run_ok("sine(0.0)").await.value(), "0.0");
    kernel.run_ok("let words = vec![1];\nlet moved = words;").await;
    let error = kernel.run_error("words.len()").await;
    assert!(error.contains("moved `words`, in `let moved = words;`"), "{error}");
    kernel.run_error("let failed = 1;\npanic!(\"no\");").await;
    assert!(!kernel.run_error("failed").await.contains("moved"));
    kernel.run_ok("struct NoDebug;\nlet plain = NoDebug;").await;
    for code in ["plain", "Some(&plain)"] {
        let error = kernel.run_error(code).await;
        assert!(error.contains("`NoDebug` does not implement `Debug`"), "{error}");
        assert!(error.contains(&format!("1 │ {code}")), "{error}");
    }
    let answer = kernel.run_ok("macro_rules! twice { ($x:expr) => { 2 * $x } }").await;
    assert_eq!(answer.text("stderr"), "", "a macro is for later cells");
    assert_eq!(kernel.run_ok("twice!(4)").await.value(), "8");
}
