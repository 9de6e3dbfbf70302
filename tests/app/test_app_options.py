"""Options of the whole program: looking without doing, settings, places, names."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib

import pandas as pd
import pytest
from app_calls import PACKAGE_ROOT, betas_options, derivatives, times, tree

HEAVY = ("torch", "nipype", "bids", "numpy", "nibabel", "pandas", "scipy", "lightning_fabric")
HELD = ("--holdout-label", "03")


@pytest.mark.parametrize("words", [["--help"], ["--version"], [], ["--bogus"]])
def test_light_calls_import_nothing_heavy(words):
    code = (
        "import sys\nfrom bids_decoder.cli.run import main\n"
        f"try:\n    main({words!r})\nexcept SystemExit:\n    pass\n"
        f"print('heavy:', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                          check=True, env={**os.environ, "PYTHONPATH": str(PACKAGE_ROOT)})
    assert done.stdout.splitlines()[-1] == "heavy: []"


def test_planning_imports_no_models(betas, tmp_path):
    """Each takes a second or more, in every call and in every worker."""
    words = [
        betas.folder, tmp_path / "out", "participant", "--dry-run", "--device", "cpu",
        *betas_options(betas.folder),
    ]
    code = (
        "import sys\nfrom bids_decoder.cli.run import main\n"
        f"assert main({[str(word) for word in words]}) == 0\n"
        "print([name for name in ('torch', 'lightning_fabric', 'nilearn.glm') "
        "if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                          check=True, env={**os.environ, "PYTHONPATH": str(PACKAGE_ROOT)})
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.fixture
def on_betas(main, betas, tmp_path):
    def run(*words, output=tmp_path / "out", data=betas.folder, **how):
        return main(data, output, *words, *betas_options(data), "--device", "cpu", "--nprocs", 1,
                    **how)

    return run


def test_dry_run_leaves_nothing(on_betas, tmp_path):
    done = on_betas("group", "participant", *HELD, "--dry-run")
    assert done.code == 0
    assert set(done.todo()) == {("sub-01", "betas"), ("sub-02", "betas"), ("sub-03", "betas"),
                                ("group", "pretrain"), ("sub-03", "decode"),
                                ("sub-03", "controls")}
    assert list(tmp_path.iterdir()) == []


def test_dry_run_with_a_work_folder_leaves_nothing(on_betas, tmp_path):
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "mine.txt").write_text("mine")
    assert on_betas("group", *HELD, "--dry-run", "-w", tmp_path / "work").code == 0
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["mine.txt"]
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_dry_run_leaves_the_work_of_an_interrupted_call(on_betas, betas, call, tmp_path):
    from app_calls import end_group, wait_for

    output = tmp_path / "out"
    process = call.fork(betas.folder, output, "group", *betas.options, *HELD, "--nprocs", 1)
    try:
        assert wait_for(process, lambda: list(output.glob("work/call-*/*/**/pretrain/*")))
    finally:
        end_group(process)
    work = tree(output / "work")
    assert on_betas("group", *HELD, "--dry-run").code == 0
    left = tree(output / "work")
    assert {name: left.get(name) for name in work} == work


@pytest.mark.slow
def test_work_folder_that_was_asked_for_stays_and_may_hold_other_things(on_betas, tmp_path):
    work = tmp_path / "my work ö"
    work.mkdir()
    (work / "mine.txt").write_text("mine")
    words = ("participant", "--stage", "prepare", "-w", work)
    assert on_betas(*words, pages=False).code == 0
    (folder,) = work.glob("call-*")
    (folder / "old.txt").write_text("old")
    assert on_betas(*words).code == 0
    assert (folder / "old.txt").exists()
    lock = tmp_path / "out" / "logs" / "locks" / folder.name
    lock.mkdir(parents=True)
    (lock / "owner.json").write_text('{"host": "elsewhere", "pid": 1}')
    refused = on_betas(*words, "--clean-workdir")
    assert refused.code == 75 and "the work folder of this call is being used" in refused.text
    assert (folder / "old.txt").exists()
    shutil.rmtree(lock)
    assert on_betas(*words, "--clean-workdir").code == 0
    assert not (folder / "old.txt").exists()
    assert (work / "mine.txt").read_text() == "mine"
    assert not (tmp_path / "out" / "work").exists()


@pytest.mark.slow
def test_settings_of_a_run_give_the_same_run(betas_run, main, tmp_path):
    (toml,) = betas_run.output.glob("logs/*/settings.toml")
    content = tomllib.loads(toml.read_text())
    assert content["execution"]["holdout_label"] == ["03"]
    again = betas_run.copy(tmp_path / "copy")
    words = (betas_run.data.folder, again, "group", "participant", "--config-file", toml)
    done = main(*words)
    assert (done.code, done.todo()) == (0, {})
    changed = main(*words, "--budget", "60vox", "--dry-run")
    assert set(changed.todo()) == {("sub-03", "decode")}


def test_reports_only(on_betas, betas_run, tmp_path):
    output = betas_run.copy(tmp_path / "out")
    for name in ("sub-01.html", "sub-03.html", "group.html"):
        (output / name).unlink()
    shutil.rmtree(output / "sub-03" / "figures")
    before = times(output)
    done = on_betas("participant", "--reports-only")
    assert done.code == 0
    after = times(output)
    changed = {name for name, stamp in after.items() if before.get(name) != stamp}
    assert {"sub-01.html", "sub-02.html", "sub-03.html", "group.html"} <= changed
    assert all(name.endswith((".html", "_report.json")) or "figures" in name for name in changed)
    assert derivatives(output) == derivatives(betas_run.output)
    assert not (output / "work").exists()


def test_reports_only_of_one_person(on_betas, betas_run, tmp_path):
    output = betas_run.copy(tmp_path / "out")
    for path in output.glob("sub-*.html"):
        path.unlink()
    assert on_betas("participant", "--reports-only", "--participant-label", "02").code == 0
    assert [path.name for path in output.glob("sub-*.html")] == ["sub-02.html"]


def test_reports_only_without_the_dataset(main, betas_run, tmp_path):
    """Results may be all that is left: the output folder stands for the dataset, too."""
    output = betas_run.copy(tmp_path / "out")
    (output / "sub-02.html").unlink()
    assert main(output, output, "participant", "--reports-only").code == 0
    assert (output / "sub-02.html").is_file()
    plan = json.loads((output / "plan.json").read_text())
    (output / "plan.json").write_text(json.dumps({**plan, "target_kind": "image"}))
    bare = main(output, output, "participant", "--reports-only", "--participant-label", "02")
    assert f"images of stimuli in {output}/stimuli\n    why: there is no such folder" in bare.text
    refused = main(output, output, "participant", "--dry-run")
    assert refused.code == 64 and "is the input itself" in refused.text


@pytest.mark.parametrize("option", ["--reports-only", "--boilerplate-only"])
def test_nothing_to_report_on(on_betas, tmp_path, option):
    done = on_betas("participant", option)
    assert done.code == 66
    assert "holds no results of bids_decoder" in done.text
    assert not (tmp_path / "out").exists()


def test_report_of_an_unknown_person(on_betas, betas_run, tmp_path):
    betas_run.copy(tmp_path / "out")
    done = on_betas("participant", "--reports-only", "--participant-label", "77")
    assert done.code == 18
    assert "choose from: 01, 02, 03" in done.text


def test_boilerplate_only(on_betas, betas_run, tmp_path):
    output = betas_run.copy(tmp_path / "out")
    for path in (output / "logs").glob("CITATION.*"):
        path.unlink()
    before = times(output)
    assert on_betas("participant", "--boilerplate-only").code == 0
    assert times(output) == before
    found = sorted(path.name for path in (output / "logs").glob("CITATION.*"))
    assert found == ["CITATION.bib", "CITATION.html", "CITATION.md", "CITATION.tex"]
    text = (output / "logs" / "CITATION.md").read_text()
    assert text == (betas_run.output / "logs" / "CITATION.md").read_text()


def test_graph_needs_graphviz(on_betas, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    done = on_betas("group", *HELD, "--write-graph")
    assert done.code == 64
    assert "--write-graph" in done.text
    assert "install graphviz" in done.text
    assert not (tmp_path / "out").exists()


def test_graph_is_drawn(on_betas, tmp_path, monkeypatch):
    """With a stand-in for Graphviz: the dot file is what the program itself writes."""
    programs = tmp_path / "bin"
    programs.mkdir()
    dot = programs / "dot"
    dot.write_text('#!/bin/sh\nfor word in "$@"; do case "$word" in -o*) : > "${word#-o}";; '
                   'esac; done\n')
    dot.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    words = ("participant", "--participant-label", "01", "--stage", "prepare", "--write-graph")
    assert on_betas(*words).code == 0
    (graph,) = (tmp_path / "out").glob("logs/*/graph.dot")
    assert "prepare_01_wf" in graph.read_text()


@pytest.mark.slow
def test_what_voxels_do_in_others_counts_in_a_standard_space(on_betas, betas, tmp_path):
    data = shutil.copytree(betas.folder, tmp_path / "standard")
    for path in sorted(data.rglob("sub-*_desc-singletrial_*")):
        head, tail = path.name.split("_desc-")
        path.rename(path.with_name(f"{head}_space-MNI152NLin2009cAsym_desc-{tail}"))
    done = on_betas("group", "participant", *HELD, data=data)
    assert done.code == 0, done.text
    card = json.loads((tmp_path / "out" / "group" / "desc-pretrained_model.json").read_text())
    assert card["common"]["space"] == "MNI152NLin2009cAsym"
    (own,) = (tmp_path / "out" / "sub-03" / "model").glob("*.json")
    assert json.loads(own.read_text())["group_prior"] == "MNI152NLin2009cAsym"
    assert "a prior for each voxel" in (tmp_path / "out" / "sub-03.html").read_text()


@pytest.mark.slow
def test_ablations_stand_in_table_and_report(on_betas, tmp_path):
    done = on_betas("participant", "--from-scratch", "--participant-label", "01", "--ablations",
                    "--budget", "200vox")
    assert done.code == 0, done.text
    (path,) = (tmp_path / "out" / "sub-01").rglob("*desc-decoder_metrics.tsv")
    metrics = pd.read_csv(path, sep="\t")
    found = set(metrics["model"][metrics["model"].str.startswith("without-")])
    assert found == {"without-selection", "without-low-pass", "without-stage-2"}
    page = (tmp_path / "out" / "sub-01.html").read_text()
    assert "Without its parts: top-1 accuracy" in page
    assert "best baseline “without" not in page


def test_ablations_of_other_decoders_are_refused(on_betas):
    done = on_betas("participant", "--from-scratch", "--ablations", "--decoder", "cnn3d",
                    "--target", "category", "--dry-run")
    assert done.code in (64, 65) and "those of --decoder troi, not of cnn3d" in done.text


@pytest.mark.slow
def test_leave_one_out(on_betas, tmp_path):
    done = on_betas("group", "participant", "--leave-one-out")
    assert done.code == 0, done.text
    output = tmp_path / "out"
    for label in ("01", "02", "03"):
        card = json.loads(
            (output / "group" / f"label-without{label}_desc-pretrained_model.json").read_text()
        )
        assert label not in card["participants"]
        assert len(card["participants"]) == 2
        (own,) = (output / f"sub-{label}" / "model").glob("*.json")
        own = json.loads(own.read_text())
        assert own["pretrained_key"] == card["stage_key"]
        assert own["seen_in_pretraining"] is False
        line = next(row for row in done.text.splitlines() if f"sub-{label}: top1" in row)
        assert float(re.search(r"p = ([\d.e-]+)", line)[1]) < 0.05
    assert not (output / "group" / "desc-pretrained_model.json").exists()
    again = on_betas("participant", "--participant-label", "02")
    assert (again.code, again.todo()) == (0, {})
    table = pd.read_csv(output / "group" / "desc-group_metrics.tsv", sep="\t")
    scores = table[(table["statistic"] == "participant") & (table["metric"] == "top1")]
    assert set(scores["participant"]) == {"sub-01", "sub-02", "sub-03"}
    assert (table["statistic"] == "difference").any() and (table["source"] == "decoder").all()
    page = (output / "group.html").read_text(encoding="utf-8")
    assert "Statistics over participants" in page and "sign-flip test is 0.25" in page
    assert "pretrained on other participants" in page
    assert "prevalence of information" in (output / "logs" / "CITATION.md").read_text()
    again = on_betas("group", "--stage", "population", "--covariate", "years")
    assert again.code == 66 and "participants.tsv is not there" in again.text
    again = on_betas("group", "--stage", "population")
    assert (again.code, again.todo()) == (0, {})
    people = on_betas("group", "--stage", "population", "--participant-label", "01", "03")
    assert set(people.todo()) == {("group", "population")}


def test_both_levels_without_holding_out_leave_one_out(on_betas):
    done = on_betas("group", "participant", "--dry-run")
    assert {stage for _, stage in done.todo()} == {
        "betas", "decode", "controls", "population", *(f"pretrain-without-0{n}" for n in (1, 2, 3)),
    }


@pytest.mark.slow
def test_stages_one_by_one(on_betas, betas_run, tmp_path):
    output = tmp_path / "out"
    early = on_betas("group", *HELD, "--stage", "pretrain")
    assert early.code == 66
    assert "--stage prepare' first" in early.text
    assert not output.exists()
    for words in (("participant", "--stage", "prepare"), ("group", *HELD, "--stage", "pretrain")):
        assert on_betas(*words, pages=False).code == 0
    assert not list(output.rglob("*desc-decoder*"))
    words = ("participant", "--participant-label", "03", "--stage", "decode")
    assert on_betas(*words, pages=False).code == 0
    assert derivatives(output) == derivatives(betas_run.output)


def test_labels_with_plus_signs(betas, main, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(betas.folder, data)
    for path in sorted(data.glob("sub-01/func/*")):
        path.rename(path.with_name(path.name.replace("sub-01", "sub-a+1")))
    (data / "sub-01").rename(data / "sub-a+1")
    done = main(data, tmp_path / "out", "participant", "--participant-label", "a+1",
                *betas_options(data), "--nprocs", 1)
    assert done.code == 0, done.text
    assert (tmp_path / "out" / "logs" / "done" / "sub-a+1_betas.json").is_file()
    (record,) = (tmp_path / "out").glob("logs/*/run.json")
    people = {row["participant"] for row in json.loads(record.read_text())["timings"]}
    assert "a+1" in people


def test_verbose_says_more(on_betas, tmp_path):
    words = ("participant", "--participant-label", "01", "--stage", "prepare")
    quiet = on_betas(*words, output=tmp_path / "quiet")
    loud = on_betas(*words, "-v", output=tmp_path / "loud")
    assert (quiet.code, loud.code) == (0, 0)
    assert "[Node]" not in quiet.text
    assert "[Node]" in loud.text


@pytest.mark.slow
def test_plugin_file(on_betas, tmp_path, betas_run):
    (tmp_path / "plugin.yml").write_text("plugin: Linear\nplugin_args: {}\n")
    output = betas_run.copy(tmp_path / "out")
    for stage in ("sub-01_betas", "sub-03_decode"):
        (output / "logs" / "done" / f"{stage}.json").unlink()
    done = on_betas("group", "participant", *HELD, "--use-plugin", tmp_path / "plugin.yml",
                    pages=False)
    assert done.code == 0, done.text
    assert set(done.todo()) == {("sub-01", "betas"), ("sub-03", "decode")}
    assert derivatives(output) == derivatives(betas_run.output)


@pytest.mark.parametrize("content", ["plugin: Nothing", "- 1", "plugin: [", None])
def test_damaged_plugin_file(on_betas, tmp_path, content):
    if content is not None:
        (tmp_path / "plugin.yml").write_text(content)
    done = on_betas("participant", "--use-plugin", tmp_path / "plugin.yml")
    assert done.code == 64
    assert "names no Nipype plugin" in done.text


@pytest.mark.parametrize("content", ["[", "[nothing]\nx = 1", '[troi]\nepochs = "many"'])
def test_damaged_config_file(main, betas, tmp_path, content):
    (tmp_path / "settings.toml").write_text(content)
    done = main(betas.folder, tmp_path / "out", "participant", "--config-file",
                tmp_path / "settings.toml")
    assert done.code == 64
    assert "settings.toml" in done.text


def test_input_is_as_it_was(betas):
    assert tree(betas.folder) == betas.digests


@pytest.mark.slow
def test_two_processes_pretrain_together(betas, tmp_path):
    out = tmp_path / "out"
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
         "-m", "bids_decoder", *map(str, (betas.folder, out, "group", *betas.options, *HELD)),
         "--device", "cpu", "--nprocs", "2"],
        capture_output=True, text=True, check=False, timeout=900,
        env={**os.environ, "PYTHONPATH": str(PACKAGE_ROOT)},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stderr.count("group: pretrain done") == 1
    assert "1 process(es)" in done.stderr
    assert (out / "group" / "desc-pretrained_model.safetensors").is_file()
    assert (out / "group.html").is_file() and not (out / "work").exists()
