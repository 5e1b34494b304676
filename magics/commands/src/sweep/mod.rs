//! Running a study: from the text of a sweep to the trials in the store.

pub mod engine;
pub mod environment;
pub mod live;
pub mod plan;
pub mod recorded;
pub mod retune;
pub mod watch;
