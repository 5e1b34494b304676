//! The searching client: it looks for the messages that belong to a request and skips all others.

use crate::answer::Answer;
use crate::kernel::Kernel;
use crate::message::{KEY, Message, cell, request_frames};
use crate::wait::PATIENCE;
use serde_json::{Value, json};
use zeromq::{SocketRecv, SocketSend, ZmqMessage};

impl Kernel {
    /// Sends a request on the shell channel and returns its id.
    pub async fn send(&mut self, kind: &str, content: Value) -> String {
        let (id, frames) = request_frames(kind, &content, &json!({}), KEY);
        self.send_frames(frames).await;
        id
    }

    /// Sends frames on the shell channel as they are.
    pub async fn send_frames(&mut self, frames: ZmqMessage) {
        self.shell.send(frames).await.expect("the kernel listens");
    }

    /// Sends frames on the control channel as they are.
    pub async fn send_control_frames(&mut self, frames: ZmqMessage) {
        self.control.send(frames).await.expect("the kernel listens");
    }

    /// Waits for the next message on IOPub, whatever it is.
    pub async fn published(&mut self) -> Message {
        let received = tokio::time::timeout(PATIENCE, self.iopub.recv()).await;
        Message::read(received.expect("a message on IOPub in time").expect("a message"))
    }

    /// Waits for the next message on the shell channel, whatever it answers.
    pub async fn next_reply(&mut self) -> Message {
        let received = tokio::time::timeout(PATIENCE, self.shell.recv()).await;
        Message::read(received.expect("a reply on shell in time").expect("a reply"))
    }

    /// Waits for the next message on the control channel.
    pub async fn next_control_reply(&mut self) -> Message {
        let received = tokio::time::timeout(PATIENCE, self.control.recv()).await;
        Message::read(received.expect("a reply on control in time").expect("a reply"))
    }

    /// Skips messages on IOPub until one of a type comes.
    pub async fn published_of_kind(&mut self, kind: &str) -> Message {
        loop {
            let message = self.published().await;
            if message.kind() == kind {
                return message;
            }
        }
    }

    /// Waits for the reply to a request on the shell channel.
    pub async fn reply(&mut self, id: &str) -> Message {
        loop {
            let message = self.next_reply().await;
            if message.belongs_to(id) {
                return message;
            }
        }
    }

    /// Waits until the text that a request printed ends with `end`. Returns all messages that came on IOPub meanwhile,
    /// of whatever request.
    pub async fn printed(&mut self, id: &str, end: &str) -> Vec<Message> {
        let (mut text, mut published) = (String::new(), vec![]);
        while !text.ends_with(end) {
            let message = self.published().await;
            if message.belongs_to(id) && message.kind() == "stream" {
                text += message.content["text"].as_str().unwrap_or("");
            }
            let ended = message.belongs_to(id) && message.is_status("idle");
            published.push(message);
            assert!(!ended || text.ends_with(end), "the cell ended without {end:?}: {published:#?}");
        }
        published
    }

    /// Waits for the reply to a request and for all messages that it publishes.
    pub async fn answer(&mut self, id: &str) -> Answer {
        let published = self.answer_published(id).await;
        Answer { reply: self.reply(id).await.content, published }
    }

    /// Waits for all messages that a request publishes, up to `idle`. A comm message, for example, has no reply.
    pub async fn answer_published(&mut self, id: &str) -> Vec<Message> {
        let mut published = vec![];
        loop {
            let message = self.published().await;
            if !message.belongs_to(id) {
                continue;
            }
            let idle = message.is_status("idle");
            published.push(message);
            if idle {
                return published;
            }
        }
    }

    /// Sends a request on the shell channel and waits for all messages that it brings.
    pub async fn request(&mut self, kind: &str, content: Value) -> Answer {
        let id = self.send(kind, content).await;
        self.answer(&id).await
    }

    /// Runs a cell.
    pub async fn run(&mut self, code: &str) -> Answer {
        self.request("execute_request", cell(code)).await
    }

    /// Runs a cell that must succeed.
    pub async fn run_ok(&mut self, code: &str) -> Answer {
        let answer = self.run(code).await;
        assert_eq!(answer.status(), "ok", "{code}\n{:#?}", answer.published);
        answer
    }

    /// Runs a cell that must fail and returns the text of its error.
    pub async fn run_error(&mut self, code: &str) -> String {
        let answer = self.run(code).await;
        assert_eq!(answer.status(), "error", "{code}\n{:#?}", answer.published);
        answer.error()
    }

    /// Sends a request on the control channel and waits for its reply.
    pub async fn control(&mut self, kind: &str, content: Value) -> Message {
        let (_, frames) = request_frames(kind, &content, &json!({}), KEY);
        self.send_control_frames(frames).await;
        self.next_control_reply().await
    }
}
