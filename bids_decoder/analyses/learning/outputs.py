"""Names and columns of the outputs of learning curves."""

from bids_decoder.bids.names import OutputName

FITTED_CURVE = OutputName("curve", ".tsv", "func", {"desc": "learningcurve"})
NEEDED = OutputName("needs", ".tsv", "func", {"desc": "learningcurve"})

_MODEL = {
    "model": "decoder, without-pretraining (the decoder fitted from scratch), or a baseline.",
    "metric": "balanced_accuracy (mean recall of the tested labels), top1 (share of single trials "
              "for which the right stimulus is first in a pool) or two_way (share of other tested "
              "stimuli that are less similar to the prediction than the right one).",
}
_AMOUNT = {
    "trials": "Training trials: runs times the mean number of training trials of a run.",
    "minutes": "Minutes of measurement, on average; of runs that also hold test trials in "
               "proportion to their training trials. n/a where no durations are known.",
}
CURVE: dict[str, str] = {
    **_MODEL, "n_runs": "Number of training runs.", **_AMOUNT,
    "value": "Score of the held-out trials, mean over subsets of this size.",
    "ci_low": "Lower limit of the 95 % interval.", "ci_high": "Upper limit.",
    "chance": "Value of a decoder without information.", "n": "Number of held-out trials.",
    "pool_size": "Stimuli in a pool; n/a where there are none.",
    "split": "cv (folds of cross-validation) or test.", "n_folds": "Number of folds used.",
    "n_draws": "Number of nested sequences of subsets.",
}
"""Columns of the measured curve."""

FITTED: dict[str, str] = {
    **_MODEL, "n_runs": "Number of training runs.", **_AMOUNT, "value": "Fitted score.",
    "ci_low": "Lower limit of the 95 % interval.", "ci_high": "Upper limit.",
    "shape": "Shape that fits best: power law or exponential.",
    "measured": "False where the curve is continued beyond the data.",
}
"""Columns of the fitted curve."""

WITHOUT_NEED = ("n_runs", "runs_low", "runs_high", "minutes", "minutes_low", "minutes_high")

NEEDS: dict[str, str] = {
    **_MODEL, "target": "Score to reach.",
    "verdict": "reached (with the data that there are), forecast, beyond (not within three times "
               "the data by this fit), no rise (scores do not rise clearly with more runs, so that "
               "the curve says nothing) or ceiling (no higher step is left).",
    "n_runs": "Training runs needed in all; n/a: more than three times the data, or unknown.",
    "runs_low": "Lower limit of the 95 % interval.",
    "runs_high": "Upper limit; n/a: more than three times the data, or unknown.",
    "minutes": "The same in minutes of measurement.", "minutes_low": "Lower limit.",
    "minutes_high": "Upper limit.",
    "rise_low": "Score with all runs less that with the fewest: lower limit of the 95 % interval.",
    "rise_high": "Upper limit.",
}
"""Columns of the table of needs."""
