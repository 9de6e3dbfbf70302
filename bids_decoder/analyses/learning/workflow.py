"""Learning curve of one participant, as a workflow: one node per fold and draw, then the curves."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from nipype.interfaces.utility import IdentityInterface
from nipype.pipeline.engine import Node, Workflow

from bids_decoder.analyses.fitting import fit_inputs, n_threads
from bids_decoder.analyses.jobs import Job
from bids_decoder.analyses.learning.interfaces import FitSubsets, MeasureCurves, WriteCurves
from bids_decoder.analyses.learning.options import LearningCurve
from bids_decoder.analyses.learning.plan import CurveSpec
from bids_decoder.markers import StageKey
from bids_decoder.seeds import derive_seed
from bids_decoder.workflows.shared import BASE_GB, gather, mark_node, response_gb
from bids_decoder.workflows.wiring import Wiring
from bids_decoder.workflows.work import Work, person_entities


def build(job: Job, wiring: Wiring) -> None:
    """Add the learning curve of one participant to the workflow of the call."""
    spec: CurveSpec = job.spec
    workflow = init_learning_wf(wiring.work, spec, job.key, job.name)
    given = {"targets_file": wiring.targets(), "folder": wiring.responses(spec.person.label)}
    if spec.pretrained is not None:
        made = wiring.find(f"model/{spec.pretrained.name}")
        if made is None:
            workflow.inputs.inputnode.pretrained_file = str(spec.pretrained)
        else:
            given["pretrained_file"] = made
    wiring.add(workflow, **given)


def init_learning_wf(work: Work, spec: CurveSpec, key: StageKey, name: str) -> Workflow:
    """Wire the fits to subsets, the curves and their outputs.

    Parameters
    ----------
    work : Work
    spec : CurveSpec
    key : StageKey
    name : str

    Returns
    -------
    Workflow
        ``inputnode``: ``targets_file``, ``folder`` (responses), ``pretrained_file`` (where there
        is pretraining).
    """
    workflow, person = Workflow(name), spec.person
    fields = ["targets_file", "folder"] + ["pretrained_file"] * (spec.pretrained is not None)
    inputnode = Node(IdentityInterface(fields), "inputnode")
    fits = [
        _fit_node(work, spec, key, fold, draw)
        for fold, orders in spec.subsets.orders.items() for draw in range(len(orders))
    ]
    for node in fits:
        workflow.connect([(inputnode, node, [(field, field) for field in fields])])
    measure = Node(_measure_interface(work, spec, key), "measure", mem_gb=BASE_GB)
    write = Node(
        WriteCurves(
            key=key.key, output_dir=str(work.output_dir), entities=person_entities(person),
            card=dict(spec.card), facts=_facts(work, spec),
        ),
        "write", mem_gb=BASE_GB,
    )
    gather(workflow, fits, "hits_file", measure, "hits_files")
    mark = mark_node(work, key, "mark_learning")
    files = ("curve_file", "fitted_file", "needs_file")
    workflow.connect([
        (measure, write, [(field, field) for field in files]),
        (write, mark, [("out_files", "out_files")]),
    ])
    return workflow


def _fit_node(work: Work, spec: CurveSpec, key: StageKey, fold: int, draw: int) -> Node:
    label, sizes = spec.person.label, list(spec.subsets.sizes)
    # The seed of the decoder of this fold, so that all runs give the decoder that is reported.
    seed = derive_seed(work.settings.random_seed, "decode", label, fold)
    order, largest = spec.subsets.orders[fold][draw], sizes[-1]
    if draw and largest == len(order):
        # The first draw has been trained on all runs.
        sizes = sizes[:-1]
    node = FitSubsets(
        **fit_inputs(work, key, seed), participant=label, fold=fold, draw=draw, runs=list(order),
        sizes=sizes, pool_size=work.settings.evaluation.pool_size,
    )
    return Node(
        node, f"fit_fold{fold}_order{draw}", mem_gb=response_gb(spec.person),
        n_procs=n_threads(work),
    )


def _measure_interface(work: Work, spec: CurveSpec, key: StageKey) -> MeasureCurves:
    settings = work.settings
    interface = MeasureCurves(
        key=key.key, sizes=list(spec.subsets.sizes), amounts=asdict(spec.amounts),
        kind=work.targets.kind, pool_size=settings.evaluation.pool_size,
        seed=derive_seed(settings.random_seed, "learning", spec.person.label),
    )
    target = settings.section(LearningCurve).target
    if target is not None:
        interface.inputs.target = target
    return interface


def _facts(work: Work, spec: CurveSpec) -> dict[str, Any]:
    """Return what the sidecars say of the data behind the curves."""
    amounts, subsets = spec.amounts, spec.subsets
    return {
        "RunsNow": amounts.runs_now, "TrialsPerRun": amounts.trials_per_run,
        "MinutesPerRun": amounts.minutes_per_run, "MinutesFrom": amounts.minutes_from,
        "Sizes": list(subsets.sizes), "Orders": subsets.n_draws, "Folds": len(subsets.orders),
        "Pretrained": spec.pretrained is not None, "Seed": work.settings.random_seed,
    }
