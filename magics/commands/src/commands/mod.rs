//! One file a magic.

pub mod axis;
pub mod capture;
pub mod curves;
pub mod devices;
pub mod doc;
pub mod export;
pub mod final_evaluation;
pub mod isolate;
pub mod list;
pub mod lsmagic;
pub mod noise;
pub mod remove;
pub mod reset;
pub mod scaling;
pub mod study;
pub mod sweep;
pub mod test;
pub mod throughput;
pub mod time;
pub mod timeit;
pub mod who;
pub mod workload;
pub mod workloads;
