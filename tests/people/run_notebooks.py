"""Runs all Rust notebooks of a folder through the kernel and prints, cell by cell, what failed beside what the
recorded outputs say.

    python tests/people/run_notebooks.py FOLDER [--executable target/release/tunebook] [--timeout 300]

The Python needs nbclient; that of the tests has it (`cargo verify`). The notebooks run in a copy of the folder, so the
folder stays as it is. The exit status is 1 if a cell failed that has no recorded error, or shows nothing where it has
recorded outputs."""

import argparse
import json
import os
import pathlib
import re
import shutil
import sys
import tempfile

import nbclient
import nbformat

LONGEST = 20  # lines of an output that are printed


def is_rust(notebook):
    kernel = notebook.metadata.get("kernelspec", {})
    names = [kernel.get("language"), kernel.get("name"), notebook.metadata.get("language_info", {}).get("name")]
    return any(str(name).lower() in ("rust", "evcxr", "tunebook") for name in names)


def text_of(outputs):
    """What outputs say, as text without colours."""
    parts = []
    for output in outputs:
        if output.output_type == "stream":
            parts.append(output.text)
        elif output.output_type == "error":
            parts.append("\n".join(output.traceback) or f"{output.ename}: {output.evalue}")
        else:
            parts.append(output.data.get("text/plain") or f"[{', '.join(output.data)}]")
    return re.sub(r"\x1b\[[0-9;]*m", "", "".join(part if part.endswith("\n") else part + "\n" for part in parts))


def has_error(outputs):
    return any(output.output_type == "error" for output in outputs)


def shown(title, text):
    lines = text.strip("\n").splitlines() or ["(nothing)"]
    more = len(lines) - LONGEST
    print(f"    {title}:")
    for line in lines[:LONGEST] + ([f"… {more} more lines"] if more > 0 else []):
        print(f"      | {line}")


def judge(recorded, now):
    """What became of a cell, and whether that is a failure."""
    if has_error(now):
        return ("fails, as recorded", False) if has_error(recorded) else ("FAILS", True)
    if has_error(recorded):
        return "runs, and has a recorded error", False
    if text_of(recorded).strip() and not text_of(now).strip():
        return "SHOWS NOTHING", True
    return "runs", False


def run(path, timeout):
    """Runs a notebook. Returns the number of its code cells and of those that failed."""
    notebook = nbformat.read(path, as_version=4)
    if not is_rust(notebook):
        print(f"{path}: no Rust notebook")
        return 0, 0
    print(f"{path}:")
    cells = [(index, cell) for index, cell in enumerate(notebook.cells) if cell.cell_type == "code" and cell.source.strip()]
    recorded = {index: list(cell.outputs) for index, cell in cells}
    client = nbclient.NotebookClient(
        notebook, timeout=timeout, interrupt_on_timeout=True, allow_errors=True, kernel_name="tunebook",
        resources={"metadata": {"path": str(path.parent)}},
    )
    failed = ran = 0
    with client.setup_kernel():
        for index, cell in cells:
            try:
                client.execute_cell(cell, index)
            except nbclient.exceptions.DeadKernelError:
                print(f"  cell {index + 1} ENDS THE KERNEL; {len(cells) - ran - 1} cells behind it did not run")
                shown("code", cell.source)
                failed += len(cells) - ran
                break
            ran += 1
            what, is_failure = judge(recorded[index], cell.outputs)
            print(f"  cell {index + 1} {what}")
            if is_failure:
                failed += 1
                shown("code", cell.source)
                shown("now", text_of(cell.outputs))
                shown("recorded", text_of(recorded[index]))
    print(f"  {len(cells) - failed} of {len(cells)} cells run")
    return len(cells), failed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    default = pathlib.Path(__file__).resolve().parents[2] / "target/release/tunebook"
    parser.add_argument("--executable", type=pathlib.Path, default=default, help="the kernel (default: %(default)s)")
    parser.add_argument("--timeout", type=int, default=300, help="seconds for a cell (default: %(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        kernel = scratch / "jupyter/kernels/tunebook"
        kernel.mkdir(parents=True)
        argv = [str(options.executable.resolve()), "kernel", "--connection-file", "{connection_file}"]
        spec = {"argv": argv, "display_name": "Rust (Tunebook)", "language": "rust", "interrupt_mode": "message"}
        (kernel / "kernel.json").write_text(json.dumps(spec))
        os.environ["JUPYTER_PATH"] = str(scratch / "jupyter")
        os.environ["TUNEBOOK_HISTORY"] = ""
        copy = pathlib.Path(shutil.copytree(options.folder, scratch / options.folder.resolve().name))
        paths = [path for path in sorted(copy.rglob("*.ipynb")) if ".ipynb_checkpoints" not in path.parts]
        os.chdir(copy)
        results = [run(path.relative_to(copy), options.timeout) for path in paths]
    cells, failed = (sum(column) for column in zip(*results)) if results else (0, 0)
    print(f"{len(paths)} notebooks: {cells - failed} of {cells} cells run")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
