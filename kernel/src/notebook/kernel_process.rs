//! A kernel of its own for one notebook or one magic, and the connection to it.

use anyhow::{Context as _, bail};
use serde_json::json;
use std::ffi::OsStr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tunebook_magics::TEXT_COLUMNS;
use tunebook_wire::client::{Client, Endpoints};

/// A kernel that is not ready by then will never be.
const START: Duration = Duration::from_secs(60);
/// A kernel gets this much time to end by itself.
const END: Duration = Duration::from_secs(5);

/// A kernel that runs as a child of this process. Its sockets are files in a folder of their own.
pub struct KernelProcess {
    child: Child,
    pub client: Client,
    _folder: tempfile::TempDir,
}

impl KernelProcess {
    /// Starts a kernel whose current folder is `folder`, with more variables in its environment.
    pub async fn start(folder: &Path, environment: &[(&str, &OsStr)]) -> anyhow::Result<Self> {
        use std::os::unix::process::CommandExt;
        let connection = tempfile::tempdir().context("a temporary folder cannot be made")?;
        let prefix = connection.path().join("s").to_string_lossy().into_owned();
        let key = uuid::Uuid::new_v4().to_string();
        let info = json!({ "ip": prefix, "transport": "ipc", "key": key, "signature_scheme": "hmac-sha256",
            "shell_port": 1, "control_port": 2, "iopub_port": 3, "stdin_port": 4, "hb_port": 5,
            "kernel_name": "tunebook" });
        let file = connection.path().join("connection.json");
        std::fs::write(&file, info.to_string())?;
        let executable = std::env::current_exe().context("the kernel's own executable")?;
        let mut command = Command::new(executable);
        command.args(["kernel", "--connection-file"]).arg(&file).current_dir(folder).stdin(Stdio::null());
        // The width of the terminal is that of this kernel's parent, and not of one further up.
        command.env_remove(TEXT_COLUMNS).envs(environment.iter().copied());
        // An interrupt from the terminal is passed on as a request, which keeps the kernel alive.
        command.process_group(0).env("JPY_PARENT_PID", std::process::id().to_string());
        let mut child = command.spawn().context("the kernel cannot be started")?;
        let endpoint = |port: u8| format!("ipc://{prefix}-{port}");
        let endpoints = Endpoints { shell: endpoint(1), control: endpoint(2), iopub: endpoint(3) };
        // Stdin is bound last but one, so that all that are needed are there with it.
        let started = Instant::now();
        while !Path::new(&format!("{prefix}-4")).exists() {
            if let Some(status) = child.try_wait()? {
                bail!("the kernel ended before it was ready ({status})");
            }
            if started.elapsed() > START {
                let _ = child.kill();
                bail!("the kernel was not ready after {} s", START.as_secs());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let client = Client::connect(&endpoints, &key).await.context("the kernel cannot be talked to")?;
        Ok(Self { child, client, _folder: connection })
    }

    /// Whether the kernel still runs.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Ends the kernel.
    pub async fn end(mut self) {
        let _ = self.client.shut_down().await;
        let asked = Instant::now();
        while self.is_alive() && asked.elapsed() < END {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for KernelProcess {
    fn drop(&mut self) {
        if self.is_alive() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
