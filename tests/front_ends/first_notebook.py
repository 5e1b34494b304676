"""Executes the first notebook with nbclient and checks the results of its magics.

Argument: the notebook."""

import sys

import nbclient
import nbformat

notebook = nbformat.read(sys.argv[1], as_version=4)
nbclient.NotebookClient(notebook, timeout=600, kernel_name="tunebook").execute()
results = []
for cell in notebook.cells:
    for output in cell.get("outputs", []):
        assert output.output_type != "error", output
        result = output.get("data", {}).get("application/vnd.tunebook.v1+json")
        if result:
            results.append(result)
            assert result["version"] == 1
kinds = [result["kind"] for result in results]
assert kinds == [
    "devices", "workloads", "plan", "sweep", "isolation", "axis", "curves", "study", "study", "insight", "report"
], kinds
assert results[2]["lints"] == [], results[2]
sweep = results[3]
assert sum(sweep["trials"].values()) >= 24, sweep
assert sweep["trials"]["infeasible"] > 0, sweep
assert sweep["best"]["objective"] <= 0.04, sweep
assert all(point["objective"] is not None for point in results[4]["points"]), results[4]
print("executed:", sweep["trials"], "best", sweep["best"]["objective"])
