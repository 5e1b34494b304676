//! Studies in the formats of other tools. Each module reads or writes one format and knows nothing of the kernel.
//!
//! Optuna's two formats share a model, [`optuna::OptunaStudy`]: [`optuna::journal`] and [`optuna::rdb`] read and write
//! it, [`optuna::import()`] makes a study of ours of it, and [`optuna::export`] the reverse.

mod error;
mod json;
pub mod optuna;
mod parameters;
mod recorded;
pub mod table;
pub mod tensorboard;
mod time;
mod whole_file;

pub use error::ExchangeError;
pub use recorded::{RecordedStudy, RecordedTrial};
pub use whole_file::{Existing, write_whole};

/// What the functions of this crate return.
pub type Result<T> = std::result::Result<T, ExchangeError>;
