//! A cell that ends its process costs no variable.

use serde_json::json;
use std::time::{Duration, Instant};
use tunebook_tests::{Kernel, cell, command_of, descendants, eventually, kernel};

/// A cell that defines variables, a type and a function.
const STATE: &str = "let mut numbers = vec![1, 2, 3];\nlet name = String::from(\"kept\");\n#[derive(Debug)] struct Pair { a: i32, b: i32 }\n\
    let pair = Pair { a: 1, b: 2 };\nfn twice(x: i32) -> i32 { 2 * x }";
/// A cell that prints all of the state.
const LOOK: &str = "println!(\"{numbers:?} {name} {pair:?} {}\", twice(numbers.len() as i32));";

async fn look(kernel: &mut Kernel) -> String {
    kernel.run_ok(LOOK).await.text("stdout")
}

#[tokio::test]
async fn whatever_a_cell_does_to_its_process_every_variable_is_as_it_was_before() {
    let (mut kernel, _folder) = kernel().await;
    kernel.run_ok(STATE).await;
    kernel.run_ok("numbers.push(4);").await;
    let before = "[1, 2, 3, 4] kept Pair { a: 1, b: 2 } 8\n";
    assert_eq!(look(&mut kernel).await, before);
    for (code, how) in [
        ("numbers.push(5); unsafe { std::ptr::null_mut::<i32>().write_volatile(1) };", "SIGSEGV"),
        ("numbers.clear(); std::process::abort();", "SIGABRT"),
        ("numbers.push(5); println!(\"half\"); print!(\"a line\"); std::process::exit(3);", "exit status: 3"),
        (
            "fn deep(n: u64) -> u64 { if n == 0 { 0 } else { 1 + std::hint::black_box(deep(std::hint::black_box(n - 1))) } }\n\
          numbers.push(deep(u64::MAX) as i32);",
            "SIG",
        ),
        (
            "numbers.push(5); let all: Vec<u8> = Vec::with_capacity(std::hint::black_box(1 << 60)); std::hint::black_box(all);",
            "SIGABRT",
        ),
    ] {
        let error = kernel.run_error(code).await;
        assert!(error.contains("ProcessEnded") && error.contains(how), "{code}: {error}");
        assert!(error.contains("Every variable is as it was before the cell"), "{error}");
        assert_eq!(look(&mut kernel).await, before, "after {code}");
    }
    // What the cell had printed before its end is shown.
    let answer = kernel.run("println!(\"half\"); std::process::exit(0);").await;
    assert!(answer.text("stdout").contains("half"), "{answer:#?}");
    // A panic does not end the process.
    assert!(kernel.run_error("None::<i32>.unwrap();").await.contains("Panic"));
    assert_eq!(look(&mut kernel).await, before);
    // The state can be changed again.
    kernel.run_ok("numbers.push(5);").await;
    assert_eq!(look(&mut kernel).await, "[1, 2, 3, 4, 5] kept Pair { a: 1, b: 2 } 10\n");
}

#[tokio::test]
async fn an_interrupt_ends_a_cell_within_half_a_second_and_keeps_all_variables() {
    let (mut kernel, _folder) = kernel().await;
    kernel.run_ok(STATE).await;
    for code in [
        "numbers.push(9); loop { std::hint::spin_loop() }",
        "numbers.push(9); std::thread::sleep(std::time::Duration::from_secs(1000));",
    ] {
        let id = kernel.send("execute_request", cell(&format!("println!(\"running\"); {code}"))).await;
        kernel.published_of_kind("stream").await;
        let asked = Instant::now();
        kernel.control("interrupt_request", json!({})).await;
        let answer = kernel.answer(&id).await;
        assert!(asked.elapsed() < Duration::from_millis(500), "{:?}", asked.elapsed());
        assert_eq!(answer.reply["ename"], "Interrupted", "{answer:#?}");
        assert_eq!(look(&mut kernel).await, "[1, 2, 3] kept Pair { a: 1, b: 2 } 6\n");
    }
    // An interrupt between two cells has no effect.
    kernel.control("interrupt_request", json!({})).await;
    assert_eq!(look(&mut kernel).await, "[1, 2, 3] kept Pair { a: 1, b: 2 } 6\n");
}

#[tokio::test]
async fn the_end_of_a_process_with_threads_costs_its_variables_and_the_error_names_them() {
    let (mut kernel, _folder) = kernel().await;
    kernel.run_ok(STATE).await;
    kernel.run_ok("std::thread::spawn(|| loop { std::thread::sleep(std::time::Duration::from_secs(1)) });").await;
    let error = kernel.run_error("std::process::exit(3)").await;
    assert!(error.contains("Lost with it: name, numbers, pair") && error.contains("more than one thread"), "{error}");
    assert_eq!(kernel.run_ok("twice(21)").await.value(), "42");
}

#[tokio::test]
async fn variables_are_kept_beside_tensors_and_no_process_is_left_behind() {
    let (mut kernel, _folder) = kernel().await;
    kernel.run_ok("let t = tch::Tensor::arange(6, (tch::Kind::Float, tch::Device::Cpu)).view([2, 3]);").await;
    kernel.run_ok("let p = t.matmul(&t.tr()).sum(tch::Kind::Float);").await;
    assert!(kernel.run_error("std::process::abort();").await.contains("as it was before"));
    let value = kernel.run_ok("println!(\"{}\", f64::try_from(&p)?);").await.text("stdout");
    assert_eq!(value, "83\n");
    // When the kernel is killed, no runner, snapshot or supervisor is left.
    kernel.send("execute_request", cell("println!(\"running\"); loop { std::hint::spin_loop() }")).await;
    kernel.published_of_kind("stream").await;
    let below = descendants(kernel.process.id());
    assert!(below.len() >= 3, "supervisor, runner and snapshot: {below:?}");
    kernel.kill();
    let gone = || below.iter().all(|pid| command_of(*pid).is_empty());
    assert!(eventually(Duration::from_secs(10), gone).await, "{below:?}");
}
