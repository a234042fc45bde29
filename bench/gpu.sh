#!/usr/bin/env bash
# What an NVIDIA GPU says of scalelab, in stages for a GPU that one has for minutes: the most valuable first, each under
# its own time limit, each leaving its result before the next begins. The same command again goes on where it ended.
#
# Use: bench/gpu.sh [OPTIONS] [STAGE...]     builds for this machine's GPU, then runs the stages (all unless named)
#      bench/gpu.sh --pack DIR [OPTIONS]     builds without needing a GPU, and leaves all that a run needs in DIR
#      bench/gpu.sh --packed DIR [OPTIONS]   runs the stages with what lies in DIR; needs no compiler, network or source
#   --arch A        pack: GPU architecture (default 90a: H100, H200)
#   --build DIR     where to build (default build/gpu); with --no-build, where binaries lie
#   --no-build      use the binaries as they are
#   --minutes M     end after M minutes; what did not fit is named (default 12)
#   --out DIR       where results go (default bench/results/DEVICE, or results of the packed folder)
#   --rehearse      small shapes and four times the limits: tries the script itself, on an imitated GPU (tests/ptx)
#   --list          the stages, what each runs, and its limit in seconds
# Leaves in the results: STAGE.log, STAGE.json where a stage measures, stages.jsonl (a line a stage), table.txt.
# Exit status: 0 all passed; 5 a stage failed or ran out of time; 69 something needed is missing; 2 misuse.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
programs=(scalelab mma_test memory_test twins_test mlp_twins_test mlp_grid_test xor_sgd_test max_margin_test)

# The stages: name, limit in seconds, what it runs. Slow tests come last: what they find, the first ones mostly found.
stages() {
  cat <<'STAGES'
info 20 what the driver and the program say of the GPU
mma 60 tests: fragments of the tensor cores
twins 150 tests: kNN, grids and k-means give the bits of the CPU
mlp-twins 150 tests: networks give the bits of the CPU
memory 60 tests: what the pool keeps, what runs out
perceptrons 60 tests: XOR and max-margin
memcheck 120 compute-sanitizer on every kernel, small shapes
synccheck 90 compute-sanitizer: barriers
bench-grid 90 bench: maps
bench-knn 150 bench: nearest neighbours
bench-kmeans 90 bench: k-means
bench-mlp 120 bench: networks
peers-knn 120 bench beside what people use instead, on the GPU
peers-kmeans 120 likewise
peers-mlp 150 likewise
ncu 120 Nsight Compute on the two cases furthest from their roof
initcheck 120 compute-sanitizer: memory that nothing wrote
racecheck 180 compute-sanitizer: shared memory
maps 120 tests: maps of networks
cost 200 how time grows, and from where on the GPU is quicker: what --backend auto goes by
slow-twins 300 tests: random shapes, 10^8 queries and cells
STAGES
}

misuse() { echo "gpu.sh: $1 (try --help)" >&2; exit 2; }
missing() { echo "gpu.sh: $1" >&2; exit 69; }
pack='' packed='' arch='' build_dir='' build=1 minutes=12 out='' patience=1 wanted=()
while [ $# -gt 0 ]; do
  case $1 in
    --pack | --packed | --arch | --build | --minutes | --out)
      [ $# -ge 2 ] || misuse "$1 needs a value"
      case $1 in
        --pack) pack=$2 ;; --packed) packed=$2 ;; --arch) arch=$2 ;; --build) build_dir=$2 ;; --minutes) minutes=$2 ;;
        --out) out=$2 ;;
      esac
      shift 2 ;;
    --no-build) build=0; shift ;;
    --rehearse) patience=4; shift ;;
    --list) stages | sed -E 's/^(\S+) (\S+) /\1\t\2\t/' | expand -t 16,22; exit 0 ;;
    -h | --help) sed -n '2,18s/^# \{0,1\}//p' "$0"; exit 0 ;;
    -*) misuse "unknown option $1" ;;
    *) stages | grep -q "^$1 " || misuse "no stage is called $1; --list names them"; wanted+=("$1"); shift ;;
  esac
done
[[ $minutes =~ ^[0-9]+$ ]] && [ "$minutes" -gt 0 ] || misuse "--minutes takes a whole number from 1, not '$minutes'"
[ -z "$pack" ] || [ -z "$packed" ] || misuse '--pack and --packed are two different things'

# build_here ARCHITECTURE: the programs, into build_dir, unless --no-build.
build_here() {
  build_dir=${build_dir:-$here/../build/gpu}
  if [ "$build" = 1 ]; then
    command -v cmake >/dev/null || missing 'cmake is needed to build; or bring a folder made by --pack and give --packed'
    echo "building for $1 into $build_dir (minutes)"
    local log=$build_dir.log
    mkdir -p "$(dirname "$log")"
    { cmake -S "$here/.." -B "$build_dir" -DSCALELAB_CUDA=ON -DCMAKE_CUDA_ARCHITECTURES="$1-real" \
        -DSCALELAB_LINEINFO="${2:-ON}" &&
      cmake --build "$build_dir" -j "$(nproc)" --target scalelab_program "${programs[@]:1}"; } >"$log" 2>&1 ||
      { tail -n 15 "$log" >&2; missing "the build failed ($log)"; }
  fi
  local program
  for program in "${programs[@]}"; do
    [ -x "$build_dir/$program" ] || missing "no $program in $build_dir: build it, or name the folder with --build"
  done
}

if [ -n "$pack" ]; then
  build_here "${arch:-90a}" OFF
  mkdir -p "$pack/bin" "$pack/lib" && cp -r "$here/peers" "$here/gpu.sh" "$pack/" || missing "cannot write $pack"
  for program in "${programs[@]}"; do
    cp "$build_dir/$program" "$pack/bin/" && strip "$pack/bin/$program" || missing "cannot write $pack/bin/$program"
    # Libraries of the system that the other machine may lack; the C library and the driver are its own.
    ldd "$build_dir/$program" | awk '$3 ~ /^\// {print $3}' | grep -Ev '/(libc|libm|libpthread|libdl|librt|ld-linux[^/]*)\.so' |
      while read -r library; do cp -Lu "$library" "$pack/lib/"; done
  done
  git -C "$here/.." describe --always --dirty >"$pack/commit" 2>/dev/null
  echo "$(du -sm "$pack" | cut -f1) MB in $pack: carry it to the GPU, and run there: $pack/gpu.sh --packed $pack"
  exit 0
fi

if [ -n "$packed" ]; then
  [ -x "$packed/bin/scalelab" ] || missing "$packed is no folder made by --pack: it has no bin/scalelab"
  packed=$(cd "$packed" && pwd)
  bin=$packed/bin
  export SCALELAB_PEERS=$packed/peers LD_LIBRARY_PATH=$packed/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
else
  if [ -z "$arch" ] && [ "$build" = 1 ]; then
    # The devices in the order in which CUDA counts them; sm_90 as 90a, which is what is built for Hopper.
    arch=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader -i "${CUDA_VISIBLE_DEVICES:-0}" 2>/dev/null | head -n 1 |
      tr -d ' .')
    [[ $arch =~ ^[0-9]+$ ]] || missing 'no NVIDIA GPU answers here (nvidia-smi is absent or finds none); name one with --arch'
    [ "$arch" = 90 ] && arch=90a
  fi
  build_here "${arch:-90a}"
  bin=$build_dir
fi

# Which device it is: as the program sees it, whatever nvidia-smi counts first.
export CUDA_DEVICE_ORDER=PCI_BUS_ID SCALELAB_REQUIRE_CUDA=1
said=$("$bin/scalelab" info --backend cuda --json 2>&1) || missing "no GPU to run on: $(tail -n 1 <<<"$said")"
device=$(sed -n 's/.*"device": "\(.*\)".*/\1/p' <<<"$said" | tail -n 1)
name=$(tr -cs 'A-Za-z0-9' '-' <<<"${device:-gpu}" | tr 'A-Z' 'a-z' | sed 's/^-*//; s/-*$//')
results=${out:-${packed:-$here}/results/$name}
mkdir -p "$results" || missing "cannot write $results"
results=$(cd "$results" && pwd)
echo "$device; $minutes minutes; results in $results"

tool() { command -v "$1" || ls "/usr/local/cuda/bin/$1" "/opt/cuda/bin/$1" 2>/dev/null | head -n 1; }
# A tool that is not there ends its stage with status 127: it is absent, not failed.
sanitize() {
  local sanitizer
  sanitizer=$(tool compute-sanitizer)
  [ -n "$sanitizer" ] || { echo 'compute-sanitizer is not here'; return 127; }
  local test
  for test in twins_test mlp_twins_test; do
    SCALELAB_SMALL=1 "$sanitizer" --tool "$1" --error-exitcode 1 "$bin/$test" --gtest_filter='*-*RandomShapes*:*HundredMillion*' ||
      return 1
  done
}
# bench OP OPTIONS...
bench() {
  local small=()
  if [ "$patience" != 1 ]; then
    case $1 in
      grid) small=(--axis grid=64 --axis n=500) ;;
      knn) small=(--axis n=500 --axis q=100) ;;
      kmeans) small=(--axis n=2000 --axis k=10 --axis iterations=2) ;;
      mlp) small=(--axis n=64 --axis epochs=2) ;;
    esac
    small+=(--rounds 1)
  fi
  "$bin/scalelab" bench run --backend cuda --quiet --op "$@" --budget 0.3 "${small[@]}"
}
peers() {
  "${SCALELAB_PYTHON:-python3}" -c 'import numpy' 2>&1 || { echo 'no Python with numpy here'; return 127; }
  local few=()
  if [ "$patience" = 1 ]; then  # cases that fill the device, and a score: the others' peers stand in the CPU's table
    few=(--rounds 1)
    case $1 in
      knn) few+=(--filter 'q=1000000 d=3,q=100000 d=128,d=768') ;;
      kmeans) few+=(--filter 'uniform n=1000000 d=2 k=1000 iterations=10,n=100000000,d=1536') ;;
      mlp) few+=(--filter 'm=1056 width=64,m=264 width=128 batch=64 epochs=10 n=1000 precision=fp32,score m=1 width=64,=1 width=64 batch=64 epochs=60 n=1000 precision=fp32') ;;
    esac
  fi
  SCALELAB_PEER_SECONDS=40 bench "$1" --peers "${few[@]}" --out "$results/peers-$1.json"
}
# The two rows of the benches that reach the least share of their roof, once each, under Nsight Compute.
slowest() {
  local ncu python=${SCALELAB_PYTHON:-python3}
  ncu=$(tool ncu)
  [ -n "$ncu" ] && "$python" -c '' 2>/dev/null || { echo 'ncu or Python is not here'; return 127; }
  "$python" - "$results" <<'PYTHON' >"$results/slowest.txt" || { echo 'no bench result to choose from'; return 127; }
import glob, json, sys
rows = []
for file in glob.glob(sys.argv[1] + "/bench-*.json"):
    for row in json.load(open(file)).get("rows", []):
        if row.get("roof", {}).get("share") is not None:
            rows.append((row["roof"]["share"], row["name"]))
for _, case in sorted(rows, key=lambda row: row[0])[:2]:
    print(case)
sys.exit(not rows)
PYTHON
  local case status=0
  while IFS= read -r case; do
    "$ncu" --set full --clock-control none --launch-count 20 --csv "$bin/scalelab" bench run --backend cuda --quiet --profile \
      --filter "$case" || status=1
  done <"$results/slowest.txt"
  return $status
}
run_stage() {
  local report=--gtest_output=json:$results/$1.json
  case $1 in
    info) { nvidia-smi -q -d CLOCK,MEMORY,POWER || true; } && "$bin/scalelab" info --backend cuda --json ;;
    mma) "$bin/mma_test" "$report" ;;
    memory) "$bin/memory_test" "$report" ;;
    twins) "$bin/twins_test" "$report" --gtest_filter='*-*RandomShapes*:*HundredMillion*' ;;
    slow-twins) "$bin/twins_test" "$report" --gtest_filter='*RandomShapes*:*HundredMillion*' ;;
    mlp-twins) "$bin/mlp_twins_test" "$report" ;;
    perceptrons)
      "$bin/xor_sgd_test" "$report" --gtest_filter='*/cuda' && "$bin/max_margin_test" --gtest_filter='*/cuda' ;;
    maps) "$bin/mlp_grid_test" "$report" --gtest_filter='*/cuda' ;;
    memcheck | synccheck | initcheck | racecheck) sanitize "$1" ;;
    bench-*) bench "${1#bench-}" --out "$results/$1.json" ;;
    peers-*) peers "${1#peers-}" ;;
    ncu) slowest ;;
    cost)
      if [ "$patience" = 1 ]; then set --; else set -- --most 1000; fi
      "$bin/scalelab" bench cost --quiet --budget 1 "$@" --out "$results/cost.json" ;;
  esac
}
# A stage is a process of its own, so that its limit ends all that it started.
export -f run_stage sanitize bench peers slowest tool
export bin results patience
[ "$patience" = 1 ] || export SCALELAB_SMALL=1

deadline=$((SECONDS + minutes * 60))
[ ${#wanted[@]} -gt 0 ] || mapfile -t wanted < <(stages | cut -d' ' -f1)
record() { printf '{"stage": "%s", "status": "%s", "seconds": %d, "exit_code": %d}\n' "$@" >>"$results/stages.jsonl"; }
status_of() { grep -s "\"stage\": \"$1\"" "$results/stages.jsonl" | tail -n 1 | sed 's/.*"status": "\([^"]*\)".*/\1/'; }
for stage in "${wanted[@]}"; do
  [ "$(status_of "$stage")" != passed ] || { echo "  passed before    $stage"; continue; }
  left=$((deadline - SECONDS))
  [ "$left" -ge 10 ] || { echo "  no time left     $stage"; record "$stage" 'no time left' 0 0; continue; }
  limit=$(stages | sed -n "s/^$stage \([0-9]*\) .*/\1/p")
  limit=$((limit * patience))
  [ "$limit" -le "$left" ] || limit=$left
  began=$SECONDS
  timeout -k 5 "$limit" bash -c "run_stage $stage" >"$results/$stage.log" 2>&1
  code=$?
  case $code in 0) status=passed ;; 127) status=absent ;; 124 | 137) status='out of time' ;; *) status=FAILED ;; esac
  record "$stage" "$status" $((SECONDS - began)) "$code"
  printf '  %-12s %4d s of %d  %s\n' "$status" $((SECONDS - began)) "$limit" "$stage"
  case $status in FAILED | absent) tail -n 8 "$results/$stage.log" | sed 's/^/                 /' ;; esac
done

unpassed=()
{
  echo "$device, $(date -u +%Y-%m-%d), commit $(cat "${packed:-/nowhere}/commit" 2>/dev/null || git -C "$here" describe --always --dirty 2>/dev/null)"
  for stage in $(stages | cut -d' ' -f1); do printf '%-14s %s\n' "$stage" "$(status_of "$stage")"; done
  cat "$results"/bench-*.log "$results"/peers-*.log 2>/dev/null
} >"$results/table.txt"
for stage in "${wanted[@]}"; do
  case $(status_of "$stage") in FAILED | 'out of time') unpassed+=("$stage") ;; esac
done
echo "$results/table.txt"
[ ${#unpassed[@]} -eq 0 ] || { echo "gpu.sh: not passed: ${unpassed[*]}" >&2; exit 5; }
