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
    refreshed: Instant,
    /// What the last refresh cost: the next one waits at least four times as long.
    cost: Duration,
}

impl<'a> LiveChart<'a> {
    /// One that is not shown yet.
    pub fn new(charts: &'a ChartLoader, output: &'a dyn Output) -> Self {
        let (element, shown, refreshed, cost) = (element_id(), false, Instant::now(), Duration::ZERO);
        Self { charts, output, element, shown, refreshed, cost }
    }

    /// Shows the chart as it is at the start. `line`: the state in words.
    pub fn show(&mut self, chart: &Chart, line: &str) {
        self.charts.load(self.output);
        let mut bundle = plain(line);
        bundle.insert("text/html".into(), json!(html::chart_html(chart, "", &self.element)));
        self.output.display(bundle, Some(&self.chart_id()));
        self.output.display(plain(""), Some(&self.push_id()));
        self.shown = true;
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

    /// Ends with a result in its place. `with_result`: whether programs are to find it.
    pub fn end(self, report: Report, with_result: bool) {
        let mut bundle = report.bundle();
        if !with_result {
            bundle.remove(RESULT_MIME);
        }
        if self.shown {
            self.output.update(plain(""), &self.push_id());
            self.output.update(bundle, &self.chart_id());
        } else {
            self.charts.load(self.output);
            self.output.display(bundle, Some(&self.chart_id()));
        }
    }

    fn chart_id(&self) -> String {
        format!("{}-chart", self.element)
    }

    fn push_id(&self) -> String {
        format!("{}-push", self.element)
    }
}
