"""An executed notebook in Notebook 7, by the renderer of VS Code, and as a page that nbconvert makes: light, dark,
printed, and without scripts, as GitHub shows it. Each is kept as a screenshot.

Arguments: the notebook, the Chromium executable, a folder for the screenshots."""

import json
import os
import pathlib
import shutil
import sys
import tempfile

import nbconvert
import nbformat
from jupyterlab import Server, launch
from nbformat.sign import NotebookNotary
from playwright.sync_api import sync_playwright

source, chromium, screenshots = map(pathlib.Path, sys.argv[1:4])
work = pathlib.Path(tempfile.mkdtemp(dir=os.getcwd()))
shutil.copy(source, work / "n.ipynb")
CHARTS = "() => document.querySelectorAll('.js-plotly-plot').length"
# Texts of charts with less contrast than 4.5 to the page, as the page shows them.
FAINT_TEXTS = """() => {
    const part = v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    const luminance = color => { const [r, g, b] = color.match(/[0-9.]+/g).slice(0, 3).map(v => part(v / 255));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
    const page = luminance(getComputedStyle(document.body).backgroundColor);
    return [...document.querySelectorAll('.js-plotly-plot text')].filter(text => text.textContent.trim()).map(text => {
        const ink = luminance(getComputedStyle(text).fill);
        return [text.textContent, (Math.max(ink, page) + 0.05) / (Math.min(ink, page) + 0.05)];
    }).filter(([, contrast]) => contrast < 4.5); }"""
# Elements that are wider than the page.
WIDE = """() => [...document.querySelectorAll('table, .js-plotly-plot')].filter(
    e => e.getBoundingClientRect().right > window.innerWidth + 1).length"""

# VS Code shows the first of these types that an output has. Where the folder is not trusted, it renders no HTML.
TYPES = ["text/html", "image/gif", "text/latex", "text/markdown", "image/png", "image/svg+xml", "image/jpeg",
         "application/json", "text/plain"]
# A page that shows outputs by VS Code's own renderer, which stands beside this script.
VSCODE = """<!doctype html><title>VS Code</title>
<style>
  body { margin: 16px; background: BACKGROUND; color: COLOR; font: 13px sans-serif; }
</style>
<script type="application/json" id="outputs">OUTPUTS</script>
<script type="module">
  import { activate } from "./renderer.js";
  const never = () => ({ dispose() {} });
  const renderer = activate({ workspace: { isTrusted: TRUSTED }, onDidChangeSettings: never,
    settings: { lineLimit: 30, outputScrolling: false, outputWordWrap: true, linkifyFilePaths: false } });
  const outputs = JSON.parse(document.getElementById("outputs").textContent);
  for (const [id, { mime, text }] of outputs.entries()) {
    const element = document.body.appendChild(document.createElement("div"));
    element.className = "output";
    const item = { id: String(id), mime, metadata: {}, text: () => text, json: () => JSON.parse(text),
      data: () => new TextEncoder().encode(text) };
    await renderer.renderOutputItem(item, element, new AbortController().signal);
  }
  window.rendered = true;
</script>"""


def outputs_of(trusted):
    """What VS Code shows of each output: a type and its text."""
    shown = []
    for cell in nbformat.read(work / "n.ipynb", as_version=4).cells:
        for output in cell.get("outputs", []):
            if output.output_type == "stream":
                shown.append({"mime": f"application/vnd.code.notebook.{output.name}", "text": output.text})
            elif output.output_type in ("display_data", "execute_result"):
                types = [mime for mime in TYPES if mime in output.data and (trusted or mime != "text/html")]
                shown.append({"mime": types[0], "text": output.data[types[0]]})
    return shown


def in_vscode(browser, background, color, trusted):
    """Opens the page of VS Code's renderer."""
    text = VSCODE.replace("BACKGROUND", background).replace("COLOR", color).replace("TRUSTED", json.dumps(trusted))
    text = text.replace("OUTPUTS", json.dumps(outputs_of(trusted)).replace("<", "\\u003c"))
    renderer = pathlib.Path(__file__).parent / "vendor" / "vscode-notebook-renderer-1.100.3.js"
    page = browser.new_page(viewport={"width": 1000, "height": 1200})
    page.problems = []
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.route("http://vscode.test/", lambda route: route.fulfill(body=text, content_type="text/html"))
    script = renderer.read_text()
    page.route("**/renderer.js", lambda route: route.fulfill(body=script, content_type="text/javascript"))
    page.goto("http://vscode.test/")
    page.wait_for_function("window.rendered === true", timeout=30000)
    return page


def page_of(theme):
    exporter = nbconvert.HTMLExporter(theme=theme)
    # What nbconvert loads from the network is not needed: the charts bring their own script.
    exporter.require_js_url = exporter.mathjax_url = exporter.jquery_url = exporter.mermaid_js_url = ""
    html, _ = exporter.from_notebook_node(nbformat.read(work / "n.ipynb", as_version=4))
    path = work / f"{theme}.html"
    path.write_text(html)
    return path.as_uri()


with sync_playwright() as playwright:
    browser = launch(playwright, chromium)

    server = Server(work, "data")
    # The notebook is one that its reader trusts, so that charts are interactive.
    NotebookNotary(data_dir=str(work / "data")).sign(nbformat.read(work / "n.ipynb", as_version=4))
    page = browser.new_page(viewport={"width": 1280, "height": 2400})
    page.goto(f"{server.url}/notebooks/n.ipynb?token={server.token}")
    page.wait_for_selector(".jp-CodeCell", timeout=60000)
    page.wait_for_function(f"({CHARTS})() >= 1", timeout=60000)
    page.wait_for_timeout(2000)
    tables = page.evaluate("() => document.querySelectorAll('.jp-OutputArea table').length")
    assert tables >= 3, f"Notebook 7 shows {tables} tables"
    page.screenshot(path=str(screenshots / "notebook7.png"), full_page=True)
    server.stop()

    for theme, background, color in [("light", "#ffffff", "#3b3b3b"), ("dark", "#1f1f1f", "#cccccc")]:
        page = in_vscode(browser, background, color, trusted=True)
        page.wait_for_function(f"({CHARTS})() >= 3", timeout=30000)
        page.wait_for_timeout(1500)
        assert page.evaluate(FAINT_TEXTS) == [], page.evaluate(FAINT_TEXTS)
        assert page.evaluate(WIDE) == 0, f"{page.evaluate(WIDE)} elements are wider than the page"
        assert page.problems == [], page.problems
        page.screenshot(path=str(screenshots / f"vscode-{theme}.png"), full_page=True)
    page = in_vscode(browser, "#ffffff", "#3b3b3b", trusted=False)
    texts = page.locator(".output").all_inner_texts()
    assert all(text.strip() for text, output in zip(texts, outputs_of(False)) if output["text"].strip()), texts
    page.screenshot(path=str(screenshots / "vscode-untrusted.png"), full_page=True)

    for theme in ["light", "dark"]:
        page = browser.new_page(viewport={"width": 1000, "height": 1200})
        problems = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(page_of(theme))
        page.wait_for_function(f"({CHARTS})() >= 3", timeout=30000)
        page.wait_for_timeout(1500)
        assert page.evaluate(FAINT_TEXTS) == [], page.evaluate(FAINT_TEXTS)
        assert page.evaluate(WIDE) == 0, f"{page.evaluate(WIDE)} elements are wider than the page"
        labels = page.evaluate("() => [...document.querySelectorAll('[role=img]')].map(e => e.ariaLabel)")
        assert labels and all(label.count(".") >= 2 for label in labels), labels
        assert problems == [], problems
        page.screenshot(path=str(screenshots / f"nbconvert-{theme}.png"), full_page=True)
        if theme == "light":
            page.pdf(path=str(screenshots / "nbconvert.pdf"), format="A4")
            assert (screenshots / "nbconvert.pdf").stat().st_size > 20_000

    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto((work / "light.html").as_uri())
    pictures = page.locator("img[src^='data:image/svg+xml']")
    assert pictures.count() >= 3, f"{pictures.count()} static pictures"
    assert all(pictures.nth(i).get_attribute("alt") for i in range(pictures.count()))
    page.screenshot(path=str(screenshots / "without-scripts.png"), full_page=True)
    browser.close()
