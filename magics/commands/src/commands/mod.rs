//! One file a magic.

pub mod axis;
pub mod curves;
pub mod devices;
pub mod final_evaluation;
pub mod isolate;
pub mod lsmagic;
pub mod noise;
pub mod scaling;
pub mod study;
pub mod sweep;
pub mod throughput;
pub mod workload;
pub mod workloads;
