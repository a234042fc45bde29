"""Trains and evaluates the network of bench/mlp_bench.cpp with PyTorch, JAX and scikit-learn, one thread, and prints a
JSON object a line (bench.h). Data: a file of n rows of float32 (x, y, label).

usage: mlp.py train FILE --start FILE --width W --batch B --epochs E [--models M] [--compile] [--device cpu|gpu]
       mlp.py forward POINTS.f32 --start FILE --scores FILE --width W [--device cpu|gpu]
B = 0: all rows at once. The start holds the parameters of M networks, one after the other; the loss reported is that of
the first. Of several networks all are trained at once: by JAX, and as a torch.func ensemble. --device gpu: PyTorch
with CUDA, also with its step captured as a CUDA graph, and JAX with products of fp32 beside those of its default, which on
recent GPUs are of TF32. All is on the device before the clock starts, as ours is.
"""
import argparse
import os
import warnings

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np

from peer import attempt, tell, timed

RATE = 3e-3
LAST = 5  # the loss reported is the mean over this many last epochs


def report(who, units, work, note=""):
    """Times work() after a warm-up; what it returns is the loss that was reached."""
    work()
    wall, cpu, loss = timed(work, 3)
    tell(who, units, "samples", wall, cpu, note, loss=loss)


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
    import torch

    device = torch_device(torch, args)
    torch.set_num_threads(1)
    x, y = torch.from_numpy(data[:, :2].copy()).to(device), torch.from_numpy(data[:, 2:].copy()).to(device)
    n, batch = len(x), args.batch or len(x)

    def run(fused, compiled):
        network = torch_network(torch, args.width, args.start).to(device)
        optimizer = torch.optim.Adam(network.parameters(), lr=RATE, fused=fused)
        criterion = torch.nn.BCEWithLogitsLoss()
        # Inductor's own CUDA graphs, where there is CUDA.
        mode = "reduce-overhead" if args.device == "gpu" else "default"
        called = torch.compile(network, mode=mode) if compiled else network

        def work():
            losses = []
            for _ in range(args.epochs):
                order = torch.randperm(n, device=device) if batch < n else None
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

        return again

    def offer(who, make):  # no compiler, no Triton, a step that cannot be captured: that one alone is absent
        attempt(who, lambda: report(who, n * args.epochs, make()))

    where = f", {args.device}"
    offer("PyTorch, eager" + where, lambda: run(False, False))
    offer("PyTorch, eager, fused Adam" + where, lambda: run(True, False))
    if args.compile:
        offer("PyTorch, compiled, fused Adam" + where, lambda: run(True, True))
    if args.device == "gpu":
        offer("PyTorch, a step with fused Adam as a CUDA graph", lambda: run_graph(torch, args, x, y, device))


def torch_device(torch, args):
    if args.device == "gpu" and not torch.cuda.is_available():
        raise RuntimeError("torch.cuda is not available")
    return torch.device("cuda" if args.device == "gpu" else "cpu")


def run_graph(torch, args, x, y, device):
    """Steps on whole batches are one captured graph, replayed on buffers; the rest of an epoch is an eager step."""
    n, batch = len(x), args.batch or len(x)
    network = torch_network(torch, args.width, args.start).to(device)
    starts = [p.detach().clone() for p in network.parameters()]
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE, capturable=True, fused=True)
    criterion = torch.nn.BCEWithLogitsLoss()
    batch_x, batch_y, total = torch.empty_like(x[:batch]), torch.empty_like(y[:batch]), torch.zeros((), device=device)

    def step(inputs, labels):
        optimizer.zero_grad(set_to_none=False)
        loss = criterion(network(inputs), labels)
        loss.backward()
        optimizer.step()
        total.add_(loss.detach() * len(inputs))

    batch_x.copy_(x[:batch])
    batch_y.copy_(y[:batch])
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):  # capture wants gradients and moments to exist
        for _ in range(3):
            step(batch_x, batch_y)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step(batch_x, batch_y)

    def work():
        with torch.no_grad():
            for parameter, start in zip(network.parameters(), starts):
                parameter.copy_(start)
            for state in optimizer.state.values():
                for value in state.values():
                    value.zero_()
        losses = []
        for _ in range(args.epochs):
            order = torch.randperm(n, device=device) if batch < n else torch.arange(n, device=device)
            total.zero_()
            for begin in range(0, n, batch):
                rows = order[begin:begin + batch]
                if len(rows) == batch:
                    torch.index_select(x, 0, rows, out=batch_x)
                    torch.index_select(y, 0, rows, out=batch_y)
                    graph.replay()
                else:
                    step(x[rows], y[rows])
            losses.append(float(total) / n)
        return sum(losses[-LAST:]) / LAST

    return work


def train_torch_ensemble(args, data, who):
    """All networks as one: parameters stacked, called by vmap, one Adam over all of them."""
    import torch

    device = torch_device(torch, args)
    torch.set_num_threads(1)
    x, y = torch.from_numpy(data[:, :2].copy()).to(device), torch.from_numpy(data[:, 2].copy()).to(device)
    n, batch = len(x), args.batch or len(x)
    network = torch_network(torch, args.width).to(device)
    values = torch.from_numpy(np.fromfile(args.start, dtype=np.float32)).view(args.models, -1)
    stacked, at = {}, 0
    for name, parameter in network.named_parameters():
        part = values[:, at:at + parameter.numel()].reshape(args.models, *parameter.shape)
        stacked[name] = part.to(device)
        at += parameter.numel()
    call = torch.func.vmap(lambda parameters, rows: torch.func.functional_call(network, parameters, (rows,)), (0, None))

    def work():
        parameters = {name: value.clone().requires_grad_() for name, value in stacked.items()}
        optimizer = torch.optim.Adam(parameters.values(), lr=RATE, fused=True)
        losses = []
        for _ in range(args.epochs):
            order = torch.randperm(n, device=device) if batch < n else torch.arange(n, device=device)
            total = 0.0
            for begin in range(0, n, batch):
                rows = order[begin:begin + batch]
                optimizer.zero_grad()
                scores = call(parameters, x[rows]).squeeze(-1)
                each = torch.nn.functional.binary_cross_entropy_with_logits(
                    scores, y[rows].expand(args.models, -1), reduction="none").mean(1)
                each.sum().backward()  # a network's gradient is that of its own loss
                optimizer.step()
                total += each[0].detach() * len(rows)
            losses.append(float(total) / n)
        return sum(losses[-LAST:]) / LAST

    report(who, n * args.epochs * args.models, work)


def train_jax(args, data, who, precision=None):
    """All networks in one compiled program: vmap over them, scan over epochs and batches. Compiling is not timed."""
    if args.device == "cpu":  # XLA takes every processor that it may run on
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
        os.environ["JAX_PLATFORMS"] = "cpu"
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_default_matmul_precision", precision)
    place = jax.devices(args.device)[0]
    sizes = [2, args.width, args.width, args.width, 1]
    n, batch = len(data), args.batch or len(data)
    steps = -(-n // batch)
    # Batches of one size: the last is filled up with rows that do not count.
    counts = jnp.asarray((np.arange(steps * batch) < n).astype(np.float32).reshape(steps, batch))
    x, y = jnp.asarray(data[:, :2]), jnp.asarray(data[:, 2])
    starts, at = [], 0
    flat = np.fromfile(args.start, dtype=np.float32).reshape(args.models, -1)
    for fan_in, fan_out in zip(sizes, sizes[1:]):
        weights = flat[:, at:at + fan_in * fan_out].reshape(-1, fan_out, fan_in)
        at += fan_in * fan_out
        starts.append((jnp.asarray(weights), jnp.asarray(flat[:, at:at + fan_out])))
        at += fan_out

    def loss_of(network, rows, weights):
        values = x[rows]
        for layer, (w, b) in enumerate(network):
            values = values @ w.T + b
            if layer < 3:
                values = jax.nn.relu(values)
        logit = values[:, 0]
        losses = jnp.maximum(logit, 0) - logit * y[rows] + jnp.log1p(jnp.exp(-jnp.abs(logit)))
        return (losses * weights).sum() / weights.sum()

    def step(state, rows_and_weights):
        network, first, second, t = state
        loss, gradient = jax.value_and_grad(loss_of)(network, *rows_and_weights)
        t = t + 1
        first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, gradient)
        second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, second, gradient)
        network = jax.tree.map(
            lambda p, m, v: p - RATE * (m / (1 - 0.9**t)) / (jnp.sqrt(v / (1 - 0.999**t)) + 1e-8), network, first,
            second)
        return (network, first, second, t), loss * rows_and_weights[1].sum()

    def epoch(state, key):
        order = jax.random.permutation(key, n) if batch < n else jnp.arange(n)
        rows = jnp.resize(order, (steps, batch))
        state, losses = jax.lax.scan(step, state, (rows, counts))
        return state, losses.sum() / n

    def train(network, key):
        zeros = jax.tree.map(jnp.zeros_like, network)
        _, losses = jax.lax.scan(epoch, (network, zeros, zeros, 0.0), jax.random.split(key, args.epochs))
        return losses

    whole = jax.jit(jax.vmap(train))
    keys = jax.random.split(jax.random.PRNGKey(0), args.models)
    starts, keys, x, y, counts = jax.device_put((starts, keys, x, y, counts), place)

    def work():
        losses = np.asarray(whole(starts, keys))
        return float(losses[0, -LAST:].mean())

    report(who, n * args.epochs * args.models, work, "compiled beforehand")


def train_sklearn(args, data):
    from sklearn.neural_network import MLPClassifier

    warnings.filterwarnings("ignore")
    x, y = data[:, :2], data[:, 2].astype(np.int64)

    def work():
        network = MLPClassifier(hidden_layer_sizes=(args.width,) * 3, solver="adam", learning_rate_init=RATE, alpha=0,
                                batch_size=args.batch or len(x), max_iter=args.epochs, tol=0,
                                n_iter_no_change=10**9, random_state=0)
        network.fit(x, y)
        return float(np.mean(network.loss_curve_[-LAST:]))

    report("scikit-learn, MLPClassifier", len(x) * args.epochs, work)


def forward(args):
    import torch

    torch.set_num_threads(1)
    device = torch_device(torch, args)
    network = torch_network(torch, args.width, args.start).to(device)
    points = torch.from_numpy(np.fromfile(args.file, dtype=np.float32)).view(-1, 2).to(device)
    scores = torch.empty(len(points), device=device)
    step = 4096 if args.device == "cpu" else 2**20  # rows that suit a cache, and that fill a GPU

    def work():
        with torch.inference_mode():
            for part, of_part in zip(points.split(step), scores.split(step)):
                of_part.copy_(network(part).squeeze(-1))
        if args.device == "gpu":
            torch.cuda.synchronize()

    work()
    wall, cpu, _ = timed(work, 5)
    tell(f"PyTorch, eager, {step} a call", len(points), "points", wall, cpu)
    scores.cpu().numpy().tofile(args.scores)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["train", "forward"])
    parser.add_argument("file", nargs="?")
    parser.add_argument("--start")
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--scores")
    parser.add_argument("--models", type=int, default=1)
    parser.add_argument("--device", choices=["cpu", "gpu"], default="cpu")
    parser.add_argument("--compile", action="store_true")
    args = parser.parse_args()
    if args.what == "forward":
        attempt("PyTorch", lambda: forward(args))
        return
    data = np.fromfile(args.file, dtype=np.float32).reshape(-1, 3)
    if args.models == 1:
        attempt(f"PyTorch, {args.device}", lambda: train_torch(args, data))
        if args.device == "cpu":
            attempt("scikit-learn", lambda: train_sklearn(args, data))
    else:
        ensemble = f"PyTorch, torch.func ensemble, {args.device}"
        attempt(ensemble, lambda: train_torch_ensemble(args, data, ensemble))
    compiled = f"JAX, vmap + scan, {args.device}"
    attempt(compiled, lambda: train_jax(args, data, compiled))
    if args.device == "gpu":
        exact = "JAX, vmap + scan, products of fp32, gpu"
        attempt(exact, lambda: train_jax(args, data, exact, "highest"))


main()
