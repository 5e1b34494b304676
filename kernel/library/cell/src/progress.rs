//! Progress bars. A bar is a display that is replaced at most ten times a second, or on a terminal a line that is drawn
//! again and again. The bars use no thread: the kernel can protect the variables of a process only while it has a
//! single thread.

use crate::{Bundle, DisplayHandle, ToBundle, channel, display_handle};
use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The shortest time between two updates.
const UPDATE_INTERVAL: Duration = Duration::from_millis(100);
/// The weight of the newest speed in the exponential moving average that is shown.
const NEWEST: f64 = 0.3;
/// The characters of the bar.
const WIDTH: usize = 20;

/// Wraps an iterator so that a bar shows its progress.
///
/// ```no_run
/// # use tunebook_cell as tunebook;
/// let mut sum = 0;
/// for i in tunebook::progress(0..1000).with_label("adding") {
///     sum += i;
/// }
/// ```
pub fn progress<I: IntoIterator>(items: I) -> ProgressIterator<I::IntoIter> {
    let items = items.into_iter();
    let total = match items.size_hint() {
        (least, Some(most)) if least == most => Some(most),
        _ => None,
    };
    ProgressIterator { items, total, label: String::new(), bar: None, in_work: false }
}

/// An iterator with a progress bar, returned by [`progress`].
#[derive(Debug)]
pub struct ProgressIterator<I> {
    items: I,
    total: Option<usize>,
    label: String,
    bar: Option<Progress>,
    /// Whether an item was returned that is not counted yet. It counts when the next one is requested.
    in_work: bool,
}

impl<I> ProgressIterator<I> {
    /// Sets the text before the bar.
    pub fn with_label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// Sets the number of items, for an iterator that does not know it.
    pub fn with_total(mut self, total: usize) -> Self {
        self.total = Some(total);
        self
    }
}

impl<I: Iterator> Iterator for ProgressIterator<I> {
    type Item = I::Item;

    fn next(&mut self) -> Option<I::Item> {
        let bar = self.bar.get_or_insert_with(|| Progress::start(self.total, &self.label));
        if std::mem::take(&mut self.in_work) {
            bar.advance(1);
        }
        let item = self.items.next();
        match item {
            Some(_) => self.in_work = true,
            None => bar.close(),
        }
        item
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.items.size_hint()
    }
}

impl<I: ExactSizeIterator> ExactSizeIterator for ProgressIterator<I> {}

/// A progress bar that the code advances itself. It is closed when it is dropped. Threads can share it.
///
/// ```no_run
/// # use tunebook_cell as tunebook;
/// let files = ["a.csv", "b.csv"];
/// let progress = tunebook::Progress::new(files.len());
/// for file in files {
///     progress.message(file);
///     progress.advance(1);
/// }
/// ```
#[derive(Debug)]
pub struct Progress {
    state: Mutex<State>,
}

impl Progress {
    /// A bar with a known number of steps.
    pub fn new(total: usize) -> Self {
        Self::start(Some(total), "")
    }

    /// A bar with an unknown number of steps.
    pub fn endless() -> Self {
        Self::start(None, "")
    }

    /// Sets the text before the bar.
    pub fn with_label(self, label: impl Into<String>) -> Self {
        self.state().label = label.into();
        self.draw(true);
        self
    }

    /// Sets the number of steps that are done.
    pub fn set(&self, done: usize) {
        self.state().count.done = done;
        self.draw(false);
    }

    /// Adds to the number of steps that are done.
    pub fn advance(&self, steps: usize) {
        let mut state = self.state();
        state.count.done = state.count.done.saturating_add(steps);
        drop(state);
        self.draw(false);
    }

    /// Sets the text after the bar.
    pub fn message(&self, message: impl Into<String>) {
        self.state().message = message.into();
        self.draw(false);
    }

    /// Shows the last state. Later calls change nothing.
    pub fn close(&self) {
        let mut state = self.state();
        if !state.closed {
            state.closed = true;
            state.draw(Instant::now());
        }
    }

    fn start(total: Option<usize>, label: &str) -> Self {
        let started = Instant::now();
        let count = Count { done: 0, total, started, drawn: (started, 0), speed: None };
        let state = State { label: label.into(), message: String::new(), count, closed: false, shown: None };
        let progress = Self { state: Mutex::new(state) };
        progress.draw(true);
        progress
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Draws the bar if the last update is long enough ago, or `at_once`.
    fn draw(&self, at_once: bool) {
        let mut state = self.state();
        let now = Instant::now();
        if !state.closed && (at_once || now.duration_since(state.count.drawn.0) >= UPDATE_INTERVAL) {
            state.draw(now);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.close();
    }
}

#[derive(Debug)]
struct State {
    label: String,
    message: String,
    count: Count,
    closed: bool,
    shown: Option<DisplayHandle>,
}

impl State {
    fn draw(&mut self, now: Instant) {
        self.count.update_speed(now);
        let bar = self.bar(now);
        match &self.shown {
            Some(shown) => shown.update(&bar),
            None if channel::is_there() => self.shown = Some(display_handle(&bar)),
            None => on_terminal(&bar.line(), self.closed),
        }
    }

    fn bar(&self, now: Instant) -> Bar<'_> {
        let elapsed = now.duration_since(self.count.started);
        // A closed bar shows the average speed.
        let speed = if self.closed { self.count.average(now) } else { self.count.speed };
        Bar { label: &self.label, message: &self.message, count: &self.count, elapsed, speed, closed: self.closed }
    }
}

/// The number of steps and the speed.
#[derive(Debug)]
struct Count {
    done: usize,
    total: Option<usize>,
    started: Instant,
    /// The time of the last update, and the steps that were done then.
    drawn: (Instant, usize),
    /// The steps per second, as an exponential moving average.
    speed: Option<f64>,
}

impl Count {
    /// Updates the speed.
    fn update_speed(&mut self, now: Instant) {
        let (before, done) = std::mem::replace(&mut self.drawn, (now, self.done));
        let seconds = now.duration_since(before).as_secs_f64();
        let Some(steps) = self.done.checked_sub(done).filter(|_| seconds > 0.0) else { return };
        let newest = steps as f64 / seconds;
        self.speed = match self.speed {
            // Before the first step the speed is unknown.
            None => Some(newest).filter(|speed| *speed > 0.0),
            Some(speed) => Some(NEWEST * newest + (1.0 - NEWEST) * speed),
        };
    }

    fn average(&self, now: Instant) -> Option<f64> {
        let seconds = now.duration_since(self.started).as_secs_f64();
        (self.done > 0 && seconds > 0.0).then(|| self.done as f64 / seconds)
    }
}

/// The state that is drawn.
struct Bar<'a> {
    label: &'a str,
    message: &'a str,
    count: &'a Count,
    elapsed: Duration,
    speed: Option<f64>,
    closed: bool,
}

impl Bar<'_> {
    /// The fraction that is done; None if the number of steps is unknown or was exceeded.
    fn part(&self) -> Option<f64> {
        let total = self.count.total.filter(|total| *total >= self.count.done)?;
        Some(if total == 0 { 1.0 } else { self.count.done as f64 / total as f64 })
    }

    /// The text before the bar, such as `training: 42 %`.
    fn head(&self) -> String {
        let percent = self.part().map(|part| format!("{:.0} %", (part * 100.0).floor()));
        match (self.label, percent) {
            ("", percent) => percent.unwrap_or_default(),
            (label, None) => format!("{label}:"),
            (label, Some(percent)) => format!("{label}: {percent}"),
        }
    }

    /// The text after the bar, such as `42/100 [00:03<00:04, 13.2/s] message`.
    fn tail(&self) -> String {
        let mut text = self.count.done.to_string();
        if self.part().is_some() {
            let _ = write!(text, "/{}", self.count.total.unwrap_or_default());
        }
        let _ = write!(text, " [{}", clock(self.elapsed.as_secs_f64()));
        if self.part().is_some() {
            let left = self.count.total.unwrap_or_default() - self.count.done;
            let left = self.speed.filter(|speed| *speed > 0.0).map(|speed| left as f64 / speed);
            let _ = write!(text, "<{}", left.map_or("?".into(), clock));
        }
        let _ = write!(text, ", {}]", self.speed.map_or("?/s".into(), rate));
        if !self.message.is_empty() {
            let _ = write!(text, " {}", self.message);
        }
        text
    }

    fn line(&self) -> String {
        let bar = self.part().map(|part| format!("|{}|", blocks(part))).unwrap_or_default();
        let parts = [self.head(), bar, self.tail()];
        parts.iter().filter(|part| !part.is_empty()).map(String::as_str).collect::<Vec<_>>().join(" ")
    }

    fn html(&self) -> String {
        let bar = match self.part() {
            Some(part) => format!(" value=\"{part:.4}\""),
            // A bar without a value is animated; a closed one must not be.
            None if self.closed => " value=\"1\"".into(),
            None => String::new(),
        };
        format!(
            "<div style=\"white-space: pre-wrap; font-variant-numeric: tabular-nums\">\
             {} <progress{bar}></progress> {}</div>",
            escaped(&self.head()),
            escaped(&self.tail())
        )
    }
}

impl ToBundle for Bar<'_> {
    fn to_bundle(&self) -> Bundle {
        Bundle::new().html(self.html()).text(self.line())
    }
}

/// A fraction as block characters. The last one shows eighths.
fn blocks(part: f64) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (part * (8 * WIDTH) as f64) as usize;
    let bar = "█".repeat(eighths / 8) + EIGHTHS[eighths % 8];
    format!("{bar:<WIDTH$}")
}

/// Formats seconds as `00:03` or `1:02:03`.
fn clock(seconds: f64) -> String {
    // A bound of 32 years, which also makes an infinite time finite.
    let seconds = seconds.round().min(1e9) as u64;
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes:02}:{seconds:02}") }
}

/// Formats a speed in steps per second. Below one per second it is the time of a step.
fn rate(speed: f64) -> String {
    match speed {
        0.0 => "0/s".into(),
        speed if speed < 1.0 => format!("{:.2} s each", 1.0 / speed),
        speed if speed < 10.0 => format!("{speed:.2}/s"),
        speed if speed < 100.0 => format!("{speed:.1}/s"),
        speed => format!("{speed:.0}/s"),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Draws the bar without a kernel: on a terminal it overwrites the line, and into a file it writes the last state only.
fn on_terminal(line: &str, closed: bool) {
    let mut stderr = std::io::stderr().lock();
    let end = if closed { "\n" } else { "" };
    let _ = match stderr.is_terminal() {
        true => write!(stderr, "\r{line}\u{1b}[K{end}"),
        false if closed => writeln!(stderr, "{line}"),
        false => Ok(()),
    };
    let _ = stderr.flush();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(done: usize, total: Option<usize>, seconds: u64, speed: Option<f64>) -> String {
        bar(&count(done, total), seconds, speed).line()
    }

    fn count(done: usize, total: Option<usize>) -> Count {
        let now = Instant::now();
        Count { done, total, started: now, drawn: (now, 0), speed: None }
    }

    fn bar(count: &Count, seconds: u64, speed: Option<f64>) -> Bar<'_> {
        let elapsed = Duration::from_secs(seconds);
        Bar { label: "", message: "", count, elapsed, speed, closed: false }
    }

    #[test]
    fn a_line_shows_steps_speed_and_time() {
        let half = line(42, Some(100), 3, Some(13.2));
        assert_eq!(half, "42 % |████████▍           | 42/100 [00:03<00:04, 13.2/s]");
        assert_eq!(line(0, Some(3), 0, None), "0 % |                    | 0/3 [00:00<?, ?/s]");
        assert_eq!(line(3, Some(3), 3723, Some(0.4)), "100 % |████████████████████| 3/3 [1:02:03<00:00, 2.50 s each]");
        assert_eq!(line(0, Some(0), 0, None), "100 % |████████████████████| 0/0 [00:00<?, ?/s]");
        // 99.9 % is rounded down.
        assert!(line(999, Some(1000), 1, None).starts_with("99 % |███████████████████▉|"));
        // More steps than the given number, and an unknown number.
        assert_eq!(line(4, Some(3), 2, Some(2.0)), "4 [00:02, 2.00/s]");
        assert_eq!(line(70, None, 2, Some(1234.5)), "70 [00:02, 1234/s]");
    }

    #[test]
    fn label_and_message_are_around_the_bar_and_escaped() {
        let count = count(1, Some(2));
        let bar = Bar { label: "a<b", message: "x & y", ..bar(&count, 1, Some(1.0)) };
        assert_eq!(bar.line(), "a<b: 50 % |██████████          | 1/2 [00:01<00:01, 1.00/s] x & y");
        let html = bar.html();
        assert!(html.contains("a&lt;b: 50 % <progress value=\"0.5000\"></progress> 1/2 [00:01&lt;00:01"), "{html}");
        assert!(html.contains("x &amp; y"), "{html}");
    }

    #[test]
    fn a_bar_with_an_unknown_number_of_steps_is_animated_until_it_is_closed() {
        let count = count(1, None);
        assert!(bar(&count, 1, None).html().contains("<progress></progress>"));
        assert!(Bar { closed: true, ..bar(&count, 1, None) }.html().contains("<progress value=\"1\">"));
    }

    #[test]
    fn the_speed_is_a_moving_average() {
        let start = Instant::now();
        let mut count = Count { done: 0, total: None, started: start, drawn: (start, 0), speed: None };
        count.update_speed(start);
        assert_eq!(count.speed, None);
        count.done = 10;
        count.update_speed(start + Duration::from_secs(1));
        assert_eq!(count.speed, Some(10.0));
        count.done = 30;
        count.update_speed(start + Duration::from_secs(2));
        assert_eq!(count.speed, Some(13.0));
        assert_eq!(count.average(start + Duration::from_secs(2)), Some(15.0));
        // If the number of steps is set back, the speed stays.
        count.done = 5;
        count.update_speed(start + Duration::from_secs(3));
        assert_eq!(count.speed, Some(13.0));
    }

    #[test]
    fn the_wrapped_iterator_returns_the_same_items() {
        let wrapped = progress([1, 2, 3].iter().copied()).with_label("three");
        assert_eq!((wrapped.len(), wrapped.total), (3, Some(3)));
        assert_eq!(wrapped.collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(progress((1..9).filter(|n| n % 2 == 0)).total, None);
        assert_eq!(progress((1..9).filter(|n| n % 2 == 0)).with_total(4).total, Some(4));
    }
}
