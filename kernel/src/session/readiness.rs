//! The comm `tunebook.status`: a front end that opens it is told whether Rust cells can run yet, and when that changes.
//! Creating their engine takes seconds, in which magics run already.

use super::comms::{Comm, Line, Target};
use crate::engine::{Engine, Readiness};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OnceCell;
use tokio::task::AbortHandle;

/// How soon a change is told.
const LOOK: Duration = Duration::from_millis(100);

/// See the module.
pub struct Status {
    engine: Arc<OnceCell<Arc<Engine>>>,
}

impl Status {
    /// Of an engine, which need not be started yet.
    pub fn new(engine: Arc<OnceCell<Arc<Engine>>>) -> Self {
        Self { engine }
    }
}

impl Target for Status {
    fn open(&self, comm: &Comm, _: &Value) -> Box<dyn Line> {
        let (engine, watched, comm) = (self.engine.clone(), self.engine.clone(), comm.clone());
        let mut told = tell(&engine, &comm);
        let watch = tokio::spawn(async move {
            while told == Readiness::Starting {
                tokio::time::sleep(LOOK).await;
                if readiness(&watched) != told {
                    told = tell(&watched, &comm);
                }
            }
        });
        Box::new(StatusLine { engine, watch: watch.abort_handle() })
    }
}

struct StatusLine {
    engine: Arc<OnceCell<Arc<Engine>>>,
    watch: AbortHandle,
}

impl Line for StatusLine {
    /// Whatever is said asks again.
    fn message(&mut self, comm: &Comm, _: &Value) {
        tell(&self.engine, comm);
    }
}

impl Drop for StatusLine {
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
