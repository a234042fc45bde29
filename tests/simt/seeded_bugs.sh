#!/bin/sh
# seeded_bugs.sh ASAN RACE PLAIN: runs every case of seeded_bugs.cu in the three builds given, prints what each found,
# and fails unless every bug is found by A or B, each says what it must in every order, and no fixed twin is reported.
#   A  ASan and UBSan, forward and reverse      B  the race detector, forward, reverse and one random order
#   C  plain, three random orders; nothing is required of it
asan=$1 race=$2 plain=$3
export ASAN_OPTIONS=detect_leaks=0
tab=$(printf '\t')
failures=0

complain() {
  failures=$((failures + 1))
  echo "FAILED: $*"
}

# run RUNNER ORDER NAME bug|fixed: sets `output` and `status`.
run() {
  output=$(SIMT_ORDER=$2 "$1" "$3" "$4" 2>&1)
  status=$?
}

# One word or two for the table.
verdict() {
  case $output in
    *use-after-poison*) echo "asan" ;;
    *"simt: race"*) echo "race" ;;
    *"simt: deadlock"* | *"simt: divergent"*) echo "divergence" ;;
    *"nobody has written"*) echo "uninitialised" ;;
    *"host code touched"* | *"neither device memory"*) echo "wrong memory" ;;
    *"simt: "*"mask"*) echo "mask" ;;
    *"the launch gave it"*) echo "too small" ;;
    *"call failed"*) echo "call refused" ;;
    *"runtime error"*) echo "ubsan" ;;
    *"wrong result"*) echo "wrong result" ;;
    *) if [ $status = 0 ]; then echo "-"; else echo "ended"; fi ;;
  esac
}

# look BUILD RUNNER NAME MUST ORDER...: sets `found` for the table.
look() {
  build=$1 runner=$2 name=$3 must=$4
  shift 4
  found=-
  for order in "$@"; do
    run "$runner" "$order" "$name" fixed
    [ $status = 0 ] || complain "$build, $order: the fixed twin of '$name' ended with $status:$output"
    case $name in "(right)"*) continue ;; esac
    run "$runner" "$order" "$name" bug
    [ $status = 0 ] || found=$(verdict)
    [ "$must" = - ] && continue
    case $output in
      *"$must"*) ;;
      *) complain "$build, $order: '$name' must say '$must', but ended with $status: $output" ;;
    esac
  done
}

row='%-34s | %-13s | %-13s | %-13s\n'
printf "$row" bug "A asan" "B race" "C plain"
"$asan" --list > "$$.cases" || exit 1
exec 2> /dev/null  # the shell's own remarks on programs that end by a signal
while IFS=$tab read -r name must_a must_b; do
  look A "$asan" "$name" "$must_a" forward reverse
  a=$found
  look B "$race" "$name" "$must_b" forward reverse random:1
  b=$found
  look C "$plain" "$name" - random:1 random:2 random:3
  printf "$row" "$name" "$a" "$b" "$found"
  case $name in "(right)"*) continue ;; esac
  [ "$must_a$must_b" != -- ] || complain "'$name' is asked of neither A nor B"
done < "$$.cases"
echo "$(wc -l < "$$.cases") cases, $failures failures"
rm -f "$$.cases"
[ $failures = 0 ]
