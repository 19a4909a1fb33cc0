"""From a source text to its mutants: single faults such as a person makes, each a text of its own."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

SWAPPED: Final[dict[type[ast.AST], type[ast.AST]]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
}
"""An operator → the one in its place."""
REMOVED: Final = (ast.Expr, ast.AugAssign, ast.Raise, ast.Continue, ast.Break, ast.Delete)
"""Statements that may be left out."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """A file with one fault. function: dotted, "" at the top. was, became: the lines concerned. text: all of it."""

    file: str
    function: str
    was: str
    became: str
    text: str

    @property
    def row(self) -> str:
        """Its row of the table of survivors, up to the reason."""
        was, became = (text.replace("|", "\\|") for text in (self.was, self.became))
        return f"| {self.file} | {self.function} | `{was}` | `{became}` |"


def mutants(file: str, text: str) -> list[Mutant]:
    """Each once: what reads alike within a function is told of, and tried, once."""
    lines = text.splitlines(keepends=True)
    found = {}
    for node, function, new in _faults(ast.parse(text), ""):
        mutant = _planted(file, lines, node, function, new)
        found.setdefault(mutant.row, mutant)
    return list(found.values())


def _planted(file: str, lines: list[str], node: ast.expr | ast.stmt, function: str, new: str) -> Mutant:
    """`new` in the place of `node`, whose columns count bytes."""
    first, last = node.lineno - 1, (node.end_lineno or node.lineno) - 1
    head = lines[first].encode()[: node.col_offset].decode()
    tail = lines[last].encode()[node.end_col_offset :].decode()
    was, became = "".join(lines[first : last + 1]), head + new + tail
    text = "".join([*lines[:first], became, *lines[last + 1 :]])
    return Mutant(file, function, " ".join(was.split()), " ".join(became.split()), text)


def _faults(node: ast.AST, function: str) -> Iterator[tuple[ast.expr | ast.stmt, str, str]]:
    """(what is changed, the function it is in, what it becomes).

    Annotations, defaults, decorators, messages and log lines are left alone.
    """
    changes = _of_statement(node) if isinstance(node, ast.stmt) else _of_expression(node)
    yield from ((node, function, new) for new in changes)  # type: ignore[misc]
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        function = f"{function}.{node.name}".lstrip(".")
    if isinstance(node, ast.If | ast.While | ast.IfExp) and not isinstance(node.test, ast.UnaryOp):
        yield node.test, function, f"(not ({ast.unparse(node.test)}))"
    for child in [] if _is_log(node) else _told(node):
        yield from _faults(child, function)


def _told(node: ast.AST) -> Iterator[ast.AST]:
    for name, value in ast.iter_fields(node):
        if name not in {"annotation", "returns", "decorator_list", "args"} or isinstance(node, ast.Call):
            parts = value if isinstance(value, list) else [value]
            yield from (part for part in parts if isinstance(part, ast.AST) and not isinstance(part, ast.JoinedStr))


def _is_log(node: ast.AST) -> bool:
    """Of docstrings too."""
    return isinstance(node, ast.Expr) and ast.unparse(node).startswith(("log.", "'", '"'))


def _of_statement(node: ast.stmt) -> Iterator[str]:
    to_attribute = isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute | ast.Subscript)
    if (isinstance(node, REMOVED) or to_attribute) and not _is_log(node):
        yield "pass"
    if isinstance(node, ast.Return) and node.value is not None and ast.unparse(node.value) != "None":
        yield "return None"


def _of_expression(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Compare(left, [op], [right]) if type(op) in SWAPPED:
            yield _paren(ast.Compare(left, [SWAPPED[type(op)]()], [right]))
        case ast.Compare(left, [first, *ops], rights) if type(first) in SWAPPED:
            yield _paren(ast.Compare(left, [SWAPPED[type(first)](), *ops], rights))
        case ast.BoolOp(op, values):
            yield _paren(ast.BoolOp(SWAPPED[type(op)](), values))
        case ast.BinOp(left, op, right) if type(op) in SWAPPED and not isinstance(left, ast.JoinedStr):
            yield _paren(ast.BinOp(left, SWAPPED[type(op)](), right))
        case ast.UnaryOp(ast.Not(), operand):
            yield _paren(operand)
        case ast.Constant(bool() as value):
            yield str(not value)
        case ast.Constant(int() | float() as value):
            yield repr(value + 1)


def _paren(node: ast.expr) -> str:
    return f"({ast.unparse(ast.fix_missing_locations(node))})"
