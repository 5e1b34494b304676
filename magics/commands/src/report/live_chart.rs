//! A chart that grows while the work runs.
//!
//! It is displayed once and brought up to date through a second display whose script pushes new figures into it: so zoom and
//! hidden series stay, and a front end without script sees one line of progress.

use super::{ChartLoader, Report, element_id};
use crate::host::{Output, RESULT_MIME, plain};
use serde_json::json;
use std::time::{Duration, Instant};
use tunebook_charts::{Chart, html};

/// A chart is not brought up to date more often than this.
const REFRESH: Duration = Duration::from_millis(500);

/// See the module.
pub struct LiveChart<'a> {
    charts: &'a ChartLoader,
    output: &'a dyn Output,
    element: String,
    shown: bool,
    /// Whether the second display holds a line of progress.
    grows: bool,
    refreshed: Instant,
    /// What the last refresh cost: the next one waits at least four times as long.
    cost: Duration,
}

impl<'a> LiveChart<'a> {
    /// One that is not shown yet.
    pub fn new(charts: &'a ChartLoader, output: &'a dyn Output) -> Self {
        let (element, shown, grows) = (element_id(), false, false);
        let (refreshed, cost) = (Instant::now(), Duration::ZERO);
        Self { charts, output, element, shown, grows, refreshed, cost }
    }

    /// Shows the chart as it is at the start. `line`: the state in words.
    pub fn show(&mut self, chart: &Chart, line: &str) {
        self.charts.load(self.output);
        let mut bundle = plain(line);
        bundle.insert("text/html".into(), json!(html::chart_html(chart, "", &self.element)));
        self.output.display(bundle, Some(&self.chart_id()));
        self.output.display(plain(""), Some(&self.push_id()));
        (self.shown, self.grows) = (true, true);
    }

    /// Whether it is shown.
    pub fn is_shown(&self) -> bool {
        self.shown
    }

    /// Whether the last refresh was long enough ago.
    pub fn is_due(&self) -> bool {
        self.shown && self.refreshed.elapsed() >= REFRESH.max(4 * self.cost)
    }

    /// Brings it up to date.
    pub fn push(&mut self, draw: impl FnOnce() -> (Chart, String)) {
        let started = Instant::now();
        let (chart, line) = draw();
        let mut bundle = plain(line);
        bundle.insert("text/html".into(), json!(html::push_html(&chart, &self.element)));
        self.output.update(bundle, &self.push_id());
        (self.refreshed, self.cost) = (Instant::now(), started.elapsed());
    }

    /// Puts a report in the place of the chart. `with_result`: whether programs are to find its result. A later report takes
    /// the place of an earlier one.
    pub fn end(&mut self, report: Report, with_result: bool) {
        let mut bundle = report.bundle();
        if !with_result {
            bundle.remove(RESULT_MIME);
        }
        if self.grows {
            self.output.update(plain(""), &self.push_id());
            self.grows = false;
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
