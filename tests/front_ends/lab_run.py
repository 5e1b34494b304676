"""Runs all cells of a notebook in JupyterLab, as a person does, and saves it.

Arguments: the notebook in the current folder, the Chromium executable, and the seconds that all cells may take together
(by default 120)."""

import json
import pathlib
import sys

from jupyterlab import ERRORS, IDLE, Server, launch
from playwright.sync_api import sync_playwright

notebook, chromium, *rest = sys.argv[1:]
limit = 1000 * float(rest[0] if rest else 120)
# Magics offer the next cell. Those that were offered are not run, so the cells that ran are counted.
RAN = """window.jupyterapp.shell.currentWidget.content.widgets.filter(
    cell => cell.model.type === 'code' && cell.model.executionCount).length"""


path = pathlib.Path(notebook)
code = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
own = ["".join(cell["source"]) for cell in code]
with sync_playwright() as playwright:
    browser = launch(playwright, chromium)
    server = Server(pathlib.Path.cwd(), "lab-data")
    page = server.page(browser, notebook)
    page.wait_for_function(IDLE, timeout=60000)
    page.evaluate("""async () => {
        await window.jupyterapp.commands.execute('notebook:clear-all-cell-outputs');
        window.jupyterapp.commands.execute('notebook:run-all-cells');
    }""")
    # After an error, the cells behind it do not run. Outputs are large, so they are not looked at too often.
    page.wait_for_function(f"count => {RAN} >= count || {ERRORS}.length > 0", arg=len(code), polling=500,
                           timeout=limit)
    page.wait_for_function(IDLE, timeout=limit)
    errors = page.evaluate(ERRORS)
    assert errors == [], errors
    page.evaluate("window.jupyterapp.commands.execute('docmanager:save')")
    page.wait_for_function("!window.jupyterapp.shell.currentWidget.context.model.dirty", timeout=60000)
    assert not page.problems, page.problems
    server.stop()
    browser.close()

# The cells that were offered are no part of the notebook.
saved = json.loads(path.read_text())
saved["cells"] = [cell for cell in saved["cells"] if cell["cell_type"] != "code" or cell["execution_count"]
                  or "".join(cell["source"]) in own]
path.write_text(json.dumps(saved, indent=1))
