from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from safetensors.numpy import save_file

from bids_decoder.errors import FindingsError, InputError, MissingInputError, UsageError
from bids_decoder.stimuli.features import FeatureTable, read_features, select_features
from bids_decoder.stimuli.sketch import LONGEST, N_BINS, centre_sketches, sketch

IDS = ("007", "1e5", "NA", "n03626115_19498", "häuser/1.png")
VECTORS = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)


def write_tsv(path, ids, vectors, encoding="utf-8", newline="\n"):
    lines = ["stimulus\ta\tb\tc"]
    lines += ["\t".join([name, *map(repr, map(float, row))])
              for name, row in zip(ids, vectors, strict=True)]
    path.write_bytes((newline.join(lines) + newline).encode(encoding))
    return path


@pytest.mark.parametrize(("encoding", "newline"), [("utf-8", "\n"), ("utf-8-sig", "\r\n")])
def test_tsv_keeps_ids_as_text(tmp_path, encoding, newline):
    table = read_features(write_tsv(tmp_path / "f.tsv", IDS, VECTORS, encoding, newline))
    assert table.ids == IDS
    assert np.array_equal(table.vectors, VECTORS)


def test_tsv_of_numeric_ids_is_not_cast(tmp_path):
    names = ("007", "10", "1.50", "1e5", "'9\"")
    assert read_features(write_tsv(tmp_path / "f.tsv", names, VECTORS)).ids == names


@pytest.mark.parametrize("kind", ["U", "S"])
def test_npz(tmp_path, kind):
    names = np.array(IDS) if kind == "U" else np.char.encode(IDS, "utf-8")
    np.savez(tmp_path / "f.npz", ids=names, vectors=VECTORS.astype(np.float64))
    table = read_features(tmp_path / "f.npz")
    assert table.ids == IDS and table.sketched == 0
    assert table.vectors.dtype == np.float32
    assert np.array_equal(table.vectors, VECTORS)


def test_safetensors(tmp_path):
    save_file(
        {name: row.reshape(3, 1) for name, row in zip(IDS, VECTORS, strict=True)},
        tmp_path / "f.safetensors",
    )
    table = read_features(tmp_path / "f.safetensors")
    assert table.ids == tuple(sorted(IDS))
    assert np.array_equal(select_features(table, IDS), VECTORS)


def test_pickled_arrays_are_refused(tmp_path):
    np.savez(tmp_path / "f.npz", ids=np.array(IDS, dtype=object), vectors=VECTORS)
    with pytest.raises(InputError, match="allow_pickle"):
        read_features(tmp_path / "f.npz")


@pytest.mark.parametrize("arrays", [
    {"vectors": VECTORS},
    {"ids": np.array(IDS[:4]), "vectors": VECTORS},
    {"ids": np.arange(5.0), "vectors": VECTORS},
    {"ids": np.array(IDS), "vectors": VECTORS.astype(str)},
])
def test_npz_of_another_form_is_refused(tmp_path, arrays):
    np.savez(tmp_path / "f.npz", **arrays)
    with pytest.raises(InputError, match="not a feature table"):
        read_features(tmp_path / "f.npz")


def test_safetensors_of_unequal_sizes_is_refused(tmp_path):
    save_file({"a": VECTORS[0], "b": VECTORS[0, :2].copy()}, tmp_path / "f.safetensors")
    with pytest.raises(InputError, match="different sizes"):
        read_features(tmp_path / "f.safetensors")


@pytest.mark.parametrize("suffix", [".tsv", ".npz", ".safetensors"])
@pytest.mark.parametrize("content", [b"", b"\x00\xff\xfe damaged"])
def test_damaged_files_are_refused(tmp_path, suffix, content):
    path = tmp_path / f"f{suffix}"
    path.write_bytes(content)
    with pytest.raises(InputError, match="not a feature table"):
        read_features(path)


def test_everything_wrong_is_found_at_once(tmp_path):
    vectors = VECTORS.astype(np.float64)
    vectors[1, 2] = np.nan
    vectors[3, 0] = 1e300  # finite, but not as a 32 bit float
    path = write_tsv(tmp_path / "f.tsv", ("a", "b", "a", "d", ""), vectors)
    with pytest.raises(FindingsError) as caught:
        read_features(path)
    text = str(caught.value)
    assert len(caught.value.findings) == 3
    assert "more than once" in text
    assert "why: b, d" in text
    assert "empty ids" in text


@pytest.mark.parametrize("cell", ["n/a", "", "abc", "inf"])
def test_cells_without_number_are_found(tmp_path, cell):
    path = tmp_path / "f.tsv"
    path.write_text(f"id\tx\ty\na\t1\t2\nb\t{cell}\t4\n")
    with pytest.raises(FindingsError, match="missing or infinite"):
        read_features(path)


@pytest.mark.parametrize("rows", ["a\t1\t2\t3\n", "a\t1\t2\nb\t1\t2\t3\n"])
def test_rows_longer_than_the_header_are_refused(tmp_path, rows):
    (tmp_path / "f.tsv").write_text("id\tx\ty\n" + rows)
    with pytest.raises(InputError, match="not a feature table"):
        read_features(tmp_path / "f.tsv")


def test_table_without_rows(tmp_path):
    (tmp_path / "f.tsv").write_text("id\tx\n")
    with pytest.raises(FindingsError, match="empty"):
        read_features(tmp_path / "f.tsv")


def test_missing_and_unknown_files(tmp_path):
    with pytest.raises(MissingInputError):
        read_features(tmp_path / "f.tsv")
    (tmp_path / "f.pkl").touch()
    with pytest.raises(UsageError, match="safetensors"):
        read_features(tmp_path / "f.pkl")


def test_stimuli_without_vector_are_named():
    with pytest.raises(FindingsError, match="1 of 2") as caught:
        select_features(FeatureTable(IDS, VECTORS), ["007", "7"])
    assert "missing: 7;" in str(caught.value)


@pytest.mark.parametrize("form", ["rows", "columns", "compressed", "safetensors"])
def test_long_vectors_are_read_in_parts_and_keep_their_distances(tmp_path, form, monkeypatch):
    monkeypatch.setattr("bids_decoder.stimuli.features.BLOCK_BYTES", 100_000)
    vectors = np.random.default_rng(1).standard_normal((6, LONGEST + 7)).astype(np.float32)
    names = [f"s{row}" for row in range(6)]
    path = tmp_path / ("f.safetensors" if form == "safetensors" else "f.npz")
    if form == "safetensors":
        save_file(dict(zip(names, vectors, strict=True)), path)
    else:
        save = np.savez_compressed if form == "compressed" else np.savez
        save(path, ids=names, vectors=np.asfortranarray(vectors) if form == "columns" else vectors)
    table = read_features(path)
    found = table.vectors
    assert list(table.ids) == names
    assert found.shape == (6, N_BINS) and table.sketched == LONGEST + 7
    np.testing.assert_allclose(found, sketch(vectors), atol=1e-4)
    lengths = np.linalg.norm(vectors, axis=1)
    products = found @ found.T - vectors @ vectors.T
    # Inner products are right up to about one in the root of the number of bins.
    assert np.abs(products / np.outer(lengths, lengths)).max() < 5 / np.sqrt(N_BINS)


def test_infinite_numbers_of_long_vectors_are_found(tmp_path):
    vectors = np.ones((3, LONGEST + 1), dtype=np.float32)
    vectors[1, 5] = np.inf
    np.savez(tmp_path / "f.npz", ids=["a", "b", "c"], vectors=vectors)
    with pytest.raises(FindingsError, match="why: b\n"):
        read_features(tmp_path / "f.npz")


def test_columns_are_sketched_as_many_at_a_time_as_a_sketch_has_numbers(tmp_path, monkeypatch):
    monkeypatch.setattr("bids_decoder.stimuli.features.BLOCK_BYTES", 1)
    parts = []
    monkeypatch.setattr("bids_decoder.stimuli.features.sketch", lambda values, first: (
        parts.append((first, values.shape)) or sketch(values, first)
    ))
    vectors = np.asfortranarray(np.ones((3, 2 * N_BINS + 1), np.float32))
    np.savez(tmp_path / "f.npz", ids=["a", "b", "c"], vectors=vectors)
    read_features(tmp_path / "f.npz")
    assert parts == [(0, (3, N_BINS)), (N_BINS, (3, N_BINS)), (2 * N_BINS, (3, 1))]


def test_means_are_subtracted_from_sketches():
    rng = np.random.default_rng(2)
    vectors = rng.standard_normal((5, 20_000)) + 0.7 * rng.standard_normal(20_000)
    shifted = vectors + np.array([0, 30, -200, 1000, 5])[:, None]
    plain, centred = (centre_sketches(sketch(one), 20_000) for one in (vectors, shifted))
    np.testing.assert_allclose(centred, plain, atol=2e-2)
    cosines = np.corrcoef(vectors)
    lengths = np.linalg.norm(centred, axis=1)
    found = centred @ centred.T / np.outer(lengths, lengths)
    assert np.abs(found - cosines).max() < 5 / np.sqrt(N_BINS)


def test_sketches_are_the_same_for_ever():
    first = np.eye(1, LONGEST + 1, dtype=np.float32)
    # The first number of SplitMix64 from 0 is e220a8397b1dcdaf: sign bit set, bin daf.
    assert np.flatnonzero(sketch(first)).tolist() == [0xDAF]
    assert sketch(first).sum() == 1


def test_lack_of_memory_is_no_damage(tmp_path, monkeypatch):
    np.savez(tmp_path / "f.npz", ids=["a", "b"], vectors=np.eye(2))

    def fail(*args, **kwargs):
        raise MemoryError("Unable to allocate 40 GiB")

    monkeypatch.setattr("bids_decoder.stimuli.features._npy_parts", fail)
    with pytest.raises(InputError, match="not enough memory to read it: Unable") as caught:
        read_features(tmp_path / "f.npz")
    assert "not a feature table" not in str(caught.value)


def test_memory_does_not_grow_with_the_length_of_vectors(tmp_path, monkeypatch):
    monkeypatch.setattr("bids_decoder.stimuli.features.BLOCK_BYTES", 1 << 20)
    np.savez(tmp_path / "f.npz", ids=np.arange(200), vectors=np.ones((200, 100_000), np.float32))
    tracemalloc.start()
    try:
        read_features(tmp_path / "f.npz")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # The table is 80 MB, its sketch 3 MB.
    assert peak < 20e6
