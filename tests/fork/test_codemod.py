"""Each operation: a text before, a text after; and each way in which it can fail."""

import textwrap

import pytest
from fork.codemod import (
    AddLambdaParameter,
    AddParameters,
    AppendToSection,
    CodemodError,
    Document,
    Edit,
    FileEdits,
    Forward,
    InsertAfter,
    InsertLines,
    LineEdits,
    LineOperation,
    Operation,
    Replace,
    ReplaceStatement,
)
from fork.tree import formatted


BEFORE = '''\
from .a import b


class House(Base):
    # A comment on the outside.
    def __init__(
        self,
        size: int,
        *,
        key: Key,  # A comment on the key.
    ):
        """**Arguments:**

        - `size`: The size.
        - `key`: The key,
            over two lines.

        And more.
        """
        # A comment on the inside.
        a, c = split(key)
        if size == 0:
            lim = 1.0
        else:
            lim = 2.0
        make = lambda k: Door(size, width, key=k)
        self.door = b(a, size, lim)
        self.roof = Roof(size, size, steep=True, key=c)
        self.wall = Wall(size, b(c, size, lim), key=a)


class Hut(House):
    def __init__(self, *, key: Key):
        super().__init__(1, key=key)


class Tent(House):
    def __init__(self, size: int):
        """**Arguments:**

        - `size`: Of
            two lines.
        """
        self.size = size


class Cave(House):
    def __init__(self, **kwargs):
        pass
'''


def apply(*operations: Operation, class_name: str = "House", imports=()) -> str:
    edit = Edit(class_name, operations)
    return formatted(FileEdits("a.py", imports, [edit]).apply(BEFORE), "a.py")


def check(operation: Operation, before: str, after: str) -> None:
    assert BEFORE.count(before) == 1
    assert apply(operation) == BEFORE.replace(before, after)


def test_nothing_to_do():
    assert apply() == BEFORE


def test_add_parameters():
    check(
        AddParameters(["w: A | None = None", "v: A | None = None"]),
        "        key: Key,",
        "        w: A | None = None,\n        v: A | None = None,\n        key: Key,",
    )
    out = apply(AddParameters(["w: A = None"]), class_name="Hut")
    assert "def __init__(self, *, w: A = None, key: Key):" in out
    # To the end.
    out = apply(AddParameters(["w: A = None"], before=None), class_name="Hut")
    assert "*,\n        key: Key,\n        w: A = None,\n    ):" in out
    out = apply(AddParameters(["w: A = None"], before=None), class_name="Tent")
    assert "size: int,\n        *,\n        w: A = None,\n    ):" in out


def test_add_lambda_parameter():
    check(AddLambdaParameter("make", "i=1"), "lambda k:", "lambda k, i=1:")


def test_document():
    check(
        Document("\n- `w`: Of\n    two lines.\n- `b`: As `w`.\n"),
        "        - `key`: The key,\n",
        "        - `w`: Of\n            two lines.\n        - `b`: As `w`.\n"
        "        - `key`: The key,\n",
    )


def test_document_at_the_end():
    out = apply(Document("\n- `w`: Of\n    two lines.\n", None), class_name="Tent")
    before = "        - `size`: Of\n            two lines.\n"
    assert before + before.replace("size", "w") + '        """' in out


def test_forward():
    check(
        Forward("Roof(size)", ["w=w", "**kw"]),
        "Roof(size, size, steep=True, key=c)",
        "Roof(size, size, steep=True, w=w, **kw, key=c)",
    )
    check(
        Forward("Door(size, width)", ["w=w"]),
        "Door(size, width, key=k)",
        "Door(size, width, w=w, key=k)",
    )
    out = apply(Forward("super().__init__()", ["w=w"]), class_name="Hut")
    assert "super().__init__(1, w=w, key=key)" in out


def test_replace():
    check(Replace("b(a,size,lim)", "draw(w, a)"), "b(a, size, lim)", "draw(w, a)")
    # Within another expression.
    check(Replace("b(c, size, lim)", "w"), "b(c, size, lim)", "w")


LIMIT = ["if size == 0:", "lim = 1.0", "else:", "lim = 2.0"]


def test_replace_statement():
    start = BEFORE.index("        if size == 0")
    stop = BEFORE.index("        make =")
    new = "        x = 1\n        y = 2\n"
    check(ReplaceStatement(LIMIT, "\n  x = 1\n  y = 2\n"), BEFORE[start:stop], new)


def test_insert_after():
    check(
        InsertAfter(["a, c = split(key)"], "\n  x = 1\n  y = 2\n"),
        "a, c = split(key)\n",
        "a, c = split(key)\n        x = 1\n        y = 2\n",
    )


def test_imports_follow_use():
    # Sorted, merged, and dropped once unused.
    operations = [
        Replace("b(a, size, lim)", "d(a)"),
        Replace("b(c, size, lim)", "e(c)"),
    ]
    out = apply(*operations, imports=["from .c import d", "from .a import e"])
    assert out.startswith("from .a import e\nfrom .c import d\n\n\nclass House")


@pytest.mark.parametrize(
    "operation, match",
    [
        (AddParameters(["w"], before="seed"), "before `seed`: .*found it 0 times"),
        (AddLambdaParameter("made", "i=1"), "`made`: .*found it 0 times"),
        (Document("- `w`: W.", before="seed"), "before `seed`: .*found it 0 times"),
        (Document("- `w`: W.", before=None), "document: .*does not end in a list"),
        (Forward("Roof(width)", ["w=w"]), "Roof.*found it 0 times"),
        (Forward("Roof(size, size, size)", ["w=w"]), "Roof.*found it 0 times"),
        (Forward("b(a)", ["w=w"]), "b.*found it 0 times"),
        (Forward("Roof(size)", ["w=w"], before="seed"), "Roof.*found it 0 times"),
        (Replace("b(a, size)", "w"), "b.*found it 0 times"),
        (Replace("size", "w"), "size.*found it [1-9][0-9]* times"),
        (ReplaceStatement(LIMIT[:3] + ["lim = 3.0"], "x"), "if size == 0.*it 0 times"),
        (ReplaceStatement(["a, c = split(key)"], "x"), "would lose a comment"),
        (InsertAfter(["a = split(key)"], "x = 1"), "a = split.*found it 0 times"),
    ],
)
def test_failures(operation, match):
    with pytest.raises(CodemodError, match=f"^House: .*{match}"):
        apply(operation)


def test_failures_of_files():
    with pytest.raises(CodemodError, match="^Barn: .*`__init__`.*found it 0 times"):
        apply(class_name="Barn")
    with pytest.raises(CodemodError, match="^Cave: .*`\\*\\*` parameter"):
        apply(AddParameters(["w: A = None"], before=None), class_name="Cave")
    with pytest.raises(CodemodError, match="from .a import b.*there already"):
        apply(imports=["from .a import b"])
    with pytest.raises(CodemodError, match="no other import"):
        FileEdits("a.py", ["from .a import b"]).apply("x = 1\n")
    no_docstring = textwrap.dedent("""
        class House:
            def __init__(self, *, key): self.key = key
    """)
    with pytest.raises(CodemodError, match="no docstring"):
        FileEdits("a.py", edits=[Edit("House", [Document("- w")])]).apply(no_docstring)


LINES = """\
# Title

## First
- a
    - b
    - c

## Second
text
### Third
"""


@pytest.mark.parametrize(
    "operation, before, after",
    [
        (InsertLines(after="- b", new="- x\n- y"), "- b\n", "- b\n    - x\n    - y\n"),
        (AppendToSection("## First", "new"), "    - c\n", "    - c\n\nnew\n"),
        (
            AppendToSection("## Second", "\na\nb\n"),
            "### Third\n",
            "### Third\n\na\nb\n",
        ),
    ],
)
def test_lines(operation: LineOperation, before, after):
    assert LINES.count(before) == 1
    out = LineEdits("a.md", [operation]).apply(LINES)
    assert out == LINES.replace(before, after)


@pytest.mark.parametrize(
    "operation, match",
    [
        (InsertLines(after="- d", new="- x"), "insert after `- d`: .*found it 0 times"),
        (
            AppendToSection("## Third", "x"),
            "append to .* `## Third`: .*0 times",
        ),
    ],
)
def test_failures_of_lines(operation: LineOperation, match):
    with pytest.raises(CodemodError, match=f"^{match}"):
        LineEdits("a.md", [operation]).apply(LINES)
