"""How much there is to review: the table in the text of the pull request."""

import ast
import difflib
from collections import Counter
from dataclasses import replace
from pathlib import Path

from fork.codemod import AppendToSection, InsertLines, LineEdits
from fork.edits import COMMITS
from fork.tree import apply, in_package


def table(site: Path) -> str:
    """One row for each commit, as Markdown; `site` holds the package of upstream.

    The first column of figures is what a git host shows.
    """
    texts: dict[str, str] = {}
    own = {path for commit in COMMITS for path in commit.new_files}

    def read(path: str) -> str:
        if path in texts or path in own:
            return texts.get(path, "")
        # Those that are not part of the package are only added to.
        return (site / path).read_text("utf-8") if in_package([path]) else ""

    rows = ["| commit | all lines | existing code | new code | tests |"]
    rows.append("| --- " * 5 + "|")
    totals = Counter()
    for number, commit in enumerate(COMMITS, start=1):
        counts = Counter()
        lines = [edits for edits in commit.edits if isinstance(edits, LineEdits)]
        for op in (op for edits in lines for op in edits.operations):
            if isinstance(op, AppendToSection | InsertLines):
                counts["all +"] += len(op.new.strip("\n").split("\n"))
                counts["all +"] += isinstance(op, AppendToSection)
        code = [edits for edits in commit.edits if edits not in lines]
        new = apply(replace(commit, edits=code), read, "upstream")
        for path, text in new.items():
            signs = Counter(_signs(read(path), text))
            counts["all +"] += signs["+"]
            counts["all -"] += signs["-"]
            if path.startswith("tests/"):
                counts["tests"] += signs["+"]
            elif in_package([path]) and path in own:
                counts["code"] += code_lines(text) - code_lines(read(path))
            elif in_package([path]):
                counts["existing +"] += signs["+"]
                counts["existing -"] += signs["-"]
        texts.update(new)
        totals.update(counts)
        rows.append(_row(str(number), counts))
    rows.append(_row("all", totals))
    return "\n".join(rows) + "\n"


def _row(title: str, counts: Counter) -> str:
    both = lambda name: f"+{counts[f'{name} +']} -{counts[f'{name} -']}"
    cells = [title, both("all"), both("existing"), counts["code"], counts["tests"]]
    return f"| {' | '.join(map(str, cells))} |"


def code_lines(source: str) -> int:
    """The lines of code: without blank lines, comments and docstrings."""
    not_code = {
        number
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        for number in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    return sum(
        number not in not_code
        and not line.strip().startswith(("#",))
        and bool(line.strip())
        for number, line in enumerate(source.splitlines(), start=1)
    )


def _signs(old: str, new: str) -> str:
    lines = list(difflib.unified_diff(old.splitlines(), new.splitlines(), n=0))
    return "".join(line[0] for line in lines[2:])
