#!/bin/sh
# devices.sh PROGRAM: what one, two and three devices of the PTX machine (PTX_DEVICES=3) leave is the same, file by file,
# and as on the CPU where the backends agree; a device that is not there is named in one line; and of one that fails the
# others take up the work, or go on with it when they are asked to.
set -eu
program=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"$program" dataset --n 8500 --out points.csv >/dev/null  # three blocks of rows, one for each device
"$program" dataset --n 400 --seed 1 --out few.csv >/dev/null

# same "FILES" COMMAND...: leaves these files by any devices, and by the CPU.
same() {
  files=$1
  shift
  rm -rf cpu gpu
  "$program" "$@" --backend cpu --out cpu >/dev/null
  for devices in 0 1 0,1 2,0,1 all; do
    "$program" "$@" --backend cuda --device "$devices" --out gpu >/dev/null
    for file in $files; do cmp "cpu/$file" "gpu/$file"; done
  done
}
same 'centroids.npy labels.npy' kmeans --data points.csv --clusters 7 --max-iterations 2
grep '"inertia"' cpu/result.json >inertia
grep -q -x -F -f inertia gpu/result.json
grep -q '"ranks": 3' gpu/result.json  # all
same 'indices.npy distances.npy' knn --data points.csv --labels none --queries few.csv -k 3
same 'labels.npy boundary.png' boundary --data few.csv --model knn -k 3 --grid 50
same 'kept_ids.npy scores.npy removed.csv' prune --data points.csv --clusters 5 --near-duplicates 1e-6 --fraction 0.5 --splits 0

status=0
"$program" kmeans --data points.csv --clusters 7 --out none --backend cuda --device 0,3 2>line || status=$?
test "$status" = 2
test "$(cat line)" = 'scalelab: rank 1 of 2: device 3 does not exist: there are 3'
status=0
"$program" knn --data few.csv --queries few.csv --out none --backend cuda --device 0,3 2>line || status=$?
test "$status" = 2
test "$(cat line)" = 'scalelab: device 3 does not exist: there are 3'

# What is dealt is done by the other device.
"$program" knn --data points.csv --labels none --queries few.csv -k 3 --backend cpu --out cpu >/dev/null
PTX_LOST=1:3 "$program" knn --data points.csv --labels none --queries few.csv -k 3 --backend cuda --device 0,1 --out gpu 2>line >/dev/null
grep -q '^scalelab: device 1 failed: .*cudaErrorIllegalAddress.*; the others go on with its work$' line
for file in indices.npy distances.npy; do cmp "cpu/$file" "gpu/$file"; done

# A fit of k-means ends, early or late; two devices go on from what the three have left, to the bits of the whole.
fit='kmeans --data points.csv --clusters 7 --tolerance 0 --max-iterations 6 --checkpoint-every 0'
rm -rf cpu gpu
"$program" $fit --backend cpu --out cpu >/dev/null
resumed=0
for launch in 1 20 40; do
  status=0
  PTX_LOST=1:$launch "$program" $fit --backend cuda --device 0,1,2 --out gpu 2>line >/dev/null || status=$?
  test "$status" = 70
  grep -q '^scalelab: device 1 failed: .*cudaErrorIllegalAddress.*; the same command with --device 0,2 does without it$' line
  "$program" $fit --backend cuda --device 0,2 --out gpu >/dev/null
  for file in centroids.npy labels.npy; do cmp "cpu/$file" "gpu/$file"; done
  ! grep -q '"resumed_after": [1-9]' gpu/result.json || resumed=$((resumed + 1))
  rm -rf gpu
done
test "$resumed" -ge 1
