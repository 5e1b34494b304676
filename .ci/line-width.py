"""Lists the lines of the repository's own files that are wider than 120 characters, and fails if there are any.

Rows of Markdown tables and addresses cannot be broken, so they may be wider. Carried crates keep their own form.
"""

import subprocess
import sys

WIDTH = 120
CARRIED = ("kernel/evcxr/", "kernel/zeromq/")
KINDS = (".md", ".py", ".rs", ".sh", ".toml", ".ci/run")

files = subprocess.run(["git", "ls-files", "-z"], check=True, stdout=subprocess.PIPE, text=True).stdout.split("\0")
wide = 0
for file in files:
    if not file.endswith(KINDS) or file.startswith(CARRIED):
        continue
    with open(file, encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            line = line.rstrip("\n")
            is_table_row = file.endswith(".md") and line.lstrip().startswith("|")
            if len(line) > WIDTH and not is_table_row and "://" not in line:
                wide += 1
                print(f"{file}:{number}: {len(line)} characters")
if wide:
    sys.exit(f"{wide} lines are wider than {WIDTH} characters")
