//! Charts and tables as HTML for notebooks.
//!
//! The HTML needs neither a network nor scripts: a chart is a static picture until a script replaces it with the
//! interactive figure.

use crate::chart::Chart;
use crate::{picture, plotly};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// The "basic" bundle of plotly.js 3.0.1, compressed with gzip (MIT licence, see `vendor/plotly-LICENSE`).
const PLOTLY_JS: &[u8] = include_bytes!("../vendor/plotly-basic-3.0.1.min.js.gz");

/// Returns the HTML that loads plotly.js for all charts of a page. `window.tunebookPlotly301` becomes a promise of it.
///
/// Two notebooks may share a page and both bring this HTML; the second one then does nothing. A page that already has
/// Plotly keeps its own.
pub fn loader() -> String {
    let code = STANDARD.encode(PLOTLY_JS);
    // The bundle runs inside of a function whose parameters hide the page's `module`, `exports` and `define`. Otherwise
    // a page with a module loader would register Plotly there instead of returning it here.
    format!(
        r#"<script type="text/plain" class="tunebook-plotly">{code}</script><script>
(function () {{
  if (window.tunebookPlotly301) return;
  var carrier = document.querySelectorAll("script.tunebook-plotly");
  var text = carrier[carrier.length - 1].textContent;
  window.tunebookPlotly301 = (async function () {{
    if (window.Plotly && window.Plotly.react) return window.Plotly;
    var bytes = Uint8Array.from(atob(text), function (c) {{ return c.charCodeAt(0); }});
    var stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    var source = await new Response(stream).text();
    var module = {{ exports: {{}} }};
    new Function("module", "exports", "define", source)(module, module.exports, undefined);
    return module.exports;
  }})();
  window.dispatchEvent(new Event("tunebook-plotly"));
}})();
</script>"#
    )
}

/// JavaScript that waits until [`loader`] has run, wherever on the page it is, and then calls a function with Plotly.
const WHEN_LOADED: &str = r#"function whenLoaded(act) {
    if (window.tunebookPlotly301) window.tunebookPlotly301.then(act);
    else if (window.Plotly && window.Plotly.react) act(window.Plotly);
    else window.addEventListener("tunebook-plotly", function () { window.tunebookPlotly301.then(act); }, {once: true});
  }"#;

/// JavaScript that fits a figure into a narrow place, as on a phone: panels that are side by side go below each other,
/// and texts that are longer than the place is wide get more lines. Plotly would cut them.
const FIT: &str = r#"function fit(figure, place) {
    var layout = figure.layout || {}, title = layout.title, width = place.clientWidth, more = 0;
    if (!title || typeof title.text !== "string" || !layout.margin || !layout.height || !width) return figure;
    function wrapped(text, most) {
      var lines = [""];
      text.split(" ").forEach(function (word) {
        var last = lines.length - 1, longer = lines[last] === "" ? word : lines[last] + " " + word;
        if (longer.length <= most || lines[last] === "") lines[last] = longer; else lines.push(word);
      });
      return lines;
    }
    title.text = title.text.split("<br>").map(function (line) {
      var parts = /^<(b|span)([^>]*)>(.*)<\/(b|span)>$/.exec(line);
      if (!parts) return line;
      var lines = wrapped(parts[3], Math.max(12, Math.floor((width - 20) / (parts[1] === "b" ? 9 : 6.1))));
      more += lines.length - 1;
      return lines.map(function (text) { return "<" + parts[1] + parts[2] + ">" + text + "</" + parts[1] + ">"; }).join("<br>");
    }).join("<br>");
    if (more > 0) {
      Object.assign(title, { yref: "container", y: 1, yanchor: "top", pad: { t: 18 } });
      layout.margin.t += 18 * more;
    }
    var panels = Object.keys(layout).filter(function (key) { return /^xaxis\d*$/.test(key); });
    var beside = panels.some(function (key) {
      var domain = layout[key].domain;
      return domain && domain[1] - domain[0] < 0.9;
    });
    var stacked = beside && width < 560, all = 320 * panels.length, below = 0;
    panels.forEach(function (key, i) {
      var x = layout[key], y = layout["y" + key.slice(1)], domain = x.domain || [0, 1];
      if (stacked && y) {
        domain = x.domain = [0, 1];
        y.domain = [1 - (320 * i + 195) / (all - 125), 1 - 320 * i / (all - 125)];
      }
      if (y && y.title && y.title.text) {
        var high = (stacked ? all - 125 : layout.height - 130 - 18 * more) * (y.domain ? y.domain[1] - y.domain[0] : 1);
        y.title.text = wrapped(y.title.text, Math.floor(high / 6.8)).join("<br>");
      }
      var across = (width - 90) * (domain[1] - domain[0]), lines = 0;
      if (x.title && x.title.text) {
        var parts = wrapped(x.title.text, Math.floor(across / 6.5));
        x.title.text = parts.join("<br>");
        lines += parts.length - 1;
      }
      if (x.ticktext && x.ticktext.some(function (text) { return 7 * text.length > across / x.ticktext.length; })) {
        x.ticktext = x.ticktext.map(function (text) { return text.replace(/([=\/_])(?=.)/g, "$1<br>"); });
        lines += Math.max.apply(null, x.ticktext.map(function (text) { return text.split("<br>").length - 1; }));
      }
      below = Math.max(below, lines);
    });
    if (stacked) layout.height = all + 5;
    var drawn = layout.height - 130;
    if (layout.legend) layout.legend.y = (stacked ? -100 / drawn : layout.legend.y) - 16 * below / drawn;
    layout.height += 16 * below;
    layout.height += 18 * more;
    return figure;
  }"#;

/// JavaScript that remembers the zoom and the hidden series of a chart under a name. They outlive the element: at the
/// end of a cell, another chart replaces the one that grew. `recall` sets them in a figure that is about to be drawn.
///
/// The ticks of a logarithmic axis were chosen for its whole range. A zoomed one gets those that Plotly chooses.
const VIEW: &str = r#"function viewOf(name) {
    var views = window.tunebookViews = window.tunebookViews || {};
    return views[name] = views[name] || { ranges: {}, hidden: [] };
  }
  function hasOwnTicks(axis) { return axis && axis.type === "log" && axis.tickvals && axis.autorange !== "reversed"; }
  function recall(figure, name) {
    var view = viewOf(name);
    Object.keys(view.ranges).forEach(function (key) {
      var axis = figure.layout[key];
      if (!axis) return;
      if (hasOwnTicks(axis)) axis.tickmode = "auto";
      Object.assign(axis, { range: view.ranges[key].slice(), autorange: false });
    });
    figure.data.forEach(function (trace) {
      if (view.hidden.indexOf(trace.name) >= 0) trace.visible = "legendonly";
    });
    return figure;
  }
  function remember(Plotly, place, name) {
    var view = viewOf(name), isReversed = {};
    Object.keys(place.layout).forEach(function (key) { isReversed[key] = place.layout[key].autorange === "reversed"; });
    place.on("plotly_relayout", function (change) {
      var ticks = {};
      Object.keys(change).forEach(function (part) {
        var found = /^([xy]axis\d*)\.(range|autorange)/.exec(part), axis = found && place.layout[found[1]];
        if (!axis) return;
        if (found[2] === "range") view.ranges[found[1]] = axis.range.slice(); else delete view.ranges[found[1]];
        var mode = found[2] === "range" ? "auto" : "array";
        if (hasOwnTicks(axis) && !isReversed[found[1]] && axis.tickmode !== mode) ticks[found[1] + ".tickmode"] = mode;
      });
      if (Object.keys(ticks).length) Plotly.relayout(place, ticks);
    });
    place.on("plotly_restyle", function () {
      var hidden = place.data.filter(function (trace) { return trace.visible === "legendonly"; });
      view.hidden = hidden.map(function (trace) { return trace.name; });
    });
  }"#;

/// Returns the HTML of a chart with tables below it. `tables` is HTML. `id` becomes the id of the chart's element.
/// Charts that replace each other share a `view`: zoom and hidden series. `conclusion` says what follows from the
/// chart, for those who cannot see it; it may be empty.
pub fn chart_html(chart: &Chart, conclusion: &str, tables: &str, id: &str, view: &str) -> String {
    let picture = STANDARD.encode(picture::svg(chart));
    let alternative = alternative(chart, conclusion);
    let alt = escape(&alternative);
    let picture = format!(r#"<img alt="{alt}" style="max-width:100%" src="data:image/svg+xml;base64,{picture}">"#);
    format!("{}\n{tables}", drawn(&plotly::figure(chart), &alternative, &picture, id, view))
}

/// The text that stands for a chart where it is not seen. What the chart shows comes before how it is drawn.
fn alternative(chart: &Chart, conclusion: &str) -> String {
    let parts = [chart.title.as_str(), conclusion, &chart.subtitle].map(str::trim_end).into_iter();
    let sentence = |part: &str| if part.ends_with(['.', '?', '!']) { part.to_string() } else { format!("{part}.") };
    parts.filter(|part| !part.is_empty()).map(sentence).collect::<Vec<_>>().join(" ")
}

/// Returns the HTML of a Plotly figure that a cell made. `id` becomes the id of its element. A message replaces a
/// figure whose types of traces the bundled plotly.js cannot draw.
pub fn figure_html(figure: &Value, id: &str) -> String {
    let traces = figure["data"].as_array().map_or(&[][..], Vec::as_slice);
    let mut unknown: Vec<&str> = traces.iter().filter_map(|trace| trace["type"].as_str()).collect();
    unknown.retain(|kind| !["scatter", "bar", "pie"].contains(kind));
    unknown.dedup();
    if unknown.is_empty() {
        let title = figure["layout"]["title"]["text"].as_str().unwrap_or("A chart without a title");
        return drawn(figure, title, "", id, id);
    }
    let message = format!(
        "A chart of type {} needs a front end that draws Plotly figures by itself: JupyterLab with the extension \
         jupyterlab-plotly, or VS Code. Other front ends draw scatter, bar and pie charts. \
         `plot.write_html(\"chart.html\")` writes the chart to a separate page.",
        unknown.join(", ")
    );
    format!("<p>{}</p>", escape(&message))
}

/// Returns the element of a figure. `alternative` is its text for those who cannot see it. `placeholder` is the HTML
/// that it shows until a script has drawn the figure, with the zoom and the hidden series of `view`. Texts get the
/// colour of the page's text, which Plotly does not know; only where the pointer hovers, a text has a background of its
/// own.
fn drawn(figure: &Value, alternative: &str, placeholder: &str, id: &str, view: &str) -> String {
    let (figure, alternative) = (script_json(figure), escape(alternative));
    format!(
        r#"<style>#{id} .main-svg g:not(.hovertext) > text {{ fill: currentColor !important }}</style>
<div id="{id}" role="img" aria-label="{alternative}" style="width:100%">{placeholder}</div>
<script type="application/json" id="{id}-figure">{figure}</script>
<script>
(function () {{
  {WHEN_LOADED}
  {FIT}
  {VIEW}
  whenLoaded(function (Plotly) {{
    var place = document.getElementById("{id}"), figure = document.getElementById("{id}-figure");
    if (!place || !figure || place.classList.contains("js-plotly-plot")) return;
    figure = recall(fit(JSON.parse(figure.textContent), place), "{view}");
    var picture = place.querySelector("img");
    if (picture) picture.remove();
    Plotly.newPlot(place, figure.data, figure.layout, figure.config).then(function () {{
      remember(Plotly, place, "{view}");
    }});
  }});
}})();
</script>"#
    )
}

/// Returns a script that updates the chart in the element `id`, whose view has the same name. The zoom and the hidden
/// series stay as the user set them.
pub fn push_html(chart: &Chart, id: &str) -> String {
    let (figure, alternative) = (script_json(&plotly::figure(chart)), script_json(&alternative(chart, "").into()));
    format!(
        r#"<script>
(function () {{
  {WHEN_LOADED}
  {FIT}
  {VIEW}
  var figure = {figure};
  whenLoaded(function (Plotly) {{
    var place = document.getElementById("{id}");
    if (!place) return;
    var picture = place.querySelector("img");
    if (picture) picture.remove();
    place.setAttribute("aria-label", {alternative});
    figure = recall(fit(figure, place), "{id}");
    Plotly.react(place, figure.data, figure.layout, figure.config);
  }});
}})();
</script>"#
    )
}

/// Returns the HTML of a table. `text` makes HTML of a cell. It sets no colours, so it is readable on light and dark
/// pages.
pub fn table_html(headers: &[String], rows: &[Vec<String>], text: fn(&str) -> String) -> String {
    let cells = |tag: &str, cells: &[String]| -> String {
        cells.iter().map(|cell| format!("<{tag} style=\"text-align:left\">{}</{tag}>", text(cell))).collect()
    };
    let body: String = rows.iter().map(|row| format!("<tr>{}</tr>", cells("td", row))).collect();
    format!("<table><thead><tr>{}</tr></thead><tbody>{body}</tbody></table>", cells("th", headers))
}

/// Escapes text, so that it can stand in HTML and in quoted attributes.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

/// Returns a sentence as HTML, with what stands between backticks as code.
pub fn sentence(text: &str) -> String {
    let mut parts = text.split('`');
    let mut html = parts.next().map(escape).unwrap_or_default();
    while let Some(part) = parts.next() {
        html += &match parts.next() {
            Some(after) => format!("<code>{}</code>{}", escape(part), escape(after)),
            None => format!("`{}", escape(part)),
        };
    }
    html
}

/// Returns JSON that cannot end the script element in which it stands.
fn script_json(value: &Value) -> String {
    value.to_string().replace('<', "\\u003c").replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029")
}
