"""Applies the edits to upstream's files: a directory in, a directory or a diff out."""

import difflib
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from fork.codemod import CodemodError
from fork.edits import COMMITS
from fork.edits.commit import Commit
from fork.upstream import package_files, ROOT


class EditError(Exception):
    """An edit does not apply to this version of upstream, or cannot be written."""


def changed_files(commits: Sequence[Commit] = COMMITS) -> list[str]:
    """Upstream's files that are edited."""
    return sorted({edits.path for commit in commits for edits in commit.edits})


def new_files(commits: Sequence[Commit] = COMMITS) -> list[str]:
    """The package's files that upstream does not have."""
    return sorted({path for commit in commits for path in commit.package_files})


def edited(
    site: Path, version: str, commits: Sequence[Commit] = COMMITS
) -> dict[str, str]:
    """The new text of each edited file of the package in `site`."""
    texts = {path: (site / path).read_text() for path in changed_files(commits)}
    for commit in commits:
        for edits in commit.edits:
            try:
                texts[edits.path] = edits.apply(texts[edits.path])
            except CodemodError as e:
                raise EditError(f"equinox {version}: {edits.path}: {e}") from None
    return {path: formatted(text, path) for path, text in texts.items()}


def formatted(text: str, path: str) -> str:
    """Formats as upstream does: imports sorted and used, then the formatter."""
    ruff = [sys.executable, "-m", "ruff"]
    options = ["--quiet", f"--config={ROOT / 'pyproject.toml'}"]
    stdin = [f"--stdin-filename={ROOT / path}", "-"]
    for command in (["check", "--fix-only", "--select=I001,F401"], ["format"]):
        done = subprocess.run(
            [*ruff, *command, *options, *stdin],
            input=text,
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            raise EditError(f"{path}: cannot be formatted:\n{done.stderr.strip()}")
        text = done.stdout
    return text


def write_tree(site: Path, version: str, dest: Path, *, link: bool = False) -> None:
    """Writes the forked package to `dest/equinox`, which must not exist yet.

    With `link=True` the new files are links to those in this repository, so that an
    installation of the tree follows them.
    """
    if (dest / "equinox").exists():
        raise EditError(f"{dest / 'equinox'} exists already")
    texts = edited(site, version)
    for path in package_files(site):
        (dest / path).parent.mkdir(parents=True, exist_ok=True)
        if path.as_posix() in texts:
            (dest / path).write_text(texts[path.as_posix()])
        else:
            shutil.copyfile(site / path, dest / path)
    for path in new_files():
        if link:
            (dest / path).symlink_to(ROOT / path)
        else:
            shutil.copyfile(ROOT / path, dest / path)


def diff(site: Path, version: str) -> str:
    """The unified diff from the package in `site` to the fork, new files included."""
    pairs = [
        (path, (site / path).read_text(), text)
        for path, text in edited(site, version).items()
    ]
    pairs += [(path, None, (ROOT / path).read_text()) for path in new_files()]
    out = []
    for path, old, new in sorted(pairs, key=lambda pair: pair[0]):
        lines = difflib.unified_diff(
            (old or "").splitlines(keepends=True),
            new.splitlines(keepends=True),
            "/dev/null" if old is None else f"a/{path}",
            f"b/{path}",
        )
        new_file = ["new file mode 100644\n"] if old is None else []
        out += [f"diff --git a/{path} b/{path}\n", *new_file, *lines]
    return "".join(out)
