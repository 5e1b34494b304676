//! A small Jupyter front end: it starts the real kernel, speaks to it over real sockets, and hands back what came, so
//! that a test reads like the conversation that it checks.

pub mod raw;

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use zeromq::{DealerSocket, ReqSocket, Socket, SocketOptions, SocketRecv, SocketSend, SubSocket, ZmqMessage};

/// Nothing takes so long that works.
const PATIENCE: Duration = Duration::from_secs(120);
const KEY: &str = "the key of the tests";

/// The executable of the product that `cargo verify` built, or the one beside the tests.
pub fn executable(name: &str) -> PathBuf {
    let variable = if name == "tunebook" { "TUNEBOOK_BIN" } else { "TUNEBOOK_WORKER" };
    let beside = || {
        let test = std::env::current_exe().expect("the test's own executable");
        test.ancestors().nth(2).expect("target/release/deps").join(name)
    };
    let path = std::env::var_os(variable).map_or_else(beside, PathBuf::from);
    assert!(path.exists(), "{} is not built: run `cargo verify`", path.display());
    path
}

/// Whether `cargo verify` found that this machine lacks something optional: `chromium` or `fashion-mnist`. The
/// test that needs it says so and ends, and `cargo verify` says so again when it ends.
pub fn lacks(what: &str) -> bool {
    let lacks = std::env::var("TUNEBOOK_LACKS").unwrap_or_default().split(' ').any(|lack| lack == what);
    if lacks {
        println!("not tested: this machine lacks {what}");
    }
    lacks
}

/// A message as it came.
#[derive(Clone)]
pub struct Message {
    /// Frames before the delimiter.
    pub identities: Vec<Vec<u8>>,
    /// Its header.
    pub header: Value,
    /// Header of the request that it belongs to.
    pub parent: Value,
    /// What it says.
    pub content: Value,
}

/// What a failed test has to say of it.
impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.kind(), self.content)
    }
}

/// Text without the sequences that colour it.
pub fn without_colours(text: &str) -> String {
    let (mut plain, mut rest) = (String::new(), text);
    while let Some(at) = rest.find("\x1b[") {
        plain += &rest[..at];
        rest = rest[at..].split_once('m').map_or("", |(_, rest)| rest);
    }
    plain + rest
}

impl Message {
    /// `msg_type`.
    pub fn kind(&self) -> &str {
        self.header["msg_type"].as_str().unwrap_or("")
    }

    /// Reads the frames that a socket received, and checks their signature.
    pub fn read(frames: ZmqMessage) -> Self {
        let frames = frames.into_vec();
        let at = frames.iter().position(|f| f.as_ref() == b"<IDS|MSG>").expect("a delimiter");
        let part = |i: usize| serde_json::from_slice(&frames[at + i]).expect("JSON");
        let signed: Vec<&[u8]> = frames[at + 2..at + 6].iter().map(|f| f.as_ref()).collect();
        assert_eq!(frames[at + 1].as_ref(), sign(&signed, KEY).as_bytes(), "the kernel signs what it sends");
        Self {
            identities: frames[..at].iter().map(|f| f.to_vec()).collect(),
            header: part(2),
            parent: part(3),
            content: part(5),
        }
    }
}

fn sign(parts: &[&[u8]], key: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("any key");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The frames of a request, signed with a key.
pub fn request_frames(kind: &str, content: &Value, metadata: &Value, key: &str) -> (String, ZmqMessage) {
    let id = uuid::Uuid::new_v4().to_string();
    let header = json!({ "msg_id": id, "session": "tests", "username": "t", "date": "2026-01-01T00:00:00Z",
        "msg_type": kind, "version": "5.5" });
    let parts = [&header, &json!({}), metadata, content].map(|part| part.to_string().into_bytes());
    let signature = sign(&parts.each_ref().map(Vec::as_slice), key);
    let mut message = ZmqMessage::from("<IDS|MSG>");
    message.push_back(signature.into_bytes().into());
    for part in parts {
        message.push_back(part.into());
    }
    (id, message)
}

/// The frames of a message whose parts are these bytes, signed as front ends do.
pub fn signed_frames(parts: [&[u8]; 4]) -> ZmqMessage {
    let mut message = ZmqMessage::from("<IDS|MSG>");
    message.push_back(sign(&parts, KEY).into_bytes().into());
    for part in parts {
        message.push_back(part.to_vec().into());
    }
    message
}

/// What one request brought.
#[derive(Debug)]
pub struct Answer {
    /// Content of the reply.
    pub reply: Value,
    /// What was published for it, from busy to idle.
    pub published: Vec<Message>,
}

impl Answer {
    /// All text of a stream.
    pub fn text(&self, name: &str) -> String {
        let streams = self.published.iter().filter(|m| m.kind() == "stream" && m.content["name"] == name);
        streams.map(|m| m.content["text"].as_str().unwrap_or("")).collect()
    }

    /// The first message of a kind.
    pub fn first(&self, kind: &str) -> &Message {
        let found = self.published.iter().find(|m| m.kind() == kind);
        found.unwrap_or_else(|| panic!("no {kind} in {:#?}", self.published))
    }

    /// The last state of the one display that holds a result for programs.
    pub fn result(&self) -> Value {
        let mime = "application/vnd.tunebook.v1+json";
        let holding = self.published.iter().filter(|m| m.content["data"].get(mime).is_some());
        holding.last().unwrap_or_else(|| panic!("no result in {:#?}", self.published)).content["data"][mime].clone()
    }

    /// `ename: evalue` and the traceback, colours removed.
    pub fn error(&self) -> String {
        let content = &self.first("error").content;
        let mut text =
            format!("{}: {}\n", content["ename"].as_str().unwrap_or(""), content["evalue"].as_str().unwrap_or(""));
        for line in content["traceback"].as_array().into_iter().flatten() {
            text = text + &without_colours(line.as_str().unwrap_or("")) + "\n";
        }
        text
    }

    /// What the cell evaluated to, as text; empty where it is nothing.
    pub fn value(&self) -> &str {
        let value = self.published.iter().find(|message| message.kind() == "execute_result");
        value.and_then(|value| value.content["data"]["text/plain"].as_str()).unwrap_or("")
    }

    /// The messages of a kind.
    pub fn all(&self, kind: &str) -> Vec<&Message> {
        self.published.iter().filter(|message| message.kind() == kind).collect()
    }

    /// What the pager shows, as text.
    pub fn page(&self) -> &str {
        self.reply["payload"][0]["data"]["text/plain"].as_str().unwrap_or("")
    }

    /// The reply's status.
    pub fn status(&self) -> &str {
        self.reply["status"].as_str().unwrap_or("")
    }
}

/// The channel on which a kernel asks the user.
pub struct Questions(DealerSocket);

impl Questions {
    /// Waits for a question.
    pub async fn next(&mut self) -> Message {
        let frames = tokio::time::timeout(PATIENCE, self.0.recv()).await.expect("in time").expect("a question");
        Message::read(frames)
    }

    /// Answers a question.
    pub async fn answer(&mut self, question: &Message, line: &str) {
        let header = json!({ "msg_id": uuid::Uuid::new_v4().to_string(), "session": "tests", "username": "t",
            "date": "2026-01-01T00:00:00Z", "msg_type": "input_reply", "version": "5.5" });
        let content = json!({ "status": "ok", "value": line });
        let parts = [&header, &question.header, &json!({}), &content].map(|part| part.to_string().into_bytes());
        self.0.send(signed_frames(parts.each_ref().map(Vec::as_slice))).await.expect("the kernel listens");
    }
}

/// A running kernel with a front end connected to it.
pub struct Kernel {
    /// The kernel's process.
    pub process: Child,
    /// The folder that it runs in.
    pub folder: PathBuf,
    info: Value,
    /// What the front end calls itself on shell and stdin: by that the kernel knows whom to ask.
    identity: String,
    shell: DealerSocket,
    control: DealerSocket,
    iopub: SubSocket,
    _connection: tempfile::TempDir,
}

impl Kernel {
    /// Starts a kernel in a folder and waits until it has welcomed the subscriber.
    pub async fn start(folder: &Path) -> Self {
        Self::start_as(folder, Command::new(executable("tunebook")), &[]).await
    }

    /// The same through another command that leads to the kernel's executable, and with more in its environment. Its history
    /// is its own, unless the environment names another (`TUNEBOOK_HISTORY`).
    pub async fn start_as(folder: &Path, command: Command, environment: &[(&str, &str)]) -> Self {
        // Somebody else may take a port before the kernel does.
        for _ in 0..5 {
            let listeners: Vec<TcpListener> =
                (0..5).map(|_| TcpListener::bind("127.0.0.1:0").expect("a port")).collect();
            let ports: Vec<u16> = listeners.iter().map(|l| l.local_addr().expect("an address").port()).collect();
            drop(listeners);
            if let Some(kernel) = Self::start_at("tcp", "127.0.0.1", &ports, folder, &command, environment).await {
                return kernel;
            }
        }
        panic!("the kernel ends before it listens");
    }

    /// The same over sockets in the file system, whose paths begin with a prefix.
    pub async fn start_over_ipc(prefix: &Path, folder: &Path) -> Self {
        let prefix = prefix.to_str().expect("a path that is text");
        let command = Command::new(executable("tunebook"));
        let kernel = Self::start_at("ipc", prefix, &[1, 2, 3, 4, 5], folder, &command, &[]).await;
        kernel.expect("the kernel listens")
    }

    /// `None`: it ended before it listened.
    async fn start_at(
        transport: &str,
        address: &str,
        ports: &[u16],
        folder: &Path,
        command: &Command,
        environment: &[(&str, &str)],
    ) -> Option<Self> {
        let connection = tempfile::tempdir().expect("a folder");
        let info = json!({ "ip": address, "transport": transport, "key": KEY, "signature_scheme": "hmac-sha256",
            "shell_port": ports[0], "control_port": ports[1], "iopub_port": ports[2], "stdin_port": ports[3],
            "hb_port": ports[4], "kernel_name": "tunebook" });
        let file = connection.path().join("connection.json");
        std::fs::write(&file, info.to_string()).expect("the connection file");
        let mut command = again(command);
        command.args(["kernel", "--connection-file"]).arg(&file).current_dir(folder).stdin(Stdio::null());
        command.env("TUNEBOOK_WORKER", executable("tunebook-worker"));
        command.env_remove("TUNEBOOK_STUDIES").env("TUNEBOOK_HISTORY", connection.path().join("history.db"));
        let process = command.envs(environment.iter().copied()).spawn().expect("the kernel starts");
        let identity = uuid::Uuid::new_v4().to_string();
        let mut kernel = Self {
            process,
            folder: folder.into(),
            info,
            shell: dealer(&identity),
            identity,
            control: DealerSocket::new(),
            iopub: SubSocket::new(),
            _connection: connection,
        };
        let deadline = Instant::now() + PATIENCE;
        while kernel.shell.connect(&kernel.endpoint("shell_port")).await.is_err() {
            if kernel.process.try_wait().is_ok_and(|ended| ended.is_some()) {
                return None;
            }
            assert!(Instant::now() < deadline, "the kernel does not listen");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        kernel.control.connect(&kernel.endpoint("control_port")).await.expect("control");
        kernel.iopub.connect(&kernel.endpoint("iopub_port")).await.expect("iopub");
        kernel.iopub.subscribe("").await.expect("a subscription");
        kernel.published_of_kind("iopub_welcome").await;
        Some(kernel)
    }

    /// The address of a channel, by its field in the connection file.
    pub fn endpoint(&self, port: &str) -> String {
        let (address, number) = (self.info["ip"].as_str().unwrap_or(""), &self.info[port]);
        if self.info["transport"] == "ipc" {
            format!("ipc://{address}-{number}")
        } else {
            format!("tcp://{address}:{number}")
        }
    }

    /// Waits for something to be published.
    pub async fn published(&mut self) -> Message {
        let frames = tokio::time::timeout(PATIENCE, self.iopub.recv()).await.expect("in time").expect("a message");
        Message::read(frames)
    }

    /// Skips what is published until a message of a kind.
    pub async fn published_of_kind(&mut self, kind: &str) -> Message {
        loop {
            let message = self.published().await;
            if message.kind() == kind {
                return message;
            }
        }
    }

    /// Sends a request on the shell channel and gives its id.
    pub async fn send(&mut self, kind: &str, content: Value) -> String {
        self.send_with(kind, content, json!({})).await
    }

    /// The same with metadata.
    pub async fn send_with(&mut self, kind: &str, content: Value, metadata: Value) -> String {
        let (id, frames) = request_frames(kind, &content, &metadata, KEY);
        self.shell.send(frames).await.expect("the kernel listens");
        id
    }

    /// Sends raw frames on the shell channel.
    pub async fn send_frames(&mut self, frames: ZmqMessage) {
        self.shell.send(frames).await.expect("the kernel listens");
    }

    /// Waits for the reply to a request.
    pub async fn reply(&mut self, id: &str) -> Message {
        loop {
            let frames = tokio::time::timeout(PATIENCE, self.shell.recv()).await.expect("in time").expect("a reply");
            let message = Message::read(frames);
            if message.parent["msg_id"] == id {
                return message;
            }
        }
    }

    /// Waits for the next message on the shell channel, whatever it answers.
    pub async fn next_reply(&mut self) -> Message {
        Message::read(tokio::time::timeout(PATIENCE, self.shell.recv()).await.expect("in time").expect("a reply"))
    }

    /// Connects to the channel on which the kernel asks the user.
    pub async fn questions(&self) -> Questions {
        let mut socket = dealer(&self.identity);
        socket.connect(&self.endpoint("stdin_port")).await.expect("stdin");
        Questions(socket)
    }

    /// Waits until what a request printed ends with a text; gives all messages that came meanwhile, of whatever request.
    pub async fn printed(&mut self, id: &str, end: &str) -> Vec<Message> {
        let (mut text, mut published) = (String::new(), vec![]);
        while !text.ends_with(end) {
            let message = self.published().await;
            if message.parent["msg_id"] == id && message.kind() == "stream" {
                text += message.content["text"].as_str().unwrap_or("");
            }
            let over = message.parent["msg_id"] == id && message.content["execution_state"] == "idle";
            published.push(message);
            assert!(!over || text.ends_with(end), "the cell ended without {end:?}: {published:#?}");
        }
        published
    }

    /// A front end of its own that listens to IOPub.
    pub async fn listener(&self) -> SubSocket {
        let mut socket = SubSocket::new();
        socket.connect(&self.endpoint("iopub_port")).await.expect("iopub");
        socket.subscribe("").await.expect("a subscription");
        let welcome = tokio::time::timeout(PATIENCE, socket.recv()).await.expect("in time").expect("a welcome");
        assert_eq!(Message::read(welcome).kind(), "iopub_welcome");
        socket
    }

    /// Waits for all that a request brings.
    pub async fn answer(&mut self, id: &str) -> Answer {
        let published = self.answer_published(id).await;
        Answer { reply: self.reply(id).await.content, published }
    }

    /// Waits for all that a message publishes, from busy to idle; for one that has no reply.
    pub async fn answer_published(&mut self, id: &str) -> Vec<Message> {
        let mut published = vec![];
        loop {
            let message = self.published().await;
            if message.parent["msg_id"] != id {
                continue;
            }
            let idle = message.kind() == "status" && message.content["execution_state"] == "idle";
            published.push(message);
            if idle {
                return published;
            }
        }
    }

    /// Sends a request and waits for all that it brings.
    pub async fn request(&mut self, kind: &str, content: Value) -> Answer {
        let id = self.send(kind, content).await;
        self.answer(&id).await
    }

    /// Runs a cell.
    pub async fn run(&mut self, code: &str) -> Answer {
        self.request("execute_request", cell(code)).await
    }

    /// Runs a cell that must end well.
    pub async fn run_ok(&mut self, code: &str) -> Answer {
        let answer = self.run(code).await;
        assert_eq!(answer.status(), "ok", "{code}\n{:#?}", answer.published);
        answer
    }

    /// Runs a cell that must end with an error, and gives its text.
    pub async fn run_error(&mut self, code: &str) -> String {
        let answer = self.run(code).await;
        assert_eq!(answer.status(), "error", "{code}\n{:#?}", answer.published);
        answer.error()
    }

    /// Sends a request on the control channel and waits for its reply.
    pub async fn control(&mut self, kind: &str, content: Value) -> Message {
        let (_, frames) = request_frames(kind, &content, &json!({}), KEY);
        self.control.send(frames).await.expect("the kernel listens");
        let frames = tokio::time::timeout(PATIENCE, self.control.recv()).await.expect("in time").expect("a reply");
        Message::read(frames)
    }

    /// Sends bytes to the heartbeat and gives what comes back.
    pub async fn beat(&self, bytes: &str) -> String {
        let mut socket = ReqSocket::new();
        socket.connect(&self.endpoint("hb_port")).await.expect("the heartbeat");
        socket.send(bytes.into()).await.expect("a beat");
        let echo = tokio::time::timeout(PATIENCE, socket.recv()).await.expect("in time").expect("an echo");
        String::try_from(echo).expect("text")
    }

    /// Ends the kernel as a power cut would.
    pub fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Processes below the kernel that run an executable of this name.
    pub fn children(&self, name: &str) -> Vec<i32> {
        descendants(self.process.id()).into_iter().filter(|pid| command_of(*pid).contains(name)).collect()
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A command once more, with its arguments and environment.
fn again(command: &Command) -> Command {
    let mut again = Command::new(command.get_program());
    again.args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => again.env(name, value),
            None => again.env_remove(name),
        };
    }
    again
}

fn dealer(identity: &str) -> DealerSocket {
    let mut options = SocketOptions::default();
    options.peer_identity(identity.parse().expect("a short name"));
    DealerSocket::with_options(options)
}

/// An `execute_request` as front ends send it.
pub fn cell(code: &str) -> Value {
    json!({ "code": code, "silent": false, "store_history": true, "user_expressions": {}, "allow_stdin": false,
        "stop_on_error": true })
}

/// All processes below a process.
pub fn descendants(of: u32) -> Vec<i32> {
    let parent = |pid: i32| -> Option<i32> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        if fields[0] == "Z" { None } else { fields[1].parse().ok() }
    };
    let all: Vec<i32> = std::fs::read_dir("/proc")
        .expect("/proc")
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    let mut found = vec![of as i32];
    let mut i = 0;
    while i < found.len() {
        let above = found[i];
        found.extend(all.iter().copied().filter(|pid| parent(*pid) == Some(above)));
        i += 1;
    }
    found.split_off(1)
}

/// The command line of a process; empty once it has ended.
pub fn command_of(pid: i32) -> String {
    String::from_utf8_lossy(&std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default()).replace('\0', " ")
}

/// Waits until something is so, at most a time.
pub async fn eventually(limit: Duration, mut is_so: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    while Instant::now() < deadline {
        if is_so() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    is_so()
}
