"""Pretraining holds one participant at a time, however often it goes through them."""

import weakref
from dataclasses import replace

import numpy as np
import pytest
from volume_people import blobs, label_targets
from volume_people import make_person as make_volumes
from zero_shot_people import STIMULI, TARGETS, make_person, make_viewer

from bids_decoder.config import Network, Troi, Volumes
from bids_decoder.training.decoders import FitContext
from bids_decoder.training.ensemble import load_decoder
from bids_decoder.trials import VoxelGrid

ALONE = VoxelGrid(np.ones((567, 1, 1), bool), np.eye(4))
PATTERNS = blobs(3, seed=0)


class Watched:
    """Participants who are made anew at each iteration, when no earlier one is left in memory."""

    def __init__(self, make):
        self.make, self.made = make, []

    def __iter__(self):
        for number in range(3):
            assert all(responses() is None for responses in self.made)
            yield self._next(str(number))

    def _next(self, label):
        person = self.make(label)
        self.made.append(weakref.ref(person.betas))
        return person


@pytest.mark.parametrize(("name", "targets", "make", "n_loaded"), [
    ("troi", TARGETS, lambda label: replace(make_person(label), grid=ALONE, space=""), 13),
    # Twenty stimuli are held out in four parts.
    ("troi", STIMULI, lambda label: make_viewer(label, np.arange(20)), 24),
    ("cnn3d", label_targets("abc"), lambda label: make_volumes(label, PATTERNS, seed=1), 6),
], ids=["labels", "stimuli", "volumes"])
def test_a_participant_is_let_go_before_the_next_one_is_loaded(name, targets, make, n_loaded):
    people = Watched(make)
    network, volumes = Network(pretrain_epochs=1), Volumes(pretrain_epochs=1)
    load_decoder(name).pretrain(people, targets, FitContext(network, Troi(), 1, "cpu", volumes))
    assert len(people.made) == n_loaded
