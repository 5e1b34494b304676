//! Asking the user for a line of input.

use super::message::Message;
use super::router::{Reader, Writer};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

/// The stdin channel; clones share it.
#[derive(Clone)]
pub struct Stdin {
    session: Arc<str>,
    reader: Arc<Mutex<Reader>>,
    writer: Writer,
}

impl Stdin {
    /// Over the halves of its socket.
    pub fn new(session: &str, reader: Reader, writer: Writer) -> Self {
        Self { session: session.into(), reader: Arc::new(Mutex::new(reader)), writer }
    }

    /// Asks whoever sent a request; `None` where the cell was ended before an answer came.
    pub async fn ask(
        &self,
        request: &Message,
        prompt: &str,
        password: bool,
        ended: impl Fn() -> bool,
    ) -> Option<String> {
        let content = json!({ "prompt": prompt, "password": password });
        let mut question = Message::new(&self.session, "input_request", &request.header, content);
        question.identities = request.identities.clone();
        let mut reader = self.reader.lock().await;
        self.writer.send(&question).await;
        loop {
            tokio::select! {
                answer = reader.next() => {
                    // An answer to an earlier question, which was given up, is not one to this.
                    let parent = answer.parent["msg_id"].as_str();
                    if parent.is_none_or(|id| question.header["msg_id"] == id) && answer.kind() == "input_reply" {
                        return Some(answer.content["value"].as_str().unwrap_or("").to_string());
                    }
                }
                () = tokio::time::sleep(Duration::from_millis(50)) => if ended() { return None },
            }
        }
    }
}
