"""The shallow 3-D CNN on simulated PET: a table like that of the paper, and occlusion maps.

200 participants with four labels and some with a hidden fifth; kernels of the 3-D network, one
layer on grey values, and a 2-D network on the mosaic of slices. The 2-D network has random
weights, unless a folder with weights is given: it is a control, and its accuracy says nothing
about networks trained on photographs. Run it with::

    python benchmarks/cnn3d.py [--people 200] [--repeats 2] [--backbone FOLDER]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import roc_auc_score

from bids_decoder.config import Evaluation, Volumes
from bids_decoder.errors import MissingInputError
from bids_decoder.evaluation.subjects import score_subjects, subject_folds
from bids_decoder.models.backbones import RANDOM, backbone_features, load_backbone
from bids_decoder.models.volumes import KERNELS, ShallowNetwork
from bids_decoder.preprocessing.standardise import standardise_volume
from bids_decoder.simulate.pet import EXTERNAL, LABELS, PetCohort, simulate_pet
from bids_decoder.training.subjects import (
    Cohort,
    RepeatResult,
    cross_validate,
    linear_scores,
)

EVALUATION = Evaluation(n_permutations=300)
N_SPLITS = 5


def make_cohort(simulated: PetCohort) -> Cohort:
    """Standardise the volumes and number the labels."""
    classes = np.array([
        -1 if label == EXTERNAL else LABELS.index(label) for label in simulated.labels
    ])
    volumes = np.stack([standardise_volume(volume) for volume in simulated.volumes])
    return Cohort(volumes, classes, tuple(str(n) for n in range(len(classes))), LABELS)


def network_results(
    cohort: Cohort, folds: np.ndarray, settings: Volumes, device: str, explains: bool
) -> list[RepeatResult]:
    """Cross-validate the network in every round."""
    return [
        cross_validate(cohort, repeat, settings, seed=number, device=device,
                       explains=explains and number == 0)
        for number, repeat in enumerate(folds)
    ]


def linear_results(features: np.ndarray, cohort: Cohort, folds: np.ndarray) -> list[RepeatResult]:
    """Cross-validate one layer on features in every round."""
    return [
        RepeatResult(*linear_scores(features, cohort, repeat, 0), None, ()) for repeat in folds
    ]


def row_of(
    name: str, cohort: Cohort, run: Callable[[], list[RepeatResult]]
) -> tuple[dict[str, object], list[RepeatResult]]:
    """Time a model and make its row of the table."""
    started = time.process_time()
    results = run()
    seconds = time.process_time() - started
    metrics, _ = score_subjects(
        np.stack([r.scores for r in results]), cohort.classes[cohort.inner],
        n_splits=N_SPLITS, model=name, settings=EVALUATION, rng=np.random.default_rng(0),
    )
    metrics = metrics.set_index("metric")
    accuracy = metrics.loc["accuracy"]
    outer = np.mean([r.external for r in results], axis=0).argmax(axis=1)
    return {
        "model": name, "accuracy": round(accuracy["value"], 3),
        "95 % interval": f"{accuracy['ci_low']:.3f} - {accuracy['ci_high']:.3f}",
        "NMI": round(metrics.loc["nmi", "value"], 3),
        "macro AUC": round(metrics.loc["macro_auc", "value"], 3), "CPU s": round(seconds, 1),
        "external decoded as": " ".join(
            f"{label}:{n}" for label, n in zip(LABELS, np.bincount(outer, minlength=4), strict=True)
        ),
    }, results


def map_areas(maps: np.ndarray, truth: dict[str, np.ndarray]) -> pd.DataFrame:
    """Say how well the occlusion map of each label finds the places of that label."""
    return pd.DataFrame([
        {"label": label, "AUC of the occlusion map": round(
            roc_auc_score(truth[label].ravel(), maps[LABELS.index(label)].ravel()), 3)}
        for label in LABELS if label in truth
    ])


def throughput(shape: tuple[int, int, int], device: str) -> pd.DataFrame:
    """Measure training steps on volumes of the published size, batches of six."""
    rows = []
    for kernel in KERNELS:
        network = ShallowNetwork(shape, 4, kernel).to(device).train()
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
        volumes, classes = torch.rand(6, *shape, device=device), torch.zeros(6).long().to(device)
        seconds = []
        for _ in range(3):
            started = time.perf_counter()
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(network(volumes), classes).backward()
            optimizer.step()
            if device != "cpu":
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - started)
        rows.append({"kernel": kernel, "shape": shape, "device": device,
                     "threads": torch.get_num_threads(),
                     "volumes/s": round(6 / min(seconds), 2)})
    return pd.DataFrame(rows)


def compare(options: argparse.Namespace, device: str) -> None:
    """Print the table of all models, the external participants and the maps."""
    simulated = simulate_pet(options.people, 8, seed=0, shape=(14, 12, 9))
    cohort = make_cohort(simulated)
    folds = subject_folds(cohort.classes[cohort.inner], N_SPLITS, options.repeats, seed=0)
    rows = []
    for kernel in KERNELS:
        settings = Volumes(kernel=kernel, epochs=options.epochs)
        row, results = row_of(f"3-D CNN {kernel}", cohort, lambda settings=settings: (
            network_results(cohort, folds, settings, device, settings.kernel == "3x3x3")
        ))
        rows.append(row)
        if kernel == "3x3x3":
            areas = map_areas(results[0].maps, simulated.truth)
    grey = cohort.volumes.reshape(len(cohort.volumes), -1)
    rows.append(row_of("linear, grey values", cohort,
                       lambda: linear_results(grey, cohort, folds))[0])
    for name in options.backbone:
        title = "2-D ResNet-50, random weights (stand-in)" if name == RANDOM else f"2-D {name}"
        try:
            model = load_backbone(name, seed=0)
        except MissingInputError as error:
            print(f"left out: {title}: {error}")
            continue
        rows.append(row_of(title, cohort, lambda model=model: linear_results(
            backbone_features(model, cohort.volumes, device), cohort, folds
        ))[0])
    rng = np.random.default_rng(1)
    mixed = cohort.classes.copy()
    mixed[cohort.inner] = rng.permutation(cohort.classes[cohort.inner])
    permuted = Cohort(cohort.volumes, mixed, cohort.names, cohort.labels)
    rows.append(row_of("3-D CNN, permuted labels", permuted, lambda: network_results(
        permuted, folds[:1], Volumes(epochs=options.epochs), device, False
    ))[0])
    print(f"{options.people} people, 4 labels, {options.repeats} x {N_SPLITS} folds, {device}")
    print(pd.DataFrame(rows).to_string(index=False))
    print("\n" + areas.to_string(index=False))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--people", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--backbone", nargs="*", default=[RANDOM])
    parser.add_argument("--only-throughput", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if not options.only_throughput:
        compare(options, device)
    print("\ntraining throughput\n" + throughput((95, 79, 60), device).to_string(index=False))


if __name__ == "__main__":
    main()
