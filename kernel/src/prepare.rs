//! `tunebook prepare`: what takes minutes is built before a notebook needs it.

use crate::engine::tensors::{Places, build_ahead};
use crate::kernel::settings;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Mutex;
use tunebook_magics::{Bundle, Interrupt, Magics, Output, Stream};

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
    let places = Places::new(&settings.cache);
    let prepared = match Magics::new(settings).prepare(&Terminal::default(), &Interrupt::default()) {
        Ok(prepared) => prepared,
        Err(error) => {
            eprintln!("{}", error.traceback.join("\n"));
            return ExitCode::FAILURE;
        }
    };
    match places.prepare(&prepared) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tunebook: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The part of it that needs an environment of its own.
pub fn cells(tunebook: &Path, libtorch: &Path) -> ExitCode {
    match build_ahead(tunebook, libtorch) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", error.traceback.join("\n"));
            ExitCode::FAILURE
        }
    }
}
