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


def version_of(distribution):
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:  # installed by other means than a package
        return "version unknown"


def setting(version, threads):
    return f"{version}, {threads} thread{'' if threads == 1 else 's'}"


def tell(who, units, unit, wall, cpu, note="", **more):
    print(json.dumps({"who": who, "units": float(units), "unit": unit, "wall": wall, "cpu": cpu, "note": note, **more}),
          flush=True)


def attempt(who, run):
    """run(), which tells a row; or the row of a peer that is not there, lacks a device, or runs out of memory."""
    try:
        run()
    except Exception as error:
        why = (str(error).strip().splitlines() or [type(error).__name__])[0][:120]
        print(json.dumps({"who": who, "absent": why}), flush=True)
