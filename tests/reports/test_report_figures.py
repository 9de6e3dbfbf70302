"""Figures and what they show."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from report_tree import AFFINE, SHAPE
from scipy.spatial.transform import Rotation

from bids_decoder.analyses.decode.report_trials import _examples
from bids_decoder.analyses.prepare.figures import draw_motion, draw_quality, draw_timeline
from bids_decoder.analyses.prepare.report import _quality_values
from bids_decoder.analyses.pretrain.report import _curves
from bids_decoder.bids.names import derivative_path
from bids_decoder.bids.writer import save_nifti
from bids_decoder.files import write_json
from bids_decoder.reports.figures import render
from bids_decoder.reports.figures_decoding import (
    draw_budget,
    draw_confusion,
    draw_learning,
    draw_metrics,
    pick_examples,
)
from bids_decoder.reports.geometry import (
    Underlay,
    bold_to_t1w,
    choose_slices,
    cut,
    slice_axis,
    underlay_for,
)
from bids_decoder.reports.results import Results
from bids_decoder.reports.scores import compare, headline, main_measures, say_baseline


def metrics(**columns) -> pd.DataFrame:
    base = {
        "metric": "top1",
        "direction": "b2i",
        "unit": "single",
        "similarity": "cosine",
        "split": "test",
        "chance": "0.1",
        "p": "0.001",
        "n": "100",
        "pool_size": "10",
    }
    return pd.DataFrame({**base, **columns})


def test_transform_takes_bold_points_to_t1w_points(tree):
    # The fixture moves by 5 mm in LPS from T1w to BOLD points, so BOLD to T1w is +5 mm in RAS.
    matrix = bold_to_t1w(Results(tree.out, "01"))
    np.testing.assert_allclose(matrix @ [1.0, 2.0, 3.0, 1.0], [6.0, 2.0, 3.0, 1.0], atol=1e-12)


def test_underlay_is_the_t1w_image_of_the_same_space(tree):
    at = {"sub": "01", "space": "MNI152NLin6Asym", "res": "2"}
    troi = derivative_path(tree.out, "troi_mask", task="see", **at)
    save_nifti(derivative_path(tree.out, "boldref", task="see", **at), np.ones(SHAPE), AFFINE)
    under = underlay_for(troi, Results(tree.out, "01"))
    assert under.label == "the BOLD reference"
    anatomy = derivative_path(tree.out, "preproc_T1w", **at)
    save_nifti(anatomy, np.full(SHAPE, 7.0), AFFINE)
    under = underlay_for(troi, Results(tree.out, "01"))
    assert under.label == "the T1w image in MNI152NLin6Asym space"
    assert float(under.image.get_fdata().max()) == 7
    np.testing.assert_array_equal(under.to_image, np.eye(4))
    # Maps of the functional space keep the image of the person.
    own = underlay_for(derivative_path(tree.out, "troi_mask", sub="01"), Results(tree.out, "01"))
    assert own.label == "the T1w image"
    assert float(own.image.get_fdata().max()) > 7


def test_what_was_decoded_in_another_space_is_not_reported(tree):
    results = Results(tree.out, "01")
    (before,) = results.files("metrics")
    other = derivative_path(tree.out, "metrics", sub="01", task="see", space="T1w")
    other.write_text(before.read_text())
    assert len(Results(tree.out, "01").files("metrics")) == 2
    trials = derivative_path(tree.out, "trials", sub="01", task="see", run="1", space="T1w")
    write_json(tree.out / "logs/done/sub-01_betas.json",
               {"outputs": {str(trials.relative_to(tree.out)): 1}})
    results = Results(tree.out, "01")
    assert results.files("metrics") == [other]
    assert results.files("boldref") and results.files("preproc_T1w")
    assert results.card("decoder_model") == {}


def test_underlay_is_sampled_at_the_right_place():
    # One bright block of the anatomy; the map's voxel over it must be the bright one.
    anatomy = np.zeros((40, 48, 20), np.float32)
    anatomy[20:22, 10:12, 8:10] = 1
    affine = AFFINE.copy()
    affine[:3, :3] /= 2
    affine[:3, 3] += [5 - 0.75, -0.75, -0.875]
    matrix = np.eye(4)
    matrix[0, 3] = 5
    image = nib.Nifti1Image(np.zeros(SHAPE, np.float32), AFFINE)
    under = Underlay(nib.Nifti1Image(anatomy, affine), matrix, "T1w")
    plane = cut(image, np.array([4]), under)[0].under
    row, column = np.argwhere(plane == plane.max()).mean(axis=0)
    assert column / plane.shape[1] * SHAPE[0] == pytest.approx(10.3, abs=0.4)
    assert row / plane.shape[0] * SHAPE[1] == pytest.approx(5.3, abs=0.4)
    assert cut(image, np.array([7]), under)[0].under.max() == 0


@pytest.mark.parametrize("n_slices", [1, 10])
def test_first_slice_of_an_oblique_grid_is_not_black(n_slices):
    affine = AFFINE.copy()
    affine[:3, :3] = Rotation.from_euler("xyz", [7, -11, 5], degrees=True).as_matrix() * 3.1
    values = np.random.default_rng(1).uniform(1, 2, (20, 24, n_slices)).astype(np.float32)
    image = nib.Nifti1Image(values, affine)
    (first,) = cut(image, np.array([0]), Underlay(image, np.eye(4), "itself"))
    inner = first.under[3:-3, 3:-3]
    assert (inner > 0).mean() > 0.95


@pytest.mark.parametrize(("shape", "axis"), [((40, 20, 1), 2), ((2, 60, 60), 0), ((64, 64, 35), 2)])
def test_slices_pass_through_the_mask(shape, axis):
    mask = np.zeros(shape, bool)
    mask[tuple(n // 2 for n in shape)] = True
    assert slice_axis(shape) == axis
    assert list(choose_slices(mask, 12)) == [shape[axis] // 2]
    assert list(choose_slices(np.zeros(shape, bool), 12)) == []


def test_baselines_are_ordered_and_judged_by_the_direction_of_the_metric():
    table = pd.concat(
        [
            metrics(model=["troi", "a", "b"], value=["0.4", "0.2", "0.5"]),
            metrics(model=["troi", "a", "b"], value=["3", "9", "5"], metric="median_rank"),
        ]
    )
    top, rank = compare(table, {})
    assert list(top.rows["model"]) == ["troi", "b", "a"] and top.gain == pytest.approx(-0.1)
    assert list(rank.rows["model"]) == ["troi", "b", "a"] and rank.gain == pytest.approx(2)
    assert "does not beat" in say_baseline(top) and "is ahead of" in say_baseline(rank)


def test_the_summary_has_the_paired_test_of_the_headline_metric():
    scores = metrics(model=["troi", "a", "b"], value=["0.4", "0.3", "0.2"])
    row = scores.iloc[0]
    tests = pd.DataFrame({
        "first": "decoder", "second": ["a", "b"], "value": ["0.1", "0.2"],
        "ci_low": ["-0.02", "0.1"], "ci_high": ["0.22", "0.3"], "p": ["0.09", "0.001"],
        **{name: row.get(name) for name in ("metric", "direction", "unit", "similarity",
                                            "pool_size")},
    })
    (top,) = compare(scores, {}, tests)
    said = say_baseline(top).replace("\N{NO-BREAK SPACE}", " ")
    assert "The difference is +10.0 points (95 % interval -2.0 points to +22.0 points" in said
    assert "p = 0.09" in said and "not tested" not in said
    assert "It is not distinguishable from its best baseline" in said
    assert not top.clearly_ahead
    (sure,) = compare(scores, {}, tests.assign(p="0.01"))
    assert sure.clearly_ahead and "It is ahead of its best baseline" in say_baseline(sure)
    (other,) = compare(scores, {}, tests.assign(pool_size="77"))
    assert other.tests.empty and "was not tested" in say_baseline(other)


def test_tie_with_a_baseline_is_not_a_win():
    (tie,) = compare(metrics(model=["troi", "a"], value=["0.4", "0.4"]), {})
    assert "does not beat" in say_baseline(tie) and not tie.clearly_ahead


def test_decoder_is_named_by_its_card():
    table = metrics(model=["ridge", "troi"], value=["0.2", "0.4"])
    assert compare(table, {"decoder": "troi"})[0].model == "troi"
    assert compare(table, {})[0].model == "ridge"


def test_headline_does_not_depend_on_the_size_of_the_result():
    cases = [
        ("top1", "i2b", "cosine", 0.9),
        ("top1", "b2i", "csls", 0.8),
        ("top5", "b2i", "cosine", 0.95),
        ("top1", "b2i", "cosine", 0.1),
    ]
    table = pd.concat(
        [
            metrics(model=["troi"], metric=m, direction=d, similarity=s, value=[str(v)])
            for m, d, s, v in cases
        ]
    )
    found = compare(table, {})
    top = headline(found, "image")
    assert top.own["value"] == pytest.approx(0.1)
    assert [c.metric for c in main_measures(found, top)] == ["top1"] * 3


def test_chance_is_beaten_by_p_or_by_interval():
    by_p = compare(metrics(model=["troi"], value=["0.4"], p="0.2"), {})[0]
    by_interval = compare(
        metrics(model=["troi"], value=["0.4"], p=None, ci_low="0.3", ci_high="0.5"), {}
    )[0]
    assert not by_p.beats_chance and by_interval.beats_chance
    # The smallest p-value of 19 permutations.
    assert compare(metrics(model=["troi"], value=["0.4"], p="0.05"), {})[0].beats_chance


def test_metrics_figure_holds_chance_interval_and_null():
    table = metrics(
        model=["troi", "a"],
        value=["0.4", "0.2"],
        ci_low="0.1",
        ci_high="0.5",
        null_low="0.05",
        null_high="0.15",
    )
    (axes,) = draw_metrics(compare(table, {})).axes
    vertical = [
        line.get_xdata()[0]
        for line in axes.lines
        if len(set(line.get_xdata())) == 1 and line.get_linestyle() == "--"
    ]
    assert vertical == [0.1]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["troi", "a"]
    (band,) = axes.patches
    assert (band.get_x(), band.get_x() + band.get_width()) == pytest.approx((0.05, 0.15))


def test_the_curve_of_the_budget_marks_what_was_taken():
    figure = draw_budget({"30": 0.1, "1000": 0.31, "250": 0.3}, 250)
    axes = figure.axes[0]
    curve, taken = axes.lines
    assert list(curve.get_xdata()) == [30, 250, 1000]
    assert list(curve.get_ydata()) == [0.1, 0.3, 0.31]
    assert list(taken.get_xdata()) == [250]


def test_confusion_rows_sum_to_one():
    shown = pd.Series(["a", "a", "b", "b", "b"])
    figure = draw_confusion(pd.crosstab(shown, pd.Series(["a", "b", "b", "b", "a"])))
    shares = figure.axes[0].images[0].get_array()
    np.testing.assert_allclose(shares, [[0.5, 0.5], [1 / 3, 2 / 3]])


def test_label_of_quality_is_above_the_bars():
    """Values near the upper end, as reliability, are where the label is."""
    values = np.random.default_rng(0).normal(0.8, 0.1, 500).clip(max=1.0)
    (axes,) = draw_quality({"Reliability": values}).axes
    (label,) = axes.texts
    figure = axes.figure
    figure.canvas.draw()
    box = label.get_window_extent()
    assert all(not box.overlaps(bar.get_window_extent()) for bar in axes.patches)


def test_a_noise_ceiling_of_0_is_a_value(tmp_path):
    names = {"sub": "01", "task": "see"}
    ceiling, inside = np.zeros(SHAPE), np.zeros(SHAPE, dtype=bool)
    inside[:2], ceiling[0] = True, 20.0
    save_nifti(derivative_path(tmp_path, "statmap", **names, stat="noiseceiling"), ceiling, AFFINE)
    (values,) = _quality_values(Results(tmp_path, "01")).values()
    assert values.size == ceiling[0].size and values.min() == 20
    save_nifti(derivative_path(tmp_path, "glm_mask", **names), inside, AFFINE)
    (values,) = _quality_values(Results(tmp_path, "01")).values()
    assert values.size == inside.sum() and values.mean() == 10


def test_examples_without_pictures_say_so(tmp_path):
    examples = pick_examples(pd.DataFrame({
        "stimulus": ["a.png", "b.png"], "rank_b2i": [1.0, 2.0], "top1": ["a.png", "a.png"],
    }))
    (tmp_path / "plan.json").write_text('{"target_kind": "image"}')
    assert "images are not shown" in _examples(examples, Results(tmp_path)).caption
    (tmp_path / "plan.json").write_text('{"target_kind": "features"}')
    assert "images are not shown" not in _examples(examples, Results(tmp_path)).caption


def test_caption_of_learning_names_what_is_drawn():
    table = pd.DataFrame({"loss": [1.0], "val_score": [None]})
    assert _curves(table) == "Loss"
    assert _curves(table.assign(val_score=0.5)) == "Loss and validation score"


def test_examples_reach_from_best_to_worst():
    table = pd.DataFrame(
        {
            "stimulus": [f"s{i}" for i in range(100)],
            "rank_b2i": [str(100 - i) for i in range(100)],
            "top1": "s1",
            "top2": "s2",
        }
    )
    ranks = [e.rank for e in pick_examples(table, 5)]
    assert ranks[0] == 1 and ranks[-1] == 100 and ranks == sorted(ranks)
    assert pick_examples(pd.DataFrame({"stimulus": ["a"]})) == []


def test_learning_figure_without_scores_or_voxels():
    table = pd.DataFrame(
        {
            "stage": "stage2",
            "fold": None,
            "epoch": ["1", "2"],
            "loss": ["2", "1"],
            "val_score": None,
            "n_voxels": None,
        }
    )
    figure = draw_learning(table)
    assert len(figure.axes) == 1
    assert render(figure) == render(draw_learning(table))


def test_timeline_without_onsets_counts_trials():
    table = pd.DataFrame(
        {
            "onset": [None] * 3,
            "duration": None,
            "trial": ["1", "2", "3"],
            "split": ["train", "test", None],
            "excluded": ["False", "False", "True"],
        }
    )
    axes = draw_timeline({"run-1": table}).axes[0]
    assert axes.get_xlabel() == "Trial"


def test_motion_of_many_runs_and_without_dvars():
    table = pd.DataFrame(
        {"framewise_displacement": [None, "0.1", "0.9"], "trans_x": ["0", "1", "2"]}
    )
    figure = draw_motion({f"run-{i}": table for i in range(20)}, 0.5)
    assert len(figure.axes) == 3
    red = figure.axes[0].lines[2]
    assert len(red.get_xdata()) == 20
