//! What cargo does while dependencies are fetched and built, in the cell that waits for it: one line that changes.

use super::output::{Bundle, Cell};
use serde_json::json;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The line changes at most so often.
const EVERY: Duration = Duration::from_millis(100);
/// So long another cargo may be in the way before it is worth a line.
const IN_THE_WAY: Duration = Duration::from_secs(2);

/// See the module; clones share it.
#[derive(Clone)]
pub struct BuildProgress {
    cell: Arc<dyn Cell>,
    /// Whether the code runs, so that cargo is done.
    is_running: Arc<dyn Fn() -> bool + Send + Sync>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// The display, once there is something to show.
    id: Option<String>,
    started: Option<Instant>,
    shown: Option<Instant>,
    compiled: usize,
    fetched: bool,
}

impl BuildProgress {
    /// Of a cell; nothing is shown yet.
    pub fn new(cell: Arc<dyn Cell>, is_running: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self { cell, is_running: Arc::new(is_running), state: Arc::default() }
    }

    /// A line of cargo's, such as `Compiling serde v1.0.228`.
    pub fn line(&self, line: &str) {
        // What it says of versions tells nobody how far it is.
        if line.starts_with("Locking") || line.starts_with("Adding") {
            return;
        }
        let Ok(mut state) = self.state.lock() else { return };
        state.compiled += usize::from(line.starts_with("Compiling"));
        state.fetched |= line.starts_with("Download");
        let started = *state.started.get_or_insert_with(Instant::now);
        if line.starts_with("Blocking") && state.id.is_none() {
            return self.later(line, started);
        }
        if state.shown.is_some_and(|shown| shown.elapsed() < EVERY) {
            return;
        }
        state.shown = Some(Instant::now());
        let text = match state.compiled {
            0 | 1 => line.to_string(),
            count => format!("{line} ({count} crates)"),
        };
        self.show(&mut state, &text);
    }

    /// All is built.
    pub fn end(&self) {
        let Ok(mut state) = self.state.lock() else { return };
        let Some(started) = state.started.take() else { return };
        let seconds = started.elapsed().as_secs_f64();
        if state.compiled == 0 && !state.fetched {
            // Nothing was done that is worth to be kept with the cell.
            if state.id.is_some() {
                self.show(&mut state, "");
            }
            return;
        }
        let text = match state.compiled {
            0 => format!("Dependencies are there ({seconds:.1} s)"),
            1 => format!("Built 1 crate in {seconds:.1} s"),
            count => format!("Built {count} crates in {seconds:.1} s"),
        };
        self.show(&mut state, &text);
    }

    /// Shows a line if cargo has come no further in a while.
    fn later(&self, line: &str, since: Instant) {
        let (progress, line) = (self.clone(), line.to_string());
        std::thread::spawn(move || {
            std::thread::sleep(IN_THE_WAY);
            if let Ok(mut state) = progress.state.lock()
                && state.started == Some(since)
                && state.id.is_none()
                && !(progress.is_running)()
            {
                progress.show(&mut state, &line);
            }
        });
    }

    fn show(&self, state: &mut State, text: &str) {
        let mut data = Bundle::new();
        data.insert("text/plain".into(), json!(text));
        let update = state.id.is_some();
        let id = state.id.get_or_insert_with(|| uuid::Uuid::new_v4().to_string());
        self.cell.display(data, json!({}), Some(id), update);
    }
}
