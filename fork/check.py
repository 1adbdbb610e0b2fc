"""Whether the edits apply to other releases and checkouts of upstream."""

import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from fork.edits import COMMITS
from fork.edits.commit import Commit
from fork.tree import apply, EditError, in_package
from fork.upstream import download, UpstreamError


# The oldest release that is looked at unless asked for another.
OLDEST = (0, 13, 0)


def releases() -> list[str]:
    """Every release on the package index from `OLDEST` on, oldest first."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    command = [*pip, "index", "versions", "equinox"]
    done = subprocess.run(command, capture_output=True, text=True)
    found = re.search(r"^Available versions: (.*)$", done.stdout, re.MULTILINE)
    if done.returncode != 0 or found is None:
        raise UpstreamError(f"cannot list releases:\n{done.stderr.strip()}")
    versions = [v for v in found[1].split(", ") if re.fullmatch(r"\d+(\.\d+)+", v)]
    return sorted((v for v in versions if _order(v) >= OLDEST), key=_order)


def check(target: str, commits: Sequence[Commit] = COMMITS) -> list[str | None]:
    """For each commit, the error that applying it raises, if any.

    `target` is the version of a release, or the path of a checkout (or any copy of
    one), of which the files are read as they stand. A release consists of the package
    only, and so the edits to documentation are left out.
    """
    is_checkout = Path(target).is_dir()
    if is_checkout:
        root, name = Path(target), target
        if not (root / "equinox" / "__init__.py").is_file():
            raise UpstreamError(f"{target} is not a checkout of Equinox")
    elif re.fullmatch(r"\d+(\.\d+)+\w*", target):
        root, name = download(target), f"equinox {target}"
    else:
        raise UpstreamError(f"{target} is neither a version nor a directory")

    texts: dict[str, str] = {}

    def read(path: str) -> str:
        return texts[path] if path in texts else (root / path).read_text("utf-8")

    def first_error(commit: Commit) -> str | None:
        errors = []
        texts.update(apply(replace(commit, edits=[]), read, name))
        # File by file: what one of them lacks is not to be held against later commits.
        for edits in commit.edits:
            if is_checkout or in_package([edits.path]):
                one_file = replace(commit, new_files=[], adds={}, edits=[edits])
                try:
                    texts.update(apply(one_file, read, name))
                except EditError as e:
                    errors.append(str(e))
        return errors[0] if errors else None

    return [first_error(commit) for commit in commits]


def table(results: dict[str, list[str | None]]) -> str:
    """One row for each target, and one column for each commit.

    A commit applies, or else there is the file, class and operation that does not.
    """
    rows = [["", *(f"{i + 1}" for i in range(len(COMMITS)))]]
    for target, errors in results.items():
        cells = ["applies" if e is None else _short(target, e) for e in errors]
        rows.append([target, *cells])
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()
        for row in rows
    ]
    legend = [f"{i + 1}: {commit.subject}" for i, commit in enumerate(COMMITS)]
    return "\n".join([*legend, "", *lines])


def _short(target: str, error: str) -> str:
    # Without what it applies to, and without the reason.
    error = error.removeprefix("equinox ").removeprefix(f"{target}: ")
    return error.rpartition(": ")[0].replace("equinox/nn/", "")


def _order(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))
