"""Nodes of learning curves: read files, call numerical code, write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    SimpleInterface,
    TraitedSpec,
    isdefined,
    traits,
)

from bids_decoder.analyses.learning.amounts import Amounts
from bids_decoder.analyses.learning.fits import (
    hits_of_subset,
    read_hits,
    save_hits,
    stack_sizes,
)
from bids_decoder.analyses.learning.measuring import Design, measure_curves
from bids_decoder.analyses.learning.outputs import (
    CURVE,
    FITTED,
    FITTED_CURVE,
    NEEDED,
    NEEDS,
)
from bids_decoder.bids.writer import read_table, save_table
from bids_decoder.evaluation.subsets import keep_runs
from bids_decoder.interfaces.fitting import PersonalInterface, PersonInputSpec
from bids_decoder.interfaces.person_outputs import PersonOutputs, WriteInputSpec, WriteInterface
from bids_decoder.interfaces.progress import log_progress
from bids_decoder.interfaces.responses import TABLE, load_sides, read_trials
from bids_decoder.interfaces.targets import read_targets
from bids_decoder.trials import Person, Targets


class _SubsetsInputSpec(PersonInputSpec):
    draw = traits.Int(mandatory=True)
    runs = traits.List(traits.Str(), mandatory=True, desc="training runs, in order of addition")
    sizes = traits.List(traits.Int, mandatory=True, desc="numbers of the first runs to train on")
    pool_size = traits.Int(mandatory=True, desc="of retrieval")


class _SubsetsOutputSpec(TraitedSpec):
    hits_file = File(exists=True)


class FitSubsets(PersonalInterface):
    """Decode the test trials of one fold after training on nested subsets of the other runs."""

    input_spec = _SubsetsInputSpec
    output_spec = _SubsetsOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        targets = read_targets(inputs.targets_file)
        decoder, pretrained = self._decoder(), self._pretrained(targets)
        progress = log_progress(
            f"learning curve, fold {inputs.fold}, order {inputs.draw + 1}", unit="subset"
        )
        found, sides = [], []
        for number, size in enumerate(inputs.sizes, start=1):
            sides.append(self._sides(targets, inputs.runs[:size]))
            found.append(hits_of_subset(
                decoder, sides[-1], targets, pretrained, self._context(), inputs.pool_size
            ))
            progress(number, len(inputs.sizes))
        hits = stack_sizes(inputs.fold, inputs.draw, found, sides, targets)
        self._results["hits_file"] = str(save_hits(Path(runtime.cwd) / "hits.npz", hits))
        return runtime

    def _sides(self, targets: Targets, runs: list[str]) -> tuple[Person, Person]:
        inputs, folder = self.inputs, Path(self.inputs.folder)
        trials = keep_runs(read_trials(folder / TABLE), inputs.fold, runs)
        return load_sides(folder, inputs.participant, trials, targets, inputs.normalise)


class _MeasureInputSpec(BaseInterfaceInputSpec):
    key = traits.Str(desc="key of the stage")
    hits_files = traits.List(File(exists=True), mandatory=True, desc="of all folds and draws")
    sizes = traits.List(traits.Int, mandatory=True, desc="numbers of training runs")
    amounts = traits.Dict(mandatory=True, desc="fields of amounts.Amounts")
    kind = traits.Str(mandatory=True, desc="kind of the targets")
    pool_size = traits.Int(mandatory=True, desc="of retrieval")
    target = traits.Float(desc="headline score whose need is asked for")
    seed = traits.Int(mandatory=True)


class _MeasureOutputSpec(TraitedSpec):
    curve_file = File(exists=True)
    fitted_file = File(exists=True)
    needs_file = File(exists=True)


class MeasureCurves(SimpleInterface):
    """Compute the curves of all folds together, and fit them."""

    input_spec = _MeasureInputSpec
    output_spec = _MeasureOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        inputs, folder = self.inputs, Path(runtime.cwd)
        design = Design(
            list(inputs.sizes), Amounts(**inputs.amounts), inputs.kind, inputs.pool_size,
            inputs.target if isdefined(inputs.target) else None, inputs.seed,
        )
        measured = measure_curves([read_hits(path) for path in inputs.hits_files], design)
        for name, table in measured._asdict().items():
            self._results[f"{name}_file"] = str(save_table(folder / f"{name}.tsv", table))
        return runtime


class _WriteInputSpec(WriteInputSpec):
    curve_file = File(exists=True, mandatory=True)
    fitted_file = File(exists=True, mandatory=True)
    needs_file = File(exists=True, mandatory=True)
    facts = traits.Dict(mandatory=True, desc="for the sidecars")


class WriteCurves(WriteInterface):
    """Write the curves, their fits and the needs."""

    input_spec = _WriteInputSpec

    def _write(self, outputs: PersonOutputs) -> None:
        inputs = self.inputs
        for key, path, columns in (
            ("curve_metrics", inputs.curve_file, CURVE),
            (FITTED_CURVE, inputs.fitted_file, FITTED),
            (NEEDED, inputs.needs_file, NEEDS),
        ):
            outputs.table(key, read_table(Path(path)), columns, dict(inputs.facts))
