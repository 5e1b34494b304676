//! The other side of the protocol: a front end that runs cells, without a user who could answer questions.

use super::message::{Message, Signer, WireError};
use super::{from_zmq, to_zmq};
use serde_json::{Value, json};
use std::collections::VecDeque;
use zeromq::{DealerSocket, Socket, SocketRecv, SocketSend, SubSocket, ZmqError};

/// Why a kernel cannot be talked to.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error(transparent)]
    Socket(#[from] ZmqError),
    #[error(transparent)]
    Message(#[from] WireError),
}

/// The addresses of the channels that a front end needs.
#[derive(Clone, Debug)]
pub struct Endpoints {
    pub shell: String,
    pub control: String,
    pub iopub: String,
}

/// A front end of one kernel.
pub struct Client {
    session: String,
    signer: Signer,
    shell: DealerSocket,
    control: DealerSocket,
    iopub: SubSocket,
    /// Messages on IOPub that came before they were asked for.
    waiting: VecDeque<Message>,
}

/// What [`Client::next`] brings.
#[derive(Debug)]
pub enum Received {
    /// A message on IOPub.
    Published(Message),
    /// A reply on the shell channel.
    Reply(Message),
}

impl Client {
    /// Connects to a kernel that listens, and waits until it has accepted the subscription to IOPub.
    pub async fn connect(endpoints: &Endpoints, key: &str) -> Result<Self, ClientError> {
        let mut client = Self {
            session: uuid::Uuid::new_v4().to_string(),
            signer: Signer::new(key),
            shell: DealerSocket::new(),
            control: DealerSocket::new(),
            iopub: SubSocket::new(),
            waiting: VecDeque::new(),
        };
        client.shell.connect(&endpoints.shell).await?;
        client.control.connect(&endpoints.control).await?;
        client.iopub.connect(&endpoints.iopub).await?;
        client.iopub.subscribe("").await?;
        loop {
            let message = Message::decode(from_zmq(client.iopub.recv().await?), &client.signer)?;
            match message.kind() {
                "iopub_welcome" => return Ok(client),
                _ => client.waiting.push_back(message),
            }
        }
    }

    /// Sends the code of a cell, and returns the id of the request. Questions of the cell are refused.
    pub async fn execute(&mut self, code: &str) -> Result<String, ClientError> {
        self.execute_request(code, true).await
    }

    /// The same for code that is no cell of the user: it gets no number of its own and stays out of the history.
    pub async fn ask(&mut self, code: &str) -> Result<String, ClientError> {
        self.execute_request(code, false).await
    }

    async fn execute_request(&mut self, code: &str, keep: bool) -> Result<String, ClientError> {
        let content = json!({ "code": code, "silent": false, "store_history": keep, "user_expressions": {},
            "allow_stdin": false, "stop_on_error": true });
        let message = Message::new(&self.session, "execute_request", &json!({}), content);
        self.shell.send(to_zmq(message.encode(&self.signer))).await?;
        Ok(message.header["msg_id"].as_str().unwrap_or_default().to_string())
    }

    /// Asks the kernel to interrupt what runs.
    pub async fn interrupt(&mut self) -> Result<(), ClientError> {
        self.control_request("interrupt_request", json!({})).await
    }

    /// Asks the kernel to end.
    pub async fn shut_down(&mut self) -> Result<(), ClientError> {
        self.control_request("shutdown_request", json!({ "restart": false })).await
    }

    async fn control_request(&mut self, kind: &str, content: Value) -> Result<(), ClientError> {
        let message = Message::new(&self.session, kind, &json!({}), content);
        Ok(self.control.send(to_zmq(message.encode(&self.signer))).await?)
    }

    /// Waits for the next message on IOPub or the next reply. It may be dropped while it waits, and loses no message.
    pub async fn next(&mut self) -> Result<Received, ClientError> {
        if let Some(message) = self.waiting.pop_front() {
            return Ok(Received::Published(message));
        }
        let Self { iopub, shell, signer, .. } = self;
        let (frames, is_reply) = tokio::select! {
            message = iopub.recv() => (from_zmq(message?), false),
            message = shell.recv() => (from_zmq(message?), true),
        };
        let message = Message::decode(frames, signer)?;
        Ok(if is_reply { Received::Reply(message) } else { Received::Published(message) })
    }
}
