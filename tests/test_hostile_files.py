"""Whatever a file holds, a reader answers with data or with a message, and soon."""

import gzip
import io
import json
import os
import pickle
import time
import warnings

import h5py
import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.numpy import save

from bids_decoder.bids.dataset import BoldRun
from bids_decoder.bids.image_checks import check_run
from bids_decoder.bids.images import read_header
from bids_decoder.bids.layouts import describe, read_filters
from bids_decoder.bids.rows import read_events, read_trials
from bids_decoder.bids.writer import MAX_COLUMNS, read_table
from bids_decoder.config_files import load_settings
from bids_decoder.errors import BidsDecoderError, InputError
from bids_decoder.files import MAX_NESTING, read_json
from bids_decoder.models.store import Model, load_card, load_model, save_model
from bids_decoder.stacks import StackRow, picture_arrays, read_stack
from bids_decoder.stimuli.features import read_features
from bids_decoder.stimuli.images import load_image

SECONDS = 2.0
QUICK = settings(
    max_examples=25, deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def nifti(suffix=""):
    image = nib.Nifti1Image(np.arange(240, dtype=np.int16).reshape(3, 4, 2, 10), np.eye(4))
    content = image.to_bytes()
    return gzip.compress(content) if suffix == ".gz" else content


def picture(kind):
    stream = io.BytesIO()
    pixels = np.arange(12 * 9 * 3, dtype=np.uint8).reshape(12, 9, 3)
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


def archive(ids=("a", "b")):
    stream = io.BytesIO()
    np.savez(stream, ids=np.array(ids), vectors=np.ones((2, 3), dtype=np.float32))
    return stream.getvalue()


def read_bold(path):
    run = BoldRun("01", None, "see", "1", "raw", bold_file=path)
    list(check_run(run, None, full_read=True))


def read_first_row(path):
    for name in picture_arrays(path):
        read_stack(StackRow(path, name, 0))


TSV = b"onset\tduration\ttrial_type\n0\t1\tface\n2.5\t1\thouse\n"
VECTORS = b"id\ta\tb\nface\t0.5\t1\nhouse\t2\t3\n"
TENSORS = save({"face": np.ones(3, np.float32), "house": np.zeros(3, np.float32)})
READERS = {
    "sidecar.json": (read_json, b'{"RepetitionTime": 2.0, "SliceTiming": [0, 1]}', ValueError),
    "filters.json": (lambda p: read_filters(p, ["bold"]), b'{"bold": {"run": 1}}', ()),
    "events.tsv": (read_events, TSV, ()),
    "trials.tsv": (read_trials, TSV, ()),
    "table.tsv": (read_table, TSV, ValueError),
    "bold.nii": (read_bold, nifti(), ()),
    "bold.nii.gz": (read_bold, nifti(".gz"), ()),
    "features.tsv": (read_features, VECTORS, ()),
    "features.npz": (read_features, archive(), ()),
    "features.safetensors": (read_features, TENSORS, ()),
    "settings.toml": (load_settings, b'random_seed = 1\n[execution]\nstage = ["prepare"]\n', ()),
    "a.png": (load_image, picture("PNG"), ()),
    "a.jpg": (load_image, picture("JPEG"), ()),
    "a.gif": (load_image, picture("GIF"), ()),
    "a.tif": (load_image, picture("TIFF"), ()),
    "a.bmp": (load_image, picture("BMP"), ()),
    "a.webp": (load_image, picture("WEBP"), ()),
}


@st.composite
def damaged(draw, whole):
    """A valid file with some bytes changed, cut out, doubled or put in."""
    content = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(content)))
        kind = draw(st.sampled_from(["change", "cut", "double", "insert", "end"]))
        size = draw(st.integers(1, 8))
        if kind == "change":
            content[place:place + size] = draw(st.binary(min_size=size, max_size=size))
        elif kind == "cut":
            del content[place:place + size]
        elif kind == "double":
            content[place:place] = content[place:place + size * 8]
        elif kind == "insert":
            content[place:place] = draw(st.sampled_from([b"\0", b"\t", b"\n", b'"', b"[", b"\xff"]))
        else:
            del content[place:]
    return bytes(content)


def answered(read, path, *allowed):
    """Call a reader; anything but data and a message is raised, and slowness is a failure."""
    # Time of the processor, which a busy machine does not change.
    started = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            read(path)
        except (BidsDecoderError, *allowed) as error:
            assert str(error).strip()
    assert time.process_time() - started < SECONDS


@pytest.mark.parametrize("name", READERS)
@QUICK
@given(data=st.data())
def test_no_content_makes_a_reader_fail(name, tmp_path, data):
    read, whole, allowed = READERS[name]
    content = data.draw(st.one_of(damaged(whole), st.binary(max_size=400)))
    path = tmp_path / name
    path.write_bytes(content)
    answered(read, path, *([allowed] if allowed else []))


@pytest.mark.parametrize("name", READERS)
def test_whole_files_are_read(name, tmp_path):
    read, whole, _ = READERS[name]
    path = tmp_path / name
    path.write_bytes(whole)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        read(path)


@QUICK
@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
        ["schema", "targets", "participants", "bold", "Name", "GeneratedBy", "execution"]
    ), inner, max_size=3), max_leaves=12,
))
def test_json_of_any_shape_is_answered(tmp_path, content):
    model = tmp_path / "m.safetensors"
    model.write_bytes(TENSORS)
    for path in (tmp_path / "m.json", tmp_path / "dataset_description.json"):
        path.write_text(json.dumps(content))
    answered(load_card, model)
    answered(load_model, model)
    answered(describe, tmp_path)
    answered(lambda path: read_filters(path, ["bold"]), tmp_path / "m.json")


def test_nesting_has_a_limit(tmp_path):
    path = tmp_path / "x.json"
    path.write_text("[" * MAX_NESTING + "]" * MAX_NESTING)
    read_json(path)
    for depth in (MAX_NESTING + 1, 900, 200_000):
        path.write_text("[" * depth + "]" * depth)
        with pytest.raises(ValueError, match=f"nested deeper than {MAX_NESTING}"):
            read_json(path)
        path.write_text('{"a":' * depth + "1" + "}" * depth)
        with pytest.raises(ValueError, match="nested deeper"):
            read_json(path)


def test_settings_have_limits(tmp_path):
    path = tmp_path / "settings.toml"
    for content in ("a = " + "[" * 100_000, "# " + "x" * (5 << 20)):
        path.write_text(content)
        with pytest.raises(BidsDecoderError, match="settings.toml"):
            load_settings(path)


def test_tables_have_limits(tmp_path):
    path = tmp_path / "sub-01_events.tsv"
    path.write_text("\t".join(f"c{i}" for i in range(300_000)) + "\n" + "\t".join("1" * 300_000))
    answered(read_events, path)
    with pytest.raises(InputError, match=rf"300000 columns; {MAX_COLUMNS} are the most"):
        read_events(path)
    features = tmp_path / "features.tsv"
    path.rename(features)
    answered(read_features, features)
    with pytest.raises(InputError, match="columns or more"):
        read_features(features)
    with path.open("wb") as handle:
        handle.truncate(40 << 20)
    with pytest.raises(InputError, match="larger than 32 MiB"):
        read_events(path)


@pytest.mark.parametrize(("content", "why"), [
    ("onset\tduration\n1\t2\t3\n", "line 2 has 3 cells, the header 2"),
    ('onset\tduration\n1\t"2\n3\t4\n', "line 3: unexpected end of data"), ("", "is empty"),
])
def test_why_of_a_damaged_table(tmp_path, content, why):
    path = tmp_path / "events.tsv"
    path.write_text(content)
    with pytest.raises(InputError, match=why):
        read_events(path)


def test_tables_as_they_are_in_the_wild(tmp_path):
    path = tmp_path / "events.tsv"
    path.write_bytes(b'\xef\xbb\xbfonset\tvalue\tvalue\t\r0\t" a b"\tx\t\r\r\n\n1\tn/a\r')
    table = read_table(path)
    assert list(table.columns) == ["onset", "value", "value.1", ""]
    assert table.to_numpy().tolist() == [["0", "a b", "x", None], ["1", None, None, None]]


@pytest.mark.parametrize(("content", "why"), [
    (pickle.dumps({"a": 1}), "it is a pickle"), (b"PK\x03\x04" + b"\0" * 90, "zip archive"),
    (b"weights", "does not begin"), (b"", "does not begin"), (b"\xff" * 60, "does not begin"),
])
def test_what_is_no_safetensors_file_is_called_so(tmp_path, content, why):
    """A pickle would be executed by other readers; the message must not speak of its card."""
    path = tmp_path / "desc-pretrained_model.safetensors"
    path.write_bytes(content)
    for read in (load_card, load_model, read_features):
        with pytest.raises(InputError, match=why):
            read(path)
    path.with_suffix(".json").write_text("{}")
    with pytest.raises(InputError, match="no safetensors file"):
        load_model(path)


class Bomb:
    def __reduce__(self):
        return (print, ("executed",))


def test_pickles_are_not_executed(tmp_path, capsys):
    path = tmp_path / "a.safetensors"
    path.write_bytes(pickle.dumps(Bomb()))
    archived = tmp_path / "a.npz"
    np.savez(archived, ids=np.array([Bomb(), Bomb()]), vectors=np.ones((2, 2)))
    for read, place in ((load_model, path), (read_features, path), (read_features, archived)):
        with pytest.raises(InputError):
            read(place)
    assert "executed" not in capsys.readouterr().out


def test_model_with_types_that_numpy_lacks(tmp_path):
    path = save_model(tmp_path / "m.safetensors", Model({"a": np.ones(4, np.float16)}, {}))
    content = path.read_bytes().replace(b'"F16"', b'"BF16"'[:5] + b'"')
    path.write_bytes(content)
    answered(load_model, path)


def test_headers_may_promise_anything(tmp_path):
    image = nib.Nifti1Image(np.zeros((2, 2, 2, 4), np.int16), np.eye(4))
    for shape in ((32767,) * 4, (30000, 30000, 1, 2), (1, 1, 1, 32767), (0, 2, 2, 4)):
        content = bytearray(image.to_bytes())
        content[40:50] = np.array([4, *shape], "<i2").tobytes()
        for suffix, packed in ((".nii", bytes(content)), (".nii.gz", gzip.compress(content))):
            path = tmp_path / f"bold{shape[0]}{shape[3]}{suffix}"
            path.write_bytes(packed)
            answered(read_bold, path)


def test_bombs_are_not_unpacked(tmp_path):
    """300 MB of zeros behind the header of a small image, in a file of 300 kB."""
    path = tmp_path / "bold.nii.gz"
    with gzip.open(path, "wb", compresslevel=1) as handle:
        handle.write(nifti())
        for _ in range(300):
            handle.write(bytes(1 << 20))
    run = BoldRun("01", None, "see", "1", "raw", bold_file=path)
    (finding,) = check_run(run, None, full_read=True)
    assert "more than twice" in finding.why
    picture = tmp_path / "bomb.png"
    Image.new("1", (12_000, 12_000)).save(picture)
    answered(load_image, picture)
    with pytest.raises(InputError, match="12000 x 12000 pixels"):
        load_image(picture)


@QUICK
@given(data=st.data())
def test_damaged_stacks_are_answered(tmp_path, data):
    path = tmp_path / "stack.h5"
    with h5py.File(path, "w") as stack:
        stack["pictures"] = np.zeros((2, 4, 4, 3), np.uint8)
    path.write_bytes(data.draw(damaged(path.read_bytes())))
    answered(read_first_row, path)


def test_pictures_in_stacks_have_limits(tmp_path):
    path = tmp_path / "stack.h5"
    with h5py.File(path, "w") as stack:
        stack.create_dataset("large", (2, 60_000, 60_000), np.uint8, chunks=(1, 64, 64))
        stack["loop"] = h5py.SoftLink("/loop")
        stack["outside"] = h5py.ExternalLink("/etc/passwd", "/x")
    assert picture_arrays(path) == {"large": 2}
    for name in ("large", "loop", "outside", "absent"):
        answered(lambda place, name=name: read_stack(StackRow(place, name, 0)), path)


def test_header_of_a_pipe_is_not_waited_for(tmp_path):
    path = tmp_path / "bold.nii"
    os.mkfifo(path)
    with pytest.raises(InputError, match="no regular file"):
        read_header(path)
