//! `tunebook prepare`: what takes minutes is built before a notebook needs it.

use crate::engine::prebuild::build_cell_crates;
use crate::kernel::settings;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::Mutex;
use tunebook_magics::{Bundle, Interrupt, Magics, Output, Stream};
use tunebook_prebuilt::CellCache;

/// Progress on a terminal or in a log: a line each time something else is being done.
#[derive(Default)]
struct Terminal {
    last: Mutex<String>,
}

impl Terminal {
    fn show(&self, bundle: &Bundle) {
        let text = bundle.get("text/plain").and_then(|text| text.as_str()).unwrap_or_default();
        // The seconds at the end change all the time.
        let what = text.rsplit_once(',').map_or(text, |(what, _)| what);
        if let Ok(mut last) = self.last.lock()
            && *last != what
            && !what.is_empty()
        {
            eprintln!("{what}");
            *last = what.into();
        }
    }
}

impl Output for Terminal {
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

    fn cell_id(&self) -> Option<String> {
        None
    }
}

/// Builds; says on standard error what it is doing, and what is wrong.
pub fn main() -> ExitCode {
    let settings = match settings() {
        Ok(settings) => settings,
        Err(error) => {
            eprintln!("tunebook: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    let cache = CellCache::new(&settings.cache);
    let inputs = match Magics::new(settings).prepare(&Terminal::default(), &Interrupt::default()) {
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

/// The part of it that needs an environment of its own.
pub fn cells(tunebook: &Path, libtorch: &Path) -> ExitCode {
    match build_cell_crates(tunebook, libtorch) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", error.traceback.join("\n"));
            ExitCode::FAILURE
        }
    }
}
