import dataclasses
from pathlib import Path

import pytest

from bids_decoder.analyses.registry import section_kinds
from bids_decoder.config import Settings, default_settings
from bids_decoder.config_files import load_settings, settings_from_dict
from bids_decoder.errors import UsageError


def unusual():
    return Settings().replaced(
        execution={"bids_dir": Path("/a b/ü"), "derivatives": {"betas": Path("/x")},
                   "participant_label": ("01", "007"), "work_dir": Path("/w"),
                   "analysis_level": ("group", "participant")},
        troi={"budget_mm3": 17500.0}, glm={"high_pass": 0.01, "contrasts": ("face - house",)},
        preprocessing={"dummy_scans": 0}, resources={"mem_gb": 16.0, "low_mem": True},
    )


@pytest.mark.parametrize("settings", [Settings(), unusual()])
def test_settings_come_back_from_toml(tmp_path, settings):
    path = settings.to_toml(tmp_path / "settings.toml")
    assert load_settings(path) == settings


def test_every_field_survives(tmp_path):
    """No field is lost or changes its type, whatever its value."""
    kinds = section_kinds()
    settings = default_settings(kinds)
    groups = {f.name: getattr(settings, f.name) for f in dataclasses.fields(settings)}
    groups |= settings.sections
    for name, value in groups.items():
        if not dataclasses.is_dataclass(value):
            continue
        for field in dataclasses.fields(value):
            old = getattr(value, field.name)
            new = {bool: lambda v: not v, int: lambda v: v + 1, float: lambda v: v + 0.5}.get(
                type(old), lambda v: v
            )(old)
            changed = settings.replaced(**{name: {field.name: new}})
            path = changed.to_toml(tmp_path / "s.toml")
            found = load_settings(path, kinds)
            assert found == changed, field.name
            section = found.sections.get(name) or getattr(found, name)
            assert type(getattr(section, field.name)) is type(new)


def test_labels_stay_text(tmp_path):
    path = tmp_path / "s.toml"
    path.write_text('[execution]\nparticipant_label = ["007", "1"]\n')
    assert load_settings(path).execution.participant_label == ("007", "1")
    path.write_text("[execution]\nparticipant_label = [7]\n")
    with pytest.raises(UsageError, match="participant_label"):
        load_settings(path)


@pytest.mark.parametrize(("content", "what"), [
    ({"nothing": {}}, "nothing"),
    ({"troi": {"epoch": 3}}, "epoch"),
    ({"troi": {"epochs": "three"}}, "epochs"),
    ({"troi": {"epochs": True}}, "epochs"),
    ({"troi": {"epochs": 2.5}}, "epochs"),
    ({"troi": 3}, "troi"),
    ({"glm": {"confounds": "motion"}}, "confounds"),
    ({"glm": {"high_pass": "low"}}, "high_pass"),
    ({"trials": {"trial_filter": "a=b"}}, "trial_filter"),
    ({"execution": {"derivatives": ["x"]}}, "derivatives"),
    ({"execution": {"leave_one_out": "yes"}}, "leave_one_out"),
    ({"random_seed": "1"}, "random_seed"),
])
def test_wrong_content_is_named(content, what):
    with pytest.raises(UsageError) as caught:
        settings_from_dict(content, "s.toml")
    assert what in caught.value.finding.what
    assert "s.toml" in caught.value.finding.what
    assert caught.value.finding.fix


def test_whole_numbers_do_where_numbers_are_wanted():
    assert settings_from_dict({"glm": {"high_pass": 0}}).glm.high_pass == 0.0
    assert isinstance(settings_from_dict({"resources": {"mem_gb": 8}}).resources.mem_gb, float)


@pytest.mark.parametrize("content", [b"[", b"\xff\xfe", b"a = 1\na = 2"])
def test_unreadable_files(tmp_path, content):
    path = tmp_path / "s.toml"
    path.write_bytes(content)
    with pytest.raises(UsageError, match="cannot be read"):
        load_settings(path)
    with pytest.raises(UsageError, match="cannot be read"):
        load_settings(tmp_path / "none.toml")


def test_byte_order_mark_is_no_obstacle(tmp_path):
    path = tmp_path / "s.toml"
    path.write_bytes(b"\xef\xbb\xbfrandom_seed = 5\n")
    assert load_settings(path).random_seed == 5


def test_settings_cannot_be_changed_in_place():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().random_seed = 1
