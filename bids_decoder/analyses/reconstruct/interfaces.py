"""Nodes that reconstruct images from held-out trials and score them against controls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from nipype.interfaces.base import Directory, File, TraitedSpec, traits

from bids_decoder.analyses.reconstruct.outputs import (
    ERROR_FILE,
    PAINTER_FILE,
    write_reconstruction,
)
from bids_decoder.bids.writer import save_table
from bids_decoder.config import Evaluation, Troi
from bids_decoder.evaluation.reconstruction import (
    EDGE,
    NEAREST,
    nearest_rows,
    resize,
    score_reconstructions,
)
from bids_decoder.evaluation.retrieval import average_repeats
from bids_decoder.files import write_json
from bids_decoder.interfaces.fitting import PersonalInterface, PersonInputSpec, read_selection
from bids_decoder.interfaces.person_outputs import PersonOutputs, WriteInputSpec, WriteInterface
from bids_decoder.interfaces.pictures import ReconstructionPlan, feature_spaces, generate
from bids_decoder.interfaces.targets import read_targets
from bids_decoder.models.store import Model, load_model, save_model
from bids_decoder.seeds import derive_seed
from bids_decoder.stimuli.images import ImageFiles, picture_digest
from bids_decoder.stimuli.sheets import Tile, draw_sheet, save_picture, to_picture
from bids_decoder.training.painter import IMAGES, Painter, fit_painter
from bids_decoder.training.selectors import reselect
from bids_decoder.trials import Person, Targets

Runtime = Any

MAX_ROWS = 12
_SHEET_EDGE = 112


class _ReconstructInputSpec(PersonInputSpec):
    folds = traits.List(traits.Int, mandatory=True, desc="folds of stimuli; 0 for a fixed split")
    selection_files = traits.List(File(exists=True), mandatory=True, desc="one for each fold")
    model_files = traits.List(File(exists=True), mandatory=True, desc="one for each fold")
    whole_selection_file = File(exists=True, mandatory=True, desc="on all training trials")
    whole_model_file = File(exists=True, mandatory=True, desc="fitted to all training trials")
    decoder_key = traits.Str(mandatory=True, desc="of the stage that fits the decoder")
    images = traits.Dict(traits.Str(), traits.Str(), mandatory=True, desc="stimulus id -> file")
    plan = traits.Dict(mandatory=True, desc="fields of ReconstructionPlan")
    evaluation = traits.Dict(mandatory=True, desc="fields of config.Evaluation")


class _ReconstructOutputSpec(TraitedSpec):
    reconstruction_dir = Directory(exists=True, desc="pictures, sheet, tables, notes")


@dataclass(frozen=True, eq=False)
class _Responses:
    """Inputs of reconstruction: one averaged response per tested stimulus, and the mean."""

    stimuli: np.ndarray
    betas: np.ndarray  # (n_stimuli + 1, n_voxels); the last row is the mean of the training
    embedding: np.ndarray  # (n_stimuli + 1, n_latents)


@dataclass(frozen=True, eq=False)
class _Made:
    """Images of the tested stimuli of one fold."""

    stimuli: np.ndarray
    pictures: np.ndarray  # (n_stimuli + 1, height, width, 3); the last one is of the mean
    nearest: np.ndarray
    trained: np.ndarray  # stimulus of each training trial
    painter: Painter


class ReconstructImages(PersonalInterface):
    """Reconstruct an image for each tested stimulus from the mean over its repeats."""

    input_spec = _ReconstructInputSpec
    output_spec = _ReconstructOutputSpec

    def _run_interface(self, runtime: Runtime) -> Runtime:
        inputs, folder = self.inputs, Path(runtime.cwd)
        plan, targets = ReconstructionPlan(**inputs.plan), read_targets(inputs.targets_file)
        folds = [
            self._reconstruct(plan, targets, *files) for files in zip(
                inputs.folds, inputs.selection_files, inputs.model_files, strict=True
            )
        ]
        stimuli = np.concatenate([fold.stimuli for fold in folds])
        nearest = np.concatenate([fold.nearest for fold in folds])
        # Thousands of large pictures do not fit into memory: they are read for each comparison.
        seen = self._images(stimuli)
        pictures: dict[str, Sequence[np.ndarray]] = {
            "reconstruction": [made for fold in folds for made in fold.pictures[:-1]],
            "mean-brain": [
                picture for fold in folds for picture in [fold.pictures[-1]] * len(fold.stimuli)
            ],
            NEAREST: self._images(nearest),
        }
        metrics, each = score_reconstructions(
            seen, pictures, list(feature_spaces(plan.networks, inputs.device)),
            settings=Evaluation(**inputs.evaluation),
            rng=np.random.default_rng(derive_seed(inputs.seed, "reconstruction scores")),
        )
        each.insert(0, "nearest_training_stimulus", nearest)
        self._save(folder, stimuli, seen, pictures, metrics, each)
        self._save_painter(folder, plan, targets, folds)
        n_trials = min(len(fold.trained) for fold in folds)
        write_json(folder / "notes.json", self._notes(plan, targets, n_trials))
        self._results["reconstruction_dir"] = runtime.cwd
        return runtime

    def _reconstruct(
        self, plan: ReconstructionPlan, targets: Targets, fold: int, selection: str,
        model_file: str,
    ) -> _Made:
        """Reconstruct the test stimuli of one fold with the model that has not seen them."""
        model = load_model(Path(model_file))
        train, test = self._people(targets, fold)
        responses = self._responses(model, train, test)
        gallery = self._decoder().gallery(model, targets)
        painter = self._painter(plan, train, selection, gallery)
        painted = painter.paint(responses.betas)
        rows = nearest_rows(responses.embedding[:-1], gallery, train.target_rows)
        nearest, made = np.array(targets.ids)[rows], painted
        if plan.method == "unclip":
            vectors = self._decoder().picture_vectors(
                model, responses.embedding, derive_seed(self.inputs.seed, "prior")
            )
            made = generate(
                plan, vectors, painted, self.inputs.device, self.inputs.seed, Path.cwd()
            )
        return _Made(responses.stimuli, made, nearest, _shown(train), painter)

    def _responses(self, model: Model, train: Person, test: Person) -> _Responses:
        stimuli, seen = np.unique(test.trials["stimulus"].to_numpy(str), return_inverse=True)
        decoder = self._decoder()
        betas = [test.betas[seen == number].mean(axis=0) for number in range(len(stimuli))]
        embedding = average_repeats(decoder.predict(model, test.betas), seen)
        mean = np.mean(train.betas, axis=0, dtype=np.float64)[None]
        of_mean = decoder.predict(model, mean.astype(np.float32))
        return _Responses(
            stimuli, np.concatenate([np.stack(betas), mean]).astype(np.float32),
            np.concatenate([embedding, of_mean]),
        )

    def _painter(
        self, plan: ReconstructionPlan, train: Person, selection: str, gallery: np.ndarray
    ) -> Painter:
        names, picture_rows = np.unique(_shown(train), return_inverse=True)
        pictures = np.empty((len(names), plan.size, plan.size, 3), np.float32)
        for row, picture in enumerate(self._images(names)):
            pictures[row] = resize(picture, plan.size)
        weights, wanted = read_selection(selection).weights, gallery[train.target_rows]
        settings, n_voxels = Troi(**self.inputs.troi), np.count_nonzero(weights)

        def select(rows: np.ndarray) -> np.ndarray:
            return reselect(
                train.subset(rows), wanted[rows], settings, n_voxels, self.inputs.seed
            )

        return fit_painter(train, weights, pictures, picture_rows, select)

    def _save_painter(
        self, folder: Path, plan: ReconstructionPlan, targets: Targets, folds: list[_Made]
    ) -> None:
        """Write the painter of all training trials, for new trials."""
        if self.inputs.folds == [0]:
            painter, trained = folds[0].painter, folds[0].trained
        else:
            train, _ = self._people(targets, 0)
            trained = _shown(train)
            gallery = self._decoder().gallery(
                load_model(Path(self.inputs.whole_model_file)), targets
            )
            painter = self._painter(plan, train, self.inputs.whole_selection_file, gallery)
        card = {
            "decoder_key": self.inputs.decoder_key, "n_training_trials": len(trained),
            # New trials are compared with these images, which are no part of the file.
            IMAGES: {
                name: picture_digest(Path(self.inputs.images[name]))
                for name in np.unique(trained).tolist()
            },
        }
        save_model(folder / PAINTER_FILE, painter.to_model(card))
        row, column = np.indices(painter.error.shape)
        save_table(folder / ERROR_FILE, pd.DataFrame({
            "row": row.ravel(), "column": column.ravel(),
            "error": painter.error.ravel(), "spread": painter.spread.ravel(),
        }))

    def _images(self, stimuli: np.ndarray) -> ImageFiles:
        return ImageFiles([Path(self.inputs.images[name]) for name in stimuli], EDGE)

    def _save(
        self, folder: Path, stimuli: np.ndarray, seen: Sequence[np.ndarray],
        pictures: dict[str, Sequence[np.ndarray]], metrics: pd.DataFrame, each: pd.DataFrame,
    ) -> None:
        made = pictures["reconstruction"]
        for number, picture in enumerate(made, start=1):
            save_picture(folder / f"{number:04d}.png", to_picture(picture))
        save_table(folder / "metrics.tsv", metrics)
        each.insert(0, "stimulus", stimuli)
        each.insert(1, "picture", [f"{number:04d}" for number in range(1, len(made) + 1)])
        save_table(folder / "pictures.tsv", each)
        order = np.argsort(-each["two_way_gabor"].to_numpy(), kind="stable")
        chosen = order[np.linspace(0, len(order) - 1, min(MAX_ROWS, len(order))).astype(int)]
        rows = [
            [Tile(to_picture(seen[i]), stimuli[i]), Tile(to_picture(made[i])),
             Tile(to_picture(pictures[NEAREST][i])),
             Tile(to_picture(pictures["mean-brain"][i]))]
            for i in chosen
        ]
        sheet = draw_sheet(
            rows, ("seen", "reconstructed", "nearest training", "mean brain"), _SHEET_EDGE
        )
        save_picture(folder / "sheet.png", sheet)

    def _notes(
        self, plan: ReconstructionPlan, targets: Targets, n_trials: int
    ) -> dict[str, Any]:
        notes: dict[str, Any] = {
            "Method": plan.method, "Seed": self.inputs.seed, "ImageEncoder": targets.source,
            "n_training_trials": n_trials, "TrainingTrialsOnly": True,
            "PaintedEdge": plan.size,
        }
        if plan.method == "unclip":
            notes |= {"PipelineSHA256": plan.pipeline_sha256, "Steps": plan.n_steps,
                      "LowLevelShare": plan.low_level}
        if plan.networks:
            notes["MetricNetworksSHA256"] = {k: v[1] for k, v in plan.networks.items()}
        return notes


def _shown(person: Person) -> np.ndarray:
    """Return the stimulus of each trial."""
    return person.trials["stimulus"].to_numpy(str)


class _WriteInputSpec(WriteInputSpec):
    reconstruction_dir = Directory(exists=True, mandatory=True, desc="of ReconstructImages")


class WriteReconstruction(WriteInterface):
    """Write images, their sheet and their scores into the derivatives."""

    input_spec = _WriteInputSpec

    def _write(self, outputs: PersonOutputs) -> None:
        write_reconstruction(outputs, Path(self.inputs.reconstruction_dir))
