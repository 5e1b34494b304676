"""The chart of a large study in JupyterLab while it grows: the zoom and the hidden series stay as the user set them,
also when the final chart takes its place; nothing flickers; the page stays fluid.

Arguments: the Chromium executable, a folder for the screenshots, the number of trials."""

import json
import os
import pathlib
import statistics
import sys
import tempfile
import time

from jupyterlab import ERRORS, IDLE, Server, launch
from playwright.sync_api import sync_playwright

chromium, screenshots, trials = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), int(sys.argv[3])
work = pathlib.Path(tempfile.mkdtemp(dir=os.getcwd()))
# A program that ends at once, so that there are many trials in a short time.
(work / "bowl.sh").write_text('echo "{\\"step\\": 1, \\"loss\\": 0.$1}"\n')
SWEEP = f"""%%sweep study --trials {trials} --parallel 2
question "How low?"
command sh bowl.sh {{x}}
nuisance x ~ int(100, 999)
nuisance y ~ loguniform(0.01, 100)
minimize loss"""
(work / "slow.sh").write_text('sleep 1.2; echo "{\\"step\\": 1, \\"loss\\": 0.$1}"\n')
SLOW = SWEEP.replace("study", "slow").replace("bowl.sh", "slow.sh").replace(f"--trials {trials} --parallel 2",
                                                                            "--trials 5 --parallel 1")
cells = [{"cell_type": "code", "metadata": {}, "source": source, "outputs": [], "execution_count": None}
         for source in (SWEEP, SLOW)]
(work / "n.ipynb").write_text(json.dumps({"nbformat": 4, "nbformat_minor": 4, "metadata": {"kernelspec": {
    "name": "tunebook", "display_name": "Rust (Tunebook)", "language": "rust"}}, "cells": cells}))
# The chart of the cell: how many trials its last point stands for, the ranges that are shown, and the hidden series.
CHART = """() => { const plot = document.querySelector('.js-plotly-plot'); if (!plot?._fullLayout) return null;
    return { last: Math.max(...plot.data.flatMap(t => [...(t.x ?? [])])),
        points: plot.data.reduce((n, t) => n + (t.x?.length ?? 0), 0),
        x: plot._fullLayout.xaxis.range, y: plot._fullLayout.yaxis.range,
        hidden: plot.data.filter(t => t.visible === 'legendonly').map(t => t.name) }; }"""
DONE = f"{IDLE} && window.jupyterapp.shell.currentWidget.content.widgets[0].model.executionCount"
# Watches each frame: the time since the last one, and whether the chart is there and as tall as before.
WATCH = """() => { const seen = window.seen = { gaps: [], lost: 0, shrunk: 0, tall: 0 };
    let before = performance.now();
    const frame = now => { seen.gaps.push(now - before); before = now;
        const plot = document.querySelector('.js-plotly-plot'), tall = plot ? plot.offsetHeight : 0;
        if (!plot?.querySelector('.main-svg .trace')) seen.lost += 1;
        if (tall < seen.tall - 1) seen.shrunk += 1;
        seen.tall = Math.max(seen.tall, tall);
        requestAnimationFrame(frame); };
    requestAnimationFrame(frame); }"""


def grown(page, by=1):
    """Waits until the chart has grown by so many updates, and returns it."""
    for _ in range(by):
        last = page.evaluate(CHART)["last"]
        page.wait_for_function(f"(({CHART})()?.last ?? 0) > {last}", timeout=60000)
    return page.evaluate(CHART)


def near(range_, other):
    return all(abs(a - b) < 1e-6 * max(1, abs(a)) for a, b in zip(range_, other))


with sync_playwright() as playwright:
    browser = launch(playwright, chromium)
    server = Server(work, "data")
    page = server.page(browser, "n.ipynb")
    page.wait_for_function(IDLE, timeout=60000)
    page.locator(".jp-CodeCell .cm-content").first.click()
    # Declarations are highlighted as such. Taken for Rust, all that follows the question would be one string.
    page.wait_for_function("""() => [...document.querySelectorAll('.jp-CodeCell .cm-line span')].some(span =>
        span.textContent === 'nuisance' && getComputedStyle(span).fontWeight >= 700)""", timeout=20000)
    started = time.monotonic()
    page.keyboard.press("Shift+Enter")
    page.wait_for_function(f"(({CHART})()?.points ?? 0) > 40", timeout=60000)
    before = grown(page)
    page.evaluate(WATCH)
    # The user draws a rectangle around the middle of the chart, and hides a series by a click on its name.
    area = page.locator(".js-plotly-plot .nsewdrag").first.bounding_box()
    page.mouse.move(area["x"] + 0.3 * area["width"], area["y"] + 0.3 * area["height"])
    page.mouse.down()
    page.mouse.move(area["x"] + 0.7 * area["width"], area["y"] + 0.7 * area["height"], steps=5)
    page.mouse.up()
    page.wait_for_timeout(300)
    page.locator(".js-plotly-plot .legendtoggle").first.click()
    page.wait_for_function(f"({CHART})().hidden.length === 1", timeout=10000)
    zoomed = page.evaluate(CHART)
    assert not near(zoomed["x"], before["x"]) and not near(zoomed["y"], before["y"]), (before, zoomed)
    after = grown(page, by=3)
    kept = ("x", "y", "hidden")
    assert [after[part] for part in kept] == [zoomed[part] for part in kept], (zoomed, after)
    page.screenshot(path=str(screenshots / "zoomed.png"))
    watched = page.evaluate("() => window.seen")
    page.wait_for_function(DONE, timeout=300000)
    took = time.monotonic() - started
    page.wait_for_function(f"(({CHART})()?.points ?? 0) > 40", timeout=30000)
    whole = page.evaluate("() => window.seen")
    final = page.evaluate(CHART)
    assert [final[part] for part in kept] == [zoomed[part] for part in kept], (zoomed, final)
    page.screenshot(path=str(screenshots / "zoomed-to-the-end.png"))
    assert (watched["lost"], watched["shrunk"]) == (0, 0), f"the chart flickered: {watched}"
    # A double click shows all again.
    page.locator(".js-plotly-plot .nsewdrag").first.dblclick()
    page.wait_for_function(f"({CHART})().x[1] > {0.9 * trials}", timeout=10000)
    # How long the page takes to show what the pointer is at.
    page.evaluate("""() => { window.answers = []; const plot = document.querySelector('.js-plotly-plot');
        plot.on('plotly_hover', () => window.answers.push(performance.now() - window.moved)); }""")
    area = page.locator(".js-plotly-plot .nsewdrag").first.bounding_box()
    for k in range(20):
        page.evaluate("() => { window.moved = performance.now(); }")
        page.mouse.move(area["x"] + (0.1 + 0.04 * k) * area["width"], area["y"] + 0.5 * area["height"])
        page.wait_for_timeout(150)
    answers = page.evaluate("() => window.answers")
    # A study that has one trial at first, whose axes have a range of their own: afterwards they follow the trials.
    page.locator(".jp-CodeCell .cm-content").nth(1).click()
    page.keyboard.press("Shift+Enter")
    slow = CHART.replace("document.querySelector('.js-plotly-plot')",
                         "[...document.querySelectorAll('.js-plotly-plot')].at(-1)")
    for count in (1, 2, 4):
        page.wait_for_function(f"""() => {{ const last = ({slow})()?.last ?? 0;
            return {count} <= last && last <= 5; }}""", timeout=60000)
        seen = page.evaluate(slow)
        assert count - 1 < seen["x"][1] < count + 2, f"with {count} trials: {seen}"
    page.wait_for_function(IDLE, timeout=60000)
    assert page.evaluate(ERRORS) == []
    assert not page.problems, page.problems
    server.stop()
    browser.close()
gaps = sorted(whole["gaps"])
print(f"{trials} trials in {took:.0f} s; {final['points']} points drawn; frames: median {statistics.median(gaps):.0f} ms,"
      f" 99 % within {gaps[int(0.99 * len(gaps))]:.0f} ms, longest {gaps[-1]:.0f} ms; frames without the chart at the"
      f" end: {whole['lost']}; a hover answers in {statistics.median(answers or [0]):.0f} ms ({len(answers)} of 20)")
