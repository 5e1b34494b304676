//! The marks of points in the static picture.

use crate::chart::Mark;
use plotters::prelude::*;

/// How a mark is painted.
pub fn mark_style(mark: Mark, paint: RGBColor) -> ShapeStyle {
    if is_filled(mark) { paint.filled() } else { paint.stroke_width(2) }
}

/// Whether a mark is a circle.
pub fn is_round(mark: Mark) -> bool {
    matches!(mark, Mark::Disc | Mark::Ring)
}

/// The radius of a mark of a size, in pixels.
pub fn radius(size: f64) -> i32 {
    (size / 2.0).round() as i32
}

/// Whether the inside of a mark is painted too.
pub fn is_filled(mark: Mark) -> bool {
    matches!(mark, Mark::Disc | Mark::Diamond | Mark::Star | Mark::Up | Mark::Down)
}

/// Returns the outlines of a mark with a radius in pixels, around the origin. A filled mark has one, and a round one
/// none.
pub fn outlines(mark: Mark, radius: f64) -> Vec<Vec<(i32, i32)>> {
    let round = |points: &[(f64, f64)]| -> Vec<(i32, i32)> {
        points.iter().map(|(x, y)| ((x * radius).round() as i32, (y * radius).round() as i32)).collect()
    };
    let corners = |n: u32, reach: fn(u32) -> f64| -> Vec<(f64, f64)> {
        let corner = |i: u32| {
            let angle = f64::from(i) / f64::from(n) * std::f64::consts::TAU;
            (reach(i) * angle.sin(), -reach(i) * angle.cos())
        };
        (0..=n).map(corner).collect()
    };
    match mark {
        Mark::Disc | Mark::Ring => vec![],
        Mark::Diamond => vec![round(&corners(4, |_| 1.2))],
        Mark::Star => vec![round(&corners(10, |i| if i % 2 == 0 { 1.4 } else { 0.6 }))],
        Mark::Cross => vec![round(&[(-1.0, -1.0), (1.0, 1.0)]), round(&[(-1.0, 1.0), (1.0, -1.0)])],
        Mark::Dash => vec![round(&[(-2.2, 0.0), (2.2, 0.0)])],
        Mark::Up => vec![round(&corners(3, |_| 1.2))],
        Mark::Down => vec![round(&corners(3, |_| -1.2))],
    }
}
