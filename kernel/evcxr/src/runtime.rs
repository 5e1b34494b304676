// Copyright 2020 The Evcxr Authors.
//
// Licensed under the Apache License, Version 2.0 <LICENSE or
// https://www.apache.org/licenses/LICENSE-2.0> or the MIT license <LICENSE
// or https://opensource.org/licenses/MIT>, at your option. This file may not be
// copied, modified, or distributed except according to those terms.

pub(crate) const EVCXR_IS_RUNTIME_VAR: &str = "EVCXR_IS_RUNTIME";
pub(crate) const WRAP_RUSTC_ENV: &str = "EVCXR_RUSTC_WRAPPER";
pub(crate) const FORCE_DYLIB_ENV: &str = "EVCXR_FORCE_DYLIB";

// Tunebook: what the process that runs cells says on its standard output, a line each. It is the embedder's own.
pub(crate) const EVCXR_EXECUTION_COMPLETE: &str = "EVCXR_EXECUTION_COMPLETE";
pub(crate) const PANIC_NOTIFICATION: &str = "EVCXR_PANIC_NOTIFICATION";
/// Followed by how the process of the cell ended.
pub(crate) const RESTORED: &str = "EVCXR_RESTORED";
/// Followed by nanoseconds of the wall clock, of the processor for the user, and for the system.
pub(crate) const TIMES: &str = "EVCXR_TIMES ";
/// Followed by the value of the last expression, escaped.
pub(crate) const VALUE: &str = "EVCXR_VALUE ";

/// Binaries can call this just after starting. If we detect that we're actually running as a wrapper around rustc, control
/// will not return.
pub fn runtime_hook() {
    if std::env::var(WRAP_RUSTC_ENV).is_ok() {
        crate::module::wrap_rustc();
    }
}
