"""A small output folder as a run leaves it, fabricated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import SimpleITK as sitk
from PIL import Image

from bids_decoder.analyses.registry import section_kinds
from bids_decoder.bids.names import derivative_path
from bids_decoder.bids.writer import save_nifti, save_table
from bids_decoder.config import default_settings
from bids_decoder.files import write_json, write_text

EVIL = "<script>alert('x')</script>.png"
SHAPE = (20, 24, 10)
AFFINE = np.array([[3.0, 0, 0, -30], [0, 3, 0, -36], [0, 0, 3.5, -15], [0, 0, 0, 1]])


class Tree:
    """Writes files of a fabricated run; ``rng`` is seeded, so that trees are equal."""

    def __init__(
        self,
        root: Path,
        people: tuple[str, ...] = ("01", "02"),
        kind: str = "image",
        images: bool = True,
    ) -> None:
        self.out = root / "out"
        self.stimuli = root / "stimuli"
        self.kind = kind
        self.images = images
        self.people = people
        self.rng = np.random.default_rng(5)

    def path(self, key: str, **entities: str) -> Path:
        return derivative_path(self.out, key, **entities)

    def write(self) -> Tree:
        self.write_stimuli()
        self.write_plan()
        self.write_log()
        for person in self.people:
            self.write_trials(person)
            if self.images:
                self.write_images(person)
                self.write_confounds(person)
            self.write_decoder(person)
            self.write_metrics(person)
        self.write_group()
        return self

    def stimulus(self, number: int) -> str:
        return EVIL if number == 0 else f"im{number:03d}.png"

    def write_stimuli(self) -> None:
        self.stimuli.mkdir(parents=True)
        for number in range(1, 40):
            pixels = self.rng.integers(0, 255, (6, 6, 3), dtype=np.uint8)
            Image.fromarray(pixels).resize((96, 96)).save(self.stimuli / self.stimulus(number))

    def write_plan(self) -> None:
        test = [] if self.kind == "category" else [self.stimulus(n) for n in range(8)]
        split = {
            "kind": "runs" if self.kind == "category" else "stimuli",
            "target": self.kind,
            "test_stimuli": test,
            "folds": {},
            "reason": "8 stimuli are shared by all 2 participants and repeated, 32 are not.",
        }
        write_json(
            self.out / "plan.json",
            {
                "fingerprint": {"n_participants": len(self.people), "n_runs": 4},
                "split": split,
                "target_kind": self.kind,
                "decisions": [
                    {"what": "stimulus column", "value": "stim_file", "reason": f"seen: {EVIL}"}
                ],
                "warnings": [
                    {
                        "what": "run 2",
                        "why": "no slice timing",
                        "fix": "add SliceTiming",
                        "participant": self.people[0],
                    }
                ],
            },
        )

    def write_log(self, uuid: str = "20250301-120000_aa", crash: str = "") -> None:
        folder = self.out / "logs" / uuid
        default_settings(section_kinds()).to_toml(folder / "settings.toml")
        timings = [
            {
                "stage": s,
                "participant": p,
                "node": f"{s}_{n}",
                "seconds": 3.25 * n + 1,
                "peak_mb": 512.0 + n,
            }
            for p in self.people
            for s in ("preprocess", "betas", "decode")
            for n in range(3)
        ]
        write_json(
            folder / "run.json",
            {
                "command": ["bids_decoder", "/data", "/out", "participant"],
                "version": "0.1.0",
                "started": "2025-03-01T12:00:00+00:00",
                "timings": timings,
            },
        )
        if crash:
            write_text(folder / "crash-001.txt", crash)

    def write_trials(self, person: str) -> None:
        for run in "1234":
            n = 20
            numbers = np.array([(int(run) * 7 + i * 3) % 40 for i in range(n)])
            stimulus = [self.stimulus(i) for i in numbers]
            test = numbers < 8
            excluded = np.arange(n) == 19
            cv = self.kind == "category"
            table = pd.DataFrame(
                {
                    "trial": np.arange(1, n + 1),
                    "onset": 4.0 + 6.0 * np.arange(n),
                    "duration": 3.0,
                    "session": None,
                    "task": "see",
                    "run": run,
                    "run_group": f"task-see_run-{run}",
                    "stimulus": stimulus,
                    "label": [f"label{i % 4}" for i in numbers],
                    "repeat": 0,
                    "n_events": 1,
                    "split": np.where(
                        excluded, None, "cv" if cv else np.where(test, "test", "train")
                    ),
                    "fold": run if cv else np.where(test, "1", None),
                    "excluded": excluded,
                    "reason": np.where(excluded, "ends after the last volume", None),
                }
            )
            save_table(self.path("trials", sub=person, task="see", run=run), table)

    def brain(self) -> np.ndarray:
        grid = np.moveaxis(np.indices(SHAPE), 0, -1) - (np.array(SHAPE) - 1) / 2
        return ((grid / (np.array(SHAPE) * 0.45)) ** 2).sum(-1) < 1

    def write_images(self, person: str) -> None:
        brain = self.brain()
        bold = brain * (600 + 80 * self.rng.random(SHAPE))
        for run in "1234":
            at = {"sub": person, "task": "see", "run": run}
            save_nifti(self.path("boldref", **at), bold.astype(np.float32), AFFINE)
            save_nifti(self.path("bold_mask", **at), brain, AFFINE)
            self.write_xfm(self.path("bold_xfm", **at, from_="boldref", to="T1w"))
        fine = np.repeat(np.repeat(np.repeat(brain, 2, 0), 2, 1), 2, 2)
        affine = AFFINE.copy()
        affine[:3, :3] /= 2
        affine[:3, 3] += [5 - 0.75, -0.75, -0.875]
        save_nifti(
            self.path("preproc_T1w", sub=person),
            fine * np.float32(100) + fine * self.rng.random(fine.shape),
            affine,
        )
        save_nifti(self.path("anat_mask", sub=person), fine, affine)
        for stat in ("rsquare", "reliability", "noiseceiling"):
            values = brain * self.rng.beta(2, 6, SHAPE)
            save_nifti(self.path("statmap", sub=person, task="see", stat=stat), values, AFFINE)
        z = brain * self.rng.normal(0, 2, SHAPE)
        z[8:12, 3:8, 4:7] += 5
        contrast = self.path("statmap", sub=person, task="see", contrast="faceMinushouse", stat="z")
        save_nifti(contrast, z, AFFINE)
        troi = np.zeros(SHAPE, bool)
        troi[6:14, 3:8, 3:7] = self.rng.random((8, 5, 4)) > 0.3
        card = {
            "rule": "troi-budget",
            "budget": 100,
            "n_voxels": int(troi.sum()),
            "seed": 7,
            "TrainingTrialsOnly": True,
            "notes": ["budget chosen by inner cross-validation over runs"],
        }
        save_nifti(self.path("troi_mask", sub=person, task="see"), troi, AFFINE, metadata=card)
        save_nifti(
            self.path("troi_map", sub=person, task="see"), brain * self.rng.random(SHAPE), AFFINE
        )

    def write_xfm(self, path: Path) -> None:
        """The T1w image is the BOLD image moved by +5 mm to the right."""
        path.parent.mkdir(parents=True, exist_ok=True)
        transform = sitk.Euler3DTransform()
        transform.SetTranslation(
            (5.0, 0.0, 0.0)
        )  # LPS: a T1w point lies 5 mm further right than its BOLD point
        sitk.WriteTransform(transform, str(path))

    def write_confounds(self, person: str) -> None:
        for run in "1234":
            walk = np.cumsum(self.rng.normal(0, 0.03, (100, 6)), axis=0)
            table = pd.DataFrame(
                walk, columns=["trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z"]
            )
            table[["rot_x", "rot_y", "rot_z"]] /= 50
            step = np.abs(np.diff(walk, axis=0)).sum(1)
            step[40] = 0.9
            table["framewise_displacement"] = [np.nan, *step]
            table["std_dvars"] = [np.nan, *(1 + 0.3 * step)]
            save_table(self.path("confounds", sub=person, task="see", run=run), table)

    def write_decoder(self, person: str) -> None:
        rows = []
        for fold in (None, 1, 2):
            for epoch in range(1, 16):
                rows.append(
                    [
                        "stage1",
                        fold,
                        epoch,
                        4 / epoch**0.4 + 0.1 * (fold or 0),
                        0.5 - 0.4 / epoch,
                        int(3000 * 0.8**epoch),
                    ]
                )
            for epoch in range(1, 31):
                rows.append(["stage2", fold, epoch, 3 / epoch**0.5, 0.6 - 0.4 / epoch, None])
        columns = ["stage", "fold", "epoch", "loss", "val_score", "n_voxels"]
        save_table(self.path("learning", sub=person), pd.DataFrame(rows, columns=columns))
        card = {
            "decoder": "troi",
            "participant": person,
            "pretrained_on": ["03", "04", "05"],
            "seed": 7,
            "architecture": {"trunk": "residual"},
        }
        model = self.path("decoder_model", sub=person)
        model.parent.mkdir(parents=True, exist_ok=True)
        model.write_bytes(b"weights")
        write_json(model.with_suffix(".json"), card)
        save_table(self.path("predictions", sub=person), self.predictions())

    def predictions(self) -> pd.DataFrame:
        numbers = np.arange(40) % 8
        ranks = np.sort(self.rng.integers(1, 9, 40))
        ids = np.array([self.stimulus(n) for n in range(40)])
        tops = np.stack([self.rng.permutation(40)[:5] for _ in range(40)])
        tops[np.arange(40), np.minimum(ranks, 5) - 1] = numbers
        labels = np.array([f"label{n % 4}" for n in numbers])
        guess = np.where(self.rng.random(40) < 0.6, labels, "label1")
        return pd.DataFrame(
            {
                "stimulus": ids[numbers],
                "label": labels,
                "split": "cv" if self.kind == "category" else "test",
                "run_group": "task-see_run-1",
                "fold": 1,
                "rank_b2i": ranks,
                **{f"top{i + 1}": ids[tops[:, i]] for i in range(5)},
                "predicted_label": guess if self.kind == "category" else None,
                "correct": guess == labels,
            }
        )

    def write_metrics(self, person: str, decoder: float = 0.45, best: float = 0.38) -> None:
        values = {
            "troi": decoder,
            "ridge": best,
            "ridge-all-voxels": 0.3,
            "ridge-random": 0.22,
            "univariate": 0.33,
        }
        if self.kind == "category":
            cases = [
                ("balanced_accuracy", None, "single", None),
                ("accuracy", None, "single", None),
            ]
        else:
            cases = [
                (m, d, u, s)
                for u in ("single", "averaged")
                for s in ("cosine", "csls", "sinkhorn")
                for m in ("top1", "top5", "median_rank")
                for d in ("b2i", "i2b")
            ]
        rows = []
        for metric, direction, unit, similarity in cases:
            for model, share in values.items():
                value = share * (0.9 if direction == "i2b" else 1.0)
                half, chance = 0.06, 0.125
                if metric == "median_rank":
                    value, half, chance = 0.6 / share, 0.5, 4.5
                rows.append(
                    {
                        "model": model,
                        "metric": metric,
                        "direction": direction,
                        "unit": unit,
                        "similarity": similarity,
                        "split": "test",
                        "value": value,
                        "chance": chance,
                        "ci_low": value - half,
                        "ci_high": value + half,
                        "p": 0.001,
                        "n": 8,
                        "pool_size": 8,
                        "n_draws": 30,
                    }
                )
        save_table(self.path("metrics", sub=person), pd.DataFrame(rows))

    def write_group(self) -> None:
        model = self.path("pretrained_model")
        model.parent.mkdir(parents=True, exist_ok=True)
        model.write_bytes(b"weights")
        seen = [self.stimulus(n) for n in range(8, 40)]
        write_json(
            model.with_suffix(".json"),
            {
                "participants": ["03", "04", "05"],
                "holdout": list(self.people),
                "stimuli_seen": seen,
                "seed": 7,
            },
        )
        rows = [["pretrain", None, e, 5 / e**0.5, 0.4 - 0.3 / e, None] for e in range(1, 41)]
        columns = ["stage", "fold", "epoch", "loss", "val_score", "n_voxels"]
        save_table(self.path("pretrained_learning"), pd.DataFrame(rows, columns=columns))
