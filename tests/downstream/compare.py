"""Runs `use.py` on the fork and on pristine upstream, and compares the figures."""

import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path


HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
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
    results = {}
    print(f"\n{'library':12} {'version':10} {'figures':>8}   equal to upstream's")
    for name, mine in ours["libraries"].items():
        figures = mine["figures"]
        equal = figures == theirs["libraries"][name]["figures"]
        version = importlib.metadata.version(name)
        print(f"{name:12} {version:10} {len(figures):8}   {'yes' if equal else 'NO'}")
        results[name] = {"version": version, "figures": len(figures), "equal": equal}
    versions = {"equinox": ours["equinox"], "jax": importlib.metadata.version("jax")}
    path = ROOT / "build" / "downstream.json"
    path.write_text(
        json.dumps({"versions": versions, "libraries": results}, indent=1), "utf-8"
    )
    print(f"\nwrote {path.relative_to(ROOT)}")
    sys.exit(not all(row["equal"] for row in results.values()))


if __name__ == "__main__":
    main()
