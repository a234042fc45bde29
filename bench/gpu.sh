#!/usr/bin/env bash
# For any owner of an NVIDIA GPU: builds, runs every test on it, the four tools of compute-sanitizer on small shapes,
# and the benches. Leaves logs, JSON and a table in bench/results/<device>/.
#
# Use: bench/gpu.sh [--build-dir DIR] [--no-build] [--no-sanitizer] [--no-bench] [--seconds S]
#   --build-dir DIR   where to build, or with --no-build where binaries built elsewhere lie (default build/gpu)
#   --no-build        use the binaries as they are
#   --seconds S       seconds of samples for each case of the bench (default 1)
# Exit status: 0 all passed; 5 a check failed, the last lines say which; 69 something needed is missing; 2 misuse.
set -uo pipefail
cd "$(dirname "$0")/.."

build_dir=build/gpu build=1 sanitizer=1 bench=1 seconds=1
while [ $# -gt 0 ]; do
  case $1 in
    --build-dir | --seconds)
      [ $# -ge 2 ] || { echo "gpu.sh: $1 needs a value" >&2; exit 2; }
      if [ "$1" = --build-dir ]; then build_dir=$2; else seconds=$2; fi
      shift 2 ;;
    --no-build) build=0; shift ;;
    --no-sanitizer) sanitizer=0; shift ;;
    --no-bench) bench=0; shift ;;
    -h | --help) sed -n '2,10s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "gpu.sh: unknown option $1 (try --help)" >&2; exit 2 ;;
  esac
done

missing() { echo "gpu.sh: $1" >&2; exit 69; }
gpu=$(nvidia-smi --query-gpu=name,driver_version,compute_cap --format=csv,noheader -i 0 2>/dev/null) && [ -n "$gpu" ] ||
  missing 'no NVIDIA GPU answers here (nvidia-smi is absent or finds none)'
IFS=, read -r name driver capability <<<"$gpu"
capability=$(tr -d ' .' <<<"$capability")
device=$(tr -cs 'A-Za-z0-9' '-' <<<"$name" | tr 'A-Z' 'a-z' | sed 's/^-*//; s/-*$//')
results=bench/results/$device
mkdir -p "$results" || missing "cannot write $results"
echo "$name, driver$driver, sm_$capability; results in $results"

failed=() passed=()
# check NAME COMMAND...: runs it, keeps its output in NAME.log, and shows the end of it when it fails.
check() {
  local what=$1 log=$results/$1.log
  shift
  if "$@" >"$log" 2>&1; then
    passed+=("$what")
    echo "  passed  $what"
  else
    local status=$?
    failed+=("$what")
    echo "  FAILED  $what (status $status, $log)"
    tail -n 15 "$log" | sed 's/^/          /'
  fi
}

if [ "$build" = 1 ]; then
  command -v cmake >/dev/null || missing 'cmake is needed to build; or carry binaries and give --no-build'
  # sm_90 as 90a: what the project builds for Hopper.
  [ "$capability" = 90 ] && architecture=90a-real || architecture=$capability-real
  check configure cmake -S . -B "$build_dir" -DSCALELAB_CUDA=ON -DCMAKE_CUDA_ARCHITECTURES="$architecture"
  check build cmake --build "$build_dir" -j "$(nproc)"
fi
[ -x "$build_dir/scalelab" ] || missing "no program in $build_dir: the build failed, or --build-dir is wrong"

check info "$build_dir/scalelab" info --backend cuda --json
export SCALELAB_REQUIRE_CUDA=1
shopt -s nullglob
tests=("$build_dir"/*_test)
[ ${#tests[@]} -gt 0 ] || missing "no tests in $build_dir"
for test in "${tests[@]}"; do
  check "$(basename "$test")" "$test" --gtest_output="json:$results/$(basename "$test").json"
done

if [ "$sanitizer" = 1 ]; then
  tool=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer /opt/cuda/bin/compute-sanitizer \
    2>/dev/null | head -n 1)
  [ -n "$tool" ] || missing 'compute-sanitizer is missing (part of the CUDA Toolkit); or give --no-sanitizer'
  # SCALELAB_SMALL=1: twins_test takes the sizes that it takes on the test executor.
  for kind in memcheck racecheck initcheck synccheck; do
    SCALELAB_SMALL=1 check "sanitizer-$kind" "$tool" --tool "$kind" --error-exitcode 1 "$build_dir/twins_test" \
      --gtest_filter='Twins.*-*RandomShapes*'
  done
fi

if [ "$bench" = 1 ]; then
  check bench "$build_dir/scalelab" bench run --backend cuda --peers --budget "$seconds" --out "$results/bench.json"
  # Leaves the crossovers for --backend auto, too (bench/README.md).
  check cost "$build_dir/scalelab" bench cost --out "$results/cost.json"
  for result in bench cost; do
    [ -f "$results/$result.json" ] && check "page-$result" "$build_dir/scalelab" bench show "$results/$result.json" \
      --out "$results/$result"
  done
fi

{
  echo "$name, driver$driver, sm_$capability, $(date -u +%Y-%m-%d)"
  echo "passed: ${passed[*]:-none}"
  echo "failed: ${failed[*]:-none}"
  [ "$bench" = 1 ] && cat "$results/bench.log" "$results/cost.log"
} >"$results/table.txt"
cat "$results/table.txt"
[ ${#failed[@]} -eq 0 ] || { echo "gpu.sh: ${#failed[@]} failed: ${failed[*]}" >&2; exit 5; }
