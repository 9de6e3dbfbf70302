import json

import pytest

from bids_decoder import markers
from bids_decoder.files import write_text
from bids_decoder.markers import StageKey, why_not_done, write_marker


@pytest.fixture
def stage():
    return StageKey("decode", "sub-01", {"settings": {"epochs": 3, "rule": "a"}, "upstream": "k"})


@pytest.fixture
def output(tmp_path, stage):
    files = [write_text(tmp_path / "sub-01" / name, name) for name in ("a.tsv", "b.tsv")]
    write_marker(tmp_path, stage, files)
    return tmp_path


def test_before_and_after(tmp_path, stage):
    assert why_not_done(tmp_path, stage) == "not done yet"
    write_marker(tmp_path, stage, [write_text(tmp_path / "x", "1")])
    assert why_not_done(tmp_path, stage) is None


def test_marker_names_its_outputs_without_paths_of_this_machine(output, stage):
    content = json.loads(stage.marker(output).read_text())
    assert content["outputs"] == {"sub-01/a.tsv": 5, "sub-01/b.tsv": 5}
    assert str(output) not in stage.marker(output).read_text()
    moved = output.rename(output.with_name("moved"))
    assert why_not_done(moved, stage) is None


def test_change_of_content_is_named(output, stage):
    def changed(**components):
        return why_not_done(output, StageKey("decode", "sub-01", {
            **stage.components, **components,
        }))

    assert changed(settings={"epochs": 4, "rule": "a"}) == "changed: settings.epochs"
    assert changed(upstream="other") == "changed: upstream"
    assert changed(new=1) == "changed: new"
    assert changed(settings={}) == "changed: settings.epochs, settings.rule"
    many = changed(a=1, b=2, c=3, d=4)
    assert many == "changed: a, b, c and 1 more"


def test_a_tuple_is_no_change(tmp_path):
    first, second = (
        StageKey("decode", "sub-01", {"ignore": ("a", "b"), "epochs": n}) for n in (3, 4)
    )
    write_marker(tmp_path, first, [])
    assert why_not_done(tmp_path, second) == "changed: epochs"


def test_other_units_and_stages_are_apart(output, stage):
    for other in (StageKey("decode", "sub-02", stage.components),
                  StageKey("betas", "sub-01", stage.components)):
        assert why_not_done(output, other) == "not done yet"


def test_outputs_that_are_lost_or_cut(output, stage):
    path = output / "sub-01" / "b.tsv"
    path.write_text("b")
    assert why_not_done(output, stage) == "sub-01/b.tsv has another size"
    path.unlink()
    assert why_not_done(output, stage) == "sub-01/b.tsv is missing"
    path.mkdir()
    assert why_not_done(output, stage) == "sub-01/b.tsv is missing"


@pytest.mark.parametrize("content", ["", "{", "\xff"])
def test_damaged_marker(output, stage, content):
    stage.marker(output).write_bytes(content.encode("latin-1"))
    assert why_not_done(output, stage) == "its marker is damaged"


@pytest.mark.parametrize(("content", "why"), [
    ("{}", "made by version None"), ("[]", "its marker is damaged"),
    ("null", "its marker is damaged"),
])
def test_marker_with_other_content(output, stage, content, why):
    stage.marker(output).write_text(content)
    assert why_not_done(output, stage) == why


def test_other_version(output, stage, monkeypatch):
    key = stage.key
    monkeypatch.setattr(markers, "__version__", "99.0")
    assert stage.key != key
    assert why_not_done(output, stage).startswith("made by version ")


def test_marker_of_outputs_that_are_not_there_is_refused(tmp_path, stage):
    with pytest.raises(FileNotFoundError):
        write_marker(tmp_path, stage, [tmp_path / "nothing"])
    assert why_not_done(tmp_path, stage) == "not done yet"
