"""Nodes of retrieval among a gallery of images that were not shown."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from nipype.interfaces.base import File, TraitedSpec, traits

from bids_decoder.analyses.gallery.outputs import write_gallery
from bids_decoder.bids.writer import read_table, save_table
from bids_decoder.config import Evaluation
from bids_decoder.evaluation.baselines import merge_random_draws
from bids_decoder.evaluation.gallery import list_nearest, score_gallery
from bids_decoder.evaluation.tables import Nulls, join_nulls
from bids_decoder.interfaces.fitting import PersonalInterface, PersonInputSpec
from bids_decoder.interfaces.heldout import Heldout, read_heldout, training_mean
from bids_decoder.interfaces.person_outputs import (
    PersonOutputs,
    WriteInputSpec,
    WriteInterface,
    save_nulls,
)
from bids_decoder.interfaces.targets import read_targets
from bids_decoder.models.store import load_model
from bids_decoder.trials import Targets

Runtime = Any


@dataclass(frozen=True, eq=False)
class GalleryVectors:
    """Vectors of images that were not shown, in the spaces of the predictions.

    Parameters
    ----------
    ids : ndarray of str, shape (n_images,)
    decoder : ndarray, shape (n_images, n_latents)
    baselines : ndarray, shape (n_images, n_dims)
    """

    ids: np.ndarray
    decoder: np.ndarray
    baselines: np.ndarray


class _SearchInputSpec(PersonInputSpec):
    model_file = File(exists=True, mandatory=True, desc="that predicted the trials")
    heldout_files = traits.List(File(exists=True), mandatory=True, desc="the first one is used")
    gallery_file = File(exists=True, mandatory=True, desc="vectors of images that were not shown")
    evaluation = traits.Dict(mandatory=True, desc="fields of config.Evaluation")


class _SearchOutputSpec(TraitedSpec):
    metrics_file = File(exists=True)
    gallery_file = File(exists=True, desc="nearest images")
    nulls_file = File(exists=True, desc="null distributions, with a sidecar")


class SearchGallery(PersonalInterface):
    """Rank the seen stimuli among tested stimuli and gallery, for decoder and baselines."""

    input_spec = _SearchInputSpec
    output_spec = _SearchOutputSpec

    def _run_interface(self, runtime: Runtime) -> Runtime:
        inputs = self.inputs
        targets, others = read_targets(inputs.targets_file), read_targets(inputs.gallery_file)
        train, _ = self._people(targets)
        gallery = GalleryVectors(
            np.array(others.ids),
            self._decoder().gallery(load_model(Path(inputs.model_file)), others),
            others.vectors - training_mean(train, targets),
        )
        heldout_file = inputs.heldout_files[0]
        metrics, lists, nulls = score_among_gallery(
            read_heldout(heldout_file), gallery, targets, Evaluation(**inputs.evaluation),
            inputs.seed,
        )
        folder = Path(runtime.cwd)
        self._results["nulls_file"] = str(save_nulls(folder / "nulls.tsv", nulls, inputs.seed))
        self._results["metrics_file"] = str(save_table(folder / "metrics.tsv", metrics))
        self._results["gallery_file"] = str(save_table(folder / "gallery.tsv", lists))
        return runtime


def score_among_gallery(
    heldout: Heldout, gallery: GalleryVectors, targets: Targets, settings: Evaluation, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame, Nulls]:
    """Score decoder and baselines among the tested stimuli and a gallery.

    Parameters
    ----------
    heldout : Heldout
        Of a fixed split.
    gallery : GalleryVectors
    targets : Targets
    settings : Evaluation
    seed : int

    Returns
    -------
    metrics, lists : DataFrame
        Long table over models; the nearest images of each stimulus, of the decoder only.
    nulls : Nulls
        Of all models.
    """
    models = {name: heldout.embedded(name, targets.ids) for name in heldout.models}
    found = [
        score_gallery(
            model, gallery.decoder if name == "decoder" else gallery.baselines, settings,
            np.random.default_rng(seed), model=name,
        )
        for name, model in models.items()
    ]
    lists = list_nearest(models["decoder"], gallery.decoder, gallery.ids)
    metrics = pd.concat([table for table, _ in found], ignore_index=True)
    return merge_random_draws(metrics), lists, join_nulls([nulls for _, nulls in found])


class _WriteInputSpec(WriteInputSpec):
    metrics_file = File(exists=True, mandatory=True)
    gallery_file = File(exists=True, mandatory=True, desc="nearest images")
    nulls_file = File(exists=True, mandatory=True)
    images = traits.Dict(traits.Str(), traits.Str(), desc="image file of stimuli and gallery")


class WriteGallery(WriteInterface):
    """Write the scores, the nearest images and a sheet of some of them."""

    input_spec = _WriteInputSpec

    def _write(self, outputs: PersonOutputs) -> None:
        images = {name: Path(path) for name, path in self.inputs.images.items()}
        write_gallery(
            outputs, read_table(self.inputs.metrics_file), read_table(self.inputs.gallery_file),
            images,
        )
        outputs.nulls("gallery_nulls", Path(self.inputs.nulls_file))
