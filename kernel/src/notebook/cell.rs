//! Runs one cell in a kernel of its own, with a time limit and the signals that end the run.

use super::kernel_process::KernelProcess;
use serde_json::Value;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tunebook_wire::client::Received;

/// What is waited for after the reply of a cell: the end of its output.
const AFTER_REPLY: Duration = Duration::from_secs(10);

/// The type of results for programs.
const RESULT: &str = "application/vnd.tunebook.v1+json";

/// How a cell ended.
pub enum Ended {
    Done,
    /// With this error: its name and its message.
    Failed(String, String),
    TimedOut(Duration),
    /// The user interrupted the run.
    Interrupted,
    KernelDied,
}

/// Runs a cell to its end. `add` gets each message about its output by its kind and content, and at last the reply.
pub async fn run_cell(
    kernel: &mut KernelProcess,
    code: &str,
    timeout: Option<Duration>,
    stop: &mut StopSignals,
    add: &mut dyn FnMut(&str, &Value),
) -> anyhow::Result<Ended> {
    let request = kernel.client.execute(code).await?;
    let mut each = |_: bool, kind: &str, content: &Value| add(kind, content);
    until_end(kernel, &request, timeout, stop, &mut each).await
}

/// Runs a magic that is no cell of the notebook, and returns its result for programs. `add` gets the messages of other
/// cells.
pub async fn ask(
    kernel: &mut KernelProcess,
    magic: &str,
    stop: &mut StopSignals,
    add: &mut dyn FnMut(&str, &Value),
) -> anyhow::Result<(Ended, Option<Value>)> {
    let request = kernel.client.ask(magic).await?;
    let mut result = None;
    let mut each = |is_own: bool, kind: &str, content: &Value| {
        if !is_own {
            add(kind, content);
        } else if let Some(found) = content["data"].get(RESULT) {
            result = Some(found.clone());
        }
    };
    let ended = until_end(kernel, &request, None, stop, &mut each).await?;
    Ok((ended, result))
}

/// Reads what the kernel says until a request has ended. `add` gets each message about output, and whether it belongs
/// to the request.
async fn until_end(
    kernel: &mut KernelProcess,
    request: &str,
    timeout: Option<Duration>,
    stop: &mut StopSignals,
    add: &mut dyn FnMut(bool, &str, &Value),
) -> anyhow::Result<Ended> {
    let deadline = timeout.map(|timeout| tokio::time::Instant::now() + timeout);
    let (mut error, mut replied, mut idle) = (None, None::<tokio::time::Instant>, false);
    let mut reply = Value::Null;
    let mut stopped: Option<Ended> = None;
    let mut beat = tokio::time::interval(Duration::from_millis(500));
    loop {
        if idle && replied.is_some() {
            break;
        }
        if replied.is_some_and(|replied| replied.elapsed() > AFTER_REPLY) {
            break;
        }
        tokio::select! {
            received = kernel.client.next() => match received? {
                Received::Published(message) if message.parent["msg_id"] == request => {
                    if message.kind() == "status" {
                        idle = message.content["execution_state"] == "idle";
                    }
                    if message.kind() == "error" {
                        let text = |field: &str| message.content[field].as_str().unwrap_or_default().to_string();
                        error = Some((text("ename"), text("evalue")));
                    }
                    add(true, message.kind(), &message.content);
                }
                // Output of a thread that an earlier cell started still belongs somewhere; it is shown here.
                Received::Published(message) => {
                    if matches!(message.kind(), "stream" | "display_data" | "update_display_data") {
                        add(false, message.kind(), &message.content);
                    }
                }
                Received::Reply(message) if message.parent["msg_id"] == request => {
                    replied = Some(tokio::time::Instant::now());
                    reply = message.content;
                }
                Received::Reply(_) => {}
            },
            () = until(deadline), if stopped.is_none() => {
                stopped = Some(Ended::TimedOut(timeout.unwrap_or_default()));
                kernel.client.interrupt().await?;
            }
            () = stop.received(), if stopped.is_none() => {
                stopped = Some(Ended::Interrupted);
                kernel.client.interrupt().await?;
            }
            _ = beat.tick() => {
                if !kernel.is_alive() {
                    return Ok(Ended::KernelDied);
                }
            }
        }
    }
    add(true, "execute_reply", &reply);
    Ok(match (stopped, error) {
        (Some(stopped), _) => stopped,
        (None, Some((name, message))) => Ended::Failed(name, message),
        (None, None) => Ended::Done,
    })
}

/// The signals by which the user or the system asks the run to end. They are listened to from the start, so that none
/// is lost.
pub struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignals {
    pub fn new() -> std::io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Waits for the next signal.
    pub async fn received(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Waits for a moment; for ever if there is none.
async fn until(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
