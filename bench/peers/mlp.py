"""Trains and evaluates the network of bench/mlp_bench.cpp with PyTorch and scikit-learn, one thread, and prints a JSON
object a line (bench.h). Data: a file of n rows of float32 (x, y, label).

usage: mlp.py train FILE --start FILE --width W --batch B --epochs E [--compile]     (B = 0: all rows at once)
       mlp.py forward --width W --points N
"""
import argparse
import json
import math
import os
import time
import warnings

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np

RATE = 3e-3
LAST = 5  # the loss reported is the mean over this many last epochs


def timed(work, repeats):
    work()
    wall, cpu = [], []
    for _ in range(repeats):
        wall_begin, cpu_begin = time.monotonic(), time.process_time()
        result = work()
        wall.append(time.monotonic() - wall_begin)
        cpu.append(time.process_time() - cpu_begin)
    return wall, cpu, result


def report(who, units, unit, measured, note=""):
    wall, cpu, result = measured
    row = {"who": who, "units": units, "unit": unit, "wall": wall, "cpu": cpu, "note": note}
    if result is not None:
        row["loss"] = result
    print(json.dumps(row), flush=True)


def torch_network(torch, width, start=None):
    """2 - width - width - width - 1; `start`: a file of its parameters, layer by layer, weights then biases."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Linear(2, width), torch.nn.ReLU(), torch.nn.Linear(width, width), torch.nn.ReLU(),
        torch.nn.Linear(width, width), torch.nn.ReLU(), torch.nn.Linear(width, 1))
    if start is not None:
        values = torch.from_numpy(np.fromfile(start, dtype=np.float32))
        with torch.no_grad():
            for parameter, part in zip(network.parameters(), values.split([p.numel() for p in network.parameters()])):
                parameter.copy_(part.view_as(parameter))
    return network


def train_torch(args, data):
    try:
        import torch
    except ImportError as error:
        print(json.dumps({"who": "PyTorch", "absent": str(error)}))
        return
    torch.set_num_threads(1)
    x, y = torch.from_numpy(data[:, :2].copy()), torch.from_numpy(data[:, 2:].copy())
    n, batch = len(x), args.batch or len(x)

    def run(fused, compiled):
        network = torch_network(torch, args.width, args.start)
        optimizer = torch.optim.Adam(network.parameters(), lr=RATE, fused=fused)
        criterion = torch.nn.BCEWithLogitsLoss()
        called = torch.compile(network) if compiled else network

        def work():
            losses = []
            for _ in range(args.epochs):
                order = torch.randperm(n) if batch < n else None
                total = 0.0
                for begin in range(0, n, batch):
                    rows = order[begin:begin + batch] if order is not None else slice(None)
                    optimizer.zero_grad()
                    loss = criterion(called(x[rows]), y[rows])
                    loss.backward()
                    optimizer.step()
                    total += loss.detach() * min(batch, n - begin)
                losses.append(float(total) / n)
            return sum(losses[-LAST:]) / LAST

        def again():  # every repeat starts over
            with torch.no_grad():
                for value, initial in zip(network.parameters(), torch_network(torch, args.width, args.start).parameters()):
                    value.copy_(initial)
            optimizer.state.clear()
            return work()

        return timed(again, 3)

    units = n * args.epochs
    report(f"PyTorch {torch.__version__.split('+')[0]} eager", units, "samples", run(False, False))
    report("PyTorch eager, fused Adam", units, "samples", run(True, False))
    if args.compile:
        try:
            report("PyTorch compiled, fused Adam", units, "samples", run(True, True))
        except Exception as error:  # no compiler, no Triton
            print(json.dumps({"who": "PyTorch compiled", "absent": str(error).splitlines()[0][:120]}))


def train_sklearn(args, data):
    try:
        import sklearn
        from sklearn.neural_network import MLPClassifier
    except ImportError as error:
        print(json.dumps({"who": "scikit-learn", "absent": str(error)}))
        return
    warnings.filterwarnings("ignore")
    x, y = data[:, :2], data[:, 2].astype(np.int64)
    def work():
        network = MLPClassifier(hidden_layer_sizes=(args.width,) * 3, solver="adam", learning_rate_init=RATE, alpha=0,
                                batch_size=args.batch or len(x), max_iter=args.epochs, tol=0,
                                n_iter_no_change=10**9, random_state=0)
        network.fit(x, y)
        return float(np.mean(network.loss_curve_[-LAST:]))

    report(f"scikit-learn {sklearn.__version__} MLPClassifier", len(x) * args.epochs, "samples", timed(work, 3))


def forward(args):
    try:
        import torch
    except ImportError as error:
        print(json.dumps({"who": "PyTorch", "absent": str(error)}))
        return
    torch.set_num_threads(1)
    network = torch_network(torch, args.width)
    side = int(math.isqrt(args.points))
    axis = torch.linspace(-1, 1, side)
    grid = torch.cartesian_prod(axis, axis)

    def work():
        with torch.inference_mode():
            for part in grid.split(4096):
                (network(part) > 0).sum()

    report("PyTorch eager, 4096 a call", side * side, "pixels", timed(work, 5), "coordinates made beforehand")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["train", "forward"])
    parser.add_argument("file", nargs="?")
    parser.add_argument("--start")
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--points", type=int, default=1 << 18)
    parser.add_argument("--compile", action="store_true")
    args = parser.parse_args()
    if args.what == "forward":
        forward(args)
        return
    data = np.fromfile(args.file, dtype=np.float32).reshape(-1, 3)
    train_torch(args, data)
    train_sklearn(args, data)


main()
