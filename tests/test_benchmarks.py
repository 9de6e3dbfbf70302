"""Benchmarks take names from the program that are there: most of them run too long for tests."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def names_of(module):
    """Names at the top of a module of the program; None where there is no such module."""
    place = ROOT.joinpath(*module.split("."))
    file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    if not file.is_file():
        return None
    found = {path.stem for path in place.glob("*.py")} if place.is_dir() else set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Dict) and place.name == "bids_decoder":
            # Public names are loaded at first use.
            found |= {key.value for key in node.keys if isinstance(key, ast.Constant)}
    return found


def absent(source):
    """Imports of a benchmark that the program does not have."""
    return [
        f"{node.module}.{alias.name}" for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("bids_decoder")
        for alias in node.names if alias.name not in (names_of(node.module) or ())
    ]


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks").glob("*.py")), ids=lambda p: p.stem)
def test_imports_of_benchmarks_are_there(path):
    assert absent(path.read_text(encoding="utf-8")) == []


def test_absent_names_are_found():
    source = "from bids_decoder import TROIDecoder, nothing\nfrom bids_decoder.files import gone\n"
    assert absent(source) == ["bids_decoder.nothing", "bids_decoder.files.gone"]
    assert absent("from bids_decoder.nowhere import x") == ["bids_decoder.nowhere.x"]
