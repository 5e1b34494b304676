//! Draws the conclusions of `tunebook-analysis`.
//!
//! A figure function makes a [`Chart`], which is plain data, from the result of an analysis. Two renderers draw that
//! chart: [`plotly`] makes the interactive figure and [`picture`] the static one. Both show the same. [`html`] puts
//! charts and tables into a notebook.

pub mod chart;
mod figures;
pub mod html;
mod marks;
pub mod picture;
pub mod plotly;
pub mod png;
mod ticks;

pub use chart::Chart;
pub use figures::{
    LossCurve, RateDot, ReplayedTrial, RerunArm, ScalingCaption, StabilityFigure, StepsCaption, ThroughputCurve, axis,
    best_of_k, best_steps, curves, curves_by_value, importance, isolation, noise, optimization_history, replay, reruns,
    scaling, stability, steps, throughput,
};
