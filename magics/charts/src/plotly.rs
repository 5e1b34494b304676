//! The interactive renderer: returns a chart as a Plotly figure in JSON (`data`, `layout`, `config`), which plotly.js 3
//! draws.

use crate::chart::{Axis, AxisScale, Chart, Mark, Panel, Point, Series, Style, around, palette};
use crate::ticks::ticks;
use plotly::Scatter;
use plotly::common::{
    DashType, ErrorData, ErrorType, Font, HoverInfo, Line, LineShape, Marker, MarkerSymbol, Mode, TickMode, Title,
};
use plotly::layout::{Axis as PlotlyAxis, AxisType, HoverMode, Legend, Margin};
use plotly::{Layout, Trace};
use serde_json::{Map, Value, json};
use std::collections::HashSet;

/// Returns the Plotly figure of a chart.
pub fn figure(chart: &Chart) -> Value {
    let mut named = HashSet::new();
    let mut data = vec![];
    for (i, panel) in chart.panels.iter().enumerate() {
        for series in &panel.series {
            let first = series.in_legend && named.insert(series.name.clone());
            data.push(trace(series, panel, i, first));
        }
    }
    json!({ "data": data, "layout": layout(chart), "config": { "responsive": true, "displaylogo": false,
        "modeBarButtonsToRemove": ["lasso2d", "select2d", "autoScale2d"] } })
}

fn trace(series: &Series, panel: &Panel, index: usize, in_legend: bool) -> Value {
    // Plotly has no scale for 1 − value, so these axes show 1 − value on a reversed logarithmic axis.
    let coordinate = |axis: &Axis, v: f64| if axis.scale == AxisScale::OneMinusLog { 1.0 - v } else { v };
    let xs: Vec<f64> = series.points.iter().map(|p| coordinate(&panel.x, p.x)).collect();
    let ys: Vec<f64> = series.points.iter().map(|p| coordinate(&panel.y, p.y)).collect();
    let labels: Vec<String> = series.points.iter().map(|p| escape(&p.label)).collect();
    let suffix = suffix(index);
    let mut scatter = Scatter::new(xs, ys)
        .name(escape(&series.name))
        .legend_group(&series.name)
        .show_legend(in_legend)
        .hover_text_array(labels)
        .hover_info(HoverInfo::Text)
        .x_axis(format!("x{suffix}"))
        .y_axis(format!("y{suffix}"));
    let line = Line::new().color(series.color).width(2.0);
    let marker = |mark: Mark, size: f64| {
        let symbol = match mark {
            Mark::Disc => MarkerSymbol::Circle,
            Mark::Ring => MarkerSymbol::CircleOpen,
            Mark::Cross => MarkerSymbol::X,
            Mark::Star => MarkerSymbol::Star,
            Mark::Diamond => MarkerSymbol::Diamond,
            Mark::Dash => MarkerSymbol::LineEWOpen,
            Mark::Up => MarkerSymbol::TriangleUp,
            Mark::Down => MarkerSymbol::TriangleDown,
        };
        Marker::new().color(series.color).size(size.round() as usize).symbol(symbol)
    };
    scatter = match series.style {
        Style::Points(mark, size) => scatter.mode(Mode::Markers).marker(marker(mark, size)),
        Style::Line => scatter.mode(Mode::Lines).line(line),
        Style::Dashed => scatter.mode(Mode::Lines).line(line.dash(DashType::Dash)),
        Style::Steps => scatter.mode(Mode::Lines).line(line.shape(LineShape::Hv)),
        Style::LineAndPoints => scatter.mode(Mode::LinesMarkers).line(line).marker(marker(Mark::Disc, 6.0)),
    };
    if series.points.iter().any(|p| p.interval.is_some()) {
        let reach = |f: fn([f64; 2], f64) -> f64| -> Vec<f64> {
            let of = |p: &Point| p.interval.map_or(0.0, |interval| f(interval, p.y).max(0.0));
            series.points.iter().map(of).collect()
        };
        let bars = ErrorData::new(ErrorType::Data)
            .symmetric(false)
            .array(reach(|[_, high], y| high - y))
            .array_minus(reach(|[low, _], y| y - low))
            .color(series.color)
            .thickness(1.5)
            .width(5);
        scatter = scatter.error_y(bars);
    }
    let mut trace: Value = serde_json::from_str(&scatter.to_json()).unwrap_or(Value::Null);
    if series.is_marked() {
        // After all other entries, whose rank is 1,000.
        trace["legendrank"] = json!(1001);
    }
    trace
}

/// Returns what Plotly appends to the names of a panel's axes: nothing for the first panel, then 2, 3, ….
fn suffix(index: usize) -> String {
    if index == 0 { String::new() } else { (index + 1).to_string() }
}

fn layout(chart: &Chart) -> Value {
    let (title, subtitle) = (escape(&chart.title), escape(&chart.subtitle));
    let title = format!("<b>{title}</b><br><span style=\"font-size:12px\">{subtitle}</span>");
    let base = Layout::new()
        .title(Title::with_text(title).x(0.01).font(Font::new().size(15)))
        .font(Font::new().size(12).color(palette::INK))
        .paper_background_color("rgba(0,0,0,0)")
        .plot_background_color("rgba(0,0,0,0)")
        .margin(Margin::new().left(70).right(20).top(70).bottom(60))
        .height(chart.height() as usize)
        .hover_mode(HoverMode::Closest)
        .legend(Legend::new().orientation(plotly::common::Orientation::Horizontal).x(0.0).y(-0.2));
    let mut layout: Map<String, Value> = serde_json::from_str(&base.to_json()).unwrap_or_default();
    // Without this, Plotly draws the buttons on a solid colour, because the paper has no colour of its own.
    layout.insert(
        "modebar".into(),
        json!({ "bgcolor": "rgba(0,0,0,0)", "color": palette::INK, "activecolor": palette::BLUE }),
    );
    let columns = chart.columns.clamp(1, chart.panels.len().max(1));
    let rows = chart.panels.len().div_ceil(columns).max(1);
    let gap =
        if chart.panels.iter().enumerate().any(|(i, _)| !i.is_multiple_of(columns) && !chart.y_title(i).is_empty()) {
            0.12
        } else {
            0.07
        };
    let (mut shapes, mut labels) = (vec![], vec![]);
    for (i, panel) in chart.panels.iter().enumerate() {
        for shade in &panel.shades {
            let [from, to] = shade.range.map(|x| if panel.x.scale == AxisScale::OneMinusLog { 1.0 - x } else { x });
            let (x, y) = (format!("x{}", suffix(i)), format!("y{} domain", suffix(i)));
            shapes.push(json!({ "type": "rect", "layer": "below", "xref": x, "yref": y, "x0": from, "x1": to, "y0": 0,
                "y1": 1, "fillcolor": shade.color, "opacity": 0.13, "line": { "width": 0 } }));
            // On a logarithmic axis Plotly wants shapes at values, but annotations at the logarithms of values.
            let middle = match panel.x.scale {
                AxisScale::Log | AxisScale::OneMinusLog => 0.5 * (from.log10() + to.log10()),
                _ => 0.5 * (from + to),
            };
            labels.push(json!({ "text": escape(&shade.label), "xref": x, "yref": y, "x": middle, "y": 1,
                "yanchor": "top", "showarrow": false, "font": { "size": 10, "color": palette::INK } }));
        }
        let (row, column) = (i / columns, i % columns);
        let across = share(column, columns, gap);
        // Ticks and the title of the horizontal axis take about 95 pixels.
        let [top, bottom] = share(row, rows, 95.0 / f64::from(chart.height() - 130)).map(|v| 1.0 - v);
        let suffix = suffix(i);
        let mut x = axis(&panel.x, panel.x_extent(), chart.most_ticks(), across, format!("y{suffix}"));
        // There is no half trial.
        let [low, high] = panel.x_extent();
        let is_whole = panel.series.iter().flat_map(|series| &series.points).all(|point| point.x.fract() == 0.0);
        if panel.x.scale == AxisScale::Linear && is_whole && (1.0..=10.0).contains(&(high - low)) {
            x["dtick"] = json!(1);
        }
        let y_axis = Axis { title: chart.y_title(i).into(), ..panel.y.clone() };
        let mut y = axis(&y_axis, chart.y_extent(panel), 9, [bottom, top], format!("x{suffix}"));
        // Equal axes have one range, and a zoom in one panel is a zoom in all of them.
        if let Some(first) = chart.panels[..i].iter().position(|other| other.y == panel.y) {
            y["matches"] = json!(format!("y{}", self::suffix(first)));
        }
        layout.insert(format!("xaxis{suffix}"), x);
        layout.insert(format!("yaxis{suffix}"), y);
    }
    if !shapes.is_empty() {
        layout.insert("shapes".into(), json!(shapes));
        layout.insert("annotations".into(), json!(labels));
    }
    // Below the ticks and the titles of the lowest panels, which are about 85 pixels high.
    let lowest = if rows > 1 { -85.0 / (250.0 * rows as f64) } else { -0.22 };
    if let Some(legend) = layout.get_mut("legend") {
        legend["y"] = json!(lowest);
    }
    Value::Object(layout)
}

/// Returns the part of [0, 1] that the i-th of n panels takes, with gaps between the panels.
fn share(i: usize, n: usize, gap: f64) -> [f64; 2] {
    let gap = if n > 1 { gap.min(0.5 / n as f64) } else { 0.0 };
    let width = (1.0 - gap * (n - 1) as f64) / n as f64;
    let start = i as f64 * (width + gap);
    [start, start + width]
}

/// Returns an axis whose values lie between the ends of `extent`. A logarithmic one has at most `most` ticks.
fn axis(axis: &Axis, [low, high]: [f64; 2], most: usize, domain: [f64; 2], anchor: String) -> Value {
    let grid = "rgba(128,128,128,0.22)";
    let mut styled = PlotlyAxis::new()
        .title(Title::with_text(escape(&axis.title)))
        .domain(&domain)
        .anchor(anchor)
        .grid_color(grid)
        .line_color("rgba(128,128,128,0.6)")
        .show_line(true)
        .zero_line(false)
        .auto_margin(true);
    styled = match &axis.scale {
        AxisScale::Linear => styled.type_(AxisType::Linear),
        AxisScale::Log | AxisScale::OneMinusLog => styled.type_(AxisType::Log),
        AxisScale::Categories(_) => styled.type_(AxisType::Linear),
    };
    match &axis.scale {
        AxisScale::Categories(names) => {
            styled = styled
                .tick_mode(TickMode::Array)
                .tick_values((0..names.len()).map(|i| i as f64).collect())
                .tick_text(names.iter().map(|name| escape(name)).collect())
                .range(vec![-0.5, names.len() as f64 - 0.5]);
        }
        AxisScale::OneMinusLog => {
            let marks = ticks(&axis.scale, low, high, most);
            styled = styled
                .tick_mode(TickMode::Array)
                .tick_values(marks.iter().map(|(v, _)| 1.0 - v).collect())
                .tick_text(marks.into_iter().map(|(_, text)| text).collect());
        }
        AxisScale::Log => {
            let marks = ticks(&axis.scale, low, high, most);
            styled = styled
                .tick_mode(TickMode::Array)
                .tick_values(marks.iter().map(|(v, _)| *v).collect())
                .tick_text(marks.into_iter().map(|(_, text)| text).collect());
        }
        AxisScale::Linear if low == high => styled = styled.range(around(low).to_vec()),
        AxisScale::Linear => {}
    }
    let mut json = serde_json::to_value(&styled).unwrap_or(Value::Null);
    json["title"]["standoff"] = json!(10);
    if axis.scale == AxisScale::OneMinusLog {
        json["autorange"] = json!("reversed");
    }
    json
}

/// Escapes text, because Plotly reads a small part of HTML in its texts.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('\n', "<br>")
}
