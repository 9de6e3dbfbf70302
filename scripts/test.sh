#!/usr/bin/env bash
# Install into a virtual environment and run the tests.
#
#   scripts/test.sh [PYTEST OPTIONS]      see scripts/install.sh for settings
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export VENV=${VENV:-$PWD/.venv}

bash scripts/install.sh requirements-test.lock
exec "$VENV/bin/python" -m pytest "$@"
