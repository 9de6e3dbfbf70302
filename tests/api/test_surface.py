"""The public names, their signatures, and what the import costs."""

import inspect
import json
import subprocess
import sys
from pathlib import Path

import bids_decoder

SNAPSHOT = Path(__file__).parent / "surface.json"


def signature(thing):
    return str(inspect.signature(thing))


def members(kind):
    """Public attributes of a class: signatures of methods, the word property for others."""
    found = {}
    for name in dir(kind):
        value = inspect.getattr_static(kind, name)
        if name.startswith("_") or not _is_own(kind, name):
            continue
        value = value.__func__ if isinstance(value, classmethod | staticmethod) else value
        found[name] = signature(value) if inspect.isfunction(value) else "property"
    return found


def _is_own(kind, name):
    """Leave out what only scikit-learn defines."""
    home = next(base for base in kind.__mro__ if name in vars(base))
    return home.__module__.startswith("bids_decoder.")


def surface():
    found = {}
    for name in bids_decoder.__all__:
        thing = getattr(bids_decoder, name)
        found[name] = {"signature": signature(thing)}
        if inspect.isclass(thing):
            found[name]["members"] = members(thing)
    return found


def test_surface_is_that_of_this_version():
    """Who changes the surface writes the snapshot again and raises the version.

    A removed or changed name needs a new major version (before 1.0 a minor one), an added one a
    new minor version; see docs/python.md. To write it::

        PYTHONPATH=tests/api python -c "import test_surface; test_surface.write()"
    """
    stored = json.loads(SNAPSHOT.read_text(encoding="utf-8"))
    assert surface() == stored["surface"]
    assert major_minor(bids_decoder.__version__) == major_minor(stored["version"])


def major_minor(version):
    return version.split(".")[:2]


def write():
    content = {"version": bids_decoder.__version__, "surface": surface()}
    text = json.dumps(content, indent=2, sort_keys=True) + "\n"
    SNAPSHOT.write_text(text, encoding="utf-8")


def test_public_names_are_documented():
    for name in bids_decoder.__all__:
        thing = getattr(bids_decoder, name)
        own = [thing, *(getattr(thing, member) for member in members(thing))] if inspect.isclass(
            thing) else [thing]
        assert all(inspect.getdoc(part) for part in own), name


def test_names_are_listed_before_they_are_loaded():
    assert set(bids_decoder.__all__) <= set(dir(bids_decoder))


def test_unknown_names_are_refused():
    assert not hasattr(bids_decoder, "load_nothing")


def modules_after(code):
    """Modules that are loaded by *code*, in a new process."""
    program = f"import sys; before = set(sys.modules); {code}; print(*set(sys.modules) - before)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True,
        cwd=Path(bids_decoder.__file__).parents[1],
    )
    return set(done.stdout.split())


def test_import_loads_no_library():
    """What would cost time is loaded at first use; ``benchmarks/import_time.py`` measures it."""
    assert modules_after("import bids_decoder") == {"bids_decoder"}


def test_reading_tables_loads_nothing_that_decoders_need():
    loaded = modules_after("import bids_decoder; bids_decoder.load_results")
    assert "pandas" in loaded
    assert not loaded & {"torch", "nilearn", "sklearn", "nipype"}
