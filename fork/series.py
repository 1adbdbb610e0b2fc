"""The pull request as patch files, for a git checkout of upstream."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from fork.edits import COMMITS
from fork.edits.commit import Commit
from fork.tree import apply


class SeriesError(Exception):
    """The series cannot be made of this checkout, or written to that directory."""


# For those who have not told git who they are.
NAME, EMAIL = "equinox-init", "equinox-init@users.noreply.github.com"


def write_series(
    checkout: Path, output: Path, commits: Sequence[Commit] = COMMITS
) -> list[Path]:
    """Writes one patch per commit, to apply with `git am` to the checkout's `HEAD`.

    All work is done in a temporary repository, which borrows the objects of the
    checkout. Nothing is written to the checkout, and nothing to `output` but all of the
    patches at once.
    """
    _check_checkout(checkout)
    with tempfile.TemporaryDirectory() as tmp:
        repository = Path(tmp) / "repository"
        patches = Path(tmp) / "patches"
        _commit(checkout, repository, commits)
        format_patch = ["format-patch", "--quiet", "--no-signature", "--zero-commit"]
        git(repository, *format_patch, f"-{len(commits)}", "-o", str(patches))
        return _replace_directory(patches, output)


def _check_checkout(checkout: Path) -> None:
    try:
        top = git(checkout, "rev-parse", "--show-toplevel").strip()
    except SeriesError as e:
        raise SeriesError(f"{checkout} is not a git checkout ({e})") from None
    if Path(top).resolve() != checkout.resolve():
        raise SeriesError(f"{checkout} is not a git checkout, but a folder of {top}")
    try:
        files = ["equinox/__init__.py", "equinox/nn/__init__.py"]
        git(checkout, "cat-file", "-e", f"HEAD:{files[0]}")
        git(checkout, "cat-file", "-e", f"HEAD:{files[1]}")
    except SeriesError:
        raise SeriesError(f"{checkout} is not a checkout of Equinox") from None
    changes = git(checkout, "status", "--porcelain", "--untracked-files=no")
    if changes:
        raise SeriesError(f"{checkout} has uncommitted changes:\n{changes.rstrip()}")


def _commit(checkout: Path, repository: Path, commits: Sequence[Commit]) -> None:
    objects = git(checkout, "rev-parse", "--git-path", "objects").strip()
    tree = git(checkout, "rev-parse", "HEAD^{tree}").strip()
    describe = ["describe", "--tags", "--always"]
    name = f"equinox {git(checkout, *describe).strip()}"
    env = _identity(checkout)

    repository.mkdir()
    git(repository, "init", "--quiet")
    alternates = repository / ".git" / "objects" / "info" / "alternates"
    alternates.write_text(f"{(checkout / objects).resolve()}\n", "utf-8")
    # File modes are kept as they are.
    git(repository, "config", "core.fileMode", "false")

    # Without its parents, which a shallow checkout does not have.
    base = git(repository, "commit-tree", tree, "-m", name, env=env).strip()
    git(repository, "reset", "--quiet", "--soft", base)
    git(repository, "read-tree", base)
    for commit in commits:
        texts = apply(commit, lambda path: _read(repository, path), name)
        for path, text in texts.items():
            (repository / path).parent.mkdir(parents=True, exist_ok=True)
            (repository / path).write_text(text, encoding="utf-8", newline="")
        git(repository, "update-index", "--add", "--", *texts)
        message = f"{commit.subject}\n\n{commit.body}"
        tree = git(repository, "write-tree", "--missing-ok").strip()
        parent = git(repository, "rev-parse", "HEAD").strip()
        commit_tree = ["commit-tree", tree, "-p", parent, "-F", "-"]
        new = git(repository, *commit_tree, env=env, text=message).strip()
        git(repository, "reset", "--quiet", "--soft", new)


def _read(repository: Path, path: str) -> str:
    try:
        return git(repository, "cat-file", "blob", f"HEAD:{path}")
    except SeriesError:
        raise FileNotFoundError(path) from None


def _identity(checkout: Path) -> dict[str, str]:
    """Who the commits are by, and when: the same each time, for the same checkout."""
    out = {}
    defaults = dict(NAME=NAME, EMAIL=EMAIL)
    date = git(checkout, "show", "--no-patch", "--format=%cI", "HEAD").strip()
    for part, default in defaults.items():
        config = ["git", "-C", str(checkout), "config", f"user.{part.lower()}"]
        done = subprocess.run(config, capture_output=True, encoding="utf-8")
        value = done.stdout.strip() or default
        out |= {f"GIT_AUTHOR_{part}": value, f"GIT_COMMITTER_{part}": value}
    return out | dict(GIT_AUTHOR_DATE=date, GIT_COMMITTER_DATE=date)


def _replace_directory(new: Path, output: Path) -> list[Path]:
    """Puts a directory in the place of another that has only patches, or of nothing."""
    if output.exists():
        if not output.is_dir():
            raise SeriesError(f"{output} is not a directory")
        others = sorted(p.name for p in output.iterdir() if p.suffix != ".patch")
        if others:
            raise SeriesError(
                f"{output} holds other files than patches, such as {others[0]}"
            )
    output.parent.mkdir(parents=True, exist_ok=True)
    # On the same file system, so that it can be moved in one step.
    with tempfile.TemporaryDirectory(dir=output.parent) as tmp:
        staged = Path(tmp) / "new"
        staged.mkdir()
        for patch in sorted(new.iterdir()):
            (staged / patch.name).write_bytes(patch.read_bytes())
        old = Path(tmp) / "old"
        try:
            if output.exists():
                output.rename(old)
            staged.rename(output)
        except BaseException:
            if old.exists() and not output.exists():
                old.rename(output)
            raise
    return sorted(output.iterdir())


def git(
    directory: Path, *args: str, env: dict[str, str] | None = None, text: str = ""
) -> str:
    """Runs git with no configuration and environment other than ours."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    ours = dict(
        GIT_CONFIG_GLOBAL=os.devnull,
        GIT_CONFIG_NOSYSTEM="1",
        GIT_OPTIONAL_LOCKS="0",  # Do not refresh the index of the checkout.
    )
    if shutil.which("git") is None:
        raise SeriesError("git is not installed")
    done = subprocess.run(
        ["git", "-c", "safe.directory=*", "-C", str(directory), *args],
        input=text,
        capture_output=True,
        encoding="utf-8",
        env={**inherited, **ours, **(env or {})},
    )
    if done.returncode != 0:
        raise SeriesError(f"git {args[0]}: {done.stderr.strip()}")
    return done.stdout
