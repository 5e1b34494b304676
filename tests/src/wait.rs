//! Waiting for a condition.

use std::time::{Duration, Instant};

/// How long a test waits for something that always comes when the product works. It is generous, so that a busy machine
/// makes no test fail.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Waits until a condition holds, at most for a time. Returns whether it holds.
pub async fn eventually(limit: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    while Instant::now() < deadline {
        if holds() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    holds()
}
