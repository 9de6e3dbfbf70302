"""Every refusal of a step: the dataset that shows it in the plan, or why only computing can tell.

A test reads the source: whoever writes a new refusal has to say here which of the two it is.
"""

import ast
import functools
import json
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from safetensors.numpy import save_file

import bids_decoder
from bids_decoder.analyses.registry import section_kinds
from bids_decoder.bids.writer import save_nifti, save_table
from bids_decoder.cli.plan import make_plan
from bids_decoder.config import default_settings
from bids_decoder.config_files import settings_from_dict
from bids_decoder.errors import BidsDecoderError, FindingsError, UsageError
from bids_decoder.files import write_json
from bids_decoder.glm.confounds import MOTION
from bids_decoder.preprocessing import templates
from bids_decoder.stimuli import weights
from bids_decoder.stimuli.features import MAX_COLUMNS

PACKAGE = Path(bids_decoder.__file__).parent
FOLDERS = ("interfaces", "preprocessing", "glm", "stimuli", "training", "analyses")
PLANNING = {
    f"analyses/{name}.py" for name in (
        "apply/finding", "assemble", "base", "jobs", "rsa/models", "subjects/collect",
    )
}
"""Modules of the analyses that speak before a step starts, beside their plans and options."""

NO_INPUT_ERRORS = {"ValueError", "TypeError", "RuntimeError", "KeyError", "ImportError",
                   "OSError", "NotImplementedError"}
N_SCANS, T_R, SHAPE = 60, 2.0, (4, 4, 7)


# ------------------------------------------------------------------------------ sites in the source


@dataclass(frozen=True)
class Site:
    """One refusal, a raise statement or ``with explain_damage``: file, first and last line."""

    file: str
    first: int
    last: int


@functools.cache
def sites():
    """All places that refuse an input, by name of the function and their number in it."""
    found = {}
    for folder in FOLDERS:
        for path in sorted((PACKAGE / folder).rglob("*.py")):
            if path.stem in ("plan", "options") or str(path.relative_to(PACKAGE)) in PLANNING:
                continue
            tree = ast.parse(path.read_text(encoding="utf-8"))
            for name, first, last in _refusals(tree, path.stem):
                number = 1 + sum(key.startswith(f"{name}#") for key in found)
                found[f"{name}#{number}"] = Site(str(path), first, last)
    return found


def _refusals(node, name):
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.ClassDef):
            inside = child.name if isinstance(node, ast.Module) else f"{name}.{child.name}"
            yield from _refusals(child, inside)
            continue
        if isinstance(child, ast.Raise) and isinstance(child.exc, ast.Call):
            called = child.exc.func
            kind = called.id if isinstance(called, ast.Name) else called.attr
            if kind not in NO_INPUT_ERRORS:
                yield name, child.lineno, child.end_lineno
        if isinstance(child, ast.With) and any(
            isinstance(item.context_expr, ast.Call)
            and getattr(item.context_expr.func, "id", None) == "explain_damage"
            for item in child.items
        ):
            yield name, child.lineno, child.body[0].lineno - 1
        yield from _refusals(child, name)


# --------------------------------------------------------------------------------------- a dataset


class Data:
    """A small dataset, and options that a fault is made of."""

    def __init__(self, folder, monkeypatch):
        self.root, self.patch = folder / "data", monkeypatch
        self.rng = np.random.default_rng(0)
        self.groups = {"execution": {
            "bids_dir": self.root, "output_dir": folder / "out", "skip_bids_validation": True,
            "from_scratch": True,
        }}
        write_json(self.root / "dataset_description.json", {"Name": "x", "BIDSVersion": "1.9.0"})

    def set(self, group, **values):
        self.groups.setdefault(group, {}).update(values)
        return self

    def stem(self, run, top=None):
        return (top or self.root) / f"sub-01/func/sub-01_task-see_run-{run}"

    def put(self, path, *, shape=(*SHAPE, N_SCANS), data=None, affine=None):
        values = self.rng.normal(100, 10, shape).astype(np.float32) if data is None else data
        affine = np.diag([3.0, 3.0, 3.0, 1.0]) if affine is None else affine
        return save_nifti(path, values, affine, t_r=T_R if values.ndim == 4 else None)

    def raw(self, onsets=None, runs="123", **columns):
        onsets = 4.0 + 10.0 * np.arange(10) if onsets is None else onsets
        columns = columns or {"trial_type": ["a", "b"] * (len(onsets) // 2)}
        for run in runs:
            stem = str(self.stem(run))
            self.put(Path(stem + "_bold.nii.gz"))
            write_json(Path(stem + "_bold.json"), {"RepetitionTime": T_R, "TaskName": "see"})
            save_table(Path(stem + "_events.tsv"),
                       pd.DataFrame({"onset": onsets, "duration": 1.0, **columns}))
        return self

    def sidecars(self, top=None, **fields):
        for path in (top or self.root).rglob("*_bold.json"):
            write_json(path, {**json.loads(path.read_text()), **fields})
        return self

    def derived(self, shape=SHAPE, **confounds):
        self.raw()
        self.prep = self.root.parent / "prep"
        for run in "123":
            stem = str(self.stem(run, self.prep))
            space = f"{stem}_space-T1w"
            self.put(Path(f"{space}_desc-preproc_bold.nii.gz"), shape=(*shape, N_SCANS))
            write_json(Path(f"{space}_desc-preproc_bold.json"), {"RepetitionTime": T_R})
            self.put(Path(f"{space}_desc-brain_mask.nii.gz"), data=np.ones(shape, np.uint8))
            self.put(Path(f"{space}_boldref.nii.gz"), shape=shape)
            table = pd.DataFrame(self.rng.normal(size=(N_SCANS, 6)), columns=list(MOTION))
            save_table(Path(f"{stem}_desc-confounds_timeseries.tsv"), table)
        return self.set("execution", derivatives={"fmriprep": self.prep})

    def confounds(self, change):
        for path in self.prep.rglob("*confounds*.tsv"):
            table = pd.read_csv(path, sep="\t").astype(object)
            save_table(path, change(table))
        return self

    def betas(self, n_stimuli=12, shape=SHAPE, space="", affine=None):
        """Every stimulus in every run."""
        self.names = [f"s{i:02d}" for i in range(n_stimuli)]
        for run in "123":
            stem = str(self.stem(run)) + f"{space}_desc-singletrial"
            self.put(Path(stem + "_betaseries.nii.gz"), shape=(*shape, n_stimuli), affine=affine)
            save_table(Path(stem + "_trials.tsv"), pd.DataFrame({
                "stimulus": self.names, "label": ["a", "b"] * (n_stimuli // 2) + ["a"] *
                (n_stimuli % 2),
            }))
        return self.set("execution", derivatives={"betas": self.root})

    def features(self, vectors=None, names=None, file="features.tsv"):
        self.betas() if not hasattr(self, "names") else None
        names = self.names if names is None else names
        vectors = self.rng.normal(size=(len(names), 3)) if vectors is None else vectors
        path = self.root.parent / file
        if file.endswith(".tsv"):
            save_table(path, pd.DataFrame(vectors, columns=list("xyz")).assign(id=names)[
                ["id", *"xyz"]])
        return self.set("trials", features=path, target="features")

    def file(self, name, content):
        """A feature table of any content."""
        self.features(file=name)
        path = self.root.parent / name
        if callable(content):
            content(path)
        else:
            path.write_bytes(content)
        return self

    def pictures(self, **trials):
        self.betas()
        for name in self.names:
            pixels = self.rng.integers(0, 255, (16, 16, 3)).astype(np.uint8)
            path = self.root / "stimuli" / f"{name}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(pixels).save(path)
        return self.set("trials", target="image", **trials)

    def weights(self, encoder="clip", **files):
        """A folder of weights that an image encoder is given."""
        folder = self.root.parent / "weights"
        folder.mkdir(exist_ok=True)
        for name, content in files.items():
            path = folder / name.replace("__", ".").replace("_slash_", "/")
            path.parent.mkdir(exist_ok=True)
            if name.endswith("safetensors"):
                save_file({"x": np.zeros(2, np.float32)}, path)
            else:
                path.write_text(content)
        self.pictures(image_encoder=encoder, encoder_weights=folder)
        return self.set("reconstruction", method="none")

    def words(self, config):
        """A folder that is given in place of a feature table."""
        folder = self.betas().root.parent / "text"
        folder.mkdir()
        (folder / "config.json").write_text(config)
        save_file({"x": np.zeros(2, np.float32)}, folder / "model.safetensors")
        return self.set("trials", features=folder, stimulus_column="stimulus")

    def card(self, content):
        """A pretrained model with any card."""
        self.features().pretrained()
        path = self.groups["execution"]["pretrained"].with_suffix(".json")
        path.write_text(content)
        return self

    def pretrained(self, **targets):
        path = self.root.parent / "model" / "model.safetensors"
        path.parent.mkdir()
        save_file({"x": np.zeros(2, np.float32)}, path)
        write_json(path.with_suffix(".json"), {
            "stage_key": "k", "dataset": "other", "participants": ["9"], "decoder": "troi",
            "targets": targets,
        })
        return self.set("execution", pretrained=path, from_scratch=False)

    def plan(self):
        settings = default_settings(section_kinds()).replaced(**self.groups)
        return make_plan(settings, self.root.parent / "work")


def installed(data, module, *absent):
    """Let a module of the stimuli find all packages but some."""
    data.patch.setattr(sys.modules[f"bids_decoder.stimuli.{module}"], "find_spec",
                       lambda name: None if name in absent else name)
    return data


def strange_words(data):
    save_text_encoder = pytest.importorskip("tiny_text").save_text_encoder
    folder = save_text_encoder(data.root.parent / "text")
    return data.betas().set("trials", features=folder, stimulus_column="stimulus")


def network(data, **trials):
    return installed(data.pictures(image_encoder="torchvision:resnet18", **trials), "encoders")


def damaged_package(data):
    place = SimpleNamespace(origin=str(data.root / "__init__.py"))
    data.patch.setattr(weights, "find_spec", lambda name: place)
    return data.pictures(image_encoder="efficientnet-lite0")


def no_safetensors(data):
    path = data.root.parent / "x.safetensors"
    path.write_bytes(b"PK")
    return network(data, encoder_weights=path)


CONFIG = {"config__json": "{}", "preprocessor_config__json": "{}"}
SAFE = {"model__safetensors": ""}


def unclip(data, index='{"_class_name": "StableUnCLIPImg2ImgPipeline"}', **encoder):
    """A pipeline without weights to speak of, and a CLIP encoder."""
    data.weights(**{"config__json": json.dumps(encoder), "preprocessor_config__json": "{}"}, **SAFE)
    folder = data.root.parent / "pipeline"
    (folder / "image_encoder").mkdir(parents=True)
    (folder / "model_index.json").write_text(index)
    (folder / "image_encoder" / "config.json").write_text('{"projection_dim": 1024}')
    save_file({"x": np.zeros(2, np.float32)}, folder / "x.safetensors")
    data.set("trials", test_share=0.5)
    return installed(data, "unclip").set("reconstruction", method="unclip", weights=folder)


def masks_apart(data):
    data.derived()
    for number, path in enumerate(sorted(data.prep.rglob("*brain_mask.nii.gz"))):
        mask = np.zeros(SHAPE, np.uint8)
        mask[number] = 1
        data.put(path, data=mask)
    return data


def unequal_template(data):
    data.raw().set("preprocessing", output_spaces=("OASIS30ANTs:res-1",))
    files = iter([data.put(data.root.parent / "t1w.nii.gz", shape=(4, 4, 4)),
                  data.put(data.root.parent / "mask.nii.gz", shape=(4, 4, 5))])
    data.patch.setattr(templates, "_stored", lambda *args, **kwargs: next(files))
    return data


def damaged_picture(data):
    data.pictures()
    next((data.root / "stimuli").iterdir()).write_bytes(b"no picture")
    return data


def npz(**arrays):
    return lambda path: np.savez(path, **arrays)


def too_large(path):
    """Save ids whose header tells of more than any machine can hold."""
    with zipfile.ZipFile(path, "w") as archive, archive.open("ids.npy", "w") as stream:
        np.lib.format.write_array_header_1_0(
            stream, {"descr": "<U1", "fortran_order": False, "shape": (10 ** 15,)}
        )


def run_without_labels(data):
    """Labels are not decoded, so that a run may do without them."""
    names = [f"s{i}" for i in range(10)]
    data.raw(stim_id=names, trial_type=["a", "b"] * 5)
    path = Path(str(data.stem("3")) + "_events.tsv")
    table = pd.read_csv(path, sep="\t")
    save_table(path, table.assign(trial_type=None))
    data.names = names
    return data.features().set("glm", contrasts=("a - b",))


def labels_apart(data):
    data.raw(runs="1234")
    for run, labels in (("1", "ab"), ("2", "ab"), ("3", "cd"), ("4", "cd")):
        path = Path(str(data.stem(run)) + "_events.tsv")
        table = pd.read_csv(path, sep="\t")
        save_table(path, table.assign(trial_type=list(labels) * 5))
    return data.set("glm", contrasts=("a - c",))


# ------------------------------------------------------------------- what the plan finds, and where

PLAN = {
    # preprocessing
    "usable_slice_times#1": lambda d: d.raw().sidecars(SliceTiming=["x"] * 7),
    "usable_slice_times#2": lambda d: d.raw().sidecars(SliceTiming=[0.0, 1.0]),
    "usable_slice_times#3": lambda d: d.raw().sidecars(SliceTiming=[250.0 * i for i in range(7)]),
    "slice_axis#1": lambda d: d.raw().sidecars(
        SliceTiming=[0.2 * i for i in range(7)], SliceEncodingDirection="z"),
    "parse_space#1": lambda d: d.raw().set("preprocessing", output_spaces=("func:res-2",)),
    "_stored#1": lambda d: d.raw().set("preprocessing", output_spaces=("Atlantis",)),
    "_stored#2": lambda d: d.raw().set("preprocessing", output_spaces=("MNIPediatricAsym",)),
    "_stored#3": lambda d: d.raw().set("preprocessing", output_spaces=("OASIS30ANTs:res-1",)),
    "_load_stored#1": unequal_template,
    "common_mask#1": masks_apart,
    "check_grid#1": lambda d: d.betas(shape=(40, 1, 1)).set("troi", region="occipital"),
    "check_grid#2": lambda d: d.betas().set("troi", region="occipital"),
    "check_grid#3": lambda d: d.derived(shape=(5, 4, 3)).set("troi", region="occipital"),
    "occipital_mask#1": lambda d: d.betas(space="_space-MNI152NLin6Asym").set(
        "troi", region="occipital"),
    # glm
    "Timing.__post_init__#1": lambda d: d.derived().sidecars(d.prep, StartTime=-1.0),
    "select_confounds#1": lambda d: [p.unlink() for p in d.derived().prep.rglob("*confounds*")],
    "select_confounds#2": lambda d: d.derived().confounds(lambda t: t.iloc[1:]),
    "select_confounds#3": lambda d: d.derived().confounds(
        lambda t: t.mask(np.arange(len(t))[:, None] == np.full((1, 6), 5))),
    "choose_columns#1": lambda d: d.derived().confounds(lambda t: t.drop(columns="rot_z")),
    "_as_numbers#1": lambda d: d.derived().confounds(lambda t: t.assign(rot_z="much")),
    "check_freedom#1": lambda d: d.raw().set("timecourse", window=(-2.0, 60.0)),
    "parse_contrast#1": lambda d: d.raw().set("glm", contrasts=("a - zebra",)),
    "contrast_vectors#1": labels_apart,
    "RunTables.conditions#1": run_without_labels,
    "check_nuisance#1": lambda d: d.raw().set("glm", high_pass=0.24),
    "check_degrees_of_freedom#1": lambda d: d.raw(onsets=1.9 * np.arange(60)).set(
        "glm", estimator="lsa"),
    "get_estimator#1": lambda d: d.raw().set("glm", estimator="x"),
    "check_hrf#1": lambda d: d.raw().set("glm", hrf="x"),
    # targets and features
    "check_ids#1": lambda d: d.betas(n_stimuli=1).features(),
    "check_vectors#1": lambda d: d.features(np.repeat(np.eye(2, 3), 6, axis=0)),
    "read_features#1": lambda d: (d.root.parent / "features.tsv").unlink(d.features() is None),
    "read_features#2": lambda d: d.file("features.csv", b"id,x\n"),
    "read_features#3": lambda d: (d.betas(), d.features(names=["s00"] * 12)),
    "select_features#1": lambda d: (d.betas(), d.features(names=[f"t{i}" for i in range(12)])),
    "encode_words#1": lambda d: installed(d.words("{}"), "words", "transformers"),
    "choose_text_encoder#1": lambda d: d.words('{"model_type": "t5", "is_encoder_decoder": true}'),
    "_check_known#1": strange_words,
    "_read_tsv#1": lambda d: d.file("f.tsv", b"\t" * MAX_COLUMNS + b"\n"),
    "_read_tsv#2": lambda d: d.file("f.tsv", b"id\tx\na\t1\t2\n"),
    "_read_tsv#3": lambda d: d.file("f.tsv", b"id\na\n"),
    "_read_npz#1": lambda d: d.file("f.npz", too_large),
    "_read_npz#2": lambda d: d.file("f.npz", b"PK"),
    "_read_npz#3": lambda d: d.file("f.npz", npz(ids=np.ones(2, complex), vectors=np.eye(2))),
    "_read_safetensors#1": lambda d: d.file("f.safetensors", b"x"),
    "_read_safetensors#2": lambda d: d.file("f.safetensors", b"\x02" + bytes(7) + b"{x"),
    "_read_safetensors#3": lambda d: d.file("f.safetensors", lambda p: save_file(
        {"a": np.zeros(2, np.float32), "b": np.zeros(3, np.float32)}, p)),
    "load_picture#2": damaged_picture,
    # encoders and generators of pictures
    "parse_encoder#1": lambda d: d.pictures(image_encoder="x"),
    "parse_encoder#2": lambda d: d.pictures(image_encoder="timm"),
    "parse_encoder#3": lambda d: d.pictures(image_encoder="clip:x"),
    "choose_encoder#1": lambda d: d.pictures(encoder_weights=d.root),
    "choose_encoder#2": lambda d: installed(
        d.pictures(image_encoder="clip"), "encoders", "transformers"),
    "choose_encoder#3": lambda d: d.weights(
        "transformers", config__json='{"vision_config": {}}', preprocessor_config__json="{}",
        **SAFE),
    "read_config#1": lambda d: d.weights(
        config__json="[1]", preprocessor_config__json="{}", **SAFE),
    "find_folder#1": lambda d: d.pictures(image_encoder="clip"),
    "find_folder#2": lambda d: d.pictures(image_encoder="clip", encoder_weights=d.root / "none"),
    "find_folder#3": lambda d: d.weights(**CONFIG, model__bin="x"),
    "find_folder#4": lambda d: d.weights(**SAFE),
    "find_file#1": network,
    "find_file#2": lambda d: network(d, encoder_weights=d.root / "none.safetensors"),
    "find_file#3": lambda d: network(d, encoder_weights=d.root / "dataset_description.json"),
    "_check_format#1": no_safetensors,
    "_snapshot#1": lambda d: d.weights(snapshots_slash_a="", **CONFIG),
    "_digests#1": lambda d: d.weights(
        **CONFIG, **SAFE, SHA256SUMS=f"{'0' * 64}  model.safetensors\n"),
    "find_networks#1": lambda d: d.pictures(test_share=0.5).set(
        "reconstruction", metric_weights=d.root),
    "find_packaged#1": lambda d: installed(
        d.pictures(image_encoder="efficientnet-lite0"), "weights", weights.PACKAGE),
    "find_packaged#2": damaged_package,
    "find_pipeline#1": lambda d: installed(unclip(d), "unclip", "diffusers"),
    "find_pipeline#2": lambda d: unclip(d, index='{"_class_name": "Other"}'),
    "find_pipeline#3": lambda d: unclip(d).set(
        "trials", image_encoder="gabor", encoder_weights=None),
    "find_pipeline#4": lambda d: unclip(d, projection_dim=8),
    # decoders and encoding models
    "_read_card#1": lambda d: d.card("{}"),
    "check_decoder#1": lambda d: d.raw().set("network", decoder="x"),
    "check_selector#1": lambda d: d.raw().set("troi", selector="x"),
    "check_encoder#1": lambda d: d.raw().set("encoding", encoder="x"),
    "check_stimuli#1": lambda d: (d.betas(n_stimuli=8), d.features(), d.set(
        "encoding", encoder="ridge"), d.set("trials", test_share=0.5)),
}
"""Site -> what makes a plan reach it, of a dataset that is sound otherwise."""

LEFT_OUT = {"load_picture#2", "check_stimuli#1"}
"""Sites after which the call goes on without the trials or the step concerned, and says so."""

EARLIER = {
    "check_trials#1": (lambda d: d.raw(onsets=200.0 + np.arange(10)), "outside of the recording"),
    "load_picture#1": (lambda d: [p.unlink() for p in (d.pictures().root / "stimuli").iterdir()],
                       "stimulus image(s) absent"),
    "_encoded#1": (lambda d: [p.unlink() for p in (d.pictures().root / "stimuli").iterdir()],
                   "stimulus image(s) absent"),
    "check_same_targets#1": (lambda d: d.features().pretrained(kind="category"), "its target is"),
    "NetworkEncoder.inputs#1": (lambda d: d.features().set("encoding", encoder="etecrm"),
                                "have no picture"),
    "Decoder.picture_vectors#1": (lambda d: d.pictures().set("network", decoder="cnn3d"),
                                  "cannot decode image"),
    "Decoder.feature_vectors#1": (lambda d: d.features().set("network", decoder="cnn3d"),
                                  "cannot decode features"),
    "common_frame#1": (lambda d: d.betas(shape=(40, 1, 1)).set("network", decoder="cnn3d"),
                       "no positions in a volume"),
}
"""Site -> what would reach it, and what the plan says before."""

PICTURES = "pictures that cannot be read are found in the plan (load_picture#2) and left out"
MADE = "about arrays and tables that the program itself made"
WEIGHTS = "known only when a library has built the network and read all of its weights"
VOXELS = "depends on the values of all volumes"
MASKS = "depends on a brain mask that is computed"

ARRAYS = "what a caller from Python gives; the plan of --apply refuses such files itself"

COMPUTING = {
    "SingleTrialGLM._load#1": VOXELS, "_common_mask#1": VOXELS,
    "FindRegions._run_interface#1": VOXELS,
    "_voxels#1": "how many voxels a mask has on the grid of the responses is counted on reading",
    "save_layout#1": "a run whose responses have other rows was decoded from another series",
    "save_layout#2": "how many vertices a mesh has is counted on reading",
    "head_mask#1": "the reference image is a mean over volumes that are chosen by their values",
    "t1w_brain_mask#1": MASKS, "t1w_brain_mask#2": MASKS, "estimate_motion#1": MASKS,
    "to_template#1": "depends on a registration",
    "find_components#1": "what tedana refuses depends on the values of all volumes",
    "_checked_share#1": "depends on the voxels that vary in all runs",
    "_Backbone.__init__#1": WEIGHTS, "TorchvisionBackbone._headless#1": WEIGHTS,
    "load_weights#1": WEIGHTS, "load_model#1": WEIGHTS,
    "load_with#1": WEIGHTS, "_load#1": WEIGHTS, "_load#2": WEIGHTS,
    "import_library#1": "an installed package that cannot be imported is known on import only",
    "vision_models#1": "an installed package that cannot be imported is known on import only",
    "draw_latents#1": "the plan draws the same sets (can_be_calibrated); reached from Python",
    "check_runs#1": MADE, "_check#1": MADE, "event_times#1": MADE, "common_frame#2": MADE,
    "stacked#1": PICTURES, "load_grey#1": PICTURES,
    "GaborPyramid.encode#1": PICTURES,
    "FittedDecoder.scale#1": ARRAYS, "FittedDecoder.scale#2": ARRAYS,
    "FittedDecoder.scale#3": ARRAYS, "Decoder.without_trials#1": ARRAYS,
    "decoder_without_trials#1": ARRAYS, "candidates_of#1": ARRAYS,
    "decoder_without_trials#2": ARRAYS,
    "decoder_without_trials#3": "depends on the voxels that vary in all runs",
    "Painter.restore#1": "the plan of --apply finds the painter by its name beside the decoder",
    "FittedDecoder.probabilities#1": ARRAYS, "check_usable#1": ARRAYS, "check_usable#2": ARRAYS,
    "bring_to_decoder#1": "depends on masks and a registration that are computed",
    "_factorise#1": "the plan demands a shrinkage that makes every covariance definite",
    "Kernels.penalise#1": "a penalty above 0 makes every kernel definite",
}
"""Site -> why the plan cannot know."""

SETTINGS = {
    "get_estimator#2": ("glm", "noise_model"),
}
"""Site -> the setting whose type admits no such value."""


def test_every_refusal_is_accounted_for():
    known = [*PLAN, *EARLIER, *COMPUTING, *SETTINGS]
    assert len(known) == len(set(known))
    assert set(sites()) == set(known)


@pytest.fixture
def data(tmp_path, monkeypatch):
    return Data(tmp_path, monkeypatch)


@pytest.fixture
def raised(monkeypatch):
    """Places in the package from which errors are made, as (file, line)."""
    made = set()
    init = BidsDecoderError.__init__

    def recording(self, *args, **kwargs):
        frame = sys._getframe(1)
        while frame is not None:
            made.add((frame.f_code.co_filename, frame.f_lineno))
            frame = frame.f_back
        init(self, *args, **kwargs)

    monkeypatch.setattr(BidsDecoderError, "__init__", recording)
    return made


@pytest.mark.slow
@pytest.mark.parametrize("name", PLAN)
def test_the_plan_reaches_the_refusal(data, raised, name):
    site = sites()[name]
    PLAN[name](data)
    if name in LEFT_OUT:
        data.plan()
    else:
        with pytest.raises(BidsDecoderError) as caught:
            data.plan()
        assert caught.value.code in (64, 65, 66), caught.value
    assert any(file == site.file and site.first <= line <= site.last for file, line in raised)


def test_a_region_has_no_volume_where_voxels_have_no_positions(data):
    data.betas(shape=(40, 1, 1)).set("troi", budget_mm3=300.0)
    with pytest.raises(BidsDecoderError, match="no volume") as caught:
        data.plan()
    assert caught.value.code == 64
    data.set("troi", budget_mm3=None, budget_voxels=30)
    data.plan()


@pytest.mark.slow
@pytest.mark.parametrize("name", EARLIER)
def test_the_plan_refuses_before(data, name):
    make, message = EARLIER[name]
    make(data)
    with pytest.raises(FindingsError) as caught:
        data.plan()
    assert message in str(caught.value)


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_admit_no_such_value(name):
    group, setting = SETTINGS[name]
    with pytest.raises(UsageError):
        settings_from_dict({group: {setting: "x"}})


@pytest.mark.parametrize("make", [Data.raw, Data.derived, Data.betas, Data.features, Data.pictures])
def test_the_dataset_is_sound_otherwise(data, make):
    make(data)
    assert data.plan().steps
