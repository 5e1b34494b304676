"""Measures the times of kernels: from the start to the kernel_info reply, of one execution, and of 50,000 printed
lines.

Arguments: a JSON object of kernels {name: {"argv": […], "trivial": code, "warm": code, "lines": code}}, and how often
each is started. For a kernel whose "trivial" is null only the start is measured. Prints a JSON object {name: {"start":
[seconds …], "execute": [seconds …], "lines": [seconds …]}}.

The kernels take turns, so that a change of the machine's speed concerns all of them."""

import json
import subprocess
import sys
import tempfile
import time

import zmq
from jupyter_client import BlockingKernelClient
from jupyter_client.connect import write_connection_file
from jupyter_client.session import Session

kernels, repeats = json.loads(sys.argv[1]), int(sys.argv[2])


class Running:
    """A kernel that was started and has answered its first request."""

    client = None

    def __init__(self, argv):
        path = tempfile.mktemp(suffix=".json")
        write_connection_file(path, ip="127.0.0.1", key=b"measure")
        # The first request goes through a socket that tries to connect every millisecond. By default ZeroMQ waits 100
        # ms between two attempts.
        with open(path) as file:
            port = json.load(file)["shell_port"]
        session, first = Session(key=b"measure"), zmq.Context.instance().socket(zmq.DEALER)
        first.reconnect_ivl = 1
        first.linger = 0
        started = time.perf_counter()
        self.process = subprocess.Popen(
            [word.replace("{connection_file}", path) for word in argv], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, cwd=tempfile.mkdtemp(),
        )
        first.connect(f"tcp://127.0.0.1:{port}")
        session.send(first, "kernel_info_request", {})
        assert first.poll(60_000), "the kernel does not answer"
        self.started = time.perf_counter() - started
        first.close()
        self.connection_file = path

    def connect(self):
        self.client = BlockingKernelClient(connection_file=self.connection_file)
        self.client.load_connection_file()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)
        return self

    def run(self, code):
        """Runs a cell. Returns the seconds from the request to the status idle, and the text that was printed."""
        started = time.perf_counter()
        request, text, idle = self.client.execute(code), [], False
        while not idle:
            message = self.client.get_iopub_msg(timeout=120)
            if message["parent_header"].get("msg_id") != request:
                continue
            if message["msg_type"] == "stream":
                text.append(message["content"]["text"])
            assert message["msg_type"] != "error", message["content"]
            idle = message["msg_type"] == "status" and message["content"]["execution_state"] == "idle"
        seconds = time.perf_counter() - started
        self.client.get_shell_msg(timeout=120)
        return seconds, "".join(text)

    def stop(self):
        if self.client:
            self.client.stop_channels()
        self.process.kill()
        self.process.wait()


results = {name: {"start": [], "execute": [], "lines": []} for name in kernels}
for _ in range(repeats):
    for name, kernel in kernels.items():
        running = Running(kernel["argv"])
        results[name]["start"].append(running.started)
        running.stop()
sessions = {name: Running(kernel["argv"]).connect() for name, kernel in kernels.items() if kernel["trivial"] is not None}
for name, running in sessions.items():
    running.run(kernels[name]["warm"])
for _ in range(100):
    for name, running in sessions.items():
        results[name]["execute"].append(running.run(kernels[name]["trivial"])[0])
for _ in range(5):
    for name, running in sessions.items():
        seconds, text = running.run(kernels[name]["lines"])
        assert text.count("\n") == 50_000, f"{name} lost lines: {text.count(chr(10))}"
        results[name]["lines"].append(seconds)
for running in sessions.values():
    running.stop()
print(json.dumps(results))
