//! Waits at the end of a notebook for the sweeps that it has begun in the background.

use super::cell::{Ended, StopSignals, ask};
use super::kernel_process::KernelProcess;
use super::terminal::say;
use serde_json::Value;
use std::time::Duration;

/// How often the kernel is asked whether sweeps run. What it shows meanwhile is read each time.
const PAUSE: Duration = Duration::from_millis(500);

/// How the wait ended.
pub enum Waited {
    /// No sweep runs any more. Each sentence is about one that ended with an error.
    Done(Vec<String>),
    /// The user interrupted it. The sweeps were stopped.
    Interrupted,
    KernelDied,
}

/// Waits until no sweep runs in the background. `add` gets what the sweeps show meanwhile.
pub async fn wait_for_sweeps(
    kernel: &mut KernelProcess,
    stop: &mut StopSignals,
    add: &mut dyn FnMut(&str, &Value),
) -> anyhow::Result<Waited> {
    let mut known: Vec<String> = vec![];
    loop {
        let listed = match ask(kernel, "%sweeps", stop, add).await? {
            (Ended::KernelDied, _) => return Ok(Waited::KernelDied),
            (Ended::Interrupted, _) => break,
            (Ended::Failed(name, message), _) => return Ok(Waited::Done(vec![format!("{name}: {message}")])),
            (_, listed) => listed.unwrap_or_default(),
        };
        let running = names(&listed, "running");
        if running.is_empty() {
            return Ok(Waited::Done(failures(&listed)));
        }
        for name in running.iter().filter(|name| !known.contains(name)) {
            say(&format!("Waiting for the sweep `{name}`, which runs in the background."));
        }
        known = running;
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = stop.received() => break,
        }
    }
    for name in known {
        say(&format!("Stopping the sweep `{name}`. What ended is recorded, and `--resume` continues."));
        // It waits until the sweep has recorded what ran, and shown it.
        ask(kernel, &format!("%sweep stop {name}"), stop, add).await?;
    }
    Ok(Waited::Interrupted)
}

/// The sweeps in this state.
fn of_state<'a>(listed: &'a Value, state: &'a str) -> impl Iterator<Item = &'a Value> {
    listed["sweeps"].as_array().into_iter().flatten().filter(move |sweep| sweep["state"] == state)
}

fn names(listed: &Value, state: &str) -> Vec<String> {
    of_state(listed, state).filter_map(|sweep| sweep["study"].as_str()).map(String::from).collect()
}

/// A sentence about each sweep that ended with an error.
fn failures(listed: &Value) -> Vec<String> {
    let text = |sweep: &Value, field: &str| sweep[field].as_str().unwrap_or_default().to_string();
    let sentence = |sweep| format!("The sweep `{}` failed: {}", text(sweep, "study"), text(sweep, "reason"));
    of_state(listed, "failed").map(sentence).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn sweeps_that_run_and_those_that_failed_are_told_apart() {
        let listed = json!({ "kind": "sweeps", "sweeps": [
            { "study": "a", "state": "running", "reason": null },
            { "study": "b", "state": "failed", "reason": "there is no slot" },
            { "study": "c", "state": "ended", "reason": null },
        ] });
        assert_eq!(names(&listed, "running"), ["a"]);
        assert_eq!(failures(&listed), ["The sweep `b` failed: there is no slot"]);
        assert!(names(&Value::Null, "running").is_empty());
    }
}
