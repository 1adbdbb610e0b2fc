"""Builds the wheel, installs it into an empty environment, and looks inside."""

import hashlib
import json
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
from pathlib import Path
from zipfile import ZipFile

import pytest
from fork.tree import changed_files, in_package, new_files
from fork.upstream import metadata, package_files, pinned, read_pin, ROOT


PIN = read_pin()
BUILD = [sys.executable, "-m", "build"]
# With `build_env`.
BUILD_HERE = [*BUILD, "--no-isolation", "--skip-dependency-check"]


def run(*command, **kwargs):
    done = subprocess.run(command, capture_output=True, text=True, **kwargs)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def clean_copy(dest: Path) -> Path:
    """The project without what is built or ignored."""
    others = (".git", ".venv", "build", "dist", ".hypothesis", "__pycache__", ".*cache")
    shutil.copytree(
        ROOT, dest, ignore=shutil.ignore_patterns(*others), dirs_exist_ok=True
    )
    return dest


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return clean_copy(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="module")
def dist(project, tmp_path_factory):
    # Builds the source distribution, and from that the wheel.
    dist = tmp_path_factory.mktemp("dist")
    run(*BUILD, "--outdir", dist, project)
    return dist


@pytest.fixture(scope="module")
def wheel(dist):
    [wheel] = dist.glob("*.whl")
    return wheel


def test_wheel_holds_every_file(wheel):
    site = pinned(PIN)
    info = f"equinox-{PIN.fork_version}.dist-info"
    assert wheel.name == f"equinox-{PIN.fork_version}-py3-none-any.whl"
    with ZipFile(wheel) as archive:
        names = set(archive.namelist())
        theirs = {path.as_posix() for path in package_files(site)}
        files = {"METADATA", "RECORD", "WHEEL", "licenses/LICENSE", "licenses/NOTICE"}
        added = in_package(new_files())
        assert names == theirs | set(added) | {f"{info}/{file}" for file in files}
        for path in theirs - set(changed_files()):
            assert archive.read(path) == (site / path).read_bytes()
        for path in added:
            assert archive.read(path) == (ROOT / path).read_bytes()
        theirs = site / f"equinox-{PIN.version}.dist-info" / "licenses" / "LICENSE"
        assert archive.read(f"{info}/licenses/LICENSE") == theirs.read_bytes()
        notice = archive.read(f"{info}/licenses/NOTICE").decode()
        assert all(path in notice for path in in_package(changed_files()))


def test_metadata_is_that_of_upstream(wheel):
    theirs = metadata(pinned(PIN))
    with ZipFile(wheel) as archive:
        info = f"equinox-{PIN.fork_version}.dist-info"
        ours = archive.read(f"{info}/METADATA").decode().splitlines()
    requires = [line for line in ours if line.startswith("Requires-Dist: ")]
    assert sorted(requires) == sorted(f"Requires-Dist: {r}" for r in theirs.requires)
    assert f"Requires-Python: {theirs.metadata['Requires-Python']}" in ours
    assert "Name: equinox" in ours
    assert f"Version: {PIN.fork_version}" in ours


def test_builds_are_identical(dist, build_env, tmp_path):
    # The wheel not by way of the source distribution, and everything else different.
    project = clean_copy(tmp_path / "with a space, and ümlauts")
    # With what a run of the tests leaves behind, and a file that belongs to nobody.
    (project / ".hypothesis").mkdir()
    strays = (".env", ".hypothesis/examples", "notes.txt", "docs/.env", "fork/tree.py~")
    for name in strays:
        (project / name).write_text("not part of it", "utf-8")
    for path in (*project.rglob("*"), project):
        path.chmod(path.stat().st_mode & ~0o222)
    env = dict(build_env, TZ="Asia/Kathmandu")
    env.pop("HOME", None)
    build = [*BUILD_HERE, "--sdist", "--wheel", "--outdir", tmp_path, project]
    run(*build, env=env, umask=0o077)
    for first in dist.iterdir():
        second = tmp_path / first.name
        a, b = (hashlib.sha256(p.read_bytes()).hexdigest() for p in (first, second))
        assert a == b, first.name


def test_source_distribution_holds_no_upstream_file(dist):
    [sdist] = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "hatch_build.py", "LICENSE", "NOTICE"} <= names
    packaged = {n for n in names if n.startswith("equinox/") and n.endswith(".py")}
    assert packaged == set(in_package(new_files()))


INSIDE = """
import importlib.metadata, json, sys
import equinox as eqx, jax
third_party = [name for name in ("libcst", "ruff", "hatchling") if name in sys.modules]
linear = eqx.nn.Linear(2, 2, weight_init=eqx.nn.init.ones, key=jax.random.key(0))
print(json.dumps([
    eqx.__file__,
    eqx.__version__,
    importlib.metadata.version("equinox"),
    third_party,
    linear.weight.tolist(),
]))
"""


def environment(tmp_path: Path) -> Path:
    venv.create(tmp_path / "venv", with_pip=True)
    return tmp_path / "venv" / "bin" / "python"


def test_install(wheel, tmp_path):
    python = environment(tmp_path)
    run(python, "-m", "pip", "install", "-q", wheel)
    out = json.loads(run(python, "-c", INSIDE, cwd=tmp_path))
    assert Path(out[0]).is_relative_to(tmp_path)
    assert out[1:] == [PIN.fork_version, PIN.fork_version, [], [[1, 1], [1, 1]]]


def test_editable_install(tmp_path):
    project = clean_copy(tmp_path / "project")
    python = environment(tmp_path)
    # The dependencies are those of this environment.
    [site] = (tmp_path / "venv").glob("lib/python*/site-packages")
    (site / "zz.pth").write_text(sysconfig.get_path("purelib"), "utf-8")
    editable = ["--no-deps", "--editable", "."]
    run(python, "-m", "pip", "install", "-q", *editable, cwd=project)
    out = json.loads(run(python, "-c", INSIDE, cwd=tmp_path))
    assert out[2:] == [PIN.fork_version, [], [[1, 1], [1, 1]]]
    # Also from the project's directory, which has a folder of the same name.
    assert json.loads(run(python, "-c", INSIDE, cwd=project)) == out
    # A change to our own code is live.
    with (project / "equinox" / "nn" / "init.py").open("a", encoding="utf-8") as file:
        file.write("\nanswer = 42\n")
    code = "import equinox; print(equinox.nn.init.answer)"
    assert run(python, "-c", code, cwd=tmp_path) == "42\n"
    # After a change to an edit, the tests say so rather than run.
    tests = [python, "-m", "pytest", "-q", "tests/fork/test_release.py"]
    run(*tests, cwd=project)
    with (project / "fork" / "edits" / "linear.py").open("a", encoding="utf-8") as file:
        file.write("# Another edit.\n")
    done = subprocess.run(tests, capture_output=True, text=True, cwd=project)
    assert done.returncode == 2 and "run `make tree`" in done.stdout + done.stderr


def test_other_upstream_is_refused(build_env, tmp_path):
    project = clean_copy(tmp_path / "project")
    pyproject = project / "pyproject.toml"
    text = pyproject.read_text("utf-8")
    build = ["--wheel", "--outdir", tmp_path, project]

    pyproject.write_text(text.replace(PIN.digest, "0" * 64), "utf-8")
    here = [*BUILD_HERE, *build]
    done = subprocess.run(here, env=build_env, capture_output=True, text=True)
    assert done.returncode != 0
    assert (
        f"expected SHA-256 {'0' * 64}, found {PIN.digest}" in done.stdout + done.stderr
    )

    pyproject.write_text(
        text.replace(f"equinox==={PIN.version}", "equinox===0.13.6"), "utf-8"
    )
    done = subprocess.run([*BUILD, *build], capture_output=True, text=True)
    assert done.returncode != 0
    assert f"expected SHA-256 {PIN.digest}" in done.stdout + done.stderr
    assert not list(tmp_path.glob("*.whl"))
