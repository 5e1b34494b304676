//! A request, and the messages on IOPub that may belong to it, in their order.

use crate::message::Message;
use serde_json::Value;

/// The channel that a request was sent on, on which its reply comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Channel {
    Shell,
    Control,
}

/// A request that was sent.
#[derive(Clone, Debug)]
pub struct Request {
    pub(crate) channel: Channel,
    /// Every message that belongs to the request has this as its parent header.
    pub(crate) header: Value,
    pub(crate) content: Value,
}

impl Request {
    pub(crate) fn kind(&self) -> &str {
        self.header["msg_type"].as_str().unwrap_or("")
    }

    pub(crate) fn id(&self) -> &str {
        self.header["msg_id"].as_str().unwrap_or("")
    }

    /// Whether it runs a cell whose code and outputs are published.
    pub(crate) fn is_cell(&self) -> bool {
        self.kind() == "execute_request" && self.content["silent"] != true
    }

    /// Whether a message is the reply to this request.
    pub(crate) fn has_reply(&self, message: &Message) -> bool {
        message.parent == self.header && message.kind() == self.kind().replace("_request", "_reply")
    }

    /// Whether a message can be the next one of this request, behind those that came already.
    pub(crate) fn continues_with(&self, earlier: &[Message], next: &Message) -> bool {
        const OUTPUTS: [&str; 4] = ["stream", "display_data", "update_display_data", "clear_output"];
        const ENDS: [&str; 2] = ["execute_result", "error"];
        let ended = earlier.iter().any(|message| ENDS.contains(&message.kind()));
        match earlier.len() {
            0 => next.is_status("busy"),
            1 if self.is_cell() => next.kind() == "execute_input",
            _ if next.is_status("idle") => true,
            _ => self.is_cell() && !ended && (OUTPUTS.contains(&next.kind()) || ENDS.contains(&next.kind())),
        }
    }
}
