#!/usr/bin/env python3
"""Plants one small change at a time in ops and statistics, and demands that a test fails.

    tests/mutants.py --build build --count 24 --seed 1                  # files drawn from all below
    tests/mutants.py --build build --since origin/main                  # only what has changed: for CI
    tests/mutants.py --build build --files host/evidence/law.cpp        # these

A mutant is one line with one change: a comparison, a sign, a bound, a constant, a condition or a statement that is left
out. Its file's own tests are built and run; they must fail, not build, or not end in time. One that they pass is printed:
write the test that kills it, simplify the code that nothing needs, or, where both programs do the same, end the line with
the comment `// mutants: the same`, and why. The working tree is changed while this runs and put back at the end, however
it ends. Exit code 1: some survived.
"""
import argparse
import pathlib
import random
import re
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Each file's tests: programs that cmake builds. A file that is not named here has STEM_test.
TESTS = {
    'kernels/kmeans_rows-inl.h': ['kmeans_test'],
    'kernels/kmeans_tiles.cpp': ['kmeans_test'],
    'kernels/knn_tile-inl.h': ['knn_test', 'grid_test', 'neighbour_work_test'],
    'kernels/knn.cpp': ['knn_test', 'neighbour_work_test'],
    'kernels/mlp_block-inl.h': ['mlp_test', 'mlp_twins_test'],
    'kernels/mlp_bounds-inl.h': ['mlp_grid_test'],
    'kernels/cpu/parallel.cpp': ['parallel_test'],
    'kernels/cpu/proposals-inl.h': ['knn_test', 'kmeans_test'],
    'kernels/free_memory.cpp': ['free_memory_test'],
    'host/evidence/series.cpp': ['statistics_test', 'sweep_test'],
    'host/evidence/seed_errors.cpp': ['statistics_test', 'compare_test'],
    'host/program/file_lock.cpp': ['files_test', 'store_test'],
    'host/program/signals.cpp': ['files_test', 'program_test'],
    'host/data/file_kind.cpp': ['dataset_test'],
}
FILES = ['kernels/*.cpp', 'kernels/*-inl.h', 'kernels/cpu/*', 'host/evidence/*.cpp', 'host/lab/difficulty.cpp',
         'host/lab/store.cpp', 'host/lab/error_count.cpp', 'host/program/file*.cpp', 'host/data/*.cpp']
CHANGES = [
    (r' < ', ' <= '), (r' <= ', ' < '), (r' > ', ' >= '), (r' >= ', ' > '), (r' == ', ' != '), (r' != ', ' == '),
    (r' && ', ' || '), (r' \|\| ', ' && '), (r' \+ ', ' - '), (r' - ', ' + '), (r' \+= ', ' -= '), (r' \* ', ' / '),
    (r'std::min\b', 'std::max'), (r'std::max\b', 'std::min'), (r'\btrue\b', 'false'), (r'\bfalse\b', 'true'),
    (r'\b([1-9][0-9]*)\b', lambda match: str(int(match[1]) + 1)), (r'\bif \(', 'if (!('),
    (r'^(\s+)(?:[a-z_.\[\]]+ [-+*|&]?= .*|\+\+.*|return .*|continue|break);$', lambda match: match[1] + ';'),
]


def tests_of(file):
    named = TESTS.get(file, [pathlib.Path(file).stem.removesuffix('-inl') + '_test'])
    return [test for test in named if (ROOT / 'tests' / (test + '.cpp')).exists()]


def mutants_of(file):
    """Every (line number, changed line) of a file, in order."""
    found = []
    for number, line in enumerate((ROOT / file).read_text().split('\n')):
        code = line.split('//')[0]
        if 'mutants: the same' in line or not code.strip() or re.match(r'\s*(#|static_assert|using|template|namespace)', code):
            continue
        for pattern, to in CHANGES:
            for match in re.finditer(pattern, code):
                if code[:match.start()].count('"') % 2:  # within a text
                    continue
                new = code[:match.start()] + (to(match) if callable(to) else to) + code[match.end():]
                if new.count('if (!(') > code.count('if (!('):  # the condition's end, where it stands on this line
                    end = new.rfind(')')
                    if new.count('(') != new.count(')') + 1 or end < 0:
                        continue
                    new = new[:end] + '))' + new[end + 1:]
                found.append((number, new + line[len(code):]))
    return found


def outcome(build, tests, limit):
    made = subprocess.run(['cmake', '--build', build, '-j2', '--target', *tests], cwd=ROOT, capture_output=True, text=True)
    if made.returncode != 0:
        return 'does not build'
    for test in tests:
        try:
            ran = subprocess.run([f'{build}/{test}', '--gtest_brief=1', '--gtest_fail_fast'], cwd=ROOT, timeout=limit,
                                 capture_output=True)
        except subprocess.TimeoutExpired:
            return 'does not end'
        if ran.returncode != 0:
            return 'killed'
    return 'SURVIVED'


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument('--build', default='build', help='a configured build folder')
    options.add_argument('--count', type=int, default=24)
    options.add_argument('--seed', type=int, default=1)
    options.add_argument('--files', nargs='*', default=None)
    options.add_argument('--since', help='only files that differ from this commit')
    given = options.parse_args()
    files = given.files or sorted(str(f.relative_to(ROOT)) for p in FILES for f in ROOT.glob(p))
    if given.since:
        changed = subprocess.run(['git', 'diff', '--name-only', given.since], cwd=ROOT, check=True, capture_output=True,
                                 text=True).stdout.split()
        files = [file for file in files if file in changed]
    files = [file for file in files if tests_of(file)]
    draw = random.Random(given.seed)
    mutants = [(file, *mutant) for file in files for mutant in mutants_of(file)]
    mutants = draw.sample(mutants, min(given.count, len(mutants)))
    if not mutants:
        print('nothing to change')
        return 0
    took = {}  # how long each file's tests take as they are; they must pass
    counts = {}
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    for file, number, new in sorted(mutants):
        if file not in took:
            began = time.monotonic()
            if (said := outcome(given.build, tests_of(file), 3600)) != 'SURVIVED':
                sys.exit(f'{file}: its tests do not pass as it is: {said}')
            began = time.monotonic()
            outcome(given.build, tests_of(file), 3600)
            took[file] = time.monotonic() - began
        path = ROOT / file
        text = path.read_text()
        lines = text.split('\n')
        old, lines[number] = lines[number], new
        try:
            path.write_text('\n'.join(lines))
            said = outcome(given.build, tests_of(file), 5 * took[file] + 10)
        finally:
            path.write_text(text)
        counts[said] = counts.get(said, 0) + 1
        print(f'{said:15} {file}:{number + 1}\n' + (f'    {old.strip()}\n    {new.strip()}\n' if said == 'SURVIVED' else ''),
              end='', flush=True)
    print(', '.join(f'{count} {said}' for said, count in sorted(counts.items())))
    return 1 if counts.get('SURVIVED') else 0


if __name__ == '__main__':
    sys.exit(main())
