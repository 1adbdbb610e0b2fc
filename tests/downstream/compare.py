"""Runs `use.py` on the fork and on pristine upstream, and compares the figures.

Also shows what becomes of the arrays of each library's model in `reinitialise`.
"""

import importlib.metadata
import json
import re
import subprocess
import sys
from pathlib import Path


HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
RECORDED = ROOT / "docs" / "downstream.json"
sys.path.insert(0, str(ROOT))

from fork.upstream import environment, pinned, read_pin


def run(path=None):
    command = [sys.executable, "-W", "ignore", HERE / "use.py"]
    out = subprocess.run(
        command, env=environment(path), check=True, stdout=subprocess.PIPE
    ).stdout
    return json.loads(out)


def main():
    pin = read_pin()
    ours, theirs = run(), run(pinned(pin))
    assert ours["equinox"] == pin.fork_version and theirs["equinox"] == pin.version
    version = importlib.metadata.version
    recorded = json.loads(RECORDED.read_text("utf-8"))
    # Those that are not for this Python stay as they were recorded by another.
    is_current = recorded["equinox"] == ours["equinox"]
    used = re.findall(r"def use_(\w+)", (HERE / "use.py").read_text("utf-8"))
    old = recorded["libraries"] if is_current else {}
    results = {name: row for name, row in old.items() if name in used}
    kinds = ["arrays", "drawn", "left", "refused"]
    cells = lambda row: " ".join(f"{x:>7}" for x in row)
    print(f"\n{'library':14} {'version':8} {cells(['figures', 'equal', *kinds])}")
    for name, mine in ours["libraries"].items():
        figures = mine["figures"]
        equal = figures == theirs["libraries"][name]["figures"]
        row = {"version": version(name), "figures": len(figures), "equal": equal}
        row |= {"jax": version("jax"), **mine["reinitialise"]}
        results[name] = row
        counts = [len(figures), "yes" if equal else "NO", *map(row.get, kinds)]
        print(f"{name:14} {row['version']:8} {cells(counts)}")
        for layer, why in row["messages"].items():
            print(f"  {layer}: {why}")
    path = ROOT / "build" / "downstream.json"
    record = {"equinox": ours["equinox"], "libraries": results}
    path.write_text(json.dumps(record, indent=1), "utf-8")
    print(f"\nwrote {path.relative_to(ROOT)}")
    sys.exit(not all(results[name]["equal"] for name in ours["libraries"]))


if __name__ == "__main__":
    main()
