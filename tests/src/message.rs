//! Jupyter messages: reading them from frames, writing them into frames, signatures.

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use zeromq::ZmqMessage;

/// The key with which the tests and their kernels sign.
pub const KEY: &str = "the key of the tests";

/// The frame between the identities and the signed parts.
const DELIMITER: &[u8] = b"<IDS|MSG>";

/// A message that the kernel sent.
#[derive(Clone)]
pub struct Message {
    /// The frames before the delimiter. On IOPub this is the topic.
    pub identities: Vec<Vec<u8>>,
    pub header: Value,
    /// The header of the request that the message belongs to, or an empty object.
    pub parent: Value,
    pub content: Value,
}

/// Shows the message type and the content, because those are what a failed test needs to say.
impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.kind(), self.content)
    }
}

impl Message {
    /// The field `msg_type` of the header.
    pub fn kind(&self) -> &str {
        self.header["msg_type"].as_str().unwrap_or("")
    }

    /// Reads a message from the frames that a socket received. Panics if the kernel has not signed it.
    pub fn read(frames: ZmqMessage) -> Self {
        let frames = frames.into_vec();
        let at = frames.iter().position(|frame| frame.as_ref() == DELIMITER).expect("a delimiter");
        let part = |i: usize| serde_json::from_slice(&frames[at + i]).expect("JSON");
        let signed: Vec<&[u8]> = frames[at + 2..at + 6].iter().map(|frame| frame.as_ref()).collect();
        assert_eq!(frames[at + 1].as_ref(), sign(&signed, KEY).as_bytes(), "the kernel signs what it sends");
        Self {
            identities: frames[..at].iter().map(|frame| frame.to_vec()).collect(),
            header: part(2),
            parent: part(3),
            content: part(5),
        }
    }

    /// Whether it says that the kernel is in a state: `starting`, `busy` or `idle`.
    pub fn is_status(&self, state: &str) -> bool {
        self.kind() == "status" && self.content["execution_state"] == state
    }

    /// Whether its parent header is that of the request with this id.
    pub fn belongs_to(&self, id: &str) -> bool {
        self.parent["msg_id"] == id
    }
}

fn sign(parts: &[&[u8]], key: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("HMAC takes a key of any length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A new header of a message type.
pub(crate) fn header(kind: &str) -> Value {
    json!({ "msg_id": uuid::Uuid::new_v4().to_string(), "session": "tests", "username": "t",
        "date": "2026-01-01T00:00:00Z", "msg_type": kind, "version": "5.5" })
}

/// The frames of a message with these four parts, signed with a key.
pub(crate) fn frames_of(parts: [&Value; 4], key: &str) -> ZmqMessage {
    let parts = parts.map(|part| part.to_string().into_bytes());
    frames_signed_with(parts.each_ref().map(Vec::as_slice), key)
}

/// The frames of a new request, signed with a key. Returns the request's `msg_id` with them.
pub fn request_frames(kind: &str, content: &Value, metadata: &Value, key: &str) -> (String, ZmqMessage) {
    let header = header(kind);
    let id = header["msg_id"].as_str().unwrap_or("").to_string();
    (id, frames_of([&header, &json!({}), metadata, content], key))
}

/// The frames of a message whose four parts are these bytes, which need not be JSON. They are signed with the right
/// key.
pub fn signed_frames(parts: [&[u8]; 4]) -> ZmqMessage {
    frames_signed_with(parts, KEY)
}

fn frames_signed_with(parts: [&[u8]; 4], key: &str) -> ZmqMessage {
    let mut message = ZmqMessage::from(DELIMITER.to_vec());
    message.push_back(sign(&parts, key).into_bytes().into());
    for part in parts {
        message.push_back(part.to_vec().into());
    }
    message
}

/// The content of an `execute_request` as front ends send it.
pub fn cell(code: &str) -> Value {
    json!({ "code": code, "silent": false, "store_history": true, "user_expressions": {}, "allow_stdin": false,
        "stop_on_error": true })
}
