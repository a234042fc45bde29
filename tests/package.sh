#!/bin/sh
# package.sh BUILD [python]: makes the Debian packages of a build, and tries them in an empty root of this system's release:
# they are installed there with all they ask for, the program runs, and tests/consumer is built against a library without
# CUDA and gives its answer. With `python` the module is then built there as README.md says, by pip, and passes its tests.
# Run as root, with dpkg-dev, file and mmdebstrap. Exit code 69: no root can be made here.
set -eu
source=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
build=$(CDPATH='' cd -- "$1" && pwd)
python=${2:-}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

(cd "$build" && cpack -G DEB -B "$work/packages" >"$work/log" 2>&1) || { cat "$work/log"; exit 1; }
ls -sh "$work/packages"/*.deb
cat >"$work/try.sh" <<'END'
set -eux
DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends /packages/*.deb >/log 2>&1 || { tail /log; exit 1; }
scalelab --version
scalelab dataset --n 50 --out /points.csv
scalelab boundary --data /points.csv --grid 64 --k 1 --out /boundary
test -s /boundary/boundary.png
scalelab bench run --op kmeans --axis n=10 --axis k=2 --budget 0.01 --rounds 1 --peers --quiet | grep 'Absent: .*python3'
test -s /usr/share/man/man1/scalelab.1 -o -s /usr/share/man/man1/scalelab.1.gz
test -s /usr/share/bash-completion/completions/scalelab
test -z "$(ls /packages/scalelab-mpi*.deb 2>/dev/null)" -o -s /usr/lib/scalelab/scalelab_mpi.so
if grep -q CUDAToolkit "$(find /usr/lib -name scalelabConfig.cmake)"; then
  echo 'left out: tests/consumer, as there is no CUDA toolkit here to link a library with CUDA (the test Consumer does)'
else
  env -i PATH="$PATH" cmake -S /consumer -B /consumer/build >/dev/null
  cmake --build /consumer/build >/dev/null
  /consumer/build/consumer | grep -x '0 1 1 0 2 0 3 4 4 3 by scalelab [0-9.]*'
fi
if [ -d /source ]; then
  DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends g++ cmake python3-dev python3-venv libhwy-dev \
    librandom123-dev nlohmann-json3-dev libfmt-dev libboost-dev >/log 2>&1 || { tail /log; exit 1; }
  [ ! -e /certificates ] || { cp /certificates /etc/ssl/certs/ca-certificates.crt; export PIP_CERT=/etc/ssl/certs/ca-certificates.crt; }
  python3 -m venv /venv
  /venv/bin/pip install -q /source pytest scikit-learn matplotlib pandas
  (cd / && SCALELAB_PROGRAM=/usr/bin/scalelab /venv/bin/python -m pytest -q -p no:cacheprovider /source/tests/python)
fi
apt-get purge -qy scalelab libscalelab-dev >/dev/null
test ! -e /usr/bin/scalelab -a ! -e /usr/include/scalelab
END
. /etc/os-release
mkdir "$work/root"  # what the root is given
mv "$work/packages" "$work/try.sh" "$work/root"
cp -r "$source/tests/consumer" "$work/root"
if [ "$python" = python ]; then
  mkdir "$work/root/source"
  (cd "$source" && git ls-files -z | xargs -0 cp --parents -t "$work/root/source")
  # Where pip is told of certificates of this machine's own, it needs them there too.
  if [ -n "${PIP_CERT:-}" ]; then cp "$PIP_CERT" "$work/root/certificates"; fi
fi
# What fails before the root stands (no mirror, no right to change roots) is no fault of the packages. mmdebstrap makes /proc
# read-only, where tests of the module reset the peak of their memory.
mmdebstrap --quiet --variant=apt --include=g++,cmake,make,ca-certificates --format=null \
  --customize-hook="sync-in '$work/root' /" \
  --customize-hook='mount -o remount,rw "$1/proc" || true' \
  --customize-hook="touch '$work/began'" --customize-hook='chroot "$1" sh /try.sh' "$VERSION_CODENAME" - || {
  [ ! -e "$work/began" ] || exit 1
  echo 'left out: no empty root can be made here'
  exit 69
}
