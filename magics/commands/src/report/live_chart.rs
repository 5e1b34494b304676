//! A chart that is updated while a magic runs.

use super::{ChartLoader, Report, element_id, paragraph};
use crate::host::{Output, RESULT_MIME, plain};
use serde_json::json;
use std::time::{Duration, Instant};
use tunebook_charts::{Chart, html};

/// The shortest time between two updates of a chart.
const REFRESH: Duration = Duration::from_millis(500);

/// A front end gets at most so many bytes of updates, so that one behind a slow connection keeps up.
const BYTES_A_SECOND: f64 = 200_000.0;

/// A chart that is updated while a magic runs. It is displayed once. Each update replaces a second display below it,
/// which holds text about the progress, and a script that passes the new figure to the chart. So zoom and hidden series
/// are kept.
pub struct LiveChart<'a> {
    charts: &'a ChartLoader,
    output: &'a dyn Output,
    /// The HTML id of the chart, from which the ids of both displays are derived.
    element: String,
    /// Sentences that stand above the chart until a report replaces it.
    head: Vec<String>,
    shown: bool,
    /// Whether no report has replaced the chart yet, so that the second display still contains a line of text.
    is_live: bool,
    refreshed: Instant,
    /// The next update comes at least so long after the last one.
    pause: Duration,
}

impl<'a> LiveChart<'a> {
    /// Creates a chart that is not shown yet.
    pub fn new(charts: &'a ChartLoader, output: &'a dyn Output) -> Self {
        let (element, head, shown, is_live) = (element_id(), vec![], false, false);
        let (refreshed, pause) = (Instant::now(), REFRESH);
        Self { charts, output, element, head, shown, is_live, refreshed, pause }
    }

    /// Sets the sentences that stand above the chart. To be called before the chart is shown.
    pub fn set_head(&mut self, head: Vec<String>) {
        self.head = head;
    }

    /// Shows the chart. `line` is its text for front ends without HTML.
    pub fn show(&mut self, chart: &Chart, line: &str) {
        self.charts.load(self.output);
        let [text, page] = self.head.iter().map(|line| paragraph(line)).fold([String::new(), String::new()], joined);
        let mut bundle = plain(text + line);
        let chart = html::chart_html(chart, "", "", &self.element, &self.element);
        bundle.insert("text/html".into(), json!(page + &chart));
        self.output.display(bundle, Some(&self.chart_id()));
        self.output.display(plain(""), Some(&self.push_id()));
        (self.shown, self.is_live) = (true, true);
    }

    pub fn is_shown(&self) -> bool {
        self.shown
    }

    /// Whether the chart is shown and the last update was long enough ago.
    pub fn is_due(&self) -> bool {
        self.shown && self.refreshed.elapsed() >= self.pause
    }

    /// The time since the last update.
    pub fn age(&self) -> Duration {
        self.refreshed.elapsed()
    }

    /// Updates the chart with a figure and a text.
    pub fn push(&mut self, draw: impl FnOnce() -> (Chart, String)) {
        let started = Instant::now();
        self.push_since(started, draw());
    }

    /// The same with a figure and a text that were begun at a time.
    pub fn push_since(&mut self, started: Instant, (chart, text): (Chart, String)) {
        self.update(started, &text, &html::push_html(&chart, &self.element));
    }

    /// Updates the text alone.
    pub fn push_text(&mut self, text: &str) {
        self.push_text_since(Instant::now(), text);
    }

    /// The same with a text that was begun at a time.
    pub fn push_text_since(&mut self, started: Instant, text: &str) {
        self.update(started, text, "");
    }

    fn update(&mut self, started: Instant, text: &str, script: &str) {
        let mut bundle = plain(text);
        let html = format!("<pre>{}</pre>{script}", html::escape(text));
        let sent = Duration::from_secs_f64((html.len() + text.len()) as f64 / BYTES_A_SECOND);
        bundle.insert("text/html".into(), json!(html));
        self.output.update(bundle, &self.push_id());
        // Four times as long, so that drawing takes a fifth of the time at most.
        self.pause = REFRESH.max(4 * started.elapsed()).max(sent);
        self.refreshed = Instant::now();
    }

    /// Replaces the chart, or an earlier report, by a report. `with_result` says whether the JSON result for programs
    /// is included.
    pub fn end(&mut self, report: Report, with_result: bool) {
        let mut bundle = report.replacing(&self.element).bundle_for(self.output);
        if !with_result {
            bundle.remove(RESULT_MIME);
        }
        if self.is_live {
            self.output.update(plain(""), &self.push_id());
            self.is_live = false;
        }
        match self.shown {
            true => self.output.update(bundle, &self.chart_id()),
            false => {
                self.charts.load(self.output);
                self.output.display(bundle, Some(&self.chart_id()));
                self.shown = true;
            }
        }
    }

    fn chart_id(&self) -> String {
        format!("{}-chart", self.element)
    }

    fn push_id(&self) -> String {
        format!("{}-push", self.element)
    }
}

fn joined([text, page]: [String; 2], [more_text, more_page]: [String; 2]) -> [String; 2] {
    [text + &more_text, page + &more_page]
}
