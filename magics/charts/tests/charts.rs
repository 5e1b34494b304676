//! What the renderings of a chart hold.

use tunebook_analysis::{Axis, AxisPlot, AxisPoint};
use tunebook_charts::chart::AxisScale;
use tunebook_charts::*;
use tunebook_study::{Direction, Scale, TrialState};

fn a_sweep(hostile: &str) -> Progress {
    let trial = |number: u32, objective: Option<f64>| ProgressTrial {
        number,
        state: if objective.is_some() { TrialState::Complete } else { TrialState::Infeasible },
        objective,
        params: format!("lr=0.1, name={hostile}"),
    };
    Progress {
        study: "depth".into(),
        metric: "valid/error".into(),
        direction: Direction::Minimize,
        asked: 5,
        trials: vec![trial(1, Some(0.5)), trial(2, None), trial(3, Some(0.02)), trial(4, Some(0.3))],
    }
}

#[test]
fn the_interactive_figure_holds_all_trials() {
    let figure = plotly::figure(&progress(&a_sweep("x")));
    let trace = |name: &str| {
        let data = figure["data"].as_array().unwrap();
        data.iter().find(|trace| trace["name"] == name).unwrap_or_else(|| panic!("no trace {name} in {figure}")).clone()
    };
    assert_eq!(trace("complete")["y"], serde_json::json!([0.5, 0.02, 0.3]));
    assert_eq!(trace("best so far")["y"], serde_json::json!([0.5, 0.02, 0.02]));
    assert_eq!(trace("infeasible")["x"], serde_json::json!([2.0]));
    assert!(trace("infeasible")["y"][0].as_f64().unwrap() > 0.5, "the infeasible stand beyond the worst");
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
    };
    let info = Axis {
        metric: "e".into(),
        plots: vec![
            plot("lr", Scale::Log, 0.1.into()),
            plot("momentum", Scale::OneMinusLog, 0.99.into()),
            plot("optimizer", Scale::Categorical, "adam".into()),
        ],
        best: vec![1],
    };
    let chart = axis(AxisPicture { study: "s", direction: Direction::Minimize }, &info);
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
fn nothing_that_a_user_writes_can_leave_its_place() {
    let hostile = "</script><script>alert(1)</script>\"'&";
    let chart = progress(&Progress { study: hostile.into(), ..a_sweep(hostile) });
    for html in [html::chart_html(&chart, "", "id"), html::push_html(&chart, "id")] {
        assert!(!html.contains("<script>alert"), "{html}");
    }
    let table = html::table_html(&["h".into()], &[vec![hostile.into()]]);
    assert!(!table.contains("<script>"));
}

#[test]
fn without_a_script_the_picture_is_there() {
    let html = html::chart_html(&progress(&a_sweep("x")), "<p>table</p>", "some-id");
    let before_scripts = html.split("<script").next().unwrap();
    assert!(before_scripts.contains("<img alt=\"depth: valid/error by trial."));
    assert!(before_scripts.contains("data:image/svg+xml;base64,"));
    assert!(html.ends_with("<p>table</p>"));
}

#[test]
fn charts_without_points_are_drawn_empty() {
    let empty = Progress { trials: vec![], ..a_sweep("x") };
    let chart = progress(&empty);
    assert!(picture::svg(&chart).contains("0 of 5 trials"));
    assert_eq!(plotly::figure(&chart)["data"], serde_json::json!([]));
}

#[test]
fn a_scaling_shows_its_regions_its_fit_and_what_is_not_valid() {
    use tunebook_analysis::{Regime, Scaling, ScalingFit, ScalingPoint};
    let point = |batch_size: u64, steps: f64, valid: bool| ScalingPoint {
        batch_size,
        steps: Some(steps),
        examples: Some(steps * batch_size as f64),
        seconds: Some(0.001 * steps),
        cost: None,
        interval: Some([0.8 * steps, 1.3 * steps]),
        trials: 48,
        reached: 5,
        valid,
        reason: (!valid).then(|| "its best lr lies at the edge".into()),
        regime: Some(Regime::Perfect),
        slope: Some(-1.0),
        params: None,
    };
    let found = Scaling {
        points: vec![point(4, 850.0, true), point(32, 200.0, true), point(128, 130.0, false), point(1024, 103.0, true)],
        fit: Some(ScalingFit { min_steps: 100.0, critical_batch_size: 30.0, interval: Some([20.0, 45.0]) }),
        fastest: Some(1024),
        cheapest: Some(1024),
        payback: None,
    };
    let chart = scaling(&ScalingPicture { name: "s", target: "e ≤ 0.05", note: "" }, &found);
    let figure = plotly::figure(&chart);
    let names: Vec<&str> =
        figure["data"].as_array().unwrap().iter().filter_map(|trace| trace["name"].as_str()).collect();
    for name in ["perfect scaling", "fit", "to the target", "not valid", "fastest"] {
        assert!(names.contains(&name), "{name}: {names:?}");
    }
    let shapes = figure["layout"]["shapes"].as_array().unwrap();
    // Perfect up to a quarter of the critical size, flat from four times it on.
    let ends: Vec<f64> = shapes.iter().filter_map(|shape| shape["x1"].as_f64()).collect();
    assert_eq!(ends, [7.5, 120.0, 1024.0]);
    let svg = picture::svg(&chart);
    for text in ["perfect", "diminishing", "flat", "steps to target"] {
        assert!(svg.contains(text), "{text}");
    }
}
