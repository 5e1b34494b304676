//! A chart as plain data: panels, axes and series. Both renderers draw exactly what is written here.

use tunebook_analysis::{MAX_POINTS, thinned_curve, thinned_to};

/// Colours that people with any kind of colour vision can tell apart (Okabe and Ito 2008). All are readable on white
/// and on near-black pages.
pub mod palette {
    /// The first series, and good results.
    pub const BLUE: &str = "#1f86c7";
    /// The second series.
    pub const ORANGE: &str = "#e69f00";
    /// The third series.
    pub const GREEN: &str = "#009e73";
    /// The fourth series.
    pub const PURPLE: &str = "#cc79a7";
    /// The fifth series.
    pub const SKY: &str = "#56b4e9";
    /// Bad results, for example infeasible trials.
    pub const RED: &str = "#d55e00";
    /// Texts and axes where the colour of the page is not known: 4.5 times as dark as white, 4.2 times as light as
    /// JupyterLab's dark page. No grey reaches 4.5 on both.
    pub const INK: &str = "#767676";
    /// The background of a panel, for example single trials behind a curve.
    pub const FAINT: &str = "#8c8c8c";
    /// The colours that series take in turn.
    pub const SERIES: [&str; 5] = [BLUE, ORANGE, GREEN, PURPLE, SKY];
}

/// A chart.
#[derive(Clone, Debug, PartialEq)]
pub struct Chart {
    /// What the chart shows.
    pub title: String,
    /// How many data the chart rests on, and what it cannot tell.
    pub subtitle: String,
    /// The panels, row by row.
    pub panels: Vec<Panel>,
    /// The number of panels in a row.
    pub columns: usize,
}

impl Chart {
    /// The chart with at most [`MAX_POINTS`] points in each series. If that leaves points out, the subtitle says so.
    pub fn thinned(mut self) -> Self {
        let mut thinning = Thinning::to(MAX_POINTS);
        for series in self.panels.iter_mut().flat_map(|panel| &mut panel.series) {
            if series.points.len() > MAX_POINTS {
                series.points = thinning.keep(&series.points);
            }
        }
        self.subtitle += &thinning.note();
        self
    }

    /// One chart with the panels of this one above those of another. It keeps the title of this one; the subtitle says
    /// what the panels below show.
    pub fn above(mut self, below: Self) -> Self {
        self.subtitle = format!("{}. Below: {} ({})", self.subtitle, below.title, below.subtitle);
        self.panels.extend(below.panels);
        self
    }
}

/// Keeps at most so many points of a kind, and counts the others.
pub(crate) struct Thinning {
    most: usize,
    left_out: usize,
}

impl Thinning {
    /// `most` is at least 2.
    pub fn to(most: usize) -> Self {
        Self { most, left_out: 0 }
    }

    /// Items at equal distances, the first and the last included.
    pub fn keep<T: Clone>(&mut self, items: &[T]) -> Vec<T> {
        let kept = thinned_to(items, self.most);
        self.left_out += items.len() - kept.len();
        kept
    }

    /// Points of a curve, its extremes included. They are at most [`MAX_POINTS`].
    pub fn keep_curve(&mut self, points: &[(u64, f64)]) -> Vec<(u64, f64)> {
        let kept = thinned_curve(points, |(_, y)| *y, |_| false);
        self.left_out += points.len() - kept.len();
        kept
    }

    /// The end of a subtitle, which says how many points were left out. Empty if none was.
    pub fn note(&self) -> String {
        let Self { most, left_out } = self;
        if *left_out == 0 {
            return String::new();
        }
        format!("; {left_out} points are not drawn, at most {most} of a kind are")
    }
}

/// A pair of axes with what is drawn between them.
#[derive(Clone, Debug, PartialEq)]
pub struct Panel {
    /// The horizontal axis.
    pub x: Axis,
    /// The vertical axis.
    pub y: Axis,
    /// The series, the hindmost first.
    pub series: Vec<Series>,
    /// Shaded regions behind the series.
    pub shades: Vec<Shade>,
}

impl Panel {
    /// Makes a panel without shaded regions.
    pub fn new(x: Axis, y: Axis, series: Vec<Series>) -> Self {
        Self { x, y, series, shades: vec![] }
    }
}

/// A part of the horizontal axis that is shaded over the whole height of the panel.
#[derive(Clone, Debug, PartialEq)]
pub struct Shade {
    /// The two ends, as values of the horizontal axis.
    pub range: [f64; 2],
    /// The text at the top of the region.
    pub label: String,
    /// The colour as `#rrggbb`. It is drawn nearly transparent.
    pub color: &'static str,
}

/// How the values of an axis are placed on it.
#[derive(Clone, Debug, PartialEq)]
pub enum AxisScale {
    /// Equal distances are equal differences.
    Linear,
    /// Equal distances are equal ratios.
    Log,
    /// Equal distances are equal ratios of 1 − value. The value grows to the right.
    OneMinusLog,
    /// The i-th name stands at the value i, counted from 0.
    Categories(Vec<String>),
}

impl AxisScale {
    /// Maps a value so that the scale is linear in the result. The result is not finite where the value has no place.
    pub(crate) fn linearized(&self, v: f64) -> f64 {
        match self {
            Self::Log => v.log10(),
            Self::OneMinusLog => -(1.0 - v).log10(),
            Self::Linear | Self::Categories(_) => v,
        }
    }
}

/// An axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// The quantity on the axis, with its unit.
    pub title: String,
    /// How values are placed.
    pub scale: AxisScale,
}

impl Axis {
    pub fn new(title: impl Into<String>, scale: AxisScale) -> Self {
        Self { title: title.into(), scale }
    }
}

/// The shape of a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    Disc,
    Ring,
    /// Two diagonal lines.
    Cross,
    Star,
    Diamond,
    /// A horizontal line.
    Dash,
    /// A triangle that points to larger values.
    Up,
    /// A triangle that points to smaller values.
    Down,
}

/// How a series is drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Style {
    /// Points with a shape and a diameter in pixels.
    Points(Mark, f64),
    /// A line through the points.
    Line,
    /// A dashed line through the points.
    Dashed,
    /// A line that keeps its value until the next point.
    Steps,
    /// A line through the points with a disc at each of them.
    LineAndPoints,
}

/// A point of a series.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// The value on the horizontal axis.
    pub x: f64,
    /// The value on the vertical axis.
    pub y: f64,
    /// The text that appears when the pointer hovers over the point. Its lines are separated by `\n`.
    pub label: String,
    /// The two ends of a vertical bar, as values of the vertical axis.
    pub interval: Option<[f64; 2]>,
}

/// Points that belong together.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// The name in the legend. Series of several panels with the same name share one entry.
    pub name: String,
    /// The colour as `#rrggbb`.
    pub color: &'static str,
    /// How the series is drawn.
    pub style: Style,
    /// The points, in the order in which a line connects them.
    pub points: Vec<Point>,
    /// Whether the series has an entry in the legend.
    pub in_legend: bool,
}

impl Panel {
    /// The smallest and the largest horizontal coordinate of what is drawn. The first is infinite if nothing is.
    pub(crate) fn x_extent(&self) -> [f64; 2] {
        let points = self.series.iter().flat_map(|series| &series.points).map(|point| point.x);
        extent(&self.x.scale, points.chain(self.shades.iter().flat_map(|shade| shade.range)))
    }

    /// The vertical coordinates of what is drawn, with the ends of bars.
    fn ys(&self) -> impl Iterator<Item = f64> {
        let points = self.series.iter().flat_map(|series| &series.points);
        points.flat_map(|point| point.interval.into_iter().flatten().chain([point.y]))
    }
}

impl Series {
    /// Whether the series marks single points of others, and so comes last in the legend.
    pub(crate) fn is_marked(&self) -> bool {
        matches!(self.style, Style::Points(Mark::Star, _))
    }
}

/// The smallest and the largest of the values that have a place on the scale.
fn extent(scale: &AxisScale, values: impl Iterator<Item = f64>) -> [f64; 2] {
    let finite = values.filter(|value| scale.linearized(*value).is_finite());
    finite.fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], value| [low.min(value), high.max(value)])
}

/// A range around a value, for an axis on which all values are equal.
pub(crate) fn around(value: f64) -> [f64; 2] {
    let reach = if value == 0.0 { 1.0 } else { 0.5 * value.abs() };
    [value - reach, value + reach]
}

impl Chart {
    /// The smallest and the largest vertical coordinate in all panels with the vertical axis of this one.
    pub(crate) fn y_extent(&self, panel: &Panel) -> [f64; 2] {
        extent(&panel.y.scale, self.panels.iter().filter(|other| other.y == panel.y).flat_map(Panel::ys))
    }

    /// The title of the vertical axis of a panel. It is empty where the panel to the left has the same axis.
    pub(crate) fn y_title(&self, i: usize) -> &str {
        let axis = &self.panels[i].y;
        let is_first = i.is_multiple_of(self.columns.max(1));
        if !is_first && self.panels[i - 1].y == *axis { "" } else { &axis.title }
    }

    /// The most ticks of a horizontal logarithmic axis, so that their labels do not overlap.
    pub(crate) fn most_ticks(&self) -> usize {
        match self.columns {
            0 | 1 => 9,
            2 => 6,
            _ => 4,
        }
    }

    /// The height of the drawn chart in pixels.
    pub fn height(&self) -> u32 {
        let rows = self.panels.len().div_ceil(self.columns.max(1)).max(1) as u32;
        130 + rows * if rows == 1 { 290 } else { 250 }
    }
}
