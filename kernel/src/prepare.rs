//! `tunebook prepare`: builds the crates of `%%workload`s and of Rust cells, which takes minutes, before a notebook
//! needs them.

use crate::engine::prebuild::build_cell_crates;
use crate::kernel::settings;
use parking_lot::Mutex;
use std::path::Path;
use std::process::{Command, ExitCode};
use tunebook_magics::{Bundle, Interrupt, Magics, Output, Stream};
use tunebook_prebuilt::CellCache;

/// An output that prints a line on standard error each time that the work has another step.
#[derive(Default)]
struct TerminalOutput {
    last: Mutex<String>,
}

impl TerminalOutput {
    fn show(&self, bundle: &Bundle) {
        let text = bundle.get("text/plain").and_then(|text| text.as_str()).unwrap_or_default();
        // The text ends with the seconds so far, which are left out.
        let what = text.rsplit_once(',').map_or(text, |(what, _)| what);
        let mut last = self.last.lock();
        if *last != what && !what.is_empty() {
            eprintln!("{what}");
            *last = what.into();
        }
    }
}

impl Output for TerminalOutput {
    fn display(&self, bundle: Bundle, _: Option<&str>) {
        self.show(&bundle);
    }

    fn update(&self, bundle: Bundle, _: &str) {
        self.show(&bundle);
    }

    fn print(&self, _: Stream, text: &str) {
        eprint!("{text}");
    }

    fn page(&self, _: Bundle) {}

    fn cell(&self) -> Option<String> {
        None
    }
}

/// Builds everything. Progress and errors go to standard error.
pub fn main() -> ExitCode {
    let settings = match settings() {
        Ok(settings) => settings,
        Err(error) => {
            eprintln!("tunebook: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    let cache = CellCache::new(&settings.cache);
    let inputs = match Magics::new(settings).prepare(&TerminalOutput::default(), &Interrupt::default()) {
        Ok(inputs) => inputs,
        Err(error) => {
            eprintln!("{}", error.traceback().join("\n"));
            return ExitCode::FAILURE;
        }
    };
    let prepared = std::env::current_exe().map_err(anyhow::Error::from).and_then(|executable| {
        let mut build = Command::new(executable);
        build.arg("prepare-cells");
        cache.prepare(&inputs, build)
    });
    match prepared {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tunebook: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Builds the crates of Rust cells: the work of the process that [`main`] starts with an environment of its own.
pub fn cells(tunebook: &Path, libtorch: &Path) -> ExitCode {
    match build_cell_crates(tunebook, libtorch) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", error.traceback.join("\n"));
            ExitCode::FAILURE
        }
    }
}
