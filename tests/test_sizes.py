"""Modules, classes and functions stay short enough to read at once."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "bids_decoder"
LIMITS = {"module": 400, "class": 250, "function": 60, "parameters": 8}


def sizes(source):
    """Yield kind, name and size of everything in a module that has a limit."""
    yield "module", "", len(source.splitlines())
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef):
            yield "class", node.name, node.end_lineno - node.lineno + 1
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield "function", node.name, node.end_lineno - node.lineno + 1
            given = node.args
            names = [a.arg for a in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
            yield "parameters", node.name, len([n for n in names if n not in ("self", "cls")])


def too_large(source):
    return [item for item in sizes(source) if item[2] > LIMITS[item[0]]]


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE))
)
def test_nothing_is_too_large(path):
    assert too_large(path.read_text(encoding="utf-8")) == []


def test_large_things_are_found():
    body = "\n".join(["    x = 1"] * 61)
    source = f"class A:\n    def f(self, a, b, c, d, e, f, g, h, *, i): ...\ndef g():\n{body}\n"
    assert too_large(source) == [("function", "g", 62), ("parameters", "f", 9)]
    assert too_large("x = 1\n" * 401) == [("module", "", 401)]
