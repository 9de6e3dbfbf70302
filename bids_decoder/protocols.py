"""Published protocols by name: trials of training and test, pools, and the scores to compare with.

A protocol is data. It says which trials train a decoder, which test it and how retrieval is scored;
it says nothing about the decoder.

References
----------
MindEye2: Scotti et al. 2024, ICML, arXiv 2403.11207 (version 2: appendix A.2, Tables 8 and 10), and
``final_evaluations`` of its code. TROI: Wang et al. 2025, ICASSP, arXiv 2502.00412 (Table 1).
BrainCoDec: arXiv 2604.08537; participants, kinds of pictures and their number are the defaults of
``finetuning.py`` in https://github.com/ezacngm/brainCodec. Generic Object Decoding: Horikawa and
Kamitani 2017, Nat Commun 8:15037; numbers of trials from the README of OpenNeuro ds001246. Miyawaki
et al. 2008, Neuron 60:915; runs from ``fetch_miyawaki2008`` of nilearn.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bids_decoder.config import Settings
from bids_decoder.errors import ExitCode, Finding

Participants = tuple[int, ...]

SPLIT_COLUMN = "split"
"""Column that says train or test where the data are read as they were released."""

_FIXED: dict[str, Any] = {
    "evaluation.pool_size": 300, "evaluation.n_draws": 30,
    "trials.test_runs": (), "trials.test_sessions": (), "trials.trial_filter": (),
    "execution.session_id": (), "execution.run_id": (), "execution.task_id": (),
    "execution.leave_one_out": False, "execution.from_scratch": False,
    "execution.allow_seen": False,
}
"""Settings that the protocols on NSD fix: all trials are read, and 30 pools of 300 drawn."""

_ALL_TRIALS = {
    name: value for name, value in _FIXED.items()
    if name not in ("evaluation.n_draws", "execution.leave_one_out", "execution.from_scratch")
}
"""Settings that protocols fix where every participant may be decoded, with pretraining or not.

Pools are larger than the tested pictures are many, so that each is searched among all of them. The
papers fix no pools: they compare two candidates, or more of them than were shown.
"""

_POOLS = (
    "Top-1 among 300 images, mean of 30 pools, repeats averaged, cosine. i2b ranks the responses "
    "for each image, b2i the images for each response. "
)
_PRINTED = (
    "The papers print i2b as image retrieval and b2i as brain retrieval: their evaluation code, "
    "which this table follows, ranks in these directions. For TROI, which published no code, the "
    "same is assumed."
)


@dataclass(frozen=True)
class Published:
    """Retrieval of a published model, for one participant or on average.

    Parameters
    ----------
    model : str
    source : str
        Paper and table.
    participant : int or None
        None for the mean over the participants of the protocol.
    image, brain : float
        Top-1 as printed under these names. The evaluation code of MindEye2 ranks the responses for
        each image under the name of image retrieval (``i2b``), and the images for each response
        under that of brain retrieval (``b2i``).
    """

    model: str
    source: str
    participant: int | None
    image: float
    brain: float


@dataclass(frozen=True)
class Protocol:
    """Trials and scores of a published evaluation.

    Parameters
    ----------
    title, source : str
    participants : tuple of int
        Who is decoded.
    sources : tuple of int or None
        Who is pretrained on, but for the one who is decoded; None where the paper leaves it open.
    n_training_sessions : int or None
        First sessions of the participant who is decoded whose trials train; None for all.
    published : tuple of Published
    n_sessions : int or None
        All sessions of that participant; the trials of test stimuli in all of them are test. None,
        here and below, where the number is not prescribed.
    n_session_trials, n_test_stimuli, n_test_trials : int or None
    n_training_stimuli : int or None
        The first stimuli that the participant saw, whose trials train; None for all.
    n_training_trials : int or None
        Trials that train, where it is no matter in which sessions.
    fixed : mapping of str to object
        Settings, named as ``group.field``.
    scoring : str
        What the scores in the report are.
    """

    title: str
    source: str
    participants: Participants
    sources: Participants | None
    n_training_sessions: int | None
    published: tuple[Published, ...] = ()
    n_sessions: int | None = 40
    n_session_trials: int | None = 750
    n_test_stimuli: int | None = 1000
    n_test_trials: int | None = 3000
    n_training_stimuli: int | None = None
    n_training_trials: int | None = None
    fixed: Mapping[str, Any] = field(default_factory=lambda: _FIXED)
    scoring: str = _POOLS + _PRINTED

    @property
    def limits_training(self) -> bool:
        """Whether fewer trials of who is decoded train than of who is pretrained on."""
        return self.n_training_sessions is not None or self.n_training_stimuli is not None

    @property
    def searches_all(self) -> bool:
        """Whether fewer pictures are tested than a pool may hold, so that all are searched."""
        return (self.n_test_stimuli or 0) < self.fixed["evaluation.pool_size"]

    def sources_of(self, participant: int) -> Participants | None:
        """Return who is pretrained on where *participant* is decoded."""
        if self.sources is None:
            return None
        return tuple(number for number in self.sources if number != participant)


def _rows(
    model: str, source: str, scores: Mapping[int | None, tuple[float, float]]
) -> tuple[Published, ...]:
    return tuple(
        Published(model, source, person, image / 100, brain / 100)
        for person, (image, brain) in scores.items()
    )


PROTOCOLS: dict[str, Protocol] = {
    "mindeye2-1h": Protocol(
        "MindEye2, one hour", "Scotti et al. 2024 (arXiv 2403.11207)", (1, 2, 5, 7),
        (1, 2, 3, 4, 5, 6, 7, 8), 1,
        _rows("MindEye2, 1 hour", "arXiv 2403.11207, Table 8", {
            1: (93.96, 77.63), 2: (90.53, 67.18), 5: (66.94, 46.96), 7: (64.44, 37.77),
        }),
    ),
    "mindeye2-40h": Protocol(
        "MindEye2, 40 hours", "Scotti et al. 2024 (arXiv 2403.11207)", (1, 2, 5, 7), None, 40,
        _rows("MindEye2, 40 hours", "arXiv 2403.11207", {None: (98.8, 98.3)}),
    ),
    "troi": Protocol(
        "TROI, one hour", "Wang et al. 2025 (arXiv 2502.00412)", (1, 2, 5, 7), (1, 2, 5, 7), 1,
        _rows("TROI", "arXiv 2502.00412, Table 1", {
            1: (93.6, 85.3), 2: (91.3, 74.3), 5: (67.3, 47.7), 7: (67.3, 51.7),
        }) + _rows("MindEye2, pretrained on 2, 5, 7", "arXiv 2403.11207, Table 10", {
            1: (92.7, 80.8),
        }),
    ),
    "braincodec-200": Protocol(
        "BrainCoDec, 200 pictures", "arXiv 2604.08537", (7,), (1, 2, 5), None,
        n_training_stimuli=200, scoring=_POOLS,
    ),
    "god": Protocol(
        "Generic Object Decoding", "Horikawa and Kamitani 2017 (Nat Commun 8:15037)",
        (1, 2, 3, 4, 5), None, None, n_sessions=None, n_session_trials=None, n_test_stimuli=50,
        n_test_trials=1750, n_training_trials=1200,
        fixed=_ALL_TRIALS,
        scoring="Top-1 among the 50 test pictures, repeats averaged, cosine. i2b ranks the "
        "responses for each image, b2i the images for each response. The paper identifies "
        "categories, two at a time, by features that are averaged over pictures of a category: "
        "another score.",
    ),
    "miyawaki": Protocol(
        "Visual image reconstruction", "Miyawaki et al. 2008 (Neuron 60:915)", (1,), None, None,
        n_sessions=None, n_session_trials=None, n_test_stimuli=None, n_test_trials=None,
        n_training_trials=440, fixed=_ALL_TRIALS,
        scoring="Top-1 among the figures that were shown, repeats averaged, cosine. i2b ranks the "
        "responses for each image, b2i the images for each response. The paper reconstructs "
        "pixels, and identifies pictures by them: another score.",
    ),
}
"""Protocols by the value of ``--protocol``."""


def number_of(label: str) -> int | None:
    """Return the number at the end of a label of a participant or session, None without one.

    Examples
    --------
    >>> number_of("nsd01"), number_of("02"), number_of("imagery")
    (1, 2, None)
    """
    found = re.search(r"(\d+)$", label)
    return int(found[1]) if found else None


def follow(settings: Settings) -> tuple[Settings, list[Finding]]:
    """Return the settings that the protocol of the call asks for, and what contradicts it.

    Parameters
    ----------
    settings : Settings

    Returns
    -------
    Settings
        Unchanged without a protocol.
    list of Finding
    """
    name = settings.trials.protocol
    if name is None:
        return settings, []
    findings = []
    changes: dict[str, dict[str, Any]] = {}
    for setting, wanted in PROTOCOLS[name].fixed.items():
        group, _, key = setting.partition(".")
        given = getattr(getattr(settings, group), key)
        if given != wanted:
            findings.append(_contradiction(name, setting, given, wanted))
        changes.setdefault(group, {})[key] = wanted
    if settings.trials.target not in ("auto", "image", "features"):
        findings.append(_contradiction(
            name, "trials.target", settings.trials.target, "image or features"
        ))
    if settings.trials.split_column is None:
        changes.setdefault("trials", {})["split_column"] = SPLIT_COLUMN
    return settings.replaced(**changes), findings


def _contradiction(name: str, setting: str, given: Any, wanted: Any) -> Finding:
    key = setting.rpartition(".")[2]
    flag = f"--{key.replace('_', '-')}"
    shown = " ".join(map(str, given)) if isinstance(given, tuple) else str(given)
    return Finding(
        f"{flag} with --protocol {name}",
        f"{setting} is {shown!r}, which the protocol fixes to {wanted!r}",
        f"leave out {flag} (or {key} in the --config-file), or --protocol", ExitCode.USAGE,
    )
