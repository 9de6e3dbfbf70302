import os
import subprocess
import sys
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path

import pytest

from bids_decoder.cli import resources, scratch
from bids_decoder.cli.engine import Failure, _failures, _last_error, _plugin
from bids_decoder.cli.environment import prepare_environment
from bids_decoder.cli.resources import available_memory_gb, with_resources
from bids_decoder.cli.scratch import remove_folder, remove_unfinished, work_dir_of
from bids_decoder.cli.summary import headline
from bids_decoder.config import Resources, Settings
from bids_decoder.errors import BidsDecoderError, UsageError
from bids_decoder.files import write_text
from bids_decoder.workflows.plugin import WorkerPoolPlugin

CRASH = """Node: wf.decode_01_wf.select_final
Working directory: /w
Traceback (most recent call last):
  File "x.py", line 1, in run
bids_decoder.errors.InputError: beta series
    why: grids differ
    fix: give all runs one grid
"""


def test_crash_files_become_failures(tmp_path):
    (tmp_path / "crash-1.txt").write_text(CRASH)
    first, second = _failures(tmp_path, ["wf.decode_01_wf.select_final", "wf.other"])
    assert first.node == "wf.decode_01_wf.select_final"
    assert first.message.splitlines() == [
        "bids_decoder.errors.InputError: beta series", "    why: grids differ",
        "    fix: give all runs one grid",
    ]
    assert first.crash_file == tmp_path / "crash-1.txt"
    assert (second.node, second.message, second.crash_file) == (
        "wf.other", "no crash file was written", None,
    )


def test_full_disk_is_told_from_other_failures():
    assert Failure("wf.a", "OSError: [Errno 28] No space left on device", None).disk_is_full
    assert not Failure("wf.a", "OSError: [Errno 2] No such file", None).disk_is_full


@pytest.mark.parametrize(("error", "code", "what"), [
    (FileNotFoundError("result_a.pklz"), 74, "could not read or write"),
    (BrokenProcessPool("a child ended"), 1, "was killed"),
])
def test_end_of_a_worker_is_explained(error, code, what):
    plugin = WorkerPoolPlugin.__new__(WorkerPoolPlugin)
    plugin._broken, plugin.memory_gb = error, 8.0
    with pytest.raises(BidsDecoderError, match=what) as caught:
        plugin.raise_if_broken()
    assert caught.value.code == code


@pytest.mark.parametrize("start", [
    "from bids_decoder.cli.logs import quiet_nipype, set_up_logging\n"
    "set_up_logging(0, 'text')\nquiet_nipype(0)\n",
    "from multiprocessing import SimpleQueue\n"
    "from bids_decoder.workflows.worker import start_worker\n"
    "start_worker('.', logging.INFO, logging.CRITICAL, SimpleQueue())\nimport nipype\n",
])
def test_nipype_writes_nothing_of_its_own(start):
    code = (
        f"import logging, sys\n{start}assert 'nipype' in sys.modules\n"
        "assert not logging.getLogger('nipype').handlers\n"
        "assert not logging.getLogger('nipype.workflow').isEnabledFor(logging.ERROR)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_text_without_an_error_line():
    assert _last_error("a\nb\n\nc\nd\n") == "b\nc\nd"


def test_threads_and_caches_are_set_before_libraries_are_imported(tmp_path):
    """The modules that come first import no numerical library."""
    code = (
        "import os, sys\nfrom pathlib import Path\n"
        "from bids_decoder.cli.environment import make_home, prepare_environment\n"
        "from bids_decoder.cli.resources import with_resources\n"
        "from bids_decoder.cli.scratch import work_dir_of\n"
        "assert not {'numpy', 'nipype', 'pandas', 'matplotlib'} & set(sys.modules)\n"
        "prepare_environment(Path(sys.argv[1]), 1)\nassert not Path(sys.argv[1]).exists()\n"
        "make_home(Path(sys.argv[1]))\nimport nipype, numpy, matplotlib\n"
        "import threadpoolctl\n"
        "assert {pool['num_threads'] for pool in threadpoolctl.threadpool_info()} == {1}\n"
        "assert nipype.config.get('execution', 'check_version') == 'false'\n"
        "assert matplotlib.get_configdir().startswith(sys.argv[1])\n"
    )
    environ = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    subprocess.run(
        [sys.executable, "-c", code, tmp_path / "home"], check=True, timeout=60,
        env={**environ, "HOME": "/proc/none", "PYTHONPATH": str(Path(__file__).parents[2])},
    )


@pytest.mark.parametrize(("environ", "expected"), [
    ({"HOME": "none"}, "none/home/templateflow"),
    ({"HOME": "user"}, "user/.cache/templateflow"),
    ({"HOME": "none", "XDG_CACHE_HOME": "user/.cache"}, "user/.cache/templateflow"),
    ({"HOME": "user", "TEMPLATEFLOW_HOME": "own"}, "own"),
    ({"HOME": "empty"}, "none/home/templateflow"),
])
def test_templates_of_the_user_are_found(tmp_path, monkeypatch, environ, expected):
    for folder in ("user/.cache/templateflow/tpl-MNI152Lin", "empty/.cache/templateflow"):
        (tmp_path / folder).mkdir(parents=True)
    monkeypatch.setattr(os, "environ", {name: str(tmp_path / v) for name, v in environ.items()})
    prepare_environment(tmp_path / "none" / "home", 1)
    assert os.environ["TEMPLATEFLOW_HOME"] == str(tmp_path / expected)


def test_resources_that_were_not_given():
    filled = with_resources(Settings()).resources
    assert filled.nprocs >= 1
    assert filled.omp_nthreads == 1
    assert 0 < filled.mem_gb < available_memory_gb()
    given = Settings(resources=Resources(nprocs=7, omp_nthreads=3, mem_gb=2.5))
    assert with_resources(given) == given


def control_groups(monkeypatch, folder, own, files):
    """Let the program find these control groups."""
    (folder / "own").write_text(own)
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text + "\n")
    monkeypatch.setattr(resources, "_CGROUPS", str(folder))
    monkeypatch.setattr(resources, "_OWN_CGROUPS", str(folder / "own"))
    monkeypatch.delenv("SLURM_MEM_PER_NODE", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3})


@pytest.mark.parametrize(("quota", "expected"), [
    ("max 100000", 4), ("200000 100000", 2), ("50000 100000", 1), ("800000 100000", 4), ("x", 4),
])
def test_processors_that_a_container_may_use(tmp_path, monkeypatch, quota, expected):
    control_groups(monkeypatch, tmp_path, "0::/\n", {"cpu.max": quota})
    assert resources.available_processors() == expected


@pytest.mark.parametrize(("own", "folder"), [
    ("4:cpu,cpuacct:/\n2:pids:/\n", "cpu"),
    ("4:cpu:/docker/abc\n0::/docker/abc\n", "cpu"),
    ("4:cpu:/slurm/job_1/step_0\n", "cpu/slurm/job_1"),
])
def test_processors_with_control_groups_of_the_first_version(tmp_path, monkeypatch, own, folder):
    """In a container the group of the host's path is the top; outside it lies below."""
    files = {f"{folder}/cpu.cfs_quota_us": "200000", f"{folder}/cpu.cfs_period_us": "100000"}
    control_groups(monkeypatch, tmp_path, own, files)
    assert resources.available_processors() == 2
    control_groups(monkeypatch, tmp_path, own, {f"{folder}/cpu.cfs_quota_us": "-1"})
    assert resources.available_processors() == 4


def test_memory_that_a_container_or_job_may_use(tmp_path, monkeypatch):
    control_groups(monkeypatch, tmp_path, "0::/\n", {"memory.max": "max"})
    machine = available_memory_gb()
    assert machine > 1.0
    (tmp_path / "memory.max").write_text("1000000000\n")
    assert available_memory_gb() == 1.0
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "500")
    assert available_memory_gb() == pytest.approx(0.524288)


@pytest.mark.parametrize(("own", "name"), [
    ("0::/system.slice/job_7/step_0\n", "system.slice/job_7/memory.max"),
    ("4:memory:/job_7\n0::/\n", "memory/job_7/memory.limit_in_bytes"),
    ("4:memory:/docker/abc\n", "memory/memory.limit_in_bytes"),
])
def test_memory_limit_of_a_group_above(tmp_path, monkeypatch, own, name):
    control_groups(monkeypatch, tmp_path, own, {
        name: "700000000", "memory/memory.max_usage_in_bytes": "1",
        "elsewhere/memory.max": "1",
    })
    assert available_memory_gb() == 0.7


@pytest.mark.parametrize(("nprocs", "name"), [(1, "LinearPlugin"), (2, "WorkerPoolPlugin")])
def test_plugin_for_processes(nprocs, name):
    made = _plugin(Resources(nprocs=nprocs, mem_gb=1.0), lambda node, status: None)
    assert type(made).__name__ == name
    if nprocs > 1:
        made.pool.shutdown()


def test_plugin_file_gets_its_arguments(tmp_path, monkeypatch):
    monkeypatch.setenv("LOGNAME", "somebody")
    monkeypatch.delenv("LOGNAME")
    path = tmp_path / "plugin.yml"
    path.write_text("plugin: SLURM\nplugin_args:\n  sbatch_args: --mem=16G\n")
    made = _plugin(Resources(plugin_file=path), print)
    assert type(made).__name__ == "SLURMPlugin"
    assert made.plugin_args["sbatch_args"] == "--mem=16G"
    assert os.environ["LOGNAME"]
    path.write_text("plugin: Nothing")
    with pytest.raises(UsageError, match="names no Nipype plugin"):
        _plugin(Resources(plugin_file=path), print)


def test_error_of_a_crash_file_is_that_of_the_node():
    crash = ("Node: wf.a\nTraceback (most recent call last):\n  File \"x.py\", line 1\n"
             "nipype.nodes.NodeExecutionError: Exception raised\n\nTraceback:\n"
             "\tTraceback (most recent call last):\n\t  File \"y.py\", line 2\n"
             "\terrors.InputError: beta series\n\t    why: none\n\t    fix: look\n")
    assert _last_error(crash) == "errors.InputError: beta series\n    why: none\n    fix: look"


def call_of(**execution):
    settings = Settings()
    return replace(settings, execution=replace(
        settings.execution, bids_dir=Path("/d"), output_dir=Path("/o"), **execution
    ))


def test_calls_that_may_run_at_once_have_folders_of_their_own():
    first = work_dir_of(call_of(participant_label=("01",)))
    assert first.parent == Path("/o/work")
    assert first == work_dir_of(call_of(participant_label=("01",)))
    others = [call_of(), call_of(participant_label=("02",)), call_of(stage=("decode",)),
              call_of(analysis_level=("group",)), call_of(holdout_label=("01",))]
    assert len({work_dir_of(settings) for settings in others} | {first}) == 6
    assert work_dir_of(call_of(work_dir=Path("/w"))).parent == Path("/w")
    resources_changed = replace(call_of(participant_label=("01",)), resources=Resources(nprocs=9))
    assert work_dir_of(resources_changed) == first


def test_folders_are_removed_up_to_where_others_are(tmp_path):
    deep = tmp_path / "out" / "work" / "call-1"
    deep.mkdir(parents=True)
    (deep / "x").write_text("x")
    (tmp_path / "out" / "work" / "call-2").mkdir()
    remove_folder(deep, tmp_path)
    assert [path.name for path in (tmp_path / "out" / "work").iterdir()] == ["call-2"]
    remove_folder(tmp_path / "out" / "work" / "call-2", tmp_path)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "a" / "b").mkdir(parents=True)
    remove_folder(tmp_path / "a" / "b", tmp_path / "a" / "b")
    assert (tmp_path / "a").is_dir()


def test_only_unfinished_files_are_removed(tmp_path):
    for name in ("func/.tmp-1-a.nii.gz", "ses-1/func/.tmp-22-b.tsv", "figures/.tmp-3-c.svg",
                 "func/a.nii.gz", "func/.hidden"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    remove_unfinished(tmp_path)
    left = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file())
    assert left == ["figures/.tmp-3-c.svg", "func/.hidden", "func/a.nii.gz"]
    remove_unfinished(tmp_path / "nothing")


METRICS = (
    "model\tmetric\tdirection\tunit\tsimilarity\tsplit\tvalue\tchance\tci_low\tci_high\tp\tn\tpool_size\n"
    "decoder\ttop1\tb2i\tsingle\tcosine\ttest\t0.123456\t0.05\tn/a\t0.2\t0.000999\t20\t20\n"
    "decoder\ttop1\tb2i\taveraged\tsinkhorn\ttest\t0.8\t0.05\t0\t0.2\t0.2\t20\t20\n"
    "ridge-all\ttop1\tb2i\tsingle\tcosine\ttest\t0.9\t0.05\t0\t0.2\t0.2\t20\t20\n"
)
# Retrieval among a gallery is another task with another table, and not the headline.
GALLERY_METRICS = METRICS.splitlines(keepends=True)[0] + (
    "decoder\ttop1\tb2i\tsingle\tcosine\ttest\t0.01\t0.002\t0\t0.2\t0.2\t20\t500\n"
)


def test_headline(tmp_path):
    folder = tmp_path / "sub-01" / "func"
    folder.mkdir(parents=True)
    (folder / "sub-01_task-a_desc-decoder_metrics.tsv").write_text(METRICS)
    (folder / "sub-01_task-a_desc-gallery_metrics.tsv").write_text(GALLERY_METRICS)
    assert headline(tmp_path, "01", tmp_path / "data") == [
        "sub-01: top1 (b2i, single, cosine) = 0.123, chance 0.05, 95 % interval n/a to 0.2, "
        "p = 0.000999, n = 20",
    ]
    assert headline(tmp_path, "02", tmp_path / "data") == []


def test_truth_in_another_space_is_not_compared(tmp_path):
    import numpy as np

    from bids_decoder.bids.writer import save_nifti

    truth = tmp_path / "data" / "derivatives" / "truth" / "sub-01" / "func"
    found = tmp_path / "sub-01" / "func" / "sub-01_label-TROI_mask.nii.gz"
    save_nifti(truth / "sub-01_label-responsive_mask.nii.gz", np.ones((2, 2, 2), bool), np.eye(4))
    save_nifti(found, np.ones((3, 2, 2), bool), np.eye(4))
    assert headline(tmp_path, "01", tmp_path / "data") == []
    save_nifti(found, np.ones((2, 2, 2), bool), np.eye(4))
    assert "= 1.000 (8 selected, 8 true)" in headline(tmp_path, "01", tmp_path / "data")[0]


def test_work_folder_of_another_build_is_emptied_but_for_the_home(tmp_path, monkeypatch):
    for name in ("home/cache", "decode_01_wf/node/result.pklz", "trials/x.tsv"):
        write_text(tmp_path / name, "old")
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "home")
    assert scratch.discard_other_build(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["build.txt", "home"]
    assert (tmp_path / "home" / "cache").read_text() == "old"
    write_text(tmp_path / "decode_01_wf" / "node" / "result.pklz", "new")
    assert not scratch.discard_other_build(tmp_path)
    assert (tmp_path / "decode_01_wf").is_dir()
    monkeypatch.setattr(scratch, "build_key", lambda: "another")
    assert scratch.discard_other_build(tmp_path)
    assert not (tmp_path / "decode_01_wf").exists()


def test_builds_differ_in_their_code(tmp_path, monkeypatch):
    package = tmp_path / "bids_decoder"
    write_text(package / "__init__.py", "")
    monkeypatch.setattr(scratch.bids_decoder, "__file__", str(package / "__init__.py"))
    first = scratch.build_key()
    write_text(package / "__pycache__" / "x.pyc", "cache")
    assert scratch.build_key() == first
    write_text(package / "cli" / "new.py", "x = 1")
    assert scratch.build_key() != first
