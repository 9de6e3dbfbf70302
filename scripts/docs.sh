#!/usr/bin/env bash
# Build the documentation site into docs/_build/html, offline once everything is installed.
# Warnings are errors.
#
#   scripts/docs.sh [OPTIONS OF SPHINX]     see scripts/install.sh for settings
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export VENV=${VENV:-$here/.venv}

bash "$here/scripts/install.sh"
"$VENV/bin/python" -m pip install --quiet --editable "$here[docs]"
"$VENV/bin/python" -m sphinx -b html -W --keep-going "$@" "$here/docs" "$here/docs/_build/html"
echo "Open docs/_build/html/index.html"
