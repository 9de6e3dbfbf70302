"""Protocols by name: options that contradict them, trials that train, data that differ."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from bids_decoder.analyses.decode.published import PUBLISHED_COLUMNS, beside_published
from bids_decoder.analyses.decode.report_published import group_published_section, published_section
from bids_decoder.analyses.study import Roles
from bids_decoder.bids.dataset import Participant
from bids_decoder.bids.events import TrialBuild
from bids_decoder.bids.writer import read_table, save_table
from bids_decoder.cli.parser import parse_args
from bids_decoder.cli.protocol_trials import _first_stimuli, check_protocol, limit_trials
from bids_decoder.config import Settings, TrialRules
from bids_decoder.errors import BidsDecoderError, ExitCode
from bids_decoder.evaluation.splits import choose_split
from bids_decoder.files import write_json
from bids_decoder.protocols import PROTOCOLS, follow
from bids_decoder.trials import TRIAL_COLUMNS

SMALL = replace(
    PROTOCOLS["troi"], n_sessions=3, n_session_trials=6, n_test_stimuli=2, n_test_trials=6,
)
"""TROI on three sessions of six trials, of which two show test stimuli."""


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setitem(PROTOCOLS, "troi", SMALL)
    return follow(Settings(trials=TrialRules(protocol="troi")))[0]


def trials(n_sessions=3):
    rows = []
    # Sessions out of order: the first one is the one with the smallest number.
    for session in reversed(range(1, n_sessions + 1)):
        for trial in range(1, 7):
            test = trial <= 2
            rows.append({
                "trial": trial, "session": f"nsd{session:02d}", "task": "nsdcore", "run": "01",
                "run_group": f"ses-nsd{session:02d}_run-01",
                "stimulus": f"shared{trial}" if test else f"own{session}_{trial}",
                "excluded": False, "split_source": "test" if test else "train",
            })
    columns = [*TRIAL_COLUMNS, "split_source"]
    return pd.DataFrame(rows, columns=columns).astype({"reason": object, "label": object})


def roles(decoded="01", sources=("02", "05", "07")):
    people = {label: Participant(label, (), ()) for label in (decoded, *sources)}
    return Roles(tuple(people[label] for label in sources), (people[decoded],))


def test_protocol_reads_the_released_split_and_fixes_the_pools():
    settings, _ = parse_args(["/data", "/out", "participant", "--protocol", "mindeye2-1h"])
    assert settings.trials.split_column == "split"
    assert (settings.evaluation.pool_size, settings.evaluation.n_draws) == (300, 30)


@pytest.mark.parametrize("name", ["god", "miyawaki"])
def test_other_protocols_search_among_all_tested_pictures(name):
    settings = Settings(trials=TrialRules(protocol=name))
    kept, findings = follow(settings)
    assert kept.evaluation.pool_size == 300 and findings == []
    (found,) = follow(settings.replaced(evaluation={"pool_size": 10}))[1]
    assert "pool_size is '10', which the protocol fixes to 300" in found.why and found.code == 64


@pytest.mark.parametrize("words", [
    ["--test-runs", "01"], ["--session-id", "nsd01"], ["--from-scratch"], ["--leave-one-out"],
    ["--target", "category"], ["--allow-seen"],
])
def test_option_against_the_protocol_is_a_usage_error_that_names_both(words):
    with pytest.raises(BidsDecoderError) as error:
        parse_args(["/data", "/out", "participant", "--protocol", "troi", *words])
    assert error.value.code == ExitCode.USAGE
    assert f"{words[0]} with --protocol troi" in str(error.value)


def test_unknown_protocol_is_a_usage_error():
    with pytest.raises(BidsDecoderError, match="did you mean mindeye2-1h"):
        parse_args(["/data", "/out", "participant", "--protocol", "mindeye-1h"])


def test_first_session_trains_the_decoded_participant_and_all_sessions_the_sources(small):
    build = TrialBuild({label: trials() for label in ("01", "02", "05", "07")}, "image")
    tables = limit_trials(build, roles(), small).tables
    used = tables["01"][~tables["01"]["excluded"]]
    training = used[used["split_source"] == "train"]
    assert set(training["session"]) == {"nsd01"}
    assert (used["split_source"] == "test").sum() == 6
    assert not tables["02"]["excluded"].any()
    split = choose_split(tables, "image", small.trials, 0)[0]
    assert split.test_stimuli == ("shared1", "shared2")


def test_data_of_the_protocol_are_accepted(small):
    tables = {label: trials() for label in ("01", "02", "05", "07")}
    assert check_protocol(tables, "image", roles(), small) == []


@pytest.mark.parametrize(("who", "n_sessions", "said"), [
    (roles("03"), 3, "decodes participants 1, 2, 5, 7"),
    (roles("01"), 2, "2 sessions instead of 3"),
    (roles("01"), 2, "4 test trials instead of 6"),
    (roles("01", ("02", "05")), 3, "pretrained on participants 2, 5 instead of 2, 5, 7"),
])
def test_other_data_are_refused_with_what_differs(small, who, n_sessions, said):
    tables = {person.label: trials(n_sessions) for person in (*who.chosen, *who.sources)}
    findings = check_protocol(tables, "image", who, small)
    assert said in " ".join(finding.why for finding in findings)
    assert {finding.code for finding in findings} == {ExitCode.BAD_DATA}


def test_first_stimuli_train_with_all_their_repeats(monkeypatch):
    monkeypatch.setitem(PROTOCOLS, "braincodec-200", replace(
        PROTOCOLS["braincodec-200"], n_training_stimuli=5, n_sessions=3, n_session_trials=6,
        n_test_stimuli=2, n_test_trials=6,
    ))
    settings = follow(Settings(trials=TrialRules(protocol="braincodec-200")))[0]
    table = trials()
    # Session 1 comes first, whatever the order of rows; a later repeat of its stimulus trains, too.
    table.loc[0, ["stimulus", "split_source"]] = "own1_3", "train"
    table.loc[1, "split_source"] = "test"
    people = roles("07", ("01", "02", "05"))
    build = TrialBuild(
        {"07": table, **{label: trials() for label in ("01", "02", "05")}}, "image"
    )
    tables = limit_trials(build, people, settings).tables
    used = tables["07"][~tables["07"]["excluded"]]
    training = used[used["split_source"] == "train"]
    assert sorted(training["stimulus"]) == [
        "own1_3", "own1_3", "own1_4", "own1_5", "own1_6", "own2_3"
    ]
    assert not tables["01"]["excluded"].any()
    found = [finding.why for finding in check_protocol(tables, "image", people, settings)]
    assert found == ["5 test trials instead of 6"]
    fewer = tables | {"07": tables["07"][tables["07"]["stimulus"] != "own1_4"]}
    found = [finding.why for finding in check_protocol(fewer, "image", people, settings)]
    assert "4 training stimuli instead of 5" in found


def test_first_stimuli_are_those_of_run_2_before_run_10():
    table = pd.DataFrame({
        "session": None, "run": ["10", "2", "1"], "trial": [1, 1, 1], "stimulus": list("cba"),
    })
    assert _first_stimuli(table, 2) == ["a", "b"]


def test_number_of_training_trials_of_other_data():
    settings = follow(Settings(trials=TrialRules(protocol="miyawaki")))[0]
    table = trials(1).assign(session="random")
    people = Roles((), (Participant("S1", (), ()),))
    (finding,) = check_protocol({"S1": table}, "image", people, settings)
    assert finding.why == "4 training trials instead of 440"
    many = pd.concat([table.iloc[2:]] * 110 + [table.iloc[:2]], ignore_index=True)
    assert check_protocol({"S1": many}, "image", people, settings) == []


@pytest.mark.parametrize("name", ["god", "miyawaki"])
def test_pretraining_is_free_where_no_trials_are_left_out(name):
    words = ["/data", "/out", "participant", "--protocol", name, "--from-scratch"]
    assert parse_args(words)[0].execution.from_scratch


def test_labels_are_refused(small):
    (finding,) = check_protocol({"01": trials()}, "category", roles(), small)
    assert "decodes images" in finding.why


def decoded(
    folder: Path, label: str, pretrained_on: list[str], protocol: str = "troi",
    pool_size: int = 300,
) -> None:
    own = folder / f"sub-{label}"
    model = own / "model" / f"sub-{label}_desc-decoder_model"
    write_json(model.with_suffix(".json"), {
        "protocol": protocol, "pretrained_on": pretrained_on,
    })
    model.with_suffix(".safetensors").touch()
    rows = [
        {"model": "decoder", "metric": "top1", "unit": unit, "similarity": similarity,
         "direction": direction, "value": value, "pool_size": pool_size, "n_draws": 30}
        for unit, similarity, direction, value in (
            ("averaged", "cosine", "i2b", 0.4321), ("averaged", "cosine", "b2i", 0.1234),
            ("averaged", "csls", "b2i", 0.9), ("single", "cosine", "b2i", 0.05),
        )
    ]
    save_table(own / "func" / f"sub-{label}_desc-decoder_metrics.tsv", pd.DataFrame(rows))


def test_table_beside_the_report(tmp_path):
    decoded(tmp_path, "02", ["01", "05", "07"])
    metrics = read_table(tmp_path / "sub-02/func/sub-02_desc-decoder_metrics.tsv")
    card = {"protocol": "troi", "pretrained_on": ["01", "05", "07"]}
    table = beside_published("02", card, metrics)
    assert list(table) == list(PUBLISHED_COLUMNS)
    assert table["i2b"].tolist() == pytest.approx([0.4321, 0.913])
    assert table["b2i"].tolist() == pytest.approx([0.1234, 0.743])
    assert beside_published("02", {**card, "pretrained_on": ["01"]}, metrics) is None
    assert beside_published("02", {}, metrics) is None


@pytest.mark.parametrize(("name", "n_tested"), [("god", 50), ("miyawaki", 120)])
def test_protocol_without_published_scores_says_so(tmp_path, name, n_tested):
    from bids_decoder.reports.results import Results

    decoded(tmp_path, "3", [], protocol=name, pool_size=n_tested)
    (section,) = published_section(Results(tmp_path, "3"))
    assert len(shown([section])) == 1
    assert "none that is computed in this way is known" in str(section.blocks[-1])


def test_smaller_pools_than_the_protocol_draws_are_not_compared(tmp_path):
    from bids_decoder.reports.results import Results

    decoded(tmp_path, "02", ["01", "05", "07"], pool_size=50)
    (section,) = published_section(Results(tmp_path, "02"))
    assert shown([section]) == []
    assert "no scores of averaged repeats in pools of 300" in str(section.blocks[1])


def test_methods_name_protocol_and_source(tmp_path):
    from bids_decoder.analyses.decode.methods import steps
    from bids_decoder.reports.results import Results

    decoded(tmp_path, "02", ["01", "05", "07"])
    found = steps(Results(tmp_path, "02"))
    assert found["protocol"] == {
        "title": "TROI, one hour", "source": "Wang et al. 2025 (arXiv 2502.00412)"
    }


def shown(sections) -> list[list[str]]:
    return [row for block in sections[0].blocks for row in getattr(block, "rows", [])]


def test_report_shows_own_scores_beside_those_of_the_same_participant(tmp_path):
    from bids_decoder.reports.results import Results

    decoded(tmp_path, "02", ["01", "05", "07"])
    rows = shown(published_section(Results(tmp_path, "02")))
    assert [cell.replace("\xa0", " ") for cell in rows[0][2:4]] == ["43.2 %", "12.3 %"]
    assert rows[1][:2] == ["subject 2", "TROI"]
    assert [cell.replace("\xa0", " ") for cell in rows[1][2:4]] == ["91.3 %", "74.3 %"]
    assert shown(group_published_section(Results(tmp_path))) == rows


def test_report_shows_no_published_scores_after_another_pretraining(tmp_path):
    from bids_decoder.reports.results import Results

    decoded(tmp_path, "02", ["01"])
    (section,) = published_section(Results(tmp_path, "02"))
    assert shown([section]) == []
    assert "pretrained on 1, those of the protocol on 1, 5, 7" in str(section.blocks[1])
    assert group_published_section(Results(tmp_path)) == []
