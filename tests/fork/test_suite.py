"""The comparison of upstream's tests, on reports that are made up."""

import sys

import pytest
from fork.__main__ import main
from fork.suite import compare, compare_suites, outcomes
from fork.upstream import UpstreamError


REPORT = """\
<testsuites><testsuite>
<testcase classname="test_nn" name="test_linear[1]" time="1.0" />
<testcase classname="test_nn" name="test_conv"><failure>no</failure></testcase>
<testcase classname="test_nn" name="test_gpu"><skipped message="no GPU" /></testcase>
<testcase classname="test_nn" name="test_setup"><error>no</error></testcase>
<testcase classname="test_nn" name="test_out"><system-out>x</system-out></testcase>
</testsuite></testsuites>
"""


def test_outcomes(tmp_path):
    report = tmp_path / "report.xml"
    report.write_text(REPORT, "utf-8")
    assert outcomes(report) == {
        "test_nn::test_linear[1]": "passed",
        "test_nn::test_conv": "failed",
        "test_nn::test_gpu": "skipped",
        "test_nn::test_setup": "error",
        "test_nn::test_out": "passed",
    }


def test_compare():
    ours = dict(a="passed", b="failed", c="failed", d="skipped", e="error")
    ours |= dict(s="skipped", new="passed")
    theirs = dict(a="passed", b="failed", c="passed", d="passed", e="error")
    theirs |= dict(s="skipped", gone="passed")
    assert compare([ours], [theirs]) == {
        "differs": {
            "c": ["failed", "passed"],
            "d": ["skipped", "passed"],
            "gone": ["absent", "passed"],
            "new": ["passed", "absent"],
        },
        "fails on both": ["b", "e"],
        "passed when run again": [],
        "skipped on both": ["s"],
    }
    # Those that failed were run again, on each side until they passed.
    again = dict(b="failed", c="failed", e="passed"), dict(b="failed", c="passed")
    found = compare([ours, *again], [theirs, dict(b="failed", e="passed")])
    assert found["differs"].keys() == {"d", "gone", "new"}
    assert found["fails on both"] == ["b"]
    assert found["passed when run again"] == ["c", "e"]
    assert not any(compare([dict(a="passed")], [dict(a="passed")]).values())


def test_no_checkout(tmp_path):
    with pytest.raises(UpstreamError, match="is not a checkout of upstream: no pyproj"):
        compare_suites(tmp_path, tmp_path / "scratch")
    assert not (tmp_path / "scratch").exists()


@pytest.mark.parametrize("command", ["suite", "review"])
def test_scratch_is_left_alone_if_there_is_no_checkout(tmp_path, monkeypatch, command):
    checkout, scratch = tmp_path / "none", tmp_path / "scratch"
    arguments = ["fork", command, str(checkout), "--scratch", str(scratch)]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit, match=f"error: .*{checkout}"):
        main()
    assert not scratch.exists()


@pytest.mark.parametrize("command", ["suite", "review"])
def test_scratch_must_be_new(tmp_path, monkeypatch, capsys, command):
    folder = str(tmp_path)
    monkeypatch.setattr(sys, "argv", ["fork", command, folder, "--scratch", folder])
    with pytest.raises(SystemExit):
        main()
    assert f"--scratch: {folder} exists already" in capsys.readouterr().err
