"""The operations that edits are made of.

An operation names the code that it works on by that code's own text, compared without
regard to whitespace and comments. Everything that it looks for must be there exactly
once: otherwise it raises a `CodemodError`. The result is yet to be formatted.

Files that are not Python are edited by whole lines, named by their text.

This module knows LibCST, and nothing of Equinox. What is to be changed is in
`fork.edits`, which in turn knows nothing of LibCST.
"""

import ast
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import libcst as cst


class CodemodError(Exception):
    """An operation that does not find its place, or finds it more than once."""


class Operation:
    """One change to the `__init__` method of a class."""

    def apply(self, function: cst.FunctionDef) -> cst.FunctionDef:
        raise NotImplementedError


@dataclass(frozen=True)
class AddParameters(Operation):
    """Adds keyword-only parameters (`"name: annotation = default"`).

    They go before another one, or to the end if `before=None`.
    """

    parameters: Sequence[str]
    before: str | None = "key"

    def apply(self, function: cst.FunctionDef) -> cst.FunctionDef:
        params = list(function.params.kwonly_params)
        if self.before is None:
            index = len(params)
            if function.params.star_kwarg is not None:
                raise CodemodError("there is a `**` parameter")
        else:
            index = _only_index([p.name.value == self.before for p in params])
        template = cst.parse_statement(f"def f(*, {', '.join(self.parameters)}): pass")
        assert isinstance(template, cst.FunctionDef)
        params[index:index] = [
            p.with_changes(comma=cst.Comma()) for p in template.params.kwonly_params
        ]
        if index > 0:
            comma = cst.Comma()
            params[index - 1] = params[index - 1].with_changes(comma=comma)
        new = function.params.with_changes(kwonly_params=params)
        if isinstance(new.star_arg, cst.MaybeSentinel):
            new = new.with_changes(star_arg=cst.ParamStar())
        return function.with_changes(params=new)

    def __str__(self) -> str:
        return f"add parameters `{', '.join(self.parameters)}`{_before(self.before)}"


@dataclass(frozen=True)
class AddLambdaParameter(Operation):
    """Adds a parameter (`"name=default"`) to the lambda that is assigned to `name`."""

    name: str
    parameter: str

    def apply(self, function: cst.FunctionDef) -> cst.FunctionDef:
        def accept(node: cst.CSTNode) -> bool:
            return (
                isinstance(node, cst.Assign)
                and isinstance(node.value, cst.Lambda)
                and [_text(target.target) for target in node.targets] == [self.name]
            )

        assign = _only_node(function, accept)
        template = cst.parse_expression(f"lambda {self.parameter}: None")
        assert isinstance(assign, cst.Assign) and isinstance(assign.value, cst.Lambda)
        assert isinstance(template, cst.Lambda)
        params = assign.value.params
        new = params.with_changes(params=[*params.params, *template.params.params])
        return function.with_deep_changes(assign.value, params=new)

    def __str__(self) -> str:
        return f"add parameter `{self.parameter}` to the lambda `{self.name}`"


@dataclass(frozen=True)
class Document(Operation):
    """Adds items to the bulleted list of arguments in the docstring.

    They go before another one, or to the end if `before=None`. (In which case the
    docstring has to end in such a list.)
    """

    items: str
    before: str | None = "key"

    def apply(self, function: cst.FunctionDef) -> cst.FunctionDef:
        docstring = _docstring(function)
        lines = docstring.value.split("\n")
        if self.before is None:
            index = len(lines) - 1
            indent = _indent(lines[index])
            # The last item, and then nothing but what belongs to it.
            items = [i for i in range(index) if lines[i].startswith(f"{indent}- `")]
            rest = lines[items[-1] + 1 : index] if items else [""]
            if not all(line.startswith(f"{indent}    ") for line in rest):
                raise CodemodError("the docstring does not end in a list")
        else:
            bullet = f"- `{self.before}`:"
            index = _only_index([line.lstrip().startswith(bullet) for line in lines])
            indent = _indent(lines[index])
        items = textwrap.dedent(self.items).strip("\n")
        lines[index:index] = textwrap.indent(items, indent).split("\n")
        new = docstring.with_changes(value="\n".join(lines))
        return function.with_deep_changes(docstring, value=new.value)

    def __str__(self) -> str:
        return f"document{_before(self.before)}"


@dataclass(frozen=True)
class Forward(Operation):
    """Adds keyword arguments to the call that starts with these positional ones.

    `call` is such as `"Linear(in_size, out_size)"`: further arguments are allowed.
    """

    call: str
    arguments: Sequence[str]
    before: str = "key"

    def apply(self, function: cst.FunctionDef) -> cst.FunctionDef:
        template = cst.parse_expression(self.call)
        assert isinstance(template, cst.Call)

        def is_call(node: cst.CSTNode) -> bool:
            return (
                isinstance(node, cst.Call)
                and _text(node.func) == _text(template.func)
                and len(node.args) >= len(template.args)
                and all(
                    theirs.keyword is None and _text(theirs.value) == _text(ours.value)
                    for theirs, ours in zip(node.args, template.args)
                )
            )

        call = _only_node(function, is_call)
        assert isinstance(call, cst.Call)
        args = list(call.args)
        index = _only_index(
            [a.keyword is not None and a.keyword.value == self.before for a in args]
        )
        new = cst.parse_expression(f"f({', '.join(self.arguments)})")
        assert isinstance(new, cst.Call)
        args[index:index] = [a.with_changes(comma=cst.Comma()) for a in new.args]
        return function.with_deep_changes(call, args=args)

    def __str__(self) -> str:
        return f"forward `{', '.join(self.arguments)}` to `{self.call}`"


@dataclass(frozen=True)
class Replace(Operation):
    """Replaces one expression by another."""

    old: str
    new: str

    def apply(self, function: cst.FunctionDef) -> cst.FunctionDef:
        old = _text(cst.parse_expression(self.old))
        node = _only_node(
            function,
            lambda n: isinstance(n, cst.BaseExpression) and _text(n) == old,
        )
        return _replace(function, node, cst.parse_expression(self.new))

    def __str__(self) -> str:
        return f"replace `{self.old}`"


@dataclass(frozen=True)
class ReplaceStatement(Operation):
    """Replaces one statement, given line by line, by others."""

    statement: Sequence[str]
    new: str

    def apply(self, function: cst.FunctionDef) -> cst.FunctionDef:
        node = _only_statement(function, self.statement)
        if "#" in cst.Module([]).code_for_node(node):
            raise CodemodError("would lose a comment")
        return _replace(function, node, cst.FlattenSentinel(_statements(self.new)))

    def __str__(self) -> str:
        return f"replace `{self.statement[0]}`"


@dataclass(frozen=True)
class InsertAfter(Operation):
    """Inserts statements after another, given line by line."""

    statement: Sequence[str]
    new: str

    def apply(self, function: cst.FunctionDef) -> cst.FunctionDef:
        node = _only_statement(function, self.statement)
        return _replace(
            function, node, cst.FlattenSentinel([node, *_statements(self.new)])
        )

    def __str__(self) -> str:
        return f"insert after `{self.statement[0]}`"


@dataclass(frozen=True)
class Edit:
    """Operations on the `__init__` method of one class."""

    class_name: str
    operations: Sequence[Operation]

    def apply(self, module: cst.Module) -> cst.Module:
        try:
            class_ = _only_definition(module, cst.ClassDef, self.class_name)
            init = new = _only_definition(class_.body, cst.FunctionDef, "__init__")
        except CodemodError as e:
            raise CodemodError(f"{self.class_name}: find its `__init__`: {e}") from None
        for operation in self.operations:
            try:
                new = operation.apply(new)
            except CodemodError as e:
                raise CodemodError(f"{self.class_name}: {operation}: {e}") from None
        body = _with(class_.body, init, new)
        return _with(module, class_, class_.with_changes(body=body))


@dataclass(frozen=True)
class FileEdits:
    """All edits to one file: what to import, and what to change in which class.

    The order of imports, and whether any is no longer used, is left to the formatter.
    """

    path: str
    imports: Sequence[str] = ()
    edits: Sequence[Edit] = ()

    def apply(self, source: str) -> str:
        """Returns the edited `source`, not yet formatted."""
        module = cst.parse_module(source)
        for edit in self.edits:
            module = edit.apply(module)
        for statement in self.imports:
            module = _add_import(module, statement)
        return module.code


def without_functions(source: str, names: Sequence[str]) -> str:
    """Leaves out these functions of a module."""
    module = cst.parse_module(source)
    for name in names:
        module = _with(module, _only_definition(module, cst.FunctionDef, name))
    return module.code


class LineOperation:
    """One change to the lines of a file."""

    def apply(self, lines: list[str]) -> list[str]:
        raise NotImplementedError


@dataclass(frozen=True)
class InsertLines(LineOperation):
    """Inserts lines after another one, and indents them as that one is."""

    after: str
    new: str

    def apply(self, lines: list[str]) -> list[str]:
        index = _only_index([line.strip() == self.after for line in lines])
        new = textwrap.indent(
            textwrap.dedent(self.new).strip("\n"), _indent(lines[index])
        )
        return [*lines[: index + 1], *new.split("\n"), *lines[index + 1 :]]

    def __str__(self) -> str:
        return f"insert after `{self.after}`"


@dataclass(frozen=True)
class AppendToSection(LineOperation):
    """Appends to what follows a Markdown heading, up to the next of the same level."""

    heading: str
    new: str

    def apply(self, lines: list[str]) -> list[str]:
        start = _only_index([line == self.heading for line in lines]) + 1
        level = self.heading.split(" ")[0] + " "
        stops = [i for i in range(start, len(lines)) if lines[i].startswith(level)]
        stop = stops[0] if stops else len(lines)
        while lines[stop - 1] == "":
            stop -= 1
        new = textwrap.dedent(self.new).strip("\n")
        return [*lines[:stop], "", *new.split("\n"), *lines[stop:]]

    def __str__(self) -> str:
        return f"append to the section `{self.heading}`"


@dataclass(frozen=True)
class LineEdits:
    """All edits to one file, of any kind, by whole lines."""

    path: str
    operations: Sequence[LineOperation]

    def apply(self, source: str) -> str:
        lines = source.removesuffix("\n").split("\n")
        for operation in self.operations:
            try:
                lines = operation.apply(lines)
            except CodemodError as e:
                raise CodemodError(f"{operation}: {e}") from None
        return "\n".join(lines) + "\n"


def _statements(code: str) -> Sequence[cst.BaseStatement]:
    return cst.parse_module(textwrap.dedent(code)).body  # pyright: ignore


def _before(before: str | None) -> str:
    return "" if before is None else f" before `{before}`"


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def _add_import(module: cst.Module, statement: str) -> cst.Module:
    is_import = [
        isinstance(node, cst.SimpleStatementLine)
        and isinstance(node.body[0], cst.Import | cst.ImportFrom)
        for node in module.body
    ]
    if any(_lines(node) == [statement] for node in module.body):
        raise CodemodError(f"module: `{statement}`: it is there already")
    if not any(is_import):
        raise CodemodError(f"module: `{statement}`: found no other import")
    first = module.body[is_import.index(True)]
    return _with(module, first, cst.parse_statement(statement), first)


def _only_definition(block: Any, kind: type, name: str) -> Any:
    """The class or function of that name among the statements of a block."""
    matches = [
        isinstance(node, kind) and node.name.value == name for node in block.body
    ]
    return block.body[_only_index(matches)]


def _with(block: Any, old: cst.CSTNode, *new: cst.CSTNode) -> Any:
    """The block with other statements in the place of one."""
    body = [x for node in block.body for x in (new if node is old else [node])]
    return block.with_changes(body=body)


def _docstring(function: cst.FunctionDef) -> cst.SimpleString:
    match function.body.body[0]:
        case cst.SimpleStatementLine(body=[cst.Expr(value=cst.SimpleString() as node)]):
            return node
    raise CodemodError("there is no docstring")


class _Collect(cst.CSTVisitor):
    def __init__(self, accept: Callable[[cst.CSTNode], bool]) -> None:
        super().__init__()
        self.accept = accept
        self.found: list[cst.CSTNode] = []

    def on_visit(self, node: cst.CSTNode) -> bool:
        if self.accept(node):
            self.found.append(node)
        return True


class _Replace(cst.CSTTransformer):
    def __init__(self, old: cst.CSTNode, new) -> None:
        super().__init__()
        self.old = old
        self.new = new

    def on_leave(self, original_node: cst.CSTNode, updated_node: cst.CSTNode):
        return self.new if original_node is self.old else updated_node


def _replace(root: Any, old: cst.CSTNode, new: Any) -> Any:
    return root.visit(_Replace(old, new))


def _only_node(root: cst.CSTNode, accept: Callable[[cst.CSTNode], bool]) -> cst.CSTNode:
    collect = _Collect(accept)
    root.visit(collect)
    return collect.found[_only_index([True] * len(collect.found))]


def _only_statement(function: cst.FunctionDef, lines: Sequence[str]) -> cst.CSTNode:
    wanted = [_normalise(line) or line for line in lines]

    def accept(node: cst.CSTNode) -> bool:
        return (
            isinstance(node, cst.SimpleStatementLine | cst.BaseCompoundStatement)
            and not isinstance(node, cst.FunctionDef)
            and _lines(node) == wanted
        )

    return _only_node(function, accept)


def _only_index(matches: Sequence[bool]) -> int:
    if sum(matches) != 1:
        raise CodemodError(f"expected to find it once, found it {sum(matches)} times")
    return matches.index(True)


def _text(node: cst.CSTNode) -> str:
    """The code of a node, in a form that does not depend on how it is formatted."""
    return _normalise(cst.Module([]).code_for_node(node))


def _lines(node: cst.CSTNode) -> list[str]:
    return [line.strip() for line in _text(node).splitlines()]


def _normalise(code: str) -> str:
    try:
        return ast.unparse(ast.parse(textwrap.dedent(code).strip()))
    except SyntaxError:  # Part of an expression, which is never looked for.
        return ""
