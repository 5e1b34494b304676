//! Rust cells as people write them: values that borrow from the same cell, implementations that are written again, and
//! questions that are Rust.

use tunebook_tests::kernel;

#[tokio::test]
async fn a_value_that_borrows_from_its_own_cell_is_used_and_not_kept() {
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
    assert!(error.contains("broken"), "{error}");
    assert!(
        kernel.run_ok("Vec?").await.reply["payload"][0]["data"]["text/plain"].as_str().is_some(),
        "a type is a question"
    );
}
