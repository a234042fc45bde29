#!/bin/sh
# devices.sh PROGRAM: k-means by one to three devices of the PTX machine (PTX_DEVICES=3) leaves the files that the CPU
# leaves, and a device that is not there is named in one line.
set -eu
program=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"$program" dataset --n 8500 --out points.csv >/dev/null  # three blocks of rows, one for each device
fit() { "$program" kmeans --data points.csv --clusters 7 --max-iterations 2 --out "$@" >/dev/null; }
fit cpu --backend cpu
for devices in 0 1 0,1 2,0,1 all; do
  fit gpu --backend cuda --device "$devices"
  cmp cpu/centroids.npy gpu/centroids.npy
  cmp cpu/labels.npy gpu/labels.npy
  grep '"inertia"' cpu/result.json >inertia
  grep -q -x -F -f inertia gpu/result.json
done
grep -q '"ranks": 3' gpu/result.json  # all
status=0
fit none --backend cuda --device 0,3 2>line || status=$?
test "$status" = 2
test "$(cat line)" = 'scalelab: rank 1 of 2: device 3 does not exist: there are 3'
