"""What host/results.md tells users of Python to write works as it stands, on what the program leaves."""

import ctypes
import json
import os
import pathlib
import re
import select
import signal
import subprocess

import numpy as np
import pytest
from sklearn.datasets import load_digits

pd = pytest.importorskip("pandas")
PROGRAM = os.environ.get("SCALELAB_PROGRAM")
PLAN = '{"title": "A plan", "grids": [{"model": "knn-1", "n": [20, 40, 80, 160], "grid": 64, "seeds": "0..2"}]}'


class Tensor:
    """What is asked of a torch tensor."""

    detach = float = cpu = lambda self: self

    def numpy(self):
        return np.arange(12, dtype=np.float32).reshape(3, 4)


class Watch:
    """Waits for what a process does in a folder, by events and not by a clock."""

    MODIFY = 2  # as <sys/inotify.h> has it

    def __init__(self, folder):
        libc = ctypes.CDLL(None)
        self.events = libc.inotify_init()
        assert libc.inotify_add_watch(self.events, os.fsencode(folder), self.MODIFY) >= 0

    def written(self, process):
        """True as soon as a file there was written to since the last call, False when the process ends first."""
        end = os.pidfd_open(process.pid)
        ready = select.select([self.events, end], [], [])[0]
        os.close(end)
        return self.events in ready and len(os.read(self.events, 4096)) > 0

    def close(self):
        os.close(self.events)


def test_the_recipes(tmp_path, monkeypatch):
    if not PROGRAM:
        pytest.skip("SCALELAB_PROGRAM names no program")
    program = os.path.abspath(PROGRAM)
    text = (pathlib.Path(__file__).parents[2] / "host/results.md").read_text()
    reading, writing = re.findall(r"```python\n(.*?)```", text, flags=re.S)
    monkeypatch.chdir(tmp_path)
    X, y = load_digits(return_X_y=True)
    frame = pd.DataFrame(X[:200]).assign(label=[f"digit {label}" for label in y[:200]])
    torch = type("torch", (), {"from_numpy": staticmethod(np.asarray)})
    names = {"np": np, "frame": frame, "tensor": Tensor(), "torch": torch}
    to_program, from_program = writing.rstrip().rsplit("\n", 1)
    exec(to_program, names)

    def run(*words):
        subprocess.run([program, *words, "--quiet"], check=True, capture_output=True)

    pathlib.Path("plan.json").write_text(PLAN)
    run("sweep", "plan.json", "--out", "scaling")
    run("prune", "--data", "rows.npy", "--labels", "labels.npy", "--score", "class-mean", "--fraction", "0.4", "--out", "kept")
    run("knn", "--data", "embeddings.npy", "--queries", "embeddings.npy", "--k", "2", "--out", "neighbours")
    run("bench", "run", "--op", "kmeans", "--axis", "n=100", "--axis", "k=2", "--budget", "0.01", "--rounds", "1", "--out", "mine.json")
    exec(from_program, names)
    exec(reading, names)
    assert len(names["kept"]) == 80 and len(names["removed"]) == 120 and len(names["rows"]) == 12
    assert names["neighbours"].shape == (3, 2) and names["law"]["verdict"] and names["bench"].shape == (1, 1)


def test_a_strangers_path(tmp_path, monkeypatch):
    """Frame, files, prune, kept frame; then a sweep of those files, killed when it has begun, resumed, read in pandas."""
    if not PROGRAM:
        pytest.skip("SCALELAB_PROGRAM names no program")
    program = os.path.abspath(PROGRAM)
    monkeypatch.chdir(tmp_path)
    X, y = load_digits(return_X_y=True)
    frame = pd.DataFrame(X[:600]).assign(label=[f"digit {label}" for label in y[:600]])
    np.save("rows.npy", np.ascontiguousarray(frame.drop(columns="label"), np.float32))
    np.save("labels.npy", frame.label.to_numpy(str))
    prune = ["prune", "--data", "rows.npy", "--labels", "labels.npy", "--clusters", "auto", "--fraction", "0.5", "-o", "kept", "--quiet"]
    said = subprocess.run([program, *prune], check=True, capture_output=True, text=True)
    kept = frame.iloc[np.load("kept/kept_ids.npy")]
    removed = pd.read_csv("kept/removed.csv")
    assert len(kept) == 300 and sorted([*kept.index, *removed.id]) == list(range(600))
    assert "clusters have the largest mean silhouette" in said.stdout
    assert json.load(open("kept/result.json"))["worth"]["verdict"] in ("better", "worse", "mixed", "undecided")

    plan = {"title": "My digits", "grids": [{"data": "rows.npy", "labels": "labels.npy", "model": "mlp-xy", "width": 16, "n": 200,
             "samples": 400000, "learning_rate": [0.001, 0.003, 0.01], "seeds": "0..9"}]}  # fmt: skip
    pathlib.Path("mine.json").write_text(json.dumps(plan))
    sweep = [program, "sweep", "mine.json", "--threads", "1", "-o", "mine", "--quiet"]
    pathlib.Path("mine").mkdir()
    watch = Watch("mine")
    killed = subprocess.Popen(sweep, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not any(file.stat().st_size > 0 for file in pathlib.Path("mine").glob("*.jsonl")) and watch.written(killed):
        pass
    watch.close()
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    subprocess.run(sweep, check=True, capture_output=True)
    rows = pd.read_csv("mine/rows.csv")
    assert len(rows) == 30 and (rows.status == "ok").all()
    assert sorted(rows.groupby("learning_rate").test_error.mean().index) == [0.001, 0.003, 0.01]
    assert "My digits" in pathlib.Path("mine/report.html").read_text()
