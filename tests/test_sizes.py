"""Modules, classes and functions stay short enough to read at once."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "bids_decoder"
LIMITS = {"module": 400, "class": 250, "function": 60, "parameters": 8}
ESTIMATOR_PARAMETERS = 9
"""Of constructors of estimators, each parameter of which scikit-learn sets by itself."""
ESTIMATORS = ("ClassifierMixin", "RegressorMixin", "BaseEstimator")


def sizes(source):
    """Yield kind, name and size of everything in a module that has a limit."""
    yield "module", "", len(source.splitlines())
    estimators = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef):
            yield "class", node.name, node.end_lineno - node.lineno + 1
            estimators |= {
                id(part) for part in node.body
                if getattr(part, "name", "") == "__init__" and _is_estimator(node)
            }
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield "function", node.name, node.end_lineno - node.lineno + 1
            given = node.args
            names = [a.arg for a in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
            more = ESTIMATOR_PARAMETERS - LIMITS["parameters"] if id(node) in estimators else 0
            n_own = len([name for name in names if name not in ("self", "cls")])
            yield "parameters", node.name, n_own - more


def _is_estimator(node):
    """Return whether the bases of a class are those of scikit-learn's classifiers and so on."""
    return any(getattr(base, "id", "") in ESTIMATORS for base in node.bases)


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
    constructor = "    def __init__(self, a, b, c, d, e, f, g, h, i{}): ...\n"
    for base, more, expected in (("BaseEstimator", "", []), ("BaseEstimator", ", j", [9]),
                                 ("Other", "", [9])):
        source = f"class A({base}):\n{constructor.format(more)}"
        assert [item[2] for item in too_large(source)] == expected
    assert too_large("x = 1\n" * 401) == [("module", "", 401)]
