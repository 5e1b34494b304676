//! The stdin channel, on which the kernel asks the user.

use crate::message::{KEY, Message, frames_of, header};
use crate::wait::PATIENCE;
use serde_json::json;
use std::time::Duration;
use zeromq::{DealerSocket, SocketRecv, SocketSend};

/// The front end's end of the stdin channel.
pub struct Questions(pub(crate) DealerSocket);

impl Questions {
    /// Waits for a question (`input_request`).
    pub async fn next(&mut self) -> Message {
        self.next_within(PATIENCE).await.expect("a question")
    }

    /// Waits for a question, at most for a time. None if none has come.
    pub(crate) async fn next_within(&mut self, limit: Duration) -> Option<Message> {
        let frames = tokio::time::timeout(limit, self.0.recv()).await.ok()?;
        Some(Message::read(frames.expect("a message")))
    }

    /// Answers a question.
    pub async fn answer(&mut self, question: &Message, line: &str) {
        let content = json!({ "status": "ok", "value": line });
        let frames = frames_of([&header("input_reply"), &question.header, &json!({}), &content], KEY);
        self.0.send(frames).await.expect("the kernel listens");
    }
}
