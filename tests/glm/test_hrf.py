import numpy as np
import pytest

from bids_decoder.errors import UsageError
from bids_decoder.glm.hrf import STEP, get_hrf, hrf_library


@pytest.mark.parametrize("duration", [0.0, 0.5, 3.0, 12.0, 60.0])
@pytest.mark.parametrize("name", ["spm", "glover", "library01", "library20"])
def test_every_response_peaks_at_one(name, duration):
    times = np.arange(0, 100, 0.01)[:, None]
    response = get_hrf(name).response(times, np.array([duration]))
    assert np.abs(response).max() == pytest.approx(1.0, abs=1e-4)


def test_library_has_twenty_distinct_responses_and_holds_the_canonical_one():
    curves = np.stack([h.values / h.values.max() for h in hrf_library()])
    alike = np.corrcoef(curves) - np.eye(20)
    assert curves.shape[0] == 20
    assert alike.max() < 0.9999
    canonical = get_hrf("spm").values
    assert max(np.corrcoef(c, canonical)[0, 1] for c in curves) > 0.9999


def test_peaks_come_when_documented():
    peaks = [np.argmax(h.values) * STEP for h in hrf_library()]
    assert np.allclose(np.unique(np.round(peaks, 1)), [3.5, 4.2, 5.0, 6.0, 7.0], atol=0.11)


def test_response_is_the_convolution_with_a_boxcar():
    hrf = get_hrf("library05")
    box = np.ones(150)  # 3 s
    brute = np.convolve(hrf.values, box)[:1500]
    times = (np.arange(1500)[:, None] + 1) * STEP
    closed = hrf.response(times, np.array([3.0]))[:, 0]
    assert np.allclose(closed, brute / brute.max(), atol=1e-6)


def test_nothing_before_the_onset():
    assert not get_hrf("spm").response(np.linspace(-50, 0, 20)[:, None], np.ones(1)).any()


def test_unknown_name_is_refused():
    with pytest.raises(UsageError, match="library01"):
        get_hrf("boxcar")
