"""What is proposed for another release of upstream, and what is said of it."""

import shutil

from fork.follow import changes, follow, repin, report
from fork.release import notes
from fork.upstream import Pin, pinned, read_pin, ROOT


def test_new_pin(tmp_path):
    (tmp_path / ".github").mkdir()
    for name in ("pyproject.toml", "CHANGELOG.md", ".github/build.in"):
        shutil.copy(ROOT / name, tmp_path / name)
    repin(tmp_path, "1.2.3", "a" * 64, "b" * 64)
    assert read_pin(tmp_path) == Pin("1.2.3", "a" * 64, "b" * 64, 1)
    assert "\nequinox===1.2.3\n" in (tmp_path / ".github/build.in").read_text("utf-8")
    text = (tmp_path / "CHANGELOG.md").read_text("utf-8")
    assert notes(text, "1.2.3+init.1") == "- Follows Equinox 1.2.3.\n"


def test_what_to_look_at(tmp_path):
    old, new = pinned(read_pin()), tmp_path / "new"
    assert report(old, old, changes(old, old)) == []
    shutil.copytree(old, new)
    nn = new / "equinox" / "nn"
    (nn / "_new.py").write_text("x = 1\n", "utf-8")
    (nn / "_pool.py").unlink()
    for name in ("_dropout.py", "_linear.py"):
        with (nn / name).open("a", encoding="utf-8") as file:
            file.write("x = 1\n")
    (new / "equinox" / "_tree.py").write_text("", "utf-8")
    [metadata] = new.glob("*.dist-info/METADATA")
    text = metadata.read_text("utf-8")
    lines = [x for x in text.splitlines() if x.startswith("Requires-Dist: wadler")]
    metadata.write_text(text.replace(lines[0], "Requires-Dist: other"), "utf-8")
    assert report(old, new, changes(old, new)) == [
        "equinox/nn/_dropout.py: changed",
        "equinox/nn/_linear.py: changed (edited)",
        "equinox/nn/_new.py: new",
        "equinox/nn/_pool.py: gone",
        f"no longer {lines[0]}",
        "now Requires-Dist: other",
    ]


def test_stops_at_an_edit_that_does_not_apply(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("fork.follow.git", lambda *args: "")  # Nothing is changed.
    assert not follow("0.13.4", tmp_path / "scratch")
    assert "equinox 0.13.4: equinox/nn/_mlp.py: " in capsys.readouterr().out
    assert not (tmp_path / "scratch").exists()
