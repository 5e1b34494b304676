//! One message: its parts, its frames, its signature.
//!
//! Contents stay JSON here. A request that lacks a field must still get a reply, so each handler reads what it needs and
//! has a default for the rest.

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Map, Value, json};
use sha2::Sha256;
use zeromq::ZmqMessage;

/// Between the identities and the signed frames.
const DELIMITER: &[u8] = b"<IDS|MSG>";
/// The version of the messaging protocol that this kernel speaks.
pub const PROTOCOL_VERSION: &str = "5.5";

/// Frames that are no message for us.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// No delimiter, or too few frames after it.
    #[error("not a Jupyter message")]
    Frames,
    /// Signed with another key, or not at all.
    #[error("the signature does not fit")]
    Signature,
    /// A frame that is no JSON object.
    #[error("not JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// Signs and checks messages with the session's key; an empty key means no signatures.
#[derive(Clone)]
pub struct Signer {
    key: Vec<u8>,
}

impl Signer {
    /// A signer for the key of a connection file.
    pub fn new(key: &str) -> Self {
        Self { key: key.as_bytes().to_vec() }
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

    /// In constant time, so that the time tells nothing of the key.
    fn is_signed(&self, parts: &[&[u8]], signature: &[u8]) -> bool {
        let Some(mac) = self.mac(parts) else { return self.key.is_empty() };
        let digit = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        let bytes: Option<Vec<u8>> = signature.chunks(2).map(digit).collect();
        bytes.is_some_and(|bytes| mac.verify_slice(&bytes).is_ok())
    }
}

/// A message.
#[derive(Clone, Debug)]
pub struct Message {
    /// Whom it came from or goes to; on IOPub the topic.
    pub identities: Vec<Vec<u8>>,
    /// Its own header.
    pub header: Value,
    /// Header of the request that it answers.
    pub parent: Value,
    /// Beside the content.
    pub metadata: Value,
    /// What it says.
    pub content: Value,
}

impl Message {
    /// A new message of a session.
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

    /// `msg_type`.
    pub fn kind(&self) -> &str {
        self.header["msg_type"].as_str().unwrap_or("")
    }

    /// Reads the frames of a router or dealer socket.
    pub fn decode(frames: ZmqMessage, signer: &Signer) -> Result<Self, WireError> {
        let frames = frames.into_vec();
        let delimiter = frames.iter().position(|frame| frame.as_ref() == DELIMITER).ok_or(WireError::Frames)?;
        let [signature, header, parent, metadata, content] = frames.get(delimiter + 1..delimiter + 6).unwrap_or(&[])
        else {
            return Err(WireError::Frames);
        };
        if !signer.is_signed(&[header, parent, metadata, content], signature) {
            return Err(WireError::Signature);
        }
        let object = |frame: &[u8]| -> Result<Value, WireError> {
            Ok(Value::Object(serde_json::from_slice::<Map<String, Value>>(frame)?))
        };
        Ok(Self {
            identities: frames[..delimiter].iter().map(|frame| frame.to_vec()).collect(),
            header: object(header)?,
            parent: object(parent)?,
            metadata: object(metadata)?,
            content: object(content)?,
        })
    }

    /// The frames to send.
    pub fn encode(&self, signer: &Signer) -> ZmqMessage {
        let parts =
            [&self.header, &self.parent, &self.metadata, &self.content].map(|part| part.to_string().into_bytes());
        let signature = signer.sign(&parts.each_ref().map(Vec::as_slice));
        let mut frames: Vec<Vec<u8>> = self.identities.clone();
        frames.extend([DELIMITER.to_vec(), signature.into_bytes()]);
        frames.extend(parts);
        let mut frames = frames.into_iter();
        let mut message = ZmqMessage::from(frames.next().unwrap_or_default());
        for frame in frames {
            message.push_back(frame.into());
        }
        message
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
    }

    #[test]
    fn frames_that_are_no_message_are_refused() {
        let signer = Signer::new("key");
        assert!(matches!(Message::decode(ZmqMessage::from("GET / HTTP/1.1"), &signer), Err(WireError::Frames)));
    }
}
