"""Runs all cells of a notebook in JupyterLab, as a person does, and saves it.

Arguments: the notebook in the current folder, the Chromium executable."""

import pathlib
import sys

from jupyterlab import IDLE, Server, launch
from playwright.sync_api import sync_playwright

notebook, chromium = sys.argv[1:3]
ENDED = """() => window.jupyterapp.shell.currentWidget.content.widgets.filter(
    cell => cell.model.type === 'code').every(cell => cell.model.executionCount)"""

with sync_playwright() as playwright:
    browser = launch(playwright, chromium)
    server = Server(pathlib.Path.cwd(), "lab-data")
    page = server.page(browser, notebook)
    page.wait_for_function(IDLE, timeout=60000)
    page.evaluate("""async () => {
        await window.jupyterapp.commands.execute('notebook:clear-all-cell-outputs');
        await window.jupyterapp.commands.execute('notebook:run-all-cells');
    }""")
    page.wait_for_function(ENDED, timeout=120000)
    page.wait_for_function(IDLE, timeout=60000)
    page.evaluate("window.jupyterapp.commands.execute('docmanager:save')")
    page.wait_for_function("!window.jupyterapp.shell.currentWidget.context.model.dirty", timeout=60000)
    assert not page.problems, page.problems
    server.stop()
    browser.close()
