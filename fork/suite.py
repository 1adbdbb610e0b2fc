"""Runs upstream's own tests on the fork and on pristine upstream, and compares."""

import json
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path

from fork.series import git
from fork.upstream import environment, read_pin, ROOT, tomllib, UpstreamError


def outcomes(report: Path) -> dict[str, str]:
    """What became of each test, by a report in the format of JUnit."""
    found = {}
    for case in ElementTree.parse(report).iter("testcase"):
        names = [child.tag for child in case]
        names = [n for n in names if n in ("failure", "error", "skipped")] or ["passed"]
        found[f"{case.get('classname')}::{case.get('name')}"] = names[0]
    return found


def differences(ours: dict[str, str], theirs: dict[str, str]) -> dict[str, list[str]]:
    """The tests that came out otherwise, each with both outcomes."""
    return {
        name: [ours.get(name, "absent"), theirs.get(name, "absent")]
        for name in theirs | ours
        if ours.get(name) != theirs.get(name)
    }


def compare_suites(checkout: Path, scratch: Path) -> bool:
    """Prints what differs, writes `suite.json`, and returns whether nothing does.

    `scratch` is made anew. It holds a copy of the tests without the package, an
    environment with the fork and one with upstream, and what pytest said in each.
    """
    pin = read_pin()
    pyproject = checkout / "pyproject.toml"
    if not (checkout / "tests").is_dir() or not pyproject.is_file():
        raise UpstreamError(f"{checkout} is not a checkout of upstream")
    version = tomllib.loads(pyproject.read_text("utf-8"))["project"]["version"]
    if version != pin.version:
        raise UpstreamError(f"{checkout} is of {version}, and not of {pin.version}")
    commit = git(checkout, "describe", "--always", "--tags", "--dirty").strip()
    scratch.mkdir(parents=True)
    copy = scratch / "copy"
    shutil.copytree(checkout / "tests", copy / "tests")
    shutil.copy(checkout / "pyproject.toml", copy)
    frozen = scratch / "frozen.txt"
    results, counts = {}, {}
    for name, package, installed in (
        ("fork", str(ROOT), pin.fork_version),
        ("upstream", f"equinox==={pin.version}", pin.version),
    ):
        venv = scratch / name
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        python = str(venv / "bin" / "python")
        pip = [python, "-m", "pip", "--disable-pip-version-check"]
        install = [*pip, "install", "--quiet"]
        subprocess.run([*install, "--upgrade", "pip>=25.1"], check=True)
        group = f"--group={copy / 'pyproject.toml'}:tests"
        # The second environment has what the first has, but for the package itself.
        constraint = [f"--constraint={frozen}"] if frozen.exists() else []
        subprocess.run([*install, *constraint, package, group], check=True)
        freeze = [*pip, "list", "--format=freeze", "--exclude=equinox"]
        listed = subprocess.check_output(freeze, text=True)
        say_version = "import equinox; print(equinox.__version__)"
        imported = subprocess.check_output(
            [python, "-c", say_version], cwd=copy, env=environment(), text=True
        ).strip()
        if imported != installed:
            raise UpstreamError(f"the environment of the {name} has {imported}")
        if not frozen.exists():
            frozen.write_text(listed, "utf-8")
        elif listed != frozen.read_text("utf-8"):
            raise UpstreamError("the two environments do not have equal packages")
        print(f"{name}: running the tests, for some minutes", flush=True)
        report, log = scratch / f"{name}.xml", scratch / f"{name}.txt"
        pytest = [
            python,
            "-m",
            "pytest",
            "-p",
            "no:cacheprovider",
            f"--junitxml={report}",
        ]
        with log.open("w", encoding="utf-8") as file:
            subprocess.run(
                [*pytest, "tests"],
                cwd=copy,
                env=environment(),
                stdout=file,
                stderr=file,
            )
        results[name] = outcomes(report) if report.exists() else {}
        counts[name] = Counter(results[name].values())
        if not counts[name]["passed"] or counts[name]["error"]:
            raise UpstreamError(f"the tests could not be run on the {name}, see {log}")
        print(
            f"{name}: {', '.join(f'{n} {x}' for x, n in sorted(counts[name].items()))}"
        )
    differing = differences(results["fork"], results["upstream"])
    for test, (ours, theirs) in differing.items():
        print(f"differs: {test}: {ours} on the fork, {theirs} on upstream")
    if not differing:
        print("no test differs")
    packages = dict(line.split("==") for line in frozen.read_text("utf-8").split())
    summary = dict(
        version=pin.version,
        commit=commit,
        python=sys.version.split()[0],
        jax=packages["jax"],
        num_tests=len(results["fork"]),
        counts=counts,
        differs=differing,
    )
    (scratch / "suite.json").write_text(json.dumps(summary, indent=1) + "\n", "utf-8")
    return not differing
