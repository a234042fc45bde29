#!/usr/bin/env python3
"""Plants one small change at a time in ops, statistics and device code, and demands that a test fails.

    tests/mutants.py --build build --count 24 --seed 1                  # files drawn from all below
    tests/mutants.py --build build --since HEAD~1 --seconds 60          # only lines that have changed since: for CI
    tests/mutants.py --build build --files host/evidence/law.cpp        # these
    tests/mutants.py --build build --files 'kernels/*.cu*' --kinds barrier fence fragment alignment comparison constant
    tests/mutants.py --build build --planted                            # the faults of device code in tests/cuda/mutants.txt

A mutant is one line with one change, of the kinds below, which are drawn in turn. The changed file lies in a folder of its
own that is searched before the sources: neither the working tree nor the build folder is changed, which Make has built
(of device code its tests in tests/ptx, too: target ptx_legs). What includes the file is compiled, for one vector target or
one architecture, and its tests are linked with that and run; one must fail, or not end in time. A mutant that they pass is
printed: write the test that kills it, simplify the code that nothing needs, or, where both programs do the same, end the
line with the comment `// mutants: the same`, and why. Exit code 3: some survived.

Of a planted fault each leg is run until one fails, and what that says is printed: first of the file of the op that a test
is of, compiled alone, then of all that include the fault. --list says whether the list still fits the sources.
"""
import argparse
import collections
import json
import os
import pathlib
import random
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
PLANTED = ROOT / 'tests/cuda/mutants.txt'
FILES = ['kernels/*.cpp', 'kernels/*-inl.h', 'kernels/cpu/*', 'kernels/distance.h', 'kernels/tile.h', 'host/evidence/*.cpp',
         'host/lab/difficulty.cpp', 'host/lab/store.cpp', 'host/lab/error_count.cpp', 'host/lab/visit_order.cpp',
         'host/program/file*.cpp', 'host/data/*.cpp', 'kernels/*.cu', 'kernels/*.cuh', 'kernels/cuda/*']
# Each file's tests: programs that cmake builds. A file that is not named here has STEM_test, device code ptx_STEM.
TESTS = {
    'kernels/distance.h': ['knn_test', 'grid_test'],
    'kernels/tile.h': ['knn_test', 'grid_test', 'kmeans_test', 'neighbour_work_test'],
    'kernels/kmeans_rows-inl.h': ['kmeans_test'],
    'kernels/kmeans_tiles.cpp': ['kmeans_test'],
    'kernels/kmeans_check.cpp': ['kmeans_test'],
    'kernels/knn_tile-inl.h': ['knn_test', 'grid_test', 'neighbour_work_test'],
    'kernels/knn.cpp': ['knn_test', 'neighbour_work_test'],
    'kernels/knn_check.cpp': ['knn_test', 'grid_test'],
    'kernels/mlp_block-inl.h': ['mlp_test', 'mlp_twins_test'],
    'kernels/mlp_bounds-inl.h': ['mlp_grid_test'],
    'kernels/mlp_check.cpp': ['mlp_test', 'mlp_grid_test'],
    'kernels/cpu/chains-inl.h': ['xor_sgd_test', 'max_margin_test'],
    'kernels/cpu/examined.h': ['neighbour_work_test'],
    'kernels/cpu/parallel.h': ['parallel_test'],
    'kernels/cpu/point_tree.h': ['knn_test', 'grid_test', 'neighbour_work_test'],
    'kernels/cpu/proposals-inl.h': ['knn_test', 'kmeans_test'],
    'kernels/cpu/proposals.h': ['knn_test', 'kmeans_test'],
    'kernels/cpu/vector_math-inl.h': ['math_test', 'mlp_test'],
    'host/evidence/series.cpp': ['statistics_test', 'sweep_test'],
    'host/evidence/seed_errors.cpp': ['statistics_test', 'compare_test'],
    'host/evidence/finding.cpp': ['statistics_test', 'compare_test'],
    'host/program/file_lock.cpp': ['files_test', 'store_test'],
    'host/data/file_kind.cpp': ['dataset_test'],
    'host/data/npy.cpp': ['npy_test', 'source_test'],
    'kernels/knn.cu': ['ptx_knn', 'ptx_neighbour_work', 'ptx_twins'],
    'kernels/grid.cu': ['ptx_grid', 'ptx_neighbour_work', 'ptx_twins'],
    'kernels/kmeans.cu': ['ptx_kmeans', 'ptx_twins'],
    'kernels/mlp.cu': ['ptx_mlp_twins', 'ptx_mlp'],
    'kernels/mlp_block.cuh': ['ptx_mlp_twins', 'ptx_mlp', 'ptx_mlp_grid'],
    'kernels/mlp_gradients.cuh': ['ptx_mlp_twins', 'ptx_mlp'],
    'kernels/mlp_train.cuh': ['ptx_mlp_twins', 'ptx_mlp', 'ptx_team_barrier'],
    'kernels/mlp_math.cuh': ['ptx_mlp_twins', 'ptx_mlp'],
    'kernels/cuda/mma.cuh': ['ptx_mma', 'ptx_mlp', 'ptx_mlp_twins'],
    'kernels/cuda/pairwise.cuh': ['ptx_knn', 'ptx_kmeans'],
    'kernels/cuda/tree_search.cuh': ['ptx_knn', 'ptx_grid', 'ptx_kmeans'],
    'kernels/cuda/box_tree.cuh': ['ptx_knn', 'ptx_grid', 'ptx_kmeans'],
    'kernels/cuda/box_tree.cu': ['ptx_knn', 'ptx_grid', 'ptx_kmeans'],
    'kernels/cuda/point_order.cu': ['ptx_knn', 'ptx_kmeans'],
    'kernels/cuda/device.cuh': ['ptx_knn', 'ptx_kmeans', 'ptx_mlp_twins'],
}
# What is changed, and into what. The last kinds are of device code alone.
REGISTER = r'(?:\w+(?:\.\w+)*\.[xyzw]|%\d+)'  # of a fragment, or an operand of an instruction
KINDS = {
    'comparison': [(r' < ', ' <= '), (r' <= ', ' < '), (r' > ', ' >= '), (r' >= ', ' > '), (r' == ', ' != '), (r' != ', ' == ')],
    'logic': [(r' && ', ' || '), (r' \|\| ', ' && '), (r'\btrue\b', 'false'), (r'\bfalse\b', 'true')],
    'arithmetic': [(r' \+ ', ' - '), (r' - ', ' + '), (r' \+= ', ' -= '), (r' \* ', ' / ')],
    'extreme': [(r'std::min\b', 'std::max'), (r'std::max\b', 'std::min')],
    'constant': [(r'\b([1-9][0-9]*)\b', lambda match: str(int(match[1]) + 1))],
    'condition': [(r'\bif \(', 'if (!(')],
    'statement': [(r'^(\s+)(?:[a-z_.\[\]]+ [-+*|&]?= .*|\+\+.*|return .*|continue|break);$', r'\1;')],
    'barrier': [(r'(?:__sync(?:threads|warp)\([^()]*\)|crew\.sync\(\)|cluster_barrier\(\));', ';')],
    'fence': [(r'__threadfence\(\);', ';')],
    'alignment': [(r'(alignas|__align__)\(16\)', r'\1(4)')],
    'fragment': [(rf'({REGISTER}), ({REGISTER})', r'\2, \1')],
}
DEVICE_KINDS = {'barrier', 'fence', 'alignment', 'fragment'}
# kind: of a planted one what it is. test: the only one to be run, and the only source to be compiled for it; empty: all.
Mutant = collections.namedtuple('Mutant', 'file line kind text arch test', defaults=['90a', ()])


def on_device(file):
    return file.endswith(('.cu', '.cuh'))


def source_of(program):
    """The stem of a test's own source."""
    stem = program.removeprefix('ptx_').removesuffix('_test')
    return stem if (ROOT / f'tests/cuda/{stem}.cu').exists() else stem + '_test'


def tests_of(file):
    stem = pathlib.Path(file).stem.removesuffix('-inl')
    named = TESTS.get(file, [f'ptx_{stem}' if on_device(file) else f'{stem}_test'])
    return [name for name in named if list((ROOT / 'tests').rglob(source_of(name) + '.c*'))]


def changed_line(code, match, to):
    """The line with one match replaced, or None where that is no whole condition."""
    new = code[:match.start()] + (to(match) if callable(to) else match.expand(to)) + code[match.end():]
    if to != 'if (!(':
        return new
    depth, end = 1, match.start() + len('if (!')  # of the condition, where it stands on this line
    while depth > 0 and end + 1 < len(new):
        end += 1
        depth += {'(': 1, ')': -1}.get(new[end], 0) if end > match.start() + len('if (!') else 0
    return new[:end] + '))' + new[end + 1:] if depth == 0 else None


def mutants_of(file):
    found = []
    for number, line in enumerate((ROOT / file).read_text().split('\n')):
        code = line.split('//')[0]
        if 'mutants: the same' in line or re.match(r'\s*(#|static_assert|using|template|namespace|$)', code):
            continue
        for kind, changes in KINDS.items():
            if kind in DEVICE_KINDS and not on_device(file):
                continue
            for pattern, to in changes:
                for match in re.finditer(pattern, code):
                    if kind != 'fragment' and code[:match.start()].count('"') % 2:  # within a text
                        continue
                    if (new := changed_line(code, match, to)) not in (None, code):
                        found.append(Mutant(file, number, kind, new + line[len(code):]))
    return found


def planted():
    """The mutants of the list; an error where one does not fit the sources."""
    found = []
    for record in re.split(r'^= ', PLANTED.read_text(), flags=re.M)[1:]:
        head, *rest = [line for line in record.split('\n') if line and not line.startswith('#')]
        file, arch, what = re.fullmatch(r'(\S+) (?:(\d+a?) )?(.*)', head).groups('90a')
        parts = {line[0]: line[2:] for line in rest}
        lines = (ROOT / file).read_text().split('\n')
        starts = [i for i, line in enumerate(lines) if parts.get('@', '') in line]
        places = [i for i, line in enumerate(lines) if parts['-'] in line and starts and i >= starts[0]]
        if not places or '@' in parts and len(starts) > 1 or '@' not in parts and len(places) > 1:
            sys.exit(f'{PLANTED.relative_to(ROOT)}: no line, or more than one, of {file} is meant by: {what}')
        line = places[0]
        new = lines[line].replace(parts['-'], parts['+'], 1)
        found.append(Mutant(file, line, what, new, arch, tuple(parts.get('?', '').split())))
    return found


def changed_since(commit):
    """{file: numbers of its lines that a commit did not have}"""
    said = subprocess.run(['git', 'diff', '-U0', '--no-color', '--no-ext-diff', commit], cwd=ROOT, check=True,
                          capture_output=True, text=True, errors='replace').stdout
    lines, file = collections.defaultdict(set), ''
    for line in said.split('\n'):
        if line.startswith('+++ b/'):
            file = line[len('+++ b/'):]
        elif match := re.match(r'@@ -\S+ \+(\d+)(?:,(\d+))? @@', line):
            first = int(match[1]) - 1
            lines[file].update(range(first, first + int(match[2] or 1)))
    return lines


def drawn(mutants, count, seed):
    """So many of them: of each kind in turn, as long as it has any."""
    draw = random.Random(seed)
    by_kind = {kind: [mutant for mutant in mutants if mutant.kind == kind] for kind in KINDS}
    for some in by_kind.values():
        draw.shuffle(some)
    taken = []
    while len(taken) < count and any(by_kind.values()):
        taken += [some.pop() for some in by_kind.values() if some]
    return taken[:count]


class Build:
    """A build folder, and the programs made from it with one file changed, in a folder of their own."""

    def __init__(self, folder, own):
        self.folder, self.own = pathlib.Path(folder).resolve(), pathlib.Path(own)
        (self.own / 'sources').mkdir()
        commands = json.loads((self.folder / 'compile_commands.json').read_text())
        self.commands = {str(pathlib.Path(c['file']).relative_to(ROOT)): c for c in commands
                         if pathlib.Path(c['file']).is_relative_to(ROOT) and 'headers_alone' not in c['command']}
        self.includes = {str(file.relative_to(ROOT)): set(re.findall(r'#include "([^"]+)"', file.read_text()))
                         for top in ('kernels', 'host', 'bench', 'tests', 'include') for file in (ROOT / top).rglob('*.*')
                         if file.suffix in ('.h', '.cpp', '.cu', '.cuh')}

    def compiled_from(self, file):
        """The sources that see a file, but for tests that are not its own."""
        seen, more = {file}, [file]
        while more:
            header = more.pop()
            for other, included in self.includes.items():
                if other not in seen and (header in included or f'include/{header}' in included):
                    seen.add(other)
                    more.append(other)
        own = {source_of(name) for name in tests_of(file)}
        return sorted(f for f in seen & self.commands.keys() if not f.startswith('tests/') or pathlib.Path(f).stem in own)

    def compile(self, source, arch='90a'):
        """(whether it compiles, the object's name in the build folder, the object, what the compiler said)"""
        entry = self.commands[source]
        words = shlex.split(entry['command'])
        if pathlib.Path(words[0]).name == 'ccache':
            del words[0]
        place = words.index('-o') + 1
        name = os.path.relpath(os.path.join(entry['directory'], words[place]), self.folder)
        made = self.own / (source.replace('/', '_') + '.o')
        words[place] = str(made)
        here = self.own / 'sources' / source
        words[words.index('-c') + 1] = str(here if here.exists() else ROOT / source)
        if source.endswith('.cu'):
            words = [w for w in words if not w.startswith('--generate-code')] + [
                f'--generate-code=arch=compute_{arch},code=[compute_{arch}]']
        elif '#include "hwy/foreach_target.h"' in (ROOT / source).read_text():
            words += ['-march=native', '-DHWY_COMPILE_ONLY_STATIC']
        words.insert(1, f'-I{self.own}/sources')
        done = subprocess.run(words, cwd=entry['directory'], capture_output=True, text=True)
        return done.returncode == 0, name, made, done.stderr

    def link(self, program, objects):
        """The program of the build folder with these objects, {name there: object}, in the place of its own."""
        folder = self.folder / ('tests/ptx' if program.startswith('ptx_') else '.')
        target = 'scalelab_program' if program == 'scalelab' else program
        words = shlex.split((folder / f'CMakeFiles/{target}.dir/link.txt').read_text())
        words[words.index('-o') + 1] = str(self.own / program)
        rest = dict(objects)
        for place, word in enumerate(words):
            at = os.path.relpath(os.path.normpath(folder / word), self.folder)
            if at in rest:
                words[place] = str(rest.pop(at))
        library = 'libscalelab_host.a' if any('libscalelab_host.a' in word for word in words) else None
        own = [str(made) for name, made in rest.items() if name.startswith('CMakeFiles/scalelab.dir/') or
               (library and name.startswith('CMakeFiles/scalelab_host.dir/'))]
        place = words.index('-o')  # before the libraries, whose members of the same names are then not taken
        done = subprocess.run(words[:place] + own + words[place:], cwd=folder, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f'{program} cannot be linked; is {self.folder} built, by Make?\n{done.stderr[-2000:]}')

    def runs_of(self, program, arch):
        """What ctest runs of a test on an architecture: [(command, environment)]."""
        if not program.startswith('ptx_'):
            return [([str(self.own / program), '--gtest_brief=1', '--gtest_fail_fast'], {})]
        listed = subprocess.run(['ctest', '--test-dir', str(self.folder), '-C', 'ptx', '-R', '^ptx', '--show-only=json-v1'],
                                capture_output=True, text=True, check=True).stdout
        found = []
        for test in json.loads(listed)['tests']:
            command = test.get('command', [''])
            settings = next((p['value'] for p in test['properties'] if p['name'] == 'ENVIRONMENT'), [])
            on = next((s.removeprefix('PTX_ARCH=') for s in settings if s.startswith('PTX_ARCH=')), '90')
            if pathlib.Path(command[0]).name == program and on == arch.removesuffix('a'):
                leg = test['name'].split('.')[1]
                found.append((leg, [str(self.own / program), '--gtest_fail_fast', *command[1:]],
                              dict(s.split('=', 1) for s in settings)))
        order = ['sm_90', 'race', 'initcheck', 'random']  # what finds most, first
        found.sort(key=lambda run: order.index(run[0]) if run[0] in order else len(order))
        return [run[1:] for run in found]

    def outcome(self, file, limits, arch='90a', test=(), alone=False, changed=True):
        """Of a file as it lies here: what its tests, or the one named, say. limits: seconds by run, filled where it is None.
        alone: each test first with nothing changed but the source that it is named after. changed: whether anything is to
        be compiled."""
        tests, objects = list(test[:1]) or tests_of(file), {}
        sources = (list(test[1:]) or self.compiled_from(file)) if changed else []

        def compile_some(wanted):
            for source in sources:
                if wanted(source) and source not in objects:
                    good, name, made, said = self.compile(source, arch)
                    if not good:
                        return said
                    objects[source] = {name: made}
            return None

        for program in tests if alone else []:
            stem = source_of(program).removesuffix('_test')
            if said := compile_some(lambda source: pathlib.Path(source).stem.removesuffix('_test') in (stem, stem.removesuffix('_twins'))):
                return 'does not build', said
            if objects and (found := self.run(program, objects, limits, arch)):
                return found
        if len(objects) == len(sources) and alone:
            return 'SURVIVED', ''
        if said := compile_some(lambda source: True):
            return 'does not build', said
        return next(filter(None, (self.run(program, objects, limits, arch) for program in tests)), ('SURVIVED', ''))

    def run(self, program, objects, limits, arch):
        """How a test fails with objects, {source: {name: object}}, in the place of its own, or None."""
        together = {name: made for object_of in objects.values() for name, made in object_of.items()}
        if self.includes.get(f'tests/{source_of(program)}.cpp', set()) & {'tests/program.h', 'tests/paths.h'}:
            self.link('scalelab', together)
        self.link(program, together)
        here = {'SCALELAB_PROGRAM': str(self.own / 'scalelab')}  # tests/paths.h
        for number, (command, settings) in enumerate(self.runs_of(program, arch)):
            began = time.monotonic()
            run = (program, number)
            said = f'{program} {" ".join(f"{k}={v}" for k, v in settings.items() if k not in SETTINGS)}: '
            try:
                done = subprocess.run(command, env=os.environ | here | settings, capture_output=True, text=True, errors='replace',
                                      cwd=self.own, timeout=limits.get(run))
            except subprocess.TimeoutExpired:
                return 'does not end', said
            if done.returncode != 0:
                return 'killed', said + in_short(done) + '\n' + done.stdout[-1500:]
            limits.setdefault(run, 5 * (time.monotonic() - began) + 10)
        return None


SETTINGS = {'PTX_LIMIT', 'SCALELAB_REQUIRE_CUDA', 'SCALELAB_SMALL'}  # of every leg


def in_short(done):
    """What a test that failed says first: a fault of the PTX machine, a test, or a call."""
    said = done.stderr + done.stdout
    for pattern in (r'^PTX machine[^\n]*\n  (?:grid [^\n]*\n  )?([^\n]*)', r'\[  FAILED  \] ([\w./]+)', r'([^\n]+)'):
        if match := re.search(pattern, said, re.M):
            return match[1]
    return f'exit code {done.returncode}'


def run_all(build, mutants, seconds, are_planted):
    """Prints and counts the outcomes; begins no mutant after so many seconds."""
    counts, limits, began = collections.Counter(), {}, time.monotonic()
    for done, mutant in enumerate(sorted(mutants)):
        if time.monotonic() - began > seconds:
            print(f'{len(mutants) - done} of {len(mutants)} left for want of time')
            break
        here = build.own / 'sources' / mutant.file
        here.parent.mkdir(parents=True, exist_ok=True)
        tests = (mutant.file, mutant.arch, mutant.test)
        if tests not in limits:
            shutil.copy(ROOT / mutant.file, here)
            limits[tests] = {}
            said, why = build.outcome(*tests[:1], limits[tests], *tests[1:], changed=not are_planted)
            if said != 'SURVIVED':
                sys.exit(f'{mutant.file}: its tests do not pass as it is: {said}\n{why}')
        lines = (ROOT / mutant.file).read_text().split('\n')
        old, lines[mutant.line] = lines[mutant.line], mutant.text
        here.write_text('\n'.join(lines))
        said, why = build.outcome(*tests[:1], limits[tests], *tests[1:], alone=are_planted)
        here.unlink()
        counts[said] += 1
        print(f'{said:15} {mutant.file}:{mutant.line + 1} {mutant.kind}', flush=True)
        if are_planted:
            print('    ' + why.split('\n')[0], flush=True)
        if said == 'SURVIVED':
            print(f'    {old.strip()}\n    {mutant.text.strip()}', flush=True)
    print(', '.join(f'{count} {said}' for said, count in sorted(counts.items())) or 'none')
    return counts


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument('--build', default='build', help='a folder that Make has built')
    options.add_argument('--count', type=int, default=24)
    options.add_argument('--seed', type=int, default=1)
    options.add_argument('--files', nargs='*', default=FILES, help='patterns')
    options.add_argument('--kinds', nargs='*', choices=list(KINDS), default=list(KINDS))
    options.add_argument('--planted', nargs='?', const='', help='of the list tests/cuda/mutants.txt; PLANTED: a part of file or fault')
    options.add_argument('--since', help='only lines that this commit does not have')
    options.add_argument('--seconds', type=float, default=float('inf'), help='begin no mutant after so many')
    options.add_argument('--list', action='store_true', help='print the mutants and stop')
    given = options.parse_args()
    if given.planted is not None:
        mutants = [mutant for mutant in planted() if given.planted in f'{mutant.file} {mutant.kind}']
        return end(mutants, given)
    files = sorted({str(f.relative_to(ROOT)) for p in given.files for f in ROOT.glob(p)})
    has_ptx = (pathlib.Path(given.build) / 'tests/ptx/ptx_scalelab').exists()
    files = [file for file in files if tests_of(file) and (has_ptx or not on_device(file))]
    mutants = [mutant for file in files for mutant in mutants_of(file) if mutant.kind in given.kinds]
    if given.since:
        changed = changed_since(given.since)
        mutants = [mutant for mutant in mutants if mutant.line in changed[mutant.file]]
    return end(drawn(mutants, given.count, given.seed), given)


def end(mutants, given):
    """Runs or lists them; the exit code."""
    if not mutants:
        print('nothing to change')
        return 0
    if given.list:
        print('\n'.join(f'{m.file}:{m.line + 1} {m.kind}: {m.text.strip()}' for m in sorted(mutants)))
        return 0
    with tempfile.TemporaryDirectory(prefix='mutants-') as own:
        counts = run_all(Build(given.build, own), mutants, given.seconds, given.planted is not None)
        return 3 if counts['SURVIVED'] else 0


if __name__ == '__main__':
    sys.exit(main())
