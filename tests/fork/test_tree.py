"""The edits, applied to the pinned release."""

import ast
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from fork.edits import COMMITS
from fork.sizes import code_lines, table
from fork.tree import (
    changed_files,
    diff,
    EditError,
    in_package,
    is_out_of_date,
    new_files,
    package_texts,
    renew_tree,
    write_tree,
)
from fork.upstream import (
    digest,
    download,
    package_files,
    pinned,
    prove,
    read_pin,
    ROOT,
    tomllib,
    UpstreamError,
)
from packaging.requirements import Requirement


PIN = read_pin()


@pytest.fixture(scope="module")
def site():
    return pinned(PIN)


@pytest.fixture(scope="module")
def texts(site):
    """Those of the edited files of upstream."""
    texts = package_texts(site, PIN.version)
    return {path: texts[path] for path in in_package(changed_files())}


def test_writes_every_file(site, tmp_path):
    write_tree(site, PIN.version, tmp_path)
    ours = {path.as_posix() for path in package_files(tmp_path)}
    theirs = {path.as_posix() for path in package_files(site)}
    added = in_package(new_files())
    assert ours == theirs | set(added)
    assert theirs.isdisjoint(added)
    for path in theirs:
        is_same = (site / path).read_bytes() == (tmp_path / path).read_bytes()
        assert is_same == (path not in changed_files())
    for path in added:
        assert (ROOT / path).read_bytes() == (tmp_path / path).read_bytes()


def test_overwrites_nothing(site, tmp_path):
    (tmp_path / "equinox").mkdir()
    with pytest.raises(EditError, match="exists already"):
        write_tree(site, PIN.version, tmp_path)
    assert not list((tmp_path / "equinox").iterdir())


def docstrings(text: str) -> dict[str, list[str]]:
    out = {}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ClassDef):
            for method in [node, *node.body]:
                if isinstance(method, ast.ClassDef | ast.FunctionDef):
                    docstring = ast.get_docstring(method, clean=False) or ""
                    name = "" if method is node else f".{method.name}"
                    out[node.name + name] = docstring.splitlines()
    return out


def test_keeps_comments_and_docstrings(site, texts):
    for path, text in texts.items():
        old = (site / path).read_text("utf-8")
        # Those for the type checker aside.
        comments = lambda text: re.findall(r"#(?! pyright).*", text)
        assert comments(text) == comments(old)
        after = docstrings(text)
        for name, lines in docstrings(old).items():
            # In the same order, with nothing but whole lines in between.
            remaining = iter(after[name])
            assert all(line in remaining for line in lines), (path, name)


def test_sizes_are_those_of_the_pull_request(site):
    text = (ROOT / "docs" / "pull-request.md").read_text(encoding="utf-8")
    assert table(site) in text


def test_code_lines():
    source = '''
"""Docstring."""

x = """a
b"""  # Comment.
# Comment.


def f():
    """Docstring
    of two lines."""
    return (
        1,
    )
'''
    assert code_lines(source) == 6


def test_diff_applies(site, texts, tmp_path):
    shutil.copytree(site / "equinox", tmp_path / "equinox")
    apply = ["git", "apply", "--unsafe-paths", "-"]
    subprocess.run(
        apply, input=diff(site, PIN.version), text=True, cwd=tmp_path, check=True
    )
    for path, text in texts.items():
        assert (tmp_path / path).read_text("utf-8") == text
    for path in in_package(new_files()):
        assert (tmp_path / path).read_bytes() == (ROOT / path).read_bytes()


@pytest.mark.parametrize(
    "path, old, new, match",
    [
        ("_linear.py", "default_init(wkey", "draw(wkey", "Linear: replace .*default_"),
        ("_linear.py", "default_init(bkey", "draw(bkey", "Linear: replace .*bkey"),
        ("_linear.py", "- `key`: A", "- `rng`: A", "Linear: document before `key`"),
        ("_conv.py", "class Conv3d", "class Conv_3d", "Conv3d: find its `__init__`"),
        ("_mlp.py", "make_hidden_layer", "make", "MLP: .*`make_hidden_layer`"),
        ("_attention.py", "qkey, kkey", "kkey, qkey", "MultiheadAttention: insert"),
        ("_attention.py", "output_size,\n", "out_size,\n", "MultiheadAttention: forw"),
        ("_rnn.py", "ihkey, hhkey, bkey =", "a, b, c =", "LSTMCell: insert after `ih"),
        ("_embedding.py", "jrandom.normal(", "normal(", "Embedding: replace"),
        ("_normalisation.py", "jnp.zeros(chan", "jnp.full(chan", "GroupNorm: insert"),
        ("_batch_norm.py", "self.bias = ", "self.b = ", "BatchNorm: insert"),
    ],
)
def test_an_anchor_that_is_gone(site, tmp_path, path, old, new, match):
    shutil.copytree(site / "equinox", tmp_path / "equinox")
    file = tmp_path / "equinox" / "nn" / path
    assert old in file.read_text("utf-8")
    file.write_text(file.read_text("utf-8").replace(old, new))
    start = rf"^equinox 1\.2\.3: equinox/nn/{path}: "
    with pytest.raises(EditError, match=start + match):
        package_texts(tmp_path, "1.2.3")


def test_applying_twice_fails(site, tmp_path):
    write_tree(site, PIN.version, tmp_path)
    with pytest.raises(EditError):
        package_texts(tmp_path, PIN.version)


def test_proof(site, tmp_path):
    prove(site, PIN.version, PIN)
    with pytest.raises(UpstreamError, match=f"{PIN.version}.*has equinox 1.2.3"):
        prove(site, "1.2.3", PIN)
    # Something else in one of its files, or in what it requires.
    info = f"equinox-{PIN.version}.dist-info"
    for name in ("equinox/nn/_pool.py", f"{info}/METADATA"):
        copy = tmp_path / name.replace("/", "-")
        shutil.copytree(site, copy)
        path = copy / name
        requires = "Requires-Python: >=3.10"
        text = path.read_text("utf-8").replace(
            requires, "Requires-Dist: evil\n" + requires
        )
        path.write_text(text if name.endswith("METADATA") else text + "\n", "utf-8")
        found = digest(copy)
        with pytest.raises(UpstreamError, match=f"{PIN.digest}, found {found}"):
            prove(copy, PIN.version, PIN)


@pytest.mark.parametrize("name", ["evil.pth", "../../bin/evil", "{}/entry_points.txt"])
def test_proof_of_what_else_was_installed(site, tmp_path, name):
    info = f"equinox-{PIN.version}.dist-info"
    copy = shutil.copytree(site, tmp_path / "lib" / "site")
    with (copy / info / "RECORD").open("a", encoding="utf-8") as record:
        record.write(f"{name.format(info)},,\n")
    other = copy / name.format(info)
    other.parent.mkdir(exist_ok=True)
    other.write_text("", "utf-8")  # Newer Pythons leave out what is not there.
    with pytest.raises(UpstreamError, match="installed .* as well"):
        prove(copy, PIN.version, PIN)


def test_pin_does_not_allow_the_fork():
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    requires = map(Requirement, pyproject["build-system"]["requires"])
    [pin] = [r.specifier for r in requires if r.name == "equinox"]
    assert pin.contains(PIN.version) and not pin.contains(PIN.fork_version)


def test_download_of_another_wheel(tmp_path):
    with pytest.raises(UpstreamError, match=f"0{{64}}, found {PIN.wheel_digest}"):
        download(PIN.version, tmp_path, "0" * 64)
    assert not list(tmp_path.iterdir())


def test_tree_is_replaced_once_complete(site, tmp_path, monkeypatch):
    tree = tmp_path / "tree"
    renew_tree(site, PIN.version, tree)
    assert not is_out_of_date(tree)
    assert (tree / "equinox" / "nn" / "init.py").is_symlink()

    def fail(*args):
        raise EditError("no such place")

    monkeypatch.setattr("fork.tree.package_texts", fail)
    with pytest.raises(EditError):
        renew_tree(site, PIN.version, tree)
    assert (tree / "equinox" / "__init__.py").exists()
    assert list(tmp_path.iterdir()) == [tree]
    monkeypatch.setattr("fork.tree.made_from", lambda: "other edits")
    assert is_out_of_date(tree)


def test_notice_lists_the_changed_files():
    changed, added = (
        (ROOT / "NOTICE")
        .read_text("utf-8")
        .split("have been changed:")[1]
        .split("have been added")
    )
    find = lambda text: re.findall(r"^- (\S+)$", text, re.MULTILINE)
    assert find(changed) == in_package(changed_files())
    assert find(added) == in_package(new_files())


def test_commits_touch_what_they_add():
    for commit in COMMITS:
        assert commit.subject and commit.body.endswith("\n")
        assert all((ROOT / path).is_file() for path in commit.new_files)
        assert max(map(len, [commit.subject, *commit.body.splitlines()])) <= 88
        assert all(number in commit.body for number in ("#179", "#387", "#622"))


def test_each_file_belongs_to_one_commit():
    paths = [path for commit in COMMITS for path in commit.new_files]
    assert len(paths) == len(set(paths))
    edited = {edits.path for commit in COMMITS for edits in commit.edits}
    assert edited.isdisjoint(paths)


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines()]


def test_holds_no_upstream_code(site):
    """No tracked file repeats a run of upstream's lines."""
    length = 4
    trivial = re.compile(r"[\W_]*|from \S+ import .*|import .*|\w+(: \w+)?,|else:")
    runs = {}
    for path in package_files(site):
        if path.suffix == ".py":
            lines = [x for x in _lines((site / path).read_text("utf-8")) if x]
            for i in range(len(lines) - length + 1):
                run = tuple(lines[i : i + length])
                if sum(not trivial.fullmatch(line) for line in run) >= 3:
                    runs[run] = path
    assert len(runs) > 5000
    ls = ["git", "ls-files", "-z"]
    done = subprocess.run(ls, cwd=ROOT, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip("this is not a git checkout, so that there are no tracked files")
    for name in filter(None, done.stdout.split("\0")):
        path = Path(ROOT / name)
        # Of arrays there is only a file of quantiles.
        if not path.is_file() or name == "LICENSE" or path.suffix == ".npz":
            continue
        lines = [x for x in _lines(path.read_text("utf-8")) if x]
        for i in range(len(lines) - length + 1):
            run = tuple(lines[i : i + length])
            assert run not in runs, f"{name} repeats {runs[run]}: {run}"
