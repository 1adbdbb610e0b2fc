"""What is checked before a release is built."""

import sys

import pytest
from fork import release
from fork.upstream import read_pin


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


def test_tag(monkeypatch, capsys):
    tag = f"v{read_pin().fork_version}"
    monkeypatch.setattr(sys, "argv", ["release", tag])
    release.main()
    assert capsys.readouterr().out.strip()
    monkeypatch.setattr(sys, "argv", ["release", "v0.0.1"])
    with pytest.raises(SystemExit, match="the tag of this version is v0.13.8"):
        release.main()
