"""The patches, for a small checkout made of the pinned release; and the table."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fork.check import check, table
from fork.edits import COMMITS
from fork.series import SeriesError, write_series
from fork.tree import changed_files, EditError, in_package, new_files
from fork.upstream import pinned, read_pin, ROOT, UpstreamError


PIN = read_pin()
TRICKS = (
    "# Tricks\n\n## Custom parameter initialisation\n\nOld.\n\n## Others\n\nText.\n"
)
NAVIGATION = """\
nav:
    - API:
        - 'api/nn/inference.md'
        - 'api/nn/stateful.md'
        - 'api/x.md'
"""
ENVIRONMENT = {
    **{k: v for k, v in os.environ.items() if not k.startswith("GIT_")},
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
}
AUTHOR = ["-c", "user.name=Some One", "-c", "user.email=one@example.com"]


def git(directory: Path, *args) -> str:
    git = ["git", *AUTHOR, "-C", directory, *args]
    done = subprocess.run(git, capture_output=True, text=True, env=ENVIRONMENT)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def fork(*args, **kwargs) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fork", *map(str, args)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, **kwargs)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    path = tmp_path_factory.mktemp("pristine")
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(pinned(PIN) / "equinox", path / "equinox", ignore=ignore)
    (path / "docs").mkdir()
    (path / "docs" / "tricks.md").write_text(TRICKS, "utf-8")
    (path / "mkdocs.yml").write_text(NAVIGATION, "utf-8")
    git(path, "init", "--quiet", "--initial-branch=main")
    git(path, "add", ".")
    git(path, "commit", "--quiet", "--message=Base")
    return path


@pytest.fixture
def checkout(pristine, tmp_path):
    return Path(shutil.copytree(pristine, tmp_path / "checkout"))


def snapshot(directory: Path) -> dict[str, bytes]:
    """All that there is, also within `.git`."""
    files = (p for p in directory.rglob("*") if p.is_file())
    return {str(p.relative_to(directory)): p.read_bytes() for p in files}


def test_series_applies(checkout, tmp_path):
    before = snapshot(checkout)
    patches = write_series(checkout, tmp_path / "out")
    assert snapshot(checkout) == before
    assert len(patches) == len(COMMITS)
    git(checkout, "am", *patches)
    log = git(
        checkout,
        "log",
        "--reverse",
        "--format=%s%n%n%b%x00",
        f"main~{len(COMMITS)}..main",
    )
    for commit, message in zip(COMMITS, log.split("\0"), strict=False):
        assert message.strip() == f"{commit.subject}\n\n{commit.body}".strip()
    changed = set(git(checkout, "diff", "--name-only", f"main~{len(COMMITS)}").split())
    assert changed == set(changed_files()) | set(new_files())
    for path in new_files():
        assert (checkout / path).read_bytes() == (ROOT / path).read_bytes()
    navigation = (checkout / "mkdocs.yml").read_text("utf-8")
    for before, after in (("stateful", "init"), ("inference", "reinitialise")):
        line = "        - 'api/nn/{}.md'\n"
        assert line.format(before) + line.format(after) in navigation
    tricks = (checkout / "docs" / "tricks.md").read_text("utf-8")
    assert tricks.startswith(TRICKS.split("\n\n## Others")[0] + "\n\nNo surgery")
    assert tricks.endswith("```\n\n## Others\n\nText.\n")
    assert tricks.index("MLP") < tricks.index("eqx.nn.reinitialise")


def test_no_commit_depends_on_a_later_one(checkout, tmp_path):
    git(checkout, "am", *write_series(checkout, tmp_path / "out"))
    for num, commit in enumerate(COMMITS, start=1):
        git(checkout, "checkout", "--quiet", f"main~{len(COMMITS) - num}")
        later = {path for c in COMMITS[num:] for path in c.new_files}
        assert not any((checkout / path).exists() for path in later)
        for file in (checkout / "docs").rglob("*.md"):
            is_documented = "nn.reinitialise" in file.read_text("utf-8")
            assert not is_documented or num == len(COMMITS)
        # What is imported is there, and whatever is defined is used.
        new = [path for c in COMMITS[:num] for path in in_package(c.new_files)]
        package = "\n".join(
            x.read_text("utf-8") for x in checkout.rglob("equinox/nn/**/*.py")
        )
        for path in new:
            text = (checkout / path).read_text("utf-8")
            for name in re.findall(r"^(?:def|class) (\w*[a-z])\b", text, re.MULTILINE):
                assert len(re.findall(rf"\b{name}\b", package)) >= 2, name
        code = "import equinox as e; print(e.__file__)"
        command = [sys.executable, "-c", code]
        env = {**ENVIRONMENT, "PYTHONPATH": str(checkout)}
        done = subprocess.run(command, capture_output=True, text=True, env=env)
        assert done.returncode == 0, done.stderr
        assert Path(done.stdout.strip()).is_relative_to(checkout)


def test_number_of_commits(checkout, tmp_path):
    for num in (1, 2, 1):
        done = fork("series", checkout, "--output", tmp_path / "out", "--commits", num)
        assert done.returncode == 0, done.stderr
        patches = sorted((tmp_path / "out").iterdir())
        assert done.stdout.split() == [str(patch) for patch in patches]
        assert len(patches) == num
    for bad in (0, len(COMMITS) + 1):
        done = fork("series", checkout, "--output", tmp_path / "out", "--commits", bad)
        assert done.returncode != 0 and "--commits" in done.stderr


def test_without_identity(checkout, tmp_path):
    out = tmp_path / "out"
    env = {**ENVIRONMENT, "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    assert fork("series", checkout, "--output", out, env=env).returncode == 0
    first = snapshot(out)
    assert all(b"\nFrom: equinox-init <" in patch for patch in first.values())
    # The same each time.
    assert fork("series", checkout, "--output", out, env=env).returncode == 0
    assert snapshot(out) == first
    # Nor does it matter what else is configured.
    (tmp_path / ".gitconfig").write_text(
        "[user]\n  name = Me\n  email = me@example.com\n[commit]\n  gpgsign = true\n"
        "[diff]\n  noprefix = true\n[format]\n  suffix = .txt\n"
    )
    del env["GIT_CONFIG_GLOBAL"]
    assert fork("series", checkout, "--output", out, env=env).returncode == 0
    theirs = {name: text.decode() for name, text in snapshot(out).items()}
    assert theirs.keys() == first.keys()
    for name, text in theirs.items():
        assert "\nFrom: Me <me@example.com>\n" in text
        # All but the hash of the commit.
        pattern = r"\nFrom: .*"
        assert re.sub(pattern, "", text) == re.sub(pattern, "", first[name].decode())


def test_shallow_and_detached(checkout, tmp_path):
    git(checkout, "commit", "--quiet", "--allow-empty", "--message=More")
    shallow = tmp_path / "shallow"
    clone = ["clone", "--quiet", "--depth=1", f"file://{checkout}", shallow]
    git(tmp_path, *clone)
    git(shallow, "checkout", "--quiet", "--detach")
    git(shallow, "am", *write_series(shallow, tmp_path / "out"))


def refuse(checkout: Path, out: Path, match: str, error=SeriesError) -> None:
    before = snapshot(checkout)
    with pytest.raises(error, match=match):
        write_series(checkout, out)
    assert snapshot(checkout) == before
    assert not out.exists()
    assert [path.name for path in out.parent.glob("tmp*")] == []


def test_dirty_checkout(checkout, tmp_path):
    linear = checkout / "equinox" / "nn" / "_linear.py"
    linear.write_text(linear.read_text("utf-8") + "\n")
    refuse(checkout, tmp_path / "out", r"uncommitted changes:\n M equinox/nn/_linear")
    git(checkout, "add", linear)
    refuse(checkout, tmp_path / "out", r"uncommitted changes:\nM  equinox/nn/_linear")


def test_no_checkout(checkout, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    refuse(other, tmp_path / "out", "not a git checkout")
    refuse(checkout / "equinox", tmp_path / "out", "but a folder of")
    git(other, "init", "--quiet")
    refuse(other, tmp_path / "out", "not a checkout of Equinox")
    done = fork("series", tmp_path / "missing", "--output", tmp_path / "out")
    assert done.returncode != 0
    assert "missing is not a git checkout" in done.stderr
    assert "Traceback" not in done.stderr
    # This repository is itself no checkout of upstream.
    with pytest.raises(SeriesError, match="not a (git )?checkout"):
        write_series(ROOT, tmp_path / "out")


ANCHORS = [
    ("equinox/nn/_conv.py", "default_init(wkey", "draw(wkey", "Conv: replace", 0),
    ("equinox/nn/_rnn.py", "class LSTMCell", "class LSTM", "LSTMCell: find", 1),
    ("mkdocs.yml", "stateful.md", "state.md", "insert after", 0),
]


@pytest.mark.parametrize("path, old, new, match, num", ANCHORS)
def test_an_anchor_that_is_gone(checkout, tmp_path, path, old, new, match, num):
    file = checkout / path
    file.write_text(file.read_text("utf-8").replace(old, new))
    errors = check(str(checkout))
    assert [error is not None for error in errors] == [
        i == num for i in range(len(COMMITS))
    ]
    assert f"{checkout}: {path}: {match}" in errors[num]
    assert match in table({"here": errors}).replace("\n", " ")
    done = fork("check", checkout, PIN.version)
    assert done.returncode == 1
    assert f"error: {checkout}: {path}: {match}" in done.stderr
    [row] = [line for line in done.stdout.splitlines() if line.startswith(PIN.version)]
    assert row.split() == [PIN.version] + ["applies"] * len(COMMITS)

    git(checkout, "commit", "--quiet", "--all", "--message=Rename")
    refuse(checkout, tmp_path / "out", f"{path}: {match}", EditError)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "0001-Old.patch").write_text("", "utf-8")
    done = fork("series", checkout, "--output", tmp_path / "out")
    assert done.returncode != 0 and f"{path}: {match}" in done.stderr
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["0001-Old.patch"]


def test_a_file_that_is_gone(checkout, tmp_path):
    git(checkout, "rm", "--quiet", "equinox/nn/_mlp.py")
    git(checkout, "commit", "--quiet", "--message=Remove")
    refuse(checkout, tmp_path / "out", "_mlp.py: there is no such file", EditError)
    assert "_mlp.py: there is no such file" in (check(str(checkout))[0] or "")


def test_output_that_holds_something_else(checkout, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine", "utf-8")
    with pytest.raises(SeriesError, match="notes.txt"):
        write_series(checkout, out)
    assert [path.name for path in out.iterdir()] == ["notes.txt"]
    with pytest.raises(SeriesError, match="not a directory"):
        write_series(checkout, out / "notes.txt")


def test_interrupt(checkout, tmp_path):
    # A git that says when the patches are about to be made, and then hangs.
    real, fake, reached = shutil.which("git"), tmp_path / "bin", tmp_path / "reached"
    fake.mkdir()
    (fake / "git").write_text(
        "#!/bin/sh\n"
        f'case "$*" in *format-patch*) touch {reached}; exec sleep 600;; esac\n'
        f'exec {real} "$@"\n'
    )
    (fake / "git").chmod(0o755)
    env = {**ENVIRONMENT, "PATH": f"{fake}{os.pathsep}{ENVIRONMENT['PATH']}"}
    before = snapshot(checkout)
    command = [sys.executable, "-m", "fork", "series", str(checkout), "--output"]
    process = subprocess.Popen(
        [*command, str(tmp_path / "out")],
        cwd=ROOT,
        env=env,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not reached.exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate()
    assert process.returncode != 0
    assert "interrupted" in stderr and "Traceback" not in stderr
    assert snapshot(checkout) == before
    assert not (tmp_path / "out").exists()


def test_check_refuses_what_is_no_version(tmp_path):
    for bad in ("latest", "0.13.8/..", str(tmp_path / "missing")):
        with pytest.raises(UpstreamError, match="neither a version nor a directory"):
            check(bad)
    with pytest.raises(UpstreamError, match="not a checkout of Equinox"):
        check(str(tmp_path))
    with pytest.raises(UpstreamError, match="cannot download equinox 0.0.999"):
        check("0.0.999")


def test_check_leaves_the_checkout_as_it_is(checkout):
    before = snapshot(checkout)
    assert check(str(checkout)) == [None] * len(COMMITS)
    assert snapshot(checkout) == before
    assert set(in_package(changed_files())) < set(before)
