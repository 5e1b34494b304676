//! The stdin channel: asks the user for a line of input.

use super::message::Message;
use super::router::{Reader, Writer};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::sync::mpsc::{Receiver, channel};

/// The number of answers that may wait. Further ones are dropped.
const ANSWERS: usize = 16;

/// The stdin channel. Clones share it.
#[derive(Clone)]
pub struct Stdin {
    session: Arc<str>,
    answers: Arc<Mutex<Receiver<Message>>>,
    writer: Writer,
}

impl Stdin {
    /// The channel over the two halves of its socket.
    pub fn new(session: &str, mut reader: Reader, writer: Writer) -> Self {
        let (sender, answers) = channel(ANSWERS);
        // The socket is read all the time, and not only during a question: reading is how it notices peers that have
        // gone.
        tokio::spawn(async move {
            while !sender.is_closed() {
                let _ = sender.try_send(reader.next().await);
            }
        });
        Self { session: session.into(), answers: Arc::new(Mutex::new(answers)), writer }
    }

    /// Asks the sender of a request for a line. None once `ended` returns true before an answer has come.
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
        let mut answers = self.answers.lock().await;
        // A message that came before the question does not answer it.
        while answers.try_recv().is_ok() {}
        self.writer.send(&question).await;
        loop {
            tokio::select! {
                Some(answer) = answers.recv() => {
                    // An answer to an earlier question, which was given up, does not answer this one.
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
