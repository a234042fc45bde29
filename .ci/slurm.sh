#!/bin/bash
# slurm.sh PROGRAM: what `PROGRAM slurm` prints, run by a real Slurm of one node that is started for it on loopback, with a
# configuration and a folder of its own. Of three tasks one is cancelled, one is requeued by Slurm as when it is preempted,
# and one is signalled as before its limit; the job after them does what is left. The rows must be those of one process,
# bit for bit, and none computed twice. Where MPI was built, k-means runs on two ranks of srun. As root, with munge,
# slurm-wlm and python3; half a minute. Exit code 69: no Slurm can be started here, and a line says why.
# It is a step of .ci/run and none of the tests in tests/, which wait for events alone: of a real Slurm, whose daemons may
# hang, it asks again and again, up to a limit of time.
set -euo pipefail
program=$(realpath "$1")
longest=240  # seconds that anything is waited for

left_out() { echo "left out: $1"; exit 69; }
for command in munged slurmctld slurmd sbatch python3; do
  command -v "$command" >/dev/null || left_out "there is no $command here (apt-get install munge slurm-wlm python3)"
done
[ "$(id -u)" = 0 ] || left_out 'Slurm starts jobs as root alone'

work=$(mktemp -d)
chmod 755 "$work"  # munged wants its socket within everybody's reach
cd "$work"
export SLURM_CONF=$work/slurm.conf
# All that is started from here on, jobs as well, has this in its environment; this shell has not.
started() { env -u SLURM_CONF grep -lzs "^SLURM_CONF=$work/" /proc/[0-9]*/environ | grep -o '[0-9]*' || true; }
clear_away() {
  while running=$(started) && [ -n "$running" ]; do
    kill -KILL $running 2>/dev/null || true
    sleep 0.1
  done
  cd /
  rm -rf "$work"
}
trap clear_away EXIT
trap 'exit 1' HUP INT TERM

# within WHAT COMMAND...: waits until the command succeeds; false after $longest seconds.
within() {
  local what=$1 end=$((SECONDS + longest))
  shift
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $end ] || { echo "waited $longest s for this: $what"; return 1; }
    sleep 0.1
  done
}
failed() {
  echo "FAILED: $1"
  scontrol --oneliner show job | cut -c 1-400 || true
  tail -n 30 slurm-*.out ./*.log || true
  exit 1
}

ports=$(python3 -c 'import socket
both = [socket.socket() for _ in range(2)]
for one in both: one.bind(("127.0.0.1", 0))
print(*(one.getsockname()[1] for one in both))')
host=$(hostname -s)
mkdir state spool
(umask 077 && head -c 128 /dev/urandom >key)
# A requeued job waits until its credential has expired. TmpFS: PMIx makes a folder there that is named by the numbers of job
# and step alone, and starts nothing where an earlier Slurm has left one of that name.
cat >slurm.conf <<END
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=${ports% *}
SlurmdPort=${ports#* }
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$work/munge,cred_expire=5
StateSaveLocation=$work/state
SlurmdSpoolDir=$work/spool
SlurmctldPidFile=$work/slurmctld.pid
SlurmdPidFile=$work/slurmd.pid
TmpFS=$work
PlugStackConfig=/dev/null
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=1,sched_min_interval=1,batch_sched_delay=0,bf_interval=1
NodeName=$host NodeAddr=127.0.0.1 CPUs=2
PartitionName=all Nodes=$host Default=YES State=UP
END

munged --foreground --force --key-file="$work/key" --socket="$work/munge" --pid-file="$work/munge.pid" \
  --log-file="$work/munge.log" --seed-file="$work/munge.seed" >munge.log 2>&1 &
# Whether the child has ended, or the command given succeeds: waiting ends with either.
ready_or_gone() { ! kill -0 "$child" 2>/dev/null || "$@"; }
child=$!
disown
within 'munged' ready_or_gone munge --no-input --socket="$work/munge"
munge --no-input --socket="$work/munge" >/dev/null || left_out "munged does not start here: $(tail -n 1 munge.log)"
slurmctld -D -c >slurmctld.log 2>&1 &
child=$!
disown
within 'slurmctld' ready_or_gone scontrol ping
scontrol ping >/dev/null || left_out "slurmctld does not start here: $(tail -n 1 slurmctld.log)"
idle() { [ "$(sinfo --noheader --format=%T)" = idle ]; }
for plugin in disabled cgroup/v1; do  # the first is not known to older versions, which then do without
  echo "CgroupPlugin=$plugin" >cgroup.conf
  slurmd -D >slurmd.log 2>&1 &
  child=$!
  disown
  within 'slurmd' ready_or_gone idle
  ! idle || break
done
idle || left_out "slurmd does not start here: $(tail -n 1 slurmd.log)"

# Neighbours are searched trial by trial, and networks trained together after them.
cat >'a sweep.json' <<'END'
{"title": "t", "grids": [
  {"model": "knn-1", "n": [100000, 100100], "grid": 512, "density_points": 60000, "seeds": "0..14"},
  {"model": "mlp-polar", "width": 8, "n": [250, 500], "samples": 20000, "seeds": "0..2"}]}
END
"$program" slurm 'a sweep.json' --tasks 3 --time 10m --cpus-per-task 1 >script
said=$(sh script)
echo "$said"
array=$(sed 's/^job \([0-9]*\):.*/\1/' <<<"$said") merge=$(sed 's/.*; job \([0-9]*\):.*/\1/' <<<"$said")
task() { scontrol --oneliner show job "$@" | grep -o " $field=[^ ]*" | head -n 1 | cut -d = -f 2; }
is() { local field=$1 want=$2; shift 2; [ "$(task "$@")" = "$want" ]; }
expect() { is "$@" || failed "$1 of $3 is not $2"; }
rows() { [ -s "a sweep/rows-$1-of-3.jsonl" ]; }

within 'a row of task 1' rows 1 || failed 'task 1 does not start'
scancel "${array}_1"
within 'a row of task 2' rows 2 || failed 'task 2 does not start'
scontrol requeue "${array}_2"
within 'a row of task 3' rows 3 || failed 'task 3 does not start'
scancel --batch --signal=USR1 "${array}_3"  # the last task: its job has the number of the array
"$program" sweep 'a sweep.json' --out want --quiet --threads 1 >/dev/null  # meanwhile
ended() { squeue --noheader --jobs="$merge" >left && [ ! -s left ]; }
within 'the end of all jobs' ended || failed 'the last job does not end'

expect JobState CANCELLED "${array}_1"
expect Restarts 0 "${array}_1"
expect JobState COMPLETED "${array}_2"
expect Restarts 1 "${array}_2"
expect JobState COMPLETED "${array}_3"
expect Restarts 1 "${array}_3"
expect JobState COMPLETED "$merge"
for i in 1 2 3; do
  grep -q 'stopped by a signal with .* trials on disk' "slurm-${array}_$i.out" || failed "task $i did not end in order"
done
python3 - <<'END' || failed 'the rows differ from those of one process'
import glob, json, sys
def rows(folder):
    all = json.load(open(folder + "/result.json"))["rows"]
    return sorted(json.dumps({k: v for k, v in row.items() if k != "seconds"}, sort_keys=True) for row in all)
got, want = rows("a sweep"), rows("want")
computed = sum(len(open(name).readlines()) for name in glob.glob("a sweep/rows-*.jsonl"))
print(len(got), "rows,", computed, "computed; those of one process:", len(want))
sys.exit(got != want or computed != len(want) or len(want) != 36)
END

if [ -e "$(dirname "$program")/scalelab_mpi.so" ] && srun --mpi=list 2>&1 | grep -qw pmix; then
  "$program" dataset --n 20000 --out points.csv >/dev/null
  "$program" kmeans --data points.csv --clusters 20 --out one --quiet >/dev/null
  timeout $longest srun -n 2 --mpi=pmix "$program" kmeans --data points.csv --clusters 20 --out two || failed 'srun'
  grep -q '"ranks": 2' two/result.json || failed 'srun did not start two ranks'
  cmp one/labels.npy two/labels.npy && cmp one/centroids.npy two/centroids.npy || failed 'two ranks give other bits'

  # A rank that is killed ends the job, and srun names it.
  "$program" dataset --n 200000 --out many.csv >/dev/null
  srun -n 2 --mpi=pmix "$program" kmeans --data many.csv --clusters 300 --tolerance 0 --checkpoint-every 0 --out killed \
    >srun.log 2>&1 &
  child=$!
  within 'a checkpoint' ready_or_gone [ -e killed/checkpoint ]
  [ -e killed/checkpoint ] || failed 'two ranks leave no checkpoint'
  for process in $(started); do
    if [ "$(readlink "/proc/$process/exe")" = "$program" ] && grep -qzx SLURM_PROCID=1 "/proc/$process/environ"; then
      kill -KILL "$process"
      killed=$process
    fi
  done
  [ -n "${killed:-}" ] || failed 'there is no second rank to kill'
  ended() { ! kill -0 "$child" 2>/dev/null; }
  longest=60 within 'the end of srun' ended || failed 'the other rank goes on without the one that was killed'
  ! wait "$child" || failed 'srun tells no failure'
  grep 'task 1: Killed' srun.log || failed 'srun does not name the rank'
else
  echo 'left out: srun --mpi=pmix, as MPI was not built or this Slurm has no PMIx'
fi
echo "Slurm $(sbatch --version | grep -o '[0-9][0-9.]*'): passed in $SECONDS s"
