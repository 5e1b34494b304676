//! Optuna's SQLite database.
//!
//! The tables are those of Optuna 2.4 and later. Version 3.0 added the columns `value_type` and
//! `intermediate_value_type`; before it, NULL stood for NaN and the largest floats for infinity.

mod read;
mod write;

pub use read::read;
pub use write::write;
