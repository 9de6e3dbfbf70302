#!/usr/bin/env bash
# Install into a virtual environment and run the tests.
#
#   scripts/test.sh [PYTEST OPTIONS]      see scripts/install.sh for settings
#
# WORKERS   processes that run tests side by side   (default: 2)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export VENV=${VENV:-$PWD/.venv}

# The suite starts hundreds of processes: what they import is compiled once, not in each of them.
unset PYTHONDONTWRITEBYTECODE
bash scripts/install.sh requirements-test.lock
# Tests of one file share their datasets, so that a file stays in one process. The numerical
# libraries get one thread each: processes share the machine already.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
exec "$VENV/bin/python" -m pytest -n "${WORKERS:-2}" --dist loadfile --no-loadscope-reorder \
    "$@"
