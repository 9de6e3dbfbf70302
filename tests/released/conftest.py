"""Plans of released data, and what is read from them."""

import dataclasses

import numpy as np
import pytest

from bids_decoder.analyses.registry import section_kinds
from bids_decoder.bids.collect import collect_dataset
from bids_decoder.cli.plan import make_plan
from bids_decoder.config import default_settings
from bids_decoder.errors import FindingsError
from bids_decoder.released.blocks import read_runs


class Place:
    """A folder with released data, and the settings of a call on it."""

    def __init__(self, folder):
        self.folder = folder / "release"
        self.top = folder
        self.groups = {}
        self.bids = self.folder

    def set(self, group, **values):
        self.groups.setdefault(group, {}).update(values)
        return self

    @property
    def settings(self):
        settings = default_settings(section_kinds())
        execution = dataclasses.replace(
            settings.execution, bids_dir=self.bids, output_dir=self.top / "out",
            derivatives={"any": self.folder}, from_scratch=True,
            **self.groups.get("execution", {}),
        )
        trials = dataclasses.replace(settings.trials, **self.groups.get("trials", {}))
        return dataclasses.replace(settings, execution=execution, trials=trials)

    def dataset(self):
        return collect_dataset(self.settings)

    def plan(self):
        return make_plan(self.settings, self.top / "work")

    def errors(self):
        """Return the errors of the plan, as (code, text)."""
        with pytest.raises(FindingsError) as caught:
            self.plan()
        return [
            (int(f.code), f"{f.what}: {f.why}") for f in caught.value.findings
            if f.severity == "error"
        ]


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def read(person):
    """Return responses and trials of a participant: values, stimuli, sessions, runs."""
    found = [(run.released, values) for run, (_, values) in zip(
        person.runs, read_runs([run.released for run in person.runs]), strict=True
    )]
    values = np.concatenate([values for _, values in found])
    stimuli = [name for run, _ in found for name in run.table["stimulus"]]
    sessions = [run.session for run, _ in found for _ in range(len(run.table))]
    runs = [run.run for run, _ in found for _ in range(len(run.table))]
    return values, stimuli, sessions, runs


@pytest.fixture
def check_read():
    """Compare a participant with the truth of a sample."""

    def check(person, truth, atol=0.0):
        values, stimuli, sessions, runs = read(person)
        np.testing.assert_allclose(values, truth.values, rtol=0, atol=atol)
        assert stimuli == truth.stimuli
        assert sessions == truth.sessions
        assert runs == truth.runs

    return check
