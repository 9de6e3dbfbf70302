#!/usr/bin/env bash
# Install the locked versions and run the demo on each Python that is found.
#
#   scripts/pythons.sh [VERSION...]     (default: 3.11 3.12 3.13); see scripts/install.sh for settings
#
# FOLDER   environments and results   (default: a temporary folder, removed at the end)
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

versions=("$@")
[ $# -gt 0 ] || versions=(3.11 3.12 3.13)
if [ -z "${FOLDER:-}" ]; then
    FOLDER=$(mktemp -d)
    trap 'rm -rf "$FOLDER"' EXIT
fi

tested=()
for version in "${versions[@]}"; do
    if ! python=$(command -v "python$version"); then
        echo "python$version: not found, skipped"
        continue
    fi
    PYTHON=$python VENV=$FOLDER/venv-$version bash "$here/scripts/demo.sh" "$FOLDER/demo-$version"
    test -f "$FOLDER/demo-$version/derivatives/group.html"
    tested+=("$version")
done
if [ ${#tested[@]} = 0 ]; then
    echo "none of these Pythons was found: ${versions[*]}" >&2
    exit 1
fi
echo "the demo runs on Python ${tested[*]}"
