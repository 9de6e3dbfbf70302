"""A model of other participants applied to a new one without labelled trials, as a call."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from app_calls import no_reports
from PIL import Image

from bids_decoder.analyses.apply.finding import find_decoder, read_decoder_card
from bids_decoder.analyses.apply.outputs import ANSWERS, METRICS, RELIABILITY
from bids_decoder.bids.writer import save_nifti, save_table
from bids_decoder.cli.parser import parse_args
from bids_decoder.cli.plan import make_plan
from bids_decoder.cli.run import main
from bids_decoder.errors import FindingsError, InputError
from bids_decoder.files import write_json
from bids_decoder.interfaces.responses import ARRAY, TABLE, read_trials
from bids_decoder.models.store import load_model
from bids_decoder.reports.results import Results
from bids_decoder.stimuli import words
from bids_decoder.training.common_space import CommonMaps

SPACE, LABELS, SHAPE = "MNI152NLin6Asym", ("cat", "dog", "fox"), (7, 6, 5)
AFFINE = np.diag([3.0, 3.0, 3.0, 1.0])
N_RUNS, PER_RUN = 4, 12


def write_people(folder, people, labels_of=lambda label: label, space=SPACE, shape=SHAPE):
    """Beta series in which people prefer the same labels at the same places; the true labels."""
    write_json(folder / "dataset_description.json", {
        "Name": "shared", "BIDSVersion": "1.9.0", "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "test"}],
    })
    patterns = np.random.default_rng(0).normal(size=(len(LABELS), *shape))
    true = []
    for person in people:
        rng = np.random.default_rng(int(person))
        for run in range(1, N_RUNS + 1):
            rows = rng.permutation(PER_RUN) % len(LABELS)
            betas = rng.normal(size=(*shape, PER_RUN))
            betas += 0.4 * np.moveaxis(patterns[rows], 0, -1)
            place = f"_space-{space}" if space else ""
            stem = f"{folder}/sub-{person}/func/sub-{person}_task-see_run-{run}{place}"
            save_nifti(Path(f"{stem}_desc-singletrial_betaseries.nii.gz"),
                       betas.astype(np.float32), AFFINE)
            names = np.array(LABELS)[rows]
            table = pd.DataFrame({"onset": np.arange(PER_RUN) * 5.0, "duration": 1.0})
            given = [labels_of(name) for name in names]
            if any(given):
                table["label"] = given
                table["stimulus"] = given
            save_table(Path(f"{stem}_desc-singletrial_trials.tsv"), table)
            true += names.tolist()
    return np.array(true)


def compute(words):
    """Call without reports."""
    with no_reports():
        return main(words)


def words_for(data, out, level, *words):
    return [str(data), str(out), level, "--skip-bids-validation", "--device", "cpu",
            "--nprocs", "1", "-d", f"betas={data}", *map(str, words)]


@pytest.fixture(scope="module")
def top(tmp_path_factory):
    return tmp_path_factory.mktemp("zero-shot")


@pytest.fixture(scope="module")
def group(top):
    write_people(top / "data", ["01", "02", "03"])
    assert compute(words_for(top / "data", top / "group", "group", "--target", "category")) == 0
    return top / "group"


def test_a_new_person_is_decoded_without_labels(top, group):
    true = write_people(top / "new", ["04"], lambda label: None)
    assert main(words_for(top / "new", top / "out", "participant", "--apply", group,
                          "-w", top / "work")) == 0
    results = Results(top / "out", "04")
    table = results.table(ANSWERS)
    assert len(table) == len(true) and (table["top1"] == true).mean() > 0.7
    assert results.table(METRICS) is None
    assert results.card(RELIABILITY)["CalibrationSource"] == "other participants"
    assert results.card(ANSWERS)["SourceParticipants"] == 3
    page = (top / "out" / "sub-04.html").read_text(encoding="utf-8")
    assert "zero-shot" in page and "Distance from the training" not in page
    methods = (top / "out" / "logs" / "CITATION.md").read_text(encoding="utf-8")
    assert "input layers of 3 participants" in methods
    _same_as_in_python(top, group, table)


def _same_as_in_python(top, group, table):
    """The evidence in the table is what the maps say of z-scored responses."""
    (folder,) = {path.parent for path in (top / "work").rglob(ARRAY)}
    betas, trials = np.load(folder / ARRAY), read_trials(folder / TABLE)
    assert len(betas) == len(trials) == len(table)
    model = load_model(next((group / "group").glob("*desc-pretrained_model.safetensors")))
    maps = CommonMaps.restore(model.card["common"], model.part("common"))
    scaled = (betas - betas.mean(axis=0)) / betas.std(axis=0)
    space = model.part("space")
    gallery = (np.eye(3) - space["mean"]) @ space["components"].T * space["scale"]
    gallery /= np.linalg.norm(gallery, axis=1, keepdims=True)
    expected = scaled @ maps.layer_of(maps.grid) @ gallery.T
    found = table[[f"score_{name}" for name in LABELS]].astype(float).to_numpy()
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.999


@pytest.fixture
def refused(tmp_path, group):
    def plan(*words, **how):
        write_people(tmp_path / "d", ["05"], **how)
        settings, _ = parse_args(words_for(tmp_path / "d", tmp_path / "out", "participant",
                                           "--apply", group, *words))
        with pytest.raises(FindingsError) as caught:
            make_plan(settings, tmp_path / "work")
        (found,) = [f for f in caught.value.findings if f.severity == "error"]
        return found.why

    return plan


def test_only_shared_places_can_be_decoded(refused):
    assert "these responses are in no standard space" in refused(space="")


def test_containers_have_no_places(refused):
    assert "these voxels have no positions" in refused(shape=(210, 1, 1))


def test_there_are_no_statistics_of_training(refused):
    assert "has no training trials" in refused("--apply-scaling", "training")


def test_people_of_the_model_are_refused(top, group, tmp_path):
    settings, _ = parse_args(words_for(top / "data", tmp_path / "out", "participant", "--apply",
                                       group, "--participant-label", "02"))
    with pytest.raises(FindingsError) as caught:
        make_plan(settings, tmp_path / "work")
    (found,) = [f for f in caught.value.findings if f.severity == "error"]
    assert "it was pretrained on sub-02" in found.why and "--holdout-label 02" in found.fix
    path = find_decoder(group, "02")
    with pytest.raises(InputError, match="pretrained on sub-02"):
        read_decoder_card(path, "02", "shared")
    # Somebody else, of another dataset.
    assert read_decoder_card(path, "02", "another")["use"]["participant"] == "02"


def test_people_of_the_model_are_recognised_under_other_names(top, group, tmp_path):
    for path in (top / "data" / "sub-02").rglob("*"):
        name = str(path.relative_to(top / "data")).replace("sub-02", "sub-55")
        if path.is_file():
            target = tmp_path / "d" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    write_json(tmp_path / "d" / "dataset_description.json", {
        "Name": "renamed", "BIDSVersion": "1.9.0", "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "test"}],
    })
    settings, _ = parse_args(words_for(tmp_path / "d", tmp_path / "out", "participant", "--apply",
                                       group))
    with pytest.raises(FindingsError) as caught:
        make_plan(settings, tmp_path / "work")
    (found,) = [f for f in caught.value.findings if f.severity == "error"]
    assert f"{N_RUNS} of these runs are training runs of it" in found.why
    assert "a copy of sub-02 task-see_run-1" in found.why and found.code == 65


N_PICTURES = 16


def write_viewers(folder, people, numbers, name="viewers"):
    """Beta series of people with one code of pictures of nine squares, and the pictures."""
    write_json(folder / "dataset_description.json", {
        "Name": name, "BIDSVersion": "1.9.0", "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "test"}],
    })
    colours = np.random.default_rng(3).uniform(0, 255, (2 * N_PICTURES, 3, 3, 3))[numbers]
    names = [f"p{number:02d}.png" for number in numbers]
    (folder / "stimuli").mkdir(parents=True)
    for file, squares in zip(names, colours, strict=True):
        picture = Image.fromarray(squares.astype(np.uint8))
        picture.resize((48, 48), Image.Resampling.NEAREST).save(folder / "stimuli" / file)
    tuning = np.random.default_rng(4).normal(size=(27, *SHAPE)) / 8
    patterns = np.tensordot((colours.reshape(len(names), -1) - 127) / 74, tuning, 1)
    for person in people:
        rng = np.random.default_rng(int(person))
        for run in range(1, N_RUNS + 1):
            order = rng.permutation(len(names))
            betas = np.moveaxis(patterns[order], 0, -1) + rng.normal(size=(*SHAPE, len(names)))
            stem = f"{folder}/sub-{person}/func/sub-{person}_task-see_run-{run}_space-{SPACE}"
            save_nifti(Path(f"{stem}_desc-singletrial_betaseries.nii.gz"),
                       betas.astype(np.float32), AFFINE)
            save_table(Path(f"{stem}_desc-singletrial_trials.tsv"), pd.DataFrame({
                "onset": np.arange(len(names)) * 5.0, "duration": 1.0,
                "stimulus": np.array(names)[order],
            }))
    return folder


def test_pictures_of_a_new_person_are_found_without_training(top):
    seen = np.arange(N_PICTURES)
    data = write_viewers(top / "viewed", ["01", "02", "03"], seen)
    out, encoder = top / "viewed-group", ("--image-encoder", "gabor")
    assert compute([*words_for(data, out, "group", "--target", "image"), *encoder,
                    "--stimuli-dir", str(data / "stimuli")]) == 0
    new = write_viewers(top / "viewed-new", ["09"], seen + N_PICTURES, "others")
    applied = top / "viewed-out"
    words = [*words_for(new, applied, "participant", "--apply", out), *encoder,
             "--stimuli-dir", str(new / "stimuli"), "--n-permutations", "99"]
    assert main(words) == 0
    results = Results(applied, "09")
    table, metrics = results.table(ANSWERS), results.table(METRICS)
    assert len(table) == N_RUNS * N_PICTURES and set(table["was_trained"]) == {"False"}
    assert (table["top1"] == table["stimulus"]).mean() > 3 / N_PICTURES
    row = metrics.query("metric == 'top1' and direction == 'b2i' and unit == 'averaged' "
                        "and similarity == 'cosine'").iloc[0]
    assert float(row["p"]) < 0.05 and int(row["pool_size"]) == N_PICTURES
    assert results.card(ANSWERS)["ZeroShot"] and results.card(ANSWERS)["Target"] == "image"
    _check_candidates(top, out, new, encoder)


def _check_candidates(top, out, new, encoder):
    """Without images of the stimuli, those of a gallery are the candidates; one is needed."""
    bare = words_for(new, top / "viewed-bare", "participant", "--apply", out, *encoder)
    shutil.move(new / "stimuli", top / "elsewhere")
    with pytest.raises(FindingsError) as caught:
        make_plan(parse_args(bare)[0], top / "work2")
    (found,) = [f for f in caught.value.findings if f.severity == "error"]
    assert "no images are there to choose among" in found.why
    made = make_plan(parse_args([*bare, "--apply-gallery", str(top / "elsewhere")])[0],
                     top / "work2")
    (spec,) = [job.spec for job in made.jobs if job.analysis == "apply"]
    assert not spec.pictures.stimuli and len(spec.pictures.gallery) == N_PICTURES


def test_feature_tables_of_a_new_person_are_searched_without_training(top):
    numbers = np.arange(N_PICTURES)
    vectors = np.random.default_rng(3).uniform(0, 255, (2 * N_PICTURES, 27)) / 100
    table = pd.DataFrame(vectors).rename(columns=str)
    table.insert(0, "stimulus", [f"p{number:02d}.png" for number in range(2 * N_PICTURES)])
    data = write_viewers(top / "listed", ["01", "02", "03"], numbers)
    features = save_table(top / "features.tsv", table)
    out, given = top / "listed-group", ("--features", features)
    assert compute(words_for(data, out, "group", "--target", "features", *given)) == 0
    new = write_viewers(top / "listed-new", ["09"], numbers + N_PICTURES, "others")
    words = words_for(new, top / "listed-out", "participant", "--apply", out)
    assert main([*words, *map(str, given), "--n-permutations", "99"]) == 0
    results = Results(top / "listed-out", "09")
    found, metrics = results.table(ANSWERS), results.table(METRICS)
    assert set(found["was_trained"]) == {"False"} and set(found["top1"]) <= set(found["stimulus"])
    assert (found["top1"] == found["stimulus"]).mean() > 3 / N_PICTURES
    assert results.card(ANSWERS)["Target"] == "features"
    assert set(metrics["pool_size"].astype(int)) <= {2, N_PICTURES}
    short = save_table(top / "short.tsv", table.iloc[:, :5])
    for more, why in ((), "holds none to choose among"), (
        ("--features", short), "its vectors have 4 numbers, and it was pretrained on vectors of 27"
    ):
        with pytest.raises(FindingsError) as caught:
            make_plan(parse_args([*words, *map(str, more)])[0], top / "work3")
        (finding,) = [f for f in caught.value.findings if f.severity == "error"]
        assert why in finding.why and finding.code == 65


def test_words_of_a_text_encoder_are_candidates(top, monkeypatch):
    """Labels that nobody was trained on are found by their words, which are encoded once."""
    encoder = pytest.importorskip("tiny_text").save_text_encoder(top / "text")
    loads = []
    inner = words.encode_words
    monkeypatch.setattr(words, "encode_words", lambda *given: loads.append(1) or inner(*given))
    named = dict(zip(LABELS, ("cat", "face", "shoe"), strict=True))
    write_people(top / "worded", ["01", "02", "03"], named.get)
    write_people(top / "worded-new", ["09"], named.get)
    given = ("--target", "features", "--features", encoder)
    assert compute(words_for(top / "worded", top / "worded-group", "group", *given)) == 0
    loads.clear()
    call = words_for(top / "worded-new", top / "worded-out", "participant",
                     "--apply", top / "worded-group")
    plan = make_plan(parse_args([*call, "--features", str(encoder)])[0], top / "work4")
    (spec,) = [job.spec for job in plan.jobs if job.analysis == "apply"]
    assert spec.pictures.features.ids == ("cat", "face", "shoe") and len(loads) == 1
    table = pd.DataFrame(np.eye(3, 16)).rename(columns=str)
    table.insert(0, "stimulus", list(named.values()))
    other = save_table(top / "words.tsv", table)
    with pytest.raises(FindingsError) as caught:
        make_plan(parse_args([*call, "--features", str(other)])[0], top / "work4")
    assert "vectors are from a table, and it was pretrained on those from words-" in str(
        caught.value.findings[0].why
    )
    write_people(top / "nameless-new", ["09"], lambda name: None)
    nameless = words_for(top / "nameless-new", top / "worded-out", "participant", "--apply",
                         top / "worded-group", "--features", str(encoder))
    with pytest.raises(FindingsError) as caught:
        make_plan(parse_args(nameless)[0], top / "work4")
    (finding,) = [one for one in caught.value.findings if one.severity == "error"]
    assert "choose among: 0" in finding.why and "name the stimuli" in finding.fix


def test_feature_tables_are_refused_where_labels_are_decoded(refused, tmp_path):
    table = save_table(tmp_path / "f.tsv", pd.DataFrame({"id": ["cat", "dog"], "x": [0, 1]}))
    assert "it decodes category" in refused("--features", table)
