"""What host/results.md tells users of Python to write works as it stands, on what the program leaves."""

import os
import pathlib
import re
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
