"""Plan of reconstructing new trials: the painter beside the decoder, and the generator."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bids_decoder.analyses.apply.finding import is_zero_shot
from bids_decoder.analyses.apply.galleries import encoder_of, other_encoder, shown_pictures
from bids_decoder.analyses.study import Study
from bids_decoder.bids.stimulus_files import find_stimulus_files
from bids_decoder.errors import BidsDecoderError, ExitCode, Finding, name_some
from bids_decoder.evaluation.reconstruction import LEAST_PICTURES
from bids_decoder.interfaces.pictures import ReconstructionPlan
from bids_decoder.models.store import check_digest, load_card
from bids_decoder.stimuli.encoders import choose_encoder
from bids_decoder.training.fitted import ENTRY
from bids_decoder.training.painter import CARD, IMAGES, is_readable
from bids_decoder.training.reconstruction_settings import Reconstruction
from bids_decoder.trials import Decision
from bids_decoder.workflows.reconstruction import plan_reconstruction


@dataclass(frozen=True, eq=False)
class Painting:
    """How new trials are reconstructed.

    Parameters
    ----------
    painter : Path
        File of the painter of the decoder.
    sha256 : str
        Of its tensors.
    plan : ReconstructionPlan
    shown : mapping of str to Path
        Images of the stimuli that were shown, as far as they are known.
    trained : mapping of str to Path
        Images of all training stimuli of the decoder, of which the nearest one is a control; empty
        where it is left out.
    why_untrained : str
        Why it is left out.
    """

    painter: Path
    sha256: str
    plan: ReconstructionPlan
    shown: Mapping[str, Path]
    trained: Mapping[str, Path]
    why_untrained: str = ""

    def key(self, study: Study) -> dict[str, Any]:
        """Return what the reconstructions depend on."""
        return {"painter": self.sha256, "plan": self.plan.content,
                "shown": study.pictures_key(self.shown),
                "trained": study.pictures_key(self.trained)}


def painter_of(decoder: Path) -> Path:
    """Return the path of the painter of a decoder, whether it is there or not."""
    return decoder.with_name(decoder.name.replace("_desc-decoder_", "_desc-painter_"))


def why_no_painting(study: Study, path: Path, card: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return why new trials are not reconstructed.

    Parameters
    ----------
    study : Study
    path : Path
        Of the decoder.
    card : mapping
        Of the decoder.

    Returns
    -------
    why, fix : str
        None where they are.
    """
    kind = card[ENTRY]["targets"]["kind"]
    if study.settings.section(Reconstruction).method == "none":
        return "--reconstruction none", "leave the option out"
    if kind != "image":
        return f"it decodes {kind}, not images", "apply a decoder of images"
    if is_zero_shot(card):
        return "a model of other participants reconstructs nothing", "apply a decoder of their own"
    if study.settings.trials.trial_unit == "volume":
        return "single volumes are not reconstructed", "decode events or blocks"
    return _why_no_painter(path, card)


def _why_no_painter(path: Path, card: Mapping[str, Any]) -> tuple[str, str] | None:
    painter = painter_of(path)
    refit = "decode the participant again with this version, and keep both files together"
    if not painter.is_file():
        return f"there is no {painter.name} beside it", refit
    about = load_card(painter)
    if CARD not in about or about.get("decoder_key") != card.get("stage_key"):
        return f"{painter.name} was fitted with another decoder", refit
    if not is_readable(about):
        return f"{painter.name} was fitted by an earlier version", refit
    return None


def check_painting(study: Study, path: Path, card: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield what prevents reconstructions that were asked for, or damages of their files."""
    wanted, where = study.settings.section(Reconstruction), f"--reconstruction with {path.name}"
    try:
        why = why_no_painting(study, path, card)
        if why is None:
            painting = find_painting(study, path, card)
            check_digest(
                painting.painter, load_card(painting.painter), study.digest(painting.painter)
            )
            if painting.plan.method == "unclip":
                for why_not, fix in other_encoder(study, card[ENTRY], ""):
                    yield Finding(where, why_not, fix, ExitCode.BAD_DATA)
        elif wanted.method not in ("auto", "none"):
            yield Finding(where, *why, ExitCode.BAD_DATA)
    except BidsDecoderError as error:
        yield error.finding


def find_painting(study: Study, path: Path, card: Mapping[str, Any]) -> Painting:
    """Return how new trials are reconstructed, where nothing prevents it.

    Raises
    ------
    BidsDecoderError
        When the weights of the generator or of the metrics are missing or damaged.
    """
    wanted, painter = study.settings.section(Reconstruction), painter_of(path)
    # Painting needs no encoder, so that its weights need not be there.
    encoder = (
        encoder_of(study.settings.trials, card[ENTRY]) if wanted.method == "unclip"
        else choose_encoder("gabor")
    )
    plan = plan_reconstruction(wanted, encoder, study.digest)
    shown, about = shown_pictures(study), load_card(painter)
    trained, why = _find_trained(study, card[ENTRY]["seen"], about.get(IMAGES, {}), len(shown))
    return Painting(painter, about["sha256"], plan, shown, trained, why)


def _find_trained(
    study: Study, names: Sequence[str], digests: Mapping[str, str], n_shown: int
) -> tuple[Mapping[str, Path], str]:
    """Find the images of all training stimuli, or say why the nearest one is no control.

    Some of them would make a weaker control than all: it is one only where all are there.
    """
    if n_shown < LEAST_PICTURES:
        return {}, f"images of {n_shown} stimuli are known, {LEAST_PICTURES} are needed for scores"
    if not digests:
        return {}, "the painter does not name them: an earlier version fitted it"
    folder = study.dataset.stimuli_dir
    files, pictures = find_stimulus_files(folder, names).found, study.trials.pictures
    damaged = pictures.damaged(files)
    found = {
        name: file for name, file in files.items()
        if name not in damaged and pictures.digest(file) == digests.get(name)
    }
    lost = [name for name in names if name not in found]
    if lost:
        return {}, (
            f"{len(lost)} of {len(names)} are not in {folder or 'a stimulus folder'} as they were "
            f"in training: {name_some(lost)}; give their folder with --stimuli-dir"
        )
    return found, ""


def say_painting(label: str, painting: Painting | None, why: str) -> Decision:
    """Return the decision on how new trials of a participant are reconstructed."""
    if painting is None:
        return Decision(f"reconstruction of sub-{label}", "none", why)
    return Decision(
        f"reconstruction of sub-{label}", painting.plan.method,
        f"from {painting.painter.name}, which belongs to the decoder; images of "
        f"{len(painting.shown)} stimuli are known; the nearest of {len(painting.trained)} training "
        "images is a control" if painting.trained else
        f"from {painting.painter.name}, which belongs to the decoder; without the control by the "
        f"nearest training image: {painting.why_untrained}",
    )
