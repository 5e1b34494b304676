//! Calibration: simulated studies with a known truth, analysed by the very functions that the magics call. What is
//! printed as 95 % must hold in 93 to 97 % of them.
//!
//! The tests run at a small size with fixed seeds. `cargo test --release -p tunebook-analysis --test calibration --
//! --ignored --nocapture` runs the same at a large size and prints the shares.

mod adoption;
mod best;
mod comparison;
mod curves;
mod importance;
mod insight;
mod noise;
mod other_curves;
mod other_surfaces;
mod replication;
mod scaling;
mod sentences;
mod stability;
mod steps;
mod surfaces;
mod throughput;
