"""The documents: their examples, what those print, tables, pictures and links."""

import functools
import inspect
import math
import re
import subprocess
import sys
import textwrap
from xml.etree import ElementTree

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest
from benchmarks.bench import bounds
from docs import pictures, tables
from fork.edits import COMMITS
from fork.upstream import environment, ROOT
from tests.matrix import all_passed


PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
TEXTS = {path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in PAGES}
# Those that are written for upstream, where examples are without imports.
WITHOUT_IMPORTS = ["docs/pull-request.md", *(x for x in TEXTS if "docs/api/" in x)]
PULL_REQUEST = TEXTS["docs/pull-request.md"]
DOCSTRINGS = {
    name: inspect.getdoc(x)
    for module, names in {
        eqx.nn: ["reinitialise"],
        eqx.nn.init: dir(eqx.nn.init),
    }.items()
    for name in names
    for x in [getattr(module, name)]
    if inspect.getdoc(x)
}


def blocks(text):
    """The language and the text of each block of code."""
    pattern = r"^( *)```(\w*)\n(.*?)^ *```$"
    found = re.findall(pattern, text, re.DOTALL | re.MULTILINE)
    return [(language, textwrap.dedent(code)) for _, language, code in found]


def prose(text):
    return re.sub(r"```.*?```", "", text, flags=re.DOTALL)


def examples(text):
    return [code for language, code in blocks(text) if language == "python"]


def names():
    key = jax.random.PRNGKey(0)

    class Model(eqx.Module):
        encoder: eqx.nn.MLP
        cell: eqx.nn.LSTMCell

    model = Model(eqx.nn.MLP(4, 2, 8, 2, key=key), eqx.nn.LSTMCell(2, 3, key=key))
    modules = dict(eqx=eqx, jax=jax, jnp=jnp, math=math, functools=functools)
    return modules | dict(key=key, model=model)


RUN_ELSEWHERE = [*WITHOUT_IMPORTS, "docs/recipes.md"]
SCRIPTS = [x for x in TEXTS if examples(TEXTS[x]) and x not in RUN_ELSEWHERE]


@pytest.mark.parametrize("page", SCRIPTS)
def test_examples_of_page(page, tmp_path):
    """Runs them in order, as one file, and compares what they print."""
    pattern = r"^```python\n(.*?)^```$(?:\n\n^```text\n(.*?)^```$)?"
    found = re.findall(pattern, TEXTS[page], re.DOTALL | re.MULTILINE)
    assert len(found) == len(examples(TEXTS[page]))
    code, printed = zip(*found)
    script = tmp_path / "page.py"
    script.write_text('print("---")\n'.join(code), encoding="utf-8")
    command = [sys.executable, script.name]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    # Errors have notes from Python 3.11 on, and older JAX draws other values.
    if sys.version_info >= (3, 11) and jax.config.jax_threefry_partitionable:  # pyright: ignore
        for out, expected in zip(done.stdout.split("---\n"), printed, strict=True):
            assert out.strip() == expected.strip()


@pytest.mark.parametrize("page", WITHOUT_IMPORTS)
def test_examples_for_upstream(page):
    text = TEXTS[page]
    if page == "docs/api/nn/reinitialise.md":  # It uses a layer of the other page.
        text = TEXTS["docs/api/nn/init.md"] + text
    exec("\n".join(examples(text)), names())


@pytest.mark.parametrize("name", DOCSTRINGS)
def test_examples_of_docstrings(name):
    for code in examples(DOCSTRINGS[name]):
        exec(code, names())


def test_there_are_examples():
    assert len(examples(TEXTS["README.md"])) >= 5
    assert len(examples(TEXTS["docs/api/nn/init.md"])) >= 5
    assert set(DOCSTRINGS) >= {"reinitialise", "calculate_gain", "he_normal"}
    languages = {language for text in TEXTS.values() for language, _ in blocks(text)}
    assert languages == {"python", "text", "bash", "toml"}
    assert not any("~~~" in text for text in TEXTS.values())


def test_every_initialiser_has_an_example_and_a_formula():
    undocumented = {"zeros", "ones", "draw", "calculate_gain", "Initializer"}
    page = TEXTS["docs/api/nn/init.md"]
    for name in set(dir(eqx.nn.init)) - undocumented:
        assert examples(DOCSTRINGS[name]) and "$" in DOCSTRINGS[name], name
    for name in dir(eqx.nn.init):
        assert re.search(rf"^::: equinox\.nn\.init\.{name}$", page, re.MULTILINE), name


def test_examples_of_tricks():
    edits = [e for c in COMMITS for e in c.edits if e.path == "docs/tricks.md"]
    code = [code for e in edits for op in e.operations for code in examples(op.new)]
    assert len(code) == 2
    exec("\n".join(code), names())


def test_code_of_example():
    code = examples(TEXTS["docs/inside.md"])[0].partition("@jax.custom_vjp")[2]
    assert len(code) > 1000
    assert code.strip() in (ROOT / "examples" / "inside.py").read_text("utf-8")


def test_the_use_cases():
    code = examples(PULL_REQUEST)
    assert len(code) == 2
    assert all("# Before" in x and "# After" in x for x in code)


def test_names_tests_that_exist():
    named = re.findall(r"`(tests/\S+\.py)::(test_\w+)`", PULL_REQUEST)
    assert len(named) >= 10
    for path, name in named:
        assert f"\ndef {name}(" in (ROOT / path).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", TEXTS)
def test_commands(page):
    """Those of `make` that a page names."""
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for target in re.findall(r"(?:`|^)make ([a-z-]+)", TEXTS[page], re.MULTILINE):
        assert re.search(rf"^([a-z -]+ )?{target}( [a-z -]+)?:", makefile, re.MULTILINE)


def cells(row):
    return len(re.split(r"(?<!\\)\|", row.strip())) - 2


@pytest.mark.parametrize("name", [*TEXTS, *DOCSTRINGS])
def test_rows_of_tables(name):
    text = (TEXTS | DOCSTRINGS)[name]
    for table in re.findall(r"(?:^ *\|.*\n)+", text + "\n", re.MULTILINE):
        head, *rows = table.strip().splitlines()
        assert re.fullmatch(r"\s*(\| -+:? )+\|", rows[0]), head
        assert [cells(row) for row in rows] == [cells(head)] * len(rows), head


@pytest.mark.parametrize("page", tables.TABLES)
def test_tables_are_up_to_date(page):
    assert tables.written(page) == TEXTS[f"docs/{page}"], "run `make tables`"


def test_pictures_are_up_to_date():
    assert list(pictures.out_of_date()) == [], "run `make pictures`"


@pytest.mark.parametrize("path", [*ROOT.glob("docs/pictures/*")], ids=lambda x: x.stem)
def test_pictures_are_legible(path):
    """On white and on black; and each is shown, with a text that describes it."""

    def luminance(colour):
        values = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [
            ((x + 0.055) / 1.055) ** 2.4 if x > 0.04 else x / 12.92 for x in values
        ]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    svg = path.read_text("utf-8")
    root = ElementTree.fromstring(svg)
    parents = {child: parent for parent in root.iter() for child in parent}
    texts = [x for x in root.iter() if x.tag.endswith("}text")]
    for text in texts:
        of_group = parents[text].get("style", "")
        assert f"fill: {pictures.GREY}" in text.get("style", of_group), text.text
    assert texts
    colours = set(re.findall(r"\b(?:fill|stroke)[:=] ?\"?([^;\"]+)", svg))
    for colour in colours - {"none"}:
        assert re.fullmatch("#[0-9a-f]{6}", colour)
        on_white = 1.05 / (luminance(colour) + 0.05)
        on_black = (luminance(colour) + 0.05) / 0.05
        assert min(on_white, on_black) > (4.5 if colour == pictures.GREY else 3), colour
    shown = re.compile(rf"!\[([^\]]+)\]\((docs/)?pictures/{path.name}\)")
    alts = [match[1] for text in TEXTS.values() for match in shown.finditer(text)]
    assert len(alts) == 1 and len(alts[0]) > 40


def slug(heading):
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading.strip())
    return re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", TEXTS)
def test_links(page):
    """As a git host has them. (Those to the API are tested on the built site.)"""
    text = prose(TEXTS[page])
    assert not re.search(r"\]\[", text) or "docs/api/" in page
    for target in re.findall(r"\]\(([^)\s]+)", text):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        file = ((ROOT / page).parent / path).resolve() if path else ROOT / page
        assert file.is_file() and file.is_relative_to(ROOT), target
        if anchor and not anchor.startswith("equinox."):
            text_there = prose(file.read_text("utf-8"))
            headings = re.findall(r"^#+ (.*)$", text_there, re.MULTILINE)
            assert anchor in map(slug, headings), target


def test_pages_are_plain_markdown():
    """Nothing but the API is made while the site is built."""
    for page, text in TEXTS.items():
        text = prose(text)
        assert not re.search(
            r"^ *(!!!|\?\?\?|===|;*--8<--|<\w)|\{ *[#.:]", text, re.MULTILINE
        )
        if page not in ("docs/layers.md", *WITHOUT_IMPORTS):
            assert ":::" not in text


def test_figures_of_readme():
    text = " ".join(TEXTS["README.md"].split())
    load = lambda name: tables.load(f"{name}.json")
    bench = load("benchmarks")["transformer"]
    ratio = lambda figure, other: bench[figure][f"init / {other}"]
    assert "takes about 0.6 times as long as building it first" in text
    assert round(ratio("fresh", "tree_at"), 1) == 0.6
    assert "and about two thirds of the memory" in text
    assert abs(ratio("peak memory", "tree_at") - 2 / 3) < 0.05
    assert (
        "takes as much memory as with `weight_init`, which then takes about 1.1" in text
    )
    assert abs(ratio("peak memory", "eval_shape") - 1) < 0.1
    assert round(ratio("fresh", "eval_shape"), 1) == 1.1
    assert (
        "`weight_init` takes about 1.1 times the CPU time of `tree_at`, or 1.2" in text
    )
    assert round(ratio("all three", "tree_at"), 1) == 1.1
    assert round(bench["all three"]["clock"]["init / tree_at"], 1) == 1.2
    suites, libraries = load("suite")["runs"], load("downstream")["libraries"]
    number = suites["v0.13.8, Python 3.11"]["num_tests"]
    assert f"all {number} of upstream's own tests" in text
    assert not any(suite["differs"] for suite in suites.values())
    assert "eleven libraries" in text and len(libraries) == 11
    assert all(library["equal"] for library in libraries.values())


def test_versions_of_readme():
    rows = tables.load("matrix.json")["rows"].values()
    minor = lambda version: tuple(map(int, version.split(".")[:2]))
    pythons = sorted(minor(row["python"]) for row in rows)
    jaxs = sorted((minor(row["jax"]), row["jax"]) for row in rows)
    claim = "Python {}.{} to {}.{}, and with JAX from {} to {}.{}"
    claim = claim.format(*pythons[0], *pythons[-1], jaxs[0][1], *jaxs[-1][0])
    assert claim in " ".join(TEXTS["README.md"].split())
    assert all(map(all_passed, rows))


def test_promises():
    # Of the figures that are shown. `make bench --judge` says so of new ones.
    for title, value, bound in bounds(tables.load("benchmarks.json")):
        assert value <= bound, title
