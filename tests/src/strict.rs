//! A front end that receives every message in order and fails on one that nobody expected.
//!
//! A test reads like the conversation that it checks:
//!
//! ```no_run
//! # use tunebook_tests::StrictFrontEnd;
//! # async fn test() {
//! let mut front_end = StrictFrontEnd::start().await;
//! let request = front_end.execute("println!(\"out\"); 6 * 7").await;
//! front_end.expect_busy(&request).await;
//! front_end.expect_input(&request, 1).await;
//! front_end.expect_stream(&request, "stdout", "out\n").await;
//! assert_eq!(front_end.expect_result(&request, 1).await["text/plain"], "42");
//! assert_eq!(front_end.expect_reply(&request).await["status"], "ok");
//! front_end.expect_idle(&request).await;
//! front_end.finish().await;
//! # }
//! ```
//!
//! Messages have an order within a channel, and none between channels. So each method takes the next message of its
//! channel.

use crate::answer::Answer;
use crate::kernel::{Kernel, kernel};
use crate::message::{KEY, Message, cell, frames_of, header};
use crate::request::{Channel, Request};
use crate::stdin::Questions;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::Path;
use std::process::Child;
use std::time::Duration;
use zeromq::ZmqMessage;

/// A running kernel and a front end in which every message must be expected. See the module for an example.
pub struct StrictFrontEnd {
    kernel: Kernel,
    stdin: Questions,
    /// A message on IOPub for which one of these returns true may come at any time.
    allowed: Vec<fn(&Message) -> bool>,
    /// The messages on IOPub so far, by the `msg_id` of the request that they belong to.
    published: HashMap<String, Vec<Message>>,
    /// What was sent, awaited and received so far. A failure prints it.
    transcript: Vec<String>,
    finished: bool,
    folder: tempfile::TempDir,
}

impl StrictFrontEnd {
    /// Starts a kernel in a new folder. The first thing that it says is that it starts.
    pub async fn start() -> Self {
        let (kernel, folder) = kernel().await;
        let stdin = kernel.questions().await;
        let mut front_end = Self {
            kernel,
            stdin,
            allowed: vec![],
            published: HashMap::new(),
            transcript: vec![],
            finished: false,
            folder,
        };
        let first = front_end.next_published("the status `starting`").await;
        let expected = first.is_status("starting") && first.parent == json!({});
        front_end.check(expected, "the status `starting`, without a parent", &first);
        front_end
    }

    /// The folder that the kernel runs in.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The kernel's process.
    pub fn process(&mut self) -> &mut Child {
        &mut self.kernel.process
    }

    /// The ZeroMQ address of a channel, by the name of its port in the connection file.
    pub fn endpoint(&self, port: &str) -> String {
        self.kernel.endpoint(port)
    }

    /// Sends bytes to the heartbeat channel and returns what comes back.
    pub async fn beat(&self, bytes: &str) -> String {
        self.kernel.beat(bytes).await
    }

    /// Sends frames on the shell channel as they are. The kernel must not react, or the test must expect its reaction.
    pub async fn send_frames(&mut self, frames: ZmqMessage) {
        self.kernel.send_frames(frames).await;
    }

    /// From here on a message on IOPub for which the filter returns true may come at any time.
    pub fn allow(&mut self, filter: fn(&Message) -> bool) {
        self.allowed.push(filter);
    }

    /// Sends a request on the shell channel.
    pub async fn send(&mut self, kind: &str, content: Value) -> Request {
        self.send_on(Channel::Shell, kind, content).await
    }

    /// Sends a request on the control channel.
    pub async fn send_on_control(&mut self, kind: &str, content: Value) -> Request {
        self.send_on(Channel::Control, kind, content).await
    }

    /// Sends the request to run a cell.
    pub async fn execute(&mut self, code: &str) -> Request {
        self.send("execute_request", cell(code)).await
    }

    async fn send_on(&mut self, channel: Channel, kind: &str, content: Value) -> Request {
        let header = header(kind);
        self.transcript.push(format!("sent on {channel:?}: {kind} {content}"));
        let frames = frames_of([&header, &json!({}), &json!({}), &content], KEY);
        match channel {
            Channel::Shell => self.kernel.send_frames(frames).await,
            Channel::Control => self.kernel.send_control_frames(frames).await,
        }
        Request { channel, header, content }
    }

    /// Expects the status `busy` of a request.
    pub async fn expect_busy(&mut self, request: &Request) {
        self.expect_status(request, "busy").await;
    }

    /// Expects the status `idle` of a request.
    pub async fn expect_idle(&mut self, request: &Request) {
        self.expect_status(request, "idle").await;
    }

    async fn expect_status(&mut self, request: &Request, state: &str) {
        let message = self.expect_published(request, "status").await;
        self.check(message.content == json!({ "execution_state": state }), &format!("the status `{state}`"), &message);
    }

    /// Expects that the code of a cell is published (`execute_input`) with this execution count.
    pub async fn expect_input(&mut self, request: &Request, count: u64) {
        let message = self.expect_published(request, "execute_input").await;
        let content = json!({ "code": request.content["code"], "execution_count": count });
        self.check(message.content == content, &format!("{content}"), &message);
    }

    /// Expects a text on a stream. The kernel may send it in several messages, with no other message between them.
    pub async fn expect_stream(&mut self, request: &Request, name: &str, text: &str) {
        let mut left = text;
        while !left.is_empty() {
            let message = self.expect_published(request, "stream").await;
            let part = message.content["text"].as_str().unwrap_or("");
            let rest = left.strip_prefix(part).filter(|_| !part.is_empty() && message.content["name"] == name);
            self.check(rest.is_some(), &format!("{left:?} on {name}"), &message);
            left = rest.unwrap_or("");
        }
    }

    /// Expects a display and returns the message.
    pub async fn expect_display(&mut self, request: &Request) -> Message {
        self.expect_published(request, "display_data").await
    }

    /// Expects the value of a cell and returns its MIME bundle.
    pub async fn expect_result(&mut self, request: &Request, count: u64) -> Value {
        let message = self.expect_published(request, "execute_result").await;
        self.check(message.content["execution_count"] == count, &format!("the execution count {count}"), &message);
        message.content["data"].clone()
    }

    /// Expects an error with this name and returns the message's content.
    pub async fn expect_error(&mut self, request: &Request, name: &str) -> Value {
        let message = self.expect_published(request, "error").await;
        self.check(message.content["ename"] == name, &format!("the error {name}"), &message);
        message.content
    }

    /// Expects that the next message on IOPub belongs to a request and has a type. Returns the message.
    pub async fn expect_published(&mut self, request: &Request, kind: &str) -> Message {
        let expected = format!("{kind} of {}", request.kind());
        let message = self.next_published(&expected).await;
        self.check(message.kind() == kind && message.parent == request.header, &expected, &message);
        message
    }

    /// Expects that the next message on the request's channel is its reply. Returns the reply's content.
    pub async fn expect_reply(&mut self, request: &Request) -> Value {
        let reply = self.next_reply(request.channel).await;
        self.check(request.has_reply(&reply), &format!("the reply to {} {}", request.kind(), request.id()), &reply);
        reply.content
    }

    async fn next_reply(&mut self, channel: Channel) -> Message {
        self.transcript.push(format!("waiting on {channel:?} for a reply"));
        let reply = match channel {
            Channel::Shell => self.kernel.next_reply().await,
            Channel::Control => self.kernel.next_control_reply().await,
        };
        self.transcript.push(format!("received on {channel:?}: {reply:?}"));
        reply
    }

    /// Expects a question of a cell on the stdin channel.
    pub async fn expect_question(&mut self, request: &Request) -> Message {
        let question = self.stdin.next().await;
        self.transcript.push(format!("received on Stdin: {question:?}"));
        let expected = question.kind() == "input_request" && question.parent == request.header;
        self.check(expected, "an input_request", &question);
        question
    }

    /// Answers a question of a cell.
    pub async fn answer(&mut self, question: &Message, line: &str) {
        self.transcript.push(format!("sent on Stdin: input_reply {line:?}"));
        self.stdin.answer(question, line).await;
    }

    /// Expects everything that a request brings, from `busy` to `idle`, with nothing of another request in between.
    /// Messages of the request that the test has taken already are part of the answer.
    ///
    /// The outputs of a cell may be any, in any order. But its code comes first, and its value or its error comes last.
    pub async fn expect_answer(&mut self, request: &Request) -> Answer {
        let [answer] = self.expect_answers([request]).await;
        answer
    }

    /// Expects everything that several requests bring which are in work at the same time. The order holds for each of
    /// them; between them it is open.
    ///
    /// When another request has ended while a cell runs, the kernel publishes `busy` for the cell once more, because
    /// front ends show the status that came last.
    pub async fn expect_answers<const N: usize>(&mut self, requests: [&Request; N]) -> [Answer; N] {
        let mut idle_of_other = false;
        while requests.iter().any(|request| !self.is_idle(request)) {
            let message = self.next_published("a message of a request in work").await;
            let request = requests.iter().find(|request| request.header == message.parent);
            let expected = request.is_some_and(|request| {
                let (_, earlier) = self.published[request.id()].split_last().expect("this message");
                let still_busy = idle_of_other && request.is_cell() && message.is_status("busy");
                still_busy && !earlier.is_empty() || request.continues_with(earlier, &message)
            });
            self.check(expected, "the next message of a request in work", &message);
            idle_of_other = message.is_status("idle");
        }
        let mut replies = HashMap::new();
        for request in requests {
            while !replies.contains_key(request.id()) {
                let reply = self.next_reply(request.channel).await;
                let request = requests.iter().find(|request| request.has_reply(&reply));
                let first =
                    request.is_some_and(|request| replies.insert(request.id(), reply.content.clone()).is_none());
                self.check(first, "a reply to a request in work", &reply);
            }
        }
        requests.map(|request| {
            let (reply, published) = (replies[request.id()].clone(), self.published[request.id()].clone());
            if request.is_cell() {
                assert_eq!(reply["execution_count"], published[1].content["execution_count"], "{reply}");
            }
            Answer { reply, published }
        })
    }

    fn is_idle(&self, request: &Request) -> bool {
        let published = self.published.get(request.id());
        published.and_then(|published| published.last()).is_some_and(|last| last.is_status("idle"))
    }

    /// Sends a request on the shell channel and expects everything that it brings, and nothing else.
    pub async fn request(&mut self, kind: &str, content: Value) -> Answer {
        let request = self.send(kind, content).await;
        self.expect_answer(&request).await
    }

    /// Sends a request on the control channel and expects everything that it brings, and nothing else.
    pub async fn control(&mut self, kind: &str, content: Value) -> Answer {
        let request = self.send_on_control(kind, content).await;
        self.expect_answer(&request).await
    }

    /// Runs a cell and expects everything that it brings, and nothing else.
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

    /// Ends the conversation: fails if the kernel has sent a message that nobody has taken. Every test ends with this.
    ///
    /// A last request on shell and one on control stand behind all that the kernel has sent on these channels and on
    /// IOPub, so there is no need to wait for a while. Only on stdin nothing marks the end.
    pub async fn finish(mut self) {
        self.transcript.push("the test has ended".into());
        self.request("kernel_info_request", json!({})).await;
        self.control("kernel_info_request", json!({})).await;
        if let Some(question) = self.stdin.next_within(Duration::from_millis(50)).await {
            self.check(false, "no question", &question);
        }
        self.finished = true;
    }

    /// The end of a conversation in which the kernel has ended: there is nothing left to receive.
    pub fn finish_after_shutdown(mut self) {
        self.finished = true;
    }

    /// The next message on IOPub that no filter allows.
    async fn next_published(&mut self, expected: &str) -> Message {
        self.transcript.push(format!("waiting on IOPub for {expected}"));
        loop {
            let message = self.kernel.published().await;
            self.transcript.push(format!("received on IOPub: {message:?}"));
            let id = message.parent["msg_id"].as_str().unwrap_or("");
            self.published.entry(id.into()).or_default().push(message.clone());
            if !self.allowed.iter().any(|is_allowed| is_allowed(&message)) {
                return message;
            }
        }
    }

    /// Fails unless a message is what was expected.
    fn check(&self, is_expected: bool, expected: &str, message: &Message) {
        assert!(is_expected, "expected {expected}, got {message:?} with the parent {}", message.parent);
    }
}

impl Drop for StrictFrontEnd {
    /// Shows the whole conversation when the test fails. Fails when the test has not called `finish`, because then it
    /// would not notice what nobody expected.
    fn drop(&mut self) {
        if std::thread::panicking() {
            let short = |line: &String| line.chars().take(300).collect::<String>();
            println!("{}", self.transcript.iter().map(short).collect::<Vec<_>>().join("\n"));
        } else {
            assert!(self.finished, "the test does not call `finish`");
        }
    }
}
