"""Runs cells in `jupyter console` through its standard input and checks what it prints."""

import subprocess
import sys

lines = ["1 + 41", "%lsmagic", "fn f() -> i32 { 7 }", "f() * 6", ""]
console = subprocess.run(
    [sys.executable, "-m", "jupyter_console", "--kernel", "tunebook", "--simple-prompt"],
    input="\n".join(lines),
    capture_output=True,
    text=True,
    timeout=120,
)
text = console.stdout
assert text.count("42") >= 2, console
assert "%%sweep" in text and "Isolation plot" in text, console
print("the console shows results and tables")
