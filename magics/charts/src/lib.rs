//! Conclusions drawn. Info first, figure second: a function makes a [`Chart`] from an analysis, and two renderers draw
//! that chart: [`plotly`] for the interactive figure, [`picture`] for the static one. Both show the same.

pub mod chart;
mod figures;
pub mod html;
mod noise;
pub mod picture;
pub mod plotly;
mod scaling;
mod throughput;
mod ticks;

pub use chart::Chart;
pub use figures::{AxisPicture, Progress, ProgressTrial, axis, curves, isolation, progress};
pub use noise::noise;
pub use scaling::{ScalingPicture, scaling};
pub use throughput::{ThroughputCurve, throughput};
