#!/usr/bin/env python3
"""Leaves out each barrier and fence of a kernel in turn, and says which of them the tests miss.

Usage: drops.py PROGRAM KERNEL [GTEST_FILTER]
Runs the test PROGRAM (a ptx_ program) under PTX_RACE=1 and PTX_DROP=N:KERNEL for N = 0, 1, ... until there is no N-th.
Exit status: 0 each was missed; 5 some were not; 2 misuse.
"""
import os
import re
import subprocess
import sys


def main(arguments):
    if len(arguments) not in (2, 3):
        print(__doc__, file=sys.stderr)
        return 2
    program, kernel, *rest = arguments
    settings = {"SCALELAB_REQUIRE_CUDA": "1", "SCALELAB_SMALL": "1", "PTX_MMA": "chain", "PTX_RACE": "1"}
    command = [program, "--gtest_brief=1", f"--gtest_filter={rest[0] if rest else '*'}"]
    number = unmissed = 0
    while True:
        environment = os.environ | settings | {"PTX_DROP": f"{number}:{kernel}"}
        result = subprocess.run(command, capture_output=True, text=True, env=environment)
        left_out = re.search(r"left out line \d+ of .*: (\S+)", result.stderr)
        if not left_out:
            break
        said = re.search(r"race: .*|divergent .*|DEADLOCK.*|nobody has written|Failure", result.stderr + result.stdout)
        missed = result.returncode != 0
        unmissed += not missed
        print(f"{kernel:<32} {number:>3} {left_out.group(1):<28} {said.group(0)[:60] if said and missed else 'NOT MISSED'}",
              flush=True)
        number += 1
    print(f"{kernel}: {number} left out, {unmissed} not missed")
    return 5 if unmissed or number == 0 else 0


sys.exit(main(sys.argv[1:]))
