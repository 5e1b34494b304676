//! One file a magic.

pub mod axis;
pub mod curves;
pub mod devices;
pub mod env;
pub mod final_evaluation;
pub mod folder;
pub mod history;
pub mod isolate;
pub mod load;
pub mod lsmagic;
pub mod noise;
pub mod save;
pub mod scaling;
pub mod script;
pub mod study;
pub mod sweep;
pub mod throughput;
pub mod workload;
pub mod workloads;
pub mod writefile;
