// Copyright 2020 The Evcxr Authors.
//
// Licensed under the Apache License, Version 2.0 <LICENSE or
// https://www.apache.org/licenses/LICENSE-2.0> or the MIT license <LICENSE
// or https://opensource.org/licenses/MIT>, at your option. This file may not be
// copied, modified, or distributed except according to those terms.

pub(crate) const EVCXR_IS_RUNTIME_VAR: &str = "EVCXR_IS_RUNTIME";
pub(crate) const EVCXR_EXECUTION_COMPLETE: &str = "EVCXR_EXECUTION_COMPLETE";
pub(crate) const WRAP_RUSTC_ENV: &str = "EVCXR_RUSTC_WRAPPER";
pub(crate) const FORCE_DYLIB_ENV: &str = "EVCXR_FORCE_DYLIB";

// The embedder brings the process that loads and runs the code of cells. These lines, besides others,
// are what it may write to its standard output.

/// Followed by how the process that ran the cell ended. A process in which all variables are as before
/// the cell has taken its place.
pub(crate) const RESTORED: &str = "EVCXR_RESTORED";
/// Followed by how long the code ran, in nanoseconds: wall clock, processor time of the user, and
/// processor time of the system.
pub(crate) const TIMES: &str = "EVCXR_TIMES ";

/// Binaries can call this just after starting. If we detect that we're actually running as a wrapper
/// around rustc, control will not return. The embedder must have seen to `EVCXR_IS_RUNTIME` before.
pub fn runtime_hook() {
    if std::env::var(WRAP_RUSTC_ENV).is_ok() {
        crate::module::wrap_rustc();
    }
}
