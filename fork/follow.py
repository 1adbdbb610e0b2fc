"""Follows a release of upstream: does what a machine can, and says what is left."""

import datetime
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from fork.check import check, table
from fork.series import git
from fork.suite import compare_suites
from fork.tree import changed_files, file_diff
from fork.upstream import (
    digest,
    download,
    fetch,
    package_files,
    pinned,
    read_pin,
    requirements,
    ROOT,
    UpstreamError,
)


def repin(project: Path, version: str, contents: str, wheel: str) -> None:
    """Pins another release in a copy of this repository, as the first revision."""
    old = read_pin(project)
    new = f"{version}+init.1"
    today = datetime.date.today().isoformat()
    section = f"## [{new}] - {today}\n\n- Follows Equinox {version}.\n\n"
    for path, replacements in {
        "pyproject.toml": {
            f"equinox==={old.version} ;": f"equinox==={version} ;",
            old.digest: contents,
            old.wheel_digest: wheel,
            f"\nrevision = {old.revision}\n": "\nrevision = 1\n",
        },
        ".github/build.in": {f"equinox==={old.version}": f"equinox==={version}"},
        "CHANGELOG.md": {
            f"## [{old.fork_version}]": f"{section}## [{old.fork_version}]"
        },
    }.items():
        text = (project / path).read_text("utf-8")
        for before, after in replacements.items():
            assert text.count(before) == 1, (path, before)
            text = text.replace(before, after)
        (project / path).write_text(text, "utf-8")


def run_make(project: Path, target: str, log: Path) -> bool:
    """Runs a target in a copy of this repository, and says how it came out."""
    make = ["make", target, f"PYTHON={sys.executable}", "VENV=.venv"]
    # Not as part of the `make` that called us.
    env = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    with log.open("w", encoding="utf-8") as file:
        done = subprocess.run(make, cwd=project, env=env, stdout=file, stderr=file)
    passed = done.returncode == 0
    failed = re.findall(r"^(?:FAILED|ERROR) .*", log.read_text("utf-8"), re.MULTILINE)
    says = f"{'pass' if passed else 'FAIL'}  make {target}, see {log}"
    print(says, *failed, sep="\n      ", flush=True)
    return passed


def changes(old: Path, new: Path) -> dict[str, str]:
    """The diff of each file that changed between two packages."""
    read = lambda file: file.read_text("utf-8") if file.is_file() else None
    paths = sorted({*package_files(old), *package_files(new)})
    diffs = {
        path.as_posix(): file_diff(path.as_posix(), read(old / path), read(new / path))
        for path in paths
    }
    return {path: text for path, text in diffs.items() if text}


def report(old: Path, new: Path, changed: Iterable[str]) -> list[str]:
    """What a person has to look at, of what changed between two packages."""
    lines = []
    for path in changed:
        if path.startswith("equinox/nn/"):
            kind = "changed" if (new / path).exists() else "gone"
            kind = kind if (old / path).exists() else "new"
            lines.append(f"{path}: {kind}{' (edited)' * (path in changed_files())}")
    before, after = requirements(old), requirements(new)
    lines += [f"no longer {x}" for x in before if x not in after]
    return lines + [f"now {x}" for x in after if x not in before]


def follow(version: str, scratch: Path, checkout: Path | None = None) -> bool:
    """Tries the fork on another release, and returns whether all passed.

    `scratch` is made anew. It holds the proposed change, what changed upstream, a clone
    of this repository with the change made, and a log of each command in there.
    """
    if git(ROOT, "status", "--porcelain", "--untracked-files=no"):
        raise UpstreamError("there are uncommitted changes, which would not be tried")
    errors = check(version)
    print(table({version: errors}), flush=True)
    if any(errors):
        print("\n" + "\n".join(error for error in errors if error))
        return False
    pin = read_pin()
    old, new = pinned(pin), download(version)
    scratch.mkdir(parents=True)
    with tempfile.TemporaryDirectory(dir=scratch) as tmp:
        _, wheel = fetch(version, Path(tmp))

    diff, changed = scratch / "upstream.diff", changes(old, new)
    diff.write_text("".join(changed.values()), "utf-8")
    print(f"\nto look at, from {pin.version} to {version}, in {diff}:")
    for line in report(old, new, changed) or ["nothing that concerns layers"]:
        print(f"- {line}")
    print(f"\nhow many lines name {pin.version}:")
    for line in git(ROOT, "grep", "--count", "-F", pin.version).splitlines():
        print(f"- {line}")

    project, patch = scratch / "project", scratch / "pin.patch"
    git(ROOT, "clone", "--quiet", str(ROOT), str(project))
    repin(project, version, digest(new), wheel)
    print("\nwith the new pin:", flush=True)
    passed = run_make(project, "lock", scratch / "lock.txt")
    patch.write_text(git(project, "diff"), "utf-8")
    for target in ("lint", "test", "downstream"):
        passed &= run_make(project, target, scratch / f"{target}.txt")
    if checkout is not None:
        passed &= compare_suites(checkout, scratch / "suite")
    print(f"\nto pin it: git apply {shlex.quote(str(patch))}")
    return passed
