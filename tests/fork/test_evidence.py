"""What judges the benchmarks, and what runs the tests on each Python."""

import json
import sys

import pytest
from benchmarks import bench
from tests import matrix


def test_bounds_and_noise(capsys):
    values = lambda a, b: {"init": a, "tree_at": b, "bare": b}
    fast, slow = bench.compare(values([1, 2], [4, 4])), bench.compare(values([4], [4]))
    assert fast["init / tree_at"] == 0.25 and fast["init / tree_at, median"] == 0.375
    assert fast["spread"] == 0.5 and slow["spread"] == 0
    figures = ("fresh", "peak memory", "again", "all three")
    results = {"machine": {"cores": 2}, "load": {"transformer": 2.5}}
    results["transformer"] = dict.fromkeys(figures, fast)
    assert bench.judge(results)
    said = capsys.readouterr().out
    assert "PAST" not in said and "the load was 2.50, with 2 cores" in said
    assert "transformer: again: half of the runs took over 50% more" in said
    results["transformer"]["fresh"] = slow
    assert not bench.judge(results)
    assert (
        "PAST transformer: fresh, init / tree_at: 1 <= 0.65" in capsys.readouterr().out
    )
    results = {"default": {"Linear, calls": {"fork / upstream": 1.0}}}
    results["default"]["Linear, jaxpr"] = {"identical": False}
    assert [value <= bound for _, value, bound in bench.bounds(results)] == [
        True,
        False,
    ]


def test_matrix_resumes(tmp_path, monkeypatch):
    outcomes = {"3.11": "1 failed, 2 passed in 1.00s"}
    ran = []

    def run(clone, version, is_oldest):
        ran.append((version, is_oldest))
        result = outcomes.get(version, "3 passed in 1.00s (0:00:01)")
        return {"python": version, "jax": "0.0", "result": result}

    def main():
        monkeypatch.setattr(sys, "argv", ["matrix.py", "3.10", "3.11", "3.99", "3.14"])
        with pytest.raises(SystemExit) as exit:
            matrix.main()
        return exit.value.code, json.loads(
            (tmp_path / "matrix.json").read_text("utf-8")
        )

    is_there = lambda name: None if name == "python3.99" else name
    monkeypatch.setattr(matrix, "FOLDER", tmp_path)
    monkeypatch.setattr(matrix, "run", run)
    monkeypatch.setattr(matrix, "output", lambda *args: "one")
    monkeypatch.setattr(matrix.shutil, "which", is_there)
    monkeypatch.setattr(matrix.subprocess, "call", lambda *args, **kwargs: 0)
    failed, results = main()
    assert failed and len(results["rows"]) == 5 and len(ran) == 5
    assert list(results["missing"]) == [
        "Python 3.99, oldest JAX",
        "Python 3.99, newest JAX",
        "Python 3.14, oldest JAX",
    ]
    # Only what failed is run again; and all of it, for another commit.
    outcomes.clear()
    failed, results = main()
    assert not failed and ran[5:] == [("3.11", True), ("3.11", False)]
    monkeypatch.setattr(matrix, "output", lambda *args: "other")
    main()
    assert len(ran) == 12
