"""JupyterLab in headless Chromium, without any extension: the live chart grows, the final one is interactive, also after
saving and opening again; an untrusted reader sees the static picture and the tables.

Arguments: the notebook, the Chromium executable, a folder for the screenshots."""

import atexit
import os
import pathlib
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request

from playwright.sync_api import sync_playwright

notebook, chromium, screenshots = map(pathlib.Path, sys.argv[1:4])
work = pathlib.Path(tempfile.mkdtemp(dir=os.getcwd()))
shutil.copy(notebook, work / "demo.ipynb")


class Server:
    """A JupyterLab server of its own; another data folder means another trust."""

    def __init__(self, data):
        self.token = secrets.token_hex(8)
        environment = {**os.environ, "JUPYTER_DATA_DIR": str(work / data), "JUPYTER_RUNTIME_DIR": str(work / data / "runtime")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1", "--port=0",
             f"--IdentityProvider.token={self.token}", "--LabApp.expose_app_in_browser=True", "--LabApp.news_url=None",
             f"--ServerApp.root_dir={work}"],
            env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )
        # However this script ends, the server ends with it.
        atexit.register(self.process.terminate)
        self.url = None
        for line in self.process.stderr:
            if "http://127.0.0.1" in line and "token" in line:
                self.url = line[line.index("http://"):].split("/lab")[0].strip()
                break
        assert self.url, "JupyterLab did not start"
        # The rest of the log must be read, or the server waits for somebody to read it.
        subprocess_log = self.process.stderr
        import threading
        threading.Thread(target=lambda: [None for _ in subprocess_log], daemon=True).start()

    def page(self, browser):
        context = browser.new_context(viewport={"width": 1280, "height": 1000})
        page = context.new_page()
        page.problems = []
        page.on("pageerror", lambda error: page.problems.append(str(error)))
        page.on("request", lambda r: None if r.url.startswith((self.url, "data:", "blob:", "ws:")) else page.problems.append(r.url))
        page.goto(f"{self.url}/lab/workspaces/t{time.time_ns()}/tree/demo.ipynb?token={self.token}&reset")
        page.wait_for_function("window.jupyterapp && window.jupyterapp.shell.currentWidget?.context?.isReady", timeout=90000)
        return page

    def stop(self):
        self.process.terminate()
        self.process.wait(20)


IDLE = "window.jupyterapp.shell.currentWidget.context.sessionContext.session?.kernel?.status === 'idle'"
PLOTS = """() => [...document.querySelectorAll('.js-plotly-plot')].map(p => ({
    title: p._fullLayout?.title?.text ?? '', points: (p.data ?? []).reduce((n, t) => n + (t.x?.length ?? 0), 0)}))"""


def whole(page, name):
    """A picture of the whole notebook: the window is made as tall as its content."""
    height = page.evaluate("""() => { const heights = [...document.querySelectorAll(
        '.jp-WindowedPanel-outer, .jp-WindowedPanel-inner, .jp-Notebook')].map(e => e.scrollHeight);
        return Math.min(12000, Math.max(1000, ...heights) + 250); }""")
    page.set_viewport_size({"width": 1280, "height": int(height)})
    page.evaluate("() => document.querySelectorAll('.jp-WindowedPanel-outer').forEach(e => { e.scrollTop = 0; })")
    page.wait_for_timeout(2500)
    page.evaluate("() => window.dispatchEvent(new Event('resize'))")
    page.wait_for_timeout(1000)
    page.screenshot(path=str(screenshots / name))
    page.set_viewport_size({"width": 1280, "height": 1000})


with sync_playwright() as playwright:
    browser = playwright.chromium.launch(
        executable_path=str(chromium),
        args=["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
              "--disable-component-update", "--disable-sync"],
    )
    server = Server("data")
    page = server.page(browser)
    page.wait_for_function(IDLE, timeout=60000)
    page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells'); }")
    states = set()
    deadline = time.time() + 180
    while time.time() < deadline:
        for plot in page.evaluate(PLOTS):
            if "by trial" in plot["title"]:
                states.add(plot["points"])
        if page.evaluate("""() => window.jupyterapp.shell.currentWidget.content.widgets.filter(
                c => c.model.type === 'code').every(c => c.model.executionCount)""") and page.evaluate(IDLE):
            break
        page.wait_for_timeout(100)
    page.wait_for_timeout(2000)
    assert len(states) >= 3, f"the chart was seen in {len(states)} states: {sorted(states)}"
    errors = page.evaluate("document.querySelectorAll('[data-mime-type=\"application/vnd.jupyter.error\"]').length")
    assert errors == 0, "a cell failed"

    def titles(page):
        """Titles of interactive charts, each brought into view."""
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
    whole(page, "notebook.png")
    page.evaluate("window.jupyterapp.commands.execute('docmanager:save')")
    page.wait_for_timeout(1500)
    assert not page.problems, page.problems
    page.context.close()

    page = server.page(browser)
    page.wait_for_timeout(3000)
    seen = titles(page)
    for part in wanted:
        assert any(part in title for title in seen), f"after opening again no interactive chart says {part!r}: {seen}"
    whole(page, "opened-again.png")
    # A dark page must be as readable.
    page.evaluate("window.jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Dark'})")
    page.wait_for_timeout(1500)
    whole(page, "dark.png")
    page.context.close()
    server.stop()

    # Another data folder has another signing key: to it the notebook is a stranger's.
    server = Server("another-data")
    page = server.page(browser)
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
    whole(page, "untrusted.png")
    server.stop()
    browser.close()
print(f"states of the live chart: {sorted(states)}; screenshots in {screenshots}")
