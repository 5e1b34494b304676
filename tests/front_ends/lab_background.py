"""A study of 64 trials in JupyterLab runs in the background while cells are typed, and its chart grows in its own cell.

Arguments: the Chromium executable, a folder for the screenshots."""

import json
import os
import pathlib
import sys
import tempfile
import time

from jupyterlab import ERRORS, IDLE, Server, launch
from playwright.sync_api import sync_playwright

chromium, screenshots = map(pathlib.Path, sys.argv[1:3])
work = pathlib.Path(tempfile.mkdtemp(dir=os.getcwd()))
SWEEP = """%%sweep study --trials 64 --background --parallel 2
command sh -c 'sleep 0.3; echo "{{\\"step\\": 1, \\"loss\\": {x}}}"'
nuisance x ~ uniform(0, 1)
minimize loss"""


def code(source):
    return {"cell_type": "code", "metadata": {}, "source": source, "outputs": [], "execution_count": None}


(work / "n.ipynb").write_text(json.dumps({"nbformat": 4, "nbformat_minor": 4, "metadata": {"kernelspec": {
    "name": "tunebook", "display_name": "Rust (Tunebook)", "language": "rust"}}, "cells": [code(SWEEP), code("")]}))
# The number of points in the chart of the first cell.
POINTS = """() => [...document.querySelectorAll('.jp-CodeCell')[0].querySelectorAll('.js-plotly-plot')].reduce(
    (n, plot) => Math.max(n, ...(plot.data ?? []).map(trace => trace.x?.length ?? 0)), 0)"""
# The results of a cell for programs.
RESULTS = """cell => window.jupyterapp.shell.currentWidget.content.widgets[cell].model.outputs.toJSON().map(
    output => output.data?.['application/vnd.tunebook.v1+json']).filter(Boolean)"""
# How many cells have ended.
DONE = """window.jupyterapp.shell.currentWidget.content.widgets.filter(cell => cell.model.executionCount).length"""

with sync_playwright() as playwright:
    browser = launch(playwright, chromium)
    server = Server(work, "data")
    page = server.page(browser, "n.ipynb")
    page.wait_for_function(IDLE, timeout=60000)
    editors = page.locator(".jp-Notebook .jp-CodeCell .jp-InputArea-editor .cm-content")
    editors.nth(0).click()
    page.keyboard.press("Shift+Enter")
    page.wait_for_function(f"{DONE} === 1", timeout=30000)
    page.wait_for_function(f"({POINTS})() > 0", timeout=30000)
    seen = [page.evaluate(POINTS)]
    for number, typed in enumerate(["20 + 1", "%sweeps", "%isolate study x", "%devices"], start=1):
        editors.nth(number).click()
        page.keyboard.insert_text(typed)
        page.keyboard.press("Shift+Enter")
        page.wait_for_function(f"{DONE} === {number + 1}", timeout=30000)
        page.wait_for_function(f"({POINTS})() > {seen[-1]}", timeout=30000)
        seen.append(page.evaluate(POINTS))
    assert page.evaluate(RESULTS, 0) == [], f"the sweep had ended before the cells: {seen}"
    [listed] = [sweep for sweep in page.evaluate(RESULTS, 2)[0]["sweeps"] if sweep["study"] == "study"]
    assert listed["state"] == "running", listed
    assert page.evaluate(RESULTS, 3)[0]["kind"] == "isolation"
    page.set_viewport_size({"width": 1280, "height": 2000})
    page.locator(".jp-Notebook .jp-CodeCell").nth(0).scroll_into_view_if_needed()
    page.wait_for_timeout(500)
    assert page.evaluate(RESULTS, 0) == [], "the sweep had ended before the picture"
    page.screenshot(path=str(screenshots / "background.png"))
    deadline = time.monotonic() + 120
    while not page.evaluate(RESULTS, 0):
        assert time.monotonic() < deadline, "the display of the sweep does not end"
        page.wait_for_timeout(100)
    [result] = page.evaluate(RESULTS, 0)
    assert (result["kind"], result["trials"]["complete"]) == ("sweep", 64), result
    errors = page.evaluate(ERRORS)
    assert errors == [], errors
    assert not page.problems, page.problems
    server.stop()
    browser.close()
print(f"points in the chart while cells were typed: {seen}")
