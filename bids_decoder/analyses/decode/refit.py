"""Nodes that repeat all fits on permuted labels or stimuli."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from nipype.interfaces.base import File, TraitedSpec, traits

from bids_decoder.analyses.decode.matches import MatchedFold, save_matches
from bids_decoder.analyses.refits import BASELINES, MANY
from bids_decoder.interfaces.fitting import PersonalInterface, PersonInputSpec
from bids_decoder.interfaces.null_predictions import FoldNulls, save_nulls
from bids_decoder.interfaces.progress import log_progress
from bids_decoder.interfaces.targets import read_targets


class _RefitInputSpec(PersonInputSpec):
    n_permutations = traits.Int(mandatory=True, desc="of all parts together")
    permutation_seed = traits.Int(mandatory=True, desc="the same in all folds")
    first = traits.Int(mandatory=True, desc="number of the first permutation of this part")
    count = traits.Int(mandatory=True, desc="permutations of this part")


class _RefitOutputSpec(TraitedSpec):
    nulls_file = File(exists=True, desc="null predictions of decoder and baselines")


class RefitPermuted(PersonalInterface):
    """Repeat selection, fit and prediction of one fold for some permutations of the labels."""

    input_spec = _RefitInputSpec
    output_spec = _RefitOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        from bids_decoder.training.refit import DECODER, permute_fold, refit_baselines, refit_fold

        inputs = self.inputs
        targets = read_targets(inputs.targets_file)
        rng = np.random.default_rng(inputs.permutation_seed)
        fold = permute_fold(
            *self._people(targets), inputs.n_permutations, rng, targets.numbers
        )
        fold = fold.part(inputs.first, inputs.count)
        given = self._decoder(), fold, targets, self._pretrained(targets), self._context()
        progress = log_progress(f"chance in fold {inputs.fold}", unit="permutation")
        scores = {
            DECODER: refit_fold(*given, progress),
            **refit_baselines(*given, max(0, BASELINES - inputs.first)),
        }
        nulls = FoldNulls(inputs.fold, fold.test_rows, scores, fold.exchange.describe())
        self._results["nulls_file"] = str(save_nulls(Path(runtime.cwd) / "nulls.npz", nulls))
        return runtime


class _RefitStimuliInputSpec(_RefitInputSpec):
    together = traits.List(traits.List(traits.Str()), desc="stimuli that folds do not separate")


class RefitStimuli(PersonalInterface):
    """Repeat selection, fit and prediction of one fold for some permutations of the stimuli."""

    input_spec = _RefitStimuliInputSpec
    output_spec = _RefitOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        from bids_decoder.training.refit import DECODER
        from bids_decoder.training.refit_stimuli import (
            permute_stimuli,
            refit_decoder,
            refit_vector_baselines,
        )

        inputs = self.inputs
        targets = read_targets(inputs.targets_file)
        rng = np.random.default_rng(inputs.permutation_seed)
        fold = permute_stimuli(
            *self._people(targets), inputs.together or [], inputs.n_permutations, rng
        ).part(inputs.first, inputs.count)
        given = self._decoder(), fold, targets, self._pretrained(targets), self._context()
        progress = log_progress(f"chance in fold {inputs.fold}", unit="permutation")
        matches = {
            DECODER: refit_decoder(*given, progress),
            **refit_vector_baselines(*given, max(0, BASELINES - inputs.first)),
        }
        found = MatchedFold(
            inputs.fold, matches, fold.exchange.describe(), fold.exchange.smallest_p(MANY)
        )
        self._results["nulls_file"] = str(save_matches(Path(runtime.cwd) / "nulls.npz", found))
        return runtime
