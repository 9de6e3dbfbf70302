"""Retrieval among a gallery for one participant, as a workflow."""

from __future__ import annotations

from dataclasses import asdict

from nipype.interfaces.utility import IdentityInterface
from nipype.pipeline.engine import Node, Workflow

from bids_decoder.analyses.fitting import fit_inputs, n_threads, output_of_decoder
from bids_decoder.analyses.gallery.interfaces import SearchGallery, WriteGallery
from bids_decoder.analyses.gallery.plan import GallerySpec
from bids_decoder.analyses.jobs import Job
from bids_decoder.markers import StageKey
from bids_decoder.seeds import derive_seed
from bids_decoder.workflows.shared import BASE_GB, image_vectors_node, mark_node, response_gb
from bids_decoder.workflows.wiring import Wiring
from bids_decoder.workflows.work import Work, person_entities


def build(job: Job, wiring: Wiring) -> None:
    """Add the search of one participant; the gallery is encoded once per call."""
    spec: GallerySpec = job.spec
    vectors = wiring.once("gallery", "targets_file", lambda: image_vectors_node(
        wiring.work, spec.images, "gallery", tuple(spec.images)
    ))
    wiring.add_person(
        init_gallery_wf(wiring.work, spec, job.key, job.name), spec.person.label,
        gallery_file=vectors, model_file=output_of_decoder(job, wiring, f"{spec.fold}/model_file"),
        heldout_files=output_of_decoder(job, wiring, "heldout_files"),
    )


def init_gallery_wf(work: Work, spec: GallerySpec, key: StageKey, name: str) -> Workflow:
    """Wire the search among the gallery and its outputs.

    Parameters
    ----------
    work : Work
    spec : GallerySpec
    key : StageKey
    name : str

    Returns
    -------
    Workflow
        ``inputnode``: ``targets_file``, ``folder`` (responses), ``gallery_file`` (vectors),
        ``model_file``, ``heldout_files``.
    """
    workflow, person = Workflow(name), spec.person
    fields = ["targets_file", "folder", "gallery_file", "model_file", "heldout_files"]
    inputnode = Node(IdentityInterface(fields), "inputnode")
    # The seed of the decoding scores, so that pools and draws are the same.
    seed = derive_seed(work.settings.random_seed, "score", person.label)
    search = Node(
        SearchGallery(
            **fit_inputs(work, key, seed), participant=person.label, fold=spec.fold,
            evaluation=asdict(work.settings.evaluation),
        ),
        "search", mem_gb=response_gb(person), n_procs=n_threads(work),
    )
    shown = {**work.targets.images, **spec.images}
    write = Node(
        WriteGallery(
            key=key.key, output_dir=str(work.output_dir), entities=person_entities(person),
            card=dict(spec.card), images={name: str(path) for name, path in shown.items()},
        ),
        "write", mem_gb=BASE_GB,
    )
    mark = mark_node(work, key, "mark_gallery")
    workflow.connect([
        (inputnode, search, [(field, field) for field in fields]),
        (search, write, [
            (name, name) for name in ("metrics_file", "gallery_file", "nulls_file")
        ]),
        (write, mark, [("out_files", "out_files")]),
    ])
    return workflow
