//! Stand-ins for what a kernel gives a magic: an output that records, and a session that remembers what it was asked.

use crate::context::Settings;
use crate::error::{MagicError, Result};
use crate::output::{Bundle, Output, Stream};
use crate::session::{Input, Item, Ran, Session, Variable};
use crate::{Interrupt, Magics};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// What a test does with each text.
type Act = Box<dyn Fn(&str) + Send + Sync>;

/// Records what is shown.
#[derive(Default)]
pub struct Recorder {
    printed: Mutex<Vec<(Stream, String)>>,
    shown: Mutex<Vec<Bundle>>,
    session: Option<FakeSession>,
    on_print: Option<Act>,
}

impl Recorder {
    /// With a session behind it.
    pub fn with(session: FakeSession) -> Self {
        Self { session: Some(session), ..Self::default() }
    }

    /// Calls `act` with each text, as it is printed.
    pub fn on_print(mut self, act: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.on_print = Some(Box::new(act));
        self
    }

    /// All of standard output so far.
    pub fn stdout(&self) -> String {
        self.of(Stream::Stdout)
    }

    /// All of standard error so far.
    pub fn stderr(&self) -> String {
        self.of(Stream::Stderr)
    }

    fn of(&self, wanted: Stream) -> String {
        let printed = self.printed.lock().unwrap();
        printed.iter().filter(|(stream, _)| *stream == wanted).map(|(_, text)| text.as_str()).collect()
    }

    /// The text of all displays.
    pub fn displayed(&self) -> String {
        let shown = self.shown.lock().unwrap();
        shown.iter().filter_map(|bundle| bundle["text/plain"].as_str()).collect::<Vec<_>>().join("\n")
    }

    /// The session behind it.
    pub fn fake(&self) -> &FakeSession {
        self.session.as_ref().expect("a recorder with a session")
    }
}

impl Output for Recorder {
    fn display(&self, bundle: Bundle, _: Option<&str>) {
        self.shown.lock().unwrap().push(bundle);
    }

    fn update(&self, bundle: Bundle, display_id: &str) {
        self.display(bundle, Some(display_id));
    }

    fn print(&self, stream: Stream, text: &str) {
        self.printed.lock().unwrap().push((stream, text.into()));
        if let Some(act) = &self.on_print {
            act(text);
        }
    }

    fn page(&self, bundle: Bundle) {
        self.display(bundle, None);
    }

    fn cell_id(&self) -> Option<String> {
        None
    }

    fn session(&self) -> Option<&dyn Session> {
        self.session.as_ref().map(|session| session as &dyn Session)
    }
}

/// A session without Rust: folder, environment, inputs and the next cell are remembered.
#[derive(Default)]
pub struct FakeSession {
    folder: Mutex<Option<PathBuf>>,
    environment: Mutex<Vec<(String, Option<String>)>>,
    inputs: Vec<(i64, Input)>,
    next: Mutex<Option<(String, bool)>>,
}

impl FakeSession {
    /// With inputs that were run: number of the session, execution count, code.
    pub fn with_inputs(inputs: &[(i64, u64, &str)]) -> Self {
        let input =
            |&(session, line, code): &(i64, u64, &str)| (session, Input { line, code: code.into(), succeeded: true });
        Self { inputs: inputs.iter().map(input).collect(), ..Self::default() }
    }

    /// Sets a variable of the environment.
    pub fn set(&self, name: &str, value: Option<&str>) {
        self.environment.lock().unwrap().push((name.into(), value.map(String::from)));
    }

    /// The folder that it was last told to go to.
    pub fn folder(&self) -> Option<PathBuf> {
        self.folder.lock().unwrap().clone()
    }

    /// The next cell that was proposed, and whether in place of this one.
    pub fn next(&self) -> Option<(String, bool)> {
        self.next.lock().unwrap().clone()
    }
}

fn no_rust<T>() -> Result<T> {
    Err(MagicError::new("NoToolchain", "this session stands in for one and has no Rust", None))
}

impl Session for FakeSession {
    fn run(&self, _: &str, _: usize, _: bool) -> Result<Ran> {
        no_rust()
    }

    fn variables(&self) -> Result<Vec<Variable>> {
        no_rust()
    }

    fn items(&self) -> Result<Vec<Item>> {
        no_rust()
    }

    fn forget(&self, _: &[String]) -> Result<Vec<String>> {
        no_rust()
    }

    fn reset(&self) -> Result<()> {
        no_rust()
    }

    fn dependencies(&self) -> Result<Vec<(String, String)>> {
        no_rust()
    }

    fn documentation(&self, _: &str) -> Result<Option<Bundle>> {
        no_rust()
    }

    fn change_directory(&self, folder: &Path) -> Result<()> {
        *self.folder.lock().unwrap() = Some(folder.into());
        Ok(())
    }

    fn set_environment(&self, name: &str, value: Option<&str>) -> Result<()> {
        self.set(name, value);
        Ok(())
    }

    fn environment(&self) -> Vec<(String, Option<String>)> {
        self.environment.lock().unwrap().clone()
    }

    fn inputs(&self, session: i64) -> Result<Vec<Input>> {
        Ok(self.inputs.iter().filter(|(of, _)| *of == session).map(|(_, input)| input.clone()).collect())
    }

    fn next_input(&self, text: &str, replace: bool) {
        *self.next.lock().unwrap() = Some((text.into(), replace));
    }
}

/// Magics over a store and a worker that are not there.
pub fn magics() -> Magics {
    let nowhere = std::env::temp_dir().join("tunebook-not-there");
    Magics::new(Settings {
        store: nowhere.join("studies.db"),
        slot: vec![],
        worker: nowhere.join("worker"),
        cache: nowhere.join("cache"),
    })
}

/// Understands and runs one magic.
pub fn run(magics: &Magics, text: &str, output: &Recorder) -> Result<()> {
    magics.run(magics.parse(text, 0)?, output, &Interrupt::default())
}

/// What is said of an error: its name, its message, its whole rendering without colours.
pub fn said(error: &MagicError) -> String {
    let text = format!("{error}\n{}", error.traceback.join("\n"));
    let mut plain = String::new();
    let mut parts = text.split("\x1b[");
    plain.push_str(parts.next().unwrap_or_default());
    for part in parts {
        plain.push_str(part.split_once('m').map_or("", |(_, rest)| rest));
    }
    plain
}
