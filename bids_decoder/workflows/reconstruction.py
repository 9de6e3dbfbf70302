"""Plan of how images are reconstructed, which several analyses share."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from bids_decoder.interfaces.pictures import ReconstructionPlan
from bids_decoder.stimuli.encoders import EncoderChoice
from bids_decoder.stimuli.unclip import find_pipeline
from bids_decoder.stimuli.weights import PACKAGE, Digest
from bids_decoder.training.reconstruction_settings import Reconstruction


def plan_reconstruction(
    wanted: Reconstruction, encoder: EncoderChoice, digest: Digest
) -> ReconstructionPlan:
    """Choose the method of reconstruction and find its weights.

    Parameters
    ----------
    wanted : Reconstruction
    encoder : EncoderChoice
        Of the images that are decoded.
    digest : callable
        Returns the digest of a file of weights.

    Returns
    -------
    ReconstructionPlan

    Raises
    ------
    BidsDecoderError
        When weights are missing or damaged.
    """
    method = "ridge" if wanted.method == "auto" else wanted.method
    given: dict[str, Any] = {}
    if method == "unclip":
        pipeline = find_pipeline(wanted.weights, encoder, digest)
        given |= {"pipeline": str(pipeline.path), "pipeline_sha256": pipeline.sha256}
    if wanted.metric_weights is not None or find_spec(PACKAGE) is not None:
        from bids_decoder.stimuli.perceptual import find_networks

        networks = find_networks(wanted.metric_weights, digest)
        given["networks"] = {k: (str(w.path), w.sha256) for k, w in networks.items()}
    return ReconstructionPlan(method, wanted.size, wanted.n_steps, wanted.low_level, **given)
