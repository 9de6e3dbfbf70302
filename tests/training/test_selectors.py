from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from signal_people import make_person
from sklearn.feature_selection import f_classif, f_regression

from bids_decoder.config import Network, Troi
from bids_decoder.errors import LeakageError, UsageError
from bids_decoder.evaluation import folds
from bids_decoder.evaluation.statistics import dice
from bids_decoder.training.decoders import FitContext
from bids_decoder.training.field import DEFAULT_FIELD
from bids_decoder.training.learners import LiteralGates
from bids_decoder.training.selection import budget
from bids_decoder.training.selection.budget import (
    budget_candidates,
    find_budget,
    score_budgets,
    top_mask,
)
from bids_decoder.training.selection.learned import budget_schedule
from bids_decoder.training.selection.task import SelectionTask
from bids_decoder.training.selection.univariate import f_scores
from bids_decoder.training.selectors import SELECTORS, check_selector, select_voxels
from bids_decoder.training.smoothing import smooth_within
from bids_decoder.training.troi import TroiDecoder
from bids_decoder.training.weightings import WEIGHTINGS, shrink_scores
from bids_decoder.trials import Targets, VoxelGrid

BUDGETED = (
    "graded", "troi-budget", "encoding", "random", "group-lasso", "hard-concrete", "univariate",
    "ridge-norm",
)
FINDERS = [name for name in BUDGETED if name != "random"]


@pytest.mark.parametrize("name", SELECTORS)
def test_every_selector_gives_a_usable_selection(known, task_for, name):
    selection = select_voxels(task_for(*known, name))
    n_voxels = known[0].grid.n_voxels
    assert selection.mask.shape == selection.weights.shape == selection.score.shape == (n_voxels,)
    assert selection.mask.any()
    assert (selection.weights[~selection.mask] == 0).all()
    assert (selection.weights >= 0).all()
    assert np.isfinite(selection.score).all()
    assert selection.notes["rule"]


@pytest.mark.parametrize("name", BUDGETED)
@pytest.mark.parametrize("budget", [1, 17, 200])
def test_the_budget_is_met(known, task_for, name, budget):
    selection = select_voxels(task_for(*known, name, budget_voxels=budget, epochs=3))
    assert selection.mask.sum() <= budget
    if name not in ("graded", "troi-budget"):
        assert selection.mask.sum() == budget


@pytest.mark.parametrize("name", FINDERS)
def test_planted_voxels_are_found(known, planted, task_for, name):
    selection = select_voxels(task_for(*known, name))
    assert dice(selection.mask, planted) > 0.8


def test_random_voxels_are_at_base_rate(known, planted, task_for):
    hits = [
        (select_voxels(task_for(*known, "random", seed=s)).mask & planted).sum() for s in range(30)
    ]
    assert np.mean(hits) == pytest.approx(planted.sum() * planted.mean(), rel=0.3)


@pytest.mark.parametrize("name", [*FINDERS, "paper"])
def test_same_seed_same_selection(known, task_for, name):
    first, second = (select_voxels(task_for(*known, name, epochs=3)) for _ in range(2))
    np.testing.assert_array_equal(first.weights, second.weights)
    np.testing.assert_array_equal(first.score, second.score)


def test_targets_without_responses_are_not_found(known, planted, task_for):
    person, vectors = known
    shuffled = vectors[np.random.default_rng(0).permutation(len(vectors))]
    for name in FINDERS:
        selection = select_voxels(task_for(person, shuffled, name))
        assert (selection.mask & planted).sum() < 0.6 * planted.sum(), name


def suppressor_person(person_from):
    """Voxels 0-5 carry one target each under strong noise; voxels 6-11 carry that noise alone."""
    rng = np.random.default_rng(4)
    person, vectors = person_from(rng, signal=0.0)
    betas = rng.standard_normal((len(vectors), 48))
    noise = 2.0 * rng.standard_normal((len(betas), 6))
    betas[:, :6] = vectors + noise
    betas[:, 6:12] = noise
    betas /= betas.std(axis=0)
    grid = VoxelGrid(np.ones((4, 4, 3), bool), person.grid.affine)
    return replace(person, grid=grid, betas=betas.astype(np.float32)), vectors


def test_suppressors_need_a_multivariate_selector(person_from, task_for):
    person, vectors = suppressor_person(person_from)
    options = {"budget_voxels": 12, "lowpass_fwhm_mm": 0.0}
    found = {
        name: select_voxels(task_for(person, vectors, name, **options)).mask[6:12].mean()
        for name in ("univariate", "encoding", "ridge-norm", "group-lasso", "hard-concrete")
    }
    assert max(found["univariate"], found["encoding"]) < 0.4
    assert min(found["ridge-norm"], found["group-lasso"], found["hard-concrete"]) > 0.8


def test_literal_selection_says_how_it_ended(known, task_for):
    for name in ("paper", "paper-guarded"):
        selection = select_voxels(task_for(*known, name, epochs=4))
        counts = [entry["n_voxels"] for entry in selection.history]
        notes = selection.notes
        assert notes["collapsed"] == (counts[-1] == 0)
        assert notes["budget_met"] == (0 < counts[-1] <= notes["budget"])
        assert all(b <= a for a, b in pairwise(counts))
        assert notes["epochs"] == len(counts)
        assert selection.mask.any()


def test_literal_selection_collapses_where_no_gate_is_needed(known, task_for, monkeypatch):
    """All gates shrink together under a strong penalty; the guard holds the budget."""
    monkeypatch.setattr(LiteralGates, "strength", 10.0)
    collapsed = select_voxels(task_for(*known, "paper", epochs=15))
    assert collapsed.notes["collapsed"] and not collapsed.notes["budget_met"]
    assert collapsed.history[-1]["n_voxels"] == 0
    assert collapsed.mask.any()
    guarded = select_voxels(task_for(*known, "paper-guarded", epochs=15))
    counts = [known[0].grid.n_voxels, *(entry["n_voxels"] for entry in guarded.history)]
    assert not guarded.notes["collapsed"]
    assert guarded.notes["budget_met"]
    assert counts[-1] == guarded.notes["budget"]
    assert all(b >= 0.7 * a for a, b in pairwise(counts[:-1]))


def test_f_scores_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    betas = rng.standard_normal((80, 30))
    labels = rng.integers(0, 5, 80)
    betas[:, :5] += labels[:, None]
    expected = f_classif(betas, labels)[0]
    np.testing.assert_allclose(f_scores(betas, np.eye(5)[labels]), expected, rtol=1e-4)
    feature = rng.standard_normal(80)
    expected = [f_regression(feature[:, None], voxel)[0][0] for voxel in betas.T]
    np.testing.assert_allclose(f_scores(betas, feature[:, None], chunk=7), expected, rtol=1e-4)


def test_few_trials_leave_degrees_of_freedom_to_many_features():
    rng = np.random.default_rng(1)
    scores = f_scores(rng.standard_normal((6, 20)), rng.standard_normal((6, 10)))
    assert (scores > 0).all()


def test_the_field_is_that_of_the_settings_or_not_chosen(known, task_for):
    field = task_for(*known, "graded", lowpass_fwhm_mm=5.0).with_field().field
    assert (field.fwhm_mm, field.trust) == (5.0, DEFAULT_FIELD.trust)
    task = replace(task_for(*known, "graded"), closed_form=True)
    assert task.with_field() is task


def test_f_scores_of_constant_voxels_are_zero():
    betas = np.random.default_rng(0).standard_normal((20, 3))
    betas[:, 1] = 0
    scores = f_scores(betas, np.arange(20.0)[:, None])
    assert scores[1] == 0
    assert np.isfinite(scores).all()


def test_budget_from_millimetres_and_from_training_runs(known, task_for):
    assert find_budget(task_for(*known, "encoding", budget_voxels=None, budget_mm3=400.0))[0] == 50
    chosen, notes = find_budget(task_for(*known, "encoding", budget_voxels=None))
    assert chosen in budget_candidates(known[0].grid.n_voxels)
    assert str(chosen) in notes["budget_scores"]


def test_the_region_finds_its_own_size(known, planted, task_for):
    selection = select_voxels(task_for(*known, "graded", budget_voxels=None))
    assert selection.notes["budget_rule"] == "voxels that likely carry signal"
    assert selection.mask.sum() == selection.notes["n_likely"]
    assert dice(selection.mask, planted) > 0.9
    assert str(selection.notes["n_likely"]) in selection.notes["budget_scores"]


def test_a_likely_number_that_decodes_badly_is_not_taken(person_from, task_for):
    person = person_from(np.random.default_rng(0), signal=0.2)
    chosen, notes = find_budget(task_for(*person, "graded", budget_voxels=None), n_likely=137)
    assert chosen < 137
    assert notes["budget_rule"] == "cross-validation over training runs"
    assert notes["budget_scores"]["137"] < 0.97 * max(notes["budget_scores"].values())


def test_all_voxels_with_signal_decode_better_than_half_of_them():
    """Weak signal, about as many trials as voxels: a penalty that suits few is too weak."""
    person, wanted, with_signal = make_person(0.06, n_runs=12)
    task = SelectionTask(person, wanted, Troi(), lambda *_: None, 0)
    half, every = score_budgets(task, [with_signal.sum() // 2, with_signal.sum()])
    assert every > half + 0.04


def test_with_many_trials_budgets_are_scored_in_fewer_folds(known, task_for, monkeypatch):
    """Signal is mapped from all trials of the other runs, and fits are to all of them."""
    mapped, fitted = [], []
    monkeypatch.setattr(SelectionTask, "map_signal", lambda task: (
        mapped.append(task.person.run_groups), SimpleNamespace(share=np.arange(384.0))
    )[1])
    fit = budget.fit_input_layer
    monkeypatch.setattr(budget, "fit_input_layer", lambda betas, wanted, runs, *rest, **more: (
        fitted.append(runs), fit(betas, wanted, runs, *rest, **more)
    )[1])
    task = task_for(*known, "graded", budget_voxels=None)
    everything = score_budgets(task, [40, 384])
    assert [len(runs) for runs in mapped] == [5 * 24, 5 * 24, 6 * 24]
    mapped.clear()
    fitted.clear()
    monkeypatch.setattr(folds, "ENOUGH_VALIDATION", 3 * 24)
    found = score_budgets(task, [40, 384])
    assert [len(runs) for runs in mapped] == [5 * 24]
    assert [len(runs) for runs in fitted] == [5 * 24] * 2
    assert not np.allclose(found, everything, rtol=1e-3)


def test_given_budgets_are_within_what_there_is(known, task_for):
    assert find_budget(task_for(*known, "graded", budget_voxels=10**6))[0] == 384
    assert find_budget(task_for(*known, "graded", budget_voxels=None, budget_mm3=1.0))[0] == 1


def test_in_closed_form_the_likely_number_is_taken_unless_it_is_tiny(known, task_for):
    task = replace(task_for(*known, "graded", budget_voxels=None), closed_form=True)
    least = budget.LEAST_BUDGET
    assert [find_budget(task, n)[0] for n in (least - 1, least, 137)] == [384, least, 137]
    assert find_budget(task, 137)[1] == {"budget_rule": budget.LIKELY_RULE}
    assert "too few" in find_budget(task, least - 1)[1]["budget_rule"]


@pytest.mark.parametrize(("best", "nearly", "worse"), [(1.0, 0.975, 0.96), (-0.5, -0.51, -0.52)])
def test_the_smallest_budget_within_the_tolerance_is_taken(
    known, task_for, monkeypatch, best, nearly, worse
):
    """Unless as many voxels as likely carry signal are as good."""
    task, scores = task_for(*known, "graded", budget_voxels=None), {}
    monkeypatch.setattr(budget, "score_budgets", lambda task, candidates: np.array([
        scores.get(count, worse) for count in candidates
    ]))
    counts = budget_candidates(384)
    scores |= {counts[2]: nearly, counts[4]: best}
    assert find_budget(task)[0] == counts[2]
    assert find_budget(task, 137)[0] == counts[2]
    chosen, notes = find_budget(task, counts[4])
    assert chosen == counts[4] and notes["budget_rule"] == budget.LIKELY_RULE


def test_scores_of_budgets_do_not_depend_on_the_mean_of_the_targets(known, task_for):
    task = task_for(*known, "graded", budget_voxels=None)
    moved = replace(task, wanted=task.wanted + 3)
    np.testing.assert_allclose(score_budgets(moved, [40]), score_budgets(task, [40]), rtol=1e-3)


@pytest.mark.parametrize(("n_likely", "has_places", "expected"), [
    (40, True, 40), (0, True, 384), (40, False, 384),
])
def test_few_runs_take_what_is_likely_where_voxels_have_places(
    known, task_for, n_likely, has_places, expected
):
    person, vectors = known
    short = person.subset(np.arange(48))
    if not has_places:
        short = replace(short, grid=VoxelGrid(np.ones((384, 1, 1), bool), np.eye(4)))
    assert find_budget(task_for(short, vectors, "graded", budget_voxels=None),
                       n_likely)[0] == expected


@pytest.mark.parametrize(("n_runs", "chooses"), [(3, False), (4, True)])
def test_four_runs_are_enough_to_choose(known, task_for, n_runs, chooses):
    person, vectors = known
    rows = np.arange(24 * n_runs)
    task = task_for(person.subset(rows), vectors[rows], "encoding", budget_voxels=None)
    assert ("budget_scores" in find_budget(task)[1]) == chooses


def test_budgets_are_scored_with_the_weights_of_the_group(known, task_for, monkeypatch):
    given, fit = [], budget.fit_input_layer
    monkeypatch.setattr(budget, "fit_input_layer", lambda *parts, group_weight: (
        given.append(group_weight), fit(*parts, group_weight=group_weight)
    )[1])
    task = task_for(*known, "graded", budget_voxels=None)
    prior = SimpleNamespace(weight=np.zeros((384, task.wanted.shape[1]), np.float32), chances=None)
    score_budgets(replace(task, prior=prior), [384])
    assert given and all(weight is prior.weight for weight in given)


def test_schedule_ends_at_the_budget_and_never_rises():
    counts = budget_schedule(46936, 3000, 15)
    assert len(counts) == 15
    assert counts[-1] == 3000
    assert all(b <= a for a, b in pairwise(counts))
    ratios = np.array(counts[1:]) / counts[:-1]
    np.testing.assert_allclose(ratios, ratios[0], rtol=1e-3)


def test_shrinking_keeps_order_and_leaves_noise_alike():
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(5000) / np.sqrt(99)
    assert np.ptp(shrink_scores(noise, 100)) < 0.3 * np.ptp(noise)
    strong = np.concatenate([noise, 0.5 + noise])
    shrunk = shrink_scores(strong, 100)
    assert np.array_equal(np.argsort(shrunk), np.argsort(strong))


def test_filter_stays_inside_the_mask():
    mask = np.zeros((9, 9, 5), bool)
    mask[2:7, 2:7, 1:4] = True
    grid = VoxelGrid(mask, np.diag([2.0, 2, 2, 1]))
    np.testing.assert_allclose(smooth_within(np.ones(mask.sum()), grid, 6.0), 1.0)
    point = np.zeros(mask.sum())
    point[len(point) // 2] = 1
    smooth = smooth_within(point, grid, 4.0)
    assert smooth.argmax() == point.argmax()
    assert 0 < smooth.max() < 1
    np.testing.assert_array_equal(smooth_within(point, grid, 0.0), point)


def test_top_mask():
    assert top_mask(np.array([1.0, 3, 2, 3]), 2).tolist() == [False, True, False, True]
    assert top_mask(np.array([1.0, 3, 2]), 4).tolist() == [True, True, True]
    assert top_mask(np.array([1.0, np.nan, 3, 2]), 2).tolist() == [False, False, True, True]
    assert top_mask(np.array([np.nan, np.nan, 2]), 2).tolist() == [True, False, True]


def test_unknown_selector_is_a_usage_error():
    with pytest.raises(UsageError, match="group-lasso"):
        check_selector("best")


@pytest.mark.parametrize("role", ["test", "cv"])
def test_test_trials_are_refused(known, task_for, role):
    person, vectors = known
    trials = person.trials.copy()
    trials.loc[3, "split"] = role
    targets = Targets(tuple(trials["stimulus"]), vectors, "features")
    settings = task_for(*known, "encoding").settings
    context = FitContext(Network(), settings, 1, "cpu")
    with pytest.raises(LeakageError):
        TroiDecoder().select(replace(person, trials=trials), targets, None, context)


@pytest.mark.parametrize("name", ["signal", "encoding", "reliability"])
def test_source_voxels_that_respond_weigh_more(person_from, planted, name):
    """Each stimulus is seen twice, with other noise."""
    first, vectors = person_from(np.random.default_rng(3))
    rng = np.random.default_rng(4)
    again = np.where(planted, first.betas, 0) + rng.standard_normal(first.betas.shape)
    half = len(vectors) // 2
    rows = np.tile(np.arange(half), 2)
    betas = np.concatenate([first.betas[:half], again[:half]]).astype(np.float32)
    twice = replace(first, betas=betas, target_rows=rows)
    weights = WEIGHTINGS[name](twice, vectors[rows])
    assert weights.dtype == np.float32 and (weights >= 0).all()
    assert weights[planted].mean() > 2 * weights[~planted].mean()


def test_reliability_needs_repeats(known):
    assert WEIGHTINGS["reliability"](*known) is None
    assert WEIGHTINGS["all"](*known) is None
