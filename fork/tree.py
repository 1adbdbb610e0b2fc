"""Applies the edits to upstream's files: a directory in, a directory or a diff out."""

import difflib
import functools
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from fork.codemod import CodemodError, without_functions
from fork.edits import COMMITS
from fork.edits.commit import Commit
from fork.upstream import package_files, ROOT, sums


class EditError(Exception):
    """An edit does not apply to this version of upstream, or cannot be written."""


def new_files(commits: Sequence[Commit] = COMMITS) -> list[str]:
    """The files that upstream does not have."""
    return sorted({path for commit in commits for path in commit.new_files})


def changed_files(commits: Sequence[Commit] = COMMITS) -> list[str]:
    """Upstream's files that are edited."""
    paths = {edits.path for commit in commits for edits in commit.edits}
    return sorted(paths.difference(new_files(commits)))


def in_package(paths: Iterable[str]) -> list[str]:
    """Those that are part of the installed package, and not just of the repository."""
    return [path for path in paths if path.startswith("equinox/")]


def apply(commit: Commit, read: Callable[[str], str], name: str) -> dict[str, str]:
    """The new text of each file that a commit adds or edits.

    Starts from what `read` returns for the path of a file, which is that of upstream
    `name` with the commits before this one applied.
    """
    texts = {path: own_text(path, commit) for path in [*commit.new_files, *commit.adds]}
    for edits in commit.edits:
        path = edits.path
        try:
            text = edits.apply(read(path))
        except FileNotFoundError:
            raise EditError(f"{name}: {path}: there is no such file") from None
        except CodemodError as e:
            raise EditError(f"{name}: {path}: {e}") from None
        texts[path] = formatted(text, path) if path.endswith(".py") else text
    return texts


def read_own(path: str) -> str:
    """The text of a new file, as it stands in this repository."""
    return (ROOT / path).read_text(encoding="utf-8")


def own_text(path: str, commit: Commit) -> str:
    """The text of a new file as of a commit: without what later ones add to it."""
    text = read_own(path)
    subjects = [c.subject for c in COMMITS]
    later = COMMITS[subjects.index(commit.subject) + 1 :]
    names = [name for c in later for name in c.adds.get(path, ())]
    return formatted(without_functions(text, names), path) if names else text


def package_texts(site: Path, version: str) -> dict[str, str]:
    """The new text of each file of the package in `site` that is added or edited."""
    texts: dict[str, str] = {}

    def read(path: str) -> str:
        return texts[path] if path in texts else (site / path).read_text("utf-8")

    for commit in COMMITS:
        commit = replace(
            commit,
            new_files=in_package(commit.new_files),
            adds={path: commit.adds[path] for path in in_package(commit.adds)},
            edits=[edits for edits in commit.edits if in_package([edits.path])],
        )
        texts.update(apply(commit, read, f"equinox {version}"))
    return texts


@functools.cache
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
            encoding="utf-8",
        )
        if done.returncode != 0:
            raise EditError(f"{path}: cannot be formatted:\n{done.stderr.strip()}")
        text = done.stdout
    return text


def made_from() -> str:
    """The sums of what a tree is made from, without the files that it links to."""
    paths = [ROOT / "pyproject.toml", *sorted((ROOT / "fork").rglob("*.py"))]
    return sums(ROOT, [path.relative_to(ROOT) for path in paths])


def is_out_of_date(dest: Path) -> bool:
    """Whether a tree was made from something other than what is there now."""
    record = dest / "made-from"
    return not record.exists() or record.read_text("utf-8") != made_from()


def renew_tree(site: Path, version: str, dest: Path) -> None:
    """Replaces the tree of an editable installation, once the new one is complete."""
    dest.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=dest.parent) as tmp:
        new, old = Path(tmp) / "new", Path(tmp) / "old"
        write_tree(site, version, new, link=True)
        (new / "made-from").write_text(made_from(), "utf-8")
        try:
            if dest.exists():
                dest.rename(old)
            new.rename(dest)
        finally:
            if old.exists() and not dest.exists():
                old.rename(dest)


def write_tree(site: Path, version: str, dest: Path, *, link: bool = False) -> None:
    """Writes the forked package to `dest/equinox`, which must not exist yet.

    With `link=True` the new files are links to those in this repository, so that an
    installation of the tree follows them.
    """
    if (dest / "equinox").exists():
        raise EditError(f"{dest / 'equinox'} exists already")
    texts = package_texts(site, version)
    for path in package_files(site):
        (dest / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(site / path, dest / path)
    for path, text in texts.items():
        (dest / path).parent.mkdir(parents=True, exist_ok=True)
        if link and path in new_files() and text == read_own(path):
            (dest / path).symlink_to(ROOT / path)
        else:
            (dest / path).write_text(text, encoding="utf-8")


def file_diff(path: str, old: str | None, new: str | None) -> str:
    """The unified diff of a file, which may be new or gone; empty if it is the same."""
    lines = difflib.unified_diff(
        (old or "").splitlines(keepends=True),
        (new or "").splitlines(keepends=True),
        "/dev/null" if old is None else f"a/{path}",
        "/dev/null" if new is None else f"b/{path}",
    )
    mode = "new file mode 100644\n" if old is None else ""
    mode = "deleted file mode 100644\n" if new is None else mode
    return "" if old == new else f"diff --git a/{path} b/{path}\n{mode}{''.join(lines)}"


def diff(site: Path, version: str) -> str:
    """The unified diff from the package in `site` to the fork, new files included."""
    old = lambda path: (
        None if path in new_files() else (site / path).read_text("utf-8")
    )
    texts = sorted(package_texts(site, version).items())
    return "".join(file_diff(path, old(path), new) for path, new in texts)
