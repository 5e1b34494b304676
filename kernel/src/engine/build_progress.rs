//! Shows what cargo does while dependencies are fetched and built, as one line in the cell that waits for it.

use super::output::{Bundle, Cell};
use parking_lot::Mutex;
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The shortest time between two updates of the line.
const UPDATE_INTERVAL: Duration = Duration::from_millis(100);
/// How long cargo may wait for another cargo before that is shown. Most such waits are shorter.
const BLOCKED_FOR: Duration = Duration::from_secs(2);

/// The line of progress of one cell. Clones share the line.
#[derive(Clone)]
pub struct BuildProgress {
    cell: Arc<dyn Cell>,
    /// Whether the code of the cell runs, so that cargo has ended.
    code_runs: Arc<dyn Fn() -> bool + Send + Sync>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// The id of the display, once something was shown.
    display_id: Option<String>,
    /// When cargo said something for the first time; None again once all is built.
    started: Option<Instant>,
    last_update: Option<Instant>,
    compiled_crates: usize,
    has_downloaded: bool,
}

impl BuildProgress {
    /// The progress of a cell, of which nothing is shown yet.
    pub fn new(cell: Arc<dyn Cell>, code_runs: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self { cell, code_runs: Arc::new(code_runs), state: Arc::default() }
    }

    /// Takes a line that cargo printed, such as `Compiling serde v1.0.228`.
    pub fn line(&self, line: &str) {
        // Lines about versions do not tell how far the build is.
        if line.starts_with("Locking") || line.starts_with("Adding") {
            return;
        }
        let mut state = self.state.lock();
        state.compiled_crates += usize::from(line.starts_with("Compiling"));
        state.has_downloaded |= line.starts_with("Download");
        let started = *state.started.get_or_insert_with(Instant::now);
        if line.starts_with("Blocking") && state.display_id.is_none() {
            return self.show_if_still_blocked(line, started);
        }
        if state.last_update.is_some_and(|update| update.elapsed() < UPDATE_INTERVAL) {
            return;
        }
        state.last_update = Some(Instant::now());
        let text = match state.compiled_crates {
            0 | 1 => line.to_string(),
            count => format!("{line} ({count} crates)"),
        };
        self.show(&mut state, &text);
    }

    /// Replaces the line by a summary, because all is built.
    pub fn end(&self) {
        let mut state = self.state.lock();
        let Some(started) = state.started.take() else { return };
        let seconds = started.elapsed().as_secs_f64();
        if state.compiled_crates == 0 && !state.has_downloaded {
            // Nothing was built: the cell keeps no line.
            if state.display_id.is_some() {
                self.show(&mut state, "");
            }
            return;
        }
        let text = match state.compiled_crates {
            0 => format!("Dependencies are there ({seconds:.1} s)"),
            1 => format!("Built 1 crate in {seconds:.1} s"),
            count => format!("Built {count} crates in {seconds:.1} s"),
        };
        self.show(&mut state, &text);
    }

    /// Shows a line after a while, unless cargo has said something else by then.
    fn show_if_still_blocked(&self, line: &str, since: Instant) {
        let (progress, line) = (self.clone(), line.to_string());
        std::thread::spawn(move || {
            std::thread::sleep(BLOCKED_FOR);
            let mut state = progress.state.lock();
            if state.started == Some(since) && state.display_id.is_none() && !(progress.code_runs)() {
                progress.show(&mut state, &line);
            }
        });
    }

    fn show(&self, state: &mut State, text: &str) {
        let mut data = Bundle::new();
        data.insert("text/plain".into(), json!(text));
        let update = state.display_id.is_some();
        let id = state.display_id.get_or_insert_with(|| uuid::Uuid::new_v4().to_string());
        self.cell.display(data, json!({}), Some(id), update);
    }
}
