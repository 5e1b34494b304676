"""Checks the results in the executed notebook on the batch size.

Argument: the notebook."""

import sys

import nbformat

notebook = nbformat.read(sys.argv[1], as_version=4)
outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
assert all(output.output_type != "error" for output in outputs), outputs
data = [output.data for output in outputs if "data" in output]
results = [bundle["application/vnd.tunebook.v1+json"] for bundle in data if "application/vnd.tunebook.v1+json" in bundle]
kinds = [result["kind"] for result in results]
assert kinds == ["throughput", "scaling", "axis", "noise_scale", "sweep", "curves"], kinds
steps = {point["batch_size"]: point["steps"] for point in results[1]["points"] if point["valid"]}
assert len(steps) >= 4 and min(steps.values()) == min(steps[size] for size in steps if size >= 64), steps
assert 5 <= results[3]["critical_batch_size"] <= 200, results[3]
assert any("noise_scale" in trial["metrics"] for trial in results[5]["trials"]), results[5]
for bundle in data:
    if "application/vnd.tunebook.v1+json" in bundle:
        assert "application/vnd.plotly.v1+json" in bundle and "data:image/svg+xml" in bundle["text/html"]
print("found:", steps, results[1]["fit"], results[3]["critical_batch_size"])
