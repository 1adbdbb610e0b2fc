"""Runs upstream's own tests on pristine upstream and with the edits, and compares."""

import json
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path

from fork.series import git
from fork.tree import write_tree
from fork.upstream import environment, read_pin, ROOT, UpstreamError


# Failing tests are run up to so many times: some of upstream's measure time.
NUM_TRIES = 3
FILES = ["pyproject.toml", "README.md", "LICENSE"]  # Which an installation needs.


def outcomes(report: Path) -> dict[str, str]:
    """What became of each test, by a report in the format of JUnit."""
    found = {}
    for case in ElementTree.parse(report).iter("testcase"):
        names = [child.tag for child in case]
        names = [n for n in names if n in ("failure", "error", "skipped")] or ["passed"]
        outcome = names[0].replace("failure", "failed")
        found[f"{case.get('classname')}::{case.get('name')}"] = outcome
    return found


def is_bad(outcome: str) -> bool:
    return outcome in ("failed", "error")


def last(tries: list[dict[str, str]]) -> dict[str, str]:
    """What came of each test in the end."""
    return {name: outcome for found in tries for name, outcome in found.items()}


def compare(ours: list[dict[str, str]], theirs: list[dict[str, str]]) -> dict:
    """What differs, what is bad or skipped on both, and what only failed at first.

    Each is of one package: the outcomes of all tests, and then of those that were run
    again.
    """
    mine, other = last(ours), last(theirs)
    names = sorted(mine | other)
    pair = lambda name: [mine.get(name, "absent"), other.get(name, "absent")]
    passed_again = lambda tries: [
        name
        for name, x in last(tries).items()
        if is_bad(tries[0].get(name, "passed")) and not is_bad(x)
    ]
    return {
        "differs": {name: pair(name) for name in names if len(set(pair(name))) == 2},
        "fails on both": [n for n in names if all(map(is_bad, pair(n)))],
        "passed when run again": sorted({*passed_again(ours), *passed_again(theirs)}),
        "skipped on both": [n for n in names if pair(n) == ["skipped"] * 2],
    }


def install(name: str, checkout: Path, scratch: Path) -> str:
    """Installs the package of a checkout, with the edits for the `fork`, and what its
    tests need. Returns the Python that has it. The tests are beside it."""
    folder, venv, frozen = scratch / name, scratch / f"{name}-venv", scratch / "frozen"
    if name == "fork":
        write_tree(checkout, str(checkout), folder)
    else:
        shutil.copytree(checkout / "equinox", folder / "equinox")
    shutil.copytree(checkout / "tests", folder / "tests")
    for path in FILES:
        shutil.copy(checkout / path, folder)
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    python = str(venv / "bin" / "python")
    pip = [python, "-m", "pip", "--disable-pip-version-check"]
    get = [*pip, "install", "--quiet"]
    subprocess.run([*get, "--upgrade", "pip>=25.1"], check=True)
    group = f"--group={folder / 'pyproject.toml'}:tests"
    # The second environment has what the first has, but for the package itself.
    constraint = [f"--constraint={frozen}"] if frozen.exists() else []
    subprocess.run([*get, *constraint, str(folder), group], check=True)
    # So that what is tested is what was installed.
    shutil.rmtree(folder / "equinox")
    freeze = [*pip, "list", "--format=freeze", "--exclude=equinox"]
    listed = subprocess.check_output(freeze, text=True)
    if not frozen.exists():
        frozen.write_text(listed, "utf-8")
    elif listed != frozen.read_text("utf-8"):
        raise UpstreamError("the two environments do not have equal packages")
    say = [python, "-c", "import equinox; print(hasattr(equinox.nn, 'init'))"]
    said = subprocess.check_output(say, cwd=folder, env=environment(), text=True)
    if said.strip() != str(name == "fork"):
        raise UpstreamError(f"the environment of the {name} has the other package")
    return python


def run_tests(python: str, folder: Path) -> list[dict[str, str]]:
    """The outcomes of all tests, and then of those that failed, until none does."""
    tries = []
    again = ["--last-failed", "--last-failed-no-failures=none"]
    for number in range(NUM_TRIES):
        report, log = folder / f"{number}.xml", folder / f"{number}.txt"
        pytest = [python, "-m", "pytest", "tests", f"--junitxml={report}"]
        pytest += ["-o", "cache_dir=cache", *(again if tries else [])]
        with log.open("w", encoding="utf-8") as file:
            subprocess.run(
                pytest, cwd=folder, env=environment(), stdout=file, stderr=file
            )
        found = outcomes(report) if report.exists() else {}
        if not tries and "passed" not in found.values():
            raise UpstreamError(f"the tests could not be run, see {log}")
        tries.append(found)
        if not any(map(is_bad, found.values())):
            break
    if "error" in last(tries).values():
        raise UpstreamError(f"some tests could not be set up, see {folder}")
    return tries


def compare_suites(checkout: Path, scratch: Path) -> bool:
    """Prints what differs, writes `suite.json`, and returns whether nothing does.

    `scratch` is made anew. For upstream and for the fork it holds the tests, an
    environment, and what pytest said.
    """
    for path in (*FILES, "tests", "equinox"):
        if not (checkout / path).exists():
            raise UpstreamError(f"{checkout} is not a checkout of upstream: no {path}")
    commit = git(checkout, "describe", "--always", "--tags", "--dirty").strip()
    scratch.mkdir(parents=True)
    tries, counts = {}, {}
    for name in ("fork", "upstream"):
        python = install(name, checkout, scratch)
        print(f"{name}: running the tests, for some minutes", flush=True)
        tries[name] = run_tests(python, scratch / name)
        counts[name] = Counter(last(tries[name]).values())
        said = ", ".join(f"{n} {x}" for x, n in sorted(counts[name].items()))
        print(f"{name}: {said}", flush=True)
    found = compare(tries["fork"], tries["upstream"])
    for kind, tests in found.items():
        print(f"{kind}: {', '.join(tests) if tests else 'none'}")
    versions = dict(
        line.split("==") for line in (scratch / "frozen").read_text("utf-8").split()
    )
    # Beside what was recorded of other checkouts, and by other Pythons.
    fork_version = read_pin().fork_version
    recorded = json.loads((ROOT / "docs" / "suite.json").read_text("utf-8"))
    runs = recorded["runs"] if recorded["fork"] == fork_version else {}
    major, minor, *_ = sys.version_info
    runs[f"{commit}, Python {major}.{minor}"] = dict(
        commit=commit,
        python=sys.version.split()[0],
        jax=versions["jax"],
        num_tests=len(tries["fork"][0]),
        counts=counts,
        **found,
    )
    text = json.dumps({"fork": fork_version, "runs": runs}, indent=1) + "\n"
    (scratch / "suite.json").write_text(text, "utf-8")
    return not found["differs"]
