"""Trial tables of usual designs, and the split that is chosen for them."""

import numpy as np
import pandas as pd

from bids_decoder.config import TrialRules
from bids_decoder.evaluation.splits import choose_split
from bids_decoder.trials import TRIAL_COLUMNS


def table(runs, labels=None, session=None):
    """Make a trial table from lists of stimuli, one list per run."""
    rows = []
    for number, stimuli in enumerate(runs, 1):
        for trial, name in enumerate(stimuli, 1):
            run = f"{number:02d}"
            day = session[number - 1] if session else None
            rows.append({
                "trial": trial, "onset": 3.0 * trial, "duration": 1.0, "session": day,
                "task": "see", "run": run,
                "run_group": f"ses-{day}_run-{run}" if day else f"run-{run}",
                "stimulus": name, "label": labels(name) if labels else None, "repeat": 0,
                "n_events": 1, "split": None, "fold": None, "excluded": False, "reason": None,
            })
    return pd.DataFrame(rows, columns=list(TRIAL_COLUMNS)).astype({"reason": object})


def dealt(stimuli, n_runs, seed):
    order = list(np.random.default_rng(seed).permutation(stimuli))
    return [order[k::n_runs] for k in range(n_runs)]


def nsd(n_people=3):
    shared = [f"shared{i}" for i in range(20)]
    return {
        f"{p}": table(dealt(3 * (shared + [f"own{p}_{i}" for i in range(80)]), 10, p))
        for p in range(n_people)
    }


def things():
    once, test = [f"train{i}" for i in range(200)], [f"test{i}" for i in range(10)]
    return {f"{p}": table([r + test for r in dealt(once, 8, p)]) for p in range(3)}


def haxby(n_runs=12, n_people=2):
    names = ["face", "house", "cat", "shoe"]
    return {
        f"{p}": table([names] * n_runs, labels=lambda name: name) for p in range(n_people)
    }


def once_each():
    return {
        f"{p}": table([[f"r{r}_{i}" for i in range(10)] for r in range(10)]) for p in range(2)
    }


def choose(tables, kind="image", **rules):
    return choose_split(tables, kind, TrialRules(**rules), 1)
