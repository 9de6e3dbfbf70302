"""Write requirements.hashes.lock: the packages of requirements.lock with the hashes of their files.

``lock_hashes.py`` after each change of requirements.lock; it asks the package index through
``uv``, which has to be installed. PyTorch is left out, because its builds for CPUs and for each
CUDA have hashes of their own.
"""

from __future__ import annotations

import subprocess
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PLATFORMS = ("x86_64-manylinux_2_28", "aarch64-manylinux_2_28")
PYTHON = "3.11"
"""Of the image."""
HEADER = """# requirements.lock with hashes: what the image is built from (Linux, Python 3.11).
# Made by scripts/lock_hashes.py. Without PyTorch, whose builds have hashes of their own.
"""


def main() -> None:
    """Resolve nothing: look up the files of the locked versions, and write their hashes."""
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    wanted = [line for line in lines if line and not line.startswith(("#", "torch=="))]
    hashes: dict[str, list[str]] = {line: [] for line in wanted}
    spelled = {_normal(line): line for line in wanted}
    for platform in PLATFORMS:
        for package in _locked(wanted, platform):
            line = spelled[_normal(f"{package['name']}=={package['version']}")]
            hashes[line] += [digest for digest in _digests(package) if digest not in hashes[line]]
    text = "".join(
        " \\\n    ".join([line, *(f"--hash=sha256:{digest}" for digest in hashes[line])]) + "\n"
        for line in wanted
    )
    (ROOT / "requirements.hashes.lock").write_text(HEADER + text, encoding="utf-8")


def _normal(line: str) -> str:
    name, version = line.split("==")
    return f"{name.lower().replace('_', '-')}=={version}"


def _locked(wanted: list[str], platform: str) -> list[dict]:
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "requirements.in"), Path(folder, "pylock.toml")
        source.write_text("\n".join(wanted), encoding="utf-8")
        subprocess.run(
            ["uv", "pip", "compile", "--quiet", "--no-deps", "--format", "pylock.toml",
             "--python-version", PYTHON, "--python-platform", platform, "-o", target, source],
            check=True,
        )
        return tomllib.loads(target.read_text(encoding="utf-8"))["packages"]


def _digests(package: dict) -> list[str]:
    """Give the hashes of the wheels; that of the source only where there is no wheel."""
    files = package.get("wheels") or [package["sdist"]]
    return [file["hashes"]["sha256"] for file in files]


if __name__ == "__main__":
    main()
