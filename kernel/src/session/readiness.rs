//! The comm target `tunebook.status`: it tells a front end whether Rust cells can run, and when that changes. Creating
//! their engine takes seconds, during which magics run already.

use super::comms::{Comm, CommHandler, Target};
use crate::engine::{Engine, Readiness};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OnceCell;
use tokio::task::AbortHandle;

/// The time between two looks at the engine.
const INTERVAL: Duration = Duration::from_millis(100);

/// The target.
pub struct StatusTarget {
    engine: Arc<OnceCell<Arc<Engine>>>,
}

impl StatusTarget {
    /// Tells about this engine, which need not be started yet.
    pub fn new(engine: Arc<OnceCell<Arc<Engine>>>) -> Self {
        Self { engine }
    }
}

impl Target for StatusTarget {
    fn open(&self, comm: &Comm, _: &Value) -> Box<dyn CommHandler> {
        let (engine, watched, comm) = (self.engine.clone(), self.engine.clone(), comm.clone());
        let mut told = tell(&engine, &comm);
        let watch = tokio::spawn(async move {
            while told == Readiness::Starting {
                tokio::time::sleep(INTERVAL).await;
                if readiness(&watched) != told {
                    told = tell(&watched, &comm);
                }
            }
        });
        Box::new(StatusHandler { engine, watch: watch.abort_handle() })
    }
}

struct StatusHandler {
    engine: Arc<OnceCell<Arc<Engine>>>,
    watch: AbortHandle,
}

impl CommHandler for StatusHandler {
    /// Answers any message with the current state.
    fn message(&mut self, comm: &Comm, _: &Value) {
        tell(&self.engine, comm);
    }
}

impl Drop for StatusHandler {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

fn readiness(engine: &OnceCell<Arc<Engine>>) -> Readiness {
    engine.get().map_or(Readiness::Starting, |engine| engine.readiness())
}

fn tell(engine: &OnceCell<Arc<Engine>>, comm: &Comm) -> Readiness {
    let readiness = readiness(engine);
    let rust = match readiness {
        Readiness::Starting => "starting",
        Readiness::Ready => "ready",
        Readiness::Missing => "missing",
    };
    comm.send(json!({ "rust": rust }));
    readiness
}
