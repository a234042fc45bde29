#!/usr/bin/env python3
"""How long a warp alone takes in the kernels that a process launched: a bound by what waits for what, and no time.

Usage: latency.py FILE    FILE: what a run with PTX_COUNT=FILE PTX_COUNT_CODE=1 wrote (README.md)
Of each kernel: warps, and of the mean warp the clocks that its straight pieces of code take one after the other, each best
scheduled and bound by its dependences or by what is issued. A piece ends where control may arrive or part, and at barriers.
A multiprocessor with few warps takes no less; one with many hides what one warp waits for behind the others. Clocks from an
instruction to one that needs its result are those of CLOCKS, chosen from published measurements of sm_80 and sm_90.
"""
import json
import re
import sys

from charge import charge

CLOCKS = [  # the first that fits an opcode
    (r"(ld|ldu)\..*global|ld\.", 200),  # of the second-level cache, now and then the first
    (r"(atom|red)\..*shared", 50),
    (r"(atom|red)\.", 400),
    (r"shfl|ldmatrix", 24),
    (r"mma", 33),
    (r"bar\.|barrier", 20),
    (r"(membar|fence)", 200),
]


def clocks_of(opcode):
    if re.match(r"ld\.param", opcode):
        return 0
    if re.match(r"ld\.(volatile\.)?shared", opcode):
        return 24
    if re.match(r"ld\.local", opcode):
        return 35
    for pattern, clocks in CLOCKS:
        if re.match(pattern, opcode):
            return clocks
    costs = charge(opcode)
    if costs["issue"] == 0:
        return 0
    return 4 * (1 + 0.7 * (costs["issue"] - 1)) + (16 if costs.get("special") else 0) + (4 if costs.get("fp64") else 0)


def alone(code):
    """Clocks that all warps take together, each as if alone."""
    whole, piece, ready, issued, longest = 0.0, 0, {}, 0.0, 0.0
    for begins, opcode, times, reads, writes in code:
        if begins:
            whole += piece * max(issued, longest)
            piece, ready, issued, longest = times, {}, 0.0, 0.0
        start = max((ready.get(place, 0.0) for place in reads), default=0.0)
        done = start + clocks_of(opcode)
        ready.update((place, done) for place in writes)
        issued += charge(opcode)["issue"]
        longest = max(longest, done + 8 if re.match(r"bra|bar|brx", opcode) else start + 1)
    return whole + piece * max(issued, longest)


def main(arguments):
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print(__doc__, file=sys.stderr)
        return 2
    with open(arguments[0]) as file:
        kernels = json.load(file)
    for name, kernel in kernels.items():
        warps = kernel["code"][0][2]
        print(f"{alone(kernel['code']) / warps:14,.0f} clocks of {warps:8,} warps in {kernel['launches']} launches: {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
