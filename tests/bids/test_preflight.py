import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bids_decoder.bids import preflight
from bids_decoder.bids.images import header_t_r, is_pointer, read_header
from bids_decoder.bids.sidecars import Sidecars
from bids_decoder.errors import ExitCode, InputError, summarise

BOLD = "sub-01/func/sub-01_task-see_run-1_bold.nii.gz"


def only(findings, severity="error"):
    (finding,) = [f for f in findings if f.severity == severity]
    return finding


def none(findings):
    assert not [str(f) for f in findings if f.severity == "error"]


def test_nothing_wrong(toy):
    assert toy.check() == []


def test_all_problems_are_found_at_once(toy):
    toy.text(BOLD, "/annex/objects/x")
    toy.image("sub-01/func/sub-01_task-see_run-2_bold.nii.gz", (4, 4, 3))
    toy.json("sub-02/func/sub-02_task-see_run-3_bold.json", {"RepetitionTime": 2000})
    (toy.root / "sub-b_d").mkdir()
    errors = [f for f in toy.check() if f.severity == "error"]
    assert len(errors) == 4


def test_only_chosen_participants_are_looked_at(toy):
    toy.text(BOLD, "/annex/objects/x")
    none(toy.check(["02"]))
    assert only(toy.check(["01"])).participant == "01"


def test_events_of_others_only_warn(toy):
    toy.text("sub-01/func/sub-01_task-see_run-1_events.tsv", "duration\n1\n")
    none(toy.check(["02"]))
    assert "onset" in only(toy.check()).why


@pytest.mark.parametrize("kind", ["text", "unlocked", "link"])
def test_annex_pointer(toy, kind):
    path = toy.root / BOLD
    path.unlink()
    target = "../../.git/annex/objects/Jw/Fv/MD5E-s1--b.nii.gz/MD5E-s1--b.nii.gz"
    if kind == "link":
        path.symlink_to(target)
    else:
        path.write_text(target if kind == "text" else "/annex/objects/MD5E-s1--b.nii.gz\n")
    finding = only(toy.check())
    assert finding.code == ExitCode.MISSING_INPUT
    assert finding.fix == f"datalad get {path.parent}"


def test_more_dummy_scans_than_volumes(toy):
    assert not errors_of(toy, 39)
    first, second = errors_of(toy, 40)
    assert first.code == second.code == ExitCode.USAGE
    assert "task-see_run-1 (40), task-see_run-2 (40)" in first.why


def errors_of(toy, dummy_scans):
    found = toy.check(preprocessing={"dummy_scans": dummy_scans})
    return [finding for finding in found if finding.severity == "error"]


def test_pointers_are_told_from_small_files(toy):
    assert not is_pointer(toy.root / "dataset_description.json")
    assert not is_pointer(toy.root / BOLD)
    assert not is_pointer(toy.root / "absent")


def test_truncated_gz(toy):
    path = toy.root / BOLD
    path.write_bytes(path.read_bytes()[:-200])
    finding = only(toy.check())
    assert "damaged or truncated" in finding.why and finding.code == ExitCode.BAD_DATA


def test_corrupt_gz_is_found_by_its_checksum(toy):
    content = bytearray((toy.root / BOLD).read_bytes())
    content[-8] ^= 0xFF
    (toy.root / BOLD).write_bytes(content)
    assert "damaged" in only(toy.check()).why


def test_large_inputs_are_judged_by_the_noted_size(toy, monkeypatch):
    monkeypatch.setattr(preflight, "FULL_READ_LIMIT", 1)
    content = bytearray((toy.root / BOLD).read_bytes())
    content[-8] ^= 0xFF
    (toy.root / BOLD).write_bytes(content)
    none(toy.check())
    (toy.root / BOLD).write_bytes(content[:-100])
    assert "damaged or truncated" in only(toy.check()).why


def test_gz_of_several_parts_is_good(toy, monkeypatch):
    monkeypatch.setattr(preflight, "FULL_READ_LIMIT", 1)
    raw = gzip.decompress((toy.root / BOLD).read_bytes())
    (toy.root / BOLD).write_bytes(gzip.compress(raw[:5000]) + gzip.compress(raw[5000:]))
    none(toy.check())


def test_shorter_data_than_the_header_says(toy):
    raw = gzip.decompress((toy.root / BOLD).read_bytes())
    (toy.root / BOLD).write_bytes(gzip.compress(raw[:-400]))
    assert "header implies" in only(toy.check()).why


def test_truncated_nii(toy):
    (toy.root / BOLD).unlink()
    path = toy.image(BOLD.removesuffix(".gz"))
    path.write_bytes(path.read_bytes()[:-100])
    assert "truncated" in only(toy.check()).why


def test_not_a_nifti(toy):
    (toy.root / BOLD).write_bytes(b"x" * 1000)
    assert "not readable as NIfTI" in only(toy.check()).why
    with pytest.raises(InputError):
        read_header(toy.root / BOLD)


@pytest.mark.parametrize("shape", [(4, 4, 3), (4, 4, 6)])
def test_3d_bold(toy, shape):
    toy.image(BOLD, shape)
    assert "not a series" in only(toy.check()).why


def test_t_r_differs(toy):
    toy.image(BOLD, t_r=2.1)
    warning = only(toy.check(), "warning")
    assert "2 s" in warning.why and "2.1 s" in warning.why
    toy.image(BOLD, t_r=2.0005)
    assert toy.check() == []


@pytest.mark.parametrize(("value", "unit"), [(2000, "msec"), (2000, "unknown"), (2e6, "usec")])
def test_t_r_units_in_the_header(toy, value, unit):
    toy.image(BOLD, t_r=value, unit=unit)
    assert toy.check() == []


def test_t_r_absurd_in_the_header(toy):
    toy.image(BOLD, t_r=2000, unit="sec")
    assert "header 2000" in only(toy.check(), "warning").why
    toy.image(BOLD, t_r=0)
    assert toy.check() == []
    assert header_t_r(float("nan"), "sec") is None


def test_t_r_missing_in_the_sidecar(toy):
    toy.json("task-see_bold.json", {})
    none(toy.check())
    assert sum("not in the sidecar" in f.why for f in toy.check()) == 6


def test_t_r_missing_everywhere(toy):
    toy.json("task-see_bold.json", {})
    toy.image(BOLD, t_r=0)
    assert "neither in the sidecar" in only(toy.check()).why


def test_t_r_in_milliseconds_in_the_sidecar(toy):
    toy.json("sub-01/func/sub-01_task-see_run-1_bold.json", {"RepetitionTime": 2000})
    assert "in seconds" in only(toy.check()).fix


def test_t_r_contradicts_acquisition_duration(toy):
    name = "sub-01/func/sub-01_task-see_run-1_bold.json"
    toy.json(name, {"AcquisitionDuration": 80 * 2.0 / 1.79})
    assert toy.check() == []
    toy.json(name, {"AcquisitionDuration": 112.0})
    assert "2.800 s per volume" in only(toy.check(), "warning").why
    # The BIDS meaning, one volume, is no contradiction.
    toy.json(name, {"AcquisitionDuration": 1.2})
    assert toy.check() == []


def test_wrong_t_r_of_the_localizer_would_be_noticed(shared_data, monkeypatch):
    skeleton = shared_data("localizer")
    settings = {"execution": {"stage": ("prepare",), "output_dir": Path("/tmp")}}
    assert not [f for f in skeleton.check(**settings) if "RepetitionTime" in f.what]
    true_metadata = Sidecars.metadata_of
    monkeypatch.setattr(Sidecars, "metadata_of", lambda self, image: {
        **true_metadata(self, image), "RepetitionTime": 1.79355,
    })
    whys = [f.why for f in skeleton.check(**settings) if "RepetitionTime" in f.what]
    assert any("2.089 s per volume" in why for why in whys)


def test_qform_and_sform_disagree(toy):
    qform = np.diag([3.0, 3.0, 3.0, 1.0])
    qform[0, 3] = 5
    toy.image(BOLD, qform=qform)
    assert "5.00 mm apart" in only(toy.check(), "warning").why


def test_nan_voxels(toy):
    data = np.random.default_rng(0).normal(size=(4, 4, 3, 40)).astype(np.float32)
    data[:1] = np.nan
    toy.image(BOLD, data=data)
    assert "25.0%" in only(toy.check(), "warning").why
    data[:3] = np.inf
    toy.image(BOLD, data=data)
    assert "75%" in only(toy.check()).why


def test_constant_voxels(toy):
    data = np.full((4, 4, 3, 40), 7, dtype=np.float32)
    toy.image(BOLD, data=data)
    assert "no voxel in the image varies" in only(toy.check()).why
    data[1, 1, 1] = np.arange(40)
    toy.image(BOLD, data=data)
    none(toy.check())


@pytest.fixture
def derived(toy):
    for run in "123":
        stem = f"../fp/sub-01/func/sub-01_task-see_run-{run}_desc"
        toy.image(f"{stem}-preproc_bold.nii.gz")
        toy.json(f"{stem}-preproc_bold.json", {"RepetitionTime": 2.0})
        toy.image(f"{stem}-brain_mask.nii.gz", data=np.ones((4, 4, 3), dtype=np.uint8))
    toy.execution = {"derivatives": {"fmriprep": toy.root.parent / "fp"}}
    return toy


MASK = "../fp/sub-01/func/sub-01_task-see_run-2_desc-brain_mask.nii.gz"


def test_good_derivatives(derived):
    lacking = only(derived.check(execution=derived.execution), "warning")
    assert "sub-02_task-see_run-1" in lacking.why
    chosen = {**derived.execution, "run_id": ("1",)}
    assert "1 run(s)" in only(derived.check(execution=chosen), "warning").what


def test_mask_affine_differs(derived):
    affine = np.diag([3.0, 3.0, 3.0, 1.0])
    affine[2, 3] = 0.01
    derived.image(MASK, data=np.ones((4, 4, 3), dtype=np.uint8), affine=affine)
    finding = only(derived.check(execution=derived.execution))
    assert "0.01" in finding.why and finding.why.count("[[3.0") == 2
    affine[2, 3] = 0.0005
    derived.image(MASK, data=np.ones((4, 4, 3), dtype=np.uint8), affine=affine)
    none(derived.check(execution=derived.execution))


def test_mask_shape_differs(derived):
    derived.image(MASK, (4, 4, 4))
    assert "shape (4, 4, 4)" in only(derived.check(execution=derived.execution)).why


def test_mask_without_content(derived):
    derived.text(MASK, "/annex/objects/x")
    findings = derived.check(execution=derived.execution)
    first, second = (f for f in findings if f.severity == "error")
    assert first.what == "sub-01: images without content"
    assert second.what.endswith("_desc-brain_mask.nii.gz") and "pointer" in second.why


def test_derivatives_without_mask(derived):
    (derived.root / MASK).unlink()
    finding = only(derived.check(execution=derived.execution))
    assert "BOLD of task-see_run-2" in finding.why and finding.code == 66


def test_runs_with_different_shapes(derived):
    """Raw runs are brought onto one grid, derivatives are not."""
    derived.image(BOLD, (5, 4, 3, 40))
    none(derived.check())
    derived.image(MASK, (5, 4, 3), data=np.ones((5, 4, 3), dtype=np.uint8))
    derived.image(MASK.replace("brain_mask", "preproc_bold"), (5, 4, 3, 40))
    finding = only(derived.check(execution=derived.execution))
    assert "task-see_run-2" in finding.why and "(5, 4, 3)" in finding.why


def test_label_with_odd_characters(toy):
    (toy.root / "sub-03_old").mkdir()
    assert "'sub-03_old'" in only(toy.check()).what


def test_participants_table_differs(toy):
    toy.text("participants.tsv", "participant_id\tage\nsub-01\t30\nsub-09\t31\n")
    whys = [f.why for f in toy.check()]
    assert whys == ["listed but without a folder: 09; not listed: 02"]
    # The choice by the table tells who is not listed, and what that means.
    whys = [f.why for f in toy.check(execution={"participant_filter": ("age > 1",)})]
    assert len([why for why in whys if "02" in why]) == 1



def test_labels_that_do_not_repeat(toy):
    for path in sorted(toy.root.rglob("*_events.tsv")):
        run = path.name.split("run-")[1][0]
        toy.events(path.relative_to(toy.root), [(2 + 7 * i, 1, f"{run}x{i}") for i in range(10)])
    findings = [f for f in toy.check(["01"]) if f.severity == "error"]
    assert "30 labels in 30 trials" in findings[0].why and "--label-column" in findings[0].fix


def test_label_absent_from_a_run(toy):
    toy.events("sub-01/func/sub-01_task-see_run-1_events.tsv",
               [(2 + 7 * i, 1, "ab"[i % 2]) for i in range(10)])
    assert only(toy.check(), "warning").why == "c in 1 run(s), d in 1 run(s)"


def test_missing_stimulus_column(toy):
    assert "none of colour" in only(toy.check(trials={"stimulus_column": "colour"})).why


def test_events_beyond_the_run(toy):
    toy.events("sub-01/func/sub-01_task-see_run-1_events.tsv",
               [(2 + 20 * i, 1, "ab"[i % 2]) for i in range(10)])
    assert "6 of 10 trials" in next(f.why for f in toy.check() if f.severity == "error")


def test_betas_need_one_row_per_volume(bare):
    for run in "12":
        stem = f"sub-01/func/sub-01_task-see_run-{run}_desc-singletrial"
        bare.image(f"{stem}_betaseries.nii.gz", (4, 4, 3, 4))
        bare.events(f"{stem}_trials.tsv", [(i, "ab"[i % 2]) for i in range(1, 5)],
                    ("trial", "trial_type"))
    none(bare.check())
    bare.events(f"{stem}_trials.tsv", [(i, "ab"[i % 2]) for i in range(1, 6)],
                ("trial", "trial_type"))
    assert "4 volumes but 5 rows" in only(bare.check()).why


@pytest.mark.parametrize(("extension", "number", "is_found"), [
    (".nii.gz", 2, True), (".nii.gz", 7, False), (".nii", 7, True),
])
def test_only_excluded_volumes_of_betas_may_be_nan(bare, extension, number, is_found):
    data = np.random.default_rng(0).normal(size=(4, 4, 3, 8)).astype(np.float32)
    # A plane without values is no volume without values.
    data[:, :, 1, 3] = np.nan
    data[..., number - 1] = np.nan

    def write(excluded):
        for run in "12":
            stem = f"sub-01/func/sub-01_task-see_run-{run}_desc-singletrial"
            bare.image(f"{stem}_betaseries{extension}", data=data)
            bare.events(
                f"{stem}_trials.tsv",
                [(i, "ab"[i % 2], str(excluded and i == number).lower()) for i in range(1, 9)],
                ("trial", "trial_type", "excluded"),
            )
        return [f for f in bare.check() if f.severity == "error"]

    assert write(excluded=True) == []
    found = write(excluded=False)
    assert len(found) == 2 * is_found
    assert all(f"1 volume(s) have no finite value, and their trials are used: number {number}, "
               in f.why for f in found)


def test_disk_is_full(toy, monkeypatch):
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(preflight.shutil, "disk_usage", lambda path: usage)
    finding = only(toy.check())
    assert finding.code == ExitCode.IO_ERROR and "disk space" in finding.what
    assert "1e-06 GB are free" in finding.why and "about 0 " not in finding.why


@pytest.mark.parametrize("places", [["output"], ["output", "work"]])
def test_work_folder_needs_space_on_the_same_disk(toy, tmp_path, monkeypatch, places):
    """It is in the output folder, unless the user gives another one, on the same disk or not."""
    def errors(free, **execution):
        usage = type("Usage", (), {"free": free})
        monkeypatch.setattr(preflight.shutil, "disk_usage", lambda path: usage)
        return [f for f in toy.check(execution=execution) if f.severity == "error"]

    given = {"output_dir": tmp_path / "output"}
    if "work" in places:
        given["work_dir"] = tmp_path / "work"
    image_bytes = sum(path.stat().st_size for path in toy.root.rglob("*_bold.nii.gz"))
    # Without the work folder less than this is needed.
    (finding,) = errors(3 * image_bytes, **given)
    assert finding.what == f"disk space for {' and '.join(str(tmp_path / p) for p in places)}"
    assert errors(10**9, **given) == []


def test_output_behind_a_dead_link_is_left_to_the_check_of_folders(toy, tmp_path):
    (tmp_path / "output").symlink_to(tmp_path / "nowhere")
    none(toy.check(execution={"output_dir": tmp_path / "output" / "deeper"}))


def test_real_datasets_pass_or_say_why(shared_data, tmp_path):
    for name in ("haxby-1slice", "raider-betas"):
        assert shared_data(name).check(execution={"output_dir": tmp_path}) == []
    findings = shared_data("openneuro-text/ds000105").check(execution={"output_dir": tmp_path})
    assert [(f.what, f.why[:11]) for f in findings] == [
        ("sub-1: images without content", "13 git-anne"),
        ("sub-2: images without content", "13 git-anne"),
    ]
    (joined,) = summarise(findings, "list")
    assert joined.what == "sub-1, sub-2: images without content"


def test_same_fault_in_many_runs_is_one_message(toy):
    for path in sorted(toy.root.glob("sub-*/func/*_bold.nii.gz")):
        toy.image(path.relative_to(toy.root), t_r=1.5)
    found = toy.check()
    assert len(found) == 6
    (joined,) = summarise(found, "-v")
    assert joined.what == (
        "RepetitionTime of sub-01_task-see_run-1_bold.nii.gz, sub-01_task-see_run-2_bold.nii.gz, "
        "sub-01_task-see_run-3_bold.nii.gz and 3 more"
    )
    assert joined.why == "the sidecar says 2 s, the header 1.5 s"
    assert joined.fix.endswith("shifts every response; all 6: -v")


def test_header_of_a_written_image(toy):
    header = read_header(toy.root / BOLD)
    image = nib.load(toy.root / BOLD)
    assert header.shape == image.shape and header.t_r == 2.0
    assert header.n_bytes == len(gzip.decompress((toy.root / BOLD).read_bytes()))
    assert header.voxel_sizes == (3.0, 3.0, 3.0) and header.n_volumes == 40
