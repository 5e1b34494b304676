//! What must hold for whatever bytes come in. The fuzzer looks for bytes for which it does not; the test
//! `wire_properties` tries a fixed choice of them in every run.

use tunebook_split::{Segment, completeness, masked, segments};
use tunebook_wire::message::{Message, Signer, WireError};

/// Reads the bytes as the frames of a message, each behind its length in two bytes. Without a signature the message
/// must be refused.
pub fn frames(mut bytes: &[u8]) {
    let mut frames = vec![];
    while let Some((length, rest)) = bytes.split_first_chunk::<2>() {
        let (frame, rest) = rest.split_at(usize::from(u16::from_be_bytes(*length)).min(rest.len()));
        frames.push(frame.to_vec());
        bytes = rest;
    }
    message(frames);
}

fn message(frames: Vec<Vec<u8>>) {
    let refused = Message::decode(frames.clone(), &Signer::new("a key that nobody knows"));
    assert!(matches!(refused, Err(WireError::Frames | WireError::Signature)), "{refused:?}");
    let Ok(message) = Message::decode(frames, &Signer::new("")) else { return };
    assert!(
        [&message.header, &message.parent, &message.metadata, &message.content].iter().all(|part| part.is_object())
    );
    // A message that was read can be signed and read again, but only once.
    let signer = Signer::new("key");
    let again = Message::decode(message.encode(&signer), &signer);
    let Ok(again) = again else { panic!("what was signed is refused: {again:?}") };
    assert_eq!((again.kind(), &again.content), (message.kind(), &message.content));
    assert_eq!(again.identities, message.identities);
    assert!(matches!(Message::decode(message.encode(&signer), &signer), Err(WireError::Repeated)));
}

/// Reads the bytes as a cell. Its parts must be in the cell, in order, and the code with hidden magics must have the
/// same length and lines.
pub fn code(bytes: &[u8]) {
    let code = String::from_utf8_lossy(bytes);
    let asks = |line: &str, _: bool| line.trim_matches(['?', '%']) == "sweep";
    completeness(&code, asks);
    let hidden = masked(&code, asks, |_| None);
    assert_eq!(hidden.len(), code.len());
    let lines = |text: &str| text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at).collect();
    let (before, after): (Vec<usize>, Vec<usize>) = (lines(&code), lines(&hidden));
    assert_eq!(before, after);
    let mut rest = &*code;
    for segment in segments(&code, asks) {
        let part = match &segment {
            Segment::Rust { code, .. } => code,
            Segment::Magic { text, .. } => text,
            Segment::Shell { command, .. } => command,
        };
        let at = rest.find(part.as_str()).unwrap_or_else(|| panic!("{segment:?} is not in {rest:?}"));
        rest = &rest[at + part.len()..];
    }
}
