"""Fits many configs with several seeds, one thread each; run again, it goes on where it stopped: pip install joblib"""

import hashlib
import itertools
import json
import os
from pathlib import Path

import numpy as np
import quadrivium_models as qm
from joblib import Parallel, delayed

DONE = Path("sweep")


def run(kind, params, seed, train, test):
    """Fits one model, unless its key is there: a hash of all that the result depends on."""
    task = {"version": qm.__version__, "kind": kind, "params": params, "seed": seed}
    digest = hashlib.sha256(json.dumps(task, sort_keys=True).encode())
    for rows in (train, test):
        digest.update(repr((rows.shape, rows.dtype.str)).encode() + np.ascontiguousarray(rows).tobytes())
    path = DONE / f"{digest.hexdigest()[:32]}.json"
    if not path.exists():
        model = qm.KINDS[kind](random_state=seed, n_jobs=1, **params).fit(train)
        half = path.with_suffix(f".{os.getpid()}")
        half.write_text(json.dumps({**task, "nll": -model.score(test)}), encoding="utf-8")
        half.replace(path)  # whole, or not there at all
    return json.loads(path.read_text(encoding="utf-8"))


if __name__ == "__main__":
    DONE.mkdir(exist_ok=True)
    train, test = (qm.worlds.sample("moons", 2_000, random_state=seed) for seed in (0, 1))
    grid = [("flow", {"steps": 400, "config": {"optimizer.lr": lr}}) for lr in (1e-3, 3e-3)] + [("gaussian_mixture", {})]
    tasks = [delayed(run)(*params, seed, train, test) for params, seed in itertools.product(grid, range(3))]
    found = Parallel(n_jobs=-1, return_as="generator_unordered")(tasks)
    for result in sorted(found, key=lambda result: result["nll"]):
        print(f"{result['nll']:.3f}  seed {result['seed']}  {result['kind']} {result['params']}")
