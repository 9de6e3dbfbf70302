"""Components of echoes: a change of S0 is rejected, one of T2* is kept."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from bids_decoder.bids.confounds_files import read_confounds
from bids_decoder.bids.writer import save_nifti
from bids_decoder.errors import InputError
from bids_decoder.files import write_json
from bids_decoder.glm.confounds import select_confounds
from bids_decoder.interfaces.multiecho import FindEchoComponents
from bids_decoder.interfaces.preprocessing import Confounds
from bids_decoder.preprocessing.echo_components import (
    EchoComponents,
    find_components,
    read_components,
)

pytest.importorskip("tedana.workflows")

TIMES = (0.012, 0.028, 0.044)
SHAPE, N_VOLUMES, N_DUMMY = (16, 16, 10), 60, 2
N_SOURCES, N_BOLD = 7, 5
AFFINE = np.diag([4.0, 4.0, 4.0, 1.0])


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with slow changes of R2* at some places, and jumps of S0 at others."""
    folder = tmp_path_factory.mktemp("components")
    rng = np.random.default_rng(0)
    brain = np.zeros(SHAPE, bool)
    brain[1:-1, 1:-1, 1:-1] = True
    places = [ndimage.gaussian_filter(rng.standard_normal(SHAPE), 1.5) for _ in range(N_SOURCES)]
    places = [np.clip(place / place.std() - 1, 0, None) for place in places]
    courses = ndimage.gaussian_filter1d(
        rng.standard_normal((N_SOURCES, N_VOLUMES)), 1.5, axis=1
    )
    courses = np.linalg.qr(courses.T)[0].T * np.sqrt(N_VOLUMES)
    files = []
    for number, time in enumerate(TIMES):
        log = np.log(1000.0) - time / 0.04 + np.zeros((*SHAPE, N_VOLUMES))
        for source, (place, course) in enumerate(zip(places, courses, strict=True)):
            size = -time if source < N_BOLD else 0.05
            log += size * place[..., None] * course
        series = np.exp(log) + rng.normal(0, 2, log.shape)
        files.append(save_nifti(folder / f"{number}.nii.gz", series * brain[..., None], AFFINE,
                                t_r=2.0))
    mask = save_nifti(folder / "mask.nii.gz", brain, AFFINE)
    node = FindEchoComponents(
        in_files=[str(path) for path in files], echo_times=list(TIMES), mask_file=str(mask),
        n_dummy=N_DUMMY, seed=3,
    )
    (folder / "components").mkdir()
    return node.run(cwd=str(folder / "components")).outputs, courses


@pytest.fixture(scope="module")
def components(run):
    outputs, _ = run
    return read_components(Path(outputs.mixing_file), Path(outputs.metrics_file))


def explained(course, columns):
    design = np.column_stack([np.ones(len(columns)), columns])
    rest = course - design @ np.linalg.lstsq(design, course, rcond=None)[0]
    return 1 - rest.var() / course.var()


def test_components_without_decay_are_rejected(run, components):
    metrics, courses = components.metrics.set_index("Component"), run[1]
    assert list(metrics.index) == list(components.mixing)
    is_rejected = metrics["classification"] == "rejected"
    assert components.has_bold and is_rejected[metrics["rho"] > metrics["kappa"]].all()
    rejected = components.rejected
    assert len(rejected) == N_VOLUMES and rejected.shape[1] == is_rejected.sum()
    assert next(iter(rejected)) == "tedana_rejected_00"
    assert set(components.described) == set(rejected)
    assert not rejected[:N_DUMMY].to_numpy().any()
    shares = [explained(course[N_DUMMY:], rejected[N_DUMMY:]) for course in courses]
    # tedana rejects some BOLD with it in data as small as these.
    assert max(shares[N_BOLD:]) > 0.9 and min(shares[:N_BOLD]) < 0.1


def test_columns_are_in_the_table_of_confounds(run, components, tmp_path):
    outputs, _ = run
    folder = Path(outputs.mixing_file).parents[1]
    matrices = tmp_path / "matrices.npy"
    np.save(matrices, np.tile(np.eye(4), (N_VOLUMES, 1, 1)))
    found = Confounds(
        in_file=str(folder / "0.nii.gz"), mask_file=str(folder / "mask.nii.gz"),
        matrices_file=str(matrices), run_boldref_file=str(folder / "mask.nii.gz"), t_r=2.0,
        n_dummy=N_DUMMY, mixing_file=outputs.mixing_file, metrics_file=outputs.metrics_file,
    ).run(cwd=str(tmp_path)).outputs
    confounds, _ = select_confounds(read_confounds(Path(found.out_file)), ["motion"], N_VOLUMES)
    names = list(components.rejected)
    np.testing.assert_allclose(confounds[names], components.rejected, rtol=1e-6)
    assert found.metadata[names[0]]["Method"] == "tedana"
    assert "kappa" in outputs.metadata


def table(*classes):
    mixing = pd.DataFrame(np.eye(4)[:, :len(classes)], columns=[f"ICA_{i}" for i in range(
        len(classes))])
    metrics = pd.DataFrame({"Component": mixing.columns, "classification": classes})
    return EchoComponents(mixing, metrics)


def test_columns_of_rejected_components():
    components = table("rejected", "accepted", "rejected")
    np.testing.assert_array_equal(components.rejected, np.eye(4)[:, [0, 2]])
    assert components.described["tedana_rejected_01"]["Description"].endswith("ICA_2")


def test_where_nothing_is_accepted_nothing_is_a_confound():
    assert table("rejected", "rejected").rejected.shape == (4, 0)


def test_failures_of_tedana_are_explained(monkeypatch, tmp_path):
    import tedana.workflows

    def fail(*args, **kwargs):
        raise ValueError("too few volumes")

    monkeypatch.setattr(tedana.workflows, "tedana_workflow", fail)
    with pytest.raises(InputError, match="too few volumes"):
        find_components([], TIMES, tmp_path / "mask.nii", tmp_path, seed=1)


def test_warnings_of_tedana_are_logged_once_and_not_printed(monkeypatch, tmp_path, capfd, caplog):
    import tedana.workflows

    def warn(files, times, *, out_dir, **kwargs):
        general = logging.getLogger("GENERAL")
        general.addHandler(logging.StreamHandler())
        for _ in range(3):
            general.warning("ICA failed to converge with seed %d", 42)
        general.info("Computing T2* map")
        Path(out_dir).mkdir()
        mixing = pd.DataFrame({"ICA_0": np.zeros(4)})
        mixing.to_csv(Path(out_dir) / "desc-ICA_mixing.tsv", sep="\t", index=False)
        table("accepted").metrics.to_csv(
            Path(out_dir) / "desc-tedana_metrics.tsv", sep="\t", index=False
        )
        write_json(Path(out_dir) / "desc-tedana_metrics.json", {})

    monkeypatch.setattr(tedana.workflows, "tedana_workflow", warn)
    series = save_nifti(tmp_path / "run-1" / "0.nii.gz", np.ones((*SHAPE, 4)), AFFINE, t_r=2.0)
    monkeypatch.setattr(logging.getLogger("bids_decoder"), "propagate", True)
    node = FindEchoComponents(
        in_files=[str(series)] * 3, echo_times=list(TIMES), mask_file=str(series), seed=3,
    )
    (tmp_path / "work").mkdir()
    node.run(cwd=str(tmp_path / "work"))
    assert caplog.messages == ["run-1: tedana: ICA failed to converge with seed 42"]
    assert "ICA failed" not in "".join(capfd.readouterr())
    assert not logging.getLogger("GENERAL").filters
