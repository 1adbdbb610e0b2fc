"""Whoever gives no initialiser gets what pristine upstream gives, bit for bit."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from fork.upstream import environment, pinned, read_pin


PIN = read_pin()
HERE = Path(__file__).resolve().parent


def run(command: str, out: Path, cache: Path, path: Path | None = None) -> None:
    """Runs a command for the fork, or for upstream if `path` is where that is."""
    # What one has compiled need not be compiled by the other.
    env = environment(path) | {
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    python = [sys.executable, HERE / "record.py", command, out]
    done = subprocess.run(python, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    is_upstream = Path(done.stdout.strip()).is_relative_to(pinned(PIN))
    assert is_upstream == (path is not None)


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """Those of the fork and of upstream; and what each loads from the other."""
    ours, theirs = (tmp_path_factory.mktemp(name) for name in ("ours", "theirs"))
    cache = tmp_path_factory.mktemp("cache")
    run("save", theirs, cache, pinned(PIN))
    run("save", ours, cache)
    run("load", theirs, cache)
    run("load", ours, cache, pinned(PIN))
    read = lambda path: json.loads(path.read_text("utf-8"))
    return [read(x / f"{y}.json") for y in ("record", "loaded") for x in (ours, theirs)]


KINDS = ["arrays", "tree", "static", "print"] + [
    "jaxpr",
    "vmap_jaxpr",
    "eval_shape",
    "jit",
]


@pytest.mark.parametrize("kind", KINDS)
def test_same_as_upstream(records, kind):
    ours, theirs, _, _ = records
    assert ours.keys() == theirs.keys()
    compared = 0
    for title in theirs:
        assert ours[title].keys() == theirs[title].keys()
        if kind in theirs[title]:
            assert ours[title][kind] == theirs[title][kind], title
            compared += 1
    assert compared >= 15


def test_same_errors_as_upstream(records):
    # JAX itself refuses some combinations, for example random bits of complex dtypes.
    ours, theirs, _, _ = records
    errors = {title for title in theirs if "error" in theirs[title]}
    assert {x: ours[x] for x in errors} == {x: theirs[x] for x in errors}
    mistakes = {title for title in theirs if title.startswith("mistake ")}
    assert len(errors & mistakes) >= 35
    assert len(errors - mistakes) < 0.2 * len(theirs.keys() - mistakes)


def test_checkpoints_load_in_each_other(records):
    ours, theirs, loaded_by_theirs, loaded_by_ours = records
    assert loaded_by_ours.keys() == loaded_by_theirs.keys()
    assert len(loaded_by_ours) >= 100
    # Loading does not keep weak types.
    values = lambda arrays: [
        [path, dtype, shape, content] for path, (dtype, shape, _, content) in arrays
    ]
    for title in loaded_by_ours:
        assert loaded_by_ours[title] == loaded_by_theirs[title]
        assert values(loaded_by_ours[title]) == values(theirs[title]["arrays"])
        assert values(loaded_by_theirs[title]) == values(ours[title]["arrays"])
