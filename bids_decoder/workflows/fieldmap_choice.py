"""Fields of a participant: from which images each can be computed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from bids_decoder.bids.dataset import BoldRun, Participant
from bids_decoder.bids.fieldmaps import FieldmapImage, as_texts, magnitude_of, partner_of
from bids_decoder.bids.images import read_header
from bids_decoder.bids.names import unique_names
from bids_decoder.errors import BidsDecoderError, Finding
from bids_decoder.preprocessing.distortion import PhaseEncoding, read_phase_encoding
from bids_decoder.preprocessing.fieldmaps import HZ_PER_UNIT
from bids_decoder.preprocessing.motion import MIN_SLICES
from bids_decoder.preprocessing.opposite_phases import are_opposite

Kind = Literal["pair", "direct", "phasediff", "phases", "t1w"]

IN_WORDS: dict[Kind, str] = {
    "pair": "two images with opposite phase encoding", "direct": "a measured field map",
    "phasediff": "a phase-difference image", "phases": "two phase images",
    "t1w": "registration to the T1w image",
}
_READOUT = "TotalReadoutTime (or EffectiveEchoSpacing)"
_NO_IMAGE = (
    "no image in fmap/ is meant for this run: none names it in IntendedFor, and the run has no "
    "B0FieldSource that one of them has as B0FieldIdentifier",
    "add B0FieldIdentifier and B0FieldSource, or IntendedFor, to the sidecars",
)


@dataclass(frozen=True)
class Fieldmap:
    """A field of a participant, and the images from which it is computed.

    Parameters
    ----------
    name : str
        Letters and digits, for ``fmapid-``.
    kind : {"pair", "direct", "phasediff", "phases", "t1w"}
    session : str or None
    files : tuple of Path
        Two images with opposite phase encoding, a field map, a phase difference, two phases, or
        the run that is registered to the T1w image.
    magnitude : Path or None
        For measured maps and phases.
    encodings : tuple of PhaseEncoding
        Of a pair, or of the run that is registered.
    echo_gap : float
        Seconds between the echoes of phase images.
    units : str
        Of a field map.
    """

    name: str
    kind: Kind
    session: str | None
    files: tuple[Path, ...]
    magnitude: Path | None = None
    encodings: tuple[PhaseEncoding, ...] = ()
    echo_gap: float = 0.0
    units: str = ""


class UnusableError(Exception):
    """What prevents the use of images, and how to fix it."""


class NoFieldmapError(UnusableError):
    """No image is meant for the run."""


class Chooser:
    """Fields of one participant, each built once.

    Attributes
    ----------
    reasons : dict of str to str
        Why the first run with a field has it, by the name of the field.
    findings : list of Finding
        Warnings on images that are left out, and on fields of other sessions.
    """

    def __init__(self, participant: Participant) -> None:
        self.participant = participant
        self.images = participant.fieldmaps
        self.reasons: dict[str, str] = {}
        self.findings: list[Finding] = []
        self._names: dict[tuple[Path, ...], str] = {}
        self._of_t1w: dict[tuple[str | None, PhaseEncoding], Fieldmap] = {}
        texts = sorted({text for image in self.images for text in image.identifiers})
        self._identifiers = unique_names(texts)

    def choose(self, run: BoldRun) -> tuple[Fieldmap, PhaseEncoding]:
        """Return the field of a run, and how the run was encoded.

        Raises
        ------
        UnusableError
            With the first problem, when no field can be computed.
        BidsDecoderError
            When the run, or the only image for it, cannot be read.
        """
        problems: list[tuple[str, str]] = []
        candidates = list(self._candidates(run, problems))
        if not candidates:
            kind = NoFieldmapError if problems[0] == _NO_IMAGE else UnusableError
            raise kind(*problems[0])
        encoding = _encoding(run.metadata, run.image_file)
        for images, reason, name in candidates:
            for build in (self._pair, self._direct, self._phasediff, self._phases):
                try:
                    found = build(images, run, encoding)
                except UnusableError as problem:
                    problems.append(problem.args)
                    continue
                if found is not None:
                    self._note_session(run, images, reason)
                    return self._named(found, name, reason), encoding
            problems.append((
                "none of the images for it is one from which a field can be computed: "
                + ", ".join(sorted({image.suffix for image in images})),
                "add the images that are missing",
            ))
        raise UnusableError(*problems[0])

    def of_t1w(self, run: BoldRun, reason: str) -> tuple[Fieldmap, PhaseEncoding]:
        """Return the field that registration to the T1w image gives, and how the run was encoded.

        Runs of one session with equal phase encoding share the field of the first one, so that
        errors of the registration are the same in all.

        Raises
        ------
        UnusableError, BidsDecoderError
            As :meth:`choose`.
        """
        encoding = _encoding_for_t1w(run, self.participant)
        key = run.session, encoding
        self._of_t1w.setdefault(key, Fieldmap(
            "", "t1w", run.session, (run.image_file,), encodings=(encoding,)
        ))
        return self._named(self._of_t1w[key], "", reason), encoding

    def _candidates(
        self, run: BoldRun, problems: list[tuple[str, str]]
    ) -> Iterator[tuple[list[FieldmapImage], str, str]]:
        """Find the images of each field that a run names, else those that name the run."""
        named = False
        for source in as_texts(run.metadata.get("B0FieldSource")):
            found = [image for image in self.images if source in image.identifiers]
            named = named or bool(found)
            # An identifier should be unique, but sidecars of all sessions may share it.
            own = [image for image in found if image.entities.get("ses") == run.session]
            meant = [image for image in found if image.is_intended_for(run.image_file)]
            sessions = {image.entities.get("ses") for image in found}
            if len(sessions) > 1 and not (own or meant):
                problems.append((
                    f"images of several sessions have the B0FieldIdentifier {source}, and none is "
                    "of the session of the run",
                    "give the images of each session an identifier of their own",
                ))
                continue
            found = (meant or own) if len(sessions) > 1 else found
            if found:
                yield found, f"B0FieldSource of the run is {source}", self._identifiers[source]
        if named:
            return
        found = [image for image in self.images if image.is_intended_for(run.image_file)]
        if found:
            yield found, "IntendedFor names the run", ""
        else:
            problems.append(_NO_IMAGE)

    def _note_session(self, run: BoldRun, images: list[FieldmapImage], reason: str) -> None:
        """Warn where all images of a field are of another session than the run."""
        sessions = {image.entities.get("ses") for image in images}
        if None in sessions or run.session in sessions or any(
            image.is_intended_for(run.image_file) for image in images
        ):
            return
        where = f"sub-{run.subject} {run.run_group}"
        self.findings.append(Finding(
            f"{where}: the field map is of another session",
            f"{reason}, and all images of it are of ses-{' ses-'.join(sorted(map(str, sessions)))}",
            "correct the sidecars if the head was placed anew in between, or use "
            "--ignore fieldmaps", severity="warning", participant=run.subject, place=where,
        ))

    def _named(self, found: Fieldmap, name: str, reason: str) -> Fieldmap:
        if found.files not in self._names:
            taken = set(self._names.values())
            free = (f"auto{number:05d}" for number in range(len(taken) + 1))
            self._names[found.files] = name if name and name not in taken else next(
                text for text in free if text not in taken
            )
        own = self._names[found.files]
        self.reasons.setdefault(own, reason)
        return Fieldmap(
            own, found.kind, found.session, found.files, found.magnitude, found.encodings,
            found.echo_gap, found.units,
        )

    def _pair(
        self, images: Sequence[FieldmapImage], run: BoldRun, encoding: PhaseEncoding
    ) -> Fieldmap | None:
        epis = [image for image in images if image.suffix in ("epi", "sbref")]
        if not epis:
            return None
        known, unknown = self._encodings(epis)
        partner = self._partner(run, encoding)
        for first, second in (
            *((a, b) for a in known for b in known if _agree(a[1], encoding)),
            *((partner, b) for b in known), *((a, b) for a in known for b in known),
        ):
            if _is_pair(first, second):
                self._note_left_out(unknown)
                return Fieldmap(
                    "", "pair", epis[0].entities.get("ses"), (first[0], second[0]),
                    encodings=(first[1], second[1]),
                )
        if unknown:
            raise next(iter(unknown.values()))
        names = ", ".join(path.name for path, _ in known)
        raise UnusableError(
            f"no two of these images have opposite phase encoding, nor has one of them the "
            f"opposite of the run's ({encoding.direction}): {names}",
            "correct PhaseEncodingDirection, or add the image with the other direction",
        )

    @staticmethod
    def _encodings(
        epis: Sequence[FieldmapImage]
    ) -> tuple[list[tuple[Path, PhaseEncoding]], dict[Path, UnusableError | BidsDecoderError]]:
        """Return how images were encoded, and what is wrong with the others."""
        known: list[tuple[Path, PhaseEncoding]] = []
        unknown: dict[Path, UnusableError | BidsDecoderError] = {}
        for epi in epis:
            try:
                known.append((epi.path, _encoding(epi.metadata, epi.path)))
            except (UnusableError, BidsDecoderError) as problem:
                unknown[epi.path] = problem
        return known, unknown

    def _note_left_out(self, unknown: dict[Path, UnusableError | BidsDecoderError]) -> None:
        for path, problem in unknown.items():
            why, fix = (
                problem.args if isinstance(problem, UnusableError)
                else (problem.finding.why, problem.finding.fix)
            )
            finding = Finding(
                str(path), f"left out of the images for the field: {why}", fix,
                severity="warning", participant=self.participant.label, place=str(path),
            )
            if finding not in self.findings:
                self.findings.append(finding)

    def _partner(self, run: BoldRun, encoding: PhaseEncoding) -> tuple[Path, PhaseEncoding]:
        """Return the run that stands for the missing direction: the first of its session."""
        sources = as_texts(run.metadata.get("B0FieldSource"))
        for other in self.participant.runs:
            alike = as_texts(other.metadata.get("B0FieldSource")) == sources
            if alike and other.session == run.session and other.source == "raw" and all(
                image.is_intended_for(other.image_file)
                for image in self.images if image.is_intended_for(run.image_file)
            ):
                own = read_phase_encoding(other.metadata, read_header(other.image_file).shape)
                if own is not None and _agree(own, encoding):
                    return other.image_file, own
        return run.image_file, encoding

    def _direct(
        self, images: Sequence[FieldmapImage], run: BoldRun, encoding: PhaseEncoding
    ) -> Fieldmap | None:
        del run, encoding
        image = next((image for image in images if image.suffix == "fieldmap"), None)
        if image is None:
            return None
        units = image.metadata.get("Units")
        if units not in HZ_PER_UNIT:
            raise UnusableError(
                f"{image.path.name} has {'no Units' if units is None else f'Units {units!r}'}",
                f"write Units into its sidecar: {', '.join(HZ_PER_UNIT)}",
            )
        return Fieldmap(
            "", "direct", image.entities.get("ses"), (image.path,), _magnitude(image, self.images),
            units=str(units),
        )

    def _phasediff(
        self, images: Sequence[FieldmapImage], run: BoldRun, encoding: PhaseEncoding
    ) -> Fieldmap | None:
        del run, encoding
        image = next((image for image in images if image.suffix == "phasediff"), None)
        if image is None:
            return None
        times = image.metadata.get("EchoTime1"), image.metadata.get("EchoTime2")
        # Converters write the phase of the later echo less that of the earlier one.
        gap = abs(_echo_gap(times, image.path, "EchoTime1 and EchoTime2"))
        return Fieldmap(
            "", "phasediff", image.entities.get("ses"), (image.path,),
            _magnitude(image, self.images), echo_gap=gap,
        )

    def _phases(
        self, images: Sequence[FieldmapImage], run: BoldRun, encoding: PhaseEncoding
    ) -> Fieldmap | None:
        del run, encoding
        first = next((image for image in images if image.suffix == "phase1"), None)
        if first is None:
            return None
        second = partner_of(first, self.images)
        if second is None:
            raise UnusableError(f"{first.path.name} has no phase2 image", "add it")
        times = first.metadata.get("EchoTime"), second.metadata.get("EchoTime")
        gap = _echo_gap(times, first.path, "EchoTime (of phase1 and phase2)")
        return Fieldmap(
            "", "phases", first.entities.get("ses"), (first.path, second.path),
            _magnitude(first, self.images), echo_gap=gap,
        )


def _magnitude(image: FieldmapImage, images: Sequence[FieldmapImage]) -> Path:
    found = magnitude_of(image, images)
    if found is None:
        raise UnusableError(
            f"{image.path.name} has no magnitude image with the same entities",
            "add it: the head in it places the field",
        )
    return found


def _encoding_for_t1w(run: BoldRun, participant: Participant) -> PhaseEncoding:
    """Return how a run was encoded, if it can be registered to the T1w image."""
    if not participant.t1w_files:
        raise UnusableError("the participant has no T1w image", "add one")
    shape = read_header(run.image_file).shape[:3]
    if min(shape) < MIN_SLICES:
        raise UnusableError(
            f"{run.image_file.name} has {min(shape)} slice(s), too few for registration to "
            f"the T1w image, which needs {MIN_SLICES}", "correct it with a field map",
        )
    return _encoding(run.metadata, run.image_file)


def _encoding(metadata: dict[str, object], path: Path) -> PhaseEncoding:
    found = read_phase_encoding(metadata, read_header(path).shape)
    if found is None:
        absent = [
            name for name, key in (
                ("PhaseEncodingDirection", "PhaseEncodingDirection"),
                (_READOUT, "TotalReadoutTime"),
            ) if key not in metadata
        ]
        raise UnusableError(
            f"{path.name} lacks {' and '.join(absent)}" if absent else
            f"{path.name} has PhaseEncodingDirection {metadata['PhaseEncodingDirection']!r} and "
            f"TotalReadoutTime {metadata['TotalReadoutTime']!r}, of which one is not possible",
            "write PhaseEncodingDirection (i, j, k, i-, j-, k-) and the readout time in seconds "
            "into its sidecar",
        )
    return found


def _echo_gap(times: tuple[object, object], path: Path, keys: str) -> float:
    if not all(isinstance(t, int | float) and 0 < t < 1 for t in times) or times[0] == times[1]:
        raise UnusableError(
            f"{path.name} lacks {keys}, or they are equal or not in seconds",
            "write both echo times in seconds into the sidecar",
        )
    first, second = (float(str(t)) for t in times)
    return second - first


def _agree(first: PhaseEncoding, second: PhaseEncoding) -> bool:
    return (first.axis, first.sign) == (second.axis, second.sign)


def _is_pair(first: tuple[Path, PhaseEncoding], second: tuple[Path, PhaseEncoding]) -> bool:
    if first[0] == second[0]:
        return False
    affines: list[np.ndarray] = [read_header(path).affine for path, _ in (first, second)]
    return are_opposite(affines[0], first[1], affines[1], second[1])
