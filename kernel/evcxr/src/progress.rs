// Copyright 2020 The Evcxr Authors.
//
// Licensed under the Apache License, Version 2.0 <LICENSE or
// https://www.apache.org/licenses/LICENSE-2.0> or the MIT license <LICENSE
// or https://opensource.org/licenses/MIT>, at your option. This file may not be
// copied, modified, or distributed except according to those terms.

use crate::cargo_metadata::CHECKED_CRATE;
use crate::module::CRATE_NAME;
use crate::module::RUNTIME_CRATE_NAME;
use once_cell::sync::Lazy;
use regex::bytes::Regex;
use std::fmt;
use std::sync::Arc;

/// Receives what cargo does about dependencies, one line at a time.
#[derive(Clone)]
pub(crate) struct Progress(pub(crate) Arc<dyn Fn(&str) + Send + Sync>);

impl Progress {
    /// Passes on a line of cargo's standard error if it is about a dependency.
    pub(crate) fn report_line(&self, line: &[u8]) {
        static ABOUT_DEPENDENCIES: Lazy<Regex> = Lazy::new(|| {
            Regex::new("^\\s*(Compiling|Downloading|Downloaded|Updating|Blocking|Locking|Adding)\\s+([^ ]+)").unwrap()
        });
        if let Some(captures) = ABOUT_DEPENDENCIES.captures(line)
            && ![CRATE_NAME, RUNTIME_CRATE_NAME, CHECKED_CRATE]
                .map(str::as_bytes)
                .contains(&&captures[2])
        {
            (self.0)(String::from_utf8_lossy(line).trim());
        }
    }
}

impl Default for Progress {
    /// Writes to standard error which dependency is being compiled.
    fn default() -> Self {
        Progress(Arc::new(|line| {
            if line.starts_with("Compiling ") {
                eprintln!("   {line}");
            }
        }))
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Progress")
    }
}
