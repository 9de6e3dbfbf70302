"""bids_decoder: a BIDS-App that decodes what participants saw or did from task fMRI.

In Python, the names below are loaded when they are first used, so that the import is quick; see
``docs/python.md``.
"""

from importlib import import_module

__version__ = "0.1.0"

_MODULES = {
    "DecodingResults": "results",
    "EpisodicPretrainer": "pretrainer",
    "LoadedDecoder": "decoding",
    "Searchlight": "searchlight",
    "TROIDecoder": "troi",
    "TROIRegressor": "troi",
    "TrialEstimator": "trials",
    "load_decoder": "decoding",
    "load_results": "results",
}
"""Public name -> module of :mod:`bids_decoder.api`."""

__all__ = sorted(_MODULES)  # noqa: PLE0605


def __getattr__(name: str) -> object:
    """Load a public name from its module (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.api.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted({*globals(), *_MODULES})
