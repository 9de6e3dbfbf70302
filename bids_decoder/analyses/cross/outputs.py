"""Names, columns and tables of the outputs of cross-decoding."""

from __future__ import annotations

import pandas as pd

from bids_decoder.bids.names import OutputName
from bids_decoder.evaluation.multiple import holm
from bids_decoder.evaluation.tables import METRIC_COLUMNS, NULL_COLUMNS
from bids_decoder.interfaces.person_outputs import PersonOutputs

CROSS = OutputName("metrics", ".tsv", "func", {"desc": "cross"})
NULLS = OutputName("metrics", ".tsv", "func", {"desc": "crossnull"})
PREDICTIONS = OutputName("predictions", ".tsv", "func", {"desc": "cross"})

CELL = {
    "train": "Kind of trials that the decoders were trained on.",
    "test": "Kind of trials that they were tested on; the same kind: cross-validation over "
            "runs; of stimuli, the test set.",
}

METRICS = CELL | METRIC_COLUMNS | {
    "metric": "What is measured: labels, or stimuli among those tested (top1, top5, ranks).",
    "split": "cv where runs have trials of the training kind, which are held out in folds; test: "
             "one decoder, trained on other runs or other stimuli.",
    "p_holm": "p-value of Holm (1979), corrected for the number of cells, within each measure of "
              "a model.",
    "p_names": "p-value of exchanging the names of labels in the tested kind (balanced accuracy of "
               "the decoder across kinds): also valid where both kinds have strong but unrelated "
               "codes. At least 1/2, 1/6, 1/24 with 2, 3, 4 labels; not corrected.",
    "null": "fixed: labels (pairings of stimuli and responses) are exchanged against fixed "
            "predictions, which is exact because none depends on a tested label; refitted: "
            "everything is fitted again on permuted labels (cross-validation within a kind); none: "
            "no permutations were made.",
    "n": "Number of trials (labels) or stimuli tested.",
    "exchanged": "Whose labels are exchanged under the null hypothesis.",
    "n_train": "Number of training trials, the mean over tested trials.",
    "n_fits": "Number of fits that predict the tested trials.",
    "n_seen": "Tested trials whose stimulus was also shown in a training trial.",
}
"""Columns of the table of metrics, in order."""

PREDICTED = CELL | {
    "run_group": "Session, task and run of the trial.",
    "trial": "Its number within the run.",
    "stimulus": "What was shown.",
    "label": "Its label.",
    "predicted_label": "Label with the highest score of the decoder.",
    "correct": "Whether both are the same.",
    "fit": "Number of the fit within all that are trained on this kind.",
}

PREDICTED_STIMULI = CELL | {
    name: PREDICTED[name] for name in ("run_group", "trial", "stimulus")
} | {
    "rank_b2i": "Rank of the right stimulus among those tested, from 1; ties count half.",
    "top1": "Stimulus whose vector is most similar to the prediction.",
    "pool_size": "Number of tested stimuli.",
}
"""Columns of predictions where stimuli are decoded."""

MEASURE = ("model", "metric", "direction", "unit", "similarity")
"""Columns that name a measure of a model."""

NULL_DISTRIBUTIONS = CELL | {
    name: NULL_COLUMNS[name] for name in ("model", "permutation", "metric", "value")
}


def write_tables(
    outputs: PersonOutputs, metrics: pd.DataFrame, predictions: pd.DataFrame, nulls: pd.DataFrame
) -> None:
    """Write the tables of all rows of the matrix.

    Parameters
    ----------
    outputs : PersonOutputs
    metrics, predictions, nulls : DataFrame
        Cells as text; *nulls* has no rows without permutations.
    """
    notes = dict(outputs.card)
    outputs.table(CROSS, correct_cells(metrics), METRICS, notes)
    columns = PREDICTED if "predicted_label" in predictions else PREDICTED_STIMULI
    outputs.table(PREDICTIONS, predictions, columns, notes)
    if len(nulls):
        notes["Note"] = (
            f"The {nulls['metric'].iloc[0]} of the decoder; other models and measures were tested "
            "with the same permutations."
        )
        outputs.table(NULLS, nulls, NULL_DISTRIBUTIONS, notes)


def correct_cells(metrics: pd.DataFrame) -> pd.DataFrame:
    """Add ``p_holm``, corrected for the number of cells within each measure of a model.

    A measure in pools of two sizes is two measures; the sizes may differ between cells.
    """
    p_values = pd.to_numeric(metrics["p"])
    measure = [metrics[name] for name in MEASURE if name in metrics]
    if "pool_size" in metrics:
        size = pd.to_numeric(metrics["pool_size"])
        of_cell = [metrics[name] for name in CELL]
        measure.append(size.groupby([*of_cell, *measure], dropna=False).rank("dense"))
    corrected = p_values.groupby(measure, dropna=False).transform(lambda p: holm(p.to_numpy()))
    return metrics.assign(p_holm=corrected)
