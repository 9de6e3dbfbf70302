#!/usr/bin/env bash
# Build wheel and sdist into dist/, check them, and write the bill of materials of an environment.
#
#   scripts/build.sh
#
# VENV     the environment that the bill of materials describes; without it none is written
# PYTHON   Python that builds   (default: python3)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
"${PYTHON:-python3}" -m venv "$tools"
"$tools/bin/python" -m pip install --quiet build==1.6.1 twine==7.0.0
rm -rf dist
"$tools/bin/python" -m build --outdir dist .
"$tools/bin/python" -m twine check --strict dist/*
if [ -n "${VENV:-}" ]; then
    "$tools/bin/python" -m pip install --quiet cyclonedx-bom==7.5.0
    "$tools/bin/cyclonedx-py" environment "$VENV/bin/python" --of JSON -o dist/sbom.cdx.json
fi
