#!/usr/bin/env python3
"""What every CUDA kernel takes of a multiprocessor, held against limits. Needs nvcc, no GPU.

Use: tests/kernel_resources.py BUILD_DIR [--arch 80,90a] [--only knn,grid] [--json FILE] [--loops]

Reads the machine code that BUILD_DIR holds of each kernels/*.cu, for every architecture that it was built for (or those
named), and prints of each kernel registers, stack and static shared memory; then, from the launch stated in KERNELS
below, dynamic shared memory and the occupancy that follows; 0 % where it does not fit, and the ops launch another one. Exit
status 1 when a kernel exceeds its limits, is missing from KERNELS, or is listed there and does not exist.

--loops adds the instructions that the loops over candidates (LOOPS) issue for one candidate and one query, read off the
SASS of sm_90a with cuobjdump and nvdisasm (CUDA Toolkit), and the rate that follows on an H100 where nothing but
issuing limits it: a floor, not a measurement.
"""
import argparse
import concurrent.futures
import ctypes
import json
import os
import pathlib
import re
import shlex
import shutil
import struct
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent

# Shared memory of a network 2-T0-T0-T0-1 without layer norm, in training and when scored: weights and biases, then
# features and planes of kRow floats a row (make_layout, TrainParts::of and scoring_floats say the same).
NETWORK = "3 * (T0 + 4) + 3 * T0 + 2 * T0 * (T0 + 4) + 4"
TRAIN = f"sizeof(TrainShared<kSamples>) + 4ull * ({NETWORK} + 3 * kRow + 3 * T0 * kRow)"
SCORE = f"4ull * ({NETWORK} + 2 * kRow + 2 * T0 * kRow)"

# kernel: threads of a block, dynamic shared memory (both C++ expressions of its file; T0, T1 are its template
# arguments), most registers and least occupancy in percent, both on sm_80 and sm_90a. A kernel that is not in STACKS may use
# no stack on any architecture, and so does not spill.
KERNELS = {
    "box_tree.cu": {
        "move_kernel": ("kThreads", "0", 40, 75),
        "nodes_kernel": ("kThreads", "0", 40, 75),
    },
    "point_order.cu": {
        "buckets_kernel": ("kSamples / 2", "sizeof(Window<kSamples>)", 40, 75),
        "codes_kernel": ("kThreads", "0", 40, 75),
        "gather_kernel": ("kThreads", "0", 40, 75),
        "window_kernel<256>": ("kWindow / 2", "sizeof(Window<T0>)", 40, 75),
        "window_kernel<1024>": ("kOneWindow / 2", "sizeof(Window<T0>)", 40, 75),
    },
    "knn.cu": {
        "knn_together_kernel<1>": ("kThreads", "kWarpsPerBlock * sizeof(TogetherShared<T0>)", 64, 50),
        "knn_together_kernel<3>": ("kThreads", "kWarpsPerBlock * sizeof(TogetherShared<T0>)", 64, 50),
        "knn_together_kernel<5>": ("kThreads", "kWarpsPerBlock * sizeof(TogetherShared<T0>)", 64, 50),
        "knn_together_kernel<9>": ("kThreads", "kWarpsPerBlock * sizeof(TogetherShared<T0>)", 80, 37),
        "knn_together_kernel<16>": ("kThreads", "kWarpsPerBlock * sizeof(TogetherShared<T0>)", 102, 31),
        "knn_together_kernel<32>": ("kThreads", "kWarpsPerBlock * sizeof(TogetherShared<T0>)", 168, 18),
        "knn_alone_kernel": ("kThreads", "kWarpsPerBlock * sizeof(AloneBuffer)", 48, 60),
        "knn_pairs_kernel<64, 64>": ("kPairThreads", "sizeof(PairsShared<T0, T1>)", 168, 18),
        "knn_pairs_kernel<16, 256>": ("kPairThreads", "sizeof(PairsShared<T0, T1>)", 168, 12),
        "knn_merge_kernel": ("kThreads", "kWarpsPerBlock * sizeof(MergeShared)", 48, 60),
        "merge_splits_kernel": ("kThreads", "kWarpsPerBlock * sizeof(AloneBuffer)", 48, 60),
    },
    "grid.cu": {
        "grid_region_kernel<1, false>": ("kThreads", "kWarpsPerBlock * sizeof(RegionShared<T0>)", 128, 25),
        "grid_region_kernel<3, false>": ("kThreads", "kWarpsPerBlock * sizeof(RegionShared<T0>)", 168, 18),
        "grid_region_kernel<5, false>": ("kThreads", "kWarpsPerBlock * sizeof(RegionShared<T0>)", 168, 18),
        "grid_region_kernel<9, false>": ("kThreads", "kWarpsPerBlock * sizeof(RegionShared<T0>)", 255, 12),
        "grid_region_kernel<16, false>": ("kThreads", "kWarpsPerBlock * sizeof(RegionShared<T0>)", 255, 12),
        "grid_region_kernel<32, false>": ("kThreads", "kWarpsPerBlock * sizeof(RegionShared<T0>)", 255, 12),
        "grid_region_kernel<1, true>": ("kThreads", "kWarpsPerBlock * sizeof(RegionShared<T0>)", 128, 25),
        "grid_region_kernel<3, true>": ("kThreads", "kWarpsPerBlock * sizeof(RegionShared<T0>)", 128, 25),
        "grid_region_kernel<5, true>": ("kThreads", "kWarpsPerBlock * sizeof(RegionShared<T0>)", 128, 18),
        "grid_region_kernel<9, true>": ("kThreads", "kWarpsPerBlock * sizeof(RegionShared<T0>)", 168, 18),
        "grid_region_kernel<16, true>": ("kThreads", "kWarpsPerBlock * sizeof(RegionShared<T0>)", 168, 18),
        "grid_region_kernel<32, true>": ("kThreads", "kWarpsPerBlock * sizeof(RegionShared<T0>)", 255, 12),
        "grid_cell_kernel<false>": ("kThreads", "kWarpsPerBlock * sizeof(CellShared)", 48, 60),
        "grid_cell_kernel<true>": ("kThreads", "kWarpsPerBlock * sizeof(CellShared)", 48, 60),
        "spiral_kernel": ("256", "0", 64, 50),
        "pack_kernel": ("256", "0", 40, 75),
        "confusion_kernel": ("256", "kMostPrivate * 8", 64, 43),
    },
    "mlp.cu": {
        **{f"mlp_train_kernel<Block<{w}, 4>>": (f"Trainer<{w}>::kThreads", TRAIN.replace("T0", str(w)), most, least)
           for w, most, least in ((16, 128, 25), (32, 128, 25), (64, 255, 12))},
        **{f"mlp_train_kernel<Tensor<Block<{w}, 4>>>":
           (f"Trainer<{w}>::kThreads", (TRAIN + " + 4ull * T0 * kRow").replace("T0", str(w)), most, least)
           for w, most, least in ((16, 128, 18), (32, 128, 18), (64, 255, 12))},
        **{f"mlp_train_kernel<{crew}>": ("kThreadsOf<0>", "sizeof(SharedOf<Team>)", 255, 12)
           for crew in ("Team", "Tensor<Team>")},
        **{f"mlp_forward_kernel<{w}>": (f"kThreadsOf<{w}>", SCORE if w else "0", most, least)
           for w, most, least in ((16, 128, 18), (32, 128, 15), (64, 168, 12), (0, 128, 25))},
        "mlp_pack_kernel": ("256", "0", 48, 60),
        "mlp_encode_kernel": ("256", "0", 64, 50),
        "mlp_check_rows_kernel": ("256", "0", 40, 75),
    },
    "mlp_grid.cu": {
        **{f"grid_mlp_labels_kernel<{w}>": (f"kThreadsOf<{w}>", "sizeof(LabelShared)" + (f" + {SCORE}" if w else ""),
                                            most, least)
           for w, most, least in ((16, 128, 18), (32, 128, 15), (64, 168, 12), (0, 128, 25))},
        **{f"grid_mlp_squares_kernel<{w}>": (f"kThreadsOf<{w}>",
                                             "sizeof(SquareShared)" + (f" + {SCORE}" if w else ""), most, least)
           for w, most, least in ((16, 128, 9), (32, 128, 12), (64, 168, 12), (0, 128, 25))},
    },
    "kmeans.cu": {
        "largest_kernel": ("kThreads", "0", 40, 75),
        "column_totals_kernel": ("kThreads", "0", 40, 75),
        "distances_kernel": ("kThreads", "0", 40, 75),
        "block_sums_kernel": ("kThreads", "kBlockRows * 4", 40, 50),
        "make_tiles_kernel": ("kThreads", "0", 48, 60),
        "assign_tiles_kernel": ("kWarpsPerBlock * kWarp", "kWarpsPerBlock * sizeof(TileShared)", 128, 25),
        "assign_pairs_kernel": ("kPairThreads", "sizeof(PairTile<kPairPoints>)", 128, 25),
        "row_totals_kernel": ("kThreads", "kPrivateTotals * 8", 48, 37),
        "means_kernel": ("kThreads", "0", 64, 50),
        "sum_movements_kernel": ("kThreads", "kThreads * 8", 40, 50),
        "far_keys_kernel": ("kThreads", "0", 40, 75),
        "pick_rows_kernel": ("kThreads", "0", 40, 75),
        "lower_distances_kernel": ("kThreads", "0", 40, 75),
        "fix_units_kernel": ("1", "0", 64, 0),
        "block_weights_kernel": ("kThreads", "kThreads / kWarp * 8", 40, 75),
        "draw_kernel": ("kWarp", "0", 64, 0),
    },
    "max_margin.cu": {
        "max_margin_kernel": ("kChains", "0", 80, 37),  # a set is half a warp, and its sweeps one after another
    },
    "xor_sgd.cu": {
        "xor_sgd_kernel": ("kThreads", "sizeof(XorShared)", 112, 18),
    },
}
# Bytes of stack by architecture.
STACKS = {
    "mlp_train_kernel<Block<16, 4>>": {"120": 16},
    "mlp_train_kernel<Block<32, 4>>": {"120": 32},
    "mlp_train_kernel<Block<64, 4>>": {"100": 40, "120": 40},
    "mlp_train_kernel<Tensor<Team>>": {"75": 16},
    "make_tiles_kernel": {"100": 56, "120": 56},
    "knn_alone_kernel": {"100": 8},
}
# The loops of these files measure the machine: they are in the table, and have no limits.
UNLIMITED = {"ceilings.cu"}

# The loops over candidates: file, kernel, queries that a lane holds. A candidate is one 16-byte load from shared memory.
LOOPS = [("grid.cu", f"grid_region_kernel<{k}, {kind}>", 4) for k in (1, 5, 9) for kind in ("false", "true")]
LOOPS += [("knn.cu", f"knn_together_kernel<{k}>", 1) for k in (1, 5, 16)]
# Of an H100: multiprocessors, instructions that one can issue in a clock (each for 32 lanes), clock in Hz under load.
ISSUE = (132, 4, 1.83e9)

# Per multiprocessor: registers, warps, blocks, bytes of shared memory, of which a block can have, and a block costs.
MULTIPROCESSOR = {
    "75": (65536, 32, 16, 65536, 65536, 0),
    "80": (65536, 64, 32, 167936, 166912, 1024),
    "86": (65536, 48, 16, 102400, 101376, 1024),
    "89": (65536, 48, 24, 102400, 101376, 1024),
    "90a": (65536, 64, 32, 233472, 232448, 1024),
    "100": (65536, 64, 32, 233472, 232448, 1024),
    "120": (65536, 48, 32, 102400, 101376, 1024),
}


def occupancy(arch, registers, threads, shared):
    """Warps resident on a multiprocessor, in percent of the most there can be."""
    all_registers, most_warps, most_blocks, all_shared, block_shared, cost = MULTIPROCESSOR[arch]
    warps = -(-threads // 32)
    per_warp = -(-registers * 32 // 256) * 256
    blocks = min(most_blocks, most_warps // warps, all_registers // per_warp // 4 * 4 // warps)
    if shared > block_shared:
        return 0
    if shared + cost > 0:
        blocks = min(blocks, all_shared // (-(-(shared + cost) // 128) * 128))
    return round(100 * blocks * warps / most_warps)


def compile_commands(build):
    commands = json.loads((build / "compile_commands.json").read_text())
    found = {}
    for entry in commands:
        path = pathlib.Path(entry["file"])
        if path.suffix == ".cu" and ROOT / "kernels" in path.parents:
            words = [w for w in shlex.split(entry["command"]) if not w.startswith("--generate-code")]
            found[path.name] = (words, entry["directory"], path.relative_to(ROOT))
    if not found:
        sys.exit(f"{build}/compile_commands.json compiles no kernels/*.cu: configure with -DSCALELAB_CUDA=ON")
    return found


def demangled(names):
    if not names:
        return []
    return subprocess.run(["c++filt"], input="\n".join(names), text=True, capture_output=True, check=True).stdout.split("\n")


def sections(elf):
    """[(name, size, index of another section that belongs to it, bytes)] of an ELF file of 64 bits."""
    table, = struct.unpack_from("<Q", elf, 40)
    size, count, names = struct.unpack_from("<HHH", elf, 58)
    headers = [struct.unpack_from("<IIQQQQII", elf, table + i * size) for i in range(count)]
    text = lambda at: elf[at:elf.index(b"\0", at)].decode()
    return [(text(headers[names][4] + name), length, link, b"" if kind == 8 else elf[offset:offset + length])
            for name, kind, _, _, offset, length, link, _ in headers]


def device_code(words, directory, kind="cubin"):
    """{architecture: code} of the object of a compile command: cubins (machine code, ELF files) or PTX."""
    path, found = pathlib.Path(directory) / words[words.index("-o") + 1], {}
    if not path.exists():
        sys.exit(f"{path} is not built")
    for name, _, _, data in sections(path.read_bytes()):
        at = 0
        while name == ".nv_fatbin" and at + 16 <= len(data):
            magic, _, header, size = struct.unpack_from("<IHHQ", data, at)
            if magic != 0xBA55ED50:  # between two of them
                at += 8
                continue
            at, end = at + header, at + header + size
            while at < end:  # entries: 1 is PTX, 2 a cubin; those with 0x8000 among their flags are packed by zstd
                number, _, header, size = struct.unpack_from("<HHIQ", data, at)
                packed, arch, flags, whole = (struct.unpack_from(form, data, at + place)[0]
                                              for form, place in (("<I", 16), ("<I", 28), ("<Q", 40), ("<Q", 56)))
                code, at = data[at + header:at + header + size], at + header + size
                if {1: "ptx", 2: "cubin"}.get(number) != kind:
                    continue
                if flags & 0x8000:
                    room = ctypes.create_string_buffer(whole)
                    ctypes.CDLL("libzstd.so.1").ZSTD_decompress(room, ctypes.c_size_t(whole), code, ctypes.c_size_t(packed))
                    code = room.raw
                found[f"{arch}a" if f"{arch}a" in MULTIPROCESSOR else str(arch)] = code
    return found


def resources(cubin):
    """[(kernel with its template arguments, registers, bytes of stack, of static shared memory)], without those of libraries."""
    parts = {name: (size, link, data) for name, size, link, data in sections(cubin)}
    _, strings, symbols = parts[".symtab"]
    texts = sections(cubin)[strings][3]

    def symbol(index):
        at, = struct.unpack_from("<I", symbols, 24 * index)
        return texts[at:texts.index(b"\0", at)].decode()

    registers, stacks, at, info = {}, {}, 0, parts[".nv.info"][2]
    while at < len(info):
        form, attribute, size = struct.unpack_from("<BBH", info, at)
        if form == 4 and attribute in (0x11, 0x2F):  # frame size, registers
            index, value = struct.unpack_from("<II", info, at + 4)
            (stacks if attribute == 0x11 else registers)[symbol(index)] = value
        at += 4 + (size if form == 4 else 0)
    kernels = [name for name in registers if f".text.{name}" in parts]
    found = []
    for name, full in zip(kernels, demangled(kernels)):
        full = re.sub(r"(?<=<)(?:\w+::|\(anonymous namespace\)::)+", "", full)
        while "> >" in full:
            full = full.replace("> >", ">>")
        match = re.match(r"(?:void )?((?:\w+::|\(anonymous namespace\)::)*)(\w+(?:<[^()]*>)?)\(", full)
        if match and match[1].startswith("scalelab::"):  # not the kernels of Thrust and CUB
            shared = parts.get(f".nv.shared.{name}", (0,))[0]
            found.append((re.sub(r"\(int\)|\(bool\)", "", match[2]), registers[name], stacks.get(name, 0), shared))
    return found


def values_of(words, directory, path, expressions):
    """The values of C++ expressions in a .cu file: the compiler names them where it refuses types that have no body."""
    with tempfile.TemporaryDirectory() as folder:
        lines = [f'#include "{path}"\nnamespace scalelab::cuda {{\ntemplate <int, unsigned long long> struct resource_value;']
        lines += [f"resource_value<{i}, ({expression})> value{i};" for i, expression in enumerate(expressions)]
        pathlib.Path(f"{folder}/values.cu").write_text("\n".join(lines) + "\n}\n")
        words = [word for word in words if "Werror" not in word]
        words[words.index("-o") + 1] = f"{folder}/values.ptx"
        source = words.index("-c") + 1
        words[source - 1:source + 1] = "-ptx", f"{folder}/values.cu"
        words += ["-arch=compute_80"]
        said = subprocess.run(words, cwd=directory, text=True, capture_output=True).stderr
    found = dict(re.findall(r'incomplete type "[\w:]*resource_value<(\d+), (\d+)\w*>"', said))
    if len(found) != len(expressions):
        sys.exit(said)
    return [int(found[str(i)]) for i in range(len(expressions))]


def loop_over_candidates(code, kernel, queries):
    """The innermost loop of a kernel that forms distances (an FFMA for each 16-byte shared load and query) and keeps
    lists (of such loops, the one with most comparisons): instructions on the shortest way round, which is that of a
    candidate too far away for every list; all its instructions; such loads."""
    lines = [(int(m[1], 16), m[2], m[3]) for m in re.finditer(r"/\*([0-9a-f]{4,})\*/\s+(@!?U?P\w+\s+)?([A-Z][^;]*);", code)]
    index = {address: i for i, (address, _, _) in enumerate(lines)}
    target = {}
    for i, (_, _, text) in enumerate(lines):
        if text.startswith("BRA") and (match := re.search(r"0x([0-9a-f]+)$", text.strip())):
            target[i] = index.get(int(match[1], 16))

    def count(loop, *words):
        return sum(text.startswith(words) for _, _, text in lines[loop[0]:loop[1] + 1])

    def shortest(head, tail):
        cost = {head: 1}
        for i in range(head, tail):  # branches inside lead forward: one pass finds the shortest way
            if i not in cost:
                continue
            _, predicate, text = lines[i]
            ways = [i + 1] if predicate or not text.startswith(("BRA", "EXIT")) else []
            ways += [target[i]] if target.get(i) is not None and i < target[i] <= tail else []
            for way in ways:
                cost[way] = min(cost.get(way, 1 << 30), cost[i] + 1)
        return cost.get(tail)

    loops = [(head, tail) for tail, head in target.items() if head is not None and head < tail]
    loops = [one for one in loops if 0 < count(one, "LDS.128") * queries <= count(one, "FFMA")]
    loops = [one for one in loops if not any(one != o and one[0] <= o[0] and o[1] <= one[1] for o in loops)]
    loops = [one for one in loops if shortest(*one) is not None]
    if not loops:
        sys.exit(f"{kernel}: no loop over candidates was found in its SASS")
    loop = max(loops, key=lambda one: count(one, "FSETP", "ISETP"))
    return shortest(*loop), loop[1] - loop[0] + 1, count(loop, "LDS.128")


def print_loops(commands):
    print("\nloops over candidates, sm_90a: instructions a pair of candidate and query costs when the candidate is too far")
    print("away for the list, and at most; and the pairs that issuing the fewer allows on an H100: a bound read off the")
    print("code, NOT MEASURED.")
    print(f"{'kernel':<34} {'candidates':>10} {'queries':>8} {'fewest':>8} {'most':>8} {'10^12 pairs/s':>14}")
    cuobjdump = shutil.which("cuobjdump")
    if cuobjdump is None:
        print("not read: cuobjdump (part of the CUDA Toolkit) is not on PATH")
        return
    dumps = {}
    for file, kernel, queries in LOOPS:
        if file not in commands:
            continue
        if file not in dumps:
            with tempfile.NamedTemporaryFile(suffix=".cubin") as cubin:
                cubin.write(device_code(*commands[file][:2])["90a"])
                cubin.flush()
                dump = subprocess.run([cuobjdump, "-sass", cubin.name], check=True, text=True, capture_output=True).stdout
            parts = dump.split("Function : ")[1:]
            names = demangled([part.split("\n")[0].strip() for part in parts])
            dumps[file] = dict(zip((re.sub(r"\(int\)|\(bool\)", "", n).replace("(anonymous namespace)", "") for n in names),
                                   parts))
        found = [code for name, code in dumps[file].items() if f"::{kernel}(" in name]
        if len(found) != 1:
            sys.exit(f"{file}: {len(found)} kernels are called {kernel}")
        fewest, most, loads = loop_over_candidates(found[0], kernel, queries)
        pairs = loads * queries
        rate = ISSUE[0] * ISSUE[1] * 32 * ISSUE[2] / (fewest / pairs)
        print(f"{kernel:<34} {loads:>10} {queries:>8} {fewest / pairs:>8.2f} {most / pairs:>8.2f} {rate / 1e12:>14.2f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--arch", help="compute capabilities, comma separated; otherwise all that were built for")
    parser.add_argument("--only", default="", help="files by stem, comma separated")
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--loops", action="store_true")
    arguments = parser.parse_args()
    commands = compile_commands(arguments.build)
    if arguments.only:
        commands = {f: c for f, c in commands.items() if f[:-3] in arguments.only.split(",")}
    failures, table = [], []
    expressions = {}  # of each file: threads and shared memory of each kernel, in turn
    for file in commands:
        expressions[file] = []
        for kernel, (threads, shared, *_) in KERNELS.get(file, {}).items():
            inside = re.search(r"<(.*)>", kernel)
            for index, value in enumerate(inside[1].split(", ") if inside else []):
                shared = re.sub(rf"\bT{index}\b", value, shared)
            expressions[file] += [threads, shared]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        values = dict(zip(commands, pool.map(lambda file: values_of(*commands[file], expressions[file]), commands)))
    reports = [(file, arch, resources(cubin)) for file, command in commands.items() for arch, cubin in device_code(*command[:2]).items()
               if arguments.arch is None or arch in arguments.arch.split(",")]
    if not reports:
        sys.exit(f"{arguments.build} holds no machine code of these files and architectures")
    print(f"{'kernel':<34} {'sm':>4} {'regs':>5} {'stack':>6} {'shared':>8} {'threads':>8} {'occupancy':>10}")
    for file, arch, report in reports:
        limits = KERNELS.get(file, {})
        launches = dict(zip(limits, zip(values[file][::2], values[file][1::2])))
        for kernel in limits.keys() - {row[0] for row in report}:
            failures.append(f"{file} sm_{arch}: {kernel} is listed but does not exist")
        for kernel, registers, stack, static in sorted(report):
            row = {"file": file, "kernel": kernel, "arch": arch, "registers": registers, "stack": stack, "shared": static,
                   "threads": None, "occupancy": None}
            where = f"{file} sm_{arch} {kernel}"
            if stack > STACKS.get(kernel, {}).get(arch, 0) and file not in UNLIMITED:
                failures.append(f"{where}: {stack} bytes of stack")
            if kernel in limits:
                threads, shared = launches[kernel]
                _, _, most_registers, least_occupancy = limits[kernel]
                row["threads"], row["shared"] = threads, static + shared
                row["occupancy"] = occupancy(arch, registers, threads, static + shared)
                if arch in ("80", "90a") and registers > most_registers:
                    failures.append(f"{where}: {registers} registers, more than {most_registers}")
                if arch in ("80", "90a") and row["occupancy"] < least_occupancy:
                    failures.append(f"{where}: occupancy {row['occupancy']} %, less than {least_occupancy} %")
            elif file not in UNLIMITED:
                failures.append(f"{where}: not listed in KERNELS")
            table.append(row)
            known = lambda key, unit="": "-" if row[key] is None else f"{row[key]}{unit}"
            print(f"{kernel:<34} {arch:>4} {registers:>5} {stack:>6} {row['shared']:>8} {known('threads'):>8} "
                  f"{known('occupancy', ' %'):>10}")
    if arguments.json:
        arguments.json.write_text(json.dumps(table, indent=1) + "\n")
    if arguments.loops:
        print_loops(commands)
    for line in failures:
        print("EXCEEDED  " + line, file=sys.stderr)
    print(f"{len(table)} rows, {len(failures)} beyond their limits")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
