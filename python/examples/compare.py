"""Held-out likelihood, seconds and lines of code beside scikit-learn, zuko and FlowJAX, on the same rows.

    pip install scikit-learn zuko torch flowjax
    python compare.py [--seeds 3] [--only NAME,...] [--into docs/PEERS.md]

Each library by the recipe of its own documentation. All use two threads, one fit after the other. Rows are standardized by
the training's means and deviations, as zuko asks; the likelihoods are those of the rows as they were. Seconds are those of
fitting and scoring, compilation among them, on the clock and summed over the processor's cores. Lines of code are those of
the functions below, without imports.
"""

import argparse
import importlib
import importlib.metadata
import inspect
import os
import platform
import shlex
import sys
import time
from pathlib import Path

THREADS = 2
os.environ.update(OMP_NUM_THREADS=str(THREADS), JAX_PLATFORMS="cpu")

import numpy as np  # noqa: E402
import quadrivium_models as qm  # noqa: E402


def quadrivium(name):
    def fit(train, test, seed):
        model = getattr(qm, name)(random_state=seed, n_jobs=2).fit(train)
        return model.score_samples(test)

    return fit


def sklearn_mixture(train, test, seed):
    """The number of components by BIC, with full covariances."""
    from sklearn.mixture import GaussianMixture

    fits = [GaussianMixture(k, n_init=3, random_state=seed).fit(train) for k in range(1, 21)]
    best = min(fits, key=lambda fit: fit.bic(train))
    return best.score_samples(test)


def sklearn_kernels(train, test, seed):
    """The bandwidth by cross-validation."""
    from sklearn.model_selection import GridSearchCV
    from sklearn.neighbors import KernelDensity

    search = GridSearchCV(KernelDensity(), {"bandwidth": np.logspace(-2, 0.5, 20)}, n_jobs=2)
    search.fit(np.random.default_rng(seed).permutation(train))
    return search.best_estimator_.score_samples(test)


def zuko_nsf(train, test, seed):
    """The tutorial's training; one row in five is held out, and the best epoch on them is kept."""
    import copy

    import torch
    import zuko

    torch.manual_seed(seed)
    torch.set_num_threads(2)
    rows = torch.randperm(len(train))
    x = torch.tensor(train, dtype=torch.float32)[rows]
    held, learned = x[: len(x) // 5], x[len(x) // 5 :]
    loader = torch.utils.data.DataLoader(learned, batch_size=64, shuffle=True)
    flow = zuko.flows.NSF(features=x.shape[1], transforms=3, hidden_features=(64, 64))
    optimizer = torch.optim.Adam(flow.parameters(), lr=1e-3)
    best, kept, waited = float("inf"), None, 0
    for _ in range(200):
        for batch in loader:
            loss = -flow().log_prob(batch).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            loss = float(-flow().log_prob(held).mean())
        waited += 1
        if loss < best:
            best, kept, waited = loss, copy.deepcopy(flow.state_dict()), 0
        if waited == 20:
            break
    flow.load_state_dict(kept)
    with torch.no_grad():
        return flow().log_prob(torch.tensor(test, dtype=torch.float32)).numpy()


def flowjax_defaults(train, test, seed):
    """A masked autoregressive flow of rational-quadratic splines; fit_to_data as it is."""
    import jax.numpy as jnp
    import jax.random as jr
    from flowjax.bijections import RationalQuadraticSpline
    from flowjax.distributions import Normal
    from flowjax.flows import masked_autoregressive_flow
    from flowjax.train import fit_to_data

    flow_key, train_key = jr.split(jr.key(seed))
    spline = RationalQuadraticSpline(knots=8, interval=4)
    base = Normal(jnp.zeros(train.shape[1]))
    flow = masked_autoregressive_flow(flow_key, base_dist=base, transformer=spline)
    flow, _ = fit_to_data(train_key, flow, data=jnp.asarray(train), show_progress=False)
    return np.asarray(flow.log_prob(jnp.asarray(test)))


def flowjax_readme(train, test, seed):
    """The same, with the learning rate and the epochs of FlowJAX's README."""
    import jax.numpy as jnp
    import jax.random as jr
    from flowjax.bijections import RationalQuadraticSpline
    from flowjax.distributions import Normal
    from flowjax.flows import masked_autoregressive_flow
    from flowjax.train import fit_to_data

    flow_key, train_key = jr.split(jr.key(seed))
    spline = RationalQuadraticSpline(knots=8, interval=4)
    base = Normal(jnp.zeros(train.shape[1]))
    flow = masked_autoregressive_flow(flow_key, base_dist=base, transformer=spline)
    rates = {"learning_rate": 5e-3, "max_epochs": 200}
    flow, _ = fit_to_data(train_key, flow, data=jnp.asarray(train), **rates, show_progress=False)
    return np.asarray(flow.log_prob(jnp.asarray(test)))


OURS = ("Flow", "Autoregressive", "FlowMatching", "VAE", "GaussianMixture", "KernelDensity")
RIVALS = {
    **{f"quadrivium `{name}`": quadrivium(name) for name in OURS},
    "scikit-learn `GaussianMixture`, BIC": sklearn_mixture,
    "scikit-learn `KernelDensity`, CV": sklearn_kernels,
    "zuko `NSF`": zuko_nsf,
    "FlowJAX MAF of splines": flowjax_defaults,
    "FlowJAX MAF of splines, README's rates": flowjax_readme,
}


def moons(seed):
    return [qm.worlds.sample("moons", 2_000, random_state=2 * seed + part) for part in (0, 1)]


def cancer(seed):
    from sklearn.datasets import load_breast_cancer

    rows = np.random.default_rng(seed).permutation(load_breast_cancer().data)
    return rows[113:], rows[:113]


def lines(fit):
    """Lines of code: neither the def, nor the docstring, nor imports."""
    code = inspect.getsource(fit).replace(f'"""{fit.__doc__}"""', "").splitlines()[1:]
    code = [line.strip() for line in code]
    return sum(bool(line) and not line.startswith(("import ", "from ")) for line in code)


def measured(fit, data, seeds):
    """NLL, seconds on the clock and seconds of the processor, for each seed."""
    import joblib

    found = []
    for seed in range(seeds):
        train, test = data(seed)
        mean, deviation = train.mean(axis=0), train.std(axis=0)
        train, test = (train - mean) / deviation, (test - mean) / deviation
        start, busy = time.perf_counter(), time.process_time()
        # In this process, so that its time is counted.
        with joblib.parallel_config("threading"):
            scores = fit(train, test, seed)
        seconds = time.perf_counter() - start, time.process_time() - busy
        found.append((np.log(deviation).sum() - scores.mean(), *seconds))
    return np.array(found)


def table(data, truth, seeds, only):
    """The lines of a table, the best model first."""
    rows = []
    for name, fit in RIVALS.items():
        if only and not any(part in name for part in only):
            continue
        found = measured(fit, data, seeds)
        nll, (_, seconds, busy) = found[:, 0], found.mean(axis=0)
        cells = [name, f"{'≤ ' * name.endswith('`VAE`')}{nll.mean():.3f} ± {nll.std():.3f}"]
        cells += [] if truth is None else [f"{nll.mean() - truth:+.3f}"]
        cells += [f"{seconds:.1f}", f"{busy:.1f}", str(lines(fit))]
        rows.append((nll.mean(), f"| {' | '.join(cells)} |"))
        print(rows[-1][1], file=sys.stderr, flush=True)
    head = ["model", "NLL, nats", *([] if truth is None else ["gap to the truth"]), "seconds", "CPU seconds", "lines"]
    return [f"| {' | '.join(head)} |", "| --- " * len(head) + "|", *(row for _, row in sorted(rows))]


def processor():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        return next((line.split(":")[1].strip() for line in file if line.startswith("model name")), platform.machine())


def report(seeds, only):
    packages = ("quadrivium-models", "scikit-learn", "zuko", "torch", "flowjax", "jax", "numpy")
    versions = ", ".join(f"{package} {importlib.metadata.version(package)}" for package in packages)
    load = os.getloadavg()[1]
    beside = "; other work ran beside it, so the seconds on the clock are too many" if load > 1.0 else ""
    yield f"`{shlex.join(['python', 'python/examples/compare.py', *sys.argv[1:]])}` · {versions}, Python"
    yield f"{platform.python_version()} · {processor()}, {THREADS} threads{beside}\n"
    truth = np.mean([-qm.worlds.log_density("moons", moons(seed)[1]).mean() for seed in range(seeds)])
    yield f"Two moons, 2,000 rows to learn and 2,000 held out; on these the truth itself has {truth:.3f}, and its entropy is"
    yield f"{qm.worlds.entropy('moons'):.3f}. Mean ± standard deviation over {seeds} seeds:\n"
    yield from table(moons, truth, seeds, only)
    yield "\nBreast cancer (scikit-learn's), 30 columns, 456 rows to learn and 113 held out:\n"
    yield from table(cancer, None, seeds, only)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", default="", help="parts of the models' names, separated by commas")
    parser.add_argument("--into", type=Path, help="the page to write, between its marks, instead of printing")
    options = parser.parse_args()
    for module in ("joblib", "sklearn.mixture", "sklearn.neighbors", "sklearn.model_selection", "zuko", "flowjax.train"):
        importlib.import_module(module)
    text = "\n".join(report(options.seeds, [part for part in options.only.split(",") if part]))
    if options.into is None:
        print(text)
        return
    begin, end = "<!-- compare: begin -->\n", "\n<!-- compare: end -->"
    page = options.into.read_text(encoding="utf-8")
    before, after = page.split(begin)[0], page.split(end)[1]
    options.into.write_text(before + begin + text + end + after, encoding="utf-8")


if __name__ == "__main__":
    main()
