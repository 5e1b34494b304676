"""Rust cells in JupyterLab, as a user types and sees them: questions, progress, interrupt, completion, help, errors,
displays, magics, and very long output.

Arguments: the Chromium executable, a folder for the screenshots. All checks run, also after one has failed."""

import json
import os
import pathlib
import re
import struct
import sys
import tempfile
import time
import traceback
import zlib

from jupyterlab import IDLE, READY, Server, launch, whole
from playwright.sync_api import TimeoutError, sync_playwright

chromium, screenshots = map(pathlib.Path, sys.argv[1:3])
work = pathlib.Path(tempfile.mkdtemp(dir=os.getcwd()))
KERNEL = "Rust (Tunebook)"
LAUNCHER = "window.jupyterapp && document.querySelector('.jp-LauncherCard')"


# The coloured text below a cell that has the least contrast to its background, and that contrast (as WCAG defines it).
CONTRAST = """output => {
    const numbers = text => text.match(/[\\d.]+/g).map(Number);
    const light = ([r, g, b]) => { const part = c => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
        return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b) + 0.05; };
    const behind = node => {
        if (!node) return [255, 255, 255];
        const [r, g, b, opaque = 1] = numbers(getComputedStyle(node).backgroundColor);
        if (opaque === 1) return [r, g, b];
        return behind(node.parentElement).map((below, i) => opaque * [r, g, b][i] + (1 - opaque) * below); };
    return [...output.querySelectorAll('pre span')].filter(span => span.textContent.trim()).map(span => {
        const pair = [light(numbers(getComputedStyle(span).color)), light(behind(span))];
        return [Math.max(...pair) / Math.min(...pair), span.textContent]; }).sort((a, b) => a[0] - b[0])[0]; }"""


class Cell:
    """A cell of the page, by its position in the notebook from 0."""

    def __init__(self, page, place):
        self.page, self.place = page, place
        self.node = page.locator(".jp-Notebook .jp-CodeCell").nth(place)
        self.editor = self.node.locator(".jp-InputArea-editor .cm-content")
        self.output = self.node.locator(".jp-Cell-outputWrapper")

    def prompt(self):
        return self.node.locator(".jp-InputPrompt").first.text_content()

    def is_done(self):
        return re.fullmatch(r"\[\d+\]:", self.prompt()) is not None

    def wait(self, seconds=30):
        """Waits until the cell has ended and all of its output is shown. Returns the cell."""
        deadline = time.monotonic() + seconds
        while not (self.is_done() and self.page.evaluate(IDLE)):
            assert time.monotonic() < deadline, f"the cell runs after {seconds} s: {self.source()!r}"
            self.page.wait_for_timeout(20)
        return self

    def source(self):
        return "\n".join(self.editor.locator(".cm-line").all_text_contents())

    def text(self):
        """The text below the cell, without the execution counts."""
        return "\n".join(self.output.locator(".jp-OutputArea-output").all_text_contents())

    def wait_for_text(self, text, seconds=30):
        """Waits until a text is shown below the cell. Returns the cell."""
        deadline = time.monotonic() + seconds
        while text not in self.text():
            assert time.monotonic() < deadline, f"{text!r} is not shown after {seconds} s: {self.text()!r}"
            self.page.wait_for_timeout(20)
        return self

    def states(self, seconds=30):
        """Watches the text below the cell until the cell has ended. Returns the different texts in order."""
        seen, deadline = [], time.monotonic() + seconds
        while True:
            ended = self.is_done() and self.page.evaluate(IDLE)
            text = self.text()
            if not seen or seen[-1] != text:
                seen.append(text)
            if ended:
                return seen
            assert time.monotonic() < deadline, f"the cell runs after {seconds} s: {seen}"
            self.page.wait_for_timeout(30)

    def errors(self):
        """The names of the errors below the cell: one or none."""
        return self.page.evaluate("""place =>
            window.jupyterapp.shell.currentWidget.content.widgets[place].model.outputs.toJSON().filter(
                output => output.output_type === 'error').map(error => error.ename)""", self.place)

    def must_be_ok(self):
        assert self.errors() == [], f"{self.source()!r} failed: {self.text()}"
        return self


class Notebook:
    """The notebook in the page. Code is written into its last cell."""

    def __init__(self, page):
        self.page = page

    def cells(self):
        return self.page.locator(".jp-Notebook .jp-CodeCell").count()

    def write(self, code, typed=False):
        """Replaces the text of the last cell. With `typed` the text is typed key by key."""
        cell = Cell(self.page, self.cells() - 1)
        cell.editor.click()
        self.page.keyboard.press("Control+A")
        self.page.keyboard.press("Delete")
        self.page.keyboard.type(code, delay=15) if typed else self.page.keyboard.insert_text(code)
        return cell

    def start(self, code):
        """Runs code in the last cell and does not wait for its end."""
        cell, before = self.write(code), self.cells()
        self.page.keyboard.press("Shift+Enter")
        self.page.wait_for_function(f"document.querySelectorAll('.jp-Notebook .jp-CodeCell').length > {before}")
        return cell

    def run(self, code):
        return self.start(code).wait()

    def complete(self, code, seconds=10):
        """Types code into the last cell and presses Tab. Returns what the pop-up lists as {text: type}. The pop-up
        stays open."""
        self.write(code, typed=True)
        popup = self.page.locator(".jp-Completer:not(.lm-mod-hidden) .jp-Completer-item").first
        deadline = time.monotonic() + seconds
        while not popup.is_visible():
            assert time.monotonic() < deadline, f"nothing pops up behind {code!r}"
            # JupyterLab drops an answer that comes after more than a second, and then Tab must be pressed again.
            self.page.keyboard.press("Tab")
            try:
                popup.wait_for(timeout=2500)
            except TimeoutError:
                pass
        return self.page.evaluate("""() => Object.fromEntries(
            [...document.querySelectorAll('.jp-Completer-item')].map(item => [
                item.querySelector('.jp-Completer-match').textContent,
                item.querySelector('.jp-Completer-typeExtended')?.textContent ?? '']))""")

    def completed(self, code):
        """Types code into the last cell, presses Tab and takes the first proposal. Returns the text of the cell."""
        self.complete(code)
        self.page.keyboard.press("Enter")
        self.page.locator(".jp-Completer").wait_for(state="hidden", timeout=5000)
        return Cell(self.page, self.cells() - 1).source()

    def escape(self):
        """Closes a pop-up and empties the last cell."""
        self.page.keyboard.press("Escape")
        self.write("")

    def interrupt(self):
        self.page.evaluate("window.jupyterapp.commands.execute('notebook:interrupt-kernel')")

    def picture(self, name):
        self.page.screenshot(path=str(screenshots / f"cells-{name}.png"))

    def recover(self):
        """Prepares the notebook for the next check after one has failed: nothing runs, nothing is open, and the last
        cell is empty."""
        self.interrupt()
        self.page.wait_for_timeout(1500)
        for _ in range(3):
            self.page.keyboard.press("Escape")
        self.page.evaluate("window.jupyterapp.commands.execute('notebook:insert-cell-below')")
        self.page.wait_for_timeout(300)


def first_cells(notebook):
    """A variable, a value and a compile error."""
    cell = notebook.run("let kept = vec![1, 2, 3];").must_be_ok()
    assert cell.text() == "", cell.text()
    cell = notebook.run("kept.iter().sum::<i32>()").must_be_ok()
    assert cell.text() == "6", cell.text()
    cell = notebook.run('let größe: i32 = "drei";\nprintln!("{größe}");')
    assert cell.errors() == ["CompilationError"], cell.text()
    assert "mismatched types" in cell.text() and "größe" in cell.text(), cell.text()
    notebook.picture("first-cells")


def asked(notebook):
    """Waits until the input box of a question has the focus. Returns the box."""
    notebook.page.wait_for_function("document.activeElement?.classList.contains('jp-Stdin-input')", timeout=30000)
    return notebook.page.locator(".jp-Stdin-input:focus")


def answer(notebook, text):
    """Answers a question."""
    notebook.page.keyboard.type(text)
    notebook.page.keyboard.press("Enter")


def prompts(notebook):
    """A cell that reads standard input asks the user, with the text that it printed before as the prompt."""
    cell = notebook.start(
        'let mut name = String::new();\nprint!("Your name: ");\nstd::io::stdin().read_line(&mut name)?;\n'
        'println!("Hello, {}!", name.trim());'
    )
    box = asked(notebook)
    notebook.page.wait_for_timeout(300)
    notebook.picture("prompt")
    seen = cell.output.text_content()
    assert seen.count("Your name: ") == 1, f"the prompt is not seen once: {seen!r}"
    prompt = cell.output.locator(".jp-Stdin-prompt").text_content()
    assert box.evaluate("box => box.type") == "text"
    answer(notebook, "Grace")
    cell.wait().must_be_ok()
    assert "Hello, Grace!" in cell.text(), cell.text()
    notebook.picture("prompt-answered")

    # Two questions come one after the other. The answers are not ASCII, and empty.
    cell = notebook.start("let two: Vec<String> = std::io::stdin().lines().take(2).collect::<Result<_, _>>()?;\ntwo")
    for text in ["Zürich", ""]:
        asked(notebook)
        answer(notebook, text)
        notebook.page.wait_for_timeout(300)
    assert '["Zürich", ""]' in cell.wait().must_be_ok().text(), cell.text()

    # A cell whose question nobody answers can be interrupted.
    cell = notebook.start("let mut line = String::new();\nstd::io::stdin().read_line(&mut line)?;")
    asked(notebook)
    notebook.interrupt()
    assert cell.wait(5).errors() == ["Interrupted"], cell.text()
    assert prompt.strip() == "Your name:", f"the box has the prompt {prompt!r}"


def passwords(notebook):
    """A password is not shown. The answer to another question is shown."""
    cell = notebook.start('let key = tunebook::password("Key: ")?;\nprintln!("{} characters", key.len());')
    box = asked(notebook)
    notebook.picture("password")
    assert cell.output.locator(".jp-Stdin-prompt").text_content().strip() == "Key:"
    assert box.evaluate("box => box.type") == "password"
    answer(notebook, "geheim")
    cell.wait().must_be_ok()
    assert "6 characters" in cell.text() and "geheim" not in cell.text(), cell.text()

    cell = notebook.start('let town = tunebook::input("Town: ")?;\ntown')
    asked(notebook)
    answer(notebook, "Zürich")
    assert '"Zürich"' in cell.wait().must_be_ok().text(), cell.text()
    notebook.picture("password-answered")


def progress(notebook):
    """A progress bar that a cell prints moves in its line. One of the crate tunebook is one display that changes.

    The cells sleep, because a bar must take a while to be seen in several states."""
    cell = notebook.start(
        "use std::io::Write;\nfor i in 0..=20 {\n    print!(\"\\r{i:2} of 20\");\n    std::io::stdout().flush()?;\n"
        "    std::thread::sleep(std::time::Duration::from_millis(60));\n}\nprintln!();"
    )
    states = [state.strip() for state in cell.states() if state.strip()]
    cell.must_be_ok()
    assert len(states) >= 3, f"the bar was seen in {states}"
    assert all(re.fullmatch(r"\d+ of 20", state) for state in states), f"more than one line: {states}"
    assert states[-1] == "20 of 20", states

    # The cell does not flush, and the bar moves all the same.
    cell = notebook.start(
        "for i in 0..=20 {\n    print!(\"\\r{i:2} of 20\");\n    std::thread::sleep(std::time::Duration::from_millis(60));\n}"
    )
    states = [state.strip() for state in cell.states() if state.strip()]
    assert len(states) >= 3, f"without a flush the bar was seen in {states}"

    cell = notebook.start(
        'let mut sum = 0;\nfor i in tunebook::progress(0..30).with_label("adding") {\n    sum += i;\n'
        "    std::thread::sleep(std::time::Duration::from_millis(60));\n}\nsum"
    )
    states, deadline, pictured = set(), time.monotonic() + 30, False
    while not cell.is_done():
        assert time.monotonic() < deadline, cell.text()
        bars = cell.output.locator("progress")
        assert bars.count() <= 1, "one bar"
        if bars.count():
            states.add(bars.get_attribute("value"))
            if len(states) > 5 and not pictured:
                pictured = True
                notebook.picture("progress")
        notebook.page.wait_for_timeout(30)
    cell.must_be_ok()
    assert len(states) >= 3, f"the bar was seen in {states}"
    assert float(cell.output.locator("progress").get_attribute("value")) == 1.0, cell.text()
    assert "adding: 100 %" in cell.text() and "30/30" in cell.text() and "435" in cell.text(), cell.text()
    notebook.picture("progress-done")


def interrupt(notebook):
    """Esc, I, I ends a cell within a second and costs no variable."""
    page = notebook.page
    for code in ["loop {}", "std::thread::sleep(std::time::Duration::from_secs(60));"]:
        cell = notebook.start(f'println!("running");\n{code}').wait_for_text("running")
        assert not cell.is_done(), cell.text()
        page.keyboard.press("Escape")
        page.keyboard.press("I")
        page.keyboard.press("I")
        since = time.monotonic()
        cell.wait(10)
        took = time.monotonic() - since
        assert took < 1, f"{took:.2f} s from the interrupt to the end of {code}"
        assert cell.errors() == ["Interrupted"] and "Interrupted" in cell.text(), cell.text()
    cell = notebook.run("kept").must_be_ok()
    assert cell.text() == "[1, 2, 3]", cell.text()
    notebook.picture("interrupt")


def completion(notebook):
    """Tab lists methods, magics, options and paths, with their types."""
    items = notebook.complete("let v = vec![1]; v.pu")
    notebook.picture("completion")
    kind = next((kind for text, kind in items.items() if text.split("(")[0] == "push"), None)
    assert kind in ("method", "function"), items
    notebook.escape()
    items = notebook.complete("kept.le")
    assert any(text.split("(")[0] == "len" for text in items), items
    notebook.escape()
    items = notebook.complete("%sw")
    notebook.picture("completion-magic")
    assert any("sweep" in text for text in items) and all(items.values()), items
    notebook.escape()
    items = notebook.complete("%time")
    assert {"%time", "%timeit"} <= set(items), items
    notebook.escape()
    items = notebook.complete("%history --")
    notebook.picture("completion-option")
    assert {"--last", "--grep", "--lines"} <= set(items), items
    notebook.escape()
    assert notebook.completed("%load hel") == "%load helpers.rs"
    assert notebook.completed("%load folder/inn") == "%load folder/inner.rs"
    notebook.picture("completion-path")
    notebook.escape()


def completion_taken(notebook):
    """The best candidate is the first, the proposal is complete, and private fields are not proposed."""
    items = list(notebook.complete("let v = vec![1]; v.pu"))
    notebook.escape()
    taken = notebook.completed("let v = vec![1]; v.pu")
    notebook.picture("completion-taken")
    notebook.escape()
    private = notebook.complete("kept.le").get("len") == "instance"
    notebook.picture("completion-private")
    notebook.escape()
    assert items[0].split("(")[0] == "push", f"push is not the first: {items}"
    assert re.fullmatch(r"let v = vec!\[1\]; v\.push(\(\)?)?", taken), taken
    assert not private, "the private field `len` of Vec is proposed"


def completion_while_running(notebook):
    """Completion works while a cell runs."""
    running = notebook.start('println!("running");\nstd::thread::sleep(std::time::Duration::from_secs(60));')
    running.wait_for_text("running")
    since = time.monotonic()
    items = notebook.complete("let v = vec![1]; v.pu")
    took = time.monotonic() - since
    notebook.picture("completion-while-running")
    assert not running.is_done(), "the cell has ended already"
    assert any(text.startswith("push") for text in items), items
    assert took < 5, f"{took:.1f} s while a cell runs"
    notebook.escape()
    notebook.interrupt()
    running.wait(5)


def inspection(notebook):
    """Shift+Tab shows help in a tooltip, `?` and `%doc` show it in the pager, both as Markdown."""
    page = notebook.page
    notebook.write("let v: Vec<i32> = Vec::new", typed=True)
    page.keyboard.press("Shift+Tab")
    tooltip = page.locator(".jp-Tooltip .jp-RenderedMarkdown")
    tooltip.wait_for(timeout=10000)
    page.wait_for_timeout(300)
    notebook.picture("tooltip")
    assert "Constructs a new, empty" in tooltip.text_content(), tooltip.text_content()
    assert tooltip.locator("pre, code").count() >= 1 and "```" not in tooltip.text_content(), tooltip.text_content()
    notebook.escape()

    notebook.write("%timeit", typed=True)
    page.keyboard.press("Shift+Tab")
    tooltip = page.locator(".jp-Tooltip .jp-RenderedHTMLCommon, .jp-Tooltip .jp-RenderedText")
    tooltip.first.wait_for(timeout=10000)
    page.wait_for_timeout(300)
    notebook.picture("tooltip-magic")
    assert "%timeit" in tooltip.first.text_content(), tooltip.first.text_content()
    notebook.escape()

    for code in ["Vec?", "%doc Vec::push"]:
        cell = notebook.run(code).must_be_ok()
        page.wait_for_timeout(300)
        notebook.picture("pager" if code == "Vec?" else "pager-method")
        shown = cell.output.locator(".jp-RenderedMarkdown")
        assert shown.count() == 1, cell.text()[:500]
        assert ("A contiguous growable array" if code == "Vec?" else "Appends an element") in shown.text_content(), cell.text()[:500]
        assert "```" not in shown.text_content(), cell.text()[:500]
    cell = notebook.run("%sweep?").must_be_ok()
    assert "--trials" in cell.text(), cell.text()[:500]
    notebook.picture("pager-magic")


def errors(notebook):
    """A panic and a failed `?` are errors with the line, in colours, and the variables stay as they were."""
    cell = notebook.run("let none: Option<u8> = None;\nlet value = none.unwrap();\nvalue")
    assert cell.errors() == ["Panic"], cell.text()
    assert "Panic" in cell.text() and "none.unwrap()" in cell.text() and "line 2" in cell.text(), cell.text()
    assert cell.output.locator("[class*=ansi-][class*=-fg]").count() >= 2, "the traceback has no colours"
    cell = notebook.run('let number: i32 = "zwölf".parse()?;')
    assert len(cell.errors()) == 1 and "invalid digit" in cell.text(), cell.text()
    cell = notebook.run("std::process::exit(3);")
    assert len(cell.errors()) == 1, cell.text()
    notebook.picture("errors")
    cell = notebook.run("%swep")
    assert len(cell.errors()) == 1 and "`sweep`" in cell.text(), cell.text()
    cell = notebook.run("kept").must_be_ok()
    assert cell.text() == "[1, 2, 3]", cell.text()
    notebook.picture("errors-below")


def colours(notebook):
    """Errors and warnings can be read in the light theme and in the dark one."""
    compile_error = notebook.run('let text = String::from("moved");\nlet other = text;\nprintln!("{text}");')
    warning = notebook.run("fn warned() -> i32 {\n    let unused = 3;\n    4\n}")
    panics = notebook.run("kept[10]")
    magic = notebook.run("%history --lasst 3")
    found = []
    for theme in ["JupyterLab Light", "JupyterLab Dark"]:
        notebook.page.evaluate("theme => window.jupyterapp.commands.execute('apputils:change-theme', {theme})", theme)
        notebook.page.wait_for_function("theme => document.body.dataset.jpThemeName === theme", arg=theme)
        notebook.page.wait_for_timeout(1000)
        notebook.picture("colours-dark" if "Dark" in theme else "colours")
        for cell in [compile_error, warning, panics, magic]:
            contrast, text = cell.output.evaluate(CONTRAST)
            # Jupyter's own colours have a contrast of 1.5 to the background of errors. Text with 1.2 cannot be seen.
            if contrast < 1.4:
                found.append(f"{text!r} of {cell.text().splitlines()[0]!r} has a contrast of {contrast:.2f} in {theme}")
    notebook.page.evaluate("window.jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Light'})")
    assert compile_error.errors() == ["CompilationError"] and warning.errors() == [], warning.text()
    assert not found, found


def displays(notebook):
    """Several displays of one cell, displays that are replaced, and output that is cleared."""
    cell = notebook.run(
        'tunebook::display(&tunebook::Html("<b id=\'bold\'>bold</b> words"));\n'
        'tunebook::display(&tunebook::Markdown("Loss by *step*"));\n'
        'tunebook::display(&tunebook::Latex(r"$\\sqrt{2}$"));\n'
        "tunebook::display(&tunebook::Svg(\"<svg xmlns='http://www.w3.org/2000/svg' width='90' height='40'>"
        "<circle cx='20' cy='20' r='18' fill='teal'/><rect x='45' y='2' width='36' height='36' fill='tomato'/></svg>\"));\n"
        'tunebook::display(&tunebook::Png(std::fs::read("dots.png")?));\n'
        "tunebook::display(&kept);"
    ).must_be_ok()
    notebook.page.wait_for_timeout(500)
    notebook.picture("displays")
    assert cell.output.locator("b#bold").text_content() == "bold"
    assert cell.output.locator(".jp-RenderedMarkdown em").text_content() == "step"
    assert cell.output.locator("mjx-container").count() >= 1, "no formula"
    sizes = cell.output.locator("img").evaluate_all("images => images.map(i => [i.naturalWidth, i.naturalHeight])")
    assert [90, 40] in sizes or cell.output.locator("svg circle").count() == 1, sizes
    assert [64, 32] in sizes, sizes
    assert "[1, 2, 3]" in cell.text(), cell.text()

    shown = notebook.run('let loss = tunebook::display_id("loss", &0.5);\nprintln!("below");').must_be_ok()
    assert re.fullmatch(r"0\.5\s+below\s*", shown.text()), shown.text()
    notebook.run('loss.update(&tunebook::Html("<i>0.25</i>"));').must_be_ok()
    assert shown.output.locator("i").text_content() == "0.25", shown.text()
    assert "0.5" not in shown.text() and "below" in shown.text(), shown.text()

    # The cell sleeps so long that each state of its output is seen.
    cell = notebook.start(
        'println!("first");\nstd::thread::sleep(std::time::Duration::from_millis(800));\ntunebook::clear_output(true);\n'
        'std::thread::sleep(std::time::Duration::from_millis(300));\nprintln!("second");'
    )
    states = [state.strip() for state in cell.states() if state.strip()]
    assert states == ["first", "second"], states
    notebook.picture("displays-replaced")


def magics(notebook):
    """The magics that IPython's users know."""
    cell = notebook.run("%timeit kept.iter().sum::<i32>()").must_be_ok()
    assert re.search(r"\d+(\.\d+)? [nµm]?s", cell.text()), cell.text()
    cell = notebook.run("%%timeit\nlet mut v = kept.clone();\nv.sort();").must_be_ok()
    assert re.search(r"\d+(\.\d+)? [nµm]?s", cell.text()), cell.text()
    cell = notebook.run("%time (0..1000).sum::<i64>()").must_be_ok()
    assert "499500" in cell.text(), cell.text()
    notebook.picture("magics-time")
    cell = notebook.run("%whos").must_be_ok()
    assert "kept" in cell.text() and "Vec<i32>" in cell.text() and "[1, 2, 3]" in cell.text(), cell.text()
    cell = notebook.run("!echo \"from the shell\"; echo problem >&2").must_be_ok()
    assert "from the shell" in cell.text() and "problem" in cell.text(), cell.text()
    cell = notebook.run("%%bash\nfor i in 1 2 3; do\n    echo \"line $i\"\ndone").must_be_ok()
    assert cell.text().split("\n")[:3] == ["line 1", "line 2", "line 3"], cell.text()
    notebook.picture("magics-shell")
    cell = notebook.run("%load helpers.rs").must_be_ok()
    notebook.page.wait_for_timeout(500)
    notebook.picture("magics-load")
    assert "fn twice(x: i32) -> i32 {" in cell.source(), cell.source()
    cell = notebook.run("%lsmagic").must_be_ok()
    assert "%%sweep" in cell.text(), cell.text()
    notebook.picture("magics-list")
    cell = notebook.run("%history --last 3").must_be_ok()
    assert "helpers.rs" in cell.text(), cell.text()
    cell = notebook.run("%%test\n#[test]\nfn adds() {\n    assert_eq!(1 + 1, 2);\n}\n\n#[test]\nfn fails() {\n    assert_eq!(1, 2);\n}")
    assert "adds" in cell.text() and "fails" in cell.text(), cell.text()
    notebook.picture("magics-test")


def much_output(notebook):
    """While a cell prints 200,000 lines the page keeps answering. A mark shows where output was cut."""
    page = notebook.page
    cell = notebook.start('for i in 0..200_000 {\n    println!("line {i}");\n}')
    slowest, quiet_since, deadline = 0, None, time.monotonic() + 60
    while quiet_since is None or time.monotonic() - quiet_since < 3:
        since = time.monotonic()
        assert since < deadline, "the cell has not ended"
        page.evaluate("1 + 1")
        slowest = max(slowest, time.monotonic() - since)
        if quiet_since is None and page.evaluate(IDLE):
            quiet_since = time.monotonic()
        page.wait_for_timeout(50)
    cell.wait().must_be_ok()
    print(f"200,000 lines: the slowest answer of the page took {slowest:.2f} s")
    text = cell.text()
    assert text.startswith("line 0\nline 1\n"), text[:100]
    assert "output is cut here" in text and "left out; the end:" in text, text[-300:]
    assert "line 199999" in text, text[-300:]
    assert "rate exceeded" not in text, "the server has dropped output"
    mark = cell.output.get_by_text("output is cut here").last
    mark.scroll_into_view_if_needed()
    page.wait_for_timeout(500)
    notebook.picture("much-output-mark")
    cell = notebook.run('println!("still here");').must_be_ok()
    notebook.picture("much-output-end")
    assert slowest < 10, f"the page was stuck for {slowest:.2f} s"


def run_all(server, browser):
    """Run All stops at a panic. The cells below it have no execution count."""
    page = server.page(browser, "stops.ipynb")
    page.wait_for_function(IDLE, timeout=60000)
    page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells'); }")
    first, panics, third, fourth = (Cell(page, place) for place in range(4))
    panics.wait()
    for later in [third, fourth]:
        later.node.locator(".jp-InputPrompt", has_text="[ ]:").first.wait_for(timeout=30000)
    page.screenshot(path=str(screenshots / "cells-run-all.png"))
    assert first.text() == "first\n", first.text()
    assert "index out of bounds" in panics.text(), panics.text()
    for later in [third, fourth]:
        assert later.prompt() == "[ ]:" and later.text() == "", (later.prompt(), later.text())
    assert not page.problems, page.problems
    page.context.close()


def png(width, height):
    """A PNG file that is red on the left and blue on the right."""
    rows = (b"\0" + b"\xd0\x20\x20" * (width // 2) + b"\x20\x20\xd0" * (width // 2)) * height
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


(work / "helpers.rs").write_text("fn twice(x: i32) -> i32 {\n    2 * x\n}\n\ntwice(21)\n")
(work / "folder").mkdir()
(work / "folder" / "inner.rs").write_text("1 + 1\n")
(work / "dots.png").write_bytes(png(64, 32))
stops = ['println!("first");', "let at = kept_at(7);\nfn kept_at(i: usize) -> i32 { vec![1, 2, 3][i] }", 'println!("third");', "1 + 1"]
(work / "stops.ipynb").write_text(json.dumps({
    "cells": [{"cell_type": "code", "id": f"c{i}", "metadata": {}, "execution_count": None, "outputs": [], "source": source}
              for i, source in enumerate(stops)],
    "metadata": {"kernelspec": {"display_name": KERNEL, "language": "rust", "name": "tunebook"}}, "nbformat": 4, "nbformat_minor": 5,
}))

failed = []


def check(name, run, notebook=None):
    """Runs a check. If it fails, it is listed at the end, and a screenshot shows that moment."""
    since = time.monotonic()
    try:
        run()
        print(f"ok      {name}, {time.monotonic() - since:.1f} s", flush=True)
    except Exception:
        failed.append(name)
        print(f"FAILED  {name}, {time.monotonic() - since:.1f} s\n{traceback.format_exc(limit=-2)}", flush=True)
        if notebook:
            notebook.picture(f"{name}-failed")
            notebook.recover()


PARTS = [first_cells, prompts, passwords, progress, interrupt, completion, completion_taken, completion_while_running, inspection,
         errors, colours, displays, magics]

with sync_playwright() as playwright:
    browser = launch(playwright, chromium)
    server = Server(work, "data")
    page = server.page(browser, ready=LAUNCHER)
    page.locator(f'.jp-LauncherCard[data-category="Notebook"][title="{KERNEL}"]').click()
    page.wait_for_function(READY)
    page.wait_for_function(IDLE, timeout=60000)
    assert page.locator(".jp-KernelName").first.text_content() == KERNEL
    notebook = Notebook(page)
    for part in PARTS:
        check(part.__name__, lambda: part(notebook), notebook)
    whole(page, screenshots / "cells-notebook.png")
    check("much_output", lambda: much_output(notebook), notebook)
    if page.problems:
        failed.append(f"the page had problems: {page.problems}")
    page.context.close()
    check("run_all", lambda: run_all(server, browser))
    server.stop()
    browser.close()
assert not failed, failed
print(f"Rust cells work in JupyterLab; screenshots in {screenshots}")
