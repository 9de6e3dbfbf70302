"""Change the code of statistics and splits in small ways, and count what the tests notice.

    python scripts/mutants.py [--number 150] [--seed 0] [--out mutants.tsv] [MODULE ...]

A mutant is one module with one operator, comparison, constant or condition changed. The tests of
that module are run on it; a mutant that they pass survives, and is printed. Modules are names
below ``bids_decoder.evaluation``. Each mutant runs in a fork of this process, which has imported
the libraries already.
"""

import argparse
import ast
import contextlib
import copy
import csv
import importlib
import importlib.abc
import importlib.util
import json
import os
import random
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 120
"""Time after which a mutant counts as noticed: it does not end."""

TESTS = {
    "classification": ["classification"], "folds": ["folds"],
    "held_out": ["held_out", "splits", "stimulus_folds", "subsets"], "intervals": ["intervals"],
    "multiple": ["multiple"], "nulls": ["nulls"],
    "pooling": ["pooling"], "prevalence": ["prevalence"], "splits": ["splits", "stimulus_folds"],
    "statistics": ["statistics"], "stimulus_folds": ["stimulus_folds"], "subsets": ["subsets"],
    "tfce": ["tfce"],
}
"""Modules, and the files of their tests."""

SWAPS = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot,
    ast.IsNot: ast.Is, ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult, ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
    ast.And: ast.Or, ast.Or: ast.And,
}


@dataclass(frozen=True)
class Mutant:
    """One change: the place in the order of the walk, the line, before and after."""

    module: str
    place: int
    line: int
    before: str
    after: str


def code_of(node: ast.AST) -> Iterator[ast.AST]:
    """Walk the code of a tree: no annotations, decorators or messages of errors."""
    yield node
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list") or isinstance(node, ast.Raise):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not isinstance(child, ast.JoinedStr):
                yield from code_of(child)


def change(node: ast.AST) -> bool:
    """Change a node in place; False when there is nothing to change in it."""
    for name in ("op", "ops"):
        found = getattr(node, name, None)
        operator = found[0] if isinstance(found, list) else found
        if type(operator) in SWAPS:
            new = SWAPS[type(operator)]()
            setattr(node, name, [new, *found[1:]] if isinstance(found, list) else new)
            return True
    if isinstance(node, ast.Constant) and isinstance(node.value, bool):
        node.value = not node.value
        return True
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        node.value += 1
        return True
    if isinstance(node, ast.If | ast.IfExp):
        node.test = ast.UnaryOp(ast.Not(), node.test)
        return True
    return False


def mutants_of(module: str) -> list[Mutant]:
    """List all mutants of a module."""
    tree = ast.parse(path_of(module).read_text(encoding="utf-8"))
    found = []
    for place, node in enumerate(code_of(tree)):
        changed = copy.deepcopy(node)
        if change(changed):
            target = node.test if isinstance(node, ast.If) else node
            after = changed.test if isinstance(node, ast.If) else changed
            found.append(
                Mutant(module, place, node.lineno, ast.unparse(target), ast.unparse(after))
            )
    return found


def path_of(module: str) -> Path:
    """Return the file of a module."""
    return ROOT / "bids_decoder" / "evaluation" / f"{module}.py"


class MutantLoader(importlib.abc.Loader, importlib.abc.MetaPathFinder):
    """Imports the mutant in place of its module."""

    def __init__(self, mutant: Mutant) -> None:
        self.mutant = mutant

    def find_spec(self, name: str, path: object, target: object = None) -> object:
        """Say that the module is loaded here."""
        if name != f"bids_decoder.evaluation.{self.mutant.module}":
            return None
        return importlib.util.spec_from_loader(name, self)

    def exec_module(self, module: object) -> None:
        """Run the changed code."""
        path = path_of(self.mutant.module)
        tree = ast.parse(path.read_text(encoding="utf-8"))
        change(next(n for k, n in enumerate(code_of(tree)) if k == self.mutant.place))
        exec(compile(ast.fix_missing_locations(tree), str(path), "exec"), vars(module))


def in_fork(work: Callable[[], int]) -> int:
    """Return what *work* returned in a fork; -1 when it took too long or was killed."""
    pid = os.fork()
    if pid == 0:
        signal.alarm(SECONDS)
        with open(os.devnull, "w") as nothing:  # noqa: PTH123
            os.dup2(nothing.fileno(), 1)
            os.dup2(nothing.fileno(), 2)
        code = 70
        with contextlib.suppress(BaseException):
            code = work()
        os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return max(code, -1)


def run_tests(module: str) -> int:
    """Run the tests of a module in this process."""
    files = [str(ROOT / "tests" / "evaluation" / f"test_{name}.py") for name in TESTS[module]]
    return int(pytest.main([*files, "-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist",
                            "--rootdir", str(ROOT), "-c", str(ROOT / "setup.cfg")]))


def run_mutant(mutant: Mutant) -> int:
    """Run the tests of a mutant in this process."""
    sys.meta_path.insert(0, MutantLoader(mutant))
    return run_tests(mutant.module)


def import_libraries(modules: list[str]) -> None:
    """Check that the tests pass as they are, and import what they import from libraries."""
    record = Path(tempfile.mkstemp(suffix=".json")[1])

    def baseline(module: str) -> int:
        code = run_tests(module)
        record.write_text(json.dumps([
            name for name in sys.modules if not name.startswith(("bids_decoder", "test"))
        ]))
        return code

    for module in modules:
        if in_fork(lambda module=module: baseline(module)) != 0:
            sys.exit(f"the tests of {module} do not pass as they are")
        for name in json.loads(record.read_text()):
            with contextlib.suppress(Exception):
                importlib.import_module(name)
    record.unlink()


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    """Try the mutants, and print how many survived."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("modules", nargs="*", default=list(TESTS), metavar="MODULE")
    parser.add_argument("--number", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("mutants.tsv"))
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    import_libraries(options.modules)
    everything = [mutant for module in options.modules for mutant in mutants_of(module)]
    chosen = random.Random(options.seed).sample(
        everything, min(options.number, len(everything))
    )
    counts: Counter[tuple[str, bool]] = Counter()
    with options.out.open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream, delimiter="\t")
        table.writerow(["module", "place", "line", "before", "after", "survived"])
        for mutant in sorted(chosen, key=lambda mutant: (mutant.module, mutant.place)):
            survived = in_fork(lambda mutant=mutant: run_mutant(mutant)) == 0
            counts[mutant.module, survived] += 1
            table.writerow([*astuple(mutant), survived])
            stream.flush()
            if survived:
                say(f"{mutant.module}.py:{mutant.line}: {mutant.before} -> {mutant.after}")
    for module in options.modules:
        say(f"{module}: {counts[module, False]} noticed, {counts[module, True]} survived")
    n_survived = sum(counts[module, True] for module in options.modules)
    say(f"{len(chosen)} of {len(everything)} mutants, {n_survived} survived")


if __name__ == "__main__":
    main()
