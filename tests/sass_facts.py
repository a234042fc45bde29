#!/usr/bin/env python3
"""What the machine code of the main CUDA kernels holds, and how well charges of PTX foretell it. Needs nvcc, no GPU.

Use: tests/sass_facts.py BUILD_DIR [--arch 90a,80,75]

For each architecture: instructions of a kernel; loads and stores of local memory; MUFU instructions and calls (of what a
division or a square root does with zeros, subnormal numbers and the like: warps that come there are several times slower;
before sm_90 also of operations on warps that may have parted);
how many of its loads from global and from shared memory take 16 bytes a thread; and of its hot loop (that with most
products in machine code) the instructions, and how many of them are products.

Then the calibration, on sm_90a: of the same loop in the PTX what bench/charge.py charges for each product, on the
shortest way round, and what there is in machine code. The difference is the error of counted floors that issue bounds.
Needs cuobjdump and nvdisasm (CUDA Toolkit, or the packages nvidia-cuda-cuobjdump and nvidia-cuda-nvdisasm of PyPI) on
PATH. All code is that of BUILD_DIR. Exit status 1 where a kernel of MAIN has no hot loop, or uses local memory beyond what
kernel_resources.py allows.
"""
import argparse
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[n] / folder) for n, folder in ((0, ""), (1, "bench"))]
import charge
import kernel_resources

# file, kernel, and what its hot loop is made of, in machine code and in PTX: products, and what there is most of in it.
FMA, MMA = ((r"FFMA", r"FFMA"), (r"fma\.rn\.f32", r"fma\.rn\.f32")), ((r"HMMA", r"HMMA"), (r"mma\.", r"mma\."))
LISTS = ((r"FFMA", r"ISETP|FSETP|SEL|FMNMX"), (r"fma\.rn\.f32", r"(min|max|selp|setp\.\w+)\.[bsu]64"))  # distances, and lists of the nearest
MAIN = [
    ("knn", "knn_together_kernel<5>", LISTS), ("knn", "knn_pairs_kernel<64, 64>", FMA), ("grid", "grid_region_kernel<5, false>", LISTS),
    ("grid", "grid_region_kernel<5, true>", LISTS), ("kmeans", "assign_tiles_kernel", FMA), ("kmeans", "assign_pairs_kernel", FMA),
    ("mlp", "mlp_train_kernel<Block<64, 4>>", FMA), ("mlp", "mlp_train_kernel<Tensor<Block<64, 4>>>", MMA), ("mlp", "mlp_train_kernel<Team>", FMA),
    ("mlp", "mlp_forward_kernel<64>", FMA), ("mlp_grid", "grid_mlp_squares_kernel<64>", FMA),
]


def by_kernel(text, start):
    """{kernel with its template arguments: its text}, of a listing whose kernels begin with `start` and a name."""
    parts = re.split(start, text)[1:]
    names = kernel_resources.demangled([re.match(r"\s*(\w+)", part)[1] for part in parts])
    found = {}
    for name, part in zip(names, parts):
        name = re.sub(r"\(anonymous namespace\)::|scalelab::cuda::|\(int\)|\(bool\)|^void ", "", name)
        while "> >" in name:
            name = name.replace("> >", ">>")
        found[re.match(r"[\w:]+(<[^()]*>)?", name)[0]] = part
    return found


def sass_lines(code):
    """[(instruction, is conditional, index of what it branches to or None)]"""
    lines = [(int(m[1], 16), m[2], m[3].strip()) for m in re.finditer(r"/\*([0-9a-f]{4,})\*/\s+(@!?U?P\w+\s+)?([A-Z][^;]*);", code)]
    index = {address: i for i, (address, _, _) in enumerate(lines)}
    targets = [re.search(r"BRA.*0x([0-9a-f]+)$", text) for _, _, text in lines]
    return [(text, bool(predicate), index.get(int(t[1], 16)) if t else None) for (_, predicate, text), t in zip(lines, targets)]


def ptx_lines(code):
    """The same of PTX."""
    lines, labels = [], {}
    for line in code.split("\n"):
        line = line.strip()
        if match := re.match(r"(\$\w+):", line):
            labels[match[1]] = len(lines)
        elif match := re.match(r"(@!?%\w+\s+)?([a-z][\w.:]*)(\s[^;]*)?;", line):
            lines.append((match[2] + (match[3] or ""), bool(match[1])))
    target = lambda text: labels.get(text.split()[-1]) if text.startswith("bra") else None
    return [(text, conditional, target(text)) for text, conditional in lines]


def hot_loop(lines, made_of):
    """(first, last) of the innermost loop with products that has most of what there is most of."""
    count = lambda loop, pattern: sum(re.match(pattern, text) is not None for text, _, _ in lines[loop[0]:loop[1] + 1])
    loops = [(head, tail) for tail, (_, _, head) in enumerate(lines) if head is not None and head < tail]
    # What only jumps back from code that was moved out of the way is no loop: there is no way round it.
    loops = [one for one in loops if products_in(way_round(lines, one, made_of[0]), made_of[0]) >= max(2, count(one, made_of[0]) / 2)]
    inner = [one for one in loops if not any(one != o and one[0] <= o[0] and o[1] <= one[1] for o in loops)]
    return max(inner, key=lambda one: (count(one, made_of[1]), one[0] - one[1]), default=None)


def way_round(lines, loop, product, cost=lambda text: 1):
    """The instructions on the cheapest way round a loop, of those that meet most of its products."""
    ways, last = {loop[0]: (0, 0, None)}, loop[0]  # index: products, less than none; cost; and the way there, backwards
    for i in range(loop[0], loop[1] + 1):
        if i not in ways:
            continue
        text, conditional, to = lines[i]
        here = (ways[i][0] - (re.match(product, text) is not None), ways[i][1] + cost(text), (text, ways[i][2]))
        leaves = not conditional and re.match(r"BRA|EXIT|RET|bra|ret|exit", text)
        for way in ([] if leaves else [i + 1]) + ([to] if to is not None and i < to <= loop[1] else []):
            ways[way] = min(ways.get(way, (1, 0, None)), here, key=lambda one: one[:2])
        last = here
    way, back = [], last[2]
    while back is not None:
        way.append(back[0])
        back = back[1]
    return way


def products_in(way, product):
    return sum(re.match(product, text) is not None for text in way)


def facts(code, made_of):
    """The row of a kernel's machine code."""
    product = made_of[0]
    lines = sass_lines(code)
    count = lambda pattern: sum(re.match(pattern, text) is not None for text, _, _ in lines)
    share = lambda kind: f"{count(kind + r'.*[.]128')}/{count(kind + r'[. ]')}"
    loop = hot_loop(lines, made_of)
    inside = [text for text, _, _ in lines[loop[0]:loop[1] + 1]] if loop else []
    return {"instructions": count(r"(?!NOP)"), "local": count(r"LDL|STL"), "MUFU": count("MUFU"), "calls": count("CALL"), "LDG.128": share("LDG"),
            "LDS.128": share("LDS"), "loop": len(inside), "products": sum(re.match(product, text) is not None for text in inside)}


# What the pipe of integers, comparisons and selections runs, of machine code.
INTEGER = r"U?(ISETP|FSETP|SEL|FSEL|FMNMX|VIMNMX|IMNMX|LOP3|PLOP3|SHF|IADD3|VIADD|LEA|PRMT|IABS|BMSK|SGXT)"


def calibration(sass, ptx, of_sass, of_ptx):
    """Instructions for each product on the way round the hot loop: of PTX; issued, as charged and of machine code; of integers, likewise."""
    code, text = sass_lines(sass), ptx_lines(ptx)
    real = [one for one in way_round(code, hot_loop(code, of_sass), of_sass[0]) if not one.startswith("NOP")]
    plain = way_round(text, hot_loop(text, of_ptx), of_ptx[0], lambda one: charge.charge(one.split()[0])["issue"])
    charged = lambda pipe: sum(charge.charge(one.split()[0]).get(pipe, 0) for one in plain)
    counts = (len(plain), charged("issue"), charged("integer")), (len(real), sum(re.match(INTEGER, one) is not None for one in real))
    (of_ptx_all, issue, integer), (machine, machine_integer) = (
        [n / products_in(way, made[0]) for n in numbers] for numbers, way, made in zip(counts, (plain, real), (of_ptx, of_sass)))
    return of_ptx_all, issue, machine, integer, machine_integer


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--arch", default="90a,80,75")
    arguments = parser.parse_args()
    cuobjdump = shutil.which("cuobjdump")
    if cuobjdump is None or shutil.which("nvdisasm") is None:
        sys.exit("sass_facts.py: cuobjdump and nvdisasm are not on PATH")
    commands = kernel_resources.compile_commands(arguments.build)
    failures, codes = [], {}
    print(f"{'kernel':<37} {'sm':>4} {'code':>6} {'local':>6} {'MUFU':>5} {'calls':>6} {'LDG.128':>8} {'LDS.128':>8} {'loop':>6} {'products':>9}")
    for arch in arguments.arch.split(","):
        for stem in dict.fromkeys(stem for stem, _, _ in MAIN):
            with tempfile.NamedTemporaryFile(suffix=".cubin") as cubin:
                cubin.write(kernel_resources.device_code(*commands[stem + ".cu"][:2])[arch])
                cubin.flush()
                listing = subprocess.run([cuobjdump, "-sass", cubin.name], check=True, text=True, capture_output=True).stdout
            codes[stem, arch] = by_kernel(listing, r"Function : ")
        for stem, kernel, (of_sass, _) in MAIN:
            if of_sass == MMA[0] and arch == "75":
                continue  # has no products of bf16
            row = facts(codes[stem, arch][kernel], of_sass)
            failures += [f"{kernel} sm_{arch}: local memory"] * (row["local"] > 0 and arch not in kernel_resources.STACKS.get(kernel, {})) + [f"{kernel} sm_{arch}: no hot loop"] * (not row["loop"])
            print(f"{kernel:<37} {arch:>4} {row['instructions']:>6} {row['local']:>6} {row['MUFU']:>5} {row['calls']:>6} {row['LDG.128']:>8} "
                  f"{row['LDS.128']:>8} {row['loop']:>6} {row['products']:>9}")
    if "90a" in arguments.arch.split(","):
        print("\nfor each product on the shortest way round the hot loop, sm_90a: instructions of PTX; issued, as bench/charge.py charges them")
        print("and of machine code; and of these what the pipe of integers and comparisons runs")
        print(f"{'kernel':<37} {'PTX':>6} {'charged':>8} {'machine':>8} {'error':>7} {'integer':>9} {'machine':>8}")
        for stem, kernel, products in MAIN:
            text = kernel_resources.device_code(*commands[stem + ".cu"][:2], "ptx")["90a"].decode()
            plain, charged, real, integer, real_integer = calibration(codes[stem, "90a"][kernel], by_kernel(text, r"\.entry ")[kernel], *products)
            print(f"{kernel:<37} {plain:>6.2f} {charged:>8.2f} {real:>8.2f} {charged / real - 1:>+7.0%} {integer:>9.2f} {real_integer:>8.2f}")
    for line in failures:
        print("EXCEEDED  " + line, file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
