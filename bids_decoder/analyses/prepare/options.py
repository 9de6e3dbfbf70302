"""Options of preparation: the single-trial GLM."""

from __future__ import annotations

from argparse import ArgumentParser

from bids_decoder.config import Glm
from bids_decoder.errors import BidsDecoderError
from bids_decoder.options import bad_value, choices, option, read_number, read_registered, several


def add_options(parser: ArgumentParser) -> None:
    """Add the options of this analysis."""
    group = parser.add_argument_group("Specific options for the single-trial GLM")
    option(
        group, "--betas", dest="glm.estimator", metavar="NAME",
        type=read_registered("glm.estimators:ESTIMATORS"),
        help="estimator of the response to each trial: ridge, lss, lsa, glmsingle, volume",
    )
    option(
        group, "--hrf", dest="glm.hrf", type=_read_hrf, metavar="MODEL",
        help="haemodynamic response: spm, glover, or library01 to library20",
    )
    option(
        group, "--high-pass", dest="glm.high_pass", type=read_number(float, 0.0), metavar="HZ",
        help="cut-off of the drift model in Hz; 0 for no drift model",
    )
    option(
        group, "--confounds", dest="glm.confounds", choices=choices(Glm, "confounds"),
        help="nuisance regressors",
    )
    several(
        group, "--contrasts", dest="glm.contrasts", metavar="EXPRESSION",
        help="contrasts of conditions to map, as 'face - house'",
    )


def _read_hrf(text: str) -> str:
    from bids_decoder.glm.hrf import get_hrf

    try:
        return get_hrf(text).name
    except BidsDecoderError as error:
        raise bad_value(f"{text!r} {error.finding.why}", error.finding.fix) from error
