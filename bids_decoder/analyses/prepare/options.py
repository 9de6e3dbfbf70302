"""Options of preparation: multi-echo data and the single-trial GLM."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path

from bids_decoder.bids.echo_settings import MultiEcho
from bids_decoder.errors import BidsDecoderError
from bids_decoder.options import bad_value, choices, option, read_number, read_registered, several

SECTION = MultiEcho


def add_options(parser: ArgumentParser) -> None:
    """Add the options of this analysis."""
    _add_multi_echo(parser)
    group = parser.add_argument_group("Specific options for the single-trial GLM")
    option(
        group, "--betas", dest="glm.estimator", metavar="NAME",
        type=read_registered("glm.estimators:ESTIMATORS"),
        help="how the response to each trial is estimated: `ridge` (all trials of a run in one "
        "model, a penalty per voxel by restricted likelihood), `lss` (least squares "
        "separate), `lsa` (least squares all), `glmsingle` (response shapes from a library, "
        "denoising, ridge fractions; what needs labels is tuned on training trials), "
        "`volume` (no model: the single volume at the peak of the expected response, "
        "cleaned and z-scored within its run; with `--trial-unit event`, single volumes are "
        "decoded)",
    )
    option(
        group, "--hrf", dest="glm.hrf", type=_read_hrf, metavar="MODEL",
        help="haemodynamic response: `spm`, `glover`, or one of `library01` to `library20`",
    )
    option(
        group, "--high-pass", dest="glm.high_pass", type=read_number(float, 0.0), metavar="HZ",
        help="cut-off of the drift model in Hz; `0`: no drift model",
    )
    several(
        group, "--confounds", dest="glm.confounds", metavar="NAME", type=_read_confounds,
        default="`motion`",
        help="nuisance regressors: `motion` (6), `motion24`, `acompcor` (motion and five "
        "components), nilearn's strategies `simple`, `scrubbing`, `compcor` and `ica_aroma`, "
        "patterns of columns (`'w_comp_cor_0[0-4]'`), folders of own tables "
        "(`/data/physio`, with a slash), or `none`; several are joined. In "
        "derivatives they are read from fMRIPrep's table, or else from motion parameters "
        "beside the BOLD; see [confounds](#nuisance-regressors)",
    )
    several(
        group, "--contrasts", dest="glm.contrasts", metavar="EXPRESSION",
        help="contrasts of conditions to map, as `'face - house' 'face - 0.5*house - 0.5*chair'`",
    )


def _add_multi_echo(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("Specific options for multi-echo data")
    option(
        group, "--echo", dest="multiecho.echo", section=MultiEcho, type=read_number(int, 1),
        metavar="N", default="all are combined",
        help="use this echo of multi-echo runs only, by the number in its name. Otherwise the "
        "echoes of raw runs are combined, weighted by T2*; this needs the package `tedana` (`pip "
        "install 'bids_decoder[multiecho]'`), echo times and at least three echoes",
    )
    option(
        group, "--me-output", dest="multiecho.output", section=MultiEcho,
        choices=choices(MultiEcho, "output"),
        help="`combined`: write the combination of the echoes, with maps of T2*, S0 and weights; "
        "`echoes`: also write each preprocessed echo",
    )
    option(
        group, "--tedana", dest="multiecho.tedana", section=MultiEcho, action="store_true",
        help="decompose each multi-echo run with `tedana`'s workflow (ICA), and add the components "
        "that do not depend on the echo time to the confounds of its model, beside those of "
        "`--confounds`; nothing is removed from the data",
    )


def _read_confounds(text: str) -> str:
    """Read a name, a pattern, or a folder; an absolute path tells a folder from a name."""
    path = Path(text).expanduser()
    if "/" not in text and not path.is_dir():
        return text
    if not path.is_dir():
        raise bad_value(
            f"{text!r} is no folder", "give a folder of tables *.tsv, or names of confounds",
        )
    return str(path.absolute())


def _read_hrf(text: str) -> str:
    from bids_decoder.glm.hrf import get_hrf

    try:
        return get_hrf(text).name
    except BidsDecoderError as error:
        raise bad_value(f"{text!r} {error.finding.why}", error.finding.fix) from error
