"""A stranger's half day: the first notebooks, opened in JupyterLab and run cell by cell, in the light and the dark
theme. It prints how long each cell took beside the time that the text above it promises.

Arguments: the Chromium executable, a folder for the screenshots, a folder for the executed notebooks, the notebooks."""

import os
import pathlib
import re
import shutil
import sys
import tempfile
import time

from jupyterlab import ERRORS, IDLE, Server, launch, whole
from playwright.sync_api import sync_playwright

chromium, screenshots, executed, *notebooks = map(pathlib.Path, sys.argv[1:])
work = pathlib.Path(tempfile.mkdtemp(dir=os.getcwd()))
CELLS = "window.jupyterapp.shell.currentWidget.content.widgets"
# What the text above a cell may promise, for example "takes 10 to 20 seconds" or "takes up to half a minute".
PROMISE = re.compile(r"takes? (?:up to |about )?(?:\w+ to )?(half a|a few|a|one|ten|\d+) (second|minute)s?")
WORDS = {"half a": 0.5, "a few": 10, "a": 1, "one": 1, "ten": 10}
# A cell without a promise takes at most so many seconds.
SHORT = 15


def promised(texts):
    """The seconds that the texts above a cell promise."""
    found = PROMISE.findall(" ".join(" ".join(texts).split()))
    if not found:
        return SHORT
    count, unit = found[-1]
    number = WORDS[count] if count in WORDS else int(count)
    return number * (60 if unit == "minute" else 1)


def run(page, name):
    """Runs each cell of the notebook in the page, and prints its time."""
    texts = []
    # Magics offer the next cell. Those that were offered are not run.
    sources = page.evaluate(f"() => {CELLS}.map(cell => [cell.model.type, cell.model.sharedModel.getSource()])")
    index = 0
    for kind, source in sources:
        while page.evaluate(f"i => {CELLS}[i].model.sharedModel.getSource()", index) != source:
            index += 1
        if kind != "code":
            texts.append(source)
            index += 1
            continue
        started = time.time()
        page.evaluate("""async i => {
            window.jupyterapp.shell.currentWidget.content.activeCellIndex = i;
            await window.jupyterapp.commands.execute('notebook:run-cell');
        }""", index)
        page.wait_for_function(f"i => {CELLS}[i].model.executionCount", arg=index, timeout=900000)
        page.wait_for_function(IDLE, timeout=60000)
        took, promise = time.time() - started, promised(texts)
        print(f"{name} cell {index}: {took:6.1f} s, promised {promise:4.0f} s, ratio {took / promise:.2f}: "
              f"{source.splitlines()[0] if source else ''}")
        errors = page.evaluate(ERRORS)
        assert errors == [], errors
        texts = []
        index += 1


with sync_playwright() as playwright:
    browser = launch(playwright, chromium)
    server = Server(work, "data")
    for notebook in notebooks:
        shutil.copy(notebook, work)
        page = server.page(browser, notebook.name)
        page.wait_for_function(IDLE, timeout=60000)
        run(page, notebook.stem)
        page.evaluate("window.jupyterapp.commands.execute('docmanager:save')")
        page.wait_for_function("!window.jupyterapp.shell.currentWidget.context.model.dirty", timeout=60000)
        for theme in ["Light", "Dark"]:
            page.evaluate("name => window.jupyterapp.commands.execute('apputils:change-theme', {theme: name})",
                          f"JupyterLab {theme}")
            page.wait_for_timeout(1500)
            whole(page, screenshots / f"{notebook.stem}-{theme.lower()}.png")
        assert not page.problems, page.problems
        page.evaluate("window.jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Light'})")
        page.context.close()
        shutil.copy(work / notebook.name, executed)
    server.stop()
    browser.close()
