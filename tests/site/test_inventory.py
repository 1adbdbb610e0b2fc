"""Other documentation can link to every public name, by `objects.inv`."""

import inspect
import subprocess
import sys

import equinox as eqx
import pytest
from fork.upstream import ROOT


LAYERS = [
    name
    for name, x in vars(eqx.nn).items()
    if inspect.isclass(x) and "weight_init" in inspect.signature(x).parameters
]
NAMES = [
    "nn.reinitialise",
    *(f"nn.{name}" for name in LAYERS),
    *(f"nn.init.{name}" for name in dir(eqx.nn.init)),
]


def sphinx(path, names):
    inventory = ("https://example.org/", str(ROOT / "build" / "site" / "objects.inv"))
    conf = dict(
        extensions=["sphinx.ext.intersphinx"],
        nitpicky=True,
        intersphinx_mapping=dict(equinox=inventory),
    )
    lines = [f"{name} = {value!r}\n" for name, value in conf.items()]
    (path / "conf.py").write_text("".join(lines), "utf-8")
    roles = "".join(f"- :py:obj:`equinox.{name}`\n" for name in names)
    (path / "index.rst").write_text(f"Names\n=====\n\n{roles}", "utf-8")
    command = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going"]
    return subprocess.run(
        [*command, path, path / "html"], capture_output=True, text=True
    )


def test_all_names(tmp_path):
    done = sphinx(tmp_path, NAMES)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "html" / "index.html").read_text("utf-8")
    assert page.count('href="https://example.org/') == len(NAMES) >= 40


@pytest.mark.parametrize("name", ["nn.Liner", "nn.init.he"])
def test_other_names_warn(tmp_path, name):
    done = sphinx(tmp_path, [name])
    assert done.returncode != 0 and f"target not found: equinox.{name}" in done.stderr
