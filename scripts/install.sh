#!/usr/bin/env bash
# Make, or reuse, a virtual environment with the tested versions and this checkout in it.
#
#   scripts/install.sh [LOCK...]      more lock files to install, as requirements-test.lock
#
# VENV         the environment                  (default: .venv in this checkout)
# PYTHON       Python 3.11 to 3.13 to make it  (default: the first that is found)
# TORCH_SPEC   what pip installs for PyTorch    (default: the version in requirements.lock)
# TORCH_INDEX  where pip looks for it           (default: where it looks for everything), for
#              instance https://download.pytorch.org/whl/cpu for the small build without CUDA
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

VENV=${VENV:-$PWD/.venv}
TORCH_SPEC=${TORCH_SPEC:-$(grep '^torch==' requirements.lock)}
LOCKS=(requirements.lock "$@")

stop() {
    printf 'install.sh: %s\n    why: %s\n    fix: %s\n' "$@" >&2
    exit 1
}

find_python() {
    local name
    for name in ${PYTHON:-python3.11 python3.12 python3.13 python3}; do
        if "$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then
            command -v "$name"
            return
        fi
    done
    stop "no Python found" "Python 3.11, 3.12 or 3.13 is needed (looked for ${PYTHON:-python3})" \
        "install it, or name it: PYTHON=/path/to/python3.11"
}

# The same locks, torch, interpreter and place need no second installation.
wanted=$(cat "${LOCKS[@]}" setup.cfg pyproject.toml && echo "$TORCH_SPEC ${TORCH_INDEX:-} $PWD")
stamp=$VENV/installed-from
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && "$VENV/bin/python" -c ''; then
    exit 0
fi

if ! "$VENV/bin/python" -m pip --version >/dev/null 2>&1; then
    python=$(find_python)
    "$python" -m venv --clear "$VENV" ||
        stop "no virtual environment in $VENV" "$python -m venv failed" \
            "install the package python3-venv of your system, or set VENV to a writable folder"
fi

pip() { "$VENV/bin/python" -m pip --disable-pip-version-check "$@"; }
# To compile all files takes as long as to install them. Python compiles what is imported when it
# is imported first, unless it may not write what it compiled.
options=(--quiet)
if [ -z "${PYTHONDONTWRITEBYTECODE:-}" ]; then options+=(--no-compile); fi
# torch comes first: the other packages then take the build that is there.
pip install "${options[@]}" ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} "$TORCH_SPEC" ||
    stop "$TORCH_SPEC was not installed" \
        "pip did not get it from ${TORCH_INDEX:-its index}; what it says is above" \
        "check the network, and the address in TORCH_INDEX if you gave one"
pip install "${options[@]}" -r <(grep -hv '^torch==' "${LOCKS[@]}")
pip install --quiet --no-deps --no-build-isolation --editable .
printf '%s\n' "$wanted" >"$stamp"
