"""DeepLight on simulated participants: benefit of pretraining on other tasks, and maps.

Participants perform three tasks. Every mental state of every task is a mixture of the same few
brain networks, whose locations differ slightly between participants, so that training can
transfer between tasks. A network is pretrained on two tasks, then trained on the states of the
third with data of 5 to 100 % of the participants, and compared with the same network without
pretraining; both are tested on held-out participants. Run it with::

    python benchmarks/deeplight.py [--seeds 3] [--shares 0.05 0.2 1]
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import pandas as pd
import torch
from scipy.ndimage import gaussian_filter, shift
from scipy.stats import t as student
from sklearn.metrics import roc_auc_score

from bids_decoder.config import Network, Troi, Volumes
from bids_decoder.models.store import Model
from bids_decoder.models.volumes import SliceNetwork, VolumeNetwork
from bids_decoder.training.decoders import FitContext
from bids_decoder.training.deeplight import DeepLightDecoder
from bids_decoder.trials import Person, Targets, VoxelGrid

SHAPE = (10, 10, 5)
GRID = VoxelGrid(np.ones(SHAPE, bool), np.diag([4.0, 4.0, 4.0, 1.0]))
N_NETWORKS, STATES = 8, {"emotion": 3, "motor": 3, "memory": 4}
N_PEOPLE, N_TEST, REPEATS, N_RUNS = 20, 10, 2, 3
SHARES = (0.05, 0.1, 0.2, 0.4, 0.6, 1.0)


def draw_states(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Draw the states of each task as mixtures of networks, (n_states, i, j, k)."""
    networks = np.zeros((N_NETWORKS, *SHAPE))
    for number in range(N_NETWORKS):
        networks[(number, *(rng.integers(1, size - 1) for size in SHAPE))] = 1
        networks[number] = gaussian_filter(networks[number], 1.0)
        networks[number] /= networks[number].max()
    states = {}
    for task, n_states in STATES.items():
        mixture = np.zeros((n_states, N_NETWORKS))
        for row in mixture:
            row[rng.choice(N_NETWORKS, 2, replace=False)] = 1.0
        states[task] = np.tensordot(mixture, networks, axes=1)
    return states


def draw_person(label: str, patterns: np.ndarray, rng: np.random.Generator, first: int) -> Person:
    """Draw trials of a participant whose networks lie up to a voxel away from everybody's."""
    own = np.stack([shift(p, rng.uniform(-0.7, 0.7, 3), order=1) for p in patterns])
    states = np.tile(np.repeat(np.arange(len(patterns)), REPEATS), N_RUNS)
    values = 2.0 * own[states].reshape(len(states), -1)
    values = values + rng.standard_normal(values.shape)
    values = (values - values.mean(0)) / values.std(0)
    runs = np.repeat([f"{label}-{n}" for n in range(N_RUNS)], len(patterns) * REPEATS)
    trials = pd.DataFrame({"run_group": runs, "split": "train"})
    return Person(label, GRID, values.astype(np.float32), trials, states + first)


def together(people: list[Person]) -> Person:
    """Join participants into one with a run per participant, so that participants are held out."""
    if len(people) == 1:
        return people[0]
    runs = [person.trials.assign(run_group=person.label) for person in people]
    return Person(
        people[0].label, GRID, np.concatenate([person.betas for person in people]),
        pd.concat(runs, ignore_index=True),
        np.concatenate([person.target_rows for person in people]),
    )


def targets_of(tasks: list[str]) -> Targets:
    """Make the targets of all states of some tasks."""
    names = tuple(f"{task}{n}" for task in tasks for n in range(STATES[task]))
    return Targets(names, np.eye(len(names), dtype=np.float32), "category")


def fit(person: Person, targets: Targets, pretrained: Model | None, context: FitContext) -> Model:
    """Train on participants joined into one."""
    decoder = DeepLightDecoder()
    selection = decoder.select(person, targets, pretrained, context)
    return decoder.adapt(person, targets, selection, pretrained, context)


def accuracy(model: Model, test: Person) -> float:
    """Share of trials of unseen participants that are decoded rightly."""
    decoded = DeepLightDecoder().predict(model, test.betas).argmax(axis=1)
    return float((decoded == test.target_rows).mean())


def one_seed(seed: int, settings: Volumes, shares: tuple[float, ...]) -> list[dict]:
    """Run the whole comparison once."""
    rng = np.random.default_rng(seed)
    states = draw_states(rng)
    context = FitContext(Network(), Troi(), seed, "cpu", settings)
    sources = []
    for number in range(N_PEOPLE):
        parts = [
            draw_person(f"{number}", states[task], rng, first)
            for task, first in (("emotion", 0), ("motor", STATES["emotion"]))
        ]
        sources.append(together(parts))
    decoder, target = DeepLightDecoder(), targets_of(["memory"])
    pretrained = decoder.pretrain(sources, targets_of(["emotion", "motor"]), context)
    people = [draw_person(f"t{n}", states["memory"], rng, 0) for n in range(N_PEOPLE)]
    test = together([draw_person(f"x{n}", states["memory"], rng, 0) for n in range(N_TEST)])
    rows = []
    for share in shares:
        some = together(people[:max(1, round(share * N_PEOPLE))])
        for name, start in (("pretrained", pretrained), ("from scratch", None)):
            model = fit(some, target, start, context)
            rows.append({"seed": seed, "share": share, "start": name,
                         "accuracy": accuracy(model, test)})
    if 1.0 not in shares:
        return rows
    rows[-2]["maps"] = check_maps(fit(together(people), target, pretrained, context), test, states,
                                  context)
    shuffled = together(people)
    shuffled = Person("p", GRID, shuffled.betas, shuffled.trials,
                      rng.permutation(shuffled.target_rows))
    rows.append({"seed": seed, "share": 1.0, "start": "permuted labels",
                 "accuracy": accuracy(fit(shuffled, target, pretrained, context), test)})
    return rows


def check_maps(
    model: Model, test: Person, states: dict[str, np.ndarray], context: FitContext
) -> dict[str, float]:
    """Compare the maps with the places where the states differ."""
    relevance = DeepLightDecoder().relevance(model, test, context)
    patterns = states["memory"]
    truth = (patterns.std(axis=0) > 0.2).ravel()
    mean = np.mean([np.abs(values) for values in relevance.maps.values()], axis=0)
    own = [
        roc_auc_score(patterns[int(label[-1])].ravel() > 0.3, values)
        for label, values in relevance.maps.items()
    ]
    notes = {k: v for k, v in relevance.notes.items() if isinstance(v, float)}
    return {"auc_any_state": roc_auc_score(truth, mean), "auc_own_state": float(np.mean(own)),
            **notes}


def throughput(shape: tuple[int, int, int], batch_size: int, device: str) -> list[dict]:
    """Measure training steps on standard volumes."""
    rows = []
    for name, network in (("2d", SliceNetwork(shape, 16)), ("3d", VolumeNetwork(16))):
        network.to(device).train()
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
        volumes = torch.randn(batch_size, *shape, device=device)
        classes = torch.arange(batch_size, device=device) % 16
        seconds = []
        for _ in range(3):
            started = time.perf_counter()
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(network(volumes), classes).backward()
            optimizer.step()
            if device != "cpu":
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - started)
        rows.append({"network": name, "shape": shape, "batch": batch_size, "device": device,
                     "threads": torch.get_num_threads(),
                     "volumes/s": round(batch_size / min(seconds), 2)})
    return rows


def over_seeds(table: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Return mean accuracies and half widths of 95 % intervals (Student's t) over seeds."""
    found = table.groupby(by)["accuracy"].agg(["mean", "sem", "count"])
    found["half_width"] = found["sem"] * student.ppf(0.975, found["count"] - 1)
    return found.round(3)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--shares", type=float, nargs="+", default=SHARES)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only-throughput", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if not options.only_throughput:
        settings = Volumes(epochs=20, pretrain_epochs=30, patience=6)
        shares = tuple(options.shares)
        rows = []
        for seed in range(options.seeds):
            found = one_seed(seed, settings, shares)
            print(pd.DataFrame(found).to_string(), flush=True)
            rows += found
        table = pd.DataFrame(rows).assign(maps=lambda t: t.get("maps"))
        maps = pd.DataFrame(table.pop("maps").dropna().tolist())
        print(f"accuracy on {N_TEST} unseen people, chance {1 / STATES['memory']:.2f}")
        print(over_seeds(table, ["start", "share"]).to_string())
        print("\npretrained minus from scratch, paired by seed")
        wide = table.pivot_table(index=["seed", "share"], columns="start", values="accuracy")
        wide["accuracy"] = wide["pretrained"] - wide["from scratch"]
        print(over_seeds(wide.reset_index(), ["share"]).to_string())
        print("\nmaps of held-out people\n" + maps.round(3).to_string())
    device = "cuda" if torch.cuda.is_available() else "cpu"
    print("\ntraining throughput")
    print(pd.DataFrame(throughput((91, 109, 91), 2 if device == "cpu" else 32, device)).to_string())


if __name__ == "__main__":
    main()
