"""Checks the results in the executed notebook on a model of one's own.

Argument: the notebook."""

import sys

import nbformat

notebook = nbformat.read(sys.argv[1], as_version=4)
outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
assert all(output.output_type != "error" for output in outputs), outputs
data = [output.data for output in outputs if "data" in output]
results = [bundle["application/vnd.tunebook.v1+json"] for bundle in data if "application/vnd.tunebook.v1+json" in bundle]
kinds = [result["kind"] for result in results]
assert kinds == ["workloads", "sweep", "isolation", "final"], kinds
assert results[1]["trials"]["complete"] == 12, results[1]
assert results[1]["best"]["objective"] <= 0.05, results[1]
assert results[3]["uses"] == 1 and results[3]["metrics"]["test/error"] <= 0.15, results[3]
assert sum("image/png" in bundle for bundle in data) == 1, "the misclassified digits are shown as a picture"
print("found:", results[1]["best"], results[3]["metrics"])
