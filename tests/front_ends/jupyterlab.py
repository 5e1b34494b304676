"""Starts JupyterLab and Chromium for the tests, and takes screenshots."""

import atexit
import os
import secrets
import subprocess
import sys
import threading
import time

BROWSER_ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                     "--disable-background-networking", "--disable-component-update", "--disable-sync"]
# Whether the kernel of the notebook in the page is idle, in JavaScript.
IDLE = "window.jupyterapp.shell.currentWidget.context.sessionContext.session?.kernel?.status === 'idle'"
# The outputs of the notebook that are errors. The page alone does not tell them from text on standard error.
ERRORS = """window.jupyterapp.shell.currentWidget.content.widgets.flatMap(
    cell => cell.model.outputs?.toJSON() ?? []).filter(output => output.output_type === 'error')"""
# Whether the notebook is open in the page.
READY = "window.jupyterapp && window.jupyterapp.shell.currentWidget?.context?.isReady"


class Server:
    """A JupyterLab server that shows a folder. A server with another data folder signs notebooks with another key, so
    it does not trust them."""

    def __init__(self, work, data):
        self.token = secrets.token_hex(8)
        folder = work / data
        # It must not ask the internet for news.
        settings = folder / "config" / "lab" / "user-settings" / "@jupyterlab" / "apputils-extension"
        settings.mkdir(parents=True)
        (settings / "notification.jupyterlab-settings").write_text('{"fetchNews": "false", "checkForUpdates": false}')
        environment = {**os.environ, "JUPYTER_DATA_DIR": str(folder), "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
                       "JUPYTER_CONFIG_DIR": str(folder / "config")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1", "--port=0",
             f"--IdentityProvider.token={self.token}", "--LabApp.expose_app_in_browser=True",
             f"--ServerApp.root_dir={work}"],
            env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )
        # The server ends with this script, however the script ends.
        atexit.register(self.stop)
        self.url = None
        for line in self.process.stderr:
            if "http://127.0.0.1" in line and "token" in line:
                self.url = line[line.index("http://"):].split("/lab")[0].strip()
                break
        assert self.url, "JupyterLab did not start"
        # The rest of the log must be read, or else the server stops when the pipe is full.
        log = self.process.stderr
        threading.Thread(target=lambda: [None for _ in log], daemon=True).start()

    def page(self, browser, path=None, ready=READY):
        """Opens a page that shows a file or the launcher. Its list `problems` gathers JavaScript errors and requests to
        other servers."""
        context = browser.new_context(viewport={"width": 1280, "height": 1000})
        page = context.new_page()
        page.problems = []
        page.on("pageerror", lambda error: page.problems.append(str(error)))
        own = (self.url, "data:", "blob:", "ws:")
        page.on("request", lambda request: None if request.url.startswith(own) else page.problems.append(request.url))
        tree = f"/tree/{path}" if path else ""
        page.goto(f"{self.url}/lab/workspaces/t{time.time_ns()}{tree}?token={self.token}&reset")
        page.wait_for_function(ready, timeout=90000)
        return page

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            # Where Notebook 7.6 is installed, a server that is asked to end while a page opens may wait for ever.
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def launch(playwright, chromium):
    return playwright.chromium.launch(executable_path=str(chromium), args=BROWSER_ARGUMENTS)


def whole(page, path):
    """Takes a screenshot of the whole notebook, for which the window is made as tall as the notebook. Charts need a
    moment to be drawn in the new size."""
    height = page.evaluate("""() => { const heights = [...document.querySelectorAll(
        '.jp-WindowedPanel-outer, .jp-WindowedPanel-inner, .jp-Notebook')].map(e => e.scrollHeight);
        return Math.min(12000, Math.max(1000, ...heights) + 250); }""")
    page.set_viewport_size({"width": 1280, "height": int(height)})
    page.evaluate("() => document.querySelectorAll('.jp-WindowedPanel-outer').forEach(e => { e.scrollTop = 0; })")
    page.wait_for_timeout(2500)
    page.evaluate("() => window.dispatchEvent(new Event('resize'))")
    page.wait_for_timeout(1000)
    page.screenshot(path=str(path))
    page.set_viewport_size({"width": 1280, "height": 1000})
