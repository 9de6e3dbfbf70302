"""Nodes of the analysis of one volume per participant."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    Directory,
    File,
    SimpleInterface,
    TraitedSpec,
    traits,
)

from bids_decoder.config import Volumes
from bids_decoder.evaluation.subjects import (
    permute_people,
    subject_folds,
)
from bids_decoder.files import read_json, write_json
from bids_decoder.interfaces.arrays import new_array
from bids_decoder.interfaces.fitting import DeviceInputSpec
from bids_decoder.models.store import Model, save_model
from bids_decoder.preprocessing.standardise import standardise_volume
from bids_decoder.seeds import derive_seed
from bids_decoder.stimuli.weights import PACKAGED, find_packaged

VOLUMES, COHORT = "volumes.npy", "cohort.json"
NETWORK, VOXELS, CONFOUND = "cnn3d", "linear-voxels", "confound-"


class _PrepareInputSpec(BaseInterfaceInputSpec):
    image_files = traits.List(traits.Str(), mandatory=True, desc="one per participant, on one grid")
    participants = traits.List(traits.Str(), mandatory=True)
    labels = traits.List(traits.Str(), mandatory=True, desc="label of each participant")
    external = traits.List(traits.Bool(), mandatory=True)
    confounds = traits.Dict(desc="name -> value of each participant")
    removed = traits.List(traits.Str(), desc="confounds that are regressed out")
    key = traits.Str(desc="key of the stage")


class _PrepareOutputSpec(TraitedSpec):
    folder = Directory(exists=True, desc="volumes.npy and cohort.json")


class PrepareVolumes(SimpleInterface):
    """Standardise one volume per participant into one memory-mapped array."""

    input_spec = _PrepareInputSpec
    output_spec = _PrepareOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        images = [nib.load(path) for path in inputs.image_files]
        array = new_array(
            Path(runtime.cwd) / VOLUMES, (len(images), *images[0].shape[:3])
        )
        for row, image in enumerate(images):
            array[row] = standardise_volume(np.asarray(image.dataobj))
        array.flush()
        write_json(Path(runtime.cwd) / COHORT, {
            "participants": list(inputs.participants), "labels": list(inputs.labels),
            "external": list(inputs.external), "affine": images[0].affine.tolist(),
            "confounds": dict(inputs.confounds or {}), "removed": list(inputs.removed or []),
        })
        self._results["folder"] = runtime.cwd
        return runtime


def read_cohort(folder: Path | str) -> tuple[Any, np.ndarray, dict[str, Any]]:
    """Read the outputs of :class:`PrepareVolumes`.

    Returns
    -------
    cohort : Cohort
    affine : ndarray, shape (4, 4)
    card : dict
        Content of ``cohort.json``.
    """
    from bids_decoder.training.subjects import EXTERNAL, Cohort

    card = read_json(Path(folder) / COHORT)
    pairs = list(zip(card["labels"], card["external"], strict=True))
    names = sorted({label for label, external in pairs if not external})
    classes = np.array([EXTERNAL if external else names.index(label) for label, external in pairs])
    volumes = np.load(Path(folder) / VOLUMES, mmap_mode="r")
    removed = read_confounds(card)[card["removed"]] if card["removed"] else None
    cohort = Cohort(volumes, classes, tuple(card["participants"]), tuple(names), removed)
    return cohort, np.array(card["affine"]), card


def read_confounds(card: dict[str, Any]) -> pd.DataFrame:
    """Return the confounds of all participants; *card* is the content of ``cohort.json``."""
    return pd.DataFrame(card["confounds"], dtype=object).replace("", np.nan)


class _FitInputSpec(DeviceInputSpec):
    folder = Directory(exists=True, mandatory=True, desc="of PrepareVolumes")
    volumes = traits.Dict(mandatory=True, desc="fields of config.Volumes")
    n_splits = traits.Int(mandatory=True)
    n_repeats = traits.Int(mandatory=True)


class _Fit(SimpleInterface):
    def _start(self) -> tuple[Any, np.ndarray, np.ndarray]:
        """Return the cohort, its affine, and the folds of all repeats."""
        import torch

        inputs = self.inputs
        torch.set_num_threads(inputs.n_threads)
        cohort, affine, _ = read_cohort(inputs.folder)
        folds = subject_folds(
            cohort.classes[cohort.inner], inputs.n_splits, inputs.n_repeats, inputs.seed
        )
        return cohort, affine, folds

    def _comparator(self, cohort: Any) -> Callable[..., tuple[np.ndarray, np.ndarray]]:
        """Return what fits and scores a comparator, of (cohort, folds, seed)."""
        from bids_decoder.training.subjects import confound_scores, linear_scores

        inputs = self.inputs
        if inputs.confound:
            values = read_confounds(read_json(Path(inputs.folder) / COHORT))[inputs.confound]
            return lambda people, folds, seed: confound_scores(values, people, folds)
        features = self._features(cohort)
        return lambda people, folds, seed: linear_scores(features, people, folds, seed)

    def _features(self, cohort: Any) -> np.ndarray:
        """Return what a comparator's layer sees, (n_people, n_features)."""
        from bids_decoder.models.backbones import backbone_features, load_backbone
        from bids_decoder.stimuli.efficientnet import load_pooled

        inputs = self.inputs
        if not inputs.backbone:
            return cohort.volumes.reshape(len(cohort.volumes), -1)
        if inputs.backbone == PACKAGED:
            extract = load_pooled(find_packaged("--backbone"), inputs.device)
        else:
            extract = load_backbone(inputs.backbone, inputs.seed, inputs.device)
        return backbone_features(extract, cohort.volumes, inputs.device)


class _RepeatInputSpec(_FitInputSpec):
    repeat = traits.Int(mandatory=True, desc="from 0")


class _ScoresOutputSpec(TraitedSpec):
    scores_file = File(exists=True, desc="npz")


class RepeatNetwork(_Fit):
    """Run one round of cross-validation of the network; the first also makes maps."""

    input_spec = _RepeatInputSpec
    output_spec = _ScoresOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        from bids_decoder.training.subjects import cross_validate

        cohort, _, folds = self._start()
        inputs = self.inputs
        result = cross_validate(
            cohort, folds[inputs.repeat], Volumes(**inputs.volumes),
            seed=derive_seed(inputs.seed, "network", inputs.repeat), device=inputs.device,
            explains=inputs.repeat == 0,
        )
        path = Path(runtime.cwd) / "scores.npz"
        maps = {} if result.maps is None else {"maps": result.maps}
        np.savez(path, scores=result.scores, external=result.external,
                 n_epochs=np.array(result.n_epochs), **maps)
        self._results["scores_file"] = str(path)
        return runtime


class _ComparatorInputSpec(_FitInputSpec):
    backbone = traits.Str("", usedefault=True, desc="empty: grey values themselves")
    confound = traits.Str("", usedefault=True, desc="decoded from it alone, not from volumes")


class Comparator(_Fit):
    """Run all rounds of cross-validation of one layer on fixed features, or of one confound."""

    input_spec = _ComparatorInputSpec
    output_spec = _ScoresOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        cohort, _, folds = self._start()
        fit = self._comparator(cohort)
        found = [fit(cohort, repeat, self.inputs.seed) for repeat in folds]
        path = Path(runtime.cwd) / "scores.npz"
        np.savez(path, scores=np.stack([scores for scores, _ in found]),
                 external=np.stack([external for _, external in found]))
        self._results["scores_file"] = str(path)
        return runtime


class _PermutedInputSpec(_ComparatorInputSpec):
    model = traits.Enum("network", "comparator", mandatory=True)
    n_permutations = traits.Int(mandatory=True)
    sites = traits.List(traits.Str(), desc="of all participants; labels are exchanged within them")


class PermutedSubjects(_Fit):
    """One round of cross-validation under each permutation of the labels."""

    input_spec = _PermutedInputSpec
    output_spec = _ScoresOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        from bids_decoder.training.subjects import cross_validate, permuted_rounds

        inputs = self.inputs
        cohort, _, _ = self._start()
        sites = np.array(inputs.sites)[cohort.inner] if inputs.sites else None
        permuted, blocks = permute_people(
            cohort.classes[cohort.inner], sites, inputs.n_permutations,
            derive_seed(inputs.seed, "permute"),
        )
        if inputs.model == "network":
            settings = Volumes(**inputs.volumes)

            def fit(people: Any, folds: np.ndarray, seed: int) -> np.ndarray:
                return cross_validate(
                    people, folds, settings, seed=seed, device=inputs.device
                ).scores
        else:
            score = self._comparator(cohort)

            def fit(people: Any, folds: np.ndarray, seed: int) -> np.ndarray:
                return score(people, folds, seed)[0]

        scores = permuted_rounds(cohort, permuted, inputs.n_splits, fit, inputs.seed)
        path = Path(runtime.cwd) / "permuted.npz"
        np.savez(path, classes=permuted, scores=scores, blocks=blocks)
        self._results["scores_file"] = str(path)
        return runtime


class _FinalOutputSpec(TraitedSpec):
    model_file = File(exists=True)
    embedding_file = File(exists=True)


class FinalNetwork(_Fit):
    """Fit the network on all non-external participants, and embed all in a plane."""

    input_spec = _FitInputSpec
    output_spec = _FinalOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        from bids_decoder.training.classifier import penultimate
        from bids_decoder.training.subjects import embed, fit_network

        cohort, affine, _ = self._start()
        removed = [] if cohort.removed is None else list(cohort.removed)
        cohort, inputs = cohort.cleaned(cohort.inner), self.inputs
        network, history = fit_network(
            cohort, cohort.inner, Volumes(**inputs.volumes),
            seed=derive_seed(inputs.seed, "final"), device=inputs.device,
        )
        state = {f"network.{k}": v.numpy() for k, v in network.state_dict().items()}
        card = {
            "decoder": NETWORK, "classes": list(cohort.labels), "volumes": dict(inputs.volumes),
            "shape": list(cohort.volumes.shape[1:]), "history": history,
            "participants": [cohort.names[row] for row in cohort.inner], "seed": inputs.seed,
            "removed_confounds": removed,
        }
        model = Model({**state, "frame.affine": affine}, card)
        self._results["model_file"] = str(save_model(Path(runtime.cwd) / "m.safetensors", model))
        sources = {
            "features": penultimate(network, cohort.volumes),
            "voxels": cohort.volumes.reshape(len(cohort.volumes), -1),
        }
        parts = []
        for source, features in sources.items():
            places, method = embed(features, inputs.seed)
            parts.append(pd.DataFrame({
                "row": np.arange(len(places)), "source": source, "method": method,
                "x": places[:, 0], "y": places[:, 1],
            }))
        path = Path(runtime.cwd) / "embedding.csv"
        pd.concat(parts).to_csv(path, index=False)
        self._results["embedding_file"] = str(path)
        return runtime
