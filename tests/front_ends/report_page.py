"""A page of %report on a phone and on paper. Nothing is wider than the window of a phone, panels of charts are below
each other there, and no title is cut. On paper the charts are there, and the buttons of the charts are not.

Arguments: the page, the Chromium executable, a folder for the screenshots."""

import pathlib
import sys

from jupyterlab import launch
from playwright.sync_api import sync_playwright

page_file, chromium, screenshots = map(pathlib.Path, sys.argv[1:4])
DRAWN = """() => [...document.querySelectorAll('script[id$="-figure"]')].every(
    figure => document.getElementById(figure.id.replace("-figure", ""))?.querySelector(".xaxislayer-above"))"""
# For each chart: its width, the right end of its title, and the width of its narrowest panel.
CHARTS = """() => [...document.querySelectorAll('.js-plotly-plot')].map(place => ({
    title: place.querySelector('.gtitle').textContent,
    width: place.clientWidth,
    right: place.querySelector('.gtitle').getBoundingClientRect().right - place.getBoundingClientRect().left,
    panel: Math.min(...Object.values(place._fullLayout._plots).map(plot => plot.xaxis._length))}))"""

with sync_playwright() as playwright:
    browser = launch(playwright, chromium)
    page = browser.new_page(viewport={"width": 390, "height": 844})
    problems = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda request: None if request.url.startswith(("file:", "data:", "blob:")) else
            problems.append(request.url))
    page.goto(page_file.resolve().as_uri())
    page.wait_for_function(DRAWN, timeout=60000)
    widths = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert widths[0] <= widths[1] == 390, widths
    charts = page.evaluate(CHARTS)
    assert len(charts) >= 5, charts
    for chart in charts:
        assert chart["right"] <= chart["width"] + 1, f"the title is cut: {chart}"
        assert chart["panel"] >= 180, f"a panel is too narrow: {chart}"
    page.screenshot(path=screenshots / "report-phone.png", full_page=True)
    page.set_viewport_size({"width": 1000, "height": 1000})
    page.emulate_media(media="print")
    buttons = page.evaluate("[...document.querySelectorAll('.modebar')].map(bar => getComputedStyle(bar).display)")
    assert buttons and set(buttons) == {"none"}, buttons
    pdf = page.pdf(path=screenshots / "report.pdf")
    assert pdf.count(b"/Type /Page\n") >= 3 and len(pdf) < 3_000_000, (pdf.count(b"/Type /Page\n"), len(pdf))
    assert problems == [], problems
    browser.close()
