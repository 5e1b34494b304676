"""Measures Rust cells in several kernels, which take turns.

Arguments: a JSON object of kernels {name: argv}, and how often each is started. Prints a JSON object {name: {figure:
[values …]}} with times in seconds and memory in bytes. The text of every cell is new, so that no build of it is found
in a cache."""

import itertools
import json
import os
import subprocess
import sys
import tempfile
import time

from jupyter_client import BlockingKernelClient
from jupyter_client.connect import write_connection_file

kernels, repeats = json.loads(sys.argv[1]), int(sys.argv[2])
# The first `let` is sent so many seconds after the start of the process, because a user reads a notebook before running
# it. This wait is a part of what is measured.
FIRST_LET_AT = 8.0
fresh = itertools.count(int(time.time()) % 1_000_000)


def resident(pid):
    """The bytes of memory of a process and of all processes below it. Memory that they share counts once."""
    below, total = [pid], 0
    while below:
        pid = below.pop()
        try:
            below += [int(child) for child in open(f"/proc/{pid}/task/{pid}/children").read().split()]
            total += next(int(line.split()[1]) << 10 for line in open(f"/proc/{pid}/smaps_rollup") if line.startswith("Pss:"))
        except OSError:
            pass
    return total


class Running:
    """A kernel that was started and has answered its first request."""

    def __init__(self, argv):
        path = tempfile.mktemp(suffix=".json")
        write_connection_file(path, ip="127.0.0.1", key=b"measure")
        self.started = time.perf_counter()
        self.process = subprocess.Popen(
            [word.replace("{connection_file}", path) for word in argv], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, cwd=tempfile.mkdtemp(),
        )
        self.client = BlockingKernelClient(connection_file=path)
        self.client.load_connection_file()
        self.client.start_channels()
        self.reply(self.client.kernel_info())

    def reply(self, request):
        while True:
            message = self.client.get_shell_msg(timeout=120)
            if message["parent_header"].get("msg_id") == request:
                return message["content"]

    def since_start(self):
        return time.perf_counter() - self.started

    def run(self, code):
        """Runs a cell. Returns the seconds from the request to the reply."""
        code = f"// {next(fresh)}\n{code}"
        began = time.perf_counter()
        reply = self.reply(self.client.execute(code))
        assert reply["status"] == "ok", (code, reply)
        return time.perf_counter() - began

    def ask(self, kind, code):
        """Sends a complete or inspect request. Returns the seconds from the request to the reply, and its content."""
        began = time.perf_counter()
        content = self.reply(getattr(self.client, kind)(code, len(code)))
        seconds = time.perf_counter() - began
        return seconds, content

    def stop(self):
        self.client.stop_channels()
        self.process.kill()
        self.process.wait()


def session(argv, figures):
    """Runs one session of a kernel and adds its figures to the lists."""

    def note(name, value):
        figures.setdefault(name, []).append(value)

    kernel = Running(argv)
    note("start", kernel.since_start())
    note("memory_cold", resident(kernel.process.pid))
    kernel.run("1 + 1")
    note("first_expression", kernel.since_start())
    time.sleep(max(0, FIRST_LET_AT - kernel.since_start()))
    note("first_let", kernel.run("let mut v = vec![1, 2, 3];"))
    kernel.run("let x = 1;")
    for _ in range(5):
        n = next(fresh)
        note("expression", kernel.run(f"x + {n}"))
        note("let", kernel.run(f"let y{n} = {n};"))
        note("let_inferred", kernel.run(f"let z{n}: Vec<i32> = (0..{n % 100}).map(|i| i * 2).collect();"))
        note("println", kernel.run(f"println!(\"{{}}\", {n});"))
        note("function", kernel.run(f"fn twice(x: i32) -> i32 {{ 2 * x + {n} }}"))
    kernel.ask("complete", "v.it")
    for _ in range(5):
        seconds, content = kernel.ask("complete", "v.it")
        assert any(match.startswith("iter") for match in content["matches"]), content
        note("complete", seconds)
        note("inspect", kernel.ask("inspect", "v.len")[0])
    kinds = ["{n}", "{n} as f64", "String::from(\"{n}\")", "vec![{n}; 3]", "Some({n})", "({n}, \"a\")", "[{n} as u8; 4]", "Box::new({n})",
             "vec![String::from(\"{n}\")]", "'x'"]
    for i in range(40):
        kernel.run(f"let many{i} = {kinds[i % 10].format(n=i)};")
    for _ in range(5):
        note("many_variables", kernel.run(f"x + {next(fresh)}"))
    # The cell sleeps long enough to run while a completion is measured. evcxr_jupyter does not say when a cell has been
    # compiled, so a fixed time is waited for.
    request = kernel.client.execute("std::thread::sleep(std::time::Duration::from_secs(4));")
    time.sleep(1.5)
    note("complete_busy", kernel.ask("complete", "v.it")[0])
    note("memory_warm", resident(kernel.process.pid))
    kernel.run("let mut hoard: Vec<u8> = vec![1; 2_000_000_000];")
    for _ in range(5):
        note("hoard", kernel.run(f"println!(\"{{}}\", hoard.len() + {next(fresh)});"))
    kernel.stop()


results = {name: {} for name in kernels}
for _ in range(repeats):
    for name, argv in kernels.items():
        session(argv, results[name])
print(json.dumps(results))
