"""How much there is to review: the table in the text of the pull request."""

import ast
import difflib
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
    totals = [0] * 6
    for number, commit in enumerate(COMMITS, start=1):
        added = [0] * 6
        lines = [edits for edits in commit.edits if isinstance(edits, LineEdits)]
        added[0] = sum(
            len(op.new.strip("\n").split("\n")) + isinstance(op, AppendToSection)
            for edits in lines
            for op in edits.operations
            if isinstance(op, AppendToSection | InsertLines)
        )
        code = [edits for edits in commit.edits if edits not in lines]
        new = apply(replace(commit, edits=code), read, "upstream")
        for path, text in new.items():
            signs = _signs(read(path), text)
            plus, minus = signs.count("+"), signs.count("-")
            added[0] += plus
            added[1] += minus
            if path.startswith("tests/"):
                added[5] += plus
            elif in_package([path]) and path in own:
                added[4] += code_lines(text) - code_lines(read(path))
            elif in_package([path]):
                added[2] += plus
                added[3] += minus
        texts.update(new)
        totals = [x + y for x, y in zip(totals, added)]
        rows.append(_row(str(number), added))
    rows.append(_row("all", totals))
    return "\n".join(rows) + "\n"


def _row(title: str, figures: list[int]) -> str:
    all_plus, all_minus, plus, minus, code, tests = figures
    cells = [title, f"+{all_plus} -{all_minus}", f"+{plus} -{minus}", code, tests]
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
