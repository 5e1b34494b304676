//! A running kernel and the sockets that are connected to it.

use crate::message::{KEY, Message};
use crate::processes::{command_of, descendants, processor_seconds};
use crate::product::executable;
use crate::stdin::Questions;
use crate::wait::PATIENCE;
use serde_json::{Value, json};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use zeromq::{DealerSocket, ReqSocket, Socket, SocketOptions, SocketRecv, SocketSend, SubSocket};

/// A running kernel and a front end that is connected to it. The kernel is killed when this is dropped.
pub struct Kernel {
    pub process: Child,
    /// The folder that the kernel runs in.
    pub folder: PathBuf,
    /// The content of the connection file.
    info: Value,
    /// The ZeroMQ identity of the front end on shell and stdin. By it the kernel knows whom to ask for input.
    identity: String,
    pub(crate) shell: DealerSocket,
    pub(crate) control: DealerSocket,
    pub(crate) iopub: SubSocket,
    /// Holds the connection file and the history.
    _connection: tempfile::TempDir,
}

/// Starts a kernel in a new folder, which is removed when the second value is dropped.
pub async fn kernel() -> (Kernel, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    (Kernel::start(folder.path()).await, folder)
}

impl Kernel {
    /// Starts a kernel in a folder and waits until it has accepted the subscription to IOPub, so that the test misses
    /// no message.
    pub async fn start(folder: &Path) -> Self {
        Self::start_as(folder, Command::new(executable("tunebook")), &[]).await
    }

    /// Starts a kernel through another command, which must lead to the kernel's executable, with more variables in its
    /// environment. Each kernel has a history file of its own unless the environment names another
    /// (`TUNEBOOK_HISTORY`).
    pub async fn start_as(folder: &Path, command: Command, environment: &[(&str, &str)]) -> Self {
        // Another process may take a port between here and the start of the kernel; then other ports are tried.
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

    /// Starts a kernel whose sockets are files with a common prefix.
    pub async fn start_over_ipc(prefix: &Path, folder: &Path) -> Self {
        let prefix = prefix.to_str().expect("a path that is text");
        let command = Command::new(executable("tunebook"));
        let kernel = Self::start_at("ipc", prefix, &[1, 2, 3, 4, 5], folder, &command, &[]).await;
        kernel.expect("the kernel listens")
    }

    /// Returns None if the kernel ended before it listened.
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
        let mut command = copy_of(command);
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
        // The shell's port may be that of another kernel by now; then this one has ended.
        for (socket, port) in [("control", "control_port"), ("iopub", "iopub_port")] {
            let endpoint = kernel.endpoint(port);
            let connected = match socket {
                "control" => kernel.control.connect(&endpoint).await,
                _ => kernel.iopub.connect(&endpoint).await,
            };
            if kernel.process.try_wait().is_ok_and(|ended| ended.is_some()) {
                return None;
            }
            connected.expect(socket);
        }
        kernel.iopub.subscribe("").await.expect("a subscription");
        assert_eq!(kernel.published().await.kind(), "iopub_welcome");
        Some(kernel)
    }

    /// The ZeroMQ address of a channel, by the name of its port in the connection file (`shell_port`, …).
    pub fn endpoint(&self, port: &str) -> String {
        let (address, number) = (self.info["ip"].as_str().unwrap_or(""), &self.info[port]);
        if self.info["transport"] == "ipc" {
            format!("ipc://{address}-{number}")
        } else {
            format!("tcp://{address}:{number}")
        }
    }

    /// Connects to the stdin channel.
    pub async fn questions(&self) -> Questions {
        let mut socket = dealer(&self.identity);
        socket.connect(&self.endpoint("stdin_port")).await.expect("stdin");
        Questions(socket)
    }

    /// A second subscription to IOPub, which receives the same messages independently.
    pub async fn listener(&self) -> SubSocket {
        let mut socket = SubSocket::new();
        socket.connect(&self.endpoint("iopub_port")).await.expect("iopub");
        socket.subscribe("").await.expect("a subscription");
        let welcome = tokio::time::timeout(PATIENCE, socket.recv()).await.expect("in time").expect("a welcome");
        assert_eq!(Message::read(welcome).kind(), "iopub_welcome");
        socket
    }

    /// Sends bytes to the heartbeat channel and returns what comes back.
    pub async fn beat(&self, bytes: &str) -> String {
        let mut socket = ReqSocket::new();
        socket.connect(&self.endpoint("hb_port")).await.expect("the heartbeat");
        socket.send(bytes.into()).await.expect("a beat");
        let echo = tokio::time::timeout(PATIENCE, socket.recv()).await.expect("in time").expect("an echo");
        String::try_from(echo).expect("text")
    }

    /// Ends the kernel's process at once, as a power cut would.
    pub fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Waits until the kernel has finished the work that it does in the background after its start: it creates the
    /// engine of Rust cells and reads the standard library. It is quiet when it used hardly any processor time for
    /// three seconds.
    pub async fn quiet(&mut self) {
        const SECOND: Duration = Duration::from_secs(1);
        self.run_ok("1 + 1").await;
        let code = "let text = String::new();\ntext.is_emp";
        let found = self.request("complete_request", json!({ "code": code, "cursor_pos": code.len() })).await;
        assert_eq!(found.reply["matches"][0], "is_empty", "{found:?}");
        let (started, mut quiet_seconds) = (Instant::now(), 0);
        while quiet_seconds < 3 {
            assert!(started.elapsed() < PATIENCE, "the kernel is never quiet");
            let before = self.processor_seconds();
            // Processor use is measured over an interval, so some time must pass.
            tokio::time::sleep(SECOND).await;
            quiet_seconds = if self.processor_seconds() - before < 0.05 { quiet_seconds + 1 } else { 0 };
        }
    }

    /// The seconds of processor time that the kernel's own process has used.
    pub fn processor_seconds(&self) -> f64 {
        processor_seconds(self.process.id() as i32)
    }

    /// The ids of the processes below the kernel whose command line contains a name.
    pub fn children(&self, name: &str) -> Vec<i32> {
        descendants(self.process.id()).into_iter().filter(|pid| command_of(*pid).contains(name)).collect()
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A second command with the same program, arguments and environment; [`Command`] cannot be cloned.
fn copy_of(command: &Command) -> Command {
    let mut copy = Command::new(command.get_program());
    copy.args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => copy.env(name, value),
            None => copy.env_remove(name),
        };
    }
    copy
}

fn dealer(identity: &str) -> DealerSocket {
    let mut options = SocketOptions::default();
    options.peer_identity(identity.parse().expect("a short name"));
    DealerSocket::with_options(options)
}
