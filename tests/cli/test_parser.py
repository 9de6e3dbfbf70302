import argparse
import dataclasses
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bids_decoder.analyses.registry import section_kinds
from bids_decoder.cli.parser import Actions, build_parser, parse_args
from bids_decoder.config import default_settings
from bids_decoder.errors import ExitCode, FindingsError, UsageError

CALL = ["data", "out", "participant"]
DEFAULTS = default_settings(section_kinds())
SPECIAL = {"help", "version", "config_file", "notrack", "troi.*", "execution.*",
           "evaluation.*", "searchlight.*"}


def settings(*words):
    return parse_args([*CALL, *words])[0]


def usage_error(*words):
    with pytest.raises(UsageError) as caught:
        parse_args(list(words))
    return caught.value.finding


def options():
    return [action for action in build_parser()._actions if action.option_strings]


def setting_of(everything, dest):
    group, _, name = dest.rpartition(".")
    section = everything.sections.get(group) or getattr(everything, group or name)
    return getattr(section, name) if group else section


# ------------------------------------------------------------------------------- the whole parser


def test_every_option_names_a_setting_or_an_action():
    for action in build_parser()._actions:
        if action.dest in SPECIAL:
            continue
        group, _, name = action.dest.rpartition(".")
        if group == "actions":
            assert name in {field.name for field in dataclasses.fields(Actions)}
        else:
            setting_of(DEFAULTS, action.dest)


def test_no_two_options_name_the_same_setting():
    dests = [action.dest for action in build_parser()._actions]
    assert len(dests) == len(set(dests))


def test_without_options_all_settings_are_defaults():
    found, actions = parse_args(CALL)
    folders = {"bids_dir": Path.cwd() / "data", "output_dir": Path.cwd() / "out"}
    expected = DEFAULTS.replaced(execution=folders)
    assert found == expected
    assert actions == Actions()


def test_help_lists_fmriprep_groups(capsys):
    with pytest.raises(SystemExit) as caught:
        parse_args(["--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    for title in (
        "Options for filtering BIDS queries", "Options to handle performance",
        "Options for performing only a subset of the workflow", "Workflow configuration",
    ):
        assert title in text
    assert "(default: ridge)" in text
    assert "SUPPRESS" not in text


def test_version(capsys):
    from bids_decoder import __version__

    with pytest.raises(SystemExit) as caught:
        parse_args(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"bids_decoder {__version__}\n"


# ------------------------------------------------------------------------------------ positionals


def test_levels_run_in_the_order_given():
    assert settings().execution.analysis_level == ("participant",)
    found = parse_args(["data", "out", "group", "participant"])[0]
    assert found.execution.analysis_level == ("group", "participant")


def test_options_may_stand_before_and_between_positionals():
    found = parse_args(["--low-mem", "data", "--nprocs", "2", "out", "participant"])[0]
    assert found.resources.low_mem
    assert found.execution.output_dir == Path.cwd() / "out"


def test_unknown_level_is_code_17():
    finding = usage_error("data", "out", "particpant")
    assert finding.code == ExitCode.UNKNOWN_LEVEL
    assert "particpant" in finding.what
    assert "did you mean participant?" in finding.fix


@pytest.mark.parametrize("words", [
    [], ["data"], ["data", "out"],
    [*CALL, "--nosuch"],
    [*CALL, "--mem"], [*CALL, "--mem", "1X"], [*CALL, "--mem", "0"], [*CALL, "--mem", "-3G"],
    [*CALL, "--nprocs", "0"], [*CALL, "--nprocs", "two"], [*CALL, "--nprocs", "1.5"],
    [*CALL, "--high-pass", "-1"], [*CALL, "--high-pass", "nan"], [*CALL, "--high-pass", "inf"],
    [*CALL, "--device", "gpu"], [*CALL, "--device", "cuda:"],
    [*CALL, "--budget", "3000"], [*CALL, "--budget", "0vox"], [*CALL, "--budget", "2.5vox"],
    [*CALL, "--target", "words"], [*CALL, "--betas", "ols"], [*CALL, "--ignore", "motion"],
    [*CALL, "--participant-label"], [*CALL, "--participant-label", "sub-"],
    [*CALL, "--participant-label", "01_02"],
    [*CALL, "--work-dir", ""], [*CALL, "--random-seed", "-1"], [*CALL, "--dummy-scans", "-1"],
    [*CALL, "--pretrained", "x", "--from-scratch"],
    [*CALL, "--holdout-label", "1", "--leave-one-out"],
    [*CALL, "--split-column", "part", "--test-runs", "1"],
    [*CALL, "--dry-run", "--reports-only"],
    [*CALL, "--stage", "pretrain"], ["data", "out", "group", "--stage", "decode"],
    [*CALL, "-d", "fmriprep=/a", "fmriprep=/b"],
    [*CALL, "--config-file", "absent.toml"],
    [*CALL, "--demo", "x"], ["--demo"],
    ["--demo", "x", "--nosuch"],
])
def test_usage_errors_are_code_64_with_what_why_and_fix(words):
    finding = usage_error(*words)
    assert finding.code == ExitCode.USAGE
    assert finding.what and finding.why and finding.fix


def test_error_names_the_option_and_the_value():
    finding = usage_error(*CALL, "--mem", "1.5X")
    assert finding.what == "--mem/--mem-mb"
    assert "'1.5X'" in finding.why
    assert "16G" in finding.fix


@pytest.mark.parametrize(("given", "meant"), [
    ("--particpant-label", "--participant-label"), ("--partcipants", "--participant-label"),
    ("--seed", "--random-seed"), ("--task", "--task-id"), ("--mem-gb", "--mem-mb"),
    ("--output-space", "--output-spaces"), ("--stim_column", "--stimulus-column"),
    ("--workdir", "--work-dir"), ("--cleanwork", "--clean-workdir"), ("--dryrun", "--dry-run"),
    ("--pretrain", "--pretrained"), ("--permutations", "--n-permutations"),
    ("--holdout", "--holdout-label"), ("--threads", "--nthreads"), ("--workers", None),
    # Nothing is offered that only looks alike.
    ("--gpu", None), ("--alpha", None), ("--folds", None), ("--cv", None), ("--hmc", None),
    ("--fs-license-file", None), ("--anat-only", None), ("--smoothing", None),
])
def test_mistyped_option_gets_a_suggestion(given, meant):
    fix = usage_error(*CALL, given, "1").fix
    assert fix == f"did you mean {meant}?" if meant else "--help lists all options" in fix


def all_problems(*words):
    with pytest.raises(FindingsError) as caught:
        parse_args(list(words))
    assert caught.value.code == caught.value.findings[0].code
    return {f.what: f for f in caught.value.findings}


def test_all_wrong_options_are_told_at_once(tmp_path):
    found = all_problems(
        "data", "--mem", "1X", "out", "--nprocs", "0", "particpant", "--nosuch", "3", "--betas",
        "glmsingel", "--target=labels", "--participant-label", "01_02", "a b", "--device",
        "--pretrained", "x", "--from-scratch", "--dry-run", "--reports-only", "--hrf", "spn",
        "-d", "fmriprep=/a", "fmriprep=/b", "--confog-file", "x",
        "--config-file", str(tmp_path / "absent.toml"), "--stage", "pretrain",
    )
    assert set(found) == {
        "analysis level 'particpant'", "--mem/--mem-mb", "--nprocs/--nthreads/--n-cpus",
        "--betas", "--target", "--participant-label", "--device", "--reports-only", "--hrf",
        "--nosuch 3", "--confog-file x", "-d/--derivatives",
        "--pretrained and --from-scratch", f"--config-file {tmp_path / 'absent.toml'}",
    }
    assert {int(f.code) for f in found.values()} == {17, 64}
    assert all(f.why and f.fix for f in found.values())
    assert found["--betas"].fix.startswith("did you mean glmsingle? give one of: ")
    assert found["--confog-file x"].fix == "did you mean --config-file?"
    assert found["--target"].fix == "give one of: auto, category, image, features, value"


def test_missing_arguments_do_not_hide_unknown_options():
    found = all_problems("data", "out", "--nosuch", "--mem", "1X")
    assert [what.split()[0] for what in found] == ["--mem/--mem-mb", "command", "--nosuch"]


def test_rivals_are_told_with_wrong_values():
    found = all_problems(*CALL, "--nprocs", "0", "--holdout-label", "1", "--leave-one-out")
    assert list(found) == ["--nprocs/--nthreads/--n-cpus", "--holdout-label and --leave-one-out"]


def test_options_are_not_abbreviated():
    assert usage_error(*CALL, "--part", "01").code == ExitCode.USAGE


def test_positionals_swallowed_by_a_list_are_explained():
    finding = usage_error("--participant-label", "01", "/data", "/out", "participant")
    assert "after the positional" in finding.fix


# ---------------------------------------------------------------------------------------- queries


def test_labels_lose_prefix_and_doubles():
    found = settings(
        "--participant_label", "sub-01", "01", "02", "--participant-label", "sub-03",
        "--session-label", "ses-a", "-t", "task-see", "rest", "--run-id", "run-1", "2",
    ).execution
    assert found.participant_label == ("01", "02", "03")
    assert found.session_id == ("a",)
    assert found.task_id == ("see", "rest")
    assert found.run_id == ("1", "2")


def test_only_the_own_prefix_is_removed():
    assert settings("--participant-label", "sub01", "sub+1").execution.participant_label == (
        "sub01", "sub+1",
    )


def test_derivatives_with_and_without_name():
    found = settings("-d", "fmriprep=/x/prep-25", "/y/betas", "-d", "/z/odd=name")
    assert found.execution.derivatives == {
        "fmriprep": Path("/x/prep-25"), "betas": Path("/y/betas"), "odd=name": Path("/z/odd=name"),
    }


def test_paths_become_absolute_and_know_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    found = settings("-w", "~/work", "--features", "../f.tsv")
    assert found.execution.work_dir == tmp_path / "work"
    assert found.trials.features == tmp_path / ".." / "f.tsv"


# ----------------------------------------------------------------------------- values and mappings


@pytest.mark.parametrize(("text", "gigabytes"), [
    ("16G", 16), ("16GB", 16), ("16g", 16), ("1.5G", 1.5), (".5T", 500), ("2T", 2000),
    ("800M", 0.8), ("500000K", 0.5), ("8000", 8), ("8000.", 8), ("1GiB", 1.073741824), ("2 G", 2),
])
def test_memory(text, gigabytes):
    assert settings("--mem", text).resources.mem_gb == pytest.approx(gigabytes)


@pytest.mark.parametrize("text", ["", "G", "16GG", "1,5G", "1e3", "nan", "16B", "1.2.3G"])
def test_what_is_no_memory(text):
    assert usage_error(*CALL, "--mem", text).what.startswith("--mem")


@pytest.mark.parametrize(("words", "dest", "value"), [
    ("--bids-filter-file /f", "execution.bids_filter_file", Path("/f")),
    ("--bids-database-dir /f", "execution.bids_database_dir", Path("/f")),
    ("--skip-bids-validation", "execution.skip_bids_validation", True),
    ("--stage decode prepare", "execution.stage", ("decode", "prepare")),
    ("--holdout-label sub-01", "execution.holdout_label", ("01",)),
    ("--leave-one-out", "execution.leave_one_out", True),
    ("--pretrained /m", "execution.pretrained", Path("/m")),
    ("--from-scratch", "execution.from_scratch", True),
    ("--allow-seen", "execution.allow_seen", True),
    ("--clean-workdir", "execution.clean_workdir", True),
    ("--stop-on-first-crash", "execution.stop_on_first_crash", True),
    ("--write-graph", "execution.write_graph", True),
    ("--target features", "trials.target", "features"),
    ("--stimulus-column ImgName", "trials.stimulus_column", "ImgName"),
    ("--label-column kind", "trials.label_column", "kind"),
    ("--trial-unit block", "trials.trial_unit", "block"),
    ("--features /f.tsv", "trials.features", Path("/f.tsv")),
    ("--stimuli-dir /s", "trials.stimuli_dir", Path("/s")),
    ("--image-encoder clip:tokens", "trials.image_encoder", "clip:tokens"),
    ("--encoder-weights /w", "trials.encoder_weights", Path("/w")),
    ("--gallery /g", "gallery.folder", Path("/g")),
    ("--reconstruction unclip", "reconstruction.method", "unclip"),
    ("--reconstruction-weights /u", "reconstruction.weights", Path("/u")),
    ("--metric-weights /n", "reconstruction.metric_weights", Path("/n")),
    ("--prior diffusion", "network.prior", "diffusion"),
    ("--test-runs run-3 4", "trials.test_runs", ("3", "4")),
    ("--test-sessions ses-b", "trials.test_sessions", ("b",)),
    ("--split-column part", "trials.split_column", "part"),
    ("--output-spaces func T1w", "preprocessing.output_spaces", ("func", "T1w")),
    ("--ignore slicetiming", "preprocessing.ignore", ("slicetiming",)),
    ("--dummy-scans 0", "preprocessing.dummy_scans", 0),
    ("--betas lsa", "glm.estimator", "lsa"),
    ("--hrf glover", "glm.hrf", "glover"),
    ("--high-pass 0.01", "glm.high_pass", 0.01),
    ("--confounds motion24", "glm.confounds", ("motion24",)),
    ("--confounds simple w_comp_cor_0?", "glm.confounds", ("simple", "w_comp_cor_0?")),
    ("--trunk residual", "network.trunk", "residual"),
    ("--hidden 512", "network.hidden", 512),
    ("--troi soft", "troi.selector", "soft"),
    ("--budget 3000vox", "troi.budget_voxels", 3000),
    ("--budget 17500mm3", "troi.budget_mm3", 17500.0),
    ("--region occipital", "troi.region", "occipital"),
    ("--searchlight 8mm", "searchlight.radius_mm", 8.0),
    ("--searchlight 100vox", "searchlight.n_voxels", 100),
    ("--searchlight-estimator gnb", "searchlight.estimator", "gnb"),
    ("--regions aparcaseg Fine:9Parcels", "regions.atlases", ("aparcaseg", "Fine:9Parcels")),
    ("--regions-estimator ridge", "regions.estimator", "ridge"),
    ("--subject-label group", "subjects.label_column", "group"),
    ("--subject-image pet", "subjects.image", "pet"),
    ("--external-label FTLD PPA", "subjects.external", ("FTLD", "PPA")),
    ("--site-column site", "subjects.site_column", "site"),
    ("--backbone random-resnet50", "subjects.backbones", ("random-resnet50",)),
    ("--nprocs 4", "resources.nprocs", 4),
    ("--nthreads 4", "resources.nprocs", 4),
    ("--n_cpus 4", "resources.nprocs", 4),
    ("--omp-nthreads 2", "resources.omp_nthreads", 2),
    ("--mem_mb 900", "resources.mem_gb", 0.9),
    ("--low-mem", "resources.low_mem", True),
    ("--device cuda:1", "resources.device", "cuda:1"),
    ("--use-plugin /p.yml", "resources.plugin_file", Path("/p.yml")),
    ("--random-seed 7", "random_seed", 7),
])
def test_option_reaches_its_setting_and_no_other(words, dest, value):
    group, _, name = dest.rpartition(".")
    change = {name: value}
    expected = (
        settings().replaced(**{group: change}) if group
        else dataclasses.replace(settings(), **change)
    )
    assert settings(*words.split()) == expected


@pytest.mark.parametrize(("flag", "module", "table"), [
    ("--betas", "glm.estimators", "ESTIMATORS"), ("--troi", "training.selectors", "SELECTORS"),
    ("--decoder", "training.decoders", "DECODERS"),
    ("--encoder", "training.encoders", "ENCODERS"),
    ("--image-encoder", "stimuli.encoders", "ENCODERS"),
])
def test_names_of_registries_are_accepted_and_documented(flag, module, table):
    known = getattr(importlib.import_module(f"bids_decoder.{module}"), table)
    option = next(option for option in options() if flag in option.option_strings)
    named = set(re.findall(r"`(\w[\w-]*)`", option.markdown))
    assert named - {"none", "auto"} == set(known)
    for name in known:
        # Encoders whose variants are free words want one of them.
        free = isinstance(getattr(known[name], "variants", None), str)
        word = f"{name}:resnet50" if free else name
        assert setting_of(settings(flag, word), option.dest) == word
    assert all(name in usage_error(*CALL, flag, "nonesuch").fix for name in known)


def test_hrf_names():
    assert settings("--hrf", "library20").glm.hrf == "library20"
    assert "spm" in usage_error(*CALL, "--hrf", "library21").fix


def test_rules_and_contrasts_keep_their_spaces():
    found = settings("--trial-filter", "trial_type!=rest", "--contrasts", "a - b", "-a + b")
    assert found.trials.trial_filter == ("trial_type!=rest",)
    assert found.glm.contrasts == ("a - b", "-a + b")


def test_actions():
    assert parse_args([*CALL, "--dry-run", "-vv"])[1] == Actions(dry_run=True, verbosity=2)
    assert parse_args([*CALL, "--reports-only"])[1].reports_only
    assert parse_args([*CALL, "--boilerplate-only"])[1].boilerplate_only


def test_notrack_changes_nothing():
    assert parse_args([*CALL, "--notrack"]) == parse_args(CALL)


@pytest.mark.parametrize(("words", "fix"), [
    (["--demo"], "give it as --demo OUT"),
    ([*CALL, "--hrf"], "give it as --hrf MODEL"),
    ([*CALL, "-d"], "give it as --derivatives [NAME=]PATH ..."),
    ([*CALL, "--target"], "give it as --target auto|category|image|features|value"),
])
def test_an_option_without_value_is_shown_with_one(words, fix):
    with pytest.raises(UsageError) as caught:
        parse_args(words)
    assert (caught.value.finding.why, caught.value.finding.fix) == ("has no value", fix)


def test_demo_stands_for_a_call_of_its_own(tmp_path):
    found, actions = parse_args(["--demo", str(tmp_path), "--nprocs", "1"])
    assert actions.demo == tmp_path
    assert found.execution.bids_dir == tmp_path / "data"
    assert found.execution.output_dir == tmp_path / "derivatives"
    assert found.execution.analysis_level == ("group", "participant")
    assert found.resources.nprocs == 1


# ------------------------------------------------------------------------------------ config file


@pytest.fixture
def config_file(tmp_path):
    earlier = settings(
        "--nprocs", "3", "--betas", "lsa", "--pretrained", "/m", "--test-runs", "5",
        "--participant-label", "01", "--budget", "100vox", "--low-mem", "--random-seed", "3",
    )
    return str(earlier.to_toml(tmp_path / "settings.toml"))


def test_defaults_do_not_override_the_file(config_file):
    found = settings("--config-file", config_file)
    assert (found.resources.nprocs, found.glm.estimator, found.random_seed) == (3, "lsa", 3)
    assert found.execution.pretrained == Path("/m")
    assert found.troi.budget_voxels == 100
    assert found.resources.low_mem


def test_options_win_over_the_file(config_file):
    found = settings(
        "--config-file", config_file, "--nprocs", "2", "--participant-label", "02",
        "--budget", "50mm3", "--random-seed", "4",
    )
    assert (found.resources.nprocs, found.random_seed) == (2, 4)
    assert found.execution.participant_label == ("02",)
    assert (found.troi.budget_voxels, found.troi.budget_mm3) == (None, 50.0)
    assert found.glm.estimator == "lsa"


def test_an_option_resets_its_rival_from_the_file(config_file):
    found = settings("--config-file", config_file, "--from-scratch", "--split-column", "part")
    assert found.execution.from_scratch
    assert found.execution.pretrained is None
    assert found.trials.split_column == "part"
    assert found.trials.test_runs == ()


def test_rivals_of_one_option_do_not_reset_each_other():
    found = settings("--test-runs", "1", "--test-sessions", "b").trials
    assert (found.test_runs, found.test_sessions) == (("1",), ("b",))


def test_positionals_win_over_the_file(config_file):
    found = parse_args(["other", "place", "group", "--config-file", config_file])[0]
    assert found.execution.bids_dir == Path.cwd() / "other"
    assert found.execution.analysis_level == ("group",)


def test_stages_of_a_file_count_only_if_none_would_be_left(tmp_path):
    path = settings("--stage", "decode").to_toml(tmp_path / "settings.toml")
    finding = usage_error("data", "out", "group", "--config-file", str(path))
    assert "--stage decode" in finding.what
    path = settings().to_toml(tmp_path / "settings.toml")
    parse_args(["data", "out", "group", "--config-file", str(path)])


def test_settings_come_back_from_their_file(tmp_path):
    found = settings("--budget", "9mm3", "-d", "fmriprep=/p", "--ignore", "slicetiming")
    path = found.to_toml(tmp_path / "settings.toml")
    assert settings("--config-file", str(path)) == found


# --------------------------------------------------------------------------------- light and fast

HEAVY = (
    "torch", "nipype", "bids", "numpy", "pandas", "scipy", "nibabel", "sklearn", "lightning_fabric",
)


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_nothing_heavy_is_imported(option):
    code = (
        "import sys\n"
        "from bids_decoder.cli.parser import parse_args\n"
        f"try: parse_args(['{option}'])\n"
        f"except SystemExit: print('HEAVY', sorted(set({HEAVY}) & set(sys.modules)))\n"
    )
    text = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert text.rstrip().endswith("HEAVY []")


def test_relative_paths_of_all_options_become_absolute():
    """Steps run in folders of their own."""
    def read(action):
        try:
            return action.type("x")
        except (argparse.ArgumentTypeError, ValueError):
            return None

    found = {
        action.option_strings[0]: path for action in build_parser()._actions
        if action.option_strings and action.type and isinstance(path := read(action), Path)
    }
    assert "--apply" in found and len(found) > 8
    assert [name for name, path in found.items() if not path.is_absolute()] == []
