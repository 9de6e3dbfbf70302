#!/usr/bin/env bash
# Install into a virtual environment and run the demo: a small dataset is made, pretrained on
# and decoded. It needs no root, no GPU and no data.
#
#   scripts/demo.sh [FOLDER] [OPTIONS]    (default: demo); see scripts/install.sh for settings
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export VENV=${VENV:-$here/.venv}

folder=demo
if [ $# -gt 0 ] && [ "${1#-}" = "$1" ]; then
    folder=$1
    shift
fi

bash "$here/scripts/install.sh"
"$VENV/bin/python" -m bids_decoder --demo "$folder" "$@"
echo "Open the reports in $folder/derivatives: group.html and sub-*.html"
