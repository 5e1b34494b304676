use ::std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use ::std::sync::Mutex;

/// The result of a test: its name, the reason if it failed, and the source lines where it panicked.
pub type Outcome = (&'static str, Option<String>, Vec<String>);

/// The panics of the test that runs: file, line and message of each.
static PANICS: Mutex<Vec<(String, u32, String)>> = Mutex::new(Vec::new());

/// Runs one test. Marks are printed before and after it, so that its output can be recognized.
pub fn run<T: Ends>(name: &'static str, should_panic: Option<Option<&str>>, test: impl FnOnce() -> T) -> Outcome {
    println!("\u{1}tunebook-test {name}");
    eprintln!("\u{1}tunebook-test {name}");
    let hook = take_hook();
    set_hook(Box::new(|panic| {
        let place = panic.location().map_or((String::new(), 0), |place| (place.file().to_string(), place.line()));
        let said = said(panic.payload());
        if let Ok(mut panics) = PANICS.lock() {
            panics.push((place.0, place.1, said));
        }
    }));
    let ended = catch_unwind(AssertUnwindSafe(|| test().problem()));
    set_hook(hook);
    let panics = PANICS.lock().map(|mut panics| ::std::mem::take(&mut *panics)).unwrap_or_default();
    let lines = panics.iter().map(|(file, line, _)| source(file, *line)).collect();
    let all: Vec<&str> = panics.iter().map(|(_, _, said)| said.as_str()).collect();
    let failed = match (ended, should_panic) {
        (Ok(None), None) => None,
        (Ok(Some(problem)), _) => Some(problem),
        (Ok(None), Some(_)) => Some("it should have panicked, but did not".to_string()),
        (Err(_), None) => Some(all.join("\n")),
        (Err(_), Some(None)) => None,
        (Err(panic), Some(Some(expected))) => {
            let said = said(&*panic);
            let fits = said.contains(expected);
            (!fits).then(|| format!("it panicked with {said:?}, which should contain {expected:?}"))
        }
    };
    println!("\u{1}tunebook-test ");
    eprintln!("\u{1}tunebook-test ");
    (name, failed, lines)
}

fn said(payload: &(dyn ::std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| text.to_string());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without a message".into())
}

/// The text of a line in the source of the crate that contains the cells.
fn source(file: &str, line: u32) -> String {
    let folder = option_env!("CARGO_MANIFEST_DIR").filter(|_| file.ends_with("src/lib.rs"));
    let text = folder.and_then(|folder| ::std::fs::read_to_string(format!("{folder}/src/lib.rs")).ok());
    let nth = |text: String| text.lines().nth(line.saturating_sub(1) as usize).map(|line| line.trim().into());
    text.and_then(nth).unwrap_or_default()
}

/// Types that a test may return. `problem` is the reason if the test failed.
pub trait Ends {
    fn problem(self) -> Option<String>;
}

impl Ends for () {
    fn problem(self) -> Option<String> {
        None
    }
}

impl<T: Ends, E: ::std::fmt::Debug> Ends for Result<T, E> {
    fn problem(self) -> Option<String> {
        match self {
            Ok(value) => value.problem(),
            Err(error) => Some(format!("Error: {error:?}")),
        }
    }
}

impl Ends for ::std::process::ExitCode {
    fn problem(self) -> Option<String> {
        (self != ::std::process::ExitCode::SUCCESS).then(|| format!("it ended with {self:?}"))
    }
}
