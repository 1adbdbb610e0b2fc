"""How much there is to review: the table in the text of the pull request."""

import ast
import difflib
from dataclasses import replace
from pathlib import Path

from fork.edits import COMMITS
from fork.tree import apply, in_package, read_own


def table(site: Path) -> str:
    """One row for each commit, as Markdown; `site` holds the package of upstream."""
    texts: dict[str, str] = {}

    def read(path: str) -> str:
        return texts[path] if path in texts else (site / path).read_text("utf-8")

    rows = ["| commit | existing code | new code | new tests |", "| --- " * 4 + "|"]
    for number, commit in enumerate(COMMITS, start=1):
        edits = [edits for edits in commit.edits if in_package([edits.path])]
        new = apply(replace(commit, new_files=[], edits=edits), read, "upstream")
        signs = "".join(_signs(read(path), text) for path, text in new.items())
        added, removed = signs.count("+"), signs.count("-")
        texts.update(new)
        code = sum(code_lines(read_own(path)) for path in in_package(commit.new_files))
        tests = [path for path in commit.new_files if path.startswith("tests/")]
        num_tests = sum(len(read_own(path).splitlines()) for path in tests)
        changed = f"{added} added, {removed} removed"
        rows.append(f"| {number} | {changed} | {code} | {num_tests} |")
    return "\n".join(rows) + "\n"


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
