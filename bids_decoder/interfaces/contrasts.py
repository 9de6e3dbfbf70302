"""Node of condition contrasts of one participant."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from nipype.interfaces.base import (
    File,
    OutputMultiObject,
    SimpleInterface,
    TraitedSpec,
    isdefined,
    traits,
)

from bids_decoder.bids.series import load_series
from bids_decoder.bids.writer import save_nifti
from bids_decoder.config import Glm
from bids_decoder.glm.design import (
    condition_design,
    contrast_entity,
    parse_contrast,
    trial_regressors,
)
from bids_decoder.glm.hrf import get_hrf
from bids_decoder.glm.run_tables import RunTables, contrast_vectors
from bids_decoder.interfaces.glm import GlmInputSpec, read_run_tables

if TYPE_CHECKING:
    from nilearn.glm.first_level import FirstLevelModel

OTHER_TRIALS = "other_trials"


class _ContrastInputSpec(GlmInputSpec):
    map_entities = traits.Dict(desc="entities that the names of all maps share")


class _ContrastOutputSpec(TraitedSpec):
    statmaps = OutputMultiObject(File(exists=True), desc="z and effect maps")
    statmaps_entities = traits.List(traits.Dict, desc="names of the maps")
    statmaps_metadata = traits.List(traits.Dict, desc="sidecars of the maps")


class ConditionContrast(SimpleInterface):
    """Contrast conditions over runs with nilearn: a z map and an effect map for each.

    Test trials and trials without label share one regressor of no interest. The noise is
    always AR(1), since z values are interpreted as significance.
    """

    input_spec = _ContrastInputSpec
    output_spec = _ContrastOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        # Its import takes a second, and most calls compute no contrasts.
        from nilearn.glm.first_level import FirstLevelModel

        glm = Glm(**self.inputs.settings)
        tables = read_run_tables(self.inputs, glm)
        designs = [_contrast_design(table, glm) for table in tables]
        images = [load_series(Path(path)) for path in self.inputs.bold_files]
        labels = sorted({name for _, names in designs for name in names})
        weights = {text: parse_contrast(text, labels) for text in glm.contrasts}
        model = FirstLevelModel(
            mask_img=self.inputs.mask_file, noise_model="ar1", signal_scaling=0,
            minimize_memory=True,
        )
        with warnings.catch_warnings():
            # Both warnings are expected: the mask is known, and a run without one of the
            # conditions has a contrast of zeros.
            warnings.filterwarnings("ignore", message="Contrast for run")
            warnings.filterwarnings("ignore", message=".*Generation of a mask")
            model.fit(images, design_matrices=[d for d, _ in designs])
            self._results.update(statmaps=[], statmaps_entities=[], statmaps_metadata=[])
            for text in glm.contrasts:
                self._write(Path(runtime.cwd), model, text, _vectors(designs, text, weights[text]))
        return runtime

    def _write(
        self, folder: Path, model: FirstLevelModel, text: str, vectors: list[np.ndarray]
    ) -> None:
        shared = self.inputs.map_entities if isdefined(self.inputs.map_entities) else {}
        maps = model.compute_contrast(vectors, output_type="all")
        name = contrast_entity(text)
        used = [number + 1 for number, vector in enumerate(vectors) if vector.any()]
        for stat, key, units in (
            ("z", "z_score", "z"), ("effect", "effect_size", "percent signal change"),
        ):
            image = maps[key]
            data = np.nan_to_num(image.get_fdata(dtype=np.float32))
            path = save_nifti(folder / f"{name}_{stat}.nii.gz", data, image.affine)
            self._results["statmaps"].append(str(path))
            self._results["statmaps_entities"].append({**shared, "contrast": name, "stat": stat})
            self._results["statmaps_metadata"].append({
                "Description": f"{text}: {key.replace('_', ' ')}, fixed effects over runs.",
                "Units": units, "Contrast": text, "RunsUsed": used, "SkullStripped": True,
            })


def _contrast_design(table: RunTables, glm: Glm) -> tuple[pd.DataFrame, list[str]]:
    names, known = table.conditions, table.labelled
    regressors = trial_regressors(
        table.onsets, table.durations, table.timing, get_hrf(glm.hrf)
    )
    design = condition_design(regressors[:, known], table.labels[known], table.nuisance)
    rest = regressors[:, ~known].sum(axis=1)
    if rest.any():
        design.insert(len(names), OTHER_TRIALS, rest)
    return design, names


def _vectors(
    designs: Sequence[tuple[pd.DataFrame, list[str]]], text: str, weights: dict[str, float]
) -> list[np.ndarray]:
    vectors = contrast_vectors([names for _, names in designs], text, weights)
    return [
        np.r_[vector, np.zeros(design.shape[1] - len(vector))]
        for (design, _), vector in zip(designs, vectors, strict=True)
    ]
