"""The examples in all documents and docstrings, and what the pull request says."""

import functools
import inspect
import json
import math
import re
import textwrap

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest
from fork.edits import COMMITS
from fork.upstream import ROOT


PULL_REQUEST = (ROOT / "docs" / "pull-request.md").read_text(encoding="utf-8")
DOCUMENTS = [
    "README.md",
    "docs/pull-request.md",
    "docs/api/nn/init.md",
    "docs/api/nn/reinitialise.md",
    "docs/fork.md",
    "docs/guide.md",
    "docs/migration.md",
]
DOCSTRINGS = [
    eqx.nn.reinitialise,
    *(getattr(eqx.nn.init, name) for name in dir(eqx.nn.init)),
]


def examples(text):
    found = re.findall(r"^( *)```python\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE)
    return [textwrap.dedent(code) for _, code in found]


def run(code):
    key = jax.random.PRNGKey(0)

    class Model(eqx.Module):
        encoder: eqx.nn.MLP
        cell: eqx.nn.LSTMCell

    model = Model(eqx.nn.MLP(4, 2, 8, 2, key=key), eqx.nn.LSTMCell(2, 3, key=key))
    names = dict(eqx=eqx, jax=jax, jnp=jnp, math=math, functools=functools)
    exec(code, names | dict(init=eqx.nn.init, key=key, model=model))


def examples_of(name):
    """Those of the guide need the ones before, and the other ones are independent."""
    found = examples((ROOT / name).read_text(encoding="utf-8"))
    return ["\n".join(found)] if name == "docs/guide.md" else found


ALL = [
    *((name, code) for name in DOCUMENTS for code in examples_of(name)),
    *(
        (getattr(x, "__name__", repr(x)), code)
        for x in DOCSTRINGS
        for code in examples(inspect.getdoc(x) or "")
    ),
]


@pytest.mark.parametrize("name, code", ALL, ids=[name for name, _ in ALL])
def test_examples(name, code):
    run(code)


def test_there_are_examples():
    assert [name for name, _ in ALL].count("docs/api/nn/init.md") >= 5
    assert {"reinitialise", "calculate_gain", *DOCUMENTS} <= {name for name, _ in ALL}


def test_examples_of_tricks():
    edits = [e for c in COMMITS for e in c.edits if e.path == "docs/tricks.md"]
    code = [code for e in edits for op in e.operations for code in examples(op.new)]
    assert len(code) == 2
    run("\n".join(code))


def test_the_use_cases():
    code = examples(PULL_REQUEST)
    assert len(code) == 2
    assert all("# Before" in x and "# After" in x for x in code)


def test_names_tests_that_exist():
    named = re.findall(r"`(tests/\S+\.py)::(test_\w+)`", PULL_REQUEST)
    assert len(named) >= 10
    for path, name in named:
        assert f"\ndef {name}(" in (ROOT / path).read_text(encoding="utf-8")


def test_picture_is_the_one_of_the_front_page():
    front = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (alt,) = re.findall(r"!\[(.*?)\]\(docs/digits.svg\)", readme, re.DOTALL)
    assert alt.replace("\n", " ") in front


def test_figures_of_readme():
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    load = lambda name: json.loads((ROOT / "docs" / f"{name}.json").read_text())
    bench = load("benchmarks")["transformer"]
    ratio = lambda figure: bench[figure]["init / tree_at"]
    assert "about two thirds of the time and of the memory" in text
    assert "That is about as much as describing the model" in text
    for figure in ("fresh", "peak memory"):
        assert abs(ratio(figure) - 2 / 3) < 0.1
        assert abs(bench[figure]["init / eval_shape"] - 1) < 0.1
    assert "`weight_init` takes about 1.3 times as long as `tree_at`" in text
    assert abs(ratio("all three") - 1.3) < 0.1
    suite, libraries = load("suite"), load("downstream")["libraries"]
    assert f"all {suite['num_tests']} of upstream's own tests" in text
    assert not suite["differs"]
    assert "seven libraries" in text and len(libraries) == 7
    assert all(library["equal"] for library in libraries.values())


def test_page_lists_every_public_name():
    page = (ROOT / "docs" / "api" / "nn" / "init.md").read_text(encoding="utf-8")
    aliases = [name for name in dir(eqx.nn.init) if name[:6] in ("xavier", "kaimin")]
    for name in set(dir(eqx.nn.init)).difference(aliases):
        assert re.search(rf"equinox\.nn\.init\.{name}\b", page), name
