"""Statistics over participants, from tables in the output folder to the report."""

from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from bids_decoder.analyses.jobs import Job, Notes, Stage
from bids_decoder.analyses.population.collect import bounds_of, read_cases
from bids_decoder.analyses.population.columns import Column, read_columns
from bids_decoder.analyses.population.interfaces import COLUMNS, SummarisePeople, summarise_people
from bids_decoder.analyses.population.maps import read_maps
from bids_decoder.analyses.population.methods import group_steps
from bids_decoder.analyses.population.options import Population
from bids_decoder.analyses.population.plan import check, jobs
from bids_decoder.analyses.population.report import group_sections, group_summary
from bids_decoder.bids.names import derivative_path
from bids_decoder.bids.writer import read_table, save_nifti, save_table
from bids_decoder.config import default_settings
from bids_decoder.evaluation.population import STATISTICS
from bids_decoder.files import read_json
from bids_decoder.markers import StageKey, why_not_done, write_marker
from bids_decoder.reports.blocks import Figure, Table, Text
from bids_decoder.reports.results import Results

PEOPLE = ["01", "02", "03", "04", "05", "06"]
SCORES = [0.9, 0.85, 0.8, 0.95, 0.75, 0.5]
SPACE = "MNI152NLin2009cAsym"


def metrics(score, n_permutations=99, p=0.01):
    rows = []
    for model, value in (("decoder", score), ("ridge", score - 0.1), ("random", 0.5)):
        for metric, shift in (("balanced_accuracy", 0.0), ("accuracy", 0.01)):
            rows.append({
                "model": model, "metric": metric, "direction": None, "unit": "single",
                "similarity": None, "split": "cv", "value": value + shift, "chance": 0.5,
                "ci_low": value - 0.1, "ci_high": value + 0.1, "p": p, "p_min": 0.01,
                "p_tail": None, "null": "refitted", "n_null": n_permutations,
                "n": 40, "pool_size": 2, "n_draws": None,
            })
    return pd.DataFrame(rows)


def decode(out, label, score, *, nulls=True, space=None, key="a", entities=None):
    """Write what decoding of one participant leaves."""
    names = {"sub": label, "task": "see", **(entities or {})}
    names |= {} if space is None else {"space": space}
    paths = [derivative_path(out, "metrics", **names)]
    significant = score > 0.6
    save_table(paths[0], metrics(score, p=0.01 if significant else 0.4))
    if nulls:
        rng = np.random.default_rng(int(label))
        paths.append(derivative_path(out, "nulls", **names))
        save_table(paths[1], pd.DataFrame({
            "model": "decoder", "permutation": np.arange(1, 100), "metric": "balanced_accuracy",
            "value": rng.normal(0.5, 0.05, 99),
        }))
    mask = np.zeros((4, 4, 3), bool)
    mask[1, 1, :] = True
    mask[2, 2, 0] = label == "01"
    paths.append(derivative_path(out, "troi_mask", **names))
    save_nifti(paths[-1], mask, np.diag([3.0, 3, 3, 1]), metadata={"Type": "ROI"})
    write_marker(out, StageKey("decode", f"sub-{label}", {"made": key}), paths)


@pytest.fixture
def out(tmp_path):
    folder = tmp_path / "out"
    for label, score in zip(PEOPLE, SCORES, strict=True):
        decode(folder, label, score, space=SPACE)
    return folder


def run(out, people=PEOPLE, columns=()):
    SummarisePeople(
        output_dir=str(out), people=list(people), columns=[vars(c) for c in columns], seed=1
    ).run()
    table = read_table(derivative_path(out, "group_metrics"))
    for name in ("value", "ci_low", "ci_high", "p", "p_min", "n", "n_significant"):
        table[name] = pd.to_numeric(table[name])
    return table


def column(name="group", is_group=True, values="aabbab", blocks=None):
    cells = dict(zip(PEOPLE, values, strict=True))
    within = None if blocks is None else dict(zip(PEOPLE, blocks, strict=True))
    return Column("--group-by" if is_group else "--covariate", name, is_group, cells, within)


# ----------------------------------------------------------------------------------- the table


def test_table_holds_every_statistic_of_every_measure(out):
    table = run(out, columns=[column(), column("age", False, list("135792"))])
    assert list(table) == list(COLUMNS)
    for metric in ("balanced_accuracy", "accuracy"):
        own = table[table["metric"] == metric]
        found = set(own["statistic"])
        without_nulls = {"prevalence_permutation", "prevalence_majority"}
        assert found == set(STATISTICS) - (set() if metric != "accuracy" else without_nulls)
    own = table[table["metric"] == "balanced_accuracy"].set_index("statistic")
    assert own.loc["participant", "value"].tolist() == pytest.approx(SCORES)
    assert own.loc["participant", "n"].tolist() == [40] * 6
    assert own.loc["prevalence_bayesian", ["n_significant", "n"]].tolist() == [5, 6]
    expected = (np.sum(SCORES) - np.array(SCORES)) / 5
    assert own.loc["mean_without", "value"].tolist() == pytest.approx(expected)
    ahead = own.loc["difference"].set_index("against")
    assert ahead.loc["ridge", "value"] == pytest.approx(0.1)
    assert ahead.loc["ridge", "p"] == ahead.loc["ridge", "p_min"] == pytest.approx(2 / 64)
    card = read_json(derivative_path(out, "group_metrics").with_suffix(".json"))
    assert set(card["statistic"]["Levels"]) == set(STATISTICS) and set(COLUMNS) <= set(card)
    assert card["WithoutNullDistributions"] == []


def test_the_same_seed_gives_the_same_bytes(out):
    path = derivative_path(out, "group_metrics")
    run(out, columns=[column()])
    first = path.read_bytes()
    run(out, columns=[column()])
    assert path.read_bytes() == first


def test_prevalence_by_permutation_uses_those_with_nulls(out):
    decode(out, "06", 0.5, nulls=False, space=SPACE)
    table = run(out)
    row = table[table["statistic"] == "prevalence_permutation"].iloc[0]
    assert row["n"] == 5 and row["p"] < 0.05
    card = read_json(derivative_path(out, "group_metrics").with_suffix(".json"))
    assert card["WithoutNullDistributions"] == ["sub-06"]


def test_nulls_of_retrieval_belong_to_one_measure(tmp_path):
    """Nulls with the circumstances of a measure are not mixed with those of another one."""
    for label in ("01", "02"):
        decode(tmp_path, label, 0.9)
        path = derivative_path(tmp_path, "nulls", sub=label, task="see")
        table = read_table(path).assign(direction="b2i")
        save_table(path, pd.concat([table, table.assign(direction=None, value="0.25")]))
        marker = read_json(tmp_path / f"logs/done/sub-{label}_decode.json")
        write_marker(tmp_path, StageKey("decode", f"sub-{label}", {}),
                     [tmp_path / name for name in marker["outputs"]])
    case = read_cases(tmp_path, ["01", "02"])[0]
    assert [null.tolist() for null in case.measure.nulls] == [[0.25] * 99] * 2


def test_a_baseline_that_a_participant_lacks(out):
    path = derivative_path(out, "metrics", sub="01", task="see", space=SPACE)
    table = read_table(path)
    save_table(path, table[table["model"] != "ridge"])
    own = run(out)
    counts = own[own["statistic"] == "difference"].groupby("against")["n"].first()
    assert counts["ridge"] == 5 and counts["random"] == 6


def test_results_in_another_space_that_no_marker_lists_do_not_count(out):
    path = derivative_path(out, "metrics", sub="01", task="see")
    save_table(path, metrics(0.1))
    assert read_cases(out, PEOPLE)[0].measure.numbers("value")[0] == 0.9


def test_transductive_scores_are_left_out(tmp_path):
    for label in ("01", "02"):
        decode(tmp_path, label, 0.9)
        path = derivative_path(tmp_path, "metrics", sub=label, task="see")
        table = read_table(path)
        inference = np.where(table["metric"] == "accuracy", "transductive", "inductive")
        save_table(path, table.assign(inference=inference))
    (case,) = read_cases(tmp_path, ["01", "02"])
    assert case.names["metric"] == "balanced_accuracy"


def test_ranks_are_better_when_smaller(tmp_path):
    for label, rank in (("01", 3.0), ("02", 4.0)):
        decode(tmp_path, label, 0.9)
        path = derivative_path(tmp_path, "metrics", sub=label, task="see")
        table = read_table(path).assign(metric="median_rank", pool_size="20")
        table = table[~table["model"].duplicated()]
        values = {"decoder": rank, "ridge": rank + 2, "random": 10.0}
        save_table(path, table.assign(value=table["model"].map(values)))
    (case,) = read_cases(tmp_path, ["01", "02"])
    assert not case.measure.higher_is_better and case.measure.bounds == (1, 20)
    found = summarise_people([case], [], 1)
    ahead = found[found["statistic"] == "difference"].set_index("against")["value"]
    assert ahead["ridge"] == pytest.approx(2)


@pytest.mark.parametrize(("metric", "bounds"), [
    ("top5", (0, 1)), ("correlation", (-1, 1)), ("distance", (-np.inf, np.inf)),
])
def test_bounds(metric, bounds):
    assert bounds_of({"metric": metric}) == bounds


# ------------------------------------------------------------------------------------------ maps


def test_share_of_participants_who_selected_each_voxel(out):
    run(out)
    (path,) = (out / "group").glob("*_statmap.nii.gz")
    assert path.name == f"space-{SPACE}_label-TROI_stat-prevalence_desc-group_statmap.nii.gz"
    maps, notes = read_maps(out, PEOPLE)
    assert notes == [] and maps[0].people == tuple(PEOPLE)
    shares = {tuple(where): share for where, share in zip(
        np.argwhere(maps[0].grid.mask), (maps[0].values > 0).mean(axis=0), strict=True
    )}
    assert shares == {(1, 1, 0): 1, (1, 1, 1): 1, (1, 1, 2): 1, (2, 2, 0): pytest.approx(1 / 6)}


def test_searchlights_are_tested_against_their_chance_level(tmp_path):
    rng = np.random.default_rng(0)
    for label in PEOPLE:
        volume = rng.normal(0.25, 0.02, (4, 4, 3))
        volume[1, 2, 1] += 0.5
        volume[0], volume[3, 3, 2] = 0, 0.25  # outside; at chance
        if label == PEOPLE[0]:
            volume[2, 2, 1] = 0  # no trial is right
        mask = derivative_path(tmp_path, "search_mask", sub=label, space=SPACE)
        save_nifti(mask, np.arange(4)[:, None, None] > np.zeros((1, 4, 3)),
                   np.diag([3.0, 3, 3, 1]))
        path = derivative_path(tmp_path, "search_map", sub=label, space=SPACE,
                               stat="accuracy")
        save_nifti(path, volume, np.diag([3.0, 3, 3, 1]), metadata={"Chance": 0.25})
        write_marker(tmp_path, StageKey("searchlight", f"sub-{label}", {}), [path, mask])
        decode(tmp_path, label, 0.8)
    run(tmp_path)
    name = f"space-{SPACE}_label-searchlight_stat-accuracy{{}}_desc-group_statmap.nii.gz"
    mean, log_p = (np.asarray(nib.load(tmp_path / "group" / name.format(stat)).dataobj)
                   for stat in ("mean", "logp"))
    assert mean[1, 2, 1] == pytest.approx(0.5, abs=0.05) and abs(mean[2]).max() < 0.1
    searched = next(one for one in read_maps(tmp_path, PEOPLE)[0] if one.kind.mask)
    assert np.isfinite(searched.values).all() and not searched.grid.mask[0].any()
    assert searched.values[0].min() == -0.25
    assert log_p.argmax() == np.ravel_multi_index((1, 2, 1), log_p.shape)
    assert 0.01 < 10.0 ** -log_p.max() < 0.03  # 1 of 64 flips


def test_an_encoder_that_predicts_a_voxel_with_correlation_0_has_a_value_there(tmp_path):
    for number, label in enumerate(PEOPLE):
        volume = np.full((3, 3, 2), 0.1 * number)
        volume[0] = 0  # not predicted
        path = derivative_path(tmp_path, "encoder_map", sub=label, space=SPACE, label="ridge",
                               stat="correlation")
        mask = derivative_path(tmp_path, "encoder_map_mask", sub=label, space=SPACE)
        save_nifti(path, volume, np.eye(4))
        save_nifti(mask, np.arange(3)[:, None, None] > np.zeros((1, 3, 2)), np.eye(4))
        write_marker(tmp_path, StageKey("encode", f"sub-{label}", {}), [path, mask])
    (found,), notes = read_maps(tmp_path, PEOPLE)
    assert notes == [] and found.grid.n_voxels == 12
    np.testing.assert_allclose(found.values, np.full((6, 12), 0.1) * np.arange(6)[:, None],
                               rtol=1e-6)


def test_maps_in_own_spaces_are_left_out_and_that_is_said(tmp_path):
    for label in ("01", "02"):
        decode(tmp_path, label, 0.9)
    maps, notes = read_maps(tmp_path, ["01", "02"])
    assert maps == [] and "sub-01, sub-02" in notes[0] and "own space" in notes[0]


# ---------------------------------------------------------------------------------------- columns


def participants_table(folder, **columns):
    folder.mkdir(exist_ok=True)
    table = pd.DataFrame({"participant_id": [f"sub-{label}" for label in PEOPLE], **columns})
    save_table(folder / "participants.tsv", table)
    return folder


def problems(folder, people=PEOPLE, **named):
    columns, findings = read_columns(folder, Population(**named), people)
    return columns, [(f.severity, int(f.code), str(f)) for f in findings]


def test_columns_are_read_by_participant(tmp_path):
    folder = participants_table(tmp_path, sex=list("fmfmfm"), age=[1, 2, 3, 4, 5, 6.5],
                                site=list("aabbcc"))
    columns, found = problems(folder, group_by="sex", covariate="age", exchange_within="site")
    assert found == [] and [c.name for c in columns] == ["sex", "age"]
    assert columns[0].values["06"] == "m" and columns[1].blocks["03"] == "b"


@pytest.mark.parametrize(("named", "code", "text"), [
    ({"group_by": "sexx"}, 64, "did you mean sex?"),
    ({"group_by": "same"}, 65, "it is x in all 6"),
    ({"group_by": "none"}, 65, "n/a in all"),
    ({"group_by": "each"}, 65, "too few participants"),
    ({"covariate": "sex"}, 65, "6 value(s) are no numbers: f, m, f"),
    ({"group_by": "sex", "exchange_within": "sex"}, 65, "do not vary within blocks"),
    ({"exchange_within": "sex"}, 64, "nothing to exchange"),
])
def test_columns_that_cannot_be_tested(tmp_path, named, code, text):
    folder = participants_table(tmp_path, sex=list("fmfmfm"), same=["x"] * 6, none=[None] * 6,
                                each=list("abcdef"))
    columns, found = problems(folder, **named)
    errors = [(number, message) for severity, number, message in found if severity == "error"]
    assert columns == [] and len(errors) == 1
    assert errors[0][0] == code and text in errors[0][1]


def test_a_table_that_is_not_there(tmp_path):
    assert problems(tmp_path, group_by="sex")[1][0][1] == 66


def test_participants_without_a_value_are_left_out_of_the_test(tmp_path, out):
    folder = participants_table(tmp_path, age=[1, 2, None, 4, 5, 7])
    (age,), found = problems(folder, covariate="age")
    assert found[0][0] == "warning" and "sub-03" in found[0][2]
    table = run(out, columns=[age])
    assert table[table["statistic"] == "slope"]["n"].tolist() == [5, 5]
    assert table[table["statistic"] == "mean"]["n"].max() == 6


# ------------------------------------------------------------------------------------------- plan


def study(out, root, *, chosen=(), level="group", stage=(), named=(), **columns):
    """What planning knows, as far as this analysis asks for it."""
    settings = default_settings((Population,)).replaced(population=columns, execution={
        "analysis_level": (level,), "stage": stage, "participant_label": named,
    })
    people = [SimpleNamespace(label=label, node_label=f"sub{label}") for label in chosen]

    def look_up(key, wanted=True, locks=True):
        return Stage(key, why_not_done(out, key), wanted, locks)

    return SimpleNamespace(
        settings=settings, output_dir=out, roles=SimpleNamespace(chosen=people),
        chosen_people=people, stage=look_up,
        dataset=SimpleNamespace(
            root=root, participants=[SimpleNamespace(label=label) for label in PEOPLE]
        ),
    )


def decoding(label, key="a"):
    stage = Stage(StageKey("decode", f"sub-{label}", {"made": key}), None)
    return {f"decoder/{label}": Job(f"decode_{label}", "decode", (stage,))}


def test_the_group_level_takes_results_on_disk(out, tmp_path):
    notes = Notes()
    (job,) = jobs(study(out, tmp_path), notes, {})
    assert job.spec.people == tuple(PEOPLE) and job.is_due and not job.stages[0].locks
    assert job.spec.waits_for == () and notes.findings == []


def test_it_is_due_again_when_results_change(out, tmp_path):
    def plan():
        return jobs(study(out, tmp_path), Notes(), {})[0]

    job = plan()
    run(out)
    write_marker(out, job.key, [derivative_path(out, "group_metrics")])
    assert not plan().is_due
    decode(out, "03", 0.7, space=SPACE, key="b")
    assert "results.03.decode" in plan().stages[0].why


def test_one_participant_of_a_job_array_has_no_statistics(out, tmp_path):
    alone = study(out, tmp_path, chosen=["01"], level="participant")
    assert jobs(alone, Notes(), decoding("01")) == []
    two = study(out, tmp_path, chosen=["01", "02"], level="participant")
    (job,) = jobs(two, Notes(), decoding("01", "b") | decoding("02"))
    assert job.spec.waits_for == (("decode_01", "decode"), ("decode_02", "decode"))
    assert len(job.spec.people) == 6


def test_participants_can_be_chosen_among_results(out, tmp_path):
    (job,) = jobs(
        study(out, tmp_path, stage=("population",), named=("01", "02")), Notes(), {}
    )
    assert job.spec.people == ("01", "02")
    notes = Notes()
    assert jobs(study(out, tmp_path, stage=("population",), named=("01",)), notes, {}) == []
    assert "fewer than two" in notes.skipped[0].why


def test_participants_decoded_with_other_settings_are_named(out, tmp_path):
    decode(out, "05", 0.7, space=SPACE, key="b")
    notes = Notes()
    jobs(study(out, tmp_path), notes, {})
    (finding,) = notes.findings
    assert finding.severity == "warning" and "sub-05 differ in made" in finding.why


def test_a_wrong_column_stops_the_plan(out, tmp_path):
    participants_table(tmp_path, sex=list("fmfmfm"))
    notes = Notes()
    check(study(out, tmp_path, group_by="sexs"), notes)
    assert [int(finding.code) for finding in notes.findings] == [64]


# ------------------------------------------------------------------------------------------ report


def texts(blocks):
    return " ".join(block.text for block in blocks if isinstance(block, Text))


def test_report_says_what_was_found(out):
    run(out, columns=[column(), column("age", False, list("135792"))])
    summary = texts(group_summary(Results(out)))
    assert "Over 6 participants" in summary and "5 of 6 participants are significant" in summary
    assert "strongest baseline “ridge”" in summary
    (section,) = group_sections(Results(out))
    assert "t-test of accuracies against chance is not shown" in texts(section.blocks)
    assert section.pictures[0].name == "forestdecoder"
    tables = {b.caption.split(":")[0]: b for b in section.blocks if isinstance(b, Table)}
    assert {"Influence of each participant", "Groups and covariates"} <= set(tables)
    assert len(tables["Influence of each participant"].rows) == 6
    (ridge,) = (row for row in tables["Ahead of each baseline, over participants (sign flips)"].rows
                if row[0] == "ridge")
    assert all(cell.startswith(("+", "-")) and "points" in cell for cell in ridge[2:4])
    assert ridge[2] in summary
    values = {row[0]: row[3] for row in tables["Groups and covariates"].rows}
    assert "points" in values["group difference"] and "points" not in values["group mean"]
    forest = next(block.drawing for block in section.blocks if isinstance(block, Figure))
    said = forest.split('data-said="')[1:]
    assert len(said) == 9 and said[0].startswith("sub-01: n = ") and "95 % interval" in said[0]
    steps = group_steps(Results(out))
    assert steps["population"] == {"n_participants": 6}
    assert steps["population-columns"]["columns"] == "age and group"
    assert {"population-permutation", "population-differences"} <= set(steps)


def test_report_of_three_groups_says_what_their_number_is(out):
    three = column("group", True, list("aabbcc"))
    run(out, columns=[three])
    (section,) = group_sections(Results(out))
    table = next(block for block in section.blocks if isinstance(block, Table)
                 and block.caption.startswith("Groups and covariates"))
    (row,) = (row for row in table.rows if row[0] == "group difference")
    assert row[3].startswith("R² 0.") and row[4] == "n/a" and "permutation of F" in row[-1]


def test_report_of_few_participants_says_what_cannot_be_concluded(tmp_path):
    for label in ("01", "02", "03"):
        decode(tmp_path, label, 0.9, nulls=False)
    run(tmp_path, ["01", "02", "03"])
    summary = texts(group_summary(Results(tmp_path)))
    assert "sign-flip test is 0.25" in summary and "at most half" in summary
    text = texts(group_sections(Results(tmp_path))[0].blocks)
    assert "Null distributions of any participant were not saved" in text
    assert "own space" in text
    assert "population-permutation" not in group_steps(Results(tmp_path))


def test_without_the_table_there_is_no_section(tmp_path):
    assert group_sections(Results(tmp_path)) == [] and group_summary(Results(tmp_path)) == []
