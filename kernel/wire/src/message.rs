//! A message: its parts, its frames, and its signature.
//!
//! The content of a message stays JSON here. A request that lacks a field must still get a reply, so each handler reads
//! the fields that it needs, and has a default for each.

use hmac::{Hmac, KeyInit, Mac};
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use sha2::Sha256;
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

/// The frame between the identities and the signature.
const DELIMITER: &[u8] = b"<IDS|MSG>";
/// The version of the messaging protocol that this kernel speaks.
pub const PROTOCOL_VERSION: &str = "5.5";

/// Why frames are not accepted as a message.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// There is no delimiter, or there are too few frames after it.
    #[error("not a Jupyter message")]
    Frames,
    /// The message was signed with another key, or not at all.
    #[error("the signature is wrong")]
    Signature,
    /// A message with this signature came before: its sender, or somebody who intercepted it, has sent it again.
    #[error("the same message came before")]
    Repeated,
    /// A frame is no JSON object.
    #[error("not JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// The number of signatures that are remembered.
const REMEMBERED: usize = 1 << 16;

/// Signs and checks messages with the key of the session; with an empty key there are no signatures. Clones share the
/// signatures that were seen.
#[derive(Clone)]
pub struct Signer {
    key: Vec<u8>,
    seen: Arc<Mutex<SeenSignatures>>,
}

/// The signatures of the last messages that were accepted.
#[derive(Default)]
struct SeenSignatures {
    all: HashSet<Vec<u8>>,
    in_order: VecDeque<Vec<u8>>,
}

impl SeenSignatures {
    /// Adds a signature, and returns whether it was not seen before.
    fn is_new(&mut self, signature: Vec<u8>) -> bool {
        if !self.all.insert(signature.clone()) {
            return false;
        }
        self.in_order.push_back(signature);
        if self.in_order.len() > REMEMBERED
            && let Some(oldest) = self.in_order.pop_front()
        {
            self.all.remove(&oldest);
        }
        true
    }
}

impl Signer {
    /// A signer with the key of a connection file.
    pub fn new(key: &str) -> Self {
        Self { key: key.as_bytes().to_vec(), seen: Arc::default() }
    }

    fn mac(&self, parts: &[&[u8]]) -> Option<Hmac<Sha256>> {
        if self.key.is_empty() {
            return None;
        }
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).ok()?;
        for part in parts {
            mac.update(part);
        }
        Some(mac)
    }

    fn sign(&self, parts: &[&[u8]]) -> String {
        let Some(mac) = self.mac(parts) else { return String::new() };
        mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Accepts a message if its signature is right and was not seen before.
    fn check(&self, parts: &[&[u8]], signature: &[u8]) -> Result<(), WireError> {
        let Some(mac) = self.mac(parts) else {
            return if self.key.is_empty() { Ok(()) } else { Err(WireError::Signature) };
        };
        let digit = |digit: u8| char::from(digit).to_digit(16).map(|value| value as u8);
        let (pairs, rest) = signature.as_chunks::<2>();
        let bytes: Option<Vec<u8>> = pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect();
        let bytes = bytes.filter(|_| rest.is_empty()).ok_or(WireError::Signature)?;
        // The comparison takes constant time, so that its duration reveals nothing about the key.
        mac.verify_slice(&bytes).map_err(|_| WireError::Signature)?;
        if self.seen.lock().is_new(bytes) { Ok(()) } else { Err(WireError::Repeated) }
    }
}

/// A Jupyter message.
#[derive(Clone, Debug)]
pub struct Message {
    /// The ZeroMQ identities of the peer that it came from or goes to; on IOPub the topic.
    pub identities: Vec<Vec<u8>>,
    pub header: Value,
    /// The header of the request that it answers.
    pub parent: Value,
    pub metadata: Value,
    pub content: Value,
}

impl Message {
    /// A new message of a session, in answer to the request with the header `parent`.
    pub fn new(session: &str, kind: &str, parent: &Value, content: Value) -> Self {
        let header = json!({
            "msg_id": uuid::Uuid::new_v4().to_string(),
            "session": session,
            "username": "tunebook",
            "date": jiff::Timestamp::now().to_string(),
            "msg_type": kind,
            "version": PROTOCOL_VERSION,
        });
        Self { identities: vec![], header, parent: parent.clone(), metadata: json!({}), content }
    }

    /// The `msg_type`.
    pub fn kind(&self) -> &str {
        self.header["msg_type"].as_str().unwrap_or("")
    }

    /// Reads the frames of a ROUTER or DEALER socket.
    pub fn decode(mut frames: Vec<Vec<u8>>, signer: &Signer) -> Result<Self, WireError> {
        let delimiter = frames.iter().position(|frame| frame == DELIMITER).ok_or(WireError::Frames)?;
        let [signature, header, parent, metadata, content] = frames.get(delimiter + 1..delimiter + 6).unwrap_or(&[])
        else {
            return Err(WireError::Frames);
        };
        signer.check(&[header, parent, metadata, content], signature)?;
        let object = |frame: &[u8]| -> Result<Value, WireError> {
            Ok(Value::Object(serde_json::from_slice::<Map<String, Value>>(frame)?))
        };
        let [header, parent, metadata, content] =
            [object(header)?, object(parent)?, object(metadata)?, object(content)?];
        frames.truncate(delimiter);
        Ok(Self { identities: frames, header, parent, metadata, content })
    }

    /// The frames to send.
    pub fn encode(&self, signer: &Signer) -> Vec<Vec<u8>> {
        let parts =
            [&self.header, &self.parent, &self.metadata, &self.content].map(|part| part.to_string().into_bytes());
        let signature = signer.sign(&parts.each_ref().map(Vec::as_slice));
        let mut frames = self.identities.clone();
        frames.extend([DELIMITER.to_vec(), signature.into_bytes()]);
        frames.extend(parts);
        frames
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> Message {
        let mut message = Message::new("s", "execute_request", &json!({}), json!({ "code": "1" }));
        message.identities = vec![b"peer".to_vec()];
        message
    }

    #[test]
    fn what_was_sent_is_what_arrives() {
        let signer = Signer::new("key");
        let read = Message::decode(message().encode(&signer), &signer).unwrap();
        assert_eq!(read.identities, [b"peer".to_vec()]);
        assert_eq!(read.content, json!({ "code": "1" }));
        assert_eq!(read.kind(), "execute_request");
    }

    #[test]
    fn a_message_with_another_signature_is_refused() {
        let frames = || message().encode(&Signer::new("key"));
        assert!(matches!(Message::decode(frames(), &Signer::new("other")), Err(WireError::Signature)));
        let unsigned = message().encode(&Signer::new(""));
        assert!(matches!(Message::decode(unsigned, &Signer::new("key")), Err(WireError::Signature)));
        assert!(Message::decode(message().encode(&Signer::new("")), &Signer::new("")).is_ok());
        // What is no hexadecimal number of 32 bytes, `+` signs of Rust's own numbers included.
        for signature in ["", "0", "+1", "zz", &"0".repeat(63), &"0".repeat(64), &"0".repeat(66)] {
            let mut frames = frames();
            frames[2] = signature.into();
            assert!(matches!(Message::decode(frames, &Signer::new("key")), Err(WireError::Signature)), "{signature}");
        }
    }

    #[test]
    fn a_message_is_taken_once() {
        let (signer, frames) = (Signer::new("key"), message().encode(&Signer::new("key")));
        assert!(Message::decode(frames.clone(), &signer).is_ok());
        // Also where it comes in on another channel, and with its signature in other letters.
        let mut shouted = frames.clone();
        shouted[2].make_ascii_uppercase();
        for frames in [frames, shouted] {
            assert!(matches!(Message::decode(frames, &signer.clone()), Err(WireError::Repeated)));
        }
        let mut seen = SeenSignatures::default();
        assert!((0..REMEMBERED + 1).all(|i| seen.is_new(i.to_be_bytes().to_vec())));
        assert_eq!((seen.all.len(), seen.in_order.len()), (REMEMBERED, REMEMBERED));
    }

    #[test]
    fn frames_that_are_no_message_are_refused() {
        let signer = Signer::new("key");
        assert!(matches!(Message::decode(vec![b"GET / HTTP/1.1".to_vec()], &signer), Err(WireError::Frames)));
        // Each frame is needed.
        for count in 0..7 {
            let frames = message().encode(&signer)[..count].to_vec();
            assert!(matches!(Message::decode(frames, &signer), Err(WireError::Frames)), "{count}");
        }
    }
}
