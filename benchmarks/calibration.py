"""Are p-values uniform without signal, do intervals cover with it? One row per kind of analysis.

    python benchmarks/calibration.py --out calibration.tsv    all rows, as in docs/statistics.md
    python benchmarks/calibration.py --datasets 100 --with-signal 100     minutes, not hours
    python benchmarks/calibration.py --rows labels retrieval  some of the rows

Permutations have seeds of their own: from the seed of the data they would follow its noise.

Each dataset goes through the program's own split of trials into folds, exchange of labels, fit and
scores. Runs drift, noise is autocorrelated, classes are of unequal size. Columns: number of
datasets without signal, share of them with p <= .05 and p <= .01; number of datasets with signal,
share with p <= .05 (power), share of 95 % intervals that hold the true value. ``fixed``: what would
come of exchanging labels against the fixed predictions of cross-validation, which this program does
not do.

The true value under cross-validation is the expected one over datasets of this design: the mean
over all datasets with signal. With one test set it is that of the trained model on new test trials.

Results of single datasets are appended to the file ``--out``; a call with a file that has some
continues.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd
from calibration_folds import stimulus_folds
from calibration_labels import (
    Design,
    Outcome,
    across_kinds,
    comparison,
    confound_alone,
    fixed_comparison,
    labels_by_decoder,
    labels_by_pretrained,
    labels_by_ridge,
    one_test_set,
)
from calibration_others import (
    effect,
    encoder_comparison,
    encoding,
    groups,
    image_comparison,
    images_across_kinds,
    participants,
    prevalence,
    retrieval,
)
from calibration_volumes import labels_by_network, searchlight

Study = Callable[[float, int], Outcome]


def labels(n_runs: int, per_run: int = 10, **design: object) -> Study:
    """Return the study of labels over runs by ridge regression."""
    return lambda signal, seed: labels_by_ridge(
        Design(n_runs, per_run, signal=signal, **design), seed
    )


def without_signal(study: Callable[[int], Outcome]) -> Study:
    """Return a study whose true difference is always zero."""
    return lambda _, seed: study(seed)


FIVE = Design(8, 20, n_classes=5)
"""Of five labels, whose names can be exchanged in 120 ways."""

ON_LATTICE = Design(4, 20, n_voxels=144, lattice=(6, 6, 4))
"""With smooth noise."""

ROWS: dict[str, tuple[Study, float]] = {
    "prevalence, nobody": (prevalence, 1.0),
    "prevalence, half": (partial(prevalence, kind="majority"), 1.0),
    "effect over 12 participants": (effect, 0.06),
    "two groups, 3 sites": (groups, 0.06),
    "comparison of encoders": (without_signal(encoder_comparison), 0.0),
    "comparison, retrieval": (without_signal(image_comparison), 0.0),
    "participants": (participants, 0.25),
    "participants, area under the curve": (partial(participants, metric="macro_auc"), 0.25),
    "encoding, 20 images": (encoding, 0.15),
    "one test set": (lambda s, k: one_test_set(Design(8, signal=s), k), 0.2),
    "comparison, one test set": (
        without_signal(lambda k: fixed_comparison(Design(8, n_voxels=20, signal=0.3), k)), 0.0),
    "across kinds, 8 runs": (lambda s, k: across_kinds(Design(8, 20, signal=s), k), 0.2),
    "across kinds, codes of their own": (
        without_signal(lambda k: across_kinds(Design(8, 20), k, own_codes=0.3)), 0.0),
    "across kinds, five labels": (
        without_signal(lambda k: across_kinds(FIVE, k, own_codes=0.3)), 0.0),
    "across kinds, five names": (
        without_signal(lambda k: across_kinds(FIVE, k, own_codes=0.3, by_names=True)), 0.0),
    "across kinds, five names, one code": (
        lambda s, k: across_kinds(replace(FIVE, signal=s), k, by_names=True), 0.2),
    "across kinds, images, codes of their own": (without_signal(images_across_kinds), 0.0),
    "retrieval, 20 images": (retrieval, 0.12),
    "features, 20 images": (partial(retrieval, metric="median_rank"), 0.12),
    "optimal transport, 20 images": (partial(retrieval, similarity="sinkhorn"), 0.12),
    "retrieval, 100 images": (partial(retrieval, n_images=100), 0.1),
    "comparison, 8 folds": (
        without_signal(lambda k: comparison(Design(8, n_voxels=20, signal=0.3), k)), 0.0),
    "confound alone, 8 runs": (confound_alone, 0.5),
    "stimuli in folds, 12": (partial(stimulus_folds, n_stimuli=12), 0.25),
    "stimuli in folds, 20": (stimulus_folds, 0.2),
    "stimuli in folds, decoder": (partial(stimulus_folds, n_stimuli=12, decoder=True), 0.25),
    "stimuli in folds, spatial prior": (
        partial(stimulus_folds, n_stimuli=40, decoder=True, lattice=(4, 5, 2)), 0.1),
    "searchlight, largest value": (searchlight, 0.5),
    "searchlight, cluster enhancement": (partial(searchlight, corrected="p_tfce"), 0.5),
    "labels, 4 runs": (labels(4), 0.25),
    "labels, 8 runs": (labels(8), 0.15),
    "labels in blocks": (labels(8, order="blocks"), 0.2),
    "labels, 12 runs": (labels(12), 0.12),
    "runs of one label, 12 runs": (labels(12, 4, order="runs"), 0.4),
    "runs of one label, 8 runs": (labels(8, 4, order="runs", n_classes=2), 0.3),
    "labels, 30 runs": (labels(30, 4, n_voxels=30, n_classes=2), 0.12),
    "decoder, 4 runs": (lambda s, k: labels_by_decoder(Design(4, signal=s), k), 0.35),
    "decoder, filtered, 4 runs": (
        lambda s, k: labels_by_decoder(replace(ON_LATTICE, signal=s), k), 0.1),
    "decoder, pretrained, 4 runs": (labels_by_pretrained, 0.25),
    "cnn3d, 3 runs": (partial(labels_by_network, name="cnn3d"), 1.0),
    "deeplight, 3 runs": (partial(labels_by_network, name="deeplight"), 1.0),
}
"""Name -> study of (signal, seed), and the signal for power and coverage. The quickest first."""

FIRST_WITH_SIGNAL = 10**6
"""Seeds from here on are those of datasets with signal."""


def calibrate(
    name: str, n_datasets: int, n_with_signal: int, known: pd.DataFrame,
    keep: Callable[[dict], None] = lambda outcome: None, signal: float | None = None,
) -> dict[str, float]:
    """Run the datasets of one row that are not known yet.

    Parameters
    ----------
    name : str
        Among :data:`ROWS`.
    n_datasets, n_with_signal : int
        Numbers of datasets without and with signal. Rows without signal use the former.
    known : DataFrame
        Outcomes of earlier calls, columns ``row``, ``seed`` and those of :data:`Outcome`.
    keep : callable
        Called with each new outcome.
    signal : float, optional
        In place of that of the row.

    Returns
    -------
    dict of str to float
        See :func:`summarise`.
    """
    study, usual = ROWS[name]
    signal = usual if signal is None else signal
    outcomes = known[known["row"] == name].to_dict("records") if len(known) else []
    done = {outcome["seed"] for outcome in outcomes}
    seeds = [*range(n_datasets)]
    seeds += range(FIRST_WITH_SIGNAL, FIRST_WITH_SIGNAL + n_with_signal * bool(signal))
    for seed in seeds:
        if seed not in done:
            found = study(signal if seed >= FIRST_WITH_SIGNAL else 0.0, seed)
            outcomes.append({"row": name, "seed": seed, **found})
            keep(outcomes[-1])
    return summarise(pd.DataFrame(outcomes), bool(signal))


def summarise(outcomes: pd.DataFrame, has_signal: bool) -> dict[str, float]:
    """Compute the columns of the table from the outcomes of one row."""
    null = outcomes[outcomes["seed"] < FIRST_WITH_SIGNAL]
    found = outcomes[outcomes["seed"] >= FIRST_WITH_SIGNAL] if has_signal else null
    row = {"n": len(null)}
    for column, test in (("p", "false"), ("fixed", "fixed")):
        if column in null and null[column].notna().any():
            row |= {f"{test}_{level:02d}": share_below(null[column], level / 100)
                    for level in (5, 1)}
    if has_signal and len(found):
        row["n_signal"] = len(found)
        if found["p"].notna().any():
            row["power_05"] = share_below(found["p"], 0.05)
    if "low" in found and found["low"].notna().any():
        truth = found["value"].mean() if has_signal else 0.0
        if "truth" in found and found["truth"].notna().any():
            truth = found["truth"]
        inside = (found["low"] <= truth) & (truth <= found["high"])
        row |= {"coverage": inside.mean(), "width": (found["high"] - found["low"]).mean()}
    return row


def share_below(p: pd.Series, level: float) -> float:
    """Return the share of p-values up to a level."""
    return float((p.dropna() <= level + 1e-9).mean())


def describe(name: str, row: dict[str, float]) -> str:
    """Return a row of the table in Markdown."""
    cells = [
        f"{row[column]:{'.0f' if column.startswith('n') else '.3f'}}" if column in row else ""
        for column in COLUMNS
    ]
    return f"| {name} | " + " | ".join(cells) + " |"


COLUMNS = ("n", "false_05", "false_01", "fixed_05", "fixed_01", "n_signal", "power_05", "coverage",
           "width")


def main() -> None:
    """Print a row of Markdown for each study as it ends."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--datasets", type=int, default=1500)
    parser.add_argument("--with-signal", type=int, default=1000)
    parser.add_argument("--rows", nargs="*", default=list(ROWS), help="or how they begin")
    parser.add_argument("--out", type=Path, help="TSV file of the outcomes of single datasets")
    parser.add_argument("--signal", type=float, help="strength, in place of that of the rows; "
                        "give another --out for each")
    options = parser.parse_args()
    print("| analysis | " + " | ".join(COLUMNS) + " |", flush=True)
    print("|---" * (len(COLUMNS) + 1) + "|", flush=True)
    known = read_outcomes(options.out)
    for name in wanted_rows(options.rows):
        row = calibrate(
            name, options.datasets, options.with_signal, known,
            lambda outcome: append_outcome(options.out, outcome), options.signal,
        )
        print(describe(name, row), flush=True)


def wanted_rows(beginnings: Iterable[str]) -> list[str]:
    """Return the rows whose names begin like this."""
    return [name for name in ROWS if name.startswith(tuple(beginnings))]


FIELDS = ("row", "seed", "p", "fixed", "value", "low", "high", "truth")


def read_outcomes(path: Path | None) -> pd.DataFrame:
    """Read the outcomes of earlier calls; none without a file."""
    if path is None or not path.exists():
        return pd.DataFrame(columns=list(FIELDS))
    return pd.read_csv(path, sep="\t")


def append_outcome(path: Path | None, outcome: dict) -> None:
    """Append one outcome, so that nothing is lost when the program is stopped."""
    if path is None:
        return
    table = pd.DataFrame([outcome]).reindex(columns=list(FIELDS))
    table.to_csv(path, sep="\t", index=False, mode="a", header=not path.exists())


if __name__ == "__main__":
    main()
