//! Fuzzes `targets::frames`.
#![no_main]

#[path = "../../../kernel/src/cell/mod.rs"]
mod cell;
#[path = "../../../kernel/src/wire/message.rs"]
mod message;
#[path = "../targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::frames(bytes));
