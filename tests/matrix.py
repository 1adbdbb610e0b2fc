"""Runs `make test` on each Python, with the oldest JAX that is allowed and the newest.

All of one commit, in a clone, and each in an environment of its own. A combination that
was run is not run again: what was interrupted is resumed. Writes a JSON file.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path


ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "build" / "matrix"
PYTHONS = ["3.10", "3.11", "3.12", "3.13", "3.14"]
OLDEST = "0.4.38"
# That JAX was not built for this Python.
TOO_NEW = "3.14"


def output(*command, **kwargs):
    return subprocess.check_output(command, text=True, cwd=ROOT, **kwargs).strip()


def run(clone, version, is_oldest):
    """One row: the versions, and the last line of pytest."""
    name = f"{version}-{'oldest' if is_oldest else 'newest'}"
    venv, log = FOLDER / name, FOLDER / f"{name}.txt"
    shutil.rmtree(venv, ignore_errors=True)
    # Not as part of the `make` that called us.
    env = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    if is_oldest:
        constraint = FOLDER / "oldest.txt"
        constraint.write_text(f"jax=={OLDEST}\njaxlib=={OLDEST}\n", "utf-8")
        env["PIP_CONSTRAINT"] = constraint.as_uri()
    make = ["make", "test", f"PYTHON=python{version}", f"VENV={venv}"]
    with log.open("w", encoding="utf-8") as file:
        subprocess.run(make, cwd=clone, env=env, stdout=file, stderr=file)
    summaries = re.findall(r"^=+ (.* in .*) =+$", log.read_text("utf-8"), re.M)
    if not summaries:
        sys.exit(f"error: the tests did not run, see {log}")
    say = "import platform, jax; print(platform.python_version(), jax.__version__)"
    python, jax = output(venv / "bin" / "python", "-c", say).split()
    shutil.rmtree(venv)
    return {"python": python, "jax": jax, "result": summaries[-1]}


def all_passed(row):
    return re.fullmatch(r"\d+ passed in .*", row["result"]) is not None


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pythons", nargs="*", default=PYTHONS, metavar="VERSION")
    pythons = parser.parse_args().pythons
    commit = output("git", "rev-parse", "--short=9", "HEAD")
    FOLDER.mkdir(parents=True, exist_ok=True)
    path, clone = FOLDER / "matrix.json", FOLDER / "clone"
    results = json.loads(path.read_text("utf-8")) if path.exists() else {}
    if results.get("commit") != commit:
        results = {"commit": commit, "rows": {}, "missing": {}}
    shutil.rmtree(clone, ignore_errors=True)
    output("git", "clone", "--quiet", ROOT, clone)
    rows, missing = results["rows"], results["missing"]
    for version in pythons:
        for is_oldest in (True, False):
            name = f"Python {version}, {'oldest' if is_oldest else 'newest'} JAX"
            if name in rows and all_passed(rows[name]):
                continue
            python = f"python{version}"
            if version == TOO_NEW and is_oldest:
                missing[name] = f"JAX {OLDEST} was not built for it"
            # Some are there by name only.
            elif shutil.which(python) is None or subprocess.call([python, "-V"]):
                missing[name] = "not installed where this was measured"
            else:
                print(f"{name}: running", flush=True)
                rows[name] = run(clone, version, is_oldest)
                missing.pop(name, None)
            print(f"{name}: {rows.get(name) or missing[name]}", flush=True)
            path.write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    sys.exit(not rows or not all(map(all_passed, rows.values())))


if __name__ == "__main__":
    main()
