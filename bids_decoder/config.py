"""Settings of one call: frozen dataclasses, written as TOML; :mod:`.config_files` reads them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

from bids_decoder.files import write_text

LEVELS = ("participant", "group")
REGIONS = ("brain", "occipital")
"""Values of ``Troi.region`` that are no path of a mask file."""


@dataclass(frozen=True)
class Execution:
    """Where things are and which of them are wanted."""

    bids_dir: Path = Path()
    output_dir: Path = Path()
    analysis_level: tuple[str, ...] = ("participant",)
    work_dir: Path | None = None
    derivatives: dict[str, Path] = field(default_factory=dict)
    bids_database_dir: Path | None = None
    bids_filter_file: Path | None = None
    skip_bids_validation: bool = False
    participant_label: tuple[str, ...] = ()
    session_id: tuple[str, ...] = ()
    task_id: tuple[str, ...] = ()
    run_id: tuple[str, ...] = ()
    participant_filter: tuple[str, ...] = ()
    session_filter: tuple[str, ...] = ()
    stage: tuple[str, ...] = ()
    holdout_label: tuple[str, ...] = ()
    leave_one_out: bool = False
    pretrained: Path | None = None
    require_pretrained: bool = False
    from_scratch: bool = False
    allow_seen: bool = False
    clean_workdir: bool = False
    stop_on_first_crash: bool = False
    write_graph: bool = False

    def wants(self, *stages: str) -> bool:
        """Return whether one of these stages is part of the call; without a choice all are."""
        return not self.stage or bool(set(self.stage) & set(stages))


@dataclass(frozen=True)
class TrialRules:
    """How rows of events files become trials and what is decoded from them."""

    target: Literal["auto", "category", "image", "features", "value"] = "auto"
    stimulus_column: str | None = None
    label_column: str | None = None
    value_column: tuple[str, ...] = ()
    trial_filter: tuple[str, ...] = ()
    relabel: tuple[str, ...] = ()
    trial_unit: Literal["auto", "event", "block", "volume"] = "auto"
    features: Path | None = None
    stimuli_dir: Path | None = None
    image_encoder: str = "auto"
    encoder_weights: Path | None = None
    near_duplicates: Literal["report", "merge", "stop"] = "report"
    test_runs: tuple[str, ...] = ()
    test_sessions: tuple[str, ...] = ()
    split_column: str | None = None
    protocol: str | None = None
    test_share: float = 0.2
    controls: tuple[str, ...] = ()
    kept_columns: tuple[str, ...] = ()
    confound_removal: Literal["none", "regress", "counterbalance"] = "none"
    new_data: bool = False


@dataclass(frozen=True)
class Preprocessing:
    """From raw volumes to aligned BOLD."""

    output_spaces: tuple[str, ...] = ("func",)
    ignore: tuple[str, ...] = ()
    use_syn_sdc: Literal["no", "warn", "error"] = "no"
    dummy_scans: int | None = None
    discarded_volumes: int | None = None
    slice_time_ref: float = 0.5
    fd_threshold: float = 0.5
    dvars_threshold: float = 1.5


@dataclass(frozen=True)
class Glm:
    """From BOLD to one response per trial."""

    estimator: str = "ridge"
    hrf: str = "spm"
    high_pass: float = 1 / 128
    confounds: tuple[str, ...] = ("motion",)
    noise_model: Literal["ols", "ar1"] = "ols"
    contrasts: tuple[str, ...] = ()
    normalise: Literal["session", "run"] = "session"


@dataclass(frozen=True)
class Network:
    """The decoder network and how it is trained."""

    decoder: str = "troi"
    trunk: Literal["residual", "linear"] = "linear"
    hidden: int = 0
    n_blocks: int = 2
    dropout: float = 0.15
    pretrain_epochs: int = 0
    finetune_epochs: int = 0
    batch_size: int = 24
    learning_rate: float = 3e-4
    weight_decay: float = 1e-2
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    n_seeds: int = 1
    mixco_alpha: float = 0.15
    source_voxels: Literal["signal", "encoding", "reliability", "all"] = "signal"
    target_whitening: float | None = None
    group_prior: bool = True
    prior: Literal["none", "regression", "diffusion"] = "none"
    mix_prior_target: bool = False


@dataclass(frozen=True)
class Troi:
    """Selection of voxels on the training trials of one person."""

    selector: str = "graded"
    budget_voxels: int | None = None
    budget_mm3: float | None = None
    region: str = "brain"
    epochs: int = 15
    lowpass_fwhm_mm: float | None = None
    spatial_prior: Literal["auto", "never"] = "auto"
    stage2: Literal["reinit", "lr_rewind", "none"] = "reinit"
    stage2_trunk: Literal["frozen", "lora", "full"] = "frozen"


@dataclass(frozen=True)
class Volumes:
    """Networks that read whole volumes (deeplight, cnn3d); 0 stands for the published value."""

    variant: Literal["2d", "3d"] = "2d"
    kernel: Literal["3x3x3", "3x3x6", "slices"] = "3x3x3"
    optimizer: Literal["adadelta", "adam"] = "adam"
    pretrain_epochs: int = 0
    epochs: int = 0
    batch_size: int = 0
    learning_rate: float = 0.0
    patience: int = 10
    window: Literal["2d", "3d"] = "3d"
    explained_trials: int = 20


@dataclass(frozen=True)
class Evaluation:
    """How held-out trials are scored."""

    pool_size: int = 300
    n_draws: int = 30
    n_permutations: int = 1000
    n_refits: int | None = None
    csls_neighbours: int = 3
    ablations: bool = False

    def count_refits(self, default: int) -> int:
        """Return how often everything is fitted again under cross-validation."""
        return default if self.n_refits is None else self.n_refits


@dataclass(frozen=True)
class Resources:
    """What the machine may give."""

    nprocs: int = 0
    omp_nthreads: int = 0
    mem_gb: float = 0.0
    low_mem: bool = False
    device: str = "auto"
    plugin_file: Path | None = None


class Section:
    """Base of the settings that belong to one analysis.

    Subclasses are frozen dataclasses and name their table in the TOML file::

        @dataclass(frozen=True)
        class Encoding(Section, table="encoding"):
            encoder: str | None = None
    """

    table: ClassVar[str]

    def __init_subclass__(cls, *, table: str, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.table = table


SectionT = TypeVar("SectionT", bound=Section)


@dataclass(frozen=True)
class Settings:
    """Everything that decides what a call does; nothing else does.

    The fields here are shared by all analyses; what belongs to one analysis is a
    :class:`Section`, found with :meth:`section`.
    """

    execution: Execution = field(default_factory=Execution)
    trials: TrialRules = field(default_factory=TrialRules)
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    glm: Glm = field(default_factory=Glm)
    network: Network = field(default_factory=Network)
    troi: Troi = field(default_factory=Troi)
    volumes: Volumes = field(default_factory=Volumes)
    evaluation: Evaluation = field(default_factory=Evaluation)
    resources: Resources = field(default_factory=Resources)
    random_seed: int = 20250201
    sections: Mapping[str, Section] = field(default_factory=dict)

    def section(self, kind: type[SectionT]) -> SectionT:
        """Return the settings of one analysis; defaults where none were set.

        Parameters
        ----------
        kind : type
            Subclass of :class:`Section`.
        """
        found = self.sections.get(kind.table)
        return found if isinstance(found, kind) else kind()

    def to_dict(self) -> dict[str, Any]:
        """Return plain values (text for paths, lists for tuples), without unset options."""
        content = _plain(self)
        return content | content.pop("sections")

    def to_toml(self, path: Path) -> Path:
        """Write the settings as TOML, atomically."""
        import tomli_w

        return write_text(path, tomli_w.dumps(self.to_dict()))

    def replaced(self, **groups: dict[str, Any]) -> Settings:
        """Return a copy with some fields of some groups changed.

        Groups are fields of this class or tables of sections that are set.
        """
        sections, changed = dict(self.sections), {}
        for name, values in groups.items():
            if name in sections:
                sections[name] = dataclasses.replace(sections[name], **values)
            else:
                changed[name] = dataclasses.replace(getattr(self, name), **values)
        return dataclasses.replace(self, sections=sections, **changed)


def default_settings(kinds: Iterable[type[Section]]) -> Settings:
    """Return the defaults, with a section of each kind."""
    return Settings(sections={kind.table: kind() for kind in kinds})


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        pairs = ((f.name, getattr(value, f.name)) for f in dataclasses.fields(value))
        return {name: _plain(item) for name, item in pairs if item is not None}
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
