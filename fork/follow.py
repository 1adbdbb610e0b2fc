"""Follows a release of upstream: does what a machine can, and says what is left."""

import difflib
import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from fork.check import check, table
from fork.series import git
from fork.suite import compare_suites
from fork.tree import changed_files
from fork.upstream import (
    digest,
    download,
    fetch,
    metadata,
    package_files,
    pinned,
    read_pin,
    REQUIREMENTS,
    ROOT,
)


COMMANDS = ("lint", "test", "downstream")


def repinned(text: str, version: str, contents: str, wheel: str) -> str:
    """`pyproject.toml` with another pin, as the first revision of the fork of it."""
    for pattern, new in (
        (r'(?<="equinox===)[\w.]+', version),
        (r'(?<=^upstream-wheel-sha256 = ")\w+', wheel),
        (r'(?<=^upstream-sha256 = ")\w+', contents),
        (r"(?<=^revision = )\d+", "1"),
    ):
        text, count = re.subn(pattern, new, text, flags=re.MULTILINE)
        assert count == 1, pattern
    return text


def changes(old: Path, new: Path, paths: list[str]) -> str:
    """The diff of these files between two packages."""
    read = lambda site, path: (
        (site / path).read_text("utf-8").splitlines(keepends=True)
        if (site / path).is_file()
        else []
    )
    return "".join(
        line
        for path in paths
        for line in difflib.unified_diff(read(old, path), read(new, path), path, path)
    )


def report(old: Path, new: Path) -> list[str]:
    """What a person has to look at, of what changed between two packages."""
    before, after = ({*map(Path.as_posix, package_files(x))} for x in (old, new))
    lines = []
    for path in sorted(before | after):
        if path.startswith("equinox/nn/") and changes(old, new, [path]):
            kind = "gone" if path not in after else "changed"
            kind = "new" if path not in before else kind
            lines.append(f"{path}: {kind}{' (edited)' * (path in changed_files())}")
    requires = lambda site: {
        f"{name}: {value}"
        for name in REQUIREMENTS
        for value in metadata(site).metadata.get_all(name, [])
    }
    lines += [f"no longer {x}" for x in sorted(requires(old) - requires(new))]
    return lines + [f"now {x}" for x in sorted(requires(new) - requires(old))]


def follow(version: str, scratch: Path, checkout: Path | None = None) -> bool:
    """Tries the fork on another release, and returns whether all passed.

    `scratch` is made anew. It holds the proposed change, what changed upstream, a clone
    of this repository with the change made, and a log of each command in there.
    """
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
    project, patch = scratch / "project", scratch / "pin.patch"
    git(ROOT, "clone", "--quiet", str(ROOT), str(project.resolve()))
    pyproject = project / "pyproject.toml"
    text = repinned(pyproject.read_text("utf-8"), version, digest(new), wheel)
    pyproject.write_text(text, "utf-8")
    patch.write_text(git(project, "diff"), "utf-8")
    print(f"\nthe new pin, in {patch}:\n\n{patch.read_text('utf-8')}", flush=True)

    passed = True
    for command in COMMANDS:
        log = scratch / f"{command}.txt"
        make = ["make", command, f"PYTHON={sys.executable}", "VENV=.venv"]
        # Not as part of the `make` that called us.
        env = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFL"))}
        with log.open("w", encoding="utf-8") as file:
            done = subprocess.run(make, cwd=project, env=env, stdout=file, stderr=file)
        failed = re.findall(r"^(?:FAILED|ERROR) .*", log.read_text("utf-8"), re.M)
        passed &= done.returncode == 0
        says = "pass" if done.returncode == 0 else "FAIL"
        print(f"{says}  make {command}, see {log}", *failed, sep="\n      ", flush=True)
    if checkout is not None:
        passed &= compare_suites(checkout, scratch / "suite")

    diff = scratch / "upstream.diff"
    paths = sorted({p.as_posix() for x in (old, new) for p in package_files(x)})
    diff.write_text(changes(old, new, paths), "utf-8")
    names = git(ROOT, "grep", "--line-number", "--fixed-strings", pin.version)
    print(f"\nto look at, from {pin.version} to {version}, in {diff}:")
    for line in report(old, new) or ["nothing that concerns layers"]:
        print(f"- {line}")
    print(f"\nto change, as it names {pin.version}:")
    for line in names.splitlines():
        print(f"- {':'.join(line.split(':')[:2])}")
    print(f"\nto make the change: git apply {shlex.quote(str(patch))}")
    return passed
