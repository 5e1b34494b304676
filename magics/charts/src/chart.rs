//! A chart in words: panels, axes, series. No renderer decides anything that is not written here.

/// Colours that people with any kind of colour vision can tell apart (Okabe and Ito 2008), readable on white and on
/// near-black.
pub mod palette {
    /// First series, and what is good.
    pub const BLUE: &str = "#1f86c7";
    /// Second series.
    pub const ORANGE: &str = "#e69f00";
    /// Third series.
    pub const GREEN: &str = "#009e73";
    /// Fourth series.
    pub const PURPLE: &str = "#cc79a7";
    /// Fifth series.
    pub const SKY: &str = "#56b4e9";
    /// What went wrong: infeasible trials.
    pub const RED: &str = "#d55e00";
    /// Text, axes.
    pub const INK: &str = "#808080";
    /// What stands behind: single trials.
    pub const FAINT: &str = "#9a9a9a";
    /// Colours of series in turn.
    pub const SERIES: [&str; 5] = [BLUE, ORANGE, GREEN, PURPLE, SKY];
}

/// A whole chart.
#[derive(Clone, Debug, PartialEq)]
pub struct Chart {
    /// What it shows.
    pub title: String,
    /// How much it rests on, and what it cannot tell.
    pub subtitle: String,
    /// Its panels, row by row.
    pub panels: Vec<Panel>,
    /// Panels in a row.
    pub columns: usize,
}

/// One pair of axes with what is drawn between them.
#[derive(Clone, Debug, PartialEq)]
pub struct Panel {
    /// The horizontal axis.
    pub x: Axis,
    /// The vertical axis.
    pub y: Axis,
    /// What is drawn, the hindmost first.
    pub series: Vec<Series>,
    /// Regions behind it, over its whole height.
    pub shades: Vec<Shade>,
}

impl Panel {
    /// A panel without shaded regions.
    pub fn new(x: Axis, y: Axis, series: Vec<Series>) -> Self {
        Self { x, y, series, shades: vec![] }
    }
}

/// A shaded part of the horizontal axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Shade {
    /// Its ends.
    pub range: [f64; 2],
    /// What it is; stands at its top.
    pub label: String,
    /// `#rrggbb`; drawn faintly.
    pub color: &'static str,
}

/// How positions become places.
#[derive(Clone, Debug, PartialEq)]
pub enum AxisScale {
    /// Equal steps.
    Linear,
    /// Equal factors.
    Log,
    /// Equal factors of 1 − value, growing to the right. Positions are values.
    OneMinusLog,
    /// The names stand at 0, 1, 2, ….
    Categories(Vec<String>),
}

/// An axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// What it measures, with the unit.
    pub title: String,
    /// How.
    pub scale: AxisScale,
}

impl Axis {
    /// An axis of a title and scale.
    pub fn new(title: impl Into<String>, scale: AxisScale) -> Self {
        Self { title: title.into(), scale }
    }
}

/// The shape of a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Filled disc.
    Disc,
    /// Ring.
    Ring,
    /// ×.
    Cross,
    /// Star.
    Star,
    /// Diamond.
    Diamond,
    /// A horizontal dash.
    Dash,
}

/// How a series is drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Style {
    /// Points of a shape and a diameter in pixels.
    Points(Mark, f64),
    /// A line through the points.
    Line,
    /// A dashed line through the points.
    Dashed,
    /// A line that stays at a value until the next point.
    Steps,
    /// A line with a disc at each point.
    LineAndPoints,
}

/// A point in the coordinates of its axes.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// Along the horizontal axis.
    pub x: f64,
    /// Along the vertical axis.
    pub y: f64,
    /// What the mouse finds there.
    pub label: String,
    /// An interval around it.
    pub interval: Option<[f64; 2]>,
}

/// Points that belong together.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Name in the legend; the same name in several panels is one entry.
    pub name: String,
    /// `#rrggbb`.
    pub color: &'static str,
    /// How it is drawn.
    pub style: Style,
    /// Its points, in the order in which a line goes through them.
    pub points: Vec<Point>,
    /// Whether it has an entry in the legend.
    pub in_legend: bool,
}

impl Chart {
    /// Height in pixels at which it is drawn.
    pub fn height(&self) -> u32 {
        let rows = self.panels.len().div_ceil(self.columns.max(1)).max(1) as u32;
        130 + rows * if rows == 1 { 290 } else { 250 }
    }
}
