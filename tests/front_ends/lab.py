"""The first notebook in JupyterLab without extensions. The live chart grows. The final chart is interactive, also after
the notebook was saved and opened again. A reader who does not trust the notebook sees a static picture and the tables.

Arguments: the notebook, the Chromium executable, a folder for the screenshots."""

import os
import pathlib
import shutil
import sys
import tempfile
import time

from jupyterlab import ERRORS, IDLE, Server, launch, whole
from playwright.sync_api import sync_playwright

notebook, chromium, screenshots = map(pathlib.Path, sys.argv[1:4])
work = pathlib.Path(tempfile.mkdtemp(dir=os.getcwd()))
shutil.copy(notebook, work / "demo.ipynb")

# The interactive charts in the page: the title of each and its number of points.
PLOTS = """() => [...document.querySelectorAll('.js-plotly-plot')].map(p => ({
    title: p._fullLayout?.title?.text ?? '', points: (p.data ?? []).reduce((n, t) => n + (t.x?.length ?? 0), 0)}))"""


with sync_playwright() as playwright:
    browser = launch(playwright, chromium)
    server = Server(work, "data")
    page = server.page(browser, "demo.ipynb")
    page.wait_for_function(IDLE, timeout=60000)
    page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells'); }")
    states = set()
    deadline = time.time() + 180
    while time.time() < deadline:
        for plot in page.evaluate(PLOTS):
            if "by trial" in plot["title"]:
                states.add(plot["points"])
        # The cell that %insight offers is not run, so the last cell of the notebook tells when all have ended.
        if page.evaluate("""() => window.jupyterapp.shell.currentWidget.content.widgets.filter(
                c => c.model.type === 'code').at(-1).model.executionCount""") and page.evaluate(IDLE):
            break
        page.wait_for_timeout(100)
    page.wait_for_timeout(2000)
    assert len(states) >= 3, f"the chart was seen in {len(states)} states: {sorted(states)}"
    errors = page.evaluate(ERRORS)
    assert errors == [], errors

    def titles(page):
        """The titles of the interactive charts. Each cell is scrolled into view, because charts are drawn there
        only."""
        found = set()
        for cell in page.query_selector_all(".jp-CodeCell"):
            cell.scroll_into_view_if_needed()
            page.wait_for_timeout(150)
            found |= {plot["title"] for plot in page.evaluate(PLOTS)}
        return found

    wanted = ["by trial", "best valid/error for each", "against each hyperparameter", "training curves"]
    seen = titles(page)
    for part in wanted:
        assert any(part in title for title in seen), f"no interactive chart says {part!r}: {seen}"
    whole(page, screenshots / "notebook.png")
    page.evaluate("window.jupyterapp.commands.execute('docmanager:save')")
    page.wait_for_function("!window.jupyterapp.shell.currentWidget.context.model.dirty", timeout=60000)
    assert not page.problems, page.problems
    page.context.close()

    page = server.page(browser, "demo.ipynb")
    page.wait_for_timeout(3000)
    seen = titles(page)
    for part in wanted:
        assert any(part in title for title in seen), f"after opening again no interactive chart says {part!r}: {seen}"
    whole(page, screenshots / "opened-again.png")
    # A person can look at this picture to see whether the dark theme is readable.
    page.evaluate("window.jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Dark'})")
    page.wait_for_timeout(1500)
    whole(page, screenshots / "dark.png")
    page.context.close()
    server.stop()

    # A server with another data folder does not trust the notebook.
    server = Server(work, "another-data")
    page = server.page(browser, "demo.ipynb")
    page.wait_for_timeout(3000)
    for cell in page.query_selector_all(".jp-CodeCell"):
        cell.scroll_into_view_if_needed()
        page.wait_for_timeout(100)
    assert page.evaluate(PLOTS) == [], "an untrusted notebook runs no scripts"
    pictures = page.evaluate("""() => [...document.querySelectorAll('.jp-OutputArea img')].filter(
        i => i.naturalWidth > 100 && i.src.startsWith('data:image/svg+xml')).map(i => i.alt)""")
    for part in wanted:
        assert any(part in alt for alt in pictures), f"no static picture says {part!r}: {pictures}"
    tables = page.evaluate("document.querySelectorAll('.jp-OutputArea table').length")
    assert tables >= 6, tables
    whole(page, screenshots / "untrusted.png")
    server.stop()
    browser.close()
print(f"states of the live chart: {sorted(states)}; screenshots in {screenshots}")
