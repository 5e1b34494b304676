//! The fuzzer's targets on a fixed choice of bytes: any, and messages, greetings and cells with changes.
//!
//! `TUNEBOOK_SOAK=20` tries twenty times as many.

#[path = "../fuzz/targets.rs"]
mod targets;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::json;
use tunebook_tests::request_frames;
use tunebook_wire::{Message, Signer};

/// A change of some bytes. An `Index` is a position, whatever the length is.
#[derive(Clone, Debug)]
enum Change {
    Set(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, Index),
    Cut(Index),
    Repeat(Index, Index),
}

fn change() -> impl Strategy<Value = Change> {
    let place = any::<Index>;
    // Bytes that have a meaning in the protocol or in cells are more likely than others.
    let telling = select(b"\0\x01\x02\x03\x04\xff{}[]\"'\\<|>%!?#/*r\n ".to_vec());
    let byte = prop_oneof![telling, any::<u8>()];
    prop_oneof![
        (place(), byte.clone()).prop_map(|(at, byte)| Change::Set(at, byte)),
        (place(), vec(byte, 1..12)).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        (place(), place()).prop_map(|(a, b)| Change::Remove(a, b)),
        place().prop_map(Change::Cut),
        (place(), place()).prop_map(|(a, b)| Change::Repeat(a, b)),
    ]
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    let at = |index: &Index| index.index(bytes.len() + 1);
    let range = |a: &Index, b: &Index| at(a).min(at(b))..at(a).max(at(b));
    match change {
        Change::Set(index, byte) => {
            let at = at(index);
            bytes.splice(at..(at + 1).min(bytes.len()), [*byte]);
        }
        Change::Insert(index, more) => {
            let at = at(index);
            bytes.splice(at..at, more.iter().copied());
        }
        Change::Remove(a, b) => drop(bytes.drain(range(a, b))),
        Change::Cut(index) => bytes.truncate(at(index)),
        Change::Repeat(a, b) => {
            let range = range(a, b);
            let copy = bytes[range.clone()].to_vec();
            bytes.splice(range.end..range.end, copy);
        }
    }
}

/// Tries a target on arbitrary bytes and on changed seeds. The choice is the same in every run.
fn try_all(target: fn(&[u8]), seeds: Vec<Vec<u8>>) {
    let soak: u32 = std::env::var("TUNEBOOK_SOAK").ok().and_then(|times| times.parse().ok()).unwrap_or(1);
    seeds.iter().for_each(|seed| target(seed));
    let changed = (select(seeds), vec(change(), 0..6)).prop_map(|(mut bytes, changes)| {
        changes.iter().for_each(|change| apply(&mut bytes, change));
        bytes
    });
    let bytes = prop_oneof![1 => vec(any::<u8>(), 0..600), 4 => changed];
    let config = Config { cases: 20_000 * soak, failure_persistence: None, ..Config::default() };
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let tried = TestRunner::new_with_rng(config, random).run(&bytes, |bytes| {
        target(&bytes);
        Ok(())
    });
    tried.unwrap();
}

/// Frames in one text: each stands behind its length in two bytes.
fn framed(frames: &[Vec<u8>]) -> Vec<u8> {
    let framed = |frame: &Vec<u8>| [&(frame.len() as u16).to_be_bytes()[..], frame].concat();
    frames.iter().flat_map(framed).collect()
}

#[test]
fn frames_are_a_signed_message_or_are_refused() {
    let frames = |key: &str| {
        let (_, message) = request_frames("execute_request", &json!({ "code": "1\n%lsmagic" }), &json!({}), key);
        message.into_vec().iter().map(|frame| frame.to_vec()).collect::<Vec<_>>()
    };
    let with_identity = [vec![b"peer".to_vec()], frames("")].concat();
    let unsigned = Message::new("s", "complete_request", &json!({}), json!({ "cursor_pos": 7 }));
    let seeds = [frames(""), with_identity, unsigned.encode(&Signer::new("")), frames("another key")];
    try_all(targets::frames, seeds.iter().map(|frames| framed(frames)).collect());
}

#[test]
fn any_text_is_split_into_the_parts_of_a_cell() {
    let seeds = [
        "let x = 1;\n%isolate depth lr\nlet y = r#\"a \" b\"#;\n!ls -l\nx + y",
        "\n%%sweep a\n%b\nlet x",
        "?sweep\nlet c = '\\'';\n/* /* */ %x */\n%sweep é\nf(\n%x\n)",
        "let c = '\\u{1F600}'; let l: &'static str = \"}\";\r\n%lsmagic",
    ];
    try_all(targets::code, seeds.iter().map(|seed| seed.as_bytes().to_vec()).collect());
}
