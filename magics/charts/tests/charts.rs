//! Tests of the figures and of both renderers.

use tunebook_analysis::{
    Axis, AxisPlot, AxisPoint, Bucket, BucketTrial, End, Flags, HistoryTrial, Isolation, IsolationPoint,
    OptimizationHistory, ValueSpan,
};
use tunebook_charts::chart::{AxisScale, palette};
use tunebook_charts::*;
use tunebook_study::{Direction, Params, Scale, TrialState};

fn history() -> OptimizationHistory {
    let trial = |number: u32, objective: Option<f64>, best: f64| HistoryTrial {
        number,
        state: if objective.is_some() { TrialState::Complete } else { TrialState::Infeasible },
        objective,
        best_so_far: Some(best),
        params: Params::new(),
    };
    OptimizationHistory {
        metric: "valid/error".into(),
        direction: Direction::Minimize,
        trials: vec![
            trial(1, Some(0.5), 0.5),
            trial(2, None, 0.5),
            trial(3, Some(0.02), 0.02),
            trial(4, Some(0.3), 0.02),
        ],
    }
}

/// The chart of the history of a study whose name and hyperparameters are given.
fn history_chart(study: &str, params: &str) -> Chart {
    optimization_history(study, 5, &history(), &|_| params.to_string(), 2000)
}

#[test]
fn the_interactive_figure_holds_all_trials() {
    let figure = plotly::figure(&history_chart("depth", "lr=0.1"));
    let trace = |name: &str| {
        let data = figure["data"].as_array().unwrap();
        data.iter().find(|trace| trace["name"] == name).unwrap_or_else(|| panic!("no trace {name} in {figure}")).clone()
    };
    assert_eq!(trace("complete")["y"], serde_json::json!([0.5, 0.02, 0.3]));
    assert_eq!(trace("best so far")["y"], serde_json::json!([0.5, 0.02, 0.02]));
    assert_eq!(trace("infeasible")["x"], serde_json::json!([2.0]));
    assert!(
        trace("infeasible")["y"][0].as_f64().unwrap() > 0.5,
        "infeasible trials are drawn beyond the worst objective"
    );
    assert_eq!(figure["layout"]["yaxis"]["type"], "log", "0.02 to 0.5 is more than a decade");
    assert!(figure["layout"]["title"]["text"].as_str().unwrap().contains("depth"));
}

#[test]
fn each_panel_has_axes_of_its_own() {
    let points = |value: tunebook_study::Value| {
        let state = TrialState::Complete;
        vec![AxisPoint { trial: 1, value, objective: Some(0.1), state }]
    };
    let plot = |name: &str, scale, value| AxisPlot {
        hyperparameter: name.into(),
        scale,
        categories: if scale == Scale::Categorical { vec!["adam".into()] } else { vec![] },
        points: points(value),
        thinned: None,
        best_span: ValueSpan::Empty,
        tried_span: ValueSpan::Empty,
        infeasible_above: 0,
        infeasible_below: 0,
        suspicious: vec![End::High],
        shaded: if scale == Scale::Log { vec![[0.5, 1.0]] } else { vec![] },
    };
    let result = Axis {
        metric: "e".into(),
        direction: Direction::Minimize,
        plots: vec![
            plot("lr", Scale::Log, 0.1.into()),
            plot("momentum", Scale::OneMinusLog, 0.99.into()),
            plot("optimizer", Scale::Categorical, "adam".into()),
        ],
        best: vec![1],
        flags: Flags::default(),
    };
    let chart = axis("s", &result);
    assert_eq!(chart.panels[0].shades[0].range, [0.5, 1.0], "a suspicious end is shaded");
    assert_eq!(chart.panels[2].x.scale, AxisScale::Categories(vec!["adam".into()]));
    let figure = plotly::figure(&chart);
    assert_eq!(figure["layout"]["xaxis"]["type"], "log");
    assert_eq!(figure["layout"]["xaxis2"]["autorange"], "reversed");
    assert!((figure["data"][1]["x"][0].as_f64().unwrap() - 0.01).abs() < 1e-12);
    assert_eq!(figure["layout"]["xaxis3"]["ticktext"][0], "adam");
    let svg = picture::svg(&chart);
    assert!(svg.contains("optimizer") && svg.trim_end().ends_with("</svg>"), "{svg}");
}

#[test]
fn infeasible_trials_have_a_place_although_no_trial_has_a_value() {
    let point = AxisPoint { trial: 1, value: 0.1.into(), objective: None, state: TrialState::Infeasible };
    let plot = AxisPlot {
        hyperparameter: "lr".into(),
        scale: Scale::Log,
        categories: vec![],
        points: vec![point],
        thinned: None,
        best_span: ValueSpan::Empty,
        tried_span: ValueSpan::Range([0.1, 0.1]),
        infeasible_above: 0,
        infeasible_below: 0,
        suspicious: vec![],
        shaded: vec![],
    };
    for direction in [Direction::Minimize, Direction::Maximize] {
        let (metric, plots) = ("e".into(), vec![plot.clone()]);
        let chart = axis("s", &Axis { metric, direction, plots, best: vec![], flags: Flags::default() });
        let drawn = &chart.panels[0].series[0];
        assert!(drawn.name == "infeasible" && drawn.points[0].y.is_finite(), "{drawn:?}");
        assert!(!chart.subtitle.contains("stars"), "{}", chart.subtitle);
    }
}

#[test]
fn an_isolation_draws_each_complete_trial_once() {
    let point = |low: f64, high: f64, objectives: &[Option<f64>]| IsolationPoint {
        bucket: Bucket::Range([low, high]),
        objective: Some(0.1),
        trial: Some(1),
        trials: objectives.iter().zip(1..).map(|(y, number)| BucketTrial { number, objective: *y }).collect(),
        configurations: objectives.len(),
        infeasible: 1,
        failed: 0,
        interval: Some([None, Some(0.2)]),
        seeds: None,
        params: Some([("lr".to_string(), low.into())].into()),
        is_baseline: low == 0.01,
        budget_matched: Some(0.15),
    };
    let result = Isolation {
        hyperparameter: "lr".into(),
        scale: Scale::Log,
        direction: Direction::Minimize,
        metric: "e".into(),
        points: vec![point(0.01, 0.01, &[Some(0.1), None, Some(0.2)]), point(0.1, 10.0, &[Some(0.1), None, Some(0.9)])],
        matched: 2,
        comparison: None,
    };
    let chart =
        isolation("s", &result, &|params| params.iter().map(|(name, value)| format!("{name}={value}")).collect());
    let panel = &chart.panels[0];
    let drawn = |name: &str| {
        let series = panel.series.iter().find(|series| series.name == name).unwrap();
        series.points.iter().map(|point| (point.x, point.y)).collect::<Vec<_>>()
    };
    assert_eq!(panel.x.scale, AxisScale::Log);
    assert_eq!(drawn("single trials"), [(0.01, 0.1), (0.01, 0.2), (1.0, 0.1)], "a bucket is drawn at its middle");
    assert_eq!(drawn("best"), [(0.01, 0.1), (1.0, 0.1)]);
    assert_eq!(drawn("baseline"), [(0.01, 0.1), (1.0, 0.1)], "a line through all points");
    let hovering = &panel.series.iter().find(|series| series.name == "best").unwrap().points[0].label;
    assert!(hovering.contains("lr=0.01"), "{hovering}");
    assert_eq!(drawn("expected best of 2 (equal budget)").len(), 2);
    assert_eq!(drawn("worse trials, at the rim").len(), 1, "0.9 is far beyond what matters");
    assert!(drawn("worse trials, at the rim")[0].1 < 0.3);
    let best = panel.series.iter().find(|series| series.name == "best").unwrap();
    let [open, end] = best.points[0].interval.unwrap();
    assert!(open < 0.1 && end == 0.2, "an open end reaches to the rim");
    assert!(drawn("the bar continues beyond the axis").contains(&(0.01, open)), "and is no end of the interval");
    assert!(
        chart.subtitle.starts_with("3 trials each, 2 infeasible in all (33 %); 1 worse trial at the rim"),
        "{}",
        chart.subtitle
    );
}

#[test]
fn texts_of_the_user_are_escaped() {
    let hostile = "</script><script>alert(1)</script>\"'&";
    let chart = history_chart(hostile, hostile);
    for html in [html::chart_html(&chart, hostile, "", "id", "id"), html::push_html(&chart, "id")] {
        assert!(!html.contains("<script>alert"), "{html}");
    }
    let table = html::table_html(&["h".into()], &[vec![hostile.into()]], html::escape);
    assert!(!table.contains("<script>"));
}

#[test]
fn what_stands_between_backticks_is_code_and_a_single_one_stays() {
    assert_eq!(html::sentence("`a<b` and `%c`; it`s"), "<code>a&lt;b</code> and <code>%c</code>; it`s");
    assert_eq!(html::sentence("plain & \"quoted\""), html::escape("plain & \"quoted\""));
}

#[test]
fn a_page_without_scripts_shows_the_picture() {
    let html =
        html::chart_html(&history_chart("depth", "lr=0.1"), "Trial 2 is best.", "<p>table</p>", "some-id", "some-id");
    let before_scripts = html.split("<script").next().unwrap();
    for text in ["<img alt=", "role=\"img\" aria-label="] {
        let alternative = before_scripts.split_once(text).unwrap().1.split('"').nth(1).unwrap();
        assert!(
            alternative.starts_with("depth: valid/error by trial. Trial 2 is best. Best 0.02 with trial 3; 4 of 5"),
            "{alternative}"
        );
    }
    assert!(before_scripts.contains("data:image/svg+xml;base64,"));
    assert!(html.ends_with("<p>table</p>"));
}

#[test]
fn each_trial_that_ended_has_a_mark_whatever_its_end() {
    let mut history = history();
    for (number, state) in [(5, TrialState::Stopped), (6, TrialState::Failed)] {
        let params = Params::new();
        history.trials.push(HistoryTrial { number, state, objective: None, best_so_far: Some(0.02), params });
    }
    let figure = plotly::figure(&optimization_history("depth", 6, &history, &|_| String::new(), 2000));
    let traces = figure["data"].as_array().unwrap().iter().filter(|trace| trace["name"] != "best so far");
    let mut marked: Vec<i64> = traces
        .flat_map(|trace| trace["x"].as_array().unwrap().iter().filter_map(|x| x.as_f64()))
        .map(|x| x as i64)
        .collect();
    marked.sort_unstable();
    assert_eq!(marked, [1, 2, 3, 4, 5, 6]);
}

#[test]
fn charts_without_points_are_drawn_empty() {
    let empty = OptimizationHistory { trials: vec![], ..history() };
    let chart = optimization_history("depth", 5, &empty, &|_| String::new(), 2000);
    assert!(picture::svg(&chart).contains("0 of 5 trials"));
    assert_eq!(plotly::figure(&chart)["data"], serde_json::json!([]));
}

#[test]
fn a_scaling_shows_its_regimes_its_fit_and_the_sizes_that_are_not_valid() {
    use tunebook_analysis::{Regime, Scaling, ScalingFit, ScalingPoint};
    let point = |batch_size: u64, steps: f64, valid: bool| ScalingPoint {
        batch_size,
        steps: Some(steps),
        examples: Some(steps * batch_size as f64),
        seconds: Some(0.001 * steps),
        cost: None,
        interval: Some([Some(0.8 * steps), Some(1.3 * steps)]),
        trials: 48,
        reached: 5,
        valid,
        reason: (!valid).then(|| "its best lr lies at the edge".into()),
        regime: Some(Regime::PerfectScaling),
        slope: Some(-1.0),
        params: None,
    };
    let found = Scaling {
        points: vec![point(4, 850.0, true), point(32, 200.0, true), point(128, 130.0, false), point(1024, 103.0, true)],
        fit: Ok(ScalingFit { s_min: 100.0, b_noise: 30.0, interval: Some([20.0, 45.0]) }),
        fastest: Some(1024),
        fastest_set: vec![],
        cheapest_set: vec![],
        cheapest: Some(1024),
        fewest_examples: Some(4),
        payback: None,
    };
    let chart = scaling(&ScalingCaption { name: "s", target: "e ≤ 0.05", note: "" }, &found);
    let figure = plotly::figure(&chart);
    let names: Vec<&str> =
        figure["data"].as_array().unwrap().iter().filter_map(|trace| trace["name"].as_str()).collect();
    for name in ["perfect scaling", "fit", "to the target", "not valid", "fastest"] {
        assert!(names.contains(&name), "{name}: {names:?}");
    }
    let shapes = figure["layout"]["shapes"].as_array().unwrap();
    // The regimes meet at a quarter of the critical batch size and at four times of it.
    let ends: Vec<f64> = shapes.iter().filter_map(|shape| shape["x1"].as_f64()).collect();
    assert_eq!(ends, [7.5, 120.0, 1024.0]);
    let svg = picture::svg(&chart);
    for text in ["perfect", "diminishing", "flat", "steps to target"] {
        assert!(svg.contains(text), "{text}");
    }
}

#[test]
fn a_stability_study_shows_the_edge_the_losses_above_the_best_rate_and_the_norms() {
    let run = |lr: f64, objective: Option<f64>| RateDot { lr, objective, is_unstable: objective.is_none() };
    let loss = |name: &str, points: Vec<(u64, f64)>, is_unstable| LossCurve { name: name.into(), points, is_unstable };
    let norms: Vec<f64> = (1..=100).map(f64::from).collect();
    let figure = StabilityFigure {
        title: "digits: stability".into(),
        objective: "valid/error".into(),
        runs: vec![run(0.01, Some(0.3)), run(0.1, Some(0.02)), run(1.0, None)],
        medians: vec![(0.01, 0.3), (0.1, 0.02)],
        best: Some((0.1, 0.02)),
        edge: Some([0.5, 1.0]),
        losses: vec![loss("1 ×", vec![(0, 2.3), (10, 0.5)], false), loss("10 ×", vec![(0, 2.3), (10, 1e9)], true)],
        norms: tunebook_analysis::gradient_norms(&norms),
        norm_of_steps: norms.iter().zip(1..).map(|(norm, step)| (step, *norm)).collect(),
        ..StabilityFigure::default()
    };
    let chart = stability(&figure);
    let drawn = |panel: usize, name: &str| {
        let series = chart.panels[panel].series.iter().find(|series| series.name == name);
        series.unwrap_or_else(|| panic!("no {name}")).points.iter().map(|p| (p.x, p.y)).collect::<Vec<_>>()
    };
    assert_eq!(chart.panels.len(), 4);
    assert_eq!(drawn(0, "unstable runs"), [(1.0, 0.3)], "an unstable run stands at the worst objective");
    assert_eq!(chart.panels[0].shades[0].range, [0.5, 1.0]);
    assert_eq!(drawn(1, "10 ×")[1], (10.0, 23.0), "a loss that explodes does not hide the others");
    assert!((drawn(2, "90th percentile")[0].0 - 90.1).abs() < 1e-9);
    let of_bins: f64 = drawn(2, "norms at 1 ×").iter().map(|(_, count)| count).sum();
    assert_eq!(of_bins, 100.0);
    assert!(picture::svg(&chart).contains("gradient norm before clipping"));
    // At the start of the study there is nothing to draw yet.
    assert_eq!(stability(&StabilityFigure::default()).panels.len(), 2);
    assert!(picture::svg(&stability(&StabilityFigure::default())).contains("</svg>"));
}

#[test]
fn a_png_has_twice_the_pixels_of_the_picture_and_its_text() {
    let drawn =
        |name: &str| resvg::tiny_skia::Pixmap::decode_png(&png::png(&history_chart(name, "")).unwrap()).unwrap();
    let (short, long) = (drawn("i"), drawn("wide ≤ names of αβγ"));
    assert_eq!((short.width(), short.height()), (2 * 960, 2 * history_chart("i", "").height()));
    // The title is in the topmost 60 pixels.
    let inked = |pixels: &resvg::tiny_skia::Pixmap| {
        pixels.pixels()[..60 * pixels.width() as usize].iter().filter(|pixel| pixel.alpha() > 0).count()
    };
    assert!(inked(&short) > 500 && inked(&long) > inked(&short) + 500, "{} and {}", inked(&short), inked(&long));
}

/// Simulated vision of people who lack one kind of cone (Machado, Oliveira and Fernandes 2009, severity 1.0), on linear
/// RGB; the first is that of people with all three.
const VISIONS: [[[f64; 3]; 3]; 4] = [
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
    [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
];

fn linear_rgb(color: &str) -> [f64; 3] {
    [1, 3, 5].map(|i| {
        let part = f64::from(u8::from_str_radix(&color[i..i + 2], 16).unwrap()) / 255.0;
        if part <= 0.04045 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
    })
}

/// The colour in CIELAB, where distances are about as large as they look.
fn lab(color: &str, vision: &[[f64; 3]; 3]) -> [f64; 3] {
    let product = |row: &[f64; 3], v: [f64; 3]| -> f64 { row.iter().zip(v).map(|(a, b)| a * b).sum() };
    let seen = vision.map(|row| product(&row, linear_rgb(color)).clamp(0.0, 1.0));
    let to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]];
    let [x, y, z] = to_xyz.map(|row| product(&row, seen));
    let [x, y, z] = [x / 0.9505, y, z / 1.089].map(|t| if t > 0.008856 { t.cbrt() } else { 7.787 * t + 16.0 / 116.0 });
    [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
}

#[test]
fn colours_of_series_are_told_apart_with_any_colour_vision_and_texts_are_readable() {
    for vision in &VISIONS {
        for (i, a) in palette::SERIES.iter().enumerate() {
            for b in &palette::SERIES[..i] {
                let [a_lab, b_lab] = [lab(a, vision), lab(b, vision)];
                let distance = a_lab.iter().zip(b_lab).map(|(p, q)| (p - q).powi(2)).sum::<f64>().sqrt();
                // A just noticeable difference is about 2.3.
                assert!(distance > 12.0, "{a} and {b} differ by {distance:.1}");
            }
        }
    }
    let luminance = |color: &str| {
        let [r, g, b] = linear_rgb(color);
        0.2126 * r + 0.7152 * g + 0.0722 * b
    };
    let contrast = |a: &str, b: &str| {
        let (a, b) = (luminance(a) + 0.05, luminance(b) + 0.05);
        a.max(b) / a.min(b)
    };
    assert!(contrast(palette::INK, "#ffffff") >= 4.5 && contrast(palette::INK, "#111111") >= 4.1);
    assert!(contrast(palette::FAINT, "#ffffff") >= 3.0 && contrast(palette::FAINT, "#111111") >= 3.0);
}

#[test]
fn equal_axes_have_one_range_and_one_title_and_a_constant_has_room() {
    use tunebook_charts::chart::{Axis, Panel, Point, Series, Style};
    let panel = |ys: &[f64], title: &str, bar: Option<[f64; 2]>| {
        let points =
            ys.iter().zip(0..).map(|(y, x)| Point { x: f64::from(x), y: *y, label: String::new(), interval: bar });
        let (name, color, style) = ("s".into(), palette::BLUE, Style::Line);
        let series = Series { name, color, style, points: points.collect(), in_legend: true };
        let scale = if bar.is_some() { AxisScale::Log } else { AxisScale::Linear };
        Panel::new(Axis::new("step", AxisScale::Linear), Axis::new(title, scale), vec![series])
    };
    let panels = vec![
        panel(&[0.1, 0.2], "e", None),
        panel(&[0.5, 0.9], "e", None),
        panel(&[3.0, 3.0], "lr", None),
        panel(&[10.0, 11.0], "with bars", Some([1.0, 1000.0])),
    ];
    let chart = tunebook_charts::Chart { title: "t".into(), subtitle: "s".into(), panels, columns: 2 };
    let layout = &plotly::figure(&chart)["layout"];
    assert_eq!((&layout["yaxis2"]["matches"], &layout["yaxis2"]["title"]["text"]), (&"y".into(), &"".into()));
    assert_eq!(layout["yaxis3"]["range"], serde_json::json!([1.5, 4.5]), "not from 2 to 4 like any number");
    let ticks: Vec<f64> =
        layout["yaxis4"]["tickvals"].as_array().unwrap().iter().filter_map(serde_json::Value::as_f64).collect();
    assert!(ticks.contains(&1.0) && ticks.contains(&1000.0), "bars have ticks too: {ticks:?}");
}
