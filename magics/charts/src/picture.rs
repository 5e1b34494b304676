//! The static renderer: draws a chart as SVG, for pages that run no scripts.

use crate::chart::{Axis, AxisScale, Chart, Mark, Point, Series, Shade, Style, around, palette};
use crate::marks::{is_filled, is_round, mark_style, outlines, radius};
use crate::ticks::ticks;
use plotters::coord::Shift;
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::collections::HashSet;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type DrawResult = Result<(), Box<dyn std::error::Error>>;

/// The width of the picture in pixels. A narrower page scales it down.
const WIDTH: u32 = 960;
const FONT: &str = "sans-serif";
/// The height of one row of the legend.
const LEGEND_ROW: i32 = 20;

/// Returns the SVG of a chart. If drawing fails, which is not known to happen, the picture is incomplete.
pub fn svg(chart: &Chart) -> String {
    let mut text = String::new();
    {
        let further_rows = legend(chart).last().map_or(0, |entry| entry.row);
        let size = (WIDTH, chart.height() + (further_rows * LEGEND_ROW) as u32);
        let area = SVGBackend::with_string(&mut text, size).into_drawing_area();
        let _ = draw(chart, &area).and_then(|()| Ok(area.present()?));
    }
    text
}

fn draw(chart: &Chart, area: &Area<'_>) -> DrawResult {
    let ink = color(palette::INK);
    let title = (FONT, 16).into_font().style(FontStyle::Bold).color(&ink);
    area.draw(&Text::new(chart.title.clone(), (12, 10), title))?;
    area.draw(&Text::new(chart.subtitle.clone(), (12, 32), (FONT, 12).into_font().color(&ink)))?;
    let height = chart.height();
    let (_, below) = area.split_vertically(54);
    let (panels, below_panels) = below.split_vertically(height - 54 - 30);
    let columns = chart.columns.clamp(1, chart.panels.len().max(1));
    let rows = chart.panels.len().div_ceil(columns).max(1);
    for (i, place) in panels.split_evenly((rows, columns)).iter().enumerate().take(chart.panels.len()) {
        draw_panel(chart, i, place)?;
    }
    legend(chart).iter().try_for_each(|entry| entry.draw(&below_panels))
}

/// An axis for plotters: a scale with its range.
struct Coordinate {
    scale: AxisScale,
    /// The ends of the range, as [linearized](AxisScale::linearized) values.
    low: f64,
    high: f64,
    most_ticks: usize,
}

impl Coordinate {
    /// A range that covers the extent with a margin. It is never empty.
    fn covering(axis: &Axis, extent: [f64; 2], most_ticks: usize) -> Self {
        let scale = axis.scale.clone();
        let [low, high] = match &scale {
            AxisScale::Categories(names) => {
                return Self { low: -0.5, high: names.len() as f64 - 0.5, scale, most_ticks };
            }
            AxisScale::Linear if extent[0] == extent[1] => around(extent[0]),
            _ => extent.map(|v| scale.linearized(v)),
        };
        let [low, high] = if low.is_finite() && high.is_finite() { [low, high] } else { [0.0, 1.0] };
        let margin = if high > low { 0.05 * (high - low) } else { 0.5 };
        Self { scale, low: low - margin, high: high + margin, most_ticks }
    }

    /// Returns where a value lies in the range: 0 at its lower end, 1 at its upper end.
    fn fraction(&self, v: f64) -> f64 {
        (self.scale.linearized(v) - self.low) / (self.high - self.low)
    }

    fn ticks(&self) -> Vec<(f64, String)> {
        let back = |v: f64| match self.scale {
            AxisScale::Log => 10_f64.powf(v),
            AxisScale::OneMinusLog => 1.0 - 10_f64.powf(-v),
            _ => v,
        };
        ticks(&self.scale, back(self.low), back(self.high), self.most_ticks)
    }
}

impl Ranged for Coordinate {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (start, end): (i32, i32)) -> i32 {
        start + (self.fraction(*value) * f64::from(end - start)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.ticks().into_iter().map(|(v, _)| v).filter(|v| (0.0..=1.0).contains(&self.fraction(*v))).collect()
    }

    fn range(&self) -> std::ops::Range<f64> {
        self.low..self.high
    }
}

impl ValueFormatter<f64> for Coordinate {
    fn format(value: &f64) -> String {
        crate::ticks::number(*value)
    }
}

fn draw_panel(chart: &Chart, i: usize, area: &Area<'_>) -> DrawResult {
    let panel = &chart.panels[i];
    let x = Coordinate::covering(&panel.x, panel.x_extent(), chart.most_ticks());
    let y = Coordinate::covering(&panel.y, chart.y_extent(panel), 9);
    let names = |scale: &AxisScale| match scale {
        AxisScale::Categories(names) => names.clone(),
        _ => vec![],
    };
    let (x_names, y_names) = (names(&panel.x.scale), names(&panel.y.scale));
    let label = |names: &[String], v: f64| {
        names.get(v.round().max(0.0) as usize).filter(|_| !names.is_empty()).cloned().unwrap_or(crate::ticks::number(v))
    };
    let ink = color(palette::INK);
    let text = (FONT, 12).into_font().color(&ink);
    let mut plot = ChartBuilder::on(area)
        .margin_left(8)
        .margin_right(14)
        .margin_top(8)
        .x_label_area_size(46)
        .y_label_area_size(62)
        .build_cartesian_2d(x, y)?;
    plot.configure_mesh()
        .axis_style(ink.mix(0.7))
        .bold_line_style(ink.mix(0.25))
        .light_line_style(TRANSPARENT)
        .label_style(text.clone())
        .axis_desc_style(text)
        .x_desc(&panel.x.title)
        .y_desc(chart.y_title(i))
        .x_label_formatter(&|v| label(&x_names, *v))
        .y_label_formatter(&|v| label(&y_names, *v))
        .draw()?;
    for shade in &panel.shades {
        draw_shade(shade, &mut plot)?;
    }
    for series in &panel.series {
        draw_series(series, &mut plot)?;
    }
    Ok(())
}

type Plot<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<Coordinate, Coordinate>>;

fn draw_shade(shade: &Shade, plot: &mut Plot<'_, '_>) -> DrawResult {
    let [from, to] = shade.range;
    let (pixels_x, pixels_y) = plot.plotting_area().get_pixel_range();
    let left = plot.backend_coord(&(from, 1.0)).0.max(pixels_x.start);
    let right = plot.backend_coord(&(to, 1.0)).0.min(pixels_x.end);
    let area = plot.plotting_area().strip_coord_spec();
    let corner = |x: i32, y: i32| (x - pixels_x.start, y - pixels_y.start);
    area.draw(&Rectangle::new(
        [corner(left, pixels_y.start), corner(right, pixels_y.end)],
        color(shade.color).mix(0.13).filled(),
    ))?;
    let text = (FONT, 11).into_font().color(&color(palette::INK)).pos(Pos::new(HPos::Center, VPos::Top));
    area.draw(&Text::new(shade.label.clone(), corner((left + right) / 2, pixels_y.start + 3), text))?;
    Ok(())
}

fn draw_series(series: &Series, plot: &mut Plot<'_, '_>) -> DrawResult {
    let paint = color(series.color);
    let at = |p: &Point| (p.x, p.y);
    let path: Vec<(f64, f64)> = series.points.iter().map(at).filter(|(x, y)| x.is_finite() && y.is_finite()).collect();
    let bars = series.points.iter().filter_map(|p| Some((p.x, p.interval?)));
    plot.draw_series(bars.map(|(x, [low, high])| PathElement::new(vec![(x, low), (x, high)], paint.stroke_width(2))))?;
    match series.style {
        Style::Line | Style::LineAndPoints => {
            plot.draw_series(LineSeries::new(path.clone(), paint.stroke_width(2)))?;
        }
        Style::Dashed => {
            plot.draw_series(DashedLineSeries::new(path.clone(), 6, 4, paint.stroke_width(2)))?;
        }
        Style::Steps => {
            let corners =
                path.windows(2).flat_map(|pair| [pair[0], (pair[1].0, pair[0].1)]).chain(path.last().copied());
            plot.draw_series(LineSeries::new(corners, paint.stroke_width(2)))?;
        }
        Style::Points(..) => {}
    }
    let (mark, size) = match series.style {
        Style::Points(mark, size) => (mark, size),
        Style::LineAndPoints => (Mark::Disc, 6.0),
        _ => return Ok(()),
    };
    let style = mark_style(mark, paint);
    if is_round(mark) {
        plot.draw_series(path.iter().map(|place| Circle::new(*place, radius(size), style)))?;
        return Ok(());
    }
    for outline in outlines(mark, size / 2.0) {
        if is_filled(mark) {
            let at = |place: &(f64, f64)| EmptyElement::at(*place) + Polygon::new(outline.clone(), style);
            plot.draw_series(path.iter().map(at))?;
        } else {
            let at = |place: &(f64, f64)| EmptyElement::at(*place) + PathElement::new(outline.clone(), style);
            plot.draw_series(path.iter().map(at))?;
        }
    }
    Ok(())
}

/// One series of the legend, with its place.
struct LegendEntry<'a> {
    series: &'a Series,
    x: i32,
    row: i32,
}

/// The entries of the legend, in as many rows as they need.
fn legend(chart: &Chart) -> Vec<LegendEntry<'_>> {
    const LEFT: i32 = 70;
    let mut named = HashSet::new();
    let mut entries = vec![];
    let (mut x, mut row) = (LEFT, 0);
    let series = || chart.panels.iter().flat_map(|panel| &panel.series).filter(|series| series.in_legend);
    let marked_last = series().filter(|series| !series.is_marked()).chain(series().filter(|series| series.is_marked()));
    for series in marked_last {
        if !named.insert(&series.name) {
            continue;
        }
        // No character of the font is wider than 7 pixels on average.
        let width = 40 + 7 * series.name.chars().count() as i32;
        if x > LEFT && x + width > WIDTH as i32 {
            (x, row) = (LEFT, row + 1);
        }
        entries.push(LegendEntry { series, x, row });
        x += width;
    }
    entries
}

impl LegendEntry<'_> {
    fn draw(&self, area: &Area<'_>) -> DrawResult {
        let text = (FONT, 12).into_font().color(&color(palette::INK)).pos(Pos::new(HPos::Left, VPos::Center));
        let paint = color(self.series.color);
        let (x, y) = (self.x, 12 + self.row * LEGEND_ROW);
        match self.series.style {
            Style::Points(mark, size) if is_round(mark) => {
                area.draw(&Circle::new((x, y), radius(size), mark_style(mark, paint)))?;
            }
            Style::Points(mark, size) => {
                for outline in outlines(mark, size / 2.0) {
                    let outline: Vec<(i32, i32)> = outline.into_iter().map(|(dx, dy)| (x + dx, y + dy)).collect();
                    match is_filled(mark) {
                        true => area.draw(&Polygon::new(outline, mark_style(mark, paint)))?,
                        false => area.draw(&PathElement::new(outline, mark_style(mark, paint)))?,
                    }
                }
            }
            _ => area.draw(&PathElement::new(vec![(x - 9, y), (x + 9, y)], paint.stroke_width(2)))?,
        }
        area.draw(&Text::new(self.series.name.clone(), (x + 14, y), text))?;
        Ok(())
    }
}

/// Reads a colour of the palette, which is `#rrggbb`.
fn color(hex: &str) -> RGBColor {
    let part = |i: usize| hex.get(i..i + 2).and_then(|digits| u8::from_str_radix(digits, 16).ok()).unwrap_or(128);
    RGBColor(part(1), part(3), part(5))
}
