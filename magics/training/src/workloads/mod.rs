//! The built-in workloads.

mod digits_cnn;
mod digits_mlp;

use crate::Workload;

/// All of them.
pub fn all() -> [&'static dyn Workload; 2] {
    [&digits_mlp::DigitsMlp, &digits_cnn::DigitsCnn]
}

/// The one of a name.
pub fn find(name: &str) -> Option<&'static dyn Workload> {
    all().into_iter().find(|workload| workload.description().name == name)
}
