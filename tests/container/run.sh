#!/usr/bin/env bash
# Build the unchanged Dockerfile and singularity.def, and use the images as clusters do: any
# user, read-only root, no network, no home.
#
#   tests/container/run.sh [STEP...]     all steps for which the machine has a program, or these:
#       build, quick, whole, twice, memory, tests     of the image that Docker or Podman builds
#       sif, sif-quick, sif-whole                     of the one that Apptainer builds
#
# ENGINE         docker or podman              (default: the first that answers)
# APPTAINER      apptainer or singularity      (default: the first that is found)
# TAG            name of the image             (default: bids_decoder:test)
# WORK           folder for results and logs, kept      (default: below TMPDIR)
# DATA           a real BIDS dataset to decode in `whole`; without it only the demo is run
# BUILD_OPTIONS, SIF_OPTIONS     more words for the two builds
# SQUASH         how the .sif is compressed: lz4 takes seconds, the default minutes
#
# Where no registry of images can be reached: tests/container/offline.sh.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit
ROOT=$PWD
TAG=${TAG:-bids_decoder:test}
WORK=${WORK:-${TMPDIR:-/tmp}/bids_decoder-containers}
SIF=$WORK/bids_decoder.sif
ANY_USER=12345:12345
n_failed=0
mkdir -p "$WORK"
LOG=$WORK/last-$$.log

find_engine() {
    local name
    for name in ${ENGINE:-docker podman}; do
        if command -v "${name%% *}" >/dev/null && $name info >/dev/null 2>&1; then
            echo "$name"
            return
        fi
    done
}
find_apptainer() {
    local name
    for name in ${APPTAINER:-apptainer singularity}; do
        if command -v "$name" >/dev/null; then
            echo "$name"
            return
        fi
    done
}

# check WANTED_STATUS NAME [TEXT...] -- COMMAND...: the output must hold each TEXT
check() {
    local wanted=$1 name=$2 status=0 texts=() text problem=
    shift 2
    while [ "$1" != -- ]; do
        texts+=("$1")
        shift
    done
    shift
    local began=$SECONDS
    "$@" >"$LOG" 2>&1 </dev/null || status=$?
    [ "$status" = "$wanted" ] || problem="exit code $status, not $wanted"
    for text in "${texts[@]}"; do
        grep -qF -- "$text" "$LOG" || problem="$problem; no line with: $text"
    done
    if [ -z "$problem" ]; then
        echo "PASS $name ($((SECONDS - began)) s)"
    else
        echo "FAIL $name: ${problem#; }"
        tail -25 "$LOG" | sed 's/^/    /'
        n_failed=$((n_failed + 1))
    fi
}

# A folder of results that this user owns.
fresh() {
    rm -rf "${WORK:?}/$1"
    mkdir -p "$WORK/$1"
    chown "$2" "$WORK/$1" 2>/dev/null || chmod 777 "$WORK/$1"
}

fresh_if_absent() { [ -d "$WORK/$1" ] || fresh "$1" "$2"; }

# What a hardened site allows. Podman would otherwise invent a name and a home for the user.
RUN=(run --rm --network none --read-only --cap-drop all --security-opt no-new-privileges)
USE=(--tmpfs /tmp --user "$ANY_USER")
engine() { "$ENGINE_FOUND" "$@"; }
prepare_engine() {
    if [ "$(basename "$ENGINE_FOUND")" = podman ]; then
        RUN+=(--passwd=false --read-only-tmpfs=false)
    fi
}

build() {
    check 0 "build of the Dockerfile" -- engine_build
    engine images "$TAG" | tail -1
}
engine_build() {
    # shellcheck disable=SC2086  # BUILD_OPTIONS are words
    engine build ${BUILD_OPTIONS:-} -t "$TAG" "$ROOT"
}

quick() {
    local box=("${RUN[@]}" "${USE[@]}") version data=$WORK/small
    version=$(sed -n 's/^ARG VERSION=//p' Dockerfile)
    fresh out $ANY_USER
    fresh_if_absent small $ANY_USER
    check 0 "--version" "bids_decoder $version" -- engine "${box[@]}" "$TAG" --version
    check 0 "start-up five times" -- five_times engine "${box[@]}" "$TAG" --version
    check 0 "/version and the label" "$version" "$version" -- \
        engine "${box[@]}" --entrypoint cat "$TAG" /version
    check 0 "labels" org.opencontainers.image.version org.label-schema.schema-version -- \
        engine inspect "$TAG"
    check 0 "no user of that number in the image" "uid=12345 gid=12345" -- \
        engine "${box[@]}" --entrypoint id "$TAG"
    check 1 "no network" "OSError" -- engine "${box[@]}" --entrypoint /opt/bids_decoder/bin/python \
        "$TAG" -c 'import socket; socket.create_connection(("192.0.2.1", 80), 3)'
    check 64 "a wrong option" "fix:" -- engine "${box[@]}" "$TAG" /data /out participant --nothing
    check 0 "a small dataset" -- engine "${box[@]}" -v "$data:/small" --entrypoint /opt/bids_decoder/bin/python "$TAG" -c "$MAKE_SMALL"
    box+=(-v "$data:/data:ro")
    check 64 "--device cuda without a GPU" "--gpus all" "--nv" "--device cpu" -- \
        engine "${box[@]}" -v "$WORK/out:/out" "$TAG" /data /out participant --from-scratch \
        --device cuda
    check 73 "an output folder of somebody else" "nothing can be written to /out" "--user" -- \
        engine "${box[@]}" -v "$data:/out:ro" "$TAG" /data /out participant --from-scratch
    check 0 "limits of processors and memory" "resources: 1 process(es), 1.9 GB" -- \
        engine "${box[@]}" --cpus 1 --memory 2g --memory-swap 2g -v "$WORK/out:/out" "$TAG" \
        /data /out participant --from-scratch --dry-run
    check 0 "nothing writable but the output" "finished successfully" -- \
        engine "${RUN[@]}" --user $ANY_USER -e HOME=/nonexistent -v "$data:/data:ro" \
        -v "$WORK/out:/out" "$TAG" /data /out participant --from-scratch --nprocs 2
    check 0 "the user and the writable root of the image" "nothing to compute" -- \
        engine run --rm --user $ANY_USER -v "$data:/data:ro" -v "$WORK/out:/out" "$TAG" \
        /data /out participant --from-scratch
}
MAKE_SMALL='
import pathlib, shutil
from bids_decoder.simulate.dataset import write_category_dataset
folder = pathlib.Path("/small")
if not list(folder.iterdir()):
    write_category_dataset(pathlib.Path("/tmp/small"), n_participants=2, seed=1, n_runs=3)
    shutil.copytree("/tmp/small", folder, dirs_exist_ok=True)
'
five_times() {
    local began=$EPOCHREALTIME _
    for _ in 1 2 3 4 5; do
        "$@" || return
    done
    echo "$began $EPOCHREALTIME" | awk '{printf "%.2f s each\n", ($2 - $1) / 5}'
}

whole() {
    local box=("${RUN[@]}" "${USE[@]}" -e HOME=/nonexistent)
    fresh demo $ANY_USER
    check 0 "the demo" "finished successfully" "group.html" -- \
        engine "${box[@]}" -v "$WORK/demo:/out" "$TAG" --demo /out
    check 0 "the demo again" "nothing to compute" -- \
        engine "${box[@]}" -v "$WORK/demo:/out" "$TAG" --demo /out
    if [ -z "${DATA:-}" ]; then
        echo "SKIP real data: DATA names no dataset"
        return
    fi
    fresh real $ANY_USER
    check 0 "real data" "finished successfully" -- engine "${box[@]}" -v "$DATA:/data:ro" \
        -v "$WORK/real:/out" "$TAG" /data /out participant --from-scratch
}

# Two participants at once into one folder: what stands at the top and in the tables must be
# the same, file by file, as when one follows the other.
twice() {
    local box=("${RUN[@]}" "${USE[@]}" -v "$WORK/small:/data:ro") round=0
    fresh apart $ANY_USER
    for label in 01 02; do
        check 0 "sub-$label alone" "finished successfully" -- one_of apart "$label"
    done
    while [ $((round += 1)) -le 4 ]; do
        fresh together $ANY_USER
        one_of together 01 >"$WORK/first.log" 2>&1 &
        check 0 "round $round: sub-02" "finished successfully" -- one_of together 02
        wait $!
        check 0 "round $round: sub-01" "finished successfully" -- \
            sh -c "cat '$WORK/first.log'; exit $?"
        check 0 "round $round: the same files" -- same_results apart together
    done
}
one_of() {
    engine "${box[@]}" -v "$WORK/$1:/out" "$TAG" /data /out participant --from-scratch \
        --nprocs 1 --participant-label "$2"
}
# Not compared: logs, and reports, which hold times.
same_results() {
    diff -r --exclude=logs --exclude='*.html' --exclude=work "$WORK/$1" "$WORK/$2"
    [ -z "$(find "$WORK/$2" -name '.tmp-*' -o -name '*.lock')" ]
}

# Memory that runs out, and signals: the message, the code, and the call that goes on.
memory() {
    local box=("${RUN[@]}" "${USE[@]}" -v "$WORK/small:/data:ro" -v "$WORK/small-out:/out")
    local call=("$TAG" /data /out participant --from-scratch) n
    for n in 1 2; do
        fresh small-out $ANY_USER
        check 1 "too little memory, $n process(es)" "killed" "usually the memory ran out" \
            "fix: give more memory" -- engine "${box[@]}" --memory 500m --memory-swap 500m \
            "${call[@]}" --nprocs "$n"
        check 0 "no lock is left" -- test -z "$(ls -A "$WORK/small-out/logs/locks" 2>/dev/null)"
        check 0 "the same call with more" "finished successfully" -- engine "${box[@]}" \
            --memory 3g --memory-swap 3g "${call[@]}" --nprocs "$n"
    done
    fresh small-out $ANY_USER
    check 75 "SIGTERM" "stopped (SIGTERM)" "run the same command again" -- stopped "${call[@]}"
    check 0 "the same call again" "finished successfully" -- engine "${box[@]}" "${call[@]}"
}
stopped() {
    local name=bids_decoder_stopped_$$ status
    engine "${box[@]}" --name $name "$@" &
    local waited=0
    until [ -d "$WORK/small-out/logs/locks/01" ] || [ $((waited += 1)) -gt 600 ]; do
        sleep 0.2
    done
    sleep 2
    engine kill --signal TERM $name >/dev/null
    wait $!
}

# Tests of the package with the image's Python and libraries; pytest comes from outside.
tests() {
    local tools=$WORK/test-tools
    [ -d "$tools/pytest" ] || python3 -m pip install -q --no-deps --target "$tools" \
        -r requirements-test.lock
    # shellcheck disable=SC2086
    check 0 "tests of the package" " passed" -- engine "${RUN[@]}" "${USE[@]}" -e HOME=/nonexistent \
        -v "$ROOT:/src:ro" -v "$tools:/tools:ro" -e PYTHONPATH=/tools -e PYTHONDONTWRITEBYTECODE=1 \
        -w /src --entrypoint /opt/bids_decoder/bin/python "$TAG" -P -m pytest -q -p no:cacheprovider \
        ${TESTS:-tests/bids tests/cli tests/evaluation tests/glm tests/models tests/stimuli}
    tail -3 "$LOG"
}

sif() {
    check 0 "build of singularity.def" -- sif_build
    du -sh "$SIF"
    check 0 "its own test" -- "$APPTAINER_FOUND" test --cleanenv "$SIF"
    check 0 "its help" "--nv" -- "$APPTAINER_FOUND" run-help "$SIF"
}

# From a copy of what git tracks; with BASE_ARCHIVE the base comes from that file.
sif_build() (
    rm -rf "$WORK/source"
    mkdir "$WORK/source"
    git ls-files -z | tar -c --null -T - | tar -x -C "$WORK/source"
    cd "$WORK/source" || exit
    if [ -n "${BASE_ARCHIVE:-}" ]; then
        sed -i -e '1s#.*#Bootstrap: docker-archive#' -e "2s#.*#From: $BASE_ARCHIVE#" singularity.def
    fi
    # shellcheck disable=SC2086
    "$APPTAINER_FOUND" build --force ${SIF_OPTIONS:-} \
        ${SQUASH:+--mksquashfs-args "-comp $SQUASH"} "$SIF" singularity.def
)

SIF_BOX=(run --cleanenv --containall --no-home --net --network none)
sif-quick() {
    local user data=$WORK/small leak=$WORK/leak
    user=$($APPTAINER_FOUND exec "$SIF" id -u)
    mkdir -p "$leak/numpy"
    fresh_if_absent small "$user"
    echo 'raise ImportError("PYTHONPATH of the host")' >"$leak/numpy/__init__.py"
    fresh out "$user"
    local call=(-B "$data:/data:ro" -B "$WORK/out:/out" "$SIF" /data /out participant --from-scratch)
    [ -n "$(ls -A "$data")" ] || check 0 "a small dataset" -- "$APPTAINER_FOUND" exec --no-home \
        -B "$data:/small" "$SIF" /opt/bids_decoder/bin/python -c "$MAKE_SMALL"
    check 0 "--version" "bids_decoder" -- "$APPTAINER_FOUND" "${SIF_BOX[@]}" "$SIF" --version
    check 0 "start-up five times" -- five_times "$APPTAINER_FOUND" "${SIF_BOX[@]}" "$SIF" --version
    check 64 "--device cuda without a GPU" "--nv" -- \
        "$APPTAINER_FOUND" "${SIF_BOX[@]}" "${call[@]}" --device cuda
    check 0 "contained, clean environment, no home, no network" "finished successfully" -- \
        "$APPTAINER_FOUND" "${SIF_BOX[@]}" "${call[@]}" --nprocs 2
    check 0 "PYTHONPATH of the host" "nothing to compute" -- \
        env PYTHONPATH="$leak" "$APPTAINER_FOUND" run -B "$data:/data:ro" -B "$WORK/out:/out" \
        -B "$leak:$leak" "$SIF" /data /out participant --from-scratch
    check 73 "an output folder that is read only" "nothing can be written to /out" -- \
        "$APPTAINER_FOUND" "${SIF_BOX[@]}" -B "$data:/data:ro" -B "$WORK/out:/out:ro" "$SIF" \
        /data /out participant --from-scratch
}

sif-whole() {
    local user
    user=$($APPTAINER_FOUND exec "$SIF" id -u)
    fresh sif-demo "$user"
    check 0 "the demo" "finished successfully" -- "$APPTAINER_FOUND" "${SIF_BOX[@]}" \
        -B "$WORK/sif-demo:/out" "$SIF" --demo /out
    if [ -z "${DATA:-}" ]; then
        echo "SKIP real data: DATA names no dataset"
        return
    fi
    fresh sif-real "$user"
    check 0 "real data" "finished successfully" -- "$APPTAINER_FOUND" "${SIF_BOX[@]}" \
        -B "$DATA:/data:ro" -B "$WORK/sif-real:/out" "$SIF" /data /out participant --from-scratch
}

ENGINE_FOUND=$(find_engine)
APPTAINER_FOUND=$(find_apptainer)
steps=("$@")
if [ $# -eq 0 ]; then
    if [ -n "$ENGINE_FOUND" ]; then
        steps+=(build quick whole twice memory tests)
    else
        echo "SKIP the Dockerfile: neither docker nor podman answers on this machine"
    fi
    if [ -n "$APPTAINER_FOUND" ]; then
        steps+=(sif sif-quick sif-whole)
    else
        echo "SKIP singularity.def: neither apptainer nor singularity is installed"
    fi
fi
if [ ${#steps[@]} -eq 0 ]; then
    echo "NOTHING WAS CHECKED: install Docker, Podman or Apptainer" >&2
    exit 77
fi
prepare_engine
for step in "${steps[@]}"; do
    printf '\n=== %s (%s s)\n' "$step" "$SECONDS"
    "$step"
done
printf '\n=== %s s, %s failed\n' "$SECONDS" "$n_failed"
[ "$n_failed" -eq 0 ]
