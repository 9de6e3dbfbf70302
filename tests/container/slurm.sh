#!/usr/bin/env bash
# Try the examples of docs/hpc.md on a real Slurm of one node, this machine. As root; needs
# Debian's slurm-wlm and munge, and the image of `run.sh sif`.
#
#   tests/container/slurm.sh [array] [plugin] [signal]     (default: all three)
#
# array    the job scripts as they stand in the page, for three simulated people; only folders,
#          sizes and the GPU are changed
# plugin   --use-plugin with slurm.yml of the page, by PYTHON (default: python3)
# signal   a job that is told to end gives code 75, and the same job goes on
#
# WORK, APPTAINER as in run.sh. An `apptainer` in $WORK/bin (offline.sh) is used.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
ROOT=$PWD
WORK=${WORK:-${TMPDIR:-/tmp}/bids_decoder-containers}
PYTHON=${PYTHON:-python3}
HERE=$WORK/slurm
export SLURM_CONF=$HERE/slurm.conf PATH=$WORK/bin:$PATH
n_failed=0

for name in slurmctld slurmd munged; do
    command -v $name >/dev/null || { echo "NOTHING WAS CHECKED: no $name here" >&2; exit 77; }
done

pass_if() {
    local name=$1
    shift
    if "$@" >"$HERE/last.log" 2>&1; then
        echo "PASS $name"
    else
        echo "FAIL $name"
        tail -20 "$HERE/last.log" | sed 's/^/    /'
        n_failed=$((n_failed + 1))
    fi
}

# The node claims more than it has, so that the requests of the page fit on it.
start_slurm() {
    local node
    node=$(hostname -s)
    mkdir -p "$HERE/spool" "$HERE/state" /run/munge
    chown munge: /run/munge
    munge -n >/dev/null 2>&1 || su -s /bin/sh munge -c "$(command -v munged)"
    cat >"$SLURM_CONF" <<END
ClusterName=one
SlurmctldHost=$node(127.0.0.1)
SlurmctldPort=16817
SlurmdPort=16818
SlurmUser=root
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
ReturnToService=2
SlurmctldPidFile=$HERE/slurmctld.pid
SlurmdPidFile=$HERE/slurmd.pid
SlurmdSpoolDir=$HERE/spool
StateSaveLocation=$HERE/state
SlurmctldLogFile=$HERE/slurmctld.log
SlurmdLogFile=$HERE/slurmd.log
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
MinJobAge=3600
NodeName=$node NodeAddr=127.0.0.1 CPUs=16 RealMemory=64000 State=UNKNOWN
PartitionName=main Nodes=$node Default=YES MaxTime=INFINITE State=UP
END
    setsid slurmctld -i </dev/null >/dev/null 2>&1
    setsid slurmd -N "$node" </dev/null >/dev/null 2>&1
    trap stop_slurm EXIT
    sleep 4
    scontrol update nodename="$node" state=resume 2>/dev/null || true
    timeout 60 srun -n1 true
}
stop_slurm() {
    local name
    for name in slurmd slurmctld; do
        kill "$(cat "$HERE/$name.pid")"
    done
}

# Blocks of code of the page, written to the files that the text before each one names.
blocks() {
    "$PYTHON" - "$ROOT/docs/hpc.md" <<'END'
import re, sys
from pathlib import Path
text = Path(sys.argv[1]).read_text(encoding="utf-8")
for before, body in re.findall(r"([^\n]*)\n\n```(?:bash|yaml)\n(.*?)```", text, re.DOTALL):
    names = re.findall(r"`([\w.]+\.(?:sh|sbatch|yml))`", before)
    if names:
        Path(names[-1]).write_text(body, encoding="utf-8")
    elif "sbatch --parsable" in body:
        Path("submit.sh").write_text(body, encoding="utf-8")
END
}

make_data() {
    rm -rf "$HERE/jobs/out" "$HERE/jobs/work" "$HERE/jobs/logs"
    mkdir -p "$HERE/jobs/out" "$HERE/jobs/work" "$HERE/jobs/logs"
    chmod 777 "$HERE/jobs" "$HERE/jobs"/{out,work}
    [ -f "$HERE/jobs/data/participants.tsv" ] || apptainer exec --containall --no-home -B "$HERE/jobs:/jobs" "$WORK/bids_decoder.sif" \
        /opt/bids_decoder/bin/python -c '
from pathlib import Path
from bids_decoder.simulate.dataset import write_category_dataset
write_category_dataset(Path("/jobs/data"), n_participants=3, seed=1, n_runs=3)
'
    cd "$HERE/jobs"
    blocks
    sed -i -e "s#^DATA=[^ ]*#DATA=$HERE/jobs/data#" -e "s#^OUT=[^ ]*#OUT=$HERE/jobs/out#" \
        -e "s#^WORK=[^ ]*#WORK=$HERE/jobs/work#" -e "s#^IMAGE=[^ ]*#IMAGE=$WORK/bids_decoder.sif#" \
        common.sh
    sed -i -e 's/--array=0-7/--array=0-2/' -e 's/ --gres=gpu:1//' -e '/^GPU=1$/d' \
        -e 's/ --device cuda//' -e 's/--cpus-per-task=[0-9]*/--cpus-per-task=1/' \
        -e 's/--mem=[0-9]*G/--mem=6G/' ./*.sbatch
}

finished() {
    while [ -n "$(squeue -h)" ]; do sleep 3; done
}

array() {
    bash submit.sh
    finished
    scontrol show job | grep -E 'JobName|JobState|ExitCode' | paste - - | sort | uniq -c
    pass_if "rounds 1 to 3 ended well" \
        test -z "$(scontrol show job | grep JobState= | grep -v COMPLETED)"
    for label in 01 02 03; do
        pass_if "sub-$label was decoded" test -s out/sub-$label.html
        pass_if "sub-$label has a model" ls out/sub-$label/model
    done
    pass_if "one model without each" test "$(find out/group -name '*safetensors' | wc -l)" = 3
    pass_if "no lock is left" test -z "$(ls -A out/logs/locks)"
}

plugin() {
    sed -i -e 's/--mem=16G --cpus-per-task=4/--mem=2G --cpus-per-task=1/' slurm.yml
    PYTHONPATH=$ROOT "$PYTHON" -m bids_decoder data plugin-out participant --from-scratch \
        --participant-label 01 -w "$HERE/jobs/plugin-work" --use-plugin slurm.yml
    pass_if "--use-plugin" test -s plugin-out/sub-01.html
}

signal() {
    rm -rf out/* work/*
    local job waited=0
    sed 's/--array=0-2/--array=0/' prepare.sbatch >one.sbatch
    job=$(sbatch --parsable one.sbatch)
    until [ -d out/logs/locks/01 ] || [ $((waited += 1)) -gt 600 ]; do sleep 0.2; done
    sleep 2
    scancel --batch --signal=TERM "${job}_0"
    finished
    pass_if "code 75" sh -c "scontrol show job ${job}_0 | grep -F ExitCode=75:0"
    pass_if "the message" grep -F "run the same command again" logs/prepare-"$job"_0.txt
    pass_if "no lock is left" test -z "$(ls -A out/logs/locks)"
    job=$(sbatch --parsable one.sbatch)
    finished
    pass_if "the same job again" grep -F "finished successfully" logs/prepare-"$job"_0.txt
}

start_slurm
make_data
[ $# -gt 0 ] || set -- array plugin signal
for step in "$@"; do
    printf '\n=== %s\n' "$step"
    "$step"
done
printf '\n=== %s failed\n' "$n_failed"
[ "$n_failed" -eq 0 ]
