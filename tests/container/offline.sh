#!/usr/bin/env bash
# The same as run.sh on a Debian machine where nothing but Debian's and Python's packages can be
# fetched: no registry of images, no Docker. As root.
#
#   tests/container/offline.sh [STEP...]      steps and settings as in run.sh
#
# Podman and Buildah are installed; the base image is made from Debian's packages and given the
# name that the Dockerfile asks for; Apptainer comes from Debian unstable and lives in a root
# folder of its own. The machine's settings of pip and its certificates are mounted for the
# build, never copied; the recipes stay as they are, but for the first two lines of
# singularity.def.
#
# WORK     as in run.sh; images, base and Apptainer are kept there too
# WHEELS   a folder of wheels that pip shall look into as well, for instance one with PyTorch
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export WORK=${WORK:-${TMPDIR:-/tmp}/bids_decoder-containers}
export TAG=${TAG:-localhost/bids_decoder:test}
BASE=$(sed -n 's/^ARG BASE=//p' "$here/../../Dockerfile")
WHEELS=${WHEELS:-${PIP_FIND_LINKS:-}}
mkdir -p "$WORK/bin"
say() { printf '\n=== %s (%s s)\n' "$*" "$SECONDS"; }

install_tools() {
    say "podman, buildah, mmdebstrap"
    if command -v podman buildah mmdebstrap runc >/dev/null; then return; fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends buildah podman runc conmon mmdebstrap \
        >"$WORK/tools.log" 2>&1 || { tail "$WORK/tools.log"; return 1; }
}

# podman with a store of its own, so that nobody's images are touched
configure() {
    local files
    files=$(ulimit -Hn)
    [ "$files" != unlimited ] || files=1048576
    printf '%s\n' '[containers]' \
        "default_ulimits = [\"nofile=$files:$files\", \"nproc=16384:16384\"]" \
        '[engine]' 'runtime = "runc"' >"$WORK/containers.conf"
    printf '%s\n' '#!/bin/sh' "export CONTAINERS_CONF='$WORK/containers.conf'" \
        "exec $(command -v podman) --root '$WORK/storage' --runroot '$WORK/run' \\" \
        '    --storage-driver overlay "$@"' >"$WORK/bin/podman"
    chmod +x "$WORK/bin/podman"
    mkdir -p "$WORK/host/wheels"
    cp -L /etc/ssl/certs/ca-certificates.crt "$WORK/host/ca.crt"
    rm -f "$WORK"/host/wheels/*
    [ -z "$WHEELS" ] || cp "$WHEELS"/*.whl "$WORK/host/wheels/"
    printf '%s\n' '[global]' 'cert = /mnt/ca.crt' 'find-links = /mnt/wheels' 'timeout = 180' \
        >"$WORK/host/pip.conf"
    printf 'Acquire::Check-Valid-Until "false";\n' >"$WORK/host/apt.conf"
    chmod -R a+rX "$WORK/host"
}

make_base() {
    say "base image $BASE"
    printf 'path-exclude=/usr/share/%s/*\n' doc man info lintian locale >"$WORK/slim.cfg"
    echo 'path-include=/usr/share/doc/*/copyright' >>"$WORK/slim.cfg"
    if [ ! -s "$WORK/base.tar" ]; then
        local release=${BASE#*:}
        mmdebstrap --quiet --variant=minbase --mode=root --dpkgopt="$WORK/slim.cfg" \
            --aptopt='Acquire::Check-Valid-Until "false"' \
            --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr --include=usr-is-merged,tzdata \
            --customize-hook='rm -f "$1"/etc/apt/apt.conf.d/99mmdebstrap' \
            "${release%-slim}" "$WORK/base.part.tar"
        mv "$WORK/base.part.tar" "$WORK/base.tar"
    fi
    local name=docker.io/library/$BASE
    "$WORK/bin/podman" image exists "$name" || "$WORK/bin/podman" import -q \
        --change 'CMD ["bash"]' \
        --change 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
        "$WORK/base.tar" "$name"
    [ -s "$WORK/base-docker.tar" ] ||
        "$WORK/bin/podman" save -q --format docker-archive -o "$WORK/base-docker.tar" "$name"
}

# Apptainer below $WORK/apptainer, and a command that runs it there as user 1000
make_apptainer() {
    say apptainer
    local root=$WORK/apptainer
    if [ ! -e "$root/complete" ]; then
        rm -rf "$root"
        mmdebstrap --quiet --variant=apt --mode=root --dpkgopt="$WORK/slim.cfg" \
            --aptopt='Acquire::Check-Valid-Until "false"' \
            --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr \
            --include=apptainer,ca-certificates,mount,usr-is-merged,squashfuse,fuse-overlayfs,fakeroot \
            sid "$root" || { echo "SKIP singularity.def: Debian unstable has no apptainer"; return; }
        touch "$root"/etc/{resolv.conf,hosts,localtime}
        mkdir -p "$root/home/tester" "$root/host" "$root/old"
        chown 1000:1000 "$root/home/tester"
        echo 'tester:x:1000:1000:tester:/home/tester:/bin/bash' >>"$root/etc/passwd"
        echo 'tester:x:1000:' >>"$root/etc/group"
        echo tester:100000:65536 | tee "$root/etc/subuid" >"$root/etc/subgid"
        touch "$root/complete"
    fi
    sed "s#@ROOT@#$root#; s#@WORK@#$WORK#" "$here/apptainer.in" >"$WORK/bin/apptainer"
    chmod +x "$WORK/bin/apptainer"
    chmod a+rwx "$WORK"
}

# Apptainer sees this folder only.
if [ -n "${DATA:-}" ]; then
    rm -rf "$WORK/data"
    cp -rL "$DATA" "$WORK/data"
    export DATA=$WORK/data
fi
install_tools
configure
make_base
make_apptainer
export PATH=$WORK/bin:$PATH ENGINE=podman
export BUILD_OPTIONS="--isolation chroot --pull=never --layers --format docker
    -v $WORK/host:/mnt:ro -v $WORK/host/pip.conf:/etc/pip.conf:ro
    -v $WORK/host/apt.conf:/etc/apt/apt.conf.d/99host:ro ${BUILD_OPTIONS:-}"
export BASE_ARCHIVE=$WORK/base-docker.tar APPTAINERENV_PIP_CONFIG_FILE=/mnt/pip.conf
export SIF_OPTIONS="--disable-cache --bind $WORK/host:/mnt ${SIF_OPTIONS:-}"
exec bash "$here/run.sh" "$@"
