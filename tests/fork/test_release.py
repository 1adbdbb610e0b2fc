"""What is checked before a release is built."""

import re
import sys

import pytest
from fork import release
from fork.upstream import read_pin, ROOT, tomllib
from packaging.requirements import Requirement


CHANGELOG = """\
# Changelog

## [1.2.3+init.2] - 2026-01-02

### Added

- More.

## [1.2.3+init.1] - Unreleased

- Less.
"""


def test_notes():
    assert release.notes(CHANGELOG, "1.2.3+init.2") == "### Added\n\n- More.\n"
    for version in ("1.2.3+init.1", "1.2.3", "1.2.3+init.3"):
        with pytest.raises(SystemExit, match="has no section"):
            release.notes(CHANGELOG, version)
    with pytest.raises(SystemExit, match="or two"):
        release.notes(2 * CHANGELOG, "1.2.3+init.2")


def test_pins_agree():
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    for requirement in map(Requirement, pyproject["build-system"]["requires"]):
        if pin := re.search(r"[\d.]+", str(requirement.specifier)):
            for name in ("build.in", "build.txt"):
                text = (ROOT / ".github" / name).read_text("utf-8")
                line = rf"^{requirement.name}=+{re.escape(pin[0])}(?![\d.])"
                assert re.search(line, text, re.MULTILINE), "run `make lock`"


def test_tag(monkeypatch, capsys):
    tag = f"v{read_pin().fork_version}"
    monkeypatch.setattr(sys, "argv", ["release", tag])
    release.main()
    assert capsys.readouterr().out.strip()
    monkeypatch.setattr(sys, "argv", ["release", "v0.0.1"])
    with pytest.raises(
        SystemExit, match=f"the tag of this version is {re.escape(tag)}"
    ):
        release.main()
