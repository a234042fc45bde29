"""What the scripts of peers share: how work is timed, and the rows that they print, a JSON object a line (bench.h)."""
import json
import time
from importlib import metadata


def timed(work, least, seconds=0.0):
    """Wall and CPU seconds of work(), `least` times at least and on for so many seconds, and what it returned last."""
    wall, cpu = [], []
    begin = time.perf_counter()
    while len(wall) < least or time.perf_counter() - begin < seconds:
        wall_before, cpu_before = time.perf_counter(), time.process_time()
        result = work()
        wall.append(time.perf_counter() - wall_before)
        cpu.append(time.process_time() - cpu_before)
    return wall, cpu, result


# What a library is called in every row, before a comma and the way it is used; and the packages that bring it.
PACKAGES = {
    "scikit-learn": ["scikit-learn"], "scikit-learn-intelex": ["scikit-learn-intelex"], "SuperKMeans": ["superkmeans"],
    "SciPy": ["scipy"], "FAISS": ["faiss-cpu", "faiss-gpu-cu12", "faiss-gpu"], "PyTorch": ["torch"], "JAX": ["jax"],
    "KeOps": ["pykeops"], "cuVS": ["cuvs-cu13", "cuvs-cu12"], "CuPy": ["cupy-cuda13x", "cupy-cuda12x", "cupy"],
    "flash-kmeans": ["flash-kmeans"],
}


def version_of(library):
    for package in PACKAGES[library]:
        try:
            return metadata.version(package).partition("+")[0]
        except metadata.PackageNotFoundError:  # another one brings it, or it was installed by other means
            continue
    return ""


def on_threads(threads):
    return f"{threads} thread{'' if threads == 1 else 's'}"


def tell(who, units, unit, wall, cpu, note="", **more):
    row = {"who": who, "version": version_of(who.partition(",")[0]), "units": float(units), "unit": unit}
    print(json.dumps({**row, "wall": wall, "cpu": cpu, "note": note, **more}), flush=True)


def attempt(who, run):
    """run(), which tells a row; or the row of a peer that is not there, lacks a device, or runs out of memory."""
    try:
        run()
    except Exception as error:
        why = (str(error).strip().splitlines() or [type(error).__name__])[0][:120]
        print(json.dumps({"who": who, "absent": why}), flush=True)
