"""Choose the device: the one asked for, or an error; never a silent fallback."""

from __future__ import annotations

from bids_decoder.errors import ExitCode, UsageError
from bids_decoder.trials import Decision

_FIX = (
    "start the container with 'docker run --gpus all' or 'apptainer run --nv', check the driver "
    "with nvidia-smi, or use --device cpu"
)


def resolve_device(wanted: str) -> tuple[str, Decision]:
    """Turn ``auto``, ``cpu``, ``cuda`` or ``cuda:N`` into an available device.

    Parameters
    ----------
    wanted : str

    Returns
    -------
    str, Decision
        ``cpu``, ``cuda`` or ``cuda:N``.

    Raises
    ------
    UsageError
        When a GPU was asked for and none can be used.
    """
    if wanted == "cpu":
        return "cpu", Decision("device", "cpu", "asked for")
    import torch

    usable = torch.cuda.is_available()
    if wanted == "auto":
        if usable:
            return "cuda", Decision("device", "cuda", "auto; a usable GPU is there")
        return "cpu", Decision("device", "cpu", "auto; no usable GPU is there")
    count = torch.cuda.device_count() if usable else 0
    number = int(wanted.split(":")[1]) if ":" in wanted else 0
    if number >= count:
        built = torch.version.cuda or "no CUDA"
        raise UsageError(
            f"--device {wanted}", f"{count} usable GPU(s) found; PyTorch was built for {built}",
            _FIX, ExitCode.USAGE,
        )
    return wanted, Decision("device", wanted, f"asked for; {count} GPU(s) are there")
