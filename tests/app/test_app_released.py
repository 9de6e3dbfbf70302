"""Released responses through the whole program: written as beta series, and found again."""

import json

import nibabel as nib
import numpy as np
import samples

from bids_decoder.bids.names import sidecar_path
from bids_decoder.bids.writer import read_table


def test_released_responses_become_beta_series(main, tmp_path):
    data, out = tmp_path / "release", tmp_path / "out"
    truth = samples.plain(data, ("01",))["01"]
    words = [data, out, "participant", "-d", f"mine={data}", "--stage", "prepare",
             "--device", "cpu", "--nprocs", 1]
    done = main(*words)
    assert done.code == 0, done.text
    assert "plain arrays of trials × voxels (--derivatives mine=" in done.text
    images = sorted(out.glob("sub-01/ses-*/func/*_betaseries.nii.gz"))
    assert [image.name for image in images] == [
        f"sub-01_ses-{1 + (run > 2)}_task-none_run-{run}_desc-singletrial_betaseries.nii.gz"
        for run in (1, 2, 3, 4)
    ]
    values = np.concatenate([nib.load(image).get_fdata()[:, 0, 0].T for image in images])
    np.testing.assert_array_equal(values, truth.values)
    tables = [read_table(path) for path in sorted(out.glob("sub-01/ses-*/func/*_trials.tsv"))]
    assert [name for table in tables for name in table["stimulus"]] == truth.stimuli
    sidecar = json.loads(sidecar_path(images[0]).read_text())
    assert sidecar["Layout"] == "plain arrays of trials × voxels"
    assert sidecar["Sources"] == ["sub-01_betas.npy"]
    assert "taken from a release" in (out / "logs/CITATION.md").read_text()
    assert not main(*words, "--dry-run").todo()
    np.save(data / "sub-01_betas.npy", truth.values + 1)
    assert list(main(*words, "--dry-run").todo()) == [("sub-01", "betas")]
    images[0].unlink()
    np.save(data / "sub-01_betas.npy", truth.values)
    assert list(main(*words, "--dry-run").todo()) == [("sub-01", "betas")]
